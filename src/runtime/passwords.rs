//! Passwords: the one place that hashes them and compares them. Never on the line thread: one look takes some 50 ms of a core and 46 MiB.
//!
//! Contract:
//! - At most [`PARALLEL_MAX`] looks at once and [`WAITING_MAX`] more that wait; whoever comes then is told that the line is busy.
//! - A name that nobody has costs the same look as any other: nobody learns names by the clock.
//! - What comes out is a request for the engine. It decides; a look that is out of date by then proves nothing there.

use std::path::Path;
use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{CustomizedPasswordHasher, PasswordVerifier};
use argon2::{Argon2, Params};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::config::Passwords;
use crate::engine::people::{NewUser, PeopleRequest, Phc, Proof, UserId};
use crate::engine::signing::{Act, Challenge};
use crate::runtime::codes;
use crate::store::Reader;
use crate::wire::checkpoint::hex;
use crate::wire::command::{Newcomer, PasswordCommand, Reason, Secret, session};

const PARALLEL_MAX: usize = 2;
const WAITING_MAX: usize = 16;
const LANES: u32 = 1;
/// NIST SP 800-63B asks for none of the usual ones. Compared without case, and wherever they stand in a password that is hardly longer.
const USUAL: &[&str] = &[
    "password",
    "passwort",
    "qwertyuiop",
    "qwertzuiop",
    "123456789",
    "letmein",
    "changeme",
    "welcome",
    "iloveyou",
    "administrator",
    "sealgate",
    "abcdefgh",
    "aaaaaaaa",
    "11111111",
    "00000000",
];
/// Beside one of the usual ones so many other characters are asked for.
const OTHERS_MIN: usize = 8;

/// What a look at a password leads to.
pub(super) struct Looked {
    pub(super) request: PeopleRequest,
    /// Told to the asker where the request is carried out.
    pub(super) told: Option<Value>,
}

/// The way to a look.
#[derive(Clone)]
pub(super) struct Looks {
    journal: Arc<Path>,
    rules: Passwords,
    room: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Looks {
    pub(super) fn new(journal: &Path, rules: Passwords) -> Self {
        let room = Arc::new(Semaphore::new(PARALLEL_MAX + WAITING_MAX));
        Self { journal: journal.into(), rules, room, turns: Arc::new(Semaphore::new(PARALLEL_MAX)) }
    }

    /// The look as a future of its own; `None` where too many wait.
    pub(super) fn look(
        &self,
        command: PasswordCommand,
    ) -> Option<impl Future<Output = Result<Looked, Reason>> + use<>> {
        let room = Arc::clone(&self.room).try_acquire_owned().ok()?;
        let (turns, journal, rules) = (Arc::clone(&self.turns), Arc::clone(&self.journal), self.rules);
        Some(async move {
            let _room = room;
            let _turn = turns.acquire_owned().await;
            let looked = tokio::task::spawn_blocking(move || Look { journal: &journal, rules }.look(command)).await;
            looked.unwrap_or_else(|error| Err(Reason::new("internal", error.to_string())))
        })
    }
}

/// One look: where people are known, and what passwords are asked to be.
struct Look<'a> {
    journal: &'a Path,
    rules: Passwords,
}

/// A password that was right.
struct Proven {
    proof: Proof,
    must_change: bool,
    /// Its hash was made with lower costs than those of today.
    is_weak: bool,
}

