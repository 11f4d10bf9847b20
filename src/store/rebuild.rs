//! The state tables are the fold of the facts (I7): made anew from the facts alone, through the lowering and the changes
//! that made them first, and compared row by row with what lies in the file.
//!
//! Contract: [`check`] leaves the file as it is and works on one moment of it ([`Snapshot`](crate::store::Snapshot)), in which it
//! also proves the chain (`store::verify`): a fold of facts that are not proven proves nothing. [`make`] writes such a fold in
//! place of the file. Covered are all tables but `work_*`:
//! - the serials of an order by their digest in `batch_loaded` (`store::proven`);
//! - messages, with those that a fact let go (`messages_expired`) gone;
//! - `checkpoint` rows are signed statements about the facts, and belong to `audit verify`.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::store::commit::Job;
pub use crate::store::compare::Difference;
use crate::store::compare::{self, Differences};
use crate::store::error::StoreError;
use crate::store::facts::StoredFact;
use crate::store::lock::{self, beside};
use crate::store::open::{self, Store};
use crate::store::proven;
use crate::store::reader::{Reader, each_fact};
use crate::store::salvage;
use crate::store::start;
use crate::store::verify::{self, Trust, VerifyReport};
use crate::store::words::Words;
use crate::wire::chain;
use crate::wire::fact::DecodeError;
use crate::wire::lower::Stamp;
use crate::wire::record::{Change, Record};
use crate::wire::refold::Refold;

/// Facts that share a transaction of the new file.
const GROUP: usize = 256;

/// What a comparison found.
#[derive(Debug)]
pub struct CheckReport {
    pub verified: VerifyReport,
    /// Rows that were compared.
    pub rows: u64,
    /// The first of them, by table.
    pub differences: Vec<Difference>,
    /// All of them.
    pub difference_count: u64,
}

impl CheckReport {
    pub fn is_same(&self) -> bool {
        self.verified.first_bad.is_none() && self.difference_count == 0
    }
}

/// Compares a journal with the fold of its facts. `scratch` is a folder for the second copy; it is left empty.
pub fn check(path: &Path, scratch: &Path) -> Result<CheckReport, StoreError> {
    let (verified, seen) = verify::moment(path, &Trust::default())?;
    let mut found = Differences::default();
    if let (None, Some(mut source)) = (&verified.first_bad, seen) {
        let folder = Scratch::within(scratch)?;
        let (copy, fold) = fold(&mut source, &folder.file())?;
        found.take(fold.stopped);
        compare::all(&source.conn, &copy.conn, &mut found).map_err(StoreError::sqlite("comparing the tables"))?;
    }
    let Differences { rows, list, count } = found;
    Ok(CheckReport { verified, rows, differences: list, difference_count: count })
}

/// What was made anew.
#[derive(Debug)]
pub struct Rebuilt {
    pub facts: u64,
    /// Where the file that lay there is kept.
    pub kept: PathBuf,
}

/// Writes every table anew from the facts, into a new file in the place of the old one, which is kept. No daemon may run.
pub fn make(path: &Path) -> Result<Rebuilt, StoreError> {
    let path = lock::real(path);
    let mut source = Reader::open(&path)?;
    let _lock = lock::acquire(&path)?;
    // What hangs on the facts may be wrong: it is made anew.
    verify::whole(&source.conn, source.identity())?;
    let made = beside(&path, "-rebuilt");
    salvage::discard(&made);
    let (copy, fold) = fold(&mut source, &made)?;
    if let Some(stopped) = fold.stopped {
        return Err(StoreError::damaged(format!("{}: {}", stopped.key, stopped.is.unwrap_or_default())));
    }
    carry(&source.conn, &copy.conn).map_err(StoreError::sqlite("copying what is no fold"))?;
    let facts = copy.head().0;
    copy.make_durable()?;
    drop(source);
    let kept = start::set_aside(&path, "replaced")?;
    start::put(&made, &path)?;
    Ok(Rebuilt { facts, kept })
}

