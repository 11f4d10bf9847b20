//! What the publisher reads: facts in order, each followed by its messages, and how far the broker took them.

use std::sync::Arc;

use rusqlite::{OptionalExtension, Row};

use crate::store::error::StoreError;
use crate::store::facts::StoredFact;
use crate::store::journal::SKIPPED;
use crate::store::messages;
use crate::store::reader::Reader;
use crate::store::recover::{rows, unsigned, word};
use crate::wire::record::Gone;

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

/// What the store has to say before messages may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Messages of facts from this instant on stay, for a replay.
    pub from_us: i64,
    /// About so many bytes of messages are kept at most, whatever their age.
    pub bytes_max: u64,
}

/// What may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expirable {
    /// All that is gone when it has gone.
    pub gone: Gone,
    /// There is more than goes at once.
    pub is_more: bool,
}

/// Where `work_feed` holds the consumer's watermark: no word has this number.
pub(super) const WATERMARK_ROW: i64 = 0;
/// Taken by the broker, and not waiting in quarantine for a person.
const MAY_GO: &str = "message.seq <= (SELECT acked_seq FROM work_feed f WHERE f.stream = message.stream) \
    AND NOT EXISTS (SELECT 1 FROM work_feed_exception x WHERE x.stream = message.stream AND x.seq = message.seq \
      AND substr(x.cause, 1, 7) <> 'skipped')";
