//! The spine: one thread, one total order. `Line::turn` takes one thing from the inbox, lets the station read it, the engine
//! decide, the restraints out at once and the facts to the journal; permits wait for their `Durable`, are looked at again, and
//! leave. The same turn runs in production, in the simulator with virtual time and in replay.
//!
//! Synchronous; no clock, no threads, no sockets: time comes as a parameter, devices behind `Plant`, the disk behind `Journal`.

mod cleared;
pub mod recover;
mod watch;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

#[cfg(feature = "canary")]
use crate::canary::Canary;
use crate::domain::tag::{StationId, TagUpdate, TagWrite};
use crate::domain::text::BatchId;
use crate::domain::time::{ClockState, Now};
use crate::engine::fact::{Entry, Gone, Picture, PictureDigest};
use crate::engine::input::{Ask, BatchSheet, CameraResult, Input, Observation, Observed, Order, PassKey, Request};
use crate::engine::output::{Answer, Permit, Recheck, Restraint, Step};
use crate::engine::reason::AlarmKind;
use crate::engine::{Engine, Start};
use crate::line::cleared::Cleared;
use crate::line::watch::Watch;
use crate::station::{Machine, Station};
use crate::store::{Durable, Journal, Work};
use crate::wire::lower::{Lowering, Stamp};
use crate::wire::record::{FactRow, Record};

/// Where writes go: the channels of the device tasks, or the simulated plant.
pub trait Plant {
    /// Takes a write for its device. What cannot be taken is dropped: outputs are levels and stand again at the next join.
    fn write(&mut self, write: TagWrite);
}

/// One thing in the inbox, with the instant at which it arrived there.
#[derive(Debug)]
pub struct Inbound {
    pub seen_mono_us: u64,
    pub what: Arrival,
}

#[derive(Debug)]
pub enum Arrival {
    /// The session to the device of these stations stands; their first readings follow.
    Connected(Vec<StationId>),
    Disconnected(Vec<StationId>),
    Update(TagUpdate),
    Asked(Ask),
    Durable(Durable),
    /// Messages that the broker took and nobody needs any more: that they go is a fact.
    Expired(Gone),
    /// Upkeep of the journal that is no fact: the place of the feed.
    Work(Work),
    /// What the machine says of its wall clock.
    Clock(ClockState),
    /// Something outside the facts says that the journal is not what it was; the line is held until a person looked.
    Doubted(String),
    /// What a person must know of the feed.
    Noticed(AlarmKind, String),
    /// What was noticed has ended by itself.
    Eased(AlarmKind),
    /// The pictures beside the journal: one more, and some that are to go.
    Pictured(Option<BatchId>, Box<Picture>),
    PicturesRemoved(Vec<PictureDigest>),
    Tick,
    /// The daemon is to end: the last fact is written, nothing is permitted any more.
    Stop,
}

/// What a turn has for the threads around it.
#[derive(Debug, Default)]
pub struct Turn {
    /// Answers whose facts are durable.
    pub answers: Vec<Answer>,
    /// Verdicts that left, and how long their results had been here: microseconds.
    pub verdicts_us: Vec<u64>,
    /// Passes that the machine echoed, and how long their results had been here: microseconds.
    pub echoes_us: Vec<u64>,
    /// The journal has said that everything up to here is on disk.
    pub durable: Option<u64>,
    /// What passed in this turn; empty unless somebody looks (`Line::look_on`).
    pub passed: Vec<Passed>,
}

/// What a looker-on sees of a turn. A fact is decided here, and on disk a moment later.
#[derive(Clone, Debug)]
pub enum Passed {
    Observed(Observation),
    Fact(FactRow),
}

/// What the line is built from.
pub struct Parts<J, P> {
    pub engine: Engine,
    pub stations: Vec<Station>,
    pub lowering: Lowering,
    pub journal: J,
    pub plant: P,
    /// What recovery found on disk.
    pub durable: Durable,
    /// Raised at every start of the daemon.
    pub boot: u32,
}

/// What is known when a run begins, beside what the journal folds to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// The time of the newest fact before.
    pub last_wall_us: Option<i64>,
    pub clock: ClockState,
    /// Starts of the last ten minutes, this one among them, that followed a run without an end.
    pub crashes: u32,
}

