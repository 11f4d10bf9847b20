//! A look at what passes: tag updates, observations and facts, for a technician with `sealgate tap`.
//!
//! Contract:
//! - Nobody waits for a reader. Entries are numbered as they pass; what finds no room, or is older than what is kept, is lost, and the
//!   reader is told how many: the gaps in the numbers say it.
//! - Nothing is kept while nobody looks: the first look opens the tap, and it closes when nobody has asked for `OPEN`.
//! - Facts are shown when they are decided, a moment before they are on disk. This is a look, never a record: that is the journal.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use serde_json::{Value, json};

use crate::config::Config;
use crate::domain::quality::status_text;
use crate::domain::tag::{StationId, TagUpdate, TagValue};
use crate::line::Passed;
use crate::runtime::clock::Clock;
use crate::wire::fact::Published;

/// Entries on their way to the desk, and entries that the desk keeps for slow readers.
const WAITING_MAX: usize = 4096;
const KEPT_MAX: usize = 8192;
/// Entries in one answer.
const ANSWER_MAX: usize = 500;
/// How long nobody needs to ask until nothing is kept any more.
const OPEN_US: u64 = 5_000_000;

/// What passes.
#[derive(Clone, Debug)]
pub(super) enum What {
    Connected { device: String },
    Disconnected { device: String, reason: String },
    Refused { device: String, station: StationId, tag: &'static str, status: u32 },
    Update { device: String, update: TagUpdate },
    Line(Passed),
}

#[derive(Debug)]
struct Entry {
    number: u64,
    at_us: i64,
    what: What,
}

/// The side of those who show what passes; cheap while nobody looks.
#[derive(Clone)]
pub(super) struct Tap {
    clock: Clock,
    open_until_us: Arc<AtomicU64>,
    newest: Arc<AtomicU64>,
    sender: Sender<Entry>,
}

/// The side of the desk.
pub(super) struct Tapped {
    tap: Tap,
    receiver: Receiver<Entry>,
    kept: VecDeque<Entry>,
}

pub(super) fn open(clock: Clock) -> (Tap, Tapped) {
    let (sender, receiver) = bounded(WAITING_MAX);
    let tap = Tap { clock, open_until_us: Arc::default(), newest: Arc::default(), sender };
    (tap.clone(), Tapped { tap, receiver, kept: VecDeque::new() })
}

impl Tap {
    /// Whether somebody looks. No clock is read where nobody ever did.
    pub(super) fn is_open(&self) -> bool {
        let until = self.open_until_us.load(Ordering::Relaxed);
        until > 0 && self.clock.now().mono_us < until
    }

    /// Never waits.
    pub(super) fn show(&self, what: What) {
        let number = self.newest.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        // What finds no room is a gap in the numbers.
        let _ = self.sender.try_send(Entry { number, at_us: self.clock.now().wall_us, what });
    }
}

impl Tapped {
    /// What passed after the entry `after`; without it, from now on. `device` is one of the configuration.
    pub(super) fn answer(&mut self, config: &Config, after: Option<u64>, device: Option<&str>) -> Value {
        let until = self.tap.clock.now().mono_us.saturating_add(OPEN_US);
        self.tap.open_until_us.store(until, Ordering::Relaxed);
        self.take();
        let newest = self.tap.newest.load(Ordering::Relaxed);
        // A cursor of another run of the daemon means nothing here.
        let Some(after) = after.filter(|after| *after <= newest) else {
            return json!({ "next": newest, "lost": 0, "entries": [] });
        };
        let passed: Vec<&Entry> = self.kept.iter().filter(|entry| entry.number > after).take(ANSWER_MAX).collect();
        // What was numbered and has not come in yet may still come, unless something newer has.
        let next = passed.last().map_or(after, |entry| entry.number);
        let got = u64::try_from(passed.len()).unwrap_or(u64::MAX);
        let lost = next.saturating_sub(after).saturating_sub(got);
        let entries: Vec<Value> = passed
            .into_iter()
            .filter(|entry| device.is_none_or(|device| is_of(config, &entry.what, device)))
            .flat_map(|entry| shown(config, entry))
            .collect();
        json!({ "next": next, "lost": lost, "entries": entries })
    }

