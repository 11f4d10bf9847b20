//! What the units behind one address share: one connection, and the knowledge who is silent.
//!
//! A gateway takes few connections, and serves them one after the other. So its units ask over one connection, in turn, each
//! question under its own time limit. A unit that gives no answer in time, or whose gateway says that it gives none, has its
//! circuit opened: it is asked again over a connection of its own, at the waiting times of a reconnect, until it has answered
//! everything once. So a dead unit costs the others one time limit, once. Where the gateway takes one connection only
//! (`connections = 1`), each of these rare questions goes over the common one.
//!
//! A connection that a time limit ended is made anew in silence for the others: their devices did nothing. One that was lost, or
//! gave a wrong answer, ends the sessions of all, since nobody knows what else is wrong.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use tokio::time::{Duration, timeout};

use super::{
    frame::{Answer, Question},
    wire::Wire,
};
use crate::device::{error::DeviceError, settings::ModbusLink};

/// Handed to every link to the same host and port; each clone is the same connection.
#[derive(Clone, Default)]
pub struct Shared(Arc<Common>);

#[derive(Default)]
struct Common {
    /// Taken out for one exchange: an exchange that is given up drops it.
    wire: tokio::sync::Mutex<Option<Wire>>,
    /// Sessions that use it.
    users: AtomicUsize,
    /// Connections that were lost, or could not be made.
    losses: AtomicU32,
    /// Units whose circuit is open. Never held across a wait.
    silent: Mutex<BTreeSet<u8>>,
}

/// One session's way to its unit.
pub(super) struct Circuit {
    common: Arc<Common>,
    link: ModbusLink,
    limit: Duration,
    losses: u32,
    /// While the circuit is open: a connection of its own.
    probe: Option<Wire>,
}

impl Circuit {
    pub(super) async fn open(link: &ModbusLink, limit: Duration) -> Self {
        let common = Arc::clone(&link.shared.0);
        let others = common.users.fetch_add(1, Ordering::AcqRel);
        let losses = common.losses.load(Ordering::Acquire);
        let mut circuit = Self { common, link: link.clone(), limit, losses, probe: None };
        if others > 0 && link.connections > 1 && circuit.is_silent() {
            circuit.probe = circuit.dial().await.ok();
        }
        circuit
    }

    /// The unit has answered everything: from now on over the common connection.
    pub(super) fn close(&mut self) {
        self.common.silent.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.link.unit);
        if self.probe.take().is_some() {
            self.losses = self.common.losses.load(Ordering::Acquire);
        }
    }

    /// The unit gives no answer.
    pub(super) fn suspect(&self) {
        self.common.silent.lock().unwrap_or_else(PoisonError::into_inner).insert(self.link.unit);
    }

    pub(super) async fn ask(&mut self, what: &'static str, question: Question<'_>) -> Result<Answer, DeviceError> {
        if let Some(mut probe) = self.probe.take() {
            let answer = self.exchange(what, &mut probe, question).await?;
            self.probe = Some(probe);
            return Ok(answer);
        }
        let common = Arc::clone(&self.common);
        let mut place = common.wire.lock().await;
        if common.losses.load(Ordering::Acquire) != self.losses {
            return Err(DeviceError::Lost("the connection that the units of this address share".to_owned()));
        }
        let mut wire = match place.take() {
            Some(wire) => wire,
            None => self.dial().await.inspect_err(|_| self.lose())?,
        };
        let answer = match self.exchange(what, &mut wire, question).await {
            Err(DeviceError::TimedOut(what)) => return Err(DeviceError::TimedOut(what)),
            other => other.inspect_err(|_| self.lose())?,
        };
        *place = Some(wire);
        Ok(answer)
    }

    async fn exchange(
        &self,
        what: &'static str,
        wire: &mut Wire,
        question: Question<'_>,
    ) -> Result<Answer, DeviceError> {
        match timeout(self.limit, wire.ask(self.link.unit, question)).await {
            Ok(answer) => answer,
            Err(_) => {
                self.suspect();
                Err(DeviceError::TimedOut(what))
            }
        }
    }

    async fn dial(&self) -> Result<Wire, DeviceError> {
        Wire::connect(&self.link, self.limit).await
    }

    fn lose(&self) {
        self.common.losses.fetch_add(1, Ordering::AcqRel);
    }

    fn is_silent(&self) -> bool {
        self.common.silent.lock().unwrap_or_else(PoisonError::into_inner).contains(&self.link.unit)
    }
}

impl Drop for Circuit {
    fn drop(&mut self) {
        let before = self.common.users.fetch_sub(1, Ordering::AcqRel);
        // Nobody is left: the peer is told at once. Where somebody comes this moment, the connection is his.
        if before == 1
            && let Ok(mut place) = self.common.wire.try_lock()
        {
            *place = None;
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("users", &self.0.users.load(Ordering::Relaxed)).finish_non_exhaustive()
    }
}

impl PartialEq for Shared {
    /// Whether both are the same connection.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
