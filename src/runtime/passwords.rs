//! Passwords: the one place that hashes them and compares them. Never on the line thread: one look takes some 50 ms of a core and 46 MiB.
//!
//! Contract:
//! - At most [`PARALLEL_MAX`] looks at once and [`WAITING_MAX`] more that wait; whoever comes then is told that the line is busy.
//! - A name that nobody has costs the same look as any other: nobody learns names by the clock.
//! - What comes out is a request for the engine. It decides; a look that is out of date by then proves nothing there.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use argon2::password_hash::{CustomizedPasswordHasher, PasswordVerifier};
use argon2::{Argon2, Params};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::engine::people::{Door, NewUser, PeopleRequest, Phc, Proof, SessionId, UserId};
use crate::engine::signing::Challenge;
use crate::store::Reader;
use crate::wire::checkpoint::hex;
use crate::wire::command::{Newcomer, PasswordCommand, Reason, Secret};
use crate::wire::digest;

const PARALLEL_MAX: usize = 2;
const WAITING_MAX: usize = 16;
/// OWASP's sheet for argon2id: 46 MiB, one pass, one lane.
const MEMORY_KIB: u32 = 47_104;
const PASSES: u32 = 1;
const LANES: u32 = 1;
/// NIST SP 800-63B asks for length, and for none of the usual ones; it asks for no kinds of characters.
const CHARACTERS_MIN: usize = 12;
/// Compared without case, and wherever they stand in a password that is hardly longer.
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
    room: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Looks {
    pub(super) fn new(journal: &Path) -> Self {
        let room = Arc::new(Semaphore::new(PARALLEL_MAX + WAITING_MAX));
        Self { journal: journal.into(), room, turns: Arc::new(Semaphore::new(PARALLEL_MAX)) }
    }

    /// The look as a future of its own; `None` where too many wait.
    pub(super) fn look(
        &self,
        command: PasswordCommand,
    ) -> Option<impl Future<Output = Result<Looked, Reason>> + use<>> {
        let room = Arc::clone(&self.room).try_acquire_owned().ok()?;
        let (turns, journal) = (Arc::clone(&self.turns), Arc::clone(&self.journal));
        Some(async move {
            let _room = room;
            let _turn = turns.acquire_owned().await;
            let looked = tokio::task::spawn_blocking(move || look(&journal, command)).await;
            looked.unwrap_or_else(|error| Err(Reason::new("internal", error.to_string())))
        })
    }
}

fn look(journal: &Path, command: PasswordCommand) -> Result<Looked, Reason> {
    match command {
        PasswordCommand::Init { code, new } => {
            prove_code(journal, &code)?;
            Ok(Looked { request: PeopleRequest::AddFirst(hashed(new)?), told: None })
        }
        PasswordCommand::Add(new) => Ok(Looked { request: PeopleRequest::Add(hashed(new)?), told: None }),
        PasswordCommand::Prepare(act) => {
            let challenge = hex(&random::<32>()?);
            let told = json!({ "action": act.signable().name(), "challenge": challenge, "valid_s": 60 });
            let challenge = Challenge::new(&challenge).unwrap_or_default();
            Ok(Looked { request: PeopleRequest::Prepare { act, challenge }, told: Some(told) })
        }
        PasswordCommand::Sign { user, password, answer } => {
            let request = match prove(journal, Some(user), &password)? {
                Ok((proof, _)) => PeopleRequest::Sign { proof, answer },
                Err(failed) => failed,
            };
            Ok(Looked { request, told: None })
        }
        PasswordCommand::LogIn { user, password } => log_in(journal, user, &password),
        PasswordCommand::Reset { user, new_password } => {
            let phc = chosen(&user, &new_password)?;
            Ok(Looked { request: PeopleRequest::ResetPassword { user, phc }, told: None })
        }
        PasswordCommand::Change { user, password, new_password } => {
            let request = match prove(journal, Some(user), &password)? {
                Ok((proof, _)) if password.reveal() != new_password.reveal() => {
                    PeopleRequest::ChangePassword { proof, phc: chosen(&user, &new_password)? }
                }
                Ok(_) => return Err(Reason::new("weak_password", "the new password is the old one; take another")),
                Err(failed) => failed,
            };
            Ok(Looked { request, told: None })
        }
    }
}