pub struct Line<J, P> {
    parts: Parts<J, P>,
    sheets: BTreeMap<BatchId, BatchSheet>,
    /// Facts that wait for the batch in flight to come back.
    records: Vec<Record>,
    work: Vec<Work>,
    in_flight_since_us: Option<u64>,
    permits: VecDeque<(u64, Permit)>,
    answers: VecDeque<(u64, Answer)>,
    /// When the result of a pass arrived, for the latency that is reported.
    results: BTreeMap<u64, u64>,
    /// The same for passes that left and were not echoed yet.
    unechoed: BTreeMap<u64, u64>,
    beat: u32,
    beat_at_us: Option<u64>,
    is_stopping: bool,
    /// Whether somebody looks on, and what passed in this turn.
    is_looked_on: bool,
    passed: Vec<Passed>,
    /// When commits were slow; at most `SLOW_MAX`.
    slow: VecDeque<u64>,
    #[cfg(feature = "canary")]
    canary: Option<Canary>,
    watch: Watch,
}

/// Facts that may wait for the disk, and as many of what waits for them; beyond it the line takes nothing but completions.
const RECORDS_MAX: usize = 8192;
/// Results whose verdict is timed; a line that passes nothing for days keeps the newest.
const RESULTS_MAX: usize = 4096;
/// A commit that takes longer than this lets the heartbeat stop.
const COMMIT_SLOW_US: u64 = 500_000;
/// One that takes longer than this will not come back: a disk that slow gives no answer to a new start either, and a thread that
/// hangs needs one.
const COMMIT_WEDGED_US: u64 = 20_000_000;
/// So many slow commits within so long are told.
const SLOW_MAX: usize = 3;
const SLOW_WITHIN_US: u64 = 60_000_000;

impl<J: Journal, P: Plant> Line<J, P> {
    pub fn new(parts: Parts<J, P>) -> Self {
        let sheets =
            parts.engine.state().batches.iter().map(|batch| (batch.sheet.batch, batch.sheet.clone())).collect();
        Self {
            parts,
            sheets,
            records: Vec::new(),
            work: Vec::new(),
            in_flight_since_us: None,
            permits: VecDeque::new(),
            answers: VecDeque::new(),
            results: BTreeMap::new(),
            unechoed: BTreeMap::new(),
            beat: 0,
            beat_at_us: None,
            is_stopping: false,
            is_looked_on: false,
            passed: Vec::new(),
            slow: VecDeque::new(),
            watch: Watch::default(),
            #[cfg(feature = "canary")]
            canary: None,
        }
    }

    /// Breaks a promise from now on, for a harness that must notice it.
    #[cfg(feature = "canary")]
    pub fn infect(&mut self, canary: Option<Canary>) {
        self.canary = canary;
        if canary == Some(Canary::ForgetfulGate) {
            self.parts.engine.forget_labels();
        }
        if canary == Some(Canary::EveryRole) {
            self.parts.engine.forget_roles();
        }
    }

    /// Whether turns say what passes: for people, and of no effect on anything.
    pub fn look_on(&mut self, is_wanted: bool) {
        self.is_looked_on = is_wanted;
    }

    /// What the machines say of themselves, in the order of their stations.
    pub fn machines(&self) -> impl Iterator<Item = Machine> {
        self.parts.stations.iter().map(Station::machine)
    }

    pub fn engine(&self) -> &Engine {
        &self.parts.engine
    }

    /// Whether only completions may come in: the disk is behind by more than memory should hold.
    pub fn is_full(&self) -> bool {
        let waiting = [self.records.len(), self.work.len(), self.permits.len(), self.answers.len()];
        waiting.into_iter().any(|waiting| waiting >= RECORDS_MAX)
    }

    /// Whether the disk has not answered for so long that a new start is the only way on: the watchdog is fed no more.
    pub fn is_wedged(&self, now: Now) -> bool {
        self.in_flight_since_us.is_some_and(|since| now.mono_us.saturating_sub(since) > COMMIT_WEDGED_US)
    }

