//! The feed: topics below the line's prefix, the CloudEvents 1.0 properties of every message, and the retained payloads.
//!
//! A prefix is the ISA-95 path of the line, for example `site1/packaging/line4`. Properties are MQTT 5 user properties named as
//! the CloudEvents attributes (MQTT binding 3.1, binary mode), and two extensions: `seq` and `replay`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::engine::fact::Counts;
use crate::engine::input::BatchSheet;
use crate::engine::reason::BatchState;
use crate::wire::event_hash::instant;

pub const STATUS: &str = "_status";
pub const STATE_BATCH: &str = "_state/batch";
pub const STATE_COUNTS: &str = "_state/counts";
pub const STATE_DEVICES: &str = "_state/devices";
pub const STATE_VERDICTS: &str = "_state/verdicts";
pub const STATE_ALARMS: &str = "_state/alarms";
/// The newest checkpoint, retained; each one below it by its number, not retained.
pub const CHECKPOINT: &str = "_checkpoint";
pub const BATCH_CLOSED: &str = "_batch/closed";
pub const CMD_FEED_REPLAY: &str = "_cmd/feed/replay";
pub const CMD_FEED_WATERMARK: &str = "_cmd/feed/watermark";
/// All that is subscribed to for commands.
pub const CMD_ALL: &str = "_cmd/#";

/// The streams of the feed; each has its own dense numbering.
pub const STREAMS: &[&str] = &["fact", "epcis", "batch"];
pub const STREAM_FACT: &str = "fact";
pub const STREAM_EPCIS: &str = "epcis";
pub const STREAM_BATCH: &str = "batch";

pub fn fact(kind: &str) -> String {
    ["_fact/", kind].concat()
}

pub fn epcis(biz_step: &str) -> String {
    ["_epcis/", biz_step].concat()
}

/// Where the checkpoint of fact `seq` goes besides.
pub fn checkpoint(seq: u64) -> String {
    format!("{CHECKPOINT}/{seq}")
}

/// The fact of a topic that [`checkpoint`] made.
pub fn checkpoint_seq(topic: &str) -> Option<u64> {
    topic.strip_prefix(CHECKPOINT)?.strip_prefix('/')?.parse().ok()
}

/// CloudEvents `type` of a fact.
pub fn fact_type(kind: &str) -> String {
    ["sealgate.fact.", kind].concat()
}

/// The path of the line in the site's topic tree, proven usable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

/// Why a text is no prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrefixError {
    Empty,
    TooLong {
        bytes: usize,
    },
    EmptyLevel,
    /// `+`, `#`, `$` at the start, or a control character.
    Character {
        found: char,
    },
    /// A level that starts with `_` is ours.
    Reserved {
        level: String,
    },
}

/// MQTT allows 65,535 bytes for the whole topic; brokers and consoles allow less.
const PREFIX_BYTES_MAX: usize = 200;

impl Prefix {
    pub fn new(text: &str) -> Result<Self, PrefixError> {
        if text.is_empty() {
            return Err(PrefixError::Empty);
        }
        if text.len() > PREFIX_BYTES_MAX {
            return Err(PrefixError::TooLong { bytes: text.len() });
        }
        let wild = text.chars().find(|found| matches!(found, '+' | '#') || found.is_control());
        let system = text.chars().next().filter(|first| *first == '$');
        if let Some(found) = wild.or(system) {
            return Err(PrefixError::Character { found });
        }
        if text.split('/').any(str::is_empty) {
            return Err(PrefixError::EmptyLevel);
        }
        match text.split('/').find(|level| level.starts_with('_')) {
            Some(level) => Err(PrefixError::Reserved { level: level.to_owned() }),
            None => Ok(Self(text.to_owned())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The whole topic of one below this prefix.
    pub fn topic(&self, below: &str) -> String {
        [&self.0, "/", below].concat()
    }

    /// The part below this prefix; `None` for a topic elsewhere.
    pub fn below<'t>(&self, topic: &'t str) -> Option<&'t str> {
        topic.strip_prefix(self.0.as_str())?.strip_prefix('/')
    }
}

/// What the properties of one message are made of. `stream` and `seq` with `line` and `epoch` are its identity for ever.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    pub line: &'a str,
    /// The store's epoch: another one after a restore.
    pub epoch: u32,
    pub stream: &'a str,
    pub seq: u64,
    pub source: &'a str,
    pub kind: &'a str,
    pub subject: &'a str,
    pub at_us: i64,
    /// Asked for again; the payload is the same.
    pub replay: bool,
}

