//! Which rule each reason follows. Exhaustive on purpose: a new reason does not build without its rule.

use crate::domain::rule::Rule;
use crate::domain::time::ClockState;
use crate::engine::people::PeopleRefusal;
use crate::engine::reason::{AlarmKind, Difference, FailReason, RefuseReason, RequestRefusal};

impl FailReason {
    pub fn rule(self) -> Rule {
        match self {
            FailReason::NoRead | FailReason::NotGood | FailReason::Changed => Rule::UnitRead,
            FailReason::NoTrack | FailReason::SecondRead => Rule::OneTrack,
            FailReason::NotGs1 => Rule::Symbology,
            FailReason::Malformed => Rule::ElementString,
            FailReason::CheckDigit => Rule::CheckDigit,
            FailReason::BadDate => Rule::Dates,
            FailReason::BadCharacter => Rule::Characters,
            FailReason::MissingAi | FailReason::ExtraAi | FailReason::RepeatedAi => Rule::Fields,
            FailReason::WrongGtin | FailReason::WrongLot | FailReason::WrongExpiry => Rule::OfOrder,
            FailReason::UnknownSerial => Rule::KnownSerial,
            FailReason::NotEncoded => Rule::Encoded,
            FailReason::Duplicate => Rule::ReadOnce,
            FailReason::LowGrade | FailReason::NoGrade => Rule::Grade,
            FailReason::NoBatch => Rule::Sequence,
            FailReason::Late => Rule::InTime,
            FailReason::ClockUnsure => Rule::ClockKnown,
            FailReason::DeviceFailed => Rule::CameraAgrees,
            FailReason::Stranded => Rule::AfterStop,
        }
    }
}

impl RefuseReason {
    pub fn rule(&self) -> Rule {
        match self {
            RefuseReason::NoBatch | RefuseReason::NotSealed => Rule::Sequence,
            RefuseReason::NotGood | RefuseReason::MissingChild { .. } | RefuseReason::MalformedChild { .. } => {
                Rule::ChildrenRead
            }
            RefuseReason::LevelAbsent
            | RefuseReason::Short { .. }
            | RefuseReason::Over { .. }
            | RefuseReason::CountDiffers { .. } => Rule::Full,
            RefuseReason::ForeignChild { .. } | RefuseReason::UnknownChild { .. } => Rule::OneBatchInside,
            RefuseReason::RepeatedChild { .. } | RefuseReason::PackedChild { .. } => Rule::OneParent,
            RefuseReason::UnfitChild { .. } => Rule::FitChildren,
            RefuseReason::NoSscc => Rule::FromOrder,
            RefuseReason::LabelMissing | RefuseReason::LabelDiffers => Rule::LabelBack,
            RefuseReason::OnHold => Rule::PermitEnds,
        }
    }
}

impl Difference {
    pub fn rule(&self) -> Rule {
        match self {
            Difference::InBuffer(_)
            | Difference::Unaccounted(_)
            | Difference::Loose(_)
            | Difference::InTransit(_)
            | Difference::OpenContainers(_)
            | Difference::UnresolvedRejects(_)
            | Difference::BinDiffers { .. } => Rule::Balance,
            Difference::PartialContainers(_) => Rule::Full,
        }
    }
}

impl RequestRefusal {
    pub fn rule(&self) -> Rule {
        match self {
            RequestRefusal::People(refusal) => refusal.rule(),
            RequestRefusal::UnknownBatch(_) | RequestRefusal::UnknownAlarm(_) | RequestRefusal::UnknownStation(_) => {
                Rule::KnownName
            }
            RequestRefusal::BatchExists(_) => Rule::WholeOrder,
            RequestRefusal::LineOccupied(_) => Rule::OneBatch,
            RequestRefusal::WrongState { .. } => Rule::Sequence,
            RequestRefusal::SerialUsed(_) | RequestRefusal::SsccUsed(_) => Rule::UsedOnce,
            RequestRefusal::StationAway(_) | RequestRefusal::AlarmsOpen(_) => Rule::Ready,
            RequestRefusal::RecipeDiffers(_) => Rule::Recipe,
            RequestRefusal::NotCleared(_) | RequestRefusal::ItemOpen(_) | RequestRefusal::ItemUnknown(_) => {
                Rule::Cleared
            }
            RequestRefusal::ExpiryPast => Rule::NotExpired,
            RequestRefusal::NotBalanced => Rule::Balance,
            RequestRefusal::ConfigNotApproved => Rule::ConfigApproved,
            RequestRefusal::SerialsSuspended => Rule::AfterRestore,
            RequestRefusal::BatchesFull(_) | RequestRefusal::Busy => Rule::Bounded,
            RequestRefusal::ClockUnsure(ClockState::Unset) => Rule::ClockSet,
            RequestRefusal::ClockUnsure(
                ClockState::Synchronised | ClockState::Unsynchronised | ClockState::Unknown,
            ) => Rule::ClockKnown,
        }
    }
}

