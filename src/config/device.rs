//! `[device.NAME]`: one network peer and how it is reached. Its tags come from the stations that lie on it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::device::dialect::Dialect;
use crate::device::{
    Address, ByteOrder, Channel, Link, MessageMode, ModbusLink, OPCUA_PROFILES, OpcuaLink, Own, Policy, Profile,
    ReadMode, Security, Settings, Shared, Signature, StationTags, TextLink, User, WordOrder,
};
use crate::domain::tag::DeviceId;

use super::line;
use super::problem::Place;
use super::reader::{Field, Section};

/// As written, each key checked by itself.
pub(super) struct FileDevice {
    pub(super) at: Place,
    pub(super) name: String,
    pub(super) link: Option<FileLink>,
    pub(super) poll_ms: Field<u64>,
    pub(super) request_timeout_ms: Field<u64>,
    backoff_min_ms: u64,
    backoff_max_ms: u64,
}

pub(super) enum FileLink {
    Opcua(FileOpcua),
    Modbus { host: String, port: u16, unit: u8, connections: u8 },
    Text { host: String, port: u16 },
}

pub(super) struct FileOpcua {
    url: String,
    mode: ReadMode,
    channel: Channel,
    user: Option<User>,
    pki_dir: Option<PathBuf>,
    certificate_host: Option<String>,
    profile: Profile,
}

/// What the maps on a device say about its registers.
#[derive(Clone, Copy)]
pub(super) struct Registers {
    pub(super) word_order: WordOrder,
    pub(super) byte_order: ByteOrder,
    pub(super) gap_max: u16,
    pub(super) block_max: u16,
    pub(super) signature: Option<Signature>,
}

/// What the maps on a device say about it as a whole.
#[derive(Clone)]
pub(super) struct MapSays {
    pub(super) registers: Registers,
    pub(super) dialect: Option<Arc<Dialect>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Opcua,
    Modbus,
    Text,
}

impl Protocol {
    /// The one that has such addresses.
    pub(super) fn of(address: &Address) -> Self {
        match address {
            Address::Node(_) => Protocol::Opcua,
            Address::Register(_) | Address::Input(_) | Address::Coil(_) | Address::Discrete(_) => Protocol::Modbus,
            Address::Answer(_) | Address::Command { .. } | Address::Made => Protocol::Text,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Protocol::Opcua => "OPC UA",
            Protocol::Modbus => "Modbus",
            Protocol::Text => "text",
        }
    }

    /// How a map says where a tag lies.
    pub(super) fn place(self) -> &'static str {
        match self {
            Protocol::Opcua => "node = \"nsu=URI;s=NAME\"",
            Protocol::Modbus => "address = REGISTER",
            Protocol::Text => "answer = \"COMMAND.FIELD\" for what is read, command = \"NAME\" for what is written",
        }
    }
}

const PROTOCOLS: [(&str, Protocol); 3] =
    [("opcua", Protocol::Opcua), ("modbus", Protocol::Modbus), ("text", Protocol::Text)];
const MODES: [(&str, ReadMode); 2] = [("poll", ReadMode::Poll), ("subscribe", ReadMode::Subscribe)];
const POLICIES: [(&str, Option<Policy>); 4] = [
    ("none", None),
    ("Basic256Sha256", Some(Policy::Basic256Sha256)),
    ("Aes128Sha256RsaOaep", Some(Policy::Aes128Sha256RsaOaep)),
    ("Aes256Sha256RsaPss", Some(Policy::Aes256Sha256RsaPss)),
];
const MESSAGE_MODES: [(&str, MessageMode); 2] =
    [("sign", MessageMode::Sign), ("sign_and_encrypt", MessageMode::SignAndEncrypt)];

impl FileDevice {
    pub(super) fn read(name: &Field<String>, mut section: Section<'_>, folder: &Path) -> Self {
        line::name(&Some(name.clone()), &section);
        let protocol = section.word("protocol", &PROTOCOLS);
        let _: Option<()> = section.missing("protocol", "\"opcua\", \"modbus\" or \"text\"");
        let poll_ms = section_number(&mut section, "poll_ms", 1..=60_000);
        let poll_ms = or_at(&section, poll_ms, 20);
        let request_timeout_ms = section_number(&mut section, "request_timeout_ms", 10..=60_000);
        let request_timeout_ms = or_at(&section, request_timeout_ms, 500);
        let backoff_min = section_number(&mut section, "backoff_min_ms", 10..=60_000);
        let backoff_max = section_number(&mut section, "backoff_max_ms", 10..=600_000);
        let backoff_min_ms = backoff_min.map_or(200, |field| field.value);
        let backoff_max_ms = backoff_max.as_ref().map_or(5_000, |field| field.value);
        if let Some(field) = backoff_max.filter(|field| field.value < backoff_min_ms) {
            let allowed = format!("at least backoff_min_ms ({backoff_min_ms})");
            section.problems().add(field.at.error("is shorter than the first wait").allowed(allowed));
        }
        let link = match protocol.as_ref().map(|field| field.value) {
            Some(Protocol::Opcua) => opcua(&mut section, folder),
            Some(Protocol::Modbus) => modbus(&mut section),
            Some(Protocol::Text) => text(&mut section),
            None => None,
        };
        let at = section.at.clone();
        // Without a protocol nobody knows which keys belong here: one problem is enough.
        if protocol.is_some() {
            section.finish();
        }
        Self { at, name: name.value.clone(), link, poll_ms, request_timeout_ms, backoff_min_ms, backoff_max_ms }
    }

