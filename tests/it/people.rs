//! People at a running daemon, through the command line alone: the first account, log-in, rights, lock-out, a restart; and that
//! nothing that anybody typed as a password, and no hash of one, is ever seen again.

mod signs;

use std::fs;
use std::io::Write;
use std::process::{Child, Stdio};

use serde_json::json;

use crate::daemon::{Daemon, Said, Site};

const ANNAS: &str = "horse correct battery staple";
const FIRST: &str = "chosen by an administrator";
const PAULS: &str = "a river runs through it";

/// A site, and everything that was said there.
struct House {
    site: Site,
    said: String,
}

impl House {
    fn new() -> Self {
        Self { site: Site::new(), said: String::new() }
    }

    /// The daemon, with a log of all that it ever tells.
    fn start(&self) -> Daemon {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.site.file("log")).expect("ours");
        let mut command = self.site.command(&["run"]);
        command.env("NOTIFY_SOCKET", self.site.file("notify")).env("SEALGATE_LOG", "trace").stderr(log);
        let child = command.spawn().expect("the program starts");
        self.site.hear("READY=1");
        Daemon { child }
    }

    /// `who` is whose computer log-in it is: sessions are kept apart. `typed` are the lines on standard input.
    fn asks(&mut self, who: &str, line: &[&str], typed: &[&str]) -> Said {
        let mut command = self.site.command(line);
        command.env("XDG_RUNTIME_DIR", self.site.file(who));
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child: Child = piped.spawn().expect("the program starts");
        let typed: String = typed.iter().map(|line| format!("{line}\n")).collect();
        // A command that asks for nothing may have ended.
        let _ = child.stdin.take().expect("a pipe").write_all(typed.as_bytes());
        let output = child.wait_with_output().expect("our child");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let said =
            Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) };
        self.said += &format!("{line:?}: {}{}", said.out, said.err);
        said
    }

    fn done(&mut self, who: &str, line: &[&str], typed: &[&str]) {
        let said = self.asks(who, line, typed);
        assert_eq!(said.code, 0, "{who} {line:?}: {}{}", said.out, said.err);
    }

    fn refused(&mut self, who: &str, line: &[&str], typed: &[&str], why: &str) {
        let said = self.asks(who, line, typed);
        assert_eq!(said.code, 1, "{who} {line:?}: {}{}", said.out, said.err);
        assert!(said.err.contains(why), "{who} {line:?}: {}", said.err);
    }

    /// Anna administers, Paul operates; both have replaced what another chose.
    fn furnish(&mut self) {
        self.done("anna", &["user", "init", "anna", "--full-name", "Anna Admin"], &[ANNAS]);
        self.done("anna", &["login", "anna"], &[ANNAS]);
        self.done("anna", &["user", "add", "paul", "--full-name", "Paul Operator", "--role", "operator"], &[FIRST]);
        self.done("paul", &["login", "paul"], &[FIRST]);
        self.refused("paul", &["batch", "start", "B1"], &[], "sealgate user passwd");
        self.done("paul", &["user", "passwd"], &[FIRST, PAULS]);
        self.refused("paul", &["batch", "start", "B1"], &[], "the session is over; log in again");
        self.done("paul", &["login", "paul"], &[PAULS]);
    }

    fn kinds(&self) -> Vec<(String, String)> {
        let views = sealgate::store::views::load(&self.site.file("line3.db")).expect("readable");
        views.facts.into_iter().map(|fact| (fact.kind, fact.body)).collect()
    }
}

