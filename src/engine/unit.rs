//! One unit: the verification of what the camera read (GS1-DataMatrix, element string, order, serial, grade), and what
//! became of it at the reject gate. A unit is commissioned only when it is verified and known to have passed (I8).

use crate::domain::element::{ElementError, ElementString, Symbology};
use crate::domain::gs1::SerialNumber;
use crate::domain::linter::Finding;
use crate::domain::pack::SerialState;
use crate::domain::tag::StationId;
use crate::domain::time::Now;
use crate::engine::decide::Decide;
use crate::engine::fact::{Fact, ResultKey, TrackKey};
use crate::engine::input::{CameraResult, PassKey, Read, TrackEnd};
use crate::engine::output::{Permit, Restraint, Step};
use crate::engine::reason::{AlarmKind, FailReason};
use crate::engine::state::{Batch, Run, TRANSIT_MAX, Track, TrackVerdict};
use crate::engine::{Engine, PENDING_ENDS_MAX, PendingEnd, Role, SETTLE_US, line};

/// How long the end of a track waits for an inspection that may still come.
const INSPECTION_WAIT_US: u64 = 2_000_000;
/// Rows written for one gap of missed results; a wider gap is a doubt of its own and its last number is recorded.
const MISSED_ROWS_MAX: u64 = 1024;

/// How far a result may lie ahead of the tracks that are known to have entered: the count of the tracks comes its own way, and
/// may be as old as a heartbeat's time-out.
const TRACKS_AHEAD_MAX: u64 = 64;
/// And how far it may while hardly any has entered: a camera still shows tracks of before the rejector began anew.
const TRACKS_AHEAD_MIN: u64 = 8;

/// How far from the last track of the epoch before a number is still taken for one of that epoch, until it has entered anew.
const TRACKS_STALE_MAX: u64 = 256;

/// What the verification found.
struct Finds {
    /// The serial that was read, where the code names one of this batch.
    serial: Option<SerialNumber>,
    reasons: Vec<FailReason>,
}

impl Engine {
    pub(super) fn inspect(
        &mut self,
        now: Now,
        step: &mut Step,
        station: StationId,
        seen_mono_us: u64,
        result: CameraResult,
    ) {
        let Some(spec) = self.spec(station) else { return };
        let Role::Camera { rejector, grade_min_milli, verdict_deadline_us, decide } = spec.role else { return };
        let camera = self.known(station);
        let ack = Permit::AckResult { station, device_epoch: camera.device_epoch, seq: result.seq };
        if result.seq == 0 {
            // 0 means that there is no result yet.
            return;
        }
        if result.seq <= camera.seq {
            if let Some(pass) = self.pass_key(rejector, &result).filter(|_| result.read == Read::Changed) {
                // Which of the two contents was this unit's is not known: its pass is void.
                self.expire_pass(step, pass);
            }
            return step.permits.push(ack);
        }
        let mut finds = self.verify(&result, grade_min_milli);
        if finds.reasons.contains(&FailReason::NotEncoded) {
            // The printer may have said so already, and the fact may still wait for company.
            self.take_for_printed(finds.serial);
            self.encode_seen(step);
            finds = self.verify(&result, grade_min_milli);
        }
        // A number that no unit on the belt can have names no track: the unit that will have it is another one.
        let track = result.track.filter(|_| !finds.reasons.contains(&FailReason::NoTrack));
        let key = ResultKey { station: spec.name, epoch: camera.epoch, seq: Some(result.seq), track };
        let pass = self.pass_key(rejector, &result).filter(|_| track.is_some());
        let grade_milli = result.grade_milli;
        match (finds.serial, pass) {
            (Some(serial), Some(key_of_pass)) if finds.reasons.is_empty() => {
                self.emit(step, Fact::Verified { result: key, serial, grade_milli });
                let until_mono_us = seen_mono_us.saturating_add(verdict_deadline_us);
                match decide {
                    Decide::Line => step.permits.push(Permit::Pass { key: key_of_pass, until_mono_us }),
                    Decide::Device => {}
                }
            }
            (serial, _) => {
                let code = match result.read {
                    Read::Code(code) | Read::Failed(code) => code,
                    Read::NoRead | Read::NotGood | Read::Changed => Vec::new(),
                };
                let reasons = finds.reasons;
                if let Some(first) = pass.filter(|_| reasons.contains(&FailReason::SecondRead)) {
                    self.withdraw(step, first);
                }
                let late = serial.filter(|serial| reasons.contains(&FailReason::Late) && self.is_unread(serial));
                self.emit(step, Fact::Failed { result: key, serial, reasons: reasons.clone(), code, grade_milli });
                step.restraints.extend(pass.map(Restraint::Fail));
                self.name_late(step, result.track, late);
                self.stop_for(step, station, &reasons, serial);
            }
        }
        step.permits.push(ack);
        self.infer_rejects(step, self.state.transit.run);
        if let Some(rejector) = self.rejector() {
            self.settle_ends(now, step, rejector);
        }
    }

