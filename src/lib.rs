//! Sealgate.

pub mod domain;
pub mod engine;
pub mod publish;
pub mod sim;
pub mod store;
pub mod wire;
