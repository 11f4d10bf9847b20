//! The event hash against the vectors of the reference program, in JSON-LD and in XML.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sealgate::wire::event_hash::{Context, EventHashError, event_id, pre_hash};
use serde_json::{Map, Value, json};

use crate::standards;

/// One file of vectors, read.
struct Vectors {
    name: String,
    context: Context,
    events: Vec<Value>,
    path: PathBuf,
}

fn read(path: &Path) -> Vectors {
    let text = fs::read_to_string(path).unwrap();
    let is_xml = path.extension().is_some_and(|e| e == "xml");
    let document = if is_xml { xml::document(&text) } else { serde_json::from_str(&text).unwrap() };
    let folder = path.parent().unwrap().file_name().unwrap();
    Vectors {
        name: format!("{}/{}", folder.to_str().unwrap(), path.file_name().unwrap().to_str().unwrap()),
        context: Context::of(&document),
        events: document["epcisBody"]["eventList"].as_array().unwrap().clone(),
        path: path.to_owned(),
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| ["json", "jsonld", "xml"].iter().any(|e| path.extension().is_some_and(|is| is == *e)))
        .collect();
    files.sort();
    files
}

/// The types in a file that keep it from being taken; empty where it is taken.
fn foreign_types(vectors: &Vectors) -> Vec<String> {
    let kind = |event: &Value| event["type"].as_str().unwrap().to_owned();
    let mut types: Vec<String> = vectors.events.iter().map(kind).collect();
    types.retain(|kind| kind != "ObjectEvent" && kind != "AggregationEvent");
    types.sort();
    types.dedup();
    types
}

/// Splits into files taken and left, and says aloud which and why. A file with other types is left whole.
fn select(folder: &Path) -> Vec<Vectors> {
    let mut taken = Vec::new();
    for path in files(folder) {
        let vectors = read(&path);
        let foreign = foreign_types(&vectors);
        if foreign.is_empty() {
            println!("taken {} ({} events)", vectors.name, vectors.events.len());
            taken.push(vectors);
        } else {
            println!("left  {}: holds {}", vectors.name, foreign.join(", "));
        }
    }
    taken
}

fn lines(path: &Path) -> Option<Vec<String>> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.lines().map(str::to_owned).collect())
}

#[test]
fn examples_hash_as_published() {
    let Some(standards) = standards::folder() else { return };
    let taken = select(&standards.join("event-hash/examples"));
    assert!(taken.len() >= 13, "{} files with hashes taken of 13", taken.len());
    for vectors in taken {
        let expected = lines(&vectors.path.with_extension("hashes")).unwrap();
        assert_eq!(expected.len(), vectors.events.len(), "{}", vectors.name);
        // One example comes without its pre-hash.
        let texts = lines(&vectors.path.with_extension("prehashes"));
        for (at, event) in vectors.events.iter().enumerate() {
            if let Some(texts) = &texts {
                let text = pre_hash(event, &vectors.context).unwrap();
                assert_eq!(text, texts[at], "{}", vectors.name);
            }
            let id = event_id(event, &vectors.context).unwrap();
            assert_eq!(id, expected[at], "{}", vectors.name);
        }
    }
}

#[test]
fn different_notations_of_one_event_hash_alike() {
    let Some(standards) = standards::folder() else { return };
    let taken = select(&standards.join("event-hash/expected_equal"));
    assert!(taken.len() >= 4, "{} files of equal events taken of 4", taken.len());
    for vectors in taken {
        let ids: Vec<String> = vectors.events.iter().map(|event| event_id(event, &vectors.context).unwrap()).collect();
        assert!(ids.len() > 1, "{}", vectors.name);
        assert!(ids.iter().all(|id| *id == ids[0]), "{}: {ids:?}", vectors.name);
    }
}

#[test]
fn refuses_event_types_that_it_does_not_know() {
    let event = json!({"type": "TransformationEvent"});
    assert_eq!(
        event_id(&event, &Context::default()),
        Err(EventHashError::UnsupportedEventType("TransformationEvent".into()))
    );
    for event in [json!([]), json!({}), json!({"type": 1})] {
        assert_eq!(event_id(&event, &Context::default()), Err(EventHashError::NotAnEvent));
    }
}

