//! Requests: orders and their life, alarms and their acknowledgement. Refusals are answers, with all their reasons.

use crate::domain::gs1::Sscc;
use crate::domain::tag::StationId;
use crate::domain::text::BatchId;
use crate::domain::time::Now;
use crate::engine::fact::{Counts, Fact};
use crate::engine::input::{Actor, Ask, Asker, Order, Request, SsccRange};
use crate::engine::output::{Answer, Done, Refused, Step, refuse};
use crate::engine::reason::{AlarmKind, BatchState, Difference, RequestRefusal};
use crate::engine::state::{Batch, MAX_BATCHES, Run};
use crate::engine::{Engine, Role, is_past};

type Outcome = Result<Done, Refused>;

/// What the close of a batch would say.
pub(super) struct Closing {
    opened_seq: u64,
    counts: Counts,
    /// What stands between the batch and its close.
    pub(super) differences: Vec<Difference>,
}

impl Closing {
    pub(super) fn fact(&self) -> Fact {
        Fact::BatchClosed { opened_seq: self.opened_seq, counts: Box::new(self.counts) }
    }
}

impl Engine {
    pub(super) fn ask(&mut self, now: Now, step: &mut Step, ask: Ask) {
        let Ask { id, asker, request } = ask;
        let outcome = self
            .admit(now, step, asker, request.need())
            .and_then(|actor| self.carry_out(now, step, (asker, actor), request));
        step.answer = Some(Answer { id, outcome });
    }

    fn carry_out(&mut self, now: Now, step: &mut Step, (asker, actor): (Asker, Actor), request: Request) -> Outcome {
        match request {
            Request::LoadBatch(order) => self.load(now, step, actor, &order),
            Request::StartBatch(batch) => self.start(now, step, actor, &batch),
            Request::StopBatch(batch) => self.stop(step, actor, &batch),
            Request::PurgeBatch(batch) => self.purge(step, actor, &batch),
            Request::HoldBatch { batch, reason } => self.hold(step, actor, &batch, reason),
            Request::ResumeBatch { batch, reason } => self.resume(step, actor, &batch, reason),
            Request::ReopenBatch(reopening) => self.reopen(step, actor, *reopening),
            Request::AbortBatch { batch, reason } => self.abort(step, actor, &batch, reason),
            Request::CloseBatch(batch) => self.close(step, actor, &batch),
            Request::AcknowledgeAlarm(alarm) => self.acknowledge(step, actor, alarm),
            Request::DeclareUsed(used) => self.declare(step, actor, &used),
            Request::ConfirmSerials => self.confirm(step, actor),
            Request::GiveUpMessage { message, reason } => {
                self.record(step, None, actor, Fact::MessageGivenUp { message, reason });
                Ok(Done::Changed)
            }
            Request::Hands(request) => self.ask_hands(step, actor, *request),
            Request::Permission(_) => Ok(Done::Permitted(actor)),
            Request::People(request) => self.ask_about_people(now, step, (asker, actor), *request),
        }
    }

    /// What the store must say too (a serial used before, a batch of that name) is checked before the request comes here.
    fn load(&mut self, now: Now, step: &mut Step, actor: Actor, order: &Order) -> Outcome {
        let batch = order.sheet.batch;
        if let Some(known) = self.state.batch(&batch) {
            let same = known.sheet == order.sheet && same_serials(known, order);
            return if same { Ok(Done::Already) } else { refuse(RequestRefusal::BatchExists(batch)) };
        }
        if self.is_suspended() {
            return refuse(RequestRefusal::SerialsSuspended);
        }
        if self.state.batches.len() >= MAX_BATCHES {
            return refuse(RequestRefusal::BatchesFull(u32::try_from(self.state.batches.len()).unwrap_or(u32::MAX)));
        }
        let mut reasons = self.strangers(&order.sheet);
        if is_past(order.sheet.expiry, now) {
            reasons.push(RequestRefusal::ExpiryPast);
        }
        reasons.extend(self.used_elsewhere(order));
        if !reasons.is_empty() {
            return Err(Refused::because(reasons));
        }
        self.state.insert_order(order);
        let serial_count = u32::try_from(order.serials.len()).unwrap_or(u32::MAX);
        let (sheet, serials_sha256) = (order.sheet.clone(), order.serials_sha256);
        self.emit_for(step, batch, actor, Fact::BatchLoaded { sheet, serial_count, serials_sha256 });
        Ok(Done::Changed)
    }

