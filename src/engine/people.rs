//! People: who may use this line, what they are, and what a log-in and a lock-out are made of. The rights of each role stand in
//! `rights`, what becomes of a request in `login`.
//!
//! Passwords never come here. The desk checks one against the hash that stands in a `credential_set` fact and brings a [`Proof`] of
//! it, which names that fact: a proof of a credential that was replaced meanwhile proves nothing.

use std::collections::BTreeMap;

use crate::domain::text::Text;
use crate::engine::input::Actor;
use crate::engine::rights::Action;
use crate::engine::signing::{Act, Answer, Challenge};

/// Unique for ever: a person who left is disabled, and nobody else gets the name.
pub type UserId = Actor;
/// As printed beside a signature (21 CFR 11.50).
pub type FullName = Text<64>;
/// SHA-256 of the token that its holder keeps, in lower-case hex.
pub type SessionId = Text<64>;

/// People of one journal, those who left among them.
pub const USERS_MAX: usize = 1000;

/// Actors of facts that nobody may be called.
const RESERVED: [&str; 3] = ["line", "local", "mqtt"];

/// What a person is on this line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Operator,
    Supervisor,
    Quality,
    Maintenance,
    /// Administers people, and runs nothing.
    Admin,
    /// Reads, and changes nothing.
    Auditor,
}

impl Role {
    pub const ALL: &'static [Role] =
        &[Role::Operator, Role::Supervisor, Role::Quality, Role::Maintenance, Role::Admin, Role::Auditor];

    /// The stable word, lower snake case.
    pub fn name(self) -> &'static str {
        match self {
            Role::Operator => "operator",
            Role::Supervisor => "supervisor",
            Role::Quality => "quality",
            Role::Maintenance => "maintenance",
            Role::Admin => "admin",
            Role::Auditor => "auditor",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|role| role.name() == name)
    }

    fn bit(self) -> u8 {
        match self {
            Role::Operator => 1,
            Role::Supervisor => 2,
            Role::Quality => 4,
            Role::Maintenance => 8,
            Role::Admin => 16,
            Role::Auditor => 32,
        }
    }
}

/// The roles of one person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    pub fn has(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// In the order of [`Role::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.iter().copied().filter(move |role| self.has(*role))
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().fold(0, |bits, role| bits | role.bit()))
    }
}

/// The hash of a password with its salt and its costs, as a PHC string. It is shown to nobody.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Phc(Text<128>);

impl Phc {
    pub fn new(text: &str) -> Option<Self> {
        Text::new(text).map(Self)
    }

    /// For the journal, and for whoever compares a password with it.
    pub fn reveal(&self) -> &str {
        self.0.as_str()
    }
}

impl std::fmt::Debug for Phc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Phc(..)")
    }
}

/// This person's password was given, and compared with the credential that this fact set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    pub user: UserId,
    pub credential_seq: u64,
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    Asked,
    /// Nothing was asked for in it for too long.
    Idle,
    /// It has lasted as long as any may.
    Expired,
    /// What its person may do, or the password, was changed.
    Changed,
    /// There are too many: it was the one that was idle longest.
    Displaced,
}

impl SessionEnd {
    pub const ALL: &'static [SessionEnd] =
        &[SessionEnd::Asked, SessionEnd::Idle, SessionEnd::Expired, SessionEnd::Changed, SessionEnd::Displaced];

    /// The stable word, lower snake case.
    pub fn name(self) -> &'static str {
        match self {
            SessionEnd::Asked => "asked",
            SessionEnd::Idle => "idle",
            SessionEnd::Expired => "expired",
            SessionEnd::Changed => "changed",
            SessionEnd::Displaced => "displaced",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|end| end.name() == name)
    }
}

/// What the facts say of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Person {
    pub full_name: FullName,
    pub roles: Roles,
    pub is_enabled: bool,
    /// The fact that holds the hash of the password; 0 before there is one, and since the journal was restored.
    pub credential_seq: u64,
    /// The password was chosen by somebody else: nothing is allowed before it is replaced.
    pub must_change: bool,
    /// Failed log-ins since the last good one.
    pub failures: u32,
    pub is_locked: bool,
}

/// The fold of all facts about people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct People {
    /// At most [`USERS_MAX`].
    pub users: BTreeMap<UserId, Person>,
}

/// Facts say how things stand after them, so that one that is folded again changes nothing: recovery begins with what the newest facts
/// left, and meets older ones on the way.
impl People {
    pub(super) fn add(&mut self, user: UserId, person: Person) {
        self.users.insert(user, person);
    }

