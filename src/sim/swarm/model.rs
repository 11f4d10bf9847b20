//! What should have happened, from the plant's own truth alone: which units are as they should be, where each of them lies,
//! what was closed around which of them. The record (`ledger`) is held against it while the plant moves, and both ways:
//! nothing wrong may pass, and a line that refuses what is right is wrong too.
//!
//! A spell is calm while no fault was at work for a while. A conforming unit that went its whole way in a calm spell has to
//! pass and to be commissioned, and a full case of good units has to be granted.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use crate::domain::gs1::{SerialNumber, Sscc};
use crate::domain::pack::Gate;
use crate::engine::fact::Child;
use crate::sim::codes;
use crate::sim::mishap::Mishap;
use crate::sim::swarm::ledger::{Ledger, Stage};
use crate::sim::swarm::violation::{Verdict, claim};
use crate::sim::truth::{RequestOf, Touch, TruthEvent, TruthLine, bytes_of};

/// A unit that passed in a calm spell is commissioned within this.
const COMMISSIONED_MAX_US: u64 = 3_000_000;
/// A request raised in a calm spell is answered within this.
const ANSWERED_MAX_US: u64 = 3_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Belt,
    Passed,
    Bin,
    /// Seen by no sensor, or taken away by hand.
    Gone,
}

#[derive(Clone, Debug)]
struct Unit {
    serial: Option<SerialNumber>,
    /// As it should be in every respect.
    is_conforming: bool,
    /// Its code is an earlier unit's.
    is_duplicate: bool,
    /// No fault has touched its way yet.
    is_calm: bool,
    /// A mishap acted upon it: it may be refused, and where it lies may differ from what its track says.
    is_touched: bool,
    place: Place,
}

/// A container as the plant knows it: by station and the station's epoch and count.
type Body = (bool, u32, u64);

#[derive(Clone, Debug, Default)]
struct Closed {
    sscc: Option<Sscc>,
    sealed_at_us: u64,
    is_released: bool,
    is_touched: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    units: HashMap<u64, Unit>,
    /// The unit that passed with a serial.
    passed: HashMap<SerialNumber, u64>,
    /// Serials of units that a mishap acted upon.
    touched: HashSet<SerialNumber>,
    /// What was read from a container's label last.
    labels: BTreeMap<Body, String>,
    /// What lies in a container that asks to be sealed.
    filled: BTreeMap<Body, Vec<u64>>,
    owed: VecDeque<(u64, SerialNumber)>,
    asked: BTreeMap<Body, u64>,
    bodies: BTreeMap<Body, Closed>,
    /// Until when the last fault was at work, with some time to settle.
    disturbed_until_us: u64,
    pub presented: u64,
    pub conforming: u64,
    /// Conforming units whose whole way was calm, and were commissioned.
    pub proven: u64,
    pub passed_count: u64,
    pub cases: u64,
    pub pallets: u64,
    /// Cases whose seal was asked in a calm spell and granted.
    pub proven_cases: u64,
    /// When the last case was released whose seal was asked after `mark`, if there was one.
    mark_us: u64,
    pub is_marked_case_released: bool,
}

impl Model {
    /// A fault works until then; whatever is under way is touched.
    pub fn disturb(&mut self, now_us: u64, until_us: u64) {
        self.disturbed_until_us = self.disturbed_until_us.max(until_us);
        if now_us <= self.disturbed_until_us {
            self.owed.clear();
            self.asked.clear();
        }
    }

    pub fn is_calm(&self, now_us: u64) -> bool {
        now_us > self.disturbed_until_us
    }

    /// From now on the next case counts for liveness.
    pub fn mark(&mut self, now_us: u64) {
        self.mark_us = now_us;
        self.is_marked_case_released = false;
    }

