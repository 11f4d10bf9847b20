//! Modbus TCP frames: a question to bytes, and the bytes that came to the answer of exactly that question.
//!
//! Contract (MODBUS Messaging on TCP/IP 1.0b, 3.1.3; Application Protocol V1.1b3, 6): an answer counts when transaction, protocol,
//! unit, function, length field and byte count all fit the question and nothing follows it. Everything is checked as soon as its
//! bytes are there, so that a stream that went wrong is given up at once. The protocol carries no checksum: bytes that a network
//! changed inside the payload are the business of TCP, and of the signature that a map may ask for.
//!
//! Pure: no I/O, no clock.

use std::fmt;

use super::write::Allowed;
use crate::device::settings::Table;

/// The longest frame, in bytes: 7 of header, 253 of function and data.
pub const FRAME_MAX: usize = 260;
/// Registers in one read; sixteen times as many bits.
pub const READ_MAX: u16 = 125;
/// Registers in one write.
pub const WRITE_MAX: u16 = 123;
const HEADER: usize = 7;
/// Set in the function of an answer that is an exception.
const EXCEPTION: u8 = 0x80;

/// Registers or bits `start .. start + len` of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    pub table: Table,
    pub start: u16,
    pub len: u16,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub enum Question<'a> {
    Read(Block),
    Write(&'a Allowed),
}

/// What a device answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// As many as were asked for; a bit is 0 or 1.
    Cells(Vec<u16>),
    Written,
    Exception(u8),
}

/// Bytes that are no answer to the question. Counts are bytes: asked for, said by the byte count, and come after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    Transaction { asked: u16, came: u16 },
    Protocol(u16),
    Length(u16),
    Unit { asked: u8, came: u8 },
    Function { asked: u8, came: u8 },
    Count { asked: u16, said: u8, came: u16, start: u16 },
    Echo { start: u16 },
    Padding { start: u16 },
    Trailing(usize),
}

/// Appends the frame of a question.
pub fn encode(question: Question<'_>, transaction: u16, unit: u8, frame: &mut Vec<u8>) {
    let from = frame.len();
    frame.extend(transaction.to_be_bytes());
    // Protocol 0; the length follows.
    frame.extend([0, 0, 0, 0, unit, question.function()]);
    match question {
        Question::Read(block) => {
            frame.extend(block.start.to_be_bytes());
            frame.extend(block.len.to_be_bytes());
        }
        Question::Write(allowed) => write_body(allowed, frame),
    }
    let length = u16::try_from(frame.len() - from - 6).unwrap_or(u16::MAX).to_be_bytes();
    if let Some(place) = frame.get_mut(from + 4..from + 6) {
        place.copy_from_slice(&length);
    }
}

fn write_body(allowed: &Allowed, frame: &mut Vec<u8>) {
    frame.extend(allowed.block().start.to_be_bytes());
    match (allowed.block().table.is_bits(), allowed.cells()) {
        (true, [bit]) => frame.extend(if *bit == 0 { [0, 0] } else { [0xFF, 0] }),
        (true, bits) => {
            frame.extend(allowed.block().len.to_be_bytes());
            let bytes = bits.chunks(8).map(|eight| {
                eight.iter().enumerate().fold(0, |byte, (place, bit)| byte | u8::from(*bit != 0) << place)
            });
            frame.push(u8::try_from(bits.len().div_ceil(8)).unwrap_or(u8::MAX));
            frame.extend(bytes);
        }
        (false, words) => {
            frame.extend(allowed.block().len.to_be_bytes());
            frame.push(u8::try_from(words.len() * 2).unwrap_or(u8::MAX));
            frame.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        }
    }
}

