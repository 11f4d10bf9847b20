//! The CBV 2.0 event hash: a name for the content of an EPCIS 2.0 event, `ni:///sha-256;…?ver=CBV2.0`.
//!
//! Contract: `pre_hash` writes the canonical text of one JSON-LD event (CBV 2.0, section 8.9) and `event_id` is its
//! SHA-256. Both depend on the content alone: the order of JSON keys and of list elements, the notation of times, numbers
//! and keys (EPC URN or Digital Link) make no difference. They take what the reference program `epcis-event-hash-generator`
//! 1.9.3 takes and give what it gives, its quirks included: a value that looks like a number becomes one (lot `0012` hashes as
//! `12`), and a value equal to a CBV word that the event uses becomes the URI of that word (lot `active`).
//!
//! Where the reference loses content or depends on key order, this is stricter: `type` precedes the value in business
//! transactions, sources and destinations, whatever the order in the file; an extension inside a read point or sensor report
//! stays there whatever its namespace; lot `inf` (the reference drops the event) stands as written.
//!
//! Not here: event types other than ObjectEvent and AggregationEvent, XML, schema validation, fetching of contexts. Nested
//! `@context` members are left out and declare nothing.

mod canonical;
pub(in crate::wire) mod instant;

use std::borrow::Cow;
use std::fmt::{self, Write};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use canonical::canonical;

type Object = Map<String, Value>;

/// Why an event has no hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventHashError {
    /// The event is no JSON object, or its `type` is no text.
    NotAnEvent,
    /// An event type that this line never writes.
    UnsupportedEventType(String),
}

impl fmt::Display for EventHashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnEvent => write!(
                f,
                "event hash: an event must be a JSON object with a text in `type`; pass one event, not the document"
            ),
            Self::UnsupportedEventType(kind) => {
                write!(f, "event hash: event type {kind} is not supported; pass an ObjectEvent or AggregationEvent")
            }
        }
    }
}

impl std::error::Error for EventHashError {}

/// The prefixes that a document declares in its `@context`. What the standard EPCIS context declares by itself does not
/// count: the reference leaves `cbvmda:lotNumber` unexpanded unless the document declares `cbvmda`.
#[derive(Clone, Debug, Default)]
pub struct Context {
    prefixes: Vec<(String, String)>,
}

impl Context {
    /// Reads the value of an `@context` member; texts in it (addresses of contexts) are not fetched and declare nothing.
    pub fn new(declared: &Value) -> Self {
        let mut context = Self::default();
        match declared {
            Value::Array(parts) => parts.iter().for_each(|part| context.declare(part)),
            Value::Object(_) => context.declare(declared),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        context
    }

    /// Takes the `@context` of a document or event, none where it has none.
    pub fn of(document: &Value) -> Self {
        document.get("@context").map(Self::new).unwrap_or_default()
    }

    fn declare(&mut self, part: &Value) {
        for (prefix, namespace) in part.as_object().into_iter().flatten() {
            if let Some(namespace) = namespace.as_str() {
                self.prefixes.push((prefix.clone(), namespace.to_owned()));
            }
        }
    }

    /// `prefix:rest` to namespace and rest; the latest declaration counts.
    fn split<'a>(&'a self, curie: &'a str) -> Option<(&'a str, &'a str)> {
        let (prefix, rest) = curie.split_once(':')?;
        let declared = self.prefixes.iter().rev().find(|(name, _)| name == prefix);
        declared.map(|(_, namespace)| (namespace.as_str(), rest))
    }
}

/// The event hash of one event. `context` is that of the document around it; the event's own `@context` adds to it.
pub fn event_id(event: &Value, context: &Context) -> Result<String, EventHashError> {
    let digest = Sha256::digest(pre_hash(event, context)?.as_bytes());
    let mut id = String::with_capacity(90);
    id.push_str("ni:///sha-256;");
    for byte in digest {
        write!(id, "{byte:02x}").expect("writing to a String never fails");
    }
    id.push_str("?ver=CBV2.0");
    Ok(id)
}

