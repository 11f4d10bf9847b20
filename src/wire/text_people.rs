//! Refusals about people, for people.

use crate::engine::people::{PeopleRefusal, Role};

/// The stable word, lower snake case.
pub(super) fn code(refusal: &PeopleRefusal) -> &'static str {
    match refusal {
        PeopleRefusal::NotLoggedIn => "not_logged_in",
        PeopleRefusal::SessionOver => "session_over",
        PeopleRefusal::NobodyYet => "nobody_yet",
        PeopleRefusal::SomebodyAlready => "somebody_already",
        PeopleRefusal::NotAllowed(_) => "not_allowed",
        PeopleRefusal::MustChange => "must_change_password",
        PeopleRefusal::LogInRefused => "log_in_refused",
        PeopleRefusal::PasswordsVoid => "passwords_void",
        PeopleRefusal::NotAnAdmin(_) => "not_an_admin",
        PeopleRefusal::ProofStale => "password_changed",
        PeopleRefusal::BadName => "bad_user",
        PeopleRefusal::UserExists(_) => "user_exists",
        PeopleRefusal::UnknownUser(_) => "unknown_user",
        PeopleRefusal::UsersFull => "users_full",
        PeopleRefusal::NoRole => "no_role",
        PeopleRefusal::LastAdmin(_) => "last_admin",
        PeopleRefusal::OwnPassword => "own_password",
        PeopleRefusal::UnknownChallenge => "unknown_challenge",
        PeopleRefusal::RecordChanged => "record_changed",
        PeopleRefusal::NothingToSign => "nothing_to_sign",
        PeopleRefusal::NothingPerformed => "nothing_performed",
        PeopleRefusal::SamePerson => "same_person",
    }
}

pub(super) fn refusal(refusal: &PeopleRefusal) -> String {
    let text = match refusal {
        PeopleRefusal::NotLoggedIn => "nobody is logged in; log in first: `sealgate login NAME`",
        PeopleRefusal::SessionOver => "the session is over; log in again: `sealgate login NAME`",
        PeopleRefusal::NobodyYet => "nobody has an account yet; make the first one: `sealgate user init NAME`",
        PeopleRefusal::SomebodyAlready => {
            "this line has its first account already; an administrator adds others: `sealgate user add NAME`"
        }
        PeopleRefusal::NotAllowed(action) => {
            let roles = Role::ALL.iter().filter(|role| action.is_of(**role)).map(|role| role.name());
            let roles = roles.collect::<Vec<_>>().join(", ");
            return format!("your roles do not allow to {}; it takes one of: {roles}", action.title());
        }
        PeopleRefusal::MustChange => {
            "your password was chosen by somebody else; replace it first: `sealgate user passwd`, then log in again"
        }
        PeopleRefusal::LogInRefused => {
            "name or password is wrong, or the account is locked or disabled; failures in a row lock an account for some minutes"
        }
        PeopleRefusal::PasswordsVoid => {
            "the journal was restored, and no password of before opens anything: an administrator sets another (`sealgate user reset NAME`), \
             for an administrator root does (`sealgate user recover NAME`); or name or password is wrong"
        }
        PeopleRefusal::NotAnAdmin(user) => {
            return format!(
                "{user} is no administrator whose account may be used; see `sealgate user list`. An administrator resets the others"
            );
        }
        PeopleRefusal::ProofStale => "the password was changed meanwhile; log in again: `sealgate login NAME`",
        PeopleRefusal::BadName => {
            "a user's name is a lower-case letter, then letters, digits, `.`, `_` or `-`: 2 to 32 of them, and none of line, local, mqtt"
        }
        PeopleRefusal::UserExists(user) => {
            return format!("there is, or was, somebody called {user}; a name is given once, ever: take another");
        }
        PeopleRefusal::UnknownUser(user) => {
            return format!("nobody is called {user}; see `sealgate user list`");
        }
        PeopleRefusal::UsersFull => "this line has had a thousand people, the most that one journal holds",
        PeopleRefusal::NoRole => {
            "a person has at least one role: operator, supervisor, quality, maintenance, admin, auditor"
        }
        PeopleRefusal::LastAdmin(user) => {
            return format!("nobody but {user} administers people; make another administrator first");
        }
        PeopleRefusal::UnknownChallenge => {
            "what was to be signed is older than a minute, was tried before, or is another's; begin again"
        }
        PeopleRefusal::RecordChanged => "the record changed since it was shown; look at it, and begin again",
        PeopleRefusal::NothingToSign => {
            "the counts balance: close the batch without a signature (`sealgate batch close`)"
        }
        PeopleRefusal::NothingPerformed => {
            "nobody has signed the record, as it is now, as performed; that is the first of two signatures"
        }
        PeopleRefusal::SamePerson => "you signed as performed; another person verifies",
        PeopleRefusal::OwnPassword => "your own password is changed with the old one: `sealgate user passwd`",
    };
    text.to_owned()
}
