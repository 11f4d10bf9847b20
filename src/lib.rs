//! Sealgate.

pub mod domain;
