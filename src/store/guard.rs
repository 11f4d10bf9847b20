//! Watches over the open journal once a second: that the file under its name is still the one that was opened, that there is
//! room, and that its log does not grow without end.
//!
//! Room is kept in two steps, so that the line stops for want of room before the disk is full: below `reserve_free` the line
//! is to be held, and below half of it the ballast goes, a file of real blocks whose room is then left for the last records.
//! Where room returns, it is said, and the ballast is laid again. A small disk keeps a tenth instead.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rustix::fs::FallocateFlags;

use crate::store::error::StoreError;
use crate::store::lock::{self, beside};
use crate::store::place::{self, Room};

const EVERY: Duration = Duration::from_secs(1);
/// A log beyond this means that a reader is in the way of its checkpoints.
const LOG_MAX: u64 = 64 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The line is held where less than this is free, bytes.
    pub reserve_free: u64,
    /// The size of the ballast; 0 for none.
    pub ballast: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { reserve_free: 256 << 20, ballast: 64 << 20 }
    }
}

/// What a person, or the line, must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Twice the reserve is not free.
    DiskLow,
    /// The reserve is not free: the line must not go on.
    DiskFull,
    LogLarge,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    Begins(Trouble, String),
    Ends(Trouble),
}

/// Watches until `stop` gets a message or loses its sender. `tell` takes a word, or does not and hears it again. What lasts
/// is said every second: somebody may have waved it away.
pub fn run(
    path: &Path,
    bounds: Bounds,
    stop: &Receiver<()>,
    mut tell: impl FnMut(Word) -> bool,
) -> Result<(), StoreError> {
    let mut guard = Guard::new(path, bounds)?;
    loop {
        for word in guard.look()? {
            guard.heard(&word, tell(word.clone()));
        }
        match stop.recv_timeout(EVERY) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

struct Guard {
    path: PathBuf,
    /// Device and inode of the file that was opened.
    opened: (u64, u64),
    bounds: Bounds,
    /// Troubles that are known to have ended; those of an earlier run may still stand.
    ended: Vec<Trouble>,
    is_full: bool,
}

impl Guard {
    fn new(path: &Path, bounds: Bounds) -> Result<Self, StoreError> {
        let path = lock::real(path);
        let opened = inode(&path).ok_or_else(|| StoreError::Replaced { path: path.clone() })?;
        Ok(Self { path, opened, bounds, ended: Vec::new(), is_full: false })
    }

    fn heard(&mut self, word: &Word, was_taken: bool) {
        match word {
            Word::Begins(trouble, _) => self.ended.retain(|ended| ended != trouble),
            Word::Ends(trouble) if was_taken => self.ended.push(*trouble),
            Word::Ends(_) => {}
        }
    }

    fn look(&mut self) -> Result<Vec<Word>, StoreError> {
        if inode(&self.path) != Some(self.opened) {
            return Err(StoreError::Replaced { path: self.path.clone() });
        }
        let mut words = Vec::new();
        // A file system that does not answer is one whose commits fail, which ends the process by itself.
        if let Ok(room) = place::room(&self.path) {
            self.look_at_room(room, &mut words);
        }
        let log = std::fs::metadata(beside(&self.path, "-wal")).map_or(0, |log| log.len());
        let detail =
            || format!("the log beside the journal holds {} MB: a long reader keeps it from shrinking", log >> 20);
        self.say(Trouble::LogLarge, log > LOG_MAX, detail, &mut words);
        Ok(words)
    }

    fn look_at_room(&mut self, room: Room, words: &mut Vec<Word>) {
        let Bounds { reserve_free, ballast } = self.bounds;
        let (reserve, ballast) = (reserve_free.min(room.total / 10), ballast.min(room.total / 20));
        let ballast_file = beside(&self.path, ".ballast");
        let lies = std::fs::metadata(&ballast_file).map_or(0, |file| file.len());
        // What the ballast takes, or will take again, is not counted as free.
        let free = (room.free + lies).saturating_sub(ballast);
        // Once held, the line goes on when there is a quarter more: it would start and stop otherwise.
        self.is_full = free < if self.is_full { reserve + reserve / 4 } else { reserve };
        if room.free < reserve / 2 && lies > 0 {
            let _ = std::fs::remove_file(&ballast_file);
        } else if !self.is_full && lies < ballast && free > reserve {
            lay(&ballast_file, ballast);
        }
        let detail = |free: u64| format!("{} MB are free where the journal lies", free >> 20);
        let is_full = self.is_full;
        self.say(Trouble::DiskFull, is_full, || format!("{}; the line goes on by itself", detail(free)), words);
        self.say(Trouble::DiskLow, !is_full && free < reserve * 2, || detail(free), words);
    }

    fn say(&self, trouble: Trouble, is_there: bool, detail: impl FnOnce() -> String, words: &mut Vec<Word>) {
        if is_there {
            words.push(Word::Begins(trouble, detail()));
        } else if !self.ended.contains(&trouble) {
            words.push(Word::Ends(trouble));
        }
    }
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Blocks that are really taken. A file system that has no such call gets no ballast: its reserve is the bound alone.
fn lay(path: &Path, bytes: u64) {
    let laid = File::create(path).and_then(|file| {
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes)?;
        file.sync_all()
    });
    if laid.is_err() {
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    fn guard(reserve_mb: u64, ballast_mb: u64) -> (tempfile::TempDir, Guard) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("line.db");
        std::fs::write(&path, b"x").unwrap();
        let bounds = Bounds { reserve_free: reserve_mb * MB, ballast: ballast_mb * MB };
        (folder, Guard::new(&path, bounds).unwrap())
    }

    fn room(guard: &mut Guard, free_mb: u64) -> Vec<Word> {
        let mut words = Vec::new();
        guard.look_at_room(Room { free: free_mb * MB, total: 10_000 * MB }, &mut words);
        words.iter().for_each(|word| guard.heard(word, true));
        words
    }

    // F21
    #[test]
    fn the_line_is_held_before_the_disk_is_full_and_goes_on_when_there_is_clearly_more() {
        let (_folder, mut guard) = guard(100, 0);
        let begins =
            |words: &[Word], trouble| words.iter().any(|word| matches!(word, Word::Begins(at, _) if *at == trouble));
        assert_eq!(
            room(&mut guard, 500),
            [Word::Ends(Trouble::DiskFull), Word::Ends(Trouble::DiskLow)],
            "of an earlier run"
        );
        assert_eq!(room(&mut guard, 400), [], "nothing new");
        let low = room(&mut guard, 150);
        assert!(begins(&low, Trouble::DiskLow) && !begins(&low, Trouble::DiskFull), "{low:?}");
        let full = room(&mut guard, 99);
        assert!(begins(&full, Trouble::DiskFull), "{full:?}");
        assert!(full.contains(&Word::Ends(Trouble::DiskLow)), "{full:?}");
        assert!(begins(&room(&mut guard, 110), Trouble::DiskFull), "not on a hair's breadth");
        assert!(room(&mut guard, 130).contains(&Word::Ends(Trouble::DiskFull)));
    }

    // F21
    #[test]
    fn the_ballast_lies_while_there_is_room_and_gives_it_back_when_there_is_not() {
        let (folder, mut guard) = guard(8, 1);
        let ballast = folder.path().join("line.db.ballast");
        room(&mut guard, 500);
        assert_eq!(std::fs::metadata(&ballast).unwrap().len(), MB);
        room(&mut guard, 7);
        assert!(ballast.exists(), "the line is held, and there is room for its last records");
        room(&mut guard, 3);
        assert!(!ballast.exists());
        room(&mut guard, 500);
        assert!(ballast.exists(), "laid again");
    }

    // F31
    #[test]
    fn a_journal_that_is_moved_or_replaced_while_it_is_open_ends_the_watch() {
        let (folder, mut guard) = guard(1, 0);
        guard.look().expect("the file that was opened");
        let path = folder.path().join("line.db");
        std::fs::rename(&path, folder.path().join("moved.db")).unwrap();
        assert_eq!(guard.look().expect_err("gone").exit_code(), 74);
        std::fs::write(&path, b"another").unwrap();
        assert!(guard.look().expect_err("another").to_string().contains("replaced"));
    }

    // F32
    #[test]
    fn a_log_that_grows_is_told_and_so_is_its_end() {
        let (folder, mut guard) = guard(1, 0);
        let log = folder.path().join("line.db-wal");
        File::create(&log).and_then(|file| file.set_len(LOG_MAX + 1)).unwrap();
        let words = guard.look().unwrap();
        assert!(words.iter().any(|word| matches!(word, Word::Begins(Trouble::LogLarge, _))), "{words:?}");
        std::fs::remove_file(&log).unwrap();
        assert!(guard.look().unwrap().contains(&Word::Ends(Trouble::LogLarge)));
    }
}
