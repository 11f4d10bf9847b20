//! The local socket: the command line speaks to the running daemon in lines of JSON, one answer per request, in order.
//!
//! Contract:
//! - A request line holds at most `LINE_BYTES_MAX` bytes; a longer one is refused and its connection closed. A silent connection is closed.
//! - At most `CLIENTS_MAX` connections are served at once. One more pushes out the one that waits longest for its next request:
//!   nobody is locked out by connections that ask nothing. Where all wait for answers, the next waits in the kernel's queue.
//! - What a request means is the business of the one who takes it; this file never looks into a line.
//! - The socket's mode decides who may ask: its user (0600), or its group too (0660). There is no other log-in here.
//! - A socket file that nobody listens on is left over from a crash, and replaced. Where somebody listens, `bind` fails.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};

use crate::wire::command::{ClientAnswer, REQUEST_BYTES_MAX, Reason};

/// What one command may hold.
pub const LINE_BYTES_MAX: usize = REQUEST_BYTES_MAX;
/// People and scripts at one line PC.
pub const CLIENTS_MAX: usize = 8;
const SILENCE_MAX: Duration = Duration::from_secs(60);
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// One request, with the place where its answer is awaited. Dropping it answers that the daemon is stopping.
#[derive(Debug)]
pub struct ClientRequest {
    /// One line, without its end.
    pub line: String,
    /// The user who asks, as the kernel says.
    pub uid: Option<u32>,
    /// Takes one line of JSON, with or without its line feed.
    pub answer: oneshot::Sender<String>,
}

/// Takes a request, or gives it up (false) where there is no room.
pub type RequestSink = Arc<dyn Fn(ClientRequest) -> bool + Send + Sync>;

#[derive(Debug)]
pub enum ControlError {
    /// Another process answers on this socket.
    Taken {
        path: PathBuf,
    },
    /// Something that is no socket lies there, and is not ours to delete.
    NotASocket {
        path: PathBuf,
    },
    Io {
        path: PathBuf,
        error: io::Error,
    },
}

