//! `sealgate run`: opens the journal, folds it, starts threads and tasks, says READY, and ends in order on SIGTERM.
//!
//! Order of the start: the lock and the journal first, then the local socket, then devices and broker, which may be away for as
//! long as they like. Order of the end: the line holds and records its stop, the feed gets two seconds, then all tasks go.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::{self, Config};
use crate::device::{self, DeviceEvent, EventSink, Link};
use crate::domain::tag::{DeviceId, StationId, TagUpdate, TagWrite};
use crate::line::{Arrival, Inbound, Opening};
use crate::publish::{PublishHandle, Publisher, Recalled, StateTopics};
use crate::runtime::assemble::{self, Around, Recovery};
use crate::runtime::clock::Clock;
use crate::runtime::codes;
use crate::runtime::control::Control;
use crate::runtime::desk::Desk;
use crate::runtime::error::RunError;
use crate::runtime::feed;
use crate::runtime::joint::{Joint, Told};
use crate::runtime::journal::{self, Beginning};
use crate::runtime::passwords::Looks;
use crate::runtime::pictures;
use crate::runtime::plant::{DeviceWrites, WRITES_MAX};
use crate::runtime::proof::{self, Proven};
use crate::runtime::recall::{self, Recall};
use crate::runtime::service::Service;
use crate::runtime::snapshot::Snapshot;
use crate::runtime::spine::{Item, Spine};
use crate::runtime::tap::{self, Tap, What};
use crate::runtime::tasks::{self, Tasks};
use crate::runtime::timesync;
use crate::runtime::upkeep;
use crate::runtime::withheld;
use crate::store::starts::StartSeen;
use crate::store::{self, Durable, Store, StoreError};
use crate::wire::checkpoint::Note;

/// Things that may wait for the line; telemetry that finds no room is offered again by its device.
const INBOX_MAX: usize = 4096;
/// Requests of people that may wait for the desk.
const REQUESTS_MAX: usize = 16;
/// Starts after a crash are counted over ten minutes, as far back as these (F04, F13).
const CRASHES_WITHIN_US: i64 = 600_000_000;
const CRASHES_COUNTED: usize = 10;
/// Whether the clock is synchronised changes rarely, and a second late is soon enough.
const CLOCK_LOOK: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(50);
/// The last facts must be on disk by then, or the end is no clean one.
const STOP_MAX: Duration = Duration::from_secs(10);
/// Things that the broker kept, waiting to be looked at.
const RECALLED_MAX: usize = 8;
const ANCHOR_MAX: Duration = Duration::from_secs(2);
const FEED_STOP_MAX: Duration = Duration::from_secs(3);

/// Runs the line until it is told to stop.
pub fn run(config: Config, beginning: Beginning) -> Result<(), RunError> {
    let clock = Clock::start();
    let (mut store, mut recovery) = journal::open(&config, beginning)?;
    let mut proven = proof::open(&config, &mut store)?;
    recovery.doubts.append(&mut proven.doubts);
    tracing::info!(line = %config.line.name, facts = recovery.state.seq, clean = recovery.was_stopped, "recovered");
    codes::offer_code(&config.journal, recovery.state.people.is_empty());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(serve(Arc::new(config), clock, (store, proven), recovery));
    // A blocking read of the journal may still run; it holds nothing that must be finished.
    runtime.shutdown_background();
    ended
}

