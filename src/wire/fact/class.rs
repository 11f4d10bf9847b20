//! What leaves this computer of each kind of fact. Bodies about people and their passwords stay here: outside there is the number, the
//! kind and the hash of such a fact, which is enough to miss one and to prove one.

use std::borrow::Cow;

use serde_json::json;

use crate::wire::checkpoint::hex;
use crate::wire::schema::{self, Shape};

/// What the feed gets of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedClass {
    /// The body as it stands.
    Public,
    /// Sequence number, kind and hash alone.
    Digest,
}

const DIGESTED: &[&str] = &[
    "user_added",
    "user_changed",
    "credential_set",
    "login_failed",
    "login_locked",
    "login_unlocked",
    "logged_in",
    "logged_out",
    "user_recovered",
    "signature_refused",
];

pub fn class(kind: &str) -> FeedClass {
    if DIGESTED.contains(&kind) { FeedClass::Digest } else { FeedClass::Public }
}

/// A fact as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published<'a> {
    pub subject: &'a str,
    pub body: Cow<'a, str>,
}

impl<'a> Published<'a> {
    /// `hash` is absent as long as the fact is not in the journal.
    pub fn new((seq, kind): (u64, &str), hash: Option<&[u8; 32]>, subject: &'a str, body: &'a str) -> Self {
        match class(kind) {
            FeedClass::Public => Self { subject, body: Cow::Borrowed(body) },
            FeedClass::Digest => {
                let digest = json!({ "seq": seq, "kind": kind, "hash": hash.map(|hash| hex(hash)) });
                Self { subject: "", body: Cow::Owned(digest.to_string()) }
            }
        }
    }
}

pub(super) fn describe(kind: &str, shape: &mut Shape) {
    shape.required("seq", schema::count(u64::MAX));
    shape.required("kind", json!({ "const": kind }));
    shape.required("hash", json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" }));
}
