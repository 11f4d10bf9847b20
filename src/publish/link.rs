//! What every MQTT connection of ours has in common: its options, and the pause before the next try.
//!
//! A connection is always new: clean start, a fresh client, Nagle's algorithm off (with it on, an acknowledgement can wait
//! 40 ms for the peer's delayed ACK).

use std::time::Duration;

use rumqttc::NetworkOptions;
use rumqttc::v5::mqttbytes::Error as MqttError;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, DisconnectReasonCode};
use rumqttc::v5::{ConnectionError, MqttOptions, StateError};

/// Packets above this size are neither sent to us nor read. The feed is far below.
const PACKET_BYTES_MAX: u32 = 1 << 20;
const CONNECT_TIMEOUT_S: u64 = 5;
/// Packet ids wrap here unless the broker's Receive Maximum is smaller. Far above any window, so that an acknowledgement out
/// of order does not collide.
const PACKET_IDS: u16 = 1024;

/// MQTT 5, 2.4.
const PACKET_TOO_LARGE: u8 = 0x95;

/// Of what takes a CONNECT and answers with anything but a CONNACK.
pub(super) const NO_BROKER: &str = "what listens there is no MQTT 5 broker";

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
    /// Closed by the peer without a word.
    HungUp,
    /// Another client has our id: the pause doubles, or both would fight for ever.
    TakenOver,
    /// A packet was too large for the broker, which does not say which one.
    TooLarge(String),
}

impl Broken {
    pub(super) fn of(error: &ConnectionError) -> Self {
        let text = error.to_string();
        match error {
            ConnectionError::ConnectionRefused(code) => Self::of_code(*code),
            ConnectionError::MqttState(state) => match state {
                StateError::ConnFail { reason } => Self::of_code(*reason),
                StateError::ServerDisconnect { reason_code, .. } => Self::of_disconnect(*reason_code, text),
                StateError::ConnectionAborted => Self::HungUp,
                StateError::OutgoingPacketTooLarge { .. } => Self::TooLarge(text),
                // No code of a PUBACK by the standard (MQTT 5, 3.4.2.1), and yet what mosquitto answers.
                StateError::Deserialization(
                    MqttError::InvalidConnectReturnCode(PACKET_TOO_LARGE) | MqttError::OutgoingPacketTooLarge { .. },
                ) => Self::TooLarge(text),
                _ => Self::Lost(text),
            },
            // The packet that came instead says nothing to a person.
            ConnectionError::NotConnAck(_) => Self::Lost(NO_BROKER.to_owned()),
            _ => Self::Lost(text),
        }
    }

    fn of_disconnect(code: DisconnectReasonCode, text: String) -> Self {
        match code {
            DisconnectReasonCode::SessionTakenOver => Self::TakenOver,
            DisconnectReasonCode::PacketTooLarge => Self::TooLarge(text),
            DisconnectReasonCode::NotAuthorized
            | DisconnectReasonCode::AdministrativeAction
            | DisconnectReasonCode::QuotaExceeded
            | DisconnectReasonCode::MessageRateTooHigh
            | DisconnectReasonCode::ConnectionRateExceeded => Self::NotAdmitted(format!("{code:?}")),
            _ => Self::Lost(text),
        }
    }

    fn of_code(code: ConnectReturnCode) -> Self {
        match code {
            ConnectReturnCode::BadUserNamePassword
            | ConnectReturnCode::NotAuthorized
            | ConnectReturnCode::Banned
            | ConnectReturnCode::BadClientId
            | ConnectReturnCode::ClientIdentifierNotValid
            | ConnectReturnCode::BadAuthenticationMethod
            | ConnectReturnCode::QuotaExceeded
            | ConnectReturnCode::ConnectionRateExceeded => Self::NotAdmitted(format!("{code:?}")),
            other => Self::Lost(format!("{other:?}")),
        }
    }
}

