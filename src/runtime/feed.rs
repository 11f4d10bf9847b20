//! Between the journal and the publisher: pages of facts with their messages as MQTT messages, and the place of the feed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::Sender;
use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::engine::reason::AlarmKind;
use crate::line::{Arrival, Inbound};
use crate::publish::{
    self, Command, FeedAck, FeedStatus, Inputs, Note, Outgoing, Problem, PublishHandle, Publisher, Recalled, Reception,
    StateTopics,
};
use crate::runtime::VERSION;
use crate::runtime::assemble;
use crate::runtime::clock::Clock;

use crate::runtime::journal;
use crate::runtime::snapshot::Snapshot;
use crate::runtime::spine::Item;
use crate::store::feed::FeedItem;
use crate::store::{Reader, StoreError, Work};
use crate::wire::checkpoint::Note as Checkpoint;
use crate::wire::checkpoint::history::{self, Begun};
use crate::wire::topic::{self, Birth, Envelope, LastSeq, Status};

/// Characters of an alarm's detail.
const DETAIL_MAX: usize = 300;

/// Reads the feed; the connection is opened when it is first needed, and anew after an error.
pub(super) struct FeedReader {
    path: PathBuf,
    line: String,
    source: String,
    reader: Option<Reader>,
    /// The newest epoch, and where each began.
    epochs: (u32, Vec<Begun>),
}

impl FeedReader {
    pub(super) fn new(path: &Path, line: &str, source: &str) -> Self {
        Self {
            path: path.to_owned(),
            line: line.to_owned(),
            source: source.to_owned(),
            reader: None,
            epochs: (1, Vec::new()),
        }
    }

    /// What follows fact `after`: at most `limit` facts, each with what it caused.
    pub(super) fn page(&mut self, after: u64, limit: usize) -> Result<Vec<Outgoing>, StoreError> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => Reader::open(&self.path)?,
        };
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let items = reader.feed_from(after.saturating_add(1), limit);
        let items = items.inspect_err(|error| journal::end_on_damage(&self.path, error))?;
        // An epoch begins with a fact: what was decided before keeps the id that it was sent with.
        let newest = reader.epoch()?;
        if newest != self.epochs.0 {
            self.epochs = (newest, reader.epochs()?);
        }
        self.reader = Some(reader);
        let epoch_at = |item: &FeedItem| history::epoch_at(&self.epochs.1, item.fact.seq);
        Ok(items.into_iter().flat_map(|item| self.messages(epoch_at(&item), item)).collect())
    }

    fn messages(&self, epoch: u32, item: FeedItem) -> Vec<Outgoing> {
        let FeedItem { fact, messages } = item;
        let at_us = fact.at_us;
        let envelope = |stream, seq, kind: &str, subject: &str| {
            let (line, source) = (self.line.as_str(), self.source.as_str());
            let envelope = Envelope { line, epoch, stream, seq, source, kind, subject, at_us, replay: false };
            // The publisher says itself whether it sends something again.
            let properties = envelope.properties().into_iter().filter(|(key, _)| *key != "replay");
            properties.map(|(key, value)| (key.to_owned(), value)).collect()
        };
        let published = fact.published();
        let own = Outgoing {
            stream: topic::STREAM_FACT,
            seq: fact.seq,
            fact_seq: fact.seq,
            topic: topic::fact(&fact.kind),
            properties: envelope(topic::STREAM_FACT, fact.seq, &topic::fact_type(&fact.kind), published.subject),
            payload: published.body.into_owned().into_bytes(),
        };
        let caused = messages.into_iter().filter_map(|message| {
            let stream = topic::STREAMS.iter().find(|stream| **stream == &*message.stream)?;
            Some(Outgoing {
                stream,
                seq: message.seq,
                fact_seq: message.fact_seq,
                topic: message.topic.to_string(),
                properties: envelope(stream, message.seq, &message.kind, &message.subject),
                payload: message.body,
            })
        });
        std::iter::once(own).chain(caused).collect()
    }
}

/// What the feed needs of the daemon.
pub(super) struct Doors {
    pub(super) inbox: Sender<Item>,
    pub(super) clock: Clock,
    pub(super) heads: watch::Receiver<u64>,
    pub(super) states: watch::Receiver<StateTopics>,
    pub(super) stopping: watch::Receiver<bool>,
    /// Of this run.
    pub(super) epoch: u32,
    pub(super) recalled: mpsc::Sender<Recalled>,
}

