//! The reject gate's handshake: tracks enter, get a verdict before the blade, and end; the machine passes only what it was told
//! to pass.
//!
//! Verdicts are written one after the other, the next when the device has echoed the last, or as many ahead as its own queue is
//! deep. A fail overtakes waiting passes, replaces the pass of its own track and is final. A pass past its deadline, and any
//! verdict for a track that has ended, is not written any more: silence means reject. A verdict that stays without an echo is
//! written again, which is harmless: the device latches a change only.

use std::collections::VecDeque;

use crate::domain::tag::{Tag, TagValue};
use crate::engine::input::{Observed, TrackEnd};
use crate::engine::output::{Permit, Restraint};
use crate::station::counter::{Counter, nearest, shown};
use crate::station::image::{Doubt, Image};
use crate::station::{Base, Cursor, Level, Output, Scan, Settings, VerdictForm, int, observe_fault};

/// Verdicts that wait; at the bound the oldest pass gives way to a fail, and a new pass is not taken: its unit is rejected.
const QUEUE_MAX: usize = 1024;
/// Ended tracks that are remembered, against verdicts that come after the end.
const ENDED_MAX: usize = 256;
/// A verdict without an echo is written again so often.
const REPEAT_US: u64 = 100_000;
/// A fail that stays without an echo holds the others up for so long: what it asks for is what the device does by default.
const FAIL_HOLDS_US: u64 = 1_000_000;

#[derive(Clone, Debug)]
pub(in crate::station) struct Rejector {
    in_count: Counter,
    end_seq: Counter,
    phantom: Counter,
    bin: Counter,
    track_wrap: Option<u64>,
    /// Pairs in the ring of ends.
    ring: u64,
    depth: usize,
    form: VerdictForm,
    waiting: VecDeque<Verdict>,
    /// Written, not echoed, in the order of writing.
    outstanding: VecDeque<Verdict>,
    written_at_us: u64,
    ended: VecDeque<u64>,
    /// What the device shows as its echo.
    echo: Option<u64>,
    echoed: Level<u64>,
    entered: Level<u64>,
    phantoms: Level<u64>,
    binned: Level<u64>,
    full: Level<bool>,
    fault: Level<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdict {
    track: u64,
    pass: bool,
    /// A pass is void afterwards; a fail that was written then waits for its echo no longer.
    until_mono_us: u64,
}

/// The counters of one read, all plausible.
struct Counts {
    entered: u64,
    end_seq: u64,
    phantom: Option<u64>,
    bin: Option<u64>,
}

impl Rejector {
    pub(in crate::station) fn new(settings: &Settings, cursor: &Cursor) -> Self {
        let in_count_wrap = settings.wrap(Tag::InCount);
        Self {
            in_count: Counter::new(in_count_wrap, Some(cursor.last_track)),
            end_seq: Counter::new(settings.wrap(Tag::EndSeq), Some(cursor.last_seq)),
            phantom: Counter::new(settings.wrap(Tag::PhantomCount), None),
            bin: Counter::new(settings.wrap(Tag::BinCount), None),
            track_wrap: settings.track_wrap(),
            ring: u64::from(settings.ends_ring.max(1)),
            depth: usize::from(settings.verdict_depth.max(1)),
            form: settings.verdict_form,
            waiting: VecDeque::new(),
            outstanding: VecDeque::new(),
            written_at_us: 0,
            ended: VecDeque::new(),
            echo: None,
            echoed: Level::default(),
            entered: Level::default(),
            phantoms: Level::default(),
            binned: Level::default(),
            full: Level::default(),
            fault: Level::default(),
        }
    }

    pub(in crate::station) fn reset(&mut self, base: Base) {
        self.in_count.restart(base.last());
        self.end_seq.restart(base.last());
        self.phantom.restart(base.last());
        self.bin.restart(base.last());
        self.ended.clear();
        self.forget_outputs();
    }

    pub(in crate::station) fn forget_levels(&mut self) {
        self.echoed = Level::default();
        self.entered = Level::default();
        self.phantoms = Level::default();
        self.binned = Level::default();
        self.full = Level::default();
        self.fault = Level::default();
    }

