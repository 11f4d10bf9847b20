//! How a command ended, as scripts and systemd see it.

use std::process::ExitCode;

/// The exit codes (sysexits where there is one), DESIGN section 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    /// The question was answered, and the answer is no: refused, broken, not found.
    No,
    Usage,
    /// A daemon, a device or a broker does not answer.
    Unreachable,
    Io,
    /// Another daemon holds this line.
    Taken,
    Config,
}

/// Why a command could not do what it was asked, for a person.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    /// What happened, where, and what to do.
    pub text: String,
}

pub type Outcome = Result<Exit, Failure>;

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::No => 1,
            Exit::Usage => 64,
            Exit::Unreachable => 69,
            Exit::Io => 74,
            Exit::Taken => 75,
            Exit::Config => 78,
        }
    }

    pub fn failure(self, text: impl Into<String>) -> Failure {
        Failure { exit: self, text: text.into() }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}
