//! What every MQTT connection of ours has in common: its options, and the pause before the next try.
//!
//! A connection is always new: clean start, a fresh client, Nagle's algorithm off (with it on, an acknowledgement can wait
//! 40 ms for the peer's delayed ACK).

use std::time::Duration;

use rumqttc::NetworkOptions;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, DisconnectReasonCode};
use rumqttc::v5::{ConnectionError, MqttOptions, StateError};

/// Packets above this size are neither sent to us nor read. The feed is far below.
const PACKET_BYTES_MAX: u32 = 1 << 20;
const CONNECT_TIMEOUT_S: u64 = 5;
/// Packet ids wrap here unless the broker's Receive Maximum is smaller. Far above any window, so that an acknowledgement out
/// of order does not collide.
const PACKET_IDS: u16 = 1024;

/// One client's way to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub host: String,
    pub port: u16,
    pub client_id: String,
    pub username: Option<String>,
    pub password: Option<String>,
    pub keep_alive_s: u16,
}

impl Link {
    pub(super) fn options(&self) -> MqttOptions {
        let mut options = MqttOptions::new(self.client_id.clone(), self.host.clone(), self.port);
        options.set_clean_start(true);
        // The library panics below five seconds.
        options.set_keep_alive(Duration::from_secs(u64::from(self.keep_alive_s.max(5))));
        options.set_connection_timeout(CONNECT_TIMEOUT_S);
        options.set_max_packet_size(Some(PACKET_BYTES_MAX));
        options.set_outgoing_inflight_upper_limit(PACKET_IDS);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_TIMEOUT_S);
        options.set_network_options(network);
        if let Some(username) = &self.username {
            options.set_credentials(username.clone(), self.password.clone().unwrap_or_default());
        }
        options
    }
}

/// How a connection ended, as far as it matters for what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The cable, the broker's process, a time-out: try again soon.
    Lost(String),
    /// Not allowed in: try again slowly.
    NotAdmitted(String),
    /// Another client has our id: the pause doubles, or both would fight for ever.
    TakenOver,
}

impl Broken {
    pub(super) fn of(error: &ConnectionError) -> Self {
        match error {
            ConnectionError::ConnectionRefused(code) => Self::of_code(*code),
            ConnectionError::MqttState(StateError::ConnFail { reason }) => Self::of_code(*reason),
            ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. })
                if *reason_code == DisconnectReasonCode::SessionTakenOver =>
            {
                Self::TakenOver
            }
            other => Self::Lost(other.to_string()),
        }
    }

    fn of_code(code: ConnectReturnCode) -> Self {
        match code {
            ConnectReturnCode::BadUserNamePassword
            | ConnectReturnCode::NotAuthorized
            | ConnectReturnCode::Banned
            | ConnectReturnCode::BadClientId
            | ConnectReturnCode::ClientIdentifierNotValid
            | ConnectReturnCode::BadAuthenticationMethod => Self::NotAdmitted(format!("{code:?}")),
            other => Self::Lost(format!("{other:?}")),
        }
    }
}

/// The pause before the next try: doubling, with jitter so that a hundred lines do not come back in one instant.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const SLOW: Duration = Duration::from_secs(5);
    const LAST: Duration = Duration::from_secs(30);

    pub(super) fn new() -> Self {
        Self { next: Self::FIRST }
    }

    /// The connection did what it is for.
    pub(super) fn reset(&mut self) {
        self.next = Self::FIRST;
    }

    /// From now on at the pace of things that a person has to mend.
    pub(super) fn slow(&mut self) {
        self.next = self.next.max(Self::SLOW);
    }

    /// Between half of the pause and all of it.
    pub(super) fn pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(Self::LAST);
        let half = whole / 2;
        let spread = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1);
        // Version 4 UUIDs are the only source of randomness that we link.
        let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
        half.saturating_add(Duration::from_millis(random % spread))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_a_bound_and_start_over_after_a_reset() {
        let mut backoff = Backoff::new();
        let pauses: Vec<Duration> = (0..12).map(|_| backoff.pause()).collect();
        assert!(pauses[0] >= Duration::from_millis(50) && pauses[0] <= Duration::from_millis(100));
        assert!(pauses[11] >= Duration::from_secs(15) && pauses[11] <= Duration::from_secs(30));
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(100));
        backoff.slow();
        assert!(backoff.pause() >= Duration::from_millis(2500));
    }
}
