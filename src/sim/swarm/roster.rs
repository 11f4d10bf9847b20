//! The promises about people, judged from the durable facts alone: who did something had an account, a session and a role for it, and
//! two people signed for a batch that did not balance. A table of its own, none of the engine's.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::text::BatchId;
use crate::engine::fact::{Entry, Fact};
use crate::engine::people::{FullName, Role, Roles, SessionId, UserId};
use crate::engine::signing::{Challenge, Meaning, Signable, Signature, SubjectHash};
use crate::sim::swarm::violation::{Verdict, claim};

/// Failures in a row that lock an account.
const FAILURES_MAX: u32 = 5;
/// What an account is locked for, at least, by the clock of the run.
const LOCK_US: u64 = 900_000_000;

use Role::{Admin, Maintenance, Operator, Quality, Supervisor};

#[derive(Clone, Debug)]
pub struct Account {
    full_name: FullName,
    roles: Roles,
    is_enabled: bool,
    pub must_change: bool,
    failures: u32,
    locked_at: Option<(u32, u64)>,
    /// The facts that set the password, oldest first.
    pub credentials: Vec<u64>,
}

impl Account {
    pub fn is_locked(&self) -> bool {
        self.locked_at.is_some()
    }

    fn has_one_of(&self, roles: &[Role]) -> bool {
        roles.iter().any(|role| self.roles.has(*role))
    }
}

#[derive(Clone, Debug, Default)]
pub struct Roster {
    pub accounts: BTreeMap<UserId, Account>,
    /// Those that this run gave and has not ended.
    sessions: BTreeMap<SessionId, UserId>,
    challenges: BTreeSet<Challenge>,
    performed: Option<(UserId, BatchId, SubjectHash)>,
    /// The batch that the newest fact verified.
    verified: Option<BatchId>,
    boot: u32,
}

impl Roster {
    /// A session of this person.
    pub fn session_of(&self, user: &UserId) -> Option<SessionId> {
        self.sessions.iter().find(|(_, of)| *of == user).map(|(session, _)| *session)
    }

    /// Who signed for this batch and waits for a second person.
    pub fn performed(&self) -> Option<UserId> {
        self.performed.map(|(user, ..)| user)
    }

    /// Whether the fact that comes now is what two people have just signed for.
    pub(super) fn is_signed(&self, batch: Option<BatchId>) -> bool {
        self.verified.is_some() && self.verified == batch
    }

    /// The next durable fact, with its boot and its monotonic time.
    pub(super) fn fact(&mut self, entry: &Entry, (boot, mono_us): (u32, u64)) -> Verdict {
        if boot != self.boot {
            // Sessions end with the run, and locks begin anew.
            (self.boot, self.sessions) = (boot, BTreeMap::new());
            self.accounts.values_mut().filter(|at| at.is_locked()).for_each(|at| at.locked_at = Some((boot, 0)));
        }
        self.may(entry)?;
        self.fold(entry, (boot, mono_us))
    }

