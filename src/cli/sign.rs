//! `sealgate sign`: electronic signatures. Name and password each time, and what is signed is shown first.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::outcome::{Exit, Failure, Outcome};
use super::{Shared, live, print, prompt, session, source};
use crate::wire::command::ClientAnswer;

const EXAMPLES: &str = "\
Examples:
  sealgate sign close B-2026-117 --as performed    the first of two signatures: by who answers for the batch
  sealgate sign close B-2026-117 --as verified     the second, by another person: the batch closes with it
  sealgate sign config                             where the site asks for it, before the first start with an edited configuration
  sealgate sign review                             all that stood out since the last review was looked at

  sealgate sign clearance B-2026-118 --checklist cleared.txt --as performed

A checklist has the items of [clearance], one a line, `[x]` before what is done and `[-]` before what does not apply:
  [x] no cartons or labels of the batch before
  [-] bin empty and counted
Who verifies looks again, and answers a checklist of the own.

A batch whose counts do not balance closes over two signatures. Each is bound to the counts as they are at that moment.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SignArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The close of a batch whose counts do not balance
    Close {
        batch: String,
        /// What the signature says
        #[arg(long = "as", value_enum)]
        meaning: Meaning,
    },
    /// That the line is clear for a batch
    Clearance {
        batch: String,
        /// The answered checklist
        #[arg(long)]
        checklist: PathBuf,
        /// What the signature says
        #[arg(long = "as", value_enum)]
        meaning: Meaning,
    },
    /// The use of this line's configuration and tag maps, as the daemon runs with them
    Config,
    /// That you looked at everything that `sealgate audit review` shows
    Review,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Meaning {
    Performed,
    Verified,
}

pub(super) fn run(args: SignArgs, shared: &Shared) -> Outcome {
    match args.action {
        Action::Close { batch, meaning } => {
            let batch = Value::from(batch).to_string();
            let look = Look { word: "batch_show", parts: &[("batch", &batch)] };
            sign(shared, "variance_close", &[("batch", &batch)], (meaning, look))
        }
        Action::Clearance { batch, checklist, meaning } => {
            let items = answers(&checklist)?.to_string();
            let batch = Value::from(batch).to_string();
            let look = Look { word: "batch_show", parts: &[("batch", &batch)] };
            sign(shared, "clearance", &[("batch", &batch), ("items", &items)], (meaning, look))
        }
        Action::Config => {
            let look = Look { word: "status", parts: &[] };
            sign(shared, "config_approval", &[], (Meaning::Performed, look))
        }
        Action::Review => {
            let (socket, config) = source::daemon(shared)?;
            let due = live::ask(&socket, "audit_review", &[])?;
            let Some(data) = due.data.as_ref().filter(|_| due.ok) else {
                return Ok(source::told(source::style(shared, config.as_ref()), &due));
            };
            let field = |key: &'static str| (key, data[key].to_string());
            let parts = ["from_seq", "to_seq", "exceptions", "sha256"].map(field);
            let parts: Vec<(&str, &str)> = parts.iter().map(|(key, value)| (*key, value.as_str())).collect();
            let look = Look { word: "audit_review", parts: &parts[1..2] };
            sign(shared, "audit_review", &parts, (Meaning::Performed, look))
        }
    }
}

/// A checklist as the daemon takes it. A line that is not answered is told by its number.
fn answers(file: &Path) -> Result<Value, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Exit::Io.failure(format!("{}: cannot be read: {error}", file.display())))?;
    let lines = (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.is_empty());
    let answered = lines.map(|(number, line)| {
        let answer =
            |mark: &str, word| line.strip_prefix(mark).map(|item| json!({ "item": item.trim(), "answer": word }));
        let answered = answer("[x]", "done").or_else(|| answer("[-]", "not_applicable"));
        answered.ok_or_else(|| {
            let what = "is not answered: [x] stands before what is done, [-] before what does not apply";
            Exit::No.failure(format!("{}:{number}: {what}", file.display()))
        })
    });
    answered.collect::<Result<Vec<_>, _>>().map(Value::from)
}

/// What is shown of the record before anybody signs.
struct Look<'a> {
    word: &'a str,
    parts: &'a [(&'a str, &'a str)],
}

/// Both components each time (21 CFR 11.200): who is logged in gives the password to what was just shown. `parts` say of what the
/// act is, in JSON.
fn sign(shared: &Shared, action: &str, parts: &[(&str, &str)], (meaning, look): (Meaning, Look<'_>)) -> Outcome {
    let (socket, config) = source::daemon(shared)?;
    let style = source::style(shared, config.as_ref());
    let Some(session) = session::of(&socket) else {
        return Err(Exit::No.failure("nobody is logged in; log in first: `sealgate login NAME`"));
    };
    let text = |text: &str| Value::from(text).to_string();
    let action = text(action);
    let parts: Vec<_> = [("action", action.as_str())].into_iter().chain(parts.iter().copied()).collect();
    let prepared = live::ask(&socket, "sign_prepare", &parts)?;
    let Some(data) = prepared.data.as_ref().filter(|_| prepared.ok) else { return Ok(source::told(style, &prepared)) };
    let shown: ClientAnswer = live::ask(&socket, look.word, look.parts)?;
    if !shared.json {
        shown.data.iter().for_each(|data| print::value(style, data));
        print::out(&format!("record  {}\n", data["subject_hash"].as_str().unwrap_or_default()));
    }
    let meaning = match meaning {
        Meaning::Performed => "performed",
        Meaning::Verified => "verified",
    };
    let password = text(&prompt::password(&format!("{} signs as {meaning}. Password: ", session.user))?);
    let (user, challenge, meaning) = (text(&session.user), data["challenge"].to_string(), text(meaning));
    let parts = [
        ("user", user.as_str()),
        ("action", &action),
        ("password", &password),
        ("challenge", &challenge),
        ("meaning", &meaning),
    ];
    Ok(source::told(style, &live::ask(&socket, "sign", &parts)?))
}
