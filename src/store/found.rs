//! Whatever a damaged journal still holds, page by page, in a file of its own: the facts, and what it takes to read and to fold
//! them. No tree of the damaged file is walked and nothing of its schema is asked for, so that it does not matter whether it is
//! cut short, whether its header, its schema or an inner page is lost, or whether its log is damaged in the middle.
//!
//! - A fact is taken wherever it lies: in the file, in the log, in what a page that was split left behind. Which copy is the
//!   true one is proven by the chain ([`Found::prove`]); the others go.
//! - A word stands in its table and in the table's index, a serial in `serial` and in `used`, the prefix of a batch in its
//!   `batch_loaded` fact: one damaged place of them costs nothing.
//! - A checkpoint is taken wherever it lies; whether it is a true one is for its signature to say.
//! - The feed's place comes from the one page that the schema names for it; where that is not certain, from nowhere.
//!
//! Contract: the damaged file is read and never written. Frames of the log count as far as SQLite counts them, and then those
//! behind, which add facts where they fit and nothing else.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::domain::epc;
use crate::store::carve::{self, PAGE, Row};
use crate::store::error::StoreError;
use crate::store::facts::{self, StoredFact};
use crate::store::frames::{self, Log};
use crate::store::lock::beside;
use crate::store::open::Identity;
use crate::store::reader::Reader;
use crate::store::recover::{signed, unsigned};
use crate::store::salvage;
use crate::store::words::Words;
use crate::wire::{chain, fact};

const TABLES: &str = "
  PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-32768;
  CREATE TABLE fact (seq, at_us, mono_us, boot, kind, version, batch, actor, subject, body, hash);
  CREATE INDEX fact_seq ON fact (seq);
  CREATE TABLE word (word INTEGER PRIMARY KEY, text);
  CREATE TABLE other_word (word, text, UNIQUE (word, text));
  CREATE TABLE batch (batch INTEGER PRIMARY KEY, epc_prefix);
  CREATE TABLE serial (id INTEGER PRIMARY KEY, serial);
  CREATE TABLE used (gtin, serial, id, PRIMARY KEY (gtin, serial)) WITHOUT ROWID;
  CREATE TABLE work_feed (stream INTEGER PRIMARY KEY, acked_seq);
  CREATE TABLE checkpoint (seq INTEGER PRIMARY KEY, head_hash, store_uuid, key_id, signature);
  CREATE TABLE identity (line, store_uuid, genesis, UNIQUE (line, store_uuid, genesis));
  CREATE TABLE root (name, page, UNIQUE (name, page));
  BEGIN;";

const FACT: &str = "INSERT INTO fact SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 WHERE NOT EXISTS \
  (SELECT 1 FROM fact WHERE seq = ?1 AND hash = ?11 AND body = ?10 AND subject = ?9 AND at_us = ?2 AND mono_us = ?3 \
   AND boot = ?4 AND kind = ?5 AND version = ?6 AND batch IS ?7 AND actor = ?8)";
const FACTS: &str = "SELECT seq, at_us, mono_us, boot, kind, version, batch, actor, subject, body, hash, rowid \
  FROM fact ORDER BY seq, rowid";

/// Further texts of one word that are tried; a word has one, and what a damaged page says.
const OTHERS_MAX: u32 = 8;

/// What lies in the damaged file.
#[derive(Debug)]
pub(super) struct Found {
    conn: Connection,
    /// Pages that are there, and pages that its header counts, where there are fewer.
    pub(super) cut: Option<(u32, u32)>,
    scratch: Scratch,
}

/// The file of what was found; it goes with this.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

/// The facts that the chain proves.
pub(super) struct Proven {
    pub(super) facts: u64,
    pub(super) genesis: [u8; 32],
}

/// Reads all of `damaged` into `scratch`, which must not exist and goes with what is returned.
pub(super) fn look(damaged: &Path, scratch: &Path) -> Result<Found, StoreError> {
    salvage::discard(scratch);
    let image = Image::open(damaged)?;
    let file = Scratch(scratch.to_owned());
    let conn = Connection::open(scratch).map_err(StoreError::sqlite("making a file for what is found"))?;
    conn.execute_batch(TABLES).map_err(StoreError::sqlite("making a file for what is found"))?;
    let found = Found { conn, cut: image.cut(), scratch: file };
    for number in 1..=image.pages {
        found.take_page(&image, &image.in_file(number).unwrap_or_default(), number)?;
    }
    for frame in &image.log.frames {
        found.take_page(&image, &image.in_log(frame.at).unwrap_or_default(), frame.page)?;
    }
    found.settle(&image).map_err(StoreError::sqlite("sorting what was found"))?;
    Ok(found)
}

