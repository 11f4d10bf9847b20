//! A publisher over a story of facts, as the daemon builds one, and a store of its own that remembers what it was told.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sealgate::publish::{self, Inputs, Note, Outgoing, Pace, Problem, PublishHandle, Reception, Settings, StateTopics};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::broker::Seen;

pub(crate) const PREFIX: &str = "site/area/line1";

/// Times of a plant in a hundredth.
pub(crate) const QUICK: Pace = Pace {
    first: Duration::from_millis(2),
    last: Duration::from_millis(50),
    slow: Duration::from_millis(10),
    slow_last: Duration::from_millis(600),
    stall: Duration::from_millis(300),
    useful: Duration::from_secs(60),
    unheard: Duration::from_millis(100),
    unconfirmed: Duration::from_millis(100),
    spread: Duration::from_millis(20),
};

/// What the store was told, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Acked(u64),
    Noted(Note),
}

#[derive(Default)]
struct Kept {
    told: Vec<Told>,
    problems: Vec<Problem>,
    /// The largest page that was asked for, in messages.
    largest_page: usize,
    births: usize,
}

pub(crate) struct Rig {
    pub(crate) handle: PublishHandle,
    pub(crate) head: watch::Sender<u64>,
    pub(crate) state: watch::Sender<StateTopics>,
    pub(crate) stop: watch::Sender<bool>,
    kept: Arc<Mutex<Kept>>,
    _tasks: JoinSet<()>,
}

/// The messages of one fact: each third causes an EPCIS event, each hundredth a batch message too; fact 50 is a long one.
pub(crate) fn messages(fact_seq: u64) -> Vec<Outgoing> {
    let mut all = vec![message("fact", fact_seq, fact_seq, "_fact/commissioned")];
    if fact_seq.is_multiple_of(3) {
        all.push(message("epcis", fact_seq / 3, fact_seq, "_epcis/commissioning"));
    }
    if fact_seq.is_multiple_of(100) {
        all.push(message("batch", fact_seq / 100, fact_seq, "_batch/closed"));
    }
    all
}

