//! The reader of one session: group reads, by a clock or rung by notifications.

use std::{collections::HashMap, sync::Arc};

use futures_util::future::join_all;
use opcua::{
    client::{Session, SubscriptionCallbacks},
    types::{DataValue, MonitoredItemCreateRequest, NamespaceMap, NodeId, StatusCode, TimestampsToReturn},
};
use tokio::{
    select,
    time::{Duration, Instant, sleep, sleep_until, timeout},
};

use crate::{
    device::{
        EventSink,
        error::DeviceError,
        image::{Arrays, Image},
        opcua::{
            FALLBACK,
            bell::{self, Bell, Watch},
            nodes::{self, Group},
            profile::{Limits, at_most},
            seen::too_much,
            value,
        },
        pace::Pace,
        settings::{ReadMode, Settings},
    },
    domain::tag::Reading,
};

/// Group reads in a row that a moving guard may spoil before the next cycle has to do.
const TRIES: usize = 4;
/// Notifications that the server keeps for one tag between two publishes; an overflow costs a ring, never a value.
const QUEUE: u32 = 16;

/// Reads the stations of one device.
pub(super) struct Reader {
    session: Arc<Session>,
    pub(super) namespaces: NamespaceMap,
    pub(super) lanes: Vec<Lane>,
    pub(super) bell: Arc<Bell>,
    pub(super) limits: Limits,
    /// How this session learns of news: as configured, unless the server has no subscriptions.
    mode: ReadMode,
}

/// One station: what was told, and how to read it.
pub(super) struct Lane {
    image: Image,
    nodes: Vec<Result<NodeId, StatusCode>>,
    light: Group,
    full: Group,
    /// Read before `Connected` was said, told after it.
    pub(super) first: Option<Vec<Reading>>,
    watch: Watch,
    /// The longest Read that this server takes.
    read_max: usize,
}

impl Reader {
    pub(super) fn new(settings: &Settings, session: Arc<Session>, namespaces: NamespaceMap, limits: Limits) -> Self {
        let lanes: Vec<Lane> = settings
            .stations
            .iter()
            .map(|tags| {
                let image = Image::new(tags, Arrays::Light);
                let nodes: Vec<_> =
                    image.bindings.iter().map(|binding| nodes::resolve(&binding.address, &namespaces)).collect();
                Lane {
                    light: Group::new(&image, false, &nodes),
                    full: Group::new(&image, true, &nodes),
                    image,
                    nodes,
                    first: None,
                    watch: Watch::default(),
                    read_max: at_most(limits.nodes_per_read),
                }
            })
            .collect();
        let bell = Arc::new(Bell::new(lanes.len()));
        Self { bell, session, namespaces, lanes, limits, mode: ReadMode::Poll }
    }

