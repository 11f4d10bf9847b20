//! The floor: bare rusqlite puts the same rows, in their final form, into a copy of the same file, in groups of the same size, with
//! the same pragmas. No JSON, no hash, no look-up, no rule: every value is bound ready-made.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

/// Tables whose rows are only ever added here, with the expression for the fact that brings a row.
const ADDED: [(&str, &str); 8] = [
    ("fact", "seq"),
    ("serial_run", "seq"),
    ("inspection", "inspection"),
    ("container", "(SELECT min(seq) FROM container_fact f WHERE f.container = t.id)"),
    ("container_fact", "seq"),
    ("member", "from_seq"),
    ("permit", "granted_seq"),
    ("message", "id >> 8"),
];
const SERIAL: &str = "UPDATE serial SET state = ?2, verified = ?3, changed_seq = ?4 WHERE id = ?1";
const STREAM: &str = "UPDATE stream SET last_seq = ?2 WHERE stream = ?1";

/// A statement and the values that it gets.
type Row = (usize, Vec<Value>);

/// Rows by the fact that brought them.
pub(crate) struct Rows {
    statements: Vec<String>,
    by_fact: BTreeMap<i64, Vec<Row>>,
    streams: Vec<Vec<Value>>,
}

impl Rows {
    /// All that came after `head` into a journal.
    pub(crate) fn of(path: &Path, head: u64) -> Rows {
        let conn = Connection::open(path).expect("the journal that was made");
        let mut rows = Rows { statements: Vec::new(), by_fact: BTreeMap::new(), streams: Vec::new() };
        let head = i64::try_from(head).expect("small");
        for (table, fact) in ADDED {
            let select = format!("SELECT {fact}, t.* FROM {table} t WHERE {fact} > {head} ORDER BY 1");
            let columns = rows.collect(&conn, &select);
            let marks: Vec<String> = (1..=columns).map(|at| format!("?{at}")).collect();
            rows.statements.push(format!("INSERT INTO {table} VALUES ({})", marks.join(", ")));
        }
        let changed = "SELECT changed_seq, id, state, verified, changed_seq FROM serial";
        rows.collect(&conn, &format!("{changed} WHERE changed_seq > {head} ORDER BY id"));
        rows.statements.push(SERIAL.to_owned());
        let mut streams = conn.prepare("SELECT stream, last_seq FROM stream").expect("the schema");
        let pairs = streams.query_map([], |row| Ok(vec![row.get(0)?, row.get(1)?])).expect("the schema");
        rows.streams = pairs.map(|pair| pair.expect("a row")).collect();
        rows
    }

    /// The rows of one statement, the next of the list; how many values each has.
    fn collect(&mut self, conn: &Connection, select: &str) -> usize {
        let statement = self.statements.len();
        let mut query = conn.prepare(select).expect("the schema");
        let columns = query.column_count() - 1;
        let mut found = query.query([]).expect("the schema");
        while let Some(row) = found.next().expect("a row") {
            let fact = row.get(0).expect("a number");
            let values = (1..=columns).map(|at| row.get(at).expect("a value")).collect();
            self.by_fact.entry(fact).or_default().push((statement, values));
        }
        columns
    }

    /// Everything into the file, one transaction for each group of facts, by the highest fact of each.
    pub(crate) fn insert(&self, path: &Path, groups: &[u64]) {
        let conn = Connection::open(path).expect("a copy of the file");
        conn.execute_batch(
            "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-32768; \
             PRAGMA cell_size_check=ON;",
        )
        .expect("pragmas");
        conn.set_prepared_statement_cache_capacity(96);
        let mut rest = self.by_fact.iter().peekable();
        for last in groups {
            let last = i64::try_from(*last).expect("small");
            conn.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([])).expect("begun");
            while let Some((_, rows)) = rest.next_if(|(fact, _)| **fact <= last) {
                for (statement, values) in rows {
                    let sql = self.statements.get(*statement).expect("a statement");
                    let mut insert = conn.prepare_cached(sql).expect("the schema");
                    insert.execute(params_from_iter(values)).expect("inserted");
                }
            }
            for stream in &self.streams {
                let mut note = conn.prepare_cached(STREAM).expect("the schema");
                note.execute(params_from_iter(stream)).expect("noted");
            }
            conn.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([])).expect("committed");
        }
        assert!(rest.next().is_none(), "every row belongs to a group");
    }
}
