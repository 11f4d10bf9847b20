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
    /// Takes a GTIN-8, -12, -13 or -14 and keeps it as GTIN-14, left-padded with zeros (GenSpecs 3.3.2).
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
