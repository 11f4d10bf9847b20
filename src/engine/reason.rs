//! Why: reasons for a failed unit, a refused close and a refused request. Data, each with a stable word.

use crate::domain::gs1::{SerialNumber, Sscc};
use crate::domain::text::{BatchId, Text};
use crate::domain::time::ClockState;
use crate::engine::hands::HandsRefusal;
use crate::engine::people::PeopleRefusal;
use crate::engine::recipe::OtherRecipe;

pub use crate::engine::life::BatchState;

/// Why a unit failed its verification (GS1-DataMatrix, element string, order, serial, grade).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailReason {
    NoRead,
    /// The value came with a quality that is not good.
    NotGood,
    /// The camera showed other bytes under the same number.
    Changed,
    /// No encoder track: the line cannot say which unit this is.
    NoTrack,
    /// A second result for a track that has one.
    SecondRead,
    /// The symbology identifier is not GS1 DataMatrix.
    NotGs1,
    /// Not a well-formed element string.
    Malformed,
    CheckDigit,
    /// A date that does not exist.
    BadDate,
    /// A character outside the set of its AI.
    BadCharacter,
    MissingAi,
    ExtraAi,
    RepeatedAi,
    WrongGtin,
    WrongLot,
    WrongExpiry,
    UnknownSerial,
    /// The serial is known but was never reported as printed.
    NotEncoded,
    /// The serial was read before.
    Duplicate,
    LowGrade,
    /// The grade is required and was not given.
    NoGrade,
    /// No batch is running.
    NoBatch,
    /// Answered too late for the blade.
    Late,
    /// The clock is not known to be right, and the line's policy asks for that.
    ClockUnsure,
    /// The camera itself says that the unit is not good.
    DeviceFailed,
    /// It stood on the belt, printed and not read, when its batch was stopped.
    Stranded,
}

/// Why a close was refused. The machine gets `code()`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefuseReason {
    NoBatch,
    NotGood,
    /// This level has no place in the pack specification.
    LevelAbsent,
    Short {
        have: u32,
        want: u32,
    },
    Over {
        have: u32,
        want: u32,
    },
    /// The device counted other than it listed.
    CountDiffers {
        counted: u32,
        listed: u32,
    },
    /// An empty slot among the children.
    MissingChild {
        slot: u32,
    },
    /// A code that cannot be read as a unit or a container.
    MalformedChild {
        slot: u32,
    },
    /// Another GTIN, lot or batch.
    ForeignChild {
        slot: u32,
    },
    UnknownChild {
        slot: u32,
    },
    RepeatedChild {
        slot: u32,
    },
    /// A unit that is not commissioned, or a container that is not released.
    UnfitChild {
        slot: u32,
    },
    /// Already in another parent.
    PackedChild {
        slot: u32,
        parent: Sscc,
    },
    /// The batch's SSCC range is used up.
    NoSscc,
    /// The contents were not sealed.
    NotSealed,
    LabelMissing,
    LabelDiffers,
    /// The container waits for a person.
    OnHold,
}

/// What stands between a batch and its close; see I10.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Handed to the printer, neither printed nor burned.
    InBuffer(u32),
    Unaccounted(u32),
    Loose(u32),
    InTransit(u32),
    OpenContainers(u32),
    UnresolvedRejects(u32),
    BinDiffers {
        counted: u32,
        confirmed: u32,
    },
    PartialContainers(u32),
}

