//! The broker away for three days, compressed: one two-hundredth of the units of 72 hours at 400 a minute, in the same structure. The
//! line works on, and afterwards everything arrives in order while the daemon's memory stays as it was.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::broker::Broker;
use super::mosquitto::Mosquitto;
use super::site::{FACTS_PER_UNIT, PATIENCE, PROGRAM, Site, journal_of, until};

/// 72 h at 400 units a minute are 1,728,000; `SEALGATE_OUTAGE_UNITS` asks for more of them.
const UNITS: u64 = 8_640;
/// What the daemon's own memory may grow by while a backlog leaves.
const GROWTH_MAX_KIB: u64 = 3 * 1024;

fn units() -> u64 {
    std::env::var("SEALGATE_OUTAGE_UNITS").map_or(UNITS, |units| units.parse().expect("a number of units"))
}

#[test]
fn after_three_days_without_a_broker_everything_arrives_in_order_and_memory_stays_flat() {
    // F114, F09, I16, I17
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let site = Site::new(port, "drain_per_s = 0");
    let before = journal_of(&site.file("line3.db"), units() * FACTS_PER_UNIT);
    let daemon = site.start();
    let loaded = site.ask(&["batch", "load", "order.json"]);
    assert_eq!(loaded["ok"], true, "orders are taken from files meanwhile: {loaded}");
    until("the alarm that much waits is there", || {
        site.ask(&["alarm", "list"])
            .as_array()
            .is_some_and(|alarms| alarms.iter().any(|alarm| alarm["kind"] == "feed_behind"))
    });
    let status = site.ask(&["status"]);
    assert_eq!(status["alarms"][0]["holds"], false, "{status}");
    let feed = site.ask(&["feed", "status"]);
    assert!(feed["backlog"].as_u64().is_some_and(|backlog| backlog > before), "{feed}");
    assert!(feed["message_bytes"].as_u64().is_some_and(|bytes| bytes > units() * 400), "{feed}");
    assert!(feed["waiting_since"].as_str().is_some(), "{feed}");

    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let broker = runtime.block_on(Broker::start_on(port, "nth 9000 of 1 cut"));
    // The first fifth sets up what a drain needs; from then on nothing may grow with what was sent.
    let (mut began, mut highest) = (0, 0);
    let mut drained_since = None;
    let end = Instant::now() + PATIENCE * u32::try_from(2 * units() / UNITS).expect("not that many");
    while site.ask(&["feed", "status"])["backlog"] != 0 {
        assert!(Instant::now() < end, "{} of {before} facts arrived", broker.seen().len());
        let arrived = u64::try_from(broker.seen().len()).expect("so many");
        let memory = daemon.memory();
        drained_since = drained_since.or((arrived > 0).then(Instant::now));
        began = if arrived < before / 5 { memory.max(began) } else { began };
        highest = highest.max(memory);
        std::thread::sleep(Duration::from_millis(50));
    }
    let took = drained_since.map_or(Duration::ZERO, |since| since.elapsed());
    let seen = broker.seen();
    let line = format!(
        "feed: {} messages of a backlog of {before} facts in {took:.1?}; own memory {began} KiB in the first fifth, {highest} KiB at most\n",
        seen.len()
    );
    // The test runner keeps to itself what a macro prints.
    let _ = std::io::stderr().write_all(line.as_bytes());
    assert!(highest <= began + GROWTH_MAX_KIB, "{line}");

    for stream in ["fact", "epcis"] {
        let number = |id: &String| id.strip_prefix(stream)?.strip_prefix('/')?.parse::<u64>().ok();
        let mut last = (0, 0);
        let mut arrived = std::collections::BTreeSet::new();
        for (connection, seq) in seen.iter().filter_map(|one| Some((one.connection, number(one.id.as_ref()?)?))) {
            assert!(connection > last.0 || seq > last.1, "{stream} {seq} after {}", last.1);
            last = (connection, seq);
            arrived.insert(seq);
        }
        let wanted = if stream == "fact" { before } else { units() };
        assert!((1..=wanted).all(|seq| arrived.contains(&seq)), "{stream}: a hole");
    }
    assert_eq!(broker.connects().len(), 2, "one link was cut on the way");
    broker.stop();
}

#[cfg(feature = "demo")]
#[test]
fn a_whole_batch_is_made_and_closed_while_the_broker_is_away_and_arrives_afterwards() {
    // F114
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mut broker) = Mosquitto::start(folder.path(), "allow_anonymous true") else { return };
    until("mosquitto answers", || std::net::TcpStream::connect(("127.0.0.1", broker.port)).is_ok());
    let data = folder.path().join("data");
    let mut demo = Command::new(PROGRAM);
    demo.args(["demo", "--units", "200", "--rate", "6000", "--seed", "3", "--headless", "--json", "--data"]).arg(&data);
    demo.args(["--broker", &format!("127.0.0.1:{}", broker.port)]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let demo = demo.spawn().expect("the program starts");
    let journal = data.join("line.db");
    let batch = |field: &str| {
        let output = Command::new(PROGRAM).args(["batch", "list", "--json", "--db"]).arg(&journal).output();
        let rows: Value = serde_json::from_slice(&output.expect("it starts").stdout).unwrap_or_default();
        rows[0][field].clone()
    };
    until("the line runs", || batch("state") == "running");
    broker.kill();
    until("the batch is closed", || batch("state") == "closed");
    broker.restart();
    let ended = demo.wait_with_output().expect("our child");
    let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{out}{err}");
    let figures: Value = serde_json::from_str(out.lines().last().expect("a last line")).expect("one JSON object");
    assert_eq!((&figures["reconciled"], &figures["batch_closed"]), (&true.into(), &true.into()), "{figures}");
}
