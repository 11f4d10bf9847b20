//! The decisions. Pure: no clock, no I/O, no logging, no randomness.

pub mod fact;
mod fold;
pub mod input;
pub mod output;
pub mod pool;
pub mod reason;
pub mod state;
