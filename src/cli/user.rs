//! `sealgate user`: who may use this line.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::outcome::{Exit, Failure, Outcome};
use super::{Journals, Shared, prompt, session, source};
use crate::report::Question;
use crate::runtime::WayBack;

const EXAMPLES: &str = "\
Examples:
  sealgate user init a.admin --full-name \"Anna Admin\" --code-file /var/lib/sealgate/line3/line3.code
                                          the first account; the code lies beside the journal, for the daemon's user
  sealgate user add m.meier --full-name \"Maria Meier\" --role operator --role supervisor
  sealgate user list --json               who has or had an account
  sealgate user passwd                    another password of your own
  sealgate user reset m.meier             another password for somebody, who must replace it at the next log-in
  sealgate user recover a.admin --reason \"password forgotten\"
                                          another password for an administrator, as root on the computer of the line
  sealgate user disable m.meier --reason \"left the company\"

Passwords are asked for, or read from standard input, one a line. Roles: operator, supervisor, quality, maintenance, admin, auditor.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct UserArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The first account, which administers the others; the daemon's code proves that you may
    Init {
        user: String,
        /// As printed beside signatures
        #[arg(long)]
        full_name: String,
        /// The file with the code, beside the journal
        #[arg(long, value_name = "FILE")]
        code_file: Option<PathBuf>,
    },
    /// Another account
    Add {
        user: String,
        /// As printed beside signatures
        #[arg(long)]
        full_name: String,
        /// May be given more than once
        #[arg(long, required = true)]
        role: Vec<String>,
    },
    /// Who has or had an account
    List {
        #[command(flatten)]
        journals: Journals,
    },
    /// Other roles
    Roles {
        user: String,
        /// All of them; may be given more than once
        #[arg(long, required = true)]
        role: Vec<String>,
        #[arg(long, value_parser = source::reason)]
        reason: String,
    },
    /// Nobody logs in with this account any more; its name is never given again
    Disable {
        user: String,
        #[arg(long, value_parser = source::reason)]
        reason: String,
    },
    /// The account may be used again
    Enable {
        user: String,
        #[arg(long, value_parser = source::reason)]
        reason: String,
    },
    /// Your own password: the old one, then the new one
    Passwd,
    /// A password for somebody else, who must replace it at the next log-in
    Reset { user: String },
    /// A password for an administrator who forgot the own, or of all after a restore; for whoever may write beside the journal: root
    Recover {
        user: String,
        #[arg(long, value_parser = source::reason)]
        reason: String,
    },
    /// End a lock after failed log-ins
    Unlock { user: String },
}

pub(super) fn run(args: UserArgs, shared: &Shared) -> Outcome {
    match args.action {
        Action::Init { user, full_name, code_file } => init(shared, &user, &full_name, code_file),
        Action::Add { user, full_name, role } => {
            let password = prompt::new_password("Password of the new account: ")?;
            let parts = [
                ("user", user.into()),
                ("full_name", full_name.into()),
                ("roles", role.into()),
                ("password", password.into()),
            ];
            command(shared, "user_add", &parts)
        }
        Action::List { journals } => source::answer(&journals, shared, &Question::Users),
        Action::Roles { user, role, reason } => {
            let parts = [("user", user.into()), ("roles", role.into()), ("reason", reason.into())];
            command(shared, "user_roles", &parts)
        }
        Action::Disable { user, reason } => {
            command(shared, "user_disable", &[("user", user.into()), ("reason", reason.into())])
        }
        Action::Enable { user, reason } => {
            command(shared, "user_enable", &[("user", user.into()), ("reason", reason.into())])
        }
        Action::Passwd => change(shared),
        Action::Reset { user } => {
            let password = prompt::new_password("New password: ")?;
            command(shared, "user_reset", &[("user", user.into()), ("new_password", password.into())])
        }
        Action::Recover { user, reason } => recover(shared, &user, &reason),
        Action::Unlock { user } => command(shared, "user_unlock", &[("user", user.into())]),
    }
}

fn command(shared: &Shared, word: &str, parts: &[(&str, Value)]) -> Outcome {
    let parts: Vec<(&str, String)> = parts.iter().map(|(key, value)| (*key, value.to_string())).collect();
    let parts: Vec<(&str, &str)> = parts.iter().map(|(key, value)| (*key, value.as_str())).collect();
    source::command(shared, word, &parts)
}

fn init(shared: &Shared, user: &str, full_name: &str, code_file: Option<PathBuf>) -> Outcome {
    let file = match code_file {
        Some(file) => file,
        None => source::config(shared)?.journal.with_extension("code"),
    };
    let code = std::fs::read_to_string(&file).map_err(|error| unread(&file, &error))?;
    let password = prompt::new_password("Password of the first account: ")?;
    let parts = [
        ("code", Value::from(code.trim())),
        ("user", user.into()),
        ("full_name", full_name.into()),
        ("password", password.into()),
    ];
    command(shared, "user_init", &parts)
}

/// The daemon takes the code by its hash beside the journal, which is gone again when this ends.
fn recover(shared: &Shared, user: &str, reason: &str) -> Outcome {
    let journal = source::config(shared)?.journal;
    let password = prompt::new_password("New password: ")?;
    let way = WayBack::open(&journal).map_err(|error| {
        let folder = journal.parent().unwrap_or(&journal).display();
        Exit::Io.failure(format!(
            "{folder}: nothing can be left there ({error}); this is for root on the computer of the line"
        ))
    })?;
    let parts = [
        ("code", way.code().into()),
        ("user", user.into()),
        ("new_password", password.into()),
        ("reason", reason.into()),
    ];
    command(shared, "user_recover", &parts)
}

fn unread(file: &std::path::Path, error: &std::io::Error) -> Failure {
    Exit::Io.failure(format!(
        "{}: the code for the first account cannot be read ({error}); it is there while the daemon runs and nobody has an \
         account, for the user that runs the daemon",
        file.display()
    ))
}

fn change(shared: &Shared) -> Outcome {
    let (socket, _) = source::daemon(shared)?;
    let Some(session) = session::of(&socket) else {
        return Err(Exit::No.failure("nobody is logged in; log in first: `sealgate login NAME`"));
    };
    let password = prompt::password("Your password: ")?;
    let new_password = prompt::new_password("The new one: ")?;
    let parts = [("user", session.user.into()), ("password", password.into()), ("new_password", new_password.into())];
    command(shared, "user_passwd", &parts)
}
