//! People at the line: `people`, `first`, `login`, and what they do under their own names.

use std::collections::BTreeSet;

use sealgate::domain::text::Text;
use sealgate::engine::fact::{Entry, Fact};
use sealgate::engine::input::{Actor, Ask, Asker, Request};
use sealgate::engine::people::{NewUser, PeopleRequest, Phc, Proof, Role, Roles, SessionId, UserId, full_name};
use sealgate::engine::rights::Action;
use sealgate::engine::signing::{Act, Answer, Challenge, Meaning, Signable};

use super::{Played, World};
use crate::scenario::words;

impl World {
    /// Who asks for what the line is about.
    pub(super) fn asker(&self) -> Asker {
        self.asker.unwrap_or_else(|| Asker::Door(door("local")))
    }

    /// `as rosa …` in her session, `upstream …` without one.
    pub(super) fn acting(&mut self, verb: &str, args: &[&str]) -> Played {
        let (asker, rest) = match (verb, args) {
            ("as", [user, rest @ ..]) => {
                if self.lapsed.remove(*user) {
                    self.log_in(user)?;
                }
                (Asker::Session(session(user)?), rest)
            }
            ("as", []) => return Err("as whom?".to_owned()),
            (_, rest) => (Asker::Door(door("mqtt")), rest),
        };
        let (verb, args) = rest.split_first().ok_or("what is asked for?")?;
        self.asker = Some(asker);
        let played = self.dispatch(verb, args);
        self.asker = None;
        played
    }

    /// `people anna=admin rosa=quality`: accounts whose passwords their owners have chosen. The first administers the others.
    pub(super) fn people(&mut self, args: &[&str]) -> Played {
        let named = args.iter().map(|word| word.split_once('=').ok_or_else(|| format!("{word} is no NAME=ROLE")));
        let named: Vec<(&str, &str)> = named.collect::<Result<_, _>>()?;
        let (first, others) = named.split_first().ok_or("who?")?;
        self.about_people("first", &[first.0])?;
        self.log_in(first.0)?;
        for (user, roles) in others {
            self.asker = Some(Asker::Session(session(first.0)?));
            self.about_people("add", &[user, roles])?;
            self.log_in(user)?;
            self.asker = Some(Asker::Session(session(user)?));
            self.about_people("password", &[])?;
        }
        self.asker = Some(Asker::Session(session(first.0)?));
        let played = self.about_people("logout", &[]);
        self.asker = None;
        played
    }

    /// Everything that is asked about people, by whoever acts.
    pub(super) fn about_people(&mut self, verb: &str, args: &[&str]) -> Played {
        let name = args.first().copied().unwrap_or_default();
        let reason = "as the scenario says".to_owned();
        let request = match verb {
            "login" => {
                let times = args.get(2).map_or(Ok(1), |_| super::number(args.get(2)))?;
                return (0..times).try_for_each(|_| self.log_in_with(name, args.get(1).copied()));
            }
            "sign" => return self.sign(args),
            "first" => PeopleRequest::AddFirst(newcomer(name, Roles::default())?),
            "add" => PeopleRequest::Add(newcomer(name, roles(args)?)?),
            "roles" => PeopleRequest::SetRoles { user: user(name)?, roles: roles(args)?, reason },
            "disable" => PeopleRequest::Disable { user: user(name)?, reason },
            "enable" => PeopleRequest::Enable { user: user(name)?, reason },
            "reset_password" => PeopleRequest::ResetPassword { user: user(name)?, phc: phc() },
            "unlock" => PeopleRequest::Unlock { user: user(name)? },
            "password" => PeopleRequest::ChangePassword { proof: self.proof(&self.own_name()?)?, phc: phc() },
            "logout" => PeopleRequest::LogOut,
            "prepare" => {
                let word = args.get(1).copied().unwrap_or_default();
                let act = match name {
                    "config" => Act::ConfigApproval,
                    batch => Act::VarianceClose(Text::new(batch).ok_or("a batch name has at most 32 bytes")?),
                };
                self.acts.insert(word.to_owned(), act.signable());
                PeopleRequest::Prepare { act, challenge: challenge(word)? }
            }
            "answer" => {
                let whose = match args.get(2..) {
                    Some(["with", whose]) => (*whose).to_owned(),
                    _ => self.own_name()?,
                };
                let meaning = meaning(args.get(1))?;
                let action = self.acts.get(name).copied().unwrap_or(Signable::VarianceClose);
                let answer = Answer { challenge: challenge(name)?, action, meaning };
                PeopleRequest::Sign { proof: self.proof(&whose)?, answer }
            }
            _ => return self.ask_for(Request::Permission(action(name)?)),
        };
        self.ask_for(Request::People(Box::new(request)))
    }

