//! Who asks, and whether they may: sessions, rights, lock-out, and the accounts themselves.
//!
//! While nobody has an account the line works as it is, under the names of its doors. From the first account on every request that
//! changes something needs a session. Sessions and the times of locks are no facts: they end with the run, and a lock that the facts tell
//! of lasts its whole time again, since no clock of ours runs while we do not.

#[cfg(test)]
mod clearances;
#[cfg(test)]
mod signatures;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trail;

use std::collections::BTreeMap;

use crate::domain::text::Text;
use crate::domain::time::Now;
use crate::engine::Engine;
use crate::engine::fact::Fact;
use crate::engine::input::{Actor, Asker};
use crate::engine::output::{Done, Refused, Step, refuse};
use crate::engine::people::{
    Door, Limits, NewUser, PeopleRefusal, PeopleRequest, Person, Phc, Proof, Role, Roles, SessionEnd, SessionId,
    USERS_MAX, UserId, user_id,
};
use crate::engine::reason::AlarmKind;
use crate::engine::rights::{Action, Need};
use crate::engine::signing::{Challenge, Prepared};

/// Sessions at once; another one displaces the one that is idle longest.
const SESSIONS_MAX: usize = 64;

/// Who is there now. Empty after a restart.
#[derive(Clone, Debug, Default)]
pub(super) struct Attendance {
    sessions: BTreeMap<SessionId, Session>,
    /// When locked accounts are free again.
    locks: BTreeMap<UserId, u64>,
    /// Failed log-ins under names that nobody has, and until when no more of them are told.
    strangers: u32,
    strangers_until_us: u64,
    /// At most `CHALLENGES_MAX`.
    pub(super) challenges: BTreeMap<Challenge, Prepared>,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    user: UserId,
    begun_us: u64,
    used_us: u64,
}

pub(super) type Outcome = Result<Done, Refused>;

impl Engine {
    /// The name under which facts will have this request, where it may be made at all.
    pub(super) fn admit(&mut self, now: Now, step: &mut Step, asker: Asker, need: Need) -> Result<Actor, Refused> {
        let is_empty = self.state.people.is_empty();
        let is_remote = asker.door() == Door::Http;
        let (asker, door) = match asker {
            Asker::Door(actor) => (None, actor),
            Asker::Session(session) => (Some(session).filter(|_| !is_empty), local()),
            Asker::Remote(session) => (session, remote()),
        };
        // Whose name a door says counts for nothing once people have names of their own.
        let door = if is_empty || is_remote { door } else { local() };
        match (need, asker) {
            (Need::Nothing, _) => Ok(door),
            // The freedom of a line without people, and what begins with a code that lies here, are for who is here.
            _ if is_empty && is_remote => refuse(PeopleRefusal::NobodyYet),
            (Need::Presence, _) if is_remote => refuse(PeopleRefusal::NotLoggedIn),
            (Need::Presence, _) => Ok(door),
            (Need::Nobody, _) if is_empty => Ok(door),
            (Need::Nobody, _) => refuse(PeopleRefusal::SomebodyAlready),
            (Need::Session | Need::Right(Action::AdministerPeople), None) if is_empty => {
                refuse(PeopleRefusal::NobodyYet)
            }
            (Need::Right(_), None) if is_empty => Ok(door),
            (Need::Session | Need::Right(_), None) => refuse(PeopleRefusal::NotLoggedIn),
            (Need::Session, Some(session)) => self.attend(now, step, session).map(|(user, _)| user),
            (Need::Right(action), Some(session)) => {
                let (user, person) = self.attend(now, step, session)?;
                if person.must_change {
                    return refuse(PeopleRefusal::MustChange);
                }
                let is_allowed = action.is_allowed(person.roles);
                #[cfg(feature = "canary")]
                let is_allowed = is_allowed || self.forgets_roles;
                if !is_allowed {
                    return refuse(PeopleRefusal::NotAllowed(action));
                }
                Ok(user)
            }
        }
    }

    /// From now on nobody is asked for a role: a fault of our own.
    #[cfg(feature = "canary")]
    pub fn forget_roles(&mut self) {
        self.forgets_roles = true;
    }

