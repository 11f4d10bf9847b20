//! People at the line: who may, who may not, and what the record says of both.

use proptest::prelude::*;

use super::*;
use crate::engine::fact::Entry;
use crate::engine::input::{Ask, Input, Request};
use crate::engine::reason::RequestRefusal;
use crate::engine::state::State;
use crate::engine::{Settings, people};

const SECOND_US: u64 = 1_000_000;

/// An engine with people, and all that it decided.
pub(super) struct House {
    pub(super) engine: Engine,
    pub(super) entries: Vec<Entry>,
    pub(super) now_us: u64,
}

impl House {
    /// Anna administers.
    pub(super) fn new() -> Self {
        let mut house = Self { engine: engine(State::default()), entries: Vec::new(), now_us: 0 };
        assert_eq!(house.people(door(), PeopleRequest::AddFirst(newcomer("anna", &[]))), Ok(Done::Changed));
        house.log_in("anna");
        house
    }

    /// With one more, who has replaced the password and is logged in.
    pub(super) fn with(user: &str, roles: &[Role]) -> Self {
        let mut house = Self::new();
        assert_eq!(house.people(session("anna"), PeopleRequest::Add(newcomer(user, roles))), Ok(Done::Changed));
        house.log_in(user);
        assert_eq!(house.change_password(user), Ok(Done::Changed));
        house.log_in(user);
        house
    }

    pub(super) fn step(&mut self, input: Input) -> Step {
        let step = self.engine.step(Now { wall_us: 0, mono_us: self.now_us }, input);
        self.entries.extend(step.facts.clone());
        step
    }

    pub(super) fn ask(&mut self, asker: Asker, request: Request) -> Outcome {
        self.step(Input::Asked(Ask { id: 1, asker, request })).answer.expect("every request is answered").outcome
    }

    pub(super) fn people(&mut self, asker: Asker, request: PeopleRequest) -> Outcome {
        self.ask(asker, Request::People(Box::new(request)))
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.now_us += seconds * SECOND_US;
        self.step(Input::Tick);
    }

    fn person(&self, user: &str) -> Person {
        self.engine.state().people.users[&id(user)]
    }

    pub(super) fn proof(&self, user: &str) -> Proof {
        Proof { user: id(user), credential_seq: self.person(user).credential_seq }
    }

    pub(super) fn log_in(&mut self, user: &str) {
        let session = token(user);
        let request = PeopleRequest::LogIn { proof: self.proof(user), session, stronger: None };
        assert_eq!(self.people(door(), request), Ok(Done::Changed), "{user}");
    }

    pub(super) fn change_password(&mut self, user: &str) -> Outcome {
        let proof = self.proof(user);
        self.people(session(user), PeopleRequest::ChangePassword { proof, phc: phc() })
    }

    pub(super) fn fail(&mut self, user: &str) {
        let failed = PeopleRequest::FailedLogIn { user: id(user) };
        assert_eq!(self.people(door(), failed), refused(PeopleRefusal::LogInRefused));
    }

    /// The daemon ends and starts: what is no fact is gone.
    pub(super) fn restart(&mut self) {
        let folded = fold(&self.entries);
        assert_eq!(&folded, self.engine.state());
        self.engine = engine(folded);
        self.now_us = 0;
    }

    /// As if the journal had been restored.
    pub(super) fn restored(&mut self) {
        let seq = self.engine.state().seq + 1;
        let fact = Fact::StoreRestored { backup_sha256: Text::default(), reason: "disk".to_owned() };
        let entry = Entry { seq, batch: None, actor: id("local"), fact };
        self.engine.state.apply(&entry);
        self.entries.push(entry);
    }

    fn count(&self, of: impl Fn(&Fact) -> bool) -> usize {
        self.entries.iter().filter(|entry| of(&entry.fact)).count()
    }
}

pub(super) fn engine(state: State) -> Engine {
    Engine::new(Settings { stations: Vec::new() }, state)
}

pub(super) fn fold(entries: &[Entry]) -> State {
    let mut state = State::default();
    entries.iter().for_each(|entry| state.apply(entry));
    state
}

pub(super) fn id(user: &str) -> UserId {
    UserId::new(user).expect("short")
}

