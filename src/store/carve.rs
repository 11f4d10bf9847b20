//! Rows out of single pages (SQLite file format, 1.6 and 2), for a file whose trees cannot be walked any more.
//!
//! - [`rows`]: the cells that a page points to, where it is a leaf of a table or any page of an index.
//! - [`facts`]: whatever has the shape of a fact, at any byte of any page. Nothing of the page need be whole but the row itself;
//!   whether it is a fact of this journal is for its hash to say.
//!
//! Contract: no byte of a page can do more than hide a row. Not here: which row is true.

use rusqlite::types::Value;

/// What SQLite makes of a file unless it is told otherwise, and the journal tells it nothing.
pub(super) const PAGE: usize = 4096;
/// No record of a journal is as long: the body of a fact is bounded far below.
const PAYLOAD_MAX: usize = 64 << 20;
/// Columns of `fact`, and what a serial type says of a digest: a blob of 32 bytes (2.1).
const FACT_COLUMNS: usize = 11;
const DIGEST: u64 = 32 * 2 + 12;
/// The columns of a fact that are numbers: `batch` may be null.
const FACT_NUMBERS: [usize; 7] = [1, 2, 3, 4, 5, 6, 7];

/// A row of a table with its number, or of an index without.
pub(super) struct Row {
    pub(super) rowid: Option<i64>,
    pub(super) values: Vec<Value>,
}

/// Where the rest of a long record lies: a page by its number.
pub(super) type Rest<'a> = &'a dyn Fn(u32) -> Option<Vec<u8>>;

/// Every row that `page` points to; `begins` is where its header lies: 100 on the first page of a file.
pub(super) fn rows(page: &[u8], begins: usize, rest: Rest<'_>, mut found: impl FnMut(Row)) {
    let Some(kind) = page.get(begins) else { return };
    let (pointers, left_child, is_table) = match kind {
        0x0D => (8, 0, true),
        0x0A => (8, 0, false),
        0x02 => (12, 4, false),
        _ => return,
    };
    let count = number(page, begins + 3, 2).unwrap_or(0);
    for place in 0..count.min(PAGE / 4) {
        let Some(at) = number(page, begins + pointers + 2 * place, 2) else { return };
        if let Some(row) = cell(page, at + left_child, is_table, rest) {
            found(row);
        }
    }
}

/// Everything in `page` that is shaped as a fact.
pub(super) fn facts(page: &[u8], rest: Rest<'_>, mut found: impl FnMut(Row)) {
    // The header of a record of eleven columns is 12 bytes or a few more, and begins with the null of its number.
    for at in 2..page.len().saturating_sub(FACT_COLUMNS) {
        if !matches!(page.get(at..at + 2), Some([12..=20, 0])) {
            continue;
        }
        // Before it: the length of the record and the number, each of one to nine bytes.
        let first = at.saturating_sub(18);
        let begin = (first..at.saturating_sub(1)).rev().find(|begin| begins_fact(page, *begin, at));
        if let Some(row) = begin.and_then(|begin| cell(page, begin, true, rest)).filter(is_fact) {
            found(row);
        }
    }
}

/// Whether a cell that begins at `begin` has its record at `at`, and the record the length and the columns of a fact.
fn begins_fact(page: &[u8], begin: usize, at: usize) -> bool {
    let Some((length, after)) = varint(page, begin) else { return false };
    let Some((_, record)) = varint(page, after) else { return false };
    if record != at {
        return false;
    }
    let Some((types, total)) = header(page, at) else { return false };
    u64::try_from(total).is_ok_and(|total| total == length)
        && types.len() == FACT_COLUMNS
        && types.get(10) == Some(&DIGEST)
        && [8, 9].iter().all(|text| types.get(*text).is_some_and(|kind| *kind >= 13 && kind % 2 == 1))
}

fn is_fact(row: &Row) -> bool {
    let is_number = |at: &usize| match row.values.get(*at) {
        Some(Value::Integer(_)) => true,
        Some(Value::Null) => *at == 6,
        Some(Value::Real(_) | Value::Text(_) | Value::Blob(_)) | None => false,
    };
    row.rowid.is_some_and(|seq| seq > 0) && FACT_NUMBERS.iter().all(is_number)
}

fn cell(page: &[u8], at: usize, is_table: bool, rest: Rest<'_>) -> Option<Row> {
    let (length, mut at) = varint(page, at)?;
    let length = usize::try_from(length).ok().filter(|length| *length <= PAYLOAD_MAX)?;
    let mut rowid = None;
    if is_table {
        let (number, after) = varint(page, at)?;
        (rowid, at) = (Some(i64::from_ne_bytes(number.to_ne_bytes())), after);
    }
    let here = local(length, is_table);
    let mut payload = page.get(at..at + here)?.to_vec();
    let mut next = if here < length { number(page, at + here, 4)? } else { 0 };
    while payload.len() < length {
        let more = rest(u32::try_from(next).ok().filter(|next| *next > 0)?)?;
        let wanted = (length - payload.len()).min(PAGE - 4);
        payload.extend_from_slice(more.get(4..4 + wanted)?);
        next = number(&more, 0, 4)?;
    }
    Some(Row { rowid, values: values(&payload)? })
}

