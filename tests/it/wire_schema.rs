//! The schemas hold what this release writes and refuse what it never writes.

use sealgate::wire::checkpoint::{Head, Key};
use sealgate::wire::{fact, schema, topic};
use serde_json::{Value, json};

const GOLDEN: &str = include_str!("../data/facts-v1.jsonl");

fn validator(name: &str) -> jsonschema::Validator {
    let (_, schema) = schema::all().into_iter().find(|(known, _)| known == name).expect("a schema of this name");
    jsonschema::draft202012::new(&schema).expect("a well-formed schema")
}

fn bodies() -> impl Iterator<Item = (String, Value)> {
    GOLDEN.lines().map(|line| {
        let whole: Value = serde_json::from_str(line).expect("a line of the corpus is JSON");
        let kind = whole["kind"].as_str().expect("a line of the corpus has a kind").to_owned();
        // Of facts about people the feed gets a digest.
        let body = whole["body"].to_string();
        let published = fact::Published::new((7, &kind), Some(&[7; 32]), "", &body);
        let body = serde_json::from_str(&published.body).expect("what is published is JSON");
        (kind, body)
    })
}

#[test]
fn every_schema_is_well_formed_strict_and_named_once() {
    let all = schema::all();
    let mut names: Vec<&String> = all.iter().map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all.len());
    for (name, schema) in &all {
        assert!(jsonschema::draft202012::meta::is_valid(schema), "{name}");
        assert_strict(name, schema);
    }
    for kind in fact::KINDS {
        assert!(names.contains(&&topic::fact(kind)), "{kind}");
    }
}

/// Every object that lists its properties refuses others.
fn assert_strict(name: &str, schema: &Value) {
    if let Some(object) = schema.as_object() {
        if object.contains_key("properties") && object.get("type").is_some_and(|kind| kind == "object") {
            assert_eq!(object.get("additionalProperties"), Some(&json!(false)), "{name}");
        }
        object.values().for_each(|part| assert_strict(name, part));
    }
    if let Some(list) = schema.as_array() {
        list.iter().for_each(|part| assert_strict(name, part));
    }
}

#[test]
fn every_body_of_the_corpus_is_valid() {
    for (kind, body) in bodies() {
        let validator = validator(&topic::fact(&kind));
        let flaws: Vec<String> = validator.iter_errors(&body).map(|flaw| flaw.to_string()).collect();
        assert!(flaws.is_empty(), "{kind}: {flaws:?}");
    }
}

#[test]
fn a_body_with_a_missing_extra_or_mistyped_field_is_invalid() {
    for (kind, body) in bodies() {
        let name = topic::fact(&kind);
        let validator = validator(&name);
        let (_, schema) = schema::all().into_iter().find(|(known, _)| *known == name).expect("a schema of this name");
        let refuse = |why: &str, changed: Value| assert!(!validator.is_valid(&changed), "{kind}: {why}: {changed}");
        let with = |key: &str, value: Value| {
            let mut changed = body.clone();
            changed[key] = value;
            changed
        };
        refuse("extra field", with("surplus", json!(1)));
        for key in schema["required"].as_array().expect("required fields are listed") {
            let mut changed = body.clone();
            changed.as_object_mut().expect("a body is an object").remove(key.as_str().expect("a field's name"));
            refuse("missing field", changed);
        }
        for (key, value) in body.as_object().expect("a body is an object") {
            let wrong = if value.is_string() { json!(17) } else { json!("wrong") };
            refuse("wrong type", with(key, wrong));
            refuse("null", with(key, Value::Null));
            if value.is_number() {
                refuse("fraction", with(key, json!(0.5)));
            }
        }
    }
}

#[test]
fn the_retained_payloads_are_valid() {
    let birth = topic::Birth {
        line: "line4".to_owned(),
        version: "0.1.0".to_owned(),
        config_sha256: "0a".repeat(32),
        epoch: 1,
        last_seq: topic::LastSeq { fact: 9, epcis: 3, batch: 0 },
        backlog: 2,
        time: topic::time_text(1_795_342_530_123_999),
    };
    let offline = topic::Status::Offline { line: "line4".to_owned() };
    let station = topic::StationLine {
        station: "camera".to_owned(),
        kind: "camera".to_owned(),
        joined: true,
        held: false,
        epoch: 2,
        fault: 0,
        state: Some("execute".to_owned()),
        condition: Some("running".to_owned()),
        mode: Some("produce".to_owned()),
        away: Some("quality".to_owned()),
        tag: Some("seq".to_owned()),
        flaw: Some("bad 0x80310000 (BadNoCommunication)".to_owned()),
    };
    let batch = topic::BatchLine {
        batch: "B7".to_owned(),
        gtin: "00300010123455".to_owned(),
        lot: "L7".to_owned(),
        expiry: "2027-03-31".to_owned(),
        state: "running".to_owned(),
        case_capacity: 10,
        pallet_capacity: 0,
    };
    let alarm = topic::AlarmLine {
        alarm: 3,
        kind: "duplicate_client_id".to_owned(),
        station: None,
        detail: String::new(),
        holds: false,
        rule: "SG-FEED-02".to_owned(),
        class: "PRODUCT_CONTROL".to_owned(),
        text: "Find it.".to_owned(),
    };
    let head = Head { line: "line4", store_uuid: "u", epoch: 1, seq: 9, hash: [7; 32], at_us: 0, boot: 1 };
    let checkpoint = head.note(1).signed(&Key::new("line4", &[1; 32]));
    let counts = topic::CountsNow { batch: None, counts: topic::CountsLine::default() };
    let quantiles = topic::Quantiles { samples: 10_000, p50_us: 900, p99_us: 4_000, p999_us: 9_000 };
    let verdicts = topic::VerdictsNow { deadline_us: Some(400_000), departed: Some(quantiles), echoed: None };
    let payloads = [
        (topic::STATUS, topic::payload(&topic::Status::Online(birth))),
        (topic::STATUS, topic::payload(&offline)),
        (topic::CHECKPOINT, checkpoint.to_json().into_bytes()),
        (topic::STATE_BATCH, topic::payload(&topic::BatchNow { batch: None })),
        (topic::STATE_BATCH, topic::payload(&topic::BatchNow { batch: Some(batch) })),
        (topic::STATE_COUNTS, topic::payload(&counts)),
        (topic::STATE_DEVICES, topic::payload(&topic::DevicesNow { stations: vec![station] })),
        (topic::STATE_VERDICTS, topic::payload(&topic::VerdictsNow::default())),
        (topic::STATE_VERDICTS, topic::payload(&verdicts)),
        (topic::STATE_ALARMS, topic::payload(&topic::AlarmsNow { alarms: vec![alarm] })),
    ];
    for (name, payload) in payloads {
        let value: Value = serde_json::from_slice(&payload).expect("a payload is JSON");
        let flaws: Vec<String> = validator(name).iter_errors(&value).map(|flaw| flaw.to_string()).collect();
        assert!(flaws.is_empty(), "{name}: {flaws:?}");
    }
    assert!(!validator(topic::STATUS).is_valid(&json!({"status": "asleep", "line": "line4"})));
}
