//! How a printed element string is spoiled. The printer treats its data as opaque bytes; only the weather looks inside, and
//! only as far as it must: AIs 01 and 17 of fixed length, 10 and 21 up to a separator (GS1 GenSpecs 7.8). What cannot be
//! read so is spoiled bluntly.

use super::random::Random;

const GS: u8 = 0x1D;

/// What happened to a unit before the camera saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoil {
    None,
    NoRead,
    LowGrade,
    WrongLot,
    WrongExpiry,
    ForeignGtin,
    Duplicate,
    /// An unknown serial or another GTIN.
    Foreign,
}

impl Spoil {
    /// As written in the truth file.
    pub fn name(self) -> &'static str {
        match self {
            Spoil::None => "none",
            Spoil::NoRead => "no_read",
            Spoil::LowGrade => "low_grade",
            Spoil::WrongLot => "wrong_lot",
            Spoil::WrongExpiry => "wrong_expiry",
            Spoil::ForeignGtin => "foreign_gtin",
            Spoil::Duplicate => "duplicate",
            Spoil::Foreign => "foreign",
        }
    }
}

/// One application identifier and its value.
type Element = ([u8; 2], Vec<u8>);

fn fixed_length(ai: [u8; 2]) -> Option<usize> {
    match &ai {
        b"01" => Some(14),
        b"17" | b"11" => Some(6),
        b"00" => Some(18),
        _ => None,
    }
}

fn parse(data: &[u8]) -> Option<Vec<Element>> {
    let mut rest = data;
    let mut elements = Vec::new();
    while let Some((ai, tail)) = rest.split_first_chunk::<2>() {
        let length = match fixed_length(*ai) {
            Some(length) => length,
            None => tail.iter().position(|b| *b == GS).unwrap_or(tail.len()),
        };
        elements.push((*ai, tail.get(..length)?.to_vec()));
        let after = tail.get(length..)?;
        rest = after.strip_prefix(&[GS]).unwrap_or(after);
    }
    rest.is_empty().then_some(elements)
}

fn build(elements: &[Element]) -> Vec<u8> {
    let mut data = Vec::new();
    for (index, (ai, value)) in elements.iter().enumerate() {
        data.extend_from_slice(ai);
        data.extend_from_slice(value);
        if fixed_length(*ai).is_none() && index + 1 < elements.len() {
            data.push(GS);
        }
    }
    data
}

/// The value of `ai` in an element string.
pub fn element(data: &[u8], ai: &[u8; 2]) -> Option<Vec<u8>> {
    parse(data)?.into_iter().find(|(found, _)| found == ai).map(|(_, value)| value)
}

/// Whether an element string holds each element of the other one.
pub fn agrees(data: &[u8], expected: &[u8]) -> bool {
    let Some((found, wanted)) = parse(data).zip(parse(expected)) else { return false };
    wanted.iter().all(|element| found.contains(element))
}

fn with_element(data: &[u8], ai: &[u8; 2], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut elements = parse(data).unwrap_or_default();
    match elements.iter_mut().find(|(found, _)| found == ai) {
        Some((_, value)) => {
            change(value);
            build(&elements)
        }
        None => data.iter().rev().copied().collect(),
    }
}

/// The same unit under another lot.
pub fn wrong_lot(data: &[u8]) -> Vec<u8> {
    with_element(data, b"10", |lot| match lot.last_mut() {
        Some(last) => *last = if *last == b'X' { b'Y' } else { b'X' },
        None => lot.push(b'X'),
    })
}

/// The same unit under another expiry: another year.
pub fn wrong_expiry(data: &[u8]) -> Vec<u8> {
    with_element(data, b"17", |expiry| {
        if let Some(digit) = expiry.get_mut(1).filter(|digit| digit.is_ascii_digit()) {
            *digit = if *digit == b'9' { b'8' } else { *digit + 1 };
        }
    })
}

/// The same serial under another product's GTIN.
pub fn foreign_gtin(data: &[u8]) -> Vec<u8> {
    with_element(data, b"01", |gtin| {
        if let Some(digit) = gtin.get_mut(6).filter(|digit| digit.is_ascii_digit()) {
            *digit = if *digit == b'9' { b'0' } else { *digit + 1 };
        }
        renew_check_digit(gtin);
    })
}

/// A unit of nobody's order: an unknown serial or another GTIN.
pub fn foreign(data: &[u8], random: &mut Random) -> Vec<u8> {
    if random.below(2) == 0 {
        return with_element(data, b"21", |serial| {
            *serial = format!("ZZ{:010}", random.below(10_000_000_000)).into_bytes();
        });
    }
    foreign_gtin(data)
}

/// GS1 GenSpecs 7.9.1: weights 3 and 1 from the right.
fn renew_check_digit(gtin: &mut [u8]) {
    let Some((check, body)) = gtin.split_last_mut() else {
        return;
    };
    let sum: u32 = body
        .iter()
        .rev()
        .zip([3, 1].into_iter().cycle())
        .map(|(digit, weight)| u32::from(digit.wrapping_sub(b'0')) * weight)
        .sum();
    *check = b'0' + u8::try_from((10 - sum % 10) % 10).expect("a single digit");
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &[u8] = b"010950600013435221A1\x1D1727033110L7";

    #[test]
    fn changes_only_the_lot_or_the_expiry() {
        assert_eq!(wrong_lot(DATA), b"010950600013435221A1\x1D1727033110LX".to_vec());
        assert_eq!(wrong_expiry(DATA), b"010950600013435221A1\x1D1728033110L7".to_vec());
        assert_eq!(element(DATA, b"21"), Some(b"A1".to_vec()));
    }

    #[test]
    fn makes_a_foreign_code_with_a_right_check_digit_or_an_unknown_serial() {
        let mut random = Random::new(3);
        for _ in 0..20 {
            let code = foreign(DATA, &mut random);
            assert_ne!(code, DATA);
            let mut gtin = element(&code, b"01").expect("a GTIN");
            let given = gtin.clone();
            renew_check_digit(&mut gtin);
            assert_eq!(given, gtin);
        }
    }

    #[test]
    fn spoils_what_it_cannot_read() {
        assert_ne!(wrong_lot(b"opaque"), b"opaque".to_vec());
        assert_eq!(parse(b"01123"), None);
    }
}
