//! The outbox pump: one task that owns the client, its event loop and the feed's place.
//!
//! One connection is one epoch with a fresh client. While the window has room, the next message is handed to the client;
//! its packet id is learnt when the client writes it; its acknowledgement frees the window and moves the lane. Any error, a
//! packet id that does not fit, a collision inside the client, or ten seconds without an acknowledgement end the epoch: all
//! of it is dropped, and after a pause the lanes start over behind the last fact that is wholly acknowledged.
//!
//! Polling the event loop must not be cancelled in the middle of a write. Its future is therefore pinned and polled to its
//! end; the messages go in beside it, through the client.

use std::collections::HashMap;
use std::time::Duration;

use rumqttc::Outgoing as Wrote;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnAck, LastWill, Packet, PubAck, PubAckReason};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use super::lane::Lane;
use super::link::{Backoff, Broken};
use super::senses::{Reader, Senses, Wake};
use super::window::Window;
use super::{
    AckSink, BirthBody, FeedAck, FeedStatus, Inputs, Outgoing, Problem, ProblemSink, ReplayRefusal, ReplayRequest,
    Settings,
};

const STALL: Duration = Duration::from_secs(10);
const ACK_EVERY: Duration = Duration::from_millis(50);
const ACK_MESSAGES: u64 = 100;
const READ_AGAIN: Duration = Duration::from_secs(1);
const DRAIN_AT_STOP: Duration = Duration::from_secs(2);
/// A connection that lasted so long was a good one even if there was nothing to publish.
const USEFUL_AFTER: Duration = Duration::from_secs(60);
const GOODBYE: Duration = Duration::from_millis(500);
/// A replay sends this many messages in each `ACK_EVERY` at most: 5,000 per second.
const REPLAY_ALLOWANCE: u32 = 250;
const TRIES_UNTIL_PROBLEM: u32 = 3;
pub(super) const STATUS_TOPIC: &str = "_status";

/// What a packet carries.
#[derive(Clone, Debug)]
pub(super) enum Slot {
    Live { ordinal: u64, stream: &'static str, seq: u64, fact_seq: u64, topic: String },
    Replay { ordinal: u64 },
    State { topic: String },
}

/// Why an epoch ended.
#[derive(Clone, Debug)]
pub(super) enum End {
    Stopped,
    Broken(Broken),
    Refused { topic: String, fact_seq: u64, reason: String },
}

impl End {
    pub(super) fn lost(why: impl Into<String>) -> Self {
        Self::Broken(Broken::Lost(why.into()))
    }

    fn text(&self) -> String {
        match self {
            Self::Stopped => "stopped".into(),
            Self::Broken(Broken::Lost(why)) => why.clone(),
            Self::Broken(Broken::NotAdmitted(why)) => format!("not admitted: {why}"),
            Self::Broken(Broken::TakenOver) => "another client uses our id".into(),
            Self::Refused { topic, reason, .. } => format!("{topic} refused: {reason}"),
        }
    }
}

/// What one connection needs and the next does not inherit.
pub(super) struct Epoch {
    pub(super) client: AsyncClient,
    pub(super) window: Window<Slot>,
    last_answer: Instant,
    pub(super) status_due: Instant,
    pub(super) state_due: Instant,
    pub(super) is_state_dirty: bool,
    pub(super) state_sent: HashMap<String, Vec<u8>>,
    stop_by: Option<Instant>,
}

impl Epoch {
    fn new(client: AsyncClient, limit: usize, is_stopping: bool) -> Self {
        let now = Instant::now();
        Self {
            client,
            window: Window::new(limit),
            last_answer: now,
            status_due: now,
            state_due: now,
            is_state_dirty: true,
            state_sent: HashMap::new(),
            stop_by: is_stopping.then(|| now + DRAIN_AT_STOP),
        }
    }