/// The event of the fact sheet, section 4, and its known hash.
fn known_event() -> Value {
    json!({
        "@context": ["https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld", {"cbvmda": "urn:epcglobal:cbv:mda:"}],
        "type": "ObjectEvent",
        "eventTime": "2026-11-22T10:15:30.123Z", "eventTimeZoneOffset": "-05:00",
        "epcList": ["urn:epc:id:sgtin:030001.0012345.11", "urn:epc:id:sgtin:030001.0012345.12"],
        "action": "ADD", "bizStep": "commissioning", "disposition": "active",
        "readPoint": {"id": "urn:epc:id:sgln:030001.111111.line1"},
        "bizLocation": {"id": "urn:epc:id:sgln:030001.111111.0"},
        "ilmd": {"cbvmda:lotNumber": "A123", "cbvmda:itemExpirationDate": "2028-03-27"}
    })
}

const KNOWN_ID: &str = "ni:///sha-256;2ea5ccd270662987becf04ecf565722ae412367e9d2f66ff8519ab38c3f5006d?ver=CBV2.0";

#[test]
fn the_known_event_has_its_known_hash_whatever_its_notation() {
    let none = Context::default();
    let mut event = known_event();
    assert_eq!(event_id(&event, &none).unwrap(), KNOWN_ID);
    event["eventTime"] = json!("2026-11-22T05:15:30.123-05:00");
    event["epcList"] = json!([
        "https://id.gs1.org/01/00300010123455/21/12",
        "https://example.com/gtin/300010123455/lot/A123/ser/11?17=280327"
    ]);
    event["eventID"] = json!("urn:uuid:374d95fc-9457-4a51-bd6a-0bba133845a8");
    event["recordTime"] = json!("2026-11-23T00:00:00Z");
    event["rdfs:comment"] = json!("left out");
    event["quantityList"] = json!([]);
    assert_eq!(event_id(&event, &none).unwrap(), KNOWN_ID);
    let context = event.as_object_mut().unwrap().remove("@context").unwrap();
    assert_eq!(event_id(&event, &Context::new(&context)).unwrap(), KNOWN_ID);
    assert_ne!(event_id(&event, &none).unwrap(), KNOWN_ID, "undeclared");
}

#[test]
fn any_difference_in_content_gives_another_hash() {
    let mut ids = BTreeMap::new();
    let changes = [
        ("eventTime", json!("2026-11-22T10:15:30.124Z")),
        ("eventTimeZoneOffset", json!("-06:00")),
        ("epcList", json!(["urn:epc:id:sgtin:030001.0012345.11"])),
        ("action", json!("OBSERVE")),
        ("bizStep", json!("packing")),
        ("disposition", json!("inactive")),
        ("readPoint", json!({"id": "urn:epc:id:sgln:030001.111111.line2"})),
        ("ilmd", json!({"cbvmda:lotNumber": "a123", "cbvmda:itemExpirationDate": "2028-03-27"})),
        ("parentID", json!("urn:epc:id:sscc:030001.41234567890")),
        ("type", json!("AggregationEvent")),
    ];
    ids.insert(KNOWN_ID.to_owned(), "unchanged");
    for (field, value) in changes {
        let mut event = known_event();
        event[field] = value;
        let id = event_id(&event, &Context::default()).unwrap();
        let before = ids.insert(id, field);
        assert_eq!(before, None, "{field}");
    }
}

#[test]
fn values_that_look_like_numbers_or_words_hash_as_the_reference_has_it() {
    for (lot, hashed) in [
        ("0012", "12"),
        ("12E3", "12000"),
        ("active", "https://ref.gs1.org/cbv/Disp-active"),
        ("commissioning", "https://ref.gs1.org/cbv/BizStep-commissioning"),
        ("inactive", "inactive"),
        ("inf", "inf"),
    ] {
        let mut event = known_event();
        event["ilmd"]["cbvmda:lotNumber"] = json!(lot);
        let text = pre_hash(&event, &Context::default()).unwrap();
        let end = format!("lotNumber={hashed}");
        assert!(text.ends_with(&end), "{text}");
    }
}

#[test]
fn the_order_of_keys_in_a_business_transaction_makes_no_difference() {
    let text = r#"{"type": "AggregationEvent", "eventTime": "2026-11-22T10:15:30.123Z", "action": "OBSERVE",
        "bizTransactionList": [{"bizTransaction": "urn:x:1", "type": "po"}]}"#;
    let event: Value = serde_json::from_str(text).unwrap();
    let text = pre_hash(&event, &Context::default()).unwrap();
    assert!(text.ends_with("bizTransactionListtype=https://ref.gs1.org/cbv/BTT-pobizTransaction=urn:x:1"));
}

