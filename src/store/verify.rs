//! Proof: the chain recomputed over every column of every fact, offline, with the place of the first flaw named.
//!
//! A verdict needs nothing from the file but its base tables: the schema must be the one this release would make, word by
//! word, so that no view or trigger of a hostile file can lie. Tables `work_*` are outside the proof.

use std::path::Path;

use rusqlite::Connection;

use crate::store::error::StoreError;
use crate::store::facts;
use crate::store::open::{self, Identity};
use crate::store::reader::Reader;
use crate::store::schema;
use crate::store::words::Words;
use crate::wire::chain;

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    pub line: String,
    pub store_uuid: String,
    /// Facts found whole, from the first one on.
    pub facts: u64,
    /// The hash of the newest of them.
    pub head: [u8; 32],
    pub first_bad: Option<Flaw>,
}

/// The first place where the file is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The fact, where the flaw lies in one or in what hangs on one.
    pub seq: Option<u64>,
    pub what: String,
}

/// Verifies a whole journal; an error means that it could not be read at all.
pub fn run(path: &Path) -> Result<VerifyReport, StoreError> {
    let mut report =
        VerifyReport { line: String::new(), store_uuid: String::new(), facts: 0, head: [0; 32], first_bad: None };
    let found = Reader::open(path).and_then(|mut reader| {
        let identity = reader.identity().clone();
        (report.line, report.store_uuid) = (identity.line.clone(), identity.store_uuid.clone());
        report.head = identity.genesis;
        find_flaw(&mut reader, &identity, &mut report)
    });
    report.first_bad = match found {
        Ok(flaw) => flaw,
        Err(error) => Some(flaw_of(error)?),
    };
    if let Some(seq) = report.first_bad.as_ref().and_then(|flaw| flaw.seq) {
        report.facts = seq.saturating_sub(1);
    }
    Ok(report)
}

/// Damage is a finding; a file that cannot be read is not.
fn flaw_of(error: StoreError) -> Result<Flaw, StoreError> {
    match error {
        StoreError::Damaged { seq, what } => Ok(Flaw { seq, what }),
        StoreError::Sqlite { doing, source } if !is_about_access(&source) => {
            Ok(Flaw { seq: None, what: format!("{doing}: {source}") })
        }
        StoreError::Held { .. }
        | StoreError::Newer { .. }
        | StoreError::Foreign { .. }
        | StoreError::Io { .. }
        | StoreError::Sqlite { .. }
        | StoreError::Refused { .. } => Err(error),
    }
}

fn is_about_access(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode;
    let code = error.sqlite_error_code();
    [
        ErrorCode::CannotOpen,
        ErrorCode::DatabaseBusy,
        ErrorCode::DatabaseLocked,
        ErrorCode::DiskFull,
        ErrorCode::OutOfMemory,
        ErrorCode::PermissionDenied,
        ErrorCode::ReadOnly,
        ErrorCode::SystemIoFailure,
    ]
    .into_iter()
    .any(|access| code == Some(access))
}

fn find_flaw(reader: &mut Reader, identity: &Identity, report: &mut VerifyReport) -> Result<Option<Flaw>, StoreError> {
    let (conn, words) = reader.parts();
    if let Some(what) = schema_flaw(conn)? {
        return Ok(Some(Flaw { seq: None, what }));
    }
    if chain::genesis(&identity.line, &identity.store_uuid) != identity.genesis {
        return Ok(Some(Flaw { seq: None, what: "line, store_uuid and genesis do not belong together".into() }));
    }
    (report.facts, report.head) = walk(conn, words, 1, identity.genesis)?;
    if let Some(flaw) = message_flaw(conn, report.facts)? {
        return Ok(Some(flaw));
    }
    let check: String = conn
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(StoreError::sqlite("checking the structure"))?;
    Ok((check != "ok").then_some(Flaw { seq: None, what: check }))
}

