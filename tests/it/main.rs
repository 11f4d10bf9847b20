//! Integration tests, one binary.

mod epcis;
mod event_hash;
