//! The tag maps against the contract of DESIGN section 5: every required tag is there once, of a type that fits, at an address
//! that its device can have, and no write lands on another value.

use std::collections::BTreeMap;

use crate::device::{Address, Binding, Number, Part, Split, Table, ValueType};
use crate::domain::tag::{Access, Nature, StationKind, Tag};
use crate::station::{ArrayReader, ResultHandshake};

use super::device::{FileDevice, Protocol};
use super::map::{KindMap, TagMap};
use super::problem::{Place, Problems};
use super::reader::Field;
use super::station::Placed;
use super::text_checks;

/// The most registers that one Modbus request can write (function 16, MODBUS Application Protocol 6.12).
const WRITE_REGISTERS_MAX: u16 = 123;

pub(super) fn all(problems: &Problems, devices: &[FileDevice], placed: &[Placed<'_>]) {
    for station in placed {
        for (device, map) in &station.parts {
            let protocol = devices.get(*device).and_then(FileDevice::protocol);
            for binding in &map.tags {
                one_tag(problems, station.kind, binding, protocol);
            }
            rings(problems, station.kind, map);
            read_twice(problems, station.kind, map);
        }
        required(problems, station);
        repeated(problems, station);
    }
    for index in 0..devices.len() {
        overlaps(problems, index, placed);
    }
}

fn one_tag(problems: &Problems, kind: StationKind, binding: &Field<Binding>, protocol: Option<Protocol>) {
    let (at, binding) = (&binding.at, &binding.value);
    if !Tag::of_kind(kind).contains(&binding.tag) {
        let of_kind = Tag::of_kind(kind);
        let known: Vec<&str> = of_kind.iter().map(|tag| tag.name()).collect();
        problems.add(at.error(format!("is no tag of a {}", kind.name())).allowed(known.join(", ")));
        return;
    }
    let is_read_from_node = matches!(binding.address, Address::Node(_)) && binding.tag.access() == Access::Read;
    if binding.part != Part::default() && !is_read_from_node {
        let problem = at.error("lies inside the value of a node");
        problems.add(problem.allowed("`index` and `field` for OPC UA tags that are read"));
    }
    if let Some(allowed) = misfit(binding) {
        problems.add(at.error("has a type that does not fit the tag").allowed(allowed));
    }
    if let (Some(highest), Some(limit)) = (binding.wrap, value_max(binding.value))
        && highest > limit
    {
        let says = format!("wraps at {highest}, which its type never reaches");
        problems.add(at.error(says).allowed(format!("at most {limit}")));
    }
    let own = Protocol::of(&binding.address);
    match (own, binding.address.cell()) {
        _ if protocol.is_none() => {}
        _ if protocol != Some(own) => {
            let spoken = protocol.unwrap_or(own);
            let says = format!("has an address of {}, and its device speaks {}", own.name(), spoken.name());
            problems.add(at.error(says).allowed(spoken.place()));
        }
        (Protocol::Modbus, Some((table, first))) => registers(problems, at, binding, (table, first)),
        (Protocol::Text, _) => text_checks::one_tag(problems, at, binding),
        (Protocol::Opcua | Protocol::Modbus, _) => {}
    }
}

fn registers(problems: &Problems, at: &Place, binding: &Binding, (table, first): (Table, u16)) {
    let length = binding.cells();
    in_table(problems, at, binding, table);
    if u32::from(first) + u32::from(length) > 65_536 {
        problems
            .add(at.error(format!("fills {length} registers and runs past the last")).allowed("registers 0 to 65535"));
    }
    if binding.tag.access() == Access::Write && length > WRITE_REGISTERS_MAX {
        let says = format!("fills {length} registers, which no single Modbus request writes");
        problems.add(at.error(says).allowed(format!("at most {WRITE_REGISTERS_MAX} registers")));
    }
}

fn in_table(problems: &Problems, at: &Place, binding: &Binding, table: Table) {
    if table.is_bits() && binding.value != ValueType::Bool {
        problems.add(at.error("lies in a table of bits").allowed("type = \"bool\""));
    }
    if !table.is_writable() && binding.tag.access() == Access::Write {
        problems.add(at.error("is written, and lies in a table that can only be read").allowed("holding or coil"));
    }
}

/// What is read by one request must fit into one.
pub(super) fn groups(problems: &Problems, map: &TagMap) {
    map.kinds.values().for_each(|kind| kind_groups(problems, kind, map.block_max));
}

fn kind_groups(problems: &Problems, map: &KindMap, block_max: u16) {
    let mut spans: BTreeMap<(&str, Table), (u16, u32)> = BTreeMap::new();
    for binding in &map.tags {
        let (Some(group), Some((table, start))) = (binding.value.group.as_deref(), binding.value.address.cell()) else {
            continue;
        };
        let end = u32::from(start).saturating_add(u32::from(binding.value.cells()));
        let span = spans.entry((group, table)).or_insert((start, end));
        *span = (span.0.min(start), span.1.max(end));
        let (max, what) =
            if table.is_bits() { (u32::from(block_max) * 16, "bits") } else { (u32::from(block_max), "registers") };
        let length = span.1.saturating_sub(u32::from(span.0));
        if length > max {
            let says = format!("makes the group {group:?} {length} {what} long, which no single request reads");
            problems.add(binding.at.error(says).allowed(format!("at most {max} (block_max)")));
        }
    }
}

/// The highest value of an integer type.
fn value_max(value: ValueType) -> Option<u64> {
    let number = match value {
        ValueType::Number(number) => number,
        ValueType::Ints { element, .. } | ValueType::Millis { element, .. } => element,
        ValueType::Bool => return Some(1),
        ValueType::Text { .. } | ValueType::Bytes { .. } | ValueType::Texts { .. } => return None,
    };
    match number {
        Number::U16 => Some(u64::from(u16::MAX)),
        Number::I16 => u64::try_from(i16::MAX).ok(),
        Number::U32 => Some(u64::from(u32::MAX)),
        Number::I32 => u64::try_from(i32::MAX).ok(),
        Number::U64 | Number::I64 => u64::try_from(i64::MAX).ok(),
        Number::F32 | Number::F64 => None,
    }
}

/// What would fit, where the type of the binding does not. A delimited text may carry anything; a ring is checked by `rings`.
fn misfit(binding: &Binding) -> Option<&'static str> {
    let textual = matches!(binding.value, ValueType::Text { .. } | ValueType::Bytes { .. } | ValueType::Texts { .. });
    if matches!(binding.split, Some(Split::Fields { .. })) && textual {
        return None;
    }
    let float = matches!(binding.value, ValueType::Number(number) if number.is_float());
    let number = matches!(binding.value, ValueType::Number(_));
    let list = binding.value.is_array();
    match binding.tag.nature() {
        Nature::Flag if number && !float || binding.value == ValueType::Bool => None,
        Nature::Flag => Some("bool, or an integer that is 0 or 1"),
        Nature::Counter | Nature::Number if number && !float || matches!(binding.value, ValueType::Ints { .. }) => None,
        Nature::Counter | Nature::Number => Some("an integer: u16, i16, u32, i32, u64, i64 (in a ring: ints)"),
        Nature::Decimal if float || matches!(binding.value, ValueType::Millis { .. }) => None,
        Nature::Decimal if number && binding.scale.is_some() => None,
        Nature::Decimal if textual => None,
        Nature::Decimal => Some("f32, f64, an integer with `scale`, text (in a ring: millis or texts)"),
        Nature::State if number && !float || textual && !list => None,
        Nature::State => Some("an integer or text: the number or the name of a PackML state"),
        Nature::Text if textual && binding.split.is_none() => None,
        Nature::Text => Some("text or bytes (in a ring: texts): identifiers never become numbers"),
        Nature::Numbers if matches!(binding.value, ValueType::Ints { .. }) => None,
        Nature::Numbers => Some("ints: track and end in turn"),
        Nature::Texts if textual && (list || binding.split.is_some()) => None,
        Nature::Texts => Some("texts, or text with `delimiter`"),
    }
}

