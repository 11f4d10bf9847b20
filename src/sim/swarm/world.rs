//! One simulated line and its one step. Everything that happens to the line comes through `turn`, in the order of its time.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::tag::{StationId, StationKind};
use crate::line::Arrival;
use crate::line::recover::Recovery;
use crate::sim::mishap::Mishap;
use crate::sim::physics::{Deed, Plant};
use crate::sim::random::Random;
use crate::sim::swarm::crowd::Crowd;
use crate::sim::swarm::journal::{Disk, Fate};
use crate::sim::swarm::ledger::Ledger;
use crate::sim::swarm::model::Model;
use crate::sim::swarm::person::Person;
use crate::sim::swarm::plan::{Fault, Plan, Storm};
use crate::sim::swarm::process::Process;
use crate::sim::swarm::setup::Setup;
use crate::sim::swarm::table::Tally;
use crate::sim::swarm::upstream::Upstream;
use crate::sim::swarm::violation::Verdict;
use crate::sim::swarm::wiring::Wire;
use crate::sim::tags::{StationValue, Tags};

/// Turns happen at least so often, as in production.
const TICK_US: u64 = 50_000;
/// The consumer is served so often.
const PUMP_US: u64 = 500_000;
/// All that costs more is judged after so many turns.
pub(super) const AUDIT_TURNS: u64 = 256;

/// What arrives at its time.
#[derive(Debug)]
pub(super) enum Due {
    /// For the process of this number; one that died meanwhile gets nothing.
    Arrival(u32, Arrival),
    /// To a station, in the session of this number.
    Write(StationId, u32, Vec<StationValue>),
    /// The sessions to the stations of a device stand again.
    Reconnect(Vec<StationId>),
    Crash(Fault),
    /// A mishap outside of the plant is over.
    Over(Mishap),
}

pub struct World {
    pub(super) setup: Arc<Setup>,
    pub(super) now_us: u64,
    pub(super) random: Random,
    pub(super) plant: Plant,
    pub(super) tags: Tags,
    pub(super) wires: Vec<Wire>,
    pub(super) due: BTreeMap<(u64, u64), Due>,
    pub(super) order: u64,
    pub(super) process: Option<Process>,
    pub(super) boots: u32,
    /// When the next process starts, where none runs.
    pub(super) starts_at_us: u64,
    /// Starts of the last ten minutes after a crash.
    pub(super) crashed_at_us: Vec<u64>,
    /// When the last process died.
    pub(super) died_at_us: u64,
    pub(super) disk: Disk,
    pub(super) next_fate: Fate,
    pub(super) next_commit_us: u64,
    /// Groups of the journal that are folded.
    pub(super) groups: usize,
    /// The fold of what is durable: what the next start recovers.
    pub(super) fold: Recovery,
    pub(super) upstream: Upstream,
    pub(super) person: Person,
    pub(super) crowd: Crowd,
    pub(super) storm: Storm,
    pub(super) clock_offset_us: i64,
    pub(super) ledger: Ledger,
    pub(super) model: Model,
    pub(super) tally: Tally,
    pub(super) turns: u64,
    pub(super) durable_steps: u64,
    /// What happened, for a reader; `None` where nobody reads.
    pub trace: Option<Vec<String>>,
    pub(super) next_tick_us: u64,
    pub(super) next_pump_us: u64,
    /// A durable step was reached in this step.
    pub(super) is_at_durable_step: bool,
}