impl PeopleRefusal {
    pub fn rule(self) -> Rule {
        match self {
            PeopleRefusal::NotLoggedIn
            | PeopleRefusal::SessionOver
            | PeopleRefusal::NobodyYet
            | PeopleRefusal::LogInRefused => Rule::LoggedIn,
            PeopleRefusal::NotAllowed(_) | PeopleRefusal::NoRole => Rule::Authority,
            PeopleRefusal::BadName | PeopleRefusal::UserExists(_) | PeopleRefusal::SomebodyAlready => Rule::OnePerson,
            PeopleRefusal::MustChange | PeopleRefusal::ProofStale | PeopleRefusal::OwnPassword => Rule::OwnSecret,
            PeopleRefusal::LastAdmin(_) => Rule::LastAdmin,
            PeopleRefusal::PasswordsVoid => Rule::Recalled,
            PeopleRefusal::NotAnAdmin(_) => Rule::WayBack,
            PeopleRefusal::UnknownUser(_) => Rule::KnownName,
            PeopleRefusal::UsersFull => Rule::Bounded,
            PeopleRefusal::UnknownChallenge
            | PeopleRefusal::RecordChanged
            | PeopleRefusal::NothingToSign
            | PeopleRefusal::NothingPerformed => Rule::BoundSignature,
            PeopleRefusal::SamePerson => Rule::TwoPersons,
        }
    }
}

impl AlarmKind {
    pub fn rule(self) -> Rule {
        match self {
            AlarmKind::WrongGtin => Rule::OfOrder,
            AlarmKind::UnknownSerial => Rule::KnownSerial,
            AlarmKind::DuplicateSerial => Rule::ReadOnce,
            AlarmKind::ResultsMissed => Rule::NoGap,
            AlarmKind::RejectMissing | AlarmKind::PhantomReject | AlarmKind::UnexpectedPass => Rule::RejectProven,
            AlarmKind::BinFull => Rule::BinRoom,
            AlarmKind::StationReset => Rule::Restarted,
            AlarmKind::CloseUnresolved => Rule::PermitEnds,
            AlarmKind::GateForced => Rule::NoForce,
            AlarmKind::LabelDiffers => Rule::LabelBack,
            AlarmKind::ChildEscaped => Rule::FitChildren,
            AlarmKind::SerialsExhausted | AlarmKind::SerialPoolLow | AlarmKind::SsccExhausted => Rule::FromOrder,
            AlarmKind::JournalDoubt => Rule::Unaltered,
            AlarmKind::ClockStepped | AlarmKind::ClockRollback => Rule::ClockSteady,
            AlarmKind::ClockUnset => Rule::ClockSet,
            AlarmKind::LinePaused | AlarmKind::CrashLoop => Rule::Unbroken,
            AlarmKind::ForeignWriter => Rule::OneController,
            AlarmKind::FeedQuarantined
            | AlarmKind::FeedRefused
            | AlarmKind::FeedUnheard
            | AlarmKind::WatermarkStalled
            | AlarmKind::FeedBehind => Rule::Delivered,
            AlarmKind::DuplicateClientId => Rule::OwnClientId,
            AlarmKind::DiskLow | AlarmKind::DiskFull | AlarmKind::JournalLogLarge => Rule::Room,
            AlarmKind::JournalSlow | AlarmKind::VerdictsSlow => Rule::InTime,
            AlarmKind::SerialsSuspended => Rule::AfterRestore,
            AlarmKind::RejectsInARow => Rule::StopInARow,
            AlarmKind::RejectsTooMany => Rule::StopTooMany,
            AlarmKind::UnitRemoved => Rule::InOrder,
            AlarmKind::RecipeDiffers => Rule::Recipe,
            AlarmKind::DeviceDisagrees => Rule::GatesAgree,
            AlarmKind::CheckpointsWithheld => Rule::Witnessed,
            AlarmKind::StrangeRecord => Rule::OwnRecords,
            AlarmKind::PicturesLost => Rule::Pictures,
            AlarmKind::UnauthorisedUse => Rule::Attempts,
            AlarmKind::PasswordsVoid => Rule::Recalled,
            AlarmKind::AccountRecovered => Rule::WayBack,
        }
    }
}