/// Arrays where a ring is declared, single values where none is; as many as the ring holds.
fn rings(problems: &Problems, kind: StationKind, map: &KindMap) {
    if kind == StationKind::Camera {
        camera_ring(problems, map);
        camera_handshake(problems, map);
    }
    if let Some(array) = &map.array {
        layers(problems, kind, map, array);
    }
    for (field, owner) in [
        (&map.ring, StationKind::Camera),
        (&map.ends_ring, StationKind::Rejector),
        (&map.verdict_depth, StationKind::Rejector),
    ] {
        if let Some(field) = field.as_ref().filter(|_| kind != owner) {
            problems.add(field.at.error(format!("belongs to a {}, not to a {}", owner.name(), kind.name())));
        }
    }
    let Some(ends) = map.tags.iter().find(|binding| binding.value.tag == Tag::Ends) else { return };
    match (ends_held(map), &map.ends_ring) {
        (Some(held), Some(stated)) if held != stated.value => {
            let says = format!("has places for {held} ends, and ends_ring says {}", stated.value);
            problems.add(
                ends.at.error(says).allowed(format!("count = {}: track and end of each", u32::from(stated.value) * 2)),
            );
        }
        (Some(held), None) if held < 64 => {
            problems.add(
                ends.at
                    .error(format!("has places for {held} ends"))
                    .allowed("count = 128 or more: track and end of the last 64"),
            );
        }
        (Some(_), _) | (None, _) => {}
    }
}

