//! The simulated plant behind the tag maps of a configuration: every value at the address, in the type and with the numbers that a
//! map says, so that a line can be tried with exactly the file that it will run with.
//!
//! What a map cannot change is the machine: its counters wrap where the plant's do (`warnings` names maps that say otherwise), and its
//! cases and pallets hold what the order says. A station that a map leaves out, or whose heartbeat and epoch the line does not write,
//! is answered for by `stand_in`, or the plant would never move.

pub mod modbus;
pub mod opcua;

use std::sync::Arc;
use std::time::Duration;

use super::settings::{CHILD_SLOTS, PlantSettings};
use super::tags::{Shape, StationValue, TagImage, Tags};
use crate::config::Config;
use crate::device::{Binding, Field, Settings, Split, ValueType};
use crate::domain::tag::{Access, Quality, StationKind, Tag, TagValue};
use crate::station::Renumbered;

/// One tag of one station at its place on a device.
#[derive(Clone, Debug)]
pub struct Mapped {
    pub kind: StationKind,
    pub binding: Binding,
    renumbered: Vec<Renumbered>,
}

/// Tracks of the plant's rejector and camera.
const TRACK_LAST: u64 = 32_767;

/// The tags that lie on one device.
pub fn of_device(config: &Config, device: &Settings) -> Vec<Mapped> {
    let of_station = |tags: &crate::device::StationTags| {
        let station = config.stations.get(usize::from(tags.station.0));
        let renumbered = station.map(|station| station.settings.renumbered.clone()).unwrap_or_default();
        let kind = tags.kind;
        let mapped = move |binding: &Binding| Mapped { kind, binding: binding.clone(), renumbered: renumbered.clone() };
        tags.bindings.iter().map(mapped).collect::<Vec<_>>()
    };
    device.stations.iter().flat_map(of_station).collect()
}

/// A plant that fits the maps: rings as long as they say.
pub fn plant(config: &Config, plain: PlantSettings) -> PlantSettings {
    let mut plant = plain;
    for station in &config.stations {
        let settings = &station.settings;
        plant.heartbeat_timeout_ms = plant.heartbeat_timeout_ms.min(u64::from(settings.heartbeat_timeout_ms));
        if settings.kind == StationKind::Camera {
            plant.ring = usize::from(settings.ring);
            let last = settings.wraps.iter().find(|(tag, _)| *tag == Tag::Seq).map(|(_, last)| *last);
            let last = last.unwrap_or(u64::from(u32::MAX));
            let ring = u64::from(settings.ring).max(1);
            plant.seq_last = last - last % ring;
        }
        if settings.kind == StationKind::Rejector {
            plant.ends_ring = usize::from(settings.ends_ring);
        }
    }
    plant.bounded()
}

/// Children that the lists of the maps hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub case: usize,
    pub pallet: usize,
}

/// Where no map has such a list: what the plant's own holds.
pub fn room(config: &Config) -> Room {
    let mut room = Room { case: CHILD_SLOTS, pallet: CHILD_SLOTS };
    for mapped in config.devices.iter().flat_map(|device| of_device(config, device)) {
        let (Tag::Children, ValueType::Texts { count, .. }) = (mapped.binding.tag, mapped.binding.value) else {
            continue;
        };
        let of = if mapped.kind == StationKind::Palletizer { &mut room.pallet } else { &mut room.case };
        *of = usize::from(count).min(*of);
    }
    room
}

/// What a person should know before he trusts a dry run.
pub fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    for station in &config.stations {
        let settings = &station.settings;
        let in_count = settings.wraps.iter().find(|(tag, _)| matches!(tag, Tag::InCount | Tag::Track));
        let counts_tracks = matches!(settings.kind, StationKind::Rejector | StationKind::Camera);
        if counts_tracks && in_count.is_none_or(|(_, last)| *last != TRACK_LAST) {
            let name = &settings.name;
            warnings
                .push(format!("{name}: the simulated tracks wrap at {TRACK_LAST}; a dry run ends there, with a doubt"));
        }
    }
    for kind in StationKind::ALL {
        if !config.stations.iter().any(|station| station.settings.kind == *kind) {
            warnings.push(format!("there is no {}: nothing of it is tried", kind.name()));
        }
    }
    warnings
}

