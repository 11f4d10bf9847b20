//! A machine vision system by OPC 40100-1 with the machinery result of OPC 40001-101: the variables of its newest result, its state
//! machine and its recipe.
//!
//! The list `ResultContent` is what the job puts there: the number of the result, the code, the grade, and the track that came with
//! the trigger. Completed says only that the job ended; good is what the result evaluation says.

use opcua::types::{Guid, Variant};

use super::nodes::{Model, code, count, has_code, list, structure, text_member, words};
use crate::domain::tag::Tag;
use crate::sim::faces::KIND;
use crate::sim::tags::Tags;

pub(super) const MODEL: Model = Model {
    namespace: "urn:sealgate:sim:machine-vision",
    nodes: &[
        ("Vision.ResultManagement.Results.Newest.ResultId", result_id),
        ("Vision.ResultManagement.Results.Newest.ResultState", result_state),
        ("Vision.ResultManagement.Results.Newest.PartId", part_id),
        ("Vision.ResultManagement.Results.Newest.JobId", job_id),
        ("Vision.ResultManagement.Results.Newest.InternalRecipeId", recipe_id),
        ("Vision.ResultManagement.Results.Newest.ResultContent", result_content),
        ("Vision.ResultManagement.Results.Newest.ResultMetaData.ResultEvaluation", evaluation),
        ("Vision.VisionStateMachine.AutomaticMode.CurrentState", state),
        ("Vision.VisionStateMachine.AutomaticMode.CurrentState.Number", state_number),
    ],
};

const JOB: &str = "carton";
const COMPLETED: i32 = 1;
const CONTINUOUS_EXECUTION: u32 = 8;

/// `ResultIdDataType` { Id }: an id that says nothing about the order.
fn result_id(tags: &Tags) -> Variant {
    let id = Guid::from_slice(&u128::from(count(tags, Tag::Seq)).to_be_bytes()).map(|id| id.to_string());
    structure(5274, &[&text_member(id.unwrap_or_default().as_bytes())])
}

fn result_state(_: &Tags) -> Variant {
    Variant::Int32(COMPLETED)
}

/// `PartIdDataType` { mask of the optional members, Id }: the track, as the controller gave it.
fn part_id(tags: &Tags) -> Variant {
    let track = count(tags, Tag::Track).to_string();
    structure(5013, &[&0_u32.to_le_bytes(), &text_member(track.as_bytes())])
}

/// `JobIdDataType` { Id }.
fn job_id(_: &Tags) -> Variant {
    structure(5008, &[&text_member(JOB.as_bytes())])
}

/// `RecipeIdInternalDataType` { mask of the optional members, Id }.
fn recipe_id(_: &Tags) -> Variant {
    structure(5268, &[&0_u32.to_le_bytes(), &text_member(JOB.as_bytes())])
}

fn result_content(tags: &Tags) -> Variant {
    // Thousandths of a grade have a handful of digits.
    let grade = tags.int(KIND, Tag::Grade) as f32 / 1000.0;
    list(vec![
        Variant::UInt32(count(tags, Tag::Seq)),
        code(tags),
        Variant::Float(grade),
        Variant::UInt32(count(tags, Tag::Track)),
    ])
}

/// 1 OK, 2 not OK.
fn evaluation(tags: &Tags) -> Variant {
    Variant::Int32(if has_code(tags) { 1 } else { 2 })
}

fn state(_: &Tags) -> Variant {
    words("ContinuousExecution")
}

fn state_number(_: &Tags) -> Variant {
    Variant::UInt32(CONTINUOUS_EXECUTION)
}
