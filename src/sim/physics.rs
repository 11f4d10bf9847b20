//! The plant as a whole: belt, machines and weather, moved by one deterministic step.
//!
//! Contract: `Plant::step(now_us, tags)` is the only thing that moves the plant; the same seed, the same times and the same
//! writes give the same plant. The caller holds the tag table for the whole step, so that a step is seen whole. The belt runs
//! only while an operator has started it, `run_permit` stands under a fresh heartbeat in the right epoch, no fault is latched
//! and no station's heartbeat is stale; when one of these goes, it stays down until started again. It also waits, by
//! itself, while the packer's buffer is full. It knows nothing of the controller: only tags.

mod hands;
mod rough;

use std::collections::VecDeque;

use super::camera::{Camera, Exposure, Glitch};
use super::closer::{Closer, CloserMishap, CloserSettings, Item, Refusal, Scene};
use super::codes::{self, Spoil};
use super::link::Link;
use super::mishap::{Mishap, Plan, Planned, Tally};
use super::printer::{Printer, Record};
use super::random::Random;
use super::rejector::{BladeMishap, Ended, Rejector, Unit};
use super::settings::{ArrayReader, Packing, PlantSettings};
use super::tags::Tags;
use super::truth::{Truth, TruthEvent, TruthLine, text_of};
use crate::domain::tag::{StationKind, Tag};

/// A step longer than this is taken as this: a plant whose computer was busy is late, it does not jump.
const STEP_US_MAX: u64 = 20_000;

/// Earlier prints that a duplicate may repeat, and how far back it goes at least.
const MEMORY: usize = 1000;
const MEMORY_MIN: usize = 20;

/// PackML states (ISA-TR88.00.02) that the stations show.
const STOPPED: u64 = 2;
const SUSPENDED: u64 = 5;
const EXECUTE: u64 = 6;
const ABORTED: u64 = 9;

/// What a person, or the world, does to the plant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    PressStart,
    PressStop,
    ClearFault,
    /// Takes the child that bears this code out of the container at this station, as soon as its request is not open.
    TakeOut(StationKind, Vec<u8>),
    /// The same for the illegible child in this slot, counted from 0; left alone while a request is open.
    TakeOutSlot(StationKind, usize),
    /// Takes the refused container away, sealed or not.
    TakeAway(StationKind),
    /// The station's controller restarts with a new epoch.
    Reset(StationKind),
    /// A mishap of the plan, now.
    Mishap(Planned),
    /// A mishap outside of the plant began, or is over.
    Began(Mishap),
    Ended(Mishap),
    /// The process behind the line is ended or stopped from outside, or it serves again.
    Halted(bool),
    Blade(BladeMishap),
    Closer(StationKind, CloserMishap),
}

/// What has happened so far, by the plant's own count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub presented: u64,
    /// Of these, as they should be.
    pub conforming: u64,
    pub passed: u64,
    pub rejected: u64,
    pub lost: u64,
    pub cases_closed: u64,
    pub pallets_closed: u64,
}

/// What an operator sees at the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlantView {
    pub is_running: bool,
    /// Whether pressing start now would start the belt.
    pub can_start: bool,
    /// 0 none, 1 missing, 2 phantom, 3 bin full.
    pub fault: u64,
    pub is_finished: bool,
    /// What the packer and the palletizer show of a refusal that stands.
    pub refused: [Option<Refusal>; 2],
}

/// A unit on the belt and the place where it is seen next.
#[derive(Clone, Debug)]
struct Riding<T> {
    what: T,
    at: u64,
}

#[derive(Clone)]
pub struct Plant {
    settings: PlantSettings,
    random: Random,
    /// The caller's clock at the last step, and the plant's own, which is late where the caller was.
    stepped_at_us: u64,
    now_us: u64,
    travel_us: u64,
    next_entry_at: u64,
    is_started: bool,
    view: PlantView,
    deeds: VecDeque<Deed>,
    links: Vec<Link>,
    printer: Printer,
    camera: Camera,
    rejector: Rejector,
    packer: Closer,
    palletizer: Closer,
    to_camera: VecDeque<Riding<Unit>>,
    to_packer: VecDeque<Riding<Unit>>,
    memory: VecDeque<Vec<u8>>,
    counters: Counters,
    /// Units that fill slots in containers, or will, as far as the plant can know.
    filling: i64,
    truth: Truth,
    rough: rough::State,
}

