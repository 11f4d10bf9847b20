//! `sealgate store`: the journal's own care. Each action says what it found in one document, and by its exit code whether that is good.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::outcome::{Exit, Failure, Outcome};
use super::{Shared, print, source};
use crate::runtime;
use crate::store::rebuild::{self, CheckReport};
use crate::store::{StoreError, backup, place, salvage, start, verify};

const EXAMPLES: &str = "\
Examples:
  sealgate store check                             structure, room, size of the log, file system
  sealgate store backup --out /mnt/usb/line3.db    a whole, proven copy beside a running daemon, with a manifest
  sealgate store restore /mnt/usb/line3.db --reason 'disk replaced'
                                                   the daemon stopped; serials wait until `sealgate serials confirm`
  sealgate store salvage --db damaged.db --out saved.db
                                                   the facts that the chain proves, and the tables made from them
  sealgate store rebuild --check --db line3.db     exit 0: every table follows from the facts; exit 1: each difference is named";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StoreArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Structure, room, size of the log, file system; quick, and beside a running daemon
    Check {
        #[command(flatten)]
        journal: Journal,
    },
    /// A whole copy in one state, while the daemon runs; it is proven before it counts
    Backup {
        /// The file to make
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        journal: Journal,
    },
    /// Put a backup in the journal's place, with the daemon stopped; the file that lies there is kept
    Restore {
        /// The backup
        backup: PathBuf,
        /// Why, for the record
        #[arg(long, value_name = "TEXT", value_parser = source::reason)]
        reason: String,
    },
    /// Save what can be proven of a damaged journal into a new file; the damaged one is not touched
    Salvage {
        /// The file to make
        #[arg(long, value_name = "NEW")]
        out: PathBuf,
        #[command(flatten)]
        journal: Journal,
    },
    /// Make every table anew from the facts: compare (--check), or put into the file's place, which is kept
    Rebuild {
        /// Compare only; the file is not touched
        #[arg(long)]
        check: bool,
        #[command(flatten)]
        journal: Journal,
        /// Where the second copy is made for a comparison, which needs as much room as the journal
        #[arg(long, value_name = "DIR", requires = "check")]
        scratch: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct Journal {
    /// The journal. Without it: the journal of the configuration
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,
}

impl Journal {
    fn file(self, shared: &Shared) -> Result<PathBuf, Failure> {
        match self.db {
            Some(file) => Ok(file),
            None => Ok(source::config(shared)?.journal),
        }
    }
}

pub(super) fn run(args: StoreArgs, shared: &Shared) -> Outcome {
    match args.action {
        Action::Check { journal } => check(&journal.file(shared)?, shared),
        Action::Backup { out, journal } => back_up(&journal.file(shared)?, &out, shared),
        Action::Restore { backup, reason } => restore(&backup, &reason, shared),
        Action::Salvage { out, journal } => save(&journal.file(shared)?, &out, shared),
        Action::Rebuild { check: true, journal, scratch } => compare(&journal.file(shared)?, scratch, shared),
        Action::Rebuild { check: false, journal, .. } => make(&journal.file(shared)?, shared),
    }
}

fn failed(error: StoreError) -> Failure {
    Exit::of_store(&error).failure(error.to_string())
}

fn say(shared: &Shared, document: &Value) {
    print::value(source::style(shared, None), document);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check(file: &Path, shared: &Shared) -> Outcome {
    let flaw = verify::quick(file).map_err(failed)?;
    let room = place::room(file).map_err(failed)?;
    let size = |suffix: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        std::fs::metadata(name).map_or(0, |file| file.len())
    };
    let file_system = place::file_system(file);
    let is_trusted = file_system.as_deref().is_none_or(place::is_trusted);
    say(
        shared,
        &json!({
            "db": file.display().to_string(),
            "outcome": if flaw.is_none() { "sound" } else { "damaged" },
            "bytes": size(""),
            "log_bytes": size("-wal"),
            "free_bytes": room.free,
            "total_bytes": room.total,
            "file_system": file_system,
            "file_system_trusted": is_trusted,
            "text": flaw.as_deref().unwrap_or("the structure is sound; what it says is proven by `audit verify` and `store rebuild --check`"),
        }),
    );
    Ok(if flaw.is_none() { Exit::Done } else { Exit::No })
}

fn back_up(file: &Path, out: &Path, shared: &Shared) -> Outcome {
    let report = backup::run(file, out).map_err(failed)?;
    let document = json!({
        "backup": out.display().to_string(),
        "line": report.line,
        "store_uuid": report.store_uuid,
        "epoch": report.epoch,
        "seq": report.seq,
        "head_hash": hex(&report.head),
        "bytes": report.bytes,
        "sha256": report.sha256,
    });
    let manifest = backup::manifest_of(out);
    std::fs::write(&manifest, format!("{document:#}\n"))
        .map_err(|error| Exit::Io.failure(format!("{}: {error}", manifest.display())))?;
    say(shared, &document);
    Ok(Exit::Done)
}

fn restore(backup: &Path, reason: &str, shared: &Shared) -> Outcome {
    let config = source::config(shared)?;
    let restored = runtime::restore(&config, backup, "local", reason).map_err(failed)?;
    let lost = restored.lost.map(|(from, to)| json!({ "from": from, "to": to }));
    say(
        shared,
        &json!({
            "db": config.journal.display().to_string(),
            "seq": restored.seq,
            "epoch": restored.epoch,
            "lost": lost,
            "kept": restored.kept.map(|kept| kept.display().to_string()),
            "text": "serials are suspended: ask upstream which were used since the backup, then `sealgate serials confirm`; where people have accounts, \
                     no password opens anything before it is set anew: `sealgate user recover ADMIN`, then `sealgate user reset` for each",
        }),
    );
    Ok(Exit::Done)
}

fn save(file: &Path, out: &Path, shared: &Shared) -> Outcome {
    let report = salvage::run(file, out, start::born(file).as_ref()).map_err(failed)?;
    say(
        shared,
        &json!({
            "db": file.display().to_string(),
            "saved": out.display().to_string(),
            "line": report.line,
            "store_uuid": report.store_uuid,
            "facts": report.facts,
            "head_hash": hex(&report.head),
            "newest_seen": report.newest_seen,
            "text": report.text(),
        }),
    );
    Ok(if report.is_all() { Exit::Done } else { Exit::No })
}

fn make(file: &Path, shared: &Shared) -> Outcome {
    let made = rebuild::make(file).map_err(failed)?;
    say(
        shared,
        &json!({
            "db": file.display().to_string(),
            "facts": made.facts,
            "kept": made.kept.display().to_string(),
            "text": "every table was made anew from the facts",
        }),
    );
    Ok(Exit::Done)
}

fn compare(file: &Path, scratch: Option<PathBuf>, shared: &Shared) -> Outcome {
    let scratch = scratch.unwrap_or_else(std::env::temp_dir);
    let report = rebuild::check(file, &scratch).map_err(failed)?;
    say(shared, &comparison(&file.display().to_string(), &report));
    Ok(if report.is_same() { Exit::Done } else { Exit::No })
}

fn comparison(file: &str, report: &CheckReport) -> Value {
    let flaw = report.verified.first_bad.as_ref();
    let differences: Vec<Value> = report
        .differences
        .iter()
        .map(|at| json!({ "table": at.table, "key": at.key, "column": at.column, "is": at.is, "should": at.should }))
        .collect();
    let text = match flaw {
        Some(flaw) => format!("the facts themselves are not whole, and no table was compared: {}", flaw.what),
        None if report.is_same() => "every table but work_* and checkpoint is what the facts say".to_owned(),
        None => "these rows are not what the facts say; keep the file".to_owned(),
    };
    json!({
        "db": file,
        "outcome": if report.is_same() { "same" } else { "different" },
        "facts": report.verified.facts,
        "rows": report.rows,
        "broken_seq": flaw.and_then(|flaw| flaw.seq),
        "difference_count": report.difference_count,
        "differences": differences,
        "text": text,
    })
}
