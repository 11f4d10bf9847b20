//! `sealgate opcua`: what a technician needs at a machine with an OPC UA server. All of it reads; nothing is ever written to a node.

mod browse;
mod read;
mod target;

use clap::{Args, Subcommand};

use super::Shared;
use super::outcome::Outcome;

const EXAMPLES: &str = "\
Examples:
  sealgate opcua browse opc.tcp://10.7.3.21:4840          what lies in the server, with types and values
  sealgate opcua browse opc.tcp://10.7.3.21 --emit-toml   a tag map to be filled in with roles
  sealgate opcua read opc.tcp://10.7.3.21 'nsu=urn:vendor;s=Camera.Seq'
  sealgate opcua browse vision --config line.toml         a device of a configuration, with its security

A URL without --security is looked at without security where the server allows that, and says so.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct OpcuaArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The tree of nodes, with types, lengths, access and values; or a skeleton of a tag map
    Browse(browse::BrowseArgs),
    /// Value, type, quality and times of nodes
    Read(read::ReadArgs),
}

pub(super) fn run(args: &OpcuaArgs, shared: &Shared) -> Outcome {
    match &args.action {
        Action::Browse(args) => browse::run(args, shared),
        Action::Read(args) => read::run(args, shared),
    }
}
