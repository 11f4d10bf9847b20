//! The audit views of a journal as plain rows, read as an outsider would: by their columns' names, through a read-only
//! connection, knowing nothing of the tables beneath.
//!
//! For whoever judges a journal from outside (the simulator's reconciliation). Everything is read into memory at once, in one
//! snapshot: for files of a demonstration, not for a plant's history.

use std::fmt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row};

/// Rows of `v_unit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitRow {
    /// SGTIN URI.
    pub unit: String,
    pub batch: String,
    pub gtin: String,
    pub serial: String,
    pub state: String,
    pub verified: bool,
}

/// Rows of `v_inspection`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectionRow {
    pub inspection: u64,
    pub purpose: String,
    pub station: String,
    pub epoch: u32,
    pub result_seq: Option<u64>,
    pub track: Option<u64>,
    pub verdict: String,
    pub unit: Option<String>,
}

/// Rows of `v_container`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRow {
    /// Eighteen digits.
    pub container: String,
    pub level: String,
    pub batch: String,
    pub state: String,
    pub capacity: u64,
}

/// Rows of `v_member`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRow {
    /// SGTIN URI of a unit, or the digits of a container.
    pub child: String,
    pub parent: String,
    pub from_seq: u64,
    pub to_seq: Option<u64>,
}

/// Rows of `v_permit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitRow {
    pub token: u64,
    pub container: String,
    pub gate: String,
    pub station: String,
    pub epoch: u32,
    pub request_seq: u64,
    pub state: String,
}

/// Rows of `v_reject`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectRow {
    pub inspection: u64,
    pub confirmed_seq: Option<u64>,
    pub alarm_seq: Option<u64>,
}

/// Rows of `v_fact`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactRow {
    pub seq: u64,
    pub kind: String,
    pub body: String,
    /// Lower-case hexadecimal.
    pub hash: String,
}

/// Rows of `v_message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRow {
    pub stream: String,
    pub seq: u64,
    pub id: String,
    pub topic: String,
    /// Lower-case hexadecimal.
    pub body_sha256: String,
}

/// All of them, of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Views {
    pub units: Vec<UnitRow>,
    pub inspections: Vec<InspectionRow>,
    pub containers: Vec<ContainerRow>,
    pub members: Vec<MemberRow>,
    pub permits: Vec<PermitRow>,
    pub rejects: Vec<RejectRow>,
    pub facts: Vec<FactRow>,
    pub messages: Vec<MessageRow>,
}

/// The views could not be read.
#[derive(Debug)]
pub struct ViewsError {
    doing: &'static str,
    cause: rusqlite::Error,
}

impl fmt::Display for ViewsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; is the file a journal of this release?", self.doing, self.cause)
    }
}

impl std::error::Error for ViewsError {}

/// Reads all views of the file at `path`.
pub fn load(path: &Path) -> Result<Views, ViewsError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn =
        Connection::open_with_flags(path, flags).map_err(|cause| ViewsError { doing: "opening the journal", cause })?;
    load_from(&conn)
}

fn load_from(conn: &Connection) -> Result<Views, ViewsError> {
    let snapshot = |doing, sql| conn.execute_batch(sql).map_err(|cause| ViewsError { doing, cause });
    snapshot("beginning a snapshot", "BEGIN")?;
    let views = Views {
        units: rows(conn, "reading v_unit", "SELECT * FROM v_unit", unit)?,
        inspections: rows(conn, "reading v_inspection", "SELECT * FROM v_inspection ORDER BY inspection", inspection)?,
        containers: rows(conn, "reading v_container", "SELECT * FROM v_container", container)?,
        members: rows(conn, "reading v_member", "SELECT * FROM v_member", member)?,
        permits: rows(conn, "reading v_permit", "SELECT * FROM v_permit ORDER BY token", permit)?,
        rejects: rows(conn, "reading v_reject", "SELECT * FROM v_reject", reject)?,
        facts: rows(conn, "reading v_fact", "SELECT seq, kind, body, hash FROM v_fact ORDER BY seq", fact)?,
        messages: rows(conn, "reading v_message", "SELECT * FROM v_message ORDER BY stream, seq", message)?,
    };
    snapshot("ending a snapshot", "COMMIT")?;
    Ok(views)
}

fn rows<T>(
    conn: &Connection,
    doing: &'static str,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, ViewsError> {
    let all = || conn.prepare(sql)?.query_map([], read)?.collect::<rusqlite::Result<Vec<T>>>();
    all().map_err(|cause| ViewsError { doing, cause })
}

fn unsigned(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, value))
}

fn unsigned_if_any(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<u64>> {
    let value: Option<i64> = row.get(column)?;
    value.map(|value| u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, value))).transpose()
}

fn unit(row: &Row<'_>) -> rusqlite::Result<UnitRow> {
    Ok(UnitRow {
        unit: row.get("unit")?,
        batch: row.get("batch")?,
        gtin: row.get("gtin")?,
        serial: row.get("serial")?,
        state: row.get("state")?,
        verified: row.get("verified")?,
    })
}

