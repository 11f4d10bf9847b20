//! The journal at the start of a daemon: what is done before, and instead of, just opening it.
//!
//! - Never silently empty: where a journal was made, a small file beside it says so (`.born`). A journal that is missing then
//!   ends the start, unless a person says that the line begins anew.
//! - Never on a damaged file: it is moved aside with its log (`-damaged-N`), what can be saved of it goes into a new file
//!   (`store::salvage`), and the line is held by a doubt until a person has looked.
//! - Never on a file system that forgets (`store::place`).
//!
//! How closely a file is looked at is a question of time: always the chain of the newest facts (`store::open`) and all that
//! recovery reads; the structure of the whole where it is small, or where the last run met damage and left a note (`.suspect`).

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::store::error::StoreError;
use crate::store::lock::{self, beside};
use crate::store::messages;
use crate::store::open::{self, Identity, Settings, Store};
use crate::store::place;
use crate::store::salvage;
use crate::store::salvaged;
use crate::store::schema;
use crate::store::verify;
use crate::wire::chain;

/// Files up to this size are checked whole at every start: a tenth of a second.
const SMALL: u64 = 16 << 20;

/// What a site allows.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// File systems that somebody vouches for.
    pub file_systems: Vec<String>,
    /// A person says that a journal that is missing is to begin anew.
    pub may_begin_anew: bool,
}

/// An open journal, and what is in doubt about it.
#[derive(Debug)]
pub struct Opened {
    pub store: Store,
    pub doubts: Vec<String>,
}

pub fn open_for_run(settings: &Settings, policy: &Policy) -> Result<Opened, StoreError> {
    let path = &settings.path;
    place::refuse_untrusted(path, &policy.file_systems)?;
    refuse_missing(path, policy)?;
    let mut doubts = Vec::new();
    let store = match look(settings) {
        Ok(store) => {
            doubts.extend(salvaged::doubt(&store.conn, store.head().0)?);
            store
        }
        Err(error) if is_damaged(&error, path) => {
            doubts.push(replace(settings, &error)?);
            look(settings)?
        }
        Err(error) => return Err(error),
    };
    note_birth(path, store.identity())?;
    Ok(Opened { store, doubts })
}

/// Moves a damaged journal aside and puts in its place what could be saved of it. The sentence is a doubt for the line.
pub fn replace(settings: &Settings, why: &StoreError) -> Result<String, StoreError> {
    let path = lock::real(&settings.path);
    let _lock = lock::acquire(&path)?;
    let known = born(&path);
    let aside = set_aside(&path, "damaged")?;
    let saved = beside(&path, "-salvage");
    salvage::discard(&saved);
    let report = salvage::run(&aside, &saved, known.as_ref()).map_err(|error| kept(error, &aside))?;
    put(&saved, &path)?;
    let name = aside.file_name().unwrap_or_default().to_string_lossy().into_owned();
    tracing::error!(%why, kept = %aside.display(), facts = report.facts, "journal_salvaged");
    Ok(format!(
        "the journal was damaged and was made anew: {}; the damaged file is kept as {name} ({why})",
        report.text()
    ))
}

/// Leaves a note for the next start: this file has shown damage.
pub fn note_damage(path: &Path, error: &StoreError) {
    if error.is_damage() {
        // Without the note the next start looks less closely, and meets the damage again.
        let _ = std::fs::write(suspicion(path), error.to_string());
    }
}

/// Says beside a journal that it was made; a restored one is as good as one that was born here.
pub(super) fn note_birth(path: &Path, identity: &Identity) -> Result<(), StoreError> {
    let note = beside(&lock::real(path), ".born");
    let text = format!("{}\n{}\n", identity.store_uuid, identity.line);
    if std::fs::read_to_string(&note).is_ok_and(|found| found == text) {
        return Ok(());
    }
    let write = || {
        let mut file = File::create(&note)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| StoreError::Io {
        doing: "noting the birth of the journal in",
        path: note.clone(),
        source,
    })?;
    flush_folder(path)
}

