//! A station's side of the link: its own heartbeat and epoch, and its judgement of ours.
//!
//! Silence is judged by change alone: a heartbeat that is written but stands still is as dead as one that is not written.

use super::tags::Tags;
use crate::domain::tag::{StationKind, Tag, TagValue};

/// The station's own heartbeat moves so often; the contract asks for a change every 100 ms at the latest.
const BEAT_US: u64 = 50_000;

/// Counters of 16 bits run 1 to 65535, then 1 again.
const BEAT_LAST: u64 = 65_535;

#[derive(Clone, Debug)]
pub struct Link {
    kind: StationKind,
    epoch: u32,
    timeout_us: u64,
    own_beat: u64,
    own_beat_at_us: Option<u64>,
    seen_beat: i64,
    seen_at_us: Option<u64>,
}

impl Link {
    pub fn new(kind: StationKind, epoch: u32, timeout_ms: u64) -> Self {
        Self {
            kind,
            epoch,
            timeout_us: timeout_ms.saturating_mul(1000),
            own_beat: 0,
            own_beat_at_us: None,
            seen_beat: 0,
            seen_at_us: None,
        }
    }

    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// A restart that forgets everything but the epoch.
    pub fn forget(&mut self, tags: &mut Tags) {
        *self = Link::new(self.kind, self.epoch, self.timeout_us / 1000);
        tags.clear(self.kind);
    }

    /// A new epoch: every tag zero, then the epoch; the caller's step makes both visible together.
    pub fn reset(&mut self, tags: &mut Tags) {
        let epoch = self.epoch.checked_add(1).unwrap_or(1);
        *self = Link::new(self.kind, epoch, self.timeout_us / 1000);
        tags.clear(self.kind);
    }

    /// Notes the other side's heartbeat and shows this side's.
    pub fn step(&mut self, now_us: u64, tags: &mut Tags) {
        let beat = tags.int(self.kind, Tag::HeartbeatOut);
        if beat != self.seen_beat {
            self.seen_beat = beat;
            self.seen_at_us = Some(now_us);
        }
        if self.own_beat_at_us.is_none_or(|at| now_us.saturating_sub(at) >= BEAT_US) {
            self.own_beat = self.own_beat % BEAT_LAST + 1;
            self.own_beat_at_us = Some(now_us);
        }
        tags.set_int(self.kind, Tag::Heartbeat, self.own_beat);
        tags.set_int(self.kind, Tag::Epoch, u64::from(self.epoch));
        if tags.bytes(self.kind, Tag::Identity).is_empty() {
            let identity = format!("sim {} 1", self.kind.name());
            tags.set(self.kind, Tag::Identity, TagValue::Bytes(identity.into_bytes()));
        }
    }

    /// Whether the written heartbeat is fresh.
    pub fn is_fresh(&self, now_us: u64) -> bool {
        self.seen_at_us.is_some_and(|at| now_us.saturating_sub(at) <= self.timeout_us)
    }

    /// Whether what is written speaks to this epoch.
    pub fn is_addressed(&self, tags: &Tags) -> bool {
        tags.int(self.kind, Tag::EpochOut) == i64::from(self.epoch)
    }

    /// Whether a permit, a pass or a run permit may be obeyed.
    pub fn obeys(&self, now_us: u64, tags: &Tags) -> bool {
        self.is_fresh(now_us) && self.is_addressed(tags)
    }
}
