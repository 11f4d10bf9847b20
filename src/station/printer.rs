//! The printer's handshake: `data`, then `data_seq`, one record at a time and the next only when `accepted_seq` says that the
//! last was taken; `printed_seq` says what lies on a product.
//!
//! A coder's buffer is not idempotent, its numbers are: within one session nothing is written twice. After a new session the
//! device's own `accepted_seq` decides whether the last record arrived; if not, the same bytes go out under the same number.
//! A number above all that were written since the device started is a write of before that came late: it is told, and no count of it.
//! A device without an epoch that starts again, as its counters or its heartbeat say, may have kept what it held: nobody counts on that,
//! and it is emptied before it gets anything. A flush is asked for by another number than the one that the device shows as done, and
//! done when it shows that: its own count may be older than ours, or go on where ours begins again.
//! Where the device has no `accepted_seq`, a record counts as taken once it is printed, and what the buffer holds after a break cannot
//! be read: it is emptied, and nothing is given twice.

use std::collections::BTreeMap;

use crate::domain::tag::{Tag, TagValue};
use crate::engine::input::Observed;
use crate::engine::output::Permit;
use crate::station::counter::{Counter, shown};
use crate::station::image::Doubt;
use crate::station::{Base, Cursor, Level, Output, Scan, Settings, int, observe_fault};

/// Records that wait for the printer to take them; more are dropped, and come again as standing outputs.
const QUEUE_MAX: usize = 1024;

#[derive(Clone, Debug)]
pub(in crate::station) struct Printer {
    accepted: Counter,
    printed: Counter,
    data_seq: Counter,
    queue: BTreeMap<u64, Vec<u8>>,
    /// The record written last in this session.
    written: Option<u64>,
    /// The highest record written since the device started; `None` where an earlier process may have written more.
    given: Option<u64>,
    counted: Level<(u64, u64)>,
    /// The number of the last flush that the device shows.
    flush_done: u64,
    /// The flush that is asked for, and the number under which the device shows it.
    flushing: Option<(u64, u64)>,
    /// The device started again, and has no epoch that would bind what it held before.
    is_guessed: bool,
    fault: Level<i64>,
    /// Where the buffer cannot be read, that is said once after every join.
    is_buffer_told: bool,
}

impl Printer {
    pub(in crate::station) fn new(settings: &Settings, cursor: &Cursor) -> Self {
        Self {
            // What the printer took is at or above what it printed, by no more than its buffer holds.
            accepted: Counter::new(settings.wrap(Tag::AcceptedSeq), Some(cursor.printed)),
            printed: Counter::new(settings.wrap(Tag::PrintedSeq), Some(cursor.printed)),
            data_seq: Counter::new(settings.wrap(Tag::DataSeq).or(settings.wrap(Tag::AcceptedSeq)), None),
            queue: BTreeMap::new(),
            written: None,
            given: None,
            counted: Level::default(),
            flush_done: 0,
            flushing: None,
            is_guessed: false,
            fault: Level::default(),
            is_buffer_told: false,
        }
    }

    pub(in crate::station) fn reset(&mut self, base: Base) {
        self.accepted.restart(base.last());
        self.printed.restart(base.last());
        self.given = base.last();
        self.is_guessed = base == Base::Guessed;
        self.forget_outputs();
    }

    /// What a device that started holds in any case: written again before its epoch is echoed, so that a record of before that came
    /// late meanwhile does not stand when it begins to take records.
    pub(in crate::station) fn blank(&self) -> Vec<(Tag, TagValue)> {
        vec![(Tag::DataSeq, int(0_u64))]
    }

    pub(in crate::station) fn forget_levels(&mut self) {
        self.is_buffer_told = false;
        self.counted = Level::default();
        self.fault = Level::default();
    }

    pub(in crate::station) fn forget_outputs(&mut self) {
        self.queue.clear();
        self.written = None;
        self.flushing = None;
    }

    pub(in crate::station) fn scan(&mut self, mut scan: Scan<'_>) -> Result<(), Doubt> {
        let printed = scan.image.count(Tag::PrintedSeq, &self.printed)?;
        let accepted = if scan.settings.is_absent(Tag::AcceptedSeq) {
            printed
        } else {
            scan.image.count(Tag::AcceptedSeq, &self.accepted)?
        };
        self.printed.accept(printed);
        self.accepted.accept(accepted);
        observe_fault(&mut self.fault, &mut scan);
        if scan.settings.is_absent(Tag::AcceptedSeq) && !std::mem::replace(&mut self.is_buffer_told, true) {
            scan.out.push(Observed::BufferUnknown);
        }
        if std::mem::take(&mut self.is_guessed) {
            scan.out.push(Observed::RecordStrange);
        }
        if self.given.is_some_and(|given| accepted > given) && !scan.settings.is_absent(Tag::AcceptedSeq) {
            self.given = Some(accepted);
            scan.out.push(Observed::RecordStrange);
        }
        if let Some((accepted, printed)) = self.counted.change(Some((accepted, printed))) {
            scan.out.push(Observed::PrinterCounted { accepted, printed });
        }
        self.observe_flush(&mut scan);
        let Scan { settings, now, writes, .. } = scan;
        self.pump(&mut Output { settings, epoch: None, now, writes });
        Ok(())
    }

