//! The bodies of facts: which kinds there are, what fields each has, in which order. This format is frozen.
//!
//! A body is one JSON object without white space, its fields in the order of the table below; integers, texts, booleans and
//! lists of them, no fractions: a grade is in thousandths. An absent value has no field. Bytes of a device are a text with
//! percent-encoding (`device_text`). A kind has a word and a version; a change of its fields is a new version, and the
//! decoder of the old one stays. One table gives the writer, the reader, the list of kinds and the schema.
//!
//! Not here: the other columns of the journal (`lower`), the hash chain (the store).

mod class;
mod device_text;
mod field;
mod hands;
mod json;
mod people;
mod reasons;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
pub(crate) mod strategy;
#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::Value;

use crate::domain::text::BatchId;
use crate::engine::fact::{Entry, Fact, Gone};
use crate::engine::input::{Actor, BatchSheet};
use crate::engine::people::Phc;
use crate::wire::schema::Shape;

pub use class::{FeedClass, Published, class};
use field::Field;
use json::{Flaw, ObjectReader, ObjectWriter};

/// The kind, version and body of one fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    pub kind: &'static str,
    pub version: u16,
    pub body: String,
}

/// A journal row without its hash, as read back.
#[derive(Clone, Copy, Debug)]
pub struct StoredFact<'a> {
    pub seq: u64,
    pub kind: &'a str,
    pub version: u16,
    pub batch: Option<&'a str>,
    pub actor: &'a str,
    pub body: &'a str,
}

/// A row that is not what any release wrote: the journal is damaged, or newer than this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    pub seq: u64,
    pub kind: String,
    /// Empty where the flaw lies outside the body's fields.
    pub field: &'static str,
    pub what: String,
}

/// `Variant "kind" { field "key", … }`: a key is empty where the parts of a struct lie flat in the body.
macro_rules! fact_kinds {
    ($($variant:ident $kind:literal { $($field:ident $key:literal),* $(,)? })+) => {
        /// The word of every kind.
        pub const KINDS: &[&str] = &[$($kind),+];

        pub fn kind(fact: &Fact) -> &'static str {
            match fact {
                $(Fact::$variant { .. } => $kind,)+
            }
        }

        fn write_fields(fact: &Fact, out: &mut ObjectWriter) {
            match fact {
                $(Fact::$variant { $($field),* } => { $($field.write(out, $key);)* })+
            }
        }

        /// `None` for a kind that this release does not know.
        fn read_fields(kind: &str, body: &mut ObjectReader<'_>) -> Option<Result<Fact, Flaw>> {
            match kind {
                $($kind => Some(read_with(body, |_body| Ok(Fact::$variant { $($field: Field::read(_body, $key)?),* }))),)+
                _ => None,
            }
        }

        fn describe_fields(kind: &str, shape: &mut Shape) {
            match kind {
                $($kind => { $(describe_part(
                    |fact| if let Fact::$variant { $field, .. } = fact { Some($field) } else { None },
                    shape, $key,
                );)* })+
                _ => {}
            }
        }
    };
}

