//! `sealgate lockstep`: a small batch over a journal on disk, for `tests/torture`. Hidden: nothing for a line.

use std::path::PathBuf;

use clap::Args;

use super::Shared;
use super::outcome::{Exit, Outcome};

const EXAMPLES: &str = "\
Examples:
  sealgate lockstep --on DIR --json
  sealgate lockstep --on DIR --starts-under 1 --under=strace --under=-f --under=-o --under=calls --json";

#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct LockstepArgs {
    /// The folder of the journal
    #[arg(long, value_name = "DIR", required_unless_present = "subject")]
    on: Option<PathBuf>,
    /// Cases to fill
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    cases: u64,
    /// The fourth plant has one unit that cannot be read among those of three cases
    #[arg(long, value_name = "S", default_value_t = 4)]
    seed: u64,
    /// Start the subject under this program; once for each word of its command line
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    under: Vec<String>,
    /// So many starts go under it
    #[arg(long, value_name = "N", default_value_t = u32::MAX)]
    starts_under: u32,
    /// Give up after so many starts
    #[arg(long, value_name = "N", default_value_t = 30)]
    starts_max: u32,
    /// The disk may say yes to a flush and forget: what is lost must be found, and the batch need not end
    #[arg(long)]
    disk_may_lie: bool,
    /// Be the subject: the line itself, which the other one starts
    #[arg(long, conflicts_with = "on")]
    subject: bool,
}

#[cfg(feature = "demo")]
pub(super) fn run(args: LockstepArgs, shared: &Shared) -> Outcome {
    use crate::runtime::lockstep::{self, LockstepError, LockstepSettings};
    let Some(on) = args.on.filter(|_| !args.subject) else { return serve(shared) };
    let settings = LockstepSettings {
        on: on.canonicalize().map_err(|error| Exit::Io.failure(format!("{}: {error}", on.display())))?,
        cases: args.cases,
        seed: args.seed,
        under: args.under,
        starts_under: args.starts_under,
        starts_max: args.starts_max,
        disk_may_lie: args.disk_may_lie,
    };
    let verdict = lockstep::run(settings).map_err(|error| match error {
        LockstepError::Io(_) | LockstepError::Journal(_) => Exit::Io.failure(error.to_string()),
        LockstepError::Config(_) => Exit::Config.failure(error.to_string()),
    })?;
    super::print::value(super::print::Style::new(shared.json, 0), &verdict.to_json());
    Ok(if verdict.is_good() { Exit::Done } else { Exit::No })
}

#[cfg(feature = "demo")]
fn serve(shared: &Shared) -> Outcome {
    let config = super::source::config(shared)?;
    super::log::start();
    let ended = crate::runtime::lockstep::serve(&config);
    ended.map(|()| Exit::Done).map_err(|error| super::run::exit_of(&error).failure(error.to_string()))
}

#[cfg(not(feature = "demo"))]
pub(super) fn run(_args: LockstepArgs, _shared: &Shared) -> Outcome {
    Err(Exit::Usage.failure("this build leaves the simulated plant out; build with `--features demo`"))
}
