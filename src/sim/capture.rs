//! The demo's consumer: everything below the line's prefix, written down as it arrives, and asked for again where it is missing.
//!
//! `feed.jsonl` holds one JSON object per line and message, copies included:
//! `{"at_us", "topic", "retain", "size", "sha256", "properties": {…}, "payload": …}`. `payload` comes last and holds the bytes as they
//! came when they are JSON without line breaks, else their hexadecimal digits as a string; `size` and `sha256` are of the bytes.
//!
//! A broker may lose what it acknowledged. The capture knows, for each stream, up to where it has no gap; after every
//! connection, and where a gap stays, it asks the line for a replay from there until it is answered.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};
use tokio::time::{interval, timeout};

use crate::publish::Link;
use crate::publish::subscriber::{self, Post, Received, SubscriberEvent, Subscription};

/// Numbers kept beyond a gap; what is above is forgotten and comes again with the replay.
const BEYOND_GAP_MAX: usize = 200_000;
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Looks between two requests for a replay that was not answered.
const LOOKS_PER_REQUEST: u32 = 3;

/// The highest number of each stream below which nothing is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    pub fact: u64,
    pub epcis: u64,
    pub batch: u64,
}

impl Marks {
    fn reach(&self, wanted: &Self) -> bool {
        self.fact >= wanted.fact && self.epcis >= wanted.epcis && self.batch >= wanted.batch
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub marks: Marks,
    /// Messages written, copies included.
    pub messages: u64,
    /// Copies of a message of a stream.
    pub copies: u64,
    pub is_subscribed: bool,
    /// Something above a mark has arrived: what lies between is missing so far.
    has_gap: bool,
    /// Asked for since the last connection and not yet consented to.
    is_replay_due: bool,
    replay_from: u64,
    failure: Option<String>,
}

/// Looks at a capture that runs.
#[derive(Clone, Debug)]
pub struct CaptureHandle {
    progress: watch::Receiver<Progress>,
}

impl CaptureHandle {
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Waits until nothing is missing up to `wanted`; `false` when that takes too long.
    pub async fn wait_for(&self, wanted: Marks, within: Duration) -> bool {
        let mut progress = self.progress.clone();
        let reached = progress.wait_for(|progress| progress.marks.reach(&wanted));
        matches!(timeout(within, reached).await, Ok(Ok(_)))
    }

