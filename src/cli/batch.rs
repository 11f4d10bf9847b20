//! `sealgate batch`: production orders.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::outcome::{Exit, Failure, Outcome};
use super::{Journals, Shared, print, source};
use crate::report::Question;
use crate::wire::command::ClientAnswer;
use crate::wire::order::{ORDER_BYTES_MAX, OrderDraft, Problem};

const EXAMPLES: &str = "\
Examples:
  sealgate batch load order.json          validate an order and load it; nothing is loaded of a bad one
  sealgate batch start B-2026-117         the operator can start the line
  sealgate batch purge B-2026-117         nothing more is printed, and the line runs empty; then the batch is stopped
  sealgate batch stop B-2026-117          at once, with what is on the belt; a purge later clears it
  sealgate batch hold B-2026-117 --reason \"smell of solvent\"
  sealgate batch close B-2026-117         only where every serial is accounted for
  sealgate batch list --json              every batch of this line
  sealgate batch show B-2026-117 --db line3.db

An order is one JSON file (`sealgate schema _order`):
  {\"batch\": \"B-2026-117\", \"gtin\": \"09506000134352\", \"lot\": \"L7\", \"expiry\": \"2027-03-31\", \"gcp_length\": 7,
   \"pack\": {\"case\": 10, \"pallet\": 4},
   \"sscc\": {\"extension\": 0, \"prefix\": \"9506000\", \"first\": 1, \"last\": 999},
   \"serials_file\": \"serials.txt\"}
with one serial a line in serials.txt beside it, or \"serials\": [\"A1\", \"A2\"] in its place.";

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
    /// Stop printing and the belt at once; the batch can be started again, purged or closed
    Stop { batch: String },
    /// Print nothing more and let the line run empty; the batch is stopped then
    Purge { batch: String },
    /// Keep the belt standing until the batch is resumed; the printer keeps its buffer
    Hold {
        batch: String,
        #[arg(long, value_parser = source::reason)]
        reason: String,
    },
    /// Go on with a batch that is held
    Resume {
        batch: String,
        #[arg(long, value_parser = source::reason)]
        reason: Option<String>,
    },
    /// End a batch for ever as it is; its serials are not used again
    Abort {
        batch: String,
        #[arg(long, value_parser = source::reason)]
        reason: String,
    },
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
    let named = |word: &str, batch: &str| source::command(shared, word, &[("batch", &quoted(batch))]);
    let because = |word: &str, batch: &str, reason: &str| {
        source::command(shared, word, &[("batch", &quoted(batch)), ("reason", &quoted(reason))])
    };
    match args.action {
        Action::Load { file } => load(&file, shared),
        Action::Start { batch } => named("batch_start", &batch),
        Action::Stop { batch } => named("batch_stop", &batch),
        Action::Purge { batch } => named("batch_purge", &batch),
        Action::Hold { batch, reason } => because("batch_hold", &batch, &reason),
        Action::Resume { batch, reason: Some(reason) } => because("batch_resume", &batch, &reason),
        Action::Resume { batch, reason: None } => named("batch_resume", &batch),
        Action::Abort { batch, reason } => because("batch_abort", &batch, &reason),
        Action::Close { batch } => named("batch_close", &batch),
        Action::List { journals } => source::answer(&journals, shared, &Question::Batches),
        Action::Show { batch, journals } => source::answer(&journals, shared, &Question::Batch(batch)),
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// An order is checked here first, so that its problems are shown without a daemon, and there again.
fn load(file: &Path, shared: &Shared) -> Outcome {
    match order(file)? {
        Ok(order) => source::command(shared, "batch_load", &[("order", &order)]),
        Err(problems) => {
            let answer = ClientAnswer::problems(0, &problems);
            if shared.json {
                print::out(&answer.to_line());
                return Ok(Exit::No);
            }
            let lines: Vec<String> = answer.reasons.iter().map(source::sentence).collect();
            Err(Exit::No.failure(format!("{}: nothing was loaded{}", file.display(), lines.concat())))
        }
    }
}

/// The order as the daemon takes it: its serials inside, since the daemon may not read this person's files; a file that is too
/// large for that is named by its full path.
fn order(file: &Path) -> Result<Result<String, Vec<Problem>>, Failure> {
    let text = read(file)?;
    let draft = match OrderDraft::parse(&text) {
        Ok(draft) => draft,
        Err(problems) => return Ok(Err(problems)),
    };
    let beside = draft.serials_file().map(|named| file.parent().unwrap_or(Path::new("")).join(named));
    let content = beside.as_deref().map(read).transpose()?;
    let order = match draft.finish(content.as_deref()) {
        Ok(order) => order,
        Err(problems) => return Ok(Err(problems)),
    };
    let mut fields: Map<String, Value> =
        serde_json::from_slice(&text).map_err(|error| Exit::Io.failure(format!("{}: {error}", file.display())))?;
    if let Some(path) = beside {
        let serials: Vec<Value> = order.serials.iter().map(|serial| Value::from(serial.as_str())).collect();
        let inside = content.map_or(0, |content| content.len()) + serials.len() * QUOTES + text.len() < ORDER_BYTES_MAX;
        fields.remove("serials_file");
        if inside {
            fields.insert("serials".to_owned(), Value::Array(serials));
        } else {
            let full = std::path::absolute(&path).unwrap_or(path);
            fields.insert("serials_file".to_owned(), Value::from(full.display().to_string()));
        }
    }
    Ok(Ok(Value::Object(fields).to_string()))
}

/// What JSON adds to a serial at most: quotes, a comma, an escape.
const QUOTES: usize = 4;

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Exit::Io.failure(format!("{}: cannot be read: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &str = r#"{"batch":"B7","gtin":"09506000134352","lot":"L7","expiry":"2027-03-31","gcp_length":7,
        "pack":{"case":2,"pallet":2},"sscc":{"extension":0,"prefix":"9506000","first":1,"last":9},"serials_file":"s.txt"}"#;

    #[test]
    fn a_file_of_serials_takes_its_place_in_the_order() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("s.txt"), "'OR'1'='1'--\na+b/c\n007\n").expect("ours");
        let file = folder.path().join("order.json");
        std::fs::write(&file, ORDER).expect("ours");
        let text = order(&file).expect("readable").expect("a good order");
        let order: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(order["serials"], serde_json::json!(["'OR'1'='1'--", "a+b/c", "007"]));
        assert_eq!(order.get("serials_file"), None);
        let again =
            OrderDraft::parse(text.as_bytes()).and_then(|draft| draft.finish(None)).expect("the daemon takes it");
        assert_eq!(again.serials.len(), 3);
    }

    #[test]
    fn every_problem_of_an_order_is_found_before_anything_is_sent() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("s.txt"), "A1\nA1\n").expect("ours");
        let file = folder.path().join("order.json");
        std::fs::write(&file, ORDER.replace("134352", "134353").replace("2027-03-31", "soon")).expect("ours");
        let problems = order(&file).expect("readable").expect_err("it is bad");
        assert!(problems.len() >= 3, "{problems:?}");
        std::fs::write(&file, "{").expect("ours");
        assert!(order(&file).expect("readable").is_err());
        assert_eq!(order(&folder.path().join("away")).expect_err("it is away").exit, Exit::Io);
    }
}
