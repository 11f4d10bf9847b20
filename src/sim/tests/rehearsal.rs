//! Tests of the physics at the tag level, with a small controller that answers as the contract asks.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::tag::{Access, StationKind, Tag, TagValue};
use crate::engine::decide::Decide;
use crate::sim::closer::CloserMishap;
use crate::sim::physics::{Deed, Plant};
use crate::sim::rejector::BladeMishap;
use crate::sim::settings::{PlantSettings, Weather};
use crate::sim::tags::Tags;
use crate::sim::truth::{TruthEvent, TruthLine};

use StationKind::{Camera, Packer, Palletizer, Printer, Rejector};

const STEP_US: u64 = 1_000;

/// What the controller does at each step; a test turns parts of it off.
struct Controller {
    beats: bool,
    writes_epoch: bool,
    prints: bool,
    acks: bool,
    passes: bool,
    closes: bool,
    permits_run: bool,
    ttl_ms: i64,
    beat: i64,
    sent: i64,
    seen_seq: i64,
    passed_codes: BTreeSet<Vec<u8>>,
    token: i64,
    answered: BTreeMap<u8, i64>,
}

struct Rig {
    plant: Plant,
    tags: Tags,
    now_us: u64,
    controller: Controller,
    truth: Vec<TruthLine>,
}

fn quick(weather: Weather) -> PlantSettings {
    PlantSettings {
        rate_per_minute: 6000,
        units_min: 40,
        case_capacity: 5,
        pallet_capacity: 4,
        weather,
        ..PlantSettings::default()
    }
}

fn rig(settings: PlantSettings) -> Rig {
    let tags = Tags::new(&settings);
    Rig {
        plant: Plant::new(settings),
        tags,
        now_us: 0,
        controller: Controller {
            beats: true,
            writes_epoch: true,
            prints: true,
            acks: true,
            passes: true,
            closes: true,
            permits_run: true,
            ttl_ms: 1000,
            beat: 0,
            sent: 0,
            seen_seq: 0,
            passed_codes: BTreeSet::new(),
            token: 0,
            answered: BTreeMap::new(),
        },
        truth: Vec::new(),
    }
}

fn int(tag: Tag, value: i64) -> (Tag, TagValue) {
    (tag, TagValue::Int(value))
}

impl Rig {
    fn write(&mut self, kind: StationKind, values: Vec<(Tag, TagValue)>) {
        let values = values.into_iter().map(|(tag, value)| (kind, tag, value));
        self.tags.write(values.collect()).expect("the write is legal");
    }

    fn get(&self, kind: StationKind, tag: Tag) -> i64 {
        self.tags.int(kind, tag)
    }

    /// One step of the plant, then one of the controller.
    fn step(&mut self) {
        self.now_us += STEP_US;
        self.plant.step(self.now_us, &mut self.tags);
        self.truth.extend(self.plant.take_truth());
        self.control_links();
        self.control_printer();
        self.control_verdicts();
        for kind in [Packer, Palletizer] {
            self.control_closer(kind);
        }
    }

    fn run_ms(&mut self, ms: u64) {
        (0..ms).for_each(|_| self.step());
    }

    /// Steps until `holds`, at most a minute of plant time.
    fn until(&mut self, what: &str, holds: impl Fn(&Rig) -> bool) {
        for _ in 0..60_000 {
            if holds(self) {
                return;
            }
            self.step();
        }
        panic!("never: {what}; {:?}", self.plant.counters());
    }

    fn start(&mut self) {
        self.until("start is allowed", |rig| rig.plant.view().can_start);
        self.plant.order(Deed::PressStart);
        self.step();
        assert!(self.plant.view().is_running);
    }

    fn control_links(&mut self) {
        self.controller.beat += 1;
        for kind in StationKind::ALL {
            if self.controller.writes_epoch {
                let epoch = self.get(*kind, Tag::Epoch);
                self.write(*kind, vec![int(Tag::EpochOut, epoch)]);
            }
            if self.controller.beats {
                let beat = self.controller.beat % 60_000;
                self.write(*kind, vec![int(Tag::HeartbeatOut, beat)]);
            }
        }
        let permit = TagValue::Bool(self.controller.permits_run);
        self.write(Rejector, vec![(Tag::RunPermit, permit)]);
    }

