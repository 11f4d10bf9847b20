//! How a connection ends, and what follows from it: the pause before the next, and what a person is told.

use super::Problem;
use super::lane::Lane;
use super::link::Broken;
use super::pump::{Epoch, Pump, Slot};

/// Epochs that end with the same message first in line before a person is told.
const TRIES_UNTIL_PROBLEM: u32 = 3;

/// Why an epoch ended.
#[derive(Clone, Debug)]
pub(super) enum End {
    Stopped,
    Broken(Broken),
    /// The broker refused a message that stays first in line.
    Refused {
        topic: String,
        fact_seq: u64,
        reason: String,
        /// Trying again soon would not help: the broker is full, or refuses everything.
        is_lasting: bool,
    },
}

impl End {
    pub(super) fn lost(why: impl Into<String>) -> Self {
        Self::Broken(Broken::Lost(why.into()))
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Stopped => "stopped".into(),
            Self::Broken(Broken::Lost(why)) => why.clone(),
            Self::Broken(Broken::NotAdmitted(why)) => format!("not admitted: {why}"),
            Self::Broken(Broken::TakenOver) => "another client uses our id".into(),
            Self::Broken(Broken::TooLarge(why)) => format!("a packet was too large: {why}"),
            Self::Refused { topic, reason, .. } => format!("{topic} refused: {reason}"),
        }
    }
}

impl Pump {
    pub(super) fn finish_epoch(&mut self, end: &End, was_useful: bool) {
        self.live.start_over();
        if let Some(replay) = &mut self.replay {
            replay.start_over();
        }
        self.end_retry();
        self.report(true);
        if was_useful && !matches!(end, End::Broken(Broken::TakenOver)) {
            self.backoff.reset();
        }
        self.tell_problem(end);
        if self.status.is_connected {
            tracing::info!(end = end.text(), acked = self.live.through(), "feed connection ended");
        }
        self.status.is_connected = false;
        self.status.last_end = end.text();
        self.show_status();
    }

    fn tell_problem(&mut self, end: &End) {
        let first = self.live.through().saturating_add(1);
        let waits = self.live.wants_page(*self.senses.head.borrow()).is_some() && self.status.is_connected;
        self.stuck = match self.stuck {
            (fact, times) if fact == first && waits => (fact, times.saturating_add(1)),
            _ => (first, u32::from(waits)),
        };
        let is_third = self.stuck.1 == TRIES_UNTIL_PROBLEM;
        match end {
            End::Stopped => {}
            End::Refused { topic, fact_seq, reason, is_lasting } => {
                if is_third {
                    let (topic, reason) = (topic.clone(), reason.clone());
                    (self.problem)(Problem::MessageRefused { topic, fact_seq: *fact_seq, reason });
                }
                if *is_lasting || self.stuck.1 >= TRIES_UNTIL_PROBLEM {
                    self.backoff.slow();
                }
            }
            End::Broken(Broken::Lost(cause) | Broken::TooLarge(cause)) => {
                if is_third {
                    (self.problem)(Problem::MessageStuck { fact_seq: first, cause: cause.clone() });
                }
                if self.stuck.1 >= TRIES_UNTIL_PROBLEM {
                    self.backoff.slow();
                }
            }
            End::Broken(Broken::NotAdmitted(reason)) => {
                self.backoff.slow();
                if self.status.last_end != end.text() {
                    (self.problem)(Problem::LinkRefused { reason: reason.clone() });
                }
            }
            End::Broken(Broken::TakenOver) => {
                self.backoff.slow();
                (self.problem)(Problem::TakenOver);
            }
        }
    }

    /// A broker that finds a packet too large closes the connection, and does not say which packet. Where one was in flight, it
    /// was that one; where there were more, the next connection sends one at a time until they are all past.
    pub(super) fn find_too_large(&mut self, epoch: &Epoch, why: &str) {
        match epoch.window.only().cloned() {
            Some(Slot::Live { ordinal, stream, seq, fact_seq, topic }) => {
                let cause = format!("too large for the broker: {why}");
                // Where the quarantine is full, it stays first in line, and the third try is told.
                drop(self.quarantine((ordinal, fact_seq), (stream, seq), topic, cause));
            }
            Some(Slot::Replay { ordinal, stream, seq, topic }) => {
                tracing::warn!(stream, seq, topic, why, "left out of the replay");
                self.on_replay_acked(ordinal);
            }
            Some(Slot::State { topic, bytes }) => {
                tracing::warn!(topic, bytes, why, "state is too large for the broker");
                self.judgement.state_bytes_max = self.judgement.state_bytes_max.min(bytes.saturating_sub(1));
            }
            Some(Slot::Retry) => self.refuse_retry(why.to_owned()),
            None => {
                let replay = self.replay.as_ref().map_or(0, Lane::read_through);
                self.judgement.careful = Some((self.live.read_through(), replay));
                return;
            }
        }
        self.judgement.careful = None;
    }

    /// Whether one at a time is sent, because one of those that were in flight is too large.
    pub(super) fn is_careful(&mut self) -> bool {
        let Some((live, replay)) = self.judgement.careful else { return false };
        let is_replay_past = self.replay.as_ref().is_none_or(|lane| lane.through() >= replay);
        if self.live.through() >= live && is_replay_past {
            self.judgement.careful = None;
        }
        self.judgement.careful.is_some()
    }
}
