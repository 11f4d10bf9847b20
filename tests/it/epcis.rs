//! Our own EPCIS events against the official JSON schema.

use std::fs;

use jsonschema::Validator;
use sealgate::wire::epcis::{
    Event, EventClock, EventPlace, Ilmd, Withdrawn, commissioning, packing, unpacking, withdrawal,
};
use sealgate::wire::event_hash::{Context, event_id};
use serde_json::{Value, json};

use crate::standards;

fn validator() -> Option<Validator> {
    let file = standards::folder()?.join("epcis20/json-schema/epcis-json-schema-2.0.1.json");
    let schema = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let options = jsonschema::options().should_validate_formats(true);
    Some(options.build(&schema).unwrap())
}

const CLOCK: EventClock = EventClock { at_us: 1_795_342_530_123_999, offset_minutes: -300 };

fn place() -> EventPlace {
    EventPlace {
        read_point: "urn:epc:id:sgln:030001.111111.line1".into(),
        biz_location: Some("urn:epc:id:sgln:030001.111111.0".into()),
    }
}

fn unit(serial: &str) -> String {
    format!("urn:epc:id:sgtin:030001.0012345.{serial}")
}

const ILMD: Ilmd<'static> = Ilmd { lot: "A123", expiry: "2028-03-27" };

fn parsed(event: &Event) -> Value {
    serde_json::from_slice(&event.body).unwrap()
}

/// `'OR'1'='1'--`, `../../etc/passwd`, `a+b/c`, `a%b` and `<b>&"` as EPC URIs escape them.
const HOSTILE: [&str; 5] = ["'OR'1'='1'--", "..%2F..%2Fetc%2Fpasswd", "a+b%2Fc", "a%25b", "%3Cb%3E%26%22"];

#[test]
fn our_events_are_valid_as_published() {
    let Some(validator) = validator() else { return };
    let bare = EventPlace { read_point: "https://id.gs1.org/414/0300011111116/254/line1".into(), biz_location: None };
    let case = "urn:epc:id:sscc:030001.41234567890";
    let hostile = HOSTILE.map(unit);
    let ilmd = Ilmd { lot: "'\"<&>%\\", ..ILMD };
    for event in [
        commissioning(CLOCK, &place(), &[unit("11")], Some(ILMD)),
        commissioning(CLOCK, &bare, &[case.into()], None),
        commissioning(CLOCK, &bare, &hostile, Some(ilmd)),
        packing(CLOCK, &place(), case, &hostile),
        unpacking(CLOCK, &place(), case, &hostile),
        withdrawal(CLOCK, &place(), &unit(HOSTILE[0]), Withdrawn::Sampled),
        withdrawal(CLOCK, &bare, &unit("11"), Withdrawn::Decommissioned),
        withdrawal(CLOCK, &place(), &unit("11"), Withdrawn::Destroyed),
    ] {
        let value = parsed(&event);
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}\n{value}");
    }
}

#[test]
fn the_validator_sees_what_is_wrong() {
    let Some(validator) = validator() else { return };
    let folder = standards::folder().unwrap().join("epcis20/examples-json/invalid");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let document = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert!(!validator.is_valid(&document), "{} passes", path.display());
        seen += 1;
    }
    assert!(seen > 0, "no invalid example was read");
    let good = parsed(&packing(CLOCK, &place(), "urn:x:1", &[unit("11")]));
    assert!(validator.is_valid(&good));
    for (field, value) in [
        ("bizStep", json!("made_up")),
        ("eventTime", json!("2026-11-22 10:15:30")),
        ("eventTimeZoneOffset", json!("Z")),
        ("action", json!("add")),
        ("childEPCs", json!(["a b"])),
        ("shift", json!("night")),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        assert!(!validator.is_valid(&bad), "{field}");
    }
}

#[test]
fn a_commissioning_event_has_these_bytes() {
    let event = commissioning(CLOCK, &place(), &[unit("11"), unit("12")], Some(ILMD));
    let expected = concat!(
        r#"{"@context":["https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld",{"cbvmda":"urn:epcglobal:cbv:mda:"}],"#,
        r#""type":"ObjectEvent","eventID":"ni:///sha-256;2ea5ccd270662987becf04ecf565722ae412367e9d2f66ff8519ab38c3f5006d?ver=CBV2.0","#,
        r#""eventTime":"2026-11-22T10:15:30.123Z","eventTimeZoneOffset":"-05:00","#,
        r#""epcList":["urn:epc:id:sgtin:030001.0012345.11","urn:epc:id:sgtin:030001.0012345.12"],"action":"ADD","#,
        r#""bizStep":"commissioning","disposition":"active","readPoint":{"id":"urn:epc:id:sgln:030001.111111.line1"},"#,
        r#""bizLocation":{"id":"urn:epc:id:sgln:030001.111111.0"},"#,
        r#""ilmd":{"cbvmda:lotNumber":"A123","cbvmda:itemExpirationDate":"2028-03-27"}}"#,
    );
    assert_eq!(std::str::from_utf8(&event.body).unwrap(), expected);
    assert_eq!(event.biz_step, "commissioning");
}

