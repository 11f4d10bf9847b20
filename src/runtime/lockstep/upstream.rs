//! The upstream system of a lock-step run: takes every message of the feed, writes it down as a subscriber would, and acknowledges
//! what it has whole, a little late.

use crate::publish::subscriber::Received;
use crate::runtime::lockstep::talk::Sent;
use crate::sim::capture;
use crate::sim::truth::bytes_of;

/// Frames between two acknowledgements: long enough for a start to find messages sent and not acknowledged.
const EVERY: u64 = 4;

#[derive(Debug)]
pub(super) struct Upstream {
    prefix: String,
    /// The file that a subscriber would have written.
    pub(super) feed: String,
    /// All messages of the facts up to this one are here.
    whole: u64,
    /// What was acknowledged last.
    pub(super) acked: u64,
}

impl Upstream {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), feed: String::new(), whole: 0, acked: 0 }
    }

    /// The messages of one frame, whole facts in order.
    pub(super) fn take(&mut self, messages: Vec<Sent>) {
        self.whole = messages.iter().map(|message| message.fact_seq).fold(self.whole, u64::max);
        self.take_unfinished(messages);
    }

    /// Messages of a frame that was cut off: they are here, and others of the same fact may be missing.
    pub(super) fn take_unfinished(&mut self, messages: Vec<Sent>) {
        for message in messages {
            let received = Received {
                topic: format!("{}/{}", self.prefix, message.topic),
                retain: false,
                payload: bytes_of(&message.payload),
                properties: message.properties,
                response_topic: None,
                correlation: None,
            };
            self.feed.push_str(&capture::line_of(&received, 0));
        }
    }

    /// The acknowledgement that is due in this frame.
    pub(super) fn ack(&mut self, frame: u64) -> Option<u64> {
        if !frame.is_multiple_of(EVERY) || self.whole == self.acked {
            return None;
        }
        self.acked = self.whole;
        Some(self.acked)
    }
}
