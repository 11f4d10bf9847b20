//! Serials to the printer and back: handed over a few ahead of the print head, encoded when the device has printed them,
//! invalid when its buffer was lost. Data are never handed over twice, and nothing counts as printed that was not given.

use crate::domain::element::ElementString;
use crate::domain::gs1::SerialNumber;
use crate::domain::tag::StationId;
use crate::domain::time::Now;
use crate::engine::fact::{Fact, InvalidCause};
use crate::engine::input::BatchSheet;
use crate::engine::output::{Permit, Step};
use crate::engine::reason::{AlarmKind, BatchState};
use crate::engine::{Engine, Role};

/// A pool is low when this part of its serials is left.
const POOL_LOW_PART: u32 = 10;

/// Printed records wait this long for company before they get a fact of their own.
const ENCODED_WAIT_US: u64 = 2_000_000;
/// And no more than this many wait.
const ENCODED_WAIT_MAX: u64 = 32;

impl Engine {
    /// A count beyond all that the printer was given since it started is of a record from before: nothing is counted by it, nor by
    /// any other count until its buffer is empty.
    pub(super) fn count_printed(&mut self, now: Now, step: &mut Step, station: StationId, accepted: u64, printed: u64) {
        let known = self.known(station);
        let shown = accepted.max(printed);
        let is_owed = self.owes_strange(station);
        self.with_live(station, |live| {
            live.shown = live.shown.max(shown);
            live.is_strange |= !live.resumed && is_owed;
            live.is_strange |= shown > known.allocated.max(live.emptied);
            if live.is_strange || shown > known.allocated {
                return;
            }
            (live.accepted, live.printed) = (accepted, printed);
            if printed > known.printed && live.printed_since_us.is_none() {
                live.printed_since_us = Some(now.mono_us);
            }
        });
        if self.live(station).is_some_and(|live| !live.resumed) {
            self.with_live(station, |live| live.resumed = true);
            self.doubt_buffer(step, station);
            let taken = self.live(station).map_or(0, |live| live.accepted);
            self.print_after(step, station, taken.max(known.printed));
        }
        if self.live(station).is_some_and(|live| live.printed.saturating_sub(known.printed) >= ENCODED_WAIT_MAX) {
            self.encode(step, station);
        }
        self.allocate(step, station);
    }

    /// The printer took over a record that was not written since it started: a write that arrived late.
    pub(super) fn find_strange(&mut self, step: &mut Step, station: StationId) {
        self.with_live(station, |live| live.is_strange = true);
        self.allocate(step, station);
    }

    pub(super) fn tick_printer(&mut self, now: Now, step: &mut Step, station: StationId) {
        let since = self.live(station).and_then(|live| live.printed_since_us);
        if since.is_some_and(|since| now.mono_us.saturating_sub(since) >= ENCODED_WAIT_US) {
            self.encode(step, station);
        }
        self.allocate(step, station);
    }

    /// Says once that few serials are left to print, and once that none is. The facts know what was told.
    pub(super) fn tell_pool(&mut self, step: &mut Step) {
        let Some(batch) = self.state.current().filter(|batch| batch.state == BatchState::Running) else { return };
        let (left, received) = (batch.unprinted(), batch.counts.received);
        let kind = match left {
            0 => AlarmKind::SerialsExhausted,
            _ if left <= received / POOL_LOW_PART => AlarmKind::SerialPoolLow,
            _ => return,
        };
        if batch.pool_told != Some(kind) {
            let detail = format!("batch {}: {left} of {received} serials are left to print", batch.id());
            self.raise(step, kind, None, detail);
        }
    }

    /// What printers have printed is a fact before a camera's result is judged by it.
    pub(super) fn encode_seen(&mut self, step: &mut Step) {
        for id in self.ids() {
            if matches!(self.spec(id).map(|spec| spec.role), Some(Role::Printer { .. })) {
                self.encode(step, id);
            }
        }
    }

