//! One OPC UA session, from the connection to its end.
//!
//! Three futures share the session and one task: the driver moves bytes, the reader reads groups, the writer writes. A write never
//! waits for a read in flight. When the connection fails, the session is taken up again where the server still has it (`Bond`), and
//! made anew otherwise; in both cases everything that was learned over the old connection is learned again: namespaces, node ids,
//! limits, the subscription, and every value, so that nothing that happened in the gap is missed.

mod bell;
mod bond;
mod connect;
pub mod doctor;
mod incoming;
pub mod look;
mod names;
mod nodes;
mod own;
mod part;
mod profile;
mod pulse;
mod reader;
mod renewal;
mod seen;
mod trust;
pub mod value;
mod write;

use std::sync::Arc;

use futures_util::future::try_join_all;
use opcua::client::Session;
use tokio::{
    pin, select,
    sync::mpsc::Receiver,
    time::{Duration, timeout},
};

use crate::{
    device::{
        DeviceEvent, EventSink, deliver, drain,
        error::{DeviceError, End},
        settings::{OpcuaLink, ReadMode, Settings},
    },
    domain::tag::TagWrite,
};
pub(super) use bond::Bond;
pub use names::AlternativeNames;
pub use own::{OwnCertificate, Renewal, ensure as ensure_own_certificate, read as own_certificate};
pub use profile::{Limits, PROFILES};
use reader::Reader;
pub use renewal::{Tried, try_next};
pub use trust::{Shelf, Shelved, Shelves, Shown, Strange, TrustList};
use write::Writer;

/// How often a device that should notify is read all the same.
#[cfg(not(test))]
const FALLBACK: Duration = Duration::from_millis(250);
/// Tests must not be saved by the fallback when notifications are dead.
#[cfg(test)]
const FALLBACK: Duration = Duration::from_secs(600);

/// Connects once and serves until the session or the line ends. `kept` is the session of the last call, where it may still be of use,
/// and is left with this one.
pub(super) async fn serve(
    link: &OpcuaLink,
    settings: &Settings,
    sink: &EventSink,
    writes: &mut Receiver<TagWrite>,
    kept: &mut Option<Bond>,
) -> End {
    let mut bond = match kept.take().filter(Bond::is_fresh) {
        Some(bond) => bond,
        None => {
            let opened = select! {
                () = drain(writes) => return End::Closed,
                opened = Bond::new(link, settings) => opened,
            };
            match opened {
                Ok(bond) => bond,
                Err(error) => return End::Failed { error, connected: false },
            }
        }
    };
    let end = attend(&mut bond, link, settings, sink, writes).await;
    match &end {
        End::Failed { error, .. } if bond.outlives(error).await => *kept = Some(bond),
        End::Failed { .. } | End::Closed => bond.part().await,
    }
    end
}

/// One connection of a session.
async fn attend(
    bond: &mut Bond,
    link: &OpcuaLink,
    settings: &Settings,
    sink: &EventSink,
    writes: &mut Receiver<TagWrite>,
) -> End {
    let session = Arc::clone(&bond.session);
    let failed = |connected| move |error| End::Failed { error, connected };
    let begun = {
        let driver = bond.wire.drive();
        pin!(driver);
        select! {
            () = drain(writes) => return End::Closed,
            error = &mut driver => return failed(false)(error),
            begun = begin(link, settings, &session) => begun,
        }
    };
    let mut reader = match begun {
        Ok(reader) => reader,
        Err(error) => return failed(false)(error),
    };
    bond.is_up_again();
    while writes.try_recv().is_ok() {}
    let writer = Writer::new(&session, settings, sink, &reader);
    let connected = DeviceEvent::Connected { device: settings.device };
    let driver = bond.wire.drive();
    pin!(driver);
    select! {
        error = &mut driver => return failed(true)(error),
        () = deliver(sink, writes, connected) => {}
    }
    select! {
        biased;
        error = &mut driver => failed(true)(error),
        end = writer.run(writes) => end,
        error = reader.run(settings, sink) => failed(true)(error),
        error = pulse::stopped(&session, settings) => failed(true)(error),
    }
}

/// Waits for the session, resolves all addresses, reads everything once and subscribes.
async fn begin(link: &OpcuaLink, settings: &Settings, session: &Arc<Session>) -> Result<Reader, DeviceError> {
    let bound = settings.request_timeout;
    // Hello, channel, create and activate: four round trips, with cryptography.
    timeout(bound.saturating_mul(4), session.wait_for_connection())
        .await
        .map_err(|_| DeviceError::TimedOut("the creation of a session"))?;
    let namespaces = timeout(bound, session.read_namespace_array())
        .await
        .map_err(|_| DeviceError::TimedOut("the read of the namespaces"))?
        .map_err(|error| reader::unread(error.status(), 1))?;
    let limits = Limits::of(link.profile).within(pulse::server_limits(session, bound).await?);
    let mut reader = Reader::new(settings, session.clone(), namespaces, limits);
    if link.mode == ReadMode::Subscribe {
        reader.subscribe(settings).await?;
    }
    let firsts = reader.lanes.iter_mut().map(|lane| async {
        lane.first = lane.read(session, true, bound).await?;
        Ok::<(), DeviceError>(())
    });
    try_join_all(firsts).await?;
    Ok(reader)
}

#[cfg(all(test, feature = "demo"))]
mod tests;