fn message(stream: &'static str, seq: u64, fact_seq: u64, topic: &str) -> Outgoing {
    let filler = "x".repeat(if fact_seq == 50 { 2000 } else { 40 });
    Outgoing {
        stream,
        seq,
        fact_seq,
        topic: topic.into(),
        payload: format!(r#"{{"stream":"{stream}","seq":{seq},"note":"{filler}"}}"#).into_bytes(),
        properties: vec![("id".into(), format!("line1/1/{stream}/{seq}")), ("seq".into(), seq.to_string())],
    }
}

pub(crate) fn settings(port: u16) -> Settings {
    Settings {
        host: "127.0.0.1".into(),
        port,
        client_id: "line1".into(),
        username: None,
        password: None,
        keep_alive_s: 5,
        prefix: PREFIX.into(),
        window: 20,
        drain_per_s: 0,
        pace: QUICK,
    }
}

impl Rig {
    pub(crate) fn run(facts: u64, port: u16) -> Self {
        Self::resume(facts, 0, settings(port))
    }

    /// A publisher that starts behind fact `acked`.
    pub(crate) fn resume(facts: u64, acked: u64, settings: Settings) -> Self {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let (head, head_in) = watch::channel(facts);
        let (state, state_in) = watch::channel(StateTopics::default());
        let (stop, stop_in) = watch::channel(false);
        let (acks, notes, problems, pages, births) =
            (Arc::clone(&kept), Arc::clone(&kept), Arc::clone(&kept), Arc::clone(&kept), Arc::clone(&kept));
        let newest = head.subscribe();
        let inputs = Inputs {
            head: head_in,
            state: state_in,
            stop: stop_in,
            acked_fact_seq: acked,
            quarantined: 0,
            confirmed: None,
            read: Box::new(move |after, limit| {
                let last = (after + u64::try_from(limit).expect("small")).min(*newest.borrow());
                let page: Vec<Outgoing> = (after + 1..=last).flat_map(messages).collect();
                let mut kept = lock(&pages);
                kept.largest_page = kept.largest_page.max(page.len());
                Ok(page)
            }),
            ack: Arc::new(move |ack| {
                lock(&acks).told.push(Told::Acked(ack.through_fact_seq));
                true
            }),
            note: Arc::new(move |note| {
                lock(&notes).told.push(Told::Noted(note));
                true
            }),
            problem: Arc::new(move |problem| lock(&problems).problems.push(problem)),
            birth: Box::new(move |status| {
                lock(&births).births += 1;
                format!(r#"{{"state":"online","backlog":{}}}"#, status.backlog()).into_bytes()
            }),
            offline: br#"{"state":"offline"}"#.to_vec(),
            recalled: Arc::new(|_| {}),
            command: Arc::new(|_| Reception::Unknown),
        };
        let (handle, publisher) = publish::open(settings, inputs);
        let mut tasks = JoinSet::new();
        tasks.spawn(publisher.run());
        Self { handle, head, state, stop, kept, _tasks: tasks }
    }

    /// The feed's place as the store was told.
    pub(crate) fn acked(&self) -> u64 {
        let told = |told: &Told| if let Told::Acked(through) = told { Some(*through) } else { None };
        lock(&self.kept).told.iter().filter_map(told).max().unwrap_or(0)
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        lock(&self.kept).told.clone()
    }

    pub(crate) fn problems(&self) -> Vec<Problem> {
        lock(&self.kept).problems.clone()
    }

    pub(crate) fn largest_page(&self) -> usize {
        lock(&self.kept).largest_page
    }

    /// How often it said that it is there: once for each connection, and every ten seconds.
    pub(crate) fn connections(&self) -> usize {
        lock(&self.kept).births
    }

    /// Stream and number of what the store was told to do without.
    pub(crate) fn excepted(&self) -> Vec<(&'static str, u64)> {
        let excepted = |told: Told| match told {
            Told::Noted(Note::Excepted { stream, seq, .. }) => Some((stream, seq)),
            Told::Noted(_) | Told::Acked(_) => None,
        };
        self.told().into_iter().filter_map(excepted).collect()
    }

    pub(crate) async fn until_acked(&self, fact: u64) {
        let reached = wait_for(|| self.acked() >= fact).await;
        assert!(reached, "fact {fact} is not acknowledged: {:?} {:?}", self.handle.status(), self.problems());
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    assert!(wait_for(condition).await, "{what}: not within half a minute");
}

async fn wait_for(condition: impl Fn() -> bool) -> bool {
    let reached = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reached).await.is_ok()
}

/// I16, I17: what arrived is every message of the facts `from..=to`, equal ids have equal bytes, and within a connection the
/// live feed only rises.
pub(crate) fn assert_whole(seen: &[Seen], from: u64, to: u64, without: &[&str]) {
    let mut bytes: BTreeMap<&str, &[u8]> = BTreeMap::new();
    for one in seen {
        if let Some(id) = &one.id {
            assert_eq!(*bytes.entry(id).or_insert(&one.payload), &one.payload[..], "{id} came with other bytes");
        }
    }
    let all: Vec<(String, Outgoing)> = (from..=to)
        .flat_map(messages)
        .map(|message| (format!("{}/{}", message.stream, message.seq), message))
        .collect();
    for (id, message) in all.iter().filter(|(id, _)| !without.contains(&id.as_str())) {
        assert_eq!(bytes.get(id.as_str()).copied(), Some(&message.payload[..]), "{id} did not arrive");
    }
    let place: HashMap<&str, usize> = all.iter().enumerate().map(|(place, (id, _))| (id.as_str(), place)).collect();
    let live: Vec<&Seen> = seen.iter().filter(|one| one.id.is_some() && !one.is_replay).collect();
    for pair in live.windows(2).filter(|pair| pair[0].connection == pair[1].connection) {
        let at = |one: &Seen| place.get(one.id.as_deref().expect("has one")).copied();
        assert!(at(pair[0]) < at(pair[1]), "{:?} before {:?}", pair[0].id, pair[1].id);
    }
}
