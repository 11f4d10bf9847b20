//! Every station over OPC UA: one server, a folder per station, a variable per tag.
//!
//! Namespace `urn:sealgate:sim`, string identifiers `station.tag` (`camera.seq`). Counters are UInt32 (16-bit words UInt16),
//! flags Boolean, codes ByteString, the grade Double; rings are arrays. What the plant changes in one step is set under one
//! lock, so that one Read shows one step. Written variables take exactly their type (a String for a ByteString too), else
//! `BadTypeMismatch`. Security None and the anonymous user alone: this is a demonstration on loopback.
//!
//! Two pitfalls of the library shape the code: a write callback runs under the lock of the address space, so it hands the
//! value to the tag memory and never sets a variable itself; and small answers stall behind Nagle's algorithm unless the
//! listening socket has TCP_NODELAY, which accepted sockets inherit. See `listen`.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use opcua::server::ServerHandle;
use opcua::server::address_space::{AccessLevel, VariableBuilder};
use opcua::server::node_manager::memory::SimpleNodeManager;
use opcua::types::{
    Array, ByteString, DataTypeId, DataValue, NodeId, NumericRange, ObjectId, StatusCode, VariableTypeId, Variant,
    VariantScalarTypeId,
};
use tokio::net::{TcpListener, TcpSocket};

use super::loopback;
use super::tags::{Shape, TagImage, Tags, WriteRefusal};
use crate::domain::tag::{Access, Quality, StationKind, Tag, TagValue};

pub const NAMESPACE: &str = "urn:sealgate:sim";

/// The stations on this server.
const STATIONS: &[StationKind] = StationKind::ALL;

/// A listening socket whose connections send at once.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_nodelay(true)?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(64)
}

/// Serves until the listener fails; dropping the future ends it. `pki_dir` is a folder that the library may write to.
pub async fn run(listener: TcpListener, image: Arc<TagImage>, pki_dir: &Path) -> io::Result<()> {
    let address = listener.local_addr()?;
    let (server, handle) = loopback::opcua(address, pki_dir, &[NAMESPACE]).map_err(io::Error::other)?;
    let nodes = Nodes::add(&handle, &image).map_err(io::Error::other)?;
    loopback::run_opcua(server, &handle, listener, nodes.follow(&handle, &image)).await
}

/// The variables and their node manager.
struct Nodes {
    space: Arc<SimpleNodeManager>,
    ids: BTreeMap<(u8, Tag), NodeId>,
}

impl Nodes {
    fn add(handle: &ServerHandle, image: &Arc<TagImage>) -> Result<Self, String> {
        let space =
            handle.node_managers().get_of_type::<SimpleNodeManager>().ok_or("the plant's node manager is missing")?;
        let namespace = handle.get_namespace_index(NAMESPACE).ok_or("the plant's namespace is missing")?;
        let mut ids = BTreeMap::new();
        for kind in STATIONS {
            let folder = NodeId::new(namespace, kind.name());
            space.address_space().write().add_folder(
                &folder,
                kind.name(),
                kind.name(),
                &ObjectId::ObjectsFolder.into(),
            );
            let tags = image.read(|tags| of_station(tags, *kind));
            for (tag, shape, value) in tags {
                let id = NodeId::new(namespace, format!("{}.{tag}", kind.name()));
                add_variable(&space, &folder, &id, (tag, shape), &value);
                if tag.access() == Access::Write {
                    take_writes(&space, &id, (*kind, tag, shape), image);
                }
                ids.insert((*kind as u8, tag), id);
            }
        }
        Ok(Self { space, ids })
    }

