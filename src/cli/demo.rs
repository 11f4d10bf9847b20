//! `sealgate demo`: a simulated line, and the daemon beside it as a process of its own.

use std::path::PathBuf;

use clap::Args;

use super::Shared;
use super::outcome::{Exit, Outcome};

const EXAMPLES: &str = "\
Examples:
  sealgate demo                                       live in this terminal; Ctrl-C ends it
  sealgate demo --units 2000 --rate 6000 --seed 1 --headless --json --data out
  sealgate demo --units 6000 --rate 1800 --kills 50   kill the daemon fifty times while the plant goes on
  sealgate demo --units 2000 --faults rough           every kind of mishap, and what became of it
  sealgate demo --broker 127.0.0.1:1883               publish to this broker

The folder holds line.db (the journal), truth.jsonl (what the plant did) and feed.jsonl (what a subscriber saw);
`reconciled` in the last line says whether the three agree.";

#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct DemoArgs {
    /// At least so many units; the plant runs on until the last pallet is full. Without it the demo runs until Ctrl-C
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub units: Option<u64>,
    /// Units per minute
    #[arg(long, value_name = "PER_MINUTE", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub rate: u32,
    /// Reproduces every fault of the simulated plant
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Draw nothing while it runs
    #[arg(long)]
    pub headless: bool,
    /// Where its files go; a new temporary folder where it is not given
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Kill the daemon so many times, each at least a second after it was ready
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub kills: u32,
    /// Start the daemon under this program; once for each word of its command line
    #[arg(long, value_name = "WORD", allow_hyphen_values = true, hide = true)]
    pub under: Vec<String>,
    /// What goes wrong on the simulated line: none, mild (spoiled units) or rough (everything that does on real ones)
    #[arg(long, value_name = "WEATHER", default_value = "mild", value_parser = ["none", "mild", "rough"])]
    pub faults: String,
    /// Which models stand on the line: generic ones over OPC UA and Modbus, a coder, a labeller and a scanner that speak text, or a
    /// person with a scanner in place of the packer
    #[arg(long, value_name = "MODELS", default_value = "generic", value_parser = ["generic", "text", "hand"])]
    pub models: String,
    /// Publish to this broker in place of the embedded one
    #[arg(long, value_name = "HOST:PORT", value_parser = broker)]
    pub broker: Option<(String, u16)>,
    /// Every station on the other protocol: printer, camera and rejector over Modbus, packer and palletizer over OPC UA
    #[arg(long)]
    pub swap_protocols: bool,
    /// A camera of this model in place of the simulated plant's own
    #[arg(long, value_name = "MODEL", value_parser = ["in-sight", "machine-vision", "autoid"])]
    pub camera: Option<String>,
    /// Who drives the blade: the line with a verdict for each unit, or the camera by what it is told to expect. Not with --camera
    #[arg(long, value_name = "WHO", default_value = "line", value_parser = ["line", "device"], conflicts_with = "camera")]
    pub decide: String,
    /// A packer whose reader sees each case in two layers, with helper codes; not with --models
    #[arg(long, conflicts_with = "models")]
    pub array_reader: bool,
    /// The camera drops a picture of each result into DIR/camera; `sealgate trace` names the one of an inspection. Not with --camera
    #[arg(long, conflicts_with = "camera")]
    pub pictures: bool,
}

pub(super) fn run(args: DemoArgs, shared: &Shared) -> Outcome {
    start_demo(args, shared.json)
}

/// Runs the simulated line and prints the comparison of its records as the last line.
#[cfg(feature = "demo")]
fn start_demo(args: DemoArgs, json: bool) -> Outcome {
    use crate::engine::decide::Decide;
    use crate::runtime::demo::{self, DemoError, DemoSettings, Faults, Models};
    use crate::sim::faces::Face;
    if args.models == "hand" && args.faults == "rough" {
        return Err(
            Exit::Usage.failure("a person who packs has none of a machine's faults; give --faults none or mild")
        );
    }
    let mut screen = super::screen::Screen::new(args.headless);
    let settings = DemoSettings {
        units: args.units,
        rate_per_minute: args.rate,
        seed: args.seed,
        data: args.data,
        kills: args.kills,
        under: args.under,
        faults: Faults::ALL.iter().copied().find(|faults| faults.name() == args.faults).unwrap_or_default(),
        broker: args.broker,
        swap_protocols: args.swap_protocols,
        decide: if args.decide == "device" { Decide::Device } else { Decide::Line },
        array_reader: args.array_reader,
        pictures: args.pictures,
        camera: args.camera.and_then(|name| Face::ALL.iter().copied().find(|face| face.name() == name)),
        models: Models::ALL.iter().copied().find(|models| models.name() == args.models).unwrap_or_default(),
    };
    let summary = demo::run(settings, &mut |view| screen.show(view)).map_err(|error| match error {
        DemoError::Folder(_) => Exit::Usage.failure(error.to_string()),
        DemoError::Broker(_) => Exit::Unreachable.failure(error.to_string()),
        DemoError::Io(_) => Exit::Io.failure(error.to_string()),
        DemoError::Stuck(_) => Exit::No.failure(error.to_string()),
    })?;
    let Some(summary) = summary else {
        super::print::problem("stopped before the end; nothing was compared");
        return Ok(Exit::Done);
    };
    super::print::value(super::print::Style::new(json, 0), &summary.to_json());
    Ok(if summary.is_good() { Exit::Done } else { Exit::No })
}

#[cfg(not(feature = "demo"))]
fn start_demo(_args: DemoArgs, _json: bool) -> Outcome {
    Err(Exit::Usage.failure("this build leaves the demo out; build with `--features demo`"))
}

fn broker(text: &str) -> Result<(String, u16), String> {
    let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    match parts {
        Some((host, port)) if !host.is_empty() && port > 0 => Ok((host.to_owned(), port)),
        _ => Err("HOST:PORT is expected, for example 127.0.0.1:1883".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_a_host_and_a_port() {
        assert_eq!(broker("127.0.0.1:1883"), Ok(("127.0.0.1".to_owned(), 1883)));
        for wrong in ["localhost", ":1883", "a:0", "a:70000", "a:b"] {
            assert!(broker(wrong).is_err(), "{wrong}");
        }
    }
}