impl Look<'_> {
    fn look(&self, command: PasswordCommand) -> Result<Looked, Reason> {
        let plain = |request| Ok(Looked { request, told: None });
        match command {
            PasswordCommand::Init { code, new } => {
                codes::prove_first(self.journal, &code)?;
                plain(PeopleRequest::AddFirst(self.hashed(new)?))
            }
            PasswordCommand::Add(new) => plain(PeopleRequest::Add(self.hashed(new)?)),
            PasswordCommand::Prepare(act) => {
                self.is_so(&act)?;
                let challenge = hex(&random::<32>()?);
                let told = json!({ "action": act.signable().name(), "challenge": challenge, "valid_s": 60 });
                let challenge = Challenge::new(&challenge).unwrap_or_default();
                Ok(Looked { request: PeopleRequest::Prepare { act, challenge }, told: Some(told) })
            }
            PasswordCommand::Sign { user, password, answer } => plain(match self.prove(Some(user), &password)? {
                Ok(Proven { proof, .. }) => PeopleRequest::Sign { proof, answer },
                Err(failed) => failed,
            }),
            PasswordCommand::LogIn { user, password } => self.log_in(user, &password),
            PasswordCommand::Reset { user, new_password } => {
                plain(PeopleRequest::ResetPassword { user, phc: self.chosen(&user, &new_password)? })
            }
            PasswordCommand::Recover { code, user, new_password, reason } => {
                let phc = self.chosen(&user, &new_password)?;
                codes::prove_way(self.journal, &code)?;
                plain(PeopleRequest::Recover { user, phc, reason })
            }
            PasswordCommand::Change { user, password, new_password } => {
                plain(match self.prove(Some(user), &password)? {
                    Ok(Proven { proof, .. }) if password.reveal() != new_password.reveal() => {
                        PeopleRequest::ChangePassword { proof, phc: self.chosen(&user, &new_password)? }
                    }
                    Ok(_) => return Err(Reason::new("weak_password", "the new password is the old one; take another")),
                    Err(failed) => failed,
                })
            }
        }
    }

    /// What the engine cannot look up: that a review tells all that the journal has to tell.
    fn is_so(&self, act: &Act) -> Result<(), Reason> {
        let Act::AuditReview(review) = act else { return Ok(()) };
        let unread = |error: crate::store::StoreError| Reason::new("journal", error.to_string());
        let (due, _) =
            Reader::open(self.journal).and_then(|mut reader| reader.review(Some(review.to_seq))).map_err(unread)?;
        let changed = "this is not the review that is due: look at it again, `sealgate audit review`";
        (due == *review).then_some(()).ok_or_else(|| Reason::new("record_changed", changed))
    }

    fn log_in(&self, user: Option<UserId>, password: &Secret) -> Result<Looked, Reason> {
        let Proven { proof, must_change, is_weak } = match self.prove(user, password)? {
            Ok(proven) => proven,
            Err(request) => return Ok(Looked { request, told: None }),
        };
        let token = hex(&random::<32>()?);
        let stronger = if is_weak { Some(self.hash(password)?) } else { None };
        let told = json!({ "user": proof.user.as_str(), "session": &token, "must_change": must_change });
        Ok(Looked { request: PeopleRequest::LogIn { proof, session: session(&token), stronger }, told: Some(told) })
    }

    /// What the password proves, or the failed log-in that it is.
    fn prove(&self, user: Option<UserId>, password: &Secret) -> Result<Result<Proven, PeopleRequest>, Reason> {
        let unread = |error: crate::store::StoreError| Reason::new("journal", error.to_string());
        let name = user.unwrap_or_default();
        let mut reader = Reader::open(self.journal).map_err(unread)?;
        let known = reader.credential(name.as_str()).map_err(unread)?;
        // What the password of somebody who is not there is compared with: the same costs, and no password has this hash.
        let is_right =
            matches(password, &known.as_ref().map_or_else(|| nobodys(self.rules), |known| known.phc.clone()));
        Ok(match known.filter(|_| is_right) {
            Some(known) => Ok(Proven {
                proof: Proof { user: name, credential_seq: known.seq },
                must_change: known.must_change,
                is_weak: is_weak(&known.phc, self.rules),
            }),
            None => Err(PeopleRequest::FailedLogIn { user: name }),
        })
    }

    fn hashed(&self, new: Newcomer) -> Result<NewUser, Reason> {
        let Newcomer { user, full_name, roles, password } = new;
        Ok(NewUser { user, full_name, roles, phc: self.chosen(&user, &password)? })
    }

    /// The hash of a password that is good enough.
    fn chosen(&self, user: &UserId, password: &Secret) -> Result<Phc, Reason> {
        match weakness(user.as_str(), password.reveal(), self.rules.characters_min) {
            Some(why) => Err(Reason::new("weak_password", why)),
            None => self.hash(password),
        }
    }

    fn hash(&self, password: &Secret) -> Result<Phc, Reason> {
        let failed = |what: String| Reason::new("internal", what);
        let Passwords { memory_kib, passes, .. } = self.rules;
        let params = Params::new(memory_kib, passes, LANES, None).map_err(|error| failed(error.to_string()))?;
        let (password, salt) = (password.reveal().as_bytes(), random::<16>()?);
        let hash = Argon2::default().hash_password_customized(password, &salt, None, None, params);
        let hash = hash.map_err(|error| failed(error.to_string()))?.to_string();
        Phc::new(&hash).ok_or_else(|| failed("the hash is too long".to_owned()))
    }
}

