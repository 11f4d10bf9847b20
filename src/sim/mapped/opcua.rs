//! One OPC UA peer of a configuration: every node of its maps, in the namespaces that they name, with the types that they say.
//!
//! Security None and the anonymous user alone: this is for a dry run on loopback. A write must have exactly the type of its map.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use opcua::server::ServerHandle;
use opcua::server::address_space::{AccessLevel, VariableBuilder};
use opcua::server::node_manager::memory::SimpleNodeManager;
use opcua::types::{DataTypeId, DataValue, NodeId, NumericRange, ObjectId, StatusCode, VariableTypeId, Variant};
use tokio::net::TcpListener;

use super::{Face, Mapped};
use crate::device::{Address, Number, ValueType, opcua_value};
use crate::domain::tag::Quality;
use crate::sim::loopback;
use crate::sim::tags::{Tags, WriteRefusal};

/// Namespaces 0 and 1 are the standard's and the application's own.
const FIRST: u16 = 2;

/// Serves until the listener fails; dropping the future ends it. `pki_dir` is a folder that the library may write to.
pub async fn run(listener: TcpListener, face: Face, pki_dir: &Path) -> io::Result<()> {
    let uris = uris(&face.tags);
    let (server, handle) = loopback::opcua(listener.local_addr()?, pki_dir, &uris).map_err(io::Error::other)?;
    let nodes = Nodes::add(&handle, &face, &uris).map_err(io::Error::other)?;
    loopback::run_opcua(server, &handle, listener, nodes.follow(&handle, &face)).await
}

/// By their index from `FIRST` on: maps that name an index get a namespace there.
fn uris(tags: &[Mapped]) -> Vec<String> {
    let nodes = || tags.iter().filter_map(node_text);
    let named: BTreeSet<String> = nodes().filter_map(|node| Some(split(node)?.0?.to_owned())).collect();
    let mut uris: Vec<String> = named.into_iter().collect();
    let highest = nodes().filter_map(|node| split(node)?.1).max().unwrap_or(0);
    while uris.len() + usize::from(FIRST) <= usize::from(highest) {
        uris.push(format!("urn:sealgate:sim:{}", uris.len() + usize::from(FIRST)));
    }
    uris
}

fn node_text(mapped: &Mapped) -> Option<&str> {
    match &mapped.binding.address {
        Address::Node(node) => Some(node),
        Address::Register(_)
        | Address::Input(_)
        | Address::Coil(_)
        | Address::Discrete(_)
        | Address::Answer(_)
        | Address::Command { .. }
        | Address::Made => None,
    }
}

/// URI or index of the namespace, and the rest with its kind: `s=name`.
fn split(node: &str) -> Option<(Option<&str>, Option<u16>, &str)> {
    let cut = [";s=", ";i=", ";g=", ";b="].iter().filter_map(|mark| node.find(mark)).min();
    let Some(cut) = cut else { return Some((None, Some(0), node)) };
    let (namespace, rest) = node.split_at(cut);
    let rest = rest.strip_prefix(';')?;
    match namespace.strip_prefix("nsu=") {
        Some(uri) => Some((Some(uri), None, rest)),
        None => Some((None, namespace.strip_prefix("ns=")?.parse().ok(), rest)),
    }
}

/// A node, whose it is, and the place of its tag among those of the peer.
struct Node {
    space: Arc<SimpleNodeManager>,
    id: NodeId,
    tag: usize,
}

struct Nodes {
    nodes: Vec<Node>,
    spaces: Vec<Arc<SimpleNodeManager>>,
}

impl Nodes {
    fn add(handle: &ServerHandle, face: &Face, uris: &[String]) -> Result<Self, String> {
        let mut spaces = BTreeMap::new();
        for uri in uris {
            let index = handle.get_namespace_index(uri).ok_or_else(|| format!("the namespace {uri} is missing"))?;
            let space = handle.node_managers().get_by_name::<SimpleNodeManager>(uri);
            spaces.insert(index, space.ok_or_else(|| format!("the nodes of {uri} are missing"))?);
        }
        let mut nodes: Vec<Node> = Vec::new();
        for (tag, mapped) in face.tags.iter().enumerate() {
            let Some((uri, index, rest)) = node_text(mapped).and_then(split) else { continue };
            let index = match uri {
                Some(uri) => handle.get_namespace_index(uri),
                None => index,
            };
            let index = index.filter(|index| spaces.contains_key(index));
            let index =
                index.ok_or_else(|| format!("{:?}: this namespace cannot be simulated", mapped.binding.address))?;
            let id: NodeId = format!("ns={index};{rest}").parse().map_err(|status| format!("{rest}: {status}"))?;
            // Stations may share a node, a heartbeat for example.
            if nodes.iter().any(|node| node.id == id) {
                continue;
            }
            if let Some(space) = spaces.get(&index) {
                add_variable(space, &id, mapped, face, tag);
                nodes.push(Node { space: Arc::clone(space), id, tag });
            }
        }
        Ok(Self { nodes, spaces: spaces.into_values().collect() })
    }

