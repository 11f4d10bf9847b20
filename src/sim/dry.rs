//! A dry run: simulated devices for exactly one configuration, on loopback, each served at the address of the file, so that
//! `sealgate run` with the same file finds a whole line; and the person at the machine, who starts the belt and clears what it stops for.
//!
//! Addresses that are not on loopback are the real devices, and are never listened on nor dialled from here: `copy` writes a file in
//! which they are replaced, with a journal of its own and without a broker.

use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::net::TcpListener;

use super::mapped::{self, Face};
use super::physics::Deed;
use super::settings::PlantSettings;
use super::tags::TagImage;
use super::truth::TruthFile;
use super::world::{self, World};
use super::{coder, opcua_server};
use crate::config::Config;
use crate::device::{Channel, Link, ModbusLink, Settings, TextLink};

/// One peer that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The devices of the configuration at this address.
    pub devices: Vec<String>,
    pub protocol: &'static str,
    pub address: SocketAddr,
}

#[derive(Debug)]
pub enum DryError {
    /// A device is not on loopback, or is secured: it needs a copy of the file.
    Elsewhere(String),
    /// Cases or pallets that no list of children in a map holds.
    Crowded {
        of: &'static str,
        wished: usize,
        most: usize,
    },
    /// The copy would take the place of a file that is none.
    Taken(PathBuf),
    Io {
        what: String,
        error: io::Error,
    },
}

impl fmt::Display for DryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DryError::Elsewhere(what) => {
                write!(f, "{what}; write a copy for a dry run with --write FILE, and run the daemon on that one")
            }
            DryError::Crowded { of, wished, most } => {
                write!(f, "--{of} {wished}: the map's list of children holds {most} of a {of}; ask for so many at most")
            }
            DryError::Taken(path) => {
                let path = path.display();
                write!(f, "{path} is there and no copy for a dry run; name another file, or remove it")
            }
            DryError::Io { what, error } => write!(f, "{what}: {error}"),
        }
    }
}

/// Servers that are bound and wait to be run.
pub struct Dry {
    pub places: Vec<Place>,
    world: World,
    config: Arc<Config>,
    servers: Vec<Server>,
    folder: PathBuf,
}

enum Server {
    Opcua(TcpListener, Face),
    Modbus(TcpListener, Vec<mapped::modbus::Unit>),
    /// The one text protocol that is simulated, whatever the map says: that of `config/maps/coder-text.toml`.
    Coder(TcpListener, Arc<TagImage>, usize),
}

/// How often the person looks at the machine.
const LOOK: Duration = Duration::from_millis(250);

/// Binds every address. `folder` takes the truth of the plant and what the OPC UA library writes.
pub async fn open(config: Config, plain: PlantSettings, folder: &Path) -> Result<Dry, DryError> {
    let room = mapped::room(&config);
    let capacities = [("case", plain.case_capacity, room.case), ("pallet", plain.pallet_capacity, room.pallet)];
    if let Some((of, wished, most)) = capacities.into_iter().find(|(_, wished, most)| wished > most) {
        return Err(DryError::Crowded { of, wished, most });
    }
    let depth = plain.printer_depth;
    let world = World::new(mapped::plant(&config, plain));
    let config = Arc::new(config);
    let mut servers: Vec<(SocketAddr, Place, Server)> = Vec::new();
    for settings in &config.devices {
        let address = address(settings)?;
        let face = Face { image: world.image(), tags: Arc::new(mapped::of_device(&config, settings)) };
        let known = servers.iter_mut().find(|(bound, _, _)| *bound == address);
        match (&settings.link, known) {
            (Link::Modbus(link), Some((_, place, Server::Modbus(_, units)))) => {
                place.devices.push(settings.name.clone());
                units.push(mapped::modbus::Unit { link: link.clone(), face });
            }
            (_, Some((_, place, _))) => {
                let what = format!("{} and {} have one address, {address}", place.devices.join(", "), settings.name);
                return Err(DryError::Elsewhere(what));
            }
            (link, None) => {
                let (protocol, server) = bind(link, address, face, depth).await?;
                let place = Place { devices: vec![settings.name.clone()], protocol, address };
                servers.push((address, place, server));
            }
        }
    }
    let (places, servers) = servers.into_iter().map(|(_, place, server)| (place, server)).unzip();
    Ok(Dry { places, world, config, servers, folder: folder.to_owned() })
}

