//! Signatures at a running daemon, from the first account to the closed batch, over kills and restarts; and what becomes of people when
//! the journal is restored or the only administrator has forgotten the password.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use sealgate::domain::gs1::{Expiry, GcpLength, Gtin, Lot, SerialNumber};
use sealgate::domain::text::{Name, Text};
use sealgate::engine::fact::{Entry, Fact};
use sealgate::engine::input::{BatchSheet, Order, PackSpec, SsccRange};
use sealgate::store::commit::Job;
use sealgate::store::{Settings, open};
use sealgate::wire::lower::{LineIdentity, Lowering, Stamp};
use sealgate::wire::order::serials_sha256;
use serde_json::Value;

use super::{ANNAS, FIRST, House, PAULS, nothing_was_told};
use crate::daemon::wait_for;

const ROSAS: &str = "seven lean cows by the nile";
const LINE: &str = "acme/plant7/line3";

impl House {
    /// Has the batch B7, which is stopped; one of its two printed units was never seen again.
    fn with_variance() -> Self {
        let house = Self::new();
        let serials: Vec<SerialNumber> = ["A1", "A2", "A3"].map(|text| SerialNumber::new(text).expect("good")).to_vec();
        let sheet = BatchSheet {
            batch: Text::new("B7").expect("short"),
            gtin: Gtin::new("09506000134352").expect("good"),
            lot: Lot::new("L7").expect("good"),
            expiry: Expiry::new(2047, 3, 0).expect("good"),
            gcp_length: GcpLength::new(7).expect("6 to 12"),
            pack: PackSpec { case_capacity: 2, pallet_capacity: 1 },
            sscc: SsccRange { extension: 0, prefix: Text::new("9506000").expect("short"), first: 1, last: 9 },
            recipes: Vec::new(),
        };
        let (station, epoch, printed) = (Name::new("printer").expect("short"), 1, serials[..2].to_vec());
        let digest = serials_sha256(&serials);
        let order = Arc::new(Order { sheet: sheet.clone(), serials, serials_sha256: digest });
        let facts = [
            Fact::BatchLoaded { sheet: sheet.clone(), serial_count: 3, serials_sha256: digest },
            Fact::BatchStarted { bin: None, track: None },
            Fact::SerialsAllocated { station, epoch, from_seq: 1, first_index: 0, serials: printed.clone() },
            Fact::SerialsEncoded { station, epoch, from_seq: 1, first_index: 0, serials: printed },
            Fact::BatchStopped { bin: None },
        ];
        let mut store = open(&Settings::new(house.site.file("line3.db"), LINE)).expect("a new journal");
        let lowering = Lowering::new(LineIdentity { line: LINE.to_owned(), ..LineIdentity::default() });
        let stamp = Stamp { at_us: 1_795_000_000_000_000, mono_us: 1, boot: store.boot() };
        let entry =
            |(seq, fact)| Entry { seq, batch: Some(sheet.batch), actor: Text::new("line").expect("short"), fact };
        let entries = (1..).zip(facts).map(entry);
        let records = entries.map(|entry| lowering.record(&entry, Some(&sheet), Some(&order), stamp)).collect();
        store.commit(&Job { records, work: Vec::new() }, || 0).expect("committed");
        house
    }

    /// Anna administers, Paul and Rosa are quality.
    fn with_quality(&mut self) {
        self.done("anna", &["user", "init", "anna", "--full-name", "Anna Admin"], &[ANNAS]);
        self.done("anna", &["login", "anna"], &[ANNAS]);
        for (user, full_name, password) in [("paul", "Paul Kern", PAULS), ("rosa", "Rosa Lind", ROSAS)] {
            let add = ["user", "add", user, "--full-name", full_name, "--role", "quality"];
            self.done("anna", &add, &[FIRST]);
            self.done(user, &["login", user], &[FIRST]);
            self.done(user, &["user", "passwd"], &[FIRST, password]);
            self.done(user, &["login", user], &[password]);
        }
    }

    /// A request as whoever has the token can make it, past the command line.
    fn raw(&mut self, who: &str, word: &str, parts: &[(&str, &str)]) -> Value {
        let parts: Vec<(&str, Value)> = parts.iter().map(|(key, value)| (*key, (*value).into())).collect();
        let answer = self.raw_values(who, word, &parts);
        self.said += &answer.to_string();
        answer
    }

