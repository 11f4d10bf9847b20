//! The upkeep of the feed's messages: what may go goes, a little at a time; what waits too long is told.
//!
//! That messages go is a fact, one for each look that finds any.
//!
//! Nothing is let go while the wall clock has moved by itself since the start: a clock that jumps a year ahead makes
//! everything look old.

use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::config::Mqtt;
use crate::domain::time::Now;
use crate::engine::fact::Gone;
use crate::engine::reason::AlarmKind;
use crate::line::{Arrival, Inbound};
use crate::runtime::clock::Clock;
use crate::runtime::spine::Item;
use crate::store::feed::{Expirable, Keep};
use crate::store::{Reader, StoreError};
use crate::wire::topic;

const EVERY: Duration = Duration::from_secs(10);
/// Between two looks while there is more to let go than one look does: some 2,000 messages in a second.
const AGAIN: Duration = Duration::from_millis(250);
/// The wall clock may be corrected by so much.
const STEP_MAX_US: i64 = 600_000_000;

/// What one look at the journal found.
struct Found {
    may_go: Option<Expirable>,
    /// The oldest fact that waits, and since when.
    waiting: Option<(u64, i64)>,
}

/// Runs for ever; does nothing where the config names no broker.
pub(super) async fn run(journal: PathBuf, mqtt: Option<Mqtt>, inbox: Sender<Item>, clock: Clock) {
    let Some(mqtt) = mqtt else { return std::future::pending().await };
    let began = clock.now();
    let (mut was_told, mut said) = (false, Gone::default());
    loop {
        let now = clock.now();
        let keep =
            Keep { from_us: now.wall_us.saturating_sub(micros(mqtt.keep_sent)), bytes_max: mqtt.keep_sent_bytes };
        let path = journal.clone();
        let found = tokio::task::spawn_blocking(move || look(path, keep)).await;
        let mut pause = EVERY;
        match found {
            Ok(Ok(found)) => {
                if let Some(Expirable { gone, is_more }) = found.may_go.filter(|_| !has_stepped(began, now)) {
                    // What was said and is not on disk yet is not said twice.
                    if gone != said && send(&inbox, now, Arrival::Expired(gone.clone())) {
                        said = gone;
                    }
                    pause = if is_more { AGAIN } else { EVERY };
                }
                was_told = tell(&mqtt, &inbox, now, found.waiting, was_told);
            }
            Ok(Err(error)) => tracing::debug!(%error, "the upkeep of the feed could not read the journal"),
            Err(error) => tracing::debug!(%error, "the upkeep of the feed ended early"),
        }
        tokio::time::sleep(pause).await;
    }
}

fn look(path: PathBuf, keep: Keep) -> Result<Found, StoreError> {
    let mut reader = Reader::open(&path)?;
    let acked = reader.feed_cursor(topic::STREAM_FACT)?;
    let waiting = reader.fact(acked.saturating_add(1))?.map(|fact| (fact.seq, fact.at_us));
    Ok(Found { may_go: reader.expirable(keep)?, waiting })
}

/// Told once for each time that the feed falls behind.
fn tell(mqtt: &Mqtt, inbox: &Sender<Item>, now: Now, waiting: Option<(u64, i64)>, was_told: bool) -> bool {
    let Some((seq, since_us)) =
        waiting.filter(|(_, at_us)| now.wall_us.saturating_sub(*at_us) >= micros(mqtt.warn_behind))
    else {
        return false;
    };
    if was_told {
        return true;
    }
    let detail = format!("fact {seq} waits since {}", topic::time_text(since_us));
    send(inbox, now, Arrival::Noticed(AlarmKind::FeedBehind, detail))
}

/// A full inbox is asked again at the next look.
fn send(inbox: &Sender<Item>, now: Now, what: Arrival) -> bool {
    inbox.try_send(Item::Line(Inbound { seen_mono_us: now.mono_us, what })).is_ok()
}

fn has_stepped(began: Now, now: Now) -> bool {
    let offset = |at: Now| at.wall_us.saturating_sub(i64::try_from(at.mono_us).unwrap_or(i64::MAX));
    offset(now).abs_diff(offset(began)) > STEP_MAX_US.unsigned_abs()
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumped_lets_nothing_go() {
        let at = |wall_s: i64, mono_s: u64| Now { wall_us: wall_s * 1_000_000, mono_us: mono_s * 1_000_000 };
        let began = at(1_800_000_000, 5);
        assert!(!has_stepped(began, at(1_800_086_400, 86_405)));
        assert!(!has_stepped(began, at(1_800_086_340, 86_405)), "a correction by a minute");
        assert!(has_stepped(began, at(1_831_000_000, 86_405)));
        assert!(has_stepped(began, at(0, 86_405)));
    }
}