pub(super) fn door() -> Asker {
    Asker::Door(id("local"))
}

/// One for each person is enough here; a later one takes the place of the first.
pub(super) fn token(user: &str) -> SessionId {
    SessionId::new(user).expect("short")
}

pub(super) fn session(user: &str) -> Asker {
    Asker::Session(token(user))
}

pub(super) fn phc() -> Phc {
    Phc::new("$argon2id$").expect("short")
}

pub(super) fn newcomer(user: &str, roles: &[Role]) -> NewUser {
    let full_name = people::full_name(user).expect("printed");
    NewUser { user: id(user), full_name, roles: roles.iter().copied().collect(), phc: phc() }
}

pub(super) fn refused(reason: PeopleRefusal) -> Outcome {
    refuse(reason)
}

fn alarm(alarm: u32) -> Request {
    Request::AcknowledgeAlarm(alarm)
}

// F156
#[test]
fn every_role_may_do_what_its_column_says_and_nothing_else() {
    for role in Role::ALL {
        for action in Action::ALL {
            let mut house = House::with("paul", &[*role]);
            let said = house.ask(session("paul"), Request::Permission(*action));
            let expected = match action.is_of(*role) {
                true => Ok(Done::Permitted(id("paul"))),
                false => refused(PeopleRefusal::NotAllowed(*action)),
            };
            assert_eq!(said, expected, "{role:?} {action:?}");
        }
    }
}

#[test]
fn from_afar_nothing_is_done_without_a_session_that_holds() {
    let mut house = House { engine: engine(State::default()), entries: Vec::new(), now_us: 0 };
    let strangers = [Asker::Remote(None), Asker::Remote(Some(token("eve")))];
    for stranger in strangers {
        assert_eq!(house.ask(stranger, alarm(7)), refused(PeopleRefusal::NobodyYet));
        let first = PeopleRequest::AddFirst(newcomer("eve", &[]));
        assert_eq!(house.people(stranger, first), refused(PeopleRefusal::NobodyYet));
    }
    let mut house = House::with("paul", &[Role::Operator]);
    assert_eq!(house.ask(strangers[0], alarm(7)), refused(PeopleRefusal::NotLoggedIn));
    assert_eq!(house.ask(strangers[1], alarm(7)), refused(PeopleRefusal::SessionOver));
    let first = PeopleRequest::AddFirst(newcomer("eve", &[]));
    assert_eq!(house.people(strangers[0], first), refused(PeopleRefusal::SomebodyAlready));
    let failed = PeopleRequest::FailedLogIn { user: id("paul") };
    assert_eq!(house.people(strangers[0], failed), refused(PeopleRefusal::LogInRefused));
    let told = house.entries.last().expect("a fact");
    assert!(matches!(told.fact, Fact::LoginFailed { door: Door::Http, .. }), "{:?}", told.fact);
    let paul = Asker::Remote(Some(token("paul")));
    let recover = || PeopleRequest::Recover { user: id("anna"), phc: phc(), reason: "x".to_owned() };
    assert_eq!(house.people(strangers[0], recover()), refused(PeopleRefusal::NotLoggedIn));
    assert_eq!(house.people(paul, recover()), refused(PeopleRefusal::NotLoggedIn));
    let unknown = RequestRefusal::UnknownAlarm(7);
    assert_eq!(house.ask(paul, alarm(7)).expect_err("there is none").reasons, [unknown]);
    assert_eq!(house.people(paul, PeopleRequest::LogOut), Ok(Done::Changed));
    assert_eq!(house.ask(paul, alarm(7)), refused(PeopleRefusal::SessionOver));
}

