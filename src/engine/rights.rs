//! Who may do what: one table of roles and actions, least privilege. A request that is new names its action here, and an action that is
//! new its row, or nothing compiles.

use crate::engine::input::Request;
use crate::engine::people::{PeopleRequest, Role, Roles};
use crate::engine::signing::Meaning;

/// What people do to a line, as rights tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    LoadBatch,
    StartBatch,
    StopBatch,
    PurgeBatch,
    HoldBatch,
    ResumeBatch,
    ReopenBatch,
    AbortBatch,
    CloseBatch,
    /// Answer for a batch whose counts do not balance.
    SignVariance,
    /// Be the second person who looks at it.
    VerifyVariance,
    /// Answer for a line that is clear.
    ClearLine,
    VerifyClearance,
    /// Look at what stood out of the audit trail, and sign for it.
    ReviewAudit,
    AcknowledgeAlarm,
    SampleUnit,
    /// A label that never became a product.
    ScrapLabel,
    /// Decommission or destroy.
    WithdrawUnit,
    /// One child out of its container.
    RemoveChild,
    /// Everything out of it.
    OpenContainer,
    ReprintLabel,
    /// A configuration that was edited may be used.
    ApproveConfig,
    /// Serials after a restore.
    NameSerials,
    /// Messages of the feed sent again.
    ReplayFeed,
    /// A message that the broker refuses, tried again or given up.
    SettleQuarantine,
    /// Accounts, roles, passwords of others, locks.
    AdministerPeople,
    /// See the line and its record from another computer.
    ReadFromAfar,
}

const O: bool = false;
const X: bool = true;

impl Action {
    pub const ALL: &'static [Action] = &[
        Action::LoadBatch,
        Action::StartBatch,
        Action::StopBatch,
        Action::PurgeBatch,
        Action::HoldBatch,
        Action::ResumeBatch,
        Action::ReopenBatch,
        Action::AbortBatch,
        Action::CloseBatch,
        Action::SignVariance,
        Action::VerifyVariance,
        Action::ClearLine,
        Action::VerifyClearance,
        Action::ReviewAudit,
        Action::AcknowledgeAlarm,
        Action::SampleUnit,
        Action::ScrapLabel,
        Action::WithdrawUnit,
        Action::RemoveChild,
        Action::OpenContainer,
        Action::ReprintLabel,
        Action::ApproveConfig,
        Action::NameSerials,
        Action::ReplayFeed,
        Action::SettleQuarantine,
        Action::AdministerPeople,
        Action::ReadFromAfar,
    ];

    /// The table, in the order of [`Role::ALL`].
    #[rustfmt::skip]
    const fn row(self) -> [bool; 6] {
        match self {
            //                         operator supervisor quality maintenance admin auditor
            Action::LoadBatch        => [O,     X,         X,      O,          O,    O],
            Action::StartBatch       => [X,     X,         X,      O,          O,    O],
            Action::StopBatch        => [X,     X,         X,      X,          O,    O],
            Action::PurgeBatch       => [X,     X,         X,      O,          O,    O],
            Action::HoldBatch        => [X,     X,         X,      X,          O,    O],
            Action::ResumeBatch      => [O,     X,         X,      O,          O,    O],
            Action::ReopenBatch      => [O,     X,         X,      O,          O,    O],
            Action::AbortBatch       => [O,     X,         X,      O,          O,    O],
            Action::CloseBatch       => [O,     X,         X,      O,          O,    O],
            Action::SignVariance     => [O,     X,         X,      O,          O,    O],
            Action::VerifyVariance   => [O,     O,         X,      O,          O,    O],
            Action::ClearLine        => [X,     X,         X,      O,          O,    O],
            Action::VerifyClearance  => [O,     X,         X,      O,          O,    O],
            Action::ReviewAudit      => [O,     O,         X,      O,          O,    O],
            Action::AcknowledgeAlarm => [X,     X,         X,      X,          O,    O],
            Action::SampleUnit       => [O,     X,         X,      O,          O,    O],
            Action::ScrapLabel       => [X,     X,         X,      O,          O,    O],
            Action::WithdrawUnit     => [O,     X,         X,      O,          O,    O],
            Action::RemoveChild      => [X,     X,         X,      O,          O,    O],
            Action::OpenContainer    => [O,     X,         X,      O,          O,    O],
            Action::ReprintLabel     => [O,     X,         X,      O,          O,    O],
            Action::ApproveConfig    => [O,     O,         X,      O,          O,    O],
            Action::NameSerials      => [O,     X,         X,      O,          O,    O],
            Action::ReplayFeed       => [O,     X,         X,      X,          O,    O],
            Action::SettleQuarantine => [O,     X,         X,      O,          O,    O],
            Action::AdministerPeople => [O,     O,         O,      O,          X,    O],
            Action::ReadFromAfar     => [X,     X,         X,      X,          X,    X],
        }
    }

    /// In words, as people read it in a refusal.
    pub fn title(self) -> &'static str {
        match self {
            Action::LoadBatch => "load a batch",
            Action::StartBatch => "start a batch",
            Action::StopBatch => "stop a batch",
            Action::PurgeBatch => "purge a batch",
            Action::HoldBatch => "hold a batch",
            Action::ResumeBatch => "resume a batch that is held",
            Action::ReopenBatch => "reopen a batch",
            Action::AbortBatch => "abort a batch",
            Action::CloseBatch => "close a batch",
            Action::SignVariance => "sign for a batch whose counts do not balance",
            Action::VerifyVariance => "verify the close of a batch whose counts do not balance",
            Action::ClearLine => "sign for the clearance of the line",
            Action::VerifyClearance => "verify the clearance of the line",
            Action::ReviewAudit => "review the audit trail",
            Action::AcknowledgeAlarm => "acknowledge an alarm",
            Action::SampleUnit => "take a sample",
            Action::ScrapLabel => "scrap a label",
            Action::WithdrawUnit => "decommission or destroy a unit",
            Action::RemoveChild => "take a child out of its container",
            Action::OpenContainer => "reopen or unpack a container",
            Action::ReprintLabel => "reprint the label of a container",
            Action::ApproveConfig => "approve a configuration",
            Action::NameSerials => "name serials that were used",
            Action::ReplayFeed => "replay the feed",
            Action::SettleQuarantine => "settle the feed's quarantine",
            Action::AdministerPeople => "administer people",
            Action::ReadFromAfar => "read from another computer",
        }
    }

    pub fn is_of(self, role: Role) -> bool {
        Role::ALL.iter().zip(self.row()).any(|(of, allowed)| *of == role && allowed)
    }

    /// Whether one of the roles is enough.
    pub fn is_allowed(self, roles: Roles) -> bool {
        roles.iter().any(|role| self.is_of(role))
    }
}

