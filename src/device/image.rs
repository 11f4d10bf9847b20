//! What the line was last told about one station, and what has to be read and told now. Pure bookkeeping: no I/O.
//!
//! Light tags are read every cycle. Heavy ones (the child list, the label read back, the ring of ends, rings on Modbus) change
//! only together with the guard counter, and are read again when that has moved against what was *sent*: an update that the inbox
//! had no room for is read and offered again.

use tokio::time::{Duration, Instant};

use crate::{
    device::{
        DeviceEvent, EventSink, codec,
        settings::{Binding, StationTags},
    },
    domain::tag::{Access, Quality, Reading, StationId, Tag, TagUpdate},
};

/// How soon heavy tags that could not be read well are read again although the guard stands still.
const HEAVY_AGAIN: Duration = Duration::from_millis(500);

/// Whether arrays are cheap to read with everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrays {
    Light,
    Heavy,
}

pub(super) struct Image {
    pub(super) station: StationId,
    /// The tags to read. Of those that only we write, our heartbeat alone is here: nobody else may write it.
    pub(super) bindings: Vec<Binding>,
    heavy: Vec<bool>,
    guard: Option<Tag>,
    /// The server's time of the newest value of the last read.
    pub(super) server_us: Option<i64>,
    sent: Vec<Reading>,
    heavy_bad_since: Option<Instant>,
}

impl Image {
    pub(super) fn new(tags: &StationTags, arrays: Arrays) -> Self {
        let bindings: Vec<Binding> = tags.bindings.iter().filter(|binding| is_read(binding.tag)).cloned().collect();
        let guard = Tag::guard(tags.kind);
        let guard = bindings.iter().any(|binding| codec::tags(binding).contains(&guard)).then_some(guard);
        // Without a guard on this device nothing says when a heavy tag changed, so it has to be read every time.
        let heavy = bindings.iter().map(|binding| guard.is_some() && is_heavy(binding, arrays, guard)).collect();
        Self { station: tags.station, bindings, heavy, guard, server_us: None, sent: Vec::new(), heavy_bad_since: None }
    }

    /// What the line was told.
    pub(super) fn told(&self) -> &[Reading] {
        &self.sent
    }

    /// The bindings of a light read, or of a full one.
    pub(super) fn to_read(&self, full: bool) -> impl Iterator<Item = usize> {
        self.heavy.iter().enumerate().filter(move |(_, heavy)| full || !**heavy).map(|(index, _)| index)
    }

    pub(super) fn has_heavy(&self) -> bool {
        self.heavy.contains(&true)
    }

    /// The bindings that prove a read coherent: epoch first, then guard.
    pub(super) fn proofs(&self) -> Vec<usize> {
        let place = |tag| self.bindings.iter().position(|binding| codec::tags(binding).contains(&tag));
        let mut proofs: Vec<usize> = [Some(Tag::Epoch), self.guard].into_iter().flatten().filter_map(place).collect();
        // One delimited value may carry both.
        proofs.dedup();
        proofs
    }

    /// Whether two reads of the proofs say the same.
    pub(super) fn coherent(&self, before: &[Reading], after: &[Reading]) -> bool {
        [Some(Tag::Epoch), self.guard].into_iter().flatten().all(|tag| same(find(before, tag), find(after, tag)))
    }

    /// Whether the heavy tags have to be read, going by the light ones.
    pub(super) fn heavy_due(&self, light: &[Reading], now: Instant) -> bool {
        let moved = [Some(Tag::Epoch), self.guard]
            .into_iter()
            .flatten()
            .any(|tag| !same(find(light, tag), find(&self.sent, tag)));
        let again = self.heavy_bad_since.is_some_and(|since| now.duration_since(since) >= HEAVY_AGAIN);
        self.has_heavy() && (moved || again || self.sent.is_empty())
    }

    /// Tells the line what changed. False where the inbox had no room: offer again.
    pub(super) fn offer(&mut self, readings: Vec<Reading>, full: bool, now: Instant, sink: &EventSink) -> bool {
        if full {
            let bad = readings.iter().any(|reading| self.is_heavy_tag(reading.tag) && reading.quality != Quality::Good);
            self.heavy_bad_since = bad.then_some(now);
        }
        // Our own heartbeat is no news by itself; it goes along with the device's.
        let mut told = readings.iter().filter(|reading| reading.tag != Tag::HeartbeatOut);
        let news = told.any(|reading| !same(Some(reading), find(&self.sent, reading.tag)));
        if !news {
            return true;
        }
        let update = DeviceEvent::Update(TagUpdate {
            station: self.station,
            readings: readings.clone(),
            server_us: self.server_us,
        });
        if !sink(update) {
            return false;
        }
        for reading in readings {
            match self.sent.iter_mut().find(|sent| sent.tag == reading.tag) {
                Some(sent) => *sent = reading,
                None => self.sent.push(reading),
            }
        }
        true
    }

