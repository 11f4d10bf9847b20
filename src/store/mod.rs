//! The journal: one SQLite file that holds every fact, what follows from the facts, and the messages that wait to leave.
//!
//! Contract:
//! - One [`Store`] per file, held by an advisory lock from before the first connection until it is dropped. It goes to the
//!   commit thread ([`commit::run`]), which alone writes.
//! - One [`commit::Job`] is one transaction with `synchronous=FULL`. [`Durable`] can be made here only, after its COMMIT.
//! - Checkpoints (`wire::checkpoint`) are made by the commit thread alone, by the rule in `notary`.
//! - A commit that fails ends the process: its outcome is unknown until the file is read again.
//! - Everybody else reads through a [`reader::Reader`], beside the daemon or, when none runs, on a private copy.
//! - `schema.sql` is frozen; a change is a further migration. A file of a newer schema is refused and not touched.
//!
//! Not here: what a fact means (`engine`), the bytes of its body (`wire::fact`), when to commit (`line`). This is the only
//! place that names rusqlite.

pub mod anchors;
pub mod backup;
pub mod batches;
mod carve;
pub mod change;
pub mod commit;
mod compare;
pub mod detail;
pub mod error;
pub mod facts;
pub mod feed;
mod flush;
mod found;
mod frames;
pub mod guard;
pub mod journal;
mod lock;
pub mod memory;
mod messages;
mod notary;
#[cfg(feature = "demo")]
pub mod occupied;
pub mod open;
pub mod people;
mod phrase;
pub mod pictures;
pub mod place;
mod proven;
pub mod query;
pub mod reader;
pub mod rebuild;
pub mod recover;
pub mod restore;
mod review;
pub mod salvage;
mod salvaged;
mod schema;
pub mod side;
mod signatures;
pub mod start;
pub mod starts;
pub mod trace;
pub mod verify;
pub mod views;
pub mod wal;
mod words;

#[cfg(test)]
mod conformance;
#[cfg(test)]
pub(crate) mod samples;

pub use error::StoreError;
pub use facts::StoredFact;
pub use journal::{Busy, Durable, Journal, SKIPPED, Work};
pub use open::{Settings, Store, open};
pub use reader::{Reader, Snapshot};
