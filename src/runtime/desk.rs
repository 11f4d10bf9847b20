//! The desk behind the local socket and the HTTP door: takes requests, lets the store say what it knows against them, puts them to the line, and
//! answers. Questions are answered from the journal and the newest snapshot.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::config::Config;
use crate::domain::text::{BatchId, Name};
use crate::engine::fact::MessageNumber;
use crate::engine::input::{Actor, Asker, Order, Request};
use crate::engine::output::{Answer, Done, Refused};
use crate::engine::people::PeopleRequest;
use crate::engine::reason::{BatchState, RequestRefusal};
use crate::engine::rights::Action;
use crate::line::{Arrival, Inbound};
use crate::publish::{MessageKey, PublishHandle};
use crate::report::{self, Question, ReportError};
use crate::runtime::codes;
use crate::runtime::control::ClientRequest as Line;
use crate::runtime::journal;
use crate::runtime::passwords::{Looked, Looks};
use crate::runtime::reopen;
use crate::runtime::snapshot::Snapshot;
use crate::runtime::spine::Item;
use crate::runtime::tap::Tapped;
use crate::store::feed::FeedException;
use crate::store::{Reader, SKIPPED, StoreError, Work};
use crate::web::Asked;
use crate::wire::command::{ClientAnswer, ClientRequest, Command, Look, Reason};
use crate::wire::order::OrderDraft;
use crate::wire::topic;

/// An order with a million serials is on disk by then, or the asker hears that it is not known yet.
const ANSWER_MAX: Duration = Duration::from_secs(110);

pub(super) struct Desk {
    pub(super) config: Arc<Config>,
    pub(super) inbox: Sender<Item>,
    pub(super) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(super) feed: Option<PublishHandle>,
    pub(super) tapped: Tapped,
    pub(super) looks: Looks,
    /// Where the HTTP door is open.
    pub(super) http: Option<SocketAddr>,
}

/// The way back to who asked.
enum Way {
    Line(oneshot::Sender<String>),
    Http(oneshot::Sender<ClientAnswer>),
}

impl Way {
    /// Who left before the answer came needs none.
    fn give(self, answer: ClientAnswer) {
        match self {
            Way::Line(to) => drop(to.send(answer.to_line())),
            Way::Http(to) => drop(to.send(answer)),
        }
    }
}

/// What became of a line so far.
enum Taken {
    Answered(Box<ClientAnswer>),
    /// A password is to be looked at first, beside everything else.
    Looked(LookOf),
}

/// A look at a password, and whose request it is.
type LookOf = Pin<Box<dyn Future<Output = (u64, Asker, Result<Looked, Reason>)> + Send>>;

impl Desk {
    /// One request after the other: what the store said of an order still holds when the line decides on it.
    /// Only looks at passwords go on beside it, since they take long.
    /// The two doors have a queue each, and take turns: none keeps the other out.
    pub(super) async fn run(mut self, mut lines: mpsc::Receiver<Line>, mut remote: mpsc::Receiver<Asked>) {
        let mut looks = JoinSet::new();
        loop {
            let (request, to) = tokio::select! {
                line = lines.recv() => {
                    let Some(Line { line, answer, .. }) = line else { return };
                    (ClientRequest::parse(line.as_bytes()), Way::Line(answer))
                }
                Some(Asked { request, answer }) = remote.recv() => (Ok(request), Way::Http(answer)),
                Some(looked) = looks.join_next(), if !looks.is_empty() => {
                    // A look that did not come to its end drops the way to its asker, who is told so.
                    if let Ok((to, (id, asker, looked))) = looked {
                        Way::give(to, self.settle(id, asker, looked).await);
                    }
                    continue;
                }
            };
            match self.take(request).await {
                Taken::Answered(answer) => to.give(*answer),
                Taken::Looked(look) => drop(looks.spawn(async move { (to, look.await) })),
            }
        }
    }

    async fn take(&mut self, request: Result<ClientRequest, Box<ClientAnswer>>) -> Taken {
        let request = match request {
            Ok(request) => request,
            Err(refusal) => return Taken::Answered(refusal),
        };
        let ClientRequest { id, asker, command } = request;
        let Command::Password(command) = command else {
            return Taken::Answered(Box::new(self.answer(id, asker, command).await));
        };
        match self.looks.look(command) {
            Some(look) => Taken::Looked(Box::pin(async move { (id, asker, look.await) })),
            None => Taken::Answered(Box::new(refusal(id, "busy", "too many log in at once; try again".to_owned()))),
        }
    }