    /// Waits until the broker has taken the subscription.
    pub async fn subscribed(&self, within: Duration) -> bool {
        let mut progress = self.progress.clone();
        let reached = progress.wait_for(|progress| progress.is_subscribed);
        matches!(timeout(within, reached).await, Ok(Ok(_)))
    }
}

#[derive(Debug)]
pub struct Capture {
    link: Link,
    prefix: String,
    file: File,
    progress: watch::Sender<Progress>,
}

/// Opens the file (an old one is continued) and sets the capture up.
pub fn open(link: Link, prefix: String, path: &Path) -> io::Result<(CaptureHandle, Capture)> {
    let file = File::options().create(true).append(true).open(path)?;
    let (sender, progress) = watch::channel(Progress::default());
    Ok((CaptureHandle { progress }, Capture { link, prefix, file, progress: sender }))
}

impl Capture {
    /// Runs until dropped, or until the file cannot be written.
    pub async fn run(self) -> io::Result<()> {
        let Self { link, prefix, mut file, progress } = self;
        let subscription = Subscription { filter: format!("{prefix}/#"), is_retain_shown_as_sent: false };
        let answers = format!("{prefix}/_answer/{}", link.client_id);
        let (posts, outgoing) = mpsc::channel(4);
        let mut streams = Streams::default();
        let on_event = |event| {
            match event {
                SubscriberEvent::Received(received) => {
                    let failure = write_line(&mut file, &received).err().map(|error| error.to_string());
                    streams.take(&prefix, &answers, &received);
                    progress.send_modify(|progress| streams.show(progress, failure));
                }
                SubscriberEvent::Subscribed => {
                    streams.is_replay_due = true;
                    progress.send_modify(|progress| progress.is_subscribed = true);
                    progress.send_modify(|progress| streams.show(progress, None));
                }
                SubscriberEvent::Lost(_) => progress.send_modify(|progress| progress.is_subscribed = false),
            }
            Vec::new()
        };
        let subscriptions = [subscription];
        let session = subscriber::run(&link, &subscriptions, outgoing, on_event);
        tokio::select! {
            () = session => Ok(()),
            failure = ask_for_missing(&prefix, &answers, progress.subscribe(), posts) => Err(failure),
        }
    }
}

/// Asks for replays as long as they are due. Ends with the failure to write.
async fn ask_for_missing(
    prefix: &str,
    answers: &str,
    progress: watch::Receiver<Progress>,
    posts: mpsc::Sender<Post>,
) -> io::Error {
    let mut look = interval(LOOK_EVERY);
    let (mut unanswered, mut gap_seen) = (0_u32, None);
    loop {
        look.tick().await;
        let now = progress.borrow().clone();
        if let Some(failure) = now.failure {
            return io::Error::other(failure);
        }
        let gap = now.has_gap.then_some(now.marks);
        let is_gap_standing = gap.is_some() && gap == gap_seen;
        gap_seen = gap;
        if !now.is_subscribed || !(now.is_replay_due || is_gap_standing) {
            unanswered = 0;
            continue;
        }
        if unanswered.is_multiple_of(LOOKS_PER_REQUEST) {
            let id = uuid::Uuid::new_v4().to_string();
            let post = Post {
                topic: format!("{prefix}/_cmd/feed/replay"),
                payload: serde_json::json!({ "from": now.replay_from, "id": id }).to_string().into_bytes(),
                response_topic: Some(answers.to_owned()),
                correlation: Some(id.into_bytes()),
            };
            // A full queue means that an earlier request still waits to be sent.
            drop(posts.try_send(post));
        }
        unanswered = unanswered.wrapping_add(1);
    }
}

/// One stream's numbers.
#[derive(Debug, Default)]
struct Stream {
    gap_free: u64,
    beyond: BTreeSet<u64>,
    /// The gap-free fact when this stream last moved: what it misses was caused by that fact or a later one.
    fact_then: u64,
}

impl Stream {
    /// False for a copy.
    fn take(&mut self, seq: u64, fact_gap_free: u64) -> bool {
        if seq <= self.gap_free || self.beyond.contains(&seq) {
            return false;
        }
        if self.beyond.len() < BEYOND_GAP_MAX {
            self.beyond.insert(seq);
        }
        while self.beyond.remove(&(self.gap_free + 1)) {
            self.gap_free += 1;
            self.fact_then = fact_gap_free;
        }
        true
    }
}

#[derive(Debug, Default)]
struct Streams {
    fact: Stream,
    epcis: Stream,
    batch: Stream,
    messages: u64,
    copies: u64,
    is_replay_due: bool,
}

#[derive(Deserialize)]
struct ReplayAnswer {
    ok: bool,
}

impl Streams {
    fn take(&mut self, prefix: &str, answers: &str, received: &Received) {
        self.messages += 1;
        if received.topic == answers {
            let answer = serde_json::from_slice::<ReplayAnswer>(&received.payload);
            self.is_replay_due &= !answer.is_ok_and(|answer| answer.ok);
            return;
        }
        let Some(below) = received.topic.strip_prefix(prefix).and_then(|below| below.strip_prefix('/')) else { return };
        let fact_gap_free = self.fact.gap_free;
        let stream = match below.split('/').next() {
            Some("_fact") => &mut self.fact,
            Some("_epcis") => &mut self.epcis,
            Some("_batch") => &mut self.batch,
            Some(_) | None => return,
        };
        let seq = received.properties.iter().find(|(name, _)| name == "seq").and_then(|(_, seq)| seq.parse().ok());
        if let Some(seq) = seq
            && !stream.take(seq, fact_gap_free)
        {
            self.copies += 1;
        }
    }

