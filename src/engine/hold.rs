//! Whether the line may run: alarms that wait for a person, stations that are away, the state of the batch.

use crate::domain::tag::StationId;
use crate::domain::text::Name;
use crate::engine::Engine;
use crate::engine::fact::Fact;
use crate::engine::output::{Permit, Restraint, Step};
use crate::engine::reason::AlarmKind;

/// Doubts about the journal that may wait at once. The line is held by the first; what they are about is found again by
/// `audit verify`.
const DOUBTS_MAX: usize = 8;
/// Characters of a doubt that an alarm keeps.
const DOUBT_CHARS_MAX: usize = 400;

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

    /// Takes back what ended by itself.
    pub(super) fn ease(&mut self, step: &mut Step, kind: AlarmKind) {
        let open: Vec<u32> =
            self.state.alarms.iter().filter(|(_, alarm)| alarm.kind == kind).map(|(alarm, _)| *alarm).collect();
        for alarm in open {
            self.emit(step, Fact::AlarmAcknowledged { alarm });
        }
    }

    /// Raises an alarm for each doubt that does not wait yet: two doubts are about two ranges of facts.
    pub(super) fn doubt(&mut self, step: &mut Step, doubt: String) {
        let detail: String = doubt.chars().take(DOUBT_CHARS_MAX).collect();
        let waiting = self.state.alarms.values().filter(|alarm| alarm.kind == AlarmKind::JournalDoubt);
        if waiting.clone().any(|alarm| alarm.detail == detail) || waiting.count() >= DOUBTS_MAX {
            return;
        }
        let alarm = self.state.last_alarm.saturating_add(1);
        self.emit(step, Fact::AlarmRaised { alarm, kind: AlarmKind::JournalDoubt, station: None, detail });
    }

    /// The latched fault word that a station shows now; 0 for none.
    pub fn fault(&self, station: &Name) -> i64 {
        let shown = self.ids().find(|id| self.spec(*id).is_some_and(|spec| spec.name == *station));
        shown.and_then(|id| self.live(id)).and_then(|live| live.fault).unwrap_or(0)
    }

    /// Whether a doubt about the journal waits for a person: nothing is closed on a record that may not be the whole one.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.state.alarms.values().any(|alarm| alarm.kind == AlarmKind::JournalDoubt)
    }

    /// A batch that runs or runs empty, every station there, nothing that waits for a person.
    pub fn may_run(&self) -> bool {
        self.state.current().is_some_and(|batch| batch.state.is_moving() && self.unapproved(&batch.sheet).is_empty())
            && self.state.alarms_that_hold() == 0
            && !self.clock_blocks()
            && self.ids().all(|id| self.known(id).joined)
            && !self.tracks_settle()
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
