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