#[test]
fn the_line_works_without_people_until_there_is_one() {
    let mut house = House { engine: engine(State::default()), entries: Vec::new(), now_us: 0 };
    let unknown = RequestRefusal::UnknownAlarm(7);
    let said = house.ask(door(), alarm(7)).expect_err("there is none");
    assert_eq!(said.reasons, [unknown], "it was looked for");
    assert_eq!(
        house.people(door(), PeopleRequest::Add(newcomer("paul", &[Role::Operator]))),
        refused(PeopleRefusal::NobodyYet)
    );
    house.people(door(), PeopleRequest::AddFirst(newcomer("anna", &[]))).expect("the first");
    assert_eq!(house.person("anna").roles.iter().collect::<Vec<_>>(), [Role::Admin]);
    assert_eq!(house.ask(door(), alarm(7)), refused(PeopleRefusal::NotLoggedIn));
    let upstream = Asker::Door(id("mqtt"));
    assert_eq!(house.ask(upstream, alarm(7)), refused(PeopleRefusal::NotLoggedIn));
    assert_eq!(
        house.people(door(), PeopleRequest::AddFirst(newcomer("eve", &[]))),
        refused(PeopleRefusal::SomebodyAlready)
    );
    assert_eq!(
        house.people(upstream, PeopleRequest::Add(newcomer("eve", &[Role::Admin]))),
        refused(PeopleRefusal::NotLoggedIn)
    );
}

#[test]
fn what_a_person_does_stands_under_the_own_name() {
    let mut house = House::with("paul", &[Role::Operator]);
    house.step(Input::Noticed(AlarmKind::DiskLow, String::new()));
    assert_eq!(house.ask(session("paul"), alarm(1)), Ok(Done::Changed));
    let last = house.entries.last().expect("a fact");
    assert_eq!((last.actor, &last.fact), (id("paul"), &Fact::AlarmAcknowledged { alarm: 1 }));
    assert_eq!(house.ask(Asker::Session(token("nobody")), alarm(1)), refused(PeopleRefusal::SessionOver));
}

// F145
#[test]
fn five_failures_lock_an_account_for_a_quarter_of_an_hour_and_longer_over_a_restart() {
    let mut house = House::with("paul", &[Role::Operator]);
    (0..4).for_each(|_| house.fail("paul"));
    house.restart();
    assert_eq!(house.person("paul").failures, 4, "a restart forgives nothing");
    house.fail("paul");
    assert!(house.person("paul").is_locked);
    assert!(house.engine.state().alarms.values().any(|alarm| alarm.kind == AlarmKind::UnauthorisedUse));
    let facts = house.entries.len();
    house.fail("paul");
    assert_eq!(house.entries.len(), facts, "a lock bounds what is told of it");
    let proof = house.proof("paul");
    let right = |house: &mut House| {
        house.people(door(), PeopleRequest::LogIn { proof, session: token("paul"), stronger: None })
    };
    assert_eq!(right(&mut house), refused(PeopleRefusal::LogInRefused));
    house.pass(1);
    house.pass(899);
    assert!(house.person("paul").is_locked);
    house.restart();
    house.pass(1);
    house.pass(899);
    assert_eq!(right(&mut house), refused(PeopleRefusal::LogInRefused), "the whole time runs again");
    house.pass(1);
    assert_eq!((house.person("paul").is_locked, house.person("paul").failures), (false, 0));
    assert_eq!(right(&mut house), Ok(Done::Changed));
}

// F146
#[test]
fn a_lock_touches_one_account_and_an_administrator_ends_it() {
    let mut house = House::with("paul", &[Role::Operator]);
    (0..5).for_each(|_| house.fail("paul"));
    assert_eq!(house.people(session("anna"), PeopleRequest::Unlock { user: id("paul") }), Ok(Done::Changed));
    house.log_in("paul");
    house.pass(1000);
    assert_eq!(house.count(|fact| matches!(fact, Fact::LoginUnlocked { .. })), 1);
}

#[test]
fn names_that_nobody_has_are_counted_and_not_kept() {
    let mut house = House::new();
    (0..50).for_each(|_| house.fail("my secret password"));
    let told = |fact: &Fact| matches!(fact, Fact::LoginFailed { user: None, .. });
    assert_eq!(house.count(told), 5);
    assert!(house.entries.iter().all(|entry| !format!("{entry:?}").contains("secret")));
    house.pass(901);
    house.fail("somebody");
    assert_eq!(house.count(told), 6);
}

