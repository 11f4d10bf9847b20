//! Whether checkpoints reach the broker. Who wants to change the newest facts must first keep their checkpoints from going out: that
//! is told while the line runs, and a consumer sees the gap by itself.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use tokio::sync::watch;

use crate::engine::reason::AlarmKind;
use crate::line::{Arrival, Inbound};
use crate::publish::PublishHandle;
use crate::runtime::clock::Clock;
use crate::runtime::spine::Item;
use crate::wire::checkpoint::Note;

const EVERY: Duration = Duration::from_secs(10);
const WITHHELD_US: u64 = 600_000_000;

/// Since when the broker lacks the newest checkpoint.
#[derive(Debug, Default)]
struct Lack {
    taken: u64,
    since_us: Option<u64>,
    was_told: bool,
}

impl Lack {
    /// What to tell, once for each time that it happens. `made` and `taken` are facts.
    fn look(&mut self, now_us: u64, made: u64, taken: u64) -> Option<String> {
        if made <= taken || taken > self.taken {
            *self = Self { taken, ..Self::default() };
        }
        if made <= taken {
            return None;
        }
        let since_us = *self.since_us.get_or_insert(now_us);
        if self.was_told || now_us.saturating_sub(since_us) < WITHHELD_US {
            return None;
        }
        self.was_told = true;
        Some(format!("the newest checkpoint covers fact {made}, the broker has those up to fact {taken}"))
    }
}

/// Runs for ever; does nothing where there is no broker.
pub(super) async fn run(
    feed: Option<PublishHandle>,
    anchored: watch::Receiver<Option<Arc<Note>>>,
    inbox: Sender<Item>,
    clock: Clock,
) {
    let Some(feed) = feed else { return std::future::pending().await };
    let mut lack = Lack::default();
    loop {
        let now = clock.now();
        let made = anchored.borrow().as_ref().map_or(0, |note| note.seq);
        if let Some(detail) = lack.look(now.mono_us, made, feed.status().checkpoint_seq) {
            let what = Arrival::Noticed(AlarmKind::CheckpointsWithheld, detail);
            let inbound = Inbound { seen_mono_us: now.mono_us, what };
            // A full inbox is asked again at the next look.
            lack.was_told = inbox.try_send(Item::Line(inbound)).is_ok();
        }
        tokio::time::sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000;

    // F162
    #[test]
    fn checkpoints_that_do_not_reach_the_broker_are_told_after_ten_minutes_and_once() {
        let mut lack = Lack::default();
        assert_eq!(lack.look(0, 0, 0), None, "nothing was signed");
        assert_eq!(lack.look(MINUTE, 100, 0), None);
        assert_eq!(lack.look(5 * MINUTE, 200, 100), None, "late, and on its way");
        for minute in 6..15 {
            assert_eq!(lack.look(minute * MINUTE, 300, 100), None);
        }
        assert!(lack.look(15 * MINUTE, 900, 100).is_some_and(|text| text.contains("fact 900")));
        assert_eq!(lack.look(60 * MINUTE, 999, 100), None, "once");
        assert_eq!(lack.look(61 * MINUTE, 999, 999), None);
        assert_eq!(lack.look(62 * MINUTE, 1000, 999), None);
        assert!(lack.look(72 * MINUTE, 1000, 999).is_some(), "and again the next time");
    }
}
