//! Camera result published to verdict written, over OPC UA on loopback, through the real parts: the simulated plant's server in this
//! process, moved by the benchmark; the daemon (`sealgate run`: device task, line thread, journal with `synchronous=FULL`) as a process
//! of its own. The floor (`floor`) takes the daemon's place, in the same run, against the same server.
//! Goals (DESIGN section 10): p99 at most 1.5 × the floor's, sustained rate at least 0.7 × the floor's.
//!
//! At a given rate the floor polls or listens as the daemon does. For the sustained rate it reads without a pause; the daemon keeps
//! its millisecond. Besides verdicts the daemon prints, takes ends and commissions; the floor does not. No broker is there.
//! A percentile of few samples is close to their worst: the number of samples is printed.
//!
//! `cargo bench --bench verdict -- [--seconds 5] [--mode poll|subscribe] [--keep]`, about 50 s; more seconds, better tails.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark measures and prints")]

mod daemon;
mod direct;
mod floor;
mod plant;

use std::path::Path;
use std::time::{Duration, Instant};

use daemon::{Daemon, Process, Usage};
use plant::{Pace, Plant, Run};
use sealgate::domain::tag::{StationKind, Tag};

const PATIENCE: Duration = Duration::from_secs(20);
/// Results of a burst; the printer holds as many before, since half of its queue of 1,000 is filled up at once.
const BURST: usize = 480;
const RATES: [u32; 2] = [20, 50];
const SERIALS: u64 = 100_000;

fn main() {
    let given: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = given.iter().map(String::as_str).collect();
    if let [_, "--floor", address, mode, folder] = words.as_slice() {
        return floor::main(address, mode, folder);
    }
    let after = |name: &str| words.iter().position(|word| *word == name).and_then(|at| words.get(at + 1)).copied();
    let seconds: u32 = after("--seconds").map_or(5, |seconds| seconds.parse().expect("a whole number"));
    println!("verdict: result published to verdict written, ms; goals: p99 <= 1.5 x floor, rate >= 0.7 x floor");
    println!("mode       pace            who        n    p50    p99  p99.9    per s  processor");
    for mode in ["poll", "subscribe"] {
        if after("--mode").is_none_or(|only| only == mode) {
            compare(mode, seconds);
        }
    }
}

/// One row of the table.
struct Row {
    p50: f64,
    p99: f64,
    p999: f64,
    per_second: f64,
}

fn compare(mode: &str, seconds: u32) {
    let floor = measure_floor(mode, seconds);
    let mut folder = tempfile::tempdir().expect("a folder");
    folder.disable_cleanup(is_kept());
    let mut plant = Plant::start(folder.path());
    let daemon = Daemon::start(folder.path(), plant.address, mode, SERIALS);
    let joined = |plant: &Plant| plant.int(StationKind::Camera, Tag::EpochOut) == 1;
    plant.serve_until(PATIENCE, "the daemon", joined);
    idle(mode, &daemon, &mut plant);
    for words in [["batch", "load", "order.json"], ["batch", "start", "B1"]] {
        let mut said = Process(daemon.say(&words));
        plant.serve_until(PATIENCE, words[1], |_| true);
        let end = Instant::now() + PATIENCE;
        while said.0.try_wait().expect("our child").is_none() {
            assert!(Instant::now() < end, "{words:?} takes too long");
            let until = Instant::now() + Duration::from_millis(20);
            plant.serve_until(PATIENCE, "20 ms", |_| Instant::now() >= until);
        }
    }
    plant.serve_until(PATIENCE, "the run permit", |plant| plant.may_run);
    for (pace, floor) in paces(seconds).into_iter().zip(floor) {
        plant.serve_until(PATIENCE, "a full printer", |plant| plant.codes.len() >= BURST);
        let ours = measure(mode, "sealgate", pace, &daemon.process, &mut plant);
        println!(
            "{:<10} {:<15} ratio: p50 {:.2}, p99 {:.2}, p99.9 {:.2}, rate {:.2}",
            "",
            "",
            ours.p50 / floor.p50,
            ours.p99 / floor.p99,
            ours.p999 / floor.p999,
            ours.per_second / floor.per_second
        );
    }
}

