//! Questions about the record, and the documents that answer them. Reads journals; changes nothing.
//!
//! The command line asks here for a file or for the journal of a running line: one place, so that both say the same. A document is
//! an array, or one object; where a key is a column of an audit view it has the view's name.

mod code;
mod rows;

use std::path::Path;

use serde_json::{Value, json};

use crate::store::query::Alarms;
use crate::store::{Reader, StoreError};
use crate::wire::topic;

use code::Named;

/// What can be asked of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    Status,
    Batches,
    Batch(String),
    /// A code in any spelling.
    Trace(String),
    /// Those that nobody acknowledged.
    Alarms,
    Feed,
}

impl Question {
    /// What is asked about, for a person who is told that nothing is known of it.
    pub fn subject(&self) -> String {
        match self {
            Question::Status => "the line".to_owned(),
            Question::Batches => "batches".to_owned(),
            Question::Batch(batch) => format!("batch {batch:?}; see `sealgate batch list`"),
            Question::Trace(code) => format!("{code:?}: no unit and no container of this journal has it"),
            Question::Alarms => "alarms".to_owned(),
            Question::Feed => "the feed".to_owned(),
        }
    }
}

/// Answers from the journal at `db`; `Null` where nothing is known of what was asked about.
pub fn answer(db: &Path, question: &Question) -> Result<Value, StoreError> {
    let mut reader = Reader::open(db)?;
    match question {
        Question::Status => status(&mut reader),
        Question::Batches => Ok(reader.batches()?.iter().rev().map(rows::batch).collect()),
        Question::Batch(batch) => one_batch(&reader, batch),
        Question::Trace(code) => trace(&mut reader, code),
        Question::Alarms => Ok(reader.alarms(Alarms::Open)?.iter().map(rows::alarm).collect()),
        Question::Feed => feed(&mut reader),
    }
}

/// What a journal alone can say of its line: who it is, how far it came, what is open.
fn status(reader: &mut Reader) -> Result<Value, StoreError> {
    let (facts, _) = reader.head()?;
    let last = reader.fact(facts)?;
    let identity = reader.identity().clone();
    let open: Vec<Value> =
        reader.batches()?.iter().filter(|batch| batch.closed_seq.is_none()).map(rows::batch).collect();
    let alarms: Vec<Value> = reader.alarms(Alarms::Open)?.iter().map(rows::alarm).collect();
    Ok(json!({
        "line": identity.line,
        "store_uuid": identity.store_uuid,
        "epoch": identity.epoch,
        "boot": identity.boot,
        "facts": facts,
        "last_at_us": last.map(|fact| fact.at_us),
        "batches": open,
        "alarms": alarms,
        "streams": streams(reader)?,
    }))
}

fn one_batch(reader: &Reader, batch: &str) -> Result<Value, StoreError> {
    let Some(row) = reader.batch(batch)? else { return Ok(Value::Null) };
    let mut document = rows::batch(&row);
    document["units"] = json!(reader.unit_counts(batch)?);
    document["verdicts"] = json!(reader.verdict_counts(batch)?);
    document["containers"] = json!(reader.container_counts(batch)?);
    Ok(document)
}

/// A code may name several things (a serial alone, under two GTINs): each that is known answers.
fn trace(reader: &mut Reader, code: &str) -> Result<Value, StoreError> {
    let mut found = Vec::new();
    for named in code::read(code, reader)? {
        let document = match named {
            Named::Unit(gtin, serial) => reader.trace_unit(gtin, serial)?.map(|trace| rows::unit(&trace)),
            Named::Container(sscc) => reader.trace_container(sscc)?.map(|trace| rows::container(&trace)),
        };
        found.extend(document);
    }
    Ok(match found.len() {
        0 => Value::Null,
        1 => found.remove(0),
        _ => Value::Array(found),
    })
}

fn feed(reader: &mut Reader) -> Result<Value, StoreError> {
    let exceptions: Vec<Value> = reader
        .feed_exceptions()?
        .iter()
        .map(|exception| json!({ "stream": &*exception.stream, "seq": exception.seq, "cause": exception.cause }))
        .collect();
    Ok(json!({ "streams": streams(reader)?, "quarantine": exceptions }))
}

fn streams(reader: &mut Reader) -> Result<Vec<Value>, StoreError> {
    let mut list = Vec::new();
    for stream in topic::STREAMS {
        let (last, acked) = (reader.stream_head(stream)?, reader.feed_cursor(stream)?);
        list.push(
            json!({ "stream": stream, "last_seq": last, "acked_seq": acked, "waiting": last.saturating_sub(acked) }),
        );
    }
    Ok(list)
}
