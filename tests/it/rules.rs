//! The table of rules against what names them, against what sets them, and as the command line shows it.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use sealgate::config::documented;
use sealgate::domain::gs1::{SerialNumber, Sscc};
use sealgate::domain::rule::{Class, Place, Rule};
use sealgate::domain::text::{BatchId, Text};
use sealgate::domain::time::ClockState;
use sealgate::engine::people::{PeopleRefusal, user_id};
use sealgate::engine::reason::{AlarmKind, BatchState, Difference, FailReason, RefuseReason, RequestRefusal};
use sealgate::engine::recipe::OtherRecipe;
use sealgate::wire::command::Reason;
use sealgate::wire::order::Problem;
use sealgate::wire::schema;
use serde_json::{Value, json};

fn sscc() -> Sscc {
    Sscc::new("403000112345678901").unwrap()
}

fn refuse_reasons() -> Vec<RefuseReason> {
    vec![
        RefuseReason::NotGood,
        RefuseReason::LevelAbsent,
        RefuseReason::ForeignChild { slot: 0 },
        RefuseReason::PackedChild { slot: 0, parent: sscc() },
        RefuseReason::UnfitChild { slot: 0 },
        RefuseReason::LabelMissing,
        RefuseReason::OnHold,
    ]
}

fn refusals() -> Vec<RequestRefusal> {
    let batch = BatchId::new("B7").unwrap();
    let station = Text::new("camera").unwrap();
    vec![
        RequestRefusal::UnknownBatch(batch),
        RequestRefusal::BatchExists(batch),
        RequestRefusal::LineOccupied(batch),
        RequestRefusal::WrongState { batch, state: BatchState::Loaded },
        RequestRefusal::SerialUsed(SerialNumber::new("A1").unwrap()),
        RequestRefusal::SsccUsed(sscc()),
        RequestRefusal::StationAway(station),
        RequestRefusal::RecipeDiffers(OtherRecipe { station, approved: Text::new("R-17").unwrap(), shown: None }),
        RequestRefusal::UnknownStation(station),
        RequestRefusal::People(PeopleRefusal::NotLoggedIn),
        RequestRefusal::People(PeopleRefusal::NoRole),
        RequestRefusal::People(PeopleRefusal::BadName),
        RequestRefusal::People(PeopleRefusal::MustChange),
        RequestRefusal::People(PeopleRefusal::LastAdmin(user_id("m.meier").unwrap())),
        RequestRefusal::People(PeopleRefusal::RecordChanged),
        RequestRefusal::People(PeopleRefusal::SamePerson),
        RequestRefusal::AlarmsOpen(1),
        RequestRefusal::NotCleared(batch),
        RequestRefusal::ItemOpen("belt".to_owned()),
        RequestRefusal::ItemUnknown("belt".to_owned()),
        RequestRefusal::BatchesFull(1),
        RequestRefusal::ExpiryPast,
        RequestRefusal::UnknownAlarm(1),
        RequestRefusal::NotBalanced,
        RequestRefusal::SerialsSuspended,
        RequestRefusal::ConfigNotApproved,
        RequestRefusal::Busy,
        RequestRefusal::ClockUnsure(ClockState::Unset),
        RequestRefusal::ClockUnsure(ClockState::Unknown),
    ]
}

fn bad_order() -> Reason {
    let text = |text: &str| text.to_owned();
    Reason::from(&Problem { path: text("$.lot"), value: text("L 7"), what: text("a space"), allowed: text("CSET 82") })
}

/// The other way round holds by type: what names a rule names one of the table.
#[test]
fn every_rule_is_named_by_a_reason_or_an_alarm() {
    let mut named: BTreeSet<&str> = FailReason::ALL.iter().map(|reason| reason.rule().id()).collect();
    named.extend(AlarmKind::ALL.iter().map(|kind| kind.rule().id()));
    named.extend(refuse_reasons().iter().map(|reason| reason.rule().id()));
    named.extend(refusals().iter().map(|refusal| refusal.rule().id()));
    named.insert(Difference::PartialContainers(1).rule().id());
    named.extend(bad_order().rule.map(Rule::id));
    let idle: Vec<&str> = Rule::ALL.iter().map(|rule| rule.id()).filter(|id| !named.contains(id)).collect();
    assert!(idle.is_empty(), "nothing is refused or told by {idle:?}");
}