/// Messages that one look lets go at most, so that the transaction stays short.
const EXPIRED_AT_ONCE: u32 = 500;
/// What a row of `message` costs beside its body, about.
const ROW_BYTES: u64 = 100;

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

    /// Exceptions of any cause.
    pub fn feed_exception_count(&mut self) -> Result<u64, StoreError> {
        let found = rows(&self.conn, "SELECT count(*) FROM work_feed_exception", [], |row| unsigned(row, 0))?;
        Ok(found.first().copied().unwrap_or(0))
    }

    /// The consumer's watermark; `None` while no consumer reports one.
    pub fn feed_watermark(&mut self) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT acked_seq FROM work_feed WHERE stream = ?1";
        let found = rows(&self.conn, sql, [WATERMARK_ROW], |row| unsigned(row, 0))?;
        Ok(found.first().copied())
    }

    /// About how many bytes of messages the journal holds. Messages leave from the front, so that the numbers tell how many
    /// there are; the oldest and the newest tell how long they are.
    pub fn message_bytes(&mut self) -> Result<u64, StoreError> {
        let counts = "SELECT COALESCE(sum(1 + s.last_seq - (SELECT min(m.seq) FROM message m WHERE m.stream = s.stream)), 0) \
                      FROM stream s WHERE EXISTS (SELECT 1 FROM message m WHERE m.stream = s.stream)";
        let lengths = "SELECT COALESCE(CAST(avg(length) AS INTEGER), 0) FROM (\
                       SELECT length(body) AS length FROM (SELECT body FROM message ORDER BY id LIMIT 100) UNION ALL \
                       SELECT length(body) FROM (SELECT body FROM message ORDER BY id DESC LIMIT 100))";
        let one = |sql| {
            Ok::<u64, StoreError>(rows(&self.conn, sql, [], |row| unsigned(row, 0))?.first().copied().unwrap_or(0))
        };
        Ok(one(counts)?.saturating_mul(one(lengths)?.saturating_add(ROW_BYTES)))
    }

    /// What is gone when what may go now has gone; `None` where nothing may. By age only what the consumer confirmed, where it
    /// confirms at all; beyond `bytes_max` everything that the broker took. Some hundred messages at once at most.
    pub fn expirable(&mut self, keep: Keep) -> Result<Option<Expirable>, StoreError> {
        let is_over = self.message_bytes()? > keep.bytes_max;
        let confirmed = self.feed_watermark()?.unwrap_or(u64::MAX);
        let sql = format!(
            "SELECT message.id >> 8, fact.at_us, message.stream, message.seq FROM message \
             JOIN fact ON fact.seq = message.id >> 8 WHERE {MAY_GO} ORDER BY message.id LIMIT ?1"
        );
        let list = rows(&self.conn, &sql, [EXPIRED_AT_ONCE], |row| {
            Ok((unsigned(row, 0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?, unsigned(row, 3)?))
        })?;
        let may_go =
            |(fact, at_us, ..): &&(u64, i64, i64, u64)| is_over || (*at_us < keep.from_us && *fact <= confirmed);
        let going: Vec<_> = list.iter().take_while(may_go).collect();
        if going.is_empty() {
            return Ok(None);
        }
        let is_more = u32::try_from(going.len()) == Ok(EXPIRED_AT_ONCE);
        let exceptions = self.feed_exceptions()?;
        let (conn, words) = self.parts();
        let mut gone = Gone { kept: Vec::new(), ..messages::gone(conn, words)? };
        for (_, _, stream, seq) in going {
            gone.raise(&word(conn, words, *stream)?, *seq);
        }
        let waits = |one: &&FeedException| !one.cause.starts_with(SKIPPED);
        for one in exceptions.iter().filter(waits) {
            gone.keep(&one.stream, one.seq);
        }
        gone.trim();
        Ok(Some(Expirable { gone, is_more }))
    }

    /// What was let go so far.
    pub fn gone(&mut self) -> Result<Gone, StoreError> {
        let (conn, words) = self.parts();
        messages::gone(conn, words)
    }

    fn number_of(&mut self, stream: &str, sql: &str) -> Result<u64, StoreError> {
        let Some(stream) = self.stream(stream)? else { return Ok(0) };
        let read = || self.conn.prepare_cached(sql)?.query_row([stream], |row| unsigned(row, 0)).optional();
        let found = read().map_err(StoreError::sqlite("reading the place of a stream"))?;
        Ok(found.unwrap_or(0))
    }

    /// The number of a word.
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::store::commit::Job;
    use crate::store::journal::Work;
    use crate::store::open::{Settings, open};
    use crate::store::samples::*;

    #[test]
    fn messages_go_by_age_when_confirmed_by_size_in_any_case_and_never_unacknowledged_or_quarantined() {
        // I16, I17
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("line.db");
        let mut store = open(&Settings::new(&path, "l1")).expect("opens");
        store.commit(&job(story()), || 0).expect("committed");
        let store = RefCell::new(store);
        let commit = |records, work| store.borrow_mut().commit(&Job { records, work }, || 0).map(drop);
        let work = |work| commit(vec![], vec![work]).expect("noted");
        let look = |keep: Keep| {
            let found = Reader::open(&path).expect("reads").expirable(keep).expect("an answer");
            found.map(|found| found.gone)
        };
        let through = |seq| Some(gone(seq, &[]));
        let old = Keep { from_us: i64::MAX, bytes_max: u64::MAX };
        let young = Keep { from_us: 0, bytes_max: u64::MAX };
        let facts: Vec<u64> =
            Reader::open(&path).unwrap().messages_from("epcis", 1, 9).unwrap().iter().map(|m| m.fact_seq).collect();
        assert_eq!(facts.len(), 3);
        assert_eq!(look(old), None, "nothing was taken yet");
        work(Work::FeedAcked { through: 21 });
        assert_eq!((look(young), look(old)), (None, through(3)));
        work(Work::FeedConfirmed { through: facts[1] });
        assert_eq!(look(old), through(2), "the consumer has no more");
        work(Work::FeedConfirmed { through: facts[0] });
        assert_eq!(look(old), through(1), "a restored consumer has less");
        assert_eq!(look(Keep { bytes_max: 0, ..young }), through(3), "the disk is bounded");
        work(Work::FeedExcepted { stream: "epcis", seq: 2, cause: "too large".into() });
        assert_eq!(look(Keep { bytes_max: 0, ..young }), Some(gone(3, &[2])));
        commit(vec![expired(22, gone(3, &[2]))], vec![]).expect("let go");
        let left = || Reader::open(&path).unwrap().messages_from("epcis", 1, 9).unwrap();
        assert_eq!(left().iter().map(|message| message.seq).collect::<Vec<_>>(), [2], "quarantine waits for a person");
        assert_eq!(look(old), None);
        work(Work::FeedExcepted { stream: "epcis", seq: 2, cause: "skipped by local".into() });
        assert_eq!(look(Keep { bytes_max: 0, ..young }), through(3));
        commit(vec![expired(23, gone(3, &[]))], vec![]).expect("let go");
        assert_eq!((left(), look(Keep { bytes_max: 0, ..young })), (vec![], None));
        let mut reader = Reader::open(&path).expect("reads");
        assert_eq!((reader.feed_watermark().unwrap(), reader.message_bytes().unwrap()), (Some(facts[0]), 0));
        work(Work::FeedCleared { stream: "epcis", seq: 2 });
        assert_eq!(Reader::open(&path).unwrap().feed_exception_count().unwrap(), 0);
    }
}
