//! Questions about the record, and the documents that answer them. Reads journals; changes nothing.
//!
//! One place answers for both the command line on a file and the daemon on its own journal, so that both say the same. Keys are
//! the columns of the audit views where they are the same thing. A time stands twice: `*_us`, microseconds since 1970, and the
//! same key without `_us`, as RFC 3339 in UTC. Each document shows the journal of one moment.

mod code;
mod feed;
mod trace;

use std::fmt;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::domain::code::CodeError;
use crate::domain::rule::Rule;
use crate::store::facts::StoredFact;
use crate::store::people::PersonRow;
use crate::store::query::{Alarms, BatchRow};
use crate::store::{Reader, Snapshot, StoreError};
use crate::wire::{text, topic};

/// What can be asked of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    Status,
    Batches,
    Batch(String),
    /// A code in any spelling.
    Trace(String),
    Alarms,
    /// Who has or had an account.
    Users,
    /// What stood out since the last review, up to this fact or the newest.
    Review(Option<u64>),
    Feed,
    /// Messages that the feed goes on without.
    Quarantine,
    /// The same, with what they say.
    QuarantineExport,
}

/// Why a journal does not answer.
#[derive(Debug)]
pub enum ReportError {
    /// The code names nothing that could be looked for.
    Code(CodeError),
    Store(StoreError),
}

impl Question {
    /// What is asked about, for a person who is told that nothing is known of it.
    pub fn subject(&self) -> String {
        match self {
            Question::Status => "the line".to_owned(),
            Question::Batches => "batches".to_owned(),
            Question::Batch(batch) => format!("batch {batch:?}; see `sealgate batch list`"),
            Question::Trace(code) => format!("{code:?}: it is in no batch and on no container of this journal"),
            Question::Alarms => "alarms".to_owned(),
            Question::Users => "users".to_owned(),
            Question::Review(_) => "exceptions".to_owned(),
            Question::Feed => "the feed".to_owned(),
            Question::Quarantine | Question::QuarantineExport => "the quarantine".to_owned(),
        }
    }

    /// Whether nothing is a good answer; else it means "not found".
    pub fn may_be_empty(&self) -> bool {
        match self {
            Question::Status
            | Question::Batches
            | Question::Alarms
            | Question::Users
            | Question::Review(_)
            | Question::Feed
            | Question::Quarantine
            | Question::QuarantineExport => true,
            Question::Batch(_) | Question::Trace(_) => false,
        }
    }
}

/// Answers from the journal at `db`: an array or one object; null where what was asked for is not there.
pub fn answer(db: &Path, question: &Question) -> Result<Value, ReportError> {
    let mut reader = Snapshot::open(db)?;
    match question {
        Question::Status => status(&mut reader),
        Question::Batches => batches(&mut reader),
        Question::Batch(batch) => one_batch(&mut reader, batch),
        Question::Trace(code) => trace::answer(&mut reader, code),
        Question::Alarms => alarms(&mut reader),
        Question::Users => users(&reader),
        Question::Review(to_seq) => review(&mut reader, *to_seq),
        Question::Feed => feed::status(&mut reader),
        Question::Quarantine => feed::quarantine(&mut reader, feed::Bodies::Left),
        Question::QuarantineExport => feed::quarantine(&mut reader, feed::Bodies::Told),
    }
}

/// Everybody who has or had an account. What a password is compared with is no part of it.
fn users(reader: &Reader) -> Result<Value, ReportError> {
    let row = |row: PersonRow| {
        json!({
            "user": row.user,
            "full_name": row.full_name,
            "roles": row.roles.split(' ').collect::<Vec<_>>(),
            "is_enabled": row.is_enabled,
            "is_locked": row.locked_seq.is_some(),
            "must_change": row.must_change,
            "failures": row.failures,
            "added_seq": row.added_seq,
        })
    };
    Ok(reader.people()?.into_iter().map(row).collect())
}

