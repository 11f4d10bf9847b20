//! The camera: one result per trigger, shown until it is acknowledged.
//!
//! With a ring of N, result number `seq` lies at index `seq % N` and at most N results are unacknowledged; without one, a
//! result stands until `ack` = `seq`, and a short queue waits behind it. A result that finds no room is dropped: its number is
//! consumed (with a ring `seq` moves on, and its slot still holds what it held) and `overrun` is set until the next
//! acknowledgement. Where it decides by itself, every unit is compared with `expected` as its result is published; a stale serial or a
//! second print of one is nothing that it could know. `seq` counts 1 to `seq_last`, a multiple of N, and then 1 again, so that the index stays continuous.

use std::collections::VecDeque;

use super::codes;
use super::settings::PlantSettings;
use super::tags::Tags;
use super::truth::{Truth, TruthEvent};
use crate::domain::tag::{StationKind, Tag, TagValue};
use crate::engine::decide::Decide;

const KIND: StationKind = StationKind::Camera;

/// Results that wait behind the standing one where there is no ring.
const QUEUE: u64 = 8;

/// What the camera saw at one trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    pub unit: u64,
    /// As the rejector shows it.
    pub track: u64,
    pub ready_at_us: u64,
    /// Empty is a no-read.
    pub code: Vec<u8>,
    pub grade_milli: i64,
    pub glitch: Glitch,
}

/// What goes wrong with one result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glitch {
    None,
    /// Dropped with its number, as if there had been no room.
    Lost,
    /// Shown once more, under a new number.
    Again,
    /// Its number shows another code a little later.
    Altered,
}

/// A camera that decides wants no better print: less than the line asks for.
const GRADE_MIN_MILLI: i64 = 1_000;
/// After so long a result is shown again or altered.
const GLITCH_US: u64 = 5_000;

#[derive(Clone, Debug)]
pub struct Camera {
    ring: u64,
    seq_last: u64,
    exposures: Vec<Exposure>,
    /// Numbers are counted without wrap inside and wrapped where they are shown.
    issued: u64,
    published: u64,
    acked: u64,
    ack_written: i64,
    overrun: bool,
    codes: Vec<Vec<u8>>,
    tracks: Vec<i64>,
    grades: Vec<i64>,
    waiting: VecDeque<(u64, Exposure)>,
    /// Units of the results that are published and not acknowledged.
    standing: VecDeque<(u64, u64)>,
    /// Numbers that show another code from a time on.
    altered: Vec<(u64, u64)>,
    /// Units of the newest results.
    fresh: Vec<u64>,
    decide: Decide,
    /// What it compares with; empty: nothing passes.
    expected: Vec<u8>,
    /// What it decided since that was taken: track, pass.
    decided: Vec<(u64, bool)>,
}

impl Camera {
    pub fn new(settings: &PlantSettings) -> Self {
        let slots = settings.ring.max(1);
        Self {
            ring: settings.ring as u64,
            seq_last: settings.seq_last.max(1),
            exposures: Vec::new(),
            issued: 0,
            published: 0,
            acked: 0,
            ack_written: 0,
            overrun: false,
            codes: vec![Vec::new(); slots],
            tracks: vec![0; slots],
            grades: vec![0; slots],
            waiting: VecDeque::new(),
            standing: VecDeque::new(),
            altered: Vec::new(),
            fresh: Vec::new(),
            decide: settings.decide,
            expected: Vec::new(),
            decided: Vec::new(),
        }
    }

    pub fn expose(&mut self, exposure: Exposure) {
        self.exposures.push(exposure);
    }

    /// A restart: what was seen and not yet acknowledged is lost.
    pub fn reset(&mut self, settings: &PlantSettings) {
        *self = Camera::new(settings);
    }

    fn wrapped(&self, number: u64) -> u64 {
        number.checked_sub(1).map_or(0, |before| before % self.seq_last + 1)
    }

    /// Takes what it is to expect, and the acknowledgement: the highest number without a gap. One that names nothing shown is ignored.
    pub fn take(&mut self, addressed: bool, tags: &Tags) {
        self.expected = if addressed { tags.bytes(KIND, Tag::Expected).to_vec() } else { Vec::new() };
        let ack = tags.int(KIND, Tag::Ack);
        if !addressed || ack == self.ack_written {
            return;
        }
        self.ack_written = ack;
        let named = (self.acked + 1..=self.published).find(|number| i64::try_from(self.wrapped(*number)) == Ok(ack));
        if let Some(number) = named {
            self.acked = number;
            self.overrun = false;
            self.standing.retain(|(standing, _)| *standing > number);
        }
    }

