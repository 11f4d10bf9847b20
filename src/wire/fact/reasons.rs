//! Reasons that carry numbers: why a container was refused, and what does not balance.

use crate::engine::reason::{Difference, RefuseReason};
use crate::wire::fact::field::Field;
use crate::wire::fact::json::{Flaw, ObjectReader, ObjectWriter};
use crate::wire::schema::{self, Shape};
use crate::wire::text;

impl Field for Vec<Difference> {
    fn write(&self, out: &mut ObjectWriter, key: &'static str) {
        out.objects(key, self, |out, difference| match difference {
            Difference::InBuffer(count)
            | Difference::Unaccounted(count)
            | Difference::Loose(count)
            | Difference::InTransit(count)
            | Difference::OpenContainers(count)
            | Difference::UnresolvedRejects(count)
            | Difference::PartialContainers(count) => {
                out.text("code", text::difference_code(difference));
                out.count("count", u64::from(*count));
            }
            Difference::BinDiffers { counted, confirmed } => {
                out.text("code", text::difference_code(difference));
                out.count("counted", u64::from(*counted));
                out.count("confirmed", u64::from(*confirmed));
            }
        });
    }

    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
        body.objects(key, |body| {
            let code = body.text("code")?;
            Ok(match &*code {
                "in_buffer" => Difference::InBuffer(body.count("count")?),
                "unaccounted" => Difference::Unaccounted(body.count("count")?),
                "loose" => Difference::Loose(body.count("count")?),
                "in_transit" => Difference::InTransit(body.count("count")?),
                "open_containers" => Difference::OpenContainers(body.count("count")?),
                "unresolved_rejects" => Difference::UnresolvedRejects(body.count("count")?),
                "partial_containers" => Difference::PartialContainers(body.count("count")?),
                "bin_differs" => {
                    Difference::BinDiffers { counted: body.count("counted")?, confirmed: body.count("confirmed")? }
                }
                other => return Err(body.unfit(other)),
            })
        })
    }

    fn describe(shape: &mut Shape, key: &'static str) {
        shape.required(key, schema::list(schema::difference()));
    }
}

impl Field for Vec<RefuseReason> {
    fn write(&self, out: &mut ObjectWriter, key: &'static str) {
        out.objects(key, self, |out, reason| {
            out.text("code", reason.name());
            write_reason(out, reason);
        });
    }

    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
        body.objects(key, read_reason)
    }

    fn describe(shape: &mut Shape, key: &'static str) {
        shape.required(key, schema::list(schema::refuse_reason()));
    }
}

fn write_reason(out: &mut ObjectWriter, reason: &RefuseReason) {
    match reason {
        RefuseReason::Short { have, want } | RefuseReason::Over { have, want } => {
            out.count("have", u64::from(*have));
            out.count("want", u64::from(*want));
        }
        RefuseReason::CountDiffers { counted, listed } => {
            out.count("counted", u64::from(*counted));
            out.count("listed", u64::from(*listed));
        }
        RefuseReason::MissingChild { slot }
        | RefuseReason::MalformedChild { slot }
        | RefuseReason::ForeignChild { slot }
        | RefuseReason::UnknownChild { slot }
        | RefuseReason::RepeatedChild { slot }
        | RefuseReason::UnfitChild { slot } => out.count("slot", u64::from(*slot)),
        RefuseReason::PackedChild { slot, parent } => {
            out.count("slot", u64::from(*slot));
            out.text("parent", parent.as_str());
        }
        RefuseReason::NoBatch
        | RefuseReason::NotGood
        | RefuseReason::LevelAbsent
        | RefuseReason::NoSscc
        | RefuseReason::NotSealed
        | RefuseReason::LabelMissing
        | RefuseReason::LabelDiffers
        | RefuseReason::OnHold => {}
    }
}

fn read_reason(body: &mut ObjectReader<'_>) -> Result<RefuseReason, Flaw> {
    let code = body.text("code")?;
    Ok(match &*code {
        "no_batch" => RefuseReason::NoBatch,
        "not_good" => RefuseReason::NotGood,
        "level_absent" => RefuseReason::LevelAbsent,
        "short" => RefuseReason::Short { have: body.count("have")?, want: body.count("want")? },
        "over" => RefuseReason::Over { have: body.count("have")?, want: body.count("want")? },
        "count_differs" => {
            RefuseReason::CountDiffers { counted: body.count("counted")?, listed: body.count("listed")? }
        }
        "missing_child" => RefuseReason::MissingChild { slot: body.count("slot")? },
        "malformed_child" => RefuseReason::MalformedChild { slot: body.count("slot")? },
        "foreign_child" => RefuseReason::ForeignChild { slot: body.count("slot")? },
        "unknown_child" => RefuseReason::UnknownChild { slot: body.count("slot")? },
        "repeated_child" => RefuseReason::RepeatedChild { slot: body.count("slot")? },
        "unfit_child" => RefuseReason::UnfitChild { slot: body.count("slot")? },
        "packed_child" => RefuseReason::PackedChild { slot: body.count("slot")?, parent: Field::read(body, "parent")? },
        "no_sscc" => RefuseReason::NoSscc,
        "not_sealed" => RefuseReason::NotSealed,
        "label_missing" => RefuseReason::LabelMissing,
        "label_differs" => RefuseReason::LabelDiffers,
        "on_hold" => RefuseReason::OnHold,
        other => return Err(body.unfit(other)),
    })
}
