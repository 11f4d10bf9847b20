//! An independent model of the promises: sets and counts over what the engine says, none of its code.

use std::collections::{BTreeMap, BTreeSet};

use sealgate::domain::gs1::{SerialNumber, Sscc};
use sealgate::domain::pack::{Gate, PackLevel};
use sealgate::domain::tag::StationId;
use sealgate::domain::text::Name;
use sealgate::engine::Engine;
use sealgate::engine::fact::{Child, Counts, Fact, RequestKey, ResultKey};
use sealgate::engine::hands::{Again, Withdrawal};
use sealgate::engine::input::{Input, Observed, TrackEnd};
use sealgate::engine::output::{Permit, Recheck, Step};
use sealgate::engine::reason::AlarmKind;

use super::astray::Astray;
use super::matching::Matching;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    Granted,
    Closed,
    Released,
    Held,
    Dissolved,
}

#[derive(Clone, Debug)]
struct Vessel {
    level: PackLevel,
    stage: Stage,
    children: Vec<Child>,
    /// Whether upstream knows it, and what is in it.
    is_known: (bool, bool),
}

#[derive(Clone, Debug)]
struct Granted {
    container: Sscc,
    is_open: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Judge {
    pub(crate) commissioned: BTreeSet<SerialNumber>,
    /// Tracks whose pass stands.
    passes: BTreeMap<u64, SerialNumber>,
    /// Tracks that the device has said to have passed.
    passed: BTreeSet<u64>,
    verified: BTreeSet<SerialNumber>,
    vessels: BTreeMap<Sscc, Vessel>,
    parents: BTreeMap<Child, Sscc>,
    tokens: BTreeMap<u32, Granted>,
    /// The permit that each station holds: a new request and a new epoch leave it behind.
    standing: BTreeMap<Name, u32>,
    withdrawn: BTreeMap<SerialNumber, Withdrawal>,
    printed: BTreeMap<u64, SerialNumber>,
    invalid: BTreeSet<SerialNumber>,
    answered: BTreeMap<Name, BTreeSet<u64>>,
    decided: BTreeMap<Name, u64>,
    alarms: BTreeSet<u32>,
    matching: Matching,
    astray: Astray,
    /// What was told of the serials that run out.
    pool_told: BTreeSet<AlarmKind>,
    /// Those that let nobody run.
    holding: BTreeSet<u32>,
    /// What a printer holds is not what it was given.
    is_buffer_doubted: bool,
    joined: BTreeSet<Name>,
    seq: u64,
    phase: Phase,
    scrapped: u32,
    pub(crate) released_again: usize,
}

/// What the batch allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Still,
    Running,
    Held,
    Purging,
    Closed,
    /// It was given up: nothing of it is decided any more.
    Aborted,
}

type Verdict = Result<(), String>;

fn claim(holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(what()) }
}

impl Judge {
    /// Judges one step: its facts against those before, then what may leave after them. `capacity` is of both levels.
    pub(crate) fn judge(&mut self, engine: &Engine, input: &Input, step: &Step, capacity: usize) -> Verdict {
        if let Input::Observed(observation) = input
            && let Observed::Ended { track, end: TrackEnd::Passed, .. } = observation.what
        {
            self.passed.insert(track);
        }
        for entry in &step.facts {
            claim(entry.seq == self.seq + 1, || format!("fact {} follows {}", entry.seq, self.seq))?;
            self.seq = entry.seq;
            self.matching.fact(entry)?;
            self.astray.fact(engine, input, &entry.fact)?;
            self.fact(engine, input, &entry.fact, capacity)?;
        }
        claim(step.facts.len() < 10_000, || "I9: a step of ten thousand facts".to_owned())
    }

