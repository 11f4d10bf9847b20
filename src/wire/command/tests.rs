//! Lines as clients send them, good and bad.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::engine::reason::BatchState;

fn door(actor: &str) -> Asker {
    Asker::Door(Actor::new(actor).expect("short"))
}

fn refused(line: &str) -> ClientAnswer {
    let answer = ClientRequest::parse(line.as_bytes()).expect_err(line);
    assert!(!answer.ok && !answer.reasons.is_empty(), "{line}");
    *answer
}

#[test]
fn reads_every_command() {
    let order = "{\"batch\":\"B7\",\n\"serials\":[\"A1\"]}";
    for (word, parts) in [
        ("batch_load", vec![("order", order)]),
        ("batch_start", vec![("batch", "\"B7\"")]),
        ("batch_stop", vec![("batch", "\"B7\"")]),
        ("batch_close", vec![("batch", "\"B7\"")]),
        ("batch_purge", vec![("batch", "\"B7\"")]),
        ("batch_hold", vec![("batch", "\"B7\""), ("reason", "\"smell\"")]),
        ("batch_resume", vec![("batch", "\"B7\"")]),
        ("batch_abort", vec![("batch", "\"B7\""), ("reason", "\"foil\"")]),
        ("alarm_ack", vec![("alarm", "4")]),
        ("serials_used", vec![("gtin", "\"09506000134352\""), ("serials", "[\"A1\"]")]),
        ("serials_confirm", vec![]),
        ("status", vec![]),
        ("feed_status", vec![]),
        ("feed_replay", vec![("from", "17"), ("stream", "\"epcis\"")]),
        ("feed_retry", vec![("seq", "17"), ("stream", "\"epcis\"")]),
        ("feed_skip", vec![("seq", "17"), ("reason", "\"sent by mail\"")]),
        ("feed_quarantine", vec![]),
    ] {
        assert!(WORDS.contains(&word));
        let line = request_line(3, "QA \"1\"", word, &parts);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        let request = ClientRequest::parse(line.as_bytes()).expect(word);
        assert_eq!((request.id, request.asker), (3, door("QA \"1\"")));
        let shown = format!("{:?}", request.command);
        let name = match word {
            "batch_load" => "Load(",
            "batch_start" => "Ask(StartBatch(\"B7\"))",
            "batch_stop" => "Ask(StopBatch(\"B7\"))",
            "batch_close" => "Ask(CloseBatch(\"B7\"))",
            "batch_purge" => "Ask(PurgeBatch(\"B7\"))",
            "batch_hold" => "Ask(HoldBatch { batch: \"B7\", reason: \"smell\" })",
            "batch_resume" => "Ask(ResumeBatch { batch: \"B7\", reason: None })",
            "batch_abort" => "Ask(AbortBatch { batch: \"B7\", reason: \"foil\" })",
            "alarm_ack" => "Ask(AcknowledgeAlarm(4))",
            "serials_used" => "Ask(DeclareUsed(",
            "serials_confirm" => "Ask(ConfirmSerials)",
            "status" => "Status",
            "feed_status" => "FeedStatus",
            "feed_retry" => "FeedRetry { stream: \"epcis\", seq: 17 }",
            "feed_skip" => "FeedSkip { stream: \"fact\", seq: 17, reason: \"sent by mail\" }",
            "feed_quarantine" => "Look(Quarantine)",
            _ => "FeedReplay { stream: \"epcis\", from: 17 }",
        };
        assert!(shown.starts_with(name), "{shown}");
    }
}

