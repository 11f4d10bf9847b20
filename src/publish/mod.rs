//! The feed: what the store holds, brought to an MQTT 5 broker; and the commands that come back.
//!
//! Contract: every fact and every message that it caused is published at least once, in order within a connection, under one
//! id and with identical bytes on every try. The store is the authority: messages are read from it, and the place of the feed
//! is reported to it (through the inbox, by whoever gave the [`AckSink`]) only after the broker's acknowledgement. What the
//! client library believes about sessions and retransmission is never relied on: each TCP connection is a fresh client.
//!
//! An acknowledgement is not delivery. A consumer that lost something asks for a replay (`_cmd/feed/replay`), which sends the
//! same ids and bytes again with the property `replay` = `true`; one that reports how far it has everything
//! (`_cmd/feed/watermark`) makes a loss visible.
//!
//! A message that the broker can never take as it is goes to the quarantine, with a [`Problem`], and the feed goes on. There is
//! room for [`QUARANTINE_MAX`]; beyond it, and where nothing at all is taken, the feed waits and tries again slowly.
//!
//! Not here: the bytes of payloads (`wire`), the cursor's table (`store`), the decision what a command does (the sink's owner).

mod calm;
mod command;
mod ending;
mod greet;
mod judging;
mod lane;
mod link;
mod orders;
mod pump;
mod sending;
mod senses;
pub mod subscriber;
#[cfg(test)]
pub(crate) mod tests;
mod throttle;
mod window;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

pub use greet::greet;
pub use link::{Link, Pace};

/// Facts, at most, that are read from the store at once, each with all of its messages.
pub const PAGE_FACTS: usize = 256;

/// Messages that may lie in quarantine; one more stays first in line.
pub const QUARANTINE_MAX: u64 = 1000;

/// Where the broker is, who we are there, and how much may be unacknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub host: String,
    pub port: u16,
    /// The feed's client id; the command session appends `-cmd`.
    pub client_id: String,
    pub username: Option<String>,
    pub password: Option<String>,
    /// At least 5; a dead link is noticed within twice this time.
    pub keep_alive_s: u16,
    /// The ISA-95 path of the line, without a slash at the end.
    pub prefix: String,
    /// Unacknowledged messages at most; a smaller Receive Maximum of the broker wins. 20 unless there is a reason.
    pub window: u16,
    /// Messages of the live feed and of a replay, each, in a second at most; 0 is no limit.
    pub drain_per_s: u32,
    pub pace: Pace,
}

impl Settings {
    fn link(&self, suffix: &str) -> Link {
        Link {
            host: self.host.clone(),
            port: self.port,
            client_id: format!("{}{suffix}", self.client_id),
            username: self.username.clone(),
            password: self.password.clone(),
            keep_alive_s: self.keep_alive_s,
        }
    }
}

/// One message of the feed as the store holds it. The property `replay` is set here,
/// whatever `properties` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// `fact`, `epcis` or `batch`.
    pub stream: &'static str,
    /// Dense within the stream.
    pub seq: u64,
    /// The fact that caused it; its own sequence number for the stream `fact`.
    pub fact_seq: u64,
    /// Below the prefix, for example `_epcis/commissioning`.
    pub topic: String,
    pub payload: Vec<u8>,
    pub properties: Vec<(String, String)>,
}

/// Reads what follows fact `after`: at most `limit` facts in order, each whole, its own message first and then those that it
/// caused. Runs on a blocking thread. An error is told as a [`Problem`] and tried again after a second.
pub type ReadFeed = Box<dyn FnMut(u64, usize) -> Result<Vec<Outgoing>, String> + Send>;

/// The feed's progress, at most every 50 ms or 100 messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedAck {
    /// All messages of all facts up to this one are acknowledged.
    pub through_fact_seq: u64,
    /// Messages acknowledged since the last report that was taken, replays not counted.
    pub messages: u64,
}

/// Takes progress to the store; `false` when there is no room now, and it is offered again.
pub type AckSink = Arc<dyn Fn(FeedAck) -> bool + Send + Sync>;

