//! The stops of a line whose product has gone wrong: so many rejects in a row, or so many among the last units. One bad unit is
//! rejected and forgotten; a row of them says that printer, camera or material needs a person.
//!
//! Class of the rule: `PRODUCT_CONTROL`. The newest inspections are part of the fold, so that a restart forgets none; limits are
//! settings. An acknowledged stop begins to count anew, and so does a batch that is started.

use std::collections::VecDeque;

use crate::engine::Engine;
use crate::engine::fact::Fact;
use crate::engine::output::Step;
use crate::engine::reason::AlarmKind;

/// The widest window, and the longest row.
pub const WINDOW_MAX: u16 = 256;

/// When rejects stop the line. A limit of 0 never does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stops {
    /// Rejects in a row.
    pub in_a_row: u16,
    /// Rejects among the last `of` inspected units.
    pub most: u16,
    pub of: u16,
}

/// The newest inspected units of a batch, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    units: VecDeque<Inspected>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inspected {
    /// The fact that decided it.
    inspection: u64,
    is_reject: bool,
}

impl Recent {
    pub(super) fn note(&mut self, inspection: u64, is_reject: bool) {
        if self.units.len() >= usize::from(WINDOW_MAX) {
            self.units.pop_front();
        }
        self.units.push_back(Inspected { inspection, is_reject });
    }

    /// A pass that was withdrawn, or came too late, is a reject.
    pub(super) fn expire(&mut self, inspection: u64) {
        if let Some(unit) = self.units.iter_mut().rev().find(|unit| unit.inspection == inspection) {
            unit.is_reject = true;
        }
    }

    pub(super) fn forget(&mut self) {
        self.units.clear();
    }

    fn in_a_row(&self) -> usize {
        self.units.iter().rev().take_while(|unit| unit.is_reject).count()
    }

    fn among(&self, last: u16) -> usize {
        self.units.iter().rev().take(usize::from(last)).filter(|unit| unit.is_reject).count()
    }
}

impl Engine {
    /// Looks at the limits where this step has refused a unit.
    pub(super) fn stop_for_rejects(&mut self, step: &mut Step) {
        let Stops { in_a_row, most, of } = self.policy.stops;
        let refused =
            |fact: &Fact| matches!(fact, Fact::Failed { .. } | Fact::Missed { .. } | Fact::PassExpired { .. });
        if (in_a_row == 0 && most == 0) || !step.facts.iter().any(|entry| refused(&entry.fact)) {
            return;
        }
        let Some(recent) = self.state.current().map(|batch| &batch.recent) else { return };
        let (row, among) = (recent.in_a_row(), recent.among(of));
        let camera = self.camera();
        if in_a_row > 0 && row >= usize::from(in_a_row) {
            let detail = format!("{row} rejects in a row, the limit is {in_a_row} (PRODUCT_CONTROL)");
            self.raise(step, AlarmKind::RejectsInARow, camera, detail);
        }
        if most > 0 && among >= usize::from(most) {
            let detail = format!("{among} rejects among the last {of} units, the limit is {most} (PRODUCT_CONTROL)");
            self.raise(step, AlarmKind::RejectsTooMany, camera, detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_bounded_and_forgets_the_oldest() {
        let mut recent = Recent::default();
        for inspection in 0..1000 {
            recent.note(inspection, inspection < 999);
        }
        assert_eq!((recent.units.len(), recent.in_a_row(), recent.among(256)), (256, 0, 255));
        recent.expire(999);
        assert_eq!((recent.in_a_row(), recent.among(10)), (256, 10));
        recent.expire(1);
        recent.forget();
        assert_eq!((recent.in_a_row(), recent.among(256)), (0, 0));
    }
}
