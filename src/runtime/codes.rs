//! Codes that lie beside the journal: they open what no password does, for whoever may read or write there.
//!
//! - The first account. While nobody has one, the daemon keeps a code there that its own user alone can read.
//! - The way back of an administrator who forgot the password, or of all after a restore. `sealgate user recover` makes a code that it shows
//!   to nobody, and leaves its hash there as long as it asks. The daemon takes it once, where the file is root's or of whom the journal
//!   is, and nobody else may write it.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::runtime::passwords::random;
use crate::wire::checkpoint::hex;
use crate::wire::command::{Reason, Secret};
use crate::wire::digest;

/// Where the code for the first account lies.
fn first_file(journal: &Path) -> PathBuf {
    journal.with_extension("code")
}

/// While nobody has an account, a new code lies beside the journal, for the line's own user alone: whoever can read it may make the first
/// one. There is no password that everybody knows.
pub(super) fn offer_code(journal: &Path, is_nobody_there: bool) {
    let file = first_file(journal);
    // One that is absent is what is wanted.
    let _ = fs::remove_file(&file);
    if !is_nobody_there {
        return;
    }
    let written = random::<16>().map_err(|reason| reason.text).and_then(|code| {
        let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
        let write = made.and_then(|mut made| made.write_all(format!("{}\n", hex(&code)).as_bytes()));
        write.map_err(|error| error.to_string())
    });
    if let Err(error) = written {
        tracing::warn!(file = %file.display(), error, "first_account_code_not_written");
    }
}

/// Hashes are compared, so that the time tells nothing of the code.
pub(super) fn prove_first(journal: &Path, given: &Secret) -> Result<(), Reason> {
    let file = first_file(journal);
    let code = fs::read_to_string(&file).unwrap_or_default();
    let is_right = !code.trim().is_empty()
        && digest::sha256_hex(code.trim().as_bytes()) == digest::sha256_hex(given.reveal().trim().as_bytes());
    let text =
        || format!("the code is not the one in {}; only the user that runs the daemon may read it", file.display());
    is_right.then_some(()).ok_or_else(|| Reason::new("wrong_code", text()))
}

/// A way back that stands open as long as this lives.
#[derive(Debug)]
pub struct WayBack {
    file: PathBuf,
    code: String,
}

impl WayBack {
    /// Leaves the hash of a new code beside the journal. It tells nothing of the code: the daemon may be another user, and must read it.
    pub fn open(journal: &Path) -> io::Result<Self> {
        let file = way_file(journal);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let code = hex(&random::<32>().map_err(|reason| io::Error::other(reason.text))?);
        let mut made = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&file)?;
        let way = Self { file, code };
        made.write_all(format!("{}\n", digest::sha256_hex(way.code.as_bytes())).as_bytes())?;
        made.set_permissions(fs::Permissions::from_mode(0o644))?;
        Ok(way)
    }

    pub fn code(&self) -> &str {
        &self.code
    }
}

impl Drop for WayBack {
    fn drop(&mut self) {
        // The daemon has removed it where it took it.
        let _ = fs::remove_file(&self.file);
    }
}

fn way_file(journal: &Path) -> PathBuf {
    journal.with_extension("recovery")
}

/// Good once: one that cannot be removed is not taken.
pub(super) fn prove_way(journal: &Path, given: &Secret) -> Result<(), Reason> {
    let file = way_file(journal);
    let hash = fs::read_to_string(&file).unwrap_or_default();
    let is_right = is_trusted(journal, &file) && hash.trim() == digest::sha256_hex(given.reveal().as_bytes());
    let text = || {
        let file = file.display();
        format!(
            "{file} does not prove it: it is left there by `sealgate user recover`, by root or by the user that runs the daemon"
        )
    };
    (is_right && fs::remove_file(&file).is_ok()).then_some(()).ok_or_else(|| Reason::new("wrong_code", text()))
}

/// Nobody but root and the owner of the journal can have written it.
fn is_trusted(journal: &Path, file: &Path) -> bool {
    let (Ok(at), Ok(journal)) = (fs::symlink_metadata(file), fs::metadata(journal)) else { return false };
    at.is_file() && [0, journal.uid()].contains(&at.uid()) && at.mode() & 0o022 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_for_one_user_and_goes_with_the_first_account() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let journal = folder.path().join("line.db");
        offer_code(&journal, true);
        let file = first_file(&journal);
        assert_eq!(fs::metadata(&file).expect("written").permissions().mode() & 0o777, 0o600);
        let code = fs::read_to_string(&file).expect("readable");
        assert!(prove_first(&journal, &secret(&code)).is_ok());
        let refused = prove_first(&journal, &secret("guess")).expect_err("wrong");
        assert!(refused.text.contains("line.code") && !refused.text.contains(code.trim()), "{}", refused.text);
        offer_code(&journal, true);
        assert!(prove_first(&journal, &secret(&code)).is_err(), "each start has its own");
        offer_code(&journal, false);
        assert!(!file.exists() && prove_first(&journal, &secret("")).is_err());
    }

    // F146
    #[test]
    fn the_way_back_is_good_once_and_for_whoever_may_write_beside_the_journal() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = folder.path().join("line.db");
        fs::write(&journal, "").expect("ours");
        let file = folder.path().join("line.recovery");
        let way = WayBack::open(&journal).expect("ours");
        let code = secret(way.code());
        assert!(!fs::read_to_string(&file).expect("there").contains(way.code()), "its hash alone");
        assert!(prove_way(&journal, &secret("guess")).is_err());
        assert!(prove_way(&journal, &code).is_ok());
        assert!(prove_way(&journal, &code).is_err(), "played again");
        let way = WayBack::open(&journal).expect("again");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("ours");
        assert!(prove_way(&journal, &secret(way.code())).is_err(), "anybody may have written it");
        fs::rename(&file, folder.path().join("elsewhere")).expect("ours");
        std::os::unix::fs::symlink("elsewhere", &file).expect("ours");
        assert!(prove_way(&journal, &secret(way.code())).is_err(), "it lies elsewhere");
        drop(way);
        assert!(!file.exists() && fs::symlink_metadata(&file).is_err(), "it is open as long as it is asked");
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }
}