impl From<PeopleRefusal> for RequestRefusal {
    fn from(reason: PeopleRefusal) -> Self {
        Self::People(reason)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestRefusal {
    People(PeopleRefusal),
    Hands(HandsRefusal),
    UnknownBatch(BatchId),
    /// A batch with this identifier was loaded before, with another content.
    BatchExists(BatchId),
    /// Another batch is on the line.
    LineOccupied(BatchId),
    /// The batch is in this state.
    WrongState {
        batch: BatchId,
        state: BatchState,
    },
    SerialUsed(SerialNumber),
    SsccUsed(Sscc),
    StationAway(Text<24>),
    /// This station does not run the recipe that was approved for it.
    RecipeDiffers(OtherRecipe),
    /// The order names a recipe for a station that this line does not have.
    UnknownStation(Text<24>),
    AlarmsOpen(u32),
    /// The line was not cleared for this batch, and the site asks for that.
    NotCleared(BatchId),
    /// An item of the checklist is not answered.
    ItemOpen(String),
    /// No item of the checklist, or one that is answered twice.
    ItemUnknown(String),
    /// So many batches are not closed that no other can be loaded.
    BatchesFull(u32),
    ExpiryPast,
    UnknownAlarm(u32),
    NotBalanced,
    /// Upstream has not said yet which serials were used since the backup.
    SerialsSuspended,
    Busy,
    /// Nobody signed for the configuration of this run.
    ConfigNotApproved,
    /// The clock is unset, or not known to be right where the line's policy asks for that.
    ClockUnsure(ClockState),
}

/// What the line waits for a person to acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlarmKind {
    /// A wrong GTIN was read: wrong product.
    WrongGtin,
    UnknownSerial,
    DuplicateSerial,
    /// Results were missed.
    ResultsMissed,
    /// A reject was commanded and not confirmed.
    RejectMissing,
    PhantomReject,
    /// A unit passed the gate without a pass.
    UnexpectedPass,
    BinFull,
    /// A station came back with another epoch while units were in transit.
    StationReset,
    /// A permit ran out unanswered.
    CloseUnresolved,
    /// A gate opened without a permit.
    GateForced,
    /// The label read back is not the one given.
    LabelDiffers,
    /// A child of a refused close was rejected, unknown or elsewhere.
    ChildEscaped,
    /// A tenth of the serials of the order is left to print.
    SerialPoolLow,
    /// None is left: the printer starves.
    SerialsExhausted,
    SsccExhausted,
    /// The journal was repaired, lacks facts that were anchored elsewhere, or differs from them.
    JournalDoubt,
    /// The wall clock went forward by more than a minute.
    ClockStepped,
    /// The wall clock went backward.
    ClockRollback,
    /// The wall clock shows a year before this release was made.
    ClockUnset,
    /// The line stood still for seconds.
    LinePaused,
    /// The daemon was started again and again after runs that did not end in order.
    CrashLoop,
    /// Another controller writes to a device of this line.
    ForeignWriter,
    /// The broker will never take a message as it is; it lies in the feed's quarantine.
    FeedQuarantined,
    /// The broker does not let the feed in, or takes nothing of it.
    FeedRefused,
    /// Another client uses the feed's client id.
    DuplicateClientId,
    /// The broker takes what nobody is subscribed to.
    FeedUnheard,
    /// The consumer's watermark does not follow what the broker took.
    WatermarkStalled,
    /// The disk of the journal fills up.
    DiskLow,
    /// There is no room for the record of another batch; ends by itself.
    DiskFull,
    /// The log of the journal is not taken back into its file.
    JournalLogLarge,
    /// Commits take so long that verdicts come too late.
    JournalSlow,
    /// The journal was restored: serials that were used since its backup must be known before any is used.
    SerialsSuspended,
    /// So many units in a row were rejected.
    RejectsInARow,
    /// So many of the last units were rejected.
    RejectsTooMany,
    /// A unit was taken off the belt between two stations.
    UnitRemoved,
    /// A station runs another recipe than the approved one.
    RecipeDiffers,
    /// The gate of a device that decides by itself did other than the line found.
    DeviceDisagrees,
    /// Verdicts take so long that their deadline is not sure to be kept.
    VerdictsSlow,
    /// What waits for the broker has reached half of what may wait.
    FeedBehind,
    /// The broker has taken no checkpoint for long, although there is news: nobody outside could prove what was written since.
    CheckpointsWithheld,
    /// A printer took over a record from before it started anew.
    StrangeRecord,
    /// Pictures of the camera were not stored: they came late or broken, belong to no result, or there is no room.
    PicturesLost,
    /// Somebody tried passwords until an account was locked (21 CFR 11.300(d)).
    UnauthorisedUse,
    /// The journal was restored: no password of before opens anything.
    PasswordsVoid,
    /// An administrator was given a password without the old one, by whoever may write beside the journal.
    AccountRecovered,
}

impl FailReason {
    pub const ALL: &'static [FailReason] = &[
        FailReason::NoRead,
        FailReason::NotGood,
        FailReason::Changed,
        FailReason::NoTrack,
        FailReason::SecondRead,
        FailReason::NotGs1,
        FailReason::Malformed,
        FailReason::CheckDigit,
        FailReason::BadDate,
        FailReason::BadCharacter,
        FailReason::MissingAi,
        FailReason::ExtraAi,
        FailReason::RepeatedAi,
        FailReason::WrongGtin,
        FailReason::WrongLot,
        FailReason::WrongExpiry,
        FailReason::UnknownSerial,
        FailReason::NotEncoded,
        FailReason::Duplicate,
        FailReason::LowGrade,
        FailReason::NoGrade,
        FailReason::NoBatch,
        FailReason::Late,
        FailReason::ClockUnsure,
        FailReason::DeviceFailed,
        FailReason::Stranded,
    ];

