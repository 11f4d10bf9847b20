//! A small demo from outside: it ends by itself and its three records agree; a difference planted in any one of them is found.

#![cfg(feature = "demo")]

use std::fs;
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;
use sealgate::sim::reconcile::{Report, reconcile};
use sealgate::store::views;
use serde_json::Value;

/// The figures that the last line has at least.
const FIGURES: &[&str] = &[
    "presented",
    "printed",
    "commissioned",
    "rejected",
    "missed",
    "unaccounted",
    "false_rejects",
    "cases_closed",
    "pallets_closed",
    "closes_refused",
    "facts",
    "messages",
    "acked",
    "verdict_us",
    "wrong_in_closed_case",
    "reconciled",
];

struct Records {
    truth: String,
    feed: String,
    folder: tempfile::TempDir,
}

impl Records {
    fn read(folder: tempfile::TempDir) -> Self {
        let text = |file: &str| fs::read_to_string(folder.path().join(file)).expect("the demo wrote it");
        Self { truth: text("truth.jsonl"), feed: text("feed.jsonl"), folder }
    }

    /// The comparison as the demo makes it, of a copy of the journal that `sql` has changed.
    fn compared(&self, truth: &str, feed: &str, sql: &str) -> Report {
        let copy = self.folder.path().join("copy.db");
        let whole = Connection::open(self.folder.path().join("line.db")).expect("a journal");
        let _ = fs::remove_file(&copy);
        whole.execute("VACUUM INTO ?1", [copy.to_str().expect("plain")]).expect("copied");
        Connection::open(&copy).expect("a copy").execute_batch(sql).expect("changed");
        reconcile(truth, &views::load(&copy).expect("views"), feed)
    }
}

fn play(folder: &Path, more: &[&str]) -> Value {
    play_at("3000", folder, more)
}

fn play_at(rate: &str, folder: &Path, more: &[&str]) -> Value {
    let ended = Command::new(env!("CARGO_BIN_EXE_sealgate"))
        .args(["demo", "--units", "100", "--rate", rate, "--seed", "7", "--headless", "--json"])
        .args(more)
        .arg("--data")
        .arg(folder)
        .output()
        .expect("the program starts");
    let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{}: {out}{err}", ended.status);
    serde_json::from_str(out.lines().last().expect("a last line")).expect("one JSON object")
}

#[test]
fn a_small_demo_reconciles_and_three_planted_differences_do_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let figures = play(folder.path(), &[]);
    for figure in FIGURES {
        assert!(figures.get(figure).is_some(), "{figure} is missing in {figures}");
    }
    assert_eq!((&figures["reconciled"], &figures["wrong_in_closed_case"]), (&true.into(), &0.into()), "{figures}");
    let records = Records::read(folder);
    let (truth, feed) = (&records.truth, &records.feed);
    assert_eq!(records.compared(truth, feed, "").differences, Vec::<String>::new());

    let moved = "UPDATE member SET parent = (SELECT max(parent) FROM member WHERE child > 0)
        WHERE child = (SELECT min(child) FROM member WHERE child > 0)";
    let report = records.compared(truth, feed, moved);
    assert!(!report.is_reconciled() && report.wrong_in_closed_case == 1, "a moved member: {report:?}");

    let without: Vec<&str> = feed.lines().filter(|line| !line.contains("/1/fact/20\"")).collect();
    let report = records.compared(truth, &without.join("\n"), "");
    assert_eq!(report.differences, ["fact 20 (".to_owned() + kind_of(feed) + ") is missing in the capture"]);

    let report = records.compared(&swapped(truth), feed, "");
    assert!(!report.is_reconciled(), "two units swapped in the truth");
    let plain = records.compared(truth, feed, "");
    assert!(plain.is_reconciled(), "nothing of it stays");
}

/// A coder, a labeller and a verifying scanner, each over a text protocol of its own, with the daemon as it ships.
#[test]
fn a_line_whose_devices_speak_text_does_the_whole_job() {
    let folder = tempfile::tempdir().expect("a folder");
    let figures = play(folder.path(), &["--models", "text"]);
    assert_eq!((&figures["reconciled"], &figures["wrong_in_closed_case"]), (&true.into(), &0.into()), "{figures}");
    assert_eq!((&figures["pallets_closed"], &figures["closes_refused"]), (&1.into(), &0.into()), "{figures}");
    assert_eq!(&figures["unaccounted"], &0, "{figures}");
}