    #[allow(clippy::too_many_lines, reason = "one exhaustive match, an arm per kind of fact")]
    fn fact(&mut self, engine: &Engine, input: &Input, fact: &Fact, capacity: usize) -> Verdict {
        match fact {
            Fact::StationJoined { station, reset, .. } => self.join(*station, *reset),
            Fact::StationLost { station, .. } => drop(self.joined.remove(station)),
            Fact::LineStarted { .. } | Fact::LineStopped => self.joined.clear(),
            Fact::AlarmRaised { alarm, kind, .. } => self.raised(*alarm, *kind)?,
            Fact::AlarmAcknowledged { alarm } => self.acknowledged(*alarm),
            Fact::BatchStarted { .. } => self.move_on(&[Phase::Still], Phase::Running)?,
            Fact::BatchStopped { .. } => self.move_on(&[Phase::Running, Phase::Purging], Phase::Still)?,
            Fact::BatchPurgeStarted => self.move_on(&[Phase::Running, Phase::Still], Phase::Purging)?,
            Fact::BatchPurged { .. } => self.purged(engine)?,
            Fact::BatchHeld { .. } => self.move_on(&[Phase::Running], Phase::Held)?,
            Fact::BatchResumed { .. } => self.move_on(&[Phase::Held], Phase::Running)?,
            Fact::BatchAborted { .. } => self.move_on(&[Phase::Held, Phase::Still], Phase::Aborted)?,
            Fact::BatchReopened { .. } => self.move_on(&[Phase::Closed], Phase::Still)?,
            Fact::BatchClosed { counts, .. } => self.closed(counts)?,
            Fact::SerialsAllocated { from_seq, serials, .. } => {
                (*from_seq..).zip(serials).try_for_each(|(seq, serial)| self.hand_over(seq, *serial))?;
            }
            Fact::BufferDoubted { .. } => self.is_buffer_doubted = true,
            Fact::SerialsInvalidated { serials, .. } => self.burn(serials),
            Fact::Verified { result, serial, .. } => self.passes(result, *serial)?,
            Fact::Failed { result, reasons, .. } => self.judged_bad(result, reasons.is_empty())?,
            Fact::Missed { result } => self.decide(result.station, result.seq),
            Fact::PassExpired { track, .. }
            | Fact::RejectMissing { track }
            | Fact::UnitRemoved { track }
            | Fact::UnexpectedPass { track } => {
                self.passes.remove(&track.track);
            }
            Fact::RejectConfirmed { track, serial } => {
                self.passes.remove(&track.track);
                serial.map_or(Ok(()), |serial| self.scrapped(serial))?;
            }
            Fact::RejectInferred { serial, .. } => self.scrapped(*serial)?,
            Fact::Commissioned { track, serial } => self.commissioned(track.track, *serial)?,
            Fact::Packed { level, container, children, .. } => self.packed(*level, container, children, capacity)?,
            Fact::CloseGranted { request, gate, container, token, .. } => {
                self.answer(request);
                self.standing.insert(request.station, *token);
                self.granted(engine, input, *gate, container, *token)?;
            }
            Fact::CloseRefused { request, reasons, .. } => {
                claim(!reasons.is_empty(), || "a close was refused for no reason".to_owned())?;
                self.standing.remove(&request.station);
                self.answer(request);
            }
            Fact::Closed { container, token, children, .. } => self.done(*token, container, children, Stage::Closed)?,
            Fact::Released { container, token, children, again, .. } => {
                self.done(*token, container, children, Stage::Released)?;
                self.told(container, *again)?;
            }
            Fact::CloseFailed { container, token, gate, .. } => self.failed(*gate, *token, container)?,
            Fact::CloseUnresolved { container, .. } => self.vessel(container)?.stage = Stage::Held,
            Fact::GateForced { container: Some(container), .. } => self.vessel(container)?.stage = Stage::Held,
            Fact::UnitWithdrawn { serial, withdrawal, .. } => self.withdrawn(*serial, *withdrawal)?,
            Fact::ContainerReopened { container, told, children, .. } => self.reopened(container, *told, children)?,
            Fact::ContainerDissolved { container, told, .. } => self.dissolved(container, *told)?,
            Fact::LabelVoided { container, .. } => self.relabelled(container)?,
            Fact::StationFaulted { .. }
            | Fact::LineDescribed { .. }
            | Fact::StoreRestored { .. }
            | Fact::SerialsDeclared { .. }
            | Fact::SerialsRetired { .. }
            | Fact::BatchLoaded { .. }
            | Fact::BatchCloseRefused { .. }
            | Fact::LineCleared { .. }
            | Fact::SerialsEncoded { .. }
            | Fact::PhantomReject { .. }
            | Fact::EndsMissed { .. }
            | Fact::PermitAcked { .. }
            | Fact::GateForced { container: None, .. }
            | Fact::ClockFound { .. }
            | Fact::ClockStepped { .. }
            | Fact::LinePaused { .. }
            | Fact::MessagesExpired { .. }
            | Fact::RecipeFound { .. }
            | Fact::PictureStored { .. }
            | Fact::PicturesRemoved { .. }
            | Fact::KeyAnnounced { .. }
            | Fact::UserAdded { .. }
            | Fact::UserChanged { .. }
            | Fact::CredentialSet { .. }
            | Fact::LoginFailed { .. }
            | Fact::LoginLocked { .. }
            | Fact::LoginUnlocked { .. }
            | Fact::LoggedIn { .. }
            | Fact::LoggedOut { .. }
            | Fact::Signed { .. }
            | Fact::ConfigApproved { .. }
            | Fact::UserRecovered { .. }
            | Fact::SignatureRefused { .. }
            | Fact::AuditReviewed { .. }
            | Fact::MessageGivenUp { .. }
            | Fact::EpochRaised { .. } => {}
        }
        Ok(())
    }

