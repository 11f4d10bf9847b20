//! `sealgate run`: the daemon.

use std::os::unix::net::UnixStream;

use clap::Args;

use super::outcome::{Exit, Outcome};
use super::{Shared, log, print, source};
use crate::config::Config;
use crate::runtime::{self, Beginning, RunError};

const EXAMPLES: &str = "\
Examples:
  sealgate run                                        as systemd does it
  sealgate run --config line.toml                     in this terminal; Ctrl-C stops it cleanly
  SEALGATE_LOG=sealgate=debug sealgate run --config line.toml   with protocol details

A device or a broker that is away never blocks the start.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RunArgs {
    /// Begin a new journal although there was one: for a line that starts over, never to get around a damaged file
    #[arg(long)]
    init: bool,
}

pub(super) fn run(args: RunArgs, shared: &Shared) -> Outcome {
    let config = source::config(shared)?;
    for warning in &config.warnings {
        print::problem(&warning.to_string());
    }
    if UnixStream::connect(&config.line.socket).is_ok() {
        let text = format!("another daemon answers on {}: it holds this line", config.line.socket.display());
        return Err(Exit::Taken.failure(text));
    }
    if args.init && config.journal.exists() {
        print::problem(&format!(
            "--init was not needed: {} is there, and the line goes on with it",
            config.journal.display()
        ));
    }
    start_daemon(config, if args.init { Beginning::Anew } else { Beginning::AsBefore })
}

/// Runs the line until it is told to stop.
fn start_daemon(config: Config, beginning: Beginning) -> Outcome {
    log::start();
    runtime::run(config, beginning).map(|()| Exit::Done).map_err(|error| exit_of(&error).failure(error.to_string()))
}

pub(super) fn exit_of(error: &RunError) -> Exit {
    [Exit::Taken, Exit::Config].into_iter().find(|exit| exit.code() == error.exit_code()).unwrap_or(Exit::Io)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn a_line_that_is_held_by_another_daemon_is_left_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = folder.path().join("line.sock");
        let _daemon = UnixListener::bind(&socket).expect("the folder is ours");
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config");
        let text = std::fs::read_to_string(data.join("good.toml")).expect("test data");
        let text = text.replace("[journal]", &format!("socket = {socket:?}\n\n[journal]"));
        let text = text.replace("\"maps/", &format!("\"{}/maps/", data.display()));
        let config = folder.path().join("line.toml");
        std::fs::write(&config, text).expect("the folder is ours");
        let shared = Shared { config, socket: None, json: false };
        let failure = run(RunArgs { init: false }, &shared).expect_err("somebody is there");
        assert_eq!((failure.exit, failure.exit.code()), (Exit::Taken, 75), "{}", failure.text);
    }

    #[test]
    fn a_configuration_that_is_away_is_a_configuration_error() {
        let shared = Shared { config: PathBuf::from("nowhere.toml"), socket: None, json: false };
        assert_eq!(run(RunArgs { init: false }, &shared).expect_err("it is away").exit, Exit::Config);
    }
}
