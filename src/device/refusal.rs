//! Why a secured connection is not made, in words that say what a person does about it.

use std::{fmt, path::PathBuf};

/// OPC UA Part 7: the least key of all three policies.
pub(super) const KEY_BITS_MIN: usize = 2048;

/// Why a secure connection is not made. Each says what a person has to do about it, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateRefusal {
    /// The server's endpoint has no certificate.
    Missing,
    Unreadable,
    /// Nobody has decided about it yet. `file` is where it waits; none where `pending` takes no more.
    Unknown {
        thumbprint: String,
        file: Option<PathBuf>,
    },
    /// A person said no.
    Rejected {
        thumbprint: String,
        file: PathBuf,
    },
    Expired {
        thumbprint: String,
        until: String,
    },
    NotYetValid {
        thumbprint: String,
        from: String,
    },
    /// It was made for other hosts than the one that is dialled.
    WrongHost {
        thumbprint: String,
        host: String,
        names: Vec<String>,
    },
    /// It was made for another application than the one that the server says it is.
    WrongApplicationUri {
        thumbprint: String,
        server: String,
        names: Vec<String>,
    },
    WeakKey {
        thumbprint: String,
        bits: usize,
    },
    /// The server does not accept ours.
    OursRefused {
        status: String,
        own: PathBuf,
    },
    OwnExpired {
        until: String,
        own: PathBuf,
    },
    /// Ours is not there and cannot be made, or cannot be read.
    OwnUnusable {
        why: String,
    },
    /// The folders cannot be read or written.
    Folder {
        what: String,
    },
}

impl fmt::Display for CertificateRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the server has no certificate; give it one, or choose another endpoint"),
            Self::Unreadable => f.write_str("the server's certificate cannot be read; give the server a new one"),
            Self::Unknown { thumbprint, file: Some(file) } => write!(
                f,
                "the server's certificate {thumbprint} is unknown and waits in {}; compare it with what the server shows, \
                 then trust it: sealgate opcua trust add {thumbprint}",
                file.display()
            ),
            Self::Unknown { thumbprint, file: None } => write!(
                f,
                "the server's certificate {thumbprint} is unknown, and `pending` is full; clear that folder, then trust the \
                 certificate when it is there"
            ),
            Self::Rejected { thumbprint, file } => write!(
                f,
                "the server's certificate {thumbprint} was rejected by a person ({}); only a person can trust it again: \
                 sealgate opcua trust add {thumbprint}",
                file.display()
            ),
            Self::Expired { thumbprint, until } => write!(
                f,
                "the server's certificate {thumbprint} has expired at {until}; make a new one at the server and trust that \
                 (if the clock of this machine ran ahead: set it right, and remove latest-time from the PKI folder)"
            ),
            Self::NotYetValid { thumbprint, from } => write!(
                f,
                "the server's certificate {thumbprint} is valid only from {from}; set the clocks of the server and of this \
                 machine right"
            ),
            Self::WrongHost { thumbprint, host, names } => write!(
                f,
                "the server's certificate {thumbprint} is made for {}, not for {host}; dial one of those names, make a \
                 certificate with the right name at the server, or say certificate_host",
                list(names)
            ),
            Self::WrongApplicationUri { thumbprint, server, names } => write!(
                f,
                "the server says that it is {server}, and its certificate {thumbprint} is made for {}; make a new \
                 certificate at the server",
                list(names)
            ),
            Self::WeakKey { thumbprint, bits } => write!(
                f,
                "the key of the server's certificate {thumbprint} has {bits} bits, and at least {KEY_BITS_MIN} are needed; \
                 make a new one at the server"
            ),
            Self::OursRefused { status, own } => write!(
                f,
                "the server does not accept our certificate ({status}); put {} into its list of trusted clients",
                own.display()
            ),
            Self::OwnExpired { until, own } => write!(
                f,
                "our own certificate {} has expired at {until}; make the next one: sealgate opcua renew",
                own.display()
            ),
            Self::OwnUnusable { why } => write!(f, "our own certificate cannot be used: {why}"),
            Self::Folder { what } => write!(f, "the trust list cannot be used: {what}"),
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nothing that it names".to_owned() } else { names.join(", ") }
}
