//! One station on a text device: which commands its tags need, what their answers mean, and what a write sends.
//!
//! Pure bookkeeping beside the session: no I/O. A number is decimal digits and nothing else, and only for tags that count; an
//! identifier stays the bytes that came.

use super::{
    life::{self, Buffer, Life},
    parse::Kept,
};
use crate::{
    device::{
        codec::{self, RegisterOrder},
        dialect::{AnswerField, Command, Dialect},
        error::DeviceError,
        image::{Arrays, Image},
        settings::{Address, Binding, ByteOrder, StationTags, ValueType, WordOrder},
    },
    domain::tag::{Quality, Reading, StationKind, Tag, TagValue, TagWrite},
};

/// Only whether a number fits its type is asked, and no order changes that.
const ANY_ORDER: RegisterOrder = RegisterOrder { word: WordOrder::HighFirst, byte: ByteOrder::HighFirst };

/// One station: what was told, how its tags are asked for, and what is known of its buffer.
pub(super) struct Lane {
    pub(super) image: Image,
    pub(super) tags: StationTags,
    /// The commands whose answers carry its tags, the one with the guard first.
    pub(super) asks: Vec<Command>,
    /// A printer whose epoch is made here.
    pub(super) has_buffer: bool,
    pub(super) life: Option<Life>,
    /// The buffer as it was seen last: its counters never fall within a life.
    pub(super) seen: Buffer,
    pub(super) flush_done: u64,
}

/// What the device said in one group read.
pub(super) struct Answers(pub(super) Vec<(String, Kept)>);

impl Lane {
    pub(super) fn new(dialect: &Dialect, tags: &StationTags) -> Self {
        let image = Image::new(tags, Arrays::Light);
        let guard = Tag::guard(tags.kind);
        let mut asked: Vec<&str> = Vec::new();
        let by_guard = |binding: &&Binding| binding.tag != guard;
        let mut bindings: Vec<&Binding> = image.bindings.iter().collect();
        bindings.sort_by_key(by_guard);
        for binding in bindings {
            if let Address::Answer(place) = &binding.address
                && !asked.contains(&place.command.as_str())
            {
                asked.push(&place.command);
            }
        }
        let asks = asked.into_iter().filter_map(|name| dialect.command(name).cloned()).collect();
        let is_made = |binding: &Binding| binding.tag == Tag::Epoch && binding.address == Address::Made;
        Self {
            asks,
            has_buffer: tags.kind == StationKind::Printer && tags.bindings.iter().any(is_made),
            image,
            tags: tags.clone(),
            life: None,
            seen: Buffer::default(),
            flush_done: 0,
        }
    }

    /// The device's own numbers.
    pub(super) fn buffer(&self, answers: &Answers) -> Option<Buffer> {
        let number = |tag| self.number(tag, answers);
        let printed = number(Tag::PrintedSeq)?;
        let is_mapped = |tag| self.tags.bindings.iter().any(|binding| binding.tag == tag);
        let accepted = if is_mapped(Tag::AcceptedSeq) { number(Tag::AcceptedSeq)? } else { printed };
        let remaining = if is_mapped(Tag::Remaining) { Some(number(Tag::Remaining)?) } else { None };
        Some(Buffer { printed, accepted, remaining })
    }

    fn number(&self, tag: Tag, answers: &Answers) -> Option<u64> {
        let binding = self.tags.bindings.iter().find(|binding| binding.tag == tag)?;
        let Address::Answer(place) = &binding.address else { return None };
        std::str::from_utf8(answers.get(place)?).ok().and_then(life::number)
    }

