//! `sealgate opcua renew`: our next certificate, tried before it counts.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::doctor::entry;
use super::pki_folder;
use crate::cli::outcome::{Exit, Failure, Outcome};
use crate::cli::print::{self, Style};
use crate::cli::probe::block_on;
use crate::cli::{Shared, source};
use crate::device::{self, CertificateRefusal, Link, OwnCertificate, Renewal, Settings, Tried};

const EXAMPLES: &str = "\
Examples:
  sealgate opcua renew --config line.toml                 make the next pair, show it to every secured device, take it
  sealgate opcua renew --now                              take it without asking anybody: for a line that is not running
  sealgate opcua renew --json

The next pair lies in `next` beside the one in use. A server that does not know it yet refuses it: trust next/cert.der there, and run
this again. The pair in use changes when every device has taken the next one, and stays in `former`. The daemon needs no restart: it
shows the new certificate from its next connection on. Where there is no pair yet, the first is made and taken; nobody is asked.

Exit 1 where a device does not take it: nothing has changed then, and `next` waits. Exit 75 where another renew is at work there.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RenewArgs {
    /// The folder of certificates; default: pki_dir of the configuration's OPC UA devices
    #[arg(long, value_name = "DIR")]
    pki: Option<PathBuf>,
    /// Do not try it at the devices first
    #[arg(long)]
    now: bool,
}

/// What became of the pair that was to come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Replaced,
    First,
    Waits,
}

pub(super) fn run(args: &RenewArgs, shared: &Shared) -> Outcome {
    let folder = pki_folder(args.pki.as_deref(), shared)?;
    let Some(renewal) = Renewal::begin(&folder).map_err(|refusal| unusable(&refusal))? else {
        let text = format!("another renew is at work in {}; wait until it has ended", folder.display());
        return Err(Exit::Taken.failure(text));
    };
    let is_asked = renewal.has_former() && !args.now;
    let devices = if is_asked { users(&folder, shared)? } else { Vec::new() };
    let next = renewal.next().map_err(|refusal| unusable(&refusal))?;
    let tried = block_on(device::try_next(&devices));
    let is_taken = tried.iter().all(|tried| tried.said.is_ok());
    let end = match (is_taken, renewal.has_former()) {
        (true, true) => End::Replaced,
        (true, false) => End::First,
        (false, _) => End::Waits,
    };
    let own = if is_taken { renewal.put_in_place().map_err(|refusal| unusable(&refusal))? } else { next };
    if shared.json {
        print::value(Style::new(true, 0), &document(&own, is_taken, &tried));
    } else {
        print::out(&drawn(&folder, &own, end, &tried));
    }
    Ok(if is_taken { Exit::Done } else { Exit::No })
}

/// The devices of the configuration that use this folder.
fn users(folder: &Path, shared: &Shared) -> Result<Vec<Settings>, Failure> {
    let mut devices = source::config(shared)?.devices;
    devices.retain(|device| matches!(&device.link, Link::Opcua(link) if link.pki_dir == folder));
    Ok(devices)
}

fn unusable(refusal: &CertificateRefusal) -> Failure {
    Exit::Io.failure(refusal.to_string())
}

fn document(own: &OwnCertificate, is_taken: bool, tried: &[Tried]) -> Value {
    let devices: Vec<Value> = tried
        .iter()
        .map(|tried| {
            let why = tried.said.as_ref().err().map(ToString::to_string);
            json!({ "device": tried.device, "accepted": tried.said.is_ok(), "why": why })
        })
        .collect();
    json!({
        "in_place": is_taken, "file": own.certificate.display().to_string(), "thumbprint": own.thumbprint,
        "application_uri": own.application_uri, "valid_until": own.valid_until, "devices": devices,
    })
}

fn drawn(folder: &Path, own: &OwnCertificate, end: End, tried: &[Tried]) -> String {
    let mut text = String::new();
    for tried in tried {
        let said = match &tried.said {
            Ok(()) => "takes it".to_owned(),
            Err(error) => error.to_string(),
        };
        text += &entry(&print::shown(&tried.device), &said);
    }
    if tried.is_empty() {
        text += &entry("no device", "was asked");
    }
    text += &entry(if end == End::Waits { "waits" } else { "in place" }, &own.certificate.display().to_string());
    text += &entry("thumbprint", &own.thumbprint);
    text += &entry("valid until", &own.valid_until);
    let then = match end {
        End::Replaced => {
            let former = folder.join("former");
            format!("the pair before is in {}; servers need not trust it any longer", former.display())
        }
        End::First => "there was none before: every secured server has to trust this one".to_owned(),
        End::Waits => "nothing has changed; do what stands above, then run this again".to_owned(),
    };
    text + &entry("", &then)
}
