//! Which messages must be there: all that the facts caused, but those that a fact has let go (`messages_expired`).
//!
//! Contract: the newest such fact alone tells what may be missing, so that [`gap`] finds a message that somebody deleted whatever
//! the tables `work_*` say of it. It counts numbers and reads no body: what each message must be is for `store::rebuild`.

use std::collections::BTreeSet;

use rusqlite::Connection;

use crate::store::change::integer;
use crate::store::error::{Flaw, StoreError};
use crate::store::facts;
use crate::store::open::Store;
use crate::store::recover::{rows, signed, unsigned, word};
use crate::store::words::{MESSAGES_EXPIRED, Words};
use crate::wire::fact;
use crate::wire::record::{Gone, MessageNumber};

/// What was let go so far.
pub(super) fn gone(conn: &Connection, words: &mut Words) -> Result<Gone, StoreError> {
    Ok(newest(conn, words)?.map_or_else(Gone::default, |(_, gone)| gone))
}

/// The newest fact that let messages go, and what is gone since.
pub(super) fn newest(conn: &Connection, words: &mut Words) -> Result<Option<(u64, Gone)>, StoreError> {
    let doing = "reading which messages were let go";
    let sql = format!("{} WHERE kind = {MESSAGES_EXPIRED} ORDER BY seq DESC LIMIT 1", facts::SELECT);
    let mut newest = conn.prepare_cached(&sql).map_err(StoreError::sqlite(doing))?;
    let mut found = newest.query([]).map_err(StoreError::sqlite(doing))?;
    let Some(row) = found.next().map_err(StoreError::sqlite(doing))? else { return Ok(None) };
    let stored = facts::read(conn, words, row)?;
    let damaged = |what: String| StoreError::Damaged { seq: Some(stored.seq), what };
    let gone = fact::gone(stored.undecoded()).map_err(|error| damaged(error.to_string()))?;
    let gone = gone.ok_or_else(|| damaged("it lets no messages go".into()))?;
    Ok(Some((stored.seq, gone)))
}

/// Deletes what a fact lets go. What the broker did not take is held by a trigger.
pub(super) fn let_go(conn: &Connection, words: &mut Words, gone: &Gone) -> Result<(), Flaw> {
    let mut delete = conn.prepare_cached("DELETE FROM message WHERE stream = ?1 AND seq BETWEEN ?2 AND ?3")?;
    for at in &gone.through {
        let Some(stream) = words.find(conn, at.stream.as_str())? else { continue };
        let mut first = 1;
        for kept in kept_of(gone, at.stream.as_str()) {
            delete.execute((stream, integer(first)?, integer(kept.saturating_sub(1))?))?;
            first = kept.saturating_add(1);
        }
        delete.execute((stream, integer(first)?, integer(at.seq)?))?;
    }
    Ok(())
}

fn kept_of(gone: &Gone, stream: &str) -> BTreeSet<u64> {
    gone.kept.iter().filter(|at| at.stream.as_str() == stream).map(|at| at.seq).collect()
}

/// The first message that must be there and is not, or the first that must not; `None` where all is as the facts say. The numbers of a
/// stream end where the table `stream` says, which `store::rebuild` proves.
pub(super) fn gap(conn: &Connection, words: &mut Words) -> Result<Option<String>, StoreError> {
    let gone = gone(conn, words)?;
    let streams = rows(conn, "SELECT stream, last_seq FROM stream ORDER BY stream", [], |row| {
        Ok((row.get::<_, i64>(0)?, unsigned(row, 1)?))
    })?;
    for (id, last) in streams {
        let name = word(conn, words, id)?;
        let through = gone.through_of(&name);
        let is_dense = counted(conn, id, through)? == last.saturating_sub(through);
        let kept = kept_of(&gone, &name);
        if !is_dense || numbers(conn, id, (1, through))? != kept {
            return first_flaw(conn, (id, &name), (through, last), &kept).map(Some);
        }
    }
    Ok(None)
}

/// How many messages lie behind `through`: the index is counted, no message is read.
fn counted(conn: &Connection, stream: i64, through: u64) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM message WHERE stream = ?1 AND seq > ?2";
    let found = rows(conn, sql, (stream, signed(through)), |row| unsigned(row, 0))?;
    Ok(found.first().copied().unwrap_or(0))
}

fn numbers(conn: &Connection, stream: i64, (from, to): (u64, u64)) -> Result<BTreeSet<u64>, StoreError> {
    let sql = "SELECT seq FROM message WHERE stream = ?1 AND seq BETWEEN ?2 AND ?3 ORDER BY seq";
    let found = rows(conn, sql, (stream, signed(from), signed(to)), |row| unsigned(row, 0))?;
    Ok(found.into_iter().collect())
}

/// Named for a person. What is missing comes first: it is what somebody would take away.
fn first_flaw(
    conn: &Connection,
    (id, name): (i64, &str),
    (through, last): (u64, u64),
    kept: &BTreeSet<u64>,
) -> Result<String, StoreError> {
    let (old, new) = (numbers(conn, id, (1, through))?, numbers(conn, id, (through.saturating_add(1), u64::MAX))?);
    let mut dense = through.saturating_add(1)..;
    let next = new.iter().zip(dense.by_ref()).find(|(is, must)| *is != must).map(|(_, must)| must);
    let end = through.saturating_add(1).saturating_add(u64::try_from(new.len()).unwrap_or(u64::MAX));
    let missing = kept.difference(&old).next().copied().or(next).or((end <= last).then_some(end));
    Ok(match (missing, old.difference(kept).next().or(new.last())) {
        (Some(missing), _) => format!("message {missing} of stream {name} is missing, and no fact let it go"),
        (None, Some(surplus)) => {
            format!("message {surplus} of stream {name} is there, and no fact says that it should be")
        }
        (None, None) => format!("the numbers of stream {name} do not hold together"),
    })
}

impl Store {
    /// For a file that is made anew from facts: what they let go was taken by the broker, or they would not say so.
    pub(super) fn note_taken(&mut self, gone: &Gone) -> Result<(), StoreError> {
        let mut note = |at: &MessageNumber| -> Result<(), Flaw> {
            let stream = self.words.id(&self.conn, at.stream.as_str())?;
            self.note_place(stream, at.seq)
        };
        gone.through.iter().try_for_each(&mut note).map_err(|flaw| flaw.at(self.head.0))
    }
}
