//! The deterministic simulator: thousands of lines in virtual time, each from one seed.
//!
//! A `World` is the plant of `sim::physics` at the tag level, the ways between its tags and the line, the same `Line` with the
//! same engine, stations and lowering as production, a journal that can fail, a consumer behind a broker, a person who does
//! what a calm person does, and one clock. Nothing waits and nothing is drawn but from the seed: the same seed gives the same
//! facts with the same times (I29). Every fact and every write is judged as it happens (`ledger`, `model`); at durable steps the
//! world is forked, crashed and recovered (`fork`); at the end the faults stop and the line has to work again (`run`).
//!
//! | file | job |
//! |---|---|
//! | `setup` | one line, drawn from its seed |
//! | `plan` | which faults, how often, when |
//! | `world`, `faults`, `process`, `person`, `wiring`, `journal`, `upstream` | the world and its one step |
//! | `crowd` | people who do everything, at the wrong moment too |
//! | `ledger` | the record against the promises |
//! | `roster` | the same for accounts, rights and signatures |
//! | `model` | the plant's truth against the record |
//! | `outputs` | what leaves the line against what is durable |
//! | `fork` | crash and recovery at a durable step |
//! | `run` | one seed from beginning to end; many of them |
//! | `script` | short runs with a fork at every durable step |
//! | `table` | how often each fault was reached |

pub mod crowd;
mod faults;
mod fork;
pub mod journal;
pub mod ledger;
pub mod model;
mod outputs;
mod person;
pub mod plan;
mod process;
pub mod roster;
pub mod run;
pub mod script;
pub mod setup;
pub mod table;
#[cfg(test)]
mod tests;
pub mod upstream;
pub mod violation;
pub mod wiring;
pub mod world;
