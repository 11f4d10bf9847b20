//! The feed against brokers that misbehave by script, and the story that the tests tell them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;

pub(crate) const PREFIX: &str = "site/area/line1";

/// The messages of facts 1 ..= `facts`: each third fact causes an EPCIS event, each hundredth a batch message too.
pub(crate) fn story(facts: u64) -> Vec<Outgoing> {
    let (mut epcis, mut batch) = (0, 0);
    let mut all = Vec::new();
    for fact_seq in 1..=facts {
        all.push(message("fact", fact_seq, fact_seq, "_fact/commissioned"));
        if fact_seq.is_multiple_of(3) {
            epcis += 1;
            all.push(message("epcis", epcis, fact_seq, "_epcis/commissioning"));
        }
        if fact_seq.is_multiple_of(100) {
            batch += 1;
            all.push(message("batch", batch, fact_seq, "_batch/closed"));
        }
    }
    all
}

fn message(stream: &'static str, seq: u64, fact_seq: u64, topic: &str) -> Outgoing {
    let filler = "x".repeat(usize::try_from(seq % 17).expect("small") * 20);
    Outgoing {
        stream,
        seq,
        fact_seq,
        topic: topic.into(),
        payload: format!(r#"{{"stream":"{stream}","seq":{seq},"note":"{filler}"}}"#).into_bytes(),
        properties: vec![("id".into(), format!("line1/1/{stream}/{seq}")), ("seq".into(), seq.to_string())],
    }
}

/// A publisher over a story, with all its handles.
pub(crate) struct Told {
    pub(crate) handle: PublishHandle,
    pub(crate) publisher: Publisher,
    pub(crate) head: watch::Sender<u64>,
    pub(crate) state: watch::Sender<StateTopics>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) acked: Arc<AtomicU64>,
    pub(crate) problems: Arc<Mutex<Vec<Problem>>>,
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
        pace: Pace { spread: Duration::ZERO, ..Pace::default() },
    }
}

