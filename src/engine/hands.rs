//! Hands on product: what a person does to units, cases and pallets beside the machines, and the words for it.
//!
//! A container that is opened by hand is empty in the record: what lay in it is loose, and so is what lay around it, up to the pallet.
//! It is nobody's until the machine closes it again, under the same count and with the same SSCC, or until it is dissolved. `moves`
//! decides, `members` folds.

mod members;
mod moves;

use crate::domain::code::Code;
use crate::domain::gs1::{Gtin, SerialNumber, Sscc};
use crate::domain::pack::{ContainerState, SerialState};
use crate::engine::rights::Action;

/// What is done to one unit that goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    Sample,
    /// A label that never became a product.
    Scrap,
    Decommission,
    Destroy,
}

/// Where a unit is after it was taken out of production. The first two were never commissioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawal {
    LabelSampled,
    LabelScrapped,
    Sampled,
    Inactive,
    Destroyed,
}

/// Why somebody put a hand on product. A closed set, so that it can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandReason {
    QualitySample,
    RetentionSample,
    Damaged,
    Defective,
    Misprint,
    Unreadable,
    WrongContent,
    Inspection,
    Jam,
    Rework,
    Leftover,
    /// Something else, which the note says.
    Other,
}

/// The reason with what a person wrote beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    pub reason: HandReason,
    pub note: Option<String>,
}

/// What upstream was told of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    #[default]
    Nothing,
    /// That it is there, and nothing of what is in it now.
    Label,
    /// What is in it too.
    Content,
}

/// Why a container is released once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It was opened and packed anew.
    Packed,
    /// It got another label, and holds what it held.
    Relabelled,
}

/// A request about product. A code is as it was scanned or typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandsRequest {
    Withdraw {
        hand: Hand,
        code: Code,
        why: Why,
    },
    /// One child out, by its own code.
    Remove {
        code: Code,
        why: Why,
    },
    Reopen {
        code: Code,
        why: Why,
    },
    /// Everything out; the container is no more.
    Unpack {
        code: Code,
        why: Why,
    },
    /// Another label; those before it are void.
    Reprint {
        code: Code,
        why: Why,
    },
}

/// Why nothing was done by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandsRefusal {
    /// No batch is on the line.
    NoBatch,
    /// The code names no single unit.
    NoUnit,
    /// The code names no container.
    NoContainer,
    /// Of another product.
    ForeignUnit(Gtin),
    /// No serial number of this batch.
    UnknownUnit(SerialNumber),
    /// No container of this batch.
    UnknownContainer(Sscc),
    /// The unit is in a state in which this is not done.
    UnitState(SerialState),
    ContainerState(ContainerState),
    /// It is between camera and reject gate.
    InTransit,
    /// A machine holds a permit for this container.
    PermitInForce(Sscc),
}

impl Hand {
    pub const ALL: &'static [Hand] = &[Hand::Sample, Hand::Scrap, Hand::Decommission, Hand::Destroy];

    /// The stable word, lower snake case.
    pub fn name(self) -> &'static str {
        match self {
            Hand::Sample => "sample",
            Hand::Scrap => "scrap",
            Hand::Decommission => "decommission",
            Hand::Destroy => "destroy",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|hand| hand.name() == name)
    }

    /// Where a unit in this state goes; `None` where this is not done to it.
    fn target(self, state: SerialState) -> Option<Withdrawal> {
        match (self, state) {
            (Hand::Sample, SerialState::Encoded) => Some(Withdrawal::LabelSampled),
            (Hand::Sample, SerialState::Commissioned) => Some(Withdrawal::Sampled),
            (Hand::Scrap, SerialState::Encoded) => Some(Withdrawal::LabelScrapped),
            (Hand::Decommission, SerialState::Commissioned) => Some(Withdrawal::Inactive),
            (Hand::Destroy, SerialState::Commissioned | SerialState::Sampled) => Some(Withdrawal::Destroyed),
            (
                _,
                SerialState::Unassigned
                | SerialState::Unallocated
                | SerialState::Allocated
                | SerialState::SnInvalid
                | SerialState::Encoded
                | SerialState::LabelSampled
                | SerialState::LabelScrapped
                | SerialState::Commissioned
                | SerialState::Sampled
                | SerialState::Inactive
                | SerialState::Destroyed
                | SerialState::Released,
            ) => None,
        }
    }

    /// Whether this was done to a unit in this state.
    fn has_made(self, state: SerialState) -> bool {
        match self {
            Hand::Sample => matches!(state, SerialState::Sampled | SerialState::LabelSampled),
            Hand::Scrap => state == SerialState::LabelScrapped,
            Hand::Decommission => state == SerialState::Inactive,
            Hand::Destroy => state == SerialState::Destroyed,
        }
    }
}

