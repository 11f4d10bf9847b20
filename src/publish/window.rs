//! Which packet id carries which message, within one connection.
//!
//! The client library numbers packets when it writes them, not when it takes them, and tells the numbers in the order of our
//! requests. So a message waits in `unnumbered` until its number is told, and in `numbered` until it is acknowledged.
//! Anything that does not fit this order makes the whole connection worthless: the error says so.

use std::collections::{HashMap, VecDeque};

/// The numbers told by the library contradict what we asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutOfStep {
    pub(super) packet_id: u16,
}

#[derive(Debug)]
pub(super) struct Window<T> {
    limit: usize,
    unnumbered: VecDeque<T>,
    numbered: HashMap<u16, T>,
}

impl<T> Window<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), unnumbered: VecDeque::new(), numbered: HashMap::new() }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn used(&self) -> usize {
        self.unnumbered.len().saturating_add(self.numbered.len())
    }

    pub(super) fn has_room(&self) -> bool {
        self.used() < self.limit
    }

    /// The one message that is in flight; `None` where there are more, or none.
    pub(super) fn only(&self) -> Option<&T> {
        let mut all = self.unnumbered.iter().chain(self.numbered.values());
        all.next().filter(|_| self.used() == 1)
    }

    /// A message was handed to the library.
    pub(super) fn asked(&mut self, message: T) {
        self.unnumbered.push_back(message);
    }

    /// The library wrote the oldest message under this number.
    pub(super) fn wrote(&mut self, packet_id: u16) -> Result<(), OutOfStep> {
        let message = self.unnumbered.pop_front().ok_or(OutOfStep { packet_id })?;
        match self.numbered.insert(packet_id, message) {
            None => Ok(()),
            Some(_) => Err(OutOfStep { packet_id }),
        }
    }

    /// The broker answered for this number.
    pub(super) fn answered(&mut self, packet_id: u16) -> Result<T, OutOfStep> {
        self.numbered.remove(&packet_id).ok_or(OutOfStep { packet_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_order_of_requests_and_answers_come_in_any_order() {
        let mut window = Window::new(2);
        window.asked("a");
        window.asked("b");
        assert!(!window.has_room());
        assert_eq!((window.wrote(7), window.wrote(8)), (Ok(()), Ok(())));
        assert_eq!(window.answered(8), Ok("b"));
        assert!(window.has_room());
        assert_eq!(window.answered(7), Ok("a"));
        assert_eq!(window.used(), 0);
    }

    #[test]
    fn refuses_numbers_that_nobody_asked_for_or_that_are_taken() {
        let mut window = Window::new(4);
        assert_eq!(window.wrote(1), Err(OutOfStep { packet_id: 1 }));
        assert_eq!(window.answered(1), Err(OutOfStep { packet_id: 1 }));
        window.asked("a");
        window.asked("b");
        assert_eq!(window.wrote(1), Ok(()));
        assert_eq!(window.wrote(1), Err(OutOfStep { packet_id: 1 }));
    }
}
