//! A fact becomes a record: its journal row, the changes of the state tables, the messages it causes.
//!
//! Contract: a pure function of the entry, its batch and the stamp; the same entry gives the same record. One exhaustive match
//! each for the subject, the changes and the messages. Inspections are named by the sequence number of their fact.

mod change;
mod message;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::epc;
use crate::domain::gs1::{SerialNumber, Sscc};
use crate::domain::pack::PackLevel;
use crate::domain::text::{Name, Text};
use crate::engine::fact::{Child, Description, Entry, Fact, ReadPoint};
use crate::engine::input::{BatchSheet, Order};
use crate::engine::reason::FailReason;
use crate::wire::epcis::EventPlace;
use crate::wire::fact;
use crate::wire::record::{FactRow, Record};

/// What a line is called and where it stands, from its config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineIdentity {
    /// The name of the line, as in message ids.
    pub line: String,
    /// CloudEvents `source`, a URI.
    pub source: String,
    /// EPCIS read point of each station; one that is absent is read at `biz_location`.
    pub read_points: BTreeMap<Name, String>,
    /// EPCIS read point where containers of a level are labelled.
    pub container_read_points: BTreeMap<PackLevel, String>,
    pub biz_location: String,
    /// Local time at the line, minutes east of UTC.
    pub offset_minutes: i16,
}

/// When a fact was decided, on both clocks, and in which run of the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    pub at_us: i64,
    pub mono_us: u64,
    pub boot: u32,
}

impl LineIdentity {
    /// Takes the places of a description; `None` where a level or an offset in it is none of ours.
    pub fn placed(self, description: &Description) -> Option<Self> {
        let read_points = description.stations.iter().map(|at| (at.of, at.read_point.clone())).collect();
        let level = |at: &ReadPoint| Some((PackLevel::parse(at.of.as_str())?, at.read_point.clone()));
        Some(Self {
            read_points,
            container_read_points: description.levels.iter().map(level).collect::<Option<_>>()?,
            biz_location: description.biz_location.clone(),
            offset_minutes: i16::try_from(description.offset_minutes).ok()?,
            ..self
        })
    }
}

#[derive(Clone, Debug)]
pub struct Lowering {
    pub line: LineIdentity,
}

/// One entry with all that is known about it while it is lowered.
struct Scene<'a> {
    entry: &'a Entry,
    sheet: Option<&'a BatchSheet>,
    order: Option<&'a Arc<Order>>,
    stamp: Stamp,
    batch: String,
}

impl Lowering {
    pub fn new(line: LineIdentity) -> Self {
        Self { line }
    }

    /// The places that the messages name, for a fact: who has the facts can make the messages again.
    pub fn description(&self) -> Description {
        let at = |(of, read_point): (Name, &String)| ReadPoint { of, read_point: read_point.clone() };
        let levels = self.line.container_read_points.iter();
        Description {
            biz_location: self.line.biz_location.clone(),
            offset_minutes: i64::from(self.line.offset_minutes),
            stations: self.line.read_points.iter().map(|(name, uri)| at((*name, uri))).collect(),
            levels: levels.filter_map(|(level, uri)| Some(at((Name::new(level.name())?, uri)))).collect(),
        }
    }

    /// `sheet` is the batch of the entry, wherever it has one; `order` is needed for `BatchLoaded` alone.
    pub fn record(
        &self,
        entry: &Entry,
        sheet: Option<&BatchSheet>,
        order: Option<&Arc<Order>>,
        stamp: Stamp,
    ) -> Record {
        let scene = Scene {
            entry,
            sheet: sheet.or(entry.fact.opens()),
            order,
            stamp,
            batch: entry.batch.as_ref().map(owned).unwrap_or_default(),
        };
        let row = scene.row();
        let messages = message::messages(self, &scene, &row.body);
        Record { changes: change::changes(&scene), messages, row }
    }

    fn place_of_station(&self, station: &Name) -> EventPlace {
        self.place(self.line.read_points.get(station))
    }

    fn place_of_level(&self, level: PackLevel) -> EventPlace {
        self.place(self.line.container_read_points.get(&level))
    }

    fn place(&self, read_point: Option<&String>) -> EventPlace {
        EventPlace {
            read_point: read_point.unwrap_or(&self.line.biz_location).clone(),
            biz_location: Some(self.line.biz_location.clone()),
        }
    }
}

