//! EPC pure identity URIs (GS1 Tag Data Standard) and canonical GS1 Digital Link URIs of the same objects.
//!
//! The length of the company prefix comes from master data. A wrong length gives a well-formed URI of the same object that
//! no partner can match, so no function here guesses it. Digital Link URIs need no such length.

use std::fmt::Write as _;

use crate::domain::charset::Charset;
use crate::domain::gs1::{GcpLength, Gs1Error, Gtin, Lot, SerialNumber, Sscc, check_digit, require_digits, shown};

pub const SGTIN: &str = "urn:epc:id:sgtin:";
pub const SSCC: &str = "urn:epc:id:sscc:";
pub const LGTIN: &str = "urn:epc:class:lgtin:";
/// The domain of canonical Digital Link URIs.
pub const DIGITAL_LINK: &str = "https://id.gs1.org";

/// `urn:epc:id:sgtin:030001.0012345.11`
pub fn sgtin_uri(gtin: Gtin, serial: SerialNumber, gcp: GcpLength) -> String {
    let mut uri = sgtin_prefix(gtin, gcp);
    escape_into(&mut uri, serial.as_str());
    uri
}

/// `urn:epc:id:sgtin:030001.0012345.`: what all serial numbers of one product share.
pub fn sgtin_prefix(gtin: Gtin, gcp: GcpLength) -> String {
    product_prefix(SGTIN, gtin, gcp)
}

/// `urn:epc:idpat:sgtin:030001.0012345.*`: all serial numbers of one product, for master data.
pub fn sgtin_pattern(gtin: Gtin, gcp: GcpLength) -> String {
    let mut uri = product_prefix("urn:epc:idpat:sgtin:", gtin, gcp);
    uri.push('*');
    uri
}

/// `urn:epc:class:lgtin:030001.0012345.A123`
pub fn lgtin_uri(gtin: Gtin, lot: Lot, gcp: GcpLength) -> String {
    let mut uri = product_prefix(LGTIN, gtin, gcp);
    escape_into(&mut uri, lot.as_str());
    uri
}

/// `urn:epc:id:sscc:030001.41234567890`
pub fn sscc_uri(sscc: Sscc, gcp: GcpLength) -> String {
    let (prefix, reference) = split_key(sscc.as_str(), gcp);
    let mut uri = String::with_capacity(SSCC.len().saturating_add(18));
    uri.extend([SSCC, prefix, "."]);
    uri.push_str(reference);
    move_indicator(&mut uri, sscc.as_str(), reference.len());
    uri
}

/// Reads `urn:epc:id:sgtin:GCP.I+ref.SERIAL` and computes the check digit again.
pub fn parse_sgtin_uri(uri: &str) -> Result<(Gtin, SerialNumber, GcpLength), Gs1Error> {
    const FORM: &str = "urn:epc:id:sgtin:PREFIX.ITEM.SERIAL, PREFIX and ITEM 13 digits together";
    let refusal = || form("SGTIN URI", uri, FORM);
    let rest = uri.strip_prefix(SGTIN).ok_or_else(refusal)?;
    let (prefix, rest) = rest.split_once('.').ok_or_else(refusal)?;
    let (item, serial) = rest.split_once('.').ok_or_else(refusal)?;
    let (digits, gcp) = join_key("SGTIN URI", uri, prefix, item, 13, FORM)?;
    let serial = SerialNumber::new(&unescape(serial)?)?;
    Ok((Gtin::new(&digits)?, serial, gcp))
}

/// Reads `urn:epc:id:sscc:GCP.E+reference` and computes the check digit again.
pub fn parse_sscc_uri(uri: &str) -> Result<(Sscc, GcpLength), Gs1Error> {
    const FORM: &str = "urn:epc:id:sscc:PREFIX.REFERENCE, 17 digits together";
    let refusal = || form("SSCC URI", uri, FORM);
    let rest = uri.strip_prefix(SSCC).ok_or_else(refusal)?;
    let (prefix, reference) = rest.split_once('.').ok_or_else(refusal)?;
    let (digits, gcp) = join_key("SSCC URI", uri, prefix, reference, 17, FORM)?;
    Ok((Sscc::new(&digits)?, gcp))
}

/// `https://id.gs1.org/01/00300010123455/21/11`
pub fn sgtin_digital_link(gtin: Gtin, serial: SerialNumber) -> String {
    digital_link(&[("01", gtin.as_str()), ("21", serial.as_str())])
}

/// `https://id.gs1.org/00/403000112345678901`
pub fn sscc_digital_link(sscc: Sscc) -> String {
    digital_link(&[("00", sscc.as_str())])
}

/// `https://id.gs1.org/01/00300010123455`
pub fn gtin_digital_link(gtin: Gtin) -> String {
    digital_link(&[("01", gtin.as_str())])
}

/// `https://id.gs1.org/01/00300010123455/10/A123`
pub fn lgtin_digital_link(gtin: Gtin, lot: Lot) -> String {
    digital_link(&[("01", gtin.as_str()), ("10", lot.as_str())])
}

