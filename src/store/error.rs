//! What can go wrong with the journal, and what to do about it.

use std::fmt;
use std::path::PathBuf;

use rusqlite::ErrorCode;

#[derive(Debug)]
pub enum StoreError {
    /// Another process holds the journal.
    Held { path: PathBuf, pid: Option<u32> },
    /// A later release wrote the file.
    Newer { path: PathBuf, found: i64, known: i64 },
    /// The file is no journal of this line.
    Foreign { path: PathBuf, what: String },
    /// A file operation failed.
    Io { doing: &'static str, path: PathBuf, source: std::io::Error },
    /// SQLite failed. After a commit this means that the outcome is unknown.
    Sqlite { doing: &'static str, source: rusqlite::Error },
    /// A record breaks a rule that the tables hold: two parents, a serial used twice, an illegal state.
    Refused { seq: u64, what: String },
    /// There was a journal here, as the file `left` says, and now there is none.
    Missing { path: PathBuf, left: PathBuf },
    /// The file under the journal's name is another one than was opened.
    Replaced { path: PathBuf },
    /// The file system cannot be trusted with a journal.
    Place { path: PathBuf, what: String },
    /// The content does not hold together; `seq` names the fact where one can be named.
    Damaged { seq: Option<u64>, what: String },
}

impl StoreError {
    /// The exit code of a process that ends because of this (DESIGN section 8).
    pub fn exit_code(&self) -> u8 {
        match self {
            StoreError::Held { .. } => 75,
            StoreError::Foreign { .. } | StoreError::Newer { .. } | StoreError::Place { .. } => 78,
            StoreError::Io { .. }
            | StoreError::Sqlite { .. }
            | StoreError::Refused { .. }
            | StoreError::Missing { .. }
            | StoreError::Replaced { .. }
            | StoreError::Damaged { .. } => 74,
        }
    }

    /// Whether the file itself is at fault, so that reading it again brings nothing: it is to be kept, and what can be
    /// saved of it belongs into a new one.
    pub fn is_damage(&self) -> bool {
        match self {
            StoreError::Damaged { .. } => true,
            StoreError::Sqlite { source, .. } => {
                let code = source.sqlite_error_code();
                code.is_none() || matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
            }
            StoreError::Held { .. }
            | StoreError::Newer { .. }
            | StoreError::Foreign { .. }
            | StoreError::Io { .. }
            | StoreError::Refused { .. }
            | StoreError::Missing { .. }
            | StoreError::Replaced { .. }
            | StoreError::Place { .. } => false,
        }
    }

    /// Whether SQLite itself met a page that cannot be right, or could not read one: no question of what was asked.
    pub fn is_corruption(&self) -> bool {
        let StoreError::Sqlite { source, .. } = self else { return false };
        matches!(
            source.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::SystemIoFailure)
        )
    }

    pub(super) fn sqlite(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
        move |source| StoreError::Sqlite { doing, source }
    }

    pub(super) fn damaged(what: impl Into<String>) -> StoreError {
        StoreError::Damaged { seq: None, what: what.into() }
    }
}

/// Why one change could not be made; the commit adds the fact.
#[derive(Debug)]
pub(super) enum Flaw {
    /// A rule of the tables, or a reference to what is not there.
    Rule(String),
    Sqlite(rusqlite::Error),
}

impl Flaw {
    /// Tells a broken rule from a file that cannot be read or written.
    pub(super) fn of(what: &str, error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::ConstraintViolation) => Flaw::Rule(format!("{what}: {error}")),
            Some(_) | None => Flaw::Sqlite(error),
        }
    }

    pub(super) fn at(self, seq: u64) -> StoreError {
        match self {
            Flaw::Rule(what) => StoreError::Refused { seq, what },
            Flaw::Sqlite(source) => StoreError::Sqlite { doing: "writing a fact and what follows from it", source },
        }
    }
}

impl From<rusqlite::Error> for Flaw {
    fn from(error: rusqlite::Error) -> Self {
        Flaw::of("a rule of the tables", error)
    }
}

impl From<String> for Flaw {
    fn from(what: String) -> Self {
        Flaw::Rule(what)
    }
}

impl From<&str> for Flaw {
    fn from(what: &str) -> Self {
        Flaw::Rule(what.to_owned())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Held { path, pid: Some(pid) } => {
                write!(f, "{} is held by process {pid}: one daemon per line; stop it first", path.display())
            }
            StoreError::Held { path, pid: None } => {
                write!(f, "{} is held by another process: one daemon per line; stop it first", path.display())
            }
            StoreError::Newer { path, found, known } => write!(
                f,
                "{} has schema {found}, this release knows up to {known}: it was not touched; run the newer release",
                path.display()
            ),
            StoreError::Foreign { path, what } => {
                write!(f, "{} is not this line's journal: {what}; check the path in the config", path.display())
            }
            StoreError::Io { doing, path, source } => write!(f, "{doing} {}: {source}", path.display()),
            StoreError::Sqlite { doing, source } => write!(f, "journal, {doing}: {source}"),
            StoreError::Refused { seq, what } => {
                write!(f, "journal, fact {seq}: {what}; nothing of its group was committed")
            }
            StoreError::Missing { path, left } => write!(
                f,
                "{} is missing, and there was a journal here, as {} says: put it back or `sealgate store restore` a backup; only if the \
                 line begins anew, `sealgate run --init`",
                path.display(),
                left.display()
            ),
            StoreError::Replaced { path } => write!(
                f,
                "{} was moved, deleted or replaced while it was open: nothing is recorded any more; put the file back",
                path.display()
            ),
            StoreError::Place { path, what } => write!(f, "{} cannot lie there: {what}", path.display()),
            StoreError::Damaged { seq: Some(seq), what } => {
                write!(f, "journal damaged at fact {seq}: {what}; keep the file and run `sealgate audit verify`")
            }
            StoreError::Damaged { seq: None, what } => {
                write!(f, "journal damaged: {what}; keep the file and run `sealgate audit verify`")
            }
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StoreError::Io { source, .. } => Some(source),
            StoreError::Sqlite { source, .. } => Some(source),
            StoreError::Held { .. }
            | StoreError::Newer { .. }
            | StoreError::Foreign { .. }
            | StoreError::Refused { .. }
            | StoreError::Missing { .. }
            | StoreError::Replaced { .. }
            | StoreError::Place { .. }
            | StoreError::Damaged { .. } => None,
        }
    }
}
