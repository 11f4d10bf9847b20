//! `sealgate status`: the line now.

use clap::Args;

use super::outcome::Outcome;
use super::{Journals, Shared, source};
use crate::report::Question;

const EXAMPLES: &str = "\
Examples:
  sealgate status                         devices, batch, counts, alarms, backlog
  sealgate status --json                  the same for a script
  sealgate status --db line3.db           what a journal says, without a daemon";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    journals: Journals,
}

pub(super) fn run(args: &StatusArgs, shared: &Shared) -> Outcome {
    source::answer(&args.journals, shared, &Question::Status)
}
