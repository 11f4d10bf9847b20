//! Two journals of one identity, table by table and row by row: what is there, and what should be. Tables, columns and keys
//! come from the schema, so that a new table is compared without anybody thinking of it.

use std::cmp::Ordering;

use rusqlite::types::Value;
use rusqlite::{Connection, Rows};

/// Differences that are named one by one; the rest is a count.
const NAMED_MAX: usize = 100;

/// One cell, or one row, that is not what the facts say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub table: String,
    /// The row, by its key: `inspection=17`.
    pub key: String,
    /// `None` where the whole row is meant.
    pub column: Option<String>,
    /// What lies in the file; `None` where the row is missing.
    pub is: Option<String>,
    /// What the facts say; `None` where there should be no such row.
    pub should: Option<String>,
}

impl Difference {
    /// The facts cannot be folded beyond this one.
    pub(super) fn of_fact(seq: u64, what: String) -> Self {
        Self { table: "fact".into(), key: format!("seq={seq}"), column: None, is: Some(what), should: None }
    }
}

#[derive(Debug, Default)]
pub(super) struct Differences {
    pub(super) rows: u64,
    /// At most `NAMED_MAX`.
    pub(super) list: Vec<Difference>,
    pub(super) count: u64,
}

impl Differences {
    pub(super) fn take(&mut self, difference: Option<Difference>) {
        let Some(difference) = difference else { return };
        self.count += 1;
        if self.list.len() < NAMED_MAX {
            self.list.push(difference);
        }
    }
}

struct Table {
    name: String,
    columns: Vec<String>,
    /// The places of the key's columns.
    key: Vec<usize>,
}

/// Compares every table of `should` but the operational ones and the signed statements.
pub(super) fn all(is: &Connection, should: &Connection, found: &mut Differences) -> rusqlite::Result<()> {
    for table in tables(should)?.iter().filter(|table| table.name != "checkpoint") {
        compare(is, should, table, found)?;
    }
    let check: String = is.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if check != "ok" {
        let key = "integrity_check".to_owned();
        found.take(Some(Difference { table: "structure".into(), key, column: None, is: Some(check), should: None }));
    }
    Ok(())
}

fn tables(conn: &Connection) -> rusqlite::Result<Vec<Table>> {
    let names: Vec<String> = conn
        .prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*' \
             AND name NOT GLOB 'work_*' ORDER BY name",
        )?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    names.into_iter().map(|name| table(conn, name)).collect()
}

fn table(conn: &Connection, name: String) -> rusqlite::Result<Table> {
    let described: Vec<(String, u32)> = conn
        .prepare("SELECT name, pk FROM pragma_table_info(?1) ORDER BY cid")?
        .query_map([&name], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut key: Vec<(u32, usize)> =
        described.iter().enumerate().filter(|(_, (_, pk))| *pk > 0).map(|(at, (_, pk))| (*pk, at)).collect();
    key.sort_unstable();
    let columns = described.into_iter().map(|(column, _)| column).collect();
    Ok(Table { name, columns, key: key.into_iter().map(|(_, at)| at).collect() })
}

impl Table {
    fn select(&self) -> String {
        let key: Vec<&str> = self.key.iter().filter_map(|at| self.columns.get(*at)).map(String::as_str).collect();
        format!("SELECT {} FROM {} ORDER BY {}", self.columns.join(", "), self.name, key.join(", "))
    }

    fn key_of(&self, row: &[Value]) -> String {
        let part = |at: &usize| Some(format!("{}={}", self.columns.get(*at)?, shown(row.get(*at)?)));
        self.key.iter().filter_map(part).collect::<Vec<_>>().join(" ")
    }

    fn order(&self, a: &[Value], b: &[Value]) -> Ordering {
        let parts = self.key.iter().filter_map(|at| Some(order(a.get(*at)?, b.get(*at)?)));
        parts.into_iter().find(|order| *order != Ordering::Equal).unwrap_or(Ordering::Equal)
    }

    fn whole(&self, row: &[Value]) -> String {
        let parts = self.columns.iter().zip(row).map(|(column, value)| format!("{column}={}", shown(value)));
        parts.collect::<Vec<_>>().join(" ")
    }
}

fn compare(is: &Connection, should: &Connection, table: &Table, found: &mut Differences) -> rusqlite::Result<()> {
    let sql = table.select();
    let (mut is, mut should) = (is.prepare(&sql)?, should.prepare(&sql)?);
    let (mut is, mut should) = (is.query([])?, should.query([])?);
    let width = table.columns.len();
    let (mut left, mut right) = (next(&mut is, width)?, next(&mut should, width)?);
    loop {
        let order = match (&left, &right) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left), Some(right)) => table.order(left, right),
        };
        found.rows += 1;
        match (order, &left, &right) {
            (Ordering::Equal, Some(is), Some(should)) => cells(table, is, should, found),
            (_, Some(row), _) if order == Ordering::Less => {
                found.take(Some(whole_row(table, Some(row), None)));
            }
            (_, _, Some(row)) => found.take(Some(whole_row(table, None, Some(row)))),
            (_, _, None) => {}
        }
        if order != Ordering::Greater {
            left = next(&mut is, width)?;
        }
        if order != Ordering::Less {
            right = next(&mut should, width)?;
        }
    }
}

fn cells(table: &Table, is: &[Value], should: &[Value], found: &mut Differences) {
    for ((column, is_value), should_value) in table.columns.iter().zip(is).zip(should) {
        if is_value != should_value {
            found.take(Some(Difference {
                table: table.name.clone(),
                key: table.key_of(should),
                column: Some(column.clone()),
                is: Some(shown(is_value)),
                should: Some(shown(should_value)),
            }));
        }
    }
}

fn whole_row(table: &Table, is: Option<&[Value]>, should: Option<&[Value]>) -> Difference {
    let row = is.or(should).unwrap_or_default();
    Difference {
        table: table.name.clone(),
        key: table.key_of(row),
        column: None,
        is: is.map(|row| table.whole(row)),
        should: should.map(|row| table.whole(row)),
    }
}

fn next(rows: &mut Rows<'_>, width: usize) -> rusqlite::Result<Option<Vec<Value>>> {
    let Some(row) = rows.next()? else { return Ok(None) };
    (0..width).map(|at| row.get(at)).collect::<rusqlite::Result<Vec<Value>>>().map(Some)
}

/// As SQLite sorts: nothing, numbers, texts, bytes.
fn order(a: &Value, b: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Null => 0,
        Value::Integer(_) | Value::Real(_) => 1,
        Value::Text(_) => 2,
        Value::Blob(_) => 3,
    };
    match (a, b) {
        (Value::Integer(a), Value::Integer(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Value::Blob(a), Value::Blob(b)) => a.cmp(b),
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

/// A value for people, cut where it is long.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => format!("'{}'", text.chars().take(80).collect::<String>()),
        Value::Blob(bytes) => {
            let hex: String = bytes.iter().take(32).map(|byte| format!("{byte:02x}")).collect();
            format!("x'{hex}' ({} bytes)", bytes.len())
        }
    }
}
