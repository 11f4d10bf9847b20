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
/// with their rejects and pictures, its last change, its memberships.
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
    UNION SELECT f.seq FROM inspection i JOIN fact f ON f.kind = 40 AND f.subject = 'inspection:' || i.inspection \
      WHERE i.batch = ?1 >> 32 AND i.place = ?1 & 4294967295 \
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
        let Some(id) = self.container_id(sscc)? else { return Ok(None) };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::open::{Settings, open};
    use crate::store::query::Alarms;
    use crate::store::samples::*;

    fn written() -> (tempfile::TempDir, Reader) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("line.db");
        open(&Settings::new(&path, "l1")).expect("opens").commit(&job(story()), || 0).expect("committed");
        let reader = Reader::open(&path).expect("reads");
        (directory, reader)
    }

    fn seqs(facts: &[StoredFact]) -> Vec<u64> {
        facts.iter().map(|fact| fact.seq).collect()
    }

    #[test]
    fn a_unit_is_followed_from_its_load_to_its_case() {
        let (_directory, mut reader) = written();
        let gtin = Gtin::new(GTIN).expect("valid");
        let trace = |reader: &mut Reader, serial: &str| {
            reader.trace_unit(gtin, SerialNumber::new(serial).expect("valid")).expect("readable")
        };
        let unit = trace(&mut reader, "a+b/c%\"&<>?").expect("known");
        assert_eq!(seqs(&unit.facts), [3, 5, 6, 7, 8, 16]);
        assert_eq!(unit.unit, format!("{}a+b%2Fc%25%22%26%3C%3E%3F", prefix()));
        assert_eq!((unit.state.as_str(), unit.verified), ("commissioned", true));
        assert_eq!(unit.parents, [Membership { other: CASE.into(), from_seq: 16, to_seq: None }]);
        let rejected = trace(&mut reader, "A1").expect("known");
        assert_eq!(seqs(&rejected.facts), [3, 5, 6, 11, 12]);
        assert_eq!(trace(&mut reader, "M5").map(|unit| seqs(&unit.facts)), Some(vec![3]));
        assert_eq!(trace(&mut reader, "OTHER"), None);
    }

    #[test]
    fn a_container_shows_its_children_and_its_facts() {
        let (_directory, mut reader) = written();
        let case = reader.trace_container(Sscc::new(CASE).expect("valid")).expect("readable").expect("known");
        assert_eq!((case.state.as_str(), case.closed_seq, case.children.len()), ("released", Some(19), 2));
        assert_eq!(case.epc, "urn:epc:id:sscc:9506000.0134352000");
        assert_eq!(seqs(&case.facts), [15]);
    }

    // F82
    #[test]
    fn says_what_was_used_and_what_is_open() {
        let (_directory, mut reader) = written();
        let serial = |text| SerialNumber::new(text).expect("valid");
        let gtin = Gtin::new(GTIN).expect("valid");
        let used = reader.used_serials(gtin, &[serial("NEW"), serial("A1"), serial("M5")]).expect("readable");
        assert_eq!(used, [serial("A1"), serial("M5")]);
        let mut range = order("B2", &[]).sheet.sscc;
        assert_eq!(reader.sscc_range_used(&range).expect("readable").as_deref(), Some("B1"));
        (range.first, range.last) = (1001, 2000);
        assert_eq!(reader.sscc_range_used(&range).expect("readable"), None);
        assert_eq!(reader.alarms(Alarms::Open).expect("readable").len(), 0);
        assert_eq!(reader.alarms(Alarms::All).expect("readable").len(), 1);
        let batch = reader.batch("B1").expect("readable").expect("known");
        assert_eq!((batch.expiry.as_str(), batch.state.as_str(), batch.opened_seq), ("2027-03-31", "running", 3));
        let counts = reader.unit_counts("B1").expect("readable");
        assert_eq!(
            counts.into_iter().collect::<Vec<_>>(),
            [("commissioned".to_owned(), 2), ("label_scrapped".to_owned(), 1), ("unallocated".to_owned(), 1)]
        );
        assert_eq!(reader.verdict_counts("B1").expect("readable").get("pass"), Some(&2));
        assert_eq!(reader.container_counts("B1").expect("readable").get("case.released"), Some(&1));
    }

    #[test]
    fn the_feed_gives_each_fact_with_its_messages() {
        let (_directory, mut reader) = written();
        let items = reader.feed_from(8, 3).expect("readable");
        let shape: Vec<_> = items.iter().map(|item| (item.fact.seq, item.messages.len())).collect();
        assert_eq!(shape, [(8, 1), (9, 0), (10, 1)]);
        assert_eq!(reader.stream_head("epcis").expect("readable"), 3);
        assert_eq!(
            reader.messages_from("epcis", 2, 10).expect("readable").first().map(|message| message.fact_seq),
            Some(10)
        );
        assert_eq!(reader.feed_from(22, 3).expect("readable"), []);
    }

    /// The views are the contract with the outside: their columns in the order of the design, what came later at the end.
    #[test]
    fn the_audit_views_have_the_columns_that_were_promised() {
        let (_directory, reader) = written();
        let promised = [
            ("v_meta", "line schema_version store_uuid epoch"),
            ("v_batch", "batch gtin lot expiry state case_capacity pallet_capacity opened_seq closed_seq"),
            ("v_unit", "unit batch gtin serial state verified final_seq"),
            ("v_inspection", "inspection batch purpose station epoch result_seq track verdict unit fact_seq"),
            ("v_container", "container level batch state capacity closed_seq partial_signature"),
            ("v_member", "child parent from_seq to_seq"),
            ("v_permit", "token container gate station epoch request_seq granted_seq state"),
            ("v_reject", "inspection commanded_seq confirmed_seq alarm_seq"),
            ("v_message", "stream seq id topic body_sha256 acked"),
            ("v_fact", "seq at_us mono_us boot kind version batch actor subject body prev_hash hash"),
            ("v_fact_clock", "seq clock"),
            ("v_checkpoint", "seq head_hash store_uuid key_id signature"),
            ("v_signature", "signature user full_name meaning at_us subject subject_hash challenge fact_seq"),
        ];
        for (view, columns) in promised {
            let statement = reader.conn.prepare(&format!("SELECT * FROM {view}")).expect("a view");
            let found = statement.column_names().collect::<Vec<_>>().join(" ");
            assert!(found.starts_with(columns), "{view}: {found}");
        }
        let one = |sql: &str| reader.conn.query_row(sql, [], |row| row.get::<_, String>(0)).expect(sql);
        assert_eq!(one("SELECT id FROM v_message WHERE seq = 3"), "l1/1/epcis/3");
        assert_eq!(
            one("SELECT count(*) || '' FROM v_fact f JOIN v_fact n ON n.seq = f.seq + 1 WHERE n.prev_hash = f.hash"),
            "20"
        );
        assert_eq!(one("SELECT subject FROM v_fact WHERE seq = 21"), "~tilde");
        assert_eq!(
            one("SELECT group_concat(child) FROM (SELECT m.child FROM v_member m JOIN v_unit u ON u.unit = m.child)")
                .split(',')
                .count(),
            2
        );
        assert_eq!(one("SELECT unit FROM v_inspection WHERE inspection = 11"), format!("{}A1", prefix()));
        assert_eq!(one("SELECT CAST(track AS TEXT) FROM v_inspection WHERE inspection = 13"), "11");
    }
}
