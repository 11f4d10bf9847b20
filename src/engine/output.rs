//! All that can go out: restraints in the safe direction, permits in the unsafe one, refusals as data. Two types on purpose.

use crate::domain::tag::StationId;
use crate::engine::fact::Entry;
use crate::engine::input::{Actor, PassKey};
use crate::engine::reason::{Difference, RequestRefusal};
use crate::engine::signing::SubjectHash;

/// What one step decided. Restraints leave at once; facts go to the journal; permits wait until these facts are durable.
#[derive(Debug, Default)]
pub struct Step {
    pub restraints: Vec<Restraint>,
    pub facts: Vec<Entry>,
    pub permits: Vec<Permit>,
    /// The answer to the request of this step; given when the facts are durable.
    pub answer: Option<Answer>,
}

/// The safe direction: reject, hold, deny. Addressed to an epoch of the device; void in any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restraint {
    /// The unit on this track is to be rejected.
    Fail(PassKey),
    /// `run_permit` off.
    Hold { station: StationId },
    /// Deny ends the request `seq`; `reason` is the code shown at the machine.
    Deny { station: StationId, device_epoch: u32, seq: u64, reason: u16 },
    /// No reply stands: the gate stays shut.
    Shut { station: StationId },
    /// A camera that decides by itself lets nothing through.
    ExpectNothing { station: StationId },
}

/// The unsafe direction. None leaves before the facts that justify it are durable, and before it was checked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permit {
    /// The unit on this track may pass the reject gate, if said before `until_mono_us`.
    Pass { key: PassKey, until_mono_us: u64 },
    /// `run_permit` on.
    Run { station: StationId },
    /// All results up to `seq` are recorded: the device may drop them.
    AckResult { station: StationId, device_epoch: u32, seq: u64 },
    /// What the camera compares with, where it decides by itself.
    Expect { station: StationId, device_epoch: u32, data: Vec<u8> },
    /// The record with this number may be printed.
    Print { station: StationId, device_epoch: u32, seq: u64, data: Vec<u8> },
    /// The printer empties its buffer; what lay in it is burned once it says so.
    Flush { station: StationId, device_epoch: u32, flush: u64 },
    /// The request `seq` is recorded.
    AckRequest { station: StationId, device_epoch: u32, seq: u64 },
    /// The gate may move once.
    Close(ClosePermit),
    /// The result of request `seq` is recorded: the permit is withdrawn and the device may raise its next request.
    Settle { station: StationId, device_epoch: u32, seq: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosePermit {
    pub station: StationId,
    pub device_epoch: u32,
    pub seq: u64,
    pub token: u32,
    pub ttl_ms: u32,
    /// The element string that the labeller applies.
    pub label: Vec<u8>,
    /// When the permit is void whatever the device does, on `Now::mono_us`.
    pub until_mono_us: u64,
}

/// What the second look at a permit said, once its facts are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recheck {
    Go,
    /// Its epoch, hold, alarm or request has changed meanwhile: nothing leaves.
    Void,
    /// A pass too late for the blade: nothing leaves, and `Input::PassExpired` is due.
    Late,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub id: u64,
    pub outcome: Result<Done, Refused>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// The state was changed.
    Changed,
    /// It was so already.
    Already,
    /// Nothing was to be changed: this person may do it.
    Permitted(Actor),
    /// A record with this hash waits for its signature.
    Prepared(SubjectHash),
}

/// A refusal with all its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub reasons: Vec<RequestRefusal>,
    pub differences: Vec<Difference>,
}

impl Refused {
    pub fn because(reasons: Vec<RequestRefusal>) -> Self {
        Self { reasons, differences: Vec::new() }
    }
}

impl From<RequestRefusal> for Refused {
    fn from(reason: RequestRefusal) -> Self {
        Self::because(vec![reason])
    }
}

/// The one reason for which a request is refused.
pub fn refuse<T>(reason: impl Into<RequestRefusal>) -> Result<T, Refused> {
    Err(Refused::from(reason.into()))
}
