//! The outbox pump: one task that owns the client, its event loop and the feed's place.
//!
//! One connection is one epoch with a fresh client. While the window has room, the next message is handed to the client;
//! its packet id is learnt when the client writes it; its acknowledgement frees the window and moves the lane. Any error, a
//! packet id that does not fit, a collision inside the client, or half a minute without progress end the epoch: all
//! of it is dropped, and after a pause the lanes start over behind the last fact that is wholly acknowledged.
//!
//! Polling the event loop must not be cancelled in the middle of a write. Its future is therefore pinned and polled to its
//! end; the messages go in beside it, through the client.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use rumqttc::Outgoing as Wrote;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnAck, LastWill, Packet};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use super::ending::End;
use super::judging::Judgement;
use super::lane::Lane;
use super::link::{Backoff, Broken};
use super::orders::{Mark, Retry};
use super::senses::{Reader, Reading, Senses, Wake};
use super::throttle::Throttle;
use super::window::Window;
use super::{
    AckSink, BirthBody, FeedAck, FeedStatus, Inputs, Note, NoteSink, Order, Outgoing, Problem, ProblemSink, Settings,
};

const ACK_EVERY: Duration = Duration::from_millis(50);
pub(super) const ACK_MESSAGES: u64 = 100;
/// Notes that may wait for the store; while so many do, nothing more is sent.
pub(super) const NOTES_MAX: usize = 64;
const READ_AGAIN: Duration = Duration::from_secs(1);
const DRAIN_AT_STOP: Duration = Duration::from_secs(2);
const GOODBYE: Duration = Duration::from_millis(500);
/// A replay is slower than this even where nothing limits the live feed.
const REPLAY_PER_S: u32 = 5000;
pub(super) const STATUS_TOPIC: &str = "_status";

/// What a packet carries.
#[derive(Clone, Debug)]
pub(super) enum Slot {
    Live {
        ordinal: u64,
        stream: &'static str,
        seq: u64,
        fact_seq: u64,
        topic: String,
    },
    Replay {
        ordinal: u64,
        stream: &'static str,
        seq: u64,
        topic: String,
    },
    /// The one message of the quarantine that is tried again.
    Retry,
    State {
        topic: String,
        bytes: usize,
    },
}

/// What one connection needs and the next does not inherit.
pub(super) struct Epoch {
    pub(super) client: AsyncClient,
    pub(super) window: Window<Slot>,
    pub(super) last_answer: Instant,
    pub(super) status_due: Instant,
    pub(super) state_due: Instant,
    pub(super) is_state_dirty: bool,
    pub(super) state_sent: HashMap<String, Vec<u8>>,
    pub(super) stop_by: Option<Instant>,
    /// What the broker takes at most, in bytes.
    pub(super) packet_max: usize,
    pub(super) since: Instant,
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
            packet_max: usize::MAX,
            since: now,
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
    pub(super) settings: Settings,
    pub(super) senses: Senses,
    ack: AckSink,
    note: NoteSink,
    pub(super) problem: ProblemSink,
    pub(super) birth: BirthBody,
    offline: Vec<u8>,
    pub(super) status: FeedStatus,
    status_out: watch::Sender<FeedStatus>,
    pub(super) live: Lane,
    pub(super) live_rate: Throttle,
    pub(super) replay: Option<Lane>,
    pub(super) replay_rate: Throttle,
    pub(super) retry: Option<Retry>,
    pub(super) live_run: u32,
    /// What the store has not taken yet; at most [`NOTES_MAX`].
    pub(super) notes: VecDeque<Note>,
    pub(super) unreported: u64,
    reported_through: u64,
    report_due: Instant,
    pub(super) read_again_at: Instant,
    pub(super) backoff: Backoff,
    /// The first message in line at the end of the last epochs, and how many epochs ended so.
    pub(super) stuck: (u64, u32),
    /// Connections in a row that the broker closed without a word while nothing was in flight.
    pub(super) hang_ups: u32,
    pub(super) judgement: Judgement,
    pub(super) mark: Mark,
    /// Takes every message that was sent for acknowledged: a fault of our own.
    #[cfg(feature = "canary")]
    pub(super) is_unasked: bool,
}

impl Pump {
    pub(super) fn new(
        settings: Settings,
        inputs: Inputs,
        orders: mpsc::Receiver<Order>,
        status_out: watch::Sender<FeedStatus>,
    ) -> Self {
        let Inputs { head, state, stop, acked_fact_seq, quarantined, confirmed, .. } = inputs;
        let now = Instant::now();
        let replay_per_s =
            if settings.drain_per_s == 0 { REPLAY_PER_S } else { settings.drain_per_s.min(REPLAY_PER_S) };
        Self {
            senses: Senses { head, state, stop, orders, reader: Reader::Idle(inputs.read) },
            ack: inputs.ack,
            note: inputs.note,
            problem: inputs.problem,
            birth: inputs.birth,
            offline: inputs.offline,
            status: FeedStatus { acked_fact_seq, quarantined, confirmed, ..FeedStatus::default() },
            status_out,
            live: Lane::new(acked_fact_seq, u64::MAX),
            live_rate: Throttle::new(settings.drain_per_s),
            replay: None,
            replay_rate: Throttle::new(replay_per_s),
            retry: None,
            live_run: 0,
            notes: VecDeque::new(),
            unreported: 0,
            reported_through: acked_fact_seq,
            report_due: now,
            read_again_at: now,
            backoff: Backoff::new(settings.pace),
            stuck: (0, 0),
            hang_ups: 0,
            judgement: Judgement::default(),
            mark: Mark::default(),
            settings,
            #[cfg(feature = "canary")]
            is_unasked: false,
        }
    }

