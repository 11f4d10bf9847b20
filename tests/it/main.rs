//! The integration tests: one binary, so that the library is linked once.

mod config;
mod layers;
mod source;
mod style;
