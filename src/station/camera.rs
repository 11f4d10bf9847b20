//! The camera's handshake: results numbered by `seq`, one shown at a time or several in a ring, dropped by the device once
//! `ack` says that they are recorded.
//!
//! The same number with the same bytes is a repeat and says nothing new; with other bytes it is `Read::Changed`, once. Numbers
//! that can no longer be read are `ResultsMissed`, told before the results that follow them. In a ring that has overrun, the
//! newest results were dropped and their slots still hold older ones: a slot that shows what it showed a lap ago is missed.

use std::collections::VecDeque;

use crate::domain::tag::{Tag, TagValue};
use crate::engine::input::{CameraResult, Observed, Read};
use crate::engine::output::Permit;
use crate::station::counter::{Counter, nearest};
use crate::station::image::{Doubt, Image};
use crate::station::{Base, Cursor, Level, Output, Scan, Settings, int, observe_fault};

const GRADE_MAX_MILLI: i64 = 4000;

#[derive(Clone, Debug)]
pub(in crate::station) struct Camera {
    /// Slots of the ring; 0 where one result is shown at a time.
    ring: u64,
    seq: Counter,
    track_wrap: Option<u64>,
    /// Where wrapping tracks are looked for.
    track_anchor: u64,
    /// The highest number that this device was told to drop, where that is known.
    acked: Option<u64>,
    /// What was told of the numbers that may still be shown, oldest first; never more than the ring holds.
    told: VecDeque<Told>,
    fault: Level<i64>,
}

#[derive(Clone, Debug)]
struct Told {
    seq: u64,
    track: Option<u64>,
    content: Content,
    is_changed: bool,
}

/// One result as the device shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    /// `None` where it is not good.
    code: Option<Vec<u8>>,
    raw_track: Option<u64>,
    grade_milli: Option<i64>,
}

impl Camera {
    pub(in crate::station) fn new(settings: &Settings, cursor: &Cursor) -> Self {
        Self {
            ring: u64::from(settings.ring),
            seq: Counter::new(settings.wrap(Tag::Seq), Some(cursor.last_seq)),
            track_wrap: settings.wrap(Tag::Track),
            track_anchor: cursor.last_track,
            acked: None,
            told: VecDeque::new(),
            fault: Level::default(),
        }
    }

    pub(in crate::station) fn reset(&mut self, base: Base) {
        self.seq.restart(base.last());
        self.acked = base.last();
        self.told.clear();
    }

    pub(in crate::station) fn forget_levels(&mut self) {
        self.fault = Level::default();
    }

    pub(in crate::station) fn align_tracks(&mut self, in_count: u64) {
        self.track_anchor = in_count;
    }

    pub(in crate::station) fn permit(&mut self, permit: &Permit, mut output: Output<'_>) {
        match permit {
            Permit::AckResult { seq, .. } => {
                self.acked = self.acked.max(Some(*seq));
                output.write(vec![(Tag::Ack, int(self.seq.shown(*seq)))]);
            }
            Permit::Pass { .. }
            | Permit::Run { .. }
            | Permit::Print { .. }
            | Permit::Flush { .. }
            | Permit::AckRequest { .. }
            | Permit::Close(_)
            | Permit::Settle { .. } => {}
        }
    }

    pub(in crate::station) fn scan(&mut self, mut scan: Scan<'_>) -> Result<(), Doubt> {
        let seq = self.seq.read(scan.image.counter(Tag::Seq)?).ok_or(Doubt::Fell)?;
        observe_fault(&mut self.fault, &mut scan);
        // The arrays of a ring may follow their number in a later read; until then nothing new can be said.
        if seq == 0 || !scan.image.is_current(Tag::Code) {
            return Ok(());
        }
        let last = self.seq.last().unwrap_or(seq.saturating_sub(self.width()));
        let is_overrun = self.ring > 0 && scan.image.int(Tag::Overrun).is_some_and(|flag| flag != 0);
        if !is_overrun {
            self.tell_changed(seq, &mut scan);
        }
        if seq > last {
            self.tell_new(last, seq, is_overrun, &mut scan);
        }
        self.seq.accept(seq);
        Ok(())
    }

    fn width(&self) -> u64 {
        self.ring.max(1)
    }

    /// Numbers told before that now show other bytes.
    fn tell_changed(&mut self, seq: u64, scan: &mut Scan<'_>) {
        let oldest = seq.saturating_sub(self.width()).saturating_add(1);
        let (ring, counter) = (self.ring, &self.seq);
        for told in self.told.iter_mut().filter(|told| told.seq >= oldest && !told.is_changed) {
            let content = Content::read(scan, slot(ring, counter, told.seq), ring);
            let is_comparable = content.code.is_some() && told.content.code.is_some();
            if is_comparable && content != told.content {
                told.is_changed = true;
                scan.out.push(Observed::Result(CameraResult {
                    seq: told.seq,
                    track: told.track,
                    read: Read::Changed,
                    grade_milli: None,
                }));
            }
        }
    }

