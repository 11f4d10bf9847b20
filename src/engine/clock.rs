//! The wall clock and the passing of time, as facts and alarms. The line runs on whatever the wall clock does: its time-outs are
//! monotonic, and order is by sequence number. Two things need the wall clock: a batch is not started by one that nobody has
//! set, and a site may ask that no unit passes while the clock is not known to be right (`Policy::commission_needs_clock`).
//!
//! Not here: who reads the clocks (`runtime`), who compares them (`line`).

use crate::domain::time::{ClockState, Now};
use crate::engine::fact::Fact;
use crate::engine::output::Step;
use crate::engine::reason::{AlarmKind, RequestRefusal};
use crate::engine::{Engine, civil_date};

/// What is known of the wall clock; found again at every start, so it is no part of the state.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    /// What the machine said last.
    seen: ClockState,
    /// What the newest fact says; `None` before the first of this run.
    found: Option<ClockState>,
}

/// The year of this release: a clock that shows an earlier one was never set.
const RELEASE_YEAR: u32 = 2026;
/// A step forward by more asks for a look.
const FORWARD_MAX_US: i64 = 60_000_000;
/// So does a step backward by more: a leap second is one of a second.
const BACKWARD_MAX_US: i64 = 2_000_000;
const PAUSE_MAX_US: u64 = 5_000_000;
/// Starts after a crash that ask for a look.
const CRASHES_MAX: u32 = 3;

impl Engine {
    /// What is known of the wall clock; unknown before anything was said of it.
    pub fn clock(&self) -> ClockState {
        self.clock.found.unwrap_or_default()
    }

    pub(super) fn see_clock(&mut self, now: Now, step: &mut Step, seen: ClockState) {
        self.clock.seen = seen;
        let (year, ..) = civil_date(now.wall_us);
        let clock = if year < RELEASE_YEAR { ClockState::Unset } else { seen };
        if self.clock.found == Some(clock) {
            return;
        }
        self.clock.found = Some(clock);
        self.emit(step, Fact::ClockFound { clock });
        if clock == ClockState::Unset {
            self.raise(step, AlarmKind::ClockUnset, None, format!("year {year}"));
        }
    }

    pub(super) fn step_clock(&mut self, now: Now, step: &mut Step, from_us: i64, to_us: i64) {
        self.emit(step, Fact::ClockStepped { from_us, to_us });
        let by_us = to_us.saturating_sub(from_us);
        let alarm = if by_us > FORWARD_MAX_US {
            Some((AlarmKind::ClockStepped, "forward"))
        } else if by_us < -BACKWARD_MAX_US {
            Some((AlarmKind::ClockRollback, "backward"))
        } else {
            None
        };
        if let Some((kind, way)) = alarm {
            let seconds = by_us.unsigned_abs() / 1_000_000;
            self.raise(step, kind, None, format!("{seconds} s {way}"));
        }
        if self.clock.found.is_some() {
            self.see_clock(now, step, self.clock.seen);
        }
    }

    /// The stations are lost and join again by themselves; this says why.
    pub(super) fn pause(&mut self, step: &mut Step, paused_us: u64) {
        self.emit(step, Fact::LinePaused { paused_us });
        if paused_us > PAUSE_MAX_US {
            self.raise(step, AlarmKind::LinePaused, None, format!("{} s", paused_us / 1_000_000));
        }
    }

    pub(super) fn crashed(&mut self, step: &mut Step, starts: u32) {
        if starts >= CRASHES_MAX {
            self.raise(step, AlarmKind::CrashLoop, None, format!("{starts} starts after a crash within ten minutes"));
        }
    }

    /// Whether the site's policy keeps units from passing.
    pub(super) fn clock_blocks(&self) -> bool {
        self.policy.commission_needs_clock && self.clock() != ClockState::Synchronised
    }

