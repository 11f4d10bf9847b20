//! One seed from beginning to end, and many of them.
//!
//! Faults come and go until enough units were presented. Then everything is healed: the line has to be ready again within ten
//! seconds, and the next conforming case has to close within ten more (I30), beyond the time that the belt takes to bring it. The
//! plant runs out, the batch is stopped and closed as far as its counts allow, and the whole record is judged once more.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::engine::output::Refused;
use crate::engine::reason::{Difference, RequestRefusal};
use crate::sim::random::Random;
use crate::sim::swarm::crowd::Crowd;
use crate::sim::swarm::person::Goal;
use crate::sim::swarm::plan::Plan;
use crate::sim::swarm::script::SCRIPTS;
use crate::sim::swarm::setup::Setup;
use crate::sim::swarm::table::Tally;
use crate::sim::swarm::upstream::BURST;
use crate::sim::swarm::violation::{Verdict, Violation, claim};
use crate::sim::swarm::world::World;

const SECOND: u64 = 1_000_000;
/// Durable steps from one fork to the next in the swarm, and how long a copy runs on.
const FORK_STEPS: u64 = 256;
const FORK_US: u64 = 6 * SECOND;
/// The line is ready again so soon after the last fault, and the next case is closed so soon after it could be.
const READY_MAX_US: u64 = 10 * SECOND;

/// Where the world is forked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forks {
    None,
    /// At one durable step in 256.
    Some,
}

/// What came of one seed.
#[derive(Clone, Debug)]
pub struct Report {
    pub seed: u64,
    /// The name of a script, where it was one.
    pub script: Option<&'static str>,
    pub violation: Option<(u64, Violation)>,
    /// The head of the hash chain of its facts.
    pub head: [u8; 32],
    pub facts: u64,
    pub turns: u64,
    pub simulated_us: u64,
    pub presented: u64,
    pub conforming: u64,
    /// Conforming units that met no fault and were commissioned.
    pub proven: u64,
    pub commissioned: u64,
    pub cases: u64,
    pub pallets: u64,
    pub refused: u64,
    pub is_calm: bool,
    pub is_batch_closed: bool,
    pub tally: Tally,
    pub trace: Vec<String>,
}

/// Many seeds.
#[derive(Clone, Debug)]
pub struct Swarm {
    pub seeds: Range<u64>,
    pub units: u64,
    pub jobs: usize,
    pub forks: Forks,
    /// The scripts too, each with a fork at every durable step.
    pub scripts: bool,
}

/// Units of a script.
pub const SCRIPT_UNITS: u64 = 40;

/// Runs one seed.
pub fn seed(seed: u64, units: u64, forks: Forks, is_traced: bool) -> Report {
    let mut random = Random::new(seed ^ 0x91A2);
    let plan = Plan::drawn(&mut random);
    let mut setup = Setup::drawn(seed, units);
    setup.plant.rough = plan.rough.clone();
    let is_calm = plan.rates.is_empty() && plan.rough.kinds.is_empty();
    let mut world = World::new(setup, &plan);
    world.crowd = Crowd::drawn(seed, is_calm);
    world.trace = is_traced.then(Vec::new);
    let outcome = world.play(forks, is_calm);
    world.report(outcome, is_calm)
}

impl Swarm {
    /// Runs all seeds on `jobs` threads. The reports come in the order of the seeds, whatever the number of threads.
    pub fn run(&self) -> (Vec<Report>, Duration) {
        let started = Instant::now();
        let next = AtomicU64::new(0);
        let scripts = if self.scripts { SCRIPTS } else { &[] };
        let all = scripts.len() as u64 + (self.seeds.end - self.seeds.start);
        let reports = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let drawn = next.fetch_add(1, Ordering::Relaxed);
                        if drawn >= all {
                            break;
                        }
                        let script = usize::try_from(drawn).ok().and_then(|at| scripts.get(at));
                        let report = match script {
                            Some(script) => script.run(SCRIPT_UNITS, false),
                            None => {
                                seed(self.seeds.start + drawn - scripts.len() as u64, self.units, self.forks, false)
                            }
                        };
                        reports.lock().expect("no thread panics with the lock").push(report);
                    }
                });
            }
        });
        let mut reports = reports.into_inner().expect("no thread panicked with the lock");
        reports.sort_by_key(|report| (report.script.is_none(), report.script, report.seed));
        (reports, started.elapsed())
    }
}

impl World {
    fn play(&mut self, forks: Forks, is_calm: bool) -> Verdict {
        self.storms(forks)?;
        self.recovers()?;
        self.runs_out()?;
        self.closes(is_calm)?;
        self.ends(is_calm)
    }

    /// From one unit to the next on the belt.
    fn period_us(&self) -> u64 {
        self.setup.plant.unit_period_us()
    }

    fn storms(&mut self, forks: Forks) -> Verdict {
        let (units, mut forked) = (self.setup.units, 0);
        let until_us = 60 * SECOND + units * self.period_us() * 4;
        while self.model.presented < units {
            self.step()?;
            if forks == Forks::Some && self.is_at_durable_step && self.durable_steps / FORK_STEPS > forked {
                forked = self.durable_steps / FORK_STEPS;
                self.fork(FORK_US)?;
            }
            if self.now_us > until_us {
                // So much goes wrong that little gets done; it has to get better when that is over.
                break;
            }
        }
        Ok(())
    }

