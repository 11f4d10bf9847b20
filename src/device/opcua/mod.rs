//! One OPC UA session, from the connection to its end.
//!
//! Three futures share the session and one task: the driver moves bytes, the reader reads groups, the writer writes. A write never
//! waits for a read in flight. When any of them fails, the session is dropped whole and made anew: there is no state to repair.

mod bell;
mod connect;
mod nodes;
mod part;
mod value;
mod write;

use std::{collections::HashMap, sync::Arc};

use futures_util::{
    StreamExt,
    future::{join_all, try_join_all},
};
use opcua::{
    client::{
        Session, SessionActivity, SessionEventLoop, SessionPollResult, SubscriptionActivity, SubscriptionCallbacks,
    },
    types::{MonitoredItemCreateRequest, NamespaceMap, NodeId, StatusCode, TimestampsToReturn},
};
use tokio::{
    pin, select,
    sync::mpsc::Receiver,
    time::{Duration, Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};

use crate::{
    device::{
        DeviceEvent, EventSink, deliver, drain,
        error::{DeviceError, End},
        image::{Arrays, Image},
        settings::{OpcuaLink, ReadMode, Settings},
    },
    domain::tag::{Reading, TagWrite},
};
use bell::{Bell, Watch};
use nodes::Group;
use write::Writer;

/// How often a device that should notify is read all the same.
#[cfg(not(test))]
const FALLBACK: Duration = Duration::from_millis(250);
/// Tests must not be saved by the fallback when notifications are dead.
#[cfg(test)]
const FALLBACK: Duration = Duration::from_secs(600);
/// Group reads in a row that a moving guard may spoil before the next cycle has to do.
const TRIES: usize = 4;
/// Notifications that the server keeps for one tag between two publishes; an overflow costs a ring, never a value.
const QUEUE: u32 = 16;
const FAREWELL: Duration = Duration::from_millis(500);

/// Connects once and serves until the session or the line ends.
pub(super) async fn serve(
    link: &OpcuaLink,
    settings: &Settings,
    sink: &EventSink,
    writes: &mut Receiver<TagWrite>,
) -> End {
    let not_connected = |error| End::Failed { error, connected: false };
    let opened = select! {
        () = drain(writes) => return End::Closed,
        opened = connect::connect(link, settings) => opened,
    };
    let (session, event_loop) = match opened {
        Ok(opened) => opened,
        Err(error) => return not_connected(error),
    };
    let driver = drive(event_loop);
    pin!(driver);
    let begun = select! {
        () = drain(writes) => return End::Closed,
        error = &mut driver => return not_connected(error),
        begun = begin(link, settings, &session) => begun,
    };
    let mut reader = match begun {
        Ok(reader) => reader,
        Err(error) => return not_connected(error),
    };
    while writes.try_recv().is_ok() {}
    let writer = Writer::new(&session, settings, sink, &reader);
    let connected = DeviceEvent::Connected { device: settings.device };
    select! {
        error = &mut driver => return failed(error),
        () = deliver(sink, writes, connected) => {}
    }
    let end = select! {
        biased;
        error = &mut driver => return failed(error),
        end = writer.run(writes) => end,
        error = reader.run(link.mode, settings, sink) => failed(error),
    };
    // A polite goodbye frees the session at the server at once; a dead peer gets no more than a moment.
    select! {
        _ = timeout(FAREWELL, session.disconnect()) => {}
        _ = &mut driver => {}
    }
    end
}

fn failed(error: DeviceError) -> End {
    End::Failed { error, connected: true }
}

/// Moves the session's bytes until it is lost.
async fn drive(event_loop: SessionEventLoop<connect::Direct>) -> DeviceError {
    let stream = event_loop.enter();
    pin!(stream);
    let mut silent = 0;
    while let Some(event) = stream.next().await {
        match event {
            Err(status) | Ok(SessionPollResult::ReconnectFailed(status)) => {
                return not_accepted(status);
            }
            Ok(SessionPollResult::ConnectionLost(status)) => {
                return DeviceError::Lost(status.to_string());
            }
            Ok(SessionPollResult::SessionActivity(SessionActivity::KeepAliveSucceeded)) => {
                silent = 0;
            }
            Ok(SessionPollResult::SessionActivity(SessionActivity::KeepAliveFailed(status))) => {
                silent += 1;
                if silent >= 2 || status == StatusCode::BadSessionIdInvalid {
                    return DeviceError::TimedOut("the keep-alive");
                }
            }
            Ok(SessionPollResult::Subscription(SubscriptionActivity::FatalFailure(status))) => {
                return DeviceError::Lost(status.to_string());
            }
            Ok(_) => {}
        }
    }
    DeviceError::Lost("the session was closed".to_owned())
}

fn not_accepted(status: StatusCode) -> DeviceError {
    if status == StatusCode::BadCertificateUntrusted || status == StatusCode::BadSecurityChecksFailed {
        return DeviceError::Refused(format!(
            "{status}; one side does not trust the other's certificate yet: see `rejected` in both PKI folders"
        ));
    }
    DeviceError::Refused(status.to_string())
}

/// Waits for the session, resolves all addresses, reads everything once and subscribes.
async fn begin(link: &OpcuaLink, settings: &Settings, session: &Arc<Session>) -> Result<Reader, DeviceError> {
    let bound = settings.request_timeout;
    // Hello, channel, create and activate: four round trips, with cryptography.
    timeout(bound.saturating_mul(4), session.wait_for_connection())
        .await
        .map_err(|_| DeviceError::TimedOut("the creation of a session"))?;
    let namespaces = timeout(bound, session.read_namespace_array())
        .await
        .map_err(|_| DeviceError::TimedOut("the read of the namespaces"))?
        .map_err(|error| DeviceError::Lost(error.to_string()))?;
    let mut reader = Reader::new(settings, session.clone(), namespaces);
    if link.mode == ReadMode::Subscribe {
        reader.subscribe(settings).await?;
    }
    let firsts = reader.lanes.iter().map(|lane| {
        let session = session.clone();
        async move { lane.read(&session, &lane.full, bound).await }
    });
    let firsts = try_join_all(firsts).await?;
    for (lane, first) in reader.lanes.iter_mut().zip(firsts) {
        lane.first = first;
    }
    Ok(reader)
}

/// Reads the stations of one device.
struct Reader {
    session: Arc<Session>,
    namespaces: NamespaceMap,
    lanes: Vec<Lane>,
    bell: Arc<Bell>,
}

/// One station: what was told, and how to read it.
struct Lane {
    image: Image,
    nodes: Vec<Result<NodeId, StatusCode>>,
    light: Group,
    full: Group,
    /// Read before `Connected` was said, told after it.
    first: Option<Vec<Reading>>,
    watch: Watch,
}

impl Reader {
    fn new(settings: &Settings, session: Arc<Session>, namespaces: NamespaceMap) -> Self {
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
                }
            })
            .collect();
        Self { bell: Arc::new(Bell::new(lanes.len())), session, namespaces, lanes }
    }

    async fn run(&mut self, mode: ReadMode, settings: &Settings, sink: &EventSink) -> DeviceError {
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            if let Some(first) = lane.first.take() {
                lane.image.offer(first, true, Instant::now(), sink);
            }
            self.bell.again(index);
        }
        let ended = match mode {
            ReadMode::Poll => self.poll(settings, sink).await,
            ReadMode::Subscribe => self.listen(settings, sink).await,
        };
        match ended {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn poll(&mut self, settings: &Settings, sink: &EventSink) -> Result<std::convert::Infallible, DeviceError> {
        let mut tick = interval(settings.poll.max(Duration::from_millis(1)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            // A device often answers a write at once (an acknowledged camera shows its next result): look before the tick.
            select! {
                _ = tick.tick() => {}
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

    /// One subscription on the triggers of all stations.
    async fn subscribe(&self, settings: &Settings) -> Result<(), DeviceError> {
        let mut ropes: HashMap<NodeId, Vec<usize>> = HashMap::new();
        for (index, lane) in self.lanes.iter().enumerate() {
            for (binding, node) in lane.image.bindings.iter().zip(&lane.nodes) {
                if let (true, Ok(node)) = (bell::is_trigger(binding), node) {
                    ropes.entry(node.clone()).or_default().push(index);
                }
            }
        }
        let items = ropes.keys().map(|node| {
            let mut item = MonitoredItemCreateRequest::from(node.clone());
            // 0 asks for reporting by exception; a sampled value is held back and re-stamped.
            item.requested_parameters.sampling_interval = 0.0;
            item.requested_parameters.queue_size = QUEUE;
            item.requested_parameters.discard_oldest = true;
            item
        });
        let items: Vec<_> = items.collect();
        if items.is_empty() {
            return Ok(());
        }
        let (ringing, ending) = (self.bell.clone(), self.bell.clone());
        let callbacks = SubscriptionCallbacks::new(
            move |_status| ending.ended(),
            move |_value, item| {
                for index in ropes.get(&item.item_to_monitor().node_id).into_iter().flatten() {
                    ringing.ring(*index);
                }
            },
            |_, _| {},
        );
        let publishing = settings.poll.max(Duration::from_millis(1));
        // A keep-alive each second or so, and thirty of them missed before the server gives up on us.
        let per_second = u32::try_from(1000 / publishing.as_millis().clamp(1, 1000)).unwrap_or(1);
        let create = async {
            let id = self
                .session
                .create_subscription(publishing, per_second * 30, per_second, 0, 0, true, callbacks)
                .await?;
            self.session.create_monitored_items(id, TimestampsToReturn::Neither, items).await?;
            // async-opcua 0.19 may miss its own trigger and then never publish.
            self.session.trigger_publish_now();
            Ok::<(), opcua::types::Error>(())
        };
        timeout(settings.request_timeout.saturating_mul(2), create)
            .await
            .map_err(|_| DeviceError::TimedOut("the creation of a subscription"))?
            .map_err(|error| DeviceError::Refused(error.to_string()))
    }
}

impl Lane {
    /// Reads what is due and tells it. False where the read stayed torn or the inbox was full: again soon.
    async fn refresh(&mut self, session: &Session, bound: Duration, sink: &EventSink) -> Result<bool, DeviceError> {
        let Some(light) = self.read(session, &self.light, bound).await? else {
            return Ok(false);
        };
        let now = Instant::now();
        if !self.image.heavy_due(&light, now) {
            return Ok(self.image.offer(light, false, now, sink));
        }
        let Some(full) = self.read(session, &self.full, bound).await? else {
            return Ok(false);
        };
        Ok(self.image.offer(full, true, now, sink))
    }

    /// One coherent group read; `None` where the guard moved during each of a few.
    async fn read(
        &self,
        session: &Session,
        group: &Group,
        bound: Duration,
    ) -> Result<Option<Vec<Reading>>, DeviceError> {
        for _ in 0..TRIES {
            let values = if group.ids().is_empty() {
                Vec::new()
            } else {
                let read = session.read(group.ids(), TimestampsToReturn::Source, 0.0);
                timeout(bound, read)
                    .await
                    .map_err(|_| DeviceError::TimedOut("a read"))?
                    .map_err(|error| DeviceError::Lost(error.to_string()))?
            };
            if values.len() != group.ids().len() {
                return Err(DeviceError::Protocol(format!(
                    "{} results to a read of {} values",
                    values.len(),
                    group.ids().len()
                )));
            }
            if let Some(readings) = group.readings(&self.image, &values) {
                return Ok(Some(readings));
            }
        }
        Ok(None)
    }
}

#[cfg(all(test, feature = "demo"))]
mod tests;