    /// Why the clock keeps a batch from starting. One that nobody has set cannot say that a product has not expired.
    pub(super) fn clock_refusal(&self) -> Option<RequestRefusal> {
        let refused = self.clock_blocks() || self.clock() == ClockState::Unset;
        refused.then_some(RequestRefusal::ClockUnsure(self.clock()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::input::Input;
    use crate::engine::state::State;
    use crate::engine::{Policy, Settings};

    /// 2026-06-01.
    const JUNE: i64 = 1_780_315_200_000_000;

    fn engine() -> Engine {
        Engine::new(Settings { stations: Vec::new() }, State::default())
    }

    fn at(wall_us: i64) -> Now {
        Now { wall_us, mono_us: 1 }
    }

    fn facts(engine: &mut Engine, wall_us: i64, input: Input) -> Vec<Fact> {
        engine.step(at(wall_us), input).facts.into_iter().map(|entry| entry.fact).collect()
    }

    fn alarms(engine: &Engine) -> Vec<(AlarmKind, &str)> {
        engine.state().alarms.values().map(|alarm| (alarm.kind, alarm.detail.as_str())).collect()
    }

    #[test]
    fn what_is_known_of_the_clock_is_a_fact_at_first_and_when_it_changes() {
        let mut engine = engine();
        let seen = |engine: &mut Engine, state| facts(engine, JUNE, Input::ClockSeen(state));
        let found = |clock| vec![Fact::ClockFound { clock }];
        assert_eq!(seen(&mut engine, ClockState::Unknown), found(ClockState::Unknown));
        assert_eq!(seen(&mut engine, ClockState::Unknown), []);
        assert_eq!(seen(&mut engine, ClockState::Synchronised), found(ClockState::Synchronised));
        assert_eq!(seen(&mut engine, ClockState::Unsynchronised), found(ClockState::Unsynchronised));
        assert_eq!(engine.state().alarms.len(), 0, "that alone is no alarm");
    }

    // F35, F36, F37, F40, F41
    #[test]
    fn a_step_is_a_fact_and_only_a_large_one_an_alarm_which_never_holds_the_line() {
        for (by_us, alarm) in [
            (300_000, None),
            (-300_000, None),
            (-1_000_000, None),
            (60_000_000, None),
            (61_000_000, Some((AlarmKind::ClockStepped, "61 s forward"))),
            (-3_600_000_000, Some((AlarmKind::ClockRollback, "3600 s backward"))),
        ] {
            let mut engine = engine();
            let step = Input::ClockStepped { from_us: JUNE, to_us: JUNE + by_us };
            let facts = facts(&mut engine, JUNE + by_us, step);
            assert_eq!(facts.first(), Some(&Fact::ClockStepped { from_us: JUNE, to_us: JUNE + by_us }));
            assert_eq!(alarms(&engine), alarm.into_iter().collect::<Vec<_>>(), "{by_us}");
            assert_eq!(engine.state().alarms_that_hold(), 0);
        }
    }

    // F38
    #[test]
    fn a_clock_that_shows_1970_was_never_set_whatever_the_machine_says() {
        let mut engine = engine();
        facts(&mut engine, 0, Input::ClockSeen(ClockState::Synchronised));
        assert_eq!(engine.clock(), ClockState::Unset);
        assert_eq!(alarms(&engine), [(AlarmKind::ClockUnset, "year 1970")]);
        assert_eq!(engine.clock_refusal(), Some(RequestRefusal::ClockUnsure(ClockState::Unset)));
        let facts = facts(&mut engine, JUNE, Input::ClockStepped { from_us: 0, to_us: JUNE });
        assert!(facts.contains(&Fact::ClockFound { clock: ClockState::Synchronised }), "{facts:?}");
        assert_eq!(engine.clock_refusal(), None);
    }

    // F38
    #[test]
    fn an_unsynchronised_clock_blocks_only_where_the_policy_says_so() {
        for (needs, state, refused) in [
            (false, ClockState::Unsynchronised, false),
            (false, ClockState::Unknown, false),
            (true, ClockState::Unsynchronised, true),
            (true, ClockState::Unknown, true),
            (true, ClockState::Synchronised, false),
        ] {
            let mut engine = engine().with_policy(Policy { commission_needs_clock: needs, ..Policy::default() });
            facts(&mut engine, JUNE, Input::ClockSeen(state));
            assert_eq!(
                (engine.clock_blocks(), engine.clock_refusal().is_some()),
                (refused, refused),
                "{needs} {state:?}"
            );
        }
    }

    // F08, F13
    #[test]
    fn a_long_pause_and_a_third_crash_ask_for_a_look() {
        let mut engine = engine();
        assert_eq!(
            facts(&mut engine, JUNE, Input::Paused { paused_us: 2_000_000 }),
            [Fact::LinePaused { paused_us: 2_000_000 }]
        );
        assert_eq!(alarms(&engine), []);
        facts(&mut engine, JUNE, Input::Crashed { starts: 2 });
        assert_eq!(alarms(&engine), []);
        facts(&mut engine, JUNE, Input::Paused { paused_us: 30_000_000 });
        facts(&mut engine, JUNE, Input::Crashed { starts: 3 });
        assert_eq!(
            alarms(&engine),
            [(AlarmKind::LinePaused, "30 s"), (AlarmKind::CrashLoop, "3 starts after a crash within ten minutes")]
        );
        assert_eq!(engine.state().alarms_that_hold(), 0);
    }
}
