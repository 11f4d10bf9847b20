//! The states of a batch, and how it leaves the line other than by running out: it is emptied (purge), held and resumed, or given up (abort).
//!
//! - A stop is at once: the belt stands, and what was printed and not read stands on it. Those units are rejects when they are read
//!   later, unless the site asks for their verification as any other (`Policy::inspects_after_stop`); in no case is one good
//!   because it was on its way.
//! - A purge prints nothing more and lets the belt run until every printed unit has left it. It ends by itself, with the batch stopped. A
//!   unit that somebody took off the belt before it was read keeps it from ending; a stop ends it then.
//! - A hold keeps the belt standing and the printer's buffer as it is. It ends by a resumption or with the batch: a stop would be a way
//!   around who may resume.
//! - An abort ends a batch that cannot be balanced. What is on its way is told to be taken off, containers under a permit are held, and
//!   what is commissioned stays as it is.

use crate::domain::tag::StationId;
use crate::domain::text::BatchId;
use crate::engine::fact::Fact;
use crate::engine::input::Actor;
use crate::engine::output::{Done, Refused, Step};
use crate::engine::reason::{AlarmKind, RequestRefusal};
use crate::engine::state::{Batch, Track};
use crate::engine::{Engine, Role, line};

type Outcome = Result<Done, Refused>;

/// The life of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BatchState {
    Loaded,
    Running,
    /// Somebody keeps the belt standing, and it goes on where it was once a person with the right says so.
    Held,
    /// Nothing is printed any more, and the belt runs until it is empty.
    Purging,
    Stopped,
    Closed,
    /// Ended for ever without a balance.
    Aborted,
}

impl BatchState {
    pub const ALL: &'static [BatchState] = &[
        BatchState::Loaded,
        BatchState::Running,
        BatchState::Held,
        BatchState::Purging,
        BatchState::Stopped,
        BatchState::Closed,
        BatchState::Aborted,
    ];

    /// The stable word, lower snake case.
    pub fn name(self) -> &'static str {
        match self {
            BatchState::Loaded => "loaded",
            BatchState::Running => "running",
            BatchState::Held => "held",
            BatchState::Purging => "purging",
            BatchState::Stopped => "stopped",
            BatchState::Closed => "closed",
            BatchState::Aborted => "aborted",
        }
    }

    /// No other batch can be on the line meanwhile.
    pub fn is_on_line(self) -> bool {
        match self {
            BatchState::Running | BatchState::Held | BatchState::Purging | BatchState::Stopped => true,
            BatchState::Loaded | BatchState::Closed | BatchState::Aborted => false,
        }
    }

    /// The belt may run.
    pub fn is_moving(self) -> bool {
        matches!(self, BatchState::Running | BatchState::Purging)
    }

    /// What a printer was given stays in its buffer.
    pub fn is_printing(self) -> bool {
        matches!(self, BatchState::Running | BatchState::Held)
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|word| word.name() == name)
    }
}

impl Engine {
    pub(super) fn purge(&mut self, step: &mut Step, actor: Actor, id: &BatchId) -> Outcome {
        match self.state_of(id)? {
            BatchState::Purging => return Ok(Done::Already),
            BatchState::Running | BatchState::Stopped => {}
            state @ (BatchState::Loaded | BatchState::Held | BatchState::Closed | BatchState::Aborted) => {
                return wrong(*id, state);
            }
        }
        self.encode_seen(step);
        self.emit_for(step, *id, actor, Fact::BatchPurgeStarted);
        self.say_expected(step);
        self.flush_all(step);
        Ok(Done::Changed)
    }

    /// Ends a purge as soon as nothing is on the line any more.
    pub(super) fn settle_purge(&mut self, step: &mut Step) {
        let Some(batch) = self.state.current().filter(|batch| batch.state == BatchState::Purging) else { return };
        if !self.is_line_empty(batch) {
            return;
        }
        let id = batch.id();
        let bin = self.rejector().and_then(|id| self.live(id)).and_then(|live| live.bin);
        self.emit_for(step, id, line(), Fact::BatchPurged { bin });
        self.say_expected(step);
    }

    /// Every printed unit has an end, and no track that the gate knows of is without one.
    fn is_line_empty(&self, batch: &Batch) -> bool {
        let live = self.rejector().and_then(|id| self.live(id));
        let transit = &self.state.transit;
        let is_left = live.and_then(|live| live.entered).is_none_or(|entered| transit.last_ended >= entered);
        let ends_wait = live.is_some_and(|live| !live.ends.is_empty());
        !self.flush_owed() && transit.tracks.is_empty() && is_left && !ends_wait && batch.unended() == 0
    }

