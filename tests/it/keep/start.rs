//! What a start finds where the journal should lie: damage, nothing, somebody else, another file system.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use sealgate::domain::text::Text;
use sealgate::engine::fact::{Entry, Fact};
use sealgate::store::commit::Job;
use sealgate::store::rebuild;
use sealgate::store::start::{Opened, Policy, open_for_run};
use sealgate::store::{Reader, Settings, StoreError, open};
use sealgate::wire::lower::Stamp;

use super::story::{LINE, Story, lowering};

fn policy() -> Policy {
    Policy { file_systems: vec!["tmpfs".to_owned(), "overlay".to_owned()], may_begin_anew: false }
}

fn begin(path: &Path) -> Result<Opened, StoreError> {
    open_for_run(&Settings::new(path, LINE), &policy())
}

/// A journal that a daemon has opened, and a clean stop has left.
fn written() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("line.db");
    drop(begin(&path).expect("a first start"));
    Story::whole().commit(&path, 1);
    drop(begin(&path).expect("nothing is wrong"));
    (folder, path)
}

fn facts(path: &Path) -> u64 {
    Reader::open(path).unwrap().head().unwrap().0
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, &bytes).unwrap();
    bytes
}

/// The pages of a table, counted from 1.
fn pages_of(path: &Path, table: &str) -> Vec<usize> {
    let conn = Connection::open(path).unwrap();
    let root: usize = conn
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = ?1", [table], |row| row.get::<_, i64>(0))
        .map(|root| usize::try_from(root).unwrap())
        .unwrap();
    vec![root]
}

fn page_size(bytes: &[u8]) -> usize {
    match u16::from_be_bytes([bytes[16], bytes[17]]) {
        1 => 65_536,
        size => usize::from(size),
    }
}

fn damage_pages(path: &Path, pages: &[usize]) -> Vec<u8> {
    change(path, |bytes| {
        let size = page_size(bytes);
        for page in pages {
            bytes[(page - 1) * size..page * size].fill(0xA5);
        }
    })
}

fn is_whole(path: &Path) {
    let report = rebuild::check(path, &std::env::temp_dir()).unwrap();
    assert!(report.is_same(), "{report:?}");
}

// F20
#[test]
fn a_changed_fact_ends_the_record_there_and_the_file_is_kept_as_it_was() {
    let (_folder, path) = written();
    let hash: Vec<u8> = Connection::open(&path)
        .and_then(|conn| conn.query_row("SELECT hash FROM fact WHERE seq = 15", [], |row| row.get(0)))
        .unwrap();
    let damaged = change(&path, |bytes| {
        // Pages that were split keep an old copy in their unused part.
        let places: Vec<usize> = (0..bytes.len() - hash.len()).filter(|at| bytes[*at..].starts_with(&hash)).collect();
        assert!(!places.is_empty(), "the fact is in the file");
        places.into_iter().for_each(|at| bytes[at + 7] ^= 1);
    });
    let opened = begin(&path).expect("what is left");
    let [doubt] = &opened.doubts[..] else { panic!("one doubt, not {:?}", opened.doubts) };
    assert!(doubt.contains("facts 1 to 14 were saved") && doubt.contains("15 to"), "{doubt}");
    assert_eq!(opened.store.head().0, 14);
    drop(opened);
    assert_eq!(fs::read(path.with_file_name("line.db-damaged-1")).unwrap(), damaged);
    is_whole(&path);
    let again = begin(&path).expect("a whole file").doubts;
    assert!(again.len() == 1 && again[0].contains("a salvage of 14 facts"), "nothing was recorded since: {again:?}");
}

// F19
#[test]
fn a_damaged_page_of_a_state_table_costs_no_fact() {
    for table in ["serial", "used", "member", "container", "inspection"] {
        let (_folder, path) = written();
        let newest = facts(&path);
        damage_pages(&path, &pages_of(&path, table));
        let opened = begin(&path).unwrap_or_else(|error| panic!("{table}: {error}"));
        assert_eq!(opened.doubts.len(), 1, "{table}");
        assert_eq!(opened.store.head().0, newest, "{table}: {:?}", opened.doubts);
        drop(opened);
        is_whole(&path);
    }
}

// F157, F158
#[test]
fn messages_that_somebody_took_away_are_made_again_and_the_line_is_held() {
    let sent =
        "INSERT OR REPLACE INTO work_feed SELECT word, 1 << 40 FROM word WHERE text IN ('fact', 'epcis', 'batch')";
    for taken in ["seq = 1", "seq = 3", "stream = 38", "seq > 0"] {
        let (folder, path) = written();
        let tool = Connection::open(&path).unwrap();
        tool.execute_batch(&format!("{sent}; DELETE FROM message WHERE {taken}"))
            .expect("the triggers believe the place");
        drop(tool);
        let opened = begin(&path).expect("what is left");
        let [doubt] = &opened.doubts[..] else { panic!("one doubt, not {:?}", opened.doubts) };
        assert!(doubt.contains("of stream") && doubt.contains("no fact let it go"), "{doubt}");
        assert!(doubt.contains("all 38 facts"), "{doubt}");
        drop(opened);
        is_whole(&path);
        assert!(folder.path().join("line.db-damaged-1").exists());
        let again = begin(&path).expect("a whole file").doubts;
        assert!(again.len() == 1 && again[0].contains("nothing was recorded since"), "{again:?}");
        let mut store = begin(&path).expect("the same").store;
        let paused = Entry {
            seq: store.head().0 + 1,
            batch: None,
            actor: Text::new("line").unwrap(),
            fact: Fact::LinePaused { paused_us: 1 },
        };
        let record = lowering().record(&paused, None, None, Stamp::default());
        store.commit(&Job { records: vec![record], work: Vec::new() }, || 0).unwrap();
        drop(store);
        assert!(begin(&path).expect("a whole file").doubts.is_empty(), "it was told; the alarm waits for a person");
    }
    // What a fact let go is no doubt.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("line.db");
    Story::let_go().commit(&path, 1);
    assert_eq!(begin(&path).expect("nothing is wrong").doubts, Vec::<String>::new());
}