/// The newest facts, chained from the hash before them; the head.
pub(super) fn tail(
    conn: &Connection,
    words: &mut Words,
    identity: &Identity,
    count: u64,
) -> Result<(u64, [u8; 32]), StoreError> {
    let (last, _) = open::head(conn, words, identity)?;
    let first = last.saturating_sub(count).max(1);
    let prev = if first == 1 { identity.genesis } else { hash_of(conn, first - 1)? };
    if last == 0 {
        return Ok((0, identity.genesis));
    }
    walk(conn, words, first, prev)
}

/// Recomputes the chain from `first` to the end; the newest fact and its hash.
fn walk(conn: &Connection, words: &mut Words, first: u64, prev: [u8; 32]) -> Result<(u64, [u8; 32]), StoreError> {
    let doing = "reading the facts";
    let mut list =
        conn.prepare(&format!("{} WHERE seq >= ?1 ORDER BY seq", facts::SELECT)).map_err(StoreError::sqlite(doing))?;
    let from = if first == 1 { i64::MIN } else { i64::try_from(first).unwrap_or(i64::MAX) };
    let mut rows = list.query([from]).map_err(StoreError::sqlite(doing))?;
    let (mut last, mut head) = (first - 1, prev);
    while let Some(row) = rows.next().map_err(|error| unreadable(last + 1, &error))? {
        let fact = facts::read(conn, words, row)?;
        if fact.seq != last + 1 {
            let what = if fact.seq > last { "it is missing" } else { "it is out of order" };
            return Err(StoreError::Damaged { seq: Some((last + 1).min(fact.seq)), what: what.into() });
        }
        let hash = chain::hash_columns(&head, &fact.columns());
        if hash != fact.hash {
            let what = "its columns and its hash do not belong together".into();
            return Err(StoreError::Damaged { seq: Some(fact.seq), what });
        }
        (last, head) = (fact.seq, hash);
    }
    Ok((last, head))
}

fn unreadable(seq: u64, error: &rusqlite::Error) -> StoreError {
    StoreError::Damaged { seq: Some(seq), what: format!("it cannot be read: {error}") }
}

fn hash_of(conn: &Connection, seq: u64) -> Result<[u8; 32], StoreError> {
    let seq_column = i64::try_from(seq).unwrap_or(i64::MAX);
    conn.query_row("SELECT hash FROM fact WHERE seq = ?1", [seq_column], |row| row.get(0))
        .map_err(|error| unreadable(seq, &error))
}

fn schema_flaw(conn: &Connection) -> Result<Option<String>, StoreError> {
    let found = schema::objects(conn).map_err(StoreError::sqlite("reading the schema"))?;
    let expected = schema::expected_objects().map_err(StoreError::sqlite("making the schema to compare with"))?;
    let odd = found.iter().find(|object| !expected.contains(object));
    let missing = expected.iter().find(|object| !found.contains(object));
    Ok(odd.or(missing).map(|(kind, name, _)| format!("the {kind} {name} is not as this release makes it")))
}

/// A message must hang on a fact and hold the bytes that were digested.
fn message_flaw(conn: &Connection, facts: u64) -> Result<Option<Flaw>, StoreError> {
    let doing = "reading the messages";
    let mut list =
        conn.prepare("SELECT id, body, body_sha256 FROM message ORDER BY id").map_err(StoreError::sqlite(doing))?;
    let mut rows = list.query([]).map_err(StoreError::sqlite(doing))?;
    while let Some(row) = rows.next().map_err(StoreError::sqlite(doing))? {
        let id: i64 = row.get(0).map_err(StoreError::sqlite(doing))?;
        let seq = u64::try_from(id >> 8).ok().filter(|seq| (1..=facts).contains(seq));
        let Some(seq) = seq else {
            return Ok(Some(Flaw { seq: None, what: format!("message {id} belongs to no fact") }));
        };
        let body = row.get_ref(1).ok().and_then(|body| body.as_blob().ok());
        let digest = row.get_ref(2).ok().and_then(|digest| digest.as_blob().ok());
        if body.map(chain::sha256).as_ref().map(<[u8; 32]>::as_slice) != digest {
            return Ok(Some(Flaw { seq: Some(seq), what: "a message of it was changed".into() }));
        }
    }
    Ok(None)
}