#[test]
fn every_parameter_is_a_key_that_somebody_can_set() {
    let config = documented::line_file();
    let (_, order) = schema::all().into_iter().find(|(name, _)| name == "_order").unwrap();
    for rule in Rule::ALL {
        for parameter in rule.parameters() {
            let is_known = match parameter.place {
                Place::Config => {
                    let (table, key) = parameter.key.rsplit_once('.').unwrap();
                    documented::text(&config, table, key).is_some()
                }
                Place::Order => parameter
                    .key
                    .split('.')
                    .try_fold(&order, |at, key| at.get("properties").and_then(|fields| fields.get(key)))
                    .is_some(),
            };
            assert!(is_known && !parameter.unit.is_empty(), "{}: {parameter:?}", rule.id());
        }
    }
}

#[test]
fn a_refusal_says_its_rule_to_people_and_to_programs() {
    for refusal in refusals() {
        let (reason, rule) = (Reason::from(&refusal), refusal.rule());
        let told = serde_json::to_value(&reason).unwrap();
        assert_eq!((&told["rule"], &told["class"]), (&json!(rule.id()), &json!(rule.class().name())), "{told}");
        assert!(reason.to_string().ends_with(&format!(" [{}]", rule.id())), "{reason}");
    }
    assert!(bad_order().to_string().ends_with("; allowed: CSET 82 [SG-BATCH-05]"), "{}", bad_order());
    let unruled = Reason::new("not_found", "gone");
    assert_eq!(unruled.to_string(), "gone");
    assert_eq!(serde_json::to_value(&unruled).unwrap(), json!({ "code": "not_found", "text": "gone" }));
}

fn rules(line: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sealgate")).arg("rules").args(line).output().unwrap()
}

fn out(line: &[&str]) -> String {
    let said = rules(line);
    assert!(said.status.success(), "{line:?}: {}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap()
}

#[test]
fn the_table_names_every_rule_and_fits_a_screen() {
    let table = out(&[]);
    for rule in Rule::ALL {
        assert!(table.contains(rule.id()), "{} is missing", rule.id());
    }
    let wide: Vec<&str> = table.lines().filter(|line| line.chars().count() > 100).collect();
    assert!(wide.is_empty(), "{wide:?}");
    let joined = table.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(Rule::ALL.iter().all(|rule| joined.contains(rule.text())), "{table}");
}

#[test]
fn a_class_is_asked_for_by_its_word_and_laws_show_where_they_stand() {
    let laws: Value = serde_json::from_str(&out(&["--json", "--class", "law"])).unwrap();
    let laws = laws.as_array().unwrap();
    assert!(!laws.is_empty() && laws.len() < Rule::ALL.len());
    assert!(laws.iter().all(|rule| rule["class"] == "LAW" && rule["citation"].is_string()), "{laws:?}");
    let counted: usize = Class::NAMES.iter().map(|class| out(&["--class", class]).matches(class).count()).sum();
    assert_eq!(counted, Rule::ALL.len());
    assert_eq!(rules(&["--class", "LAWS"]).status.code(), Some(64));
}

#[test]
fn one_rule_is_told_whole_and_a_mistyped_one_with_what_was_meant() {
    let rule: Value = serde_json::from_str(&out(&["--json", "sg-stop-02"])).unwrap();
    assert_eq!(rule["parameters"][1]["key"], "line.stop_rejects_of", "{rule}");
    assert_eq!((&rule["id"], &rule["citation"]), (&Value::from("SG-STOP-02"), &Value::Null));
    let told = out(&["SG-STEP-01"]);
    assert!(told.contains("21 CFR 11.10(f)") && !told.contains("parameters"), "{told}");
    let unknown = rules(&["SG-STOP-09"]);
    assert_eq!(unknown.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("did you mean SG-STOP-01?"), "{unknown:?}");
}