    fn is_heavy_tag(&self, tag: Tag) -> bool {
        self.bindings.iter().zip(&self.heavy).any(|(binding, heavy)| *heavy && codec::tags(binding).contains(&tag))
    }
}

fn is_read(tag: Tag) -> bool {
    tag.access() == Access::Read || tag == Tag::HeartbeatOut
}

fn is_heavy(binding: &Binding, arrays: Arrays, guard: Option<Tag>) -> bool {
    let tags = codec::tags(binding);
    let proof = tags.iter().any(|tag| *tag == Tag::Epoch || Some(*tag) == guard);
    let by_nature = tags.iter().any(|tag| matches!(tag, Tag::Children | Tag::LabelRead | Tag::Ends));
    !proof && (by_nature || (arrays == Arrays::Heavy && binding.value.is_array()))
}

pub(super) fn find(readings: &[Reading], tag: Tag) -> Option<&Reading> {
    readings.iter().find(|reading| reading.tag == tag)
}

/// Equal in value and quality; the device's time stamp alone is no news.
pub(super) fn same(a: Option<&Reading>, b: Option<&Reading>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.value == b.value && a.quality == b.quality,
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::{
        device::settings::{Address, Field, Number, Pad, Split, ValueType},
        domain::tag::{StationKind, TagValue},
    };

    fn packer() -> Image {
        let tag = |tag, value| Binding::new(tag, Address::Register(0), value);
        let number = ValueType::Number(Number::U16);
        let tags = StationTags {
            station: StationId(1),
            kind: StationKind::Packer,
            bindings: vec![
                tag(Tag::Seq, number),
                tag(Tag::Request, number),
                tag(Tag::LabelRead, ValueType::Bytes { length: 4 }),
                tag(Tag::Ack, number),
            ],
        };
        Image::new(&tags, Arrays::Heavy)
    }

    fn reading(tag: Tag, value: i64) -> Reading {
        Reading { tag, value: TagValue::Int(value), quality: Quality::Good, source_us: None }
    }

    fn sink(room: bool) -> (EventSink, Arc<Mutex<Vec<DeviceEvent>>>) {
        let events = Arc::new(Mutex::new(Vec::new()));
        let kept = events.clone();
        let sink: EventSink = Arc::new(move |event| {
            kept.lock().unwrap().push(event);
            room
        });
        (sink, events)
    }

    #[test]
    fn reads_what_the_device_owns_and_the_heavy_ones_only_in_full() {
        let image = packer();
        assert_eq!(image.to_read(false).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(image.to_read(true).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(image.proofs(), [0]);
    }

    #[test]
    fn one_delimited_value_may_carry_epoch_and_guard() {
        let text = ValueType::Text { length: 40, pad: Pad::Zero };
        let mut result = Binding::new(Tag::Epoch, Address::Register(0), text);
        let fields = [Tag::Epoch, Tag::Seq, Tag::Code].map(Field::natural).into();
        result.split = Some(Split::Fields { delimiter: b';', fields });
        let tags = StationTags { station: StationId(1), kind: StationKind::Camera, bindings: vec![result] };
        assert_eq!(Image::new(&tags, Arrays::Heavy).proofs(), [0]);
    }

    #[test]
    fn sends_news_once_and_offers_again_what_found_no_room() {
        let mut image = packer();
        let light = vec![reading(Tag::Seq, 7), reading(Tag::Request, 1)];
        let now = Instant::now();
        let (full_inbox, _) = sink(false);
        assert!(image.heavy_due(&light, now));
        assert!(!image.offer(light.clone(), true, now, &full_inbox));
        assert!(image.heavy_due(&light, now), "nothing was taken");
        let (inbox, events) = sink(true);
        assert!(image.offer(light.clone(), true, now, &inbox));
        assert!(!image.heavy_due(&light, now));
        assert!(image.offer(light, false, now, &inbox));
        assert_eq!(events.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_new_guard_or_a_bad_heavy_reading_asks_for_the_heavy_tags() {
        let mut image = packer();
        let (inbox, _) = sink(true);
        let now = Instant::now();
        let mut label = reading(Tag::LabelRead, 0);
        label.quality = Quality::Bad(4);
        let light = vec![reading(Tag::Seq, 7), reading(Tag::Request, 1)];
        image.offer([light.clone(), vec![label]].concat(), true, now, &inbox);
        assert!(!image.heavy_due(&light, now));
        assert!(image.heavy_due(&light, now + HEAVY_AGAIN));
        let moved = vec![reading(Tag::Seq, 8), reading(Tag::Request, 1)];
        assert!(image.heavy_due(&moved, now));
    }
}
