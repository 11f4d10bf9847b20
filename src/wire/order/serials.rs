//! The serial numbers of an order, from its list or from a file: each valid, none twice, with the place of every one that is not.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::domain::gs1::SerialNumber;
use crate::wire::order::{Problem, SERIALS_MAX, gs1_problem, problem, shape_of};

/// Refused serials and repeats that are named one by one; the rest is a count.
const NAMED_MAX: usize = 100;

/// Serials as they come in.
#[derive(Debug)]
pub(super) struct Intake {
    place: Place,
    serials: Vec<SerialNumber>,
    /// The place of each serial taken, counted from 0.
    positions: Vec<u32>,
    refused: Vec<Problem>,
    refused_count: usize,
    seen: usize,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    List,
    File,
}

/// The list inside an order, or what stands there instead.
#[derive(Debug)]
pub(super) struct SerialList(pub(super) Result<Intake, String>);

impl Place {
    fn path(self, position: usize) -> String {
        match self {
            Place::List => format!("$.serials[{position}]"),
            Place::File => format!("$.serials_file line {}", position.saturating_add(1)),
        }
    }

    fn whole(self) -> &'static str {
        match self {
            Place::List => "$.serials",
            Place::File => "$.serials_file",
        }
    }
}

impl Intake {
    fn new(place: Place) -> Self {
        Self { place, serials: Vec::new(), positions: Vec::new(), refused: Vec::new(), refused_count: 0, seen: 0 }
    }

    /// One per line, LF or CRLF, a byte order mark at the start is skipped; the last line may end the file.
    pub(super) fn from_lines(file: &[u8]) -> Self {
        let mut intake = Self::new(Place::File);
        let content = file.strip_prefix("\u{feff}".as_bytes()).unwrap_or(file);
        let content = content.strip_suffix(b"\n").unwrap_or(content);
        if content.is_empty() {
            return intake;
        }
        for line in content.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            match std::str::from_utf8(line) {
                Ok(text) => intake.text(text),
                Err(_) => {
                    let shown = line.escape_ascii().to_string();
                    intake.refuse(|path| problem(&path, &shown, "not UTF-8", "one serial number per line, UTF-8"));
                }
            }
        }
        intake
    }

    fn value(&mut self, value: &Value) {
        let Some(text) = value.as_str() else {
            let what = format!("{}, not a text", shape_of(value));
            let allowed = "a text in quotes: a serial number is no number";
            return self.refuse(|path| problem(&path, &value.to_string(), &what, allowed));
        };
        self.text(text);
    }

    fn text(&mut self, text: &str) {
        match SerialNumber::new(text) {
            Ok(serial) if self.seen < SERIALS_MAX => {
                self.serials.push(serial);
                self.positions.push(u32::try_from(self.seen).unwrap_or(u32::MAX));
                self.seen = self.seen.saturating_add(1);
            }
            Ok(_) => self.seen = self.seen.saturating_add(1),
            Err(error) => self.refuse(|path| gs1_problem(path, text, &error)),
        }
    }

    fn refuse(&mut self, problem: impl FnOnce(String) -> Problem) {
        if self.refused.len() < NAMED_MAX {
            self.refused.push(problem(self.place.path(self.seen)));
        }
        self.refused_count = self.refused_count.saturating_add(1);
        self.seen = self.seen.saturating_add(1);
    }

    /// The serials in their order, or `None` and what is wrong with them.
    pub(super) fn finish(mut self, problems: &mut Vec<Problem>) -> Option<Vec<SerialNumber>> {
        let before = problems.len();
        let whole = self.place.whole();
        problems.append(&mut self.refused);
        self.count_rest(problems, self.refused_count, "more entries are no serial numbers");
        let repeats = self.repeats(problems);
        self.count_rest(problems, repeats, "more serial numbers stand twice");
        if self.seen == 0 {
            problems.push(problem(whole, "", "there are no serial numbers", "at least one"));
        }
        if self.seen > SERIALS_MAX {
            let allowed = format!("at most {SERIALS_MAX} serial numbers");
            problems.push(problem(whole, &self.seen.to_string(), "too many serial numbers", &allowed));
        }
        Some(self.serials).filter(|_| problems.len() == before)
    }

    fn count_rest(&self, problems: &mut Vec<Problem>, count: usize, what: &str) {
        let rest = count.saturating_sub(NAMED_MAX);
        if rest > 0 {
            let what = format!("{rest} {what}");
            problems.push(problem(self.place.whole(), "", &what, "each serial number valid, and once"));
        }
    }

    /// Names every serial that stands a second time, with both places, and returns how many there are.
    fn repeats(&self, problems: &mut Vec<Problem>) -> usize {
        let mut sorted: Vec<(&SerialNumber, u32)> = self.serials.iter().zip(self.positions.iter().copied()).collect();
        sorted.sort_unstable();
        let again = |pair: &&[(&SerialNumber, u32)]| match pair {
            [(left, _), (right, _)] => left == right,
            _ => false,
        };
        let path = |position: u32| self.place.path(usize::try_from(position).unwrap_or(usize::MAX));
        let mut repeats: Vec<(u32, u32, &SerialNumber)> = sorted
            .windows(2)
            .filter(again)
            .filter_map(|pair| Some((pair.get(1)?.1, pair.first()?.1, pair.first()?.0)))
            .collect();
        repeats.sort_unstable();
        for (second, first, serial) in repeats.iter().take(NAMED_MAX) {
            let what = format!("repeats {}", path(*first));
            problems.push(problem(&path(*second), serial.as_str(), &what, "each serial number once"));
        }
        repeats.len()
    }
}

impl<'de> Deserialize<'de> for SerialList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor)
    }
}

struct ListVisitor;

impl ListVisitor {
    fn instead<E>(found: &str) -> Result<SerialList, E> {
        Ok(SerialList(Err(format!("{found}, not a list"))))
    }
}

impl<'de> Visitor<'de> for ListVisitor {
    type Value = SerialList;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of serial numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<SerialList, A::Error> {
        let mut intake = Intake::new(Place::List);
        while let Some(value) = list.next_element::<Value>()? {
            intake.value(&value);
        }
        Ok(SerialList(Ok(intake)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SerialList, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Self::instead("an object")
    }

    fn visit_str<E>(self, _text: &str) -> Result<SerialList, E> {
        Self::instead("a text")
    }

    fn visit_bool<E>(self, _value: bool) -> Result<SerialList, E> {
        Self::instead("true or false")
    }

    fn visit_i64<E>(self, _value: i64) -> Result<SerialList, E> {
        Self::instead("a number")
    }

    fn visit_u64<E>(self, _value: u64) -> Result<SerialList, E> {
        Self::instead("a number")
    }

    fn visit_f64<E>(self, _value: f64) -> Result<SerialList, E> {
        Self::instead("a number")
    }

    fn visit_unit<E>(self) -> Result<SerialList, E> {
        Self::instead("null")
    }
}