    /// Shows every change of the tag memory, for ever.
    async fn follow(&self, handle: &ServerHandle, image: &TagImage) {
        let mut changes = image.changes();
        let mut shown = 0;
        loop {
            changes.borrow_and_update();
            let changed = image.read(|tags| {
                let from = std::mem::replace(&mut shown, tags.version());
                self.changed(tags, from)
            });
            // Only unknown nodes fail here, and all of these were added above.
            let values = changed.iter().map(|(id, value)| (*id, None::<&NumericRange>, value.clone()));
            let set = self.space.set_values(handle.subscriptions(), values);
            debug_assert!(set.is_ok(), "a node is missing: {set:?}");
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn changed(&self, tags: &Tags, since: u64) -> Vec<(&NodeId, DataValue)> {
        tags.changed_since(since)
            .filter_map(|(kind, tag, value)| {
                let id = self.ids.get(&(kind as u8, tag))?;
                let shape = tags.shape(kind, tag)?;
                let status = status(tags.quality(kind, tag));
                Some((id, DataValue::new_now_status(variant(shape, value), status)))
            })
            .collect()
    }
}

fn of_station(tags: &Tags, kind: StationKind) -> Vec<(Tag, Shape, TagValue)> {
    tags.list()
        .filter(|(station, _, _)| *station == kind)
        .filter_map(|(_, tag, shape)| Some((tag, shape, tags.value(kind, tag)?.clone())))
        .collect()
}

fn add_variable(space: &SimpleNodeManager, folder: &NodeId, id: &NodeId, (tag, shape): (Tag, Shape), value: &TagValue) {
    let access = match tag.access() {
        Access::Read => AccessLevel::CURRENT_READ,
        Access::Write => AccessLevel::CURRENT_READ | AccessLevel::CURRENT_WRITE,
    };
    let mut builder = VariableBuilder::new(id, tag.name(), tag.name())
        .data_type(data_type(shape))
        .value(variant(shape, value))
        .access_level(access)
        .user_access_level(access)
        .has_type_definition(VariableTypeId::BaseDataVariableType)
        .organized_by(folder);
    if matches!(variant(shape, value), Variant::Array(_)) {
        builder = builder.value_rank(1);
    }
    builder.insert(&mut *space.address_space().write());
}

/// Hands what a client writes to the tag memory, and thereby to the physics.
fn take_writes(
    space: &SimpleNodeManager,
    id: &NodeId,
    (kind, tag, shape): (StationKind, Tag, Shape),
    image: &Arc<TagImage>,
) {
    let image = Arc::clone(image);
    let callback = move |written: DataValue, range: &NumericRange| {
        if !matches!(range, NumericRange::None) {
            return StatusCode::BadWriteNotSupported;
        }
        let Some(value) = written.value.and_then(|value| tag_value(shape, value)) else {
            return StatusCode::BadTypeMismatch;
        };
        match image.write(vec![(kind, tag, value)]) {
            Ok(()) => StatusCode::Good,
            Err(WriteRefusal::UnknownTag) => StatusCode::BadNodeIdUnknown,
            Err(WriteRefusal::ReadOnly) => StatusCode::BadNotWritable,
            Err(WriteRefusal::WrongType) => StatusCode::BadOutOfRange,
        }
    };
    space.inner().add_write_callback(id.clone(), callback);
}

fn data_type(shape: Shape) -> DataTypeId {
    match shape {
        Shape::Bool => DataTypeId::Boolean,
        Shape::U16 => DataTypeId::UInt16,
        Shape::U32 | Shape::Ints(_) => DataTypeId::UInt32,
        Shape::Text(_) | Shape::Texts { .. } => DataTypeId::ByteString,
        Shape::Milli | Shape::Millis(_) => DataTypeId::Double,
    }
}

/// A quality as the severity and code that a client sees.
fn status(quality: Quality) -> StatusCode {
    match quality {
        Quality::Good => StatusCode::Good,
        Quality::Uncertain(code) | Quality::Bad(code) => StatusCode::from(code),
    }
}

fn word(value: i64) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

fn double_word(value: i64) -> Variant {
    Variant::UInt32(u32::try_from(value).unwrap_or(u32::MAX))
}

/// Thousandths as the number that a camera gives: at most a few digits, so exact enough in both directions.
fn number(milli: i64) -> Variant {
    Variant::Double(milli as f64 / 1000.0)
}

fn bytes(bytes: &[u8]) -> Variant {
    Variant::ByteString(ByteString::from(bytes))
}

fn array(value_type: VariantScalarTypeId, values: Vec<Variant>) -> Variant {
    Variant::Array(Box::new(Array { value_type, values, dimensions: None }))
}

fn variant(shape: Shape, value: &TagValue) -> Variant {
    match value {
        TagValue::Bool(value) => Variant::Boolean(*value),
        TagValue::Int(value) if shape == Shape::U16 => Variant::UInt16(word(*value)),
        TagValue::Int(value) => double_word(*value),
        TagValue::Milli(milli) => number(*milli),
        TagValue::Bytes(text) => bytes(text),
        TagValue::Ints(values) => {
            array(VariantScalarTypeId::UInt32, values.iter().map(|value| double_word(*value)).collect())
        }
        TagValue::Millis(values) => {
            array(VariantScalarTypeId::Double, values.iter().map(|milli| number(*milli)).collect())
        }
        TagValue::Texts(texts) => {
            array(VariantScalarTypeId::ByteString, texts.iter().map(|text| bytes(text)).collect())
        }
    }
}

/// What a client wrote, where its type is the variable's; no written tag is an array.
fn tag_value(shape: Shape, written: Variant) -> Option<TagValue> {
    match (shape, written) {
        (Shape::Bool, Variant::Boolean(value)) => Some(TagValue::Bool(value)),
        (Shape::U16, Variant::UInt16(value)) => Some(TagValue::Int(i64::from(value))),
        (Shape::U32, Variant::UInt32(value)) => Some(TagValue::Int(i64::from(value))),
        (Shape::Text(_), Variant::ByteString(text)) => Some(TagValue::Bytes(text.value.unwrap_or_default())),
        (Shape::Text(_), Variant::String(text)) => {
            let text = text.value().as_ref().map(|text| text.as_bytes().to_vec());
            Some(TagValue::Bytes(text.unwrap_or_default()))
        }
        (
            Shape::Bool
            | Shape::U16
            | Shape::U32
            | Shape::Milli
            | Shape::Text(_)
            | Shape::Texts { .. }
            | Shape::Ints(_)
            | Shape::Millis(_),
            _,
        ) => None,
    }
}

/// The tag map of this server, as an operator writes it.
pub fn opcua_map(tags: &Tags) -> String {
    let mut map = String::from(MAP_HEAD);
    for kind in STATIONS {
        map.push_str(match kind {
            StationKind::Camera => "\n[camera]\nring = 64\n\n",
            StationKind::Rejector => "\n[rejector]\nends_ring = 256\nverdict_depth = 16\n\n",
            StationKind::Printer | StationKind::Packer | StationKind::Palletizer => "\n",
        });
        for (tag, shape, _) in of_station(tags, *kind) {
            // The plant takes a verdict in one word or in two tags; a map uses one way.
            if [Tag::Verdict, Tag::VerdictTrack].contains(&tag) {
                continue;
            }
            let (value, kind) = (map_value((*kind, tag), shape), kind.name());
            map.push_str(&format!("[{kind}.{tag}]\nnode = \"nsu={NAMESPACE};s={kind}.{tag}\"\n{value}\n"));
        }
    }
    map
}

fn map_value((kind, tag): (StationKind, Tag), shape: Shape) -> String {
    let mut value = match shape {
        Shape::Bool => "type = \"bool\"\n".to_owned(),
        Shape::U16 => "type = \"u16\"\n".to_owned(),
        Shape::U32 => "type = \"u32\"\n".to_owned(),
        Shape::Milli => "type = \"f64\"\n".to_owned(),
        Shape::Text(length) => format!("type = \"bytes\"\nlength = {length}\n"),
        Shape::Texts { count, length } => {
            format!("type = \"texts\"\ncount = {count}\nlength = {length}\n")
        }
        Shape::Ints(count) => format!("type = \"ints\"\ncount = {count}\n"),
        Shape::Millis(count) => {
            format!("type = \"millis\"\nelement = \"f64\"\ncount = {count}\n")
        }
    };
    if let Some(wrap) = super::tags::wrap(kind, tag) {
        value.push_str(&format!("wrap = {wrap}\n"));
    }
    value
}

const MAP_HEAD: &str = "\
# Every station of the simulated plant, OPC UA. A line takes each station from here or from sim-modbus.toml: the demo has printer,
# camera and rejector here, and the others with `--swap-protocols`.
# Counters are UInt32, words UInt16, flags Boolean, texts ByteString, the grade Double (2.5 is 2500 thousandths).
# wrap is the highest value of a counter: it counts 1 to wrap and then 1 again; 0 means none yet.
# The camera buffers 64 results: code, track and grade are arrays, and result seq lies at index seq % 64; a result that the
# camera dropped has its number and leaves its slot as it was. ends holds 256 pairs of track and end: end end_seq lies at
# elements 2 * (end_seq % 256) and the one after it. Both rings wrap at a multiple of their length.
# Every verdict word written is taken in its order, so that several may be written before the echo of the last.
# children has 64 places, of which child_count are used.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::settings::PlantSettings;
    use opcua::client::{ClientBuilder, IdentityToken, Session};
    use opcua::types::{
        EndpointDescription, MessageSecurityMode, ReadValueId, TimestampsToReturn, UserTokenPolicy, WriteValue,
    };
    use std::time::Duration;

    #[test]
    fn ships_the_map_of_these_variables() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/maps/sim-opcua.toml");
        let map = opcua_map(&Tags::new(&PlantSettings::default()));
        if std::env::var_os("SEALGATE_WRITE_MAPS").is_some() {
            std::fs::write(path, &map).expect("the map is written");
        }
        let shipped = std::fs::read_to_string(path).expect("the map is there");
        assert_eq!(shipped, map, "SEALGATE_WRITE_MAPS=1 writes it anew");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn serves_a_real_client_over_loopback() {
        let image = Arc::new(TagImage::new(&PlantSettings::default()));
        let pki = tempfile::tempdir().expect("a folder");
        let listener = listen(([127, 0, 0, 1], 0).into()).expect("a free port");
        let url = format!("opc.tcp://{}/", listener.local_addr().expect("it is bound"));
        let client = async { talk(&url, &image, &pki.path().join("client")).await };
        let server_pki = pki.path().join("server");
        tokio::select! {
            ended = run(listener, Arc::clone(&image), &server_pki) => panic!("the server ended: {ended:?}"),
            outcome = tokio::time::timeout(Duration::from_secs(20), client) => outcome.expect("in time"),
        }
    }

    async fn talk(url: &str, image: &TagImage, pki: &Path) {
        let mut client = ClientBuilder::new()
            .application_name("test")
            .application_uri("urn:test")
            .pki_dir(pki)
            .create_sample_keypair(false)
            .session_retry_limit(3)
            .client()
            .expect("a client");
        let endpoint: EndpointDescription =
            (url, "None", MessageSecurityMode::None, UserTokenPolicy::anonymous()).into();
        let (session, event_loop) = client
            .connect_to_matching_endpoint(endpoint, IdentityToken::Anonymous)
            .await
            .expect("the endpoint matches");
        let running = event_loop.spawn();
        assert!(session.wait_for_connection().await);
        let namespace = session.get_namespace_index(NAMESPACE).await.expect("known");
        reads(&session, namespace, image).await;
        writes(&session, namespace, image).await;
        session.disconnect().await.expect("disconnects");
        running.abort();
    }

    async fn read(session: &Session, namespace: u16, names: &[&str]) -> Vec<Variant> {
        let nodes: Vec<ReadValueId> =
            names.iter().map(|name| ReadValueId::new_value(NodeId::new(namespace, *name))).collect();
        let values = session.read(&nodes, TimestampsToReturn::Both, 0.0).await;
        let values = values.expect("the read is answered").into_iter();
        values.map(|v| v.value.clone().unwrap_or_else(|| panic!("no value: {v:?}"))).collect()
    }

    async fn reads(session: &Session, namespace: u16, image: &TagImage) {
        image.change(|tags| {
            let kind = StationKind::Camera;
            let mut codes = vec![Vec::new(); 64];
            codes[1] = b"01\x1D\xFF".to_vec();
            let mut grades = vec![0; 64];
            grades[1] = 2500;
            tags.set(kind, Tag::Code, TagValue::Texts(codes));
            tags.set(kind, Tag::Grade, TagValue::Millis(grades));
            tags.set_int(kind, Tag::Seq, 1);
        });
        for _ in 0..1000 {
            let values = read(session, namespace, &["camera.seq", "camera.code", "camera.grade"]).await;
            if values[0] != Variant::UInt32(1) {
                continue;
            }
            let element = |value: &Variant| {
                let Variant::Array(array) = value else { panic!("a ring is an array: {value:?}") };
                array.values[1].clone()
            };
            assert_eq!(element(&values[1]), bytes(b"01\x1D\xFF"));
            assert_eq!(element(&values[2]), Variant::Double(2.5));
            return;
        }
        panic!("the change was never shown");
    }

    async fn writes(session: &Session, namespace: u16, image: &TagImage) {
        let write = |name: &str, value: Variant| WriteValue::value_attr(NodeId::new(namespace, name), value);
        let statuses = session
            .write(&[
                write("rejector.verdict_word", Variant::UInt16(7)),
                write("rejector.verdict_word", Variant::UInt32(9)),
                write("rejector.run_permit", Variant::Boolean(true)),
                write("printer.data", bytes(b"01\x1D")),
                write("printer.data_seq", Variant::from("1")),
                write("camera.seq", Variant::UInt32(5)),
            ])
            .await
            .expect("the write is answered");
        assert_eq!(
            statuses,
            [
                StatusCode::Good,
                StatusCode::BadTypeMismatch,
                StatusCode::Good,
                StatusCode::Good,
                StatusCode::BadTypeMismatch,
                StatusCode::BadUserAccessDenied,
            ]
        );
        image.read(|tags| {
            assert_eq!(tags.int(StationKind::Rejector, Tag::VerdictWord), 7);
            assert_eq!(tags.int(StationKind::Rejector, Tag::RunPermit), 1);
            assert_eq!(tags.bytes(StationKind::Printer, Tag::Data), b"01\x1D");
        });
        for _ in 0..1000 {
            if read(session, namespace, &["rejector.verdict_word"]).await == [Variant::UInt16(7)] {
                return;
            }
        }
        panic!("what was written is never read back");
    }
}
