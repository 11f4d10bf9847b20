//! Rough weather outside of the plant: the broker goes away and comes back, the disk takes long.
//!
//! The broker is really stopped and started again on its port, with nothing in its memory. The disk is slow in that the demo
//! holds the write lock of the journal: the daemon's commit takes so much longer, and nothing in the daemon knows why.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::runtime::demo::DemoError;
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
