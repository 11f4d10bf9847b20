//! A permit on its way out. There is no other way to make one than with the `Durable` that covers its facts (I1).

use crate::domain::tag::StationId;
use crate::engine::output::Permit;
use crate::store::Durable;

#[derive(Debug)]
pub(super) struct Cleared(Permit);

impl Cleared {
    /// `needs` is the newest fact that justifies the permit; `None` where it is not on disk.
    pub(super) fn new(permit: Permit, needs: u64, durable: &Durable) -> Option<Self> {
        (needs <= durable.through()).then_some(Self(permit))
    }

    /// The same for the neighbour: a fault of our own.
    #[cfg(feature = "canary")]
    pub(super) fn for_the_next_track(mut self) -> Self {
        if let Permit::Pass { key, .. } = &mut self.0 {
            key.track = key.track.saturating_add(1);
        }
        self
    }

    pub(super) fn permit(&self) -> &Permit {
        &self.0
    }

    pub(super) fn station(&self) -> StationId {
        match &self.0 {
            Permit::Pass { key, .. } => key.rejector,
            Permit::Run { station }
            | Permit::AckResult { station, .. }
            | Permit::Print { station, .. }
            | Permit::Expect { station, .. }
            | Permit::Flush { station, .. }
            | Permit::AckRequest { station, .. }
            | Permit::Settle { station, .. } => *station,
            Permit::Close(close) => close.station,
        }
    }
}
