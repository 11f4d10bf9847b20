//! Our own application certificate and its key: `own/cert.der` and `private/private.pem` below the PKI folder.
//!
//! Made once, where there is none, and then kept: every server has to be told of a new one. Only a person asks for another. Its
//! application URI is read from the certificate itself, so that both agree for ever, also on a machine that was renamed. The key is
//! readable for its owner alone.
//!
//! A new pair is made whole beside its place, as `next`, and stays there until it is taken. A cut at any instant leaves a whole pair in
//! force: `next` becomes `taken` in one rename, which decides, and whoever looks at the folder after that finishes the way. The pair
//! before stays in `former`.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use opcua::crypto::{CertificateStore, X509, X509Data};

use crate::device::{opcua::names::AlternativeNames, refusal::CertificateRefusal, settings::Own};

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

/// Where a pair lies below the PKI folder: its certificate, then its key.
pub(super) fn places(own: Own) -> (&'static str, &'static str) {
    match own {
        Own::InPlace => ("own/cert.der", "private/private.pem"),
        Own::Next => ("next/cert.der", "next/private.pem"),
    }
}

/// The certificate of this PKI folder; made where there is none. Slow where it has to make the key: seconds on a small machine.
pub fn ensure(pki_dir: &Path) -> Result<OwnCertificate, CertificateRefusal> {
    let _one_at_a_time = settled(pki_dir)?;
    let (certificate, key) = paths(pki_dir, Own::InPlace);
    if certificate.exists() && key.exists() {
        return look(pki_dir, Own::InPlace);
    }
    if certificate.exists() || key.exists() {
        let (there, lacks) = if key.exists() { (key, certificate) } else { (certificate, key) };
        let why = format!(
            "{} is there without {}; restore it, or make both anew: sealgate opcua renew",
            there.display(),
            lacks.display()
        );
        return Err(CertificateRefusal::OwnUnusable { why });
    }
    // Somebody may have been told to trust the one that waits.
    waiting_or_made(pki_dir)?;
    take(pki_dir).map_err(|error| unusable(pki_dir, &error))?;
    look(pki_dir, Own::InPlace).map(|own| OwnCertificate { is_new: true, ..own })
}

/// The certificate of this PKI folder as it is.
pub fn read(pki_dir: &Path) -> Result<OwnCertificate, CertificateRefusal> {
    let _one_at_a_time = settled(pki_dir)?;
    look(pki_dir, Own::InPlace)
}

/// The pair that is to come: the one that waits, or a new one where none does that is of use.
pub(super) fn next(pki_dir: &Path) -> Result<OwnCertificate, CertificateRefusal> {
    let _one_at_a_time = settled(pki_dir)?;
    is_ours(pki_dir)?;
    waiting_or_made(pki_dir)
}

fn waiting_or_made(pki_dir: &Path) -> Result<OwnCertificate, CertificateRefusal> {
    match look(pki_dir, Own::Next) {
        Ok(own) if own.valid_until_s > super::connect::now_s() => return Ok(own),
        Ok(_) | Err(_) => {}
    }
    make(pki_dir).map_err(|error| unusable(pki_dir, &error))?;
    look(pki_dir, Own::Next).map(|own| OwnCertificate { is_new: true, ..own })
}

/// The one renewal that is at work in a PKI folder, as long as it lives.
#[derive(Debug)]
pub struct Renewal {
    pki_dir: PathBuf,
    has_former: bool,
    /// The open folder is the lock, which the system frees however the process ends.
    _folder: fs::File,
}

impl Renewal {
    /// None while another is at work there.
    pub fn begin(pki_dir: &Path) -> Result<Option<Self>, CertificateRefusal> {
        let failed = |error: io::Error| unusable(pki_dir, &error);
        is_ours(pki_dir)?;
        fs::create_dir_all(pki_dir).map_err(failed)?;
        let folder = fs::File::open(pki_dir).map_err(failed)?;
        match folder.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        let _one_at_a_time = settled(pki_dir)?;
        let (certificate, key) = paths(pki_dir, Own::InPlace);
        let has_former = certificate.exists() || key.exists();
        Ok(Some(Self { pki_dir: pki_dir.to_owned(), has_former, _folder: folder }))
    }

