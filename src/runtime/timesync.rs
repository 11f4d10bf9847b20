//! Whether the wall clock is synchronised, by a file that is there while it is. The kernel's own word (`adjtimex(2)`) is out of reach
//! without unsafe code, and the command that asks for it cannot be relied on inside the service's sandbox.

use std::path::Path;

use crate::domain::time::ClockState;

/// A file that is not there says something only where its folder is: else nothing on this machine would ever make it.
pub(super) fn look(file: &Path) -> ClockState {
    if file.exists() {
        ClockState::Synchronised
    } else if file.parent().is_some_and(Path::is_dir) {
        ClockState::Unsynchronised
    } else {
        ClockState::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_in_a_missing_folder_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("synchronized");
        assert_eq!(look(&file), ClockState::Unsynchronised);
        std::fs::write(&file, "").unwrap();
        assert_eq!(look(&file), ClockState::Synchronised);
        assert_eq!(look(&folder.path().join("absent/synchronized")), ClockState::Unknown);
    }
}
