//! The targets, and what each of them states. A target answers with the way it took, so that new ways are kept.

use std::fmt::Debug;
use std::io::Cursor;

use opcua::types::{BinaryDecodable, ContextOwned, DataValue, DecodingOptions};
use sealgate::device::dialect::{Dialect, Slot};
use sealgate::device::parsers::codec::{OUT_OF_RANGE, RegisterOrder, decode_cells, encode_cells, readings, tags};
use sealgate::device::parsers::frame::{self, Answer, Block, Question};
use sealgate::device::parsers::text;
use sealgate::device::parsers::text::parse::{self, Framer, Malformed};
use sealgate::device::parsers::value;
use sealgate::device::{Address, Binding, ByteOrder, Field, Number, Pad, Split, Table, ValueType, WordOrder};
use sealgate::domain::code::Code;
use sealgate::domain::element::ElementString;
use sealgate::domain::tag::{Quality, Tag, TagValue};

use crate::mutate::hash;

pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) words: &'static [&'static [u8]],
    pub(crate) run: fn(&[u8]) -> Result<u64, String>,
}

const GS1: &[&[u8]] = &[
    b"01",
    b"09506000134352",
    b"21",
    b"17270331",
    b"10",
    b"\x1d",
    b"]d2",
    b"]C1",
    b"00",
    b"109506000100000012",
    b"(01)",
    b"(21)",
    b"urn:epc:id:sgtin:",
    b"urn:epc:id:sscc:",
    b"%2F",
    b"3103",
    b"240",
];
const FRAME: &[&[u8]] = &[b"\0\x07\0\0\0", b"\x83\x02", b"\x01\x03", b"\xFF\xFF", b"\0\x01\0\x01"];
const DELIMITED: &[&[u8]] =
    &[b";", b";;", b"|", b"9223372036854775807", b"9223372036854775808", b"4.0", b".5", b"-1", b"1e9", b"A"];
const VARIANT: &[&[u8]] =
    &[b"\x01\x07", b"\x01\x0C\xFF\xFF\xFF\xFF", b"\x01\x8C", b"\x03\x0B", b"\0\0\xF8\x7F", b"\x01\xC7"];

const LINES: &[&[u8]] =
    &[b"\r", b"\r\n", b"\x02", b"\x03", b"|", b"~7C", b"~7E", b"~1D", b"~", b"GPC|", b"STS|", b"ERR|7|", b"SG7.41.41"];

pub(crate) const ALL: &[Target] = &[
    Target { name: "coder", words: LINES, run: coder },
    Target { name: "mbap", words: FRAME, run: mbap },
    Target { name: "registers", words: &[b"\0\0", b"\xFF\xFF", b"\x7F\xC0\0\0", b"\x0D"], run: registers },
    Target { name: "element", words: GS1, run: element },
    Target { name: "code", words: GS1, run: code },
    Target { name: "fields", words: DELIMITED, run: fields },
    Target { name: "lists", words: DELIMITED, run: lists },
    Target { name: "opcua", words: VARIANT, run: opcua_value },
];

/// What something says up to its first value, as a way.
fn way(what: &impl Debug) -> u64 {
    let text = format!("{what:?}");
    let words = text.split(['{', '"']).next().unwrap_or_default();
    // In a refusal digits are values; elsewhere they tell variants apart.
    let is_word = |c: &char| !text.starts_with("Err") || !c.is_ascii_digit();
    hash(words.chars().filter(is_word).take(64).collect::<String>().as_bytes())
}

fn same<T: Debug + PartialEq>(what: &str, a: &T, b: &T) -> Result<(), String> {
    if a == b { Ok(()) } else { Err(format!("{what}: {a:?} became {b:?}")) }
}

