//! A drop folder: a camera writes files into it, whole or bit by bit, over whatever share it can. Looked at again and again.
//!
//! - A file counts once nothing of it has changed for a while: neither size nor time, by its inode's own clock, which no writer sets.
//! - Names that begin with a dot, as uploads under way often do, are no business of ours. What is called otherwise than the pattern
//!   says is told once and left alone; what is called so belongs to the camera, and goes when it has been dealt with.
//! - Links are not followed, and pipes, sockets and folders not opened.
//! - At most `ENTRIES_MAX` entries are looked at.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

use rustix::fs::{Mode, OFlags};

use super::{Refusal, Settings};

/// Entries of the folder that are looked at; a folder that is emptied as it fills holds far fewer.
const ENTRIES_MAX: usize = 4096;

#[derive(Debug)]
pub struct Folder {
    settings: Settings,
    still_us: u64,
    /// What lay there at the last look; at most `ENTRIES_MAX`.
    seen: BTreeMap<OsString, Seen>,
    was_crowded: bool,
}

/// What is known of an entry without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed_us: i64,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    stamp: Stamp,
    since_us: u64,
    was_told: bool,
}

/// A file that lies still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    pub name: String,
    /// As the camera counts.
    pub sequence: u64,
    /// When it changed last, on this machine's wall clock.
    pub changed_us: i64,
    stamp: Stamp,
}

/// One entry that is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub name: String,
    pub why: Refusal,
}

/// What one look at the folder found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// In the order in which they were written.
    pub still: Vec<Dropped>,
    /// Told once each.
    pub refused: Vec<Refused>,
}

impl Folder {
    pub fn new(settings: Settings) -> Self {
        let still_us = u64::try_from(settings.within.as_micros()).unwrap_or(u64::MAX);
        Self { settings, still_us, seen: BTreeMap::new(), was_crowded: false }
    }

    /// Looks at every entry; `now_us` is monotonic.
    pub fn look(&mut self, now_us: u64) -> io::Result<Look> {
        let mut look = Look::default();
        let mut seen = BTreeMap::new();
        let mut is_crowded = false;
        for entry in fs::read_dir(&self.settings.folder)? {
            if seen.len() >= ENTRIES_MAX {
                is_crowded = true;
                break;
            }
            let name = entry?.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            // It may have gone meanwhile.
            if let Ok(found) = fs::symlink_metadata(self.settings.folder.join(&name)) {
                let entry = self.judge(&name, &found, now_us, &mut look);
                seen.insert(name, entry);
            }
        }
        self.seen = seen;
        if is_crowded && !self.was_crowded {
            look.refused.push(Refused { name: String::new(), why: Refusal::Crowded });
        }
        self.was_crowded = is_crowded;
        look.still.sort_by_key(|dropped| (dropped.changed_us, dropped.sequence));
        Ok(look)
    }

    fn judge(&self, name: &OsString, found: &Metadata, now_us: u64, look: &mut Look) -> Seen {
        let stamp = Stamp::of(found);
        let before = self.seen.get(name).filter(|seen| seen.stamp == stamp);
        let since_us = before.map_or(now_us, |seen| seen.since_us);
        let was_told = self.seen.get(name).is_some_and(|seen| seen.was_told);
        let text = name.to_str();
        let sequence = text.and_then(|name| self.settings.name.sequence(name));
        let refusal = match sequence {
            None => Some(Refusal::Name),
            // A second name lets somebody show us a file that he may not read himself.
            Some(_) if !found.is_file() || found.nlink() != 1 => Some(Refusal::NoFile),
            Some(_) => None,
        };
        let name = text.map_or_else(|| name.to_string_lossy().into_owned(), str::to_owned);
        if let Some(why) = refusal.filter(|_| !was_told) {
            look.refused.push(Refused { name: name.clone(), why });
        }
        if let Some(sequence) =
            sequence.filter(|_| refusal.is_none() && now_us.saturating_sub(since_us) >= self.still_us)
        {
            look.still.push(Dropped { name, sequence, changed_us: stamp.changed_us, stamp });
        }
        Seen { stamp, since_us, was_told: was_told || refusal.is_some() }
    }

