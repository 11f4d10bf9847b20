//! GS1 element strings: the chain of AIs and values in a DataMatrix, as a reader sends it (GenSpecs 7.8).
//!
//! A reader may put the symbology identifier before the data; the separator arrives as 0x1D; the first FNC1 is not sent. Reading
//! proves structure, characters and content of every value and keeps what was read as it stood: order and repeated AIs
//! stay visible, so that verification can be stricter than the standard. Which AIs go together is a question of its own
//! ([`ElementString::check_associations`]), as the standard asks it of all codes on an item together.
//!
//! Reading allocates once, for the text. Any bytes may come in.

use std::fmt;

use crate::domain::ai::{Entry, Group, matches};
use crate::domain::linter::{Finding, Flaw, check_charset};
use crate::domain::text::Text;

/// The separator: FNC1 inside the data, as readers send it.
pub const GS: u8 = 0x1d;

/// The most characters that any carrier of element strings can hold (QR Code 40-L, digits).
pub const LONGEST: usize = 7089;

/// A carrier that says of itself that its data are element strings (ISO/IEC 15424).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symbology {
    Gs1DataMatrix,
    Gs1_128,
    Gs1DataBar,
    Gs1QrCode,
    Gs1DotCode,
}

/// A message whose every value is well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementString {
    message: Box<str>,
    symbology: Option<Symbology>,
}

/// AI and value pairs in the order in which they stand in the message.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    message: &'a str,
    at: usize,
}

/// Why bytes are no element string. Offsets count bytes from 0 in what was read, symbology identifier included; those of a
/// bracketed or built text count in the message that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementError {
    Empty,
    TooLong {
        length: usize,
    },
    /// The carrier says that its data are something else, whatever they look like.
    NotGs1 {
        identifier: [u8; 3],
    },
    UnknownAi {
        offset: usize,
        ai: Text<4>,
    },
    Length {
        offset: usize,
        ai: Text<4>,
        found: usize,
        min: usize,
        max: usize,
    },
    Content {
        offset: usize,
        ai: Text<4>,
        found: Option<u8>,
        finding: Finding,
    },
    /// The same AI again, with another value.
    Contradiction {
        offset: usize,
        ai: Text<4>,
    },
    /// `ai` is there, but none of the groups that it asks for.
    Requires {
        offset: usize,
        ai: Text<4>,
        groups: &'static [Group],
    },
    Excludes {
        offset: usize,
        ai: Text<4>,
        other: Text<4>,
    },
    /// A digital signature (8030) signs a key that has no serial component here.
    NotSerialized {
        offset: usize,
        ai: Text<4>,
    },
    /// A text for people that is not written `(01)...(21)...`.
    Bracket {
        offset: usize,
    },
}

/// One AI and its value, by their places in the message.
struct Span {
    entry: &'static Entry,
    ai: usize,
    value: usize,
    end: usize,
    next: usize,
}

impl Symbology {
    pub const ALL: &'static [Symbology] = &[
        Symbology::Gs1DataMatrix,
        Symbology::Gs1_128,
        Symbology::Gs1DataBar,
        Symbology::Gs1QrCode,
        Symbology::Gs1DotCode,
    ];

    /// As readers send it before the data.
    pub fn identifier(self) -> &'static str {
        match self {
            Symbology::Gs1DataMatrix => "]d2",
            Symbology::Gs1_128 => "]C1",
            Symbology::Gs1DataBar => "]e0",
            Symbology::Gs1QrCode => "]Q3",
            Symbology::Gs1DotCode => "]J1",
        }
    }
}

impl ElementString {
    /// Reads what a reader sent.
    pub fn parse(bytes: &[u8]) -> Result<Self, ElementError> {
        let (symbology, message) = split_symbology(bytes)?;
        let base = bytes.len().saturating_sub(message.len());
        check_message(message, base)?;
        // Every byte has been proven a digit, of CSET 82, 39 or 64, or a separator: all of them ASCII.
        let message = std::str::from_utf8(message).expect("a checked message is ASCII");
        Ok(Self { message: message.into(), symbology })
    }

    /// Reads the form for people, `(01)...(21)...`; a bracket inside a value is written `\(`.
    pub fn parse_bracketed(text: &str) -> Result<Self, ElementError> {
        let pairs = split_brackets(text)?;
        let fields: Vec<(&str, &str)> = pairs.iter().map(|(ai, value)| (*ai, value.as_str())).collect();
        Self::parse(&Self::build(&fields)?)
    }

