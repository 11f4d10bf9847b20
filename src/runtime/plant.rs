//! The way of writes from the line to the device tasks: one bounded channel per device. What finds no room is dropped and
//! said: outputs are levels, and stand again when the device joins anew.

use tokio::sync::mpsc::Sender;

use crate::domain::tag::TagWrite;
use crate::line::Plant;

/// The channels by station; a station whose tags lie on several devices is written to all of them, and each takes its own.
pub(super) struct DeviceWrites {
    pub(super) by_station: Vec<Vec<Sender<TagWrite>>>,
    pub(super) dropped: u64,
}

/// Writes that may wait for one device: all standing outputs of a full lane.
pub(super) const WRITES_MAX: usize = 4096;

impl Plant for DeviceWrites {
    fn write(&mut self, write: TagWrite) {
        let Some((last, others)) = self.by_station.get(usize::from(write.station.0)).and_then(|all| all.split_last())
        else {
            return;
        };
        let mut dropped = others.iter().filter(|sender| sender.try_send(write.clone()).is_err()).count();
        dropped += usize::from(last.try_send(write).is_err());
        if dropped > 0 {
            self.dropped += 1;
            if self.dropped.is_power_of_two() {
                tracing::warn!(dropped = self.dropped, "device_writes_dropped");
            }
        }
    }
}
