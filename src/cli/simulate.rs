//! `sealgate simulate`: the deterministic simulator. Prints what was run, how often each fault was reached and what did not hold;
//! every violation comes with the command that runs it again.

use std::ops::Range;

use clap::Args;

use super::Shared;
use super::outcome::{Exit, Outcome};

const EXAMPLES: &str = "\
Examples:
  sealgate simulate --seeds 0..1000            a thousand lines, each with faults of its own
  sealgate simulate --seed 17 --trace          one of them, with every arrival, fact and write
  sealgate simulate --seeds 0..16 --units 36000 --no-forks --json

Exit code 1 where a promise did not hold, or where a kind of fault was never reached in at least 200 seeds.";

#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SimulateArgs {
    /// One line, from this seed
    #[arg(long, value_name = "S", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Many lines: from A up to, not including, B
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    seeds: Option<Range<u64>>,
    /// A short line with given faults and a crash at every durable step; with --seeds all of them are run
    #[arg(long, value_name = "NAME", conflicts_with_all = ["seed", "seeds"])]
    script: Option<String>,
    /// Units of each line that enter while faults happen
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    units: u64,
    /// Threads; as many as the machine has cores where it is not given. The result does not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Crash no copies of the world on the way
    #[arg(long)]
    no_forks: bool,
    /// Print everything that happens to the line of --seed or --script
    #[arg(long, conflicts_with = "seeds")]
    trace: bool,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let range = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range
        .filter(|range| !range.is_empty())
        .ok_or_else(|| "A..B is expected with A below B, for example 0..1000".to_owned())
}

#[cfg(not(feature = "demo"))]
pub(super) fn run(_args: &SimulateArgs, _shared: &Shared) -> Outcome {
    Err(Exit::Usage.failure("this build leaves the simulator out; build with `--features demo`"))
}

#[cfg(feature = "demo")]
pub(super) use with_simulator::run;

#[cfg(feature = "demo")]
mod with_simulator {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::{Exit, Outcome, Shared, SimulateArgs};
    use crate::cli::outcome::Failure;
    use crate::cli::print;
    use crate::sim::swarm::run::{self, Forks, Report, Swarm};
    use crate::sim::swarm::script::{SCRIPTS, Script};
    use crate::sim::swarm::table::Tally;

    /// So many seeds reach every kind of fault.
    const SEEDS_FOR_ALL: usize = 200;
    const VIOLATIONS_SHOWN: usize = 10;

    pub(in crate::cli) fn run(args: &SimulateArgs, shared: &Shared) -> Outcome {
        let forks = if args.no_forks { Forks::None } else { Forks::Some };
        let first = args.seed.unwrap_or(1);
        let (reports, took) = if args.trace || args.script.is_some() {
            let report = match &args.script {
                Some(name) => named(name)?.run(run::SCRIPT_UNITS, args.trace),
                None => run::seed(first, args.units, forks, true),
            };
            report.trace.iter().for_each(|text| line(text));
            (vec![report], Duration::ZERO)
        } else {
            let seeds = args.seeds.clone().unwrap_or(first..first + 1);
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            let jobs = args.jobs.map_or(cores, usize::from);
            let scripts = args.seeds.is_some() && !args.no_forks;
            Swarm { seeds, units: args.units, jobs, forks, scripts }.run()
        };
        let summary = Summary::of(&reports, took);
        if shared.json {
            print::value(print::Style::new(true, 0), &summary.to_json(&reports, args.units));
        } else {
            summary.print(&reports, args.units);
        }
        Ok(if summary.is_good() { Exit::Done } else { Exit::No })
    }

    fn named(name: &str) -> Result<Script, Failure> {
        let names = || SCRIPTS.iter().map(|script| script.name).collect::<Vec<_>>().join(", ");
        Script::named(name)
            .ok_or_else(|| Exit::Usage.failure(format!("no script is named {name}; there are: {}", names())))
    }

    fn line(text: &str) {
        print::out(&format!("{text}\n"));
    }

    struct Summary {
        seeds: usize,
        took: Duration,
        tally: Tally,
        violations: usize,
        never_reached: Vec<&'static str>,
        line_hours: f64,
        turns: u64,
        units: u64,
        facts: u64,
        cases: u64,
        proven: u64,
        refused: u64,
        closed: usize,
    }

