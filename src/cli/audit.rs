//! `sealgate audit verify`: recomputes the hash chain of a journal, offline.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use serde_json::{Value, json};

use super::outcome::{Exit, Failure, Outcome};
use super::print::{self, Style};
use super::{Shared, source};
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
    /// Recompute the chain of every fact, from the first to the head
    Verify {
        /// The journal; may be given more than once. Without it: the journal of the configuration
        #[arg(long, value_name = "FILE")]
        db: Vec<PathBuf>,
    },
}

pub(super) fn run(args: &AuditArgs, shared: &Shared) -> Outcome {
    let Action::Verify { db } = &args.action;
    let journals = if db.is_empty() { vec![source::config(shared)?.journal] } else { db.clone() };
    let mut reports = Vec::new();
    for journal in journals {
        let report = verify::run(&journal).map_err(|error| Failure {
            exit: Exit::Io,
            text: format!("{}: cannot be verified: {error}", journal.display()),
        })?;
        reports.push((journal, report));
    }
    if shared.json {
        let mut documents: Vec<Value> = reports.iter().map(|(journal, report)| document(journal, report)).collect();
        let one = if documents.len() == 1 { documents.pop() } else { None };
        print::value(Style::new(true, 0), &one.unwrap_or(Value::Array(documents)));
    } else {
        reports.iter().for_each(|(journal, report)| print::out(&sentence(journal, report)));
    }
    let is_whole = reports.iter().all(|(_, report)| report.first_bad.is_none());
    Ok(if is_whole { Exit::Done } else { Exit::No })
}

fn document(journal: &Path, report: &VerifyReport) -> Value {
    let bad = report.first_bad.as_ref();
    json!({
        "db": journal.display().to_string(),
        "line": report.line,
        "store_uuid": report.store_uuid,
        "ok": bad.is_none(),
        "facts": report.facts,
        "head_hash": head(report),
        "first_bad": bad.map(|flaw| json!({ "seq": flaw.seq, "what": flaw.what })),
        "outside": OUTSIDE,
    })
}

/// The state of the feed may be changed without a trace.
const OUTSIDE: &str = "tables work_* (the place of the feed) are outside the proof";

fn sentence(journal: &Path, report: &VerifyReport) -> String {
    let (journal, facts) = (journal.display(), report.facts);
    match &report.first_bad {
        None => format!("{journal}: whole: {facts} facts of line {}, head {}; {OUTSIDE}\n", report.line, head(report)),
        Some(flaw) => {
            let place = flaw.seq.map_or_else(|| "outside the facts".to_owned(), |seq| format!("first bad fact {seq}"));
            format!(
                "{journal}: broken: {place}: {}; keep the file, and compare it with the feed and with backups\n",
                flaw.what
            )
        }
    }
}

fn head(report: &VerifyReport) -> String {
    report.head.iter().map(|byte| format!("{byte:02x}")).collect()
}