#[test]
fn the_whole_line_works_with_every_station_on_the_other_protocol() {
    let folder = tempfile::tempdir().expect("a folder");
    let figures = play(folder.path(), &["--swap-protocols"]);
    assert_eq!((&figures["reconciled"], &figures["wrong_in_closed_case"]), (&true.into(), &0.into()), "{figures}");
    let config = fs::read_to_string(folder.path().join("line.toml")).expect("the demo wrote it");
    for (station, device) in [("printer", "modbus"), ("camera", "modbus"), ("packer", "opcua"), ("palletizer", "opcua")]
    {
        let (_, section) = config.split_once(&format!("[station.{station}]")).expect("a station");
        let line = section.lines().find(|line| line.starts_with("device")).expect("on a device");
        assert_eq!(line, format!("device = \"{device}\""), "{station}");
    }
}

#[test]
fn the_whole_line_works_with_cases_that_are_read_layer_by_layer() {
    let folder = tempfile::tempdir().expect("a folder");
    let figures = play(folder.path(), &["--array-reader"]);
    assert_eq!((&figures["reconciled"], &figures["wrong_in_closed_case"]), (&true.into(), &0.into()), "{figures}");
    assert_eq!((&figures["cases_closed"], &figures["closes_refused"]), (&10.into(), &0.into()), "{figures}");
    let config = fs::read_to_string(folder.path().join("line.toml")).expect("the demo wrote it");
    assert!(config.contains("map = \"maps/array-packer.toml\""), "{config}");
}

/// The whole line with a real camera model in place of the plant's own: every unit gets its verdict from the result of its track.
fn play_with_camera(model: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let figures = play_at("900", folder.path(), &["--camera", model]);
    assert_eq!((&figures["reconciled"], &figures["wrong_in_closed_case"]), (&true.into(), &0.into()), "{figures}");
    let config = fs::read_to_string(folder.path().join("line.toml")).expect("the demo wrote it");
    let (_, camera) = config.split_once("[station.camera]").expect("a camera");
    assert!(camera.lines().any(|line| line == "device = \"vision\""), "{config}");
    let map = camera.lines().find_map(|line| line.strip_prefix("map = ")).expect("a map").trim_matches('"');
    let text = fs::read_to_string(folder.path().join(map)).expect("the demo wrote it");
    let shipped = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(map)).expect("shipped");
    assert_eq!(text, shipped, "the shipped map is what runs");
}

#[test]
fn the_whole_line_works_with_a_cognex_in_sight_camera() {
    play_with_camera("in-sight");
}

#[test]
fn the_whole_line_works_with_a_machine_vision_system_by_opc_40100() {
    play_with_camera("machine-vision");
}

#[test]
fn the_whole_line_works_with_an_optical_verifier_by_opc_30010() {
    play_with_camera("autoid");
}

/// The camera drives the blade by what it is told to expect. It lets through what only the line knows to be wrong: each of these is an
/// alarm, holds the line, and goes into no case.
#[test]
fn a_camera_that_decides_by_itself_fills_whole_cases_and_what_it_wrongly_let_through_lies_in_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let figures = play(folder.path(), &["--decide", "device", "--kills", "2"]);
    assert_eq!((&figures["reconciled"], &figures["wrong_in_closed_case"]), (&true.into(), &0.into()), "{figures}");
    let journal = Connection::open(folder.path().join("line.db")).expect("a journal");
    let count = |sql: &str| journal.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a count");
    let escaped = count("SELECT count(*) FROM v_fact WHERE kind = 'unexpected_pass'");
    let told = count(
        "SELECT count(*) FROM v_fact WHERE kind = 'alarm_raised' AND json_extract(body, '$.alarm_kind') = 'device_disagrees'",
    );
    assert!(escaped > 0 && told > 0, "{escaped} escaped, {told} alarms");
    assert!(figures["closes_refused"].as_i64() > Some(0), "{figures}");
}

/// A person packs with a scanner, over the scanner's own lines: each case is scanned unit by unit, with every slip in turn (a unit twice,
/// one taken back, a label among the units, another label, a stranger that has the case refused), and closes with what lies in it.
#[test]
fn a_line_whose_packer_is_a_person_with_a_scanner_closes_each_case_whatever_slips() {
    let folder = tempfile::tempdir().expect("a folder");
    let figures = play_at("600", folder.path(), &["--models", "hand"]);
    assert_eq!((&figures["reconciled"], &figures["wrong_in_closed_case"]), (&true.into(), &0.into()), "{figures}");
    let journal = Connection::open(folder.path().join("line.db")).expect("a journal");
    let count = |sql: &str| journal.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a count");
    let cases = figures["cases_closed"].as_i64().expect("a count");
    let closed = "SELECT count(*) FROM v_container WHERE level = 'case' AND state IN ('closed', 'released')";
    assert!(cases >= 10 && count(closed) == cases, "{figures}");
    assert!(
        count("SELECT count(*) FROM v_fact WHERE kind = 'close_refused'") > 0,
        "a stranger was in every fourth case"
    );
    // Twice, a label among the units, another label, refused. On a busy machine one may hide behind a scan that came too soon.
    let blocks = "SELECT count(DISTINCT json_extract(body, '$.code')) FROM v_fact WHERE kind = 'station_faulted' AND \
        json_extract(body, '$.code') IN (1, 3, 5, 7)";
    assert!(count(blocks) >= 3, "{} of the blocks", count(blocks));
}

