//! Which blocks one group read asks for, and where each value lies in them.
//!
//! Values that lie together are read together, up to the longest read the device takes, and over holes only where the map allows
//! it. What the map calls a group is one atom, read by one request. An atom is split only when it is longer than a read. A place
//! that the device refuses is a wall: it is asked for alone, and no other read runs over it, so that one mistake in a map costs
//! one tag. The block that holds the proofs (epoch, guard) comes first, so that reading the proofs once more at the end brackets
//! everything in between.

use std::ops::Range;

use super::frame::{Block, READ_MAX};
use crate::device::settings::Table;

/// What the device and its map allow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) gap_max: u16,
    /// Registers; sixteen times as many bits.
    pub(super) block_max: u16,
}

impl Limits {
    fn len_max(self, table: Table) -> u32 {
        let registers = u32::from(self.block_max.clamp(1, READ_MAX));
        if table.is_bits() { registers * 16 } else { registers }
    }
}

impl Block {
    fn range(self) -> Range<u32> {
        u32::from(self.start)..u32::from(self.start) + u32::from(self.len)
    }

    pub(super) fn touches(self, other: Block) -> bool {
        let (a, b) = (self.range(), other.range());
        self.table == other.table && a.start < b.end && b.start < a.end
    }

    pub(super) fn holds(self, other: Block) -> bool {
        let (a, b) = (self.range(), other.range());
        self.table == other.table && a.start <= b.start && b.end <= a.end
    }

    /// From the first to the last of both; `None` in two tables, or where the whole is longer than a table.
    pub(super) fn around(self, other: Block) -> Option<Block> {
        let (a, b) = (self.range(), other.range());
        let whole = a.start.min(b.start)..a.end.max(b.end);
        (self.table == other.table).then(|| to_block(self.table, whole))?
    }
}

/// The blocks that cover all `atoms`; those that hold one of `proofs` first.
pub(super) fn plan(atoms: &[Block], proofs: &[Block], walls: &[Block], limits: Limits) -> Vec<Block> {
    let mut blocks = cover(atoms, walls, limits);
    // A stable sort: the others stay in the order of their addresses.
    blocks.sort_by_key(|block| !proofs.iter().any(|proof| proof.touches(*block)));
    blocks
}

fn cover(atoms: &[Block], walls: &[Block], limits: Limits) -> Vec<Block> {
    let mut atoms: Vec<Block> = atoms.iter().copied().filter(|atom| atom.len > 0).collect();
    atoms.sort_unstable();
    let mut blocks: Vec<Block> = Vec::new();
    for atom in atoms {
        let joined = blocks.last().and_then(|last| join(*last, atom, walls, limits));
        match (joined, blocks.last_mut()) {
            (Some(joined), Some(last)) => *last = joined,
            (Some(_) | None, _) => blocks.extend(pieces(atom, limits.len_max(atom.table))),
        }
    }
    blocks
}

fn join(last: Block, atom: Block, walls: &[Block], limits: Limits) -> Option<Block> {
    let whole = last.around(atom)?;
    let is_near = atom.range().start <= last.range().end + u32::from(limits.gap_max);
    let is_short = u32::from(whole.len) <= limits.len_max(atom.table);
    let is_walled = walls.iter().any(|wall| wall.touches(whole));
    (is_near && is_short && !is_walled).then_some(whole)
}

fn pieces(atom: Block, len_max: u32) -> impl Iterator<Item = Block> {
    let range = atom.range();
    let step = usize::try_from(len_max).unwrap_or(1);
    let cut = range.clone().step_by(step).map(move |start| start..range.end.min(start + len_max));
    cut.filter_map(move |range| to_block(atom.table, range))
}

/// `None` beyond the last register; such a value reads as bad.
fn to_block(table: Table, range: Range<u32>) -> Option<Block> {
    let len = u16::try_from(range.end.min(65_536).checked_sub(range.start)?).ok()?;
    Some(Block { table, start: u16::try_from(range.start).ok()?, len })
}

/// What the blocks of one pass gave, in the order of the plan.
pub(super) type Cells = Vec<Result<Vec<u16>, u8>>;

/// Where a value lies: pieces of blocks, one after the other; nothing where no block holds all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    block: usize,
    cells: Range<usize>,
}

