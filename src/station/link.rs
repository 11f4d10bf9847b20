//! Supervision that every station shares: is the device there, does its heartbeat move, which epoch does it live in.
//!
//! Silence is judged by the device's own heartbeat and on our own clock, since a session that says connected may deliver
//! nothing. A heartbeat counts once it was seen to change: a value that stands still since the connection proves no life.
//! An epoch of 0 is a device that is not ready. A device without an epoch gets one from us, raised at every reconnection.

use crate::domain::tag::{Tag, TagWrite};
use crate::domain::time::Now;
use crate::engine::input::LostCause;
use crate::station::image::Image;
use crate::station::{Cursor, Settings, counter, int};

#[derive(Clone, Debug)]
pub struct Link {
    timeout_us: u64,
    has_heartbeat: bool,
    has_epoch: bool,
    /// The highest value that our own heartbeat shows.
    beat_wrap: u64,
    is_connected: bool,
    /// Stands in for the epoch of a device that has none.
    own_epoch: u32,
    /// The epoch joined last, before a restart too; 0 where there was none.
    known_epoch: u32,
    joined: Option<u32>,
    beat: Option<i64>,
    beat_at_us: Option<u64>,
}

/// 16 bits: what every machine's heartbeat register holds.
const BEAT_WRAP: u64 = 65_535;

impl Link {
    pub fn new(settings: &Settings, cursor: &Cursor) -> Self {
        Self {
            timeout_us: u64::from(settings.heartbeat_timeout_ms).saturating_mul(1000),
            has_heartbeat: !settings.is_absent(Tag::Heartbeat),
            has_epoch: !settings.is_absent(Tag::Epoch),
            beat_wrap: settings.wrap(Tag::HeartbeatOut).unwrap_or(BEAT_WRAP),
            is_connected: false,
            own_epoch: cursor.device_epoch,
            known_epoch: cursor.device_epoch,
            joined: None,
            beat: None,
            beat_at_us: None,
        }
    }

    pub fn connect(&mut self) {
        self.is_connected = true;
        self.beat = None;
        self.beat_at_us = None;
        self.restart_own_epoch();
    }

    pub fn disconnect(&mut self) {
        self.is_connected = false;
    }

    pub fn is_connected(&self) -> bool {
        self.is_connected
    }

    pub fn has_epoch(&self) -> bool {
        self.has_epoch
    }

    /// The epoch in which the station is joined.
    pub fn joined(&self) -> Option<u32> {
        self.joined
    }

    /// Nothing was ever known of this station.
    pub fn is_first_contact(&self) -> bool {
        self.known_epoch == 0
    }

    /// Whether the counters and outputs of `epoch` are not those that we know.
    pub fn is_reset(&self, epoch: u32) -> bool {
        self.known_epoch != epoch
    }

    pub fn join(&mut self, epoch: u32) {
        self.known_epoch = epoch;
        self.joined = Some(epoch);
    }

    /// Whether the station was joined until now.
    pub fn lose(&mut self) -> bool {
        self.joined.take().is_some()
    }

    /// Without an epoch of its own, a device that was away or whose counters fell starts a new one.
    pub fn restart_own_epoch(&mut self) {
        if !self.has_epoch {
            self.own_epoch = self.known_epoch.checked_add(1).unwrap_or(1);
        }
    }

    /// Notes whether the device's heartbeat moved.
    pub fn note(&mut self, now: Now, image: &Image) {
        let Some(beat) = image.int(Tag::Heartbeat) else {
            return;
        };
        if self.beat.is_some_and(|before| before != beat) {
            self.beat_at_us = Some(now.mono_us);
        }
        self.beat = Some(beat);
    }

    /// The epoch that the station lives in, or why nothing it shows counts.
    pub fn assess(&self, now: Now, image: &Image) -> Result<u32, LostCause> {
        if !self.is_connected {
            return Err(LostCause::Device);
        }
        if self.has_heartbeat {
            image.int(Tag::Heartbeat).ok_or(LostCause::Quality)?;
            self.check_beat(now)?;
        }
        if image.has(Tag::Fault) {
            image.int(Tag::Fault).ok_or(LostCause::Quality)?;
        }
        if !self.has_epoch {
            return Ok(self.own_epoch);
        }
        let epoch = image.number(Tag::Epoch).ok_or(LostCause::Quality)?;
        u32::try_from(epoch).ok().filter(|epoch| *epoch != 0).ok_or(LostCause::Quality)
    }

    fn check_beat(&self, now: Now) -> Result<(), LostCause> {
        match self.beat_at_us {
            Some(at_us) if now.mono_us.saturating_sub(at_us) <= self.timeout_us => Ok(()),
            Some(_) | None => Err(LostCause::Heartbeat),
        }
    }

    /// Our own sign of life. The heartbeat is written to whoever is connected, the epoch only where it is known to be answered.
    pub fn beat(&self, settings: &Settings, beat: u32, writes: &mut Vec<TagWrite>) {
        if !self.is_connected {
            return;
        }
        let mut values = Vec::new();
        if let Some(epoch) = self.joined.filter(|_| self.has_epoch) {
            values.push((Tag::EpochOut, int(epoch)));
        }
        let shown = counter::shown(Some(self.beat_wrap), u64::from(beat).saturating_add(1));
        values.push((Tag::HeartbeatOut, int(shown)));
        writes.push(TagWrite { station: settings.id, values });
    }
}