/// Each pace and how many results show it.
fn paces(seconds: u32) -> [(Pace, usize); 4] {
    let [slow, fast] = RATES.map(|rate| (Pace::PerSecond(rate), usize::try_from(rate * seconds).expect("few")));
    [slow, fast, (Pace::InFlight(1), BURST), (Pace::InFlight(8), BURST)]
}

fn measure_floor(mode: &str, seconds: u32) -> Vec<Row> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut plant = Plant::start(folder.path());
    let code = |at: usize| format!("010950600013435221{at:012X}\u{1d}1747033110L7").into_bytes();
    plant.codes = (0..4 * BURST + 200 * usize::try_from(seconds).expect("few")).map(code).collect();
    let mut rows = Vec::new();
    for pace in paces(seconds) {
        // For the rate it reads as often as it can.
        let way = if matches!(pace.0, Pace::InFlight(_)) { "tight" } else { mode };
        let process = start_floor(&plant, way, folder.path());
        warm_up(&mut plant);
        rows.push(measure(mode, "floor", pace, &process, &mut plant));
    }
    rows
}

fn start_floor(plant: &Plant, mode: &str, folder: &Path) -> Process {
    for file in ["floor.db", "floor.db-wal", "floor.db-shm"] {
        // The one before may have left none.
        let _ = std::fs::remove_file(folder.join(file));
    }
    let me = std::env::current_exe().expect("this program");
    let mut command = std::process::Command::new(me);
    command.arg("--floor").arg(plant.address.to_string()).arg(mode).arg(folder);
    Process(command.stdin(std::process::Stdio::null()).spawn().expect("starts"))
}

/// Serves until the floor has begun: it says nothing before its first verdict.
fn warm_up(plant: &mut Plant) {
    let end = Instant::now() + Duration::from_millis(1500);
    plant.serve_until(PATIENCE, "the floor", |_| Instant::now() >= end);
    plant.present(Pace::InFlight(1), 5);
}

fn measure(mode: &str, who: &str, (pace, count): (Pace, usize), process: &Process, plant: &mut Plant) -> Row {
    let before = process.usage();
    let run = plant.present(pace, count);
    let row = Row::of(run);
    let pace = match pace {
        Pace::PerSecond(rate) => format!("{rate} per s"),
        Pace::InFlight(most) => format!("{most} in flight"),
    };
    let Row { p50, p99, p999, per_second } = row;
    let used = busy(before, process.usage()).as_secs_f64() * per_second / f64::from(u32::try_from(count).expect("few"));
    println!(
        "{mode:<10} {pace:<15} {who:<8} {count:>5} {p50:>6.2} {p99:>6.2} {p999:>6.2} {per_second:>8.0} {:>8.0} %",
        used * 100.0
    );
    row
}

impl Row {
    fn of(Run { mut took, lasted }: Run) -> Self {
        took.sort_unstable();
        let at = |permille: usize| {
            let place = (took.len() * permille).div_ceil(1000).saturating_sub(1);
            took.get(place).map_or(0.0, |took| took.as_secs_f64() * 1000.0)
        };
        let count = f64::from(u32::try_from(took.len()).expect("few"));
        Row { p50: at(500), p99: at(990), p999: at(999), per_second: count / lasted.as_secs_f64() }
    }
}

fn busy(before: Usage, after: Usage) -> Duration {
    after.processor.saturating_sub(before.processor)
}

/// Three seconds without a batch: devices are read, nothing happens.
fn idle(mode: &str, daemon: &Daemon, plant: &mut Plant) {
    let before = daemon.process.usage();
    let end = Instant::now() + Duration::from_secs(3);
    plant.serve_until(PATIENCE, "three seconds", |_| Instant::now() >= end);
    let after = daemon.process.usage();
    println!(
        "{mode:<10} idle: {:.1} % of one core, {:.1} MiB anonymous memory  (goal: <= 1 %, <= 24 MiB)",
        busy(before, after).as_secs_f64() / 3.0 * 100.0,
        f64::from(u32::try_from(after.anonymous_kib).unwrap_or(u32::MAX)) / 1024.0
    );
}

/// A journal to look at afterwards.
fn is_kept() -> bool {
    std::env::args().any(|word| word == "--keep")
}