impl World {
    pub fn new(setup: Setup, plan: &Plan) -> Self {
        let mut random = Random::new(setup.seed ^ 0x0005_EED0_FA17);
        let tags = Tags::new(&setup.plant);
        let wires = StationKind::ALL.iter().map(|kind| Wire::new(*kind, &tags)).collect();
        let (case, pallet) = (setup.plant.case_capacity, setup.plant.pallet_capacity);
        Self {
            plant: Plant::new(setup.plant.clone()),
            tags,
            wires,
            due: BTreeMap::new(),
            order: 0,
            process: None,
            boots: 0,
            starts_at_us: 0,
            crashed_at_us: Vec::new(),
            died_at_us: 0,
            disk: Disk::default(),
            next_fate: Fate::Taken,
            next_commit_us: 0,
            groups: 0,
            fold: Recovery::new(Default::default()),
            upstream: Upstream::default(),
            person: Person::new(),
            crowd: Crowd::nobody(),
            storm: Storm::new(plan, &mut random),
            clock_offset_us: 0,
            ledger: Ledger::new(case, pallet),
            model: Model::default(),
            tally: Tally::default(),
            turns: 0,
            durable_steps: 0,
            trace: None,
            next_tick_us: 0,
            next_pump_us: PUMP_US,
            is_at_durable_step: false,
            random,
            now_us: 0,
            setup: Arc::new(setup),
        }
    }

    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The head of the hash chain: two runs of a seed that agree in it agree in every fact and time (I29).
    pub fn head(&self) -> [u8; 32] {
        self.disk.kept().head()
    }

    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let text = what();
            trace.push(format!("{:>12} {text}", self.now_us));
        }
    }

    pub(super) fn schedule(&mut self, at_us: u64, due: Due) {
        self.order += 1;
        self.due.insert((at_us, self.order), due);
    }

    /// Crashes that were still to come are called off.
    pub(super) fn drop_crashes(&mut self) {
        self.due.retain(|_, due| !matches!(due, Due::Crash(_)));
    }

    /// For the process that runs now.
    pub(super) fn arrive_at(&mut self, at_us: u64, what: Arrival) {
        if let Some(process) = &self.process {
            let life = process.life;
            self.schedule(at_us, Due::Arrival(life, what));
        }
    }

    /// The process stands still until then and no longer: what waits for the end of its pause waits for this one, in the order
    /// in which it came.
    pub(super) fn freeze_until(&mut self, until_us: u64) {
        let Some(process) = &mut self.process else { return };
        let end_us = std::mem::replace(&mut process.frozen_until_us, until_us);
        let is_held = |due: &Due| matches!(due, Due::Arrival(..) | Due::Reconnect(_));
        let held = self.due.extract_if((end_us, 0)..=(end_us, u64::MAX), |_, due| is_held(due));
        let held: Vec<_> = held.map(|((_, order), due)| ((until_us.max(self.now_us), order), due)).collect();
        self.due.extend(held);
    }

    /// Moves everything on by one step.
    pub fn step(&mut self) -> Verdict {
        self.is_at_durable_step = false;
        let until_us = self.now_us + self.setup.step_us;
        self.blow(until_us)?;
        self.live(until_us)?;
        self.now_us = until_us;
        if self.process.is_none() && self.now_us >= self.starts_at_us {
            self.start_process()?;
        }
        self.plant.step(self.now_us, &mut self.tags);
        self.look_at_plant()?;
        self.tell_news()?;
        self.look_at_person();
        self.look_at_crowd();
        if self.now_us >= self.next_pump_us {
            self.next_pump_us = self.now_us + PUMP_US;
            self.feed()?;
        }
        self.model.settle(self.now_us, &self.ledger)
    }

    /// Everything that is due by `until_us`, in the order of its time: arrivals, completions, ticks. A paused process neither
    /// completes nor ticks; what comes for it waits.
    fn live(&mut self, until_us: u64) -> Verdict {
        loop {
            let frozen_until_us = self.process.as_ref().map_or(0, |process| process.frozen_until_us);
            let queued = self.due.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
            let commit = self.disk.due_us().map_or(u64::MAX, |at| at.max(frozen_until_us));
            let tick = self.next_tick_us.max(frozen_until_us);
            let next = queued.min(commit).min(tick);
            if next > until_us {
                return Ok(());
            }
            self.now_us = self.now_us.max(next);
            if commit == next {
                self.complete()?;
            } else if queued == next {
                self.deliver()?;
            } else {
                self.next_tick_us = self.now_us + TICK_US;
                self.turn(self.now_us, Arrival::Tick)?;
            }
        }
    }

    fn deliver(&mut self) -> Verdict {
        let Some(((at_us, _), due)) = self.due.pop_first() else { return Ok(()) };
        match due {
            Due::Arrival(life, arrival) => {
                let Some(process) = self.process.as_ref().filter(|process| process.life == life) else { return Ok(()) };
                if at_us < process.frozen_until_us {
                    let until = process.frozen_until_us;
                    self.schedule(until, Due::Arrival(life, arrival));
                    return Ok(());
                }
                self.turn(at_us, arrival)
            }
            Due::Write(station, session, values) => {
                if self.wires.get(usize::from(station.0)).is_some_and(|wire| wire.session() == session) {
                    self.apply(values);
                }
                Ok(())
            }
            Due::Reconnect(stations) => {
                // The task that connects stands still with the process, and what it said before comes first.
                let frozen_until_us = self.process.as_ref().map_or(0, |process| process.frozen_until_us);
                if at_us < frozen_until_us {
                    self.schedule(frozen_until_us, Due::Reconnect(stations));
                    return Ok(());
                }
                self.connect(stations)
            }
            Due::Over(mishap) => {
                self.plant.order(Deed::Ended(mishap));
                Ok(())
            }
            Due::Crash(fault) => {
                let is_kept = self.random.below(2) == 0;
                self.crash(fault, is_kept)
            }
        }
    }

    /// Sessions stand (again): the line is told so, and then everything anew.
    pub(super) fn connect(&mut self, stations: Vec<StationId>) -> Verdict {
        if self.process.is_none() {
            return Ok(());
        }
        for wire in self.wires.iter_mut().filter(|wire| stations.contains(&wire.station)) {
            wire.connect();
        }
        self.turn(self.now_us, Arrival::Connected(stations))
    }

    fn look_at_plant(&mut self) -> Verdict {
        for mishap in self.plant.take_calls() {
            self.begin_outside(mishap);
        }
        for line in self.plant.take_truth() {
            self.note(|| format!("plant {:?}", line.event));
            self.model.see(self.now_us, &line, &self.ledger)?;
            self.deny_without_process(&line.event)?;
        }
        Ok(())
    }

    // I25: without a living line behind it no gate opens and no unit is let pass.
    fn deny_without_process(&self, event: &crate::sim::truth::TruthEvent) -> Verdict {
        use crate::sim::truth::TruthEvent::{Gate, Verdict};
        let is_permit = matches!(event, Gate { .. } | Verdict { pass: true, .. });
        let silent_since = if self.process.is_some() { self.now_us } else { self.died_at_us };
        let timeout_us = self.setup.plant.heartbeat_timeout_ms * 1_000 + 2 * self.setup.step_us;
        let is_dead = self.now_us.saturating_sub(silent_since) > timeout_us;
        super::violation::claim(!(is_permit && is_dead), "I25", || format!("nobody lives behind the line: {event:?}"))
    }

    /// What the ways have to tell the line now.
    fn tell_news(&mut self) -> Verdict {
        let Some(process) = &self.process else { return Ok(()) };
        if self.now_us < process.frozen_until_us || self.now_us < process.full_until_us {
            // Nothing is taken: it is offered again, as it stands then.
            return Ok(());
        }
        for at in 0..self.wires.len() {
            let Some(wire) = self.wires.get_mut(at) else { break };
            let Some((due_us, update)) = wire.read(self.now_us, &self.tags) else { continue };
            let repeated = std::mem::take(&mut wire.is_repeating).then(|| update.clone());
            let is_swapping = wire.is_swapping;
            let mut updates = wire.swap(update);
            if is_swapping && updates.len() > 1 {
                self.tally.reach(Fault::UpdateReordered);
            }
            if let Some(again) = repeated {
                self.tally.reach(Fault::UpdateTwice);
                updates.push(again);
            }
            for update in updates {
                if due_us > self.now_us {
                    self.tally.reach(Fault::UpdateLate);
                    self.arrive_at(due_us, Arrival::Update(update));
                } else {
                    self.turn(self.now_us, Arrival::Update(update))?;
                }
            }
        }
        Ok(())
    }

    fn feed(&mut self) -> Verdict {
        if self.process.as_ref().is_none_or(|process| self.now_us < process.frozen_until_us || process.is_stopping) {
            return Ok(());
        }
        let lost = self.upstream.loses_next_ack;
        let twice = self.upstream.repeats_next_ack;
        let work = self.upstream.pump(self.now_us, self.disk.kept())?;
        if lost && !self.upstream.loses_next_ack {
            self.tally.reach(Fault::FeedAckLost);
        }
        if twice && !self.upstream.repeats_next_ack {
            self.tally.reach(Fault::FeedAckTwice);
        }
        for work in work {
            self.turn(self.now_us, Arrival::Work(work))?;
        }
        if let Some(gone) = self.upstream.expirable(self.disk.kept()) {
            self.turn(self.now_us, Arrival::Expired(gone))?;
        }
        Ok(())
    }
}
