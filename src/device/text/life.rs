//! The life of a coder's buffer: what stands in for the epoch that a coder does not have, and how its record numbers become ours.
//!
//! A mark of ours lies in the coder (`SG<epoch>.<base>.<flushed>`), where a power cycle empties it. While the mark stands and the
//! counters agree with the records left in the buffer, this is the buffer that we know: the epoch goes on, after a restart of ours
//! too. Otherwise nobody knows what lies there: the buffer is emptied, and a new epoch begins, with a new mark.
//!
//! A coder goes on counting where ours begins at 1 in every epoch: `base` is its number of our record 0. Records that were cleared
//! within the epoch, up to `flushed`, are neither printed nor left.
//!
//! Without a place for the mark every session is a new life, and its records of before are burned.

use std::hash::{BuildHasher, Hasher, RandomState};

/// The device's own numbers: 0 where it has none yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Buffer {
    pub(super) printed: u64,
    pub(super) accepted: u64,
    /// Where the device tells it.
    pub(super) remaining: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) epoch: u32,
    base: u64,
    flushed: u64,
}

impl Life {
    /// A new life behind an emptied buffer.
    pub(super) fn fresh(buffer: Buffer, last: Option<u32>) -> Self {
        let base = buffer.printed.max(buffer.accepted);
        Self { epoch: fresh_epoch(last), base, flushed: base }
    }

    pub(super) fn parse(mark: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(mark).ok()?.strip_prefix("SG")?;
        let mut parts = text.split('.').map(number);
        let (epoch, base, flushed) = (parts.next()??, parts.next()??, parts.next()??);
        let epoch = u32::try_from(epoch).ok().filter(|epoch| *epoch != 0)?;
        (parts.next().is_none() && flushed >= base).then_some(Self { epoch, base, flushed })
    }

    pub(super) fn mark(&self) -> Vec<u8> {
        format!("SG{}.{}.{}", self.epoch, self.base, self.flushed).into_bytes()
    }

    /// Whether what is left in the buffer is what was taken and neither printed nor cleared. Where the device does not tell what is
    /// left, nothing is proven.
    pub(super) fn agrees(&self, buffer: Buffer) -> bool {
        let gone = buffer.printed.max(self.flushed);
        let taken = buffer.accepted.max(self.flushed);
        buffer.remaining.is_some() && taken.checked_sub(gone) == buffer.remaining
    }

    /// The buffer was emptied in this life.
    pub(super) fn flush(&mut self, buffer: Buffer) {
        self.flushed = self.flushed.max(buffer.accepted).max(buffer.printed);
    }

    /// Notes that the numbers between the last record taken and this one are never sent; `None` where there are none.
    pub(super) fn pass_over(&mut self, number: u64, seen: Buffer) -> Option<Self> {
        let before = number.checked_sub(1)?;
        if before <= seen.accepted.max(self.flushed) {
            return None;
        }
        self.flushed = before;
        Some(*self)
    }

    pub(super) fn printed(&self, buffer: Buffer) -> u64 {
        buffer.printed.saturating_sub(self.base)
    }

    pub(super) fn accepted(&self, buffer: Buffer) -> u64 {
        buffer.accepted.max(self.flushed).saturating_sub(self.base)
    }

    /// The device's number of a record of ours.
    pub(super) fn device_number(&self, seq: u64) -> Option<u64> {
        self.base.checked_add(seq)
    }

    /// Our number of a record of the device; 0 where it is of an earlier life.
    pub(super) fn own_number(&self, number: u64) -> u64 {
        number.saturating_sub(self.base)
    }
}

/// Decimal digits alone.
pub(super) fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// Any epoch but the last and 0. The standard library's hasher is seeded by the operating system.
fn fresh_epoch(last: Option<u32>) -> u32 {
    let noise = RandomState::new().build_hasher().finish();
    let epoch = u32::try_from(noise & 0x7FFF_FFFF).unwrap_or(1).max(1);
    if last == Some(epoch) { epoch ^ 0x4000_0000 } else { epoch }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(printed: u64, accepted: u64, remaining: u64) -> Buffer {
        Buffer { printed, accepted, remaining: Some(remaining) }
    }

    #[test]
    fn a_mark_says_which_life_it_is_and_anything_else_says_none() {
        let life = Life { epoch: 7, base: 120, flushed: 130 };
        assert_eq!(Life::parse(&life.mark()), Some(life));
        for wrong in
            ["", "SG", "SG7", "SG7.1", "SG7.1.1.1", "SG0.1.1", "SG7.-1.1", "SG7.5.4", "SG4294967296.1.1", "7.1.1"]
        {
            assert_eq!(Life::parse(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(Life::parse(&[0xFF]), None);
    }

    #[test]
    fn our_numbers_begin_at_one_wherever_the_coder_counts() {
        let life = Life::fresh(buffer(118, 120, 0), Some(3));
        assert_ne!(life.epoch, 0);
        assert_eq!((life.printed(buffer(118, 120, 0)), life.accepted(buffer(118, 120, 0))), (0, 0));
        assert_eq!(life.device_number(1), Some(121));
        assert_eq!((life.printed(buffer(121, 123, 2)), life.accepted(buffer(121, 123, 2))), (1, 3));
    }

    // F91
    #[test]
    fn a_buffer_that_does_not_hold_what_it_should_is_another_life() {
        let mut life = Life::fresh(buffer(0, 0, 0), None);
        assert!(life.agrees(buffer(0, 0, 0)));
        assert!(life.agrees(buffer(3, 8, 5)));
        assert!(!life.agrees(buffer(3, 8, 0)), "records were lost");
        assert!(!life.agrees(buffer(3, 8, 6)), "one is there twice");
        assert!(!life.agrees(buffer(9, 8, 0)), "one was printed that was never taken");
        assert!(!life.agrees(Buffer { remaining: None, ..buffer(3, 3, 0) }), "nothing is proven");
        life.flush(buffer(3, 8, 0));
        assert!(life.agrees(buffer(3, 8, 0)), "they were cleared");
        assert_eq!(life.accepted(buffer(3, 0, 0)), 8, "a coder that forgets its last number with its buffer");
        assert!(life.agrees(buffer(9, 10, 1)));
        assert_eq!(life.pass_over(11, buffer(9, 10, 1)), None);
        assert!(life.pass_over(21, buffer(10, 10, 0)).is_some(), "11 to 20 were burned before they were sent");
        assert!(life.agrees(buffer(10, 10, 0)) && life.agrees(buffer(10, 21, 1)));
    }
}
