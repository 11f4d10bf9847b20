//! The schema for editors, the two examples, and the reader: three views of one thing, held against each other.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sealgate::config::described::{self, Shape, Table};
use sealgate::config::documented::{self, Documented};
use serde_json::{Map, Value, json};

use super::stage::{command, said};

/// Every key of a description, as `table.key`.
fn keys(table: &Table, path: &str, found: &mut BTreeSet<(String, String)>) {
    for key in &table.keys {
        let below = if path.is_empty() { key.name.clone() } else { format!("{path}.{}", key.name) };
        match &key.shape {
            Shape::Table(table) => keys(table, &below, found),
            Shape::Tables(_) => {
                found.insert((path.to_owned(), key.name.clone()));
            }
            Shape::Named(variants) => {
                for variant in variants {
                    keys(&variant.table, &format!("{below}.{}", variant.word), found);
                }
            }
            Shape::Text
            | Shape::Flag
            | Shape::Integer { .. }
            | Shape::IntegerOrWords { .. }
            | Shape::Words(_)
            | Shape::Texts => {
                found.insert((path.to_owned(), key.name.clone()));
            }
        }
    }
}

fn described(table: &Table) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    keys(table, "", &mut found);
    found
}

fn unknown(all: &[Documented], known: &BTreeSet<(String, String)>) -> Vec<String> {
    let table = |entry: &Documented| {
        // Commands have names of the operator's choice.
        if entry.table.starts_with("text.command.") { "text.command.any".to_owned() } else { entry.table.clone() }
    };
    let is_unknown = |entry: &&Documented| !entry.key.is_empty() && !known.contains(&(table(entry), entry.key.clone()));
    all.iter().filter(is_unknown).map(|entry| format!("line {}: [{}] {}", entry.line, entry.table, entry.key)).collect()
}

#[test]
fn the_example_explains_every_key_that_the_reader_knows_and_no_other() {
    let (known, all) = (described(&described::line_file()), documented::line_file());
    assert!(known.len() > 60, "{known:?}");
    assert_eq!(unknown(&all, &known), Vec::<String>::new(), "the reader does not know these");
    let silent: Vec<String> = known
        .iter()
        .filter(|(table, key)| documented::text(&all, table, key).is_none())
        .map(|(table, key)| format!("[{table}] {key}"))
        .collect();
    assert_eq!(silent, Vec::<String>::new(), "config/line.example.toml does not explain these");
}

#[test]
fn the_example_of_a_map_explains_every_key_of_a_tag_and_every_word_of_its_values() {
    let (known, all) = (described(&described::tag_map()), documented::tag_map());
    assert_eq!(unknown(&all, &known), Vec::<String>::new(), "the reader does not know these");
    let explained: BTreeSet<&str> = all.iter().map(|entry| entry.key.as_str()).collect();
    let silent: BTreeSet<&str> =
        known.iter().map(|(_, key)| key.as_str()).filter(|key| !explained.contains(key)).collect();
    assert!(silent.is_empty(), "config/map.example.toml does not explain {silent:?}");
}

/// TOML as the data that an editor checks.
fn data(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap();
    let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    object(&table)
}

fn object(table: &toml::Table) -> Value {
    Value::Object(table.iter().map(|(key, value)| (key.clone(), plain(value))).collect::<Map<String, Value>>())
}

fn plain(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => json!(text),
        toml::Value::Integer(number) => json!(number),
        toml::Value::Float(number) => json!(number),
        toml::Value::Boolean(flag) => json!(flag),
        toml::Value::Datetime(time) => json!(time.to_string()),
        toml::Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        toml::Value::Table(table) => object(table),
    }
}

fn schema(args: &[&str]) -> jsonschema::Validator {
    let said = said(command(&[&["config", "schema"], args].concat()).output().unwrap());
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    jsonschema::draft202012::new(&serde_json::from_str(&said.out).unwrap()).unwrap()
}

fn flaws(schema: &jsonschema::Validator, data: &Value) -> Vec<String> {
    schema.iter_errors(data).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn toml_files(folder: &str) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect()
}

#[test]
fn the_schema_takes_every_configuration_that_the_reader_takes() {
    let schema = schema(&[]);
    let mut files = toml_files("config");
    files.retain(|path| !path.ends_with("map.example.toml"));
    files.push("tests/data/config/good.toml".into());
    for file in files {
        assert_eq!(flaws(&schema, &data(&file)), Vec::<String>::new(), "{}", file.display());
    }
}

#[test]
fn the_schema_of_maps_takes_every_map_that_the_reader_takes() {
    let schema = schema(&["--map"]);
    let mut files = toml_files("config/maps");
    files.extend(toml_files("tests/data/config/maps"));
    files.push("config/map.example.toml".into());
    for file in files {
        assert_eq!(flaws(&schema, &data(&file)), Vec::<String>::new(), "{}", file.display());
    }
}

#[test]
fn the_schema_refuses_what_is_misspelt_missing_or_out_of_range() {
    let schema = schema(&[]);
    let good = data(Path::new("config/demo.toml"));
    let broken = |change: &dyn Fn(&mut Value)| {
        let mut data = good.clone();
        change(&mut data);
        !flaws(&schema, &data).is_empty()
    };
    assert!(!broken(&|_| {}));
    assert!(broken(&|data| data["mqtt"]["prot"] = json!(1883)), "an unknown key");
    assert!(broken(&|data| data["mqtt"]["port"] = json!(70_000)), "out of range");
    assert!(broken(&|data| data["mqtt"]["port"] = json!("1883")), "a number in quotes");
    assert!(broken(&|data| drop(data["line"].as_object_mut().unwrap().remove("name"))), "a needed key");
    assert!(broken(&|data| data["device"]["modbus"]["url"] = json!("opc.tcp://h")), "a key of the other protocol");
    assert!(broken(&|data| data["station"]["camera"]["kind"] = json!("scanner")), "an unknown kind");
    assert!(broken(&|data| data["device"]["opcua"]["security"] = json!("Basic128Rsa15")), "a broken policy");
}

#[test]
fn the_schema_carries_the_words_of_the_example() {
    let said = said(command(&["config", "schema", "--json"]).output().unwrap());
    let schema: Value = serde_json::from_str(&said.out).unwrap();
    let text = schema["properties"]["journal"]["properties"]["path"]["description"].as_str().unwrap_or_default();
    assert!(text.contains("One SQLite file"), "{text}");
}