impl Envelope<'_> {
    pub fn id(&self) -> String {
        format!("{}/{}/{}/{}", self.line, self.epoch, self.stream, self.seq)
    }

    /// The user properties in a fixed order; `subject` is left out where there is none, as CloudEvents asks.
    pub fn properties(&self) -> Vec<(&'static str, String)> {
        let mut properties = vec![
            ("specversion", "1.0".to_owned()),
            ("id", self.id()),
            ("source", self.source.to_owned()),
            ("type", self.kind.to_owned()),
            ("time", time_text(self.at_us)),
            ("seq", self.seq.to_string()),
            ("replay", self.replay.to_string()),
        ];
        if !self.subject.is_empty() {
            properties.push(("subject", self.subject.to_owned()));
        }
        properties
    }
}

/// RFC 3339 in UTC with milliseconds.
pub fn time_text(at_us: i64) -> String {
    instant::utc_text(at_us.div_euclid(1000))
}

/// `_status`, retained: the birth when the session stands, and the broker's last will.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Status {
    Online(Birth),
    Offline { line: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Birth {
    pub line: String,
    pub version: String,
    pub config_sha256: String,
    pub epoch: u32,
    /// The highest sequence number committed in each stream; 0 before the first.
    pub last_seq: LastSeq,
    /// Messages committed and not yet acknowledged by the broker.
    pub backlog: u64,
    /// This computer's clock, RFC 3339.
    pub time: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSeq {
    pub fact: u64,
    pub epcis: u64,
    pub batch: u64,
}

/// `_state/batch`, retained.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchNow {
    /// The batch on the line, or none.
    pub batch: Option<BatchLine>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchLine {
    pub batch: String,
    pub gtin: String,
    pub lot: String,
    pub expiry: String,
    pub state: String,
    pub case_capacity: u16,
    pub pallet_capacity: u16,
}

/// `_state/counts`, retained.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountsNow {
    pub batch: Option<String>,
    pub counts: CountsLine,
}

/// `_state/devices`, retained.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevicesNow {
    pub stations: Vec<StationLine>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StationLine {
    pub station: String,
    pub kind: String,
    /// Answers with good tags; what it shows counts.
    pub joined: bool,
    /// Its run permit is withdrawn.
    pub held: bool,
    pub epoch: u32,
    /// The device's latched fault word, 0 for none.
    pub fault: i64,
    /// The machine's PackML state, where it shows one, and what that means: running, waiting, held, idle, stopped or aborted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Its PackML mode: produce, maintenance or manual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Why it is not joined: device, heartbeat, quality or foreign; with quality, which tag cannot be taken and what is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flaw: Option<String>,
}

/// `_state/verdicts`, retained: how long the newest verdicts took from the arrival of their results, at most 10,000 of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictsNow {
    /// What they have; none where the device decides.
    pub deadline_us: Option<u64>,
    /// Until the pass left.
    pub departed: Option<Quantiles>,
    /// Until the machine echoed it.
    pub echoed: Option<Quantiles>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    pub samples: u64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
}

/// `_state/alarms`, retained: those that nobody acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmsNow {
    pub alarms: Vec<AlarmLine>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmLine {
    pub alarm: u32,
    pub kind: String,
    pub station: Option<String>,
    pub detail: String,
    /// Whether the line waits for its acknowledgement.
    pub holds: bool,
    /// The id of the rule behind it, and the rule's class.
    pub rule: String,
    pub class: String,
    /// What a person does about it.
    pub text: String,
}

