//! The way between the plant's tags and the line, as a device task keeps it: what was told last, what is news, with which
//! quality; and how that way fails. A tag that changes while the way is blocked is told later, as the value it has then.

use crate::domain::tag::{Access, Quality, Reading, StationId, StationKind, Tag, TagUpdate, TagValue};
use crate::sim::tags::{StationValue, Tags};

/// OPC UA: bad, and uncertain with the last usable value.
const BAD: Quality = Quality::Bad(0x8000_0000);
const UNCERTAIN: Quality = Quality::Uncertain(0x4090_0000);

/// The tags of a station that are not good just now; `None` for all of them.
#[derive(Clone, Copy, Debug)]
struct Clouded {
    tag: Option<Tag>,
    quality: Quality,
    until_us: u64,
}

/// One station's way.
#[derive(Clone, Debug)]
pub struct Wire {
    pub station: StationId,
    kind: StationKind,
    tags: Vec<Tag>,
    is_connected: bool,
    /// The version of the table that the line was told; 0 where everything is to be told.
    told: u64,
    proofs: (i64, i64),
    blocked_until_us: u64,
    late_until_us: u64,
    late_by_us: u64,
    /// The newest arrival on its way: nothing overtakes it.
    last_due_us: u64,
    clouded: Option<Clouded>,
    pub is_repeating: bool,
    /// The next update is kept back and told after the one that follows.
    pub is_swapping: bool,
    kept: Option<TagUpdate>,
    /// Raised with every session: what was on its way in an earlier one is gone.
    session: u32,
    /// Writes are held up until then, each by so long.
    writes_late_until_us: u64,
    writes_late_by_us: u64,
    last_write_us: u64,
    pub loses_next_write: bool,
    /// The next record is on its way for so long, and the printer restarts meanwhile; 0 where nothing strays.
    pub strays_for_us: u64,
}

impl Wire {
    pub fn new(kind: StationKind, tags: &Tags) -> Self {
        let read = Tag::ALL.iter().copied().filter(|tag| tag.access() == Access::Read);
        Self {
            station: StationId(kind as u8),
            kind,
            tags: read.filter(|tag| tags.shape(kind, *tag).is_some()).collect(),
            is_connected: false,
            told: 0,
            proofs: (-1, -1),
            blocked_until_us: 0,
            late_until_us: 0,
            late_by_us: 0,
            last_due_us: 0,
            clouded: None,
            is_repeating: false,
            is_swapping: false,
            kept: None,
            session: 0,
            writes_late_until_us: 0,
            writes_late_by_us: 0,
            last_write_us: 0,
            loses_next_write: false,
            strays_for_us: 0,
        }
    }

    pub fn kind(&self) -> StationKind {
        self.kind
    }

    pub fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// A session stands: everything is read anew.
    pub fn connect(&mut self) {
        self.is_connected = true;
        self.session += 1;
        self.last_write_us = 0;
        self.told = 0;
        self.proofs = (-1, -1);
        self.kept = None;
    }

    pub fn disconnect(&mut self) {
        self.is_connected = false;
        self.session += 1;
        self.kept = None;
    }

    pub fn block(&mut self, until_us: u64) {
        self.blocked_until_us = self.blocked_until_us.max(until_us);
    }

    pub fn delay(&mut self, until_us: u64, by_us: u64) {
        self.late_until_us = until_us;
        self.late_by_us = by_us;
    }

    pub fn session(&self) -> u32 {
        self.session
    }

    pub fn delay_writes(&mut self, until_us: u64, by_us: u64) {
        self.writes_late_until_us = until_us;
        self.writes_late_by_us = by_us;
    }

    /// When a write that leaves now arrives, where it does not at once. None overtakes another.
    pub fn write_due_us(&mut self, now_us: u64) -> Option<u64> {
        let late = if now_us < self.writes_late_until_us { self.writes_late_by_us } else { 0 };
        self.last_write_us = self.last_write_us.max(now_us + late);
        (self.last_write_us > now_us).then_some(self.last_write_us)
    }

    /// Whether the printer restarts under this write; then all that follows comes behind it.
    pub fn strays(&mut self, now_us: u64, values: &[StationValue]) -> bool {
        let is_record = values.iter().any(|(_, tag, value)| *tag == Tag::DataSeq && *value != TagValue::Int(0));
        let for_us = if is_record { std::mem::take(&mut self.strays_for_us) } else { 0 };
        self.last_write_us = self.last_write_us.max(if for_us > 0 { now_us + for_us } else { 0 });
        for_us > 0
    }

    /// One tag, drawn by its place, or all of them are not good until then.
    pub fn cloud(&mut self, place: Option<u64>, is_bad: bool, until_us: u64) {
        let tag = place.and_then(|place| {
            let at = usize::try_from(place).unwrap_or(0).checked_rem(self.tags.len())?;
            self.tags.get(at).copied()
        });
        self.clouded = Some(Clouded { tag, quality: if is_bad { BAD } else { UNCERTAIN }, until_us });
        self.told = 0;
    }

    /// Everything works again.
    pub fn heal(&mut self) {
        self.blocked_until_us = 0;
        self.late_until_us = 0;
        if self.clouded.take().is_some() {
            self.told = 0;
        }
        self.is_repeating = false;
        self.is_swapping = false;
        self.writes_late_until_us = 0;
        self.loses_next_write = false;
        self.strays_for_us = 0;
    }

    /// What the line is to be told now, and when it arrives.
    pub fn read(&mut self, now_us: u64, tags: &Tags) -> Option<(u64, TagUpdate)> {
        if !self.is_connected || now_us < self.blocked_until_us {
            return None;
        }
        if self.clouded.is_some_and(|clouded| now_us >= clouded.until_us) {
            self.clouded = None;
            self.told = 0;
        }
        if self.told == tags.version() {
            return None;
        }
        let proofs = (tags.int(self.kind, Tag::Epoch), tags.int(self.kind, Tag::guard(self.kind)));
        // What belongs to a number is read together with it.
        let since = if proofs == self.proofs { self.told } else { 0 };
        let readings = self.readings(since, tags);
        self.told = tags.version();
        self.proofs = proofs;
        if readings.is_empty() {
            return None;
        }
        let late = if now_us < self.late_until_us { self.late_by_us } else { 0 };
        self.last_due_us = self.last_due_us.max(now_us + late);
        Some((self.last_due_us, TagUpdate { station: self.station, readings, server_us: None }))
    }

    fn readings(&self, since: u64, tags: &Tags) -> Vec<Reading> {
        let is_news = |tag: &&Tag| since == 0 || tags.changed_at(self.kind, **tag) > since;
        let news = self.tags.iter().filter(is_news);
        news.filter_map(|tag| {
            let value = tags.value(self.kind, *tag)?.clone();
            Some(Reading { tag: *tag, value, quality: self.quality(*tag, tags), source_us: None })
        })
        .collect()
    }

    fn quality(&self, tag: Tag, tags: &Tags) -> Quality {
        match self.clouded {
            Some(clouded) if clouded.tag.is_none_or(|only| only == tag) => clouded.quality,
            Some(_) | None => tags.quality(self.kind, tag),
        }
    }

    /// Keeps an update back for the one that follows, once; gives both back in the wrong order then.
    pub fn swap(&mut self, update: TagUpdate) -> Vec<TagUpdate> {
        match self.kept.take() {
            Some(older) => {
                self.is_swapping = false;
                vec![update, older]
            }
            None if self.is_swapping => {
                self.kept = Some(update);
                Vec::new()
            }
            None => vec![update],
        }
    }
}
