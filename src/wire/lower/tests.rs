//! Every kind of fact is lowered; what the units of a good day and of a bad one leave behind.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::domain::pack::Gate;
use crate::engine::fact::{InvalidCause, TrackKey};
use crate::engine::hands::Withdrawal;
use crate::engine::input::CloseEnd;
use crate::wire::fact::{sample, strategy};
use crate::wire::record::{Change, Message};

const STAMP: Stamp = Stamp { at_us: 1_795_342_530_123_456, mono_us: 5, boot: 2 };

fn lowering() -> Lowering {
    let read_points = [(sample::name("rejector"), "urn:epc:id:sgln:030001.111111.gate".to_owned())];
    let container_read_points = [(PackLevel::Case, "urn:epc:id:sgln:030001.111111.packer".to_owned())];
    Lowering::new(LineIdentity {
        line: "line4".to_owned(),
        source: "urn:sealgate:line4".to_owned(),
        read_points: read_points.into(),
        container_read_points: container_read_points.into(),
        biz_location: "urn:epc:id:sgln:030001.111111.0".to_owned(),
        offset_minutes: -300,
    })
}

fn entry(fact: Fact) -> Entry {
    let (batch, actor) = (Some(sample::sheet().batch), Text::new("line").expect("short"));
    Entry { seq: 1_234_567, batch, actor, fact }
}

fn record(fact: Fact) -> Record {
    lowering().record(&entry(fact), Some(&sample::sheet()), None, STAMP)
}

fn unit() -> SerialNumber {
    sample::serial("0123456789ABCD")
}

fn body(message: &Message) -> Value {
    serde_json::from_slice(&message.body).expect("a message is JSON")
}

const UNIT: &str = "urn:epc:id:sgtin:030001.0012345.0123456789ABCD";

#[test]
fn the_row_holds_the_body_and_the_stamp() {
    let fact = Fact::Commissioned { track: sample::track(), serial: unit() };
    let row = record(fact.clone()).row;
    assert_eq!(row.body, fact::encode(&fact).body);
    assert_eq!((row.seq, row.at_us, row.mono_us, row.boot), (1_234_567, STAMP.at_us, 5, 2));
    assert_eq!((row.kind, row.version, row.actor.as_str()), ("commissioned", 1, "line"));
    assert_eq!((row.batch.as_deref(), row.subject.as_str()), (Some("PO-2026-0417"), UNIT));
}

#[test]
fn every_kind_has_its_subject() {
    let subjects: Vec<String> = sample::facts().into_iter().map(|fact| record(fact).row.subject).collect();
    let case = "urn:epc:id:sscc:030001.00000000041";
    let batch = "PO-2026-0417";
    let config = ["config:", &"5a".repeat(32)].concat();
    let expected = [
        vec!["", "", "camera", "camera", "camera", "alarm:4", "alarm:4"],
        vec![batch; 8],
        vec![UNIT, UNIT, "camera", UNIT, UNIT, "rejector", UNIT, "rejector", "rejector", "rejector", "rejector"],
        vec![case, case, "packer", case, case, case, case, case, case],
        vec!["", "", ""],
        vec!["key:1a2b3c4d", ""],
        vec!["", "", "gtin:00300010123455", batch, "camera", "rejector", "printer", "", "inspection:1234567", ""],
        vec!["camera", "camera", batch],
        vec!["user:m.meier"; 8],
        vec![batch, &config, "user:m.meier", "user:m.meier", "fact:1234567"],
        vec![batch; 8],
        vec!["urn:epc:id:sgtin:030001.0012345.a+b%2Fc", "urn:epc:id:sgtin:030001.0012345.A1"],
        vec![case; 5],
        vec![batch, "message:epcis/41", ""],
    ];
    assert_eq!(subjects, expected.concat());
}

