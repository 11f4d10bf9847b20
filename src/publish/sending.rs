//! What goes out, and in which order: state first, then the live feed, and a replay in what is left.

use std::sync::Arc;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::PublishProperties;
use tokio::time::Instant;

use super::Outgoing;
use super::pump::{End, Epoch, Pump, STATUS_TOPIC, Slot};
use super::senses::Reader;

const STATUS_EVERY: Duration = Duration::from_secs(10);
const STATE_EVERY: Duration = Duration::from_millis(500);
/// While the live feed has a backlog, a replay gets one message in this many.
const LIVE_PER_REPLAY: u32 = 4;

impl Pump {
    pub(super) fn ask_for_pages(&mut self) {
        let head = *self.senses.head.borrow();
        if !matches!(self.senses.reader, Reader::Idle(_)) || Instant::now() < self.read_again_at {
            return;
        }
        if let Some(after) = self.live.wants_page(head) {
            self.senses.reader.start(after, false);
        } else if let Some(after) = self.replay.as_ref().and_then(|replay| replay.wants_page(head)) {
            self.senses.reader.start(after, true);
        }
    }

    /// Hands messages to the client while the window has room: state first, so that a backlog does not starve it.
    pub(super) fn fill(&mut self, epoch: &mut Epoch) -> Result<(), End> {
        self.fill_state(epoch)?;
        while epoch.window.has_room() {
            let is_replays_turn = self.live_run >= LIVE_PER_REPLAY || !self.live.has_waiting();
            if is_replays_turn && self.send_replay(epoch)? {
                self.live_run = 0;
            } else if let Some((ordinal, message)) = self.live.next() {
                self.live_run = self.live_run.saturating_add(1);
                let Outgoing { stream, seq, fact_seq, .. } = message;
                let slot = Slot::Live { ordinal, stream, seq, fact_seq, topic: message.topic.clone() };
                self.send(epoch, slot, message, false)?;
                #[cfg(feature = "canary")]
                if self.is_unasked {
                    self.on_live_acked(ordinal, stream, seq);
                }
            } else {
                break;
            }
        }
        Ok(())
    }

    /// At most half of the window belongs to a replay. True when something was sent.
    fn send_replay(&mut self, epoch: &mut Epoch) -> Result<bool, End> {
        let share = epoch.window.limit().div_ceil(2);
        let Some(replay) = self.replay.as_mut().filter(|replay| replay.in_flight() < share) else { return Ok(false) };
        if self.replay_allowance == 0 {
            return Ok(false);
        }
        let Some((ordinal, message)) = replay.next() else { return Ok(false) };
        self.replay_allowance = self.replay_allowance.saturating_sub(1);
        self.send(epoch, Slot::Replay { ordinal }, message, true)?;
        Ok(true)
    }

    fn send(&self, epoch: &mut Epoch, slot: Slot, message: Outgoing, is_replay: bool) -> Result<(), End> {
        let mut user_properties = message.properties;
        user_properties.retain(|(name, _)| name != "replay");
        user_properties.push(("replay".into(), is_replay.to_string()));
        let properties = PublishProperties { user_properties, ..PublishProperties::default() };
        let topic = self.topic(&message.topic);
        epoch.client.try_publish_with_properties(topic, QoS::AtLeastOnce, false, message.payload, properties).map_err(
            |error| End::Refused { topic: message.topic, fact_seq: message.fact_seq, reason: error.to_string() },
        )?;
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
            self.send_state(epoch, STATUS_TOPIC, body)?;
        }
        if !epoch.is_state_dirty || now < epoch.state_due {
            return Ok(());
        }
        let topics = Arc::clone(&self.senses.state.borrow_and_update());
        for (topic, body) in
            topics.iter().filter(|(topic, body)| epoch.state_sent.get(topic) != Some(body)).collect::<Vec<_>>()
        {
            if !epoch.window.has_room() {
                return Ok(());
            }
            self.send_state(epoch, topic, body.clone())?;
            epoch.state_sent.insert(topic.clone(), body.clone());
        }
        epoch.is_state_dirty = false;
        epoch.state_due = now + STATE_EVERY;
        Ok(())
    }

    fn send_state(&self, epoch: &mut Epoch, topic: &str, body: Vec<u8>) -> Result<(), End> {
        epoch
            .client
            .try_publish(self.topic(topic), QoS::AtLeastOnce, true, body)
            .map_err(|error| End::lost(format!("{topic} could not be queued: {error}")))?;
        epoch.asked(Slot::State { topic: topic.to_owned() });
        Ok(())
    }
}
