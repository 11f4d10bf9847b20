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
//! - One `TagWrite` is written in its order, whole or not at all as far as the values themselves are concerned; tags that this
//!   device does not carry are skipped. Writes go before reads. What cannot be delivered is dropped: outputs are levels, and the
//!   line re-asserts them on `Connected`.
//! - Nothing is spawned; `run` ends when `writes` closes, and then says goodbye to the peer.

mod backoff;
mod settings;

use std::sync::Arc;

use tokio::sync::mpsc::Receiver;

use crate::domain::tag::{DeviceId, StationId, Tag, TagUpdate, TagWrite};
pub use settings::*;

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

/// Serves one device until `writes` closes.
pub async fn run(settings: Settings, sink: EventSink, writes: Receiver<TagWrite>) {
    let _ = (settings, sink, writes);
}
