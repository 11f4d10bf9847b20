//! `sealgate audit verify`: recomputes the hash chain of a journal, offline.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Shared;
use super::outcome::{Exit, Outcome};

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
    /// Recompute the chain of every fact and compare the state tables with it
    Verify {
        /// The journal; may be given more than once. Without it: the journal of the configuration
        #[arg(long, value_name = "FILE")]
        db: Vec<PathBuf>,
    },
}

pub(super) fn run(args: &AuditArgs, _shared: &Shared) -> Outcome {
    let Action::Verify { db } = &args.action;
    let _ = db;
    Err(Exit::Unreachable.failure("this build cannot verify yet"))
}
