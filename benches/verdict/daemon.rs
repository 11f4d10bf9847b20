//! The daemon under measurement: `sealgate run` as a process of its own, with a config, an order and a journal on disk.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sealgate");

/// A process that ends with its owner.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the kernel has counted for a process.
#[derive(Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) processor: Duration,
    pub(crate) anonymous_kib: u64,
}

impl Process {
    pub(crate) fn usage(&self) -> Usage {
        let file = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", self.0.id())).unwrap_or_default();
        let stat = file("stat");
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        // Fields 14 and 15 of proc(5), in ticks of 10 ms; the name was field 2.
        let ticks: u64 =
            after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        let status = file("status");
        let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
        let anonymous_kib = anonymous.trim().trim_end_matches(" kB").parse().unwrap_or_default();
        Usage { processor: Duration::from_millis(ticks * 10), anonymous_kib }
    }
}

pub(crate) struct Daemon {
    folder: PathBuf,
    pub(crate) process: Process,
}

impl Daemon {
    pub(crate) fn start(folder: &Path, server: SocketAddr, mode: &str, serials: u64) -> Self {
        fs::write(folder.join("line.toml"), config(server, mode)).expect("the folder is ours");
        let serials: Vec<String> = (0..serials).map(serial).collect();
        fs::write(folder.join("serials.txt"), serials.join("\n")).expect("the folder is ours");
        fs::write(folder.join("order.json"), ORDER).expect("the folder is ours");
        let mut run = command(folder, &["run"]);
        let log = fs::File::create(folder.join("log")).expect("the folder is ours");
        run.env_remove("NOTIFY_SOCKET").env_remove("SEALGATE_LOG").stderr(log).stdout(Stdio::null());
        Self { folder: folder.to_owned(), process: Process(run.spawn().expect("the daemon starts")) }
    }

    /// Says something on the command line, in the background: the plant has to go on meanwhile.
    pub(crate) fn say(&self, words: &[&str]) -> Child {
        let mut command = command(&self.folder, words);
        command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().expect("the program starts")
    }
}

fn command(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("--config").arg(folder.join("line.toml")).args(words).current_dir(folder).stdin(Stdio::null());
    command
}

fn config(server: SocketAddr, mode: &str) -> String {
    let map = concat!(env!("CARGO_MANIFEST_DIR"), "/config/maps/sim-opcua.toml");
    let station = |kind: &str| format!("[station.{kind}]\nkind = \"{kind}\"\ndevice = \"plc\"\nmap = \"{map}\"\n");
    [
        "[line]\nname = \"bench\"\npath = \"site/bench\"\nread_point = \"urn:epc:id:sgln:0614141.07346.1\"\n"
            .to_owned(),
        "biz_location = \"urn:epc:id:sgln:0614141.07346.0\"\nutc_offset = \"+00:00\"\nsocket = \"line.sock\"\n"
            .to_owned(),
        "[journal]\npath = \"line.db\"\n".to_owned(),
        format!("[device.plc]\nprotocol = \"opcua\"\nurl = \"opc.tcp://{server}/\"\nsecurity = \"none\"\n"),
        format!("mode = \"{mode}\"\npoll_ms = 1\n"),
        station("printer") + "queue = 1000\n",
        station("camera") + "rejector = \"rejector\"\nverdict_deadline_ms = 2000\n",
        station("rejector"),
    ]
    .concat()
}

const ORDER: &str = r#"{"batch":"B1","gtin":"09506000134352","lot":"L7","expiry":"2047-03-31","gcp_length":7,
    "pack":{"case":10,"pallet":10},"sscc":{"extension":0,"prefix":"9506000","first":1,"last":99},"serials_file":"serials.txt"}"#;

fn serial(at: u64) -> String {
    format!("{:012X}", at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16)
}
