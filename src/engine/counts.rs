//! What is counted of a batch.

/// The counts of I10 at the close of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub received: u32,
    pub unused: u32,
    pub burned: u32,
    pub printed: u32,
    pub commissioned: u32,
    pub scrapped: u32,
    pub unaccounted: u32,
    pub packed: u32,
    pub loose: u32,
    pub triggers: u32,
    pub pass: u32,
    pub fail: u32,
    pub no_read: u32,
    pub missed: u32,
    pub rejects_commanded: u32,
    pub rejects_confirmed: u32,
    pub rejects_resolved: u32,
    pub bin: u32,
    pub phantom: u32,
    pub cases_released: u32,
    pub pallets_released: u32,
    /// By hand, like the next ones, which were commissioned before.
    pub label_sampled: u32,
    pub sampled: u32,
    pub inactive: u32,
    pub destroyed: u32,
}