/// The times of a session. The defaults are for a plant; tests of the same behaviour shorten them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The first pause after a lost connection; it doubles up to the last.
    pub first: Duration,
    pub last: Duration,
    /// The same where a person has to mend something: refused, or thrown out by a client of the same id.
    pub slow: Duration,
    pub slow_last: Duration,
    /// Without an answer for so long, or with messages at hand that do not leave, the client is built anew.
    pub stall: Duration,
    /// A connection that lasted so long was a good one even if there was nothing to publish.
    pub useful: Duration,
    /// Nothing but messages without a subscriber for so long is told.
    pub unheard: Duration,
    /// A watermark that does not follow for so long is told.
    pub unconfirmed: Duration,
    /// After a longer absence lines begin to drain at different instants within this time.
    pub spread: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            last: Duration::from_secs(10),
            slow: Duration::from_secs(1),
            slow_last: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            useful: Duration::from_secs(60),
            unheard: Duration::from_secs(60),
            unconfirmed: Duration::from_secs(600),
            spread: Duration::from_secs(2),
        }
    }
}

/// The pause before the next try: doubling, with jitter so that a hundred lines do not come back in one instant.
#[derive(Debug)]
pub(super) struct Backoff {
    pace: Pace,
    next: Duration,
    is_slow: bool,
}

impl Backoff {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, next: pace.first, is_slow: false }
    }

    /// The connection did what it is for.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.pace);
    }

    /// From now on at the pace of things that a person has to mend.
    pub(super) fn slow(&mut self) {
        self.is_slow = true;
        self.next = self.next.max(self.pace.slow);
    }

    /// Between half of the pause and all of it.
    pub(super) fn pause(&mut self) -> Duration {
        let most = if self.is_slow { self.pace.slow_last } else { self.pace.last };
        let whole = self.next.min(most);
        self.next = whole.saturating_mul(2).min(most);
        let half = whole / 2;
        half.saturating_add(some_of(half))
    }
}

/// Anything from nothing to all of it, so that lines which wait for one thing do not move in step.
pub(super) fn some_of(whole: Duration) -> Duration {
    let spread = u64::try_from(whole.as_micros()).unwrap_or(u64::MAX).max(1);
    // Version 4 UUIDs are the only source of randomness that this room has.
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    Duration::from_micros(random % spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answers_with_no_connack_is_named_without_a_dump() {
        let echoed = ConnectionError::NotConnAck(Box::new(rumqttc::v5::mqttbytes::v5::Packet::PingReq(
            rumqttc::v5::mqttbytes::v5::PingReq,
        )));
        assert!(matches!(Broken::of(&echoed), Broken::Lost(text) if text == NO_BROKER));
    }

    #[test]
    fn pauses_double_to_a_bound_and_start_over_after_a_reset() {
        let mut backoff = Backoff::new(Pace::default());
        let pauses: Vec<Duration> = (0..12).map(|_| backoff.pause()).collect();
        assert!(pauses[0] >= Duration::from_millis(50) && pauses[0] <= Duration::from_millis(100));
        assert!(pauses[11] >= Duration::from_secs(5) && pauses[11] <= Duration::from_secs(10));
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(100));
    }

    #[test]
    fn what_a_person_has_to_mend_is_tried_between_a_second_and_a_minute() {
        // F115, F122
        let mut backoff = Backoff::new(Pace::default());
        let mut pauses = Vec::new();
        for _ in 0..12 {
            backoff.slow();
            pauses.push(backoff.pause());
        }
        assert!(pauses[0] >= Duration::from_millis(500) && pauses[0] <= Duration::from_secs(1), "{pauses:?}");
        assert!(pauses[3] >= Duration::from_secs(4) && pauses[3] <= Duration::from_secs(8), "{pauses:?}");
        assert!(pauses[11] >= Duration::from_secs(30) && pauses[11] <= Duration::from_secs(60), "{pauses:?}");
        assert!(pauses[8..].windows(2).any(|pair| pair[0] != pair[1]), "no two lines move in step");
    }
}