    /// A record that was handed over and stands on a unit was printed, and so were those before it: a camera may be heard
    /// before the printer. A printer that is heard must have taken the record over at least.
    pub(super) fn take_for_printed(&mut self, serial: Option<SerialNumber>) {
        let place = serial.and_then(|serial| self.state.current()?.pool.find(&serial));
        let behind = place.and_then(|place| self.state.current()?.next_place.checked_sub(place.checked_add(1)?));
        let Some(behind) = behind else { return };
        for id in self.ids() {
            let allocated = self.known(id).allocated;
            let Some(seq) = allocated.checked_sub(u64::from(behind)) else { continue };
            self.with_live(id, |live| {
                if !live.resumed || seq <= live.accepted {
                    live.printed = live.printed.max(seq);
                }
            });
        }
    }

    /// Records were given to a printer that cannot say which of them it holds: to give them again might print them twice.
    fn doubt_buffer(&mut self, step: &mut Step, station: StationId) {
        let is_unknown = self.live(station).is_some_and(|live| live.is_buffer_unknown);
        self.encode(step, station);
        let known = self.known(station);
        if is_unknown && known.allocated > known.printed {
            self.empty(step, station);
        }
    }

    /// A strange record lies before or between those that were given: it is burned with them, while there is a batch to say so.
    fn doubt_strange(&mut self, step: &mut Step, station: StationId) {
        let is_strange = self.live(station).is_some_and(|live| live.is_strange && live.resumed);
        let known = self.known(station);
        if is_strange && known.joined && !known.flush_owed && self.state.current().is_some() {
            self.empty(step, station);
            self.raise(step, AlarmKind::StrangeRecord, Some(station), String::new());
        }
    }

    /// After a restart of the line: what the alarm is about still lies in the buffer, as far as is known.
    fn owes_strange(&self, station: StationId) -> bool {
        let Some(spec) = self.spec(station) else { return false };
        let mut alarms = self.state.alarms.values();
        let is_told = alarms.any(|at| at.kind == AlarmKind::StrangeRecord && at.station == Some(spec.name));
        is_told && self.known(station).flush_owed
    }

    fn empty(&mut self, step: &mut Step, station: StationId) {
        let Some(spec) = self.spec(station) else { return };
        if !self.known(station).flush_owed {
            self.emit(step, Fact::BufferDoubted { station: spec.name });
            self.flush(step, station);
        }
    }

    fn encode(&mut self, step: &mut Step, station: StationId) {
        let Some(spec) = self.spec(station) else { return };
        let known = self.known(station);
        let printed = self.live(station).map_or(0, |live| live.printed);
        self.with_live(station, |live| live.printed_since_us = None);
        let Some((first_index, serials)) = self.records(station, known.printed, printed) else { return };
        let from_seq = known.printed.saturating_add(1);
        let epoch = known.epoch;
        self.emit(step, Fact::SerialsEncoded { station: spec.name, epoch, from_seq, first_index, serials });
    }

    /// The serials of the records after `after` up to `through`, and the place of the first in the order. `None` where
    /// there are none. Places and record numbers run in step until the printer's epoch ends.
    fn records(&self, station: StationId, after: u64, through: u64) -> Option<(u32, Vec<SerialNumber>)> {
        let batch = self.state.current()?;
        let count = u32::try_from(through.checked_sub(after).filter(|count| *count > 0)?).ok()?;
        let behind = u32::try_from(self.known(station).allocated.checked_sub(after)?).ok()?;
        let first = batch.next_place.checked_sub(behind)?;
        Some((first, batch.pool.range(first, count).to_vec()))
    }

    /// The bytes of a record that was handed over, is not printed and is not burned.
    pub(super) fn owed_record(&self, station: StationId, seq: u64) -> Option<Vec<u8>> {
        let known = self.known(station);
        if seq <= known.printed || seq > known.allocated {
            return None;
        }
        let (_, serials) = self.records(station, seq.checked_sub(1)?, seq)?;
        Some(record_data(&self.state.current()?.sheet, serials.first()?))
    }

