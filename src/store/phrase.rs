//! Bodies are short on disk: phrases that most of them repeat stand as one control character each.
//!
//! JSON holds no control character (RFC 8259 section 7), so each stands for its phrase and nothing else, and a body comes
//! back byte for byte. The table is part of the format, frozen with `schema.sql`, whose `v_fact` does the same in SQL.
//! Hashes cover whole bodies. One more character stands for the serial that the fact's subject already holds.

use crate::store::error::Flaw;

/// Control character and phrase. Left out: NUL, tab, line feed, carriage return.
const PHRASES: &[(u8, &str)] = &[
    (1, r#"{"station":""#),
    (2, r#"","epoch":"#),
    (3, r#","seq":"#),
    (4, r#","track":"#),
    (5, r#","serial":""#),
    (6, r#"","grade":"#),
    (7, r#","inspection":"#),
    (8, r#"",""#),
    (11, r#"{"container":""#),
    (12, r#"","token":"#),
    (14, r#","children":[""#),
    (15, r#","serials":[""#),
    (16, r#","from_seq":"#),
    (17, r#","first_index":"#),
    (18, r#","container_count":"#),
    (19, r#","gate":""#),
    (20, r#"","container":""#),
    (21, r#"{"level":""#),
    (22, r#","level":""#),
    (23, r#","ttl_ms":"#),
    (24, r#""]}"#),
    (25, r#""}"#),
    (26, r#","reasons":[""#),
    (27, r#","code":""#),
    (28, r#"","21"#),
    (29, r#"","00"#),
];

/// Stands for what follows the tilde in the fact's own subject.
const OWN: &str = "\u{1e}";

/// The longest phrase first at each place. Refuses a body that no JSON writer makes.
///
/// `subject` is the fact's as it is stored.
pub(super) fn shorten(body: &str, subject: &str) -> Result<String, Flaw> {
    if body.bytes().any(|byte| byte < 0x20) {
        return Err("a body holds a control character, which JSON has to escape".into());
    }
    let mut short = String::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.find(['{', ',', '"']) {
        let (plain, phrase) = rest.split_at(at);
        short.push_str(plain);
        match longest(phrase) {
            Some((code, length)) => {
                short.push(char::from(code));
                rest = phrase.split_at(length).1;
            }
            None => {
                let (one, after) = phrase.split_at(1);
                short.push_str(one);
                rest = after;
            }
        }
    }
    short.push_str(rest);
    Ok(match own(subject) {
        // Behind the phrase of the key; a serial that only begins so comes back whole as well.
        Some(own) => short.replacen(&format!("\u{5}{own}"), "\u{5}\u{1e}", 1),
        None => short,
    })
}

/// The whole body again; `None` where a character stands for nothing.
pub(super) fn lengthen(short: &str, subject: &str) -> Option<String> {
    let mut body = String::with_capacity(short.len().saturating_mul(2));
    let mut rest = short;
    while let Some(at) = rest.find(|c: char| c < ' ') {
        let (plain, code) = rest.split_at(at);
        body.push_str(plain);
        let (code, after) = code.split_at(1);
        body.push_str(match code {
            OWN => own(subject)?,
            code => PHRASES.iter().find(|(known, _)| code.as_bytes() == [*known]).map(|(_, phrase)| *phrase)?,
        });
        rest = after;
    }
    body.push_str(rest);
    Some(body)
}

fn own(subject: &str) -> Option<&str> {
    subject
        .strip_prefix('~')
        .filter(|own| !own.is_empty() && !own.starts_with('~') && own.bytes().all(|byte| byte >= 0x20))
}

fn longest(text: &str) -> Option<(u8, usize)> {
    PHRASES
        .iter()
        .filter(|(_, phrase)| text.starts_with(phrase))
        .map(|(code, phrase)| (*code, phrase.len()))
        .max_by_key(|(_, length)| *length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_phrase_is_one_character_here_and_in_the_view() {
        for (code, phrase) in PHRASES {
            assert_eq!(shorten(phrase, "").expect("no control character"), char::from(*code).to_string());
            let in_view = format!("char({code}), '{phrase}')");
            assert!(include_str!("schema.sql").contains(&in_view), "{in_view}");
        }
        assert_eq!(include_str!("schema.sql").matches("char(").count(), PHRASES.len() + 1);
    }

    #[test]
    fn the_serial_of_the_subject_stands_once() {
        let body = "{\"station\":\"camera\",\"epoch\":1,\"serial\":\"A12\"}";
        for (subject, short) in
            [("~A12", "\u{1}camera\u{2}1\u{5}\u{1e}\u{19}"), ("~A1", "\u{1}camera\u{2}1\u{5}\u{1e}2\u{19}")]
        {
            assert_eq!(shorten(body, subject).expect("no control character"), short);
            assert_eq!(lengthen(short, subject).as_deref(), Some(body));
        }
        assert_eq!(lengthen("\u{1e}", "camera"), None);
    }

    #[test]
    fn refuses_what_it_could_not_give_back() {
        assert!(shorten("{\"a\":\"\u{1}\"}", "").is_err());
        assert_eq!(lengthen("\u{1f}", "~A1"), None);
        assert_eq!(lengthen("\0", ""), None);
    }

    proptest! {
        #[test]
        fn bodies_come_back_byte_for_byte(parts in proptest::collection::vec((0..PHRASES.len(), "[ -~é]{0,6}"), 0..12)) {
            let body: String =
                parts.iter().map(|(at, text)| format!("{}{text}", PHRASES.get(*at).expect("in range").1)).collect();
            for subject in ["", "camera", "~", "~~odd", "~A1", "~e"] {
                let short = shorten(&body, subject).expect("no control character");
                prop_assert!(short.len() <= body.len());
                prop_assert_eq!(lengthen(&short, subject), Some(body.clone()));
            }
        }
    }
}
