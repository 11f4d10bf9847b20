//! `sealgate opcua`: what a technician needs at a machine with an OPC UA server. All of it reads; nothing is ever written to a node.

mod browse;
mod doctor;
mod read;
mod target;
mod trust;

use clap::{Args, Subcommand};

use super::Shared;
use super::outcome::Outcome;

const EXAMPLES: &str = "\
Examples:
  sealgate opcua browse opc.tcp://10.7.3.21:4840          what lies in the server, with types and values
  sealgate opcua browse opc.tcp://10.7.3.21 --emit-toml   a tag map to be filled in with roles
  sealgate opcua read opc.tcp://10.7.3.21 'nsu=urn:vendor;s=Camera.Seq'
  sealgate opcua doctor vision                            what stands between a device and its first value
  sealgate opcua trust list                               whose certificates are taken
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
    /// Whose certificates are taken: list, add, reject
    Trust(trust::TrustArgs),
    /// What stands between a device and its first value, with the fix on both sides
    Doctor(doctor::DoctorArgs),
}

pub(super) fn run(args: &OpcuaArgs, shared: &Shared) -> Outcome {
    match &args.action {
        Action::Browse(args) => browse::run(args, shared),
        Action::Read(args) => read::run(args, shared),
        Action::Trust(args) => trust::run(args, shared),
        Action::Doctor(args) => doctor::run(args, shared),
    }
}
