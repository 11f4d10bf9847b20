//! Crash equivalence (I28): at a durable step the world is copied, the copy loses its process and everything that is not on its
//! disk, and recovers from the stored bodies alone. What it knows then is what the line knew at that fact; and the copy, run
//! on, keeps every promise too: nothing that a machine, a person or the broker was told is missing from it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::sim::swarm::journal::Fate;
use crate::sim::swarm::plan::{Plan, Storm};
use crate::sim::swarm::violation::{Verdict, claim};
use crate::sim::swarm::world::World;

impl World {
    /// The world as a power cut of the line's computer leaves it now. The machines do not notice.
    pub(super) fn crashed_copy(&mut self) -> Result<World, super::violation::Violation> {
        let seed = self.random.next_u64();
        let mut random = crate::sim::random::Random::new(seed);
        let storm = Storm::new(&Plan::calm(), &mut random);
        let mut copy = World {
            setup: Arc::clone(&self.setup),
            now_us: self.now_us,
            random,
            plant: self.plant.clone(),
            tags: self.tags.clone(),
            wires: self.wires.clone(),
            due: BTreeMap::new(),
            order: 0,
            process: None,
            boots: self.boots,
            starts_at_us: 0,
            crashed_at_us: self.crashed_at_us.clone(),
            died_at_us: self.now_us,
            disk: self.disk.copy(),
            next_fate: Fate::Taken,
            next_commit_us: 0,
            groups: self.groups,
            fold: self.fold.clone(),
            upstream: self.upstream.clone(),
            person: self.person.clone(),
            crowd: self.crowd.clone(),
            storm,
            clock_offset_us: self.clock_offset_us,
            ledger: self.ledger.clone(),
            model: self.model.clone(),
            tally: Default::default(),
            turns: 0,
            durable_steps: 0,
            trace: self.trace.as_ref().map(|_| vec!["(a copy that crashed here)".to_owned()]),
            next_tick_us: self.next_tick_us,
            next_pump_us: self.next_pump_us,
            is_at_durable_step: false,
        };
        let (line, known) = (self.process.as_ref().map(|process| process.line.engine().state()), &copy.fold.state);
        let differs = line.is_some_and(|state| state.seq == known.seq && state != known);
        claim(!differs, "I28", || format!("the recovered state differs at fact {}", known.seq))?;
        // I28: what the consumer has taken is there.
        claim(copy.upstream.taken() <= known.seq, "I28", || "the consumer has more than the journal".to_owned())?;
        copy.wires.iter_mut().for_each(super::wiring::Wire::disconnect);
        copy.wires.iter_mut().for_each(super::wiring::Wire::heal);
        copy.bury()?;
        Ok(copy)
    }

    // I28: the whole journal, read again from its first byte, is what has been folded as it grew.
    pub(super) fn fold_agrees(&self) -> Verdict {
        let again = World::fold_all(self.disk.kept())?;
        claim(again.state == self.fold.state, "I28", || "the fold of the whole journal differs".to_owned())
    }

    /// Copies, crashes and runs the copy on for so long.
    pub(super) fn fork(&mut self, for_us: u64) -> Verdict {
        self.tally.forks += 1;
        let mut copy = self.crashed_copy()?;
        let until_us = copy.now_us + for_us;
        while copy.now_us < until_us {
            copy.step().map_err(|violation| violation.within("a copy that crashed"))?;
        }
        copy.audit().map_err(|violation| violation.within("a copy that crashed"))
    }
}
