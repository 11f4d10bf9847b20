//! What people and scripts see: JSON as it is, or the same data as tables that fit a screen.
//!
//! The tables are drawn from the JSON, so that both always say the same. Times are microseconds in JSON (keys ending in `at_us`)
//! and local time with its offset in tables. Colour appears on a terminal alone, and never where `NO_COLOR` is set.

use std::io::{self, IsTerminal, Write};

use jiff::Timestamp;
use jiff::tz::Offset;
use serde_json::{Map, Value};

/// Longer cells are cut; JSON shows them whole.
const CELL_MAX: usize = 60;

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) json: bool,
    pub(super) offset_min: i16,
    pub(super) colour: bool,
}

impl Style {
    pub(super) fn new(json: bool, offset_min: i16) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { json, offset_min, colour: io::stdout().is_terminal() && !plain }
    }
}

/// Prints one document on standard output.
pub(super) fn value(style: Style, value: &Value) {
    let text = if style.json { format!("{value}\n") } else { drawn(style, value) };
    out(&text);
}

/// Text as it stands, on standard output. A reader that went away (`| head`) ends the printing, not the command.
pub(super) fn out(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// What went wrong, on standard error.
pub(super) fn problem(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "sealgate: {text}");
}

fn drawn(style: Style, value: &Value) -> String {
    match value {
        Value::Array(rows) => table(style, rows),
        Value::Object(fields) => object(style, fields),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => format!("{}\n", cell(style, "", value)),
    }
}

/// Plain fields first, one a line; then each list and each object under its name.
fn object(style: Style, fields: &Map<String, Value>) -> String {
    let plain = || {
        fields.iter().filter(|(key, value)| !is_nested(value) && !is_told_already(key, |key| fields.contains_key(key)))
    };
    let width = plain().map(|(key, _)| title(key).len()).max().unwrap_or(0);
    let mut text = String::new();
    for (key, value) in plain() {
        text += &format!("{:width$}  {}\n", title(key), paint(style, key, &cell(style, key, value)));
    }
    for (key, value) in fields.iter().filter(|(_, value)| is_nested(value)) {
        text += &format!("\n{}\n{}", bold(style, key), drawn(style, value));
    }
    text
}

/// What needs lines of its own.
fn is_nested(value: &Value) -> bool {
    matches!(value, Value::Object(_)) || matches!(value, Value::Array(rows) if rows.iter().any(Value::is_object))
}

/// A time stands in JSON as microseconds and as text; people see it once, in the line's own time.
fn is_told_already(key: &str, has: impl Fn(&str) -> bool) -> bool {
    key.ends_with("at") && has(&format!("{key}_us"))
}

/// Columns of tables that are for machines; JSON shows them.
const MACHINE_ONLY: [&str; 7] = ["mono_us", "boot", "version", "hash", "epc_prefix", "serials_sha256", "purpose"];

fn title(key: &str) -> &str {
    key.strip_suffix("_us").filter(|time| time.ends_with("at")).unwrap_or(key)
}

/// Rows that hold tables themselves; the body of a fact stays in its cell.
fn are_documents(rows: &[Value]) -> bool {
    let is_document = |fields: &Map<String, Value>| fields.iter().any(|(key, value)| key != "body" && is_nested(value));
    rows.iter().filter_map(Value::as_object).any(is_document)
}

fn table(style: Style, rows: &[Value]) -> String {
    if are_documents(rows) {
        return rows.iter().map(|row| drawn(style, row)).collect::<Vec<_>>().join("\n");
    }
    let mut columns: Vec<&str> = Vec::new();
    for key in rows.iter().filter_map(Value::as_object).flat_map(Map::keys) {
        if !columns.contains(&key.as_str()) {
            columns.push(key);
        }
    }
    if columns.is_empty() {
        let plain: Vec<String> = rows.iter().map(|row| cell(style, "", row) + "\n").collect();
        return if plain.is_empty() { "none\n".to_owned() } else { plain.concat() };
    }
    let all = columns.clone();
    columns.retain(|key| !MACHINE_ONLY.contains(key) && !is_told_already(key, |key| all.contains(&key)));
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| columns.iter().map(|column| cell(style, column, &row[*column])).collect()).collect();
    let widths: Vec<usize> = (0..columns.len())
        .map(|index| cells.iter().map(|row| width(&row[index])).chain([title(columns[index]).len()]).max().unwrap_or(0))
        .collect();
    let mut text =
        line(columns.iter().zip(&widths).map(|(name, width)| bold(style, &format!("{:width$}", title(name)))));
    for row in &cells {
        text += &line(row.iter().zip(&widths).zip(&columns).map(|((cell, width), column)| {
            let padded = format!("{cell}{}", " ".repeat(width - self::width(cell)));
            paint(style, column, &padded)
        }));
    }
    text
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let joined: Vec<String> = cells.collect();
    format!("{}\n", joined.join("  ").trim_end())
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn cell(style: Style, key: &str, value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::Number(number) if key.ends_with("at_us") => {
            number.as_i64().map_or_else(|| number.to_string(), |us| time(us, style.offset_min))
        }
        Value::String(text) => shown(text),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    if width(&text) <= CELL_MAX || matches!(key, "text" | "body" | "flaw" | "hash" | "head_hash" | "serials_sha256") {
        return text;
    }
    text.chars().take(CELL_MAX - 3).chain("...".chars()).collect()
}

