//! Reads GS1's data files where they are at hand: `SEALGATE_STANDARDS`, or beside the project.
//!
//! They are not part of the project. Where they are absent a test says so aloud and ends; with `CI` set it fails instead.

use std::path::PathBuf;

/// The text of one file below the standards folder; `None` where the folder is absent and may be.
pub(crate) fn read(file: &str) -> Option<String> {
    let folder = std::env::var_os("SEALGATE_STANDARDS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/standards")), PathBuf::from);
    if folder.is_dir() {
        let path = folder.join(file);
        return Some(std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{} is absent and CI is set: point SEALGATE_STANDARDS to the standards data",
        folder.display()
    );
    eprintln!("SKIPPED: {} is absent, so {file} was not tested", folder.display());
    None
}
