//! `opcua doctor`, `opcua trust`, `check --online`, `tap`.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use sealgate::device;
use sealgate::domain::tag::{Quality, StationKind, Tag};
use serde_json::Value;

use super::stage::{Said, Stage, closed_port, command, fits};

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} in {}", path.display());
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

fn doctor(stage: &Stage, config: &Path) -> Said {
    stage.sealgate(&["opcua", "doctor", "opcua", "--config", config.to_str().unwrap()])
}

/// The one check that failed, with its two fixes.
fn failing(stage: &Stage, config: &Path) -> Value {
    let said = doctor(stage, config);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    fits(&said.out);
    let checks = stage.json(&["opcua", "doctor", "opcua", "--config", config.to_str().unwrap()]);
    let failed: Vec<&Value> = checks.as_array().unwrap().iter().filter(|check| check["ok"] == false).collect();
    assert_eq!(failed.len(), 1, "{checks}");
    failed[0].clone()
}

#[test]
fn doctor_finds_a_healthy_device_healthy() {
    let stage = Stage::open();
    let config = stage.config();
    let said = doctor(&stage, &config);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    fits(&said.out);
    assert!(!said.out.contains("FAILS") && said.out.contains("all good"), "{}", said.out);
    let by_url = stage.opcua("doctor", &["--json"]);
    assert_eq!(by_url.code, 0, "{}{}", by_url.out, by_url.err);
    let checks = by_url.json();
    let tags = checks.as_array().unwrap().last().unwrap();
    assert!(tags["found"].as_str().unwrap().starts_with("none: only a device of a configuration"), "{checks}");
    assert!(!by_url.out.contains("map"), "a URL has no map: {checks}");
}

// F53
#[test]
fn doctor_names_the_failing_check_and_the_fix_on_both_sides() {
    let stage = Stage::open();
    let config = stage.config();
    let map = stage.folder.path().join("maps/sim-opcua.toml");
    let both = |check: &Value, name: &str, found: &str| {
        assert_eq!(check["check"], name, "{check}");
        assert!(check["found"].as_str().unwrap().contains(found), "{check}");
        assert!(!check["here"].as_str().unwrap().is_empty() && !check["there"].as_str().unwrap().is_empty(), "{check}");
    };
    replace(&map, "s=camera.overrun\"\ntype = \"bool\"", "s=camera.overrun\"\ntype = \"u16\"");
    both(&failing(&stage, &config), "tags", "is not what the map says");
    let text = fs::read_to_string(&map).unwrap();
    fs::write(&map, text.replace("nsu=urn:sealgate:sim;", "nsu=urn:elsewhere;")).unwrap();
    both(&failing(&stage, &config), "namespaces", "urn:elsewhere is not there");
    replace(&config, "security = \"none\"", "security = \"Aes256Sha256RsaPss\"");
    both(&failing(&stage, &config), "security", "not Aes256-Sha256-RsaPss");
    replace(&config, "security = \"Aes256Sha256RsaPss\"", "security = \"none\"\nusername = \"edge\"");
    both(&failing(&stage, &config), "user", "not allowed");
    let closed = closed_port();
    replace(&config, &format!("127.0.0.1:{}", stage.opcua), &format!("127.0.0.1:{closed}"));
    both(&failing(&stage, &config), "tcp", "refused");
    replace(&config, &format!("127.0.0.1:{closed}"), "no-such-host.invalid:4840");
    both(&failing(&stage, &config), "name", "has no address");
}

/// Answers as a web server does, whatever it is asked.
fn web_server() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 32]).and_then(|_| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        }
    });
    port
}

#[test]
fn a_peer_that_is_no_opc_ua_server_is_told_by_every_tool() {
    let stage = Stage::open();
    let config = stage.config();
    let web = web_server();
    replace(&config, &format!("127.0.0.1:{}", stage.opcua), &format!("127.0.0.1:{web}"));
    let told = "not OPC UA: it answered `HTTP/1.1 400 Bad Request`";
    let check = failing(&stage, &config);
    assert_eq!(check["check"], "endpoints", "{check}");
    assert!(check["found"].as_str().unwrap().contains(told), "{check}");
    let online = stage.sealgate(&["check", "--online", "--config", config.to_str().unwrap()]);
    assert!(online.code == 1 && online.out.contains(told), "{}{}", online.out, online.err);
    let url = format!("opc.tcp://127.0.0.1:{web}");
    for args in [&["opcua", "browse", &url][..], &["opcua", "read", &url, "i=2258", "--security", "none"]] {
        let said = stage.sealgate(args);
        assert!(said.code == 69 && said.err.contains(told), "{}{}", said.out, said.err);
    }
}