impl Slot {
    pub(super) fn new(value: Block, blocks: &[Block]) -> Self {
        let mut pieces = Vec::new();
        let mut range = value.range();
        while !range.is_empty() {
            let rest = to_block(value.table, range.clone());
            // The whole of what is left, or else what begins there.
            let begins = |block: &Block| block.table == value.table && block.range().contains(&range.start);
            let whole = blocks.iter().position(|block| rest.is_some_and(|rest| block.holds(rest)));
            let Some(index) = whole.or_else(|| blocks.iter().position(begins)) else { return Self::default() };
            let Some(held) = blocks.get(index).map(|block| block.range()) else { return Self::default() };
            let end = held.end.min(range.end);
            let offset = |at: u32| usize::try_from(at - held.start).unwrap_or(usize::MAX);
            pieces.push(Piece { block: index, cells: offset(range.start)..offset(end) });
            range.start = end;
        }
        Self(pieces)
    }

    /// Gives the cells of the value to `decode`, or the exception code of a block that holds a part of it; 0 where none does.
    pub(super) fn look<T>(&self, cells: &Cells, decode: impl FnOnce(&[u16]) -> T) -> Result<T, u8> {
        match self.0.as_slice() {
            [] => Err(0),
            [one] => one.of(cells).map(decode),
            several => {
                let found: Result<Vec<&[u16]>, u8> = several.iter().map(|piece| piece.of(cells)).collect();
                found.map(|pieces| decode(&pieces.concat()))
            }
        }
    }
}

impl Piece {
    fn of<'c>(&self, cells: &'c Cells) -> Result<&'c [u16], u8> {
        match cells.get(self.block) {
            Some(Ok(found)) => found.get(self.cells.clone()).ok_or(0),
            Some(Err(code)) => Err(*code),
            None => Err(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STRICT: Limits = Limits { gap_max: 0, block_max: 125 };
    const GENEROUS: Limits = Limits { gap_max: 8, block_max: 125 };

    fn block(start: u16, len: u16) -> Block {
        Block { table: Table::Holding, start, len }
    }

    #[test]
    fn joins_neighbours_and_runs_over_no_hole_that_the_map_forbids() {
        let values = [block(10, 2), block(0, 1), block(1, 1), block(12, 4)];
        assert_eq!(plan(&values, &[], &[], STRICT), [block(0, 2), block(10, 6)]);
        assert_eq!(plan(&values, &[], &[], GENEROUS), [block(0, 16)]);
    }

    #[test]
    fn never_splits_a_group_that_fits_nor_a_value_shorter_than_a_read() {
        let values = [block(0, 60), block(60, 65)];
        assert_eq!(plan(&values, &[], &[], STRICT), [block(0, 125)]);
        let values = [block(0, 60), block(60, 66)];
        assert_eq!(plan(&values, &[], &[], STRICT), [block(0, 60), block(60, 66)]);
    }

    #[test]
    fn splits_a_value_longer_than_a_read_and_reads_the_proofs_first() {
        let values = [block(0, 300), block(400, 1)];
        let blocks = plan(&values, &[block(400, 1)], &[], STRICT);
        assert_eq!(blocks, [block(400, 1), block(0, 125), block(125, 125), block(250, 50)]);
    }

    #[test]
    fn no_read_runs_over_a_place_that_the_device_refused() {
        let values = [block(0, 2), block(2, 2), block(4, 2), block(6, 2)];
        assert_eq!(plan(&values, &[], &[block(2, 2)], GENEROUS), [block(0, 2), block(2, 2), block(4, 4)]);
    }

    #[test]
    fn tables_are_never_mixed_and_bits_are_read_by_the_two_thousand() {
        let bit = |start, len| Block { table: Table::Coil, start, len };
        let values = [bit(0, 1), bit(1999, 1), bit(2000, 1), block(1, 1)];
        let limits = Limits { gap_max: 2000, block_max: 125 };
        assert_eq!(plan(&values, &[], &[], limits), [bit(0, 2000), bit(2000, 1), block(1, 1)]);
    }

    proptest! {
        #[test]
        fn every_register_of_every_value_is_read_and_no_read_is_too_long(
            values in prop::collection::vec((0u16..2000, 1u16..200).prop_map(|(s, l)| block(s, l)), 1..30),
            walls in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
            gap_max in 0u16..20,
            block_max in 1u16..200,
        ) {
            let limits = Limits { gap_max, block_max };
            let walls: Vec<Block> = walls.into_iter().map(|index| *index.get(&values)).collect();
            let blocks = plan(&values, &values[..1], &walls, limits);
            prop_assert!(blocks.iter().all(|read| read.len <= block_max.min(125)));
            let cells: Cells =
                blocks.iter().map(|read| Ok(read.range().map(|address| address as u16).collect())).collect();
            for value in values {
                let expected: Vec<u16> = value.range().map(|address| address as u16).collect();
                let found = Slot::new(value, &blocks).look(&cells, <[u16]>::to_vec);
                prop_assert_eq!(found, Ok(expected));
            }
        }
    }
}
