//! A journal that is cut short anywhere, or has one wrong byte anywhere, with and without a log: every case is whole, or saved with the
//! loss named, or refused; and never are there fewer facts than lie readable in the file from the first one on.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use sealgate::domain::text::Text;
use sealgate::engine::fact::Fact;
use sealgate::engine::input::LostCause;
use sealgate::store::start::{Policy, born, open_for_run};
use sealgate::store::{Settings, StoreError, salvage, verify};

use super::story::{LINE, Story};

const PAGE: usize = 4096;
/// Of the log: its header, and what a page takes in it.
const LOG_HEADER: usize = 32;
const FRAME: usize = 24 + PAGE;
/// Facts that a story commits at a time.
const COMMIT: usize = 7;
/// Facts before the first load of a batch.
const BEFORE_LOAD: usize = 6;

/// A journal as a kill leaves it, and what of each fact must lie in its bytes for the fact to be readable.
struct Sample {
    _folder: tempfile::TempDir,
    path: PathBuf,
    file: Vec<u8>,
    log: Vec<u8>,
    needles: Vec<Vec<u8>>,
}

/// What a case came to.
#[derive(Debug)]
enum End {
    Whole { facts: usize },
    Saved { facts: usize, said: String },
    Refused(String),
}

/// How often a case came to what, and the cases in which less was saved than was there.
#[derive(Debug, Default)]
struct Ends {
    whole: usize,
    saved: usize,
    refused: usize,
    weak: Vec<String>,
}

impl End {
    fn text(&self) -> String {
        match self {
            End::Whole { facts } => format!("{facts} were taken for whole"),
            End::Saved { facts, said } => format!("{facts} were saved: {said}"),
            End::Refused(why) => why.clone(),
        }
    }
}

impl Ends {
    fn judge(&self) {
        assert!(self.weak.is_empty(), "{} cases:\n{}", self.weak.len(), self.weak.join("\n"));
        assert!(self.saved > 10, "{self:?}");
    }
}

impl Sample {
    fn of(story: &Story, has_log: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source.db");
        drop(open_for_run(&Settings::new(&source, LINE), &policy()).unwrap());
        let store = story.commit_and_hold(&source, 1);
        let needles = needles(&source);
        let log = beside(&source, "-wal");
        let path = folder.path().join("line.db");
        let store = has_log.then_some(store);
        let sample = Self {
            file: fs::read(&source).unwrap(),
            log: if has_log { fs::read(&log).unwrap() } else { Vec::new() },
            needles,
            path,
            _folder: folder,
        };
        assert_eq!(has_log, sample.log.len() > 10 * PAGE, "the facts lie in the log");
        drop(store);
        fs::copy(beside(&source, ".born"), beside(&sample.path, ".born")).unwrap();
        sample
    }

    /// Lays the files as given, and lets a start have them.
    fn start(&self, file: &[u8], log: &[u8]) -> End {
        self.lay(file, log);
        let opened = open_for_run(&Settings::new(&self.path, LINE), &policy());
        match opened {
            Err(error) => {
                assert!(matches!(error.exit_code(), 74 | 78), "{error}");
                End::Refused(error.to_string())
            }
            Ok(opened) => {
                let facts = usize::try_from(opened.store.head().0).unwrap();
                let said = opened.doubts.join("; ");
                drop(opened);
                let verified = verify::run(&self.path).unwrap();
                // A message that was changed costs no fact; only `audit verify` reads them all.
                let is_about_message = verified.first_bad.as_ref().is_some_and(|flaw| flaw.what.contains("message"));
                assert!(verified.first_bad.is_none() || is_about_message, "{said}: {:?}", verified.first_bad);
                if said.is_empty() {
                    return End::Whole { facts };
                }
                End::Saved { facts, said }
            }
        }
    }

    /// The same for the command.
    fn salvage(&self, file: &[u8], log: &[u8]) -> End {
        self.lay(file, log);
        let out = self.path.with_file_name("saved.db");
        remove(&out);
        match salvage::run(&self.path, &out, born(&self.path).as_ref()) {
            Err(error) => {
                assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
                assert!(!out.exists() && error.to_string().contains("line.db"), "{error}");
                End::Refused(error.to_string())
            }
            Ok(report) => {
                let verified = verify::run(&out).unwrap();
                assert_eq!((verified.facts, verified.first_bad), (report.facts, None));
                assert!(fs::read(&self.path).unwrap() == file, "the damaged file is left alone");
                let facts = usize::try_from(report.facts).unwrap();
                let ends_early = log.len() < self.log.len();
                assert!(
                    facts == self.needles.len() || !report.is_all() || ends_early,
                    "{facts} facts: {}",
                    report.text()
                );
                End::Saved { facts, said: report.text() }
            }
        }
    }

