//! Reading: beside the daemon through a read-only connection, or without one on what lies there, which stays untouched.
//!
//! - A daemon holds the journal: read-only connection, its log included, never in the way of a commit.
//! - None does, and a log lies beside the file: a private copy of both, gone when the reader goes.
//! - None does, and there is no log: the file itself, as immutable.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::store::error::StoreError;
use crate::store::facts::{self, StoredFact};
use crate::store::lock::{self, beside};
use crate::store::open::{self, Identity};
use crate::store::recover::signed;
use crate::store::schema;
use crate::store::words::Words;

/// A view on the journal. Each call sees what was durable when it was made.
#[derive(Debug)]
pub struct Reader {
    pub(super) conn: Connection,
    pub(super) words: Words,
    pub(super) identity: Identity,
    _copy: Option<PrivateCopy>,
}

impl Reader {
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::of(reach(path)?)
    }

    fn of((copy, conn): (Option<PrivateCopy>, Connection)) -> Result<Self, StoreError> {
        let identity = open::identity(&conn)?.ok_or_else(|| StoreError::damaged("table meta is empty"))?;
        Ok(Self { conn, words: Words::default(), identity, _copy: copy })
    }

    /// What was found of a damaged file.
    pub(super) fn of_found(conn: Connection, identity: Identity) -> Self {
        Self { conn, words: Words::default(), identity, _copy: None }
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The newest fact and its hash; 0 and the genesis before the first.
    pub fn head(&mut self) -> Result<(u64, [u8; 32]), StoreError> {
        open::head(&self.conn, &mut self.words, &self.identity)
    }

    /// At most `limit` facts from `seq` on.
    pub fn facts_from(&mut self, seq: u64, limit: u32) -> Result<Vec<StoredFact>, StoreError> {
        let mut list = Vec::new();
        self.each_fact(seq, Some(limit), |fact| {
            list.push(fact);
            Ok(())
        })?;
        Ok(list)
    }

    /// Every fact from `seq` on, one by one; ends with the first error of `take`.
    pub fn each_fact<E: From<StoreError>>(
        &mut self,
        seq: u64,
        limit: Option<u32>,
        take: impl FnMut(StoredFact) -> Result<(), E>,
    ) -> Result<(), E> {
        each_fact(&self.conn, &mut self.words, (seq, limit), take)
    }

    /// The fact with this number.
    pub fn fact(&mut self, seq: u64) -> Result<Option<StoredFact>, StoreError> {
        let found = self.facts_from(seq, 1)?;
        Ok(found.into_iter().find(|fact| fact.seq == seq))
    }

    /// What was known of the wall clock at this fact; `None` where the release that wrote it did not look.
    pub fn clock_at(&self, seq: u64) -> Option<String> {
        // A file of the first release has no such view, and nothing to say.
        let sql = "SELECT clock FROM v_fact_clock WHERE seq = ?1";
        let mut find = self.conn.prepare_cached(sql).ok()?;
        find.query_row([signed(seq)], |row| row.get(0)).ok().flatten()
    }

    pub(super) fn parts(&mut self) -> (&Connection, &mut Words) {
        (&self.conn, &mut self.words)
    }
}

/// A view on the journal of one moment, its identity included, whatever is committed meanwhile: for whoever holds one table against
/// another. For readers that live briefly, since the log cannot be shortened past that moment.
#[derive(Debug)]
pub struct Snapshot(Reader);

impl Snapshot {
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let (copy, conn) = reach(path)?;
        // The first read behind it is the moment (SQLite, BEGIN DEFERRED).
        conn.execute_batch("BEGIN").map_err(StoreError::sqlite("beginning a snapshot"))?;
        Reader::of((copy, conn)).map(Self)
    }
}

impl Deref for Snapshot {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.0
    }
}

impl DerefMut for Snapshot {
    fn deref_mut(&mut self) -> &mut Reader {
        &mut self.0
    }
}

/// A connection to what can be read, and the copy that it needs.
fn reach(path: &Path) -> Result<(Option<PrivateCopy>, Connection), StoreError> {
    if !path.is_file() {
        let kind = if path.is_dir() { std::io::ErrorKind::IsADirectory } else { std::io::ErrorKind::NotFound };
        let source = std::io::Error::from(kind);
        return Err(StoreError::Io { doing: "opening the journal", path: path.to_owned(), source });
    }
    if lock::is_held(path)? {
        return Ok((None, connect(path, "mode=ro")?));
    }
    // Never while a daemon holds it, which may be this process: closing the file would give up its locks.
    schema::refuse_unknown(path)?;
    let log_lies_there = std::fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
    if !log_lies_there {
        return Ok((None, connect(path, "mode=ro&immutable=1")?));
    }
    open::refuse_flawed_log(path)?;
    let copy = PrivateCopy::of(path)?;
    let conn = connect(&copy.file(), "mode=rw")?;
    Ok((Some(copy), conn))
}

pub(super) fn each_fact<E: From<StoreError>>(
    conn: &Connection,
    words: &mut Words,
    (seq, limit): (u64, Option<u32>),
    mut take: impl FnMut(StoredFact) -> Result<(), E>,
) -> Result<(), E> {
    let doing = "reading the facts";
    let mut list = conn
        .prepare_cached(&format!("{} WHERE seq >= ?1 ORDER BY seq LIMIT ?2", facts::SELECT))
        .map_err(StoreError::sqlite(doing))?;
    // A negative limit is none (SQLite, SELECT).
    let range = (i64::try_from(seq).unwrap_or(i64::MAX), limit.map_or(-1, i64::from));
    let mut rows = list.query(range).map_err(StoreError::sqlite(doing))?;
    while let Some(row) = rows.next().map_err(StoreError::sqlite(doing))? {
        take(facts::read(conn, words, row)?)?;
    }
    Ok(())
}

