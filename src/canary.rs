//! Faults of our own, each of which breaks one promise on purpose: a harness that does not notice them sees nothing.
//!
//! They exist only with the feature `canary`, and a build without debug assertions refuses to have them. One is chosen by
//! `SEALGATE_CANARY`; whoever puts a line together reads it here and hands it down to the room that it belongs to. The fault of a
//! disk that does not sync is not among them: `libeatmydata` brings that.

#[cfg(not(debug_assertions))]
compile_error!("the feature `canary` breaks promises on purpose: no release build may have it");

const CHOSEN_BY: &str = "SEALGATE_CANARY";

/// Which promise is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// The journal is not flushed at each commit (I1, I28).
    SyncNormal,
    /// A permit leaves before its facts are on disk (I1).
    EarlyPermit,
    /// The feed's place moves on without the broker's acknowledgement (I6).
    CursorWithoutAck,
    /// A label that was not read releases its container (I4).
    ForgetfulGate,
    /// A pass goes to the next track (I8).
    NeighbourVerdict,
    /// Whoever is logged in may do everything (least privilege).
    EveryRole,
}

impl Canary {
    pub const ALL: &'static [(&'static str, Canary)] = &[
        ("sync_normal", Canary::SyncNormal),
        ("early_permit", Canary::EarlyPermit),
        ("cursor_without_ack", Canary::CursorWithoutAck),
        ("forgetful_gate", Canary::ForgetfulGate),
        ("neighbour_verdict", Canary::NeighbourVerdict),
        ("every_role", Canary::EveryRole),
    ];

    /// The one that the environment names. A misspelt one must not pass for a harness that sees.
    pub fn chosen() -> Option<Self> {
        let name = std::env::var(CHOSEN_BY).ok()?;
        let known = Self::ALL.iter().find(|(known, _)| *known == name);
        Some(known.map(|(_, canary)| *canary).unwrap_or_else(|| panic!("{CHOSEN_BY}: no canary is named {name}")))
    }
}
