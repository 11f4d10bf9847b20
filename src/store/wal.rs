//! Checkpoints of the write-ahead log, on a thread and a connection of their own, so that no commit pays for one.

use std::path::Path;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rusqlite::{Connection, OpenFlags};

use crate::store::error::StoreError;
use crate::store::open::harden;

/// Pages go back to the file this often while there is something.
const EVERY: Duration = Duration::from_millis(250);

/// Rounds without a new page after which the log is cut to nothing.
const IDLE_ROUNDS: u32 = 8;

/// The connection of the checkpoints, and how long nothing new has come.
#[derive(Debug)]
pub struct Upkeep {
    conn: Connection,
    seen: i64,
    idle: u32,
}

impl Upkeep {
    /// After the store is open.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags).map_err(StoreError::sqlite("opening for checkpoints"))?;
        let set_up = || {
            harden(&conn)?;
            conn.execute_batch("PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=FULL; PRAGMA cache_size=-256;")
        };
        set_up().map_err(StoreError::sqlite("setting up for checkpoints"))?;
        Ok(Self { conn, seen: 0, idle: 0 })
    }

    /// One round, as it is due every quarter of a second: pages go back to the file; an idle log is cut to nothing.
    pub fn round(&mut self) -> Result<(), StoreError> {
        let pages = checkpoint(&self.conn, "PRAGMA wal_checkpoint(PASSIVE)")?;
        self.idle = if pages == self.seen && pages > 0 { self.idle + 1 } else { 0 };
        self.seen = pages;
        if self.idle == IDLE_ROUNDS {
            // A reader in the way only puts it off.
            self.seen = checkpoint(&self.conn, "PRAGMA wal_checkpoint(TRUNCATE)")?;
            self.idle = 0;
        }
        Ok(())
    }

    /// Whoever copies the file after a clean stop has all of it.
    pub fn end(&mut self) -> Result<(), StoreError> {
        checkpoint(&self.conn, "PRAGMA wal_checkpoint(TRUNCATE)").map(drop)
    }
}

/// Works until `stop` gets a message or loses its sender. Spawned by the composition root, after the store is open.
pub fn run(path: &Path, stop: &Receiver<()>) -> Result<(), StoreError> {
    let mut upkeep = Upkeep::open(path)?;
    loop {
        match stop.recv_timeout(EVERY) {
            Err(RecvTimeoutError::Timeout) => upkeep.round()?,
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return upkeep.end(),
        }
    }
}

/// The pages in the log afterwards.
fn checkpoint(conn: &Connection, sql: &str) -> Result<i64, StoreError> {
    let read = || conn.prepare_cached(sql)?.query_row([], |row| row.get(1));
    read().map_err(StoreError::sqlite("checkpoint"))
}
