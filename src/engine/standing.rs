//! Outputs are levels: every restraint and permit in force can be derived again from the state, after a restart or a
//! reconnect, and each permit is looked at a second time when its facts are durable.

use crate::domain::tag::StationId;
use crate::domain::time::Now;
use crate::engine::input::PassKey;
use crate::engine::output::{ClosePermit, Permit, Recheck, Restraint, Step};
use crate::engine::state::{Grant, Stage, TrackVerdict};
use crate::engine::{Engine, Role};

impl Engine {
    /// What stands for one station now.
    pub fn standing(&self, now: Now, station: StationId, step: &mut Step) {
        let Some(spec) = self.spec(station) else { return };
        let known = self.known(station);
        let device_epoch = known.device_epoch;
        match spec.role {
            Role::Printer { .. } => {
                // The device says first how far it took over; `count_printed` goes on from there.
                self.flush(step, station);
            }
            Role::Camera { .. } => {
                if known.seq > 0 {
                    step.permits.push(Permit::AckResult { station, device_epoch, seq: known.seq });
                }
                self.say_expected(step);
            }
            Role::Rejector => {
                self.standing_verdicts(now, station, step);
                self.say_run(step, station);
            }
            Role::Packer { .. } => self.standing_reply(now, station, step),
        }
    }

    fn standing_verdicts(&self, now: Now, rejector: StationId, step: &mut Step) {
        let device_epoch = self.known(rejector).device_epoch;
        let deadline = self.ids().find_map(|id| match self.spec(id)?.role {
            Role::Camera { verdict_deadline_us, .. } => Some(verdict_deadline_us),
            Role::Printer { .. } | Role::Rejector | Role::Packer { .. } => None,
        });
        // The blade knows which tracks are past it, and the ends say what it did: a pass said again cannot be too late.
        let until_mono_us = now.mono_us.saturating_add(deadline.unwrap_or_default());
        for (track, at) in &self.state.transit.tracks {
            let key = PassKey { rejector, device_epoch, track: *track };
            match at.verdict {
                // Where the device decides, no pass of ours is awaited.
                TrackVerdict::Pass(_) if self.is_device_deciding() => {}
                TrackVerdict::Pass(_) => step.permits.push(Permit::Pass { key, until_mono_us }),
                TrackVerdict::Expired(_) | TrackVerdict::Fail(_) => step.restraints.push(Restraint::Fail(key)),
            }
        }
    }

    pub(super) fn standing_reply(&self, now: Now, station: StationId, step: &mut Step) {
        let known = self.known(station);
        let device_epoch = known.device_epoch;
        let Some(request) = known.request else { return step.restraints.push(Restraint::Shut { station }) };
        let seq = request.key.seq;
        step.permits.push(Permit::AckRequest { station, device_epoch, seq });
        match request.stage {
            Stage::Refused { reason } => {
                step.restraints.push(Restraint::Deny { station, device_epoch, seq, reason });
            }
            Stage::Granted(grant) => step.permits.extend(self.close_permit(now, station, grant)),
            // The device may still hold the token; only its own state or a person ends the doubt.
            Stage::Unresolved(_) => step.restraints.push(Restraint::Shut { station }),
            Stage::Settled => step.permits.push(Permit::Settle { station, device_epoch, seq }),
        }
    }

    pub(super) fn close_permit(&self, now: Now, station: StationId, grant: Grant) -> Option<Permit> {
        let known = self.known(station);
        let label = label_of(&grant);
        Some(Permit::Close(ClosePermit {
            station,
            device_epoch: known.device_epoch,
            seq: known.request?.key.seq,
            token: grant.token,
            ttl_ms: grant.ttl_ms,
            label,
            until_mono_us: now.mono_us.saturating_add(u64::from(grant.ttl_ms).saturating_mul(1000)),
        }))
    }

    /// The second look, when the facts of a permit are durable: epoch, holds, deadline, presence.
    pub fn recheck(&self, now: Now, permit: &Permit) -> Recheck {
        let printing = self.state.current().is_some_and(|batch| batch.state.is_printing());
        let (station, device_epoch, sound) = match permit {
            Permit::Pass { key, until_mono_us } => return self.recheck_pass(now, *key, *until_mono_us),
            Permit::Run { station } => (*station, None, self.may_run()),
            Permit::AckResult { station, device_epoch, seq } => {
                // A device without an epoch of its own may come back with the same one: the numbers must fit too.
                (*station, Some(*device_epoch), *seq <= self.known(*station).seq)
            }
            Permit::Expect { station, device_epoch, data } => {
                (*station, Some(*device_epoch), self.expected().as_ref() == Some(data))
            }
            Permit::Print { station, device_epoch, seq, data } => {
                // Printed or burned meanwhile, a record is not handed over.
                let is_owed = self.owed_record(*station, *seq).as_ref() == Some(data);
                (*station, Some(*device_epoch), printing && is_owed)
            }
            Permit::Flush { station, device_epoch, flush } => {
                let known = self.known(*station);
                let is_owed = known.flush_owed && *flush == known.flushes.saturating_add(1);
                (*station, Some(*device_epoch), is_owed)
            }
            Permit::AckRequest { station, device_epoch, seq } => {
                let request = self.known(*station).request;
                (*station, Some(*device_epoch), request.is_some_and(|at| at.key.seq == *seq))
            }
            Permit::Close(close) => {
                let sound = self.holds_token(close) && now.mono_us <= close.until_mono_us;
                (close.station, Some(close.device_epoch), sound)
            }
            Permit::Settle { station, device_epoch, seq } => {
                let request = self.known(*station).request;
                let settled = request.is_some_and(|at| at.key.seq == *seq && at.stage == Stage::Settled);
                (*station, Some(*device_epoch), settled)
            }
        };
        let known = self.known(station);
        let present = known.joined && device_epoch.is_none_or(|epoch| epoch == known.device_epoch);
        if sound && present { Recheck::Go } else { Recheck::Void }
    }

    fn recheck_pass(&self, now: Now, key: PassKey, until_mono_us: u64) -> Recheck {
        let known = self.known(key.rejector);
        let track = self.state.transit.tracks.get(&key.track);
        let stands = track.is_some_and(|track| matches!(track.verdict, TrackVerdict::Pass(_)));
        if !stands || known.device_epoch != key.device_epoch {
            return Recheck::Void;
        }
        if now.mono_us > until_mono_us {
            return Recheck::Late;
        }
        // A rejector that is away gets the pass again when it joins.
        if known.joined { Recheck::Go } else { Recheck::Void }
    }

    fn holds_token(&self, close: &ClosePermit) -> bool {
        let request = self.known(close.station).request;
        request.is_some_and(|at| {
            at.key.seq == close.seq && matches!(at.stage, Stage::Granted(grant) if grant.token == close.token)
        })
    }
}

/// The element string of a container's label: its SSCC.
pub(super) fn label_of(grant: &Grant) -> Vec<u8> {
    [b"00", grant.container.as_str().as_bytes()].concat()
}