    fn control_printer(&mut self) {
        if !self.controller.prints || self.get(Printer, Tag::AcceptedSeq) != self.controller.sent {
            return;
        }
        self.controller.sent += 1;
        let seq = self.controller.sent;
        let data = format!("010950600013435221S{seq:05}\x1D1727033110L7").into_bytes();
        self.write(Printer, vec![(Tag::Data, TagValue::Bytes(data)), int(Tag::DataSeq, seq)]);
    }

    /// The results shown and not yet answered: code, track, grade.
    fn results(&self) -> Vec<(Vec<u8>, i64, i64)> {
        let value = |tag| self.tags.value(Camera, tag).cloned();
        let (Some(TagValue::Texts(codes)), Some(TagValue::Ints(tracks)), Some(TagValue::Millis(grades))) =
            (value(Tag::Code), value(Tag::Track), value(Tag::Grade))
        else {
            panic!("the camera has a ring");
        };
        let new = self.controller.seen_seq + 1..=self.get(Camera, Tag::Seq);
        new.map(|seq| {
            let slot = usize::try_from(seq).expect("positive") % codes.len();
            (codes[slot].clone(), tracks[slot], grades[slot])
        })
        .collect()
    }

    fn control_verdicts(&mut self) {
        if !self.controller.acks {
            return;
        }
        for (code, track, grade) in self.results() {
            let is_ours = code.starts_with(b"010950600013435221S") && code.ends_with(b"10L7");
            let is_good = is_ours && grade >= 1500 && track > 0 && self.controller.passes;
            let pass = is_good && self.controller.passed_codes.insert(code);
            let word = track * 2 + i64::from(pass);
            self.write(Rejector, vec![int(Tag::VerdictWord, word)]);
        }
        self.controller.seen_seq = self.get(Camera, Tag::Seq);
        let seq = self.controller.seen_seq;
        self.write(Camera, vec![int(Tag::Ack, seq)]);
    }

    fn control_closer(&mut self, kind: StationKind) {
        let seq = self.get(kind, Tag::Seq);
        let result = self.get(kind, Tag::CloseResult);
        let answered = self.controller.answered.get(&(kind as u8)).copied();
        if !self.controller.closes || seq == 0 {
            return;
        }
        if result != 0 {
            self.write(kind, vec![int(Tag::Reply, 0)]);
        } else if answered != Some(seq) {
            self.controller.answered.insert(kind as u8, seq);
            self.permit(kind, seq);
        }
    }

    fn permit(&mut self, kind: StationKind, seq: i64) {
        self.controller.token += 1;
        let token = self.controller.token;
        self.permit_with(kind, seq, token);
    }

    fn permit_with(&mut self, kind: StationKind, seq: i64, token: i64) {
        let container = self.get(kind, Tag::Container);
        let label = format!("00{}{container:017}", kind as u8).into_bytes();
        let ttl_ms = self.controller.ttl_ms;
        self.write(
            kind,
            vec![
                int(Tag::Token, token),
                int(Tag::TtlMs, ttl_ms),
                (Tag::Label, TagValue::Bytes(label)),
                int(Tag::Reply, 3),
                int(Tag::ReplySeq, seq),
            ],
        );
    }

    fn gates(&self, station: StationKind) -> usize {
        let is_gate = |line: &&TruthLine| matches!(&line.event, TruthEvent::Gate { request, .. } if request.station == station.name());
        self.truth.iter().filter(is_gate).count()
    }

    /// Where each unit ended: the end and whether it is conforming.
    fn ends(&self) -> Vec<(u8, bool)> {
        let mut conforming = BTreeMap::new();
        let mut ends = Vec::new();
        for line in &self.truth {
            if let TruthEvent::Unit { unit, spoil, .. } = &line.event {
                conforming.insert(*unit, spoil == "none");
            }
            if let TruthEvent::End { unit, end, .. } = &line.event {
                ends.push((*end, conforming[unit]));
            }
        }
        ends
    }
}