fact_kinds! {
    LineStarted "line_started" { version "version", config_sha256 "config_sha256", clean "clean" }
    LineStopped "line_stopped" {}
    StationJoined "station_joined" {
        station "station", kind "station_kind", device_epoch "device_epoch", epoch "epoch", reset "reset",
    }
    StationLost "station_lost" { station "station", cause "cause" }
    StationFaulted "station_faulted" { station "station", code "code" }
    RecipeFound "recipe_found" { station "station", recipe "recipe" }
    AlarmRaised "alarm_raised" { alarm "alarm", kind "alarm_kind", station "station", detail "detail" }
    AlarmAcknowledged "alarm_acknowledged" { alarm "alarm" }

    BatchLoaded "batch_loaded" { sheet "", serial_count "serial_count", serials_sha256 "serials_sha256" }
    LineCleared "line_cleared" { items "items" }
    BatchStarted "batch_started" { bin "bin", track "track" }
    BatchStopped "batch_stopped" { bin "bin" }
    BatchPurgeStarted "batch_purge_started" {}
    BatchPurged "batch_purged" { bin "bin" }
    BatchHeld "batch_held" { reason "reason" }
    BatchResumed "batch_resumed" { reason "reason" }
    BatchReopened "batch_reopened" { sheet "", opened_seq "opened_seq", reason "reason" }
    BatchAborted "batch_aborted" {
        opened_seq "opened_seq", counts "counts", differences "differences", reason "reason",
    }
    BatchCloseRefused "batch_close_refused" { differences "differences" }
    BatchClosed "batch_closed" { opened_seq "opened_seq", counts "counts" }

    SerialsAllocated "serials_allocated" {
        station "station", epoch "epoch", from_seq "from_seq", first_index "first_index", serials "serials",
    }
    SerialsEncoded "serials_encoded" {
        station "station", epoch "epoch", from_seq "from_seq", first_index "first_index", serials "serials",
    }
    BufferDoubted "buffer_doubted" { station "station" }
    SerialsInvalidated "serials_invalidated" {
        station "station", cause "cause", first_index "first_index", serials "serials",
    }

    Verified "verified" { result "", serial "serial", grade_milli "grade" }
    Failed "failed" { result "", serial "serial", reasons "reasons", code "code", grade_milli "grade" }
    Missed "missed" { result "" }
    PassExpired "pass_expired" { track "", serial "serial" }
    Commissioned "commissioned" { track "", serial "serial" }
    RejectConfirmed "reject_confirmed" { track "", serial "serial" }
    RejectInferred "reject_inferred" { track "", serial "serial" }
    RejectMissing "reject_missing" { track "" }
    UnexpectedPass "unexpected_pass" { track "" }
    UnitRemoved "unit_removed" { track "" }
    PhantomReject "phantom_reject" { station "station", epoch "epoch", count "count" }
    EndsMissed "ends_missed" { station "station", epoch "epoch", from "from", to "to" }

    Packed "packed" { request "", level "level", container "container", children "children" }
    CloseGranted "close_granted" { request "", gate "gate", container "container", token "token", ttl_ms "ttl_ms" }
    CloseRefused "close_refused" { request "", gate "gate", level "level", container "container", reasons "reasons" }
    PermitAcked "permit_acked" { container "container", token "token" }
    Closed "closed" { level "level", container "container", token "token", children "children" }
    Released "released" {
        level "level", container "container", token "token", children "children", again "again",
    }
    CloseFailed "close_failed" { gate "gate", container "container", token "token", result "result" }
    CloseUnresolved "close_unresolved" { gate "gate", container "container", token "token" }
    GateForced "gate_forced" { station "station", epoch "epoch", container "container" }

    ClockFound "clock_found" { clock "clock" }
    ClockStepped "clock_stepped" { from_us "from_us", to_us "to_us" }
    LinePaused "line_paused" { paused_us "paused_us" }
    KeyAnnounced "key_announced" { key "" }
    EpochRaised "epoch_raised" { begun "" }
    LineDescribed "line_described" { description "" }
    StoreRestored "store_restored" { backup_sha256 "backup_sha256", reason "reason" }
    SerialsDeclared "serials_declared" { gtin "gtin", serials "serials" }
    SerialsRetired "serials_retired" { first_index "first_index", serials "serials" }
    MessagesExpired "messages_expired" { gone "" }
    PictureStored "picture_stored" { picture "" }
    PicturesRemoved "pictures_removed" { pictures "pictures" }

    UserAdded "user_added" { user "user", full_name "full_name", roles "roles" }
    UserChanged "user_changed" {
        user "user", roles_before "roles_before", roles "roles", was_enabled "was_enabled", is_enabled "is_enabled",
        reason "reason",
    }
    CredentialSet "credential_set" { user "user", phc "phc", must_change "must_change" }
    LoginFailed "login_failed" { user "user", door "door", failures "failures" }
    LoginLocked "login_locked" { user "user", lock_s "lock_s" }
    LoginUnlocked "login_unlocked" { user "user" }
    LoggedIn "logged_in" { user "user", session "session" }
    LoggedOut "logged_out" { user "user", session "session", end "end" }
    Signed "signed" { signature "" }
    ConfigApproved "config_approved" { config_sha256 "config_sha256", before "before" }
    UserRecovered "user_recovered" { user "user", reason "reason" }
    SignatureRefused "signature_refused" { user "user", action "action", reason "reason" }
    AuditReviewed "audit_reviewed" { review "" }
    MessageGivenUp "message_given_up" { message "", reason "reason" }
    UnitWithdrawn "unit_withdrawn" { serial "serial", withdrawal "state", why "" }
    ContainerReopened "container_reopened" {
        level "level", container "container", told "told", taken "taken", children "children", why "",
    }
    ContainerDissolved "container_dissolved" { level "level", container "container", told "told", why "" }
    LabelVoided "label_voided" { level "level", container "container", copy "copy", why "" }
}

