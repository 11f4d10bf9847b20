//! Whose certificate is trusted: three folders of DER files below the PKI folder, `pending`, `trusted` and `rejected`.
//!
//! A certificate that nobody knows is laid into `pending`, and the connection is refused: only a person trusts. A file belongs to its
//! folder by its name, `SUBJECT [THUMBPRINT].der`, and by its content; one that a person put into a folder under another name counts as
//! well. The folders are read anew at every connection, so that a change needs no restart. Nothing here connects to anything.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use opcua::crypto::{CertificateStore, X509};

use crate::device::{
    opcua::{names::AlternativeNames, own},
    refusal::{CertificateRefusal, KEY_BITS_MIN},
    settings::Own,
};

/// Unknown certificates that are kept for a person; a server that shows a new one at every connection must not fill the disk.
const PENDING_MAX: usize = 64;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shelf {
    Pending,
    Trusted,
    Rejected,
}

impl Shelf {
    pub const ALL: [Shelf; 3] = [Shelf::Pending, Shelf::Trusted, Shelf::Rejected];

    pub fn name(self) -> &'static str {
        match self {
            Shelf::Pending => "pending",
            Shelf::Trusted => "trusted",
            Shelf::Rejected => "rejected",
        }
    }
}

/// One certificate on a shelf, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelved {
    pub shelf: Shelf,
    pub file: PathBuf,
    /// SHA-1 of the certificate in hexadecimal digits, as OPC UA and the servers' tools show it.
    pub thumbprint: String,
    pub subject: String,
    pub names: AlternativeNames,
    pub valid_from: String,
    pub valid_until: String,
}

/// A file on a shelf that counts for nothing there, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strange {
    pub shelf: Shelf,
    pub file: PathBuf,
    pub why: String,
}

/// All that lies on the shelves, in the order of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shelves {
    pub certificates: Vec<Shelved>,
    pub strange: Vec<Strange>,
}

/// How far the latest time may lag behind before it is written again.
const LATEST_STEP_S: i64 = 3600;

/// What a server shows, and whom we meant to reach.
pub struct Shown<'a> {
    pub der: &'a [u8],
    /// The host that was dialled, or what the configuration says instead.
    pub host: &'a str,
    pub application_uri: &'a str,
    /// Seconds since 1970.
    pub now_s: i64,
}

/// The three folders.
#[derive(Clone, Debug)]
pub struct TrustList {
    folder: PathBuf,
}

impl TrustList {
    pub fn new(pki_dir: &Path) -> Self {
        Self { folder: pki_dir.to_owned() }
    }

    /// All that lies on the shelves; what is no certificate is named as well, as a person believes that it counts.
    pub fn list(&self) -> io::Result<Shelves> {
        let mut found = Shelves::default();
        for shelf in Shelf::ALL {
            for (file, read) in self.entries(shelf)? {
                match read.and_then(|der| shelved(shelf, &file, &der)) {
                    Ok(certificate) => found.certificates.push(certificate),
                    Err(error) => found.strange.push(Strange { shelf, file, why: error.to_string() }),
                }
            }
        }
        Ok(found)
    }

