//! Every byte format: journal rows, EPCIS, topics, commands. Bytes in, bytes out; no I/O.

pub mod command;
pub mod epcis;
pub mod event_hash;
pub mod fact;
pub mod lower;
pub mod order;
pub mod record;
pub mod schema;
mod suggest;
pub mod text;
pub mod topic;
