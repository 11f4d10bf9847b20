//! A production order as JSON, checked whole: every problem at once, each with its place, its value and what is allowed.
//!
//! ```json
//! {"batch":"B7","gtin":"00300010123455","lot":"L7","expiry":"2027-03-31","gcp_length":6,
//!  "pack":{"case":10,"pallet":10},"sscc":{"extension":0,"prefix":"030001","first":1,"last":1000},
//!  "recipes":{"camera":"R-17"},"serials":["A1","A2"]}
//! ```
//! `recipes` may be absent: the recipe that this product was approved with, by station. It goes before the `recipe` that the config
//! approves for the station; where neither names one, any recipe will do.
//! `serials_file` may stand for `serials`: a file with one serial number per line, UTF-8, LF or CRLF. Its bytes are given by the
//! caller; nothing here reads a file. An order is taken whole or not at all. What it means against the past (a serial number
//! used before, an expiry date gone) is for the engine and the store.

mod once;
mod serials;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::domain::charset::Charset;
use crate::domain::gs1::{Expiry, GcpLength, Gs1Error, Gtin, Lot, SerialNumber};
use crate::domain::text::{BatchId, Name, Text};
use crate::engine::input::{BatchSheet, Order, PackSpec, SsccRange, StationRecipe};
use crate::engine::recipe::Recipe;
use crate::wire::suggest::nearest;

use once::{Once, below, repeated};
use serials::{Intake, SerialList};

/// Room for a million serials of twenty characters inside the order; more go into a file.
pub const ORDER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Children of one container.
pub const CAPACITY_MAX: u16 = 5_000;
/// Serials of one order.
pub const SERIALS_MAX: usize = 10_000_000;

const FIELDS: &[&str] =
    &["batch", "gtin", "lot", "expiry", "gcp_length", "pack", "sscc", "recipes", "serials", "serials_file"];
/// More stations than any line has.
const RECIPES_MAX: usize = 64;
const RECIPES_ALLOWED: &str = "an object: the recipe of each station by its name";
const PACK_FIELDS: &[&str] = &["case", "pallet"];
const SSCC_FIELDS: &[&str] = &["extension", "prefix", "first", "last"];

/// One thing wrong with an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// JSON path, `$.sscc.prefix`, or a line of the serials file.
    pub path: String,
    /// As given, cut where it is long; empty where nothing was given.
    pub value: String,
    pub what: String,
    pub allowed: String,
}

/// An order that is well-formed JSON, before its content is checked.
#[derive(Debug, Default)]
pub struct OrderDraft {
    fields: BTreeMap<String, Value>,
    serials: Option<SerialList>,
    problems: Vec<Problem>,
}

impl OrderDraft {
    /// Refuses only what is no JSON object; all else waits for [`OrderDraft::finish`].
    pub fn parse(json: &[u8]) -> Result<Self, Vec<Problem>> {
        if json.len() > ORDER_BYTES_MAX {
            let what = format!("the order has {} bytes", json.len());
            return Err(vec![problem("$", "", &what, "32 MiB; put the serial numbers into a file: serials_file")]);
        }
        serde_json::from_slice(json).map_err(|error| vec![problem("$", "", &error.to_string(), "one JSON object")])
    }

    /// The path that the order gives for its serial numbers, as written; the caller reads the file.
    pub fn serials_file(&self) -> Option<&str> {
        self.fields.get("serials_file").and_then(Value::as_str)
    }

    /// `file` is the content of [`OrderDraft::serials_file`], `None` where there is none.
    pub fn finish(self, file: Option<&[u8]>) -> Result<Order, Vec<Problem>> {
        let mut check = Check { problems: self.problems };
        let fields = &self.fields;
        check.known("$", fields.keys(), FIELDS);
        let sheet = check.sheet(fields);
        let serials = check.serials(fields, self.serials, file);
        match (sheet, serials) {
            (Some(sheet), Some(serials)) if check.problems.is_empty() => {
                let serials_sha256 = serials_sha256(&serials);
                Ok(Order { sheet, serials, serials_sha256 })
            }
            _ => Err(check.problems),
        }
    }
}

