//! One checkpoint: its text, its signature, and its way into and out of files and messages.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::{Key, KeyRing, hex};
use crate::wire::topic;

const TITLE: &str = "sealgate-checkpoint/v1";
/// A note has seven lines of at most a topic prefix; whatever is longer is none.
const NOTE_BYTES_MAX: usize = 2048;

/// A checkpoint with its signature, which need not be a good one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub line: String,
    pub store_uuid: String,
    pub epoch: u32,
    /// The newest fact that it covers; it covers all before too.
    pub seq: u64,
    /// Its place among the checkpoints of its journal, from 1: none can be left out.
    pub number: u64,
    pub head: [u8; 32],
    pub time: String,
    pub boot: u32,
    pub key_id: String,
    pub signature: [u8; 64],
}

/// Why a text is no checkpoint: what of it does not stand where it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteError(pub String);

/// Where a journal stands, or stood: what follows from its facts up to `seq`.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    pub line: &'a str,
    pub store_uuid: &'a str,
    pub epoch: u32,
    pub seq: u64,
    pub hash: [u8; 32],
    /// Of fact `seq`.
    pub at_us: i64,
    pub boot: u32,
}

impl Head<'_> {
    /// What a checkpoint says of it, without a signature.
    pub fn note(&self, number: u64) -> Note {
        Note {
            line: self.line.to_owned(),
            store_uuid: self.store_uuid.to_owned(),
            epoch: self.epoch,
            seq: self.seq,
            number,
            head: self.hash,
            time: topic::time_text(self.at_us),
            boot: self.boot,
            key_id: String::new(),
            signature: [0; 64],
        }
    }
}

impl Note {
    /// Signs what is there; key and signature before do not matter.
    pub fn signed(mut self, key: &Key) -> Self {
        self.signature = key.sign(&self.text());
        self.key_id = key.id();
        self
    }

    /// What is signed.
    pub fn text(&self) -> String {
        let Note { line, store_uuid, epoch, seq, number, head, time, boot, key_id: _, signature: _ } = self;
        let head = hex(head);
        format!(
            "{TITLE}\nline={line}\nstore={store_uuid} epoch={epoch}\nseq={seq} checkpoint={number}\nhead=sha256:{head}\n\
             time={time} boot={boot}\n"
        )
    }

    /// The whole note.
    pub fn to_note(&self) -> String {
        let mut bytes = from_hex(&self.key_id).unwrap_or_default();
        bytes.extend_from_slice(&self.signature);
        format!("{}\n\u{2014} {} {}\n", self.text(), self.line, BASE64.encode(bytes))
    }

    /// The payload of `_checkpoint` and one line of the side file, without its end. `note` says it all; the rest is for
    /// programs that only show it.
    pub fn to_json(&self) -> String {
        json!({
            "seq": self.seq,
            "epoch": self.epoch,
            "store_uuid": self.store_uuid,
            "head_hash": hex(&self.head),
            "time": self.time,
            "key_id": self.key_id,
            "note": self.to_note(),
        })
        .to_string()
    }