/// Each picture is bound to the result of the unit that it shows, also by a daemon that was killed between; a unit's trace names it.
#[test]
fn a_camera_that_drops_pictures_has_each_bound_to_the_unit_that_it_shows() {
    let folder = tempfile::tempdir().expect("a folder");
    let figures = play_at("900", folder.path(), &["--pictures", "--kills", "1"]);
    assert_eq!(figures["reconciled"], true, "{figures}");
    let journal = Connection::open(folder.path().join("line.db")).expect("a journal");
    let mut bodies = journal.prepare("SELECT body FROM v_fact WHERE kind = 'picture_stored'").expect("a query");
    let bodies = bodies.query_map([], |row| row.get::<_, String>(0)).expect("rows");
    let pictures: Vec<Value> =
        bodies.map(|body| serde_json::from_str(&body.expect("text")).expect("an object")).collect();
    let results: Vec<Value> = fs::read_to_string(folder.path().join("truth.jsonl"))
        .expect("the demo wrote it")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("an object"))
        .filter(|line| line["kind"] == "result")
        .collect();
    // Those of the last second lie still too short.
    assert!(pictures.len() > 50, "{} of {}", pictures.len(), results.len());
    for picture in &pictures {
        let digest = picture["sha256"].as_str().expect("a digest");
        let path = folder.path().join("line.pictures").join(&digest[..2]).join(&digest[2..]);
        let content = fs::read(&path).expect("it is kept");
        assert_eq!(sealgate::wire::digest::sha256_hex(&content), digest);
        let shown = String::from_utf8_lossy(&content).lines().nth(1).expect("a comment").to_owned();
        let of = results.iter().find(|line| line["seq"] == picture["seq"]).expect("the camera counted it");
        assert_eq!(shown, format!("# unit {}", of["unit"]), "{picture}");
    }
    let inspected = &pictures[0]["inspection"];
    let serial: String = journal
        .query_row(
            "SELECT u.serial FROM v_inspection i JOIN v_unit u USING (unit) WHERE i.inspection = ?1",
            [inspected.as_i64()],
            |row| row.get(0),
        )
        .expect("a unit");
    let traced = Command::new(env!("CARGO_BIN_EXE_sealgate"))
        .args(["trace", &serial, "--json", "--db"])
        .arg(folder.path().join("line.db"))
        .output()
        .expect("the program starts");
    let traced: Value = serde_json::from_slice(&traced.stdout).expect("one object");
    assert_eq!(traced["inspections"][0]["picture"]["sha256"], pictures[0]["sha256"], "{traced}");
    let dropped = fs::read_dir(folder.path().join("camera")).expect("a folder").count();
    assert!(dropped < results.len() - 50, "what is kept was taken out of the camera's folder; {dropped} lie there");
}

/// The kind of fact 20, by its topic.
fn kind_of(feed: &str) -> &str {
    let line = feed.lines().find(|line| line.contains("/1/fact/20\"")).expect("fact 20 was captured");
    let (_, topic) = line.split_once("/_fact/").expect("on the topic of its kind");
    topic.split('"').next().expect("a kind")
}

/// The first units of the first two cases change places.
fn swapped(truth: &str) -> String {
    let is_seal =
        |line: &&str| line.contains(r#""kind":"gate","station":"packer""#) && line.contains(r#""gate":"seal""#);
    let first_inside = |line: &str| -> String {
        let (_, inside) = line.split_once("\"inside\":[").expect("children");
        inside.split(',').next().expect("a child").to_owned()
    };
    let mut seals = truth.lines().filter(is_seal).map(first_inside);
    let (one, other) = (seals.next().expect("a case"), seals.next().expect("another case"));
    let swap = |line: &str| {
        if !line.contains(r#""kind":"gate","station":"packer""#) {
            return line.to_owned();
        }
        let place = |unit: &str| format!("\"inside\":[{unit},");
        if line.contains(&place(&one)) {
            line.replace(&place(&one), &place(&other))
        } else {
            line.replace(&place(&other), &place(&one))
        }
    };
    truth.lines().map(swap).collect::<Vec<_>>().join("\n")
}
