//! The alternative names of a certificate: its application URI, host names and addresses (X.509 `subjectAltName`, RFC 5280 §4.2.1.6).
//!
//! The library looks for the URI in the first place alone and for hosts in all but the first; vendors do not keep that order. Only as
//! much of DER is understood here as the way to that extension needs; what does not fit has no names.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What a certificate says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlternativeNames {
    pub uris: Vec<String>,
    /// DNS names, and addresses as text.
    pub hosts: Vec<String>,
}

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
/// `[3] EXPLICIT Extensions` of a TBSCertificate.
const EXTENSIONS: u8 = 0xA3;
/// 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1D, 0x11];
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;
const IP_ADDRESS: u8 = 0x87;

impl AlternativeNames {
    /// Of a certificate in DER.
    pub fn of(der: &[u8]) -> Self {
        let mut names = Self::default();
        for (tag, value) in extension(der).map(all).unwrap_or_default() {
            match tag {
                URI => names.uris.extend(text(value)),
                DNS_NAME => names.hosts.extend(text(value)),
                IP_ADDRESS => names.hosts.extend(address(value)),
                _ => {}
            }
        }
        names
    }

    /// Host names are compared without regard to case; a URI is compared to the letter.
    pub fn has_host(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        self.hosts.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// The content of the extension `subjectAltName`.
fn extension(der: &[u8]) -> Option<&[u8]> {
    let certificate = only(der, SEQUENCE)?;
    let to_be_signed = first(certificate, SEQUENCE)?;
    let extensions = only(first(to_be_signed, EXTENSIONS)?, SEQUENCE)?;
    let named = all(extensions).into_iter().find_map(|(tag, extension)| {
        let parts = (tag == SEQUENCE).then(|| all(extension))?;
        let is_named = parts.first().is_some_and(|part| *part == (OBJECT_IDENTIFIER, SUBJECT_ALT_NAME));
        is_named.then(|| parts.last().copied()).flatten()
    });
    let (tag, value) = named?;
    (tag == OCTET_STRING).then(|| only(value, SEQUENCE)).flatten()
}

fn only(der: &[u8], wanted: u8) -> Option<&[u8]> {
    let (tag, value, _) = element(der)?;
    (tag == wanted).then_some(value)
}

fn first(der: &[u8], wanted: u8) -> Option<&[u8]> {
    all(der).into_iter().find(|(tag, _)| *tag == wanted).map(|(_, value)| value)
}

/// Every element, up to the first that is cut short.
fn all(mut der: &[u8]) -> Vec<(u8, &[u8])> {
    let mut elements = Vec::new();
    while let Some((tag, value, rest)) = element(der) {
        elements.push((tag, value));
        der = rest;
    }
    elements
}

/// Tag, content and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&short, rest) = rest.split_first()?;
    let (length, rest) = if short < 0x80 {
        (usize::from(short), rest)
    } else {
        // 0x80 alone is the indefinite form, which DER forbids; four bytes hold any certificate.
        let bytes = usize::from(short & 0x7F);
        let (length, rest) = rest.split_at_checked(bytes)?;
        let is_good = (1..=4).contains(&bytes);
        (is_good.then(|| length.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte)))?, rest)
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((tag, value, rest))
}

fn text(value: &[u8]) -> Option<String> {
    std::str::from_utf8(value).ok().map(str::to_owned)
}

fn address(value: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(value) {
        return Some(Ipv4Addr::from(four).to_string());
    }
    <[u8; 16]>::try_from(value).ok().map(|sixteen| Ipv6Addr::from(sixteen).to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], length.as_slice(), value].concat()
    }

    fn certificate(names: &[(u8, &[u8])]) -> Vec<u8> {
        let names: Vec<u8> = names.iter().flat_map(|(tag, value)| tlv(*tag, value)).collect();
        let value = tlv(OCTET_STRING, &tlv(SEQUENCE, &names));
        let critical = [0x01, 0x01, 0xFF];
        let extension = tlv(SEQUENCE, &[&[0x06, 0x03, 0x55, 0x1D, 0x11], critical.as_slice(), &value].concat());
        let other = tlv(SEQUENCE, &[&[0x06, 0x03, 0x55, 0x1D, 0x0F], tlv(OCTET_STRING, b"x").as_slice()].concat());
        let extensions = tlv(EXTENSIONS, &tlv(SEQUENCE, &[other, extension].concat()));
        tlv(SEQUENCE, &tlv(SEQUENCE, &[&[0x02, 0x01, 0x05], extensions.as_slice()].concat()))
    }

    #[test]
    fn finds_uri_hosts_and_addresses_in_any_order() {
        let der = certificate(&[
            (DNS_NAME, b"PLC-3"),
            (IP_ADDRESS, &[10, 0, 0, 7]),
            (URI, b"urn:plc-3:server"),
            (IP_ADDRESS, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        ]);
        let names = AlternativeNames::of(&der);
        assert_eq!(names.uris, ["urn:plc-3:server"]);
        assert_eq!(names.hosts, ["PLC-3", "10.0.0.7", "::1"]);
        assert!(names.has_host("plc-3") && names.has_host("[::1]") && !names.has_host("plc-4"));
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(der in prop::collection::vec(any::<u8>(), 0..400), cut in 0usize..120) {
            AlternativeNames::of(&der);
            let good = certificate(&[(DNS_NAME, b"plc"), (URI, b"urn:plc")]);
            AlternativeNames::of(&good[..cut.min(good.len())]);
        }
    }
}