fn read_with(
    body: &mut ObjectReader<'_>,
    read: impl FnOnce(&mut ObjectReader<'_>) -> Result<Fact, Flaw>,
) -> Result<Fact, Flaw> {
    read(body)
}

/// The version in which every kind is written by this release.
const VERSION: u16 = 1;

pub fn encode(fact: &Fact) -> Encoded {
    let mut out = ObjectWriter::new();
    write_fields(fact, &mut out);
    Encoded { kind: kind(fact), version: VERSION, body: out.finish() }
}

/// The entry that was journaled. Strict: what no release wrote is an error, so a fold never guesses.
pub fn decode(stored: StoredFact<'_>) -> Result<Entry, DecodeError> {
    let error =
        |field, what: &str| DecodeError { seq: stored.seq, kind: stored.kind.to_owned(), field, what: what.to_owned() };
    if stored.version != VERSION {
        let what = format!("version {} is not known to this release", stored.version);
        return Err(error("", &what));
    }
    let batch = match stored.batch {
        None => None,
        Some(text) => Some(BatchId::new(text).ok_or_else(|| error("batch", "too long"))?),
    };
    let actor = Actor::new(stored.actor).ok_or_else(|| error("actor", "too long"))?;
    let fact = read_body(stored.kind, stored.body)
        .ok_or_else(|| error("", "the kind is not known to this release"))?
        .map_err(|flaw| error(flaw.field, &flaw.what))?;
    Ok(Entry { seq: stored.seq, batch, actor, fact })
}

/// What a password is compared with, of the fact that set it; none for a fact of another kind.
pub fn credential(stored: StoredFact<'_>) -> Result<Option<Phc>, DecodeError> {
    let entry = decode(stored)?;
    Ok(if let Fact::CredentialSet { phc, .. } = entry.fact { Some(phc) } else { None })
}

/// The messages that a fact lets go; none for a fact of another kind.
pub fn gone(stored: StoredFact<'_>) -> Result<Option<Gone>, DecodeError> {
    let entry = decode(stored)?;
    Ok(if let Fact::MessagesExpired { gone } = entry.fact { Some(gone) } else { None })
}

/// The order that a fact loads; none for a fact of another kind.
pub fn loaded(stored: StoredFact<'_>) -> Result<Option<BatchSheet>, DecodeError> {
    let entry = decode(stored)?;
    Ok(if let Fact::BatchLoaded { sheet, .. } = entry.fact { Some(sheet) } else { None })
}

fn read_body(kind: &str, body: &str) -> Option<Result<Fact, Flaw>> {
    let mut reader = match ObjectReader::open(body) {
        Ok(reader) => reader,
        Err(flaw) => return Some(Err(flaw)),
    };
    let fact = read_fields(kind, &mut reader)?;
    Some(fact.and_then(|fact| reader.close().map(|()| fact)))
}

/// The JSON Schema of what the feed gets of a kind, without its heading; empty for an unknown kind.
pub(crate) fn describe(kind: &str) -> Value {
    let mut shape = Shape::new();
    if class(kind) == FeedClass::Digest {
        class::describe(kind, &mut shape);
        return shape.build();
    }
    describe_fields(kind, &mut shape);
    shape.build()
}

/// Describes the type of a field without naming it.
fn describe_part<T: Field>(_part: impl Fn(&Fact) -> Option<&T>, shape: &mut Shape, key: &'static str) {
    T::describe(shape, key);
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fact {} ({})", self.seq, self.kind)?;
        if !self.field.is_empty() {
            write!(f, ", field {}", self.field)?;
        }
        let (what, advice) = (&self.what, "run `sealgate audit verify` on this file");
        write!(f, " cannot be read: {what}; {advice}")
    }
}

impl std::error::Error for DecodeError {}