    fn pass_key(&self, rejector: StationId, result: &CameraResult) -> Option<PassKey> {
        result.track.map(|track| PassKey { rejector, device_epoch: self.known(rejector).device_epoch, track })
    }

    /// Whether no camera has decided on a printed unit of this serial yet.
    fn is_unread(&self, serial: &SerialNumber) -> bool {
        let unit = self.state.current().and_then(|batch| batch.pool.unit_of(serial));
        unit.is_some_and(|unit| unit.state == SerialState::Encoded && !unit.seen)
    }

    /// The result of a unit that is known to lie in the bin already says which serial went with it.
    fn name_late(&mut self, step: &mut Step, track: Option<u64>, serial: Option<SerialNumber>) {
        let Some((track, serial)) = track.zip(serial) else { return };
        let Some(rejector) = self.rejector().and_then(|id| self.spec(id)) else { return };
        let unknown = &self.state.transit.unknown;
        let Some((_, inspection)) = unknown.iter().find(|(at, _)| *at == track).copied() else { return };
        let epoch = self.state.station(&rejector.name).epoch;
        let track = TrackKey { station: rejector.name, epoch, track, inspection: Some(inspection) };
        self.emit(step, Fact::RejectInferred { track, serial });
    }

    /// A wrong product, a serial nobody ordered or one seen before is no single bad print: the line stops.
    fn stop_for(&mut self, step: &mut Step, station: StationId, reasons: &[FailReason], serial: Option<SerialNumber>) {
        let stops = [
            (FailReason::WrongGtin, AlarmKind::WrongGtin),
            (FailReason::UnknownSerial, AlarmKind::UnknownSerial),
            (FailReason::NotEncoded, AlarmKind::UnknownSerial),
            (FailReason::Duplicate, AlarmKind::DuplicateSerial),
        ];
        let Some((_, kind)) = stops.into_iter().find(|(reason, _)| reasons.contains(reason)) else { return };
        let detail = serial.map_or_else(String::new, |serial| serial.to_string());
        self.raise(step, kind, Some(station), detail);
    }

    fn verify(&self, result: &CameraResult, grade_min_milli: i64) -> Finds {
        let mut finds = match (&result.read, self.state.current()) {
            (Read::NoRead, _) => Finds { serial: None, reasons: vec![FailReason::NoRead] },
            (Read::NotGood, _) => Finds { serial: None, reasons: vec![FailReason::NotGood] },
            (Read::Changed, _) => Finds { serial: None, reasons: vec![FailReason::Changed] },
            (Read::Code(_) | Read::Failed(_), None) => Finds { serial: None, reasons: vec![FailReason::NoBatch] },
            (Read::Code(code) | Read::Failed(code), Some(batch)) => read_code(code, batch),
        };
        if matches!(result.read, Read::Failed(_)) {
            finds.reasons.push(FailReason::DeviceFailed);
        }
        if grade_min_milli > 0 && matches!(result.read, Read::Code(_) | Read::Failed(_)) {
            match result.grade_milli {
                Some(grade) if grade < grade_min_milli => finds.reasons.push(FailReason::LowGrade),
                Some(_) => {}
                None => finds.reasons.push(FailReason::NoGrade),
            }
        }
        finds.reasons.extend(self.track_reason(result.track));
        if self.is_stranded(finds.serial) {
            finds.reasons.push(FailReason::Stranded);
        }
        if finds.reasons.is_empty() && self.clock_blocks() {
            finds.reasons.push(FailReason::ClockUnsure);
        }
        let first = result.track.and_then(|track| self.state.transit.tracks.get(&track)).map(|track| track.verdict);
        if finds.serial.is_some() && finds.serial == first.and_then(TrackVerdict::serial) {
            // The same unit read twice is no second unit with its serial.
            finds.reasons.retain(|reason| *reason != FailReason::Duplicate);
        }
        finds
    }