    /// What a look at a password leads to.
    async fn settle(&self, id: u64, asker: Asker, looked: Result<Looked, Reason>) -> ClientAnswer {
        let Looked { request, told } = match looked {
            Ok(looked) => looked,
            Err(reason) => return ClientAnswer::refusal(id, vec![reason]),
        };
        let is_first = matches!(request, PeopleRequest::AddFirst(_));
        let answer = self.ask(id, asker, Request::People(Box::new(request))).await;
        if answer.ok && is_first {
            codes::offer_code(&self.config.journal, false);
        }
        match told.filter(|_| answer.ok) {
            Some(mut told) => {
                if let (Some(told), Some(Value::Object(said))) = (told.as_object_mut(), answer.data) {
                    told.extend(said);
                }
                ClientAnswer::data(id, told)
            }
            None => answer,
        }
    }

    async fn answer(&mut self, id: u64, asker: Asker, command: Command) -> ClientAnswer {
        let needed = match &command {
            Command::Load(_) => Some(Action::LoadBatch),
            Command::Reopen(..) => Some(Action::ReopenBatch),
            Command::FeedReplay { .. } => Some(Action::ReplayFeed),
            Command::FeedRetry { .. } | Command::FeedSkip { .. } => Some(Action::SettleQuarantine),
            Command::Ask(_)
            | Command::Password(_)
            | Command::Status
            | Command::FeedStatus
            | Command::Tap { .. }
            | Command::Look(_) => None,
        };
        let actor = match needed {
            Some(action) => match self.permitted(id, asker, action).await {
                Ok(actor) => actor,
                Err(refusal) => return *refusal,
            },
            None => Actor::default(),
        };
        match command {
            Command::Load(draft) => self.load(id, asker, *draft).await,
            Command::Reopen(batch, reason) => self.reopen(id, asker, batch, reason).await,
            Command::Ask(request) => self.ask(id, asker, request).await,
            Command::Password(_) => refusal(id, "internal", "a password was not looked at".to_owned()),
            Command::Status => ClientAnswer::data(id, self.status()),
            Command::FeedStatus => self.feed(id).await,
            Command::Tap { after, device } => self.tap(id, after, device.as_deref()),
            Command::Look(look) => self.look(id, question(look)).await,
            Command::FeedReplay { stream, from } => self.replay(id, stream, from).await,
            Command::FeedRetry { stream, seq } => self.retry(id, stream, seq).await,
            Command::FeedSkip { stream, seq, reason } => self.skip(id, (asker, actor), (stream, seq), reason).await,
        }
    }

    fn tap(&mut self, id: u64, after: Option<u64>, device: Option<&str>) -> ClientAnswer {
        let known: Vec<&str> = self.config.devices.iter().map(|device| device.name.as_str()).collect();
        match device.filter(|device| !known.contains(device)) {
            Some(unknown) => refusal(
                id,
                "unknown_device",
                format!("{unknown} is no device of this line; there are: {}", known.join(", ")),
            ),
            None => ClientAnswer::data(id, self.tapped.answer(&self.config, after, device)),
        }
    }

    /// The name of who asks, where the line allows this to be done; what is done is no fact.
    async fn permitted(&self, id: u64, asker: Asker, action: Action) -> Result<Actor, Box<ClientAnswer>> {
        let answer = self.put(id, asker, Request::Permission(action)).await?;
        match answer.outcome {
            Ok(Done::Permitted(actor)) => Ok(actor),
            Ok(Done::Changed | Done::Already | Done::Prepared(_)) | Err(_) => {
                Err(Box::new(ClientAnswer::of(id, &answer)))
            }
        }
    }

    async fn load(&self, id: u64, asker: Asker, draft: OrderDraft) -> ClientAnswer {
        let path = self.config.journal.clone();
        let checked = tokio::task::spawn_blocking(move || check(&path, draft)).await;
        match checked {
            Ok(Ok(order)) => self.ask(id, asker, Request::LoadBatch(Arc::new(order))).await,
            Ok(Err(Unfit::Order(problems))) => ClientAnswer::problems(id, &problems),
            Ok(Err(Unfit::Used(reasons))) => ClientAnswer::refused(id, &Refused::because(reasons)),
            Ok(Err(Unfit::File(what))) => refusal(id, "serials_file", what),
            Ok(Err(Unfit::Store(error))) => refusal(id, "journal", error.to_string()),
            Err(error) => refusal(id, "internal", error.to_string()),
        }
    }