fn log_in(journal: &Path, user: Option<UserId>, password: &Secret) -> Result<Looked, Reason> {
    let (proof, must_change) = match prove(journal, user, password)? {
        Ok(proven) => proven,
        Err(request) => return Ok(Looked { request, told: None }),
    };
    let token = hex(&random::<32>()?);
    let session = SessionId::new(&digest::sha256_hex(token.as_bytes())).unwrap_or_default();
    let told = json!({ "user": proof.user.as_str(), "session": token, "must_change": must_change });
    Ok(Looked { request: PeopleRequest::LogIn { proof, session }, told: Some(told) })
}

/// The proof and whether the password must be replaced, or the failed log-in that it is.
fn prove(
    journal: &Path,
    user: Option<UserId>,
    password: &Secret,
) -> Result<Result<(Proof, bool), PeopleRequest>, Reason> {
    let unread = |error: crate::store::StoreError| Reason::new("journal", error.to_string());
    let name = user.unwrap_or_default();
    let known = Reader::open(journal).and_then(|mut reader| reader.credential(name.as_str())).map_err(unread)?;
    let is_right = matches(password, known.as_ref().map_or(NOBODYS, |known| known.phc.as_str()));
    Ok(match known.filter(|_| is_right) {
        Some(known) => Ok((Proof { user: name, credential_seq: known.seq }, known.must_change)),
        None => Err(PeopleRequest::FailedLogIn { user: name, door: Door::Local }),
    })
}

/// What the password of somebody who is not there is compared with: the same costs, and no password has this hash.
const NOBODYS: &str =
    "$argon2id$v=19$m=47104,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn matches(password: &Secret, phc: &str) -> bool {
    Argon2::default().verify_password(password.reveal().as_bytes(), phc).is_ok()
}

fn hashed(new: Newcomer) -> Result<NewUser, Reason> {
    let Newcomer { user, full_name, roles, password } = new;
    Ok(NewUser { user, full_name, roles, phc: chosen(&user, &password)? })
}

/// The hash of a password that is good enough.
fn chosen(user: &UserId, password: &Secret) -> Result<Phc, Reason> {
    if let Some(why) = weakness(user.as_str(), password.reveal()) {
        return Err(Reason::new("weak_password", why));
    }
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None);
    let failed = |what: String| Reason::new("internal", what);
    let params = params.map_err(|error| failed(error.to_string()))?;
    let hash =
        Argon2::default().hash_password_customized(password.reveal().as_bytes(), &random::<16>()?, None, None, params);
    let hash = hash.map_err(|error| failed(error.to_string()))?.to_string();
    Phc::new(&hash).ok_or_else(|| failed("the hash is too long".to_owned()))
}

fn weakness(user: &str, password: &str) -> Option<&'static str> {
    if password.chars().count() < CHARACTERS_MIN {
        return Some("a password has at least 12 characters; a few words in a row are easy to keep in mind");
    }
    let plain = password.to_lowercase();
    let spare = |part: &str| plain.contains(part) && plain.chars().count() < part.chars().count() + OTHERS_MIN;
    if spare(&user.to_lowercase()) {
        return Some("the password is hardly more than the user's name; take another");
    }
    let is_usual = USUAL.iter().any(|usual| spare(usual));
    is_usual.then_some("the password is one that is tried first; take another")
}

fn random<const N: usize>() -> Result<[u8; N], Reason> {
    let mut bytes = [0; N];
    let drawn = getrandom::fill(&mut bytes);
    drawn.map(|()| bytes).map_err(|error| Reason::new("internal", format!("no random numbers: {error}")))
}

/// Where the code for the first account lies.
fn code_file(journal: &Path) -> PathBuf {
    journal.with_extension("code")
}