/// Answers heartbeat and epoch for the stations to which the line does not write them; for ever.
pub async fn stand_in(config: &Config, image: &TagImage) {
    let writes = |kind: StationKind, tag: Tag| {
        let mut all = config.devices.iter().flat_map(|device| of_device(config, device));
        all.any(|mapped| mapped.kind == kind && mapped.binding.tag == tag)
    };
    let lacks = |tag: Tag| StationKind::ALL.iter().copied().filter(|kind| !writes(*kind, tag)).collect::<Vec<_>>();
    let (beats, epochs) = (lacks(Tag::HeartbeatOut), lacks(Tag::EpochOut));
    let mut beat: i64 = 0;
    let mut interval = tokio::time::interval(Duration::from_millis(100));
    loop {
        interval.tick().await;
        beat = beat % 60_000 + 1;
        let epoch = |kind: StationKind| image.read(|tags| tags.int(kind, Tag::Epoch));
        let mut values: Vec<StationValue> =
            beats.iter().map(|kind| (*kind, Tag::HeartbeatOut, TagValue::Int(beat))).collect();
        values.extend(epochs.iter().map(|kind| (*kind, Tag::EpochOut, TagValue::Int(epoch(*kind)))));
        // These tags exist on every station and take any number of their range.
        let written = image.write(values);
        debug_assert!(written.is_ok(), "{written:?}");
    }
}

impl Mapped {
    /// The tags that this place carries.
    pub fn tags(&self) -> Vec<Tag> {
        match &self.binding.split {
            Some(Split::Fields { fields, .. }) => fields.iter().map(|field| field.tag).collect(),
            Some(Split::Texts { .. }) | None => vec![self.binding.tag],
        }
    }

    pub fn is_written(&self) -> bool {
        self.binding.tag.access() == Access::Write
    }

    /// The worst quality of what is carried.
    pub fn quality(&self, tags: &Tags) -> Quality {
        let all = self.tags().into_iter().map(|tag| tags.quality(self.kind, tag));
        all.fold(Quality::Good, |worst, quality| if worst == Quality::Good { quality } else { worst })
    }

    /// What the device shows, before it is encoded; `None` where the plant has no such tag.
    pub fn shown(&self, tags: &Tags) -> Option<TagValue> {
        match &self.binding.split {
            None => Some(self.fitted(self.value(tags, self.binding.tag)?)),
            Some(Split::Texts { delimiter }) => {
                let TagValue::Texts(texts) = self.value(tags, self.binding.tag)? else { return None };
                let texts: Vec<Vec<u8>> = texts.into_iter().filter(|text| !text.is_empty()).collect();
                Some(TagValue::Bytes(texts.join(delimiter)))
            }
            Some(Split::Fields { delimiter, fields }) => self.joined(tags, *delimiter, fields),
        }
    }

    fn joined(&self, tags: &Tags, delimiter: u8, fields: &[Field]) -> Option<TagValue> {
        let values: Vec<TagValue> = fields.iter().map(|field| self.value(tags, field.tag)).collect::<Option<_>>()?;
        let join = |slot: usize| {
            let parts: Vec<Vec<u8>> = values.iter().map(|value| element(value, slot)).collect();
            parts.join(&delimiter)
        };
        Some(match self.binding.value {
            ValueType::Texts { count, .. } => TagValue::Texts((0..usize::from(count)).map(join).collect()),
            ValueType::Bool
            | ValueType::Number(_)
            | ValueType::Text { .. }
            | ValueType::Bytes { .. }
            | ValueType::Ints { .. }
            | ValueType::Millis { .. } => TagValue::Bytes(join(0)),
        })
    }