    /// Lays the certificate in this file, DER or PEM, onto a shelf, and takes it from every other. Our own is no server's.
    pub fn add(&self, file: &Path, shelf: Shelf) -> io::Result<Shelved> {
        let der = certificate_in(file)?;
        let ours = [Own::InPlace, Own::Next].map(|own| self.folder.join(own::places(own).0));
        if ours.iter().any(|ours| fs::read(ours).is_ok_and(|ours| ours == der)) {
            let ours = "is our own certificate: the servers have to trust it, and we trust theirs";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, ours));
        }
        let stored = self.store(shelf, &der)?;
        for other in Shelf::ALL.into_iter().filter(|other| *other != shelf) {
            if let Some(elsewhere) = self.find(other, &der)? {
                fs::remove_file(elsewhere)?;
            }
        }
        shelved(shelf, &stored, &der)
    }

    /// Moves the certificate with this thumbprint, or one whose thumbprint begins so, to another shelf. `None` where there is none or
    /// more than one.
    pub fn put(&self, thumbprint: &str, shelf: Shelf) -> io::Result<Option<Shelved>> {
        let wanted = thumbprint.to_ascii_lowercase().replace([':', ' '], "");
        let mut found = self.list()?.certificates;
        found.retain(|shelved| wanted.len() >= 8 && shelved.thumbprint.starts_with(&wanted));
        let Some(thumbprint) = found.first().map(|shelved| shelved.thumbprint.clone()) else { return Ok(None) };
        if found.iter().any(|shelved| shelved.thumbprint != thumbprint) {
            return Ok(None);
        }
        let mut kept = None;
        for shelved in found {
            let der = fs::read(&shelved.file)?;
            let file = self.store(shelf, &der)?;
            if shelved.file != file {
                fs::remove_file(&shelved.file)?;
            }
            kept = Some(Shelved { shelf, file, ..shelved });
        }
        Ok(kept)
    }

    /// Lays a certificate (DER) onto a shelf, under its canonical name.
    pub fn store(&self, shelf: Shelf, der: &[u8]) -> io::Result<PathBuf> {
        let certificate = X509::from_der(der).map_err(|_| no_certificate())?;
        let file = self.folder.join(shelf.name()).join(CertificateStore::cert_file_name(&certificate));
        if fs::read(&file).is_ok_and(|there| there == der) {
            return Ok(file);
        }
        fs::create_dir_all(self.folder.join(shelf.name()))?;
        // Whole or not at all: a cut file would not be found again by its content.
        let whole = file.with_extension("new");
        fs::write(&whole, der)?;
        fs::rename(&whole, &file)?;
        Ok(file)
    }

    /// The time that counts for certificates: never before the latest that was seen here, so that a clock that is set back makes no
    /// expired certificate good again. Kept in `latest-time`, which a person removes after a clock that ran far ahead.
    pub fn time_that_counts(&self, now_s: i64) -> i64 {
        let file = self.folder.join("latest-time");
        let latest = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        if now_s > LATEST_STEP_S.saturating_add(latest) {
            // What cannot be written here shows as soon as a certificate has to be.
            let _ = fs::create_dir_all(&self.folder).and_then(|()| fs::write(&file, format!("{now_s}\n")));
        }
        now_s.max(latest)
    }

    /// Good for a session, or why not. An unknown certificate is laid into `pending`.
    pub fn judge(&self, shown: &Shown<'_>) -> Result<(), CertificateRefusal> {
        if shown.der.is_empty() {
            return Err(CertificateRefusal::Missing);
        }
        let certificate = X509::from_der(shown.der).map_err(|_| CertificateRefusal::Unreadable)?;
        let thumbprint = certificate.thumbprint().as_hex_string();
        let folder =
            |error: io::Error| CertificateRefusal::Folder { what: format!("{}: {error}", self.folder.display()) };
        for shelf in Shelf::ALL {
            fs::create_dir_all(self.folder.join(shelf.name())).map_err(folder)?;
        }
        if let Some(file) = self.find(Shelf::Rejected, shown.der).map_err(folder)? {
            return Err(CertificateRefusal::Rejected { thumbprint, file });
        }
        // A defect first: to trust the certificate would not help.
        defect(&certificate, &thumbprint, shown)?;
        match self.find(Shelf::Trusted, shown.der).map_err(folder)? {
            Some(file) => self.name_well(&file, shown.der).map_err(folder),
            None => Err(CertificateRefusal::Unknown { thumbprint, file: self.lay_pending(shown.der) }),
        }
    }

    fn find(&self, shelf: Shelf, der: &[u8]) -> io::Result<Option<PathBuf>> {
        Ok(self.files(shelf)?.into_iter().find(|(_, content)| content == der).map(|(file, _)| file))
    }

    /// The library looks for a trusted certificate by its canonical name; a person names files as he likes.
    fn name_well(&self, file: &Path, der: &[u8]) -> io::Result<()> {
        let canonical = self.store(Shelf::Trusted, der)?;
        if canonical != *file {
            fs::remove_file(file)?;
        }
        Ok(())
    }

    fn lay_pending(&self, der: &[u8]) -> Option<PathBuf> {
        let waiting = self.files(Shelf::Pending).ok()?;
        let is_there = waiting.iter().any(|(_, content)| content == der);
        (is_there || waiting.len() < PENDING_MAX).then(|| self.store(Shelf::Pending, der).ok()).flatten()
    }

    /// What can be read of a shelf.
    fn files(&self, shelf: Shelf) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
        Ok(self.entries(shelf)?.into_iter().filter_map(|(path, read)| Some((path, read.ok()?))).collect())
    }

    /// A shelf that is not there is empty.
    fn entries(&self, shelf: Shelf) -> io::Result<Vec<(PathBuf, io::Result<Vec<u8>>)>> {
        let entries = match fs::read_dir(self.folder.join(shelf.name())) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let read = certificate_in(&path);
            files.push((path, read));
        }
        files.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(files)
    }
}

