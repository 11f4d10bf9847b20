//! One process per journal: an advisory lock on `<path>.lock`, taken before the first connection and freed by the system
//! when the process ends, however it ends. The file holds the holder's process id, for people. The journal itself is locked
//! too, so that no second name of it, a symbolic link or a bind mount, opens it a second time.
//!
//! This lock is the system's own for whole files (flock), beside which SQLite's for ranges live undisturbed. But a process
//! that closes any descriptor of a file gives up its range locks: whoever opens the journal here holds on to it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::store::error::StoreError;
use crate::store::flush;

/// A tool that asks whether a daemon runs holds the lock for microseconds; a starting daemon outwaits it.
const TRIES: u32 = 5;
const BETWEEN: Duration = Duration::from_millis(20);

/// Held as long as it lives.
#[derive(Debug)]
pub(super) struct Lock {
    /// The open file is the lock.
    beside: File,
    /// Taken once there is a journal.
    journal: Option<File>,
}

impl Lock {
    /// Whether the file system on which journal and lock lie takes writes.
    pub(super) fn ask(&self) -> std::io::Result<()> {
        flush::ask(&self.beside)
    }

    /// Locks the journal itself; before the connection where there is a file already, and after it where it made one.
    pub(super) fn take_journal(&mut self, path: &Path) -> Result<(), StoreError> {
        if self.journal.is_some() {
            return Ok(());
        }
        let failed = |source| StoreError::Io { doing: "locking", path: path.to_owned(), source };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        match file.try_lock() {
            Ok(()) => self.journal = Some(file),
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Held { path: path.to_owned(), pid: holder(&real(path)) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        Ok(())
    }
}

/// The journal's own name, whatever link was followed to it.
pub(super) fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Who wrote its process id into the lock beside the journal.
fn holder(path: &Path) -> Option<u32> {
    std::fs::read_to_string(beside(path, ".lock")).ok()?.trim().parse().ok()
}

pub(super) fn acquire(path: &Path) -> Result<Lock, StoreError> {
    let lock_path = lock_of(path);
    let failed = |source| StoreError::Io { doing: "locking", path: lock_path.clone(), source };
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&lock_path).map_err(failed)?;
    for attempt in 1..=TRIES {
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0).map_err(failed)?;
                writeln!(file, "{}", std::process::id()).map_err(failed)?;
                return Ok(Lock { beside: file, journal: None });
            }
            Err(TryLockError::WouldBlock) if attempt < TRIES => std::thread::sleep(BETWEEN),
            Err(TryLockError::WouldBlock) => break,
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
    let mut text = String::new();
    let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
    Err(StoreError::Held { path: path.to_owned(), pid })
}

/// Whether a daemon holds the journal at this moment. An error is no answer: whoever took it for a no would read a copy that
/// stands still beside a daemon that goes on.
pub(super) fn is_held(path: &Path) -> Result<bool, StoreError> {
    let lock_path = lock_of(path);
    match File::open(&lock_path) {
        Ok(file) => match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(source)) => {
                Err(StoreError::Io { doing: "asking whether a daemon holds", path: lock_path, source })
            }
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(StoreError::Io { doing: "asking whether a daemon holds", path: lock_path, source }),
    }
}

/// The lock lies beside the file itself, wherever a link to it lies: two names of one journal have one lock.
fn lock_of(path: &Path) -> PathBuf {
    let target = std::fs::canonicalize(path).or_else(|_| dangling(path));
    beside(target.as_deref().unwrap_or(path), ".lock")
}

/// Where a link leads to a file that is not made yet.
fn dangling(link: &Path) -> std::io::Result<PathBuf> {
    let target = std::fs::read_link(link)?;
    let folder = link.parent().unwrap_or(Path::new(""));
    Ok(folder.join(target))
}

/// `line.db` and `-wal` give `line.db-wal`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    // F11
    #[test]
    fn a_link_to_a_journal_has_the_lock_of_the_journal() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("line.db"), folder.path().join("link.db"));
        std::os::unix::fs::symlink("line.db", &link).expect("the folder is ours");
        for exists in [false, true] {
            if exists {
                std::fs::write(&file, "").expect("the folder is ours");
            }
            let held = acquire(&link).expect("nobody holds it");
            assert!(is_held(&file).expect("asked") && is_held(&link).expect("asked"));
            assert!(matches!(acquire(&file), Err(StoreError::Held { pid: Some(_), .. })));
            drop(held);
            assert!(!is_held(&file).expect("asked"));
        }
    }
}
