//! `opcua browse`, `opcua read`, `modbus read`, `modbus scan`.

use sealgate::domain::tag::{Quality, StationKind, Tag, TagValue};

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
fn until_shown(stage: &Stage, node: &str, value: &serde_json::Value) {
    for _ in 0..200 {
        if stage.json(&["opcua", "read", &stage.url(), "--timeout-ms", "20000", node, "--security", "none"])[0]["value"]
            == *value
        {
            return;
        }
    }
    panic!("{node} never shows {value}");
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

    let map = stage.sealgate(&[
        "opcua",
        "browse",
        &stage.url(),
        "--timeout-ms",
        "20000",
        "--security",
        "none",
        "--emit-toml",
    ]);
    assert_eq!((map.code, map.err.as_str()), (0, ""));
    stage.golden("browse.toml", &map.out);
    // The names of this server are those of the contract: what is left to a person are verdict or word, and the rings.
    let config = stage.config();
    let own = map.out.replace("[camera.heartbeat]", "[camera]\nring = 64\n\n[camera.heartbeat]");
    let own = without(&without(&own, "[rejector.verdict]"), "[rejector.verdict_track]");
    std::fs::write(stage.folder.path().join("maps/sim-opcua.toml"), own).unwrap();
    let checked = stage.sealgate(&["check", "--config", config.to_str().unwrap()]);
    assert_eq!(checked.code, 0, "{}{}", checked.out, checked.err);

    let document =
        stage.json(&["opcua", "browse", &stage.url(), "--timeout-ms", "20000", "--security", "none", "--depth", "1"]);
    assert_eq!(document["complete"], true);
    let names: Vec<&str> = document["nodes"].as_array().unwrap().iter().map(|n| n["name"].as_str().unwrap()).collect();
    assert!(["printer", "camera", "rejector"].iter().all(|name| names.contains(name)), "{names:?}");
}

#[test]
fn a_tree_that_is_too_large_is_cut_and_says_so() {
    let stage = Stage::open();
    let said = stage.sealgate(&[
        "opcua",
        "browse",
        &stage.url(),
        "--timeout-ms",
        "20000",
        "--security",
        "none",
        "--limit",
        "5",
        "--json",
    ]);
    assert_eq!(said.code, 0);
    assert!(said.err.contains("more than 5 nodes"), "{}", said.err);
    assert!(said.out.contains("\"complete\":false"));
}

#[test]
fn read_says_value_type_quality_and_times_and_no_where_one_is_not_good() {
    let stage = Stage::open();
    show_something(&stage);
    let node = "nsu=urn:sealgate:sim;s=printer.identity";
    until_shown(&stage, node, &"sim printer".into());
    let rows = stage.json(&[
        "opcua",
        "read",
        &stage.url(),
        "--timeout-ms",
        "20000",
        node,
        "nsu=urn:nobody;s=x",
        "--security",
        "none",
    ]);
    assert_eq!((&rows[0]["type"], &rows[0]["quality"]), (&"ByteString".into(), &"Good".into()), "{rows}");
    assert!(rows[0]["source_at_us"].as_i64().unwrap() > 1_600_000_000_000_000, "{rows}");
    assert_eq!((&rows[1]["value"], &rows[1]["quality"]), (&serde_json::Value::Null, &"BadNodeIdUnknown".into()));
    let said = stage.sealgate(&[
        "opcua",
        "read",
        &stage.url(),
        "--timeout-ms",
        "20000",
        node,
        "nsu=urn:nobody;s=x",
        "--security",
        "none",
    ]);
    assert_eq!(said.code, 1);
    fits(&said.out);

    stage.image.change(|tags| tags.set_quality(StationKind::Printer, Some(Tag::Identity), Quality::Bad(0x808B_0000)));
    let config = stage.config();
    let by_name = ["opcua", "read", "opcua", node, "--config", config.to_str().unwrap()];
    let is_bad = |_| stage.json(&by_name)[0]["quality"] == "BadDeviceFailure";
    assert!((0..200).any(is_bad), "a device of the configuration is found by its name: {}", stage.json(&by_name));
}