    /// Reads a whole note, strictly: two texts that differ are never the same note.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let wrong = |what: &str| NoteError(format!("{what} does not stand where it should"));
        if text.len() > NOTE_BYTES_MAX {
            return Err(NoteError(format!("it is longer than {NOTE_BYTES_MAX} bytes")));
        }
        let mut lines = text.split('\n');
        let mut next = |what: &str| lines.next().ok_or_else(|| wrong(what));
        if next("the title")? != TITLE {
            return Err(wrong("the title"));
        }
        let line = value(next("line")?, "line=").ok_or_else(|| wrong("line"))?;
        let (store, epoch) = pair(next("store")?, "store=", "epoch=").ok_or_else(|| wrong("store"))?;
        let (seq, number) = pair(next("seq")?, "seq=", "checkpoint=").ok_or_else(|| wrong("seq"))?;
        let head = value(next("head")?, "head=sha256:").ok_or_else(|| wrong("head"))?;
        let (time, boot) = pair(next("time")?, "time=", "boot=").ok_or_else(|| wrong("time"))?;
        let is_split = next("the empty line")?.is_empty();
        let signature = next("the signature")?;
        let is_over = next("the end")?.is_empty() && lines.next().is_none();
        let (key_id, signature) = signature_of(signature, line).ok_or_else(|| wrong("the signature"))?;
        let note = Self {
            line: line.to_owned(),
            store_uuid: store.to_owned(),
            epoch: epoch.parse().map_err(|_| wrong("epoch"))?,
            seq: seq.parse().map_err(|_| wrong("seq"))?,
            number: number.parse().map_err(|_| wrong("checkpoint"))?,
            head: from_hex(head).and_then(|head| head.try_into().ok()).ok_or_else(|| wrong("head"))?,
            time: time.to_owned(),
            boot: boot.parse().map_err(|_| wrong("boot"))?,
            key_id,
            signature,
        };
        // Numbers have other forms too (+1, 01), and so has base64; only one of them was written.
        if is_split && is_over && note.to_note() == text { Ok(note) } else { Err(wrong("a line")) }
    }

    /// Whether its key is among these and has signed it.
    pub fn is_signed_by(&self, keys: &KeyRing) -> bool {
        let key = keys.get(&self.key_id).filter(|key| key.line() == self.line);
        key.is_some_and(|key| key.has_signed(&self.text(), &self.signature))
    }
}

/// Every note in a text, each with the number of its line: notes as they are, a side file, or what a subscriber captured of
/// the feed, a JSON object in each line (with `note` in it, or in its `payload`, or with a note as its `payload`). Lines
/// that hold neither are skipped, since captures hold other messages too; a note that is begun and is none is an error.
pub fn notes_in(text: &str) -> Vec<(usize, Result<Note, NoteError>)> {
    let mut found = Vec::new();
    let mut lines = (1..).zip(text.split_inclusive('\n'));
    while let Some((number, line)) = lines.next() {
        let bare = line.trim();
        if bare == TITLE {
            let mut whole = line.to_owned();
            // Six lines of text, the empty one and the signature's.
            whole.extend(lines.by_ref().take(7).map(|(_, line)| line));
            let whole = whole.replace("\r\n", "\n");
            found.push((number, Note::parse(&format!("{}\n", whole.trim_end()))));
        } else if bare.starts_with('{') && bare.contains(TITLE) {
            found.push((number, note_of_json(bare).and_then(|note| Note::parse(&note))));
        }
    }
    found
}

/// The fact of a checkpoint in the form of [`Note::to_json`].
pub fn seq_of(json: &[u8]) -> Option<u64> {
    let value: Value = serde_json::from_slice(json).ok()?;
    value.get("seq").and_then(Value::as_u64)
}

fn note_of_json(line: &str) -> Result<String, NoteError> {
    let value: Value = serde_json::from_str(line).map_err(|error| NoteError(error.to_string()))?;
    let inner = value.get("payload").cloned().unwrap_or_else(|| value.clone());
    // A payload is an object, the text of one, or a note.
    let inner = match &inner {
        Value::String(text) if text.starts_with('{') => {
            serde_json::from_str(text).map_err(|error| NoteError(error.to_string()))?
        }
        Value::String(_) | Value::Object(_) | Value::Array(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {
            inner
        }
    };
    let note = inner.as_str().or_else(|| inner.get("note").and_then(Value::as_str));
    note.map(str::to_owned).ok_or_else(|| NoteError("it has no note".into()))
}

fn value<'t>(line: &'t str, key: &str) -> Option<&'t str> {
    line.strip_prefix(key)
}

fn pair<'t>(line: &'t str, first: &str, second: &str) -> Option<(&'t str, &'t str)> {
    let (one, two) = line.split_once(' ')?;
    Some((value(one, first)?, value(two, second)?))
}

