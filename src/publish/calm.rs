//! A log that an attacker cannot fill: so many lines in a minute, and then how many were left out.

use std::time::Duration;

use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);
const LINES: u32 = 10;

#[derive(Debug)]
pub(super) struct Calm {
    since: Instant,
    told: u32,
    left_out: u64,
}

impl Calm {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), told: 0, left_out: 0 }
    }

    /// `Some` where a line may be told, with the number of those that were left out before it.
    pub(super) fn ask(&mut self) -> Option<u64> {
        self.ask_at(Instant::now())
    }

    fn ask_at(&mut self, now: Instant) -> Option<u64> {
        if now >= self.since + MINUTE {
            (self.since, self.told) = (now, 0);
        }
        if self.told >= LINES {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.told = self.told.saturating_add(1);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_ten_lines_a_minute_and_a_number() {
        // F125
        let mut calm = Calm::new();
        let began = calm.since;
        assert_eq!((0..5000).filter_map(|_| calm.ask_at(began)).collect::<Vec<_>>(), [0; 10]);
        assert_eq!((calm.ask_at(began + MINUTE), calm.ask_at(began + MINUTE)), (Some(4990), Some(0)));
    }
}