impl Found {
    fn take_page(&self, image: &Image, page: &[u8], number: u32) -> Result<(), StoreError> {
        let mut taken: rusqlite::Result<()> = Ok(());
        let mut keep = |kept: rusqlite::Result<()>| {
            if taken.is_ok() {
                taken = kept;
            }
        };
        // The views differ in the further pages of a long fact alone.
        let views: &[View] = if image.log.frames.is_empty() { &[View::File] } else { &View::ALL };
        for view in views {
            carve::facts(page, &|further| image.page(*view, further), |row| keep(self.take_fact(&row)));
        }
        // The first page of a file begins with its header.
        let begins = if number == 1 { 100 } else { 0 };
        carve::rows(page, begins, &|further| image.page(View::Counting, further), |row| keep(self.take(&row)));
        taken.map_err(StoreError::sqlite("keeping what is found"))
    }

    fn take_fact(&self, row: &Row) -> rusqlite::Result<()> {
        let (Some(seq), [Value::Null, rest @ ..]) = (row.rowid, &row.values[..]) else { return Ok(()) };
        let seq = Value::Integer(seq);
        let values = std::iter::once(&seq).chain(rest);
        self.conn.prepare_cached(FACT)?.execute(params_from_iter(values)).map(drop)
    }

    /// By its shape: no two tables of the journal whose rows are wanted have the same.
    fn take(&self, row: &Row) -> rusqlite::Result<()> {
        use Value::{Blob, Integer, Null, Text};
        let run =
            |sql: &str, values: &[&Value]| self.conn.prepare_cached(sql)?.execute(params_from_iter(values)).map(drop);
        let rowid = row.rowid.map_or(Null, Integer);
        match (&rowid, &row.values[..]) {
            (Integer(_), [Null, text @ Text(_)]) => {
                run("INSERT OR IGNORE INTO word VALUES (?1, ?2)", &[&rowid, text])?;
                run("INSERT OR IGNORE INTO other_word VALUES (?1, ?2)", &[&rowid, text])
            }
            // The index of the words; that of the lots looks the same, and a word that is none proves nothing.
            (Null, [text @ Text(_), id @ Integer(_)]) => {
                run("INSERT OR IGNORE INTO other_word VALUES (?1, ?2)", &[id, text])
            }
            (Integer(_), [Null, serial @ Text(_), Integer(_), Integer(_), Integer(_)]) => {
                run("INSERT OR IGNORE INTO serial VALUES (?1, ?2)", &[&rowid, serial])
            }
            (Null, [gtin @ Integer(_), serial @ Text(_), id @ Integer(_)]) => {
                run("INSERT OR IGNORE INTO used VALUES (?1, ?2, ?3)", &[gtin, serial, id])
            }
            (
                Integer(_),
                [Null, line @ Text(_), Integer(_), uuid @ Text(_), Integer(_), Integer(_), genesis @ Blob(_)],
            ) => run("INSERT OR IGNORE INTO identity VALUES (?1, ?2, ?3)", &[line, uuid, genesis]),
            (Integer(_), [Null, head @ Blob(_), uuid @ Text(_), key @ Text(_), signature @ Blob(_)]) => {
                let values = [&rowid, head, uuid, key, signature];
                run("INSERT OR IGNORE INTO checkpoint VALUES (?1, ?2, ?3, ?4, ?5)", &values)
            }
            (Integer(_), [Text(kind), name @ Text(_), Text(_), root @ Integer(_), Text(_)]) if kind == "table" => {
                run("INSERT OR IGNORE INTO root VALUES (?1, ?2)", &[name, root])
            }
            _ => Ok(()),
        }
    }