    /// Whether everything decided so far is on disk.
    pub fn is_settled(&self) -> bool {
        self.records.is_empty() && self.work.is_empty() && self.in_flight_since_us.is_none()
    }

    /// Whether the line was told to stop, and its last fact is on disk.
    pub fn is_stopped(&self) -> bool {
        self.is_stopping && self.is_settled()
    }

    /// The first facts of a run, where nothing is known of the clock nor of earlier runs.
    pub fn start(&mut self, now: Now, start: Start) -> Turn {
        self.open(now, start, Opening::default())
    }

    /// The first facts of a run. A wall clock that was set back meanwhile is said before anything else, so that times fall nowhere
    /// but at that fact.
    pub fn open(&mut self, now: Now, start: Start, opening: Opening) -> Turn {
        let mut turn = Turn::default();
        let stepped = opening.last_wall_us.filter(|last| now.wall_us < *last);
        let stepped = stepped.map(|from_us| Input::ClockStepped { from_us, to_us: now.wall_us });
        // A new epoch is the first fact after those that were given up: there, what the clock did comes behind it.
        let (first, later) = if start.epoch.is_none() { (stepped, None) } else { (None, stepped) };
        if let Some(stepped) = first {
            self.decide(now, stepped, &mut turn);
        }
        self.watch.look(now);
        // Two daemons on one device must not show the same heartbeat: each begins where its clock stands.
        self.beat = u32::try_from(now.wall_us.div_euclid(1000).rem_euclid(1 << 31)).unwrap_or(0);
        self.decide(now, Input::Started(Box::new(start)), &mut turn);
        if let Some(stepped) = later {
            self.decide(now, stepped, &mut turn);
        }
        self.decide(now, Input::ClockSeen(opening.clock), &mut turn);
        self.decide(now, Input::Crashed { starts: opening.crashes }, &mut turn);
        self.submit(now);
        turn
    }

    pub fn turn(&mut self, now: Now, inbound: Inbound) -> Turn {
        let mut turn = Turn::default();
        self.keep_time(now, &mut turn);
        match inbound.what {
            Arrival::Durable(durable) => self.complete(now, durable, &mut turn),
            Arrival::Work(work) => self.work.push(work),
            Arrival::Connected(_)
            | Arrival::Disconnected(_)
            | Arrival::Update(_)
            | Arrival::Asked(_)
            | Arrival::Clock(_)
            | Arrival::Doubted(_)
            | Arrival::Noticed(..)
            | Arrival::Eased(_)
            | Arrival::Pictured(..)
            | Arrival::PicturesRemoved(_)
            | Arrival::Expired(_)
            | Arrival::Tick
            | Arrival::Stop
                if self.is_stopping => {}
            Arrival::Connected(stations) => self.each(&stations, |station| station.connected(now)),
            Arrival::Disconnected(stations) => self.disconnect(now, &stations, &mut turn),
            Arrival::Update(update) => self.update(now, inbound.seen_mono_us, &update, &mut turn),
            Arrival::Asked(ask) => self.ask(now, ask, &mut turn),
            Arrival::Clock(clock) => self.decide(now, Input::ClockSeen(clock), &mut turn),
            Arrival::Doubted(doubt) => self.decide(now, Input::Doubted(doubt), &mut turn),
            Arrival::Noticed(kind, detail) => self.decide(now, Input::Noticed(kind, detail), &mut turn),
            Arrival::Eased(kind) => self.decide(now, Input::Eased(kind), &mut turn),
            Arrival::Pictured(batch, picture) => self.decide(now, Input::Pictured(batch, picture), &mut turn),
            Arrival::PicturesRemoved(gone) => self.decide(now, Input::PicturesRemoved(gone), &mut turn),
            Arrival::Expired(gone) => self.let_go(now, gone, &mut turn),
            Arrival::Tick => self.tick(now, &mut turn),
            Arrival::Stop => self.stop(now, &mut turn),
        }
        turn.passed = std::mem::take(&mut self.passed);
        self.submit(now);
        turn
    }

