//! Any change of any table is found. The changes are made from the schema itself: a table that is added is tampered with too.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::types::Value;
use sealgate::store::rebuild::{self, CheckReport};

use super::story::Story;

/// Signed statements about the facts, which `audit verify` judges by their signatures.
const SIGNED: &str = "checkpoint";

/// What an intruder may write into the operational tables so that what is gone looks sent, skipped or never asked for.
const COVERS: [&str; 5] = [
    "",
    "DELETE FROM work_feed; DELETE FROM work_feed_exception",
    "INSERT OR REPLACE INTO work_feed SELECT word, 1 << 40 FROM word WHERE text IN ('fact', 'epcis', 'batch')",
    "INSERT OR REPLACE INTO work_feed_exception SELECT stream, seq, 'skipped by local: x' FROM message",
    "INSERT OR REPLACE INTO work_feed SELECT word, 1 << 40 FROM word WHERE text IN ('fact', 'epcis', 'batch'); \
     WITH RECURSIVE n (seq) AS (SELECT 0 UNION ALL SELECT seq + 1 FROM n WHERE seq < 20) \
     INSERT OR REPLACE INTO work_feed_exception SELECT word, seq, 'skipped by local: x' FROM n, word WHERE text IN ('epcis', 'batch')",
];

struct Column {
    name: String,
    kind: String,
    is_key: bool,
}

fn written() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("line.db");
    Story::let_go().commit(&path, 1);
    (folder, path)
}

fn check(path: &Path) -> CheckReport {
    rebuild::check(path, &std::env::temp_dir()).unwrap()
}

fn tables(conn: &Connection) -> Vec<(String, Vec<Column>)> {
    let sql =
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*' AND name NOT GLOB 'work_*'";
    let mut list = conn.prepare(sql).unwrap();
    let names: Vec<String> = list.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let columns = |name: &String| {
        let mut list = conn.prepare("SELECT name, type, pk FROM pragma_table_info(?1)").unwrap();
        let column = |row: &rusqlite::Row<'_>| {
            Ok(Column { name: row.get(0)?, kind: row.get(1)?, is_key: row.get::<_, i64>(2)? > 0 })
        };
        list.query_map([name], column).unwrap().map(Result::unwrap).collect::<Vec<_>>()
    };
    names.iter().map(|name| (name.clone(), columns(name))).collect()
}

/// The rows of a table, as they lie.
fn rows(conn: &Connection, table: &str, columns: &[Column]) -> Vec<Vec<Value>> {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let mut list = conn.prepare(&format!("SELECT {} FROM {table}", names.join(", "))).unwrap();
    let rows = list.query_map([], |row| (0..columns.len()).map(|at| row.get(at)).collect());
    rows.unwrap().map(Result::unwrap).collect()
}

/// Somebody with the file and a tool, who takes the triggers out of the way and puts them back.
struct Intruder {
    conn: Connection,
    copy: PathBuf,
    triggers: Vec<String>,
}

impl Intruder {
    fn into_copy_of(path: &Path) -> Self {
        let copy = path.with_file_name("changed.db");
        std::fs::copy(path, &copy).unwrap();
        let conn = Connection::open(&copy).unwrap();
        conn.execute_batch("PRAGMA synchronous=OFF; PRAGMA ignore_check_constraints=ON; PRAGMA journal_mode=MEMORY")
            .unwrap();
        let sql = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'";
        let mut list = conn.prepare(sql).unwrap();
        let found = list.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).unwrap();
        let found: Vec<_> = found.map(Result::unwrap).collect();
        drop(list);
        for (name, _) in &found {
            conn.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
        }
        Self { conn, copy, triggers: found.into_iter().map(|(_, sql)| sql).collect() }
    }

    /// Also what the tables that are no record say may be changed to cover it: the `nth` way, and none.
    fn leave(self, nth: usize) -> CheckReport {
        self.conn.execute_batch(COVERS[nth % COVERS.len()]).unwrap();
        for trigger in &self.triggers {
            self.conn.execute_batch(trigger).unwrap();
        }
        drop(self.conn);
        check(&self.copy)
    }

    fn set(
        &self,
        table: &str,
        columns: &[Column],
        row: &[Value],
        (at, value): (usize, &Value),
    ) -> rusqlite::Result<usize> {
        let (condition, mut params) = self.is_row(columns, row);
        params.push(value.clone());
        let sql = format!("UPDATE {table} SET {} = ?{} WHERE {condition}", columns[at].name, params.len());
        self.conn.execute(&sql, rusqlite::params_from_iter(params))
    }

    fn is_row(&self, columns: &[Column], row: &[Value]) -> (String, Vec<Value>) {
        let key: Vec<usize> = (0..columns.len()).filter(|at| columns[*at].is_key).collect();
        let condition = key.iter().enumerate().map(|(n, at)| format!("{} = ?{}", columns[*at].name, n + 1));
        (condition.collect::<Vec<_>>().join(" AND "), key.iter().map(|at| row[*at].clone()).collect())
    }

    fn insert(&self, table: &str, columns: &[Column], row: &[Value]) -> rusqlite::Result<usize> {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let places: Vec<String> = (1..=columns.len()).map(|n| format!("?{n}")).collect();
        let sql = format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), places.join(", "));
        self.conn.execute(&sql, rusqlite::params_from_iter(row))
    }
}