    pub(super) fn build(
        self,
        device: DeviceId,
        stations: Vec<StationTags>,
        said: MapSays,
        pki_dir: &Path,
    ) -> Option<Settings> {
        Some(Settings {
            device,
            name: self.name,
            link: self.link?.build(said, pki_dir)?,
            stations,
            poll: Duration::from_millis(self.poll_ms.value),
            request_timeout: Duration::from_millis(self.request_timeout_ms.value),
            backoff_min: Duration::from_millis(self.backoff_min_ms),
            backoff_max: Duration::from_millis(self.backoff_max_ms),
        })
    }

    /// Two devices with the same key are the same peer.
    pub(super) fn peer(&self) -> Option<String> {
        match self.link.as_ref()? {
            FileLink::Opcua(opcua) => Some(opcua.url.clone()),
            FileLink::Modbus { host, port, unit, .. } => Some(format!("{host}:{port}, unit {unit}")),
            FileLink::Text { host, port } => Some(format!("{host}:{port}")),
        }
    }

    pub(super) fn protocol(&self) -> Option<Protocol> {
        Some(match self.link.as_ref()? {
            FileLink::Opcua(_) => Protocol::Opcua,
            FileLink::Modbus { .. } => Protocol::Modbus,
            FileLink::Text { .. } => Protocol::Text,
        })
    }
}

impl FileLink {
    /// `None` where the maps do not say how the device speaks, which is a problem of its own.
    fn build(self, said: MapSays, default_pki: &Path) -> Option<Link> {
        let registers = said.registers;
        Some(match self {
            FileLink::Opcua(file) => Link::Opcua(OpcuaLink {
                url: file.url,
                mode: file.mode,
                security: Security { channel: file.channel, user: file.user },
                pki_dir: file.pki_dir.unwrap_or_else(|| default_pki.to_owned()),
                own: Own::InPlace,
                certificate_host: file.certificate_host,
                profile: file.profile,
            }),
            FileLink::Modbus { host, port, unit, connections } => Link::Modbus(ModbusLink {
                host,
                port,
                unit,
                word_order: registers.word_order,
                byte_order: registers.byte_order,
                gap_max: registers.gap_max,
                block_max: registers.block_max,
                signature: registers.signature,
                connections,
                shared: Shared::default(),
            }),
            FileLink::Text { host, port } => Link::Text(TextLink { host, port, dialect: said.dialect? }),
        })
    }
}

fn opcua(section: &mut Section<'_>, folder: &Path) -> Option<FileLink> {
    let url = section.filled("url").and_then(|field| opcua_url(section, field));
    let mode = section.word("mode", &MODES).map_or(ReadMode::Poll, |field| field.value);
    let channel = channel(section);
    let user = user(section, folder);
    let pki_dir = section.filled("pki_dir").map(|field| folder.join(field.value));
    let certificate_host = section.filled("certificate_host").map(|field| field.value);
    let profiles = OPCUA_PROFILES.map(|(profile, word, _)| (word, profile));
    let profile = section.word("profile", &profiles).map_or(Profile::Generic, |field| field.value);
    let _: Option<()> = section.missing("url", "opc.tcp://HOST:PORT/PATH");
    Some(FileLink::Opcua(FileOpcua { url: url?, mode, channel: channel?, user, pki_dir, certificate_host, profile }))
}

/// A name with a password, or a certificate with its key; neither is the anonymous user. Secrets are files, never text in here.
fn user(section: &mut Section<'_>, folder: &Path) -> Option<User> {
    let name = section.filled("username");
    let password = line::password(section, folder);
    let certificate = section.filled("user_certificate");
    // A key that only the running service can see must not make anybody anonymous.
    let key = section.filled("user_key").map(|field| {
        let written = PathBuf::from(&field.value);
        line::secret_file(section, field, folder).unwrap_or(written)
    });
    match (name, certificate, key) {
        (Some(name), None, None) => Some(User::Password { name: name.value, password: password.unwrap_or_default() }),
        (None, Some(certificate), Some(key)) => {
            Some(User::Certificate { certificate: folder.join(certificate.value), key })
        }
        (None, None, None) => None,
        (_, Some(field), _) => {
            let problem = field.at.error("a user's certificate goes with its user_key, and without a username");
            section.problems().add(problem.allowed("username and password_file, or user_certificate and user_key"));
            None
        }
        (_, None, Some(_)) => {
            let problem = section.at.error("user_key has no user_certificate");
            section.problems().add(problem.allowed("username and password_file, or user_certificate and user_key"));
            None
        }
    }
}

