//! Rough weather: how each kind of mishap acts upon belt, machines and tags, and which units and containers it touches.
//!
//! A unit is touched when a mishap acts upon it, its record, its track or its result, or when it lies where a restart or a
//! standstill leaves it in doubt. What is not touched has no excuse: it must be treated as on a calm day.

use std::collections::VecDeque;

use super::{
    CloserMishap, Deed, Ended, Glitch, Item, Mishap, Plan, Planned, Plant, Riding, Scene, Spoil, StationKind, Tags,
    Tally, TruthEvent, Unit, text_of,
};
use crate::domain::tag::{Quality, Tag};
use crate::sim::mishap::Rough;
use crate::sim::rejector::BladeMishap;
use crate::sim::truth::{LINE_HALTED, Touch};

/// Units that a hand or the bin holds, for a person to put back.
const HELD_MAX: usize = 20;
/// Ends so young may not have been read yet when the rejector forgets them.
const END_UNREAD_US: u64 = 500_000;
/// The printer restarts with so many records in its buffer, or after so many steps with fewer.
const BUFFER_FULL: u64 = 5;
const BUFFER_STEPS: u32 = 400;
/// A line that serves again makes its sessions anew and answers what waited for so long.
const CATCH_UP_US: u64 = 1_000_000;
/// OPC UA codes: BadSensorFailure, UncertainLastUsableValue (OPC 10000-8).
const BAD: u32 = 0x808C_0000;
const UNCERTAIN: u32 = 0x4090_0000;
/// More units than this are not presented only to give a mishap its chance.
const EXTRA_MAX: u64 = 1000;

/// What lasts for a while.
#[derive(Clone, Debug)]
struct Spell {
    mishap: Mishap,
    station: StationKind,
    until_us: u64,
}

#[derive(Clone, Debug)]
pub(super) struct State {
    plan: Plan,
    spells: Vec<Spell>,
    /// Outside mishaps that were asked for and not taken, and those that go on.
    calls: Vec<Mishap>,
    outside: Vec<Mishap>,
    is_halted: bool,
    catches_up_until_us: u64,
    hand: VecDeque<Unit>,
    bin: VecDeque<Unit>,
    /// Units whose end was shown lately, and when.
    ended: VecDeque<(u64, u64)>,
    /// A printer that is to restart, and how long it has waited for a full buffer.
    printer: Option<(Planned, u32)>,
}

/// How the camera and the encoder see a unit.
pub(super) struct Sight {
    pub(super) late_us: u64,
    pub(super) glitch: Glitch,
    pub(super) is_seen: bool,
    pub(super) is_doubled: bool,
    /// A hand takes it off right behind the camera.
    pub(super) is_taken: bool,
}

impl State {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan,
            spells: Vec::new(),
            calls: Vec::new(),
            outside: Vec::new(),
            is_halted: false,
            catches_up_until_us: 0,
            hand: VecDeque::new(),
            bin: VecDeque::new(),
            ended: VecDeque::new(),
            printer: None,
        }
    }
}

fn hold(held: &mut VecDeque<Unit>, unit: Unit) {
    if held.len() >= HELD_MAX {
        held.pop_front();
    }
    held.push_back(unit);
}

/// The unit itself is spoiled.
fn spoil_of(mishap: Mishap) -> Option<Spoil> {
    match mishap {
        Mishap::NoRead => Some(Spoil::NoRead),
        Mishap::LowGrade => Some(Spoil::LowGrade),
        Mishap::WrongLot => Some(Spoil::WrongLot),
        Mishap::WrongExpiry => Some(Spoil::WrongExpiry),
        Mishap::ForeignGtin => Some(Spoil::ForeignGtin),
        Mishap::Duplicate => Some(Spoil::Duplicate),
        Mishap::SwappedUnits
        | Mishap::MissedResult
        | Mishap::RepeatedResult
        | Mishap::FrozenValue
        | Mishap::BadQuality
        | Mishap::DoubleTrigger
        | Mishap::UnitRemoved
        | Mishap::UnitPutBack
        | Mishap::MissingReject
        | Mishap::PhantomReject
        | Mishap::RestartNewEpoch
        | Mishap::RestartOldEpoch
        | Mishap::SlowDevice
        | Mishap::LostPermitAck
        | Mishap::GateForced
        | Mishap::LabelSwapped
        | Mishap::ShortCase
        | Mishap::PrinterRestart
        | Mishap::BrokerAway
        | Mishap::SlowDiskHalf
        | Mishap::SlowDiskTwo => None,
    }
}

