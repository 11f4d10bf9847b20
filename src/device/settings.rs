//! What a device task needs to know: who it speaks to and where the tags lie. The configuration builds these types from tag maps;
//! nothing here is checked again, so what cannot work must have been refused there (`Binding` says what it expects).

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use super::dialect::{AnswerField, Dialect};
use super::trunk::Shared;
use crate::domain::tag::{DeviceId, Nature, StationId, StationKind, Tag};

/// One network peer.
#[derive(Clone, Debug)]
pub struct Settings {
    pub device: DeviceId,
    /// As the configuration writes it; only for people.
    pub name: String,
    pub link: Link,
    pub stations: Vec<StationTags>,
    /// The fast cycle: how often the light tags are read, or how fast a subscription may publish. At least 1 ms.
    pub poll: Duration,
    /// Bound on every single request. DESIGN section 5 wants it at most half of a permit's time to live.
    pub request_timeout: Duration,
    pub backoff_min: Duration,
    pub backoff_max: Duration,
}

impl Settings {
    /// A peer that no configuration names, for a look at it.
    pub fn alone(link: Link, request_timeout: Duration) -> Self {
        let name = match &link {
            Link::Opcua(link) => link.url.clone(),
            Link::Modbus(ModbusLink { host, port, .. }) | Link::Text(TextLink { host, port, .. }) => {
                format!("{host}:{port}")
            }
        };
        Self {
            device: DeviceId(0),
            name,
            link,
            stations: Vec::new(),
            poll: Duration::from_millis(100),
            request_timeout,
            backoff_min: Duration::from_millis(200),
            backoff_max: Duration::from_secs(5),
        }
    }
}

#[derive(Clone, Debug)]
pub enum Link {
    Opcua(OpcuaLink),
    Modbus(ModbusLink),
    Text(TextLink),
}

#[derive(Clone, Debug)]
pub struct OpcuaLink {
    /// `opc.tcp://host:port/path`. Only this host is ever connected to, whatever the server's endpoint list says.
    pub url: String,
    pub mode: ReadMode,
    pub security: Security,
    /// Holds `own`, `private`, `pending`, `trusted` and `rejected`. Unknown server certificates land in `pending`.
    pub pki_dir: PathBuf,
    /// Which of our pairs is shown.
    pub own: Own,
    /// The host that the server's certificate must name, where it is not the one in `url`.
    pub certificate_host: Option<String>,
    pub profile: Profile,
}

/// A pair of our certificate and its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Own {
    #[default]
    InPlace,
    /// The one that is to come, for a trial.
    Next,
}

/// The family of a server, for its limits (`opcua::profile`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    #[default]
    Generic,
    S71200,
    S71500,
    Codesys,
    Br,
    Small,
}

impl OpcuaLink {
    /// Polled, with nothing special about it.
    pub fn to(url: &str, security: Security, pki_dir: PathBuf) -> Self {
        Self {
            url: url.to_owned(),
            mode: ReadMode::Poll,
            security,
            pki_dir,
            own: Own::InPlace,
            certificate_host: None,
            profile: Profile::default(),
        }
    }
}

impl ModbusLink {
    /// As the standard has it, with nothing special about it.
    pub fn to(host: &str, port: u16, unit: u8) -> Self {
        Self {
            host: host.to_owned(),
            port,
            unit,
            word_order: WordOrder::HighFirst,
            byte_order: ByteOrder::HighFirst,
            gap_max: 0,
            block_max: 125,
            signature: None,
            connections: 2,
            shared: Shared::default(),
        }
    }
}

/// How the client learns that something changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// A group read every `Settings::poll`.
    Poll,
    /// A subscription on the trigger tags wakes the group read; a slow fallback poll covers a dead subscription.
    Subscribe,
}

/// There is no default and no downgrade: the server must offer exactly this.
#[derive(Clone, Debug)]
pub struct Security {
    pub channel: Channel,
    /// `None` is the anonymous user.
    pub user: Option<User>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// No security; has to be asked for.
    None,
    Secure {
        policy: Policy,
        mode: MessageMode,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Basic256Sha256,
    Aes128Sha256RsaOaep,
    Aes256Sha256RsaPss,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageMode {
    Sign,
    SignAndEncrypt,
}

#[derive(Clone)]
pub enum User {
    Password {
        name: String,
        password: String,
    },
    /// The files of a certificate (DER or PEM) and of its key (PEM).
    Certificate {
        certificate: PathBuf,
        key: PathBuf,
    },
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            User::Password { name, .. } => f.debug_struct("Password").field("name", name).finish_non_exhaustive(),
            User::Certificate { certificate, .. } => f.debug_struct("Certificate").field("file", certificate).finish(),
        }
    }
}

