//! The daemon of a simulated line: what runs between a start and the next crash. It is built from the journal alone, by the
//! same recovery as production, and everything it says leaves through `World::carry_out`.

use std::cell::RefCell;
use std::rc::Rc;

use crate::domain::tag::{StationKind, TagWrite};
use crate::domain::time::{ClockState, Now};
use crate::engine::fact::Fact;
use crate::engine::{Engine, Start};
use crate::line::recover::{self, Recovery};
use crate::line::{self, Arrival, Inbound, Line, Opening, Parts, Turn};
use crate::sim::physics::Deed;
use crate::sim::swarm::journal::{Outcome, Slip};
use crate::sim::swarm::plan::Fault;
use crate::sim::swarm::setup::name;
use crate::sim::swarm::violation::{Verdict, Violation, claim};
use crate::sim::swarm::world::{AUDIT_TURNS, Due, World};
use crate::sim::tags::StationValue;
use crate::store::StoreError;
use crate::store::memory::MemoryJournal;
use crate::wire::record::Change;

/// Where the line's writes wait for the end of a turn.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox(Rc<RefCell<Vec<TagWrite>>>);

impl line::Plant for Outbox {
    fn write(&mut self, write: TagWrite) {
        self.0.borrow_mut().push(write);
    }
}

pub(super) struct Process {
    pub(super) line: Line<Slip, Outbox>,
    slip: Slip,
    outbox: Outbox,
    /// Its number: what was meant for an earlier one is dropped.
    pub(super) life: u32,
    started_at_us: u64,
    /// It stands still until then, and so does everything in it.
    pub(super) frozen_until_us: u64,
    /// Its inbox has no room until then.
    pub(super) full_until_us: u64,
    pub(super) is_stopping: bool,
}

/// Microseconds of 2026-11-23 12:00 UTC, when every simulation begins.
const BEGINNING_US: i64 = 1_795_435_200_000_000;
/// A printer that restarts under a write is itself again after so long.
const RESTART_US: u64 = 14_000_000;

impl World {
    pub(super) fn clock(&self, at_us: u64) -> Now {
        let started = self.process.as_ref().map_or(self.now_us, |process| process.started_at_us);
        let wall = BEGINNING_US + i64::try_from(at_us).unwrap_or(i64::MAX) + self.clock_offset_us;
        Now { wall_us: wall.max(0), mono_us: at_us.saturating_sub(started) }
    }

    /// A start: recovery from what is durable, the first fact, sessions to the devices.
    pub(super) fn start_process(&mut self) -> Verdict {
        self.boots += 1;
        let Recovery { state, was_stopped, .. } = self.fold.clone();
        let stations = recover::stations(self.setup.stations.iter(), &state);
        let (slip, outbox) = (Slip::default(), Outbox::default());
        let line = Line::new(Parts {
            engine: Engine::new(self.setup.engine.clone(), state),
            stations,
            lowering: self.setup.lowering.clone(),
            journal: slip.clone(),
            plant: outbox.clone(),
            durable: self.disk.kept().durable(),
            boot: self.boots,
        });
        #[cfg(feature = "canary")]
        let line = infected(line);
        self.process = Some(Process {
            line,
            slip,
            outbox,
            life: self.boots,
            started_at_us: self.now_us,
            frozen_until_us: 0,
            full_until_us: 0,
            is_stopping: false,
        });
        self.note(|| "start".into());
        let now = self.clock(self.now_us);
        let start = Start {
            version: name("sim"),
            config_sha256: name("sim"),
            clean: was_stopped,
            epoch: None,
            key: None,
            doubts: Vec::new(),
            description: Some(Box::new(self.setup.lowering.description())),
        };
        let crashes = self.crashes_lately(was_stopped);
        let opening = Opening { last_wall_us: self.ledger.last_wall_us(), clock: ClockState::Synchronised, crashes };
        let turn = self.process.as_mut().map(|process| process.line.open(now, start, opening)).unwrap_or_default();
        self.carry_out(self.now_us, turn)?;
        for device in self.setup.devices.clone() {
            let at = self.now_us + 20_000 + self.random.below(200_000);
            self.schedule(at, Due::Reconnect(device));
        }
        Ok(())
    }

