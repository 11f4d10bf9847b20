//! The folder of a run and the files that the demo writes for the daemon.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::device::pictures::NamePattern;
use crate::engine::decide::Decide;
use crate::runtime::demo::{DemoError, DemoSettings, Models};
use crate::sim::faces::Face;
use crate::sim::truth::DropFolder;

/// Says that a folder belongs to a former run, which the next one may replace.
const MARK: &str = "demo.mark";
const FILES: &[&str] = &[
    "line.toml",
    "order.json",
    "line.db",
    "line.db-wal",
    "line.db-shm",
    "line.db.lock",
    "line.db.born",
    "line.db.ballast",
    "line.db.suspect",
    "line.key",
    "line.pub",
    "line.anchors",
    "line.anchors.1",
    "truth.jsonl",
    "feed.jsonl",
    "daemon.log",
    "daemon.pid",
];
/// Where the camera drops its pictures, and where the daemon keeps them.
const PICTURES: [&str; 2] = ["camera", "line.pictures"];
const PICTURE_NAME: &str = "unit_{sequence}.pgm";
const ARRAY_MAP: &str = include_str!("../../../config/maps/array-packer.toml");
const CONFIG: &str = include_str!("../../../config/demo.toml");
const TEXT_CONFIG: &str = include_str!("../../../config/demo-text.toml");
const HAND_CONFIG: &str = include_str!("../../../config/demo-hand.toml");
/// The maps of the line whose devices speak text.
const TEXT_MAPS: [(&str, &str); 5] = [
    ("coder-text.toml", include_str!("../../../config/maps/coder-text.toml")),
    ("labeller-zpl.toml", include_str!("../../../config/maps/labeller-zpl.toml")),
    ("scanner-hand.toml", include_str!("../../../config/maps/scanner-hand.toml")),
    ("scanner-label.toml", include_str!("../../../config/maps/scanner-label.toml")),
    ("sim-packer-plc.toml", include_str!("../../../config/maps/sim-packer-plc.toml")),
];
const OPCUA_MAP: &str = include_str!("../../../config/maps/sim-opcua.toml");
const MODBUS_MAP: &str = include_str!("../../../config/maps/sim-modbus.toml");

/// Where the simulated text devices listen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TextPorts {
    pub(super) coder: u16,
    pub(super) labeller: u16,
    pub(super) scanner: u16,
}

/// What the config of a run depends on.
pub(super) struct Place<'a> {
    /// OPC UA and Modbus of the plant.
    pub(super) ports: (u16, u16),
    pub(super) broker: (&'a str, u16),
    pub(super) camera: Option<(Face, u16)>,
    /// Where the line has devices that speak text.
    pub(super) text: Option<TextPorts>,
    pub(super) settings: &'a DemoSettings,
}

pub(super) struct Folder {
    root: PathBuf,
    /// Sockets have short paths, whatever the folder's is.
    sockets: PathBuf,
}

impl Folder {
    /// Makes the folder, or empties one of a former run; anything else in it is left alone.
    pub(super) fn prepare(data: Option<&Path>) -> Result<Self, DemoError> {
        let sockets = std::env::temp_dir().join(format!("sealgate-{}", std::process::id()));
        let root = data.map_or_else(|| sockets.join("data"), Path::to_owned);
        fs::create_dir_all(&root).map_err(at(&root))?;
        fs::create_dir_all(&sockets).map_err(at(&sockets))?;
        let is_former = root.join(MARK).exists();
        let foreign = FILES.iter().chain(&["maps"]).chain(&PICTURES).find(|file| root.join(file).exists());
        if let Some(file) = foreign.filter(|_| !is_former) {
            let what =
                format!("{} holds a {file} that is not of a demo; name an empty folder with --data", root.display());
            return Err(DemoError::Folder(what));
        }
        for file in FILES {
            remove(&root.join(file)).map_err(at(&root.join(file)))?;
        }
        for folder in PICTURES {
            let folder = root.join(folder);
            remove_folder(&folder).map_err(at(&folder))?;
        }
        let mark = root.join(MARK);
        fs::write(&mark, "the files of a run of `sealgate demo`; the next run replaces them\n").map_err(at(&mark))?;
        Ok(Self { root: root.canonicalize().map_err(at(&root))?, sockets })
    }

    /// Made where the camera takes pictures.
    pub(super) fn drop_folder(&self, settings: &DemoSettings) -> io::Result<Option<DropFolder>> {
        let folder = self.path(PICTURES[0]);
        let Some(name) = NamePattern::new(PICTURE_NAME).filter(|_| settings.pictures) else { return Ok(None) };
        fs::create_dir_all(&folder)?;
        Ok(Some(DropFolder { folder, name }))
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.root.join(file)
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.sockets.join("line.sock")
    }