fn connect(path: &Path, mode: &str) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(uri(path, mode), flags).map_err(StoreError::sqlite("opening to read"))?;
    let set_up = || {
        conn.busy_timeout(Duration::from_secs(5))?;
        open::harden(&conn)?;
        conn.set_prepared_statement_cache_capacity(48);
        conn.execute_batch("PRAGMA query_only=ON; PRAGMA temp_store=MEMORY; PRAGMA mmap_size=8589934592;")
    };
    set_up().map_err(StoreError::sqlite("setting up to read"))?;
    Ok(conn)
}

/// A file name may hold what means something in a URI (SQLite, URI filenames).
pub(super) fn uri(path: &Path, mode: &str) -> String {
    let mut text = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => text.push(char::from(*byte)),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text.push('?');
    text.push_str(mode);
    text
}

/// A copy of the file and its log, in a directory of its own that goes with it.
#[derive(Debug)]
struct PrivateCopy {
    directory: PathBuf,
}

impl PrivateCopy {
    fn of(path: &Path) -> Result<Self, StoreError> {
        let directory = std::env::temp_dir().join(format!("sealgate-read-{}", uuid::Uuid::new_v4()));
        let failed = |source| StoreError::Io { doing: "copying the journal to read it", path: path.to_owned(), source };
        std::fs::create_dir(&directory).map_err(failed)?;
        let copy = Self { directory };
        std::fs::copy(path, copy.file()).map_err(failed)?;
        std::fs::copy(beside(path, "-wal"), beside(&copy.file(), "-wal")).map_err(failed)?;
        Ok(copy)
    }

    fn file(&self) -> PathBuf {
        self.directory.join("copy.db")
    }
}

impl Drop for PrivateCopy {
    fn drop(&mut self) {
        // What stays behind is a copy in the directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::open::{Settings, open};
    use crate::store::samples::*;

    #[test]
    fn reads_beside_the_writer_what_is_durable_and_no_more() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a b%?#.db");
        let mut store = open(&Settings::new(&path, "l1")).expect("opens");
        let mut reader = Reader::open(&path).expect("reads");
        assert_eq!(reader.head().expect("a head").0, 0);
        let mut records = story();
        let later = records.split_off(9);
        store.commit(&job(records), || 0).expect("committed");
        assert_eq!(reader.head().expect("a head").0, 9);
        store.conn.execute_batch("BEGIN IMMEDIATE; UPDATE meta SET boot = 99").expect("half a transaction");
        assert_eq!(reader.facts_from(1, 100).expect("facts").len(), 9, "a writer is never in the way");
        store.conn.execute_batch("ROLLBACK").expect("undone");
        store.commit(&job(later), || 0).expect("committed");
        let facts = reader.facts_from(1, 100).expect("facts");
        let rows: Vec<_> = story().into_iter().map(|record| record.row).collect();
        assert_eq!(facts.len(), rows.len());
        for (fact, row) in facts.iter().zip(&rows) {
            assert_eq!(
                (&*fact.kind, fact.batch.as_deref(), &fact.subject, &fact.body),
                (row.kind, row.batch.as_deref(), &row.subject, &row.body)
            );
        }
        assert!(reader.conn.execute_batch("DELETE FROM work_feed").is_err(), "a reader writes nothing");
    }

    #[test]
    fn reads_a_crashed_journal_with_its_log_and_leaves_it_as_it_lies() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("line.db");
        let mut store = open(&Settings::new(&path, "l1")).expect("opens");
        store.commit(&job(story()), || 0).expect("committed");
        // What a kill leaves: the file and its log, and nobody who holds them.
        let crashed = directory.path().join("crashed");
        std::fs::create_dir(&crashed).expect("made");
        let left = crashed.join("line.db");
        std::fs::copy(&path, &left).expect("copied");
        std::fs::copy(beside(&path, "-wal"), beside(&left, "-wal")).expect("copied");
        let mut reader = Reader::open(&left).expect("reads");
        assert_eq!(reader.head().expect("a head").0, 21);
        drop(reader);
        let mut names: Vec<_> =
            std::fs::read_dir(&crashed).expect("listed").map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        assert_eq!(names, ["line.db", "line.db-wal"]);
    }

    #[test]
    fn reads_a_journal_at_rest_without_leaving_anything_beside_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("line.db");
        let mut store = open(&Settings::new(&path, "l1")).expect("opens");
        store.commit(&job(story()), || 0).expect("committed");
        drop(store);
        let alone = directory.path().join("copy");
        std::fs::create_dir(&alone).expect("made");
        std::fs::copy(&path, alone.join("line.db")).expect("copied");
        assert_eq!(Reader::open(&alone.join("line.db")).expect("reads").head().expect("a head").0, 21);
        assert_eq!(std::fs::read_dir(&alone).expect("listed").count(), 1);
        assert!(matches!(Reader::open(&alone.join("none.db")), Err(StoreError::Io { .. })));
        assert_eq!(std::fs::read_dir(&alone).expect("listed").count(), 1, "a reader makes no file");
    }
}