    /// What follows from the whole: words that their table has lost, and the feed's place.
    fn settle(&self, image: &Image) -> rusqlite::Result<()> {
        self.conn.execute_batch(
            "INSERT OR IGNORE INTO word SELECT word, text FROM other_word; \
             DELETE FROM other_word WHERE EXISTS (SELECT 1 FROM word w WHERE w.word = other_word.word AND w.text = other_word.text)",
        )?;
        let sql = "SELECT min(page) FROM root WHERE name = 'work_feed' HAVING count(*) = 1 \
                   AND min(page) NOT IN (SELECT page FROM root WHERE name <> 'work_feed')";
        let root: Option<i64> = self.conn.query_row(sql, [], |row| row.get(0)).ok();
        let page = root.and_then(|root| u32::try_from(root).ok()).and_then(|root| image.page(View::Counting, root));
        let mut places = Vec::new();
        carve::rows(&page.unwrap_or_default(), 0, &|_| None, |row| {
            if let (Some(stream), [Value::Null, Value::Integer(acked)]) = (row.rowid, &row.values[..]) {
                places.push((stream, *acked));
            }
        });
        for place in places {
            self.conn.execute("INSERT OR IGNORE INTO work_feed VALUES (?1, ?2)", place)?;
        }
        self.conn.execute_batch("COMMIT")
    }

    /// Leaves of each number the one fact that follows from the fact before it, as far as the chain goes from one of the hashes
    /// with which this journal may begin.
    pub(super) fn prove(&self, known: Option<&Identity>) -> Result<Proven, StoreError> {
        let doing = "proving what was found";
        let geneses = self.geneses(known).map_err(StoreError::sqlite(doing))?;
        let mut prover = Prover { conn: &self.conn, words: Words::default(), facts: 0, ends: geneses };
        let mut genesis = [0; 32];
        let (mut untrue, mut passed_over) = (Vec::new(), Vec::new());
        let mut list = self.conn.prepare(FACTS).map_err(StoreError::sqlite(doing))?;
        let mut rows = list.query([]).map_err(StoreError::sqlite(doing))?;
        while let Some(row) = rows.next().map_err(StoreError::sqlite(doing))? {
            let read = || Ok((unsigned(row, 0)?, row.get::<_, i64>(11)?));
            let (seq, id) = read().map_err(StoreError::sqlite(doing))?;
            let next = prover.facts.saturating_add(1);
            if seq > next {
                break;
            }
            if seq < next {
                untrue.push(id);
                continue;
            }
            match prover.link(row) {
                Some(before) => {
                    genesis = if seq == 1 { before } else { genesis };
                    untrue.append(&mut passed_over);
                }
                None => passed_over.push(id),
            }
        }
        let facts = prover.facts;
        drop(rows);
        for id in untrue {
            let gone = self.conn.execute("DELETE FROM fact WHERE rowid = ?1", [id]);
            gone.map_err(StoreError::sqlite(doing))?;
        }
        Ok(Proven { facts, genesis })
    }

    /// The highest number of a fact that follows from the one before it, whether or not the facts up to there are whole.
    pub(super) fn newest(&self, proven: u64) -> Option<u64> {
        let mut words = Words::default();
        let sql = format!("{} WHERE seq > ?1 ORDER BY seq DESC", facts::SELECT);
        let mut list = self.conn.prepare(&sql).ok()?;
        let mut rows = list.query([signed(proven)]).ok()?;
        while let Some(row) = rows.next().ok()? {
            let Ok(fact) = facts::read(&self.conn, &mut words, row) else { continue };
            let before = hashes(&self.conn, "SELECT hash FROM fact WHERE seq = ?1", [signed(fact.seq) - 1]).ok()?;
            if before.iter().any(|before| chain::hash_columns(before, &fact.columns()) == fact.hash) {
                return Some(fact.seq);
            }
        }
        (proven > 0).then_some(proven)
    }

    pub(super) fn fact_count(&self) -> u64 {
        self.conn.query_row("SELECT count(*) FROM fact", [], |row| unsigned(row, 0)).unwrap_or(0)
    }

    /// Who the journal is that begins with this hash.
    pub(super) fn identity(&self, genesis: &[u8; 32], known: Option<&Identity>) -> Option<Identity> {
        if let Some(known) = known.filter(|known| known.genesis == *genesis) {
            return Some(known.clone());
        }
        let named = self.named().ok()?;
        let (line, store_uuid) = named.into_iter().find(|(line, uuid)| chain::genesis(line, uuid) == *genesis)?;
        Some(Identity { line, store_uuid, epoch: 1, boot: 0, genesis: *genesis })
    }

