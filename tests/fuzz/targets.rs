//! The targets, and what each of them states. A target answers with the way it took, so that new ways are kept.

use std::fmt::Debug;
use std::io::Cursor;

use opcua::types::{BinaryDecodable, ContextOwned, DataValue, DecodingOptions};
use sealgate::device::parsers::codec::{OUT_OF_RANGE, RegisterOrder, decode_cells, encode_cells, readings, tags};
use sealgate::device::parsers::frame::{self, Answer, Block, Question};
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

/// The text protocol of coders joins here once it is there: `Target { name: "coder", .. }`.
pub(crate) const ALL: &[Target] = &[
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
    let found = readings(&binding, Some(given), Quality::Good, None);
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
    let found = readings(&binding, Some(TagValue::Bytes(input.to_vec())), Quality::Good, None);
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
