//! JSON Schemas (2020-12) of every payload that leaves or enters over MQTT, and of every fact's body. Strict: a field that is
//! not described is an error, so that a consumer's generated types are complete.
//!
//! Names are topics below the line's prefix. EPCIS events follow the official schema of EPCIS 2.0.1; ours describes what this
//! line writes of it.

use serde_json::{Map, Value, json};

use crate::domain::packml::MachineState;
use crate::domain::rule::{Class, Rule};
use crate::engine::reason::{AlarmKind, BatchState};
use crate::wire::{fact, text, topic};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// An object under construction.
#[derive(Default)]
pub(crate) struct Shape {
    properties: Map<String, Value>,
    required: Vec<String>,
}

impl Shape {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn required(&mut self, key: &str, schema: Value) {
        self.properties.insert(key.to_owned(), schema);
        self.required.push(key.to_owned());
    }

    pub(crate) fn optional(&mut self, key: &str, schema: Value) {
        self.properties.insert(key.to_owned(), schema);
    }

    pub(crate) fn make_optional(&mut self, key: &str) {
        self.required.retain(|required| required != key);
    }

    /// An object of its own under `key`.
    pub(crate) fn nested(&mut self, key: &str, parts: impl FnOnce(&mut Shape)) {
        let mut inner = Shape::new();
        parts(&mut inner);
        self.required(key, inner.build());
    }

    pub(crate) fn build(self) -> Value {
        json!({
            "type": "object",
            "properties": self.properties,
            "required": self.required,
            "additionalProperties": false,
        })
    }
}

/// Every schema by its name: topics, then what they are made of.
pub fn all() -> Vec<(String, Value)> {
    let mut schemas: Vec<(String, Value)> =
        fact::KINDS.iter().map(|kind| (topic::fact(kind), fact::describe(kind))).collect();
    schemas.extend([
        (topic::STATUS.to_owned(), status()),
        (topic::STATE_BATCH.to_owned(), state_batch()),
        (topic::STATE_COUNTS.to_owned(), state_counts()),
        (topic::STATE_DEVICES.to_owned(), state_devices()),
        (topic::STATE_ALARMS.to_owned(), state_alarms()),
        (topic::STATE_VERDICTS.to_owned(), state_verdicts()),
        (topic::CHECKPOINT.to_owned(), checkpoint()),
        (topic::BATCH_CLOSED.to_owned(), batch_closed()),
        (topic::epcis("commissioning"), commissioning()),
        (topic::epcis("packing"), aggregation("ADD", "packing")),
        (topic::epcis("unpacking"), aggregation("DELETE", "unpacking")),
        (topic::epcis("sampling"), withdrawal("OBSERVE", "sampling", "non_sellable_other")),
        (topic::epcis("decommissioning"), withdrawal("DELETE", "decommissioning", "inactive")),
        (topic::epcis("destroying"), withdrawal("DELETE", "destroying", "destroyed")),
        (topic::CMD_FEED_REPLAY.to_owned(), feed_replay()),
        (topic::CMD_FEED_WATERMARK.to_owned(), feed_watermark()),
        ("_answer/feed/watermark".to_owned(), watermark_answer()),
        ("_answer/feed/replay".to_owned(), replay_answer()),
        ("_answer".to_owned(), answer()),
        ("_order".to_owned(), order()),
    ]);
    for (name, schema) in &mut schemas {
        if let Some(object) = schema.as_object_mut() {
            object.insert("$schema".to_owned(), json!(DIALECT));
            object.insert("title".to_owned(), json!(name));
        }
    }
    schemas
}

pub(crate) fn text() -> Value {
    json!({"type": "string"})
}

pub(crate) fn text_of_at_most(bytes: usize) -> Value {
    json!({"type": "string", "maxLength": bytes})
}

pub(crate) fn digits(least: u8, most: u8) -> Value {
    json!({"type": "string", "pattern": format!("^[0-9]{{{least},{most}}}$")})
}

/// GS1 character set 82, 1 to 20 characters.
pub(crate) fn cset82() -> Value {
    json!({"type": "string", "pattern": format!("^{CSET_82}{{1,20}}$")})
}