    pub(super) fn asked(&mut self, slot: Slot) {
        if self.window.used() == 0 {
            // The stall is counted from the first unanswered message, not from an answer of an hour ago.
            self.last_answer = Instant::now();
        }
        self.window.asked(slot);
    }
}

pub(super) struct Pump {
    settings: Settings,
    pub(super) senses: Senses,
    ack: AckSink,
    problem: ProblemSink,
    pub(super) birth: BirthBody,
    offline: Vec<u8>,
    pub(super) status: FeedStatus,
    status_out: watch::Sender<FeedStatus>,
    pub(super) live: Lane,
    pub(super) replay: Option<Lane>,
    pub(super) replay_allowance: u32,
    pub(super) live_run: u32,
    unreported: u64,
    reported_through: u64,
    report_due: Instant,
    pub(super) read_again_at: Instant,
    backoff: Backoff,
    /// The first message in line at the end of the last epochs, and how many epochs ended so.
    stuck: (u64, u32),
    /// Takes every message that was sent for acknowledged: a fault of our own.
    #[cfg(feature = "canary")]
    pub(super) is_unasked: bool,
}

impl Pump {
    pub(super) fn new(
        settings: Settings,
        inputs: Inputs,
        replays: mpsc::Receiver<ReplayRequest>,
        status_out: watch::Sender<FeedStatus>,
    ) -> Self {
        let Inputs { head, state, stop, acked_fact_seq, read, ack, problem, birth, offline, command: _ } = inputs;
        let reader = Reader::Idle(read);
        let now = Instant::now();
        Self {
            settings,
            senses: Senses { head, state, stop, replays, reader },
            ack,
            problem,
            birth,
            offline,
            status: FeedStatus { acked_fact_seq, ..FeedStatus::default() },
            status_out,
            live: Lane::new(acked_fact_seq, u64::MAX),
            replay: None,
            replay_allowance: REPLAY_ALLOWANCE,
            live_run: 0,
            unreported: 0,
            reported_through: acked_fact_seq,
            report_due: now,
            read_again_at: now,
            backoff: Backoff::new(),
            stuck: (0, 0),
            #[cfg(feature = "canary")]
            is_unasked: false,
        }
    }

    /// Runs until asked to stop; connections come and go.
    pub(super) async fn run(mut self) {
        loop {
            let (before, since) = (self.live.through(), Instant::now());
            let end = self.epoch().await;
            let was_useful = self.live.through() > before || since.elapsed() > USEFUL_AFTER;
            self.finish_epoch(&end, was_useful);
            if matches!(end, End::Stopped) || *self.senses.stop.borrow() {
                return;
            }
            let until = Instant::now() + self.backoff.pause();
            if self.rest(until).await {
                return;
            }
        }
    }

    /// Waits without a connection; requests for replays are taken even so. True when asked to stop.
    async fn rest(&mut self, until: Instant) -> bool {
        loop {
            match self.senses.wake(until, false).await {
                Wake::Tick => return false,
                Wake::Stop => return true,
                Wake::Replay(request) => self.accept_replay(request),
                Wake::Page { .. } | Wake::Head | Wake::State => {}
            }
            self.report(true);
        }
    }

