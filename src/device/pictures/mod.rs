//! Pictures that a camera takes of its results: where they come from, and what may be taken for one.
//!
//! Contract: a picture is evidence. Nothing waits for it, and one that is late, broken, too large or wrongly named is refused with a
//! word, never guessed at. Whoever drops a file here need not be trusted: nothing is followed, and nothing is read that is no plain file.
//!
//! Not here: which inspection a picture is of (`runtime::pictures`), and where it is kept (`store::pictures`).

mod folder;
mod format;
mod name;

use std::path::PathBuf;
use std::time::Duration;

pub use folder::{Dropped, Folder, Look, Refused};
pub use format::media_type;
pub use name::NamePattern;

/// The pictures of one camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The folder into which the camera drops one file for each picture.
    pub folder: PathBuf,
    /// What these files are called.
    pub name: NamePattern,
    /// Of one picture.
    pub bytes_max: u64,
    /// Kept at most, oldest gone first.
    pub keep: usize,
    pub keep_bytes: u64,
    /// A picture comes so long before or after its result at most; that long it lies still before it is taken.
    pub within: Duration,
    /// Whether every result has a picture, so that one without is missing.
    pub every: bool,
}

/// Why a picture is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// Its name is not what the camera's files are called.
    Name,
    /// A link, a folder, a pipe, or a file with a second name.
    NoFile,
    Large,
    /// Neither a whole PNG, JPEG, BMP, PGM nor PPM: half-written, or something else.
    Broken,
    /// The folder holds more than is looked at.
    Crowded,
    /// It changed while it was read.
    Moving,
}

impl Refusal {
    pub fn name(self) -> &'static str {
        match self {
            Refusal::Name => "wrong name",
            Refusal::NoFile => "no plain file",
            Refusal::Large => "too large",
            Refusal::Broken => "no whole picture",
            Refusal::Crowded => "folder too full",
            Refusal::Moving => "still changing",
        }
    }
}
