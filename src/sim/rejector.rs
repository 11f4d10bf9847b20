//! The blade with its encoder and sensors: rejects by default, passes only what was told to pass, confirms every track.
//!
//! Tracks are numbered at the trigger, 1 to 32767 and then 1 again, so that twice the track and the verdict fit one word.
//! A verdict is latched when it changes, answered in `verdict_echo` (by the word, or by the track where verdict and track are
//! written apart), and applies to the track it names while that track is
//! before the blade: a pass may be withdrawn until then, a fail is final. Where the camera drives the blade, verdicts are answered and
//! move nothing. A stale heartbeat clears every pass and forgets the
//! latched word, so that a standing or rewritten word is taken again when the heartbeat is back. End k lies at pair
//! `k % N` of `ends`; end numbers run 1 to the last multiple of N below 2^32, then 1 again. A missing end, a phantom and a
//! full bin latch `fault`, which only a person clears.

use std::collections::VecDeque;

use super::mishap::{Mishap, Planned};
use super::settings::PlantSettings;
use super::tags::{StationValue, Tags};
use super::truth::{Touch, Truth, TruthEvent};
use crate::domain::tag::{StationKind, Tag, TagValue};
use crate::engine::decide::Decide;

const KIND: StationKind = StationKind::Rejector;

/// 16 bits hold twice the track and the verdict.
pub const TRACK_LAST: u64 = 32_767;

/// Travel from the blade to the bin's sensor, to the exit sensor, and to where neither can see the unit any more.
const BIN_US: u64 = 120_000;
const EXIT_US: u64 = 150_000;
const WINDOW_US: u64 = 300_000;

pub const FAULT_MISSING: u64 = 1;
pub const FAULT_PHANTOM: u64 = 2;
pub const FAULT_BIN_FULL: u64 = 3;

/// What may go wrong at the blade, once each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BladeMishap {
    /// A unit that should be rejected slips past the blade and leaves through the exit.
    Slips,
    /// A unit that should be rejected is seen by neither sensor.
    Vanishes,
    /// Something falls into the bin without a command.
    StrayInBin,
}

/// A physical unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// 0 is none: a track without a unit.
    pub number: u64,
    /// What it bears; empty when illegible.
    pub printed: Vec<u8>,
    /// How well it was printed, in thousandths of a grade: whoever looks sees the same.
    pub grade_milli: i64,
    pub is_conforming: bool,
    /// What will happen to it on its way.
    pub fate: Option<Planned>,
}

impl Unit {
    /// A track whose unit was never there, or is there no more.
    pub fn none() -> Self {
        Self { number: 0, printed: Vec::new(), grade_milli: 0, is_conforming: false, fate: None }
    }
}

#[derive(Clone, Debug)]
struct Tracked {
    unit: Unit,
    track: u64,
    blade_at: u64,
    passed: bool,
    failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Exit,
    Bin,
    Nowhere,
}

#[derive(Clone, Debug)]
struct Leaving {
    unit: Unit,
    track: u64,
    at: u64,
    way: Way,
    passed: bool,
}

#[derive(Clone, Debug)]
pub struct Rejector {
    decide: Decide,
    ring: u64,
    end_last: u64,
    bin_capacity: u64,
    tracked: VecDeque<Tracked>,
    leaving: Vec<Leaving>,
    in_count: u64,
    end_count: u64,
    ends: Vec<i64>,
    latched: i64,
    latched_track: i64,
    echo: i64,
    bin_count: u64,
    /// `bin_count` when the bin was emptied last.
    emptied_at: u64,
    phantom_count: u64,
    fault: u64,
    mishaps: Vec<BladeMishap>,
    /// Verdicts latched since they were taken: unit, track, pass.
    decided: Vec<(u64, u64, bool)>,
}

/// A unit whose way has ended at a sensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub unit: Unit,
    /// 1 exit, 2 bin, 3 missing.
    pub end: u8,
}

impl Rejector {
    pub fn new(settings: &PlantSettings) -> Self {
        let ring = settings.ends_ring.max(1) as u64;
        Self {
            decide: settings.decide,
            ring,
            end_last: u64::from(u32::MAX) / ring * ring,
            bin_capacity: settings.bin_capacity,
            tracked: VecDeque::new(),
            leaving: Vec::new(),
            in_count: 0,
            end_count: 0,
            ends: vec![0; settings.ends_ring.max(1) * 2],
            latched: 0,
            latched_track: 0,
            echo: 0,
            bin_count: 0,
            emptied_at: 0,
            phantom_count: 0,
            fault: 0,
            mishaps: Vec::new(),
            decided: Vec::new(),
        }
    }

    /// The trigger: numbers the unit and remembers where the blade will meet it.
    pub fn track(&mut self, unit: Unit, blade_at: u64) -> u64 {
        self.in_count += 1;
        let track = wrapped(self.in_count, TRACK_LAST);
        self.tracked.push_back(Tracked { unit, track, blade_at, passed: false, failed: false });
        track
    }

