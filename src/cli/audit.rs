//! `sealgate audit`: proves a journal, offline, against keys and checkpoints that were kept elsewhere; shows and exchanges the
//! key that signs.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::outcome::{Exit, Failure, Outcome};
use super::{Journals, Shared, print, source};
use crate::config::Config;
use crate::report::Question;
use crate::runtime::keys;
use crate::store::verify::{self, Signer, Trust, VerifyReport};
use crate::wire::checkpoint::{KeyRing, notes_in};

const EXAMPLES: &str = "\
Examples:
  sealgate audit verify --db line3.db     exit 0: whole; exit 1: broken, and the first broken fact is named
  sealgate audit verify --db line3.db --public-key line3.pub --anchors feed.jsonl
                                          the same, and who signed it, and that its end was not cut off
  sealgate audit verify --db a.db --db b.db --json
  sealgate audit review                   what stood out since the last review; `sealgate sign review` signs for it
  sealgate audit key                      the public keys of the line, the newest last
  sealgate audit key --rotate             a new key; the daemon signs with it from its next start on

Anchors are checkpoints that were kept outside the computer of the line: what a subscriber received on _checkpoint/#, one JSON
object a line, or notes as they are printed. Without them nothing shows that the newest facts are missing; without a public key
that you got some other way, the signer is unproven.

A file that `store salvage` made ends early. With --anchors it is told as \"salvaged\": the facts that hold, those that are not here,
and the anchors it cannot answer for. The exit code is 1 all the same, since a file whose end was cut off can say the same of itself.
Once the daemon of the line has opened it, a signed fact gives up what was lost, and the outcome is \"whole\" with what was lost told.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Recompute the chain of every fact and check its signatures; `store rebuild --check` compares the other tables
    #[command(after_help = EXAMPLES)]
    Verify {
        /// The journal; may be given more than once. Without it: the journal of the configuration
        #[arg(long, value_name = "FILE")]
        db: Vec<PathBuf>,
        /// Checkpoints that were kept elsewhere; may be given more than once
        #[arg(long, value_name = "FILE")]
        anchors: Vec<PathBuf>,
        /// The public keys of the line, as you got them from there
        #[arg(long, value_name = "FILE")]
        public_key: Option<PathBuf>,
    },
    /// Review by exception: alarms, failed log-ins, refused signatures, clock steps, restores, and what was done over a signature
    Review {
        #[command(flatten)]
        journals: Journals,
    },
    /// The keys that sign the journal of the configuration
    Key {
        /// Make a new key, with the consent of the present one
        #[arg(long)]
        rotate: bool,
    },
}

pub(super) fn run(args: &AuditArgs, shared: &Shared) -> Outcome {
    match &args.action {
        Action::Verify { db, anchors, public_key } => verify(db, &trust(anchors, public_key.as_deref())?, shared),
        Action::Review { journals } => source::answer(journals, shared, &Question::Review(None)),
        Action::Key { rotate } => key(&source::config(shared)?, *rotate, shared),
    }
}

/// What the auditor brings along. A line that begins as a checkpoint and is none is an answer: it must not pass for less than what
/// was kept.
fn trust(anchors: &[PathBuf], public_key: Option<&Path>) -> Result<Trust, Failure> {
    let bad = |path: &Path, what: String| Exit::Usage.failure(format!("{}: {what}", path.display()));
    let mut trust = Trust::default();
    if let Some(path) = public_key {
        let ring =
            KeyRing::parse(&read(path)?).map_err(|error| bad(path, format!("no file of public keys: {error}")))?;
        trust.public_keys = Some(ring);
    }
    for path in anchors {
        let found = notes_in(&read(path)?);
        if found.is_empty() {
            let what = "there is no checkpoint in it; anchors are what was received on _checkpoint/#";
            return Err(bad(path, what.into()));
        }
        for (line, note) in found {
            let place = format!("{}, line {line}", path.display());
            let note = note.map_err(|error| Exit::No.failure(format!("{place}: {error}")))?;
            trust.anchors.push((place, note));
        }
    }
    Ok(trust)
}

