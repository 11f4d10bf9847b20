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
//! - A closed batch that has to be put right is reopened: a fact of its own, and another close. Nothing of the first is taken back.

use crate::domain::tag::StationId;
use crate::domain::text::BatchId;
use crate::engine::batch::wrong_state;
use crate::engine::fact::Fact;
use crate::engine::input::{Actor, BatchSheet, Reopening};
use crate::engine::output::{Done, Refused, Step};
use crate::engine::reason::RequestRefusal;
use crate::engine::state::{Batch, MAX_BATCHES, Track};
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

impl Fact {
    /// The order of the batch that is open from this fact on.
    pub fn opens(&self) -> Option<&BatchSheet> {
        if let Fact::BatchLoaded { sheet, .. } | Fact::BatchReopened { sheet, .. } = self { Some(sheet) } else { None }
    }

    /// Whether its batch is open no more.
    pub fn ends_batch(&self) -> bool {
        matches!(self, Fact::BatchClosed { .. } | Fact::BatchAborted { .. })
    }
}

impl Engine {
    pub(super) fn purge(&mut self, step: &mut Step, actor: Actor, id: &BatchId) -> Outcome {
        match self.loaded(id)?.state {
            BatchState::Purging => return Ok(Done::Already),
            BatchState::Running | BatchState::Stopped => {}
            state @ (BatchState::Loaded | BatchState::Held | BatchState::Closed | BatchState::Aborted) => {
                return wrong_state(*id, state);
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
        self.emit_for(step, id, line(), Fact::BatchPurged { bin: self.bin() });
        self.say_expected(step);
    }

    /// Every printed unit has an end, and no track that the gate knows of is without one.
    fn is_line_empty(&self, batch: &Batch) -> bool {
        let live = self.rejector().and_then(|id| self.live(id));
        let transit = &self.state.transit;
        let is_left = live.and_then(|live| live.entered).is_none_or(|entered| transit.last_ended >= entered);
        let ends_wait = live.is_some_and(|live| !live.ends.is_empty());
        !self.flush_owed()
            && transit.tracks.is_empty()
            && is_left
            && !ends_wait
            && batch.unended(transit.unknown.len()) == 0
    }

    pub(super) fn hold(&mut self, step: &mut Step, actor: Actor, id: &BatchId, reason: String) -> Outcome {
        match self.loaded(id)?.state {
            BatchState::Held => return Ok(Done::Already),
            BatchState::Running => {}
            state @ (BatchState::Loaded
            | BatchState::Purging
            | BatchState::Stopped
            | BatchState::Closed
            | BatchState::Aborted) => return wrong_state(*id, state),
        }
        self.emit_for(step, *id, actor, Fact::BatchHeld { reason });
        Ok(Done::Changed)
    }

    /// The belt runs once nothing else holds it.
    pub(super) fn resume(&mut self, step: &mut Step, actor: Actor, id: &BatchId, reason: Option<String>) -> Outcome {
        match self.loaded(id)?.state {
            BatchState::Running => return Ok(Done::Already),
            BatchState::Held => {}
            state @ (BatchState::Loaded
            | BatchState::Purging
            | BatchState::Stopped
            | BatchState::Closed
            | BatchState::Aborted) => return wrong_state(*id, state),
        }
        self.emit_for(step, *id, actor, Fact::BatchResumed { reason });
        self.allocate_all(step);
        Ok(Done::Changed)
    }

    pub(super) fn abort(&mut self, step: &mut Step, actor: Actor, id: &BatchId, reason: String) -> Outcome {
        let state = self.loaded(id)?.state;
        match state {
            BatchState::Loaded => {}
            BatchState::Stopped | BatchState::Held => self.give_up(step, id),
            BatchState::Running | BatchState::Purging | BatchState::Closed | BatchState::Aborted => {
                return wrong_state(*id, state);
            }
        }
        let batch = self.loaded(id)?;
        let is_on_line = state.is_on_line();
        let counts = if is_on_line { self.final_counts(batch) } else { batch.counts_now() };
        let differences = if is_on_line { self.differences(batch, &counts) } else { Vec::new() };
        let (opened_seq, counts) = (batch.opened_seq, Box::new(counts));
        self.emit_for(step, *id, actor, Fact::BatchAborted { opened_seq, counts, differences, reason });
        if is_on_line {
            self.concluded(step);
            self.flush_all(step);
            self.say_expected(step);
        }
        Ok(Done::Changed)
    }

    /// Nothing else may be on the line: a batch that is put right may need it. One that was closed anew since it was folded is
    /// folded again first.
    pub(super) fn reopen(&mut self, step: &mut Step, actor: Actor, reopening: Reopening) -> Outcome {
        let Reopening { batch, through, reason } = reopening;
        let id = batch.id();
        let mut reasons = Vec::new();
        if let Some(open) = self.state.batch(&id) {
            reasons.push(RequestRefusal::WrongState { batch: id, state: open.state });
        }
        if through < self.closed_seq {
            reasons.push(RequestRefusal::Busy);
        }
        reasons.extend(self.state.current().map(|other| RequestRefusal::LineOccupied(other.id())));
        if self.state.batches.len() >= MAX_BATCHES {
            reasons.push(RequestRefusal::BatchesFull(u32::try_from(self.state.batches.len()).unwrap_or(u32::MAX)));
        }
        if !reasons.is_empty() {
            return Err(Refused::because(reasons));
        }
        let (sheet, opened_seq) = (batch.sheet.clone(), batch.opened_seq);
        self.state.insert_closed(batch);
        self.emit_for(step, id, actor, Fact::BatchReopened { sheet, opened_seq, reason });
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
}

impl Batch {
    /// Printed units that have not left the line, as far as the counts tell. Labels that a person took off the belt have no other end;
    /// `unnamed` of them may lie in the reject bin, and are counted there.
    fn unended(&self, unnamed: usize) -> u32 {
        let counts = &self.counts;
        let ended = counts.commissioned.saturating_add(counts.rejects_confirmed);
        let taken = self.unread_by_hand.saturating_sub(u32::try_from(unnamed).unwrap_or(u32::MAX));
        counts.printed.saturating_sub(ended.saturating_add(counts.rejects_resolved).saturating_add(taken))
    }
}
