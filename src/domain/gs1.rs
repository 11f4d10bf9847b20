//! GS1 keys and attributes, proven at construction (GS1 GenSpecs 3 and 7.9). Identifiers never become numbers.
//!
//! A value of these types is always well formed: right length, right characters, right check digit. What the types do not
//! know is whether the key was ever issued; that is master data. The length of a company prefix is never guessed from a key.

use std::fmt;

use crate::domain::charset::{self, Charset};
use crate::domain::text::Text;

pub use crate::domain::date::Expiry;

/// GTIN-14, check digit proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gtin(Text<14>);

/// SSCC-18, check digit proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sscc(Text<18>);

/// AI (21): 1 to 20 characters of CSET 82. `1`, `01` and `001` are three serial numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SerialNumber(Text<20>);

/// AI (10): 1 to 20 characters of CSET 82.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lot(Text<20>);

/// Length of the GS1 company prefix in a key, 6 to 12: master data, never guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GcpLength(u8);

/// Why a text is not the GS1 value that it was taken for. Positions count characters from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gs1Error {
    Length {
        what: &'static str,
        value: String,
        allowed: &'static str,
    },
    Character {
        what: &'static str,
        value: String,
        position: usize,
        found: char,
        allowed: &'static str,
    },
    CheckDigit {
        what: &'static str,
        value: String,
        position: usize,
        found: char,
        expected: char,
    },
    /// A part that is well written but out of its range.
    Range {
        what: &'static str,
        value: String,
        position: usize,
        allowed: &'static str,
    },
    /// A text that is not built as `allowed` shows.
    Form {
        what: &'static str,
        value: String,
        position: usize,
        allowed: &'static str,
    },
}