    /// Whose session it is; that it was used.
    fn attend(&mut self, now: Now, step: &mut Step, session: SessionId) -> Result<(UserId, Person), Refused> {
        self.end_old_sessions(now, step);
        let found = self.attendance.sessions.get_mut(&session).map(|at| {
            at.used_us = now.mono_us;
            at.user
        });
        let person = found.and_then(|user| Some((user, *self.state.people.enabled(&user)?)));
        person.map_or_else(|| refuse(PeopleRefusal::SessionOver), Ok)
    }

    /// Ends what has lasted long enough: sessions and locks.
    pub(super) fn mind_people(&mut self, now: Now, step: &mut Step) {
        self.end_old_sessions(now, step);
        let lock_us = micros(self.policy.people.lock_s);
        let locked: Vec<UserId> =
            self.state.people.users.iter().filter(|(_, person)| person.is_locked).map(|(user, _)| *user).collect();
        self.attendance.locks.retain(|user, _| locked.contains(user));
        for user in locked {
            let free_us = *self.attendance.locks.entry(user).or_insert(now.mono_us.saturating_add(lock_us));
            if free_us <= now.mono_us {
                self.record(step, None, super::line(), Fact::LoginUnlocked { user });
            }
        }
    }

    fn end_old_sessions(&mut self, now: Now, step: &mut Step) {
        let limits = self.policy.people;
        self.end_sessions(step, |_, at| at.is_over(now, limits));
    }

    /// Ends every session for which `why` has a reason.
    fn end_sessions(&mut self, step: &mut Step, why: impl Fn(&SessionId, &Session) -> Option<SessionEnd>) {
        let over: Vec<(SessionId, UserId, SessionEnd)> =
            self.attendance.sessions.iter().filter_map(|(id, at)| Some((*id, at.user, why(id, at)?))).collect();
        for (session, user, end) in over {
            self.attendance.sessions.remove(&session);
            self.record(step, None, user, Fact::LoggedOut { user, session, end });
        }
    }

    fn end_sessions_of(&mut self, step: &mut Step, user: UserId) {
        self.end_sessions(step, |_, at| (at.user == user).then_some(SessionEnd::Changed));
    }

    pub(super) fn ask_about_people(
        &mut self,
        now: Now,
        step: &mut Step,
        (asker, actor): (Asker, Actor),
        request: PeopleRequest,
    ) -> Outcome {
        match request {
            PeopleRequest::AddFirst(new) => {
                let roles = Roles::from_iter([Role::Admin]);
                self.add_user(step, actor, NewUser { roles, ..new })
            }
            PeopleRequest::Add(new) => self.add_user(step, actor, new),
            PeopleRequest::SetRoles { user, roles, reason } => {
                self.change_user(step, actor, user, reason, |person| person.roles = roles)
            }
            PeopleRequest::Disable { user, reason } => {
                self.change_user(step, actor, user, reason, |person| person.is_enabled = false)
            }
            PeopleRequest::Enable { user, reason } => {
                self.change_user(step, actor, user, reason, |person| person.is_enabled = true)
            }
            PeopleRequest::ResetPassword { user, phc } => self.reset_password(step, actor, user, phc),
            PeopleRequest::Recover { user, phc, reason } => self.recover(step, actor, (user, phc), reason),
            PeopleRequest::ChangePassword { proof, phc } => self.change_password(step, actor, proof, phc),
            PeopleRequest::Unlock { user } => self.unlock(step, actor, user),
            PeopleRequest::LogIn { proof, session, stronger } => self.log_in(now, step, (proof, stronger), session),
            PeopleRequest::FailedLogIn { user } => self.fail_log_in(now, step, actor, user, asker.door()),
            PeopleRequest::Prepare { act, challenge } => self.prepare(now, step, actor, (act, challenge)),
            PeopleRequest::Sign { proof, answer } => self.sign(now, step, actor, (proof, answer)),
            PeopleRequest::LogOut => {
                self.end_sessions(step, |id, _| (asker.session() == Some(*id)).then_some(SessionEnd::Asked));
                Ok(Done::Changed)
            }
        }
    }