    pub(super) async fn run(&mut self, settings: &Settings, sink: &EventSink) -> DeviceError {
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            if let Some(first) = lane.first.take() {
                lane.image.offer(first, true, Instant::now(), sink);
            }
            self.bell.again(index);
        }
        let ended = match self.mode {
            ReadMode::Poll => self.poll(settings, sink).await,
            ReadMode::Subscribe => self.listen(settings, sink).await,
        };
        match ended {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn poll(&mut self, settings: &Settings, sink: &EventSink) -> Result<std::convert::Infallible, DeviceError> {
        let mut pace = Pace::new(settings.poll.max(self.limits.poll_min));
        loop {
            // A device often answers a write at once (an acknowledged camera shows its next result): look before the beat.
            select! {
                () = pace.beat() => {}
                () = self.bell.rung() => {}
            }
            let session = &self.session;
            let reads = self.lanes.iter_mut().map(|lane| lane.refresh(session, settings.request_timeout, sink));
            for told in join_all(reads).await {
                told?;
            }
        }
    }

    async fn listen(&mut self, settings: &Settings, sink: &EventSink) -> Result<std::convert::Infallible, DeviceError> {
        let period = FALLBACK.max(settings.poll);
        let mut fallback = Instant::now() + period;
        loop {
            select! {
                () = self.bell.rung() => {}
                () = sleep_until(fallback) => {}
            }
            let now = Instant::now();
            let all = now >= fallback;
            if all {
                fallback = now + period;
            }
            if self.bell.is_gone() {
                return Err(DeviceError::Deaf);
            }
            self.tell_losses(settings);
            let (session, bell) = (&self.session, &self.bell);
            let reads = self.lanes.iter_mut().enumerate().map(|(index, lane)| async move {
                // Taken before the read, so that a notification during it rings again.
                if !bell.take(index) && !all {
                    return Ok((index, true));
                }
                let told = lane.refresh(session, settings.request_timeout, sink).await?;
                let dead = lane.watch.is_dead(lane.image.told(), bell.rings(index), Instant::now());
                if dead { Err(DeviceError::Deaf) } else { Ok((index, told)) }
            });
            let mut untold = false;
            for result in join_all(reads).await {
                let (index, told) = result?;
                if !told {
                    bell.again(index);
                    untold = true;
                }
            }
            if untold {
                sleep(settings.poll).await;
            }
        }
    }

    /// Notifications that the server dropped. No value is lost by that alone, since values come from the reads; a result that was
    /// overwritten meanwhile shows as a gap of its counter, which the station counts as missed.
    fn tell_losses(&self, settings: &Settings) {
        let lost = self.bell.take_losses();
        if lost > 0 {
            let device = &settings.name;
            tracing::warn!(%device, lost, "the server's queue ran over: changes came faster than they are published");
        }
    }

    /// One subscription on the triggers of all stations. A server that has none is polled instead.
    pub(super) async fn subscribe(&mut self, settings: &Settings) -> Result<(), DeviceError> {
        self.forget_subscriptions(settings).await?;
        let ropes = self.ropes();
        if ropes.is_empty() {
            self.mode = ReadMode::Subscribe;
            return Ok(());
        }
        let (items, names): (Vec<_>, Vec<_>) = ropes.keys().map(|node| (self.item(node), node.to_string())).unzip();
        let id = match self.create_subscription(settings, ropes).await? {
            Ok(id) => id,
            Err(status) => {
                let (device, status) = (&settings.name, status.to_string());
                tracing::warn!(%device, status, "the server gives no subscription: it is polled every poll_ms instead");
                return Ok(());
            }
        };
        self.mode = ReadMode::Subscribe;
        let watched = names.len().min(at_most(self.limits.items));
        if watched < names.len() {
            let (device, over) = (&settings.name, names.len() - watched);
            tracing::warn!(%device, over, "more tags than the profile lets us subscribe to; these are polled slowly");
        }
        let step = at_most(self.limits.items_per_call).min(watched.max(1));
        for (items, names) in items[..watched].chunks(step).zip(names[..watched].chunks(step)) {
            self.monitor(id, items, names, settings).await?;
        }
        // async-opcua 0.19 may miss its own trigger and then never publish.
        self.session.trigger_publish_now();
        Ok(())
    }

    /// What an earlier connection of this session had: the server still has it, or does not know it any more.
    async fn forget_subscriptions(&self, settings: &Settings) -> Result<(), DeviceError> {
        let Some(ids) = self.session.subscription_state().lock().subscription_ids() else { return Ok(()) };
        timeout(settings.request_timeout, self.session.delete_subscriptions(&ids))
            .await
            .map_err(|_| DeviceError::TimedOut("the end of a former subscription"))?
            .map(|_| ())
            .map_err(|error| DeviceError::Lost(error.to_string()))
    }

    /// Whom a change of a node wakes.
    fn ropes(&self) -> HashMap<NodeId, Vec<usize>> {
        let mut ropes: HashMap<NodeId, Vec<usize>> = HashMap::new();
        for (index, lane) in self.lanes.iter().enumerate() {
            for (binding, node) in lane.image.bindings.iter().zip(&lane.nodes) {
                if let (true, Ok(node)) = (bell::is_trigger(binding), node) {
                    ropes.entry(node.clone()).or_default().push(index);
                }
            }
        }
        ropes
    }

    fn item(&self, node: &NodeId) -> MonitoredItemCreateRequest {
        let mut item = MonitoredItemCreateRequest::from(node.clone());
        // 0 asks for reporting by exception; a sampled value is held back and re-stamped.
        item.requested_parameters.sampling_interval = self.limits.sampling_min.as_secs_f64() * 1000.0;
        item.requested_parameters.queue_size = QUEUE;
        item.requested_parameters.discard_oldest = true;
        item
    }

    /// The subscription's id, or what the server says instead of giving one.
    async fn create_subscription(
        &self,
        settings: &Settings,
        ropes: HashMap<NodeId, Vec<usize>>,
    ) -> Result<Result<u32, StatusCode>, DeviceError> {
        let (ringing, ending) = (self.bell.clone(), self.bell.clone());
        let callbacks = SubscriptionCallbacks::new(
            move |_status| ending.ended(),
            move |data: DataValue, item| {
                let lost = data.status.is_some_and(|status| status.overflow());
                for index in ropes.get(&item.item_to_monitor().node_id).into_iter().flatten() {
                    ringing.ring(*index, lost);
                }
            },
            |_, _| {},
        );
        let publishing = settings.poll.max(self.limits.publishing_min);
        // A keep-alive each second or so, and thirty of them missed before the server gives up on us.
        let per_second = u32::try_from(1000 / publishing.as_millis().clamp(1, 1000)).unwrap_or(1);
        let create = self.session.create_subscription(publishing, per_second * 30, per_second, 0, 0, true, callbacks);
        let created = timeout(settings.request_timeout, create)
            .await
            .map_err(|_| DeviceError::TimedOut("the creation of a subscription"))?;
        match created.map_err(|error| error.status()) {
            Ok(id) => Ok(Ok(id)),
            Err(status) if is_of_the_connection(status) => Err(DeviceError::Lost(status.to_string())),
            Err(status) => Ok(Err(status)),
        }
    }

    /// A node that cannot be monitored is read by the slow poll, and spoils no other.
    async fn monitor(
        &self,
        subscription: u32,
        items: &[MonitoredItemCreateRequest],
        names: &[String],
        settings: &Settings,
    ) -> Result<(), DeviceError> {
        let create = self.session.create_monitored_items(subscription, TimestampsToReturn::Neither, items.to_vec());
        let created = timeout(settings.request_timeout, create)
            .await
            .map_err(|_| DeviceError::TimedOut("the creation of monitored items"))?;
        let refused: Vec<(String, StatusCode)> = match created {
            Ok(results) => {
                let codes = results.iter().map(|result| result.result.status_code);
                names.iter().cloned().zip(codes).filter(|(_, status)| !status.is_good()).collect()
            }
            Err(error) if is_of_the_connection(error.status()) => return Err(DeviceError::Lost(error.to_string())),
            Err(error) => names.iter().map(|name| (name.clone(), error.status())).collect(),
        };
        for (node, status) in refused {
            let (device, status) = (&settings.name, status.to_string());
            tracing::warn!(%device, node, status, "the server does not watch this node: it is read slowly instead");
        }
        Ok(())
    }
}

/// The connection is gone, or the session; anything else is an answer.
fn is_of_the_connection(status: StatusCode) -> bool {
    status == StatusCode::BadNotConnected
        || status == StatusCode::BadConnectionClosed
        || status == StatusCode::BadSecureChannelClosed
        || status == StatusCode::BadSecureChannelIdInvalid
        || status == StatusCode::BadSessionIdInvalid
        || status == StatusCode::BadSessionClosed
        || status == StatusCode::BadSessionNotActivated
        || status == StatusCode::BadCommunicationError
        || status == StatusCode::BadTimeout
        || status == StatusCode::BadShutdown
}

impl Lane {
    /// Reads what is due and tells it. False where the read stayed torn or the inbox was full: again soon.
    async fn refresh(&mut self, session: &Session, bound: Duration, sink: &EventSink) -> Result<bool, DeviceError> {
        let Some(light) = self.read(session, false, bound).await? else {
            return Ok(false);
        };
        let now = Instant::now();
        if !self.image.heavy_due(&light, now) {
            return Ok(self.image.offer(light, false, now, sink));
        }
        let Some(full) = self.read(session, true, bound).await? else {
            return Ok(false);
        };
        Ok(self.image.offer(full, true, now, sink))
    }