    /// The content of a file that lay still; no more than one picture may have.
    pub fn read(&self, dropped: &Dropped) -> Result<Vec<u8>, Refusal> {
        let path = self.settings.folder.join(&dropped.name);
        // The name may mean something else by now: no link is followed, and a pipe without a writer keeps nobody.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&path, flags, Mode::empty()).map_err(|_| Refusal::Moving)?;
        let file = File::from(opened);
        let is_same =
            |file: &File| file.metadata().is_ok_and(|found| found.is_file() && Stamp::of(&found) == dropped.stamp);
        if !is_same(&file) {
            return Err(Refusal::Moving);
        }
        if dropped.stamp.size > self.settings.bytes_max {
            return Err(Refusal::Large);
        }
        let mut bytes = Vec::new();
        (&file).take(self.settings.bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(|_| Refusal::Moving)?;
        match is_same(&file) && u64::try_from(bytes.len()) == Ok(dropped.stamp.size) {
            true => Ok(bytes),
            false => Err(Refusal::Moving),
        }
    }

    /// Takes a file away that has been dealt with, unless another one has its name by now.
    pub fn take_away(&self, dropped: &Dropped) -> io::Result<()> {
        let path = self.settings.folder.join(&dropped.name);
        match fs::symlink_metadata(&path) {
            Ok(found) if Stamp::of(&found) == dropped.stamp => fs::remove_file(&path),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        let changed_us = found.ctime().saturating_mul(1_000_000).saturating_add(found.ctime_nsec() / 1000);
        Self { device: found.dev(), inode: found.ino(), size: found.size(), changed_us }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::device::pictures::NamePattern;

    const STILL: u64 = 1_000_000;

    fn folder(path: &Path) -> Folder {
        Folder::new(Settings {
            folder: path.to_owned(),
            name: NamePattern::new("u{sequence}.pgm").expect("plain"),
            bytes_max: 64,
            keep: 10,
            keep_bytes: 1000,
            within: Duration::from_micros(STILL),
            every: false,
        })
    }

    fn names(look: &Look) -> Vec<&str> {
        look.still.iter().map(|dropped| dropped.name.as_str()).collect()
    }

    #[test]
    fn a_file_counts_once_it_lies_still_and_goes_when_it_is_taken_away() {
        let place = tempfile::tempdir().unwrap();
        let mut folder = folder(place.path());
        fs::write(place.path().join("u7.pgm"), b"half").unwrap();
        assert_eq!(folder.look(0).unwrap(), Look::default());
        fs::write(place.path().join("u7.pgm"), b"a whole one").unwrap();
        assert_eq!(folder.look(STILL).unwrap(), Look::default(), "it has grown");
        assert_eq!(folder.look(2 * STILL - 1).unwrap(), Look::default());
        let look = folder.look(2 * STILL).unwrap();
        assert_eq!((names(&look), look.still[0].sequence), (vec!["u7.pgm"], 7));
        assert_eq!(folder.read(&look.still[0]).unwrap(), b"a whole one");
        folder.take_away(&look.still[0]).unwrap();
        folder.take_away(&look.still[0]).expect("it is gone already");
        assert_eq!(folder.look(9 * STILL).unwrap(), Look::default());
    }

    #[test]
    fn a_file_that_was_replaced_is_neither_read_nor_taken_away_as_the_old_one() {
        let place = tempfile::tempdir().unwrap();
        let mut folder = folder(place.path());
        let path = place.path().join("u7.pgm");
        fs::write(&path, b"old").unwrap();
        folder.look(0).unwrap();
        let old = folder.look(STILL).unwrap().still.remove(0);
        fs::write(place.path().join("new"), b"new and longer").unwrap();
        fs::rename(place.path().join("new"), &path).unwrap();
        assert_eq!(folder.read(&old), Err(Refusal::Moving));
        folder.take_away(&old).unwrap();
        assert!(path.exists());
        assert_eq!(folder.look(2 * STILL).unwrap(), Look::default(), "the new one has to lie still first");
    }

    #[test]
    fn links_pipes_folders_second_names_and_foreign_files_are_told_once_and_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let secret = outside.path().join("secret");
        fs::write(&secret, b"P5 1 1 255\nx").unwrap();
        symlink(&secret, place.path().join("u1.pgm")).unwrap();
        fs::create_dir(place.path().join("u2.pgm")).unwrap();
        fs::hard_link(&secret, place.path().join("u3.pgm")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(place.path().join("u4.pgm")).status().unwrap();
        assert!(made.success());
        fs::write(place.path().join("holiday.jpg"), b"x").unwrap();
        fs::write(place.path().join(".u5.pgm"), b"under way").unwrap();
        let mut folder = folder(place.path());
        let mut look = folder.look(0).unwrap();
        look.refused.sort_by(|a, b| a.name.cmp(&b.name));
        let told: Vec<(&str, Refusal)> =
            look.refused.iter().map(|refused| (refused.name.as_str(), refused.why)).collect();
        let no_file = Refusal::NoFile;
        let all = [
            ("holiday.jpg", Refusal::Name),
            ("u1.pgm", no_file),
            ("u2.pgm", no_file),
            ("u3.pgm", no_file),
            ("u4.pgm", no_file),
        ];
        assert_eq!(told, all);
        assert_eq!(folder.look(5 * STILL).unwrap(), Look::default());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 6);
    }

    #[test]
    fn a_name_that_turns_into_a_link_or_a_pipe_is_not_opened() {
        let place = tempfile::tempdir().unwrap();
        let mut folder = folder(place.path());
        let path = place.path().join("u7.pgm");
        fs::write(&path, b"a picture").unwrap();
        folder.look(0).unwrap();
        let dropped = folder.look(STILL).unwrap().still.remove(0);
        fs::remove_file(&path).unwrap();
        symlink("/etc/hostname", &path).unwrap();
        assert_eq!(folder.read(&dropped), Err(Refusal::Moving));
        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert_eq!(folder.read(&dropped), Err(Refusal::Moving), "and it does not wait for a writer");
    }

    #[test]
    fn no_more_is_read_than_a_picture_may_have_and_no_more_entries_than_a_folder_should() {
        let place = tempfile::tempdir().unwrap();
        let mut folder = folder(place.path());
        let huge = File::create(place.path().join("u1.pgm")).unwrap();
        huge.set_len(1 << 40).unwrap();
        folder.look(0).unwrap();
        let look = folder.look(STILL).unwrap();
        assert_eq!(folder.read(&look.still[0]), Err(Refusal::Large), "a terabyte of nothing");
        for number in 0..ENTRIES_MAX {
            File::create(place.path().join(format!("junk{number}"))).unwrap();
        }
        let crowded = |look: &Look| look.refused.iter().filter(|refused| refused.why == Refusal::Crowded).count();
        assert_eq!(crowded(&folder.look(2 * STILL).unwrap()), 1);
        assert_eq!(crowded(&folder.look(3 * STILL).unwrap()), 0, "told once");
        assert!(folder.seen.len() <= ENTRIES_MAX);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_and_no_panic() {
        assert!(folder(Path::new("/nowhere/at/all")).look(0).is_err());
    }
}