    /// What the plant did in one step, against what the record says.
    pub fn see(&mut self, now_us: u64, line: &TruthLine, ledger: &Ledger) -> Verdict {
        match &line.event {
            TruthEvent::Unit { unit, printed, spoil, .. } => self.enter(now_us, *unit, printed, spoil),
            TruthEvent::Verdict { unit, pass: true, track, .. } => return self.may_pass(*unit, *track, ledger),
            TruthEvent::End { unit, end, .. } => return self.end(now_us, *unit, *end),
            TruthEvent::Request(request) => {
                if self.is_calm(now_us) {
                    self.asked.insert(body(request), now_us);
                }
            }
            TruthEvent::Gate { request, token, inside, children, .. } => {
                self.asked.remove(&body(request));
                return self.open(now_us, request, (*token, inside, children), ledger);
            }
            TruthEvent::Denied(request) => {
                if self.asked.remove(&body(request)).is_some() {
                    return self.may_deny(request, ledger);
                }
            }
            TruthEvent::Moved { station, epoch, container, .. } => {
                self.moved(station == "palletizer", *epoch, *container);
            }
            TruthEvent::Labelled { station, epoch, container, label_read, .. } => {
                self.labels.insert((station == "palletizer", *epoch, *container), label_read.clone());
            }
            TruthEvent::TakenOut { station, unit, .. } => {
                if station != "palletizer" {
                    self.put(*unit, Place::Gone);
                }
            }
            TruthEvent::PutBack { station, unit, .. } => {
                self.put(*unit, if station == "packer" { Place::Passed } else { Place::Belt });
            }
            TruthEvent::Mishap(touch) | TruthEvent::Touched(touch) => self.touch(now_us, touch),
            TruthEvent::Filled { station, epoch, container, inside } => {
                self.filled.insert((station == "palletizer", *epoch, *container), inside.clone());
            }
            TruthEvent::Plant { .. }
            | TruthEvent::Result { .. }
            | TruthEvent::Verdict { pass: false, .. }
            | TruthEvent::Phantom { .. }
            | TruthEvent::Closed { .. }
            | TruthEvent::Burned { .. }
            | TruthEvent::Forced { .. }
            | TruthEvent::Belt { .. }
            | TruthEvent::Reset { .. } => {}
        }
        Ok(())
    }

    fn put(&mut self, unit: u64, place: Place) {
        if let Some(unit) = self.units.get_mut(&unit) {
            unit.place = place;
        }
    }

    /// What a mishap touches has an excuse; one that is no unit's own works for a while.
    fn touch(&mut self, now_us: u64, touch: &Touch) {
        for unit in &touch.units {
            if let Some(unit) = self.units.get_mut(unit) {
                unit.is_touched = true;
                self.touched.extend(unit.serial);
            }
        }
        if touch.container > 0 {
            let key = (touch.station == "palletizer", touch.epoch, touch.container);
            self.bodies.entry(key).or_default().is_touched = true;
        }
        let works_us = match Mishap::parse(&touch.mishap) {
            None => return,
            Some(mishap) if is_of_one_unit(mishap) => return,
            Some(Mishap::RestartOldEpoch | Mishap::LostPermitAck | Mishap::GateForced) => 18_000_000,
            Some(_) => 10_000_000,
        };
        self.disturb(now_us, now_us + works_us);
    }

    // I30: a full case of good units, asked for in a calm spell, is not refused.
    fn may_deny(&mut self, request: &RequestOf, ledger: &Ledger) -> Verdict {
        let key = body(request);
        let is_touched = self.bodies.get(&key).is_some_and(|body| body.is_touched);
        if request.gate != "seal" || request.station != "packer" || is_touched {
            return Ok(());
        }
        let inside = self.filled.get(&key).map(Vec::as_slice).unwrap_or_default();
        let is_good = |number: &u64| {
            self.units.get(number).is_some_and(|unit| {
                let known = unit.serial.map(|serial| ledger.serial(&serial)).unwrap_or_default();
                unit.is_conforming && !unit.is_touched && known.is_commissioned && known.parent.is_none()
            })
        };
        let is_wrong = !inside.is_empty() && inside.len() == ledger.case_capacity && inside.iter().all(is_good);
        claim(!is_wrong, "I30", || format!("a full case of good units was refused: {request:?}, {inside:?}"))
    }