    /// The stable word, lower snake case.
    pub fn name(self) -> &'static str {
        match self {
            FailReason::NoRead => "no_read",
            FailReason::NotGood => "not_good",
            FailReason::Changed => "changed",
            FailReason::NoTrack => "no_track",
            FailReason::SecondRead => "second_read",
            FailReason::NotGs1 => "not_gs1",
            FailReason::Malformed => "malformed",
            FailReason::CheckDigit => "check_digit",
            FailReason::BadDate => "bad_date",
            FailReason::BadCharacter => "bad_character",
            FailReason::MissingAi => "missing_ai",
            FailReason::ExtraAi => "extra_ai",
            FailReason::RepeatedAi => "repeated_ai",
            FailReason::WrongGtin => "wrong_gtin",
            FailReason::WrongLot => "wrong_lot",
            FailReason::WrongExpiry => "wrong_expiry",
            FailReason::UnknownSerial => "unknown_serial",
            FailReason::NotEncoded => "not_encoded",
            FailReason::Duplicate => "duplicate",
            FailReason::LowGrade => "low_grade",
            FailReason::NoGrade => "no_grade",
            FailReason::NoBatch => "no_batch",
            FailReason::Late => "late",
            FailReason::ClockUnsure => "clock_unsure",
            FailReason::DeviceFailed => "device_failed",
            FailReason::Stranded => "stranded",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|word| word.name() == name)
    }
}

