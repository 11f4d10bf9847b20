//! GS1 Digital Links, as the symbols of consumer goods carry them. Every other spelling is `domain::code`'s.

use crate::domain::code::Code;
use crate::domain::gs1::{Gtin, SerialNumber, Sscc};

/// `https://any.host/any/path/01/GTIN/21/SERIAL` and `.../00/SSCC` (GS1 Digital Link, URI syntax).
pub(super) fn digital_link(code: &str) -> Option<Code> {
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

fn of_values(value: impl Fn(&str) -> Option<String>) -> Option<Code> {
    if let Some(sscc) = value("00") {
        return Sscc::new(&sscc).ok().map(Code::Sscc);
    }
    let gtin = Gtin::new(&value("01")?).ok()?;
    Some(Code::Sgtin { gtin, serial: SerialNumber::new(&value("21")?).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_names_its_unit_or_container_whatever_its_host() {
        let gtin = Gtin::new("09506000134352").expect("a GTIN");
        let serial = SerialNumber::new("a+b/c").expect("a serial");
        let unit = Some(Code::Sgtin { gtin, serial });
        assert_eq!(digital_link("https://id.gs1.org/01/09506000134352/21/a%2Bb%2Fc?x=1"), unit);
        let sscc = Sscc::build(0, "9506000", 1).expect("an SSCC");
        assert_eq!(digital_link(&format!("http://example.org/x/00/{sscc}")), Some(Code::Sscc(sscc)));
    }

    #[test]
    fn other_texts_are_no_links() {
        let cut = "https://id.gs1.org/01/09506000134352/21/%2";
        for text in ["", "A1", "01/09506000134352/21/A1", "https://id.gs1.org/01/095", "https://", cut] {
            assert_eq!(digital_link(text), None, "{text}");
        }
    }
}
