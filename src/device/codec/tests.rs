//! The codec against tables of bytes, and there and back.

use proptest::prelude::*;

use super::*;
use crate::device::settings::{Address, Field};

fn orders() -> impl Strategy<Value = RegisterOrder> {
    (
        prop_oneof![Just(WordOrder::HighFirst), Just(WordOrder::LowFirst)],
        prop_oneof![Just(ByteOrder::HighFirst), Just(ByteOrder::LowFirst)],
    )
        .prop_map(|(word, byte)| RegisterOrder { word, byte })
}

fn integers() -> impl Strategy<Value = (Number, i64)> {
    prop_oneof![
        any::<u16>().prop_map(|v| (Number::U16, i64::from(v))),
        any::<i16>().prop_map(|v| (Number::I16, i64::from(v))),
        any::<u32>().prop_map(|v| (Number::U32, i64::from(v))),
        any::<i32>().prop_map(|v| (Number::I32, i64::from(v))),
        (0..=i64::MAX).prop_map(|v| (Number::U64, v)),
        any::<i64>().prop_map(|v| (Number::I64, v)),
    ]
}

fn texts(length: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(1u8.., 0..=length).prop_filter("padding at the end", |text| text.last() != Some(&b' '))
}

fn values() -> impl Strategy<Value = (ValueType, Option<i64>, TagValue)> {
    let milli = -16_000_000i64..16_000_000;
    let pad = prop_oneof![Just(Pad::Zero), Just(Pad::Space)];
    prop_oneof![
        any::<bool>().prop_map(|v| (ValueType::Bool, None, TagValue::Bool(v))),
        integers().prop_map(|(n, v)| (ValueType::Number(n), None, TagValue::Int(v))),
        any::<i16>().prop_map(|v| (ValueType::Number(Number::I16), Some(100), TagValue::Milli(i64::from(v) * 100))),
        milli.clone().prop_map(|v| (ValueType::Number(Number::F32), None, TagValue::Milli(v))),
        milli.clone().prop_map(|v| (ValueType::Number(Number::F64), None, TagValue::Milli(v))),
        (texts(21), 21u16..40, pad.clone()).prop_map(|(t, length, pad)| (
            ValueType::Text { length, pad },
            None,
            TagValue::Bytes(t)
        )),
        prop::collection::vec(any::<u8>(), 1..30).prop_map(|b| (
            ValueType::Bytes { length: b.len() as u16 },
            None,
            TagValue::Bytes(b)
        )),
        prop::collection::vec(any::<u32>(), 1..20).prop_map(|v| (
            ValueType::Ints { element: Number::U32, count: v.len() as u16 },
            None,
            TagValue::Ints(v.into_iter().map(i64::from).collect())
        )),
        prop::collection::vec(milli, 1..20).prop_map(|v| (
            ValueType::Millis { element: Number::F32, count: v.len() as u16 },
            None,
            TagValue::Millis(v)
        )),
        (prop::collection::vec(texts(9), 1..9), pad).prop_map(|(t, pad)| (
            ValueType::Texts { length: 9, count: t.len() as u16, pad },
            None,
            TagValue::Texts(t)
        )),
    ]
}

/// How a text lies in its place: padding, terminator, own count, with what it may hold.
fn text_modes() -> impl Strategy<Value = (Binding, TagValue)> {
    let pad = prop_oneof![Just(Pad::Zero), Just(Pad::Space)];
    let mode =
        prop_oneof![Just((None, false)), Just((Some(b'\r'), false)), Just((Some(b';'), false)), Just((None, true))];
    (pad, mode, prop::collection::vec(any::<u8>(), 0..=21), 22u16..40).prop_filter_map(
        "what the mode cannot carry",
        |(pad, (terminator, counted), text, length)| {
            let holds_end = terminator.is_some_and(|end| text.contains(&end));
            let is_cut = !counted && terminator.is_none() && (text.contains(&0) || text.last() == Some(&b' '));
            let mut binding = Binding::new(Tag::Code, Address::Register(0), ValueType::Text { length, pad });
            (binding.terminator, binding.counted) = (terminator, counted);
            (!holds_end && !is_cut).then_some((binding, TagValue::Bytes(text)))
        },
    )
}

