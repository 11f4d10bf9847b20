//! The gate of every case and pallet: may these children be closed in (seal), may this container leave (release)?
//! A refusal carries all its reasons. What is not known to be right is refused.

use std::collections::BTreeSet;

use crate::domain::element::ElementString;
use crate::domain::gs1::{SerialNumber, Sscc};
use crate::domain::pack::{ContainerState, Gate, PackLevel, SerialState};
use crate::domain::tag::StationId;
use crate::domain::text::Name;
use crate::domain::time::Now;
use crate::engine::fact::{Child, Fact, RequestKey, TrackKey};
use crate::engine::input::CloseRequest;
use crate::engine::output::{Permit, Restraint, Step};
use crate::engine::reason::{AlarmKind, RefuseReason};
use crate::engine::state::{Batch, Stage, TrackVerdict, place};
use crate::engine::{Engine, Role};

/// How long a request waits for children that are verified and still on their way through the reject gate.
const CHILD_WAIT_US: u64 = 1_000_000;

/// What the rules say of a request.
enum Ruling {
    Grant { container: Sscc, children: Vec<Child> },
    Refuse { container: Option<Sscc>, reasons: Vec<RefuseReason> },
}

impl Engine {
    pub(super) fn close_requested(&mut self, now: Now, step: &mut Step, station: StationId, request: CloseRequest) {
        let known = self.known(station);
        if request.seq <= known.seq {
            // A repeat gets the same answer, and no new fact.
            return self.standing_reply(now, station, step);
        }
        if known.request.is_some_and(|last| matches!(last.stage, Stage::Granted(_))) {
            // The device left its permit unanswered and asks anew: what it did with the old one is unknown.
            self.lose_permit(step, station);
        }
        if self.children_in_transit(&request) {
            // A repeat of the request does not begin the wait anew.
            let since = self.live(station).and_then(|live| live.waiting.as_ref());
            let since = since.filter(|(waiting, _)| waiting.seq == request.seq).map(|(_, until)| *until);
            let until = since.unwrap_or_else(|| now.mono_us.saturating_add(CHILD_WAIT_US));
            return self.with_live(station, |live| live.waiting = Some((request, until)));
        }
        self.with_live(station, |live| live.waiting = None);
        self.rule(now, step, station, &request);
    }

    /// Requests that waited for units in transit are ruled on as soon as these have passed, or after a while.
    pub(super) fn retry_waiting(&mut self, now: Now, step: &mut Step) {
        for id in self.ids() {
            let Some((request, until)) = self.live_mut(id).and_then(|live| live.waiting.take()) else { continue };
            let is_here = self.known(id).joined;
            if is_here && (now.mono_us >= until || !self.children_in_transit(&request)) {
                self.rule(now, step, id, &request);
            } else {
                self.with_live(id, |live| live.waiting = Some((request, until)));
            }
        }
    }

    /// Whether a child is verified and its end at the reject gate has not been read yet.
    fn children_in_transit(&self, request: &CloseRequest) -> bool {
        let Some(batch) = self.state.current().filter(|_| request.gate == Gate::Seal) else { return false };
        request.children.iter().any(|code| self.is_in_transit(batch, code))
    }

    /// It can still be commissioned: its end has not been read, and is not known to be lost.
    fn is_in_transit(&self, batch: &Batch, code: &[u8]) -> bool {
        let Ok(serial) = read_unit(code, batch) else { return false };
        let unit = batch.pool.unit_of(&serial);
        unit.is_some_and(|unit| unit.verified && unit.state == SerialState::Encoded)
            && self.state.transit.tracks.values().any(|track| track.verdict == TrackVerdict::Pass(serial))
    }

    /// Whether a child that should not have been there waits for a person at this station: nothing is sealed there meanwhile.
    fn is_child_astray(&self, station: Name) -> bool {
        let mut alarms = self.state.alarms.values();
        alarms.any(|alarm| alarm.kind == AlarmKind::ChildEscaped && alarm.station == Some(station))
    }

