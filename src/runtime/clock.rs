//! The only place that reads the clocks. Everything else is told the time, so that simulated time can drive it.

#![expect(clippy::disallowed_methods, reason = "the one home of clock reads")]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::domain::time::Now;

/// Both clocks of this process; copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

/// Readings of both clocks that lie no further apart belong together.
const TOGETHER_US: u64 = 5_000;
/// A machine that is never left alone for so long has other worries.
const READS_MAX: u32 = 20;

impl Clock {
    /// Starts the monotonic clock of this process at 0.
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// One reading of both clocks. A wall clock before 1970 reads as 0: such a machine has lost its time, and says so by that.
    pub fn now(&self) -> Now {
        let mut now = self.read();
        for _ in 0..READS_MAX {
            let again = self.read();
            // A process that was held up between the two readings would see a step where there is none.
            if again.mono_us.saturating_sub(now.mono_us) <= TOGETHER_US {
                return again;
            }
            now = again;
        }
        now
    }

    fn read(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            wall_us: i64::try_from(wall.as_micros()).unwrap_or(i64::MAX),
            mono_us: u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_agree_and_the_monotonic_clock_never_falls() {
        let clock = Clock::start();
        let copy = clock;
        let (first, second) = (clock.now(), copy.now());
        assert!(second.mono_us >= first.mono_us);
        assert!(first.wall_us > 1_500_000_000_000_000, "the wall clock of this machine is before 2017");
    }
}
