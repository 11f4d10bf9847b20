//! What each kind of fault does to the world. A fault says until when it is at work, with the time that the line needs to be
//! itself again: a unit that met it may be rejected, one that did not may not.

use crate::domain::tag::{StationId, StationKind};
use crate::engine::input::{Ask, Asker, Request};
use crate::line::Arrival;
use crate::sim::closer::CloserMishap;
use crate::sim::mishap::Mishap;
use crate::sim::physics::Deed;
use crate::sim::rejector::BladeMishap;
use crate::sim::swarm::journal::Fate;
use crate::sim::swarm::plan::Fault;
use crate::sim::swarm::violation::Verdict;
use crate::sim::swarm::world::{Due, World};

const SECOND: u64 = 1_000_000;
/// After a fault has ended: stations join again, the operator clears and starts, what was on the belt has left it.
const SETTLE_US: u64 = 6 * SECOND;
const HOUR_US: i64 = 3_600_000_000;

impl World {
    /// The faults that are due.
    pub(super) fn blow(&mut self, now_us: u64) -> Verdict {
        for fault in self.storm.due(now_us, &mut self.random) {
            self.now_us = self.now_us.max(now_us - self.setup.step_us);
            self.note(|| format!("fault {}", fault.name()));
            self.strike(fault)?;
        }
        Ok(())
    }

    pub(super) fn touch(&mut self, for_us: u64) {
        self.model.disturb(self.now_us, self.now_us + for_us + SETTLE_US);
    }

    /// Lets one fault happen now.
    pub(super) fn strike(&mut self, fault: Fault) -> Verdict {
        match fault {
            Fault::CrashForgets => return self.crash(fault, false),
            Fault::CrashKeeps => return self.crash(fault, true),
            Fault::CrashTwice => {
                if self.process.is_some() {
                    self.crash(Fault::CrashForgets, false)?;
                    let again = self.starts_at_us + self.random.below(SECOND);
                    self.schedule(again, Due::Crash(fault));
                }
            }
            Fault::StopAndStart => self.stop_in_order()?,
            Fault::CommitFailsPresent => self.fail_commit(fault, Fate::FailsPresent),
            Fault::CommitFailsAbsent => self.fail_commit(fault, Fate::FailsAbsent),
            Fault::CommitHalfSecond => self.slow_commit(fault, SECOND / 2),
            Fault::CommitTwoSeconds => self.slow_commit(fault, 2 * SECOND),
            Fault::CommitFiveSeconds => self.slow_commit(fault, 5 * SECOND),
            Fault::Pause | Fault::InboxFull => self.stand_still(fault),
            Fault::UpdateLost
            | Fault::UpdateLate
            | Fault::UpdateTwice
            | Fault::UpdateReordered
            | Fault::SessionSilent
            | Fault::BadQuality
            | Fault::UncertainQuality
            | Fault::WriteLost
            | Fault::WriteLate
            | Fault::WriteOverRestart => self.strike_wire(fault),
            Fault::Disconnect => {
                let (station, away) = (self.any_station(), self.random.below(3 * SECOND));
                self.tally.reach(fault);
                self.drop_device(station, 100_000 + away);
            }
            Fault::ResetPrinter
            | Fault::ResetCamera
            | Fault::ResetRejector
            | Fault::ResetPacker
            | Fault::ResetPalletizer
            | Fault::RejectMissing
            | Fault::RejectSlips
            | Fault::RejectPhantom
            | Fault::SealFails
            | Fault::LabelUnread => self.strike_plant(fault),
            Fault::BrokerAway | Fault::FeedAckLost | Fault::FeedAckTwice => self.strike_feed(fault),
            Fault::StopAsked | Fault::CloseAsked | Fault::LoadAsked | Fault::AlarmAsked => self.ask_badly(fault),
            Fault::ClockBack | Fault::ClockForward | Fault::ClockLost => self.step_clock(fault),
        }
        Ok(())
    }

    fn any_station(&mut self) -> StationId {
        StationId(u8::try_from(self.random.below(5)).unwrap_or(0))
    }

    // F02
    fn stop_in_order(&mut self) -> Verdict {
        self.touch(5 * SECOND);
        let Some(process) = self.process.as_mut().filter(|process| !process.is_stopping) else { return Ok(()) };
        process.is_stopping = true;
        self.turn(self.now_us, Arrival::Stop)
    }

