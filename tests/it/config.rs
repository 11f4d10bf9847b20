//! What `check` says about bad configurations, word for word: one golden file each. `SEALGATE_BLESS=1` writes them anew, to be read
//! in the diff.

use std::fs;
use std::path::{Path, PathBuf};

use sealgate::config;

const FOLDER: &str = "tests/data/config/bad";

fn bad_files() -> Vec<PathBuf> {
    // The messages name files as they were opened; Cargo runs tests in the package's folder, so that these names are relative.
    let entries = fs::read_dir(FOLDER).expect("the folder of bad configurations");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

#[test]
fn every_bad_file_is_refused_in_these_words() {
    let files = bad_files();
    assert!(files.len() > 60, "only {} bad configurations", files.len());
    let mut differences = String::new();
    for file in &files {
        let said = match config::load(file) {
            Err(error) => format!("{error}\n"),
            Ok(_) => panic!("{} is accepted", file.display()),
        };
        let golden = file.with_extension("txt");
        if std::env::var_os("SEALGATE_BLESS").is_some() {
            fs::write(&golden, &said).expect("the folder can be written");
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if said != expected {
            differences += &format!("--- {}\nexpected:\n{expected}\nsaid:\n{said}\n", file.display());
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn no_golden_file_is_left_without_its_configuration() {
    let entries = fs::read_dir(FOLDER).expect("the folder of bad configurations");
    for entry in entries {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            assert!(path.with_extension("toml").exists(), "{}", path.display());
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_one_clear_problem() {
    let error = config::load(Path::new("nowhere/line.toml")).map(|_| ()).expect_err("there is none");
    assert!(error.to_string().starts_with("error: nowhere/line.toml: cannot be read (entity not found)"), "{error}");
}