impl Gtin {
    /// Takes a GTIN-8, -12, -13 or -14 and keeps it as GTIN-14, left-padded with zeros.
    pub fn new(digits: &str) -> Result<Self, Gs1Error> {
        const WHAT: &str = "GTIN";
        require_digits(WHAT, digits)?;
        if ![8, 12, 13, 14].contains(&digits.len()) {
            return Err(length(WHAT, digits, "8, 12, 13 or 14 digits"));
        }
        require_check_digit(WHAT, digits)?;
        let padded = Text::new(&format!("{digits:0>14}"));
        padded.map(Self).ok_or_else(|| length(WHAT, digits, "8, 12, 13 or 14 digits"))
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Sscc {
    pub fn new(digits: &str) -> Result<Self, Gs1Error> {
        const WHAT: &str = "SSCC";
        require_digits(WHAT, digits)?;
        let text = Text::new(digits).filter(|_| digits.len() == 18).ok_or_else(|| length(WHAT, digits, "18 digits"))?;
        require_check_digit(WHAT, digits)?;
        Ok(Self(text))
    }

    /// Extension digit, company prefix and serial reference fill 17 digits; the check digit is computed.
    /// The caller keeps the counter: an SSCC is never used twice.
    pub fn build(extension: u8, prefix: &str, serial_reference: u64) -> Result<Self, Gs1Error> {
        require_digits("GS1 company prefix", prefix)?;
        let room = u8::try_from(prefix.len())
            .ok()
            .filter(|length| (6..=12).contains(length))
            .and_then(|length| 16_u8.checked_sub(length))
            .ok_or_else(|| self::length("GS1 company prefix", prefix, "6 to 12 digits"))?;
        if extension > 9 {
            return Err(Gs1Error::Range {
                what: "SSCC extension digit",
                value: extension.to_string(),
                position: 1,
                allowed: "0 to 9",
            });
        }
        let width = usize::from(room);
        let body = format!("{extension}{prefix}{serial_reference:0>width$}");
        if body.len() != 17 {
            return Err(Gs1Error::Range {
                what: "SSCC serial reference",
                value: serial_reference.to_string(),
                position: 1,
                allowed: "as many digits as the company prefix leaves of 16",
            });
        }
        let check = check_digit(body.as_bytes());
        Self::new(&format!("{body}{check}"))
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl SerialNumber {
    pub fn new(text: &str) -> Result<Self, Gs1Error> {
        short_text("serial number", text).map(Self)
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Lot {
    pub fn new(text: &str) -> Result<Self, Gs1Error> {
        short_text("lot", text).map(Self)
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl GcpLength {
    pub fn new(digits: u8) -> Result<Self, Gs1Error> {
        if (6..=12).contains(&digits) {
            return Ok(Self(digits));
        }
        Err(Gs1Error::Range {
            what: "length of the GS1 company prefix",
            value: digits.to_string(),
            position: 1,
            allowed: "6 to 12",
        })
    }

    pub fn get(self) -> u8 {
        self.0
    }
}

/// The GS1 check digit of `body`, the digits before it (GenSpecs 7.9.1): from the right, weights 3 and 1 in turn.
/// Every byte of `body` must be a digit.
pub(crate) fn check_digit(body: &[u8]) -> char {
    let sum = body.iter().rev().zip([3_u32, 1].into_iter().cycle()).fold(0_u32, |sum, (byte, weight)| {
        let digit = u32::from(byte.wrapping_sub(b'0'));
        sum.wrapping_add(digit.wrapping_mul(weight))
    });
    let digit = 10_u32.wrapping_sub(sum % 10) % 10;
    char::from_digit(digit, 10).unwrap_or('0')
}

/// Cuts what a person or a device sent to a length that a log line and a screen can bear.
pub(crate) fn shown(value: &str) -> String {
    value.chars().take(60).collect()
}

fn length(what: &'static str, value: &str, allowed: &'static str) -> Gs1Error {
    Gs1Error::Length { what, value: shown(value), allowed }
}

/// Refuses the first character that is not of `charset`.
pub(crate) fn require(
    charset: Charset,
    what: &'static str,
    value: &str,
    allowed: &'static str,
) -> Result<(), Gs1Error> {
    match value.chars().zip(1..).find(|(found, _)| !charset.contains_char(*found)) {
        None => Ok(()),
        Some((found, position)) => Err(Gs1Error::Character { what, value: shown(value), position, found, allowed }),
    }
}

pub(crate) fn require_digits(what: &'static str, value: &str) -> Result<(), Gs1Error> {
    require(Charset::Digits, what, value, "digits only")
}

fn require_check_digit(what: &'static str, digits: &str) -> Result<(), Gs1Error> {
    let Some((last, body)) = digits.as_bytes().split_last() else {
        return Err(length(what, digits, "digits with a check digit"));
    };
    let (found, expected) = (char::from(*last), check_digit(body));
    if found == expected {
        return Ok(());
    }
    Err(Gs1Error::CheckDigit { what, value: shown(digits), position: digits.len(), found, expected })
}

fn short_text(what: &'static str, text: &str) -> Result<Text<20>, Gs1Error> {
    require(Charset::Cset82, what, text, charset::CSET_82)?;
    Text::new(text).filter(|short| !short.is_empty()).ok_or_else(|| length(what, text, "1 to 20 characters"))
}

macro_rules! display_as_text {
    ($($name:ident),+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    )+};
}

display_as_text!(Gtin, Sscc, SerialNumber, Lot);

impl fmt::Display for Gs1Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gs1Error::Length { what, value, allowed } => {
                write!(f, "{what} {value:?} is {} characters long; allowed: {allowed}", value.chars().count())
            }
            Gs1Error::Character { what, value, position, found, allowed } => {
                write!(f, "{what} {value:?} has {found:?} at position {position}; allowed: {allowed}")
            }
            Gs1Error::CheckDigit { what, value, position, found, expected } => write!(
                f,
                "{what} {value:?} ends in check digit {found} at position {position}; the other digits ask for {expected}"
            ),
            Gs1Error::Range { what, value, position, allowed } => {
                write!(f, "{what} is out of range in {value:?} at position {position}; allowed: {allowed}")
            }
            Gs1Error::Form { what, value, position, allowed } => {
                write!(f, "{value:?} is not a {what} from position {position} on; allowed: {allowed}")
            }
        }
    }
}

impl std::error::Error for Gs1Error {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts that a line must carry as they are, whatever they would do elsewhere.
    const AWKWARD: [&str; 6] = ["'OR'1'='1'--", "../../etc/passwd", "a+b/c", "%2F%00", "<script>", "\"&';="];

    #[test]
    fn takes_the_known_good_keys() {
        for digits in ["00300010123455", "10300010123452", "09521234543213"] {
            assert_eq!(Gtin::new(digits).map(|gtin| gtin.to_string()), Ok(digits.into()));
        }
        for digits in ["403000112345678901", "123456789012345675"] {
            assert_eq!(Sscc::new(digits).map(|sscc| sscc.to_string()), Ok(digits.into()));
        }
    }

    #[test]
    fn pads_short_gtins_to_fourteen_digits() {
        for (short, full) in
            [("02345673", "00000002345673"), ("416000336108", "00416000336108"), ("9521234543213", "09521234543213")]
        {
            assert_eq!(Gtin::new(short).map(|gtin| gtin.to_string()), Ok(full.into()));
        }
    }

    #[test]
    fn builds_an_sscc_from_its_parts() {
        let sscc = Sscc::build(4, "030001", 1_234_567_890);
        assert_eq!(sscc.map(|sscc| sscc.to_string()), Ok("403000112345678901".into()));
        let first = Sscc::build(0, "030001234567", 1);
        assert_eq!(first.map(|sscc| sscc.as_str().len()), Ok(18));
    }

    #[test]
    fn refuses_sscc_parts_that_do_not_fit() {
        assert!(Sscc::build(10, "030001", 1).is_err(), "extension of two digits");
        assert!(Sscc::build(0, "03000", 1).is_err(), "prefix of 5");
        assert!(Sscc::build(0, "0300011234567", 1).is_err(), "prefix of 13");
        assert!(Sscc::build(0, "03000A", 1).is_err(), "prefix with a letter");
        assert!(Sscc::build(0, "030001234567", 9_999).is_ok());
        assert!(Sscc::build(0, "030001234567", 10_000).is_err(), "a reference that has run out of digits");
        assert!(Sscc::build(0, "030001", u64::MAX).is_err());
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        let refusal = |digits| Gtin::new(digits).expect_err("a bad GTIN").to_string();
        assert_eq!(
            refusal("00300010123456"),
            "GTIN \"00300010123456\" ends in check digit 6 at position 14; the other digits ask for 5"
        );
        assert_eq!(refusal("0030001O123455"), "GTIN \"0030001O123455\" has 'O' at position 8; allowed: digits only");
        assert_eq!(refusal("123"), "GTIN \"123\" is 3 characters long; allowed: 8, 12, 13 or 14 digits");
        let lot = Lot::new("A 1").expect_err("a space").to_string();
        assert!(lot.starts_with("lot \"A 1\" has ' ' at position 2; allowed: A-Z"), "{lot}");
    }

    #[test]
    fn keeps_case_and_leading_zeros_apart() {
        let serial = |text| SerialNumber::new(text).expect("a good serial number");
        assert_ne!(serial("1"), serial("01"));
        assert_ne!(serial("a"), serial("A"));
    }

    #[test]
    fn takes_awkward_but_legal_serial_numbers_as_they_are() {
        for text in AWKWARD {
            assert_eq!(SerialNumber::new(text).map(|serial| serial.to_string()), Ok(text.into()));
        }
    }

    #[test]
    fn refuses_serial_numbers_that_no_symbol_can_carry() {
        for text in ["", "123456789012345678901", "a b", "a\u{1d}b", "a\0", "é", "#", "a\\b", "~"] {
            assert!(SerialNumber::new(text).is_err(), "{text:?}");
            assert!(Lot::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn bounds_the_length_of_a_company_prefix() {
        let good: Vec<u8> = (0..=u8::MAX).filter(|digits| GcpLength::new(*digits).is_ok()).collect();
        assert_eq!(good, [6, 7, 8, 9, 10, 11, 12]);
    }

    fn with_check_digit(body: &str) -> String {
        format!("{body}{}", check_digit(body.as_bytes()))
    }

    fn differ_in_one_digit(digits: &str) -> impl Iterator<Item = String> {
        (0..digits.len()).flat_map(move |at| {
            let others = ('0'..='9').filter(move |other| !digits[at..].starts_with(*other));
            others.map(move |other| format!("{}{other}{}", &digits[..at], &digits[at + 1..]))
        })
    }

    proptest! {
        #[test]
        fn catches_every_single_digit_error(body in "[0-9]{17}") {
            let sscc = with_check_digit(&body);
            prop_assert!(Sscc::new(&sscc).is_ok());
            for wrong in differ_in_one_digit(&sscc) {
                prop_assert!(Sscc::new(&wrong).is_err(), "{}", wrong);
            }
            for length in [7, 11, 12, 13] {
                let gtin = with_check_digit(&body[..length]);
                prop_assert!(Gtin::new(&gtin).is_ok());
                for wrong in differ_in_one_digit(&gtin) {
                    prop_assert!(Gtin::new(&wrong).is_err(), "{}", wrong);
                }
            }
        }

        #[test]
        fn builds_good_ssccs_only(extension in 0_u8..=9, prefix in "[0-9]{6,12}", reference in 0_u64..10_000) {
            let sscc = Sscc::build(extension, &prefix, reference).expect("the parts fit");
            prop_assert_eq!(Sscc::new(sscc.as_str()), Ok(sscc));
            prop_assert_eq!(&sscc.as_str()[1..=prefix.len()], prefix.as_str());
        }

        #[test]
        fn never_panics_on_any_text(text in any::<String>()) {
            let _ = (Gtin::new(&text), Sscc::new(&text), SerialNumber::new(&text), Lot::new(&text), Sscc::build(0, &text, 1));
        }
    }
}
