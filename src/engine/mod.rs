//! The decisions. Pure: no clock, no I/O, no logging, no randomness.
//!
//! `Engine::step(now, input)` decides and folds what it decided: each fact goes through `State::apply`, the only change of
//! state. Besides the state there is `Live`: what devices show at this moment and nobody journals (counters on their way,
//! gate positions). It is empty after a restart and is read again from the devices.

mod batch;
pub mod clearance;
mod clock;
mod counts;
pub mod decide;
pub mod fact;
mod fold;
mod gate;
pub mod hands;
mod hold;
pub mod input;
mod life;
mod login;
mod missed;
pub mod output;
mod pack;
pub mod people;
pub mod pool;
pub mod reason;
pub mod recipe;
mod reuse;
pub mod rights;
mod rule;
mod section;
pub mod signing;
mod standing;
pub mod state;
pub mod stops;
mod supply;
mod unit;

use std::collections::VecDeque;

use crate::domain::gs1::Expiry;
use crate::domain::pack::PackLevel;
use crate::domain::tag::{StationId, StationKind};
use crate::domain::text::{BatchId, Name, Text};
use crate::domain::time::Now;
use crate::engine::clearance::Clearance;
use crate::engine::clock::Clock;
use crate::engine::decide::Decide;
use crate::engine::fact::{Description, Entry, Fact, NewEpoch, NewKey, Picture};
use crate::engine::input::{
    Actor, COUNT_MAX, CloseRequest, GateState, Input, LostCause, Observation, Observed, TrackEnd,
};
use crate::engine::login::Attendance;
use crate::engine::output::Step;
use crate::engine::people::Limits;
use crate::engine::reason::AlarmKind;
use crate::engine::recipe::Recipe;
use crate::engine::state::{State, Station};
use crate::engine::stops::Stops;

/// The line as the engine needs to know it; `stations` in the order of their `StationId`.
#[derive(Clone, Debug)]
pub struct Settings {
    pub stations: Vec<StationSpec>,
}

#[derive(Clone, Copy, Debug)]
pub struct StationSpec {
    pub name: Name,
    pub role: Role,
    /// The recipe that was approved for this machine, where it shows one.
    pub recipe: Option<Recipe>,
    /// Packer: units come to it in the order of the gate, and go into the cases in that order.
    pub is_in_order: bool,
}