    fn take(&mut self) {
        for entry in self.receiver.try_iter().take(WAITING_MAX) {
            if self.kept.len() == KEPT_MAX {
                self.kept.pop_front();
            }
            self.kept.push_back(entry);
        }
        // Numbers are drawn before the place in the queue is: neighbours may have changed places.
        self.kept.make_contiguous().sort_by_key(|entry| entry.number);
    }
}

fn station(config: &Config, id: StationId) -> &str {
    config.stations.get(usize::from(id.0)).map_or("?", |station| station.settings.name.as_str())
}

/// Facts belong to no device: they are shown where the whole line is looked at.
fn is_of(config: &Config, what: &What, device: &str) -> bool {
    match what {
        What::Connected { device: of }
        | What::Disconnected { device: of, .. }
        | What::Refused { device: of, .. }
        | What::Update { device: of, .. } => of == device,
        What::Line(Passed::Observed(observation)) => {
            let station = config.stations.get(usize::from(observation.station.0));
            let devices = station.map(|station| station.devices.as_slice()).unwrap_or_default();
            let name = |index: u8| config.devices.get(usize::from(index)).map(|settings| settings.name.as_str());
            devices.iter().any(|id| name(id.0) == Some(device))
        }
        What::Line(Passed::Fact(_)) => false,
    }
}

/// An update is one entry for each tag that it carries.
fn shown(config: &Config, entry: &Entry) -> Vec<Value> {
    let (number, at_us) = (entry.number, entry.at_us);
    match &entry.what {
        What::Connected { device } => {
            vec![json!({ "n": number, "at_us": at_us, "what": "connected", "device": device })]
        }
        What::Disconnected { device, reason } => {
            vec![json!({ "n": number, "at_us": at_us, "what": "disconnected", "device": device, "text": reason })]
        }
        What::Refused { device, station: id, tag, status } => vec![json!({
            "n": number, "at_us": at_us, "what": "write_refused", "device": device, "station": station(config, *id),
            "tag": tag, "text": format!("status {}", status_text(*status)),
        })],
        What::Update { device, update } => {
            let row = |reading: &crate::domain::tag::Reading| {
                json!({
                    "n": number, "at_us": at_us, "what": "tag", "device": device,
                    "station": station(config, update.station), "tag": reading.tag.name(),
                    "value": value(&reading.value), "quality": reading.quality.to_string(), "source_at_us": reading.source_us,
                })
            };
            update.readings.iter().map(row).collect()
        }
        What::Line(Passed::Observed(observation)) => vec![json!({
            "n": number, "at_us": at_us, "what": "observation", "station": station(config, observation.station),
            "text": format!("{:?}", observation.what),
        })],
        What::Line(Passed::Fact(row)) => {
            let Published { subject, body } = Published::new((row.seq, row.kind), None, &row.subject, &row.body);
            vec![json!({
                "n": number, "at_us": at_us, "what": "fact", "seq": row.seq, "kind": row.kind, "subject": subject,
                "text": body,
            })]
        }
    }
}

fn value(value: &TagValue) -> Value {
    let text = |bytes: &Vec<u8>| json!(String::from_utf8_lossy(bytes));
    match value {
        TagValue::Bool(value) => json!(value),
        TagValue::Int(value) => json!(value),
        TagValue::Milli(milli) => json!(*milli as f64 / 1000.0),
        TagValue::Bytes(bytes) => text(bytes),
        TagValue::Ints(values) | TagValue::Millis(values) => json!(values),
        TagValue::Texts(texts) => Value::Array(texts.iter().map(text).collect()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config() -> Config {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config/good.toml");
        crate::config::load(&path).unwrap_or_else(|error| panic!("{error}"))
    }

    fn connected(device: &str) -> What {
        What::Connected { device: device.to_owned() }
    }

    #[test]
    fn nothing_is_kept_until_somebody_looks_and_then_everything_in_order() {
        let (tap, mut tapped) = open(Clock::start());
        let config = config();
        assert!(!tap.is_open());
        let first = tapped.answer(&config, None, None);
        assert_eq!((&first["next"], &first["entries"]), (&0.into(), &json!([])));
        assert!(tap.is_open());
        for _ in 0..3 {
            tap.show(connected("plc"));
        }
        let second = tapped.answer(&config, Some(0), None);
        let numbers: Vec<u64> =
            second["entries"].as_array().unwrap().iter().map(|e| e["n"].as_u64().unwrap()).collect();
        assert_eq!((numbers, &second["next"], &second["lost"]), (vec![1, 2, 3], &3.into(), &0.into()));
        let third = tapped.answer(&config, Some(3), None);
        assert_eq!((&third["next"], &third["entries"]), (&3.into(), &json!([])));
    }

    // I09
    #[test]
    fn a_reader_who_comes_late_loses_with_a_count_and_nobody_waits() {
        let (tap, mut tapped) = open(Clock::start());
        let config = config();
        tapped.answer(&config, None, None);
        for _ in 0..WAITING_MAX + 100 {
            tap.show(connected("plc"));
        }
        tapped.take();
        // The next one comes in behind the gap of a hundred.
        tap.show(connected("plc"));
        let mut cursor = 0;
        let (mut got, mut lost) = (0, 0);
        loop {
            let answer = tapped.answer(&config, Some(cursor), None);
            let entries = answer["entries"].as_array().unwrap().len() as u64;
            if entries == 0 {
                break;
            }
            (got, lost) = (got + entries, lost + answer["lost"].as_u64().unwrap());
            cursor = answer["next"].as_u64().unwrap();
        }
        assert_eq!((got, lost), (WAITING_MAX as u64 + 1, 100));
    }

    #[test]
    fn a_device_is_looked_at_alone_and_a_cursor_of_another_run_begins_anew() {
        let (tap, mut tapped) = open(Clock::start());
        let config = config();
        tapped.answer(&config, None, None);
        tap.show(connected("plc"));
        tap.show(connected("vision"));
        let plc = tapped.answer(&config, Some(0), Some("plc"));
        assert_eq!((plc["entries"].as_array().unwrap().len(), &plc["next"], &plc["lost"]), (1, &2.into(), &0.into()));
        assert_eq!(tapped.answer(&config, Some(900), None)["next"], 2);
    }
}