fn opcua_url(section: &Section<'_>, field: Field<String>) -> Option<String> {
    let host = field.value.strip_prefix("opc.tcp://").map(|rest| rest.split('/').next().unwrap_or_default());
    let port_fits = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let good = host.is_some_and(|host| match host.rsplit_once(':') {
        Some((name, port)) => !name.is_empty() && port_fits(port),
        None => !host.is_empty(),
    });
    if good {
        return Some(field.value);
    }
    section.problems().add(field.at.error("is no OPC UA address").allowed("opc.tcp://HOST:PORT/PATH"));
    None
}

/// There is no default: a line without security must say so.
fn channel(section: &mut Section<'_>) -> Option<Channel> {
    let policy = section.word("security", &POLICIES);
    let mode = section.word("message_mode", &MESSAGE_MODES);
    let Some(policy) = policy else {
        return section.missing(
            "security",
            "\"none\" (must be asked for), \"Basic256Sha256\", \"Aes128Sha256RsaOaep\", \"Aes256Sha256RsaPss\"",
        );
    };
    match (policy.value, mode) {
        (None, None) => Some(Channel::None),
        (None, Some(mode)) => {
            section.problems().add(mode.at.error("says how to secure messages, but security is \"none\""));
            None
        }
        (Some(policy), mode) => {
            Some(Channel::Secure { policy, mode: mode.map_or(MessageMode::SignAndEncrypt, |field| field.value) })
        }
    }
}

fn modbus(section: &mut Section<'_>) -> Option<FileLink> {
    let host = section.filled("host");
    let port = section.number("port", 1..=65_535).map_or(502, |field| field.value);
    let unit = section.number("unit", 0..=255).map_or(1, |field| field.value);
    let connections = section.number("connections", 1..=2).map_or(2, |field| field.value);
    let _: Option<()> = section.missing("host", "the host name or address of the device");
    Some(FileLink::Modbus { host: host?.value, port, unit, connections })
}

/// Devices behind one address share its connection, and the smallest number that any of them states.
pub(super) fn share(devices: &mut [Settings]) {
    let mut known: BTreeMap<(String, u16), (Shared, u8)> = BTreeMap::new();
    for link in modbus_links(devices) {
        let place = known.entry((link.host.clone(), link.port)).or_insert((Shared::default(), link.connections));
        place.1 = place.1.min(link.connections);
    }
    for link in modbus_links(devices) {
        if let Some((shared, connections)) = known.get(&(link.host.clone(), link.port)) {
            (link.shared, link.connections) = (shared.clone(), *connections);
        }
    }
}

fn modbus_links(devices: &mut [Settings]) -> impl Iterator<Item = &mut ModbusLink> {
    devices.iter_mut().filter_map(|device| match &mut device.link {
        Link::Modbus(link) => Some(link),
        Link::Opcua(_) | Link::Text(_) => None,
    })
}

fn text(section: &mut Section<'_>) -> Option<FileLink> {
    let host = section.filled("host");
    let port = section.number("port", 1..=65_535).map(|field| field.value);
    let _: Option<()> = section.missing("host", "the host name or address of the device");
    let _: Option<()> = section.missing("port", "the TCP port that the device listens on; there is no usual one");
    Some(FileLink::Text { host: host?.value, port: port? })
}

fn section_number(
    section: &mut Section<'_>,
    key: &'static str,
    range: std::ops::RangeInclusive<i64>,
) -> Option<Field<u64>> {
    section.number(key, range)
}

fn or_at(section: &Section<'_>, field: Option<Field<u64>>, value: u64) -> Field<u64> {
    field.unwrap_or(Field { value, at: section.at.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modbus(port: u16, unit: u8, connections: u8) -> Settings {
        let file = FileLink::Modbus { host: "gateway".to_owned(), port, unit, connections };
        let registers = Registers {
            word_order: WordOrder::HighFirst,
            byte_order: ByteOrder::HighFirst,
            gap_max: 0,
            block_max: 125,
            signature: None,
        };
        let second = Duration::from_secs(1);
        Settings {
            device: DeviceId(unit),
            name: String::new(),
            link: file.build(MapSays { registers, dialect: None }, Path::new("pki")).expect("it needs no dialect"),
            stations: Vec::new(),
            poll: second,
            request_timeout: second,
            backoff_min: second,
            backoff_max: second,
        }
    }

    #[test]
    fn devices_behind_one_address_share_its_connection_and_its_smallest_number() {
        let mut devices = [modbus(502, 1, 2), modbus(503, 1, 2), modbus(502, 9, 1)];
        share(&mut devices);
        let links: Vec<&mut ModbusLink> = modbus_links(&mut devices).collect();
        assert!(links[0].shared == links[2].shared && links[0].shared != links[1].shared);
        assert_eq!(links.iter().map(|link| link.connections).collect::<Vec<_>>(), [1, 2, 1]);
    }
}