async fn serve(
    config: Arc<Config>,
    clock: Clock,
    (store, proven): (Store, Proven),
    recovery: Recovery,
) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let control = Control::bind(&config.line.socket, config.line.socket_for_group).await.map_err(RunError::Control)?;
    let (inbox, items) = bounded(INBOX_MAX);
    let (head, heads) = watch::channel(recovery.state.seq);
    let (snapshots, seen) = watch::channel(Arc::new(Snapshot::default()));
    let (stop, stopping) = watch::channel(false);

    let mut tasks = Tasks::default();
    let (tap, tapped) = tap::open(clock);
    let by_station = start_devices(&config, (clock, &tap), &inbox, &mut tasks);
    let (states, said) = watch::channel(StateTopics::default());
    let (anchor, anchored) = watch::channel(None);
    let (looked, has_looked) = watch::channel(false);
    let (recalled, kept_there) = mpsc::channel(RECALLED_MAX);
    tasks.add("the retained state", feed::tell_states(seen.clone(), (anchored.clone(), has_looked), states));
    let epoch = proven.epoch.map_or(store.identity().epoch, |begun| begun.epoch);
    let doors = feed::Doors { inbox: inbox.clone(), clock, heads, states: said, stopping, epoch, recalled };
    let (handle, publisher) = feed::open(&config, doors)?.unzip();
    let recall = Recall::new(&config, &proven, (inbox.clone(), clock), looked);
    watch_proof(&mut tasks, recall, kept_there, handle.clone(), anchored.clone());
    let looks = Looks::new(&config.journal, config.people.passwords);
    let desk = Desk { config: Arc::clone(&config), inbox: inbox.clone(), snapshots: seen, feed: handle, tapped, looks };
    let (requests, waiting) = mpsc::channel(REQUESTS_MAX);
    tasks.add("the local socket", control.run(Arc::new(move |request| requests.try_send(request).is_ok())));
    tasks.add("the desk", desk.run(waiting));
    start_clocks(&config, clock, &inbox, &mut tasks);

    let _watch = journal::watch(&config, clock, inbox.clone())?;
    let pictures = pictures::start(&config, clock, inbox.clone())?;
    let (durables, durable) = bounded(2);
    let (stopped, last_fact) = oneshot::channel();
    let spine = Spine {
        clock,
        inbox: items,
        durable,
        head,
        snapshots,
        service: Service::from_environment(),
        ready: format!("line {}, {} facts recovered", config.line.name, recovery.state.seq),
        tap,
        stopped: Some(stopped),
    };
    let newest = spine.head.subscribe();
    let parts = Foundation { clock, store, proven, recovery, durables, anchor };
    let (mut line_ended, log_ended) = start_line(&config, parts, spine, DeviceWrites { by_station, dropped: 0 })?;

    let publisher = publish(publisher);
    tokio::pin!(publisher);
    let stopped_early = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        name = tasks.ended() => Some(name),
        () = &mut publisher => Some("the publisher".to_owned()),
        _ = &mut line_ended => Some("the line thread".to_owned()),
    };
    if let Some(part) = stopped_early {
        return Err(RunError::Ended(part));
    }
    // What it tells yet has to be decided before the line stops.
    pictures::end(pictures).await;
    let ends = Ends { last_fact, newest, anchored, line_ended, log_ended };
    finish(&inbox, clock, &stop, publisher, ends).await
}

/// The looks at what the broker has of the checkpoints, from before and from now.
fn watch_proof(
    tasks: &mut Tasks,
    recall: Recall,
    kept: mpsc::Receiver<Recalled>,
    feed: Option<PublishHandle>,
    anchored: watch::Receiver<Option<Arc<Note>>>,
) {
    let withheld = withheld::run(feed.clone(), anchored, recall.inbox.clone(), recall.clock);
    tasks.add("the look at the broker's checkpoints", withheld);
    tasks.add("the look at what the broker kept", recall::run(recall, kept, feed));
}

/// What says that a part has come to its end.
struct Ends {
    last_fact: oneshot::Receiver<()>,
    /// The newest durable fact, and the newest checkpoint.
    newest: watch::Receiver<u64>,
    anchored: watch::Receiver<Option<Arc<Note>>>,
    line_ended: oneshot::Receiver<()>,
    log_ended: oneshot::Receiver<()>,
}

