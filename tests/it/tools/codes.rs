//! How the tools end, as scripts see it: 1 the answer is no, 64 usage, 69 unreachable, 74 input and output.

use super::stage::{Stage, closed_port};

/// The exit code, a word of what is said on standard error, and the command.
type Row<'a> = (i32, &'a str, &'a [&'a str]);

fn expect(stage: &Stage, rows: &[Row<'_>]) {
    for (code, word, args) in rows {
        let said = stage.sealgate(args);
        assert_eq!(said.code, *code, "{args:?}: {}{}", said.out, said.err);
        assert!(said.err.contains(word), "{args:?}: {}", said.err);
    }
}

#[test]
fn what_cannot_be_meant_is_usage() {
    let stage = Stage::open();
    let config = stage.config();
    let (file, url, peer) = (config.to_str().unwrap(), stage.url(), stage.modbus());
    let (url, more) = (url.as_str(), format!("{peer}:1"));
    expect(
        &stage,
        &[
            (64, "nsu=URI;s=NAME", &["opcua", "read", url, "Camera.Seq"]),
            (64, "nsu=URI;s=NAME", &["opcua", "read", url, "nsu=urn:x;i=seven"]),
            (64, "nsu=URI;s=NAME", &["opcua", "browse", url, "--from", "Camera"]),
            (64, "opc.tcp://HOST", &["opcua", "read", "http://127.0.0.1", "i=2258"]),
            (64, "opc.tcp://HOST", &["opcua", "read", "127.0.0.1:4840", "i=2258"]),
            (64, "opc.tcp://HOST", &["opcua", "read", "opc.tcp://", "i=2258"]),
            (64, "opc.tcp://HOST", &["opcua", "browse", "opc.tcp://:4840"]),
            (64, "opc.tcp://HOST", &["opcua", "doctor", "opc.tcp://127.0.0.1:99999"]),
            (64, "speaks OPC UA", &["opcua", "read", "modbus", "i=2258", "--config", file]),
            (64, "speaks OPC UA", &["opcua", "read", "nobody", "i=2258", "--config", file]),
            (64, "is expected", &["opcua", "read", url, "i=2258", "--security", "Basic128Rsa15"]),
            (64, "HOST:PORT", &["modbus", "read", &more, "0"]),
            (64, "HOST:PORT", &["modbus", "scan", &more]),
            (64, "its address is wanted: 127.0.0.1:", &["modbus", "read", "modbus", "0", "--config", file]),
            (64, "at most 125", &["modbus", "read", &peer, "0", "--count", "126"]),
            (64, "--count", &["tap", "--count", "0", "--config", file]),
            (64, "holds 10 of a case", &["sim", "--case", "50", "--config", file]),
            (64, "holds 10 of a pallet", &["sim", "--pallet", "11", "--config", file]),
        ],
    );
}

#[test]
fn no_is_no_and_who_is_away_is_unreachable() {
    let stage = Stage::open();
    let url = stage.url();
    let away = format!("127.0.0.1:{}", closed_port());
    let away_url = format!("opc.tcp://{away}");
    let (url, away_url) = (url.as_str(), away_url.as_str());
    let secured = ["opcua", "read", url, "i=2258", "--security", "Basic256Sha256", "--pki", "/proc/nope"];
    let unknown = |node| ["opcua", "browse", url, "--timeout-ms", "20000", "--security", "none", "--from", node];
    expect(
        &stage,
        &[
            (1, "there is no node nsu=urn:nobody;s=x", &unknown("nsu=urn:nobody;s=x")),
            (1, "there is no node nsu=urn:sealgate:sim;s=x", &unknown("nsu=urn:sealgate:sim;s=x")),
            (1, "", &["opcua", "doctor", away_url]),
            (69, "firewall", &["opcua", "browse", away_url, "--security", "none"]),
            (69, "firewall", &["opcua", "read", away_url, "i=2258"]),
            (69, "is it on", &["modbus", "read", &away, "0"]),
            (69, "is it on", &["modbus", "scan", &away]),
            (74, "/proc/nope", &secured),
        ],
    );
}
