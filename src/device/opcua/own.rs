//! Our own application certificate: `own/cert.der` and `private/private.pem` below the PKI folder.
//!
//! Made once, where there is none, and then kept: every server has to be told of a new one. Only `renew` makes another, and keeps the
//! former beside it. Its application URI is read from the certificate itself, so that both agree for ever, also on a machine that was
//! renamed. The key is readable for its owner alone.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Mutex,
};

use opcua::crypto::{CertificateStore, X509, X509Data};

use crate::device::opcua::{names::AlternativeNames, trust::CertificateRefusal};

/// Ten years: a line is visited rarely, and nobody but a person renews.
const DAYS: u32 = 3650;
const KEY_BITS: u32 = 2048;

/// Several devices share a PKI folder; the first of them makes the certificate.
static MAKING: Mutex<()> = Mutex::new(());

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCertificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub application_uri: String,
    /// SHA-1 in hexadecimal digits.
    pub thumbprint: String,
    /// Seconds since 1970.
    pub valid_until_s: i64,
    pub valid_until: String,
    /// Made by this very call: every server has to be told.
    pub is_new: bool,
}

/// The certificate of this PKI folder; made where there is none. Slow where it has to make the key: seconds on a small machine.
pub fn ensure(pki_dir: &Path) -> Result<OwnCertificate, CertificateRefusal> {
    let _one_at_a_time = MAKING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (certificate, key) = paths(pki_dir);
    if certificate.exists() && key.exists() {
        return read(pki_dir);
    }
    if certificate.exists() || key.exists() {
        let (there, lacks) = if key.exists() { (key, certificate) } else { (certificate, key) };
        let why = format!("{} is there without {}; restore it, or renew both", there.display(), lacks.display());
        return Err(CertificateRefusal::OwnUnusable { why });
    }
    make(pki_dir).map_err(|error| unusable(pki_dir, &error))?;
    read(pki_dir).map(|own| OwnCertificate { is_new: true, ..own })
}

/// Makes a new certificate and key; the former ones stay beside them as `*.former`.
pub fn renew(pki_dir: &Path) -> Result<OwnCertificate, CertificateRefusal> {
    let _one_at_a_time = MAKING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (certificate, key) = paths(pki_dir);
    let keep =
        |path: &Path, former: &str| if path.exists() { fs::rename(path, path.with_extension(former)) } else { Ok(()) };
    keep(&key, "pem.former")
        .and_then(|()| keep(&certificate, "der.former"))
        .and_then(|()| make(pki_dir))
        .map_err(|error| unusable(pki_dir, &error))?;
    read(pki_dir).map(|own| OwnCertificate { is_new: true, ..own })
}

/// The certificate of this PKI folder as it is.
pub fn read(pki_dir: &Path) -> Result<OwnCertificate, CertificateRefusal> {
    let (certificate, key) = paths(pki_dir);
    let unreadable = |path: &Path| {
        let why = format!("{} cannot be read; restore it, or renew both", path.display());
        CertificateRefusal::OwnUnusable { why }
    };
    CertificateStore::read_pkey(&key).map_err(|_| unreadable(&key))?;
    let der = fs::read(&certificate).map_err(|_| unreadable(&certificate))?;
    let parsed = X509::from_der(&der).map_err(|_| unreadable(&certificate))?;
    let valid_until = parsed.not_after().map_err(|_| unreadable(&certificate))?;
    let application_uri = AlternativeNames::of(&der).uris.into_iter().next().ok_or_else(|| {
        let why = format!("{} names no application URI; renew it", certificate.display());
        CertificateRefusal::OwnUnusable { why }
    })?;
    Ok(OwnCertificate {
        thumbprint: parsed.thumbprint().as_hex_string(),
        valid_until_s: valid_until.timestamp(),
        valid_until: valid_until.to_string(),
        certificate,
        key,
        application_uri,
        is_new: false,
    })
}

fn paths(pki_dir: &Path) -> (PathBuf, PathBuf) {
    (pki_dir.join("own").join("cert.der"), pki_dir.join("private").join("private.pem"))
}

fn unusable(pki_dir: &Path, error: &io::Error) -> CertificateRefusal {
    CertificateRefusal::OwnUnusable { why: format!("it cannot be made in {}: {error}", pki_dir.display()) }
}

fn make(pki_dir: &Path) -> io::Result<()> {
    let (certificate, key) = paths(pki_dir);
    fs::create_dir_all(pki_dir.join("own"))?;
    // The library writes files as the process's mask allows; nobody else may look into this folder meanwhile.
    let private = pki_dir.join("private");
    if !private.exists() {
        fs::DirBuilder::new().mode(0o700).create(&private)?;
    }
    let host = host();
    let application_uri = format!("urn:{host}:sealgate");
    let data = X509Data {
        key_size: KEY_BITS,
        common_name: format!("Sealgate on {host}"),
        organization: "Sealgate".to_owned(),
        organizational_unit: String::new(),
        country: String::new(),
        state: String::new(),
        alt_host_names: X509Data::alt_host_names(&application_uri, None, true, true, true),
        certificate_duration_days: DAYS,
    };
    let (new_certificate, new_key) = (certificate.with_extension("new"), key.with_extension("new"));
    CertificateStore::create_certificate_and_key(&data, true, &new_certificate, &new_key).map_err(io::Error::other)?;
    fs::set_permissions(&new_key, fs::Permissions::from_mode(0o600))?;
    // The key first: a certificate without its key would be given to servers.
    fs::rename(&new_key, &key)?;
    fs::rename(&new_certificate, &certificate)
}

/// The name of this machine, in characters that a URI and a subject take.
fn host() -> String {
    let name = X509Data::computer_hostnames().into_iter().next().unwrap_or_default();
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')).take(63).collect();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// A PKI folder with a certificate that was made once for all tests: a key takes seconds without optimization.
#[cfg(test)]
pub(super) fn made() -> (&'static Path, OwnCertificate) {
    static FOLDER: std::sync::LazyLock<tempfile::TempDir> = std::sync::LazyLock::new(|| tempfile::tempdir().unwrap());
    let own = ensure(FOLDER.path()).unwrap();
    (FOLDER.path(), own)
}

/// The same certificate in another PKI folder.
#[cfg(test)]
pub(super) fn copied_to(pki_dir: &Path) -> OwnCertificate {
    let (_, made) = made();
    let (certificate, key) = paths(pki_dir);
    for (from, to) in [(made.certificate, certificate), (made.key, key)] {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
    read(pki_dir).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_made_once_with_its_uri_and_hosts_and_a_key_for_its_owner_alone() {
        let (_, made) = made();
        assert!(made.application_uri.starts_with("urn:") && made.application_uri.ends_with(":sealgate"));
        let names = AlternativeNames::of(&fs::read(&made.certificate).unwrap());
        assert!(names.has_host("127.0.0.1") && names.has_host("localhost"), "{names:?}");
        assert_eq!(fs::metadata(&made.key).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(made.key.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn is_kept_until_it_is_renewed_and_never_replaced_by_half() {
        let folder = tempfile::tempdir().unwrap();
        let first = copied_to(folder.path());
        assert_eq!(ensure(folder.path()).unwrap(), OwnCertificate { is_new: false, ..first.clone() });
        let renewed = renew(folder.path()).unwrap();
        assert!(renewed.is_new && renewed.thumbprint != first.thumbprint);
        assert!(first.certificate.with_extension("der.former").exists());
        fs::remove_file(&renewed.key).unwrap();
        let lacking = ensure(folder.path()).unwrap_err().to_string();
        assert!(lacking.contains("without") && renewed.certificate.exists(), "{lacking}");
    }
}
