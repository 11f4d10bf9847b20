//! Sealgate.

pub mod config;
pub mod device;
pub mod domain;
pub mod engine;
pub mod runtime;
pub mod wire;