/// The end in order: the last fact, the feed, the log.
async fn finish(
    inbox: &Sender<Item>,
    clock: Clock,
    stop: &watch::Sender<bool>,
    publisher: impl Future<Output = ()>,
    mut ends: Ends,
) -> Result<(), RunError> {
    tracing::info!("stopping");
    let stop_line = Item::Line(Inbound { seen_mono_us: clock.now().mono_us, what: Arrival::Stop });
    let gone = |_| RunError::Ended("the line thread".to_owned());
    inbox.send_timeout(stop_line, STOP_MAX).map_err(gone)?;
    // Work of the feed may keep the line from being settled for a moment; the bound is the disk's.
    let _ = tokio::time::timeout(STOP_MAX, ends.last_fact).await;
    // The checkpoint of the stop is in the side file and on its way to the broker; a disk that hangs keeps nobody here.
    let last = *ends.newest.borrow();
    let signed = ends.anchored.wait_for(|note| note.as_ref().is_some_and(|note| note.seq >= last));
    let _ = tokio::time::timeout(ANCHOR_MAX, signed).await;
    stop.send_replace(true);
    // The feed has two seconds of its own; what is left then goes out after the next start.
    let _ = tokio::time::timeout(FEED_STOP_MAX, publisher).await;
    inbox.send_timeout(Item::End, STOP_MAX).map_err(gone)?;
    let line = tokio::time::timeout(STOP_MAX, ends.line_ended).await;
    // The last pages go back into the file; where that takes too long, they wait in its log, whole.
    let _ = tokio::time::timeout(STOP_MAX, ends.log_ended).await;
    line.map(|_| ()).map_err(|_| RunError::Ended("the wait for the disk".to_owned()))
}

/// Until it is told to stop; for ever where the config names no broker.
async fn publish(publisher: Option<Publisher>) {
    match publisher {
        Some(publisher) => publisher.run().await,
        None => std::future::pending().await,
    }
}

/// What the line is built on.
struct Foundation {
    clock: Clock,
    store: Store,
    proven: Proven,
    recovery: Recovery,
    durables: Sender<Durable>,
    anchor: watch::Sender<Option<Arc<Note>>>,
}

/// The commit thread, the thread that keeps the log of the database short, and the line thread. The receivers end with the line and with
/// the last work on the log.
fn start_line(
    config: &Config,
    foundation: Foundation,
    spine: Spine,
    plant: DeviceWrites,
) -> Result<(oneshot::Receiver<()>, oneshot::Receiver<()>), RunError> {
    let Foundation { clock, store, proven, recovery, durables, anchor } = foundation;
    let opening = opening(config, clock, &store, recovery.was_stopped)?;
    let (journal, jobs) = store::commit::channel();
    let (boot, durable) = (store.boot(), store.durable());
    let (keep_log, log_stop) = bounded(1);
    let (log_done, log_ended) = oneshot::channel();
    let path = config.journal.clone();
    tasks::thread("sealgate-log", move || {
        // Long logs are slow, not wrong; the commit thread is the one whose failure counts.
        if let Err(error) = store::wal::run(&path, &log_stop) {
            tracing::warn!(%error, "journal_log_grows");
        }
        drop(log_done);
    })?;
    let suspect = config.journal.clone();
    tasks::thread("sealgate-commit", move || {
        let _keep_log = keep_log;
        let done = |durable| drop(durables.send(durable));
        if let Err(error) = store::commit::run(store, &jobs, || clock.now().mono_us, done) {
            // Whether it is on disk is unknown until the file is read again: nothing may go on from here.
            tracing::error!(%error, "commit_failed");
            store::start::note_damage(&suspect, &error);
            std::process::exit(i32::from(error.exit_code()));
        }
    })?;
    let Proven { side, notes, epoch, key, .. } = proven;
    tasks::thread("sealgate-anchor", move || {
        store::side::run(side, &notes, |note| drop(anchor.send_replace(Some(Arc::new(note.clone())))))
    })?;
    let (mut line, start) = assemble::line(config, recovery, (epoch, key), Around { journal, plant, durable, boot });
    let (ended, line_ended) = oneshot::channel();
    tasks::thread("sealgate-line", move || {
        let first = line.open(clock.now(), start, opening);
        spine.run(line, first);
        drop(ended);
    })?;
    Ok((line_ended, log_ended))
}

/// What the first facts of this run say beside the config.
fn opening(config: &Config, clock: Clock, store: &Store, was_stopped: bool) -> Result<Opening, StoreError> {
    let since = clock.now().wall_us.saturating_sub(CRASHES_WITHIN_US);
    let is_crash = |start: &&StartSeen| !start.clean && start.at_us >= since;
    let before = store.starts(CRASHES_COUNTED)?.iter().filter(is_crash).count();
    let crashes = if was_stopped { 0 } else { u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1) };
    Ok(Opening { last_wall_us: store.last_wall_us()?, clock: timesync::look(&config.line.clock_file), crashes })
}