    /// A buffer whose counters fell, or that does not hold what it should, is another one: the session is made anew.
    pub(super) fn check(&mut self, answers: &Answers) -> Result<(), DeviceError> {
        let (Some(life), true) = (self.life, self.has_buffer) else { return Ok(()) };
        let Some(buffer) = self.buffer(answers) else { return Ok(()) };
        let fell = life.printed(buffer) < life.printed(self.seen) || life.accepted(buffer) < life.accepted(self.seen);
        if fell || (buffer.remaining.is_some() && !life.agrees(buffer)) {
            return Err(DeviceError::Protocol("its buffer is not the one that was filled".to_owned()));
        }
        self.seen = buffer;
        Ok(())
    }

    pub(super) fn readings(&self, answers: &Answers) -> Vec<Reading> {
        self.image.bindings.iter().flat_map(|binding| self.reading(binding, answers)).collect()
    }

    fn reading(&self, binding: &Binding, answers: &Answers) -> Vec<Reading> {
        let made = |value: u64| i64::try_from(value).ok().map(TagValue::Int);
        let value = match &binding.address {
            Address::Made if binding.tag == Tag::Epoch => self.life.and_then(|life| made(u64::from(life.epoch))),
            Address::Made => made(self.flush_done),
            Address::Answer(place) => match (self.life, answers.get(place)) {
                (Some(life), Some(_)) if is_record_number(binding.tag) => {
                    self.record_number(life, binding.tag, answers).and_then(made)
                }
                (_, Some(bytes)) => decode(binding, bytes),
                (_, None) => None,
            },
            Address::Node(_)
            | Address::Register(_)
            | Address::Input(_)
            | Address::Coil(_)
            | Address::Discrete(_)
            | Address::Command { .. } => None,
        };
        let found = || match &binding.address {
            Address::Answer(place) => answers.get(place).map_or_else(Vec::new, |bytes| bytes.to_vec()),
            Address::Made
            | Address::Node(_)
            | Address::Register(_)
            | Address::Input(_)
            | Address::Coil(_)
            | Address::Discrete(_)
            | Address::Command { .. } => Vec::new(),
        };
        codec::readings(binding, value.ok_or_else(found), Quality::Good, None)
    }

    /// The device's number as one of ours.
    fn record_number(&self, life: Life, tag: Tag, answers: &Answers) -> Option<u64> {
        if tag == Tag::PrintedSeq {
            return self.buffer(answers).map(|buffer| life.printed(buffer));
        }
        if tag == Tag::AcceptedSeq {
            return self.buffer(answers).map(|buffer| life.accepted(buffer));
        }
        self.number(tag, answers).map(|number| life.own_number(number))
    }

    /// The command that a tag names.
    pub(super) fn command_of(&self, tag: Tag) -> Option<&String> {
        self.tags.bindings.iter().find(|binding| binding.tag == tag).and_then(|binding| match &binding.address {
            Address::Command { command, .. } => Some(command),
            Address::Node(_)
            | Address::Register(_)
            | Address::Input(_)
            | Address::Coil(_)
            | Address::Discrete(_)
            | Address::Answer(_)
            | Address::Made => None,
        })
    }

    /// The commands of a write, each with the last tag that names it: those of which every tag is written. An empty text is no
    /// record and no label.
    pub(super) fn commands(&self, write: &TagWrite) -> Vec<(String, Tag)> {
        let mut commands: Vec<(String, Tag)> = Vec::new();
        for (tag, _) in &write.values {
            let Some(name) = self.command_of(*tag) else { continue };
            let mut named = self.tags.bindings.iter().filter(|binding| self.command_of(binding.tag) == Some(name));
            let is_whole =
                named.all(|binding| write.values.iter().any(|(tag, value)| *tag == binding.tag && is_said(value)));
            commands.retain(|(other, _)| other != name);
            if is_whole {
                commands.push((name.clone(), *tag));
            }
        }
        commands
    }

