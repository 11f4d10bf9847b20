//! What a subscriber captured against the facts and messages of the journal.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::Value;
use sha2::{Digest, Sha256};

use super::Report;
use crate::sim::capture::hex;
use crate::store::views::{FactRow, Views};

#[derive(Deserialize)]
struct CapturedLine {
    topic: String,
    sha256: String,
    #[serde(default)]
    properties: BTreeMap<String, String>,
    payload: Value,
}

/// One message as it arrived; copies must be equal to it.
struct Captured {
    sha256: String,
    topic: String,
    payload: Value,
}

pub(super) fn compare(views: &Views, feed_jsonl: &str, report: &mut Report) {
    let captured = read(feed_jsonl, report);
    dense("fact", views.facts.iter().map(|fact| fact.seq), report);
    for stream in ["epcis", "batch"] {
        dense(
            stream,
            views.messages.iter().filter(|message| message.stream == stream).map(|message| message.seq),
            report,
        );
    }
    for fact in &views.facts {
        compare_fact(fact, captured.get(&("fact".to_owned(), fact.seq)).map(|(_, captured)| captured), report);
    }
    for message in &views.messages {
        let name = format!("message {} {}", message.stream, message.seq);
        match captured.get(&(message.stream.clone(), message.seq)) {
            None => report.differ(format!("{name} is missing in the capture")),
            Some((id, captured)) => {
                if captured.sha256 != message.body_sha256
                    || *id != message.id
                    || !captured.topic.ends_with(&message.topic)
                {
                    report
                        .differ(format!("{name} was captured as {id} on {} with other bytes or names", captured.topic));
                }
            }
        }
    }
    let known = |(stream, seq): &(String, u64)| match stream.as_str() {
        "fact" => views.facts.binary_search_by_key(seq, |fact| fact.seq).is_ok(),
        _ => views.messages.iter().any(|message| message.stream == *stream && message.seq == *seq),
    };
    let highest = captured.keys().fold(BTreeMap::new(), |mut highest: BTreeMap<&str, &(String, u64)>, key| {
        highest.insert(&key.0, key);
        highest
    });
    for key in highest.into_values().filter(|key| !known(key)) {
        report.differ(format!("{} {} was captured and is not in the journal", key.0, key.1));
    }
}

fn compare_fact(fact: &FactRow, captured: Option<&Captured>, report: &mut Report) {
    let Some(captured) = captured else {
        report.differ(format!("fact {} ({}) is missing in the capture", fact.seq, fact.kind));
        return;
    };
    let is_whole = captured.sha256 == hex(&Sha256::digest(fact.body.as_bytes()));
    // Of digest kinds the feed gets the hash alone.
    let is_digest = captured.payload.get("hash").and_then(Value::as_str) == Some(&fact.hash);
    if !(is_whole || is_digest) || !captured.topic.ends_with(&format!("_fact/{}", fact.kind)) {
        report
            .differ(format!("fact {} ({}) was captured on {} with another body", fact.seq, fact.kind, captured.topic));
    }
}

/// Messages of the three streams by stream and number, with their ids.
fn read(feed_jsonl: &str, report: &mut Report) -> BTreeMap<(String, u64), (String, Captured)> {
    let mut captured: BTreeMap<(String, u64), (String, Captured)> = BTreeMap::new();
    for (index, text) in feed_jsonl.lines().enumerate() {
        let number = index.saturating_add(1);
        let line: CapturedLine = match serde_json::from_str(text) {
            Ok(line) => line,
            Err(error) => {
                report.differ(format!("feed line {number}: {error}"));
                continue;
            }
        };
        if !is_digest_right(text, &line) {
            report.differ(format!("feed line {number}: the payload is not the one of its digest"));
        }
        let Some(id) = line.properties.get("id").cloned() else { continue };
        let Some(key) = stream_and_seq(&id) else {
            report.differ(format!("feed line {number}: {id:?} is no id of ours"));
            continue;
        };
        let message = Captured { sha256: line.sha256, topic: line.topic, payload: line.payload };
        match captured.get(&key) {
            Some((first, earlier)) if *first != id || earlier.sha256 != message.sha256 => {
                report
                    .differ(format!("feed line {number}: {id} came with other bytes than before, or under another id"));
            }
            Some(_) => {}
            None => {
                captured.insert(key, (id, message));
            }
        }
    }
    captured
}

/// `{line}/{epoch}/{stream}/{seq}`; a line's name may hold slashes.
fn stream_and_seq(id: &str) -> Option<(String, u64)> {
    let mut parts = id.rsplitn(3, '/');
    let seq = parts.next()?.parse().ok()?;
    Some((parts.next()?.to_owned(), seq))
}

/// The payload is the last member of the line, as its bytes came, or a string of their hexadecimal digits.
fn is_digest_right(text: &str, line: &CapturedLine) -> bool {
    const MARK: &str = ",\"payload\":";
    let raw =
        text.find(MARK).and_then(|at| text.get(at + MARK.len()..)).and_then(|rest| rest.trim_end().strip_suffix('}'));
    let is_raw = raw.is_some_and(|raw| hex(&Sha256::digest(raw.as_bytes())) == line.sha256);
    let is_hex = || {
        let digits = line.payload.as_str()?;
        let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
        Some(hex(&Sha256::digest(bytes?)) == line.sha256)
    };
    is_raw || is_hex() == Some(true)
}

/// A stream is numbered from 1 on without a gap.
fn dense(stream: &str, numbers: impl Iterator<Item = u64>, report: &mut Report) {
    let mut expected = 1_u64;
    for number in numbers {
        if number != expected {
            report.differ(format!("{stream} {expected} is missing in the journal; {number} follows"));
        }
        expected = number.saturating_add(1);
    }
}
