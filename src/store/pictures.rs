//! The pictures beside the journal: `line.pictures/ab/cdef…`, each under the SHA-256 of its content.
//!
//! Contract: a picture is there whole or not at all (written under another name, flushed, renamed), the same content lies there once,
//! and there are never more than the limits say. Which picture belongs to what, and which were deleted, are facts: this place is
//! changed only after its fact is on disk (deletion) or before it is decided (storing), so that what a crash leaves behind is a picture
//! too many, and never one too few.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::domain::text::Text;
use crate::store::error::StoreError;
use crate::store::guard::Bounds;
use crate::store::place::{self, Room};
use crate::wire::digest;

/// SHA-256 in lower-case hex.
pub type Digest = Text<64>;

/// What may lie there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub count: usize,
    pub bytes: u64,
}

/// A picture before it is whole.
const HALF: &str = "half-written";

/// Deleted at once, at most: one fact names them.
const REMOVED_MAX: usize = 64;

#[derive(Debug)]
pub struct Shelf {
    root: PathBuf,
    limits: Limits,
    bounds: Bounds,
    /// The oldest first; no more than `limits.count`, but for what an earlier configuration left.
    kept: VecDeque<(Digest, u64)>,
    known: BTreeSet<Digest>,
    bytes: u64,
}

/// Where the pictures of a journal lie.
pub fn folder_of(journal: &Path) -> PathBuf {
    journal.with_extension("pictures")
}

/// Where a picture lies in that folder.
pub fn path_of(root: &Path, digest: &str) -> Option<PathBuf> {
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let (first, rest) = digest.split_at_checked(2).filter(|_| is_digest)?;
    Some(root.join(first).join(rest))
}

impl Shelf {
    /// Opens the folder, makes it where it is missing, and clears away what a crash left half-written.
    pub fn open(root: PathBuf, limits: Limits, bounds: Bounds) -> Result<Self, StoreError> {
        make(&root)?;
        // Where it cannot be removed, the next one that is written takes its place.
        let _ = fs::remove_file(root.join(HALF));
        let mut found = Vec::new();
        for folder in list(&root)? {
            if folder.is_dir() {
                for file in list(&folder)? {
                    found.extend(known_file(&root, &file)?);
                }
            }
        }
        found.sort();
        let kept: VecDeque<(Digest, u64)> = found.into_iter().map(|(_, digest, bytes)| (digest, bytes)).collect();
        let known = kept.iter().map(|(digest, _)| *digest).collect();
        let bytes = kept.iter().map(|(_, bytes)| bytes).sum();
        Ok(Self { root, limits, bounds, kept, known, bytes })
    }

    /// Whether the disk has room for so many bytes of a picture, and twice of what the journal keeps for itself beyond them: pictures
    /// stop long before the line would.
    pub fn has_room(&self, bytes: u64) -> bool {
        place::room(&self.root.join("x")).is_ok_and(|room| self.leaves_enough(room, bytes))
    }

    fn leaves_enough(&self, room: Room, bytes: u64) -> bool {
        let Bounds { reserve_free, ballast } = self.bounds;
        let keep = reserve_free.min(room.total / 10).saturating_mul(2).saturating_add(ballast.min(room.total / 20));
        room.free >= keep.saturating_add(bytes)
    }

    /// Whether the limits let one more of so many bytes in.
    pub fn takes(&self, bytes: u64) -> bool {
        self.kept.len() < self.limits.count && self.bytes.saturating_add(bytes) <= self.limits.bytes
    }

    /// Puts a picture there, unless it is there already. Durable when this returns.
    pub fn put(&mut self, content: &[u8]) -> Result<Digest, StoreError> {
        let name = digest::sha256_hex(content);
        let digest = Digest::new(&name).ok_or_else(|| StoreError::damaged("a digest is too long"))?;
        if self.known.contains(&digest) {
            return Ok(digest);
        }
        let path = path_of(&self.root, &name).ok_or_else(|| StoreError::damaged("a digest is none"))?;
        let folder = path.parent().unwrap_or(&self.root);
        if !folder.is_dir() {
            make(folder)?;
            flush(&self.root)?;
        }
        let half = self.root.join(HALF);
        let written = File::create(&half).and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&half, &path)
        });
        written.map_err(|source| failed("storing a picture at", &path, source))?;
        flush(folder)?;
        let bytes = u64::try_from(content.len()).unwrap_or(u64::MAX);
        self.kept.push_back((digest, bytes));
        self.known.insert(digest);
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(digest)
    }

    /// The oldest, that must go before one more of so many bytes comes in: some more than need to, so that not every picture asks.
    pub fn oldest(&self, bytes: u64) -> Vec<Digest> {
        let slack = (self.limits.count / 8).clamp(1, REMOVED_MAX);
        let (mut count, mut size) = (self.kept.len(), self.bytes);
        let mut oldest = Vec::new();
        for (digest, of) in self.kept.iter().take(REMOVED_MAX) {
            let fits = count < self.limits.count && size.saturating_add(bytes) <= self.limits.bytes;
            if fits && oldest.len() >= slack {
                break;
            }
            (count, size) = (count.saturating_sub(1), size.saturating_sub(*of));
            oldest.push(*digest);
        }
        oldest
    }

    /// Deletes pictures of which a durable fact says so.
    pub fn remove(&mut self, digests: &[Digest]) -> Result<(), StoreError> {
        for digest in digests {
            let Some(path) = path_of(&self.root, digest.as_str()) else { continue };
            if let Err(source) = fs::remove_file(&path)
                && source.kind() != std::io::ErrorKind::NotFound
            {
                return Err(failed("deleting the picture", &path, source));
            }
            if let Some(at) = self.kept.iter().position(|(kept, _)| kept == digest)
                && let Some((_, bytes)) = self.kept.remove(at)
            {
                self.known.remove(digest);
                self.bytes = self.bytes.saturating_sub(bytes);
            }
        }
        Ok(())
    }

    pub fn count(&self) -> usize {
        self.kept.len()
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// When a picture was written, its name and its size.
type Known = ((i64, i64), Digest, u64);

/// A picture; `None` for what is none of ours.
fn known_file(root: &Path, path: &Path) -> Result<Option<Known>, StoreError> {
    let parts: Option<Vec<&str>> =
        path.strip_prefix(root).ok().map(|rest| rest.iter().filter_map(|part| part.to_str()).collect());
    let name = parts.unwrap_or_default().concat();
    let Some(digest) = Digest::new(&name).filter(|digest| path_of(root, digest.as_str()).as_deref() == Some(path))
    else {
        return Ok(None);
    };
    let found = fs::symlink_metadata(path).map_err(|source| failed("looking at", path, source))?;
    Ok(found.is_file().then(|| ((found.mtime(), found.mtime_nsec()), digest, found.size())))
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries =
        || fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>();
    entries().map_err(|source| failed("listing", folder, source))
}

/// For the daemon alone: what a camera saw may be confidential.
fn make(folder: &Path) -> Result<(), StoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| failed("making the folder", folder, source))
}

