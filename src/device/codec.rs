//! Registers to values and back: Modbus holding registers, in every word and byte order, and the pieces of a delimited text.
//!
//! Texts are bytes and stay bytes: never parsed as numbers, never made valid UTF-8. A number that does not fit its type, a float
//! that is no number, a text that could not be read back the same: refused, never bent.

use crate::{
    device::settings::Binding,
    device::settings::{ByteOrder, FieldKind, Number, Pad, Split, ValueType, WordOrder},
    domain::tag::{Nature, Quality, Reading, Tag, TagValue},
};

mod cells;

pub use super::unfit::{OUT_OF_RANGE, TYPE_MISMATCH, Unfit};
pub use cells::{decode_cells, encode_cells};

/// How numbers and texts lie in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterOrder {
    pub word: WordOrder,
    pub byte: ByteOrder,
}

/// Thousandths that an f64 still tells apart.
const MILLI_MAX: f64 = 9_007_199_254_740_992.0;

/// The value of `words`, which must be as many as the type fills; `None` where they mean nothing.
pub fn decode_registers(value: ValueType, scale: Option<i64>, order: RegisterOrder, words: &[u16]) -> Option<TagValue> {
    if words.len() != usize::from(value.registers()) {
        return None;
    }
    match value {
        ValueType::Bool => Some(TagValue::Bool(*words.first()? != 0)),
        ValueType::Number(number) => scaled(decode_number(number, order, words)?, scale),
        ValueType::Text { length, pad } => Some(TagValue::Bytes(decode_text(length, pad, order, words))),
        ValueType::Bytes { length } => {
            let mut bytes = to_bytes(order.byte, words);
            bytes.truncate(usize::from(length));
            Some(TagValue::Bytes(bytes))
        }
        ValueType::Ints { element, .. } => {
            let values = numbers(element, order, words)?;
            ints(values.into_iter())
        }
        ValueType::Millis { element, .. } => {
            let values = numbers(element, order, words)?;
            millis(values.into_iter(), scale)
        }
        ValueType::Texts { length, pad, .. } => {
            let width = usize::from(length.div_ceil(2)).max(1);
            let texts = words.chunks(width).map(|words| decode_text(length, pad, order, words));
            Some(TagValue::Texts(texts.collect()))
        }
    }
}

/// The registers that carry `tag_value`, as many as the type fills.
pub fn encode_registers(
    value: ValueType,
    scale: Option<i64>,
    order: RegisterOrder,
    tag_value: &TagValue,
) -> Result<Vec<u16>, Unfit> {
    match (value, tag_value) {
        (ValueType::Bool, _) => Ok(vec![u16::from(to_bool(tag_value)?)]),
        (ValueType::Number(number), _) => encode_number(number, order, to_plain(number, scale, tag_value)?),
        (ValueType::Text { length, pad }, TagValue::Bytes(text)) => encode_text(length, pad, order, text),
        (ValueType::Bytes { length }, TagValue::Bytes(bytes)) => {
            if bytes.len() != usize::from(length) {
                return Err(OUT_OF_RANGE);
            }
            Ok(to_words(order.byte, bytes, 0))
        }
        (ValueType::Ints { element, count }, TagValue::Ints(values)) => {
            fits(values.len(), count)?;
            let each = values.iter().map(|value| {
                let plain = to_plain(element, None, &TagValue::Int(*value))?;
                encode_number(element, order, plain)
            });
            Ok(each.collect::<Result<Vec<_>, _>>()?.concat())
        }
        (ValueType::Millis { element, count }, TagValue::Millis(values)) => {
            fits(values.len(), count)?;
            let each = values.iter().map(|value| {
                let plain = to_plain(element, scale, &TagValue::Milli(*value))?;
                encode_number(element, order, plain)
            });
            Ok(each.collect::<Result<Vec<_>, _>>()?.concat())
        }
        (ValueType::Texts { length, count, pad }, TagValue::Texts(texts)) => {
            fits(texts.len(), count)?;
            let each = texts.iter().map(|text| encode_text(length, pad, order, text));
            Ok(each.collect::<Result<Vec<_>, _>>()?.concat())
        }
        (
            ValueType::Text { .. }
            | ValueType::Bytes { .. }
            | ValueType::Ints { .. }
            | ValueType::Millis { .. }
            | ValueType::Texts { .. },
            _,
        ) => Err(TYPE_MISMATCH),
    }
}