/// The content of a file as DER, also where it is written as PEM; whether it is a certificate is not looked at.
fn certificate_in(file: &Path) -> io::Result<Vec<u8>> {
    let bytes = fs::read(file)?;
    if !bytes.starts_with(b"-----BEGIN") {
        return Ok(bytes);
    }
    X509::from_pem(&bytes).and_then(|certificate| certificate.to_der()).map_err(|_| no_certificate())
}

fn no_certificate() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "is no certificate (DER or PEM)")
}

fn defect(certificate: &X509, thumbprint: &str, shown: &Shown<'_>) -> Result<(), CertificateRefusal> {
    let thumbprint = thumbprint.to_owned();
    let (Ok(from), Ok(until), Ok(bits)) = (certificate.not_before(), certificate.not_after(), certificate.key_length())
    else {
        return Err(CertificateRefusal::Unreadable);
    };
    if shown.now_s > until.timestamp() {
        return Err(CertificateRefusal::Expired { thumbprint, until: until.to_string() });
    }
    if shown.now_s < from.timestamp() {
        return Err(CertificateRefusal::NotYetValid { thumbprint, from: from.to_string() });
    }
    if bits < KEY_BITS_MIN {
        return Err(CertificateRefusal::WeakKey { thumbprint, bits });
    }
    let names = AlternativeNames::of(shown.der);
    if !names.has_host(shown.host) {
        let host = shown.host.to_owned();
        return Err(CertificateRefusal::WrongHost { thumbprint, host, names: names.hosts });
    }
    if !names.uris.iter().any(|uri| uri == shown.application_uri) {
        let server = shown.application_uri.to_owned();
        return Err(CertificateRefusal::WrongApplicationUri { thumbprint, server, names: names.uris });
    }
    Ok(())
}