fn read(path: &Path) -> Result<String, Failure> {
    let bytes = std::fs::read(path).map_err(|error| Exit::Io.failure(format!("{}: {error}", path.display())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn key(config: &Config, rotate: bool, shared: &Shared) -> Outcome {
    let files = &config.proof;
    if rotate {
        let failed = |error: keys::KeysError| Exit::Io.failure(error.to_string());
        let signing = keys::rotate(files, &config.line.path).map_err(failed)?;
        tracing::info!(key = signing.key.id(), "signing_key_exchanged");
    }
    let text = std::fs::read_to_string(&files.public_keys).map_err(|error| {
        let path = files.public_keys.display();
        Exit::Io.failure(format!("{path}: {error}; the first start of the daemon makes the key"))
    })?;
    let keys: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).collect();
    let said = match rotate {
        true => "a new key: restart the daemon to sign with it, and give this file to whoever verifies",
        false => "the last one signs; give this file to whoever verifies",
    };
    let document = json!({
        "line": config.line.path,
        "file": files.public_keys.display().to_string(),
        "public_keys": keys,
        "text": said,
    });
    print::value(source::style(shared, None), &document);
    Ok(Exit::Done)
}

fn verify(db: &[PathBuf], trust: &Trust, shared: &Shared) -> Outcome {
    let files = if db.is_empty() { vec![source::config(shared)?.journal] } else { db.to_vec() };
    let mut documents = Vec::new();
    let mut is_whole = true;
    for file in &files {
        let report = verify::run_with(file, trust)
            .map_err(|error| Exit::of_store(&error).failure(format!("{}: {error}", file.display())))?;
        is_whole &= report.first_bad.is_none();
        documents.push(document(&file.display().to_string(), &report));
    }
    if shared.json && documents.len() > 1 {
        print::value(source::style(shared, None), &Value::Array(documents));
    } else {
        documents.iter().for_each(|document| print::value(source::style(shared, None), document));
    }
    Ok(if is_whole { Exit::Done } else { Exit::No })
}

fn document(file: &str, report: &VerifyReport) -> Value {
    let head: String = report.head.iter().map(|byte| format!("{byte:02x}")).collect();
    let (flaw, signatures) = (report.first_bad.as_ref(), &report.signatures);
    json!({
        "db": file,
        "line": report.line,
        "store_uuid": report.store_uuid,
        "outcome": outcome(report),
        "facts": report.facts,
        "head_hash": head,
        "broken_seq": flaw.and_then(|flaw| flaw.seq),
        "missing_from": signatures.missing.map(|(from, _)| from),
        "missing_to": signatures.missing.map(|(_, to)| to),
        "signer": signer(signatures.signer),
        "checkpoints": signatures.checkpoints,
        "signed_through": signatures.through,
        "anchors": signatures.anchors,
        "lost": signatures.losses,
        "unanswered": signatures.unanswered,
        "text": flaw.map_or_else(|| whole(report), |flaw| flaw.what.clone()),
    })
}

fn outcome(report: &VerifyReport) -> &'static str {
    match (&report.first_bad, report.signatures.is_salvage) {
        (None, _) => "whole",
        (Some(_), true) => "salvaged",
        (Some(_), false) => "broken",
    }
}

fn signer(signer: Signer) -> &'static str {
    match signer {
        Signer::Nobody => "nobody",
        Signer::Unproven => "unproven",
        Signer::Proven => "proven",
    }
}

/// What a whole journal proves, and what it does not.
fn whole(report: &VerifyReport) -> String {
    let signatures = &report.signatures;
    let through = signatures.through;
    let who = match signatures.signer {
        Signer::Nobody => "nobody signed it".to_owned(),
        Signer::Unproven => format!(
            "signed up to fact {through} with a key that only the journal itself vouches for: without --public-key the signer is \
             unproven"
        ),
        Signer::Proven => format!("signed up to fact {through} with the key that was given"),
    };
    let end = match signatures.anchors {
        0 => "without --anchors a cut tail would not show".to_owned(),
        anchors => format!("{anchors} anchors were compared"),
    };
    let lost = match signatures.losses.len() {
        0 => String::new(),
        lost => format!("; {lost} of them are about facts that were given up, as signed facts say"),
    };
    format!(
        "every fact up to head_hash is as it was written; {who}; {end}{lost}; the tables derived from the facts are outside the \
         proof"
    )
}
