//! Questions about batches, alarms and what is used up, in the words of the audit views.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Row};

use crate::domain::gs1::{Gtin, SerialNumber};
use crate::store::error::StoreError;
use crate::store::reader::Reader;
use crate::store::recover::{rows, unsigned, unsigned_or_null};
use crate::wire::record::SsccRange;

/// Serials named in one refusal; an order that repeats a million of them is refused with these.
pub const USED_MAX: usize = 100;

/// One row of `v_batch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRow {
    pub batch: String,
    pub gtin: String,
    pub lot: String,
    pub expiry: String,
    pub state: String,
    pub case_capacity: u32,
    pub pallet_capacity: u32,
    pub opened_seq: u64,
    pub closed_seq: Option<u64>,
    pub epc_prefix: String,
    pub serial_count: u32,
    pub serials_sha256: String,
}

/// One row of `v_alarm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmRow {
    pub alarm: u32,
    pub kind: String,
    pub station: Option<String>,
    pub detail: String,
    pub raised_seq: u64,
    pub acked_seq: Option<u64>,
}

const BATCHES: &str = "SELECT batch, gtin, lot, expiry, state, case_capacity, pallet_capacity, opened_seq, closed_seq, \
                       epc_prefix, serial_count, serials_sha256 FROM v_batch";

impl Reader {
    /// All batches, oldest first.
    pub fn batches(&self) -> Result<Vec<BatchRow>, StoreError> {
        rows(&self.conn, &format!("{BATCHES} ORDER BY opened_seq"), [], batch_row)
    }

    pub fn batch(&self, batch: &str) -> Result<Option<BatchRow>, StoreError> {
        let found = rows(&self.conn, &format!("{BATCHES} WHERE batch = ?1"), [batch], batch_row)?;
        Ok(found.into_iter().next())
    }

    /// All alarms, or those that nobody acknowledged.
    pub fn alarms(&self, which: Alarms) -> Result<Vec<AlarmRow>, StoreError> {
        let filter = match which {
            Alarms::All => "",
            Alarms::Open => "WHERE acked_seq IS NULL",
        };
        let sql =
            format!("SELECT alarm, kind, station, detail, raised_seq, acked_seq FROM v_alarm {filter} ORDER BY alarm");
        rows(&self.conn, &sql, [], |row| {
            Ok(AlarmRow {
                alarm: row.get(0)?,
                kind: row.get(1)?,
                station: row.get(2)?,
                detail: row.get(3)?,
                raised_seq: unsigned(row, 4)?,
                acked_seq: unsigned_or_null(row, 5)?,
            })
        })
    }

    /// The first of these serials that were given to any batch before, at most [`USED_MAX`].
    pub fn used_serials(&mut self, gtin: Gtin, serials: &[SerialNumber]) -> Result<Vec<SerialNumber>, StoreError> {
        let doing = "looking for used serials";
        let gtin = self.words.find(&self.conn, gtin.as_str()).map_err(StoreError::sqlite(doing))?;
        let Some(gtin) = gtin else { return Ok(Vec::new()) };
        let find = self.conn.prepare_cached("SELECT 1 FROM used WHERE gtin = ?1 AND serial = ?2");
        let mut find = find.map_err(StoreError::sqlite(doing))?;
        let mut used = Vec::new();
        for serial in serials {
            if find.exists((gtin, serial.as_str())).map_err(StoreError::sqlite(doing))? {
                used.push(*serial);
            }
            if used.len() == USED_MAX {
                break;
            }
        }
        Ok(used)
    }

    /// The batch whose SSCC range shares a number with this one.
    pub fn sscc_range_used(&self, range: &SsccRange) -> Result<Option<String>, StoreError> {
        let sql = "SELECT w.text FROM batch b JOIN word w ON w.word = b.batch WHERE b.sscc_extension = ?1 \
                   AND b.sscc_prefix = ?2 AND b.sscc_first <= ?4 AND b.sscc_last >= ?3 ORDER BY b.loaded_seq LIMIT 1";
        let number = |value| i64::try_from(value).unwrap_or(i64::MAX);
        let params = (range.extension, range.prefix.as_str(), number(range.first), number(range.last));
        let read = || self.conn.prepare_cached(sql)?.query_row(params, |row| row.get(0)).optional();
        read().map_err(StoreError::sqlite("looking for used SSCCs"))
    }

    /// How many units of the batch are in each state; states without one are absent.
    pub fn unit_counts(&self, batch: &str) -> Result<BTreeMap<String, u64>, StoreError> {
        self.counts(
            "SELECT s.text, count(*) FROM word n JOIN serial u ON u.id BETWEEN n.word << 32 AND (n.word << 32) + 4294967295 \
             JOIN word s ON s.word = u.state WHERE n.text = ?1 GROUP BY s.text",
            batch,
        )
    }

    /// How many inspections of the batch had each verdict.
    pub fn verdict_counts(&self, batch: &str) -> Result<BTreeMap<String, u64>, StoreError> {
        self.counts(
            "SELECT v.text, count(*) FROM word n JOIN inspection i ON i.batch = n.word JOIN word v ON v.word = i.verdict \
             WHERE n.text = ?1 GROUP BY v.text",
            batch,
        )
    }

    /// How many containers of the batch are in each state, by level: `case.released`.
    pub fn container_counts(&self, batch: &str) -> Result<BTreeMap<String, u64>, StoreError> {
        self.counts(
            "SELECT l.text || '.' || s.text, count(*) FROM word n JOIN container c ON c.batch = n.word \
             JOIN word l ON l.word = c.level JOIN word s ON s.word = c.state WHERE n.text = ?1 GROUP BY l.text, s.text",
            batch,
        )
    }

    fn counts(&self, sql: &str, batch: &str) -> Result<BTreeMap<String, u64>, StoreError> {
        let list = rows(&self.conn, sql, [batch], |row| Ok((row.get(0)?, unsigned(row, 1)?)))?;
        Ok(list.into_iter().collect())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarms {
    All,
    Open,
}

fn batch_row(row: &Row<'_>) -> rusqlite::Result<BatchRow> {
    Ok(BatchRow {
        batch: row.get(0)?,
        gtin: row.get(1)?,
        lot: row.get(2)?,
        expiry: row.get(3)?,
        state: row.get(4)?,
        case_capacity: row.get(5)?,
        pallet_capacity: row.get(6)?,
        opened_seq: unsigned(row, 7)?,
        closed_seq: unsigned_or_null(row, 8)?,
        epc_prefix: row.get(9)?,
        serial_count: row.get(10)?,
        serials_sha256: row.get(11)?,
    })
}
