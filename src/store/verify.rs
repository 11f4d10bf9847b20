//! Proof: the chain recomputed over every column of every fact, its signatures, and what was anchored of it elsewhere; offline,
//! with the place of the first flaw named.
//!
//! A verdict needs nothing from the file but its base tables: the schema must be the one this release would make, word by
//! word, so that no view or trigger of a hostile file can lie. Tables `work_*` are outside the proof.

use std::path::Path;

use rusqlite::Connection;

use crate::store::error::StoreError;
use crate::store::facts::{self, StoredFact};
use crate::store::messages;
use crate::store::open::{self, Identity};
use crate::store::reader::{Reader, Snapshot};
use crate::store::salvaged;
use crate::store::schema;
use crate::store::signatures::Auditor;
use crate::store::words::Words;
use crate::wire::chain;
use crate::wire::checkpoint::{KeyRing, Note};

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
    pub signatures: Signatures,
}

/// What the checkpoints said, as far as the facts are whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signatures {
    pub signer: Signer,
    pub checkpoints: u64,
    /// The newest fact that one covers.
    pub through: u64,
    /// Notes from elsewhere that were compared.
    pub anchors: u64,
    /// Facts that they prove and the journal does not hold.
    pub missing: Option<(u64, u64)>,
    /// Facts that were anchored and then given up, as a signed fact says.
    pub losses: Vec<String>,
    /// Anchors of facts behind the end, each with its place.
    pub unanswered: Vec<String>,
    /// The file says that it is what was left of another, which ended later. Nothing proves that.
    pub is_salvage: bool,
}

/// Who vouches for the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signer {
    /// There is no checkpoint in it.
    #[default]
    Nobody,
    /// Keys that the journal itself announced: the signer is unproven.
    Unproven,
    /// A key that came from outside.
    Proven,
}

/// What an auditor brings along.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    pub public_keys: Option<KeyRing>,
    /// Notes that were kept elsewhere, each with its place.
    pub anchors: Vec<(String, Note)>,
}

/// The first place where the file is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The fact, where the flaw lies in one or in what hangs on one.
    pub seq: Option<u64>,
    pub what: String,
}

/// Verifies a whole journal by itself; an error means that it could not be read at all.
pub fn run(path: &Path) -> Result<VerifyReport, StoreError> {
    run_with(path, &Trust::default())
}

/// The same against what was kept elsewhere.
pub fn run_with(path: &Path, trust: &Trust) -> Result<VerifyReport, StoreError> {
    moment(path, trust).map(|(report, _)| report)
}

/// The same with the moment that the verdict is about; `None` where the journal has none that could be opened.
pub(super) fn moment(path: &Path, trust: &Trust) -> Result<(VerifyReport, Option<Snapshot>), StoreError> {
    let mut report = VerifyReport {
        line: String::new(),
        store_uuid: String::new(),
        facts: 0,
        head: [0; 32],
        first_bad: None,
        signatures: Signatures::default(),
    };
    if std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == 0) {
        report.first_bad = Some(Flaw { seq: None, what: "it is empty, and no journal".into() });
        return Ok((report, None));
    }
    let mut seen = match Snapshot::open(path) {
        Ok(seen) => seen,
        Err(error) => {
            report.first_bad = Some(flaw_of(error)?);
            return Ok((report, None));
        }
    };
    let identity = seen.identity().clone();
    (report.line, report.store_uuid) = (identity.line.clone(), identity.store_uuid.clone());
    report.head = identity.genesis;
    report.first_bad = find_flaw(&mut seen, &identity, trust, &mut report).or_else(|error| flaw_of(error).map(Some))?;
    if let Some(seq) = report.first_bad.as_ref().and_then(|flaw| flaw.seq) {
        report.facts = seq.saturating_sub(1);
    }
    Ok((report, Some(seen)))
}

