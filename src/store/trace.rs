//! Trace: everything known about one unit or one container, by look-ups in its own rows.

use rusqlite::{Connection, OptionalExtension};

use crate::domain::gs1::{Gtin, SerialNumber, Sscc};
use crate::store::error::StoreError;
use crate::store::facts::StoredFact;
use crate::store::reader::Reader;
use crate::store::recover::{rows, unsigned, unsigned_or_null};

/// A unit with its present state, where it is and was, and the facts about it in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitTrace {
    pub unit: String,
    pub batch: String,
    pub gtin: String,
    pub serial: String,
    pub state: String,
    pub verified: bool,
    /// Its containers, present and past.
    pub parents: Vec<Membership>,
    pub facts: Vec<StoredFact>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerTrace {
    pub container: String,
    pub epc: String,
    pub level: String,
    pub batch: String,
    pub state: String,
    pub capacity: u32,
    pub closed_seq: Option<u64>,
    pub parents: Vec<Membership>,
    pub children: Vec<Membership>,
    pub facts: Vec<StoredFact>,
}

/// The other end of a membership: the parent's SSCC, or the child's EPC URI or SSCC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    pub other: String,
    pub from_seq: u64,
    /// Absent while it lasts.
    pub to_seq: Option<u64>,
}

/// The facts that a unit's own rows name: its load, the runs that allocated, encoded or invalidated it, its inspections
/// with their rejects, its last change, its memberships.
const UNIT_FACTS: &str = "\
    SELECT loaded_seq AS seq FROM batch WHERE batch = ?1 >> 32 \
    UNION SELECT changed_seq FROM serial WHERE id = ?1 \
    UNION SELECT inspection FROM inspection WHERE batch = ?1 >> 32 AND place = ?1 & 4294967295 \
    UNION SELECT r.commanded_seq FROM inspection i JOIN reject r USING (inspection) \
      WHERE i.batch = ?1 >> 32 AND i.place = ?1 & 4294967295 \
    UNION SELECT r.confirmed_seq FROM inspection i JOIN reject r USING (inspection) \
      WHERE i.batch = ?1 >> 32 AND i.place = ?1 & 4294967295 AND r.confirmed_seq IS NOT NULL \
    UNION SELECT r.alarm_seq FROM inspection i JOIN reject r USING (inspection) \
      WHERE i.batch = ?1 >> 32 AND i.place = ?1 & 4294967295 AND r.alarm_seq IS NOT NULL \
    UNION SELECT from_seq FROM member WHERE child = ?1 AND to_seq IS NULL \
    UNION SELECT from_seq FROM member WHERE child = ?1 AND to_seq IS NOT NULL \
    UNION SELECT to_seq FROM member WHERE child = ?1 AND to_seq IS NOT NULL";

impl Reader {
    pub fn trace_unit(&mut self, gtin: Gtin, serial: SerialNumber) -> Result<Option<UnitTrace>, StoreError> {
        let Some(id) = find_unit(&self.conn, gtin, serial)? else { return Ok(None) };
        let sql = "SELECT unit, batch, gtin, serial, state, verified FROM v_unit WHERE unit_id = ?1";
        let found = rows(&self.conn, sql, [id], |row| {
            Ok(UnitTrace {
                unit: row.get(0)?,
                batch: row.get(1)?,
                gtin: row.get(2)?,
                serial: row.get(3)?,
                state: row.get(4)?,
                verified: row.get(5)?,
                parents: Vec::new(),
                facts: Vec::new(),
            })
        })?;
        let Some(mut trace) = found.into_iter().next() else { return Ok(None) };
        trace.parents = parents(&self.conn, id)?;
        let seqs = unit_facts(&self.conn, id)?;
        trace.facts = self.facts_at(seqs)?;
        Ok(Some(trace))
    }

