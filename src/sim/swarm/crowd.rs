//! The people of a simulated line: they log in and out, mistype until they are locked out, ask for what is not theirs and for what is, at
//! the wrong moment too, change accounts, and sign. They draw from a stream of numbers of their own.
//!
//! Each knows what is durable and nothing else. What they may do is the engine's to say and the `roster`'s to judge. One of them, and a
//! second who verifies, is left alone by the others: with those two the line can always be run, stopped and closed.

use std::sync::Arc;

use crate::domain::text::Text;
use crate::engine::input::{Ask, Asker, Request, UsedSerials};
use crate::engine::people::{NewUser, PeopleRequest, Phc, Proof, Role, Roles, SessionId, UserId};
use crate::engine::rights::Action;
use crate::engine::signing::{Act, Answer, Challenge, Meaning, Signable};
use crate::line::Arrival;
use crate::sim::random::Random;
use crate::sim::swarm::person::Goal;
use crate::sim::swarm::roster::Roster;
use crate::sim::swarm::setup::name;
use crate::sim::swarm::world::World;

const LOOK_US: u64 = 200_000;
const HAND_US: u64 = 20_000;
const SECOND: u64 = 1_000_000;
/// Then the calm one stops it: a unit that is gone keeps it from ending.
const PURGE_US: u64 = 8 * SECOND;

/// Runs the line, and answers for it.
pub(super) const CALM: &str = "otto";
/// Verifies what the calm one answers for.
const SECOND_PERSON: &str = "quinn";
const ADMIN: &str = "anna";

/// The others do as they like.
const CAST: &[(&str, &[Role])] = &[
    (CALM, &[Role::Supervisor]),
    (SECOND_PERSON, &[Role::Quality]),
    ("abel", &[Role::Admin]),
    ("rosa", &[Role::Quality]),
    ("paul", &[Role::Quality, Role::Operator]),
    ("sam", &[Role::Supervisor]),
    ("olaf", &[Role::Operator]),
    ("mia", &[Role::Maintenance]),
    ("ada", &[Role::Auditor]),
];

macro_rules! moves {
    ($($variant:ident $word:literal),+ $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Move { $($variant),+ }

        impl Move {
            pub const ALL: &'static [Move] = &[$(Move::$variant),+];

            /// The word of the table.
            pub fn name(self) -> &'static str {
                match self { $(Move::$variant => $word),+ }
            }
        }
    };
}

moves! {
    LogIn "person logs in",
    LogOut "person logs out",
    Mistype "wrong passwords until the lock",
    StaleProof "password that was replaced",
    Stranger "log-in under a name that nobody has",
    Load "person loads the order again",
    Start "person starts the batch",
    Stop "person stops the batch",
    Purge "person purges the batch",
    Hold "person holds the batch",
    Resume "person resumes the batch",
    Abort "person aborts the batch while it runs",
    Close "person closes the batch while it runs",
    Acknowledge "person acknowledges",
    DeclareSerials "person declares serials",
    ConfirmSerials "person confirms serials",
    Permission "person asks for a permission",
    AddUser "person adds an account",
    SetRoles "roles changed",
    Disable "account disabled",
    Enable "account enabled",
    ResetPassword "password reset",
    ChangePassword "password changed",
    Unlock "account unlocked",
    Prepare "challenge asked for",
    Sign "challenge answered",
    SignAlone "one person signs for both",
    Replay "challenge answered again, or by another",
    Verify "second person signs for the close",
}

#[derive(Clone, Debug)]
pub(super) struct Crowd {
    random: Random,
    /// No crowd, no accounts: the line works as it is.
    is_there: bool,
    next_look_us: u64,
    next_move_us: u64,
    /// A purge that somebody began has so long to end.
    pub(super) purged_until_us: u64,
    /// Whether the moves may disturb the line.
    is_wild: bool,
    /// The newest challenges, whose they are, and what for.
    challenges: Vec<(UserId, Challenge, Signable)>,
}

impl Crowd {
    pub(super) fn nobody() -> Self {
        Self {
            random: Random::new(0),
            is_there: false,
            next_look_us: 0,
            next_move_us: 0,
            purged_until_us: 0,
            is_wild: false,
            challenges: Vec::new(),
        }
    }

    /// Three lines in four have people.
    pub(super) fn drawn(seed: u64, is_calm: bool) -> Self {
        let mut random = Random::new(seed ^ 0x9E0_91E5);
        let is_there = random.below(4) > 0;
        Self { random, is_there, is_wild: !is_calm, ..Self::nobody() }
    }