    fn rule(&mut self, now: Now, step: &mut Step, station: StationId, request: &CloseRequest) {
        let Some(spec) = self.spec(station) else { return };
        let Role::Packer { level, ttl_ms } = spec.role else { return };
        let known = self.known(station);
        let key = RequestKey { station: spec.name, epoch: known.epoch, seq: request.seq, container: request.container };
        let (gate, device_epoch, seq) = (request.gate, known.device_epoch, request.seq);
        let token = self.state.last_token.checked_add(1);
        let ruling = match (self.state.current(), gate) {
            (_, _) if token.is_none() || self.is_in_doubt() => {
                Ruling::Refuse { container: None, reasons: vec![RefuseReason::OnHold] }
            }
            (None, _) => Ruling::Refuse { container: None, reasons: vec![RefuseReason::NoBatch] },
            (Some(batch), Gate::Seal) => rule_seal(batch, level, &key, request, self.is_child_astray(spec.name)),
            (Some(batch), Gate::Release) => rule_release(batch, &key, request),
        };
        #[cfg(feature = "canary")]
        let ruling = self.forget_the_label(ruling);
        match ruling {
            Ruling::Grant { container, children } => {
                if gate == Gate::Seal {
                    self.balance_packer(step, station, level, &children);
                    self.emit(step, Fact::Packed { request: key, level, container, children });
                }
                let token = token.unwrap_or_default();
                self.emit(step, Fact::CloseGranted { request: key, gate, container, token, ttl_ms });
                self.with_live(station, |live| (live.permit_until_us, live.is_gate_used) = (None, false));
                step.permits.push(Permit::AckRequest { station, device_epoch, seq });
                if let Stage::Granted(grant) = self.known(station).request.map_or(Stage::Settled, |at| at.stage) {
                    step.permits.extend(self.close_permit(now, station, grant));
                }
            }
            Ruling::Refuse { container, reasons } => {
                let reason = reasons.first().map_or(0, RefuseReason::code);
                self.alarm_for(step, station, request, &reasons);
                let escaped = self.unread_children(request, &reasons);
                self.emit(step, Fact::CloseRefused { request: key, gate, level, container, reasons });
                self.scrap_escaped(step, &escaped);
                step.restraints.push(Restraint::Deny { station, device_epoch, seq, reason });
                step.permits.push(Permit::AckRequest { station, device_epoch, seq });
            }
        }
    }

    /// Units of this request that no camera has read: they came past the gate unasked.
    fn unread_children(&self, request: &CloseRequest, reasons: &[RefuseReason]) -> Vec<SerialNumber> {
        let Some(batch) = self.state.current().filter(|_| !request.not_good) else { return Vec::new() };
        let unfit = reasons.iter().filter(|reason| matches!(reason, RefuseReason::UnfitChild { .. }));
        let codes = unfit.filter_map(|reason| request.children.get(usize::try_from(reason.slot()?).ok()?));
        let serials = codes.filter_map(|code| read_unit(code, batch).ok());
        let is_unread = |serial: &SerialNumber| {
            batch.pool.unit_of(serial).is_some_and(|unit| unit.state == SerialState::Encoded && !unit.seen)
        };
        serials.filter(is_unread).collect()
    }

    /// Their serials were seen, and are nobody's any more: a second bearer that the camera reads later is a duplicate (I05).
    /// Which track each had is not known, and is told as 0.
    fn scrap_escaped(&mut self, step: &mut Step, serials: &[SerialNumber]) {
        let Some(station) = self.rejector().and_then(|id| self.spec(id)).map(|spec| spec.name) else { return };
        let epoch = self.state.station(&station).epoch;
        for serial in serials {
            let track = TrackKey { station, epoch, track: 0, inspection: None };
            self.emit(step, Fact::RejectInferred { track, serial: *serial });
        }
    }

    /// From now on a label that was not read is as good as one that was: a fault of our own.
    #[cfg(feature = "canary")]
    pub fn forget_labels(&mut self) {
        self.forgets_labels = true;
    }

    #[cfg(feature = "canary")]
    fn forget_the_label(&self, ruling: Ruling) -> Ruling {
        match ruling {
            Ruling::Refuse { container: Some(container), reasons }
                if self.forgets_labels && reasons == [RefuseReason::LabelMissing] =>
            {
                Ruling::Grant { container, children: Vec::new() }
            }
            other @ (Ruling::Grant { .. } | Ruling::Refuse { .. }) => other,
        }
    }

    /// A refusal that a machine cannot mend by asking again needs a person.
    fn alarm_for(&mut self, step: &mut Step, station: StationId, request: &CloseRequest, reasons: &[RefuseReason]) {
        if reasons.iter().any(|reason| self.has_escaped(request, reason)) {
            self.raise(step, AlarmKind::ChildEscaped, Some(station), words(reasons));
        }
        if reasons.contains(&RefuseReason::LabelDiffers) {
            self.raise(step, AlarmKind::LabelDiffers, Some(station), String::new());
        }
        if reasons.contains(&RefuseReason::NoSscc) {
            self.raise(step, AlarmKind::SsccExhausted, Some(station), String::new());
        }
    }

