//! The promises over the record, judged from the durable facts alone: sets and counts written apart from the engine, none of
//! its code. A fact that contradicts those before it is a violation, and so is a write that leaves the line although no durable
//! fact justifies it. What the plant really did is `model`'s part.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::domain::gs1::{SerialNumber, Sscc};
use crate::domain::pack::{Gate, PackLevel};
use crate::domain::text::Name;
use crate::engine::fact::{Child, Counts, Entry, Fact, RequestKey, ResultKey, TrackKey};
use crate::engine::hands::Withdrawal;
use crate::engine::reason::FailReason;
use crate::sim::swarm::roster::Roster;
use crate::sim::swarm::violation::{Verdict, Violation, claim};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Open,
    Granted,
    Closed,
    Released,
    Held,
    Dissolved,
}

#[derive(Clone, Debug)]
pub struct Vessel {
    pub level: PackLevel,
    pub stage: Stage,
    /// Whether its permit ran out unanswered once: what it holds was in doubt.
    pub was_doubted: bool,
    pub children: Vec<Child>,
}

impl Vessel {
    fn doubt(&mut self) {
        (self.stage, self.was_doubted) = (Stage::Held, true);
    }
}

/// A permit for a gate.
#[derive(Clone, Debug)]
pub struct Granted {
    pub container: Sscc,
    pub gate: Gate,
    pub request: RequestKey,
    pub is_open: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Serial {
    pub is_verified: bool,
    pub is_commissioned: bool,
    pub is_scrapped: bool,
    pub is_invalid: bool,
    /// Where it is after a hand took it out of production.
    withdrawn: Option<Withdrawal>,
    pub parent: Option<Sscc>,
}

#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Children that a full container has, by level.
    pub case_capacity: usize,
    pallet_capacity: usize,
    seq: u64,
    boot: u32,
    boot_mono_us: u64,
    last_wall_us: Option<i64>,
    pub serials: HashMap<SerialNumber, Serial>,
    /// Tracks whose pass stands.
    pub passes: BTreeMap<u64, SerialNumber>,
    vessels: HashMap<Sscc, Vessel>,
    pub tokens: HashMap<u32, Granted>,
    last_token: u32,
    /// The newest token of each closer.
    newest: BTreeMap<Name, u32>,
    /// The requests of each closer's present epoch that have an answer.
    answered: BTreeMap<Name, BTreeSet<u64>>,
    /// The pallet of a case.
    case_parents: HashMap<Sscc, Sscc>,
    /// The highest number decided in the present epoch: of the camera, of each closer.
    decided: BTreeMap<Name, u64>,
    pub(super) people: Roster,
    pub alarms: BTreeSet<u32>,
    pub alarms_ever: u32,
    /// The belt may run.
    pub is_running: bool,
    pub is_batch_open: bool,
    pub is_batch_closed: bool,
    pub commissioned: u32,
    scrapped: u32,
    /// By hand, in the order of `Withdrawal::ALL`.
    withdrawn: [u32; 5],
    pub released: [u32; 2],
    pub refused: u32,
}

impl Ledger {
    pub fn new(case_capacity: usize, pallet_capacity: usize) -> Self {
        Self { case_capacity, pallet_capacity, ..Self::default() }
    }

    pub fn through(&self) -> u64 {
        self.seq
    }

    /// The time of the newest fact.
    pub fn last_wall_us(&self) -> Option<i64> {
        self.last_wall_us
    }

    pub fn serial(&self, serial: &SerialNumber) -> Serial {
        self.serials.get(serial).copied().unwrap_or_default()
    }

    pub fn vessel(&self, sscc: &Sscc) -> Option<&Vessel> {
        self.vessels.get(sscc)
    }

    /// The highest number decided for a station in its present epoch.
    pub fn decided(&self, station: &Name) -> Option<u64> {
        self.decided.get(station).copied()
    }

    pub fn is_answered(&self, station: &Name, seq: u64) -> bool {
        self.answered.get(station).is_some_and(|answered| answered.contains(&seq))
    }

