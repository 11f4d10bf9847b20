//! Supervision that every station shares: is the device there, does its heartbeat move, which epoch does it live in.
//!
//! Silence is judged by the device's own heartbeat and on our own clock, since a session that says connected may deliver
//! nothing. A heartbeat counts once it was seen to change: a value that stands still since the connection proves no life.
//! An epoch of 0 is a device that is not ready. A device without an epoch gets one from us, raised at every reconnection; a printer's
//! only where its counters or its heartbeat say that it started again, since what it holds goes on printing whoever is connected.

use crate::domain::tag::{StationKind, Tag, TagWrite};
use crate::domain::time::Now;
use crate::engine::input::LostCause;
use crate::station::image::{Doubt, Image};
use crate::station::{Cursor, Settings, counter, int};

#[derive(Clone, Debug)]
pub struct Link {
    timeout_us: u64,
    has_heartbeat: bool,
    has_epoch: bool,
    /// A reconnection alone is no new epoch: the device's counters are held against what we know of them.
    is_counted: bool,
    /// The highest value that our own heartbeat shows.
    beat_wrap: u64,
    is_connected: bool,
    /// Stands in for the epoch of a device that has none.
    own_epoch: u32,
    /// The epoch joined last, before a restart too; 0 where there was none.
    known_epoch: u32,
    joined: Option<u32>,
    beat: Option<i64>,
    /// The device's heartbeat at the end of the session before.
    beat_before: Option<i64>,
    beat_at_us: Option<u64>,
    /// What our heartbeat showed when it was written last, and when it was read back last.
    written: Option<i64>,
    read_back: Option<i64>,
    /// The one of ours that was read back last in this session, else the first that was written in it: what is on its way lies
    /// between this and the newest, however long it takes.
    own_from: Option<i64>,
    /// When it was seen to move to what we never wrote (F12).
    foreign_at_us: Option<u64>,
    is_foreign_told: bool,
}

/// 16 bits: what every machine's heartbeat register holds.
const BEAT_WRAP: u64 = 65_535;
/// Our own newest heartbeats: ten seconds of them may still be on their way, in any order.
const OWN_BEATS: i64 = 200;
/// After so long without a strange heartbeat the device is ours again.
const FOREIGN_US: u64 = 3_000_000;

impl Link {
    pub fn new(settings: &Settings, cursor: &Cursor) -> Self {
        Self {
            timeout_us: u64::from(settings.heartbeat_timeout_ms).saturating_mul(1000),
            has_heartbeat: !settings.is_absent(Tag::Heartbeat),
            has_epoch: !settings.is_absent(Tag::Epoch),
            is_counted: settings.kind == StationKind::Printer,
            beat_wrap: settings.wrap(Tag::HeartbeatOut).unwrap_or(BEAT_WRAP),
            is_connected: false,
            own_epoch: cursor.device_epoch,
            known_epoch: cursor.device_epoch,
            joined: None,
            beat: None,
            beat_before: None,
            beat_at_us: None,
            written: None,
            read_back: None,
            own_from: None,
            foreign_at_us: None,
            is_foreign_told: false,
        }
    }

