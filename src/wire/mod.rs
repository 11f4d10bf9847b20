//! Every byte format: journal rows, EPCIS, topics, commands. Bytes in, bytes out; no I/O.

pub mod digest;
pub mod record;