    /// Runs until asked to stop; connections come and go.
    pub(super) async fn run(mut self) {
        loop {
            let (before, since) = (self.live.through(), Instant::now());
            let end = self.epoch().await;
            let was_useful = self.live.through() > before || since.elapsed() > self.settings.pace.useful;
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

    /// Waits without a connection; orders are taken even so. True when asked to stop.
    async fn rest(&mut self, until: Instant) -> bool {
        loop {
            match self.senses.wake(until, false).await {
                Wake::Tick => return false,
                Wake::Stop => return true,
                Wake::Order(order) => self.take_order(order),
                Wake::Page { .. } | Wake::Head | Wake::State => {}
            }
            self.report(true);
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
            connack = timeout(self.settings.pace.stall, connected(&mut events)) => connack,
            () = super::stopped(&mut self.senses.stop) => return End::Stopped,
        };
        let connack = match connack {
            Err(_) => return End::lost("no CONNACK in time"),
            Ok(Err(end)) => return end,
            Ok(Ok(connack)) => connack,
        };
        let properties = connack.properties.as_ref();
        let receive_max = properties.and_then(|properties| properties.receive_max).unwrap_or(u16::MAX);
        let packet_max = properties.and_then(|properties| properties.max_packet_size).unwrap_or(u32::MAX);
        // One at a time, where one of several was too large for the broker and it did not say which.
        let window = if self.is_careful() { 1 } else { self.settings.window.max(1).min(receive_max.max(1)) };
        let mut epoch = Epoch::new(client, usize::from(window), *self.senses.stop.borrow());
        epoch.packet_max = usize::try_from(packet_max).unwrap_or(usize::MAX);
        self.status.is_connected = true;
        self.begin_drain();
        tracing::info!(window, packet_max, acked = self.live.through(), "feed connected");
        let end = match self.serve(&mut epoch, &mut events).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        if let End::Broken(Broken::TooLarge(why)) = &end {
            self.find_too_large(&epoch, why);
        }
        self.count_hang_ups(&end, &epoch);
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

    fn on_wake(&mut self, epoch: &mut Epoch, wake: Wake) -> Result<(), End> {
        match wake {
            Wake::Head => {}
            Wake::State => epoch.is_state_dirty = true,
            Wake::Stop => epoch.stop_by = Some(Instant::now() + DRAIN_AT_STOP),
            Wake::Order(order) => self.take_order(order),
            Wake::Page { after, reading, page } => self.take_page(after, reading, page),
            Wake::Tick => {
                self.report(true);
                self.look_at_watermark();
            }
        }
        let now = Instant::now();
        // The watchdog: what waits at hand and does not leave is as bad as what left and is not answered.
        let is_at_rest = epoch.window.used() == 0 && !(self.live.has_waiting() && self.live_rate.wakes_at().is_none());
        if is_at_rest {
            epoch.last_answer = now;
        } else if now >= epoch.last_answer + self.settings.pace.stall {
            return Err(End::lost(format!("no progress for {:?}: the client is built anew", self.settings.pace.stall)));
        }
        let is_drained =
            epoch.window.used() == 0 && self.live.through() >= *self.senses.head.borrow() && !epoch.is_state_dirty;
        match epoch.stop_by {
            Some(by) if is_drained || now >= by => Err(End::Stopped),
            Some(_) | None => Ok(()),
        }
    }

    fn take_page(&mut self, after: u64, reading: Reading, page: Result<Vec<Outgoing>, String>) {
        let page = match page {
            Ok(page) => page,
            Err(cause) => {
                self.read_again_at = Instant::now() + READ_AGAIN;
                (self.problem)(Problem::Unreadable { cause });
                return;
            }
        };
        if page.is_empty() && reading != Reading::Retry {
            // The head promised more than the reader finds; ask again, but not in a circle.
            self.read_again_at = Instant::now() + READ_AGAIN;
        }
        match reading {
            Reading::Live => self.live.take_page(after, page),
            Reading::Replay => {
                if let Some(replay) = &mut self.replay {
                    replay.take_page(after, page);
                }
            }
            Reading::Retry => self.take_retry_page(page),
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
            tick = tick.min(epoch.last_answer + self.settings.pace.stall);
        }
        if self.live.through() > self.reported_through || self.unreported > 0 || !self.notes.is_empty() {
            tick = tick.min(self.report_due);
        }
        if self.live.has_waiting() {
            tick = tick.min(self.live_rate.wakes_at().unwrap_or(tick));
        }
        if self.replay.is_some() || epoch.stop_by.is_some() {
            tick = tick.min(now + ACK_EVERY);
        }
        if self.read_again_at > now {
            tick = tick.min(self.read_again_at);
        }
        tick
    }

    /// Offers the notes and then the progress to the store when it is due, or at once.
    pub(super) fn report(&mut self, at_once: bool) {
        let now = Instant::now();
        let through = self.live.through();
        let is_said = through == self.reported_through && self.unreported == 0 && self.notes.is_empty();
        if is_said || !(at_once || now >= self.report_due) {
            return;
        }
        self.report_due = now + ACK_EVERY;
        while let Some(note) = self.notes.front() {
            if !(self.note)(note.clone()) {
                return;
            }
            self.notes.pop_front();
        }
        if through == self.reported_through && self.unreported == 0 {
            self.show_status();
            return;
        }
        if (self.ack)(FeedAck { through_fact_seq: through, messages: self.unreported }) {
            self.reported_through = through;
            self.unreported = 0;
        }
        self.show_status();
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
