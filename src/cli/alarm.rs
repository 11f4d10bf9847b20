//! `sealgate alarm`: what the line waits for, and its acknowledgement.

use clap::{Args, Subcommand};

use super::outcome::Outcome;
use super::{Journals, Shared, source};
use crate::report::Question;

const EXAMPLES: &str = "\
Examples:
  sealgate alarm list                     what the line waits for
  sealgate alarm ack 12                   acknowledge one, after looking at the machine
  sealgate alarm list --db line3.db       from a journal, without a daemon";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct AlarmArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Every alarm that is not acknowledged
    List {
        #[command(flatten)]
        journals: Journals,
    },
    /// Acknowledge one alarm by its number
    Ack { alarm: u32 },
}

pub(super) fn run(args: AlarmArgs, shared: &Shared) -> Outcome {
    match args.action {
        Action::List { journals } => source::answer(&journals, shared, &Question::Alarms),
        Action::Ack { alarm } => source::command(shared, "alarm_ack", &[("alarm", &alarm.to_string())]),
    }
}