    /// Puts pairs of AI and value together as a printer needs them, with separators only where they are needed. AIs of
    /// predefined length first save separators; the order is the caller's.
    pub fn build(fields: &[(&str, &str)]) -> Result<Vec<u8>, ElementError> {
        let mut message = Vec::with_capacity(64);
        for (step, (ai, value)) in fields.iter().enumerate() {
            let offset = message.len();
            let entry = Entry::of(ai).ok_or_else(|| unknown_ai(ai.as_bytes(), offset))?;
            let start = offset.saturating_add(ai.len());
            check_value(entry, text(ai.as_bytes()), value.as_bytes(), start)?;
            message.extend_from_slice(ai.as_bytes());
            message.extend_from_slice(value.as_bytes());
            let is_last = step.saturating_add(1) == fields.len();
            if !entry.is_predefined && !is_last {
                message.push(GS);
            }
        }
        check_message(&message, 0)?;
        Ok(message)
    }

    /// The value of `ai`, where it first stands.
    pub fn get(&self, ai: &str) -> Option<&str> {
        self.fields().find(|(found, _)| *found == ai).map(|(_, value)| value)
    }

    /// All pairs in the order of the message, repeated ones too.
    pub fn fields(&self) -> Fields<'_> {
        Fields { message: &self.message, at: 0 }
    }

    /// What the reader said about the carrier, where it said it.
    pub fn symbology(&self) -> Option<Symbology> {
        self.symbology
    }

    /// The data as read, without symbology identifier, superfluous separators included.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Checks which AIs may and must stand together, taking this message for all that is on the item (GenSpecs 4.13).
    pub fn check_associations(&self) -> Result<(), ElementError> {
        let base = self.symbology.map_or(0, |carrier| carrier.identifier().len());
        let mut rest = self.fields();
        loop {
            let offset = base.saturating_add(rest.at);
            let Some((ai, value)) = rest.next() else {
                return Ok(());
            };
            let entry = Entry::of(ai).expect("a checked message holds known AIs only");
            self.check_excluded(entry, ai, offset)?;
            self.check_required(entry, ai, offset)?;
            self.check_signed(ai, value, offset)?;
        }
    }

    fn check_excluded(&self, entry: &Entry, ai: &str, offset: usize) -> Result<(), ElementError> {
        for pattern in entry.excludes {
            let other = self.fields().find(|(other, _)| *other != ai && matches(pattern, other));
            if let Some((other, _)) = other {
                return Err(ElementError::Excludes { offset, ai: text(ai.as_bytes()), other: text(other.as_bytes()) });
            }
        }
        Ok(())
    }

    fn check_required(&self, entry: &Entry, ai: &str, offset: usize) -> Result<(), ElementError> {
        let is_there = |pattern: &str| self.fields().any(|(other, _)| matches(pattern, other));
        for groups in entry.requires {
            let is_met = groups.iter().any(|group| group.iter().all(|pattern| is_there(pattern)));
            if !is_met {
                return Err(ElementError::Requires { offset, ai: text(ai.as_bytes()), groups });
            }
        }
        Ok(())
    }

    /// The serial component of GDTI, GCN and GRAI is optional, but not under a signature.
    fn check_signed(&self, ai: &str, value: &str, offset: usize) -> Result<(), ElementError> {
        let length = match ai {
            "253" | "255" => 13,
            "8003" => 14,
            _ => return Ok(()),
        };
        if value.len() > length || self.get("8030").is_none() {
            return Ok(());
        }
        Err(ElementError::NotSerialized { offset, ai: text(ai.as_bytes()) })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let span = span_at(self.message.as_bytes(), self.at)?;
        self.at = span.next;
        let ai = self.message.get(span.ai..span.value)?;
        Some((ai, self.message.get(span.value..span.end)?))
    }
}