/// The canonical text that is hashed.
pub fn pre_hash(event: &Value, context: &Context) -> Result<String, EventHashError> {
    let object = event.as_object().ok_or(EventHashError::NotAnEvent)?;
    let kind = object.get("type").and_then(Value::as_str);
    let kind = kind.ok_or(EventHashError::NotAnEvent)?;
    if kind != "ObjectEvent" && kind != "AggregationEvent" {
        return Err(EventHashError::UnsupportedEventType(kind.to_owned()));
    }
    let scope = Scope { document: context, event: Context::of(event), words: words_of(object) };
    let mut text = String::with_capacity(1024);
    text.push_str("eventType=");
    text.push_str(kind);
    for slot in EVENT {
        scope.write_slot(slot, object, &mut text);
    }
    let mut tail: Vec<String> = Vec::new();
    for slot in LISTS_IN_TAIL {
        let mut list = String::new();
        scope.write_slot(slot, object, &mut list);
        tail.push(list);
    }
    let known = |key: &str| UNHASHED.contains(&key) || is_slot(EVENT, key) || is_slot(LISTS_IN_TAIL, key);
    scope.push_free(object, known, &mut tail);
    tail.sort_unstable();
    text.extend(tail);
    Ok(text)
}

/// One known field, and how its value is written.
struct Slot {
    name: &'static str,
    form: Form,
}

