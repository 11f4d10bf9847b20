//! Which inspection a picture is of. A file says the number of its result as the camera counts, which wraps, and begins anew with each
//! epoch; so the number alone names nothing. It names a result where, within the time in which pictures come:
//!
//! - exactly one result has that number, and
//! - no result can have had it that was never heard of: one of a gap, one that an epoch still had when it ended, or any while the
//!   clock stepped, and
//! - everything of that time has been heard.
//!
//! Otherwise it names none. Asked only once so much time has passed since the file changed last, all results that it could mean are
//! recorded. Pure: facts in, an answer out.

use std::collections::VecDeque;

use crate::domain::text::{BatchId, Name};
use crate::engine::fact::{Entry, Fact, Picture, PictureDigest, ResultKey};
use crate::station::counter::shown;

/// Results that are looked back at, a minute and more of the fastest line; the oldest go, and pictures of them are refused.
const RESULTS_MAX: usize = 8192;
/// Gaps that are remembered; the oldest go, and pictures from their time are refused.
const UNHEARD_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Matching {
    camera: Name,
    /// The highest number of the camera, after which it counts from 1 again.
    wrap: Option<u64>,
    within_us: i64,
    /// When the first fact that was heard had been decided; the journal began with it where this is absent.
    deaf_until_us: Option<i64>,
    results: VecDeque<Inspected>,
    unheard: VecDeque<Unheard>,
    /// The highest number of the present epoch, where its beginning or a result of it was heard.
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    seq: u64,
    /// When the camera was heard last, in this epoch or before it.
    at_us: i64,
}

/// Numbers that results may have had of which there is no fact, and when these may have been.
#[derive(Clone, Copy, Debug)]
struct Unheard {
    from: u64,
    to: u64,
    since_us: i64,
    until_us: i64,
}

/// A decided result of the camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inspected {
    pub(super) inspection: u64,
    pub(super) batch: Option<BatchId>,
    pub(super) result: ResultKey,
    /// When it can have been: a result that was missed was before it was noticed.
    since_us: i64,
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
    /// Several, or one of which nothing was heard may have it too.
    Unclear,
}

