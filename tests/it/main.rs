//! The integration tests: one binary, so that the library is linked once.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests fail where they stand, and say aloud what they skip"
)]

mod ai_table;
mod bounds;
mod catalogue;
mod config;
mod daemon;
mod demo;
mod engine_properties;
mod epcis;
mod event_hash;
mod feed;
mod gs1_vectors;
mod http;
#[cfg(feature = "demo")]
mod identifiers;
mod keep;
mod layers;
#[cfg(feature = "demo")]
mod life;
mod lockstep;
#[cfg(feature = "demo")]
mod modbus;
mod packml;
mod people;
#[cfg(feature = "demo")]
mod rough;
mod rules;
mod scenario;
mod source;
mod standards;
mod style;
mod tamper;
mod tools;
mod wire_schema;
