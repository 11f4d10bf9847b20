//! Tag maps: where each tag of a station kind lies on a device and how it is represented there. A new device model is a file, not
//! code. One map serves one protocol and may hold several station kinds.
//!
//! ```toml
//! addressing = 0              # Modbus: the number of the first register in this file, 0 or 1, or "modicon"
//! [packer]
//! absent = ["child_count"]    # required tags that this machine does not have
//! [packer.seq]
//! address = 4                 # or node = "nsu=urn:vendor;s=Packer.Seq"
//! type = "u32"
//! wrap = 4294967295
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::device::dialect::Dialect;
use crate::device::{
    Address, Binding, ByteOrder, Field as SplitField, Member, Number, Pad, Part, Signature, Split, StructField,
    ValueType, WordOrder,
};
use crate::domain::packml::MachineState;
use crate::domain::tag::{StationKind, Tag};
use crate::station::{ArrayReader, Renumbered, ResultHandshake};

use super::map_modbus::{self, Addressing, BYTE_ORDERS, Extras, WORD_ORDERS};
use super::problem::{Place, nearest};
use super::reader::{Field, Section, Source};
use super::text;

/// The longest list or text that a map may ask for.
const COUNT_MAX: i64 = 4096;

/// A read map: what of it could be understood. Problems were recorded on the way.
pub(super) struct TagMap {
    pub(super) at: Place,
    pub(super) word_order: Field<WordOrder>,
    pub(super) byte_order: Field<ByteOrder>,
    pub(super) gap_max: u16,
    pub(super) block_max: u16,
    pub(super) signature: Option<Field<Signature>>,
    /// How a text device speaks.
    pub(super) dialect: Option<Field<Arc<Dialect>>>,
    pub(super) kinds: BTreeMap<&'static str, KindMap>,
}

/// The tags of one station kind in one map.
#[derive(Clone)]
pub(super) struct KindMap {
    pub(super) at: Place,
    pub(super) absent: Vec<Field<Tag>>,
    pub(super) ring: Option<Field<u16>>,
    pub(super) handshake: Option<Field<ResultHandshake>>,
    pub(super) ends_ring: Option<Field<u16>>,
    pub(super) verdict_depth: Option<Field<u16>>,
    pub(super) array: Option<Field<ArrayReader>>,
    pub(super) tags: Vec<Field<Binding>>,
    pub(super) renumbered: Vec<Renumbered>,
    /// Tags with a section that could not be understood: reported there, and not missing as well.
    pub(super) broken: Vec<Tag>,
}

const HANDSHAKES: [(&str, ResultHandshake); 2] = [("number", ResultHandshake::Number), ("flag", ResultHandshake::Flag)];
const PADS: [(&str, Pad); 2] = [("zero", Pad::Zero), ("space", Pad::Space)];

/// The words of `type`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Number(Number),
    Text,
    Bytes,
    Ints,
    Millis,
    Texts,
}

pub(super) const NUMBERS: [(&str, Number); 8] = [
    ("u16", Number::U16),
    ("i16", Number::I16),
    ("u32", Number::U32),
    ("i32", Number::I32),
    ("u64", Number::U64),
    ("i64", Number::I64),
    ("f32", Number::F32),
    ("f64", Number::F64),
];

/// Reads one map from its source.
pub(super) fn read(source: &Source) -> Option<TagMap> {
    let document = source.parse()?;
    let mut root = Section::root(source, &document);
    let addressing = map_modbus::addressing(&mut root);
    let map = TagMap {
        at: root.at.clone(),
        word_order: or_default(&root.at.clone(), root.word("word_order", &WORD_ORDERS), WordOrder::HighFirst),
        byte_order: or_default(&root.at.clone(), root.word("byte_order", &BYTE_ORDERS), ByteOrder::HighFirst),
        gap_max: root.number("gap_max", 0..=124).map_or(0, |field| field.value),
        block_max: root.number("block_max", 1..=125).map_or(125, |field| field.value),
        signature: root.section("signature").and_then(|section| map_modbus::signature(section, addressing)),
        dialect: text::read(&mut root),
        kinds: kinds(&mut root, addressing),
    };
    if map.kinds.is_empty() {
        let kinds: Vec<&str> = StationKind::ALL.iter().map(|kind| kind.name()).collect();
        root.problems().add(root.at.error("holds no section of a station kind").allowed(kinds.join(", ")));
    }
    root.finish();
    Some(map)
}