/// A bound socket; its file goes when this is dropped.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Binds `path`. Must be called on a tokio runtime.
    pub async fn bind(path: &Path, for_group: bool) -> Result<Self, ControlError> {
        let failed = |error| ControlError::Io { path: path.to_owned(), error };
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(found) if !found.file_type().is_socket() => {
                return Err(ControlError::NotASocket { path: path.to_owned() });
            }
            Ok(_) => match UnixStream::connect(path).await {
                Ok(_) => return Err(ControlError::Taken { path: path.to_owned() }),
                Err(_) => fs::remove_file(path).map_err(failed)?,
            },
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let mode = if for_group { 0o660 } else { 0o600 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves until it is dropped.
    pub async fn run(self, sink: RequestSink) {
        let mut clients = JoinSet::new();
        let crowd = Arc::new(Notify::new());
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if clients.len() <= CLIENTS_MAX => match accepted {
                    Ok((stream, _)) => {
                        clients.spawn(serve(stream, Arc::clone(&sink), Arc::clone(&crowd)));
                        if clients.len() > CLIENTS_MAX {
                            crowd.notify_one();
                        }
                    }
                    Err(error) => {
                        // Out of file handles: waiting is all that helps, and the line does not depend on it.
                        tracing::warn!(%error, "the local socket takes no connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = clients.join_next(), if !clients.is_empty() => {
                    // There is room again: a push that nobody took yet is void.
                    let _ = crowd.notified().now_or_never();
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // A file that cannot be removed is replaced by the next start.
        let _ = fs::remove_file(&self.path);
    }
}

async fn serve(stream: UnixStream, sink: RequestSink, crowd: Arc<Notify>) {
    let uid = stream.peer_cred().ok().map(|peer| peer.uid());
    let (read, mut write) = stream.into_split();
    let mut lines = FramedRead::new(read, LinesCodec::new_with_max_length(LINE_BYTES_MAX));
    loop {
        // The one that has waited longest is the first to be told.
        let next = tokio::select! {
            next = next_line(&mut lines, &mut write) => next,
            () = crowd.notified() => None,
        };
        let Some(line) = next else { return };
        let (answer, answered) = oneshot::channel();
        let reply = if sink(ClientRequest { line, uid, answer }) {
            match timeout(ANSWER_MAX, answered).await {
                Ok(Ok(reply)) => reply,
                Ok(Err(_)) => refusal("stopping", "the daemon is stopping; ask again when it runs"),
                Err(_) => refusal("no_answer", "the line gave no answer within two minutes; see `sealgate status`"),
            }
        } else {
            refusal("busy", "the line has no room for another request; ask again")
        };
        if say(&mut write, &reply).await.is_err() {
            return;
        }
    }
}

/// `None` where the connection is over.
async fn next_line(lines: &mut FramedRead<OwnedReadHalf, LinesCodec>, write: &mut OwnedWriteHalf) -> Option<String> {
    let error = match timeout(SILENCE_MAX, lines.next()).await {
        Ok(Some(Ok(line))) => return Some(line),
        Ok(None) | Err(_) => return None,
        Ok(Some(Err(error))) => error,
    };
    let reply = match error {
        LinesCodecError::MaxLineLengthExceeded => {
            refusal("too_long", &format!("a request is one line of at most {LINE_BYTES_MAX} bytes"))
        }
        LinesCodecError::Io(_) => refusal("not_text", "a request is one line of JSON in UTF-8"),
    };
    // The connection ends either way.
    let _ = say(write, &reply).await;
    None
}

async fn say(write: &mut OwnedWriteHalf, reply: &str) -> io::Result<()> {
    let line = format!("{}\n", reply.trim_end());
    timeout(SILENCE_MAX, write.write_all(line.as_bytes())).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// An answer that the line itself could not give. The request was not read, so that its number is unknown.
fn refusal(code: &str, text: &str) -> String {
    ClientAnswer::refusal(0, vec![Reason::new(code, text)]).to_line()
}

impl std::fmt::Display for ControlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ControlError::Taken { path } => {
                write!(
                    f,
                    "{}: another daemon answers on this socket; stop it, or set `socket` in [line]",
                    path.display()
                )
            }
            ControlError::NotASocket { path } => {
                write!(
                    f,
                    "{}: something that is no socket lies there; move it away, or set `socket` in [line]",
                    path.display()
                )
            }
            ControlError::Io { path, error } => {
                write!(
                    f,
                    "{}: {error}; its folder must exist and be writable (systemd: RuntimeDirectory=)",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for ControlError {}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixStream as Client;

    use super::*;

    /// Serves `sink` on a socket in a folder of its own while `ask` runs on another thread.
    async fn while_serving<T: Send + 'static>(sink: RequestSink, ask: impl FnOnce(PathBuf) -> T + Send + 'static) -> T {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("line.sock");
        let control = Control::bind(&path, false).await.expect("nobody is there");
        let asked = tokio::task::spawn_blocking(move || ask(path));
        tokio::select! {
            () = control.run(sink) => unreachable!("it serves for ever"),
            answer = timeout(Duration::from_secs(20), asked) => answer.expect("in time").expect("no panic"),
        }
    }

    fn ask(path: &Path, request: &[u8]) -> String {
        let mut client = Client::connect(path).expect("it listens");
        // The daemon may refuse and close before everything was written.
        let _ = client.write_all(request);
        let mut reply = String::new();
        BufReader::new(client).read_line(&mut reply).expect("an answer");
        reply
    }

    fn echo() -> RequestSink {
        Arc::new(|request| request.answer.send(format!("[{}]", request.line)).is_ok())
    }

    #[tokio::test]
    async fn answers_requests_in_order_and_is_for_its_user_alone() {
        let said = while_serving(echo(), |path| {
            let mode = fs::metadata(&path).expect("it is bound").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let mut client = Client::connect(&path).expect("it listens");
            client.write_all(b"1\n2\r\n3\n").expect("it reads");
            let lines: Vec<String> = BufReader::new(client).lines().take(3).map(|line| line.expect("text")).collect();
            lines
        });
        assert_eq!(said.await, ["[1]", "[2]", "[3]"]);
    }

    #[tokio::test]
    async fn says_so_when_there_is_no_room_and_when_the_line_goes_away() {
        let full: RequestSink = Arc::new(|_| false);
        assert!(while_serving(full, |path| ask(&path, b"x\n")).await.contains("\"busy\""));
        let gone: RequestSink = Arc::new(|request| {
            drop(request);
            true
        });
        assert!(while_serving(gone, |path| ask(&path, b"x\n")).await.contains("\"stopping\""));
    }

    #[tokio::test]
    async fn refuses_a_line_without_end_and_bytes_that_are_no_text() {
        let long = while_serving(echo(), |path| ask(&path, &vec![b'x'; LINE_BYTES_MAX + 8192]));
        assert!(long.await.contains("\"too_long\""));
        let odd = while_serving(echo(), |path| ask(&path, b"\xff\xfe\n"));
        assert!(odd.await.contains("\"not_text\""));
    }

    #[tokio::test]
    async fn one_client_more_than_the_bound_is_served_when_another_leaves() {
        let answer = while_serving(echo(), |path| {
            let mut idle: Vec<Client> =
                (0..CLIENTS_MAX).map(|_| Client::connect(&path).expect("the kernel queues it")).collect();
            let mut late = Client::connect(&path).expect("the kernel queues it");
            late.write_all(b"late\n").expect("the kernel takes it");
            idle.pop();
            let mut reply = String::new();
            BufReader::new(late).read_line(&mut reply).expect("an answer");
            reply
        });
        assert_eq!(answer.await, "[late]\n");
    }

    #[tokio::test]
    async fn connections_that_ask_nothing_lock_nobody_out() {
        let answers = while_serving(echo(), |path| {
            let idle: Vec<Client> =
                (0..3 * CLIENTS_MAX).map(|_| Client::connect(&path).expect("the kernel queues it")).collect();
            let answers: Vec<String> = (0..3 * CLIENTS_MAX).map(|_| ask(&path, b"late\n")).collect();
            drop(idle);
            answers
        });
        assert!(answers.await.iter().all(|answer| answer == "[late]\n"));
    }

    #[tokio::test]
    async fn replaces_a_stale_socket_and_never_a_living_one_or_a_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("line.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("the folder is ours"));
        assert!(path.exists(), "a crash leaves the file");
        let living = Control::bind(&path, true).await.expect("nobody listens any more");
        assert!(matches!(Control::bind(&path, true).await, Err(ControlError::Taken { .. })));
        drop(living);
        assert!(!path.exists());
        fs::write(&path, "precious").expect("the folder is ours");
        assert!(matches!(Control::bind(&path, true).await, Err(ControlError::NotASocket { .. })));
        assert_eq!(fs::read_to_string(&path).expect("still there"), "precious");
    }
}
