//! `sealgate schema`: JSON Schemas of what the feed carries.

use clap::Args;

use serde_json::Value;

use super::Shared;
use super::outcome::{Exit, Outcome};
use super::print::{self, Style};
use crate::wire::{schema, topic};

const EXAMPLES: &str = "\
Examples:
  sealgate schema                         every schema by name
  sealgate schema _fact/commissioned      one of them
  sealgate schema _order                  what `batch load` takes";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SchemaArgs {
    /// A topic or a kind of fact; all of them where it is not given
    name: Option<String>,
}

pub(super) fn run(args: &SchemaArgs, _shared: &Shared) -> Outcome {
    let all = schema::all();
    let Some(name) = &args.name else {
        print::value(JSON, &Value::Object(all.into_iter().collect()));
        return Ok(Exit::Done);
    };
    let is_meant = |known: &str| known == name || known.strip_prefix('_') == Some(name) || known == topic::fact(name);
    match all.iter().find(|(known, _)| is_meant(known)) {
        Some((_, schema)) => {
            print::value(JSON, schema);
            Ok(Exit::Done)
        }
        None => {
            let known: Vec<&str> = all.iter().map(|(known, _)| known.as_str()).collect();
            Err(Exit::Usage.failure(format!("no schema is named {name}; there are: {}", known.join(", "))))
        }
    }
}

/// A schema is JSON for people too.
const JSON: Style = Style { json: true, offset_min: 0, colour: false };