/// The canonical Digital Link URI of a key and its qualifiers, in the order given.
pub fn digital_link(path: &[(&str, &str)]) -> String {
    let mut uri = String::with_capacity(64);
    uri.push_str(DIGITAL_LINK);
    for (ai, value) in path {
        uri.extend(["/", ai, "/"]);
        percent_encode_into(&mut uri, value);
    }
    uri
}

/// Percent-encodes everything but the unreserved characters of RFC 3986, as a path segment asks.
pub fn percent_encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    percent_encode_into(&mut encoded, value);
    encoded
}

/// Escapes the seven characters of CSET 82 that a URN must not carry; every other one stands as it is.
pub fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    escape_into(&mut escaped, value);
    escaped
}

/// The inverse of [`escape`]. Refuses a character that should have been escaped and an escape that should not be there:
/// one object has one URI.
pub fn unescape(escaped: &str) -> Result<String, Gs1Error> {
    const ALLOWED: &str = "%22 %25 %26 %2F %3C %3E %3F for \" % & / < > ?, other characters of GS1 CSET 82 as they are";
    let refusal =
        |position| Gs1Error::Form { what: "part of an EPC URI", value: shown(escaped), position, allowed: ALLOWED };
    let mut value = String::with_capacity(escaped.len());
    let mut rest = escaped.char_indices();
    while let Some((at, character)) = rest.next() {
        let position = at.saturating_add(1);
        let plain = match character {
            '%' => {
                let hex = escaped.get(position..position.saturating_add(2));
                rest.nth(1);
                hex.and_then(hex_byte).map(char::from).filter(|found| is_escaped(*found))
            }
            _ => Some(character).filter(|found| !is_escaped(*found) && Charset::Cset82.contains_char(*found)),
        };
        value.push(plain.ok_or_else(|| refusal(position))?);
    }
    Ok(value)
}

fn is_escaped(character: char) -> bool {
    matches!(character, '"' | '%' | '&' | '/' | '<' | '>' | '?')
}

/// Two hexadecimal digits, upper or lower case; `from_str_radix` alone would take a sign.
fn hex_byte(text: &str) -> Option<u8> {
    if text.bytes().all(|byte| byte.is_ascii_hexdigit()) { u8::from_str_radix(text, 16).ok() } else { None }
}

fn escape_into(uri: &mut String, value: &str) {
    for character in value.chars() {
        if is_escaped(character) {
            push_percent(uri, character);
        } else {
            uri.push(character);
        }
    }
}

fn percent_encode_into(uri: &mut String, value: &str) {
    for character in value.chars() {
        if character.is_ascii_alphanumeric() || matches!(character, '-' | '.' | '_' | '~') {
            uri.push(character);
        } else {
            push_percent(uri, character);
        }
    }
}

fn push_percent(uri: &mut String, character: char) {
    let mut buffer = [0; 4];
    for byte in character.encode_utf8(&mut buffer).bytes() {
        // Writing to a String cannot fail.
        let _ = write!(uri, "%{byte:02X}");
    }
}

fn product_prefix(scheme: &str, gtin: Gtin, gcp: GcpLength) -> String {
    let (prefix, item) = split_key(gtin.as_str(), gcp);
    let room = scheme.len().saturating_add(36);
    let mut uri = String::with_capacity(room);
    uri.extend([scheme, prefix, "."]);
    uri.push_str(item);
    move_indicator(&mut uri, gtin.as_str(), item.len());
    uri.push('.');
    uri
}

/// Company prefix, and what lies between it and the check digit, of a key with a leading indicator or extension digit.
fn split_key(key: &str, gcp: GcpLength) -> (&str, &str) {
    let cut = usize::from(gcp.get());
    let body = key.get(1..key.len().saturating_sub(1)).unwrap_or_default();
    body.split_at_checked(cut).unwrap_or_default()
}

/// Sets the first digit of `key` before the last `reference` characters of `uri`.
fn move_indicator(uri: &mut String, key: &str, reference: usize) {
    let at = uri.len().saturating_sub(reference);
    uri.insert_str(at, key.get(..1).unwrap_or_default());
}

/// Puts a key of `total` digits together again and adds the check digit.
fn join_key(
    what: &'static str,
    uri: &str,
    prefix: &str,
    reference: &str,
    total: usize,
    allowed: &'static str,
) -> Result<(String, GcpLength), Gs1Error> {
    require_digits(what, prefix)?;
    require_digits(what, reference)?;
    let gcp = u8::try_from(prefix.len()).map_err(|_| form(what, uri, allowed)).and_then(GcpLength::new)?;
    let (indicator, rest) = reference.split_at_checked(1).ok_or_else(|| form(what, uri, allowed))?;
    let mut key = [indicator, prefix, rest].concat();
    if key.len() != total {
        return Err(form(what, uri, allowed));
    }
    key.push(check_digit(key.as_bytes()));
    Ok((key, gcp))
}