    /// As a journal to read. The file goes with the second.
    pub(super) fn into_reader(self, identity: Identity) -> (Reader, Scratch) {
        (Reader::of_found(self.conn, identity), self.scratch)
    }

    fn geneses(&self, known: Option<&Identity>) -> rusqlite::Result<Vec<[u8; 32]>> {
        let mut list: Vec<_> = known.iter().map(|known| known.genesis).collect();
        list.extend(self.named()?.iter().map(|(line, uuid)| chain::genesis(line, uuid)));
        list.extend(hashes(&self.conn, "SELECT genesis FROM identity WHERE length(genesis) = 32", [])?);
        Ok(list)
    }

    fn named(&self) -> rusqlite::Result<Vec<(String, String)>> {
        let mut list = self.conn.prepare("SELECT line, store_uuid FROM identity")?;
        list.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        salvage::discard(&self.0);
    }
}

fn hashes(conn: &Connection, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<Vec<[u8; 32]>> {
    conn.prepare_cached(sql)?.query_map(params, |row| row.get(0))?.collect()
}

/// Walks the chain.
struct Prover<'a> {
    conn: &'a Connection,
    words: Words,
    facts: u64,
    /// The hash from which the next fact must follow: one, but before the first fact.
    ends: Vec<[u8; 32]>,
}

impl Prover<'_> {
    /// Goes on to the fact in this row, if it is the next one; the hash that it follows from.
    fn link(&mut self, row: &rusqlite::Row<'_>) -> Option<[u8; 32]> {
        let found = self.fits(row).or_else(|| self.fits_with_other_words(row));
        let (before, fact) = found?;
        self.learn(&fact, row.get(6).ok());
        (self.facts, self.ends) = (fact.seq, vec![fact.hash]);
        Some(before)
    }

    fn fits(&mut self, row: &rusqlite::Row<'_>) -> Option<([u8; 32], StoredFact)> {
        let fact = facts::read(self.conn, &mut self.words, row).ok()?;
        let before = self.ends.iter().find(|before| chain::hash_columns(before, &fact.columns()) == fact.hash).copied();
        before.map(|before| (before, fact))
    }

    /// A word that is damaged in its table may be whole elsewhere; the fact that uses it proves which is right.
    fn fits_with_other_words(&mut self, row: &rusqlite::Row<'_>) -> Option<([u8; 32], StoredFact)> {
        let ids: Vec<i64> = [4, 6, 7].iter().filter_map(|at| row.get(*at).ok()).collect();
        let choices: Vec<Vec<Option<String>>> = ids.iter().map(|id| self.texts(*id)).collect::<Option<_>>()?;
        let now: Vec<Option<String>> = choices.iter().map(|texts| texts.first().cloned().flatten()).collect();
        let count: usize = choices.iter().map(Vec::len).product();
        for mut number in 1..count {
            for (id, texts) in ids.iter().zip(&choices) {
                self.set(*id, texts.get(number % texts.len()).and_then(Option::as_deref));
                number /= texts.len();
            }
            if let Some(found) = self.fits(row) {
                return Some(found);
            }
        }
        if count > 1 {
            ids.iter().zip(&now).for_each(|(id, text)| self.set(*id, text.as_deref()));
        }
        None
    }

    /// What a number may stand for, first what it stands for now.
    fn texts(&mut self, word: i64) -> Option<Vec<Option<String>>> {
        let mut texts = vec![self.words.text(self.conn, word).ok()?.map(|text| text.to_string())];
        let sql = "SELECT text FROM other_word WHERE word = ?1 LIMIT ?2";
        let mut list = self.conn.prepare_cached(sql).ok()?;
        let others = list.query_map((word, OTHERS_MAX), |row| row.get::<_, String>(0)).ok()?;
        texts.extend(others.filter_map(Result::ok).map(Some));
        Some(texts)
    }

    fn set(&mut self, word: i64, text: Option<&str>) {
        let done = match text {
            Some(text) => self.conn.execute("INSERT OR REPLACE INTO word VALUES (?1, ?2)", (word, text)),
            None => self.conn.execute("DELETE FROM word WHERE word = ?1", [word]),
        };
        // What did not work leaves a fact that does not fit.
        let _ = done;
        self.words.forget();
    }

    /// The subjects of a batch's facts are short by the prefix that follows from how it was loaded.
    fn learn(&mut self, fact: &StoredFact, batch: Option<i64>) {
        let Ok(Some(sheet)) = fact::loaded(fact.undecoded()) else { return };
        let batch = batch.or_else(|| self.words.find(self.conn, sheet.batch.as_str()).ok().flatten());
        let prefix = epc::sgtin_prefix(sheet.gtin, sheet.gcp_length);
        let noted = self.conn.execute("INSERT OR REPLACE INTO batch VALUES (?1, ?2)", (batch, prefix));
        // Facts whose subject cannot be made whole do not fit.
        let _ = noted;
    }
}

