//! Every byte format: journal rows, EPCIS, topics, commands. Bytes in, bytes out; no I/O.

pub mod record;
//! Every byte format that leaves or enters: pure functions between facts, texts and bytes; no I/O, no clock.

pub mod epcis;
pub mod event_hash;