    /// One coherent group read; `None` where the guard moved during each of a few.
    pub(super) async fn read(
        &mut self,
        session: &Session,
        full: bool,
        bound: Duration,
    ) -> Result<Option<Vec<Reading>>, DeviceError> {
        let group = if full { &self.full } else { &self.light };
        for _ in 0..TRIES {
            let mut values = Vec::with_capacity(group.ids().len());
            // One call after the other: the proofs stand at both ends of the whole group.
            for ids in group.ids().chunks(self.read_max) {
                let found = timeout(bound, session.read(ids, TimestampsToReturn::Both, 0.0))
                    .await
                    .map_err(|_| DeviceError::TimedOut("a read"))?
                    .map_err(|error| unread(error.status(), ids.len()))?;
                if found.len() != ids.len() {
                    let (found, asked) = (found.len(), ids.len());
                    return Err(DeviceError::Protocol(format!("{found} results to a read of {asked} values")));
                }
                values.extend(found);
            }
            if let Some(readings) = group.readings(&self.image, &values) {
                self.image.server_us = value::newest_server_us(&values);
                return Ok(Some(readings));
            }
        }
        Ok(None)
    }
}

/// Why nothing could be read at all.
pub(super) fn unread(status: StatusCode, asked: usize) -> DeviceError {
    if status == StatusCode::BadTooManyOperations {
        return DeviceError::Refused(format!("{asked} values in one read are too many for it; give it a `profile`"));
    }
    if status == StatusCode::BadUserAccessDenied {
        return DeviceError::Refused(format!("{status}; let this user read at the server"));
    }
    too_much(status).unwrap_or_else(|| DeviceError::Lost(status.to_string()))
}
