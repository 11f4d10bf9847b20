//! A session with what moves its bytes, so that it can outlive its connection: the upper rungs of the way back.
//!
//! When the connection breaks, the session is kept, and the next attempt takes it up again (ActivateSession on a new channel); where
//! the server does not know it any more, the library makes a new one on the same connection. The event loop does nothing unless it is
//! polled, so that the waiting times between attempts are those of `device::run`. A session that the server must have forgotten, or
//! that ended by anything but its connection, is given up with a goodbye, and made anew from the list of endpoints on.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt};
use opcua::{
    client::{Session, SessionActivity, SessionPollResult, SubscriptionActivity},
    types::StatusCode,
};
use tokio::{
    select,
    time::{Duration, Instant, timeout},
};

use crate::device::{
    error::DeviceError,
    opcua::{
        connect::{self, SESSION_TIMEOUT},
        seen::Seen,
    },
    settings::{OpcuaLink, Settings},
};

/// For a goodbye, or for taking leave of a connection; a dead peer gets no more than a moment.
const FAREWELL: Duration = Duration::from_millis(500);

type Events = Pin<Box<dyn Stream<Item = Result<SessionPollResult, StatusCode>> + Send>>;

pub(in crate::device) struct Bond {
    pub(super) session: Arc<Session>,
    pub(super) wire: Wire,
    /// When the connection broke.
    broken: Option<Instant>,
}

/// What moves the bytes.
pub(super) struct Wire {
    events: Events,
    seen: Arc<Seen>,
    phase: Phase,
    /// The server has, or had, a session of ours.
    is_made: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Polling the events dials.
    Down,
    Up,
    /// The event loop has ended.
    Over,
}

impl Bond {
    pub(super) async fn new(link: &OpcuaLink, settings: &Settings) -> Result<Self, DeviceError> {
        let (session, event_loop, seen) = connect::connect(link, settings).await?;
        let events: Events = Box::pin(event_loop.enter());
        Ok(Self { session, wire: Wire { events, seen, phase: Phase::Down, is_made: false }, broken: None })
    }

    /// Whether the server may still hold the session.
    pub(super) fn is_fresh(&self) -> bool {
        self.broken.is_none_or(|since| since.elapsed() < SESSION_TIMEOUT)
    }

    /// After the end of a connection, or of an attempt at one: whether the next attempt takes this session up again.
    pub(super) async fn outlives(&mut self, error: &DeviceError) -> bool {
        if !error.is_of_the_link() || !self.wire.is_made {
            return false;
        }
        let was_up = self.wire.phase == Phase::Up;
        if was_up {
            // Closes the channel and leaves the session; what waits to be sent on a silent link dies with it.
            let (session, wire) = (&self.session, &mut self.wire);
            let close = async {
                session.channel().close_channel().await;
                std::future::pending::<()>().await;
            };
            let hung_up = async {
                while wire.phase == Phase::Up {
                    wire.drive().await;
                }
            };
            let _ = timeout(FAREWELL, async {
                select! {
                    () = close => {}
                    () = hung_up => {}
                }
            })
            .await;
        }
        self.broken.get_or_insert_with(Instant::now);
        // A server that was reached and did not take us needs to be asked again from the start.
        self.wire.phase == Phase::Down && (was_up || !self.wire.seen.has_reached())
    }

    /// A goodbye frees the session at the server at once.
    pub(super) async fn part(mut self) {
        if self.wire.phase != Phase::Up {
            return;
        }
        let (session, wire) = (&self.session, &mut self.wire);
        let _ = timeout(FAREWELL, async {
            select! {
                _ = session.disconnect() => {}
                () = async { while wire.phase == Phase::Up { wire.drive().await; } } => {}
            }
        })
        .await;
    }

    /// The connection is there.
    pub(super) fn is_up_again(&mut self) {
        self.broken = None;
    }
}

impl Wire {
    /// Dials where the connection is down, then moves bytes until it is lost or the session is not accepted.
    pub(super) async fn drive(&mut self) -> DeviceError {
        let mut silent = 0;
        while let Some(event) = self.events.next().await {
            match event {
                Err(status) => {
                    self.phase = Phase::Over;
                    return self.seen.explain(status);
                }
                Ok(SessionPollResult::ReconnectFailed(status)) => {
                    self.phase = Phase::Down;
                    return self.seen.explain(status);
                }
                Ok(SessionPollResult::ConnectionLost(status)) => {
                    self.phase = Phase::Down;
                    return self.seen.lost(status);
                }
                Ok(SessionPollResult::Reconnected(mode)) => {
                    tracing::debug!(?mode, "the session is there");
                    self.phase = Phase::Up;
                    self.is_made = true;
                }
                Ok(SessionPollResult::SessionActivity(SessionActivity::KeepAliveSucceeded)) => silent = 0,
                Ok(SessionPollResult::SessionActivity(SessionActivity::KeepAliveFailed(status))) => {
                    silent += 1;
                    if silent >= 2 || status == StatusCode::BadSessionIdInvalid {
                        return DeviceError::TimedOut("the keep-alive");
                    }
                }
                Ok(SessionPollResult::Subscription(SubscriptionActivity::FatalFailure(status))) => {
                    return DeviceError::Lost(status.to_string());
                }
                Ok(_) => {}
            }
        }
        self.phase = Phase::Over;
        DeviceError::Lost("the session was closed".to_owned())
    }
}
