//! The batches that are being worked on: where each serial lies in its batch's order.
//!
//! The verdict path finds a serial by a search in memory over the order that the engine holds as well, so that random
//! serials never touch cold pages of the index of used serials.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use crate::domain::gs1::SerialNumber;
use crate::store::error::{Flaw, StoreError};
use crate::store::reader::Reader;
use crate::store::words::Words;
use crate::wire::record::{BatchSheet, Order};

/// Batches kept; the engine lets fewer wait on a line at once.
const KEPT_MAX: usize = 16;

/// A serial of the journal: batch in the upper half, place in the order of printing in the lower.
pub(super) fn unit_id(batch: i64, place: u32) -> i64 {
    (batch << 32) | i64::from(place)
}

#[derive(Debug, Default)]
pub(super) struct Batches {
    kept: HashMap<Box<str>, Kept>,
}

#[derive(Debug)]
struct Kept {
    /// The number of the batch's name.
    id: i64,
    places: Option<Places>,
}

/// A million serials cost four megabytes here; the order itself is shared with the engine.
#[derive(Debug)]
struct Places {
    order: Arc<Order>,
    /// Places sorted by serial; filled at the first look-up.
    sorted: Vec<u32>,
}

impl Batches {
    /// The number of a batch that is in the journal.
    pub(super) fn id(&mut self, conn: &Connection, words: &mut Words, batch: &str) -> Result<i64, Flaw> {
        if let Some(kept) = self.kept.get(batch) {
            return Ok(kept.id);
        }
        let id = find_batch(conn, words, batch)?;
        let id = id.ok_or_else(|| format!("batch {batch} is unknown"))?;
        self.keep(batch, Kept { id, places: None });
        Ok(id)
    }

    /// Where a serial stands in its batch; `None` where it is none of the batch's.
    pub(super) fn place(
        &mut self,
        conn: &Connection,
        words: &mut Words,
        batch: &str,
        serial: &str,
    ) -> Result<Option<i64>, Flaw> {
        let id = self.id(conn, words, batch)?;
        let places = self.kept.get_mut(batch).and_then(|kept| kept.places.as_mut());
        let Some(places) = places else { return Ok(place_in_table(conn, id, serial)?) };
        Ok(places.find(serial).map(|place| unit_id(id, place)))
    }

    pub(super) fn adopt(&mut self, id: i64, order: Arc<Order>, sorted: Vec<u32>) {
        let name = order.sheet.batch;
        self.keep(name.as_str(), Kept { id, places: Some(Places { order, sorted }) });
    }

    pub(super) fn forget(&mut self, batch: &str) {
        self.kept.remove(batch);
    }

    /// Reads a batch's order back from the serials' table.
    pub(super) fn load(
        &mut self,
        conn: &Connection,
        words: &mut Words,
        sheet: &BatchSheet,
    ) -> Result<Arc<Order>, StoreError> {
        let name = sheet.batch;
        let id = self.id(conn, words, name.as_str()).map_err(|flaw| flaw.at(0))?;
        if let Some(places) = self.kept.get(name.as_str()).and_then(|kept| kept.places.as_ref()) {
            return Ok(places.order.clone());
        }
        let (count, digest) = conn
            .query_row("SELECT serial_count, serials_sha256 FROM batch WHERE batch = ?1", [id], |row| {
                Ok((row.get::<_, u32>(0)?, row.get::<_, String>(1)?))
            })
            .map_err(StoreError::sqlite("reading a batch"))?;
        let serials = read_serials(conn, id, count)?;
        let serials_sha256 =
            crate::domain::text::Text::new(&digest).ok_or_else(|| StoreError::damaged("a digest is too long"))?;
        let order = Arc::new(Order { sheet: sheet.clone(), serials, serials_sha256 });
        self.adopt(id, order.clone(), Vec::new());
        Ok(order)
    }

    fn keep(&mut self, batch: &str, kept: Kept) {
        if self.kept.len() >= KEPT_MAX {
            self.kept.clear();
        }
        self.kept.insert(batch.into(), kept);
    }
}

impl Reader {
    /// The order of a batch that is in the journal, closed or not.
    pub fn order(&mut self, sheet: &BatchSheet) -> Result<Order, StoreError> {
        let (conn, words) = self.parts();
        let order = Batches::default().load(conn, words, sheet)?;
        Ok(Arc::unwrap_or_clone(order))
    }
}

impl Places {
    fn find(&mut self, serial: &str) -> Option<u32> {
        if self.sorted.is_empty() {
            self.sorted = sorted_places(&self.order.serials);
        }
        let serials = &self.order.serials;
        let at = |place: &u32| serials.get(usize_of(*place)).map_or("", SerialNumber::as_str);
        let found = self.sorted.binary_search_by(|place| at(place).cmp(serial)).ok()?;
        self.sorted.get(found).copied()
    }
}

/// Places in the order of their serials, byte by byte, as SQLite sorts them too.
pub(super) fn sorted_places(serials: &[SerialNumber]) -> Vec<u32> {
    // Comparing arrays is several times faster than comparing texts; no serial holds a zero byte.
    let mut keyed: Vec<([u8; 20], u32)> = (0..).zip(serials).map(|(place, serial)| (padded(serial), place)).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, place)| place).collect()
}

fn padded(serial: &SerialNumber) -> [u8; 20] {
    let mut key = [0; 20];
    for (to, from) in key.iter_mut().zip(serial.as_str().bytes()) {
        *to = from;
    }
    key
}

fn usize_of(place: u32) -> usize {
    usize::try_from(place).expect("at least 32 bits")
}

fn find_batch(conn: &Connection, words: &mut Words, batch: &str) -> rusqlite::Result<Option<i64>> {
    let Some(id) = words.find(conn, batch)? else { return Ok(None) };
    conn.prepare_cached("SELECT batch FROM batch WHERE batch = ?1")?.query_row([id], |row| row.get(0)).optional()
}

fn place_in_table(conn: &Connection, batch: i64, serial: &str) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached(
        "SELECT u.id FROM batch b JOIN used u ON u.gtin = b.gtin WHERE b.batch = ?1 AND u.serial = ?2 AND u.id >> 32 = ?1",
    )?
    .query_row((batch, serial), |row| row.get(0))
    .optional()
}

fn read_serials(conn: &Connection, batch: i64, count: u32) -> Result<Vec<SerialNumber>, StoreError> {
    let doing = "reading the serials of a batch";
    let mut list = conn
        .prepare_cached("SELECT serial FROM serial WHERE id BETWEEN ?1 AND ?2 ORDER BY id")
        .map_err(StoreError::sqlite(doing))?;
    let mut rows = list.query((unit_id(batch, 0), unit_id(batch, u32::MAX))).map_err(StoreError::sqlite(doing))?;
    let mut serials = Vec::with_capacity(usize_of(count));
    while let Some(row) = rows.next().map_err(StoreError::sqlite(doing))? {
        let text = row.get_ref(0).ok().and_then(|value| value.as_str().ok());
        let serial = text.and_then(|text| SerialNumber::new(text).ok());
        serials.push(serial.ok_or_else(|| StoreError::damaged("a serial of a batch is malformed"))?);
    }
    if serials.len() != usize_of(count) {
        let what = format!("a batch of {count} serials has {} of them", serials.len());
        return Err(StoreError::damaged(what));
    }
    Ok(serials)
}