fn inspection(row: &Row<'_>) -> rusqlite::Result<InspectionRow> {
    Ok(InspectionRow {
        inspection: unsigned(row, "inspection")?,
        purpose: row.get("purpose")?,
        station: row.get("station")?,
        epoch: row.get("epoch")?,
        result_seq: unsigned_if_any(row, "result_seq")?,
        track: unsigned_if_any(row, "track")?,
        verdict: row.get("verdict")?,
        unit: row.get("unit")?,
    })
}

fn container(row: &Row<'_>) -> rusqlite::Result<ContainerRow> {
    Ok(ContainerRow {
        container: row.get("container")?,
        level: row.get("level")?,
        batch: row.get("batch")?,
        state: row.get("state")?,
        capacity: unsigned(row, "capacity")?,
    })
}

fn member(row: &Row<'_>) -> rusqlite::Result<MemberRow> {
    Ok(MemberRow {
        child: row.get("child")?,
        parent: row.get("parent")?,
        from_seq: unsigned(row, "from_seq")?,
        to_seq: unsigned_if_any(row, "to_seq")?,
    })
}

fn permit(row: &Row<'_>) -> rusqlite::Result<PermitRow> {
    Ok(PermitRow {
        token: unsigned(row, "token")?,
        container: row.get("container")?,
        gate: row.get("gate")?,
        station: row.get("station")?,
        epoch: row.get("epoch")?,
        request_seq: unsigned(row, "request_seq")?,
        state: row.get("state")?,
    })
}

fn reject(row: &Row<'_>) -> rusqlite::Result<RejectRow> {
    Ok(RejectRow {
        inspection: unsigned(row, "inspection")?,
        confirmed_seq: unsigned_if_any(row, "confirmed_seq")?,
        alarm_seq: unsigned_if_any(row, "alarm_seq")?,
    })
}

fn fact(row: &Row<'_>) -> rusqlite::Result<FactRow> {
    Ok(FactRow { seq: unsigned(row, "seq")?, kind: row.get("kind")?, body: row.get("body")?, hash: row.get("hash")? })
}

fn message(row: &Row<'_>) -> rusqlite::Result<MessageRow> {
    Ok(MessageRow {
        stream: row.get("stream")?,
        seq: unsigned(row, "seq")?,
        id: row.get("id")?,
        topic: row.get("topic")?,
        body_sha256: row.get("body_sha256")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The views with their documented columns in an order of their own, and one column more.
    const STAND_IN: &str = "
        CREATE VIEW v_unit AS SELECT 1 AS more, 'commissioned' AS state, 'urn:u' AS unit, 'B' AS batch, 'g' AS gtin, 's' AS serial,
            1 AS verified, 4 AS final_seq;
        CREATE VIEW v_inspection AS SELECT 9 AS inspection, 'B' AS batch, 'production' AS purpose, 'cam' AS station, 1 AS epoch,
            NULL AS result_seq, 7 AS track, 'missed' AS verdict, NULL AS unit, 9 AS fact_seq;
        CREATE VIEW v_container AS SELECT 'c' AS container, 'case' AS level, 'B' AS batch, 'closed' AS state, 2 AS capacity,
            5 AS closed_seq, NULL AS partial_signature;
        CREATE VIEW v_member AS SELECT 'urn:u' AS child, 'c' AS parent, 3 AS from_seq, NULL AS to_seq;
        CREATE VIEW v_permit AS SELECT 1 AS token, 'c' AS container, 'seal' AS gate, 'packer' AS station, 1 AS epoch,
            2 AS request_seq, 3 AS granted_seq, 'acked' AS state;
        CREATE VIEW v_reject AS SELECT 9 AS inspection, 10 AS commanded_seq, NULL AS confirmed_seq, 11 AS alarm_seq;
        CREATE VIEW v_fact AS SELECT 1 AS seq, 0 AS at_us, 0 AS mono_us, 1 AS boot, 'k' AS kind, 1 AS version, NULL AS batch,
            'line' AS actor, '' AS subject, '{}' AS body, '' AS prev_hash, 'ab' AS hash;";
    const MESSAGES: &str = "
        CREATE VIEW v_message AS SELECT 'epcis' AS stream, 1 AS seq, 'l/1/epcis/1' AS id, '_epcis/packing' AS topic,
            'cd' AS body_sha256, 0 AS acked;";

    #[test]
    fn reads_every_view_by_the_names_of_its_columns() {
        let conn = Connection::open_in_memory().expect("opens");
        conn.execute_batch(STAND_IN).expect("views");
        conn.execute_batch(MESSAGES).expect("views");
        let views = load_from(&conn).expect("reads");
        assert!(views.units.iter().all(|unit| unit.state == "commissioned" && unit.verified));
        assert!(views.inspections.iter().all(|row| row.result_seq.is_none() && row.track == Some(7)));
        assert!(views.rejects.iter().all(|row| row.confirmed_seq.is_none() && row.alarm_seq == Some(11)));
        let counts =
            [views.containers.len(), views.members.len(), views.permits.len(), views.facts.len(), views.messages.len()];
        assert_eq!(counts, [1; 5]);
    }

    #[test]
    fn a_file_without_the_views_is_named_as_such() {
        let conn = Connection::open_in_memory().expect("opens");
        conn.execute_batch(STAND_IN).expect("views");
        let error = load_from(&conn).expect_err("v_message is missing");
        assert!(error.to_string().contains("v_message"), "{error}");
    }
}
