//! GS1's own test vectors for element strings, run against `domain`. A vector that we leave out stands in a table here with its
//! reason, and the test fails when it starts to pass.

use std::collections::BTreeSet;

use sealgate::domain::charset::Charset;
use sealgate::domain::element::{ElementError, ElementString, GS, Symbology};
use sealgate::domain::epc;
use sealgate::domain::linter::{Finding, Flaw, Linter, check_charset};
use serde_json::Value;

use crate::standards;

/// File, beginning of the vectors that are left out, reason. All that begin so must fail.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "ai_linter_errors",
        "(7030)987ABC",
        "ISO 3166 codes are a foreign list; the value is compared with what was printed",
    ),
    ("ai_linter_errors", "(8007)", "IBANs stand on payment slips; ISO 13616 countries are a foreign list"),
    ("ai_linter_errors", "(8110)", "North American coupons do not stand on packs that a serialization line makes"),
    ("ai_linter_errors", "(8112)", "North American coupons do not stand on packs that a serialization line makes"),
];

/// One file of vectors, and what came of running them.
struct Run {
    file: &'static str,
    vectors: Vec<Value>,
    left_out: BTreeSet<&'static str>,
    passed: usize,
    wrong: Vec<String>,
}

impl Run {
    fn open(file: &'static str) -> Option<Self> {
        let text = standards::read(&format!("gs1-syntax/vectors/{file}.json"))?;
        let document: Value = serde_json::from_str(&text).expect("a vector file is JSON");
        let vectors = document["vectors"].as_array().expect("a list of vectors").clone();
        assert_eq!(document["count"], vectors.len(), "{file} is complete");
        Some(Self { file, vectors, left_out: BTreeSet::new(), passed: 0, wrong: Vec::new() })
    }

    /// Runs every vector that `check` has an opinion on; `name` tells it in the table of exceptions.
    fn all(mut self, name: &str, check: impl Fn(&Value) -> Option<Result<(), String>>) {
        for vector in std::mem::take(&mut self.vectors) {
            let Some(outcome) = check(&vector) else {
                continue;
            };
            let told = vector[name].as_str().expect("a vector has a name").to_owned();
            let exception = EXCEPTIONS.iter().find(|(file, data, _)| *file == self.file && told.starts_with(data));
            match (outcome, exception) {
                (Ok(()), None) => self.passed += 1,
                (Err(_), Some((_, data, _))) => {
                    self.left_out.insert(data);
                }
                (Ok(()), Some(_)) => self.wrong.push(format!("{told:?} passes now: take it out of the exceptions")),
                (Err(why), None) => self.wrong.push(format!("{told:?}: {why}")),
            }
        }
        let listed = EXCEPTIONS.iter().filter(|(file, _, _)| *file == self.file).count();
        assert!(self.wrong.is_empty(), "{}:\n{}", self.file, self.wrong.join("\n"));
        assert_eq!(self.left_out.len(), listed, "{}: exceptions that no vector meets", self.file);
        assert!(self.passed > 0, "{}: no vector was run", self.file);
        println!("{}: {} vectors pass", self.file, self.passed);
    }
}

fn text<'a>(vector: &'a Value, key: &str) -> &'a str {
    vector[key].as_str().unwrap_or_else(|| panic!("{key} is missing in {vector}"))
}

/// The vectors write FNC1 as `^`; a reader sends the first one as symbology identifier and the others as 0x1D.
fn as_read(raw: &str) -> Vec<u8> {
    let data = raw.strip_prefix('^').unwrap_or(raw);
    format!("]d2{}", data.replace('^', "\u{1d}")).into_bytes()
}

fn expect(valid: bool, outcome: Result<(), ElementError>) -> Result<(), String> {
    match (valid, outcome) {
        (true, Err(error)) => Err(format!("should be accepted: {error}")),
        (false, Ok(())) => Err("should be refused".into()),
        (true, Ok(())) | (false, Err(_)) => Ok(()),
    }
}

/// `IllegalMonth` is `GS1_LINTER_ILLEGAL_MONTH`.
fn reference_name(finding: Finding) -> String {
    let mut name = String::from("GS1_LINTER");
    for character in format!("{finding:?}").chars() {
        if character.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(character.to_ascii_uppercase());
    }
    name
}

#[test]
fn raw_messages_are_judged_as_by_the_reference() {
    let Some(run) = Run::open("ai_raw_process") else { return };
    run.all("raw", |vector| {
        let valid = vector["valid"] == true;
        let read = ElementString::parse(&as_read(text(vector, "raw")));
        Some(expect(valid, read.map(drop)))
    });
}

#[test]
fn bracketed_texts_give_the_message_of_the_reference() {
    let Some(run) = Run::open("ai_bracketed_to_raw") else { return };
    run.all("bracketed", |vector| {
        let read = ElementString::parse_bracketed(text(vector, "bracketed"));
        let Some(raw) = vector["raw"].as_str() else {
            return Some(expect(false, read.map(drop)));
        };
        Some(match read {
            Err(error) => Err(error.to_string()),
            Ok(elements) => same(format!("]d2{}", elements.message()).as_bytes(), &as_read(raw)),
        })
    });
}

