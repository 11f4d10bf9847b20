//! What the tests of both protocols share: settings for the loopback, and a sink that can be waited on.

#![cfg_attr(not(feature = "demo"), allow(dead_code))]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    sync::{Notify, mpsc},
    time::{Duration, timeout},
};

use super::*;
use crate::domain::tag::{Quality, Reading, TagValue};

pub(crate) const MS: Duration = Duration::from_millis(1);
/// The bound of every wait; far above what anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn modbus_link(port: u16) -> ModbusLink {
    ModbusLink {
        host: "127.0.0.1".to_owned(),
        port,
        unit: 1,
        word_order: WordOrder::HighFirst,
        byte_order: ByteOrder::HighFirst,
        gap_max: 0,
        block_max: 125,
        signature: None,
        connections: 2,
        shared: Default::default(),
    }
}

pub(crate) fn settings(link: Link, stations: Vec<StationTags>) -> Settings {
    Settings {
        device: DeviceId(7),
        name: "peer".to_owned(),
        link,
        stations,
        poll: MS * 2,
        request_timeout: MS * 500,
        backoff_min: MS * 5,
        backoff_max: MS * 20,
    }
}

/// The line, as a device task sees it.
#[derive(Clone, Default)]
pub(super) struct Line {
    events: Arc<Mutex<Vec<DeviceEvent>>>,
    news: Arc<Notify>,
    no_room: Arc<AtomicUsize>,
}

impl Line {
    pub(super) fn sink(&self) -> EventSink {
        let line = self.clone();
        Arc::new(move |event| {
            let left = line.no_room.load(Ordering::Relaxed);
            if left > 0 && matches!(event, DeviceEvent::Update(_)) {
                line.no_room.store(left - 1, Ordering::Relaxed);
                return false;
            }
            line.events.lock().unwrap().push(event);
            line.news.notify_one();
            true
        })
    }

    /// The inbox has no room for the next so many updates.
    pub(super) fn fill_up(&self, updates: usize) {
        self.no_room.store(updates, Ordering::Relaxed);
    }

    pub(super) fn events(&self) -> Vec<DeviceEvent> {
        self.events.lock().unwrap().clone()
    }

    /// The index after the first event from `from` on that `wanted` accepts.
    pub(super) async fn wait(&self, from: usize, what: &str, wanted: impl Fn(&DeviceEvent) -> bool) -> usize {
        let found = async {
            loop {
                let at = self.events.lock().unwrap().iter().skip(from).position(&wanted);
                match at {
                    Some(at) => return from + at + 1,
                    None => self.news.notified().await,
                }
            }
        };
        match timeout(PATIENCE, found).await {
            Ok(next) => next,
            Err(_) => panic!("waited in vain for {what}; saw {:#?}", self.events()),
        }
    }

    pub(super) async fn wait_reading(&self, from: usize, tag: Tag, value: TagValue) -> usize {
        let what = format!("{tag} = {value:?}");
        self.wait(from, &what, |event| {
            reading(event, tag).is_some_and(|found| found.value == value && found.quality == Quality::Good)
        })
        .await
    }
}

pub(super) fn reading(event: &DeviceEvent, tag: Tag) -> Option<&Reading> {
    match event {
        DeviceEvent::Update(update) => update.readings.iter().find(|reading| reading.tag == tag),
        DeviceEvent::Connected { .. } | DeviceEvent::Disconnected { .. } | DeviceEvent::WriteRefused { .. } => None,
    }
}

pub(super) fn is_connected(event: &DeviceEvent) -> bool {
    matches!(event, DeviceEvent::Connected { .. })
}

pub(super) fn is_disconnected(event: &DeviceEvent) -> bool {
    matches!(event, DeviceEvent::Disconnected { .. })
}

/// Runs a device task beside a test; the task must end by itself when the test lets go of the writes.
pub(super) async fn beside<F>(settings: Settings, line: &Line, test: impl FnOnce(mpsc::Sender<TagWrite>) -> F)
where
    F: Future<Output = ()>,
{
    let (sender, receiver) = mpsc::channel(64);
    let both = async { tokio::join!(run(settings, line.sink(), receiver), test(sender)) };
    assert!(timeout(PATIENCE * 2, both).await.is_ok(), "the task did not end");
}

/// A condition on a peer, checked until it holds.
pub(super) async fn until(what: &str, condition: impl Fn() -> bool) {
    let held = async {
        while !condition() {
            sleep(MS).await;
        }
    };
    assert!(timeout(PATIENCE, held).await.is_ok(), "waited in vain for {what}");
}
