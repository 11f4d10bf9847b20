//! The real daemon for the tests of the feed: its devices are away, its broker is what the test makes of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sealgate::store::commit::Job;
use sealgate::store::{self, Work};
use sealgate::wire::record::{FactRow, Message, Record};
use serde_json::Value;

pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_sealgate");
const ORDER: &str = r#"{"batch":"B1","gtin":"09506000134352","lot":"L7","expiry":"2047-03-31","gcp_length":7,
    "pack":{"case":2,"pallet":2},"sscc":{"extension":0,"prefix":"9506000","first":1,"last":99},"serials_file":"serials.txt"}"#;
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// A unit is printed, verified and commissioned: three facts, and one EPCIS event.
pub(super) const FACTS_PER_UNIT: u64 = 3;

/// A line whose broker listens, or does not yet, on `port`.
pub(super) struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    /// `more` is written into the section [mqtt].
    pub(super) fn new(port: u16, more: &str) -> Self {
        let folder =
            tempfile::Builder::new().prefix("sg").tempdir_in(std::env::temp_dir()).expect("a temporary folder");
        let data = Path::new("tests/data/config");
        let text = fs::read_to_string(data.join("good.toml")).expect("test data");
        let maps = fs::canonicalize(data).expect("test data").join("maps");
        let text = text
            .replace("[journal]", "socket = \"line.sock\"\n\n[journal]")
            .replace("\"maps/", &format!("\"{}/", maps.display()))
            .replace("10.0.0.5:4840", "127.0.0.1:1")
            .replace("10.0.0.6:4840", "127.0.0.1:1")
            .replace("host = \"10.0.0.7\"\nport = 1502", "host = \"127.0.0.1\"\nport = 1")
            .replace("host = \"broker\"", &format!("host = \"127.0.0.1\"\nport = {port}\n{more}"));
        fs::write(folder.path().join("line.toml"), text).expect("the folder is ours");
        fs::write(folder.path().join("order.json"), ORDER).expect("the folder is ours");
        fs::write(folder.path().join("serials.txt"), "A1\nA2\nA3\n").expect("the folder is ours");
        Self { folder }
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("--config").arg(self.folder.path().join("line.toml")).args(line).current_dir(self.folder.path());
        command.env_remove("NOTIFY_SOCKET").env_remove("JOURNAL_STREAM");
        command
    }

    /// The answer of a command, or null where the daemon does not answer yet.
    pub(super) fn ask(&self, line: &[&str]) -> Value {
        let output = self.command(&[line, &["--json"]].concat()).output().expect("the program starts");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    pub(super) fn start(&self) -> Daemon {
        let mut command = self.command(&["run"]);
        let daemon = Daemon(command.stderr(Stdio::null()).spawn().expect("the program starts"));
        until("the daemon answers", || self.ask(&["status"])["line"] == "line3");
        daemon
    }
}

pub(super) struct Daemon(Child);

impl Daemon {
    /// Its own memory, without the pages of files that it has mapped, KiB.
    pub(super) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("Linux");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A journal with so many facts, as an outage leaves it; returns their number.
pub(super) fn journal_of(path: &Path, facts: u64) -> u64 {
    let mut store = store::open(&store::Settings::new(path, "acme/plant7/line3")).expect("a new journal");
    let mut seq = 0;
    while seq < facts {
        let records = (1..=1000.min(facts - seq)).map(|offset| fact(seq + offset)).collect::<Vec<_>>();
        seq += u64::try_from(records.len()).expect("a thousand");
        store.commit(&Job { records, work: Vec::<Work>::new() }, || 0).expect("committed");
    }
    facts
}

/// Facts that fold without a batch: what matters here is how many there are and how long they are.
fn fact(seq: u64) -> Record {
    let row = FactRow {
        seq,
        at_us: 1_795_000_000_000_000 + i64::try_from(seq).expect("small") * 50_000,
        mono_us: seq * 50_000,
        boot: 1,
        kind: "station_faulted",
        version: 1,
        batch: None,
        actor: "line".into(),
        subject: "camera".into(),
        body: format!(r#"{{"station":"camera","code":{seq}}}"#),
    };
    let event = Message {
        stream: "epcis",
        topic: "_epcis/commissioning".into(),
        kind: "org.gs1.epcis.ObjectEvent",
        subject: String::new(),
        body: format!(r#"{{"unit":{seq},"filler":"{}"}}"#, "x".repeat(400)).into_bytes(),
    };
    let messages = if seq.is_multiple_of(FACTS_PER_UNIT) { vec![event] } else { Vec::new() };
    Record { row, changes: Vec::new(), messages }
}