    fn add_user(&mut self, step: &mut Step, actor: Actor, new: NewUser) -> Outcome {
        let NewUser { user, full_name, roles, phc } = new;
        // While there is nobody the first one comes through the door, with a password of the own choice.
        let must_change = !self.state.people.is_empty();
        if user_id(user.as_str()).is_none() {
            return refuse(PeopleRefusal::BadName);
        }
        if self.state.people.users.contains_key(&user) {
            return refuse(PeopleRefusal::UserExists(user));
        }
        if self.state.people.users.len() >= USERS_MAX {
            return refuse(PeopleRefusal::UsersFull);
        }
        if roles.is_empty() {
            return refuse(PeopleRefusal::NoRole);
        }
        self.record(step, None, actor, Fact::UserAdded { user, full_name, roles });
        self.record(step, None, actor, Fact::CredentialSet { user, phc, must_change });
        Ok(Done::Changed)
    }

    fn change_user(
        &mut self,
        step: &mut Step,
        actor: Actor,
        user: UserId,
        reason: String,
        change: impl FnOnce(&mut Person),
    ) -> Outcome {
        let Some(before) = self.state.people.users.get(&user).copied() else {
            return refuse(PeopleRefusal::UnknownUser(user));
        };
        let mut after = before;
        change(&mut after);
        if after == before {
            return Ok(Done::Already);
        }
        if after.roles.is_empty() {
            return refuse(PeopleRefusal::NoRole);
        }
        let administers = |person: &Person| person.is_enabled && person.roles.has(Role::Admin);
        if administers(&before) && !administers(&after) && !self.state.people.has_admin_beside(&user) {
            return refuse(PeopleRefusal::LastAdmin(user));
        }
        let (roles_before, roles) = (before.roles, after.roles);
        let (was_enabled, is_enabled) = (before.is_enabled, after.is_enabled);
        let changed = Fact::UserChanged { user, roles_before, roles, was_enabled, is_enabled, reason };
        self.record(step, None, actor, changed);
        self.end_sessions_of(step, user);
        Ok(Done::Changed)
    }

    fn reset_password(&mut self, step: &mut Step, actor: Actor, user: UserId, phc: Phc) -> Outcome {
        if user == actor {
            return refuse(PeopleRefusal::OwnPassword);
        }
        if !self.state.people.users.contains_key(&user) {
            return refuse(PeopleRefusal::UnknownUser(user));
        }
        self.record(step, None, actor, Fact::CredentialSet { user, phc, must_change: true });
        self.end_sessions_of(step, user);
        Ok(Done::Changed)
    }

    /// Whoever may write beside the journal can do anything to this line; that it was done is told.
    fn recover(&mut self, step: &mut Step, actor: Actor, (user, phc): (UserId, Phc), reason: String) -> Outcome {
        let person = self.state.people.enabled(&user).filter(|person| person.roles.has(Role::Admin)).copied();
        let Some(person) = person else { return refuse(PeopleRefusal::NotAnAdmin(user)) };
        self.record(step, None, actor, Fact::UserRecovered { user, reason: reason.clone() });
        self.record(step, None, actor, Fact::CredentialSet { user, phc, must_change: true });
        if person.is_locked {
            self.record(step, None, actor, Fact::LoginUnlocked { user });
        }
        self.end_sessions_of(step, user);
        let detail = format!("{user} was given another password on the computer of the line: {reason}");
        self.raise(step, AlarmKind::AccountRecovered, None, detail);
        Ok(Done::Changed)
    }

    fn change_password(&mut self, step: &mut Step, actor: Actor, proof: Proof, phc: Phc) -> Outcome {
        let user = proof.user;
        if user != actor {
            return refuse(PeopleRefusal::LogInRefused);
        }
        self.proven(proof)?;
        self.record(step, None, actor, Fact::CredentialSet { user, phc, must_change: false });
        self.end_sessions_of(step, user);
        Ok(Done::Changed)
    }

    fn unlock(&mut self, step: &mut Step, actor: Actor, user: UserId) -> Outcome {
        let Some(person) = self.state.people.users.get(&user) else {
            return refuse(PeopleRefusal::UnknownUser(user));
        };
        if !person.is_locked {
            return Ok(Done::Already);
        }
        self.record(step, None, actor, Fact::LoginUnlocked { user });
        Ok(Done::Changed)
    }

