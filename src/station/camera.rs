//! The camera's handshake: results numbered by `seq`, one shown at a time or several in a ring, dropped by the device once
//! `ack` says that they are recorded.
//!
//! The same number with the same bytes is a repeat and says nothing new; with other bytes it is `Read::Changed`, once. Numbers
//! that can no longer be read are `ResultsMissed`, told before the results that follow them. In a ring that has overrun, the
//! newest results were dropped and their slots still hold older ones: a slot that shows what it showed a lap ago is missed.
//!
//! Where the device takes a flag instead of a number (`ResultHandshake::Flag`), a result counts while `valid` stands. The flag
//! is raised for the very result that is shown and recorded, and taken back when `valid` has fallen: nothing else makes the
//! device show its next one, so that taking it back needs no permission of its own. Both are levels, and said again with every
//! heartbeat. Until `valid` was seen to fall, what stands beside a raised flag may be half of the next result, and says nothing.

use std::collections::VecDeque;

use crate::domain::tag::{Tag, TagValue, TagWrite};
use crate::engine::input::{CameraResult, Observed, Read};
use crate::engine::output::{Permit, Restraint};
use crate::station::counter::{Counter, nearest};
use crate::station::image::{Doubt, Image};
use crate::station::{Base, Cursor, Level, Output, ResultHandshake, Scan, Settings, int, observe_fault};

const GRADE_MAX_MILLI: i64 = 4000;
/// `outcome` where the device is content; every other value is not.
const OUTCOME_GOOD: i64 = 1;

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
    /// Of a device that takes a flag.
    flag: Option<Flag>,
}

/// What a device that takes a flag shows, and what was written to it last.
#[derive(Clone, Copy, Debug, Default)]
struct Flag {
    is_valid: bool,
    written: Option<bool>,
}

#[derive(Clone, Debug)]
struct Told {
    seq: u64,
    track: Option<u64>,
    content: Content<Vec<u8>>,
    is_changed: bool,
}