/// Codes hold separators (GS, 0x1D), and devices send any bytes: nothing may steer the terminal.
pub(super) fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// `2026-11-22T23:46:46.123+01:00`: milliseconds, and always the offset.
pub(super) fn time(at_us: i64, offset_min: i16) -> String {
    let offset = Offset::from_seconds(i32::from(offset_min) * 60).unwrap_or(Offset::UTC);
    match Timestamp::from_microsecond(at_us) {
        Ok(time) => time.display_with_offset(offset).to_string().pipe(milliseconds),
        Err(_) => at_us.to_string(),
    }
}

/// Cuts or fills the fraction to three digits, so that columns stay straight.
fn milliseconds(text: String) -> String {
    let Some((seconds, offset)) =
        text.char_indices().skip(19).find(|(_, c)| matches!(c, '+' | '-' | 'Z')).map(|(at, _)| text.split_at(at))
    else {
        return text;
    };
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let fraction: String = fraction.chars().chain("000".chars()).take(3).collect();
    format!("{seconds}.{fraction}{offset}")
}

trait Pipe: Sized {
    fn pipe<T>(self, next: impl FnOnce(Self) -> T) -> T {
        next(self)
    }
}

impl Pipe for String {}

fn bold(style: Style, text: &str) -> String {
    if style.colour { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// Only words that ask for somebody are coloured.
fn paint(style: Style, key: &str, text: &str) -> String {
    const BAD: [&str; 9] = ["error", "fail", "held", "unresolved", "expired", "lost", "broken", "offline", "missed"];
    const WATCH: [&str; 4] = ["warning", "stopped", "no_read", "waiting"];
    let named = matches!(key, "state" | "verdict" | "severity" | "link" | "outcome");
    let colour = match text.trim_end() {
        word if BAD.contains(&word) => "31",
        word if WATCH.contains(&word) => "33",
        _ => return text.to_owned(),
    };
    if style.colour && named { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLAIN: Style = Style { json: false, offset_min: 60, colour: false };

    #[test]
    fn a_list_of_objects_is_a_table_with_straight_columns() {
        let rows = json!([{ "batch": "B1", "state": "running", "at_us": 0 }, { "batch": "B-long", "state": "closed", "lot": "L7" }]);
        let text = drawn(PLAIN, &rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "batch   state    at                             lot");
        assert_eq!(lines[1], "B1      running  1970-01-01T01:00:00.000+01:00  -");
        assert_eq!(lines[2], "B-long  closed   -                              L7");
    }

    #[test]
    fn a_time_is_told_once_and_what_is_for_machines_is_left_to_json() {
        let unit = json!([{ "unit": "A1", "facts": [{ "seq": 2, "at_us": 0, "at": "1970", "body": { "a": 1 }, "hash": "ff" }] }]);
        let text = drawn(PLAIN, &unit);
        assert_eq!(
            text,
            "unit  A1\n\nfacts\nseq  at                             body\n2    1970-01-01T01:00:00.000+01:00  {\"a\":1}\n"
        );
    }

    #[test]
    fn an_object_shows_its_fields_and_then_its_lists() {
        let text = drawn(PLAIN, &json!({ "line": "line3", "devices": [{ "name": "plc" }], "up": true }));
        assert_eq!(text, "line  line3\nup    true\n\ndevices\nname\nplc\n");
        assert_eq!(drawn(PLAIN, &json!([])), "none\n");
    }

    #[test]
    fn times_carry_milliseconds_and_their_offset() {
        assert_eq!(time(1_700_000_000_123_456, -330), "2023-11-14T16:43:20.123-05:30");
        assert_eq!(time(1_700_000_000_000_000, 0), "2023-11-14T22:13:20.000+00:00");
    }

    #[test]
    fn what_a_device_sent_cannot_steer_the_terminal() {
        let text = drawn(PLAIN, &json!([{ "code": "01\u{1d}21\u{1b}[2J" }]));
        assert!(!text.contains('\u{1b}') && !text.contains('\u{1d}'), "{text:?}");
    }

    #[test]
    fn colour_only_where_it_is_wanted_and_only_on_words_that_matter() {
        let rows = json!([{ "state": "held", "serial": "held" }]);
        assert!(!drawn(PLAIN, &rows).contains('\u{1b}'));
        let coloured = drawn(Style { colour: true, ..PLAIN }, &rows);
        assert_eq!(coloured.matches("\u{1b}[31m").count(), 1);
    }
}
