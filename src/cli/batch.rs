//! `sealgate batch`: production orders.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::Value;

use super::live::Ask;
use super::outcome::{Exit, Failure, Outcome};
use super::{Journals, Shared, source};
use crate::report::Question;
use crate::wire::order::ORDER_BYTES_MAX;

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
   \"gcp_length\": 7, \"pack\": {\"case\": 10, \"pallet\": 4},
   \"sscc\": {\"extension\": 0, \"prefix\": \"9506000\", \"first\": 1, \"last\": 999},
   \"serials\": [\"A1\", \"A2\"]}         or \"serials_file\": \"serials.txt\", one serial a line, beside the order;
                                   the daemon reads it";

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
    let named = |word, batch: String| source::command(shared, &Ask::new(word).with("batch", batch));
    match args.action {
        Action::Load { file } => {
            source::command(shared, &Ask { word: "batch_load", parts: vec![("order", order(&file)?)] })
        }
        Action::Start { batch } => named("batch_start", batch),
        Action::Stop { batch } => named("batch_stop", batch),
        Action::Close { batch } => named("batch_close", batch),
        Action::List { journals } => source::answer(&journals, shared, &Question::Batches),
        Action::Show { batch, journals } => source::answer(&journals, shared, &Question::Batch(batch)),
    }
}

/// The order as it is written, so that the daemon sees its every fault. Only a relative `serials_file` is made absolute: it lies
/// beside the order, and the daemon, which reads it, stands elsewhere.
fn order(file: &Path) -> Result<String, Failure> {
    let text = read(file)?;
    let order: Value = serde_json::from_str(&text).map_err(|error| {
        Exit::No.failure(format!("{}:{}:{}: is no JSON: {error}", file.display(), error.line(), error.column()))
    })?;
    if !order.is_object() {
        let text =
            format!("{}: is no order: one JSON object is expected (see `sealgate batch --help`)", file.display());
        return Err(Exit::No.failure(text));
    }
    let named = order.get("serials_file").and_then(Value::as_str);
    match named.filter(|named| Path::new(named).is_relative()) {
        Some(named) => with_absolute(file, &text, named),
        None => Ok(text),
    }
}

/// Replaces the text itself: an order that was parsed and written again would have lost a field that stands twice.
fn with_absolute(file: &Path, text: &str, named: &str) -> Result<String, Failure> {
    let beside = file.parent().unwrap_or(Path::new("")).join(named);
    let failed = |what: &str| {
        let shown = beside.display();
        Exit::No.failure(format!("{}: serials_file {shown}: {what}; write its whole path", file.display()))
    };
    let absolute = std::path::absolute(&beside).map_err(|error| failed(&error.to_string()))?;
    let absolute = absolute.to_str().ok_or_else(|| failed("its path is no UTF-8"))?;
    let (old, new) = (Value::from(named).to_string(), Value::from(absolute).to_string());
    if text.matches(&old).count() != 1 {
        return Err(failed("the name stands in the order more than once, or with escapes"));
    }
    Ok(text.replace(&old, &new))
}

fn read(file: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Exit::Io.failure(format!("{}: cannot be read: {error}", file.display()));
    let length = std::fs::metadata(file).map_err(failed)?.len();
    if usize::try_from(length).is_ok_and(|length| length > ORDER_BYTES_MAX) {
        let text = format!(
            "{}: is {length} bytes long; at most {ORDER_BYTES_MAX} are taken: put the serials into a file (`serials_file`)",
            file.display()
        );
        return Err(Exit::No.failure(text));
    }
    std::fs::read_to_string(file).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order_of(text: &str) -> Result<String, Failure> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("order.json");
        std::fs::write(&file, text).expect("the folder is ours");
        order(&file).map(|order| order.replace(folder.path().to_str().expect("UTF-8"), "/FOLDER"))
    }

    #[test]
    fn a_file_of_serials_beside_the_order_is_named_in_full_and_the_rest_is_left_alone() {
        let text = "{\"batch\":\"B1\",\n \"batch\":\"B2\", \"serials_file\": \"s.txt\"}";
        let said = order_of(text).expect("a good order");
        assert_eq!(said, text.replace("s.txt", "/FOLDER/s.txt"));
        let whole = r#"{"serials_file":"/var/s.txt"}"#;
        assert_eq!(order_of(whole).expect("a good order"), whole);
    }

    #[test]
    fn a_malformed_order_says_where() {
        for (text, says) in [
            ("{\n\"batch\": }", ":2:10: is no JSON"),
            ("[]", "is no order"),
            (r#"{"batch":"x","serials_file":"x"}"#, "more than once"),
        ] {
            let failure = order_of(text).expect_err("it is malformed");
            assert_eq!(failure.exit, Exit::No);
            assert!(failure.text.contains(says), "{}", failure.text);
        }
        assert_eq!(order(Path::new("nowhere/order.json")).expect_err("it is away").exit, Exit::Io);
    }
}
