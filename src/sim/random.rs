//! The plant's own random numbers (SplitMix64): one seed, the same plant on every machine. Not for secrets.

#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in `0..bound`; 0 for a bound of 0. The bias of the remainder is far below what a simulation can notice.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64().checked_rem(bound).unwrap_or(0)
    }

    /// An epoch: any u32 but 0, which means none.
    pub fn epoch(&mut self) -> u32 {
        u32::try_from(self.below(u64::from(u32::MAX)) + 1).expect("at most u32::MAX by its bound")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_same_numbers_for_the_same_seed() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            [random.next_u64(), random.below(10), random.below(0)]
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn matches_the_published_first_output_of_splitmix64() {
        assert_eq!(Random::new(0).next_u64(), 0xE220_A839_7B1D_CDAF);
    }
}
