//! What a device cannot be told.

/// A value that the map's type cannot carry: an OPC UA status code, since it has the words for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit(pub u32);

/// OPC UA Part 6, annex A.2: Bad_TypeMismatch.
pub const TYPE_MISMATCH: Unfit = Unfit(0x8074_0000);
/// OPC UA Part 6, annex A.2: Bad_OutOfRange.
pub const OUT_OF_RANGE: Unfit = Unfit(0x803C_0000);