impl Plant {
    /// Mishaps upset the count of what fills containers. While nothing is on its way, what lies there is what counts.
    pub(super) fn recount(&mut self) {
        let is_quiet = self.to_camera.is_empty() && self.rejector.is_clear() && self.to_packer.is_empty();
        if is_quiet && !self.rough.plan.kinds().is_empty() {
            let case = self.units_in(StationKind::Palletizer);
            let cases = self.palletizer.waiting() + self.packer.sealed();
            self.filling = count(self.packer.waiting()) + case * count(cases);
        }
    }

    /// How often each kind of mishap has happened.
    pub fn tally(&self) -> &Tally {
        self.truth.tally()
    }

    /// The weather clears up: what goes on ends, what waits for its chance has none, and nothing more is planned.
    pub fn clear_up(&mut self) {
        self.rough.plan = Plan::new(0, Rough::none(), 0);
        self.rough.spells.iter_mut().for_each(|spell| spell.until_us = 0);
        self.rough.calls.clear();
        self.rough.printer = None;
        self.deeds.retain(|deed| !matches!(deed, Deed::Mishap(_) | Deed::Blade(_) | Deed::Closer(..)));
        self.to_camera.iter_mut().for_each(|riding| riding.what.fate = None);
        self.to_packer.iter_mut().for_each(|riding| riding.what.fate = None);
        self.rejector.drop_mishaps();
        self.packer.drop_mishaps();
        self.palletizer.drop_mishaps();
    }

    /// Mishaps outside of the plant that are to begin now.
    pub fn take_calls(&mut self) -> Vec<Mishap> {
        std::mem::take(&mut self.rough.calls)
    }

    /// Whether a kind of the plan has not happened yet as often as it must in this run.
    pub(super) fn owes_mishaps(&self) -> bool {
        let units_min = self.settings.units_min;
        let plan = &self.rough.plan;
        let times = plan.times_in(units_min);
        self.counters.presented < units_min.saturating_add(EXTRA_MAX)
            && plan.kinds().iter().any(|kind| self.tally().of(*kind) < times)
    }

    pub(super) fn owe_fate(&mut self, fate: Option<Planned>) {
        if let Some(fate) = fate {
            self.rough.plan.owe(fate, self.counters.presented);
        }
    }

    fn touch(&mut self, touch: Touch) {
        self.truth.note(TruthEvent::Touched(touch));
    }

    fn happen(&mut self, mishap: Mishap, units: Vec<u64>) {
        self.truth.note(TruthEvent::Mishap(Touch::units(mishap, units)));
    }

    fn happen_at(&mut self, mishap: Mishap, station: StationKind, (container, units): (u64, Vec<u64>)) {
        let (epoch, station) = (self.epoch(station), station.name().into());
        self.truth.note(TruthEvent::Mishap(Touch { mishap: mishap.name().into(), station, epoch, container, units }));
    }

    /// Spoil and fate of the unit that enters now.
    pub(super) fn draw_fate(&mut self) -> (Spoil, Option<Planned>) {
        let Some(planned) = self.rough.plan.take(self.counters.presented) else { return (self.draw_spoil(), None) };
        if planned.mishap == Mishap::MissingReject {
            let spoils = [Spoil::NoRead, Spoil::LowGrade, Spoil::WrongLot];
            let spoil = spoils.get(planned.choose(1, 3) as usize).copied().unwrap_or(Spoil::NoRead);
            return (spoil, Some(planned));
        }
        let is_early = planned.mishap == Mishap::Duplicate && self.memory.len() <= super::MEMORY_MIN;
        if is_early {
            self.owe_fate(Some(planned));
            return (Spoil::None, None);
        }
        match spoil_of(planned.mishap) {
            Some(spoil) => (spoil, Some(planned)),
            None if is_of_unit(planned) => (Spoil::None, Some(planned)),
            None => {
                self.deeds.push_back(Deed::Mishap(planned));
                (Spoil::None, None)
            }
        }
    }