impl Scene<'_> {
    fn row(&self) -> FactRow {
        let encoded = fact::encode(&self.entry.fact);
        FactRow {
            seq: self.entry.seq,
            at_us: self.stamp.at_us,
            mono_us: self.stamp.mono_us,
            boot: self.stamp.boot,
            kind: encoded.kind,
            version: encoded.version,
            batch: self.entry.batch.as_ref().map(owned),
            actor: owned(&self.entry.actor),
            subject: self.subject(),
            body: encoded.body,
        }
    }

    /// What the fact is about: the unit or container where there is one, else the batch, the station or the alarm.
    #[allow(clippy::too_many_lines, reason = "one exhaustive match, an arm per kind of fact")]
    fn subject(&self) -> String {
        match &self.entry.fact {
            Fact::LineStarted { .. }
            | Fact::LineStopped
            | Fact::LineDescribed { .. }
            | Fact::StoreRestored { .. }
            | Fact::EpochRaised { .. }
            | Fact::ClockFound { .. }
            | Fact::ClockStepped { .. }
            | Fact::LinePaused { .. }
            | Fact::MessagesExpired { .. }
            | Fact::PicturesRemoved { .. } => String::new(),
            Fact::PictureStored { picture } => format!("inspection:{}", picture.inspection),
            Fact::UserAdded { user, .. }
            | Fact::UserChanged { user, .. }
            | Fact::CredentialSet { user, .. }
            | Fact::LoginLocked { user, .. }
            | Fact::LoginUnlocked { user }
            | Fact::UserRecovered { user, .. }
            | Fact::SignatureRefused { user, .. }
            | Fact::LoginFailed { user: Some(user), .. }
            | Fact::LoggedIn { user, .. }
            | Fact::LoggedOut { user, .. } => ["user:", user.as_str()].concat(),
            Fact::LoginFailed { user: None, .. } => String::new(),
            Fact::ConfigApproved { config_sha256, .. } => ["config:", config_sha256.as_str()].concat(),
            Fact::Signed { signature } => self.signed_for(signature),
            Fact::MessageGivenUp { message, .. } => format!("message:{}/{}", message.stream, message.seq),
            Fact::AuditReviewed { review } => format!("fact:{}", review.to_seq),
            Fact::KeyAnnounced { key } => ["key:", key.key_id.as_str()].concat(),
            Fact::StationJoined { station, .. }
            | Fact::StationLost { station, .. }
            | Fact::StationFaulted { station, .. }
            | Fact::RecipeFound { station, .. }
            | Fact::BufferDoubted { station }
            | Fact::PhantomReject { station, .. }
            | Fact::EndsMissed { station, .. } => owned(station),
            Fact::AlarmRaised { alarm, .. } | Fact::AlarmAcknowledged { alarm } => format!("alarm:{alarm}"),
            Fact::BatchLoaded { .. }
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
            | Fact::BatchClosed { .. }
            | Fact::SerialsAllocated { .. }
            | Fact::SerialsEncoded { .. }
            | Fact::SerialsRetired { .. }
            | Fact::SerialsInvalidated { .. } => self.batch.clone(),
            Fact::SerialsDeclared { gtin, .. } => ["gtin:", gtin.as_str()].concat(),
            Fact::Verified { result, serial, .. } => self.unit_or(Some(serial), &result.station),
            Fact::Failed { result, serial, reasons, .. } => {
                self.unit_or(own_serial(serial.as_ref(), reasons), &result.station)
            }
            Fact::Missed { result } => owned(&result.station),
            Fact::PassExpired { track, serial }
            | Fact::Commissioned { track, serial }
            | Fact::RejectInferred { track, serial } => self.unit_or(Some(serial), &track.station),
            Fact::RejectConfirmed { track, serial } => self.unit_or(serial.as_ref(), &track.station),
            Fact::RejectMissing { track } | Fact::UnexpectedPass { track } | Fact::UnitRemoved { track } => {
                owned(&track.station)
            }
            Fact::Packed { container, .. }
            | Fact::CloseGranted { container, .. }
            | Fact::PermitAcked { container, .. }
            | Fact::Closed { container, .. }
            | Fact::Released { container, .. }
            | Fact::CloseFailed { container, .. }
            | Fact::CloseUnresolved { container, .. }
            | Fact::ContainerReopened { container, .. }
            | Fact::ContainerDissolved { container, .. }
            | Fact::LabelVoided { container, .. } => self.container(*container),
            Fact::UnitWithdrawn { serial, .. } => self.unit(*serial).unwrap_or_default(),
            Fact::CloseRefused { request, container, .. } => self.container_or(*container, &request.station),
            Fact::GateForced { station, container, .. } => self.container_or(*container, station),
        }
    }

    fn unit_or(&self, serial: Option<&SerialNumber>, station: &Name) -> String {
        serial.and_then(|serial| self.unit(*serial)).unwrap_or_else(|| owned(station))
    }

    fn container_or(&self, container: Option<Sscc>, station: &Name) -> String {
        container.map_or_else(|| owned(station), |sscc| self.container(sscc))
    }

    /// `None` without a batch: a serial number alone names no unit.
    fn unit(&self, serial: SerialNumber) -> Option<String> {
        self.sheet.map(|sheet| epc::sgtin_uri(sheet.gtin, serial, sheet.gcp_length))
    }

    fn container(&self, sscc: Sscc) -> String {
        match self.sheet {
            Some(sheet) => epc::sscc_uri(sscc, sheet.gcp_length),
            None => sscc.as_str().to_owned(),
        }
    }

    fn child(&self, child: &Child) -> Option<String> {
        match child {
            Child::Unit(serial) => self.unit(*serial),
            Child::Container(sscc) => Some(self.container(*sscc)),
        }
    }
}

/// The serial number of a failed read, where it names a unit of this batch: under another GTIN, or unknown, it does not.
fn own_serial<'s>(serial: Option<&'s SerialNumber>, reasons: &[FailReason]) -> Option<&'s SerialNumber> {
    let foreign = [FailReason::WrongGtin, FailReason::UnknownSerial, FailReason::NoBatch];
    serial.filter(|_| !foreign.iter().any(|reason| reasons.contains(reason)))
}

fn owned<const N: usize>(text: &Text<N>) -> String {
    text.as_str().to_owned()
}