impl StationSpec {
    /// A station without rules of its own.
    pub fn new(name: Name, role: Role) -> Self {
        Self { name, role, recipe: None, is_in_order: false }
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Role {
    Printer {
        /// Records given ahead of the print head.
        queue: u16,
    },
    Camera {
        rejector: StationId,
        /// Thousandths of a grade; 0 where no grade is asked for.
        grade_min_milli: i64,
        /// From the result to the last moment at which a pass reaches the blade.
        verdict_deadline_us: u64,
        decide: Decide,
    },
    Rejector,
    /// A packer of cases or a palletizer.
    Packer {
        level: PackLevel,
        ttl_ms: u32,
    },
}

impl Role {
    pub fn kind(self) -> StationKind {
        match self {
            Role::Printer { .. } => StationKind::Printer,
            Role::Camera { .. } => StationKind::Camera,
            Role::Rejector => StationKind::Rejector,
            Role::Packer { level: PackLevel::Pallet, .. } => StationKind::Palletizer,
            Role::Packer { level: PackLevel::Unit | PackLevel::Bundle | PackLevel::Case, .. } => StationKind::Packer,
        }
    }
}

impl Role {
    /// Whether a station of this role can see such a thing at all.
    fn shows(self, what: &Observed) -> bool {
        match what {
            Observed::Joined { .. }
            | Observed::Lost { .. }
            | Observed::Faulted { .. }
            | Observed::RecipeShown { .. } => true,
            Observed::BufferUnknown
            | Observed::RecordStrange
            | Observed::PrinterCounted { .. }
            | Observed::Flushed { .. } => matches!(self, Role::Printer { .. }),
            Observed::Result(_) | Observed::ResultsMissed { .. } => matches!(self, Role::Camera { .. }),
            Observed::Entered { .. }
            | Observed::Ended { .. }
            | Observed::EndsMissed { .. }
            | Observed::Echoed { .. }
            | Observed::PhantomCounted { .. }
            | Observed::BinCounted { .. }
            | Observed::BinFull { .. } => matches!(self, Role::Rejector),
            Observed::CloseRequested(_)
            | Observed::PermitAcked { .. }
            | Observed::CloseEnded { .. }
            | Observed::GateMoved { .. } => matches!(self, Role::Packer { .. }),
        }
    }
}

/// The engine of one line.
#[derive(Clone, Debug)]
pub struct Engine {
    settings: Settings,
    state: State,
    live: Vec<Live>,
    /// What was said last to the rejectors about running; `None` at first.
    run_said: Option<bool>,
    /// Releases a container whose label was not read: a fault of our own.
    #[cfg(feature = "canary")]
    forgets_labels: bool,
    /// Asks nobody for a role: a fault of our own.
    #[cfg(feature = "canary")]
    forgets_roles: bool,
    policy: Policy,
    clearance: Clearance,
    /// The newest close of this run.
    closed_seq: u64,
    clock: Clock,
    attendance: Attendance,
    /// The digest of the configuration of this run.
    config: Text<64>,
}

/// What a site may ask for beyond the rules of the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Nothing is started and no unit passes while the clock is not known to be right.
    pub commission_needs_clock: bool,
    /// Units that stood on the belt at a stop are verified as any other, instead of being rejects.
    pub inspects_after_stop: bool,
    /// No batch starts with a configuration that nobody signed for.
    pub config_needs_approval: bool,
    /// Rejects that stop the line.
    pub stops: Stops,
    /// Local time at the line, minutes east of UTC, as signatures tell it.
    pub offset_minutes: i64,
    /// Sessions and locks.
    pub people: Limits,
}

/// What a station shows now.
#[derive(Clone, Debug, Default)]
struct Live {
    /// Printer: records taken over and printed, as the device counts them.
    accepted: u64,
    printed: u64,
    printed_since_us: Option<u64>,
    /// Printer: it has said how far it took over since it joined, and got the rest again.
    resumed: bool,
    /// Printer: nobody can say which of the records that it was given it still holds.
    is_buffer_unknown: bool,
    /// Printer: the highest count that it showed since it started, and where that stood when its buffer was emptied last.
    shown: u64,
    emptied: u64,
    /// Printer: it took over a record that it was not given since it started; its counts say nothing until its buffer is empty.
    is_strange: bool,
    /// Rejector: tracks that entered, pieces in the bin, and ends that wait for their inspection.
    entered: Option<u64>,
    bin: Option<u64>,
    ends: VecDeque<PendingEnd>,
    /// Rejector: until when results may still be meant in the epoch before; see [`SETTLE_US`].
    settles_until_us: Option<u64>,
    /// Packer: a request that waits for units still on their way through the gate.
    waiting: Option<(CloseRequest, u64)>,
    gate: Option<GateState>,
    fault: Option<i64>,
    recipe: Option<Recipe>,
    /// Packer: the place of the first child of the newest container, in the order of printing or packing of this batch.
    packed_from: Option<(BatchId, u32)>,
    /// The gate has moved under the last grant: it moves once for each.
    is_gate_used: bool,
    /// When an unanswered permit is void on our side, and how often it was said again.
    permit_until_us: Option<u64>,
    permit_repeats: u64,
}

#[derive(Clone, Copy, Debug)]
struct PendingEnd {
    track: u64,
    end: TrackEnd,
    since_us: u64,
}

impl Live {
    /// Levels are shown again after a join. What was said once and is still undecided stays, unless the device forgot it:
    /// the station never says an end twice.
    fn rejoin(&mut self, reset: bool) {
        let before = std::mem::take(self);
        if !reset {
            (self.ends, self.waiting) = (before.ends, before.waiting);
            (self.shown, self.emptied, self.is_strange) = (before.shown, before.emptied, before.is_strange);
        }
        self.packed_from = before.packed_from;
    }
}

/// How long a reject gate that counts its tracks anew is held, and a result names no track: the camera may still show units of before,
/// and their numbers are those of the next units. Twice the age at which a silent camera counts as away.
const SETTLE_US: u64 = 2_000_000;

/// Ends that may wait for their inspections; one more is decided as missed.
const PENDING_ENDS_MAX: usize = 1024;

impl Engine {
    /// An engine over the state that recovery folded, or over an empty one.
    pub fn new(settings: Settings, state: State) -> Self {
        let live = settings.stations.iter().map(|_| Live::default()).collect();
        Self {
            settings,
            state,
            live,
            run_said: None,
            policy: Policy::default(),
            clearance: Clearance::default(),
            closed_seq: 0,
            clock: Clock::default(),
            attendance: Attendance::default(),
            config: Text::default(),
            #[cfg(feature = "canary")]
            forgets_labels: false,
            #[cfg(feature = "canary")]
            forgets_roles: false,
        }
    }