    /// Whether a child should never have come here. One whose end is still awaited may turn out good: the machine asks again.
    fn has_escaped(&self, request: &CloseRequest, reason: &RefuseReason) -> bool {
        let code = reason.slot().and_then(|slot| request.children.get(place(slot)));
        let is_awaited = || self.state.current().zip(code).is_some_and(|(batch, code)| self.is_in_transit(batch, code));
        match reason {
            RefuseReason::ForeignChild { .. }
            | RefuseReason::UnknownChild { .. }
            | RefuseReason::PackedChild { .. }
            | RefuseReason::RepeatedChild { .. } => true,
            RefuseReason::UnfitChild { .. } => !is_awaited(),
            RefuseReason::NoBatch
            | RefuseReason::NotGood
            | RefuseReason::LevelAbsent
            | RefuseReason::Short { .. }
            | RefuseReason::Over { .. }
            | RefuseReason::CountDiffers { .. }
            | RefuseReason::MissingChild { .. }
            | RefuseReason::MalformedChild { .. }
            | RefuseReason::NoSscc
            | RefuseReason::NotSealed
            | RefuseReason::LabelMissing
            | RefuseReason::LabelDiffers
            | RefuseReason::OnHold => false,
        }
    }
}

/// The reasons, each with the slot of the child that it is about, by the number that the facts give it.
fn words(reasons: &[RefuseReason]) -> String {
    let word = |reason: &RefuseReason| match reason.slot() {
        Some(slot) => format!("{} in slot {slot}", reason.name()),
        None => reason.name().to_owned(),
    };
    reasons.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// `is_held` where a person has not looked yet at what was refused here before.
fn rule_seal(batch: &Batch, level: PackLevel, key: &RequestKey, request: &CloseRequest, is_held: bool) -> Ruling {
    // Under the count of one that is no more, a new one begins.
    let before = batch.container_of(key).filter(|container| container.state != ContainerState::Dissolved);
    let mut reasons = Vec::new();
    if request.not_good {
        reasons.push(RefuseReason::NotGood);
    }
    if before.is_some_and(|container| container.state != ContainerState::Open) {
        reasons.push(RefuseReason::OnHold);
    }
    let slots = filled_slots(request);
    let own = before.map(|container| container.sscc);
    let children = rule_children(batch, level, slots, &mut reasons);
    // Children that lie in this very container have not escaped; its state says what is wrong.
    reasons.retain(|reason| !matches!(reason, RefuseReason::PackedChild { parent, .. } if Some(*parent) == own));
    rule_count(batch.sheet.pack.capacity(level), request, slots, &mut reasons);
    if is_held && reasons.is_empty() {
        reasons.push(RefuseReason::OnHold);
    }
    match own.or_else(|| next_sscc(batch)) {
        Some(container) if reasons.is_empty() => Ruling::Grant { container, children },
        Some(_) => Ruling::Refuse { container: own, reasons },
        None => {
            reasons.push(RefuseReason::NoSscc);
            Ruling::Refuse { container: None, reasons }
        }
    }
}

/// The slots that hold a child, read or missing. A missing child is an empty slot that the device counts (DESIGN section 5);
/// empty slots behind the last child and beyond the device's count are room that is left.
fn filled_slots(request: &CloseRequest) -> &[Vec<u8>] {
    let read = request.children.iter().rposition(|code| !code.is_empty()).map_or(0, |last| last.saturating_add(1));
    let counted = request.child_count.map_or(0, |count| usize::try_from(count).unwrap_or(usize::MAX));
    let filled = counted.min(request.children.len()).max(read);
    request.children.get(..filled).unwrap_or_default()
}

fn rule_count(capacity: u16, request: &CloseRequest, slots: &[Vec<u8>], reasons: &mut Vec<RefuseReason>) {
    let have = u32::try_from(slots.iter().filter(|code| !code.is_empty()).count()).unwrap_or(u32::MAX);
    let listed = u32::try_from(slots.len()).unwrap_or(u32::MAX);
    let want = u32::from(capacity);
    if want == 0 {
        reasons.push(RefuseReason::LevelAbsent);
    } else if have < want {
        reasons.push(RefuseReason::Short { have, want });
    } else if have > want {
        reasons.push(RefuseReason::Over { have, want });
    }
    let counted = request.child_count.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    reasons.extend(
        counted.filter(|counted| *counted != listed).map(|counted| RefuseReason::CountDiffers { counted, listed }),
    );
}

/// Every child by its slot.
fn rule_children(batch: &Batch, level: PackLevel, slots: &[Vec<u8>], reasons: &mut Vec<RefuseReason>) -> Vec<Child> {
    let mut children = Vec::with_capacity(slots.len());
    let mut seen = BTreeSet::new();
    for (slot, code) in (0_u32..).zip(slots) {
        let read = match level {
            PackLevel::Pallet => read_container(code, batch).map(Child::Container),
            PackLevel::Unit | PackLevel::Bundle | PackLevel::Case => read_unit(code, batch).map(Child::Unit),
        };
        match read {
            Err(wrong) => reasons.push(wrong.at(slot)),
            Ok(child) if !seen.insert(child) => reasons.push(RefuseReason::RepeatedChild { slot }),
            Ok(child) => {
                reasons.extend(rule_child(batch, &child, slot));
                children.push(child);
            }
        }
    }
    children
}

fn rule_child(batch: &Batch, child: &Child, slot: u32) -> Option<RefuseReason> {
    let (fit, parent) = match child {
        Child::Unit(serial) => {
            let unit = batch.pool.unit_of(serial)?;
            (unit.verified && unit.state == SerialState::Commissioned, unit.parent)
        }
        Child::Container(sscc) => {
            let container = batch.container(sscc)?;
            let fit = container.level == PackLevel::Case && container.state == ContainerState::Released;
            (fit, container.parent)
        }
    };
    match parent.and_then(|parent| batch.parent_sscc(parent)) {
        Some(parent) => Some(RefuseReason::PackedChild { slot, parent }),
        None if fit => None,
        None => Some(RefuseReason::UnfitChild { slot }),
    }
}

fn rule_release(batch: &Batch, key: &RequestKey, request: &CloseRequest) -> Ruling {
    let Some(container) = batch.container_of(key) else {
        return Ruling::Refuse { container: None, reasons: vec![RefuseReason::NotSealed] };
    };
    let mut reasons = Vec::new();
    if request.not_good {
        reasons.push(RefuseReason::NotGood);
    }
    match container.state {
        ContainerState::Closed => {}
        ContainerState::Held => reasons.push(RefuseReason::OnHold),
        ContainerState::Open | ContainerState::Granted | ContainerState::Released | ContainerState::Dissolved => {
            reasons.push(RefuseReason::NotSealed);
        }
    }
    let label = request.label_read.as_deref().unwrap_or_default();
    if label.is_empty() {
        reasons.push(RefuseReason::LabelMissing);
    } else if read_sscc(label) != Some(container.sscc) {
        reasons.push(RefuseReason::LabelDiffers);
    }
    if reasons.is_empty() {
        Ruling::Grant { container: container.sscc, children: Vec::new() }
    } else {
        Ruling::Refuse { container: Some(container.sscc), reasons }
    }
}

/// Why a child's code names nothing that could lie in this container.
enum WrongChild {
    Missing,
    Malformed,
    Foreign,
    Unknown,
}

impl WrongChild {
    fn at(self, slot: u32) -> RefuseReason {
        match self {
            WrongChild::Missing => RefuseReason::MissingChild { slot },
            WrongChild::Malformed => RefuseReason::MalformedChild { slot },
            WrongChild::Foreign => RefuseReason::ForeignChild { slot },
            WrongChild::Unknown => RefuseReason::UnknownChild { slot },
        }
    }
}

/// A unit by its code. Beside GTIN and serial, what else the code says must be the batch's too.
fn read_unit(code: &[u8], batch: &Batch) -> Result<SerialNumber, WrongChild> {
    if code.is_empty() {
        return Err(WrongChild::Missing);
    }
    let parsed = ElementString::parse(code).map_err(|_| WrongChild::Malformed)?;
    let (Some(gtin), Some(serial)) = (parsed.get("01"), parsed.get("21")) else { return Err(WrongChild::Malformed) };
    let expiry = batch.sheet.expiry.to_yymmdd();
    let foreign = gtin != batch.sheet.gtin.as_str()
        || parsed.get("10").is_some_and(|lot| lot != batch.sheet.lot.as_str())
        || parsed.get("17").is_some_and(|date| date != expiry.as_str());
    if foreign {
        return Err(WrongChild::Foreign);
    }
    let serial = SerialNumber::new(serial).map_err(|_| WrongChild::Malformed)?;
    batch.pool.find(&serial).map(|_| serial).ok_or(WrongChild::Unknown)
}

fn read_container(code: &[u8], batch: &Batch) -> Result<Sscc, WrongChild> {
    if code.is_empty() {
        return Err(WrongChild::Missing);
    }
    let sscc = read_sscc(code).ok_or(WrongChild::Malformed)?;
    batch.container(&sscc).map(|container| container.sscc).ok_or(WrongChild::Unknown)
}

fn read_sscc(code: &[u8]) -> Option<Sscc> {
    Sscc::new(ElementString::parse(code).ok()?.get("00")?).ok()
}

/// The next SSCC of the batch's range; each is used for one container, ever.
fn next_sscc(batch: &Batch) -> Option<Sscc> {
    let range = batch.sheet.sscc;
    let reference = range.first.checked_add(batch.sscc_used).filter(|reference| *reference <= range.last)?;
    Sscc::build(range.extension, range.prefix.as_str(), reference).ok()
}
