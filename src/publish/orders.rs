//! What others ask of the pump: a replay, a message of the quarantine once more, the consumer's watermark.

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::lane::Lane;
use super::pump::{NOTES_MAX, Pump};
use super::{MessageKey, Note, Order, Outgoing, Problem, ReplayRefusal, RetryRefusal};

/// A message of the quarantine on its way; one at a time.
#[derive(Debug)]
pub(super) struct Retry {
    pub(super) key: MessageKey,
    /// Read, and not sent yet.
    pub(super) message: Option<Outgoing>,
    pub(super) is_read: bool,
    reply: oneshot::Sender<Result<(), RetryRefusal>>,
}

impl Retry {
    pub(super) fn reply(self, outcome: Result<(), RetryRefusal>) {
        if self.reply.send(outcome).is_err() {
            tracing::debug!("whoever asked for the retry is gone");
        }
    }
}

/// Since when the watermark stays behind what the broker took.
#[derive(Debug, Default)]
pub(super) struct Mark {
    behind_since: Option<Instant>,
    is_told: bool,
}

impl Pump {
    pub(super) fn take_order(&mut self, order: Order) {
        match order {
            Order::Replay { from, reply } => {
                let answer = self.accept_replay(from);
                if reply.send(answer).is_err() {
                    tracing::debug!("whoever asked for the replay is gone; it runs all the same");
                }
            }
            Order::Retry { key, reply } => self.accept_retry(Retry { key, message: None, is_read: false, reply }),
            Order::Skipped => self.status.quarantined = self.status.quarantined.saturating_sub(1),
            Order::Confirm { through, reply } => {
                if reply.send(self.accept_watermark(through)).is_err() {
                    tracing::debug!("whoever told the watermark is gone; it counts all the same");
                }
            }
        }
        self.show_status();
    }

    fn accept_replay(&mut self, from: u64) -> Result<u64, ReplayRefusal> {
        let head = *self.senses.head.borrow();
        if self.replay.is_some() {
            return Err(ReplayRefusal::Running);
        }
        if from == 0 || from > head.saturating_add(1) {
            return Err(ReplayRefusal::OutOfRange { head });
        }
        let lane = Lane::new(from.saturating_sub(1), head);
        tracing::info!(from, through = head, "replay taken");
        self.replay = Some(lane).filter(|lane| !lane.is_done());
        Ok(head)
    }

    fn accept_retry(&mut self, retry: Retry) {
        if !self.status.is_connected {
            retry.reply(Err(RetryRefusal::Away));
        } else if self.retry.is_some() {
            retry.reply(Err(RetryRefusal::Running));
        } else {
            self.retry = Some(retry);
        }
    }

    pub(super) fn take_retry_page(&mut self, page: Vec<Outgoing>) {
        let Some(retry) = &mut self.retry else { return };
        let (stream, seq) = (retry.key.stream, retry.key.seq);
        retry.message = page.into_iter().find(|message| message.stream == stream && message.seq == seq);
        retry.is_read = true;
        if retry.message.is_none()
            && let Some(retry) = self.retry.take()
        {
            retry.reply(Err(RetryRefusal::Gone));
        }
    }

    /// The connection is gone, and with it the answer.
    pub(super) fn end_retry(&mut self) {
        if let Some(retry) = self.retry.take() {
            retry.reply(Err(RetryRefusal::Away));
        }
    }

    fn accept_watermark(&mut self, through: u64) -> Result<(), ReplayRefusal> {
        let head = *self.senses.head.borrow();
        if through > head {
            return Err(ReplayRefusal::OutOfRange { head });
        }
        if self.status.confirmed == Some(through) {
            return Ok(());
        }
        if self.notes.len() >= NOTES_MAX {
            return Err(ReplayRefusal::Stopped);
        }
        self.notes.push_back(Note::Confirmed { through });
        self.status.confirmed = Some(through);
        self.mark = Mark::default();
        self.report(true);
        Ok(())
    }

    /// Tells once that the consumer does not follow: what the broker took did not arrive, or nobody works on it.
    pub(super) fn look_at_watermark(&mut self) {
        let acked = self.live.through();
        let Some(confirmed) = self.status.confirmed.filter(|confirmed| *confirmed < acked) else {
            self.mark = Mark::default();
            return;
        };
        let since = *self.mark.behind_since.get_or_insert_with(Instant::now);
        if !self.mark.is_told && since.elapsed() >= self.settings.pace.unconfirmed {
            self.mark.is_told = true;
            (self.problem)(Problem::Unconfirmed { confirmed, acked });
        }
    }
}
