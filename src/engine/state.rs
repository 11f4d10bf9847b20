//! What the engine knows: the fold of all facts (I7). `fold` holds the only function that changes it.

use std::collections::{BTreeMap, VecDeque};

use crate::domain::gs1::{SerialNumber, Sscc};
use crate::domain::pack::{ContainerState, Gate, PackLevel, SerialState};
use crate::domain::text::{BatchId, Name, Text};
use crate::engine::fact::{Child, Counts, RequestKey};
use crate::engine::input::{BatchSheet, Order};
use crate::engine::people::People;
use crate::engine::pool::Pool;
use crate::engine::reason::{AlarmKind, BatchState};
use crate::engine::recipe::Recipe;
use crate::engine::signing::{Meaning, Performed, Signature};
use crate::engine::stops::Recent;

/// Inspected tracks that may be on their way to the gate at once; the unit beyond them is rejected.
pub const TRANSIT_MAX: usize = 4096;
/// Orders that may wait on a line at once.
pub const MAX_BATCHES: usize = 8;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The newest fact.
    pub seq: u64,
    pub last_alarm: u32,
    pub last_token: u32,
    /// Unacknowledged. One for each kind, station and batch at most, and a handful of doubts, which bounds them.
    pub alarms: BTreeMap<u32, Alarm>,
    pub stations: BTreeMap<Name, Station>,
    pub transit: Transit,
    /// Batches that are not closed, oldest first; at most `MAX_BATCHES`.
    pub batches: Vec<Batch>,
    pub people: People,
    /// The digest of the configuration that was approved last.
    pub approved: Option<Text<64>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    pub kind: AlarmKind,
    pub station: Option<Name>,
    pub detail: String,
}

/// What the facts say of a station; each kind uses its part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Station {
    pub joined: bool,
    pub device_epoch: u32,
    /// Ours, raised at every reset.
    pub epoch: u32,
    /// Camera: the highest decided result. Rejector: the number of ends decided. Packer: the highest decided request.
    pub seq: u64,
    /// Rejector: rejects seen without a command.
    pub phantom: u64,
    /// Printer: records given, records printed or burned, flushes done.
    pub allocated: u64,
    pub printed: u64,
    /// Printer: the highest record that was reported as printed. Its own counter is never below, and stays there at a flush.
    pub encoded: u64,
    pub flushes: u64,
    /// Printer: told to empty its buffer and has not said yet that it did.
    pub flush_owed: bool,
    /// Packer, palletizer.
    pub request: Option<Request>,
    /// What the machine showed last.
    pub recipe: Option<Recipe>,
}

/// Units between the camera and the end of the reject gate. One lane in this release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transit {
    /// Inspected tracks that have not left the gate.
    pub tracks: BTreeMap<u64, Track>,
    /// The highest track that left it.
    pub last_ended: u64,
    /// The highest inspected track.
    pub last_inspected: u64,
    /// Rejected tracks whose serial is not known yet, with their inspections, oldest first.
    pub unknown: VecDeque<(u64, u64)>,
    /// Where tracks and the order of printing are known to run in step.
    pub run: Option<Run>,
    /// The highest track that was inspected in the epoch before: what is shown near it may still be meant in that epoch.
    pub before: u64,
    /// The newest result of the camera whose track is known, and that track.
    pub matched: Option<(u64, u64)>,
    /// Results that were missed since then, oldest first: the next result of a known track may say which were theirs.
    pub missed: VecDeque<MissedResult>,
}

/// A result of which only its number is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissedResult {
    pub seq: u64,
    /// The sequence number of the fact that says so.
    pub inspection: u64,
    pub batch: Option<BatchId>,
}

/// Every certain pair of track and place from `track` to `to` has the same distance, so those between are certain too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub track: u64,
    /// The place in the order of printing that belongs to `track`; before the first it is one less, wrapping.
    pub place: u32,
    pub to: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Track {
    /// The sequence number of the fact that decided it.
    pub inspection: u64,
    pub verdict: TrackVerdict,
    /// The batch that was on the line; its end is counted there.
    pub batch: Option<BatchId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackVerdict {
    Pass(SerialNumber),
    /// Verified, but its pass expired.
    Expired(SerialNumber),
    /// With the serial that was read where it can only be this unit's own.
    Fail(Option<SerialNumber>),
}

/// The last request of a packer or palletizer and how far it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub key: RequestKey,
    pub stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Refused {
        reason: u16,
    },
    Granted(Grant),
    /// The permit ran out unanswered.
    Unresolved(Grant),
    /// The result is recorded, the permit withdrawn.
    Settled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    pub gate: Gate,
    pub container: Sscc,
    pub token: u32,
    pub ttl_ms: u32,
    pub acked: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub sheet: BatchSheet,
    /// The fact that loaded it.
    pub opened_seq: u64,
    pub state: BatchState,
    pub pool: Pool,
    /// The place in the order of the next serial to give to a printer.
    pub next_place: u32,
    /// The line was cleared for it, and no other batch has started since.
    pub is_cleared: bool,
    /// Units of places before this one were printed, or could be, when the batch was stopped at once.
    pub stranded_before: u32,
    /// SSCCs used so far.
    pub sscc_used: u64,
    pub containers: Vec<Container>,
    pub by_sscc: BTreeMap<Sscc, u32>,
    /// A container by its station, our epoch and the station's own count.
    pub by_count: BTreeMap<(Name, u32, u64), u32>,
    pub counts: Counts,
    pub bin_start: Option<u64>,
    pub bin_stop: Option<u64>,
    /// Pieces that lay in the bin when its count began anew.
    pub bin_before: u32,
    /// The newest inspections, for the stops.
    pub recent: Recent,
    /// The last that was told of its serials running out.
    pub pool_told: Option<AlarmKind>,
    /// Signed for, and not yet verified by another person.
    pub performed: Option<Performed>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub sscc: Sscc,
    pub level: PackLevel,
    pub state: ContainerState,
    pub children: Vec<Child>,
    pub parent: Option<u32>,
}