/// What the store is to note beside the feed's place; in the order in which it is told, and before the place moves past it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The broker will never take this one.
    Excepted { stream: &'static str, seq: u64, cause: String },
    /// It took an excepted one after all.
    Cleared { stream: &'static str, seq: u64 },
    /// The consumer has everything up to this fact.
    Confirmed { through: u64 },
}

/// Takes a note to the store; `false` when there is no room now, and it is offered again.
pub type NoteSink = Arc<dyn Fn(Note) -> bool + Send + Sync>;

/// What a person must know of; told once per occurrence, while the pump goes on trying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The broker refused the same message three times. It stays first in line.
    MessageRefused { topic: String, fact_seq: u64, reason: String },
    /// The same message was first in line when three connections in a row broke.
    MessageStuck { fact_seq: u64, cause: String },
    /// The broker does not let us in.
    LinkRefused { reason: String },
    /// Another client connects under our id.
    TakenOver,
    /// The broker closes connections on which nothing happens, again and again.
    HungUp { times: u32 },
    /// The store could not be read.
    Unreadable { cause: String },
    /// A message went to the quarantine.
    Quarantined { stream: &'static str, seq: u64, topic: String, cause: String },
    /// Everything of a while was taken without anybody who is subscribed to it.
    Unheard { fact_seq: u64 },
    /// The consumer's watermark stays behind.
    Unconfirmed { confirmed: u64, acked: u64 },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MessageRefused { topic, fact_seq, reason } => {
                write!(f, "the broker refuses {topic} of fact {fact_seq} ({reason}): check its rights and limits")
            }
            Self::MessageStuck { fact_seq, cause } => {
                write!(f, "the feed does not get past fact {fact_seq} ({cause}): check the broker's packet limits")
            }
            Self::LinkRefused { reason } => {
                write!(f, "the broker refuses the connection ({reason}): check user and rights")
            }
            Self::TakenOver => f.write_str("another client uses our MQTT client id: give each line its own"),
            Self::HungUp { times } => {
                write!(
                    f,
                    "the broker closed {times} idle connections in a row: most likely another client uses our MQTT client id"
                )
            }
            Self::Unreadable { cause } => write!(f, "the feed cannot be read from the store: {cause}"),
            Self::Quarantined { stream, seq, topic, cause } => {
                write!(f, "{stream} {seq} ({topic}): {cause}; see `sealgate feed quarantine list`")
            }
            Self::Unheard { fact_seq } => {
                write!(
                    f,
                    "nobody is subscribed since fact {fact_seq}: start the consumer, then `sealgate feed replay --from {fact_seq}`"
                )
            }
            Self::Unconfirmed { confirmed, acked } => {
                let from = confirmed.saturating_add(1);
                write!(
                    f,
                    "the consumer has facts up to {confirmed}, the broker took {acked}: `sealgate feed replay --from {from}`"
                )
            }
        }
    }
}

pub type ProblemSink = Arc<dyn Fn(Problem) + Send + Sync>;

/// Retained current values: topic below the prefix (`_state/batch`) and payload. The one of `_checkpoint` goes out once more
/// below its own number, not retained, for those who collect them.
pub type StateTopics = Arc<Vec<(String, Vec<u8>)>>;

/// Makes the payload of `_status` while connected.
pub type BirthBody = Box<dyn Fn(&FeedStatus) -> Vec<u8> + Send>;

/// What arrived below `_cmd/`, checked for size, retain flag and shape of its topics, and no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What follows `_cmd/`, for example `batch/load`.
    pub name: String,
    pub payload: Vec<u8>,
    pub response_topic: Option<String>,
    pub correlation: Option<Vec<u8>>,
}

/// Takes a command, or says why not, which the sender is told.
pub type CommandSink = Arc<dyn Fn(Command) -> Reception + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reception {
    Taken,
    Busy,
    /// No command of that name.
    Unknown,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub response_topic: String,
    pub correlation: Option<Vec<u8>>,
    pub payload: Vec<u8>,
}

