//! Integration tests, one binary.

mod ai_table;
mod gs1_vectors;
mod standards;
