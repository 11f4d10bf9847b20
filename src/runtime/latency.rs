//! How long verdicts take against the time that they have. Two ways are timed, over the newest ten thousand of each: from the arrival
//! of a result to the departure of its pass, and to the echo with which the machine answers it.
//!
//! The blade takes a pass until `verdict_deadline_ms`. Half of that is ours: where 999 of 1000 verdicts do not keep it, the line is
//! too slow for its belt, and an alarm says so, before units are rejected for it. The alarm holds nothing: a pass that is late is a
//! reject. It is judged over a thousand samples at least, and anew after it was told.

use std::collections::VecDeque;

use crate::engine::decide::Decide;
use crate::engine::{Engine, Role};
use crate::line::Turn;
use crate::wire::topic::{Quantiles, VerdictsNow};

const KEPT: usize = 10_000;
/// Fewer say nothing about one in a thousand.
const JUDGED_MIN: usize = 1000;
/// Quantiles of ten thousand are worked out this often at most.
const EVERY_US: u64 = 1_000_000;

#[derive(Default)]
pub(super) struct Latency {
    departed: Newest,
    echoed: Newest,
    shown: VerdictsNow,
    shown_at_us: Option<u64>,
}

/// The newest times, microseconds, oldest first.
#[derive(Default)]
struct Newest {
    times: VecDeque<u64>,
}

impl Latency {
    pub(super) fn add(&mut self, turn: &Turn) {
        self.departed.add(&turn.verdicts_us);
        self.echoed.add(&turn.echoes_us);
    }

    /// As of the last second.
    pub(super) fn now(&self) -> VerdictsNow {
        self.shown.clone()
    }

    /// Works the quantiles out again where that is due; what a person must know where they take too much of the deadline.
    pub(super) fn look(&mut self, mono_us: u64, engine: &Engine) -> Option<String> {
        if self.shown_at_us.is_some_and(|at_us| mono_us.saturating_sub(at_us) < EVERY_US) {
            return None;
        }
        self.shown_at_us = Some(mono_us);
        let deadline_us = deadline_us(engine);
        self.shown = VerdictsNow { deadline_us, departed: self.departed.quantiles(), echoed: self.echoed.quantiles() };
        // What the machine has confirmed says more than what was sent to it.
        let judged = if self.echoed.times.len() >= JUDGED_MIN { &self.shown.echoed } else { &self.shown.departed };
        let said = judged.as_ref().and_then(|quantiles| doubt(quantiles, deadline_us?));
        if said.is_some() {
            (self.departed, self.echoed) = (Newest::default(), Newest::default());
        }
        said
    }
}

/// 999 of 1000 took longer than half of the deadline.
fn doubt(quantiles: &Quantiles, deadline_us: u64) -> Option<String> {
    let is_slow = quantiles.samples >= JUDGED_MIN as u64 && quantiles.p999_us.saturating_mul(2) > deadline_us;
    let Quantiles { p999_us, samples, .. } = quantiles;
    is_slow.then(|| {
        let (taken, given) = (p999_us / 1000, deadline_us / 1000);
        format!("p99.9 of {samples} verdicts is {taken} ms, and half of the deadline of {given} ms is theirs")
    })
}

/// Of the camera that waits for our verdicts.
fn deadline_us(engine: &Engine) -> Option<u64> {
    engine.settings().stations.iter().find_map(|spec| match spec.role {
        Role::Camera { verdict_deadline_us, decide: Decide::Line, .. } => Some(verdict_deadline_us),
        Role::Camera { .. } | Role::Printer { .. } | Role::Rejector | Role::Packer { .. } => None,
    })
}

impl Newest {
    fn add(&mut self, times_us: &[u64]) {
        for time in times_us {
            if self.times.len() == KEPT {
                self.times.pop_front();
            }
            self.times.push_back(*time);
        }
    }

    /// `None` before the first.
    fn quantiles(&self) -> Option<Quantiles> {
        let mut sorted: Vec<u64> = self.times.iter().copied().collect();
        sorted.sort_unstable();
        let at = |thousandth: usize| sorted.get(sorted.len().saturating_sub(1) * thousandth / 1000).copied();
        let samples = sorted.len() as u64;
        Some(Quantiles { samples, p50_us: at(500)?, p99_us: at(990)?, p999_us: at(999)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tag::StationId;
    use crate::domain::text::Name;
    use crate::engine::state::State;
    use crate::engine::{Settings, StationSpec};

    fn engine(decide: Decide) -> Engine {
        let role = Role::Camera { rejector: StationId(1), grade_min_milli: 0, verdict_deadline_us: 400_000, decide };
        let stations = vec![StationSpec::new(Name::new("camera").unwrap(), role)];
        Engine::new(Settings { stations }, State::default())
    }

    fn turn(verdicts_us: Vec<u64>, echoes_us: Vec<u64>) -> Turn {
        Turn { verdicts_us, echoes_us, ..Turn::default() }
    }

    // F28
    #[test]
    fn two_slow_verdicts_in_a_thousand_are_told_once_and_one_is_not() {
        for (slow, told) in [(1, false), (2, true)] {
            let (mut latency, engine) = (Latency::default(), engine(Decide::Line));
            latency.add(&turn([vec![200_001; slow], vec![5_000; 1000 - slow]].concat(), vec![]));
            let said = latency.look(0, &engine);
            assert_eq!(said.is_some(), told, "{said:?}");
            assert_eq!(latency.now().departed.map(|quantiles| quantiles.p50_us), Some(5_000));
            latency.add(&turn(vec![200_001; 500], vec![]));
            let again = latency.look(1_000_000, &engine);
            assert_eq!(again.is_some(), !told, "five hundred are not enough to judge anew: {again:?}");
        }
    }

    #[test]
    fn the_echo_of_the_machine_counts_where_there_is_one_and_a_deciding_device_waits_for_nobody() {
        let slow_echoes = turn(vec![5_000; 1000], vec![300_000; 1000]);
        for (decide, told) in [(Decide::Line, true), (Decide::Device, false)] {
            let mut latency = Latency::default();
            latency.add(&slow_echoes);
            assert_eq!(latency.look(0, &engine(decide)).is_some(), told);
        }
    }

    #[test]
    fn quantiles_are_worked_out_once_a_second_over_the_newest_ten_thousand() {
        let (mut latency, engine) = (Latency::default(), engine(Decide::Device));
        latency.add(&turn(vec![1; 20_000], vec![]));
        latency.look(0, &engine);
        latency.add(&turn(vec![9; 10_000], vec![]));
        latency.look(999_999, &engine);
        assert_eq!(latency.now().departed.map(|quantiles| (quantiles.samples, quantiles.p999_us)), Some((10_000, 1)));
        latency.look(1_000_000, &engine);
        assert_eq!(latency.now().departed.map(|quantiles| quantiles.p50_us), Some(9));
    }
}
