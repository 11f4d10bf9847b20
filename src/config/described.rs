//! What the configuration may hold, as data: every key with its form, range and words, asked of the reader itself.
//!
//! The reader is run over small documents that hold nothing but the tables which it asked for before, until it asks for nothing new; a
//! key that decides which others belong to its table (`protocol`, `kind`) is tried with each of its words. So a key stands in one
//! place, the code that reads it, and the schema for editors cannot differ from it. What the values mean to each other (a deadline
//! longer than a poll) is not here: that is for `check`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::domain::tag::{StationKind, Tag};

use super::problem::{Problems, join};
use super::reader::{Asked, Form, Section, Source};
use super::{FileConfig, map};

/// The keys of one table, in the order in which they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    pub keys: Vec<Key>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub name: String,
    pub shape: Shape,
    /// A table without it is an error, whatever else it holds.
    pub is_required: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    Text,
    Flag,
    Integer {
        min: i64,
        max: i64,
    },
    Words(Vec<&'static str>),
    IntegerOrWords {
        min: i64,
        max: i64,
        words: Vec<&'static str>,
    },
    Texts,
    Table(Table),
    /// A list of tables.
    Tables(Table),
    /// Tables with names of the operator's choice; each has one of the forms.
    Named(Vec<Variant>),
}

/// What a named table holds where its deciding key has this word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    pub key: String,
    pub word: String,
    pub table: Table,
}

/// Keys whose word decides about the others of their table.
const DECIDING: [&str; 2] = ["protocol", "kind"];
/// The depth of any configuration, and more: the exploration ends.
const ROUNDS_MAX: usize = 8;

/// Where a tag lies is said in one of several ways, each with keys of its own; the first, `node`, is asked for in any case.
const ALTERNATIVES: [&[&str]; 4] =
    [&["address = 1"], &["answer = \"a.b\""], &["command = \"c\"", "taken = \"a.b\""], &["made = true"]];

/// The line file.
pub fn line_file() -> Table {
    let reader = |source: &Source| {
        if let Some(document) = source.parse() {
            FileConfig::read(Section::root(source, &document), Path::new(""));
        }
    };
    explore(&reader, Vec::new())
}

/// A tag map.
pub fn tag_map() -> Table {
    let reader = |source: &Source| {
        // Problems are expected: the documents are empty.
        let _ = map::read(source);
    };
    let tags = StationKind::ALL.iter().flat_map(|kind| {
        let of_kind = Tag::of_kind(*kind);
        of_kind.into_iter().map(move |tag: Tag| format!("{}.{tag}", kind.name()))
    });
    explore(&reader, tags.collect())
}

/// A document to be: table names, each with its lines.
type Draft = BTreeMap<String, BTreeSet<String>>;

fn explore(reader: &dyn Fn(&Source), tables: Vec<String>) -> Table {
    let mut draft: Draft = tables.into_iter().map(|table| (table, BTreeSet::new())).collect();
    // A text protocol whose lines have no end is read no further.
    draft.entry("text".to_owned()).or_default().insert("end = \"x\"".to_owned());
    let mut asked = Vec::new();
    for _ in 0..ROUNDS_MAX {
        asked = run(reader, &draft);
        let before = draft.clone();
        for note in &asked {
            grow(&mut draft, note);
        }
        if draft == before {
            break;
        }
    }
    // A list may stand for single keys, and an address for a node: what is needed beside one of them is needed always.
    let mut plain = draft.clone();
    plain.values_mut().for_each(|lines| lines.retain(|line| !line.contains("[{}]")));
    let mut runs = vec![asked, run(reader, &plain)];
    for lines in ALTERNATIVES {
        let mut other = plain.clone();
        let is_tag = |table: &str| table.contains('.') && !table.starts_with("text.");
        for (_, table) in other.iter_mut().filter(|(name, _)| is_tag(name)) {
            table.extend(lines.iter().map(|line| (*line).to_owned()));
        }
        other.entry(String::new()).or_default().insert("addressing = 0".to_owned());
        runs.push(run(reader, &other));
    }
    let all: Vec<Asked> = runs.concat();
    assemble(&all, &runs, "")
}

fn run(reader: &dyn Fn(&Source), draft: &Draft) -> Vec<Asked> {
    let mut text = String::new();
    for (table, lines) in draft {
        if !table.is_empty() {
            text += &format!("[{table}]\n");
        }
        for line in lines {
            text += &format!("{line}\n");
        }
    }
    let source = Source::new("", text, &Problems::default());
    reader(&source);
    source.asked.take()
}

/// Room for what was asked for, so that the next run shows what lies in it.
fn grow(draft: &mut Draft, note: &Asked) {
    let path = join(&note.table, &note.key);
    match &note.form {
        Form::Table => {
            draft.entry(path).or_default();
        }
        Form::Named => {
            draft.entry(format!("{path}.any")).or_default();
        }
        Form::Tables => {
            // Items of lists hold no lists, and their place is called like the list.
            let lines = draft.entry(note.table.clone()).or_default();
            lines.insert(format!("{} = [{{}}]", note.key));
        }
        Form::Words(words) if DECIDING.contains(&note.key.as_str()) => {
            let Some(group) = note.table.strip_suffix(".any") else { return };
            for word in words {
                let lines = draft.entry(format!("{group}.{word}")).or_default();
                lines.insert(format!("{} = \"{word}\"", note.key));
            }
        }
        Form::Words(_)
        | Form::Text
        | Form::Flag
        | Form::Integer(_)
        | Form::IntegerOrWords(..)
        | Form::Texts
        | Form::Required => {}
    }
}