fn fits(len: usize, count: u16) -> Result<(), Unfit> {
    if len == usize::from(count) { Ok(()) } else { Err(OUT_OF_RANGE) }
}

/// A number as it stands on the wire, before any scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Plain {
    Int(i64),
    Float(f64),
}

/// An integer stays one unless the map gives a scale; a float is always thousandths. `None` where it leaves the range.
pub(super) fn scaled(plain: Plain, scale: Option<i64>) -> Option<TagValue> {
    match (plain, scale) {
        (Plain::Int(value), None) => Some(TagValue::Int(value)),
        (Plain::Int(_), Some(_)) | (Plain::Float(_), _) => milli(plain, scale).map(TagValue::Milli),
    }
}

pub(super) fn milli(plain: Plain, scale: Option<i64>) -> Option<i64> {
    match plain {
        Plain::Int(value) => value.checked_mul(scale.unwrap_or(1000)),
        Plain::Float(value) => {
            let thousandths = (value * 1000.0).round();
            // NaN and the infinities fail the comparison.
            (thousandths.abs() <= MILLI_MAX).then_some(thousandths as i64)
        }
    }
}

pub(super) fn ints(values: impl Iterator<Item = Plain>) -> Option<TagValue> {
    let each = values.map(|plain| match plain {
        Plain::Int(value) => Some(value),
        Plain::Float(_) => None,
    });
    each.collect::<Option<Vec<_>>>().map(TagValue::Ints)
}

pub(super) fn millis(values: impl Iterator<Item = Plain>, scale: Option<i64>) -> Option<TagValue> {
    values.map(|plain| milli(plain, scale)).collect::<Option<Vec<_>>>().map(TagValue::Millis)
}

pub(super) fn to_bool(value: &TagValue) -> Result<bool, Unfit> {
    match value {
        TagValue::Bool(value) => Ok(*value),
        TagValue::Int(0) => Ok(false),
        TagValue::Int(1) => Ok(true),
        TagValue::Int(_) => Err(OUT_OF_RANGE),
        TagValue::Milli(_) | TagValue::Bytes(_) | TagValue::Ints(_) | TagValue::Millis(_) | TagValue::Texts(_) => {
            Err(TYPE_MISMATCH)
        }
    }
}

/// The wire's number for a value; refused where the scale would have to round it.
pub(super) fn to_plain(number: Number, scale: Option<i64>, value: &TagValue) -> Result<Plain, Unfit> {
    let thousandths = match value {
        TagValue::Int(value) if !number.is_float() && scale.is_none() => {
            return Ok(Plain::Int(*value));
        }
        TagValue::Int(value) => value.checked_mul(1000).ok_or(OUT_OF_RANGE)?,
        TagValue::Bool(value) if !number.is_float() => return Ok(Plain::Int(i64::from(*value))),
        TagValue::Milli(value) => *value,
        TagValue::Bool(_) | TagValue::Bytes(_) | TagValue::Ints(_) | TagValue::Millis(_) | TagValue::Texts(_) => {
            return Err(TYPE_MISMATCH);
        }
    };
    if number.is_float() {
        return Ok(Plain::Float(thousandths as f64 / 1000.0));
    }
    let per_count = scale.unwrap_or(1000);
    // A remainder would be lost; a scale of 0 divides nothing.
    if thousandths.checked_rem(per_count) != Some(0) {
        return Err(OUT_OF_RANGE);
    }
    thousandths.checked_div(per_count).map(Plain::Int).ok_or(OUT_OF_RANGE)
}

