//! `sealgate schema`: JSON Schemas of what the feed carries.

use clap::Args;

use super::Shared;
use super::outcome::{Exit, Outcome};

const EXAMPLES: &str = "\
Examples:
  sealgate schema                         every schema by name
  sealgate schema fact/commissioned       one of them";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SchemaArgs {
    /// A topic or a kind of fact; all of them where it is not given
    name: Option<String>,
}

pub(super) fn run(args: &SchemaArgs, _shared: &Shared) -> Outcome {
    let _ = &args.name;
    Err(Exit::Unreachable.failure("this build has no schemas yet"))
}