    /// Publishes what is ready, in the order in which it became ready.
    pub fn publish(&mut self, now_us: u64, epoch: u32, truth: &mut Truth) {
        self.exposures.sort_by_key(|exposure| (exposure.ready_at_us, exposure.unit));
        let ready = self.exposures.partition_point(|exposure| exposure.ready_at_us <= now_us);
        let ready: Vec<Exposure> = self.exposures.drain(..ready).collect();
        self.fresh = ready.iter().map(|exposure| exposure.unit).collect();
        for exposure in ready {
            self.issued += 1;
            let dropped = !self.has_room() || exposure.glitch == Glitch::Lost;
            truth.note(TruthEvent::Result {
                unit: exposure.unit,
                epoch,
                seq: self.wrapped(self.issued),
                track: exposure.track,
                dropped,
            });
            self.judge(&exposure);
            self.prepare_glitch(&exposure, dropped);
            match dropped {
                true => self.drop_newest(),
                false if self.ring == 0 => self.waiting.push_back((self.issued, exposure)),
                false => self.store(exposure),
            }
        }
        self.show_next();
        self.alter(now_us);
    }

    /// Units whose result is on its way or waits for its acknowledgement.
    pub fn unanswered(&self) -> Vec<u64> {
        let standing = self.standing.iter().map(|(_, unit)| *unit);
        standing.chain(self.exposures.iter().map(|exposure| exposure.unit)).collect()
    }

    /// Decides on the unit, where that is its part.
    fn judge(&mut self, exposure: &Exposure) {
        if self.decide == Decide::Device {
            let is_good = exposure.grade_milli >= GRADE_MIN_MILLI;
            let pass = is_good && !self.expected.is_empty() && codes::agrees(&exposure.code, &self.expected);
            self.decided.push((exposure.track, pass));
        }
    }

    pub fn take_decided(&mut self) -> Vec<(u64, bool)> {
        std::mem::take(&mut self.decided)
    }

