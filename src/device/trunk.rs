//! What the links to one address share; the way of a question over it is `modbus::circuit`.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use super::wire::Wire;

/// Handed to every link to the same host and port; each clone is the same connection.
#[derive(Clone, Default)]
pub struct Shared(pub(super) Arc<Trunk>);

#[derive(Default)]
pub(super) struct Trunk {
    /// Taken out for one exchange: an exchange that is given up drops it.
    pub(super) wire: tokio::sync::Mutex<Option<Wire>>,
    /// Sessions that use it.
    pub(super) users: AtomicUsize,
    /// Connections that were lost, or could not be made.
    pub(super) losses: AtomicU32,
    /// Units whose circuit is open. Never held across a wait.
    pub(super) silent: Mutex<BTreeSet<u8>>,
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