/// The answer in `bytes`, which hold all that came since the question was sent; `None` while more has to come.
pub fn answer(question: Question<'_>, transaction: u16, unit: u8, bytes: &[u8]) -> Result<Option<Answer>, FrameError> {
    if let Some(came) = u16_at(bytes, 0).filter(|came| *came != transaction) {
        return Err(FrameError::Transaction { asked: transaction, came });
    }
    if let Some(protocol) = u16_at(bytes, 2).filter(|protocol| *protocol != 0) {
        return Err(FrameError::Protocol(protocol));
    }
    let Some(length) = u16_at(bytes, 4) else { return Ok(None) };
    // Unit, function and one byte at least: an exception is no longer.
    if length < 3 || usize::from(length) > FRAME_MAX - 6 {
        return Err(FrameError::Length(length));
    }
    if let Some(came) = bytes.get(6).filter(|came| **came != unit) {
        return Err(FrameError::Unit { asked: unit, came: *came });
    }
    let asked = question.function();
    if let Some(came) = bytes.get(HEADER).filter(|came| **came & !EXCEPTION != asked) {
        return Err(FrameError::Function { asked, came: *came });
    }
    let whole = 6 + usize::from(length);
    if bytes.len() > whole {
        return Err(FrameError::Trailing(bytes.len() - whole));
    }
    let Some(body) = bytes.get(HEADER..whole) else { return Ok(None) };
    body_of(question, length, body).map(Some)
}

/// Function and data, whole.
fn body_of(question: Question<'_>, length: u16, body: &[u8]) -> Result<Answer, FrameError> {
    match (body, question) {
        ([function, code], _) if function & EXCEPTION != 0 => Ok(Answer::Exception(*code)),
        ([function, ..], _) if function & EXCEPTION != 0 => Err(FrameError::Length(length)),
        ([_, count, data @ ..], Question::Read(block)) => cells(block, *count, data),
        ([_, data @ ..], Question::Write(allowed)) => echo(allowed, data),
        ([] | [_], _) => Err(FrameError::Length(length)),
    }
}

fn cells(block: Block, count: u8, data: &[u8]) -> Result<Answer, FrameError> {
    let wanted = if block.table.is_bits() { block.len.div_ceil(8) } else { block.len.saturating_mul(2) };
    if usize::from(count) != data.len() || u16::from(count) != wanted {
        let came = u16::try_from(data.len()).unwrap_or(u16::MAX);
        return Err(FrameError::Count { asked: wanted, said: count, came, start: block.start });
    }
    if !block.table.is_bits() {
        let words = data.chunks_exact(2).map(|pair| pair.iter().fold(0, |word, byte| word << 8 | u16::from(*byte)));
        return Ok(Answer::Cells(words.collect()));
    }
    let mut bits = data.iter().flat_map(|byte| (0..8).map(move |place| u16::from(byte >> place & 1)));
    let cells = bits.by_ref().take(usize::from(block.len)).collect();
    // "The remaining bits in the final data byte will be padded with zeros": anything else is another answer.
    if bits.any(|bit| bit != 0) {
        return Err(FrameError::Padding { start: block.start });
    }
    Ok(Answer::Cells(cells))
}

/// A write is confirmed by its own start and count, a single bit by its value.
fn echo(allowed: &Allowed, data: &[u8]) -> Result<Answer, FrameError> {
    let Block { table, start, len } = allowed.block();
    let second = match (table.is_bits(), allowed.cells()) {
        (true, [0]) => 0,
        (true, [_]) => 0xFF00,
        (true | false, _) => len,
    };
    let fits = data.len() == 4 && u16_at(data, 0) == Some(start) && u16_at(data, 2) == Some(second);
    if fits { Ok(Answer::Written) } else { Err(FrameError::Echo { start }) }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    match bytes.get(at..at + 2)? {
        [high, low] => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    }
}

