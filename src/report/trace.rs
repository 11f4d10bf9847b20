//! Trace: any code read or typed, to everything known about what it names.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{ReportError, batch_fields, code, hex, object, put_time, with_times};
use crate::domain::code::Code;
use crate::domain::gs1::{Gtin, Lot, SerialNumber, Sscc};
use crate::store::detail::{Around, InspectionRow, PermitRow};
use crate::store::pictures::path_of;
use crate::store::trace::Membership;
use crate::store::{Reader, StoredFact};

/// One object, or an array where a serial alone or a product means several. Null: not in this journal.
pub(super) fn answer(reader: &mut Reader, code: &str) -> Result<Value, ReportError> {
    let named = code::digital_link(code.trim()).map_or_else(|| Code::parse(code.as_bytes()), Ok)?;
    match named {
        Code::Sgtin { gtin, serial } => unit(reader, gtin, serial),
        Code::Sscc(sscc) => {
            let found = container(reader, sscc)?;
            // Eighteen digits with a good check digit may be a serial number all the same.
            let serial = SerialNumber::new(code.trim()).ok().filter(|_| found.is_null());
            serial.map_or(Ok(found), |serial| units(reader, serial))
        }
        Code::Product { gtin, lot } => product(reader, gtin, lot),
        Code::Serial(serial) => units(reader, serial),
        Code::Other(_) => Ok(Value::Null),
    }
}

fn unit(reader: &mut Reader, gtin: Gtin, serial: SerialNumber) -> Result<Value, ReportError> {
    let Some(found) = reader.trace_unit(gtin, serial)? else { return Ok(Value::Null) };
    let around = reader.around_unit(gtin, serial)?;
    let inspections = reader.inspections_of(gtin, serial)?;
    Ok(json!({
        "unit": found.unit,
        "batch": found.batch,
        "gtin": found.gtin,
        "serial": found.serial,
        "state": found.state,
        "verified": u8::from(found.verified),
        "containers": around.iter().map(around_fields).collect::<Vec<_>>(),
        "parents": found.parents.iter().map(|member| membership("parent", member)).collect::<Vec<_>>(),
        "inspections": inspections.iter().map(|row| inspection(row, &found.facts)).collect::<Vec<_>>(),
        "facts": facts(reader, &found.facts),
    }))
}

/// Every unit with this serial, whatever its product.
fn units(reader: &mut Reader, serial: SerialNumber) -> Result<Value, ReportError> {
    let mut gtins: Vec<String> = reader.batches()?.into_iter().map(|row| row.gtin).collect();
    gtins.sort_unstable();
    gtins.dedup();
    let mut found = Vec::new();
    for gtin in gtins.iter().filter_map(|gtin| Gtin::new(gtin).ok()) {
        let unit = unit(reader, gtin, serial)?;
        if !unit.is_null() {
            found.push(unit);
        }
    }
    Ok(one_or_all(found))
}

fn one_or_all(mut found: Vec<Value>) -> Value {
    match found.len() {
        0 => Value::Null,
        1 => found.remove(0),
        _ => Value::Array(found),
    }
}

fn container(reader: &mut Reader, sscc: Sscc) -> Result<Value, ReportError> {
    let Some(found) = reader.trace_container(sscc)? else { return Ok(Value::Null) };
    let around = reader.around_container(sscc)?;
    let tokens: Vec<u32> = found.facts.iter().filter_map(token).collect();
    let permits = reader.permits(&tokens)?;
    Ok(json!({
        "container": found.container,
        "epc": found.epc,
        "level": found.level,
        "batch": found.batch,
        "state": found.state,
        "capacity": found.capacity,
        "closed_seq": found.closed_seq,
        "containers": around.iter().map(around_fields).collect::<Vec<_>>(),
        "parents": found.parents.iter().map(|member| membership("parent", member)).collect::<Vec<_>>(),
        "members": found.children.iter().map(|member| membership("child", member)).collect::<Vec<_>>(),
        "permits": permits.iter().map(permit).collect::<Vec<_>>(),
        "facts": facts(reader, &found.facts),
    }))
}

