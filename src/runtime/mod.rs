//! The composition root: what is started, in which order, and how it ends.

pub mod clock;
pub mod control;
pub mod service;
