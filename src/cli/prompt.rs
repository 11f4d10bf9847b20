//! Passwords from a person at the terminal, unseen, or from a pipe, one a line. Never from an argument or the environment, which others
//! can read.

use std::io::{self, BufRead, IsTerminal, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::outcome::{Exit, Failure};

/// Asks for a password that exists.
pub(super) fn password(prompt: &str) -> Result<String, Failure> {
    read(prompt).map_err(|error| Exit::Io.failure(format!("no password could be read: {error}")))
}

/// Asks for a password that is chosen now: at a terminal twice, since nobody sees what is typed.
pub(super) fn new_password(prompt: &str) -> Result<String, Failure> {
    let chosen = password(prompt)?;
    if io::stdin().is_terminal() && password("The same again: ")? != chosen {
        return Err(Exit::No.failure("the two are not the same; nothing was changed"));
    }
    Ok(chosen)
}

fn read(prompt: &str) -> io::Result<String> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return line(stdin.lock());
    }
    let mut stderr = io::stderr().lock();
    write!(stderr, "{prompt}")?;
    stderr.flush()?;
    let shown = Unseen::begin()?;
    let typed = line(stdin.lock());
    drop(shown);
    writeln!(stderr)?;
    typed
}

fn line(mut from: impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    if from.read_line(&mut text)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// As long as it lives, the terminal does not show what is typed.
struct Unseen(Termios);

impl Unseen {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing anyhow.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_as_it_is_typed() {
        let mut typed = io::Cursor::new(" two words \r\nnext\n");
        assert_eq!(line(&mut typed).expect("a line"), " two words ");
        assert_eq!(line(&mut typed).expect("a line"), "next");
        assert!(line(&mut typed).is_err(), "nothing is no password");
    }
}
