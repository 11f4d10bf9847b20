//! One ordered way through the facts: the live feed, or a replay.
//!
//! Pages of whole facts come in; messages go out one by one under an ordinal; acknowledgements come back in any order, and
//! `through` rises to the last fact of which every message, and every message before it, is acknowledged. After a lost
//! connection the lane starts over behind `through`: what was acknowledged beyond it is sent twice, with the same id.

use std::collections::VecDeque;

use super::Outgoing;

/// Below this many waiting messages the next page is asked for.
const LOW_WATER: usize = 64;

#[derive(Debug)]
struct Sent {
    fact_seq: u64,
    is_last_of_fact: bool,
    is_acked: bool,
}

#[derive(Debug)]
pub(super) struct Lane {
    /// Where the lane ends; `u64::MAX` for the live feed.
    end: u64,
    through: u64,
    read_through: u64,
    waiting: VecDeque<Outgoing>,
    sent: VecDeque<Sent>,
    /// Ordinal of the first of `sent`.
    first_ordinal: u64,
}

impl Lane {
    /// The facts after `after` up to and with `end`.
    pub(super) fn new(after: u64, end: u64) -> Self {
        Self {
            end,
            through: after,
            read_through: after,
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            first_ordinal: 0,
        }
    }

    pub(super) fn through(&self) -> u64 {
        self.through
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn is_done(&self) -> bool {
        self.through >= self.end
    }

    pub(super) fn in_flight(&self) -> usize {
        self.sent.iter().filter(|sent| !sent.is_acked).count()
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The highest fact that was read, and so perhaps sent.
    pub(super) fn read_through(&self) -> u64 {
        self.read_through
    }

    /// The fact behind which the next page should be read, if one is wanted and exists.
    pub(super) fn wants_page(&self, head: u64) -> Option<u64> {
        let is_low = self.waiting.len() < LOW_WATER;
        (is_low && self.read_through < head.min(self.end)).then_some(self.read_through)
    }

    /// Takes a page read behind `after`; one that was read for an earlier connection is left. Facts beyond the end are cut.
    pub(super) fn take_page(&mut self, after: u64, page: Vec<Outgoing>) {
        if after != self.read_through {
            return;
        }
        for message in page.into_iter().filter(|message| message.fact_seq > after && message.fact_seq <= self.end) {
            self.read_through = self.read_through.max(message.fact_seq);
            self.waiting.push_back(message);
        }
    }

    /// The next message and its ordinal.
    pub(super) fn next(&mut self) -> Option<(u64, Outgoing)> {
        let message = self.waiting.pop_front()?;
        let is_last_of_fact = self.waiting.front().is_none_or(|next| next.fact_seq != message.fact_seq);
        let ordinal = self.first_ordinal.saturating_add(u64::try_from(self.sent.len()).unwrap_or(u64::MAX));
        self.sent.push_back(Sent { fact_seq: message.fact_seq, is_last_of_fact, is_acked: false });
        Some((ordinal, message))
    }

    /// The broker has this one.
    pub(super) fn acked(&mut self, ordinal: u64) {
        let place = ordinal.checked_sub(self.first_ordinal).and_then(|place| usize::try_from(place).ok());
        if let Some(sent) = place.and_then(|place| self.sent.get_mut(place)) {
            sent.is_acked = true;
        }
        while let Some(sent) = self.sent.pop_front_if(|sent| sent.is_acked) {
            self.first_ordinal = self.first_ordinal.saturating_add(1);
            if sent.is_last_of_fact {
                self.through = sent.fact_seq;
            }
        }
    }

    /// The connection is gone: everything behind `through` is read and sent again.
    pub(super) fn start_over(&mut self) {
        let skipped = u64::try_from(self.sent.len()).unwrap_or(u64::MAX);
        self.first_ordinal = self.first_ordinal.saturating_add(skipped);
        self.sent.clear();
        self.waiting.clear();
        self.read_through = self.through;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(fact_seq: u64, stream: &'static str) -> Outgoing {
        let topic = format!("_{stream}/x");
        Outgoing { stream, seq: fact_seq, fact_seq, topic, payload: Vec::new(), properties: Vec::new() }
    }

    fn lane_of_two_facts() -> Lane {
        let mut lane = Lane::new(0, u64::MAX);
        lane.take_page(0, vec![message(1, "fact"), message(1, "epcis"), message(2, "fact")]);
        lane
    }

    #[test]
    fn progress_waits_for_the_last_message_of_a_fact_and_for_all_before_it() {
        let mut lane = lane_of_two_facts();
        let ordinals: Vec<u64> = std::iter::from_fn(|| lane.next().map(|(ordinal, _)| ordinal)).collect();
        assert_eq!(ordinals, [0, 1, 2]);
        lane.acked(2);
        lane.acked(0);
        assert_eq!(lane.through(), 0);
        lane.acked(1);
        assert_eq!(lane.through(), 2);
    }

    #[test]
    fn starts_over_behind_the_last_whole_fact_and_leaves_pages_read_before() {
        let mut lane = lane_of_two_facts();
        while lane.next().is_some() {}
        lane.acked(0);
        lane.acked(1);
        lane.start_over();
        assert_eq!((lane.through(), lane.wants_page(9)), (1, Some(1)));
        lane.take_page(2, vec![message(3, "fact")]);
        assert!(!lane.has_waiting());
        lane.acked(2);
        assert_eq!(lane.through(), 1);
    }

    #[test]
    fn a_replay_ends_where_it_should() {
        let mut lane = Lane::new(0, 1);
        lane.take_page(0, vec![message(1, "fact"), message(2, "fact")]);
        let (ordinal, _) = lane.next().expect("fact 1");
        assert!(lane.next().is_none() && !lane.is_done());
        lane.acked(ordinal);
        assert!(lane.is_done() && lane.wants_page(9).is_none());
    }
}