    fn observe_flush(&mut self, scan: &mut Scan<'_>) {
        let done = scan.image.number(Tag::FlushDone);
        self.flush_done = done.unwrap_or(self.flush_done);
        if let Some((flush, _)) = self.flushing.take_if(|(_, shown)| done == Some(*shown)) {
            // A record that was on its way is burned or taken by now; either way the next one may follow.
            self.written = None;
            scan.out.push(Observed::Flushed { flush });
        }
    }

    pub(in crate::station) fn permit(&mut self, permit: &Permit, mut output: Output<'_>) {
        match permit {
            Permit::Print { seq, data, .. } => {
                let is_taken = self.accepted.last().is_some_and(|accepted| *seq <= accepted);
                if !is_taken && self.written != Some(*seq) && self.queue.len() < QUEUE_MAX {
                    self.queue.insert(*seq, data.clone());
                    self.pump(&mut output);
                }
            }
            Permit::Flush { flush, .. } => {
                // What was not taken yet burns with what was: its numbers are never written any more.
                self.queue.clear();
                let wrap = output.settings.wrap(Tag::FlushDone);
                let next = shown(wrap, self.flush_done.saturating_add(1));
                self.flushing = Some((*flush, next));
                output.write(vec![(Tag::Flush, int(next))]);
            }
            Permit::Pass { .. }
            | Permit::Run { .. }
            | Permit::AckResult { .. }
            | Permit::Expect { .. }
            | Permit::AckRequest { .. }
            | Permit::Close(_)
            | Permit::Settle { .. } => {}
        }
    }

