//! When the next reading is due.

use tokio::time::{Duration, Instant, sleep_until};

/// The beat of a poll: on its grid while readings keep up, and without a pause where one takes longer than the period. Beats that
/// were missed are not made up for.
pub(super) struct Pace {
    period: Duration,
    due: Instant,
}

impl Pace {
    /// The first beat is at once.
    pub(super) fn new(period: Duration) -> Self {
        Self { period: period.max(Duration::from_millis(1)), due: Instant::now() }
    }

    /// Waits for the beat. What cancels it loses none.
    pub(super) async fn beat(&mut self) {
        // A timer that is set for now rings a millisecond later.
        if Instant::now() < self.due {
            sleep_until(self.due).await;
        }
        self.due = after(self.due, self.period, Instant::now());
    }

    /// The next beat is at once.
    pub(super) fn hurry(&mut self) {
        self.due = Instant::now();
    }
}

/// The beat after the one that was due at `due` and came at `now`.
fn after(due: Instant, period: Duration, now: Instant) -> Instant {
    let next = due + period;
    if next > now { next } else { now + period }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_its_grid_and_makes_up_for_nothing() {
        let (due, period) = (Instant::now(), Duration::from_millis(10));
        let late = |by| after(due, period, due + Duration::from_millis(by)).duration_since(due).as_millis();
        assert_eq!(late(0), 10);
        assert_eq!(late(9), 10, "on the grid");
        assert_eq!(late(10), 20);
        assert_eq!(late(35), 45, "one beat stands for all that were missed");
    }

    #[tokio::test]
    async fn a_beat_that_is_due_is_at_once() {
        let mut pace = Pace::new(Duration::from_secs(3600));
        pace.beat().await;
        pace.hurry();
        pace.beat().await;
        assert!(pace.due > Instant::now(), "the next one is an hour away");
    }
}