// F19
#[test]
fn a_file_of_which_nothing_can_be_saved_is_kept_and_never_followed_by_an_empty_one() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 3] = [
        ("nothing but noise", |bytes| bytes.fill(0x5A)),
        ("cut to nothing", Vec::clear),
        ("the facts gone", |bytes| bytes.truncate(page_size(bytes))),
    ];
    for (what, damage) in damages {
        let (_folder, path) = written();
        let bytes = change(&path, damage);
        let refused = begin(&path).expect_err(what);
        assert_eq!(refused.exit_code(), 74, "{what}: {refused}");
        assert_eq!(fs::read(path.with_file_name("line.db-damaged-1")).unwrap(), bytes, "{what}");
        let again = begin(&path).expect_err("still nothing");
        assert!(matches!(again, StoreError::Missing { .. }), "{what}: {again}");
    }
}

// F27
#[test]
fn a_journal_that_is_gone_ends_the_start_unless_a_person_says_that_the_line_begins_anew() {
    let (_folder, path) = written();
    fs::rename(&path, path.with_file_name("away.db")).unwrap();
    let refused = begin(&path).expect_err("it was there");
    assert_eq!(refused.exit_code(), 74);
    assert!(!path.exists(), "nothing was made in its place");
    let anew = Policy { may_begin_anew: true, ..policy() };
    let opened = open_for_run(&Settings::new(&path, LINE), &anew).expect("a person said so");
    assert_eq!(opened.store.head().0, 0);
    drop(opened);
    begin(&path).expect("and from then on it is there");
}

// F25
#[test]
fn an_index_of_the_log_that_is_lost_or_stale_is_made_again() {
    let (_folder, path) = written();
    let store = open(&Settings::new(&path, LINE)).unwrap();
    // What a kill leaves: the file, its log and the index of the log.
    let killed = path.with_file_name("killed.db");
    for suffix in ["", "-wal", "-shm"] {
        fs::copy(path.with_file_name(format!("line.db{suffix}")), killed.with_file_name(format!("killed.db{suffix}")))
            .unwrap();
    }
    drop(store);
    let newest = facts(&path);
    let index = killed.with_file_name("killed.db-shm");
    change(&index, |bytes| bytes.fill(0x77));
    assert_eq!(begin(&killed).expect("a stale index").store.head().0, newest);
    let _ = fs::remove_file(&index);
    assert_eq!(begin(&killed).expect("a lost index").store.head().0, newest);
}

// F11
#[test]
fn a_second_name_of_the_file_is_the_same_journal() {
    let (folder, path) = written();
    let _held = begin(&path).expect("the first");
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    let link = other.join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let hard = other.join("hard.db");
    fs::hard_link(&path, &hard).unwrap();
    for name in [&link, &hard] {
        let refused = begin(name).expect_err("held");
        assert_eq!(refused.exit_code(), 75, "{}: {refused}", name.display());
    }
    let bound = other.join("bound.db");
    fs::write(&bound, b"").unwrap();
    let mounted = Command::new("mount").arg("--bind").args([&path, &bound]).output();
    if !mounted.is_ok_and(|said| said.status.success()) {
        println!("LEFT OUT: a bind mount of the journal: no right to mount");
        return;
    }
    let refused = begin(&bound);
    let unmounted = Command::new("umount").arg(&bound).status().expect("umount");
    assert!(unmounted.success());
    assert_eq!(refused.expect_err("held").exit_code(), 75);
}

// F23
#[test]
fn a_tool_that_holds_the_file_ends_the_start_as_another_daemon_does() {
    let (_folder, path) = written();
    let tool = Connection::open(&path).unwrap();
    tool.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert_eq!(begin(&path).expect_err("held").exit_code(), 75);
    tool.execute_batch("ROLLBACK").unwrap();
    drop(tool);
    begin(&path).expect("free again");
}

// F135
#[test]
fn a_file_of_a_later_release_is_left_as_it_is() {
    let (_folder, path) = written();
    let tool = Connection::open(&path).unwrap();
    tool.execute_batch("PRAGMA user_version = 999").unwrap();
    drop(tool);
    let before = fs::read(&path).unwrap();
    assert_eq!(begin(&path).expect_err("newer").exit_code(), 78);
    assert_eq!(fs::read(&path).unwrap(), before);
    assert!(!path.with_file_name("line.db-damaged-1").exists());
}

#[test]
fn a_file_that_never_was_a_journal_is_somebody_elses() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    fs::write(
        &path,
        "what somebody wrote, and long enough to be looked at as a header of a hundred bytes and some more.",
    )
    .unwrap();
    assert_eq!(begin(&path).expect_err("no journal").exit_code(), 78);
    assert!(path.exists());
}
