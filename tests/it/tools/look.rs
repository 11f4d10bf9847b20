//! What the tools find: `opcua browse`, `opcua read`, `modbus read`, `modbus scan`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use sealgate::domain::tag::{Quality, StationKind, Tag, TagValue};
use serde_json::Value;

use super::stage::{Stage, command, fits, said};

fn show_something(stage: &Stage) {
    stage.image.change(|tags| {
        tags.set_int(StationKind::Printer, Tag::PrintedSeq, 7);
        tags.set(StationKind::Printer, Tag::Identity, TagValue::Bytes(b"sim printer".to_vec()));
        tags.set_int(StationKind::Packer, Tag::Seq, 0x0001_0002);
        tags.set(StationKind::Packer, Tag::Identity, TagValue::Bytes(b"sim packer".to_vec()));
    });
}

/// The server shows a change of the tag memory a moment later.
fn until_shown(stage: &Stage, node: &str, value: &Value) {
    let is_shown = |_| stage.opcua("read", &[node, "--json"]).json()[0]["value"] == *value;
    assert!((0..200).any(is_shown), "{node} never shows {value}");
}

/// The text without one of its sections.
fn without(text: &str, section: &str) -> String {
    let start = text.find(section).unwrap();
    let end = text[start + 1..].find("\n[").map_or(text.len(), |at| start + 1 + at);
    format!("{}{}", &text[..start], &text[end..])
}

#[test]
fn browse_shows_the_tree_and_writes_a_map_that_the_configuration_takes() {
    let stage = Stage::open();
    show_something(&stage);
    until_shown(&stage, "nsu=urn:sealgate:sim;s=printer.printed_seq", &7.into());
    let tree = stage.sealgate(&["opcua", "browse", &stage.url(), "--timeout-ms", "20000"]);
    assert_eq!(tree.code, 0, "{}", tree.err);
    assert!(tree.err.contains("neither signed nor encrypted"), "{}", tree.err);
    fits(&tree.out);
    // The library behind this server keeps children in no order.
    let mut lines: Vec<&str> = tree.out.lines().collect();
    lines.sort_unstable();
    stage.golden("browse.txt", &lines.join("\n"));

    let map = stage.opcua("browse", &["--emit-toml"]);
    assert_eq!((map.code, map.err.as_str()), (0, ""));
    stage.golden("browse.toml", &map.out);
    assert!(!stage.folder.path().join("pki").exists(), "a look without security needs no certificates");
    // The names of this server are those of the contract: what is left to a person are verdict or word, and the rings.
    let config = stage.config();
    let own = map.out.replace("[camera.heartbeat]", "[camera]\nring = 64\n\n[camera.heartbeat]");
    let own = without(&without(&own, "[rejector.verdict]"), "[rejector.verdict_track]");
    std::fs::write(stage.folder.path().join("maps/sim-opcua.toml"), own).unwrap();
    let checked = stage.sealgate(&["check", "--config", config.to_str().unwrap()]);
    assert_eq!(checked.code, 0, "{}{}", checked.out, checked.err);

    let document = stage.opcua("browse", &["--depth", "1", "--json"]).json();
    assert_eq!(document["complete"], true);
    let names: Vec<&str> = document["nodes"].as_array().unwrap().iter().map(|n| n["name"].as_str().unwrap()).collect();
    assert!(["printer", "camera", "rejector"].iter().all(|name| names.contains(name)), "{names:?}");
    let cut = stage.opcua("browse", &["--limit", "5", "--json"]);
    assert!(cut.code == 0 && cut.err.contains("more than 5 nodes"), "{}", cut.err);
    assert_eq!(cut.json()["complete"], false);
}