    fn lay(&self, file: &[u8], log: &[u8]) {
        remove(&self.path);
        for aside in fs::read_dir(self.path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()) {
            if aside.to_string_lossy().contains("-damaged-") {
                fs::remove_file(aside).unwrap();
            }
        }
        fs::write(&self.path, file).unwrap();
        if !log.is_empty() {
            fs::write(beside(&self.path, "-wal"), log).unwrap();
        }
    }

    /// Facts from the first one on whose bytes lie somewhere; half a page at the end of a log was never written.
    fn readable(&self, file: &[u8], log: &[u8]) -> usize {
        let log = &log[..log.len() - log.len().saturating_sub(LOG_HEADER) % FRAME];
        let lies = |needle: &Vec<u8>, hay: &[u8]| hay.windows(needle.len()).any(|window| window == needle);
        self.needles.iter().take_while(|needle| lies(needle, file) || lies(needle, log)).count()
    }

    /// Both ways; a start that found nothing wrong has all facts.
    fn judge(&self, what: &str, file: &[u8], log: &[u8], ends: &mut Ends) {
        let readable = self.readable(file, log);
        for end in [self.salvage(file, log), self.start(file, log)] {
            let facts = match &end {
                End::Whole { facts } | End::Saved { facts, .. } => *facts,
                End::Refused(_) => 0,
            };
            // The newest commit of a log may be one that never ended, and of a log that ends early nobody knows how long it was.
            let must = match (&end, self.log.is_empty()) {
                (End::Whole { .. }, true) => self.needles.len(),
                (End::Whole { .. }, false) => readable.saturating_sub(1) / COMMIT * COMMIT,
                // The load of a batch is worth nothing without its serials, which were to follow in the same commit.
                (End::Saved { said, .. }, _) if said.contains("its serials are neither") => readable.min(BEFORE_LOAD),
                (End::Saved { .. } | End::Refused(_), _) => readable,
            };
            if facts < must {
                ends.weak.push(format!("{what}: {readable} facts are readable, and {}", end.text()));
            }
            match end {
                End::Whole { .. } => ends.whole += 1,
                End::Saved { .. } => ends.saved += 1,
                End::Refused(_) => ends.refused += 1,
            }
        }
    }
}

fn policy() -> Policy {
    Policy {
        file_systems: vec!["tmpfs".to_owned(), "overlay".to_owned()],
        may_begin_anew: false,
        witnesses: Vec::new(),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    path.with_file_name(format!("{}{suffix}", path.file_name().unwrap().to_str().unwrap()))
}

fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm", ".lock", ".suspect"] {
        let _ = fs::remove_file(beside(path, suffix));
    }
}

/// Body and hash lie side by side at the end of a fact's row.
fn needles(path: &Path) -> Vec<Vec<u8>> {
    let conn = Connection::open(path).unwrap();
    let mut list = conn.prepare("SELECT subject, body, hash FROM fact ORDER BY seq").unwrap();
    let bytes = |row: &rusqlite::Row<'_>, at| row.get_ref(at).unwrap().as_bytes().unwrap().to_vec();
    let found = list.query_map([], |row| Ok([bytes(row, 0), bytes(row, 1), bytes(row, 2)].concat()));
    let found: Vec<Vec<u8>> = found.unwrap().map(Result::unwrap).collect();
    assert!(found.len() > 30);
    found
}

// F19, F25
#[test]
fn a_journal_that_is_cut_anywhere_gives_every_fact_that_is_left() {
    let (small, mut long) = (Story::whole(), Story::whole());
    for _ in 0..400 {
        long.add(Fact::StationLost { station: Text::new("blade").unwrap(), cause: LostCause::Heartbeat });
    }
    for (story, has_log) in [(&small, false), (&small, true), (&long, false)] {
        let sample = Sample::of(story, has_log);
        let mut ends = Ends::default();
        let whole = if has_log { &sample.log } else { &sample.file };
        for at in (0..whole.len()).step_by(PAGE / 2) {
            let cut = &whole[..at];
            let (file, log) = if has_log { (&sample.file[..], cut) } else { (cut, &sample.log[..]) };
            sample.judge(&format!("log {has_log}, cut at {at}"), file, log, &mut ends);
        }
        ends.judge();
    }
}

// F20, F25
#[test]
fn a_wrong_byte_anywhere_costs_no_fact_that_is_readable() {
    for has_log in [false, true] {
        let sample = Sample::of(&Story::whole(), has_log);
        let mut ends = Ends::default();
        let whole = if has_log { &sample.log } else { &sample.file };
        // A step that is prime meets every place of a page.
        for at in (13..whole.len()).step_by(6007) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x5B;
            let (file, log) = if has_log { (&sample.file[..], &bytes[..]) } else { (&bytes[..], &sample.log[..]) };
            sample.judge(&format!("log {has_log}, byte {at}"), file, log, &mut ends);
        }
        ends.judge();
    }
}