#[test]
fn a_commissioned_unit_is_told_in_epcis_with_lot_and_expiry() {
    let record = record(Fact::Commissioned { track: sample::track(), serial: unit() });
    let [message] = &record.messages[..] else { panic!("one message, not {:?}", record.messages) };
    assert_eq!((message.stream, message.topic.as_str()), ("epcis", "_epcis/commissioning"));
    assert_eq!((message.kind, message.subject.as_str()), ("sealgate.epcis.commissioning", UNIT));
    let event = body(message);
    assert_eq!(event["eventTime"], "2026-11-22T10:15:30.123Z");
    assert_eq!(event["eventTimeZoneOffset"], "-05:00");
    assert_eq!(event["epcList"], serde_json::json!([UNIT]));
    assert_eq!(event["readPoint"]["id"], "urn:epc:id:sgln:030001.111111.gate");
    assert_eq!(event["ilmd"]["cbvmda:itemExpirationDate"], "2027-03-31");
    let state = Change::SerialState {
        batch: "PO-2026-0417".to_owned(),
        serial: "0123456789ABCD".to_owned(),
        state: "commissioned",
    };
    assert_eq!(record.changes, [state]);
}

#[test]
fn a_released_container_is_commissioned_before_it_is_packed() {
    let children = vec![Child::Unit(unit()), Child::Container(sample::sscc(2))];
    let record =
        record(Fact::Released { level: PackLevel::Case, container: sample::sscc(41), token: 9, children, again: None });
    let topics: Vec<&str> = record.messages.iter().map(|message| message.topic.as_str()).collect();
    assert_eq!(topics, ["_epcis/commissioning", "_epcis/packing"]);
    let (label, packed) = (body(&record.messages[0]), body(&record.messages[1]));
    assert_eq!(label["epcList"], serde_json::json!(["urn:epc:id:sscc:030001.00000000041"]));
    assert_eq!(label.get("ilmd"), None);
    assert_eq!(packed["parentID"], "urn:epc:id:sscc:030001.00000000041");
    assert_eq!(packed["childEPCs"], serde_json::json!([UNIT, "urn:epc:id:sscc:030001.00000000002"]));
    assert_eq!(packed["readPoint"]["id"], "urn:epc:id:sgln:030001.111111.packer");
}

#[test]
fn a_unit_that_never_passed_has_no_event() {
    for fact in sample::facts() {
        let told = !record(fact.clone()).messages.is_empty();
        let expected = match &fact {
            Fact::Commissioned { .. } | Fact::Released { .. } | Fact::BatchClosed { .. } => true,
            Fact::UnitWithdrawn { withdrawal, .. } => *withdrawal == Withdrawal::Sampled,
            Fact::ContainerReopened { told, .. } | Fact::ContainerDissolved { told, .. } => *told,
            _ => false,
        };
        assert_eq!(told, expected, "{fact:?}");
    }
}

#[test]
fn what_did_not_pass_is_owed_a_reject() {
    let failed = |reasons: &[FailReason]| Fact::Failed {
        result: sample::result(),
        serial: Some(unit()),
        reasons: reasons.to_vec(),
        code: Vec::new(),
        grade_milli: None,
    };
    for (fact, verdict, serial) in [
        (failed(&[FailReason::NoRead]), "no_read", true),
        (failed(&[FailReason::LowGrade]), "fail", true),
        (failed(&[FailReason::NoRead, FailReason::SecondRead]), "fail", true),
        (failed(&[FailReason::WrongGtin]), "fail", false),
        (Fact::Missed { result: sample::result() }, "missed", false),
    ] {
        let record = record(fact);
        let [Change::Inspection(row), Change::RejectCommanded { inspection }] = &record.changes[..] else {
            panic!("an inspection and a reject, not {:?}", record.changes);
        };
        assert_eq!((row.verdict, row.serial.is_some(), *inspection), (verdict, serial, record.row.seq));
        assert_eq!(record.row.subject == UNIT, serial);
    }
}

#[test]
fn a_late_pass_turns_into_a_reject_of_its_inspection() {
    let record = record(Fact::PassExpired { track: sample::track(), serial: unit() });
    let inspection = 1_234_567;
    assert_eq!(record.changes, [Change::InspectionFailed { inspection }, Change::RejectCommanded { inspection }]);
}

#[test]
fn a_confirmed_reject_scraps_its_serial_where_it_is_known() {
    let known = record(Fact::RejectConfirmed { track: sample::track(), serial: Some(unit()) }).changes;
    assert!(matches!(
        &known[..],
        [
            Change::RejectConfirmed { .. },
            Change::InspectionTracked { .. },
            Change::SerialState { state: "label_scrapped", .. }
        ]
    ));
    let untracked = TrackKey { inspection: None, ..sample::track() };
    assert_eq!(record(Fact::RejectConfirmed { track: untracked, serial: None }).changes, []);
    assert_eq!(record(Fact::RejectMissing { track: untracked }).changes, []);
}