fn flush(folder: &Path) -> Result<(), StoreError> {
    let flushed = File::open(folder).and_then(|folder| folder.sync_all());
    flushed.map_err(|source| failed("flushing", folder, source))
}

fn failed(doing: &'static str, path: &Path, source: std::io::Error) -> StoreError {
    StoreError::Io { doing, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    fn shelf(root: &Path, count: usize, bytes: u64) -> Shelf {
        Shelf::open(root.join("line.pictures"), Limits { count, bytes }, Bounds { reserve_free: 0, ballast: 0 })
            .unwrap()
    }

    fn files(root: &Path) -> usize {
        list(&root.join("line.pictures"))
            .unwrap()
            .iter()
            .filter(|path| path.is_dir())
            .map(|path| list(path).unwrap().len())
            .sum()
    }

    #[test]
    fn the_same_content_lies_there_once_under_its_digest() {
        let place = tempfile::tempdir().unwrap();
        let mut shelf = shelf(place.path(), 10, 1000);
        let digest = shelf.put(b"a picture").unwrap();
        assert_eq!(shelf.put(b"a picture").unwrap(), digest);
        let path = path_of(&place.path().join("line.pictures"), digest.as_str()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"a picture");
        assert_eq!((digest::sha256_hex(b"a picture").as_str(), shelf.count(), shelf.bytes()), (digest.as_str(), 1, 9));
        assert_eq!(fs::metadata(place.path().join("line.pictures")).unwrap().mode() & 0o077, 0, "for the daemon alone");
    }

    #[test]
    fn what_lies_there_is_known_again_and_what_is_half_written_or_foreign_is_not_counted() {
        let place = tempfile::tempdir().unwrap();
        let digests: Vec<Digest> = {
            let mut shelf = shelf(place.path(), 10, 1000);
            [b"1", b"2", b"3"].map(|content| shelf.put(content).unwrap()).to_vec()
        };
        fs::write(place.path().join("line.pictures/half-written"), b"ha").unwrap();
        fs::write(place.path().join("line.pictures/readme"), b"ha").unwrap();
        let mut shelf = shelf(place.path(), 10, 1000);
        assert_eq!((shelf.count(), shelf.bytes()), (3, 3));
        assert_eq!(shelf.put(b"2").unwrap(), digests[1]);
        assert_eq!(shelf.count(), 3);
        shelf.remove(&digests).unwrap();
        shelf.remove(&digests).expect("they are gone already");
        assert_eq!((shelf.count(), shelf.bytes(), files(place.path())), (0, 0, 0));
    }

    #[test]
    fn the_oldest_go_first_and_as_many_as_one_more_needs() {
        let place = tempfile::tempdir().unwrap();
        let mut shelf = shelf(place.path(), 3, 100);
        let digests = [b"a", b"b", b"c"].map(|content| shelf.put(content).unwrap());
        assert!(!shelf.takes(1));
        assert_eq!(shelf.oldest(1), [digests[0]]);
        shelf.remove(&shelf.oldest(1)).unwrap();
        assert!(shelf.takes(1) && shelf.takes(98) && !shelf.takes(99));
        assert_eq!(shelf.oldest(99), [digests[1]]);
        assert_eq!(shelf.oldest(100), digests[1..]);
    }

    // F21
    #[test]
    fn pictures_stop_long_before_the_journal_wants_for_room() {
        let place = tempfile::tempdir().unwrap();
        let mut shelf = shelf(place.path(), 3, 100);
        shelf.bounds = Bounds { reserve_free: 256 * MB, ballast: 64 * MB };
        let room = |free_mb: u64| Room { free: free_mb * MB, total: 100_000 * MB };
        assert!(shelf.leaves_enough(room(577), MB));
        assert!(!shelf.leaves_enough(room(576), MB), "the line would be warned of a disk that is low");
        assert!(shelf.leaves_enough(Room { free: 25 * MB, total: 90 * MB }, MB), "a small disk keeps a tenth");
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        for wrong in ["", "ab", "../../../../etc/passwd", &"/".repeat(64), &"A".repeat(64), &"é".repeat(32)] {
            assert_eq!(path_of(Path::new("/p"), wrong), None, "{wrong}");
        }
    }
}
