//! What the line sees of the store: records go in, `Durable` comes back.

use std::collections::BTreeMap;

use crate::wire::record::Record;

/// Where facts go. Two implementations, SQLite and memory, pass one conformance suite.
pub trait Journal {
    /// Takes one group: all of it becomes durable, or none. The group comes back where the one before is not taken yet.
    fn submit(&mut self, records: Vec<Record>, work: Vec<Work>) -> Result<(), Busy>;
}

/// A change of the operational state that is no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// The broker took everything that the facts up to `through` brought: their bodies and their messages. Never falls.
    FeedAcked { through: u64 },
    /// The message can never be delivered, or a person skipped it; the feed goes on without it.
    FeedExcepted { stream: &'static str, seq: u64, cause: String },
    /// The broker took what was excepted, on a later try.
    FeedCleared { stream: &'static str, seq: u64 },
    /// The consumer says that it has everything up to this fact. It may fall: a consumer that was restored has less.
    FeedConfirmed { through: u64 },
    /// The facts of this group are signed with it: a stop, an act that somebody signed.
    Checkpoint,
}

/// How the cause of an exception begins that a person made: such a message may go like one that was taken.
pub const SKIPPED: &str = "skipped";

/// The group that was not taken.
#[derive(Debug, PartialEq, Eq)]
pub struct Busy {
    pub records: Vec<Record>,
    pub work: Vec<Work>,
}

/// Proof that all facts up to `through` are on disk. Only the store can make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durable {
    through: u64,
    streams: BTreeMap<&'static str, u64>,
    commit_us: u64,
}

impl Durable {
    pub(super) fn new(through: u64, streams: BTreeMap<&'static str, u64>, commit_us: u64) -> Self {
        Self { through, streams, commit_us }
    }

    /// The newest durable fact; 0 before the first.
    pub fn through(&self) -> u64 {
        self.through
    }

    /// The highest message number of each stream that this commit added to.
    pub fn streams(&self) -> &BTreeMap<&'static str, u64> {
        &self.streams
    }

    /// How long the transaction took, microseconds.
    pub fn commit_us(&self) -> u64 {
        self.commit_us
    }
}