    /// The numbers after `last` up to `seq`: results where they can be read, gaps where they cannot.
    fn tell_new(&mut self, last: u64, seq: u64, is_overrun: bool, scan: &mut Scan<'_>) {
        let next = last.saturating_add(1);
        let (from, to) = if is_overrun {
            // The ring holds what follows the last acknowledgement; where that is not known, nothing is sure to be held.
            let held = self.acked.map_or(last, |acked| acked.saturating_add(self.ring));
            (next, seq.min(held))
        } else {
            (next.max(seq.saturating_sub(self.width()).saturating_add(1)), seq)
        };
        tell_missed(next, from.saturating_sub(1), scan.out);
        for number in from..=to {
            let content = Content::read(scan, slot(self.ring, &self.seq, number), self.ring);
            if self.is_left_over(number, &content) {
                tell_missed(number, number, scan.out);
            } else {
                self.tell_result(number, content, scan.out);
            }
        }
        tell_missed(to.max(last).saturating_add(1), seq, scan.out);
    }

    /// Whether the slot still shows the result of a lap ago: a track is inspected once, so the same track says so.
    fn is_left_over(&self, number: u64, content: &Content) -> bool {
        let before = number.checked_sub(self.ring).filter(|_| self.ring > 0);
        self.told.iter().any(|told| Some(told.seq) == before && content.raw_track.is_some() && told.content == *content)
    }

    fn tell_result(&mut self, seq: u64, content: Content, out: &mut Vec<Observed>) {
        let track = content.raw_track.and_then(|raw| nearest(self.track_wrap, self.track_anchor, raw));
        self.track_anchor = self.track_anchor.max(track.unwrap_or(0));
        let read = match &content.code {
            None => Read::NotGood,
            Some(code) if code.is_empty() => Read::NoRead,
            Some(code) => Read::Code(code.clone()),
        };
        out.push(Observed::Result(CameraResult { seq, track, read, grade_milli: content.grade_milli }));
        let width = usize::try_from(self.width()).unwrap_or(usize::MAX);
        while self.told.len() >= width {
            self.told.pop_front();
        }
        self.told.push_back(Told { seq, track, content, is_changed: false });
    }
}

fn tell_missed(from: u64, to: u64, out: &mut Vec<Observed>) {
    if from > to {
        return;
    }
    if let Some(Observed::ResultsMissed { to: end, .. }) = out.last_mut()
        && end.saturating_add(1) == from
    {
        *end = to;
        return;
    }
    out.push(Observed::ResultsMissed { from, to });
}

/// The place of a number in the ring: `None` without one.
fn slot(ring: u64, counter: &Counter, number: u64) -> Option<usize> {
    counter.shown(number).checked_rem(ring).and_then(|index| usize::try_from(index).ok())
}

impl Content {
    fn read(scan: &Scan<'_>, slot: Option<usize>, ring: u64) -> Content {
        let image = scan.image;
        let element = |tag| current(image, tag).and_then(|value| Element::of(value, slot, ring));
        Content {
            code: element(Tag::Code).and_then(Element::bytes),
            raw_track: element(Tag::Track).and_then(Element::count),
            grade_milli: element(Tag::Grade).and_then(Element::grade),
        }
    }
}

/// The good value that belongs to the present number.
fn current(image: &Image, tag: Tag) -> Option<&TagValue> {
    image.good(tag).filter(|_| image.is_current(tag))
}

/// One scalar of a result, taken from a plain tag or from its slot of a ring.
enum Element<'a> {
    Int(i64),
    Milli(i64),
    Bytes(&'a [u8]),
}

impl<'a> Element<'a> {
    fn of(value: &'a TagValue, slot: Option<usize>, ring: u64) -> Option<Self> {
        let is_whole = |length: usize| u64::try_from(length) == Ok(ring);
        match (value, slot) {
            (TagValue::Int(value), None) => Some(Element::Int(*value)),
            (TagValue::Milli(value), None) => Some(Element::Milli(*value)),
            (TagValue::Bytes(bytes), None) => Some(Element::Bytes(bytes)),
            (TagValue::Ints(values), Some(slot)) if is_whole(values.len()) => {
                values.get(slot).map(|value| Element::Int(*value))
            }
            (TagValue::Millis(values), Some(slot)) if is_whole(values.len()) => {
                values.get(slot).map(|value| Element::Milli(*value))
            }
            (TagValue::Texts(texts), Some(slot)) if is_whole(texts.len()) => {
                texts.get(slot).map(|text| Element::Bytes(text))
            }
            (
                TagValue::Bool(_)
                | TagValue::Int(_)
                | TagValue::Milli(_)
                | TagValue::Bytes(_)
                | TagValue::Ints(_)
                | TagValue::Millis(_)
                | TagValue::Texts(_),
                _,
            ) => None,
        }
    }

    fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Element::Bytes(bytes) => Some(bytes.to_vec()),
            Element::Int(_) | Element::Milli(_) => None,
        }
    }

    fn count(self) -> Option<u64> {
        match self {
            Element::Int(value) => u64::try_from(value).ok().filter(|count| *count > 0),
            Element::Milli(_) | Element::Bytes(_) => None,
        }
    }

    /// 0.0 to 4.0, or a letter as ISO/IEC 15415 names them; anything else is no grade.
    fn grade(self) -> Option<i64> {
        let milli = match self {
            Element::Milli(milli) => milli,
            Element::Int(grade) => grade.checked_mul(1000)?,
            Element::Bytes(b"A" | b"a") => 4000,
            Element::Bytes(b"B" | b"b") => 3000,
            Element::Bytes(b"C" | b"c") => 2000,
            Element::Bytes(b"D" | b"d") => 1000,
            Element::Bytes(b"F" | b"f") => 0,
            Element::Bytes(_) => return None,
        };
        (0..=GRADE_MAX_MILLI).contains(&milli).then_some(milli)
    }
}