/// SHA-256 of the serials, each followed by a line feed, in lower-case hex.
pub fn serials_sha256(serials: &[SerialNumber]) -> Text<64> {
    let mut hash = Sha256::new();
    for serial in serials {
        hash.update(serial.as_str());
        hash.update(b"\n");
    }
    Text::new(&format!("{:x}", hash.finalize())).expect("SHA-256 in hex has 64 characters")
}

/// Gathers problems and goes on.
struct Check {
    problems: Vec<Problem>,
}

type Fields = BTreeMap<String, Value>;

impl Check {
    fn sheet(&mut self, fields: &Fields) -> Option<BatchSheet> {
        let batch = self.text(fields, "$", "batch").and_then(|text| self.batch(&text));
        let gtin = self.gs1(fields, "gtin", Gtin::new);
        let lot = self.gs1(fields, "lot", Lot::new);
        let expiry = self.gs1(fields, "expiry", Expiry::parse_iso);
        let gcp_length =
            self.whole(fields, "$", "gcp_length", (6, 12)).and_then(|length: u8| GcpLength::new(length).ok());
        let pack = self.object(fields, "pack", PACK_FIELDS).and_then(|pack| self.pack(&pack));
        let sscc = self.object(fields, "sscc", SSCC_FIELDS).and_then(|sscc| self.sscc(&sscc));
        self.prefixes(gtin, gcp_length, sscc);
        let recipes = self.recipes(fields);
        Some(BatchSheet {
            batch: batch?,
            gtin: gtin?,
            lot: lot?,
            expiry: expiry?,
            gcp_length: gcp_length?,
            pack: pack?,
            sscc: sscc?,
            recipes: recipes?,
        })
    }

    /// Characters of GS1 set 82, so that a batch can stand in every format that a GS1 text can stand in.
    fn batch(&mut self, text: &str) -> Option<BatchId> {
        const ALLOWED: &str = "1 to 32 letters, digits and signs of GS1 CSET 82, without spaces";
        let good = !text.is_empty() && text.chars().all(|found| Charset::Cset82.contains_char(found));
        let batch = BatchId::new(text).filter(|_| good);
        if batch.is_none() {
            self.add("$.batch", text, "no identifier of a batch", ALLOWED);
        }
        batch
    }

    fn pack(&mut self, fields: &Fields) -> Option<PackSpec> {
        let bounds = (1, u64::from(CAPACITY_MAX));
        let mut capacity = |level: &str| match fields.contains_key(level) {
            true => self.whole(fields, "$.pack", level, bounds),
            false => Some(0),
        };
        let spec = PackSpec { case_capacity: capacity("case")?, pallet_capacity: capacity("pallet")? };
        if spec.pallet_capacity > 0 && spec.case_capacity == 0 {
            self.add("$.pack.pallet", &spec.pallet_capacity.to_string(), "a pallet without cases", "case beside it");
            return None;
        }
        Some(spec)
    }

    fn sscc(&mut self, fields: &Fields) -> Option<SsccRange> {
        let extension = self.whole(fields, "$.sscc", "extension", (0, 9));
        let prefix = self.text(fields, "$.sscc", "prefix").and_then(|text| self.prefix(&text));
        // 17 digits without the check digit: extension, prefix, serial reference (GenSpecs 3.2.1).
        let room = prefix.map_or(10, |prefix| 16_usize.saturating_sub(prefix.as_str().len()));
        let room = u32::try_from(room).unwrap_or(10);
        let most = 10_u64.saturating_pow(room).saturating_sub(1);
        let first = self.whole(fields, "$.sscc", "first", (0, most));
        let last = self.whole(fields, "$.sscc", "last", (first.unwrap_or(0), most));
        Some(SsccRange { extension: extension?, prefix: prefix?, first: first?, last: last? })
    }