/// The publisher of this line; `None` where the config names no broker.
pub(super) fn open(config: &Config, doors: Doors) -> Result<Option<(PublishHandle, Publisher)>, StoreError> {
    let Some(mqtt) = &config.mqtt else { return Ok(None) };
    let mut reader = Reader::open(&config.journal)?;
    let acked_fact_seq = reader.feed_cursor(topic::STREAM_FACT)?;
    let (quarantined, confirmed) = (reader.feed_exception_count()?, reader.feed_watermark()?);
    let identity = assemble::identity(config);
    let settings = publish::Settings {
        host: mqtt.host.clone(),
        port: mqtt.port,
        client_id: mqtt.client_id.clone(),
        username: mqtt.username.clone(),
        password: mqtt.password.clone(),
        keep_alive_s: u16::try_from(mqtt.keep_alive.as_secs()).unwrap_or(u16::MAX),
        prefix: config.line.path.clone(),
        window: mqtt.window,
        drain_per_s: mqtt.drain_per_s,
        pace: publish::Pace::default(),
    };
    let (notes, alarms) = (doors.inbox.clone(), doors.inbox.clone());
    let Doors { inbox, clock, heads, states, stopping, epoch, recalled } = doors;
    let mut pages = FeedReader::new(&config.journal, &identity.line, &identity.source);
    let offline = topic::payload(&Status::Offline { line: identity.line.clone() });
    let inputs = Inputs {
        head: heads,
        state: states,
        stop: stopping,
        acked_fact_seq,
        read: Box::new(move |after, limit| pages.page(after, limit).map_err(|error| error.to_string())),
        quarantined,
        confirmed,
        ack: Arc::new(move |ack: FeedAck| {
            let what = Arrival::Work(Work::FeedAcked { through: ack.through_fact_seq });
            inbox.try_send(Item::Line(Inbound { seen_mono_us: clock.now().mono_us, what })).is_ok()
        }),
        note: Arc::new(move |note| {
            let what = Arrival::Work(work_of(note));
            notes.try_send(Item::Line(Inbound { seen_mono_us: clock.now().mono_us, what })).is_ok()
        }),
        problem: Arc::new(move |problem| tell(&alarms, clock, &problem)),
        birth: birth(config, clock, epoch, identity.line),
        offline,
        command: Arc::new(|_: Command| Reception::Unknown),
        // A look that finds no room is made again at the next connection.
        recalled: Arc::new(move |kept| drop(recalled.try_send(kept))),
    };
    let opened = publish::open(settings, inputs);
    #[cfg(feature = "canary")]
    let opened = impatient(opened);
    Ok(Some(opened))
}

#[cfg(feature = "canary")]
fn impatient((handle, mut publisher): (PublishHandle, Publisher)) -> (PublishHandle, Publisher) {
    use crate::canary::Canary;
    if Canary::chosen() == Some(Canary::CursorWithoutAck) {
        publisher.acknowledge_unasked();
    }
    (handle, publisher)
}

fn work_of(note: Note) -> Work {
    match note {
        Note::Excepted { stream, seq, cause } => Work::FeedExcepted { stream, seq, cause },
        Note::Cleared { stream, seq } => Work::FeedCleared { stream, seq },
        Note::Confirmed { through } => Work::FeedConfirmed { through },
    }
}

/// To the log, and to the line as an alarm that holds nothing. An inbox that is full loses the alarm, never the log.
fn tell(inbox: &Sender<Item>, clock: Clock, problem: &Problem) {
    tracing::warn!(%problem, "feed_problem");
    let kind = match problem {
        Problem::MessageRefused { .. } | Problem::MessageStuck { .. } | Problem::LinkRefused { .. } => {
            AlarmKind::FeedRefused
        }
        Problem::TakenOver | Problem::HungUp { .. } => AlarmKind::DuplicateClientId,
        Problem::Quarantined { .. } => AlarmKind::FeedQuarantined,
        Problem::Unheard { .. } => AlarmKind::FeedUnheard,
        Problem::Unconfirmed { .. } => AlarmKind::WatermarkStalled,
        Problem::Unreadable { .. } => return,
    };
    let detail: String = problem.to_string().chars().take(DETAIL_MAX).collect();
    let what = Arrival::Noticed(kind, detail);
    if inbox.try_send(Item::Line(Inbound { seen_mono_us: clock.now().mono_us, what })).is_err() {
        tracing::warn!("feed_problem_without_alarm");
    }
}

fn birth(config: &Config, clock: Clock, epoch: u32, line: String) -> publish::BirthBody {
    let config_sha256 = config.digest.clone();
    Box::new(move |feed: &FeedStatus| {
        topic::payload(&Status::Online(Birth {
            line: line.clone(),
            version: VERSION.to_owned(),
            config_sha256: config_sha256.clone(),
            epoch,
            last_seq: LastSeq { fact: feed.head, epcis: feed.last_epcis_seq, batch: feed.last_batch_seq },
            backlog: feed.backlog(),
            time: topic::time_text(clock.now().wall_us),
        }))
    })
}