fn shelved(shelf: Shelf, file: &Path, der: &[u8]) -> io::Result<Shelved> {
    let certificate = X509::from_der(der).map_err(|_| no_certificate())?;
    Ok(Shelved {
        shelf,
        file: file.to_owned(),
        thumbprint: certificate.thumbprint().as_hex_string(),
        subject: certificate.subject_name(),
        names: AlternativeNames::of(der),
        valid_from: certificate.not_before().map(|time| time.to_string()).unwrap_or_default(),
        valid_until: certificate.not_after().map(|time| time.to_string()).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Our own certificate serves as a server's.
    fn server() -> (tempfile::TempDir, Vec<u8>, String) {
        let folder = tempfile::tempdir().unwrap();
        let (_, own) = own::made();
        (folder, fs::read(&own.certificate).unwrap(), own.application_uri)
    }

    fn shown<'a>(der: &'a [u8], uri: &'a str) -> Shown<'a> {
        let now_s = opcua::types::DateTime::now().as_chrono().timestamp();
        Shown { der, host: "127.0.0.1", application_uri: uri, now_s }
    }

    // F52
    #[test]
    fn an_unknown_certificate_waits_for_a_person_who_may_trust_it_and_take_it_back() {
        let (folder, der, uri) = server();
        let list = TrustList::new(&folder.path().join("pki"));
        let Err(CertificateRefusal::Unknown { thumbprint, file: Some(file) }) = list.judge(&shown(&der, &uri)) else {
            panic!("an unknown certificate was taken");
        };
        assert_eq!(fs::read(&file).unwrap(), der);
        assert_eq!(list.put(&thumbprint[..12].to_uppercase(), Shelf::Trusted).unwrap().unwrap().shelf, Shelf::Trusted);
        assert!(!file.exists());
        assert_eq!(list.judge(&shown(&der, &uri)), Ok(()));
        list.put(&thumbprint, Shelf::Rejected).unwrap().unwrap();
        assert!(matches!(list.judge(&shown(&der, &uri)), Err(CertificateRefusal::Rejected { .. })));
        let rejected = &list.list().unwrap().certificates[0];
        assert_eq!((rejected.shelf, rejected.names.uris.as_slice()), (Shelf::Rejected, [uri.clone()].as_slice()));
        fs::remove_file(&rejected.file).unwrap();
        assert!(matches!(list.judge(&shown(&der, &uri)), Err(CertificateRefusal::Unknown { .. })));
    }

    // F51
    #[test]
    fn a_trusted_certificate_is_refused_out_of_its_time_for_another_host_and_for_another_application() {
        let (folder, der, uri) = server();
        let list = TrustList::new(&folder.path().join("pki"));
        fs::create_dir_all(folder.path().join("pki/trusted")).unwrap();
        fs::write(folder.path().join("pki/trusted/the plc.der"), &der).unwrap();
        let good = shown(&der, &uri);
        assert_eq!(list.judge(&good), Ok(()), "a person names files as he likes");
        assert_eq!(list.judge(&good), Ok(()));
        let years = |years: i64| shown(&der, &uri).now_s + years * 365 * 86_400;
        let late = list.judge(&Shown { now_s: years(20), ..shown(&der, &uri) });
        assert!(matches!(late, Err(CertificateRefusal::Expired { .. })), "{late:?}");
        let early = list.judge(&Shown { now_s: years(-1), ..shown(&der, &uri) });
        assert!(matches!(early, Err(CertificateRefusal::NotYetValid { .. })), "{early:?}");
        let host = list.judge(&Shown { host: "10.9.8.7", ..shown(&der, &uri) });
        assert!(host.unwrap_err().to_string().contains("not for 10.9.8.7"));
        let other = list.judge(&shown(&der, "urn:other"));
        assert!(matches!(other, Err(CertificateRefusal::WrongApplicationUri { .. })), "{other:?}");
        assert_eq!(list.judge(&shown(b"", &uri)), Err(CertificateRefusal::Missing));
        assert_eq!(list.judge(&shown(&der[..100], &uri)), Err(CertificateRefusal::Unreadable));
    }

    // F43
    #[test]
    fn a_clock_that_is_set_back_makes_no_expired_certificate_good_again() {
        let (folder, der, uri) = server();
        let list = TrustList::new(&folder.path().join("pki"));
        list.store(Shelf::Trusted, &der).unwrap();
        let now_s = shown(&der, &uri).now_s;
        let late = now_s + 20 * 365 * 86_400;
        assert_eq!(list.time_that_counts(now_s), now_s);
        assert_eq!(list.time_that_counts(late), late);
        let counts = list.time_that_counts(now_s);
        let judged = list.judge(&Shown { now_s: counts, ..shown(&der, &uri) });
        assert!(matches!(judged, Err(CertificateRefusal::Expired { .. })), "{judged:?}");
        fs::remove_file(folder.path().join("pki/latest-time")).unwrap();
        assert_eq!(list.judge(&Shown { now_s: list.time_that_counts(now_s), ..shown(&der, &uri) }), Ok(()));
    }

    #[test]
    fn what_is_no_certificate_is_named_and_our_own_is_no_servers() {
        let (folder, der, _) = server();
        let pki = folder.path().join("pki");
        let list = TrustList::new(&pki);
        list.store(Shelf::Trusted, &der).unwrap();
        fs::create_dir_all(pki.join("rejected/a folder")).unwrap();
        fs::write(pki.join("trusted/garbage.der"), b"garbage").unwrap();
        fs::write(pki.join("trusted/cut.pem"), b"-----BEGIN CERTIFICATE-----\nMIIC").unwrap();
        let found = list.list().unwrap();
        assert_eq!(found.certificates.len(), 1);
        let named = |strange: &Strange| (strange.shelf, strange.file.file_name().unwrap().to_owned());
        let expected = [(Shelf::Trusted, "cut.pem"), (Shelf::Trusted, "garbage.der"), (Shelf::Rejected, "a folder")];
        assert_eq!(
            found.strange.iter().map(named).collect::<Vec<_>>(),
            expected.map(|(shelf, name)| (shelf, name.into()))
        );
        assert!(found.strange.iter().all(|strange| !strange.why.is_empty()));

        own::copied_to(&pki);
        let (ours, brought) = (pki.join("own/cert.der"), folder.path().join("brought.der"));
        fs::copy(&ours, &brought).unwrap();
        for file in [&ours, &brought] {
            assert!(list.add(file, Shelf::Trusted).unwrap_err().to_string().contains("our own certificate"));
        }
        fs::remove_file(&ours).unwrap();
        assert_eq!(list.add(&brought, Shelf::Rejected).unwrap().shelf, Shelf::Rejected);
        let shelves: Vec<Shelf> = list.list().unwrap().certificates.iter().map(|shelved| shelved.shelf).collect();
        assert_eq!(shelves, [Shelf::Rejected], "it lies on one shelf");
    }

    #[test]
    fn pending_takes_so_many_and_no_more() {
        let (folder, der, uri) = server();
        let list = TrustList::new(&folder.path().join("pki"));
        fs::create_dir_all(folder.path().join("pki/pending")).unwrap();
        for index in 0..PENDING_MAX {
            fs::write(folder.path().join(format!("pki/pending/{index}.der")), [1]).unwrap();
        }
        assert!(matches!(list.judge(&shown(&der, &uri)), Err(CertificateRefusal::Unknown { file: None, .. })));
    }
}
