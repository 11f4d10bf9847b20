//! A fact lowered for the store: its journal row, the changes of the state tables, and the messages it causes.

use crate::wire::fact::StoredFact;
use std::sync::Arc;

pub use crate::engine::fact::{Gone, MessageNumber};
pub use crate::engine::input::{BatchSheet, Order, PackSpec, SsccRange};

/// One fact, ready to be committed. The hash is added at the commit, from the previous one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub row: FactRow,
    pub changes: Vec<Change>,
    pub messages: Vec<Message>,
}

/// The columns of `fact` but its hash, in the order in which they are hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactRow {
    pub seq: u64,
    pub at_us: i64,
    pub mono_us: u64,
    /// Raised at every start of the daemon.
    pub boot: u32,
    pub kind: &'static str,
    pub version: u16,
    pub batch: Option<String>,
    pub actor: String,
    /// SGTIN or SSCC URI, batch, station or alarm that the fact is about; empty where there is none.
    pub subject: String,
    /// JSON in a fixed field order, integers and strings only; written once, never serialized again.
    pub body: String,
}

impl FactRow {
    /// The row as it will be read back.
    pub fn undecoded(&self) -> StoredFact<'_> {
        StoredFact {
            seq: self.seq,
            kind: self.kind,
            version: self.version,
            batch: self.batch.as_deref(),
            actor: &self.actor,
            body: &self.body,
        }
    }
}

/// A message of the feed that is not a fact itself: an EPCIS event or a batch summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `epcis` or `batch`; each has its own dense numbering, given at the commit.
    pub stream: &'static str,
    /// Below the line's prefix, for example `_epcis/commissioning`.
    pub topic: String,
    /// CloudEvents `type` and `subject`.
    pub kind: &'static str,
    pub subject: String,
    pub body: Vec<u8>,
}

/// One change of a state table, in the same transaction as its fact. All identifiers as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A batch and all its serials in their order of printing, state `unallocated`.
    BatchInserted {
        order: Arc<Order>,
        epc_prefix: String,
    },
    BatchState {
        batch: String,
        state: &'static str,
    },
    /// Serials `first_index` .. of the batch, by their place in the order (0-based): those in state `before` take a new one.
    SerialRange {
        batch: String,
        first_index: u32,
        count: u32,
        before: &'static str,
        state: &'static str,
    },
    /// Serials that no batch of this journal holds, and that none may hold any more; those that one holds stay as they are.
    SerialsUsed {
        gtin: String,
        serials: Vec<String>,
    },
    SerialVerified {
        batch: String,
        serial: String,
    },
    SerialState {
        batch: String,
        serial: String,
        state: &'static str,
    },
    Inspection(InspectionRow),
    /// The verdict of an inspection turns to `fail` (a pass that came too late).
    InspectionFailed {
        inspection: u64,
    },
    /// The track of an inspection, as its end at the reject gate tells it: a missed result came without one.
    InspectionTracked {
        inspection: u64,
        track: u64,
    },
    /// A reject is owed for an inspection.
    RejectCommanded {
        inspection: u64,
    },
    RejectConfirmed {
        inspection: u64,
    },
    RejectAlarmed {
        inspection: u64,
    },
    /// A container in state `open`. One whose seal failed is open already and is packed anew under its own identifier.
    ContainerInserted {
        container: String,
        level: &'static str,
        batch: String,
        capacity: u32,
    },
    ContainerState {
        container: String,
        state: &'static str,
    },
    /// The children, as units of the batch (serial) or containers (SSCC).
    MembersAdded {
        parent: String,
        batch: String,
        units: Vec<String>,
        containers: Vec<String>,
    },
    /// All present members of the parent leave.
    MembersRemoved {
        parent: String,
    },
    PermitInserted(PermitRow),
    PermitState {
        token: u32,
        state: &'static str,
    },
    AlarmInserted {
        alarm: u32,
        kind: &'static str,
        station: Option<String>,
        detail: String,
    },
    AlarmAcknowledged {
        alarm: u32,
    },
    /// Where a station's numbering stands: enough to go on after a restart.
    StationCursor {
        station: String,
        device_epoch: u32,
        epoch: u32,
    },
    /// These messages go; each was acknowledged before.
    MessagesExpired(Gone),
    /// `meta.epoch`; it never falls.
    EpochRaised {
        epoch: u32,
    },
    Person {
        user: String,
        change: PersonChange,
    },
    /// No password that was set before opens anything.
    PasswordsVoid,
    Signature(SignatureRow),
    /// The fact stands until the next one of its kind.
    Newest {
        kind: &'static str,
    },
}

/// A signature; its number is that of its fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureRow {
    pub user: String,
    pub full_name: String,
    pub meaning: &'static str,
    pub at_us: i64,
    pub subject: String,
    /// In lower-case hex.
    pub subject_hash: String,
    pub challenge: String,
}

/// What a fact changes of a person. Values as they stand after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PersonChange {
    /// Nobody had this name before.
    Added {
        full_name: String,
        roles: String,
    },
    Set {
        roles: String,
        is_enabled: bool,
    },
    /// The fact itself holds the hash of the password.
    Credential {
        must_change: bool,
    },
    Failures {
        failures: u32,
    },
    Locked,
    Unlocked,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectionRow {
    pub batch: Option<String>,
    pub station: String,
    pub epoch: u32,
    pub result_seq: Option<u64>,
    pub track: Option<u64>,
    /// `pass`, `fail`, `no_read` or `missed`.
    pub verdict: &'static str,
    pub serial: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitRow {
    pub token: u32,
    pub container: String,
    pub gate: &'static str,
    pub station: String,
    pub epoch: u32,
    pub request_seq: u64,
}
