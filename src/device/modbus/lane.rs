//! One station on a Modbus device: how its tags are read, and what of a read may be told.
//!
//! Where a group needs several blocks, epoch and guard are read again at the end (F68). Where the device refuses a block as a
//! mistake (exceptions 1 to 3), each value in it is asked for by itself: what is refused then becomes a wall around which the
//! plan runs from there on, and only its own tag is bad. Where no single value is refused, it was a hole, and then the length.

use std::collections::BTreeMap;

use super::{
    Outgoing,
    frame::Block,
    order_of,
    peer::{Peer, is_mistake},
    plan::{Cells, Limits, Slot, plan},
};
use crate::{
    device::{
        codec::{self, RegisterOrder},
        error::DeviceError,
        image::{Arrays, Image},
        settings::{ModbusLink, StationTags},
    },
    domain::tag::{Quality, Reading},
};

/// Group reads in a row that a moving guard may spoil before the next cycle has to do.
const TRIES: usize = 4;

pub(super) struct Lane {
    pub(super) image: Image,
    /// Beside the image's bindings; `None` where the address is of another protocol.
    places: Vec<Option<(Block, RegisterOrder)>>,
    limits: Limits,
    /// Values that the device refuses by themselves.
    walls: Vec<Block>,
    light: Group,
    full: Group,
    /// Read before `Connected` was said, told after it.
    pub(super) first: Option<Vec<Reading>>,
}

/// One group read: which bindings, by which blocks, and where in them.
#[derive(Default)]
struct Group {
    bindings: Vec<(usize, Slot)>,
    atoms: Vec<Block>,
    blocks: Vec<Block>,
    /// The proofs once more, where one request cannot bring everything.
    again: Vec<Block>,
    proofs: Vec<(usize, Slot)>,
}

impl Lane {
    pub(super) fn new(link: &ModbusLink, tags: &StationTags) -> Self {
        let image = Image::new(tags, Arrays::Heavy);
        let place = |binding: &crate::device::settings::Binding| {
            let (table, start) = binding.address.cell()?;
            Some((Block { table, start, len: binding.cells() }, order_of(link, binding)))
        };
        let places = image.bindings.iter().map(place).collect();
        let limits = Limits { gap_max: link.gap_max, block_max: link.block_max };
        let (light, full) = (Group::default(), Group::default());
        let mut lane = Self { light, full, image, places, limits, walls: Vec::new(), first: None };
        lane.replan();
        lane
    }

    /// One coherent read; `None` where the guard moved every time.
    pub(super) async fn read(
        &mut self,
        peer: &mut Peer,
        full: bool,
        mut outgoing: Option<&mut Outgoing<'_>>,
    ) -> Result<Option<Vec<Reading>>, DeviceError> {
        for _ in 0..TRIES {
            let cells = self.pass(peer, full, &mut outgoing).await?;
            let group = if full { &self.full } else { &self.light };
            let mut again = Cells::new();
            // Guard before epoch: the reverse of the order in which a device shows them.
            for block in &group.again {
                again.push(peer.read(*block).await?);
            }
            let readings = self.readings(&group.bindings, &cells);
            let is_whole =
                group.again.is_empty() || self.image.coherent(&readings, &self.readings(&group.proofs, &again));
            if is_whole {
                return Ok(Some(readings));
            }
        }
        Ok(None)
    }

    /// Every block once, after what there is to learn about the device has been learnt.
    async fn pass(
        &mut self,
        peer: &mut Peer,
        full: bool,
        outgoing: &mut Option<&mut Outgoing<'_>>,
    ) -> Result<Cells, DeviceError> {
        let mut cells = Cells::new();
        while let Some(block) = self.group(full).blocks.get(cells.len()).copied() {
            if let Some(outgoing) = outgoing {
                outgoing.flush(peer).await?;
            }
            let found = peer.read(block).await?;
            let is_refused = found.as_ref().is_err_and(|code| is_mistake(*code));
            if is_refused && self.learn(peer, full, block).await? || !is_refused && self.forget(block) {
                cells.clear();
                continue;
            }
            cells.push(found);
        }
        Ok(cells)
    }

