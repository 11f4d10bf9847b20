//! Sealgate.

pub mod cli;
pub mod config;
pub mod device;
pub mod domain;
pub mod engine;
pub mod report;
pub mod runtime;
pub mod wire;
