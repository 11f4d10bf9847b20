//! Bytes from a device to lines, fields and kept values. Pure, and made for any bytes at all: nothing here panics, allocates more
//! than a line, or takes a line for another.
//!
//! What it does not do: it never guesses. A line that is too long, an escape that the dialect does not know, a field more or less
//! than asked for: each ends the session, since from there on nobody knows which answer belongs to which question.

use crate::device::dialect::{Dialect, Slot};

/// Why bytes are no line, or a line no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    TooLong,
    /// A line that does not begin as every line does.
    Begin,
    Escape,
    /// Neither the answer nor the refusal of this command.
    Unexpected,
}

impl Malformed {
    pub(super) fn says(self) -> &'static str {
        match self {
            Malformed::TooLong => "a line without end",
            Malformed::Begin => "a line without its beginning",
            Malformed::Escape => "an escape that the dialect does not know",
            Malformed::Unexpected => "an answer to something else",
        }
    }
}

/// The kept fields of an answer.
pub type Kept = Vec<(String, Vec<u8>)>;

/// Cuts a stream of bytes into lines.
#[derive(Clone, Debug, Default)]
pub struct Framer {
    held: Vec<u8>,
}

impl Framer {
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Whether nothing of a further line has come.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The next whole line, without its frame.
    pub fn next(&mut self, dialect: &Dialect) -> Result<Option<Vec<u8>>, Malformed> {
        let begun = dialect.begin.len().min(self.held.len());
        if self.held.get(..begun) != dialect.begin.get(..begun) {
            return Err(Malformed::Begin);
        }
        // The beginning and the end of a line may be the same character.
        let inside = self.held.get(begun..).unwrap_or_default();
        let Some(length) = inside.windows(dialect.end.len().max(1)).position(|window| window == dialect.end) else {
            let is_short = inside.len() <= dialect.line_max + dialect.end.len();
            return if is_short { Ok(None) } else { Err(Malformed::TooLong) };
        };
        if length > dialect.line_max {
            return Err(Malformed::TooLong);
        }
        let end = begun + length;
        let rest = self.held.split_off((end + dialect.end.len()).min(self.held.len()));
        let mut line = std::mem::replace(&mut self.held, rest);
        line.truncate(end);
        Ok(Some(line.split_off(begun.min(line.len()))))
    }
}

/// The fields of a line, escapes undone.
pub fn fields(dialect: &Dialect, line: &[u8]) -> Result<Vec<Vec<u8>>, Malformed> {
    let lead = dialect.escapes.first().and_then(|(_, sent)| sent.first()).copied();
    let mut fields = vec![Vec::new()];
    let mut rest = line;
    while let Some((byte, after)) = rest.split_first() {
        let found = if Some(*byte) == lead {
            let known =
                dialect.escapes.iter().find_map(|(escaped, sent)| Some((*escaped, rest.strip_prefix(&sent[..])?)));
            Some(known.ok_or(Malformed::Escape)?)
        } else if *byte == dialect.delimiter {
            None
        } else {
            Some((*byte, after))
        };
        match (found, fields.last_mut()) {
            (Some((byte, after)), Some(field)) => {
                field.push(byte);
                rest = after;
            }
            (None, _) | (_, None) => {
                fields.push(Vec::new());
                rest = after;
            }
        }
    }
    Ok(fields)
}

