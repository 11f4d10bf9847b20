//! What a fact tells the world beside itself: EPCIS events and the summary of a closed batch.
//!
//! Order matters to those who receive: a unit is commissioned when it passed the gate, so before any case names it; a container
//! is commissioned when its label was read back, and packed right after. A unit that was never commissioned has no event.

use crate::domain::gs1::{SerialNumber, Sscc};
use crate::domain::pack::PackLevel;
use crate::engine::fact::{Child, Counts, Fact, TrackKey};
use crate::engine::hands::{Again, Withdrawal};
use crate::wire::digest;
use crate::wire::epcis::{self, Event, EventClock, EventPlace, Ilmd, Withdrawn};
use crate::wire::lower::{Lowering, Scene};
use crate::wire::record::Message;
use crate::wire::topic::{self, BatchClosed};

#[allow(clippy::too_many_lines, reason = "one exhaustive match, an arm per kind of fact")]
pub(super) fn messages(lowering: &Lowering, scene: &Scene<'_>, body: &str) -> Vec<Message> {
    match &scene.entry.fact {
        Fact::Commissioned { track, serial } => commissioned(lowering, scene, track, *serial),
        Fact::Released { level, container, children, again, .. } => {
            released(lowering, scene, (*level, *container), children, *again)
        }
        Fact::UnitWithdrawn { serial, withdrawal, .. } => withdrawn(lowering, scene, *serial, *withdrawal),
        Fact::ContainerReopened { level, container, told: true, children, .. } => {
            reopened(lowering, scene, (*level, *container), children)
        }
        Fact::ContainerDissolved { level, container, told: true, .. } => {
            let parent = scene.container(*container);
            let place = lowering.place_of_level(*level);
            let event = epcis::withdrawal(clock(lowering, scene), &place, &parent, Withdrawn::Decommissioned);
            vec![epcis_message(event, &parent)]
        }
        Fact::ContainerReopened { .. } | Fact::ContainerDissolved { .. } | Fact::LabelVoided { .. } => Vec::new(),
        Fact::BatchClosed { opened_seq, counts } => batch_closed(scene, *opened_seq, **counts, body),
        Fact::LineStarted { .. }
        | Fact::LineStopped
        | Fact::LineDescribed { .. }
        | Fact::StoreRestored { .. }
        | Fact::SerialsDeclared { .. }
        | Fact::SerialsRetired { .. }
        | Fact::StationJoined { .. }
        | Fact::StationLost { .. }
        | Fact::StationFaulted { .. }
        | Fact::AlarmRaised { .. }
        | Fact::AlarmAcknowledged { .. }
        | Fact::BatchLoaded { .. }
        | Fact::BatchStarted { .. }
        | Fact::BatchStopped { .. }
        | Fact::LineCleared { .. }
        | Fact::BatchPurgeStarted
        | Fact::BatchPurged { .. }
        | Fact::BatchHeld { .. }
        | Fact::BatchResumed { .. }
        | Fact::BatchAborted { .. }
        | Fact::BatchReopened { .. }
        | Fact::BatchCloseRefused { .. }
        | Fact::SerialsAllocated { .. }
        | Fact::SerialsEncoded { .. }
        | Fact::SerialsInvalidated { .. }
        | Fact::Verified { .. }
        | Fact::Failed { .. }
        | Fact::Missed { .. }
        | Fact::PassExpired { .. }
        | Fact::RejectConfirmed { .. }
        | Fact::RejectInferred { .. }
        | Fact::RejectMissing { .. }
        | Fact::UnexpectedPass { .. }
        | Fact::UnitRemoved { .. }
        | Fact::RecipeFound { .. }
        | Fact::BufferDoubted { .. }
        | Fact::PictureStored { .. }
        | Fact::PicturesRemoved { .. }
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
        | Fact::PhantomReject { .. }
        | Fact::EndsMissed { .. }
        | Fact::Packed { .. }
        | Fact::CloseGranted { .. }
        | Fact::CloseRefused { .. }
        | Fact::PermitAcked { .. }
        | Fact::Closed { .. }
        | Fact::CloseFailed { .. }
        | Fact::CloseUnresolved { .. }
        | Fact::GateForced { .. }
        | Fact::ClockFound { .. }
        | Fact::ClockStepped { .. }
        | Fact::LinePaused { .. }
        | Fact::MessagesExpired { .. }
        | Fact::KeyAnnounced { .. }
        | Fact::EpochRaised { .. } => Vec::new(),
    }
}