    /// Serials and SSCCs of batches that are still open; those of closed ones are the store's to know.
    fn used_elsewhere(&self, order: &Order) -> Option<RequestRefusal> {
        for open in &self.state.batches {
            if open.sheet.gtin == order.sheet.gtin
                && let Some(used) = order.serials.iter().find(|serial| open.pool.find(serial).is_some())
            {
                return Some(RequestRefusal::SerialUsed(*used));
            }
            if let Some(used) = shared_sscc(&order.sheet.sscc, &open.sheet.sscc) {
                return Some(RequestRefusal::SsccUsed(used));
            }
        }
        None
    }

    fn start(&mut self, now: Now, step: &mut Step, actor: Actor, id: &BatchId) -> Outcome {
        self.encode_seen(step);
        let batch = self.loaded(id)?;
        match batch.state {
            BatchState::Running => return Ok(Done::Already),
            BatchState::Loaded | BatchState::Stopped => {}
            state @ (BatchState::Held | BatchState::Purging | BatchState::Closed | BatchState::Aborted) => {
                return wrong_state(*id, state);
            }
        }
        let mut reasons = Vec::new();
        if let Some(other) = self.state.current().filter(|other| other.id() != *id) {
            reasons.push(RequestRefusal::LineOccupied(other.id()));
        }
        if is_past(batch.sheet.expiry, now) {
            reasons.push(RequestRefusal::ExpiryPast);
        }
        for id in self.ids() {
            let Some(spec) = self.spec(id).filter(|_| !self.known(id).joined) else { continue };
            reasons.push(RequestRefusal::StationAway(spec.name));
        }
        reasons.extend(self.unapproved(&batch.sheet));
        reasons.extend(self.uncleared(batch));
        if self.flush_owed() {
            reasons.push(RequestRefusal::Busy);
        }
        let alarms = self.state.alarms_that_hold();
        if alarms > 0 {
            reasons.push(RequestRefusal::AlarmsOpen(u32::try_from(alarms).unwrap_or(u32::MAX)));
        }
        if self.policy.config_needs_approval && self.state.approved != Some(self.config) {
            reasons.push(RequestRefusal::ConfigNotApproved);
        }
        reasons.extend(self.clock_refusal());
        if !reasons.is_empty() {
            return Err(Refused::because(reasons));
        }
        let track = self.rejector().and_then(|id| self.live(id)).and_then(|live| live.entered);
        let bin = self.bin();
        self.emit_for(step, *id, actor, Fact::BatchStarted { bin, track });
        self.say_expected(step);
        self.allocate_all(step);
        Ok(Done::Changed)
    }

    fn stop(&mut self, step: &mut Step, actor: Actor, id: &BatchId) -> Outcome {
        let batch = self.loaded(id)?;
        match batch.state {
            BatchState::Stopped => return Ok(Done::Already),
            BatchState::Running | BatchState::Purging => {}
            BatchState::Loaded | BatchState::Held | BatchState::Closed | BatchState::Aborted => {
                return wrong_state(*id, batch.state);
            }
        }
        self.emit_for(step, *id, actor, Fact::BatchStopped { bin: self.bin() });
        self.say_expected(step);
        self.flush_all(step);
        Ok(Done::Changed)
    }

    /// An order that was never started closes with all its serials unused; they are not given out again.
    fn give_back(&mut self, step: &mut Step, actor: Actor, id: &BatchId) -> Outcome {
        let batch = self.loaded(id)?;
        let (opened_seq, counts) = (batch.opened_seq, Counts { unused: batch.unused(), ..batch.counts });
        self.emit_for(step, *id, actor, Fact::BatchClosed { opened_seq, counts: Box::new(counts) });
        Ok(Done::Changed)
    }