fn numbers(element: Number, order: RegisterOrder, words: &[u16]) -> Option<Vec<Plain>> {
    words.chunks(usize::from(element.registers())).map(|words| decode_number(element, order, words)).collect()
}

fn decode_number(number: Number, order: RegisterOrder, words: &[u16]) -> Option<Plain> {
    let mut bits = 0u64;
    let join = |bits: u64, word: &u16| bits << 16 | u64::from(swapped(order.byte, *word));
    match order.word {
        WordOrder::HighFirst => words.iter().for_each(|word| bits = join(bits, word)),
        WordOrder::LowFirst => words.iter().rev().for_each(|word| bits = join(bits, word)),
    }
    // The casts cut to the width that was just read, and reinterpret the sign.
    Some(match number {
        Number::U16 | Number::U32 => Plain::Int(i64::try_from(bits).ok()?),
        Number::I16 => Plain::Int(i64::from(bits as i16)),
        Number::I32 => Plain::Int(i64::from(bits as i32)),
        Number::U64 => Plain::Int(i64::try_from(bits).ok()?),
        Number::I64 => Plain::Int(bits as i64),
        Number::F32 => Plain::Float(f64::from(f32::from_bits(bits as u32))),
        Number::F64 => Plain::Float(f64::from_bits(bits)),
    })
}

fn encode_number(number: Number, order: RegisterOrder, plain: Plain) -> Result<Vec<u16>, Unfit> {
    let bits = match (number, plain) {
        (Number::U16, Plain::Int(v)) => u64::from(u16::try_from(v).map_err(|_| OUT_OF_RANGE)?),
        (Number::I16, Plain::Int(v)) => i16::try_from(v).map_err(|_| OUT_OF_RANGE)? as u64,
        (Number::U32, Plain::Int(v)) => u64::from(u32::try_from(v).map_err(|_| OUT_OF_RANGE)?),
        (Number::I32, Plain::Int(v)) => i32::try_from(v).map_err(|_| OUT_OF_RANGE)? as u64,
        (Number::U64, Plain::Int(v)) => u64::try_from(v).map_err(|_| OUT_OF_RANGE)?,
        (Number::I64, Plain::Int(v)) => v as u64,
        (Number::F32, Plain::Float(v)) => u64::from((v as f32).to_bits()),
        (Number::F64, Plain::Float(v)) => v.to_bits(),
        (Number::F32 | Number::F64, Plain::Int(_))
        | (Number::U16 | Number::I16 | Number::U32 | Number::I32 | Number::U64 | Number::I64, Plain::Float(_)) => {
            return Err(TYPE_MISMATCH);
        }
    };
    let low_first = (0..number.registers()).map(|i| swapped(order.byte, (bits >> (16 * i)) as u16));
    Ok(match order.word {
        WordOrder::LowFirst => low_first.collect(),
        WordOrder::HighFirst => low_first.rev().collect(),
    })
}

fn swapped(order: ByteOrder, word: u16) -> u16 {
    match order {
        ByteOrder::HighFirst => word,
        ByteOrder::LowFirst => word.swap_bytes(),
    }
}

fn to_bytes(order: ByteOrder, words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| swapped(order, *word).to_be_bytes()).collect()
}

fn to_words(order: ByteOrder, bytes: &[u8], pad: u8) -> Vec<u16> {
    bytes
        .chunks(2)
        .map(|pair| {
            let high = pair.first().copied().unwrap_or(pad);
            let low = pair.get(1).copied().unwrap_or(pad);
            swapped(order, u16::from_be_bytes([high, low]))
        })
        .collect()
}

/// Ends at the first NUL: what follows it is what a longer text left behind.
fn decode_text(length: u16, pad: Pad, order: RegisterOrder, words: &[u16]) -> Vec<u8> {
    let mut bytes = to_bytes(order.byte, words);
    bytes.truncate(usize::from(length));
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    unpadded(bytes, pad)
}