    /// Starts of the last ten minutes that followed a run without an end, this one among them.
    fn crashes_lately(&mut self, was_stopped: bool) -> u32 {
        self.crashed_at_us.retain(|at| at + 600_000_000 > self.now_us);
        if !was_stopped {
            self.crashed_at_us.push(self.now_us);
        }
        u32::try_from(self.crashed_at_us.len()).unwrap_or(u32::MAX)
    }

    /// The process is gone, with all that it had not handed over.
    pub(super) fn crash(&mut self, fault: Fault, is_kept: bool) -> Verdict {
        if self.process.is_none() {
            return Ok(());
        }
        self.note(|| format!("crash: {}", fault.name()));
        let was_in_flight = self.disk.crash(is_kept).map_err(refused)?;
        let kind = match (fault, is_kept) {
            (Fault::CrashForgets | Fault::CrashKeeps, true) => Fault::CrashKeeps,
            (Fault::CrashForgets | Fault::CrashKeeps, false) => Fault::CrashForgets,
            (other, _) => other,
        };
        if was_in_flight || kind == fault {
            self.tally.reach(kind);
        }
        self.bury()
    }

    pub(super) fn bury(&mut self) -> Verdict {
        self.process = None;
        self.died_at_us = self.now_us;
        let away_us = 200_000 + self.random.below(4_000_000);
        self.starts_at_us = self.now_us + away_us;
        self.model.disturb(self.now_us, self.starts_at_us + 4_000_000);
        self.wires.iter_mut().for_each(super::wiring::Wire::disconnect);
        self.upstream.forget();
        self.person.forget();
        self.fold_news()
    }

    /// One turn of the line, and what came of it.
    pub(super) fn turn(&mut self, at_us: u64, what: Arrival) -> Verdict {
        if self.process.is_none() {
            return Ok(());
        }
        if self.trace.is_some() && !matches!(what, Arrival::Tick) {
            self.note(|| format!("in    {what:?}"));
        }
        let now = self.clock(at_us);
        let Some(process) = self.process.as_mut() else { return Ok(()) };
        self.turns += 1;
        let turn = process.line.turn(now, Inbound { seen_mono_us: now.mono_us, what });
        self.carry_out(at_us, turn)?;
        if self.turns.is_multiple_of(AUDIT_TURNS) {
            self.audit()?;
        }
        Ok(())
    }

    /// Writes leave, a group goes to the disk, answers go to who asked.
    fn carry_out(&mut self, at_us: u64, turn: Turn) -> Verdict {
        let Some(process) = &self.process else { return Ok(()) };
        let (group, writes) = (process.slip.take(), std::mem::take(&mut *process.outbox.0.borrow_mut()));
        let is_stopped = process.line.is_stopped();
        for write in writes {
            self.may_leave(&write)?;
            self.send(at_us, write);
        }
        if let Some(group) = group {
            if self.trace.is_some() {
                for record in &group.records {
                    self.note(|| format!("fact  {} {} {}", record.row.seq, record.row.kind, record.row.body));
                }
            }
            let takes_us = self.setup.commit_us + std::mem::take(&mut self.next_commit_us);
            let fate = std::mem::take(&mut self.next_fate);
            self.disk.begin(group, at_us + takes_us, fate);
        }
        for answer in &turn.answers {
            self.person.hear(answer);
        }
        if is_stopped && self.process.as_ref().is_some_and(|process| process.is_stopping) {
            self.note(|| "stopped".into());
            self.tally.reach(Fault::StopAndStart);
            self.bury()?;
        }
        Ok(())
    }

    /// The commit in flight comes back.
    pub(super) fn complete(&mut self) -> Verdict {
        match self.disk.finish().map_err(refused)? {
            None => Ok(()),
            Some(Outcome::Done(durable)) => {
                self.fold_news()?;
                self.durable_steps += 1;
                self.is_at_durable_step = true;
                self.turn(self.now_us, Arrival::Durable(durable))
            }
            Some(Outcome::Failed) => {
                self.note(|| "commit failed: the process ends".into());
                self.bury()
            }
        }
    }