impl Matching {
    pub(super) fn new(camera: Name, wrap: Option<u64>, within_us: i64) -> Self {
        let (results, unheard) = (VecDeque::new(), VecDeque::new());
        Self { camera, wrap, within_us, deaf_until_us: None, results, unheard, last: None }
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
                self.begin_epoch(at_us);
            }
        } else if let Fact::ClockStepped { from_us, to_us } = &entry.fact {
            for at_us in [*from_us, *to_us] {
                self.unheard(Unheard { from: 1, to: u64::MAX, since_us: at_us, until_us: at_us });
            }
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
        let Some(seq) = result.seq.filter(|_| result.station == self.camera) else { return };
        let since_us = self.last.map_or(at_us, |last| last.at_us);
        if let Some(next) = self.last.map(|last| last.seq.saturating_add(1)).filter(|next| *next < seq) {
            self.unheard(Unheard { from: next, to: seq.saturating_sub(1), since_us, until_us: at_us });
        }
        self.last = Some(Last { seq: self.last.map_or(seq, |last| last.seq.max(seq)), at_us });
        if self.results.len() >= RESULTS_MAX
            && let Some(gone) = self.results.pop_front()
        {
            self.deaf_until_us = self.deaf_until_us.max(Some(gone.at_us));
        }
        let since_us = if was_missed { since_us } else { at_us };
        let (inspection, batch, result) = (entry.seq, entry.batch, *result);
        self.results.push_back(Inspected { inspection, batch, result, since_us, at_us, picture: None, was_missed });
    }

    /// What the camera counted at the end of its last epoch, nobody knows; but it went on from the highest number that was heard.
    fn begin_epoch(&mut self, at_us: i64) {
        let from = self.last.map_or(1, |last| last.seq.saturating_add(1));
        let to = self.last.map_or(u64::MAX, |last| last.seq.saturating_add(RESULTS_MAX as u64));
        let since_us = self.last.map_or(at_us, |last| last.at_us);
        self.unheard(Unheard { from, to, since_us, until_us: at_us });
        self.last = Some(Last { seq: 0, at_us: since_us });
    }

    fn unheard(&mut self, unheard: Unheard) {
        if self.unheard.len() >= UNHEARD_MAX
            && let Some(gone) = self.unheard.pop_front()
        {
            self.deaf_until_us = self.deaf_until_us.max(Some(gone.until_us));
        }
        self.unheard.push_back(unheard);
    }

    /// The result that a file of this number, last changed at `changed_us`, is a picture of.
    pub(super) fn find(&self, sequence: u64, changed_us: i64) -> Found {
        let earliest_us = changed_us.saturating_sub(self.within_us);
        let latest_us = changed_us.saturating_add(self.within_us);
        let is_near = |since_us: i64, until_us: i64| since_us <= latest_us && until_us >= earliest_us;
        let is_heard = self.deaf_until_us.is_none_or(|until| earliest_us > until);
        let may_be_it =
            |one: &Unheard| is_near(one.since_us, one.until_us) && self.is_among(sequence, one.from, one.to);
        if !is_heard || self.unheard.iter().any(may_be_it) {
            return Found::Unclear;
        }
        let is_it = |result: &&Inspected| {
            is_near(result.since_us, result.at_us)
                && result.result.seq.is_some_and(|seq| self.is_among(sequence, seq, seq))
        };
        let mut found = self.results.iter().filter(is_it);
        match (found.next(), found.next()) {
            (Some(one), None) => Found::One(one.clone()),
            (None, _) => Found::None,
            (Some(_), Some(_)) => Found::Unclear,
        }
    }

    /// Whether the camera shows one of the numbers `from..=to` as `sequence`.
    fn is_among(&self, sequence: u64, from: u64, to: u64) -> bool {
        match self.wrap {
            None => (from..=to).contains(&sequence),
            Some(highest) => {
                let ahead = sequence.saturating_add(highest).checked_sub(shown(self.wrap, from));
                let ahead = ahead.and_then(|ahead| ahead.checked_rem(highest));
                sequence <= highest && ahead.is_some_and(|ahead| ahead <= to.saturating_sub(from))
            }
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

    fn key(at: &str, seq: u64) -> ResultKey {
        ResultKey { station: name(at), epoch: 1, seq: Some(seq), track: Some(seq) }
    }

    fn failed(at: &str, seq: u64) -> Fact {
        Fact::Failed { result: key(at, seq), serial: None, reasons: Vec::new(), code: Vec::new(), grade_milli: None }
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
    fn in_the_first_moments_of_a_new_epoch_its_pictures_are_its_own_where_the_old_one_was_past_their_numbers() {
        let mut matching = matching(None);
        matching.hear(90 * WITHIN, &entry(9, failed("camera", 1)));
        matching.hear(100 * WITHIN, &entry(10, failed("camera", 2)));
        matching.hear(101 * WITHIN, &entry(11, joined(false)));
        assert_eq!(inspection(&matching.find(2, 100 * WITHIN)), Some(10), "it came back as it was");
        matching.hear(101 * WITHIN, &entry(12, joined(true)));
        for seq in 1..=3 {
            matching.hear(101 * WITHIN + 5, &entry(12 + seq, failed("camera", seq)));
        }
        assert_eq!(inspection(&matching.find(1, 101 * WITHIN)), Some(13), "1 of before was long ago");
        assert_eq!(inspection(&matching.find(1, 102 * WITHIN + 5)), Some(13));
        assert_eq!(matching.find(2, 101 * WITHIN), Found::Unclear, "of before it, or of after it");
        assert_eq!(inspection(&matching.find(2, 101 * WITHIN + 1)), Some(14), "too late for the one of before");
        assert_eq!(inspection(&matching.find(2, 99 * WITHIN)), Some(10), "too early for the one of after");
        assert_eq!(matching.find(3, 102 * WITHIN), Found::Unclear, "it may have counted so far before, unheard");
        assert_eq!(inspection(&matching.find(3, 102 * WITHIN + 1)), Some(15), "nothing of before comes so late");
        assert_eq!(matching.find(4, 100 * WITHIN), Found::Unclear);
    }

    #[test]
    fn an_old_epoch_that_wrapped_may_have_counted_on_from_its_highest_number() {
        let mut matching = matching(Some(60_000));
        matching.hear(10 * WITHIN, &entry(8, failed("camera", 65_000)));
        matching.hear(101 * WITHIN, &entry(9, joined(true)));
        for seq in [4000, 5000, 5001, 14_000] {
            matching.hear(101 * WITHIN, &entry(seq, Fact::Missed { result: key("camera", seq) }));
        }
        assert_eq!(inspection(&matching.find(5000, 102 * WITHIN)), Some(5000), "the old one was there long ago");
        assert_eq!(matching.find(5001, 102 * WITHIN), Found::Unclear, "its next number");
        assert_eq!(inspection(&matching.find(14_000, 102 * WITHIN)), Some(14_000), "more than it can have had unheard");
    }

    #[test]
    fn a_number_of_which_nothing_was_heard_may_be_that_of_a_picture() {
        let mut matching = matching(None);
        matching.hear(100 * WITHIN, &entry(10, joined(true)));
        matching.hear(100 * WITHIN, &entry(11, failed("camera", 7)));
        assert_eq!(matching.find(7, 101 * WITHIN), Found::Unclear, "nobody knows where the camera stood before");
        assert_eq!(inspection(&matching.find(7, 101 * WITHIN + 1)), None, "and it is too late for this one");
        matching.hear(110 * WITHIN, &entry(12, failed("camera", 8)));
        assert_eq!(inspection(&matching.find(8, 110 * WITHIN)), Some(12));
        // 9 to 11 were missed in one, some time before: their pictures have no fact of their own.
        matching.hear(120 * WITHIN, &entry(13, Fact::Missed { result: key("camera", 12) }));
        assert_eq!(matching.find(10, 115 * WITHIN), Found::Unclear);
        assert_eq!(inspection(&matching.find(12, 115 * WITHIN)), Some(13), "missed before it was noticed");
        matching.hear(121 * WITHIN, &entry(14, joined(true)));
        matching.hear(121 * WITHIN, &entry(15, failed("camera", 2)));
        assert_eq!(inspection(&matching.find(2, 121 * WITHIN)), Some(15));
        assert_eq!(matching.find(1, 120 * WITHIN), Found::Unclear, "the camera had it, unheard");
        matching.hear(121 * WITHIN, &entry(16, failed("camera", 10)));
        assert_eq!(matching.find(10, 121 * WITHIN), Found::Unclear, "or one of the missed ones");
    }

    #[test]
    fn around_a_step_of_the_clock_no_number_names_anything() {
        let mut matching = matching(None);
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
