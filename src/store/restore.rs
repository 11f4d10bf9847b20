//! A backup in the place of the journal: proven, of this line, in a new file, and never without a trace.
//!
//! [`prepare`] takes the lock, proves the backup and gives the copy as an open store, to which the caller adds the facts of the
//! restore. [`Restore::finish`] puts it in place; the file that lay there is kept (`-replaced-N`). Until then nothing changed.

use std::path::{Path, PathBuf};

use crate::store::backup;
use crate::store::error::StoreError;
use crate::store::lock::{self, Lock, beside};
use crate::store::open::{self, Settings, Store};
use crate::store::reader::{Reader, Snapshot};
use crate::store::rebuild;
use crate::store::salvage;
use crate::store::start;

/// A proven copy of a backup, not in place yet.
#[derive(Debug)]
pub struct Restore {
    pub store: Store,
    /// The digest of the backup as it was given.
    pub backup_sha256: String,
    /// The epoch that the facts of the restore must raise to: above all that this line is known to have had.
    pub epoch: u32,
    /// What the file that lies there holds beyond the backup, as far as it can be read.
    pub lost: Option<Lost>,
    path: PathBuf,
    made: PathBuf,
    _lock: Lock,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    pub store_uuid: String,
    pub from: u64,
    pub to: u64,
}

/// Proves `backup` and copies it beside the journal of `settings`. No daemon may run.
pub fn prepare(backup: &Path, settings: &Settings) -> Result<Restore, StoreError> {
    let path = lock::real(&settings.path);
    // Before the lock, since a reader takes a held journal for one that a daemon writes.
    let present = Present::of(&path);
    let lock = lock::acquire(&path)?;
    let backup_sha256 = backup::sha256_of(backup)?;
    refuse_other_digest(backup, &backup_sha256)?;
    prove(backup)?;
    let source = Snapshot::open(backup)?;
    if source.identity().line != settings.line {
        let what = format!("it belongs to line {}, not {}", source.identity().line, settings.line);
        return Err(StoreError::Foreign { path: backup.to_owned(), what });
    }
    let made = beside(&path, "-restore");
    salvage::discard(&made);
    backup::copy(&source, &made)?;
    let store = open::open(&Settings { path: made.clone(), ..settings.clone() })?;
    let epoch = present.as_ref().map_or(0, |present| present.epoch).max(store.identity().epoch).saturating_add(1);
    let lost = present.and_then(|present| present.beyond(store.head().0));
    Ok(Restore { store, backup_sha256, epoch, lost, path, made, _lock: lock })
}

impl Restore {
    /// Puts the restored journal in its place; says where the one that lay there is kept.
    pub fn finish(self) -> Result<Option<PathBuf>, StoreError> {
        let Restore { store, path, made, _lock, .. } = self;
        let identity = store.identity().clone();
        store.make_durable()?;
        let kept = if path.exists() { Some(start::set_aside(&path, "replaced")?) } else { None };
        start::put(&made, &path)?;
        start::note_birth(&path, &identity)?;
        Ok(kept)
    }
}

/// A manifest that lies beside the backup must be its own.
fn refuse_other_digest(backup: &Path, sha256: &str) -> Result<(), StoreError> {
    let Ok(text) = std::fs::read_to_string(backup::manifest_of(backup)) else { return Ok(()) };
    if text.contains(sha256) {
        return Ok(());
    }
    Err(StoreError::damaged(format!("{} is not the file that its manifest describes", backup.display())))
}

/// The chain, and every table: what is restored is trusted from then on.
fn prove(backup: &Path) -> Result<(), StoreError> {
    let report = rebuild::check(backup, &std::env::temp_dir())?;
    if let Some(flaw) = report.verified.first_bad {
        return Err(StoreError::Damaged { seq: flaw.seq, what: format!("the backup is not whole: {}", flaw.what) });
    }
    match report.differences.first() {
        None => Ok(()),
        Some(at) => {
            let what = format!("the backup's table {} ({}) is not what its facts say", at.table, at.key);
            Err(StoreError::damaged(what))
        }
    }
}

/// The file that lies in the journal's place, as far as it can be read.
struct Present {
    store_uuid: String,
    epoch: u32,
    newest: u64,
}

impl Present {
    fn of(path: &Path) -> Option<Self> {
        let mut reader = Reader::open(path).ok()?;
        let (newest, _) = reader.head().ok()?;
        let identity = reader.identity();
        Some(Self { store_uuid: identity.store_uuid.clone(), epoch: identity.epoch, newest })
    }

    /// What it holds after the fact `head`.
    fn beyond(self, head: u64) -> Option<Lost> {
        let lost = Lost { store_uuid: self.store_uuid, from: head.saturating_add(1), to: self.newest };
        (lost.to >= lost.from).then_some(lost)
    }
}
