//! Speaking to the running daemon: one line of JSON out, one line of JSON back.
//!
//! `{"id": TEXT, "name": "batch/start", "body": {..}}` is answered by `{"id": TEXT, "ok": true, "data": ..}` or
//! `{"ok": false, "error": WORD, "text": TEXT, ..}`. A request may be repeated under the same id.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::outcome::{Exit, Failure};

/// The daemon itself answers within two minutes, or says that it cannot.
const ANSWER_MAX: Duration = Duration::from_secs(150);

pub(super) fn ask(socket: &Path, name: &str, body: Value) -> Result<Value, Failure> {
    let id = uuid::Uuid::new_v4().to_string();
    let line = json!({ "id": id, "name": name, "body": body }).to_string();
    let reply = exchange(socket, &line).map_err(|error| away(socket, &error))?;
    serde_json::from_str(&reply)
        .map_err(|error| Exit::Io.failure(format!("{}: the daemon's answer is no JSON ({error})", socket.display())))
}

fn exchange(socket: &Path, line: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    stream.write_all(line.as_bytes())?;
    stream.write_all(b"\n")?;
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

    #[test]
    fn one_line_goes_out_and_one_comes_back() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).expect("the folder is ours");
        let daemon = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the command line comes");
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).expect("a line");
            stream.write_all(b"{\"ok\":true,\"data\":7}\n").expect("it listens");
            line
        });
        let answer = ask(&path, "status", json!({})).expect("an answer");
        assert_eq!(answer["data"], 7);
        let request: Value = serde_json::from_str(&daemon.join().expect("no panic")).expect("JSON");
        assert_eq!((&request["name"], &request["body"]), (&json!("status"), &json!({})));
    }

    #[test]
    fn a_daemon_that_is_away_is_unreachable_and_the_text_says_what_to_do() {
        let failure = ask(Path::new("nowhere/line.sock"), "status", json!({})).expect_err("nobody is there");
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.text.contains("--db FILE"), "{}", failure.text);
    }
}
