//! Why a run of the line ends before it is told to, and with which exit code.

use std::fmt;
use std::net::SocketAddr;

use crate::runtime::assemble::RecoverError;
use crate::runtime::control::ControlError;
use crate::runtime::keys::KeysError;
use crate::store::StoreError;

#[derive(Debug)]
pub enum RunError {
    Store(StoreError),
    /// A fact in the journal cannot be read by this release.
    Recover(String),
    Control(ControlError),
    /// The HTTP door cannot be opened.
    Http(SocketAddr, std::io::Error),
    Keys(KeysError),
    Io(std::io::Error),
    /// A part of the daemon ended although it never should.
    Ended(String),
}

impl RunError {
    /// DESIGN section 8.
    pub fn exit_code(&self) -> u8 {
        match self {
            RunError::Store(error) => error.exit_code(),
            RunError::Control(ControlError::Taken { .. }) => 75,
            RunError::Recover(_)
            | RunError::Control(_)
            | RunError::Http(..)
            | RunError::Keys(_)
            | RunError::Io(_)
            | RunError::Ended(_) => 74,
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Store(error) => error.fmt(f),
            RunError::Recover(what) => {
                write!(f, "the journal cannot be folded: {what}; keep the file and ask for help")
            }
            RunError::Control(error) => error.fmt(f),
            RunError::Http(listen, error) => {
                write!(
                    f,
                    "the HTTP door cannot be opened at {listen}: {error}; free the port, or change listen in [http]"
                )
            }
            RunError::Keys(error) => error.fmt(f),
            RunError::Io(error) => write!(f, "the daemon cannot start: {error}"),
            RunError::Ended(what) => write!(f, "{what} ended, and the daemon with it; it is to be started again"),
        }
    }
}

impl From<StoreError> for RunError {
    fn from(error: StoreError) -> Self {
        RunError::Store(error)
    }
}

impl From<std::io::Error> for RunError {
    fn from(error: std::io::Error) -> Self {
        RunError::Io(error)
    }
}

impl From<RecoverError> for RunError {
    fn from(error: RecoverError) -> Self {
        match error {
            RecoverError::Store(error) => RunError::Store(error),
            RecoverError::Fact(error) => RunError::Recover(error.to_string()),
        }
    }
}