    /// The person of a proof, where it still proves something and the account may be used.
    pub(super) fn proven(&self, proof: Proof) -> Result<Person, Refused> {
        let person = self.state.people.enabled(&proof.user).filter(|person| !person.is_locked).copied();
        let Some(person) = person else { return refuse(PeopleRefusal::LogInRefused) };
        if proof.credential_seq == 0 || person.credential_seq != proof.credential_seq {
            return refuse(PeopleRefusal::ProofStale);
        }
        Ok(person)
    }

    fn log_in(
        &mut self,
        now: Now,
        step: &mut Step,
        (proof, stronger): (Proof, Option<Phc>),
        session: SessionId,
    ) -> Outcome {
        let must_change = self.proven(proof)?.must_change;
        if self.attendance.sessions.len() >= SESSIONS_MAX {
            let idle = self.attendance.sessions.iter().min_by_key(|(_, at)| at.used_us).map(|(id, _)| *id);
            self.end_sessions(step, |id, _| (Some(*id) == idle).then_some(SessionEnd::Displaced));
        }
        let user = proof.user;
        let at = Session { user, begun_us: now.mono_us, used_us: now.mono_us };
        self.attendance.sessions.insert(session, at);
        self.record(step, None, user, Fact::LoggedIn { user, session });
        if let Some(phc) = stronger {
            self.record(step, None, user, Fact::CredentialSet { user, phc, must_change });
        }
        Ok(Done::Changed)
    }

    /// Every failure of an account up to its lock is a fact; so are the first ones under names that nobody has.
    fn fail_log_in(&mut self, now: Now, step: &mut Step, actor: Actor, user: UserId, door: Door) -> Outcome {
        let Limits { failures: failures_max, lock_s, .. } = self.policy.people;
        let Some(person) = self.state.people.users.get(&user).copied() else {
            self.fail_stranger(now, step, actor, door);
            return self.refuse_log_in();
        };
        if person.is_locked {
            return self.refuse_log_in();
        }
        let failures = person.failures.saturating_add(1);
        self.record(step, None, actor, Fact::LoginFailed { user: Some(user), door, failures });
        if failures >= failures_max {
            self.record(step, None, super::line(), Fact::LoginLocked { user, lock_s });
            let detail = format!("{failures} failed log-ins of {user}; the account is locked for {} min", lock_s / 60);
            self.raise(step, AlarmKind::UnauthorisedUse, None, detail);
        }
        self.refuse_log_in()
    }

    /// The same words for every name, so that nobody learns which there are.
    fn refuse_log_in(&self) -> Outcome {
        let is_void = self.state.people.has_void_password();
        refuse(if is_void { PeopleRefusal::PasswordsVoid } else { PeopleRefusal::LogInRefused })
    }

    fn fail_stranger(&mut self, now: Now, step: &mut Step, actor: Actor, door: Door) {
        let Limits { failures: failures_max, lock_s, .. } = self.policy.people;
        let at = &mut self.attendance;
        if at.strangers >= failures_max && now.mono_us < at.strangers_until_us {
            return;
        }
        at.strangers = if at.strangers >= failures_max { 1 } else { at.strangers.saturating_add(1) };
        at.strangers_until_us = now.mono_us.saturating_add(micros(lock_s));
        let failures = at.strangers;
        self.record(step, None, actor, Fact::LoginFailed { user: None, door, failures });
        if failures >= failures_max {
            let detail = format!("{failures} failed log-ins under names that nobody has");
            self.raise(step, AlarmKind::UnauthorisedUse, None, detail);
        }
    }
}

impl Session {
    /// Whether it has lasted long enough, and why.
    fn is_over(&self, now: Now, Limits { idle_s, session_s, .. }: Limits) -> Option<SessionEnd> {
        let since = |us: u64| now.mono_us.saturating_sub(us);
        if since(self.begun_us) >= micros(session_s) {
            return Some(SessionEnd::Expired);
        }
        (since(self.used_us) >= micros(idle_s)).then_some(SessionEnd::Idle)
    }
}

fn micros(seconds: u32) -> u64 {
    u64::from(seconds).saturating_mul(1_000_000)
}

/// The actor of what comes through the local door without a session.
fn local() -> Actor {
    Text::new("local").unwrap_or_default()
}

/// The actor of what comes through the HTTP door before it is known whose it is.
fn remote() -> Actor {
    Text::new("http").unwrap_or_default()
}
