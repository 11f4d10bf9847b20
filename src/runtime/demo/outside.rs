//! Rough weather outside of the plant: the broker goes away and comes back, the disk takes long.
//!
//! The broker is really stopped and started again on its port, with nothing in its memory. The disk is slow in that the demo
//! holds the write lock of the journal: the daemon's commit takes so much longer, and nothing in the daemon knows why.
//!
//! What others do to the daemon's process (an end, a stop by a signal) is no mishap of the plan; the plant is told of it while it
//! lasts, so that the truth knows which units nobody answered for.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::runtime::demo::DemoError;
use crate::runtime::demo::child::Serving;
use crate::sim::broker::{self, DemoBroker};
use crate::sim::mishap::Mishap;
use crate::sim::physics::Deed;
use crate::sim::world::World;
use crate::store::occupied::Occupied;

const BROKER_AWAY: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(10);

pub(super) struct Outside {
    journal: PathBuf,
    /// `None` where a broker was named, and while it is away.
    broker: RefCell<Option<DemoBroker>>,
    is_busy: Cell<bool>,
}

impl Outside {
    pub(super) fn new(journal: PathBuf, broker: Option<DemoBroker>) -> Self {
        Self { journal, broker: RefCell::new(broker), is_busy: Cell::new(false) }
    }

    /// Nothing is being done to the broker or the disk.
    pub(super) fn is_calm(&self) -> bool {
        !self.is_busy.get()
    }

    /// Does what the plant's plan asks for, for ever.
    pub(super) async fn run(&self, world: &World) -> DemoError {
        loop {
            for mishap in world.take_calls() {
                self.is_busy.set(true);
                world.order(Deed::Began(mishap));
                let done = self.carry_out(mishap).await;
                world.order(Deed::Ended(mishap));
                self.is_busy.set(false);
                if let Err(error) = done {
                    return error;
                }
            }
            sleep(LOOK).await;
        }
    }

    async fn carry_out(&self, mishap: Mishap) -> Result<(), DemoError> {
        match mishap {
            Mishap::BrokerAway => self.take_broker_away().await,
            Mishap::SlowDiskHalf => self.slow_disk(Duration::from_millis(500)).await,
            Mishap::SlowDiskTwo => self.slow_disk(Duration::from_secs(2)).await,
            Mishap::NoRead
            | Mishap::LowGrade
            | Mishap::WrongLot
            | Mishap::WrongExpiry
            | Mishap::ForeignGtin
            | Mishap::Duplicate
            | Mishap::SwappedUnits
            | Mishap::MissedResult
            | Mishap::RepeatedResult
            | Mishap::FrozenValue
            | Mishap::BadQuality
            | Mishap::DoubleTrigger
            | Mishap::UnitRemoved
            | Mishap::UnitPutBack
            | Mishap::MissingReject
            | Mishap::PhantomReject
            | Mishap::RestartNewEpoch
            | Mishap::RestartOldEpoch
            | Mishap::SlowDevice
            | Mishap::LostPermitAck
            | Mishap::GateForced
            | Mishap::LabelSwapped
            | Mishap::ShortCase
            | Mishap::PrinterRestart => Ok(()),
        }
    }

    async fn take_broker_away(&self) -> Result<(), DemoError> {
        let Some(broker) = self.broker.take() else { return Ok(()) };
        let port = broker.port();
        let failed = |error| DemoError::Stuck(format!("the broker cannot be stopped: {error}"));
        spawn_blocking(move || broker.stop()).await.map_err(failed)?;
        sleep(BROKER_AWAY).await;
        let back = spawn_blocking(move || broker::start(port)).await.map_err(failed)??;
        self.broker.replace(Some(back));
        Ok(())
    }

    async fn slow_disk(&self, for_so_long: Duration) -> Result<(), DemoError> {
        let journal = self.journal.clone();
        let failed = |error| DemoError::Stuck(format!("the journal cannot be held: {error}"));
        let taken = spawn_blocking(move || Occupied::take(&journal));
        let occupied = taken.await.map_err(|error| failed(error.to_string()))?;
        let occupied = occupied.map_err(|error| failed(error.to_string()))?;
        sleep(for_so_long).await;
        drop(occupied);
        Ok(())
    }
}

/// Tells the plant while the daemon's process is not there to answer, for ever.
pub(super) async fn watch(serving: Serving, world: &World) -> DemoError {
    let mut was_halted = false;
    loop {
        let is_halted = serving.get().is_none_or(|pid| !is_running(pid));
        if is_halted != was_halted {
            world.order(Deed::Halted(is_halted));
            was_halted = is_halted;
        }
        sleep(LOOK).await;
    }
}

/// By its state as the kernel tells it (proc(5)): neither gone nor ended nor stopped by a signal.
fn is_running(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The name before it may hold anything, brackets too.
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    state.is_some_and(|state| !matches!(state, 'T' | 't' | 'Z' | 'X'))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Instant;

    use super::*;

    fn send(signal: &str, pid: u32) {
        assert!(Command::new("kill").args([signal, &pid.to_string()]).status().expect("kill runs").success());
    }

    fn becomes(pid: u32, running: bool) -> bool {
        let began = Instant::now();
        while is_running(pid) != running && began.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(LOOK);
        }
        is_running(pid) == running
    }

    #[test]
    fn a_process_that_is_stopped_or_ended_is_not_running() {
        let mut child = Command::new("sleep").arg("60").stdout(Stdio::null()).spawn().expect("sleep starts");
        assert!(becomes(child.id(), true));
        send("-STOP", child.id());
        assert!(becomes(child.id(), false));
        send("-CONT", child.id());
        assert!(becomes(child.id(), true));
        send("-KILL", child.id());
        assert!(becomes(child.id(), false));
        child.wait().expect("it has ended");
    }
}