#[test]
fn who_is_away_is_unreachable_and_the_text_says_what_to_look_at() {
    let stage = Stage::open();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let url = format!("opc.tcp://127.0.0.1:{port}");
    let opcua = stage.sealgate(&["opcua", "browse", &url, "--security", "none"]);
    assert_eq!(opcua.code, 69, "{}", opcua.err);
    assert!(opcua.err.contains("firewall"), "{}", opcua.err);
    let modbus = stage.sealgate(&["modbus", "read", &format!("127.0.0.1:{port}"), "0"]);
    assert_eq!(modbus.code, 69, "{}", modbus.err);
    let usage = stage.sealgate(&[
        "opcua",
        "read",
        &stage.url(),
        "--timeout-ms",
        "20000",
        "i=2258",
        "--security",
        "Basic128Rsa15",
    ]);
    assert_eq!(usage.code, 64, "a policy that is broken is not taken: {}", usage.err);
}

// F53
#[test]
fn a_user_name_never_goes_out_without_security_unless_that_was_asked_for() {
    let stage = Stage::open();
    let refused =
        stage.sealgate(&["opcua", "read", &stage.url(), "--timeout-ms", "20000", "i=2258", "--username", "edge"]);
    assert_eq!(refused.code, 64, "{}", refused.err);
    assert!(refused.err.contains("it offers None/None"), "{}", refused.err);
    let other = stage.sealgate(&[
        "opcua",
        "read",
        &stage.url(),
        "--timeout-ms",
        "20000",
        "i=2258",
        "--security",
        "Basic256Sha256",
    ]);
    assert_eq!(other.code, 69, "no downgrade: {}", other.err);
}

#[test]
fn modbus_read_shows_the_same_registers_under_every_order_and_type() {
    let stage = Stage::open();
    show_something(&stage);
    let said = stage.sealgate(&["modbus", "read", &stage.modbus(), "--timeout-ms", "20000", "24", "--count", "4"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    fits(&said.out);
    stage.golden("modbus_read.txt", &said.out);
    let text = stage.sealgate(&["modbus", "read", &stage.modbus(), "--timeout-ms", "20000", "40006", "--count", "6"]);
    assert!(text.out.contains("\"sim packer\""), "{}", text.out);
    let document =
        stage.json(&["modbus", "read", &stage.modbus(), "--timeout-ms", "20000", "25", "--base", "1", "--count", "2"]);
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
    let beyond = stage.sealgate(&["modbus", "read", &stage.modbus(), "--timeout-ms", "20000", "19999", "--count", "2"]);
    assert_eq!(beyond.code, 1);
    assert!(beyond.err.contains("exception 2") && beyond.err.contains("--base"), "{}", beyond.err);
    let coils = stage.sealgate(&["modbus", "read", &stage.modbus(), "--timeout-ms", "20000", "0", "--kind", "coil"]);
    assert!(coils.err.contains("exception 1"), "{}", coils.err);
    let many = stage.sealgate(&["modbus", "read", &stage.modbus(), "--timeout-ms", "20000", "0", "--count", "126"]);
    assert_eq!(many.code, 64, "{}", many.err);
}

#[test]
fn scan_finds_units_and_the_registers_that_may_be_read() {
    let stage = Stage::open();
    let args = [
        "modbus",
        "scan",
        &stage.modbus(),
        "--timeout-ms",
        "20000",
        "--units",
        "1..2",
        "--last",
        "20200",
        "--pause-ms",
        "0",
    ];
    let said = stage.sealgate(&args);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    fits(&said.out);
    stage.golden("modbus_scan.txt", &said.out);
    let coils = stage.json(&[
        "modbus",
        "scan",
        &stage.modbus(),
        "--timeout-ms",
        "20000",
        "--units",
        "1",
        "--tables",
        "coil",
        "--pause-ms",
        "0",
    ]);
    assert_eq!((&coils[0]["count"], &coils[0]["kind"]), (&0.into(), &serde_json::Value::Null), "{coils}");
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
