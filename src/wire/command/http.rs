//! Requests of the HTTP door: the same fields as on the local socket. Who asks is what the cookie says, and nothing in the body: there
//! `id`, `do`, `actor` and `session` are fields like any other that a command does not have.

use serde_json::Value;

use crate::engine::input::{Asker, Request};
use crate::engine::rights::Action;
use crate::wire::command::{ClientAnswer, ClientRequest, Command, Draft, Secret, WORDS, asker, draft, fault, refusal};

impl ClientRequest {
    /// Whether who holds this token may do this.
    pub fn permission(token: &Secret, action: Action) -> Self {
        let asker = Asker::Remote(Some(asker::session(token.reveal())));
        Self { id: 0, asker, command: Command::Ask(Request::Permission(action)) }
    }

    /// `word` is the command of the route, `fields` what path and query say, `body` an object with the other fields.
    pub fn parse_http(
        word: &'static str,
        token: Option<Secret>,
        fields: Vec<(String, Value)>,
        body: Option<&[u8]>,
    ) -> Result<Self, Box<ClientAnswer>> {
        let mut draft = body.map_or_else(|| Ok(Draft::default()), draft)?;
        for (key, value) in fields {
            if draft.fields.insert(key.clone(), value).is_some() {
                draft.twice = Some(key);
            }
        }
        let known = WORDS.contains(&word).then_some(word).ok_or_else(|| fault("$", word, "no command", ""));
        known.and_then(|word| draft.finish(0, word, &asker::Way::Http(token))).map_err(|reason| refusal(0, reason))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::digest;

    fn parse(word: &'static str, body: &str) -> Result<ClientRequest, String> {
        ClientRequest::parse_http(word, None, Vec::new(), Some(body.as_bytes())).map_err(|answer| answer.to_line())
    }

    #[test]
    fn who_asks_is_said_by_the_cookie_alone() {
        let fields = vec![("batch".to_owned(), json!("B7"))];
        let request = ClientRequest::parse_http("batch_start", Some(Secret::new("abc")), fields, Some(b"{}"));
        let Asker::Remote(Some(session)) = request.expect("well-formed").asker else { panic!("no session") };
        assert_eq!(session.as_str(), digest::sha256_hex(b"abc"));
        let stranger = parse("logout", "{}").expect("well-formed").asker;
        assert_eq!(stranger, Asker::Remote(None));
        for smuggled in [r#"{"session":"abc"}"#, r#"{"actor":"local"}"#, r#"{"do":"user_add"}"#, r#"{"id":1}"#] {
            let refused = parse("logout", smuggled).expect_err(smuggled);
            assert!(refused.contains("no field of logout"), "{refused}");
        }
    }

    #[test]
    fn a_field_stands_in_one_place_and_no_file_of_this_computer_is_read() {
        let fields = vec![("batch".to_owned(), json!("B7"))];
        let twice = ClientRequest::parse_http("batch_start", None, fields, Some(br#"{"batch":"B8"}"#));
        assert!(twice.expect_err("two batches").to_line().contains("stands twice"));
        let file = parse("batch_load", r#"{"order":{"batch":"B7","serials_file":"/etc/shadow"}}"#).expect_err("a file");
        assert!(file.contains("$.order.serials_file") && !file.contains("shadow"), "{file}");
    }
}