    async fn ask(&self, id: u64, asker: Asker, request: Request) -> ClientAnswer {
        let ending = if let Request::CloseBatch(batch) = &request {
            Some((*batch, BatchState::Closed))
        } else if let Request::AbortBatch { batch, .. } = &request {
            Some((*batch, BatchState::Aborted))
        } else {
            None
        };
        match self.put(id, asker, request).await {
            Ok(answer) if ending.is_some() => self.ended_before(id, ending, answer).await,
            Ok(answer) => ClientAnswer::of(id, &answer),
            Err(refusal) => *refusal,
        }
    }

    async fn reopen(&self, id: u64, asker: Asker, batch: BatchId, reason: String) -> ClientAnswer {
        let path = self.config.journal.clone();
        match tokio::task::spawn_blocking(move || reopen::fold(&path, batch, reason)).await {
            Ok(Ok(Ok(reopening))) => self.ask(id, asker, Request::ReopenBatch(Box::new(reopening))).await,
            Ok(Ok(Err(refused))) => ClientAnswer::refusal(id, vec![Reason::from(&refused)]),
            Ok(Err(error)) => refusal(id, "journal", format!("the batch cannot be read again: {error}")),
            Err(error) => refusal(id, "internal", error.to_string()),
        }
    }

    /// Puts a request to the line, and waits until what it decided is on disk.
    async fn put(&self, id: u64, asker: Asker, request: Request) -> Result<Answer, Box<ClientAnswer>> {
        let refuse = |code, text: &str| Err(Box::new(refusal(id, code, text.to_owned())));
        let (sender, answer) = oneshot::channel::<Answer>();
        if self.inbox.try_send(Item::Ask(asker, request, sender)).is_err() {
            return refuse("busy", "the line is busy; ask again");
        }
        match tokio::time::timeout(ANSWER_MAX, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => refuse("stopping", "the daemon is stopping; ask again when it is back"),
            Err(_) => refuse("slow", "the disk has not taken it yet; see `sealgate status`"),
        }
    }

    /// The line forgets a batch that has ended. Who asks again, since the first answer died with a daemon, hears that it is done.
    async fn ended_before(&self, id: u64, ending: Option<(BatchId, BatchState)>, answer: Answer) -> ClientAnswer {
        let said = ClientAnswer::of(id, &answer);
        let (Some((batch, ended)), Err(refused)) = (ending, &answer.outcome) else { return said };
        if refused.reasons != [RequestRefusal::UnknownBatch(batch)] {
            return said;
        }
        let path = self.config.journal.clone();
        let known = move || Reader::open(&path)?.batch(batch.as_str());
        match tokio::task::spawn_blocking(known).await {
            Ok(Ok(Some(known))) if known.state == ended.name() => {
                ClientAnswer::of(id, &Answer { id: answer.id, outcome: Ok(Done::Already) })
            }
            Ok(Ok(_) | Err(_)) | Err(_) => said,
        }
    }

    fn status(&self) -> Value {
        let mut status = self.snapshots.borrow().status();
        if let Some(fields) = status.as_object_mut() {
            fields.insert("line".to_owned(), json!(self.config.line.name.as_str()));
            fields.insert("version".to_owned(), json!(crate::runtime::VERSION));
            fields.insert("feed".to_owned(), self.feed_status());
            if let Some(address) = self.http {
                fields.insert("http".to_owned(), json!(address.to_string()));
            }
        }
        status
    }

    fn feed_status(&self) -> Value {
        let Some(feed) = &self.feed else { return Value::Null };
        let feed = feed.status();
        json!({
            "connected": feed.is_connected,
            "head": feed.head,
            "acked": feed.acked_fact_seq,
            "backlog": feed.backlog(),
            "messages_acked": feed.messages_acked,
            "messages_unheard": feed.messages_unheard,
            "quarantined": feed.quarantined,
            "watermark": feed.confirmed,
            "replay": feed.replay.map(|(next, last)| json!({ "next": next, "last": last })),
            "checkpoint": feed.checkpoint_seq,
            "last_end": feed.last_end,
        })
    }

