//! The real program from outside: the daemon as systemd starts it, and the command line beside it. Its devices and its broker are
//! away: nobody listens on their ports, which must never keep a line from starting.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sealgate");
const ORDER: &str = r#"{"batch":"B1","gtin":"09506000134352","lot":"L7","expiry":"2047-03-31","gcp_length":7,
    "pack":{"case":2,"pallet":2},"sscc":{"extension":0,"prefix":"9506000","first":1,"last":99},"serials_file":"serials.txt"}"#;
/// Legal serial numbers (GS1 character set 82) that something less careful would stumble over.
const SERIALS: [&str; 5] = ["A1", "'OR'1'='1'--", "../../etc/passwd", "a+b/c", "007"];
/// A busy machine may need long; a whole one is ready in a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a configuration, an order, and the socket on which systemd would listen. The path of a socket holds at most 108
/// bytes, so the folder lies at the top of the temporary directory.
pub(crate) struct Site {
    folder: tempfile::TempDir,
    systemd: UnixDatagram,
}

/// How a command went.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Site {
    pub(crate) fn new() -> Self {
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
            .replace(
                "[mqtt]",
                "[store]\nfile_systems = [\"tmpfs\", \"overlay\"]\nreserve_free_mb = 1\nballast_mb = 0\n\n[mqtt]",
            )
            .replace("host = \"broker\"", "host = \"127.0.0.1\"\nport = 1");
        fs::write(folder.path().join("line.toml"), text).expect("the folder is ours");
        fs::write(folder.path().join("order.json"), ORDER).expect("the folder is ours");
        fs::write(folder.path().join("serials.txt"), SERIALS.join("\n")).expect("the folder is ours");
        let systemd = UnixDatagram::bind(folder.path().join("notify")).expect("the folder is ours");
        systemd.set_read_timeout(Some(PATIENCE)).expect("a bound on waiting");
        Self { folder, systemd }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Another configuration, for the next start.
    pub(crate) fn configure(&self, change: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(self.file("line.toml")).expect("ours");
        fs::write(self.file("line.toml"), change(text)).expect("the folder is ours");
    }

    pub(crate) fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("--config").arg(self.file("line.toml")).args(line).current_dir(self.folder.path());
        command.env_remove("NOTIFY_SOCKET").env_remove("JOURNAL_STREAM").env_remove("SEALGATE_LOG");
        // A session of whoever runs the tests is none of theirs.
        command.env("XDG_RUNTIME_DIR", self.folder.path());
        command
    }

    pub(crate) fn run(&self, line: &[&str]) -> Said {
        let output = self.command(line).output().expect("the program starts");
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    /// The data of an answer that is yes.
    pub(crate) fn json(&self, line: &[&str]) -> Value {
        let said = self.run(&[line, &["--json"]].concat());
        assert_eq!(said.code, 0, "{line:?}: {}{}", said.out, said.err);
        serde_json::from_str(&said.out).expect("one JSON document")
    }

    /// Starts the daemon and waits until it says that it is ready.
    pub(crate) fn start(&self) -> Daemon {
        let mut command = self.command(&["run"]);
        command.env("NOTIFY_SOCKET", self.file("notify")).stderr(Stdio::null());
        let daemon = Daemon { child: command.spawn().expect("the program starts") };
        self.hear("READY=1");
        daemon
    }

    /// Waits for one word of the daemon to systemd.
    pub(crate) fn hear(&self, word: &str) {
        let mut bytes = [0; 512];
        loop {
            let length = self.systemd.recv(&mut bytes).unwrap_or_else(|error| panic!("{word} did not come: {error}"));
            if String::from_utf8_lossy(&bytes[..length]).contains(word) {
                return;
            }
        }
    }
}

/// Asks until there is an answer, within bounds.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let pause = Duration::from_millis(20);
    for _ in 0..PATIENCE.as_millis() / pause.as_millis() {
        if let Some(answer) = ask() {
            return answer;
        }
        std::thread::sleep(pause);
    }
    panic!("{what}: not within {PATIENCE:?}");
}

/// A running daemon; killed where a test ends before it.
pub(crate) struct Daemon {
    pub(crate) child: Child,
}