    fn enter(&mut self, now_us: u64, unit: u64, printed: &str, spoil: &str) {
        let is_conforming = spoil == "none";
        self.presented += 1;
        self.conforming += u64::from(is_conforming);
        let unit_of = Unit {
            serial: serial_of(printed),
            is_conforming,
            is_duplicate: spoil == "duplicate",
            is_calm: self.is_calm(now_us),
            is_touched: false,
            place: Place::Belt,
        };
        self.units.insert(unit, unit_of);
    }

    // I01, I02, I10, I11: a pass at the blade is for this very unit, which is as it should be, and the record says so.
    fn may_pass(&mut self, unit: u64, track: u64, ledger: &Ledger) -> Verdict {
        let Some(known) = self.units.get(&unit) else { return Ok(()) };
        let Some(serial) = known.serial else {
            return claim(known.is_touched, "I11", || {
                format!("unit {unit} is illegible and is let pass on track {track}")
            });
        };
        // A repeated code is indistinguishable until its first bearer was read.
        let is_first = known.is_duplicate && self.passed.get(&serial).is_none_or(|first| *first == unit);
        // A hand or a swap behind the camera puts another unit on the track; the case is where that is seen.
        if known.is_touched {
            return Ok(());
        }
        claim(known.is_conforming || is_first, "I11", || format!("unit {unit} ({serial}) is wrong and is let pass"))?;
        claim(ledger.serial(&serial).is_verified, "I01", || {
            format!(
                "unit {unit} ({serial}) is let pass on track {track}, and no durable fact says that it was verified"
            )
        })
    }

    fn end(&mut self, now_us: u64, unit: u64, end: u8) -> Verdict {
        let is_calm_now = self.is_calm(now_us);
        let Some(known) = self.units.get_mut(&unit) else { return Ok(()) };
        known.place = match end {
            1 => Place::Passed,
            2 => Place::Bin,
            _ => Place::Gone,
        };
        self.passed_count += u64::from(end == 1);
        let is_owed = known.is_calm && is_calm_now && known.is_conforming && !known.is_touched;
        let serial = known.serial;
        if let (1, Some(serial)) = (end, serial) {
            self.passed.entry(serial).or_insert(unit);
        }
        if is_owed {
            // I30: without faults there are no false rejects.
            claim(end == 1, "I30", || format!("unit {unit} is conforming, met no fault and was rejected ({end})"))?;
            self.owed.extend(serial.map(|serial| (now_us + COMMISSIONED_MAX_US, serial)));
        }
        Ok(())
    }

    /// What is owed by now: units to be commissioned, requests to be answered.
    pub fn settle(&mut self, now_us: u64, ledger: &Ledger) -> Verdict {
        while let Some((due_us, serial)) = self.owed.front().copied().filter(|(due_us, _)| *due_us <= now_us) {
            self.owed.pop_front();
            // I30
            claim(ledger.serial(&serial).is_commissioned, "I30", || {
                format!("{serial} is conforming, met no fault, passed, and was not commissioned by {due_us} us")
            })?;
            self.proven += 1;
        }
        let late = self.asked.iter().find(|(_, asked)| now_us.saturating_sub(**asked) > ANSWERED_MAX_US);
        claim(late.is_none(), "I30", || format!("a request met no fault and has no answer: {late:?}"))
    }