/// States: no prefix of an answer is an answer; cells that are used are exactly those in the frame, and nothing else is.
fn mbap(input: &[u8]) -> Result<u64, String> {
    let [table, len, bytes @ ..] = input else { return Ok(0) };
    let table = [Table::Coil, Table::Discrete, Table::Holding, Table::Input][usize::from(table % 4)];
    let block = Block { table, start: 7, len: u16::from(*len % 125) + 1 };
    let (transaction, unit) = (7, 1);
    let found = frame::answer(Question::Read(block), transaction, unit, bytes);
    if let Ok(Some(answer)) = &found {
        for end in 0..bytes.len() {
            let part = frame::answer(Question::Read(block), transaction, unit, &bytes[..end]);
            same("a prefix", &part, &Ok(None))?;
        }
        let body = match answer {
            Answer::Cells(cells) if table.is_bits() => {
                let packed =
                    cells.chunks(8).map(|eight| eight.iter().rev().fold(0, |byte, bit| byte << 1 | *bit as u8));
                packed.collect::<Vec<u8>>()
            }
            Answer::Cells(cells) => cells.iter().flat_map(|cell| cell.to_be_bytes()).collect(),
            Answer::Exception(code) => return same("an exception", &bytes.last(), &Some(code)).map(|()| 1),
            Answer::Written => return Err("a write was confirmed that nobody asked".into()),
        };
        let function = [1, 2, 3, 4][[Table::Coil, Table::Discrete, Table::Holding, Table::Input]
            .iter()
            .position(|known| *known == table)
            .unwrap()];
        let mut whole = vec![0, 7, 0, 0, 0, body.len() as u8 + 3, unit, function, body.len() as u8];
        whole.extend(body);
        same("the frame", &whole, &bytes.to_vec())?;
    }
    Ok(way(&found.map(|answer| answer.map(|_| ()))) ^ u64::from(table.is_bits()))
}

/// A binding from four bytes.
fn binding([kind, length, mode, order]: [u8; 4]) -> (Binding, RegisterOrder) {
    let numbers =
        [Number::U16, Number::I16, Number::U32, Number::I32, Number::U64, Number::I64, Number::F32, Number::F64];
    let number = numbers[usize::from(kind >> 4) % 8];
    let pad = if mode & 1 == 0 { Pad::Zero } else { Pad::Space };
    let (length, count) = (u16::from(length % 40) + 1, u16::from(length % 7) + 1);
    let value = match kind % 7 {
        0 => ValueType::Bool,
        1 => ValueType::Number(number),
        2 => ValueType::Text { length, pad },
        3 => ValueType::Bytes { length },
        4 => ValueType::Ints { element: number, count },
        5 => ValueType::Millis { element: number, count },
        _ => ValueType::Texts { length: length % 12 + 1, count, pad },
    };
    let mut binding = Binding::new(Tag::Code, Address::Register(0), value);
    binding.scale = (mode & 2 != 0).then_some([1, 10, 100, 1000][usize::from(mode >> 6)]);
    match (value, mode >> 2 & 3) {
        (ValueType::Bool, 1) => binding.bit = Some(order >> 4),
        (ValueType::Text { .. }, 1) => binding.counted = true,
        (ValueType::Text { .. } | ValueType::Texts { .. }, 2) => binding.terminator = Some(b'\r'),
        _ => {}
    }
    let order = RegisterOrder {
        word: if order & 1 == 0 { WordOrder::HighFirst } else { WordOrder::LowFirst },
        byte: if order & 2 == 0 { ByteOrder::HighFirst } else { ByteOrder::LowFirst },
    };
    (binding, order)
}

/// States: what was read can be written, fills its place, and reads the same again.
fn registers(input: &[u8]) -> Result<u64, String> {
    let [kind, length, mode, order, bytes @ ..] = input else { return Ok(0) };
    let (binding, order) = binding([*kind, *length, *mode, *order]);
    let mut words: Vec<u16> =
        bytes.chunks(2).map(|pair| pair.iter().fold(0, |word, byte| word << 8 | u16::from(*byte))).collect();
    // Mostly of the right length, or little would be learnt.
    if mode & 0x20 == 0 {
        words.resize(usize::from(binding.cells()), 0);
    }
    let found = decode_cells(&binding, order, &words);
    if let Some(value) = &found {
        if words.len() != usize::from(binding.cells()) {
            return Err(format!("{} words for {}", words.len(), binding.cells()));
        }
        if binding.bit.is_none() {
            let written =
                encode_cells(&binding, order, value).map_err(|unfit| format!("{value:?} of {binding:?}: {unfit:?}"))?;
            same("cells", &written.len(), &words.len())?;
            same("the value", &found, &decode_cells(&binding, order, &written))?;
        }
    }
    Ok(way(&(std::mem::discriminant(&binding.value), found.is_some(), binding.counted, binding.terminator)))
}

