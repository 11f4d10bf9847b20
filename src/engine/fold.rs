//! `State::apply`: the only change of the engine's state. Recovery calls it with the facts of the journal, `Engine::step`
//! with those just decided. It never refuses and never decides: what was written is folded as it was written.

mod life;

use std::ops::Range;

use crate::domain::gs1::{SerialNumber, Sscc};
use crate::domain::pack::{ContainerState, SerialState};
use crate::domain::tag::StationKind;
use crate::domain::text::{BatchId, Name};
use crate::engine::fact::{Entry, Fact, InvalidCause, RequestKey, ResultKey, TrackKey};
use crate::engine::people::Person;
use crate::engine::reason::{AlarmKind, BatchState, FailReason};
use crate::engine::state::{Alarm, Batch, Grant, Request, Run, Stage, State, Station, Track, TrackVerdict, Transit};

impl State {
    /// Folds one fact. The order of a `BatchLoaded` must have been inserted before.
    #[allow(clippy::too_many_lines, reason = "one exhaustive match, an arm per kind of fact")]
    pub fn apply(&mut self, entry: &Entry) {
        self.seq = entry.seq;
        let batch = entry.batch;
        match &entry.fact {
            Fact::LineStarted { .. } | Fact::LineStopped => self.leave_all(),
            Fact::StationJoined { station, kind, device_epoch, epoch, reset } => {
                self.join(*station, *kind, *reset);
                let at = self.station_mut(station);
                (at.joined, at.device_epoch, at.epoch) = (true, *device_epoch, *epoch);
            }
            Fact::StationLost { station, .. } => self.station_mut(station).joined = false,
            Fact::RecipeFound { station, recipe } => self.station_mut(station).recipe = *recipe,
            Fact::StationFaulted { .. }
            | Fact::LineDescribed { .. }
            | Fact::ClockFound { .. }
            | Fact::ClockStepped { .. }
            | Fact::LinePaused { .. }
            | Fact::KeyAnnounced { .. }
            | Fact::EpochRaised { .. }
            | Fact::MessagesExpired { .. }
            | Fact::SerialsDeclared { .. }
            | Fact::PictureStored { .. }
            | Fact::PicturesRemoved { .. }
            | Fact::UserRecovered { .. }
            | Fact::SignatureRefused { .. }
            | Fact::AuditReviewed { .. }
            | Fact::MessageGivenUp { .. }
            | Fact::LoggedOut { .. } => {}
            Fact::StoreRestored { .. } => self.people.void_passwords(),
            Fact::UserAdded { user, full_name, roles } => self.people.add(*user, Person::new(*full_name, *roles)),
            Fact::UserChanged { user, roles, is_enabled, .. } => {
                self.people.with(user, |person| (person.roles, person.is_enabled) = (*roles, *is_enabled));
            }
            Fact::CredentialSet { user, must_change, .. } => {
                self.people.with(user, |at| (at.credential_seq, at.must_change) = (entry.seq, *must_change));
            }
            Fact::LoginFailed { user, failures, .. } => {
                // A name that nobody has is nobody's failure.
                let user = user.unwrap_or_default();
                self.people.with(&user, |person| person.failures = *failures);
            }
            Fact::LoginLocked { user, .. } => self.people.with(user, |person| person.is_locked = true),
            Fact::LoginUnlocked { user } => {
                self.people.with(user, |person| (person.is_locked, person.failures) = (false, 0));
            }
            Fact::ConfigApproved { config_sha256, .. } => self.approved = Some(*config_sha256),
            Fact::Signed { signature } => self.with_batch(batch, |batch| batch.take_signature(signature)),
            Fact::LoggedIn { user, .. } => self.people.with(user, |person| person.failures = 0),
            Fact::SerialsRetired { first_index, serials } => {
                self.with_batch(batch, |batch| batch.retire(range(*first_index, serials)));
            }
            Fact::GateForced { container, .. } => self.quarantine(batch, container.as_ref()),
            Fact::AlarmRaised { alarm, kind, station, detail } => {
                self.last_alarm = self.last_alarm.max(*alarm);
                self.alarms.insert(*alarm, Alarm { kind: *kind, station: *station, detail: detail.clone() });
                if matches!(kind, AlarmKind::SerialPoolLow | AlarmKind::SerialsExhausted) {
                    self.with_batch(batch, |batch| batch.pool_told = Some(*kind));
                }
            }
            Fact::AlarmAcknowledged { alarm } => self.acknowledge(*alarm),
            Fact::BatchLoaded { .. } => self.with_batch(batch, |batch| batch.opened_seq = entry.seq),
            Fact::BatchCloseRefused { .. } => {}
            Fact::LineCleared { .. } => self.with_batch(batch, |batch| batch.is_cleared = true),
            Fact::BatchStarted { bin, track } => self.start_batch(batch, *bin, *track),
            Fact::BatchStopped { bin } => self.stop_batch(batch, *bin),
            Fact::BatchPurgeStarted => self.purge_batch(batch),
            Fact::BatchPurged { bin } => self.with_batch(batch, |batch| batch.halt(*bin)),
            Fact::BatchHeld { .. } => self.with_batch(batch, |batch| batch.state = BatchState::Held),
            Fact::BatchResumed { .. } => self.with_batch(batch, |batch| batch.state = BatchState::Running),
            Fact::BatchClosed { counts, .. } => self.close_batch(batch, counts),
            Fact::BatchReopened { .. } => self.reopen_batch(batch),
            Fact::BatchAborted { counts, .. } => self.abort_batch(batch, counts),
            Fact::SerialsAllocated { station, from_seq, first_index, serials, .. } => {
                self.station_mut(station).allocate(*from_seq, last_of(*from_seq, serials));
                self.with_batch(batch, |batch| batch.allocate(range(*first_index, serials)));
            }
            Fact::SerialsEncoded { station, from_seq, first_index, serials, .. } => {
                let at = self.station_mut(station);
                at.printed = last_of(*from_seq, serials);
                at.encoded = at.printed;
                self.with_batch(batch, |batch| batch.encode(range(*first_index, serials)));
            }
            Fact::BufferDoubted { station } => self.station_mut(station).flush_owed = true,
            Fact::SerialsInvalidated { station, cause, first_index, serials } => {
                self.invalidate(station, *cause);
                self.with_batch(batch, |batch| batch.burn(range(*first_index, serials)));
            }
            Fact::Verified { result, serial, .. } => self.verify(batch, result, *serial),
            Fact::Failed { result, serial, reasons, .. } => self.fail(batch, result, *serial, reasons),
            Fact::Missed { result } => self.miss(batch, result),
            Fact::PassExpired { track, .. } => self.expire(batch, track),
            Fact::Commissioned { track, serial } => self.commission(batch, track, serial),
            Fact::RejectConfirmed { track, serial } => self.confirm_reject(batch, track, serial.as_ref()),
            Fact::RejectInferred { track, serial } => self.infer_reject(batch, track, serial),
            Fact::RejectMissing { track } | Fact::UnexpectedPass { track } => self.resolve_reject(batch, track),
            Fact::UnitRemoved { track } => self.remove_unit(batch, track),
            Fact::PhantomReject { station, count, .. } => self.count_phantoms(batch, station, *count),
            Fact::EndsMissed { station, to, .. } => self.station_mut(station).seq = *to,
            Fact::Packed { request, level, container, children } => {
                self.with_batch(batch, |batch| batch.pack(request, *level, *container, children));
            }
            Fact::CloseGranted { request, gate, container, token, ttl_ms } => {
                let grant = Grant { gate: *gate, container: *container, token: *token, ttl_ms: *ttl_ms, acked: false };
                self.grant(batch, request, grant);
            }
            Fact::CloseRefused { request, reasons, .. } => {
                self.request(request, Stage::Refused { reason: reasons.first().map_or(0, |reason| reason.code()) });
            }
            Fact::PermitAcked { token, .. } => self.acknowledge_permit(*token),
            Fact::Closed { container, token, .. } => {
                self.settle(batch, *token, |batch| batch.set_container(container, ContainerState::Closed));
            }
            Fact::Released { level, container, token, .. } => {
                self.settle(batch, *token, |batch| batch.release(*level, container));
            }
            Fact::CloseFailed { gate, container, token, result } => {
                self.settle(batch, *token, |batch| batch.reopen(*gate, container, *result));
            }
            Fact::CloseUnresolved { container, token, .. } => self.doubt(batch, *token, container),
            Fact::UnitWithdrawn { serial, withdrawal, .. } => {
                self.with_batch(batch, |batch| batch.withdraw(serial, *withdrawal));
            }
            Fact::ContainerReopened { level, container, .. } => {
                self.with_batch(batch, |batch| batch.open_by_hand(*level, container));
            }
            Fact::ContainerDissolved { container, .. } => {
                self.with_batch(batch, |batch| batch.set_container(container, ContainerState::Dissolved));
            }
            Fact::LabelVoided { level, container, copy, .. } => {
                self.with_batch(batch, |batch| batch.void_label(*level, container, *copy));
            }
        }
    }

