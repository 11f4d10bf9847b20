//! How fast requests may come, all of them together: a bucket of permits, filled again by the clock of who runs it.

use tokio::sync::Semaphore;

/// Each request takes a permit and never gives it back.
#[derive(Debug)]
pub(super) struct Pace {
    permits: Semaphore,
    most: usize,
}

impl Pace {
    pub(super) fn new(most: usize) -> Self {
        Self { permits: Semaphore::new(most), most }
    }

    pub(super) fn take(&self) -> bool {
        self.permits.try_acquire().map(|permit| permit.forget()).is_ok()
    }

    /// Only who fills it adds permits, so that there are never more than the bound.
    pub(super) fn refill(&self, permits: usize) {
        self.permits.add_permits(permits.min(self.most.saturating_sub(self.permits.available_permits())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_bounded_and_the_bucket_never_overflows() {
        let pace = Pace::new(3);
        let took = |pace: &Pace| (0..10).filter(|_| pace.take()).count();
        assert_eq!(took(&pace), 3);
        pace.refill(2);
        assert_eq!(took(&pace), 2);
        (0..10).for_each(|_| pace.refill(2));
        assert_eq!(took(&pace), 3);
    }
}
