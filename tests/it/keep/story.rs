//! A small line's record with a row in every table: two batches, one of them closed, a case on a pallet, a reject, alarms.

use std::path::Path;
use std::sync::Arc;

use sealgate::domain::gs1::{Expiry, GcpLength, Gtin, Lot, SerialNumber, Sscc};
use sealgate::domain::pack::{Gate, PackLevel};
use sealgate::domain::tag::StationKind;
use sealgate::domain::text::{BatchId, Name, Text};
use sealgate::domain::time::ClockState;
use sealgate::engine::fact::{Child, Counts, Entry, Fact, Gone, InvalidCause, RequestKey, ResultKey, TrackKey};
use sealgate::engine::input::{BatchSheet, LostCause, Order, PackSpec, SsccRange};
use sealgate::engine::people::{Door, Phc, Role, Roles};
use sealgate::engine::reason::{AlarmKind, FailReason};
use sealgate::engine::signing::{Meaning, Signable, Signature, record};
use sealgate::store::commit::Job;
use sealgate::store::{Settings, Store, Work, open};
use sealgate::wire::digest::sha256_hex;
use sealgate::wire::lower::{LineIdentity, Lowering, Stamp};
use sealgate::wire::order::serials_sha256;

pub(super) const LINE: &str = "site/line";

/// Entries with the orders that their loads refer to.
pub(super) struct Story {
    entries: Vec<(Entry, Option<Arc<Order>>)>,
    batch: Option<BatchId>,
}

pub(super) fn order(batch: &str, serials: &[&str], first: u64) -> Arc<Order> {
    let sheet = BatchSheet {
        batch: Text::new(batch).unwrap(),
        gtin: Gtin::new("09506000134352").unwrap(),
        lot: Lot::new("L7").unwrap(),
        expiry: Expiry::new(2047, 3, 0).unwrap(),
        gcp_length: GcpLength::new(7).unwrap(),
        pack: PackSpec { case_capacity: 2, pallet_capacity: 1 },
        sscc: SsccRange { extension: 0, prefix: Text::new("9506000").unwrap(), first, last: first + 99 },
        recipes: Vec::new(),
    };
    let serials: Vec<SerialNumber> = serials.iter().map(|text| serial(text)).collect();
    let serials_sha256 = serials_sha256(&serials);
    Arc::new(Order { sheet, serials, serials_sha256 })
}

fn serial(text: &str) -> SerialNumber {
    SerialNumber::new(text).unwrap()
}

fn name(text: &str) -> Name {
    Text::new(text).unwrap()
}

fn track(track: u64, inspection: u64) -> TrackKey {
    TrackKey { station: name("blade"), epoch: 1, track, inspection: Some(inspection) }
}

fn result(seq: u64) -> ResultKey {
    ResultKey { station: name("camera"), epoch: 1, seq: Some(seq), track: Some(seq) }
}

impl Story {
    pub(super) fn new() -> Self {
        Self { entries: Vec::new(), batch: None }
    }

    pub(super) fn add(&mut self, fact: Fact) -> u64 {
        self.add_with(fact, None)
    }

    fn add_with(&mut self, fact: Fact, order: Option<Arc<Order>>) -> u64 {
        let seq = self.entries.len() as u64 + 1;
        self.entries.push((Entry { seq, batch: self.batch, actor: Text::new("line").unwrap(), fact }, order));
        seq
    }

    pub(super) fn start(&mut self) {
        let (version, config_sha256) = (Text::new("0.1.0").unwrap(), Text::new(&"5a".repeat(32)).unwrap());
        self.add(Fact::LineStarted { version, config_sha256, clean: true });
        self.add(Fact::LineDescribed { description: Box::new(lowering().description()) });
        let kinds = [
            ("printer", StationKind::Printer),
            ("camera", StationKind::Camera),
            ("blade", StationKind::Rejector),
            ("packer", StationKind::Packer),
        ];
        for (station, kind) in kinds {
            self.add(Fact::StationJoined { station: name(station), kind, device_epoch: 7, epoch: 1, reset: true });
        }
    }

    pub(super) fn load(&mut self, order: &Arc<Order>) {
        let before = self.batch.replace(order.sheet.batch);
        let fact = Fact::BatchLoaded {
            sheet: order.sheet.clone(),
            serial_count: order.serials.len() as u32,
            serials_sha256: order.serials_sha256,
        };
        self.add_with(fact, Some(Arc::clone(order)));
        self.batch = before;
    }

