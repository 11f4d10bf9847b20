//! What leaves the line in the unsafe direction is justified by a fact that is durable now (promise I1). Judged at the tags,
//! as the machine would see it, and from the durable facts alone.

use crate::domain::gs1::SerialNumber;
use crate::domain::tag::{StationKind, Tag, TagValue, TagWrite};
use crate::sim::codes;
use crate::sim::rejector::TRACK_LAST;
use crate::sim::swarm::setup::name;
use crate::sim::swarm::violation::{Verdict, claim};
use crate::sim::swarm::world::World;

const PERMIT: i64 = 3;

impl World {
    // I01: durable before permit.
    pub(super) fn may_leave(&self, write: &TagWrite) -> Verdict {
        let Some(kind) = StationKind::ALL.get(usize::from(write.station.0)) else { return Ok(()) };
        for (tag, value) in &write.values {
            match (tag, value) {
                (Tag::VerdictWord, TagValue::Int(word)) if word % 2 == 1 => self.may_pass(word / 2)?,
                (Tag::RunPermit, TagValue::Bool(true)) => self.may_run()?,
                (Tag::Data, TagValue::Bytes(data)) => self.may_print(data)?,
                (Tag::Reply, TagValue::Int(PERMIT)) => self.may_close(*kind, write)?,
                (Tag::Ack, TagValue::Int(ack)) => self.may_acknowledge(*kind, *ack)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn may_pass(&self, track: i64) -> Verdict {
        let stands = self.ledger.passes.keys().any(|known| shown(*known) == track);
        claim(stands, "I01", || format!("track {track} is let pass, and no durable fact verified a unit on it"))
    }

    fn may_run(&self) -> Verdict {
        let alarms = self.process.as_ref().map_or(0, |process| process.line.engine().state().alarms_that_hold());
        let may = self.ledger.is_running && alarms == 0;
        // I15, I24: no work without a batch, nor over an alarm.
        claim(may, "I24", || format!("the line may run; batch running: {}, alarms: {alarms}", self.ledger.is_running))
    }

    fn may_print(&self, data: &[u8]) -> Verdict {
        let serial =
            codes::element(data, b"21").and_then(|value| SerialNumber::new(std::str::from_utf8(&value).ok()?).ok());
        let known = serial.and_then(|serial| self.ledger.serials.get(&serial));
        let may = known.is_some_and(|known| !known.is_invalid && !known.is_scrapped);
        claim(may, "I01", || format!("{serial:?} is printed, and no durable fact handed it over"))
    }

    fn may_close(&self, kind: StationKind, write: &TagWrite) -> Verdict {
        let int = |wanted: Tag| write.values.iter().find(|(tag, _)| *tag == wanted).map(|(_, value)| value.clone());
        let token = match int(Tag::Token) {
            Some(TagValue::Int(token)) => u32::try_from(token).unwrap_or(0),
            _ => 0,
        };
        let granted = self.ledger.tokens.get(&token);
        let may = granted.is_some_and(|granted| {
            let seq = i64::try_from(granted.request.seq).map(TagValue::Int).ok();
            let label = format!("00{}", granted.container).into_bytes();
            granted.is_open
                && granted.request.station.as_str() == kind.name()
                && int(Tag::ReplySeq) == seq
                && int(Tag::Label) == Some(TagValue::Bytes(label))
        });
        claim(may, "I01", || format!("{} gets token {token}, and no durable fact granted it: {granted:?}", kind.name()))
    }

    fn may_acknowledge(&self, kind: StationKind, ack: i64) -> Verdict {
        let ack = u64::try_from(ack).unwrap_or(u64::MAX);
        let station = name(kind.name());
        let may = match kind {
            StationKind::Camera => {
                let wrap = self.setup.plant.seq_last;
                let decided = self.ledger.decided(&station).unwrap_or(0);
                let shown = if decided == 0 { 0 } else { (decided - 1) % wrap + 1 };
                // The newest decided number, or one before it, by less than half a lap.
                ack <= wrap && (shown + wrap - ack) % wrap < wrap / 2 && decided > 0
            }
            StationKind::Printer | StationKind::Rejector | StationKind::Packer | StationKind::Palletizer => {
                self.ledger.is_answered(&station, ack)
            }
        };
        claim(may, "I01", || format!("{ack} of {} is acknowledged, and no durable fact decides it", kind.name()))
    }
}

/// A track as the machine shows it.
fn shown(track: u64) -> i64 {
    i64::try_from(track.saturating_sub(1) % TRACK_LAST + 1).unwrap_or(0)
}
