//! What a person types or scans when asking about an object, recognised by its form.
//!
//! Accepted: an element string with or without symbology identifier, the bracketed form, SGTIN and SSCC URIs, a bare
//! SSCC, a bare serial number. A bare text may be read in two ways; the reading that a check digit proves wins, so that
//! `00` with an SSCC is a container, and eighteen digits that are no SSCC are a serial number.

use std::fmt;

use crate::domain::element::{ElementError, ElementString};
use crate::domain::epc;
use crate::domain::gs1::{Gs1Error, Gtin, Lot, SerialNumber, Sscc};

/// The object that a code names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    /// A serialized trade item, whatever its pack level.
    Sgtin { gtin: Gtin, serial: SerialNumber },
    /// A logistic unit.
    Sscc(Sscc),
    /// A product without serial number, or one lot of it.
    Product { gtin: Gtin, lot: Option<Lot> },
    /// A serial number whose product is not said.
    Serial(SerialNumber),
    /// A good element string that names none of these.
    Other(ElementString),
}

/// Why a text names nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeError {
    Empty,
    NotText,
    Element(ElementError),
    Gs1(Gs1Error),
}

impl Code {
    /// Reads any accepted form. White space around it, as keyboard scanners send it, does not count.
    pub fn parse(bytes: &[u8]) -> Result<Self, CodeError> {
        let bytes = bytes.trim_ascii();
        let text = std::str::from_utf8(bytes).map_err(|_| CodeError::NotText)?;
        if text.is_empty() {
            return Err(CodeError::Empty);
        }
        if text.starts_with(epc::SGTIN) {
            let (gtin, serial, _) = epc::parse_sgtin_uri(text)?;
            return Ok(Code::Sgtin { gtin, serial });
        }
        if text.starts_with(epc::SSCC) {
            return Ok(Code::Sscc(epc::parse_sscc_uri(text)?.0));
        }
        if text.starts_with(']') {
            return Self::from_element_string(ElementString::parse(bytes)?);
        }
        if text.starts_with('(') {
            // A serial number may begin with a bracket, but not with an AI in brackets.
            return match ElementString::parse_bracketed(text) {
                Ok(elements) => Self::from_element_string(elements),
                Err(refusal) => Self::serial_or(text, refusal.into()),
            };
        }
        Self::from_bare(text)
    }

    /// Data without anything that says what they are.
    fn from_bare(text: &str) -> Result<Self, CodeError> {
        if let Ok(sscc) = Sscc::new(text) {
            return Ok(Code::Sscc(sscc));
        }
        match ElementString::parse(text.as_bytes()) {
            Ok(elements) if elements.get("01").or(elements.get("00")).is_some() => Self::from_element_string(elements),
            Ok(_) => SerialNumber::new(text).map(Code::Serial).map_err(CodeError::from),
            Err(refusal) => Self::serial_or(text, refusal.into()),
        }
    }

    /// A text that is too long for a serial number was meant as something else, and the refusal of that says more.
    fn serial_or(text: &str, refusal: CodeError) -> Result<Self, CodeError> {
        match SerialNumber::new(text) {
            Ok(serial) => Ok(Code::Serial(serial)),
            Err(_) if text.len() > 20 => Err(refusal),
            Err(error) => Err(error.into()),
        }
    }

    fn from_element_string(elements: ElementString) -> Result<Self, CodeError> {
        let serial = elements.get("21").map(SerialNumber::new).transpose()?;
        let lot = elements.get("10").map(Lot::new).transpose()?;
        if let Some(digits) = elements.get("01") {
            let gtin = Gtin::new(digits)?;
            return Ok(match serial {
                Some(serial) => Code::Sgtin { gtin, serial },
                None => Code::Product { gtin, lot },
            });
        }
        if let Some(digits) = elements.get("00") {
            return Ok(Code::Sscc(Sscc::new(digits)?));
        }
        Ok(serial.map_or(Code::Other(elements), Code::Serial))
    }
}