/// Where the feed stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedStatus {
    pub is_connected: bool,
    /// The newest durable fact.
    pub head: u64,
    /// Every message up to this fact is acknowledged.
    pub acked_fact_seq: u64,
    /// Acknowledged since the start of the process, replays not counted.
    pub messages_acked: u64,
    /// Taken by the broker while nobody was subscribed: not counted as acknowledged, and for a replay to bring.
    pub messages_unheard: u64,
    /// In quarantine, as far as this process knows.
    pub quarantined: u64,
    /// How far the consumer says that it has everything.
    pub confirmed: Option<u64>,
    pub messages_replayed: u64,
    /// Highest sequence number acknowledged since the start of the process; 0 when none.
    pub last_epcis_seq: u64,
    pub last_batch_seq: u64,
    /// The newest checkpoint that the broker took since the start of the process; 0 when none.
    pub checkpoint_seq: u64,
    /// The replay that runs: next fact and last fact.
    pub replay: Option<(u64, u64)>,
    /// Why the last connection ended; empty while there was no such end.
    pub last_end: String,
}

impl FeedStatus {
    /// Facts that are durable and not yet acknowledged.
    pub fn backlog(&self) -> u64 {
        self.head.saturating_sub(self.acked_fact_seq)
    }
}

/// Why a replay was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayRefusal {
    Running,
    OutOfRange { head: u64 },
    Stopped,
}

impl fmt::Display for ReplayRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("another replay is running: ask again when it has ended"),
            Self::OutOfRange { head } => {
                write!(f, "the number must lie between 1 and {}: the newest fact is {head}", head.saturating_add(1))
            }
            Self::Stopped => f.write_str("the publisher is stopping or does not respond: ask again"),
        }
    }
}

/// Why a message of the quarantine did not leave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetryRefusal {
    Running,
    /// The journal does not hold it any more.
    Gone,
    Refused {
        reason: String,
    },
    Away,
}

impl fmt::Display for RetryRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("another retry is running: ask again when it has ended"),
            Self::Gone => f.write_str("the journal does not hold this message"),
            Self::Refused { reason } => write!(f, "the broker refuses it again ({reason}): it stays in quarantine"),
            Self::Away => f.write_str("the broker is away: ask again when `sealgate feed status` says connected"),
        }
    }
}

/// One message of the quarantine: its own number, and the fact that caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageKey {
    pub stream: &'static str,
    pub seq: u64,
    pub fact_seq: u64,
}

/// What others ask of the pump.
#[derive(Debug)]
enum Order {
    Replay {
        from: u64,
        reply: oneshot::Sender<Result<u64, ReplayRefusal>>,
    },
    Retry {
        key: MessageKey,
        reply: oneshot::Sender<Result<(), RetryRefusal>>,
    },
    /// A person gave it up; it is noted already.
    Skipped,
    Confirm {
        through: u64,
        reply: oneshot::Sender<Result<(), ReplayRefusal>>,
    },
}

/// Speaks to the publisher that runs.
#[derive(Clone, Debug)]
pub struct PublishHandle {
    orders: mpsc::Sender<Order>,
    answers: mpsc::Sender<subscriber::Post>,
    status: watch::Receiver<FeedStatus>,
    /// The newest durable fact, also while the publisher waits for a silent broker.
    head: watch::Receiver<u64>,
}

const REPLY_WITHIN: Duration = Duration::from_secs(5);

impl PublishHandle {
    /// Sends facts `from` .. with their messages again. Returns the last fact of the replay.
    pub async fn replay(&self, from: u64) -> Result<u64, ReplayRefusal> {
        let (reply, answer) = oneshot::channel();
        self.orders.try_send(Order::Replay { from, reply }).map_err(|_| ReplayRefusal::Stopped)?;
        answered(answer).await.unwrap_or(Err(ReplayRefusal::Stopped))
    }

    /// Sends one message of the quarantine again; what the broker says to it.
    pub async fn retry(&self, key: MessageKey) -> Result<(), RetryRefusal> {
        let (reply, answer) = oneshot::channel();
        self.orders.try_send(Order::Retry { key, reply }).map_err(|_| RetryRefusal::Away)?;
        answered(answer).await.unwrap_or(Err(RetryRefusal::Away))
    }

    /// A person gave up a message of the quarantine: there is room for another.
    pub fn skipped(&self) {
        if self.orders.try_send(Order::Skipped).is_err() {
            tracing::debug!("the count of the quarantine is right again after the next start");
        }
    }

