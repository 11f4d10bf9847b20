//! The canonical notation of one value (CBV 2.0, section 8.9): CBV URNs as web URIs, numbers without spare zeros, GS1 keys as
//! canonical GS1 Digital Link URIs at the finest level, without query.
//!
//! A text that is none of these, or only looks like one, stays as it is.

use std::borrow::Cow;

const GS1: &str = "https://id.gs1.org/";

pub(super) fn canonical(text: &str) -> Cow<'_, str> {
    let text = web_vocabulary(text);
    let text = match number(&text) {
        Some(number) => Cow::Owned(number),
        None => text,
    };
    match epc_uri(&text).or_else(|| digital_link(&text)) {
        Some(uri) => Cow::Owned(uri),
        None => text,
    }
}

/// CBV URNs as EPCIS XML writes them, wherever they stand in the text.
fn web_vocabulary(text: &str) -> Cow<'_, str> {
    if !text.contains("urn:epcglobal:cbv:") {
        return Cow::Borrowed(text);
    }
    let pairs = [
        ("urn:epcglobal:cbv:bizstep:", "BizStep-"),
        ("urn:epcglobal:cbv:disp:", "Disp-"),
        ("urn:epcglobal:cbv:btt:", "BTT-"),
        ("urn:epcglobal:cbv:sdt:", "SDT-"),
        ("urn:epcglobal:cbv:er:", "ER-"),
    ];
    let replaced =
        pairs.iter().fold(text.to_owned(), |text, (urn, stem)| text.replace(urn, &[super::CBV, stem].concat()));
    Cow::Owned(replaced)
}

/// A number as Python's `float` reads it, written as `int` or `repr` would; infinities are no numbers here.
fn number(text: &str) -> Option<String> {
    if !looks_like_number(text) {
        return None;
    }
    // The one place with a float: the reference defines these digits by way of a binary64 number.
    let number: f64 = text.replace('_', "").parse().ok()?;
    if !number.is_finite() {
        return None;
    }
    if number.fract() == 0.0 {
        let integer = format!("{number:.0}");
        return Some(if integer == "-0" { "0".into() } else { integer });
    }
    // Python writes an exponent, of two digits at least, below 0.0001. A fraction above 10^16 does not exist.
    if number.abs() >= 1e-4 {
        return Some(number.to_string());
    }
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once("e-")?;
    Some(format!("{mantissa}e-{exponent:0>2}"))
}

fn looks_like_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let exponent = exponent.map(|e| e.strip_prefix(['+', '-']).unwrap_or(e));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_part = |part: &str| part.is_empty() || is_digits_grouped(part);
    !(whole.is_empty() && fraction.is_empty())
        && is_part(whole)
        && is_part(fraction)
        && exponent.is_none_or(is_digits_grouped)
}

/// Digits, single underscores allowed between them.
fn is_digits_grouped(text: &str) -> bool {
    text.split('_').all(is_digits)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_digits_of(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|b| b.is_ascii_digit())
}

/// A GS1 key with its check digit (GS1 GenSpecs 7.9): weights 3, 1, 3, … from the right.
#[allow(clippy::arithmetic_side_effects, reason = "callers pass at most 17 digits, so the sum stays below 500")]
fn with_check_digit(key: &str) -> String {
    let weights = [3, 1].into_iter().cycle();
    let digits = key.bytes().rev().map(|b| u32::from(b.wrapping_sub(b'0')));
    let sum: u32 = digits.zip(weights).map(|(digit, weight)| digit * weight).sum();
    let check = (10 - sum % 10) % 10;
    format!("{key}{check}")
}

/// An EPC URI, class URI or pattern URI (TDS 1.13, sections 6 and 8) as Digital Link.
fn epc_uri(text: &str) -> Option<String> {
    let (kind, rest) = text.strip_prefix("urn:epc:")?.split_once(':')?;
    let (scheme, rest) = rest.split_once(':')?;
    let (prefix, tail) = rest.split_once('.')?;
    if !is_digits(prefix) || !(6..=12).contains(&prefix.len()) {
        return None;
    }
    let epc = Epc { prefix, tail };
    match kind {
        "id" => epc.instance(scheme),
        "class" if scheme == "lgtin" => {
            let (gtin, lot) = epc.gtin()?;
            Some(format!("{GS1}01/{gtin}/10/{}", serial(dotted(lot)?, 1, 20)?))
        }
        "idpat" => epc.pattern(scheme),
        _ => None,
    }
}

