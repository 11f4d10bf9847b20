//! Sealgate.

pub mod cli;
pub mod config;
#[allow(clippy::wildcard_enum_match_arm, reason = "the protocol libraries' enums are foreign and open for additions")]
pub mod device;
#[cfg_attr(
    not(test),
    warn(clippy::float_arithmetic, clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)
)]
pub mod domain;
#[cfg_attr(
    not(test),
    warn(clippy::float_arithmetic, clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)
)]
pub mod engine;
pub mod report;
pub mod runtime;
pub mod wire;
