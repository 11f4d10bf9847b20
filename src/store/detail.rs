//! Questions of one row: what a batch may number, what an inspection found of a unit, which permits a container had, and where
//! something lies now. In the words of the audit views.

use rusqlite::{OptionalExtension, Row};

use crate::domain::gs1::{Gtin, SerialNumber, Sscc};
use crate::domain::text::Text;
use crate::store::error::StoreError;
use crate::store::reader::Reader;
use crate::store::recover::{rows, unsigned, unsigned_or_null};
use crate::store::trace::find_unit;
use crate::wire::record::SsccRange;

/// A row of `v_inspection` with its row of `v_reject`, where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectionRow {
    pub inspection: u64,
    pub purpose: String,
    pub station: String,
    pub epoch: u32,
    pub result_seq: Option<u64>,
    pub track: Option<u64>,
    pub verdict: String,
    pub commanded_seq: Option<u64>,
    pub confirmed_seq: Option<u64>,
    pub alarm_seq: Option<u64>,
}

/// A row of `v_permit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitRow {
    pub token: u32,
    pub gate: String,
    pub station: String,
    pub epoch: u32,
    pub request_seq: u64,
    pub granted_seq: u64,
    pub state: String,
}

/// A container that holds something now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Around {
    pub container: String,
    pub level: String,
    pub state: String,
    pub closed_seq: Option<u64>,
}

/// The containers around a child, the nearest first. The bound keeps a damaged file, whose members form a ring, from a loop.
const AROUND: &str = "\
    WITH RECURSIVE up (id, depth) AS (SELECT parent, 1 FROM member WHERE child = ?1 AND to_seq IS NULL \
      UNION ALL SELECT m.parent, up.depth + 1 FROM up JOIN member m ON m.child = -up.id AND m.to_seq IS NULL \
      WHERE up.depth < 8) \
    SELECT c.container, l.text, s.text, c.closed_seq FROM up JOIN container c ON c.id = up.id \
    JOIN word l ON l.word = c.level JOIN word s ON s.word = c.state ORDER BY up.depth";