#[test]
fn a_person_trusts_a_server_and_takes_it_back() {
    let stage = Stage::open();
    let own = device::ensure_own_certificate(&stage.folder.path().join("server")).unwrap();
    let file = own.certificate.to_str().unwrap();
    let trust = |args: &[&str]| stage.json(&[&["opcua", "trust"], args, &["--pki", "pki"]].concat());
    assert_eq!(trust(&["list"])["servers"], Value::Array(Vec::new()));
    let added = trust(&["add", file]);
    assert_eq!(
        (&added["state"], &added["thumbprint"]),
        (&"trusted".into(), &own.thumbprint.as_str().into()),
        "{added}"
    );
    let rejected = trust(&["reject", &own.thumbprint[..10]]);
    assert_eq!(rejected["state"], "rejected");
    let servers = trust(&["list"])["servers"].clone();
    assert_eq!(servers.as_array().unwrap().len(), 1, "it lies on one shelf: {servers}");
    let unknown = stage.sealgate(&["opcua", "trust", "add", "0000000000", "--pki", "pki"]);
    assert_eq!(unknown.code, 1, "{}", unknown.err);
    let nowhere = stage.sealgate(&["opcua", "trust", "add", file, "--pki", "/proc/nope"]);
    assert_eq!(nowhere.code, 74, "{}", nowhere.err);
    let config = stage.config();
    let no_certificate = stage.sealgate(&["opcua", "trust", "add", config.to_str().unwrap(), "--pki", "pki"]);
    assert_eq!(no_certificate.code, 1, "{}", no_certificate.err);
    fs::write(stage.folder.path().join("pki/trusted/plc.der"), "garbage").unwrap();
    assert_eq!(trust(&["list"])["unusable"][0]["why"], "is no certificate (DER or PEM)");
    let shown = stage.sealgate(&["opcua", "trust", "list", "--pki", "pki"]);
    assert!(shown.out.contains("rejected") && shown.out.contains("pki/trusted/plc.der"), "{}", shown.out);
    let ours = stage.sealgate(&["opcua", "trust", "add", file, "--pki", "server"]);
    assert!(ours.code == 1 && ours.err.contains("is our own certificate"), "{}{}", ours.out, ours.err);
    fits(&shown.out);
}

#[test]
fn check_online_tells_every_tag_with_value_quality_and_age() {
    let stage = Stage::open();
    let config = stage.config();
    stage.image.change(|tags| tags.set_int(StationKind::Packer, Tag::Seq, 41));
    let args = ["check", "--online", "--config", config.to_str().unwrap()];
    let document = stage.json(&args);
    let tags = document["tags"].as_array().unwrap();
    let tag = |station: &str, name: &str| {
        tags.iter().find(|row| row["station"] == station && row["tag"] == name).unwrap_or(&Value::Null).clone()
    };
    let seq = tag("packer", "seq");
    assert_eq!((&seq["value"], &seq["quality"], &seq["address"]), (&41.into(), &"good".into(), &"holding 24".into()));
    assert!(seq["round_trip_us"].as_u64().unwrap() > 0, "{seq}");
    let heartbeat = tag("camera", "heartbeat");
    assert!(heartbeat["age_ms"].as_i64().is_some(), "OPC UA says how old a value is: {heartbeat}");
    assert!(tags.iter().all(|row| row["quality"] == "good"), "{document}");

    stage.image.change(|tags| tags.set_quality(StationKind::Camera, Some(Tag::Grade), Quality::Bad(0x808B_0000)));
    let bad = |_| {
        let said = stage.sealgate(&args);
        fits(said.out.split("\n\n").last().unwrap());
        said.code == 1 && said.out.contains("bad 0x808b0000") && said.out.contains("camera.grade")
    };
    assert!((0..10).any(bad), "{}", stage.sealgate(&args).out);
}