/// What a request asks of whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it is the way in.
    Nothing,
    /// Nothing, of who is at the line: what is needed lies there.
    Presence,
    /// That nobody is there yet.
    Nobody,
    /// A session, and no right: what a person does to the own account.
    Session,
    Right(Action),
}

impl Request {
    /// The exhaustive list: no wildcard, so that a new request says what it needs.
    pub fn need(&self) -> Need {
        match self {
            Request::LoadBatch(_) => Need::Right(Action::LoadBatch),
            Request::StartBatch(_) => Need::Right(Action::StartBatch),
            Request::StopBatch(_) => Need::Right(Action::StopBatch),
            Request::PurgeBatch(_) => Need::Right(Action::PurgeBatch),
            Request::HoldBatch { .. } => Need::Right(Action::HoldBatch),
            Request::ResumeBatch { .. } => Need::Right(Action::ResumeBatch),
            Request::ReopenBatch(_) => Need::Right(Action::ReopenBatch),
            Request::AbortBatch { .. } => Need::Right(Action::AbortBatch),
            Request::CloseBatch(_) => Need::Right(Action::CloseBatch),
            Request::AcknowledgeAlarm(_) => Need::Right(Action::AcknowledgeAlarm),
            Request::DeclareUsed(_) | Request::ConfirmSerials => Need::Right(Action::NameSerials),
            Request::GiveUpMessage { .. } => Need::Right(Action::SettleQuarantine),
            Request::Hands(request) => Need::Right(request.action()),
            Request::Permission(action) => Need::Right(*action),
            Request::People(request) => request.need(),
        }
    }
}

impl PeopleRequest {
    fn need(&self) -> Need {
        match self {
            PeopleRequest::AddFirst(_) => Need::Nobody,
            PeopleRequest::Add(_)
            | PeopleRequest::SetRoles { .. }
            | PeopleRequest::Disable { .. }
            | PeopleRequest::Enable { .. }
            | PeopleRequest::ResetPassword { .. }
            | PeopleRequest::Unlock { .. } => Need::Right(Action::AdministerPeople),
            PeopleRequest::ChangePassword { .. } | PeopleRequest::LogOut => Need::Session,
            // Whoever may verify may perform too.
            PeopleRequest::Prepare { act, .. } => Need::Right(act.signable().right(Meaning::Performed)),
            PeopleRequest::Sign { answer, .. } => Need::Right(answer.action.right(answer.meaning)),
            PeopleRequest::LogIn { .. } | PeopleRequest::FailedLogIn { .. } => Need::Nothing,
            PeopleRequest::Recover { .. } => Need::Presence,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_administers_people_and_runs_the_line_and_an_auditor_changes_nothing() {
        for action in Action::ALL.iter().filter(|action| **action != Action::ReadFromAfar) {
            assert_eq!(action.is_of(Role::Admin), *action == Action::AdministerPeople, "{action:?}");
            assert!(!action.is_of(Role::Auditor), "{action:?}");
            assert!(Role::ALL.iter().any(|role| action.is_of(*role)), "{action:?} is nobody's");
        }
    }
}
