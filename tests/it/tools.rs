//! A technician's tools from outside: the program against real servers of the simulated plant, whose tags stand still, and golden
//! answers. `SEALGATE_BLESS=1` writes the golden files anew, to be read in the diff.

#![cfg(feature = "demo")]
#![allow(clippy::disallowed_methods, reason = "tests measure how long a program was waited for")]

mod codes;
mod config;
mod doctor;
mod look;
mod renew;
mod sim;
mod stage;
