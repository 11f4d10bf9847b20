//! `sealgate sim`: simulated devices for exactly one configuration, so that a line can be tried before it exists.

use clap::Args;

use super::Shared;
use super::outcome::{Exit, Outcome};
#[cfg(feature = "demo")]
use super::{print, probe, source};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  sealgate sim --config line.toml --write dry-run.toml    a copy of the file with every device on this machine; then:
  sealgate sim --config dry-run.toml                      the simulated devices, until Ctrl-C
  sealgate run --config dry-run.toml                      in another terminal: the daemon finds a whole line
  sealgate batch load --config dry-run.toml order.json    and an order begins it
  sealgate sim --config dry-run.toml --rate 600 --spoiled

A file whose devices are all on 127.0.0.1 needs no copy. The copy has a journal and a socket beside it, no security and no broker. The
belt starts by itself as soon as the daemon gives the run permit; --no-person leaves that to nobody. The order's capacities must be
those of --case and --pallet.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SimArgs {
    /// Write a copy of the configuration for a dry run, and end; replaces nothing but an earlier copy
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Units per minute
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    rate: u32,
    /// Units that are presented at least; then until the last pallet is full
    #[arg(long, default_value_t = 1_000_000)]
    units: u64,
    /// Units in a case; at most what the map's list of children holds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=64))]
    case: u8,
    /// Cases on a pallet; at most what the map's list of children holds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=64))]
    pallet: u8,
    /// Another seed gives another day. Without one each start has its own, as machines that start again show another epoch
    #[arg(long)]
    seed: Option<u64>,
    /// About three spoiled units in a hundred
    #[arg(long)]
    spoiled: bool,
    /// Nobody stands at the machine: the belt is never started
    #[arg(long)]
    no_person: bool,
    /// Where truth.jsonl goes, what the plant really did; default: a folder of its own below the temporary one
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[cfg(not(feature = "demo"))]
pub(super) fn run(_args: &SimArgs, _shared: &Shared) -> Outcome {
    Err(Exit::Usage.failure("this build leaves the simulated devices out; build with `--features demo`"))
}

#[cfg(feature = "demo")]
pub(super) fn run(args: &SimArgs, shared: &Shared) -> Outcome {
    use crate::sim::dry;
    use crate::sim::mapped;

    let config = source::config(shared)?;
    if let Some(target) = &args.write {
        let source = std::fs::read_to_string(&shared.config)
            .map_err(|error| Exit::Io.failure(format!("{}: {error}", shared.config.display())))?;
        dry::copy(&config, &source, target).map_err(|error| failure(&error))?;
        print::out(&format!("{} is written; now: sealgate sim --config {0}\n", target.display()));
        return Ok(Exit::Done);
    }
    for warning in mapped::warnings(&config) {
        print::problem(&warning);
    }
    let folder =
        args.data.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("sealgate-sim-{}", std::process::id())));
    std::fs::create_dir_all(&folder).map_err(|error| Exit::Io.failure(format!("{}: {error}", folder.display())))?;
    let ended = probe::block_on(serve(args, shared, config, &folder));
    if args.data.is_none() {
        // Only litter is left behind where this fails.
        let _ = std::fs::remove_dir_all(&folder);
    }
    ended
}

#[cfg(feature = "demo")]
fn failure(error: &crate::sim::dry::DryError) -> super::outcome::Failure {
    use crate::sim::dry::DryError;

    match error {
        DryError::Elsewhere(_) | DryError::Crowded { .. } | DryError::Taken(_) => {
            Exit::Usage.failure(error.to_string())
        }
        DryError::Io { .. } => Exit::Io.failure(error.to_string()),
    }
}

#[cfg(feature = "demo")]
async fn serve(args: &SimArgs, shared: &Shared, config: crate::config::Config, folder: &std::path::Path) -> Outcome {
    use crate::sim::settings::{PlantSettings, Weather};
    use tokio::signal::unix::{SignalKind, signal};

    let plain = PlantSettings {
        seed: args.seed.unwrap_or_else(|| std::process::id().into()),
        rate_per_minute: args.rate,
        units_min: args.units,
        case_capacity: usize::from(args.case),
        pallet_capacity: usize::from(args.pallet),
        weather: if args.spoiled { Weather::MILD } else { Weather::NONE },
        ..PlantSettings::default()
    };
    let dry = crate::sim::dry::open(config, plain, folder).await.map_err(|error| failure(&error))?;
    let rows = dry.places.iter().map(|place| {
        serde_json::json!({ "devices": place.devices.join(", "), "protocol": place.protocol, "listens": place.address.to_string() })
    });
    print::value(print::Style::new(shared.json, 0), &serde_json::Value::Array(rows.collect()));
    let io = |error: std::io::Error| Exit::Io.failure(format!("the simulated devices cannot go on: {error}"));
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt()).map_err(io)?, signal(SignalKind::terminate()).map_err(io)?);
    let world = dry.world();
    tokio::select! {
        ended = dry.run(!args.no_person) => ended.map_err(io)?,
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    let done = world.counters();
    let done = serde_json::json!({
        "presented": done.presented, "passed": done.passed, "rejected": done.rejected, "cases": done.cases_closed,
        "pallets": done.pallets_closed,
    });
    print::value(print::Style::new(shared.json, 0), &done);
    Ok(Exit::Done)
}