    fn close(&mut self, step: &mut Step, actor: Actor, id: &BatchId) -> Outcome {
        let batch = self.loaded(id)?;
        match batch.state {
            BatchState::Stopped => {}
            BatchState::Loaded => return self.give_back(step, actor, id),
            BatchState::Running | BatchState::Held | BatchState::Purging | BatchState::Closed | BatchState::Aborted => {
                return wrong_state(*id, batch.state);
            }
        }
        let closing = self.closing(step, id)?;
        if !closing.differences.is_empty() {
            let differences = closing.differences;
            self.emit_for(step, *id, actor, Fact::BatchCloseRefused { differences: differences.clone() });
            return Err(Refused { reasons: vec![RequestRefusal::NotBalanced], differences });
        }
        if self.flush_owed() {
            return refuse(RequestRefusal::Busy);
        }
        self.emit_for(step, *id, actor, closing.fact());
        self.concluded(step);
        Ok(Done::Changed)
    }

    /// After the end of the batch on the line, however it ended: its serials run out no more.
    pub(super) fn concluded(&mut self, step: &mut Step) {
        [AlarmKind::SerialPoolLow, AlarmKind::SerialsExhausted].into_iter().for_each(|kind| self.ease(step, kind));
    }

    /// A stopped batch, as its close would tell it now.
    pub(super) fn closing(&mut self, step: &mut Step, id: &BatchId) -> Result<Closing, Refused> {
        let state = self.loaded(id)?.state;
        if state != BatchState::Stopped {
            return wrong_state(*id, state);
        }
        self.encode_seen(step);
        self.infer_rejects(step, self.closed_run());
        let batch = self.loaded(id)?;
        let counts = self.final_counts(batch);
        let differences = self.differences(batch, &counts);
        Ok(Closing { opened_seq: batch.opened_seq, counts, differences })
    }

    fn acknowledge(&mut self, step: &mut Step, actor: Actor, alarm: u32) -> Outcome {
        if !self.state.alarms.contains_key(&alarm) {
            let known = alarm > 0 && alarm <= self.state.last_alarm;
            return if known { Ok(Done::Already) } else { refuse(RequestRefusal::UnknownAlarm(alarm)) };
        }
        if self.state.alarms.get(&alarm).is_some_and(|at| at.kind == AlarmKind::SerialsSuspended) {
            return refuse(RequestRefusal::SerialsSuspended);
        }
        self.emit_as(step, actor, Fact::AlarmAcknowledged { alarm });
        Ok(Done::Changed)
    }

    /// At the end of a batch the last printed unit and the last track close the run of the order of printing.
    /// The run ends there where both agree with it; else it stays as the facts left it.
    pub(super) fn closed_run(&self) -> Option<Run> {
        let run = self.state.transit.run?;
        let last_track = self.rejector().and_then(|id| self.live(id)).and_then(|live| live.entered)?;
        let last_place = self.state.current().and_then(|batch| {
            let places = 0..batch.next_place;
            places.rev().find(|place| batch.pool.unit(*place).is_some_and(|unit| unit.is_printed()))
        });
        let agrees = last_track >= run.track && last_place.is_some() && run.place_of(last_track) == last_place;
        Some(if agrees { Run { to: run.to.max(last_track), ..run } } else { run })
    }

    pub(super) fn final_counts(&self, batch: &Batch) -> Counts {
        let mut counts = batch.counts;
        counts.unused = batch.unused();
        let known = counts.commissioned.saturating_add(counts.scrapped).saturating_add(counts.label_sampled);
        counts.unaccounted = counts.printed.saturating_sub(known);
        let bin = self.bin().or(batch.bin_stop);
        let pieces = bin.zip(batch.bin_start).map(|(now, then)| now.saturating_sub(then));
        let pieces = pieces.map_or(0, |pieces| u32::try_from(pieces).unwrap_or(u32::MAX));
        counts.bin = batch.bin_before.saturating_add(pieces);
        counts
    }

