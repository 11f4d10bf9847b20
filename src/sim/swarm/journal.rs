//! The journal of a simulated line, which can fail: a commit takes its time, comes back with an error and is there or not, and
//! what is in flight when the process dies is kept whole or not at all. What it took lies in a `MemoryJournal`, which keeps
//! the rules of the tables.

use std::cell::RefCell;
use std::rc::Rc;

use crate::store::memory::MemoryJournal;
use crate::store::{Busy, Durable, Journal, StoreError, Work};
use crate::wire::record::Record;

/// What the line handed over in one go.
#[derive(Clone, Debug, Default)]
pub struct Group {
    pub records: Vec<Record>,
    pub work: Vec<Work>,
}

/// The line's end: holds one group until the world takes it to the disk.
#[derive(Clone, Debug, Default)]
pub struct Slip(Rc<RefCell<Option<Group>>>);

impl Slip {
    pub fn take(&self) -> Option<Group> {
        self.0.borrow_mut().take()
    }
}

impl Journal for Slip {
    fn submit(&mut self, records: Vec<Record>, work: Vec<Work>) -> Result<(), Busy> {
        let mut slot = self.0.borrow_mut();
        if slot.is_some() {
            return Err(Busy { records, work });
        }
        *slot = Some(Group { records, work });
        Ok(())
    }
}

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    #[default]
    Taken,
    /// It comes back with an error, and the group is there all the same.
    FailsPresent,
    /// It comes back with an error, and nothing of the group is there.
    FailsAbsent,
}

#[derive(Debug)]
struct Flight {
    group: Group,
    due_us: u64,
    fate: Fate,
}

/// What came of the commit in flight.
#[derive(Debug)]
pub enum Outcome {
    Done(Durable),
    /// The process ends here, as production does with exit 74.
    Failed,
}

#[derive(Debug, Default)]
pub struct Disk {
    kept: MemoryJournal,
    flight: Option<Flight>,
}

impl Disk {
    pub fn kept(&self) -> &MemoryJournal {
        &self.kept
    }

    /// The disk as a power cut would leave it now: without what is in flight.
    pub fn copy(&self) -> Self {
        Self { kept: self.kept.copy(), flight: None }
    }

    /// Takes a group that the line handed over; one is in flight at most.
    pub fn begin(&mut self, group: Group, due_us: u64, fate: Fate) {
        debug_assert!(self.flight.is_none(), "one group is in flight");
        self.flight = Some(Flight { group, due_us, fate });
    }

    pub fn due_us(&self) -> Option<u64> {
        self.flight.as_ref().map(|flight| flight.due_us)
    }

    /// The disk is itself again.
    pub fn hasten(&mut self, due_us: u64) {
        if let Some(flight) = &mut self.flight {
            flight.due_us = flight.due_us.min(due_us);
            flight.fate = Fate::Taken;
        }
    }

    /// The commit comes back. An error is a group that the tables refuse.
    pub fn finish(&mut self) -> Result<Option<Outcome>, StoreError> {
        let Some(flight) = self.flight.take() else { return Ok(None) };
        match flight.fate {
            Fate::Taken => self.commit(flight.group).map(|durable| Some(Outcome::Done(durable))),
            Fate::FailsPresent => self.commit(flight.group).map(|_| Some(Outcome::Failed)),
            Fate::FailsAbsent => Ok(Some(Outcome::Failed)),
        }
    }

    /// The process dies: what is in flight is there whole, or nothing of it. True where there was something.
    pub fn crash(&mut self, is_kept: bool) -> Result<bool, StoreError> {
        match self.flight.take() {
            Some(flight) if is_kept => self.commit(flight.group).map(|_| true),
            other => Ok(other.is_some()),
        }
    }

    fn commit(&mut self, group: Group) -> Result<Durable, StoreError> {
        self.kept.submit(group.records, group.work).expect("every outcome was taken before");
        self.kept.take_durable().expect("a group that was submitted has an outcome")
    }
}
