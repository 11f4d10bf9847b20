//! `sealgate feed`: what was published, what waits, and sending it again.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::outcome::Outcome;
use super::{Journals, Shared, source};
use crate::report::Question;

const EXAMPLES: &str = "\
Examples:
  sealgate feed status                    last number, acknowledged number and backlog of each stream
  sealgate feed replay --from 48211       send every fact and message from here again: same ids, same bytes
  sealgate feed replay --from 1 --stream epcis";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct FeedArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Streams, cursors and backlog
    Status {
        #[command(flatten)]
        journals: Journals,
    },
    /// Publish again, to heal a loss downstream
    Replay {
        /// The first sequence number to send again
        #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..))]
        from: u64,
        /// The stream whose numbers are meant
        #[arg(long, value_name = "STREAM", default_value = "fact", value_parser = ["fact", "epcis", "batch"])]
        stream: String,
    },
}

pub(super) fn run(args: FeedArgs, shared: &Shared) -> Outcome {
    match args.action {
        Action::Status { journals } => source::answer(&journals, shared, &Question::Feed),
        Action::Replay { from, stream } => {
            let stream = Value::from(stream).to_string();
            source::command(shared, "feed_replay", &[("stream", &stream), ("from", &from.to_string())])
        }
    }
}