    fn move_on(&mut self, from: &[Phase], to: Phase) -> Verdict {
        let before = std::mem::replace(&mut self.phase, to);
        claim(from.contains(&before), || format!("the batch is {to:?} after {before:?}"))
    }

    /// Nothing stands between camera and gate, and no record in a printer.
    fn purged(&mut self, engine: &Engine) -> Verdict {
        self.move_on(&[Phase::Purging], Phase::Still)?;
        claim(self.passes.is_empty(), || "a line is empty while passes stand".to_owned())?;
        claim(engine.state().transit.tracks.is_empty(), || "a line is empty with units in transit".to_owned())
    }

    fn judged_bad(&mut self, result: &ResultKey, is_groundless: bool) -> Verdict {
        self.decide(result.station, result.seq);
        claim(!is_groundless, || "a unit failed for no reason".to_owned())
    }

    fn raised(&mut self, alarm: u32, kind: AlarmKind) -> Verdict {
        // The kinds that need no stop: the printer is emptied, or starves.
        let starves = matches!(kind, AlarmKind::SerialPoolLow | AlarmKind::SerialsExhausted);
        let is_repeat = starves && !self.pool_told.insert(kind);
        claim(!is_repeat, || format!("{} was told twice", kind.name()))?;
        if kind != AlarmKind::StrangeRecord && !starves {
            self.holding.insert(alarm);
        }
        claim(self.alarms.insert(alarm), || format!("alarm {alarm} raised twice"))
    }

    fn acknowledged(&mut self, alarm: u32) {
        self.alarms.remove(&alarm);
        self.holding.remove(&alarm);
    }

    fn join(&mut self, station: Name, is_reset: bool) {
        self.joined.insert(station);
        if is_reset {
            self.forget(station);
        }
    }

    fn burn(&mut self, serials: &[SerialNumber]) {
        self.is_buffer_doubted = false;
        self.invalid.extend(serials);
        self.printed.retain(|_, serial| !serials.contains(serial));
    }