    /// The next durable fact, with the times and the boot of its row.
    pub fn fact(&mut self, entry: &Entry, (at_us, mono_us, boot): (i64, u64, u32)) -> Verdict {
        // I18: dense, in the order of deciding.
        claim(entry.seq == self.seq + 1, "I18", || format!("fact {} follows fact {}", entry.seq, self.seq))?;
        self.seq = entry.seq;
        if boot != self.boot {
            (self.boot, self.boot_mono_us) = (boot, 0);
        }
        // I21
        claim(mono_us >= self.boot_mono_us, "I21", || format!("monotonic time fell at fact {}", entry.seq))?;
        self.boot_mono_us = mono_us;
        let fell = self.last_wall_us.is_some_and(|last| at_us < last);
        let is_step = matches!(entry.fact, Fact::ClockStepped { .. });
        claim(!fell || is_step, "I21", || format!("the time falls at fact {}, and no fact says so", entry.seq))?;
        self.last_wall_us = Some(at_us);
        self.people.fact(entry, (boot, mono_us))?;
        self.fold(entry)
    }

    #[allow(clippy::too_many_lines, reason = "one exhaustive match, an arm per kind of fact")]
    fn fold(&mut self, Entry { fact, batch, .. }: &Entry) -> Verdict {
        match fact {
            Fact::StationJoined { station, reset: true, .. } => self.forget(station),
            Fact::AlarmRaised { alarm, .. } => self.raise(*alarm)?,
            Fact::AlarmAcknowledged { alarm } => drop(self.alarms.remove(alarm)),
            Fact::BatchStarted { .. } => (self.is_running, self.is_batch_open) = (true, true),
            Fact::BatchResumed { .. } | Fact::BatchPurgeStarted => self.is_running = true,
            Fact::BatchStopped { .. } | Fact::BatchPurged { .. } | Fact::BatchHeld { .. } => self.is_running = false,
            Fact::BatchReopened { .. } => (self.is_batch_open, self.is_batch_closed) = (true, false),
            Fact::BatchAborted { .. } => {
                (self.is_running, self.is_batch_open, self.is_batch_closed) = (false, false, true);
            }
            Fact::BatchClosed { counts, .. } => self.close_batch(counts, self.people.is_signed(*batch))?,
            Fact::SerialsAllocated { serials, .. } => serials.iter().try_for_each(|serial| self.hand_over(*serial))?,
            Fact::SerialsInvalidated { serials, .. } => self.burn(serials),
            Fact::Verified { result, serial, .. } => self.verified(result, *serial)?,
            Fact::Failed { result, reasons, .. } => self.failed(result, reasons)?,
            Fact::Missed { result } => self.decide(result)?,
            Fact::PassExpired { track, .. }
            | Fact::RejectMissing { track }
            | Fact::UnitRemoved { track }
            | Fact::UnexpectedPass { track } => {
                self.passes.remove(&track.track);
            }
            Fact::Commissioned { track, serial } => self.commission(track, *serial)?,
            Fact::RejectConfirmed { track, serial } => {
                self.passes.remove(&track.track);
                serial.map_or(Ok(()), |serial| self.scrap(serial))?;
            }
            Fact::RejectInferred { serial, .. } => self.scrap(*serial)?,
            Fact::Packed { level, container, children, .. } => self.pack(*level, container, children)?,
            Fact::CloseGranted { request, gate, container, token, .. } => {
                self.grant(request, *gate, container, *token)?
            }
            Fact::CloseRefused { request, reasons, .. } => {
                claim(!reasons.is_empty(), "I23", || "a close was refused for no reason".to_owned())?;
                self.refused += 1;
                self.refuse(request)?;
            }
            Fact::Closed { container, token, children, .. } => self.done(*token, container, children, Gate::Seal)?,
            Fact::Released { container, token, children, .. } => {
                self.done(*token, container, children, Gate::Release)?;
            }
            Fact::CloseFailed { container, token, gate, .. } => self.fail(*gate, *token, container)?,
            Fact::CloseUnresolved { container, .. } => self.known(container)?.doubt(),
            Fact::UnitWithdrawn { serial, withdrawal, .. } => self.withdraw(*serial, *withdrawal)?,
            Fact::ContainerReopened { container, children, .. } => self.reopen(container, children)?,
            Fact::ContainerDissolved { container, .. } => self.dissolve(container)?,
            Fact::LabelVoided { container, .. } => self.void_label(container)?,
            Fact::LineStarted { .. }
            | Fact::LineStopped
            | Fact::StationJoined { .. }
            | Fact::StationLost { .. }
            | Fact::StationFaulted { .. }
            | Fact::BatchLoaded { .. }
            | Fact::BatchCloseRefused { .. }
            | Fact::LineCleared { .. }
            | Fact::SerialsEncoded { .. }
            | Fact::PhantomReject { .. }
            | Fact::EndsMissed { .. }
            | Fact::PermitAcked { .. }
            | Fact::GateForced { .. }
            | Fact::ClockFound { .. }
            | Fact::ClockStepped { .. }
            | Fact::LinePaused { .. }
            | Fact::MessagesExpired { .. }
            | Fact::RecipeFound { .. }
            | Fact::BufferDoubted { .. }
            | Fact::PictureStored { .. }
            | Fact::PicturesRemoved { .. }
            | Fact::LineDescribed { .. }
            | Fact::StoreRestored { .. }
            | Fact::SerialsDeclared { .. }
            | Fact::SerialsRetired { .. }
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

    fn failed(&mut self, result: &ResultKey, reasons: &[FailReason]) -> Verdict {
        claim(!reasons.is_empty(), "I23", || "a unit failed for no reason".to_owned())?;
        self.decide(result)
    }

    fn raise(&mut self, alarm: u32) -> Verdict {
        claim(alarm > self.alarms_ever, "I22", || format!("alarm {alarm} was raised before"))?;
        self.alarms_ever = alarm;
        self.alarms.insert(alarm);
        Ok(())
    }

    fn burn(&mut self, serials: &[SerialNumber]) {
        for serial in serials {
            self.serials.entry(*serial).or_default().is_invalid = true;
        }
    }

    /// A new epoch of a station: its numbers begin anew.
    fn forget(&mut self, station: &Name) {
        self.decided.remove(station);
        self.answered.remove(station);
        self.newest.remove(station);
        if station.as_str() == "rejector" {
            self.passes.clear();
        }
    }

    fn hand_over(&mut self, serial: SerialNumber) -> Verdict {
        // I05: a serial is given to a printer once.
        let before = self.serials.insert(serial, Serial::default());
        claim(before.is_none(), "I05", || format!("serial {serial} was given to a printer twice"))
    }

    fn decide(&mut self, result: &ResultKey) -> Verdict {
        let Some(seq) = result.seq else { return Ok(()) };
        let before = self.decided.insert(result.station, seq);
        // I12, I13: each number once and, while a batch is open, none left out; a wide gap is one row, with its last number.
        let next = before.map_or(seq, |before| before + 1);
        let in_order = seq == next || (seq > next && (!self.is_batch_open || seq - next >= 1_000));
        claim(in_order, "I13", || format!("result {seq} was decided where {next} was due"))
    }

    fn verified(&mut self, result: &ResultKey, serial: SerialNumber) -> Verdict {
        self.decide(result)?;
        // I24
        claim(self.is_batch_open, "I24", || format!("{serial} was verified without a batch"))?;
        let track = result.track.unwrap_or(0);
        claim(track > 0, "I12", || format!("{serial} was verified without a track"))?;
        let Some(known) = self.serials.get_mut(&serial) else {
            // I10: data equals order.
            return claim(false, "I10", || format!("{serial} was verified and never handed to a printer"));
        };
        // I05: one unit per serial.
        claim(!known.is_verified && !known.is_scrapped, "I05", || format!("{serial} was verified twice"))?;
        known.is_verified = true;
        self.passes.insert(track, serial);
        Ok(())
    }

    fn commission(&mut self, track: &TrackKey, serial: SerialNumber) -> Verdict {
        let pass = self.passes.remove(&track.track);
        // I06: GOOD is final, and only for a unit whose pass stood.
        claim(pass == Some(serial), "I06", || format!("{serial} was commissioned without a standing pass"))?;
        let known = self.serials.entry(serial).or_default();
        claim(!known.is_commissioned && !known.is_scrapped, "I05", || format!("{serial} was commissioned twice"))?;
        known.is_commissioned = true;
        self.commissioned += 1;
        Ok(())
    }

    fn scrap(&mut self, serial: SerialNumber) -> Verdict {
        let known = self.serials.entry(serial).or_default();
        // I06
        claim(!known.is_commissioned, "I06", || format!("{serial} is commissioned and was scrapped"))?;
        claim(!known.is_scrapped, "I06", || format!("{serial} was scrapped twice"))?;
        known.is_scrapped = true;
        self.scrapped += 1;
        Ok(())
    }

    fn known(&mut self, container: &Sscc) -> Result<&mut Vessel, Violation> {
        let unknown = || Violation { invariant: "I07", what: format!("container {container} was never packed") };
        self.vessels.get_mut(container).ok_or_else(unknown)
    }

    fn pack(&mut self, level: PackLevel, container: &Sscc, children: &[Child]) -> Verdict {
        let capacity = if level == PackLevel::Pallet { self.pallet_capacity } else { self.case_capacity };
        // I07
        claim(children.len() == capacity, "I07", || format!("{} children in {container}", children.len()))?;
        if let Some(vessel) = self.vessels.get(container) {
            let is_empty = vessel.stage == Stage::Open && vessel.children.is_empty();
            // I04: nothing enters what is closed.
            claim(is_empty, "I04", || format!("packed into {container}, which is {:?}", vessel.stage))?;
        }
        children.iter().try_for_each(|child| self.enter(level, container, child))?;
        let (stage, children) = (Stage::Open, children.to_vec());
        self.vessels.insert(*container, Vessel { level, stage, was_doubted: false, children });
        Ok(())
    }

    fn enter(&mut self, level: PackLevel, container: &Sscc, child: &Child) -> Verdict {
        match child {
            Child::Unit(serial) => {
                let unit = self.serials.entry(*serial).or_default();
                let is_good = unit.is_commissioned && !unit.is_scrapped && unit.withdrawn.is_none();
                let is_fit = level == PackLevel::Case && is_good;
                // I02, I11: only good children.
                claim(is_fit, "I02", || format!("unit {serial} is not fit for {container}"))?;
                // I03: one live parent.
                claim(unit.parent.is_none(), "I03", || format!("unit {serial} has two parents"))?;
                unit.parent = Some(*container);
            }
            Child::Container(sscc) => {
                // I08: a pallet over released cases.
                let is_fit = self.vessels.get(sscc).is_some_and(|at| at.stage == Stage::Released);
                claim(is_fit && level == PackLevel::Pallet, "I08", || format!("{sscc} is not fit for {container}"))?;
                let before = self.case_parents.insert(*sscc, *container);
                claim(before.is_none(), "I03", || format!("case {sscc} has two parents"))?;
            }
        }
        Ok(())
    }

    /// A request that was granted may be refused after all, once its permit has failed.
    fn refuse(&mut self, request: &RequestKey) -> Verdict {
        let is_granted = |granted: &Granted| granted.request == *request;
        let failed = self.newest.get(&request.station).and_then(|token| self.tokens.get(token));
        if let Some(granted) = failed.filter(|granted| is_granted(granted)) {
            return claim(!granted.is_open, "I22", || format!("{request:?} is refused while its permit stands"));
        }
        self.newest.remove(&request.station);
        self.answer(request)
    }

    fn answer(&mut self, request: &RequestKey) -> Verdict {
        // I22: one answer for each request.
        let is_first = self.answered.entry(request.station).or_default().insert(request.seq);
        claim(is_first, "I22", || format!("request {} of {} was answered twice", request.seq, request.station))?;
        let decided = self.decided.entry(request.station).or_default();
        *decided = (*decided).max(request.seq);
        Ok(())
    }

    fn grant(&mut self, request: &RequestKey, gate: Gate, container: &Sscc, token: u32) -> Verdict {
        self.answer(request)?;
        // I22: tokens strictly increase.
        claim(token > self.last_token, "I22", || format!("token {token} after {}", self.last_token))?;
        self.last_token = token;
        claim(self.is_batch_open, "I24", || format!("{container} was granted without a batch"))?;
        let vessel = self.known(container)?;
        let before = if gate == Gate::Seal { Stage::Open } else { Stage::Closed };
        claim(vessel.stage == before, "I04", || format!("{container} is granted and is {:?}", vessel.stage))?;
        vessel.stage = Stage::Granted;
        self.newest.insert(request.station, token);
        self.tokens.insert(token, Granted { container: *container, gate, request: *request, is_open: true });
        Ok(())
    }

    fn spend(&mut self, token: u32, container: &Sscc) -> Verdict {
        let granted = self.tokens.get_mut(&token).filter(|granted| granted.is_open && granted.container == *container);
        let Some(granted) = granted else {
            return claim(false, "I22", || format!("token {token} of {container} is used twice or was never given"));
        };
        granted.is_open = false;
        Ok(())
    }

    fn done(&mut self, token: u32, container: &Sscc, children: &[Child], gate: Gate) -> Verdict {
        self.spend(token, container)?;
        let vessel = self.known(container)?;
        claim(vessel.children == children, "I04", || format!("{container} holds other children than were packed"))?;
        vessel.stage = if gate == Gate::Seal { Stage::Closed } else { Stage::Released };
        if gate == Gate::Release {
            let at = usize::from(vessel.level == PackLevel::Pallet);
            self.released[at] += 1;
        }
        Ok(())
    }

    fn fail(&mut self, gate: Gate, token: u32, container: &Sscc) -> Verdict {
        self.spend(token, container)?;
        let vessel = self.known(container)?;
        if gate == Gate::Release {
            vessel.stage = Stage::Closed;
            return Ok(());
        }
        vessel.stage = Stage::Open;
        let children = std::mem::take(&mut vessel.children);
        self.leave(&children);
        Ok(())
    }

    /// A unit is in no container when it goes, and goes once; a sample may be destroyed later.
    fn withdraw(&mut self, serial: SerialNumber, withdrawal: Withdrawal) -> Verdict {
        let known = self.serials.entry(serial).or_default();
        let is_label = matches!(withdrawal, Withdrawal::LabelSampled | Withdrawal::LabelScrapped);
        let is_later = known.withdrawn == Some(Withdrawal::Sampled) && withdrawal == Withdrawal::Destroyed;
        claim(known.parent.is_none(), "I03", || format!("{serial} goes out of a container that is closed"))?;
        claim(known.is_commissioned != is_label, "I06", || format!("{serial} is {}", withdrawal.name()))?;
        let is_free = !known.is_scrapped && (known.withdrawn.is_none() || is_later);
        claim(is_free, "I06", || format!("{serial} is {} and was settled before", withdrawal.name()))?;
        let before = known.withdrawn.replace(withdrawal);
        (known.is_scrapped, known.is_verified) = (is_label, true);
        let at = |withdrawal| Withdrawal::ALL.iter().position(|one| *one == withdrawal).unwrap_or_default();
        if let Some(before) = before {
            self.withdrawn[at(before)] -= 1;
        }
        self.withdrawn[at(withdrawal)] += 1;
        self.scrapped += u32::from(withdrawal == Withdrawal::LabelScrapped);
        Ok(())
    }

    /// I04: no hand is put on what a machine may close yet, and what lies around is opened before.
    fn reopen(&mut self, container: &Sscc, children: &[Child]) -> Verdict {
        let is_packed = self.case_parents.contains_key(container);
        let mut standing = self.newest.values().filter_map(|token| self.tokens.get(token));
        let is_open = standing.any(|granted| granted.is_open && granted.container == *container);
        let vessel = self.known(container)?;
        let may_be_opened = matches!(vessel.stage, Stage::Closed | Stage::Released | Stage::Held);
        claim(may_be_opened, "I04", || format!("{container} is opened by hand and is {:?}", vessel.stage))?;
        let is_whole = vessel.children == children;
        let was_released = vessel.stage == Stage::Released;
        (vessel.stage, vessel.children) = (Stage::Open, Vec::new());
        let at = usize::from(vessel.level == PackLevel::Pallet);
        claim(is_whole, "I04", || format!("{container} is opened with other children than were packed"))?;
        claim(!is_packed, "I04", || format!("{container} is opened in a container that is closed"))?;
        claim(!is_open, "I22", || format!("{container} is opened under a permit"))?;
        self.released[at] -= u32::from(was_released);
        self.leave(children);
        Ok(())
    }

    fn dissolve(&mut self, container: &Sscc) -> Verdict {
        let vessel = self.known(container)?;
        let is_empty = vessel.stage == Stage::Open && vessel.children.is_empty();
        vessel.stage = Stage::Dissolved;
        claim(is_empty, "I04", || format!("{container} is dissolved and holds children"))
    }

    fn void_label(&mut self, container: &Sscc) -> Verdict {
        let is_packed = self.case_parents.contains_key(container);
        let vessel = self.known(container)?;
        let was_released = vessel.stage == Stage::Released;
        let is_closed = was_released || vessel.stage == Stage::Closed;
        vessel.stage = Stage::Closed;
        let at = usize::from(vessel.level == PackLevel::Pallet);
        claim(is_closed && !is_packed, "I08", || format!("{container} gets another label where it is"))?;
        self.released[at] -= u32::from(was_released);
        Ok(())
    }

    fn leave(&mut self, children: &[Child]) {
        for child in children {
            match child {
                Child::Unit(serial) => self.serials.entry(*serial).or_default().parent = None,
                Child::Container(sscc) => drop(self.case_parents.remove(sscc)),
            }
        }
    }

    /// I14: the counts balance among themselves and with what was counted here; where two people signed, what is lost may be lost.
    fn close_batch(&mut self, counts: &Counts, is_signed: bool) -> Verdict {
        let Counts { received, unused, burned, printed, commissioned, scrapped, unaccounted, .. } = *counts;
        let Counts { packed, loose, triggers, pass, fail, no_read, missed, .. } = *counts;
        let Counts { rejects_commanded, rejects_confirmed, rejects_resolved, bin, phantom, .. } = *counts;
        let Counts { label_sampled, sampled, inactive, destroyed, .. } = *counts;
        let [labels, _, samples, withdrawn, gone] = self.withdrawn;
        let identities = [
            ("serials", received, unused + burned + printed),
            ("printed", printed, commissioned + scrapped + label_sampled + unaccounted),
            ("commissioned", commissioned, packed + sampled + inactive + destroyed + loose),
            ("loose", loose, 0),
            ("triggers", triggers, pass + fail + no_read + missed),
            ("commissioned here", commissioned, self.commissioned),
            ("scrapped here", scrapped, self.scrapped),
            ("label_sampled here", label_sampled, labels),
            ("sampled here", sampled, samples),
            ("inactive here", inactive, withdrawn),
            ("destroyed here", destroyed, gone),
        ];
        let signable = [
            ("unaccounted", unaccounted, 0),
            ("rejects", rejects_commanded, rejects_confirmed + rejects_resolved),
            ("bin", bin, rejects_confirmed + phantom),
        ];
        let owed = signable.iter().filter(|_| !is_signed);
        for (what, left, right) in identities.iter().chain(owed) {
            // I14
            claim(left == right, "I14", || format!("{what}: {left} is not {right}, in {counts:?}"))?;
        }
        (self.is_running, self.is_batch_open, self.is_batch_closed) = (false, false, true);
        Ok(())
    }
}