impl From<ElementError> for CodeError {
    fn from(error: ElementError) -> Self {
        CodeError::Element(error)
    }
}

impl From<Gs1Error> for CodeError {
    fn from(error: Gs1Error) -> Self {
        CodeError::Gs1(error)
    }
}

impl fmt::Display for CodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FORMS: &str = "give an element string, (01)...(21)..., urn:epc:id:sgtin:..., urn:epc:id:sscc:..., an SSCC or a serial number";
        match self {
            CodeError::Empty => write!(f, "no code was given; {FORMS}"),
            CodeError::NotText => write!(f, "the code is not text; {FORMS}"),
            CodeError::Element(error) => error.fmt(f),
            CodeError::Gs1(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CodeError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Code {
        Code::parse(text.as_bytes()).expect("a good code")
    }

    fn unit(serial: &str) -> Code {
        let gtin = Gtin::new("00300010123455").expect("a good GTIN");
        Code::Sgtin { gtin, serial: SerialNumber::new(serial).expect("a good serial number") }
    }

    #[test]
    fn one_unit_has_many_spellings() {
        for text in [
            "]d2010030001012345521ABC123\u{1d}1728032710A123",
            "010030001012345521ABC123",
            "1728032721ABC123\u{1d}0100300010123455\r\n",
            "(01)00300010123455(21)ABC123",
            "urn:epc:id:sgtin:030001.0012345.ABC123",
            "  urn:epc:id:sgtin:0300010.012345.ABC123",
        ] {
            assert_eq!(parse(text), unit("ABC123"), "{text}");
        }
    }

    #[test]
    fn one_container_has_many_spellings() {
        let sscc = Sscc::new("403000112345678901").expect("a good SSCC");
        for text in [
            "403000112345678901",
            "00403000112345678901",
            "]C100403000112345678901",
            "(00)403000112345678901",
            "urn:epc:id:sscc:030001.41234567890",
        ] {
            assert_eq!(parse(text), Code::Sscc(sscc), "{text}");
        }
    }

    #[test]
    fn a_bare_text_is_a_serial_number() {
        for text in ["ABC123", "21ABC", "1", "403000112345678902", "'OR'1'='1'--", "../../etc/passwd", "a+b/c", "(x"] {
            let serial = SerialNumber::new(text).expect("a good serial number");
            assert_eq!(parse(text), Code::Serial(serial), "{text}");
        }
    }

    #[test]
    fn tells_products_lots_and_other_data_apart() {
        let gtin = Gtin::new("00300010123455").expect("a good GTIN");
        assert_eq!(parse("(01)00300010123455"), Code::Product { gtin, lot: None });
        let lot = Lot::new("A123").ok();
        assert_eq!(parse("(01)00300010123455(10)A123"), Code::Product { gtin, lot });
        assert!(matches!(parse("(10)A123"), Code::Other(_)));
        assert!(matches!(parse("(21)A123"), Code::Serial(_)));
    }

    #[test]
    fn says_what_is_wrong_with_what_was_meant() {
        let refusal = |text: &str| Code::parse(text.as_bytes()).expect_err("a bad code");
        assert_eq!(refusal(" \r\n"), CodeError::Empty);
        assert!(matches!(refusal("]d1010030001012345521A"), CodeError::Element(ElementError::NotGs1 { .. })));
        assert!(matches!(refusal("(01)00300010123456(21)ABC"), CodeError::Element(ElementError::Content { .. })));
        assert!(matches!(refusal("urn:epc:id:sgtin:030001.0012345"), CodeError::Gs1(Gs1Error::Form { .. })));
        assert!(matches!(refusal("with space"), CodeError::Gs1(Gs1Error::Character { .. })));
        assert_eq!(Code::parse(b"\xff\xfe"), Err(CodeError::NotText));
    }

    proptest! {
        #[test]
        fn never_panics_on_any_bytes(bytes in any::<Vec<u8>>()) {
            if let Err(error) = Code::parse(&bytes) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