impl Reader {
    /// The numbers that a batch may give to its containers.
    pub fn sscc_range(&self, batch: &str) -> Result<Option<SsccRange>, StoreError> {
        let sql = "SELECT b.sscc_extension, b.sscc_prefix, b.sscc_first, b.sscc_last \
                   FROM word w JOIN batch b ON b.batch = w.word WHERE w.text = ?1";
        let read = |row: &Row<'_>| {
            Ok((row.get(0)?, Text::new(&row.get::<_, String>(1)?), unsigned(row, 2)?, unsigned(row, 3)?))
        };
        let found = rows(&self.conn, sql, [batch], read)?;
        let range = |(extension, prefix, first, last): (u8, Option<Text<12>>, u64, u64)| {
            let prefix = prefix.ok_or_else(|| StoreError::damaged("a prefix of SSCCs is too long"))?;
            Ok(SsccRange { extension, prefix, first, last })
        };
        found.into_iter().next().map(range).transpose()
    }

    /// Every inspection of a unit, oldest first.
    pub fn inspections_of(&self, gtin: Gtin, serial: SerialNumber) -> Result<Vec<InspectionRow>, StoreError> {
        let Some(id) = find_unit(&self.conn, gtin, serial)? else { return Ok(Vec::new()) };
        let sql = "SELECT i.inspection, i.purpose, i.station, i.epoch, i.result_seq, i.track, i.verdict, \
                   r.commanded_seq, r.confirmed_seq, r.alarm_seq FROM v_inspection i LEFT JOIN reject r USING (inspection) \
                   WHERE i.inspection IN (SELECT inspection FROM inspection \
                   WHERE batch = ?1 >> 32 AND place = ?1 & 4294967295) ORDER BY i.inspection";
        rows(&self.conn, sql, [id], |row| {
            Ok(InspectionRow {
                inspection: unsigned(row, 0)?,
                purpose: row.get(1)?,
                station: row.get(2)?,
                epoch: row.get(3)?,
                result_seq: unsigned_or_null(row, 4)?,
                track: unsigned_or_null(row, 5)?,
                verdict: row.get(6)?,
                commanded_seq: unsigned_or_null(row, 7)?,
                confirmed_seq: unsigned_or_null(row, 8)?,
                alarm_seq: unsigned_or_null(row, 9)?,
            })
        })
    }

    /// The permits with these tokens, those that are not there left out. By token, since nothing else finds one quickly.
    pub fn permits(&self, tokens: &[u32]) -> Result<Vec<PermitRow>, StoreError> {
        let sql = "SELECT p.token, g.text, t.text, p.epoch, p.request_seq, p.granted_seq, s.text FROM permit p \
                   JOIN word g ON g.word = p.gate JOIN word t ON t.word = p.station JOIN word s ON s.word = p.state \
                   WHERE p.token = ?1";
        let mut permits = Vec::with_capacity(tokens.len());
        for token in tokens {
            permits.extend(rows(&self.conn, sql, [token], permit_row)?);
        }
        Ok(permits)
    }

    /// Where a unit lies now, the nearest container first.
    pub fn around_unit(&self, gtin: Gtin, serial: SerialNumber) -> Result<Vec<Around>, StoreError> {
        find_unit(&self.conn, gtin, serial)?.map_or_else(|| Ok(Vec::new()), |id| self.around(id))
    }

    /// Where a container lies now.
    pub fn around_container(&self, sscc: Sscc) -> Result<Vec<Around>, StoreError> {
        self.container_id(sscc)?.map_or_else(|| Ok(Vec::new()), |id| self.around(-id))
    }

    fn around(&self, child: i64) -> Result<Vec<Around>, StoreError> {
        rows(&self.conn, AROUND, [child], |row| {
            let closed_seq = unsigned_or_null(row, 3)?;
            Ok(Around { container: row.get(0)?, level: row.get(1)?, state: row.get(2)?, closed_seq })
        })
    }

    pub(super) fn container_id(&self, sscc: Sscc) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT id FROM container WHERE container = ?1";
        let read = || self.conn.prepare_cached(sql)?.query_row([sscc.as_str()], |row| row.get(0)).optional();
        read().map_err(StoreError::sqlite("looking for a container"))
    }
}

fn permit_row(row: &Row<'_>) -> rusqlite::Result<PermitRow> {
    Ok(PermitRow {
        token: row.get(0)?,
        gate: row.get(1)?,
        station: row.get(2)?,
        epoch: row.get(3)?,
        request_seq: unsigned(row, 4)?,
        granted_seq: unsigned(row, 5)?,
        state: row.get(6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::open::{Settings, open};
    use crate::store::samples;

    #[test]
    fn range_permits_and_places_are_read_back_as_the_story_tells_them() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("line.db");
        let mut store = open(&Settings::new(&path, "l1")).expect("opens");
        store.commit(&samples::job(samples::story()), || 0).expect("committed");
        drop(store);
        let reader = Reader::open(&path).expect("reads");
        let range = reader.sscc_range("B1").expect("readable").expect("known");
        assert_eq!((range.prefix.as_str(), range.first, range.last), ("9506000", 1, 1000));
        assert_eq!(reader.sscc_range("B9").expect("readable"), None);
        let permits = reader.permits(&[40, 41]).expect("readable");
        assert_eq!(
            permits.iter().map(|permit| (permit.token, permit.state.as_str())).collect::<Vec<_>>(),
            [(41, "acked")]
        );
        let gtin = Gtin::new(samples::GTIN).expect("valid");
        let around = |serial| reader.around_unit(gtin, SerialNumber::new(serial).expect("valid")).expect("readable");
        assert_eq!(around("Z9").iter().map(|case| case.container.as_str()).collect::<Vec<_>>(), [samples::CASE]);
        assert_eq!(around("A1"), []);
        assert_eq!(reader.around_container(Sscc::new(samples::CASE).expect("valid")).expect("readable"), []);
    }
}