#[test]
fn an_absent_actor_is_the_local_one_and_an_absent_stream_the_facts() {
    let request = ClientRequest::parse(br#"{"id":1,"do":"feed_replay","from":1}"#).expect("complete");
    assert_eq!(request.asker, door("local"));
    assert!(matches!(request.command, Command::FeedReplay { stream: "fact", from: 1 }));
}

#[test]
fn takes_from_upstream_what_this_release_allows() {
    let request = ClientRequest::parse_mqtt("_cmd/feed/replay", br#"{"id":9,"from":5}"#).expect("complete");
    assert_eq!(request.asker, door("mqtt"));
    assert!(matches!(request.command, Command::FeedReplay { from: 5, .. }));
    for (below, payload) in [
        ("_cmd/batch/load", r#"{"id":9,"order":{}}"#),
        ("_cmd/feed/replay", r#"{"id":9,"from":0}"#),
        ("_cmd/feed/replay", r#"{"id":9,"from":5,"do":"status"}"#),
        ("_cmd/feed/replay", ""),
    ] {
        assert!(ClientRequest::parse_mqtt(below, payload.as_bytes()).is_err(), "{below} {payload}");
    }
}

#[test]
fn says_what_is_wrong_where_and_what_is_allowed() {
    for (line, id, path) in [
        ("", 0, "$"),
        ("nonsense", 0, "$"),
        ("[]", 0, "$"),
        (r#"{"do":"status"}"#, 0, "$.id"),
        (r#"{"id":-1,"do":"status"}"#, 0, "$.id"),
        (r#"{"id":7}"#, 7, "$.do"),
        (r#"{"id":7,"do":"batch_lod"}"#, 7, "$.do"),
        (r#"{"id":7,"do":5}"#, 7, "$.do"),
        (r#"{"id":7,"do":"batch_start"}"#, 7, "$.batch"),
        (r#"{"id":7,"do":"batch_start","batch":""}"#, 7, "$.batch"),
        (r#"{"id":7,"do":"batch_start","batch":"B7","force":true}"#, 7, "$.force"),
        (r#"{"id":7,"do":"alarm_ack","alarm":4294967296}"#, 7, "$.alarm"),
        (r#"{"id":7,"do":"status","order":{}}"#, 7, "$.order"),
        (r#"{"id":7,"do":"batch_load"}"#, 7, "$.order"),
        (r#"{"id":7,"do":"status","actor":""}"#, 7, "$.actor"),
        (r#"{"id":7,"do":"status","do":"status"}"#, 7, "$.do"),
        (r#"{"id":7,"do":"feed_replay","from":1,"stream":"facts"}"#, 7, "$.stream"),
    ] {
        let answer = refused(line);
        let reason = &answer.reasons[0];
        assert_eq!((answer.id, reason.path.as_str()), (id, path), "{line}");
        assert_eq!(reason.code, "bad_request");
        assert!(!reason.allowed.is_empty(), "{line}");
    }
    let answer = refused(r#"{"id":7,"do":"batch_lod"}"#);
    assert!(answer.reasons[0].text.contains("did you mean batch_load?"));
}

#[test]
fn a_line_beyond_its_bound_is_refused_unread() {
    let line = vec![b' '; REQUEST_BYTES_MAX + 1];
    let answer = ClientRequest::parse(&line).expect_err("too long");
    assert!(answer.reasons[0].text.contains("too long"));
}

#[test]
fn answers_are_lines_that_read_back_and_fit_their_schema() {
    let batch = BatchId::new("B7").expect("short");
    let refused = Refused {
        reasons: vec![RequestRefusal::NotBalanced, RequestRefusal::WrongState { batch, state: BatchState::Loaded }],
        differences: vec![Difference::Loose(3)],
    };
    let problem = Problem {
        path: "$.lot".to_owned(),
        value: "L 7".to_owned(),
        what: "a space".to_owned(),
        allowed: "CSET 82".to_owned(),
    };
    let (_, schema) = crate::wire::schema::all().into_iter().find(|(name, _)| name == "_answer").expect("known");
    for answer in [
        ClientAnswer::done(1, Done::Changed),
        ClientAnswer::of(2, &Answer { id: 77, outcome: Ok(Done::Already) }),
        ClientAnswer::of(3, &Answer { id: 78, outcome: Err(refused) }),
        ClientAnswer::problems(4, &[problem]),
        ClientAnswer::data(5, json!({"line": "line4"})),
    ] {
        let line = answer.to_line();
        assert!(line.ends_with("}\n") && line.matches('\n').count() == 1, "{line}");
        let value: Value = serde_json::from_str(&line).expect("JSON");
        assert!(jsonschema::draft202012::is_valid(&schema, &value), "{line}");
        assert_eq!(serde_json::from_str::<ClientAnswer>(&line).expect("an answer"), answer);
    }
    assert_eq!(ClientAnswer::done(1, Done::Changed).to_line(), "{\"id\":1,\"ok\":true,\"changed\":true}\n");
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer(line in any::<Vec<u8>>()) {
        prop_assert!(ClientRequest::parse(&line).is_err());
        prop_assert!(ClientRequest::parse_mqtt("_cmd/feed/replay", &line).is_err());
    }

    #[test]
    fn any_fields_get_a_request_or_an_answer(
        word in proptest::sample::select(WORDS), text in any::<String>(), number in any::<i64>(),
    ) {
        for value in [json!(text), json!(number), json!([text]), json!({"a": number}), json!(null)] {
            let shown = value.to_string();
            let parts = [("batch", shown.as_str()), ("alarm", &shown), ("from", &shown), ("order", &shown)];
            for part in parts {
                if let Err(answer) = ClientRequest::parse(request_line(1, "local", word, &[part]).as_bytes()) {
                    prop_assert!(!answer.ok);
                }
            }
        }
    }
}

#[test]
fn questions_about_the_record_are_read_with_what_they_ask_for() {
    let look = |line: &str| match ClientRequest::parse(line.as_bytes()).expect("well-formed").command {
        Command::Look(look) => look,
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(look(r#"{"id":1,"do":"batch_list"}"#), Look::Batches);
    assert_eq!(look(r#"{"id":1,"do":"alarm_list"}"#), Look::Alarms);
    assert_eq!(look(r#"{"id":1,"do":"batch_show","batch":"B7"}"#), Look::Batch(BatchId::new("B7").expect("short")));
    let code = "'OR'1'='1'--\u{1d}";
    let line = request_line(1, "local", "trace", &[("code", &Value::from(code).to_string())]);
    assert_eq!(look(&line), Look::Trace(code.to_owned()));
    for bad in [r#"{"id":1,"do":"trace"}"#, r#"{"id":1,"do":"trace","code":""}"#, r#"{"id":1,"do":"trace","code":7}"#] {
        let refusal = ClientRequest::parse(bad.as_bytes()).expect_err("no code");
        assert_eq!(refusal.reasons[0].path, "$.code", "{bad}");
    }
}