/// `_batch/closed`: the reconciliation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchClosed {
    pub batch: String,
    pub gtin: String,
    pub lot: String,
    pub expiry: String,
    /// The facts that loaded and closed it.
    pub first_seq: u64,
    pub last_seq: u64,
    pub counts: CountsLine,
    /// SHA-256 of the body of the closing fact, lower-case hex.
    pub digest: String,
}

macro_rules! counts_line {
    ([$($count:ident),+ $(,)?] [$($some:ident),+ $(,)?]) => {
        /// The counts of I10, as the closing fact has them: those by hand where there are any.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct CountsLine {
            $(pub $count: u32,)+
            $(#[serde(default, skip_serializing_if = "is_none")] pub $some: u32,)+
        }

        impl From<Counts> for CountsLine {
            fn from(counts: Counts) -> Self {
                let Counts { $($count,)+ $($some),+ } = counts;
                Self { $($count,)+ $($some),+ }
            }
        }
    };
}

counts_line! {
    [received, unused, burned, printed, commissioned, scrapped, unaccounted, packed, loose, triggers, pass, fail, no_read,
     missed, rejects_commanded, rejects_confirmed, rejects_resolved, bin, phantom, cases_released, pallets_released]
    [label_sampled, sampled, inactive, destroyed]
}

fn is_none(count: &u32) -> bool {
    *count == 0
}

impl BatchLine {
    pub fn new(sheet: &BatchSheet, state: BatchState) -> Self {
        Self {
            batch: sheet.batch.as_str().to_owned(),
            gtin: sheet.gtin.as_str().to_owned(),
            lot: sheet.lot.as_str().to_owned(),
            expiry: sheet.expiry.to_iso_date().as_str().to_owned(),
            state: state.name().to_owned(),
            case_capacity: sheet.pack.case_capacity,
            pallet_capacity: sheet.pack.pallet_capacity,
        }
    }
}

/// The bytes of a payload; its types have no form that JSON lacks.
pub fn payload(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("structs of texts and integers always have a JSON form")
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PrefixError::Empty => write!(f, "the topic prefix is empty")?,
            PrefixError::TooLong { bytes } => write!(f, "the topic prefix has {bytes} bytes")?,
            PrefixError::EmptyLevel => write!(f, "the topic prefix has an empty level")?,
            PrefixError::Character { found } => write!(f, "the topic prefix has {found:?}")?,
            PrefixError::Reserved { level } => write!(f, "the level {level:?} of the topic prefix starts with _")?,
        }
        write!(f, "; write a path like site1/packaging/line4, at most {PREFIX_BYTES_MAX} bytes, without + # and $")
    }
}

impl std::error::Error for PrefixError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_path_and_refuses_what_a_broker_would_misread() {
        let prefix = Prefix::new("site1/packaging/line4").expect("a good prefix");
        assert_eq!(prefix.topic(&fact("verified")), "site1/packaging/line4/_fact/verified");
        assert_eq!(prefix.below("site1/packaging/line4/_cmd/feed/replay"), Some(CMD_FEED_REPLAY));
        assert_eq!(prefix.below("site1/packaging/line40/_status"), None);
        for text in ["", "/a", "a/", "a//b", "a/+/b", "a/#", "$SYS/a", "a\u{0}b", "a/_fact", &"x".repeat(201)] {
            assert!(Prefix::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_a_message_by_line_epoch_stream_and_number() {
        let envelope = Envelope {
            line: "line4",
            epoch: 2,
            stream: STREAM_FACT,
            seq: 17,
            source: "urn:sealgate:line4",
            kind: &fact_type("verified"),
            subject: "",
            at_us: 1_795_342_530_123_999,
            replay: true,
        };
        let properties = envelope.properties();
        let get = |name| properties.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
        assert_eq!(get("id"), Some("line4/2/fact/17"));
        assert_eq!(get("type"), Some("sealgate.fact.verified"));
        assert_eq!(get("time"), Some("2026-11-22T10:15:30.123Z"));
        assert_eq!(get("replay"), Some("true"));
        assert_eq!(get("subject"), None);
    }
}