/// The retained topics of a snapshot and the newest checkpoint, where they differ from those said before.
pub(super) async fn tell_states(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    (mut anchored, mut looked): (watch::Receiver<Option<Arc<Checkpoint>>>, watch::Receiver<bool>),
    states: watch::Sender<StateTopics>,
) {
    loop {
        let is_over = tokio::select! {
            changed = snapshots.changed() => changed.is_err(),
            // The thread that tells them ends with the line; what the snapshot says is told to the end.
            Ok(()) = anchored.changed() => false,
            Ok(()) = looked.changed() => false,
        };
        if is_over {
            return;
        }
        let mut topics = snapshots.borrow_and_update().topics();
        // What the broker kept from before is read first.
        let checkpoint = anchored.borrow_and_update().clone().filter(|_| *looked.borrow_and_update());
        topics.extend(checkpoint.map(|note| (topic::CHECKPOINT.to_owned(), note.to_json().into_bytes())));
        states.send_if_modified(|said| {
            let differs = **said != topics;
            if differs {
                *said = Arc::new(topics);
            }
            differs
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::commit::Job;
    use crate::store::{self, Store};
    use crate::wire::record::{Change, FactRow, Record};

    fn commit(store: &mut Store, seq: u64, kind: &'static str, body: &str, changes: Vec<Change>) {
        let row = FactRow {
            seq,
            at_us: 1,
            mono_us: 1,
            boot: 1,
            kind,
            version: 1,
            batch: None,
            actor: "line".into(),
            subject: String::new(),
            body: body.into(),
        };
        let records = vec![Record { row, changes, messages: Vec::new() }];
        store.commit(&Job { records, work: Vec::new() }, || 0).expect("committed");
    }

    #[test]
    fn what_is_about_people_leaves_as_a_digest_and_never_with_a_password() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("line.db");
        let mut store = store::open(&store::Settings::new(&path, "site/l1")).expect("a new journal");
        let body = r#"{"user":"m.meier","phc":"$argon2id$v=19$m=47104,t=1,p=1$AAAA$BBBB","must_change":true}"#;
        let row = FactRow {
            seq: 1,
            at_us: 1,
            mono_us: 1,
            boot: 1,
            kind: "credential_set",
            version: 1,
            batch: None,
            actor: "a.admin".into(),
            subject: "user:m.meier".into(),
            body: body.into(),
        };
        let records = vec![Record { row, changes: Vec::new(), messages: Vec::new() }];
        store.commit(&Job { records, work: Vec::new() }, || 0).expect("committed");
        let page = FeedReader::new(&path, "l1", "urn:l1").page(0, 10).expect("a page");
        let [message] = page.as_slice() else { panic!("{page:?}") };
        let sent = format!("{} {:?} {}", message.topic, message.properties, String::from_utf8_lossy(&message.payload));
        for secret in ["argon2", "BBBB", "m.meier", "a.admin"] {
            assert!(!sent.contains(secret), "{sent}");
        }
        let digest: serde_json::Value = serde_json::from_slice(&message.payload).expect("JSON");
        let (_, hash) = Reader::open(&path).and_then(|mut reader| reader.head()).expect("a head");
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, serde_json::json!({ "seq": 1, "kind": "credential_set", "hash": hash }));
    }

    #[test]
    fn a_message_keeps_the_epoch_of_its_fact_whatever_is_restored_later() {
        // F127, I16
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("line.db");
        let mut store = store::open(&store::Settings::new(&path, "site/l1")).expect("a new journal");
        let ids = |reader: &mut FeedReader, after| -> Vec<String> {
            let page = reader.page(after, 10).expect("a page");
            page.iter()
                .map(|message| message.properties.iter().find(|(key, _)| key == "id").unwrap().1.clone())
                .collect()
        };
        let mut early = FeedReader::new(&path, "l1", "urn:l1");
        commit(&mut store, 1, "noted", "{}", Vec::new());
        assert_eq!(ids(&mut early, 0), ["l1/1/fact/1"]);
        let raised = r#"{"epoch":4,"lost_store":"3f1c4e0a-5b6d-4c7e-8f90-a1b2c3d4e5f6","lost_from":2,"lost_to":9}"#;
        commit(&mut store, 2, "epoch_raised", raised, vec![Change::EpochRaised { epoch: 4 }]);
        commit(&mut store, 3, "noted", "{}", Vec::new());
        assert_eq!(ids(&mut early, 1), ["l1/4/fact/2", "l1/4/fact/3"], "met on the way");
        let mut late = FeedReader::new(&path, "l1", "urn:l1");
        assert_eq!(ids(&mut late, 2), ["l1/4/fact/3"]);
        assert_eq!(ids(&mut late, 0), ["l1/1/fact/1", "l1/4/fact/2", "l1/4/fact/3"], "a replay names them as before");
    }
}
