//! A station whose tags lie on several devices (reader, labeller, verifying scanner and PLC of one case packer) is there when all of
//! them are, and away when one is.
//!
//! A device tells only what changed, and a station forgets everything when it is away. So what each device told last is kept here,
//! and told again, in the order in which it came, as soon as the last device is back. Without that, one cable pulled and put back would
//! leave the station waiting for values that nobody sends any more.
//!
//! A scan is an event and no level: what a scanner said while another device was away is gone with it, and so is what it said before.

use std::collections::VecDeque;

use crate::domain::tag::{DeviceId, Reading, StationId, TagUpdate};

/// What is told to the line of one station.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Connected,
    Disconnected,
    Update(TagUpdate),
}

/// One station and its devices.
#[derive(Debug)]
pub(super) struct Joint {
    station: StationId,
    parts: Vec<Part>,
    /// What found no room yet; it goes before anything newer.
    pending: VecDeque<Told>,
}

#[derive(Debug)]
struct Part {
    device: DeviceId,
    is_connected: bool,
    /// Whether what it tells are levels, that hold until they change.
    tells_levels: bool,
    last: Vec<Reading>,
}

impl Joint {
    pub(super) fn new(station: StationId, devices: impl Iterator<Item = (DeviceId, bool)>) -> Self {
        let part = |(device, tells_levels)| Part { device, is_connected: false, tells_levels, last: Vec::new() };
        Self { station, parts: devices.map(part).collect(), pending: VecDeque::new() }
    }

    fn is_whole(&self) -> bool {
        self.parts.iter().all(|part| part.is_connected)
    }

    pub(super) fn connected(&mut self, device: DeviceId) {
        // Offered again, where the line had no room.
        let Some(part) = self.part(device).filter(|part| !part.is_connected) else { return };
        part.is_connected = true;
        part.last.clear();
        if !self.is_whole() {
            return;
        }
        self.pending.push_back(Told::Connected);
        // Where no device tells levels, this is the look that a station joins by.
        self.pending.push_back(Told::Update(TagUpdate {
            station: self.station,
            readings: Vec::new(),
            server_us: None,
        }));
        for part in &self.parts {
            if !part.last.is_empty() {
                let update = TagUpdate { station: self.station, readings: part.last.clone(), server_us: None };
                self.pending.push_back(Told::Update(update));
            }
        }
    }

    pub(super) fn disconnected(&mut self, device: DeviceId) {
        let was_whole = self.is_whole();
        // Said again by every attempt that fails in another way: the line hears it once.
        let Some(part) = self.part(device).filter(|part| part.is_connected) else { return };
        part.is_connected = false;
        part.last.clear();
        self.pending.clear();
        if was_whole {
            self.pending.push_back(Told::Disconnected);
        }
    }

    /// Keeps it, and says whether the line is to hear it now.
    pub(super) fn update(&mut self, device: DeviceId, update: &TagUpdate) -> bool {
        let is_whole = self.is_whole();
        let Some(part) = self.part(device).filter(|part| part.tells_levels) else { return is_whole };
        for reading in &update.readings {
            match part.last.iter_mut().find(|last| last.tag == reading.tag) {
                Some(last) => *last = reading.clone(),
                None => part.last.push(reading.clone()),
            }
        }
        is_whole
    }

    /// Tells what waits; false where there was no room.
    pub(super) fn flush(&mut self, mut tell: impl FnMut(Told) -> bool) -> bool {
        while let Some(told) = self.pending.front() {
            if !tell(told.clone()) {
                return false;
            }
            self.pending.pop_front();
        }
        true
    }

    fn part(&mut self, device: DeviceId) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| part.device == device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tag::{Quality, Tag, TagValue};

    const PLC: DeviceId = DeviceId(0);
    const SCANNER: DeviceId = DeviceId(1);

    fn joint() -> Joint {
        Joint::new(StationId(4), [(PLC, true), (SCANNER, false)].into_iter())
    }

    fn update(tag: Tag, value: i64) -> TagUpdate {
        let reading = Reading { tag, value: TagValue::Int(value), quality: Quality::Good, source_us: None };
        TagUpdate { station: StationId(4), readings: vec![reading], server_us: None }
    }

    fn nothing() -> Told {
        Told::Update(TagUpdate { station: StationId(4), readings: Vec::new(), server_us: None })
    }

    fn told(joint: &mut Joint) -> Vec<Told> {
        let mut told = Vec::new();
        assert!(joint.flush(|what| {
            told.push(what);
            true
        }));
        told
    }

    #[test]
    fn a_station_is_there_when_all_of_its_devices_are_and_hears_their_levels_again() {
        let mut joint = joint();
        joint.connected(PLC);
        assert!(!joint.update(PLC, &update(Tag::Seq, 3)), "nobody hears it yet");
        assert_eq!(told(&mut joint), []);
        joint.connected(SCANNER);
        assert_eq!(told(&mut joint), [Told::Connected, nothing(), Told::Update(update(Tag::Seq, 3))]);
        assert!(joint.update(PLC, &update(Tag::Seq, 4)));
        assert!(joint.update(SCANNER, &update(Tag::LabelRead, 1)));
        joint.disconnected(SCANNER);
        joint.disconnected(SCANNER);
        assert_eq!(told(&mut joint), [Told::Disconnected]);
        joint.connected(SCANNER);
        let again = [Told::Connected, nothing(), Told::Update(update(Tag::Seq, 4))];
        assert_eq!(told(&mut joint), again, "a scan is no level");
    }

    #[test]
    fn what_finds_no_room_is_told_later_and_in_order() {
        let mut joint = joint();
        joint.connected(PLC);
        joint.connected(SCANNER);
        assert!(!joint.flush(|_| false));
        joint.disconnected(PLC);
        assert_eq!(told(&mut joint), [Told::Disconnected], "what was never told is void");
    }
}
