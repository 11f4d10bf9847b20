//! Limits of server families, as data. A profile says what is not worth asking a server for; what the server itself says
//! (`OperationLimits`, Part 5 §6.3.11) counts where it is less. The figures are cautious choices of this project for the smallest
//! member of each family, below what the vendors' manuals promise; 0 means no limit of ours.

use std::time::Duration;

use crate::device::settings::Profile;

/// What one session asks of a server at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Nodes in one Read; a longer group is read in several calls, one after the other, with its proofs around all of them.
    pub nodes_per_read: u32,
    /// Values in one Write.
    pub nodes_per_write: u32,
    /// Monitored items in one call, and in the subscription.
    pub items_per_call: u32,
    pub items: u32,
    /// A server refuses or revises what is faster; asking for it only costs it work.
    pub publishing_min: Duration,
    /// 0: as fast as it can, by exception.
    pub sampling_min: Duration,
    /// How often it may be asked for the tags; polls faster than this are slowed down.
    pub poll_min: Duration,
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const GENERIC: Limits = Limits {
    nodes_per_read: 0,
    nodes_per_write: 0,
    items_per_call: 0,
    items: 0,
    publishing_min: ms(1),
    sampling_min: ms(0),
    poll_min: ms(1),
};

/// Profile, the word in the configuration, and its limits.
pub const PROFILES: [(Profile, &str, Limits); 6] = [
    (Profile::Generic, "generic", GENERIC),
    (
        // Few sessions, a slow scan: no burst of small calls.
        Profile::S71200,
        "s7-1200",
        Limits {
            nodes_per_read: 100,
            nodes_per_write: 50,
            items_per_call: 100,
            items: 500,
            publishing_min: ms(200),
            sampling_min: ms(100),
            poll_min: ms(20),
        },
    ),
    (
        Profile::S71500,
        "s7-1500",
        Limits {
            nodes_per_read: 500,
            nodes_per_write: 200,
            items_per_call: 500,
            items: 1000,
            publishing_min: ms(100),
            sampling_min: ms(50),
            poll_min: ms(5),
        },
    ),
    (
        Profile::Codesys,
        "codesys",
        Limits { nodes_per_read: 500, nodes_per_write: 200, items: 5000, publishing_min: ms(50), ..GENERIC },
    ),
    (
        // Revises whatever is faster to 50 ms.
        Profile::Br,
        "b-and-r",
        Limits { nodes_per_read: 500, nodes_per_write: 200, publishing_min: ms(50), sampling_min: ms(50), ..GENERIC },
    ),
    (
        Profile::Small,
        "small",
        Limits {
            nodes_per_read: 20,
            nodes_per_write: 10,
            items_per_call: 20,
            items: 50,
            publishing_min: ms(500),
            sampling_min: ms(250),
            poll_min: ms(50),
        },
    ),
];

impl Limits {
    pub fn of(profile: Profile) -> Self {
        PROFILES.iter().find(|(listed, ..)| *listed == profile).map_or(GENERIC, |(.., limits)| *limits)
    }

    /// With what the server says of itself; 0 there means that it says nothing.
    pub(super) fn within(self, server: ServerLimits) -> Self {
        Self {
            nodes_per_read: stricter(self.nodes_per_read, server.nodes_per_read),
            nodes_per_write: stricter(self.nodes_per_write, server.nodes_per_write),
            items_per_call: stricter(self.items_per_call, server.items_per_call),
            ..self
        }
    }
}

/// `OperationLimits` of a server; 0 where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ServerLimits {
    pub(super) nodes_per_read: u32,
    pub(super) nodes_per_write: u32,
    pub(super) items_per_call: u32,
}

fn stricter(a: u32, b: u32) -> u32 {
    match (a, b) {
        (0, limit) | (limit, 0) => limit,
        (a, b) => a.min(b),
    }
}

/// As a length for `chunks`: at least 1.
pub(super) fn at_most(limit: u32) -> usize {
    if limit == 0 { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stricter_of_profile_and_server_counts_and_zero_is_no_limit() {
        let server = ServerLimits { nodes_per_read: 60, nodes_per_write: 0, items_per_call: 1000 };
        let limits = Limits::of(Profile::S71200).within(server);
        assert_eq!((limits.nodes_per_read, limits.nodes_per_write, limits.items_per_call), (60, 50, 100));
        let limits = Limits::of(Profile::Generic).within(server);
        assert_eq!((limits.nodes_per_read, limits.nodes_per_write), (60, 0));
        assert_eq!(at_most(0), usize::MAX);
    }

    #[test]
    fn every_profile_has_its_word_once() {
        let words: std::collections::BTreeSet<_> = PROFILES.iter().map(|(_, word, _)| *word).collect();
        assert_eq!(words.len(), PROFILES.len());
    }
}
