//! Facts: what was decided. Past tense, journaled, never changed. `Engine::apply` folds them; nothing else changes its state.
//!
//! A fact holds identifiers, not positions in a config: it must mean the same in ten years. Each kind has a word and a
//! version (`wire::fact` holds the bytes).

use crate::domain::gs1::{Gtin, SerialNumber, Sscc};
use crate::domain::pack::{Gate, PackLevel};
use crate::domain::tag::StationKind;
use crate::domain::text::{BatchId, Name, Text};
use crate::domain::time::ClockState;
use crate::engine::clearance::ClearedItem;
pub use crate::engine::counts::Counts;
use crate::engine::hands::{Again, Why, Withdrawal};
use crate::engine::input::{Actor, BatchSheet, CloseEnd, LostCause};
use crate::engine::people::{Door, FullName, Phc, Roles, SessionEnd, SessionId, UserId};
use crate::engine::reason::{AlarmKind, Difference, FailReason, RefuseReason};
use crate::engine::recipe::Recipe;
use crate::engine::signing::{Signable, Signature};

/// One fact with what the journal holds beside it. `seq` is dense from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub seq: u64,
    pub batch: Option<BatchId>,
    pub actor: Actor,
    pub fact: Fact,
}

/// A request of a packer or palletizer. `epoch` is ours, raised at every reset of the station; `seq` unwrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestKey {
    pub station: Name,
    pub epoch: u32,
    pub seq: u64,
    /// The station's own count of the container, stable over retries.
    pub container: u64,
}

/// A result of a camera; `seq` is `None` where the track ended without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultKey {
    pub station: Name,
    pub epoch: u32,
    pub seq: Option<u64>,
    pub track: Option<u64>,
}

/// A track of a rejector, and the inspection (sequence number of its fact) that decided it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackKey {
    pub station: Name,
    pub epoch: u32,
    pub track: u64,
    pub inspection: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Child {
    Unit(SerialNumber),
    Container(Sscc),
}

/// Why printed or queued serials can never be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidCause {
    /// They lay in a printer's buffer that was lost or flushed.
    BufferLost,
    /// They were queued when the batch stopped and are known to be unprinted.
    BatchStopped,
    /// Which of them a printer held after a break could not be read, and it was emptied.
    BufferDoubted,
}