/// What follows the scheme of an EPC URI: the company prefix, and all after its dot.
struct Epc<'a> {
    prefix: &'a str,
    tail: &'a str,
}

impl<'a> Epc<'a> {
    fn instance(&self, scheme: &str) -> Option<String> {
        match scheme {
            "sgtin" | "upui" | "itip" => self.trade_item(scheme),
            "sscc" => Some(format!("{GS1}00/{}", self.indicated_whole(17)?)),
            "gsrn" => Some(format!("{GS1}8018/{}", self.whole(17)?)),
            "gsrnp" => Some(format!("{GS1}8017/{}", self.whole(17)?)),
            "gsin" => Some(format!("{GS1}402/{}", self.whole(16)?)),
            "pgln" => Some(format!("{GS1}417/{}", self.whole(12)?)),
            "sgln" => self.location(),
            "grai" => {
                let (key, rest) = self.key(12)?;
                let key = with_check_digit(&["0", &key].concat());
                Some(format!("{GS1}8003/{key}{}", serial(dotted(rest)?, 1, 16)?))
            }
            "gdti" => {
                let (key, rest) = self.key(12)?;
                let key = with_check_digit(&key);
                Some(format!("{GS1}253/{key}{}", serial(dotted(rest)?, 0, 19)?))
            }
            "sgcn" => {
                let (key, rest) = self.key(12)?;
                let number = dotted(rest).filter(|n| is_digits(n) && n.len() <= 12)?;
                Some(format!("{GS1}255/{}{number}", with_check_digit(&key)))
            }
            "giai" => self.free_reference("8004"),
            "ginc" => self.free_reference("401"),
            "cpi" => {
                let (part, number) = self.tail.rsplit_once('.')?;
                let number = Some(number).filter(|n| is_digits(n) && n.len() <= 12)?;
                Some(format!("{}/8011/{number}", self.component(part)?))
            }
            _ => None,
        }
    }

    fn trade_item(&self, scheme: &str) -> Option<String> {
        let (gtin, rest) = self.gtin()?;
        match scheme {
            "sgtin" => Some(format!("{GS1}01/{gtin}/21/{}", serial(dotted(rest)?, 1, 20)?)),
            "upui" => Some(format!("{GS1}01/{gtin}/235/{}", serial(dotted(rest)?, 1, 28)?)),
            "itip" => {
                let (piece_total, rest) = piece_of_total(rest)?;
                let serial = serial(dotted(rest)?, 1, 20)?;
                Some(format!("{GS1}8006/{gtin}{piece_total}/21/{serial}"))
            }
            _ => None,
        }
    }

    fn location(&self) -> Option<String> {
        let (key, rest) = self.key(12)?;
        let key = with_check_digit(&key);
        match dotted(rest)? {
            "0" => Some(format!("{GS1}414/{key}")),
            extension => Some(format!("{GS1}414/{key}/254/{}", serial(extension, 1, 20)?)),
        }
    }

    fn pattern(&self, scheme: &str) -> Option<String> {
        let tail = self.tail.strip_suffix(".*")?;
        let epc = Epc { prefix: self.prefix, tail };
        let whole = |zeros: &str, ai: &str| {
            let key = epc.key(12).filter(|(_, rest)| rest.is_empty())?.0;
            Some(format!("{GS1}{ai}/{}", with_check_digit(&[zeros, &key].concat())))
        };
        match scheme {
            "sgtin" | "upui" => {
                let (gtin, _) = epc.gtin().filter(|(_, rest)| rest.is_empty())?;
                Some(format!("{GS1}01/{gtin}"))
            }
            "itip" => {
                let (gtin, rest) = epc.gtin()?;
                let (piece_total, _) = piece_of_total(rest).filter(|(_, rest)| rest.is_empty())?;
                Some(format!("{GS1}8006/{gtin}{piece_total}"))
            }
            "grai" => whole("0", "8003"),
            "gdti" => whole("", "253"),
            "sgcn" => whole("", "255"),
            "cpi" => epc.component(tail),
            _ => None,
        }
    }

