//! `sealgate batch`: production orders.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::outcome::{Exit, Failure, Outcome};
use super::{Journals, Shared, source};
use crate::report::Question;

const EXAMPLES: &str = "\
Examples:
  sealgate batch load order.json          validate an order and load it; nothing is loaded of a bad one
  sealgate batch start B-2026-117         the operator can start the line
  sealgate batch stop B-2026-117          no more serials are printed; units on the belt are still decided
  sealgate batch close B-2026-117         only where every serial is accounted for
  sealgate batch list --json              every batch of this line
  sealgate batch show B-2026-117 --db line3.db

An order is one JSON file:
  {\"batch\": \"B-2026-117\", \"gtin\": \"09506000134352\", \"lot\": \"L7\", \"expiry\": \"2027-03-31\",
   \"gcp_length\": 7, \"case_capacity\": 10, \"pallet_capacity\": 4,
   \"sscc\": {\"extension\": 0, \"prefix\": \"9506000\", \"first\": 1, \"last\": 999},
   \"serials\": [\"A1\", \"A2\"]}         or \"serials_file\": \"serials.txt\", one serial a line, beside the order";

/// An order larger than this is no order.
const ORDER_BYTES_MAX: u64 = 32 << 20;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct BatchArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Load a production order
    Load { file: PathBuf },
    /// Begin to print and verify
    Start { batch: String },
    /// End printing; the batch can be started again or closed
    Stop { batch: String },
    /// End the batch for ever, with its counts balanced
    Close { batch: String },
    /// Every batch, the newest first
    List {
        #[command(flatten)]
        journals: Journals,
    },
    /// One batch: its order, its counts, its balance
    Show {
        batch: String,
        #[command(flatten)]
        journals: Journals,
    },
}

pub(super) fn run(args: BatchArgs, shared: &Shared) -> Outcome {
    let named = |name: &str, batch: &str| source::command(shared, name, json!({ "batch": batch }));
    match args.action {
        Action::Load { file } => source::command(shared, "batch/load", order(&file)?),
        Action::Start { batch } => named("batch/start", &batch),
        Action::Stop { batch } => named("batch/stop", &batch),
        Action::Close { batch } => named("batch/close", &batch),
        Action::List { journals } => source::answer(&journals, shared, &Question::Batches),
        Action::Show { batch, journals } => source::answer(&journals, shared, &Question::Batch(batch)),
    }
}

/// The order as the daemon takes it: a file of serials is put in its place, since the daemon cannot read this person's files.
fn order(file: &Path) -> Result<Value, Failure> {
    let text = read(file)?;
    let mut order: Value = serde_json::from_str(&text).map_err(|error| {
        Exit::No.failure(format!("{}:{}:{}: is no JSON: {error}", file.display(), error.line(), error.column()))
    })?;
    let Some(fields) = order.as_object_mut() else {
        return Err(Exit::No.failure(format!(
            "{}: is no order: one JSON object is expected (see `sealgate batch --help`)",
            file.display()
        )));
    };
    if let Some(named) = fields.get("serials_file").and_then(Value::as_str) {
        if fields.contains_key("serials") {
            return Err(Exit::No.failure(format!(
                "{}: has both `serials` and `serials_file`; one of them is allowed",
                file.display()
            )));
        }
        let path = file.parent().unwrap_or(Path::new("")).join(named);
        let serials: Vec<Value> = read(&path)?.lines().map(Value::from).collect();
        fields.remove("serials_file");
        fields.insert("serials".to_owned(), Value::Array(serials));
    }
    Ok(order)
}

fn read(file: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Exit::Io.failure(format!("{}: cannot be read: {error}", file.display()));
    let length = std::fs::metadata(file).map_err(failed)?.len();
    if length > ORDER_BYTES_MAX {
        let text =
            format!("{}: is {length} bytes long; at most {ORDER_BYTES_MAX} are taken: split the order", file.display());
        return Err(Exit::No.failure(text));
    }
    std::fs::read_to_string(file).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_serials_takes_its_place_in_the_order() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("s.txt"), "'OR'1'='1'--\n../../etc/passwd\n007\n").expect("ours");
        let file = folder.path().join("order.json");
        std::fs::write(&file, r#"{"batch":"B1","serials_file":"s.txt"}"#).expect("ours");
        let order = order(&file).expect("a good order");
        assert_eq!(order, json!({ "batch": "B1", "serials": ["'OR'1'='1'--", "../../etc/passwd", "007"] }));
    }

    #[test]
    fn a_malformed_order_says_where() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("order.json");
        for (text, says) in [
            ("{\n\"batch\": }", ":2:10: is no JSON"),
            ("[]", "is no order"),
            (r#"{"serials":[],"serials_file":"x"}"#, "has both"),
        ] {
            std::fs::write(&file, text).expect("ours");
            let failure = order(&file).expect_err("it is malformed");
            assert_eq!(failure.exit, Exit::No);
            assert!(failure.text.contains(says), "{}", failure.text);
        }
        assert_eq!(order(&folder.path().join("away")).expect_err("it is away").exit, Exit::Io);
    }
}