fn split_symbology(bytes: &[u8]) -> Result<(Option<Symbology>, &[u8]), ElementError> {
    // No element string begins with a bracket, so that nothing is taken for an identifier that is none.
    if bytes.first() != Some(&b']') {
        return Ok((None, bytes));
    }
    let carrier = Symbology::ALL.iter().find_map(|carrier| {
        let rest = bytes.strip_prefix(carrier.identifier().as_bytes())?;
        Some((Some(*carrier), rest))
    });
    carrier.ok_or_else(|| {
        let byte = |at| bytes.get(at).copied().unwrap_or(b' ');
        ElementError::NotGs1 { identifier: [b']', byte(1), byte(2)] }
    })
}

/// Proves the whole message. `base` is the offset of its first byte in what was read.
fn check_message(message: &[u8], base: usize) -> Result<(), ElementError> {
    if message.is_empty() {
        return Err(ElementError::Empty);
    }
    if message.len() > LONGEST {
        return Err(ElementError::TooLong { length: message.len() });
    }
    let mut seen = 0_u128;
    let mut at = 0;
    while at < message.len() {
        let place = base.saturating_add(at);
        let span = span_at(message, at).ok_or_else(|| unknown_ai(message.get(at..).unwrap_or_default(), place))?;
        let ai = message.get(span.ai..span.value).unwrap_or_default();
        let value = message.get(span.value..span.end).unwrap_or_default();
        check_value(span.entry, text(ai), value, base.saturating_add(span.value))?;
        // One bit for each AI, shared by few: a bit that is set already makes the slow look worth while.
        let bit = 1_u128
            .wrapping_shl(ai.iter().fold(0, |hash: u32, byte| hash.wrapping_mul(10).wrapping_add(u32::from(*byte))));
        if seen & bit != 0 && contradicts(message, at, ai, value) {
            return Err(ElementError::Contradiction { offset: place, ai: text(ai) });
        }
        seen |= bit;
        at = span.next;
    }
    Ok(())
}

/// Whether `ai` stands with another value before `end`. The first one is enough: all before were equal to it.
fn contradicts(message: &[u8], end: usize, ai: &[u8], value: &[u8]) -> bool {
    let mut at = 0;
    while at < end {
        let Some(span) = span_at(message, at) else {
            return false;
        };
        if message.get(span.ai..span.value) == Some(ai) {
            return message.get(span.value..span.end) != Some(value);
        }
        at = span.next;
    }
    false
}

/// Finds the AI at `at` and the end of its value; `None` where no known AI begins there.
fn span_at(message: &[u8], at: usize) -> Option<Span> {
    let entry = Entry::leading(message.get(at..)?)?;
    let value = at.saturating_add(usize::from(entry.digits));
    let rest = message.get(value..)?;
    let until = rest.iter().position(|byte| *byte == GS).unwrap_or(rest.len());
    let length = if entry.is_predefined { until.min(entry.lengths().1) } else { until };
    let end = value.saturating_add(length);
    // A separator is skipped once, also where none was needed.
    let separator = usize::from(message.get(end) == Some(&GS));
    Some(Span { entry, ai: at, value, end, next: end.saturating_add(separator) })
}

/// Checks a value component by component. `offset` is where it stands.
fn check_value(entry: &Entry, ai: Text<4>, value: &[u8], offset: usize) -> Result<(), ElementError> {
    let length_error = || {
        let (min, max) = entry.lengths();
        ElementError::Length { offset, ai, found: value.len(), min, max }
    };
    let mut rest = value;
    for component in entry.components {
        if component.is_optional && rest.is_empty() {
            break;
        }
        let start = value.len().saturating_sub(rest.len());
        let (part, tail) = rest.split_at_checked(usize::from(component.max)).unwrap_or((rest, &[]));
        if part.len() < usize::from(component.min) {
            return Err(length_error());
        }
        let checked = check_charset(component.charset, part)
            .and_then(|()| component.linters.iter().try_for_each(|rule| rule.check(part)));
        checked.map_err(|Flaw { at, finding }| ElementError::Content {
            offset: offset.saturating_add(start).saturating_add(at),
            ai,
            found: part.get(at).copied(),
            finding,
        })?;
        rest = tail;
    }
    if rest.is_empty() { Ok(()) } else { Err(length_error()) }
}

