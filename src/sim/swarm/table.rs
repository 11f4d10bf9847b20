//! How often each kind of fault was reached, and what came of it.

use crate::sim::swarm::plan::Fault;

/// One world's counts.
#[derive(Clone, Debug)]
pub struct Tally {
    reached: Vec<u64>,
    /// Copies that crashed and recovered.
    pub forks: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self { reached: vec![0; Fault::ALL.len()], forks: 0 }
    }
}

impl Tally {
    pub fn reach(&mut self, fault: Fault) {
        if let Some(count) = self.reached.get_mut(fault as usize) {
            *count += 1;
        }
    }

    pub fn reached(&self, fault: Fault) -> u64 {
        self.reached.get(fault as usize).copied().unwrap_or(0)
    }

    pub fn add(&mut self, other: &Tally) {
        for (mine, theirs) in self.reached.iter_mut().zip(&other.reached) {
            *mine += theirs;
        }
        self.forks += other.forks;
    }
}
