//! An optical verifier by OPC 30010 (AutoID): its newest scan result with code data and ISO grade.
//!
//! The model publishes scans as events; what can be read is `LastScanData`, and, where the builder adds it, the whole result as one
//! value. `ScanCount` and `Trigger` are such additions: the number of the scan, and the track that came with its trigger.

use opcua::types::{ByteString, DateTime, Variant};

use super::nodes::{Model, count, structure, text_member};
use crate::domain::tag::Tag;
use crate::sim::faces::KIND;
use crate::sim::tags::Tags;

pub(super) const MODEL: Model = Model {
    namespace: "urn:sealgate:sim:autoid",
    nodes: &[
        ("Verifier.DeviceStatus", device_status),
        ("Verifier.LastScanData", last_scan_data),
        ("Verifier.LastScanResult", last_scan_result),
        ("Verifier.ScanCount", scan_count),
        ("Verifier.Trigger", trigger),
    ],
};

/// `DeviceStatusEnumeration`: 4 scanning.
fn device_status(_: &Tags) -> Variant {
    Variant::Int32(4)
}

fn last_scan_data(tags: &Tags) -> Variant {
    Variant::ByteString(ByteString::from(tags.bytes(KIND, Tag::Code)))
}

/// `OpticalVerifierScanResult` without optional members: mask, code type, data (union: 1 is a ByteString), time, grade, ISO grade in
/// whole notation, and the eight measures of a linear symbol, which a two-dimensional one leaves at 0.
fn last_scan_result(tags: &Tags) -> Variant {
    let tenths = tags.int(KIND, Tag::Grade) / 100;
    let iso = format!("{}.{}/08/660", tenths / 10, tenths % 10);
    // Thousandths of a grade have a handful of digits.
    let grade = tags.int(KIND, Tag::Grade) as f32 / 1000.0;
    structure(
        3017,
        &[
            &0_u32.to_le_bytes(),
            &text_member(b"GS1_DATAMATRIX"),
            &1_u32.to_le_bytes(),
            &text_member(tags.bytes(KIND, Tag::Code)),
            &DateTime::now().ticks().to_le_bytes(),
            &grade.to_le_bytes(),
            &text_member(iso.as_bytes()),
            &[0; 16],
        ],
    )
}

fn scan_count(tags: &Tags) -> Variant {
    Variant::UInt32(count(tags, Tag::Seq))
}

fn trigger(tags: &Tags) -> Variant {
    Variant::UInt32(count(tags, Tag::Track))
}
