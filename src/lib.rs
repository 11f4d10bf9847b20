//! Sealgate.

pub mod domain;
pub mod engine;
pub mod store;
pub mod wire;