    pub(in crate::station) fn forget_outputs(&mut self) {
        self.waiting.clear();
        self.outstanding.clear();
        self.echo = None;
    }

    pub(in crate::station) fn scan(&mut self, mut scan: Scan<'_>) -> Result<(), Doubt> {
        let counts = self.counts(scan.image)?;
        let ends = self.ends(&scan, counts.end_seq)?;
        observe_fault(&mut self.fault, &mut scan);
        self.in_count.accept(counts.entered);
        if let Some(count) = self.entered.change(Some(counts.entered)) {
            scan.out.push(Observed::Entered { count });
        }
        self.tell_echo(&mut scan);
        self.tell_ends(counts.end_seq, &ends, scan.out);
        self.tell_bin(&counts, &mut scan);
        let Scan { settings, now, writes, .. } = scan;
        self.pump(&mut Output { settings, epoch: None, now, writes });
        Ok(())
    }

    fn counts(&self, image: &Image) -> Result<Counts, Doubt> {
        Ok(Counts {
            entered: image.count(Tag::InCount, &self.in_count)?,
            end_seq: image.count(Tag::EndSeq, &self.end_seq)?,
            phantom: image.optional_count(Tag::PhantomCount, &self.phantom)?,
            bin: image.optional_count(Tag::BinCount, &self.bin)?,
        })
    }

    /// The new ends that the ring still holds, as (number, raw track, end). Empty until the ring was read under `end_seq`.
    fn ends(&self, scan: &Scan<'_>, end_seq: u64) -> Result<Vec<(u64, u64, i64)>, Doubt> {
        let last = self.end_seq.last().unwrap_or(end_seq);
        if end_seq == last || !scan.image.is_current(Tag::Ends) {
            return Ok(Vec::new());
        }
        let pairs = scan.image.needed_ints(Tag::Ends)?;
        if u64::try_from(pairs.len()).ok() != self.ring.checked_mul(2) {
            let what = format!("has {} places, and not two for each of {} ends", pairs.len(), self.ring);
            return Err(Doubt::not_good(Tag::Ends, &what));
        }
        let oldest = last.max(end_seq.saturating_sub(self.ring)).saturating_add(1);
        let pair = |number: u64| {
            let index = self.end_seq.shown(number).checked_rem(self.ring)?.checked_mul(2)?;
            let index = usize::try_from(index).ok()?;
            let track = u64::try_from(*pairs.get(index)?).unwrap_or(0);
            Some((number, track, *pairs.get(index.checked_add(1)?)?))
        };
        Ok((oldest..=end_seq)
            .filter_map(pair)
            .map(|(number, track, end)| (number, track, scan.settings.meaning(Tag::Ends, end).unwrap_or(0)))
            .collect())
    }

    fn tell_ends(&mut self, end_seq: u64, ends: &[(u64, u64, i64)], out: &mut Vec<Observed>) {
        let last = self.end_seq.last().unwrap_or(end_seq);
        let Some((oldest, _, _)) = ends.first() else {
            // With news that cannot be read yet, the last number stays where it was.
            self.end_seq.accept(last);
            return;
        };
        let (from, to) = (last.saturating_add(1), oldest.saturating_sub(1));
        if from <= to {
            out.push(Observed::EndsMissed { from, to });
        }
        for (number, raw_track, end) in ends {
            match (self.track(*raw_track), track_end(*end)) {
                (Some(track), Some(end)) => {
                    self.finish(track);
                    out.push(Observed::Ended { end_seq: *number, track, end });
                }
                // An end that says nothing is as good as one that was not read.
                (Some(_) | None, _) => out.push(Observed::EndsMissed { from: *number, to: *number }),
            }
        }
        self.end_seq.accept(end_seq);
    }

    fn track(&self, raw: u64) -> Option<u64> {
        nearest(self.track_wrap, self.in_count.last().unwrap_or(0), raw)
    }

    /// The track has left: no verdict can reach it.
    fn finish(&mut self, track: u64) {
        self.waiting.retain(|verdict| verdict.track != track);
        self.outstanding.retain(|verdict| verdict.track != track);
        if self.ended.len() >= ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(track);
    }