/// States: what is read can be built, and what was built reads the same; the form for people too.
fn element(input: &[u8]) -> Result<u64, String> {
    let found = ElementString::parse(input);
    if let Ok(read) = &found {
        let pairs: Vec<(&str, &str)> = read.fields().collect();
        let built = ElementString::build(&pairs).map_err(|error| format!("{pairs:?}: {error}"))?;
        let again = ElementString::parse(&built).map_err(|error| format!("{built:?}: {error}"))?;
        same("fields", &pairs, &again.fields().collect())?;
        let shown = ElementString::parse_bracketed(&read.to_string()).map_err(|error| format!("{read}: {error}"))?;
        same("fields for people", &pairs, &shown.fields().collect())?;
        let _ = read.check_associations();
        return Ok(way(&pairs.iter().map(|(ai, _)| ai.len()).collect::<Vec<_>>()) ^ pairs.len() as u64);
    }
    Ok(way(&found))
}

/// States: white space around it changes nothing; what an SGTIN names is named by its element string too.
fn code(input: &[u8]) -> Result<u64, String> {
    let found = Code::parse(input);
    let spaced = [b" \r\n", input, b"\t "].concat();
    same("with white space", &found, &Code::parse(&spaced))?;
    if let Ok(Code::Sgtin { gtin, serial }) = &found {
        let built =
            ElementString::build(&[("01", gtin.as_str()), ("21", serial.as_str())]).map_err(|e| e.to_string())?;
        same("the unit", &found, &Code::parse(&built))?;
    }
    Ok(way(&found.map(|code| std::mem::discriminant(&code))))
}

fn split(tags: &[Tag], value: ValueType) -> Binding {
    let mut binding = Binding::new(tags[0], Address::Register(0), value);
    binding.split = Some(Split::Fields { delimiter: b';', fields: tags.iter().copied().map(Field::natural).collect() });
    binding
}

/// Result strings and rings of them. States: one reading for each tag, in order; a good text field stands in the input as it is,
/// and is what lies between its delimiters; a counter is its digits.
fn fields(input: &[u8]) -> Result<u64, String> {
    let [shape, text @ ..] = input else { return Ok(0) };
    let wanted = [Tag::Seq, Tag::Code, Tag::Track, Tag::Grade];
    let is_ring = shape & 1 == 1;
    let value = if is_ring {
        ValueType::Texts { length: 60, count: 4, pad: Pad::Zero }
    } else {
        ValueType::Text { length: 240, pad: Pad::Zero }
    };
    let binding = split(&wanted, value);
    let given = if is_ring {
        TagValue::Texts(text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect())
    } else {
        TagValue::Bytes(text.to_vec())
    };
    let found = readings(&binding, Ok(given), Quality::Good, None);
    same("the tags", &tags(&binding), &found.iter().map(|reading| reading.tag).collect())?;
    if !is_ring && !text.is_empty() {
        let parts: Vec<&[u8]> = text.splitn(4, |byte| *byte == b';').collect();
        for (index, reading) in found.iter().enumerate().filter(|(_, reading)| reading.quality == Quality::Good) {
            let part = *parts.get(index).ok_or("a field that is not there is good")?;
            match &reading.value {
                TagValue::Bytes(bytes) => same("a field", &part, &bytes.as_slice())?,
                TagValue::Int(number) => {
                    let digits = part.strip_prefix(b"0").map_or(part, |_| part.trim_ascii_start());
                    let text = std::str::from_utf8(digits).map_err(|_| "a counter that is no text")?;
                    same("a counter", &text.parse().unwrap_or(0), number)?;
                }
                TagValue::Milli(number) if *number < 0 => return Err("a grade below nothing".into()),
                TagValue::Bool(_)
                | TagValue::Milli(_)
                | TagValue::Ints(_)
                | TagValue::Millis(_)
                | TagValue::Texts(_) => {}
            }
        }
    }
    Ok(way(&found
        .iter()
        .map(|reading| (std::mem::discriminant(&reading.quality), std::mem::discriminant(&reading.value)))
        .collect::<Vec<_>>()))
}

