//! The serials of one batch: their order of printing, their states, and a sorted index, 37 bytes a serial.
//! A million of them stay open on a line (DESIGN section 10), so nothing here allocates after the load.

use crate::domain::gs1::SerialNumber;
use crate::domain::pack::SerialState;

/// The serials of a batch by their place in the order of printing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    order: Vec<SerialNumber>,
    /// Places sorted by serial.
    sorted: Vec<u32>,
    units: Vec<Unit>,
}

/// What is known of the unit that bears a serial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    pub state: SerialState,
    /// A camera decided on it, one way or the other: a second read is a duplicate.
    pub seen: bool,
    pub verified: bool,
    /// The container that holds it, as an index into the batch's containers.
    pub parent: Option<u32>,
}

impl Unit {
    /// It left the printer, whatever became of it.
    pub fn is_printed(&self) -> bool {
        match self.state {
            SerialState::Unassigned | SerialState::Unallocated | SerialState::Allocated | SerialState::SnInvalid => {
                false
            }
            SerialState::LabelSampled
            | SerialState::LabelScrapped
            | SerialState::Encoded
            | SerialState::Commissioned
            | SerialState::Sampled
            | SerialState::Inactive
            | SerialState::Destroyed
            | SerialState::Released => true,
        }
    }
}

impl Pool {
    /// Serials in the order of printing, without repeats (`wire::order` proves that).
    pub fn new(order: Vec<SerialNumber>) -> Self {
        let mut sorted: Vec<u32> = (0..).take(order.len()).collect();
        sorted.sort_unstable_by_key(|place| serial_at(&order, *place));
        let unit = Unit { state: SerialState::Unallocated, seen: false, verified: false, parent: None };
        let units = vec![unit; order.len()];
        Self { order, sorted, units }
    }

    pub fn len(&self) -> u32 {
        u32::try_from(self.order.len()).unwrap_or(u32::MAX)
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The place of a serial in the order of printing.
    pub fn find(&self, serial: &SerialNumber) -> Option<u32> {
        let at = self.sorted.binary_search_by(|place| serial_at(&self.order, *place).cmp(&Some(*serial))).ok()?;
        self.sorted.get(at).copied()
    }

    pub fn serial(&self, place: u32) -> Option<SerialNumber> {
        serial_at(&self.order, place)
    }

    pub fn unit(&self, place: u32) -> Option<&Unit> {
        self.units.get(index(place))
    }

    pub fn unit_of(&self, serial: &SerialNumber) -> Option<&Unit> {
        self.unit(self.find(serial)?)
    }

    /// The serials `first .. first + count`, as many as there are.
    pub fn range(&self, first: u32, count: u32) -> &[SerialNumber] {
        let end = index(first.saturating_add(count)).min(self.order.len());
        self.order.get(index(first)..end).unwrap_or_default()
    }

    pub(super) fn unit_mut(&mut self, place: u32) -> Option<&mut Unit> {
        self.units.get_mut(index(place))
    }

    pub(super) fn unit_of_mut(&mut self, serial: &SerialNumber) -> Option<&mut Unit> {
        let place = self.find(serial)?;
        self.unit_mut(place)
    }
}

fn serial_at(order: &[SerialNumber], place: u32) -> Option<SerialNumber> {
    order.get(index(place)).copied()
}

/// A place as an index; a 32-bit place fits every platform that Sealgate runs on.
fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_serial_by_its_text_alone() {
        let names = ["7", "A1", "001", "1", "'OR'1'='1'--", "../../etc/passwd"];
        let serials: Vec<_> = names.iter().filter_map(|name| SerialNumber::new(name).ok()).collect();
        let pool = Pool::new(serials.clone());
        for (place, serial) in (0..).zip(&serials) {
            assert_eq!(pool.find(serial), Some(place));
            assert_eq!(pool.serial(place), Some(*serial));
        }
        assert_eq!(SerialNumber::new("01").ok().and_then(|serial| pool.find(&serial)), None);
    }
}
