//! The tags of one station as last read, with the quality they came with and the guard value they were read under.
//!
//! A device sends the large tags (children, rings) only when the guard counter moved, and nothing again that did not change;
//! the image keeps them, so that a station that joins late still sees what stands at the device. Whoever needs a value to
//! belong to the present number asks `is_current` first.

use std::collections::BTreeMap;

use crate::domain::quality::TagFlaw;
use crate::domain::tag::{Quality, Reading, Tag, TagValue};
use crate::engine::input::LostCause;
use crate::station::counter::Counter;
use crate::station::flaw;

/// Why a station cannot be understood just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// A tag that is needed was not read, is not good or has the wrong type.
    NotGood(TagFlaw),
    /// A counter fell although the epoch is the same.
    Fell(TagFlaw),
}

impl Doubt {
    pub fn not_good(tag: Tag, what: &str) -> Self {
        Doubt::NotGood(TagFlaw::new(tag, what))
    }
}

impl From<Doubt> for LostCause {
    fn from(doubt: Doubt) -> Self {
        let (Doubt::NotGood(flaw) | Doubt::Fell(flaw)) = doubt;
        LostCause::Quality(Some(flaw))
    }
}

#[derive(Clone, Debug)]
struct Held {
    value: TagValue,
    quality: Quality,
    /// The guard counter in the same coherent read.
    guard: Option<u64>,
    /// How often the tag was read.
    readings: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Image {
    held: BTreeMap<Tag, Held>,
    guard: Option<u64>,
}

impl Image {
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes one coherent read. Values without a good guard beside them belong to no number.
    pub fn take(&mut self, guard: Tag, readings: &[Reading]) {
        let guard = match readings.iter().find(|reading| reading.tag == guard) {
            Some(reading) => Some(reading)
                .filter(|reading| reading.quality == Quality::Good)
                .and_then(|reading| unsigned(&reading.value)),
            // Another device of the same station: its values belong to the number seen last.
            None => self.guard,
        };
        self.guard = guard.or(self.guard);
        for reading in readings {
            match self.held.get_mut(&reading.tag) {
                Some(held) => {
                    held.quality = reading.quality;
                    held.guard = guard;
                    held.readings = held.readings.wrapping_add(1);
                    if held.value != reading.value {
                        held.value.clone_from(&reading.value);
                    }
                }
                None => {
                    let Reading { value, quality, .. } = reading;
                    let held = Held { value: value.clone(), quality: *quality, guard, readings: 1 };
                    self.held.insert(reading.tag, held);
                }
            }
        }
    }

    pub fn has(&self, tag: Tag) -> bool {
        self.held.contains_key(&tag)
    }

    /// How often the tag was read since the session began; 0 where it was not.
    pub fn readings(&self, tag: Tag) -> u64 {
        self.held.get(&tag).map_or(0, |held| held.readings)
    }

    /// Whether the tag was read under the guard value that stands now.
    pub fn is_current(&self, tag: Tag) -> bool {
        self.guard.is_some() && self.held.get(&tag).is_some_and(|held| held.guard == self.guard)
    }

    /// The value where it is good.
    pub fn good(&self, tag: Tag) -> Option<&TagValue> {
        self.held.get(&tag).filter(|held| held.quality == Quality::Good).map(|held| &held.value)
    }

    /// A good whole number; a flag counts as 0 or 1.
    pub fn int(&self, tag: Tag) -> Option<i64> {
        self.good(tag).and_then(signed)
    }

    /// A good whole number that is not negative.
    pub fn number(&self, tag: Tag) -> Option<u64> {
        self.int(tag).and_then(|value| u64::try_from(value).ok())
    }

    /// A whole number without which the station cannot be understood.
    pub fn needed(&self, tag: Tag) -> Result<i64, Doubt> {
        signed(self.sound(tag)?).ok_or_else(|| Doubt::not_good(tag, "is no single number"))
    }

    /// An array of whole numbers without which the station cannot be understood.
    pub fn needed_ints(&self, tag: Tag) -> Result<&[i64], Doubt> {
        self.sound(tag)?;
        self.ints(tag).ok_or_else(|| Doubt::not_good(tag, "is no list of numbers"))
    }

    fn sound(&self, tag: Tag) -> Result<&TagValue, Doubt> {
        let held = self.held.get(&tag).ok_or_else(|| Doubt::not_good(tag, "was not read"))?;
        match flaw::of(tag, &held.value, held.quality) {
            Some(flaw) => Err(Doubt::NotGood(flaw)),
            None => Ok(&held.value),
        }
    }

    /// A count without which the station cannot be understood, unwrapped.
    pub fn count(&self, tag: Tag, counter: &Counter) -> Result<u64, Doubt> {
        let shown = self.needed(tag)?;
        let raw = u64::try_from(shown).map_err(|_| Doubt::not_good(tag, &format!("{shown} is negative")))?;
        Self::follow(tag, counter, raw)
    }

    /// The count that a counter stands at, where it is good.
    pub fn optional_count(&self, tag: Tag, counter: &Counter) -> Result<Option<u64>, Doubt> {
        self.number(tag).map(|raw| Self::follow(tag, counter, raw)).transpose()
    }

    fn follow(tag: Tag, counter: &Counter, raw: u64) -> Result<u64, Doubt> {
        let fell =
            || Doubt::Fell(TagFlaw::new(tag, &format!("{raw}, it fell or is beyond its wrap in the same epoch")));
        counter.read(raw).ok_or_else(fell)
    }

    /// Good bytes.
    pub fn bytes(&self, tag: Tag) -> Option<&[u8]> {
        match self.good(tag)? {
            TagValue::Bytes(bytes) => Some(bytes),
            TagValue::Bool(_)
            | TagValue::Int(_)
            | TagValue::Milli(_)
            | TagValue::Ints(_)
            | TagValue::Millis(_)
            | TagValue::Texts(_) => None,
        }
    }

    /// A good array of whole numbers.
    pub fn ints(&self, tag: Tag) -> Option<&[i64]> {
        match self.good(tag)? {
            TagValue::Ints(ints) => Some(ints),
            TagValue::Bool(_)
            | TagValue::Int(_)
            | TagValue::Milli(_)
            | TagValue::Bytes(_)
            | TagValue::Millis(_)
            | TagValue::Texts(_) => None,
        }
    }

    /// A good array of texts.
    pub fn texts(&self, tag: Tag) -> Option<&[Vec<u8>]> {
        match self.good(tag)? {
            TagValue::Texts(texts) => Some(texts),
            TagValue::Bool(_)
            | TagValue::Int(_)
            | TagValue::Milli(_)
            | TagValue::Bytes(_)
            | TagValue::Ints(_)
            | TagValue::Millis(_) => None,
        }
    }
}

fn signed(value: &TagValue) -> Option<i64> {
    match value {
        TagValue::Int(value) => Some(*value),
        TagValue::Bool(value) => Some(i64::from(*value)),
        TagValue::Milli(_) | TagValue::Bytes(_) | TagValue::Ints(_) | TagValue::Millis(_) | TagValue::Texts(_) => None,
    }
}

fn unsigned(value: &TagValue) -> Option<u64> {
    signed(value).and_then(|value| u64::try_from(value).ok())
}
