//! Review by exception (21 CFR 11.10(e)): which facts a person looks at, instead of at all, and the digest that binds a signature to them.
//!
//! The digest is SHA-256 over the exceptions in order, of each the SHA-256 of its line `seq kind body` with a line feed, as 64
//! hexadecimal digits and a line feed. A review begins right behind the one before, so that nothing is left out.

use std::collections::VecDeque;

use crate::domain::text::Text;
use crate::engine::fact::Fact;
pub use crate::engine::fact::Review;
use crate::wire::digest::sha256_hex;
use crate::wire::fact::{self, StoredFact};

/// The kinds that stand out: alarms, what was done over a signature, what was tried in vain, clocks, restores, and what became of people.
pub const EXCEPTIONS: &[&str] = &[
    "alarm_raised",
    "batch_close_refused",
    "clock_stepped",
    "epoch_raised",
    "line_paused",
    "login_failed",
    "login_locked",
    "signature_refused",
    "signed",
    "store_restored",
    "user_added",
    "user_changed",
    "user_recovered",
];

/// Gathers the exceptions of a review.
#[derive(Debug, Default)]
pub struct Exceptions {
    /// The end of the review before.
    reviewed: u64,
    /// Those behind it, each with the digest of its line.
    open: VecDeque<(u64, String)>,
}

impl Exceptions {
    pub fn behind(reviewed: u64) -> Self {
        Self { reviewed, open: VecDeque::new() }
    }

    pub fn see(&mut self, seq: u64, kind: &str, body: &str) {
        if EXCEPTIONS.contains(&kind) {
            self.open.push_back((seq, sha256_hex(format!("{seq} {kind} {body}\n").as_bytes())));
        }
    }

    /// The review of everything behind the one before, up to this fact.
    pub fn review(&self, to_seq: u64) -> Review {
        let lines: Vec<String> =
            self.open.iter().filter(|(seq, _)| *seq <= to_seq).map(|(_, line)| format!("{line}\n")).collect();
        Review {
            from_seq: self.reviewed.saturating_add(1),
            to_seq,
            exceptions: u32::try_from(lines.len()).unwrap_or(u32::MAX),
            sha256: Text::new(&sha256_hex(lines.concat().as_bytes())).unwrap_or_default(),
        }
    }

    /// What was reviewed is looked at no more.
    pub fn reviewed(&mut self, to_seq: u64) {
        self.reviewed = self.reviewed.max(to_seq);
        while self.open.front().is_some_and(|(seq, _)| *seq <= to_seq) {
            self.open.pop_front();
        }
    }
}

/// The review that a fact tells of; `None` where it is about something else.
pub fn read(stored: StoredFact<'_>) -> Option<Review> {
    let fact = fact::decode(stored).ok()?.fact;
    if let Fact::AuditReviewed { review } = fact { Some(review) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::fact::KINDS;

    #[test]
    fn every_exception_is_a_kind_of_fact() {
        assert!(EXCEPTIONS.iter().all(|kind| KINDS.contains(kind)));
    }

    #[test]
    fn a_review_tells_all_that_stood_out_and_nothing_of_the_one_before() {
        let mut found = Exceptions::default();
        for (seq, kind) in [(1, "line_started"), (2, "alarm_raised"), (3, "verified"), (4, "clock_stepped")] {
            found.see(seq, kind, "{}");
        }
        let early = found.review(3);
        assert_eq!((early.from_seq, early.to_seq, early.exceptions), (1, 3, 1));
        let whole = found.review(4);
        assert_eq!(whole.exceptions, 2);
        assert_ne!(whole.sha256, early.sha256);
        found.reviewed(3);
        let rest = found.review(9);
        assert_eq!((rest.from_seq, rest.exceptions), (4, 1));
        let mut changed = Exceptions::behind(3);
        changed.see(4, "clock_stepped", "{\"from_us\":1}");
        assert_ne!(changed.review(9).sha256, rest.sha256, "another body is another review");
    }
}
