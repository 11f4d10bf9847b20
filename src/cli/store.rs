//! `sealgate store`: the journal's own care. Each action says what it found in one document, and by its exit code whether that is good.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::outcome::{Exit, Failure, Outcome};
use super::{Shared, print, source};
use crate::store::StoreError;
use crate::store::rebuild::{self, CheckReport};

const EXAMPLES: &str = "\
Examples:
  sealgate store rebuild --check --db line3.db    exit 0: every table follows from the facts; exit 1: each difference is named";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StoreArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make every table anew from the facts and compare it with the file (--check)
    Rebuild {
        /// Compare only; the file is not touched
        #[arg(long)]
        check: bool,
        /// The journal. Without it: the journal of the configuration
        #[arg(long, value_name = "FILE")]
        db: Option<PathBuf>,
        /// Where the second copy is made, which needs as much room as the journal
        #[arg(long, value_name = "DIR")]
        scratch: Option<PathBuf>,
    },
}

pub(super) fn run(args: StoreArgs, shared: &Shared) -> Outcome {
    match args.action {
        Action::Rebuild { check: _, db, scratch } => compare(&file(db, shared)?, scratch, shared),
    }
}

/// The journal that is meant.
fn file(db: Option<PathBuf>, shared: &Shared) -> Result<PathBuf, Failure> {
    match db {
        Some(file) => Ok(file),
        None => Ok(source::config(shared)?.journal),
    }
}

fn failed(error: &StoreError) -> Failure {
    Exit::of_store(error).failure(error.to_string())
}

fn compare(file: &std::path::Path, scratch: Option<PathBuf>, shared: &Shared) -> Outcome {
    let scratch = scratch.unwrap_or_else(std::env::temp_dir);
    let report = rebuild::check(file, &scratch).map_err(|error| failed(&error))?;
    print::value(source::style(shared, None), &comparison(&file.display().to_string(), &report));
    Ok(if report.is_same() { Exit::Done } else { Exit::No })
}

fn comparison(file: &str, report: &CheckReport) -> Value {
    let flaw = report.verified.first_bad.as_ref();
    let differences: Vec<Value> = report
        .differences
        .iter()
        .map(|at| json!({ "table": at.table, "key": at.key, "column": at.column, "is": at.is, "should": at.should }))
        .collect();
    let text = match flaw {
        Some(flaw) => format!("the facts themselves are not whole, and no table was compared: {}", flaw.what),
        None if report.is_same() => "every table but work_* and checkpoint is what the facts say".to_owned(),
        None => "these rows are not what the facts say; keep the file".to_owned(),
    };
    json!({
        "db": file,
        "outcome": if report.is_same() { "same" } else { "different" },
        "facts": report.verified.facts,
        "rows": report.rows,
        "broken_seq": flaw.and_then(|flaw| flaw.seq),
        "difference_count": report.difference_count,
        "differences": differences,
        "text": text,
    })
}