#[test]
fn a_line_without_people_works_and_with_the_first_one_it_asks_for_a_session() {
    let mut house = House::new();
    let daemon = house.start();
    house.done("anyone", &["batch", "load", "order.json"], &[]);
    house.refused("anyone", &["user", "add", "eve", "--full-name", "Eve", "--role", "admin"], &[FIRST], "user init");
    house.refused("anyone", &["user", "init", "anna", "--full-name", "Anna"], &["short"], "at least 12 characters");
    fs::write(house.site.file("guess"), "0123456789abcdef").expect("ours");
    let guess = ["user", "init", "eve", "--full-name", "Eve", "--code-file", "guess"];
    house.refused("anyone", &guess, &[FIRST], "line3.code");
    house.furnish();
    assert!(!house.site.file("line3.code").exists(), "the code goes with the first account");

    for (who, line) in [
        ("anyone", vec!["batch", "stop", "B1"]),
        ("anyone", vec!["alarm", "ack", "1"]),
        ("anyone", vec!["feed", "replay", "--from", "1"]),
        ("anyone", vec!["serials", "confirm"]),
        ("anyone", vec!["user", "unlock", "anna"]),
    ] {
        house.refused(who, &line, &[], "log in first: `sealgate login NAME`");
    }
    house.refused("paul", &["batch", "load", "order.json"], &[], "it takes one of: supervisor, quality");
    house.refused("paul", &["user", "disable", "anna", "--reason", "x"], &[], "administer people");
    house.refused("anna", &["batch", "stop", "B1"], &[], "it takes one of: operator");
    // Reading asks for nobody.
    assert_eq!(house.asks("anyone", &["batch", "list", "--json"], &[]).code, 0);
    let shown = house.asks("anyone", &["user", "list", "--json"], &[]).out;
    let users: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!((&users[0]["user"], &users[1]["roles"]), (&json!("anna"), &json!(["operator"])));

    house.done("paul", &["logout"], &[]);
    house.refused("paul", &["batch", "stop", "B1"], &[], "log in first");
    assert_eq!(daemon.terminate().code(), Some(0));

    let scratch = tempfile::tempdir().expect("a folder");
    let check = sealgate::store::rebuild::check(&house.site.file("line3.db"), scratch.path()).expect("readable");
    assert!(check.is_same(), "{:?}", check.differences);
    nothing_was_told(&house);
}

#[test]
fn a_lock_and_a_password_survive_the_daemon_and_a_session_does_not() {
    let mut house = House::new();
    let daemon = house.start();
    house.furnish();
    for _ in 0..5 {
        house.refused("eve", &["login", "paul"], &["not his password"], "name or password is wrong");
    }
    house.refused("eve", &["login", "nobody"], &["not a password"], "name or password is wrong");
    house.refused("paul", &["login", "paul"], &[PAULS], "name or password is wrong");
    assert!(house.asks("eve", &["alarm", "list"], &[]).out.contains("unauthorised_use"));
    assert_eq!(daemon.terminate().code(), Some(0));

    let daemon = house.start();
    house.refused("anna", &["user", "unlock", "paul"], &[], "the session is over; log in again");
    house.refused("paul", &["login", "paul"], &[PAULS], "name or password is wrong");
    house.done("anna", &["login", "anna"], &[ANNAS]);
    house.done("anna", &["user", "unlock", "paul"], &[]);
    house.done("paul", &["login", "paul"], &[PAULS]);
    house.done("anna", &["user", "disable", "paul", "--reason", "left"], &[]);
    house.refused("paul", &["batch", "stop", "B1"], &[], "log in again");
    let twin = ["user", "add", "paul", "--full-name", "Paul Twin", "--role", "operator"];
    house.refused("anna", &twin, &[FIRST], "a name is given once, ever");
    assert_eq!(daemon.terminate().code(), Some(0));

    let kinds = house.kinds();
    let count = |kind: &str| kinds.iter().filter(|(of, _)| of == kind).count();
    assert_eq!((count("login_failed"), count("login_locked"), count("login_unlocked")), (6, 1, 1));
    assert!(kinds.iter().all(|(_, body)| !body.contains("nobody")), "a name that nobody has is not kept");
    nothing_was_told(&house);
}

/// Passwords are in no fact, and hashes of them in their facts alone.
fn nothing_was_told(house: &House) {
    let log = fs::read_to_string(house.site.file("log")).expect("a log");
    assert!(!log.is_empty());
    for secret in [ANNAS, FIRST, PAULS, "argon2id"] {
        assert!(!house.said.contains(secret), "{secret} was printed");
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    for (kind, body) in house.kinds() {
        assert!([ANNAS, FIRST, PAULS].iter().all(|secret| !body.contains(secret)), "{kind}");
        assert_eq!(body.contains("argon2id"), kind == "credential_set", "{kind}");
    }
    for entry in fs::read_dir(house.site.file("anna").join("sealgate")).expect("a session was kept") {
        let text = fs::read_to_string(entry.expect("readable").path()).expect("text");
        let token = serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["token"].clone();
        let token = token.as_str().expect("a token");
        assert!(token.len() == 64 && !house.said.contains(token) && !log.contains(token));
        assert!(house.kinds().iter().all(|(_, body)| !body.contains(token)), "only its hash");
    }
}
