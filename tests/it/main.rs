//! The integration tests: one binary, so that the library is linked once.

mod ai_table;
mod config;
mod daemon;
mod epcis;
mod event_hash;
mod gs1_vectors;
mod layers;
mod source;
mod standards;
mod style;
