//! Counters as devices show them: short, wrapping, 0 for "none yet"; and as the rest of the program sees them: 64 bits that
//! never fall within an epoch.
//!
//! Convention: a counter with `wrap = W` takes the values 1 to W and then 1 again, so its period is W and 0 is never shown
//! after the first event of an epoch. A ring of N slots needs W to be a multiple of N; then `raw % N` and `unwrapped % N`
//! name the same slot. Without `wrap` the raw value is the count. Two readings must lie less than half a period apart: what
//! would be a larger step is a counter that went backwards, and the caller has to doubt the device.

/// One counter and the last value accepted from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    wrap: Option<u64>,
    last: Option<u64>,
}

impl Counter {
    /// `last` is `None` where nothing is known: the first value is then taken as it stands.
    pub fn new(wrap: Option<u64>, last: Option<u64>) -> Self {
        Self { wrap: wrap.filter(|wrap| *wrap > 0), last }
    }

    pub fn last(&self) -> Option<u64> {
        self.last
    }

    /// Accepts `count`, which `read` gave.
    pub fn accept(&mut self, count: u64) {
        self.last = Some(count);
    }

    /// A new epoch: the count starts again at 0, or wherever the device stands where that is not known.
    pub fn restart(&mut self, last: Option<u64>) {
        self.last = last;
    }

    /// The count nearest at or above the last one that shows as `raw`; `None` where the counter fell or left its range.
    pub fn read(&self, raw: u64) -> Option<u64> {
        let last = self.last.unwrap_or(0);
        let Some(wrap) = self.wrap else {
            return (raw >= last).then_some(raw);
        };
        if raw > wrap || (raw == 0 && last > 0) {
            return None;
        }
        if last == 0 {
            return Some(raw);
        }
        // `shown` lies in 1..=wrap, as `raw` does here.
        let step = raw.checked_add(wrap)?.checked_sub(shown(self.wrap, last))?.checked_rem(wrap)?;
        (step <= wrap.checked_div(2)?).then(|| last.checked_add(step)).flatten()
    }

    /// How the device shows `count`.
    pub fn shown(&self, count: u64) -> u64 {
        shown(self.wrap, count)
    }
}

/// How a counter of period `wrap` shows `count`.
pub fn shown(wrap: Option<u64>, count: u64) -> u64 {
    match (wrap, count.checked_sub(1)) {
        (Some(wrap), Some(before)) => before.checked_rem(wrap).map_or(count, |rest| rest.saturating_add(1)),
        (Some(_), None) | (None, _) => count,
    }
}

/// The number nearest to `anchor`, on either side, that shows as `raw`: for numbers that come out of order, as tracks do.
/// `None` for 0 and for what the counter cannot show.
pub fn nearest(wrap: Option<u64>, anchor: u64, raw: u64) -> Option<u64> {
    let Some(wrap) = wrap.filter(|wrap| *wrap > 0) else {
        return (raw > 0).then_some(raw);
    };
    if raw == 0 || raw > wrap {
        return None;
    }
    let lap = anchor.saturating_sub(1).checked_div(wrap)?.checked_mul(wrap)?;
    let middle = lap.checked_add(raw)?;
    [middle.checked_sub(wrap), Some(middle), middle.checked_add(wrap)]
        .into_iter()
        .flatten()
        .filter(|number| *number > 0)
        .min_by_key(|number| number.abs_diff(anchor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_comes_after_the_highest_value() {
        let counter = Counter::new(Some(65_535), Some(65_535));
        assert_eq!(counter.read(1), Some(65_536));
        assert_eq!(counter.read(65_535), Some(65_535));
        assert_eq!(counter.shown(65_536), 1);
        assert_eq!(counter.shown(0), 0);
    }

    #[test]
    fn zero_after_the_first_event_is_a_fall() {
        assert_eq!(Counter::new(Some(8), Some(3)).read(0), None);
        assert_eq!(Counter::new(None, Some(3)).read(0), None);
        assert_eq!(Counter::new(Some(8), Some(0)).read(0), Some(0));
        assert_eq!(Counter::new(Some(8), None).read(8), Some(8));
    }

    #[test]
    fn more_than_half_a_period_is_a_fall_and_more_than_the_period_is_no_value() {
        let counter = Counter::new(Some(100), Some(10));
        assert_eq!(counter.read(60), Some(60));
        assert_eq!(counter.read(61), None);
        assert_eq!(counter.read(9), None);
        assert_eq!(counter.read(101), None);
    }

    #[test]
    fn a_track_is_placed_on_the_nearest_lap() {
        let wrap = Some(32_767);
        assert_eq!(nearest(wrap, 32_767, 1), Some(32_768));
        assert_eq!(nearest(wrap, 32_769, 32_766), Some(32_766));
        assert_eq!(nearest(wrap, 5, 3), Some(3));
        assert_eq!(nearest(wrap, 5, 32_767), Some(32_767));
        assert_eq!(nearest(wrap, 5, 0), None);
        assert_eq!(nearest(None, 5, 70_000), Some(70_000));
    }

    proptest! {
        #[test]
        fn follows_the_true_count(wrap in 4_u64..70_000, steps in proptest::collection::vec(0_u64..40_000, 1..60)) {
            let mut counter = Counter::new(Some(wrap), Some(0));
            let mut count = 0_u64;
            for step in steps {
                count += step % (wrap / 2 + 1);
                let raw = shown(Some(wrap), count);
                prop_assert_eq!(counter.read(raw), Some(count));
                counter.accept(count);
            }
        }

        #[test]
        fn ring_slots_agree_when_the_wrap_is_a_multiple(slots in 1_u64..300, laps in 1_u64..300, count in 1_u64..1_000_000_000) {
            let raw = shown(Some(slots * laps), count);
            prop_assert_eq!(raw % slots, count % slots);
        }

        #[test]
        fn any_raw_value_is_survived(wrap in proptest::option::of(any::<u64>()), last in proptest::option::of(any::<u64>()), raw: u64) {
            let counter = Counter::new(wrap, last);
            if let Some(count) = counter.read(raw) {
                prop_assert!(count >= last.unwrap_or(0));
            }
            let _ = nearest(wrap, last.unwrap_or(0), raw);
        }
    }
}
