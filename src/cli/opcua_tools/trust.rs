//! `sealgate opcua trust`: whose certificates are taken. Only a person decides that, and this is where.

use std::io::ErrorKind;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::pki_folder;
use crate::cli::Shared;
use crate::cli::outcome::{Exit, Failure, Outcome};
use crate::cli::print::{self, Style};
use crate::device::{self, Shelf, Shelved, Shelves, Strange, TrustList};

const EXAMPLES: &str = "\
Examples:
  sealgate opcua trust list                               our certificate, and those of servers: pending, trusted, rejected
  sealgate opcua trust add 5c7f01ab                       take the server with this thumbprint (at least 8 digits of it)
  sealgate opcua trust add server.der                     the same, with a file that somebody brought
  sealgate opcua trust reject 5c7f01ab                    never take it; its connections end at the next one
  sealgate opcua trust list --pki /var/lib/sealgate/pki --json

A server that is unknown lays its certificate into `pending` when it is first dialled. Compare the thumbprint with what the server
shows, then add it. The daemon needs no restart.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TrustArgs {
    #[command(subcommand)]
    action: Action,
    /// The folder of certificates; default: pki_dir of the configuration's first secured device
    #[arg(long, global = true, value_name = "DIR")]
    pki: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// All certificates, with their folder, thumbprint, names and time
    List,
    /// Trust a server
    Add {
        /// The thumbprint, or the first 8 digits of it or more; or a file
        certificate: String,
    },
    /// Refuse a server, whatever it shows
    Reject {
        /// The thumbprint, or the first 8 digits of it or more; or a file
        certificate: String,
    },
}

pub(super) fn run(args: &TrustArgs, shared: &Shared) -> Outcome {
    let folder = pki_folder(args.pki.as_deref(), shared)?;
    let list = TrustList::new(&folder);
    let style = Style::new(shared.json, 0);
    match &args.action {
        Action::List => {
            let shelves = list.list().map_err(|error| io(&folder, &error))?;
            let own = device::own_certificate(&folder).ok();
            if shared.json {
                let own = own.map(|own| {
                    json!({ "file": own.certificate.display().to_string(), "thumbprint": own.thumbprint,
                            "application_uri": own.application_uri, "valid_until": own.valid_until })
                });
                let servers: Vec<Value> = shelves.certificates.iter().map(row).collect();
                let strange: Vec<Value> = shelves.strange.iter().map(strange_row).collect();
                let pki = folder.display().to_string();
                print::value(style, &json!({ "pki": pki, "own": own, "servers": servers, "unusable": strange }));
            } else {
                print::out(&drawn(&folder, own.as_ref(), &shelves));
            }
            Ok(Exit::Done)
        }
        Action::Add { certificate } => put(&list, (&folder, certificate), Shelf::Trusted, style),
        Action::Reject { certificate } => put(&list, (&folder, certificate), Shelf::Rejected, style),
    }
}

fn io(folder: &std::path::Path, error: &std::io::Error) -> Failure {
    Exit::Io.failure(format!("{}: {error}; run as the line's user", folder.display()))
}

/// By thumbprint; or a file, which is laid onto its shelf first.
fn put(list: &TrustList, (folder, certificate): (&std::path::Path, &str), shelf: Shelf, style: Style) -> Outcome {
    let failed = |error: std::io::Error| io(folder, &error);
    let file = std::path::Path::new(certificate);
    let moved = if file.is_file() {
        let refused = |error: std::io::Error| {
            let is_no_good = [ErrorKind::InvalidData, ErrorKind::InvalidInput].contains(&error.kind());
            let no = || Exit::No.failure(format!("{}: {error}", file.display()));
            if is_no_good { no() } else { failed(error) }
        };
        Some(list.add(file, shelf).map_err(refused)?)
    } else {
        list.put(certificate, shelf).map_err(failed)?
    };
    let Some(shelved) = moved else {
        let text = format!(
            "no certificate in {} begins with {certificate} (8 digits at least), or more than one does; `sealgate opcua trust list`",
            folder.display()
        );
        return Err(Exit::No.failure(text));
    };
    print::value(style, &row(&shelved));
    Ok(Exit::Done)
}

fn row(shelved: &Shelved) -> Value {
    json!({
        "state": shelved.shelf.name(), "thumbprint": shelved.thumbprint, "subject": shelved.subject,
        "hosts": shelved.names.hosts, "uris": shelved.names.uris, "valid_from": shelved.valid_from,
        "valid_until": shelved.valid_until, "file": shelved.file.display().to_string(),
    })
}

fn strange_row(strange: &Strange) -> Value {
    json!({ "state": strange.shelf.name(), "file": strange.file.display().to_string(), "why": strange.why })
}

fn drawn(folder: &std::path::Path, own: Option<&device::OwnCertificate>, shelves: &Shelves) -> String {
    let mut text = format!("folder   {}\n", folder.display());
    match own {
        Some(own) => {
            text += &format!("ours     {}\n         {}\n", own.thumbprint, own.application_uri);
            text += &format!("         {} (valid until {})\n", own.certificate.display(), own.valid_until);
        }
        None => text += "ours     none yet; the first secured connection makes it\n",
    }
    for certificate in &shelves.certificates {
        let Shelved { shelf, thumbprint, subject, names, valid_until, .. } = certificate;
        text += &format!("\n{:8} {thumbprint}\n         {}\n", shelf.name(), print::shown(subject));
        text += &format!("         {} (valid until {valid_until})\n", print::shown(&names.hosts.join(", ")));
    }
    for Strange { shelf, file, why } in &shelves.strange {
        text += &format!("\n{:8} counts for nothing: {}\n", shelf.name(), print::shown(why));
        text += &format!("         {}\n", print::shown(&file.display().to_string()));
    }
    if shelves.certificates.is_empty() {
        text += "\nno server's certificate is known: dial one, or add a file\n";
    }
    text
}
