//! `sealgate audit verify`: recomputes the hash chain of a journal, offline.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::outcome::{Exit, Outcome};
use super::{Shared, print, source};
use crate::store::verify::{self, VerifyReport};

const EXAMPLES: &str = "\
Examples:
  sealgate audit verify --db line3.db     exit 0: whole; exit 1: broken, and the first broken fact is named
  sealgate audit verify --db a.db --db b.db --json";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Recompute the chain of every fact; the tables derived from the facts are not compared with them
    Verify {
        /// The journal; may be given more than once. Without it: the journal of the configuration
        #[arg(long, value_name = "FILE")]
        db: Vec<PathBuf>,
    },
}

pub(super) fn run(args: &AuditArgs, shared: &Shared) -> Outcome {
    let Action::Verify { db } = &args.action;
    let files = if db.is_empty() { vec![source::config(shared)?.journal] } else { db.clone() };
    let mut documents = Vec::new();
    let mut whole = true;
    for file in &files {
        let report = verify::run(file)
            .map_err(|error| Exit::of_store(&error).failure(format!("{}: {error}", file.display())))?;
        whole &= report.first_bad.is_none();
        documents.push(document(&file.display().to_string(), &report));
    }
    if shared.json && documents.len() > 1 {
        print::value(source::style(shared, None), &Value::Array(documents));
    } else {
        documents.iter().for_each(|document| print::value(source::style(shared, None), document));
    }
    Ok(if whole { Exit::Done } else { Exit::No })
}

fn document(file: &str, report: &VerifyReport) -> Value {
    let head: String = report.head.iter().map(|byte| format!("{byte:02x}")).collect();
    let flaw = report.first_bad.as_ref();
    json!({
        "db": file,
        "line": report.line,
        "store_uuid": report.store_uuid,
        "outcome": if flaw.is_none() { "whole" } else { "broken" },
        "facts": report.facts,
        "head_hash": head,
        "broken_seq": flaw.and_then(|flaw| flaw.seq),
        "text": flaw.map_or("every fact up to head_hash is as it was written; the tables derived from the facts are outside the proof", |flaw| &flaw.what),
    })
}