    // I01, I22, I25, I26: a gate opens under a durable permit, for this request, over what the record says lies inside.
    fn open(
        &mut self,
        now_us: u64,
        request: &RequestOf,
        (token, inside, codes): Inside<'_>,
        ledger: &Ledger,
    ) -> Verdict {
        let Some(granted) = ledger.tokens.get(&token) else {
            return claim(false, "I01", || format!("a gate opens under token {token}, which no durable fact granted"));
        };
        let gate = if granted.gate == Gate::Seal { "seal" } else { "release" };
        let is_ours = granted.request.station.as_str() == request.station && gate == request.gate;
        claim(is_ours && granted.request.container == request.container, "I22", || {
            format!("token {token} opens {} {} of container {}", request.station, request.gate, request.container)
        })?;
        let key = body(request);
        self.bodies.entry(key).or_default().sscc = Some(granted.container);
        if request.gate == "release" {
            let read = self.labels.get(&key).map_or("", String::as_str);
            let is_own = read.strip_prefix("00") == Some(granted.container.as_str());
            claim(is_own, "I4", || format!("{} is released, and its label reads {read:?}", granted.container))?;
        }
        let Some(vessel) = ledger.vessel(&granted.container) else { return Ok(()) };
        claim(vessel.children.len() == codes.len() && inside.len() == codes.len(), "I26", || {
            format!("{} holds {} things, the record says {}", granted.container, codes.len(), vessel.children.len())
        })?;
        for (code, number) in codes.iter().zip(inside) {
            let child = child_of(code);
            claim(child.is_some_and(|child| vessel.children.contains(&child)), "I26", || {
                format!("{number} ({code}) lies in {}, and the record does not say so", granted.container)
            })?;
            let unit = self.units.get(number).filter(|_| request.station == "packer");
            let is_wrong = unit.is_some_and(|unit| {
                let is_astray = unit.place != Place::Passed && !unit.is_touched;
                is_astray || !(unit.is_conforming || unit.is_duplicate)
            });
            claim(!is_wrong, "I11", || format!("unit {number} ({code}) is wrong and lies in {}", granted.container))?;
        }
        if request.gate == "seal" {
            self.bodies.entry(key).or_default().sealed_at_us = now_us;
        }
        if request.gate == "seal" && self.is_calm(now_us) {
            self.proven_cases += u64::from(request.station == "packer");
        }
        Ok(())
    }

    fn moved(&mut self, is_pallet: bool, epoch: u32, container: u64) {
        let body = self.bodies.entry((is_pallet, epoch, container)).or_default();
        body.is_released = true;
        let is_marked = body.sealed_at_us > self.mark_us;
        *if is_pallet { &mut self.pallets } else { &mut self.cases } += 1;
        self.is_marked_case_released |= !is_pallet && is_marked;
    }

    /// I26 over everything: what was released is released in the record, unless a doubt about it is on record.
    pub fn audit(&self, ledger: &Ledger) -> Verdict {
        for ((is_pallet, epoch, count), closed) in &self.bodies {
            let Some(sscc) = closed.sscc.filter(|_| closed.is_released) else { continue };
            let Some(vessel) = ledger.vessel(&sscc) else { continue };
            let is_known = vessel.stage == Stage::Released || vessel.was_doubted || closed.is_touched;
            // I26
            claim(is_known, "I26", || {
                format!(
                    "container {sscc} ({count} of epoch {epoch}, pallet: {is_pallet}) left, and is {:?}",
                    vessel.stage
                )
            })?;
        }
        Ok(())
    }

    // I06, I11: what lies in the bin is not commissioned.
    pub fn commissioned(&self, serial: &SerialNumber) -> Verdict {
        let is_known = self.passed.contains_key(serial) || self.touched.contains(serial);
        claim(is_known, "I06", || format!("{serial} was commissioned, and no unit that bears it passed the gate"))
    }
}

type Inside<'a> = (u32, &'a [u64], &'a [String]);

fn body(request: &RequestOf) -> Body {
    (request.station == "palletizer", request.epoch, request.container)
}

fn serial_of(printed: &str) -> Option<SerialNumber> {
    let serial = codes::element(&bytes_of(printed), b"21")?;
    SerialNumber::new(std::str::from_utf8(&serial).ok()?).ok()
}

fn child_of(code: &str) -> Option<Child> {
    match serial_of(code) {
        Some(serial) => Some(Child::Unit(serial)),
        None => code.strip_prefix("00").and_then(|digits| Sscc::new(digits).ok()).map(Child::Container),
    }
}

/// Whether a mishap is over with the unit that it spoiled.
fn is_of_one_unit(mishap: Mishap) -> bool {
    matches!(
        mishap,
        Mishap::NoRead
            | Mishap::LowGrade
            | Mishap::WrongLot
            | Mishap::WrongExpiry
            | Mishap::ForeignGtin
            | Mishap::Duplicate
            | Mishap::BrokerAway
    )
}
