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

/// Works until `stop` gets a message or loses its sender. Spawned by the composition root, after the store is open.
pub fn run(path: &Path, stop: &Receiver<()>) -> Result<(), StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(StoreError::sqlite("opening for checkpoints"))?;
    let set_up = || {
        harden(&conn)?;
        conn.execute_batch("PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=FULL; PRAGMA cache_size=-256;")
    };
    set_up().map_err(StoreError::sqlite("setting up for checkpoints"))?;
    let (mut seen, mut idle) = (0, 0);
    loop {
        match stop.recv_timeout(EVERY) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                // Whoever copies the file after a clean stop has all of it.
                checkpoint(&conn, "PRAGMA wal_checkpoint(TRUNCATE)")?;
                return Ok(());
            }
        }
        let pages = checkpoint(&conn, "PRAGMA wal_checkpoint(PASSIVE)")?;
        idle = if pages == seen && pages > 0 { idle + 1 } else { 0 };
        seen = pages;
        if idle == IDLE_ROUNDS {
            // A reader in the way only puts it off.
            seen = checkpoint(&conn, "PRAGMA wal_checkpoint(TRUNCATE)")?;
            idle = 0;
        }
    }
}

/// The pages in the log afterwards.
fn checkpoint(conn: &Connection, sql: &str) -> Result<i64, StoreError> {
    let read = || conn.prepare_cached(sql)?.query_row([], |row| row.get(1));
    read().map_err(StoreError::sqlite("checkpoint"))
}
