//! Sealgate.

pub mod device;
pub mod domain;
