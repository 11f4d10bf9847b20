//! Every parser that meets a device, against bytes that no device should send.
//!
//! Plain `cargo test` runs the saved corpus (`tests/data/fuzz/TARGET/*`), which takes a second. With `--seconds N` the targets are
//! fuzzed for so long on two threads, in short turns each:
//!
//! ```text
//! cargo test --test fuzz -- --seconds 60 [--seed S] [--target NAME]
//! ```
//!
//! Inputs are made from the corpus by a seeded mutator that knows the targets' words; an input that makes a target answer in a new
//! way stays in the pool. A target fails by a panic (overflow included: run it in the debug profile) or by breaking what it states.
//! What fails is saved beside the corpus as `failed-…`, printed, and ends the run with 1. A new target is a line in `targets::ALL`
//! and a folder of small files.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test program: it fails where it stands, and measures its own time"
)]

mod mutate;
mod targets;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use mutate::Mutator;
use targets::{ALL, Target};

const THREADS: usize = 2;
/// Inputs between two looks at the clock.
const TURN: usize = 500;
/// Inputs that one target keeps.
const POOL_MAX: usize = 512;

struct Wanted {
    seconds: u64,
    seed: u64,
    target: Option<String>,
}

/// One target at work.
struct Work {
    target: &'static Target,
    mutator: Mutator,
    pool: Vec<Vec<u8>>,
    /// Ways to answer that were seen.
    seen: BTreeSet<u64>,
    runs: u64,
}

fn main() -> ExitCode {
    let wanted = wanted();
    let works: Vec<Work> = ALL
        .iter()
        .filter(|target| wanted.target.as_ref().is_none_or(|name| name == target.name))
        .map(|target| Work::new(target, wanted.seed))
        .collect();
    // A panic is a finding here, and is told once, by name.
    std::panic::set_hook(Box::new(|_| {}));
    let failures: Mutex<Vec<String>> = Mutex::default();
    let mut works: Vec<Work> = works.into_iter().filter_map(|work| kept(work.replay(), &failures)).collect();
    if wanted.seconds > 0 {
        works = fuzzed(works, wanted.seconds, &failures);
    }
    for work in &works {
        println!("{:<12} {:>9} inputs, {:>4} ways to answer", work.target.name, work.runs, work.seen.len());
    }
    let failures = failures.into_inner().unwrap();
    for failure in &failures {
        println!("FAILED {failure}");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the test runner itself passes is no business of ours.
fn wanted() -> Wanted {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let number = |name: &str| value(name).and_then(|text| text.parse().ok());
    Wanted {
        seconds: number("--seconds").unwrap_or(0),
        seed: number("--seed").unwrap_or(0x5EA1_6A7E),
        target: value("--target"),
    }
}

fn kept(outcome: Result<Work, String>, failures: &Mutex<Vec<String>>) -> Option<Work> {
    outcome.map_err(|failure| failures.lock().unwrap().push(failure)).ok()
}

/// Two threads share the targets; each target gets the same number of turns. One that failed is out.
fn fuzzed(works: Vec<Work>, seconds: u64, failures: &Mutex<Vec<String>>) -> Vec<Work> {
    let queue = Mutex::new(std::collections::VecDeque::from(works));
    let ended = Instant::now() + Duration::from_secs(seconds);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while Instant::now() < ended {
                    let Some(work) = queue.lock().unwrap().pop_front() else { return };
                    if let Some(work) = kept(work.turn(), failures) {
                        queue.lock().unwrap().push_back(work);
                    }
                }
            });
        }
    });
    let mut works: Vec<Work> = queue.into_inner().unwrap().into();
    works.sort_by_key(|work| work.target.name);
    works
}

impl Work {
    fn new(target: &'static Target, seed: u64) -> Self {
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder(target))
            .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
            .unwrap_or_default();
        files.sort();
        let pool: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
        assert!(!pool.is_empty(), "{} has no corpus", folder(target).display());
        Self { target, mutator: Mutator::new(seed), pool, seen: BTreeSet::new(), runs: 0 }
    }

    /// The saved inputs as they are.
    fn replay(mut self) -> Result<Self, String> {
        for input in self.pool.clone() {
            let way = self.run(&input)?;
            self.seen.insert(way);
        }
        Ok(self)
    }

    fn turn(mut self) -> Result<Self, String> {
        for _ in 0..TURN {
            let input = self.mutator.next(&self.pool, self.target.words);
            let way = self.run(&input)?;
            if self.seen.insert(way) {
                if self.pool.len() >= POOL_MAX {
                    let old = self.mutator.below(self.pool.len());
                    self.pool.swap_remove(old);
                }
                self.pool.push(input);
            }
        }
        Ok(self)
    }

    fn run(&mut self, input: &[u8]) -> Result<u64, String> {
        self.runs += 1;
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.target.run)(input)));
        let what = match outcome {
            Ok(Ok(way)) => return Ok(way),
            Ok(Err(broken)) => broken,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or("panic".into())
            }
        };
        let saved = save(self.target, input);
        Err(format!("{}: {what}\n  input {} ({})", self.target.name, hex(input), saved.display()))
    }
}

fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fuzz").join(target.name)
}

fn save(target: &Target, input: &[u8]) -> PathBuf {
    let path = folder(target).join(format!("failed-{:016x}", mutate::hash(input)));
    let _ = std::fs::write(&path, input);
    path
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
