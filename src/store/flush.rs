//! What a flush is worth. Linux answers one with yes in two cases in which nothing was kept:
//!
//! - A file system that finds an error in itself and turns read-only may say yes to a flush on its way. So it is asked after
//!   each COMMIT whether it still takes writes, and a no makes the commit one that failed.
//! - A page whose write-back failed is marked clean. The error is told once; from then on the page lies in memory alone, every
//!   reader finds it there, and every flush says yes (reliability F17). Writing it again does not help: where ext4 failed to mark
//!   an extent as written, it takes later writes to it for whole, and shows zeros once the memory is gone. So a start flushes what
//!   is dirty, lets the memory go, and reads what the disk has.
//!
//! Not here: a disk that itself says yes and forgets (F29). Checkpoints kept elsewhere find that.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Advice, FallocateFlags};
use rustix::io::Errno;

use crate::store::error::StoreError;
use crate::store::lock::{beside, real};

const BLOCK: u64 = 4096;

/// Asks the file system of an open file whether it still keeps what it is given: some microseconds, without any effect.
///
/// The file's first block is reserved once more. That alone asks the file system's own journal; for a moment after that was
/// given up a flush says yes and a write is taken. A full disk, or a file system that reserves nothing, is no answer.
pub(super) fn ask(file: &File) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, BLOCK) {
        Err(error @ (Errno::ROFS | Errno::IO | Errno::BADF)) => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// From here on a journal and its log are read as they lie on disk. Before the first read, and with the lock held; where there is
/// no file there is nothing to do.
pub(super) fn as_on_disk(journal: &Path) -> Result<(), StoreError> {
    let journal = real(journal);
    for path in [beside(&journal, "-wal"), journal] {
        let let_go = || match File::open(&path) {
            Ok(file) => {
                file.sync_all()?;
                Ok(rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        let_go().map_err(|source: io::Error| StoreError::Io { doing: "flushing", path: path.clone(), source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letting_the_memory_go_changes_and_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, log) = (folder.path().join("line.db"), folder.path().join("line.db-wal"));
        as_on_disk(&journal).unwrap();
        assert!(!journal.exists() && !log.exists());
        let bytes: Vec<u8> = (0..1_000_077).map(|at| (at % 251) as u8).collect();
        std::fs::write(&log, &bytes).unwrap();
        as_on_disk(&journal).unwrap();
        assert!(std::fs::read(&log).unwrap() == bytes);
    }

    #[test]
    fn a_file_that_takes_no_writes_fails_the_question() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("line.db.lock");
        std::fs::write(&path, "4711\n").unwrap();
        ask(&File::options().write(true).open(&path).unwrap()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"4711\n", "asking changes nothing");
        ask(&File::open(&path).unwrap()).unwrap_err();
    }
}
