//! A promise that did not hold: which, when, and what was seen.

use std::fmt;

/// `invariant` is its name in the catalogue (I01 to I30), or a word where the harness itself found no way on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub invariant: &'static str,
    pub what: String,
}

pub type Verdict = Result<(), Violation>;

/// Holds, or is a violation of `invariant`.
pub fn claim(holds: bool, invariant: &'static str, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(Violation { invariant, what: what() }) }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

impl Violation {
    /// The same, seen somewhere else than in the world that was asked for.
    pub fn within(self, place: &str) -> Self {
        Self { what: format!("in {place}: {}", self.what), ..self }
    }
}
