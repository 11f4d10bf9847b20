//! The person of a lock-step run: loads and starts the batch, does what the operator of the simulated line decides, and closes the
//! batch at the end. One request at a time; what a dead subject did not answer is asked again.

use serde_json::{Value, json};

use crate::domain::tag::StationKind;
use crate::sim::operator::{Action, AlarmView, Operator};
use crate::sim::physics::{Deed, PlantView};
use crate::sim::random::Random;
use crate::sim::tags::Tags;
use crate::wire::command::{ClientAnswer, request_line};

pub(super) const BATCH: &str = "LOCKSTEP-1";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Load,
    Start,
    Run,
    Stop,
    Close,
    Done,
}

#[derive(Debug)]
pub(super) struct Person {
    order: String,
    phase: Phase,
    operator: Operator,
    last_id: u64,
    /// The request that waits for its answer, and whether it belongs to the phase (else it is an acknowledgement).
    open: Option<(u64, bool)>,
    /// Closing was asked for, so that the answer may have died with the subject.
    may_be_closed: bool,
    /// Why the newest request was refused.
    refused: String,
}

impl Person {
    pub(super) fn new(units: u64, pack: (usize, usize), seed: u64) -> Self {
        Self {
            order: order(units, pack, seed),
            phase: Phase::Load,
            operator: Operator::default(),
            last_id: 0,
            open: None,
            may_be_closed: false,
            refused: String::new(),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// What is left to do, for the one who asks why a run does not end.
    pub(super) fn waits_for(&self) -> String {
        format!("{:?}, refused last: {}", self.phase, self.refused)
    }

    /// Deeds at the machine, and at most one line for the local socket.
    pub(super) fn look(&mut self, plant: &PlantView, tags: &Tags, status: &Value) -> (Vec<Deed>, Option<String>) {
        if self.phase == Phase::Run && plant.is_finished {
            self.phase = Phase::Stop;
        }
        let none = Vec::new();
        let alarms = status.get("alarms").and_then(Value::as_array).unwrap_or(&none);
        let alarms: Vec<AlarmView> = alarms.iter().filter_map(|alarm| view_of(alarm, tags)).collect();
        let (mut deeds, mut alarm) = (Vec::new(), None);
        for action in self.operator.decide(plant, &alarms) {
            match action {
                Action::AckAlarm(id) => alarm = alarm.or(Some(id)),
                Action::AtMachine(Deed::PressStart) if self.phase != Phase::Run => {}
                Action::AtMachine(deed) => deeds.push(deed),
            }
        }
        if self.open.is_some() {
            return (deeds, None);
        }
        (deeds, self.ask(alarm))
    }

    fn ask(&mut self, alarm: Option<u64>) -> Option<String> {
        let batch = json!(BATCH).to_string();
        self.last_id += 1;
        let id = self.last_id;
        let line = |word, parts: &[(&str, &str)]| request_line(id, "operator", word, parts);
        if let Some(alarm) = alarm {
            self.open = Some((id, false));
            return Some(line("alarm_ack", &[("alarm", &alarm.to_string())]));
        }
        let asked = match self.phase {
            Phase::Load => line("batch_load", &[("order", &self.order)]),
            Phase::Start => line("batch_start", &[("batch", &batch)]),
            Phase::Stop => line("batch_stop", &[("batch", &batch)]),
            Phase::Close => line("batch_close", &[("batch", &batch)]),
            Phase::Run | Phase::Done => return None,
        };
        self.open = Some((id, true));
        Some(asked)
    }

    pub(super) fn hear(&mut self, answer: &str) {
        let Ok(answer) = serde_json::from_str::<ClientAnswer>(answer) else { return };
        let Some((_, is_of_phase)) = self.open.take_if(|(id, _)| *id == answer.id) else { return };
        if !is_of_phase {
            return;
        }
        let is_gone = answer.reasons.iter().any(|reason| reason.code == "unknown_batch");
        let is_done = answer.ok || (self.may_be_closed && is_gone);
        if !is_done {
            self.refused = format!("{:?} {:?}", answer.reasons, answer.differences);
            return;
        }
        self.phase = match self.phase {
            Phase::Load => Phase::Start,
            Phase::Start => Phase::Run,
            Phase::Stop => Phase::Close,
            Phase::Close => Phase::Done,
            other @ (Phase::Run | Phase::Done) => other,
        };
    }

    /// The subject died: its answer will not come.
    pub(super) fn forget(&mut self) {
        self.may_be_closed |= self.open.take().is_some() && self.phase == Phase::Close;
    }
}

fn view_of(alarm: &Value, tags: &Tags) -> Option<AlarmView> {
    let id = alarm.get("alarm")?.as_u64()?;
    let station = alarm.get("station").and_then(Value::as_str).and_then(StationKind::parse);
    let detail = alarm.get("detail").and_then(Value::as_str).unwrap_or_default();
    Some(AlarmView::read(id, station, detail, tags))
}

/// An order with serials for many restarts, each of which may burn a printer's buffer.
fn order(units: u64, (case, pallet): (usize, usize), seed: u64) -> String {
    let count = units * 4 + 200;
    let mut random = Random::new(seed);
    let serials: Vec<String> = (0..count).map(|at| format!("{at:04}{:04X}", random.below(0x1_0000))).collect();
    json!({
        "batch": BATCH,
        "gtin": "09506000134352",
        "lot": "L7",
        "expiry": "2029-03-31",
        "gcp_length": 7,
        "pack": { "case": case, "pallet": pallet },
        "sscc": { "extension": 0, "prefix": "9506000", "first": 1, "last": count },
        "serials": serials,
    })
    .to_string()
}