pub(crate) fn tell(facts: u64, port: u16) -> Told {
    let all = story(facts);
    let read: ReadFeed = Box::new(move |after, limit| {
        let last = after + u64::try_from(limit).expect("small");
        let first = all.partition_point(|message| message.fact_seq <= after);
        Ok(all[first..].iter().take_while(|message| message.fact_seq <= last).cloned().collect())
    });
    let (head, head_in) = watch::channel(facts);
    let (state, state_in) = watch::channel(StateTopics::default());
    let (stop, stop_in) = watch::channel(false);
    let (acked, problems) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (acked_in, problems_in) = (Arc::clone(&acked), Arc::clone(&problems));
    let inputs = Inputs {
        head: head_in,
        state: state_in,
        stop: stop_in,
        acked_fact_seq: 0,
        quarantined: 0,
        confirmed: None,
        read,
        ack: Arc::new(move |ack| acked_in.fetch_max(ack.through_fact_seq, Ordering::SeqCst) <= ack.through_fact_seq),
        note: Arc::new(|_| true),
        problem: Arc::new(move |problem| problems_in.lock().unwrap_or_else(PoisonError::into_inner).push(problem)),
        birth: Box::new(|status| format!(r#"{{"state":"online","backlog":{}}}"#, status.backlog()).into_bytes()),
        offline: br#"{"state":"offline"}"#.to_vec(),
        recalled: Arc::new(|_| {}),
        command: Arc::new(|_| Reception::Unknown),
    };
    let (handle, publisher) = open(settings(port), inputs);
    Told { handle, publisher, head, state, stop, acked, problems }
}

/// One PUBLISH as a broker sees it.
#[derive(Clone, Debug)]
struct Seen {
    connection: u32,
    topic: String,
    payload: Vec<u8>,
    id: Option<String>,
    is_replay: bool,
}

/// What the scripted broker does to the feed's connection; the command session is always served well.
#[derive(Clone, Debug, Default)]
struct Script {
    /// Cut the link at this many publishes of a connection, the last five or six unanswered.
    cut_at: Option<u32>,
    receive_max: Option<u16>,
    /// Answer these with 0x97 as often as stated.
    refuse: HashMap<String, u32>,
    /// Answer the tenth publish of the first connection with a number that was never used.
    is_confused_once: bool,
}

#[derive(Default)]
struct FakeBroker {
    seen: Mutex<Vec<Seen>>,
    refused: Mutex<HashMap<String, u32>>,
    connections: AtomicU64,
}

impl FakeBroker {
    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn serve(self: Arc<Self>, listener: TcpListener, script: Script) {
        let mut tasks = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (broker, script) = (Arc::clone(&self), script.clone());
            tasks.spawn(async move { broker.connection(stream, script).await });
        }
    }

    async fn connection(&self, mut stream: TcpStream, script: Script) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (_, connect) = packet(&mut stream).await?;
        let is_feed = !connect.windows(4).any(|part| part == b"-cmd");
        let connection = u32::try_from(self.connections.fetch_add(u64::from(is_feed), Ordering::SeqCst)).expect("few");
        match script.receive_max {
            Some(max) => {
                let [high, low] = max.to_be_bytes();
                stream.write_all(&[0x20, 6, 0, 0, 3, 0x21, high, low]).await?;
            }
            None => stream.write_all(&[0x20, 3, 0, 0, 0]).await?,
        }
        let mut publishes = 0_u32;
        loop {
            let (first, body) = packet(&mut stream).await?;
            match first >> 4 {
                3 => {
                    publishes += 1;
                    let id = u16::from_be_bytes([body[topic_len(&body) + 2], body[topic_len(&body) + 3]]);
                    let cut = script.cut_at.filter(|_| is_feed);
                    let is_unanswered = cut.is_some_and(|cut| publishes + 5 >= cut);
                    // Half of what stays unanswered was received, the other half never arrived.
                    if !is_unanswered || publishes.is_multiple_of(2) {
                        self.note(connection, &body);
                    }
                    if cut.is_some_and(|cut| publishes >= cut) {
                        return Ok(());
                    }
                    if !is_unanswered {
                        let answered =
                            if script.is_confused_once && connection == 0 && publishes == 10 { 999 } else { id };
                        self.answer(&mut stream, &script, &body, answered).await?;
                    }
                }
                8 => stream.write_all(&[0x90, 4, body[0], body[1], 0, 1]).await?,
                12 => stream.write_all(&[0xD0, 0]).await?,
                14 => return Ok(()),
                other => return Err(io::Error::other(format!("packet type {other}"))),
            }
        }
    }

    async fn answer(&self, stream: &mut TcpStream, script: &Script, body: &[u8], id: u16) -> io::Result<()> {
        let [high, low] = id.to_be_bytes();
        let name = seen_of(0, body).id.unwrap_or_default();
        let is_refused = {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            let times = refused.entry(name.clone()).or_default();
            *times += 1;
            script.refuse.get(&name).is_some_and(|limit| *times <= *limit)
        };
        if is_refused {
            return stream.write_all(&[0x40, 4, high, low, 0x97, 0]).await;
        }
        stream.write_all(&[0x40, 4, high, low, 0, 0]).await
    }

    fn note(&self, connection: u32, body: &[u8]) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen_of(connection, body));
    }
}

fn topic_len(body: &[u8]) -> usize {
    usize::from(u16::from_be_bytes([body[0], body[1]]))
}

