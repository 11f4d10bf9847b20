//! What an answer of the broker means for the message that it answers.
//!
//! | PUBACK (MQTT 5, 3.4.2.1) | then |
//! |---|---|
//! | 0x00 success | taken; the lane moves on |
//! | 0x10 no matching subscribers | taken, nobody heard it: moves on, is not counted, and is told when it lasts |
//! | 0x87 not authorized, 0x90 topic name invalid, 0x99 payload format invalid | to the quarantine; the lane moves on |
//! | 0x97 quota exceeded | the connection ends, and the next try comes slowly; same id, same bytes |
//! | any other | the connection ends, and it is sent again |
//!
//! A packet that is answered is never sent again as such: what is sent again is a new PUBLISH. Where twenty in a row are
//! refused for ever, it is not the messages: the feed waits, as it does where the quarantine is full.

use rumqttc::v5::mqttbytes::v5::{PubAck, PubAckReason};
use tokio::time::Instant;

use super::ending::End;
use super::pump::{ACK_MESSAGES, Epoch, Pump, Slot};
use super::{Note, Problem, QUARANTINE_MAX, RetryRefusal};
use crate::wire::topic;

/// Refusals for ever in a row, without one message that is taken, that go to the quarantine.
const RUN_MAX: u32 = 20;
/// Characters of a cause.
const CAUSE_MAX: usize = 200;

/// What earlier answers say about the next.
#[derive(Debug)]
pub(super) struct Judgement {
    /// Refusals for ever since a message was taken.
    run: u32,
    /// Since when nobody hears what is taken, the first such fact, and whether it was told.
    unheard: Option<(Instant, u64, bool)>,
    /// Past which facts of the live feed and of a replay one message at a time is sent.
    pub(super) careful: Option<(u64, u64)>,
    pub(super) state_bytes_max: usize,
}