/// Which state of a page is meant, where the log holds others than the file.
#[derive(Clone, Copy)]
enum View {
    /// As SQLite reads it.
    Counting,
    /// With all frames of the log.
    All,
    /// Without the log.
    File,
}

impl View {
    const ALL: [View; 3] = [View::Counting, View::All, View::File];
}

/// The file and its log, by pages.
struct Image {
    file: File,
    log_file: Option<File>,
    log: Log,
    pages: u32,
    /// Those of the file that are there to their end.
    whole: u32,
    /// Where the newest state of a page lies in the log: of those that count, and of all.
    counting: BTreeMap<u32, u64>,
    all: BTreeMap<u32, u64>,
}

impl Image {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Io { doing: "reading the damaged journal", path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().and_then(|about| {
            if about.is_dir() { Err(std::io::ErrorKind::IsADirectory.into()) } else { Ok(about.len()) }
        });
        let length = length.map_err(failed)?;
        let count = |pages: u64| u32::try_from(pages).unwrap_or(u32::MAX);
        let (pages, whole) = (count(length.div_ceil(PAGE as u64)), count(length / PAGE as u64));
        let log = frames::read(path)?;
        let places = |frames: &[frames::Frame]| frames.iter().map(|frame| (frame.page, frame.at)).collect();
        let counting = places(log.frames.get(..log.counting).unwrap_or_default());
        let all = places(&log.frames);
        let log_file = File::open(beside(path, "-wal")).ok();
        Ok(Self { file, log_file, log, pages, whole, counting, all })
    }

    fn page(&self, view: View, number: u32) -> Option<Vec<u8>> {
        let at = match view {
            View::Counting => self.counting.get(&number),
            View::All => self.all.get(&number),
            View::File => None,
        };
        match at {
            Some(at) => self.in_log(*at),
            None => self.in_file(number),
        }
    }

    /// A page that the disk does not give is lost, and the rest is not.
    fn in_file(&self, number: u32) -> Option<Vec<u8>> {
        let at = u64::from(number.checked_sub(1)?) * PAGE as u64;
        (number <= self.pages).then(|| read_at(&self.file, at)).flatten()
    }

    fn in_log(&self, at: u64) -> Option<Vec<u8>> {
        self.log_file.as_ref().and_then(|log| read_at(log, at))
    }

    /// Pages that are there, and pages that there were.
    fn cut(&self) -> Option<(u32, u32)> {
        let first = self.page(View::Counting, 1)?;
        let word = |at: usize| first.get(at..at + 4).and_then(|part| part.try_into().ok()).map(u32::from_be_bytes);
        // The count holds where the two marks beside it agree (1.3.7).
        let counted = word(28).filter(|_| first.starts_with(b"SQLite format 3\0") && word(24) == word(92))?;
        let beyond = self.counting.keys().filter(|page| **page > self.whole && **page <= counted).count();
        let there = self.whole.saturating_add(u32::try_from(beyond).unwrap_or(u32::MAX));
        (there < counted).then_some((there, counted))
    }
}

/// A page, or what there is of it and zeros.
fn read_at(file: &File, at: u64) -> Option<Vec<u8>> {
    let mut page = vec![0; PAGE];
    let mut have = 0;
    while have < PAGE {
        match file.read_at(page.get_mut(have..)?, at + have as u64) {
            Ok(0) => break,
            Ok(more) => have += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    Some(page)
}
