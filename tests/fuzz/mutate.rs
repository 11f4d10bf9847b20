//! Inputs from inputs: a seeded mutator with a few words of the format at hand.

/// The longest input; no device sends more in one piece.
const INPUT_MAX: usize = 600;
const BYTES: [u8; 10] = [0, 1, 0x1D, 0x20, 0x2E, 0x30, 0x39, 0x7F, 0x80, 0xFF];

pub(crate) struct Mutator(u64);

impl Mutator {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Marsaglia's xorshift64.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }

    pub(crate) fn next(&mut self, pool: &[Vec<u8>], words: &[&[u8]]) -> Vec<u8> {
        let mut input = pool[self.below(pool.len())].clone();
        for _ in 0..=self.below(4) {
            self.change(&mut input, pool, words);
        }
        input.truncate(INPUT_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, pool: &[Vec<u8>], words: &[&[u8]]) {
        let (at, length) = (self.below(input.len() + 1), input.len());
        match self.below(9) {
            0 if at < length => input[at] ^= 1 << self.below(8),
            1 if at < length => input[at] = BYTES[self.below(BYTES.len())],
            2 if at < length => input[at] = input[at].wrapping_add(if self.below(2) == 0 { 1 } else { 0xFF }),
            3 => input.truncate(at),
            4 => {
                let end = (at + self.below(8)).min(length);
                input.drain(at..end);
            }
            5 => {
                let end = (at + self.below(16)).min(length);
                let piece = input[at..end].to_vec();
                self.insert(input, &piece);
            }
            6 => {
                let other = &pool[self.below(pool.len())];
                let from = self.below(other.len() + 1);
                input.truncate(at);
                input.extend(&other[from..]);
            }
            7 if !words.is_empty() => {
                let word = words[self.below(words.len())];
                self.insert(input, word);
            }
            _ => {
                let byte = u8::try_from(self.below(256)).unwrap();
                self.insert(input, &[byte]);
            }
        }
    }

    fn insert(&mut self, input: &mut Vec<u8>, piece: &[u8]) {
        let at = self.below(input.len() + 1);
        input.splice(at..at, piece.iter().copied());
    }
}

/// FNV-1a.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
}