/// Takes `(01)...(21)...` apart, without judging AIs or values.
fn split_brackets(input: &str) -> Result<Vec<(&str, String)>, ElementError> {
    let mut pairs: Vec<(&str, String)> = Vec::new();
    let mut rest = input;
    while !rest.is_empty() {
        let offset = input.len().saturating_sub(rest.len());
        let (ai, after) =
            rest.strip_prefix('(').and_then(|inner| inner.split_once(')')).ok_or(ElementError::Bracket { offset })?;
        let mut value = String::new();
        let mut characters = after.char_indices();
        let mut end = after.len();
        while let Some((at, character)) = characters.next() {
            match character {
                '(' => {
                    end = at;
                    break;
                }
                '\\' if characters.as_str().starts_with('(') => {
                    characters.next();
                    value.push('(');
                }
                plain => value.push(plain),
            }
        }
        pairs.push((ai, value));
        rest = after.get(end..).unwrap_or_default();
    }
    Ok(pairs)
}

fn unknown_ai(found: &[u8], offset: usize) -> ElementError {
    let start = found.get(..4).unwrap_or(found);
    let digits = start.iter().position(|byte| !byte.is_ascii_graphic()).unwrap_or(start.len());
    ElementError::UnknownAi { offset, ai: text(start.get(..digits).unwrap_or_default()) }
}

/// At most four ASCII bytes, proven by the callers.
fn text(ai: &[u8]) -> Text<4> {
    std::str::from_utf8(ai).ok().and_then(Text::new).unwrap_or_default()
}

/// The form for people.
impl fmt::Display for ElementString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (ai, value) in self.fields() {
            write!(f, "({ai}){}", value.replace('(', "\\("))?;
        }
        Ok(())
    }
}

impl fmt::Display for ElementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ElementError::Empty => f.write_str("the element string is empty; at least one AI with a value is needed"),
            ElementError::TooLong { length } => {
                write!(f, "the element string has {length} characters; allowed: {LONGEST}")
            }
            ElementError::NotGs1 { identifier } => write!(
                f,
                "symbology identifier {:?} is no GS1 carrier; allowed: ]d2 ]C1 ]e0 ]Q3 ]J1, or none",
                String::from_utf8_lossy(identifier)
            ),
            ElementError::UnknownAi { offset, ai } => write!(
                f,
                "no application identifier begins with {:?} at offset {offset}; a separator may be missing or superfluous before it",
                ai.as_str()
            ),
            ElementError::Length { offset, ai, found, min, max } => write!(
                f,
                "AI ({ai}) has a value of {found} characters at offset {offset}; allowed: {min} to {max}, in whole parts"
            ),
            ElementError::Content { offset, ai, found, finding } => {
                let found = found.map(char::from);
                write!(f, "AI ({ai}) at offset {offset}")?;
                match found {
                    Some(found) => write!(f, ", from {found:?} on: {}", finding.message()),
                    None => write!(f, ": {}", finding.message()),
                }
            }
            ElementError::Contradiction { offset, ai } => {
                write!(f, "AI ({ai}) stands again at offset {offset} with another value; one item has one value of it")
            }
            ElementError::Requires { offset, ai, groups } => {
                let groups: Vec<String> = groups.iter().map(|group| group.join(" with ")).collect();
                write!(f, "AI ({ai}) at offset {offset} needs beside it: {}", groups.join(", or "))
            }
            ElementError::Excludes { offset, ai, other } => {
                write!(f, "AI ({ai}) at offset {offset} must not stand beside AI ({other})")
            }
            ElementError::NotSerialized { offset, ai } => write!(
                f,
                "AI ({ai}) at offset {offset} has no serial component; a digital signature (8030) asks for one"
            ),
            ElementError::Bracket { offset } => write!(
                f,
                "an AI in brackets is expected at offset {offset}, as in (01)00300010123455(21)ABC; write \\( for a bracket in a value"
            ),
        }
    }
}