/// What leaves production is told by the words of GS1 for it (CBV 2.0), and what lies in an opened case is no more said to.
#[test]
fn a_withdrawal_has_its_action_its_step_and_its_disposition() {
    for (what, words) in [
        (Withdrawn::Sampled, ["OBSERVE", "sampling", "non_sellable_other"]),
        (Withdrawn::Decommissioned, ["DELETE", "decommissioning", "inactive"]),
        (Withdrawn::Destroyed, ["DELETE", "destroying", "destroyed"]),
    ] {
        let event = withdrawal(CLOCK, &place(), &unit("11"), what);
        let value = parsed(&event);
        assert_eq!(["action", "bizStep", "disposition"].map(|key| value[key].clone()), words.map(|word| json!(word)));
        assert_eq!((&value["type"], &value["epcList"]), (&json!("ObjectEvent"), &json!([unit("11")])));
        assert_eq!((event.biz_step, value.get("ilmd")), (words[1], None));
    }
    let value = parsed(&unpacking(CLOCK, &place(), "urn:x:1", &[unit("11")]));
    assert_eq!((&value["type"], &value["action"]), (&json!("AggregationEvent"), &json!("DELETE")));
    assert_eq!((&value["bizStep"], &value["childEPCs"]), (&json!("unpacking"), &json!([unit("11")])));
}

/// As the reference program has it for this event.
const PACKING_ID: &str = "ni:///sha-256;c1b987dae5cdf2df1272f0bcafadfa38ebae0e707ace27342b48695b29292714?ver=CBV2.0";

#[test]
fn a_packing_event_has_these_bytes() {
    let clock = EventClock { at_us: -1, offset_minutes: 330 };
    let place = EventPlace { read_point: "https://example.com/line/1".into(), biz_location: None };
    let event = packing(clock, &place, "urn:epc:id:sscc:030001.41234567890", &[unit("11")]);
    let expected = format!(
        concat!(
            r#"{{"@context":["https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld",{{"cbvmda":"urn:epcglobal:cbv:mda:"}}],"#,
            r#""type":"AggregationEvent","eventID":"{}","eventTime":"1969-12-31T23:59:59.999Z","eventTimeZoneOffset":"+05:30","#,
            r#""parentID":"urn:epc:id:sscc:030001.41234567890","childEPCs":["urn:epc:id:sgtin:030001.0012345.11"],"action":"ADD","#,
            r#""bizStep":"packing","disposition":"in_progress","readPoint":{{"id":"https://example.com/line/1"}}}}"#,
        ),
        PACKING_ID
    );
    assert_eq!(event.id, PACKING_ID);
    assert_eq!(std::str::from_utf8(&event.body).unwrap(), expected);
    assert_eq!(event.biz_step, "packing");
}

#[test]
fn the_id_in_the_bytes_is_the_hash_of_the_bytes() {
    for event in [
        commissioning(CLOCK, &place(), &HOSTILE.map(unit), Some(ILMD)),
        packing(CLOCK, &place(), "urn:x:1", &HOSTILE.map(unit)),
        unpacking(CLOCK, &place(), "urn:x:1", &HOSTILE.map(unit)),
        withdrawal(CLOCK, &place(), &unit(HOSTILE[1]), Withdrawn::Destroyed),
    ] {
        let value = parsed(&event);
        assert_eq!(value["eventID"], json!(event.id));
        assert_eq!(event_id(&value, &Context::default()).unwrap(), event.id);
    }
}

#[test]
fn hostile_serials_stay_apart_from_each_other() {
    let ids = HOSTILE.map(|serial| commissioning(CLOCK, &place(), &[unit(serial)], None).id);
    for (at, id) in ids.iter().enumerate() {
        assert!(!ids[..at].contains(id), "{}", HOSTILE[at]);
    }
}
