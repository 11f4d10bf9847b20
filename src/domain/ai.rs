//! What is known about each application identifier, and how to find it by the digits of a message.
//!
//! The entries are data, generated from GS1's syntax dictionary (`ai_table.rs`). This file gives them their types and the one
//! look-up: the first two digits decide how long an AI is, so at most a few entries are compared.

use crate::domain::ai_table::{ENTRIES, PREFIXES};
use crate::domain::charset::Charset;
use crate::domain::linter::Linter;

/// One AI, or a run of AIs that differ in their last digit only.
#[derive(Debug)]
pub struct Entry {
    /// Number of digits of the AI, 2 to 4.
    pub digits: u8,
    pub first: u16,
    pub last: u16,
    /// Needs no separator after its value, wherever it stands (GenSpecs 7.8).
    pub is_predefined: bool,
    pub components: &'static [Component],
    /// Each rule asks for one of its groups, a group for all of its patterns.
    pub requires: &'static [&'static [Group]],
    /// None of these patterns may appear beside this AI.
    pub excludes: &'static [&'static str],
}

/// AIs that are asked for together; `n` in a pattern stands for any digit.
pub type Group = &'static [&'static str];

/// One part of a value. Only the last may vary in length, and optional parts come last.
#[derive(Debug)]
pub struct Component {
    pub charset: Charset,
    pub min: u8,
    pub max: u8,
    pub is_optional: bool,
    pub linters: &'static [Linter],
}

/// Where the entries lie whose AIs begin with the two digits that index this row.
#[derive(Debug)]
pub struct Prefix {
    /// 0 where no AI begins so.
    pub digits: u8,
    pub start: u16,
    pub count: u16,
}

/// How the generated table writes an entry; `ai` is digits, first, last.
pub(super) const fn entry(
    ai: (u8, u16, u16),
    is_predefined: bool,
    components: &'static [Component],
    requires: &'static [&'static [Group]],
    excludes: &'static [&'static str],
) -> Entry {
    let (digits, first, last) = ai;
    Entry { digits, first, last, is_predefined, components, requires, excludes }
}

/// How the generated table writes a component.
pub(super) const fn part(
    charset: Charset,
    min: u8,
    max: u8,
    is_optional: bool,
    linters: &'static [Linter],
) -> Component {
    Component { charset, min, max, is_optional, linters }
}

/// How the generated table writes a prefix.
pub(super) const fn prefix(digits: u8, start: u16, count: u16) -> Prefix {
    Prefix { digits, start, count }
}

impl Entry {
    /// Finds the entry of the AI that `message` begins with.
    pub fn leading(message: &[u8]) -> Option<&'static Entry> {
        let row = usize::from(number(message.get(..2)?)?);
        let prefix = PREFIXES.get(row).filter(|prefix| prefix.digits != 0)?;
        let code = number(message.get(..usize::from(prefix.digits))?)?;
        let start = usize::from(prefix.start);
        let end = start.saturating_add(usize::from(prefix.count));
        ENTRIES.get(start..end)?.iter().find(|entry| (entry.first..=entry.last).contains(&code))
    }

    /// Finds the entry of exactly this AI.
    pub fn of(ai: &str) -> Option<&'static Entry> {
        Self::leading(ai.as_bytes()).filter(|entry| usize::from(entry.digits) == ai.len())
    }

    /// The fewest and the most characters that a value may have.
    pub fn lengths(&self) -> (usize, usize) {
        self.components.iter().fold((0, 0), |(min, max): (usize, usize), part| {
            let least = if part.is_optional { 0 } else { part.min };
            (min.saturating_add(usize::from(least)), max.saturating_add(usize::from(part.max)))
        })
    }
}

/// Whether `ai` is one of those that `pattern` stands for.
pub fn matches(pattern: &str, ai: &str) -> bool {
    pattern.len() == ai.len()
        && pattern.bytes().zip(ai.bytes()).all(|(wanted, found)| wanted == found || wanted == b'n')
}

/// An AI is a name made of digits; at most four of them, so that the number cannot overflow.
fn number(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0_u16, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        Some(number.wrapping_mul(10).wrapping_add(u16::from(digit)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_ai_by_itself_and_before_any_value() {
        for entry in &ENTRIES {
            for code in entry.first..=entry.last {
                let ai = format!("{code:0width$}", width = usize::from(entry.digits));
                assert!(Entry::of(&ai).is_some_and(|found| std::ptr::eq(found, entry)), "AI {ai}");
                let longer = format!("{ai}0");
                assert!(Entry::leading(longer.as_bytes()).is_some_and(|found| std::ptr::eq(found, entry)), "AI {ai}");
                assert!(Entry::of(&longer).is_none(), "AI {longer}");
            }
        }
    }

    #[test]
    fn predefined_values_have_one_length() {
        for entry in ENTRIES.iter().filter(|entry| entry.is_predefined) {
            let (min, max) = entry.lengths();
            assert_eq!(min, max, "AI {}", entry.first);
        }
    }

    #[test]
    fn finds_nothing_where_no_ai_begins() {
        for message in ["", "0", "04", "2", "23", "2A", "310", "3106123456", "é1", "(01)"] {
            assert!(Entry::leading(message.as_bytes()).is_none(), "{message}");
        }
    }

    #[test]
    fn patterns_stand_for_ais_of_their_own_length() {
        assert!(matches("31nn", "3103"));
        assert!(!matches("31nn", "310"));
        assert!(!matches("31nn", "3203"));
    }
}