/// The review that is due, and every exception in it.
fn review(reader: &mut Reader, to_seq: Option<u64>) -> Result<Value, ReportError> {
    let (review, found) = reader.review(to_seq)?;
    let row = |fact: StoredFact| {
        let mut fields = object(json!({ "seq": fact.seq }));
        put_time(&mut fields, "at", Some(fact.at_us));
        fields.extend(object(json!({
            "kind": &*fact.kind,
            "batch": fact.batch.as_deref(),
            "actor": &*fact.actor,
            "subject": fact.subject,
            "body": serde_json::from_str::<Value>(&fact.body).unwrap_or_default(),
        })));
        Value::Object(fields)
    };
    Ok(json!({
        "from_seq": review.from_seq,
        "to_seq": review.to_seq,
        "exceptions": review.exceptions,
        "sha256": review.sha256.as_str(),
        "facts": found.into_iter().map(row).collect::<Vec<_>>(),
    }))
}

/// The line as its journal left it.
fn status(reader: &mut Reader) -> Result<Value, ReportError> {
    let (seq, hash) = reader.head()?;
    let newest = reader.fact(seq)?;
    let identity = reader.identity().clone();
    let mut status = json!({
        "line": identity.line,
        "store_uuid": identity.store_uuid,
        "epoch": identity.epoch,
        "boot": identity.boot,
        "seq": seq,
        "hash": hex(&hash),
        "kind": newest.as_ref().map(|fact| &*fact.kind),
    });
    let batches = reader.batches()?;
    let current = batches.iter().rev().find(|row| text::is_on_line(&row.state));
    let loaded: Vec<&str> = batches.iter().filter(|row| row.state == "loaded").map(|row| row.batch.as_str()).collect();
    if let Some(fields) = status.as_object_mut() {
        put_time(fields, "at", newest.map(|fact| fact.at_us));
        fields.insert("batches_loaded".to_owned(), json!(loaded));
        let batch = current.map(|row| with_counts(reader, batch_fields(row))).transpose()?;
        fields.insert("batch".to_owned(), batch.map_or(Value::Null, Value::Object));
        fields.insert("alarms".to_owned(), alarms(reader)?);
        fields.insert("feed".to_owned(), feed::status(reader)?);
    }
    Ok(status)
}

/// The newest first.
fn batches(reader: &mut Reader) -> Result<Value, ReportError> {
    let mut rows = Vec::new();
    for row in reader.batches()?.iter().rev() {
        rows.push(Value::Object(with_times(reader, batch_fields(row))?));
    }
    Ok(Value::Array(rows))
}

fn one_batch(reader: &mut Reader, batch: &str) -> Result<Value, ReportError> {
    let Some(row) = reader.batch(batch)? else { return Ok(Value::Null) };
    let mut fields = with_times(reader, batch_fields(&row))?;
    let range = reader.sscc_range(batch)?;
    let range = range.map(|range| {
        json!({ "extension": range.extension, "prefix": range.prefix.as_str(), "first": range.first, "last": range.last })
    });
    fields.insert("sscc".to_owned(), json!(range));
    Ok(Value::Object(with_counts(reader, fields)?))
}

fn batch_fields(row: &BatchRow) -> Map<String, Value> {
    let fields = json!({
        "batch": row.batch,
        "gtin": row.gtin,
        "lot": row.lot,
        "expiry": row.expiry,
        "state": row.state,
        "case_capacity": row.case_capacity,
        "pallet_capacity": row.pallet_capacity,
        "opened_seq": row.opened_seq,
        "closed_seq": row.closed_seq,
        "epc_prefix": row.epc_prefix,
        "serial_count": row.serial_count,
        "serials_sha256": row.serials_sha256,
    });
    object(fields)
}

/// When the facts happened that opened and closed the batch.
fn with_times(reader: &mut Reader, mut fields: Map<String, Value>) -> Result<Map<String, Value>, ReportError> {
    for name in ["opened", "closed"] {
        let seq = fields.get(&format!("{name}_seq")).and_then(Value::as_u64);
        let fact = seq.map(|seq| reader.fact(seq)).transpose()?.flatten();
        put_time(&mut fields, &format!("{name}_at"), fact.map(|fact| fact.at_us));
    }
    Ok(fields)
}

