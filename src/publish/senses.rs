//! What the pump hears beside the network: the head of the journal, new state, requests for replays, pages, the end.
//!
//! Pages are read on a blocking thread, one at a time: SQLite must not hold up the tasks that share a thread with the pump.

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::{Order, Outgoing, PAGE_FACTS, ReadFeed, StateTopics};

/// What wakes the pump beside the network.
pub(super) enum Wake {
    Head,
    State,
    Stop,
    Order(Order),
    Page { after: u64, reading: Reading, page: Result<Vec<Outgoing>, String> },
    Tick,
}

/// For whom a page is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Live,
    Replay,
    /// One fact, for one message of it.
    Retry,
}

type PageRead = (ReadFeed, u64, Reading, Result<Vec<Outgoing>, String>);

/// The reader is here, or on a blocking thread with one page.
pub(super) enum Reader {
    Idle(ReadFeed),
    Busy(tokio::task::JoinHandle<PageRead>),
    /// It panicked; only tests live to see this.
    Gone,
}

impl Reader {
    pub(super) fn start(&mut self, after: u64, reading: Reading) {
        let facts = if reading == Reading::Retry { 1 } else { PAGE_FACTS };
        *self = match std::mem::replace(self, Self::Gone) {
            Self::Idle(mut read) => Self::Busy(tokio::task::spawn_blocking(move || {
                let page = read(after, facts);
                (read, after, reading, page)
            })),
            busy_or_gone => busy_or_gone,
        };
    }

    /// The page that is being read; never, where none is. Safe to cancel.
    async fn page(&mut self) -> Wake {
        let Self::Busy(reading) = self else { return std::future::pending().await };
        match reading.await {
            Ok((read, after, reading, page)) => {
                *self = Self::Idle(read);
                Wake::Page { after, reading, page }
            }
            Err(panic) => {
                *self = Self::Gone;
                Wake::Page { after: 0, reading: Reading::Live, page: Err(panic.to_string()) }
            }
        }
    }
}

pub(super) struct Senses {
    pub(super) head: watch::Receiver<u64>,
    pub(super) state: watch::Receiver<StateTopics>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) reader: Reader,
}

impl Senses {
    /// The next thing that happens, or the tick. A sender that is gone stays silent. Safe to cancel. The wish to stop is a
    /// level, told until the caller says that it knows.
    pub(super) async fn wake(&mut self, tick: Instant, is_stop_known: bool) -> Wake {
        tokio::select! {
            Ok(()) = self.head.changed() => Wake::Head,
            Ok(()) = self.state.changed() => Wake::State,
            Ok(_) = self.stop.wait_for(|stop| *stop), if !is_stop_known => Wake::Stop,
            Some(order) = self.orders.recv() => Wake::Order(order),
            page = self.reader.page() => page,
            () = sleep_until(tick) => Wake::Tick,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wish_to_stop_from_before_is_told_and_once_known_is_not_told_again() {
        let (_head, head) = watch::channel(0);
        let (_state, state) = watch::channel(StateTopics::default());
        let (_stop, stop) = watch::channel(true);
        let (_orders, orders) = mpsc::channel(1);
        let reader = Reader::Idle(Box::new(|_, _| Ok(Vec::new())));
        let mut senses = Senses { head, state, stop, orders, reader };
        let in_a_minute = Instant::now() + std::time::Duration::from_secs(60);
        assert!(matches!(senses.wake(in_a_minute, false).await, Wake::Stop));
        assert!(matches!(senses.wake(Instant::now(), true).await, Wake::Tick));
    }
}
