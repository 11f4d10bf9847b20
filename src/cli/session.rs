//! What `login` leaves behind: one file for each daemon, for this user alone, in the folder that goes with the computer's own log-in
//! (`$XDG_RUNTIME_DIR`), else in the home folder.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::outcome::{Exit, Failure};

#[derive(Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) user: String,
    pub(super) token: String,
}

/// The session with the daemon of this socket; none where nobody logged in, or where the file cannot be read.
pub(super) fn of(socket: &Path) -> Option<Session> {
    let text = fs::read_to_string(file(socket)?).ok()?;
    serde_json::from_str(&text).ok()
}

pub(super) fn keep(socket: &Path, session: &Session) -> Result<(), Failure> {
    let file = file(socket).ok_or_else(|| {
        Exit::Io.failure("the session has no place: neither XDG_RUNTIME_DIR nor HOME names a folder".to_owned())
    })?;
    write(&file, session).map_err(|error| Exit::Io.failure(format!("{}: {error}", file.display())))
}

pub(super) fn forget(socket: &Path) {
    // One that is absent is what is wanted.
    let _ = file(socket).map(fs::remove_file);
}

fn write(file: &Path, session: &Session) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new(""));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // One of another user would not be replaced, and what is begun anew has no other mode than ours.
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    made.write_all(&serde_json::to_vec(session)?)
}

fn file(socket: &Path) -> Option<PathBuf> {
    let named = |key: &str| env::var_os(key).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = named("XDG_RUNTIME_DIR").map(|folder| folder.join("sealgate"));
    let folder = folder.or_else(|| named("HOME").map(|home| home.join(".sealgate")))?;
    Some(folder.join(name(socket)))
}

/// The whole path of the socket, so that two lines of one computer have two sessions.
fn name(socket: &Path) -> String {
    let full = std::path::absolute(socket).unwrap_or_else(|_| socket.to_owned());
    let plain = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' => char::from(*byte).to_string(),
        other => format!("_{other:02x}"),
    };
    let name: String = full.as_os_str().as_encoded_bytes().iter().map(plain).collect();
    format!("{name}.session")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_session_is_for_its_user_alone_and_replaces_the_one_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("sealgate").join("s.session");
        for token in ["first", "second"] {
            let session = Session { user: "mm".to_owned(), token: token.to_owned() };
            write(&file, &session).expect("written");
            assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
        }
        assert!(fs::read_to_string(&file).expect("readable").contains("second"));
    }

    #[test]
    fn each_socket_has_a_file_of_its_own() {
        assert_ne!(name(Path::new("/run/a/b.sock")), name(Path::new("/run/a_b.sock")));
        assert!(!name(Path::new("/run/a.sock")).contains('/'));
    }
}
