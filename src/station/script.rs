//! A device on paper for the tests: tags are set, time passes, and what the station said and wrote is looked at.

use crate::domain::tag::{Quality, Reading, StationId, StationKind, Tag, TagValue, TagWrite};
use crate::domain::text::Name;
use crate::domain::time::Now;
use crate::engine::input::Observed;
use crate::engine::output::{Permit, Restraint};
use crate::station::{Cursor, Settings, Station};

pub(in crate::station) const STATION: StationId = StationId(3);

pub(in crate::station) struct Script {
    pub station: Station,
    pub now: Now,
    beat: i64,
}

pub(in crate::station) fn settings(kind: StationKind) -> Settings {
    Settings::new(STATION, Name::new("s").expect("it fits"), kind)
}

pub(in crate::station) fn reading(tag: Tag, value: TagValue) -> Reading {
    Reading { tag, value, quality: Quality::Good, source_us: None }
}

pub(in crate::station) fn number(tag: Tag, value: i64) -> Reading {
    reading(tag, TagValue::Int(value))
}

pub(in crate::station) fn text(tag: Tag, bytes: &[u8]) -> Reading {
    reading(tag, TagValue::Bytes(bytes.to_vec()))
}

pub(in crate::station) fn bad(mut reading: Reading) -> Reading {
    reading.quality = Quality::Bad(0x8000_0000);
    reading
}

pub(in crate::station) fn uncertain(mut reading: Reading) -> Reading {
    reading.quality = Quality::Uncertain(0x4000_0000);
    reading
}

/// The tag for which the station was lost, where that is all that was said.
pub(in crate::station) fn doubted(out: &[Observed]) -> Option<Tag> {
    match out {
        [Observed::Lost { cause }] => cause.flaw().map(|flaw| flaw.tag),
        _ => None,
    }
}

/// The values of one write.
pub(in crate::station) fn values(write: &TagWrite) -> Vec<(Tag, TagValue)> {
    write.values.clone()
}

impl Script {
    pub(in crate::station) fn new(settings: Settings, cursor: Cursor) -> Self {
        let mut script = Self { station: Station::new(settings, cursor), now: Now::default(), beat: 0 };
        script.station.connected(script.now);
        script
    }

    pub(in crate::station) fn pass_ms(&mut self, ms: u64) {
        self.now.mono_us += ms * 1000;
    }

    /// One read in which the heartbeat moved.
    pub(in crate::station) fn show(&mut self, readings: &[Reading]) -> (Vec<Observed>, Vec<TagWrite>) {
        self.beat += 1;
        let mut all = vec![number(Tag::Heartbeat, self.beat)];
        all.extend_from_slice(readings);
        self.read(&all)
    }

    /// One read, exactly so.
    pub(in crate::station) fn read(&mut self, readings: &[Reading]) -> (Vec<Observed>, Vec<TagWrite>) {
        let (mut out, mut writes) = (Vec::new(), Vec::new());
        self.station.observe(self.now, readings, &mut out, &mut writes);
        (out, writes)
    }

    /// What one read made the station say.
    pub(in crate::station) fn said(&mut self, readings: &[Reading]) -> Vec<Observed> {
        self.show(readings).0
    }

    /// Two reads: the first shows a heartbeat, the second that it moves. What was said, `Joined` left out.
    pub(in crate::station) fn join(&mut self, epoch: i64, readings: &[Reading]) -> Vec<Observed> {
        let mut all = vec![number(Tag::Epoch, epoch)];
        all.extend_from_slice(readings);
        assert_eq!(self.show(&all).0, [], "a heartbeat that was not seen to move joins nobody");
        let mut out = self.said(&all);
        assert!(matches!(out.first(), Some(Observed::Joined { .. })), "not joined: {out:?}");
        out.remove(0);
        out
    }

    pub(in crate::station) fn tick(&mut self) -> Vec<Observed> {
        let mut out = Vec::new();
        self.station.tick(self.now, &mut out);
        out
    }

    pub(in crate::station) fn reconnect(&mut self) -> Vec<Observed> {
        let mut out = Vec::new();
        self.station.disconnected(self.now, &mut out);
        self.station.connected(self.now);
        out
    }

    pub(in crate::station) fn permit(&mut self, permit: Permit) -> Vec<TagWrite> {
        let mut writes = Vec::new();
        self.station.permit(&permit, &mut writes);
        writes
    }

    pub(in crate::station) fn restrain(&mut self, restraint: Restraint) -> Vec<TagWrite> {
        let mut writes = Vec::new();
        self.station.restrain(&restraint, &mut writes);
        writes
    }

    pub(in crate::station) fn beat(&mut self, beat: u32) -> Vec<TagWrite> {
        let mut writes = Vec::new();
        self.station.heartbeat(beat, &mut writes);
        writes
    }
}