fn camera_ring(problems: &Problems, map: &KindMap) {
    let ring = map.ring.as_ref().map(|field| field.value);
    let results = [Tag::Code, Tag::Track, Tag::Grade, Tag::Text, Tag::Image, Tag::Outcome];
    for binding in map.tags.iter().filter(|binding| results.contains(&binding.value.tag)) {
        let held = elements(binding.value.value);
        match (ring, held) {
            (Some(ring), Some(held)) if ring == held => {}
            (None, None) => {}
            (Some(ring), _) => {
                let allowed = format!("a list type with count = {ring}");
                problems.add(binding.at.error(format!("does not have the {ring} places of the ring")).allowed(allowed));
            }
            (None, Some(_)) => {
                let problem = binding.at.error("is a list, and the camera declares no ring");
                problems.add(problem.allowed("ring = COUNT in the section [camera], or a single value"));
            }
        }
    }
}

/// Frames of equal length, each with room for more than its helper codes.
fn layers(problems: &Problems, kind: StationKind, map: &KindMap, array: &Field<ArrayReader>) {
    if !matches!(kind, StationKind::Packer | StationKind::Palletizer) {
        problems.add(array.at.error(format!("belongs to a packer or palletizer, not to a {}", kind.name())));
    }
    let Some(children) = map.tags.iter().find(|binding| binding.value.tag == Tag::Children) else { return };
    let Some(held) = elements(children.value.value) else { return };
    let ArrayReader { layers, helpers, .. } = &array.value;
    if held.checked_rem(*layers) != Some(0) || held.checked_div(*layers).is_none_or(|wide| wide <= *helpers) {
        let says = format!("has {held} places, which are no {layers} equal layers with {helpers} helper codes each");
        problems.add(children.at.error(says).allowed("count = layers * (units of a layer + helpers)"));
    }
}

/// A result that is taken by a flag needs the flag that shows it, and stands alone.
fn camera_handshake(problems: &Problems, map: &KindMap) {
    let taken_by_flag = map.handshake.as_ref().filter(|field| field.value == ResultHandshake::Flag);
    let has_valid = map.carried().iter().any(|(tag, _)| *tag == Tag::Valid);
    if let Some(field) = taken_by_flag.filter(|_| !has_valid) {
        problems.add(field.at.error("needs the tag `valid`").allowed("a section [camera.valid]"));
    }
    if let Some(ring) = map.ring.as_ref().filter(|_| taken_by_flag.is_some()) {
        problems.add(ring.at.error("belongs to a camera whose results are acknowledged by number"));
    }
    if taken_by_flag.is_none() && map.renumbered.iter().any(|entry| entry.tag == Tag::Ack) {
        let at = map.tags.iter().find(|binding| binding.value.tag == Tag::Ack).map_or(&map.at, |binding| &binding.at);
        problems.add(at.error("has `values`, and acknowledges by number").allowed("handshake = \"flag\" in [camera]"));
    }
}

fn elements(value: ValueType) -> Option<u16> {
    match value {
        ValueType::Ints { count, .. } | ValueType::Millis { count, .. } | ValueType::Texts { count, .. } => Some(count),
        ValueType::Bool | ValueType::Number(_) | ValueType::Text { .. } | ValueType::Bytes { .. } => None,
    }
}