    /// A start or a stop of the daemon: no station is known to be there.
    fn leave_all(&mut self) {
        self.stations.values_mut().for_each(|station| station.joined = false);
    }

    fn join(&mut self, name: Name, kind: StationKind, reset: bool) {
        if !reset {
            return;
        }
        self.stations.insert(name, Station::default());
        if kind == StationKind::Camera {
            // Its numbers begin anew.
            self.transit.matched = None;
            self.transit.missed.clear();
        }
        if kind == StationKind::Rejector {
            let last = self.transit.last_inspected;
            // Of an epoch in which nothing was inspected, the one before it is what results may still be meant in.
            let before = if last > 0 { last } else { self.transit.before };
            self.transit = Transit { before, ..Transit::default() };
            // Its bin counts from 0 again: what was confirmed until now is taken as it was confirmed.
            for batch in &mut self.batches {
                batch.rebase_bin();
            }
        }
    }

    /// A container whose gate moved unasked is nobody's to close or to pack until a person has looked at it.
    fn quarantine(&mut self, batch: Option<BatchId>, container: Option<&Sscc>) {
        if let Some(container) = container {
            self.with_batch(batch, |batch| batch.set_container(container, ContainerState::Held));
        }
    }

    /// A stop for rejects that a person has seen begins to count anew.
    fn acknowledge(&mut self, alarm: u32) {
        let kind = self.alarms.remove(&alarm).map(|alarm| alarm.kind);
        if matches!(kind, Some(AlarmKind::RejectsInARow | AlarmKind::RejectsTooMany)) {
            self.batches.iter_mut().for_each(|batch| batch.recent.forget());
        }
    }

