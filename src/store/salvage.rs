//! What can be saved of a damaged journal: the longest run of facts from the first one that the chain proves, and the tables
//! made anew from them. The damaged file is read and never written.
//!
//! Not saved: facts behind the first that cannot be read or does not fit its hash, since nothing proves them. Which they are
//! is said, so that upstream can be asked for what it has. The feed goes on from what was acknowledged of the saved part, and the saved part is
//! signed as it was.

use std::path::Path;

use rusqlite::Connection;

use crate::store::error::StoreError;
use crate::store::open::{Identity, Store};
use crate::store::reader::Reader;
use crate::store::rebuild;
use crate::store::salvaged::{self, Mark};
use crate::store::signatures;
use crate::wire::topic;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SalvageReport {
    pub line: String,
    pub store_uuid: String,
    /// Facts saved, from the first one on.
    pub facts: u64,
    /// The hash of the newest of them.
    pub head: [u8; 32],
    /// Why there are no more; `None` where all were saved.
    pub stopped: Option<String>,
    /// The highest number that a fact of the damaged file seems to have.
    pub newest_seen: Option<u64>,
}

impl SalvageReport {
    /// The saved and the lost, for a person.
    pub fn text(&self) -> String {
        let facts = self.facts;
        match (&self.stopped, self.newest_seen.filter(|newest| *newest > facts)) {
            (None, _) => format!("all {facts} facts were saved"),
            (Some(why), Some(newest)) => {
                format!("facts 1 to {facts} were saved, {} to {newest} are lost: {why}", facts.saturating_add(1))
            }
            (Some(why), None) => format!("facts 1 to {facts} were saved, what came after is lost: {why}"),
        }
    }
}

/// Saves what can be saved of `damaged` into a new file `out`. `known` is who the journal was, where that is known from
/// elsewhere: the page that says it may be the damaged one.
pub fn run(damaged: &Path, out: &Path, known: Option<&Identity>) -> Result<SalvageReport, StoreError> {
    if std::fs::symlink_metadata(out).is_ok() {
        let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        return Err(StoreError::Io { doing: "salvaging into", path: out.to_owned(), source });
    }
    let mut reader = Reader::open_damaged(damaged, known)?;
    let newest_seen = newest_seen(&reader.conn);
    let (mut copy, fold) = rebuild::fold(&mut reader, out)?;
    let (facts, head) = copy.head();
    if facts == 0 {
        let why = fold.stopped.and_then(|stopped| stopped.is).unwrap_or_else(|| "it holds no fact".to_owned());
        drop(copy);
        discard(out);
        return Err(StoreError::damaged(format!("nothing of it could be saved: {why}; restore a backup")));
    }
    carry_feed(&reader.conn, &copy);
    signatures::carry(&reader.conn, &mut copy)?;
    let stopped = fold.stopped.map(|stopped| format!("{}: {}", stopped.key, stopped.is.unwrap_or_default()));
    let why = stopped.clone().unwrap_or_else(|| "its tables were made anew from all its facts".to_owned());
    salvaged::mark(&copy, &Mark { facts, why })?;
    copy.make_durable()?;
    let identity = reader.identity();
    Ok(SalvageReport {
        line: identity.line.clone(),
        store_uuid: identity.store_uuid.clone(),
        facts,
        head,
        stopped,
        newest_seen,
    })
}

fn newest_seen(conn: &Connection) -> Option<u64> {
    let newest: Option<i64> = conn.query_row("SELECT max(seq) FROM fact", [], |row| row.get(0)).ok().flatten();
    newest.and_then(|newest| u64::try_from(newest).ok())
}

/// Takes over what the broker acknowledged, never beyond what was saved: numbers behind it will mean something else. What
/// cannot be read is sent once more.
fn carry_feed(from: &Connection, copy: &Store) {
    let read = || -> rusqlite::Result<Vec<(String, i64)>> {
        let sql = "SELECT w.text, f.acked_seq FROM work_feed f JOIN word w ON w.word = f.stream";
        from.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    for (stream, acked) in read().unwrap_or_default() {
        let Some(stream) = topic::STREAMS.iter().find(|known| **known == stream) else { continue };
        let last = if *stream == topic::STREAM_FACT {
            "SELECT max(seq) FROM fact"
        } else {
            "SELECT last_seq FROM stream s JOIN word w ON w.word = s.stream WHERE w.text = ?2"
        };
        let sql = format!(
            "INSERT INTO work_feed (stream, acked_seq) SELECT word, min(?1, ({last})) FROM word \
             WHERE text = ?2 AND ({last}) IS NOT NULL ON CONFLICT (stream) DO UPDATE SET acked_seq = max(acked_seq, excluded.acked_seq)"
        );
        // A stream without a place begins at its first number.
        let _ = copy.conn.execute(&sql, (acked, stream));
    }
}

/// A file that was begun and is nothing.
pub(super) fn discard(out: &Path) {
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let _ = std::fs::remove_file(crate::store::lock::beside(out, suffix));
    }
}