/// How many units, inspections and containers are in each state.
fn with_counts(reader: &mut Reader, mut fields: Map<String, Value>) -> Result<Map<String, Value>, ReportError> {
    let batch = fields.get("batch").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut containers = Map::new();
    for (name, count) in reader.container_counts(&batch)? {
        let (level, state) = name.split_once('.').unwrap_or(("", &name));
        let of_level = containers.entry(level).or_insert_with(|| json!({}));
        if let Some(states) = of_level.as_object_mut() {
            states.insert(state.to_owned(), json!(count));
        }
    }
    fields.insert("units".to_owned(), json!(reader.unit_counts(&batch)?));
    fields.insert("verdicts".to_owned(), json!(reader.verdict_counts(&batch)?));
    fields.insert("containers".to_owned(), Value::Object(containers));
    Ok(fields)
}

/// Those that nobody acknowledged.
fn alarms(reader: &mut Reader) -> Result<Value, ReportError> {
    let mut rows = Vec::new();
    for row in reader.alarms(Alarms::Open)? {
        let fact = reader.fact(row.raised_seq)?;
        let mut fields = object(json!({
            "alarm": row.alarm,
            "kind": row.kind,
            "station": row.station,
            "detail": row.detail,
            "raised_seq": row.raised_seq,
            "acked_seq": row.acked_seq,
        }));
        put_time(&mut fields, "raised_at", fact.map(|fact| fact.at_us));
        fields.insert("holds".to_owned(), json!(text::alarm_holds(&row.kind)));
        let rule = text::alarm_rule(&row.kind);
        fields.insert("rule".to_owned(), json!(rule.map(Rule::id)));
        fields.insert("class".to_owned(), json!(rule.map(|rule| rule.class().name())));
        fields.insert("text".to_owned(), json!(text::alarm_named(&row.kind)));
        rows.push(Value::Object(fields));
    }
    Ok(Value::Array(rows))
}