/// Delimited children. States: joined again they are the input, empty places included.
fn lists(input: &[u8]) -> Result<u64, String> {
    let mut binding =
        Binding::new(Tag::Children, Address::Register(0), ValueType::Text { length: 600, pad: Pad::Zero });
    binding.split = Some(Split::Texts { delimiter: b'|' });
    let found = readings(&binding, Ok(TagValue::Bytes(input.to_vec())), Quality::Good, None);
    let [reading] = found.as_slice() else { return Err(format!("{} readings", found.len())) };
    let TagValue::Texts(texts) = &reading.value else { return Err(format!("{reading:?}")) };
    same("the list", &texts.join(&b'|'), &input.to_vec())?;
    Ok(texts.len().min(8) as u64)
}

thread_local! {
    static CONTEXT: ContextOwned = ContextOwned::new_default(Default::default(), DecodingOptions::minimal());
}

/// Variants as they come over the wire. States: what is good can be written back as the map's type, and reads the same again.
fn opcua_value(input: &[u8]) -> Result<u64, String> {
    let [kind, length, mode, order, bytes @ ..] = input else { return Ok(0) };
    let (mut binding, _) = binding([*kind, *length, *mode & 3, *order]);
    binding.address = Address::Node("ns=1;s=x".into());
    let data = CONTEXT.with(|context| DataValue::decode(&mut Cursor::new(bytes), &context.context()));
    let Ok(data) = data else { return Ok(1) };
    let found = value::readings(&binding, &data);
    let [reading] = found.as_slice() else { return Err(format!("{} readings", found.len())) };
    if reading.quality == Quality::Good {
        // A ByteString may stand for a text and hold what no String can; an integer may be of a wider type than the map's.
        let variant = match value::encode(binding.value, binding.scale, &reading.value) {
            Ok(variant) => variant,
            Err(OUT_OF_RANGE) => return Ok(2),
            Err(_) if matches!(binding.value, ValueType::Text { .. } | ValueType::Texts { .. }) => return Ok(3),
            Err(unfit) => return Err(format!("{reading:?} of {binding:?} cannot be written: {unfit:?}")),
        };
        let again = value::readings(&binding, &DataValue::value_only(variant));
        same("the value", &reading.value, &again[0].value)?;
        same("its quality", &reading.quality, &again[0].quality)?;
    }
    Ok(way(&(std::mem::discriminant(&reading.quality), std::mem::discriminant(&reading.value), data.value.is_some())))
}

/// How coders, labellers and scanners frame their lines: with escapes, with a beginning, with the same at both ends.
fn dialect(kind: u8) -> Dialect {
    let frames: [[&[u8]; 2]; 4] = [[b"", b"\r"], [b"", b"\r\n"], [b"\x02", b"\x03"], [b"\r\n", b"\r\n"]];
    let [begin, end] = frames[usize::from(kind % 4)];
    let escape = |byte: u8| (byte, format!("~{byte:02X}").into_bytes());
    let escapes = if kind & 4 == 0 { [b'~', b'|', 0x1D].map(escape).into() } else { Vec::new() };
    Dialect {
        begin: begin.to_vec(),
        end: end.to_vec(),
        send_end: end.to_vec(),
        delimiter: b'|',
        escapes,
        line_max: 80,
        commands: Vec::new(),
        scan: None,
        no_read: Vec::new(),
        mark: None,
    }
}

