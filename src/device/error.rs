//! Why a session ended. Every variant ends it; what concerns one value alone is a quality or a refused write instead.

use std::fmt;

use crate::device::refusal::CertificateRefusal;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// Nobody answers at the address.
    Unreachable(String),
    /// The peer and we do not agree on security, or it refuses us. A person has to act.
    Refused(String),
    /// One side does not trust the other's certificate. A person has to act.
    Certificate(CertificateRefusal),
    /// No answer in time. A late one must never answer the next request, so the connection goes.
    TimedOut(&'static str),
    /// The connection broke.
    Lost(String),
    /// The gateway in front of the device says that it gets no answer from it (Modbus exceptions 10 and 11).
    Away(u8),
    /// It does not hold the signature of its map: another device, or another order of words or bytes. A person has to act.
    Signature(String),
    /// The answer does not fit the request.
    Protocol(String),
    /// The server answers reads but has stopped to notify.
    Deaf,
    /// The server answers, and its own clock has stopped: nothing of what it says is new.
    ClockStill,
    /// This process did not run for so long that nothing that waits to be written may still be sent.
    StoodStill,
}

impl DeviceError {
    /// Only the connection is gone: the peer may still hold what was built up over it.
    pub(super) fn is_of_the_link(&self) -> bool {
        match self {
            DeviceError::Unreachable(_) | DeviceError::TimedOut(_) | DeviceError::Lost(_) => true,
            DeviceError::Refused(_)
            | DeviceError::Certificate(_)
            | DeviceError::Away(_)
            | DeviceError::Signature(_)
            | DeviceError::Protocol(_)
            | DeviceError::Deaf
            | DeviceError::ClockStill
            | DeviceError::StoodStill => false,
        }
    }
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceError::Unreachable(what) => write!(f, "cannot reach the device: {what}"),
            DeviceError::Refused(what) => write!(f, "the session was refused: {what}"),
            DeviceError::Certificate(refusal) => write!(f, "the session was refused: {refusal}"),
            DeviceError::TimedOut(what) => write!(f, "no answer in time to {what}"),
            DeviceError::Lost(what) => write!(f, "the connection was lost: {what}"),
            DeviceError::Away(10) => f.write_str("the gateway has no path to the unit (exception 10): check `unit`"),
            DeviceError::Away(code) => write!(f, "the gateway gets no answer from the unit (exception {code})"),
            DeviceError::Signature(what) => write!(f, "the device is not as its map says: {what}"),
            DeviceError::Protocol(what) => write!(f, "the device answered wrongly: {what}"),
            DeviceError::ClockStill => f.write_str(
                "the server's clock stands still (ServerStatus.CurrentTime): it counts as away; restart the server",
            ),
            DeviceError::StoodStill => f.write_str("this process stood still; the session is made anew"),
            DeviceError::Deaf => {
                f.write_str("the subscription is dead: values change and nothing is notified; the session is rebuilt")
            }
        }
    }
}

/// How a session ended.
#[derive(Debug)]
pub(super) enum End {
    /// The line closed the channel of writes: the daemon stops.
    Closed,
    Failed {
        error: DeviceError,
        /// Whether `Connected` had been said.
        connected: bool,
    },
}
