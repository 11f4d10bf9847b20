//! Addresses to node ids, and the list of one group read: epoch and guard in front, the tags, guard and epoch again at the end, all
//! in one Read service call.

use opcua::types::{DataValue, NamespaceMap, NodeId, ReadValueId, StatusCode};

use crate::{
    device::{image::Image, opcua::value, settings::Address},
    domain::tag::Reading,
};

/// The node of an address. Namespaces are found by URI at every connect: their indices change with the firmware (F54).
pub(super) fn resolve(address: &Address, namespaces: &NamespaceMap) -> Result<NodeId, StatusCode> {
    let Address::Node(text) = address else {
        return Err(StatusCode::BadNodeIdInvalid);
    };
    let Some(named) = text.strip_prefix("nsu=") else {
        return text.parse();
    };
    // The identifier starts at the last `;x=` that follows the URI; a URI may hold semicolons itself.
    let cut = [";s=", ";i=", ";g=", ";b="]
        .iter()
        .filter_map(|mark| named.find(mark))
        .min()
        .ok_or(StatusCode::BadNodeIdInvalid)?;
    let (uri, rest) = named.split_at(cut);
    let node: NodeId = rest.trim_start_matches(';').parse()?;
    let namespace = namespaces.get_index(uri).ok_or(StatusCode::BadNodeIdUnknown)?;
    Ok(NodeId { namespace, ..node })
}

/// One group read of a station.
pub(super) struct Group {
    ids: Vec<ReadValueId>,
    /// For each id the binding that it belongs to.
    slots: Vec<usize>,
    /// How many ids at the end repeat a proof.
    tail: usize,
    /// Bindings without a node, and why.
    unknown: Vec<(usize, StatusCode)>,
}

impl Group {
    pub(super) fn new(image: &Image, full: bool, nodes: &[Result<NodeId, StatusCode>]) -> Self {
        let proofs = image.proofs();
        let rest = image.to_read(full).filter(|index| !proofs.contains(index));
        let order = proofs.iter().copied().chain(rest);
        let order = order.chain(proofs.iter().rev().copied());
        let mut group = Group { ids: Vec::new(), slots: Vec::new(), tail: 0, unknown: Vec::new() };
        for index in order {
            match nodes.get(index) {
                Some(Ok(node)) => {
                    group.ids.push(ReadValueId::new_value(node.clone()));
                    group.slots.push(index);
                }
                Some(Err(status)) => group.unknown.push((index, *status)),
                None => {}
            }
        }
        group.tail = group
            .slots
            .iter()
            .rev()
            .take(proofs.len())
            .take_while(|slot| proofs.contains(slot))
            .count()
            .min(group.slots.len() / 2);
        group.unknown.sort_by_key(|(index, _)| *index);
        group.unknown.dedup_by_key(|(index, _)| *index);
        group
    }

    pub(super) fn ids(&self) -> &[ReadValueId] {
        &self.ids
    }

    /// The readings, where the proofs before and after agree.
    pub(super) fn readings(&self, image: &Image, values: &[DataValue]) -> Option<Vec<Reading>> {
        let decoded: Vec<Vec<Reading>> = self
            .slots
            .iter()
            .zip(values)
            .filter_map(|(slot, data)| Some(value::readings(image.bindings.get(*slot)?, data)))
            .collect();
        let (once, again) = decoded.split_at_checked(decoded.len().checked_sub(self.tail)?)?;
        let mut readings = once.concat();
        if self.tail > 0 && !image.coherent(&readings, &proofs_again(&readings, again)) {
            return None;
        }
        for (index, status) in &self.unknown {
            if let Some(binding) = image.bindings.get(*index) {
                readings.extend(value::unread(binding, status.bits()));
            }
        }
        Some(readings)
    }
}

/// The proofs as read at the end; a proof without a node is in neither read, and proves nothing.
fn proofs_again(before: &[Reading], again: &[Vec<Reading>]) -> Vec<Reading> {
    let again = again.concat();
    let missing = before.iter().filter(|reading| !again.iter().any(|other| other.tag == reading.tag));
    let missing: Vec<Reading> = missing.cloned().collect();
    [again, missing].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        device::{
            image::{Arrays, find},
            settings::{Binding, Number, StationTags, ValueType},
        },
        domain::tag::{Quality, StationId, StationKind, Tag, TagValue},
    };

    fn namespaces() -> NamespaceMap {
        let mut map = NamespaceMap::new();
        map.add_namespace("urn:plc;v=2");
        map
    }

    fn node(text: &str) -> Result<NodeId, StatusCode> {
        resolve(&Address::Node(text.into()), &namespaces())
    }

    #[test]
    fn finds_a_namespace_by_its_uri() {
        let index = namespaces().get_index("urn:plc;v=2").unwrap();
        let expected = NodeId::new(index, "Camera.Seq;s=1");
        assert_eq!(node("nsu=urn:plc;v=2;s=Camera.Seq;s=1"), Ok(expected));
        assert_eq!(node("ns=3;i=7"), Ok(NodeId::new(3, 7u32)));
        assert_eq!(node("nsu=urn:other;s=x"), Err(StatusCode::BadNodeIdUnknown));
        assert_eq!(node("nsu=urn:other"), Err(StatusCode::BadNodeIdInvalid));
        assert_eq!(node("nsu=urn:other;i=seven"), Err(StatusCode::BadNodeIdInvalid));
        assert_eq!(node("Camera"), Err(StatusCode::BadNodeIdInvalid));
    }

    fn camera() -> (Image, Group) {
        let binding = |tag| {
            let number = ValueType::Number(Number::U32);
            Binding::new(tag, Address::Node(format!("ns=1;s={tag}")), number)
        };
        let tags = StationTags {
            station: StationId(0),
            kind: StationKind::Camera,
            bindings: [Tag::Track, Tag::Seq, Tag::Epoch, Tag::Grade].map(binding).into(),
        };
        let image = Image::new(&tags, Arrays::Light);
        let mut nodes: Vec<_> = image.bindings.iter().map(|binding| resolve(&binding.address, &namespaces())).collect();
        nodes[3] = Err(StatusCode::BadNodeIdUnknown);
        let group = Group::new(&image, true, &nodes);
        (image, group)
    }

    fn values(numbers: &[u32]) -> Vec<DataValue> {
        let value = |number: &u32| DataValue::value_only(opcua::types::Variant::from(*number));
        numbers.iter().map(value).collect()
    }

    #[test]
    fn reads_epoch_and_guard_before_and_after() {
        let (image, group) = camera();
        let names: Vec<String> = group.ids().iter().map(|id| id.node_id.to_string()).collect();
        assert_eq!(names, ["ns=1;s=epoch", "ns=1;s=seq", "ns=1;s=track", "ns=1;s=seq", "ns=1;s=epoch"]);
        let found = group.readings(&image, &values(&[1, 7, 99, 7, 1])).unwrap();
        assert_eq!(find(&found, Tag::Track).unwrap().value, TagValue::Int(99));
        assert_eq!(found.len(), 4);
        let bad = Quality::Bad(StatusCode::BadNodeIdUnknown.bits());
        assert_eq!(find(&found, Tag::Grade).unwrap().quality, bad);
    }

    #[test]
    fn discards_a_read_during_which_the_guard_or_the_epoch_moved() {
        let (image, group) = camera();
        assert!(group.readings(&image, &values(&[1, 7, 99, 8, 1])).is_none());
        assert!(group.readings(&image, &values(&[1, 7, 99, 7, 2])).is_none());
    }
}