/// One task per device, and the channels of its writes by station.
fn start_devices(
    config: &Config,
    (clock, tap): (Clock, &Tap),
    inbox: &Sender<Item>,
    tasks: &mut Tasks,
) -> Vec<Vec<mpsc::Sender<TagWrite>>> {
    let mut by_station = vec![Vec::new(); config.stations.len()];
    let joints = joints(config);
    for settings in &config.devices {
        let (writes, waiting) = mpsc::channel(WRITES_MAX);
        let stations = assemble::stations_of(config, settings.device);
        for station in &stations {
            if let Some(senders) = by_station.get_mut(usize::from(station.0)) {
                senders.push(writes.clone());
            }
        }
        let is_joint = |station: &StationId| joints.contains_key(station);
        let (shared, alone) = stations.into_iter().partition(is_joint);
        let shared: Vec<StationId> = shared;
        let joints = shared.iter().filter_map(|station| Some((*station, joints.get(station)?.clone()))).collect();
        let share = Share { device: settings.device, alone, joints };
        let sink = event_sink(settings.name.clone(), inbox.clone(), clock, share);
        let sink = tapped_sink(settings.name.clone(), tap.clone(), sink);
        tasks.add("a device task", device::run(settings.clone(), sink, waiting));
    }
    by_station
}

/// The stations whose tags lie on several devices.
fn joints(config: &Config) -> BTreeMap<StationId, Arc<Mutex<Joint>>> {
    let is_scanner = |device: DeviceId| {
        let settings = config.devices.iter().find(|settings| settings.device == device);
        settings.is_some_and(|settings| matches!(&settings.link, Link::Text(text) if text.dialect.scan.is_some()))
    };
    let several = config.stations.iter().filter(|station| station.devices.len() > 1);
    let joint = |station: &config::Station| {
        let parts = station.devices.iter().map(|device| (*device, !is_scanner(*device)));
        (station.settings.id, Arc::new(Mutex::new(Joint::new(station.settings.id, parts))))
    };
    several.map(joint).collect()
}

/// The stations of one device: those that are its own, and those that it shares with others.
struct Share {
    device: DeviceId,
    alone: Vec<StationId>,
    joints: BTreeMap<StationId, Arc<Mutex<Joint>>>,
}

/// Stamps what a device says and puts it into the inbox; what is for people alone goes to the log.
fn event_sink(device: String, inbox: Sender<Item>, clock: Clock, share: Share) -> EventSink {
    let send =
        move |what: Arrival| inbox.try_send(Item::Line(Inbound { seen_mono_us: clock.now().mono_us, what })).is_ok();
    Arc::new(move |event| match event {
        DeviceEvent::Connected { .. } => {
            tracing::info!(device, "device_connected");
            send(Arrival::Connected(share.alone.clone())) && share.each(|joint| joint.connected(share.device), &send)
        }
        DeviceEvent::Disconnected { reason, .. } => {
            tracing::warn!(device, reason, "device_away");
            send(Arrival::Disconnected(share.alone.clone()))
                && share.each(|joint| joint.disconnected(share.device), &send)
        }
        DeviceEvent::Update(update) => share.update(update, &send),
        DeviceEvent::WriteRefused { tag, status, .. } => {
            tracing::warn!(device, %tag, status, "device_refuses_write");
            true
        }
    })
}

/// Shows what a device says to who looks on, once the line has taken it.
fn tapped_sink(device: String, tap: Tap, sink: EventSink) -> EventSink {
    Arc::new(move |event| {
        let shown = tap.is_open().then(|| passing(&device, &event));
        let is_taken = sink(event);
        if let Some(what) = shown.filter(|_| is_taken) {
            tap.show(what);
        }
        is_taken
    })
}

fn passing(device: &str, event: &DeviceEvent) -> What {
    let device = device.to_owned();
    match event {
        DeviceEvent::Connected { .. } => What::Connected { device },
        DeviceEvent::Disconnected { reason, .. } => What::Disconnected { device, reason: reason.clone() },
        DeviceEvent::Update(update) => What::Update { device, update: update.clone() },
        DeviceEvent::WriteRefused { station, tag, status, .. } => {
            What::Refused { device, station: *station, tag: tag.name(), status: *status }
        }
    }
}