    /// A spoiled unit is a mishap that has happened.
    pub(super) fn note_spoil(&mut self, number: u64, fate: Option<Planned>) {
        if let Some(fate) = fate.filter(|fate| spoil_of(fate.mishap).is_some()) {
            self.happen(fate.mishap, vec![number]);
        }
    }

    /// Begins what happens to no single unit.
    pub(super) fn begin_mishap(&mut self, planned: Planned, tags: &mut Tags) {
        match planned.mishap {
            Mishap::SwappedUnits => self.swap(planned),
            Mishap::UnitPutBack => self.put_back(planned),
            Mishap::PhantomReject => self.rejector.mishap(BladeMishap::StrayInBin),
            Mishap::FrozenValue => self.freeze(planned, tags),
            Mishap::BadQuality => self.dim(planned, tags),
            Mishap::RestartNewEpoch | Mishap::RestartOldEpoch => self.restart(planned, tags),
            Mishap::PrinterRestart => self.rough.printer = Some((planned, 0)),
            Mishap::LostPermitAck | Mishap::GateForced | Mishap::LabelSwapped | Mishap::ShortCase => {
                self.go_astray(planned);
            }
            Mishap::BrokerAway | Mishap::SlowDiskHalf | Mishap::SlowDiskTwo => self.rough.calls.push(planned.mishap),
            // These come with a unit.
            Mishap::NoRead
            | Mishap::LowGrade
            | Mishap::WrongLot
            | Mishap::WrongExpiry
            | Mishap::ForeignGtin
            | Mishap::Duplicate
            | Mishap::MissedResult
            | Mishap::RepeatedResult
            | Mishap::DoubleTrigger
            | Mishap::UnitRemoved
            | Mishap::MissingReject
            | Mishap::SlowDevice => self.owe_fate(Some(planned)),
        }
    }

    /// What lasts ends when its time is over; what waits for its chance takes it.
    pub(super) fn pass_rough(&mut self, tags: &mut Tags) {
        let now_us = self.now_us;
        let (over, going): (Vec<Spell>, Vec<Spell>) =
            std::mem::take(&mut self.rough.spells).into_iter().partition(|spell| spell.until_us <= now_us);
        self.rough.spells = going;
        for spell in over {
            tags.thaw(spell.station);
            tags.set_quality(spell.station, None, Quality::Good);
        }
        let dim = |kind| self.rough.spells.iter().any(|spell| spell.station == kind);
        let (packer, palletizer) = (dim(StationKind::Packer), dim(StationKind::Palletizer));
        self.packer.set_dim(packer);
        self.palletizer.set_dim(palletizer);
        while self.rough.ended.front().is_some_and(|(at, _)| at + END_UNREAD_US < now_us) {
            self.rough.ended.pop_front();
        }
        if let Some((planned, steps)) = self.rough.printer.take() {
            if self.printer.held() >= BUFFER_FULL || (steps >= BUFFER_STEPS && self.printer.held() > 0) {
                self.happen_at(Mishap::PrinterRestart, StationKind::Printer, (0, Vec::new()));
                self.reset(StationKind::Printer, tags);
            } else {
                self.rough.printer = Some((planned, steps + 1));
            }
        }
    }

    fn swap(&mut self, planned: Planned) {
        let units = if planned.choose(0, 2) == 0 { self.swap_before_camera() } else { self.rejector.swap_neighbours() };
        match units {
            Some(units) => self.happen(Mishap::SwappedUnits, units),
            None => self.owe_fate(Some(planned)),
        }
    }

    fn swap_before_camera(&mut self) -> Option<Vec<u64>> {
        let riding = self.to_camera.make_contiguous();
        let at = riding.len().checked_sub(2)?;
        let (before, after) = riding.split_at_mut(at + 1);
        let (one, other) = (before.last_mut()?, after.first_mut()?);
        std::mem::swap(&mut one.what, &mut other.what);
        Some(vec![one.what.number, other.what.number])
    }