    pub fn with_policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Decides one input. Facts are folded already; their journal rows are the caller's to submit, in order.
    pub fn step(&mut self, now: Now, input: Input) -> Step {
        let mut step = Step::default();
        match input {
            Input::Started(start) => {
                let Start { version, config_sha256, clean, epoch, key, doubts, description } = *start;
                // First, so that no fact of this run has a number that stood for another one in the same epoch.
                if let Some(begun) = epoch {
                    self.emit(&mut step, Fact::EpochRaised { begun });
                }
                if let Some(description) = description {
                    self.emit(&mut step, Fact::LineDescribed { description });
                }
                if let Some(key) = key {
                    self.emit(&mut step, Fact::KeyAnnounced { key });
                }
                self.config = config_sha256;
                self.emit(&mut step, Fact::LineStarted { version, config_sha256, clean });
                for doubt in doubts {
                    self.doubt(&mut step, doubt);
                }
            }
            Input::Stopping => self.emit(&mut step, Fact::LineStopped),
            Input::Observed(observation) => self.observe(now, &mut step, observation),
            Input::Asked(ask) => self.ask(now, &mut step, ask),
            Input::Doubted(doubt) => self.doubt(&mut step, doubt),
            Input::Tick => self.tick(now, &mut step),
            Input::PassExpired(key) => self.expire_pass(&mut step, key),
            Input::ClockSeen(clock) => self.see_clock(now, &mut step, clock),
            Input::ClockStepped { from_us, to_us } => self.step_clock(now, &mut step, from_us, to_us),
            Input::Paused { paused_us } => self.pause(&mut step, paused_us),
            Input::Crashed { starts } => self.crashed(&mut step, starts),
            Input::Noticed(kind, detail) => self.raise(&mut step, kind, None, detail),
            Input::Eased(kind) => self.ease(&mut step, kind),
            Input::Pictured(batch, picture) => self.pictured(&mut step, batch, *picture),
            Input::PicturesRemoved(pictures) => self.emit(&mut step, Fact::PicturesRemoved { pictures }),
            // Messages belong to no batch: they are of several.
            Input::Expired(gone) => self.record(&mut step, None, line(), Fact::MessagesExpired { gone }),
        }
        self.stop_for_rejects(&mut step);
        self.tell_pool(&mut step);
        self.settle_purge(&mut step);
        self.settle_run(&mut step);
        step
    }

    fn observe(&mut self, now: Now, step: &mut Step, observation: Observation) {
        let Observation { station, seen_mono_us, what } = observation;
        let Some(spec) = self.spec(station) else { return };
        if !spec.role.shows(&what) || what.largest() > COUNT_MAX {
            return;
        }
        let is_foreign = matches!(what, Observed::Lost { cause: LostCause::Foreign });
        if !self.known(station).joined && !is_foreign && !matches!(what, Observed::Joined { .. }) {
            // Nothing that a station shows counts until it joins; it shows it again then.
            return;
        }
        match what {
            Observed::Joined { device_epoch, reset } => self.join(now, step, station, device_epoch, reset),
            Observed::Lost { cause } => self.lose(step, station, cause),
            Observed::Faulted { code } => self.faulted(step, station, code),
            Observed::RecipeShown { recipe } => self.recipe_shown(step, station, recipe),
            Observed::BufferUnknown => self.with_live(station, |live| live.is_buffer_unknown = true),
            Observed::RecordStrange => self.find_strange(step, station),
            Observed::PrinterCounted { accepted, printed } => {
                self.count_printed(now, step, station, accepted, printed);
            }
            Observed::Flushed { flush } => self.flushed(step, station, flush),
            Observed::Result(result) => self.inspect(now, step, station, seen_mono_us, result),
            Observed::ResultsMissed { from, to } => self.miss_results(now, step, station, from, to),
            Observed::Entered { count } => self.with_live(station, |live| live.entered = Some(count)),
            Observed::Ended { track, end, .. } => self.end(now, step, station, track, end),
            Observed::EndsMissed { from, to } => self.miss_ends(step, station, from, to),
            Observed::Echoed { .. } => {}
            Observed::PhantomCounted { count } => self.phantom(step, station, count),
            Observed::BinCounted { count } => self.with_live(station, |live| live.bin = Some(count)),
            Observed::BinFull { full } => self.bin_full(step, station, full),
            Observed::CloseRequested(request) => self.close_requested(now, step, station, request),
            Observed::PermitAcked { token } => self.permit_acked(step, station, token),
            Observed::CloseEnded { seq, result } => self.close_ended(step, station, seq, result),
            Observed::GateMoved { state } => self.gate_moved(step, station, state),
        }
    }