    pub(super) fn is_there(&self) -> bool {
        self.is_there
    }

    /// The storm is over: nobody does anything on a whim any more.
    pub(super) fn calm_down(&mut self) {
        (self.is_wild, self.purged_until_us) = (false, 0);
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(usize::try_from(self.random.below(from.len() as u64)).unwrap_or(0))
    }

    /// 64 hexadecimal digits, as the desk draws them.
    fn token(&mut self) -> Text<64> {
        let digits: String = (0..4).map(|_| format!("{:016x}", self.random.next_u64())).collect();
        name(&digits)
    }
}

/// What the calm person needs before the own request.
pub(super) enum Standing {
    /// Ask like this.
    As(Asker),
    /// The account is being made.
    Wait,
}

impl World {
    fn roster(&self) -> &Roster {
        &self.ledger.people
    }

    /// How a person asks: in the own session, which is begun where there is none.
    pub(super) fn standing_of(&mut self, user: &str) -> Standing {
        if !self.crowd.is_there {
            return Standing::As(Asker::Door(name("operator")));
        }
        let user: UserId = name(user);
        match self.roster().session_of(&user) {
            Some(session) => Standing::As(Asker::Session(session)),
            None => {
                self.log_in(user);
                Standing::Wait
            }
        }
    }

    pub(super) fn look_at_crowd(&mut self) {
        if !self.crowd.is_there || self.now_us < self.crowd.next_look_us || self.process.is_none() {
            return;
        }
        self.crowd.next_look_us = self.now_us + LOOK_US;
        if !self.found_accounts() {
            return;
        }
        if self.person.goal == Goal::Close {
            return self.sign_for_the_close();
        }
        if self.crowd.is_wild && self.now_us >= self.crowd.next_move_us {
            self.crowd.next_move_us = self.now_us + self.crowd.random.below(3 * SECOND);
            if let Some(drawn) = self.crowd.pick(Move::ALL).copied() {
                self.make(drawn);
            }
        }
    }

    /// The accounts, from the first one on. True once everybody has one.
    fn found_accounts(&mut self) -> bool {
        let admin: UserId = name(ADMIN);
        if self.roster().accounts.is_empty() {
            self.ask_as(door(), PeopleRequest::AddFirst(newcomer(ADMIN, &[Role::Admin])));
            return false;
        }
        let missing: Vec<_> =
            CAST.iter().filter(|(user, _)| !self.roster().accounts.contains_key(&name(user))).collect();
        if !missing.is_empty() {
            match self.roster().session_of(&admin) {
                Some(session) => missing.into_iter().for_each(|(user, roles)| {
                    self.ask_as(Asker::Session(session), PeopleRequest::Add(newcomer(user, roles)));
                }),
                None => self.log_in(admin),
            }
            return false;
        }
        // The two who run the line replace their first password at once; the others when they feel like it.
        let is_new = |user: &&&str| self.roster().accounts.get(&name(user)).is_some_and(|at| at.must_change);
        let new: Vec<UserId> =
            [&CALM, &SECOND_PERSON].iter().filter(|user| is_new(user)).map(|user| name(user)).collect();
        new.iter().for_each(|user| self.change_password(*user));
        new.is_empty()
    }

    fn change_password(&mut self, user: UserId) {
        match (self.roster().session_of(&user), self.proof(&user, 0)) {
            (Some(session), Some(proof)) => {
                self.ask_as(Asker::Session(session), PeopleRequest::ChangePassword { proof, phc: phc() });
            }
            (None, _) => self.log_in(user),
            (Some(_), None) => {}
        }
    }

    fn log_in(&mut self, user: UserId) {
        let session: SessionId = self.crowd.token();
        if let Some(proof) = self.proof(&user, 0) {
            self.ask_as(door(), PeopleRequest::LogIn { proof, session, stronger: None });
        }
    }

    /// What the desk makes of a password: of the present one, or of one that was replaced.
    fn proof(&self, user: &UserId, replaced: usize) -> Option<Proof> {
        let credentials = &self.roster().accounts.get(user)?.credentials;
        Some(Proof { user: *user, credential_seq: *credentials.iter().rev().nth(replaced)? })
    }

    fn ask_as(&mut self, asker: Asker, request: PeopleRequest) {
        self.ask_of_crowd(asker, Request::People(Box::new(request)));
    }

    fn ask_of_crowd(&mut self, asker: Asker, request: Request) {
        self.arrive_at(self.now_us + HAND_US, Arrival::Asked(Ask { id: 0, asker, request }));
    }