impl AlarmKind {
    pub const ALL: &'static [AlarmKind] = &[
        AlarmKind::WrongGtin,
        AlarmKind::UnknownSerial,
        AlarmKind::DuplicateSerial,
        AlarmKind::ResultsMissed,
        AlarmKind::RejectMissing,
        AlarmKind::PhantomReject,
        AlarmKind::UnexpectedPass,
        AlarmKind::BinFull,
        AlarmKind::StationReset,
        AlarmKind::CloseUnresolved,
        AlarmKind::GateForced,
        AlarmKind::LabelDiffers,
        AlarmKind::ChildEscaped,
        AlarmKind::SerialPoolLow,
        AlarmKind::SerialsExhausted,
        AlarmKind::SsccExhausted,
        AlarmKind::JournalDoubt,
        AlarmKind::ClockStepped,
        AlarmKind::ClockRollback,
        AlarmKind::ClockUnset,
        AlarmKind::LinePaused,
        AlarmKind::CrashLoop,
        AlarmKind::ForeignWriter,
        AlarmKind::FeedQuarantined,
        AlarmKind::FeedRefused,
        AlarmKind::DuplicateClientId,
        AlarmKind::FeedUnheard,
        AlarmKind::WatermarkStalled,
        AlarmKind::FeedBehind,
        AlarmKind::CheckpointsWithheld,
        AlarmKind::StrangeRecord,
        AlarmKind::DiskLow,
        AlarmKind::DiskFull,
        AlarmKind::JournalLogLarge,
        AlarmKind::JournalSlow,
        AlarmKind::SerialsSuspended,
        AlarmKind::RejectsInARow,
        AlarmKind::RejectsTooMany,
        AlarmKind::UnitRemoved,
        AlarmKind::RecipeDiffers,
        AlarmKind::DeviceDisagrees,
        AlarmKind::VerdictsSlow,
        AlarmKind::PicturesLost,
        AlarmKind::UnauthorisedUse,
        AlarmKind::PasswordsVoid,
        AlarmKind::AccountRecovered,
    ];

    /// Whether the line waits for the acknowledgement. Upstream is no part of the line: what is wrong with the feed is told,
    /// and production goes on, since everything is in the journal. A printer without serials stops by itself. Nor does the wall clock hold the line: every time-out is
    /// monotonic, and order is by sequence number.
    pub fn holds(self) -> bool {
        match self {
            AlarmKind::WrongGtin
            | AlarmKind::UnknownSerial
            | AlarmKind::DuplicateSerial
            | AlarmKind::ResultsMissed
            | AlarmKind::RejectMissing
            | AlarmKind::PhantomReject
            | AlarmKind::UnexpectedPass
            | AlarmKind::BinFull
            | AlarmKind::StationReset
            | AlarmKind::CloseUnresolved
            | AlarmKind::GateForced
            | AlarmKind::LabelDiffers
            | AlarmKind::ChildEscaped
            | AlarmKind::SsccExhausted
            | AlarmKind::DiskFull
            | AlarmKind::SerialsSuspended
            | AlarmKind::JournalDoubt
            | AlarmKind::RejectsInARow
            | AlarmKind::RejectsTooMany
            | AlarmKind::UnitRemoved
            | AlarmKind::RecipeDiffers
            | AlarmKind::DeviceDisagrees
            | AlarmKind::ForeignWriter => true,
            AlarmKind::FeedQuarantined
            | AlarmKind::FeedRefused
            | AlarmKind::DuplicateClientId
            | AlarmKind::FeedUnheard
            | AlarmKind::WatermarkStalled
            | AlarmKind::DiskLow
            | AlarmKind::JournalLogLarge
            | AlarmKind::JournalSlow
            | AlarmKind::VerdictsSlow
            | AlarmKind::FeedBehind
            | AlarmKind::CheckpointsWithheld
            | AlarmKind::StrangeRecord
            | AlarmKind::PicturesLost
            | AlarmKind::UnauthorisedUse
            | AlarmKind::PasswordsVoid
            | AlarmKind::AccountRecovered
            | AlarmKind::ClockStepped
            | AlarmKind::ClockRollback
            | AlarmKind::ClockUnset
            | AlarmKind::LinePaused
            | AlarmKind::CrashLoop
            | AlarmKind::SerialPoolLow
            | AlarmKind::SerialsExhausted => false,
        }
    }

    /// The stable word, lower snake case.
    pub fn name(self) -> &'static str {
        match self {
            AlarmKind::WrongGtin => "wrong_gtin",
            AlarmKind::UnknownSerial => "unknown_serial",
            AlarmKind::DuplicateSerial => "duplicate_serial",
            AlarmKind::ResultsMissed => "results_missed",
            AlarmKind::RejectMissing => "reject_missing",
            AlarmKind::PhantomReject => "phantom_reject",
            AlarmKind::UnexpectedPass => "unexpected_pass",
            AlarmKind::BinFull => "bin_full",
            AlarmKind::StationReset => "station_reset",
            AlarmKind::CloseUnresolved => "close_unresolved",
            AlarmKind::GateForced => "gate_forced",
            AlarmKind::LabelDiffers => "label_differs",
            AlarmKind::ChildEscaped => "child_escaped",
            AlarmKind::SerialPoolLow => "serial_pool_low",
            AlarmKind::SerialsExhausted => "serials_exhausted",
            AlarmKind::SsccExhausted => "sscc_exhausted",
            AlarmKind::JournalDoubt => "journal_doubt",
            AlarmKind::ClockStepped => "clock_stepped",
            AlarmKind::ClockRollback => "clock_rollback",
            AlarmKind::ClockUnset => "clock_unset",
            AlarmKind::LinePaused => "line_paused",
            AlarmKind::CrashLoop => "crash_loop",
            AlarmKind::ForeignWriter => "foreign_writer",
            AlarmKind::FeedQuarantined => "feed_quarantined",
            AlarmKind::FeedRefused => "feed_refused",
            AlarmKind::DuplicateClientId => "duplicate_client_id",
            AlarmKind::FeedUnheard => "feed_unheard",
            AlarmKind::WatermarkStalled => "watermark_stalled",
            AlarmKind::FeedBehind => "feed_behind",
            AlarmKind::CheckpointsWithheld => "checkpoints_withheld",
            AlarmKind::StrangeRecord => "strange_record",
            AlarmKind::DiskLow => "disk_low",
            AlarmKind::DiskFull => "disk_full",
            AlarmKind::JournalLogLarge => "journal_log_large",
            AlarmKind::JournalSlow => "journal_slow",
            AlarmKind::SerialsSuspended => "serials_suspended",
            AlarmKind::RejectsInARow => "rejects_in_a_row",
            AlarmKind::RejectsTooMany => "rejects_too_many",
            AlarmKind::UnitRemoved => "unit_removed",
            AlarmKind::RecipeDiffers => "recipe_differs",
            AlarmKind::DeviceDisagrees => "device_disagrees",
            AlarmKind::VerdictsSlow => "verdicts_slow",
            AlarmKind::PicturesLost => "pictures_lost",
            AlarmKind::UnauthorisedUse => "unauthorised_use",
            AlarmKind::PasswordsVoid => "passwords_void",
            AlarmKind::AccountRecovered => "account_recovered",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|word| word.name() == name)
    }
}