fn kinds(root: &mut Section<'_>, addressing: Option<Addressing>) -> BTreeMap<&'static str, KindMap> {
    let mut kinds = BTreeMap::new();
    for kind in StationKind::ALL {
        if let Some(section) = root.section(kind.name()) {
            kinds.insert(kind.name(), kind_map(*kind, section, addressing));
        }
    }
    kinds
}

fn kind_map(kind: StationKind, mut section: Section<'_>, addressing: Option<Addressing>) -> KindMap {
    let absent = section.texts("absent").map_or_else(Vec::new, |list| known_tags(kind, &section, list.value));
    let mut map = KindMap {
        at: section.at.clone(),
        absent,
        ring: section.number("ring", 2..=COUNT_MAX),
        handshake: section.word("handshake", &HANDSHAKES),
        ends_ring: section.number("ends_ring", 64..=COUNT_MAX),
        verdict_depth: section.number("verdict_depth", 1..=256),
        array: array_reader(&mut section),
        tags: Vec::new(),
        renumbered: Vec::new(),
        broken: Vec::new(),
    };
    for (name, tag_section) in section.children() {
        match Tag::parse(&name.value) {
            Some(tag) => {
                let mut tag_section = tag_section;
                map.renumbered.extend(renumbered(tag, &mut tag_section));
                match binding((kind, tag), tag_section, addressing) {
                    Ok(binding) => map.tags.push(binding),
                    Err(carried) => map.broken.extend(carried),
                }
            }
            None => {
                let name = Field { at: Place { value: String::new(), ..name.at }, ..name };
                map.broken.extend(unknown_tag(kind, &section, &name));
            }
        }
    }
    map
}

/// `layers`, `helpers` and `helper_prefix`: a reader that shows its children as a frame for each layer.
fn array_reader(section: &mut Section<'_>) -> Option<Field<ArrayReader>> {
    let layers = section.number::<u16>("layers", 1..=64);
    let helpers = section.number::<u16>("helpers", 1..=64);
    let prefix = section.filled("helper_prefix");
    let at = [&layers, &helpers].into_iter().flatten().next().map(|field| field.at.clone());
    let at = at.or_else(|| prefix.as_ref().map(|field| field.at.clone()))?;
    let _: Option<()> = section.missing("layers", "the number of layers that make up a container, 1 to 64");
    let _: Option<()> = section.missing("helpers", "the number of helper codes in each layer, 1 to 64");
    let _: Option<()> = section.missing("helper_prefix", "what helper codes begin with, for example \"HC\"");
    let prefix = prefix?;
    // An element string begins with an application identifier, a symbology identifier or a separator.
    if !prefix.value.starts_with(|first: char| first.is_ascii_alphabetic()) {
        let problem = prefix.at.error("could begin an identifier, and helper codes are left out of a container");
        section.problems().add(problem.allowed("a word that begins with a letter, for example \"HC\""));
    }
    let value = ArrayReader { layers: layers?.value, helpers: helpers?.value, prefix: prefix.value.into_bytes() };
    Some(Field { value, at })
}

fn known_tags(kind: StationKind, section: &Section<'_>, names: Vec<Field<String>>) -> Vec<Field<Tag>> {
    let mut tags = Vec::new();
    for name in names {
        match Tag::parse(&name.value) {
            Some(tag) => tags.push(name.map(|_| tag)),
            None => drop(unknown_tag(kind, section, &name)),
        }
    }
    tags
}

/// Records it; the tag that was probably meant, and is not missing as well.
fn unknown_tag(kind: StationKind, section: &Section<'_>, name: &Field<String>) -> Option<Tag> {
    let known: Vec<&str> = Tag::of_kind(kind).into_iter().map(Tag::name).collect();
    let problem = name.at.error(format!("is no tag of a {}", kind.name())).allowed(known.join(", "));
    section.problems().add(problem.meant(&name.value, known.iter().copied()));
    nearest(&name.value, known).and_then(Tag::parse)
}

/// One tag's table. What is wrong in it was recorded; the tags that it carries where too little is left to go on with.
fn binding(
    (kind, tag): (StationKind, Tag),
    mut section: Section<'_>,
    addressing: Option<Addressing>,
) -> Result<Field<Binding>, Vec<Tag>> {
    let address = address(&mut section, addressing);
    let scale = section.integer("scale", 1..=1_000_000);
    let value = value_type(&mut section, scale.is_some());
    let split = split((kind, tag), &mut section, value);
    let carried = match &split {
        Some(Split::Fields { fields, .. }) => fields.iter().map(|field| field.tag).collect(),
        Some(Split::Texts { .. }) | None => vec![tag],
    };
    let wrap = section.number::<u64>("wrap", 1..=i64::MAX);
    let part = part(&mut section);
    let byte_order = section.word("byte_order", &BYTE_ORDERS);
    let extras = Extras::read(&mut section);
    let binding = address.zip(value).zip(part).map(|((address, value), part)| {
        let mut binding = Binding {
            scale: scale.map(|field| field.value),
            wrap: wrap.map(|field| field.value),
            split,
            byte_order: byte_order.map(|field| field.value),
            part,
            ..Binding::new(tag, address, value)
        };
        extras.apply(&section, &mut binding);
        binding
    });
    let at = section.at.clone();
    section.finish();
    binding.map(|value| Field { value, at }).ok_or(carried)
}

const MEMBERS: [(&str, Member); 14] = [
    ("bool", Member::Bool),
    ("i8", Member::I8),
    ("u8", Member::U8),
    ("i16", Member::I16),
    ("u16", Member::U16),
    ("i32", Member::I32),
    ("u32", Member::U32),
    ("i64", Member::I64),
    ("u64", Member::U64),
    ("f32", Member::F32),
    ("f64", Member::F64),
    ("text", Member::Text),
    ("time", Member::Time),
    ("rest", Member::Rest),
];

/// `None` where it is written and cannot be understood: `index = 2`, or `layout = ["u32", "text"]` with `field = 1`, or all three.
fn part(section: &mut Section<'_>) -> Option<Part> {
    let index = section.number::<u16>("index", 0..=COUNT_MAX).map(|field| field.value);
    let layout = section.texts("layout");
    let place = section.number::<usize>("field", 0..=255);
    let Some(layout) = layout else {
        let Some(place) = place else { return Some(Part { index, field: None }) };
        section.problems().add(place.at.error("needs `layout` beside it: the members of the structure in order"));
        return None;
    };
    let mut members = Vec::new();
    for name in &layout.value {
        match MEMBERS.iter().find(|(word, _)| *word == name.value) {
            Some((_, Member::Rest)) if members.len().saturating_add(1) < layout.value.len() => {
                section.problems().add(name.at.error("takes all that is left").allowed("\"rest\" at the end alone"));
            }
            Some((_, member)) => members.push(*member),
            None => {
                let words = MEMBERS.iter().map(|(word, _)| *word);
                section.problems().add(name.at.error("is no member type").meant(&name.value, words));
            }
        }
    }
    match place {
        Some(place) if place.value < layout.value.len() => {
            Some(Part { index, field: Some(StructField { layout: members, place: place.value }) })
        }
        Some(place) => {
            let allowed = format!("0 to {}", layout.value.len().saturating_sub(1));
            section.problems().add(place.at.error("names no member of `layout`").allowed(allowed));
            None
        }
        None => section.missing("field", "the member of `layout` that is this tag, counted from 0"),
    }
}

/// The values of the contract by their words, DESIGN section 5; a map may number them in its device's own way.
fn contract_values(tag: Tag) -> Vec<(&'static str, i64)> {
    let states = || MachineState::ALL.iter().map(|state| (state.name(), state.number()));
    let words: &[(&str, i64)] = if tag == Tag::State {
        return states().collect();
    } else if tag == Tag::Request {
        &[("seal", 1), ("release", 2)]
    } else if tag == Tag::Reply {
        &[("none", 0), ("deny", 1), ("pending", 2), ("permit", 3)]
    } else if tag == Tag::CloseResult {
        &[("open", 0), ("done", 1), ("failed", 2), ("expired", 3)]
    } else if tag == Tag::GateState {
        &[("shut", 0), ("moving", 1), ("open", 2)]
    } else if tag == Tag::Ends {
        &[("passed", 1), ("rejected", 2), ("missing", 3)]
    } else if tag == Tag::Ack {
        &[("idle", 0), ("taken", 1)]
    } else if tag == Tag::Outcome {
        &[("good", 1)]
    } else if tag == Tag::Mode {
        &[("produce", 1), ("maintenance", 2), ("manual", 3)]
    } else {
        &[]
    };
    words.to_vec()
}

/// `values = { seal = 10, release = 20 }`. All words are needed: a value that is not listed would not be understood. A machine need
/// not have every state and mode.
fn renumbered(tag: Tag, section: &mut Section<'_>) -> Vec<Renumbered> {
    let words = contract_values(tag);
    if words.is_empty() {
        return Vec::new();
    }
    let Some(mut values) = section.section("values") else { return Vec::new() };
    let mut renumbered: Vec<Renumbered> = Vec::new();
    let is_free = [Tag::State, Tag::Mode].contains(&tag);
    for (word, contract) in words {
        let Some(field) = values.integer(word, -65_536..=65_536) else {
            if !is_free {
                let _: Option<()> = values.missing(word, "the device's number for it: all words are listed, or none");
            }
            continue;
        };
        if renumbered.iter().any(|other| other.device == field.value) {
            values.problems().add(field.at.error("stands for two words").allowed("a number of its own for each word"));
        }
        renumbered.push(Renumbered { tag, device: field.value, contract });
    }
    values.finish();
    renumbered
}

fn address(section: &mut Section<'_>, addressing: Option<Addressing>) -> Option<Address> {
    if let Some(address) = text::address(section) {
        return address;
    }
    let node = section.filled("node");
    let register = section.integer("address", 0..=465_536);
    match (node, register) {
        (Some(node), None) => node_address(section, node),
        (None, Some(register)) => map_modbus::address(section, &register, addressing),
        (Some(node), Some(_)) => {
            section.problems().add(
                node.at
                    .error("stands beside `address`")
                    .allowed("one of the two: `node` (OPC UA) or `address` (Modbus)"),
            );
            None
        }
        (None, None) if section.has("node") || section.has("address") => None,
        (None, None) => section.missing("node", "`node` for OPC UA or `address` for Modbus"),
    }
}

fn node_address(section: &Section<'_>, node: Field<String>) -> Option<Address> {
    let (namespace, id) = match node.value.split_once(';') {
        Some((namespace, id)) => (namespace, id),
        None => ("ns=0", node.value.as_str()),
    };
    let named = namespace.strip_prefix("nsu=").is_some_and(|uri| !uri.is_empty());
    let numbered = namespace.strip_prefix("ns=").is_some_and(|index| index.parse::<u16>().is_ok());
    let identified = ["s=", "i=", "g=", "b="].iter().any(|kind| id.strip_prefix(kind).is_some_and(|id| !id.is_empty()));
    if (named || numbered) && identified {
        return Some(Address::Node(node.value));
    }
    let problem = node.at.error("is no node id").allowed("nsu=URI;s=NAME (or i=, g=, b=), or ns=NUMBER;s=NAME");
    section.problems().add(problem);
    None
}

fn value_type(section: &mut Section<'_>, scaled: bool) -> Option<ValueType> {
    let mut words = vec![
        ("bool", Kind::Bool),
        ("text", Kind::Text),
        ("bytes", Kind::Bytes),
        ("ints", Kind::Ints),
        ("millis", Kind::Millis),
        ("texts", Kind::Texts),
    ];
    words.extend(NUMBERS.map(|(word, number)| (word, Kind::Number(number))));
    let kind = section.word("type", &words);
    let length = section.number::<u16>("length", 1..=COUNT_MAX);
    let count = section.number::<u16>("count", 1..=COUNT_MAX);
    let pad = section.word("pad", &PADS).map_or(Pad::Zero, |field| field.value);
    let element = section.word("element", &NUMBERS).map(|field| field.value);
    let Some(kind) = kind else {
        return section
            .missing("type", "bool, u16, i16, u32, i32, u64, i64, f32, f64, text, bytes, ints, millis, texts");
    };
    let needed = |field: Option<Field<u16>>, key: &str, what: &str| match field {
        Some(field) => Some(field.value),
        None => section.missing(key, what),
    };
    match kind.value {
        Kind::Bool => Some(ValueType::Bool),
        Kind::Number(number) => Some(ValueType::Number(number)),
        Kind::Text => needed(length, "length", BYTES).map(|length| ValueType::Text { length, pad }),
        Kind::Bytes => needed(length, "length", BYTES).map(|length| ValueType::Bytes { length }),
        Kind::Ints => {
            let element = element.unwrap_or(Number::U32);
            needed(count, "count", ELEMENTS).map(|count| ValueType::Ints { element, count })
        }
        Kind::Millis => {
            let element = element.unwrap_or(if scaled { Number::I32 } else { Number::F32 });
            needed(count, "count", ELEMENTS).map(|count| ValueType::Millis { element, count })
        }
        Kind::Texts => {
            let length = needed(length, "length", BYTES);
            let count = needed(count, "count", ELEMENTS);
            Some(ValueType::Texts { length: length?, count: count?, pad })
        }
    }
}

const BYTES: &str = "the number of bytes, 1 to 4096";
const ELEMENTS: &str = "the number of elements, 1 to 4096";

fn split((kind, tag): (StationKind, Tag), section: &mut Section<'_>, value: Option<ValueType>) -> Option<Split> {
    let delimiter = section.text("delimiter");
    let fields = section.texts("fields");
    let Some(delimiter) = delimiter else {
        if let Some(fields) = &fields {
            section.problems().add(fields.at.error("needs `delimiter` beside it"));
        }
        return None;
    };
    let [byte] = delimiter.value.as_bytes() else {
        section.problems().add(delimiter.at.error("is no delimiter").allowed("one ASCII character, for example \";\""));
        return None;
    };
    let textual =
        matches!(value, Some(ValueType::Text { .. } | ValueType::Bytes { .. } | ValueType::Texts { .. }) | None);
    if !textual {
        section
            .problems()
            .add(delimiter.at.error("splits a value that is no text").allowed("type \"text\", \"bytes\" or \"texts\""));
        return None;
    }
    let Some(fields) = fields else {
        return Some(Split::Texts { delimiter: *byte });
    };
    let tags = known_tags(kind, section, fields.value);
    if tags.first().is_none_or(|first| first.value != tag) {
        let allowed = format!("a list that begins with \"{tag}\"");
        section.problems().add(fields.at.error("does not begin with the tag of its own section").allowed(allowed));
        return None;
    }
    let fields = tags.iter().map(|tag| SplitField::natural(tag.value)).collect();
    Some(Split::Fields { delimiter: *byte, fields })
}

fn or_default<T>(at: &Place, field: Option<Field<T>>, value: T) -> Field<T> {
    field.unwrap_or(Field { value, at: at.clone() })
}

impl KindMap {
    /// Every tag that this map carries, those inside delimited values included.
    pub(super) fn carried(&self) -> Vec<(Tag, &Place)> {
        let mut carried = Vec::new();
        for binding in &self.tags {
            match &binding.value.split {
                Some(Split::Fields { fields, .. }) => {
                    carried.extend(fields.iter().map(|field| (field.tag, &binding.at)));
                }
                Some(Split::Texts { .. }) | None => carried.push((binding.value.tag, &binding.at)),
            }
        }
        carried
    }
}