/// `at_us` for machines and `at` for people; both null where it did not happen.
fn put_time(fields: &mut Map<String, Value>, key: &str, at_us: Option<i64>) {
    fields.insert(format!("{key}_us"), json!(at_us));
    fields.insert(key.to_owned(), json!(at_us.map(topic::time_text)));
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(fields) = value { fields } else { Map::new() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl From<StoreError> for ReportError {
    fn from(error: StoreError) -> Self {
        ReportError::Store(error)
    }
}

impl From<CodeError> for ReportError {
    fn from(error: CodeError) -> Self {
        ReportError::Code(error)
    }
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReportError::Code(error) => error.fmt(f),
            ReportError::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReportError {}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::store::{self, samples};

    /// A small line's journal, closed: as a tool finds it when no daemon runs.
    fn journal() -> (tempfile::TempDir, PathBuf) {
        journal_until(samples::story().len())
    }

    /// The same after so many facts.
    fn journal_until(seq: usize) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("line.db");
        let mut store = store::open(&store::Settings::new(&path, "acme/plant7/line3")).expect("a new journal");
        let story = samples::story().into_iter().take(seq).collect();
        store.commit(&samples::job(story), || 0).expect("the story is committed");
        (folder, path)
    }

    fn ask(path: &Path, question: Question) -> Value {
        answer(path, &question).unwrap_or_else(|error| panic!("{question:?}: {error}"))
    }

    #[test]
    fn batches_and_their_counts_are_answered_in_the_words_of_the_views() {
        let (_folder, path) = journal();
        let batches = ask(&path, Question::Batches);
        let name = batches[0]["batch"].as_str().expect("a batch").to_owned();
        assert_eq!(batches[0]["gtin"], samples::GTIN);
        let one = ask(&path, Question::Batch(name));
        assert!(one["units"].as_object().is_some_and(|counts| !counts.is_empty()), "{one}");
        assert!(one["containers"].is_object());
        assert_eq!(ask(&path, Question::Batch("B-unknown".into())), Value::Null);
    }

    #[test]
    fn a_packed_unit_is_traced_to_its_case_and_back() {
        let (_folder, path) = journal();
        let case = ask(&path, Question::Trace(samples::CASE.into()));
        assert_eq!(case["container"], samples::CASE, "{case}");
        let child = case["members"][0]["child"].as_str().expect("a child").to_owned();
        let unit = ask(&path, Question::Trace(child.clone()));
        assert_eq!((&unit["unit"], &unit["parents"][0]["parent"]), (&json!(child), &json!(samples::CASE)));
        let seqs: Vec<u64> =
            unit["facts"].as_array().expect("facts").iter().filter_map(|fact| fact["seq"].as_u64()).collect();
        assert!(seqs.len() >= 2 && seqs.is_sorted(), "{seqs:?}");
        let alone = ask(&path, Question::Trace(unit["serial"].as_str().expect("a serial").into()));
        assert_eq!(alone, unit);
    }

    #[test]
    fn where_a_unit_lies_and_what_was_found_of_it_are_told_with_times() {
        let (_folder, path) = journal();
        let packed = ask(&path, Question::Trace("Z9".into()));
        assert_eq!(packed["containers"][0]["container"], samples::CASE, "{packed}");
        assert_eq!(packed["inspections"][0]["verdict"], "pass", "{packed}");
        assert!(packed["facts"][0]["at"].as_str().is_some_and(|time| time.ends_with('Z')), "{packed}");
        let rejected = ask(&path, Question::Trace("A1".into()));
        let inspection = &rejected["inspections"][0];
        assert_eq!((&inspection["verdict"], &inspection["confirmed_seq"]), (&json!("fail"), &json!(12)));
        assert_eq!(rejected["containers"], json!([]));
        let product = ask(&path, Question::Trace(format!("(01){}(10)L7", samples::GTIN)));
        assert_eq!(product["batch"], "B1", "a product names its batches");
    }

    #[test]
    fn what_is_no_code_is_refused_and_not_looked_for() {
        let (_folder, path) = journal();
        for code in ["", "\u{1d}", "]d20109506000134351211"] {
            let refused = answer(&path, &Question::Trace(code.into()));
            assert!(matches!(refused, Err(ReportError::Code(_))), "{code:?}: {refused:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_null_whatever_was_typed() {
        let (_folder, path) = journal();
        for code in ["Q0", "'OR'1'='1'--", "../../etc/passwd", "(01)09506000134352(21)Q0", "]d211261231"] {
            assert_eq!(ask(&path, Question::Trace(code.into())), Value::Null, "{code:?}");
        }
    }

    #[test]
    fn the_state_of_line_and_feed_is_answered_without_a_daemon() {
        let (_folder, path) = journal();
        let status = ask(&path, Question::Status);
        assert_eq!(status["line"], "acme/plant7/line3");
        assert_eq!(status["seq"], samples::story().len());
        assert_eq!((&status["batch"]["batch"], &status["batch"]["units"]["commissioned"]), (&json!("B1"), &json!(2)));
        assert_eq!(status["at"], topic::time_text(status["at_us"].as_i64().expect("microseconds")));
        let feed = ask(&path, Question::Feed);
        let names: Vec<&str> =
            feed["streams"].as_array().expect("streams").iter().filter_map(|s| s["stream"].as_str()).collect();
        assert_eq!(names, topic::STREAMS);
        assert!(ask(&path, Question::Alarms).is_array());
    }

    #[test]
    fn an_alarm_names_its_rule_and_the_class_of_it() {
        let (_folder, path) = journal_until(14);
        let alarms = ask(&path, Question::Alarms);
        assert_eq!((&alarms[0]["kind"], &alarms[0]["holds"]), (&json!("reject_missing"), &json!(true)), "{alarms}");
        assert_eq!((&alarms[0]["rule"], &alarms[0]["class"]), (&json!("SG-REJECT-01"), &json!("PRODUCT_CONTROL")));
    }

    #[test]
    fn a_journal_that_is_away_is_an_error_and_not_an_empty_one() {
        assert!(answer(Path::new("nowhere/line.db"), &Question::Batches).is_err());
    }
}