    /// The consumer has every fact up to this one, and all that they caused.
    pub async fn confirm(&self, through: u64) -> Result<(), ReplayRefusal> {
        let (reply, answer) = oneshot::channel();
        self.orders.try_send(Order::Confirm { through, reply }).map_err(|_| ReplayRefusal::Stopped)?;
        answered(answer).await.unwrap_or(Err(ReplayRefusal::Stopped))
    }

    /// `false` when too many answers wait; the sender of the command asks again under the same id.
    pub fn answer(&self, answer: Answer) -> bool {
        self.answers.try_send(command::post_of(answer)).is_ok()
    }

    pub fn status(&self) -> FeedStatus {
        FeedStatus { head: *self.head.borrow(), ..self.status.borrow().clone() }
    }

    pub fn watch(&self) -> watch::Receiver<FeedStatus> {
        self.status.clone()
    }
}

async fn answered<T>(answer: oneshot::Receiver<T>) -> Option<T> {
    tokio::time::timeout(REPLY_WITHIN, answer).await.ok()?.ok()
}

/// All that the publisher takes from outside.
pub struct Inputs {
    /// The newest durable fact.
    pub head: watch::Receiver<u64>,
    pub state: watch::Receiver<StateTopics>,
    /// `true` ends the publisher: what is left is sent for at most two seconds, then `_status` says offline.
    pub stop: watch::Receiver<bool>,
    /// The feed's place in the store at the start.
    pub acked_fact_seq: u64,
    /// How many messages lie in quarantine at the start.
    pub quarantined: u64,
    /// The consumer's watermark at the start, where it ever reported one.
    pub confirmed: Option<u64>,
    pub read: ReadFeed,
    pub ack: AckSink,
    pub note: NoteSink,
    pub problem: ProblemSink,
    pub birth: BirthBody,
    /// The payload of `_status` as will and at a clean stop.
    pub offline: Vec<u8>,
    pub command: CommandSink,
    pub recalled: RecallSink,
}

/// What the broker has kept of this line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recalled {
    /// The subscription stands: whatever is retained follows at once.
    Subscribed,
    /// The retained payload of `_checkpoint`.
    Checkpoint(Vec<u8>),
}

/// Hears what the broker has kept. It must not block.
pub type RecallSink = Arc<dyn Fn(Recalled) + Send + Sync>;

/// The pump and the command session, not yet running.
pub struct Publisher {
    pump: pump::Pump,
    commands: command::Session,
    stop: watch::Receiver<bool>,
}

/// Sets up both sessions; nothing happens until [`Publisher::run`].
pub fn open(settings: Settings, inputs: Inputs) -> (PublishHandle, Publisher) {
    let (orders, orders_in) = mpsc::channel(4);
    let (answers, posts) = mpsc::channel(64);
    let first = FeedStatus { acked_fact_seq: inputs.acked_fact_seq, ..FeedStatus::default() };
    let (status_sender, status) = watch::channel(first);
    let handle = PublishHandle { orders, answers, status, head: inputs.head.clone() };
    let commands = command::Session::new(
        &settings,
        handle.clone(),
        (Arc::clone(&inputs.command), Arc::clone(&inputs.recalled)),
        posts,
    );
    let stop = inputs.stop.clone();
    let pump = pump::Pump::new(settings, inputs, orders_in, status_sender);
    (handle, Publisher { pump, commands, stop })
}

impl Publisher {
    /// From now on the feed's place moves with every message that is sent: a fault of our own.
    #[cfg(feature = "canary")]
    pub fn acknowledge_unasked(&mut self) {
        self.pump.is_unasked = true;
    }

    /// Runs until `stop` is true and the last messages are out or two seconds have passed.
    pub async fn run(self) {
        let Self { pump, commands, mut stop } = self;
        let commands = async {
            tokio::select! {
                () = commands.run() => {}
                () = stopped(&mut stop) => {}
            }
        };
        tokio::join!(pump.run(), commands);
    }
}

/// Ends when the flag is true; a sender that is gone never asks us to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}
