//! Which inspection a picture is of. A file says the number of its result as the camera counts, which wraps, and begins anew with each
//! epoch; so the number alone names nothing. It names a result where, within the time in which pictures come:
//!
//! - exactly one result has that number, and
//! - the camera neither began anew nor did the clock step, and
//! - everything of that time has been heard.
//!
//! Otherwise it names none. Asked only once so much time has passed since the file changed last, all results that it could mean are
//! recorded. Pure: facts in, an answer out.

use std::collections::VecDeque;

use crate::domain::text::{BatchId, Name};
use crate::engine::fact::{Entry, Fact, Picture, PictureDigest, ResultKey};

/// Results that are looked back at, a minute and more of the fastest line; the oldest go, and pictures of them are refused.
const RESULTS_MAX: usize = 8192;
/// Moments around which numbers mean nothing; the oldest go, long after they matter.
const BREAKS_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Matching {
    camera: Name,
    /// The highest number of the camera, after which it counts from 1 again.
    wrap: Option<u64>,
    within_us: i64,
    /// When the first fact that was heard had been decided; the journal began with it where this is absent.
    deaf_until_us: Option<i64>,
    results: VecDeque<Inspected>,
    breaks: VecDeque<i64>,
}

/// A decided result of the camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inspected {
    pub(super) inspection: u64,
    pub(super) batch: Option<BatchId>,
    pub(super) result: ResultKey,
    at_us: i64,
    /// The picture that it has.
    pub(super) picture: Option<PictureDigest>,
    was_missed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    One(Inspected),
    /// No result of this number in that time.
    None,
    /// Several, or it is not known in which epoch the camera counted.
    Unclear,
}

impl Matching {
    pub(super) fn new(camera: Name, wrap: Option<u64>, within_us: i64) -> Self {
        Self { camera, wrap, within_us, deaf_until_us: None, results: VecDeque::new(), breaks: VecDeque::new() }
    }

    /// Facts before this one are not heard.
    pub(super) fn begin_at(&mut self, at_us: i64) {
        self.deaf_until_us = Some(at_us);
    }

    /// Hears a durable fact, each once and in order.
    pub(super) fn hear(&mut self, at_us: i64, entry: &Entry) {
        if let Fact::Verified { result, .. } | Fact::Failed { result, .. } = &entry.fact {
            self.inspected(at_us, entry, result, false);
        } else if let Fact::Missed { result } = &entry.fact {
            self.inspected(at_us, entry, result, true);
        } else if let Fact::StationJoined { station, reset: true, .. } = &entry.fact {
            if *station == self.camera {
                self.break_at(at_us);
            }
        } else if let Fact::ClockStepped { from_us, to_us } = &entry.fact {
            self.break_at(*from_us);
            self.break_at(*to_us);
        } else if let Fact::PictureStored { picture } = &entry.fact {
            self.pictured(picture);
        }
    }

    fn pictured(&mut self, picture: &Picture) {
        if let Ok(at) = self.results.binary_search_by_key(&picture.inspection, |result| result.inspection)
            && let Some(result) = self.results.get_mut(at)
        {
            result.picture = Some(picture.sha256);
        }
    }

    fn inspected(&mut self, at_us: i64, entry: &Entry, result: &ResultKey, was_missed: bool) {
        if result.station != self.camera || result.seq.is_none() {
            return;
        }
        if self.results.len() >= RESULTS_MAX
            && let Some(gone) = self.results.pop_front()
        {
            self.deaf_until_us = Some(gone.at_us);
        }
        let (inspection, batch, result) = (entry.seq, entry.batch, *result);
        self.results.push_back(Inspected { inspection, batch, result, at_us, picture: None, was_missed });
    }

    fn break_at(&mut self, at_us: i64) {
        if self.breaks.len() >= BREAKS_MAX {
            self.breaks.pop_front();
        }
        self.breaks.push_back(at_us);
    }

    /// The result that a file of this number, last changed at `changed_us`, is a picture of.
    pub(super) fn find(&self, sequence: u64, changed_us: i64) -> Found {
        let is_near = |at_us: i64| at_us.abs_diff(changed_us) <= self.within_us.unsigned_abs();
        let is_heard = self.deaf_until_us.is_none_or(|until| changed_us.saturating_sub(self.within_us) > until);
        if !is_heard || self.breaks.iter().any(|at| is_near(*at)) {
            return Found::Unclear;
        }
        let shown =
            |seq: u64| self.wrap.map_or(seq, |highest| (seq.saturating_sub(1) % highest.max(1)).saturating_add(1));
        let is_it = |result: &&Inspected| is_near(result.at_us) && result.result.seq.map(shown) == Some(sequence);
        let mut found = self.results.iter().filter(is_it);
        match (found.next(), found.next()) {
            (Some(one), None) => Found::One(one.clone()),
            (None, _) => Found::None,
            (Some(_), Some(_)) => Found::Unclear,
        }
    }

