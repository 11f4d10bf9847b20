//! The lines of the plant's truth that matter here, read by their documented names and not by the types that wrote them.

use serde::Deserialize;

pub(super) const PACKER: &str = "packer";
pub(super) const PALLETIZER: &str = "palletizer";
/// How a track ended, and a stroke.
pub(super) const PASSED: u8 = 1;
pub(super) const BIN: u8 = 2;
pub(super) const DONE: u8 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Line {
    Plant {
        case_capacity: u64,
    },
    Unit {
        unit: u64,
        record: String,
        printed: String,
        spoil: String,
    },
    Result {
        unit: u64,
    },
    End {
        unit: u64,
        end: u8,
    },
    Phantom {},
    Denied {},
    Gate {
        #[serde(flatten)]
        request: Request,
        token: u64,
        inside: Vec<u64>,
        #[serde(default)]
        children: Vec<String>,
        label: String,
    },
    Closed {
        #[serde(flatten)]
        request: Request,
        token: u64,
        result: u8,
    },
    Moved {
        station: String,
        container: u64,
        label: String,
    },
    TakenOut {
        station: String,
        unit: u64,
    },
    PutBack {
        unit: u64,
    },
    Filled {
        station: String,
        epoch: u32,
        container: u64,
        inside: Vec<u64>,
    },
    Forced {},
    Mishap(Touch),
    Touched(Touch),
    Reset {},
    #[serde(other)]
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Request {
    pub(super) station: String,
    pub(super) epoch: u32,
    pub(super) seq: u64,
    pub(super) gate: String,
    #[serde(default)]
    pub(super) container: u64,
}

/// What a mishap touched.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Touch {
    pub(super) mishap: String,
    pub(super) station: String,
    pub(super) epoch: u32,
    pub(super) container: u64,
    pub(super) units: Vec<u64>,
}

/// The truth writes each byte as the character of that number (ISO 8859-1).
pub(super) fn bytes_of(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap_or(b'?')).collect()
}