/// Operational state and signed statements are copied as they lie, but that a stream is named by the number of its word in the new
/// file.
fn carry(from: &Connection, to: &Connection) -> rusqlite::Result<()> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND (name GLOB 'work_*' OR name = 'checkpoint')";
    let names: Vec<String> = from.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut streams = Streams { from, to, words: (Words::default(), Words::default()) };
    for name in names {
        let mut list = from.prepare(&format!("SELECT * FROM {name}"))?;
        let width = list.column_count();
        let stream = list.column_names().position(|column| column == "stream");
        let places: Vec<String> = (1..=width).map(|at| format!("?{at}")).collect();
        let mut insert = to.prepare(&format!("INSERT OR REPLACE INTO {name} VALUES ({})", places.join(", ")))?;
        let mut rows = list.query([])?;
        while let Some(row) = rows.next()? {
            let mut values = (0..width).map(|at| row.get(at)).collect::<rusqlite::Result<Vec<Value>>>()?;
            if let Some(value) = stream.and_then(|at| values.get_mut(at)) {
                streams.rename(value)?;
            }
            insert.execute(rusqlite::params_from_iter(values))?;
        }
    }
    Ok(())
}

struct Streams<'a> {
    from: &'a Connection,
    to: &'a Connection,
    words: (Words, Words),
}

impl Streams<'_> {
    /// What is no word, as the place of the watermark, stays.
    fn rename(&mut self, value: &mut Value) -> rusqlite::Result<()> {
        let Value::Integer(id) = *value else { return Ok(()) };
        if let Some(text) = self.words.0.text(self.from, id)? {
            *value = Value::Integer(self.words.1.id(self.to, &text)?);
        }
        Ok(())
    }
}

/// How far the fold came.
pub(super) struct Fold {
    /// Why it ended before the last fact.
    pub(super) stopped: Option<Difference>,
    /// The newest fact that it took.
    pub(super) through: u64,
}

/// Folds the facts of `source`, in order, into a new file.
pub(super) fn fold(source: &mut Reader, target: &Path) -> Result<(Store, Fold), StoreError> {
    // Words that cannot be read get new numbers; the facts that need them cannot be read either.
    let words = Words::as_in(&source.conn).unwrap_or_default();
    let mut copy = open::open_beside(target, source.identity(), words)?;
    let mut fold = Fold { stopped: None, through: 0 };
    let (mut refold, mut group, mut boot) = (Refold::default(), Vec::with_capacity(GROUP), 0);
    let Reader { conn, words, .. } = source;
    let mut dictionary = Words::default();
    let mut link = (0, copy.head().1);
    let ended = each_fact(conn, words, (1, None), |fact| -> Result<(), Stop> {
        link = linked(link, &fact)?;
        let record = refold.record(fact.undecoded(), stamp(&fact), |proof| {
            let order = proven::order(conn, &mut dictionary, proof);
            order.map(Some).ok_or_else(|| Stop::at(fact.seq, "its serials are neither in serial nor in used"))
        })?;
        let record = whole(record, &fact)?;
        boot = fact.boot.max(boot);
        for change in &record.changes {
            if let Change::MessagesExpired(gone) = change {
                commit(&mut copy, &mut group)?;
                copy.note_taken(gone)?;
            }
        }
        group.push(record);
        if group.len() == GROUP {
            commit(&mut copy, &mut group)?;
        }
        Ok(())
    });
    let ended = ended.and_then(|()| commit(&mut copy, &mut group));
    match ended {
        Ok(()) => {}
        Err(Stop::Store(error)) if error.is_damage() => {
            let _ = commit(&mut copy, &mut group);
            fold.stopped = Some(Difference::of_fact(link.0 + 1, error.to_string()));
        }
        Err(Stop::Store(error)) => return Err(error),
        Err(Stop::Fact { seq, what }) => {
            // Those before it in its group still belong to the fold.
            let _ = commit(&mut copy, &mut group);
            fold.stopped = Some(Difference::of_fact(seq, what));
        }
    }
    fold.through = copy.head().0;
    copy.note_starts(boot)?;
    Ok((copy, fold))
}