/// How many ends the map's ring holds: each takes two places.
pub(super) fn ends_held(map: &KindMap) -> Option<u16> {
    let ends = map.tags.iter().find(|binding| binding.value.tag == Tag::Ends)?;
    elements(ends.value.value).map(|count| count / 2)
}

fn required(problems: &Problems, station: &Placed<'_>) {
    // A part whose map could not be read would make every tag look missing.
    if station.parts.is_empty() || station.parts.len() != station.file.parts.len() {
        return;
    }
    let maps = || station.parts.iter().map(|(_, map)| map);
    let carried: Vec<Tag> = maps().flat_map(KindMap::carried).map(|(tag, _)| tag).collect();
    let broken: Vec<Tag> = maps().flat_map(|map| map.broken.iter().copied()).collect();
    let absent: Vec<&Field<Tag>> = maps().flat_map(|map| &map.absent).collect();
    for tag in Tag::required(station.kind) {
        let known = carried.contains(tag) || broken.contains(tag);
        if !known && !absent.iter().any(|absent| absent.value == *tag) {
            let says = format!("is mapped by no file of {}", station.file.at.key);
            problems.add(
                missing_at(station, *tag).error(says).allowed(format!("a section for it, or absent = [\"{tag}\"]")),
            );
        }
    }
    if station.kind == StationKind::Rejector && !carried.contains(&Tag::VerdictWord) {
        for tag in [Tag::Verdict, Tag::VerdictTrack].into_iter().filter(|tag| !carried.contains(tag)) {
            let says = format!("is mapped by no file of {}", station.file.at.key);
            problems.add(missing_at(station, tag).error(says).allowed("verdict and verdict_track, or verdict_word"));
        }
    }
    for absent in absent {
        if carried.contains(&absent.value) {
            problems.add(absent.at.error(format!("declares {} absent, which is mapped", absent.value)));
        }
        let consequence = if absent.value == Tag::Heartbeat {
            "a device that answers and does nothing is not noticed"
        } else if absent.value == Tag::Epoch && station.kind == StationKind::Printer {
            "a restart shows by counters that fell alone; one that keeps them and loses its records is not noticed"
        } else if absent.value == Tag::Epoch {
            "every reconnect counts as a reset"
        } else if absent.value == Tag::HeartbeatOut {
            "the device does not notice when the line controller is gone"
        } else {
            continue;
        };
        problems.add(absent.at.warning(format!("declares {} absent: {consequence}", absent.value)));
    }
}

fn missing_at(station: &Placed<'_>, tag: Tag) -> Place {
    let first = station.parts.first().map_or(&station.file.at, |(_, map)| &map.at);
    Place { key: format!("{}.{tag}", station.kind.name()), value: String::new(), ..first.clone() }
}

fn repeated(problems: &Problems, station: &Placed<'_>) {
    let carried: Vec<(Tag, &Place)> = station.parts.iter().flat_map(|(_, map)| map.carried()).collect();
    for (index, (tag, at)) in carried.iter().enumerate() {
        if let Some((_, first)) = carried.iter().take(index).find(|(other, _)| other == tag) {
            let says = format!(
                "maps {tag} of {} a second time; the first is at {}:{}",
                station.file.at.key, first.file, first.line
            );
            problems.add(at.error(says));
        }
    }
}

/// One value at one place of a device.
struct Occupied<'p> {
    tag: Tag,
    value: ValueType,
    cells: u16,
    address: &'p Address,
    at: &'p Place,
}