/// All lines of a stream that comes in pieces, and what ended it.
fn lines(dialect: &Dialect, stream: &[u8], piece: usize) -> (Vec<Vec<u8>>, Option<Malformed>) {
    let (mut framer, mut lines) = (Framer::default(), Vec::new());
    for bytes in stream.chunks(piece) {
        framer.push(bytes);
        loop {
            match framer.next(dialect) {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => break,
                Err(malformed) => return (lines, Some(malformed)),
            }
        }
    }
    (lines, None)
}

/// The text protocol. States: however a stream is cut, its lines are the same; with their frames they are what came first in it,
/// and none is longer than the dialect allows; fields with their escapes again are read the same; a kept field is the one in its
/// place; a number is the digits that stand there, and a text is its bytes.
fn coder(input: &[u8]) -> Result<u64, String> {
    let [kind, piece, stream @ ..] = input else { return Ok(0) };
    let dialect = dialect(*kind);
    let (found, ended) = lines(&dialect, stream, stream.len().max(1));
    let cut = lines(&dialect, stream, usize::from(piece % 16) + 1);
    same("the lines of a cut stream", &found, &cut.0)?;
    // A line without end is noticed when enough of it has come; what it was taken for until then may differ.
    same("whether it ended well", &ended.is_some(), &cut.1.is_some())?;
    let framed = found.iter().flat_map(|line| [&dialect.begin[..], line, &dialect.end].concat());
    let framed: Vec<u8> = framed.collect();
    same("what came first", &Some(&framed[..]), &stream.get(..framed.len()))?;
    let mut ways = Vec::new();
    for line in &found {
        if line.len() > dialect.line_max {
            return Err(format!("a line of {} bytes", line.len()));
        }
        ways.push(answer(&dialect, line)?);
    }
    ways.truncate(3);
    Ok(way(&ended) ^ hash(format!("{ways:?}{}", found.len().min(4)).as_bytes()))
}

/// One line as an answer.
fn answer(dialect: &Dialect, line: &[u8]) -> Result<u64, String> {
    let Ok(found) = parse::fields(dialect, line) else { return Ok(1) };
    let sent = |byte: &u8| dialect.escapes.iter().find(|(escaped, _)| escaped == byte).map(|(_, sent)| sent.clone());
    let escaped =
        |field: &Vec<u8>| field.iter().flat_map(|byte| sent(byte).unwrap_or(vec![*byte])).collect::<Vec<u8>>();
    let again = found.iter().map(escaped).collect::<Vec<_>>().join(&dialect.delimiter);
    same("the fields", &Ok(found.clone()), &parse::fields(dialect, &again))?;
    let slots = [Slot::Literal(b"GPC".to_vec()), Slot::Kept("a".into()), Slot::Ignored, Slot::Kept("b".into())];
    let Some(kept) = parse::matched(&slots, &found) else { return Ok(2 + found.len().min(6) as u64) };
    same("the kept fields", &kept.iter().map(|(_, field)| field).collect::<Vec<_>>(), &vec![&found[1], &found[3]])?;
    let of = |value| Binding::new(Tag::PrintedSeq, Address::Made, value);
    let values = [ValueType::Number(Number::U16), ValueType::Bool, ValueType::Text { length: 20, pad: Pad::Zero }];
    let values = values.map(|value| text::decode(&of(value), &found[1]));
    for value in values.iter().flatten() {
        match value {
            TagValue::Int(number) => {
                let digits = std::str::from_utf8(&found[1]).map_err(|_| "a number that is no text")?;
                same("a number", &digits.parse::<i64>().ok().filter(|_| !digits.starts_with('+')), &Some(*number))?;
            }
            TagValue::Bool(flag) => same("a flag", &vec![b'0' + u8::from(*flag)], &found[1])?,
            TagValue::Bytes(bytes) => same("a text", bytes, &found[1])?,
            TagValue::Milli(_) | TagValue::Ints(_) | TagValue::Millis(_) | TagValue::Texts(_) => {
                return Err(format!("{value:?} of a text protocol"));
            }
        }
    }
    Ok(16 + values.iter().map(|value| u64::from(value.is_some())).fold(0, |all, bit| all << 1 | bit))
}
