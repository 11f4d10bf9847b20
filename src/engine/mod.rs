//! The decisions. Pure: no clock, no I/O, no logging, no randomness.

pub mod fact;
pub mod input;
pub mod output;
pub mod reason;