proptest! {
    #[test]
    fn every_mode_of_a_text_round_trips_in_every_order((binding, text) in text_modes(), order in orders()) {
        let words = encode_cells(&binding, order, &text).unwrap();
        prop_assert_eq!(words.len(), usize::from(binding.cells()));
        prop_assert_eq!(decode_cells(&binding, order, &words), Some(text));
    }

    #[test]
    fn every_bit_of_a_register_is_read_where_it_lies(word in any::<u16>(), bit in 0u8..16, order in orders()) {
        let mut binding = Binding::new(Tag::Fault, Address::Register(0), ValueType::Bool);
        binding.bit = Some(bit);
        let (high, low) = (word >> 8, word & 0xFF);
        let swapped = if order.byte == ByteOrder::LowFirst { low << 8 | high } else { word };
        let found = decode_cells(&binding, order, &[word]);
        prop_assert_eq!(found, Some(TagValue::Bool(swapped >> bit & 1 == 1)));
        prop_assert_eq!(encode_cells(&binding, order, &TagValue::Bool(true)), Err(TYPE_MISMATCH));
    }

    #[test]
    fn every_type_round_trips_in_every_order((value, scale, tag_value) in values(), order in orders()) {
        let words = encode_registers(value, scale, order, &tag_value).unwrap();
        prop_assert_eq!(words.len(), usize::from(value.registers()));
        prop_assert_eq!(decode_registers(value, scale, order, &words), Some(tag_value));
    }

    #[test]
    fn any_registers_decode_or_are_refused(words in prop::collection::vec(any::<u16>(), 0..12), (value, scale, _) in values(), order in orders()) {
        let decoded = decode_registers(value, scale, order, &words);
        prop_assert!(decoded.is_none() || words.len() == usize::from(value.registers()));
    }

    #[test]
    fn delimited_fields_round_trip(seq in 0..i64::MAX, code in prop::collection::vec(any::<u8>(), 0..30)) {
        let mut text = format!("{seq};").into_bytes();
        text.extend(&code);
        let found = readings(&delimited(), Ok(TagValue::Bytes(text)), Quality::Good, None);
        prop_assert_eq!(&found[0].value, &TagValue::Int(seq));
        prop_assert_eq!(&found[1].value, &TagValue::Bytes(code));
    }
}

fn delimited() -> Binding {
    let mut binding = Binding::new(Tag::Seq, Address::Register(0), ValueType::Text { length: 64, pad: Pad::Zero });
    binding.split =
        Some(Split::Fields { delimiter: b';', fields: vec![Field::natural(Tag::Seq), Field::natural(Tag::Code)] });
    binding
}

const PLAIN: RegisterOrder = RegisterOrder { word: WordOrder::HighFirst, byte: ByteOrder::HighFirst };

#[test]
fn known_registers_mean_known_values_in_the_four_orders() {
    let u32_of = |word, byte, words: [u16; 2]| {
        let order = RegisterOrder { word, byte };
        decode_registers(ValueType::Number(Number::U32), None, order, &words)
    };
    let expected = Some(TagValue::Int(0x0102_0304));
    use {ByteOrder as B, WordOrder as W};
    assert_eq!(u32_of(W::HighFirst, B::HighFirst, [0x0102, 0x0304]), expected);
    assert_eq!(u32_of(W::LowFirst, B::HighFirst, [0x0304, 0x0102]), expected);
    assert_eq!(u32_of(W::HighFirst, B::LowFirst, [0x0201, 0x0403]), expected);
    assert_eq!(u32_of(W::LowFirst, B::LowFirst, [0x0403, 0x0201]), expected);
}

#[test]
fn a_text_ends_at_its_terminator_and_keeps_its_zeros_and_its_bytes() {
    let text = ValueType::Text { length: 8, pad: Pad::Space };
    let decode = |bytes: &[u8; 8]| decode_registers(text, None, PLAIN, &to_words(PLAIN.byte, bytes, 0));
    assert_eq!(decode(b"0012\0old"), Some(TagValue::Bytes(b"0012".into())));
    assert_eq!(decode(b"A\xff\x1dB    "), Some(TagValue::Bytes(b"A\xff\x1dB".into())));
}