    fn show(&self, progress: &mut Progress, failure: Option<String>) {
        let streams = [&self.fact, &self.epcis, &self.batch];
        progress.marks = Marks { fact: self.fact.gap_free, epcis: self.epcis.gap_free, batch: self.batch.gap_free };
        progress.messages = self.messages;
        progress.copies = self.copies;
        progress.has_gap = streams.iter().any(|stream| !stream.beyond.is_empty());
        progress.is_replay_due = self.is_replay_due;
        // The newest fact is asked for again: messages that it caused may be missing behind it, which no number shows.
        let from = streams.iter().filter(|stream| !stream.beyond.is_empty()).map(|stream| stream.fact_then).min();
        progress.replay_from = from.unwrap_or(self.fact.gap_free).min(self.fact.gap_free).max(1);
        progress.failure = progress.failure.take().or(failure);
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

fn write_line(file: &mut File, received: &Received) -> io::Result<()> {
    let at_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    file.write_all(line_of(received, at_us).as_bytes())
}

/// One line of the file.
pub fn line_of(received: &Received, at_us: u128) -> String {
    let properties: serde_json::Map<String, serde_json::Value> =
        received.properties.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let text = std::str::from_utf8(&received.payload).ok().filter(|text| !text.contains(['\n', '\r']));
    let json = text.filter(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
    let payload = json.map_or_else(|| format!("\"{}\"", hex(&received.payload)), ToOwned::to_owned);
    let topic = serde_json::Value::from(received.topic.clone());
    let properties = serde_json::Value::from(properties);
    format!(
        "{{\"at_us\":{at_us},\"topic\":{topic},\"retain\":{},\"size\":{},\"sha256\":\"{}\",\"properties\":{properties},\"payload\":{payload}}}\n",
        received.retain,
        received.payload.len(),
        hex(&Sha256::digest(&received.payload)),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{Ipv4Addr, TcpListener};
    use std::process::{Child, Command as Process, Stdio};
    use std::sync::Arc;

    use tokio::task::JoinSet;

    use super::*;
    use crate::publish::tests::{PREFIX, Told, story, tell, wait_until};

    const MINUTE: Duration = Duration::from_secs(60);

    fn link(port: u16) -> Link {
        Link {
            host: "127.0.0.1".into(),
            port,
            client_id: "capture".into(),
            username: None,
            password: None,
            keep_alive_s: 5,
        }
    }

    fn marks_of(facts: u64) -> Marks {
        Marks { fact: facts, epcis: facts / 3, batch: facts / 100 }
    }

    /// The lines of a capture; the test fails where equal ids differ in their bytes, or one of the story is missing.
    fn assert_whole(path: &Path, facts: u64) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(path).expect("captured");
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        let mut bytes: BTreeMap<String, String> = BTreeMap::new();
        for line in &lines {
            if let Some(id) = line["properties"]["id"].as_str() {
                let sha256 = line["sha256"].as_str().expect("a digest").to_owned();
                assert_eq!(bytes.entry(id.to_owned()).or_insert_with(|| sha256.clone()), &sha256, "{id}");
            }
        }
        for message in story(facts) {
            let (_, id) = &message.properties[0];
            assert_eq!(bytes.get(id), Some(&hex(&Sha256::digest(&message.payload))), "{id}");
        }
        lines
    }

    /// A mosquitto that dies with the test.
    struct Mosquitto {
        child: Child,
        config: std::path::PathBuf,
    }

    impl Mosquitto {
        /// `None`, aloud, where it is not installed; that is a failure where everything must be.
        fn start(dir: &Path, port: u16) -> Option<Self> {
            let config = dir.join("mosquitto.conf");
            let text =
                format!("listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n");
            std::fs::write(&config, text).expect("written");
            match Self::spawn(&config) {
                Ok(child) => Some(Self { child, config }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    assert!(std::env::var_os("CI").is_none(), "mosquitto must be installed in CI");
                    // The test runner keeps to itself what a macro prints.
                    let _ =
                        io::stderr().write_all(b"LEFT OUT: tests with a foreign broker: mosquitto is not installed\n");
                    None
                }
                Err(error) => panic!("mosquitto does not start: {error}"),
            }
        }

        fn spawn(config: &Path) -> io::Result<Child> {
            let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
            Process::new("mosquitto")
                .arg("-c")
                .arg(config)
                .env("PATH", path)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
        }

        /// SIGKILL to this process alone, and a new one on the same port that knows nothing of the old.
        fn kill_and_restart(&mut self) {
            self.child.kill().expect("it ran");
            self.child.wait().expect("it ended");
            self.child = Self::spawn(&self.config).expect("starts again");
        }
    }

    impl Drop for Mosquitto {
        fn drop(&mut self) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }

    fn free_port() -> u16 {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).expect("a port").port()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_killed_broker_costs_the_capture_nothing_because_it_asks_for_a_replay() {
        const FACTS: u64 = 6000;
        let dir = tempfile::tempdir().expect("a directory");
        let (path, port) = (dir.path().join("feed.jsonl"), free_port());
        let Some(mut mosquitto) = Mosquitto::start(dir.path(), port) else { return };
        let (capture, running) = open(link(port), PREFIX.into(), &path).expect("opens");
        let Told { handle, publisher, head, state, stop: _stop, .. } = tell(FACTS, port);
        head.send_replace(0);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { running.run().await.expect("writes") });
        tasks.spawn(publisher.run());
        assert!(capture.subscribed(MINUTE).await);
        state.send_replace(Arc::new(vec![("_state/batch".into(), br#"{"batch":"B1"}"#.to_vec())]));
        for part in 1..=6 {
            head.send_replace(FACTS / 6 * part);
            wait_until(|| handle.status().acked_fact_seq >= FACTS / 6 * part - 500).await;
            if part.is_multiple_of(2) {
                mosquitto.kill_and_restart();
            }
        }
        assert!(capture.wait_for(marks_of(FACTS), MINUTE).await, "{:?}", capture.progress());
        // Whether a kill costs messages is the broker's luck; that it is followed by a replay is not.
        wait_until(|| handle.status().messages_replayed > 0).await;
        let lines = assert_whole(&path, FACTS);
        assert!(
            lines
                .iter()
                .any(|line| line["topic"] == format!("{PREFIX}/_status") && line["payload"]["state"] == "online")
        );
        assert!(lines.iter().any(|line| line["topic"] == format!("{PREFIX}/_state/batch")));
    }

    #[cfg(feature = "demo")]
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_embedded_broker_passes_everything_on_unchanged_and_keeps_up() {
        const FACTS: u64 = 15_000;
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("feed.jsonl");
        let broker = crate::sim::broker::start(0).expect("starts");
        let (capture, running) = open(link(broker.port()), PREFIX.into(), &path).expect("opens");
        let Told { handle, publisher, head, stop, state: _state, .. } = tell(FACTS, broker.port());
        head.send_replace(0);
        let mut tasks = JoinSet::new();
        let mut captures = JoinSet::new();
        captures.spawn(async move { running.run().await.expect("writes") });
        tasks.spawn(publisher.run());
        assert!(capture.subscribed(MINUTE).await);
        wait_until(|| handle.status().is_connected).await;
        let began = std::time::Instant::now();
        head.send_replace(FACTS);
        wait_until(|| handle.status().acked_fact_seq == FACTS).await;
        let took = began.elapsed();
        assert!(capture.wait_for(marks_of(FACTS), MINUTE).await, "{:?}", capture.progress());
        println!("{} messages acknowledged in {took:?}, captured in {:?}", story(FACTS).len(), began.elapsed());
        stop.send_replace(true);
        tasks.join_next().await.expect("one").expect("ends");
        let said = |state: &'static str| {
            let text = std::fs::read_to_string(&path).expect("captured");
            text.contains(&format!(r#""payload":{{"state":"{state}""#))
        };
        wait_until(|| said("offline") && said("online")).await;
        assert_whole(&path, FACTS);
        // A late subscriber gets what was retained, and a replay of the whole.
        captures.shutdown().await;
        let (_again, publisher, late) = (tell(0, 1), tell(FACTS, broker.port()), dir.path().join("late.jsonl"));
        tasks.spawn(publisher.publisher.run());
        let (capture, running) = open(link(broker.port()), PREFIX.into(), &late).expect("opens");
        captures.spawn(async move { running.run().await.expect("writes") });
        assert!(capture.wait_for(marks_of(FACTS), MINUTE).await, "{:?}", capture.progress());
        let retained = assert_whole(&late, FACTS).into_iter().filter(|line| line["retain"] == true).count();
        assert!(retained >= 1);
        broker.stop();
    }

    #[cfg(feature = "demo")]
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_embedded_broker_sends_the_will_when_the_line_vanishes_and_carries_answers() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("feed.jsonl");
        let broker = crate::sim::broker::start(0).expect("starts");
        let (capture, running) = open(link(broker.port()), PREFIX.into(), &path).expect("opens");
        let Told { publisher, head: _head, state: _state, stop: _stop, .. } = tell(10, broker.port());
        let (mut captures, mut tasks) = (JoinSet::new(), JoinSet::new());
        captures.spawn(async move { running.run().await.expect("writes") });
        tasks.spawn(publisher.run());
        assert!(capture.wait_for(marks_of(10), MINUTE).await);
        let captured = |text: &str| std::fs::read_to_string(&path).expect("captured").contains(text);
        wait_until(|| captured(r#"_answer/capture"#) && captured(r#""ok":true"#)).await;
        // The process dies: no DISCONNECT.
        tasks.shutdown().await;
        wait_until(|| captured(r#""payload":{"state":"offline"}"#)).await;
        broker.stop();
    }

    #[test]
    fn lines_hold_json_as_it_came_and_other_bytes_as_hex() {
        let mut received = Received {
            topic: "a/b".into(),
            retain: false,
            payload: br#"{"b": 1, "a":1.0}"#.to_vec(),
            properties: vec![("seq".into(), "1".into())],
            response_topic: None,
            correlation: None,
        };
        assert!(line_of(&received, 5).ends_with("\"payload\":{\"b\": 1, \"a\":1.0}}\n"));
        received.payload = vec![0xFF, 0x0A];
        assert!(line_of(&received, 5).ends_with("\"payload\":\"ff0a\"}\n"));
    }

    #[test]
    fn a_gap_holds_the_mark_and_the_replay_starts_where_the_stream_last_moved() {
        let mut streams = Streams::default();
        let mut take = |topic: &str, seq: u64| {
            let received = Received {
                topic: format!("{PREFIX}/{topic}"),
                retain: false,
                payload: b"{}".to_vec(),
                properties: vec![("seq".into(), seq.to_string())],
                response_topic: None,
                correlation: None,
            };
            streams.take(PREFIX, "answers", &received);
            let mut progress = Progress::default();
            streams.show(&mut progress, None);
            progress
        };
        take("_fact/x", 1);
        take("_fact/x", 2);
        take("_epcis/packing", 1);
        take("_fact/x", 3);
        let gap = take("_epcis/packing", 3);
        assert_eq!((gap.marks, gap.has_gap, gap.replay_from), (Marks { fact: 3, epcis: 1, batch: 0 }, true, 2));
        let healed = take("_epcis/packing", 2);
        assert_eq!((healed.marks.epcis, healed.has_gap, healed.replay_from), (3, false, 3));
        assert_eq!(take("_fact/x", 2).copies, 1);
    }
}