async fn bind(link: &Link, address: SocketAddr, face: Face, depth: usize) -> Result<(&'static str, Server), DryError> {
    let failed = |error| DryError::Io { what: format!("{address} cannot be listened on"), error };
    Ok(match link {
        Link::Opcua(_) => ("opcua", Server::Opcua(opcua_server::listen(address).map_err(failed)?, face)),
        Link::Modbus(link) => {
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            ("modbus", Server::Modbus(listener, vec![mapped::modbus::Unit { link: link.clone(), face }]))
        }
        Link::Text(_) => {
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            ("text", Server::Coder(listener, face.image, depth))
        }
    })
}

/// Host and port of a device, as the configuration has them.
fn peer(settings: &Settings) -> (String, u16) {
    match &settings.link {
        Link::Opcua(link) => {
            let rest = link.url.trim_start_matches("opc.tcp://").split('/').next().unwrap_or_default();
            match rest.rsplit_once(':') {
                Some((host, port)) => (host.to_owned(), port.parse().unwrap_or(4840)),
                None => (rest.to_owned(), 4840),
            }
        }
        Link::Modbus(ModbusLink { host, port, .. }) | Link::Text(TextLink { host, port, .. }) => (host.clone(), *port),
    }
}

/// Where a device of the configuration is to be listened for; only on loopback.
fn address(settings: &Settings) -> Result<SocketAddr, DryError> {
    let (host, port) = peer(settings);
    let is_secured = matches!(&settings.link, Link::Opcua(link) if link.security.channel != Channel::None);
    if is_secured {
        let what = format!("device {} is secured, and simulated devices are not", settings.name);
        return Err(DryError::Elsewhere(what));
    }
    let found = (host.trim_matches(['[', ']']), port).to_socket_addrs().ok().into_iter().flatten();
    let mut local = found.filter(|address| address.ip().is_loopback());
    local.next().ok_or_else(|| {
        DryError::Elsewhere(format!("device {} is at {host}:{port}, which is not this machine", settings.name))
    })
}

impl Dry {
    pub fn world(&self) -> World {
        self.world.clone()
    }

    /// Serves until something fails; dropping the future ends it. `has_person`: somebody stands at the machine.
    pub async fn run(self, has_person: bool) -> io::Result<()> {
        let Dry { world, config, servers, folder, .. } = self;
        let image = world.image();
        let pki = folder.join("plant-pki");
        let serving = servers.into_iter().enumerate().map(|(index, server)| {
            let pki = pki.join(index.to_string());
            Box::pin(async move {
                match server {
                    Server::Opcua(listener, face) => mapped::opcua::run(listener, face, &pki).await,
                    Server::Modbus(listener, units) => mapped::modbus::run(listener, units).await,
                    Server::Coder(listener, image, depth) => coder::run(listener, image, depth).await,
                }
            })
        });
        let serving: Vec<_> = serving.collect();
        let person = world.clone();
        let all = async move {
            if serving.is_empty() {
                return Err(io::Error::other("the configuration has no device"));
            }
            tokio::select! {
                (ended, _, _) = select_all(serving) => ended,
                () = mapped::stand_in(&config, &image) => Ok(()),
                () = stand_by(&person), if has_person => Ok(()),
            }
        };
        world::run_with(world, TruthFile::create(&folder.join("truth.jsonl"))?, all).await
    }
}

/// Starts the belt whenever it may run, clears what it stopped for, and takes away what was refused for good; for ever.
async fn stand_by(world: &World) {
    let mut interval = tokio::time::interval(LOOK);
    loop {
        interval.tick().await;
        let view = world.view();
        if view.fault != 0 {
            world.order(Deed::ClearFault);
        } else if view.can_start {
            world.start();
        }
    }
}

