//! `sealgate check --online`: asks every device, as the daemon does, for every tag that the configuration binds, and says what each
//! shows, how good and how old it is, and how long the device takes to answer. Writes nothing.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::check::{Answer, Probe};
use super::probe;
use crate::config::Config;
use crate::device::{self, Address, DeviceEvent, Settings, codec, trips};
use crate::domain::tag::{Access, Quality, Reading, StationId, Tag, TagValue};
use crate::runtime::clock::Clock;

/// A device that is there answers within a few of its own time-outs.
const LOOK_MIN: Duration = Duration::from_secs(8);

fn look_max(settings: &Settings) -> Duration {
    LOOK_MIN.max(settings.request_timeout.saturating_mul(6))
}

/// The events of one device until its first full read is known.
const EVENTS_MAX: usize = 256;

/// For the goodbye to a device that takes few sessions; a dead one gets no more.
const FAREWELL: Duration = Duration::from_secs(1);

/// Requests by which the round trip is measured; the median is told.
const TRIPS: usize = 9;

/// What was found out about one device.
pub(super) struct Looked {
    pub(super) probes: Vec<Probe>,
    /// Objects with device, station, tag, value, quality, age and address; one for each tag that the daemon reads.
    pub(super) tags: Vec<Value>,
}

/// Every device at the same time, so that all together take as long as the slowest; then, while nobody else asks, how long each takes
/// to answer. All on one runtime: units behind one address share a connection, which ends with the runtime that made it.
pub(super) fn devices(config: &Config) -> Vec<Looked> {
    probe::block_on(async {
        let seen =
            join_all(config.devices.iter().map(|settings| AssertUnwindSafe(listen(settings)).catch_unwind())).await;
        let mut looked = Vec::new();
        for (settings, seen) in config.devices.iter().zip(seen) {
            looked.push(match seen {
                Ok(seen) => look(config, settings, seen).await,
                Err(_) => away(settings, "the look at it failed; please report this".to_owned()),
            });
        }
        looked
    })
}

fn away(settings: &Settings, text: String) -> Looked {
    Looked { probes: vec![no(settings, text)], tags: Vec::new() }
}

/// What is wrong with one device, or one line that all is well; and its tags.
async fn look(config: &Config, settings: &Settings, seen: Seen) -> Looked {
    if !seen.connected || seen.away.is_some() {
        let reason = seen.away.unwrap_or_else(|| format!("no answer within {} s", look_max(settings).as_secs()));
        return away(settings, reason);
    }
    let wanted = wanted(settings);
    let mut probes: Vec<Probe> = wanted
        .iter()
        .filter_map(|key| flaw(config, *key, &seen).map(|what| no(settings, tag_text(config, *key, &what))))
        .collect();
    let trip = round_trip(settings).await;
    if probes.is_empty() {
        let trip = trip.map_or_else(String::new, |took| format!("; round trip {} us", took.as_micros()));
        let text = format!("answers; {} tags read, all good{trip}", wanted.len());
        probes.push(Probe { what: name(settings), outcome: Answer::Yes, text });
    }
    let now_us = Clock::start().now().wall_us;
    let tags = wanted.iter().map(|key| row(config, settings, *key, (&seen, trip, now_us))).collect();
    Looked { probes, tags }
}

/// The median; `None` where the device gives no second connection.
async fn round_trip(settings: &Settings) -> Option<Duration> {
    let mut took = trips(settings, TRIPS).await.ok()?;
    took.sort_unstable();
    took.get(took.len() / 2).copied()
}

fn row(
    config: &Config,
    settings: &Settings,
    key: (StationId, Tag),
    (seen, trip, now_us): (&Seen, Option<Duration>, i64),
) -> Value {
    let reading = seen.readings.get(&key);
    let quality = reading.map_or_else(|| "not read".to_owned(), |reading| reading.quality.to_string());
    let age = reading.and_then(|reading| reading.source_us).map(|source_us| now_us.saturating_sub(source_us) / 1000);
    json!({
        "device": settings.name,
        "station": station_name(config, key.0),
        "tag": key.1.name(),
        "value": reading.map(|reading| value(&reading.value)),
        "quality": quality,
        "age_ms": age,
        "round_trip_us": trip.map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
        "address": address(settings, key),
    })
}