    /// Writes the next record where the printer took the last one.
    fn pump(&mut self, output: &mut Output<'_>) {
        let Some(accepted) = self.accepted.last() else {
            return;
        };
        self.queue.retain(|seq, _| *seq > accepted);
        if self.written.is_some_and(|written| written > accepted) {
            return;
        }
        if let Some((seq, data)) = self.queue.pop_first() {
            let shown = int(self.data_seq.shown(seq));
            output.write(vec![(Tag::Data, TagValue::Bytes(data)), (Tag::DataSeq, shown)]);
            self.written = Some(seq);
            self.given = self.given.max(Some(seq));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tag::{Reading, StationKind, TagWrite};
    use crate::engine::input::LostCause;
    use crate::station::script::{STATION, Script, number, settings, values};

    fn counts(accepted: i64, printed: i64) -> [Reading; 2] {
        [number(Tag::PrintedSeq, printed), number(Tag::AcceptedSeq, accepted)]
    }

    fn joined() -> Script {
        let mut script = Script::new(settings(StationKind::Printer), Cursor::default());
        script.join(7, &counts(0, 0));
        script
    }

    fn print(seq: u64) -> Permit {
        let data = format!("record {seq}").into_bytes();
        Permit::Print { station: STATION, device_epoch: 7, seq, data }
    }

    fn record(writes: &[TagWrite]) -> Vec<(Tag, TagValue)> {
        assert!(writes.len() <= 1, "one record at a time: {writes:?}");
        writes.first().map(values).unwrap_or_default()
    }

    fn expected(seq: i64) -> Vec<(Tag, TagValue)> {
        let data = format!("record {seq}").into_bytes();
        vec![(Tag::Data, TagValue::Bytes(data)), (Tag::DataSeq, TagValue::Int(seq))]
    }

    #[test]
    fn writes_the_next_record_when_the_last_was_taken() {
        let mut script = joined();
        assert_eq!(record(&script.permit(print(1))), expected(1));
        assert_eq!(script.permit(print(2)), []);
        assert_eq!(script.permit(print(3)), []);
        assert_eq!(script.show(&counts(0, 0)).1, []);
        let (out, writes) = script.show(&counts(1, 0));
        assert_eq!(out, [Observed::PrinterCounted { accepted: 1, printed: 0 }]);
        assert_eq!(record(&writes), expected(2));
        assert_eq!(script.show(&counts(1, 1)).1, []);
        assert_eq!(record(&script.show(&counts(2, 1)).1), expected(3));
    }

    #[test]
    fn never_writes_a_record_twice_in_one_session() {
        let mut script = joined();
        assert_eq!(record(&script.permit(print(1))), expected(1));
        assert_eq!(script.permit(print(1)), []);
        script.show(&counts(1, 0));
        assert_eq!(script.permit(print(1)), []);
    }

    #[test]
    fn a_new_session_asks_the_device_whether_the_record_arrived() {
        let mut script = joined();
        script.permit(print(1));
        script.reconnect();
        assert_eq!(script.permit(print(1)), [], "nothing before the device was read again");
        script.join(7, &counts(1, 0));
        assert_eq!(script.permit(print(1)), []);
        assert_eq!(record(&script.permit(print(2))), expected(2));
        script.reconnect();
        script.join(7, &counts(1, 0));
        assert_eq!(record(&script.permit(print(2))), expected(2), "the same bytes under the same number");
    }

    #[test]
    fn a_new_epoch_voids_what_was_queued() {
        let mut script = joined();
        script.permit(print(1));
        script.permit(print(2));
        let all = [&counts(0, 0)[..], &[number(Tag::Epoch, 8)]].concat();
        let (_, writes) = script.show(&all);
        assert_eq!(writes.len(), 1, "the epoch alone: {writes:?}");
        assert_eq!(script.permit(print(2)), [], "it names the old epoch");
    }

    #[test]
    fn a_flush_burns_what_was_not_taken_and_is_told_when_done() {
        let mut script = joined();
        script.permit(print(1));
        script.permit(print(2));
        let flush = Permit::Flush { station: STATION, device_epoch: 7, flush: 1 };
        assert_eq!(record(&script.permit(flush)), [(Tag::Flush, TagValue::Int(1))]);
        let (out, writes) = script.show(&[number(Tag::FlushDone, 1)]);
        assert_eq!(out, [Observed::Flushed { flush: 1 }]);
        assert_eq!(writes, []);
        assert_eq!(record(&script.permit(print(3))), expected(3));
    }

    fn without_epoch() -> Script {
        let mut bare = settings(StationKind::Printer);
        bare.absent = vec![Tag::Epoch, Tag::EpochOut];
        Script::new(bare, Cursor { device_epoch: 7, printed: 3, ..Cursor::default() })
    }

    /// A heartbeat moves in every read of a script.
    fn back(script: &mut Script, shows: &[Reading]) -> Vec<Observed> {
        script.reconnect();
        assert_eq!(script.said(shows), [], "its heartbeat has not moved yet");
        script.said(shows)
    }

    #[test]
    fn a_printer_without_an_epoch_that_kept_its_counts_goes_on_where_it_was() {
        let mut script = without_epoch();
        let joined = Observed::Joined { device_epoch: 7, reset: false };
        let counted = |accepted, printed| Observed::PrinterCounted { accepted, printed };
        script.show(&counts(5, 3));
        assert_eq!(script.said(&counts(5, 3)), [joined.clone(), counted(5, 3)], "after a restart of the line");
        assert_eq!(record(&script.permit(print(6))), expected(6));
        assert_eq!(back(&mut script, &counts(6, 5)), [joined.clone(), counted(6, 5)]);
        assert_eq!(script.permit(print(6)), [], "it arrived");
        assert_eq!(back(&mut script, &counts(6, 6)), [joined, counted(6, 6)]);
    }

    #[test]
    fn a_printer_without_an_epoch_whose_counts_fell_begins_another_one_and_is_emptied() {
        for (fell, accepted, printed) in [(counts(0, 0), 0, 0), (counts(4, 3), 4, 3)] {
            let mut script = without_epoch();
            script.show(&counts(5, 3));
            script.show(&counts(5, 3));
            let counted = Observed::PrinterCounted { accepted, printed };
            let again = [Observed::Joined { device_epoch: 8, reset: true }, Observed::RecordStrange, counted];
            script.reconnect();
            assert_eq!(script.said(&fell), [], "its heartbeat has not moved yet");
            assert_eq!(script.said(&fell), [], "nothing of it counts");
            assert_eq!(script.said(&fell), again, "after a break");
            let mut script = without_epoch();
            script.show(&counts(5, 3));
            script.show(&counts(5, 3));
            let lost = script.said(&fell);
            let [Observed::Lost { cause: LostCause::Quality(Some(_)) }] = lost[..] else { panic!("{lost:?}") };
            assert_eq!(script.said(&fell), again, "without one");
            assert_eq!(script.said(&fell), []);
        }
    }

    #[test]
    fn a_printer_without_an_epoch_whose_heartbeat_began_anew_is_another_one_although_it_kept_its_counts() {
        let mut script = without_epoch();
        let shows = |beat| [&counts(5, 3)[..], &[number(Tag::Heartbeat, beat)]].concat();
        script.show(&shows(900));
        assert_eq!(script.show(&shows(901)).0.first(), Some(&Observed::Joined { device_epoch: 7, reset: false }));
        script.reconnect();
        script.show(&shows(900));
        let alternating = script.show(&shows(901)).0;
        assert_eq!(alternating.first(), Some(&Observed::Joined { device_epoch: 7, reset: false }));
        script.reconnect();
        script.show(&shows(1));
        let (out, _) = script.show(&shows(2));
        assert_eq!(out[..2], [Observed::Joined { device_epoch: 8, reset: true }, Observed::RecordStrange]);
    }

    #[test]
    fn a_flush_that_the_device_shows_from_before_is_not_taken_for_the_one_that_is_asked_for() {
        let mut script = joined();
        assert_eq!(script.said(&[number(Tag::FlushDone, 1)]), [], "nobody asked");
        let flush = Permit::Flush { station: STATION, device_epoch: 7, flush: 1 };
        assert_eq!(record(&script.permit(flush.clone())), [(Tag::Flush, TagValue::Int(2))]);
        assert_eq!(record(&script.permit(flush)), [(Tag::Flush, TagValue::Int(2))], "said again, it is the same");
        assert_eq!(script.said(&[number(Tag::FlushDone, 1)]), []);
        assert_eq!(script.said(&[number(Tag::FlushDone, 2)]), [Observed::Flushed { flush: 1 }]);
        assert_eq!(script.said(&[number(Tag::FlushDone, 2)]), []);
    }

    #[test]
    fn a_device_that_does_not_say_what_it_took_over_says_after_every_join_that_its_buffer_is_unknown() {
        let mut blind = settings(StationKind::Printer);
        blind.absent = vec![Tag::AcceptedSeq];
        let mut script = Script::new(blind, Cursor { device_epoch: 7, printed: 3, ..Cursor::default() });
        let shows = [number(Tag::PrintedSeq, 3)];
        let counted = Observed::PrinterCounted { accepted: 3, printed: 3 };
        for _ in 0..2 {
            assert_eq!(script.join(7, &shows), [Observed::BufferUnknown, counted.clone()]);
            assert_eq!(script.said(&shows), []);
            script.reconnect();
        }
    }

    #[test]
    fn a_record_that_stands_from_before_a_restart_is_blanked_before_the_epoch_is_echoed() {
        let mut script = joined();
        script.permit(print(1));
        let all = [&counts(0, 0)[..], &[number(Tag::Epoch, 8)]].concat();
        let (_, writes) = script.show(&all);
        assert_eq!(record(&writes), [(Tag::DataSeq, TagValue::Int(0)), (Tag::EpochOut, TagValue::Int(8))]);
        script.reconnect();
        let (_, writes) = script.show(&all);
        assert_eq!(writes, [], "its heartbeat has not moved yet");
        let (_, writes) = script.show(&all);
        assert_eq!(
            record(&writes),
            [(Tag::EpochOut, TagValue::Int(8))],
            "no restart: what stands there is of this epoch"
        );
    }

    // F47
    #[test]
    fn a_count_above_all_that_was_written_since_a_restart_is_strange_and_said_before_it() {
        let mut script = joined();
        script.permit(print(1));
        script.show(&[&counts(0, 0)[..], &[number(Tag::Epoch, 8)]].concat());
        let of_new = |seq| Permit::Print { station: STATION, device_epoch: 8, seq, data: b"new".to_vec() };
        script.permit(of_new(1));
        assert_eq!(script.said(&counts(1, 0)), [Observed::PrinterCounted { accepted: 1, printed: 0 }]);
        let strange = script.said(&counts(12, 0));
        assert_eq!(strange, [Observed::RecordStrange, Observed::PrinterCounted { accepted: 12, printed: 0 }]);
        assert_eq!(script.said(&counts(12, 12)), [Observed::PrinterCounted { accepted: 12, printed: 12 }]);
    }

    #[test]
    fn counts_go_on_across_a_wrap() {
        let mut wrapping = settings(StationKind::Printer);
        wrapping.wraps = vec![(Tag::PrintedSeq, 100), (Tag::AcceptedSeq, 100), (Tag::DataSeq, 100)];
        let mut script = Script::new(wrapping, Cursor { device_epoch: 7, printed: 299, ..Cursor::default() });
        assert_eq!(script.join(7, &counts(1, 100)), [Observed::PrinterCounted { accepted: 301, printed: 300 }]);
        assert_eq!(
            script.permit(print(302)).first().map(values).and_then(|values| values.last().cloned()),
            Some((Tag::DataSeq, TagValue::Int(2)))
        );
    }
}
