//! One Modbus TCP session, from the connection to its end.
//!
//! The protocol allows one outstanding request, so there is one loop: what waits to be written goes first, even between two
//! blocks of a read. `frame` knows the bytes, `circuit` the way of a question over what several units behind one address have in
//! common, `peer` the exceptions, `signature` whether the map is of this device, `plan` the blocks, `lane` a station's reads, and `write`
//! what may be written at all.

mod circuit;
pub mod frame;
mod lane;
pub mod look;
mod peer;
mod plan;
mod signature;
mod write;

use tokio::{
    select,
    sync::mpsc::Receiver,
    time::{Duration, Instant},
};

use crate::{
    device::{
        DeviceEvent, EventSink,
        codec::RegisterOrder,
        deliver, drain,
        error::{DeviceError, End},
        pace::Pace,
        settings::{Binding, ModbusLink, Settings},
    },
    domain::tag::TagWrite,
};
use lane::Lane;
use peer::Peer;
use write::AllowList;
pub use write::Allowed;

/// Connects once and serves until the session or the line ends.
pub(super) async fn serve(
    link: &ModbusLink,
    settings: &Settings,
    sink: &EventSink,
    writes: &mut Receiver<TagWrite>,
) -> End {
    let mut lanes: Vec<Lane> = settings.stations.iter().map(|tags| Lane::new(link, tags)).collect();
    let begun = select! {
        () = drain(writes) => return End::Closed,
        begun = begin(link, settings, &mut lanes) => begun,
    };
    let mut peer = match begun {
        Ok(peer) => peer,
        Err(error) => return End::Failed { error, connected: false },
    };
    while writes.try_recv().is_ok() {}
    deliver(sink, writes, DeviceEvent::Connected { device: settings.device }).await;
    for lane in &mut lanes {
        if let Some(first) = lane.first.take() {
            lane.image.offer(first, true, Instant::now(), sink);
        }
    }
    let mut outgoing = Outgoing { list: AllowList::new(link, settings), sink, writes };
    match attend(&mut peer, &mut lanes, &mut outgoing, settings.poll).await {
        Ok(()) => End::Closed,
        Err(error) => End::Failed { error, connected: true },
    }
}

/// Connects, proves that the map is the device's, and reads everything once.
async fn begin(link: &ModbusLink, settings: &Settings, lanes: &mut [Lane]) -> Result<Peer, DeviceError> {
    let mut peer = Peer::open(link, settings.request_timeout).await;
    signature::check(&mut peer, link).await?;
    for lane in lanes {
        lane.first = lane.read(&mut peer, true, None).await?;
    }
    peer.is_there();
    Ok(peer)
}

fn order_of(link: &ModbusLink, binding: &Binding) -> RegisterOrder {
    RegisterOrder {
        word: binding.word_order.unwrap_or(link.word_order),
        byte: binding.byte_order.unwrap_or(link.byte_order),
    }
}

/// Until the line closes the channel.
async fn attend(
    peer: &mut Peer,
    lanes: &mut [Lane],
    outgoing: &mut Outgoing<'_>,
    poll: Duration,
) -> Result<(), DeviceError> {
    let mut pace = Pace::new(poll);
    loop {
        select! {
            biased;
            write = outgoing.writes.recv() => match write {
                Some(write) => {
                    outgoing.write(peer, &write).await?;
                    // A device often answers a write at once: look before the beat.
                    pace.hurry();
                }
                None => return Ok(()),
            },
            () = pace.beat() => {
                for lane in &mut *lanes {
                    refresh(peer, lane, outgoing).await?;
                }
            }
        }
    }
}

/// Reads what is due and tells it; what stays torn or finds no room comes at the next cycle.
async fn refresh(peer: &mut Peer, lane: &mut Lane, outgoing: &mut Outgoing<'_>) -> Result<(), DeviceError> {
    let Some(light) = lane.read(peer, false, Some(outgoing)).await? else {
        return Ok(());
    };
    let now = Instant::now();
    if !lane.image.heavy_due(&light, now) {
        lane.image.offer(light, false, now, outgoing.sink);
        return Ok(());
    }
    if let Some(full) = lane.read(peer, true, Some(outgoing)).await? {
        lane.image.offer(full, true, now, outgoing.sink);
    }
    Ok(())
}

/// What waits to be written, and whom to tell what was refused.
struct Outgoing<'a> {
    list: AllowList,
    sink: &'a EventSink,
    writes: &'a mut Receiver<TagWrite>,
}

impl Outgoing<'_> {
    async fn flush(&mut self, peer: &mut Peer) -> Result<(), DeviceError> {
        while let Ok(write) = self.writes.try_recv() {
            self.write(peer, &write).await?;
        }
        Ok(())
    }

    async fn write(&mut self, peer: &mut Peer, write: &TagWrite) -> Result<(), DeviceError> {
        for refused in self.list.write(peer, write).await? {
            deliver(self.sink, self.writes, refused).await;
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "demo"))]
mod tests;