    /// What the clocks say comes before what arrived: the facts of this turn carry these times. After a pause the stations are looked
    /// at first, so that nothing is decided, and no permit released, on what they showed before it.
    fn keep_time(&mut self, now: Now, turn: &mut Turn) {
        let seen = self.watch.look(now);
        // After the stop too: a pass that does not leave any more is a fact of this turn.
        if let Some((from_us, to_us)) = seen.stepped {
            self.decide(now, Input::ClockStepped { from_us, to_us }, turn);
        }
        if let Some(paused_us) = seen.paused_us.filter(|_| !self.is_stopping) {
            self.decide(now, Input::Paused { paused_us }, turn);
            self.supervise(now, turn);
        }
    }

    /// Signed with its fact: whoever takes messages away cannot put such a fact behind the newest signature.
    fn let_go(&mut self, now: Now, gone: Gone, turn: &mut Turn) {
        self.decide(now, Input::Expired(gone), turn);
        self.work.push(Work::Checkpoint);
    }

    /// The last fact: from here on nothing is decided, and what was decided still becomes durable.
    fn stop(&mut self, now: Now, turn: &mut Turn) {
        self.decide(now, Input::Stopping, turn);
        // A clean end is signed to its last fact.
        self.work.push(Work::Checkpoint);
        self.is_stopping = true;
    }

    fn update(&mut self, now: Now, seen_mono_us: u64, update: &TagUpdate, turn: &mut Turn) {
        let (mut observed, mut writes) = (Vec::new(), Vec::new());
        if let Some(station) = self.parts.stations.get_mut(usize::from(update.station.0)) {
            station.observe(now, &update.readings, &mut observed, &mut writes);
        }
        self.write(writes);
        self.observe(now, update.station, seen_mono_us, observed, turn);
    }

    fn observe(&mut self, now: Now, station: StationId, seen_mono_us: u64, observed: Vec<Observed>, turn: &mut Turn) {
        for what in observed {
            if let Observed::Result(CameraResult { track: Some(track), .. }) = &what {
                self.results.insert(*track, seen_mono_us);
                if self.results.len() > RESULTS_MAX {
                    self.results.pop_first();
                }
            }
            self.time_echo(now, &what, turn);
            self.align(station, &what);
            let observation = Observation { station, seen_mono_us, what };
            if self.is_looked_on {
                self.passed.push(Passed::Observed(observation.clone()));
            }
            self.decide(now, Input::Observed(observation), turn);
        }
    }

    /// The echo of a pass; those of earlier tracks that have none by now get none any more.
    fn time_echo(&mut self, now: Now, what: &Observed, turn: &mut Turn) {
        if let Observed::Echoed { track, pass: true } = what
            && let Some(seen) = self.unechoed.remove(track)
        {
            turn.echoes_us.push(now.mono_us.saturating_sub(seen));
            self.unechoed = self.unechoed.split_off(track);
        }
    }

    /// A camera counts the tracks of its rejector: it hears where these stand, so that both unwrap the same number.
    fn align(&mut self, rejector: StationId, what: &Observed) {
        let count = if let Observed::Entered { count } = what {
            *count
        } else if matches!(what, Observed::Joined { reset: true, .. }) {
            0
        } else {
            return;
        };
        for camera in &mut self.parts.stations {
            if camera.settings().partner == Some(rejector) {
                camera.align_tracks(count);
            }
        }
    }

    fn disconnect(&mut self, now: Now, stations: &[StationId], turn: &mut Turn) {
        for id in stations {
            let mut observed = Vec::new();
            self.each(&[*id], |station| station.disconnected(now, &mut observed));
            self.observe(now, *id, now.mono_us, observed, turn);
        }
    }

    fn tick(&mut self, now: Now, turn: &mut Turn) {
        self.supervise(now, turn);
        self.decide(now, Input::Tick, turn);
        self.beat(now, turn);
    }

    /// Notices stations that fell silent.
    fn supervise(&mut self, now: Now, turn: &mut Turn) {
        for index in 0..self.parts.stations.len() {
            let Ok(id) = u8::try_from(index).map(StationId) else { break };
            let mut observed = Vec::new();
            self.each(&[id], |station| station.tick(now, &mut observed));
            self.observe(now, id, now.mono_us, observed, turn);
        }
    }