#[test]
fn a_failed_close_leaves_the_container_as_before_its_grant() {
    let failed = |gate| Fact::CloseFailed { gate, container: sample::sscc(41), token: 9, result: CloseEnd::Expired };
    let seal = record(failed(Gate::Seal)).changes;
    assert!(matches!(
        &seal[..],
        [
            Change::MembersRemoved { .. },
            Change::ContainerState { state: "open", .. },
            Change::PermitState { token: 9, state: "expired" },
        ]
    ));
    let release = record(failed(Gate::Release)).changes;
    assert!(matches!(&release[..], [Change::ContainerState { state: "closed", .. }, Change::PermitState { .. }]));
}

#[test]
fn serials_change_by_their_place_in_the_order() {
    let serials = vec![unit(), sample::serial("A1")];
    let (station, cause) = (sample::name("printer"), InvalidCause::BufferLost);
    let record = record(Fact::SerialsInvalidated { station, cause, first_index: 4, serials });
    let batch = "PO-2026-0417".to_owned();
    assert_eq!(
        record.changes,
        [Change::SerialRange { batch, first_index: 4, count: 2, before: "allocated", state: "sn_invalid" }]
    );
}

#[test]
fn a_loaded_batch_brings_its_order() {
    let order = Arc::new(Order { sheet: sample::sheet(), serials: vec![unit()], serials_sha256: Text::default() });
    let fact = Fact::BatchLoaded { sheet: order.sheet.clone(), serial_count: 1, serials_sha256: Text::default() };
    let loaded = lowering().record(&entry(fact), None, Some(&order), STAMP);
    let epc_prefix = "urn:epc:id:sgtin:030001.0012345.".to_owned();
    assert_eq!(loaded.changes, [Change::BatchInserted { order, epc_prefix }]);
}

#[test]
fn a_closed_batch_is_summed_up_with_first_and_last_fact() {
    let counts = Box::new(sample::counts());
    let record = record(Fact::BatchClosed { opened_seq: 17, counts });
    let [message] = &record.messages[..] else { panic!("one message, not {:?}", record.messages) };
    assert_eq!((message.stream, message.topic.as_str()), ("batch", "_batch/closed"));
    let summary = body(message);
    assert_eq!((&summary["first_seq"], &summary["last_seq"]), (&17.into(), &1_234_567.into()));
    assert_eq!(summary["counts"]["pallets_released"], 21);
    assert_eq!(summary["digest"], crate::wire::digest::sha256_hex(record.row.body.as_bytes()));
    let (_, schema) = crate::wire::schema::all().into_iter().find(|(name, _)| name == "_batch/closed").expect("known");
    assert!(jsonschema::draft202012::is_valid(&schema, &summary));
}

#[test]
fn epcis_messages_are_as_their_schemas_say() {
    for fact in sample::facts() {
        for message in record(fact).messages {
            let schemas = crate::wire::schema::all();
            let (_, schema) = schemas.iter().find(|(name, _)| *name == message.topic).expect("a schema per topic");
            let event = body(&message);
            assert!(jsonschema::draft202012::is_valid(schema, &event), "{event}");
        }
    }
}

/// The goal of 600 bytes in the journal is for all of a unit; its two own rows are most of it.
#[test]
fn the_rows_of_one_unit_take_no_more_than_330_bytes_of_text() {
    let verified = Fact::Verified { result: sample::result(), serial: unit(), grade_milli: Some(3500) };
    let commissioned = Fact::Commissioned { track: sample::track(), serial: unit() };
    let bytes = |fact| {
        let row = record(fact).row;
        row.kind.len() + row.batch.map_or(0, |batch| batch.len()) + row.actor.len() + row.subject.len() + row.body.len()
    };
    let total = bytes(verified) + bytes(commissioned);
    assert!(total <= 350, "{total} bytes");
}

proptest! {
    #[test]
    fn any_fact_is_lowered_the_same_way_twice(fact in strategy::fact(), with_sheet in any::<bool>()) {
        let sheet = with_sheet.then(sample::sheet);
        let entry = entry(fact);
        let once = lowering().record(&entry, sheet.as_ref(), None, STAMP);
        let twice = lowering().record(&entry, sheet.as_ref(), None, STAMP);
        prop_assert_eq!(once, twice);
    }
}
