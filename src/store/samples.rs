//! Records for the tests of the store: a small line that packs units into cases.

use std::sync::Arc;

use crate::domain::date::Expiry;
use crate::domain::epc;
use crate::domain::gs1::{GcpLength, Gtin, Lot, SerialNumber};
use crate::domain::text::Text;
use crate::store::commit::Job;
use crate::wire::record::{
    BatchSheet, Change, FactRow, Gone, InspectionRow, Message, MessageNumber, Order, PackSpec, PermitRow, Record,
    SsccRange,
};

pub(crate) const GTIN: &str = "09506000134352";
pub(crate) const CASE: &str = "095060001343520000";

pub(super) fn order(batch: &str, serials: &[&str]) -> Arc<Order> {
    let sheet = BatchSheet {
        batch: Text::new(batch).expect("short"),
        gtin: Gtin::new(GTIN).expect("valid"),
        lot: Lot::new("L7").expect("valid"),
        expiry: Expiry::new(2027, 3, 0).expect("valid"),
        gcp_length: GcpLength::new(7).expect("valid"),
        pack: PackSpec { case_capacity: 2, pallet_capacity: 0 },
        sscc: SsccRange { extension: 0, prefix: Text::new("9506000").expect("short"), first: 1, last: 1000 },
        recipes: Vec::new(),
    };
    let serials = serials.iter().map(|serial| SerialNumber::new(serial).expect("valid")).collect();
    Arc::new(Order { sheet, serials, serials_sha256: Text::new(&"0".repeat(64)).expect("short") })
}

pub(super) fn prefix() -> String {
    epc::sgtin_prefix(Gtin::new(GTIN).expect("valid"), GcpLength::new(7).expect("valid"))
}

/// A record of a batch `B1` with the number `seq`.
pub(super) fn record(seq: u64, kind: &'static str, changes: Vec<Change>) -> Record {
    let row = FactRow {
        seq,
        at_us: 1_795_000_000_000_000 + i64::try_from(seq).expect("small"),
        mono_us: seq * 1_000,
        boot: 1,
        kind,
        version: 1,
        batch: Some("B1".into()),
        actor: "line".into(),
        subject: String::new(),
        body: format!("{{\"station\":\"{kind}\",\"epoch\":1,\"seq\":{seq}}}"),
    };
    Record { row, changes, messages: Vec::new() }
}

pub(super) fn about(mut record: Record, subject: impl Into<String>) -> Record {
    record.row.subject = subject.into();
    record
}

pub(super) fn with_message(mut record: Record, stream: &'static str, body: &str) -> Record {
    record.messages.push(Message {
        stream,
        topic: format!("_{stream}/x"),
        kind: "sealgate.x",
        subject: String::new(),
        body: body.as_bytes().to_vec(),
    });
    record
}

pub(super) fn loaded(seq: u64, batch: &str, serials: &[&str]) -> Record {
    let change = Change::BatchInserted { order: order(batch, serials), epc_prefix: prefix() };
    let mut record = about(record(seq, "batch_loaded", vec![change]), batch);
    record.row.batch = Some(batch.into());
    record
}

pub(super) fn inspection(verdict: &'static str, serial: Option<&str>) -> Change {
    Change::Inspection(InspectionRow {
        batch: Some("B1".into()),
        station: "camera".into(),
        epoch: 1,
        result_seq: Some(5),
        track: Some(9),
        verdict,
        serial: serial.map(str::to_owned),
    })
}

pub(super) fn serial_state(serial: &str, state: &'static str) -> Change {
    Change::SerialState { batch: "B1".into(), serial: serial.into(), state }
}

pub(super) fn verified(seq: u64, serial: &str) -> Record {
    let flag = Change::SerialVerified { batch: "B1".into(), serial: serial.into() };
    let subject = format!("{}{}", prefix(), epc::escape(serial));
    about(record(seq, "verified", vec![inspection("pass", Some(serial)), flag]), subject)
}

pub(super) fn commissioned(seq: u64, serial: &str) -> Record {
    let subject = format!("{}{}", prefix(), epc::escape(serial));
    let made = about(record(seq, "commissioned", vec![serial_state(serial, "commissioned")]), subject);
    with_message(made, "epcis", &format!("{{\"epc\":\"{serial}\"}}"))
}

