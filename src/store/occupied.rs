//! A journal whose commits have to wait: somebody else holds the write lock of its file. For the demo's slow disk.
//!
//! The daemon's commit thread sees what it sees on a disk that does not come back: a transaction that takes as long as this is
//! held. Nothing is written, and nothing in the daemon knows of it.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::store::StoreError;

/// Dropping it lets the commits go on.
#[derive(Debug)]
pub struct Occupied {
    conn: Connection,
}

impl Occupied {
    /// Waits for the commit in progress.
    pub fn take(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags).map_err(StoreError::sqlite("opening"))?;
        let took = conn.busy_timeout(Duration::from_secs(5)).and_then(|()| {
            // The log is the owner's to check-point, when this connection closes as well.
            conn.execute_batch("PRAGMA wal_autocheckpoint=0; BEGIN IMMEDIATE")
        });
        took.map_err(StoreError::sqlite("taking the write lock"))?;
        Ok(Self { conn })
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        // A roll-back of nothing that fails ends with the connection.
        let _ = self.conn.execute_batch("ROLLBACK");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_writes_while_it_is_held() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("line.db");
        let own = Connection::open(&path).expect("opens");
        own.execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE t (x)").expect("a table");
        own.busy_timeout(Duration::ZERO).expect("set");
        let occupied = Occupied::take(&path).expect("taken");
        own.execute_batch("INSERT INTO t VALUES (1)").expect_err("busy");
        drop(occupied);
        own.execute_batch("INSERT INTO t VALUES (1)").expect("free again");
    }
}