#[test]
fn read_says_value_type_quality_and_times_and_no_where_one_is_not_good() {
    let stage = Stage::open();
    show_something(&stage);
    let node = "nsu=urn:sealgate:sim;s=printer.identity";
    until_shown(&stage, node, &"sim printer".into());
    let rows = stage.opcua("read", &[node, "nsu=urn:nobody;s=x", "--json"]).json();
    assert_eq!((&rows[0]["type"], &rows[0]["quality"]), (&"ByteString".into(), &"Good".into()), "{rows}");
    assert!(rows[0]["source_at_us"].as_i64().unwrap() > 1_600_000_000_000_000, "{rows}");
    assert_eq!((&rows[1]["value"], &rows[1]["quality"]), (&Value::Null, &"BadNodeIdUnknown".into()));
    let said = stage.opcua("read", &[node, "nsu=urn:nobody;s=x"]);
    assert_eq!(said.code, 1);
    fits(&said.out);

    stage.image.change(|tags| tags.set_quality(StationKind::Printer, Some(Tag::Identity), Quality::Bad(0x808B_0000)));
    let config = stage.config();
    let by_name = ["opcua", "read", "opcua", node, "--config", config.to_str().unwrap()];
    let is_bad = |_| stage.json(&by_name)[0]["quality"] == "BadDeviceFailure";
    assert!((0..200).any(is_bad), "a device of the configuration is found by its name: {}", stage.json(&by_name));
}

// F53
#[test]
fn a_user_name_never_goes_out_without_security_unless_that_was_asked_for() {
    let stage = Stage::open();
    let read = |rest: &[&str]| {
        let url = stage.url();
        stage.sealgate(&[&["opcua", "read", url.as_str(), "--timeout-ms", "20000", "i=2258"], rest].concat())
    };
    let refused = read(&["--username", "edge"]);
    assert_eq!(refused.code, 64, "{}", refused.err);
    assert!(refused.err.contains("it offers None/None"), "{}", refused.err);
    let other = read(&["--security", "Basic256Sha256"]);
    assert_eq!(other.code, 69, "no downgrade: {}", other.err);
}

