//! Sealgate.

pub mod domain;
pub mod wire;
