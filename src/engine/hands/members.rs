//! Containers and their members, as the fold of the facts changes them.

use crate::domain::gs1::{SerialNumber, Sscc};
use crate::domain::pack::{ContainerState, Gate, PackLevel, SerialState};
use crate::engine::fact::{Child, RequestKey};
use crate::engine::hands::{Told, Withdrawal};
use crate::engine::input::CloseEnd;
use crate::engine::state::{Batch, Container, place};

impl Batch {
    pub(in crate::engine) fn set_container(&mut self, sscc: &Sscc, state: ContainerState) {
        if let Some(container) = self.container_mut(sscc) {
            container.state = state;
        }
    }

    pub(in crate::engine) fn pack(&mut self, request: &RequestKey, level: PackLevel, sscc: Sscc, children: &[Child]) {
        let at = match self.by_sscc.get(&sscc) {
            Some(at) => *at,
            None => self.insert_container(request, level, sscc),
        };
        if let Some(container) = self.containers.get_mut(place(at)) {
            (container.children, container.is_reopened) = (children.to_vec(), false);
        }
        self.set_parent(children, Some(at));
    }

    fn insert_container(&mut self, request: &RequestKey, level: PackLevel, sscc: Sscc) -> u32 {
        let at = u32::try_from(self.containers.len()).unwrap_or(u32::MAX);
        let state = ContainerState::Open;
        let (told, is_reopened, labels) = (Told::Nothing, false, 0);
        self.containers.push(Container {
            sscc,
            level,
            state,
            children: Vec::new(),
            parent: None,
            told,
            is_reopened,
            labels,
        });
        self.by_sscc.insert(sscc, at);
        self.by_count.insert((request.station, request.epoch, request.container), at);
        self.sscc_used = self.sscc_used.saturating_add(1);
        at
    }

    fn set_parent(&mut self, children: &[Child], parent: Option<u32>) {
        for child in children {
            match child {
                Child::Unit(serial) => self.set_unit_parent(serial, parent),
                Child::Container(sscc) => {
                    if let Some(container) = self.container_mut(sscc) {
                        container.parent = parent;
                    }
                }
            }
        }
    }

    fn set_unit_parent(&mut self, serial: &SerialNumber, parent: Option<u32>) {
        let Some(unit) = self.pool.unit_of_mut(serial) else { return };
        unit.parent = parent;
        let counts = &mut self.counts;
        if parent.is_some() {
            counts.packed = counts.packed.saturating_add(1);
            counts.loose = counts.loose.saturating_sub(1);
        } else {
            counts.packed = counts.packed.saturating_sub(1);
            counts.loose = counts.loose.saturating_add(1);
        }
    }

    pub(in crate::engine) fn release(&mut self, level: PackLevel, sscc: &Sscc) {
        if let Some(container) = self.container_mut(sscc) {
            (container.state, container.told) = (ContainerState::Released, Told::Content);
        }
        if let Some(released) = self.released_of(level) {
            *released = released.saturating_add(1);
        }
    }

    /// A seal that did not happen leaves an open container without children; a release that did not, a closed one.
    pub(in crate::engine) fn reopen(&mut self, gate: Gate, sscc: &Sscc, result: CloseEnd) {
        debug_assert!(result != CloseEnd::Done, "a close that is done does not fail");
        if gate == Gate::Release {
            return self.set_container(sscc, ContainerState::Closed);
        }
        let Some(container) = self.container_mut(sscc) else { return };
        container.state = ContainerState::Open;
        let children = std::mem::take(&mut container.children);
        self.set_parent(&children, None);
    }

    /// Empty and open: what lay in it is loose until a machine closes it again.
    pub(in crate::engine) fn open_by_hand(&mut self, level: PackLevel, sscc: &Sscc) {
        let Some(container) = self.container_mut(sscc) else { return };
        let was_released = container.state == ContainerState::Released;
        (container.state, container.is_reopened) = (ContainerState::Open, true);
        container.told = container.told.min(Told::Label);
        let children = std::mem::take(&mut container.children);
        self.set_parent(&children, None);
        if was_released {
            self.unrelease(level);
        }
    }

    /// One that was released waits for the label to be read back once more.
    pub(in crate::engine) fn void_label(&mut self, level: PackLevel, sscc: &Sscc, copy: u32) {
        let Some(container) = self.container_mut(sscc) else { return };
        container.labels = copy;
        if container.state == ContainerState::Released {
            container.state = ContainerState::Closed;
            self.unrelease(level);
        }
    }

    fn unrelease(&mut self, level: PackLevel) {
        if let Some(released) = self.released_of(level) {
            *released = released.saturating_sub(1);
        }
    }

    fn released_of(&mut self, level: PackLevel) -> Option<&mut u32> {
        match level {
            PackLevel::Case => Some(&mut self.counts.cases_released),
            PackLevel::Pallet => Some(&mut self.counts.pallets_released),
            PackLevel::Unit | PackLevel::Bundle => None,
        }
    }

    /// A unit that was commissioned lies in no container by now.
    pub(in crate::engine) fn withdraw(&mut self, serial: &SerialNumber, withdrawal: Withdrawal) {
        let Some(unit) = self.pool.unit_of_mut(serial) else { return };
        let before = std::mem::replace(&mut unit.state, withdrawal.state());
        let was_seen = std::mem::replace(&mut unit.seen, true);
        self.unread_by_hand = self.unread_by_hand.saturating_add(u32::from(!was_seen));
        let counts = &mut self.counts;
        if before == SerialState::Commissioned {
            counts.loose = counts.loose.saturating_sub(1);
        } else if before == SerialState::Sampled {
            counts.sampled = counts.sampled.saturating_sub(1);
        }
        let count = match withdrawal {
            Withdrawal::LabelSampled => &mut counts.label_sampled,
            Withdrawal::LabelScrapped => &mut counts.scrapped,
            Withdrawal::Sampled => &mut counts.sampled,
            Withdrawal::Inactive => &mut counts.inactive,
            Withdrawal::Destroyed => &mut counts.destroyed,
        };
        *count = count.saturating_add(1);
    }
}