impl Share {
    /// Changes every station that is shared, and tells what comes of it; false where the line had no room.
    fn each(&self, change: impl Fn(&mut Joint), send: &impl Fn(Arrival) -> bool) -> bool {
        let mut all = true;
        for (station, joint) in &self.joints {
            let mut joint = joint.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut joint);
            all &= joint.flush(|told| send(arrival(*station, told)));
        }
        all
    }

    fn update(&self, update: TagUpdate, send: &impl Fn(Arrival) -> bool) -> bool {
        let Some(joint) = self.joints.get(&update.station) else { return send(Arrival::Update(update)) };
        let mut joint = joint.lock().unwrap_or_else(PoisonError::into_inner);
        if !joint.flush(|told| send(arrival(update.station, told))) {
            return false;
        }
        // What nobody is to hear is kept, and told when the other devices are there.
        !joint.update(self.device, &update) || send(Arrival::Update(update))
    }
}

fn arrival(station: StationId, told: Told) -> Arrival {
    match told {
        Told::Connected => Arrival::Connected(vec![station]),
        Told::Disconnected => Arrival::Disconnected(vec![station]),
        Told::Update(update) => Arrival::Update(update),
    }
}

fn start_clocks(config: &Config, clock: Clock, inbox: &Sender<Item>, tasks: &mut Tasks) {
    tasks.add("the clock", tick(inbox.clone(), clock));
    tasks.add("the look at the clock", look_at_clock(inbox.clone(), clock, config.line.clock_file.clone()));
    let (journal, mqtt) = (config.journal.clone(), config.mqtt.clone());
    tasks.add("the upkeep of the feed", upkeep::run(journal, mqtt, inbox.clone(), clock));
}

/// Turns happen even when nothing does. A tick that finds no room is no loss: the inbox is full of turns.
async fn tick(inbox: Sender<Item>, clock: Clock) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let _ = inbox.try_send(Item::Line(Inbound { seen_mono_us: clock.now().mono_us, what: Arrival::Tick }));
    }
}

/// A look that finds no room is made again at the next.
async fn look_at_clock(inbox: Sender<Item>, clock: Clock, file: PathBuf) {
    let mut interval = tokio::time::interval(CLOCK_LOOK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let what = Arrival::Clock(timesync::look(&file));
        let _ = inbox.try_send(Item::Line(Inbound { seen_mono_us: clock.now().mono_us, what }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the devices would show: nothing that is taken here was acknowledged, since only the line does that.
    fn update(station: u8) -> DeviceEvent {
        DeviceEvent::Update(TagUpdate { station: StationId(station), readings: Vec::new(), server_us: None })
    }

    fn alone() -> Share {
        Share { device: DeviceId(0), alone: vec![StationId(0)], joints: BTreeMap::new() }
    }

    // F09
    #[test]
    fn a_full_inbox_refuses_telemetry_so_that_it_is_offered_again_and_keeps_what_it_took_in_order() {
        let (inbox, items) = bounded(INBOX_MAX);
        let sink = event_sink("plc".to_owned(), inbox.clone(), Clock::start(), alone());
        let taken = (0..2 * INBOX_MAX).filter(|number| sink(update((number % 5) as u8))).count();
        assert_eq!(taken, INBOX_MAX, "the rest stays at the device, unacknowledged");
        let disconnected = DeviceEvent::Disconnected { device: crate::domain::tag::DeviceId(0), reason: String::new() };
        assert!(!sink(disconnected.clone()), "the task offers it until it is taken");
        for number in 0..INBOX_MAX {
            let Ok(Item::Line(Inbound { what: Arrival::Update(update), .. })) = items.try_recv() else {
                panic!("item {number} is none of those that were taken");
            };
            assert_eq!(usize::from(update.station.0), number % 5);
        }
        assert!(sink(disconnected), "there is room again");
        assert!(matches!(items.try_recv(), Ok(Item::Line(Inbound { what: Arrival::Disconnected(_), .. }))));
    }
}
