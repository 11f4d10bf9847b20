//! What a fact changes in the state tables. They are the fold of the facts: nothing else changes them.

use crate::domain::epc;
use crate::domain::gs1::{Gtin, SerialNumber, Sscc};
use crate::domain::pack::{ContainerState, Gate, PackLevel, SerialState};
use crate::domain::text::Name;
use crate::engine::fact::{Child, Fact, RequestKey, ResultKey, TrackKey};
use crate::engine::people::{Role, Roles, UserId};
use crate::engine::reason::{AlarmKind, BatchState, FailReason};
use crate::engine::signing::Signature;
use crate::wire::fact;
use crate::wire::lower::{Scene, own_serial, owned};
use crate::wire::record::{Change, InspectionRow, PermitRow, PersonChange, SignatureRow};

#[allow(clippy::too_many_lines, reason = "one exhaustive match, an arm per kind of fact")]
pub(super) fn changes(scene: &Scene<'_>) -> Vec<Change> {
    match &scene.entry.fact {
        Fact::LineStarted { .. }
        | Fact::LineStopped
        | Fact::LineDescribed { .. }
        | Fact::StationLost { .. }
        | Fact::StationFaulted { .. }
        | Fact::RecipeFound { .. }
        | Fact::BufferDoubted { .. }
        | Fact::BatchCloseRefused { .. }
        | Fact::LineCleared { .. }
        | Fact::PhantomReject { .. }
        | Fact::EndsMissed { .. }
        | Fact::CloseRefused { .. }
        | Fact::ClockFound { .. }
        | Fact::ClockStepped { .. }
        | Fact::LinePaused { .. }
        | Fact::PictureStored { .. }
        | Fact::PicturesRemoved { .. }
        | Fact::LoginFailed { user: None, .. }
        | Fact::LoggedOut { .. }
        | Fact::UserRecovered { .. }
        | Fact::SignatureRefused { .. }
        | Fact::MessageGivenUp { .. }
        | Fact::KeyAnnounced { .. } => Vec::new(),
        Fact::StoreRestored { .. } => vec![Change::PasswordsVoid],
        Fact::Signed { signature } => vec![scene.signature(signature)],
        Fact::AuditReviewed { .. } | Fact::ConfigApproved { .. } => {
            vec![Change::Newest { kind: fact::kind(&scene.entry.fact) }]
        }
        Fact::UserAdded { user, full_name, roles } => {
            person(user, PersonChange::Added { full_name: owned(full_name), roles: words(*roles) })
        }
        Fact::UserChanged { user, roles, is_enabled, .. } => {
            person(user, PersonChange::Set { roles: words(*roles), is_enabled: *is_enabled })
        }
        Fact::CredentialSet { user, must_change, .. } => {
            person(user, PersonChange::Credential { must_change: *must_change })
        }
        Fact::LoginFailed { user: Some(user), failures, .. } => {
            person(user, PersonChange::Failures { failures: *failures })
        }
        Fact::LoggedIn { user, .. } => person(user, PersonChange::Failures { failures: 0 }),
        Fact::LoginLocked { user, .. } => person(user, PersonChange::Locked),
        Fact::LoginUnlocked { user } => person(user, PersonChange::Unlocked),
        Fact::MessagesExpired { gone } => vec![Change::MessagesExpired(gone.clone())],
        Fact::GateForced { container, .. } => quarantined(*container),
        Fact::EpochRaised { begun } => vec![Change::EpochRaised { epoch: begun.epoch }],
        Fact::StationJoined { station, device_epoch, epoch, .. } => {
            vec![Change::StationCursor { station: owned(station), device_epoch: *device_epoch, epoch: *epoch }]
        }
        Fact::AlarmRaised { alarm, kind, station, detail } => vec![alarm_raised(*alarm, *kind, *station, detail)],
        Fact::AlarmAcknowledged { alarm } => vec![Change::AlarmAcknowledged { alarm: *alarm }],
        Fact::BatchLoaded { .. } => scene.batch_inserted(),
        Fact::BatchStarted { .. } | Fact::BatchResumed { .. } => vec![scene.batch_state(BatchState::Running)],
        Fact::BatchStopped { .. } | Fact::BatchPurged { .. } | Fact::BatchReopened { .. } => {
            vec![scene.batch_state(BatchState::Stopped)]
        }
        Fact::BatchPurgeStarted => vec![scene.batch_state(BatchState::Purging)],
        Fact::BatchHeld { .. } => vec![scene.batch_state(BatchState::Held)],
        Fact::BatchAborted { .. } => vec![scene.batch_state(BatchState::Aborted)],
        Fact::BatchClosed { .. } => vec![scene.batch_state(BatchState::Closed)],
        Fact::SerialsAllocated { first_index, serials, .. } => {
            vec![scene.serial_range(*first_index, serials, SerialState::Unallocated, SerialState::Allocated)]
        }
        Fact::SerialsEncoded { first_index, serials, .. } => {
            vec![scene.serial_range(*first_index, serials, SerialState::Allocated, SerialState::Encoded)]
        }
        Fact::SerialsDeclared { gtin, serials } => vec![used(gtin, serials)],
        Fact::SerialsRetired { first_index, serials } => {
            vec![scene.serial_range(*first_index, serials, SerialState::Unallocated, SerialState::SnInvalid)]
        }
        Fact::SerialsInvalidated { first_index, serials, .. } => {
            vec![scene.serial_range(*first_index, serials, SerialState::Allocated, SerialState::SnInvalid)]
        }
        Fact::Verified { result, serial, .. } => scene.verified(result, *serial),
        Fact::Failed { result, serial, reasons, .. } => {
            scene.not_passed(result, fail_verdict(reasons), own_serial(serial.as_ref(), reasons))
        }
        Fact::Missed { result } => scene.not_passed(result, "missed", None),
        Fact::PassExpired { track, .. } => pass_expired(track),
        Fact::Commissioned { serial, .. } => vec![scene.serial_state(*serial, SerialState::Commissioned)],
        Fact::RejectConfirmed { track, serial } => scene.reject_confirmed(track, *serial),
        Fact::RejectInferred { serial, .. } => vec![scene.serial_state(*serial, SerialState::LabelScrapped)],
        Fact::RejectMissing { track } | Fact::UnexpectedPass { track } | Fact::UnitRemoved { track } => {
            reject_alarmed(track)
        }
        Fact::Packed { level, container, children, .. } => scene.packed(*level, *container, children),
        Fact::CloseGranted { request, gate, container, token, .. } => granted(request, *gate, *container, *token),
        Fact::PermitAcked { token, .. } => vec![permit_state(*token, "acked")],
        Fact::Closed { container, token, .. } => settled(*container, ContainerState::Closed, *token, "acked"),
        Fact::Released { container, token, .. } => settled(*container, ContainerState::Released, *token, "acked"),
        Fact::CloseFailed { gate, container, token, .. } => close_failed(*gate, *container, *token),
        Fact::CloseUnresolved { container, token, .. } => {
            settled(*container, ContainerState::Held, *token, "unresolved")
        }
        Fact::UnitWithdrawn { serial, withdrawal, .. } => vec![Change::SerialWithdrawn {
            batch: scene.batch.clone(),
            serial: serial.as_str().to_owned(),
            state: withdrawal.name(),
        }],
        Fact::ContainerReopened { container, .. } => vec![
            Change::MembersRemoved { parent: container.as_str().to_owned() },
            container_state(*container, ContainerState::Open),
        ],
        Fact::ContainerDissolved { container, .. } => vec![container_state(*container, ContainerState::Dissolved)],
        Fact::LabelVoided { container, .. } => vec![container_state(*container, ContainerState::Closed)],
    }
}