impl Withdrawal {
    pub const ALL: &'static [Withdrawal] = &[
        Withdrawal::LabelSampled,
        Withdrawal::LabelScrapped,
        Withdrawal::Sampled,
        Withdrawal::Inactive,
        Withdrawal::Destroyed,
    ];

    pub fn state(self) -> SerialState {
        match self {
            Withdrawal::LabelSampled => SerialState::LabelSampled,
            Withdrawal::LabelScrapped => SerialState::LabelScrapped,
            Withdrawal::Sampled => SerialState::Sampled,
            Withdrawal::Inactive => SerialState::Inactive,
            Withdrawal::Destroyed => SerialState::Destroyed,
        }
    }

    /// The stable word, that of its state.
    pub fn name(self) -> &'static str {
        self.state().name()
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|withdrawal| withdrawal.name() == name)
    }
}

impl HandReason {
    pub const ALL: &'static [HandReason] = &[
        HandReason::QualitySample,
        HandReason::RetentionSample,
        HandReason::Damaged,
        HandReason::Defective,
        HandReason::Misprint,
        HandReason::Unreadable,
        HandReason::WrongContent,
        HandReason::Inspection,
        HandReason::Jam,
        HandReason::Rework,
        HandReason::Leftover,
        HandReason::Other,
    ];

    /// The words of all of them, in their order.
    pub const NAMES: &'static [&'static str] = &[
        "quality_sample",
        "retention_sample",
        "damaged",
        "defective",
        "misprint",
        "unreadable",
        "wrong_content",
        "inspection",
        "jam",
        "rework",
        "leftover",
        "other",
    ];

    /// The stable word, lower snake case.
    pub fn name(self) -> &'static str {
        match self {
            HandReason::QualitySample => "quality_sample",
            HandReason::RetentionSample => "retention_sample",
            HandReason::Damaged => "damaged",
            HandReason::Defective => "defective",
            HandReason::Misprint => "misprint",
            HandReason::Unreadable => "unreadable",
            HandReason::WrongContent => "wrong_content",
            HandReason::Inspection => "inspection",
            HandReason::Jam => "jam",
            HandReason::Rework => "rework",
            HandReason::Leftover => "leftover",
            HandReason::Other => "other",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.name() == name)
    }
}

impl Told {
    /// What another release says again.
    pub fn again(self) -> Option<Again> {
        match self {
            Told::Nothing => None,
            Told::Label => Some(Again::Packed),
            Told::Content => Some(Again::Relabelled),
        }
    }
}

impl Again {
    pub const ALL: &'static [Again] = &[Again::Packed, Again::Relabelled];

    /// The stable word, lower snake case.
    pub fn name(self) -> &'static str {
        match self {
            Again::Packed => "packed",
            Again::Relabelled => "relabelled",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|again| again.name() == name)
    }
}

impl HandsRequest {
    pub(super) fn action(&self) -> Action {
        match self {
            HandsRequest::Withdraw { hand: Hand::Sample, .. } => Action::SampleUnit,
            HandsRequest::Withdraw { hand: Hand::Scrap, .. } => Action::ScrapLabel,
            HandsRequest::Withdraw { hand: Hand::Decommission | Hand::Destroy, .. } => Action::WithdrawUnit,
            HandsRequest::Remove { .. } => Action::RemoveChild,
            HandsRequest::Reopen { .. } | HandsRequest::Unpack { .. } => Action::OpenContainer,
            HandsRequest::Reprint { .. } => Action::ReprintLabel,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_word() {
        let names: Vec<&str> = HandReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names, HandReason::NAMES);
        assert!(HandReason::ALL.iter().all(|reason| HandReason::parse(reason.name()) == Some(*reason)));
    }
}
