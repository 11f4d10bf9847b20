//! What goes out, and in which order: state first, then the live feed, and a replay in what is left.

use std::sync::Arc;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::PublishProperties;
use tokio::time::Instant;

use crate::wire::{checkpoint, topic};

use super::Outgoing;
use super::ending::End;
use super::link;
use super::pump::{Epoch, NOTES_MAX, Pump, STATUS_TOPIC, Slot};
use super::senses::{Reader, Reading};

const STATUS_EVERY: Duration = Duration::from_secs(10);
const STATE_EVERY: Duration = Duration::from_millis(500);
/// While the live feed has a backlog, a replay gets one message in this many.
const LIVE_PER_REPLAY: u32 = 4;
/// Facts that wait after a longer absence: from here on lines do not begin at one instant.
const MANY_FACTS: u64 = 1000;

impl Pump {
    pub(super) fn ask_for_pages(&mut self) {
        let head = *self.senses.head.borrow();
        if !matches!(self.senses.reader, Reader::Idle(_)) || Instant::now() < self.read_again_at {
            return;
        }
        let retry = self.retry.as_ref().filter(|retry| !retry.is_read).map(|retry| retry.key.fact_seq);
        if let Some(fact_seq) = retry {
            self.senses.reader.start(fact_seq.saturating_sub(1), Reading::Retry);
        } else if let Some(after) = self.live.wants_page(head) {
            self.senses.reader.start(after, Reading::Live);
        } else if let Some(after) = self.replay.as_ref().and_then(|replay| replay.wants_page(head)) {
            self.senses.reader.start(after, Reading::Replay);
        }
    }

    /// A connection stands: what waited long leaves at a moment of its own.
    pub(super) fn begin_drain(&mut self) {
        let backlog = self.senses.head.borrow().saturating_sub(self.live.through());
        if backlog > MANY_FACTS {
            self.live_rate.hold_until(Instant::now() + link::some_of(self.settings.pace.spread));
        }
    }

    /// Hands messages to the client while the window has room: state first, so that a backlog does not starve it.
    pub(super) fn fill(&mut self, epoch: &mut Epoch) -> Result<(), End> {
        self.fill_state(epoch)?;
        self.send_retry(epoch)?;
        while epoch.window.has_room() && self.notes.len() < NOTES_MAX {
            let may_live = self.live.has_waiting() && self.live_rate.may_send(Instant::now());
            let is_replays_turn = self.live_run >= LIVE_PER_REPLAY || !may_live;
            if is_replays_turn && self.send_replay(epoch)? {
                self.live_run = 0;
            } else if may_live && let Some((ordinal, message)) = self.live.next() {
                self.live_run = self.live_run.saturating_add(1);
                self.live_rate.sent();
                self.send_live(epoch, ordinal, message)?;
            } else {
                break;
            }
        }
        Ok(())
    }

    fn send_live(&mut self, epoch: &mut Epoch, ordinal: u64, message: Outgoing) -> Result<(), End> {
        let Outgoing { stream, seq, fact_seq, .. } = message;
        let (bytes, topic) = (self.packet_bytes(&message), message.topic.clone());
        if bytes > epoch.packet_max {
            let cause = format!("the packet has {bytes} bytes, the broker takes {}", epoch.packet_max);
            return self.quarantine((ordinal, fact_seq), (stream, seq), topic, cause);
        }
        self.send(epoch, Slot::Live { ordinal, stream, seq, fact_seq, topic }, message, false)?;
        #[cfg(feature = "canary")]
        if self.is_unasked {
            self.live.acked(ordinal);
            self.report(true);
        }
        Ok(())
    }

    /// At most half of the window belongs to a replay. True when something was sent, or left out.
    fn send_replay(&mut self, epoch: &mut Epoch) -> Result<bool, End> {
        let share = epoch.window.limit().div_ceil(2);
        let Some(replay) = self.replay.as_mut().filter(|replay| replay.in_flight() < share) else { return Ok(false) };
        if !self.replay_rate.may_send(Instant::now()) {
            return Ok(false);
        }
        let Some((ordinal, message)) = replay.next() else { return Ok(false) };
        self.replay_rate.sent();
        if self.packet_bytes(&message) > epoch.packet_max {
            self.on_replay_acked(ordinal);
            return Ok(true);
        }
        let slot = Slot::Replay { ordinal, stream: message.stream, seq: message.seq, topic: message.topic.clone() };
        self.send(epoch, slot, message, true)?;
        Ok(true)
    }

