//! The feed against mosquitto: limits, refusals, and a broker that forgets what it acknowledged.

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sealgate::publish::{MessageKey, Problem, Settings};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::rig::{PREFIX, Rig, settings, wait_until};

/// One that dies with the test.
pub(super) struct Mosquitto {
    child: Child,
    config: PathBuf,
    pub(super) port: u16,
}

impl Mosquitto {
    /// `None`, aloud, where it is not installed; that is a failure where everything must be.
    pub(super) fn start(folder: &Path, more: &str) -> Option<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).expect("a port").port();
        let config = folder.join("mosquitto.conf");
        let text = format!("listener {port} 127.0.0.1\npersistence false\nset_tcp_nodelay true\n{more}\n");
        std::fs::write(&config, text).expect("written");
        match Self::spawn(&config) {
            Ok(child) => Some(Self { child, config, port }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                assert!(std::env::var_os("CI").is_none(), "mosquitto must be installed in CI");
                // The test runner keeps to itself what a macro prints.
                let _ = io::stderr().write_all(b"LEFT OUT: tests with a foreign broker: mosquitto is not installed\n");
                None
            }
            Err(error) => panic!("mosquitto does not start: {error}"),
        }
    }

    fn spawn(config: &Path) -> io::Result<Child> {
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(config).env("PATH", path).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn()
    }

    /// SIGKILL to this process alone.
    pub(super) fn kill(&mut self) {
        self.child.kill().expect("it ran");
        self.child.wait().expect("it ended");
    }

    /// A new one on the same port that knows nothing of the old.
    pub(super) fn restart(&mut self) {
        self.child = Self::spawn(&self.config).expect("starts again");
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A consumer with a session that the broker is to keep, as an MES has one.
struct Consumer {
    stream: TcpStream,
    facts: Vec<u64>,
}

impl Consumer {
    async fn connect(port: u16, facts: Vec<u64>) -> Self {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)).await {
                let mut consumer = Self { stream, facts };
                consumer.greet().await;
                return consumer;
            }
            assert!(Instant::now() < until, "mosquitto does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// MQTT 5, no clean start, a session of an hour; then the facts of the line with QoS 1.
    async fn greet(&mut self) {
        let connect = b"\x10\x15\x00\x04MQTT\x05\x00\x00\x3c\x05\x11\x00\x00\x0e\x10\x00\x03mes";
        self.stream.write_all(connect).await.expect("sent");
        let filter = format!("{PREFIX}/_fact/#");
        let mut subscribe = vec![0x82, u8::try_from(filter.len() + 6).expect("short"), 0, 1, 0, 0];
        subscribe.push(u8::try_from(filter.len()).expect("short"));
        subscribe.extend(filter.as_bytes());
        subscribe.push(1);
        self.stream.write_all(&subscribe).await.expect("sent");
        loop {
            let (first, body) = self.packet().await.expect("an answer");
            match first >> 4 {
                3 => self.take(first, &body).await,
                9 => return,
                _ => {}
            }
        }
    }

    /// Takes what comes, until nothing comes any more.
    async fn take_all(&mut self) {
        while let Ok(Some((first, body))) = tokio::time::timeout(Duration::from_millis(400), self.packet()).await {
            if first >> 4 == 3 {
                self.take(first, &body).await;
            }
        }
    }

    async fn take(&mut self, first: u8, body: &[u8]) {
        let topic = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
        if first & 0x06 != 0 {
            self.stream.write_all(&[0x40, 2, body[topic], body[topic + 1]]).await.expect("sent");
        }
        let json = body.windows(9).position(|part| part == b"{\"stream\"").expect("a payload");
        let payload: Value = serde_json::from_slice(&body[json..]).expect("JSON");
        self.facts.push(payload["seq"].as_u64().expect("a number"));
    }

    async fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.stream.read_u8().await.ok()?;
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let byte = self.stream.read_u8().await.ok()?;
            length |= usize::from(byte & 0x7F) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.ok()?;
        Some((first, body))
    }

    /// How far there is no gap from 1 on.
    fn mark(&self) -> u64 {
        let facts: std::collections::BTreeSet<u64> = self.facts.iter().copied().collect();
        (1..).take_while(|fact| facts.contains(fact)).last().unwrap_or(0)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_mosquitto_acknowledged_and_lost_is_healed_by_watermark_and_replay() {
    // F120, I17
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mut broker) = Mosquitto::start(folder.path(), "allow_anonymous true\nmax_queued_messages 50") else {
        return;
    };
    let mut consumer = Consumer::connect(broker.port, Vec::new()).await;
    // Slowly, so that a consumer that reads loses nothing to the limit.
    let rig = Rig::resume(100, 0, Settings { drain_per_s: 400, ..settings(broker.port) });
    tokio::join!(rig.until_acked(100), consumer.take_all());
    consumer.take_all().await;
    assert_eq!(consumer.mark(), 100);
    rig.handle.confirm(consumer.mark()).await.expect("taken");
    let facts = consumer.facts;
    drop(consumer.stream);
    // The consumer is away: everything is acknowledged, fifty wait, the others are dropped.
    rig.head.send_replace(300);
    rig.until_acked(300).await;
    let mut consumer = Consumer::connect(broker.port, facts).await;
    consumer.take_all().await;
    let by_limit = consumer.mark();
    assert!((101..300).contains(&by_limit), "the limit of the broker was not felt: {by_limit}");
    let facts = consumer.facts;
    drop(consumer.stream);
    // Away again, and the broker dies with what it acknowledged.
    rig.head.send_replace(340);
    rig.until_acked(340).await;
    broker.kill();
    broker.restart();
    let mut consumer = Consumer::connect(broker.port, facts).await;
    rig.head.send_replace(350);
    rig.until_acked(350).await;
    consumer.take_all().await;
    assert_eq!(consumer.mark(), by_limit, "the gap stays: an acknowledgement is not delivery");
    rig.handle.confirm(consumer.mark()).await.expect("taken");
    let stalled = Problem::Unconfirmed { confirmed: by_limit, acked: 350 };
    wait_until("the stall is told", || {
        rig.state.send_replace(vec![("_state/x".to_owned(), format!("{:?}", Instant::now()).into_bytes())].into());
        rig.problems().contains(&stalled)
    })
    .await;
    rig.handle.replay(by_limit + 1).await.expect("taken");
    let ends = wait_until("the replay ends", || rig.handle.status().replay.is_none());
    tokio::join!(ends, consumer.take_all());
    consumer.take_all().await;
    assert_eq!(consumer.mark(), 350);
    rig.handle.confirm(350).await.expect("taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_access_list_of_mosquitto_refuses_waits_in_quarantine_until_it_is_mended() {
    // F115, F118
    let folder = tempfile::tempdir().expect("a folder");
    let list = folder.path().join("acl");
    let refusing = format!("topic read #\ntopic write {PREFIX}/_fact/#\ntopic write {PREFIX}/_status\n");
    std::fs::write(&list, refusing).expect("written");
    let more = format!("allow_anonymous true\nacl_file {}", list.display());
    let Some(mut broker) = Mosquitto::start(folder.path(), &more) else { return };
    let rig = Rig::run(20, broker.port);
    rig.until_acked(20).await;
    assert_eq!(rig.excepted().len(), 6, "{:?}", rig.excepted());
    std::fs::write(&list, "topic readwrite #\n").expect("written");
    broker.kill();
    wait_until("it is away", || !rig.handle.status().is_connected).await;
    broker.restart();
    wait_until("it is back", || rig.handle.status().is_connected).await;
    for seq in 1..=6 {
        let outcome = rig.handle.retry(MessageKey { stream: "epcis", seq, fact_seq: seq * 3 }).await;
        assert_eq!(outcome, Ok(()), "epcis {seq}");
    }
    assert_eq!(rig.handle.status().quarantined, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_without_a_user_for_us_is_told_and_asked_slowly() {
    // F115
    let folder = tempfile::tempdir().expect("a folder");
    let Some(broker) = Mosquitto::start(folder.path(), "allow_anonymous false") else { return };
    let rig = Rig::run(20, broker.port);
    let refused = |problem: &Problem| matches!(problem, Problem::LinkRefused { .. });
    wait_until("it is told", || rig.problems().iter().any(refused)).await;
    assert_eq!(rig.acked(), 0);
    assert_eq!(rig.problems().iter().filter(|problem| refused(problem)).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limits_of_mosquitto_set_one_long_message_aside_and_stop_nothing() {
    // F121
    for limit in ["max_packet_size 1000", "message_size_limit 1000"] {
        let folder = tempfile::tempdir().expect("a folder");
        let Some(broker) = Mosquitto::start(folder.path(), &format!("allow_anonymous true\n{limit}")) else { return };
        let rig = Rig::run(80, broker.port);
        rig.until_acked(80).await;
        assert_eq!(rig.excepted(), [("fact", 50)], "{limit}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_lines_under_one_client_id_are_told_and_do_not_shake_the_broker() {
    // F122
    let folder = tempfile::tempdir().expect("a folder");
    let Some(broker) = Mosquitto::start(folder.path(), "allow_anonymous true") else { return };
    let lines = [Rig::run(10, broker.port), Rig::resume(10, 0, Settings { window: 1, ..settings(broker.port) })];
    // Mosquitto says 0x8E in a form that the library does not read: what is seen is a connection that ends without need.
    let is_it = |problem: &Problem| matches!(problem, Problem::TakenOver | Problem::HungUp { .. });
    let are_told = || lines.iter().all(|line| line.problems().iter().any(is_it));
    let told = tokio::time::timeout(Duration::from_secs(5), wait_until("both are told", are_told)).await;
    assert!(told.is_ok(), "{:?} {:?}", lines[0].handle.status(), lines[1].handle.status());
    // The pauses grow to 0.3 to 0.6 s here, to a minute in a plant: a few connections in three seconds, not hundreds.
    let ends = || lines.iter().map(|line| line.connections()).sum::<usize>();
    let (before, since) = (ends(), Instant::now());
    wait_until("three seconds go by", || since.elapsed() > Duration::from_secs(3)).await;
    assert!(ends() - before <= 25, "{} connections in three seconds", ends() - before);
    for line in &lines {
        line.until_acked(10).await;
    }
}
