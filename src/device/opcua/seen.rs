//! What the connections of one session came to. The library tells of a failure by one status; here is why.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use opcua::types::StatusCode;

use super::own::OwnCertificate;
use crate::device::{error::DeviceError, refusal::CertificateRefusal};

#[derive(Default)]
pub(super) struct Seen {
    /// Whether the last one reached the server's port.
    reached: AtomicBool,
    /// Whether anything came over it.
    heard: AtomicBool,
    /// Why the last one was given up by ourselves.
    failure: Mutex<Option<DeviceError>>,
    own: Mutex<Option<OwnCertificate>>,
}

impl Seen {
    /// Another connection, with this certificate of ours.
    pub(super) fn begin(&self, own: Option<&OwnCertificate>) {
        self.reached.store(false, Ordering::Release);
        self.heard.store(false, Ordering::Release);
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = own.cloned();
    }

    pub(super) fn reach(&self) {
        self.reached.store(true, Ordering::Release);
    }

    pub(super) fn hear(&self) {
        self.heard.store(true, Ordering::Release);
    }

    /// The first reason counts: what follows comes of it.
    pub(super) fn fail(&self, error: DeviceError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    pub(super) fn has_reached(&self) -> bool {
        self.reached.load(Ordering::Acquire)
    }

    /// Why a connection or a session was not accepted, from the status that the library was left with.
    pub(super) fn explain(&self, status: StatusCode) -> DeviceError {
        if let Some(known) = self.known(status) {
            return known;
        }
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        match own.as_ref() {
            Some(own) if is_about_us(status) => DeviceError::Certificate(CertificateRefusal::OursRefused {
                status: status.to_string(),
                own: own.certificate.clone(),
            }),
            Some(_) | None if status == StatusCode::BadTooManySessions => DeviceError::Refused(format!(
                "{status}: the server holds as many sessions as it takes; close one, or wait until it forgets one"
            )),
            Some(_) | None if self.has_reached() => DeviceError::Refused(status.to_string()),
            Some(_) | None => DeviceError::Unreachable(status.to_string()),
        }
    }

    /// Why a connection that was there has ended.
    pub(super) fn lost(&self, status: StatusCode) -> DeviceError {
        self.known(status).unwrap_or_else(|| DeviceError::Lost(status.to_string()))
    }

    fn known(&self, status: StatusCode) -> Option<DeviceError> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        let is_closed = status == StatusCode::BadConnectionClosed || status == StatusCode::BadCommunicationError;
        let is_dumb = is_closed && self.has_reached() && !self.heard.load(Ordering::Acquire);
        let what = "it closed the connection without a word: not OPC UA, or it takes no more connections";
        failure.or_else(|| too_much(status)).or_else(|| is_dumb.then(|| DeviceError::Refused(what.to_owned())))
    }
}

/// An answer that is larger, longer or deeper than a server may make us hold, or none at all.
pub(super) fn too_much(status: StatusCode) -> Option<DeviceError> {
    // The library says of some of these limits only that it could not decode.
    let is_ours = status == StatusCode::BadEncodingLimitsExceeded
        || status == StatusCode::BadResponseTooLarge
        || status == StatusCode::BadDecodingError;
    is_ours.then(|| {
        DeviceError::Protocol(format!("{status}: its answer is broken, or is more than is taken from any device"))
    })
}

/// What servers say to a client whose certificate they do not take. Part 4 §6.1.3 lets them say as little as possible.
fn is_about_us(status: StatusCode) -> bool {
    status == StatusCode::BadSecurityChecksFailed
        || status == StatusCode::BadCertificateUntrusted
        || status == StatusCode::BadCertificateInvalid
        || status == StatusCode::BadCertificateUriInvalid
        || status == StatusCode::BadCertificateUseNotAllowed
        || status == StatusCode::BadCertificateTimeInvalid
        || status == StatusCode::BadCertificateHostNameInvalid
}
