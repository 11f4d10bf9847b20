//! `sealgate config`: the configuration as a whole. `config schema` prints the JSON Schema by which an editor completes and checks it.
//!
//! Keys, ranges and words are asked of the reader itself (`config::described`), the explanations are the comments of the examples.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::outcome::{Exit, Outcome};
use super::{Shared, print};
use crate::config::described::{self, Shape, Table, Variant};
use crate::config::documented::{self, Documented};

const EXAMPLES: &str = "\
Examples:
  sealgate config schema > line.schema.json            then, as the first line of line.toml:  #:schema ./line.schema.json
  sealgate config schema --map > map.schema.json       the same for tag maps
  sealgate check --config line.toml                    what no schema can say: names that exist, times that fit together

Even Better TOML (Visual Studio Code), taplo and other editors read the first line.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// JSON Schema (draft 2020-12) of the line file, or of a tag map
    Schema {
        /// Of tag maps instead
        #[arg(long)]
        map: bool,
    },
}

pub(super) fn run(args: &ConfigArgs, shared: &Shared) -> Outcome {
    let Action::Schema { map } = args.action;
    let schema = if map { map_schema() } else { line_schema() };
    let text = if shared.json { schema.to_string() } else { format!("{schema:#}") };
    print::out(&format!("{text}\n"));
    Ok(Exit::Done)
}

fn line_schema() -> Value {
    Schema { texts: documented::line_file(), shared: BTreeMap::new() }
        .whole("Sealgate: the configuration of one line", &described::line_file())
}

fn map_schema() -> Value {
    Schema { texts: documented::tag_map(), shared: BTreeMap::new() }
        .whole("Sealgate: where the tags of stations lie on a device", &described::tag_map())
}

/// What an operator may call a device or a station.
const NAMES: &str = "^[a-z][a-z0-9_-]{0,23}$";

struct Schema {
    texts: Vec<Documented>,
    /// Tables that occur more than once, by their text.
    shared: BTreeMap<String, usize>,
}

impl Schema {
    fn whole(mut self, title: &str, table: &Table) -> Value {
        let object = self.object(table, "");
        let mut whole = Map::new();
        whole.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        whole.insert("title".to_owned(), json!(title));
        whole.extend(object.as_object().cloned().unwrap_or_default());
        let parts: BTreeMap<usize, &String> = self.shared.iter().map(|(text, number)| (*number, text)).collect();
        let parts: Map<String, Value> = parts
            .into_iter()
            .filter_map(|(number, text)| Some((format!("t{number}"), serde_json::from_str(text).ok()?)))
            .collect();
        if !parts.is_empty() {
            whole.insert("$defs".to_owned(), Value::Object(parts));
        }
        Value::Object(whole)
    }

    fn object(&mut self, table: &Table, path: &str) -> Value {
        let mut properties = Map::new();
        for key in &table.keys {
            let mut schema = self.shape(&key.shape, &join(path, &key.name));
            let text = documented::text(&self.texts, path, &key.name);
            let of_section = || documented::text(&self.texts, &join(path, &key.name), "");
            if let (Some(text), Some(fields)) = (text.or_else(of_section), schema.as_object_mut()) {
                fields.insert("description".to_owned(), json!(text));
            }
            properties.insert(key.name.clone(), schema);
        }
        let required: Vec<&String> = table.keys.iter().filter(|key| key.is_required).map(|key| &key.name).collect();
        let mut object = json!({ "type": "object", "properties": properties, "additionalProperties": false });
        if let (false, Some(fields)) = (required.is_empty(), object.as_object_mut()) {
            fields.insert("required".to_owned(), json!(required));
        }
        object
    }

    fn shape(&mut self, shape: &Shape, path: &str) -> Value {
        match shape {
            Shape::Text => json!({ "type": "string" }),
            Shape::Flag => json!({ "type": "boolean" }),
            Shape::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
            Shape::Words(words) => json!({ "type": "string", "enum": words }),
            Shape::IntegerOrWords { min, max, words } => json!({ "anyOf": [
                { "type": "integer", "minimum": min, "maximum": max }, { "type": "string", "enum": words },
            ] }),
            Shape::Texts => json!({ "type": "array", "items": { "type": "string" } }),
            Shape::Table(table) => self.table(table, path),
            Shape::Tables(table) => json!({ "type": "array", "minItems": 1, "items": self.object(table, path) }),
            Shape::Named(variants) => {
                let forms: Vec<Value> = variants.iter().map(|variant| self.variant(variant, path)).collect();
                json!({ "type": "object", "minProperties": 1, "additionalProperties": false,
                        "patternProperties": { NAMES: { "oneOf": forms } } })
            }
        }
    }

    /// The tags of a map are alike but for a few: each form stands once.
    fn table(&mut self, table: &Table, path: &str) -> Value {
        let object = self.object(table, path);
        if !path.contains('.') {
            return object;
        }
        let next = self.shared.len() + 1;
        let number = *self.shared.entry(object.to_string()).or_insert(next);
        json!({ "$ref": format!("#/$defs/t{number}") })
    }

    fn variant(&mut self, variant: &Variant, path: &str) -> Value {
        let mut object = self.object(&variant.table, &join(path, &variant.word));
        if variant.key.is_empty() {
            return object;
        }
        object["properties"][&variant.key]["const"] = json!(variant.word);
        if let Some(fields) = object["properties"][&variant.key].as_object_mut() {
            fields.remove("enum");
        }
        object["title"] = json!(format!("{} = \"{}\"", variant.key, variant.word));
        object
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