    /// Whether a unit was printed before a stop and stood on the belt, unread, where the site does not ask for its verification.
    fn is_stranded(&self, serial: Option<SerialNumber>) -> bool {
        let Some((batch, serial)) = self.state.current().zip(serial) else { return false };
        let may_be = batch.stranded_before > 0 && !self.policy.inspects_after_stop;
        let is_before = |serial| batch.pool.find(serial).is_some_and(|place| place < batch.stranded_before);
        may_be && is_before(&serial) && self.is_unread(&serial)
    }

    /// Until something has left the gate in its new epoch, each join leaves it open which epoch a result is meant in.
    pub(super) fn settle_tracks(&mut self, now: Now, station: StationId) {
        let is_anew = self.state.transit.before > 0 && self.state.transit.last_ended == 0;
        let until = is_anew.then(|| now.mono_us.saturating_add(SETTLE_US));
        self.with_live(station, |live| live.settles_until_us = until);
    }

    /// Whether the reject gate counts anew since so short a time that a result may be meant in the epoch before.
    pub(super) fn tracks_settle(&self) -> bool {
        self.rejector().and_then(|id| self.live(id)).is_some_and(|live| live.settles_until_us.is_some())
    }

    /// Whether the end of a track waits for its inspection.
    pub(super) fn has_left(&self, track: u64) -> bool {
        let live = self.rejector().and_then(|id| self.live(id));
        live.is_some_and(|live| live.ends.iter().any(|end| end.track == track))
    }

    /// What the track alone says against a result.
    fn track_reason(&self, track: Option<u64>) -> Option<FailReason> {
        let Some(track) = track else { return Some(FailReason::NoTrack) };
        let transit = &self.state.transit;
        let entered = self.rejector().and_then(|id| self.live(id)).and_then(|live| live.entered);
        if self.tracks_settle() {
            Some(FailReason::NoTrack)
        } else if transit.tracks.contains_key(&track) {
            Some(FailReason::SecondRead)
        } else if track <= transit.last_ended || (self.has_left(track) && !self.is_device_deciding()) {
            // No pass was given while it could have been: where the unit went through, it did so unasked.
            Some(FailReason::Late)
        } else if transit.tracks.len() >= TRANSIT_MAX
            || entered.is_some_and(|entered| is_ahead(track, entered))
            || (transit.before.abs_diff(track) < TRACKS_STALE_MAX
                && transit.before > 0
                && entered.is_none_or(|entered| track > entered))
        {
            // No unit that the line knows of: a number of an earlier epoch, or more than fit before the gate.
            Some(FailReason::NoTrack)
        } else {
            None
        }
    }

    pub(super) fn miss_results(&mut self, now: Now, step: &mut Step, station: StationId, from: u64, to: u64) {
        let Some(spec) = self.spec(station) else { return };
        let camera = self.known(station);
        let from = from.max(camera.seq.saturating_add(1));
        if from > to {
            return;
        }
        let rows = to.saturating_sub(from) < MISSED_ROWS_MAX && self.state.current().is_some();
        for seq in if rows { from..=to } else { to..=to } {
            let result = ResultKey { station: spec.name, epoch: camera.epoch, seq: Some(seq), track: None };
            self.emit(step, Fact::Missed { result });
        }
        if self.state.current().is_some() {
            self.raise(step, AlarmKind::ResultsMissed, Some(station), format!("results {from} to {to}"));
        }
        step.permits.push(Permit::AckResult { station, device_epoch: camera.device_epoch, seq: to });
        if let Some(rejector) = self.rejector() {
            self.settle_ends(now, step, rejector);
        }
    }

    /// The pass of a verified unit did not leave in time: the unit is a reject.
    pub(super) fn expire_pass(&mut self, step: &mut Step, key: PassKey) {
        if self.withdraw(step, key) {
            step.restraints.push(Restraint::Fail(key));
        }
    }

    /// The fact alone; false where no pass stands.
    fn withdraw(&mut self, step: &mut Step, key: PassKey) -> bool {
        let Some(spec) = self.spec(key.rejector) else { return false };
        let known = self.known(key.rejector);
        let Some(at) = self.state.transit.tracks.get(&key.track).copied() else { return false };
        let TrackVerdict::Pass(serial) = at.verdict else { return false };
        if known.device_epoch != key.device_epoch {
            return false;
        }
        let inspection = Some(at.inspection);
        let track = TrackKey { station: spec.name, epoch: known.epoch, track: key.track, inspection };
        self.emit_of(step, &at, Fact::PassExpired { track, serial });
        true
    }

