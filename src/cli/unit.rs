//! `sealgate unit`: one unit, or one label, taken out of production by hand.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::outcome::Outcome;
use super::{Shared, source};
use crate::engine::hands::HandReason;

const EXAMPLES: &str = "\
Examples:
  sealgate unit sample ']d2010950600013435221A1' --reason retention_sample   as the scanner sends it
  sealgate unit scrap A7 --reason misprint                     a label that never became a product, by its serial
  sealgate unit destroy A1 --reason damaged --note 'crushed in the packer'
  sealgate unit decommission urn:epc:id:sgtin:9506000.013435.A1 --reason leftover

A unit that lies in a case is taken out first: scan it alone, its case and pallet follow from the record. They are reopened, and
invalid until the machine closes them again, or until somebody unpacks them (`sealgate container unpack`).";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct UnitArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Take a sample: of a commissioned unit, or of a label that was printed
    Sample(Touch),
    /// A printed label that never became a product
    Scrap(Touch),
    /// A commissioned unit whose number stands for nothing any more
    Decommission(Touch),
    /// A commissioned unit, or a sample, that is destroyed
    Destroy(Touch),
}

/// What a hand is put on, and why.
#[derive(Debug, Args)]
pub(super) struct Touch {
    /// An element string, an EPC URI, an SSCC or a serial number
    code: String,
    /// Why
    #[arg(long, value_parser = PossibleValuesParser::new(HandReason::NAMES))]
    reason: String,
    /// In your own words; needed where the reason is `other`
    #[arg(long, value_parser = source::reason)]
    note: Option<String>,
}

impl Touch {
    pub(super) fn send(&self, shared: &Shared, word: &str) -> Outcome {
        let text = |text: &str| Value::from(text).to_string();
        let (code, reason) = (text(&self.code), text(&self.reason));
        let note = self.note.as_deref().map(text);
        let mut parts = vec![("code", code.as_str()), ("reason", reason.as_str())];
        parts.extend(note.as_deref().map(|note| ("note", note)));
        source::command(shared, word, &parts)
    }
}

pub(super) fn run(args: UnitArgs, shared: &Shared) -> Outcome {
    match args.action {
        Action::Sample(touch) => touch.send(shared, "unit_sample"),
        Action::Scrap(touch) => touch.send(shared, "unit_scrap"),
        Action::Decommission(touch) => touch.send(shared, "unit_decommission"),
        Action::Destroy(touch) => touch.send(shared, "unit_destroy"),
    }
}