    /// Whether the line has the stations is the engine's to say.
    fn recipes(&mut self, fields: &Fields) -> Option<Vec<StationRecipe>> {
        let named = match fields.get("recipes") {
            None => return Some(Vec::new()),
            Some(Value::Object(named)) => named,
            Some(other) => return self.refuse_value("$.recipes", &other.to_string(), "not an object", RECIPES_ALLOWED),
        };
        if named.len() > RECIPES_MAX {
            let what = format!("recipes for {} stations", named.len());
            return self.refuse("$.recipes", &what, "at most 64");
        }
        // Every one is looked at before the first problem ends it.
        let all: Vec<_> = named.iter().map(|(station, recipe)| self.recipe(station, recipe)).collect();
        let mut recipes: Vec<StationRecipe> = all.into_iter().collect::<Option<_>>()?;
        // The same order, written in another order of its keys, is the same.
        recipes.sort_unstable_by_key(|named| named.station);
        Some(recipes)
    }

    fn recipe(&mut self, station: &str, recipe: &Value) -> Option<StationRecipe> {
        let path = below("$.recipes", station);
        let name = Name::new(station).filter(|_| !station.is_empty());
        if name.is_none() {
            self.add(&path, "", "no name of a station", "1 to 24 bytes");
        }
        let text = recipe.as_str().filter(|text| !text.is_empty()).and_then(Recipe::new);
        if text.is_none() {
            self.add(&path, &recipe.to_string(), "no recipe", "a text of 1 to 64 bytes, as the machine shows it");
        }
        Some(StationRecipe { station: name?, recipe: text? })
    }

    fn prefix(&mut self, text: &str) -> Option<Text<12>> {
        let good = text.len() >= 6 && text.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = Text::new(text).filter(|_| good);
        if prefix.is_none() {
            self.add("$.sscc.prefix", text, "no GS1 company prefix", "6 to 12 digits");
        }
        prefix
    }

    /// A wrong length of the company prefix gives well-formed EPCs of other objects, which no schema would notice.
    fn prefixes(&mut self, gtin: Option<Gtin>, gcp_length: Option<GcpLength>, sscc: Option<SsccRange>) {
        let (Some(length), Some(sscc)) = (gcp_length, sscc) else {
            return;
        };
        let prefix = sscc.prefix.as_str();
        if prefix.len() != usize::from(length.get()) {
            let what = format!("{} digits where gcp_length says {}", prefix.len(), length.get());
            self.add("$.sscc.prefix", prefix, &what, "a prefix of gcp_length digits");
            return;
        }
        let Some(gtin) = gtin else {
            return;
        };
        let body = gtin.as_str().get(1..).unwrap_or_default();
        if !body.starts_with(prefix) {
            let what = format!("not the company prefix of GTIN {gtin}");
            let own = body.get(..prefix.len()).unwrap_or_default();
            self.add("$.sscc.prefix", prefix, &what, &format!("{own}, or another gcp_length"));
        }
    }

    fn serials(&mut self, fields: &Fields, list: Option<SerialList>, file: Option<&[u8]>) -> Option<Vec<SerialNumber>> {
        const ONE: &str = "either serials or serials_file";
        let named = fields.get("serials_file");
        if let Some(wrong) = named.filter(|value| !value.is_string()) {
            self.add("$.serials_file", &wrong.to_string(), "no path", "the path of a file, as text");
        }
        let intake = match (list, named, file) {
            (Some(_), Some(_), _) => return self.refuse("$.serials_file", "the serial numbers are given twice", ONE),
            (None, None, _) => return self.refuse("$.serials", "the serial numbers are missing", ONE),
            (Some(SerialList(Err(found))), None, _) => {
                return self.refuse("$.serials", &found, "a list of serial numbers, each a text");
            }
            (Some(SerialList(Ok(intake))), None, _) => intake,
            (None, Some(_), Some(file)) => Intake::from_lines(file),
            (None, Some(_), None) => return self.refuse("$.serials_file", "the file was not read", "a readable file"),
        };
        intake.finish(&mut self.problems)
    }

    fn gs1<T>(&mut self, fields: &Fields, key: &str, make: fn(&str) -> Result<T, Gs1Error>) -> Option<T> {
        let text = self.text(fields, "$", key)?;
        let made = make(&text);
        if let Err(error) = &made {
            self.problems.push(gs1_problem(format!("$.{key}"), &text, error));
        }
        made.ok()
    }

