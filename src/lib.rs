//! Sealgate.

pub mod domain;
pub mod engine;
pub mod station;
pub mod wire;