    /// Prefix and reference, `total` digits together, and what follows them.
    fn split(&self, total: usize) -> Option<(&'a str, &'a str)> {
        let (reference, rest) = self.tail.split_at_checked(total.checked_sub(self.prefix.len())?)?;
        let plain = reference.bytes().all(|b| b.is_ascii_digit());
        plain.then_some((reference, rest))
    }

    fn key(&self, total: usize) -> Option<(String, &'a str)> {
        let (reference, rest) = self.split(total)?;
        Some(([self.prefix, reference].concat(), rest))
    }

    /// The same, the first digit of the reference (indicator, extension digit) moved to the front.
    fn indicated(&self, total: usize) -> Option<(String, &'a str)> {
        let (reference, rest) = self.split(total)?;
        let (indicator, reference) = reference.split_at_checked(1)?;
        Some(([indicator, self.prefix, reference].concat(), rest))
    }

    fn whole(&self, total: usize) -> Option<String> {
        let (key, rest) = self.key(total)?;
        rest.is_empty().then(|| with_check_digit(&key))
    }

    fn indicated_whole(&self, total: usize) -> Option<String> {
        let (key, rest) = self.indicated(total)?;
        rest.is_empty().then(|| with_check_digit(&key))
    }

    fn gtin(&self) -> Option<(String, &'a str)> {
        let (key, rest) = self.indicated(13)?;
        Some((with_check_digit(&key), rest))
    }

    /// A reference of characters, 30 together with the prefix.
    fn free_reference(&self, ai: &str) -> Option<String> {
        let longest = 30usize.checked_sub(self.prefix.len())?;
        let reference = serial(self.tail, 1, longest)?;
        Some(format!("{GS1}{ai}/{}{reference}", self.prefix))
    }

    fn component(&self, part: &str) -> Option<String> {
        let longest = 30usize.checked_sub(self.prefix.len())?;
        let is_raw = |b: u8| b.is_ascii_digit() || b.is_ascii_uppercase() || b == b'-';
        let is_escaped = |b: u8| is_raw(b) || matches!(b, b'#' | b'/');
        let len = escaped_len(part, is_raw, is_escaped)?;
        let fits = (1..=longest).contains(&len);
        fits.then(|| format!("{GS1}8010/{}{part}", self.prefix))
    }
}

fn dotted(rest: &str) -> Option<&str> {
    rest.strip_prefix('.')
}

/// `.01.02…` to `0102` and what follows.
fn piece_of_total(rest: &str) -> Option<(String, &str)> {
    let (piece, rest) = dotted(rest)?.split_at_checked(2)?;
    let (total, rest) = dotted(rest)?.split_at_checked(2)?;
    let plain = is_digits(piece) && is_digits(total);
    plain.then(|| ([piece, total].concat(), rest))
}

/// A serial of an EPC URI as Digital Link writes it: existing escapes stay, seven more characters are escaped.
fn serial(text: &str, shortest: usize, longest: usize) -> Option<String> {
    let is_raw = |b: u8| b.is_ascii_alphanumeric() || b"!')(*+,.:;=_-".contains(&b);
    let len = escaped_len(text, is_raw, is_cset82)?;
    if !(shortest..=longest).contains(&len) {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '!' => out.push_str("%21"),
            '(' => out.push_str("%28"),
            ')' => out.push_str("%29"),
            '*' => out.push_str("%2A"),
            '+' => out.push_str("%2B"),
            ',' => out.push_str("%2C"),
            ':' => out.push_str("%3A"),
            plain => out.push(plain),
        }
    }
    Some(out)
}

fn is_cset82(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!\"%&'()*+,-./:;<=>?_".contains(&byte)
}

