//! A text dialect as data: how a device frames its lines, which commands it knows and what it answers. A tag map brings it along
//! (`[text]`), so that another coder, labeller or scanner is another file.
//!
//! A command is a list of fields, sent with the delimiter between them; `{tag}` in a field stands for the value of a tag. An answer is
//! a list of fields too: a literal that must be there, `{name}` that is kept, or `*` that is not looked at. There are no expressions.
//!
//! What it does not do: it reads and writes nothing. A value that holds a byte which the dialect can neither send nor escape is
//! refused before anything is sent, since a delimiter in a serial would make two fields of one.

use crate::{
    device::unfit::{OUT_OF_RANGE, TYPE_MISMATCH, Unfit},
    domain::tag::{Tag, TagValue},
};

/// How one device model speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Stands before every line that the device sends; often nothing.
    pub begin: Vec<u8>,
    /// Ends every line that the device sends; never empty.
    pub end: Vec<u8>,
    /// Ends every line that we send.
    pub send_end: Vec<u8>,
    pub delimiter: u8,
    /// What is sent for a byte that may not stand in a value. All begin with one byte, which is listed itself.
    pub escapes: Vec<(u8, Vec<u8>)>,
    /// The longest line that is taken, without its frame.
    pub line_max: usize,
    pub commands: Vec<Command>,
    /// Lines that come unasked, of a scanner: then nothing is ever asked.
    pub scan: Option<Vec<Slot>>,
    /// What a scanner sends where it read nothing.
    pub no_read: Vec<Vec<u8>>,
    /// A place in the device for a text of ours, which a power cycle empties.
    pub mark: Option<MarkPlace>,
}

/// Where our mark is kept: asked for by one command, written by another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkPlace {
    pub read: AnswerField,
    pub write: String,
}

/// A kept field of the answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerField {
    pub command: String,
    pub field: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub name: String,
    pub send: Vec<Vec<Piece>>,
    /// Empty where the device answers nothing.
    pub reply: Vec<Slot>,
    /// Lines of one answer; their fields follow each other.
    pub lines: u8,
    /// What the device says where it does not do it; a field `{code}` says why.
    pub refusal: Vec<Slot>,
    /// Codes of a refusal after which the same command is tried again at the next cycle: a full buffer.
    pub retry: Vec<Vec<u8>>,
}

/// A part of a field that is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Literal(Vec<u8>),
    Value(Tag),
    Mark,
}

/// A field of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    Literal(Vec<u8>),
    Kept(String),
    Ignored,
}

/// What a command's places are filled with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filling<'a> {
    pub(super) values: &'a [(Tag, TagValue)],
    pub(super) mark: &'a [u8],
}

impl Dialect {
    pub(super) fn command(&self, name: &str) -> Option<&Command> {
        self.commands.iter().find(|command| command.name == name)
    }

    /// The line of a command, its end included.
    pub(super) fn line(&self, command: &Command, filling: Filling<'_>) -> Result<Vec<u8>, Unfit> {
        let mut line = Vec::new();
        for (index, field) in command.send.iter().enumerate() {
            if index > 0 {
                line.push(self.delimiter);
            }
            for piece in field {
                self.piece(piece, filling, &mut line)?;
            }
        }
        line.extend(&self.send_end);
        Ok(line)
    }

    fn piece(&self, piece: &Piece, filling: Filling<'_>, line: &mut Vec<u8>) -> Result<(), Unfit> {
        match piece {
            Piece::Literal(bytes) => line.extend(bytes),
            Piece::Mark => self.escape(filling.mark, line)?,
            Piece::Value(tag) => {
                let value = filling.values.iter().find(|(named, _)| named == tag).map(|(_, value)| value);
                match value {
                    Some(TagValue::Bytes(bytes)) => self.escape(bytes, line)?,
                    Some(TagValue::Int(number)) => line.extend(number.to_string().bytes()),
                    Some(TagValue::Bool(flag)) => line.push(if *flag { b'1' } else { b'0' }),
                    Some(TagValue::Milli(_) | TagValue::Ints(_) | TagValue::Millis(_) | TagValue::Texts(_)) | None => {
                        return Err(TYPE_MISMATCH);
                    }
                }
            }
        }
        Ok(())
    }

    /// Bytes as they stand in a field.
    pub(super) fn escape(&self, bytes: &[u8], line: &mut Vec<u8>) -> Result<(), Unfit> {
        for byte in bytes {
            match self.escapes.iter().find(|(escaped, _)| escaped == byte) {
                Some((_, sent)) => line.extend(sent),
                None if self.is_plain(*byte) => line.push(*byte),
                None => return Err(OUT_OF_RANGE),
            }
        }
        Ok(())
    }

    /// Whether a byte stands for itself: printable ASCII that neither parts fields nor ends lines.
    fn is_plain(&self, byte: u8) -> bool {
        let frames = byte == self.delimiter || self.end.contains(&byte) || self.send_end.contains(&byte);
        (byte == b' ' || byte.is_ascii_graphic()) && !frames
    }

    /// Every tag whose value the command carries.
    pub fn tags_of(command: &Command) -> impl Iterator<Item = Tag> + '_ {
        command.send.iter().flatten().filter_map(|piece| match piece {
            Piece::Value(tag) => Some(*tag),
            Piece::Literal(_) | Piece::Mark => None,
        })
    }
}