impl State {
    /// The batch on the line.
    pub fn current(&self) -> Option<&Batch> {
        self.batches.iter().find(|batch| batch.state.is_on_line())
    }

    /// Open alarms for which the line waits.
    pub fn alarms_that_hold(&self) -> usize {
        self.alarms.values().filter(|alarm| alarm.kind.holds()).count()
    }

    pub fn batch(&self, id: &BatchId) -> Option<&Batch> {
        self.batches.iter().find(|batch| batch.sheet.batch == *id)
    }

    pub fn station(&self, name: &Name) -> Station {
        self.stations.get(name).copied().unwrap_or_default()
    }

    /// A batch enters with its pool; the pool is no part of its fact, only its hash is.
    pub fn insert_order(&mut self, order: &Order) {
        let received = u32::try_from(order.serials.len()).unwrap_or(u32::MAX);
        self.batches.push(Batch {
            sheet: order.sheet.clone(),
            opened_seq: 0,
            state: BatchState::Loaded,
            pool: Pool::new(order.serials.clone()),
            next_place: 0,
            is_cleared: false,
            stranded_before: 0,
            sscc_used: 0,
            containers: Vec::new(),
            by_sscc: BTreeMap::new(),
            by_count: BTreeMap::new(),
            counts: Counts { received, ..Counts::default() },
            bin_start: None,
            bin_stop: None,
            bin_before: 0,
            recent: Recent::default(),
            pool_told: None,
            performed: None,
        });
    }
}

impl TrackVerdict {
    /// The serial that is known to be on the track.
    pub fn serial(self) -> Option<SerialNumber> {
        match self {
            TrackVerdict::Pass(serial) | TrackVerdict::Expired(serial) => Some(serial),
            TrackVerdict::Fail(serial) => serial,
        }
    }
}

impl Run {
    /// The place in the order of printing that belongs to a track by its distance, on either side.
    pub fn place_of(&self, track: u64) -> Option<u32> {
        let distance = u32::try_from(track.abs_diff(self.track)).ok()?;
        let is_before = track < self.track;
        Some(if is_before { self.place.wrapping_sub(distance) } else { self.place.wrapping_add(distance) })
    }
}

impl Batch {
    pub(super) fn take_signature(&mut self, signature: &Signature) {
        if signature.meaning == Meaning::Performed && signature.action.is_verified() {
            self.performed = Some(Performed { user: signature.user, subject_hash: signature.subject_hash });
        }
    }

    /// Serials that no printer was given yet.
    pub fn unused(&self) -> u32 {
        self.pool.len().saturating_sub(self.next_place)
    }

    /// Serials that can still be printed: a printer may hold some of them.
    pub fn unprinted(&self) -> u32 {
        self.counts.received.saturating_sub(self.counts.printed).saturating_sub(self.counts.burned)
    }

    /// The counts as of now; what a batch lacks is counted at its close.
    pub fn counts_now(&self) -> Counts {
        Counts { unused: self.unused(), ..self.counts }
    }

    pub fn id(&self) -> BatchId {
        self.sheet.batch
    }

    pub fn container(&self, sscc: &Sscc) -> Option<&Container> {
        self.containers.get(place(*self.by_sscc.get(sscc)?))
    }

    pub fn container_of(&self, key: &RequestKey) -> Option<&Container> {
        self.containers.get(place(*self.by_count.get(&(key.station, key.epoch, key.container))?))
    }

    pub fn parent_sscc(&self, parent: u32) -> Option<Sscc> {
        self.containers.get(place(parent)).map(|container| container.sscc)
    }

    pub(super) fn container_mut(&mut self, sscc: &Sscc) -> Option<&mut Container> {
        let at = *self.by_sscc.get(sscc)?;
        self.containers.get_mut(place(at))
    }

    /// Moves the units of a range that are in state `from`; says how many there were. A unit that a camera has read before
    /// its printer reported it has gone further already, and stays where it is.
    pub(super) fn move_range(&mut self, range: std::ops::Range<u32>, from: SerialState, to: SerialState) -> u32 {
        let mut moved = 0_u32;
        for at in range {
            if let Some(unit) = self.pool.unit_mut(at).filter(|unit| unit.state == from) {
                unit.state = to;
                moved = moved.saturating_add(1);
            }
        }
        moved
    }
}

/// An index as the platform wants it.
pub(super) fn place(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}
