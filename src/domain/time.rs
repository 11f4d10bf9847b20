//! Instants as the pure modules see them: parameters, never clock reads.

/// One reading of both clocks, taken once a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Microseconds since 1970-01-01 UTC; may step.
    pub wall_us: i64,
    /// Microseconds since this process started; never falls.
    pub mono_us: u64,
}
