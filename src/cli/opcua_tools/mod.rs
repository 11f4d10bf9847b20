//! `sealgate opcua`: what a technician needs at a machine with an OPC UA server. All of it reads; nothing is ever written to a node.

mod browse;
mod doctor;
mod read;
mod renew;
mod target;
mod trust;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::outcome::{Exit, Failure, Outcome};
use super::{Shared, source};
use crate::device::Link;

const EXAMPLES: &str = "\
Examples:
  sealgate opcua browse opc.tcp://10.7.3.21:4840          what lies in the server, with types and values
  sealgate opcua browse opc.tcp://10.7.3.21 --emit-toml   a tag map to be filled in with roles
  sealgate opcua read opc.tcp://10.7.3.21 'nsu=urn:vendor;s=Camera.Seq'
  sealgate opcua doctor vision                            what stands between a device and its first value
  sealgate opcua trust list                               whose certificates are taken
  sealgate opcua renew                                    our next certificate, once every server takes it
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
    /// Our next certificate: made, shown to every secured device, and put in place when all of them take it
    Renew(renew::RenewArgs),
    /// What stands between a device and its first value, with the fix on both sides
    Doctor(doctor::DoctorArgs),
}

pub(super) fn run(args: &OpcuaArgs, shared: &Shared) -> Outcome {
    match &args.action {
        Action::Browse(args) => browse::run(args, shared),
        Action::Read(args) => read::run(args, shared),
        Action::Trust(args) => trust::run(args, shared),
        Action::Renew(args) => renew::run(args, shared),
        Action::Doctor(args) => doctor::run(args, shared),
    }
}

/// The folder of certificates: as said, or that of the configuration where all devices have the same.
fn pki_folder(said: Option<&Path>, shared: &Shared) -> Result<PathBuf, Failure> {
    if let Some(pki) = said {
        return Ok(pki.to_owned());
    }
    let config = source::config(shared)?;
    let folders = config.devices.iter().filter_map(|device| match &device.link {
        Link::Opcua(link) => Some(link.pki_dir.clone()),
        Link::Modbus(_) | Link::Text(_) => None,
    });
    let mut folders: Vec<PathBuf> = folders.collect();
    folders.sort();
    folders.dedup();
    match folders.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Exit::Usage.failure("the configuration has no OPC UA device; name the folder with --pki DIR")),
        several => {
            let named: Vec<String> = several.iter().map(|folder| folder.display().to_string()).collect();
            Err(Exit::Usage.failure(format!("the devices have {}; say which with --pki DIR", named.join(" and "))))
        }
    }
}