enum Form {
    /// `name=value`, once per value.
    Text,
    /// The same, the value being a time.
    Time,
    /// The name, the fields in this order, then the extensions.
    Parts(&'static [Slot]),
    /// The name once, then every element as this slot, sorted.
    List(&'static Slot),
}

const fn text(name: &'static str) -> Slot {
    let form = Form::Text;
    Slot { name, form }
}

const fn time(name: &'static str) -> Slot {
    let form = Form::Time;
    Slot { name, form }
}

const fn parts(name: &'static str, order: &'static [Slot]) -> Slot {
    let form = Form::Parts(order);
    Slot { name, form }
}

const fn list(name: &'static str, element: &'static Slot) -> Slot {
    let form = Form::List(element);
    Slot { name, form }
}

/// The order of CBV 2.0, section 8.9, as far as it concerns object and aggregation events.
static EVENT: &[Slot] = &[
    time("eventTime"),
    text("eventTimeZoneOffset"),
    text("certificationInfo"),
    text("parentID"),
    list("epcList", &text("epc")),
    list("childEPCs", &text("epc")),
    list("quantityList", &QUANTITY),
    list("childQuantityList", &QUANTITY),
    text("action"),
    text("bizStep"),
    text("disposition"),
    parts("persistentDisposition", &[text("set"), text("unset")]),
    parts("readPoint", &[text("id")]),
    parts("bizLocation", &[text("id")]),
    list("sensorElementList", &SENSOR_ELEMENT),
];

/// The reference writes these among ilmd and extensions, sorted as texts; its published vectors hold that order.
static LISTS_IN_TAIL: &[Slot] = &[
    list("bizTransactionList", &parts("", &[text("type"), text("bizTransaction")])),
    list("sourceList", &parts("", &[text("type"), text("source")])),
    list("destinationList", &parts("", &[text("type"), text("destination")])),
];

static QUANTITY: Slot = parts("quantityElement", &[text("epcClass"), text("quantity"), text("uom")]);

static SENSOR_ELEMENT: Slot = parts(
    "sensorElement",
    &[
        parts(
            "sensorMetadata",
            &[
                time("time"),
                time("startTime"),
                time("endTime"),
                text("deviceID"),
                text("deviceMetadata"),
                text("rawData"),
                text("dataProcessingMethod"),
                text("bizRules"),
            ],
        ),
        parts("sensorReport", SENSOR_REPORT),
    ],
);

static SENSOR_REPORT: &[Slot] = &[
    text("type"),
    text("exception"),
    text("deviceID"),
    text("deviceMetadata"),
    text("rawData"),
    text("dataProcessingMethod"),
    time("time"),
    text("microorganism"),
    text("chemicalSubstance"),
    text("value"),
    text("component"),
    text("stringValue"),
    text("booleanValue"),
    text("hexBinaryValue"),
    text("uriValue"),
    text("minValue"),
    text("maxValue"),
    text("meanValue"),
    text("sDev"),
    text("percRank"),
    text("percValue"),
    text("uom"),
    text("coordinateReferenceSystem"),
];

/// What says nothing about the content of an event: its own name, when a repository took it in, and its withdrawal.
const UNHASHED: &[&str] = &["type", "eventID", "recordTime", "errorDeclaration"];
/// Left out at every level.
const COMMENTS: &[&str] = &["@context", "rdfs:comment", "comment"];

fn is_slot(order: &[Slot], key: &str) -> bool {
    order.iter().any(|slot| slot.name == key)
}

/// The elements of a list; a value that is no list counts as its only element.
fn elements(value: &Value) -> &[Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

/// What is needed to read the values of one event.
struct Scope<'c> {
    document: &'c Context,
    event: Context,
    words: Vec<String>,
}

impl Scope<'_> {
    fn write_slot(&self, slot: &Slot, object: &Object, out: &mut String) {
        if let Some(value) = object.get(slot.name) {
            self.write_value(slot, value, out);
        }
    }

    fn write_value(&self, slot: &Slot, value: &Value, out: &mut String) {
        if let Form::List(element) = &slot.form {
            let before = out.len();
            out.push_str(slot.name);
            let named = out.len();
            self.write_value(element, value, out);
            if out.len() == named {
                out.truncate(before);
            }
            return;
        }
        let mut written: Vec<String> = elements(value).iter().map(|element| self.element(slot, element)).collect();
        written.sort_unstable();
        out.extend(written);
    }

    /// One element under its name; nothing where it is empty.
    fn element(&self, slot: &Slot, element: &Value) -> String {
        let content = match (&slot.form, element) {
            (Form::Parts(order), Value::Object(object)) => self.parts(order, object),
            (Form::Time, Value::String(time)) => labelled(&instant::normalized(time.trim())),
            (Form::Text | Form::Time | Form::Parts(_) | Form::List(_), _) => self.free(element),
        };
        if content.is_empty() {
            return content;
        }
        [slot.name, &content].concat()
    }

    fn parts(&self, order: &[Slot], object: &Object) -> String {
        let mut out = String::new();
        for slot in order {
            self.write_slot(slot, object, &mut out);
        }
        let mut extensions = Vec::new();
        self.push_free(object, |key| is_slot(order, key), &mut extensions);
        extensions.sort_unstable();
        out.extend(extensions);
        out
    }

    /// Every member that is not `known`, as name and content.
    fn push_free(&self, object: &Object, known: impl Fn(&str) -> bool, out: &mut Vec<String>) {
        for (key, value) in object {
            if !known(key) && !COMMENTS.contains(&key.as_str()) {
                self.push_member(key, value, out);
            }
        }
    }

    /// A member without a known form. A list whose name ends in `List` is named once, its elements without the ending, as
    /// EPCIS XML writes it; another list repeats the name for every element.
    fn push_member(&self, key: &str, value: &Value, out: &mut Vec<String>) {
        let name = self.member_name(key);
        let items = elements(value);
        let Some(element_name) = name.strip_suffix("List") else {
            out.extend(items.iter().map(|item| [&name, &*self.free(item)].concat()));
            return;
        };
        let named = items.iter().map(|item| [element_name, &self.free(item)].concat());
        let mut named: Vec<String> = named.collect();
        if named.is_empty() {
            return;
        }
        named.sort_unstable();
        out.push([&*name, &named.concat()].concat());
    }

    fn member_name<'a>(&self, key: &'a str) -> Cow<'a, str> {
        let split = self.event.split(key).or_else(|| self.document.split(key));
        match split {
            Some((namespace, local)) => Cow::Owned(["{", namespace, "}", local].concat()),
            None => Cow::Borrowed(key),
        }
    }

    /// The content of a value without a known form: `=value`, or its members and elements sorted by byte value.
    fn free(&self, value: &Value) -> String {
        let mut parts = Vec::new();
        match value {
            Value::Null => {}
            // As Python prints them: the reference hashes that text.
            Value::Bool(true) => return "=True".to_owned(),
            Value::Bool(false) => return "=False".to_owned(),
            Value::Number(number) => return labelled(&canonical(&number.to_string())),
            Value::String(text) => return labelled(&self.text(text)),
            Value::Array(items) => parts.extend(items.iter().map(|item| self.free(item))),
            Value::Object(object) => self.push_free(object, |_| false, &mut parts),
        }
        parts.sort_unstable();
        parts.concat()
    }

    /// A text after expansion of words and prefixes, in canonical notation.
    fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if let Some(uri) = self.word(text) {
            return Cow::Owned(canonical(uri).into_owned());
        }
        let split = self.event.split(text).or_else(|| self.document.split(text));
        match split {
            Some((namespace, rest)) => Cow::Owned(canonical(trim(&[namespace, rest].concat())).into_owned()),
            None => canonical(trim(text)),
        }
    }

    /// The reference matches values against the ends of the URIs in use; two matches count as none.
    fn word(&self, text: &str) -> Option<&str> {
        let is_end = |uri: &&String| uri.strip_suffix(text).is_some_and(|start| start.ends_with(['-', '/']));
        let mut matches = self.words.iter().filter(is_end);
        let first = matches.next()?;
        matches.next().is_none().then_some(first)
    }
}

