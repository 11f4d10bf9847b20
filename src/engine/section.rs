//! The balance of the sections between stations: what went in is good, rejected or still on its way. Units stay in their order, so
//! that one which later units have overtaken is no longer there: somebody took it, or it fell. The line is held and the section named.
//!
//! - Camera to rejector: every inspected track leaves the gate by an end. A track that `OVERTAKEN_BY` later tracks have passed
//!   will not leave any more. A machine that watches its own tracks says it first, as a missing end.
//! - Rejector to packer, where the packer takes units as they come (`in_order`): a commissioned unit that lies before the first of
//!   a packed case, and in no case, was left behind. Its serial is named and stays loose, so that the batch does not close over it.
//! - Packer to palletizer, where the palletizer takes cases as they come (`in_order`): likewise a released case, by its SSCC.
//!
//! What is overtaken by nothing, since it was the last, keeps the batch open.

use crate::domain::pack::{ContainerState, PackLevel, SerialState};
use crate::domain::tag::StationId;
use crate::engine::fact::{Child, Fact, TrackKey};
use crate::engine::input::PassKey;
use crate::engine::output::{Restraint, Step};
use crate::engine::reason::AlarmKind;
use crate::engine::state::{Batch, Track, TrackVerdict, place};
use crate::engine::{Engine, Role};

/// Ends of later tracks after which a track is no longer waited for: more than a reject takes to be confirmed.
const OVERTAKEN_BY: u64 = 16;
/// Serials or SSCCs that an alarm names.
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

    pub(super) fn remove_from_gate(&mut self, step: &mut Step, rejector: StationId, track: u64, at: &Track) {
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

    /// What lies before a machine that takes its children in order, and that this container has overtaken; asked before it is packed.
    pub(super) fn balance_packer(&mut self, step: &mut Step, packer: StationId, level: PackLevel, children: &[Child]) {
        let Some(spec) = self.spec(packer).filter(|spec| spec.is_in_order) else { return };
        let Some(batch) = self.state.current() else { return };
        let id = batch.id();
        let Some(first) = children.iter().filter_map(|child| batch.place_of(child)).min() else { return };
        // Where this run began in the middle of a batch, what lay before its first container is the close's to find.
        let from = match self.live(packer).and_then(|live| live.packed_from).filter(|(of, _)| *of == id) {
            Some((_, from)) => from,
            None if batch.containers.iter().all(|container| container.level != level) => 0,
            None => first,
        };
        let left: Vec<String> = (from..first).filter_map(|place| batch.left_at(level, place)).collect();
        self.with_live(packer, |live| live.packed_from = Some((id, from.max(first))));
        if left.is_empty() {
            return;
        }
        let named = left.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(" ");
        let others = left.len().saturating_sub(NAMED_MAX);
        let others = if others > 0 { format!(" and {others} more") } else { String::new() };
        let before = self.ids().filter_map(|id| self.spec(id)).find(|before| match level {
            PackLevel::Pallet => matches!(before.role, Role::Packer { level: PackLevel::Case, .. }),
            PackLevel::Unit | PackLevel::Bundle | PackLevel::Case => matches!(before.role, Role::Rejector),
        });
        let before = before.map_or(spec.name, |before| before.name);
        let detail = format!("section {before} to {}: {named}{others}", spec.name);
        self.raise(step, AlarmKind::UnitRemoved, Some(packer), detail);
    }
}

impl Batch {
    /// Where a child stands in the order of its kind: of printing, of packing.
    fn place_of(&self, child: &Child) -> Option<u32> {
        match child {
            Child::Unit(serial) => self.pool.find(serial),
            Child::Container(sscc) => self.by_sscc.get(sscc).copied(),
        }
    }

    /// What stands there, where it should be in a container of this level, and is in none.
    fn left_at(&self, level: PackLevel, at: u32) -> Option<String> {
        if level == PackLevel::Pallet {
            let case = self.containers.get(place(at)).filter(|case| case.level == PackLevel::Case)?;
            let is_left = case.state == ContainerState::Released && case.parent.is_none();
            return is_left.then(|| case.sscc.to_string());
        }
        let unit = self.pool.unit(at)?;
        let is_left = unit.state == SerialState::Commissioned && unit.parent.is_none();
        self.pool.serial(at).filter(|_| is_left).map(|serial| serial.to_string())
    }
}