    pub(super) fn hold(&mut self, step: &mut Step, actor: Actor, id: &BatchId, reason: String) -> Outcome {
        match self.state_of(id)? {
            BatchState::Held => return Ok(Done::Already),
            BatchState::Running => {}
            state @ (BatchState::Loaded
            | BatchState::Purging
            | BatchState::Stopped
            | BatchState::Closed
            | BatchState::Aborted) => return wrong(*id, state),
        }
        self.emit_for(step, *id, actor, Fact::BatchHeld { reason });
        Ok(Done::Changed)
    }

    /// The belt runs once nothing else holds it.
    pub(super) fn resume(&mut self, step: &mut Step, actor: Actor, id: &BatchId, reason: Option<String>) -> Outcome {
        match self.state_of(id)? {
            BatchState::Running => return Ok(Done::Already),
            BatchState::Held => {}
            state @ (BatchState::Loaded
            | BatchState::Purging
            | BatchState::Stopped
            | BatchState::Closed
            | BatchState::Aborted) => return wrong(*id, state),
        }
        self.emit_for(step, *id, actor, Fact::BatchResumed { reason });
        for id in self.printers() {
            self.allocate(step, id);
        }
        Ok(Done::Changed)
    }

    pub(super) fn abort(&mut self, step: &mut Step, actor: Actor, id: &BatchId, reason: String) -> Outcome {
        let state = self.state_of(id)?;
        match state {
            BatchState::Loaded => {}
            BatchState::Stopped | BatchState::Held => self.give_up(step, id),
            BatchState::Running | BatchState::Purging | BatchState::Closed | BatchState::Aborted => {
                return wrong(*id, state);
            }
        }
        let Some(batch) = self.state.batch(id) else { return unknown(*id) };
        let is_on_line = state.is_on_line();
        let counts = if is_on_line { self.final_counts(batch) } else { batch.counts_now() };
        let differences = if is_on_line { self.differences(batch, &counts) } else { Vec::new() };
        let (opened_seq, counts) = (batch.opened_seq, Box::new(counts));
        self.emit_for(step, *id, actor, Fact::BatchAborted { opened_seq, counts, differences, reason });
        if is_on_line {
            [AlarmKind::SerialPoolLow, AlarmKind::SerialsExhausted].into_iter().for_each(|kind| self.ease(step, kind));
            self.flush_all(step);
            self.say_expected(step);
        }
        Ok(Done::Changed)
    }

    /// What its batch will not answer for any more: units on their way and permits that stand.
    fn give_up(&mut self, step: &mut Step, id: &BatchId) {
        self.encode_seen(step);
        self.infer_rejects(step, self.closed_run());
        let tracks = self.state.transit.tracks.iter().filter(|(_, track)| track.batch == Some(*id));
        let tracks: Vec<(u64, Track)> = tracks.map(|(at, track)| (*at, *track)).collect();
        if let Some(rejector) = self.rejector() {
            tracks.into_iter().for_each(|(at, track)| self.remove_from_gate(step, rejector, at, &track));
        }
        for station in self.ids().collect::<Vec<StationId>>() {
            if self.spec(station).is_some_and(|spec| matches!(spec.role, Role::Packer { .. })) {
                self.lose_permit(step, station);
            }
        }
    }

    fn flush_all(&self, step: &mut Step) {
        self.printers().into_iter().for_each(|id| self.flush(step, id));
    }

    fn state_of(&self, id: &BatchId) -> Result<BatchState, Refused> {
        self.state.batch(id).map_or_else(|| unknown(*id), |batch| Ok(batch.state))
    }
}

impl Batch {
    /// Printed units that have not left the line, as far as the counts tell.
    fn unended(&self) -> u32 {
        let counts = &self.counts;
        let ended = counts.commissioned.saturating_add(counts.rejects_confirmed);
        counts.printed.saturating_sub(ended.saturating_add(counts.rejects_resolved))
    }
}

fn unknown<T>(id: BatchId) -> Result<T, Refused> {
    Err(Refused { reasons: vec![RequestRefusal::UnknownBatch(id)], differences: Vec::new() })
}

fn wrong<T>(batch: BatchId, state: BatchState) -> Result<T, Refused> {
    Err(Refused { reasons: vec![RequestRefusal::WrongState { batch, state }], differences: Vec::new() })
}