impl Daemon {
    /// A clean stop, as systemd asks for it.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().expect("kill(1)");
        assert!(sent.success());
        wait_for("its end on SIGTERM", || self.child.try_wait().expect("our child"))
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("our child");
        self.child.wait().expect("our child");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_line_whose_devices_are_away_is_ready_answers_and_stops_in_order() {
    let site = Site::new();
    let daemon = site.start();
    let status = site.json(&["status"]);
    assert_eq!((&status["line"], &status["running"]), (&"line3".into(), &false.into()));
    assert_eq!(status["stations"].as_array().map(Vec::len), Some(5), "{status}");
    assert_eq!(site.json(&["alarm", "list"]), serde_json::json!([]));
    assert_eq!(site.json(&["feed", "status"])["connected"], false);

    let second = site.run(&["run"]);
    assert_eq!(second.code, 75, "{}", second.err);
    let whole = site.run(&["audit", "verify"]);
    assert_eq!(whole.code, 0, "{}{}", whole.out, whole.err);

    assert_eq!(daemon.terminate().code(), Some(0));
    let end = site.json(&["status", "--db", "line3.db"]);
    assert_eq!(end["kind"], "line_stopped", "{end}");
    assert_eq!(site.json(&["audit", "verify"])["facts"], end["seq"]);
}

#[test]
fn a_second_daemon_on_the_same_journal_is_refused_whatever_its_socket() {
    let site = Site::new();
    let _daemon = site.start();
    let text = fs::read_to_string(site.file("line.toml")).expect("ours").replace("line.sock", "other.sock");
    fs::write(site.file("line.toml"), text).expect("ours");
    let second = site.run(&["run"]);
    assert_eq!(second.code, 75, "{}", second.err);
    assert!(second.err.contains("line3.db is held by"), "{}", second.err);
}

#[test]
fn an_order_is_taken_whole_or_refused_with_every_problem() {
    let site = Site::new();
    let _daemon = site.start();
    let bad = r#"{"batch":"B2","gtin":"09506000134351","lot":"L#","expiry":"2047-02-31","gcp_length":70,"pak":{},
        "serials":["A","A"]}"#;
    fs::write(site.file("bad.json"), bad).expect("ours");
    let refused = site.run(&["batch", "load", "bad.json"]);
    assert_eq!(refused.code, 1);
    for place in ["$.pak", "$.gtin", "$.lot", "$.expiry", "$.gcp_length", "$.pack", "$.sscc", "$.serials[1]"] {
        assert!(refused.err.contains(&format!("\n  {place}: ")), "{place} is not named:\n{}", refused.err);
    }
    assert!(refused.err.contains("did you mean pack?"), "{}", refused.err);
    assert_eq!(site.json(&["batch", "list"]), serde_json::json!([]), "nothing of it was taken");

    assert_eq!(site.run(&["batch", "load", "order.json"]).out, "done\n");
    assert_eq!(site.run(&["batch", "load", "order.json"]).out, "nothing to change\n", "a repeat is no second order");
    assert_eq!(site.json(&["batch", "list"])[0]["state"], "loaded");
    let shown = site.json(&["batch", "show", "B1"]);
    assert_eq!(shown["units"]["unallocated"], SERIALS.len(), "{shown}");
    assert_eq!(shown["sscc"]["last"], 99);
    assert_eq!(shown, site.json(&["batch", "show", "B1", "--db", "line3.db"]), "daemon and journal say the same");

    let refused = site.run(&["batch", "start", "B1"]);
    assert_eq!(refused.code, 1);
    for station in ["printer", "camera", "blade", "packer", "palletizer"] {
        let reason = format!("station {station} does not answer");
        assert!(refused.err.contains(&reason), "{reason} is missing:\n{}", refused.err);
    }
    for line in
        [&["batch", "stop", "B9"][..], &["batch", "close", "B9"], &["batch", "show", "B9"], &["alarm", "ack", "9"]]
    {
        let said = site.run(line);
        assert_eq!(said.code, 1, "{line:?}: {}{}", said.out, said.err);
        assert!(!said.err.is_empty(), "{line:?} says nothing");
    }
    let as_json = site.run(&["batch", "start", "B1", "--json"]);
    let answer: Value = serde_json::from_str(&as_json.out).expect("one JSON document");
    assert_eq!((as_json.code, answer["reasons"].as_array().map(Vec::len)), (1, Some(5)), "{answer}");
}