    /// Whether something of a pair was in place when this began. The first pair needs nobody's consent: it replaces none.
    pub fn has_former(&self) -> bool {
        self.has_former
    }

    /// The pair that is to come.
    pub fn next(&self) -> Result<OwnCertificate, CertificateRefusal> {
        next(&self.pki_dir)
    }

    /// Puts the pair that is to come into its place; the one before is in `former` then.
    pub fn put_in_place(&self) -> Result<OwnCertificate, CertificateRefusal> {
        let _one_at_a_time = settled(&self.pki_dir)?;
        is_ours(&self.pki_dir)?;
        look(&self.pki_dir, Own::Next)?;
        take(&self.pki_dir).map_err(|error| unusable(&self.pki_dir, &error))?;
        look(&self.pki_dir, Own::InPlace)
    }
}

/// A key that another user makes is one that the line's user cannot read.
fn is_ours(pki_dir: &Path) -> Result<(), CertificateRefusal> {
    let (_, key) = paths(pki_dir, Own::InPlace);
    let Some((owned, owner)) =
        [key.as_path(), pki_dir].into_iter().find_map(|path| Some((path, fs::metadata(path).ok()?.uid())))
    else {
        return Ok(());
    };
    let caller = rustix::process::geteuid().as_raw();
    if owner == caller {
        return Ok(());
    }
    let why = format!("{} belongs to user {owner}, and this is user {caller}; run as the line's user", owned.display());
    Err(CertificateRefusal::OwnUnusable { why })
}

fn look(pki_dir: &Path, own: Own) -> Result<OwnCertificate, CertificateRefusal> {
    let (certificate, key) = paths(pki_dir, own);
    let flaw = |path: &Path, what: &str| {
        let why = format!("{} {what}; restore it, or make both anew: sealgate opcua renew", path.display());
        CertificateRefusal::OwnUnusable { why }
    };
    let unreadable = |path: &Path| flaw(path, "cannot be read");
    let private = CertificateStore::read_pkey(&key).map_err(|_| unreadable(&key))?;
    let der = fs::read(&certificate).map_err(|_| unreadable(&certificate))?;
    let parsed = X509::from_der(&der).map_err(|_| unreadable(&certificate))?;
    let public = private.public_key_to_info().map_err(|_| unreadable(&key))?;
    // A certificate carries its public key as it is.
    let public = public.subject_public_key.raw_bytes();
    if !der.windows(public.len().max(1)).any(|bytes| bytes == public) {
        return Err(flaw(&certificate, &format!("is not made for the key {}", key.display())));
    }
    let valid_until = parsed.not_after().map_err(|_| unreadable(&certificate))?;
    let uris = AlternativeNames::of(&der).uris;
    let application_uri = uris.into_iter().next().ok_or_else(|| flaw(&certificate, "names no application URI"))?;
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

fn paths(pki_dir: &Path, own: Own) -> (PathBuf, PathBuf) {
    let (certificate, key) = places(own);
    (pki_dir.join(certificate), pki_dir.join(key))
}

fn unusable(pki_dir: &Path, error: &io::Error) -> CertificateRefusal {
    CertificateRefusal::OwnUnusable { why: format!("it cannot be made in {}: {error}", pki_dir.display()) }
}

/// Makes a pair as `next`, whole or not at all; one that waited there goes.
fn make(pki_dir: &Path) -> io::Result<()> {
    let making = pki_dir.join("next.new");
    remove(&making)?;
    fs::create_dir_all(pki_dir)?;
    create_private(&making)?;
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
    let (certificate, key) = (making.join("cert.der"), making.join("private.pem"));
    let (made, private) = X509::cert_and_pkey(&data).map_err(io::Error::other)?;
    let pem = private.to_der().map_err(io::Error::other)?;
    // The default ends lines as this system does; the library's own way of writing ends them so that openssl reads none.
    let pem = pem.to_pem("PRIVATE KEY", Default::default()).map_err(io::Error::other)?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&key)?;
    file.write_all(pem.as_bytes())?;
    fs::write(&certificate, made.to_der().map_err(io::Error::other)?)?;
    // Whoever looks after a server fetches the certificate here.
    fs::set_permissions(&certificate, fs::Permissions::from_mode(0o644))?;
    fs::set_permissions(&making, fs::Permissions::from_mode(0o755))?;
    for path in [&key, &certificate, &making] {
        sync(path)?;
    }
    remove(&pki_dir.join("next"))?;
    fs::rename(&making, pki_dir.join("next"))?;
    sync(pki_dir)
}