/// The kept fields, where the line is what the slots say: as many fields, and every literal in its place.
pub fn matched(slots: &[Slot], fields: &[Vec<u8>]) -> Option<Kept> {
    if slots.len() != fields.len() {
        return None;
    }
    let mut kept = Kept::new();
    for (slot, field) in slots.iter().zip(fields) {
        match slot {
            Slot::Literal(literal) if literal == field => {}
            Slot::Literal(_) => return None,
            Slot::Kept(name) => kept.push((name.clone(), field.clone())),
            Slot::Ignored => {}
        }
    }
    Some(kept)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        device::dialect::{Command, Filling, Piece},
        domain::tag::{Tag, TagValue},
    };

    pub(crate) fn dialect() -> Dialect {
        let escape = |byte: u8| (byte, format!("~{byte:02X}").into_bytes());
        Dialect {
            begin: Vec::new(),
            end: b"\r\n".to_vec(),
            send_end: b"\r\n".to_vec(),
            delimiter: b'|',
            escapes: [b'~', b'|', 0x1D].map(escape).into(),
            line_max: 200,
            commands: Vec::new(),
            scan: None,
            no_read: Vec::new(),
            mark: None,
        }
    }

    fn insert() -> Command {
        let literal = |text: &str| Piece::Literal(text.as_bytes().to_vec());
        Command {
            name: "insert".to_owned(),
            send: vec![
                vec![literal("JDI")],
                vec![Piece::Value(Tag::DataSeq)],
                vec![literal("CODE="), Piece::Value(Tag::Data)],
            ],
            reply: vec![Slot::Literal(b"ACK".to_vec())],
            lines: 1,
            refusal: Vec::new(),
            retry: Vec::new(),
        }
    }

    fn line_of(data: &[u8]) -> Result<Vec<u8>, crate::device::codec::Unfit> {
        let values = [(Tag::Data, TagValue::Bytes(data.to_vec())), (Tag::DataSeq, TagValue::Int(7))];
        dialect().line(&insert(), Filling { values: &values, mark: b"" })
    }

    #[test]
    fn a_command_is_its_fields_with_the_values_in_their_places() {
        assert_eq!(line_of(b"0109\x1D10L|7~").unwrap(), b"JDI|7|CODE=0109~1D10L~7C7~7E\r\n");
    }

    #[test]
    fn a_byte_that_cannot_be_sent_refuses_the_whole_command() {
        for byte in [b'\r', b'\n', 0, 0x7F, 0x80, 0xFF] {
            assert!(line_of(&[b'A', byte]).is_err(), "{byte}");
        }
    }

    #[test]
    fn an_answer_has_every_literal_and_as_many_fields() {
        let slots = [Slot::Literal(b"GPC".to_vec()), Slot::Kept("taken".to_owned()), Slot::Ignored];
        let of = |line: &[u8]| matched(&slots, &fields(&dialect(), line).unwrap());
        assert_eq!(of(b"GPC|7|x"), Some(vec![("taken".to_owned(), b"7".to_vec())]));
        for wrong in [&b"GPC|7"[..], b"GPC|7|x|", b"GPX|7|x", b"", b"|||"] {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn lines_come_whole_however_the_bytes_are_cut_and_a_line_without_end_is_refused() {
        let dialect = dialect();
        let stream = b"ACK\r\nGPC|1|2\r\n\r\n";
        for cut in 0..stream.len() {
            let mut framer = Framer::default();
            let mut lines = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                framer.push(part);
                while let Some(line) = framer.next(&dialect).unwrap() {
                    lines.push(line);
                }
            }
            assert_eq!(lines, [&b"ACK"[..], b"GPC|1|2", b""], "{cut}");
            assert!(framer.is_empty());
        }
        let mut framer = Framer::default();
        framer.push(&[b'A'; 210]);
        assert_eq!(framer.next(&dialect), Err(Malformed::TooLong));
    }

    proptest! {
        /// Every serial of charset 82, with separators, arrives as it was sent.
        #[test]
        fn what_is_escaped_comes_back_the_same(data in "[ -~\u{1D}]{0,60}") {
            let line = line_of(data.as_bytes()).expect("printable or escaped");
            let mut framer = Framer::default();
            framer.push(&line);
            let line = framer.next(&dialect()).expect("short").expect("whole");
            prop_assert!(framer.is_empty());
            let found = fields(&dialect(), &line).expect("our own escapes");
            prop_assert_eq!(found.len(), 3);
            prop_assert_eq!(&found[2], &[b"CODE=", data.as_bytes()].concat());
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..600), step in 1_usize..40) {
            let dialect = Dialect { begin: b"\x02".to_vec(), ..dialect() };
            let mut framer = Framer::default();
            'stream: for part in bytes.chunks(step) {
                framer.push(part);
                loop {
                    match framer.next(&dialect) {
                        Ok(Some(line)) => {
                            prop_assert!(line.len() <= dialect.line_max);
                            if let Ok(fields) = fields(&dialect, &line) {
                                let held: usize = fields.iter().map(|field| field.len() + 1).sum();
                                prop_assert!(held <= line.len() + 1);
                            }
                        }
                        Ok(None) => break,
                        Err(_) => break 'stream,
                    }
                }
            }
        }
    }
}