/// The file with every device on a free port of loopback, security none, a journal and a socket beside it, and no broker. It stands
/// in the folder of `target`, where it replaces nothing but an earlier copy; maps are named by where they are.
pub fn copy(config: &Config, source: &str, target: &Path) -> Result<String, DryError> {
    if target.exists() && !fs::read(target).is_ok_and(|there| there.starts_with(MARK.as_bytes())) {
        return Err(DryError::Taken(target.to_owned()));
    }
    let failed = |error| DryError::Io { what: format!("{} cannot be written", target.display()), error };
    let from = config.file.parent().unwrap_or(Path::new(""));
    let from = if from.as_os_str().is_empty() { Path::new(".") } else { from };
    let from = from.canonicalize().map_err(failed)?;
    let mut ports = Vec::new();
    for _ in &config.devices {
        // Held until all are drawn, so that none is drawn twice.
        ports.push(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?);
    }
    let ports: Vec<u16> =
        ports.iter().map(|held| held.local_addr().map(|at| at.port())).collect::<Result<_, _>>().map_err(failed)?;
    let text = Copy { config, from: &from, ports: &ports }.text(source);
    fs::write(target, &text).map_err(failed)?;
    Ok(text)
}

/// How a copy begins.
const MARK: &str = "# A copy for a dry run, by `sealgate sim --write`";

struct Copy<'a> {
    config: &'a Config,
    from: &'a Path,
    ports: &'a [u16],
}

/// Keys of a device that a simulated one does not have.
const DROPPED: [&str; 9] = [
    "security",
    "message_mode",
    "username",
    "password_file",
    "user_certificate",
    "user_key",
    "pki_dir",
    "certificate_host",
    "profile",
];
/// Keys of `[line]` and `[journal]` that name places of the real line.
const PLACES: [&str; 5] = ["socket", "clock_file", "path", "key", "anchors"];

impl Copy<'_> {
    /// Line by line: what is not replaced stays as it was written, comments and all.
    fn text(&self, source: &str) -> String {
        let mut text = format!("{MARK}: simulated devices, a journal of its own.\n");
        let mut section = String::new();
        for line in source.lines() {
            let bare = line.trim();
            if let Some(name) = bare.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
                section = name.trim_matches('[').to_owned();
                if section != "mqtt" {
                    text += &format!("{line}\n{}", self.opened(&section));
                }
            } else if section != "mqtt" {
                text.extend(self.replaced(&section, line));
            }
        }
        text
    }

    /// What stands at the head of a section of the copy.
    fn opened(&self, section: &str) -> String {
        let Some(device) = section.strip_prefix("device.") else {
            return match section {
                "line" => "socket = \"dry-run.sock\"\n".to_owned(),
                "journal" => "path = \"dry-run.db\"\n".to_owned(),
                _ => String::new(),
            };
        };
        let found =
            self.config.devices.iter().zip(self.ports).find(|(settings, _)| settings.name == device.trim_matches('"'));
        match found {
            Some((Settings { link: Link::Opcua(_), .. }, port)) => {
                format!("url = \"opc.tcp://127.0.0.1:{port}\"\nsecurity = \"none\"\n")
            }
            Some((Settings { link: Link::Modbus(_) | Link::Text(_), .. }, port)) => {
                format!("host = \"127.0.0.1\"\nport = {port}\n")
            }
            None => String::new(),
        }
    }

    fn replaced(&self, section: &str, line: &str) -> Option<String> {
        let key = line.split('=').next().unwrap_or_default().trim();
        let is_device = section.starts_with("device.");
        let is_dropped = is_device && (DROPPED.contains(&key) || matches!(key, "url" | "host" | "port"))
            || section == "journal" && PLACES.contains(&key)
            || section == "line" && matches!(key, "socket" | "clock_file");
        if is_dropped {
            return None;
        }
        if !line.contains("map") || line.trim_start().starts_with('#') {
            return Some(format!("{line}\n"));
        }
        Some(format!("{}\n", self.with_maps(line)))
    }

    /// `map = "maps/x.toml"` by its whole path, wherever it stands in the line.
    fn with_maps(&self, line: &str) -> String {
        let mut rest = line;
        let mut text = String::new();
        while let Some(at) = rest.find("map = \"") {
            let (before, behind) = rest.split_at(at + "map = \"".len());
            let end = behind.find('"').unwrap_or(behind.len());
            let (name, after) = behind.split_at(end);
            text += before;
            text += &self.from.join(name).display().to_string();
            rest = after;
        }
        text + rest
    }
}
