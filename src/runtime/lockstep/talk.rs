//! What the stage and the subject say to each other: one JSON object per line, over the subject's standard input and output.
//!
//! A text of tags or payloads is written as the truth file writes it, each byte as the character of that number.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::tag::{Quality, Reading, StationId, Tag, TagUpdate, TagValue, TagWrite};
use crate::sim::truth::{bytes_of, text_of};

/// One step of virtual time, and what came in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Frame {
    pub(super) wall_us: i64,
    /// Since this start of the subject.
    pub(super) mono_us: u64,
    pub(super) what: Vec<Coming>,
}

/// Stage to subject.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Coming {
    Connected(Vec<u8>),
    Update(u8, Vec<(String, Said)>),
    Tick,
    /// A line of the local socket.
    Ask(String),
    /// Upstream has taken everything of the facts up to this one.
    Acked(u64),
    /// A round of the log's upkeep is due.
    Upkeep,
    Stop,
}

/// Subject to stage, each said the moment it happens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Heard {
    /// Recovery found so many facts.
    Recovered(u64),
    Write(u8, Vec<(String, Said)>),
    /// The transaction that begins now holds the facts up to this one.
    Submitted(u64),
    /// They are on disk.
    Durable(u64),
    Answer(String),
    Message(Box<Sent>),
    /// The frame is done; the line as `status` shows it.
    Done(Value),
}

/// A message of the feed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Sent {
    pub(super) fact_seq: u64,
    pub(super) topic: String,
    pub(super) properties: Vec<(String, String)>,
    pub(super) payload: String,
}

/// A tag's value.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    Bool(bool),
    Int(i64),
    Milli(i64),
    Bytes(String),
    Ints(Vec<i64>),
    Millis(Vec<i64>),
    Texts(Vec<String>),
}

impl From<&TagValue> for Said {
    fn from(value: &TagValue) -> Self {
        match value {
            TagValue::Bool(value) => Said::Bool(*value),
            TagValue::Int(value) => Said::Int(*value),
            TagValue::Milli(value) => Said::Milli(*value),
            TagValue::Bytes(bytes) => Said::Bytes(text_of(bytes)),
            TagValue::Ints(values) => Said::Ints(values.clone()),
            TagValue::Millis(values) => Said::Millis(values.clone()),
            TagValue::Texts(texts) => Said::Texts(texts.iter().map(|text| text_of(text)).collect()),
        }
    }
}

impl From<Said> for TagValue {
    fn from(said: Said) -> Self {
        match said {
            Said::Bool(value) => TagValue::Bool(value),
            Said::Int(value) => TagValue::Int(value),
            Said::Milli(value) => TagValue::Milli(value),
            Said::Bytes(text) => TagValue::Bytes(bytes_of(&text)),
            Said::Ints(values) => TagValue::Ints(values),
            Said::Millis(values) => TagValue::Millis(values),
            Said::Texts(texts) => TagValue::Texts(texts.iter().map(|text| bytes_of(text)).collect()),
        }
    }
}

impl Heard {
    pub(super) fn write(write: &TagWrite) -> Self {
        let values = write.values.iter().map(|(tag, value)| (tag.name().to_owned(), value.into()));
        Heard::Write(write.station.0, values.collect())
    }
}

/// An update as the line takes it; a tag of another release is left out.
pub(super) fn update(station: u8, values: Vec<(String, Said)>) -> TagUpdate {
    let reading = |(name, said): (String, Said)| {
        let tag = Tag::parse(&name)?;
        Some(Reading { tag, value: said.into(), quality: Quality::Good, source_us: None })
    };
    TagUpdate {
        station: StationId(station),
        readings: values.into_iter().filter_map(reading).collect(),
        server_us: None,
    }
}

/// One line, with its line feed.
pub(super) fn line(what: &impl Serialize) -> String {
    let mut line = serde_json::to_string(what).expect("plain data always has a JSON form");
    line.push('\n');
    line
}
