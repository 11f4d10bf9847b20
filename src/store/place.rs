//! Where a journal lies: the file system under it and the room that is left.

use std::path::{Path, PathBuf};

use crate::store::error::StoreError;
use crate::store::lock;

/// File systems that keep what was flushed, and locks between processes.
const TRUSTED: &[&str] = &["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs"];

/// Room on a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub free: u64,
    pub total: u64,
}

/// What this process may still write there.
pub fn room(path: &Path) -> Result<Room, StoreError> {
    let folder = folder_of(path);
    let found = rustix::fs::statvfs(&folder);
    let found =
        found.map_err(|error| StoreError::Io { doing: "asking for room at", path: folder, source: error.into() })?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(Room { free: bytes(found.f_bavail), total: bytes(found.f_blocks) })
}

/// The folder in which a file lies, or will.
pub(super) fn folder_of(path: &Path) -> PathBuf {
    let real = lock::real(path);
    match real.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

/// The name of the file system under a path, as the kernel calls it; `None` where it does not say.
pub fn file_system(path: &Path) -> Option<String> {
    let folder = std::fs::canonicalize(folder_of(path)).ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    of_mounts(&mounts, &folder).map(str::to_owned)
}

/// Of several mounts above a folder the deepest counts, and of those at one place the last (proc(5), mountinfo).
fn of_mounts<'m>(mounts: &'m str, folder: &Path) -> Option<&'m str> {
    let mount = |line: &'m str| {
        let (left, right) = line.split_once(" - ")?;
        let point = unescaped(left.split(' ').nth(4)?);
        folder.starts_with(&point).then_some((point.components().count(), right.split(' ').next()?))
    };
    mounts.lines().filter_map(mount).max_by_key(|(depth, _)| *depth).map(|(_, name)| name)
}

/// Blanks and their like stand as three octal digits.
fn unescaped(text: &str) -> PathBuf {
    let known = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    PathBuf::from(known.iter().fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain)))
}

/// Whether a file system is known to keep what was flushed.
pub fn is_trusted(name: &str) -> bool {
    TRUSTED.contains(&name)
}

/// Refuses a file system that nobody vouched for: a network share loses locks, one in memory loses everything.
pub(super) fn refuse_untrusted(path: &Path, allowed: &[String]) -> Result<(), StoreError> {
    let Some(name) = file_system(path) else { return Ok(()) };
    if is_trusted(&name) || allowed.contains(&name) {
        return Ok(());
    }
    let what = format!(
        "its file system is {name}, which is not known to keep what was flushed; use a local disk ({}), or vouch for it with \
         file_systems = [\"{name}\"] in [store]",
        TRUSTED.join(", ")
    );
    Err(StoreError::Place { path: path.to_owned(), what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_and_newest_mount_says_which_file_system_it_is() {
        let mounts = "27 1 254:0 / / rw - ext4 /dev/vda rw\n\
                      28 27 0:30 / /var rw shared:1 - nfs4 server:/x rw\n\
                      29 27 0:31 / /var/lib/a\\040b rw - xfs /dev/vdb rw\n\
                      30 29 0:32 / /var/lib/a\\040b rw - tmpfs tmpfs rw\n";
        for (folder, name) in [("/", "ext4"), ("/var/lib", "nfs4"), ("/var/lib/a b/c", "tmpfs"), ("/varlib", "ext4")] {
            assert_eq!(of_mounts(mounts, Path::new(folder)), Some(name), "{folder}");
        }
    }

    // F30
    #[test]
    fn a_journal_on_a_share_or_in_memory_is_refused_unless_somebody_vouches_for_it() {
        let Some(memory) =
            Some(Path::new("/dev/shm/line.db")).filter(|path| file_system(path).as_deref() == Some("tmpfs"))
        else {
            return;
        };
        let refused = refuse_untrusted(memory, &[]).expect_err("in memory");
        assert_eq!(refused.exit_code(), 78);
        assert!(refused.to_string().contains("tmpfs"), "{refused}");
        refuse_untrusted(memory, &["tmpfs".to_owned()]).expect("somebody vouches");
    }

    #[test]
    fn there_is_room_where_tests_run() {
        let room = room(&std::env::temp_dir().join("line.db")).expect("a folder");
        assert!(room.free > 0 && room.free <= room.total);
    }
}
