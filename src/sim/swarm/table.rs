//! How often each kind of fault was reached: those of the simulator, and those of the plant.

use crate::sim::mishap::{self, Mishap};
use crate::sim::swarm::crowd::Move;
use crate::sim::swarm::plan::Fault;

/// One world's counts.
#[derive(Clone, Debug)]
pub struct Tally {
    reached: Vec<u64>,
    mishaps: Vec<u64>,
    /// What people did.
    moves: Vec<u64>,
    /// Copies that crashed and recovered.
    pub forks: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            reached: vec![0; Fault::ALL.len()],
            mishaps: vec![0; Mishap::ALL.len()],
            moves: vec![0; Move::ALL.len()],
            forks: 0,
        }
    }
}

impl Tally {
    pub fn reach(&mut self, fault: Fault) {
        if let Some(count) = self.reached.get_mut(fault as usize) {
            *count += 1;
        }
    }

    pub fn make(&mut self, made: Move) {
        if let Some(count) = self.moves.get_mut(made as usize) {
            *count += 1;
        }
    }

    pub fn add_mishaps(&mut self, plant: &mishap::Tally) {
        for (count, mishap) in self.mishaps.iter_mut().zip(Mishap::ALL) {
            *count += plant.of(*mishap);
        }
    }

    pub fn add(&mut self, other: &Tally) {
        let mine = self.reached.iter_mut().chain(&mut self.mishaps).chain(&mut self.moves);
        for (mine, theirs) in mine.zip(other.reached.iter().chain(&other.mishaps).chain(&other.moves)) {
            *mine += theirs;
        }
        self.forks += other.forks;
    }

    /// Every kind by its name, with how often it was reached.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let faults = Fault::ALL.iter().map(|fault| fault.name()).zip(self.reached.iter().copied());
        let mishaps = Mishap::ALL.iter().map(|mishap| mishap.name()).zip(self.mishaps.iter().copied());
        let moves = Move::ALL.iter().map(|made| made.name()).zip(self.moves.iter().copied());
        faults.chain(mishaps).chain(moves)
    }
}
