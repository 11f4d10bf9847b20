//! The format of the journal, held by a corpus that is never rewritten: a line may be added, none may change.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::domain::text::Text;
use crate::wire::fact::{sample, strategy};

const GOLDEN: &str = include_str!("../../../tests/data/facts-v1.jsonl");

fn stored<'a>(kind: &'a str, body: &'a str) -> StoredFact<'a> {
    StoredFact { seq: 7, kind, version: VERSION, batch: Some("B7"), actor: "line", body }
}

fn line(encoded: &Encoded) -> String {
    let Encoded { kind, version, body } = encoded;
    format!("{{\"kind\":\"{kind}\",\"version\":{version},\"body\":{body}}}")
}

/// Kind and body of one line of the corpus, the body byte for byte.
fn parts(line: &str) -> (String, &str) {
    let whole: Value = serde_json::from_str(line).expect("a line of the corpus is JSON");
    let (_, rest) = line.split_once("\"body\":").expect("a line of the corpus has a body");
    let kind = whole["kind"].as_str().expect("a line of the corpus has a kind").to_owned();
    (kind, rest.strip_suffix('}').expect("the body ends the line"))
}

#[test]
fn writes_the_corpus_byte_for_byte() {
    let written: Vec<String> = sample::facts().iter().map(|fact| line(&encode(fact))).collect();
    let golden: Vec<&str> = GOLDEN.lines().collect();
    assert_eq!(written.len(), golden.len());
    for (written, golden) in written.iter().zip(golden) {
        assert_eq!(written, golden);
    }
}

#[test]
fn the_corpus_holds_every_kind() {
    let kinds: BTreeSet<String> = GOLDEN.lines().map(|line| parts(line).0).collect();
    let known: BTreeSet<String> = KINDS.iter().map(|kind| (*kind).to_owned()).collect();
    assert_eq!(kinds, known);
}

#[test]
fn reads_the_corpus_back() {
    for (line, fact) in GOLDEN.lines().zip(sample::facts()) {
        let (kind, body) = parts(line);
        let entry = decode(stored(&kind, body)).expect("the corpus is readable");
        assert_eq!((entry.seq, entry.fact), (7, fact));
    }
}

#[test]
fn the_bodies_of_every_unit_are_short() {
    for fact in [
        Fact::Verified { result: sample::result(), serial: sample::serial("0123456789ABCD"), grade_milli: Some(3500) },
        Fact::Commissioned { track: sample::track(), serial: sample::serial("0123456789ABCD") },
    ] {
        let body = encode(&fact).body;
        assert!(body.len() <= 100, "{} bytes: {body}", body.len());
    }
}