    impl Summary {
        fn of(reports: &[Report], took: Duration) -> Self {
            let mut tally = Tally::default();
            reports.iter().for_each(|report| tally.add(&report.tally));
            let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
            let is_many = reports.len() >= SEEDS_FOR_ALL;
            let never_reached =
                tally.rows().filter(|(_, reached)| is_many && *reached == 0).map(|(name, _)| name).collect();
            Self {
                seeds: reports.len(),
                took,
                violations: reports.iter().filter(|report| report.violation.is_some()).count(),
                never_reached,
                line_hours: sum(|report| report.simulated_us) as f64 / 3.6e9,
                turns: sum(|report| report.turns),
                units: sum(|report| report.presented),
                facts: sum(|report| report.facts),
                cases: sum(|report| report.cases),
                proven: sum(|report| report.proven),
                refused: sum(|report| report.refused),
                closed: reports.iter().filter(|report| report.is_batch_closed).count(),
                tally,
            }
        }

        fn is_good(&self) -> bool {
            self.violations == 0 && self.never_reached.is_empty()
        }

        fn per_second(&self, count: f64) -> f64 {
            if self.took.is_zero() { 0.0 } else { count / self.took.as_secs_f64() }
        }

        fn print(&self, reports: &[Report], units: u64) {
            line(&format!("{:<44} {:>10}", "kind of fault", "reached"));
            for (name, reached) in self.tally.rows() {
                line(&format!("{name:<44} {reached:>10}"));
            }
            line("");
            line(&format!(
                "{} seeds, {} units, {} cases, {} facts, {} refusals, {} batches closed; {} units proven in calm spells",
                self.seeds, self.units, self.cases, self.facts, self.refused, self.closed, self.proven
            ));
            line(&format!(
                "{:.1} line-hours in {:.1} s: {:.1} line-hours and {:.0} turns a second, {} copies crashed and recovered",
                self.line_hours,
                self.took.as_secs_f64(),
                self.per_second(self.line_hours),
                self.per_second(self.turns as f64),
                self.tally.forks
            ));
            for name in &self.never_reached {
                line(&format!("never reached: {name}"));
            }
            for report in reports.iter().filter(|report| report.violation.is_some()).take(VIOLATIONS_SHOWN) {
                let Some((at_us, violation)) = &report.violation else { continue };
                let place =
                    report.script.map_or_else(|| format!("seed {}", report.seed), |name| format!("script {name}"));
                line(&format!("violation in {place} at {at_us} us: {violation}"));
                if let Some(command) = run::replay(report, units) {
                    line(&format!("  again: {command}"));
                }
            }
            line(&format!("violations: {}", self.violations));
        }

        fn to_json(&self, reports: &[Report], units: u64) -> Value {
            let faults: serde_json::Map<String, Value> =
                self.tally.rows().map(|(name, reached)| (name.to_owned(), json!(reached))).collect();
            let violations: Vec<Value> = reports
                .iter()
                .filter_map(|report| {
                    let (at_us, violation) = report.violation.as_ref()?;
                    let again = run::replay(report, units);
                    let what = violation.what.as_str();
                    let invariant = violation.invariant;
                    Some(json!({ "seed": report.seed, "script": report.script, "at_us": at_us, "invariant": invariant, "what": what, "again": again }))
                })
                .collect();
            json!({
                "seeds": self.seeds,
                "units": self.units,
                "cases": self.cases,
                "facts": self.facts,
                "turns": self.turns,
                "refused": self.refused,
                "batches_closed": self.closed,
                "proven": self.proven,
                "forks": self.tally.forks,
                "line_hours": format!("{:.3}", self.line_hours),
                "seconds": format!("{:.3}", self.took.as_secs_f64()),
                "turns_per_second": format!("{:.0}", self.per_second(self.turns as f64)),
                "faults": faults,
                "never_reached": self.never_reached,
                "violations": violations,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range_that_holds_something() {
        assert_eq!(seeds("0..1000"), Ok(0..1000));
        for wrong in ["", "5", "5..5", "7..3", "a..b", "1..=3"] {
            assert!(seeds(wrong).is_err(), "{wrong}");
        }
    }
}