/// Why the fold went no further.
enum Stop {
    Store(StoreError),
    Fact { seq: u64, what: String },
}

impl Stop {
    fn at(seq: u64, what: impl Into<String>) -> Self {
        Stop::Fact { seq, what: what.into() }
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused { seq, what } => Stop::Fact { seq, what },
            StoreError::Damaged { seq: Some(seq), what } => Stop::Fact { seq, what },
            StoreError::Held { .. }
            | StoreError::Newer { .. }
            | StoreError::Foreign { .. }
            | StoreError::Io { .. }
            | StoreError::Missing { .. }
            | StoreError::Replaced { .. }
            | StoreError::Place { .. }
            | StoreError::Sqlite { .. }
            | StoreError::Damaged { seq: None, .. } => Stop::Store(error),
        }
    }
}

impl From<DecodeError> for Stop {
    fn from(error: DecodeError) -> Self {
        Stop::Fact { seq: error.seq, what: error.to_string() }
    }
}

fn commit(copy: &mut Store, group: &mut Vec<Record>) -> Result<(), Stop> {
    let records = std::mem::take(group);
    if records.is_empty() {
        return Ok(());
    }
    let mut job = Job { records, work: Vec::new() };
    let Err(error) = copy.commit(&job, || 0) else { return Ok(()) };
    // One by one, those before the one that cannot be applied are applied all the same.
    for record in std::mem::take(&mut job.records) {
        copy.commit(&Job { records: vec![record], work: Vec::new() }, || 0)?;
    }
    Err(Stop::from(error))
}

/// The next link of the chain: a fact that does not fit the one before proves nothing, nor does what follows it.
fn linked((last, prev): (u64, [u8; 32]), fact: &StoredFact) -> Result<(u64, [u8; 32]), Stop> {
    if fact.seq != last + 1 {
        return Err(Stop::at(last + 1, "it is missing"));
    }
    if chain::hash_columns(&prev, &fact.columns()) != fact.hash {
        return Err(Stop::at(fact.seq, "its columns and its hash do not belong together"));
    }
    Ok((fact.seq, fact.hash))
}

/// What this release makes of a fact must be what stands there: only then do its changes mean what they meant.
fn whole(record: Record, fact: &StoredFact) -> Result<Record, Stop> {
    let row = &record.row;
    if row.body == fact.body && row.subject == fact.subject && row.version == fact.version {
        return Ok(record);
    }
    Err(Stop::at(fact.seq, "this release would write its body or its subject otherwise"))
}

fn stamp(fact: &StoredFact) -> Stamp {
    Stamp { at_us: fact.at_us, mono_us: fact.mono_us, boot: fact.boot }
}

impl Store {
    /// What `meta` says after the facts that a file was made from.
    fn note_starts(&mut self, boot: u32) -> Result<(), StoreError> {
        self.conn.execute("UPDATE meta SET boot = ?1", [boot]).map_err(StoreError::sqlite("noting the starts"))?;
        self.identity.boot = boot;
        Ok(())
    }
}

/// A folder of its own that goes with it.
struct Scratch(PathBuf);

impl Scratch {
    fn within(folder: &Path) -> Result<Self, StoreError> {
        let own = folder.join(format!("sealgate-rebuild-{}", uuid::Uuid::new_v4()));
        let made = std::fs::create_dir(&own);
        made.map_err(|source| StoreError::Io {
            doing: "making a folder for the comparison",
            path: own.clone(),
            source,
        })?;
        Ok(Self(own))
    }

    fn file(&self) -> PathBuf {
        self.0.join("rebuilt.db")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind is a copy in a folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