/// What the events of a line say about their place (EPCIS read point and business location).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    pub biz_location: String,
    /// Local time at the line, minutes east of UTC.
    pub offset_minutes: i64,
    /// Of stations, by name; one that is absent reads at `biz_location`.
    pub stations: Vec<ReadPoint>,
    /// Where containers of a level are labelled.
    pub levels: Vec<ReadPoint>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadPoint {
    /// The station or the pack level.
    pub of: Name,
    pub read_point: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    LineStarted {
        version: Text<16>,
        config_sha256: Text<64>,
        clean: bool,
    },
    LineStopped,
    /// Where the line stands, as the messages of this run say it: with it they follow from the facts alone.
    LineDescribed {
        description: Box<Description>,
    },
    StationJoined {
        station: Name,
        kind: StationKind,
        device_epoch: u32,
        epoch: u32,
        reset: bool,
    },
    StationLost {
        station: Name,
        cause: LostCause,
    },
    StationFaulted {
        station: Name,
        code: i64,
    },
    /// The recipe that a machine runs, when it was first seen and when it changed; absent where it cannot be read.
    RecipeFound {
        station: Name,
        recipe: Option<Recipe>,
    },
    AlarmRaised {
        alarm: u32,
        kind: AlarmKind,
        station: Option<Name>,
        detail: String,
    },
    AlarmAcknowledged {
        alarm: u32,
    },

    BatchLoaded {
        sheet: BatchSheet,
        serial_count: u32,
        serials_sha256: Text<64>,
    },
    /// Two persons have looked at every item: nothing of another product is on the line.
    LineCleared {
        items: Vec<ClearedItem>,
    },
    BatchStarted {
        bin: Option<u64>,
        /// The last track that entered before: the next unit printed is the next track.
        track: Option<u64>,
    },
    BatchStopped {
        bin: Option<u64>,
    },
    /// Nothing is printed any more, and the line runs empty.
    BatchPurgeStarted,
    /// The line is empty: whatever was printed has left it. The batch is stopped.
    BatchPurged {
        bin: Option<u64>,
    },
    /// The belt stands until somebody with the right resumes the batch; the printer keeps its buffer.
    BatchHeld {
        reason: String,
    },
    BatchResumed {
        reason: Option<String>,
    },
    BatchCloseRefused {
        differences: Vec<Difference>,
    },
    /// `opened_seq` is the fact that loaded the batch.
    BatchClosed {
        opened_seq: u64,
        counts: Box<Counts>,
    },

    /// A closed batch is put right: it is stopped again, with the same order, and its next close says what it is then.
    BatchReopened {
        sheet: BatchSheet,
        opened_seq: u64,
        reason: String,
    },
    /// The batch ends without a balance, and its serials are never used again. What it lacks is told, and nobody signed for it.
    BatchAborted {
        opened_seq: u64,
        counts: Box<Counts>,
        differences: Vec<Difference>,
        reason: String,
    },

    /// `first_index` is the place of the first serial in the order; the serials of one fact are consecutive there.
    SerialsAllocated {
        station: Name,
        epoch: u32,
        from_seq: u64,
        first_index: u32,
        serials: Vec<SerialNumber>,
    },
    SerialsEncoded {
        station: Name,
        epoch: u32,
        from_seq: u64,
        first_index: u32,
        serials: Vec<SerialNumber>,
    },
    /// A printer came back whose buffer cannot be read: it is emptied, and what it did not print is burned then.
    BufferDoubted {
        station: Name,
    },
    SerialsInvalidated {
        station: Name,
        cause: InvalidCause,
        first_index: u32,
        serials: Vec<SerialNumber>,
    },

    Verified {
        result: ResultKey,
        serial: SerialNumber,
        grade_milli: Option<i64>,
    },
    Failed {
        result: ResultKey,
        serial: Option<SerialNumber>,
        reasons: Vec<FailReason>,
        code: Vec<u8>,
        grade_milli: Option<i64>,
    },
    Missed {
        result: ResultKey,
    },
    /// A verified unit whose pass came too late, was withdrawn, or did not reach the device: it is a reject.
    PassExpired {
        track: TrackKey,
        serial: SerialNumber,
    },
    Commissioned {
        track: TrackKey,
        serial: SerialNumber,
    },
    /// `serial` is the printed serial that went with it, where it was read.
    RejectConfirmed {
        track: TrackKey,
        serial: Option<SerialNumber>,
    },
    /// The serial of a rejected unit that could not be read, known from the order of printing; or, with track 0, of a unit
    /// that no camera read and that a packer refused.
    RejectInferred {
        track: TrackKey,
        serial: SerialNumber,
    },
    RejectMissing {
        track: TrackKey,
    },
    UnexpectedPass {
        track: TrackKey,
    },
    /// An inspected unit that never left the reject gate: later ones have overtaken it, so that it was taken off the belt, or its
    /// batch was aborted over it.
    UnitRemoved {
        track: TrackKey,
    },
    PhantomReject {
        station: Name,
        epoch: u32,
        count: u64,
    },
    /// Ends that fell out of the device's memory before they were read.
    EndsMissed {
        station: Name,
        epoch: u32,
        from: u64,
        to: u64,
    },

    Packed {
        request: RequestKey,
        level: PackLevel,
        container: Sscc,
        children: Vec<Child>,
    },
    CloseGranted {
        request: RequestKey,
        gate: Gate,
        container: Sscc,
        token: u32,
        ttl_ms: u32,
    },
    CloseRefused {
        request: RequestKey,
        gate: Gate,
        level: PackLevel,
        container: Option<Sscc>,
        reasons: Vec<RefuseReason>,
    },
    PermitAcked {
        container: Sscc,
        token: u32,
    },
    Closed {
        level: PackLevel,
        container: Sscc,
        token: u32,
        children: Vec<Child>,
    },
    Released {
        level: PackLevel,
        container: Sscc,
        token: u32,
        children: Vec<Child>,
        /// Absent at the first release.
        again: Option<Again>,
    },
    /// The machine failed or the permit expired there: the container is as it was before the grant.
    CloseFailed {
        gate: Gate,
        container: Sscc,
        token: u32,
        result: CloseEnd,
    },
    CloseUnresolved {
        gate: Gate,
        container: Sscc,
        token: u32,
    },
    GateForced {
        station: Name,
        epoch: u32,
        container: Option<Sscc>,
    },

    /// What is known of the wall clock: at every start, then whenever it changes. It holds for every fact up to the next, and
    /// the first of a run for those before it too.
    ClockFound {
        clock: ClockState,
    },
    /// The wall clock went elsewhere than the monotonic one: it would have shown `from_us`, and shows `to_us`. Nowhere else do the
    /// times of facts fall.
    ClockStepped {
        from_us: i64,
        to_us: i64,
    },
    /// No turn happened for so long: the process or the machine stood still, or the disk did.
    LinePaused {
        paused_us: u64,
    },
    /// From here on checkpoints are signed with this key. `signature` is the one of the key that it replaces
    /// (`wire::checkpoint`); the first key of a journal replaces none.
    KeyAnnounced {
        key: NewKey,
    },
    /// Numbers begin to mean something else with this fact: those from `lost_from` to `lost_to` stood for other facts in the
    /// epoch before, which this file does not hold. Part of every message id, so that nobody takes one for the other.
    EpochRaised {
        begun: NewEpoch,
    },

    /// This file is a backup that was put back; the facts after the one before this were made again or are lost. No password of before it
    /// opens anything.
    StoreRestored {
        /// SHA-256 of the backup as it was given.
        backup_sha256: Text<64>,
        reason: String,
    },
    /// Messages that the broker took were let go: from here on the journal holds these no more, and every other one.
    MessagesExpired {
        gone: Gone,
    },
    /// Serials that were used, though no batch of this file says so.
    SerialsDeclared {
        gtin: Gtin,
        serials: Vec<SerialNumber>,
    },
    /// Serials that are given to no printer any more: one behind them was used.
    SerialsRetired {
        first_index: u32,
        serials: Vec<SerialNumber>,
    },

    /// The picture that a camera took for one of its results lies beside the journal, under the digest of its content.
    PictureStored {
        picture: Picture,
    },
    /// Pictures that were deleted, since there is room for so many: one that is gone without this was taken.
    PicturesRemoved {
        pictures: Vec<PictureDigest>,
    },

    /// A person of this line. Who added, changed and locked one is the actor of the fact.
    UserAdded {
        user: UserId,
        full_name: FullName,
        roles: Roles,
    },
    /// What a person may do, before and from here on.
    UserChanged {
        user: UserId,
        roles_before: Roles,
        roles: Roles,
        was_enabled: bool,
        is_enabled: bool,
        reason: String,
    },
    /// A password, as its hash. One that was chosen by another person must be replaced at the first log-in.
    CredentialSet {
        user: UserId,
        phc: Phc,
        must_change: bool,
    },
    /// Without a name where nobody has the one that was given: it may be a password in the wrong field.
    LoginFailed {
        user: Option<UserId>,
        door: Door,
        /// In a row, with this one.
        failures: u32,
    },
    /// For so many seconds of running time; after a restart they begin anew.
    LoginLocked {
        user: UserId,
        lock_s: u32,
    },
    LoginUnlocked {
        user: UserId,
    },
    LoggedIn {
        user: UserId,
        session: SessionId,
    },
    /// Sessions that the end of a run took are not told: none outlives it.
    LoggedOut {
        user: UserId,
        session: SessionId,
        end: SessionEnd,
    },
    /// A person took a unit, or its label, out of production.
    UnitWithdrawn {
        serial: SerialNumber,
        withdrawal: Withdrawal,
        why: Why,
    },
    /// A person opened a container: what lay in it is loose, and it is invalid until it is closed again or dissolved.
    ContainerReopened {
        level: PackLevel,
        container: Sscc,
        /// Whether upstream was told of its content.
        told: bool,
        /// The child that was taken out.
        taken: Option<Child>,
        children: Vec<Child>,
        why: Why,
    },
    /// A container is no more; its SSCC is used up.
    ContainerDissolved {
        level: PackLevel,
        container: Sscc,
        /// Whether upstream was told of it.
        told: bool,
        why: Why,
    },
    /// All labels of a container before this copy are void: it gets another one, which has to be read back.
    LabelVoided {
        level: PackLevel,
        container: Sscc,
        copy: u32,
        why: Why,
    },
    /// This configuration, with its tag maps, may be used: its digest, and that of the one that was approved before it.
    ConfigApproved {
        config_sha256: Text<64>,
        before: Option<Text<64>>,
    },
    /// A person signed for the batch of this fact, or for the line. What the signature allows follows in the same commit.
    Signed {
        signature: Box<Signature>,
    },
    /// An administrator gets a password without the old one, by whoever may write beside the journal; the next fact holds it.
    UserRecovered {
        user: UserId,
        reason: String,
    },
    /// A signature that was tried and did not come to be; why is a word of the refusal.
    SignatureRefused {
        user: UserId,
        action: Signable,
        reason: Name,
    },
    /// Whoever signed right before this has looked at every exception of these facts.
    AuditReviewed {
        review: Review,
    },
    /// A message that the broker does not take waits no more; it is sent by no one.
    MessageGivenUp {
        message: MessageNumber,
        reason: String,
    },
}

