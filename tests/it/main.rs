//! Integration tests, one binary.

mod ai_table;
mod engine_properties;
mod epcis;
mod event_hash;
mod gs1_vectors;
mod scenario;
mod standards;
