//! The balance of the sections between stations: what went in is good, rejected or still on its way. Units stay in their order, so
//! that one which later units have overtaken is no longer there: somebody took it, or it fell. The line is held and the section named.
//!
//! - Camera to rejector: every inspected track leaves the gate by an end. A track that `OVERTAKEN_BY` later tracks have passed
//!   will not leave any more. A machine that watches its own tracks says it first, as a missing end.
//! - Rejector to packer, where the packer takes units as they come (`in_order`): a commissioned unit that lies before the first of
//!   a packed case, and in no case, was left behind. Its serial is named and stays loose, so that the batch does not close over it.
//!
//! The palletizer is not watched: cases are few and stand in sight; those that are missing keep the batch open.

use crate::domain::gs1::SerialNumber;
use crate::domain::pack::{PackLevel, SerialState};
use crate::domain::tag::StationId;
use crate::engine::Engine;
use crate::engine::fact::{Child, Fact, TrackKey};
use crate::engine::input::PassKey;
use crate::engine::output::{Restraint, Step};
use crate::engine::reason::AlarmKind;
use crate::engine::state::{Track, TrackVerdict};

/// Ends of later tracks after which a track is no longer waited for: more than a reject takes to be confirmed.
const OVERTAKEN_BY: u64 = 16;
/// Serials that an alarm names.
const NAMED_MAX: usize = 4;

impl Engine {
    /// Units between camera and gate that later ones have overtaken.
    pub(super) fn balance_gate(&mut self, step: &mut Step, rejector: StationId) {
        let last_ended = self.state.transit.last_ended;
        let is_overtaken = |track: u64| last_ended.saturating_sub(track) >= OVERTAKEN_BY && !self.has_left(track);
        let transit = self.state.transit.tracks.iter().take_while(|(track, _)| **track < last_ended);
        let gone: Vec<(u64, Track)> =
            transit.filter(|(track, _)| is_overtaken(**track)).map(|(track, at)| (*track, *at)).collect();
        for (track, at) in gone {
            self.remove_from_gate(step, rejector, track, &at);
        }
    }

    fn remove_from_gate(&mut self, step: &mut Step, rejector: StationId, track: u64, at: &Track) {
        let Some(spec) = self.spec(rejector) else { return };
        let known = self.known(rejector);
        let key = TrackKey { station: spec.name, epoch: known.epoch, track, inspection: Some(at.inspection) };
        if let TrackVerdict::Pass(serial) = at.verdict {
            self.emit_of(step, at, Fact::PassExpired { track: key, serial });
        }
        step.restraints.push(Restraint::Fail(PassKey { rejector, device_epoch: known.device_epoch, track }));
        self.emit_of(step, at, Fact::UnitRemoved { track: key });
        let serial = at.verdict.serial().map_or_else(|| "unread".to_owned(), |serial| serial.to_string());
        let camera = self.camera().and_then(|id| self.spec(id)).map_or(spec.name, |camera| camera.name);
        let detail = format!("section {camera} to {}: track {track}, {serial}", spec.name);
        self.raise(step, AlarmKind::UnitRemoved, Some(rejector), detail);
    }

    /// Units between gate and packer that this case has overtaken; asked before the case is packed.
    pub(super) fn balance_packer(&mut self, step: &mut Step, packer: StationId, level: PackLevel, children: &[Child]) {
        let Some(spec) = self.spec(packer).filter(|spec| spec.is_in_order && level == PackLevel::Case) else { return };
        let Some(batch) = self.state.current() else { return };
        let places = children.iter().filter_map(|child| match child {
            Child::Unit(serial) => batch.pool.find(serial),
            Child::Container(_) => None,
        });
        let Some(first) = places.min() else { return };
        // Where this run began in the middle of a batch, what lay before its first case is the close's to find.
        let from = match self.live(packer).and_then(|live| live.packed_from) {
            Some(from) => from,
            None if batch.containers.is_empty() => 0,
            None => first,
        };
        let is_left = |place: &u32| {
            batch.pool.unit(*place).is_some_and(|unit| unit.state == SerialState::Commissioned && unit.parent.is_none())
        };
        let left: Vec<SerialNumber> =
            (from..first).filter(is_left).filter_map(|place| batch.pool.serial(place)).collect();
        self.with_live(packer, |live| live.packed_from = Some(from.max(first)));
        if left.is_empty() {
            return;
        }
        let named: Vec<&str> = left.iter().take(NAMED_MAX).map(SerialNumber::as_str).collect();
        let others = left.len().saturating_sub(named.len());
        let others = if others > 0 { format!(" and {others} more") } else { String::new() };
        let gate = self.rejector().and_then(|id| self.spec(id)).map_or(spec.name, |gate| gate.name);
        let detail = format!("section {gate} to {}: {}{others}", spec.name, named.join(" "));
        self.raise(step, AlarmKind::UnitRemoved, Some(packer), detail);
    }
}
