//! Opening the journal for writing: lock, header, connection, schema, identity, the tail of the chain.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use crate::store::batches::Batches;
use crate::store::error::StoreError;
use crate::store::facts;
use crate::store::flush;
use crate::store::frames;
use crate::store::journal::Durable;
use crate::store::lock::{self, Lock};
use crate::store::notary::Notary;
use crate::store::schema;
use crate::store::verify;
use crate::store::words::Words;
use crate::wire::chain;
use crate::wire::record::{BatchSheet, Order};

/// Facts whose chain is verified at every start; `audit verify` does all of them.
const TAIL: u64 = 10_000;

/// How long one attempt for the write lock waits before it is reported and made again.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a start waits for it: a tool may be at work, and whoever holds it longer is another controller.
const OPEN_WAIT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub struct Settings {
    pub path: PathBuf,
    /// The ISA-95 path of the line; a file belongs to one line for ever.
    pub line: String,
    /// Bound of SQLite's page cache.
    pub cache_mib: u32,
    /// Commits are not flushed: a fault of our own.
    #[cfg(feature = "canary")]
    pub is_sync_weak: bool,
}

impl Settings {
    pub fn new(path: impl Into<PathBuf>, line: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            line: line.into(),
            cache_mib: 32,
            #[cfg(feature = "canary")]
            is_sync_weak: false,
        }
    }
}

/// Who the journal is: `v_meta`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub line: String,
    pub store_uuid: String,
    /// Raised by a restore; part of every message id.
    pub epoch: u32,
    /// The newest start that left a fact.
    pub boot: u32,
    pub genesis: [u8; 32],
}

/// The journal, held for writing. The fields are dropped in this order: the lock last.
#[derive(Debug)]
pub struct Store {
    pub(super) conn: Connection,
    pub(super) words: Words,
    pub(super) batches: Batches,
    pub(super) streams: BTreeMap<&'static str, (i64, u64)>,
    pub(super) head: (u64, [u8; 32]),
    pub(super) identity: Identity,
    pub(super) boot_is_written: bool,
    pub(super) notary: Option<Notary>,
    path: PathBuf,
    lock: Lock,
}

/// Opens the journal, or makes a new one where there is no file.
pub fn open(settings: &Settings) -> Result<Store, StoreError> {
    let path = &settings.path;
    let mut lock = lock::acquire(path)?;
    flush::as_on_disk(path)?;
    schema::refuse_unknown(path)?;
    lock.take_journal(path)?;
    refuse_flawed_log(path)?;
    let conn = connect(path, settings.cache_mib)?;
    lock.take_journal(path)?;
    refuse_locked(&conn, path)?;
    conn.busy_timeout(BUSY_TIMEOUT).map_err(StoreError::sqlite("setting up"))?;
    #[cfg(feature = "canary")]
    if settings.is_sync_weak {
        conn.execute_batch("PRAGMA synchronous=NORMAL").map_err(StoreError::sqlite("weakening the sync"))?;
    }
    schema::migrate(&conn, path)?;
    if identity(&conn)?.is_none() && !holds_facts(&conn)? {
        create_identity(&conn, &settings.line)?;
        // From here on the header tells the version to whoever opens the file without its log.
        truncate_log(&conn)?;
    }
    let identity = identity(&conn)?.ok_or_else(|| StoreError::damaged("table meta is empty"))?;
    if identity.line != settings.line {
        let what = format!("it belongs to line {}, not {}", identity.line, settings.line);
        return Err(StoreError::Foreign { path: path.clone(), what });
    }
    let mut words = Words::default();
    let head = verify::tail(&conn, &mut words, &identity, TAIL)?;
    Ok(Store {
        conn,
        words,
        batches: Batches::default(),
        streams: BTreeMap::new(),
        head,
        identity,
        boot_is_written: false,
        notary: None,
        path: path.clone(),
        lock,
    })
}

/// An empty journal of the same identity, to be filled from facts. It is nobody's record before it is whole: nothing in it
/// is flushed until [`Store::make_durable`].
pub(super) fn open_beside(path: &Path, identity: &Identity, words: Words) -> Result<Store, StoreError> {
    let lock = lock::acquire(path)?;
    let conn = connect(path, 32)?;
    schema::migrate(&conn, path)?;
    conn.execute_batch("PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=1000")
        .map_err(StoreError::sqlite("setting up a new file"))?;
    let identity = Identity { epoch: 1, boot: 0, ..identity.clone() };
    insert_identity(&conn, &identity)?;
    Ok(Store {
        conn,
        words,
        batches: Batches::default(),
        streams: BTreeMap::new(),
        head: (0, identity.genesis),
        identity,
        boot_is_written: true,
        notary: None,
        path: path.to_owned(),
        lock,
    })
}