    fn hand_over(&mut self, seq: u64, serial: SerialNumber) -> Verdict {
        let is_repeat = self.printed.values().any(|known| *known == serial) || self.invalid.contains(&serial);
        claim(!is_repeat, || format!("I2: {serial} was given to a printer twice"))?;
        self.printed.insert(seq, serial);
        Ok(())
    }

    fn passes(&mut self, result: &ResultKey, serial: SerialNumber) -> Verdict {
        self.decide(result.station, result.seq);
        claim(self.verified.insert(serial), || format!("I2: {serial} was verified twice"))?;
        self.passes.insert(result.track.ok_or("a pass without a track")?, serial);
        Ok(())
    }

    fn scrapped(&mut self, serial: SerialNumber) -> Verdict {
        let good = self.commissioned.contains(&serial);
        claim(!good, || format!("a commissioned unit is scrapped: {serial}"))?;
        let went = self.withdrawn.get(&serial);
        claim(went.is_none(), || format!("{serial} is scrapped and went before: {went:?}"))?;
        self.scrapped += 1;
        Ok(())
    }

    fn commissioned(&mut self, track: u64, serial: SerialNumber) -> Verdict {
        let pass = self.passes.remove(&track);
        claim(pass == Some(serial), || format!("I8: {serial} was commissioned without a standing pass"))?;
        claim(self.passed.contains(&track), || format!("I8: {serial} did not pass the gate"))?;
        claim(self.commissioned.insert(serial), || format!("I2: {serial} was commissioned twice"))
    }

    /// A new epoch of a station.
    fn forget(&mut self, station: Name) {
        self.answered.remove(&station);
        self.decided.remove(&station);
        self.standing.remove(&station);
        match station.as_str() {
            "printer" => self.printed.clear(),
            "rejector" => {
                self.passes.clear();
                self.passed.clear();
            }
            _ => {}
        }
    }

    fn decide(&mut self, station: Name, seq: Option<u64>) {
        let at = self.decided.entry(station).or_default();
        *at = (*at).max(seq.unwrap_or_default());
    }

    fn answer(&mut self, request: &RequestKey) {
        self.answered.entry(request.station).or_default().insert(request.seq);
    }

    fn vessel(&mut self, container: &Sscc) -> Result<&mut Vessel, String> {
        self.vessels.get_mut(container).ok_or_else(|| format!("{container} was never packed"))
    }

    fn packed(&mut self, level: PackLevel, container: &Sscc, children: &[Child], capacity: usize) -> Verdict {
        claim(children.len() == capacity, || format!("I4: {} children in {container}", children.len()))?;
        if let Some(vessel) = self.vessels.get(container) {
            claim(vessel.stage == Stage::Open, || format!("I5: packed into {container}, {:?}", vessel.stage))?;
            claim(vessel.children.is_empty(), || format!("I3: {container} still holds children"))?;
        }
        for child in children {
            let fit = match child {
                Child::Unit(serial) => {
                    let is_good = self.commissioned.contains(serial) && !self.withdrawn.contains_key(serial);
                    level == PackLevel::Case && is_good
                }
                Child::Container(sscc) => {
                    let inner = self.vessels.get(sscc);
                    level == PackLevel::Pallet
                        && inner.is_some_and(|at| at.level == PackLevel::Case && at.stage == Stage::Released)
                }
            };
            claim(fit, || format!("I4: {child:?} is not fit for {container}"))?;
            let before = self.parents.insert(*child, *container);
            claim(before.is_none(), || format!("I3: {child:?} has two parents"))?;
        }
        let is_known = self.vessels.get(container).is_some_and(|at| at.is_known.0);
        let vessel = Vessel { level, stage: Stage::Open, children: children.to_vec(), is_known: (is_known, false) };
        self.vessels.insert(*container, vessel);
        Ok(())
    }