#[derive(Clone, Debug)]
pub struct ModbusLink {
    pub host: String,
    pub port: u16,
    pub unit: u8,
    pub word_order: WordOrder,
    pub byte_order: ByteOrder,
    /// The most registers that no tag names which one read may run over to join two blocks; 0 where the map forbids it,
    /// because many devices answer a read over a hole with exception 2.
    pub gap_max: u16,
    /// The longest read that the device takes, 1 to 125 registers.
    pub block_max: u16,
    /// What has to stand there before anything else is believed.
    pub signature: Option<Signature>,
    /// How many connections the address takes, 1 or 2; matters where several units share it.
    pub connections: u8,
    /// The same for all links to one host and port.
    pub shared: Shared,
}

/// A number that the device holds, in the word and byte order of its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    pub table: Table,
    /// Counted from 0.
    pub start: u16,
    pub number: Number,
    pub equals: i64,
}

/// A coder, labeller or scanner that speaks lines of text over TCP.
#[derive(Clone, Debug)]
pub struct TextLink {
    pub host: String,
    pub port: u16,
    pub dialect: Arc<Dialect>,
}

/// Which register of a number that fills several comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordOrder {
    HighFirst,
    LowFirst,
}

/// Which byte of a register comes first, in numbers and in texts. The standard says high; a binding may differ from its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    HighFirst,
    LowFirst,
}

/// The tags of one station that lie on this device.
#[derive(Clone, Debug)]
pub struct StationTags {
    pub station: StationId,
    pub kind: StationKind,
    pub bindings: Vec<Binding>,
}

/// Where a tag lies and how it is represented there.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The tag, or the first field's tag where `split` names fields.
    pub tag: Tag,
    /// Of the same protocol as the link; anything else reads as bad.
    pub address: Address,
    pub value: ValueType,
    /// Thousandths per count of an integer: 100 for a grade in tenths. With it an integer becomes `Milli`.
    pub scale: Option<i64>,
    /// The highest value of a counter, after which it wraps. Only carried along, for the station.
    pub wrap: Option<u64>,
    /// Where inside the node's value this one lies; OPC UA alone.
    pub part: Part,
    pub split: Option<Split>,
    /// Where this value differs from its link (strings often do).
    pub byte_order: Option<ByteOrder>,
    pub word_order: Option<WordOrder>,
    /// A `Bool` that is this bit of its word, 0 the lowest. Only for what is read.
    pub bit: Option<u8>,
    /// Modbus: the byte that ends a text instead of NUL. A text without it is bad, unless it is nothing but padding.
    pub terminator: Option<u8>,
    /// Modbus: a text whose first register holds the number of its bytes; neither padding nor NUL end it then.
    pub counted: bool,
    /// Modbus: tags with the same group are read by one request.
    pub group: Option<String>,
    /// Modbus: after a write the device is asked for what it holds.
    pub read_back: bool,
}

impl Binding {
    /// A plain value: no scale, no wrap, no bit, not split, in the link's byte order.
    pub fn new(tag: Tag, address: Address, value: ValueType) -> Self {
        Self {
            tag,
            address,
            value,
            scale: None,
            wrap: None,
            part: Part::default(),
            split: None,
            byte_order: None,
            word_order: None,
            bit: None,
            terminator: None,
            counted: false,
            group: None,
            read_back: false,
        }
    }

    /// Modbus registers (or bits) that the value fills, its count included.
    pub fn cells(&self) -> u16 {
        self.value.registers().saturating_add(u16::from(self.counted))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `nsu=URI;s=name` (or `i=`, `g=`, `b=`), resolved against the server's namespace array at every connect; `ns=2;s=name`
    /// is taken as it stands.
    Node(String),
    /// A holding register, counted from 0, as all that follow.
    Register(u16),
    /// An input register.
    Input(u16),
    Coil(u16),
    /// A discrete input.
    Discrete(u16),
    /// Text: a kept field of an answer, or of a scanned line.
    Answer(AnswerField),
    /// Text: sent by this command, once every tag that names it is written. Not sent again where the field `taken` holds the value.
    Command {
        command: String,
        taken: Option<AnswerField>,
    },
    /// Text: made by the driver itself, of what it knows of the device (`epoch`, `flush_done`).
    Made,
}

/// The four tables of Modbus (Application Protocol V1.1b3, 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    Coil,
    Discrete,
    Holding,
    Input,
}

impl Table {
    pub const ALL: [Table; 4] = [Table::Holding, Table::Input, Table::Coil, Table::Discrete];

