//! How a command ended, as scripts and systemd see it.

use std::process::ExitCode;

use crate::store::StoreError;

/// The exit codes (sysexits where there is one), DESIGN section 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    Done,
    /// The question was answered, and the answer is no: refused, broken, not found.
    No,
    Usage,
    /// A daemon, a device or a broker does not answer.
    Unreachable,
    Io,
    /// Another daemon holds this line, or another of these commands what it changes.
    Taken,
    Config,
}

/// Why a command could not do what it was asked, for a person.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    /// What happened, where, and what to do.
    pub(super) text: String,
}

pub(super) type Outcome = Result<Exit, Failure>;

impl Exit {
    pub(super) fn code(self) -> u8 {
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

    /// What a journal that cannot be used means to the one who asked.
    pub(super) fn of_store(error: &StoreError) -> Exit {
        let all = [Exit::Taken, Exit::Config, Exit::Io];
        all.into_iter().find(|exit| exit.code() == error.exit_code()).unwrap_or(Exit::Io)
    }

    pub(super) fn failure(self, text: impl Into<String>) -> Failure {
        Failure { exit: self, text: text.into() }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}
