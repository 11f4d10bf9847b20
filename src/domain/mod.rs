//! The words: GS1 identifiers, element strings, EPC, pack levels, tags, time, rules. Pure; imports nobody.

pub mod ai;
mod ai_table;
pub mod charset;
pub mod code;
pub mod date;
pub mod element;
pub mod epc;
pub mod gs1;
pub mod linter;
pub mod pack;
pub mod packml;
pub mod quality;
pub mod rule;
pub mod tag;
pub mod text;
pub mod time;
