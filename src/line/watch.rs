//! Compares the two clocks of each turn: did the wall clock go elsewhere than the monotonic one, and did time pass without a turn?
//!
//! Slewing (NTP) moves both clocks of Linux alike, so that any difference between them is a step. Small steps add up: they are
//! measured against the last step, not against the last turn. A wall clock that falls is always a step, however small.

use crate::domain::time::Now;

/// A step that is worth a fact (F37).
const STEP_MIN_US: i64 = 250_000;
/// Turns come at every tick, twenty a second: after such a gap nothing that was seen before it counts.
const PAUSE_MIN_US: u64 = 1_000_000;

/// The clocks at the last turn and at the last step.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    last: Option<Now>,
    anchor: Now,
}

/// What one look found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// What the wall clock should have shown, and what it shows.
    pub(super) stepped: Option<(i64, i64)>,
    pub(super) paused_us: Option<u64>,
}

impl Watch {
    pub(super) fn look(&mut self, now: Now) -> Seen {
        let Some(last) = self.last.replace(now) else {
            self.anchor = now;
            return Seen::default();
        };
        let gone = i64::try_from(now.mono_us.saturating_sub(self.anchor.mono_us)).unwrap_or(i64::MAX);
        let expected = self.anchor.wall_us.saturating_add(gone);
        let is_step = now.wall_us.abs_diff(expected) > STEP_MIN_US.unsigned_abs() || now.wall_us < last.wall_us;
        if is_step {
            self.anchor = now;
        }
        let gap = now.mono_us.saturating_sub(last.mono_us);
        Seen { stepped: is_step.then_some((expected, now.wall_us)), paused_us: (gap > PAUSE_MIN_US).then_some(gap) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: i64 = 1_780_315_200_000_000;

    /// Looks every 50 ms; `offsets_ms` is how far the wall clock is off at each.
    fn steps(offsets_ms: &[i64]) -> Vec<Option<i64>> {
        let mut watch = Watch::default();
        let look = |(index, offset): (usize, &i64)| {
            let mono_us = index as u64 * 50_000;
            let seen = watch.look(Now { wall_us: WALL + mono_us as i64 + offset * 1000, mono_us });
            seen.stepped.map(|(from, to)| (to - from) / 1000)
        };
        offsets_ms.iter().enumerate().map(look).collect()
    }

    #[test]
    fn clocks_that_go_together_never_step() {
        assert_eq!(steps(&[0; 100]), vec![None; 100]);
    }

    // F35, F36, F37
    #[test]
    fn a_step_is_seen_once_and_small_ones_add_up() {
        assert_eq!(steps(&[0, 300, 300]), [None, Some(300), None]);
        assert_eq!(steps(&[0, -3_600_000, -3_600_000, 0]), [None, Some(-3_600_000), None, Some(3_600_000)]);
        assert_eq!(steps(&[0, 100, 200, 300, 400, 500]), [None, None, None, Some(300), None, None]);
    }

    // I21
    #[test]
    fn a_wall_clock_that_falls_is_a_step_however_small() {
        assert_eq!(steps(&[0, -49, -49]), [None, None, None], "it still rose by a millisecond");
        assert_eq!(steps(&[0, -60]), [None, Some(-60)]);
    }

    // F08, F14
    #[test]
    fn a_gap_between_turns_is_a_pause_and_not_a_step() {
        let mut watch = Watch::default();
        let at = |mono_us: u64| Now { wall_us: WALL + mono_us as i64, mono_us };
        watch.look(at(0));
        assert_eq!(watch.look(at(1_000_000)), Seen::default());
        let seen = watch.look(at(31_000_000));
        assert_eq!(seen, Seen { stepped: None, paused_us: Some(30_000_000) });
        // A machine that slept: only the wall clock went on.
        let seen = watch.look(Now { wall_us: WALL + 91_000_000, mono_us: 31_050_000 });
        assert_eq!(seen.stepped, Some((WALL + 31_050_000, WALL + 91_000_000)));
    }
}