    pub fn is_clear(&self) -> bool {
        self.tracked.is_empty() && self.leaving.is_empty()
    }

    pub fn fault(&self) -> u64 {
        self.fault
    }

    /// A person clears the fault at the machine, after emptying the bin where it was full.
    pub fn clear_fault(&mut self) {
        if self.fault == FAULT_BIN_FULL {
            self.emptied_at = self.bin_count;
        }
        self.fault = 0;
    }

    pub fn mishap(&mut self, mishap: BladeMishap) {
        self.mishaps.push(mishap);
    }

    /// What has not gone wrong yet does not.
    pub fn drop_mishaps(&mut self) {
        self.mishaps.clear();
        self.tracked.iter_mut().for_each(|tracked| tracked.unit.fate = None);
        self.leaving.iter_mut().for_each(|leaving| leaving.unit.fate = None);
    }

    /// Every pass that was written for a unit before the blade is void; fails stay, and so does what the camera decided.
    pub fn clear_passes(&mut self) {
        for tracked in self.tracked.iter_mut().filter(|_| self.decide == Decide::Line) {
            tracked.passed = false;
        }
        self.latched = 0;
        self.latched_track = 0;
        self.echo = 0;
    }

    /// A restart loses the shift register: what lies between trigger and sensors is taken out by hand, into the bin.
    pub fn reset(&mut self, settings: &PlantSettings) -> Vec<Unit> {
        let leaving = std::mem::take(&mut self.leaving);
        let tracked = std::mem::take(&mut self.tracked);
        let units = leaving.into_iter().map(|l| l.unit).chain(tracked.into_iter().map(|t| t.unit));
        let units = units.filter(|unit| unit.number != 0).collect();
        *self = Rejector::new(settings);
        units
    }

    /// Latches the verdicts written since the last step, in their order, and then what stands.
    pub fn take_verdicts(&mut self, writes: &[StationValue], tags: &Tags) {
        for (kind, tag, value) in writes {
            match value {
                TagValue::Int(word) if *kind == KIND && *tag == Tag::VerdictWord => {
                    self.latch_word(*word);
                }
                TagValue::Bool(_)
                | TagValue::Int(_)
                | TagValue::Milli(_)
                | TagValue::Bytes(_)
                | TagValue::Ints(_)
                | TagValue::Millis(_)
                | TagValue::Texts(_) => {}
            }
        }
        self.latch_word(tags.int(KIND, Tag::VerdictWord));
        let track = tags.int(KIND, Tag::VerdictTrack);
        if track != 0 && track != self.latched_track {
            self.latched_track = track;
            self.echo = track;
            self.written(track * 2 + tags.int(KIND, Tag::Verdict));
        }
    }

    fn latch_word(&mut self, word: i64) {
        if word != 0 && word != self.latched {
            self.latched = word;
            self.echo = word;
            self.written(word);
        }
    }

    fn written(&mut self, word: i64) {
        if self.decide == Decide::Line {
            self.decide(u64::try_from(word / 2).unwrap_or(0), word % 2 == 1);
        }
    }

    /// The verdict on a track: as it was written, or as the camera says.
    pub fn decide(&mut self, track: u64, pass: bool) {
        let Some(tracked) = self.tracked.iter_mut().find(|t| t.track == track) else {
            return;
        };
        if pass {
            tracked.passed = !tracked.failed;
        } else {
            tracked.passed = false;
            tracked.failed = true;
        }
        self.decided.push((tracked.unit.number, track, tracked.passed));
    }

    pub fn take_decided(&mut self) -> Vec<(u64, u64, bool)> {
        std::mem::take(&mut self.decided)
    }

    /// Moves the belt to `travel`: blade, then sensors. Gives back what reached an end.
    pub fn advance(&mut self, travel: u64, epoch: u32, truth: &mut Truth) -> Vec<Ended> {
        while self.tracked.front().is_some_and(|t| t.blade_at <= travel) {
            if let Some(tracked) = self.tracked.pop_front() {
                self.stroke(tracked, truth);
            }
        }
        if self.mishap_happens(BladeMishap::StrayInBin) {
            self.stray(epoch, truth);
        }
        self.leaving.sort_by_key(|leaving| leaving.at);
        let due = self.leaving.partition_point(|l| l.at <= travel);
        let due: Vec<Leaving> = self.leaving.drain(..due).collect();
        due.into_iter().map(|leaving| self.end(leaving, epoch, truth)).collect()
    }

    /// The units between the trigger and the sensors.
    pub fn numbers(&self) -> Vec<u64> {
        let units = self.leaving.iter().map(|l| &l.unit).chain(self.tracked.iter().map(|t| &t.unit));
        units.map(|unit| unit.number).filter(|number| *number != 0).collect()
    }

