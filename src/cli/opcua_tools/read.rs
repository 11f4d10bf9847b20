//! `sealgate opcua read`: what nodes show now.

use clap::Args;
use serde_json::{Value as Json, json};

use super::target::{Target, answered, node};
use crate::cli::Shared;
use crate::cli::outcome::{Exit, Outcome};
use crate::cli::print::{self, Style};
use crate::cli::probe::block_on;
use crate::device::opcua_look::{self, Shown, Value};

const EXAMPLES: &str = "\
Examples:
  sealgate opcua read opc.tcp://10.7.3.21 'nsu=urn:vendor;s=Camera.Seq' 'nsu=urn:vendor;s=Camera.Code'
  sealgate opcua read opc.tcp://10.7.3.21 i=2258          the server's clock
  sealgate opcua read vision 'nsu=urn:vendor;i=1001' --json --config line.toml

Exit 1 where a value is not good. A ByteString that is no text is shown as 0x and hexadecimal digits.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ReadArgs {
    #[command(flatten)]
    target: Target,
    /// nsu=URI;s=NAME (or i=, g=, b=), or ns=NUMBER;s=NAME
    #[arg(required = true, value_name = "NODE", value_parser = node)]
    nodes: Vec<String>,
}

pub(super) fn run(args: &ReadArgs, shared: &Shared) -> Outcome {
    let settings = args.target.settings(shared)?;
    let shown = answered(&settings, block_on(opcua_look::read(&settings, &args.nodes)))?;
    let rows: Vec<Json> = args.nodes.iter().zip(&shown).map(|(node, shown)| row(node, shown)).collect();
    let style = Style::new(shared.json, 0);
    if shared.json {
        print::value(style, &Json::Array(rows));
    } else {
        for (index, row) in rows.iter().enumerate() {
            if index > 0 {
                print::out("\n");
            }
            print::value(style, row);
        }
    }
    Ok(if shown.iter().all(|shown| shown.is_good) { Exit::Done } else { Exit::No })
}

fn row(node: &str, shown: &Shown) -> Json {
    json!({
        "node": node,
        "value": of_value(&shown.value),
        "type": shown.kind,
        "quality": shown.status,
        "source_at_us": shown.source_us,
        "server_at_us": shown.server_us,
    })
}

/// Bytes are shown as the text that they are, or in hexadecimal.
pub(super) fn of_value(value: &Value) -> Json {
    match value {
        Value::None => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::Unsigned(value) => json!(value),
        Value::Float(value) => json!(value),
        Value::Text(text) => json!(text),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => json!(text),
            Err(_) => json!(bytes.iter().fold("0x".to_owned(), |hex, byte| format!("{hex}{byte:02x}"))),
        },
        Value::List(values) => Json::Array(values.iter().map(of_value).collect()),
    }
}