impl Store {
    /// Ends a transaction. What it wrote is on disk when this returns.
    pub(super) fn end_transaction(&self) -> Result<(), StoreError> {
        self.run_cached("COMMIT", "commit")?;
        let asked = self.lock.ask();
        asked.map_err(|source| StoreError::Io { doing: "flushing", path: self.path.clone(), source })
    }

    /// Flushes a file that was made by [`open_beside`], its log included.
    pub(super) fn make_durable(self) -> Result<(), StoreError> {
        self.conn.execute_batch("PRAGMA synchronous=FULL").map_err(StoreError::sqlite("finishing a new file"))?;
        truncate_log(&self.conn)?;
        let path = self.path.clone();
        drop(self);
        let synced = std::fs::File::open(&path).and_then(|file| file.sync_all());
        synced.map_err(|source| StoreError::Io { doing: "writing", path, source })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The number of this start; written with the first commit.
    pub fn boot(&self) -> u32 {
        self.identity.boot.saturating_add(1)
    }

    /// What was found on disk, as proof for the line that starts from it.
    pub fn durable(&self) -> Durable {
        Durable::new(self.head.0, BTreeMap::new(), 0)
    }

    /// The newest fact and its hash; 0 and the genesis before the first.
    pub fn head(&self) -> (u64, [u8; 32]) {
        self.head
    }

    /// The order of a batch, its serials in the order of printing; `sheet` comes from its `batch_loaded` fact.
    pub fn order(&mut self, sheet: &BatchSheet) -> Result<Arc<Order>, StoreError> {
        let order = self.batches.load(&self.conn, &mut self.words, sheet)?;
        Ok(order)
    }
}

/// Whoever opens such a log plays what lies behind the flaw away.
pub(super) fn refuse_flawed_log(path: &Path) -> Result<(), StoreError> {
    match frames::flaw(path)? {
        Some(what) => Err(StoreError::damaged(what)),
        None => Ok(()),
    }
}

/// A file with facts has lost its identity, and another one would make them somebody else's.
fn holds_facts(conn: &Connection) -> Result<bool, StoreError> {
    conn.query_row("SELECT EXISTS (SELECT 1 FROM fact)", [], |row| row.get(0))
        .map_err(StoreError::sqlite("looking for facts"))
}

/// A tool that holds the write lock holds the line: better said at the start than by a line that never gets ready.
fn refuse_locked(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    match conn.execute_batch("BEGIN IMMEDIATE; ROLLBACK") {
        Ok(()) => Ok(()),
        Err(error) if is_locked(&error) => Err(StoreError::Held { path: path.to_owned(), pid: None }),
        Err(source) => Err(StoreError::Sqlite { doing: "asking for the write lock", source }),
    }
}

fn is_locked(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn connect(path: &Path, cache_mib: u32) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(StoreError::sqlite("opening"))?;
    prepare(&conn, path, cache_mib).map_err(StoreError::sqlite("setting up"))?;
    conn.busy_timeout(OPEN_WAIT).map_err(StoreError::sqlite("setting up"))?;
    let mode: String = conn.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0)).map_err(|source| {
        if is_locked(&source) {
            return StoreError::Held { path: path.to_owned(), pid: None };
        }
        StoreError::Sqlite { doing: "switching to the write-ahead log", source }
    })?;
    if mode != "wal" {
        let what = format!("its file system cannot hold a write-ahead log (journal mode {mode})");
        return Err(StoreError::Foreign { path: path.to_owned(), what });
    }
    Ok(conn)
}

fn prepare(conn: &Connection, _path: &Path, cache_mib: u32) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY_TIMEOUT)?;
    harden(conn)?;
    conn.set_prepared_statement_cache_capacity(96);
    // Checkpoints run beside the commits (`wal`), never inside them.
    conn.execute_batch(&format!(
        "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-{};",
        u64::from(cache_mib) * 1024
    ))
}

/// Against a file that was made to deceive: no functions out of its schema, cells checked, no writes to the schema.
pub(super) fn harden(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.execute_batch("PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;")
}

pub(super) fn identity(conn: &Connection) -> Result<Option<Identity>, StoreError> {
    conn.query_row("SELECT line, store_uuid, epoch, boot, genesis FROM meta WHERE id = 1", [], |row| {
        Ok(Identity {
            line: row.get(0)?,
            store_uuid: row.get(1)?,
            epoch: row.get(2)?,
            boot: row.get(3)?,
            genesis: row.get(4)?,
        })
    })
    .optional()
    .map_err(StoreError::sqlite("reading the identity"))
}

fn create_identity(conn: &Connection, line: &str) -> Result<(), StoreError> {
    let store_uuid = uuid::Uuid::new_v4().to_string();
    let genesis = chain::genesis(line, &store_uuid);
    insert_identity(conn, &Identity { line: line.to_owned(), store_uuid, epoch: 1, boot: 0, genesis })
}