    fn granted(&mut self, engine: &Engine, input: &Input, gate: Gate, container: &Sscc, token: u32) -> Verdict {
        let permit = Granted { container: *container, is_open: true };
        claim(self.tokens.insert(token, permit).is_none(), || format!("I2: token {token} was used twice"))?;
        claim(engine.state().last_token >= token, || "the engine forgot its last token".to_owned())?;
        let vessel = self.vessel(container)?;
        match gate {
            Gate::Seal => claim(vessel.stage == Stage::Open, || format!("I5: {container} is sealed twice"))?,
            Gate::Release => {
                claim(vessel.stage == Stage::Closed, || format!("I4: {container} is released before its seal"))?;
                let label = format!("00{container}");
                let read = if let Input::Observed(observation) = input
                    && let Observed::CloseRequested(request) = &observation.what
                {
                    request.label_read.clone()
                } else {
                    None
                };
                claim(read == Some(label.into_bytes()), || format!("I4: {container} is released without its label"))?;
            }
        }
        vessel.stage = Stage::Granted;
        Ok(())
    }

    fn done(&mut self, token: u32, container: &Sscc, children: &[Child], stage: Stage) -> Verdict {
        self.spend(token, container)?;
        let vessel = self.vessel(container)?;
        claim(vessel.children == children, || format!("I5: {container} holds other children than were packed"))?;
        vessel.stage = stage;
        Ok(())
    }

    fn failed(&mut self, gate: Gate, token: u32, container: &Sscc) -> Verdict {
        self.spend(token, container)?;
        let vessel = self.vessel(container)?;
        if gate == Gate::Release {
            vessel.stage = Stage::Closed;
            return Ok(());
        }
        vessel.stage = Stage::Open;
        let children = std::mem::take(&mut vessel.children);
        self.parents.retain(|child, _| !children.contains(child));
        Ok(())
    }

    /// What upstream hears: of each container once, and of its content whenever it is another one.
    fn told(&mut self, container: &Sscc, again: Option<Again>) -> Verdict {
        let vessel = self.vessel(container)?;
        let due = match vessel.is_known {
            (false, _) => None,
            (true, false) => Some(Again::Packed),
            (true, true) => Some(Again::Relabelled),
        };
        vessel.is_known = (true, true);
        self.released_again += usize::from(again.is_some());
        claim(again == due, || format!("{container} is told of as {again:?}, and should be as {due:?}"))
    }

    fn withdrawn(&mut self, serial: SerialNumber, withdrawal: Withdrawal) -> Verdict {
        let is_label = matches!(withdrawal, Withdrawal::LabelSampled | Withdrawal::LabelScrapped);
        let is_product = self.commissioned.contains(&serial);
        claim(is_label != is_product, || {
            format!("{serial} is {} and was commissioned: {is_product}", withdrawal.name())
        })?;
        let is_inside = self.parents.contains_key(&Child::Unit(serial));
        claim(!is_inside, || format!("I5: {serial} goes out of a container that is closed"))?;
        let is_awaited = self.passes.values().any(|pass| *pass == serial);
        claim(!is_awaited, || format!("I8: {serial} may pass the gate, and goes"))?;
        let before = self.withdrawn.insert(serial, withdrawal);
        let is_later = before == Some(Withdrawal::Sampled) && withdrawal == Withdrawal::Destroyed;
        claim(before.is_none() || is_later, || format!("{serial} goes twice: {before:?}, {withdrawal:?}"))?;
        self.scrapped += u32::from(withdrawal == Withdrawal::LabelScrapped);
        Ok(())
    }

