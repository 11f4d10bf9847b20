//! What the units behind one address share: one connection, and the knowledge who is silent.
//!
//! A gateway takes few connections, and serves them one after the other. So its units ask over one connection, in turn, each
//! question under its own time limit. A unit that gives no answer in time, or whose gateway says that it gives none, has its
//! circuit opened: it is asked again over a connection of its own, at the waiting times of a reconnect, until it has answered
//! everything once. So a dead unit costs the others one time limit, once. Where the gateway takes one connection only
//! (`connections = 1`), each of these rare questions goes over the shared one.
//!
//! A connection that a time limit ended is made anew in silence for the others: their devices did nothing. One that was lost, or
//! gave a wrong answer, ends the sessions of all, since nobody knows what else is wrong.

use std::sync::{Arc, PoisonError, atomic::Ordering};

use tokio::time::{Duration, timeout};

use super::frame::{self, Answer, Question};
use crate::device::{error::DeviceError, settings::ModbusLink, trunk::Trunk, wire::Wire};

/// One session's way to its unit.
pub(super) struct Circuit {
    trunk: Arc<Trunk>,
    link: ModbusLink,
    limit: Duration,
    losses: u32,
    /// While the circuit is open: a connection of its own.
    probe: Option<Wire>,
}

impl Circuit {
    pub(super) async fn open(link: &ModbusLink, limit: Duration) -> Self {
        let trunk = Arc::clone(&link.shared.0);
        let others = trunk.users.fetch_add(1, Ordering::AcqRel);
        let losses = trunk.losses.load(Ordering::Acquire);
        let mut circuit = Self { trunk, link: link.clone(), limit, losses, probe: None };
        if others > 0 && link.connections > 1 && circuit.is_silent() {
            circuit.probe = circuit.dial().await.ok();
        }
        circuit
    }

    /// The unit has answered everything: from now on over the shared connection.
    pub(super) fn close(&mut self) {
        self.trunk.silent.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.link.unit);
        if self.probe.take().is_some() {
            self.losses = self.trunk.losses.load(Ordering::Acquire);
        }
    }

    /// The unit gives no answer.
    pub(super) fn suspect(&self) {
        self.trunk.silent.lock().unwrap_or_else(PoisonError::into_inner).insert(self.link.unit);
    }

    pub(super) async fn ask(&mut self, what: &'static str, question: Question<'_>) -> Result<Answer, DeviceError> {
        if let Some(mut probe) = self.probe.take() {
            let answer = self.exchange(what, &mut probe, question).await?;
            self.probe = Some(probe);
            return Ok(answer);
        }
        let trunk = Arc::clone(&self.trunk);
        let mut place = trunk.wire.lock().await;
        if trunk.losses.load(Ordering::Acquire) != self.losses {
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
        match timeout(self.limit, ask(wire, self.link.unit, question)).await {
            Ok(answer) => answer,
            Err(_) => {
                self.suspect();
                Err(DeviceError::TimedOut(what))
            }
        }
    }

    async fn dial(&self) -> Result<Wire, DeviceError> {
        Wire::connect(&self.link.host, self.link.port, self.limit).await
    }

    fn lose(&self) {
        self.trunk.losses.fetch_add(1, Ordering::AcqRel);
    }

    fn is_silent(&self) -> bool {
        self.trunk.silent.lock().unwrap_or_else(PoisonError::into_inner).contains(&self.link.unit)
    }
}

impl Drop for Circuit {
    fn drop(&mut self) {
        let before = self.trunk.users.fetch_sub(1, Ordering::AcqRel);
        // Nobody is left: the peer is told at once. Where somebody comes this moment, the connection is his.
        if before == 1
            && let Ok(mut place) = self.trunk.wire.try_lock()
        {
            *place = None;
        }
    }
}

/// One question to one unit. Without a time limit of its own.
pub(super) async fn ask(wire: &mut Wire, unit: u8, question: Question<'_>) -> Result<Answer, DeviceError> {
    let answer = |transaction, bytes: &[u8]| {
        frame::answer(question, transaction, unit, bytes).map_err(|error| DeviceError::Protocol(error.to_string()))
    };
    wire.ask(|transaction, bytes| frame::encode(question, transaction, unit, bytes), answer).await
}
