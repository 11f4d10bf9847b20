//! OPC UA variants to tag values and back.
//!
//! Reading accepts any type of the family that the map names (any integer for an integer), since the value itself says its type;
//! another family, another array length, NaN, or nothing at all with a good status is bad. Writing uses exactly the map's type:
//! some servers take a wrong one and store it.

use opcua::types::{Array, ByteString, DataValue, DateTime, UAString, Variant, VariantScalarTypeId};

use crate::{
    device::{
        codec::{self, OUT_OF_RANGE, Plain, TYPE_MISMATCH, Unfit, ints, millis, scaled, to_bool, to_plain, unpadded},
        opcua::part,
        settings::{Binding, Number, Part, ValueType},
    },
    domain::tag::{Quality, Reading, TagValue},
};

/// Between 1601-01-01, where OPC UA counts from, and 1970-01-01.
const UNIX_EPOCH_US: i64 = 11_644_473_600_000_000;

/// The readings of one binding from what the server answered for its node.
pub fn readings(binding: &Binding, data: &DataValue) -> Vec<Reading> {
    let source_us = data.source_timestamp.as_ref().and_then(to_unix_us);
    let status = data.status.unwrap_or_default();
    let quality = if status.is_bad() {
        Quality::Bad(status.bits())
    } else if status.is_uncertain() {
        Quality::Uncertain(status.bits())
    } else {
        Quality::Good
    };
    let value = match quality {
        Quality::Bad(_) => Err(Vec::new()),
        Quality::Good | Quality::Uncertain(_) => match &data.value {
            Some(variant) => own_value(binding, variant).ok_or_else(|| found(variant).into_bytes()),
            None => Err(Vec::new()),
        },
    };
    codec::readings(binding, value, quality, source_us)
}

/// Its type, and its value where it is a single one.
fn found(variant: &Variant) -> String {
    match variant {
        Variant::Empty | Variant::Array(_) => kind_of(variant),
        _ => format!("{} {variant}", kind_of(variant)),
    }
}

/// The type of a value, as the standard calls it.
pub(super) fn kind_of(variant: &Variant) -> String {
    match variant {
        Variant::Empty => String::new(),
        Variant::Array(array) => format!("{:?}[{}]", array.value_type, array.values.len()),
        _ => variant.scalar_type_id().map_or_else(String::new, |kind| format!("{kind:?}")),
    }
}

fn own_value(binding: &Binding, variant: &Variant) -> Option<TagValue> {
    let picked = if binding.part == Part::default() { None } else { Some(part::pick(&binding.part, variant)?) };
    let variant = picked.as_ref().unwrap_or(variant);
    match binding.bit {
        Some(bit) => flag(bit, variant),
        None => decode(binding.value, binding.scale, variant),
    }
}

/// A binding whose node could not even be asked for.
pub(super) fn unread(binding: &Binding, status: u32) -> Vec<Reading> {
    codec::readings(binding, Err(Vec::new()), Quality::Bad(status), None)
}

/// The newest time that the server gives to any of these values.
pub(super) fn newest_server_us(values: &[DataValue]) -> Option<i64> {
    values.iter().filter_map(|data| data.server_timestamp.as_ref().and_then(to_unix_us)).max()
}

pub(super) fn to_unix_us(time: &DateTime) -> Option<i64> {
    (time.ticks() / 10).checked_sub(UNIX_EPOCH_US)
}