    fn raw_values(&self, who: &str, word: &str, parts: &[(&str, Value)]) -> Value {
        let kept = std::fs::read_dir(self.site.file(who).join("sealgate")).expect("logged in").next();
        let kept = std::fs::read_to_string(kept.expect("one").expect("readable").path()).expect("text");
        let token = serde_json::from_str::<Value>(&kept).expect("JSON")["token"].clone();
        let mut request = serde_json::json!({ "id": 1, "do": word, "session": token });
        for (key, value) in parts {
            request[*key] = value.clone();
        }
        let mut stream = UnixStream::connect(self.site.file("line.sock")).expect("a daemon");
        stream.write_all(format!("{request}\n").as_bytes()).expect("it listens");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("an answer");
        serde_json::from_str(&line).expect("JSON")
    }

    fn count(&self, kind: &str, part: &str) -> usize {
        self.kinds().iter().filter(|(of, body)| of == kind && body.contains(part)).count()
    }

    /// A copy of the journal in which somebody changed something and put the triggers back.
    fn tampered(&self, sql: &str) -> PathBuf {
        let copy = self.site.file("tampered.db");
        let _ = std::fs::remove_file(&copy);
        let conn = rusqlite::Connection::open(self.site.file("line3.db")).expect("the journal");
        conn.execute("VACUUM INTO ?1", [copy.to_str().expect("text")]).expect("copied");
        let conn = rusqlite::Connection::open(&copy).expect("a tool");
        let triggers: Vec<(String, String)> = conn
            .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
            .and_then(|mut list| list.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
            .expect("the schema");
        triggers.iter().for_each(|(name, _)| conn.execute_batch(&format!("DROP TRIGGER {name}")).expect("dropped"));
        assert_eq!(conn.execute(sql, []).expect("changed"), 1, "{sql}");
        triggers.iter().for_each(|(_, sql)| conn.execute_batch(sql).expect("put back"));
        copy
    }
}

// F149, F150, F151, F152
#[test]
fn a_batch_is_closed_by_two_persons_who_sign_and_by_nobody_else() {
    let mut house = House::with_variance();
    let daemon = house.start();
    house.with_quality();
    house.refused("rosa", &["batch", "close", "B7"], &[], "do not balance");
    let (performed, verified) =
        (["sign", "close", "B7", "--as", "performed"], ["sign", "close", "B7", "--as", "verified"]);
    house.refused("anna", &performed, &[ANNAS], "your roles do not allow");
    house.refused("rosa", &performed, &["not her password"], "name or password is wrong");
    house.refused("rosa", &verified, &[ROSAS], "nobody has signed the record");
    house.done("rosa", &performed, &[ROSAS]);
    house.refused("rosa", &verified, &[ROSAS], "another person verifies");

    // Whoever sets another's password is not that person.
    house.done("anna", &["user", "reset", "rosa"], &[FIRST]);
    house.done("eve", &["login", "rosa"], &[FIRST]);
    house.refused("eve", &performed, &[FIRST], "sealgate user passwd");
    house.done("rosa", &["login", "rosa"], &[FIRST]);
    house.done("rosa", &["user", "passwd"], &[FIRST, ROSAS]);
    house.refused("eve", &performed, &[ROSAS], "the session is over");
    assert_eq!(house.count("signed", "rosa"), 1);

    // A challenge of Paul's, played twice, and once by another; and one that a power cut took.
    let challenge = |house: &mut House| {
        let prepared = house.raw("paul", "sign_prepare", &[("action", "variance_close"), ("batch", "B7")]);
        prepared["data"]["challenge"].as_str().expect("a challenge").to_owned()
    };
    let sign = |house: &mut House, who: &str, (user, password): (&str, &str), challenge: &str| {
        let parts = [
            ("user", user),
            ("password", password),
            ("action", "variance_close"),
            ("challenge", challenge),
            ("meaning", "performed"),
        ];
        let said = house.raw(who, "sign", &parts);
        said["reasons"][0]["code"].as_str().unwrap_or("done").to_owned()
    };
    let first = challenge(&mut house);
    assert_eq!(sign(&mut house, "paul", ("paul", PAULS), &first), "done");
    assert_eq!(sign(&mut house, "paul", ("paul", PAULS), &first), "unknown_challenge");
    house.done("rosa", &["login", "rosa"], &[ROSAS]);
    let second = challenge(&mut house);
    assert_eq!(sign(&mut house, "rosa", ("rosa", ROSAS), &second), "unknown_challenge");
    let third = challenge(&mut house);
    daemon.kill();
    let daemon = house.start();
    assert_eq!(sign(&mut house, "paul", ("paul", PAULS), &third), "session_over");
    house.done("paul", &["login", "paul"], &[PAULS]);
    assert_eq!(sign(&mut house, "paul", ("paul", PAULS), &third), "unknown_challenge");

    // Paul performed last, and a kill forgets no signature.
    house.refused("paul", &verified, &[PAULS], "another person verifies");
    house.done("rosa", &["login", "rosa"], &[ROSAS]);
    house.done("rosa", &verified, &[ROSAS]);
    assert_eq!(house.site.json(&["batch", "show", "B7"])["state"], "closed");
    assert_eq!(daemon.terminate().code(), Some(0));

    let whole = house.site.run(&["audit", "verify"]);
    assert_eq!(whole.code, 0, "{}{}", whole.out, whole.err);
    let seq = "(SELECT max(seq) FROM v_fact WHERE kind = 'signed')";
    let moved = format!("UPDATE fact SET body = replace(body, 'Rosa Lind', 'Paul Kern') WHERE seq = {seq}");
    let tampered = house.tampered(&moved);
    assert_eq!(house.site.run(&["audit", "verify", "--db", tampered.to_str().expect("text")]).code, 1);
    let row = format!("UPDATE signature SET user = 'paul' WHERE signature = {seq}");
    let tampered = house.tampered(&row);
    let said = house.site.run(&["store", "rebuild", "--check", "--db", tampered.to_str().expect("text")]);
    assert!(said.code == 1 && said.out.contains("signature"), "{}{}", said.out, said.err);
    nothing_was_told(&house);
}

// F145, F148
#[test]
fn failures_are_counted_over_a_kill_and_a_session_that_nobody_uses_ends() {
    let mut house = House::new();
    house.site.configure(|text| text + "\n[people]\nlock_after = 4\npassword_length_min = 20\n");
    let daemon = house.start();
    let short = ["user", "init", "anna", "--full-name", "Anna"];
    house.refused("anna", &short, &["fifteen letters"], "at least 20 characters");
    house.furnish();
    for _ in 0..3 {
        house.refused("eve", &["login", "paul"], &["not his password"], "name or password is wrong");
    }
    daemon.kill();
    let daemon = house.start();
    house.refused("eve", &["login", "paul"], &["not his password"], "name or password is wrong");
    assert_eq!(house.count("login_locked", "paul"), 1);
    daemon.kill();
    house.site.configure(|text| text.replace("[people]", "[people]\nidle_s = 5"));
    let daemon = house.start();
    house.refused("paul", &["login", "paul"], &[PAULS], "name or password is wrong");
    house.done("anna", &["login", "anna"], &[ANNAS]);
    let is_idle = |house: &House| (house.count("logged_out", "\"idle\"") > 0).then_some(());
    wait_for("the end of the session", || is_idle(&house));
    house.refused("anna", &["user", "unlock", "paul"], &[], "the session is over");
    assert_eq!(daemon.terminate().code(), Some(0));
    nothing_was_told(&house);
}

// F34, F146
#[test]
fn a_restored_journal_brings_back_no_password_and_root_leads_an_administrator_back() {
    let mut house = House::new();
    let daemon = house.start();
    house.furnish();
    house.done("anna", &["store", "backup", "--out", "backup.db"], &[]);
    house.done("anna", &["user", "disable", "paul", "--reason", "left"], &[]);
    assert_eq!(daemon.terminate().code(), Some(0));
    house.done("root", &["store", "restore", "backup.db", "--reason", "disk replaced"], &[]);

    let daemon = house.start();
    let alarms = house.asks("root", &["alarm", "list"], &[]).out;
    assert!(alarms.contains("passwords_void"), "{alarms}");
    for (user, password) in [("anna", ANNAS), ("paul", PAULS), ("nobody", PAULS)] {
        house.refused(user, &["login", user], &[password], "no password of before opens anything");
    }
    let recover = |user| ["user", "recover", user, "--reason", "after the restore"];
    house.refused("root", &recover("paul"), &[FIRST], "paul is no administrator");
    house.refused("root", &recover("anna"), &["short"], "at least 12 characters");
    house.done("root", &recover("anna"), &[FIRST]);
    assert!(!house.site.file("line3.recovery").exists(), "the way is open as long as it is asked");
    house.done("anna", &["login", "anna"], &[FIRST]);
    house.refused("anna", &["user", "enable", "paul", "--reason", "x"], &[], "sealgate user passwd");
    house.done("anna", &["user", "passwd"], &[FIRST, ANNAS]);
    house.done("anna", &["login", "anna"], &[ANNAS]);
    // What the backup does not know is said again by whoever knows it.
    house.refused("paul", &["login", "paul"], &[PAULS], "no password of before opens anything");
    house.done("anna", &["user", "disable", "paul", "--reason", "left"], &[]);
    house.done("anna", &["user", "reset", "paul"], &[FIRST]);
    house.refused("paul", &["login", "paul"], &[FIRST], "the account is locked or disabled");
    let told = house.asks("root", &["alarm", "list", "--json"], &[]).out;
    assert!(told.contains("account_recovered") && told.contains("after the restore"), "{told}");

    let stale =
        house.raw("anna", "user_recover", &[("user", "anna"), ("code", "x"), ("new_password", FIRST), ("reason", "x")]);
    assert_eq!(stale["reasons"][0]["code"], "wrong_code", "{stale}");
    assert_eq!(daemon.terminate().code(), Some(0));
    assert_eq!(house.site.run(&["store", "rebuild", "--check"]).code, 0);
    nothing_was_told(&house);
}

// F147, F149
#[test]
fn what_stands_out_is_looked_at_once_and_signed_for() {
    let mut house = House::with_variance();
    let daemon = house.start();
    house.with_quality();
    house.refused("eve", &["login", "rosa"], &["not her password"], "name or password is wrong");
    let due = |house: &House| house.site.json(&["audit", "review"]);
    let first = due(&house);
    let kinds: Vec<&str> =
        first["facts"].as_array().expect("a list").iter().filter_map(|at| at["kind"].as_str()).collect();
    assert_eq!(kinds, ["alarm_raised", "user_added", "user_added", "user_added", "login_failed"], "{first}");
    assert_eq!(due(&house), house.site.json(&["audit", "review", "--db", "line3.db"]), "daemon and file say the same");
    house.refused("anna", &["sign", "review"], &[ANNAS], "review the audit trail");

    // What is signed is what the journal says, whatever the asker makes of it.
    let mut forged = first.clone();
    forged["exceptions"] = 0.into();
    let prepare = |house: &House, review: &Value| {
        let numbers = ["from_seq", "to_seq", "exceptions"].map(|key| (key, review[key].clone()));
        house.raw_values(
            "rosa",
            "sign_prepare",
            &[
                ("action", "audit_review".into()),
                ("sha256", review["sha256"].clone()),
                numbers[0].clone(),
                numbers[1].clone(),
                numbers[2].clone(),
            ],
        )
    };
    assert_eq!(prepare(&house, &forged)["reasons"][0]["code"], "record_changed");
    assert_eq!(prepare(&house, &first)["ok"], true);

    house.done("rosa", &["sign", "review"], &[ROSAS]);
    let rest = due(&house);
    assert!(rest["from_seq"].as_u64() > first["to_seq"].as_u64(), "{rest}");
    let facts = rest["facts"].as_array().expect("a list");
    assert!(facts.iter().all(|fact| fact["kind"] == "signed"), "its own signature stands out in the next: {rest}");

    // A log-in takes no session that somebody else chose, and gives a new one each time.
    let fixed = house.raw_values(
        "rosa",
        "login",
        &[("user", "rosa".into()), ("password", ROSAS.into()), ("session", "x".into())],
    );
    let given = fixed["data"]["session"].as_str().expect("a session").to_owned();
    assert!(given.len() == 64 && given != "x");
    let used = house.raw_values("rosa", "batch_stop", &[("batch", "B7".into()), ("session", "x".into())]);
    assert_eq!(used["reasons"][0]["code"], "session_over");
    assert_eq!(daemon.terminate().code(), Some(0));
    let whole = house.site.run(&["audit", "verify"]);
    assert_eq!(whole.code, 0, "{}{}", whole.out, whole.err);
}

// F142, F154
#[test]
fn a_hostile_name_is_a_failed_log_in_and_reaches_neither_log_nor_record() {
    let mut house = House::new();
    let daemon = house.start();
    house.furnish();
    for name in ["paul\u{1b}[2J", "paul\nlogged_in anna", "paul' OR '1'='1", "../../anna", "anna\0"] {
        let said = house.raw_values("anna", "login", &[("user", name.into()), ("password", ANNAS.into())]);
        assert_eq!(said["reasons"][0]["code"], "log_in_refused", "{name:?}: {said}");
    }
    assert_eq!(daemon.terminate().code(), Some(0));
    let log = std::fs::read(house.site.file("log")).expect("a log");
    assert!(!log.contains(&0x1b) && !String::from_utf8_lossy(&log).contains("\nlogged_in anna"));
    assert!(house.kinds().iter().all(|(_, body)| !body.contains("OR '1'") && !body.contains("[2J")));
    nothing_was_told(&house);
}
