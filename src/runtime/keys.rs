//! The key that signs a journal, in files: made at the first start, shown, exchanged.
//!
//! - The key file (mode 0600) holds the secret in one line, `PRIVATE+KEY+…`, and after an exchange the line
//!   `replaces KEY_ID SIGNATURE`: the consent of the key before it, which the next start journals (`key_announced`).
//! - The public file holds one public key a line, the newest last; older ones stay, since they prove older checkpoints.
//! - Who can read the key file can sign for the line. What was signed and left the computer before that stays proven.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::config::Proof;
use crate::wire::checkpoint::{Key, KeyRing};

/// The key of a line and what is known of it.
#[derive(Debug)]
pub struct Signing {
    pub key: Key,
    /// The key that it replaced, and that one's signature over it.
    pub replaces: Option<(String, String)>,
    /// Public keys, this one among them.
    pub ring: KeyRing,
}

#[derive(Debug)]
pub struct KeysError {
    path: PathBuf,
    what: String,
}

const KEY_HEAD: &str = "# Sealgate's signing key. Whoever can read it can sign for this line.\n";
const PUBLIC_HEAD: &str = "# Public keys of a Sealgate line: `sealgate audit verify --public-key` takes this file.\n";

/// The key of `line`; made where there is none.
pub fn load_or_make(files: &Proof, line: &str) -> Result<Signing, KeysError> {
    let (key, replaces) = match read(&files.key)? {
        Some(found) => found,
        None => {
            let key = generate(line).map_err(failed(&files.key))?;
            write_secret(&files.key, &key, None).map_err(failed(&files.key))?;
            (key, None)
        }
    };
    if key.line() != line {
        let what = format!("it is the key of line {}, not of {line}; name another in [journal] key", key.line());
        return Err(KeysError { path: files.key.clone(), what });
    }
    let ring = publish(&files.public_keys, &key)?;
    Ok(Signing { key, replaces, ring })
}

/// A new key, with the consent of the one before it. The daemon signs with it from its next start on.
pub fn rotate(files: &Proof, line: &str) -> Result<Signing, KeysError> {
    let old = load_or_make(files, line)?;
    let key = generate(line).map_err(failed(&files.key))?;
    let replaces = Some((old.key.id(), old.key.introduce(&key.public())));
    // The public one first: a key that signs and that nobody knows would be worse than one that is known and never signs.
    let ring = publish(&files.public_keys, &key)?;
    write_secret(&files.key, &key, replaces.as_ref()).map_err(failed(&files.key))?;
    Ok(Signing { key, replaces, ring })
}

fn generate(line: &str) -> io::Result<Key> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(Key::new(line, &seed))
}

type Found = (Key, Option<(String, String)>);

fn read(path: &Path) -> Result<Option<Found>, KeysError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path)(error)),
    };
    let mode = fs::metadata(path).map_err(failed(path))?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777), "key_file_is_open_to_others");
    }
    let lines: Vec<&str> =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let bad = |what: String| KeysError { path: path.to_owned(), what };
    let (secret, rest) = lines.split_first().ok_or_else(|| bad("there is no key in it".into()))?;
    let key = Key::parse(secret).map_err(|error| bad(error.to_string()))?;
    let replaces = rest.iter().find_map(|line| {
        let (id, signature) = line.strip_prefix("replaces ")?.split_once(' ')?;
        Some((id.to_owned(), signature.to_owned()))
    });
    Ok(Some((key, replaces)))
}

/// Whole or not at all: written beside, flushed, put in place.
fn write_secret(path: &Path, key: &Key, replaces: Option<&(String, String)>) -> io::Result<()> {
    let mut text = format!("{KEY_HEAD}{}\n", key.to_text());
    if let Some((id, signature)) = replaces {
        text.push_str(&format!("replaces {id} {signature}\n"));
    }
    put(path, &text, 0o600)
}

/// The public file with this key as its last; all of its keys.
fn publish(path: &Path, key: &Key) -> Result<KeyRing, KeysError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => PUBLIC_HEAD.to_owned(),
        Err(error) => return Err(failed(path)(error)),
    };
    let line = key.public().to_text();
    let whole =
        if text.lines().any(|known| known.trim() == line) { text } else { format!("{}\n{line}\n", text.trim_end()) };
    let ring = KeyRing::parse(&whole).map_err(|error| KeysError { path: path.to_owned(), what: error.to_string() })?;
    if fs::read_to_string(path).ok().as_deref() != Some(whole.as_str()) {
        put(path, &whole, 0o644).map_err(failed(path))?;
    }
    Ok(ring)
}

fn put(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let beside = PathBuf::from(name);
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn failed(path: &Path) -> impl Fn(io::Error) -> KeysError {
    let path = path.to_owned();
    move |error| KeysError { path: path.clone(), what: error.to_string() }
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "signing key, {}: {}; it must be a file of the daemon's user, in a folder that it may write",
            self.path.display(),
            self.what
        )
    }
}

impl std::error::Error for KeysError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> Proof {
        let path = |name| folder.join(name);
        Proof { key: path("l.key"), public_keys: path("l.pub"), anchors: path("l.anchors") }
    }

    #[test]
    fn a_key_is_made_once_for_its_user_alone_and_its_public_key_for_everybody() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = files(folder.path());
        let made = load_or_make(&files, "a/l1").expect("made");
        assert_eq!(load_or_make(&files, "a/l1").expect("read").key.id(), made.key.id());
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&files.key), mode(&files.public_keys)), (0o600, 0o644));
        assert!(!fs::read_to_string(&files.public_keys).expect("there").contains("PRIVATE"));
        assert!(load_or_make(&files, "a/l2").is_err(), "another line's key signs nothing");
    }

    // F164
    #[test]
    fn an_exchanged_key_has_the_consent_of_the_one_before_and_the_old_public_key_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = files(folder.path());
        let old = load_or_make(&files, "a/l1").expect("made");
        let new = rotate(&files, "a/l1").expect("exchanged");
        assert_ne!(old.key.id(), new.key.id());
        assert_eq!(new.ring.ids().count(), 2);
        let found = load_or_make(&files, "a/l1").expect("read");
        let (id, signature) = found.replaces.expect("consent");
        let mut known: KeyRing = [old.key.public()].into_iter().collect();
        assert!(known.add_introduced(found.key.public(), &id, &signature));
        fs::remove_file(&files.key).expect("lost");
        let third = load_or_make(&files, "a/l1").expect("made anew");
        assert_eq!((third.replaces, third.ring.ids().count()), (None, 3));
    }

    #[test]
    fn a_file_that_is_no_key_is_named_and_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = files(folder.path());
        fs::write(&files.key, "rubbish").expect("written");
        let error = load_or_make(&files, "a/l1").expect_err("no key");
        assert!(error.to_string().contains("l.key"), "{error}");
        assert_eq!(fs::read_to_string(&files.key).expect("there"), "rubbish");
    }
}