/// What is written must not share a place with anything but itself: several stations may map one heartbeat.
fn overlaps(problems: &Problems, device: usize, placed: &[Placed<'_>]) {
    let mut all: Vec<Occupied<'_>> = Vec::new();
    for (_, map) in placed.iter().flat_map(|station| &station.parts).filter(|(index, _)| *index == device) {
        for binding in &map.tags {
            let Binding { tag, value, address, .. } = &binding.value;
            all.push(Occupied { tag: *tag, value: *value, cells: binding.value.cells(), address, at: &binding.at });
        }
    }
    for (index, second) in all.iter().enumerate() {
        for first in all.iter().take(index).filter(|first| clash(first, second)) {
            let says = format!(
                "lies on {} ({}:{}), and one of the two is written",
                first.at.key, first.at.file, first.at.line
            );
            problems.add(second.at.error(says).allowed("a place of its own"));
        }
    }
}

/// Two tags of one map that read the same place: mostly a copy whose address was forgotten.
fn read_twice(problems: &Problems, kind: StationKind, map: &KindMap) {
    let read: Vec<&Field<Binding>> =
        map.tags.iter().filter(|binding| binding.value.tag.access() == Access::Read).collect();
    for (index, second) in read.iter().enumerate() {
        for first in read.iter().take(index).filter(|first| same_place(kind, &first.value, &second.value)) {
            let says = format!("reads what {} reads ({}:{})", first.at.key, first.at.file, first.at.line);
            problems.add(second.at.error(says).allowed("a place of its own; `bit` for the flags of one word"));
        }
    }
}

fn same_place(kind: StationKind, first: &Binding, second: &Binding) -> bool {
    let is_word_of_flags = (first.bit.is_some() || second.bit.is_some()) && first.bit != second.bit;
    // A camera may number its results by the track.
    let is_numbered_by_track =
        kind == StationKind::Camera && [first.tag, second.tag].iter().all(|tag| matches!(tag, Tag::Seq | Tag::Track));
    let meet = match (&first.address, &second.address) {
        (Address::Answer(first), Address::Answer(second)) => first == second,
        _ => touch((&first.address, first.cells()), (&second.address, second.cells())),
    };
    meet && first.part == second.part && !is_word_of_flags && !is_numbered_by_track
}

fn clash(first: &Occupied<'_>, second: &Occupied<'_>) -> bool {
    let written = [first.tag, second.tag].iter().any(|tag| tag.access() == Access::Write);
    let shared =
        first.tag == second.tag && first.value == second.value && first.address == second.address && common(first.tag);
    written && !shared && touch((first.address, first.cells), (second.address, second.cells))
}

/// The tags that one controller may show for all its stations.
fn common(tag: Tag) -> bool {
    matches!(tag, Tag::HeartbeatOut | Tag::EpochOut)
}

fn touch((first, first_cells): (&Address, u16), (second, second_cells): (&Address, u16)) -> bool {
    match (first.cell(), second.cell()) {
        (Some((a, first_at)), Some((b, second_at))) => {
            let end = |start: u16, cells: u16| u32::from(start) + u32::from(cells);
            let meet =
                u32::from(first_at) < end(second_at, second_cells) && u32::from(second_at) < end(first_at, first_cells);
            a == b && meet
        }
        // A text command takes all its tags, and an answer is never written.
        (None, None) => matches!(first, Address::Node(_)) && first == second,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tags_read_one_place_only_where_that_is_meant() {
        let at = |tag, first| Binding::new(tag, Address::Register(first), ValueType::Number(Number::U32));
        let bit = |tag, bit| Binding { bit: Some(bit), ..Binding::new(tag, Address::Register(4), ValueType::Bool) };
        let meet = |first, second| same_place(StationKind::Rejector, &first, &second);
        assert!(meet(at(Tag::InCount, 4), at(Tag::EndSeq, 4)));
        assert!(meet(at(Tag::InCount, 4), at(Tag::EndSeq, 5)), "the second half of it");
        assert!(!meet(at(Tag::InCount, 4), at(Tag::EndSeq, 6)));
        assert!(meet(bit(Tag::BinFull, 3), bit(Tag::Fault, 3)));
        assert!(!meet(bit(Tag::BinFull, 3), bit(Tag::Fault, 4)));
        assert!(!meet(bit(Tag::BinFull, 3), at(Tag::Fault, 4)), "a word and one of its flags");
        let (seq, track) = (at(Tag::Seq, 4), at(Tag::Track, 4));
        assert!(!same_place(StationKind::Camera, &seq, &track), "results that are numbered by the track");
        let node = |index| Binding {
            part: Part { index: Some(index), field: None },
            ..Binding::new(Tag::InCount, Address::Node("ns=2;s=x".to_owned()), ValueType::Number(Number::U32))
        };
        assert!(!meet(node(0), node(1)) && meet(node(1), node(1)));
    }
}