#[test]
fn names_the_field_that_is_at_fault() {
    let good = r#"{"alarm":4,"alarm_kind":"bin_full","detail":"x"}"#;
    assert!(decode(stored("alarm_raised", good)).is_ok());
    for (body, field) in [
        (r#"{"alarm":4,"detail":"x"}"#, "alarm_kind"),
        (r#"{"alarm":-4,"alarm_kind":"bin_full","detail":"x"}"#, "alarm"),
        (r#"{"alarm":4294967296,"alarm_kind":"bin_full","detail":"x"}"#, "alarm"),
        (r#"{"alarm":04,"alarm_kind":"bin_full","detail":"x"}"#, "alarm"),
        (r#"{"alarm":"4","alarm_kind":"bin_full","detail":"x"}"#, "alarm"),
        (r#"{"alarm":4,"alarm_kind":"bin_empty","detail":"x"}"#, "alarm_kind"),
        (r#"{"alarm":4,"alarm_kind":"bin_full","detail":7}"#, "detail"),
        (r#"{"alarm":4,"alarm_kind":"bin_full","detail":"x"#, "detail"),
        (r#"{"alarm":4,"alarm_kind":"bin_full","detail":"x","more":1}"#, "detail"),
        (r#"{"alarm":4,"alarm_kind":"bin_full","detail":"x"} "#, "detail"),
        ("", ""),
    ] {
        let error = decode(stored("alarm_raised", body)).expect_err(body);
        assert_eq!((error.seq, error.kind.as_str(), error.field), (7, "alarm_raised", field), "{body}");
        assert!(error.to_string().contains("fact 7 (alarm_raised)"), "{error}");
    }
}

#[test]
fn refuses_kinds_and_versions_of_other_releases() {
    assert!(decode(stored("line_painted", "{}")).is_err());
    let newer = StoredFact { version: 2, ..stored("line_stopped", "{}") };
    let error = decode(newer).expect_err("version 2 is not known");
    assert!(error.to_string().contains("version 2"), "{error}");
    let long = "x".repeat(33);
    assert_eq!(
        decode(StoredFact { batch: Some(&long), ..stored("line_stopped", "{}") }).map_err(|e| e.field),
        Err("batch")
    );
    assert_eq!(decode(StoredFact { actor: &long, ..stored("line_stopped", "{}") }).map_err(|e| e.field), Err("actor"));
}

/// Of people and their passwords the world gets the number, the kind and the hash.
#[test]
fn what_is_about_people_leaves_as_a_digest() {
    let people = sample::facts().into_iter().filter(|fact| class(kind(fact)) == FeedClass::Digest);
    let kinds: BTreeSet<&str> = people.clone().map(|fact| kind(&fact)).collect();
    assert_eq!(kinds.len(), 10, "{kinds:?}");
    for fact in people {
        let Encoded { kind, body, .. } = encode(&fact);
        let Published { subject, body } = Published::new((7, kind), Some(&[0xab; 32]), "user:m.meier", &body);
        assert_eq!(
            (subject, &*body),
            ("", format!("{{\"seq\":7,\"kind\":\"{kind}\",\"hash\":\"{}\"}}", "ab".repeat(32)).as_str())
        );
    }
    let public = Published::new((7, "line_stopped"), Some(&[0xab; 32]), "", "{}");
    assert_eq!(&*public.body, "{}");
}

/// A new kind is looked at before it is published.
#[test]
fn every_kind_that_names_a_person_or_a_password_is_a_digest() {
    for fact in sample::facts() {
        let Encoded { kind, body, .. } = encode(&fact);
        let is_private = ["\"user\":", "\"phc\":", "\"session\":"].iter().any(|key| body.contains(key));
        // A signature belongs to what was signed, and is shown with it.
        assert!(!is_private || class(kind) == FeedClass::Digest || kind == "signed", "{kind}");
    }
}

proptest! {
    #[test]
    fn any_fact_comes_back_whole(fact in strategy::fact()) {
        let encoded = encode(&fact);
        let value: Value = serde_json::from_str(&encoded.body).expect("a body is JSON");
        prop_assert!(value.is_object());
        let entry = decode(stored(encoded.kind, &encoded.body)).expect("what was written can be read");
        prop_assert_eq!(&entry.fact, &fact);
        prop_assert_eq!(entry.batch, Text::new("B7"));
    }

    #[test]
    fn any_bytes_are_read_or_refused_without_harm(body in ".{0,200}", kind in proptest::sample::select(KINDS)) {
        let _ = decode(stored(kind, &body));
    }

    #[test]
    fn a_body_with_one_character_changed_never_reads_as_the_same_fact(
        fact in strategy::fact(), at in any::<proptest::sample::Index>(), put in any::<char>(),
    ) {
        let encoded = encode(&fact);
        let mut characters: Vec<char> = encoded.body.chars().collect();
        let at = at.index(characters.len());
        prop_assume!(characters[at] != put);
        characters[at] = put;
        let changed: String = characters.into_iter().collect();
        if let Ok(entry) = decode(stored(encoded.kind, &changed)) {
            prop_assert_ne!(entry.fact, fact);
        }
    }
}
