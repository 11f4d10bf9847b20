//! Integration tests, one binary.

mod ai_table;
mod standards;