// F148
#[test]
fn a_session_ends_when_nobody_uses_it_and_after_half_a_day() {
    let mut house = House::with("paul", &[Role::Operator]);
    let may = |house: &mut House| house.ask(session("paul"), Request::Permission(Action::StopBatch));
    house.pass(599);
    assert!(may(&mut house).is_ok());
    house.pass(599);
    assert!(may(&mut house).is_ok());
    house.now_us += 600 * SECOND_US;
    assert_eq!(may(&mut house), refused(PeopleRefusal::SessionOver), "before any tick");
    house.log_in("paul");
    for _ in 0..72 {
        assert!(may(&mut house).is_ok());
        house.now_us += 599 * SECOND_US;
    }
    house.now_us += 72 * SECOND_US;
    assert_eq!(may(&mut house), refused(PeopleRefusal::SessionOver));
    house.log_in("paul");
    house.restart();
    assert_eq!(may(&mut house), refused(PeopleRefusal::SessionOver));
}

#[test]
fn a_password_that_somebody_else_chose_opens_nothing_but_its_own_replacement() {
    let mut house = House::with("paul", &[Role::Quality]);
    let reset = PeopleRequest::ResetPassword { user: id("paul"), phc: phc() };
    let old = house.proof("paul");
    assert_eq!(house.people(session("anna"), reset), Ok(Done::Changed));
    assert_eq!(house.ask(session("paul"), alarm(1)), refused(PeopleRefusal::SessionOver), "its sessions are over");
    let stale = house.people(door(), PeopleRequest::LogIn { proof: old, session: token("paul"), stronger: None });
    assert_eq!(stale, refused(PeopleRefusal::ProofStale));
    house.log_in("paul");
    assert_eq!(house.ask(session("paul"), alarm(1)), refused(PeopleRefusal::MustChange));
    assert_eq!(house.change_password("paul"), Ok(Done::Changed));
    house.log_in("paul");
    assert!(house.ask(session("paul"), Request::Permission(Action::CloseBatch)).is_ok());
    let own = PeopleRequest::ResetPassword { user: id("anna"), phc: phc() };
    assert_eq!(house.people(session("anna"), own), refused(PeopleRefusal::OwnPassword));
}

// F145, F148
#[test]
fn a_site_may_ask_for_shorter_sessions_and_longer_locks() {
    let mut house = House::with("paul", &[Role::Operator]);
    house.engine.policy.people = people::Limits { idle_s: 20, session_s: 30, failures: 3, lock_s: 3600 };
    let may = |house: &mut House| house.ask(session("paul"), Request::Permission(Action::StopBatch));
    house.log_in("paul");
    house.pass(19);
    assert!(may(&mut house).is_ok());
    house.pass(11);
    assert_eq!(may(&mut house), refused(PeopleRefusal::SessionOver), "thirty seconds in all");
    (0..3).for_each(|_| house.fail("paul"));
    assert!(house.person("paul").is_locked);
    house.pass(1);
    house.pass(3599);
    assert!(house.person("paul").is_locked);
    house.pass(1);
    assert!(!house.person("paul").is_locked);
    let locked = |fact: &Fact| matches!(fact, Fact::LoginLocked { lock_s: 3600, .. });
    assert_eq!(house.count(locked), 1, "the fact says for how long");
}

#[test]
fn a_log_in_may_bring_a_stronger_hash_of_the_same_password() {
    let mut house = House::with("paul", &[Role::Operator]);
    let reset = PeopleRequest::ResetPassword { user: id("paul"), phc: phc() };
    house.people(session("anna"), reset).expect("reset");
    for must_change in [true, false] {
        let before = house.proof("paul");
        let stronger = Some(Phc::new("$argon2id$stronger").expect("short"));
        let request = PeopleRequest::LogIn { proof: before, session: token("paul"), stronger };
        assert_eq!(house.people(door(), request), Ok(Done::Changed));
        let after = house.person("paul");
        assert_eq!(after.must_change, must_change, "whose choice the password is stays as it was");
        assert!(after.credential_seq > before.credential_seq);
        let last = house.entries.last().expect("a fact");
        assert!(last.actor == id("paul") && matches!(last.fact, Fact::CredentialSet { .. }), "{last:?}");
        let old = PeopleRequest::LogIn { proof: before, session: token("paul"), stronger: None };
        assert_eq!(house.people(door(), old), refused(PeopleRefusal::ProofStale));
        if must_change {
            house.change_password("paul").expect("in the session that it gave");
        }
    }
}