    /// A fact about a track belongs to the batch under which the track was inspected.
    pub(super) fn emit_of(&mut self, step: &mut Step, track: &Track, fact: Fact) {
        self.record(step, track.batch, line(), fact);
    }

    pub(super) fn end(&mut self, now: Now, step: &mut Step, station: StationId, track: u64, end: TrackEnd) {
        let mut overfull = false;
        self.with_live(station, |live| {
            live.ends.push_back(PendingEnd { track, end, since_us: now.mono_us });
            overfull = live.ends.len() > PENDING_ENDS_MAX;
        });
        if overfull {
            self.settle_first_end(step, station, true);
        }
        self.settle_ends(now, step, station);
    }

    /// Decides ends in the order of the gate; the first waits until its inspection is there or cannot come any more.
    pub(super) fn settle_ends(&mut self, now: Now, step: &mut Step, station: StationId) {
        while let Some(first) = self.live(station).and_then(|live| live.ends.front().copied()) {
            let waited = now.mono_us.saturating_sub(first.since_us) >= INSPECTION_WAIT_US;
            let overtaken = self.state.transit.last_inspected > first.track;
            if !self.settle_first_end(step, station, waited || overtaken) {
                break;
            }
        }
        self.balance_gate(step, station);
        self.retry_waiting(now, step);
    }

    /// False where the first end has to wait.
    fn settle_first_end(&mut self, step: &mut Step, station: StationId, missed_if_unknown: bool) -> bool {
        let Some(spec) = self.spec(station) else { return false };
        let Some(first) = self.live(station).and_then(|live| live.ends.front().copied()) else { return false };
        let epoch = self.known(station).epoch;
        let mut key = TrackKey { station: spec.name, epoch, track: first.track, inspection: None };
        let inspected = match self.state.transit.tracks.get(&first.track) {
            Some(track) => *track,
            None if !missed_if_unknown => return false,
            None => self.miss_track(step, &key),
        };
        self.with_live(station, |live| {
            live.ends.pop_front();
        });
        key.inspection = Some(inspected.inspection);
        match first.end {
            TrackEnd::Passed => self.passed(step, station, key, &inspected),
            TrackEnd::RejectConfirmed => self.rejected(step, key, &inspected),
            TrackEnd::Missing => self.missing(step, station, key, &inspected),
        }
        true
    }

    /// A track that left the gate without ever having been inspected.
    fn miss_track(&mut self, step: &mut Step, key: &TrackKey) -> Track {
        let camera = self.ids().find(|id| matches!(self.spec(*id).map(|spec| spec.role), Some(Role::Camera { .. })));
        let (name, epoch) = camera
            .and_then(|id| self.spec(id).map(|spec| (spec.name, self.known(id).epoch)))
            .unwrap_or((key.station, key.epoch));
        let result = ResultKey { station: name, epoch, seq: None, track: Some(key.track) };
        self.emit(step, Fact::Missed { result });
        let batch = self.state.current().map(Batch::id);
        Track { inspection: self.state.seq, verdict: TrackVerdict::Fail(None), batch }
    }

    fn passed(&mut self, step: &mut Step, station: StationId, key: TrackKey, track: &Track) {
        match track.verdict {
            TrackVerdict::Pass(serial) => self.emit_of(step, track, Fact::Commissioned { track: key, serial }),
            TrackVerdict::Expired(_) | TrackVerdict::Fail(_) => {
                self.emit_of(step, track, Fact::UnexpectedPass { track: key });
                self.raise(step, AlarmKind::UnexpectedPass, Some(station), format!("track {}", key.track));
                self.disagree(step, key.track, "passed, and was not verified");
            }
        }
    }

    fn rejected(&mut self, step: &mut Step, key: TrackKey, track: &Track) {
        if let TrackVerdict::Pass(serial) = track.verdict {
            self.emit_of(step, track, Fact::PassExpired { track: key, serial });
            self.disagree(step, key.track, "rejected, and was verified");
        }
        self.emit_of(step, track, Fact::RejectConfirmed { track: key, serial: track.verdict.serial() });
        self.infer_rejects(step, self.state.transit.run);
    }

