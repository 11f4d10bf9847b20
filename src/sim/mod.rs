//! The simulated plant.

#[cfg(feature = "demo")]
pub mod broker;
pub mod capture;
pub mod reconcile;
