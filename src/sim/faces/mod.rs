//! Real camera models in front of the simulated camera: each shows the results of the plant's tag memory over the protocol,
//! with the addresses and by the handshake of its model. The plant behind it is the same, so that a whole line can be run with each.
//!
//! The plant's camera must show one result at a time (`PlantSettings::ring` = 0). A face answers heartbeat and epoch of that
//! camera itself whenever it is asked something, for these models know neither.

pub mod autoid;
pub mod insight;
pub mod machine_vision;
mod nodes;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use super::settings::PlantSettings;
use super::tags::TagImage;
use crate::domain::tag::{StationKind, Tag, TagValue};

/// A camera model that can stand in the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// Cognex In-Sight, Modbus TCP.
    InSight,
    /// A machine vision system by OPC 40100-1.
    MachineVision,
    /// An optical verifier by OPC 30010 (AutoID).
    AutoId,
}

impl Face {
    pub const ALL: &'static [Face] = &[Face::InSight, Face::MachineVision, Face::AutoId];

    pub fn name(self) -> &'static str {
        match self {
            Face::InSight => "in-sight",
            Face::MachineVision => "machine-vision",
            Face::AutoId => "autoid",
        }
    }

    /// The shipped tag map: its name and what it says.
    pub fn map(self) -> (&'static str, &'static str) {
        match self {
            Face::InSight => ("cognex-in-sight.toml", include_str!("../../../config/maps/cognex-in-sight.toml")),
            Face::MachineVision => {
                ("opc-40100-vision.toml", include_str!("../../../config/maps/opc-40100-vision.toml"))
            }
            Face::AutoId => ("opc-30010-verifier.toml", include_str!("../../../config/maps/opc-30010-verifier.toml")),
        }
    }

    /// The keys of a device section for this model on a port of loopback.
    pub fn device(self, port: u16) -> String {
        match self {
            Face::InSight => {
                format!("protocol = \"modbus\"\nhost = \"127.0.0.1\"\nport = {port}\npoll_ms = 1\n")
            }
            Face::MachineVision | Face::AutoId => {
                let url = format!("opc.tcp://127.0.0.1:{port}");
                format!("protocol = \"opcua\"\nurl = \"{url}\"\nsecurity = \"none\"\npoll_ms = 1\n")
            }
        }
    }

    /// The plant in which this model can stand.
    pub fn fit(self, plant: PlantSettings) -> PlantSettings {
        match self {
            Face::InSight => PlantSettings { ring: 0, seq_last: insight::ID_LAST, ..plant },
            Face::MachineVision | Face::AutoId => PlantSettings { ring: 0, seq_last: nodes::COUNT_LAST, ..plant },
        }
    }
}

/// Serves until the listener fails; dropping the future closes every connection. `pki_dir` is for a library that may write to it.
pub async fn run(face: Face, listener: TcpListener, image: Arc<TagImage>, pki_dir: &Path) -> io::Result<()> {
    match face {
        Face::InSight => insight::run(listener, image).await,
        Face::MachineVision => nodes::run(listener, image, pki_dir, &machine_vision::MODEL).await,
        Face::AutoId => nodes::run(listener, image, pki_dir, &autoid::MODEL).await,
    }
}

/// How often the plant's camera hears of us at most.
const BEAT: Duration = Duration::from_millis(50);
const KIND: StationKind = StationKind::Camera;

/// Stands in for the tags that the model does not have.
#[derive(Debug, Default)]
struct Presence {
    beat: Mutex<Option<(Instant, i64)>>,
}

impl Presence {
    /// Somebody asked: the camera is being read.
    fn note(&self, image: &TagImage) {
        let mut beat = self.beat.lock().unwrap_or_else(PoisonError::into_inner);
        let count = match *beat {
            Some((at, _)) if at.elapsed() < BEAT => return,
            Some((_, count)) => count % 60_000 + 1,
            None => 1,
        };
        *beat = Some((Instant::now(), count));
        let epoch = image.read(|tags| tags.int(KIND, Tag::Epoch));
        // A plant that has not shown its epoch yet hears of it with the next beat.
        let _ = image
            .write(vec![(KIND, Tag::EpochOut, TagValue::Int(epoch)), (KIND, Tag::HeartbeatOut, TagValue::Int(count))]);
    }
}