    /// I3, I5: outermost first, and never under a permit.
    fn reopened(&mut self, container: &Sscc, told: bool, children: &[Child]) -> Verdict {
        let is_inside = self.parents.contains_key(&Child::Container(*container));
        let mut standing = self.standing.values().filter_map(|token| self.tokens.get(token));
        let is_permitted = standing.any(|permit| permit.is_open && permit.container == *container);
        let vessel = self.vessel(container)?;
        let is_closed = matches!(vessel.stage, Stage::Closed | Stage::Released | Stage::Held);
        let stage = std::mem::replace(&mut vessel.stage, Stage::Open);
        let held = std::mem::take(&mut vessel.children);
        let was_told = std::mem::replace(&mut vessel.is_known.1, false);
        claim(is_closed, || format!("I5: {container} is opened and is {stage:?}"))?;
        claim(!is_inside, || format!("I5: {container} is opened, and what lies around it is not"))?;
        claim(!is_permitted, || format!("I5: {container} is opened under a permit"))?;
        claim(held == children, || format!("I5: {container} is opened with other children than were packed"))?;
        claim(told == was_told, || format!("{container} was told of: {was_told}, and is said to be: {told}"))?;
        self.parents.retain(|child, _| !children.contains(child));
        Ok(())
    }

    fn dissolved(&mut self, container: &Sscc, told: bool) -> Verdict {
        let vessel = self.vessel(container)?;
        let is_empty = vessel.stage == Stage::Open && vessel.children.is_empty();
        vessel.stage = Stage::Dissolved;
        claim(is_empty, || format!("{container} is dissolved and is not open and empty"))?;
        claim(told == vessel.is_known.0, || format!("{container} is dissolved, told of: {told}"))
    }

    fn relabelled(&mut self, container: &Sscc) -> Verdict {
        let is_inside = self.parents.contains_key(&Child::Container(*container));
        let vessel = self.vessel(container)?;
        let is_closed = matches!(vessel.stage, Stage::Closed | Stage::Released);
        vessel.stage = Stage::Closed;
        claim(is_closed && !is_inside, || format!("I4: {container} gets another label where it is"))
    }

    fn spend(&mut self, token: u32, container: &Sscc) -> Verdict {
        let permit = self.tokens.get_mut(&token).ok_or_else(|| format!("token {token} was never given"))?;
        claim(permit.is_open && permit.container == *container, || format!("token {token} is used twice"))?;
        permit.is_open = false;
        Ok(())
    }

    /// I10. The counts must balance, and agree with what was counted here.
    fn closed(&mut self, counts: &Counts) -> Verdict {
        let Counts { received, unused, burned, printed, commissioned, scrapped, unaccounted, .. } = *counts;
        let Counts { packed, loose, triggers, pass, fail, no_read, missed, .. } = *counts;
        let Counts { rejects_commanded, rejects_confirmed, rejects_resolved, bin, phantom, .. } = *counts;
        self.move_on(&[Phase::Still], Phase::Closed)?;
        let Counts { label_sampled, sampled, inactive, destroyed, cases_released, pallets_released, .. } = *counts;
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let went = |withdrawal| count(self.withdrawn.values().filter(|at| **at == withdrawal).count());
        let is_released = |vessel: &&Vessel, level| vessel.stage == Stage::Released && vessel.level == level;
        let released = |level| count(self.vessels.values().filter(|at| is_released(at, level)).count());
        let identities = [
            ("serials", received, unused + burned + printed),
            ("printed", printed, commissioned + scrapped + label_sampled + unaccounted),
            ("unaccounted", unaccounted, 0),
            ("commissioned", commissioned, packed + sampled + inactive + destroyed + loose),
            ("loose", loose, 0),
            ("triggers", triggers, pass + fail + no_read + missed),
            ("rejects", rejects_commanded, rejects_confirmed + rejects_resolved),
            ("bin", bin, rejects_confirmed + phantom),
            ("commissioned here", commissioned, u32::try_from(self.commissioned.len()).unwrap_or(u32::MAX)),
            ("scrapped here", scrapped, self.scrapped),
            ("label_sampled here", label_sampled, went(Withdrawal::LabelSampled)),
            ("sampled here", sampled, went(Withdrawal::Sampled)),
            ("inactive here", inactive, went(Withdrawal::Inactive)),
            ("destroyed here", destroyed, went(Withdrawal::Destroyed)),
            ("cases here", cases_released, released(PackLevel::Case)),
            ("pallets here", pallets_released, released(PackLevel::Pallet)),
        ];
        for (what, left, right) in identities {
            claim(left == right, || format!("I10: {what}: {left} is not {right}, in {counts:?}"))?;
        }
        Ok(())
    }

