//! A simulated operator: what a calm person at the line does with what is seen there and on the screen.
//!
//! One decision at a time from plain values; carrying it out (at the machine, or through the controller's command line) is
//! the caller's part. Every action may safely be taken twice, but taking out a child, which is asked for once per alarm.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::closer::Refusal;
use super::physics::{Deed, PlantView};
use super::tags::Tags;
use crate::domain::tag::{StationKind, Tag, TagValue};

/// An alarm on the controller's screen, as far as an operator needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmView {
    pub id: u64,
    /// Whether it waits for an acknowledgement.
    pub is_open: bool,
    /// The child that has to leave its container, where the alarm names one.
    pub bad_child: Option<(StationKind, Vec<u8>)>,
}

impl AlarmView {
    /// An open alarm as the screen shows it. Where it names a slot, the machine is asked which child lies there.
    pub fn read(id: u64, station: Option<StationKind>, detail: &str, tags: &Tags) -> Self {
        let slot = detail.split("in slot ").nth(1).and_then(|rest| rest.split(',').next()?.parse::<usize>().ok());
        let bad_child = station.zip(slot).and_then(|(kind, slot)| {
            let Some(TagValue::Texts(children)) = tags.value(kind, Tag::Children) else { return None };
            let code = children.get(slot)?.clone();
            (!code.is_empty()).then_some((kind, code))
        });
        Self { id, is_open: true, bad_child }
    }
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
    /// Since when the screen shows a station as away.
    away_since: BTreeMap<u8, Duration>,
}

/// A station that stays away for longer is restarted: it may have lost its memory and not know it.
const AWAY_MAX: Duration = Duration::from_secs(4);
/// Refusals of one container after which a person does something about it.
const PATIENCE: u32 = 3;

/// What the machine shows (`engine::reason`, tag `reason`) where no alarm names a child.
const MISSING_CHILD: u16 = 7;
const MALFORMED_CHILD: u16 = 8;
const NOT_SEALED: u16 = 15;
const LABEL_MISSING: u16 = 16;
const ON_HOLD: u16 = 18;

impl Operator {
    /// First the machine is made safe and mended, then alarms are acknowledged, and only when nothing is left open the belt
    /// is started.
    pub fn decide(&mut self, plant: &PlantView, alarms: &[AlarmView]) -> Vec<Action> {
        let mut actions = Vec::new();
        let refused = [StationKind::Packer, StationKind::Palletizer].into_iter().zip(plant.refused);
        actions.extend(refused.filter_map(|(kind, refusal)| at_refusal(kind, refusal?)));
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

    /// Restarts what has been away for too long, once each time; `at` is the operator's own clock.
    pub fn mend(&mut self, away: Vec<StationKind>, at: Duration) -> Vec<Action> {
        self.away_since.retain(|kind, _| away.iter().any(|away| *away as u8 == *kind));
        let mut actions = Vec::new();
        for kind in away {
            let since = self.away_since.entry(kind as u8).or_insert(at);
            if at.saturating_sub(*since) >= AWAY_MAX {
                *since = at;
                actions.push(Action::AtMachine(Deed::Reset(kind)));
            }
        }
        actions
    }
}

/// A container that is refused again and again, for a reason that asking again does not mend.
fn at_refusal(kind: StationKind, refusal: Refusal) -> Option<Action> {
    if refusal.times < PATIENCE {
        return None;
    }
    match (refusal.reason, refusal.unread_slot) {
        (MISSING_CHILD | MALFORMED_CHILD, Some(slot)) => Some(Action::AtMachine(Deed::TakeOutSlot(kind, slot))),
        (NOT_SEALED | LABEL_MISSING | ON_HOLD, _) => Some(Action::AtMachine(Deed::TakeAway(kind))),
        (_, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarm(id: u64) -> AlarmView {
        AlarmView { id, is_open: true, bad_child: None }
    }

    const READY: PlantView =
        PlantView { is_running: false, can_start: true, fault: 0, is_finished: false, refused: [None; 2] };

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
