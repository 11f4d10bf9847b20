//! What the publisher reads: facts in order, each followed by its messages, and how far the broker took them.

use std::sync::Arc;

use rusqlite::{OptionalExtension, Row};

use crate::store::error::StoreError;
use crate::store::facts::StoredFact;
use crate::store::reader::Reader;
use crate::store::recover::{rows, unsigned, word};

/// A fact, and what is published with it, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedItem {
    pub fact: StoredFact,
    pub messages: Vec<StoredMessage>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    pub fact_seq: u64,
    pub stream: Arc<str>,
    /// Dense in its stream, from 1 on.
    pub seq: u64,
    pub topic: Arc<str>,
    pub kind: Arc<str>,
    pub subject: String,
    pub body: Vec<u8>,
    pub body_sha256: [u8; 32],
}

/// A message that the feed goes on without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedException {
    pub stream: Arc<str>,
    pub seq: u64,
    pub cause: String,
}

/// The row of `message` before its words are known.
type RawMessage = (i64, i64, i64, i64, StoredMessage);

const MESSAGES: &str = "SELECT id, stream, seq, topic, kind, subject, body, body_sha256 FROM message";

impl Reader {
    /// At most `limit` facts from `fact_seq` on, each with its messages: the total order of the feed.
    pub fn feed_from(&mut self, fact_seq: u64, limit: u32) -> Result<Vec<FeedItem>, StoreError> {
        // One snapshot, so that no fact is seen without its messages.
        let snapshot = self.begin_snapshot()?;
        let facts = self.facts_from(fact_seq, limit);
        let messages = match facts.as_deref().ok().and_then(|facts| Some((facts.first()?.seq, facts.last()?.seq))) {
            Some((first, last)) => self.messages_of_facts(first, last),
            None => Ok(Vec::new()),
        };
        self.end_snapshot(snapshot)?;
        Ok(join(facts?, messages?))
    }

    /// The messages of the facts `first..=last`, in the order of the feed.
    pub fn messages_of_facts(&mut self, first: u64, last: u64) -> Result<Vec<StoredMessage>, StoreError> {
        let id = |seq: u64| i64::try_from(seq.saturating_mul(256)).unwrap_or(i64::MAX);
        let sql = format!("{MESSAGES} WHERE id >= ?1 AND id < ?2 ORDER BY id");
        let list = rows(&self.conn, &sql, (id(first), id(last.saturating_add(1))), raw)?;
        self.with_words(list)
    }

    /// At most `limit` messages of one stream from `seq` on.
    pub fn messages_from(&mut self, stream: &str, seq: u64, limit: u32) -> Result<Vec<StoredMessage>, StoreError> {
        let Some(stream) = self.stream(stream)? else { return Ok(Vec::new()) };
        let sql = format!("{MESSAGES} WHERE stream = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3");
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        let list = rows(&self.conn, &sql, (stream, seq, limit), raw)?;
        self.with_words(list)
    }

    /// How far the broker took the stream; 0 where it took nothing.
    pub fn feed_cursor(&mut self, stream: &str) -> Result<u64, StoreError> {
        self.number_of(stream, "SELECT acked_seq FROM work_feed WHERE stream = ?1")
    }

    /// The highest number given in the stream. The stream of facts ends at [`Reader::head`].
    pub fn stream_head(&mut self, stream: &str) -> Result<u64, StoreError> {
        self.number_of(stream, "SELECT last_seq FROM stream WHERE stream = ?1")
    }

    pub fn feed_exceptions(&mut self) -> Result<Vec<FeedException>, StoreError> {
        let sql = "SELECT stream, seq, cause FROM work_feed_exception ORDER BY stream, seq";
        let list = rows(&self.conn, sql, [], |row| Ok((row.get(0)?, unsigned(row, 1)?, row.get(2)?)))?;
        let (conn, words) = self.parts();
        let with_word = |(stream, seq, cause)| Ok(FeedException { stream: word(conn, words, stream)?, seq, cause });
        list.into_iter().map(with_word).collect()
    }

    fn number_of(&mut self, stream: &str, sql: &str) -> Result<u64, StoreError> {
        let Some(stream) = self.stream(stream)? else { return Ok(0) };
        let read = || self.conn.prepare_cached(sql)?.query_row([stream], |row| unsigned(row, 0)).optional();
        let found = read().map_err(StoreError::sqlite("reading the place of a stream"))?;
        Ok(found.unwrap_or(0))
    }

    fn stream(&mut self, stream: &str) -> Result<Option<i64>, StoreError> {
        self.words.find(&self.conn, stream).map_err(StoreError::sqlite("reading a word"))
    }

    fn begin_snapshot(&self) -> Result<Snapshot, StoreError> {
        self.conn.execute_batch("BEGIN").map_err(StoreError::sqlite("beginning a snapshot"))?;
        Ok(Snapshot)
    }

    fn end_snapshot(&self, Snapshot: Snapshot) -> Result<(), StoreError> {
        self.conn.execute_batch("COMMIT").map_err(StoreError::sqlite("ending a snapshot"))
    }

    fn with_words(&mut self, list: Vec<RawMessage>) -> Result<Vec<StoredMessage>, StoreError> {
        let (conn, words) = self.parts();
        let mut found = Vec::with_capacity(list.len());
        for (stream, topic, kind, id, message) in list {
            found.push(StoredMessage {
                fact_seq: u64::try_from(id >> 8).map_err(|_| StoreError::damaged("a message has a negative id"))?,
                stream: word(conn, words, stream)?,
                topic: word(conn, words, topic)?,
                kind: word(conn, words, kind)?,
                ..message
            });
        }
        Ok(found)
    }
}

/// A read transaction is open.
struct Snapshot;

fn raw(row: &Row<'_>) -> rusqlite::Result<RawMessage> {
    let empty: Arc<str> = Arc::default();
    let message = StoredMessage {
        fact_seq: 0,
        stream: empty.clone(),
        seq: unsigned(row, 2)?,
        topic: empty.clone(),
        kind: empty,
        subject: row.get(5)?,
        body: row.get(6)?,
        body_sha256: row.get(7)?,
    };
    Ok((row.get(1)?, row.get(3)?, row.get(4)?, row.get(0)?, message))
}

fn join(facts: Vec<StoredFact>, messages: Vec<StoredMessage>) -> Vec<FeedItem> {
    let mut messages = messages.into_iter().peekable();
    let with_messages = |fact: StoredFact| {
        let mut own = Vec::new();
        while let Some(message) = messages.next_if(|message| message.fact_seq == fact.seq) {
            own.push(message);
        }
        FeedItem { fact, messages: own }
    };
    facts.into_iter().map(with_messages).collect()
}