    fn tell_bin(&mut self, counts: &Counts, scan: &mut Scan<'_>) {
        if let Some(count) = self.phantoms.change(counts.phantom) {
            self.phantom.accept(count);
            scan.out.push(Observed::PhantomCounted { count });
        }
        if let Some(count) = self.binned.change(counts.bin) {
            self.bin.accept(count);
            scan.out.push(Observed::BinCounted { count });
        }
        if let Some(full) = self.full.change(scan.image.int(Tag::BinFull).map(|flag| flag != 0)) {
            scan.out.push(Observed::BinFull { full });
        }
    }

    /// Takes the echo: it answers the verdict that it equals, and those written before it.
    fn tell_echo(&mut self, scan: &mut Scan<'_>) {
        let Some(echo) = scan.image.number(Tag::VerdictEcho) else {
            return;
        };
        self.echo = Some(echo);
        let answered = self.outstanding.iter().position(|verdict| self.echo_of(*verdict) == echo);
        let verdict = match (self.form, answered.and_then(|place| self.outstanding.get(place))) {
            (VerdictForm::Word, _) => {
                let raw_track = echo.checked_div(2).unwrap_or(0);
                self.track(raw_track).map(|track| (track, echo.checked_rem(2) == Some(1)))
            }
            (VerdictForm::Pair, Some(verdict)) => Some((verdict.track, verdict.pass)),
            (VerdictForm::Pair, None) => None,
        };
        if let Some(place) = answered {
            self.outstanding.drain(..=place);
        }
        if let Some((track, pass)) = verdict
            && self.echoed.change(Some(echo)).is_some()
        {
            scan.out.push(Observed::Echoed { track, pass });
        }
    }

    /// How the device answers a verdict.
    fn echo_of(&self, verdict: Verdict) -> u64 {
        let raw_track = shown(self.track_wrap, verdict.track);
        match self.form {
            VerdictForm::Word => raw_track.saturating_mul(2).saturating_add(u64::from(verdict.pass)),
            VerdictForm::Pair => raw_track,
        }
    }

    pub(in crate::station) fn restrain(&mut self, restraint: &Restraint, mut output: Output<'_>) {
        match restraint {
            Restraint::Hold { .. } => output.write(vec![(Tag::RunPermit, TagValue::Bool(false))]),
            Restraint::Fail(key) if output.epoch == Some(key.device_epoch) => {
                self.say(Verdict { track: key.track, pass: false, until_mono_us: u64::MAX });
                self.pump(&mut output);
            }
            Restraint::Fail(_) | Restraint::Deny { .. } | Restraint::Shut { .. } | Restraint::ExpectNothing { .. } => {}
        }
    }

    pub(in crate::station) fn permit(&mut self, permit: &Permit, mut output: Output<'_>) {
        match permit {
            Permit::Run { .. } => output.write(vec![(Tag::RunPermit, TagValue::Bool(true))]),
            Permit::Pass { key, until_mono_us } => {
                self.say(Verdict { track: key.track, pass: true, until_mono_us: *until_mono_us });
                self.pump(&mut output);
            }
            Permit::AckResult { .. }
            | Permit::Expect { .. }
            | Permit::Print { .. }
            | Permit::Flush { .. }
            | Permit::AckRequest { .. }
            | Permit::Close(_)
            | Permit::Settle { .. } => {}
        }
    }

    /// Places a verdict in the queue, unless it is there, overruled or too late.
    fn say(&mut self, verdict: Verdict) {
        let queued = self.waiting.iter_mut().chain(&mut self.outstanding);
        let mut is_settled = false;
        for known in queued.filter(|known| known.track == verdict.track) {
            is_settled |= !known.pass || verdict.pass;
            if known.pass && verdict.pass {
                // Said again, it holds for as long as it was said last.
                known.until_mono_us = known.until_mono_us.max(verdict.until_mono_us);
            }
        }
        if verdict.track == 0 || is_settled || self.ended.contains(&verdict.track) {
            return;
        }
        if verdict.pass {
            if self.waiting.len() < QUEUE_MAX {
                self.waiting.push_back(verdict);
            }
            return;
        }
        self.waiting.retain(|waiting| waiting.track != verdict.track);
        if self.waiting.len() >= QUEUE_MAX {
            let Some(oldest_pass) = self.waiting.iter().position(|waiting| waiting.pass) else {
                return;
            };
            self.waiting.remove(oldest_pass);
        }
        let behind_fails = self.waiting.iter().take_while(|waiting| !waiting.pass).count();
        self.waiting.insert(behind_fails, verdict);
    }

