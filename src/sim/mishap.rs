//! What goes wrong on a line, from outside the controller: one closed list, a plan of when, and a count of what did.
//!
//! Contract: the plan is made from a seed and by the number of the unit that enters, so the same seed gives the same mishaps
//! whatever the clock does. In each stretch of [`STRETCH`] units (or of the whole run, where that is shorter) every enabled kind
//! begins at least once, spread evenly, so that the effects of one can mostly be told from those of the next. A mishap that
//! finds nothing to happen to (no unit in the bin yet, no request) is owed and tried again with a later unit.
//!
//! The plant notes `TruthEvent::Mishap` when a mishap really happens, with the units and the container that it touched, and
//! `TruthEvent::Touched` for those that it touches later. The effects themselves are in `physics::rough` and at the machines.
//! `BrokerAway` and the slow disks lie outside of the plant: it asks for them (`Plant::take_calls`) and is told with
//! `Deed::Began` and `Deed::Ended`.

use std::collections::VecDeque;
use std::fmt;

use super::random::Random;

/// Units in which every enabled kind happens at least once.
pub const STRETCH: u64 = 2000;
/// A mishap that could not happen is tried again so many units later.
const TRY_AGAIN: u64 = 10;

macro_rules! mishaps {
    ($($(#[$doc:meta])* $variant:ident $name:literal),+ $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mishap { $($(#[$doc])* $variant),+ }

        impl Mishap {
            pub const ALL: &'static [Mishap] = &[$(Mishap::$variant),+];

            /// The stable word, lower snake case: in the truth file and in summaries.
            pub fn name(self) -> &'static str {
                match self { $(Mishap::$variant => $name),+ }
            }

            pub fn parse(name: &str) -> Option<Mishap> {
                Mishap::ALL.iter().copied().find(|mishap| mishap.name() == name)
            }
        }
    };
}

mishaps! {
    /// The code of a unit is illegible.
    NoRead "no_read",
    LowGrade "low_grade",
    WrongLot "wrong_lot",
    WrongExpiry "wrong_expiry",
    /// Another product's GTIN, with a right check digit.
    ForeignGtin "foreign_gtin",
    /// A unit bears what an earlier one bears.
    Duplicate "duplicate",
    /// Two neighbours change places, before the camera or behind it.
    SwappedUnits "swapped_units",
    /// A trigger without a result, or a result that the camera drops with its number.
    MissedResult "missed_result",
    /// A result comes again under a new number, or its number shows other bytes.
    RepeatedResult "repeated_result",
    /// Everything that a station shows stands still for a while, with good quality; the machine goes on.
    FrozenValue "frozen_value",
    /// What a station shows is bad or uncertain for a while.
    BadQuality "bad_quality",
    /// One unit is counted and seen twice: the second track has no unit.
    DoubleTrigger "double_trigger",
    /// A hand takes a unit off the belt: before the camera, before the blade or behind the gate.
    UnitRemoved "unit_removed",
    /// A unit that was taken off, or lay in the bin, is put back: before the camera or behind the gate.
    UnitPutBack "unit_put_back",
    /// A unit that should be rejected slips through the gate, or is seen by no sensor.
    MissingReject "missing_reject",
    /// Something falls into the bin without a command.
    PhantomReject "phantom_reject",
    RestartNewEpoch "restart_new_epoch",
    /// The counters begin anew and the epoch stays: nobody can know what was lost, until it is restarted properly.
    RestartOldEpoch "restart_old_epoch",
    /// A camera's result comes late, perhaps too late for the blade.
    SlowDevice "slow_device",
    /// A permit that the station forgets at once, or one whose outcome it does not show, for a while or never.
    LostPermitAck "lost_permit_ack",
    /// A gate moves unasked; a container may be sealed by it.
    GateForced "gate_forced",
    /// The labeller applies the label of another container.
    LabelSwapped "label_swapped",
    /// A container asks to be sealed before it is full.
    ShortCase "short_case",
    /// The printer restarts and burns what its buffer holds.
    PrinterRestart "printer_restart",
    BrokerAway "broker_away",
    /// A commit that takes half a second longer.
    SlowDiskHalf "slow_disk_half",
    /// A commit that takes two seconds longer.
    SlowDiskTwo "slow_disk_two",
}

impl Mishap {
    /// Whether it lies outside of the plant: in the broker or in the controller's disk.
    pub fn is_outside(self) -> bool {
        matches!(self, Mishap::BrokerAway | Mishap::SlowDiskHalf | Mishap::SlowDiskTwo)
    }
}

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which kinds happen, and how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rough {
    pub kinds: Vec<Mishap>,
    /// Each kind begins this often in a stretch, or once more.
    pub times: u32,
}

impl Rough {
    pub fn none() -> Self {
        Self::default()
    }

    /// Every kind, once or twice in a stretch.
    pub fn all() -> Self {
        Self { kinds: Mishap::ALL.to_vec(), times: 1 }
    }
}

/// A mishap that is due, with a number to choose its variant by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    pub mishap: Mishap,
    pub draw: u64,
}

impl Planned {
    /// One of `count` choices; each `turn` is a choice of its own.
    pub fn choose(self, turn: u32, count: u64) -> u64 {
        (self.draw >> (turn % 8 * 8)).checked_rem(count).unwrap_or(0)
    }
}

