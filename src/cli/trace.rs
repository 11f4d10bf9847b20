//! `sealgate trace`: any code read or typed, to everything known about it.

use clap::Args;

use super::outcome::Outcome;
use super::{Journals, Shared, source};
use crate::report::Question;

const EXAMPLES: &str = "\
Examples:
  sealgate trace '(01)09506000134352(21)A1'             as printed under a symbol
  sealgate trace ']d2010950600013435221A1'              as a scanner sends it
  sealgate trace urn:epc:id:sgtin:9506000.013435.A1     as EPCIS writes it
  sealgate trace 095060001234567893                     an SSCC: a case or a pallet
  sealgate trace A1 --db line3.db --json                a serial alone, in a journal

Quote codes: they may hold characters that mean something to a shell.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TraceArgs {
    /// An element string, an EPC URI, a Digital Link, an SSCC or a serial number
    code: String,
    #[command(flatten)]
    journals: Journals,
}

pub(super) fn run(args: TraceArgs, shared: &Shared) -> Outcome {
    source::answer(&args.journals, shared, &Question::Trace(args.code))
}