    pub fn trace_container(&mut self, sscc: Sscc) -> Result<Option<ContainerTrace>, StoreError> {
        let find = "SELECT id FROM container WHERE container = ?1";
        let read = || self.conn.prepare_cached(find)?.query_row([sscc.as_str()], |row| row.get(0)).optional();
        let id: Option<i64> = read().map_err(StoreError::sqlite("looking for a container"))?;
        let Some(id) = id else { return Ok(None) };
        let sql =
            "SELECT container, epc, level, batch, state, capacity, closed_seq FROM v_container WHERE container = ?1";
        let found = rows(&self.conn, sql, [sscc.as_str()], |row| {
            Ok(ContainerTrace {
                container: row.get(0)?,
                epc: row.get(1)?,
                level: row.get(2)?,
                batch: row.get(3)?,
                state: row.get(4)?,
                capacity: row.get(5)?,
                closed_seq: unsigned_or_null(row, 6)?,
                parents: Vec::new(),
                children: Vec::new(),
                facts: Vec::new(),
            })
        })?;
        let Some(mut trace) = found.into_iter().next() else { return Ok(None) };
        trace.parents = parents(&self.conn, -id)?;
        trace.children = children(&self.conn, id)?;
        let sql = "SELECT seq FROM container_fact WHERE container = ?1 \
                   UNION SELECT from_seq FROM member WHERE child = -?1 AND to_seq IS NULL \
                   UNION SELECT from_seq FROM member WHERE child = -?1 AND to_seq IS NOT NULL \
                   UNION SELECT to_seq FROM member WHERE child = -?1 AND to_seq IS NOT NULL ORDER BY 1";
        let seqs = rows(&self.conn, sql, [id], |row| unsigned(row, 0))?;
        trace.facts = self.facts_at(seqs)?;
        Ok(Some(trace))
    }

    fn facts_at(&mut self, seqs: Vec<u64>) -> Result<Vec<StoredFact>, StoreError> {
        let mut facts = Vec::with_capacity(seqs.len());
        for seq in seqs {
            let fact = self.fact(seq)?;
            facts.push(fact.ok_or_else(|| StoreError::damaged(format!("fact {seq}, that a table names, is missing")))?);
        }
        Ok(facts)
    }
}

pub(super) fn find_unit(conn: &Connection, gtin: Gtin, serial: SerialNumber) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT u.id FROM word g JOIN used u ON u.gtin = g.word WHERE g.text = ?1 AND u.serial = ?2";
    let read = || conn.prepare_cached(sql)?.query_row((gtin.as_str(), serial.as_str()), |row| row.get(0)).optional();
    read().map_err(StoreError::sqlite("looking for a unit"))
}

fn unit_facts(conn: &Connection, id: i64) -> Result<Vec<u64>, StoreError> {
    let mut seqs = rows(conn, UNIT_FACTS, [id], |row| unsigned(row, 0))?;
    let (batch, place) = (id >> 32, id & 0xFFFF_FFFF);
    // In each state, the run that begins last before the unit is the only one that can hold it: runs do not overlap.
    let run = "SELECT seq FROM serial_run WHERE batch = ?1 AND state = ?2 AND first_index = \
               (SELECT max(first_index) FROM serial_run WHERE batch = ?1 AND state = ?2 AND first_index <= ?3) \
               AND first_index + count > ?3";
    for state in 2..=13 {
        seqs.extend(rows(conn, run, (batch, state, place), |row| unsigned(row, 0))?);
    }
    seqs.sort_unstable();
    seqs.dedup();
    Ok(seqs)
}

fn parents(conn: &Connection, child: i64) -> Result<Vec<Membership>, StoreError> {
    // Two branches, since each of the two partial indexes serves one of them.
    let sql = "SELECT p.container, m.from_seq, m.to_seq FROM member m JOIN container p ON p.id = m.parent \
               WHERE m.child = ?1 AND m.to_seq IS NULL \
               UNION ALL SELECT p.container, m.from_seq, m.to_seq FROM member m JOIN container p ON p.id = m.parent \
               WHERE m.child = ?1 AND m.to_seq IS NOT NULL ORDER BY 2";
    rows(conn, sql, [child], membership)
}

fn children(conn: &Connection, parent: i64) -> Result<Vec<Membership>, StoreError> {
    let sql = "SELECT CASE WHEN m.child < 0 THEN (SELECT container FROM container WHERE id = -m.child) \
               ELSE (SELECT unit FROM v_unit WHERE unit_id = m.child) END, m.from_seq, m.to_seq \
               FROM member m WHERE m.parent = ?1 ORDER BY m.from_seq, m.child";
    rows(conn, sql, [parent], membership)
}

fn membership(row: &rusqlite::Row<'_>) -> rusqlite::Result<Membership> {
    Ok(Membership { other: row.get(0)?, from_seq: unsigned(row, 1)?, to_seq: unsigned_or_null(row, 2)? })
}