    /// What the unit's fate makes of its trigger; `None` where it does not come to the camera at all.
    pub(super) fn sight(&mut self, unit: &mut Unit) -> Option<Sight> {
        let mut sight = Sight { late_us: 0, glitch: Glitch::None, is_seen: true, is_doubled: false, is_taken: false };
        let Some(fate) = unit.fate.filter(|fate| is_at_camera(*fate)) else { return Some(sight) };
        if fate.mishap == Mishap::UnitRemoved {
            match fate.choose(0, 3) {
                0 => return None,
                1 => sight.is_taken = true,
                // Behind the gate.
                _ => {}
            }
            return Some(sight);
        }
        unit.fate = None;
        match fate.mishap {
            Mishap::MissedResult if fate.choose(0, 2) == 0 => sight.is_seen = false,
            Mishap::MissedResult => sight.glitch = Glitch::Lost,
            Mishap::RepeatedResult if fate.choose(0, 2) == 0 => sight.glitch = Glitch::Again,
            Mishap::RepeatedResult => sight.glitch = Glitch::Altered,
            Mishap::DoubleTrigger => sight.is_doubled = true,
            // From what hardly delays to what misses the blade.
            Mishap::SlowDevice => sight.late_us = 200_000 + fate.choose(0, 20) * 200_000,
            Mishap::NoRead
            | Mishap::LowGrade
            | Mishap::WrongLot
            | Mishap::WrongExpiry
            | Mishap::ForeignGtin
            | Mishap::Duplicate
            | Mishap::SwappedUnits
            | Mishap::FrozenValue
            | Mishap::BadQuality
            | Mishap::UnitRemoved
            | Mishap::UnitPutBack
            | Mishap::MissingReject
            | Mishap::PhantomReject
            | Mishap::RestartNewEpoch
            | Mishap::RestartOldEpoch
            | Mishap::LostPermitAck
            | Mishap::GateForced
            | Mishap::LabelSwapped
            | Mishap::ShortCase
            | Mishap::PrinterRestart
            | Mishap::BrokerAway
            | Mishap::SlowDiskHalf
            | Mishap::SlowDiskTwo => {}
        }
        self.happen(fate.mishap, vec![unit.number]);
        Some(sight)
    }

    /// Whether a hand takes the unit off behind the gate.
    pub(super) fn is_taken_behind(&self, unit: &Unit) -> bool {
        unit.fate.is_some_and(|fate| fate.mishap == Mishap::UnitRemoved)
    }

    /// A hand takes the unit off the belt, on its way to this station.
    pub(super) fn take_by_hand(&mut self, mut unit: Unit, before: StationKind) {
        unit.fate = None;
        self.happen(Mishap::UnitRemoved, vec![unit.number]);
        self.note_removed(before, self.epoch(before), unit.number, &unit.printed);
        // Before the gate a conforming unit was counted on; behind it every unit was.
        self.filling -= i64::from(unit.is_conforming || before == StationKind::Packer);
        hold(&mut self.rough.hand, unit);
    }

    pub(super) fn remember_end(&mut self, ended: &Ended) {
        self.rough.ended.push_back((self.now_us, ended.unit.number));
        if ended.end == 2 && !ended.unit.printed.is_empty() {
            hold(&mut self.rough.bin, ended.unit.clone());
        }
    }

    fn put_back(&mut self, planned: Planned) {
        let State { hand, bin, .. } = &mut self.rough;
        let unit = if planned.choose(0, 2) == 0 { hand.pop_back().or_else(|| bin.pop_back()) } else { bin.pop_back() };
        let Some(mut unit) = unit else { return self.owe_fate(Some(planned)) };
        unit.fate = None;
        let before_camera = planned.choose(1, 2) == 0;
        let station = if before_camera { StationKind::Camera } else { StationKind::Packer };
        self.happen(Mishap::UnitPutBack, vec![unit.number]);
        let (number, code) = (unit.number, text_of(&unit.printed));
        self.truth.note(TruthEvent::PutBack { station: station.name().into(), unit: number, code });
        let at = self.travel_us;
        if before_camera {
            self.filling += i64::from(unit.is_conforming);
            self.to_camera.push_front(Riding { what: unit, at });
        } else {
            self.filling += 1;
            self.to_packer.push_front(Riding { what: unit, at });
        }
    }

    fn spell(&mut self, mishap: Mishap, station: StationKind, for_us: u64) {
        let until_us = self.now_us + for_us;
        self.rough.spells.push(Spell { mishap, station, until_us });
        let units = if station == StationKind::Camera { self.camera.unanswered() } else { Vec::new() };
        self.happen_at(mishap, station, (0, units));
    }

