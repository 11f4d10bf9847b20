//! Generates `src/domain/ai_table.rs` from GS1's syntax dictionary and compares it with the committed file.
//!
//! `SEALGATE_REGENERATE=1 cargo test --test it ai_table` rewrites the file. Only facts are taken: AIs, flags, component types,
//! lengths, rule names and associations. Titles stay where they are.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::standards;

struct Row {
    first: String,
    last: String,
    is_predefined: bool,
    components: Vec<String>,
    requires: Vec<String>,
    excludes: Vec<String>,
}

#[test]
fn table_is_what_the_dictionary_says() {
    let Some(dictionary) = standards::read("gs1-syntax/gs1-syntax-dictionary.txt") else {
        return;
    };
    let rows: Vec<Row> = dictionary.lines().filter_map(parse_line).collect();
    assert!(rows.len() > 200, "only {} rows were read", rows.len());
    let generated = render(&rows);
    let path = table_path();
    if std::env::var_os("SEALGATE_REGENERATE").is_some() {
        std::fs::write(&path, &generated).expect("the table can be written");
    }
    let committed = std::fs::read_to_string(&path).expect("the table is in the repository");
    assert!(
        committed == generated,
        "src/domain/ai_table.rs is stale: run SEALGATE_REGENERATE=1 cargo test --test it ai_table"
    );
}

#[test]
fn flags_agree_with_the_first_two_digits() {
    // GenSpecs 7.8.5: a separator may be left out only by these two digits, known or not, so that old readers stay right.
    let Some(dictionary) = standards::read("gs1-syntax/gs1-syntax-dictionary.txt") else {
        return;
    };
    for row in dictionary.lines().filter_map(parse_line) {
        let two: u8 = row.first[..2].parse().expect("two digits");
        let listed = matches!(two, 0..=4 | 11..=20 | 31..=36 | 41);
        assert_eq!(row.is_predefined, listed, "AI {}", row.first);
    }
}

fn table_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/domain/ai_table.rs")
}

fn parse_line(line: &str) -> Option<Row> {
    let facts = line.split_once(" #").map_or(line, |(facts, _)| facts).trim();
    if facts.is_empty() || facts.starts_with('#') {
        return None;
    }
    let mut words = facts.split_whitespace().peekable();
    let ais = words.next()?;
    let (first, last) = ais.split_once('-').unwrap_or((ais, ais));
    let flags = words.next_if(|word| word.starts_with(['*', '?'])).unwrap_or_default();
    let mut row = Row {
        first: first.to_owned(),
        last: last.to_owned(),
        is_predefined: flags.contains('*'),
        components: Vec::new(),
        requires: Vec::new(),
        excludes: Vec::new(),
    };
    for word in words {
        match word.split_once('=') {
            Some(("req", list)) => row.requires.push(list.to_owned()),
            Some(("ex", list)) => row.excludes.push(list.to_owned()),
            Some(("dlpkey", _)) => {}
            Some((key, _)) => panic!("unknown attribute {key} of AI {ais}"),
            None if word == "dlpkey" => {}
            None => row.components.push(word.to_owned()),
        }
    }
    Some(row)
}

fn render(rows: &[Row]) -> String {
    let mut out = String::from(HEAD);
    let _ = writeln!(out, "pub(super) static ENTRIES: [Entry; {}] = [", rows.len());
    for row in rows {
        let _ = writeln!(
            out,
            "    entry(({}, {}, {}), {}, &[{}], &[{}], &[{}]),",
            row.first.len(),
            number(&row.first),
            number(&row.last),
            row.is_predefined,
            row.components.iter().map(|part| component(part)).collect::<Vec<_>>().join(", "),
            row.requires.iter().map(|rule| groups(rule)).collect::<Vec<_>>().join(", "),
            row.excludes
                .iter()
                .flat_map(|list| list.split(','))
                .map(|ai| format!("{ai:?}"))
                .collect::<Vec<_>>()
                .join(", "),
        );
    }
    out.push_str("];\n\n/// One row for each pair of leading digits: digits of the AI, first entry, number of entries.\n#[rustfmt::skip]\npub(super) static PREFIXES: [Prefix; 100] = [\n");
    for two in 0..100 {
        let (digits, start, count) = prefix(rows, &format!("{two:02}"));
        let _ = writeln!(out, "    prefix({digits}, {start}, {count}),");
    }
    out.push_str("];\n");
    out
}

/// The entries of one prefix must lie together and have AIs of one length, or the look-up would be wrong.
fn prefix(rows: &[Row], two: &str) -> (usize, usize, usize) {
    let places: Vec<(usize, usize)> = rows
        .iter()
        .enumerate()
        .filter(|(_, row)| row.first[..2] <= *two && *two <= row.last[..2])
        .map(|(at, row)| (at, row.first.len()))
        .collect();
    let Some((start, digits)) = places.first().copied() else {
        return (0, 0, 0);
    };
    for (step, (at, length)) in places.iter().enumerate() {
        assert_eq!((*at, *length), (start + step, digits), "AIs that begin with {two}");
    }
    (digits, start, places.len())
}

fn component(spec: &str) -> String {
    let is_optional = spec.starts_with('[');
    let plain = spec.replace(['[', ']'], "");
    let mut parts = plain.split(',');
    let shape = parts.next().expect("a type and a length");
    let (kind, length) = shape.split_at(1);
    let charset = match kind {
        "N" => "Digits",
        "X" => "Cset82",
        "Y" => "Cset39",
        "Z" => "Cset64",
        other => panic!("unknown component type {other} in {spec}"),
    };
    let (min, max) = match length.strip_prefix("..") {
        Some(max) => ("1", max),
        None => (length, length),
    };
    let linters: Vec<String> = parts.map(|name| format!("Linter::{}", capitalized(name))).collect();
    format!("part(Charset::{charset}, {min}, {max}, {is_optional}, &[{}])", linters.join(", "))
}

fn groups(rule: &str) -> String {
    let group = |text: &str| {
        let ais: Vec<String> = text.split('+').map(|ai| format!("{ai:?}")).collect();
        format!("&[{}]", ais.join(", "))
    };
    let all: Vec<String> = rule.split(',').map(group).collect();
    format!("&[{}]", all.join(", "))
}

fn capitalized(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    first.to_uppercase() + rest
}

fn number(ai: &str) -> u16 {
    ai.parse().expect("an AI is made of digits")
}

const HEAD: &str = "\
//! Application identifiers: generated by `tests/it/ai_table.rs` from the GS1 Barcode Syntax Dictionary; do not edit.
//!
//! Facts only: AI, flag, components, rule names, associations. The types and the look-up are in `ai.rs`.

use super::ai::{Entry, Prefix, entry, part, prefix};
use super::charset::Charset;
use super::linter::Linter;

/// In the order of their AIs: (digits of the AI, first, last), predefined length, components, requires, excludes.
#[rustfmt::skip]
";
