//! Requests of and about people. Passwords come in here and go no further than to the hash that they are compared with: nothing that
//! holds one is ever shown.

use std::fmt;

use serde_json::Value;

use crate::domain::text::Text;
use crate::engine::fact::Review;
use crate::engine::input::Request;
use crate::engine::people::{FullName, PeopleRequest, Role, Roles, UserId, full_name, user_id};
use crate::engine::signing::{Act, Answer, Challenge, Meaning, Signable};
use crate::wire::command::{Command, Draft, Look, Reason, fault};

/// A password or a code as it was typed.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What needs a password to be looked at, or a hash to be made, before the engine is asked.
#[derive(Debug)]
pub enum PasswordCommand {
    Init {
        code: Secret,
        new: Newcomer,
    },
    Add(Newcomer),
    /// Without a name where what was typed can be none.
    LogIn {
        user: Option<UserId>,
        password: Secret,
    },
    /// What is to be signed.
    Prepare(Act),
    Sign {
        user: UserId,
        password: Secret,
        answer: Answer,
    },
    Reset {
        user: UserId,
        new_password: Secret,
    },
    /// An administrator's way back; the code's hash lies beside the journal.
    Recover {
        code: Secret,
        user: UserId,
        new_password: Secret,
        reason: String,
    },
    Change {
        user: UserId,
        password: Secret,
        new_password: Secret,
    },
}

#[derive(Debug)]
pub struct Newcomer {
    pub user: UserId,
    pub full_name: FullName,
    pub roles: Roles,
    pub password: Secret,
}

pub(super) const WORDS: &[&str] = &[
    "user_init",
    "user_add",
    "user_roles",
    "user_disable",
    "user_enable",
    "user_reset",
    "user_recover",
    "user_passwd",
    "user_unlock",
    "user_list",
    "login",
    "logout",
    "sign_prepare",
    "sign",
];

/// Longer ones only cost time.
const SECRET_BYTES_MAX: usize = 256;

const USER: &str = "a lower-case letter, then letters, digits, `.`, `_`, `-`: 2 to 32 of them; not line, local, mqtt";

impl Draft {
    pub(super) fn people(&mut self, word: &str) -> Result<Command, Reason> {
        let ask = |request| Command::Ask(Request::People(Box::new(request)));
        Ok(match word {
            "user_init" => Command::Password(PasswordCommand::Init {
                code: self.secret("code")?,
                new: self.newcomer(Roles::default())?,
            }),
            "user_add" => {
                let roles = self.roles()?;
                Command::Password(PasswordCommand::Add(self.newcomer(roles)?))
            }
            "user_roles" => {
                ask(PeopleRequest::SetRoles { user: self.user()?, roles: self.roles()?, reason: self.reason()? })
            }
            "user_disable" => ask(PeopleRequest::Disable { user: self.user()?, reason: self.reason()? }),
            "user_enable" => ask(PeopleRequest::Enable { user: self.user()?, reason: self.reason()? }),
            "user_reset" => Command::Password(PasswordCommand::Reset {
                user: self.user()?,
                new_password: self.secret("new_password")?,
            }),
            "user_recover" => Command::Password(PasswordCommand::Recover {
                code: self.secret("code")?,
                user: self.user()?,
                new_password: self.secret("new_password")?,
                reason: self.reason()?,
            }),
            "user_passwd" => Command::Password(PasswordCommand::Change {
                user: self.user()?,
                password: self.secret("password")?,
                new_password: self.secret("new_password")?,
            }),
            "user_unlock" => ask(PeopleRequest::Unlock { user: self.user()? }),
            "user_list" => Command::Look(Look::Users),
            "login" => {
                let user = user_id(&self.text("user", USER)?);
                Command::Password(PasswordCommand::LogIn { user, password: self.secret("password")? })
            }
            "sign_prepare" => Command::Password(PasswordCommand::Prepare(self.act()?)),
            "sign" => self.sign()?,
            _ => ask(PeopleRequest::LogOut),
        })
    }

    fn action(&mut self) -> Result<Signable, Reason> {
        let words: Vec<&str> = Signable::ALL.iter().map(|action| action.name()).collect();
        let words = words.join(", ");
        let given = self.text("action", &words)?;
        Signable::parse(&given).ok_or_else(|| fault("$.action", &given, "nothing that is signed for", &words))
    }

    fn act(&mut self) -> Result<Act, Reason> {
        Ok(match self.action()? {
            Signable::VarianceClose => Act::VarianceClose(self.batch()?),
            Signable::Clearance => Act::Clearance(self.batch()?, self.cleared_items()?),
            Signable::ConfigApproval => Act::ConfigApproval,
            Signable::AuditReview => {
                const SHA256: &str = "64 hexadecimal digits, as audit_review gave them";
                let (from_seq, to_seq) = (self.whole("from_seq", 1)?, self.whole("to_seq", 0)?);
                let exceptions = self.whole("exceptions", 0)?;
                let given = self.text("sha256", SHA256)?;
                let sha256 = Text::new(&given).ok_or_else(|| fault("$.sha256", &given, "no digest", SHA256))?;
                Act::AuditReview(Review { from_seq, to_seq, exceptions, sha256 })
            }
        })
    }

    fn sign(&mut self) -> Result<Command, Reason> {
        let user = self.user()?;
        let action = self.action()?;
        let given = self.text("meaning", "performed or verified")?;
        let meaning = Meaning::parse(&given);
        let meaning = meaning.ok_or_else(|| fault("$.meaning", &given, "no meaning", "performed or verified"))?;
        let given = self.text("challenge", "what sign_prepare gave")?;
        let challenge = Challenge::new(&given);
        let challenge = challenge.ok_or_else(|| fault("$.challenge", "", "too long", "what sign_prepare gave"))?;
        let password = self.secret("password")?;
        let answer = Answer { challenge, action, meaning };
        Ok(Command::Password(PasswordCommand::Sign { user, password, answer }))
    }