    fn is_under_a_spell(&self, station: StationKind) -> bool {
        self.rough.spells.iter().any(|spell| spell.station == station)
    }

    fn freeze(&mut self, planned: Planned, tags: &mut Tags) {
        let station = station_of(planned, StationKind::ALL);
        if self.is_under_a_spell(station) {
            return self.owe_fate(Some(planned));
        }
        tags.freeze(station);
        self.spell(Mishap::FrozenValue, station, 300_000 + planned.choose(1, 18) * 100_000);
    }

    /// A camera's code for as long as a few results take, or everything of some station for longer.
    fn dim(&mut self, planned: Planned, tags: &mut Tags) {
        let is_code = planned.choose(0, 3) > 0;
        let station = if is_code { StationKind::Camera } else { station_of(planned, StationKind::ALL) };
        if self.is_under_a_spell(station) {
            return self.owe_fate(Some(planned));
        }
        let quality = if planned.choose(2, 2) == 0 { Quality::Bad(BAD) } else { Quality::Uncertain(UNCERTAIN) };
        tags.set_quality(station, is_code.then_some(Tag::Code), quality);
        self.spell(Mishap::BadQuality, station, if is_code { 60_000 } else { 300_000 });
    }

    /// Results that come while the camera is under a spell, or while the disk is slow, may come too late.
    pub(super) fn touch_results(&mut self) {
        // While the rejector stands still, results run ahead of the tracks that it has shown.
        let seen = [StationKind::Camera, StationKind::Rejector];
        let cause = self.rough.spells.iter().find(|spell| seen.contains(&spell.station)).map(|spell| spell.mishap);
        let cause = cause.or(self.rough.outside.iter().copied().find(|mishap| *mishap == Mishap::SlowDiskTwo));
        let is_halted = self.rough.is_halted || self.now_us < self.rough.catches_up_until_us;
        let fresh = self.camera.take_fresh();
        if fresh.is_empty() {
            return;
        }
        if is_halted {
            self.delay(fresh.clone());
        }
        if let Some(mishap) = cause {
            self.touch(Touch::units(mishap, fresh));
        }
    }

    /// Nobody answers: what waits for its verdict, or was verified and is not past the blade, may be rejected.
    pub(super) fn halt(&mut self, is_halted: bool) {
        self.rough.is_halted = is_halted;
        if !is_halted {
            self.rough.catches_up_until_us = self.now_us + CATCH_UP_US;
        }
        let mut units = self.truth.undecided();
        units.extend(self.rejector.numbers());
        self.delay(units);
    }

    fn delay(&mut self, units: Vec<u64>) {
        self.touch(Touch { mishap: LINE_HALTED.into(), units, ..Touch::default() });
    }

    /// A unit printed while the printer is under a spell: that it was printed may be heard too late.
    pub(super) fn touch_printed(&mut self, number: u64) {
        let spell = self.rough.spells.iter().find(|spell| spell.station == StationKind::Printer);
        if let Some(mishap) = spell.map(|spell| spell.mishap) {
            self.touch(Touch::units(mishap, vec![number]));
        }
    }

    fn restart(&mut self, planned: Planned, tags: &mut Tags) {
        let stations = [StationKind::Camera, StationKind::Rejector, StationKind::Packer, StationKind::Palletizer];
        let kind = station_of(planned, &stations);
        self.happen_at(planned.mishap, kind, (0, Vec::new()));
        if planned.mishap == Mishap::RestartNewEpoch {
            return self.reset(kind, tags);
        }
        self.touch_by_restart(kind);
        let epoch = self.epoch(kind);
        if let Some(link) = self.links.get_mut(kind as usize) {
            link.forget(tags);
            link.step(self.now_us, tags);
        }
        self.lose_memory(kind, epoch);
    }