    // I30
    pub(super) fn recovers(&mut self) -> Verdict {
        self.heal();
        let healed_us = self.now_us;
        self.model.mark(healed_us);
        while !self.plant.view().is_running && !self.plant.view().is_finished {
            self.step()?;
            claim(self.now_us <= healed_us + READY_MAX_US, "I30", || {
                format!("not ready ten seconds after the last fault: {}", self.why_not_running())
            })?;
        }
        let plant = &self.setup.plant;
        let travel_us =
            plant.printer_to_camera_us + plant.verdict_deadline_ms * 1_000 + plant.exit_to_packer_us + SECOND;
        let fill_us = 4 * plant.case_capacity as u64 * self.period_us();
        let until_us = self.now_us + READY_MAX_US + travel_us + fill_us;
        while !self.model.is_marked_case_released && !self.plant.view().is_finished {
            self.step()?;
            claim(self.now_us <= until_us, "I30", || {
                format!("no case closed since the last fault at {healed_us} us: {}", self.why_not_running())
            })?;
        }
        Ok(())
    }

    pub(super) fn why_not_running(&self) -> String {
        let state = self.process.as_ref().map(|process| process.line.engine().state());
        let alarms = state.map(|state| state.alarms.clone()).unwrap_or_default();
        let away: Vec<&str> = state.map_or(Vec::new(), |state| {
            state.stations.iter().filter(|(_, at)| !at.joined).map(|(name, _)| name.as_str()).collect()
        });
        format!("process {}, alarms {alarms:?}, away {away:?}, plant {:?}", self.process.is_some(), self.plant.view())
    }

    /// The plant stops by itself when its last pallet is full; after faults it may not know what lies where.
    fn runs_out(&mut self) -> Verdict {
        let until_us = self.now_us + 30 * SECOND + 400 * self.period_us();
        while !self.plant.view().is_finished && self.now_us < until_us {
            self.step()?;
        }
        self.person.goal = Goal::RunOut;
        self.plant.order(crate::sim::physics::Deed::PressStop);
        self.wait(4 * SECOND)
    }

    fn wait(&mut self, for_us: u64) -> Verdict {
        let until_us = self.now_us + for_us;
        while self.now_us < until_us {
            self.step()?;
        }
        Ok(())
    }

    pub(super) fn closes(&mut self, is_calm: bool) -> Verdict {
        self.person.goal = Goal::Close;
        self.person.closing = None;
        let until_us = self.now_us + 10 * SECOND;
        while self.now_us < until_us && !self.ledger.is_batch_closed {
            self.step()?;
        }
        claim(self.person.closing.is_some() || self.ledger.is_batch_closed, "I30", || {
            "no answer to the close of the batch".to_owned()
        })?;
        let is_signable = self.crowd.is_there() && self.person.closing.as_ref().is_some_and(is_signable);
        claim(self.ledger.is_batch_closed || !is_signable, "I30", || {
            format!("two people cannot sign for the batch: {:?}", self.person.closing)
        })?;
        let is_closed = self.ledger.is_batch_closed || !self.plant.view().is_finished;
        claim(is_closed || !is_calm, "I30", || {
            format!("nothing went wrong and the batch does not close: {:?}", self.person.closing)
        })
    }

    pub(super) fn ends(&mut self, is_calm: bool) -> Verdict {
        let state = self.process.as_ref().map(|process| process.line.engine().state());
        // I15: every reject is confirmed, or resolved after an alarm.
        let in_transit = state.map_or(0, |state| state.transit.tracks.len());
        let is_still = !self.plant.view().is_finished;
        claim(in_transit == 0 || is_still, "I15", || format!("{in_transit} tracks have no end"))?;
        claim(!is_calm || self.model.proven == self.model.conforming || is_still, "I30", || {
            format!("{} of {} conforming units were commissioned", self.model.proven, self.model.conforming)
        })?;
        // The consumer takes its bursts every half second: what it was away for comes after that.
        let backlog = self.ledger.through().saturating_sub(self.upstream.taken());
        self.wait(2 * SECOND + backlog.saturating_sub(2 * BURST) * SECOND / BURST)?;
        // I17: after healing the consumer has all that is durable, but what this very second brought.
        let (taken, through) = (self.upstream.taken(), self.ledger.through());
        claim(taken + 200 >= through, "I17", || format!("the consumer has {taken} of {through} facts"))?;
        self.audit()?;
        self.fold_agrees()
    }

    pub(super) fn report(mut self, outcome: Verdict, is_calm: bool) -> Report {
        self.tally.add_mishaps(self.plant.tally());
        Report {
            seed: self.setup.seed,
            script: None,
            violation: outcome.err().map(|violation| (self.now_us, violation)),
            head: self.head(),
            facts: self.ledger.through(),
            turns: self.turns,
            simulated_us: self.now_us,
            presented: self.model.presented,
            conforming: self.model.conforming,
            proven: self.model.proven,
            commissioned: u64::from(self.ledger.commissioned),
            cases: self.model.cases,
            pallets: self.model.pallets,
            refused: u64::from(self.ledger.refused),
            is_calm,
            is_batch_closed: self.ledger.is_batch_closed,
            tally: self.tally,
            trace: self.trace.unwrap_or_default(),
        }
    }
}

/// Whether the close is refused for nothing but what was lost.
fn is_signable(closing: &Result<(), Refused>) -> bool {
    let is_lost = |difference: &Difference| {
        matches!(
            difference,
            Difference::Unaccounted(_) | Difference::UnresolvedRejects(_) | Difference::BinDiffers { .. }
        )
    };
    closing.as_ref().is_err_and(|refused| {
        refused.reasons == [RequestRefusal::NotBalanced] && refused.differences.iter().all(is_lost)
    })
}

/// For a violation: what runs it again.
pub fn replay(report: &Report, units: u64) -> Option<String> {
    report.violation.as_ref()?;
    Some(match report.script {
        Some(name) => format!("sealgate simulate --script {name} --trace"),
        None => format!("sealgate simulate --seed {} --units {units} --trace", report.seed),
    })
}