fn insert_identity(conn: &Connection, identity: &Identity) -> Result<(), StoreError> {
    let Identity { line, store_uuid, epoch, boot, genesis } = identity;
    conn.execute(
        "INSERT INTO meta (id, line, schema_version, store_uuid, epoch, boot, genesis) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)",
        (line, schema::version_known(), store_uuid, epoch, boot, genesis),
    )
    .map_err(StoreError::sqlite("creating the identity"))?;
    Ok(())
}

fn truncate_log(conn: &Connection) -> Result<(), StoreError> {
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .map_err(StoreError::sqlite("writing the first pages"))
}

/// The newest fact and its hash.
pub(super) fn head(conn: &Connection, words: &mut Words, identity: &Identity) -> Result<(u64, [u8; 32]), StoreError> {
    let mut newest = conn
        .prepare_cached(&format!("{} ORDER BY seq DESC LIMIT 1", facts::SELECT))
        .map_err(StoreError::sqlite("reading the head"))?;
    let mut rows = newest.query([]).map_err(StoreError::sqlite("reading the head"))?;
    match rows.next().map_err(StoreError::sqlite("reading the head"))? {
        Some(row) => facts::read(conn, words, row).map(|fact| (fact.seq, fact.hash)),
        None => Ok((0, identity.genesis)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples::*;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().expect("a directory")
    }

    #[test]
    fn a_second_process_is_refused_and_told_who_holds_it() {
        let directory = directory();
        let settings = Settings::new(directory.path().join("line.db"), "l1");
        let store = open(&settings).expect("opens");
        let refused = open(&settings).expect_err("held");
        assert_eq!(refused.exit_code(), 75);
        assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
        drop(store);
        open(&settings).expect("free again");
    }

    #[test]
    fn numbers_the_starts_that_left_a_fact() {
        let directory = directory();
        let settings = Settings::new(directory.path().join("line.db"), "l1");
        assert_eq!(open(&settings).expect("opens").boot(), 1);
        let mut store = open(&settings).expect("opens");
        assert_eq!(store.boot(), 1, "nothing was committed before");
        store.commit(&job(story()), || 0).expect("committed");
        let uuid = store.identity().store_uuid.clone();
        drop(store);
        let store = open(&settings).expect("opens");
        assert_eq!((store.boot(), store.head().0), (2, 21));
        assert_eq!(store.identity().store_uuid, uuid);
    }

    #[test]
    fn refuses_another_line_and_foreign_files() {
        let directory = directory();
        let path = directory.path().join("line.db");
        drop(open(&Settings::new(&path, "l1")).expect("opens"));
        let refused = open(&Settings::new(&path, "l2")).expect_err("another line");
        assert!(refused.to_string().contains("belongs to line l1, not l2"), "{refused}");
        let text = directory.path().join("notes.txt");
        std::fs::write(
            &text,
            "not a database, but longer than the hundred bytes of a header, so that all of it is there to be read",
        )
        .expect("written");
        assert!(matches!(open(&Settings::new(&text, "l1")), Err(StoreError::Foreign { .. })));
        let other = directory.path().join("other.db");
        Connection::open(&other).and_then(|conn| conn.execute_batch("CREATE TABLE t (a)")).expect("made");
        assert!(matches!(open(&Settings::new(&other, "l1")), Err(StoreError::Foreign { .. })));
    }

    #[test]
    fn refuses_a_newer_schema_without_touching_the_file() {
        let directory = directory();
        let path = directory.path().join("line.db");
        drop(open(&Settings::new(&path, "l1")).expect("opens"));
        let newer = schema::version_known() + 1;
        let raise = format!("PRAGMA user_version={newer}");
        Connection::open(&path).and_then(|conn| conn.execute_batch(&raise)).expect("raised");
        let before = std::fs::read(&path).expect("read");
        let refused = open(&Settings::new(&path, "l1"));
        assert!(matches!(refused, Err(StoreError::Newer { found, .. }) if found == newer));
        assert_eq!(std::fs::read(&path).expect("read"), before);
    }

    #[test]
    fn a_changed_tail_stops_the_start_and_names_the_fact() {
        let directory = directory();
        let path = directory.path().join("line.db");
        let mut store = open(&Settings::new(&path, "l1")).expect("opens");
        store.commit(&job(story()), || 0).expect("committed");
        drop(store);
        let conn = Connection::open(&path).expect("a tool");
        conn.execute_batch("DROP TRIGGER fact_is_never_changed; UPDATE fact SET at_us = at_us + 1 WHERE seq = 12")
            .expect("changed");
        drop(conn);
        let refused = open(&Settings::new(&path, "l1")).expect_err("damaged");
        assert!(refused.to_string().contains("fact 12"), "{refused}");
    }
}
