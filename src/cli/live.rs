//! Speaking to the running daemon: one request out, one answer back, in the words of `wire::command`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::outcome::{Exit, Failure};
use crate::wire::command::{ClientAnswer, REQUEST_BYTES_MAX, request_line};

/// The daemon itself answers within two minutes, or says that it cannot.
const ANSWER_MAX: Duration = Duration::from_secs(150);
/// The trace of one pallet is a few megabytes; more than this is no answer of ours.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// One request per connection needs no more numbers.
const ID: u64 = 1;

/// What a person at this machine asks: a word and the fields beside it, each value as JSON text.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) word: &'static str,
    pub(super) parts: Vec<(&'static str, String)>,
}

impl Ask {
    pub(super) fn new(word: &'static str) -> Self {
        Self { word, parts: Vec::new() }
    }

    /// With one more field.
    pub(super) fn with(mut self, key: &'static str, value: impl Into<serde_json::Value>) -> Self {
        self.parts.push((key, value.into().to_string()));
        self
    }
}

pub(super) fn ask(socket: &Path, ask: &Ask) -> Result<ClientAnswer, Failure> {
    let parts: Vec<(&str, &str)> = ask.parts.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let line = request_line(ID, "local", ask.word, &parts);
    if line.len() > REQUEST_BYTES_MAX {
        let text = format!(
            "the order has {} bytes; 16 MiB are taken: put the serials into a file (`serials_file`)",
            line.len()
        );
        return Err(Exit::No.failure(text));
    }
    let reply = exchange(socket, &line).map_err(|error| away(socket, &error))?;
    serde_json::from_str(&reply).map_err(|error| {
        let text = format!("{}: what answers there is no daemon of this release ({error})", socket.display());
        Exit::Io.failure(text)
    })
}

fn exchange(socket: &Path, line: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    stream.write_all(line.as_bytes())?;
    let mut reply = String::new();
    if BufReader::new(stream.take(ANSWER_BYTES_MAX)).read_line(&mut reply)? == 0 {
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
    use crate::wire::command::{ClientRequest, Command, Look};

    #[test]
    fn one_request_goes_out_as_the_daemon_reads_it_and_one_answer_comes_back() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).expect("the folder is ours");
        let daemon = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the command line comes");
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).expect("a line");
            stream.write_all(b"{\"id\":1,\"ok\":true,\"data\":7}\n").expect("it listens");
            line
        });
        let code = "(01)09506000134352(21)'OR'1'='1'--\u{1d}\"";
        let answer = ask(&path, &Ask::new("trace").with("code", code)).expect("an answer");
        assert_eq!(answer.data, Some(7.into()));
        let line = daemon.join().expect("no panic");
        let request = ClientRequest::parse(line.as_bytes()).expect("a request of ours");
        let Command::Look(look) = request.command else { panic!("{request:?}") };
        assert_eq!(look, Look::Trace(code.to_owned()));
    }

    #[test]
    fn a_daemon_that_is_away_is_unreachable_and_the_text_says_what_to_do() {
        let failure = ask(Path::new("nowhere/line.sock"), &Ask::new("status")).expect_err("nobody is there");
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.text.contains("--db FILE"), "{}", failure.text);
    }
}
