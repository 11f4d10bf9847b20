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
  sealgate feed replay --from 1 --stream epcis
  sealgate feed quarantine list           what the broker will not take, and why
  sealgate feed quarantine retry epcis 17 send one of them again, after the broker was mended
  sealgate feed quarantine skip epcis 17 --reason \"delivered by mail\"
  sealgate feed quarantine export --json > quarantine.json";

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
    /// Publish again up to the newest fact, to heal a loss downstream; of events that retention let go, the facts alone
    Replay {
        /// The first sequence number to send again
        #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..))]
        from: u64,
        /// The stream whose numbers are meant
        #[arg(long, value_name = "STREAM", default_value = "fact", value_parser = ["fact", "epcis", "batch"])]
        stream: String,
    },
    /// What the broker will never take as it is
    Quarantine {
        #[command(subcommand)]
        action: Quarantine,
    },
}

#[derive(Debug, Subcommand)]
enum Quarantine {
    /// Every message that the feed goes on without, and why
    List {
        #[command(flatten)]
        journals: Journals,
    },
    /// Send one again; it leaves the quarantine when the broker takes it
    Retry {
        #[command(flatten)]
        message: Message,
    },
    /// Give one up: it was delivered otherwise, or nobody needs it
    Skip {
        #[command(flatten)]
        message: Message,
        /// Why, for the record of the quarantine
        #[arg(long)]
        reason: String,
    },
    /// The messages themselves, to deliver them otherwise
    Export {
        #[command(flatten)]
        journals: Journals,
    },
}

#[derive(Debug, Args)]
struct Message {
    #[arg(value_name = "STREAM", value_parser = ["fact", "epcis", "batch"])]
    stream: String,
    #[arg(value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..))]
    seq: u64,
}

pub(super) fn run(args: FeedArgs, shared: &Shared) -> Outcome {
    match args.action {
        Action::Status { journals } => source::answer(&journals, shared, &Question::Feed),
        Action::Quarantine { action } => quarantine(action, shared),
        Action::Replay { from, stream } => {
            let stream = Value::from(stream).to_string();
            source::command(shared, "feed_replay", &[("stream", &stream), ("from", &from.to_string())])
        }
    }
}

fn quarantine(action: Quarantine, shared: &Shared) -> Outcome {
    match action {
        Quarantine::List { journals } => source::answer(&journals, shared, &Question::Quarantine),
        Quarantine::Export { journals } => source::answer(&journals, shared, &Question::QuarantineExport),
        Quarantine::Retry { message } => send(shared, "feed_retry", &message, None),
        Quarantine::Skip { message, reason } => send(shared, "feed_skip", &message, Some(reason)),
    }
}

fn send(shared: &Shared, word: &str, message: &Message, reason: Option<String>) -> Outcome {
    let (stream, seq) = (Value::from(message.stream.as_str()).to_string(), message.seq.to_string());
    let reason = reason.map(|reason| Value::from(reason).to_string());
    let mut parts = vec![("stream", stream.as_str()), ("seq", seq.as_str())];
    parts.extend(reason.as_deref().map(|reason| ("reason", reason)));
    source::command(shared, word, &parts)
}
