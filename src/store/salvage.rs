//! What can be saved of a damaged journal: the longest run of facts from the first one that the chain proves, wherever in the
//! file and its log they lie (`store::found`), and the tables made anew from them. The damaged file is read and never written.
//!
//! Not saved: facts behind the first that cannot be read or does not fit its hash, since nothing proves them. Which they are
//! is said, so that upstream can be asked for what it has. The feed goes on from what was acknowledged of the saved part, and the saved part is
//! signed as it was.

use std::path::Path;

use rusqlite::Connection;

use crate::store::error::StoreError;
use crate::store::found;
use crate::store::lock::beside;
use crate::store::open::{Identity, Store};
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
    /// Why there are no more; `None` where there is no trace of more.
    pub stopped: Option<String>,
    /// The highest number of a fact that follows from the one before it.
    pub newest_seen: Option<u64>,
    /// Pages that are there and pages that the file counts, where there are fewer: facts of which there is no trace may be lost.
    pub cut: Option<(u32, u32)>,
}

impl SalvageReport {
    pub fn is_all(&self) -> bool {
        self.stopped.is_none() && self.cut.is_none()
    }

    /// The saved and the lost, for a person.
    pub fn text(&self) -> String {
        let facts = self.facts;
        let next = facts.saturating_add(1);
        let cut =
            self.cut.map(|(there, counted)| format!("the file is cut short, {there} of its {counted} pages are there"));
        match (&self.stopped, self.newest_seen.filter(|newest| *newest > facts), cut) {
            (None, _, None) => format!("all {facts} facts that it holds were saved"),
            (None, _, Some(cut)) => format!("facts 1 to {facts} were saved, facts from {next} on may be lost: {cut}"),
            (Some(why), Some(newest), None) => {
                format!("facts 1 to {facts} were saved, {next} to {newest} are lost: {why}")
            }
            (Some(why), Some(newest), Some(cut)) => {
                format!("facts 1 to {facts} were saved, {next} to {newest} and maybe later ones are lost: {why}; {cut}")
            }
            (Some(why), None, None) => format!("facts 1 to {facts} were saved, what came after is lost: {why}"),
            (Some(why), None, Some(cut)) => {
                format!("facts 1 to {facts} were saved, what came after is lost: {why}; {cut}")
            }
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
    let found = found::look(damaged, &beside(out, "-found"))?;
    let proven = found.prove(known)?;
    if proven.facts == 0 {
        return Err(nothing(damaged, found.fact_count()));
    }
    let identity = found.identity(&proven.genesis, known).ok_or_else(|| {
        let what = "its facts are whole, but not the row that says whose journal it is; lay the file NAME.born of this journal \
                    beside it and try again";
        StoreError::damaged(what)
    })?;
    let (newest_seen, cut) = (found.newest(proven.facts), found.cut);
    let (mut reader, _scratch) = found.into_reader(identity);
    let (mut copy, fold) = rebuild::fold(&mut reader, out)?;
    let (facts, head) = copy.head();
    carry_feed(&reader.conn, &copy);
    signatures::carry(&reader.conn, &mut copy)?;
    let stopped = fold.stopped.map(|stopped| format!("{}: {}", stopped.key, stopped.is.unwrap_or_default()));
    let identity = reader.identity();
    let report = SalvageReport {
        line: identity.line.clone(),
        store_uuid: identity.store_uuid.clone(),
        facts,
        head,
        stopped,
        newest_seen,
        cut,
    };
    salvaged::mark(&copy, &Mark { facts, why: report.text() })?;
    copy.make_durable()?;
    Ok(report)
}

fn nothing(damaged: &Path, facts: u64) -> StoreError {
    let is_empty = std::fs::metadata(damaged).is_ok_and(|file| file.len() == 0);
    let why = match facts {
        0 if is_empty => "the file is empty".to_owned(),
        0 => "no fact is left in it".to_owned(),
        facts => format!("none of the {facts} facts that are left follows from the beginning of the journal"),
    };
    StoreError::damaged(format!("nothing of {} could be saved: {why}; restore a backup", damaged.display()))
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
