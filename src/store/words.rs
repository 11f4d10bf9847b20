//! The dictionary: words that repeat stand in the tables as integers (table `word`).

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

/// Words kept in memory; beyond it the cache starts again. A line knows a few hundred.
const CACHED_MAX: usize = 4096;

/// Given by `schema.sql`, for ever.
pub(super) const UNALLOCATED: i64 = 3;
pub(super) const CLOSED: i64 = 16;
pub(super) const OPEN: i64 = 14;
pub(super) const LOADED: i64 = 19;
pub(super) const FAIL: i64 = 23;
pub(super) const GRANTED: i64 = 15;
pub(super) const MESSAGES_EXPIRED: i64 = 36;
pub(super) const ABORTED: i64 = 42;

/// Words to numbers and back, for one connection.
#[derive(Debug, Default)]
pub(super) struct Words {
    ids: HashMap<Arc<str>, i64>,
    texts: HashMap<i64, Arc<str>>,
    prefixes: HashMap<i64, Arc<str>>,
    /// Numbers that another file's dictionary gives to its words: a file made anew from its facts takes the same. Empty
    /// elsewhere; the words of one file bound it.
    given: HashMap<Box<str>, i64>,
}

impl Words {
    /// New words get the numbers that they have in another file.
    pub(super) fn as_in(other: &Connection) -> rusqlite::Result<Self> {
        let mut list = other.prepare("SELECT text, word FROM word")?;
        let given = list.query_map([], |row| Ok((row.get::<_, String>(0)?.into_boxed_str(), row.get(1)?)))?;
        Ok(Self { given: given.collect::<rusqlite::Result<_>>()?, ..Self::default() })
    }

    /// What was looked up may not have been committed.
    pub(super) fn forget(&mut self) {
        let given = std::mem::take(&mut self.given);
        *self = Self { given, ..Self::default() };
    }

    /// The number of a word, new where it was never used.
    pub(super) fn id(&mut self, conn: &Connection, text: &str) -> rusqlite::Result<i64> {
        if let Some(id) = self.ids.get(text) {
            return Ok(*id);
        }
        // A number that a damaged file gives twice is given once.
        let given = "INSERT OR IGNORE INTO word (word, text) VALUES (?1, ?2)";
        let id = match self.find(conn, text)? {
            Some(id) => id,
            None if self.given.get(text).is_some_and(|id| {
                conn.prepare_cached(given).and_then(|mut give| give.execute((id, text))).is_ok_and(|given| given == 1)
            }) =>
            {
                self.given.get(text).copied().unwrap_or_default()
            }
            // 64 is the first number that the schema leaves free.
            None => conn
                .prepare_cached("INSERT INTO word (word, text) SELECT max(max(word) + 1, 64), ?1 FROM word")?
                .insert([text])?,
        };
        self.keep(id, text);
        Ok(id)
    }

    /// The number of a word that is in the dictionary.
    pub(super) fn find(&mut self, conn: &Connection, text: &str) -> rusqlite::Result<Option<i64>> {
        if let Some(id) = self.ids.get(text) {
            return Ok(Some(*id));
        }
        let id = conn
            .prepare_cached("SELECT word FROM word WHERE text = ?1")?
            .query_row([text], |row| row.get::<_, i64>(0))
            .optional()?;
        if let Some(id) = id {
            self.keep(id, text);
        }
        Ok(id)
    }

    pub(super) fn text(&mut self, conn: &Connection, id: i64) -> rusqlite::Result<Option<Arc<str>>> {
        if let Some(text) = self.texts.get(&id) {
            return Ok(Some(text.clone()));
        }
        let text: Option<String> = conn
            .prepare_cached("SELECT text FROM word WHERE word = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()?;
        Ok(text.map(|text| self.keep(id, &text)))
    }

    /// The EPC prefix of a batch, by the number of its name.
    pub(super) fn prefix(&mut self, conn: &Connection, batch: i64) -> rusqlite::Result<Option<Arc<str>>> {
        if let Some(prefix) = self.prefixes.get(&batch) {
            return Ok(Some(prefix.clone()));
        }
        let found: Option<String> = conn
            .prepare_cached("SELECT epc_prefix FROM batch WHERE batch = ?1")?
            .query_row([batch], |row| row.get(0))
            .optional()?;
        let Some(prefix) = found.map(Arc::<str>::from) else { return Ok(None) };
        if self.prefixes.len() >= CACHED_MAX {
            self.prefixes.clear();
        }
        self.prefixes.insert(batch, prefix.clone());
        Ok(Some(prefix))
    }

    fn keep(&mut self, id: i64, text: &str) -> Arc<str> {
        if self.texts.len() >= CACHED_MAX {
            self.texts.clear();
            self.ids.clear();
        }
        let text: Arc<str> = text.into();
        self.ids.insert(text.clone(), id);
        self.texts.insert(id, text.clone());
        text
    }
}