/// The batches of a product, or of one lot of it.
fn product(reader: &mut Reader, gtin: Gtin, lot: Option<Lot>) -> Result<Value, ReportError> {
    let mut found = Vec::new();
    for row in reader.batches()? {
        let is_meant = row.gtin == gtin.as_str() && lot.is_none_or(|lot| row.lot == lot.as_str());
        if is_meant {
            found.push(Value::Object(with_times(reader, batch_fields(&row))?));
        }
    }
    Ok(one_or_all(found))
}

fn facts(reader: &Reader, rows: &[StoredFact]) -> Vec<Value> {
    rows.iter().map(|row| fact(row, reader.clock_at(row.seq))).collect()
}

/// A row of `v_fact`, and of `v_fact_clock`, without the previous hash; the body as the object that it is.
fn fact(fact: &StoredFact, clock: Option<String>) -> Value {
    let body = fact.published().body;
    let mut fields = Map::from_iter([("seq".to_owned(), json!(fact.seq))]);
    put_time(&mut fields, "at", Some(fact.at_us));
    fields.insert("clock".to_owned(), json!(clock));
    fields.extend(object(json!({
        "mono_us": fact.mono_us,
        "boot": fact.boot,
        "kind": &*fact.kind,
        "version": fact.version,
        "batch": fact.batch.as_deref(),
        "actor": &*fact.actor,
        "subject": fact.subject,
        "body": serde_json::from_str(&body).unwrap_or_else(|_| Value::from(&*body)),
        "hash": hex(&fact.hash),
    })));
    Value::Object(fields)
}

/// The permit that a fact granted.
fn token(fact: &StoredFact) -> Option<u32> {
    let body: Value = serde_json::from_str(&fact.body).ok().filter(|_| &*fact.kind == "close_granted")?;
    u32::try_from(body.get("token")?.as_u64()?).ok()
}

fn inspection(row: &InspectionRow, facts: &[StoredFact]) -> Value {
    json!({
        "inspection": row.inspection,
        "purpose": row.purpose,
        "station": row.station,
        "epoch": row.epoch,
        "result_seq": row.result_seq,
        "track": row.track,
        "verdict": row.verdict,
        "commanded_seq": row.commanded_seq,
        "confirmed_seq": row.confirmed_seq,
        "alarm_seq": row.alarm_seq,
        "picture": picture(row, facts),
    })
}

/// The picture that was stored of an inspection, and where it lies below `NAME.pictures` beside the journal `NAME.db`, unless a
/// later `pictures_removed` names it. Null where there was none.
fn picture(row: &InspectionRow, facts: &[StoredFact]) -> Value {
    let subject = format!("inspection:{}", row.inspection);
    let stored = facts.iter().find(|fact| &*fact.kind == "picture_stored" && fact.subject == subject);
    let body: Option<Value> = stored.and_then(|fact| serde_json::from_str(&fact.body).ok());
    let Some(body) = body else { return Value::Null };
    let file = body["sha256"].as_str().and_then(|digest| path_of(Path::new(""), digest));
    json!({ "sha256": body["sha256"], "bytes": body["bytes"], "media_type": body["media_type"], "file": file })
}

fn permit(row: &PermitRow) -> Value {
    json!({
        "token": row.token,
        "gate": row.gate,
        "station": row.station,
        "epoch": row.epoch,
        "request_seq": row.request_seq,
        "granted_seq": row.granted_seq,
        "state": row.state,
    })
}

fn around_fields(row: &Around) -> Value {
    json!({ "container": row.container, "level": row.level, "state": row.state, "closed_seq": row.closed_seq })
}

fn membership(other: &str, member: &Membership) -> Value {
    json!({ other: member.other, "from_seq": member.from_seq, "to_seq": member.to_seq })
}
