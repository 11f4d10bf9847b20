//! Requests about product by hand.

use crate::domain::code::Code;
use crate::engine::hands::{Hand, HandReason, HandsRequest, Why};
use crate::engine::input::Request;
use crate::wire::command::{Command, Draft, Reason, fault};

pub(super) const WORDS: &[&str] = &[
    "unit_sample",
    "unit_scrap",
    "unit_decommission",
    "unit_destroy",
    "container_remove",
    "container_reopen",
    "container_unpack",
    "container_reprint",
];

impl Draft {
    pub(super) fn hands(&mut self, word: &str) -> Result<Command, Reason> {
        let code = self.scanned()?;
        let why = self.why()?;
        let hand = word.strip_prefix("unit_").and_then(Hand::parse);
        let request = match (word, hand) {
            (_, Some(hand)) => HandsRequest::Withdraw { hand, code, why },
            ("container_remove", None) => HandsRequest::Remove { code, why },
            ("container_reopen", None) => HandsRequest::Reopen { code, why },
            ("container_unpack", None) => HandsRequest::Unpack { code, why },
            _ => HandsRequest::Reprint { code, why },
        };
        Ok(Command::Ask(Request::Hands(Box::new(request))))
    }

    fn scanned(&mut self) -> Result<Code, Reason> {
        let given = self.code()?;
        Code::parse(given.as_bytes()).map_err(|error| fault("$.code", &given, &error.to_string(), ""))
    }

    /// A reason that is none of the set is written down.
    fn why(&mut self) -> Result<Why, Reason> {
        let allowed = HandReason::NAMES.join(", ");
        let given = self.text("reason", &allowed)?;
        let reason = HandReason::parse(&given);
        let reason = reason.ok_or_else(|| fault("$.reason", &given, "no reason of the set", &allowed))?;
        let note = self.optional("note")?;
        if reason == HandReason::Other && note.is_none() {
            return Err(fault("$.note", "", "is missing", "what the reason is, where it is `other`"));
        }
        Ok(Why { reason, note })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::command::{ClientRequest, request_line};
    use crate::wire::topic;

    fn parse(word: &str, parts: &[(&str, &str)]) -> Result<HandsRequest, String> {
        let parsed = ClientRequest::parse(request_line(1, "local", word, parts).as_bytes());
        match parsed.map_err(|answer| answer.to_line())?.command {
            Command::Ask(Request::Hands(request)) => Ok(*request),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_hand_names_what_it_is_put_on_and_why() {
        for word in WORDS {
            let parts = [("code", "\"A1\""), ("reason", "\"damaged\"")];
            assert!(parse(word, &parts).is_ok(), "{word}");
            assert!(parse(word, &parts[..1]).expect_err(word).contains("$.reason"));
            assert!(parse(word, &parts[1..]).expect_err(word).contains("$.code"));
        }
        let other = [("code", "\"A1\""), ("reason", "\"other\""), ("note", "\" fell down \"")];
        assert!(parse("unit_scrap", &other[..2]).expect_err("without a note").contains("$.note"));
        let Ok(HandsRequest::Withdraw { hand: Hand::Scrap, why, .. }) = parse("unit_scrap", &other) else {
            panic!("a scrap")
        };
        assert_eq!(why.note.as_deref(), Some("fell down"));
        for reason in ["bored", "Damaged", ""] {
            let reason = format!("\"{reason}\"");
            let refusal = parse("unit_sample", &[("code", "\"A1\""), ("reason", &reason)]).expect_err("no word");
            assert!(refusal.contains("retention_sample"), "{refusal}");
        }
    }

    #[test]
    fn nothing_is_done_by_hand_from_upstream() {
        for word in WORDS {
            let below = format!("_cmd/{}", word.replace('_', "/"));
            assert!(ClientRequest::parse_mqtt(&below, br#"{"id":1,"code":"A1","reason":"jam"}"#).is_err(), "{below}");
        }
        assert!(!topic::CMD_FEED_REPLAY.contains("unit"));
    }
}