fn address(settings: &Settings, (station, tag): (StationId, Tag)) -> Option<String> {
    let tags = settings.stations.iter().find(|tags| tags.station == station)?;
    let binding = tags.bindings.iter().find(|binding| binding.tag == tag)?;
    Some(match (&binding.address, binding.address.cell()) {
        (Address::Node(node), _) => node.clone(),
        (_, Some((table, at))) => format!("{} {at}", table.name()),
        (_, None) => String::new(),
    })
}

/// A tag's value as JSON; thousandths as the decimal that they mean.
pub(super) fn value(value: &TagValue) -> Value {
    let text = |bytes: &Vec<u8>| json!(String::from_utf8_lossy(bytes));
    let milli = |milli: &i64| json!(*milli as f64 / 1000.0);
    match value {
        TagValue::Bool(value) => json!(value),
        TagValue::Int(value) => json!(value),
        TagValue::Milli(value) => milli(value),
        TagValue::Bytes(bytes) => text(bytes),
        TagValue::Ints(values) => json!(values),
        TagValue::Millis(values) => Value::Array(values.iter().map(milli).collect()),
        TagValue::Texts(texts) => Value::Array(texts.iter().map(text).collect()),
    }
}

/// What a device said while it was listened to.
#[derive(Default)]
struct Seen {
    connected: bool,
    away: Option<String>,
    readings: BTreeMap<(StationId, Tag), Reading>,
}

/// Ends when every wanted tag was good once, when the device says no, or when it has been long enough.
async fn listen(settings: &Settings) -> Seen {
    let (events, mut heard) = mpsc::channel(EVENTS_MAX);
    let (writes, waiting) = mpsc::channel(1);
    let sink: device::EventSink = Arc::new(move |event| events.try_send(event).is_ok());
    let task = device::run(settings.clone(), sink, waiting);
    let end = tokio::time::sleep(look_max(settings));
    tokio::pin!(task, end);
    let wanted = wanted(settings);
    let mut seen = Seen::default();
    while seen.away.is_none() && !seen.is_whole(&wanted) {
        tokio::select! {
            () = &mut task => return seen,
            () = &mut end => break,
            Some(event) = heard.recv() => seen.take(event),
        }
    }
    drop(writes);
    let _ = timeout(FAREWELL, task).await;
    seen
}

impl Seen {
    fn is_whole(&self, wanted: &[(StationId, Tag)]) -> bool {
        self.connected
            && wanted.iter().all(|key| self.readings.get(key).is_some_and(|reading| reading.quality == Quality::Good))
    }

    fn take(&mut self, event: DeviceEvent) {
        match event {
            DeviceEvent::Connected { .. } => self.connected = true,
            DeviceEvent::Disconnected { reason, .. } => self.away = Some(reason),
            DeviceEvent::Update(update) => {
                let known = |reading: Reading| ((update.station, reading.tag), reading);
                self.readings.extend(update.readings.into_iter().map(known));
            }
            DeviceEvent::WriteRefused { .. } => {}
        }
    }
}

/// The tags that the daemon would read there.
fn wanted(settings: &Settings) -> Vec<(StationId, Tag)> {
    let of_station = |tags: &device::StationTags| {
        let station = tags.station;
        let read = tags.bindings.iter().flat_map(codec::tags).filter(|tag| tag.access() == Access::Read);
        read.map(|tag| (station, tag)).collect::<Vec<_>>()
    };
    settings.stations.iter().flat_map(of_station).collect()
}

/// What the station itself would say of the value.
fn flaw(config: &Config, key: (StationId, Tag), seen: &Seen) -> Option<String> {
    let Some(reading) = seen.readings.get(&key) else { return Some("was not read".to_owned()) };
    let station = config.stations.get(usize::from(key.0.0))?;
    station.settings.flaw(reading).map(|flaw| flaw.what.as_str().to_owned())
}

fn tag_text(config: &Config, (station, tag): (StationId, Tag), what: &str) -> String {
    format!("{}.{tag}: {what}; check the device, and this tag in its map", station_name(config, station))
}

fn station_name(config: &Config, station: StationId) -> &str {
    config.stations.get(usize::from(station.0)).map_or("?", |found| found.settings.name.as_str())
}

fn name(settings: &Settings) -> String {
    format!("device {}", settings.name)
}

fn no(settings: &Settings, text: String) -> Probe {
    Probe { what: name(settings), outcome: Answer::No, text }
}
