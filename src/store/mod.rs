//! The journal: one SQLite file.

pub mod views;