impl std::error::Error for ElementError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNIT: &[u8] = b"]d2010030001012345521ABC123\x1d1728032710A123";

    fn refusal(bytes: &[u8]) -> ElementError {
        ElementString::parse(bytes).expect_err("a bad element string")
    }

    #[test]
    fn reads_what_a_reader_sends() {
        let read = ElementString::parse(UNIT).expect("a good element string");
        assert_eq!(read.symbology(), Some(Symbology::Gs1DataMatrix));
        assert_eq!(
            read.fields().collect::<Vec<_>>(),
            [("01", "00300010123455"), ("21", "ABC123"), ("17", "280327"), ("10", "A123")]
        );
        assert_eq!((read.get("21"), read.get("22")), (Some("ABC123"), None));
        assert_eq!(read.to_string(), "(01)00300010123455(21)ABC123(17)280327(10)A123");
        assert_eq!(read.check_associations(), Ok(()));
    }

    #[test]
    fn builds_with_separators_where_they_are_needed() {
        let fields = [("01", "00300010123455"), ("21", "ABC123"), ("17", "280327"), ("10", "A123")];
        assert_eq!(ElementString::build(&fields).as_deref(), Ok(&UNIT[3..]));
    }

    #[test]
    fn takes_codes_with_and_without_identifier_alike() {
        let bare = ElementString::parse(&UNIT[3..]).expect("a good element string");
        assert_eq!(bare.symbology(), None);
        for carrier in Symbology::ALL {
            let mut bytes = carrier.identifier().as_bytes().to_vec();
            bytes.extend_from_slice(&UNIT[3..]);
            let read = ElementString::parse(&bytes).expect("a good element string");
            assert_eq!((read.symbology(), read.message()), (Some(*carrier), bare.message()));
        }
    }

    #[test]
    fn refuses_carriers_that_do_not_claim_gs1() {
        for identifier in ["]d1", "]Q1", "]C0", "]E0", "]E4", "]J0", "]e1", "]X", "]"] {
            let bytes = [identifier.as_bytes(), &UNIT[3..]].concat();
            assert!(matches!(refusal(&bytes), ElementError::NotGs1 { .. }), "{identifier}");
        }
        assert_eq!(
            refusal(b"]d1010030001012345521A").to_string(),
            "symbology identifier \"]d1\" is no GS1 carrier; allowed: ]d2 ]C1 ]e0 ]Q3 ]J1, or none"
        );
    }

    #[test]
    fn tells_ai_and_offset_of_what_is_wrong() {
        assert_eq!(
            refusal(b"]d2010030001012345521AB#"),
            ElementError::Content {
                offset: 23,
                ai: text(b"21"),
                found: Some(b'#'),
                finding: Finding::InvalidCset82Character
            }
        );
        assert_eq!(
            refusal(b"0100300010123456").to_string(),
            "AI (01) at offset 15, from '6' on: the check digit does not fit the other digits"
        );
        assert_eq!(refusal(b"01003000101234551X"), ElementError::UnknownAi { offset: 16, ai: text(b"1X") });
        assert_eq!(
            refusal(b"1").to_string(),
            "no application identifier begins with \"1\" at offset 0; a separator may be missing or superfluous before it"
        );
    }

    // F75, F76
    #[test]
    fn refuses_what_readers_must_not_send() {
        assert_eq!(refusal(b""), ElementError::Empty);
        assert_eq!(refusal(b"]d2"), ElementError::Empty);
        assert!(
            matches!(refusal(b"\x1d0100300010123455"), ElementError::UnknownAi { offset: 0, .. }),
            "leading separator"
        );
        assert!(ElementString::parse(b"10A\x1d\x1d21B").is_err(), "two separators");
        assert!(ElementString::parse(b"21ABC<GS>10A 1").is_err(), "a separator spelled out");
        assert!(ElementString::parse(b"21\xff").is_err(), "not text");
        assert!(ElementString::parse("21é".as_bytes()).is_err(), "not ASCII");
        assert!(matches!(refusal(&[b'9'; LONGEST + 1]), ElementError::TooLong { .. }));
    }

    #[test]
    fn tolerates_one_superfluous_separator() {
        let read = ElementString::parse(b"0100300010123455\x1d21A\x1d").expect("GenSpecs allow it");
        assert_eq!(read.fields().collect::<Vec<_>>(), [("01", "00300010123455"), ("21", "A")]);
    }

    #[test]
    fn a_missing_separator_does_not_go_unnoticed_by_value() {
        let read = ElementString::parse(b"21ABC12310A123").expect("it is well formed all the same");
        assert_eq!(read.fields().collect::<Vec<_>>(), [("21", "ABC12310A123")]);
    }

    #[test]
    fn shows_a_repeated_ai_and_refuses_a_contradicting_one() {
        let read = ElementString::parse(b"21A\x1d21A").expect("the same value may stand twice");
        assert_eq!(read.fields().filter(|(ai, _)| *ai == "21").count(), 2);
        assert_eq!(refusal(b"21A\x1d10L\x1d21B"), ElementError::Contradiction { offset: 8, ai: text(b"21") });
        assert!(ElementString::build(&[("21", "A"), ("21", "B")]).is_err());
    }

    #[test]
    fn judges_associations_apart_from_reading() {
        let check = |bytes: &[u8]| ElementString::parse(bytes).and_then(|read| read.check_associations());
        assert!(matches!(check(b"21A"), Err(ElementError::Requires { offset: 0, .. })));
        assert_eq!(
            check(b"]d201003000101234550200300010123455").map_err(|error| error.to_string()),
            Err("AI (02) at offset 19 must not stand beside AI (01)".into())
        );
        let message = check(b"250A\x1d0100300010123455").expect_err("21 is missing").to_string();
        assert_eq!(message, "AI (250) at offset 0 needs beside it: 01 with 21, or 03 with 21, or 8006 with 21");
    }

    #[test]
    fn reads_brackets_inside_values() {
        let read = ElementString::parse_bracketed("(10)a\\(b)c(21)\\(01)").expect("escaped brackets are data");
        assert_eq!(read.fields().collect::<Vec<_>>(), [("10", "a(b)c"), ("21", "(01)")]);
        assert_eq!(ElementString::parse_bracketed(&read.to_string()), Ok(read));
        assert_eq!(ElementString::parse_bracketed("(10)A(21"), Err(ElementError::Bracket { offset: 5 }));
    }

    #[test]
    fn stays_quick_on_the_longest_repeating_message() {
        let many = b"2001".repeat(LONGEST / 4);
        assert!(ElementString::parse(&many).is_ok(), "the same value each time");
    }

    fn value(ai: &'static str) -> BoxedStrategy<(&'static str, String)> {
        let values = match ai {
            "01" => "[0-9]{13}".prop_map(|body| format!("{body}{}", check(&body))).boxed(),
            "00" => "[0-9]{17}".prop_map(|body| format!("{body}{}", check(&body))).boxed(),
            "17" => "[0-9]{2}(0[1-9]|1[0-2])(0[0-9]|1[0-9]|2[0-8])".boxed(),
            "3103" => "[0-9]{6}".boxed(),
            _ => "[!-\"%-?A-Z_a-z]{1,20}".boxed(),
        };
        values.prop_map(move |value| (ai, value)).boxed()
    }

    fn check(body: &str) -> char {
        crate::domain::gs1::check_digit(body.as_bytes())
    }

    fn fields() -> impl Strategy<Value = Vec<(&'static str, String)>> {
        let ais = vec!["01", "00", "17", "3103", "21", "10", "240", "99"];
        let order = proptest::sample::subsequence(ais, 1..=8).prop_shuffle();
        order.prop_flat_map(|ais| ais.into_iter().map(value).collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn reads_back_what_it_builds(fields in fields()) {
            let pairs: Vec<(&str, &str)> = fields.iter().map(|(ai, value)| (*ai, value.as_str())).collect();
            let built = ElementString::build(&pairs).expect("good fields");
            let read = ElementString::parse(&built).expect("what was built");
            prop_assert_eq!(read.fields().collect::<Vec<_>>(), pairs);
            prop_assert_eq!(read.message().as_bytes(), &built[..]);
            prop_assert_eq!(ElementString::parse_bracketed(&read.to_string()), Ok(read));
        }

        #[test]
        fn never_panics_on_any_bytes(bytes in any::<Vec<u8>>(), like in "(\\]d2)?([0-9]{2,4}|[!-~\u{1d}]{1,9}){1,6}") {
            for bytes in [&bytes[..], like.as_bytes()] {
                let Ok(read) = ElementString::parse(bytes) else { continue };
                let _ = (read.check_associations(), read.to_string());
                let pairs: Vec<_> = read.fields().collect();
                let built = ElementString::build(&pairs).expect("what was read");
                let again = ElementString::parse(&built).expect("what was built");
                prop_assert_eq!(again.fields().collect::<Vec<_>>(), pairs);
            }
        }

        #[test]
        fn never_panics_on_any_brackets(text in "[()\\\\0-9A-Zé]{0,40}") {
            let _ = ElementString::parse_bracketed(&text);
        }
    }
}
