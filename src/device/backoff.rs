//! Waiting times between attempts to connect: doubling, bounded, with jitter, so that many lines behind one switch do not come
//! back in step (reliability catalogue F73: no reconnect storm). Reproducible from the device and the attempt; no randomness.

use std::time::Duration;

use crate::domain::tag::DeviceId;

/// The wait before attempt number `attempt` (0 = the first repetition): between half of and the whole doubled time.
pub(super) fn wait(min: Duration, max: Duration, device: DeviceId, attempt: u32) -> Duration {
    let doubled = min.saturating_mul(1u32.checked_shl(attempt).unwrap_or(u32::MAX)).clamp(min, max.max(min));
    let half = doubled / 2;
    let spread = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
    half + Duration::from_micros(noise(device, attempt) % spread.saturating_add(1))
}

/// Marsaglia's xorshift64, a few rounds, so that near seeds lie far apart.
fn noise(device: DeviceId, attempt: u32) -> u64 {
    let mut state = (u64::from(device.0) << 32 | u64::from(attempt)) ^ 0x9E37_79B9_7F4A_7C15;
    for _ in 0..4 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(200);
    const MAX: Duration = Duration::from_secs(5);

    #[test]
    fn waits_at_least_half_of_the_doubled_time_and_never_more_than_the_bound() {
        for attempt in 0..200 {
            let full = MIN.saturating_mul(1 << attempt.min(20)).min(MAX);
            let wait = wait(MIN, MAX, DeviceId(3), attempt);
            assert!(wait >= full / 2 && wait <= full, "{attempt}: {wait:?}");
        }
    }

    #[test]
    fn devices_do_not_come_back_in_step() {
        let waits: std::collections::BTreeSet<_> = (0..32).map(|device| wait(MIN, MAX, DeviceId(device), 6)).collect();
        assert!(waits.len() >= 30);
    }
}