/// The value of what a server shows or a client writes; `None` where it is not of the type's family.
pub fn decode(value: ValueType, scale: Option<i64>, variant: &Variant) -> Option<TagValue> {
    match (value, variant) {
        (ValueType::Bool, Variant::Boolean(value)) => Some(TagValue::Bool(*value)),
        (ValueType::Number(number), _) => scaled(plain(number, variant)?, scale),
        (ValueType::Text { length, pad }, _) => Some(TagValue::Bytes(unpadded(bytes(variant, length)?, pad))),
        (ValueType::Bytes { length }, Variant::ByteString(_)) => Some(TagValue::Bytes(bytes(variant, length)?)),
        (ValueType::Ints { element, count }, Variant::Array(array)) => {
            let values = elements(array, count)?.iter();
            let values: Option<Vec<_>> = values.map(|value| plain(element, value)).collect();
            ints(values?.into_iter())
        }
        (ValueType::Millis { element, count }, Variant::Array(array)) => {
            let values = elements(array, count)?.iter();
            let values: Option<Vec<_>> = values.map(|value| plain(element, value)).collect();
            millis(values?.into_iter(), scale)
        }
        (ValueType::Texts { length, count, pad }, Variant::Array(array)) => {
            let texts = elements(array, count)?.iter().map(|text| Some(unpadded(bytes(text, length)?, pad)));
            texts.collect::<Option<Vec<_>>>().map(TagValue::Texts)
        }
        (
            ValueType::Bool
            | ValueType::Bytes { .. }
            | ValueType::Ints { .. }
            | ValueType::Millis { .. }
            | ValueType::Texts { .. },
            _,
        ) => None,
    }
}

/// One bit of a word.
fn flag(bit: u8, variant: &Variant) -> Option<TagValue> {
    match plain(Number::I64, variant)? {
        Plain::Int(word) => Some(TagValue::Bool(word >> bit.min(63) & 1 == 1)),
        Plain::Float(_) => None,
    }
}

fn elements(array: &Array, count: u16) -> Option<&[Variant]> {
    (array.values.len() == usize::from(count)).then_some(array.values.as_slice())
}

fn plain(number: Number, variant: &Variant) -> Option<Plain> {
    let plain = match variant {
        Variant::SByte(value) => Plain::Int(i64::from(*value)),
        Variant::Byte(value) => Plain::Int(i64::from(*value)),
        Variant::Int16(value) => Plain::Int(i64::from(*value)),
        Variant::UInt16(value) => Plain::Int(i64::from(*value)),
        Variant::Int32(value) => Plain::Int(i64::from(*value)),
        Variant::UInt32(value) => Plain::Int(i64::from(*value)),
        Variant::Int64(value) => Plain::Int(*value),
        Variant::UInt64(value) => Plain::Int(i64::try_from(*value).ok()?),
        Variant::Float(value) => Plain::Float(f64::from(*value)),
        Variant::Double(value) => Plain::Float(*value),
        // A time is a counter too: of microseconds, or of seconds where the map's type holds no more.
        Variant::DateTime(time) => {
            let micros = to_unix_us(time)?;
            Plain::Int(if number.registers() < 4 { micros.div_euclid(1_000_000) } else { micros })
        }
        _ => return None,
    };
    let is_float = matches!(plain, Plain::Float(_));
    (is_float == number.is_float()).then_some(plain)
}

/// A null string is an empty one: most servers do not tell them apart. Too long is no value, never a cut one.
fn bytes(variant: &Variant, length: u16) -> Option<Vec<u8>> {
    let bytes = match variant {
        Variant::String(text) => text.as_ref().as_bytes(),
        Variant::ByteString(bytes) => bytes.value.as_deref().unwrap_or_default(),
        Variant::LocalizedText(text) => text.text.as_ref().as_bytes(),
        _ => return None,
    };
    (bytes.len() <= usize::from(length)).then(|| bytes.to_vec())
}