/// While nobody has an account, a new code lies beside the journal, for the line's own user alone: whoever can read it may make the first
/// one. There is no password that everybody knows.
pub(super) fn offer_code(journal: &Path, is_nobody_there: bool) {
    let file = code_file(journal);
    // One that is absent is what is wanted.
    let _ = fs::remove_file(&file);
    if !is_nobody_there {
        return;
    }
    let written = random::<16>().map_err(|reason| reason.text).and_then(|code| {
        let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
        let write = made.and_then(|mut made| made.write_all(format!("{}\n", hex(&code)).as_bytes()));
        write.map_err(|error| error.to_string())
    });
    if let Err(error) = written {
        tracing::warn!(file = %file.display(), error, "first_account_code_not_written");
    }
}

/// Hashes are compared, so that the time tells nothing of the code.
fn prove_code(journal: &Path, given: &Secret) -> Result<(), Reason> {
    let file = code_file(journal);
    let code = fs::read_to_string(&file).unwrap_or_default();
    let is_right = !code.trim().is_empty()
        && digest::sha256_hex(code.trim().as_bytes()) == digest::sha256_hex(given.reveal().trim().as_bytes());
    let text =
        || format!("the code is not the one in {}; only the user that runs the daemon may read it", file.display());
    is_right.then_some(()).ok_or_else(|| Reason::new("wrong_code", text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_passwords_usual_ones_and_the_own_name_are_refused() {
        for bad in ["short", "elevenchars", "password1234", "Passwort!123", "m.meier-2026", "sealgate1234"] {
            assert!(weakness("m.meier", bad).is_some(), "{bad}");
        }
        for good in ["correct horse battery", "my password is quite long", "zwölf Zeichen!"] {
            assert_eq!(weakness("m.meier", good), None, "{good}");
        }
    }

    // F153
    #[test]
    fn a_look_that_nobody_waits_for_makes_room_and_one_too_many_is_refused() {
        let looks = Looks::new(Path::new("nowhere.db"));
        let look = || looks.look(PasswordCommand::LogIn { user: None, password: secret("x") });
        let waiting: Vec<_> = (0..PARALLEL_MAX + WAITING_MAX).map(|_| look().expect("there is room")).collect();
        assert!(look().is_none(), "the nineteenth is told that the line is busy");
        drop(waiting);
        assert!(look().is_some());
    }

    #[test]
    fn the_code_is_for_one_user_and_goes_with_the_first_account() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let journal = folder.path().join("line.db");
        offer_code(&journal, true);
        let file = code_file(&journal);
        assert_eq!(fs::metadata(&file).expect("written").permissions().mode() & 0o777, 0o600);
        let code = fs::read_to_string(&file).expect("readable");
        assert!(prove_code(&journal, &secret(&code)).is_ok());
        let refused = prove_code(&journal, &secret("guess")).expect_err("wrong");
        assert!(refused.text.contains("line.code") && !refused.text.contains(code.trim()), "{}", refused.text);
        offer_code(&journal, true);
        assert!(prove_code(&journal, &secret(&code)).is_err(), "each start has its own");
        offer_code(&journal, false);
        assert!(!file.exists() && prove_code(&journal, &secret("")).is_err());
    }

    // F155
    #[test]
    fn a_hash_has_the_costs_that_are_asked_for_and_fits_its_password_alone() {
        let user = UserId::new("m.meier").expect("short");
        let phc = chosen(&user, &secret("correct horse battery")).expect("good");
        assert!(phc.reveal().starts_with("$argon2id$v=19$m=47104,t=1,p=1$"), "{}", phc.reveal());
        assert!(matches(&secret("correct horse battery"), phc.reveal()));
        assert!(!matches(&secret("correct horse batterz"), phc.reveal()));
        assert!(!matches(&secret(""), NOBODYS));
        let parts = |phc: &str| phc.split('$').take(4).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(parts(phc.reveal()), parts(NOBODYS), "the same work for nobody");
        assert!(argon2::password_hash::phc::PasswordHash::new(NOBODYS).is_ok(), "and no short cut");
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }
}
