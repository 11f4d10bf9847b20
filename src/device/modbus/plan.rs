//! Which blocks of registers one group read asks for.
//!
//! Values that lie together are read together, up to the longest read the device takes, and over holes only where the map allows
//! it. A value is split only when it is longer than a read. The block that holds the proofs (epoch, guard) comes first, so that
//! reading the proofs once more at the end brackets everything in between.

use std::ops::Range;

/// Registers `start .. start + len`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Block {
    pub(super) start: u16,
    pub(super) len: u16,
}

/// What the device and its map allow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) gap_max: u16,
    pub(super) block_max: u16,
}

impl Block {
    fn range(self) -> Range<u32> {
        u32::from(self.start)..u32::from(self.start) + u32::from(self.len)
    }

    fn touches(self, other: Block) -> bool {
        let (a, b) = (self.range(), other.range());
        a.start < b.end && b.start < a.end
    }
}

/// The blocks that cover all `values`; those that hold one of `proofs` first.
pub(super) fn plan(values: &[Block], proofs: &[Block], limits: Limits) -> Vec<Block> {
    let mut blocks = cover(values, limits);
    // A stable sort: the others stay in the order of their addresses.
    blocks.sort_by_key(|block| !proofs.iter().any(|proof| proof.touches(*block)));
    blocks
}

fn cover(values: &[Block], limits: Limits) -> Vec<Block> {
    let block_max = u32::from(limits.block_max.clamp(1, 125));
    let mut values: Vec<Block> = values.iter().copied().filter(|value| value.len > 0).collect();
    values.sort_unstable();
    let mut ranges: Vec<Range<u32>> = Vec::new();
    for value in values.into_iter().map(Block::range) {
        match ranges.last_mut() {
            Some(last)
                if value.start <= last.end + u32::from(limits.gap_max)
                    && value.end.max(last.end) - last.start <= block_max =>
            {
                last.end = last.end.max(value.end);
            }
            Some(_) | None => ranges.extend(pieces(value, block_max)),
        }
    }
    ranges.into_iter().filter_map(to_block).collect()
}

fn pieces(range: Range<u32>, block_max: u32) -> impl Iterator<Item = Range<u32>> {
    let step = usize::try_from(block_max).unwrap_or(1);
    range.clone().step_by(step).map(move |start| start..range.end.min(start + block_max))
}

/// `None` beyond the last register; such a value reads as bad.
fn to_block(range: Range<u32>) -> Option<Block> {
    Some(Block {
        start: u16::try_from(range.start).ok()?,
        len: u16::try_from(range.end.min(65_536).checked_sub(range.start)?).ok()?,
    })
}

/// What the blocks of one pass gave.
#[derive(Default)]
pub(super) struct Registers {
    blocks: Vec<(Block, Result<Vec<u16>, u8>)>,
}

impl Registers {
    pub(super) fn push(&mut self, block: Block, words: Result<Vec<u16>, u8>) {
        self.blocks.push((block, words));
    }

    /// The words of a value, or the exception code of a block that holds a part of it; `Err(0)` where no block does.
    pub(super) fn get(&self, value: Block) -> Result<Vec<u16>, u8> {
        let mut words = Vec::with_capacity(usize::from(value.len));
        for address in value.range() {
            let (block, found) = self.blocks.iter().find(|(block, _)| block.range().contains(&address)).ok_or(0u8)?;
            let offset = usize::try_from(address - u32::from(block.start)).map_err(|_| 0u8)?;
            match found {
                Ok(found) => words.push(*found.get(offset).ok_or(0u8)?),
                Err(code) => return Err(*code),
            }
        }
        Ok(words)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STRICT: Limits = Limits { gap_max: 0, block_max: 125 };

    fn block(start: u16, len: u16) -> Block {
        Block { start, len }
    }

    #[test]
    fn joins_neighbours_and_runs_over_no_hole_that_the_map_forbids() {
        let values = [block(10, 2), block(0, 1), block(1, 1), block(12, 4)];
        assert_eq!(plan(&values, &[], STRICT), [block(0, 2), block(10, 6)]);
        let generous = Limits { gap_max: 8, block_max: 125 };
        assert_eq!(plan(&values, &[], generous), [block(0, 16)]);
    }

    #[test]
    fn never_splits_a_group_that_fits_nor_a_value_shorter_than_a_read() {
        let values = [block(0, 60), block(60, 65)];
        assert_eq!(plan(&values, &[], STRICT), [block(0, 125)]);
        let values = [block(0, 60), block(60, 66)];
        assert_eq!(plan(&values, &[], STRICT), [block(0, 60), block(60, 66)]);
    }

    #[test]
    fn splits_a_value_longer_than_a_read_and_reads_the_proofs_first() {
        let values = [block(0, 300), block(400, 1)];
        let blocks = plan(&values, &[block(400, 1)], STRICT);
        assert_eq!(blocks, [block(400, 1), block(0, 125), block(125, 125), block(250, 50)]);
    }

    proptest! {
        #[test]
        fn every_register_of_every_value_is_read_and_no_read_is_too_long(
            values in prop::collection::vec((0u16..2000, 1u16..200).prop_map(|(s, l)| block(s, l)), 1..30),
            gap_max in 0u16..20,
            block_max in 1u16..200,
        ) {
            let limits = Limits { gap_max, block_max };
            let blocks = plan(&values, &values[..1], limits);
            let mut registers = Registers::default();
            for read in blocks {
                prop_assert!(read.len <= block_max.min(125));
                registers.push(read, Ok(read.range().map(|address| address as u16).collect()));
            }
            for value in values {
                let expected: Vec<u16> = value.range().map(|address| address as u16).collect();
                prop_assert_eq!(registers.get(value), Ok(expected));
            }
        }
    }
}
