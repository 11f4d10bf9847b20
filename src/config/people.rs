//! The section `[people]`: sessions, lock-out and passwords. May be left out.

use crate::engine::people::Limits;

use super::reader::{Field, Section};

/// What the line asks of people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct People {
    pub limits: Limits,
    pub passwords: Passwords,
}

/// What a new password must be, and what looking at one costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passwords {
    pub characters_min: usize,
    /// Of argon2id, with one lane.
    pub memory_kib: u32,
    pub passes: u32,
}

impl Default for Passwords {
    /// NIST SP 800-63B asks for length, and for no kinds of characters. OWASP's sheet for argon2id: 46 MiB, one pass, one lane.
    fn default() -> Self {
        Self { characters_min: 12, memory_kib: 46 << 10, passes: 1 }
    }
}

/// Below so many MiB one pass is not enough (OWASP).
const ONE_PASS_MIB: u32 = 46;

pub(super) fn read(mut section: Section<'_>) -> People {
    let unset = People::default();
    let (limits, passwords) = (unset.limits, unset.passwords);
    let mut scaled =
        |key, range, by: u32, unset| section.number(key, range).map_or(unset, |at: Field<u32>| at.value * by);
    let limits = Limits {
        idle_s: scaled("idle_s", 5..=3600, 1, limits.idle_s),
        session_s: scaled("session_h", 1..=24, 3600, limits.session_s),
        failures: scaled("lock_after", 3..=10, 1, limits.failures),
        lock_s: scaled("lock_min", 5..=1440, 60, limits.lock_s),
    };
    let characters_min = section.number("password_length_min", 8..=64).map_or(passwords.characters_min, |at| at.value);
    let memory = section.number::<u32>("argon2_memory_mib", 19..=256);
    let passes = section.number("argon2_passes", 1..=8).map_or(passwords.passes, |at| at.value);
    if let Some(memory) = memory.as_ref().filter(|memory| memory.value < ONE_PASS_MIB && passes < 2) {
        let problem = memory.at.error("is too little for one pass");
        section.problems().add(problem.allowed(format!("at least {ONE_PASS_MIB}, or argon2_passes = 2")));
    }
    section.finish();
    let memory_kib = memory.map_or(passwords.memory_kib, |memory| memory.value << 10);
    People { limits, passwords: Passwords { characters_min, memory_kib, passes } }
}
