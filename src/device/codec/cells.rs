//! One binding's registers or bits to its value and back: the types of [`super`], and what a map may say beyond them: a bit of a
//! register, a text with a terminator of its own, a text that says how long it is.

use super::{
    OUT_OF_RANGE, RegisterOrder, TYPE_MISMATCH, Unfit, decode_registers, encode_registers, swapped, to_bytes, to_words,
};
use crate::{
    device::settings::{Binding, Pad, ValueType},
    domain::tag::TagValue,
};

/// The value of `words`, which must be as many as the binding fills; `None` where they mean nothing.
pub fn decode_cells(binding: &Binding, order: RegisterOrder, words: &[u16]) -> Option<TagValue> {
    match (binding.value, binding.bit, words) {
        (ValueType::Bool, Some(bit), [word]) => {
            let mask = 1u16.checked_shl(u32::from(bit))?;
            Some(TagValue::Bool(swapped(order.byte, *word) & mask != 0))
        }
        (ValueType::Text { length, .. }, None, [count, words @ ..]) if binding.counted => {
            (words.len() == usize::from(length.div_ceil(2))).then_some(())?;
            let mut bytes = to_bytes(order.byte, words);
            bytes.truncate(usize::from(length));
            let count = usize::from(swapped(order.byte, *count));
            bytes.get(..count).map(|text| TagValue::Bytes(text.to_vec()))
        }
        (ValueType::Text { length, pad }, None, words) if binding.terminator.is_some() => {
            (words.len() == usize::from(binding.cells())).then_some(())?;
            terminated(binding.terminator?, (length, pad), order, words).map(TagValue::Bytes)
        }
        (ValueType::Texts { length, pad, .. }, None, words) if binding.terminator.is_some() => {
            (words.len() == usize::from(binding.cells())).then_some(())?;
            let width = usize::from(length.div_ceil(2)).max(1);
            let end = binding.terminator?;
            let texts = words.chunks(width).map(|words| terminated(end, (length, pad), order, words));
            texts.collect::<Option<Vec<_>>>().map(TagValue::Texts)
        }
        (_, Some(_), _) => None,
        (value, None, words) => decode_registers(value, binding.scale, order, words),
    }
}

/// What stands before the terminator. Nothing but padding is an empty text; anything else without an end is cut off, or torn.
fn terminated(end: u8, (length, pad): (u16, Pad), order: RegisterOrder, words: &[u16]) -> Option<Vec<u8>> {
    let mut bytes = to_bytes(order.byte, words);
    bytes.truncate(usize::from(length));
    match bytes.iter().position(|byte| *byte == end) {
        Some(at) => {
            bytes.truncate(at);
            Some(bytes)
        }
        None if bytes.iter().all(|byte| *byte == 0 || *byte == super::pad_byte(pad)) => Some(Vec::new()),
        None => None,
    }
}

/// The registers that carry the value, as many as the binding fills.
pub fn encode_cells(binding: &Binding, order: RegisterOrder, value: &TagValue) -> Result<Vec<u16>, Unfit> {
    match (binding.value, binding.terminator, value) {
        // One bit of a register cannot be written without the others, which are not ours.
        _ if binding.bit.is_some() => Err(TYPE_MISMATCH),
        (ValueType::Text { length, pad }, _, TagValue::Bytes(text)) if binding.counted => {
            let count = u16::try_from(text.len()).ok().filter(|count| *count <= length).ok_or(OUT_OF_RANGE)?;
            let mut bytes = text.clone();
            bytes.resize(usize::from(length), super::pad_byte(pad));
            let mut words = vec![swapped(order.byte, count)];
            words.extend(to_words(order.byte, &bytes, super::pad_byte(pad)));
            Ok(words)
        }
        (ValueType::Text { length, pad }, Some(end), TagValue::Bytes(text)) => ended(end, (length, pad), order, text),
        (ValueType::Texts { length, count, pad }, Some(end), TagValue::Texts(texts)) => {
            super::fits(texts.len(), count)?;
            let each = texts.iter().map(|text| ended(end, (length, pad), order, text));
            Ok(each.collect::<Result<Vec<_>, _>>()?.concat())
        }
        _ => encode_registers(binding.value, binding.scale, order, value),
    }
}

/// An empty text is padding alone, which is how an empty place reads.
fn ended(end: u8, (length, pad): (u16, Pad), order: RegisterOrder, text: &[u8]) -> Result<Vec<u16>, Unfit> {
    let fill = super::pad_byte(pad);
    let mut bytes = text.to_vec();
    if !bytes.is_empty() {
        bytes.push(end);
    }
    if bytes.len() > usize::from(length) || text.contains(&end) {
        return Err(OUT_OF_RANGE);
    }
    bytes.resize(usize::from(length), fill);
    Ok(to_words(order.byte, &bytes, fill))
}