/// A PUBLISH with QoS 1, whose properties are user properties only.
fn seen_of(connection: u32, body: &[u8]) -> Seen {
    let topic_end = topic_len(body) + 2;
    let (properties_len, at) = number(&body[topic_end + 2..]);
    let properties_at = topic_end + 2 + at;
    let mut properties = &body[properties_at..properties_at + properties_len];
    let mut pairs = HashMap::new();
    while let [0x26, rest @ ..] = properties {
        let (name, rest) = text(rest);
        let (value, rest) = text(rest);
        pairs.insert(name, value);
        properties = rest;
    }
    Seen {
        connection,
        topic: String::from_utf8_lossy(&body[2..topic_end]).into_owned(),
        payload: body[properties_at + properties_len..].to_vec(),
        id: pairs.get("id").cloned(),
        is_replay: pairs.get("replay").is_some_and(|replay| replay == "true"),
    }
}

fn text(bytes: &[u8]) -> (String, &[u8]) {
    let len = topic_len(bytes);
    (String::from_utf8_lossy(&bytes[2..2 + len]).into_owned(), &bytes[2 + len..])
}

/// A variable byte integer and its length.
fn number(bytes: &[u8]) -> (usize, usize) {
    let len = bytes.iter().take_while(|byte| **byte >= 0x80).count() + 1;
    let value = bytes[..len].iter().rev().fold(0, |value, byte| value << 7 | usize::from(byte & 0x7F));
    (value, len)
}

async fn packet(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let first = stream.read_u8().await?;
    let mut len = Vec::new();
    loop {
        len.push(stream.read_u8().await?);
        if len.last().is_some_and(|byte| *byte < 0x80) {
            break;
        }
    }
    let mut body = vec![0; number(&len).0];
    stream.read_exact(&mut body).await?;
    Ok((first, body))
}

/// Runs a publisher against a scripted broker until the condition holds.
async fn play(facts: u64, script: Script, until: impl Fn(&Told, &FakeBroker) -> bool) -> (Vec<Seen>, Vec<Problem>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut told = tell(facts, listener.local_addr().expect("bound").port());
    let broker = Arc::new(FakeBroker::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(Arc::clone(&broker).serve(listener, script));
    let publisher = std::mem::replace(&mut told.publisher, tell(0, 1).publisher);
    tasks.spawn(publisher.run());
    wait_until(|| until(&told, &broker)).await;
    let problems = told.problems.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (broker.seen(), problems)
}

pub(crate) async fn wait_until(condition: impl Fn() -> bool) {
    let reached = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(60), reached).await.expect("the condition holds within a minute");
}

/// Every message of the story was received, equal ids have equal bytes, and within a connection ids only rise.
fn assert_whole(seen: &[Seen], facts: u64) {
    let mut bytes: BTreeMap<&str, &[u8]> = BTreeMap::new();
    for one in seen {
        if let Some(id) = &one.id {
            assert_eq!(*bytes.entry(id).or_insert(&one.payload), &one.payload[..], "{id}");
        }
    }
    let all = story(facts);
    let ids: Vec<&str> = all.iter().map(|message| message.properties[0].1.as_str()).collect();
    for (message, id) in all.iter().zip(&ids) {
        assert_eq!(bytes.get(id).copied(), Some(&message.payload[..]), "{id}");
    }
    let place: HashMap<&str, usize> = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    let live: Vec<&Seen> = seen.iter().filter(|one| one.id.is_some() && !one.is_replay).collect();
    for pair in live.windows(2).filter(|pair| pair[0].connection == pair[1].connection) {
        let places = (place[pair[0].id.as_deref().expect("has")], place[pair[1].id.as_deref().expect("has")]);
        assert!(places.0 < places.1, "{places:?}");
    }
}

