//! The same registers under every order and type, so that a person sees which of them makes sense.
//!
//! Decoded by the codec of the device task: what is shown here is what the daemon would read with the orders named.

use serde_json::{Value, json};

use crate::device::codec::{RegisterOrder, decode_registers};
use crate::device::{ByteOrder, Number, Pad, ValueType, WordOrder};
use crate::domain::tag::TagValue;

/// One reading of a part of the registers.
pub(super) struct Row {
    pub(super) shape: Shape,
    pub(super) order: Order,
    pub(super) value: Value,
}

/// A type of a tag map, and where in the registers it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) kind: &'static str,
    pub(super) at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order(RegisterOrder);

impl Order {
    const ALL: [Order; 4] = [
        Order(RegisterOrder { word: WordOrder::HighFirst, byte: ByteOrder::HighFirst }),
        Order(RegisterOrder { word: WordOrder::LowFirst, byte: ByteOrder::HighFirst }),
        Order(RegisterOrder { word: WordOrder::HighFirst, byte: ByteOrder::LowFirst }),
        Order(RegisterOrder { word: WordOrder::LowFirst, byte: ByteOrder::LowFirst }),
    ];

    /// The bytes of a 32-bit number as they come over the wire, A the highest.
    pub(super) fn letters(self) -> &'static str {
        match (self.0.word, self.0.byte) {
            (WordOrder::HighFirst, ByteOrder::HighFirst) => "ABCD",
            (WordOrder::LowFirst, ByteOrder::HighFirst) => "CDAB",
            (WordOrder::HighFirst, ByteOrder::LowFirst) => "BADC",
            (WordOrder::LowFirst, ByteOrder::LowFirst) => "DCBA",
        }
    }

    pub(super) fn word_name(self) -> &'static str {
        match self.0.word {
            WordOrder::HighFirst => "high_first",
            WordOrder::LowFirst => "low_first",
        }
    }

    pub(super) fn byte_name(self) -> &'static str {
        match self.0.byte {
            ByteOrder::HighFirst => "high_first",
            ByteOrder::LowFirst => "low_first",
        }
    }
}

const NUMBERS: [(&str, Number); 8] = [
    ("u16", Number::U16),
    ("i16", Number::I16),
    ("u32", Number::U32),
    ("i32", Number::I32),
    ("f32", Number::F32),
    ("u64", Number::U64),
    ("i64", Number::I64),
    ("f64", Number::F64),
];

/// Every type at every place where it fits, in every order; then the whole as a text.
pub(super) fn all(words: &[u16]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (kind, number) in NUMBERS {
        let width = usize::from(number.registers());
        for (at, part) in words.chunks_exact(width).enumerate().map(|(index, part)| (index * width, part)) {
            let orders = if width == 1 { [Order::ALL[0], Order::ALL[2]].to_vec() } else { Order::ALL.to_vec() };
            rows.extend(orders.into_iter().map(|order| {
                let value = number_value(number, order, part);
                Row { shape: Shape { kind, at }, order, value }
            }));
        }
    }
    for order in [Order::ALL[0], Order::ALL[2]] {
        let value = text_value(order, words);
        rows.push(Row { shape: Shape { kind: "text", at: 0 }, order, value });
    }
    rows
}

/// A float as it stands in the registers; the daemon makes thousandths of it.
fn number_value(number: Number, order: Order, words: &[u16]) -> Value {
    let integer = |number| match decode_registers(ValueType::Number(number), None, order.0, words) {
        Some(TagValue::Int(value)) => Some(value),
        Some(_) | None => None,
    };
    let value = match number {
        Number::F32 => {
            integer(Number::U32).and_then(|bits| u32::try_from(bits).ok()).map(f32::from_bits).map(f64::from)
        }
        Number::F64 => double(order, words),
        Number::U16 | Number::I16 | Number::U32 | Number::I32 | Number::U64 | Number::I64 => {
            return integer(number).map_or(Value::Null, |value| json!(value));
        }
    };
    value.map_or(Value::Null, |value| json!(value))
}

/// All 64 bits, of which an integer of the contract keeps 63.
fn double(order: Order, words: &[u16]) -> Option<f64> {
    let mut words: Vec<u16> = words.to_vec();
    if order.0.word == WordOrder::LowFirst {
        words.reverse();
    }
    let swap = order.0.byte == ByteOrder::LowFirst;
    let word = |word: &u16| if swap { word.swap_bytes() } else { *word };
    let bits = words.iter().map(word).fold(0_u64, |bits, word| bits << 16 | u64::from(word));
    Some(f64::from_bits(bits)).filter(|value| value.is_finite())
}

