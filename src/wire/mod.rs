//! Every byte format that leaves or enters: pure functions between facts, texts and bytes; no I/O, no clock.

pub mod digest;
pub mod epcis;
pub mod event_hash;
pub mod record;