const CSET_82: &str = "[!\"%-?A-Z_a-z]";

/// `21` and a serial number, or `00` and an SSCC.
pub(crate) fn child() -> Value {
    json!({"type": "string", "pattern": format!("^(21{CSET_82}{{1,20}}|00[0-9]{{18}})$")})
}

/// A full date; day 00 where none was given.
pub(crate) fn expiry() -> Value {
    json!({"type": "string", "pattern": "^[0-9]{4}-(0[1-9]|1[0-2])-([0-2][0-9]|3[01])$"})
}

/// Bytes of a device, percent-encoded.
pub(crate) fn device_text() -> Value {
    json!({"type": "string", "pattern": "^([ !#$&-\\[\\]-~]|%[0-9A-F]{2})*$"})
}

pub(crate) fn word<T>(all: &[T], name: impl Fn(&T) -> &'static str) -> Value {
    json!({"enum": all.iter().map(name).collect::<Vec<_>>()})
}

pub(crate) fn count(most: u64) -> Value {
    range(0, most)
}

pub(crate) fn range(least: u64, most: u64) -> Value {
    json!({"type": "integer", "minimum": least, "maximum": most})
}

pub(crate) fn signed() -> Value {
    json!({"type": "integer", "minimum": i64::MIN, "maximum": i64::MAX})
}

pub(crate) fn flag() -> Value {
    json!({"type": "boolean"})
}

pub(crate) fn list(item: Value) -> Value {
    json!({"type": "array", "items": item})
}

pub(crate) fn object(parts: impl FnOnce(&mut Shape)) -> Value {
    let mut shape = Shape::new();
    parts(&mut shape);
    shape.build()
}

/// An object with the word `code` and counts beside it.
fn coded(codes: &[&str], counts: &[&str]) -> Value {
    object(|shape| {
        shape.required("code", json!({"enum": codes}));
        for name in counts {
            shape.required(name, count(u64::from(u32::MAX)));
        }
    })
}

pub(crate) fn difference() -> Value {
    json!({"oneOf": [
        coded(text::DIFFERENCES_WITH_COUNT, &["count"]),
        coded(&["bin_differs"], &["counted", "confirmed"]),
    ]})
}

pub(crate) fn refuse_reason() -> Value {
    let mut packed = coded(&["packed_child"], &["slot"]);
    if let Some(parts) = packed.as_object_mut() {
        parts.insert("required".to_owned(), json!(["code", "slot", "parent"]));
        if let Some(Value::Object(properties)) = parts.get_mut("properties") {
            properties.insert("parent".to_owned(), digits(18, 18));
        }
    }
    json!({"oneOf": [
        coded(&["no_batch", "not_good", "level_absent", "no_sscc", "not_sealed", "label_missing", "label_differs",
            "on_hold"], &[]),
        coded(&["short", "over"], &["have", "want"]),
        coded(&["count_differs"], &["counted", "listed"]),
        coded(&["missing_child", "malformed_child", "foreign_child", "unknown_child", "repeated_child",
            "unfit_child"], &["slot"]),
        packed,
    ]})
}

fn sha256() -> Value {
    json!({"type": "string", "pattern": "^[0-9a-f]{64}$"})
}

fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn nullable(schema: Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

fn any_count() -> Value {
    count(u64::MAX)
}

fn status() -> Value {
    let online = object(|shape| {
        shape.required("status", json!({"const": "online"}));
        shape.required("line", text());
        shape.required("version", text());
        shape.required("config_sha256", sha256());
        shape.required("epoch", any_count());
        shape.nested("last_seq", |streams| {
            for stream in topic::STREAMS {
                streams.required(stream, any_count());
            }
        });
        shape.required("backlog", any_count());
        shape.required("time", time());
    });
    let offline = object(|shape| {
        shape.required("status", json!({"const": "offline"}));
        shape.required("line", text());
    });
    json!({"oneOf": [online, offline]})
}

fn state_batch() -> Value {
    let batch = object(|shape| {
        shape.required("batch", text_of_at_most(32));
        shape.required("gtin", digits(14, 14));
        shape.required("lot", cset82());
        shape.required("expiry", expiry());
        shape.required("state", word(BatchState::ALL, |state| state.name()));
        shape.required("case_capacity", count(u64::from(u16::MAX)));
        shape.required("pallet_capacity", count(u64::from(u16::MAX)));
    });
    object(|shape| shape.required("batch", nullable(batch)))
}

fn counts() -> Value {
    let closed = fact::describe("batch_closed");
    let counts = closed.get("properties").and_then(|parts| parts.get("counts"));
    counts.cloned().unwrap_or_default()
}

fn state_counts() -> Value {
    object(|shape| {
        shape.required("batch", nullable(text_of_at_most(32)));
        shape.required("counts", counts());
    })
}

fn state_devices() -> Value {
    let station = object(|shape| {
        shape.required("station", text_of_at_most(24));
        shape.required("kind", text());
        shape.required("joined", flag());
        shape.required("held", flag());
        shape.required("epoch", count(u64::from(u32::MAX)));
        shape.required("fault", signed());
        shape.optional("state", word(MachineState::ALL, |state| state.name()));
        shape.optional("condition", text());
        shape.optional("away", text());
        shape.optional("tag", text());
        shape.optional("flaw", text());
        shape.optional("mode", text());
    });
    object(|shape| shape.required("stations", list(station)))
}

fn state_alarms() -> Value {
    let alarm = object(|shape| {
        shape.required("alarm", count(u64::from(u32::MAX)));
        shape.required("kind", word(AlarmKind::ALL, |kind| kind.name()));
        shape.required("station", json!({"type": ["string", "null"], "maxLength": 24}));
        shape.required("detail", text());
        shape.required("holds", flag());
        shape.required("rule", word(Rule::ALL, |rule| rule.id()));
        shape.required("class", json!({"enum": Class::NAMES}));
        shape.required("text", text());
    });
    object(|shape| shape.required("alarms", list(alarm)))
}

fn state_verdicts() -> Value {
    let quantiles = || {
        nullable(object(|shape| {
            for key in ["samples", "p50_us", "p99_us", "p999_us"] {
                shape.required(key, any_count());
            }
        }))
    };
    object(|shape| {
        shape.required("deadline_us", nullable(any_count()));
        shape.required("departed", quantiles());
        shape.required("echoed", quantiles());
    })
}

/// `note` is what counts (`wire::checkpoint`); the other fields say the same for programs that only show it.
fn checkpoint() -> Value {
    object(|shape| {
        shape.required("seq", any_count());
        shape.required("epoch", count(u64::from(u32::MAX)));
        shape.required("store_uuid", text());
        shape.required("head_hash", json!({"type": "string", "pattern": "^[0-9a-f]{64}$"}));
        shape.required("time", text());
        shape.required("key_id", json!({"type": "string", "pattern": "^[0-9a-f]{8}$"}));
        shape.required("note", text());
    })
}

fn feed_watermark() -> Value {
    object(|shape| {
        shape.required("seq", any_count());
        shape.required("id", replay_id());
    })
}

fn watermark_answer() -> Value {
    object(|shape| {
        shape.optional("id", replay_id());
        shape.required("ok", flag());
        shape.optional("watermark", any_count());
        shape.optional("error", text());
    })
}

fn batch_closed() -> Value {
    object(|shape| {
        shape.required("batch", text_of_at_most(32));
        shape.required("gtin", digits(14, 14));
        shape.required("lot", cset82());
        shape.required("expiry", expiry());
        shape.required("first_seq", any_count());
        shape.required("last_seq", any_count());
        shape.required("counts", counts());
        shape.required("digest", sha256());
    })
}

/// What all of our EPCIS events have.
fn epcis_event(shape: &mut Shape, kind: &str, action: &str, (biz_step, disposition): (&str, &str)) {
    let place = || object(|place| place.required("id", text()));
    shape.required("@context", json!({"type": "array"}));
    shape.required("type", json!({"const": kind}));
    shape.required("eventID", json!({"type": "string", "pattern": "^ni:///sha-256;[0-9a-f]{64}\\?ver=CBV2\\.0$"}));
    shape.required("eventTime", time());
    shape.required("eventTimeZoneOffset", json!({"type": "string", "pattern": "^[+-][0-9]{2}:[0-9]{2}$"}));
    shape.required("action", json!({"const": action}));
    shape.required("bizStep", json!({"const": biz_step}));
    shape.required("disposition", json!({"const": disposition}));
    shape.required("readPoint", place());
    shape.optional("bizLocation", place());
}

fn epcs() -> Value {
    json!({"type": "array", "items": {"type": "string", "pattern": "^urn:epc:id:(sgtin|sscc):"}, "minItems": 1})
}

fn commissioning() -> Value {
    object(|shape| {
        epcis_event(shape, "ObjectEvent", "ADD", ("commissioning", "active"));
        shape.required("epcList", epcs());
        let ilmd = object(|ilmd| {
            ilmd.required("cbvmda:lotNumber", cset82());
            ilmd.required("cbvmda:itemExpirationDate", expiry());
        });
        shape.optional("ilmd", ilmd);
    })
}

fn withdrawal(action: &str, biz_step: &str, disposition: &str) -> Value {
    object(|shape| {
        epcis_event(shape, "ObjectEvent", action, (biz_step, disposition));
        shape.required("epcList", epcs());
    })
}

fn aggregation(action: &str, biz_step: &str) -> Value {
    object(|shape| {
        epcis_event(shape, "AggregationEvent", action, (biz_step, "in_progress"));
        shape.required("parentID", json!({"type": "string", "pattern": "^urn:epc:id:sscc:"}));
        shape.required("childEPCs", epcs());
    })
}

fn feed_replay() -> Value {
    object(|shape| {
        shape.required("id", replay_id());
        shape.optional("stream", json!({"const": topic::STREAM_FACT}));
        shape.required("from", count(u64::MAX));
    })
}

/// Answered as it was sent: a request sent twice is one replay.
fn replay_id() -> Value {
    json!({"oneOf": [{"type": "string", "minLength": 1, "maxLength": 64}, any_count()]})
}

/// What the response topic of a replay gets; `through` is the newest fact that came again.
fn replay_answer() -> Value {
    object(|shape| {
        shape.optional("id", replay_id());
        shape.required("ok", flag());
        shape.optional("from", any_count());
        shape.optional("through", any_count());
        shape.optional("error", text());
    })
}

fn answer() -> Value {
    let reason = || {
        object(|shape| {
            shape.required("code", text());
            shape.required("text", text());
            for part in ["path", "value", "allowed"] {
                shape.optional(part, text());
            }
            shape.optional("rule", word(Rule::ALL, |rule| rule.id()));
            shape.optional("class", json!({"enum": Class::NAMES}));
        })
    };
    object(|shape| {
        shape.required("id", any_count());
        shape.required("ok", flag());
        shape.optional("changed", flag());
        shape.optional("reasons", list(reason()));
        shape.optional("differences", list(reason()));
        shape.optional("data", json!(true));
    })
}

pub(crate) fn order() -> Value {
    object(|shape| {
        shape.required("batch", json!({"type": "string", "minLength": 1, "maxLength": 32}));
        shape.required("gtin", digits(8, 14));
        shape.required("lot", cset82());
        shape.required("expiry", json!({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}(-[0-9]{2})?$"}));
        shape.required("gcp_length", range(6, 12));
        shape.nested("pack", |pack| {
            pack.required("case", range(1, u64::from(u16::MAX)));
            pack.optional("pallet", range(1, u64::from(u16::MAX)));
        });
        shape.nested("sscc", |sscc| {
            sscc.required("extension", range(0, 9));
            sscc.required("prefix", digits(6, 12));
            sscc.required("first", any_count());
            sscc.required("last", any_count());
        });
        let recipe = json!({"type": "string", "minLength": 1, "maxLength": 64});
        let station = json!({"minLength": 1, "maxLength": 24});
        shape.optional("recipes", json!({"type": "object", "propertyNames": station, "additionalProperties": recipe}));
        shape.optional("serials", list(cset82()));
        shape.optional("serials_file", text());
    })
}