    fn unit(&mut self, seq: u64, text: &str) {
        let inspection =
            self.add(Fact::Verified { result: result(seq), serial: serial(text), grade_milli: Some(3500) });
        self.add(Fact::Commissioned { track: track(seq, inspection), serial: serial(text) });
    }

    fn container(&mut self, (level, reference): (PackLevel, u64), children: &[Child], token: u32) {
        let container = Sscc::build(0, "9506000", reference).unwrap();
        let (seal, release) = (Gate::Seal, Gate::Release);
        let key = |seq| RequestKey { station: name("packer"), epoch: 1, seq, container: reference };
        let children = children.to_vec();
        self.add(Fact::Packed { request: key(token.into()), level, container, children: children.clone() });
        self.add(Fact::CloseGranted { request: key(token.into()), gate: seal, container, token, ttl_ms: 2000 });
        self.add(Fact::PermitAcked { container, token });
        self.add(Fact::Closed { level, container, token, children: children.clone() });
        let token = token + 1;
        self.add(Fact::CloseGranted { request: key(token.into()), gate: release, container, token, ttl_ms: 2000 });
        self.add(Fact::Released { level, container, token, children });
    }

    /// A batch from its load to its close.
    fn batch(&mut self, order: &Arc<Order>) {
        self.load(order);
        self.batch = Some(order.sheet.batch);
        self.add(Fact::BatchStarted { bin: Some(0), track: Some(0) });
        let (station, serials) = (name("printer"), order.serials.clone());
        self.add(Fact::SerialsAllocated { station, epoch: 1, from_seq: 1, first_index: 0, serials: serials.clone() });
        let printed = serials[..4].to_vec();
        self.add(Fact::SerialsEncoded { station, epoch: 1, from_seq: 1, first_index: 0, serials: printed });
        self.unit(1, "A1");
        self.unit(2, "'OR'1'='1'--");
        let reasons = vec![FailReason::LowGrade];
        let code = b"]d2".to_vec();
        let failed =
            Fact::Failed { result: result(3), serial: Some(serial("A3")), reasons, code, grade_milli: Some(900) };
        let inspection = self.add(failed);
        self.add(Fact::RejectConfirmed { track: track(3, inspection), serial: Some(serial("A3")) });
        let inspection = self.add(Fact::Missed { result: result(4) });
        self.add(Fact::RejectMissing { track: track(4, inspection) });
        let detail = "track 4".to_owned();
        let station = Some(name("blade"));
        self.add(Fact::AlarmRaised { alarm: 1, kind: AlarmKind::RejectMissing, station, detail: detail.clone() });
        self.add(Fact::AlarmAcknowledged { alarm: 1 });
        self.add(Fact::AlarmRaised { alarm: 2, kind: AlarmKind::BinFull, station: None, detail });
        let units = [Child::Unit(serial("A1")), Child::Unit(serial("'OR'1'='1'--"))];
        let first = order.sheet.sscc.first;
        self.container((PackLevel::Case, first), &units, 41);
        let case = Child::Container(Sscc::build(0, "9506000", first).unwrap());
        self.container((PackLevel::Pallet, first + 1), &[case], 43);
        self.add(Fact::SerialsInvalidated {
            station: name("printer"),
            cause: InvalidCause::BatchStopped,
            first_index: 4,
            serials: serials[4..].to_vec(),
        });
        self.add(Fact::BatchStopped { bin: Some(1) });
        self.add(Fact::BatchClosed { opened_seq: 7, counts: Box::new(Counts::default()) });
        self.batch = None;
    }