    /// What became durable is folded from its stored bodies, and judged.
    pub(super) fn fold_news(&mut self) -> Verdict {
        let news = self.disk.kept().groups_after(self.groups);
        self.groups += news.len();
        for record in news.iter().flat_map(|(records, _)| records) {
            for change in &record.changes {
                if let Change::BatchInserted { order, .. } = change {
                    self.fold.order(order);
                }
            }
            let row = &record.row;
            let unreadable = |error| Violation { invariant: "I28", what: format!("{error}") };
            let entry = self.fold.fact(row.undecoded()).map_err(unreadable)?;
            self.ledger.fact(&entry, (row.at_us, row.mono_us, row.boot))?;
            if let Fact::Commissioned { serial, .. } = &entry.fact {
                self.model.commissioned(serial)?;
            }
        }
        Ok(())
    }

    // I07, I28 (promise I7): what a start would recover is what the line knows, wherever all that it decided is durable. I9.
    pub(super) fn audit(&mut self) -> Verdict {
        let Some(process) = &self.process else { return Ok(()) };
        let state = process.line.engine().state();
        if state.seq == self.fold.state.seq {
            claim(*state == self.fold.state, "I28", || {
                format!("the fold of {} facts differs from the line", state.seq)
            })?;
        }
        let is_bounded = state.transit.tracks.len() <= crate::engine::state::TRANSIT_MAX && state.alarms.len() <= 128;
        claim(is_bounded, "I9", || "a collection of the line has no bound".to_owned())?;
        self.model.audit(&self.ledger)
    }

    /// The whole journal from its first fact, as a start over it would fold it.
    pub(super) fn fold_all(journal: &MemoryJournal) -> Result<Recovery, Violation> {
        let mut fold = Recovery::new(Default::default());
        for record in journal.groups_after(0).iter().flat_map(|(records, _)| records) {
            for change in &record.changes {
                if let Change::BatchInserted { order, .. } = change {
                    fold.order(order);
                }
            }
            let row = &record.row;
            fold.fact(row.undecoded()).map_err(|error| Violation { invariant: "I28", what: error.to_string() })?;
        }
        Ok(fold)
    }

    /// A write on its way to the plant.
    fn send(&mut self, at_us: u64, write: TagWrite) {
        let TagWrite { station, values } = write;
        let Some(kind) = StationKind::ALL.get(usize::from(station.0)).copied() else { return };
        let is_beat = values.iter().all(|(tag, _)| {
            use crate::domain::tag::Tag::{EpochOut, HeartbeatOut};
            matches!(tag, HeartbeatOut | EpochOut)
        });
        if !is_beat {
            self.note(|| format!("out   {} {values:?}", kind.name()));
        }
        let Some(wire) = self.wires.get_mut(usize::from(station.0)).filter(|wire| wire.is_connected()) else { return };
        let values: Vec<StationValue> = values.into_iter().map(|(tag, value)| (kind, tag, value)).collect();
        if wire.loses_next_write && !is_beat {
            wire.loses_next_write = false;
            self.tally.reach(Fault::WriteLost);
            // The device task sees the error and gives the session up.
            self.drop_device(station, 300_000);
            return;
        }
        if wire.strays(at_us, &values) {
            self.tally.reach(Fault::WriteOverRestart);
            self.plant.order(Deed::Reset(kind));
            self.model.disturb(at_us, at_us + RESTART_US);
        }
        let Some(wire) = self.wires.get_mut(usize::from(station.0)) else { return };
        if let Some(due_us) = wire.write_due_us(at_us) {
            let session = wire.session();
            self.tally.reach(Fault::WriteLate);
            self.schedule(due_us, Due::Write(station, session, values));
        } else {
            self.apply(values);
        }
    }

    /// What reaches the machine. A refusal is the map's fault in production, and a defect here.
    pub(super) fn apply(&mut self, values: Vec<StationValue>) {
        let written = self.tags.write(values);
        debug_assert!(written.is_ok(), "the simulated machine refuses a write: {written:?}");
    }
}

/// A group that the tables refuse ends production with exit 74, again and again.
fn refused(error: StoreError) -> Violation {
    Violation { invariant: "I28", what: format!("the journal refuses what the line decided: {error}") }
}

/// A line with the fault of our own that the environment names.
#[cfg(feature = "canary")]
fn infected(mut line: Line<Slip, Outbox>) -> Line<Slip, Outbox> {
    line.infect(crate::canary::Canary::chosen());
    line
}