fn nobodys(Passwords { memory_kib, passes, .. }: Passwords) -> String {
    let (salt, hash) = ("A".repeat(22), "A".repeat(43));
    format!("$argon2id$v=19$m={memory_kib},t={passes},p={LANES}${salt}${hash}")
}

fn matches(password: &Secret, phc: &str) -> bool {
    Argon2::default().verify_password(password.reveal().as_bytes(), phc).is_ok()
}

/// Whether a hash was made with lower costs than those that are asked for now.
fn is_weak(phc: &str, rules: Passwords) -> bool {
    let params = PasswordHash::new(phc).ok().and_then(|hash| Params::try_from(&hash).ok());
    params.is_none_or(|params| params.m_cost() < rules.memory_kib || params.t_cost() < rules.passes)
}

fn weakness(user: &str, password: &str, characters_min: usize) -> Option<String> {
    if password.chars().count() < characters_min {
        let hint = "a few words in a row are easy to keep in mind";
        return Some(format!("a password has at least {characters_min} characters; {hint}"));
    }
    let plain = password.to_lowercase();
    let spare = |part: &str| plain.contains(part) && plain.chars().count() < part.chars().count() + OTHERS_MIN;
    if spare(&user.to_lowercase()) {
        return Some("the password is hardly more than the user's name; take another".to_owned());
    }
    let is_usual = USUAL.iter().any(|usual| spare(usual));
    is_usual.then(|| "the password is one that is tried first; take another".to_owned())
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], Reason> {
    let mut bytes = [0; N];
    let drawn = getrandom::fill(&mut bytes);
    drawn.map(|()| bytes).map_err(|error| Reason::new("internal", format!("no random numbers: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_passwords_usual_ones_and_the_own_name_are_refused() {
        for bad in ["short", "elevenchars", "password1234", "Passwort!123", "m.meier-2026", "sealgate1234"] {
            assert!(weakness("m.meier", bad, 12).is_some(), "{bad}");
        }
        for good in ["correct horse battery", "my password is quite long", "zwölf Zeichen!"] {
            assert_eq!(weakness("m.meier", good, 12), None, "{good}");
        }
        let said = weakness("m.meier", "correct horse battery", 30).expect("the site asks for more");
        assert!(said.contains("at least 30 characters"), "{said}");
    }

    // F153
    #[test]
    fn a_look_that_nobody_waits_for_makes_room_and_one_too_many_is_refused() {
        let looks = Looks::new(Path::new("nowhere.db"), Passwords::default());
        let look = || looks.look(PasswordCommand::LogIn { user: None, password: secret("x") });
        let waiting: Vec<_> = (0..PARALLEL_MAX + WAITING_MAX).map(|_| look().expect("there is room")).collect();
        assert!(look().is_none(), "the nineteenth is told that the line is busy");
        drop(waiting);
        assert!(look().is_some());
    }

    // F155
    #[test]
    fn a_hash_has_the_costs_that_are_asked_for_and_fits_its_password_alone() {
        let user = UserId::new("m.meier").expect("short");
        let look = Look { journal: Path::new("nowhere.db"), rules: Passwords::default() };
        let phc = look.chosen(&user, &secret("correct horse battery")).expect("good");
        assert!(phc.reveal().starts_with("$argon2id$v=19$m=47104,t=1,p=1$"), "{}", phc.reveal());
        assert!(matches(&secret("correct horse battery"), phc.reveal()));
        assert!(!matches(&secret("correct horse batterz"), phc.reveal()));
        let nobodys = nobodys(Passwords::default());
        assert!(!matches(&secret(""), &nobodys));
        let parts = |phc: &str| phc.split('$').take(4).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(parts(phc.reveal()), parts(&nobodys), "the same work for nobody");
        assert!(PasswordHash::new(&nobodys).is_ok(), "and no short cut");
    }

    #[test]
    fn a_hash_of_lower_costs_is_weak_and_one_of_higher_costs_is_not() {
        let rules = Passwords::default();
        let of = |memory_kib, passes| nobodys(Passwords { memory_kib, passes, ..rules });
        assert!(is_weak(&of(19_456, 1), rules) && is_weak("what nobody can read", rules));
        assert!(!is_weak(&of(47_104, 1), rules) && !is_weak(&of(65_536, 3), rules));
        assert!(is_weak(&of(47_104, 1), Passwords { passes: 2, ..rules }));
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }
}