    fn tick(&mut self, now: Now, step: &mut Step) {
        self.mind_people(now, step);
        for id in self.ids() {
            let Some(spec) = self.spec(id) else { continue };
            match spec.role {
                Role::Printer { .. } => self.tick_printer(now, step, id),
                Role::Camera { .. } => {}
                Role::Rejector => {
                    self.with_live(id, |live| {
                        live.settles_until_us = live.settles_until_us.filter(|at| now.mono_us < *at)
                    });
                    self.settle_ends(now, step, id);
                }
                Role::Packer { .. } => self.tick_packer(now, step, id),
            }
        }
    }

    fn join(&mut self, now: Now, step: &mut Step, station: StationId, device_epoch: u32, reset: bool) {
        let Some(spec) = self.spec(station) else { return };
        let known = self.state.station(&spec.name);
        let reset = reset || known.device_epoch != device_epoch;
        if reset {
            self.leave_epoch(step, station);
        }
        self.with_live(station, |live| live.rejoin(reset));
        let epoch = known.epoch.saturating_add(u32::from(reset));
        let kind = spec.role.kind();
        self.emit(step, Fact::StationJoined { station: spec.name, kind, device_epoch, epoch, reset });
        if kind == StationKind::Rejector {
            self.settle_tracks(now, station);
        }
        self.standing(now, station, step);
        if kind == StationKind::Rejector {
            // `standing` has said it.
            self.run_said = Some(self.may_run());
        }
    }

    /// What an epoch leaves behind when it ends: burned records, units in doubt, permits without an answer.
    fn leave_epoch(&mut self, step: &mut Step, station: StationId) {
        let Some(spec) = self.spec(station) else { return };
        match spec.role {
            Role::Printer { .. } => self.lose_buffer(step, station),
            Role::Camera { .. } => {}
            Role::Rejector => self.lose_transit(step, station),
            Role::Packer { .. } => self.lose_permit(step, station),
        }
    }

    fn lose(&mut self, step: &mut Step, station: StationId, cause: LostCause) {
        let Some(spec) = self.spec(station) else { return };
        if self.state.station(&spec.name).joined {
            self.emit(step, Fact::StationLost { station: spec.name, cause });
        }
        if cause == LostCause::Foreign {
            self.raise(step, AlarmKind::ForeignWriter, Some(station), String::new());
        }
    }

    /// A fault word is a fact when it changes, and not when a device that joins says that it has none.
    fn faulted(&mut self, step: &mut Step, station: StationId, code: i64) {
        let Some(spec) = self.spec(station) else { return };
        let before = self.live(station).and_then(|live| live.fault);
        self.with_live(station, |live| live.fault = Some(code));
        if before.unwrap_or(0) != code {
            self.emit(step, Fact::StationFaulted { station: spec.name, code });
        }
    }

    /// A picture is evidence and decides nothing. It belongs to the batch of its result, while that is open.
    fn pictured(&mut self, step: &mut Step, batch: Option<BatchId>, picture: Picture) {
        let batch = batch.filter(|batch| self.state.batch(batch).is_some());
        self.record(step, batch, line(), Fact::PictureStored { picture });
    }

    /// Folds a fact of the line itself and adds it to the step.
    fn emit(&mut self, step: &mut Step, fact: Fact) {
        self.emit_as(step, line(), fact);
    }