    /// A tag of the plant with the numbers of the device.
    fn value(&self, tags: &Tags, tag: Tag) -> Option<TagValue> {
        let value = tags.value(self.kind, tag)?.clone();
        Some(match value {
            TagValue::Int(epoch) if matches!(tag, Tag::Epoch | Tag::EpochOut) => TagValue::Int(self.narrow(epoch)),
            TagValue::Int(number) => TagValue::Int(self.of_device(tag, number)),
            TagValue::Ints(mut numbers) if tag == Tag::Ends => {
                // Track and end in turn.
                numbers.iter_mut().skip(1).step_by(2).for_each(|end| *end = self.of_device(tag, *end));
                TagValue::Ints(numbers)
            }
            TagValue::Bool(_)
            | TagValue::Ints(_)
            | TagValue::Milli(_)
            | TagValue::Bytes(_)
            | TagValue::Millis(_)
            | TagValue::Texts(_) => value,
        })
    }

    fn of_device(&self, tag: Tag, number: i64) -> i64 {
        let found = self.renumbered.iter().find(|entry| entry.tag == tag && entry.contract == number);
        found.map_or(number, |entry| entry.device)
    }

    /// An epoch that fits a device of 16 bits.
    fn narrow(&self, epoch: i64) -> i64 {
        let is_wide = !matches!(self.binding.value, ValueType::Number(number) if number.registers() == 1);
        if is_wide || epoch <= 0 { epoch } else { (epoch - 1) % 32_767 + 1 }
    }

    /// Lists as long as the map says, flags as numbers where it says so.
    fn fitted(&self, value: TagValue) -> TagValue {
        match (self.binding.value, value) {
            (ValueType::Number(_), TagValue::Bool(flag)) => TagValue::Int(i64::from(flag)),
            (ValueType::Ints { count, .. }, TagValue::Ints(mut values)) => {
                values.resize(usize::from(count), 0);
                TagValue::Ints(values)
            }
            (ValueType::Millis { count, .. }, TagValue::Millis(mut values)) => {
                values.resize(usize::from(count), 0);
                TagValue::Millis(values)
            }
            (ValueType::Texts { count, .. }, TagValue::Texts(mut texts)) => {
                texts.resize(usize::from(count), Vec::new());
                TagValue::Texts(texts)
            }
            (_, value) => value,
        }
    }

    /// What the line wrote, as the plant has it; `None` where its type does not fit the tag.
    pub fn taken(&self, tags: &Tags, written: TagValue) -> Option<StationValue> {
        let tag = self.binding.tag;
        let shape = tags.shape(self.kind, tag)?;
        let value = match (shape, written) {
            (Shape::Bool, TagValue::Int(number)) => TagValue::Bool(number != 0),
            (Shape::Text(_), TagValue::Bytes(bytes)) => {
                let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                TagValue::Bytes(bytes.into_iter().take(end).collect())
            }
            (Shape::U16, TagValue::Int(beat)) if tag == Tag::HeartbeatOut => TagValue::Int(beat & 0xFFFF),
            (_, TagValue::Int(epoch)) if tag == Tag::EpochOut => {
                let own = tags.int(self.kind, Tag::Epoch);
                TagValue::Int(if epoch == self.narrow(own) { own } else { epoch })
            }
            (_, TagValue::Int(number)) => {
                let found = self.renumbered.iter().find(|entry| entry.tag == tag && entry.device == number);
                TagValue::Int(found.map_or(number, |entry| entry.contract))
            }
            (_, value) => value,
        };
        Some((self.kind, tag, value))
    }
}

/// One element of a list, or a single value, as text.
fn element(value: &TagValue, slot: usize) -> Vec<u8> {
    let milli = |milli: i64| format!("{}.{:03}", milli / 1000, milli.rem_euclid(1000)).into_bytes();
    match value {
        TagValue::Bool(flag) => i64::from(*flag).to_string().into_bytes(),
        TagValue::Int(number) => number.to_string().into_bytes(),
        TagValue::Milli(value) => milli(*value),
        TagValue::Bytes(bytes) => bytes.clone(),
        TagValue::Ints(numbers) => numbers.get(slot).map(|number| number.to_string().into_bytes()).unwrap_or_default(),
        TagValue::Millis(values) => values.get(slot).map(|value| milli(*value)).unwrap_or_default(),
        TagValue::Texts(texts) => texts.get(slot).cloned().unwrap_or_default(),
    }
}

/// The tag memory and what of it lies on one peer.
#[derive(Clone)]
pub struct Face {
    pub image: Arc<TagImage>,
    pub tags: Arc<Vec<Mapped>>,
}
