//! A granted permit and what became of it: acknowledged, done, failed, or run out without an answer.

use crate::domain::pack::{ContainerState, Gate};
use crate::domain::tag::StationId;
use crate::domain::time::Now;
use crate::engine::Engine;
use crate::engine::fact::{Fact, RequestKey};
use crate::engine::input::{CloseEnd, GateState};
use crate::engine::output::{Permit, Restraint, Step};
use crate::engine::reason::{AlarmKind, RefuseReason};
use crate::engine::state::{Container, Grant, Stage};

/// A permit without an acknowledgement is said again so often, so soon after it was given: the machine that never saw it has
/// its whole time to live from then, and still answers before we give it up.
const REPEATS_MAX: u64 = 2;
const REPEAT_US: u64 = 500_000;
/// Beyond the time to live that the device counts: its stroke, and the way of the result to us.
const ANSWER_MARGIN_US: u64 = 2_000_000;

impl Engine {
    pub(super) fn permit_acked(&mut self, step: &mut Step, station: StationId, token: u32) {
        let Some(request) = self.known(station).request else { return };
        match request.stage {
            Stage::Granted(grant) if grant.token == token && !grant.acked => {
                self.emit(step, Fact::PermitAcked { container: grant.container, token });
            }
            // It took the permit after all, late: no time that passes shows that it did not.
            Stage::Unresolved(grant) if grant.token == token => {
                self.with_live(station, |live| live.permit_until_us = Some(u64::MAX));
            }
            Stage::Granted(_) | Stage::Unresolved(_) | Stage::Refused { .. } | Stage::Settled => {}
        }
    }

    pub(super) fn close_ended(&mut self, step: &mut Step, station: StationId, seq: u64, result: CloseEnd) {
        let Some(request) = self.known(station).request.filter(|request| request.key.seq == seq) else {
            return self.ended_without_request(step, station, result);
        };
        let device_epoch = self.known(station).device_epoch;
        match request.stage {
            Stage::Granted(grant) | Stage::Unresolved(grant) => {
                self.settle_close(step, grant, result);
                // Nothing stands at the gate any more, whatever the disk is doing.
                step.permits.push(Permit::Settle { station, device_epoch, seq });
            }
            Stage::Settled => {
                if self.is_open(&request.key) {
                    // It had said that the close failed, and says now that it is done.
                    self.ended_without_request(step, station, result);
                }
                step.permits.push(Permit::Settle { station, device_epoch, seq });
            }
            Stage::Refused { .. } => {
                self.ended_without_request(step, station, result);
                // The denial still stands there, and the machine goes on only when nothing does.
                step.restraints.push(Restraint::Shut { station });
            }
        }
    }

    fn is_open(&self, key: &RequestKey) -> bool {
        let container = self.state.current().and_then(|batch| batch.container_of(key));
        container.is_some_and(|container| container.state == ContainerState::Open && !container.is_reopened)
    }

    fn settle_close(&mut self, step: &mut Step, grant: Grant, result: CloseEnd) {
        let Grant { gate, container, token, .. } = grant;
        let Some(held) = self.held(&grant) else { return };
        let (level, children, again) = (held.level, held.children.clone(), held.told.again());
        let fact = match (result, gate) {
            (CloseEnd::Done, Gate::Seal) => Fact::Closed { level, container, token, children },
            (CloseEnd::Done, Gate::Release) => Fact::Released { level, container, token, children, again },
            (CloseEnd::MachineFailure | CloseEnd::Expired, _) => Fact::CloseFailed { gate, container, token, result },
        };
        self.emit(step, fact);
    }

    fn held(&self, grant: &Grant) -> Option<&Container> {
        self.state.current()?.container(&grant.container)
    }

    /// A gate that closed something nobody permitted.
    fn ended_without_request(&mut self, step: &mut Step, station: StationId, result: CloseEnd) {
        if result == CloseEnd::Done {
            self.force(step, station);
        }
    }

    pub(super) fn gate_moved(&mut self, step: &mut Step, station: StationId, state: GateState) {
        let before = self.live(station).and_then(|live| live.gate);
        self.with_live(station, |live| live.gate = Some(state));
        let opens = state != GateState::Shut && matches!(before, Some(GateState::Shut));
        if !opens {
            return;
        }
        let stage = self.known(station).request.map(|request| request.stage);
        let granted = matches!(stage, Some(Stage::Granted(_) | Stage::Unresolved(_) | Stage::Settled));
        let is_used = self.live(station).is_some_and(|live| live.is_gate_used);
        // A permit moves the gate once. The result may be seen before the movement, so a settled one still covers it.
        if granted && !is_used {
            self.with_live(station, |live| live.is_gate_used = true);
        } else {
            self.force(step, station);
        }
    }