/// Who the journal was that lay here.
pub(super) fn born(path: &Path) -> Option<Identity> {
    let text = std::fs::read_to_string(beside(&lock::real(path), ".born")).ok()?;
    let (store_uuid, line) = text.trim_end().split_once('\n')?;
    let genesis = chain::genesis(line, store_uuid);
    Some(Identity { line: line.to_owned(), store_uuid: store_uuid.to_owned(), epoch: 1, boot: 0, genesis })
}

/// Gives a file and its log another name, one that is free: `line.db-WORD-1` and so on.
pub(super) fn set_aside(path: &Path, word: &str) -> Result<PathBuf, StoreError> {
    let name = |number: u32| beside(path, &format!("-{word}-{number}"));
    let is_free = |number: &u32| !name(*number).exists();
    let aside = (1..=9999).find(is_free).map(name).ok_or_else(|| StoreError::damaged("too many files lie aside"))?;
    // The log first: a file that lost its log would be taken for a whole one.
    for suffix in ["-wal", "-shm", ""] {
        let from = beside(path, suffix);
        if from.exists() {
            let moved = std::fs::rename(&from, beside(&aside, suffix));
            moved.map_err(|source| StoreError::Io { doing: "moving aside", path: from, source })?;
        }
    }
    flush_folder(path)?;
    Ok(aside)
}

/// Puts a finished file in its place.
pub(super) fn put(finished: &Path, path: &Path) -> Result<(), StoreError> {
    let moved = std::fs::rename(finished, path);
    moved.map_err(|source| StoreError::Io { doing: "putting a new journal at", path: path.to_owned(), source })?;
    salvage::discard(finished);
    flush_folder(path)
}

fn flush_folder(path: &Path) -> Result<(), StoreError> {
    let folder = place::folder_of(path);
    let flushed = File::open(&folder).and_then(|folder| folder.sync_all());
    flushed.map_err(|source| StoreError::Io { doing: "flushing", path: folder, source })
}

fn refuse_missing(path: &Path, policy: &Policy) -> Result<(), StoreError> {
    let real = lock::real(path);
    let left = [".born", "-wal"].iter().any(|suffix| beside(&real, suffix).exists());
    // A file that is there and cannot be looked at is not missing: its file system is to be checked.
    let is_there = real.try_exists();
    let is_there = is_there.map_err(|source| StoreError::Io { doing: "looking for", path: real.clone(), source })?;
    if is_there || !left || policy.may_begin_anew {
        return Ok(());
    }
    Err(StoreError::Missing { path: path.to_owned() })
}

/// Opens the journal and looks at its structure where that is quickly done, or needed.
fn look(settings: &Settings) -> Result<Store, StoreError> {
    let path = &settings.path;
    let suspicion = suspicion(path);
    let size = std::fs::metadata(path).map_or(0, |file| file.len());
    if size == 0 && born(path).is_some() && path.exists() {
        return Err(StoreError::damaged("the file is empty"));
    }
    let mut store = open::open(settings)?;
    if let Some(what) = messages::gap(&store.conn, &mut store.words)? {
        return Err(StoreError::damaged(what));
    }
    if suspicion.exists() {
        verify::whole(&store.conn, &store.identity)?;
        let _ = std::fs::remove_file(&suspicion);
    } else if size <= SMALL {
        verify::structure(&store.conn)?;
    }
    Ok(store)
}

/// Whether it was a journal and is none that can be trusted. A file that never was one is somebody else's, and stays.
fn is_damaged(error: &StoreError, path: &Path) -> bool {
    error.is_damage()
        || (matches!(error, StoreError::Foreign { .. }) && born(path).is_some() && !schema::has_header(path))
}

fn suspicion(path: &Path) -> PathBuf {
    beside(&lock::real(path), ".suspect")
}

fn kept(error: StoreError, aside: &Path) -> StoreError {
    match error {
        StoreError::Damaged { seq, what } => {
            StoreError::Damaged { seq, what: format!("{what} (the file is kept as {})", aside.display()) }
        }
        StoreError::Held { .. }
        | StoreError::Newer { .. }
        | StoreError::Foreign { .. }
        | StoreError::Io { .. }
        | StoreError::Sqlite { .. }
        | StoreError::Refused { .. }
        | StoreError::Missing { .. }
        | StoreError::Replaced { .. }
        | StoreError::Place { .. } => error,
    }
}
