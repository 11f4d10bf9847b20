//! The composition root: what is started, in which order, and how it ends.

mod assemble;
pub mod clock;
mod codes;
pub mod control;
mod daemon;
#[cfg(feature = "demo")]
pub mod demo;
mod desk;
mod error;
mod feed;
mod joint;
mod journal;
pub mod keys;
mod latency;
#[cfg(feature = "demo")]
pub mod lockstep;
mod passwords;
mod pictures;
mod plant;
mod proof;
mod recall;
mod restore;
pub mod service;
mod snapshot;
mod spine;
mod tap;
mod tasks;
mod timesync;
mod upkeep;
mod withheld;

pub use assemble::{RecoverError, Recovery, recover};
pub use codes::WayBack;
pub use daemon::run;
pub use error::RunError;
pub use journal::Beginning;
pub use restore::{Restored, restore};

/// Of this program, as its first fact of every run says.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
