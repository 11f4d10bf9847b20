//! How a connection ends, and what follows from it: the pause before the next, and what a person is told.

use super::Problem;
use super::lane::Lane;
use super::link::Broken;
use super::pump::{Epoch, Pump, Slot};

/// Epochs that end with the same message first in line before a person is told.
const TRIES_UNTIL_PROBLEM: u32 = 3;
/// Connections in a row that were closed without a word and without need before it is taken for another client's doing.
const HANG_UPS: u32 = 3;

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
            Self::Broken(Broken::HungUp) => "the broker closed the connection without a word".into(),
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
        if !self.status.is_connected {
            self.hang_ups = 0;
        }
        if was_useful && !matches!(end, End::Broken(Broken::TakenOver)) && self.hang_ups < HANG_UPS {
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
            End::Broken(Broken::HungUp) if self.hang_ups >= HANG_UPS => {
                self.backoff.slow();
                if self.hang_ups == HANG_UPS {
                    (self.problem)(Problem::HungUp { times: HANG_UPS });
                }
            }
            End::Broken(Broken::Lost(_) | Broken::HungUp | Broken::TooLarge(_)) => {
                if is_third {
                    (self.problem)(Problem::MessageStuck { fact_seq: first, cause: end.text() });
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

    /// A client of the same id makes the broker close a connection on which nothing happens, again and again. Brokers say so
    /// (0x8E), but the library does not read a DISCONNECT that ends after its reason, which is how mosquitto writes it.
    pub(super) fn count_hang_ups(&mut self, end: &End, epoch: &Epoch) {
        let is_short = epoch.since.elapsed() < self.settings.pace.useful;
        match end {
            End::Broken(Broken::HungUp) if !is_short => self.hang_ups = 0,
            End::Broken(Broken::HungUp) if epoch.window.used() == 0 => self.hang_ups = self.hang_ups.saturating_add(1),
            End::Broken(Broken::HungUp | Broken::TakenOver) => {}
            End::Broken(Broken::Lost(_) | Broken::NotAdmitted(_) | Broken::TooLarge(_))
            | End::Stopped
            | End::Refused { .. } => self.hang_ups = 0,
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
