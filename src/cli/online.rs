//! `sealgate check --online`: asks every device, as the daemon does, for every tag that the configuration binds. Writes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::check::{Answer, Probe};
use crate::config::Config;
use crate::device::{self, DeviceEvent, Settings};
use crate::domain::tag::{Access, Quality, Reading, StationId, Tag};

/// A device that is there answers within one or two of its own time-outs.
const LOOK_MAX: Duration = Duration::from_secs(8);
/// The events of one device until its first full read is known.
const EVENTS_MAX: usize = 256;

/// Every device at the same time, so that all together take as long as the slowest.
pub(super) fn devices(config: &Config) -> Vec<Probe> {
    std::thread::scope(|scope| {
        let looks: Vec<_> = config.devices.iter().map(|settings| scope.spawn(|| look(config, settings))).collect();
        let found = looks.into_iter().zip(&config.devices).map(|(look, settings)| {
            look.join().unwrap_or_else(|_| vec![no(settings, "the look at it failed; please report this".to_owned())])
        });
        found.flatten().collect()
    })
}

/// What is wrong with one device, or one line that all is well.
fn look(config: &Config, settings: &Settings) -> Vec<Probe> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return vec![no(settings, format!("cannot be asked ({error})"))],
    };
    let seen = runtime.block_on(listen(settings));
    runtime.shutdown_background();
    if !seen.connected || seen.away.is_some() {
        let reason = seen.away.unwrap_or_else(|| format!("no answer within {} s", LOOK_MAX.as_secs()));
        return vec![no(settings, reason)];
    }
    let wanted = wanted(settings);
    let mut probes: Vec<Probe> = wanted
        .iter()
        .filter_map(|key| flaw(*key, &seen).map(|what| no(settings, tag_text(config, *key, &what))))
        .collect();
    if probes.is_empty() {
        let text = format!("answers; {} tags read, all good", wanted.len());
        probes.push(Probe { what: name(settings), outcome: Answer::Yes, text });
    }
    probes
}

/// What a device said while it was listened to.
#[derive(Default)]
struct Seen {
    connected: bool,
    away: Option<String>,
    qualities: BTreeMap<(StationId, Tag), Quality>,
}

/// Ends when every wanted tag was good once, when the device says no, or when it has been long enough.
async fn listen(settings: &Settings) -> Seen {
    let (events, mut heard) = mpsc::channel(EVENTS_MAX);
    let (_writes, waiting) = mpsc::channel(1);
    let sink: device::EventSink = Arc::new(move |event| events.try_send(event).is_ok());
    let task = device::run(settings.clone(), sink, waiting);
    let end = tokio::time::sleep(LOOK_MAX);
    tokio::pin!(task, end);
    let wanted = wanted(settings);
    let mut seen = Seen::default();
    while seen.away.is_none() && !seen.is_whole(&wanted) {
        tokio::select! {
            () = &mut task => break,
            () = &mut end => break,
            Some(event) = heard.recv() => seen.take(event),
        }
    }
    seen
}

impl Seen {
    fn is_whole(&self, wanted: &[(StationId, Tag)]) -> bool {
        self.connected && wanted.iter().all(|key| self.qualities.get(key) == Some(&Quality::Good))
    }

    fn take(&mut self, event: DeviceEvent) {
        match event {
            DeviceEvent::Connected { .. } => self.connected = true,
            DeviceEvent::Disconnected { reason, .. } => self.away = Some(reason),
            DeviceEvent::Update(update) => {
                let known = |reading: Reading| ((update.station, reading.tag), reading.quality);
                self.qualities.extend(update.readings.into_iter().map(known));
            }
            DeviceEvent::WriteRefused { .. } => {}
        }
    }
}

/// The tags that the daemon would read there.
fn wanted(settings: &Settings) -> Vec<(StationId, Tag)> {
    let of_station = |tags: &device::StationTags| {
        let station = tags.station;
        let read = tags.bindings.iter().map(|binding| binding.tag).filter(|tag| tag.access() == Access::Read);
        read.map(|tag| (station, tag)).collect::<Vec<_>>()
    };
    settings.stations.iter().flat_map(of_station).collect()
}

fn flaw(key: (StationId, Tag), seen: &Seen) -> Option<String> {
    match seen.qualities.get(&key) {
        Some(Quality::Good) => None,
        Some(Quality::Uncertain(status)) => Some(format!("its value is uncertain (status {status:#010x})")),
        Some(Quality::Bad(0)) => Some("its value has not the type that the map says".to_owned()),
        Some(Quality::Bad(status)) => Some(format!("cannot be read (status {status:#010x})")),
        None => Some("was not read".to_owned()),
    }
}

fn tag_text(config: &Config, (station, tag): (StationId, Tag), what: &str) -> String {
    let station = config.stations.get(usize::from(station.0)).map_or("?", |found| found.settings.name.as_str());
    format!("{station}.{}: {what}; check the address in the tag map", tag.name())
}

fn name(settings: &Settings) -> String {
    format!("device {}", settings.name)
}

fn no(settings: &Settings, text: String) -> Probe {
    Probe { what: name(settings), outcome: Answer::No, text }
}