    /// Shows every change of the tag memory, for ever.
    async fn follow(&self, handle: &ServerHandle, face: &Face) {
        let mut changes = face.image.changes();
        let mut shown = 0;
        loop {
            changes.borrow_and_update();
            let changed = face.image.read(|tags| {
                let from = std::mem::replace(&mut shown, tags.version());
                self.changed(tags, face, from)
            });
            // All of a namespace under one lock: one Read shows one step.
            for space in &self.spaces {
                let of_space = changed.iter().filter(|(node, _)| Arc::ptr_eq(&node.space, space));
                let values = of_space.map(|(node, value)| (&node.id, None::<&NumericRange>, value.clone()));
                let set = space.set_values(handle.subscriptions(), values);
                debug_assert!(set.is_ok(), "a node is missing: {set:?}");
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn changed(&self, tags: &Tags, face: &Face, since: u64) -> Vec<(&Node, DataValue)> {
        let news = |node: &&Node| {
            let Some(mapped) = face.tags.get(node.tag) else { return false };
            since == 0 || mapped.tags().iter().any(|tag| tags.changed_at(mapped.kind, *tag) > since)
        };
        let value = |node: &Node| face.tags.get(node.tag).map(|mapped| data(tags, mapped));
        self.nodes.iter().filter(news).filter_map(|node| Some((node, value(node)?))).collect()
    }
}

fn variant(tags: &Tags, mapped: &Mapped) -> Option<Variant> {
    let binding = &mapped.binding;
    opcua_value::encode(binding.value, binding.scale, &mapped.shown(tags)?).ok()
}

fn data(tags: &Tags, mapped: &Mapped) -> DataValue {
    match (variant(tags, mapped), mapped.quality(tags)) {
        (Some(variant), Quality::Good) => DataValue::new_now_status(variant, StatusCode::Good),
        (Some(variant), Quality::Uncertain(code) | Quality::Bad(code)) => {
            DataValue::new_now_status(variant, StatusCode::from(code))
        }
        // A value that the type of the map cannot carry.
        (None, _) => DataValue::new_now_status(Variant::Empty, StatusCode::BadOutOfRange),
    }
}

fn add_variable(space: &SimpleNodeManager, id: &NodeId, mapped: &Mapped, face: &Face, tag: usize) {
    let access = if mapped.is_written() {
        AccessLevel::CURRENT_READ | AccessLevel::CURRENT_WRITE
    } else {
        AccessLevel::CURRENT_READ
    };
    let value = face.image.read(|tags| variant(tags, mapped)).unwrap_or(Variant::Empty);
    let name = format!("{}.{}", mapped.kind.name(), mapped.binding.tag);
    let mut builder = VariableBuilder::new(id, name.as_str(), name.as_str())
        .data_type(data_type(mapped.binding.value))
        .access_level(access)
        .user_access_level(access)
        .has_type_definition(VariableTypeId::BaseDataVariableType)
        .organized_by(ObjectId::ObjectsFolder);
    if matches!(value, Variant::Array(_)) {
        builder = builder.value_rank(1);
    }
    builder.value(value).insert(&mut *space.address_space().write());
    if mapped.is_written() {
        take_writes(space, id, face.clone(), tag);
    }
}

/// A write callback runs under the lock of the address space, so that it hands the value on and never sets a variable itself.
fn take_writes(space: &SimpleNodeManager, id: &NodeId, face: Face, tag: usize) {
    let callback = move |written: DataValue, range: &NumericRange| {
        if !matches!(range, NumericRange::None) {
            return StatusCode::BadWriteNotSupported;
        }
        let Some(mapped) = face.tags.get(tag) else { return StatusCode::BadNodeIdUnknown };
        let binding = &mapped.binding;
        let value = written.value.and_then(|value| opcua_value::decode(binding.value, binding.scale, &value));
        let taken = value.and_then(|value| face.image.read(|tags| mapped.taken(tags, value)));
        let Some(taken) = taken else { return StatusCode::BadTypeMismatch };
        match face.image.write(vec![taken]) {
            Ok(()) => StatusCode::Good,
            Err(WriteRefusal::UnknownTag) => StatusCode::BadNodeIdUnknown,
            Err(WriteRefusal::ReadOnly) => StatusCode::BadNotWritable,
            Err(WriteRefusal::WrongType) => StatusCode::BadOutOfRange,
        }
    };
    space.inner().add_write_callback(id.clone(), callback);
}

fn data_type(value: ValueType) -> DataTypeId {
    let of_number = |number| match number {
        Number::U16 => DataTypeId::UInt16,
        Number::I16 => DataTypeId::Int16,
        Number::U32 => DataTypeId::UInt32,
        Number::I32 => DataTypeId::Int32,
        Number::U64 => DataTypeId::UInt64,
        Number::I64 => DataTypeId::Int64,
        Number::F32 => DataTypeId::Float,
        Number::F64 => DataTypeId::Double,
    };
    match value {
        ValueType::Bool => DataTypeId::Boolean,
        ValueType::Number(number) => of_number(number),
        ValueType::Ints { element, .. } | ValueType::Millis { element, .. } => of_number(element),
        ValueType::Text { .. } | ValueType::Texts { .. } => DataTypeId::String,
        ValueType::Bytes { .. } => DataTypeId::ByteString,
    }
}