#[test]
fn a_text_without_its_terminator_or_longer_than_its_place_has_no_value() {
    let mut text = Binding::new(Tag::Code, Address::Register(0), ValueType::Text { length: 6, pad: Pad::Space });
    let decode = |text: &Binding, bytes: &[u8]| decode_cells(text, PLAIN, &to_words(PLAIN.byte, bytes, 0));
    text.terminator = Some(b'\r');
    assert_eq!(decode(&text, b"0012\rx"), Some(TagValue::Bytes(b"0012".into())));
    assert_eq!(decode(&text, b"001234"), None);
    assert_eq!(decode(&text, b"      "), Some(TagValue::Bytes(b"".into())));
    (text.terminator, text.counted) = (None, true);
    assert_eq!(decode(&text, b"\0\x04A \0 xx"), Some(TagValue::Bytes(b"A \0 ".into())));
    assert_eq!(decode(&text, b"\0\x07A \0 xx"), None);
}

#[test]
fn refuses_what_could_not_be_read_back_the_same() {
    let text = |bytes: &[u8]| {
        let value = ValueType::Text { length: 4, pad: Pad::Space };
        encode_registers(value, None, PLAIN, &TagValue::Bytes(bytes.into()))
    };
    assert_eq!(text(b"12345"), Err(OUT_OF_RANGE));
    assert_eq!(text(b"1\0"), Err(OUT_OF_RANGE));
    assert_eq!(text(b"12 "), Err(OUT_OF_RANGE));
    let number = |value| encode_registers(ValueType::Number(Number::U16), None, PLAIN, &value);
    assert_eq!(number(TagValue::Int(65_536)), Err(OUT_OF_RANGE));
    assert_eq!(number(TagValue::Int(-1)), Err(OUT_OF_RANGE));
    assert_eq!(number(TagValue::Bytes(b"1".into())), Err(TYPE_MISMATCH));
}

#[test]
fn a_float_that_is_no_number_has_no_value() {
    for float in [f32::NAN, f32::INFINITY, f32::MAX] {
        let bits = float.to_bits();
        let words = [(bits >> 16) as u16, bits as u16];
        assert_eq!(decode_registers(ValueType::Number(Number::F32), None, PLAIN, &words), None);
    }
}

#[test]
fn a_field_that_is_missing_or_no_counter_is_bad_and_the_others_stand() {
    let found = readings(&delimited(), Ok(TagValue::Bytes(b"12x;A".into())), Quality::Good, None);
    assert_eq!(found[0].quality, Quality::Bad(0));
    assert_eq!(found[1].quality, Quality::Good);
    let found = readings(&delimited(), Ok(TagValue::Bytes(b"12".into())), Quality::Good, None);
    assert_eq!(found[0].value, TagValue::Int(12));
    assert_eq!(found[1].quality, Quality::Bad(0));
}

#[test]
fn the_grade_is_a_decimal_or_a_letter() {
    assert_eq!(field_value(FieldKind::Decimal, b"3.7"), Some(TagValue::Milli(3700)));
    assert_eq!(field_value(FieldKind::Decimal, b"4"), Some(TagValue::Milli(4000)));
    assert_eq!(field_value(FieldKind::Decimal, b"B"), Some(TagValue::Bytes(b"B".into())));
    assert_eq!(field_value(FieldKind::Decimal, b"."), Some(TagValue::Bytes(b".".into())));
}

#[test]
fn a_ring_of_delimited_results_becomes_one_array_per_tag() {
    let ring = TagValue::Texts(vec![b"8;A".into(), b"1;B;B".into(), b"".into()]);
    let found = readings(&delimited(), Ok(ring), Quality::Good, None);
    assert_eq!(found[0].value, TagValue::Ints(vec![8, 1, 0]));
    assert_eq!(found[1].value, TagValue::Texts(vec![b"A".into(), b"B;B".into(), b"".into()]));
}

#[test]
fn delimited_children_keep_their_empty_slots() {
    let mut binding = delimited();
    binding.tag = Tag::Children;
    binding.split = Some(Split::Texts { delimiter: b'|' });
    let of = |text: &[u8]| readings(&binding, Ok(TagValue::Bytes(text.into())), Quality::Good, None);
    assert_eq!(of(b"A||C")[0].value, TagValue::Texts(vec![b"A".into(), b"".into(), b"C".into()]));
    assert_eq!(of(b"")[0].value, TagValue::Texts(vec![]));
}