    /// Somebody who is not one of the two.
    fn anybody(&mut self) -> UserId {
        let others = CAST.get(2..).unwrap_or_default();
        self.crowd.pick(others).map(|(user, _)| name(user)).unwrap_or_default()
    }

    /// Mostly in the own session, sometimes in one that is over, or in none at all.
    fn somehow(&mut self, user: &UserId) -> Asker {
        let session = self.roster().session_of(user);
        match (session, self.crowd.random.below(12)) {
            (_, 0) => Asker::Session(self.crowd.token()),
            (_, 1) => Asker::Door(name("mqtt")),
            (Some(session), _) => Asker::Session(session),
            (None, _) => {
                self.log_in(*user);
                door()
            }
        }
    }

    fn make(&mut self, drawn: Move) {
        if drawn != Move::Verify {
            self.tally.make(drawn);
        }
        let user = self.anybody();
        self.note(|| format!("crowd {} by {user}", drawn.name()));
        let asker = self.somehow(&user);
        match drawn {
            Move::LogIn => self.log_in(user),
            Move::LogOut => self.ask_as(asker, PeopleRequest::LogOut),
            Move::Mistype => (0..5).for_each(|_| self.fail(user)),
            Move::StaleProof => {
                let session = self.crowd.token();
                let proof = self.proof(&user, 1);
                if let Some(proof) = proof {
                    self.ask_as(door(), PeopleRequest::LogIn { proof, session, stronger: None });
                }
            }
            Move::Stranger => self.fail(name("mallory")),
            Move::ChangePassword => self.change_password(user),
            Move::Load
            | Move::Start
            | Move::Stop
            | Move::Purge
            | Move::Hold
            | Move::Resume
            | Move::Abort
            | Move::Close
            | Move::Acknowledge
            | Move::DeclareSerials
            | Move::ConfirmSerials
            | Move::Permission => self.make_at_line(drawn, asker),
            Move::AddUser | Move::SetRoles | Move::Disable | Move::Enable | Move::ResetPassword | Move::Unlock => {
                self.administer(drawn, asker)
            }
            Move::Prepare => self.prepare(user, asker),
            Move::Sign | Move::SignAlone | Move::Replay => self.answer(drawn, user, asker),
            // Never on a whim: the batch would be closed.
            Move::Verify => {}
        }
    }