    /// What the journal says of the feed, and above it what the publisher knows of the connection.
    async fn feed(&self, id: u64) -> ClientAnswer {
        let mut answer = self.look(id, Question::Feed).await;
        if let (Some(Value::Object(said)), Value::Object(live)) = (&mut answer.data, self.feed_status()) {
            // Heads and cursors are the journal's own; the publisher hears of them a moment later.
            for (key, value) in live {
                said.entry(key).or_insert(value);
            }
        }
        answer
    }

    /// Answers from the journal as it is on disk, so that the daemon and `--db` say the same.
    async fn look(&self, id: u64, question: Question) -> ClientAnswer {
        let path = self.config.journal.clone();
        let answer = tokio::task::spawn_blocking(move || report::answer(&path, &question)).await;
        match answer {
            Ok(Ok(data)) => ClientAnswer::data(id, data),
            Ok(Err(ReportError::Code(error))) => refusal(id, "bad_request", error.to_string()),
            Ok(Err(ReportError::Store(error))) => {
                journal::end_on_damage(&self.config.journal, &error);
                refusal(id, "journal", error.to_string())
            }
            Err(error) => refusal(id, "internal", error.to_string()),
        }
    }

    /// Facts and messages leave in the order of the facts, so that a number of another stream stands for the fact behind it.
    async fn replay(&self, id: u64, stream: &'static str, from: u64) -> ClientAnswer {
        let Some(feed) = &self.feed else {
            return refusal(id, "no_feed", "the config has no section [mqtt]".to_owned());
        };
        let path = self.config.journal.clone();
        let found = tokio::task::spawn_blocking(move || replay_from(&path, stream, from)).await;
        let first = match found {
            Ok(Ok(Ok(first))) => first,
            Ok(Ok(Err(why))) => return refusal(id, "replay", why),
            Ok(Err(error)) => return refusal(id, "journal", error.to_string()),
            Err(error) => return refusal(id, "internal", error.to_string()),
        };
        match feed.replay(first).await {
            Ok(last) => ClientAnswer::data(id, json!({ "from": first, "to": last })),
            Err(why) => refusal(id, "replay", why.to_string()),
        }
    }

    async fn retry(&self, id: u64, stream: &'static str, seq: u64) -> ClientAnswer {
        let Some(feed) = &self.feed else {
            return refusal(id, "no_feed", "the config has no section [mqtt]".to_owned());
        };
        let fact_seq = match self.quarantined(stream, seq).await {
            Ok(fact_seq) => fact_seq,
            Err(why) => return refusal(id, "quarantine", why),
        };
        match feed.retry(MessageKey { stream, seq, fact_seq }).await {
            Ok(()) => ClientAnswer::done(id, Done::Changed),
            Err(why) => refusal(id, "retry", why.to_string()),
        }
    }