#[test]
fn check_online_fails_for_a_value_that_the_station_cannot_take() {
    let stage = Stage::open();
    let config = stage.config();
    let findings = || {
        let document = stage.json(&["check", "--online", "--config", config.to_str().unwrap()]);
        let found = document["online"].as_array().unwrap().iter().filter(|found| found["outcome"] == "error");
        found.map(|found| found["text"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    stage.image.change(|tags| StationKind::ALL.iter().for_each(|kind| tags.set_int(*kind, Tag::Epoch, 7)));
    let good = findings();
    assert!(!good.iter().any(|text| text.contains("packer.")), "{good:?}");
    stage.image.change(|tags| tags.set_int(StationKind::Packer, Tag::GateState, 9));
    stage.image.change(|tags| tags.set_int(StationKind::Packer, Tag::Epoch, 0));
    let found = findings();
    for text in ["packer.gate_state: 9 is none of the values 0 to 2;", "packer.epoch: 0, the device is not ready;"] {
        assert!(found.iter().any(|found| found.starts_with(text)), "{text}: {found:?}");
    }
    let said = stage.sealgate(&["check", "--online", "--config", config.to_str().unwrap()]);
    assert_eq!(said.code, 1, "{}", said.out);
}

#[test]
fn check_online_asks_units_behind_one_address_over_the_connection_that_they_share() {
    let stage = Stage::open();
    let config = stage.config();
    stage.image.change(|tags| StationKind::ALL.iter().for_each(|kind| tags.set_int(*kind, Tag::Epoch, 7)));
    let second = format!(
        "[device.second]\nprotocol = \"modbus\"\nhost = \"127.0.0.1\"\nport = {}\nunit = 2\nrequest_timeout_ms = 10000\n\n[station.printer]",
        stage.modbus
    );
    replace(&config, "[station.printer]", &second);
    replace(&config, "kind = \"palletizer\"\ndevice = \"modbus\"", "kind = \"palletizer\"\ndevice = \"second\"");
    for round in 0..12 {
        let document = stage.json(&["check", "--online", "--config", config.to_str().unwrap()]);
        let devices = document["online"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|probe| ["device modbus", "device second"].iter().any(|name| probe["what"] == *name));
        let outcomes: Vec<&Value> = devices.map(|probe| &probe["outcome"]).collect();
        assert_eq!(outcomes, ["ok", "ok"], "round {round}: {document}");
    }
}

#[test]
fn check_online_calls_nothing_a_broker_but_a_broker() {
    let stage = Stage::open();
    let config = stage.config();
    let broker = sealgate::sim::broker::start(0).unwrap();
    let told = |port: u16, before: u16| {
        replace(
            &config,
            &format!("[mqtt]\nhost = \"127.0.0.1\"\nport = {before}\n"),
            &format!("[mqtt]\nhost = \"127.0.0.1\"\nport = {port}\n"),
        );
        let document = stage.json(&["check", "--online", "--config", config.to_str().unwrap()]);
        let probe = document["online"].as_array().unwrap().iter().find(|probe| probe["what"] == "broker").unwrap();
        (probe["outcome"].as_str().unwrap().to_owned(), probe["text"].as_str().unwrap().to_owned())
    };
    let (outcome, text) = told(broker.port(), 1883);
    assert!(outcome == "ok" && text.contains("takes us in"), "{text}");
    let (outcome, text) = told(stage.modbus, broker.port());
    assert!(outcome == "error" && text.contains("MQTT 5"), "{text}");
    let (outcome, text) = told(closed_port(), stage.modbus);
    assert!(outcome == "error" && text.contains("does not answer"), "{text}");
}

/// The daemon on the stage's servers, without a broker.
struct Daemon {
    child: Child,
}

impl Daemon {
    fn start(stage: &Stage, config: &Path) -> Self {
        let text = fs::read_to_string(config).unwrap();
        fs::write(config, text.replace("[mqtt]\nhost = \"127.0.0.1\"\nport = 1883\n", "")).unwrap();
        let log = fs::File::create(stage.folder.path().join("run.log")).unwrap();
        let mut run = command(&["run", "--config", config.to_str().unwrap()]);
        let child = run.current_dir(stage.folder.path()).stderr(log).spawn().unwrap();
        let daemon = Self { child };
        let until = Instant::now() + Duration::from_secs(60);
        while stage.sealgate(&["status", "--config", config.to_str().unwrap()]).code != 0 {
            assert!(Instant::now() < until, "the daemon never answers");
        }
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_station_that_is_lost_for_a_value_names_the_tag_everywhere() {
    let stage = Stage::open();
    let config = stage.config();
    // However slow the machine is, no heart stands still.
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("kind = \"camera\"", "kind = \"camera\"\nheartbeat_timeout_ms = 60000")).unwrap();
    stage.image.change(|tags| StationKind::ALL.iter().for_each(|kind| tags.set_int(*kind, Tag::Epoch, 7)));
    let _daemon = Daemon::start(&stage, &config);
    let mut beat = 0;
    let mut camera = || {
        beat += 1;
        stage.image.change(|tags| StationKind::ALL.iter().for_each(|kind| tags.set_int(*kind, Tag::Heartbeat, beat)));
        let status = stage.json(&["status", "--config", config.to_str().unwrap()]);
        let stations = status["stations"].as_array().unwrap().clone();
        stations.into_iter().find(|row| row["station"] == "camera").unwrap()
    };
    let mut until = |what: &str, holds: &dyn Fn(&Value) -> bool| {
        let end = Instant::now() + Duration::from_secs(90);
        let mut shown = camera();
        while !holds(&shown) {
            assert!(Instant::now() < end, "{what}: {shown}");
            shown = camera();
        }
    };
    until("it joins", &|camera| camera["joined"] == true && camera["away"].is_null());
    stage.image.change(|tags| tags.set_quality(StationKind::Camera, Some(Tag::Seq), Quality::Bad(0x8031_0000)));
    let flaw = "bad 0x80310000 (BadNoCommunication)";
    until("it is away", &|camera| camera["away"] == "quality" && camera["tag"] == "seq" && camera["flaw"] == flaw);
    let log = fs::read_to_string(stage.folder.path().join("run.log")).unwrap();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("station_away") && line.contains(flaw)).collect();
    assert_eq!(lines.len(), 1, "a change is told once: {log}");
    let read_only = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let journal = rusqlite::Connection::open_with_flags(stage.folder.path().join("line.db"), read_only).unwrap();
    let newest =
        "SELECT body FROM v_fact WHERE kind = 'station_lost' AND body LIKE '%quality%' ORDER BY seq DESC LIMIT 1";
    let body: String = journal.query_row(newest, [], |row| row.get(0)).unwrap();
    let fact: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&fact["cause"], &fact["tag"], &fact["flaw"]), (&"quality".into(), &"seq".into(), &flaw.into()));
}

#[test]
fn tap_without_a_daemon_is_unreachable() {
    let stage = Stage::open();
    let config = stage.config();
    let said = stage.sealgate(&["tap", "--config", config.to_str().unwrap()]);
    assert_eq!(said.code, 69, "{}", said.err);
    assert!(said.err.contains("no daemon answers"), "{}", said.err);
    let unknown = stage.sealgate(&["tap", "nobody", "--config", config.to_str().unwrap()]);
    assert_eq!(unknown.code, 64, "{}", unknown.err);
}

#[test]
fn tap_shows_tags_observations_and_facts_as_they_pass() {
    let stage = Stage::open();
    let config = stage.config();
    let _daemon = Daemon::start(&stage, &config);
    let mut tap = command(&["tap", "--count", "3000", "--for", "60", "--json", "--config", config.to_str().unwrap()]);
    // Into a file: nobody reads a pipe while tap runs.
    let said = stage.folder.path().join("tap.jsonl");
    let mut tap = tap.current_dir(stage.folder.path()).stdout(fs::File::create(&said).unwrap()).spawn().unwrap();
    // The stations join once their heartbeats change.
    let until = Instant::now() + Duration::from_secs(90);
    let mut beat = 0;
    while tap.try_wait().unwrap().is_none() {
        assert!(Instant::now() < until, "tap never ends");
        beat += 1;
        stage.image.change(|tags| {
            for kind in StationKind::ALL {
                tags.set_int(*kind, Tag::Epoch, 7 + beat / 50);
                tags.set_int(*kind, Tag::Heartbeat, 1 + beat % 60_000);
            }
        });
        std::thread::sleep(Duration::from_millis(5));
    }
    let out = fs::read_to_string(said).unwrap();
    let rows: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows.len() >= 200, "{}", rows.len());
    for what in ["tag", "observation", "fact"] {
        assert!(rows.iter().any(|row| row["what"] == what), "no {what} in {out}");
    }
    let one = stage.sealgate(&["tap", "modbus", "--for", "1", "--json", "--config", config.to_str().unwrap()]);
    assert_eq!(one.code, 0, "{}", one.err);
    let is_own = |line: &str| serde_json::from_str::<Value>(line).unwrap()["device"] != "opcua";
    assert!(one.out.lines().all(is_own), "{}", one.out);
}