    // F16, F18: a commit that comes back with an error may be there.
    fn fail_commit(&mut self, fault: Fault, fate: Fate) {
        if self.process.is_some() {
            self.next_fate = fate;
            self.tally.reach(fault);
            self.touch(10 * SECOND);
        }
    }

    // F28
    fn slow_commit(&mut self, fault: Fault, by_us: u64) {
        self.next_commit_us = by_us;
        self.tally.reach(fault);
        self.touch(by_us + 5 * SECOND);
    }

    // F07, F08: the process stands still, or its inbox does.
    fn stand_still(&mut self, fault: Fault) {
        let now_us = self.now_us;
        let drawn = self.random.below(30 * SECOND);
        let frozen_until_us = self.process.as_ref().map_or(0, |process| process.frozen_until_us);
        if fault == Fault::Pause {
            // A second pause only puts the end off.
            self.freeze_until(frozen_until_us.max(now_us + SECOND + drawn));
        }
        let Some(process) = self.process.as_mut() else { return };
        let until_us = if fault == Fault::Pause {
            process.frozen_until_us
        } else {
            process.full_until_us = now_us + 100_000 + drawn / 15;
            process.full_until_us
        };
        self.tally.reach(fault);
        self.touch(until_us - now_us);
    }

    fn strike_wire(&mut self, fault: Fault) {
        let (now_us, drawn, place) = (self.now_us, self.random.below(SECOND), self.random.below(64));
        let at = usize::from(self.any_station().0);
        let Some(wire) = self.wires.get_mut(at).filter(|wire| wire.is_connected()) else { return };
        let tag = (place % 3 != 0).then_some(place);
        // F49: what changed meanwhile is told as it stands then. F48: the session stands and delivers nothing.
        let blocks = [(Fault::UpdateLost, 30_000 + drawn / 2), (Fault::SessionSilent, SECOND + 3 * drawn)];
        // F44, F45
        let clouds = [(Fault::BadQuality, true), (Fault::UncertainQuality, false)];
        if let Some((_, for_us)) = blocks.into_iter().find(|(kind, _)| *kind == fault) {
            wire.block(now_us + for_us);
            self.tally.reach(fault);
        } else if let Some((_, is_bad)) = clouds.into_iter().find(|(kind, _)| *kind == fault) {
            wire.cloud(tag, is_bad, now_us + 20_000 + 2 * drawn);
            self.tally.reach(fault);
        } else if fault == Fault::UpdateLate {
            wire.delay(now_us + SECOND, 20_000 + drawn);
        } else if fault == Fault::WriteLate {
            wire.delay_writes(now_us + SECOND, 20_000 + drawn);
        }
        if let Some(wire) = self.wires.first_mut().filter(|_| fault == Fault::WriteOverRestart) {
            // It happens to the next record that is written.
            wire.strays_for_us = 50_000 + drawn;
        }
        // F50, F83: an update that comes twice, or behind the next one.
        // F56, F71: a write that never arrives.
        wire_flags(&mut self.wires, at, fault);
        self.touch(5 * SECOND);
    }

    /// The device of a station is away, with all its stations.
    pub(super) fn drop_device(&mut self, station: StationId, away_us: u64) {
        self.touch(away_us);
        let Some(device) = self.setup.devices.iter().find(|device| device.contains(&station)).cloned() else { return };
        for wire in self.wires.iter_mut().filter(|wire| device.contains(&wire.station)) {
            wire.disconnect();
        }
        self.arrive_at(self.now_us, Arrival::Disconnected(device.clone()));
        self.schedule(self.now_us + away_us, Due::Reconnect(device));
    }

    fn strike_plant(&mut self, fault: Fault) {
        let is_pallet = self.random.below(4) == 0;
        let closer = if is_pallet { StationKind::Palletizer } else { StationKind::Packer };
        // F47, F70: restarts. F108: a reject that nobody sees. F109: one that nobody commanded.
        let deeds = [
            (Fault::ResetPrinter, Deed::Reset(StationKind::Printer)),
            (Fault::ResetCamera, Deed::Reset(StationKind::Camera)),
            (Fault::ResetRejector, Deed::Reset(StationKind::Rejector)),
            (Fault::ResetPacker, Deed::Reset(StationKind::Packer)),
            (Fault::ResetPalletizer, Deed::Reset(StationKind::Palletizer)),
            (Fault::RejectMissing, Deed::Blade(BladeMishap::Vanishes)),
            (Fault::RejectSlips, Deed::Blade(BladeMishap::Slips)),
            (Fault::RejectPhantom, Deed::Blade(BladeMishap::StrayInBin)),
            (Fault::SealFails, Deed::Closer(closer, CloserMishap::SealFails)),
            (Fault::LabelUnread, Deed::Closer(closer, CloserMishap::LabelUnreadable)),
        ];
        let Some((_, deed)) = deeds.into_iter().find(|(kind, _)| *kind == fault) else { return };
        self.plant.order(deed);
        self.tally.reach(fault);
        self.touch(8 * SECOND);
    }