    fn station_mut(&mut self, name: &Name) -> &mut Station {
        self.stations.entry(*name).or_default()
    }

    pub(super) fn with_batch(&mut self, id: Option<BatchId>, change: impl FnOnce(&mut Batch)) {
        if let Some(batch) = self.batches.iter_mut().find(|batch| Some(batch.id()) == id) {
            change(batch);
        }
    }

    fn invalidate(&mut self, station: &Name, cause: InvalidCause) {
        let at = self.station_mut(station);
        at.printed = at.allocated;
        if matches!(cause, InvalidCause::BatchStopped | InvalidCause::BufferDoubted) {
            at.flushes = at.flushes.saturating_add(1);
            at.flush_owed = false;
        }
    }

    fn verify(&mut self, batch: Option<BatchId>, result: &ResultKey, serial: SerialNumber) {
        let mut place = None;
        self.with_batch(batch, |batch| {
            batch.counts.triggers = batch.counts.triggers.saturating_add(1);
            batch.counts.pass = batch.counts.pass.saturating_add(1);
            place = batch.pool.find(&serial);
            if let Some(unit) = batch.pool.unit_of_mut(&serial) {
                (unit.seen, unit.verified) = (true, true);
            }
        });
        if self.inspect(batch, result, TrackVerdict::Pass(serial)) {
            self.note_inspected(batch, self.seq, false);
        }
        self.extend_run(result, place);
    }