/// Which facts were reviewed, and what stood out of them (`wire::review`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Review {
    /// Right behind the review before.
    pub from_seq: u64,
    pub to_seq: u64,
    pub exceptions: u32,
    /// Over all of them, in lower-case hex.
    pub sha256: Text<64>,
}

/// SHA-256 of a picture's content, in lower-case hex.
pub type PictureDigest = Text<64>;

/// A picture and what it is a picture of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    pub result: ResultKey,
    /// The sequence number of the fact that decided the result. It names the unit, where one was read.
    pub inspection: u64,
    pub sha256: PictureDigest,
    pub bytes: u64,
    /// As in RFC 6838: `image/png`.
    pub media: Text<24>,
}

/// Which messages are gone, all of them told each time: the newest fact of its kind alone says what must be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// Of each stream that has lost any: the highest number that may be missing.
    pub through: Vec<MessageNumber>,
    /// Below that, those that wait in quarantine for a person: they stay.
    pub kept: Vec<MessageNumber>,
}

impl Gone {
    /// Whether this message is let go.
    pub fn lets_go(&self, stream: &str, seq: u64) -> bool {
        seq <= self.through_of(stream) && !self.kept.iter().any(|at| at.stream.as_str() == stream && at.seq == seq)
    }

    /// The highest number of the stream that may be missing; 0 where none is.
    pub fn through_of(&self, stream: &str) -> u64 {
        self.through.iter().find(|at| at.stream.as_str() == stream).map_or(0, |at| at.seq)
    }

