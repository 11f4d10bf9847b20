//! The character sets of GS1 values (GenSpecs 7.11): one table, one look per byte.

/// What stands in messages for CSET 82.
pub(crate) const CSET_82: &str = "A-Z a-z 0-9 and ! \" % & ' ( ) * + , - . / : ; < = > ? _ (GS1 CSET 82)";

/// The sets that components of AI values are made of, named as in the dictionary: N, X, Y, Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// N
    Digits,
    /// X
    Cset82,
    /// Y
    Cset39,
    /// Z, base64url with its padding.
    Cset64,
}

impl Charset {
    const fn bit(self) -> u8 {
        match self {
            Charset::Digits => 1,
            Charset::Cset82 => 2,
            Charset::Cset39 => 4,
            Charset::Cset64 => 8,
        }
    }

    pub fn contains(self, byte: u8) -> bool {
        SETS.get(usize::from(byte)).is_some_and(|sets| sets & self.bit() != 0)
    }

    pub fn contains_char(self, character: char) -> bool {
        u8::try_from(character).is_ok_and(|byte| self.contains(byte))
    }

    /// The place of the first byte that is not in the set.
    pub fn first_foreign(self, bytes: &[u8]) -> Option<usize> {
        bytes.iter().position(|byte| !self.contains(*byte))
    }
}

/// For each byte, the sets that hold it, one bit each.
static SETS: [u8; 256] = sets();

#[expect(
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    reason = "evaluated by the compiler, where an index out of range fails the build"
)]
const fn sets() -> [u8; 256] {
    const MEMBERS: [(u8, &[u8]); 4] = [
        (Charset::Digits.bit(), b"0123456789"),
        (Charset::Cset82.bit(), b"!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"),
        (Charset::Cset39.bit(), b"#-/0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        (Charset::Cset64.bit(), b"-0123456789=ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"),
    ];
    let mut table = [0; 256];
    let mut set = 0;
    while set < MEMBERS.len() {
        let (bit, members) = MEMBERS[set];
        let mut at = 0;
        while at < members.len() {
            table[members[at] as usize] |= bit;
            at += 1;
        }
        set += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_sizes_that_give_the_sets_their_names() {
        let size = |set: Charset| (0..=255).filter(|byte| set.contains(*byte)).count();
        assert_eq!(size(Charset::Digits), 10);
        assert_eq!(size(Charset::Cset82), 82);
        assert_eq!(size(Charset::Cset39), 39);
        assert_eq!(size(Charset::Cset64), 65, "64 and the padding");
    }

    #[test]
    fn keeps_separators_spaces_and_controls_out_of_every_set() {
        for byte in [0, 0x1d, b' ', b'^', b'\\', b'~', 0x80, 0xff] {
            for set in [Charset::Digits, Charset::Cset82, Charset::Cset39, Charset::Cset64] {
                assert!(!set.contains(byte), "{byte:#x} in {set:?}");
            }
        }
    }
}