impl Plant {
    pub fn new(settings: PlantSettings) -> Self {
        let settings = settings.bounded();
        let mut random = Random::new(settings.seed);
        let links = StationKind::ALL
            .iter()
            .map(|kind| Link::new(*kind, random.epoch(), settings.heartbeat_timeout_ms))
            .collect();
        let plan = Plan::new(settings.seed, settings.rough.clone(), settings.units_min);
        let rough = rough::State::new(plan);
        let mut truth = Truth::default();
        truth.note(TruthEvent::Plant {
            seed: settings.seed,
            rate_per_minute: settings.rate_per_minute,
            units_min: settings.units_min,
            case_capacity: settings.case_capacity,
            pallet_capacity: settings.pallet_capacity,
        });
        Self {
            printer: Printer::new(settings.printer_depth),
            camera: Camera::new(&settings),
            rejector: Rejector::new(&settings),
            packer: Closer::new(closer_settings(&settings, StationKind::Packer)),
            palletizer: Closer::new(closer_settings(&settings, StationKind::Palletizer)),
            settings,
            random,
            stepped_at_us: 0,
            now_us: 0,
            travel_us: 0,
            next_entry_at: 0,
            is_started: false,
            view: PlantView::default(),
            deeds: VecDeque::new(),
            links,
            to_camera: VecDeque::new(),
            to_packer: VecDeque::new(),
            memory: VecDeque::new(),
            counters: Counters::default(),
            filling: 0,
            truth,
            rough,
        }
    }

    /// Done at the next step, in this order.
    pub fn order(&mut self, deed: Deed) {
        self.deeds.push_back(deed);
    }

    /// From result to verdict, the newest of them.
    pub fn verdict_times(&self) -> Vec<u64> {
        self.truth.verdict_times()
    }

    pub fn counters(&self) -> Counters {
        Counters { cases_closed: self.packer.closed(), pallets_closed: self.palletizer.closed(), ..self.counters }
    }

    /// As it was at the end of the last step.
    pub fn view(&self) -> PlantView {
        self.view
    }

    pub fn take_truth(&mut self) -> Vec<TruthLine> {
        self.truth.take()
    }

    /// Moves the plant to `now_us`, which never falls.
    pub fn step(&mut self, now_us: u64, tags: &mut Tags) {
        let elapsed = now_us.saturating_sub(self.stepped_at_us).min(STEP_US_MAX);
        self.stepped_at_us = now_us;
        self.now_us += elapsed;
        self.truth.at(self.now_us);
        let writes = tags.take_writes();
        for link in &mut self.links {
            link.step(self.now_us, tags);
        }
        self.do_deeds(tags);
        self.pass_rough(tags);
        self.take_written(&writes, tags);
        self.watch_permission(tags);
        if self.is_moving() {
            self.travel_us += elapsed;
            self.move_belt();
            // A fault that has just latched stops the belt now, before anybody can clear it.
            self.watch_permission(tags);
        }
        let camera_epoch = self.epoch(StationKind::Camera);
        self.camera.publish(self.now_us, camera_epoch, &mut self.truth);
        for (track, pass) in self.camera.take_decided() {
            self.rejector.decide(track, pass);
        }
        self.note_decided();
        self.touch_results();
        self.step_closers(tags);
        self.recount();
        self.look(tags);
        self.show(tags);
    }

    fn link(&self, kind: StationKind) -> &Link {
        self.links.get(kind as usize).expect("one link for each kind of station")
    }

    fn epoch(&self, kind: StationKind) -> u32 {
        self.link(kind).epoch()
    }

    fn take_written(&mut self, writes: &[super::tags::StationValue], tags: &Tags) {
        let printer_epoch = self.epoch(StationKind::Printer);
        let is_addressed = self.link(StationKind::Printer).is_addressed(tags);
        self.printer.take(is_addressed, printer_epoch, tags, &mut self.truth);
        let is_addressed = self.link(StationKind::Camera).is_addressed(tags);
        self.camera.take(is_addressed, tags);
        if self.link(StationKind::Rejector).obeys(self.now_us, tags) {
            self.rejector.take_verdicts(writes, tags);
            self.note_decided();
        } else {
            self.rejector.clear_passes();
        }
    }