fn assemble(asked: &[Asked], runs: &[Vec<Asked>], path: &str) -> Table {
    let mut keys: Vec<Key> = Vec::new();
    for note in asked.iter().filter(|note| note.table == path && note.form != Form::Required) {
        if keys.iter().any(|key| key.name == note.key) {
            continue;
        }
        let is_needed = |run: &Vec<Asked>| {
            let here = |other: &&Asked| other.table == path;
            let required = |other: &Asked| other.key == note.key && other.form == Form::Required;
            run.iter().filter(here).any(required)
        };
        let is_required = !runs.is_empty() && runs.iter().all(is_needed);
        keys.push(Key { name: note.key.clone(), shape: shape(asked, runs, note), is_required });
    }
    Table { keys }
}

fn shape(asked: &[Asked], runs: &[Vec<Asked>], note: &Asked) -> Shape {
    let path = join(&note.table, &note.key);
    match &note.form {
        Form::Text | Form::Required => Shape::Text,
        Form::Flag => Shape::Flag,
        Form::Integer(range) => Shape::Integer { min: *range.start(), max: *range.end() },
        Form::Words(words) => Shape::Words(words.clone()),
        Form::IntegerOrWords(range, words) => {
            Shape::IntegerOrWords { min: *range.start(), max: *range.end(), words: words.clone() }
        }
        Form::Texts => Shape::Texts,
        Form::Table => Shape::Table(with_children(asked, runs, &path)),
        // An item is called like its list, and what it must hold is asked of every one.
        Form::Tables => Shape::Tables(assemble(asked, &[asked.to_vec()], &path)),
        Form::Named => Shape::Named(variants(asked, runs, &path)),
    }
}

/// A table and what was put into it by name: the tags of a station kind are named by the contract.
fn with_children(asked: &[Asked], runs: &[Vec<Asked>], path: &str) -> Table {
    let mut table = assemble(asked, runs, path);
    let below = format!("{path}.");
    let is_child = |name: &&str| !name.contains('.');
    let mut children: Vec<&str> =
        asked.iter().filter_map(|note| note.table.strip_prefix(&below)).filter(is_child).collect();
    children.sort_unstable();
    children.dedup();
    for name in children {
        if table.keys.iter().all(|key| key.name != name) {
            let child = Shape::Table(assemble(asked, runs, &format!("{below}{name}")));
            table.keys.push(Key { name: name.to_owned(), shape: child, is_required: false });
        }
    }
    table
}

fn variants(asked: &[Asked], runs: &[Vec<Asked>], path: &str) -> Vec<Variant> {
    let any = format!("{path}.any");
    let mut found: Vec<Variant> = Vec::new();
    for note in asked.iter().filter(|note| note.table == any && DECIDING.contains(&note.key.as_str())) {
        let Form::Words(words) = &note.form else { continue };
        for word in words {
            if found.iter().any(|variant| variant.word == *word) {
                continue;
            }
            let table = assemble(asked, runs, &format!("{path}.{word}"));
            found.push(Variant { key: note.key.clone(), word: (*word).to_owned(), table });
        }
    }
    if found.is_empty() {
        // Named by the operator, and all alike.
        found.push(Variant { key: String::new(), word: "any".to_owned(), table: assemble(asked, runs, &any) });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key<'t>(table: &'t Table, name: &str) -> &'t Key {
        table.keys.iter().find(|key| key.name == name).unwrap_or_else(|| panic!("{name} in {table:#?}"))
    }

    fn table<'t>(table: &'t Table, name: &str) -> &'t Table {
        let Shape::Table(table) = &key(table, name).shape else { panic!("{name} is no table") };
        table
    }

    #[test]
    fn the_reader_says_every_section_and_which_of_them_are_needed() {
        let file = line_file();
        for (name, is_required) in [("line", true), ("journal", true), ("store", false), ("mqtt", false)] {
            assert_eq!(key(&file, name).is_required, is_required, "{name}");
        }
        let mqtt = table(&file, "mqtt");
        assert_eq!(key(mqtt, "port").shape, Shape::Integer { min: 1, max: 65_535 });
        assert!(key(mqtt, "host").is_required && !key(mqtt, "username").is_required);
    }

    #[test]
    fn a_device_has_the_keys_of_its_protocol_and_a_station_those_of_its_kind() {
        let file = line_file();
        let Shape::Named(devices) = &key(&file, "device").shape else { panic!("devices have names") };
        let of = |word: &str| &devices.iter().find(|variant| variant.word == word).expect("it is known").table;
        assert!(of("opcua").keys.iter().any(|key| key.name == "url" && key.is_required));
        assert!(of("modbus").keys.iter().all(|key| key.name != "url"));
        let Shape::Named(stations) = &key(&file, "station").shape else { panic!("stations have names") };
        let words: Vec<&str> = stations.iter().map(|variant| variant.word.as_str()).collect();
        assert_eq!(words, StationKind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>());
        for station in stations {
            assert!(!key(&station.table, "device").is_required, "a list of parts may stand for it");
            let Shape::Tables(part) = &key(&station.table, "tags").shape else { panic!("a list") };
            assert!(key(part, "map").is_required);
        }
    }

    #[test]
    fn a_map_has_every_tag_of_every_kind() {
        let map = tag_map();
        for kind in StationKind::ALL {
            let tags = table(&map, kind.name());
            for tag in Tag::required(*kind) {
                let tag = table(tags, tag.name());
                assert!(key(tag, "type").is_required && !key(tag, "node").is_required);
            }
        }
        let values = table(table(table(&map, "packer"), "request"), "values");
        assert_eq!(values.keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["seal", "release"]);
    }
}