fn signature_of(text: &str, line: &str) -> Option<(String, [u8; 64])> {
    let data = text.strip_prefix("\u{2014} ")?.strip_prefix(line)?.strip_prefix(' ')?;
    let bytes = BASE64.decode(data).ok()?;
    let (id, signature) = bytes.split_at_checked(4)?;
    Some((hex(id), signature.try_into().ok()?))
}

/// Lower-case digits alone: the other ones are another text.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(byte.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    };
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)?.wrapping_mul(16).wrapping_add(digit(*low)?)),
            _ => None,
        })
        .collect()
}

impl fmt::Display for NoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no checkpoint: {}", self.0)
    }
}

impl std::error::Error for NoteError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> Key {
        Key::new("acme/line3", &[7; 32])
    }

    fn note() -> Note {
        let head = Head {
            line: "acme/line3",
            store_uuid: "3f1c4e0a-5b6d-4c7e-8f90-a1b2c3d4e5f6",
            epoch: 1,
            seq: 48211,
            hash: [0x9b; 32],
            at_us: 1_795_342_530_123_999,
            boot: 7,
        };
        head.note(483).signed(&key())
    }

    fn ring() -> KeyRing {
        [key().public()].into_iter().collect()
    }

    #[test]
    fn stands_as_the_documentation_says() {
        let text = note().to_note();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..6],
            [
                "sealgate-checkpoint/v1",
                "line=acme/line3",
                "store=3f1c4e0a-5b6d-4c7e-8f90-a1b2c3d4e5f6 epoch=1",
                "seq=48211 checkpoint=483",
                &format!("head=sha256:{}", "9b".repeat(32)),
                "time=2026-11-22T10:15:30.123Z boot=7",
            ]
        );
        assert_eq!((lines[6], lines.len()), ("", 8));
        assert!(lines[7].starts_with("\u{2014} acme/line3 "), "{}", lines[7]);
        assert!(note().is_signed_by(&ring()));
    }

    #[test]
    fn comes_back_from_a_note_a_side_file_and_a_capture() {
        let note = note();
        let payload = note.to_json();
        let captured = json!({"topic": "acme/line3/_checkpoint", "payload": payload}).to_string();
        let nested = json!({"topic": "x", "payload": serde_json::from_str::<Value>(&payload).unwrap()}).to_string();
        let bare = json!({"payload": note.to_note()}).to_string();
        let whole = note.to_note();
        let text = format!(
            "# kept by hand\n{whole}\n{payload}\n{{\"topic\":\"other\"}}\n{captured}\n{nested}\n{bare}\n{}",
            whole.replace('\n', "\r\n")
        );
        let found = notes_in(&text);
        assert_eq!(found.len(), 6, "{found:?}");
        assert!(found.iter().all(|(_, found)| found.as_ref() == Ok(&note)), "{found:?}");
        assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 11, 13, 14, 15, 16]);
    }

    #[test]
    fn a_torn_note_is_an_error_and_not_skipped() {
        let text = note().to_json();
        let found = notes_in(&text[..text.len() - 9]);
        assert!(matches!(&found[..], [(1, Err(_))]), "{found:?}");
    }

    proptest! {
        // A signature is slow without optimization.
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_note_with_one_character_changed_is_refused_or_not_signed(
            at in any::<proptest::sample::Index>(), put in any::<char>(),
        ) {
            let whole = note().to_note();
            let mut characters: Vec<char> = whole.chars().collect();
            let at = at.index(characters.len());
            prop_assume!(characters[at] != put);
            characters[at] = put;
            let changed: String = characters.into_iter().collect();
            let is_taken = Note::parse(&changed).is_ok_and(|note| note.is_signed_by(&ring()));
            prop_assert!(!is_taken, "{}", changed);
        }

        #[test]
        fn any_text_is_read_or_refused_without_harm(text in "(sealgate-checkpoint/v1\n)?(\\PC|\n|=){0,300}") {
            let _ = notes_in(&text);
            let _ = Note::parse(&text);
        }
    }
}
