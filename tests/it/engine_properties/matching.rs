//! Which inspection the end of a track belongs to (I10), from the facts alone: each inspection has one end at most, and a missed
//! result between two results that lie as far apart as their tracks is the one of the track at its place.

use std::collections::{BTreeMap, BTreeSet};

use sealgate::domain::tag::StationKind;
use sealgate::engine::fact::{Entry, Fact, ResultKey, TrackKey};

#[derive(Clone, Debug, Default)]
pub(super) struct Matching {
    /// Number and track of the newest result that has both, and the missed numbers after it, with their facts.
    known: Option<(u64, u64)>,
    missed: Vec<(u64, u64)>,
    /// The inspection of a track on its way.
    inspections: BTreeMap<u64, u64>,
    ended: BTreeSet<u64>,
    last_ended: u64,
}

impl Matching {
    pub(super) fn fact(&mut self, entry: &Entry) -> Result<(), String> {
        if let Fact::StationJoined { kind, reset: true, .. } = &entry.fact {
            self.forget(*kind);
        } else if let Fact::Verified { result, .. } | Fact::Failed { result, .. } = &entry.fact {
            self.decided(entry.seq, result);
        } else if let Fact::Missed { result } = &entry.fact {
            self.missed(entry.seq, result)?;
        } else if let Fact::Commissioned { track, .. }
        | Fact::RejectConfirmed { track, .. }
        | Fact::RejectMissing { track }
        | Fact::UnexpectedPass { track } = &entry.fact
        {
            self.last_ended = self.last_ended.max(track.track);
            self.end(track)?;
        } else if let Fact::UnitRemoved { track } = &entry.fact {
            self.end(track)?;
        }
        Ok(())
    }

    fn forget(&mut self, kind: StationKind) {
        if kind == StationKind::Camera {
            (self.known, self.missed) = (None, Vec::new());
        } else if kind == StationKind::Rejector {
            *self = Self { ended: std::mem::take(&mut self.ended), ..Self::default() };
        }
    }

    fn missed(&mut self, inspection: u64, result: &ResultKey) -> Result<(), String> {
        let Some(track) = result.track else {
            self.missed.push((result.seq.unwrap_or_default(), inspection));
            return Ok(());
        };
        match self.inspections.insert(track, inspection) {
            None => Ok(()),
            Some(known) => {
                Err(format!("I10: track {track} has inspection {known}, and is missed by fact {inspection}"))
            }
        }
    }

    fn decided(&mut self, inspection: u64, result: &ResultKey) {
        let (Some(seq), Some(track)) = (result.seq, result.track) else { return };
        let missed = std::mem::take(&mut self.missed);
        if let Some((seq_before, track_before)) = self.known.replace((seq, track))
            && track > track_before
            && track - track_before == seq - seq_before
        {
            for (own_seq, inspection) in missed {
                self.enter(track_before + (own_seq - seq_before), inspection);
            }
        }
        self.enter(track, inspection);
    }

    fn enter(&mut self, track: u64, inspection: u64) {
        if track > self.last_ended {
            self.inspections.entry(track).or_insert(inspection);
        }
    }

    fn end(&mut self, key: &TrackKey) -> Result<(), String> {
        let inspection = key.inspection.ok_or("an end without an inspection")?;
        let known = self.inspections.remove(&key.track);
        if known != Some(inspection) {
            return Err(format!("I10: the end of track {} has inspection {inspection}, not {known:?}", key.track));
        }
        if self.ended.insert(inspection) { Ok(()) } else { Err(format!("I10: inspection {inspection} ended twice")) }
    }
}