    /// Writes what the device's own queue has room for.
    fn pump(&mut self, output: &mut Output<'_>) {
        while self.outstanding.len() < self.depth {
            let Some(mut verdict) = self.waiting.pop_front() else {
                return;
            };
            if verdict.pass && output.is_late(verdict.until_mono_us) {
                continue;
            }
            output.write(self.values(verdict));
            self.written_at_us = output.now.mono_us;
            // The device changes nothing, and so answers nothing, where its last echo is this verdict already.
            if self.outstanding.is_empty() && self.echo == Some(self.echo_of(verdict)) {
                continue;
            }
            if !verdict.pass {
                verdict.until_mono_us = output.now.mono_us.saturating_add(FAIL_HOLDS_US);
            }
            self.outstanding.push_back(verdict);
        }
    }

    fn values(&self, verdict: Verdict) -> Vec<(Tag, TagValue)> {
        match self.form {
            VerdictForm::Word => vec![(Tag::VerdictWord, int(self.echo_of(verdict)))],
            VerdictForm::Pair => vec![
                (Tag::Verdict, TagValue::Bool(verdict.pass)),
                (Tag::VerdictTrack, int(shown(self.track_wrap, verdict.track))),
            ],
        }
    }

    /// Writes again what has stayed without an echo; what has waited too long makes room instead.
    pub(in crate::station) fn repeat(&mut self, mut output: Output<'_>) {
        if output.now.mono_us.saturating_sub(self.written_at_us) < REPEAT_US {
            return;
        }
        // A pass that a fail has overruled meanwhile is not said again, whether the device saw it or not.
        let said = self.outstanding.iter().chain(&self.waiting);
        let fails: Vec<u64> = said.filter(|verdict| !verdict.pass).map(|verdict| verdict.track).collect();
        self.outstanding.retain(|verdict| {
            !(output.is_late(verdict.until_mono_us) || verdict.pass && fails.contains(&verdict.track))
        });
        for verdict in &self.outstanding {
            let values = self.values(*verdict);
            output.write(values);
            self.written_at_us = output.now.mono_us;
        }
        self.pump(&mut output);
    }
}

fn track_end(end: i64) -> Option<TrackEnd> {
    match end {
        1 => Some(TrackEnd::Passed),
        2 => Some(TrackEnd::RejectConfirmed),
        3 => Some(TrackEnd::Missing),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tag::{Reading, StationKind, TagWrite};
    use crate::engine::input::PassKey;
    use crate::station::script::{STATION, Script, doubted, number, reading, settings, values};

    const RING: usize = 64;

    fn ends(end_seq: i64, pairs: &[(usize, i64, i64)]) -> Vec<Reading> {
        let mut ring = vec![0; 2 * RING];
        for (slot, track, end) in pairs {
            ring[2 * slot] = *track;
            ring[2 * slot + 1] = *end;
        }
        vec![number(Tag::EndSeq, end_seq), reading(Tag::Ends, TagValue::Ints(ring))]
    }

    fn idle() -> Vec<Reading> {
        [vec![number(Tag::InCount, 0)], ends(0, &[])].concat()
    }

    fn joined_with(settings: Settings) -> Script {
        let mut script = Script::new(settings, Cursor { device_epoch: 7, ..Cursor::default() });
        assert_eq!(script.join(7, &idle()), [Observed::Entered { count: 0 }]);
        script
    }

    fn joined() -> Script {
        joined_with(settings(StationKind::Rejector))
    }

    fn key(track: u64) -> PassKey {
        PassKey { rejector: STATION, device_epoch: 7, track }
    }

    fn pass(track: u64) -> Permit {
        Permit::Pass { key: key(track), until_mono_us: 2_000_000 }
    }

    fn words(writes: &[TagWrite]) -> Vec<i64> {
        let value = |write: &TagWrite| match values(write).as_slice() {
            [(Tag::VerdictWord, TagValue::Int(word))] => *word,
            other => panic!("{other:?}"),
        };
        writes.iter().map(value).collect()
    }

    fn ended(end_seq: u64, track: u64, end: TrackEnd) -> Observed {
        Observed::Ended { end_seq, track, end }
    }

    #[test]
    fn tells_every_new_end_in_order() {
        let mut script = joined();
        let all = [vec![number(Tag::InCount, 3)], ends(3, &[(1, 1, 1), (2, 2, 2), (3, 3, 3)])].concat();
        let expected = [
            Observed::Entered { count: 3 },
            ended(1, 1, TrackEnd::Passed),
            ended(2, 2, TrackEnd::RejectConfirmed),
            ended(3, 3, TrackEnd::Missing),
        ];
        assert_eq!(script.said(&all), expected);
        assert_eq!(script.said(&all), []);
    }

    #[test]
    fn ends_that_left_the_ring_are_missed_and_so_is_an_end_without_a_meaning() {
        let mut script = joined();
        let slots: Vec<_> = (7..=70).map(|number: i64| (number as usize % RING, number, 1)).collect();
        let out = script.said(&[vec![number(Tag::InCount, 70)], ends(70, &slots)].concat());
        assert_eq!(out.get(1), Some(&Observed::EndsMissed { from: 1, to: 6 }));
        assert_eq!(out.get(2), Some(&ended(7, 7, TrackEnd::Passed)));
        assert_eq!(out.len(), 66);
        let out = script.said(&ends(72, &[(7, 71, 9), (8, 0, 1)]));
        assert_eq!(out, [Observed::EndsMissed { from: 71, to: 71 }, Observed::EndsMissed { from: 72, to: 72 }]);
    }

    #[test]
    fn ends_wait_for_their_ring_and_one_of_the_wrong_length_loses_the_station() {
        let mut script = joined();
        assert_eq!(script.said(&[number(Tag::EndSeq, 1)]), []);
        assert_eq!(script.said(&ends(1, &[(1, 1, 1)])), [ended(1, 1, TrackEnd::Passed)]);
        let short = [number(Tag::EndSeq, 2), reading(Tag::Ends, TagValue::Ints(vec![1; 5]))];
        assert_eq!(doubted(&script.said(&short)), Some(Tag::Ends));
        let out = script.said(&ends(2, &[(1, 1, 1), (2, 2, 1)]));
        assert!(out.contains(&ended(2, 2, TrackEnd::Passed)), "{out:?}");
    }

    #[test]
    fn writes_the_next_verdict_after_the_echo() {
        let mut script = joined();
        assert_eq!(words(&script.permit(pass(1))), [3]);
        assert_eq!(script.permit(pass(2)), []);
        assert_eq!(script.show(&[number(Tag::VerdictEcho, 0)]), (vec![], vec![]));
        let (out, writes) = script.show(&[number(Tag::VerdictEcho, 3)]);
        assert_eq!(out, [Observed::Echoed { track: 1, pass: true }]);
        assert_eq!(words(&writes), [5]);
        assert_eq!(script.show(&[number(Tag::VerdictEcho, 3)]), (vec![], vec![]));
    }

    #[test]
    fn writes_ahead_as_far_as_the_map_says() {
        let mut deep = settings(StationKind::Rejector);
        deep.verdict_depth = 3;
        let mut script = joined_with(deep);
        for track in 1..=5 {
            script.permit(pass(track));
        }
        let (out, writes) = script.show(&[number(Tag::VerdictEcho, 5)]);
        assert_eq!(out, [Observed::Echoed { track: 2, pass: true }]);
        assert_eq!(words(&writes), [9, 11], "the echo of the second answers the first, too");
    }

    #[test]
    fn a_fail_overtakes_passes_replaces_its_own_and_is_final() {
        let mut script = joined();
        script.permit(pass(1));
        script.permit(pass(2));
        script.permit(pass(3));
        assert_eq!(script.restrain(Restraint::Fail(key(3))), []);
        script.permit(pass(3));
        assert_eq!(words(&script.show(&[number(Tag::VerdictEcho, 3)]).1), [6], "track 3 fails before 2 passes");
        script.permit(pass(3));
        assert_eq!(words(&script.show(&[number(Tag::VerdictEcho, 6)]).1), [5]);
        assert_eq!(script.show(&[number(Tag::VerdictEcho, 5)]).1, []);
    }

    #[test]
    fn a_pass_on_its_way_can_be_withdrawn() {
        let mut script = joined();
        assert_eq!(words(&script.permit(pass(1))), [3]);
        assert_eq!(script.restrain(Restraint::Fail(key(1))), []);
        assert_eq!(words(&script.show(&[number(Tag::VerdictEcho, 3)]).1), [2]);
    }

    #[test]
    fn a_verdict_for_a_track_that_has_ended_is_not_written() {
        let mut script = joined();
        script.permit(pass(1));
        script.permit(pass(2));
        let (_, writes) = script.show(&ends(2, &[(1, 1, 2), (2, 2, 2)]));
        assert_eq!(writes, []);
        assert_eq!(script.permit(pass(2)), []);
        assert_eq!(script.restrain(Restraint::Fail(key(1))), []);
        assert_eq!(words(&script.permit(pass(3))), [7], "an ended track does not block the queue");
    }

    #[test]
    fn a_pass_past_its_deadline_is_not_written() {
        let mut script = joined();
        script.permit(pass(1));
        script.permit(pass(2));
        script.pass_ms(2001);
        let out = script.show(&[number(Tag::VerdictEcho, 3)]);
        assert_eq!(
            out.1.iter().filter(|write| write.values.iter().any(|(tag, _)| *tag == Tag::VerdictWord)).count(),
            0
        );
        assert_eq!(script.permit(pass(4)), []);
    }

    #[test]
    fn a_verdict_without_an_echo_is_written_again_at_a_bounded_rate() {
        let mut script = joined();
        script.permit(pass(1));
        let verdicts = |writes: Vec<TagWrite>| {
            words(&writes.into_iter().filter(|write| write.values[0].0 == Tag::VerdictWord).collect::<Vec<_>>())
        };
        assert_eq!(verdicts(script.beat(1)), Vec::<i64>::new());
        script.pass_ms(100);
        script.show(&[]);
        assert_eq!(verdicts(script.beat(2)), [3]);
        assert_eq!(verdicts(script.beat(3)), Vec::<i64>::new());
        script.show(&[number(Tag::VerdictEcho, 3)]);
        script.pass_ms(200);
        script.show(&[]);
        assert_eq!(verdicts(script.beat(4)), Vec::<i64>::new());
    }

    #[test]
    fn a_pass_that_was_withdrawn_is_not_written_again() {
        let mut script = joined();
        assert_eq!(words(&script.permit(pass(1))), [3]);
        assert_eq!(script.restrain(Restraint::Fail(key(1))), []);
        script.pass_ms(100);
        script.show(&[]);
        let writes = script.beat(1).into_iter().filter(|write| write.values[0].0 == Tag::VerdictWord);
        assert_eq!(words(&writes.collect::<Vec<_>>()), [2], "only the fail, although no echo of the pass came");
    }

    #[test]
    fn a_fail_that_is_never_echoed_does_not_block_the_others_for_ever() {
        let mut script = joined();
        script.restrain(Restraint::Fail(key(1)));
        let late = Permit::Pass { key: key(2), until_mono_us: u64::MAX };
        assert_eq!(script.permit(late), []);
        script.pass_ms(1001);
        script.show(&[]);
        let writes = script.beat(1);
        assert_eq!(words(writes.get(1..).expect("a heartbeat and more")), [5]);
    }

    #[test]
    fn standing_verdicts_are_written_again_after_a_reconnection() {
        let mut script = joined();
        script.permit(pass(1));
        script.permit(pass(2));
        script.reconnect();
        assert_eq!(script.permit(pass(1)), []);
        script.join(7, &[idle(), vec![number(Tag::VerdictEcho, 3)]].concat());
        assert_eq!(words(&script.permit(pass(1))), [3]);
        assert_eq!(words(&script.permit(pass(2))), [5], "no echo is due for what the device echoes already");
    }

    #[test]
    fn the_pair_of_tags_goes_out_in_one_write_verdict_first() {
        let mut pair = settings(StationKind::Rejector);
        pair.verdict_form = VerdictForm::Pair;
        pair.wraps = vec![(Tag::Track, 100)];
        let mut script = joined_with(pair);
        script.said(&[number(Tag::InCount, 101)]);
        assert_eq!(
            script.permit(pass(101)).iter().map(values).collect::<Vec<_>>(),
            [[(Tag::Verdict, TagValue::Bool(true)), (Tag::VerdictTrack, TagValue::Int(1))]]
        );
        assert_eq!(script.said(&[number(Tag::VerdictEcho, 1)]), [Observed::Echoed { track: 101, pass: true }]);
    }

    #[test]
    fn tracks_of_sixteen_bit_words_wrap() {
        let mut narrow = settings(StationKind::Rejector);
        narrow.wraps = vec![(Tag::Track, 32_767)];
        let cursor = Cursor { device_epoch: 7, last_track: 32_768, last_seq: 32_766, ..Cursor::default() };
        let mut script = Script::new(narrow, cursor);
        script.join(7, &[vec![number(Tag::InCount, 32_769)], ends(32_766, &[])].concat());
        assert_eq!(words(&script.permit(pass(32_767))), [65_535]);
        assert_eq!(words(&script.show(&[number(Tag::VerdictEcho, 65_535)]).1), Vec::<i64>::new());
        assert_eq!(words(&script.permit(pass(32_769))), [5]);
        assert_eq!(
            script.said(&ends(32_767, &[(32_767 % RING, 32_767, 1)])),
            [ended(32_767, 32_767, TrackEnd::Passed)]
        );
    }

    #[test]
    fn the_queue_is_bounded_and_fails_find_room() {
        let mut script = joined();
        for track in 1..=2000 {
            script.permit(pass(track));
        }
        script.restrain(Restraint::Fail(key(5000)));
        let mut written = 1;
        let (_, mut writes) = script.show(&[number(Tag::VerdictEcho, 3)]);
        assert_eq!(words(&writes), [10_000]);
        while let Some(word) = words(&writes).first() {
            written += 1;
            writes = script.show(&[number(Tag::VerdictEcho, *word)]).1;
        }
        assert_eq!(written, 1 + QUEUE_MAX);
    }

    #[test]
    fn a_new_epoch_voids_the_verdicts_of_the_old_one() {
        let mut script = joined();
        script.permit(pass(1));
        script.permit(pass(2));
        let (_, writes) = script.show(&[number(Tag::Epoch, 8), number(Tag::VerdictEcho, 0)]);
        assert_eq!(writes.len(), 1, "the epoch alone: {writes:?}");
        assert_eq!(script.permit(pass(2)), []);
        assert_eq!(script.restrain(Restraint::Fail(key(2))), []);
    }

    #[test]
    fn bin_and_phantoms_are_told_on_change() {
        let mut script = joined();
        let flag = |full| reading(Tag::BinFull, TagValue::Bool(full));
        let all = [number(Tag::PhantomCount, 1), number(Tag::BinCount, 4), flag(true)];
        assert_eq!(
            script.said(&all),
            [
                Observed::PhantomCounted { count: 1 },
                Observed::BinCounted { count: 4 },
                Observed::BinFull { full: true }
            ]
        );
        assert_eq!(script.said(&all), []);
        assert_eq!(script.said(&[flag(false)]), [Observed::BinFull { full: false }]);
    }

    #[test]
    fn the_run_permit_is_a_level() {
        let mut script = joined();
        let level = |on| vec![(Tag::RunPermit, TagValue::Bool(on))];
        let run = Permit::Run { station: STATION };
        assert_eq!(script.permit(run.clone()).iter().map(values).collect::<Vec<_>>(), [level(true)]);
        assert_eq!(script.permit(run).iter().map(values).collect::<Vec<_>>(), [level(true)]);
        let hold = Restraint::Hold { station: STATION };
        assert_eq!(script.restrain(hold).iter().map(values).collect::<Vec<_>>(), [level(false)]);
    }
}
