//! A whole copy of a journal while a daemon writes it, in one state, proven before it counts.
//!
//! Contract: page by page through SQLite's own backup under one read transaction, so that the copy is one moment of the
//! journal and a commit is never in its way; a few pages at a time, so that the disk stays the line's. A copy whose chain is
//! not whole is removed again. Beside it lies a manifest (`FILE.json`): newest fact, head, digest of the file.
//! A plain copy of the file alone is no backup: what lies in its log is missing.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::Backup;

use crate::store::error::StoreError;
use crate::store::lock::beside;
use crate::store::reader::{Reader, Snapshot};
use crate::store::salvage;
use crate::store::verify;
use crate::wire::digest::Growing;

/// A megabyte with the usual page of 4 KiB, then a rest: at most about 100 MB/s.
const PAGES: i32 = 256;
const REST: Duration = Duration::from_millis(10);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupReport {
    pub line: String,
    pub store_uuid: String,
    pub epoch: u32,
    /// The newest fact in it.
    pub seq: u64,
    pub head: [u8; 32],
    pub bytes: u64,
    /// Of the whole file, lower-case hex.
    pub sha256: String,
}

pub fn run(journal: &Path, out: &Path) -> Result<BackupReport, StoreError> {
    if std::fs::symlink_metadata(out).is_ok() {
        let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        return Err(StoreError::Io { doing: "backing up into", path: out.to_owned(), source });
    }
    let made = copy(&Snapshot::open(journal)?, out).and_then(|()| report(out));
    if made.is_err() {
        salvage::discard(out);
    }
    made
}

/// Where the manifest of a backup lies.
pub fn manifest_of(backup: &Path) -> PathBuf {
    beside(backup, ".json")
}

/// The digest of a file as it lies, lower-case hex.
pub fn sha256_of(path: &Path) -> Result<String, StoreError> {
    let failed = |source| StoreError::Io { doing: "reading", path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let (mut digest, mut part) = (Growing::default(), vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut part).map_err(failed)?;
        let Some(bytes) = part.get(..read).filter(|bytes| !bytes.is_empty()) else { return Ok(digest.hex()) };
        digest.add(bytes);
    }
}

/// A moment as a file of its own. A copy of what goes on would begin again at every commit.
pub(super) fn copy(from: &Snapshot, out: &Path) -> Result<(), StoreError> {
    let mut target = Connection::open(out).map_err(StoreError::sqlite("making the copy"))?;
    let mut run = || -> rusqlite::Result<()> {
        target.execute_batch("PRAGMA synchronous=FULL")?;
        Backup::new(&from.conn, &mut target)?.run_to_completion(PAGES, REST, None)
    };
    run().map_err(StoreError::sqlite("copying"))?;
    drop(target);
    let synced = File::open(out).and_then(|file| file.sync_all());
    synced.map_err(|source| StoreError::Io { doing: "writing", path: out.to_owned(), source })
}

fn report(out: &Path) -> Result<BackupReport, StoreError> {
    let verified = verify::run(out)?;
    if let Some(flaw) = verified.first_bad {
        return Err(StoreError::Damaged { seq: flaw.seq, what: format!("its copy is not whole: {}", flaw.what) });
    }
    let epoch = Reader::open(out)?.identity().epoch;
    let bytes = std::fs::metadata(out).map_or(0, |file| file.len());
    let sha256 = sha256_of(out)?;
    let (line, store_uuid) = (verified.line, verified.store_uuid);
    Ok(BackupReport { line, store_uuid, epoch, seq: verified.facts, head: verified.head, bytes, sha256 })
}