    fn fail(&mut self, user: UserId) {
        self.ask_as(door(), PeopleRequest::FailedLogIn { user });
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "the moves were sorted before")]
    fn make_at_line(&mut self, drawn: Move, asker: Asker) {
        let batch = self.setup.order.sheet.batch;
        let action = self.crowd.pick(Action::ALL).copied().unwrap_or(Action::AcknowledgeAlarm);
        let alarm = u32::try_from(self.crowd.random.below(6)).unwrap_or(0);
        let request = match drawn {
            Move::Load => Request::LoadBatch(Arc::clone(&self.setup.order)),
            Move::Start => Request::StartBatch(batch),
            Move::Stop => Request::StopBatch(batch),
            Move::Purge => Request::PurgeBatch(batch),
            Move::Hold => Request::HoldBatch { batch, reason: "on a whim".to_owned() },
            Move::Resume => Request::ResumeBatch { batch, reason: None },
            // Both would be done once it is stopped: that is the calm one's to decide.
            Move::Close if self.ledger.is_running => Request::CloseBatch(batch),
            Move::Abort if self.ledger.is_running => Request::AbortBatch { batch, reason: "on a whim".to_owned() },
            Move::DeclareSerials => return self.declare(asker),
            Move::ConfirmSerials => Request::ConfirmSerials,
            Move::Acknowledge => Request::AcknowledgeAlarm(self.ledger.alarms_ever.saturating_sub(alarm)),
            _ => Request::Permission(action),
        };
        if matches!(request, Request::StopBatch(_) | Request::HoldBatch { .. }) {
            self.touch(5 * SECOND);
        }
        if matches!(request, Request::PurgeBatch(_)) {
            self.crowd.purged_until_us = self.now_us + PURGE_US;
            self.touch(PURGE_US + 5 * SECOND);
        }
        self.ask_of_crowd(asker, request);
    }

    /// Serials of nobody, or some that a printer has had for long: naming one that waits would burn what the printer holds, which it
    /// prints all the same.
    fn declare(&mut self, asker: Asker) {
        let drawn = usize::try_from(self.crowd.random.below(8)).unwrap_or(0);
        let known = self.ledger.serials.len().checked_sub(20 + drawn);
        let known = known.and_then(|at| self.setup.order.serials.get(at)).copied().filter(|_| drawn < 4);
        let serial = known.unwrap_or_else(|| crate::domain::gs1::SerialNumber::new("NOBODYS").expect("legal"));
        let used = UsedSerials { gtin: self.setup.order.sheet.gtin, serials: vec![serial] };
        self.ask_of_crowd(asker, Request::DeclareUsed(used));
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "the moves were sorted before")]
    fn administer(&mut self, drawn: Move, asker: Asker) {
        // Mostly by somebody who may.
        let is_by_admin = self.crowd.random.below(4) > 0;
        let asker = if is_by_admin { self.somehow(&name("abel")) } else { asker };
        let user = self.anybody();
        let reason = "on a whim".to_owned();
        let role = self.crowd.pick(Role::ALL).copied().unwrap_or(Role::Operator);
        let request = match drawn {
            Move::SetRoles => PeopleRequest::SetRoles { user, roles: Roles::from_iter([role]), reason },
            Move::Disable => PeopleRequest::Disable { user, reason },
            Move::Enable => PeopleRequest::Enable { user, reason },
            Move::ResetPassword => PeopleRequest::ResetPassword { user, phc: phc() },
            Move::Unlock => PeopleRequest::Unlock { user },
            _ => PeopleRequest::Add(newcomer(user.as_str(), &[role])),
        };
        self.ask_as(asker, request);
    }

    fn prepare(&mut self, user: UserId, asker: Asker) {
        let challenge = self.crowd.token();
        let is_config = self.crowd.random.below(4) == 0;
        let act = if is_config { Act::ConfigApproval } else { Act::VarianceClose(self.setup.order.sheet.batch) };
        self.crowd.challenges.push((user, challenge, act.signable()));
        if self.crowd.challenges.len() > 16 {
            self.crowd.challenges.remove(0);
        }
        self.ask_as(asker, PeopleRequest::Prepare { act, challenge });
    }

    /// On a whim nobody verifies what another performed: the batch would be closed.
    fn answer(&mut self, drawn: Move, user: UserId, asker: Asker) {
        let challenges = self.crowd.challenges.clone();
        let newest = challenges.iter().rev().find(|(of, ..)| *of == user);
        let any = self.crowd.pick(&challenges);
        let Some((_, challenge, action)) = (if drawn == Move::Replay { any } else { newest }) else { return };
        let is_alone = drawn == Move::SignAlone && self.roster().performed() == Some(user);
        let meaning = if is_alone { Meaning::Verified } else { Meaning::Performed };
        self.sign(user, asker, Answer { challenge: *challenge, action: *action, meaning });
    }

    fn sign(&mut self, user: UserId, asker: Asker, answer: Answer) {
        if let Some(proof) = self.proof(&user, 0) {
            self.ask_as(asker, PeopleRequest::Sign { proof, answer });
        }
    }

    /// The calm one has been told that the counts do not balance, and answers for it; another verifies. Both try too much, too.
    fn sign_for_the_close(&mut self) {
        if !matches!(self.person.closing, Some(Err(_))) || self.ledger.is_batch_closed {
            return;
        }
        let performed = self.roster().performed();
        let (calm, second): (UserId, UserId) = (name(CALM), name(SECOND_PERSON));
        let is_odd = self.crowd.random.below(4) == 0;
        let user = if (performed == Some(calm)) == is_odd { calm } else { second };
        let Standing::As(asker) = self.standing_of(user.as_str()) else { return };
        let meaning = if performed == Some(calm) { Meaning::Verified } else { Meaning::Performed };
        let challenge = self.crowd.token();
        let act = Act::VarianceClose(self.setup.order.sheet.batch);
        let answer = Answer { challenge, action: act.signable(), meaning };
        self.ask_as(asker, PeopleRequest::Prepare { act, challenge });
        self.sign(user, asker, answer);
        if user == second && meaning == Meaning::Verified {
            self.tally.make(Move::Verify);
        }
        if is_odd {
            self.tally.make(Move::Replay);
            self.sign(user, asker, answer);
        }
    }
}

fn door() -> Asker {
    Asker::Door(name("local"))
}

fn phc() -> Phc {
    Phc::new("$argon2id$of the simulator").expect("short")
}

fn newcomer(user: &str, roles: &[Role]) -> NewUser {
    NewUser { user: name(user), full_name: name(user), roles: roles.iter().copied().collect(), phc: phc() }
}