fn alarm_raised(alarm: u32, kind: AlarmKind, station: Option<Name>, detail: &str) -> Change {
    let (kind, station) = (kind.name(), station.as_ref().map(owned));
    Change::AlarmInserted { alarm, kind, station, detail: detail.to_owned() }
}

fn person(user: &UserId, change: PersonChange) -> Vec<Change> {
    vec![Change::Person { user: owned(user), change }]
}

/// As the table holds them: in one order, with a blank between.
fn words(roles: Roles) -> String {
    roles.iter().map(Role::name).collect::<Vec<_>>().join(" ")
}

fn used(gtin: &Gtin, serials: &[SerialNumber]) -> Change {
    let serials = serials.iter().map(|serial| serial.as_str().to_owned()).collect();
    Change::SerialsUsed { gtin: gtin.as_str().to_owned(), serials }
}

impl Scene<'_> {
    /// Nothing without the order, whose serials are not in the fact: loading is the one moment when it is at hand.
    fn batch_inserted(&self) -> Vec<Change> {
        let inserted = self.order.map(|order| Change::BatchInserted {
            order: order.clone(),
            epc_prefix: epc::sgtin_prefix(order.sheet.gtin, order.sheet.gcp_length),
        });
        inserted.into_iter().collect()
    }

    /// The batch, or what of the line.
    pub(super) fn signed_for(&self, signature: &Signature) -> String {
        if self.batch.is_empty() { signature.action.name().to_owned() } else { self.batch.clone() }
    }

    fn signature(&self, signature: &Signature) -> Change {
        Change::Signature(SignatureRow {
            user: owned(&signature.user),
            full_name: owned(&signature.full_name),
            meaning: signature.meaning.name(),
            at_us: self.stamp.at_us,
            subject: self.signed_for(signature),
            subject_hash: owned(&signature.subject_hash),
            challenge: owned(&signature.challenge),
        })
    }

    fn batch_state(&self, state: BatchState) -> Change {
        Change::BatchState { batch: self.batch.clone(), state: state.name() }
    }

    fn serial_range(
        &self,
        first_index: u32,
        serials: &[SerialNumber],
        before: SerialState,
        state: SerialState,
    ) -> Change {
        Change::SerialRange {
            batch: self.batch.clone(),
            first_index,
            count: u32::try_from(serials.len()).unwrap_or(u32::MAX),
            before: before.name(),
            state: state.name(),
        }
    }

    fn serial_state(&self, serial: SerialNumber, state: SerialState) -> Change {
        Change::SerialState { batch: self.batch.clone(), serial: serial.as_str().to_owned(), state: state.name() }
    }

    fn verified(&self, result: &ResultKey, serial: SerialNumber) -> Vec<Change> {
        vec![
            self.inspection(result, "pass", Some(&serial)),
            Change::SerialVerified { batch: self.batch.clone(), serial: serial.as_str().to_owned() },
        ]
    }

    fn not_passed(&self, result: &ResultKey, verdict: &'static str, serial: Option<&SerialNumber>) -> Vec<Change> {
        vec![self.inspection(result, verdict, serial), Change::RejectCommanded { inspection: self.entry.seq }]
    }

    fn inspection(&self, result: &ResultKey, verdict: &'static str, serial: Option<&SerialNumber>) -> Change {
        Change::Inspection(InspectionRow {
            batch: self.entry.batch.as_ref().map(owned),
            station: owned(&result.station),
            epoch: result.epoch,
            result_seq: result.seq,
            track: result.track,
            verdict,
            serial: serial.map(|serial| serial.as_str().to_owned()),
        })
    }

    fn reject_confirmed(&self, track: &TrackKey, serial: Option<SerialNumber>) -> Vec<Change> {
        let confirmed = ended(track, |inspection| Change::RejectConfirmed { inspection });
        let scrapped = serial.map(|serial| self.serial_state(serial, SerialState::LabelScrapped));
        confirmed.chain(scrapped).collect()
    }

    fn packed(&self, level: PackLevel, container: Sscc, children: &[Child]) -> Vec<Change> {
        let (mut units, mut containers) = (Vec::new(), Vec::new());
        for child in children {
            match child {
                Child::Unit(serial) => units.push(serial.as_str().to_owned()),
                Child::Container(sscc) => containers.push(sscc.as_str().to_owned()),
            }
        }
        let capacity = self.sheet.map_or(0, |sheet| sheet.pack.capacity(level));
        let parent = container.as_str().to_owned();
        vec![
            Change::ContainerInserted {
                container: parent.clone(),
                level: level.name(),
                batch: self.batch.clone(),
                capacity: u32::from(capacity),
            },
            Change::MembersAdded { parent, batch: self.batch.clone(), units, containers },
        ]
    }
}