/// Another value of the same type, far enough away to break no uniqueness.
fn other(value: &Value, kind: &str) -> Value {
    match value {
        Value::Integer(number) => Value::Integer(number ^ (1 << 20)),
        Value::Text(text) => Value::Text(format!("{text}x")),
        Value::Blob(bytes) => Value::Blob(bytes.iter().map(|byte| byte ^ 1).collect()),
        Value::Null if kind == "INTEGER" => Value::Integer(1),
        Value::Null | Value::Real(_) => Value::Text("x".to_owned()),
    }
}

fn anything(column: &Column) -> Value {
    match column.kind.as_str() {
        "INTEGER" => Value::Integer(1),
        "TEXT" => Value::Text("x".to_owned()),
        _ => Value::Blob(vec![0; 32]),
    }
}

fn must_find(report: &CheckReport, what: &str, table: &str, column: Option<&str>) {
    assert!(!report.is_same(), "{what} was not found");
    let names = |at: &rebuild::Difference| {
        at.table == table && (column.is_none() || at.column.is_none() || at.column.as_deref() == column)
    };
    let is_named = report.verified.first_bad.is_some() || report.differences.iter().any(names);
    assert!(is_named, "{what} is found elsewhere only: {:?}", report.differences);
}

#[test]
fn a_whole_journal_is_what_its_facts_say() {
    let (_folder, path) = written();
    let report = check(&path);
    assert!(report.is_same(), "{report:?}");
    let conn = Connection::open(&path).unwrap();
    let counted: u64 = tables(&conn)
        .iter()
        .filter(|(table, _)| table != SIGNED)
        .map(|(table, columns)| rows(&conn, table, columns).len() as u64)
        .sum();
    assert_eq!(report.rows, counted, "every row of every table was compared");
    let empty: Vec<String> = tables(&conn)
        .into_iter()
        .filter(|(table, columns)| rows(&conn, table, columns).is_empty())
        .map(|(table, _)| table)
        .collect();
    assert_eq!(empty, ["checkpoint"], "the story has a row for every other table");
}

// F20, F157: an edit of every column of every table.
#[test]
fn an_edit_of_any_column_of_any_table_is_found_and_named() {
    let (_folder, path) = written();
    let whole = Connection::open(&path).unwrap();
    for (table, columns) in tables(&whole).iter().filter(|(table, _)| table != SIGNED) {
        let all = rows(&whole, table, columns);
        for row in all.first().into_iter().chain(all.last()) {
            for (at, column) in columns.iter().enumerate() {
                let intruder = Intruder::into_copy_of(&path);
                let value = other(&row[at], &column.kind);
                assert_eq!(intruder.set(table, columns, row, (at, &value)).unwrap(), 1);
                let what = format!("{table}.{} = {value:?}", column.name);
                must_find(&intruder.leave(at), &what, table, Some(&column.name));
            }
        }
    }
}

// F158: a row that is gone, from the ends and from the middle.
#[test]
fn a_deletion_in_any_table_is_found_and_named() {
    let (_folder, path) = written();
    let whole = Connection::open(&path).unwrap();
    for (table, columns) in tables(&whole).iter().filter(|(table, _)| table != SIGNED) {
        let all = rows(&whole, table, columns);
        // The newest fact without any after it is a cut tail, which an anchor outside the file shows.
        let last = all.last().filter(|_| table != "fact");
        for (nth, row) in [all.first(), all.get(all.len() / 2), last].into_iter().flatten().enumerate() {
            for cover in [0, nth + 1, 4] {
                let intruder = Intruder::into_copy_of(&path);
                let (condition, params) = intruder.is_row(columns, row);
                let sql = format!("DELETE FROM {table} WHERE {condition}");
                assert_eq!(intruder.conn.execute(&sql, rusqlite::params_from_iter(params)).unwrap(), 1);
                must_find(&intruder.leave(cover), &format!("{table}: {row:?} deleted, cover {cover}"), table, None);
            }
        }
        for cover in (0..COVERS.len()).filter(|_| !all.is_empty()) {
            let intruder = Intruder::into_copy_of(&path);
            intruder.conn.execute_batch(&format!("DELETE FROM {table}")).unwrap();
            must_find(&intruder.leave(cover), &format!("{table}: all deleted, cover {cover}"), table, None);
        }
    }
}