fn encode_text(length: u16, pad: Pad, order: RegisterOrder, text: &[u8]) -> Result<Vec<u16>, Unfit> {
    let fill = pad_byte(pad);
    // A NUL inside, or padding at the end, would not be there any more when the device reads it.
    if text.len() > usize::from(length) || text.contains(&0) || text.last() == Some(&fill) {
        return Err(OUT_OF_RANGE);
    }
    let mut bytes = text.to_vec();
    bytes.resize(usize::from(length), fill);
    Ok(to_words(order.byte, &bytes, fill))
}

fn pad_byte(pad: Pad) -> u8 {
    match pad {
        Pad::Zero => 0,
        Pad::Space => b' ',
    }
}

/// Without the padding at the end.
pub(super) fn unpadded(mut bytes: Vec<u8>, pad: Pad) -> Vec<u8> {
    let fill = pad_byte(pad);
    while bytes.last() == Some(&fill) {
        bytes.pop();
    }
    bytes
}

/// What a bad reading holds where nothing is known of it: an empty value of the type, never the last good one.
pub(super) fn blank(value: ValueType, scale: Option<i64>) -> TagValue {
    match value {
        ValueType::Bool => TagValue::Bool(false),
        ValueType::Number(number) if number.is_float() || scale.is_some() => TagValue::Milli(0),
        ValueType::Number(_) => TagValue::Int(0),
        ValueType::Text { .. } | ValueType::Bytes { .. } => TagValue::Bytes(Vec::new()),
        ValueType::Ints { .. } => TagValue::Ints(Vec::new()),
        ValueType::Millis { .. } => TagValue::Millis(Vec::new()),
        ValueType::Texts { .. } => TagValue::Texts(Vec::new()),
    }
}

/// So much of what could not be decoded is told.
const FOUND_MAX: usize = 64;

/// What could be decoded, or what stood there instead, as a text and as far as that is known: it goes along with its bad quality, for
/// people.
pub type Decoded = Result<TagValue, Vec<u8>>;

/// The readings of one binding: one, or one for each field of a split text.
pub fn readings(binding: &Binding, value: Decoded, quality: Quality, source_us: Option<i64>) -> Vec<Reading> {
    let reading = |tag: Tag, value: Decoded, otherwise: TagValue| match value {
        Ok(value) => Reading { tag, value, quality, source_us },
        Err(found) => Reading {
            tag,
            value: match (tag.nature(), found.get(..FOUND_MAX).unwrap_or(&found)) {
                // Identifiers are secrets until they are commissioned.
                (Nature::Text | Nature::Texts, _) | (_, []) => otherwise,
                (_, found) => TagValue::Bytes(found.to_vec()),
            },
            quality: match quality {
                Quality::Bad(code) => Quality::Bad(code),
                Quality::Good | Quality::Uncertain(_) => Quality::Bad(0),
            },
            source_us,
        },
    };
    match &binding.split {
        None => vec![reading(binding.tag, value, blank(binding.value, binding.scale))],
        Some(Split::Texts { delimiter }) => {
            let texts = value.and_then(|value| match value {
                TagValue::Bytes(text) => Ok(TagValue::Texts(parts(&text, *delimiter))),
                TagValue::Bool(_)
                | TagValue::Int(_)
                | TagValue::Milli(_)
                | TagValue::Ints(_)
                | TagValue::Millis(_)
                | TagValue::Texts(_) => Err(Vec::new()),
            });
            vec![reading(binding.tag, texts, TagValue::Texts(Vec::new()))]
        }
        Some(Split::Fields { delimiter, fields }) => fields
            .iter()
            .enumerate()
            .map(|(index, field)| {
                let (delimiter, count) = (*delimiter, fields.len());
                let value = value.clone().and_then(|value| match value {
                    TagValue::Bytes(text) => {
                        let found = nth_field(&text, delimiter, index, count).ok_or(text.clone())?;
                        field_value(field.kind, found).ok_or(found.to_vec())
                    }
                    TagValue::Texts(texts) => {
                        let each = texts.iter().map(|text| nth_field(text, delimiter, index, count));
                        field_array(field.kind, each).ok_or(texts.join(&b' '))
                    }
                    TagValue::Bool(_)
                    | TagValue::Int(_)
                    | TagValue::Milli(_)
                    | TagValue::Ints(_)
                    | TagValue::Millis(_) => Err(Vec::new()),
                });
                let otherwise = match field.kind {
                    FieldKind::Int => TagValue::Int(0),
                    FieldKind::Decimal | FieldKind::Bytes => TagValue::Bytes(Vec::new()),
                };
                reading(field.tag, value, otherwise)
            })
            .collect(),
    }
}

