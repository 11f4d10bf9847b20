//! Questions about the record, and the documents that answer them. Reads journals; changes nothing.
//!
//! One place answers for both the command line on a file and the daemon on its own journal, so that both say the same. Keys are
//! the columns of the audit views where they are the same thing. A time stands twice: `*_us`, microseconds since 1970, and the
//! same key without `_us`, as RFC 3339 in UTC. Each document shows the journal of one moment.

mod trace;

use std::fmt;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::domain::code::CodeError;
use crate::store::query::{Alarms, BatchRow};
use crate::store::{Reader, StoreError};
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
    Feed,
}

/// Why a journal does not answer.
#[derive(Debug)]
pub enum ReportError {
    /// The code names nothing that could be looked for.
    Code(CodeError),
    Store(StoreError),
}

impl Question {
    /// Whether nothing is a good answer; else it means "not found".
    pub fn may_be_empty(&self) -> bool {
        match self {
            Question::Status | Question::Batches | Question::Alarms | Question::Feed => true,
            Question::Batch(_) | Question::Trace(_) => false,
        }
    }
}

/// Answers from the journal at `db`: an array or one object; null where what was asked for is not there.
pub fn answer(db: &Path, question: &Question) -> Result<Value, ReportError> {
    let mut reader = Reader::open(db)?;
    reader.hold_still()?;
    match question {
        Question::Status => status(&mut reader),
        Question::Batches => batches(&mut reader),
        Question::Batch(batch) => one_batch(&mut reader, batch),
        Question::Trace(code) => trace::answer(&mut reader, code),
        Question::Alarms => alarms(&mut reader),
        Question::Feed => feed(&mut reader),
    }
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
    let current = batches.iter().rev().find(|row| matches!(row.state.as_str(), "running" | "stopped"));
    let loaded: Vec<&str> = batches.iter().filter(|row| row.state == "loaded").map(|row| row.batch.as_str()).collect();
    if let Some(fields) = status.as_object_mut() {
        put_time(fields, "at", newest.map(|fact| fact.at_us));
        fields.insert("batches_loaded".to_owned(), json!(loaded));
        let batch = current.map(|row| with_counts(reader, batch_fields(row))).transpose()?;
        fields.insert("batch".to_owned(), batch.map_or(Value::Null, Value::Object));
        fields.insert("alarms".to_owned(), alarms(reader)?);
        fields.insert("feed".to_owned(), feed(reader)?);
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
        fields.insert("text".to_owned(), json!(text::alarm_named(&row.kind)));
        rows.push(Value::Object(fields));
    }
    Ok(Value::Array(rows))
}

/// Every stream with its newest number, what the broker took of it, and what waits.
fn feed(reader: &mut Reader) -> Result<Value, ReportError> {
    let head = reader.head()?.0;
    let acked = reader.feed_cursor(topic::STREAM_FACT)?;
    let mut streams = Vec::new();
    for stream in topic::STREAMS {
        let last = if *stream == topic::STREAM_FACT { head } else { reader.stream_head(stream)? };
        let acked = reader.feed_cursor(stream)?;
        streams.push(json!({ "stream": stream, "head": last, "acked": acked, "backlog": last.saturating_sub(acked) }));
    }
    let exceptions = reader.feed_exceptions()?.into_iter();
    let exceptions: Vec<Value> = exceptions
        .map(|exception| json!({ "stream": &*exception.stream, "seq": exception.seq, "cause": exception.cause }))
        .collect();
    Ok(json!({
        "head": head,
        "acked": acked,
        "backlog": head.saturating_sub(acked),
        "streams": streams,
        "exceptions": exceptions,
    }))
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
