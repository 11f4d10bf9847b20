//! The pure part of recovery: facts as they are stored are decoded and folded into the engine's state (I7), and each handshake
//! goes on from what that state knows of its station. Where the facts come from is the caller's: the file in production, the
//! journal in memory in the simulator.

use crate::domain::tag::StationKind;
use crate::engine::fact::{Entry, Fact};
use crate::engine::input::Order;
use crate::engine::state::State;
use crate::station::{Cursor, Settings, Station};
use crate::wire::fact::{self, DecodeError, StoredFact};

/// The engine's state, and what the first fact of this run has to say about the journal.
#[derive(Clone, Debug)]
pub struct Recovery {
    pub state: State,
    /// The last run ended in order.
    pub was_stopped: bool,
    /// `Start::doubts`; whoever finds one before the line starts adds it here.
    pub doubts: Vec<String>,
}

impl Recovery {
    /// Begins with what older facts left behind; with the default it is the fold of a whole journal.
    pub fn new(base: State) -> Self {
        Self { state: base, was_stopped: true, doubts: Vec::new() }
    }

    /// The order of a batch, before the fact that loaded it.
    pub fn order(&mut self, order: &Order) {
        self.state.insert_order(order);
    }

    /// Folds the next fact and gives it back as decided.
    pub fn fact(&mut self, stored: StoredFact<'_>) -> Result<Entry, DecodeError> {
        let entry = fact::decode(stored)?;
        // What was on its way when the line stopped may still become a fact behind the stop.
        if matches!(entry.fact, Fact::LineStarted { .. } | Fact::LineStopped) {
            self.was_stopped = entry.fact == Fact::LineStopped;
        }
        self.state.apply(&entry);
        Ok(entry)
    }
}

/// The handshakes, each from where the journal stands.
pub fn stations<'s>(settings: impl Iterator<Item = &'s Settings>, state: &State) -> Vec<Station> {
    settings.map(|station| Station::new(station.clone(), cursor(station, state))).collect()
}

fn cursor(station: &Settings, state: &State) -> Cursor {
    let known = state.station(&station.name);
    let on_track = matches!(station.kind, StationKind::Camera | StationKind::Rejector);
    Cursor {
        device_epoch: known.device_epoch,
        last_seq: known.seq,
        last_track: if on_track { state.transit.last_inspected.max(state.transit.last_ended) } else { 0 },
        printed: known.encoded,
        last_container: known.request.map_or(0, |request| request.key.container),
    }
}