    fn fail(
        &mut self,
        batch: Option<BatchId>,
        result: &ResultKey,
        serial: Option<SerialNumber>,
        reasons: &[FailReason],
    ) {
        let no_read = reasons == [FailReason::NoRead];
        let mut own = None;
        self.with_batch(batch, |batch| {
            let counts = &mut batch.counts;
            counts.triggers = counts.triggers.saturating_add(1);
            let kind = if no_read { &mut counts.no_read } else { &mut counts.fail };
            *kind = kind.saturating_add(1);
            let Some(serial) = serial else { return };
            let found = batch.pool.find(&serial);
            if let Some(unit) = batch.pool.unit_of_mut(&serial)
                && !unit.seen
            {
                unit.seen = true;
                own = found.map(|place| (serial, place));
            }
        });
        let is_new = self.inspect(batch, result, TrackVerdict::Fail(own.map(|(serial, _)| serial)));
        if is_new {
            // A reject is owed for each track once, however often a camera answers for it.
            self.command_reject(batch);
            // What stood on the belt says nothing of the printing.
            if !reasons.contains(&FailReason::Stranded) {
                self.note_inspected(batch, self.seq, true);
            }
        }
        if !reasons.contains(&FailReason::SecondRead) {
            self.extend_run(result, own.map(|(_, place)| place));
        }
    }

    pub(super) fn note_inspected(&mut self, batch: Option<BatchId>, inspection: u64, is_reject: bool) {
        self.with_batch(batch, |batch| batch.recent.note(inspection, is_reject));
    }

    pub(super) fn command_reject(&mut self, batch: Option<BatchId>) {
        self.with_batch(batch, |batch| {
            batch.counts.rejects_commanded = batch.counts.rejects_commanded.saturating_add(1);
        });
    }

    /// Takes a decided result into transit; true where it is the first of a track that has not left.
    pub(super) fn inspect(&mut self, batch: Option<BatchId>, result: &ResultKey, verdict: TrackVerdict) -> bool {
        if let Some(seq) = result.seq {
            let at = self.station_mut(&result.station);
            at.seq = at.seq.max(seq);
        }
        let Some(track) = result.track else { return false };
        if let Some(seq) = result.seq {
            self.match_missed(seq, track);
        }
        self.transit.last_inspected = self.transit.last_inspected.max(track);
        self.enter_transit(track, Track { inspection: self.seq, verdict, batch })
    }

    /// `place` is where the serial of a result stands in the order of printing.
    fn extend_run(&mut self, result: &ResultKey, place: Option<u32>) {
        if let Some((track, place)) = result.track.zip(place) {
            self.transit.extend_run(track, place);
        }
    }

    fn expire(&mut self, batch: Option<BatchId>, key: &TrackKey) {
        let Some(track) = self.transit.tracks.get_mut(&key.track) else { return };
        let TrackVerdict::Pass(serial) = track.verdict else { return };
        track.verdict = TrackVerdict::Expired(serial);
        let inspection = track.inspection;
        self.with_batch(batch, |batch| {
            batch.recent.expire(inspection);
            batch.counts.pass = batch.counts.pass.saturating_sub(1);
            batch.counts.fail = batch.counts.fail.saturating_add(1);
            batch.counts.rejects_commanded = batch.counts.rejects_commanded.saturating_add(1);
        });
    }

    fn end_track(&mut self, key: &TrackKey) {
        let station = self.station_mut(&key.station);
        station.seq = station.seq.saturating_add(1);
        self.transit.tracks.remove(&key.track);
        self.transit.last_ended = self.transit.last_ended.max(key.track);
    }