    /// Units whose result was published or dropped since the last call.
    pub fn take_fresh(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.fresh)
    }

    fn prepare_glitch(&mut self, exposure: &Exposure, dropped: bool) {
        if dropped {
            return;
        }
        self.standing.push_back((self.issued, exposure.unit));
        let at = exposure.ready_at_us + GLITCH_US;
        match exposure.glitch {
            Glitch::None | Glitch::Lost => {}
            Glitch::Again => {
                self.exposures.push(Exposure { ready_at_us: at, glitch: Glitch::None, ..exposure.clone() });
            }
            Glitch::Altered => self.altered.push((self.issued, at)),
        }
    }

    fn alter(&mut self, now_us: u64) {
        let (due, later) = std::mem::take(&mut self.altered).into_iter().partition(|(_, at)| *at <= now_us);
        self.altered = later;
        let due: Vec<(u64, u64)> = due;
        for (number, _) in due {
            // A slot that was used again meanwhile, or a result that is shown no more, cannot change.
            if self.issued.saturating_sub(number) >= self.ring.max(1) {
                continue;
            }
            let slot = self.wrapped(number).checked_rem(self.ring).and_then(|slot| usize::try_from(slot).ok());
            if let Some(code) = self.codes.get_mut(slot.unwrap_or(0)) {
                code.reverse();
            }
        }
    }

    fn has_room(&self) -> bool {
        match self.ring {
            0 => (self.waiting.len() as u64) < QUEUE,
            ring => self.issued - self.acked <= ring,
        }
    }

    fn drop_newest(&mut self) {
        self.overrun = true;
        if self.ring != 0 {
            self.published = self.issued;
        }
    }

    fn store(&mut self, exposure: Exposure) {
        let track = i64::try_from(exposure.track).unwrap_or(0);
        self.fill(self.issued, exposure.code, track, exposure.grade_milli);
        self.published = self.issued;
    }

    fn fill(&mut self, number: u64, code: Vec<u8>, track: i64, grade: i64) {
        let slot = self.wrapped(number).checked_rem(self.ring).unwrap_or(0);
        let slot = usize::try_from(slot).unwrap_or(0);
        let slots = (self.codes.get_mut(slot), self.tracks.get_mut(slot), self.grades.get_mut(slot));
        if let (Some(at_code), Some(at_track), Some(at_grade)) = slots {
            *at_code = code;
            *at_track = track;
            *at_grade = grade;
        }
    }

    /// Without a ring: the next result, once the standing one is acknowledged.
    fn show_next(&mut self) {
        if self.ring != 0 || self.acked != self.published {
            return;
        }
        if let Some((number, exposure)) = self.waiting.pop_front() {
            // Dropped numbers between are acknowledged with their successor, since they are never shown.
            let track = i64::try_from(exposure.track).unwrap_or(0);
            self.fill(number, exposure.code, track, exposure.grade_milli);
            self.acked = number - 1;
            self.published = number;
        }
    }

    pub fn show(&self, tags: &mut Tags) {
        tags.set_int(KIND, Tag::Seq, self.wrapped(self.published));
        tags.set(KIND, Tag::Overrun, TagValue::Bool(self.overrun));
        if self.ring == 0 {
            let first = |values: &[i64]| values.first().copied().unwrap_or(0);
            let code = self.codes.first().map(Vec::as_slice).unwrap_or_default();
            tags.set_bytes(KIND, Tag::Code, code);
            tags.set(KIND, Tag::Track, TagValue::Int(first(&self.tracks)));
            tags.set(KIND, Tag::Grade, TagValue::Milli(first(&self.grades)));
        } else {
            tags.set_texts(KIND, Tag::Code, &self.codes);
            tags.set_ints(KIND, Tag::Track, &self.tracks);
            tags.set_millis(KIND, Tag::Grade, &self.grades);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        camera: Camera,
        tags: Tags,
        truth: Truth,
        unit: u64,
    }

    fn bench(ring: usize, seq_last: u64) -> Bench {
        let settings = PlantSettings { ring, seq_last, ..PlantSettings::default() };
        Bench { camera: Camera::new(&settings), tags: Tags::new(&settings), truth: Truth::default(), unit: 0 }
    }

    impl Bench {
        fn see(&mut self) {
            self.unit += 1;
            self.camera.expose(Exposure {
                unit: self.unit,
                track: self.unit,
                ready_at_us: 0,
                code: vec![b'a'],
                grade_milli: 3000,
                glitch: Glitch::None,
            });
            self.step();
        }

        fn ack(&mut self, seq: i64) {
            self.tags.write(vec![(KIND, Tag::Ack, TagValue::Int(seq))]).expect("ack is written");
            self.step();
        }

        fn step(&mut self) {
            self.camera.take(true, &self.tags);
            self.camera.publish(1, 1, &mut self.truth);
            self.camera.show(&mut self.tags);
        }

        fn seq(&self) -> i64 {
            self.tags.int(KIND, Tag::Seq)
        }

        fn overrun(&self) -> i64 {
            self.tags.int(KIND, Tag::Overrun)
        }

        fn tracks(&self) -> Vec<i64> {
            match self.tags.value(KIND, Tag::Track) {
                Some(TagValue::Ints(tracks)) => tracks.clone(),
                other => panic!("no ring: {other:?}"),
            }
        }
    }

    #[test]
    fn drops_the_newest_and_consumes_its_number_when_the_ring_is_full() {
        let mut bench = bench(4, 400);
        (0..6).for_each(|_| bench.see());
        assert_eq!((bench.seq(), bench.overrun()), (6, 1));
        assert_eq!(bench.tracks(), [4, 1, 2, 3], "5 and 6 were dropped");
        bench.ack(6);
        assert_eq!((bench.seq(), bench.overrun()), (6, 0));
        bench.see();
        assert_eq!(bench.seq(), 7);
        assert_eq!(bench.tracks(), [4, 1, 2, 7]);
    }

    #[test]
    fn wraps_at_a_multiple_of_the_ring() {
        let mut bench = bench(4, 8);
        for seq in 1..=8 {
            bench.see();
            bench.ack(seq);
        }
        bench.see();
        assert_eq!(bench.seq(), 1);
        assert_eq!(bench.tracks(), [8, 9, 6, 7]);
        bench.ack(1);
        (0..4).for_each(|_| bench.see());
        assert_eq!((bench.seq(), bench.overrun()), (5, 0));
    }

    #[test]
    fn lets_one_result_stand_until_it_is_acknowledged() {
        let mut bench = bench(0, 100);
        (0..10).for_each(|_| bench.see());
        assert_eq!((bench.seq(), bench.overrun()), (1, 1));
        bench.ack(2);
        assert_eq!(bench.seq(), 1, "an acknowledgement of nothing shown");
        bench.ack(1);
        assert_eq!((bench.seq(), bench.overrun()), (2, 0));
        assert_eq!(bench.tags.int(KIND, Tag::Track), 2);
    }
}
