//! All that can come in: observations from stations, requests from people or upstream systems, and ticks.

use std::sync::Arc;

use crate::domain::gs1::{Expiry, GcpLength, Gtin, Lot, SerialNumber};
use crate::domain::pack::{Gate, PackLevel};
use crate::domain::quality::TagFlaw;
use crate::domain::tag::StationId;
use crate::domain::text::{BatchId, Name, Text};
use crate::domain::time::ClockState;
use crate::engine::Start;
use crate::engine::fact::{Gone, MessageNumber, Picture, PictureDigest};
use crate::engine::hands::HandsRequest;
use crate::engine::people::{Door, PeopleRequest, SessionId};
use crate::engine::reason::AlarmKind;
use crate::engine::recipe::Recipe;
use crate::engine::rights::Action;
use crate::engine::state::Batch;

/// One thing for the engine to decide.
#[derive(Clone, Debug)]
pub enum Input {
    /// The daemon begins: nothing is known to be there yet.
    Started(Box<Start>),
    /// The daemon ends in order.
    Stopping,
    Observed(Observation),
    Asked(Ask),
    /// Something outside the facts says that the journal is not what it was: `Start::doubts`, while the line runs.
    Doubted(String),
    Tick,
    /// A pass whose deadline had gone when its facts were durable: it never left.
    PassExpired(PassKey),
    /// What the machine says of its wall clock now.
    ClockSeen(ClockState),
    /// The wall clock shows `to_us` where the monotonic one expects `from_us`.
    ClockStepped {
        from_us: i64,
        to_us: i64,
    },
    /// Nothing was decided for so long, in microseconds.
    Paused {
        paused_us: u64,
    },
    /// So many starts of the last minutes, this one among them, followed a run that did not end in order.
    Crashed {
        starts: u32,
    },
    /// Something outside the stations that a person must know of, as the feed and the watch over the journal tell it.
    Noticed(AlarmKind, String),
    /// It has ended, and nobody needs to look any more.
    Eased(AlarmKind),
    /// The broker took these messages, and nobody needs them here any more.
    Expired(Gone),
    /// A picture of a decided result has been stored; of that result's batch.
    Pictured(Option<BatchId>, Box<Picture>),
    /// These pictures are to be deleted once this is on disk.
    PicturesRemoved(Vec<PictureDigest>),
}

/// What a station saw. `seen_mono_us` is when its tags reached the inbox, on the clock of `Now::mono_us`.
#[derive(Clone, Debug)]
pub struct Observation {
    pub station: StationId,
    pub seen_mono_us: u64,
    pub what: Observed,
}

/// Counters are unwrapped: they start at 1 in each epoch of the device and never fall within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// The station answers with good tags. `reset` where its epoch changed, or where it has none and was reconnected.
    Joined {
        device_epoch: u32,
        reset: bool,
    },
    /// Heartbeat stale, device away or its tags not good: nothing it shows counts until it joins again.
    Lost {
        cause: LostCause,
    },
    /// The device's own latched fault word; 0 when it clears.
    Faulted {
        code: i64,
    },
    /// The recipe that the machine runs; `None` where what it shows cannot be read.
    RecipeShown {
        recipe: Option<Recipe>,
    },
    /// Printer: what lies in its buffer cannot be read; said after a join, before its counts.
    BufferUnknown,
    /// Printer: it took over a record with a number above all that were written since it started; said before its counts.
    RecordStrange,
    /// Printer: the highest record it took over, and the highest it printed.
    PrinterCounted {
        accepted: u64,
        printed: u64,
    },
    /// Printer: the last flush it carried out; its buffer is empty.
    Flushed {
        flush: u64,
    },
    /// Camera: one result.
    Result(CameraResult),
    /// Camera: the numbers of results that can no longer be read.
    ResultsMissed {
        from: u64,
        to: u64,
    },
    /// Rejector: the number of tracks that entered.
    Entered {
        count: u64,
    },
    /// Rejector: one track has left the reject gate.
    Ended {
        end_seq: u64,
        track: u64,
        end: TrackEnd,
    },
    /// Rejector: ends that fell out of the ring before they were read.
    EndsMissed {
        from: u64,
        to: u64,
    },
    /// Rejector: the verdict that the device latched last.
    Echoed {
        track: u64,
        pass: bool,
    },
    /// Rejector: rejects seen without a command, cumulative.
    PhantomCounted {
        count: u64,
    },
    /// Rejector: pieces in the bin, cumulative.
    BinCounted {
        count: u64,
    },
    BinFull {
        full: bool,
    },
    /// Packer, palletizer: a container asks for one of its gates.
    CloseRequested(CloseRequest),
    PermitAcked {
        token: u32,
    },
    /// The close_result of request `seq`.
    CloseEnded {
        seq: u64,
        result: CloseEnd,
    },
    GateMoved {
        state: GateState,
    },
}

