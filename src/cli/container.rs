//! `sealgate container`: cases and pallets opened, emptied and relabelled by hand.

use clap::{Args, Subcommand};

use super::Shared;
use super::outcome::Outcome;
use super::unit::Touch;

const EXAMPLES: &str = "\
Examples:
  sealgate container remove A1 --reason damaged                take one unit out, by scanning it alone
  sealgate container reopen 395060000000000015 --reason wrong_content
  sealgate container unpack 395060000000000015 --reason rework  everything out; its SSCC is used up
  sealgate container reprint 395060000000000015 --reason unreadable

A container that is opened is invalid, and so is the pallet around it, until the machine closes it again: it asks under the same
container count, and the SSCC stays. A reprint voids the labels before; the machine reads the new one back and releases again.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ContainerArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Take one child out of its container, by its own code
    Remove(Touch),
    /// Open a closed container, and what lies around it
    Reopen(Touch),
    /// Take everything out: the container is no more
    Unpack(Touch),
    /// Give it another label; those before are void
    Reprint(Touch),
}

pub(super) fn run(args: ContainerArgs, shared: &Shared) -> Outcome {
    match args.action {
        Action::Remove(touch) => touch.send(shared, "container_remove"),
        Action::Reopen(touch) => touch.send(shared, "container_reopen"),
        Action::Unpack(touch) => touch.send(shared, "container_unpack"),
        Action::Reprint(touch) => touch.send(shared, "container_reprint"),
    }
}