/// The number of characters, an escape being one; `None` where one is not allowed.
fn escaped_len(text: &str, is_raw: impl Fn(u8) -> bool, is_escaped: impl Fn(u8) -> bool) -> Option<usize> {
    let mut bytes = text.bytes();
    let mut len: usize = 0;
    while let Some(byte) = bytes.next() {
        let allowed = match byte {
            b'%' => is_escaped(hex_pair(bytes.next()?, bytes.next()?)?),
            plain => is_raw(plain),
        };
        if !allowed {
            return None;
        }
        len = len.saturating_add(1);
    }
    Some(len)
}

fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    digit(high)?.checked_mul(16)?.checked_add(digit(low)?)
}

/// Short names that Digital Link allowed for keys and qualifiers (Digital Link 1.1, section 6).
const SHORT_NAMES: &[(&str, &str)] = &[
    ("gtin", "01"),
    ("itip", "8006"),
    ("cpid", "8010"),
    ("gln", "414"),
    ("party", "417"),
    ("gsrnp", "8017"),
    ("gsrn", "8018"),
    ("gcn", "255"),
    ("sscc", "00"),
    ("gdti", "253"),
    ("ginc", "401"),
    ("gsin", "402"),
    ("grai", "8003"),
    ("giai", "8004"),
    ("cpv", "22"),
    ("lot", "10"),
    ("ser", "21"),
];

/// Where a path names two keys, the first of this list counts, as in the reference.
const KEYS: &[&str] =
    &["00", "01", "253", "255", "401", "402", "414", "417", "8003", "8004", "8006", "8010", "8017", "8018"];

/// A GS1 Digital Link URI on any domain as the canonical one. Values with escapes are left alone, as the reference does.
fn digital_link(text: &str) -> Option<String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    let path = rest.split_once('?').map_or(rest, |(path, _)| path);
    if path.contains('#') {
        return None;
    }
    let mut segments: Vec<&str> = path.split('/').skip(1).collect();
    // The last segment is a value, even where it reads like a key.
    let last = segments.pop()?;
    for segment in &mut segments {
        let long = SHORT_NAMES.iter().find(|(short, _)| short == segment);
        *segment = long.map_or(*segment, |(_, ai)| ai);
    }
    let at = KEYS.iter().find_map(|key| segments.iter().position(|segment| segment == key))?;
    segments.push(last);
    let (key, rest) = segments.get(at..)?.split_first()?;
    let (value, qualifiers) = rest.split_first()?;
    // A key begins with four digits at least; this keeps other paths that hold such a segment apart.
    let starts_as_key = value.len() > 4 && value.get(..4).is_some_and(is_digits);
    if !starts_as_key {
        return None;
    }
    let value = padded(key, value);
    let qualifiers = finest(key, qualifiers);
    is_canonical(key, &value, qualifiers).then(|| {
        let mut uri = format!("{GS1}{key}/{value}");
        for part in qualifiers {
            uri.push('/');
            uri.push_str(part);
        }
        uri
    })
}

/// GTIN-8, 12 and 13 to 14 digits.
fn padded<'a>(key: &str, value: &'a str) -> Cow<'a, str> {
    if key == "01" && is_digits(value) && matches!(value.len(), 8 | 12 | 13) {
        return Cow::Owned(format!("{value:0>14}"));
    }
    Cow::Borrowed(value)
}

