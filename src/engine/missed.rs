//! Missed results: of each only the number is known, until the results around it tell the track. Part of the fold, so that the
//! facts alone say which inspection the end of a track belongs to.
//!
//! Each track is inspected once, in the order of the belt: between two results that lie as far apart as their tracks, every missed
//! one is that of the track at its place. Where the distances differ nobody can say which it was: it stays without a track, and an
//! end that finds no inspection gets one of its own, without a number. So does an end that could not wait for the later result.

use crate::domain::text::BatchId;
use crate::engine::fact::ResultKey;
use crate::engine::state::{MissedResult, State, TRANSIT_MAX, Track, TrackVerdict};

impl State {
    pub(super) fn miss(&mut self, batch: Option<BatchId>, result: &ResultKey) {
        self.with_batch(batch, |batch| {
            batch.counts.triggers = batch.counts.triggers.saturating_add(1);
            batch.counts.missed = batch.counts.missed.saturating_add(1);
        });
        let Some(track) = result.track else {
            // It commands nothing until its track is known.
            self.inspect(batch, result, TrackVerdict::Fail(None));
            return self.await_match(batch, result.seq);
        };
        let is_owed = self.transit.tracks.contains_key(&track);
        if self.inspect(batch, result, TrackVerdict::Fail(None)) {
            self.note_inspected(batch, self.seq, true);
        }
        if !is_owed {
            // Its end is the next fact.
            self.command_reject(batch);
        }
    }

    fn await_match(&mut self, batch: Option<BatchId>, seq: Option<u64>) {
        let Some(seq) = seq else { return };
        if self.transit.missed.len() >= TRANSIT_MAX {
            self.transit.missed.pop_front();
        }
        self.transit.missed.push_back(MissedResult { seq, inspection: self.seq, batch });
    }

    /// A result of a known track tells which tracks the missed ones before it were of. What has left the gate already is answered
    /// for by a fact of its own.
    pub(super) fn match_missed(&mut self, seq: u64, track: u64) {
        let missed = std::mem::take(&mut self.transit.missed);
        let Some((first_seq, first_track)) = self.transit.matched.replace((seq, track)) else { return };
        let distance = seq.checked_sub(first_seq);
        if distance.is_none_or(|distance| first_track.checked_add(distance) != Some(track)) {
            return;
        }
        for MissedResult { seq, inspection, batch } in missed {
            let own = first_track.saturating_add(seq.saturating_sub(first_seq));
            if self.enter_transit(own, Track { inspection, verdict: TrackVerdict::Fail(None), batch }) {
                self.command_reject(batch);
                self.note_inspected(batch, inspection, true);
            }
        }
    }

    /// A second result never replaces the first: that one's pass has expired by a fact of its own.
    pub(super) fn enter_transit(&mut self, track: u64, at: Track) -> bool {
        let transit = &mut self.transit;
        let is_full = transit.tracks.len() >= TRANSIT_MAX;
        if track <= transit.last_ended || is_full || transit.tracks.contains_key(&track) {
            return false;
        }
        transit.tracks.insert(track, at);
        true
    }
}
