//! Sealgate.

pub mod domain;
#[cfg(feature = "demo")]
pub mod sim;