    /// `sign L7 performed`: the record is shown and signed at once.
    fn sign(&mut self, args: &[&str]) -> Played {
        let [batch, as_what @ ..] = args else { return Err("sign LOT performed|verified".to_owned()) };
        let fresh = format!("at {}", self.now.mono_us);
        self.about_people("prepare", &[batch, &fresh])?;
        if self.steps.last().and_then(|step| step.answer.as_ref()).is_some_and(|answer| answer.outcome.is_err()) {
            return Ok(());
        }
        let words: Vec<&str> = std::iter::once(fresh.as_str()).chain(as_what.iter().copied()).collect();
        self.about_people("answer", &words)
    }

    fn log_in_with(&mut self, name: &str, password: Option<&str>) -> Played {
        let request = match password {
            None => return self.log_in(name),
            Some("wrong") => PeopleRequest::FailedLogIn { user: user(name)? },
            Some(_) => {
                let replaced = self.credentials(&user(name)?).rev().nth(1).ok_or("the password was never replaced")?;
                let proof = Proof { user: user(name)?, credential_seq: replaced };
                PeopleRequest::LogIn { proof, session: session(name)?, stronger: None }
            }
        };
        self.at_the_door(request)
    }

    fn log_in(&mut self, name: &str) -> Played {
        let request = PeopleRequest::LogIn { proof: self.proof(name)?, session: session(name)?, stronger: None };
        self.at_the_door(request)
    }

    fn at_the_door(&mut self, request: PeopleRequest) -> Played {
        self.asker = None;
        self.ask_for(Request::People(Box::new(request)))
    }

    pub(super) fn ask_for(&mut self, request: Request) -> Played {
        let asker = self.asker();
        self.step(sealgate::engine::input::Input::Asked(Ask { id: 1, asker, request }))
    }

    /// Those who have a session.
    #[allow(clippy::wildcard_enum_match_arm, reason = "most facts open and end no session")]
    pub(super) fn logged_in(entries: &[Entry]) -> BTreeSet<String> {
        let mut there = BTreeSet::new();
        for entry in entries {
            match &entry.fact {
                Fact::LineStarted { .. } => there.clear(),
                Fact::LoggedIn { user, .. } => drop(there.insert(user.to_string())),
                Fact::LoggedOut { user, .. } => drop(there.remove(user.as_str())),
                _ => {}
            }
        }
        there
    }

    /// The facts that set the passwords of a person, oldest first.
    fn credentials(&self, whose: &UserId) -> impl DoubleEndedIterator<Item = u64> + use<'_> {
        let whose = *whose;
        let is_theirs = move |fact: &Fact| matches!(fact, Fact::CredentialSet { user, .. } if *user == whose);
        self.entries.iter().filter(move |entry| is_theirs(&entry.fact)).map(|entry| entry.seq)
    }

    fn proof(&self, name: &str) -> Result<Proof, String> {
        let user = user(name)?;
        Ok(Proof { user, credential_seq: self.credentials(&user).next_back().unwrap_or_default() })
    }

    fn own_name(&self) -> Result<String, String> {
        match self.asker {
            Some(Asker::Session(session)) => Ok(session.to_string()),
            _ => Err("a person is asked: as NAME …".to_owned()),
        }
    }
}

fn door(name: &str) -> Actor {
    Text::new(name).expect("short")
}

/// One for each person is enough here.
fn session(name: &str) -> Result<SessionId, String> {
    Text::new(name).ok_or_else(|| format!("{name} is too long"))
}

fn user(name: &str) -> Result<UserId, String> {
    Text::new(name).ok_or_else(|| format!("{name} is too long"))
}

fn challenge(name: &str) -> Result<Challenge, String> {
    Text::new(name).ok_or_else(|| format!("{name} is too long"))
}

fn phc() -> Phc {
    Phc::new("$argon2id$").expect("short")
}

fn newcomer(name: &str, roles: Roles) -> Result<NewUser, String> {
    let full_name = full_name(name).ok_or("a name is printed")?;
    Ok(NewUser { user: user(name)?, full_name, roles, phc: phc() })
}

/// `quality,operator`, after the name.
fn roles(args: &[&str]) -> Result<Roles, String> {
    let words = args.get(1).copied().unwrap_or_default().split(',').filter(|word| !word.is_empty());
    words.map(|word| Role::parse(word).ok_or_else(|| format!("{word} is no role"))).collect()
}

fn meaning(word: Option<&&str>) -> Result<Meaning, String> {
    word.and_then(|word| Meaning::parse(word)).ok_or_else(|| "performed or verified?".to_owned())
}

fn action(name: &str) -> Result<Action, String> {
    let known = Action::ALL.iter().copied().find(|action| words::snake(&format!("{action:?}")) == name);
    known.ok_or_else(|| format!("{name} is no action"))
}