    fn missing(&mut self, step: &mut Step, station: StationId, key: TrackKey, track: &Track) {
        if let TrackVerdict::Pass(serial) = track.verdict {
            self.emit_of(step, track, Fact::PassExpired { track: key, serial });
        }
        self.emit_of(step, track, Fact::RejectMissing { track: key });
        self.raise(step, AlarmKind::RejectMissing, Some(station), format!("track {}", key.track));
    }

    /// Names rejected units that could not be read, where the order of printing leaves only one serial for each.
    pub(super) fn infer_rejects(&mut self, step: &mut Step, run: Option<Run>) {
        if self.state.transit.unknown.is_empty() {
            return;
        }
        let Some(rejector) = self.rejector().and_then(|id| self.spec(id)) else { return };
        let Some(run) = run else { return };
        let epoch = self.state.station(&rejector.name).epoch;
        let known: Vec<(u64, u64, SerialNumber)> = self
            .state
            .transit
            .unknown
            .iter()
            .filter(|(track, _)| *track > run.track && *track <= run.to)
            .filter_map(|(track, inspection)| {
                let pool = &self.state.current()?.pool;
                let place = run.place_of(*track)?;
                let unit = pool.unit(place)?;
                let free = unit.state == SerialState::Encoded && !unit.verified;
                free.then(|| pool.serial(place)).flatten().map(|serial| (*track, *inspection, serial))
            })
            .collect();
        for (track, inspection, serial) in known {
            let track = TrackKey { station: rejector.name, epoch, track, inspection: Some(inspection) };
            self.emit(step, Fact::RejectInferred { track, serial });
        }
    }

    pub(super) fn miss_ends(&mut self, step: &mut Step, station: StationId, from: u64, to: u64) {
        let Some(spec) = self.spec(station) else { return };
        while self.settle_first_end(step, station, true) {}
        let epoch = self.known(station).epoch;
        let lost = to.saturating_sub(from).saturating_add(1);
        let lost = usize::try_from(lost).unwrap_or(usize::MAX);
        // Units leave in their order: the ends that nobody read were those of the first tracks in transit.
        let tracks: Vec<(u64, Track)> =
            self.state.transit.tracks.iter().take(lost).map(|(at, track)| (*at, *track)).collect();
        for (at, track) in tracks {
            let inspection = Some(track.inspection);
            let device_epoch = self.known(station).device_epoch;
            step.restraints.push(Restraint::Fail(PassKey { rejector: station, device_epoch, track: at }));
            self.missing(step, station, TrackKey { station: spec.name, epoch, track: at, inspection }, &track);
        }
        self.emit(step, Fact::EndsMissed { station: spec.name, epoch, from, to });
        self.raise(step, AlarmKind::StationReset, Some(station), format!("ends {from} to {to} were not read"));
    }

    pub(super) fn phantom(&mut self, step: &mut Step, station: StationId, count: u64) {
        let Some(spec) = self.spec(station) else { return };
        let known = self.known(station);
        if count > known.phantom {
            self.emit(step, Fact::PhantomReject { station: spec.name, epoch: known.epoch, count });
            self.raise(step, AlarmKind::PhantomReject, Some(station), format!("{count} in all"));
        }
    }

    pub(super) fn bin_full(&mut self, step: &mut Step, station: StationId, full: bool) {
        if full {
            self.raise(step, AlarmKind::BinFull, Some(station), String::new());
        }
    }

    /// The device forgot its tracks: what was on its way can be neither commissioned nor confirmed rejected.
    pub(super) fn lose_transit(&mut self, step: &mut Step, station: StationId) {
        let Some(spec) = self.spec(station) else { return };
        let epoch = self.known(station).epoch;
        let tracks: Vec<(u64, Track)> = self.state.transit.tracks.iter().map(|(at, track)| (*at, *track)).collect();
        if tracks.is_empty() {
            return;
        }
        self.raise(step, AlarmKind::StationReset, Some(station), format!("{} units in transit", tracks.len()));
        for (at, track) in tracks {
            let key = TrackKey { station: spec.name, epoch, track: at, inspection: Some(track.inspection) };
            self.missing(step, station, key, &track);
        }
    }
}

/// Whether a track is further ahead of those that entered than late news can explain.
fn is_ahead(track: u64, entered: u64) -> bool {
    let ahead = entered.saturating_add(TRACKS_AHEAD_MIN).min(TRACKS_AHEAD_MAX);
    track > entered.saturating_add(ahead)
}

