//! The store's rows as JSON, key by key in the order in which people read them.

use serde_json::{Value, json};

use crate::store::StoredFact;
use crate::store::query::{AlarmRow, BatchRow};
use crate::store::trace::{ContainerTrace, Membership, UnitTrace};

pub(super) fn batch(row: &BatchRow) -> Value {
    json!({
        "batch": row.batch,
        "state": row.state,
        "gtin": row.gtin,
        "lot": row.lot,
        "expiry": row.expiry,
        "case_capacity": row.case_capacity,
        "pallet_capacity": row.pallet_capacity,
        "serial_count": row.serial_count,
        "opened_seq": row.opened_seq,
        "closed_seq": row.closed_seq,
    })
}

pub(super) fn alarm(row: &AlarmRow) -> Value {
    json!({
        "alarm": row.alarm,
        "kind": row.kind,
        "station": row.station,
        "detail": row.detail,
        "raised_seq": row.raised_seq,
        "acked_seq": row.acked_seq,
    })
}

pub(super) fn unit(trace: &UnitTrace) -> Value {
    json!({
        "unit": trace.unit,
        "state": trace.state,
        "verified": trace.verified,
        "batch": trace.batch,
        "gtin": trace.gtin,
        "serial": trace.serial,
        "parents": members(&trace.parents, "parent"),
        "facts": facts(&trace.facts),
    })
}

pub(super) fn container(trace: &ContainerTrace) -> Value {
    json!({
        "container": trace.container,
        "epc": trace.epc,
        "level": trace.level,
        "state": trace.state,
        "batch": trace.batch,
        "capacity": trace.capacity,
        "closed_seq": trace.closed_seq,
        "parents": members(&trace.parents, "parent"),
        "children": members(&trace.children, "child"),
        "facts": facts(&trace.facts),
    })
}

fn members(list: &[Membership], other: &str) -> Vec<Value> {
    list.iter()
        .map(|member| json!({ other: member.other, "from_seq": member.from_seq, "to_seq": member.to_seq }))
        .collect()
}

/// The body is shown as the JSON that it is; what cannot be read as JSON is shown as text, and `audit verify` is the judge.
fn facts(list: &[StoredFact]) -> Vec<Value> {
    let fact = |fact: &StoredFact| {
        let body: Value = serde_json::from_str(&fact.body).unwrap_or_else(|_| Value::from(fact.body.as_str()));
        json!({
            "seq": fact.seq,
            "at_us": fact.at_us,
            "kind": &*fact.kind,
            "actor": &*fact.actor,
            "subject": fact.subject,
            "body": body,
        })
    };
    list.iter().map(fact).collect()
}