    /// Whoever did this may.
    #[allow(clippy::wildcard_enum_match_arm, reason = "what is not in the list nobody does but the line itself")]
    fn may(&self, entry: &Entry) -> Verdict {
        let roles: &[Role] = match &entry.fact {
            Fact::BatchLoaded { .. }
            | Fact::BatchResumed { .. }
            | Fact::BatchAborted { .. }
            | Fact::BatchClosed { .. }
            | Fact::BatchCloseRefused { .. }
            | Fact::LineCleared { .. }
            | Fact::SerialsDeclared { .. }
            | Fact::SerialsRetired { .. } => &[Supervisor, Quality],
            Fact::BatchStarted { .. } | Fact::BatchPurgeStarted | Fact::SignatureRefused { .. } => {
                &[Operator, Supervisor, Quality]
            }
            Fact::BatchStopped { .. } | Fact::BatchHeld { .. } | Fact::AlarmAcknowledged { .. } => {
                &[Operator, Supervisor, Quality, Maintenance]
            }
            Fact::UserAdded { .. } | Fact::UserChanged { .. } | Fact::LoginUnlocked { .. } => &[Admin],
            Fact::CredentialSet { user, .. } if *user != entry.actor => &[Admin],
            Fact::Signed { signature } => match (signature.action, signature.meaning) {
                (Signable::Clearance, Meaning::Performed) => &[Operator, Supervisor, Quality],
                (Signable::VarianceClose, Meaning::Performed) | (Signable::Clearance, Meaning::Verified) => {
                    &[Supervisor, Quality]
                }
                (Signable::VarianceClose, Meaning::Verified)
                | (Signable::ConfigApproval | Signable::AuditReview, _) => &[Quality],
            },
            Fact::ConfigApproved { .. } | Fact::AuditReviewed { .. } | Fact::MessageGivenUp { .. } => &[Quality],
            Fact::CredentialSet { .. } | Fact::LoginFailed { .. } | Fact::LoggedIn { .. } | Fact::LoggedOut { .. } => {
                return Ok(());
            }
            _ => &[],
        };
        if entry.actor.as_str() == "line" || (self.accounts.is_empty() && !roles.is_empty()) {
            return Ok(());
        }
        let account = self.accounts.get(&entry.actor);
        // The first account is made before anybody can log in, with its password.
        let is_first = self.accounts.len() == 1 && account.is_none();
        let may = account.is_some_and(|at| at.is_enabled && !at.must_change && at.has_one_of(roles));
        let is_there = self.session_of(&entry.actor).is_some();
        claim((may && is_there) || (is_first && matches!(entry.fact, Fact::CredentialSet { .. })), "rights", || {
            format!("{} may not do this, session {is_there}, {account:?}: {:?}", entry.actor, entry.fact)
        })
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "the other facts are not about people")]
    fn fold(&mut self, entry: &Entry, now: (u32, u64)) -> Verdict {
        let verified = self.verified.take();
        match &entry.fact {
            Fact::UserAdded { user, full_name, roles } => {
                let account = Account {
                    full_name: *full_name,
                    roles: *roles,
                    is_enabled: true,
                    must_change: false,
                    failures: 0,
                    locked_at: None,
                    credentials: Vec::new(),
                };
                let before = self.accounts.insert(*user, account);
                claim(before.is_none(), "rights", || format!("{user} was added twice"))?;
            }
            Fact::UserChanged { user, roles, is_enabled, .. } => {
                self.with(user, |at| (at.roles, at.is_enabled) = (*roles, *is_enabled));
                let is_left = |at: &Account| at.is_enabled && at.roles.has(Admin);
                claim(self.accounts.values().any(is_left), "rights", || "nobody administers people".to_owned())?;
            }
            Fact::CredentialSet { user, must_change, .. } => self.with(user, |at| {
                at.must_change = *must_change;
                at.credentials.push(entry.seq);
            }),
            Fact::LoginFailed { user: Some(user), failures, .. } => self.fail(user, *failures)?,
            Fact::LoginLocked { user, .. } => self.lock(user, now)?,
            Fact::LoginUnlocked { user } => self.unlock(user, entry, now)?,
            Fact::LoggedIn { user, session } => self.enter(user, *session)?,
            Fact::LoggedOut { session, .. } => drop(self.sessions.remove(session)),
            Fact::Signed { signature } => self.signed(entry, signature)?,
            Fact::BatchClosed { .. } => (self.performed, self.verified) = (None, verified),
            _ => {}
        }
        Ok(())
    }

    fn with(&mut self, user: &UserId, change: impl FnOnce(&mut Account)) {
        if let Some(account) = self.accounts.get_mut(user) {
            change(account);
        }
    }

    fn fail(&mut self, user: &UserId, failures: u32) -> Verdict {
        let before = self.accounts.get(user).map_or(0, |at| at.failures);
        self.with(user, |at| at.failures = failures);
        claim(failures == before + 1 && failures <= FAILURES_MAX, "lock", || {
            format!("failure {failures} of {user} after {before}")
        })
    }

    fn lock(&mut self, user: &UserId, now: (u32, u64)) -> Verdict {
        let failures = self.accounts.get(user).map_or(0, |at| at.failures);
        self.with(user, |at| at.locked_at = Some(now));
        claim(failures == FAILURES_MAX, "lock", || format!("{user} is locked after {failures} failures"))
    }

    fn unlock(&mut self, user: &UserId, entry: &Entry, (boot, mono_us): (u32, u64)) -> Verdict {
        let locked_at = self.accounts.get(user).and_then(|at| at.locked_at);
        self.with(user, |at| (at.failures, at.locked_at) = (0, None));
        let is_over = locked_at.is_some_and(|(in_boot, at)| in_boot == boot && mono_us >= at.saturating_add(LOCK_US));
        let is_asked = locked_at.is_some() && entry.actor.as_str() != "line";
        claim(is_over || is_asked, "lock", || format!("{user} was locked at {locked_at:?} and is free at {mono_us}"))
    }

    fn enter(&mut self, user: &UserId, session: SessionId) -> Verdict {
        let account = self.accounts.get(user);
        let may = account.is_some_and(|at| at.is_enabled && !at.is_locked());
        claim(may, "lock", || format!("{user} logged in: {account:?}"))?;
        self.with(user, |at| at.failures = 0);
        let before = self.sessions.insert(session, *user);
        claim(before.is_none(), "rights", || format!("a session of {user} was there before"))
    }

    // I20: a signature is its person's own, by a challenge of its own; two people sign, and for the same record.
    fn signed(&mut self, entry: &Entry, signature: &Signature) -> Verdict {
        let Signature { user, full_name, meaning, action, subject_hash, challenge, .. } = signature;
        let account = self.accounts.get(user);
        let is_own = entry.actor == *user && account.is_some_and(|at| at.full_name == *full_name && !at.is_locked());
        claim(is_own, "I20", || format!("{} signed as {user}: {account:?}", entry.actor))?;
        claim(self.challenges.insert(*challenge), "I20", || format!("a challenge of {user} was used twice"))?;
        if *action != Signable::VarianceClose {
            return Ok(());
        }
        let Some(batch) = entry.batch else { return claim(false, "I20", || "signed for no batch".to_owned()) };
        if *meaning == Meaning::Performed {
            self.performed = Some((*user, batch, *subject_hash));
            return Ok(());
        }
        let performed = self.performed.as_ref();
        let is_second = performed.is_some_and(|(by, of, hash)| by != user && *of == batch && hash == subject_hash);
        self.verified = Some(batch);
        claim(is_second, "I20", || format!("{user} verified what {performed:?} had not performed"))
    }
}
