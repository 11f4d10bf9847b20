//! Who decides. With `decide = "line"` our pass cancels the default reject. With `decide = "device"` the camera compares every code
//! with what we wrote ahead and drives its own reject; we record, verify each result afterwards, stop on missed ones and block at
//! the case. What the gate did and what we found must agree: where they do not, the line is held.
//!
//! What is written ahead is what all units of the batch share: GTIN, expiry and lot. The serial is ours to verify: a serial that is
//! wrong passes the device's gate as an unexpected pass, is an alarm, and its unit goes into no case. An empty value stands where
//! no batch runs, and with it the device rejects everything.

use crate::domain::element::ElementString;
use crate::domain::tag::StationId;
use crate::engine::input::BatchSheet;
use crate::engine::output::{Permit, Restraint, Step};
use crate::engine::reason::{AlarmKind, BatchState};
use crate::engine::{Engine, Role};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decide {
    #[default]
    Line,
    Device,
}

impl Engine {
    /// The camera of the lane.
    pub(super) fn camera(&self) -> Option<StationId> {
        self.ids().find(|id| matches!(self.spec(*id).map(|spec| spec.role), Some(Role::Camera { .. })))
    }

    /// Whether the device drives the blade by itself.
    pub(super) fn is_device_deciding(&self) -> bool {
        let role = self.camera().and_then(|id| self.spec(id)).map(|spec| spec.role);
        matches!(role, Some(Role::Camera { decide: Decide::Device, .. }))
    }

    /// What the camera is to compare with now; `None` where it must let nothing through.
    pub(super) fn expected(&self) -> Option<Vec<u8>> {
        let batch = self.state.current().filter(|batch| batch.state != BatchState::Stopped)?;
        expected_data(&batch.sheet)
    }

    /// Says it to a camera that decides: at its join, and when a batch starts or stops.
    pub(super) fn say_expected(&self, step: &mut Step) {
        let Some(station) = self.camera().filter(|_| self.is_device_deciding()) else { return };
        let device_epoch = self.known(station).device_epoch;
        match self.expected() {
            Some(data) => step.permits.push(Permit::Expect { station, device_epoch, data }),
            None => step.restraints.push(Restraint::ExpectNothing { station }),
        }
    }

    /// The gate of a deciding device did other than we found.
    pub(super) fn disagree(&mut self, step: &mut Step, track: u64, did: &str) {
        if self.is_device_deciding() {
            let camera = self.camera();
            self.raise(step, AlarmKind::DeviceDisagrees, camera, format!("track {track}: {did}"));
        }
    }
}

/// GTIN, expiry, lot: what the print template holds beside the serial. Proven when the order was loaded.
fn expected_data(sheet: &BatchSheet) -> Option<Vec<u8>> {
    let expiry = sheet.expiry.to_yymmdd();
    ElementString::build(&[("01", sheet.gtin.as_str()), ("17", expiry.as_str()), ("10", sheet.lot.as_str())]).ok()
}