    pub(super) fn notify_socket(&self) -> PathBuf {
        self.sockets.join("notify.sock")
    }

    /// The template of the demo with the ports of this run.
    pub(super) fn write_config(&self, place: &Place<'_>) -> io::Result<()> {
        let (opcua, modbus) = place.ports;
        let (host, port) = place.broker;
        let template = match place.settings.models {
            Models::Generic => CONFIG,
            Models::Text => TEXT_CONFIG,
            Models::Hand => HAND_CONFIG,
        };
        let config = if place.settings.swap_protocols { swapped(template) } else { template.to_owned() };
        let config = place.camera.map_or(config.clone(), |(face, port)| with_camera(&config, face, port));
        let text = place.text.unwrap_or_default();
        let config = if place.settings.array_reader { with_array_reader(&config) } else { config };
        let config = if place.settings.decide == Decide::Device { with_deciding_camera(&config) } else { config };
        let config = if place.settings.pictures { with_pictures(&config) } else { config };
        let config = config
            .replace("port = 3100", &format!("port = {}", text.coder))
            .replace("port = 9100", &format!("port = {}", text.labeller))
            .replace("port = 2112", &format!("port = {}", text.scanner))
            .replace("opc.tcp://127.0.0.1:4840", &format!("opc.tcp://127.0.0.1:{opcua}"))
            .replace("port = 1502", &format!("port = {modbus}"))
            .replace("host = \"127.0.0.1\"\nport = 1883", &format!("host = {host:?}\nport = {port}"))
            .replace("socket = \"line.sock\"", &format!("socket = {:?}", self.socket().display().to_string()));
        let maps = self.root.join("maps");
        fs::create_dir_all(&maps)?;
        fs::write(maps.join("sim-opcua.toml"), OPCUA_MAP)?;
        fs::write(maps.join("sim-modbus.toml"), MODBUS_MAP)?;
        fs::write(maps.join("array-packer.toml"), ARRAY_MAP)?;
        if let Some((face, _)) = place.camera {
            let (name, map) = face.map();
            fs::write(maps.join(name), map)?;
        }
        for (name, map) in TEXT_MAPS {
            fs::write(maps.join(name), map)?;
        }
        fs::write(self.path("line.toml"), config)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left-over sockets in the temporary folder would only be litter.
        let _ = fs::remove_file(self.socket());
        let _ = fs::remove_file(self.notify_socket());
        let _ = fs::remove_dir(&self.sockets);
    }
}

/// The same line with a packer that reads layer by layer.
fn with_array_reader(config: &str) -> String {
    let (before, packer) = config.split_once("[station.packer]").unwrap_or((config, ""));
    format!("{before}[station.packer]{}", packer.replacen("maps/sim-modbus.toml", "maps/array-packer.toml", 1))
}

/// The same line with a camera that drives the blade by itself.
fn with_deciding_camera(config: &str) -> String {
    config.replacen("rejector = \"rejector\"\n", "rejector = \"rejector\"\ndecide = \"device\"\n", 1)
}

/// The same line with a camera that takes pictures.
fn with_pictures(config: &str) -> String {
    let [folder, _] = PICTURES;
    format!(
        "{config}\n[station.camera.pictures]\nfolder = {folder:?}\nname = {PICTURE_NAME:?}\nwithin_ms = 1000\nkeep = 1000\n"
    )
}

/// The same line with this model as its camera.
fn with_camera(config: &str, face: Face, port: u16) -> String {
    let device = face.device(port);
    let (before, camera) = config.split_once("[station.camera]\n").unwrap_or((config, ""));
    let rest = camera.split_once("rejector =").map_or(camera, |(_, rest)| rest);
    let (name, _) = face.map();
    let station =
        format!("[station.camera]\nkind = \"camera\"\ndevice = \"vision\"\nmap = \"maps/{name}\"\nrejector =");
    format!("{before}[device.vision]\n{device}\n{station}{rest}")
}

/// The same line with every station on the other protocol.
fn swapped(config: &str) -> String {
    let place = |name: &str| format!("device = \"{name}\"\nmap = \"maps/sim-{name}.toml\"");
    let (opcua, modbus, aside) = (place("opcua"), place("modbus"), place("aside"));
    config.replace(&opcua, &aside).replace(&modbus, &opcua).replace(&aside, &modbus)
}

/// An error that says which file it is about.
fn at(path: &Path) -> impl Fn(io::Error) -> io::Error {
    let path = path.display().to_string();
    move |error| io::Error::new(error.kind(), format!("{path}: {error}"))
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