fn commissioned(lowering: &Lowering, scene: &Scene<'_>, track: &TrackKey, serial: SerialNumber) -> Vec<Message> {
    let (Some(sheet), Some(unit)) = (scene.sheet, scene.unit(serial)) else {
        return Vec::new();
    };
    let expiry = sheet.expiry.to_iso_date();
    let ilmd = Ilmd { lot: sheet.lot.as_str(), expiry: expiry.as_str() };
    let place = lowering.place_of_station(&track.station);
    let clock = clock(lowering, scene);
    let event = epcis::commissioning(clock, &place, std::slice::from_ref(&unit), Some(ilmd));
    vec![epcis_message(event, &unit)]
}

fn released(
    lowering: &Lowering,
    scene: &Scene<'_>,
    (level, container): (PackLevel, Sscc),
    children: &[Child],
    again: Option<Again>,
) -> Vec<Message> {
    let parent = scene.container(container);
    let place: EventPlace = lowering.place_of_level(level);
    let clock = clock(lowering, scene);
    let mut messages = Vec::new();
    if again.is_none() {
        let label = epcis::commissioning(clock, &place, std::slice::from_ref(&parent), None);
        messages.push(epcis_message(label, &parent));
    }
    let children: Vec<String> = children.iter().filter_map(|child| scene.child(child)).collect();
    if !children.is_empty() && again != Some(Again::Relabelled) {
        let packed = epcis::packing(clock, &place, &parent, &children);
        messages.push(epcis_message(packed, &parent));
    }
    messages
}

/// A label that never became a product has no event: it was never told of.
fn withdrawn(lowering: &Lowering, scene: &Scene<'_>, serial: SerialNumber, withdrawal: Withdrawal) -> Vec<Message> {
    let what = match withdrawal {
        Withdrawal::LabelSampled | Withdrawal::LabelScrapped => return Vec::new(),
        Withdrawal::Sampled => Withdrawn::Sampled,
        Withdrawal::Inactive => Withdrawn::Decommissioned,
        Withdrawal::Destroyed => Withdrawn::Destroyed,
    };
    let Some(unit) = scene.unit(serial) else { return Vec::new() };
    let event = epcis::withdrawal(clock(lowering, scene), &lowering.place(None), &unit, what);
    vec![epcis_message(event, &unit)]
}

/// Until it is closed again nobody knows what is in it, and nothing is said to be.
fn reopened(
    lowering: &Lowering,
    scene: &Scene<'_>,
    (level, container): (PackLevel, Sscc),
    children: &[Child],
) -> Vec<Message> {
    let parent = scene.container(container);
    let children: Vec<String> = children.iter().filter_map(|child| scene.child(child)).collect();
    if children.is_empty() {
        return Vec::new();
    }
    let event = epcis::unpacking(clock(lowering, scene), &lowering.place_of_level(level), &parent, &children);
    vec![epcis_message(event, &parent)]
}

fn batch_closed(scene: &Scene<'_>, first_seq: u64, counts: Counts, body: &str) -> Vec<Message> {
    let Some(sheet) = scene.sheet else {
        return Vec::new();
    };
    let summary = BatchClosed {
        batch: scene.batch.clone(),
        gtin: sheet.gtin.as_str().to_owned(),
        lot: sheet.lot.as_str().to_owned(),
        expiry: sheet.expiry.to_iso_date().as_str().to_owned(),
        first_seq,
        last_seq: scene.entry.seq,
        counts: counts.into(),
        digest: digest::sha256_hex(body.as_bytes()),
    };
    vec![Message {
        stream: topic::STREAM_BATCH,
        topic: topic::BATCH_CLOSED.to_owned(),
        kind: "sealgate.batch.closed",
        subject: scene.batch.clone(),
        body: topic::payload(&summary),
    }]
}

fn clock(lowering: &Lowering, scene: &Scene<'_>) -> EventClock {
    EventClock { at_us: scene.stamp.at_us, offset_minutes: lowering.line.offset_minutes }
}

fn epcis_message(event: Event, subject: &str) -> Message {
    Message {
        stream: topic::STREAM_EPCIS,
        topic: topic::epcis(event.biz_step),
        kind: match event.biz_step {
            "packing" => "sealgate.epcis.packing",
            "unpacking" => "sealgate.epcis.unpacking",
            "sampling" => "sealgate.epcis.sampling",
            "decommissioning" => "sealgate.epcis.decommissioning",
            "destroying" => "sealgate.epcis.destroying",
            _ => "sealgate.epcis.commissioning",
        },
        subject: subject.to_owned(),
        body: event.body,
    }
}
