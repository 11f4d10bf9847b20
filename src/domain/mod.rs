//! The words: GS1 identifiers, element strings, EPC, pack levels, tags, time. Pure; imports nobody.

pub mod charset;
pub mod date;
pub mod epc;
pub mod gs1;
pub mod pack;
pub mod tag;
pub mod text;
pub mod time;
