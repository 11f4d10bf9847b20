//! The person at a simulated line: loads and starts the batch, does what the operator of the demo does with alarms and at the
//! machine, and starts a batch again that somebody stopped.

use std::sync::Arc;

use crate::domain::tag::StationKind;
use crate::domain::text::Name;
use crate::engine::input::{Ask, Request};
use crate::engine::output::{Answer, Refused};
use crate::engine::reason::BatchState;
use crate::line::Arrival;
use crate::sim::operator::{Action, AlarmView, Operator};
use crate::sim::swarm::crowd::{CALM, Standing};
use crate::sim::swarm::world::World;

/// A look at the screen and at the machine.
const LOOK_US: u64 = 200_000;
/// From the decision to the request at the line.
const HAND_US: u64 = 20_000;

/// What a stop strands on the belt is rejected so long after it.
const STRANDED_US: u64 = 5_000_000;

/// What the person is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Goal {
    #[default]
    Run,
    /// The last units leave; nothing is started any more.
    RunOut,
    /// The batch is stopped and closed.
    Close,
}

#[derive(Clone, Debug)]
pub(super) struct Person {
    operator: Operator,
    next_look_us: u64,
    pub(super) goal: Goal,
    /// The answer to the newest request to close the batch.
    pub(super) closing: Option<Result<(), Refused>>,
}

/// The number of the request to close the batch; those of others are not waited for.
const CLOSE_ID: u64 = 7;

impl Person {
    pub(super) fn new() -> Self {
        Self { operator: Operator::default(), next_look_us: 0, goal: Goal::Run, closing: None }
    }

    /// The screen went dark: what was asked may have been lost.
    pub(super) fn forget(&mut self) {
        self.closing = None;
    }

    pub(super) fn hear(&mut self, answer: &Answer) {
        if answer.id == CLOSE_ID {
            self.closing = Some(answer.outcome.clone().map(|_| ()));
        }
    }
}

impl World {
    pub(super) fn look_at_person(&mut self) {
        if self.now_us < self.person.next_look_us {
            return;
        }
        self.person.next_look_us = self.now_us + LOOK_US;
        let Some(process) = self.process.as_ref().filter(|process| self.now_us >= process.frozen_until_us) else {
            return;
        };
        let state = process.line.engine().state();
        let kind_of = |name: &Name| StationKind::parse(name.as_str());
        let alarms = state.alarms.iter().map(|(id, alarm)| {
            AlarmView::read(u64::from(*id), alarm.station.as_ref().and_then(kind_of), &alarm.detail, &self.tags)
        });
        let alarms: Vec<AlarmView> = alarms.collect();
        let batch = state.batch(&self.setup.order.sheet.batch).map(|batch| batch.state);
        let away =
            StationKind::ALL.iter().copied().filter(|kind| !state.station(&super::setup::name(kind.name())).joined);
        let away = away.collect();
        let is_stopped_by_hand = self.person.goal != Goal::Run;
        let at = std::time::Duration::from_micros(self.now_us);
        let decided = self.person.operator.decide(&self.plant.view(), &alarms);
        for action in decided.into_iter().chain(self.person.operator.mend(away, at)) {
            match action {
                Action::AckAlarm(alarm) => {
                    let alarm = u32::try_from(alarm).unwrap_or(u32::MAX);
                    self.ask(0, Request::AcknowledgeAlarm(alarm));
                }
                Action::AtMachine(crate::sim::physics::Deed::PressStart) if is_stopped_by_hand => {}
                Action::AtMachine(deed) => {
                    self.note(|| format!("hand  {deed:?}"));
                    self.plant.order(deed);
                }
            }
        }
        self.mind_batch(batch);
    }

    /// `state` is that of the batch; none before it was loaded, and after it was closed.
    fn mind_batch(&mut self, state: Option<BatchState>) {
        let id = self.setup.order.sheet.batch;
        match (self.person.goal, state) {
            (Goal::Run | Goal::RunOut, None) => {
                let order = Arc::clone(&self.setup.order);
                self.ask(0, Request::LoadBatch(order));
            }
            (Goal::Run | Goal::RunOut, Some(BatchState::Loaded | BatchState::Stopped)) => {
                self.ask(0, Request::StartBatch(id))
            }
            (Goal::Run | Goal::RunOut, Some(BatchState::Held)) => {
                self.ask(0, Request::ResumeBatch { batch: id, reason: None });
            }
            (Goal::Run | Goal::RunOut, Some(BatchState::Purging)) if self.now_us >= self.crowd.purged_until_us => {
                self.touch(STRANDED_US);
                self.ask(0, Request::StopBatch(id));
            }
            (_, Some(BatchState::Closed | BatchState::Aborted))
            | (Goal::Run | Goal::RunOut, Some(BatchState::Running | BatchState::Purging)) => {}
            (Goal::Close, Some(BatchState::Running | BatchState::Purging)) => self.ask(0, Request::StopBatch(id)),
            (Goal::Close, Some(BatchState::Stopped)) => self.ask(CLOSE_ID, Request::CloseBatch(id)),
            (Goal::Close, Some(BatchState::Held)) => self.ask(0, Request::ResumeBatch { batch: id, reason: None }),
            (Goal::Close, Some(BatchState::Loaded) | None) => {}
        }
    }

    fn ask(&mut self, id: u64, request: Request) {
        if let Standing::As(asker) = self.standing_of(CALM) {
            self.arrive_at(self.now_us + HAND_US, Arrival::Asked(Ask { id, asker, request }));
        }
    }
}
