//! The feed as its journal shows it: streams, what waits, and what lies in quarantine.

use serde_json::{Map, Value, json};

use super::{ReportError, object, put_time};
use crate::store::Reader;
use crate::store::feed::FeedException;
use crate::wire::topic;

/// Bytes of bodies that one answer carries; the rest is asked for when these are gone.
const BODIES_MAX: usize = 16 << 20;

/// Whether the messages themselves are told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Bodies {
    Left,
    Told,
}

/// Every stream with its newest number, what the broker took of it, and what waits.
pub(super) fn status(reader: &mut Reader) -> Result<Value, ReportError> {
    let head = reader.head()?.0;
    let acked = reader.feed_cursor(topic::STREAM_FACT)?;
    let (gone, mut streams) = (reader.gone()?, Vec::new());
    for stream in topic::STREAMS {
        let last = if *stream == topic::STREAM_FACT { head } else { reader.stream_head(stream)? };
        let acked = reader.feed_cursor(stream)?;
        let (backlog, let_go) = (last.saturating_sub(acked), gone.through_of(stream));
        streams.push(json!({ "stream": stream, "head": last, "acked": acked, "backlog": backlog, "let_go": let_go }));
    }
    let first_waiting = reader.fact(acked.saturating_add(1))?;
    let mut fields = object(json!({
        "head": head,
        "acked": acked,
        "backlog": head.saturating_sub(acked),
        "watermark": reader.feed_watermark()?,
        "message_bytes": reader.message_bytes()?,
        "exceptions": reader.feed_exception_count()?,
    }));
    put_time(&mut fields, "waiting_since", first_waiting.map(|fact| fact.at_us));
    fields.insert("streams".to_owned(), Value::Array(streams));
    Ok(Value::Object(fields))
}

/// What the feed goes on without, oldest number first in each stream.
pub(super) fn quarantine(reader: &mut Reader, bodies: Bodies) -> Result<Value, ReportError> {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    for exception in reader.feed_exceptions()? {
        let row = message(reader, &exception, bodies)?;
        bytes += row.get("body").and_then(Value::as_str).map_or(0, str::len);
        if bytes > BODIES_MAX && !rows.is_empty() {
            break;
        }
        rows.push(Value::Object(row));
    }
    Ok(Value::Array(rows))
}

fn message(reader: &mut Reader, exception: &FeedException, bodies: Bodies) -> Result<Map<String, Value>, ReportError> {
    let (line, epoch) = (reader.identity().line.clone(), reader.identity().epoch);
    let (stream, seq) = (&*exception.stream, exception.seq);
    let mut row = object(json!({ "stream": stream, "seq": seq, "cause": exception.cause }));
    // Topic, the fact that caused it, and the body; gone where a person skipped it and its time was up.
    let found = if stream == topic::STREAM_FACT {
        reader
            .fact(seq)?
            .map(|fact| (topic::fact(&fact.kind), fact.seq, fact.published().body.into_owned().into_bytes()))
    } else {
        let message = reader.messages_from(stream, seq, 1)?.into_iter().find(|message| message.seq == seq);
        message.map(|message| (message.topic.to_string(), message.fact_seq, message.body))
    };
    row.insert("id".to_owned(), json!(format!("{line}/{epoch}/{stream}/{seq}")));
    row.insert("topic".to_owned(), json!(found.as_ref().map(|(topic, ..)| topic)));
    row.insert("fact_seq".to_owned(), json!(found.as_ref().map(|(_, fact, _)| fact)));
    row.insert("bytes".to_owned(), json!(found.as_ref().map(|(.., body)| body.len())));
    if let (Bodies::Told, Some((.., body))) = (bodies, found) {
        row.insert("body".to_owned(), json!(String::from_utf8_lossy(&body)));
    }
    Ok(row)
}