#[test]
fn a_loaded_order_outlives_a_kill_and_hostile_serials_are_traced_in_every_spelling() {
    let site = Site::new();
    let daemon = site.start();
    assert_eq!(site.run(&["batch", "load", "order.json"]).code, 0);
    daemon.kill();
    let before = site.json(&["status", "--db", "line3.db"]);
    assert_eq!(before["batches_loaded"], serde_json::json!(["B1"]), "without a daemon, from the file and its log");
    assert_eq!(site.run(&["audit", "verify"]).code, 0);
    let _daemon = site.start();
    for serial in SERIALS {
        let bracketed = format!("(01)09506000134352(21){serial}");
        let unit = site.json(&["trace", &bracketed]);
        assert_eq!((&unit["serial"], &unit["batch"]), (&serial.into(), &"B1".into()));
        assert_eq!(unit["facts"][0]["kind"], "batch_loaded");
        let uri = unit["unit"].as_str().expect("an EPC URI").to_owned();
        let scanned = format!("]d2010950600013435221{serial}");
        for spelling in [&uri, &scanned] {
            assert_eq!(site.json(&["trace", spelling]), unit, "{spelling}");
        }
        assert_eq!(site.json(&["trace", serial]), unit, "a serial alone, where one product has it");
        assert_eq!(site.json(&["trace", &bracketed, "--db", "line3.db"]), unit, "{serial}");
    }
    for absent in ["(01)09506000134352(21)ABSENT", "ABSENT", "095060000000000018"] {
        let said = site.run(&["trace", absent, "--json"]);
        assert_eq!((said.code, said.out.as_str()), (1, "null\n"), "{absent}: {}", said.err);
    }
    let malformed = site.run(&["trace", "]d20109506000134351211"]);
    assert_eq!(malformed.code, 1);
    assert!(malformed.err.contains("check digit"), "{}", malformed.err);
}

#[test]
fn who_asks_again_to_close_a_closed_batch_hears_that_it_is_done() {
    let site = Site::new();
    let daemon = site.start();
    assert_eq!(site.run(&["batch", "load", "order.json"]).code, 0);
    assert_eq!(site.run(&["batch", "close", "B1"]).code, 0, "an order that was never started is given back");
    daemon.kill();
    let _daemon = site.start();
    let again = site.run(&["batch", "close", "B1"]);
    assert_eq!(again.code, 0, "{}{}", again.out, again.err);
    assert_eq!(site.run(&["batch", "close", "B9"]).code, 1, "that one never was");
}

#[test]
fn one_changed_byte_breaks_the_proof_and_the_fact_is_named() {
    let site = Site::new();
    let daemon = site.start();
    assert_eq!(site.run(&["batch", "load", "order.json"]).code, 0);
    assert_eq!(daemon.terminate().code(), Some(0));
    // What the daemon left in the log moves into the file, where a byte can be changed.
    let journal = rusqlite::Connection::open(site.file("line3.db")).expect("the journal");
    journal.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("nobody holds it");
    let loaded = "SELECT seq FROM v_fact WHERE kind = 'batch_loaded'";
    let loaded: i64 = journal.query_row(loaded, [], |row| row.get(0)).expect("the order's fact");
    journal.close().expect("nothing is open");
    let mut bytes = fs::read(site.file("line3.db")).expect("the journal");
    let word = br#""serial_count":5"#;
    let at = bytes.windows(word.len()).position(|window| window == word).expect("the body of the order's fact");
    bytes[at + word.len() - 1] = b'6';
    fs::write(site.file("changed.db"), bytes).expect("ours");
    let verdict = site.run(&["audit", "verify", "--db", "changed.db"]);
    assert_eq!(verdict.code, 1, "{}", verdict.out);
    let named = verdict.out.lines().find_map(|line| line.strip_prefix("broken_seq"));
    assert_eq!(named.map(str::trim), Some(loaded.to_string().as_str()), "{}", verdict.out);
    let several = site.run(&["audit", "verify", "--db", "line3.db", "--db", "changed.db", "--json"]);
    let documents: Value = serde_json::from_str(&several.out).expect("one JSON document");
    assert_eq!(several.code, 1);
    assert_eq!((&documents[0]["outcome"], &documents[1]["broken_seq"]), (&"whole".into(), &loaded.into()));
}