/// The tags that a binding gives.
pub fn tags(binding: &Binding) -> Vec<Tag> {
    match &binding.split {
        None | Some(Split::Texts { .. }) => vec![binding.tag],
        Some(Split::Fields { fields, .. }) => fields.iter().map(|field| field.tag).collect(),
    }
}

fn parts(text: &[u8], delimiter: u8) -> Vec<Vec<u8>> {
    if text.is_empty() {
        return Vec::new();
    }
    text.split(|byte| *byte == delimiter).map(<[u8]>::to_vec).collect()
}

/// An empty text stands for empty fields: the device has no result yet. Otherwise a missing field is `None`.
fn nth_field(text: &[u8], delimiter: u8, index: usize, count: usize) -> Option<&[u8]> {
    if text.is_empty() {
        return Some(text);
    }
    text.splitn(count, |byte| *byte == delimiter).nth(index)
}

fn field_value(kind: FieldKind, text: &[u8]) -> Option<TagValue> {
    match kind {
        FieldKind::Int if text.is_empty() => Some(TagValue::Int(0)),
        FieldKind::Int => decimal(text, 0).map(TagValue::Int),
        FieldKind::Decimal => Some(match decimal(text, 3) {
            Some(thousandths) => TagValue::Milli(thousandths),
            None => TagValue::Bytes(text.to_vec()),
        }),
        FieldKind::Bytes => Some(TagValue::Bytes(text.to_vec())),
    }
}

fn field_array<'a>(kind: FieldKind, texts: impl Iterator<Item = Option<&'a [u8]>>) -> Option<TagValue> {
    let texts = texts.collect::<Option<Vec<_>>>()?;
    let decimals = |places| texts.iter().map(|text| whole(text, places)).collect();
    let kept = || TagValue::Texts(texts.iter().map(|text| text.to_vec()).collect());
    match kind {
        FieldKind::Int => Option::<Vec<_>>::map(decimals(0), TagValue::Ints),
        FieldKind::Decimal => Some(Option::<Vec<_>>::map_or_else(decimals(3), kept, TagValue::Millis)),
        FieldKind::Bytes => Some(kept()),
    }
}

fn whole(text: &[u8], places: u32) -> Option<i64> {
    if text.is_empty() { Some(0) } else { decimal(text, places) }
}

/// Digits with at most `places` decimals, as an integer of that many places. No sign, no blanks, no exponent.
fn decimal(text: &[u8], places: u32) -> Option<i64> {
    let mut split = text.splitn(2, |byte| *byte == b'.');
    let before = split.next()?;
    let after = split.next();
    if before.is_empty() || after.is_some_and(<[u8]>::is_empty) {
        return None;
    }
    let after = after.unwrap_or_default();
    let missing = places.checked_sub(u32::try_from(after.len()).ok()?)?;
    let digits = before.iter().chain(after);
    let value = digits.into_iter().try_fold(0i64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value.checked_mul(10)?.checked_add(i64::from(digit))
    })?;
    value.checked_mul(10i64.checked_pow(missing)?)
}

#[cfg(test)]
mod tests;
