//! Short runs in which given faults strike at given units, with a fork at every durable step: each copy loses its process and
//! what is not on its disk, recovers from the stored bodies, and runs to the end with every promise judged as in the original.

use crate::sim::settings::{PlantSettings, Weather};
use crate::sim::swarm::plan::{Fault, Plan};
use crate::sim::swarm::run::Report;
use crate::sim::swarm::setup::Setup;
use crate::sim::swarm::violation::{Verdict, claim};
use crate::sim::swarm::world::World;

/// Simulated time in which a run of so few units has to come to its end, whatever happened to it.
const END_MAX_US: u64 = 240_000_000;

#[derive(Clone, Copy, Debug)]
pub struct Script {
    pub name: &'static str,
    /// The unit that has just entered, and what happens then.
    strikes: &'static [(u64, Fault)],
}

pub const SCRIPTS: &[Script] = &[
    Script { name: "calm", strikes: &[] },
    Script {
        name: "disk",
        strikes: &[(5, Fault::CommitHalfSecond), (12, Fault::CommitTwoSeconds), (24, Fault::CommitFailsPresent)],
    },
    Script {
        name: "rejects",
        strikes: &[(6, Fault::RejectMissing), (14, Fault::RejectPhantom), (22, Fault::RejectSlips)],
    },
    Script {
        name: "gates",
        strikes: &[(4, Fault::SealFails), (12, Fault::LabelUnread), (20, Fault::SealFails), (28, Fault::LabelUnread)],
    },
    Script {
        name: "restarts",
        strikes: &[
            (6, Fault::ResetCamera),
            (14, Fault::ResetPrinter),
            (22, Fault::ResetPacker),
            (30, Fault::ResetRejector),
        ],
    },
    Script { name: "strays", strikes: &[(4, Fault::WriteOverRestart), (20, Fault::WriteOverRestart)] },
    Script {
        name: "ways",
        strikes: &[
            (5, Fault::WriteLost),
            (10, Fault::UpdateLost),
            (15, Fault::UpdateTwice),
            (20, Fault::BadQuality),
            (25, Fault::WriteLate),
            (30, Fault::Disconnect),
        ],
    },
    Script {
        name: "requests",
        strikes: &[(5, Fault::CloseAsked), (10, Fault::LoadAsked), (15, Fault::StopAsked), (30, Fault::FeedAckLost)],
    },
];

impl Script {
    pub fn named(name: &str) -> Option<Script> {
        SCRIPTS.iter().copied().find(|script| script.name == name)
    }

    pub fn run(self, units: u64, is_traced: bool) -> Report {
        let plant = PlantSettings {
            seed: 11,
            rate_per_minute: 1200,
            units_min: units,
            case_capacity: 4,
            pallet_capacity: 2,
            weather: Weather { no_read: 400, low_grade: 400, wrong_lot: 300, duplicate: 200, foreign: 0 },
            ring: 16,
            ends_ring: 64,
            verdict_deadline_ms: 800,
            ..PlantSettings::default()
        };
        let mut world = World::new(Setup::over(plant, units, false, 1), &Plan::calm());
        world.trace = is_traced.then(Vec::new);
        let outcome = world.play_script(self.strikes);
        let report = world.report(outcome, self.strikes.is_empty());
        Report { script: Some(self.name), ..report }
    }
}

impl World {
    fn play_script(&mut self, strikes: &[(u64, Fault)]) -> Verdict {
        let mut strikes = strikes.iter().copied().peekable();
        while !self.plant.view().is_finished || self.model.presented == 0 {
            self.step()?;
            while let Some((_, fault)) = strikes.next_if(|(unit, _)| *unit <= self.model.presented) {
                self.strike(fault)?;
            }
            if self.is_at_durable_step {
                self.fork_to_the_end()?;
            }
            claim(self.now_us < END_MAX_US, "I30", || self.why_not_running())?;
        }
        self.end_script()
    }

    fn fork_to_the_end(&mut self) -> Verdict {
        self.fold_agrees()?;
        self.tally.forks += 1;
        let mut copy = self.crashed_copy()?;
        let outcome = copy.play_copy();
        if let (Err(_), Some(trace), Some(copied)) = (&outcome, &mut self.trace, &mut copy.trace) {
            trace.append(copied);
        }
        outcome.map_err(|violation| violation.within("a copy that crashed"))
    }

    fn play_copy(&mut self) -> Verdict {
        let until_us = self.now_us + END_MAX_US;
        while !self.plant.view().is_finished || self.model.presented == 0 {
            self.step()?;
            claim(self.now_us < until_us, "I30", || self.why_not_running())?;
        }
        self.end_script()
    }

    fn end_script(&mut self) -> Verdict {
        self.closes(false)?;
        self.ends(false)
    }
}