/// Trims as Python does, which counts the four ASCII separators (0x1C to 0x1F) as white space.
fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

fn labelled(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    ["=", text].concat()
}

const CBV: &str = "https://ref.gs1.org/cbv/";
const GS1_VOC: &str = "https://gs1.org/voc/";

/// The vocabulary URIs that an event uses. Whether a word exists is for the schema to say, not for the hash.
fn words_of(event: &Object) -> Vec<String> {
    let mut words = Vec::new();
    for (key, value) in event {
        collect_words("", key, value, &mut words);
    }
    words.sort_unstable();
    words.dedup();
    words
}

fn collect_words(parent: &str, key: &str, value: &Value, words: &mut Vec<String>) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) if text.starts_with(CBV) || text.starts_with(GS1_VOC) => {
            words.push(text.clone());
        }
        Value::String(text) => {
            if let Some((base, stem)) = vocabulary(parent, key)
                && !text.contains(':')
            {
                words.push([base, stem, text].concat());
            }
        }
        Value::Array(items) => {
            for item in items {
                collect_words(parent, key, item, words);
            }
        }
        Value::Object(object) => {
            for (name, item) in object {
                collect_words(key, name, item, words);
            }
        }
    }
}

/// Base and stem of the words in a field; `type` means something else in each list.
fn vocabulary(parent: &str, key: &str) -> Option<(&'static str, &'static str)> {
    match (parent, key) {
        ("", "bizStep") => Some((CBV, "BizStep-")),
        ("", "disposition") | ("persistentDisposition", "set" | "unset") => Some((CBV, "Disp-")),
        ("bizTransactionList", "type") => Some((CBV, "BTT-")),
        ("sourceList" | "destinationList", "type") => Some((CBV, "SDT-")),
        ("errorDeclaration", "reason") => Some((CBV, "ER-")),
        ("sensorReport", "component") => Some((CBV, "Comp-")),
        ("sensorReport", "type" | "exception") => Some((GS1_VOC, "")),
        _ => None,
    }
}
