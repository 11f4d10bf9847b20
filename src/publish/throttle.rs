//! How fast a lane may send: some messages in each twentieth of a second, and nothing before an instant.
//!
//! A broker that comes back after three days is not to be drowned by all lines at once: each drains at its own rate and
//! begins at its own moment. In normal production no line comes near its rate.

use std::time::Duration;

use tokio::time::Instant;

const SLICE: Duration = Duration::from_millis(50);
const SLICES_PER_S: u32 = 20;

#[derive(Debug)]
pub(super) struct Throttle {
    /// `None` where nothing limits it.
    per_slice: Option<u32>,
    left: u32,
    refill_at: Instant,
    not_before: Option<Instant>,
}

impl Throttle {
    /// `per_s` messages in a second; 0 is no limit.
    pub(super) fn new(per_s: u32) -> Self {
        let per_slice = (per_s > 0).then(|| per_s.div_ceil(SLICES_PER_S));
        Self { per_slice, left: 0, refill_at: Instant::now(), not_before: None }
    }

    pub(super) fn hold_until(&mut self, instant: Instant) {
        self.not_before = Some(instant);
    }

    /// Whether one more may go now.
    pub(super) fn may_send(&mut self, now: Instant) -> bool {
        if self.not_before.is_some_and(|instant| now < instant) {
            return false;
        }
        self.not_before = None;
        let Some(per_slice) = self.per_slice else { return true };
        if now >= self.refill_at {
            (self.left, self.refill_at) = (per_slice, now + SLICE);
        }
        self.left > 0
    }

    pub(super) fn sent(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// When it must be asked again; `None` where nothing is held back.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        let is_empty = self.per_slice.is_some() && self.left == 0;
        self.not_before.or(is_empty.then_some(self.refill_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_its_share_of_each_slice_and_nothing_before_its_instant() {
        let began = Instant::now();
        let mut throttle = Throttle::new(100);
        let later = began + Duration::from_secs(1);
        throttle.hold_until(later);
        assert!(!throttle.may_send(began));
        let mut sent = 0;
        while throttle.may_send(later) {
            throttle.sent();
            sent += 1;
        }
        assert_eq!((sent, throttle.wakes_at()), (5, Some(later + SLICE)));
        assert!(throttle.may_send(later + SLICE));
        let mut free = Throttle::new(0);
        assert!((0..100_000).all(|_| free.may_send(began)) && free.wakes_at().is_none());
    }
}
