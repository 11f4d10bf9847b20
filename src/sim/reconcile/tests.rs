//! What the reconciliation must find, and what it must not.