    fn strike_feed(&mut self, fault: Fault) {
        if fault == Fault::BrokerAway {
            // F114
            let away = 5 * SECOND + self.random.below(60 * SECOND);
            self.upstream.leave(self.now_us + away);
            self.tally.reach(fault);
        }
        // F117
        self.upstream.loses_next_ack |= fault == Fault::FeedAckLost;
        self.upstream.repeats_next_ack |= fault == Fault::FeedAckTwice;
    }

    /// The plant's plan asks for something outside of it.
    pub(super) fn begin_outside(&mut self, mishap: Mishap) {
        let lasts = [(Mishap::BrokerAway, 10 * SECOND), (Mishap::SlowDiskHalf, SECOND / 2)];
        let lasts_us = lasts.into_iter().find(|(kind, _)| *kind == mishap).map_or(2 * SECOND, |(_, us)| us);
        if mishap == Mishap::BrokerAway {
            self.upstream.leave(self.now_us + lasts_us);
        } else {
            self.next_commit_us = lasts_us;
            self.touch(lasts_us);
        }
        self.plant.order(Deed::Began(mishap));
        self.schedule(self.now_us + lasts_us, Due::Over(mishap));
    }

    fn ask_badly(&mut self, fault: Fault) {
        let batch = self.setup.order.sheet.batch;
        let alarm = u32::try_from(self.random.below(1_000)).unwrap_or(0) + 500;
        let requests = [
            (Fault::StopAsked, Request::StopBatch(batch)),
            (Fault::CloseAsked, Request::CloseBatch(batch)),
            (Fault::LoadAsked, Request::LoadBatch(std::sync::Arc::clone(&self.setup.order))),
            (Fault::AlarmAsked, Request::AcknowledgeAlarm(alarm)),
        ];
        let Some((_, request)) = requests.into_iter().find(|(kind, _)| *kind == fault) else { return };
        if fault == Fault::StopAsked {
            self.touch(5 * SECOND);
        }
        self.tally.reach(fault);
        let actor = super::setup::name("upstream");
        self.arrive_at(self.now_us, Arrival::Asked(Ask { id: u64::MAX, asker: Asker::Door(actor), request }));
    }

    // F35, F36, F38: order is by number and waits are by the other clock.
    fn step_clock(&mut self, fault: Fault) {
        let steps = [
            (Fault::ClockBack, self.clock_offset_us - HOUR_US),
            (Fault::ClockForward, self.clock_offset_us + 24 * HOUR_US),
        ];
        let lost = i64::MIN / 4;
        self.clock_offset_us = steps.into_iter().find(|(kind, _)| *kind == fault).map_or(lost, |(_, offset)| offset);
        self.tally.reach(fault);
    }

    /// Every fault ends.
    pub(super) fn heal(&mut self) {
        self.storm.end();
        self.crowd.calm_down();
        self.plant.clear_up();
        self.next_fate = Fate::Taken;
        self.next_commit_us = 0;
        self.wires.iter_mut().for_each(super::wiring::Wire::heal);
        self.upstream.heal();
        self.clock_offset_us = 0;
        let now_us = self.now_us;
        let frozen_until_us = self.process.as_ref().map_or(0, |process| process.frozen_until_us);
        self.freeze_until(frozen_until_us.min(now_us));
        if let Some(process) = &mut self.process {
            process.full_until_us = 0;
        }
        self.drop_crashes();
        self.disk.hasten(now_us + self.setup.commit_us);
        self.note(|| "healed".into());
    }
}

/// What happens to one update or write of a station, once.
fn wire_flags(wires: &mut [super::wiring::Wire], at: usize, fault: Fault) {
    if let Some(wire) = wires.get_mut(at) {
        wire.is_repeating |= fault == Fault::UpdateTwice;
        wire.is_swapping |= fault == Fault::UpdateReordered;
        wire.loses_next_write |= fault == Fault::WriteLost;
    }
}