/// Without consumer product variant, and without the lot where there is a serial.
fn finest<'a>(key: &str, qualifiers: &'a [&'a str]) -> &'a [&'a str] {
    if key != "01" && key != "8006" {
        return qualifiers;
    }
    let qualifiers = match qualifiers {
        ["22", _, rest @ ..] => rest,
        all => all,
    };
    match qualifiers {
        ["10", _, serial @ ..] if matches!(serial, ["21", _]) => serial,
        all => all,
    }
}

fn is_canonical(key: &str, value: &str, qualifiers: &[&str]) -> bool {
    // The characters of CSET 82 that a path holds without escape.
    let is_plain = |text: &str, longest: usize| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"\"'-.;<=>?_".contains(&b);
        text.len() <= longest && text.bytes().all(plain)
    };
    let digits_then = |len: usize, longest: usize| {
        value.split_at_checked(len).is_some_and(|(digits, rest)| is_digits_of(digits, len) && is_plain(rest, longest))
    };
    let is_component = |b: u8| b.is_ascii_digit() || b.is_ascii_uppercase() || b"#-".contains(&b);
    match (key, qualifiers) {
        ("00" | "8017" | "8018" | "8006", []) => is_digits_of(value, 18),
        ("01", []) => is_digits_of(value, 14),
        ("01", ["21" | "10", part]) => is_digits_of(value, 14) && is_plain(part, 20),
        ("01", ["235", part]) => is_digits_of(value, 14) && is_plain(part, 28),
        ("8006", ["21" | "10", part]) => is_digits_of(value, 18) && is_plain(part, 20),
        ("253", []) => digits_then(13, 17),
        ("255", []) => digits_then(13, 12) && is_digits(value),
        ("401" | "8004", []) => is_plain(value, 30),
        ("402", []) => is_digits_of(value, 17),
        ("414" | "417", []) => is_digits_of(value, 13),
        ("414", ["254", part]) => is_digits_of(value, 13) && is_plain(part, 20),
        ("8003", []) => digits_then(14, 16),
        ("8010", []) => value.len() <= 30 && value.bytes().all(is_component),
        ("8010", ["8011", number]) => {
            value.len() <= 30
                && value.bytes().all(is_component)
                && (number.is_empty() || is_digits(number))
                && number.len() <= 12
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_reference_does() {
        for (given, expected) in [
            ("0012", "12"),
            ("12E3", "12000"),
            ("26.0", "26"),
            ("0.100", "0.1"),
            ("-0", "0"),
            ("1_000.50", "1000.5"),
            ("+7", "7"),
            (".5", "0.5"),
            ("0.00001", "1e-05"),
            ("1e-10", "1e-10"),
            ("1e23", "99999999999999991611392"),
            ("12345678901234567890", "12345678901234567168"),
            ("1__0", "1__0"),
            ("_1", "_1"),
            ("inf", "inf"),
            ("1e999", "1e999"),
            ("nan", "nan"),
            ("A123", "A123"),
            ("1.2.3", "1.2.3"),
            ("e5", "e5"),
            ("", ""),
        ] {
            assert_eq!(canonical(given), expected, "{given}");
        }
    }

    #[test]
    fn a_digital_link_on_any_domain_becomes_the_canonical_one() {
        for (given, expected) in [
            (
                "http://a.example/x/gtin/9780345418913/lot/L1/ser/S2?17=280327",
                "https://id.gs1.org/01/09780345418913/21/S2",
            ),
            ("https://id.gs1.org/01/09780345418913/22/2A/21/S2", "https://id.gs1.org/01/09780345418913/21/S2"),
            ("https://id.gs1.de/414/4012345000115/254/x", "https://id.gs1.org/414/4012345000115/254/x"),
            ("https://a.example/itip/040123451111180102/21/414", "https://id.gs1.org/8006/040123451111180102/21/414"),
            ("https://example.com/line/1", "https://example.com/line/1"),
            ("https://a.example/01/09780345418913/21/a%2Fb", "https://a.example/01/09780345418913/21/a%2Fb"),
        ] {
            assert_eq!(canonical(given), expected);
        }
    }

    #[test]
    fn an_epc_uri_that_breaks_its_form_stays_as_it_is() {
        for given in [
            "urn:epc:id:sgtin:030001.0012345.",
            "urn:epc:id:sgtin:030001.001234.1",
            "urn:epc:id:sgtin:030001.0012345.123456789012345678901",
            "urn:epc:id:sgtin:030001.0012345.a b",
            "urn:epc:id:sgtin:030001.0012345.a%23",
            "urn:epc:id:sgtin:030001.0012345.a%2",
            "urn:epc:id:sscc:030001.412345678901",
            "urn:epc:id:sgln:03000é.111111.0",
            "urn:epc:id:sscc:0300.1",
        ] {
            assert_eq!(canonical(given), given);
        }
    }
}