fn same(found: &[u8], expected: &[u8]) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{:?} instead of {:?}", found.escape_ascii().to_string(), expected.escape_ascii().to_string()))
}

#[test]
fn contents_are_refused_for_the_reason_of_the_reference() {
    let Some(run) = Run::open("ai_linter_errors") else { return };
    run.all("bracketed", |vector| {
        let found = match ElementString::parse_bracketed(text(vector, "bracketed")) {
            Ok(_) => "GS1_LINTER_OK".to_owned(),
            Err(ElementError::Content { finding, .. }) => reference_name(finding),
            Err(other) => other.to_string(),
        };
        Some(same(found.as_bytes(), text(vector, "error").as_bytes()))
    });
}

#[test]
fn associations_are_judged_as_by_the_reference() {
    let Some(run) = Run::open("ai_associations") else { return };
    run.all("bracketed", |vector| {
        let elements = ElementString::parse_bracketed(text(vector, "bracketed"));
        let outcome = match text(vector, "rule") {
            // A repeated AI is a matter of reading, the others of the rules between AIs.
            "validateAIrepeats" => elements.map(drop),
            _ => elements.and_then(|elements| elements.check_associations()),
        };
        Some(expect(vector["valid"] == true, outcome))
    });
}

#[test]
fn linters_find_what_the_reference_finds_and_where() {
    let Some(run) = Run::open("linters") else { return };
    run.all("data", |vector| {
        let data = text(vector, "data").as_bytes();
        // The vectors of the prefix rules play a table of issued prefixes, which is not part of the standards data.
        let outcome = match text(vector, "linter") {
            "gcppos1" | "gcppos2" => return None,
            "cset82" => check_charset(Charset::Cset82, data),
            "cset39" => check_charset(Charset::Cset39, data),
            "csetnumeric" => check_charset(Charset::Digits, data),
            name => linter(name).check(data),
        };
        let at = vector["highlight"].as_str().and_then(|marked| {
            // The data may hold asterisks of its own: the marks are where the text departs from the data.
            (0..=data.len()).find(|at| marked.as_bytes().get(*at) == Some(&b'*') && data.get(*at) != Some(&b'*'))
        });
        Some(match (outcome, vector["error"].as_str()) {
            (Ok(()), None) => Ok(()),
            (Err(Flaw { at: found, finding }), Some(error)) => {
                same(reference_name(finding).as_bytes(), error.as_bytes()).and_then(|()| match at {
                    Some(expected) if expected != found => Err(format!("found at {found} instead of {expected}")),
                    Some(_) | None => Ok(()),
                })
            }
            (outcome, error) => Err(format!("{outcome:?} instead of {error:?}")),
        })
    });
}

fn linter(name: &str) -> Linter {
    let found = Linter::ALL.iter().find(|linter| format!("{linter:?}").to_lowercase() == name);
    *found.unwrap_or_else(|| panic!("no linter {name}"))
}

/// Only what is an element string for the reference is one for us; plain data, EAN bar codes and composites are not.
fn is_element_string(data: &str) -> bool {
    data.starts_with('^') && !data.contains('|')
}

#[test]
fn scan_data_are_read_as_by_the_reference() {
    let Some(run) = Run::open("scandata_process") else { return };
    run.all("scandata", |vector| {
        let data = text(vector, "data");
        let read = ElementString::parse(text(vector, "scandata").as_bytes());
        if vector["valid"] != true || !is_element_string(data) {
            return Some(expect(false, read.map(drop)));
        }
        Some(match read {
            Err(error) => Err(error.to_string()),
            Ok(elements) => same(format!("]d2{}", elements.message()).as_bytes(), &as_read(data)),
        })
    });
}

#[test]
fn scan_data_that_the_reference_writes_are_read_and_built_again() {
    let Some(run) = Run::open("scandata_generate") else { return };
    run.all("data", |vector| {
        let scan = vector["scandata"].as_str()?;
        let carrier = Symbology::ALL.iter().find(|carrier| scan.starts_with(carrier.identifier()))?;
        Some(rebuild(scan, *carrier))
    });
}

fn rebuild(scan: &str, carrier: Symbology) -> Result<(), String> {
    let elements = ElementString::parse(scan.as_bytes()).map_err(|error| error.to_string())?;
    if elements.symbology() != Some(carrier) {
        return Err(format!("read as {:?}", elements.symbology()));
    }
    let fields: Vec<_> = elements.fields().collect();
    let built = ElementString::build(&fields).map_err(|error| error.to_string())?;
    // A separator at the end is tolerated when read and never written.
    let plain = scan[3..].trim_end_matches(char::from(GS));
    same(&built, plain.as_bytes())
}

#[test]
fn path_segments_are_escaped_as_by_the_reference() {
    let Some(run) = Run::open("uri_escape") else { return };
    run.all("input", |vector| {
        let escaped = epc::percent_encode(text(vector, "input"));
        Some(same(escaped.as_bytes(), text(vector, "path").as_bytes()))
    });
}