    /// The record says first who gave it up and why; then it waits no more.
    async fn skip(
        &self,
        id: u64,
        (asker, actor): (Asker, Actor),
        (stream, seq): (&'static str, u64),
        reason: String,
    ) -> ClientAnswer {
        if let Err(why) = self.quarantined(stream, seq).await {
            return refusal(id, "quarantine", why);
        }
        let message = MessageNumber { stream: Name::new(stream).unwrap_or_default(), seq };
        let told = self.ask(id, asker, Request::GiveUpMessage { message, reason: reason.clone() }).await;
        if !told.ok {
            return told;
        }
        let cause = format!("{SKIPPED} by {actor}: {reason}");
        tracing::info!(stream, seq, cause, "feed_message_skipped");
        let what = Arrival::Work(Work::FeedExcepted { stream, seq, cause });
        if self.inbox.try_send(Item::Line(Inbound { seen_mono_us: 0, what })).is_err() {
            return refusal(id, "busy", "the line is busy; ask again".to_owned());
        }
        if let Some(feed) = &self.feed {
            feed.skipped();
        }
        ClientAnswer::done(id, Done::Changed)
    }

    /// The fact behind a message that waits in quarantine.
    async fn quarantined(&self, stream: &'static str, seq: u64) -> Result<u64, String> {
        let path = self.config.journal.clone();
        let found = tokio::task::spawn_blocking(move || {
            let waits = |exception: &FeedException| *exception.stream == *stream && exception.seq == seq;
            let exceptions = Reader::open(&path)?.feed_exceptions()?;
            let exception = exceptions.into_iter().find(waits).filter(|one| !one.cause.starts_with(SKIPPED));
            exception.map_or(Ok(None), |_| fact_behind(&path, stream, seq))
        });
        match found.await {
            Ok(Ok(Some(fact_seq))) => Ok(fact_seq),
            Ok(Ok(None)) => {
                Err(format!("{stream} {seq} does not wait in quarantine; see `sealgate feed quarantine list`"))
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn refusal(id: u64, code: &str, text: String) -> ClientAnswer {
    ClientAnswer::refusal(id, vec![Reason::new(code, text)])
}

/// The fact with which this number of the stream leaves.
fn fact_behind(journal: &Path, stream: &str, seq: u64) -> Result<Option<u64>, StoreError> {
    if stream == topic::STREAM_FACT {
        return Ok(Some(seq));
    }
    let found = Reader::open(journal)?.messages_from(stream, seq, 1)?;
    Ok(found.first().map(|message| message.fact_seq))
}

/// The fact with which a replay from this number begins; else why there is none, and what there is.
fn replay_from(journal: &Path, stream: &str, from: u64) -> Result<Result<u64, String>, StoreError> {
    if stream == topic::STREAM_FACT {
        return Ok(Ok(from));
    }
    let mut reader = Reader::open(journal)?;
    let (gone, head) = (reader.gone()?, reader.stream_head(stream)?);
    if head == 0 {
        return Ok(Err(format!("stream {stream} has no number yet")));
    }
    if from == 0 || from > head {
        return Ok(Err(format!("stream {stream} has no number {from}; its newest is {head}")));
    }
    if gone.lets_go(stream, from) {
        let through = gone.through_of(stream);
        let rest = match through < head {
            true => format!("{} to {head} can be sent again", through.saturating_add(1)),
            false => "nothing of the stream is left".to_owned(),
        };
        return Ok(Err(format!(
            "{stream} 1 to {through} were let go: the broker took them, and their time (mqtt.keep_sent_days) or their room \
             (mqtt.keep_sent_mb) was up; {rest}. The facts that they tell of stay, and go out with --stream fact"
        )));
    }
    let found = reader.messages_from(stream, from, 1)?;
    Ok(found.first().map(|message| message.fact_seq).ok_or_else(|| {
        format!(
            "{stream} {from} is missing in the journal, and no fact let it go; see `sealgate store rebuild --check`"
        )
    }))
}

fn question(look: Look) -> Question {
    match look {
        Look::Batches => Question::Batches,
        Look::Batch(batch) => Question::Batch(batch.as_str().to_owned()),
        Look::Trace(code) => Question::Trace(code),
        Look::Alarms => Question::Alarms,
        Look::Users => Question::Users,
        Look::Review(to_seq) => Question::Review(to_seq),
        Look::Quarantine => Question::Quarantine,
        Look::QuarantineExport => Question::QuarantineExport,
    }
}

/// Why an order cannot be put to the line.
pub(super) enum Unfit {
    Order(Vec<crate::wire::order::Problem>),
    /// The file of serials cannot be read.
    File(String),
    Used(Vec<RequestRefusal>),
    Store(StoreError),
}

impl From<StoreError> for Unfit {
    fn from(error: StoreError) -> Self {
        Unfit::Store(error)
    }
}

/// The whole order with its file of serials, and what older batches have used of it.
pub(super) fn check(journal: &Path, draft: OrderDraft) -> Result<Order, Unfit> {
    let file = match draft.serials_file() {
        Some(path) => {
            Some(std::fs::read(path).map_err(|error| Unfit::File(format!("the daemon cannot read {path}: {error}")))?)
        }
        None => None,
    };
    let order = draft.finish(file.as_deref()).map_err(Unfit::Order)?;
    let mut reader = Reader::open(journal)?;
    let known = reader.batch(order.sheet.batch.as_str())?;
    // The line itself tells a repeat of a loaded order from another one under the same name.
    if let Some(known) = known {
        let closed = known.closed_seq.is_some();
        return if closed { Err(Unfit::Used(vec![RequestRefusal::BatchExists(order.sheet.batch)])) } else { Ok(order) };
    }
    let mut used: Vec<RequestRefusal> =
        reader.used_serials(order.sheet.gtin, &order.serials)?.into_iter().map(RequestRefusal::SerialUsed).collect();
    if reader.sscc_range_used(&order.sheet.sscc)?.is_some() {
        let range = order.sheet.sscc;
        let first = crate::domain::gs1::Sscc::build(range.extension, range.prefix.as_str(), range.first);
        used.extend(first.ok().map(RequestRefusal::SsccUsed));
    }
    if used.is_empty() { Ok(order) } else { Err(Unfit::Used(used)) }
}