    /// Lets the stream go up to `seq`, but what is kept.
    pub fn raise(&mut self, stream: &str, seq: u64) {
        let Some(stream) = Name::new(stream) else { return };
        match self.through.iter_mut().find(|at| at.stream == stream) {
            Some(at) => at.seq = at.seq.max(seq),
            None => self.through.push(MessageNumber { stream, seq }),
        }
    }

    /// Says nothing of what lies above: it is there anyhow.
    pub fn trim(&mut self) {
        let kept = std::mem::take(&mut self.kept);
        self.kept = kept.into_iter().filter(|at| at.seq <= self.through_of(at.stream.as_str())).collect();
    }

    pub fn keep(&mut self, stream: &str, seq: u64) {
        self.kept.extend(Name::new(stream).map(|stream| MessageNumber { stream, seq }));
    }
}

/// A message of a stream by its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageNumber {
    pub stream: Name,
    pub seq: u64,
}

/// A public key that begins to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// Eight hexadecimal digits.
    pub key_id: Text<8>,
    /// Ed25519, in base64.
    pub public_key: Text<44>,
    pub replaces: Option<Text<8>>,
    /// In base64.
    pub signature: Option<Text<88>>,
}

/// A later epoch than any that was seen of this line, and what it left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewEpoch {
    pub epoch: u32,
    /// Where the lost facts stood in another file.
    pub lost_store: Option<Text<36>>,
    pub lost_from: Option<u64>,
    pub lost_to: Option<u64>,
}
