//! GS1 keys and attributes, proven at construction (GS1 GenSpecs 3 and 7.9). Identifiers never become numbers.

use crate::domain::text::Text;

/// GTIN-14, check digit proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gtin(pub(crate) Text<14>);

/// SSCC-18, check digit proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sscc(pub(crate) Text<18>);

/// AI (21): 1 to 20 characters of CSET 82.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SerialNumber(pub(crate) Text<20>);

/// AI (10): 1 to 20 characters of CSET 82.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lot(pub(crate) Text<20>);

/// AI (17) as a full date. `day` 0 means the last day of the month and prints so on the wire that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expiry {
    pub(crate) year: u16,
    pub(crate) month: u8,
    pub(crate) day: u8,
}

/// Length of the GS1 company prefix in a key, 6 to 12: master data, never guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcpLength(pub(crate) u8);