/// EPCIS 2.0 XML as far as the vectors use it, to the JSON form of the same events.
mod xml {
    use super::{Map, Value, json};

    /// An element: local or prefixed name, attributes, children, text.
    #[derive(Default)]
    struct Element {
        name: String,
        attributes: Vec<(String, String)>,
        children: Vec<Element>,
        text: String,
    }

    pub(super) fn document(text: &str) -> Value {
        let root = parse(text);
        let namespaces: Map<String, Value> = root
            .attributes
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("xmlns:")?.into(), json!(value))))
            .collect();
        let body = root.child("EPCISBody").child("EventList");
        let events: Vec<Value> = body.children.iter().map(event).collect();
        json!({"@context": [namespaces], "epcisBody": {"eventList": events}})
    }

    impl Element {
        fn child(&self, name: &str) -> &Element {
            self.children.iter().find(|c| c.name == name).unwrap()
        }
    }

    fn event(element: &Element) -> Value {
        // XML wraps what EPCIS 1.1 did not have yet, and some events altogether.
        if element.name == "extension" {
            return event(&element.children[0]);
        }
        let mut object = Map::new();
        object.insert("type".into(), json!(element.name));
        for field in flattened(element) {
            object.insert(field.name.clone(), value(field));
        }
        Value::Object(object)
    }

    fn flattened(element: &Element) -> Vec<&Element> {
        let is_wrapper = |name: &str| name == "extension" || name == "baseExtension";
        let mut fields = Vec::new();
        for child in &element.children {
            if is_wrapper(&child.name) {
                fields.extend(flattened(child));
            } else {
                fields.push(child);
            }
        }
        fields
    }

    fn value(element: &Element) -> Value {
        let is_list = element.name.ends_with("List") || element.name == "childEPCs";
        if is_list {
            return element.children.iter().map(value).collect();
        }
        // A typed business transaction, source or destination carries its value as text.
        if !element.attributes.is_empty() && !element.text.is_empty() {
            let mut object = attributes(element);
            object.insert(element.name.clone(), json!(element.text));
            return Value::Object(object);
        }
        if element.children.is_empty() && element.attributes.is_empty() {
            return json!(element.text);
        }
        let mut object = attributes(element);
        for child in &element.children {
            let value = value(child);
            match object.get_mut(&child.name) {
                Some(Value::Array(values)) => values.push(value),
                Some(single) => *single = json!([single.take(), value]),
                None => drop(object.insert(child.name.clone(), value)),
            }
        }
        Value::Object(object)
    }

    fn attributes(element: &Element) -> Map<String, Value> {
        let pairs = element.attributes.iter();
        pairs.map(|(k, v)| (k.clone(), json!(v))).collect()
    }

    fn parse(text: &str) -> Element {
        let mut open = vec![Element::default()];
        let mut rest = text;
        while let Some((before, markup)) = rest.split_once('<') {
            open.last_mut().unwrap().text += before.trim();
            if let Some(comment) = markup.strip_prefix("!--") {
                rest = comment.split_once("-->").unwrap().1;
                continue;
            }
            let (tag, after) = markup.split_once('>').unwrap();
            rest = after;
            if tag.starts_with(['?', '!']) {
                continue;
            }
            if tag.starts_with('/') {
                close(&mut open);
                continue;
            }
            open.push(start(tag.trim_end_matches('/')));
            if tag.ends_with('/') {
                close(&mut open);
            }
        }
        open.remove(0).children.remove(0)
    }

    fn close(open: &mut Vec<Element>) {
        let done = open.pop().unwrap();
        open.last_mut().unwrap().children.push(done);
    }

    fn start(tag: &str) -> Element {
        let (name, mut rest) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
        let mut attributes = Vec::new();
        while let Some((key, quoted)) = rest.split_once('=') {
            let quoted = quoted.trim_start();
            let quote = quoted.chars().next().unwrap();
            let (value, after) = quoted[1..].split_once(quote).unwrap();
            attributes.push((key.trim().to_owned(), value.to_owned()));
            rest = after;
        }
        Element { name: name.to_owned(), attributes, ..Element::default() }
    }
}