fn acked(told: &Told) -> u64 {
    told.acked.load(Ordering::SeqCst)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loses_nothing_when_the_link_is_cut_every_97_publishes() {
    let script = Script { cut_at: Some(97), ..Script::default() };
    let (seen, _) = play(2000, script, |told, broker| {
        // What is reported as acknowledged was received before it was reported.
        let through = acked(told);
        let received: HashSet<String> = broker.seen().into_iter().filter_map(|one| one.id).collect();
        let is_received = |message: &Outgoing| received.contains(&message.properties[0].1);
        assert!(story(through).iter().all(is_received), "acknowledged through {through}");
        through == 2000
    })
    .await;
    assert_whole(&seen, 2000);
    let connections: HashSet<u32> = seen.iter().map(|one| one.connection).collect();
    assert!(connections.len() > 20, "{}", connections.len());
    assert!(seen.iter().filter(|one| one.topic.ends_with("/_status")).count() >= connections.len());
}

#[tokio::test]
async fn obeys_a_receive_maximum_of_one_and_survives_a_wrong_packet_id() {
    let script = Script { receive_max: Some(1), is_confused_once: true, ..Script::default() };
    let (seen, _) = play(60, script, |told, _| acked(told) == 60).await;
    assert_whole(&seen, 60);
    assert!(seen.iter().any(|one| one.connection == 1));
}

#[tokio::test]
async fn a_refused_message_is_told_and_stays_first_in_line_until_it_is_taken() {
    let refuse = HashMap::from([("line1/1/epcis/4".to_owned(), 3)]);
    let script = Script { refuse, receive_max: Some(1), ..Script::default() };
    let (seen, problems) = play(30, script, |told, _| acked(told) == 30).await;
    assert_whole(&seen, 30);
    let refused = |problem: &Problem| matches!(problem, Problem::MessageRefused { fact_seq: 12, topic, .. } if topic == "_epcis/commissioning");
    assert_eq!(problems.iter().filter(|problem| refused(problem)).count(), 1, "{problems:?}");
    let tries = seen.iter().filter(|one| one.id.as_deref() == Some("line1/1/epcis/4")).count();
    assert_eq!(tries, 4);
    let last_before = seen.iter().rposition(|one| one.id.as_deref() == Some("line1/1/epcis/4")).expect("sent");
    assert!(
        !seen[..last_before].iter().any(|one| one.id.as_deref() == Some("line1/1/fact/13")),
        "nothing overtakes it"
    );
}

#[tokio::test]
async fn a_replay_sends_the_same_ids_and_bytes_marked_as_replay() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let told = tell(300, listener.local_addr().expect("bound").port());
    let broker = Arc::new(FakeBroker::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(Arc::clone(&broker).serve(listener, Script::default()));
    tasks.spawn(told.publisher.run());
    wait_until(|| told.acked.load(Ordering::SeqCst) == 300).await;
    assert_eq!(told.handle.replay(0).await, Err(ReplayRefusal::OutOfRange { head: 300 }));
    assert_eq!(told.handle.replay(302).await, Err(ReplayRefusal::OutOfRange { head: 300 }));
    assert_eq!(told.handle.replay(301).await, Ok(300));
    assert_eq!(told.handle.replay(101).await, Ok(300));
    assert_eq!(told.handle.replay(1).await, Err(ReplayRefusal::Running));
    let expected = story(300).len() - story(100).len();
    wait_until(|| broker.seen().iter().filter(|one| one.is_replay).count() == expected).await;
    assert_whole(&broker.seen(), 300);
    wait_until(|| told.handle.status().replay.is_none()).await;
    told.state.send_replace(Arc::new(vec![("_state/counts".into(), b"{}".to_vec())]));
    wait_until(|| broker.seen().iter().any(|one| one.topic.ends_with("/_state/counts"))).await;
    told.stop.send_replace(true);
    wait_until(|| broker.seen().last().is_some_and(|one| one.payload == br#"{"state":"offline"}"#)).await;
    drop(told.head);
}

#[tokio::test]
async fn the_backlog_is_known_before_the_publisher_hears_of_it() {
    let told = tell(3, 1);
    told.head.send_replace(17);
    let status = told.handle.status();
    assert_eq!((status.head, status.backlog()), (17, 17));
    drop(told.publisher);
    told.head.send_replace(18);
    assert_eq!(told.handle.status().backlog(), 18);
}