    /// The same for a fact that somebody asked for. Facts belong to the batch on the line unless they say another.
    fn emit_as(&mut self, step: &mut Step, actor: Actor, fact: Fact) {
        let batch = self.state.current().map(|batch| batch.id());
        self.record(step, batch, actor, fact);
    }

    /// The one way in which a fact comes to be: as the next one, of the batch that it belongs to.
    fn record(&mut self, step: &mut Step, batch: Option<BatchId>, actor: Actor, fact: Fact) {
        let entry = Entry { seq: self.state.seq.saturating_add(1), batch, actor, fact };
        self.state.apply(&entry);
        if matches!(entry.fact, Fact::BatchClosed { .. }) {
            self.closed_seq = entry.seq;
        }
        step.facts.push(entry);
    }

    fn ids(&self) -> impl Iterator<Item = StationId> + use<> {
        let count = u8::try_from(self.settings.stations.len()).unwrap_or(u8::MAX);
        (0..count).map(StationId)
    }

    fn spec(&self, station: StationId) -> Option<StationSpec> {
        self.settings.stations.get(usize::from(station.0)).copied()
    }

    /// The folded state of a station by its id.
    fn known(&self, station: StationId) -> Station {
        self.spec(station).map_or_else(Station::default, |spec| self.state.station(&spec.name))
    }

    fn live(&self, station: StationId) -> Option<&Live> {
        self.live.get(usize::from(station.0))
    }

    fn live_mut(&mut self, station: StationId) -> Option<&mut Live> {
        self.live.get_mut(usize::from(station.0))
    }

    fn with_live(&mut self, station: StationId, change: impl FnOnce(&mut Live)) {
        if let Some(live) = self.live_mut(station) {
            change(live);
        }
    }

    /// The one rejector of the lane.
    fn rejector(&self) -> Option<StationId> {
        self.ids().find(|id| self.spec(*id).is_some_and(|spec| matches!(spec.role, Role::Rejector)))
    }
}

/// What the first fact of a run says, and what must be looked at before the line may run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    pub version: Text<16>,
    pub config_sha256: Text<64>,
    /// The last run ended with `LineStopped`.
    pub clean: bool,
    /// Where this file is behind or beside what was anchored elsewhere, or was restored.
    pub epoch: Option<NewEpoch>,
    /// A key that this journal has not heard of.
    pub key: Option<NewKey>,
    /// What is in doubt about the journal, one sentence each, with the facts that it is about. Each becomes an alarm that holds
    /// the line until a person acknowledges it; one that waits already, word by word, is not raised again.
    pub doubts: Vec<String>,
    /// What the messages of this run say about their place.
    pub description: Option<Box<Description>>,
}

/// The actor of what the line decides by itself.
fn line() -> Actor {
    Text::new("line").unwrap_or_default()
}

/// Whether a date lies before the day of `now` (UTC): a batch whose product expired is not started.
fn is_past(expiry: Expiry, now: Now) -> bool {
    let (year, month, day) = civil_date(now.wall_us);
    let last_day = if expiry.day() == 0 { 31 } else { expiry.day() };
    (u32::from(expiry.year()), u32::from(expiry.month()), u32::from(last_day)) < (year, month, day)
}

/// Year, month and day of an instant, UTC (days-from-civil algorithm, proleptic Gregorian calendar).
fn civil_date(wall_us: i64) -> (u32, u32, u32) {
    let days = wall_us.div_euclid(86_400_000_000).saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era =
        (of_era.saturating_sub(of_era / 1_460).saturating_add(of_era / 36_524)).saturating_sub(of_era / 146_096) / 365;
    let leap_days = (year_of_era / 4).saturating_sub(year_of_era / 100);
    let of_year = of_era.saturating_sub(year_of_era.saturating_mul(365).saturating_add(leap_days));
    let shifted = of_year.saturating_mul(5).saturating_add(2) / 153;
    let day = of_year.saturating_sub(shifted.saturating_mul(153).saturating_add(2) / 5).saturating_add(1);
    let month = if shifted < 10 { shifted.saturating_add(3) } else { shifted.saturating_sub(9) };
    let year = year_of_era.saturating_add(era.saturating_mul(400)).saturating_add(i64::from(month <= 2));
    (u32::try_from(year).unwrap_or(0), u32::try_from(month).unwrap_or(1), u32::try_from(day).unwrap_or(1))
}