    /// What a restart of this station leaves in doubt.
    pub(super) fn touch_by_restart(&mut self, kind: StationKind) {
        let (container, units) = match kind {
            // and perhaps not yet told.
            StationKind::Printer => (0, self.to_camera.iter().map(|riding| riding.what.number).collect()),
            StationKind::Camera => (0, self.camera.unanswered()),
            StationKind::Rejector => {
                let mut units = self.rejector.numbers();
                units.extend(self.rough.ended.iter().map(|(_, unit)| *unit));
                (0, units)
            }
            StationKind::Packer => self.packer.in_doubt(),
            StationKind::Palletizer => self.palletizer.in_doubt(),
        };
        // The palletizer numbers cases: which units they hold is not its matter.
        let units = if kind == StationKind::Palletizer { Vec::new() } else { units };
        let (epoch, station) = (self.epoch(kind), kind.name().into());
        let mishap = Mishap::RestartNewEpoch.name().into();
        self.touch(Touch { mishap, station, epoch, container, units });
    }

    /// The line fell silent: passes were cleared and results wait, perhaps for too long. What lies between camera and blade may be
    /// rejected.
    pub(super) fn touch_by_silence(&mut self) {
        let units = self.rejector.numbers();
        self.touch(Touch { mishap: "line_silent".into(), units, ..Touch::default() });
    }

    fn go_astray(&mut self, planned: Planned) {
        let mishap = match (planned.mishap, planned.choose(1, 3)) {
            (Mishap::LostPermitAck, 0) => CloserMishap::PermitForgotten,
            (Mishap::LostPermitAck, 1) => CloserMishap::AnswerLate,
            (Mishap::LostPermitAck, _) => CloserMishap::AckHidden,
            (Mishap::GateForced, 0) => CloserMishap::GateJogged,
            (Mishap::GateForced, 1) => CloserMishap::SealForced,
            (Mishap::GateForced, _) => CloserMishap::SealForcedRelabelled,
            (Mishap::LabelSwapped, _) => CloserMishap::LabelSwapped,
            (_, _) => CloserMishap::AsksShort,
        };
        // A pallet comes seldom: what is to be seen within the run happens mostly to cases.
        let kind = if planned.choose(2, 4) == 0 { StationKind::Palletizer } else { StationKind::Packer };
        self.closer(kind).mishap(mishap);
    }

    pub(super) fn outside_began(&mut self, mishap: Mishap) {
        self.rough.outside.push(mishap);
        let units = if mishap == Mishap::SlowDiskTwo { self.truth.undecided() } else { Vec::new() };
        self.happen(mishap, units);
    }

    pub(super) fn outside_ended(&mut self, mishap: Mishap) {
        if let Some(at) = self.rough.outside.iter().position(|going| *going == mishap) {
            self.rough.outside.remove(at);
        }
    }

    pub(super) fn take_out_slot(&mut self, kind: StationKind, slot: usize) {
        let taken = self.at_closer(kind, |closer, scene| closer.take_out_slot(slot, scene));
        self.filling -= taken.map_or(0, |_| self.units_in(kind));
    }

    pub(super) fn take_away(&mut self, kind: StationKind) {
        let taken: Vec<Item> = self.at_closer(kind, |closer, scene| closer.take_away(scene));
        self.filling -= self.units_in(kind) * i64::try_from(taken.len()).unwrap_or(0);
    }

    fn at_closer<R>(&mut self, kind: StationKind, act: impl FnOnce(&mut super::Closer, &mut Scene<'_>) -> R) -> R {
        let link = self.link(kind).clone();
        let mut truth = std::mem::take(&mut self.truth);
        let mut scene = Scene { now_us: self.now_us, link: &link, truth: &mut truth };
        let done = act(self.closer(kind), &mut scene);
        self.truth = truth;
        done
    }
}

fn count(items: u64) -> i64 {
    i64::try_from(items).unwrap_or(i64::MAX)
}

/// Whether it happens to the unit that enters.
fn is_of_unit(planned: Planned) -> bool {
    is_at_camera(planned) || planned.mishap == Mishap::MissingReject
}

fn is_at_camera(planned: Planned) -> bool {
    matches!(
        planned.mishap,
        Mishap::MissedResult
            | Mishap::RepeatedResult
            | Mishap::DoubleTrigger
            | Mishap::SlowDevice
            | Mishap::UnitRemoved
    )
}

fn station_of(planned: Planned, stations: &[StationKind]) -> StationKind {
    let at = usize::try_from(planned.choose(3, stations.len() as u64)).unwrap_or(0);
    stations.get(at).copied().unwrap_or(StationKind::Camera)
}
