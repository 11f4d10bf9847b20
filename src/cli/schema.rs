//! `sealgate schema`: JSON Schemas of what the feed carries.

use clap::Args;
use serde_json::Value;

use super::outcome::{Exit, Outcome};
use super::{Shared, print};
use crate::wire::schema;

const EXAMPLES: &str = "\
Examples:
  sealgate schema                         one JSON object with every schema by its name
  sealgate schema _fact/commissioned      one of them
  sealgate schema _order                  what `sealgate batch load` takes";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SchemaArgs {
    /// A topic below the line's prefix, _order or _answer; all of them where it is not given
    name: Option<String>,
}

/// Schemas are JSON for people too: indented on a terminal, one line with `--json`.
pub(super) fn run(args: &SchemaArgs, shared: &Shared) -> Outcome {
    let schemas = schema::all();
    let document = match &args.name {
        None => Value::Object(schemas.into_iter().collect()),
        Some(name) => match schemas.iter().find(|(known, _)| known == name) {
            Some((_, schema)) => schema.clone(),
            None => {
                let known: Vec<&str> = schemas.iter().map(|(known, _)| known.as_str()).collect();
                return Err(Exit::No.failure(format!("there is no schema {name:?}; there are: {}", known.join(", "))));
            }
        },
    };
    let text = if shared.json { document.to_string() } else { format!("{document:#}") };
    print::out(&format!("{text}\n"));
    Ok(Exit::Done)
}
