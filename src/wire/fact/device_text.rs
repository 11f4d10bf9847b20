//! Bytes that a device sent, as a text that loses nothing: percent-encoding of every byte outside printable ASCII, and of
//! `%`, `"` and `\`. Any percent-decoder gives the bytes back (`urllib.parse.unquote_to_bytes` in Python).

use std::fmt::Write as _;

pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_add(8));
    for byte in bytes {
        if stands_as_it_is(*byte) {
            text.push(char::from(*byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// `None` for a text that [`encode`] does not write: one sequence of bytes has one text.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let plain = match byte {
            b'%' => {
                let escaped = hex(rest.next()?)?.checked_mul(16)?.checked_add(hex(rest.next()?)?)?;
                Some(escaped).filter(|found| !stands_as_it_is(*found))?
            }
            _ => Some(byte).filter(|found| stands_as_it_is(*found))?,
        };
        bytes.push(plain);
    }
    Some(bytes)
}

fn stands_as_it_is(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7E) && !matches!(byte, b'%' | b'"' | b'\\')
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => digit.checked_sub(b'0'),
        b'A'..=b'F' => digit.checked_sub(b'A')?.checked_add(10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shows_the_separator_of_an_element_string() {
        assert_eq!(encode(b"]d210A\x1d21B%"), "]d210A%1D21B%25");
    }

    #[test]
    fn refuses_texts_that_it_does_not_write() {
        for text in ["%", "%1", "%1d", "%41", "%zz", "\"", "\u{e9}"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn gives_any_bytes_back(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let text = encode(&bytes);
            prop_assert!(text.is_ascii());
            prop_assert_eq!(decode(&text), Some(bytes));
        }
    }
}