/// Compares a code with the batch: all reasons, not the first.
fn read_code(code: &[u8], batch: &Batch) -> Finds {
    let parsed = match ElementString::parse(code) {
        Ok(parsed) => parsed,
        Err(error) => return Finds { serial: None, reasons: vec![malformed(&error)] },
    };
    let mut reasons = Vec::new();
    if parsed.symbology().is_some_and(|symbology| symbology != Symbology::Gs1DataMatrix) {
        reasons.push(FailReason::NotGs1);
    }
    let sheet = &batch.sheet;
    let expiry = sheet.expiry.to_yymmdd();
    let (mut seen, mut extra, mut serial) = ([0_u8; 4], false, None);
    for (ai, value) in parsed.fields() {
        let wrong = match ai {
            "01" => count(&mut seen, 0) && value != sheet.gtin.as_str(),
            "17" => count(&mut seen, 1) && value != expiry.as_str(),
            "10" => count(&mut seen, 2) && value != sheet.lot.as_str(),
            "21" => {
                serial = SerialNumber::new(value).ok();
                count(&mut seen, 3) && serial.is_none()
            }
            _ => {
                extra = true;
                false
            }
        };
        if wrong {
            reasons.push(match ai {
                "01" => FailReason::WrongGtin,
                "17" => FailReason::WrongExpiry,
                "10" => FailReason::WrongLot,
                _ => FailReason::BadCharacter,
            });
        }
    }
    let structure = [
        (seen.contains(&0), FailReason::MissingAi),
        (extra, FailReason::ExtraAi),
        (seen.iter().any(|times| *times > 1), FailReason::RepeatedAi),
    ];
    reasons.extend(structure.into_iter().filter(|(wrong, _)| *wrong).map(|(_, reason)| reason));
    let serial = serial.filter(|_| !reasons.contains(&FailReason::WrongGtin));
    if let Some(serial) = serial {
        reasons.extend(serial_reason(batch, &serial));
    }
    Finds { serial: serial.filter(|serial| batch.pool.find(serial).is_some()), reasons }
}

/// Counts one more of an AI; always true, so that it can stand before the comparison.
fn count(seen: &mut [u8; 4], at: usize) -> bool {
    if let Some(times) = seen.get_mut(at) {
        *times = times.saturating_add(1);
    }
    true
}

fn serial_reason(batch: &Batch, serial: &SerialNumber) -> Option<FailReason> {
    let Some(unit) = batch.pool.unit_of(serial) else { return Some(FailReason::UnknownSerial) };
    match unit.state {
        _ if unit.seen => Some(FailReason::Duplicate),
        SerialState::Encoded => None,
        SerialState::Unassigned | SerialState::Unallocated | SerialState::Allocated | SerialState::SnInvalid => {
            Some(FailReason::NotEncoded)
        }
        SerialState::LabelSampled
        | SerialState::LabelScrapped
        | SerialState::Commissioned
        | SerialState::Sampled
        | SerialState::Inactive
        | SerialState::Destroyed
        | SerialState::Released => Some(FailReason::Duplicate),
    }
}

fn malformed(error: &ElementError) -> FailReason {
    match error {
        ElementError::NotGs1 { .. } => FailReason::NotGs1,
        ElementError::Contradiction { .. } => FailReason::RepeatedAi,
        ElementError::Content { finding, .. } if *finding == Finding::IncorrectCheckDigit => FailReason::CheckDigit,
        ElementError::Content { finding, .. } if is_date(*finding) => FailReason::BadDate,
        ElementError::Content { finding, .. } if is_character(*finding) => FailReason::BadCharacter,
        ElementError::Empty => FailReason::NoRead,
        ElementError::Content { .. }
        | ElementError::TooLong { .. }
        | ElementError::UnknownAi { .. }
        | ElementError::Length { .. }
        | ElementError::Requires { .. }
        | ElementError::Excludes { .. }
        | ElementError::NotSerialized { .. }
        | ElementError::Bracket { .. } => FailReason::Malformed,
    }
}

fn is_date(finding: Finding) -> bool {
    [Finding::IllegalMonth, Finding::IllegalDay, Finding::DateTooShort, Finding::DateTooLong].contains(&finding)
}

fn is_character(finding: Finding) -> bool {
    [Finding::NonDigitCharacter, Finding::InvalidCset82Character].contains(&finding)
}
