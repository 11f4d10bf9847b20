//! A camera model over OPC UA: variables whose values are functions of the tag memory, set together whenever it changed.
//!
//! These models take no acknowledgement: a result stands until the next one overwrites it. The plant's camera is told that its
//! result was taken once it stood for `DWELL`, which is the time in which a client must have read it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opcua::server::ServerHandle;
use opcua::server::address_space::{AccessLevel, VariableBuilder};
use opcua::server::node_manager::memory::SimpleNodeManager;
use opcua::types::type_loader::ByteStringBody;
use opcua::types::{
    Array, ByteString, DataTypeId, DataValue, ExtensionObject, LocalizedText, NodeId, NumericRange, ObjectId, UAString,
    VariableTypeId, Variant, VariantScalarTypeId,
};
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};

use super::{KIND, Presence};
use crate::domain::tag::{Tag, TagValue};
use crate::sim::loopback;
use crate::sim::tags::{TagImage, Tags};

/// The highest number of a result.
pub(super) const COUNT_LAST: u64 = 4_294_967_295;

/// A result stands so long at least.
const DWELL: Duration = Duration::from_millis(40);
const LOOK: Duration = Duration::from_millis(5);

/// What a variable shows of the tag memory.
pub(super) type Show = fn(&Tags) -> Variant;

/// Names below the model's namespace, and what they show.
pub(super) struct Model {
    pub namespace: &'static str,
    pub nodes: &'static [(&'static str, Show)],
}

pub(super) async fn run(
    listener: TcpListener,
    image: Arc<TagImage>,
    pki_dir: &Path,
    model: &'static Model,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    let (server, handle) = loopback::opcua(address, pki_dir, &[model.namespace]).map_err(io::Error::other)?;
    let shown = Shown::add(&handle, &image, model).map_err(io::Error::other)?;
    loopback::run_opcua(server, &handle, listener, shown.follow(&handle, &image)).await
}

struct Shown {
    space: Arc<SimpleNodeManager>,
    nodes: Vec<(NodeId, Show)>,
}

impl Shown {
    fn add(handle: &ServerHandle, image: &TagImage, model: &Model) -> Result<Self, String> {
        let space = handle.node_managers().get_of_type::<SimpleNodeManager>().ok_or("the node manager is missing")?;
        let namespace = handle.get_namespace_index(model.namespace).ok_or("the model's namespace is missing")?;
        let mut nodes = Vec::new();
        for (name, show) in model.nodes {
            let id = NodeId::new(namespace, *name);
            let value = image.read(*show);
            let rank = if matches!(value, Variant::Array(_)) { 1 } else { -1 };
            VariableBuilder::new(&id, *name, *name)
                .data_type(DataTypeId::BaseDataType)
                .value(value)
                .value_rank(rank)
                .access_level(AccessLevel::CURRENT_READ)
                .user_access_level(AccessLevel::CURRENT_READ)
                .has_type_definition(VariableTypeId::BaseDataVariableType)
                .organized_by(ObjectId::ObjectsFolder)
                .insert(&mut *space.address_space().write());
            nodes.push((id, *show));
        }
        Ok(Self { space, nodes })
    }

    /// Shows every change of the tag memory, for ever.
    async fn follow(&self, handle: &ServerHandle, image: &TagImage) {
        let (presence, mut changes, mut look) = (Presence::default(), image.changes(), interval(LOOK));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stands = (0, Instant::now());
        loop {
            changes.borrow_and_update();
            let (values, seq) = image.read(|tags| {
                let values: Vec<_> = self.nodes.iter().map(|(id, show)| (id, show(tags))).collect();
                (values, tags.int(KIND, Tag::Seq))
            });
            let values = values.into_iter().map(|(id, value)| (id, None::<&NumericRange>, DataValue::new_now(value)));
            // Only unknown nodes fail here, and all of these were added above.
            let set = self.space.set_values(handle.subscriptions(), values);
            debug_assert!(set.is_ok(), "a node is missing: {set:?}");
            presence.note(image);
            stands = if stands.0 == seq { stands } else { (seq, Instant::now()) };
            if seq != 0 && stands.1.elapsed() >= DWELL && image.read(|tags| tags.int(KIND, Tag::Ack)) != seq {
                // The camera drops it by its number, and refuses nothing of this shape.
                let _ = image.write(vec![(KIND, Tag::Ack, TagValue::Int(seq))]);
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                _ = look.tick() => {}
            }
        }
    }
}

/// A structure as it travels: the id of its encoding and its members in binary.
pub(super) fn structure(encoding: u32, members: &[&[u8]]) -> Variant {
    let body = ByteStringBody::new(ByteString::from(members.concat()), NodeId::new(2, encoding));
    Variant::ExtensionObject(ExtensionObject::new(body))
}

/// A String or a ByteString inside a structure.
pub(super) fn text_member(text: &[u8]) -> Vec<u8> {
    let length = i32::try_from(text.len()).unwrap_or(0);
    [&length.to_le_bytes()[..], text].concat()
}

pub(super) fn list(values: Vec<Variant>) -> Variant {
    let values = values.into_iter().map(|value| Variant::Variant(Box::new(value))).collect();
    Variant::Array(Box::new(Array { value_type: VariantScalarTypeId::Variant, values, dimensions: None }))
}

pub(super) fn count(tags: &Tags, tag: Tag) -> u32 {
    u32::try_from(tags.int(KIND, tag)).unwrap_or(0)
}

pub(super) fn has_code(tags: &Tags) -> bool {
    !tags.bytes(KIND, Tag::Code).is_empty()
}

/// A camera's code is a String where it can be one.
pub(super) fn code(tags: &Tags) -> Variant {
    let code = tags.bytes(KIND, Tag::Code);
    match std::str::from_utf8(code) {
        Ok(text) => Variant::String(UAString::from(text)),
        Err(_) => Variant::ByteString(ByteString::from(code)),
    }
}

pub(super) fn words(text: &str) -> Variant {
    Variant::LocalizedText(Box::new(LocalizedText::new("en", text)))
}
