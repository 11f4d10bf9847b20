//! The printer's handshake: `data`, then `data_seq`, one record at a time and the next only when `accepted_seq` says that the
//! last was taken; `printed_seq` says what lies on a product.
//!
//! A coder's buffer is not idempotent, its numbers are: within one session nothing is written twice. After a new session the
//! device's own `accepted_seq` decides whether the last record arrived; if not, the same bytes go out under the same number.
//! Where the device has no `accepted_seq`, a record counts as taken once it is printed.

use std::collections::BTreeMap;

use crate::domain::tag::{Tag, TagValue};
use crate::engine::input::Observed;
use crate::engine::output::Permit;
use crate::station::counter::Counter;
use crate::station::image::Doubt;
use crate::station::{Base, Cursor, Level, Output, Scan, Settings, int, observe_fault};

/// Records that wait for the printer to take them; more are dropped, and come again as standing outputs.
const QUEUE_MAX: usize = 1024;

#[derive(Clone, Debug)]
pub(in crate::station) struct Printer {
    accepted: Counter,
    printed: Counter,
    flush: Counter,
    data_seq: Counter,
    queue: BTreeMap<u64, Vec<u8>>,
    /// The record written last in this session.
    written: Option<u64>,
    counted: Level<(u64, u64)>,
    flushed: Level<u64>,
    fault: Level<i64>,
}

impl Printer {
    pub(in crate::station) fn new(settings: &Settings, cursor: &Cursor) -> Self {
        Self {
            // What the printer took is at or above what it printed, by no more than its buffer holds.
            accepted: Counter::new(settings.wrap(Tag::AcceptedSeq), Some(cursor.printed)),
            printed: Counter::new(settings.wrap(Tag::PrintedSeq), Some(cursor.printed)),
            flush: Counter::new(settings.wrap(Tag::FlushDone), None),
            data_seq: Counter::new(settings.wrap(Tag::DataSeq).or(settings.wrap(Tag::AcceptedSeq)), None),
            queue: BTreeMap::new(),
            written: None,
            counted: Level::default(),
            flushed: Level::default(),
            fault: Level::default(),
        }
    }

    pub(in crate::station) fn reset(&mut self, base: Base) {
        self.accepted.restart(base.last());
        self.printed.restart(base.last());
        self.flush.restart(base.last());
        self.forget_outputs();
    }

    pub(in crate::station) fn forget_levels(&mut self) {
        self.counted = Level::default();
        self.flushed = Level::default();
        self.fault = Level::default();
    }

    pub(in crate::station) fn forget_outputs(&mut self) {
        self.queue.clear();
        self.written = None;
    }

    pub(in crate::station) fn scan(&mut self, mut scan: Scan<'_>) -> Result<(), Doubt> {
        let printed = self.printed.read(scan.image.counter(Tag::PrintedSeq)?).ok_or(Doubt::Fell)?;
        let accepted = if scan.settings.is_absent(Tag::AcceptedSeq) {
            printed
        } else {
            self.accepted.read(scan.image.counter(Tag::AcceptedSeq)?).ok_or(Doubt::Fell)?
        };
        self.printed.accept(printed);
        self.accepted.accept(accepted);
        observe_fault(&mut self.fault, &mut scan);
        if let Some((accepted, printed)) = self.counted.change(Some((accepted, printed))) {
            scan.out.push(Observed::PrinterCounted { accepted, printed });
        }
        self.observe_flush(&mut scan);
        let Scan { settings, now, writes, .. } = scan;
        self.pump(&mut Output { settings, epoch: None, now, writes });
        Ok(())
    }

    fn observe_flush(&mut self, scan: &mut Scan<'_>) {
        let done = scan.image.number(Tag::FlushDone).and_then(|raw| self.flush.read(raw));
        if let Some(flush) = self.flushed.change(done.filter(|flush| *flush > 0)) {
            self.flush.accept(flush);
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
                output.write(vec![(Tag::Flush, int(self.flush.shown(*flush)))]);
            }
            Permit::Pass { .. }
            | Permit::Run { .. }
            | Permit::AckResult { .. }
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
        }
    }
}