    fn note_decided(&mut self) {
        let epoch = self.epoch(StationKind::Rejector);
        for (unit, track, pass) in self.rejector.take_decided() {
            self.truth.note(TruthEvent::Verdict { unit, epoch, track, pass });
        }
    }

    /// Why the belt may not run now; `None` where it may.
    fn hindrance(&self, tags: &Tags) -> Option<&'static str> {
        let is_silent = |kind: &&StationKind| !self.link(**kind).is_fresh(self.now_us);
        if self.rejector.fault() != 0 {
            return Some("fault");
        }
        if StationKind::ALL.iter().any(|kind| is_silent(&kind)) {
            return Some("heartbeat");
        }
        if !self.link(StationKind::Rejector).is_addressed(tags) {
            return Some("epoch");
        }
        (tags.int(StationKind::Rejector, Tag::RunPermit) == 0).then_some("run_permit")
    }

    fn watch_permission(&mut self, tags: &Tags) {
        if let (true, Some(cause)) = (self.is_started, self.hindrance(tags)) {
            self.set_started(false, cause);
        }
    }

    fn set_started(&mut self, running: bool, cause: &str) {
        if self.is_started != running {
            self.is_started = running;
            if cause == "heartbeat" {
                self.touch_by_silence();
            }
            let cause = cause.to_owned();
            self.truth.note(TruthEvent::Belt { running, cause });
        }
    }

    fn is_moving(&self) -> bool {
        self.is_started && self.packer.has_room()
    }

    fn do_deeds(&mut self, tags: &mut Tags) {
        let deeds = std::mem::take(&mut self.deeds);
        for deed in deeds {
            match deed {
                Deed::PressStart => {
                    if self.hindrance(tags).is_none() {
                        self.set_started(true, "operator");
                    }
                }
                Deed::PressStop => self.set_started(false, "operator"),
                Deed::ClearFault => self.rejector.clear_fault(),
                Deed::TakeOut(kind, code) => self.take_out(kind, code),
                Deed::TakeOutSlot(kind, slot) => self.take_out_slot(kind, slot),
                Deed::TakeAway(kind) => self.take_away(kind),
                Deed::Reset(kind) => self.reset(kind, tags),
                Deed::Mishap(planned) => self.begin_mishap(planned, tags),
                Deed::Began(mishap) => self.outside_began(mishap),
                Deed::Ended(mishap) => self.outside_ended(mishap),
                Deed::Halted(is_halted) => self.halt(is_halted),
                Deed::Blade(mishap) => self.rejector.mishap(mishap),
                Deed::Closer(kind, mishap) => self.closer(kind).mishap(mishap),
            }
        }
    }

    fn closer(&mut self, kind: StationKind) -> &mut Closer {
        match kind {
            StationKind::Palletizer => &mut self.palletizer,
            StationKind::Packer | StationKind::Printer | StationKind::Camera | StationKind::Rejector => {
                &mut self.packer
            }
        }
    }

    fn move_belt(&mut self) {
        self.feed();
        while self.to_camera.front().is_some_and(|r| r.at <= self.travel_us) {
            if let Some(riding) = self.to_camera.pop_front() {
                self.trigger(riding.what, riding.at);
            }
        }
        let epoch = self.epoch(StationKind::Rejector);
        let ended = self.rejector.advance(self.travel_us, epoch, &mut self.truth);
        for ended in ended {
            self.note_end(ended);
        }
        while self.to_packer.front().is_some_and(|r| r.at <= self.travel_us) {
            if let Some(riding) = self.to_packer.pop_front() {
                self.packer.arrive(Item {
                    number: riding.what.number,
                    code: riding.what.printed,
                    is_conforming: riding.what.is_conforming,
                });
            }
        }
    }

    /// Whether another unit is needed: the least number is not presented yet, or the last pallet would stay short.
    fn wants_more(&self) -> bool {
        let per_pallet = i64::try_from(self.settings.units_per_pallet()).unwrap_or(i64::MAX);
        self.counters.presented < self.settings.units_min
            || self.filling.rem_euclid(per_pallet) != 0
            || self.owes_mishaps()
    }

    fn feed(&mut self) {
        while self.next_entry_at <= self.travel_us {
            let record = if self.wants_more() { self.printer.print() } else { None };
            let Some(record) = record else {
                // Starved: the next unit enters as soon as it can, and the rhythm starts from there.
                self.next_entry_at = self.travel_us + 1;
                return;
            };
            let entered_at = self.next_entry_at;
            self.next_entry_at = entered_at + self.settings.unit_period_us();
            self.enter(record, entered_at);
        }
    }

    fn enter(&mut self, record: Record, entered_at: u64) {
        self.counters.presented += 1;
        let (spoil, fate) = self.draw_fate();
        let printed = self.spoiled(spoil, &record.data);
        let is_conforming = spoil == Spoil::None;
        self.counters.conforming += u64::from(is_conforming);
        self.filling += i64::from(is_conforming);
        let number = self.counters.presented;
        self.truth.note(TruthEvent::Unit {
            unit: number,
            epoch: self.epoch(StationKind::Printer),
            data_seq: record.data_seq,
            record: text_of(&record.data),
            printed: text_of(&printed),
            spoil: spoil.name().into(),
        });
        self.note_spoil(number, fate);
        let grade_milli = self.draw_grade(spoil);
        let unit = Unit { number, printed, grade_milli, is_conforming, fate };
        self.to_camera.push_back(Riding { what: unit, at: entered_at + self.settings.printer_to_camera_us });
        self.touch_printed(number);
    }

    fn draw_spoil(&mut self) -> Spoil {
        let weather = self.settings.weather;
        let mut drawn = self.random.below(10_000);
        let kinds = [
            (weather.no_read, Spoil::NoRead),
            (weather.low_grade, Spoil::LowGrade),
            (weather.wrong_lot, Spoil::WrongLot),
            (weather.duplicate, Spoil::Duplicate),
            (weather.foreign, Spoil::Foreign),
        ];
        for (share, spoil) in kinds {
            let share = u64::from(share);
            if drawn < share {
                let too_early = spoil == Spoil::Duplicate && self.memory.len() <= MEMORY_MIN;
                return if too_early { Spoil::NoRead } else { spoil };
            }
            drawn -= share;
        }
        Spoil::None
    }

    /// What the unit bears in the end.
    fn spoiled(&mut self, spoil: Spoil, data: &[u8]) -> Vec<u8> {
        let printed = match spoil {
            Spoil::None | Spoil::LowGrade => data.to_vec(),
            Spoil::NoRead => Vec::new(),
            Spoil::WrongLot => codes::wrong_lot(data),
            Spoil::WrongExpiry => codes::wrong_expiry(data),
            Spoil::ForeignGtin => codes::foreign_gtin(data),
            Spoil::Foreign => codes::foreign(data, &mut self.random),
            Spoil::Duplicate => {
                let old = self.memory.len().saturating_sub(MEMORY_MIN) as u64;
                let at = usize::try_from(self.random.below(old)).unwrap_or(0);
                self.memory.get(at).cloned().unwrap_or_default()
            }
        };
        if spoil == Spoil::None {
            self.memory.push_back(printed.clone());
            if self.memory.len() > MEMORY {
                self.memory.pop_front();
            }
        }
        printed
    }

    /// ISO/IEC 15415 grades in thousandths: good prints 2.5 and better, bad ones 1.2 and worse.
    fn draw_grade(&mut self, spoil: Spoil) -> i64 {
        let (least, spread) = match spoil {
            Spoil::NoRead => (0, 1),
            Spoil::LowGrade => (3, 10),
            Spoil::None
            | Spoil::WrongLot
            | Spoil::WrongExpiry
            | Spoil::ForeignGtin
            | Spoil::Duplicate
            | Spoil::Foreign => (25, 16),
        };
        i64::try_from(least + self.random.below(spread)).unwrap_or(0) * 100
    }

    fn trigger(&mut self, mut unit: Unit, at: u64) {
        let deadline_us = self.settings.verdict_deadline_ms.saturating_mul(1000);
        let camera_us = self.settings.camera_us;
        let jitter = self.random.below(self.settings.camera_jitter_us.saturating_add(1));
        let blade_at = at + camera_us + self.settings.camera_jitter_us + deadline_us;
        let Some(sight) = self.sight(&mut unit) else { return self.take_by_hand(unit, StationKind::Camera) };
        let (number, code, grade_milli) = (unit.number, unit.printed.clone(), unit.grade_milli);
        let seen = if sight.is_taken { Unit::none() } else { unit.clone() };
        let track = self.rejector.track(seen, blade_at);
        let ready_at_us = self.now_us + camera_us + jitter + sight.late_us;
        let exposure = Exposure { unit: number, track, ready_at_us, code, grade_milli, glitch: sight.glitch };
        if sight.is_doubled {
            let track = self.rejector.track(Unit::none(), blade_at);
            self.camera.expose(Exposure { track, ready_at_us: ready_at_us + 1, ..exposure.clone() });
        }
        if sight.is_seen {
            self.camera.expose(exposure);
        }
        if sight.is_taken {
            self.take_by_hand(unit, StationKind::Rejector);
        }
    }

    fn note_end(&mut self, ended: Ended) {
        self.remember_end(&ended);
        match ended.end {
            1 if self.is_taken_behind(&ended.unit) => {
                self.counters.passed += 1;
                self.filling += i64::from(!ended.unit.is_conforming);
                self.take_by_hand(ended.unit, StationKind::Packer);
            }
            1 => {
                self.counters.passed += 1;
                // A spoiled unit that slipped through takes a place as well.
                self.filling += i64::from(!ended.unit.is_conforming);
                self.to_packer
                    .push_back(Riding { what: ended.unit, at: self.travel_us + self.settings.exit_to_packer_us });
            }
            end => {
                self.counters.rejected += u64::from(end == 2);
                self.counters.lost += u64::from(end != 2);
                self.filling -= i64::from(ended.unit.is_conforming);
            }
        }
    }

    fn step_closers(&mut self, tags: &Tags) {
        let (now_us, truth) = (self.now_us, &mut self.truth);
        let mut links = self.links.iter().skip(StationKind::Packer as usize);
        let (Some(packer_link), Some(palletizer_link)) = (links.next(), links.next()) else {
            return;
        };
        let mut scene = Scene { now_us, link: packer_link, truth };
        let room = self.palletizer.has_room();
        if let Some(case) = self.packer.step(tags, room, &mut scene) {
            self.palletizer.arrive(case);
        }
        scene.link = palletizer_link;
        // Released pallets leave for the store, which always has room.
        self.palletizer.step(tags, true, &mut scene);
    }

    fn look(&mut self, tags: &Tags) {
        let is_empty = self.to_camera.is_empty()
            && self.rejector.is_clear()
            && self.to_packer.is_empty()
            && self.packer.is_empty()
            && self.palletizer.is_empty();
        self.view = PlantView {
            is_running: self.is_started,
            can_start: !self.is_started && self.hindrance(tags).is_none(),
            fault: self.rejector.fault(),
            is_finished: is_empty && !self.wants_more(),
            refused: [self.packer.refusal(), self.palletizer.refusal()],
        };
    }

    fn show(&mut self, tags: &mut Tags) {
        self.printer.show(tags);
        self.camera.show(tags);
        self.rejector.show(tags);
        self.packer.show(tags);
        self.palletizer.show(tags);
        let is_starved = self.printer.is_empty() && self.wants_more();
        let state = match (self.rejector.fault() != 0, self.is_started) {
            (true, _) => ABORTED,
            (false, false) => STOPPED,
            (false, true) if is_starved || !self.packer.has_room() => SUSPENDED,
            (false, true) => EXECUTE,
        };
        for kind in StationKind::ALL {
            tags.set_int(*kind, Tag::State, state);
        }
    }
}

fn closer_settings(settings: &PlantSettings, kind: StationKind) -> CloserSettings {
    let (capacity, buffer) = match kind {
        StationKind::Palletizer => (settings.pallet_capacity, 8),
        StationKind::Packer | StationKind::Printer | StationKind::Camera | StationKind::Rejector => {
            (settings.case_capacity, settings.case_capacity * 2 + 20)
        }
    };
    CloserSettings {
        kind,
        capacity,
        buffer,
        motion_us: settings.motion_us(),
        deny_pause_us: settings.deny_pause_ms.saturating_mul(1000),
        packing: if kind == StationKind::Packer { settings.packing } else { Packing::Machine },
        array: if kind == StationKind::Packer { settings.array } else { ArrayReader::NONE },
    }
}