/// The steps of `next` to its place. Before `decide` the pair in place counts, from it on the one in `taken`, whichever of its files
/// are in place already.
const STEPS: [fn(&Path) -> io::Result<()>; 5] = [keep_former, decide, place_key, place_certificate, forget];
const DECIDED: usize = 2;

fn take(pki_dir: &Path) -> io::Result<()> {
    STEPS.iter().try_for_each(|step| step(pki_dir))
}

/// Nobody looks at the pair before a way that was cut off is finished, and nobody of this process meanwhile.
fn settled(pki_dir: &Path) -> Result<MutexGuard<'static, ()>, CertificateRefusal> {
    let one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if pki_dir.join("taken").exists() {
        let finished = STEPS.iter().skip(DECIDED).try_for_each(|step| step(pki_dir));
        finished.map_err(|error| unusable(pki_dir, &error))?;
    }
    Ok(one_at_a_time)
}

fn keep_former(pki_dir: &Path) -> io::Result<()> {
    let (certificate, key) = paths(pki_dir, Own::InPlace);
    let there: Vec<(PathBuf, &str)> =
        [(certificate, "cert.der"), (key, "private.pem")].into_iter().filter(|(path, _)| path.exists()).collect();
    if there.is_empty() {
        return Ok(());
    }
    let (keeping, former) = (pki_dir.join("former.new"), pki_dir.join("former"));
    remove(&keeping)?;
    create_private(&keeping)?;
    for (path, name) in there {
        fs::copy(path, keeping.join(name))?;
        sync(&keeping.join(name))?;
    }
    sync(&keeping)?;
    remove(&former)?;
    fs::rename(keeping, former)
}

fn decide(pki_dir: &Path) -> io::Result<()> {
    fs::rename(pki_dir.join("next"), pki_dir.join("taken"))?;
    sync(pki_dir)
}

fn place_key(pki_dir: &Path) -> io::Result<()> {
    let (_, key) = paths(pki_dir, Own::InPlace);
    let folder = pki_dir.join("private");
    if !folder.exists() {
        create_private(&folder)?;
    }
    place(&pki_dir.join("taken/private.pem"), &key, &folder)
}

fn place_certificate(pki_dir: &Path) -> io::Result<()> {
    let (certificate, _) = paths(pki_dir, Own::InPlace);
    let folder = pki_dir.join("own");
    fs::create_dir_all(&folder)?;
    place(&pki_dir.join("taken/cert.der"), &certificate, &folder)
}

/// Another process may have finished the way first.
fn place(from: &Path, to: &Path, folder: &Path) -> io::Result<()> {
    is_gone(fs::rename(from, to))?;
    sync(folder)
}

fn forget(pki_dir: &Path) -> io::Result<()> {
    is_gone(fs::remove_dir(pki_dir.join("taken")))?;
    sync(pki_dir)
}

fn remove(folder: &Path) -> io::Result<()> {
    is_gone(fs::remove_dir_all(folder))
}

