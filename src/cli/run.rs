//! `sealgate run`: the daemon.

use clap::Args;

use super::outcome::{Exit, Outcome};
use super::{Shared, print, source};
use crate::config::Config;

const EXAMPLES: &str = "\
Examples:
  sealgate run                                        as systemd does it
  sealgate run --config line.toml                     in this terminal; Ctrl-C stops it cleanly
  SEALGATE_LOG=debug sealgate run --config line.toml  with protocol details

A device or a broker that is away never blocks the start.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {}

pub fn run(_args: RunArgs, shared: &Shared) -> Outcome {
    let config = source::config(shared)?;
    for warning in &config.warnings {
        print::problem(&warning.to_string());
    }
    start_daemon(config)
}

/// Runs the line until it is told to stop.
fn start_daemon(config: Config) -> Outcome {
    let _ = config;
    Err(Exit::Unreachable.failure("this build has no daemon yet"))
}