    /// Hands over more records when half of the queue is used up.
    pub(super) fn allocate(&mut self, step: &mut Step, station: StationId) {
        let Some(spec) = self.spec(station) else { return };
        let Role::Printer { queue } = spec.role else { return };
        self.doubt_strange(step, station);
        if self.is_suspended() {
            return;
        }
        let known = self.known(station);
        // Whatever the device's own buffer takes over, a power cycle burns no more than this many.
        let printed = self.live(station).map_or(0, |live| live.printed).max(known.printed);
        let waiting = known.allocated.saturating_sub(printed);
        let Some(batch) = self.state.current().filter(|batch| batch.state == BatchState::Running) else { return };
        let resumed = self.live(station).is_some_and(|live| live.resumed);
        if !known.joined || !resumed || known.flush_owed || waiting > u64::from(queue / 2) {
            return;
        }
        let first_index = batch.next_place;
        let serials = batch.pool.range(first_index, u32::from(queue)).to_vec();
        if serials.is_empty() {
            return;
        }
        // Its counters never fall: the next record has a number above all that it has shown.
        let last = self.live(station).map_or(0, |live| live.shown).max(known.allocated);
        let (from_seq, epoch) = (last.saturating_add(1), known.epoch);
        self.emit(step, Fact::SerialsAllocated { station: spec.name, epoch, from_seq, first_index, serials });
        self.print_after(step, station, last);
    }

    /// Permits for every record handed over and not taken over yet, after record `after`.
    pub(super) fn print_after(&self, step: &mut Step, station: StationId, after: u64) {
        let known = self.known(station);
        if known.flush_owed {
            return;
        }
        let Some(batch) = self.state.current().filter(|batch| batch.state.is_printing()) else { return };
        let Some((_, serials)) = self.records(station, after, known.allocated) else { return };
        let first = after.saturating_add(1);
        for (seq, serial) in (first..).zip(serials) {
            let data = record_data(&batch.sheet, &serial);
            step.permits.push(Permit::Print { station, device_epoch: known.device_epoch, seq, data });
        }
    }

    /// A stopped batch takes its records back, and so does one whose printer cannot say what it holds: the buffer is emptied, and
    /// what lay in it is burned.
    pub(super) fn flush(&self, step: &mut Step, station: StationId) {
        let known = self.known(station);
        if known.flush_owed && known.joined {
            let flush = known.flushes.saturating_add(1);
            step.permits.push(Permit::Flush { station, device_epoch: known.device_epoch, flush });
        }
    }

    pub(super) fn flushed(&mut self, step: &mut Step, station: StationId, flush: u64) {
        let known = self.known(station);
        if known.flush_owed && flush == known.flushes.saturating_add(1) {
            self.encode(step, station);
            let printing = self.state.current().is_some_and(|batch| batch.state.is_printing());
            let cause = if printing { InvalidCause::BufferDoubted } else { InvalidCause::BatchStopped };
            self.burn(step, station, cause);
            self.with_live(station, |live| (live.emptied, live.is_strange) = (live.shown, false));
            self.allocate(step, station);
        }
    }

    /// The printer forgot its buffer.
    pub(super) fn lose_buffer(&mut self, step: &mut Step, station: StationId) {
        self.encode(step, station);
        self.burn(step, station, InvalidCause::BufferLost);
    }

    fn burn(&mut self, step: &mut Step, station: StationId, cause: InvalidCause) {
        let Some(spec) = self.spec(station) else { return };
        let known = self.known(station);
        let lost = self.records(station, known.printed, known.allocated);
        // A flush that found nothing is a fact too: the next one must have another number. So is one whose batch was aborted.
        let nothing = || (self.state.current().map_or(0, |batch| batch.next_place), Vec::new());
        let lost = if cause == InvalidCause::BufferLost { lost } else { Some(lost.unwrap_or_else(nothing)) };
        let Some((first_index, serials)) = lost else { return };
        self.emit(step, Fact::SerialsInvalidated { station: spec.name, cause, first_index, serials });
    }
}

/// The element string of one unit: GTIN, serial, expiry, lot. The values were proven when the order was loaded.
fn record_data(sheet: &BatchSheet, serial: &SerialNumber) -> Vec<u8> {
    let expiry = sheet.expiry.to_yymmdd();
    let fields =
        [("01", sheet.gtin.as_str()), ("21", serial.as_str()), ("17", expiry.as_str()), ("10", sheet.lot.as_str())];
    ElementString::build(&fields).unwrap_or_default()
}