    /// I1: what may leave now is justified by facts that were said before.
    pub(crate) fn permit(&self, engine: &Engine, now: sealgate::domain::time::Now, permit: &Permit) -> Verdict {
        if engine.recheck(now, permit) == Recheck::Void {
            return Ok(());
        }
        let name = |station: StationId| engine.settings().stations[usize::from(station.0)].name;
        let justified = match permit {
            Permit::Pass { key, .. } => self.passes.contains_key(&key.track),
            Permit::Run { .. } => self.may_move() && self.holding.is_empty() && self.joined.len() == 5,
            Permit::AckResult { station, seq, .. } => self.decided.get(&name(*station)) >= Some(seq),
            Permit::Print { seq, data, .. } => {
                let serial = self.printed.get(seq);
                self.may_print() && serial.is_some_and(|serial| String::from_utf8_lossy(data).contains(serial.as_str()))
            }
            Permit::Flush { .. } => !self.may_print() || self.is_buffer_doubted,
            // No camera of this plant decides by itself.
            Permit::Expect { .. } => false,
            Permit::AckRequest { station, seq, .. } => self.is_answered(name(*station), *seq),
            Permit::Settle { station, seq, .. } => self.is_answered(name(*station), *seq),
            Permit::Close(close) => {
                let granted = self.tokens.get(&close.token);
                granted.is_some_and(|granted| {
                    granted.is_open
                        && close.label == format!("00{}", granted.container).into_bytes()
                        && self.vessels.get(&granted.container).is_some_and(|at| at.stage == Stage::Granted)
                })
            }
        };
        claim(justified, || format!("I1: {permit:?} is justified by no fact"))
    }

    fn may_move(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Purging)
    }

    fn may_print(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Held)
    }

    fn is_answered(&self, station: Name, seq: u64) -> bool {
        self.answered.get(&station).is_some_and(|seqs| seqs.contains(&seq))
    }

    /// Whether the blade has been told to let this track pass.
    pub(crate) fn may_pass(&self, track: u64) -> bool {
        self.passes.contains_key(&track)
    }

    /// Units whose pass stands and whose end was not told.
    pub(crate) fn awaited_units(&self) -> Vec<SerialNumber> {
        self.passes.values().copied().collect()
    }

    /// Commissioned units, or released cases, that lie nowhere.
    pub(crate) fn loose_units(&self) -> Vec<SerialNumber> {
        let is_loose = |serial: &&SerialNumber| {
            !self.parents.contains_key(&Child::Unit(**serial)) && !self.withdrawn.contains_key(*serial)
        };
        self.commissioned.iter().filter(is_loose).copied().collect()
    }

    pub(crate) fn loose_cases(&self) -> Vec<Sscc> {
        let released = self.vessels.iter().filter(|(_, at)| at.level == PackLevel::Case && at.stage == Stage::Released);
        released.map(|(sscc, _)| *sscc).filter(|sscc| !self.parents.contains_key(&Child::Container(*sscc))).collect()
    }

    pub(crate) fn any_container(&self, at: usize) -> Option<Sscc> {
        self.vessels.keys().nth(at % self.vessels.len().max(1)).copied()
    }

    pub(crate) fn withdrawn_units(&self) -> usize {
        self.withdrawn.len()
    }

    pub(crate) fn alarms(&self) -> Vec<u32> {
        self.alarms.iter().copied().collect()
    }

    pub(crate) fn closed_containers(&self) -> usize {
        self.vessels.values().filter(|at| matches!(at.stage, Stage::Closed | Stage::Released)).count()
    }
}