// Events that were never sent, taken away by somebody who makes the feed say that they were: each of them, and their tail with
// the number at which their stream ends.
// F157, F158
#[test]
fn events_that_were_taken_away_unsent_are_found_whatever_the_place_of_the_feed_says() {
    let (_folder, path) = written();
    let whole = Connection::open(&path).unwrap();
    let mut list = whole.prepare("SELECT id, stream, seq FROM message ORDER BY id").unwrap();
    let all: Vec<(i64, i64, i64)> =
        list.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).and_then(Iterator::collect).unwrap();
    let seqs: Vec<i64> = all.iter().map(|(_, _, seq)| *seq).collect();
    assert_eq!(seqs, [2, 5, 6, 1], "events 1, 3 and 4 were let go; then the batch");
    for (nth, (id, stream, seq)) in all.iter().enumerate() {
        let cut = format!(
            "DELETE FROM message WHERE id >= {id}; UPDATE stream SET last_seq = {seq} - 1 WHERE stream = {stream}"
        );
        for sql in [format!("DELETE FROM message WHERE id = {id}"), cut] {
            for cover in 0..COVERS.len() {
                let intruder = Intruder::into_copy_of(&path);
                intruder.conn.execute_batch(&sql).unwrap();
                must_find(&intruder.leave(cover), &format!("message {nth}, cover {cover}: {sql}"), "message", None);
            }
        }
    }
}

#[test]
fn an_insertion_into_any_table_is_found_and_named() {
    let (_folder, path) = written();
    let whole = Connection::open(&path).unwrap();
    for (table, columns) in &tables(&whole) {
        let all = rows(&whole, table, columns);
        let made = columns.iter().map(anything).collect();
        for (nth, row) in [all.first().unwrap_or(&made), all.last().unwrap_or(&made)].into_iter().enumerate() {
            // A row that differs in everything that may be unique, and in its key alone where that is possible.
            let changed = |only_key: bool| -> Vec<Value> {
                let parts = columns.iter().zip(row);
                let change = |(column, value): (&Column, &Value)| {
                    if column.is_key || !only_key { other(value, &column.kind) } else { value.clone() }
                };
                parts.map(change).collect()
            };
            let intruder = Intruder::into_copy_of(&path);
            let inserted = intruder.insert(table, columns, &changed(true));
            inserted.or_else(|_| intruder.insert(table, columns, &changed(false))).unwrap();
            must_find(&intruder.leave(nth + 2), &format!("{table}: a row like {row:?}"), table, None);
        }
    }
}

#[test]
fn two_values_that_change_places_are_found_and_named() {
    let (_folder, path) = written();
    let whole = Connection::open(&path).unwrap();
    let mut swaps = 0;
    for (table, columns) in tables(&whole).iter().filter(|(table, _)| table != SIGNED) {
        let all = rows(&whole, table, columns);
        for at in (0..columns.len()).filter(|at| !columns[*at].is_key) {
            let Some(a) = all.first() else { continue };
            let others = all.iter().rev().filter(|row| row[at] != a[at]);
            let swapped = others.filter_map(|b| {
                let intruder = Intruder::into_copy_of(&path);
                let spare = other(&a[at], &columns[at].kind);
                let mut steps = [(a, &spare), (b, &a[at]), (a, &b[at])].into_iter();
                // Where two columns are unique together, not every pair can change places.
                let is_done = steps.all(|(row, value)| intruder.set(table, columns, row, (at, value)).is_ok());
                is_done.then_some((intruder, b))
            });
            let Some((intruder, b)) = swapped.take(1).next() else { continue };
            swaps += 1;
            let what = format!("{table}.{} of {a:?} and {b:?}", columns[at].name);
            must_find(&intruder.leave(at), &what, table, None);
        }
    }
    assert!(swaps > 30, "only {swaps} swaps were possible");
}