impl RefuseReason {
    /// The slot of the child that it is about, from 0.
    pub fn slot(&self) -> Option<u32> {
        match self {
            RefuseReason::MissingChild { slot }
            | RefuseReason::MalformedChild { slot }
            | RefuseReason::ForeignChild { slot }
            | RefuseReason::UnknownChild { slot }
            | RefuseReason::RepeatedChild { slot }
            | RefuseReason::UnfitChild { slot }
            | RefuseReason::PackedChild { slot, .. } => Some(*slot),
            RefuseReason::NoBatch
            | RefuseReason::NotGood
            | RefuseReason::LevelAbsent
            | RefuseReason::Short { .. }
            | RefuseReason::Over { .. }
            | RefuseReason::CountDiffers { .. }
            | RefuseReason::NoSscc
            | RefuseReason::NotSealed
            | RefuseReason::LabelMissing
            | RefuseReason::LabelDiffers
            | RefuseReason::OnHold => None,
        }
    }

    /// The stable word, lower snake case.
    pub fn name(&self) -> &'static str {
        match self {
            RefuseReason::NoBatch => "no_batch",
            RefuseReason::NotGood => "not_good",
            RefuseReason::LevelAbsent => "level_absent",
            RefuseReason::Short { .. } => "short",
            RefuseReason::Over { .. } => "over",
            RefuseReason::CountDiffers { .. } => "count_differs",
            RefuseReason::MissingChild { .. } => "missing_child",
            RefuseReason::MalformedChild { .. } => "malformed_child",
            RefuseReason::ForeignChild { .. } => "foreign_child",
            RefuseReason::UnknownChild { .. } => "unknown_child",
            RefuseReason::RepeatedChild { .. } => "repeated_child",
            RefuseReason::UnfitChild { .. } => "unfit_child",
            RefuseReason::PackedChild { .. } => "packed_child",
            RefuseReason::NoSscc => "no_sscc",
            RefuseReason::NotSealed => "not_sealed",
            RefuseReason::LabelMissing => "label_missing",
            RefuseReason::LabelDiffers => "label_differs",
            RefuseReason::OnHold => "on_hold",
        }
    }

    /// The number shown at the machine (tag `reason`).
    pub fn code(&self) -> u16 {
        match self {
            RefuseReason::NoBatch => 1,
            RefuseReason::NotGood => 2,
            RefuseReason::LevelAbsent => 3,
            RefuseReason::Short { .. } => 4,
            RefuseReason::Over { .. } => 5,
            RefuseReason::CountDiffers { .. } => 6,
            RefuseReason::MissingChild { .. } => 7,
            RefuseReason::MalformedChild { .. } => 8,
            RefuseReason::ForeignChild { .. } => 9,
            RefuseReason::UnknownChild { .. } => 10,
            RefuseReason::RepeatedChild { .. } => 11,
            RefuseReason::UnfitChild { .. } => 12,
            RefuseReason::PackedChild { .. } => 13,
            RefuseReason::NoSscc => 14,
            RefuseReason::NotSealed => 15,
            RefuseReason::LabelMissing => 16,
            RefuseReason::LabelDiffers => 17,
            RefuseReason::OnHold => 18,
        }
    }
}
