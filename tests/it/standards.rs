//! GS1's schemas, vectors and data files where they are at hand: `SEALGATE_STANDARDS`, or beside the project.
//!
//! They are not part of the project. Where they are absent a test says so aloud and ends; with `CI` set it fails instead.

use std::io::Write as _;
use std::path::PathBuf;
use std::{env, fs, io};

/// The folder; `None`, said aloud, where a developer does not have it. Continuous integration must.
pub(crate) fn folder() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/standards");
    let folder = PathBuf::from(env::var_os("SEALGATE_STANDARDS").unwrap_or(beside.into()));
    if folder.is_dir() {
        return Some(folder);
    }
    let absent = format!("{} is absent: point SEALGATE_STANDARDS to the standards data", folder.display());
    assert!(env::var_os("CI").is_none(), "{absent}");
    // Not by a macro that prints: the test runner keeps to itself what a passing test prints.
    let _ = io::stderr().write_all(format!("LEFT OUT: {}: {absent}\n", test_name()).as_bytes());
    None
}

/// The text of one file of it.
pub(crate) fn read(file: &str) -> Option<String> {
    let path = folder()?.join(file);
    Some(fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// The runner names the thread of a test after the test.
fn test_name() -> String {
    std::thread::current().name().unwrap_or("a test").to_owned()
}
