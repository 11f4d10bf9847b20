//! Our own EPCIS 2.0 events as bytes: what happened on this line, for partners and repositories.
//!
//! Contract: a message is one bare JSON-LD event with its own `@context`, because it is published alone. The official schema
//! (EPCIS 2.0.1) validates such an event as a root, so the payload needs no EPCISDocument around it; a consumer that collects
//! a document lifts the `@context` out of the events. Fields stand in a fixed order, times are UTC with three decimals, and
//! `eventID` is the CBV 2.0 event hash of the rest: equal content has an equal id, and a retry has equal bytes.
//!
//! Not here: EPC URIs (they come in ready-made and escaped), the decision what is an event, EPCIS 1.2 XML. A unit that was
//! rejected before it was commissioned never gets an event.

use serde::Serialize;
use serde_json::Value;

use crate::wire::event_hash::{self, Context, instant};

const EPCIS_CONTEXT: &str = "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld";
const CBVMDA: &str = "urn:epcglobal:cbv:mda:";

/// Where an event was seen, as URIs of any kind: an SGLN URN, a Digital Link, one of the site's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPlace {
    /// The station that saw it.
    pub read_point: String,
    /// Where the objects are from then on, until told otherwise.
    pub biz_location: Option<String>,
}

/// When an event happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventClock {
    /// Microseconds since 1970-01-01 UTC; what is below a millisecond is cut.
    pub at_us: i64,
    /// Local time at the place, in minutes east of UTC; EPCIS allows 14 hours either way, and more is cut.
    pub offset_minutes: i16,
}

/// Instance and lot master data of the commissioned units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ilmd<'a> {
    pub lot: &'a str,
    /// `YYYY-MM-DD`.
    pub expiry: &'a str,
}

/// One event, ready to be stored and published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `ni:///sha-256;…?ver=CBV2.0`
    pub id: String,
    /// The CBV word, which also ends the topic.
    pub biz_step: &'static str,
    /// UTF-8 JSON, without white space.
    pub body: Vec<u8>,
}

/// Objects came into being: verified units, or a container whose label was read back. `epcs` are one or more EPC URIs, none
/// twice; a container has no `ilmd`.
pub fn commissioning(clock: EventClock, place: &EventPlace, epcs: &[String], ilmd: Option<Ilmd<'_>>) -> Event {
    debug_assert!(!epcs.is_empty(), "an event names at least one object");
    let mut body = Body::new("ObjectEvent", clock, place);
    body.epc_list = Some(epcs);
    body.biz_step = "commissioning";
    body.disposition = "active";
    body.ilmd = ilmd.map(|ilmd| IlmdBody { lot: ilmd.lot, expiry: ilmd.expiry });
    body.into_event()
}

/// Children were packed into a parent; all of them, and the parent, were commissioned before.
pub fn packing(clock: EventClock, place: &EventPlace, parent: &str, children: &[String]) -> Event {
    debug_assert!(!children.is_empty(), "a parent is packed with children");
    let mut body = Body::new("AggregationEvent", clock, place);
    body.parent = Some(parent);
    body.children = Some(children);
    body.biz_step = "packing";
    body.disposition = "in_progress";
    body.into_event()
}

/// A parent was opened: what was told of its content holds no more.
pub fn unpacking(clock: EventClock, place: &EventPlace, parent: &str, children: &[String]) -> Event {
    debug_assert!(!children.is_empty(), "what was packed had children");
    let mut body = Body::new("AggregationEvent", clock, place);
    body.parent = Some(parent);
    body.children = Some(children);
    body.action = "DELETE";
    body.biz_step = "unpacking";
    body.disposition = "in_progress";
    body.into_event()
}

/// How a commissioned object leaves production otherwise than packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawn {
    /// Examined or kept: it is no longer for sale, and its identifier still stands for it.
    Sampled,
    /// Its identifier stands for nothing any more.
    Decommissioned,
    Destroyed,
}

/// An object that was commissioned left production. It was unpacked before.
pub fn withdrawal(clock: EventClock, place: &EventPlace, epc: &String, what: Withdrawn) -> Event {
    let mut body = Body::new("ObjectEvent", clock, place);
    body.epc_list = Some(std::slice::from_ref(epc));
    (body.action, body.biz_step, body.disposition) = match what {
        Withdrawn::Sampled => ("OBSERVE", "sampling", "non_sellable_other"),
        Withdrawn::Decommissioned => ("DELETE", "decommissioning", "inactive"),
        Withdrawn::Destroyed => ("DELETE", "destroying", "destroyed"),
    };
    body.into_event()
}

/// The order of these fields is the order in the bytes.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "@context")]
    context: (&'static str, Prefixes),
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "eventID", skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "eventTime")]
    time: String,
    #[serde(rename = "eventTimeZoneOffset")]
    offset: String,
    #[serde(rename = "parentID", skip_serializing_if = "Option::is_none")]
    parent: Option<&'a str>,
    #[serde(rename = "epcList", skip_serializing_if = "Option::is_none")]
    epc_list: Option<&'a [String]>,
    #[serde(rename = "childEPCs", skip_serializing_if = "Option::is_none")]
    children: Option<&'a [String]>,
    action: &'static str,
    #[serde(rename = "bizStep")]
    biz_step: &'static str,
    disposition: &'static str,
    #[serde(rename = "readPoint")]
    read_point: Place<'a>,
    #[serde(rename = "bizLocation", skip_serializing_if = "Option::is_none")]
    biz_location: Option<Place<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ilmd: Option<IlmdBody<'a>>,
}

/// Declared in every event: undeclared, the reference hashes `cbvmda:lotNumber` under another name.
#[derive(Serialize)]
struct Prefixes {
    cbvmda: &'static str,
}

#[derive(Serialize)]
struct Place<'a> {
    id: &'a str,
}

#[derive(Serialize)]
struct IlmdBody<'a> {
    #[serde(rename = "cbvmda:lotNumber")]
    lot: &'a str,
    #[serde(rename = "cbvmda:itemExpirationDate")]
    expiry: &'a str,
}

impl<'a> Body<'a> {
    fn new(kind: &'static str, clock: EventClock, place: &'a EventPlace) -> Self {
        Self {
            context: (EPCIS_CONTEXT, Prefixes { cbvmda: CBVMDA }),
            kind,
            id: None,
            time: instant::utc_text(clock.at_us.div_euclid(1000)),
            offset: offset_text(clock.offset_minutes),
            parent: None,
            epc_list: None,
            children: None,
            action: "ADD",
            biz_step: "",
            disposition: "",
            read_point: Place { id: &place.read_point },
            biz_location: place.biz_location.as_deref().map(|id| Place { id }),
            ilmd: None,
        }
    }

    fn into_event(self) -> Event {
        let value: Value = serde_json::to_value(&self).expect("texts and lists always serialize");
        let id = event_hash::event_id(&value, &Context::default())
            .expect("only object and aggregation events are built here");
        let named = Body { id: Some(&id), ..self };
        let body = serde_json::to_vec(&named).expect("texts and lists always serialize");
        let biz_step = named.biz_step;
        Event { id, biz_step, body }
    }
}

/// `+hh:mm` or `-hh:mm`; UTC is `+00:00`.
fn offset_text(minutes: i16) -> String {
    let minutes = minutes.clamp(-840, 840);
    let sign = if minutes < 0 { '-' } else { '+' };
    let minutes = minutes.unsigned_abs();
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}
