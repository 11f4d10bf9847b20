//! How far a value can be trusted, in words: the same in facts, in `status`, in the log and in `check --online`.

use std::fmt;

use crate::domain::tag::{Quality, Tag};
use crate::domain::text::Text;

/// A tag whose value cannot be taken, and what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagFlaw {
    pub tag: Tag,
    pub what: FlawText,
}

/// Holds the longest name of a status code with its number.
pub type FlawText = Text<96>;

impl TagFlaw {
    /// What is longer than its place is cut.
    pub fn new(tag: Tag, what: &str) -> Self {
        let mut cut = what;
        loop {
            match FlawText::new(cut) {
                Some(what) => return Self { tag, what },
                None => cut = cut.char_indices().next_back().map_or("", |(at, _)| cut.split_at(at).0),
            }
        }
    }
}

impl fmt::Display for TagFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.tag, self.what)
    }
}

/// Names of OPC UA Part 6, annex A.2: what Part 8, annex A.4 lists for values, and what servers send beside it.
const STATUS_NAMES: [(u32, &str); 32] = [
    (0x4000_0000, "Uncertain"),
    (0x408F_0000, "UncertainNoCommunicationLastUsableValue"),
    (0x4090_0000, "UncertainLastUsableValue"),
    (0x4091_0000, "UncertainSubstituteValue"),
    (0x4092_0000, "UncertainInitialValue"),
    (0x4093_0000, "UncertainSensorNotAccurate"),
    (0x4094_0000, "UncertainEngineeringUnitsExceeded"),
    (0x4095_0000, "UncertainSubNormal"),
    (0x8000_0000, "Bad"),
    (0x8001_0000, "BadUnexpectedError"),
    (0x8002_0000, "BadInternalError"),
    (0x8005_0000, "BadCommunicationError"),
    (0x800A_0000, "BadTimeout"),
    (0x801F_0000, "BadUserAccessDenied"),
    (0x8031_0000, "BadNoCommunication"),
    (0x8032_0000, "BadWaitingForInitialData"),
    (0x8033_0000, "BadNodeIdInvalid"),
    (0x8034_0000, "BadNodeIdUnknown"),
    (0x8035_0000, "BadAttributeIdInvalid"),
    (0x8036_0000, "BadIndexRangeInvalid"),
    (0x8037_0000, "BadIndexRangeNoData"),
    (0x803A_0000, "BadNotReadable"),
    (0x803C_0000, "BadOutOfRange"),
    (0x803D_0000, "BadNotSupported"),
    (0x803E_0000, "BadNotFound"),
    (0x8074_0000, "BadTypeMismatch"),
    (0x8089_0000, "BadConfigurationError"),
    (0x808A_0000, "BadNotConnected"),
    (0x808B_0000, "BadDeviceFailure"),
    (0x808C_0000, "BadSensorFailure"),
    (0x808D_0000, "BadOutOfService"),
    (0x80AD_0000, "BadDisconnect"),
];

/// Names of the MODBUS Application Protocol V1.1b3, section 7.
const EXCEPTION_NAMES: [(u32, &str); 9] = [
    (1, "illegal function"),
    (2, "illegal data address"),
    (3, "illegal data value"),
    (4, "server device failure"),
    (5, "acknowledge"),
    (6, "server device busy"),
    (8, "memory parity error"),
    (10, "gateway path unavailable"),
    (11, "gateway target device failed to respond"),
];

/// The number and the name of an OPC UA status, whose low half says more of the value, or of a Modbus exception.
pub fn status_text(code: u32) -> String {
    let named = |names: &[(u32, &'static str)], code| names.iter().find(|(of, _)| *of == code).map(|(_, name)| *name);
    match code {
        0..=0xFF => match named(&EXCEPTION_NAMES, code) {
            Some(name) => format!("{code} ({name})"),
            None => code.to_string(),
        },
        _ => match named(&STATUS_NAMES, code & 0xFFFF_0000) {
            Some(name) => format!("{code:#010x} ({name})"),
            None => format!("{code:#010x}"),
        },
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Quality::Good => write!(f, "good"),
            Quality::Uncertain(code) => write!(f, "uncertain {}", status_text(*code)),
            Quality::Bad(0) => write!(f, "unreadable"),
            Quality::Bad(code) => write!(f, "bad {}", status_text(*code)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quality_is_told_by_its_name_and_its_number() {
        for (quality, text) in [
            (Quality::Good, "good"),
            (Quality::Bad(0), "unreadable"),
            (Quality::Bad(4), "bad 4 (server device failure)"),
            (Quality::Bad(0x8031_0000), "bad 0x80310000 (BadNoCommunication)"),
            (Quality::Uncertain(0x4090_0480), "uncertain 0x40900480 (UncertainLastUsableValue)"),
            (Quality::Bad(0x8099_0000), "bad 0x80990000"),
        ] {
            assert_eq!(quality.to_string(), text);
        }
    }

    #[test]
    fn every_name_fits_and_what_is_longer_is_cut() {
        for (code, _) in STATUS_NAMES {
            let text = Quality::Uncertain(code).to_string();
            assert_eq!(TagFlaw::new(Tag::Seq, &text).what.as_str(), text);
        }
        assert_eq!(TagFlaw::new(Tag::Seq, &"\u{e9}".repeat(60)).what.as_str(), "\u{e9}".repeat(48));
    }
}