// F146, F152
#[test]
fn an_administrator_is_led_back_with_a_password_that_must_be_changed_and_all_hear_of_it() {
    let mut house = House::with("paul", &[Role::Quality]);
    (0..5).for_each(|_| house.fail("anna"));
    let recover = |user: &str| PeopleRequest::Recover { user: id(user), phc: phc(), reason: "forgotten".to_owned() };
    for user in ["paul", "nobody"] {
        assert_eq!(house.people(door(), recover(user)), refused(PeopleRefusal::NotAnAdmin(id(user))));
    }
    assert_eq!(house.people(Asker::Door(id("anna")), recover("anna")), Ok(Done::Changed));
    let set = house.entries.iter().rfind(|entry| matches!(entry.fact, Fact::CredentialSet { .. })).expect("a password");
    assert_eq!(set.actor, id("local"), "whatever name the door says");
    let told = house.engine.state().alarms.values().find(|alarm| alarm.kind == AlarmKind::AccountRecovered);
    assert!(told.expect("told").detail.contains("forgotten"));
    let add = || PeopleRequest::Add(newcomer("rosa", &[Role::Operator]));
    assert_eq!(house.people(session("anna"), add()), refused(PeopleRefusal::SessionOver));
    house.log_in("anna");
    assert_eq!(house.people(session("anna"), add()), refused(PeopleRefusal::MustChange));
    house.change_password("anna").expect("changed");
    house.log_in("anna");
    assert_eq!(house.people(session("anna"), add()), Ok(Done::Changed));
}

// F34
#[test]
fn after_a_restore_no_password_of_before_opens_anything() {
    let mut house = House::with("paul", &[Role::Operator]);
    let (annas, pauls) = (house.proof("anna"), house.proof("paul"));
    house.restored();
    house.restart();
    let log_in = |proof| PeopleRequest::LogIn { proof, session: token("x"), stronger: None };
    assert_eq!(house.people(door(), log_in(annas)), refused(PeopleRefusal::ProofStale));
    assert_eq!(house.people(door(), log_in(house.proof("paul"))), refused(PeopleRefusal::ProofStale), "nor none");
    for user in ["paul", "nobody"] {
        let failed = PeopleRequest::FailedLogIn { user: id(user) };
        assert_eq!(house.people(door(), failed), refused(PeopleRefusal::PasswordsVoid), "{user}");
    }
    let recover = PeopleRequest::Recover { user: id("anna"), phc: phc(), reason: "restored".to_owned() };
    house.people(door(), recover).expect("led back");
    house.log_in("anna");
    house.change_password("anna").expect("changed");
    house.log_in("anna");
    assert_eq!(house.people(door(), log_in(pauls)), refused(PeopleRefusal::ProofStale));
    let reset = PeopleRequest::ResetPassword { user: id("paul"), phc: phc() };
    house.people(session("anna"), reset).expect("reset");
    house.log_in("paul");
    house.fail("paul");
}

#[test]
fn nobody_changes_the_password_of_another_with_a_proof_of_the_own() {
    let mut house = House::with("paul", &[Role::Operator]);
    let proof = house.proof("anna");
    let said = house.people(session("paul"), PeopleRequest::ChangePassword { proof, phc: phc() });
    assert_eq!(said, refused(PeopleRefusal::LogInRefused));
}

#[test]
fn a_name_is_given_once_and_whoever_leaves_is_locked_out_at_once() {
    let mut house = House::with("paul", &[Role::Operator]);
    let proof = house.proof("paul");
    let left = || PeopleRequest::Disable { user: id("paul"), reason: "left".to_owned() };
    assert_eq!(house.people(session("anna"), left()), Ok(Done::Changed));
    assert_eq!(house.people(session("anna"), left()), Ok(Done::Already));
    assert_eq!(house.ask(session("paul"), alarm(1)), refused(PeopleRefusal::SessionOver));
    let again = house.people(door(), PeopleRequest::LogIn { proof, session: token("paul"), stronger: None });
    assert_eq!(again, refused(PeopleRefusal::LogInRefused));
    let twin = house.people(session("anna"), PeopleRequest::Add(newcomer("paul", &[Role::Operator])));
    assert_eq!(twin, refused(PeopleRefusal::UserExists(id("paul"))));
}

