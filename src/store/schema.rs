//! The schema and its versions. `schema.sql` is version 1 and frozen; a later version is one more entry of `MIGRATIONS`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rusqlite::Connection;

use crate::store::error::StoreError;

/// `SGJL` in the header of the file, so that no other SQLite file is taken for a journal.
const APPLICATION_ID: i64 = 0x5347_4A4C;

/// Entry n brings a file from version n to n + 1.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("schema_clock.sql"),
    include_str!("schema_expired.sql"),
    include_str!("schema_pictures.sql"),
    include_str!("schema_people.sql"),
    include_str!("schema_newest.sql"),
    include_str!("schema_life.sql"),
];

pub(super) fn version_known() -> i64 {
    i64::try_from(MIGRATIONS.len()).expect("a handful of migrations")
}

/// Refuses a foreign file or a newer schema by its header alone (SQLite file format 1.3), before any connection.
pub(super) fn refuse_unknown(path: &Path) -> Result<(), StoreError> {
    let Ok(mut file) = File::open(path) else { return Ok(()) };
    let mut header = Vec::with_capacity(100);
    let read = file.by_ref().take(100).read_to_end(&mut header);
    read.map_err(|source| StoreError::Io { doing: "reading", path: path.to_owned(), source })?;
    if header.is_empty() {
        return Ok(());
    }
    let number = |at: usize| header.get(at..at + 4).and_then(|part| part.try_into().ok()).map(u32::from_be_bytes);
    let (Some(version), Some(application)) = (number(60), number(68)) else {
        return Err(StoreError::Foreign { path: path.to_owned(), what: "it is no SQLite file".into() });
    };
    if !header.starts_with(b"SQLite format 3\0") {
        return Err(StoreError::Foreign { path: path.to_owned(), what: "it is no SQLite file".into() });
    }
    judge(path, i64::from(version), i64::from(application))
}

/// Whether a file begins as every SQLite file does, with a whole header.
pub(super) fn has_header(path: &Path) -> bool {
    let mut header = Vec::with_capacity(100);
    let read = File::open(path).and_then(|file| file.take(100).read_to_end(&mut header));
    read.is_ok_and(|length| length == 100) && header.starts_with(b"SQLite format 3\0")
}

fn judge(path: &Path, version: i64, application: i64) -> Result<(), StoreError> {
    if application != APPLICATION_ID && (application != 0 || version != 0) {
        return Err(StoreError::Foreign { path: path.to_owned(), what: "another program wrote it".into() });
    }
    if version > version_known() {
        return Err(StoreError::Newer { path: path.to_owned(), found: version, known: version_known() });
    }
    Ok(())
}

/// Brings the file to the newest version, each step in one transaction.
pub(super) fn migrate(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let version = pragma(conn, "user_version")?;
    judge(path, version, pragma(conn, "application_id")?)?;
    if version == 0 && object_count(conn)? > 0 {
        return Err(StoreError::Foreign { path: path.to_owned(), what: "it holds other tables".into() });
    }
    let done = usize::try_from(version).map_err(|_| StoreError::damaged("a negative schema version"))?;
    for (place, step) in MIGRATIONS.iter().enumerate().skip(done) {
        let next = place + 1;
        conn.execute_batch(&format!(
            "BEGIN IMMEDIATE; {step}; PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={next}; COMMIT;"
        ))
        .map_err(StoreError::sqlite("bringing the schema up to date"))?;
    }
    Ok(())
}

/// Every schema object of this release's schema: type, name, SQL.
pub(super) fn objects(conn: &Connection) -> Result<Vec<(String, String, Option<String>)>, rusqlite::Error> {
    let mut list = conn.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY name, type")?;
    list.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
}

/// The objects that a whole file has.
pub(super) fn expected_objects() -> Result<Vec<(String, String, Option<String>)>, rusqlite::Error> {
    let fresh = Connection::open_in_memory()?;
    for step in MIGRATIONS {
        fresh.execute_batch(step)?;
    }
    objects(&fresh)
}

fn pragma(conn: &Connection, name: &str) -> Result<i64, StoreError> {
    conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).map_err(StoreError::sqlite("reading the version"))
}

fn object_count(conn: &Connection) -> Result<i64, StoreError> {
    conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(StoreError::sqlite("reading the schema"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::open::{Settings, open};
    use crate::store::rebuild;
    use crate::wire::chain;

    #[test]
    fn a_file_of_an_earlier_release_is_brought_up_to_date_and_its_feed_keeps_its_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("line.db");
        let conn = Connection::open(&path).expect("opens");
        for step in MIGRATIONS.iter().take(2) {
            conn.execute_batch(step).expect("a step");
        }
        // Words of streams were given when they were first used.
        conn.execute_batch(&format!(
            "PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version=2; \
             INSERT INTO word (word, text) VALUES (64, 'epcis'), (65, 'fact'); INSERT INTO work_feed VALUES (64, 7), (65, 9), (0, 5)"
        ))
        .expect("as it lay");
        conn.execute(
            "INSERT INTO meta (id, line, schema_version, store_uuid, epoch, boot, genesis) VALUES (1, 'l1', 2, 'u', 1, 0, ?1)",
            [chain::genesis("l1", "u")],
        )
        .expect("an identity");
        drop(conn);
        drop(open(&Settings::new(&path, "l1")).expect("opens"));
        rebuild::make(&path).expect("made anew");
        let conn = Connection::open(&path).expect("opens");
        let place = |stream: &str| {
            let sql = "SELECT acked_seq FROM work_feed JOIN word ON word = stream WHERE text = ?1";
            conn.query_row(sql, [stream], |row| row.get::<_, i64>(0)).expect("a place")
        };
        assert_eq!((place("epcis"), place("fact")), (7, 9));
        assert!(rebuild::check(&path, folder.path()).expect("compared").is_same());
    }
}
