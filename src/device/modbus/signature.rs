//! The signature of a device: a number that its map knows, read at every connect before anything else. Where it is not there, the map is
//! not of this device, or its word or byte order is not the device's, and every number that follows would be a plausible other one (F67).

use std::fmt::Write as _;

use super::{frame::Block, peer::Peer};
use crate::{
    device::{
        codec::{RegisterOrder, decode_registers, encode_registers},
        error::DeviceError,
        settings::{ByteOrder, ModbusLink, Signature, ValueType, WordOrder},
    },
    domain::tag::TagValue,
};

const WORDS: [(&str, WordOrder); 2] = [("high_first", WordOrder::HighFirst), ("low_first", WordOrder::LowFirst)];
const BYTES: [(&str, ByteOrder); 2] = [("high_first", ByteOrder::HighFirst), ("low_first", ByteOrder::LowFirst)];

impl Signature {
    /// The registers as the device holds them; `None` where the number does not fit its type.
    pub fn words(&self, order: RegisterOrder) -> Option<Vec<u16>> {
        encode_registers(ValueType::Number(self.number), None, order, &TagValue::Int(self.equals)).ok()
    }

    pub fn fits(&self) -> bool {
        self.words(RegisterOrder { word: WordOrder::HighFirst, byte: ByteOrder::HighFirst }).is_some()
    }

    /// Whether it tells each order from every other one that could be meant.
    pub fn tells_orders(&self) -> bool {
        let mut held: Vec<Vec<u16>> = self.orders().filter_map(|(order, _)| self.words(order)).collect();
        let all = held.len();
        held.sort_unstable();
        held.dedup();
        held.len() == all
    }

    /// The orders that make a difference for its type, each as a map writes it.
    fn orders(&self) -> impl Iterator<Item = (RegisterOrder, String)> {
        let has_words = self.number.registers() > 1;
        let words = WORDS.into_iter().take(if has_words { 2 } else { 1 });
        words.flat_map(move |(word_name, word)| {
            BYTES.into_iter().map(move |(byte_name, byte)| {
                let words = if has_words { format!("word_order = \"{word_name}\", ") } else { String::new() };
                (RegisterOrder { word, byte }, format!("{words}byte_order = \"{byte_name}\""))
            })
        })
    }

    /// Why these registers are not the signature; `None` where they are.
    fn flaw(&self, own: RegisterOrder, found: &[u16]) -> Option<String> {
        if self.words(own).is_some_and(|words| words == found) {
            return None;
        }
        let mut says = format!("{} {} holds", self.table.name(), self.start);
        for word in found {
            let _ = write!(says, " {word:#06x}");
        }
        let _ = write!(says, ", and the signature of the map is {}", self.equals);
        if let Some((_, meant)) =
            self.orders().find(|(order, _)| self.words(*order).is_some_and(|words| words == found))
        {
            let _ = write!(says, "; the value matches with {meant}: correct the map");
            return Some(says);
        }
        for (order, name) in self.orders() {
            let value = decode_registers(ValueType::Number(self.number), None, order, found);
            let _ = match value {
                Some(TagValue::Int(value)) => write!(says, "; {name} gives {value}"),
                Some(TagValue::Milli(value)) => write!(says, "; {name} gives {value} thousandths"),
                Some(_) | None => write!(says, "; {name} gives no number"),
            };
        }
        says.push_str("; is it the device of this map, and are the addresses counted as the map says?");
        Some(says)
    }
}

/// Reads the signature, where the map has one.
pub(super) async fn check(peer: &mut Peer, link: &ModbusLink) -> Result<(), DeviceError> {
    let Some(signature) = link.signature else { return Ok(()) };
    let own = RegisterOrder { word: link.word_order, byte: link.byte_order };
    let Signature { table, start, number, equals } = signature;
    let flaw = match peer.read(Block { table, start, len: number.registers() }).await? {
        Ok(found) => signature.flaw(own, &found),
        Err(code) => {
            let at = table.name();
            Some(format!("{at} {start}, where the signature {equals} should be, cannot be read (exception {code})"))
        }
    };
    flaw.map_or(Ok(()), |flaw| Err(DeviceError::Signature(flaw)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::settings::{Number, Table};

    const STANDARD: RegisterOrder = RegisterOrder { word: WordOrder::HighFirst, byte: ByteOrder::HighFirst };

    fn signature(number: Number, equals: i64) -> Signature {
        Signature { table: Table::Holding, start: 40, number, equals }
    }

    // F67
    #[test]
    fn another_order_is_named_and_another_device_is_asked_after() {
        let whole = signature(Number::U32, 0x0102_0304);
        assert_eq!(whole.flaw(STANDARD, &[0x0102, 0x0304]), None);
        for (found, meant) in [
            ([0x0304, 0x0102], "word_order = \"low_first\", byte_order = \"high_first\""),
            ([0x0201, 0x0403], "word_order = \"high_first\", byte_order = \"low_first\""),
            ([0x0403, 0x0201], "word_order = \"low_first\", byte_order = \"low_first\""),
        ] {
            let says = whole.flaw(STANDARD, &found).expect("another order");
            assert!(says.contains(&format!("the value matches with {meant}: correct the map")), "{says}");
            assert!(says.contains(&format!("holds {:#06x} {:#06x}", found[0], found[1])), "{says}");
        }
        let says = whole.flaw(STANDARD, &[1, 2]).expect("another device");
        assert_eq!(
            says,
            "holding 40 holds 0x0001 0x0002, and the signature of the map is 16909060; \
             word_order = \"high_first\", byte_order = \"high_first\" gives 65538; \
             word_order = \"high_first\", byte_order = \"low_first\" gives 16777728; \
             word_order = \"low_first\", byte_order = \"high_first\" gives 131073; \
             word_order = \"low_first\", byte_order = \"low_first\" gives 33554688; \
             is it the device of this map, and are the addresses counted as the map says?"
        );
        let short = signature(Number::U16, 0x0102).flaw(STANDARD, &[0x0201]).expect("another order");
        assert!(short.contains("the value matches with byte_order = \"low_first\""), "{short}");
    }

    #[test]
    fn a_number_that_reads_the_same_in_two_orders_is_no_signature() {
        for (number, equals, tells) in [
            (Number::U32, 0x0102_0304, true),
            (Number::U32, 0x0001_0001, false),
            (Number::U32, 0, false),
            (Number::U32, 0x0101_0202, false),
            (Number::U16, 0x0101, false),
            (Number::U16, 0x0102, true),
            (Number::F32, 1234, true),
        ] {
            assert_eq!(signature(number, equals).tells_orders(), tells, "{number:?} {equals:#x}");
        }
    }
}