impl Default for Judgement {
    fn default() -> Self {
        Self { run: 0, unheard: None, careful: None, state_bytes_max: usize::MAX }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ruling {
    Taken,
    Unheard,
    Never,
    Full,
    Again,
}

fn rule(reason: PubAckReason) -> Ruling {
    match reason {
        PubAckReason::Success => Ruling::Taken,
        PubAckReason::NoMatchingSubscribers => Ruling::Unheard,
        PubAckReason::NotAuthorized | PubAckReason::TopicNameInvalid | PubAckReason::PayloadFormatInvalid => {
            Ruling::Never
        }
        PubAckReason::QuotaExceeded => Ruling::Full,
        PubAckReason::UnspecifiedError
        | PubAckReason::ImplementationSpecificError
        | PubAckReason::PacketIdentifierInUse => Ruling::Again,
    }
}

impl Pump {
    pub(super) fn on_answer(&mut self, epoch: &mut Epoch, ack: &PubAck) -> Result<(), End> {
        let slot = epoch.window.answered(ack.pkid).map_err(|wrong| {
            End::lost(format!("an answer for packet id {}, which is not in flight", wrong.packet_id))
        })?;
        epoch.last_answer = Instant::now();
        let (ruling, reason) = (rule(ack.reason), format!("{:?}", ack.reason));
        match slot {
            Slot::Live { ordinal, stream, seq, fact_seq, topic } => match ruling {
                Ruling::Taken | Ruling::Unheard => self.on_live_taken(ordinal, (stream, seq), fact_seq, ruling),
                Ruling::Never => return self.refuse_for_ever((ordinal, fact_seq), (stream, seq), topic, reason),
                Ruling::Full | Ruling::Again => {
                    return Err(End::Refused { topic, fact_seq, reason, is_lasting: ruling == Ruling::Full });
                }
            },
            Slot::Replay { ordinal, stream, seq, topic } => match ruling {
                Ruling::Taken | Ruling::Unheard => self.on_replay_acked(ordinal),
                Ruling::Never => {
                    tracing::warn!(stream, seq, topic, reason, "left out of the replay");
                    self.on_replay_acked(ordinal);
                }
                Ruling::Full | Ruling::Again => {
                    return Err(End::Refused { topic, fact_seq: seq, reason, is_lasting: ruling == Ruling::Full });
                }
            },
            Slot::Retry => self.on_retry_answered(matches!(ruling, Ruling::Taken | Ruling::Unheard), reason),
            Slot::State { topic, .. } => {
                if !matches!(ruling, Ruling::Taken | Ruling::Unheard) {
                    tracing::warn!(topic, reason, "state refused by the broker");
                } else if let Some(seq) = topic::checkpoint_seq(&topic) {
                    self.status.checkpoint_seq = self.status.checkpoint_seq.max(seq);
                }
            }
        }
        Ok(())
    }

    fn on_live_taken(&mut self, ordinal: u64, (stream, seq): (&str, u64), fact_seq: u64, ruling: Ruling) {
        self.live.acked(ordinal);
        self.judgement.run = 0;
        self.unreported = self.unreported.saturating_add(1);
        if ruling == Ruling::Taken {
            self.judgement.unheard = None;
            self.status.messages_acked = self.status.messages_acked.saturating_add(1);
        } else {
            self.note_unheard(fact_seq);
        }
        match stream {
            "epcis" => self.status.last_epcis_seq = self.status.last_epcis_seq.max(seq),
            "batch" => self.status.last_batch_seq = self.status.last_batch_seq.max(seq),
            _ => {}
        }
        self.report(self.unreported >= ACK_MESSAGES);
    }

    fn note_unheard(&mut self, fact_seq: u64) {
        self.status.messages_unheard = self.status.messages_unheard.saturating_add(1);
        let (since, first, was_told) = self.judgement.unheard.unwrap_or((Instant::now(), fact_seq, false));
        let is_told = was_told || since.elapsed() >= self.settings.pace.unheard;
        self.judgement.unheard = Some((since, first, is_told));
        if is_told && !was_told {
            (self.problem)(Problem::Unheard { fact_seq: first });
        }
    }

    fn refuse_for_ever(
        &mut self,
        (ordinal, fact_seq): (u64, u64),
        (stream, seq): (&'static str, u64),
        topic: String,
        reason: String,
    ) -> Result<(), End> {
        if self.judgement.run >= RUN_MAX {
            return Err(End::Refused { topic, fact_seq, reason, is_lasting: true });
        }
        self.judgement.run = self.judgement.run.saturating_add(1);
        self.quarantine((ordinal, fact_seq), (stream, seq), topic, format!("refused by the broker: {reason}"))
    }

    /// Takes a message out of the way of the feed; the store notes it before the feed's place moves past it.
    pub(super) fn quarantine(
        &mut self,
        (ordinal, fact_seq): (u64, u64),
        (stream, seq): (&'static str, u64),
        topic: String,
        cause: String,
    ) -> Result<(), End> {
        let cause: String = cause.chars().take(CAUSE_MAX).collect();
        if self.status.quarantined >= QUARANTINE_MAX {
            return Err(End::Refused {
                topic,
                fact_seq,
                reason: format!("{cause}, and the quarantine is full"),
                is_lasting: true,
            });
        }
        self.status.quarantined = self.status.quarantined.saturating_add(1);
        self.notes.push_back(Note::Excepted { stream, seq, cause: cause.clone() });
        self.live.acked(ordinal);
        (self.problem)(Problem::Quarantined { stream, seq, topic, cause });
        self.report(true);
        Ok(())
    }

    pub(super) fn on_replay_acked(&mut self, ordinal: u64) {
        self.status.messages_replayed = self.status.messages_replayed.saturating_add(1);
        let Some(replay) = &mut self.replay else { return };
        replay.acked(ordinal);
        if replay.is_done() {
            tracing::info!(through = replay.end(), "replay done");
            self.replay = None;
        }
    }

    pub(super) fn refuse_retry(&mut self, reason: String) {
        self.on_retry_answered(false, reason);
    }

    fn on_retry_answered(&mut self, is_taken: bool, reason: String) {
        let Some(retry) = self.retry.take() else { return };
        let (stream, seq) = (retry.key.stream, retry.key.seq);
        if is_taken {
            self.status.quarantined = self.status.quarantined.saturating_sub(1);
            self.notes.push_back(Note::Cleared { stream, seq });
            self.report(true);
        }
        retry.reply(if is_taken { Ok(()) } else { Err(RetryRefusal::Refused { reason }) });
    }
}
