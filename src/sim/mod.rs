//! The simulated packaging plant: what stands in for real printers, cameras and machine controllers.
//!
//! Physics (`physics` and one file per machine) is a pure step function over a table of tags (`tags`); the protocol
//! servers (`opcua_server`, `modbus_server`) only move that table to and from the wire; `world` drives both in real time and
//! keeps the plant's own truth (`truth`). The plant obeys the device contract from the machine's side and knows nothing of
//! the controller's state: any other plant written from the same contract can stand in its place.

#![allow(
    clippy::disallowed_methods,
    reason = "the simulated plant is the outside world: it measures and spawns by itself"
)]

pub mod broker;
pub mod camera;
pub mod capture;
pub mod closer;
pub mod coder;
pub mod codes;
pub mod dry;
pub mod faces;
pub mod hand;
pub mod labeller;
pub mod link;
mod loopback;
pub mod mapped;
pub mod mishap;
pub mod modbus_server;
pub mod opcua_server;
pub mod operator;
pub mod physics;
pub mod printer;
pub mod random;
pub mod reconcile;
pub mod rejector;
pub mod settings;
pub mod swarm;
pub mod tags;
pub mod truth;
pub mod world;

#[cfg(test)]
mod tests;