    fn finish_epoch(&mut self, end: &End, was_useful: bool) {
        self.live.start_over();
        if let Some(replay) = &mut self.replay {
            replay.start_over();
        }
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
            End::Refused { topic, fact_seq, reason } => {
                if is_third {
                    let (topic, reason) = (topic.clone(), reason.clone());
                    (self.problem)(Problem::MessageRefused { topic, fact_seq: *fact_seq, reason });
                }
                if self.stuck.1 >= TRIES_UNTIL_PROBLEM {
                    self.backoff.slow();
                }
            }
            End::Broken(Broken::Lost(cause)) if is_third => {
                (self.problem)(Problem::MessageStuck { fact_seq: first, cause: cause.clone() });
            }
            End::Broken(Broken::Lost(_)) => {}
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

    /// One connection, from the first packet to the reason of its end.
    async fn epoch(&mut self) -> End {
        let mut options = self.settings.link("").options();
        let will_topic = self.topic(STATUS_TOPIC);
        options.set_last_will(LastWill::new(will_topic, self.offline.clone(), QoS::AtLeastOnce, true, None));
        // Twice the window, and room for the goodbye: `try_publish` never finds the queue full.
        let queue = usize::from(self.settings.window.max(1)).saturating_mul(2).saturating_add(8);
        let (client, mut events) = AsyncClient::new(options, queue);
        let connack = tokio::select! {
            connack = timeout(STALL, connected(&mut events)) => connack,
            () = super::stopped(&mut self.senses.stop) => return End::Stopped,
        };
        let connack = match connack {
            Err(_) => return End::lost("no CONNACK in time"),
            Ok(Err(end)) => return end,
            Ok(Ok(connack)) => connack,
        };
        let receive_max = connack.properties.and_then(|properties| properties.receive_max).unwrap_or(u16::MAX);
        let limit = usize::from(self.settings.window.max(1).min(receive_max));
        let mut epoch = Epoch::new(client, limit, *self.senses.stop.borrow());
        self.status.is_connected = true;
        tracing::info!(window = limit, acked = self.live.through(), "feed connected");
        let end = match self.serve(&mut epoch, &mut events).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        if matches!(end, End::Stopped) {
            self.say_goodbye(&epoch, &mut events).await;
        }
        end
    }

    async fn serve(&mut self, epoch: &mut Epoch, events: &mut EventLoop) -> Result<std::convert::Infallible, End> {
        loop {
            let event = {
                let poll = events.poll();
                tokio::pin!(poll);
                loop {
                    self.ask_for_pages();
                    self.fill(epoch)?;
                    let (tick, is_stop_known) = (self.next_tick(epoch), epoch.stop_by.is_some());
                    tokio::select! {
                        event = &mut poll => break event,
                        wake = self.senses.wake(tick, is_stop_known) => self.on_wake(epoch, wake)?,
                    }
                }
            };
            self.on_event(epoch, event.map_err(|error| End::Broken(Broken::of(&error)))?)?;
            // One read from the socket often brings many acknowledgements; they lie in the state and need no await.
            while let Some(event) = events.state.events.pop_front() {
                self.on_event(epoch, event)?;
            }
        }
    }

    fn on_event(&mut self, epoch: &mut Epoch, event: Event) -> Result<(), End> {
        match event {
            Event::Outgoing(Wrote::Publish(packet_id)) if packet_id != 0 => epoch
                .window
                .wrote(packet_id)
                .map_err(|wrong| End::lost(format!("packet id {} out of step", wrong.packet_id))),
            Event::Outgoing(Wrote::AwaitAck(packet_id)) => Err(End::lost(format!("packet id {packet_id} collided"))),
            Event::Incoming(Packet::PubAck(ack)) => self.on_answer(epoch, &ack),
            _ => Ok(()),
        }
    }

    fn on_answer(&mut self, epoch: &mut Epoch, ack: &PubAck) -> Result<(), End> {
        let slot = epoch.window.answered(ack.pkid).map_err(|wrong| {
            End::lost(format!("an answer for packet id {}, which is not in flight", wrong.packet_id))
        })?;
        epoch.last_answer = Instant::now();
        // No matching subscriber is the broker's consent too: nobody listens, and the store keeps the message for a replay.
        let is_accepted = matches!(ack.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers);
        let reason = || format!("{:?}", ack.reason);
        match slot {
            Slot::Live { ordinal, stream, seq, .. } if is_accepted => self.on_live_acked(ordinal, stream, seq),
            Slot::Live { topic, fact_seq, .. } => return Err(End::Refused { topic, fact_seq, reason: reason() }),
            Slot::Replay { ordinal } if is_accepted => self.on_replay_acked(ordinal),
            Slot::Replay { .. } => {
                tracing::warn!(reason = reason(), "replay ended: the broker refused a message of it");
                self.replay = None;
            }
            Slot::State { .. } if is_accepted => {}
            Slot::State { topic } => tracing::warn!(topic, reason = reason(), "state refused by the broker"),
        }
        Ok(())
    }

    pub(super) fn on_live_acked(&mut self, ordinal: u64, stream: &str, seq: u64) {
        self.live.acked(ordinal);
        self.unreported = self.unreported.saturating_add(1);
        self.status.messages_acked = self.status.messages_acked.saturating_add(1);
        match stream {
            "epcis" => self.status.last_epcis_seq = self.status.last_epcis_seq.max(seq),
            "batch" => self.status.last_batch_seq = self.status.last_batch_seq.max(seq),
            _ => {}
        }
        self.report(self.unreported >= ACK_MESSAGES);
    }

    fn on_replay_acked(&mut self, ordinal: u64) {
        self.status.messages_replayed = self.status.messages_replayed.saturating_add(1);
        let Some(replay) = &mut self.replay else { return };
        replay.acked(ordinal);
        if replay.is_done() {
            tracing::info!(through = replay.end(), "replay done");
            self.replay = None;
        }
    }

    fn on_wake(&mut self, epoch: &mut Epoch, wake: Wake) -> Result<(), End> {
        match wake {
            Wake::Head => {}
            Wake::State => epoch.is_state_dirty = true,
            Wake::Stop => epoch.stop_by = Some(Instant::now() + DRAIN_AT_STOP),
            Wake::Replay(request) => self.accept_replay(request),
            Wake::Page { after, is_replay, page } => self.take_page(after, is_replay, page),
            Wake::Tick => {
                self.replay_allowance = REPLAY_ALLOWANCE;
                self.report(true);
            }
        }
        let now = Instant::now();
        if epoch.window.used() == 0 {
            epoch.last_answer = now;
        } else if now >= epoch.last_answer + STALL {
            return Err(End::lost("no acknowledgement for 10 s"));
        }
        let is_drained = epoch.window.used() == 0 && self.live.through() >= *self.senses.head.borrow();
        match epoch.stop_by {
            Some(by) if is_drained || now >= by => Err(End::Stopped),
            Some(_) | None => Ok(()),
        }
    }

    fn take_page(&mut self, after: u64, is_replay: bool, page: Result<Vec<Outgoing>, String>) {
        let page = match page {
            Ok(page) => page,
            Err(cause) => {
                self.read_again_at = Instant::now() + READ_AGAIN;
                (self.problem)(Problem::Unreadable { cause });
                return;
            }
        };
        if page.is_empty() {
            // The head promised more than the reader finds; ask again, but not in a circle.
            self.read_again_at = Instant::now() + READ_AGAIN;
        }
        match &mut self.replay {
            Some(replay) if is_replay => replay.take_page(after, page),
            Some(_) | None if is_replay => {}
            Some(_) | None => self.live.take_page(after, page),
        }
    }

    /// When the pump must look again even if nothing happens.
    fn next_tick(&self, epoch: &Epoch) -> Instant {
        let now = Instant::now();
        let mut tick = epoch.status_due;
        if epoch.is_state_dirty {
            tick = tick.min(epoch.state_due);
        }
        if epoch.window.used() > 0 {
            tick = tick.min(epoch.last_answer + STALL);
        }
        if self.live.through() > self.reported_through || self.unreported > 0 {
            tick = tick.min(self.report_due);
        }
        if self.replay.is_some() || epoch.stop_by.is_some() {
            tick = tick.min(now + ACK_EVERY);
        }
        if self.read_again_at > now {
            tick = tick.min(self.read_again_at);
        }
        tick
    }

    /// Offers the progress to the store when it is due, or at once.
    fn report(&mut self, at_once: bool) {
        let now = Instant::now();
        let through = self.live.through();
        if through == self.reported_through && self.unreported == 0 || !(at_once || now >= self.report_due) {
            return;
        }
        self.report_due = now + ACK_EVERY;
        if (self.ack)(FeedAck { through_fact_seq: through, messages: self.unreported }) {
            self.reported_through = through;
            self.unreported = 0;
        }
        self.show_status();
    }

    fn accept_replay(&mut self, request: ReplayRequest) {
        let head = *self.senses.head.borrow();
        let answer = if self.replay.is_some() {
            Err(ReplayRefusal::Running)
        } else if request.from == 0 || request.from > head.saturating_add(1) {
            Err(ReplayRefusal::OutOfRange { head })
        } else {
            let lane = Lane::new(request.from.saturating_sub(1), head);
            tracing::info!(from = request.from, through = head, "replay taken");
            self.replay = Some(lane).filter(|lane| !lane.is_done());
            Ok(head)
        };
        if request.reply.send(answer).is_err() {
            tracing::debug!("whoever asked for the replay is gone; it runs all the same");
        }
    }

    pub(super) fn show_status(&mut self) {
        self.status.head = *self.senses.head.borrow();
        self.status.acked_fact_seq = self.live.through();
        self.status.replay = self.replay.as_ref().map(|replay| (replay.read_through().saturating_add(1), replay.end()));
        self.status_out.send_replace(self.status.clone());
    }

    pub(super) fn topic(&self, below: &str) -> String {
        format!("{}/{below}", self.settings.prefix)
    }

    /// The clean end: `_status` says offline, then DISCONNECT, which keeps the broker from sending the will.
    async fn say_goodbye(&mut self, epoch: &Epoch, events: &mut EventLoop) {
        let topic = self.topic(STATUS_TOPIC);
        if epoch.client.try_publish(topic, QoS::AtLeastOnce, true, self.offline.clone()).is_err() {
            return;
        }
        let acked = async {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Packet::PubAck(_))) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        };
        if timeout(GOODBYE, acked).await.is_ok() && epoch.client.try_disconnect().is_ok() {
            let gone =
                async { while !matches!(events.poll().await, Err(_) | Ok(Event::Outgoing(Wrote::Disconnect))) {} };
            drop(timeout(GOODBYE, gone).await);
        }
    }
}

/// Waits for the broker's consent to the connection.
async fn connected(events: &mut EventLoop) -> Result<ConnAck, End> {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(connack))) => return Ok(connack),
            Ok(_) => {}
            Err(error) => return Err(refused_or_lost(&error)),
        }
    }
}

fn refused_or_lost(error: &ConnectionError) -> End {
    End::Broken(Broken::of(error))
}
