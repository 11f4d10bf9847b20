//! Real camera models in front of the simulated camera: each shows the results of the plant's tag memory over the protocol,
//! with the addresses and by the handshake of its model. The plant behind it is the same, so that a whole line can be run with each.
//!
//! The plant's camera must show one result at a time (`PlantSettings::ring` = 0). A face answers heartbeat and epoch of that
//! camera itself whenever it is asked something, for these models know neither.

pub mod insight;

use std::io;
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
}

impl Face {
    pub const ALL: &'static [Face] = &[Face::InSight];

    pub fn name(self) -> &'static str {
        match self {
            Face::InSight => "in-sight",
        }
    }

    /// The plant in which this model can stand.
    pub fn fit(self, plant: PlantSettings) -> PlantSettings {
        match self {
            Face::InSight => PlantSettings { ring: 0, seq_last: insight::ID_LAST, ..plant },
        }
    }
}

/// Serves until the listener fails; dropping the future closes every connection.
pub async fn run(face: Face, listener: TcpListener, image: Arc<TagImage>) -> io::Result<()> {
    match face {
        Face::InSight => insight::run(listener, image).await,
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