fn form(what: &'static str, value: &str, allowed: &'static str) -> Gs1Error {
    Gs1Error::Form { what, value: shown(value), position: 1, allowed }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gcp(length: u8) -> GcpLength {
        GcpLength::new(length).expect("6 to 12")
    }

    fn gtin(digits: &str) -> Gtin {
        Gtin::new(digits).expect("a good GTIN")
    }

    fn serial(text: &str) -> SerialNumber {
        SerialNumber::new(text).expect("a good serial number")
    }

    #[test]
    fn writes_the_worked_examples_of_the_standard() {
        let unit = gtin("00300010123455");
        assert_eq!(sgtin_uri(unit, serial("11"), gcp(6)), "urn:epc:id:sgtin:030001.0012345.11");
        assert_eq!(sgtin_prefix(gtin("10300010123452"), gcp(6)), "urn:epc:id:sgtin:030001.1012345.");
        let sscc = Sscc::new("403000112345678901").expect("a good SSCC");
        assert_eq!(sscc_uri(sscc, gcp(6)), "urn:epc:id:sscc:030001.41234567890");
        let lot = Lot::new("A123").expect("a good lot");
        assert_eq!(lgtin_uri(unit, lot, gcp(6)), "urn:epc:class:lgtin:030001.0012345.A123");
        assert_eq!(sgtin_pattern(unit, gcp(6)), "urn:epc:idpat:sgtin:030001.0012345.*");
    }

    #[test]
    fn writes_canonical_digital_links() {
        let unit = gtin("00300010123455");
        assert_eq!(sgtin_digital_link(unit, serial("a+b/c")), "https://id.gs1.org/01/00300010123455/21/a%2Bb%2Fc");
        let sscc = Sscc::new("403000112345678901").expect("a good SSCC");
        assert_eq!(sscc_digital_link(sscc), "https://id.gs1.org/00/403000112345678901");
        assert_eq!(gtin_digital_link(unit), "https://id.gs1.org/01/00300010123455");
    }

    #[test]
    fn reads_back_what_it_writes_at_every_prefix_length() {
        let unit = gtin("00300010123455");
        let sscc = Sscc::new("403000112345678901").expect("a good SSCC");
        for length in 6..=12 {
            for text in ["1", "'OR'1'='1'--", "../../etc/passwd", "a+b/c", "%\"&<>?"] {
                let uri = sgtin_uri(unit, serial(text), gcp(length));
                assert_eq!(parse_sgtin_uri(&uri), Ok((unit, serial(text), gcp(length))), "{uri}");
            }
            let uri = sscc_uri(sscc, gcp(length));
            assert_eq!(parse_sscc_uri(&uri), Ok((sscc, gcp(length))), "{uri}");
        }
    }

    #[test]
    fn refuses_uris_that_name_no_one_object() {
        for uri in [
            "",
            "urn:epc:id:sgtin:",
            "urn:epc:id:sgtin:030001.0012345",
            "urn:epc:id:sgtin:030001.0012345.",
            "urn:epc:id:sgtin:030001.001234.1",
            "urn:epc:id:sgtin:03000.00123456.1",
            "urn:epc:id:sgtin:030001..1",
            "urn:epc:id:sgtin:0300010012345..1",
            "urn:epc:id:sgtin:030001.0012345.a/b",
            "urn:epc:id:sgtin:030001.0012345.%41",
            "urn:epc:id:sgtin:030001.0012345.%2",
            "urn:epc:id:sgtin:030001.0012345.%é",
            "urn:epc:id:sgtin:030001.00123é5.1",
            "urn:epc:idpat:sgtin:030001.0012345.*",
        ] {
            assert!(parse_sgtin_uri(uri).is_err(), "{uri}");
        }
        assert!(parse_sscc_uri("urn:epc:id:sscc:030001.4123456789").is_err());
        assert!(parse_sscc_uri("urn:epc:id:sscc:030001412345678900").is_err());
    }

    proptest! {
        #[test]
        fn escapes_and_reads_back_any_serial_number(text in "[!-\"%-?A-Z_a-z]{1,20}", length in 6_u8..=12) {
            prop_assert_eq!(unescape(&escape(&text)), Ok(text.clone()));
            let uri = sgtin_uri(gtin("00300010123455"), serial(&text), gcp(length));
            prop_assert_eq!(parse_sgtin_uri(&uri), Ok((gtin("00300010123455"), serial(&text), gcp(length))));
        }

        #[test]
        fn never_panics_on_any_text(text in any::<String>(), like in "[.%0-9A-Zé]{0,30}") {
            let _ = (unescape(&text), parse_sgtin_uri(&text), parse_sscc_uri(&text));
            let _ = (unescape(&like), parse_sgtin_uri(&format!("{SGTIN}{like}")), parse_sscc_uri(&format!("{SSCC}{like}")));
        }
    }
}