    /// Results from `from_us` to `to_us`, the second not included, that have no picture although the camera showed them.
    pub(super) fn without_picture(&self, from_us: i64, to_us: i64) -> usize {
        let lacks = |result: &&Inspected| {
            (from_us..to_us).contains(&result.at_us) && result.picture.is_none() && !result.was_missed
        };
        self.results.iter().filter(lacks).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tag::StationKind;
    use crate::domain::text::Text;
    use crate::engine::fact::TrackKey;

    const WITHIN: i64 = 5_000_000;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn matching(wrap: Option<u64>) -> Matching {
        Matching::new(name("camera"), wrap, WITHIN)
    }

    fn entry(seq: u64, fact: Fact) -> Entry {
        Entry { seq, batch: BatchId::new("B1"), actor: Text::default(), fact }
    }

    fn failed(at: &str, seq: u64) -> Fact {
        let result = ResultKey { station: name(at), epoch: 1, seq: Some(seq), track: Some(seq) };
        Fact::Failed { result, serial: None, reasons: Vec::new(), code: Vec::new(), grade_milli: None }
    }

    fn joined(reset: bool) -> Fact {
        Fact::StationJoined { station: name("camera"), kind: StationKind::Camera, device_epoch: 2, epoch: 2, reset }
    }

    fn inspection(found: &Found) -> Option<u64> {
        match found {
            Found::One(result) => Some(result.inspection),
            Found::None | Found::Unclear => None,
        }
    }

    #[test]
    fn a_picture_belongs_to_the_one_result_of_its_number_and_time() {
        let mut matching = matching(None);
        matching.hear(100 * WITHIN, &entry(10, failed("camera", 7)));
        matching.hear(100 * WITHIN, &entry(11, failed("another", 8)));
        assert_eq!(inspection(&matching.find(7, 100 * WITHIN + WITHIN)), Some(10));
        assert_eq!(inspection(&matching.find(7, 100 * WITHIN - WITHIN)), Some(10));
        assert_eq!(matching.find(7, 101 * WITHIN + 1), Found::None, "too late");
        assert_eq!(matching.find(7, 99 * WITHIN - 1), Found::None, "of an earlier time");
        assert_eq!(matching.find(8, 100 * WITHIN), Found::None, "of another station");
        assert_eq!(matching.find(6, 100 * WITHIN), Found::None);
    }

    #[test]
    fn a_number_that_two_results_have_names_none() {
        let mut matching = matching(Some(4));
        for (seq, at_us) in [(4, 0), (5, WITHIN), (8, 3 * WITHIN), (9, 3 * WITHIN)] {
            matching.hear(100 * WITHIN + at_us, &entry(10 + seq, failed("camera", seq)));
        }
        assert_eq!(inspection(&matching.find(4, 100 * WITHIN)), Some(14));
        assert_eq!(inspection(&matching.find(1, 100 * WITHIN)), Some(15));
        assert_eq!(matching.find(1, 102 * WITHIN), Found::Unclear, "5 and 9 both count as 1");
        assert_eq!(inspection(&matching.find(4, 103 * WITHIN)), Some(18));
        assert_eq!(matching.find(5, 100 * WITHIN), Found::None, "the camera does not count so far");
    }

    #[test]
    fn around_a_new_epoch_and_a_step_of_the_clock_no_number_names_anything() {
        let mut matching = matching(None);
        matching.hear(100 * WITHIN, &entry(10, failed("camera", 7)));
        matching.hear(101 * WITHIN, &entry(11, joined(false)));
        assert_eq!(inspection(&matching.find(7, 100 * WITHIN)), Some(10), "it came back as it was");
        matching.hear(102 * WITHIN, &entry(12, joined(true)));
        matching.hear(102 * WITHIN + 5, &entry(13, failed("camera", 7)));
        assert_eq!(matching.find(7, 101 * WITHIN), Found::Unclear);
        assert_eq!(matching.find(7, 103 * WITHIN), Found::Unclear, "of before it, or of after it");
        assert_eq!(inspection(&matching.find(7, 100 * WITHIN)), Some(10));
        matching.hear(104 * WITHIN, &entry(14, failed("camera", 8)));
        assert_eq!(inspection(&matching.find(8, 104 * WITHIN)), Some(14));
        matching.hear(90 * WITHIN, &entry(15, Fact::ClockStepped { from_us: 105 * WITHIN, to_us: 90 * WITHIN }));
        assert_eq!(matching.find(8, 104 * WITHIN), Found::Unclear);
        assert_eq!(matching.find(8, 90 * WITHIN), Found::Unclear);
    }

    #[test]
    fn what_was_not_heard_whole_is_unclear() {
        let mut matching = matching(None);
        matching.begin_at(99 * WITHIN);
        matching.hear(100 * WITHIN, &entry(10, failed("camera", 7)));
        assert_eq!(matching.find(7, 100 * WITHIN), Found::Unclear);
        assert_eq!(inspection(&matching.find(7, 100 * WITHIN + 1)), Some(10));
        for seq in 0..RESULTS_MAX as u64 {
            matching.hear(200 * WITHIN, &entry(11 + seq, failed("camera", 8 + seq)));
        }
        assert_eq!(matching.results.len(), RESULTS_MAX);
        assert_eq!(matching.find(7, 100 * WITHIN + 1), Found::Unclear, "it went");
    }

    #[test]
    fn a_picture_that_a_result_has_is_remembered_and_one_that_it_lacks_is_counted() {
        let mut matching = matching(None);
        for seq in 7..10 {
            matching.hear(100 * WITHIN, &entry(seq + 3, failed("camera", seq)));
        }
        let result = ResultKey { station: name("camera"), epoch: 1, seq: None, track: Some(4) };
        matching.hear(100 * WITHIN, &entry(20, Fact::Missed { result }));
        let digest = Text::new(&"ab".repeat(32)).unwrap();
        let picture = Picture { result, inspection: 11, sha256: digest, bytes: 1, media: Text::default() };
        matching.hear(101 * WITHIN, &entry(21, Fact::PictureStored { picture }));
        let Found::One(found) = matching.find(8, 100 * WITHIN) else { panic!("it is there") };
        assert_eq!(found.picture, Some(digest));
        assert_eq!(matching.without_picture(0, 100 * WITHIN + 1), 2);
        assert_eq!(matching.without_picture(0, 100 * WITHIN), 0);
        let track = TrackKey { station: name("rejector"), epoch: 1, track: 1, inspection: None };
        matching.hear(102 * WITHIN, &entry(22, Fact::RejectMissing { track }));
    }
}
