//! A simulated operator: what a calm person at the line does with what is seen there and on the screen.
//!
//! One decision at a time from plain values; carrying it out (at the machine, or through the controller's command line) is
//! the caller's part. Every action may safely be taken twice, but taking out a child, which is asked for once per alarm.

use std::collections::BTreeSet;

use super::physics::{Deed, PlantView};
use crate::domain::tag::StationKind;

/// An alarm on the controller's screen, as far as an operator needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmView {
    pub id: u64,
    /// Whether it waits for an acknowledgement.
    pub is_open: bool,
    /// The child that has to leave its container, where the alarm names one.
    pub bad_child: Option<(StationKind, Vec<u8>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// On the screen.
    AckAlarm(u64),
    /// At the machine.
    AtMachine(Deed),
}

#[derive(Clone, Debug, Default)]
pub struct Operator {
    taken_out_for: BTreeSet<u64>,
}

impl Operator {
    /// First the machine is made safe and mended, then alarms are acknowledged, and only when nothing is left open the belt
    /// is started.
    pub fn decide(&mut self, plant: &PlantView, alarms: &[AlarmView]) -> Vec<Action> {
        let mut actions = Vec::new();
        if plant.fault != 0 {
            actions.push(Action::AtMachine(Deed::ClearFault));
        }
        for alarm in alarms {
            if let Some((kind, code)) = &alarm.bad_child
                && self.taken_out_for.insert(alarm.id)
            {
                actions.push(Action::AtMachine(Deed::TakeOut(*kind, code.clone())));
            }
            if alarm.is_open {
                actions.push(Action::AckAlarm(alarm.id));
            }
        }
        if actions.is_empty() && plant.can_start && !plant.is_finished {
            actions.push(Action::AtMachine(Deed::PressStart));
        }
        actions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarm(id: u64) -> AlarmView {
        AlarmView { id, is_open: true, bad_child: None }
    }

    const READY: PlantView = PlantView { is_running: false, can_start: true, fault: 0, is_finished: false };

    #[test]
    fn starts_only_when_nothing_is_left_open() {
        let mut operator = Operator::default();
        assert_eq!(operator.decide(&READY, &[alarm(3)]), [Action::AckAlarm(3)]);
        let acked = AlarmView { is_open: false, ..alarm(3) };
        let start = [Action::AtMachine(Deed::PressStart)];
        assert_eq!(operator.decide(&READY, &[acked]), start);
        let held = PlantView { can_start: false, ..READY };
        assert_eq!(operator.decide(&held, &[]), []);
        let finished = PlantView { is_finished: true, ..READY };
        assert_eq!(operator.decide(&finished, &[]), []);
    }

    #[test]
    fn clears_a_fault_and_takes_a_bad_child_out_once() {
        let mut operator = Operator::default();
        let faulted = PlantView { fault: 1, ..READY };
        let child = (StationKind::Packer, b"01".to_vec());
        let named = AlarmView { bad_child: Some(child.clone()), ..alarm(4) };
        assert_eq!(
            operator.decide(&faulted, std::slice::from_ref(&named)),
            [
                Action::AtMachine(Deed::ClearFault),
                Action::AtMachine(Deed::TakeOut(child.0, child.1)),
                Action::AckAlarm(4),
            ]
        );
        assert_eq!(operator.decide(&READY, &[named]), [Action::AckAlarm(4)]);
    }
}