    pub(super) fn with(&mut self, user: &UserId, change: impl FnOnce(&mut Person)) {
        if let Some(person) = self.users.get_mut(user) {
            change(person);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// A backup brings back old passwords, of people who left among them: none opens anything before somebody sets it anew.
    pub(super) fn void_passwords(&mut self) {
        self.users.values_mut().for_each(|person| person.credential_seq = 0);
    }

    /// Whether somebody's password is void since a restore.
    pub(super) fn has_void_password(&self) -> bool {
        self.users.values().any(|person| person.credential_seq == 0)
    }

    /// The person, where the account may be used.
    pub(super) fn enabled(&self, user: &UserId) -> Option<&Person> {
        self.users.get(user).filter(|person| person.is_enabled)
    }

    /// Whether somebody but this one can administer people.
    pub(super) fn has_admin_beside(&self, user: &UserId) -> bool {
        self.users.iter().any(|(id, person)| id != user && person.is_enabled && person.roles.has(Role::Admin))
    }
}

impl Person {
    pub fn new(full_name: FullName, roles: Roles) -> Self {
        Self {
            full_name,
            roles,
            is_enabled: true,
            credential_seq: 0,
            must_change: false,
            failures: 0,
            is_locked: false,
        }
    }
}

/// A name that a person may have: a lower-case letter, then letters, digits, `.`, `_` and `-`, 2 to 32 of them; none that facts use
/// for something else.
pub fn user_id(text: &str) -> Option<UserId> {
    let mut bytes = text.bytes();
    let begins = bytes.next().is_some_and(|first| first.is_ascii_lowercase());
    let goes_on = bytes.all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
    let fits = (2..=32).contains(&text.len()) && begins && goes_on && !RESERVED.contains(&text);
    fits.then(|| UserId::new(text)).flatten()
}

/// A person's name as printed: something in it, nothing that steers a terminal.
pub fn full_name(text: &str) -> Option<FullName> {
    let text = text.trim();
    let is_printed = !text.is_empty() && !text.chars().any(char::is_control);
    is_printed.then(|| FullName::new(text)).flatten()
}

/// How long sessions and locks last, in seconds of running time, and what locks an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A session ends in which nothing was asked for so long.
    pub idle_s: u32,
    /// And one that has lasted so long.
    pub session_s: u32,
    /// Failures in a row that lock an account (21 CFR 11.300(d)).
    pub failures: u32,
    pub lock_s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { idle_s: 600, session_s: 43_200, failures: 5, lock_s: 900 }
    }
}

/// What is asked for about people.
#[derive(Clone, Debug)]
pub enum PeopleRequest {
    /// The first one, who administers the others; only while there is nobody. Whoever asks has shown the code that lies beside the
    /// journal.
    AddFirst(NewUser),
    Add(NewUser),
    SetRoles {
        user: UserId,
        roles: Roles,
        reason: String,
    },
    Disable {
        user: UserId,
        reason: String,
    },
    Enable {
        user: UserId,
        reason: String,
    },
    /// Another's password: it must be replaced before anything else.
    ResetPassword {
        user: UserId,
        phc: Phc,
    },
    /// An administrator's, without the old one. Whoever asks has shown that the folder of the journal is open to him.
    Recover {
        user: UserId,
        phc: Phc,
        reason: String,
    },
    /// One's own.
    ChangePassword {
        proof: Proof,
        phc: Phc,
    },
    Unlock {
        user: UserId,
    },
    LogIn {
        proof: Proof,
        session: SessionId,
        /// The same password under the costs of today, where its hash was made with lower ones.
        stronger: Option<Phc>,
    },
    /// A password that was not right, or a name that nobody has.
    FailedLogIn {
        user: UserId,
        door: Door,
    },
    LogOut,
    /// This is to be signed.
    Prepare {
        act: Act,
        challenge: Challenge,
    },
    Sign {
        proof: Proof,
        answer: Answer,
    },
}

#[derive(Clone, Copy, Debug)]
pub struct NewUser {
    pub user: UserId,
    pub full_name: FullName,
    pub roles: Roles,
    pub phc: Phc,
}

/// Where a log-in comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The local socket.
    Local,
}

impl Door {
    pub const ALL: &'static [Door] = &[Door::Local];

    /// The stable word, lower snake case.
    pub fn name(self) -> &'static str {
        match self {
            Door::Local => "local",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|door| door.name() == name)
    }
}

/// Why a request of or about a person is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeopleRefusal {
    /// There are people on this line, and nobody is logged in.
    NotLoggedIn,
    /// The session ended, or this daemon never gave it.
    SessionOver,
    /// There is nobody yet who could.
    NobodyYet,
    /// There is somebody already: the first is not made twice.
    SomebodyAlready,
    NotAllowed(Action),
    /// Only a new password is allowed.
    MustChange,
    /// Name or password wrong, account locked or disabled: whoever tries is not told which.
    LogInRefused,
    /// The same, and the journal was restored: passwords of before open nothing.
    PasswordsVoid,
    /// The way back is for those who can open it to the others.
    NotAnAdmin(UserId),
    /// The password was changed while it was being looked at.
    ProofStale,
    BadName,
    /// There is, or was, somebody of that name.
    UserExists(UserId),
    UnknownUser(UserId),
    UsersFull,
    NoRole,
    /// Nobody would be left to administer people.
    LastAdmin(UserId),
    /// One's own password is changed with the old one, and not reset.
    OwnPassword,
    /// Used, too old, another's, or of another run.
    UnknownChallenge,
    /// What was to be signed is not what it was.
    RecordChanged,
    /// The counts balance: a plain close will do.
    NothingToSign,
    /// Nobody has signed the record, as it is now, for what was done.
    NothingPerformed,
    /// Whoever performed does not verify.
    SamePerson,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_lower_case_and_no_name_of_an_actor() {
        for good in ["mm", "m.meier", "qa-2", "anna_b", &"a".repeat(32)] {
            assert!(user_id(good).is_some(), "{good}");
        }
        for bad in ["", "m", "Meier", "2fast", "m meier", "mé", "line", "local", "mqtt", "a\n", &"a".repeat(33)] {
            assert!(user_id(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn roles_are_a_set_in_one_order() {
        let roles: Roles = [Role::Quality, Role::Operator, Role::Quality].into_iter().collect();
        assert_eq!(roles.iter().collect::<Vec<_>>(), [Role::Operator, Role::Quality]);
        assert!(!roles.has(Role::Admin) && !roles.is_empty());
        assert!(Role::ALL.iter().all(|role| Role::parse(role.name()) == Some(*role)));
    }

    #[test]
    fn a_hash_is_never_printed() {
        let phc = Phc::new("$argon2id$v=19$m=8").expect("short");
        assert_eq!(format!("{phc:?}"), "Phc(..)");
    }
}
