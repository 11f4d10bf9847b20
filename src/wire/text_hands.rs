//! Refusals about hands on product, for people.

use crate::engine::hands::HandsRefusal;

/// The stable word, lower snake case.
pub(super) fn code(refusal: &HandsRefusal) -> &'static str {
    match refusal {
        HandsRefusal::NoBatch => "no_batch",
        HandsRefusal::NoUnit => "no_unit",
        HandsRefusal::NoContainer => "no_container",
        HandsRefusal::ForeignUnit(_) => "foreign_unit",
        HandsRefusal::UnknownUnit(_) => "unknown_unit",
        HandsRefusal::UnknownContainer(_) => "unknown_container",
        HandsRefusal::UnitState(_) => "unit_state",
        HandsRefusal::ContainerState(_) => "container_state",
        HandsRefusal::InTransit => "in_transit",
        HandsRefusal::PermitInForce(_) => "permit_in_force",
    }
}

pub(super) fn refusal(refusal: &HandsRefusal) -> String {
    match refusal {
        HandsRefusal::NoBatch => {
            "no batch is on the line; what a closed batch made is no matter of this line any more".to_owned()
        }
        HandsRefusal::NoUnit => "the code names no single unit; scan the code on the unit itself".to_owned(),
        HandsRefusal::NoContainer => "the code names no case or pallet; scan the SSCC on its label".to_owned(),
        HandsRefusal::ForeignUnit(gtin) => {
            format!("GTIN {gtin} is another product than the one of the batch on the line; put the unit aside")
        }
        HandsRefusal::UnknownUnit(serial) => {
            format!("serial number {serial} is none of the batch on the line; see `sealgate trace`")
        }
        HandsRefusal::UnknownContainer(sscc) => {
            format!("SSCC {sscc} is no container of the batch on the line; see `sealgate trace {sscc}`")
        }
        HandsRefusal::UnitState(state) => {
            format!("the unit is {}, which does not allow this; see `sealgate trace`", state.name())
        }
        HandsRefusal::ContainerState(state) => {
            format!("the container is {}, which does not allow this; see `sealgate trace`", state.name())
        }
        HandsRefusal::InTransit => {
            "the unit is between camera and reject gate; let it pass, or take it to the reject bin first".to_owned()
        }
        HandsRefusal::PermitInForce(sscc) => format!(
            "a machine may still close {sscc}; wait until it has, or acknowledge its alarm once you have looked there"
        ),
    }
}