/// What happens when, by the number of the unit that enters.
#[derive(Clone, Debug)]
pub struct Plan {
    random: Random,
    rough: Rough,
    stretch: u64,
    /// Units that are planned for so far.
    planned_to: u64,
    due: VecDeque<(u64, Planned)>,
}

impl Plan {
    /// `units_min` is the length of the run, as far as it is known.
    pub fn new(seed: u64, rough: Rough, units_min: u64) -> Self {
        let stretch = units_min.clamp(1, STRETCH);
        let random = Random::new(seed ^ 0x006D_6973_6861_7073);
        Self { random, rough, stretch, planned_to: 0, due: VecDeque::new() }
    }

    /// What begins with this unit, one thing at most; what is left begins with the next.
    pub fn take(&mut self, unit: u64) -> Option<Planned> {
        while unit > self.planned_to && !self.rough.kinds.is_empty() {
            self.plan_stretch();
        }
        self.due.pop_front_if(|(at, _)| *at <= unit).map(|(_, planned)| planned)
    }

    /// It could not happen yet: again with a later unit.
    pub fn owe(&mut self, planned: Planned, unit: u64) {
        let at = unit.saturating_add(TRY_AGAIN);
        let place = self.due.partition_point(|(other, _)| *other <= at);
        self.due.insert(place, (at, planned));
    }

    /// How often each enabled kind happens at least in a run of so many units.
    pub fn times_in(&self, units: u64) -> u64 {
        (units / self.stretch).max(1) * u64::from(self.rough.times.max(1))
    }

    pub fn kinds(&self) -> &[Mishap] {
        &self.rough.kinds
    }

    /// The first units are left alone, and the last ones see the effects of what began before.
    fn plan_stretch(&mut self) {
        let mut kinds = Vec::new();
        for mishap in &self.rough.kinds {
            let times = u64::from(self.rough.times.max(1)) + self.random.below(2);
            kinds.extend((0..times).map(|_| *mishap));
        }
        for last in (1..kinds.len()).rev() {
            let other = usize::try_from(self.random.below(last as u64 + 1)).unwrap_or(0);
            kinds.swap(last, other);
        }
        let first = self.planned_to + self.stretch / 40;
        let width = (self.stretch * 8 / 10 / (kinds.len() as u64).max(1)).max(1);
        for (index, mishap) in (0..).zip(kinds) {
            let at = first + index * width + self.random.below(width);
            self.due.push_back((at, Planned { mishap, draw: self.random.next_u64() }));
        }
        self.due.make_contiguous().sort_by_key(|(at, _)| *at);
        self.planned_to += self.stretch;
    }
}

/// How often each kind happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    counts: Vec<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self { counts: vec![0; Mishap::ALL.len()] }
    }
}

impl Tally {
    pub fn add(&mut self, mishap: Mishap) {
        if let Some(count) = self.counts.get_mut(mishap as usize) {
            *count += 1;
        }
    }

    pub fn of(&self, mishap: Mishap) -> u64 {
        self.counts.get(mishap as usize).copied().unwrap_or(0)
    }

    /// Every kind with its count, in the order of the list.
    pub fn rows(&self) -> impl Iterator<Item = (Mishap, u64)> + '_ {
        Mishap::ALL.iter().map(|mishap| (*mishap, self.of(*mishap)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(seed: u64, units: u64) -> Vec<(u64, Planned)> {
        let mut plan = Plan::new(seed, Rough::all(), units);
        (1..=units).filter_map(|unit| plan.take(unit).map(|planned| (unit, planned))).collect()
    }

    #[test]
    fn plans_every_kind_in_every_stretch_and_the_same_for_the_same_seed() {
        for seed in 0..50 {
            let all = planned(seed, 2 * STRETCH);
            for stretch in [1..=STRETCH, STRETCH + 1..=2 * STRETCH] {
                for mishap in Mishap::ALL {
                    let is_there = |(at, p): &(u64, Planned)| stretch.contains(at) && p.mishap == *mishap;
                    assert!(all.iter().any(is_there), "{mishap} is missing in {stretch:?} of seed {seed}");
                }
            }
        }
        assert_eq!(planned(3, 900), planned(3, 900));
        assert_ne!(planned(3, 900), planned(4, 900));
    }

    #[test]
    fn a_short_run_has_every_kind_too() {
        let kinds: std::collections::BTreeSet<Mishap> = planned(1, 300).iter().map(|(_, p)| p.mishap).collect();
        assert_eq!(kinds.len(), Mishap::ALL.len());
    }

    #[test]
    fn what_is_owed_comes_again() {
        let mut plan = Plan::new(1, Rough::none(), 100);
        assert_eq!(plan.take(1), None);
        let owed = Planned { mishap: Mishap::Duplicate, draw: 7 };
        plan.owe(owed, 1);
        assert_eq!(plan.take(5), None);
        assert_eq!(plan.take(11), Some(owed));
        assert_eq!(plan.take(12), None);
    }

    #[test]
    fn names_are_stable_words_and_read_back() {
        for mishap in Mishap::ALL {
            assert_eq!(Mishap::parse(mishap.name()), Some(*mishap));
            assert!(mishap.name().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        }
    }
}