#[test]
fn modbus_read_shows_the_same_registers_under_every_order_and_type() {
    let stage = Stage::open();
    show_something(&stage);
    let said = stage.registers("read", &["24", "--count", "4"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    fits(&said.out);
    stage.golden("modbus_read.txt", &said.out);
    let text = stage.registers("read", &["40006", "--count", "6"]);
    assert!(text.out.contains("\"sim packer\""), "{}", text.out);
    let document = stage.registers("read", &["25", "--base", "1", "--count", "2", "--json"]).json();
    let values = document["values"].as_array().unwrap();
    let find = |order: &str| {
        values.iter().find(|row| row["type"] == "u32" && row["order"] == order).map(|row| row["value"].clone())
    };
    assert_eq!((find("ABCD"), find("CDAB")), (Some(65_538.into()), Some(131_073.into())), "{document}");
}

// F60
#[test]
fn an_exception_is_an_answer_and_its_text_says_what_to_try() {
    let stage = Stage::open();
    let beyond = stage.registers("read", &["65534", "--count", "2"]);
    assert_eq!(beyond.code, 1);
    assert!(beyond.err.contains("exception 2") && beyond.err.contains("--base"), "{}", beyond.err);
    let coils = stage.registers("read", &["0", "--kind", "coil"]);
    assert!(coils.err.contains("exception 1"), "{}", coils.err);
}

#[test]
fn scan_finds_units_and_the_registers_that_may_be_read() {
    let stage = Stage::open();
    let said = stage.registers("scan", &["--units", "1..2", "--last", "20200", "--pause-ms", "0"]);
    assert_eq!(said.code, 0, "{}", said.err);
    fits(&said.out);
    stage.golden("modbus_scan.txt", &said.out);
    let coils = stage.registers("scan", &["--units", "1", "--tables", "coil", "--pause-ms", "0", "--json"]).json();
    assert_eq!((&coils[0]["count"], &coils[0]["kind"]), (&0.into(), &"coil".into()), "{coils}");
    assert!(coils[0]["note"].as_str().unwrap().starts_with("exception 1"), "{coils}");
}

/// A gateway: unit 1 fails at everything, unit 2 is behind no path, unit 3 is silent, unit 4 has registers 40 to 59 of holding alone, and
/// unit 5 has all of 0 to 499, of which it reads no more than 16 at once, and calls every other read a failure.
fn answer(mut stream: TcpStream) {
    let mut asked = [0; 12];
    while stream.read_exact(&mut asked).is_ok() {
        let (unit, function) = (asked[6], asked[7]);
        let [start, count] = [[asked[8], asked[9]], [asked[10], asked[11]]].map(u16::from_be_bytes);
        let refused = |code: u8| vec![function | 0x80, code];
        let pdu = match unit {
            1 => refused(4),
            2 => refused(11),
            3 => continue,
            5 if function == 4 || count > 16 || start + count > 500 => refused(4),
            _ if unit == 5 || function == 3 && start >= 40 && start + count <= 60 => {
                let mut pdu = vec![function, count as u8 * 2];
                pdu.resize(2 + usize::from(count) * 2, 0);
                pdu
            }
            _ => refused(2),
        };
        let head = [asked[0], asked[1], 0, 0, 0, pdu.len() as u8 + 1, unit];
        if stream.write_all(&[&head[..], &pdu].concat()).is_err() {
            return;
        }
    }
}

#[test]
fn scan_lists_who_is_absent_leaves_who_only_fails_and_says_how_far_it_is() {
    let gateway = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = gateway.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in gateway.incoming() {
            std::thread::spawn(move || answer(stream.unwrap()));
        }
    });
    let scan = |rest: &[&str]| {
        said(command(&[&["modbus", "scan", place.as_str(), "--last", "999"], rest].concat()).output().unwrap())
    };
    let all = scan(&["--units", "1..5", "--pause-ms", "0", "--timeout-ms", "2000", "--json"]);
    assert_eq!(all.code, 0, "{}", all.err);
    let found = all.json();
    let row = |index: usize| {
        let row = &found[index];
        (row["unit"].clone(), row["kind"].clone(), row["count"].clone(), row["note"].as_str().unwrap_or("").to_owned())
    };
    let given_up = "given up after 137 reads: nothing but failures (exception 4)";
    let expected = [
        (1, "holding".into(), 0, given_up),
        (1, "input".into(), 0, given_up),
        (2, Value::Null, 0, "absent: exception 11"),
        (3, Value::Null, 0, "absent: no answer"),
        (4, "holding".into(), 20, ""),
    ];
    for (index, (unit, kind, count, note)) in expected.into_iter().enumerate() {
        assert_eq!(row(index), (unit.into(), kind, count.into(), note.to_owned()), "{found}");
    }
    assert_eq!((&found[4]["first"], &found[4]["last"]), (&40.into(), &59.into()));
    assert!(row(5).3.starts_with("exception 2"), "{found}");
    let last = found.as_array().unwrap().len() - 1;
    assert_eq!(row(last - 1), (5.into(), "holding".into(), 500.into(), String::new()), "{found}");
    assert_eq!(row(last), (5.into(), "input".into(), 0.into(), given_up.to_owned()), "{found}");
    let nobody = scan(&["--units", "2", "--pause-ms", "0"]);
    assert_eq!(nobody.code, 1, "{}{}", nobody.out, nobody.err);
    // A pause makes it as long as it takes until a line is due.
    let slow = scan(&["--units", "1", "--tables", "holding", "--pause-ms", "60"]);
    assert!(slow.err.contains("unit 1 (1 of 1): holding, ") && slow.err.contains(" s more"), "{}", slow.err);
    fits(&slow.out);
}

#[test]
fn every_tool_teaches_by_examples() {
    for args in [
        &["opcua", "--help"][..],
        &["opcua", "browse", "--help"],
        &["opcua", "read", "--help"],
        &["modbus", "--help"],
        &["modbus", "read", "--help"],
    ] {
        let help = said(command(args).output().unwrap());
        assert_eq!(help.code, 0);
        assert!(help.out.contains("Examples:"), "{args:?}");
    }
}