    fn confirm_reject(&mut self, batch: Option<BatchId>, key: &TrackKey, serial: Option<&SerialNumber>) {
        self.end_track(key);
        self.with_batch(batch, |batch| {
            batch.counts.rejects_confirmed = batch.counts.rejects_confirmed.saturating_add(1);
        });
        for other in self.batches.iter_mut().filter(|other| Some(other.id()) != batch) {
            // A piece in the bin that was inspected before this batch began is none of its pieces.
            if other.state.is_on_line() {
                other.bin_start = other.bin_start.map(|bin| bin.saturating_add(1));
            }
        }
        match serial {
            Some(serial) => self.settle_serial(batch, serial, SerialState::LabelScrapped),
            None if batch.is_some() => self.transit.note_unknown(key.track, key.inspection.unwrap_or_default()),
            None => {}
        }
    }

    fn commission(&mut self, batch: Option<BatchId>, key: &TrackKey, serial: &SerialNumber) {
        self.end_track(key);
        self.settle_serial(batch, serial, SerialState::Commissioned);
    }

    fn infer_reject(&mut self, batch: Option<BatchId>, key: &TrackKey, serial: &SerialNumber) {
        self.transit.unknown.retain(|(at, _)| *at != key.track);
        self.settle_serial(batch, serial, SerialState::LabelScrapped);
    }

    fn resolve_reject(&mut self, batch: Option<BatchId>, key: &TrackKey) {
        self.end_track(key);
        self.with_batch(batch, |batch| {
            batch.counts.rejects_resolved = batch.counts.rejects_resolved.saturating_add(1);
        });
    }

    /// No end of the device stands for it, so that none is counted.
    fn remove_unit(&mut self, batch: Option<BatchId>, key: &TrackKey) {
        self.transit.tracks.remove(&key.track);
        self.with_batch(batch, |batch| {
            batch.counts.rejects_resolved = batch.counts.rejects_resolved.saturating_add(1);
        });
    }

    fn count_phantoms(&mut self, batch: Option<BatchId>, station: &Name, count: u64) {
        let new = count.saturating_sub(self.station(station).phantom);
        self.station_mut(station).phantom = count;
        self.with_batch(batch, |batch| {
            batch.counts.phantom = batch.counts.phantom.saturating_add(u32::try_from(new).unwrap_or(u32::MAX));
        });
    }

    fn settle_serial(&mut self, batch: Option<BatchId>, serial: &SerialNumber, state: SerialState) {
        self.with_batch(batch, |batch| {
            let Some(unit) = batch.pool.unit_of_mut(serial) else { return };
            let was_burned = unit.state == SerialState::SnInvalid;
            unit.state = state;
            unit.seen = true;
            let counts = &mut batch.counts;
            if was_burned {
                // It lay in no buffer: a camera read it.
                counts.burned = counts.burned.saturating_sub(1);
                counts.printed = counts.printed.saturating_add(1);
            }
            let commissioned = state == SerialState::Commissioned;
            let kind = if commissioned { &mut counts.commissioned } else { &mut counts.scrapped };
            *kind = kind.saturating_add(1);
            counts.loose = counts.loose.saturating_add(u32::from(commissioned));
        });
    }

    fn request(&mut self, key: &RequestKey, stage: Stage) {
        let station = self.station_mut(&key.station);
        station.seq = station.seq.max(key.seq);
        station.request = Some(Request { key: *key, stage });
    }

    fn grant(&mut self, batch: Option<BatchId>, key: &RequestKey, grant: Grant) {
        self.request(key, Stage::Granted(grant));
        self.last_token = self.last_token.max(grant.token);
        self.with_batch(batch, |batch| batch.set_container(&grant.container, ContainerState::Granted));
    }