    /// The values as the device numbers and takes them; `None` where one does not fit.
    pub(super) fn values(&self, write: &TagWrite) -> Option<Vec<(Tag, TagValue)>> {
        let mut values = Vec::new();
        for (tag, value) in &write.values {
            let Some(binding) = self.tags.bindings.iter().find(|binding| binding.tag == *tag) else { continue };
            let value = match (self.life, value) {
                (Some(life), TagValue::Int(seq)) if is_record_number(*tag) => {
                    let number = life.device_number(u64::try_from(*seq).ok()?)?;
                    TagValue::Int(i64::try_from(number).ok()?)
                }
                (_, value) => value.clone(),
            };
            if !fits(binding.value, &value) {
                return None;
            }
            values.push((*tag, value));
        }
        Some(values)
    }

    /// Where the device tells whether it took this value, and the value.
    pub(super) fn taken(&self, tag: Tag, values: &[(Tag, TagValue)]) -> Option<(AnswerField, Vec<u8>)> {
        let binding = self.tags.bindings.iter().find(|binding| binding.tag == tag)?;
        let Address::Command { taken: Some(place), .. } = &binding.address else { return None };
        match values.iter().find(|(named, _)| *named == tag)? {
            (_, TagValue::Bytes(bytes)) => Some((place.clone(), bytes.clone())),
            (_, TagValue::Int(number)) => Some((place.clone(), number.to_string().into_bytes())),
            (
                _,
                TagValue::Bool(_) | TagValue::Milli(_) | TagValue::Ints(_) | TagValue::Millis(_) | TagValue::Texts(_),
            ) => None,
        }
    }
}

impl Answers {
    fn get(&self, place: &AnswerField) -> Option<&[u8]> {
        let (_, kept) = self.0.iter().find(|(command, _)| *command == place.command)?;
        kept.iter().find(|(name, _)| *name == place.field).map(|(_, value)| value.as_slice())
    }
}

/// The tags that count records, from 1 in every epoch.
fn is_record_number(tag: Tag) -> bool {
    matches!(tag, Tag::PrintedSeq | Tag::AcceptedSeq | Tag::NextSeq | Tag::DataSeq)
}

fn is_said(value: &TagValue) -> bool {
    !matches!(value, TagValue::Bytes(bytes) if bytes.is_empty())
}

/// A field as the value of its tag: decimal digits for a number, a decimal for what is scaled, else bytes.
pub fn decode(binding: &Binding, bytes: &[u8]) -> Option<TagValue> {
    let text = std::str::from_utf8(bytes).ok();
    match binding.value {
        ValueType::Bool => match bytes {
            b"0" => Some(TagValue::Bool(false)),
            b"1" => Some(TagValue::Bool(true)),
            _ => None,
        },
        ValueType::Number(_) => {
            let number = text.and_then(life::number).and_then(|number| i64::try_from(number).ok())?;
            let value = TagValue::Int(number);
            fits(binding.value, &value).then_some(value)
        }
        ValueType::Text { length, .. } | ValueType::Bytes { length } => {
            (bytes.len() <= usize::from(length)).then(|| TagValue::Bytes(bytes.to_vec()))
        }
        ValueType::Ints { .. } | ValueType::Millis { .. } | ValueType::Texts { .. } => None,
    }
}

/// Whether a value can be carried by the type that the map states.
fn fits(carrier: ValueType, value: &TagValue) -> bool {
    match (carrier, value) {
        (ValueType::Number(_), TagValue::Int(_)) => codec::encode_registers(carrier, None, ANY_ORDER, value).is_ok(),
        (ValueType::Bool, TagValue::Bool(_) | TagValue::Int(0..=1)) => true,
        (ValueType::Text { length, .. } | ValueType::Bytes { length }, TagValue::Bytes(bytes)) => {
            bytes.len() <= usize::from(length)
        }
        (
            ValueType::Bool
            | ValueType::Number(_)
            | ValueType::Text { .. }
            | ValueType::Bytes { .. }
            | ValueType::Ints { .. }
            | ValueType::Millis { .. }
            | ValueType::Texts { .. },
            _,
        ) => false,
    }
}