    /// As a tag map writes it.
    pub fn name(self) -> &'static str {
        match self {
            Table::Coil => "coil",
            Table::Discrete => "discrete",
            Table::Holding => "holding",
            Table::Input => "input",
        }
    }

    pub fn is_bits(self) -> bool {
        match self {
            Table::Coil | Table::Discrete => true,
            Table::Holding | Table::Input => false,
        }
    }

    pub fn is_writable(self) -> bool {
        match self {
            Table::Coil | Table::Holding => true,
            Table::Discrete | Table::Input => false,
        }
    }

    /// Register or bit `at` of this table.
    pub fn address(self, at: u16) -> Address {
        match self {
            Table::Coil => Address::Coil(at),
            Table::Discrete => Address::Discrete(at),
            Table::Holding => Address::Register(at),
            Table::Input => Address::Input(at),
        }
    }
}

impl Address {
    /// Where it lies on a Modbus device.
    pub fn cell(&self) -> Option<(Table, u16)> {
        match self {
            Address::Node(_) | Address::Answer(_) | Address::Command { .. } | Address::Made => None,
            Address::Register(at) => Some((Table::Holding, *at)),
            Address::Input(at) => Some((Table::Input, *at)),
            Address::Coil(at) => Some((Table::Coil, *at)),
            Address::Discrete(at) => Some((Table::Discrete, *at)),
        }
    }
}

/// The representation on the wire. OPC UA writes exactly this type, and reads any type of the same family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    Bool,
    Number(Number),
    /// `length` bytes at most; on Modbus exactly that many, padded.
    Text {
        length: u16,
        pad: Pad,
    },
    /// An OPC UA ByteString of at most `length` bytes; on Modbus exactly that many, kept as they are.
    Bytes {
        length: u16,
    },
    Ints {
        element: Number,
        count: u16,
    },
    /// Integers (times `scale`) or floats that become thousandths.
    Millis {
        element: Number,
        count: u16,
    },
    Texts {
        length: u16,
        count: u16,
        pad: Pad,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

/// What fills a text up to its length. A NUL ends a Modbus text in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pad {
    Zero,
    Space,
}

/// A value inside the value of a node: an element of a list, a field of a structure, or a field of a structure in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    pub index: Option<u16>,
    pub field: Option<StructField>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructField {
    /// Every member of the structure, in its order.
    pub layout: Vec<Member>,
    /// Which of them, counted from 0.
    pub place: usize,
}

/// A member of a structure as OPC UA encodes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    Bool,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F32,
    F64,
    /// String, ByteString or XmlElement.
    Text,
    Time,
    /// Whatever is left; at the end alone.
    Rest,
}

/// One text that carries several values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Split {
    /// One tag per field, in order; the last one takes the rest, delimiters and all. On `ValueType::Texts` (a ring) each
    /// element is split, and every tag becomes an array.
    Fields { delimiter: u8, fields: Vec<Field> },
    /// The parts become `TagValue::Texts`; an empty text has none.
    Texts { delimiter: u8 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub tag: Tag,
    pub kind: FieldKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Decimal digits; a counter. Anything else is bad. Never for identifiers.
    Int,
    /// `3.7` becomes `Milli(3700)`; what is no decimal stays `Bytes` (a letter grade).
    Decimal,
    Bytes,
}

impl Field {
    /// The kind that the tag's nature asks for: texts stay bytes, the grade is a decimal, the rest are counters and codes.
    pub fn natural(tag: Tag) -> Self {
        let kind = match tag.nature() {
            Nature::Decimal => FieldKind::Decimal,
            Nature::Text | Nature::Texts => FieldKind::Bytes,
            Nature::Flag | Nature::Counter | Nature::Number | Nature::State | Nature::Numbers => FieldKind::Int,
        };
        Self { tag, kind }
    }
}

impl Number {
    pub fn is_float(self) -> bool {
        match self {
            Number::F32 | Number::F64 => true,
            Number::U16 | Number::I16 | Number::U32 | Number::I32 | Number::U64 | Number::I64 => false,
        }
    }

    /// Modbus registers that one number fills.
    pub fn registers(self) -> u16 {
        match self {
            Number::U16 | Number::I16 => 1,
            Number::U32 | Number::I32 | Number::F32 => 2,
            Number::U64 | Number::I64 | Number::F64 => 4,
        }
    }
}

impl ValueType {
    /// Modbus registers that the value fills; saturates, so that an absurd map is refused by its length.
    pub fn registers(self) -> u16 {
        match self {
            ValueType::Bool => 1,
            ValueType::Number(number) => number.registers(),
            ValueType::Text { length, .. } | ValueType::Bytes { length } => length.div_ceil(2),
            ValueType::Ints { element, count } | ValueType::Millis { element, count } => {
                element.registers().saturating_mul(count)
            }
            ValueType::Texts { length, count, .. } => length.div_ceil(2).saturating_mul(count),
        }
    }

    pub fn is_array(self) -> bool {
        match self {
            ValueType::Bool | ValueType::Number(_) | ValueType::Text { .. } | ValueType::Bytes { .. } => false,
            ValueType::Ints { .. } | ValueType::Millis { .. } | ValueType::Texts { .. } => true,
        }
    }
}
