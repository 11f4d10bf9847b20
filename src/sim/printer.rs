//! The printer: a buffer of records, one printed on every unit that enters.
//!
//! A record is taken when `data_seq` moves, and acknowledged in `accepted_seq`; while the buffer is full the acknowledgement
//! waits. `printed_seq` and `next_seq` name records by their `data_seq`; a moved `flush` empties the buffer and is echoed in
//! `flush_done`. An empty buffer starves the infeed: no unit enters without a record.

use std::collections::VecDeque;

use super::tags::Tags;
use super::truth::{Truth, TruthEvent, text_of};
use crate::domain::tag::{StationKind, Tag};

const KIND: StationKind = StationKind::Printer;

/// What the printer was given for one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub data_seq: u64,
    pub data: Vec<u8>,
}

#[derive(Clone, Debug)]
pub struct Printer {
    depth: usize,
    buffer: VecDeque<Record>,
    accepted_seq: u64,
    printed_seq: u64,
    flush_done: u64,
}

impl Printer {
    pub fn new(depth: usize) -> Self {
        Self { depth, buffer: VecDeque::new(), accepted_seq: 0, printed_seq: 0, flush_done: 0 }
    }

    /// Takes a flush and a record, where they are addressed to this epoch.
    pub fn take(&mut self, addressed: bool, epoch: u32, tags: &Tags, truth: &mut Truth) {
        if !addressed {
            return;
        }
        let flush = count(tags.int(KIND, Tag::Flush));
        let is_flushed = flush != self.flush_done;
        let data_seq = count(tags.int(KIND, Tag::DataSeq));
        let is_new = data_seq != 0 && data_seq != self.accepted_seq;
        // A record that waits for room is flushed with the others: whoever flushes burns all that was handed over.
        if is_new && (is_flushed || self.buffer.len() < self.depth) {
            self.accepted_seq = data_seq;
            self.buffer.push_back(Record { data_seq, data: tags.bytes(KIND, Tag::Data).to_vec() });
        }
        if is_flushed {
            self.flush_done = flush;
            self.burn(epoch, truth);
        }
    }

    /// The record for the unit that enters now; none starves the infeed.
    pub fn print(&mut self) -> Option<Record> {
        let record = self.buffer.pop_front()?;
        self.printed_seq = record.data_seq;
        Some(record)
    }

    /// Records in the buffer.
    pub fn held(&self) -> u64 {
        self.buffer.len() as u64
    }

    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    fn burn(&mut self, epoch: u32, truth: &mut Truth) {
        let records: Vec<String> = self.buffer.drain(..).map(|record| text_of(&record.data)).collect();
        if !records.is_empty() {
            truth.note(TruthEvent::Burned { epoch, records });
        }
    }

    /// A restart: the buffer's records are burned, the counters begin anew.
    pub fn reset(&mut self, epoch: u32, truth: &mut Truth) {
        self.burn(epoch, truth);
        *self = Printer::new(self.depth);
    }

    pub fn show(&self, tags: &mut Tags) {
        let next = self.buffer.front().map_or(0, |record| record.data_seq);
        tags.set_int(KIND, Tag::PrintedSeq, self.printed_seq);
        tags.set_int(KIND, Tag::AcceptedSeq, self.accepted_seq);
        tags.set_int(KIND, Tag::NextSeq, next);
        tags.set_int(KIND, Tag::Remaining, self.buffer.len() as u64);
        tags.set_int(KIND, Tag::FlushDone, self.flush_done);
    }
}

/// A written counter; the shape of the tag has refused what is negative.
fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