    fn text(&mut self, fields: &Fields, parent: &str, key: &str) -> Option<String> {
        let path = format!("{parent}.{key}");
        match fields.get(key) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => {
                let what = format!("{}, not a text", shape_of(other));
                self.refuse_value(&path, &other.to_string(), &what, "a text in quotes, also where it is all digits")
            }
            None => self.refuse(&path, "is missing", "a text"),
        }
    }

    fn whole<T: TryFrom<u64>>(&mut self, fields: &Fields, parent: &str, key: &str, bounds: (u64, u64)) -> Option<T> {
        let path = format!("{parent}.{key}");
        let (least, most) = bounds;
        let allowed = format!("a whole number from {least} to {most}");
        let Some(value) = fields.get(key) else {
            return self.refuse(&path, "is missing", &allowed);
        };
        let number = value.as_u64().filter(|number| (least..=most).contains(number));
        let fitting = number.and_then(|number| T::try_from(number).ok());
        fitting.or_else(|| self.refuse_value(&path, &value.to_string(), "out of range", &allowed))
    }

    fn object(&mut self, fields: &Fields, key: &str, known: &[&str]) -> Option<Fields> {
        let path = format!("$.{key}");
        match fields.get(key) {
            Some(Value::Object(parts)) => {
                self.known(&path, parts.keys(), known);
                Some(parts.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
            }
            Some(other) => self.refuse_value(&path, &other.to_string(), "not an object", "an object in braces"),
            None => self.refuse(&path, "is missing", &format!("an object with {}", known.join(", "))),
        }
    }

    fn known<'k>(&mut self, parent: &str, keys: impl Iterator<Item = &'k String>, known: &[&str]) {
        for key in keys.filter(|key| !known.contains(&key.as_str())) {
            let what = match nearest(key, known) {
                Some(meant) => format!("no field of an order; did you mean {meant}?"),
                None => "no field of an order".to_owned(),
            };
            self.add(&below(parent, key), "", &what, &known.join(", "));
        }
    }

    fn refuse<T>(&mut self, path: &str, what: &str, allowed: &str) -> Option<T> {
        self.refuse_value(path, "", what, allowed)
    }

    fn refuse_value<T>(&mut self, path: &str, value: &str, what: &str, allowed: &str) -> Option<T> {
        self.add(path, value, what, allowed);
        None
    }

    fn add(&mut self, path: &str, value: &str, what: &str, allowed: &str) {
        self.problems.push(problem(path, value, what, allowed));
    }
}

fn problem(path: &str, value: &str, what: &str, allowed: &str) -> Problem {
    Problem {
        path: path.to_owned(),
        value: value.chars().take(60).collect(),
        what: what.to_owned(),
        allowed: allowed.to_owned(),
    }
}

fn gs1_problem(path: String, value: &str, error: &Gs1Error) -> Problem {
    let (Gs1Error::Length { allowed, .. }
    | Gs1Error::Character { allowed, .. }
    | Gs1Error::Range { allowed, .. }
    | Gs1Error::Form { allowed, .. }) = error
    else {
        return problem(&path, value, &error.to_string(), "the check digit that the other digits ask for");
    };
    problem(&path, value, &error.to_string(), allowed)
}

fn shape_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Takes the fields one by one, so that a million serials never stand in memory as JSON values.
impl<'de> Deserialize<'de> for OrderDraft {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DraftVisitor)
    }
}

struct DraftVisitor;

impl<'de> Visitor<'de> for DraftVisitor {
    type Value = OrderDraft;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an order, which is a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OrderDraft, A::Error> {
        let mut draft = OrderDraft::default();
        while let Some(key) = map.next_key::<String>()? {
            let path = below("$", &key);
            let twice = if key == "serials" {
                draft.serials.replace(map.next_value()?).is_some()
            } else {
                let seed = Once { path: path.clone(), problems: &mut draft.problems };
                draft.fields.insert(key, map.next_value_seed(seed)?).is_some()
            };
            if twice {
                draft.problems.push(repeated(&path));
            }
        }
        Ok(draft)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)?;
        if !self.value.is_empty() {
            write!(f, " (given: {})", self.value)?;
        }
        write!(f, "; allowed: {}", self.allowed)
    }
}