    fn send_retry(&mut self, epoch: &mut Epoch) -> Result<(), End> {
        let message = match &mut self.retry {
            Some(retry) if epoch.window.has_room() => retry.message.take(),
            Some(_) | None => None,
        };
        let Some(message) = message else { return Ok(()) };
        if self.packet_bytes(&message) > epoch.packet_max {
            self.refuse_retry(format!("the broker takes packets of {} bytes", epoch.packet_max));
            return Ok(());
        }
        self.send(epoch, Slot::Retry, message, true)
    }

    /// What the PUBLISH will measure (MQTT 5, 3.3), with the property that is added to it.
    fn packet_bytes(&self, message: &Outgoing) -> usize {
        let number = |value: usize| {
            if value < 128 {
                1
            } else if value < 16_384 {
                2
            } else if value < 2_097_152 {
                3
            } else {
                4
            }
        };
        let pair = |name: &str, value: &str| 5 + name.len() + value.len();
        let own = message.properties.iter().filter(|(name, _)| name != "replay").map(|(name, value)| pair(name, value));
        let properties = own.sum::<usize>() + pair("replay", "false");
        let topic = 2 + self.settings.prefix.len() + 1 + message.topic.len();
        let rest = topic + 2 + number(properties) + properties + message.payload.len();
        1 + number(rest) + rest
    }

    fn send(&self, epoch: &mut Epoch, slot: Slot, message: Outgoing, is_replay: bool) -> Result<(), End> {
        let mut user_properties = message.properties;
        user_properties.retain(|(name, _)| name != "replay");
        user_properties.push(("replay".into(), is_replay.to_string()));
        let properties = PublishProperties { user_properties, ..PublishProperties::default() };
        let topic = self.topic(&message.topic);
        let sent =
            epoch.client.try_publish_with_properties(topic, QoS::AtLeastOnce, false, message.payload, properties);
        sent.map_err(|error| End::Refused {
            topic: message.topic,
            fact_seq: message.fact_seq,
            reason: error.to_string(),
            is_lasting: false,
        })?;
        epoch.asked(slot);
        Ok(())
    }

    /// `_status` when it is due, and the state topics that changed, each at most twice a second.
    fn fill_state(&mut self, epoch: &mut Epoch) -> Result<(), End> {
        let now = Instant::now();
        if now >= epoch.status_due && epoch.window.has_room() {
            epoch.status_due = now + STATUS_EVERY;
            self.show_status();
            let body = (self.birth)(&self.status);
            self.send_state(epoch, (STATUS_TOPIC, true), body)?;
        }
        // At the end nothing is due any more: the last state and the last checkpoint go out at once.
        if !epoch.is_state_dirty || now < epoch.state_due && epoch.stop_by.is_none() {
            return Ok(());
        }
        let topics = Arc::clone(&self.senses.state.borrow_and_update());
        for (topic, body) in
            topics.iter().filter(|(topic, body)| epoch.state_sent.get(topic) != Some(body)).collect::<Vec<_>>()
        {
            if !epoch.window.has_room() {
                return Ok(());
            }
            self.send_state(epoch, (topic, true), body.clone())?;
            if let Some(seq) = checkpoint::seq_of(body).filter(|_| topic == topic::CHECKPOINT) {
                self.send_state(epoch, (&topic::checkpoint(seq), false), body.clone())?;
            }
            epoch.state_sent.insert(topic.clone(), body.clone());
        }
        epoch.is_state_dirty = false;
        epoch.state_due = now + STATE_EVERY;
        Ok(())
    }

    fn send_state(&self, epoch: &mut Epoch, (topic, is_retained): (&str, bool), body: Vec<u8>) -> Result<(), End> {
        // Topic, header and the length of nothing else: what a packet of state has beside its body, at most.
        let bytes =
            body.len().saturating_add(self.settings.prefix.len()).saturating_add(topic.len()).saturating_add(16);
        if bytes > epoch.packet_max.min(self.judgement.state_bytes_max) {
            tracing::debug!(topic, bytes, "state is too large for the broker");
            return Ok(());
        }
        epoch
            .client
            .try_publish(self.topic(topic), QoS::AtLeastOnce, is_retained, body)
            .map_err(|error| End::lost(format!("{topic} could not be queued: {error}")))?;
        epoch.asked(Slot::State { topic: topic.to_owned(), bytes });
        Ok(())
    }
}