/// Damage is a finding; a file that cannot be read is not.
fn flaw_of(error: StoreError) -> Result<Flaw, StoreError> {
    match error {
        StoreError::Damaged { seq, what } => Ok(Flaw { seq, what }),
        StoreError::Foreign { what, .. } => Ok(Flaw { seq: None, what: format!("it is no journal: {what}") }),
        StoreError::Sqlite { doing, source } if !is_about_access(&source) => {
            Ok(Flaw { seq: None, what: format!("{doing}: {source}") })
        }
        StoreError::Held { .. }
        | StoreError::Newer { .. }
        | StoreError::Io { .. }
        | StoreError::Missing { .. }
        | StoreError::Replaced { .. }
        | StoreError::Place { .. }
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

fn find_flaw(
    seen: &mut Snapshot,
    identity: &Identity,
    trust: &Trust,
    report: &mut VerifyReport,
) -> Result<Option<Flaw>, StoreError> {
    let (conn, words) = seen.parts();
    if let Some(odd) = schema_flaw(conn)? {
        return Ok(Some(beneath(conn, words, identity, odd)));
    }
    if chain::genesis(&identity.line, &identity.store_uuid) != identity.genesis {
        return Ok(Some(Flaw { seq: None, what: "line, store_uuid and genesis do not belong together".into() }));
    }
    let mut auditor = Auditor::new(conn, words, identity, trust)?;
    let walked = walk_with(conn, words, (1, identity.genesis), |fact| match auditor.pass(fact)? {
        Some(Flaw { seq, what }) => Err(StoreError::Damaged { seq, what }),
        None => Ok(()),
    });
    let epoch = auditor.epoch();
    // What the checkpoints said so far is told where the chain is broken, too.
    let (flaw, signatures) = auditor.end()?;
    report.signatures = signatures;
    (report.facts, report.head) = walked?;
    if let Some(flaw) = flaw {
        return Ok(Some(named(conn, report, flaw)?));
    }
    if let Some(flaw) = identity_flaw(conn, identity, epoch)? {
        return Ok(Some(flaw));
    }
    if let Some(flaw) = message_flaw(conn, report.facts)? {
        return Ok(Some(flaw));
    }
    if let Some(what) = messages::gap(conn, words)? {
        return Ok(Some(Flaw { seq: None, what }));
    }
    let check: String = conn
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(StoreError::sqlite("checking the structure"))?;
    Ok((check != "ok").then_some(Flaw { seq: None, what: check }))
}

/// A missing end by its name, where the file has one for it. It stays missing: whoever cuts facts off may write the same.
fn named(conn: &Connection, report: &mut VerifyReport, flaw: Flaw) -> Result<Flaw, StoreError> {
    let (Some((from, to)), Some(mark)) = (report.signatures.missing, salvaged::claim(conn, report.facts)?) else {
        return Ok(flaw);
    };
    report.signatures.is_salvage = true;
    let (facts, why) = (mark.facts, mark.why);
    let what = format!(
        "facts 1 to {facts} are as they were written, and facts {from} to {to} are not here: the file says that it is a salvage of \
         {facts} facts ({why}), which nothing proves; a file that was cut off may say the same. {}. Ask for the damaged file that \
         was kept",
        flaw.what
    );
    Ok(Flaw { seq: flaw.seq, what })
}

/// A schema that was tampered with, and with it the first changed fact: whoever drops a trigger does so to change one. The
/// facts are read only where every table is as it was made, since a view in place of one could keep us for ever.
fn beneath(conn: &Connection, words: &mut Words, identity: &Identity, odd: OddSchema) -> Flaw {
    let found = if odd.is_table { Ok(None) } else { walk(conn, words, 1, identity.genesis).map(|_| None) };
    match found.or_else(|error| flaw_of(error).map(Some)) {
        Ok(Some(flaw)) => Flaw { seq: flaw.seq, what: format!("{}; {}", flaw.what, odd.what) },
        Ok(None) | Err(_) => Flaw { seq: None, what: odd.what },
    }
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

/// The structure of the whole file.
pub(super) fn structure(conn: &Connection) -> Result<(), StoreError> {
    let check: String = conn
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(StoreError::sqlite("checking the structure"))?;
    if check == "ok" { Ok(()) } else { Err(StoreError::damaged(check)) }
}

/// What is wrong with the structure of a file; `None` where it is sound.
pub fn quick(path: &Path) -> Result<Option<String>, StoreError> {
    let reader = Reader::open(path)?;
    match structure(&reader.conn) {
        Ok(()) => Ok(None),
        Err(error) => flaw_of(error).map(|flaw| Some(flaw.what)),
    }
}

/// The structure and the whole chain.
pub(super) fn whole(conn: &Connection, identity: &Identity) -> Result<(), StoreError> {
    structure(conn)?;
    walk(conn, &mut Words::default(), 1, identity.genesis).map(drop)
}

/// Recomputes the chain from `first` to the end; the newest fact and its hash.
fn walk(conn: &Connection, words: &mut Words, first: u64, prev: [u8; 32]) -> Result<(u64, [u8; 32]), StoreError> {
    walk_with(conn, words, (first, prev), |_| Ok(()))
}

/// The same; `pass` sees each fact when its place in the chain is proven.
fn walk_with(
    conn: &Connection,
    words: &mut Words,
    (first, prev): (u64, [u8; 32]),
    mut pass: impl FnMut(&StoredFact) -> Result<(), StoreError>,
) -> Result<(u64, [u8; 32]), StoreError> {
    let doing = "reading the facts";
    let mut list =
        conn.prepare(&format!("{} WHERE seq >= ?1 ORDER BY seq", facts::SELECT)).map_err(StoreError::sqlite(doing))?;
    let mut rows = list.query([i64::try_from(first).unwrap_or(i64::MAX)]).map_err(StoreError::sqlite(doing))?;
    let (mut last, mut head) = (first - 1, prev);
    while let Some(row) = rows.next().map_err(|error| unreadable(last + 1, &error))? {
        let fact = facts::read(conn, words, row)?;
        if fact.seq != last + 1 {
            let what = if fact.seq > last { "it is missing" } else { "it is out of order" };
            return Err(StoreError::Damaged { seq: Some((last + 1).min(fact.seq)), what: what.into() });
        }
        if !facts::is_stored_as_written(conn, words, row, &fact) {
            let what = "it is not stored as it was written".into();
            return Err(StoreError::Damaged { seq: Some(fact.seq), what });
        }
        let hash = chain::hash_columns(&head, &fact.columns());
        if hash != fact.hash {
            let what = "its columns and its hash do not belong together".into();
            return Err(StoreError::Damaged { seq: Some(fact.seq), what });
        }
        (last, head) = (fact.seq, hash);
        pass(&fact)?;
    }
    if first == 1 && has_stray(conn)? {
        // It is in order up to here, so the stray was the next one.
        return Err(StoreError::Damaged { seq: Some(last + 1), what: "a fact carries a number below 1".into() });
    }
    Ok((last, head))
}

/// What of the identity follows from the facts: the run of the newest one, and the newest epoch.
fn identity_flaw(conn: &Connection, identity: &Identity, epoch: u32) -> Result<Option<Flaw>, StoreError> {
    let sql =
        "SELECT COALESCE((SELECT boot FROM fact ORDER BY seq DESC LIMIT 1), 0), (SELECT schema_version FROM meta)";
    let (boot, version): (u32, i64) = conn
        .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(StoreError::sqlite("comparing the identity with the facts"))?;
    let what = if boot != identity.boot {
        format!("meta.boot is {}, and the newest fact is of run {boot}", identity.boot)
    } else if epoch != identity.epoch {
        format!("meta.epoch is {}, and the facts say {epoch}", identity.epoch)
    } else if version != schema::version_known() {
        format!("meta.schema_version is {version}, and the schema is of version {}", schema::version_known())
    } else {
        return Ok(None);
    };
    Ok(Some(Flaw { seq: None, what }))
}

fn has_stray(conn: &Connection) -> Result<bool, StoreError> {
    conn.query_row("SELECT EXISTS (SELECT 1 FROM fact WHERE seq < 1)", [], |row| row.get(0))
        .map_err(StoreError::sqlite("looking for facts below 1"))
}

fn unreadable(seq: u64, error: &rusqlite::Error) -> StoreError {
    StoreError::Damaged { seq: Some(seq), what: format!("it cannot be read: {error}") }
}

fn hash_of(conn: &Connection, seq: u64) -> Result<[u8; 32], StoreError> {
    let seq_column = i64::try_from(seq).unwrap_or(i64::MAX);
    conn.query_row("SELECT hash FROM fact WHERE seq = ?1", [seq_column], |row| row.get(0))
        .map_err(|error| unreadable(seq, &error))
}

/// What of the schema is not as it was made.
struct OddSchema {
    what: String,
    /// Whether a table is among it.
    is_table: bool,
}

/// What of the schema is lost or not as it was made. What somebody added, an index say, changes nothing that is read.
pub(super) fn schema(conn: &Connection) -> Result<(), StoreError> {
    let found = schema::objects(conn).map_err(StoreError::sqlite("reading the schema"))?;
    let expected = schema::expected_objects().map_err(StoreError::sqlite("making the schema to compare with"))?;
    match expected.iter().find(|object| !found.contains(object)) {
        Some((kind, name, _)) => Err(StoreError::damaged(format!("the {kind} {name} is not as this release makes it"))),
        None => Ok(()),
    }
}

fn schema_flaw(conn: &Connection) -> Result<Option<OddSchema>, StoreError> {
    let found = schema::objects(conn).map_err(StoreError::sqlite("reading the schema"))?;
    let expected = schema::expected_objects().map_err(StoreError::sqlite("making the schema to compare with"))?;
    let surplus = found.iter().filter(|object| !expected.contains(object));
    let odd: Vec<_> = surplus.chain(expected.iter().filter(|object| !found.contains(object))).collect();
    let is_table = odd.iter().any(|(kind, ..)| kind == "table");
    Ok(odd.first().map(|(kind, name, _)| OddSchema {
        what: format!("the {kind} {name} is not as this release makes it"),
        is_table,
    }))
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;
    use crate::store::open::{Settings, open};
    use crate::store::samples::*;
    use crate::wire::fact::KINDS;

    fn written() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("line.db");
        let mut store = open(&Settings::new(&path, "site/l1")).expect("opens");
        store.commit(&job(story()), || 0).expect("committed");
        drop(store);
        (directory, path)
    }

    /// Changes a copy by SQL, as somebody with the file and a tool would, and who puts the triggers back.
    fn tampered(path: &Path, sql: &str) -> VerifyReport {
        change(path, sql, true)
    }

    fn change(path: &Path, sql: &str, is_careful: bool) -> VerifyReport {
        let copy = path.with_file_name("tampered.db");
        std::fs::copy(path, &copy).expect("copied");
        let conn = Connection::open(&copy).expect("a tool");
        conn.execute_batch(
            "PRAGMA synchronous=OFF; DROP TRIGGER fact_is_never_changed; DROP TRIGGER fact_is_never_deleted;",
        )
        .expect("dropped");
        let made = schema::expected_objects().expect("a schema");
        conn.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        for (_, _, trigger) in made.into_iter().filter(|(_, name, _)| is_careful && name.starts_with("fact_is_never")) {
            conn.execute_batch(&trigger.expect("a trigger has SQL")).expect("put back");
        }
        drop(conn);
        run(&copy).expect("readable")
    }

    #[test]
    fn a_whole_journal_verifies_and_says_how_far() {
        let (_directory, path) = written();
        let report = run(&path).expect("readable");
        assert_eq!((report.facts, report.first_bad), (21, None));
        assert_eq!(report.line, "site/l1");
    }

    #[test]
    fn any_column_of_any_fact_that_was_changed_is_found_and_named() {
        let (_directory, path) = written();
        let changes = [
            "at_us = at_us + 1",
            "mono_us = mono_us + 1",
            "boot = boot + 1",
            "kind = 2",
            "kind = 12345",
            "version = version + 1",
            "version = 70000",
            "batch = CASE WHEN batch IS NULL THEN 2 ELSE NULL END",
            "batch = 3",
            "actor = 2",
            "subject = subject || 'x'",
            "subject = '~' || subject",
            "body = substr(body, 2)",
            "body = body || char(0)",
            "body = cast(x'ff' AS TEXT)",
            "hash = zeroblob(32)",
        ];
        for seq in 1..=21u64 {
            for change in changes {
                let report = tampered(&path, &format!("UPDATE fact SET {change} WHERE seq = {seq}"));
                let found = report.first_bad.unwrap_or_else(|| panic!("{change} of fact {seq} was not found"));
                assert_eq!(found.seq, Some(seq), "{change}: {}", found.what);
                assert_eq!(report.facts, seq - 1);
            }
        }
    }

    const CORPUS: &str = include_str!("../../tests/data/facts-v1.jsonl");

    /// A key in the chain without a checkpoint of it is a flaw of its own, and so are a signature without its record and an act without its
    /// signature: each is tried at home.
    const NOT_ALONE: [&str; 5] = ["key_announced", "signed", "config_approved", "audit_reviewed", "line_cleared"];

    fn tried() -> impl Iterator<Item = &'static str> {
        let is_tried = |line: &&str| !NOT_ALONE.iter().any(|kind| line.contains(&format!("\"{kind}\"")));
        CORPUS.lines().filter(is_tried)
    }

    /// A journal with a fact of every other kind that this release writes.
    fn every_kind() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("line.db");
        let mut store = open(&Settings::new(&path, "site/l1")).expect("opens");
        let mut records = vec![loaded(1, "B1", &["A1", "A2"])];
        for line in tried() {
            let (head, body) = line.split_once(r#","version":1,"body":"#).expect("a line of the corpus");
            let kind = KINDS.iter().find(|kind| head == format!(r#"{{"kind":"{kind}""#)).expect("a kind");
            let raised = (*kind == "epoch_raised").then_some(crate::wire::record::Change::EpochRaised { epoch: 2 });
            let changes = raised.into_iter().collect();
            let mut next = about(record(records.len() as u64 + 1, kind, changes), format!("{}A1", prefix()));
            next.row.body = body.strip_suffix('}').expect("the end of the line").to_owned();
            records.push(next);
        }
        let is_there = |kind: &str| records.iter().any(|record| record.row.kind == kind);
        assert!(KINDS.iter().filter(|kind| !NOT_ALONE.contains(kind)).all(|kind| is_there(kind)));
        store.commit(&job(records), || 0).expect("committed");
        drop(store);
        (directory, path)
    }

    #[test]
    fn each_column_of_a_fact_of_each_kind_is_covered_and_the_fact_named_with_and_without_triggers() {
        let (_directory, path) = every_kind();
        let facts = run(&path).expect("readable");
        assert_eq!((facts.facts, facts.first_bad), (tried().count() as u64 + 1, None));
        let changes = [
            "seq = seq + (1 << 20)",
            "at_us = at_us | 1 << 40",
            "mono_us = mono_us | 1 << 40",
            "boot = boot | 256",
            "kind = kind | 1 << 16",
            "version = version + 256",
            "batch = COALESCE(batch, 0) + 256",
            "actor = actor | 256",
            "subject = 'x' || substr(subject, 2)",
            "body = substr(body, 1, length(body) - 1) || 'x'",
            "hash = zeroblob(32)",
        ];
        for seq in 1..=facts.facts {
            for (sql, is_careful) in changes.iter().flat_map(|sql| [(sql, true), (sql, false)]) {
                let report = change(&path, &format!("UPDATE fact SET {sql} WHERE seq = {seq}"), is_careful);
                let found = report.first_bad.unwrap_or_else(|| panic!("{sql} of fact {seq} was not found"));
                assert_eq!(found.seq, Some(seq), "{sql}: {}", found.what);
                assert_eq!(found.what.contains("trigger"), !is_careful, "{sql}: {}", found.what);
            }
        }
    }

    #[test]
    fn another_form_of_the_same_fact_is_found_too() {
        let (_directory, path) = written();
        let long = "body = (SELECT v.body FROM v_fact v WHERE v.seq = 8)";
        let long_subject = "subject = (SELECT v.subject FROM v_fact v WHERE v.seq = 8)";
        for change in [long, long_subject] {
            let found = tampered(&path, &format!("UPDATE fact SET {change} WHERE seq = 8")).first_bad;
            assert_eq!(found.and_then(|flaw| flaw.seq), Some(8), "{change}");
        }
    }

    #[test]
    fn deletions_and_re_orders_are_found_and_named() {
        let (_directory, path) = written();
        let cases = [
            ("DELETE FROM fact WHERE seq = 5", Some(5)),
            ("DELETE FROM fact WHERE seq = 1", Some(1)),
            ("UPDATE fact SET seq = -5 WHERE seq = 5", Some(5)),
            ("UPDATE fact SET seq = 0 WHERE seq = 21", Some(21)),
            ("UPDATE fact SET seq = 100 WHERE seq = 5", Some(5)),
            (
                "UPDATE fact SET seq = 99 WHERE seq = 5; UPDATE fact SET seq = 5 WHERE seq = 6; UPDATE fact SET seq = 6 WHERE seq = 99",
                Some(5),
            ),
        ];
        for (sql, seq) in cases {
            let found = tampered(&path, sql).first_bad.unwrap_or_else(|| panic!("{sql} was not found"));
            assert_eq!(found.seq, seq, "{sql}: {}", found.what);
        }
    }

    #[test]
    fn what_hangs_on_the_facts_is_covered_too() {
        let (_directory, path) = written();
        let cases = [
            "DROP TRIGGER word_is_never_changed; UPDATE word SET text = 'faked' WHERE text = 'verified'",
            "UPDATE batch SET epc_prefix = 'urn:epc:id:sgtin:1.'",
            "UPDATE meta SET line = 'site/l2'",
            "UPDATE meta SET genesis = zeroblob(32)",
            "DROP TRIGGER message_is_never_changed; UPDATE message SET body = x'00' WHERE seq = 1",
            "DROP VIEW v_fact; CREATE VIEW v_fact AS SELECT 1 AS seq",
            "CREATE TABLE extra (a)",
            "DROP INDEX member_present",
        ];
        for sql in cases {
            assert!(tampered(&path, sql).first_bad.is_some(), "{sql}");
        }
    }

    #[test]
    fn random_bytes_of_the_file_never_pass_for_whole_facts_that_were_changed() {
        let (_directory, path) = written();
        let whole = std::fs::read(&path).expect("read");
        let body = whole.windows(9).position(|part| part == b"verified\x02").expect("a body in the file");
        let copy = path.with_file_name("flipped.db");
        for at in body..body + 9 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&copy, bytes).expect("written");
            assert!(run(&copy).expect("readable").first_bad.is_some(), "byte {at}");
        }
        std::fs::write(&copy, &whole[..whole.len() / 2]).expect("written");
        assert!(run(&copy).expect("readable").first_bad.is_some(), "half a file");
    }

    /// Needs Python; without it the test says so, and fails where `CI` is set.
    #[test]
    fn another_language_recomputes_the_chain() {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/verify_proof.py");
        let (_directory, path) = written();
        let python = |file: &Path| Command::new("python3").arg(script).arg(file).output();
        let Ok(whole) = python(&path) else {
            assert!(std::env::var_os("CI").is_none(), "python3 is needed");
            // The test runner keeps to itself what a macro prints.
            let _ = std::io::stderr().write_all(b"LEFT OUT: the chain in another language: no python3\n");
            return;
        };
        assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stdout));
        tampered(&path, "UPDATE fact SET body = body || ' ' WHERE seq = 8");
        let broken = python(&path.with_file_name("tampered.db")).expect("python ran before");
        assert_eq!(broken.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&broken.stdout).contains("fact 8"));
    }
}