fn is_gone(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

fn create_private(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(folder)
}

fn sync(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
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
    let (certificate, key) = paths(pki_dir, Own::InPlace);
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
    fn is_kept_until_another_is_taken_and_never_replaced_by_half() {
        let folder = tempfile::tempdir().unwrap();
        let pki = folder.path();
        let first = copied_to(pki);
        assert_eq!(ensure(pki).unwrap(), OwnCertificate { is_new: false, ..first.clone() });
        fs::create_dir_all(pki.join("next.new")).unwrap();
        fs::write(pki.join("next.new/private.pem"), "cut").unwrap();
        fs::create_dir_all(pki.join("next")).unwrap();
        let renewal = Renewal::begin(pki).unwrap().unwrap();
        assert!(renewal.put_in_place().is_err(), "half a pair is none");
        assert!(renewal.has_former());
        let waiting = renewal.next().unwrap();
        assert!(waiting.is_new && waiting.thumbprint != first.thumbprint);
        assert_eq!(ensure(pki).unwrap().thumbprint, first.thumbprint, "what waits counts for nothing");
        assert_eq!(next(pki).unwrap(), OwnCertificate { is_new: false, ..waiting.clone() }, "it waits");
        let placed = renewal.put_in_place().unwrap();
        assert_eq!(placed.thumbprint, waiting.thumbprint);
        assert_eq!(fs::metadata(&placed.key).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(pki.join("former/cert.der")).unwrap(), fs::read(made().1.certificate).unwrap());
        assert_eq!(fs::read(pki.join("former/private.pem")).unwrap(), fs::read(made().1.key).unwrap());
        assert!(!waiting.certificate.exists());
        fs::remove_file(&placed.key).unwrap();
        let lacking = ensure(pki).unwrap_err().to_string();
        assert!(lacking.contains("without") && placed.certificate.exists(), "{lacking}");
        fs::copy(pki.join("former/private.pem"), &placed.key).unwrap();
        let strange = ensure(pki).unwrap_err().to_string();
        assert!(strange.contains("is not made for the key") && strange.contains("sealgate opcua renew"), "{strange}");
    }

    #[test]
    fn the_first_pair_is_the_one_that_waits() {
        let folder = tempfile::tempdir().unwrap();
        let waiting = next(folder.path()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let next = waiting.certificate.parent().unwrap();
        assert_eq!(
            (mode(next), mode(&waiting.certificate), mode(&waiting.key)),
            (0o755, 0o644, 0o600),
            "to be fetched"
        );
        let pem = fs::read_to_string(&waiting.key).unwrap();
        assert!(pem.lines().count() > 10 && !pem.contains('\r'), "lines that every tool reads");
        let first = ensure(folder.path()).unwrap();
        assert_eq!((first.thumbprint, first.is_new), (waiting.thumbprint, true), "somebody was told to trust it");
    }

    #[test]
    fn one_renewal_at_a_time_is_at_work_in_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let pki = folder.path().join("pki");
        let first = Renewal::begin(&pki).unwrap().unwrap();
        assert!(!first.has_former());
        assert!(Renewal::begin(&pki).unwrap().is_none(), "another is at work");
        drop(first);
        assert!(Renewal::begin(&pki).unwrap().is_some());
    }

    /// Files that the library wrote before: its line ends are a carriage return alone.
    #[test]
    fn a_key_with_other_line_ends_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let own = copied_to(folder.path());
        let pem = fs::read_to_string(&own.key).unwrap();
        fs::write(&own.key, pem.replace('\n', "\r")).unwrap();
        assert_eq!(read(folder.path()).unwrap(), own);
    }

    /// The files as a `SIGKILL` leaves them after so many steps of the way.
    #[test]
    fn a_way_that_is_cut_off_anywhere_leaves_a_whole_pair() {
        let folder = tempfile::tempdir().unwrap();
        let fresh = folder.path().join("fresh");
        let (former, coming) = (copied_to(&fresh).thumbprint, next(&fresh).unwrap().thumbprint);
        let copy = |to: &Path| {
            for place in [Own::InPlace, Own::Next].map(places) {
                for path in [place.0, place.1] {
                    fs::create_dir_all(to.join(path).parent().unwrap()).unwrap();
                    fs::copy(fresh.join(path), to.join(path)).unwrap();
                }
            }
        };
        for steps in 0..=STEPS.len() {
            let pki = folder.path().join(steps.to_string());
            copy(&pki);
            STEPS.iter().take(steps).for_each(|step| step(&pki).unwrap());
            let counts = if steps < DECIDED { &former } else { &coming };
            assert_eq!(&ensure(&pki).unwrap().thumbprint, counts, "cut off after {steps} steps");
            assert_eq!(&read(&pki).unwrap().thumbprint, counts);
            assert_eq!(steps == 0, !pki.join("former").exists(), "the former pair is kept before anything changes");
            if steps < DECIDED {
                let renewal = Renewal::begin(&pki).unwrap().unwrap();
                assert_eq!(renewal.put_in_place().unwrap().thumbprint, coming, "a further try goes through");
            }
        }
    }
}