#[test]
fn fills_every_pallet_and_passes_every_conforming_unit_and_no_other() {
    let mut rig = rig(PlantSettings {
        units_min: 1000,
        ..quick(Weather { no_read: 100, low_grade: 100, wrong_lot: 100, duplicate: 100, foreign: 100 })
    });
    rig.start();
    rig.until("finished", |rig| rig.plant.view().is_finished);
    let counters = rig.plant.counters();
    assert!(counters.presented >= 1000);
    assert_eq!(counters.presented, counters.passed + counters.rejected);
    assert_eq!(counters.passed, counters.pallets_closed * 20);
    assert_eq!(counters.cases_closed, counters.pallets_closed * 4);
    assert!(rig.ends().iter().all(|(end, conforming)| *end == if *conforming { 1 } else { 2 }));
    for spoil in ["no_read", "low_grade", "wrong_lot", "duplicate", "foreign", "none"] {
        let is_seen = |line: &TruthLine| matches!(&line.event, TruthEvent::Unit { spoil: s, .. } if s == spoil);
        assert!(rig.truth.iter().any(is_seen), "{spoil} never happened");
    }
}

#[test]
fn is_the_same_plant_for_the_same_seed() {
    let run = |seed| {
        let mut rig = rig(PlantSettings { seed, ..quick(Weather::MILD) });
        rig.start();
        rig.until("finished", |rig| rig.plant.view().is_finished);
        rig.truth
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn rejects_by_default_when_nobody_answers() {
    let mut rig = rig(PlantSettings { units_min: 200, ..quick(Weather::NONE) });
    rig.controller.acks = false;
    rig.start();
    rig.until("ten ends", |rig| rig.ends().len() >= 10);
    assert!(rig.ends().iter().all(|(end, _)| *end == 2));
    assert_eq!(rig.get(Camera, Tag::Overrun), 1, "the ring is full and says so");
    let tracks = match rig.tags.value(Camera, Tag::Track) {
        Some(TagValue::Ints(tracks)) => tracks.clone(),
        other => panic!("a ring: {other:?}"),
    };
    let oldest: BTreeSet<i64> = (1..=64).collect();
    assert_eq!(tracks.into_iter().collect::<BTreeSet<_>>(), oldest);
}

#[test]
fn stops_and_clears_every_pass_when_the_heartbeat_is_stale_and_waits_for_the_operator() {
    let mut rig = rig(quick(Weather::NONE));
    rig.start();
    rig.until("a pass is latched", |rig| rig.get(Rejector, Tag::VerdictEcho) % 2 == 1);
    let in_count = rig.get(Rejector, Tag::InCount);
    rig.controller.beats = false;
    rig.controller.acks = false;
    rig.run_ms(1100);
    assert!(!rig.plant.view().is_running);
    assert_eq!(rig.get(Rejector, Tag::VerdictEcho), 0);
    assert!(rig.ends().is_empty());
    rig.controller.beats = true;
    rig.run_ms(500);
    assert!(!rig.plant.view().is_running, "it never starts by itself");
    rig.start();
    rig.until("all of them met the blade", |rig| rig.ends().len() as i64 >= in_count);
    let passed = rig.ends().iter().filter(|(end, _)| *end == 1).count();
    assert!(passed <= 1, "only the standing word may be taken again, not {passed}");
}

#[test]
fn keeps_a_fail_final_and_lets_a_pass_be_withdrawn() {
    let mut rig = rig(quick(Weather::NONE));
    rig.controller.acks = false;
    rig.start();
    rig.until("four tracks", |rig| rig.get(Rejector, Tag::InCount) >= 4);
    // Track 1 passes, 2 is withdrawn, 3 is passed after a fail, 4 is never answered.
    for word in [3, 5, 4, 6, 7] {
        rig.write(Rejector, vec![int(Tag::VerdictWord, word)]);
    }
    rig.until("four ends", |rig| rig.ends().len() >= 4);
    let ends: Vec<u8> = rig.ends().iter().take(4).map(|(end, _)| *end).collect();
    assert_eq!(ends.iter().filter(|end| **end == 1).count(), 1);
    let Some(TagValue::Ints(ring)) = rig.tags.value(Rejector, Tag::Ends) else {
        panic!("ends is a ring");
    };
    let shown: BTreeMap<i64, i64> = (1..=4).map(|k| (ring[2 * k], ring[2 * k + 1])).collect::<BTreeMap<_, _>>();
    assert_eq!(shown, BTreeMap::from([(1, 1), (2, 2), (3, 2), (4, 2)]));
    rig.write(Rejector, vec![int(Tag::VerdictWord, 3)]);
    rig.step();
    assert_eq!(rig.get(Rejector, Tag::VerdictEcho), 3, "echoed, and too late");
}

#[test]
fn obeys_nothing_in_another_epoch() {
    let mut rig = rig(quick(Weather::NONE));
    rig.controller.writes_epoch = false;
    rig.run_ms(200);
    assert!(!rig.plant.view().can_start);
    assert_eq!(rig.get(Printer, Tag::AcceptedSeq), 0);
    rig.controller.writes_epoch = true;
    rig.start();
    rig.until("a case is asked for", |rig| rig.get(Packer, Tag::Seq) == 1);
    rig.plant.order(Deed::Reset(Rejector));
    let epoch = rig.get(Rejector, Tag::Epoch);
    rig.step();
    assert_ne!(rig.get(Rejector, Tag::Epoch), epoch);
    assert_eq!(rig.get(Rejector, Tag::InCount), 0);
    rig.step();
    assert!(!rig.plant.view().is_running, "the run permit of the old epoch is void");
}

#[test]
fn ignores_a_permit_of_an_old_epoch() {
    let mut rig = rig(quick(Weather::NONE));
    rig.controller.closes = false;
    rig.start();
    rig.until("a case is asked for", |rig| rig.get(Packer, Tag::Seq) == 1);
    let epoch = rig.get(Packer, Tag::Epoch);
    rig.controller.writes_epoch = false;
    rig.write(Packer, vec![int(Tag::EpochOut, epoch + 1)]);
    rig.permit_with(Packer, 1, 77);
    rig.run_ms(50);
    assert_eq!((rig.gates(Packer), rig.get(Packer, Tag::PermitAck)), (0, 0));
    rig.write(Packer, vec![int(Tag::EpochOut, epoch)]);
    rig.until("the gate opens", |rig| rig.gates(Packer) == 1);
    assert_eq!(rig.get(Packer, Tag::PermitAck), 77);
}

#[test]
fn counts_a_permits_time_from_first_sight_and_never_again() {
    let mut rig = rig(quick(Weather::NONE));
    rig.controller.closes = false;
    rig.controller.ttl_ms = 300;
    rig.start();
    rig.until("a case is asked for", |rig| rig.get(Packer, Tag::Seq) == 1);
    // Seen under another request's number, so not obeyed; the time runs all the same.
    rig.permit_with(Packer, 99, 5);
    rig.run_ms(200);
    rig.permit_with(Packer, 99, 5);
    rig.run_ms(200);
    rig.permit_with(Packer, 1, 5);
    rig.run_ms(20);
    assert_eq!(rig.get(Packer, Tag::CloseResult), 3);
    assert_eq!(rig.get(Packer, Tag::PermitAck), 5);
    assert_eq!(rig.gates(Packer), 0);
    assert_eq!(rig.get(Packer, Tag::Seq), 1, "a new number waits for the withdrawal");
    rig.write(Packer, vec![int(Tag::Reply, 0)]);
    rig.run_ms(2);
    assert_eq!((rig.get(Packer, Tag::Seq), rig.get(Packer, Tag::Container)), (2, 1));
    rig.permit_with(Packer, 2, 5);
    rig.run_ms(50);
    assert_eq!(rig.gates(Packer), 0, "a spent token stays spent");
    rig.permit_with(Packer, 2, 6);
    rig.until("the gate opens", |rig| rig.gates(Packer) == 1);
}

#[test]
fn opens_once_for_one_token() {
    let mut rig = rig(quick(Weather::NONE));
    rig.controller.closes = false;
    rig.start();
    rig.until("a case is asked for", |rig| rig.get(Packer, Tag::Seq) == 1);
    rig.permit_with(Packer, 1, 9);
    rig.until("sealed", |rig| rig.get(Packer, Tag::CloseResult) == 1);
    rig.run_ms(300);
    assert_eq!(rig.get(Packer, Tag::Seq), 1, "the permit is not withdrawn yet");
    rig.write(Packer, vec![int(Tag::Reply, 0)]);
    rig.until("release is asked for", |rig| rig.get(Packer, Tag::Seq) == 2);
    assert_eq!(rig.get(Packer, Tag::Request), 2);
    assert_eq!(rig.tags.bytes(Packer, Tag::LabelRead), b"00300000000000000001");
    rig.permit_with(Packer, 2, 9);
    rig.run_ms(300);
    assert_eq!(rig.gates(Packer), 1);
}

#[test]
fn asks_again_under_a_new_number_after_a_denial() {
    let mut rig = rig(quick(Weather::NONE));
    rig.controller.closes = false;
    rig.start();
    rig.until("a case is asked for", |rig| rig.get(Packer, Tag::Seq) == 1);
    rig.write(Packer, vec![int(Tag::Reply, 1), int(Tag::ReplySeq, 1)]);
    rig.step();
    rig.step();
    rig.permit_with(Packer, 1, 4);
    rig.run_ms(100);
    assert_eq!(rig.gates(Packer), 0, "the denied request is over");
    rig.until("asked again", |rig| rig.get(Packer, Tag::Seq) == 2);
    assert_eq!(rig.get(Packer, Tag::Container), 1);
    let Some(TagValue::Texts(children)) = rig.tags.value(Packer, Tag::Children).cloned() else {
        panic!("children are texts");
    };
    let bad = children[2].clone();
    rig.plant.order(Deed::TakeOut(Packer, bad.clone()));
    rig.run_ms(50);
    assert_eq!(rig.tags.value(Packer, Tag::Children), Some(&TagValue::Texts(children)), "frozen");
    rig.write(Packer, vec![int(Tag::Reply, 1), int(Tag::ReplySeq, 2)]);
    rig.until("asked without it", |rig| rig.get(Packer, Tag::Seq) == 3);
    let Some(TagValue::Texts(children)) = rig.tags.value(Packer, Tag::Children) else {
        panic!("children are texts");
    };
    assert!(!children.contains(&bad));
    assert_eq!(rig.get(Packer, Tag::ChildCount), 5);
    assert_eq!(rig.get(Packer, Tag::Container), 1);
}

#[test]
fn does_not_open_a_gate_under_a_stale_heartbeat() {
    let mut rig = rig(quick(Weather::NONE));
    rig.controller.closes = false;
    rig.start();
    rig.until("a case is asked for", |rig| rig.get(Packer, Tag::Seq) == 1);
    rig.controller.beats = false;
    rig.controller.ttl_ms = 10_000;
    rig.run_ms(1100);
    rig.permit_with(Packer, 1, 3);
    rig.run_ms(200);
    assert_eq!(rig.gates(Packer), 0);
    rig.controller.beats = true;
    rig.until("the gate opens", |rig| rig.gates(Packer) == 1);
}

#[test]
fn starves_without_records_and_flushes_on_demand() {
    let mut rig = rig(quick(Weather::NONE));
    rig.controller.prints = false;
    rig.start();
    rig.run_ms(500);
    assert_eq!(rig.plant.counters().presented, 0);
    rig.controller.prints = true;
    rig.until("units enter", |rig| rig.plant.counters().presented >= 3);
    rig.controller.permits_run = false;
    rig.run_ms(200);
    assert_eq!(rig.get(Printer, Tag::Remaining), 16, "full, and the next waits");
    assert_eq!(rig.get(Printer, Tag::AcceptedSeq) + 1, rig.controller.sent);
    assert_eq!(rig.get(Printer, Tag::NextSeq), rig.get(Printer, Tag::PrintedSeq) + 1);
    rig.controller.prints = false;
    rig.write(Printer, vec![int(Tag::Flush, 1)]);
    rig.step();
    assert_eq!(rig.get(Printer, Tag::FlushDone), 1);
    assert_eq!(rig.get(Printer, Tag::Remaining), 0);
    let burned = |line: &TruthLine| matches!(&line.event, TruthEvent::Burned { records, .. } if records.len() == 17);
    assert!(rig.truth.iter().any(burned));
}

#[test]
fn latches_a_fault_for_a_missing_and_for_a_phantom_reject() {
    let mut rig = rig(quick(Weather::NONE));
    rig.controller.passes = false;
    rig.plant.order(Deed::Blade(BladeMishap::Vanishes));
    rig.start();
    rig.until("a fault", |rig| rig.get(Rejector, Tag::Fault) == 1);
    rig.step();
    assert!(!rig.plant.view().is_running && !rig.plant.view().can_start);
    rig.plant.order(Deed::ClearFault);
    rig.start();
    rig.plant.order(Deed::Blade(BladeMishap::StrayInBin));
    rig.until("a phantom", |rig| rig.get(Rejector, Tag::Fault) == 2);
    assert_eq!(rig.get(Rejector, Tag::PhantomCount), 1);
    let binned = rig.ends().iter().filter(|(end, _)| *end == 2).count();
    assert_eq!(rig.get(Rejector, Tag::BinCount), binned as i64 + 1);
}

#[test]
fn shows_a_unit_that_slipped_past_the_blade_at_the_exit() {
    let mut rig = rig(quick(Weather::NONE));
    rig.controller.passes = false;
    rig.plant.order(Deed::Blade(BladeMishap::Slips));
    rig.start();
    rig.until("three ends", |rig| rig.ends().len() >= 3);
    let ends: Vec<u8> = rig.ends().iter().map(|(end, _)| *end).collect();
    assert_eq!(ends.iter().filter(|end| **end == 1).count(), 1);
}

#[test]
fn reports_a_failed_seal_and_an_unread_label() {
    let mut rig = rig(quick(Weather::NONE));
    rig.plant.order(Deed::Closer(Packer, CloserMishap::SealFails));
    rig.plant.order(Deed::Closer(Packer, CloserMishap::LabelUnreadable));
    rig.start();
    rig.until("the seal failed", |rig| rig.get(Packer, Tag::CloseResult) == 2);
    rig.until("release is asked for", |rig| rig.get(Packer, Tag::Request) == 2);
    assert!(rig.tags.bytes(Packer, Tag::LabelRead).is_empty());
    assert_eq!(rig.get(Packer, Tag::Container), 1);
    assert_eq!(rig.get(Packer, Tag::Seq), 3, "seal, seal again, release");
}

#[test]
fn holds_the_belt_while_the_packer_is_full() {
    let mut rig = rig(PlantSettings { units_min: 200, ..quick(Weather::NONE) });
    rig.controller.closes = false;
    rig.start();
    rig.until("it is held", |rig| rig.get(Packer, Tag::State) == 5);
    let presented = rig.plant.counters().presented;
    rig.run_ms(500);
    assert_eq!(rig.plant.counters().presented, presented);
    rig.controller.closes = true;
    rig.until("finished", |rig| rig.plant.view().is_finished);
}

#[test]
fn goes_on_after_a_restart_of_any_machine() {
    for kind in StationKind::ALL {
        let mut rig = rig(PlantSettings { units_min: 400, ..quick(Weather::NONE) });
        rig.start();
        rig.until("cases are closed", |rig| rig.plant.counters().cases_closed >= 6);
        rig.plant.order(Deed::Reset(*kind));
        rig.now_us += STEP_US;
        rig.plant.step(rig.now_us, &mut rig.tags);
        let written = rig.tags.list().filter(|(k, tag, _)| k == kind && tag.access() == Access::Write);
        for (_, tag, shape) in written {
            assert_eq!(rig.tags.value(*kind, tag), Some(&shape.zero()), "{kind:?}.{tag}: what was written is void");
        }
        match kind {
            Printer => rig.controller.sent = 0,
            Camera => rig.controller.seen_seq = 0,
            Packer | Palletizer => {
                rig.controller.answered.remove(&(*kind as u8));
            }
            Rejector => {}
        }
        rig.until("start is allowed or it runs", |rig| rig.plant.view().can_start || rig.plant.view().is_running);
        rig.plant.order(Deed::PressStart);
        rig.until("finished", |rig| {
            assert!(rig.plant.counters().presented < 2000, "{kind:?}: {:?}", rig.plant.counters());
            rig.plant.view().is_finished
        });
        assert!(rig.plant.counters().presented >= 400, "{kind:?}");
    }
}

#[test]
fn keeps_every_result_while_the_controller_is_away_for_two_seconds() {
    let mut rig = rig(PlantSettings { rate_per_minute: 1800, units_min: 200, ..quick(Weather::NONE) });
    rig.start();
    rig.until("units pass", |rig| rig.plant.counters().passed >= 20);
    rig.controller.beats = false;
    rig.controller.acks = false;
    rig.controller.prints = false;
    rig.controller.closes = false;
    rig.run_ms(2000);
    assert!(!rig.plant.view().is_running);
    assert_eq!(rig.get(Camera, Tag::Overrun), 0);
    rig.controller.beats = true;
    rig.controller.acks = true;
    rig.controller.prints = true;
    rig.controller.closes = true;
    rig.start();
    rig.until("finished", |rig| rig.plant.view().is_finished);
}

#[test]
fn takes_a_verdict_in_two_tags_and_answers_with_the_track() {
    let mut rig = rig(quick(Weather::NONE));
    rig.controller.acks = false;
    rig.start();
    rig.until("two tracks", |rig| rig.get(Rejector, Tag::InCount) >= 2);
    rig.write(Rejector, vec![(Tag::Verdict, TagValue::Bool(true)), int(Tag::VerdictTrack, 2)]);
    rig.step();
    assert_eq!(rig.get(Rejector, Tag::VerdictEcho), 2);
    let passed = |line: &TruthLine| matches!(line.event, TruthEvent::End { track: 2, end: 1, passed: true, .. });
    rig.until("it passed", |rig| rig.truth.iter().any(passed));
}

#[test]
fn stops_when_the_bin_is_full() {
    let mut rig = rig(PlantSettings { bin_capacity: 3, ..quick(Weather::NONE) });
    rig.controller.passes = false;
    rig.start();
    rig.until("a full bin", |rig| rig.get(Rejector, Tag::Fault) == 3);
    assert_eq!((rig.get(Rejector, Tag::BinFull), rig.get(Rejector, Tag::BinCount)), (1, 3));
    rig.plant.order(Deed::ClearFault);
    rig.start();
    assert_eq!(rig.get(Rejector, Tag::BinFull), 0, "emptied");
    rig.until("more in the bin", |rig| rig.get(Rejector, Tag::BinCount) >= 5);
}

/// The camera drives the blade: nobody writes a verdict, and what it cannot know it lets through.
#[test]
fn a_camera_that_decides_passes_what_it_is_told_to_expect_and_nothing_without_it() {
    let weather = Weather { no_read: 300, wrong_lot: 300, duplicate: 300, ..Weather::NONE };
    let mut rig = rig(PlantSettings { units_min: 600, decide: Decide::Device, ..quick(weather) });
    rig.start();
    rig.until("ten ends", |rig| rig.ends().len() >= 10);
    assert!(rig.ends().iter().all(|(end, _)| *end == 2), "it expects nothing");
    let expected = TagValue::Bytes(b"01095060001343521727033110L7".to_vec());
    rig.write(Camera, vec![(Tag::Expected, expected)]);
    let told_at = rig.plant.counters().presented;
    rig.controller.passes = false;
    rig.until("finished", |rig| rig.plant.view().is_finished);
    let spoil: BTreeMap<u64, String> = rig.truth.iter().filter_map(spoil_of).collect();
    let after = rig.truth.iter().filter_map(|line| match &line.event {
        TruthEvent::End { unit, end, .. } if *unit > told_at => Some((spoil[unit].as_str(), *end)),
        _ => None,
    });
    let ways: BTreeSet<(&str, u8)> = after.collect();
    assert_eq!(ways, BTreeSet::from([("none", 1), ("duplicate", 1), ("no_read", 2), ("wrong_lot", 2)]));
    assert_ne!(rig.get(Rejector, Tag::VerdictEcho), 0, "what is written is answered");
}

fn spoil_of(line: &TruthLine) -> Option<(u64, String)> {
    match &line.event {
        TruthEvent::Unit { unit, spoil, .. } => Some((*unit, spoil.clone())),
        _ => None,
    }
}
