//! Why a session ended. Every variant ends it; what concerns one value alone is a quality or a refused write instead.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// Nobody answers at the address.
    Unreachable(String),
    /// The peer and we do not agree on security, or it refuses us. A person has to act.
    Refused(String),
    /// No answer in time. A late one must never answer the next request, so the connection goes.
    TimedOut(&'static str),
    /// The connection broke.
    Lost(String),
    /// The answer does not fit the request.
    Protocol(String),
    /// The server answers reads but has stopped to notify.
    Deaf,
    /// This process did not run for so long that nothing that waits to be written may still be sent.
    StoodStill,
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceError::Unreachable(what) => write!(f, "cannot reach the device: {what}"),
            DeviceError::Refused(what) => write!(f, "the session was refused: {what}"),
            DeviceError::TimedOut(what) => write!(f, "no answer in time to {what}"),
            DeviceError::Lost(what) => write!(f, "the connection was lost: {what}"),
            DeviceError::Protocol(what) => write!(f, "the device answered wrongly: {what}"),
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