    fn acknowledge_permit(&mut self, token: u32) {
        self.with_grant(token, |stage, grant| *stage = Stage::Granted(Grant { acked: true, ..grant }));
    }

    /// The device has said what became of a permit.
    fn settle(&mut self, batch: Option<BatchId>, token: u32, change: impl FnOnce(&mut Batch)) {
        self.with_grant(token, |stage, _| *stage = Stage::Settled);
        self.with_batch(batch, change);
    }

    /// The device has not said it in time.
    fn doubt(&mut self, batch: Option<BatchId>, token: u32, container: &Sscc) {
        self.with_grant(token, |stage, grant| *stage = Stage::Unresolved(grant));
        self.with_batch(batch, |batch| batch.set_container(container, ContainerState::Held));
    }

    /// Changes the request that holds this token, granted or unresolved.
    fn with_grant(&mut self, token: u32, change: impl FnOnce(&mut Stage, Grant)) {
        for station in self.stations.values_mut() {
            let Some(request) = &mut station.request else { continue };
            if let Stage::Granted(grant) | Stage::Unresolved(grant) = request.stage
                && grant.token == token
            {
                return change(&mut request.stage, grant);
            }
        }
    }
}

impl Station {
    /// Numbers that are left out were used by nobody: none of them is owed.
    fn allocate(&mut self, from_seq: u64, last: u64) {
        if from_seq > self.allocated.saturating_add(1) {
            self.printed = from_seq.saturating_sub(1);
        }
        self.allocated = last;
    }
}

impl Transit {
    /// Rejected units without a known serial that wait for a neighbour; older ones stay unaccounted.
    const UNKNOWN_MAX: usize = 4096;

    /// A certain pair goes on with the run where the distance agrees, and begins a new one where it does not.
    fn extend_run(&mut self, track: u64, place: u32) {
        match &mut self.run {
            Some(run) if run.place_of(track) == Some(place) => run.to = run.to.max(track),
            Some(_) | None => self.run = Some(Run { track, place, to: track }),
        }
    }

    fn note_unknown(&mut self, track: u64, inspection: u64) {
        if self.unknown.len() == Self::UNKNOWN_MAX {
            self.unknown.pop_front();
        }
        self.unknown.push_back((track, inspection));
    }
}

impl Batch {
    fn allocate(&mut self, places: Range<u32>) {
        self.next_place = places.end;
        self.move_range(places, SerialState::Unallocated, SerialState::Allocated);
    }

    /// They count as burned, and what a printer gets next lies behind them.
    fn retire(&mut self, places: Range<u32>) {
        self.next_place = self.next_place.max(places.end);
        let retired = self.move_range(places, SerialState::Unallocated, SerialState::SnInvalid);
        self.counts.burned = self.counts.burned.saturating_add(retired);
    }

    fn encode(&mut self, places: Range<u32>) {
        self.counts.printed = self.counts.printed.saturating_add(length(&places));
        self.move_range(places, SerialState::Allocated, SerialState::Encoded);
    }

    fn burn(&mut self, places: Range<u32>) {
        let all = length(&places);
        let burned = self.move_range(places, SerialState::Allocated, SerialState::SnInvalid);
        self.counts.burned = self.counts.burned.saturating_add(burned);
        // The others were read by a camera: they left the printer, whatever it says.
        self.counts.printed = self.counts.printed.saturating_add(all.saturating_sub(burned));
    }
}

fn length(places: &Range<u32>) -> u32 {
    places.end.saturating_sub(places.start)
}

fn range(first: u32, serials: &[SerialNumber]) -> Range<u32> {
    first..first.saturating_add(count(serials))
}

fn count(serials: &[SerialNumber]) -> u32 {
    u32::try_from(serials.len()).unwrap_or(u32::MAX)
}

/// The number of the last record of a run that begins with `from_seq`.
fn last_of(from_seq: u64, serials: &[SerialNumber]) -> u64 {
    from_seq.saturating_add(u64::from(count(serials))).saturating_sub(1)
}