    /// The heartbeat says that turns happen and that commits come back: a line that cannot record must look dead.
    fn beat(&mut self, now: Now, turn: &mut Turn) {
        let slow = |since: u64| now.mono_us.saturating_sub(since) > COMMIT_SLOW_US;
        if self.in_flight_since_us.is_some_and(slow) || self.is_full() {
            return;
        }
        self.beat = self.beat.wrapping_add(1).max(1);
        let beat = self.beat;
        let mut writes = Vec::new();
        for station in &mut self.parts.stations {
            station.heartbeat(beat, &mut writes);
        }
        self.write(writes);
        let silent_us = now.mono_us.saturating_sub(self.beat_at_us.replace(now.mono_us).unwrap_or(now.mono_us));
        self.stand_again(now, silent_us, turn);
    }

    /// A device that heard nothing for so long has cleared every pass and shut its gates: what stands is said again. It may have
    /// heard less than we said, so that half of its patience is enough.
    fn stand_again(&mut self, now: Now, silent_us: u64, turn: &mut Turn) {
        let mut step = Step::default();
        for station in &self.parts.stations {
            let settings = station.settings();
            if silent_us.saturating_mul(2) > u64::from(settings.heartbeat_timeout_ms).saturating_mul(1000) {
                self.parts.engine.standing(now, settings.id, &mut step);
            }
        }
        self.carry_out(now, step, None, turn);
    }

    fn ask(&mut self, now: Now, ask: Ask, turn: &mut Turn) {
        let order = match &ask.request {
            Request::LoadBatch(order) => Some(Arc::clone(order)),
            Request::StartBatch(_)
            | Request::StopBatch(_)
            | Request::PurgeBatch(_)
            | Request::HoldBatch { .. }
            | Request::ResumeBatch { .. }
            | Request::AbortBatch { .. }
            | Request::ReopenBatch(_)
            | Request::CloseBatch(_)
            | Request::AcknowledgeAlarm(_)
            | Request::DeclareUsed(_)
            | Request::ConfirmSerials
            | Request::GiveUpMessage { .. }
            | Request::Hands(_)
            | Request::Permission(_)
            | Request::People(_) => None,
        };
        let step = self.parts.engine.step(now, Input::Asked(ask));
        self.carry_out(now, step, order.as_ref(), turn);
    }

    fn decide(&mut self, now: Now, input: Input, turn: &mut Turn) {
        let step = self.parts.engine.step(now, input);
        self.carry_out(now, step, None, turn);
    }

    /// Restraints leave now; facts go to the journal; permits and the answer wait for them.
    fn carry_out(&mut self, now: Now, step: Step, order: Option<&Arc<Order>>, turn: &mut Turn) {
        let Step { restraints, facts, permits, answer } = step;
        for restraint in &restraints {
            self.restrain(restraint);
        }
        for entry in &facts {
            self.record(now, entry, order);
        }
        let needs = self.parts.engine.state().seq;
        self.permits.extend(permits.into_iter().map(|permit| (needs, permit)));
        self.answers.extend(answer.map(|answer| (needs, answer)));
        self.release(now, turn);
    }

    fn record(&mut self, now: Now, entry: &Entry, order: Option<&Arc<Order>>) {
        if let Some(sheet) = entry.fact.opens() {
            self.sheets.insert(sheet.batch, sheet.clone());
        }
        let sheet = entry.batch.and_then(|batch| self.sheets.get(&batch));
        let stamp = Stamp { at_us: now.wall_us, mono_us: now.mono_us, boot: self.parts.boot };
        let record = self.parts.lowering.record(entry, sheet, order, stamp);
        if self.is_looked_on {
            self.passed.push(Passed::Fact(record.row.clone()));
        }
        self.records.push(record);
        if let Some(batch) = entry.batch.filter(|_| entry.fact.ends_batch()) {
            self.sheets.remove(&batch);
        }
    }

    fn restrain(&mut self, restraint: &Restraint) {
        let station = match restraint {
            Restraint::Fail(PassKey { rejector, .. }) => *rejector,
            Restraint::Hold { station }
            | Restraint::Deny { station, .. }
            | Restraint::Shut { station }
            | Restraint::ExpectNothing { station } => *station,
        };
        let mut writes = Vec::new();
        self.each(&[station], |station| station.restrain(restraint, &mut writes));
        self.write(writes);
    }