impl Question<'_> {
    pub(super) fn function(self) -> u8 {
        match self {
            Question::Read(block) => match block.table {
                Table::Coil => 1,
                Table::Discrete => 2,
                Table::Holding => 3,
                Table::Input => 4,
            },
            Question::Write(allowed) if !allowed.block().table.is_bits() => 16,
            Question::Write(allowed) if allowed.cells().len() == 1 => 5,
            Question::Write(_) => 15,
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Transaction { asked, came } => {
                write!(f, "the answer belongs to another request: transaction {came} where {asked} was asked for")
            }
            FrameError::Protocol(came) => write!(f, "no Modbus: protocol {came} where 0 belongs"),
            FrameError::Length(came) => write!(f, "a length of {came} that no answer to this request has"),
            FrameError::Unit { asked, came } => write!(f, "unit {came} answers where unit {asked} was asked"),
            FrameError::Function { asked, came } => write!(f, "function {came} answers where {asked} was asked"),
            FrameError::Count { asked, said, came, start } => {
                write!(f, "a byte count of {said} and {came} bytes of values where {asked} were asked for at {start}")
            }
            FrameError::Echo { start } => write!(f, "another write than the one at {start} was confirmed"),
            FrameError::Padding { start } => write!(f, "bits after the last that was asked for at {start}"),
            FrameError::Trailing(count) => write!(f, "{count} bytes after the answer that nobody asked for"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(start: u16, len: u16) -> Question<'static> {
        Question::Read(Block { table: Table::Holding, start, len })
    }

    fn bits(start: u16, len: u16) -> Question<'static> {
        Question::Read(Block { table: Table::Coil, start, len })
    }

    const GOOD: [u8; 13] = [0x12, 0x34, 0, 0, 0, 7, 9, 3, 4, 0xAB, 0xCD, 0, 1];

    #[test]
    fn asks_as_the_standard_says() {
        let of = |question| {
            let mut frame = Vec::new();
            encode(question, 0x1234, 9, &mut frame);
            frame
        };
        assert_eq!(of(words(0x6B, 3)), [0x12, 0x34, 0, 0, 0, 6, 9, 3, 0, 0x6B, 0, 3]);
        assert_eq!(of(bits(0x13, 0x13)), [0x12, 0x34, 0, 0, 0, 6, 9, 1, 0, 0x13, 0, 0x13]);
        let write = Allowed::for_test(Table::Holding, 1, &[0x0A, 0x0102]);
        let expected = [0x12, 0x34, 0, 0, 0, 11, 9, 16, 0, 1, 0, 2, 4, 0, 0x0A, 1, 2];
        assert_eq!(of(Question::Write(&write)), expected);
        let one = Allowed::for_test(Table::Coil, 0xAC, &[1]);
        assert_eq!(of(Question::Write(&one)), [0x12, 0x34, 0, 0, 0, 6, 9, 5, 0, 0xAC, 0xFF, 0]);
        let many = Allowed::for_test(Table::Coil, 0x13, &[1, 0, 1, 1, 0, 0, 1, 1, 1, 0]);
        let expected = [0x12, 0x34, 0, 0, 0, 9, 9, 15, 0, 0x13, 0, 0x0A, 2, 0xCD, 1];
        assert_eq!(of(Question::Write(&many)), expected);
    }

    #[test]
    fn understands_its_own_answer_and_waits_for_the_rest_of_it() {
        let asked = words(100, 2);
        assert_eq!(answer(asked, 0x1234, 9, &GOOD), Ok(Some(Answer::Cells(vec![0xABCD, 1]))));
        for end in 0..GOOD.len() {
            assert_eq!(answer(asked, 0x1234, 9, &GOOD[..end]), Ok(None), "{end}");
        }
        let exception = [0x12, 0x34, 0, 0, 0, 3, 9, 0x83, 2];
        assert_eq!(answer(asked, 0x1234, 9, &exception), Ok(Some(Answer::Exception(2))));
        let ten = [0x12, 0x34, 0, 0, 0, 5, 9, 1, 2, 0xCD, 1];
        let cells = vec![1, 0, 1, 1, 0, 0, 1, 1, 1, 0];
        assert_eq!(answer(bits(0, 10), 0x1234, 9, &ten), Ok(Some(Answer::Cells(cells))));
    }

    // F64, F65, F66
    #[test]
    fn every_field_that_does_not_fit_is_refused_by_its_name() {
        let with = |at: usize, byte: u8| {
            let mut frame = GOOD;
            frame[at] = byte;
            answer(words(100, 2), 0x1234, 9, &frame)
        };
        assert_eq!(with(1, 0x33), Err(FrameError::Transaction { asked: 0x1234, came: 0x1233 }));
        assert_eq!(with(3, 1), Err(FrameError::Protocol(1)));
        assert_eq!(with(4, 1), Err(FrameError::Length(263)));
        assert_eq!(with(5, 2), Err(FrameError::Length(2)));
        assert_eq!(with(5, 6), Err(FrameError::Trailing(1)));
        assert_eq!(with(5, 8), Ok(None), "it seems to be longer, and the time limit decides");
        assert_eq!(with(6, 8), Err(FrameError::Unit { asked: 9, came: 8 }));
        assert_eq!(with(7, 4), Err(FrameError::Function { asked: 3, came: 4 }));
        assert_eq!(with(7, 0x83), Err(FrameError::Length(7)), "an exception is shorter");
        assert_eq!(with(8, 2), Err(FrameError::Count { asked: 4, said: 2, came: 4, start: 100 }));
        let longer = Err(FrameError::Count { asked: 2, said: 4, came: 4, start: 100 });
        assert_eq!(answer(words(100, 1), 0x1234, 9, &GOOD), longer);
        let mut echoed = Vec::new();
        encode(words(0, 1), 0x1234, 9, &mut echoed);
        let said = answer(words(0, 1), 0x1234, 9, &echoed).map_err(|error| error.to_string());
        assert_eq!(said, Err("a byte count of 0 and 3 bytes of values where 2 were asked for at 0".to_owned()));
        let padded = [0x12, 0x34, 0, 0, 0, 5, 9, 1, 2, 0xCD, 0x81];
        assert_eq!(answer(bits(0, 10), 0x1234, 9, &padded), Err(FrameError::Padding { start: 0 }));
        let twice = [GOOD, GOOD].concat();
        assert_eq!(answer(words(100, 2), 0x1234, 9, &twice), Err(FrameError::Trailing(13)));
    }

    #[test]
    fn a_write_is_confirmed_by_its_own_start_and_count_alone() {
        let write = Allowed::for_test(Table::Holding, 0x20, &[1, 2, 3]);
        let of = |start: u8, count: u8| {
            answer(Question::Write(&write), 1, 9, &[0, 1, 0, 0, 0, 6, 9, 16, 0, start, 0, count])
        };
        assert_eq!(of(0x20, 3), Ok(Some(Answer::Written)));
        assert_eq!(of(0x20, 2), Err(FrameError::Echo { start: 0x20 }));
        assert_eq!(of(0x21, 3), Err(FrameError::Echo { start: 0x20 }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_waited_for_or_are_exactly_the_answer(
            mut bytes in prop::collection::vec(any::<u8>(), 0..40),
            len in 1u16..8,
            is_likely in any::<bool>(),
        ) {
            if is_likely && bytes.len() > 8 {
                bytes[..9].copy_from_slice(&[0, 7, 0, 0, 0, len as u8 * 2 + 3, 1, 3, len as u8 * 2]);
            }
            let found = answer(words(0, len), 7, 1, &bytes);
            if let Ok(Some(Answer::Cells(cells))) = found {
                let data: Vec<u8> = cells.iter().flat_map(|cell| cell.to_be_bytes()).collect();
                let whole = [&[0, 7, 0, 0, 0, data.len() as u8 + 3, 1, 3, data.len() as u8], &data[..]].concat();
                prop_assert_eq!(whole, bytes);
            }
        }
    }
}
