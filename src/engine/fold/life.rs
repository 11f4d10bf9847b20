//! What the steps of a batch's life change.

use crate::domain::text::BatchId;
use crate::engine::reason::BatchState;
use crate::engine::state::{Batch, Run, State};

impl State {
    /// With nothing in transit, the next unit printed is the next track: the first pair of the order of printing.
    pub(super) fn start_batch(&mut self, id: Option<BatchId>, bin: Option<u64>, track: Option<u64>) {
        let (mut next, mut is_first) = (0, false);
        self.with_batch(id, |batch| {
            is_first = batch.state == BatchState::Loaded;
            batch.recent.forget();
            batch.state = BatchState::Running;
            batch.bin_start = batch.bin_start.or(bin);
            next = batch.next_place;
        });
        for other in self.batches.iter_mut().filter(|other| Some(other.id()) != id) {
            other.is_cleared = false;
        }
        if is_first {
            // What an earlier batch left unnamed is none of this one's serials.
            self.transit.unknown.clear();
        }
        // The place before the first may wrap; distances are taken with wrapping arithmetic too.
        let run = track.map(|track| Run { track, place: next.wrapping_sub(1), to: track });
        self.transit.run = run.filter(|_| self.transit.tracks.is_empty());
    }

    pub(super) fn stop_batch(&mut self, id: Option<BatchId>, bin: Option<u64>) {
        self.take_records_back();
        self.with_batch(id, |batch| {
            batch.stranded_before = batch.next_place;
            batch.halt(bin);
        });
    }

    pub(super) fn purge_batch(&mut self, id: Option<BatchId>) {
        self.take_records_back();
        self.with_batch(id, |batch| batch.state = BatchState::Purging);
    }

    /// Records that a printer still holds are taken back; it says when its buffer is empty.
    fn take_records_back(&mut self) {
        for station in self.stations.values_mut().filter(|station| station.allocated > station.printed) {
            station.flush_owed = true;
        }
    }

    /// One that was held has records in a printer.
    pub(super) fn abort_batch(&mut self, id: Option<BatchId>) {
        if self.current().is_some_and(|current| Some(current.id()) == id) {
            self.take_records_back();
        }
        self.close_batch(id);
    }

    /// The run of its serials ends with it: whoever folds these facts later does not know its pool any more.
    pub(super) fn close_batch(&mut self, id: Option<BatchId>) {
        if self.current().is_none_or(|current| Some(current.id()) == id) {
            self.transit.run = None;
        }
        self.batches.retain(|open| Some(open.id()) != id);
    }
}

impl Batch {
    pub(super) fn halt(&mut self, bin: Option<u64>) {
        (self.state, self.bin_stop) = (BatchState::Stopped, bin);
    }

    pub(super) fn rebase_bin(&mut self) {
        if self.state.is_on_line() && self.bin_start.is_some() {
            self.bin_before = self.counts.rejects_confirmed.saturating_add(self.counts.phantom);
            (self.bin_start, self.bin_stop) = (Some(0), None);
        }
    }
}