    /// The identities of I10. What does not balance leaves the batch stopped.
    pub(super) fn differences(&self, batch: &Batch, counts: &Counts) -> Vec<Difference> {
        let mut out = Vec::new();
        let mut differ = |amount: u32, difference: fn(u32) -> Difference| {
            if amount > 0 {
                out.push(difference(amount));
            }
        };
        let allocated = batch.next_place.saturating_sub(counts.printed).saturating_sub(counts.burned);
        differ(allocated, Difference::InBuffer);
        differ(counts.unaccounted, Difference::Unaccounted);
        differ(counts.loose, Difference::Loose);
        differ(u32::try_from(self.state.transit.tracks.len()).unwrap_or(u32::MAX), Difference::InTransit);
        differ(self.open_containers(), Difference::OpenContainers);
        let ended = counts.rejects_confirmed.saturating_add(counts.rejects_resolved);
        differ(counts.rejects_commanded.saturating_sub(ended), Difference::UnresolvedRejects);
        differ(unpacked_cases(batch), Difference::PartialContainers);
        let confirmed = counts.rejects_confirmed.saturating_add(counts.phantom);
        if batch.bin_start.is_some() && counts.bin != confirmed {
            out.push(Difference::BinDiffers { counted: counts.bin, confirmed });
        }
        out
    }

    /// Whether a printer has not emptied its buffer after a stop: it would drop what a new start gave it.
    pub(super) fn flush_owed(&self) -> bool {
        self.printers().into_iter().any(|id| self.known(id).flush_owed)
    }

    /// The batch of that name, while it is open.
    pub(super) fn loaded(&self, id: &BatchId) -> Result<&Batch, Refused> {
        self.state.batch(id).map_or_else(|| refuse(RequestRefusal::UnknownBatch(*id)), Ok)
    }

    /// Pieces in the reject bin, as the gate shows them now.
    pub(super) fn bin(&self) -> Option<u64> {
        self.rejector().and_then(|id| self.live(id)).and_then(|live| live.bin)
    }

    pub(super) fn allocate_all(&mut self, step: &mut Step) {
        self.printers().into_iter().for_each(|id| self.allocate(step, id));
    }

    pub(super) fn flush_all(&self, step: &mut Step) {
        self.printers().into_iter().for_each(|id| self.flush(step, id));
    }

    pub(super) fn printers(&self) -> Vec<StationId> {
        let is_printer = |id: &StationId| matches!(self.spec(*id).map(|spec| spec.role), Some(Role::Printer { .. }));
        self.ids().filter(is_printer).collect()
    }

    pub(super) fn emit_for(&mut self, step: &mut Step, batch: BatchId, actor: Actor, fact: Fact) {
        self.record(step, Some(batch), actor, fact);
    }
}

pub(super) fn wrong_state<T>(batch: BatchId, state: BatchState) -> Result<T, Refused> {
    refuse(RequestRefusal::WrongState { batch, state })
}

/// The first SSCC of two ranges' common part. Prefixes of different lengths can meet in the same digits.
fn shared_sscc(ours: &SsccRange, theirs: &SsccRange) -> Option<Sscc> {
    let bound = |range: &SsccRange, reference| Sscc::build(range.extension, range.prefix.as_str(), reference).ok();
    // Without the check digit, the last of 18, the digits stand in the order of the references.
    let below = |a: &Sscc, b: &Sscc| a.as_str().get(..17) <= b.as_str().get(..17);
    let (ours, theirs) = (
        (bound(ours, ours.first)?, bound(ours, ours.last)?),
        (bound(theirs, theirs.first)?, bound(theirs, theirs.last)?),
    );
    let meet = below(&ours.0, &theirs.1) && below(&theirs.0, &ours.1);
    meet.then_some(if below(&ours.0, &theirs.0) { theirs.0 } else { ours.0 })
}

fn same_serials(batch: &Batch, order: &Order) -> bool {
    batch.pool.range(0, u32::MAX) == order.serials
}

/// Released cases that lie on no pallet, where the pack specification has pallets.
fn unpacked_cases(batch: &Batch) -> u32 {
    use crate::domain::pack::{ContainerState, PackLevel};
    if batch.sheet.pack.capacity(PackLevel::Pallet) == 0 {
        return 0;
    }
    let alone = batch.containers.iter().filter(|container| {
        container.level == PackLevel::Case && container.parent.is_none() && container.state == ContainerState::Released
    });
    u32::try_from(alone.count()).unwrap_or(u32::MAX)
}