/// The variant of exactly the type that the map says.
pub fn encode(value: ValueType, scale: Option<i64>, tag_value: &TagValue) -> Result<Variant, Unfit> {
    match (value, tag_value) {
        (ValueType::Bool, _) => to_bool(tag_value).map(Variant::Boolean),
        (ValueType::Number(number), _) => number_variant(number, scale, tag_value),
        (ValueType::Text { length, .. }, TagValue::Bytes(text)) => text_variant(length, text),
        (ValueType::Bytes { length }, TagValue::Bytes(bytes)) => {
            if bytes.len() > usize::from(length) {
                return Err(OUT_OF_RANGE);
            }
            Ok(Variant::ByteString(ByteString::from(bytes.clone())))
        }
        (ValueType::Ints { element, count }, TagValue::Ints(values)) => array(
            scalar(element),
            count,
            values.iter().map(|value| number_variant(element, None, &TagValue::Int(*value))),
        ),
        (ValueType::Millis { element, count }, TagValue::Millis(values)) => array(
            scalar(element),
            count,
            values.iter().map(|value| number_variant(element, scale, &TagValue::Milli(*value))),
        ),
        (ValueType::Texts { length, count, .. }, TagValue::Texts(texts)) => {
            array(VariantScalarTypeId::String, count, texts.iter().map(|text| text_variant(length, text)))
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

fn number_variant(number: Number, scale: Option<i64>, value: &TagValue) -> Result<Variant, Unfit> {
    let range = |_| OUT_OF_RANGE;
    Ok(match (number, to_plain(number, scale, value)?) {
        (Number::U16, Plain::Int(v)) => Variant::UInt16(v.try_into().map_err(range)?),
        (Number::I16, Plain::Int(v)) => Variant::Int16(v.try_into().map_err(range)?),
        (Number::U32, Plain::Int(v)) => Variant::UInt32(v.try_into().map_err(range)?),
        (Number::I32, Plain::Int(v)) => Variant::Int32(v.try_into().map_err(range)?),
        (Number::U64, Plain::Int(v)) => Variant::UInt64(v.try_into().map_err(range)?),
        (Number::I64, Plain::Int(v)) => Variant::Int64(v),
        (Number::F32, Plain::Float(v)) => Variant::Float(v as f32),
        (Number::F64, Plain::Float(v)) => Variant::Double(v),
        (Number::F32 | Number::F64, Plain::Int(_))
        | (Number::U16 | Number::I16 | Number::U32 | Number::I32 | Number::U64 | Number::I64, Plain::Float(_)) => {
            return Err(TYPE_MISMATCH);
        }
    })
}

fn scalar(number: Number) -> VariantScalarTypeId {
    match number {
        Number::U16 => VariantScalarTypeId::UInt16,
        Number::I16 => VariantScalarTypeId::Int16,
        Number::U32 => VariantScalarTypeId::UInt32,
        Number::I32 => VariantScalarTypeId::Int32,
        Number::U64 => VariantScalarTypeId::UInt64,
        Number::I64 => VariantScalarTypeId::Int64,
        Number::F32 => VariantScalarTypeId::Float,
        Number::F64 => VariantScalarTypeId::Double,
    }
}

/// An OPC UA String is UTF-8; bytes that are not belong in a ByteString.
fn text_variant(length: u16, text: &[u8]) -> Result<Variant, Unfit> {
    if text.len() > usize::from(length) {
        return Err(OUT_OF_RANGE);
    }
    let text = std::str::from_utf8(text).map_err(|_| TYPE_MISMATCH)?;
    Ok(Variant::String(UAString::from(text)))
}

fn array(
    kind: VariantScalarTypeId,
    count: u16,
    values: impl Iterator<Item = Result<Variant, Unfit>>,
) -> Result<Variant, Unfit> {
    let values = values.collect::<Result<Vec<_>, _>>()?;
    if values.len() != usize::from(count) {
        return Err(OUT_OF_RANGE);
    }
    let array = Array::new(kind, values).map_err(|_| TYPE_MISMATCH)?;
    Ok(Variant::Array(Box::new(array)))
}

#[cfg(test)]
mod tests {
    use opcua::types::StatusCode;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        device::settings::{Address, Pad},
        domain::tag::Tag,
    };

    fn read(value: ValueType, data: DataValue) -> Reading {
        let binding = Binding::new(Tag::Code, Address::Node("ns=1;s=x".into()), value);
        readings(&binding, &data).remove(0)
    }

    const U32: ValueType = ValueType::Number(Number::U32);
    const TEXT: ValueType = ValueType::Text { length: 8, pad: Pad::Zero };

    #[test]
    fn nothing_with_a_good_status_is_bad() {
        let null = DataValue { status: Some(StatusCode::Good), ..Default::default() };
        assert_eq!(read(U32, null).quality, Quality::Bad(0));
        assert_eq!(read(U32, DataValue::value_only(Variant::Empty)).quality, Quality::Bad(0));
    }

    #[test]
    fn another_family_nan_a_long_text_and_a_wrong_array_length_are_bad() {
        let cases = [
            (U32, Variant::from("12")),
            (U32, Variant::from(12.0f64)),
            (ValueType::Number(Number::F64), Variant::from(f64::NAN)),
            (TEXT, Variant::from("123456789")),
            (TEXT, Variant::from(1u32)),
            (ValueType::Ints { element: Number::U32, count: 3 }, Variant::from(vec![1u32, 2])),
        ];
        for (value, variant) in cases {
            let found = read(value, DataValue::value_only(variant.clone()));
            assert_eq!(found.quality, Quality::Bad(0), "{variant:?}");
        }
    }

    #[test]
    fn bad_and_uncertain_keep_their_codes_and_bad_keeps_no_value() {
        let with = |status| DataValue { value: Some(Variant::from(7u32)), status: Some(status), ..Default::default() };
        let bad = read(U32, with(StatusCode::BadSensorFailure));
        assert_eq!(bad.quality, Quality::Bad(StatusCode::BadSensorFailure.bits()));
        assert_eq!(bad.value, TagValue::Int(0));
        let uncertain = read(U32, with(StatusCode::UncertainLastUsableValue));
        assert_eq!(uncertain.quality, Quality::Uncertain(StatusCode::UncertainLastUsableValue.bits()));
        assert_eq!(uncertain.value, TagValue::Int(7));
    }

    #[test]
    fn the_source_time_counts_from_1970() {
        let mut data = DataValue::value_only(Variant::from(1u32));
        data.source_timestamp = Some(DateTime::ymd_hms(2001, 9, 9, 1, 46, 40));
        assert_eq!(read(U32, data).source_us, Some(1_000_000_000_000_000));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(text in "[ -~]{0,8}", number in any::<u32>(), milli in -1_000_000i64..1_000_000) {
            let text = TagValue::Bytes(text.into_bytes());
            prop_assert_eq!(decode(TEXT, None, &encode(TEXT, None, &text).unwrap()), Some(text));
            let number = TagValue::Int(i64::from(number));
            prop_assert_eq!(decode(U32, None, &encode(U32, None, &number).unwrap()), Some(number));
            for float in [Number::F32, Number::F64] {
                let float = ValueType::Number(float);
                let milli = TagValue::Milli(milli);
                prop_assert_eq!(decode(float, None, &encode(float, None, &milli).unwrap()), Some(milli));
            }
        }
    }

    #[test]
    fn writes_exactly_the_type_of_the_map() {
        let int = TagValue::Int(7);
        let of = |number| encode(ValueType::Number(number), None, &int);
        assert_eq!(of(Number::U16), Ok(Variant::UInt16(7)));
        assert_eq!(of(Number::I32), Ok(Variant::Int32(7)));
        assert_eq!(of(Number::F64), Ok(Variant::Double(7.0)));
        let bool = TagValue::Bool(true);
        assert_eq!(encode(ValueType::Bool, None, &bool), Ok(Variant::Boolean(true)));
        let raw = TagValue::Bytes(vec![0xff]);
        assert_eq!(encode(TEXT, None, &raw), Err(TYPE_MISMATCH));
        assert_eq!(
            encode(ValueType::Bytes { length: 1 }, None, &raw),
            Ok(Variant::ByteString(ByteString::from(vec![0xff])))
        );
    }
}