/// A no-read and nothing else; the counts of the batch are kept by the same rule.
fn fail_verdict(reasons: &[FailReason]) -> &'static str {
    match reasons {
        [FailReason::NoRead] => "no_read",
        _ => "fail",
    }
}

fn pass_expired(track: &TrackKey) -> Vec<Change> {
    let turned = |inspection| [Change::InspectionFailed { inspection }, Change::RejectCommanded { inspection }];
    track.inspection.into_iter().flat_map(turned).collect()
}

fn reject_alarmed(track: &TrackKey) -> Vec<Change> {
    ended(track, |inspection| Change::RejectAlarmed { inspection }).collect()
}

/// What became of the reject that an inspection owed, and on which track that was.
fn ended(track: &TrackKey, change: impl Fn(u64) -> Change) -> impl Iterator<Item = Change> {
    let tracked = |inspection| Change::InspectionTracked { inspection, track: track.track };
    track.inspection.into_iter().flat_map(move |inspection| [change(inspection), tracked(inspection)])
}

fn granted(request: &RequestKey, gate: Gate, container: Sscc, token: u32) -> Vec<Change> {
    let permit = PermitRow {
        token,
        container: container.as_str().to_owned(),
        gate: gate.name(),
        station: owned(&request.station),
        epoch: request.epoch,
        request_seq: request.seq,
    };
    vec![Change::PermitInserted(permit), container_state(container, ContainerState::Granted)]
}

/// The container is as it was before the grant: open and empty before the seal, closed before the release.
fn close_failed(gate: Gate, container: Sscc, token: u32) -> Vec<Change> {
    let permit = permit_state(token, "expired");
    match gate {
        Gate::Seal => vec![
            Change::MembersRemoved { parent: container.as_str().to_owned() },
            container_state(container, ContainerState::Open),
            permit,
        ],
        Gate::Release => vec![container_state(container, ContainerState::Closed), permit],
    }
}

fn settled(container: Sscc, state: ContainerState, token: u32, permit: &'static str) -> Vec<Change> {
    vec![container_state(container, state), permit_state(token, permit)]
}

fn quarantined(container: Option<Sscc>) -> Vec<Change> {
    container.map(|container| container_state(container, ContainerState::Held)).into_iter().collect()
}

fn container_state(container: Sscc, state: ContainerState) -> Change {
    Change::ContainerState { container: container.as_str().to_owned(), state: state.name() }
}

fn permit_state(token: u32, state: &'static str) -> Change {
    Change::PermitState { token, state }
}
