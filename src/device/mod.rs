//! One asynchronous task per network device: it reads tags coherently, says how far each value can be trusted, writes tags in
//! order, and reconnects by itself.
//!
//! The task knows addresses, types and quality. It knows no handshake and no GS1: what a tag means is the station's business.
//!
//! Contract:
//! - `Connected` comes after everything was read once, the first full `Update`s right after it; `Disconnected` when the session
//!   is lost, and again when the reason for not coming back changes. Both are offered until they are taken.
//! - An `Update` is one coherent read: guard counter and epoch were the same before and after. It is sent when a value or a
//!   quality differs from what was sent last, and offered again at the next cycle where the sink had no room. It carries every
//!   light tag of the station that lies on this device, and the heavy ones (children, label read-back, rings) when they were read
//!   again, which happens when the guard moved.
//! - One `TagWrite` is written in its order. A value that its type cannot carry refuses the whole write before anything is sent;
//!   tags that this device does not carry are skipped. Writes go before reads. What cannot be delivered is dropped: outputs are
//!   levels, and the line re-asserts them on `Connected`.
//! - Nothing is spawned; `run` ends when `writes` closes, and then says goodbye to the peer.

mod backoff;
pub mod codec;
mod dial;
pub mod dialect;
mod error;
mod image;
pub mod modbus;
mod opcua;
mod pace;
pub mod pictures;
mod refusal;
mod settings;
#[cfg(test)]
pub(crate) mod testing;
pub mod text;
mod trunk;
mod unfit;
mod wire;

use std::{future::poll_fn, sync::Arc, task::Poll};

use tokio::{
    sync::mpsc::Receiver,
    time::{Duration, Instant, MissedTickBehavior, interval, sleep},
};

use crate::domain::tag::{DeviceId, StationId, Tag, TagUpdate, TagWrite};
pub use error::DeviceError;
use error::End;
/// What reads a device's bytes, for the fuzz targets.
pub mod parsers {
    pub use super::{codec, modbus::frame, opcua::value, text};
}
pub use modbus::look as modbus_look;
pub use opcua::{
    AlternativeNames, Limits, OwnCertificate, PROFILES as OPCUA_PROFILES, Renewal, Shelf, Shelved, Shelves, Shown,
    Strange, Tried, TrustList, ensure_own_certificate, own_certificate, try_next,
};
pub use opcua::{doctor as opcua_doctor, look as opcua_look, value as opcua_value};
pub use refusal::CertificateRefusal;
pub use settings::*;
pub use trunk::Shared;

/// What a device task tells the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceEvent {
    Connected {
        device: DeviceId,
    },
    Disconnected {
        device: DeviceId,
        reason: String,
    },
    Update(TagUpdate),
    /// The device, or the map, did not take this value. `status` is an OPC UA status code or a Modbus exception code.
    WriteRefused {
        device: DeviceId,
        station: StationId,
        tag: Tag,
        status: u32,
    },
}

/// Takes an event into the line's inbox; false when there was no room.
pub type EventSink = Arc<dyn Fn(DeviceEvent) -> bool + Send + Sync>;

/// How long a device takes to answer a small read: so many samples, on a connection of their own.
pub async fn trips(settings: &Settings, samples: usize) -> Result<Vec<Duration>, DeviceError> {
    match &settings.link {
        Link::Opcua(_) => opcua_look::trips(settings, samples).await,
        Link::Modbus(link) => modbus_look::trips(link, settings, samples).await,
        Link::Text(_) => Err(DeviceError::Refused("a text protocol has no question that changes nothing".to_owned())),
    }
}

/// How long to wait before an event that found no room is offered again.
const OFFER_AGAIN: Duration = Duration::from_millis(2);
/// A task that was not run for so long starts its session anew. Every request is bounded by less, and the heartbeat's time-out is no
/// more, so that the device is in its safe state by then.
const STILL_MAX: Duration = Duration::from_secs(1);
/// A session that lived this long starts the doubling of the waiting times anew; a shorter one does not, or a peer that takes
/// every connection and drops it would see a storm.
const STEADY: Duration = Duration::from_secs(2);

/// Serves one device until `writes` closes.
pub async fn run(settings: Settings, sink: EventSink, mut writes: Receiver<TagWrite>) {
    let mut attempt = 0;
    let mut said = String::new();
    let mut kept = None;
    loop {
        let began = Instant::now();
        let serve = async {
            match &settings.link {
                Link::Opcua(link) => opcua::serve(link, &settings, &sink, &mut writes, &mut kept).await,
                Link::Modbus(link) => modbus::serve(link, &settings, &sink, &mut writes).await,
                Link::Text(link) => text::serve(link, &settings, &sink, &mut writes).await,
            }
        };
        let end = tokio::select! {
            biased;
            () = stood_still() => End::Failed { error: DeviceError::StoodStill, connected: true },
            end = serve => end,
        };
        let (error, connected) = match end {
            End::Closed => return,
            End::Failed { error, connected } => (error, connected),
        };
        let reason = error.to_string();
        tracing::debug!(device = %settings.name, connected, reason, "session ended");
        if connected || reason != said {
            let event = DeviceEvent::Disconnected { device: settings.device, reason: reason.clone() };
            deliver(&sink, &writes, event).await;
            said = reason;
        }
        if connected && began.elapsed() >= STEADY {
            attempt = 0;
        }
        let wait = backoff::wait(settings.backoff_min, settings.backoff_max, settings.device, attempt);
        attempt = attempt.saturating_add(1);
        tokio::select! {
            () = drain(&mut writes) => return,
            () = sleep(wait) => {}
        }
    }
}

/// Ends when this task was not run for `STILL_MAX` (a stopped process, a machine that was held). What waited to be written meanwhile
/// is void: the task is not polled further, so that none of it is sent late.
async fn stood_still() {
    let mut pulse = interval(STILL_MAX / 4);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    poll_fn(|context| {
        let now = Instant::now();
        // The clock itself is asked, since after a pause the timers may ring later than other news.
        if now.duration_since(last) > STILL_MAX {
            return Poll::Ready(());
        }
        last = now;
        while pulse.poll_tick(context).is_ready() {}
        Poll::Pending
    })
    .await;
}

/// Offers an event until it is taken: these are changes that nothing would tell again. Gives up when the line is gone.
async fn deliver(sink: &EventSink, writes: &Receiver<TagWrite>, event: DeviceEvent) {
    while !sink(event.clone()) {
        if writes.is_closed() {
            return;
        }
        sleep(OFFER_AGAIN).await;
    }
}

/// Drops what is to be written while nobody is there to take it; ends when the line closes the channel.
async fn drain(writes: &mut Receiver<TagWrite>) {
    while writes.recv().await.is_some() {}
}
