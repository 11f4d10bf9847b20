//! What a code names: read by a scanner, printed under a symbol, written by EPCIS, or typed by a person.

use crate::domain::element::ElementString;
use crate::domain::epc;
use crate::domain::gs1::{Gtin, SerialNumber, Sscc};
use crate::store::{Reader, StoreError};

/// Something that the journal may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Unit(Gtin, SerialNumber),
    Container(Sscc),
}

/// Everything that `code` may name. A serial alone is looked for under every GTIN of the journal.
pub(super) fn read(code: &str, reader: &Reader) -> Result<Vec<Named>, StoreError> {
    let code = code.trim();
    if let Some(named) = spelled(code) {
        return Ok(vec![named]);
    }
    let Ok(serial) = SerialNumber::new(code) else { return Ok(Vec::new()) };
    let mut gtins: Vec<Gtin> = reader.batches()?.iter().filter_map(|batch| Gtin::new(&batch.gtin).ok()).collect();
    gtins.sort();
    gtins.dedup();
    Ok(gtins.into_iter().map(|gtin| Named::Unit(gtin, serial)).collect())
}

/// The spellings that say by themselves what they name.
fn spelled(code: &str) -> Option<Named> {
    if let Ok((gtin, serial, _)) = epc::parse_sgtin_uri(code) {
        return Some(Named::Unit(gtin, serial));
    }
    if let Ok((sscc, _)) = epc::parse_sscc_uri(code) {
        return Some(Named::Container(sscc));
    }
    if let Some(named) = digital_link(code) {
        return Some(named);
    }
    let elements = ElementString::parse(code.as_bytes()).or_else(|_| ElementString::parse_bracketed(code));
    if let Some(named) = elements.ok().and_then(|elements| of_values(|ai| elements.get(ai).map(str::to_owned))) {
        return Some(named);
    }
    Sscc::new(code).ok().map(Named::Container)
}

/// `https://any.host/any/path/01/GTIN/21/SERIAL` and `.../00/SSCC` (GS1 Digital Link, URI syntax).
fn digital_link(code: &str) -> Option<Named> {
    let rest = code.strip_prefix("https://").or_else(|| code.strip_prefix("http://"))?;
    let path = rest.split(['?', '#']).next()?;
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let value = |ai: &str| {
        let written = parts.windows(2).find(|pair| pair[0] == ai).map(|pair| pair[1])?;
        percent_decoded(written)
    };
    of_values(value)
}

/// RFC 3986, 2.1; `None` where an escape is cut or the bytes are no UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('%') {
        bytes.extend_from_slice(plain.as_bytes());
        let digits = escape.get(..2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = escape.get(2..)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

fn of_values(value: impl Fn(&str) -> Option<String>) -> Option<Named> {
    if let Some(sscc) = value("00") {
        return Sscc::new(&sscc).ok().map(Named::Container);
    }
    let gtin = Gtin::new(&value("01")?).ok()?;
    Some(Named::Unit(gtin, SerialNumber::new(&value("21")?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_unit_names_the_same_unit() {
        let gtin = Gtin::new("09506000134352").expect("a GTIN");
        let unit = |serial: &str| Some(Named::Unit(gtin, SerialNumber::new(serial).expect("a serial")));
        assert_eq!(spelled("(01)09506000134352(21)A1"), unit("A1"));
        assert_eq!(spelled("]d2010950600013435221A1"), unit("A1"));
        assert_eq!(spelled("010950600013435221A1\u{1d}10L7"), unit("A1"));
        assert_eq!(spelled("urn:epc:id:sgtin:9506000.013435.A1"), unit("A1"));
        assert_eq!(spelled("https://id.gs1.org/01/09506000134352/21/a%2Bb%2Fc?x=1"), unit("a+b/c"));
    }

    #[test]
    fn every_spelling_of_a_container_names_the_same_container() {
        let sscc = Sscc::build(0, "9506000", 1).expect("an SSCC");
        let named = Some(Named::Container(sscc));
        assert_eq!(spelled(sscc.as_str()), named);
        assert_eq!(spelled(&format!("(00){sscc}")), named);
        assert_eq!(spelled(&format!("https://example.org/x/00/{sscc}")), named);
    }

    #[test]
    fn other_texts_name_nothing_by_themselves() {
        for text in [
            "",
            "A1",
            "'OR'1'='1'--",
            "../../etc/passwd",
            "https://id.gs1.org/01/095",
            "https://id.gs1.org/01/09506000134352/21/%2",
            "]d2",
        ] {
            assert_eq!(spelled(text), None, "{text}");
        }
    }
}
