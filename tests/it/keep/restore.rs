//! Backups, and what becomes of a line that gets one back.

use std::fs;
use std::path::Path;
use std::process::Command;

use sealgate::store::commit::Job;
use sealgate::store::{Reader, Settings, StoreError, Work, backup, open, rebuild, restore, salvage, verify};

use super::story::{LINE, Story};

// F33
#[test]
fn a_backup_beside_a_writer_is_one_whole_moment_of_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("line.db");
    let mut store = Story::whole().commit_and_hold(&path, 1);
    let (from, out) = (path.clone(), folder.path().join("backup.db"));
    let copy = std::thread::spawn(move || backup::run(&from, &out).map(|report| (report, out)));
    let mut commits = 0_u64;
    while !copy.is_finished() || commits < 5 {
        let work = vec![Work::FeedAcked { through: commits % 7 }];
        store.commit(&Job { records: Vec::new(), work }, || 0).expect("a copy is never in the way of a commit");
        commits += 1;
    }
    let (report, out) = copy.join().unwrap().expect("a copy");
    assert_eq!(report.seq, store.head().0);
    assert_eq!(report.sha256, backup::sha256_of(&out).unwrap());
    assert!(rebuild::check(&out, &std::env::temp_dir()).unwrap().is_same());
    assert!(matches!(backup::run(&path, &out), Err(StoreError::Io { .. })), "nothing is written over");
}

#[test]
fn a_backup_that_was_touched_is_not_restored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("line.db");
    Story::whole().commit(&path, 1);
    let settings = Settings::new(&path, LINE);
    let prepared = |change: &str| {
        let out = folder.path().join("backup.db");
        let _ = fs::remove_file(&out);
        backup::run(&path, &out).unwrap();
        let tool = rusqlite::Connection::open(&out).unwrap();
        tool.execute_batch(change).unwrap();
        drop(tool);
        restore::prepare(&out, &settings).map(|made| made.store.head().0)
    };
    assert!(prepared("").is_ok());
    for change in [
        "UPDATE serial SET state = 9 WHERE state = 3",
        "UPDATE container SET capacity = 7",
        "DELETE FROM inspection WHERE inspection = (SELECT min(inspection) FROM inspection)",
        "DROP TRIGGER fact_is_never_changed; UPDATE fact SET at_us = 0 WHERE seq = 5",
    ] {
        let refused = prepared(change).expect_err(change);
        assert!(matches!(refused, StoreError::Damaged { .. }), "{change}: {refused}");
    }
    let other = restore::prepare(&path, &Settings::new(folder.path().join("l2.db"), "site/other"));
    assert_eq!(other.expect_err("another line's").exit_code(), 78);
    let _held = open(&settings).unwrap();
    let out = folder.path().join("backup.db");
    assert_eq!(restore::prepare(&out, &settings).expect_err("a daemon runs").exit_code(), 75);
}

#[test]
fn salvage_says_what_it_saved_and_leaves_the_damaged_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("line.db");
    Story::whole().commit(&path, 1);
    let newest = Reader::open(&path).unwrap().head().unwrap().0;
    let tool = rusqlite::Connection::open(&path).unwrap();
    tool.execute_batch("DROP TRIGGER fact_is_never_deleted; DELETE FROM fact WHERE seq = 20").unwrap();
    // What was deleted lies in the file until something is written over it.
    let out = folder.path().join("saved.db");
    assert_eq!(salvage::run(&path, &out, None).unwrap().facts, newest);
    fs::remove_file(&out).unwrap();
    tool.execute_batch("VACUUM").unwrap();
    drop(tool);
    let before = fs::read(&path).unwrap();
    let report = salvage::run(&path, &out, None).unwrap();
    assert_eq!((report.facts, report.newest_seen), (19, Some(newest)));
    assert!(report.text().contains(&format!("20 to {newest} are lost")), "{}", report.text());
    assert_eq!(fs::read(&path).unwrap(), before);
    let verified = verify::run(&out).unwrap();
    assert_eq!((verified.facts, verified.first_bad), (19, None));
    assert!(rebuild::check(&out, &std::env::temp_dir()).unwrap().is_same());
}

#[test]
fn a_journal_is_made_anew_in_place_and_the_old_one_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("line.db");
    Story::whole().commit(&path, 1);
    let tool = rusqlite::Connection::open(&path).unwrap();
    tool.execute_batch("UPDATE serial SET state = 12; INSERT INTO work_feed (stream, acked_seq) SELECT word, 1 FROM word WHERE text = 'epcis'").unwrap();
    drop(tool);
    assert!(!rebuild::check(&path, &std::env::temp_dir()).unwrap().is_same());
    let made = rebuild::make(&path).unwrap();
    assert!(made.kept.exists());
    assert!(rebuild::check(&path, &std::env::temp_dir()).unwrap().is_same());
    let acked: i64 = rusqlite::Connection::open(&path)
        .unwrap()
        .query_row("SELECT acked_seq FROM work_feed", [], |row| row.get(0))
        .unwrap();
    assert_eq!(acked, 1, "the feed keeps its place");
}

/// The program, from outside, with a journal of its own.
fn sealgate(folder: &Path, line: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sealgate")).args(line).current_dir(folder).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_commands_answer_with_a_document_and_an_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    Story::whole().commit(&folder.path().join("line.db"), 1);
    let run = |line: &[&str]| {
        let (code, out, err) = sealgate(folder.path(), &[line, &["--json"]].concat());
        let document: serde_json::Value = serde_json::from_str(&out).unwrap_or_default();
        (code, document, err)
    };
    let (code, document, _) = run(&["store", "check", "--db", "line.db"]);
    assert_eq!((code, &document["outcome"]), (0, &"sound".into()), "{document}");
    let (code, document, _) = run(&["store", "backup", "--db", "line.db", "--out", "b.db"]);
    assert_eq!((code, document["sha256"].as_str().map(str::len)), (0, Some(64)), "{document}");
    assert!(folder.path().join("b.db.json").exists());
    let (code, document, _) = run(&["store", "rebuild", "--check", "--db", "b.db"]);
    assert_eq!((code, &document["outcome"]), (0, &"same".into()), "{document}");
    let tool = rusqlite::Connection::open(folder.path().join("b.db")).unwrap();
    tool.execute_batch("UPDATE alarm SET detail = 'x' WHERE alarm = 2").unwrap();
    drop(tool);
    let (code, document, _) = run(&["store", "rebuild", "--check", "--db", "b.db"]);
    assert_eq!(code, 1);
    let found = &document["differences"][0];
    assert_eq!(
        (&found["table"], &found["column"], &found["key"]),
        (&"alarm".into(), &"detail".into(), &"alarm=2".into())
    );
    let (code, document, _) = run(&["store", "salvage", "--db", "line.db", "--out", "s.db"]);
    assert_eq!(code, 0, "{document}");
    assert_eq!(run(&["store", "check", "--db", "absent.db"]).0, 74);
}
