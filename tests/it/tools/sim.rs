//! `sim --config`: a configuration with maps of its own, simulated devices for exactly it, and the daemon on the same file.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::stage::{Said, command, said};

/// A line whose devices are elsewhere, in other namespaces, orders and addresses than those of the demo.
fn line(folder: &Path) {
    let maps = folder.join("maps");
    fs::create_dir_all(&maps).unwrap();
    let opcua = fs::read_to_string("config/maps/sim-opcua.toml").unwrap();
    fs::write(maps.join("vendor.toml"), opcua.replace("nsu=urn:sealgate:sim;s=", "nsu=urn:acme:plant;s=Line."))
        .unwrap();
    let modbus = fs::read_to_string("config/maps/sim-modbus.toml").unwrap();
    let shifted: Vec<String> = modbus
        .lines()
        .map(|line| match line.strip_prefix("address = ") {
            Some(address) => format!("address = {}", address.parse::<u32>().unwrap() + 1001),
            None => {
                line.replace("addressing = 0", "addressing = 1").replace("word_order = \"high", "word_order = \"low")
            }
        })
        .collect();
    let shifted = shifted.join("\n");
    assert!(shifted.contains("word_order = \"low_first\"") && shifted.contains("addressing = 1"));
    fs::write(maps.join("plc.toml"), shifted).unwrap();
    let demo = fs::read_to_string("config/demo.toml").unwrap();
    let text = demo
        .replace("maps/sim-opcua.toml", "maps/vendor.toml")
        .replace("maps/sim-modbus.toml", "maps/plc.toml")
        .replace("opc.tcp://127.0.0.1:4840", "opc.tcp://10.7.3.21:4840/line")
        .replace("security = \"none\"", "security = \"Basic256Sha256\"\nusername = \"edge\"\nrequest_timeout_ms = 5000")
        .replace("port = 1502", "port = 502\nrequest_timeout_ms = 5000")
        .replace("host = \"127.0.0.1\"\nport = 502", "host = \"10.7.3.23\"\nport = 502\nunit = 7")
        .replace("kind = \"packer\"", "kind = \"packer\"\npermit_ttl_ms = 20000\nheartbeat_timeout_ms = 20000")
        .replace("kind = \"palletizer\"", "kind = \"palletizer\"\npermit_ttl_ms = 20000\nheartbeat_timeout_ms = 20000")
        .replace("verdict_deadline_ms = 2000", "verdict_deadline_ms = 2400\nheartbeat_timeout_ms = 20000")
        .replace("kind = \"printer\"", "kind = \"printer\"\nheartbeat_timeout_ms = 20000")
        .replace("kind = \"rejector\"", "kind = \"rejector\"\nheartbeat_timeout_ms = 20000");
    fs::write(folder.join("line.toml"), text).unwrap();
}

fn order() -> Value {
    let serials: Vec<String> = (0..400).map(|number| format!("S{number:08}")).collect();
    json!({
        "batch": "DRY-1", "gtin": "09506000134352", "lot": "L7", "expiry": "2029-03-31", "gcp_length": 7,
        "pack": { "case": 5, "pallet": 2 },
        "sscc": { "extension": 0, "prefix": "9506000", "first": 1, "last": 400 }, "serials": serials,
    })
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = command(args);
        command.current_dir(self.folder.path());
        command
    }

    fn say(&self, args: &[&str]) -> Said {
        said(self.command(args).output().unwrap())
    }

    fn start(&self, args: &[&str]) -> Running {
        Running(self.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(120);
        while !holds() {
            let status = self.say(&["status", "--json", "--config", "dry.toml"]);
            assert!(Instant::now() < until, "never: {what}; {}{}", status.out, status.err);
            // A busy machine may let the line stop for a doubt: a person looks, and says so.
            let status: Value = serde_json::from_str(&status.out).unwrap_or_default();
            for alarm in status["alarms"].as_array().into_iter().flatten() {
                self.say(&["alarm", "ack", &alarm["alarm"].to_string(), "--config", "dry.toml"]);
            }
        }
    }
}

#[test]
fn sim_serves_exactly_this_configuration_and_the_daemon_runs_a_line_on_it() {
    let site = Site { folder: tempfile::tempdir().unwrap() };
    line(site.folder.path());
    let elsewhere = site.say(&["sim", "--config", "line.toml"]);
    assert_eq!(elsewhere.code, 64, "{}", elsewhere.out);
    assert!(elsewhere.err.contains("--write FILE"), "{}", elsewhere.err);
    let written = site.say(&["sim", "--config", "line.toml", "--write", "dry.toml"]);
    assert_eq!(written.code, 0, "{}", written.err);
    let original = fs::read(site.folder.path().join("line.toml")).unwrap();
    let onto_itself = site.say(&["sim", "--config", "line.toml", "--write", "line.toml"]);
    assert_eq!(onto_itself.code, 64, "{}", onto_itself.out);
    assert!(onto_itself.err.contains("no copy for a dry run"), "{}", onto_itself.err);
    assert_eq!(fs::read(site.folder.path().join("line.toml")).unwrap(), original);
    assert_eq!(site.say(&["sim", "--config", "line.toml", "--write", "dry.toml"]).code, 0, "a copy is replaced");
    let checked = site.say(&["check", "--config", "dry.toml"]);
    assert_eq!(checked.code, 0, "{}{}", checked.out, fs::read_to_string(site.folder.path().join("dry.toml")).unwrap());

    let data = site.folder.path().join("plant");
    let data = data.to_str().unwrap();
    let _sim =
        site.start(&["sim", "--config", "dry.toml", "--rate", "600", "--case", "5", "--pallet", "2", "--data", data]);
    let _run = site.start(&["run", "--config", "dry.toml"]);
    site.until("the daemon answers", || site.say(&["status", "--config", "dry.toml"]).code == 0);
    fs::write(site.folder.path().join("order.json"), order().to_string()).unwrap();
    let loaded = site.say(&["batch", "load", "order.json", "--config", "dry.toml"]);
    assert_eq!(loaded.code, 0, "{}{}", loaded.out, loaded.err);
    site.until("the batch starts", || site.say(&["batch", "start", "DRY-1", "--config", "dry.toml"]).code == 0);
    let truth = || fs::read_to_string(Path::new(data).join("truth.jsonl")).unwrap_or_default();
    let closes = |of: &str| truth().lines().filter(|line| line.contains("\"closed\"") && line.contains(of)).count();
    site.until("a pallet is closed by the machine", || closes("palletizer") >= 1);
    assert!(closes("packer") >= 2);
    let shown = site.say(&["batch", "show", "DRY-1", "--json", "--config", "dry.toml"]);
    assert!(shown.out.contains("\"closed\"") || shown.out.contains("\"released\""), "{}", shown.out);
}
