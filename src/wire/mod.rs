//! Every byte format that leaves or enters: pure functions between facts, texts and bytes; no I/O, no clock.

pub mod chain;
pub mod checkpoint;
pub mod command;
pub mod digest;
pub mod epcis;
pub mod event_hash;
pub mod fact;
pub mod lower;
pub mod order;
pub mod record;
pub mod refold;
pub mod review;
pub mod schema;
pub mod signed;
pub(crate) mod suggest;
pub mod text;
mod text_people;
pub mod topic;