    /// Finds out what in a refused block the device does not have. True where the plan is another one now; each time it is, a wall
    /// was found or a limit came down, so that this ends.
    async fn learn(&mut self, peer: &mut Peer, full: bool, block: Block) -> Result<bool, DeviceError> {
        let mut atoms: Vec<Block> = self.group(full).atoms.iter().copied().filter(|atom| block.holds(*atom)).collect();
        atoms.sort_unstable();
        atoms.dedup();
        if atoms.is_empty() || atoms == [block] {
            return Ok(false);
        }
        let known = self.walls.len();
        for atom in &atoms {
            let refused = peer.read(*atom).await?.is_err_and(is_mistake);
            if refused && !self.walls.contains(atom) {
                self.walls.push(*atom);
            }
        }
        let longest = atoms.iter().map(|atom| atom.len).max().unwrap_or(1);
        if self.walls.len() > known {
            tracing::debug!(?block, walls = ?self.walls, "device refuses a part of a block");
        } else if self.limits.gap_max > 0 {
            self.limits.gap_max = 0;
        } else if !block.table.is_bits() && block.len > longest {
            self.limits.block_max = longest.max(block.len / 2);
        } else {
            return Ok(false);
        }
        self.replan();
        Ok(true)
    }

    /// The device has a place now that it refused before.
    fn forget(&mut self, block: Block) -> bool {
        let known = self.walls.len();
        self.walls.retain(|wall| *wall != block);
        let is_news = self.walls.len() < known;
        if is_news {
            self.replan();
        }
        is_news
    }

    fn group(&self, full: bool) -> &Group {
        if full { &self.full } else { &self.light }
    }

    fn replan(&mut self) {
        self.light = self.planned(false);
        self.full = self.planned(true);
    }

    fn planned(&self, full: bool) -> Group {
        let indexes: Vec<usize> = self.image.to_read(full).collect();
        let proofs: Vec<usize> = self.image.proofs();
        let proof_blocks: Vec<Block> = proofs.iter().filter_map(|index| self.block(*index)).collect();
        let atoms = self.atoms(&indexes);
        let blocks = plan(&atoms, &proof_blocks, &self.walls, self.limits);
        let mut again = Vec::new();
        if blocks.len() > 1 && !proof_blocks.is_empty() {
            again = plan(&proof_blocks, &[], &self.walls, Limits { gap_max: 0, ..self.limits });
            again.reverse();
        }
        let slots = |indexes: &[usize], blocks: &[Block]| {
            let slot = |index: &usize| {
                let slot = self.block(*index).map(|block| Slot::new(block, blocks)).unwrap_or_default();
                (*index, slot)
            };
            indexes.iter().map(slot).collect::<Vec<_>>()
        };
        Group { bindings: slots(&indexes, &blocks), proofs: slots(&proofs, &again), atoms, blocks, again }
    }

    /// The values, those of one group of the map as one.
    fn atoms(&self, indexes: &[usize]) -> Vec<Block> {
        let mut grouped: BTreeMap<(&str, crate::device::settings::Table), Block> = BTreeMap::new();
        let mut atoms = Vec::new();
        for index in indexes {
            let Some(block) = self.block(*index) else { continue };
            let group = self.image.bindings.get(*index).and_then(|binding| binding.group.as_deref());
            let Some(name) = group else {
                atoms.push(block);
                continue;
            };
            let whole = grouped.entry((name, block.table)).or_insert(block);
            *whole = whole.around(block).unwrap_or(*whole);
        }
        atoms.extend(grouped.into_values());
        atoms
    }

    fn block(&self, index: usize) -> Option<Block> {
        self.places.get(index).copied().flatten().map(|(block, _)| block)
    }

    fn readings(&self, bindings: &[(usize, Slot)], cells: &Cells) -> Vec<Reading> {
        bindings.iter().flat_map(|(index, slot)| self.decode(*index, slot, cells)).collect()
    }

    fn decode(&self, index: usize, slot: &Slot, cells: &Cells) -> Vec<Reading> {
        let (Some(binding), Some(place)) = (self.image.bindings.get(index), self.places.get(index)) else {
            return Vec::new();
        };
        let found = match place {
            Some((_, order)) => slot.look(cells, |words| codec::decode_cells(binding, *order, words)),
            None => Err(0),
        };
        match found {
            Ok(value) => codec::readings(binding, value.ok_or_else(Vec::new), Quality::Good, None),
            Err(code) => codec::readings(binding, Err(Vec::new()), Quality::Bad(u32::from(code)), None),
        }
    }
}