    fn newcomer(&mut self, roles: Roles) -> Result<Newcomer, Reason> {
        const NAME: &str = "the name as printed beside a signature, 1 to 64 bytes";
        let user = self.user()?;
        let given = self.text("full_name", NAME)?;
        let full_name = full_name(&given).ok_or_else(|| fault("$.full_name", &given, "no name", NAME))?;
        Ok(Newcomer { user, full_name, roles, password: self.secret("password")? })
    }

    fn user(&mut self) -> Result<UserId, Reason> {
        let given = self.text("user", USER)?;
        user_id(&given).ok_or_else(|| fault("$.user", &given, "no name of a user", USER))
    }

    fn roles(&mut self) -> Result<Roles, Reason> {
        const ALLOWED: &str = "a list of operator, supervisor, quality, maintenance, admin, auditor";
        let Some(Value::Array(list)) = self.fields.remove("roles") else {
            return Err(fault("$.roles", "", "is missing or no list", ALLOWED));
        };
        let role = |value: &Value| {
            let role = value.as_str().and_then(Role::parse);
            role.ok_or_else(|| fault("$.roles", &value.to_string(), "no role", ALLOWED))
        };
        list.iter().map(role).collect()
    }

    /// What is at fault with a secret is told without it.
    fn secret(&mut self, key: &str) -> Result<Secret, Reason> {
        let given = self.fields.remove(key);
        let fits = |text: &String| (1..=SECRET_BYTES_MAX).contains(&text.len());
        let secret = match given {
            Some(Value::String(text)) => Some(text).filter(fits),
            Some(_) | None => None,
        };
        secret.map(Secret).ok_or_else(|| fault(&format!("$.{key}"), "", "is missing or no text", "1 to 256 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::input::Asker;
    use crate::wire::command::{ClientRequest, request_line};
    use crate::wire::digest;

    fn parse(word: &str, parts: &[(&str, &str)]) -> Result<ClientRequest, String> {
        let parsed = ClientRequest::parse(request_line(1, "local", word, parts).as_bytes());
        parsed.map_err(|answer| answer.to_line())
    }

    #[test]
    fn a_session_is_known_by_the_hash_of_its_token_alone() {
        let request = parse("batch_start", &[("batch", "\"B7\""), ("session", "\"abc\"")]).expect("well-formed");
        let Asker::Session(session) = request.asker else { panic!("{:?}", request.asker) };
        assert_eq!(session.as_str(), digest::sha256_hex(b"abc"));
    }

    #[test]
    fn what_is_typed_as_a_secret_is_never_shown() {
        let hunter = "\"hunter2 hunter2\"";
        let name = ("user", "\"m.meier\"");
        let full = ("full_name", "\"M. Meier\"");
        let roles = ("roles", "[\"quality\",\"operator\"]");
        for (word, parts) in [
            ("login", vec![name, ("password", hunter)]),
            ("user_add", vec![name, full, roles, ("password", hunter)]),
            ("user_init", vec![name, full, ("code", hunter), ("password", hunter)]),
            ("user_reset", vec![name, ("new_password", hunter)]),
            ("user_recover", vec![name, ("code", hunter), ("new_password", hunter), ("reason", "\"lost\"")]),
            ("user_passwd", vec![name, ("password", hunter), ("new_password", hunter)]),
        ] {
            let shown = format!("{:?}", parse(word, &parts).expect(word));
            assert!(!shown.contains("hunter"), "{shown}");
        }
        for bad in ["[\"hunter2\"]", "{\"hunter2\":1}", "\"\""] {
            let refusal = parse("login", &[name, ("password", bad)]).expect_err("no text");
            assert!(refusal.contains("$.password") && !refusal.contains("hunter"), "{refusal}");
        }
    }

    #[test]
    fn names_and_roles_are_checked_before_anything_is_hashed() {
        for (word, parts, path) in [
            ("user_disable", vec![("user", "\"Meier\""), ("reason", "\"left\"")], "$.user"),
            ("user_roles", vec![("user", "\"mm\""), ("roles", "[\"king\"]"), ("reason", "\"x\"")], "$.roles"),
            ("user_roles", vec![("user", "\"mm\""), ("roles", "[]")], "$.reason"),
        ] {
            assert!(parse(word, &parts).expect_err(word).contains(path), "{word}");
        }
        // A log-in under a name that can be nobody's is a failed one, and no bad request.
        let odd = parse("login", &[("user", "\"Robert'); --\""), ("password", "\"x\"")]).expect("well-formed");
        assert!(matches!(odd.command, Command::Password(PasswordCommand::LogIn { user: None, .. })));
    }

    #[test]
    fn nothing_about_people_comes_from_upstream() {
        for word in WORDS {
            let topic = format!("_cmd/{}", word.replace('_', "/"));
            for topic in [topic.as_str(), &format!("_cmd/{word}")] {
                let payload =
                    br#"{"id":1,"user":"mm","password":"x","new_password":"x","roles":["admin"],"reason":"r"}"#;
                assert!(ClientRequest::parse_mqtt(topic, payload).is_err(), "{topic}");
            }
        }
        let smuggled = br#"{"id":9,"from":5,"do":"user_add","user":"mm"}"#;
        assert!(ClientRequest::parse_mqtt("_cmd/feed/replay", smuggled).is_err());
        let session = br#"{"id":9,"from":5,"session":"abc"}"#;
        assert!(ClientRequest::parse_mqtt("_cmd/feed/replay", session).is_err(), "no session is upstream's");
    }
}