fn text_value(order: Order, words: &[u16]) -> Value {
    let length = u16::try_from(words.len() * 2).unwrap_or(u16::MAX);
    let kind = ValueType::Text { length, pad: Pad::Zero };
    match decode_registers(kind, None, order.0, words) {
        Some(TagValue::Bytes(bytes)) => json!(String::from_utf8_lossy(&bytes)),
        _ => Value::Null,
    }
}

/// One table for the registers, one for each width of numbers, one for the text; at most 100 columns.
pub(super) fn drawn(start: usize, words: &[u16], place: &str) -> String {
    let rows = all(words);
    let mut text =
        format!("{place}\n\n{:>7}  {:6}  {:>6}  {:>6}  {:>13}  chars\n", "address", "hex", "u16", "i16", "u16 swapped");
    for (index, word) in words.iter().enumerate() {
        let of = |kind: &str, letters: &str| value_at(&rows, kind, index, letters);
        let [high, low] = word.to_be_bytes();
        text += &format!(
            "{:>7}  0x{word:04x}  {:>6}  {:>6}  {:>13}  {}{}\n",
            start + index,
            of("u16", "ABCD"),
            of("i16", "ABCD"),
            of("u16", "BADC"),
            printable(high),
            printable(low)
        );
    }
    for kinds in [["u32", "i32", "f32"], ["u64", "i64", "f64"]] {
        let numbers: Vec<&Row> = rows.iter().filter(|row| kinds.contains(&row.shape.kind)).collect();
        if !numbers.is_empty() {
            text += &numbers_drawn(start, kinds, &rows);
        }
    }
    text += "\ntext\n";
    for (letters, name) in [("ABCD", "high_first"), ("BADC", "low_first")] {
        text += &format!("  byte_order {name:10}  {:?}\n", super::print::shown(&value_at(&rows, "text", 0, letters)));
    }
    text
}

fn numbers_drawn(start: usize, kinds: [&'static str; 3], rows: &[Row]) -> String {
    let [a, b, c] = kinds;
    let mut text = format!("\n{:>7}  order  {a:>20}  {b:>20}  {c:>24}\n", "address");
    let mut places: Vec<usize> = rows.iter().filter(|row| row.shape.kind == a).map(|row| row.shape.at).collect();
    places.dedup();
    for at in places {
        for order in Order::ALL {
            let letters = order.letters();
            let of = |kind: &str| value_at(rows, kind, at, letters);
            text += &format!("{:>7}  {letters:5}  {:>20}  {:>20}  {:>24}\n", start + at, of(a), of(b), of(c));
        }
    }
    text
}

fn value_at(rows: &[Row], kind: &str, at: usize, letters: &str) -> String {
    let found = rows.iter().find(|row| {
        row.shape == Shape { kind: row.shape.kind, at } && row.shape.kind == kind && row.order.letters() == letters
    });
    match found.map(|row| &row.value) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(value) => value.to_string(),
    }
}

fn printable(byte: u8) -> char {
    if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '.' }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(words: &[u16], kind: &str, letters: &str) -> String {
        value_at(&all(words), kind, 0, letters)
    }

    #[test]
    fn the_same_bytes_are_shown_under_every_order() {
        let words = [0x0001, 0x0002];
        assert_eq!(value(&words, "u32", "ABCD"), "65538");
        assert_eq!(value(&words, "u32", "CDAB"), "131073");
        assert_eq!(value(&words, "u32", "BADC"), (0x0100_0200_u32).to_string());
        assert_eq!(value(&words, "u32", "DCBA"), (0x0200_0100_u32).to_string());
        assert_eq!(value(&[0x4020, 0x0000], "f32", "ABCD"), "2.5");
        assert_eq!(value(&[0x0000, 0x4020], "f32", "CDAB"), "2.5");
        assert_eq!(value(&[0xC004, 0, 0, 0], "f64", "ABCD"), "-2.5");
        assert_eq!(value(&[0, 0, 0, 0x04C0], "f64", "DCBA"), "-2.5");
    }

    #[test]
    fn texts_are_shown_in_both_byte_orders_and_cannot_steer_the_terminal() {
        assert_eq!(value(&[0x3130, 0x3200], "text", "ABCD"), "102");
        assert_eq!(value(&[0x3130, 0x0032], "text", "BADC"), "012");
        let shown = drawn(0, &[0x1b5b, 0x324a], "x");
        assert!(!shown.contains('\u{1b}'), "{shown}");
    }

    #[test]
    fn every_line_fits_a_hundred_columns() {
        let shown = drawn(65_000, &[0xffff; 8], "holding registers");
        for line in shown.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}
