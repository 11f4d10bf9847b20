//! The line as others may see it between two turns: for `status` and for the retained topics.

use serde_json::{Value, json};

use crate::domain::time::ClockState;
use crate::engine::Engine;
use crate::engine::reason::BatchState;
use crate::engine::state::Stage;
use crate::station::Machine;
use crate::wire::text;
use crate::wire::topic::{
    self, AlarmLine, AlarmsNow, BatchLine, BatchNow, CountsLine, CountsNow, DevicesNow, Quantiles, StationLine,
    VerdictsNow,
};

#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) seq: u64,
    pub(super) batch: BatchNow,
    pub(super) counts: CountsNow,
    pub(super) devices: DevicesNow,
    pub(super) alarms: AlarmsNow,
    pub(super) may_run: bool,
    pub(super) clock: ClockState,
    /// Requests of packers that are granted and not answered.
    pub(super) permits: usize,
    pub(super) loaded: Vec<String>,
    /// How long verdicts take against their deadline.
    pub(super) verdicts: VerdictsNow,
}

impl Snapshot {
    pub(super) fn of(engine: &Engine, machines: impl Iterator<Item = Machine>) -> Self {
        let state = engine.state();
        let current = state.current();
        let stations = engine.settings().stations.iter().zip(machines).map(|(spec, machine)| {
            let known = state.station(&spec.name);
            let flaw = machine.away.and_then(|away| away.flaw());
            StationLine {
                station: spec.name.as_str().to_owned(),
                kind: spec.role.kind().name().to_owned(),
                joined: known.joined,
                held: !engine.may_run(),
                epoch: known.epoch,
                fault: engine.fault(&spec.name),
                state: machine.state.map(|state| state.name().to_owned()),
                condition: machine.state.map(|state| state.condition().name().to_owned()),
                mode: machine.mode.map(|mode| mode.name().to_owned()),
                away: machine.away.map(|away| away.name().to_owned()),
                tag: flaw.map(|flaw| flaw.tag.name().to_owned()),
                flaw: flaw.map(|flaw| flaw.what.as_str().to_owned()),
            }
        });
        let alarms = state.alarms.iter().map(|(alarm, at)| AlarmLine {
            alarm: *alarm,
            kind: at.kind.name().to_owned(),
            holds: at.kind.holds(),
            station: at.station.map(|name| name.as_str().to_owned()),
            detail: at.detail.clone(),
            rule: at.kind.rule().id().to_owned(),
            class: at.kind.rule().class().name().to_owned(),
            text: text::alarm(at.kind).to_owned(),
        });
        let granted = |station: &&crate::engine::state::Station| {
            station.request.is_some_and(|request| matches!(request.stage, Stage::Granted(_)))
        };
        let loaded = state.batches.iter().filter(|batch| batch.state == BatchState::Loaded);
        Self {
            seq: state.seq,
            batch: BatchNow { batch: current.map(|batch| BatchLine::new(&batch.sheet, batch.state)) },
            counts: CountsNow {
                batch: current.map(|batch| batch.id().as_str().to_owned()),
                counts: current.map_or_else(CountsLine::default, |batch| CountsLine::from(batch.counts_now())),
            },
            devices: DevicesNow { stations: stations.collect() },
            alarms: AlarmsNow { alarms: alarms.collect() },
            may_run: engine.may_run(),
            clock: engine.clock(),
            permits: state.stations.values().filter(granted).count(),
            loaded: loaded.map(|batch| batch.id().as_str().to_owned()).collect(),
            verdicts: VerdictsNow::default(),
        }
    }

    /// Which stations joined since, and which are away for another reason.
    pub(super) fn log_changes(&self, before: &Snapshot) {
        for (now, before) in self.devices.stations.iter().zip(&before.devices.stations) {
            // What a tag shows may differ in every read.
            if (&now.away, &now.tag) == (&before.away, &before.tag) {
                continue;
            }
            let StationLine { station, away, tag, flaw, .. } = now;
            match away {
                Some(cause) if tag.is_some() || before.away.is_none() => {
                    tracing::warn!(station, cause, tag, flaw, "station_away");
                }
                // A device that is back waits for its heartbeat to move.
                Some(_) => {}
                None => tracing::info!(station, "station_joined"),
            }
        }
    }

    /// The retained topics below the prefix.
    pub(super) fn topics(&self) -> Vec<(String, Vec<u8>)> {
        vec![
            ("_state/batch".to_owned(), topic::payload(&self.batch)),
            ("_state/counts".to_owned(), topic::payload(&self.counts)),
            ("_state/devices".to_owned(), topic::payload(&self.devices)),
            (topic::STATE_VERDICTS.to_owned(), topic::payload(&self.verdicts)),
            (topic::STATE_ALARMS.to_owned(), topic::payload(&self.alarms)),
        ]
    }

    /// The answer to `status`, without what the feed adds.
    pub(super) fn status(&self) -> Value {
        json!({
            "seq": self.seq,
            "running": self.may_run,
            "clock": self.clock.name(),
            "batch": self.batch.batch,
            "counts": self.counts.counts,
            "stations": self.devices.stations,
            "alarms": self.alarms.alarms,
            "permits_open": self.permits,
            "batches_loaded": self.loaded,
            "verdict_us": self.verdicts.departed.as_ref().map(quantiles),
            "verdict_echo_us": self.verdicts.echoed.as_ref().map(quantiles),
            "verdict_deadline_us": self.verdicts.deadline_us,
        })
    }
}

fn quantiles(of: &Quantiles) -> Value {
    json!({ "p50": of.p50_us, "p99": of.p99_us, "p999": of.p999_us, "samples": of.samples })
}
