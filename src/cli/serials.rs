//! `sealgate serials confirm`: upstream's word on serials after a restore. Until it is given nothing is loaded or printed.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::outcome::{Exit, Outcome};
use super::{Shared, source};
use crate::wire::command::USED_MAX;

const EXAMPLES: &str = "\
Examples:
  sealgate serials confirm                                          none was used since the backup
  sealgate serials confirm --gtin 09506000134352 --used used.txt    these were: one serial number a line
  sealgate serials used --gtin 09506000134352 --file used.txt       of several products: name each, then confirm";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SerialsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Name serials that were used; none of them is ever used again
    Used {
        /// The product
        #[arg(long, value_name = "GTIN")]
        gtin: String,
        /// One serial number a line
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Upstream has named all serials that were used since the backup: the line may use serials again
    Confirm {
        /// The product of --used
        #[arg(long, value_name = "GTIN", requires = "used")]
        gtin: Option<String>,
        /// Serials that were used: one a line
        #[arg(long, value_name = "FILE", requires = "gtin")]
        used: Option<PathBuf>,
    },
}

pub(super) fn run(args: SerialsArgs, shared: &Shared) -> Outcome {
    match args.action {
        Action::Used { gtin, file } => name(shared, &gtin, &file),
        Action::Confirm { gtin, used } => {
            if let (Some(gtin), Some(file)) = (gtin, used) {
                let named = name(shared, &gtin, &file)?;
                if named != Exit::Done {
                    return Ok(named);
                }
            }
            source::command(shared, "serials_confirm", &[])
        }
    }
}

/// Part by part; a repeat changes nothing, so that a list that broke off is simply given again.
fn name(shared: &Shared, gtin: &str, file: &std::path::Path) -> Outcome {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Exit::Io.failure(format!("{}: cannot be read: {error}", file.display())))?;
    let serials: Vec<Value> = text.lines().filter(|line| !line.is_empty()).map(Value::from).collect();
    for part in serials.chunks(USED_MAX) {
        let list = Value::Array(part.to_vec()).to_string();
        let said =
            source::command(shared, "serials_used", &[("gtin", &Value::from(gtin).to_string()), ("serials", &list)])?;
        if said != Exit::Done {
            return Ok(said);
        }
    }
    Ok(Exit::Done)
}