/// How much of a record lies in its own page (1.6).
fn local(length: usize, is_table: bool) -> usize {
    let most = if is_table { PAGE - 35 } else { (PAGE - 12) * 64 / 255 - 23 };
    if length <= most {
        return length;
    }
    let least = (PAGE - 12) * 32 / 255 - 23;
    let wanted = least + (length - least) % (PAGE - 4);
    if wanted <= most { wanted } else { least }
}

/// The serial types of the record at `at`, and the length of the whole record.
fn header(bytes: &[u8], at: usize) -> Option<(Vec<u64>, usize)> {
    let (length, mut next) = varint(bytes, at)?;
    let length = usize::try_from(length).ok()?;
    let end = at.checked_add(length)?;
    let (mut types, mut total) = (Vec::new(), length);
    while next < end {
        let (kind, after) = varint(bytes, next)?;
        total = total.checked_add(width(kind)?)?;
        types.push(kind);
        next = after;
    }
    (next == end).then_some((types, total))
}

fn values(payload: &[u8]) -> Option<Vec<Value>> {
    let (types, total) = header(payload, 0)?;
    let (length, _) = varint(payload, 0)?;
    let mut at = usize::try_from(length).ok()?;
    if total != payload.len() {
        return None;
    }
    let mut list = Vec::with_capacity(types.len());
    for kind in types {
        let end = at + width(kind)?;
        list.push(value(kind, payload.get(at..end)?)?);
        at = end;
    }
    Some(list)
}

/// Bytes of a value of this serial type; `None` for numbers that a journal has not.
fn width(kind: u64) -> Option<usize> {
    match kind {
        0 | 8 | 9 => Some(0),
        1..=4 => usize::try_from(kind).ok(),
        5 => Some(6),
        6 => Some(8),
        7 | 10 | 11 => None,
        12.. => usize::try_from((kind - 12) / 2).ok().filter(|width| *width <= PAYLOAD_MAX),
    }
}

fn value(kind: u64, bytes: &[u8]) -> Option<Value> {
    Some(match kind {
        0 => Value::Null,
        8 => Value::Integer(0),
        9 => Value::Integer(1),
        1..=6 => Value::Integer(integer(bytes)),
        kind if kind % 2 == 0 => Value::Blob(bytes.to_vec()),
        _ => Value::Text(std::str::from_utf8(bytes).ok()?.to_owned()),
    })
}

/// Big endian, with the sign of its first bit.
fn integer(bytes: &[u8]) -> i64 {
    let fill = if bytes.first().is_some_and(|first| *first >= 0x80) { 0xFF } else { 0 };
    let mut whole = [fill; 8];
    let from = whole.len() - bytes.len().min(8);
    whole[from..].copy_from_slice(&bytes[..bytes.len().min(8)]);
    i64::from_be_bytes(whole)
}

fn number(bytes: &[u8], at: usize, width: usize) -> Option<usize> {
    bytes.get(at..at.checked_add(width)?).map(|part| part.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
}

/// A number of one to nine bytes (1.6), and where it ends.
fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut found = 0_u64;
    for place in 0..8 {
        let byte = *bytes.get(at.checked_add(place)?)?;
        found = found << 7 | u64::from(byte & 0x7F);
        if byte < 0x80 {
            return Some((found, at + place + 1));
        }
    }
    let last = *bytes.get(at.checked_add(8)?)?;
    Some((found << 8 | u64::from(last), at + 9))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn reads_what_sqlite_wrote_and_what_lies_in_further_pages() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let conn = Connection::open(&path).unwrap();
        let long = "x".repeat(20_000);
        conn.execute_batch("CREATE TABLE t (a INTEGER PRIMARY KEY, b, c, d, e)").unwrap();
        conn.execute("INSERT INTO t VALUES (?1, -2, 'short', x'0102', ?2)", (i64::from(i32::MAX) + 7, &long)).unwrap();
        drop(conn);
        let bytes = std::fs::read(&path).unwrap();
        let page = |number: u32| bytes.chunks(PAGE).nth(number as usize - 1).map(<[u8]>::to_vec);
        let mut found = Vec::new();
        rows(&page(2).unwrap(), 0, &page, |row| found.push(row));
        let [row] = &found[..] else { panic!("{} rows", found.len()) };
        assert_eq!(row.rowid, Some(i64::from(i32::MAX) + 7));
        let expected =
            [Value::Null, Value::Integer(-2), Value::Text("short".into()), Value::Blob(vec![1, 2]), Value::Text(long)];
        assert_eq!(row.values, expected);
    }

    proptest! {
        #[test]
        fn no_page_can_do_more_than_hide_its_rows(page in prop::collection::vec(any::<u8>(), 0..5000), kind in 0_usize..4) {
            let mut page = page;
            if let Some(first) = page.first_mut() {
                *first = [0x0D, 0x0A, 0x02, 12][kind];
            }
            let itself = page.clone();
            let rest = |_: u32| Some(itself.clone());
            rows(&page, 0, &rest, |_| {});
            facts(&page, &rest, |_| {});
        }
    }
}
