//! Whether the line may run: alarms that wait for a person, stations that are away, the state of the batch.

use crate::domain::tag::StationId;
use crate::domain::text::Name;
use crate::engine::Engine;
use crate::engine::fact::Fact;
use crate::engine::output::{Permit, Restraint, Step};
use crate::engine::reason::{AlarmKind, BatchState};

impl Engine {
    /// Raises an alarm unless one of its kind already waits at that station: the facts count, the alarm asks for a look.
    pub(super) fn raise(&mut self, step: &mut Step, kind: AlarmKind, station: Option<StationId>, detail: String) {
        let station = station.and_then(|id| self.spec(id)).map(|spec| spec.name);
        let waits = self.state.alarms.values().any(|alarm| alarm.kind == kind && alarm.station == station);
        if !waits {
            let alarm = self.state.last_alarm.saturating_add(1);
            self.emit(step, Fact::AlarmRaised { alarm, kind, station, detail });
        }
    }

    /// The latched fault word that a station shows now; 0 for none.
    pub fn fault(&self, station: &Name) -> i64 {
        let shown = self.ids().find(|id| self.spec(*id).is_some_and(|spec| spec.name == *station));
        shown.and_then(|id| self.live(id)).and_then(|live| live.fault).unwrap_or(0)
    }

    /// A running batch, every station there, nothing that waits for a person.
    pub fn may_run(&self) -> bool {
        self.state.current().is_some_and(|batch| batch.state == BatchState::Running)
            && self.state.alarms_that_hold() == 0
            && self.ids().all(|id| self.known(id).joined)
    }

    /// Says it to the rejector when it changed. Holding is immediate; running waits for the facts like every permit.
    pub(super) fn settle_run(&mut self, step: &mut Step) {
        let may_run = self.may_run();
        if self.run_said == Some(may_run) {
            return;
        }
        self.run_said = Some(may_run);
        if let Some(station) = self.rejector() {
            self.say_run(step, station);
        }
    }

    pub(super) fn say_run(&self, step: &mut Step, station: StationId) {
        if self.may_run() {
            step.permits.push(Permit::Run { station });
        } else {
            step.restraints.push(Restraint::Hold { station });
        }
    }
}
