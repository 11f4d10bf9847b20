//! `sealgate login` and `logout`: a session with the running daemon.

use clap::Args;
use serde_json::Value;

use super::outcome::Outcome;
use super::session::{self, Session};
use super::{Shared, live, print, prompt, source};

const LOGIN_EXAMPLES: &str = "\
Examples:
  sealgate login m.meier                  asks for the password
  sealgate login m.meier < password.txt   one line from a file

A session ends with `sealgate logout`, after ten minutes without a request, after twelve hours ([people] in the config
says otherwise), and with the daemon.";

const LOGOUT_EXAMPLES: &str = "\
Examples:
  sealgate logout";

#[derive(Debug, Args)]
#[command(after_help = LOGIN_EXAMPLES)]
pub(super) struct LoginArgs {
    user: String,
}

#[derive(Debug, Args)]
#[command(after_help = LOGOUT_EXAMPLES)]
pub(super) struct LogoutArgs {}

pub(super) fn log_in(args: &LoginArgs, shared: &Shared) -> Outcome {
    let (socket, config) = source::daemon(shared)?;
    let style = source::style(shared, config.as_ref());
    let password = Value::from(prompt::password("Password: ")?).to_string();
    let user = Value::from(args.user.as_str()).to_string();
    let mut answer = live::ask(&socket, "login", &[("user", &user), ("password", &password)])?;
    // The token is for the file alone.
    let token = answer.data.as_mut().and_then(Value::as_object_mut).and_then(|data| data.remove("session"));
    if let Some(token) = token.as_ref().and_then(Value::as_str).filter(|_| answer.ok) {
        session::keep(&socket, &Session { user: args.user.clone(), token: token.to_owned() })?;
        if answer.data.as_ref().is_some_and(|data| data["must_change"] == true) {
            print::problem("your password was chosen by somebody else; replace it now: `sealgate user passwd`");
        }
    }
    Ok(source::told(style, &answer))
}

pub(super) fn log_out(_args: &LogoutArgs, shared: &Shared) -> Outcome {
    let (socket, _) = source::daemon(shared)?;
    let outcome = source::command(shared, "logout", &[]);
    session::forget(&socket);
    outcome
}