#[test]
fn somebody_always_administers() {
    let mut house = House::with("paul", &[Role::Operator]);
    let disable = || PeopleRequest::Disable { user: id("anna"), reason: "x".to_owned() };
    let roles = |user: &str, role| {
        let roles = [role].into_iter().collect();
        PeopleRequest::SetRoles { user: id(user), roles, reason: "x".to_owned() }
    };
    assert_eq!(house.people(session("anna"), disable()), refused(PeopleRefusal::LastAdmin(id("anna"))));
    assert_eq!(
        house.people(session("anna"), roles("anna", Role::Auditor)),
        refused(PeopleRefusal::LastAdmin(id("anna")))
    );
    let none = PeopleRequest::SetRoles { user: id("paul"), roles: Roles::default(), reason: "x".to_owned() };
    assert_eq!(house.people(session("anna"), none), refused(PeopleRefusal::NoRole));
    assert_eq!(house.people(session("anna"), roles("paul", Role::Admin)), Ok(Done::Changed));
    assert_eq!(house.people(session("anna"), disable()), Ok(Done::Changed));
}

#[test]
fn the_session_that_is_idle_longest_makes_room() {
    let mut house = House::new();
    for number in 0..SESSIONS_MAX {
        house.now_us += 1;
        let session = SessionId::new(&format!("session {number}")).expect("short");
        let request = PeopleRequest::LogIn { proof: house.proof("anna"), session, stronger: None };
        assert_eq!(house.people(door(), request), Ok(Done::Changed));
    }
    assert_eq!(house.engine.attendance.sessions.len(), SESSIONS_MAX);
    assert!(!house.engine.attendance.sessions.contains_key(&token("anna")));
    assert_eq!(house.count(|fact| matches!(fact, Fact::LoggedOut { end: SessionEnd::Displaced, .. })), 1);
}

/// Anything that people may do, by anybody.
fn deed() -> impl Strategy<Value = (u8, u8, u8, u16)> {
    (0_u8..14, 0_u8..3, 0_u8..3, 0_u16..1200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// I7, and what recovery needs: from any fact on, the facts may be folded again over what all of them left.
    #[test]
    fn the_state_of_people_is_the_fold_of_their_facts(deeds in proptest::collection::vec(deed(), 0..60), from in any::<prop::sample::Index>()) {
        let mut house = House::new();
        for (deed, by, of, seconds) in deeds {
            let names = ["anna", "paul", "rosa"];
            let (by, user) = (session(names[usize::from(by)]), names[usize::from(of)]);
            let known = house.engine.state().people.users.contains_key(&id(user));
            let credential_seq = if known { house.person(user).credential_seq } else { 0 };
            let proof = Proof { user: id(user), credential_seq };
            let (user, reason) = (id(user), "x".to_owned());
            let request = match deed {
                0 | 1 => PeopleRequest::Add(newcomer(user.as_str(), &[Role::Admin, Role::Operator])),
                2 => PeopleRequest::SetRoles { user, roles: [Role::Quality].into_iter().collect(), reason },
                3 => PeopleRequest::Disable { user, reason },
                4 => PeopleRequest::Enable { user, reason },
                5 => PeopleRequest::ResetPassword { user, phc: phc() },
                6 => PeopleRequest::ChangePassword { proof, phc: phc() },
                7 => PeopleRequest::Unlock { user },
                8 | 9 => PeopleRequest::LogIn { proof, session: token(user.as_str()), stronger: None },
                10 => PeopleRequest::FailedLogIn { user },
                11 => PeopleRequest::Recover { user, phc: phc(), reason },
                12 => {
                    house.restored();
                    continue;
                }
                _ => PeopleRequest::LogOut,
            };
            let _ = house.people(by, request);
            house.pass(u64::from(seconds));
        }
        let folded = fold(&house.entries);
        prop_assert_eq!(&folded, house.engine.state());
        prop_assert!(folded.people.users.values().any(|at| at.is_enabled && at.roles.has(Role::Admin)));
        let from = from.index(house.entries.len());
        let mut again = State { people: folded.people.clone(), ..State::default() };
        house.entries.iter().skip(from).for_each(|entry| again.apply(entry));
        prop_assert_eq!(again.people, folded.people);
    }
}
