//! What a subscription is used for here: it rings. A notification says that a station has news; the values come from the group
//! read that follows, since notifications of several tags are not coherent with each other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::{
    sync::Notify,
    time::{Duration, Instant},
};

use crate::{
    device::{
        codec,
        image::{find, same},
        settings::Binding,
    },
    domain::tag::{Reading, Tag},
};

/// How long reads may see news that nothing announced before the session counts as dead (F48).
const DEAD: Duration = Duration::from_secs(3);

/// Rung by notifications, heard by the reader.
pub(super) struct Bell {
    notify: Notify,
    stations: Vec<Rope>,
    gone: AtomicBool,
    losses: AtomicU64,
}

#[derive(Default)]
struct Rope {
    dirty: AtomicBool,
    rings: AtomicU64,
}

impl Bell {
    pub(super) fn new(stations: usize) -> Self {
        Self {
            notify: Notify::new(),
            stations: (0..stations).map(|_| Rope::default()).collect(),
            gone: AtomicBool::new(false),
            losses: AtomicU64::new(0),
        }
    }

    /// A notification; `lost` where the server dropped others before it (the overflow bit).
    pub(super) fn ring(&self, station: usize, lost: bool) {
        if lost {
            self.losses.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(rope) = self.stations.get(station) {
            rope.rings.fetch_add(1, Ordering::Relaxed);
        }
        self.again(station);
    }

    /// Asks for one more read of the station, without having been notified.
    pub(super) fn again(&self, station: usize) {
        if let Some(rope) = self.stations.get(station) {
            rope.dirty.store(true, Ordering::Release);
        }
        self.notify.notify_one();
    }

    /// Wakes a polling reader before its tick, and changes nothing for a listening one.
    pub(super) fn nudge(&self) {
        self.notify.notify_one();
    }

    /// The server ended the subscription.
    pub(super) fn ended(&self) {
        self.gone.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Overflows since this was asked last.
    pub(super) fn take_losses(&self) -> u64 {
        self.losses.swap(0, Ordering::Relaxed)
    }

    pub(super) async fn rung(&self) {
        self.notify.notified().await;
    }

    pub(super) fn take(&self, station: usize) -> bool {
        self.stations.get(station).is_some_and(|rope| rope.dirty.swap(false, Ordering::AcqRel))
    }

    pub(super) fn rings(&self, station: usize) -> u64 {
        self.stations.get(station).map_or(0, |rope| rope.rings.load(Ordering::Relaxed))
    }
}

/// The tags whose change a station has to react to.
pub(super) fn is_trigger(binding: &Binding) -> bool {
    codec::tags(binding).iter().any(|tag| {
        matches!(
            tag,
            Tag::Seq
                | Tag::Valid
                | Tag::EndSeq
                | Tag::VerdictEcho
                | Tag::AcceptedSeq
                | Tag::PrintedSeq
                | Tag::PermitAck
                | Tag::CloseResult
                | Tag::GateState
                | Tag::Request
                | Tag::Heartbeat
                | Tag::Epoch
                | Tag::InCount
                | Tag::FlushDone
                | Tag::Fault
                | Tag::State
        )
    })
}

/// Compares what reads saw with what was announced.
#[derive(Default)]
pub(super) struct Watch {
    seen: Vec<Reading>,
    rings: u64,
    suspected: Option<Instant>,
}

impl Watch {
    /// Takes one read; true when the subscription must be dead.
    pub(super) fn is_dead(&mut self, readings: &[Reading], rings: u64, now: Instant) -> bool {
        let watched = |reading: &&Reading| {
            matches!(reading.tag, Tag::Seq | Tag::EndSeq | Tag::PrintedSeq | Tag::Heartbeat | Tag::Epoch)
        };
        let seen: Vec<Reading> = readings.iter().filter(watched).cloned().collect();
        let moved = seen.iter().any(|reading| {
            let before = find(&self.seen, reading.tag);
            before.is_some() && !same(before, Some(reading))
        });
        if rings != self.rings {
            self.rings = rings;
            self.suspected = None;
        } else if moved {
            self.suspected.get_or_insert(now);
        }
        self.seen = seen;
        self.suspected.is_some_and(|since| now.duration_since(since) > DEAD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tag::{Quality, TagValue};

    fn seq(value: i64) -> [Reading; 1] {
        [Reading { tag: Tag::Seq, value: TagValue::Int(value), quality: Quality::Good, source_us: None }]
    }

    #[test]
    fn an_overflow_rings_and_is_told_once() {
        let bell = Bell::new(1);
        bell.ring(0, true);
        bell.ring(0, false);
        assert!(bell.take(0) && bell.rings(0) == 2);
        assert_eq!((bell.take_losses(), bell.take_losses()), (1, 0));
    }

    #[test]
    fn news_that_nothing_announces_for_three_seconds_is_a_dead_subscription() {
        let start = Instant::now();
        let mut watch = Watch::default();
        assert!(!watch.is_dead(&seq(1), 1, start));
        assert!(!watch.is_dead(&seq(2), 1, start));
        assert!(!watch.is_dead(&seq(2), 1, start + DEAD));
        assert!(watch.is_dead(&seq(2), 1, start + DEAD + Duration::from_millis(1)));
    }

    #[test]
    fn a_late_notification_clears_the_suspicion_and_silence_without_news_is_none() {
        let start = Instant::now();
        let mut watch = Watch::default();
        watch.is_dead(&seq(1), 1, start);
        watch.is_dead(&seq(2), 1, start);
        assert!(!watch.is_dead(&seq(2), 2, start + DEAD * 2));
        assert!(!watch.is_dead(&seq(2), 2, start + DEAD * 9));
    }
}