/// One result as the device shows it; its code borrowed from the image or kept.
#[derive(Clone, Debug)]
struct Content<Code> {
    /// `None` where it is not good.
    code: Option<Code>,
    raw_track: Option<u64>,
    grade_milli: Option<i64>,
    /// The device says so itself, or is not understood where it should say.
    is_failed: bool,
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
            flag: (settings.handshake == ResultHandshake::Flag).then(Flag::default),
        }
    }

    /// Says the flag again: a device that started anew without our notice has forgotten it.
    pub(in crate::station) fn repeat(&self, output: Output<'_>) {
        if let Some(flag) = self.flag.filter(|flag| flag.written == Some(flag.is_valid)) {
            output.writes.extend(flag.level(output.settings));
        }
    }

    pub(in crate::station) fn forget_outputs(&mut self) {
        self.flag = self.flag.map(|_| Flag::default());
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
                let shown = self.seq.last() == Some(*seq);
                let value = match &mut self.flag {
                    None => int(self.seq.shown(*seq)),
                    Some(flag) if shown && flag.is_valid => {
                        flag.written = Some(true);
                        output.settings.device_value(Tag::Ack, 1)
                    }
                    // Another result stands there, or none.
                    Some(_) => return,
                };
                output.write(vec![(Tag::Ack, value)]);
            }
            // The camera compares from its next trigger on; results that are shown already were compared with what stood then.
            Permit::Expect { data, .. } => output.write(vec![(Tag::Expected, TagValue::Bytes(data.clone()))]),
            Permit::Pass { .. }
            | Permit::Run { .. }
            | Permit::Print { .. }
            | Permit::Flush { .. }
            | Permit::AckRequest { .. }
            | Permit::Close(_)
            | Permit::Settle { .. } => {}
        }
    }

    /// With nothing to compare with, every unit differs.
    pub(in crate::station) fn restrain(&mut self, restraint: &Restraint, mut output: Output<'_>) {
        match restraint {
            Restraint::ExpectNothing { .. } => output.write(vec![(Tag::Expected, TagValue::Bytes(Vec::new()))]),
            Restraint::Fail(_) | Restraint::Hold { .. } | Restraint::Deny { .. } | Restraint::Shut { .. } => {}
        }
    }

    pub(in crate::station) fn scan(&mut self, mut scan: Scan<'_>) -> Result<(), Doubt> {
        if let Some(flag) = &mut self.flag
            && !flag.follow(&mut scan)?
        {
            observe_fault(&mut self.fault, &mut scan);
            return Ok(());
        }
        let seq = scan.image.count(Tag::Seq, &self.seq)?;
        if scan.image.has(Tag::Overrun) {
            // Whether the slots are those of their numbers is not known.
            scan.image.needed(Tag::Overrun)?;
        }
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
            if is_comparable && !told.content.equals(&content) {
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
    fn is_left_over(&self, number: u64, content: &Content<&[u8]>) -> bool {
        let before = number.checked_sub(self.ring).filter(|_| self.ring > 0);
        self.told
            .iter()
            .any(|told| Some(told.seq) == before && content.raw_track.is_some() && told.content.equals(content))
    }

    fn tell_result(&mut self, seq: u64, content: Content<&[u8]>, out: &mut Vec<Observed>) {
        let track = content.raw_track.and_then(|raw| nearest(self.track_wrap, self.track_anchor, raw));
        self.track_anchor = self.track_anchor.max(track.unwrap_or(0));
        let read = match content.code {
            None => Read::NotGood,
            Some([]) => Read::NoRead,
            Some(code) if !content.is_failed => Read::Code(code.to_vec()),
            Some(code) => Read::Failed(code.to_vec()),
        };
        out.push(Observed::Result(CameraResult { seq, track, read, grade_milli: content.grade_milli }));
        let width = usize::try_from(self.width()).unwrap_or(usize::MAX);
        while self.told.len() >= width {
            self.told.pop_front();
        }
        self.told.push_back(Told { seq, track, content: content.keep(), is_changed: false });
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

impl Content<Vec<u8>> {
    fn equals(&self, shown: &Content<&[u8]>) -> bool {
        self.code.as_deref() == shown.code
            && self.raw_track == shown.raw_track
            && self.grade_milli == shown.grade_milli
            && self.is_failed == shown.is_failed
    }
}

impl<'a> Content<&'a [u8]> {
    fn keep(self) -> Content<Vec<u8>> {
        let Content { code, raw_track, grade_milli, is_failed } = self;
        Content { code: code.map(<[u8]>::to_vec), raw_track, grade_milli, is_failed }
    }

    fn read(scan: &Scan<'a>, slot: Option<usize>, ring: u64) -> Self {
        let image = scan.image;
        let element = |tag| current(image, tag).and_then(|value| Element::of(value, slot, ring));
        let outcome = element(Tag::Outcome).and_then(Element::whole);
        let is_good = outcome.and_then(|value| scan.settings.meaning(Tag::Outcome, value)) == Some(OUTCOME_GOOD);
        Content {
            code: element(Tag::Code).and_then(Element::bytes),
            raw_track: element(Tag::Track).and_then(Element::count),
            grade_milli: element(Tag::Grade).and_then(Element::grade),
            is_failed: image.has(Tag::Outcome) && !is_good,
        }
    }
}

impl Flag {
    /// Whether a result stands. Where none does, the flag is taken back, so that the device shows its next one.
    fn follow(&mut self, scan: &mut Scan<'_>) -> Result<bool, Doubt> {
        self.is_valid = scan.image.needed(Tag::Valid)? != 0;
        if !self.is_valid && self.written != Some(false) {
            self.written = Some(false);
            scan.writes.extend(self.level(scan.settings));
        }
        Ok(self.is_valid && self.written != Some(true))
    }

    /// What is written now.
    fn level(&self, settings: &Settings) -> Option<TagWrite> {
        let value = settings.device_value(Tag::Ack, i64::from(self.written?));
        Some(TagWrite { station: settings.id, values: vec![(Tag::Ack, value)] })
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

    fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Element::Bytes(bytes) => Some(bytes),
            Element::Int(_) | Element::Milli(_) => None,
        }
    }

    fn whole(self) -> Option<i64> {
        match self {
            Element::Int(value) => Some(value),
            Element::Milli(_) | Element::Bytes(_) => None,
        }
    }

    fn count(self) -> Option<u64> {
        self.whole().and_then(|value| u64::try_from(value).ok()).filter(|count| *count > 0)
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
            Element::Bytes(text) => decimal(text)?,
        };
        (0..=GRADE_MAX_MILLI).contains(&milli).then_some(milli)
    }
}

/// `3.5`, or ISO's whole notation `3.5/08/660` (grade, aperture, light), in thousandths.
fn decimal(text: &[u8]) -> Option<i64> {
    let grade = text.split(|byte| *byte == b'/').next()?;
    let mut parts = grade.splitn(2, |byte| *byte == b'.');
    let (whole, fraction) = (parts.next()?, parts.next().unwrap_or(b"0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 3 {
        return None;
    }
    let digits = whole.iter().chain(fraction).chain(b"00");
    digits.take(whole.len().checked_add(3)?).try_fold(0_i64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value.checked_mul(10)?.checked_add(i64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tag::{Reading, StationKind};
    use crate::station::script::{STATION, Script, bad, doubted, number, reading, settings, text, uncertain, values};

    fn shown(seq: i64, code: &[u8], track: i64) -> Vec<Reading> {
        vec![number(Tag::Seq, seq), text(Tag::Code, code), number(Tag::Track, track)]
    }

    fn result(seq: u64, read: Read, track: u64) -> Observed {
        Observed::Result(CameraResult { seq, track: Some(track), read, grade_milli: None })
    }

    fn code(bytes: &[u8]) -> Read {
        Read::Code(bytes.to_vec())
    }

    fn joined() -> Script {
        let mut script = Script::new(settings(StationKind::Camera), Cursor::default());
        assert_eq!(script.join(7, &shown(0, b"", 0)), []);
        script
    }

    /// A ring of four as the device holds it.
    fn ring(seq: i64, slots: [(&[u8], i64); 4]) -> Vec<Reading> {
        vec![
            number(Tag::Seq, seq),
            reading(Tag::Code, TagValue::Texts(slots.iter().map(|slot| slot.0.to_vec()).collect())),
            reading(Tag::Track, TagValue::Ints(slots.iter().map(|slot| slot.1).collect())),
        ]
    }

    fn ringed(cursor: Cursor) -> Script {
        let mut four = settings(StationKind::Camera);
        four.ring = 4;
        Script::new(four, cursor)
    }

    fn known(last_seq: u64) -> Cursor {
        Cursor { device_epoch: 7, last_seq, ..Cursor::default() }
    }

    const EMPTY: (&[u8], i64) = (b"", 0);

    #[test]
    fn tells_a_result_once_however_often_it_is_shown() {
        let mut script = joined();
        assert_eq!(script.said(&shown(1, b"A", 11)), [result(1, code(b"A"), 11)]);
        assert_eq!(script.said(&shown(1, b"A", 11)), []);
        script.reconnect();
        assert_eq!(script.join(7, &shown(1, b"A", 11)), []);
        assert_eq!(script.said(&shown(2, b"", 12)), [result(2, Read::NoRead, 12)]);
    }

    #[test]
    fn the_same_number_with_other_bytes_is_changed_once() {
        let mut script = joined();
        script.said(&shown(1, b"A", 11));
        assert_eq!(script.said(&shown(1, b"B", 11)), [result(1, Read::Changed, 11)]);
        assert_eq!(script.said(&shown(1, b"C", 11)), []);
        script.said(&shown(2, b"A", 12));
        assert_eq!(
            script.said(&shown(2, b"A", 13)),
            [result(2, Read::Changed, 12)],
            "the unit that was told of is the one in doubt"
        );
    }

    #[test]
    fn a_jump_tells_the_missed_numbers_first() {
        let mut script = joined();
        script.said(&shown(1, b"A", 11));
        assert_eq!(
            script.said(&shown(5, b"B", 15)),
            [Observed::ResultsMissed { from: 2, to: 4 }, result(5, code(b"B"), 15)]
        );
    }

    #[test]
    fn numbers_missed_while_we_were_away_are_told_after_a_restart_and_after_a_reset() {
        let mut script = Script::new(settings(StationKind::Camera), known(3));
        assert_eq!(
            script.join(7, &shown(6, b"B", 16)),
            [Observed::ResultsMissed { from: 4, to: 5 }, result(6, code(b"B"), 16)]
        );
        let all = [shown(2, b"C", 3), vec![number(Tag::Epoch, 8)]].concat();
        assert_eq!(
            script.said(&all),
            [
                Observed::Joined { device_epoch: 8, reset: true },
                Observed::ResultsMissed { from: 1, to: 1 },
                result(2, code(b"C"), 3)
            ]
        );
    }

    #[test]
    fn on_first_contact_only_what_stands_is_told() {
        let mut script = Script::new(settings(StationKind::Camera), Cursor::default());
        assert_eq!(script.join(7, &shown(900, b"A", 11)), [result(900, code(b"A"), 11)]);
    }

    #[test]
    fn values_that_are_not_good_verify_nothing() {
        for spoil in [bad, uncertain] {
            let mut script = joined();
            let all = [number(Tag::Seq, 1), spoil(text(Tag::Code, b"A")), number(Tag::Track, 11)];
            assert_eq!(script.said(&all), [result(1, Read::NotGood, 11)]);
            let all = [number(Tag::Seq, 2), text(Tag::Code, b"A"), spoil(number(Tag::Track, 11))];
            let untracked = CameraResult { seq: 2, track: None, read: code(b"A"), grade_milli: None };
            assert_eq!(script.said(&all), [Observed::Result(untracked)]);
        }
        let mut script = joined();
        assert_eq!(
            script.said(&[number(Tag::Seq, 1), number(Tag::Code, 5), number(Tag::Track, 11)]),
            [result(1, Read::NotGood, 11)],
            "a code is never a number"
        );
    }

    #[test]
    fn grades_are_decimals_or_letters_within_the_scale() {
        let letter = |letter: &[u8]| TagValue::Bytes(letter.to_vec());
        let mut script = joined();
        let mut seq = 0;
        for (value, grade) in [
            (TagValue::Milli(3700), Some(3700)),
            (TagValue::Milli(4001), None),
            (TagValue::Milli(-1), None),
            (TagValue::Int(4), Some(4000)),
            (TagValue::Int(i64::MAX), None),
            (letter(b"A"), Some(4000)),
            (letter(b"d"), Some(1000)),
            (letter(b"F"), Some(0)),
            (letter(b"E"), None),
            (letter(b"3.5/08/660"), Some(3500)),
            (letter(b"2"), Some(2000)),
            (letter(b"4.1"), None),
            (letter(b"3.14159"), None),
            (letter(b"/08"), None),
            (letter(b"99999999999999999999"), None),
            (letter(b""), None),
        ] {
            seq += 1;
            let all = [shown(seq, b"A", 10 + seq), vec![reading(Tag::Grade, value.clone())]].concat();
            let out = script.said(&all);
            let Some(Observed::Result(result)) = out.first() else { panic!("{out:?}") };
            assert_eq!(result.grade_milli, grade, "{value:?}");
        }
    }

    #[test]
    fn several_results_of_a_ring_come_in_the_order_of_their_numbers() {
        let mut script = ringed(known(0));
        assert_eq!(script.join(7, &ring(0, [EMPTY; 4])), []);
        assert_eq!(
            script.said(&ring(3, [EMPTY, (b"A", 12), (b"B", 11), (b"", 13)])),
            [result(1, code(b"A"), 12), result(2, code(b"B"), 11), result(3, Read::NoRead, 13)]
        );
        assert_eq!(
            script.said(&ring(5, [(b"D", 14), (b"E", 15), (b"B", 11), (b"", 13)])),
            [result(4, code(b"D"), 14), result(5, code(b"E"), 15)]
        );
    }

    #[test]
    fn what_the_ring_lost_is_missed() {
        let mut script = ringed(known(0));
        script.join(7, &ring(0, [EMPTY; 4]));
        let out = script.said(&ring(7, [(b"D", 14), (b"E", 15), (b"F", 16), (b"G", 17)]));
        assert_eq!(out.first(), Some(&Observed::ResultsMissed { from: 1, to: 3 }));
        assert_eq!(out.len(), 5);
        assert_eq!(out.get(1), Some(&result(4, code(b"D"), 14)));
    }

    #[test]
    fn an_overrun_ring_still_holds_the_old_results_and_lost_the_new_ones() {
        let mut script = ringed(known(0));
        script.join(7, &ring(0, [EMPTY; 4]));
        let full = [(&b"D"[..], 14), (b"A", 11), (b"B", 12), (b"C", 13)];
        script.permit(Permit::AckResult { station: STATION, device_epoch: 7, seq: 0 });
        let overrun = [ring(6, full), vec![reading(Tag::Overrun, TagValue::Bool(true))]].concat();
        let out = script.said(&overrun);
        assert_eq!(out.len(), 5, "{out:?}");
        assert_eq!(out.first(), Some(&result(1, code(b"A"), 11)));
        assert_eq!(out.last(), Some(&Observed::ResultsMissed { from: 5, to: 6 }));
    }

    #[test]
    fn a_slot_left_over_from_the_lap_before_is_missed_when_the_overrun_was_cleared_unseen() {
        let mut script = ringed(known(0));
        script.join(7, &ring(0, [EMPTY; 4]));
        let full = [(&b"D"[..], 14), (b"A", 11), (b"B", 12), (b"C", 13)];
        assert_eq!(script.said(&ring(4, full)).len(), 4);
        assert_eq!(script.said(&ring(6, full)), [Observed::ResultsMissed { from: 5, to: 6 }]);
        let next = [(&b"D"[..], 14), (b"A", 11), (b"B", 12), (b"G", 17)];
        assert_eq!(script.said(&ring(7, next)), [result(7, code(b"G"), 17)]);
    }

    #[test]
    fn a_ring_of_the_wrong_length_is_not_good_and_one_not_yet_read_says_nothing() {
        let mut script = ringed(known(0));
        script.join(7, &ring(0, [EMPTY; 4]));
        assert_eq!(script.said(&[number(Tag::Seq, 1)]), []);
        let short = [
            number(Tag::Seq, 1),
            reading(Tag::Code, TagValue::Texts(vec![b"A".to_vec(); 3])),
            reading(Tag::Track, TagValue::Ints(vec![1; 4])),
        ];
        assert_eq!(script.said(&short), [result(1, Read::NotGood, 1)]);
    }

    #[test]
    fn results_that_stood_while_the_station_was_lost_are_told_when_it_joins() {
        let mut script = joined();
        script.pass_ms(1001);
        script.tick();
        assert_eq!(script.read(&shown(1, b"A", 11)).0, []);
        let rejoined = Observed::Joined { device_epoch: 7, reset: false };
        assert_eq!(script.said(&[]), [rejoined, result(1, code(b"A"), 11)]);
        assert_eq!(script.said(&shown(1, b"A", 11)), []);
    }

    fn flagged() -> Script {
        let mut flagged = settings(StationKind::Camera);
        flagged.handshake = ResultHandshake::Flag;
        flagged.renumbered = [(0, 5), (1, 13)]
            .map(|(contract, device)| crate::station::Renumbered { tag: Tag::Ack, device, contract })
            .to_vec();
        Script::new(flagged, known(0))
    }

    fn valid(seq: i64, code: &[u8], track: i64) -> Vec<Reading> {
        [shown(seq, code, track), vec![number(Tag::Valid, 1)]].concat()
    }

    fn invalid(seq: i64) -> Vec<Reading> {
        [shown(seq, b"half", 99), vec![number(Tag::Valid, 0)]].concat()
    }

    fn flags(writes: &[TagWrite]) -> Vec<i64> {
        let ack = |write: &TagWrite| match write.values.first() {
            Some((Tag::Ack, TagValue::Int(value))) => Some(*value),
            _ => None,
        };
        writes.iter().filter_map(ack).collect()
    }

    fn take(seq: u64) -> Permit {
        Permit::AckResult { station: STATION, device_epoch: 7, seq }
    }

    #[test]
    fn a_result_is_taken_by_the_flag_and_the_next_counts_only_after_the_flag_was_taken_back() {
        let mut script = flagged();
        assert_eq!(script.join(7, &valid(1, b"A", 11)), [result(1, code(b"A"), 11)]);
        assert_eq!(flags(&script.permit(take(1))), [13]);
        assert_eq!(script.said(&valid(2, b"half", 99)), [], "the old `valid` beside the next result");
        let (out, writes) = script.show(&invalid(2));
        assert_eq!((out, flags(&writes)), (vec![], vec![5]));
        assert_eq!(flags(&script.show(&invalid(2)).1), [] as [i64; 0], "written once");
        assert_eq!(script.said(&valid(2, b"B", 12)), [result(2, code(b"B"), 12)]);
    }

    #[test]
    fn no_flag_is_raised_for_another_result_than_the_one_that_stands() {
        let mut script = flagged();
        script.join(7, &invalid(0));
        assert_eq!(flags(&script.permit(take(1))), [] as [i64; 0], "nothing stands");
        script.said(&valid(4, b"A", 14));
        assert_eq!(flags(&script.permit(take(3))), [] as [i64; 0], "the last of the missed ones");
        assert_eq!(flags(&script.permit(take(4))), [13]);
    }

    #[test]
    fn the_flag_is_a_level_that_every_heartbeat_says_again() {
        let mut script = flagged();
        script.join(7, &valid(1, b"A", 11));
        assert_eq!(flags(&script.beat(1)), [] as [i64; 0], "not recorded yet");
        script.permit(take(1));
        assert_eq!(flags(&script.beat(2)), [13]);
        script.show(&invalid(1));
        assert_eq!(flags(&script.beat(3)), [5]);
        script.reconnect();
        assert_eq!(flags(&script.beat(4)), [] as [i64; 0]);
        let back = [invalid(1), vec![number(Tag::Epoch, 7)]].concat();
        script.show(&back);
        assert_eq!(flags(&script.show(&back).1), [5], "whatever was left raised is taken back");
    }

    #[test]
    fn a_flag_whose_quality_is_not_good_loses_the_station() {
        let mut script = flagged();
        script.join(7, &valid(1, b"A", 11));
        let out = script.said(&[valid(2, b"B", 12), vec![bad(number(Tag::Valid, 1))]].concat());
        assert_eq!(doubted(&out), Some(Tag::Valid));
    }

    #[test]
    fn a_unit_that_the_device_does_not_call_good_is_failed() {
        for (outcome, is_good) in [
            (number(Tag::Outcome, 1), true),
            (number(Tag::Outcome, 0), false),
            (number(Tag::Outcome, 3), false),
            (bad(number(Tag::Outcome, 1)), false),
            (uncertain(number(Tag::Outcome, 1)), false),
            (text(Tag::Outcome, b"1"), false),
        ] {
            let mut script = joined();
            let read = if is_good { code(b"A") } else { Read::Failed(b"A".to_vec()) };
            let out = script.said(&[shown(1, b"A", 11), vec![outcome.clone()]].concat());
            assert_eq!(out, [result(1, read, 11)], "{outcome:?}");
        }
    }

    #[test]
    fn numbers_and_tracks_go_on_across_their_wraps() {
        let mut wrapping = settings(StationKind::Camera);
        wrapping.wraps = vec![(Tag::Seq, 65_535), (Tag::Track, 32_767)];
        let cursor = Cursor { device_epoch: 7, last_seq: 65_534, last_track: 32_766, ..Cursor::default() };
        let mut script = Script::new(wrapping, cursor);
        assert_eq!(script.join(7, &shown(65_535, b"A", 1)), [result(65_535, code(b"A"), 32_768)]);
        assert_eq!(script.said(&shown(1, b"B", 32_767)), [result(65_536, code(b"B"), 32_767)]);
        let ack = Permit::AckResult { station: STATION, device_epoch: 7, seq: 65_536 };
        assert_eq!(script.permit(ack).iter().map(values).collect::<Vec<_>>(), [[(Tag::Ack, TagValue::Int(1))]]);
        script.station.align_tracks(0);
        assert_eq!(script.said(&shown(2, b"C", 1)), [result(65_537, code(b"C"), 1)], "the rejector started again");
    }
}
