//! The line thread: takes from the inbox, turns the line, hands out what a turn gave. The only place where answers are
//! matched with those who wait for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, select};
use tokio::sync::{oneshot, watch};

use crate::engine::input::{Ask, Asker, Request};
use crate::engine::output::Answer;
use crate::engine::reason::AlarmKind;
use crate::line::{Arrival, Inbound, Line, Plant, Turn};
use crate::runtime::clock::Clock;
use crate::runtime::latency::Latency;
use crate::runtime::service::Service;
use crate::runtime::snapshot::Snapshot;
use crate::runtime::tap::{Tap, What};
use crate::store::{Durable, Journal};

/// What other threads put into the inbox.
pub(super) enum Item {
    Line(Inbound),
    Ask(Asker, Request, oneshot::Sender<Answer>),
    /// The thread is to end as soon as everything is on disk.
    End,
}

/// What the spine listens to and speaks into.
pub(super) struct Spine {
    pub(super) clock: Clock,
    pub(super) inbox: Receiver<Item>,
    pub(super) durable: Receiver<Durable>,
    /// The newest durable fact, for the publisher.
    pub(super) head: watch::Sender<u64>,
    pub(super) snapshots: watch::Sender<Arc<Snapshot>>,
    pub(super) service: Service,
    /// What systemd is told once the line turns.
    pub(super) ready: String,
    pub(super) tap: Tap,
    /// Told once the last fact of this run is on disk.
    pub(super) stopped: Option<oneshot::Sender<()>>,
}

/// Askers who may wait at once; the control socket serves far fewer.
const WAITING_MAX: usize = 64;

impl Spine {
    /// Turns until it is told to end and everything is on disk, or until nobody can reach it any more.
    pub(super) fn run<J: Journal, P: Plant>(mut self, mut line: Line<J, P>, first: Turn) {
        let mut waiting = Waiting::default();
        let mut latency = Latency::default();
        let mut is_ending = false;
        self.hand_out(&first, &mut waiting);
        self.show(&line, &latency);
        self.service.ready(&self.ready);
        while !(is_ending && line.is_settled()) {
            let Some(item) = self.next(line.is_full()) else { break };
            let now = self.clock.now();
            let inbound = match item {
                Item::Line(inbound) => inbound,
                Item::Ask(asker, request, answer) => {
                    let Some(id) = waiting.enter(answer) else { continue };
                    let what = Arrival::Asked(Ask { id, asker, request });
                    Inbound { seen_mono_us: now.mono_us, what }
                }
                Item::End => {
                    is_ending = true;
                    continue;
                }
            };
            let is_tick = matches!(inbound.what, Arrival::Tick);
            line.look_on(self.tap.is_open());
            let turn = line.turn(now, inbound);
            for passed in &turn.passed {
                self.tap.show(What::Line(passed.clone()));
            }
            latency.add(&turn);
            // What an answer says was done is seen by whoever asks next.
            if is_tick {
                self.look(&mut line, &mut latency);
            }
            if is_tick || !turn.answers.is_empty() {
                self.show(&line, &latency);
            }
            self.hand_out(&turn, &mut waiting);
            if line.is_stopped() {
                // Nobody waits for it any more where the daemon ends for another reason.
                let _ = self.stopped.take().map(|stopped| stopped.send(()));
            }
            if !line.is_wedged(now) {
                self.service.turned(now);
            }
        }
    }

    /// Completions always come in; other things wait while the disk is behind.
    fn next(&self, is_full: bool) -> Option<Item> {
        let completed = |durable| {
            let what = Arrival::Durable(durable);
            Item::Line(Inbound { seen_mono_us: self.clock.now().mono_us, what })
        };
        if is_full {
            return self.durable.recv().ok().map(completed);
        }
        select! {
            recv(self.durable) -> durable => durable.ok().map(completed),
            recv(self.inbox) -> item => item.ok(),
        }
    }

    fn show<J: Journal, P: Plant>(&self, line: &Line<J, P>, latency: &Latency) {
        let verdicts = latency.now();
        let shown = Arc::new(Snapshot { verdicts, ..Snapshot::of(line.engine(), line.machines()) });
        let before = self.snapshots.send_replace(shown.clone());
        shown.log_changes(&before);
    }

    /// Verdicts that take too much of their deadline are an alarm.
    fn look<J: Journal, P: Plant>(&self, line: &mut Line<J, P>, latency: &mut Latency) {
        let now = self.clock.now();
        if let Some(detail) = latency.look(now.mono_us, line.engine()) {
            let what = Arrival::Noticed(AlarmKind::VerdictsSlow, detail);
            // A notice brings no answer.
            line.turn(now, Inbound { seen_mono_us: now.mono_us, what });
        }
    }

    fn hand_out(&self, turn: &Turn, waiting: &mut Waiting) {
        if let Some(durable) = turn.durable {
            self.head.send_replace(durable);
        }
        for answer in &turn.answers {
            waiting.leave(answer);
        }
    }
}

/// Those who wait for an answer, by the number of their request.
#[derive(Default)]
struct Waiting {
    last: u64,
    senders: BTreeMap<u64, oneshot::Sender<Answer>>,
}

impl Waiting {
    /// `None` where too many wait; dropping the sender tells the asker.
    fn enter(&mut self, answer: oneshot::Sender<Answer>) -> Option<u64> {
        if self.senders.len() >= WAITING_MAX {
            return None;
        }
        self.last += 1;
        self.senders.insert(self.last, answer);
        Some(self.last)
    }

    fn leave(&mut self, answer: &Answer) {
        if let Some(sender) = self.senders.remove(&answer.id) {
            // An asker who went away needs no answer; what was asked is done all the same.
            let _ = sender.send(answer.clone());
        }
    }
}
