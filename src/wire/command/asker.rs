//! Who asks: what a request says of it, as far as the way on which it came lets it say anything.

use serde_json::Value;

use crate::engine::input::{Actor, Asker};
use crate::engine::people::SessionId;
use crate::wire::command::{Draft, Reason, Secret, fault};
use crate::wire::digest;

/// The way on which a request came.
pub(super) enum Way {
    Local,
    Upstream,
    /// With the token that was shown at the HTTP door.
    Http(Option<Secret>),
}

impl Draft {
    /// A session says by itself whose it is. Upstream has none.
    pub(super) fn asker(&mut self, way: &Way) -> Result<Asker, Reason> {
        match way {
            Way::Http(token) => return Ok(Asker::Remote(token.as_ref().map(|token| session(token.reveal())))),
            Way::Upstream => return self.actor("mqtt").map(Asker::Door),
            Way::Local => {}
        }
        let actor = self.actor("local")?;
        match self.fields.remove("session") {
            None => Ok(Asker::Door(actor)),
            Some(Value::String(token)) => Ok(Asker::Session(session(&token))),
            Some(_) => Err(fault("$.session", "", "no text", "what `sealgate login` gave")),
        }
    }

    fn actor(&mut self, default: &str) -> Result<Actor, Reason> {
        const ALLOWED: &str = "1 to 32 bytes";
        let given = match self.fields.contains_key("actor") {
            true => self.text("actor", ALLOWED)?,
            false => default.to_owned(),
        };
        let actor = Actor::new(&given).filter(|actor| !actor.is_empty());
        actor.ok_or_else(|| fault("$.actor", &given, "no name of who asks", ALLOWED))
    }
}

/// What the engine knows a session by.
pub fn session(token: &str) -> SessionId {
    SessionId::new(&digest::sha256_hex(token.as_bytes())).unwrap_or_default()
}