    fn complete(&mut self, now: Now, durable: Durable, turn: &mut Turn) {
        self.in_flight_since_us = None;
        turn.durable = Some(durable.through());
        let commit_us = durable.commit_us();
        self.parts.durable = durable;
        self.notice_slow(now, commit_us, turn);
        self.release(now, turn);
    }

    /// One slow commit is a hiccup; several within a minute are a disk that cannot keep up.
    fn notice_slow(&mut self, now: Now, commit_us: u64, turn: &mut Turn) {
        if commit_us <= COMMIT_SLOW_US {
            return;
        }
        self.slow.push_back(now.mono_us);
        while self.slow.front().is_some_and(|then| now.mono_us.saturating_sub(*then) > SLOW_WITHIN_US) {
            self.slow.pop_front();
        }
        if self.slow.len() >= SLOW_MAX && !self.is_stopping {
            self.slow.clear();
            let detail = format!("a commit took {} ms", commit_us / 1000);
            self.decide(now, Input::Noticed(AlarmKind::JournalSlow, detail), turn);
        }
    }

    /// Lets go what is justified by what is on disk, after a second look.
    fn release(&mut self, now: Now, turn: &mut Turn) {
        let durable = self.parts.durable.through();
        while let Some((_, answer)) = self.answers.pop_front_if(|(needs, _)| *needs <= durable) {
            turn.answers.push(answer);
        }
        #[cfg(feature = "canary")]
        let durable = if self.canary == Some(Canary::EarlyPermit) { u64::MAX } else { durable };
        while let Some((needs, permit)) = self.permits.pop_front_if(|(needs, _)| *needs <= durable) {
            #[cfg(feature = "canary")]
            let needs = if self.canary == Some(Canary::EarlyPermit) { 0 } else { needs };
            match self.parts.engine.recheck(now, &permit) {
                Recheck::Go => self.permit(now, needs, permit, turn),
                Recheck::Void => {}
                // A pass that was given before and is said again cannot be too late: the blade knows which tracks are past it.
                Recheck::Late => {
                    if let Permit::Pass { key, .. } = permit
                        && self.results.contains_key(&key.track)
                    {
                        self.decide(now, Input::PassExpired(key), turn);
                    }
                }
            }
        }
    }

    fn permit(&mut self, now: Now, needs: u64, permit: Permit, turn: &mut Turn) {
        let Some(cleared) = Cleared::new(permit, needs, &self.parts.durable) else { return };
        if let Permit::Pass { key, .. } = cleared.permit()
            && let Some(seen) = self.results.remove(&key.track)
        {
            turn.verdicts_us.push(now.mono_us.saturating_sub(seen));
            self.results = self.results.split_off(&key.track);
            self.unechoed.insert(key.track, seen);
            if self.unechoed.len() > RESULTS_MAX {
                self.unechoed.pop_first();
            }
        }
        #[cfg(feature = "canary")]
        let cleared =
            if self.canary == Some(Canary::NeighbourVerdict) { cleared.for_the_next_track() } else { cleared };
        let mut writes = Vec::new();
        self.each(&[cleared.station()], |station| station.permit(cleared.permit(), &mut writes));
        self.write(writes);
    }

    /// One batch in flight; what waited meanwhile shares the next.
    fn submit(&mut self, now: Now) {
        if self.in_flight_since_us.is_some() || (self.records.is_empty() && self.work.is_empty()) {
            return;
        }
        let (records, work) = (std::mem::take(&mut self.records), std::mem::take(&mut self.work));
        self.parts.journal.submit(records, work).expect("one batch is in flight at most, and none is now");
        self.in_flight_since_us = Some(now.mono_us);
    }

    fn each(&mut self, stations: &[StationId], mut act: impl FnMut(&mut Station)) {
        for id in stations {
            if let Some(station) = self.parts.stations.get_mut(usize::from(id.0)) {
                act(station);
            }
        }
    }

    fn write(&mut self, writes: Vec<TagWrite>) {
        for write in writes {
            self.parts.plant.write(write);
        }
    }
}