    fn force(&mut self, step: &mut Step, station: StationId) {
        let Some(spec) = self.spec(station) else { return };
        let known = self.known(station);
        let waiting = self
            .state
            .alarms
            .values()
            .any(|alarm| alarm.kind == AlarmKind::GateForced && alarm.station == Some(spec.name));
        if waiting {
            return;
        }
        let container = self.state.current().zip(known.request).and_then(|(batch, request)| {
            let container = batch.container_of(&request.key)?;
            // One that was released has left, and one under a permit gets its own answer.
            let is_here = matches!(container.state, ContainerState::Open | ContainerState::Closed);
            is_here.then_some(container.sscc)
        });
        self.emit(step, Fact::GateForced { station: spec.name, epoch: known.epoch, container });
        self.raise(step, AlarmKind::GateForced, Some(station), String::new());
    }

    /// The device forgot its request, or left it: whether the gate moved is not known.
    pub(super) fn lose_permit(&mut self, step: &mut Step, station: StationId) {
        let Some(request) = self.known(station).request else { return };
        let Stage::Granted(grant) = request.stage else { return };
        let Grant { gate, container, token, .. } = grant;
        self.with_live(station, |live| live.permit_until_us = None);
        self.emit(step, Fact::CloseUnresolved { gate, container, token });
        self.raise(step, AlarmKind::CloseUnresolved, Some(station), container.as_str().to_owned());
        step.restraints.push(Restraint::Shut { station });
    }

    /// Watches permits that nobody answers. The time runs only while the station is there to answer.
    pub(super) fn tick_packer(&mut self, now: Now, step: &mut Step, station: StationId) {
        let known = self.known(station);
        let Some(request) = known.request else { return };
        match request.stage {
            Stage::Granted(_) | Stage::Unresolved(_) if !known.joined => {
                self.with_live(station, |live| live.permit_until_us = None);
            }
            Stage::Granted(grant) => self.watch_permit(now, step, station, grant),
            Stage::Unresolved(grant) => {
                if self.is_permit_over(now, station, grant) {
                    self.end_doubt(step, station, request.key, grant);
                }
            }
            Stage::Refused { .. } | Stage::Settled => {}
        }
    }

    fn watch_permit(&mut self, now: Now, step: &mut Step, station: StationId, grant: Grant) {
        let wait = answer_us(grant);
        let Some(until) = self.live(station).and_then(|live| live.permit_until_us) else {
            let until = now.mono_us.saturating_add(wait);
            return self.with_live(station, |live| (live.permit_until_us, live.permit_repeats) = (Some(until), 0));
        };
        if now.mono_us >= until {
            return self.lose_permit(step, station);
        }
        let waited = now.mono_us.saturating_add(wait).saturating_sub(until);
        let repeats = self.live(station).map_or(REPEATS_MAX, |live| live.permit_repeats);
        if !grant.acked && repeats < REPEATS_MAX && waited >= repeats.saturating_add(1).saturating_mul(REPEAT_US) {
            self.with_live(station, |live| live.permit_repeats = repeats.saturating_add(1));
            step.permits.extend(self.close_permit(now, station, grant));
        }
    }

    /// The last write of a permit may have left a moment before the doubt, late by a slow disk: the machine has its whole time
    /// from the doubt on, while it is there, before what it shows counts as its answer.
    fn is_permit_over(&mut self, now: Now, station: StationId, grant: Grant) -> bool {
        let until = self.live(station).and_then(|live| live.permit_until_us);
        if until.is_none() {
            let until = now.mono_us.saturating_add(answer_us(grant));
            self.with_live(station, |live| live.permit_until_us = Some(until));
        }
        until.is_some_and(|until| now.mono_us >= until)
    }

    /// A person has looked, and the machine itself shows that it still waits: it never took the permit, whose time is over. The
    /// container is as it was, and the request ends with a denial, so that the machine asks again.
    fn end_doubt(&mut self, step: &mut Step, station: StationId, request: RequestKey, grant: Grant) {
        let Some(spec) = self.spec(station) else { return };
        let is_looked_at = !self
            .state
            .alarms
            .values()
            .any(|alarm| alarm.kind == AlarmKind::CloseUnresolved && alarm.station == Some(spec.name));
        let is_shut = self.live(station).is_some_and(|live| live.gate == Some(GateState::Shut) && !live.is_gate_used);
        let level = self.held(&grant).map(|container| container.level);
        let Some(level) = level.filter(|_| is_looked_at && is_shut && !grant.acked) else { return };
        let Grant { gate, container, token, .. } = grant;
        self.emit(step, Fact::CloseFailed { gate, container, token, result: CloseEnd::Expired });
        let reasons = vec![RefuseReason::OnHold];
        let reason = RefuseReason::OnHold.code();
        self.emit(step, Fact::CloseRefused { request, gate, level, container: Some(container), reasons });
        let (device_epoch, seq) = (self.known(station).device_epoch, request.seq);
        step.restraints.push(Restraint::Deny { station, device_epoch, seq, reason });
    }

    /// Containers between two gates, and those that wait for a person.
    pub fn open_containers(&self) -> u32 {
        let open = self
            .state
            .current()
            .map_or(0, |batch| batch.containers.iter().filter(|container| container.is_unfinished()).count());
        u32::try_from(open).unwrap_or(u32::MAX)
    }
}

/// How long a machine may take to answer a permit that was given now.
fn answer_us(grant: Grant) -> u64 {
    u64::from(grant.ttl_ms).saturating_mul(1000).saturating_add(ANSWER_MARGIN_US)
}
