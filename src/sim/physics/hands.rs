//! What hands do at the machines: take children out, restart a controller and clear away what it has forgotten.

use super::{Deed, Plant, Scene, StationKind, Tags, TruthEvent, text_of};

impl Plant {
    pub(super) fn take_out(&mut self, kind: StationKind, code: Vec<u8>) {
        let link = self.link(kind).clone();
        let mut truth = std::mem::take(&mut self.truth);
        let mut scene = Scene { now_us: self.now_us, link: &link, truth: &mut truth };
        let taken = self.closer(kind).take_out(&code, &mut scene);
        self.truth = truth;
        match taken {
            Some(_) => self.filling -= self.units_in(kind),
            // Its request is open: again at the next step.
            None if self.closer(kind).holds(&code) => {
                self.deeds.push_back(Deed::TakeOut(kind, code));
            }
            None => {}
        }
    }

    /// Units in one item of the station.
    pub(super) fn units_in(&self, kind: StationKind) -> i64 {
        match kind {
            StationKind::Palletizer => i64::try_from(self.settings.case_capacity).unwrap_or(0),
            StationKind::Packer | StationKind::Printer | StationKind::Camera | StationKind::Rejector => 1,
        }
    }

    pub(super) fn reset(&mut self, kind: StationKind, tags: &mut Tags) {
        self.touch_by_restart(kind);
        let old = self.epoch(kind);
        if let Some(link) = self.links.get_mut(kind as usize) {
            link.reset(tags);
            link.step(self.now_us, tags);
        }
        self.lose_memory(kind, old);
        self.truth.note(TruthEvent::Reset { station: kind.name().into(), epoch: self.epoch(kind) });
    }

    /// What a station's controller knew is gone.
    pub(super) fn lose_memory(&mut self, kind: StationKind, old: u32) {
        match kind {
            StationKind::Printer => self.printer.reset(old, &mut self.truth),
            StationKind::Camera => self.camera.reset(&self.settings),
            StationKind::Rejector => {
                let removed = self.rejector.reset(&self.settings);
                for unit in removed {
                    self.note_removed(kind, old, unit.number, &unit.printed);
                    self.owe_fate(unit.fate);
                    self.filling -= i64::from(unit.is_conforming);
                    self.counters.rejected += 1;
                }
            }
            StationKind::Packer | StationKind::Palletizer => {
                for item in self.closer(kind).reset() {
                    self.note_removed(kind, old, item.number, &item.code);
                    self.filling -= self.units_in(kind);
                }
            }
        }
    }

    pub(super) fn note_removed(&mut self, kind: StationKind, epoch: u32, unit: u64, code: &[u8]) {
        self.truth.note(TruthEvent::TakenOut {
            station: kind.name().into(),
            epoch,
            container: 0,
            unit,
            code: text_of(code),
        });
    }
}