    /// Two neighbours before the blade change places, and keep each other's verdict: where there is such a pair, one of them
    /// passes and the other does not. Gives back their numbers.
    pub fn swap_neighbours(&mut self) -> Option<Vec<u64>> {
        let units = self.tracked.make_contiguous();
        let is_pair = |pair: &[Tracked]| pair.iter().all(|t| t.unit.number != 0);
        let differs = |pair: &[Tracked]| is_pair(pair) && pair.iter().filter(|t| t.passed).count() == 1;
        let at = units.windows(2).position(differs).or_else(|| units.windows(2).rposition(is_pair))?;
        let (before, after) = units.split_at_mut(at + 1);
        let (one, other) = (before.last_mut()?, after.first_mut()?);
        std::mem::swap(&mut one.unit, &mut other.unit);
        Some(vec![one.unit.number, other.unit.number])
    }

    fn mishap_happens(&mut self, mishap: BladeMishap) -> bool {
        let at = self.mishaps.iter().position(|m| *m == mishap);
        at.map(|at| self.mishaps.remove(at)).is_some()
    }

    fn stroke(&mut self, mut tracked: Tracked, truth: &mut Truth) {
        let fated = tracked.unit.fate.filter(|fate| fate.mishap == Mishap::MissingReject);
        let (way, after) = if tracked.unit.number == 0 {
            (Way::Nowhere, WINDOW_US)
        } else if tracked.passed {
            (Way::Exit, EXIT_US)
        } else if let Some(fate) = fated {
            tracked.unit.fate = None;
            truth.note(TruthEvent::Mishap(Touch::units(Mishap::MissingReject, vec![tracked.unit.number])));
            if fate.choose(0, 2) == 0 { (Way::Exit, EXIT_US) } else { (Way::Nowhere, WINDOW_US) }
        } else if self.mishap_happens(BladeMishap::Slips) {
            (Way::Exit, EXIT_US)
        } else if self.mishap_happens(BladeMishap::Vanishes) {
            (Way::Nowhere, WINDOW_US)
        } else {
            (Way::Bin, BIN_US)
        };
        self.leaving.push(Leaving {
            unit: tracked.unit,
            track: tracked.track,
            at: tracked.blade_at + after,
            way,
            passed: tracked.passed,
        });
    }

    fn stray(&mut self, epoch: u32, truth: &mut Truth) {
        self.phantom_count += 1;
        self.bin_count += 1;
        self.fault = FAULT_PHANTOM;
        let phantom_count = self.phantom_count;
        truth.note(TruthEvent::Mishap(Touch::units(Mishap::PhantomReject, Vec::new())));
        truth.note(TruthEvent::Phantom { epoch, phantom_count });
    }

    fn end(&mut self, leaving: Leaving, epoch: u32, truth: &mut Truth) -> Ended {
        let (end, lies) = match leaving.way {
            Way::Exit => (1, "line"),
            Way::Bin => (2, "bin"),
            Way::Nowhere => (3, "lost"),
        };
        self.end_count += 1;
        let end_seq = wrapped(self.end_count, self.end_last);
        self.write_end(end_seq, leaving.track, end);
        if leaving.way == Way::Bin {
            self.bin_count += 1;
        }
        if leaving.way == Way::Nowhere {
            self.fault = FAULT_MISSING;
        } else if self.is_bin_full() && self.fault == 0 {
            self.fault = FAULT_BIN_FULL;
        }
        truth.note(TruthEvent::End {
            unit: leaving.unit.number,
            epoch,
            track: leaving.track,
            end,
            end_seq,
            passed: leaving.passed,
            lies: lies.into(),
        });
        Ended { unit: leaving.unit, end }
    }

    fn write_end(&mut self, end_seq: u64, track: u64, end: u8) {
        let pair = usize::try_from(end_seq % self.ring).unwrap_or(0);
        let values = [i64::try_from(track).unwrap_or(0), i64::from(end)];
        if let Some(place) = self.ends.get_mut(pair * 2..pair * 2 + 2) {
            place.copy_from_slice(&values);
        }
    }

    fn is_bin_full(&self) -> bool {
        self.bin_capacity > 0 && self.bin_count - self.emptied_at >= self.bin_capacity
    }

    pub fn show(&self, tags: &mut Tags) {
        tags.set_int(KIND, Tag::InCount, wrapped(self.in_count, TRACK_LAST));
        tags.set_ints(KIND, Tag::Ends, &self.ends);
        tags.set_int(KIND, Tag::EndSeq, wrapped(self.end_count, self.end_last));
        tags.set(KIND, Tag::VerdictEcho, TagValue::Int(self.echo));
        tags.set_int(KIND, Tag::PhantomCount, self.phantom_count);
        tags.set_int(KIND, Tag::BinCount, self.bin_count);
        tags.set(KIND, Tag::BinFull, TagValue::Bool(self.is_bin_full()));
        tags.set_int(KIND, Tag::Fault, self.fault);
    }
}

/// A counter as shown: 0 is none yet, then 1 to `last`, then 1 again.
fn wrapped(number: u64, last: u64) -> u64 {
    number.checked_sub(1).map_or(0, |before| before % last.max(1) + 1)
}