    /// One who left and one who is locked out.
    fn people(&mut self) {
        let (anna, paul) = (Text::new("anna").unwrap(), Text::new("paul").unwrap());
        let roles: Roles = [Role::Admin].into_iter().collect();
        let phc = Phc::new("$argon2id$v=19$m=47104,t=1,p=1$AAAA$BBBB").unwrap();
        for user in [anna, paul] {
            self.add(Fact::UserAdded { user, full_name: Text::new("A person").unwrap(), roles });
            self.add(Fact::CredentialSet { user, phc, must_change: user == paul });
        }
        let reason = "left".to_owned();
        self.add(Fact::UserChanged {
            user: anna,
            roles_before: roles,
            roles,
            was_enabled: true,
            is_enabled: false,
            reason,
        });
        self.add(Fact::LoginFailed { user: Some(paul), door: Door::Local, failures: 5 });
        self.add(Fact::LoginLocked { user: paul, lock_s: 900 });
        let signature = Signature {
            user: paul,
            full_name: Text::new("A person").unwrap(),
            meaning: Meaning::Performed,
            action: Signable::VarianceClose,
            subject_hash: Text::new(&"a1".repeat(32)).unwrap(),
            challenge: Text::new(&"c2".repeat(32)).unwrap(),
            offset_minutes: 60,
            clock: ClockState::Synchronised,
        };
        // For the batch that is still open.
        let before = self.batch.replace(Text::new("B2").unwrap());
        self.add(Fact::Signed { signature: Box::new(signature.clone()) });
        self.batch = None;
        let config_sha256 = Text::new(&"5a".repeat(32)).unwrap();
        let approved = Fact::ConfigApproved { config_sha256, before: None };
        let subject_hash = Text::new(&sha256_hex(record(None, &approved).unwrap().as_bytes())).unwrap();
        let challenge = Text::new(&"c3".repeat(32)).unwrap();
        let action = Signable::ConfigApproval;
        let signature = Signature { action, subject_hash, challenge, ..signature };
        self.add(Fact::Signed { signature: Box::new(signature) });
        self.add(approved);
        self.batch = before;
    }

    /// Everything above, and a second batch that is still open.
    pub(super) fn whole() -> Self {
        let mut story = Self::new();
        story.start();
        story.batch(&order("B1", &["A1", "'OR'1'='1'--", "A3", "A4", "A5", "A6"], 1));
        story.load(&order("B2", &["C1", "C2", "C3"], 500));
        story.add(Fact::StationLost { station: name("camera"), cause: LostCause::Heartbeat });
        story
    }

    /// The same, and of its messages the oldest are gone: the broker took them; one waits in quarantine.
    pub(super) fn let_go() -> Self {
        let mut story = Self::whole();
        let mut gone = Gone::default();
        gone.raise("epcis", 4);
        gone.keep("epcis", 2);
        story.people();
        story.add(Fact::MessagesExpired { gone });
        story.add(Fact::StationLost { station: name("blade"), cause: LostCause::Heartbeat });
        story
    }

    /// Commits the entries from `from` on to the journal at `path`, some at a time.
    pub(super) fn commit(&self, path: &Path, from: u64) {
        drop(self.commit_and_hold(path, from));
    }

    /// The same, by a run that goes on.
    pub(super) fn commit_and_hold(&self, path: &Path, from: u64) -> Store {
        let mut store = open(&Settings::new(path, LINE)).unwrap();
        let sheets: Vec<BatchSheet> =
            self.entries.iter().filter_map(|(_, order)| order.as_ref().map(|order| order.sheet.clone())).collect();
        let (lowering, boot) = (lowering(), store.boot());
        let records = self.entries.iter().filter(|(entry, _)| entry.seq >= from).map(|(entry, order)| {
            let sheet = sheets.iter().find(|sheet| Some(sheet.batch) == entry.batch);
            let at_us = 1_795_000_000_000_000 + i64::try_from(entry.seq).unwrap();
            lowering.record(entry, sheet, order.as_ref(), Stamp { at_us, mono_us: entry.seq * 1000, boot })
        });
        let records: Vec<_> = records.collect();
        for group in records.chunks(7) {
            if group.iter().any(|record| record.row.kind == "messages_expired") {
                let excepted = Work::FeedExcepted { stream: "epcis", seq: 2, cause: "too large".to_owned() };
                let work = vec![Work::FeedAcked { through: store.head().0 }, excepted];
                store.commit(&Job { records: Vec::new(), work }, || 0).unwrap();
            }
            store.commit(&Job { records: group.to_vec(), work: Vec::new() }, || 0).unwrap();
        }
        store
    }
}

pub(super) fn lowering() -> Lowering {
    let at = |text: &str| format!("urn:epc:id:sgln:9506000.12345.{text}");
    Lowering::new(LineIdentity {
        line: LINE.to_owned(),
        source: "urn:site:line".to_owned(),
        read_points: [(name("blade"), at("blade"))].into(),
        container_read_points: [(PackLevel::Case, at("case")), (PackLevel::Pallet, at("pallet"))].into(),
        biz_location: at("0"),
        offset_minutes: 60,
    })
}
