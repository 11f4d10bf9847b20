//! Speaking to the running daemon: one request line out, one answer line back (`wire::command`).

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::outcome::{Exit, Failure};
use super::session;
use crate::wire::command::{self, ClientAnswer};

/// The daemon itself answers within two minutes, or says that it cannot.
const ANSWER_MAX: Duration = Duration::from_secs(150);

/// Who asks where nobody is logged in.
const ACTOR: &str = "local";

/// `word` and `parts` as `command::request_line` takes them.
pub(super) fn ask(socket: &Path, word: &str, parts: &[(&str, &str)]) -> Result<ClientAnswer, Failure> {
    let session = session::of(socket).map(|session| Value::from(session.token).to_string());
    let session = session.as_deref().map(|token| ("session", token));
    let parts: Vec<(&str, &str)> = parts.iter().copied().chain(session).collect();
    let line = command::request_line(1, ACTOR, word, &parts);
    let reply = exchange(socket, &line).map_err(|error| away(socket, &error))?;
    serde_json::from_str(&reply).map_err(|error| {
        let text =
            format!("{}: the daemon's answer cannot be read ({error}); is it another release?", socket.display());
        Exit::Io.failure(text)
    })
}

fn exchange(socket: &Path, line: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    stream.write_all(line.as_bytes())?;
    let mut reply = String::new();
    if BufReader::new(stream).read_line(&mut reply)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(reply)
}

fn away(socket: &Path, error: &io::Error) -> Failure {
    let socket = socket.display();
    let absent = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
    let text = if absent {
        format!(
            "no daemon answers on {socket}; start it (`systemctl start sealgate@LINE`), name another with --socket FILE, \
             or read a journal with --db FILE"
        )
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        format!(
            "{socket} is not for this user; run as the line's user, or set `socket_access = \"group\"` in [line] and \
             join its group"
        )
    } else {
        format!("the daemon on {socket} did not answer ({error}); see its log (`journalctl -u sealgate@LINE`)")
    };
    Exit::Unreachable.failure(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::engine::input::Request;
    use crate::wire::command::{ClientRequest, Command};

    #[test]
    fn one_line_goes_out_and_one_comes_back() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).expect("the folder is ours");
        let daemon = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the command line comes");
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).expect("a line");
            stream.write_all(ClientAnswer::data(1, 7.into()).to_line().as_bytes()).expect("it listens");
            line
        });
        let answer = ask(&path, "batch_start", &[("batch", "\"B7\"")]).expect("an answer");
        assert_eq!(answer.data, Some(7.into()));
        let request = ClientRequest::parse(daemon.join().expect("no panic").as_bytes()).expect("well-formed");
        assert!(matches!(request.command, Command::Ask(Request::StartBatch(batch)) if batch.as_str() == "B7"));
    }

    #[test]
    fn a_daemon_that_is_away_is_unreachable_and_the_text_says_what_to_do() {
        let failure = ask(Path::new("nowhere/line.sock"), "status", &[]).expect_err("nobody is there");
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.text.contains("--db FILE"), "{}", failure.text);
    }
}