/// No device counts further, and what lies beyond fits no column of the journal.
pub const COUNT_MAX: u64 = 1 << 62;

impl Observed {
    /// The largest number in it.
    pub fn largest(&self) -> u64 {
        match self {
            Observed::Joined { device_epoch, .. } => u64::from(*device_epoch),
            Observed::Lost { .. }
            | Observed::Faulted { .. }
            | Observed::RecipeShown { .. }
            | Observed::BufferUnknown
            | Observed::RecordStrange
            | Observed::BinFull { .. }
            | Observed::GateMoved { .. } => 0,
            Observed::PrinterCounted { accepted, printed } => *accepted.max(printed),
            Observed::Flushed { flush } => *flush,
            Observed::Result(result) => result.seq.max(result.track.unwrap_or(0)),
            Observed::ResultsMissed { from, to } | Observed::EndsMissed { from, to } => *from.max(to),
            Observed::Entered { count } | Observed::PhantomCounted { count } | Observed::BinCounted { count } => *count,
            Observed::Ended { end_seq, track, .. } => *end_seq.max(track),
            Observed::Echoed { track, .. } => *track,
            Observed::CloseRequested(request) => request.seq.max(request.container),
            Observed::PermitAcked { token } => u64::from(*token),
            Observed::CloseEnded { seq, .. } => *seq,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostCause {
    Device,
    Heartbeat,
    /// A tag without which the station cannot be understood; `None` in journals of before it was told.
    Quality(Option<TagFlaw>),
    /// Somebody else writes the tags that are ours.
    Foreign,
}

impl LostCause {
    pub fn name(&self) -> &'static str {
        match self {
            LostCause::Device => "device",
            LostCause::Heartbeat => "heartbeat",
            LostCause::Quality(_) => "quality",
            LostCause::Foreign => "foreign",
        }
    }

    /// The tag that is to blame.
    pub fn flaw(&self) -> Option<TagFlaw> {
        match self {
            LostCause::Quality(flaw) => *flaw,
            LostCause::Device | LostCause::Heartbeat | LostCause::Foreign => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraResult {
    pub seq: u64,
    /// The encoder track, unwrapped; `None` where the tag was not good.
    pub track: Option<u64>,
    pub read: Read,
    /// Thousandths of a grade, 0 to 4000, where the camera gives one.
    pub grade_milli: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Empty code: nothing was read.
    NoRead,
    Code(Vec<u8>),
    /// The device read this and says itself that it is not good, whatever it judged.
    Failed(Vec<u8>),
    /// The value came with a quality that is not good.
    NotGood,
    /// The same number was shown before with other bytes.
    Changed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackEnd {
    Passed,
    RejectConfirmed,
    Missing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseRequest {
    pub seq: u64,
    pub gate: Gate,
    /// The station's own count, stable over retries.
    pub container: u64,
    /// Codes as read; an empty one is a missing child in its slot.
    pub children: Vec<Vec<u8>>,
    pub child_count: Option<u64>,
    pub label_read: Option<Vec<u8>>,
    /// A value of the request came with a quality that is not good.
    pub not_good: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseEnd {
    Done,
    MachineFailure,
    Expired,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateState {
    Shut,
    Moving,
    Open,
}

/// Which inspection a pass belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassKey {
    pub rejector: StationId,
    pub device_epoch: u32,
    pub track: u64,
}

/// Who asks: a person, `local` for the command line without log-in, or an upstream system.
pub type Actor = Text<32>;

/// How somebody asks: through a door that asks for no log-in, under the name that stands for it, or in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    Door(Actor),
    Session(SessionId),
    /// Somebody at the HTTP door, with the session that was shown there. Without a session that holds nothing is done.
    Remote(Option<SessionId>),
}

impl Asker {
    pub fn session(self) -> Option<SessionId> {
        match self {
            Asker::Door(_) => None,
            Asker::Session(session) => Some(session),
            Asker::Remote(session) => session,
        }
    }

    pub fn door(self) -> Door {
        match self {
            Asker::Door(_) | Asker::Session(_) => Door::Local,
            Asker::Remote(_) => Door::Http,
        }
    }
}

/// A request with the number under which its answer is awaited.
#[derive(Clone, Debug)]
pub struct Ask {
    pub id: u64,
    pub asker: Asker,
    pub request: Request,
}

#[derive(Clone, Debug)]
pub enum Request {
    LoadBatch(Arc<Order>),
    StartBatch(BatchId),
    /// At once: the belt stands.
    StopBatch(BatchId),
    /// Nothing more is printed, and the belt runs until it is empty.
    PurgeBatch(BatchId),
    HoldBatch {
        batch: BatchId,
        reason: String,
    },
    ResumeBatch {
        batch: BatchId,
        reason: Option<String>,
    },
    ReopenBatch(Box<Reopening>),
    AbortBatch {
        batch: BatchId,
        reason: String,
    },
    CloseBatch(BatchId),
    AcknowledgeAlarm(u32),
    /// Serials that were used, as upstream knows them.
    DeclareUsed(UsedSerials),
    /// Upstream has named all serials that were used since the backup.
    ConfirmSerials,
    /// A message in the feed's quarantine is given up. Which ones wait there is the desk's to know.
    GiveUpMessage {
        message: MessageNumber,
        reason: String,
    },
    /// Product by hand.
    Hands(Box<HandsRequest>),
    /// Whether this may be done now by who asks; the doing is no business of the engine.
    Permission(Action),
    People(Box<PeopleRequest>),
}

/// A closed batch, folded again from its facts, that is to be put right.
#[derive(Clone, Debug)]
pub struct Reopening {
    pub batch: Batch,
    /// The newest fact that was there when it was folded.
    pub through: u64,
    pub reason: String,
}

/// Serials of one product, a bounded part of a longer list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedSerials {
    pub gtin: Gtin,
    pub serials: Vec<SerialNumber>,
}

/// A production order, complete and valid in itself; what it means against the past is checked by the engine and by the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub sheet: BatchSheet,
    /// In the order of printing, without repeats.
    pub serials: Vec<SerialNumber>,
    /// SHA-256 of the serials, each followed by a line feed, in lower-case hex.
    pub serials_sha256: Text<64>,
}

/// What a batch is: one GTIN, one lot, one expiry, one pack specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchSheet {
    pub batch: BatchId,
    pub gtin: Gtin,
    pub lot: Lot,
    pub expiry: Expiry,
    pub gcp_length: GcpLength,
    pub pack: PackSpec,
    pub sscc: SsccRange,
    /// What its product was approved with, each station once; it goes before what the line's config approves.
    pub recipes: Vec<StationRecipe>,
}

/// The recipe that a station must show while a batch runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StationRecipe {
    pub station: Name,
    pub recipe: Recipe,
}

/// Children per container; 0 where the level is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackSpec {
    pub case_capacity: u16,
    pub pallet_capacity: u16,
}

impl PackSpec {
    pub fn capacity(&self, level: PackLevel) -> u16 {
        match level {
            PackLevel::Unit | PackLevel::Bundle => 0,
            PackLevel::Case => self.case_capacity,
            PackLevel::Pallet => self.pallet_capacity,
        }
    }
}

/// SSCCs `first..=last` by serial reference, under one extension digit and company prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SsccRange {
    pub extension: u8,
    pub prefix: Text<12>,
    pub first: u64,
    pub last: u64,
}
