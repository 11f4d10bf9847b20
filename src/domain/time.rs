//! Instants as the pure modules see them: parameters, never clock reads.

/// One reading of both clocks, taken once a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Microseconds since 1970-01-01 UTC; may step.
    pub wall_us: i64,
    /// Microseconds since this process started; never falls.
    pub mono_us: u64,
}

/// What is known of the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClockState {
    /// Something that sets this clock says that it is set.
    Synchronised,
    /// The same says that it is not.
    Unsynchronised,
    /// It shows a year before this release was made: nobody has set it.
    Unset,
    /// Nothing on this machine says whether it is right.
    #[default]
    Unknown,
}

impl ClockState {
    pub const ALL: &'static [ClockState] =
        &[ClockState::Synchronised, ClockState::Unsynchronised, ClockState::Unset, ClockState::Unknown];

    /// The stable word, lower snake case.
    pub fn name(self) -> &'static str {
        match self {
            ClockState::Synchronised => "synchronised",
            ClockState::Unsynchronised => "unsynchronised",
            ClockState::Unset => "unset",
            ClockState::Unknown => "unknown",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| state.name() == name)
    }
}
