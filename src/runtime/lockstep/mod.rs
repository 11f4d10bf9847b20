//! A small batch over a real journal, in lock-step: the plant, a person and an upstream system in one process and in virtual
//! time, and beside it, in a process that may die at any call, the line on its real store.
//!
//! The two take turns. The stage sends one [`talk::Frame`], the subject turns the line, commits, keeps the log and reads the feed
//! in one thread, says each thing the moment it happens, and then says that it is done. So the sequence of calls on the files of the
//! database is the same in every run, and call number N can be aimed at: by a signal, an error or a power cut, through the program
//! that the subject is started under. When the subject dies it is started again, a bounded number of times, and the plant, which
//! saw its heartbeat stop, goes on with the new one.
//!
//! At the end the stage judges what it saw against what is on disk ([`judge`]): nothing left before its facts were durable,
//! nothing that was durable is gone, the three records agree, the batch is closed. The stage opens no file beside the journal
//! before that, so that the file system under it can be taken away and given back.
//!
//! Not here: the threads of the daemon and its sockets; the demo runs those. The faults themselves: `tests/torture` brings them.

mod judge;
mod person;
mod seen;
mod stage;
mod subject;
mod talk;
mod upstream;

use std::fmt;
use std::io;
use std::path::PathBuf;

pub use judge::Verdict;
pub use stage::run;
pub use subject::serve;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct LockstepSettings {
    /// The folder of the journal, `line.db`.
    pub on: PathBuf,
    /// Cases to fill, rounded up to whole pallets.
    pub cases: u64,
    pub seed: u64,
    /// The subject is started under this program, which gets the subject's command line behind its own arguments and the number of
    /// the start in `SEALGATE_START`. Empty: it is started by itself.
    pub under: Vec<String>,
    /// So many starts go under it; later ones are the subject's own.
    pub starts_under: u32,
    /// Beyond so many starts the run is given up.
    pub starts_max: u32,
    /// The disk under the journal may say yes to a flush and forget: then a loss is judged by whether it is found.
    pub disk_may_lie: bool,
}

#[derive(Debug)]
pub enum LockstepError {
    Io(io::Error),
    Config(String),
    /// The journal cannot be read at the end.
    Journal(String),
}

impl fmt::Display for LockstepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockstepError::Io(error) => write!(f, "the lock-step run cannot go on: {error}"),
            LockstepError::Config(what) => write!(f, "the configuration of the lock-step run: {what}"),
            LockstepError::Journal(what) => write!(f, "the journal of the lock-step run: {what}"),
        }
    }
}

impl From<io::Error> for LockstepError {
    fn from(error: io::Error) -> Self {
        LockstepError::Io(error)
    }
}