pub(super) fn container(seq: u64, container: &str) -> Record {
    let inserted =
        Change::ContainerInserted { container: container.into(), level: "case", batch: "B1".into(), capacity: 2 };
    let uri = format!("urn:epc:id:sscc:9506000.0{}", &container[8..17]);
    about(record(seq, "container_opened", vec![inserted]), uri)
}

pub(super) fn packed(seq: u64, parent: &str, units: &[&str]) -> Record {
    let added = Change::MembersAdded {
        parent: parent.into(),
        batch: "B1".into(),
        units: units.iter().map(|unit| (*unit).to_owned()).collect(),
        containers: Vec::new(),
    };
    record(seq, "packed", vec![added])
}

pub(super) fn granted(seq: u64, container: &str, token: u32) -> Record {
    let permit = PermitRow {
        token,
        container: container.into(),
        gate: "seal",
        station: "packer".into(),
        epoch: 1,
        request_seq: 3,
    };
    let state = Change::ContainerState { container: container.into(), state: "granted" };
    record(seq, "close_granted", vec![Change::PermitInserted(permit), state])
}

/// One case from the load to the release, over every table.
pub(crate) fn story() -> Vec<Record> {
    let odd = "a+b/c%\"&<>?";
    let cursor = Change::StationCursor { station: "camera".into(), device_epoch: 7, epoch: 1 };
    let range = |before, state| Change::SerialRange { batch: "B1".into(), first_index: 0, count: 3, before, state };
    let alarm = Change::AlarmInserted {
        alarm: 1,
        kind: "reject_missing",
        station: Some("rejector".into()),
        detail: "track 11".into(),
    };
    let tracked = Change::InspectionTracked { inspection: 13, track: 11 };
    let mut first = record(1, "line_started", vec![]);
    first.row.batch = None;
    vec![
        first,
        about(record(2, "station_joined", vec![cursor]), "camera"),
        loaded(3, "B1", &["Z9", odd, "A1", "M5"]),
        record(4, "batch_started", vec![Change::BatchState { batch: "B1".into(), state: "running" }]),
        record(5, "serials_allocated", vec![range("unallocated", "allocated")]),
        record(6, "serials_encoded", vec![range("allocated", "encoded")]),
        verified(7, odd),
        commissioned(8, odd),
        verified(9, "Z9"),
        commissioned(10, "Z9"),
        record(
            11,
            "failed",
            vec![
                inspection("fail", Some("A1")),
                Change::RejectCommanded { inspection: 11 },
                serial_state("A1", "label_scrapped"),
            ],
        ),
        record(12, "reject_confirmed", vec![Change::RejectConfirmed { inspection: 11 }]),
        record(13, "missed", vec![inspection("missed", None), Change::RejectCommanded { inspection: 13 }]),
        about(record(14, "alarm_raised", vec![Change::RejectAlarmed { inspection: 13 }, tracked, alarm]), "1"),
        container(15, CASE),
        packed(16, CASE, &[odd, "Z9"]),
        granted(17, CASE, 41),
        record(18, "permit_acked", vec![Change::PermitState { token: 41, state: "acked" }]),
        with_message(
            record(19, "closed", vec![Change::ContainerState { container: CASE.into(), state: "closed" }]),
            "epcis",
            "{\"parent\":1}",
        ),
        record(20, "released", vec![Change::ContainerState { container: CASE.into(), state: "released" }]),
        about(record(21, "~odd kind of subject", vec![Change::AlarmAcknowledged { alarm: 1 }]), "~tilde"),
    ]
}

/// Messages of the stream `epcis` that were let go.
pub(super) fn gone(through: u64, kept: &[u64]) -> Gone {
    let at = |seq| MessageNumber { stream: Text::new("epcis").expect("short"), seq };
    Gone { through: vec![at(through)], kept: kept.iter().map(|seq| at(*seq)).collect() }
}

pub(super) fn expired(seq: u64, gone: Gone) -> Record {
    let body = |list: &[MessageNumber]| {
        let one = |at: &MessageNumber| format!("{{\"stream\":\"{}\",\"seq\":{}}}", at.stream, at.seq);
        list.iter().map(one).collect::<Vec<_>>().join(",")
    };
    let text = format!("{{\"through\":[{}],\"kept\":[{}]}}", body(&gone.through), body(&gone.kept));
    let mut record = record(seq, "messages_expired", vec![Change::MessagesExpired(gone)]);
    (record.row.batch, record.row.body) = (None, text);
    record
}

pub(crate) fn job(records: Vec<Record>) -> Job {
    Job { records, work: Vec::new() }
}
