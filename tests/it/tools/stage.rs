//! The servers of the simulated plant without its physics: what is shown changes only where a test changes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use sealgate::sim::settings::PlantSettings;
use sealgate::sim::tags::TagImage;
use sealgate::sim::{modbus_server, opcua_server};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

pub(super) struct Stage {
    pub(super) image: Arc<TagImage>,
    pub(super) opcua: u16,
    pub(super) modbus: u16,
    pub(super) folder: tempfile::TempDir,
    /// The servers live as long as this.
    _runtime: Runtime,
}

pub(super) struct Said {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

impl Stage {
    pub(super) fn open() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let image = Arc::new(TagImage::new(&PlantSettings::default()));
        let folder = tempfile::tempdir().unwrap();
        let any = ([127, 0, 0, 1], 0).into();
        let (opcua, modbus) =
            runtime.block_on(async { (opcua_server::listen(any).unwrap(), TcpListener::bind(any).await.unwrap()) });
        let ports = (opcua.local_addr().unwrap().port(), modbus.local_addr().unwrap().port());
        let (shown, pki) = (Arc::clone(&image), folder.path().join("plant-pki"));
        runtime.spawn(async move { opcua_server::run(opcua, shown, &pki).await });
        let shown = Arc::clone(&image);
        runtime.spawn(async move { modbus_server::run(modbus, shown).await });
        Self { image, opcua: ports.0, modbus: ports.1, folder, _runtime: runtime }
    }

    pub(super) fn url(&self) -> String {
        format!("opc.tcp://127.0.0.1:{}", self.opcua)
    }

    pub(super) fn modbus(&self) -> String {
        format!("127.0.0.1:{}", self.modbus)
    }

    /// The demo's configuration on the ports of this stage.
    pub(super) fn config(&self) -> PathBuf {
        let maps = self.folder.path().join("maps");
        fs::create_dir_all(&maps).unwrap();
        for name in ["sim-opcua.toml", "sim-modbus.toml"] {
            fs::copy(Path::new("config/maps").join(name), maps.join(name)).unwrap();
        }
        let text = fs::read_to_string("config/demo.toml").unwrap();
        let text = text.replace(":4840", &format!(":{}", self.opcua)).replace("1502", &self.modbus.to_string());
        // A machine that tests many things at once is slow, not wrong.
        let text = text.replace("poll_ms", "request_timeout_ms = 10000\npoll_ms");
        let text = text
            .replace("kind = \"p", "permit_ttl_ms = 20000\nkind = \"p")
            .replace("permit_ttl_ms = 20000\nkind = \"pr", "kind = \"pr");
        let path = self.folder.path().join("line.toml");
        fs::write(&path, text).unwrap();
        path
    }

    /// The program in the folder of this stage.
    pub(super) fn sealgate(&self, args: &[&str]) -> Said {
        said(command(args).current_dir(self.folder.path()).output().unwrap())
    }

    pub(super) fn json(&self, args: &[&str]) -> Value {
        self.sealgate(&[args, &["--json"]].concat()).json()
    }

    /// `sealgate opcua WHAT` at this stage's server, without security and with patience.
    pub(super) fn opcua(&self, what: &str, rest: &[&str]) -> Said {
        let url = self.url();
        let at = ["opcua", what, url.as_str(), "--timeout-ms", "20000", "--security", "none"];
        self.sealgate(&[&at, rest].concat())
    }

    /// `sealgate modbus WHAT` at this stage's server, with patience.
    pub(super) fn registers(&self, what: &str, rest: &[&str]) -> Said {
        let peer = self.modbus();
        self.sealgate(&[&["modbus", what, peer.as_str(), "--timeout-ms", "20000"], rest].concat())
    }

    /// Compares with `tests/data/tools/NAME`, ports and folders aside.
    pub(super) fn golden(&self, name: &str, said: &str) {
        let said = said
            .replace(&self.opcua.to_string(), "OPCUA")
            .replace(&self.modbus.to_string(), "MODBUS")
            .replace(&self.folder.path().display().to_string(), "FOLDER");
        let path = Path::new("tests/data/tools").join(name);
        if std::env::var_os("SEALGATE_BLESS").is_some() {
            fs::write(&path, &said).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert!(said == expected, "{}: SEALGATE_BLESS=1 writes it anew\n--- said:\n{said}", path.display());
    }
}

pub(super) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealgate"));
    command.args(args).env("NO_COLOR", "1");
    command
}

pub(super) fn said(output: Output) -> Said {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

impl Said {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

/// A port of this machine where nobody listens: ours a moment ago.
pub(super) fn closed_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A technician's screen is 100 columns wide.
pub(super) fn fits(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
    }
}