    pub fn connect(&mut self) {
        self.is_connected = true;
        self.beat_before = self.beat.take().or(self.beat_before);
        self.beat_at_us = None;
        self.read_back = None;
        self.own_from = None;
        if !self.is_counted || self.is_first_contact() {
            self.restart_own_epoch();
        }
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

    /// Whether a strange heartbeat has to be told of a station that is not joined: once, until it has gone.
    pub fn tells_foreign(&mut self, cause: LostCause) -> bool {
        cause == LostCause::Foreign && !std::mem::replace(&mut self.is_foreign_told, true)
    }

    /// Notes whether somebody else moves our heartbeat. What stands there at first is left from before, and 0 is a reset.
    fn note_own(&mut self, now: Now, image: &Image) {
        let Some(shown) = image.int(Tag::HeartbeatOut) else { return };
        let moved = self.read_back.replace(shown).is_some_and(|before| before != shown);
        if shown != 0 && self.is_own(shown) {
            self.own_from = Some(shown);
        } else if moved && shown != 0 {
            self.foreign_at_us = Some(now.mono_us);
        }
        if !self.is_foreign(now) {
            self.is_foreign_told = false;
        }
    }

    /// Whether it may be one that we wrote: one of the newest, or one since the last that was read back. A read that is late accuses nobody.
    fn is_own(&self, shown: i64) -> bool {
        let Some(written) = self.written else { return false };
        let wrap = i64::try_from(self.beat_wrap).unwrap_or(i64::MAX);
        let behind = |beat: i64| written.wrapping_sub(beat).rem_euclid(wrap);
        behind(shown) < OWN_BEATS || self.own_from.is_some_and(|from| behind(shown) <= behind(from))
    }

    fn is_foreign(&self, now: Now) -> bool {
        self.foreign_at_us.is_some_and(|at_us| now.mono_us.saturating_sub(at_us) <= FOREIGN_US)
    }

    /// Notes whether the device's heartbeat moved.
    pub fn note(&mut self, now: Now, image: &Image) {
        self.note_own(now, image);
        let Some(beat) = image.int(Tag::Heartbeat) else {
            return;
        };
        if self.beat.is_some_and(|before| before != beat) {
            self.beat_at_us = Some(now.mono_us);
        }
        // One that alternates falls by one. Where a wrap is taken for a restart, records are burned that were good.
        if self.beat_before.take().is_some_and(|before| beat < before.saturating_sub(1)) {
            self.restart_own_epoch();
        }
        self.beat = Some(beat);
    }

    /// The epoch that the station lives in, or why nothing it shows counts.
    pub fn assess(&self, now: Now, image: &Image) -> Result<u32, LostCause> {
        if !self.is_connected {
            return Err(LostCause::Device);
        }
        if self.is_foreign(now) {
            return Err(LostCause::Foreign);
        }
        if self.has_heartbeat {
            image.needed(Tag::Heartbeat)?;
            self.check_beat(now)?;
        }
        if image.has(Tag::Fault) {
            image.needed(Tag::Fault)?;
        }
        if !self.has_epoch {
            return Ok(self.own_epoch);
        }
        let epoch = image.needed(Tag::Epoch)?;
        u32::try_from(epoch).map_err(|_| Doubt::not_good(Tag::Epoch, "is no epoch").into())
    }

    fn check_beat(&self, now: Now) -> Result<(), LostCause> {
        match self.beat_at_us {
            Some(at_us) if now.mono_us.saturating_sub(at_us) <= self.timeout_us => Ok(()),
            Some(_) | None => Err(LostCause::Heartbeat),
        }
    }

    /// Our own sign of life. The heartbeat is written to whoever is connected, the epoch only where it is known to be answered.
    pub fn beat(&mut self, settings: &Settings, beat: u32, writes: &mut Vec<TagWrite>) {
        if !self.is_connected {
            return;
        }
        let mut values = Vec::new();
        if let Some(epoch) = self.joined.filter(|_| self.has_epoch) {
            values.push((Tag::EpochOut, int(epoch)));
        }
        let shown = counter::shown(Some(self.beat_wrap), u64::from(beat).saturating_add(1));
        self.written = i64::try_from(shown).ok();
        self.own_from = self.own_from.or(self.written);
        values.push((Tag::HeartbeatOut, int(shown)));
        writes.push(TagWrite { station: settings.id, values });
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::tag::{StationKind, Tag, TagValue};
    use crate::engine::input::{LostCause, Observed};
    use crate::engine::output::{Permit, Restraint};
    use crate::station::Cursor;
    use crate::station::script::{STATION, Script, bad, doubted, number, settings, uncertain, values};

    const KIND: StationKind = StationKind::Printer;

    fn printer() -> Vec<crate::domain::tag::Reading> {
        vec![number(Tag::PrintedSeq, 0), number(Tag::AcceptedSeq, 0)]
    }

    fn lost(cause: LostCause) -> Vec<Observed> {
        vec![Observed::Lost { cause }]
    }

    #[test]
    fn joins_when_the_heartbeat_moved_and_echoes_the_epoch_first() {
        let mut script = Script::new(settings(KIND), Cursor::default());
        let epoch = number(Tag::Epoch, 7);
        assert_eq!(script.show(&[epoch.clone(), number(Tag::PrintedSeq, 0), number(Tag::AcceptedSeq, 0)]).0, []);
        let (out, writes) = script.show(&[epoch]);
        assert_eq!(
            out,
            [Observed::Joined { device_epoch: 7, reset: true }, Observed::PrinterCounted { accepted: 0, printed: 0 }]
        );
        // A record of before that stands there still is none when the device begins to obey.
        let first = vec![(Tag::DataSeq, TagValue::Int(0)), (Tag::EpochOut, TagValue::Int(7))];
        assert_eq!(writes.first().map(values), Some(first));
    }

    #[test]
    fn the_same_epoch_after_a_restart_or_a_reconnection_is_no_reset() {
        let mut script = Script::new(settings(KIND), Cursor { device_epoch: 7, ..Cursor::default() });
        let first = |script: &mut Script| {
            let all = [vec![number(Tag::Epoch, 7)], printer()].concat();
            script.show(&all);
            script.said(&all).first().cloned()
        };
        assert_eq!(first(&mut script), Some(Observed::Joined { device_epoch: 7, reset: false }));
        assert_eq!(script.reconnect(), lost(LostCause::Device));
        assert_eq!(first(&mut script), Some(Observed::Joined { device_epoch: 7, reset: false }));
    }

    #[test]
    fn a_new_epoch_is_a_reset_without_a_loss() {
        let mut script = Script::new(settings(KIND), Cursor::default());
        script.join(7, &printer());
        let out = script.said(&[number(Tag::Epoch, 8)]);
        assert_eq!(out.first(), Some(&Observed::Joined { device_epoch: 8, reset: true }));
        assert_eq!(script.station.joined(), Some(8));
    }

    #[test]
    fn epoch_zero_is_not_ready() {
        let mut script = Script::new(settings(KIND), Cursor::default());
        script.join(7, &printer());
        assert_eq!(doubted(&script.said(&[number(Tag::Epoch, 0)])), Some(Tag::Epoch));
        assert_eq!(script.said(&[number(Tag::Epoch, -1)]), []);
        assert_eq!(
            script.said(&[number(Tag::Epoch, 9)]).first(),
            Some(&Observed::Joined { device_epoch: 9, reset: true })
        );
    }

    #[test]
    fn a_heartbeat_that_stands_still_loses_the_station_once_and_joins_it_when_it_moves() {
        let mut script = Script::new(settings(KIND), Cursor::default());
        script.join(7, &printer());
        script.pass_ms(1000);
        assert_eq!(script.tick(), []);
        script.pass_ms(1);
        assert_eq!(script.tick(), lost(LostCause::Heartbeat));
        assert_eq!(script.tick(), []);
        assert_eq!(script.read(&printer()).0, []);
        let out = script.said(&[]);
        assert_eq!(out.first(), Some(&Observed::Joined { device_epoch: 7, reset: false }));
    }

    #[test]
    fn values_that_are_not_good_lose_the_station() {
        for reading in [
            bad(number(Tag::Epoch, 7)),
            uncertain(number(Tag::Epoch, 7)),
            bad(number(Tag::Heartbeat, 99)),
            bad(number(Tag::PrintedSeq, 0)),
            bad(number(Tag::Fault, 0)),
        ] {
            let mut script = Script::new(settings(KIND), Cursor::default());
            script.join(7, &printer());
            let out = script.read(std::slice::from_ref(&reading)).0;
            assert_eq!(doubted(&out), Some(reading.tag), "{reading:?}");
        }
    }

    #[test]
    fn a_device_without_an_epoch_starts_one_of_ours_at_every_reconnection() {
        let mut bare = settings(StationKind::Rejector);
        bare.absent = vec![Tag::Epoch, Tag::EpochOut, Tag::Heartbeat];
        let mut script = Script::new(bare, Cursor { device_epoch: 4, ..Cursor::default() });
        let shows = [number(Tag::InCount, 0), number(Tag::EndSeq, 0)];
        let first = script.read(&shows).0.first().cloned();
        assert_eq!(first, Some(Observed::Joined { device_epoch: 5, reset: true }));
        script.reconnect();
        let (out, writes) = script.read(&shows);
        assert_eq!(out.first(), Some(&Observed::Joined { device_epoch: 6, reset: true }));
        assert_eq!(writes, []);
    }

    #[test]
    fn a_counter_that_falls_is_a_doubt_until_the_epoch_changes_or_it_recovers() {
        let mut script = Script::new(settings(KIND), Cursor::default());
        script.join(7, &[number(Tag::PrintedSeq, 5), number(Tag::AcceptedSeq, 5)]);
        assert_eq!(doubted(&script.said(&[number(Tag::PrintedSeq, 4)])), Some(Tag::PrintedSeq));
        assert_eq!(script.said(&[number(Tag::PrintedSeq, 4)]), []);
        assert_eq!(
            script.said(&[number(Tag::PrintedSeq, 6), number(Tag::AcceptedSeq, 6)]),
            [Observed::Joined { device_epoch: 7, reset: false }, Observed::PrinterCounted { accepted: 6, printed: 6 }]
        );
        assert_eq!(
            script.said(&[number(Tag::Epoch, 8), number(Tag::PrintedSeq, 0), number(Tag::AcceptedSeq, 0)]),
            [Observed::Joined { device_epoch: 8, reset: true }, Observed::PrinterCounted { accepted: 0, printed: 0 }]
        );
    }

    // F12, F72
    #[test]
    fn somebody_else_who_moves_our_heartbeat_loses_the_station_until_he_is_gone() {
        let mut script = Script::new(settings(KIND), Cursor::default());
        // What an earlier run left there is nobody's.
        script.read(&[number(Tag::HeartbeatOut, 40_000)]);
        script.join(7, &printer());
        script.beat(99);
        assert_eq!(script.said(&[number(Tag::HeartbeatOut, 100)]), []);
        script.beat(149);
        assert_eq!(script.said(&[number(Tag::HeartbeatOut, 120)]), [], "one of ours, on its way for a while");
        assert_eq!(script.said(&[number(Tag::HeartbeatOut, 0)]), [], "a reset");
        assert_eq!(script.said(&[number(Tag::HeartbeatOut, 5_000)]), lost(LostCause::Foreign));
        assert_eq!(script.said(&[number(Tag::HeartbeatOut, 5_001)]), []);
        script.pass_ms(3001);
        assert_eq!(script.said(&[]).first(), Some(&Observed::Joined { device_epoch: 7, reset: false }));
    }

    #[test]
    fn a_heartbeat_of_ours_that_is_read_back_however_late_accuses_nobody_and_one_that_goes_back_does() {
        let mut script = Script::new(settings(KIND), Cursor::default());
        script.read(&[number(Tag::HeartbeatOut, 40_000)]);
        script.beat(99);
        script.join(7, &printer());
        script.beat(4_999);
        assert_eq!(script.said(&[number(Tag::HeartbeatOut, 100)]), [], "the first of this session");
        assert_eq!(script.said(&[number(Tag::HeartbeatOut, 2_000)]), [], "two and a half minutes late");
        assert_eq!(script.said(&[number(Tag::HeartbeatOut, 4_990)]), []);
        assert_eq!(
            script.said(&[number(Tag::HeartbeatOut, 4_800)]),
            lost(LostCause::Foreign),
            "behind what was read back"
        );
    }

    // F12, F72
    #[test]
    fn a_device_that_another_controls_is_never_joined_and_that_is_said_once() {
        let mut script = Script::new(settings(KIND), Cursor::default());
        let all = [vec![number(Tag::Epoch, 7)], printer()].concat();
        script.show(&[all.clone(), vec![number(Tag::HeartbeatOut, 700)]].concat());
        assert_eq!(script.said(&[number(Tag::HeartbeatOut, 701)]), lost(LostCause::Foreign));
        assert_eq!(script.said(&[number(Tag::HeartbeatOut, 702)]), []);
        assert_eq!(script.station.joined(), None);
    }

    #[test]
    fn our_heartbeat_changes_every_time_and_fits_sixteen_bits() {
        let mut script = Script::new(settings(KIND), Cursor::default());
        let beat = |value| vec![(Tag::HeartbeatOut, TagValue::Int(value))];
        assert_eq!(script.beat(0).iter().map(values).collect::<Vec<_>>(), [beat(1)]);
        script.join(7, &printer());
        let joined = |value| vec![(Tag::EpochOut, TagValue::Int(7)), (Tag::HeartbeatOut, TagValue::Int(value))];
        assert_eq!(script.beat(65_534).iter().map(values).collect::<Vec<_>>(), [joined(65_535)]);
        assert_eq!(script.beat(65_535).iter().map(values).collect::<Vec<_>>(), [joined(1)]);
        script.station.disconnected(script.now, &mut Vec::new());
        assert_eq!(script.beat(65_536), []);
    }

    #[test]
    fn the_fault_word_is_told_after_every_join_and_on_change() {
        let mut script = Script::new(settings(KIND), Cursor::default());
        let out = script.join(7, &[printer(), vec![number(Tag::Fault, 0)]].concat());
        assert!(out.contains(&Observed::Faulted { code: 0 }));
        assert_eq!(script.said(&[number(Tag::Fault, 2)]), [Observed::Faulted { code: 2 }]);
        assert_eq!(script.said(&[number(Tag::Fault, 2)]), []);
        assert_eq!(script.said(&[number(Tag::Fault, 0)]), [Observed::Faulted { code: 0 }]);
    }

    #[test]
    fn nothing_is_written_to_a_device_that_is_away_or_in_another_epoch() {
        let print = |device_epoch| Permit::Print { station: STATION, device_epoch, seq: 1, data: b"x".to_vec() };
        let mut script = Script::new(settings(KIND), Cursor::default());
        assert_eq!(script.permit(print(7)), []);
        script.join(7, &printer());
        assert_eq!(script.permit(print(6)), []);
        assert_eq!(script.permit(print(7)).len(), 1);
        let mut gate = Script::new(settings(StationKind::Rejector), Cursor::default());
        let hold = Restraint::Hold { station: STATION };
        assert_eq!(gate.restrain(hold.clone()).len(), 1, "the safe direction needs no joined station");
        assert_eq!(gate.permit(Permit::Run { station: STATION }), []);
        gate.station.disconnected(gate.now, &mut Vec::new());
        assert_eq!(gate.restrain(hold), []);
    }

    #[test]
    fn readings_that_outlive_their_session_are_left() {
        let mut script = Script::new(settings(KIND), Cursor::default());
        script.join(7, &printer());
        script.station.disconnected(script.now, &mut Vec::new());
        assert_eq!(script.said(&printer()), []);
        assert_eq!(script.said(&printer()), []);
    }
}