#[test]
fn exit_codes_say_how_it_went() {
    let site = Site::new();
    let exits = |line: &[&str]| {
        let said = site.run(line);
        assert!(said.code == 0 || !(said.err.is_empty() && said.out.is_empty()), "{line:?} fails without a word");
        said.code
    };
    assert_eq!(exits(&["statsu"]), 64);
    assert_eq!(exits(&["schema", "_no_such"]), 1);
    assert_eq!(exits(&["schema", "_order"]), 0);
    assert_eq!(exits(&["status"]), 69, "no daemon");
    assert_eq!(exits(&["status", "--db", "absent.db"]), 74);
    assert_eq!(exits(&["audit", "verify", "--db", "line.toml"]), 1, "no journal at all");
    fs::write(site.file("line.toml"), "[lin]\n").expect("ours");
    assert_eq!(exits(&["run"]), 78);
    assert_eq!(exits(&["check"]), 78);
}

#[test]
fn an_online_check_names_everything_that_does_not_answer() {
    let site = Site::new();
    assert_eq!(site.run(&["check"]).code, 0, "the configuration itself is good");
    let said = site.run(&["check", "--online", "--json"]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let document: Value = serde_json::from_str(&said.out).expect("one JSON document");
    let findings = document["online"].as_array().expect("an array");
    for what in ["device coder", "device vision", "device plc", "broker"] {
        let found = findings.iter().find(|finding| finding["what"] == what);
        assert_eq!(found.map(|finding| &finding["outcome"]), Some(&"error".into()), "{what}: {document}");
    }
    assert!(findings.iter().any(|finding| finding["what"] == "disk"), "{document}");
}

// F20
#[test]
fn a_damaged_journal_starts_held_until_a_person_has_looked() {
    let site = Site::new();
    let daemon = site.start();
    assert_eq!(site.run(&["batch", "load", "order.json"]).code, 0);
    assert_eq!(daemon.terminate().code(), Some(0));
    let journal = rusqlite::Connection::open(site.file("line3.db")).expect("the journal");
    journal.execute_batch("DROP TRIGGER fact_is_never_changed; UPDATE fact SET at_us = 1 WHERE seq = 4").expect("ours");
    journal.close().expect("nothing is open");
    let daemon = begin(&site);
    let alarms = site.json(&["alarm", "list"]);
    let doubts = alarms.as_array().expect("a list");
    assert!(doubts.iter().all(|doubt| doubt["kind"] == "journal_doubt" && doubt["holds"] == true), "{alarms}");
    let says = |doubt: &Value| doubt["detail"].as_str().is_some_and(|text| text.contains("facts 1 to 3 were saved"));
    assert!(doubts.iter().any(says), "{alarms}");
    assert!(site.file("line3.db-damaged-1").exists());
    for doubt in doubts {
        assert_eq!(site.run(&["alarm", "ack", &doubt["alarm"].to_string()]).code, 0);
    }
    assert_eq!(daemon.terminate().code(), Some(0));
    let _daemon = begin(&site);
    assert_eq!(site.json(&["alarm", "list"]), serde_json::json!([]), "said once, looked at once");
}

// F27
#[test]
fn a_missing_journal_is_no_first_start() {
    let site = Site::new();
    assert_eq!(site.start().terminate().code(), Some(0));
    fs::remove_file(site.file("line3.db")).expect("ours");
    let refused = site.run(&["run"]);
    assert_eq!(refused.code, 74, "{}", refused.err);
    assert!(refused.err.contains("store restore"), "{}", refused.err);
}

// F31
#[test]
fn a_journal_that_is_moved_away_ends_the_daemon() {
    let site = Site::new();
    let mut daemon = site.start();
    fs::rename(site.file("line3.db"), site.file("moved.db")).expect("ours");
    let ended = daemon.child.wait().expect("it ends by itself");
    assert_eq!(ended.code(), Some(74));
}

// F34, I05: a backup knows nothing of what came after it, and serials that were used then are never used again.
#[test]
fn a_restored_line_uses_no_serial_before_upstream_has_spoken() {
    let site = Site::new();
    let daemon = site.start();
    assert_eq!(site.run(&["store", "backup", "--out", "backup.db"]).code, 0);
    assert_eq!(site.run(&["batch", "load", "order.json"]).code, 0, "after the backup");
    let held = site.run(&["store", "restore", "backup.db", "--reason", "test"]);
    assert_eq!(held.code, 75, "a daemon runs: {}", held.err);
    assert_eq!(daemon.terminate().code(), Some(0));
    let restored = site.json(&["store", "restore", "backup.db", "--reason", "disk replaced"]);
    assert_eq!((&restored["epoch"], restored["lost"].is_object()), (&2.into(), true), "{restored}");
    assert!(site.file("line3.db-replaced-1").exists());
    assert_eq!(site.run(&["store", "rebuild", "--check"]).code, 0);
    let daemon = begin(&site);
    let refused = site.run(&["batch", "load", "order.json"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("serials confirm"), "{}", refused.err);
    let alarms = site.json(&["alarm", "list"]);
    let suspended = alarms.as_array().expect("a list").iter().find(|alarm| alarm["kind"] == "serials_suspended");
    let alarm = suspended.expect("it waits")["alarm"].to_string();
    assert_eq!(site.run(&["alarm", "ack", &alarm]).code, 1, "waving it away is not knowing");
    fs::write(site.file("used.txt"), "A1\na+b/c\n").expect("ours");
    let confirmed = site.run(&["serials", "confirm", "--gtin", "09506000134352", "--used", "used.txt"]);
    assert_eq!(confirmed.code, 0, "{}{}", confirmed.out, confirmed.err);
    let again = site.run(&["batch", "load", "order.json"]);
    assert_eq!(again.code, 1, "two of its serials were used");
    assert!(again.err.contains("A1") && again.err.contains("a+b/c"), "{}", again.err);
    let fresh = ORDER.replace("\"serials_file\":\"serials.txt\"", "\"serials\":[\"N1\",\"N2\"]");
    fs::write(site.file("fresh.json"), fresh).expect("ours");
    assert_eq!(site.run(&["batch", "load", "fresh.json"]).code, 0);
    assert_eq!(daemon.terminate().code(), Some(0));
    assert_eq!(site.run(&["store", "rebuild", "--check"]).code, 0, "the facts of the restore fold too");
    assert_eq!(site.run(&["audit", "verify"]).code, 0);
}

/// The journal as somebody with a tool sees it; the daemon does not run.
fn journal(site: &Site) -> rusqlite::Connection {
    rusqlite::Connection::open(site.file("line3.db")).expect("the journal")
}

fn head(site: &Site) -> u64 {
    let head: i64 = journal(site).query_row("SELECT max(seq) FROM fact", [], |row| row.get(0)).expect("facts");
    head.try_into().expect("positive")
}

/// Starts that left their first fact on disk.
fn starts(site: &Site) -> u32 {
    let read_only = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let count = rusqlite::Connection::open_with_flags(site.file("line3.db"), read_only).and_then(|journal| {
        journal.query_row("SELECT count(*) FROM v_fact WHERE kind = 'line_started'", [], |row| row.get(0))
    });
    count.unwrap_or(0)
}

/// A start whose first facts are on disk: what they say can be asked for.
fn begin(site: &Site) -> Daemon {
    let before = starts(site);
    let daemon = site.start();
    wait_for("the first fact", || (starts(site) > before).then_some(()));
    daemon
}

/// The doubts that hold the line, after a start that found some.
fn doubts(site: &Site) -> Vec<String> {
    let alarms = site.json(&["alarm", "list"]);
    let alarms = alarms.as_array().expect("a list").iter().filter(|alarm| alarm["kind"] == "journal_doubt");
    alarms.map(|alarm| alarm["detail"].as_str().expect("a text").to_owned()).collect()
}

/// A start in doubt is held: nothing starts, the next start does not ask twice, and after the acknowledgement it is good; the
/// numbers that were lost are used in a new epoch, so that no message stands for two facts.
fn expect_held(site: &Site, said: &str) {
    let daemon = begin(site);
    let found = doubts(site);
    assert!(found.iter().any(|doubt| doubt.contains(said)), "{said}: {found:?}");
    site.run(&["batch", "load", "order.json"]);
    let refused = site.run(&["batch", "start", "B1"]);
    assert_eq!(refused.code, 1, "a journal in doubt starts nothing: {}{}", refused.out, refused.err);
    daemon.kill();
    let daemon = begin(site);
    assert_eq!(doubts(site), found, "it was told once");
    for alarm in site.json(&["alarm", "list"]).as_array().expect("a list") {
        let number = alarm["alarm"].to_string();
        assert_eq!(site.run(&["alarm", "ack", &number]).code, 0);
    }
    assert!(daemon.terminate().success());
    let epoch: u32 = journal(site).query_row("SELECT epoch FROM v_meta", [], |row| row.get(0)).expect("an identity");
    assert_eq!(epoch, 2);
    let daemon = begin(site);
    assert_eq!(doubts(site), Vec::<String>::new());
    assert!(daemon.terminate().success());
    let verified = site.json(&["audit", "verify", "--db", "line3.db", "--public-key", "line3.pub"]);
    assert_eq!((&verified["outcome"], &verified["signer"]), (&"whole".into(), &"proven".into()), "{verified}");
    // What was lost is told, and a signed fact says that it was given up.
    let verified = site.json(&["audit", "verify", "--db", "line3.db", "--anchors", "line3.anchors"]);
    assert!(verified["lost"].as_array().is_some_and(|lost| !lost.is_empty()), "{verified}");
}

// I19
#[test]
fn a_whole_journal_starts_without_a_doubt_and_proves_itself() {
    let site = Site::new();
    for _ in 0..2 {
        begin(&site).kill();
        assert!(begin(&site).terminate().success());
    }
    let daemon = begin(&site);
    assert_eq!(doubts(&site), Vec::<String>::new());
    assert!(daemon.terminate().success());
    let with = ["audit", "verify", "--db", "line3.db", "--public-key", "line3.pub", "--anchors", "line3.anchors"];
    let verified = site.json(&with);
    assert_eq!((&verified["outcome"], &verified["signer"]), (&"whole".into(), &"proven".into()), "{verified}");
    assert_eq!(verified["signed_through"], head(&site));
    // A kill may come between a commit and the side file, never the other way round.
    let [anchors, checkpoints] = ["anchors", "checkpoints"].map(|key| verified[key].as_u64().expect("a count"));
    assert!(anchors <= checkpoints && anchors + 2 >= checkpoints, "{verified}");
}

// F24
#[test]
fn a_journal_whose_log_was_removed_starts_held_with_the_missing_facts_named() {
    let site = Site::new();
    assert!(begin(&site).terminate().success());
    let before = head(&site);
    // Who reads the old state keeps the new pages in the log.
    let reader = journal(&site);
    reader.execute_batch("BEGIN; SELECT count(*) FROM fact").expect("an old state");
    let daemon = begin(&site);
    assert_eq!(site.run(&["batch", "load", "order.json"]).code, 0);
    daemon.kill();
    // The file as it lies, before the last reader puts the log back into it.
    fs::copy(site.file("line3.db"), site.file("bare.db")).expect("copied");
    drop(reader);
    for name in ["line3.db-wal", "line3.db-shm"] {
        // Gone with the last reader, as a rule.
        let _ = fs::remove_file(site.file(name));
    }
    fs::rename(site.file("bare.db"), site.file("line3.db")).expect("laid over");
    assert_eq!(head(&site), before, "what the second run wrote lay in the log");
    expect_held(&site, "are missing");
}

// F26
#[test]
fn an_older_copy_in_place_of_the_journal_starts_held() {
    let site = Site::new();
    assert!(begin(&site).terminate().success());
    fs::copy(site.file("line3.db"), site.file("old.db")).expect("copied");
    assert!(begin(&site).terminate().success());
    let lost = head(&site);
    fs::copy(site.file("old.db"), site.file("line3.db")).expect("laid over");
    expect_held(&site, &format!("to {lost} are missing"));
}

// F159
#[test]
fn a_journal_with_a_cut_tail_starts_held() {
    let site = Site::new();
    assert!(begin(&site).terminate().success());
    assert!(begin(&site).terminate().success());
    let (conn, last) = (journal(&site), head(&site));
    let sql: String = conn
        .query_row("SELECT sql FROM sqlite_schema WHERE name = 'fact_is_never_deleted'", [], |row| row.get(0))
        .expect("a trigger");
    conn.execute_batch("DROP TRIGGER fact_is_never_deleted").expect("dropped");
    let cut = last - 1;
    conn.execute_batch(&format!(
        "DELETE FROM fact WHERE seq >= {cut}; DELETE FROM checkpoint WHERE seq >= {cut}; {sql}"
    ))
    .expect("cut");
    drop(conn);
    expect_held(&site, &format!("facts {cut} to {last} are missing"));
}

// F164
#[test]
fn a_lost_key_is_a_doubt_and_an_exchanged_one_is_none() {
    let site = Site::new();
    assert!(begin(&site).terminate().success());
    assert_eq!(site.run(&["audit", "key", "--rotate"]).code, 0);
    let daemon = begin(&site);
    assert_eq!(doubts(&site), Vec::<String>::new(), "the old key agreed");
    assert!(daemon.terminate().success());
    let keys = site.json(&["audit", "key"]);
    assert_eq!(keys["public_keys"].as_array().map(Vec::len), Some(2));
    assert_eq!(site.json(&["audit", "verify", "--db", "line3.db"])["outcome"], "whole");
    fs::remove_file(site.file("line3.key")).expect("lost");
    let daemon = begin(&site);
    let found = doubts(&site);
    assert!(found.iter().any(|doubt| doubt.contains("without the consent")), "{found:?}");
    assert!(daemon.terminate().success());
    let verified = site.json(&["audit", "verify", "--db", "line3.db", "--public-key", "line3.pub"]);
    assert_eq!(verified["outcome"], "whole", "whoever has all public keys believes all of it: {verified}");
}

/// Waits until the broker has the checkpoint of the newest fact.
fn wait_for_broker(site: &Site) {
    let checkpoint = || site.json(&["status"])["feed"]["checkpoint"].as_u64().filter(|seq| *seq > 0);
    wait_for("a checkpoint at the broker", checkpoint);
}

// F26, I19
#[test]
fn a_computer_that_was_set_back_as_a_whole_shows_at_the_broker() {
    let site = Site::new();
    let broker = sealgate::sim::broker::start(0).expect("an embedded broker");
    let text = fs::read_to_string(site.file("line.toml")).expect("ours");
    let (before, mqtt) = text.split_once("[mqtt]").expect("a broker");
    let mqtt = mqtt.replacen("port = 1", &format!("port = {}", broker.port()), 1);
    fs::write(site.file("line.toml"), format!("{before}[mqtt]{mqtt}")).expect("ours");
    assert!(begin(&site).terminate().success());
    for name in ["line3.db", "line3.anchors"] {
        fs::copy(site.file(name), site.file(&format!("{name}.old"))).expect("copied");
    }
    let daemon = begin(&site);
    wait_for_broker(&site);
    assert!(daemon.terminate().success());
    let lost = head(&site);
    for name in ["line3.db", "line3.anchors"] {
        fs::copy(site.file(&format!("{name}.old")), site.file(name)).expect("laid over");
    }
    let daemon = begin(&site);
    let found = wait_for("a doubt", || Some(doubts(&site)).filter(|found| !found.is_empty()));
    assert!(found.iter().any(|doubt| doubt.contains(&format!("to {lost} are missing: the broker"))), "{found:?}");
    assert!(daemon.terminate().success());
    let daemon = begin(&site);
    let epoch: u32 = journal(&site).query_row("SELECT epoch FROM v_meta", [], |row| row.get(0)).expect("an identity");
    assert_eq!(epoch, 2, "the next start goes on in a new epoch");
    assert!(daemon.terminate().success());
}
