//! Integration tests, one binary.

pub mod ai_table;
pub mod gs1_vectors;
pub mod standards;
