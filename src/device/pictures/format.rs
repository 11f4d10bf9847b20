//! Whether bytes are a whole picture, and of which media type: PNG, JPEG, BMP, and the portable maps PGM and PPM (binary).
//!
//! Only what says how long it is, or how it ends, is taken: a file whose writer died half-way lies as still as a whole one. Nothing is
//! decoded.

/// The first bytes of a PNG (W3C PNG, 5.2) and its last chunk, whose content and check sum never differ.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const PNG_END: &[u8] = b"\0\0\0\0IEND\xaeB`\x82";

/// `None` for what is no picture, or not all of one.
pub fn media_type(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(PNG) {
        return bytes.ends_with(PNG_END).then_some("image/png");
    }
    if bytes.starts_with(b"\xff\xd8\xff") {
        // Some cameras fill the last sector with zeros.
        let end = bytes.iter().rposition(|byte| *byte != 0)?;
        return bytes.get(..=end)?.ends_with(b"\xff\xd9").then_some("image/jpeg");
    }
    if bytes.starts_with(b"BM") {
        let size = bytes.get(2..6)?.try_into().ok().map(u32::from_le_bytes)?;
        return (size > 54 && usize::try_from(size).ok()? == bytes.len()).then_some("image/bmp");
    }
    portable(bytes)
}

/// Netpbm, `P5` and `P6`: width, height and highest value as decimal numbers with white space and comments between, one white space,
/// and the samples.
fn portable(bytes: &[u8]) -> Option<&'static str> {
    let (samples, media) = match bytes.get(..2)? {
        b"P5" => (1, "image/x-portable-graymap"),
        b"P6" => (3, "image/x-portable-pixmap"),
        _ => return None,
    };
    let mut rest = bytes.get(2..)?;
    let width = number(&mut rest)?;
    let height = number(&mut rest)?;
    let highest = number(&mut rest)?;
    let each = if highest < 256 { 1 } else { 2 };
    let all = width.checked_mul(height)?.checked_mul(samples)?.checked_mul(each)?;
    let is_map = all > 0 && (1..65_536).contains(&highest);
    let body = rest.split_first().filter(|(byte, _)| byte.is_ascii_whitespace())?.1;
    (is_map && body.len() == all).then_some(media)
}

fn number(rest: &mut &[u8]) -> Option<usize> {
    loop {
        let (first, after) = rest.split_first()?;
        match first {
            b'#' => *rest = after.get(after.iter().position(|byte| *byte == b'\n')?..)?,
            byte if byte.is_ascii_whitespace() => *rest = after,
            _ => break,
        }
    }
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (text, after) = rest.split_at(digits);
    *rest = after;
    std::str::from_utf8(text).ok().filter(|text| text.len() <= 9)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Vec<(Vec<u8>, &'static str)> {
        let mut bmp = b"BM\x3a\0\0\0".to_vec();
        bmp.resize(58, 0);
        vec![
            ([PNG, b"whatever", PNG_END].concat(), "image/png"),
            (b"\xff\xd8\xff\xe0 whatever \xff\xd9".to_vec(), "image/jpeg"),
            (bmp, "image/bmp"),
            (b"P5\n# unit 7\n2 2\n255\nabcd".to_vec(), "image/x-portable-graymap"),
            (b"P6 1 1 255\nabc".to_vec(), "image/x-portable-pixmap"),
            (b"P5 1 1 65535\nab".to_vec(), "image/x-portable-graymap"),
        ]
    }

    #[test]
    fn whole_pictures_are_known_and_no_part_of_one_is_taken() {
        for (bytes, media) in whole() {
            assert_eq!(media_type(&bytes), Some(media));
            for end in 0..bytes.len() {
                assert_eq!(media_type(&bytes[..end]), None, "{end} bytes of {media}");
            }
        }
        assert_eq!(media_type(b"\xff\xd8\xff\xe0 whatever \xff\xd9\0\0\0"), Some("image/jpeg"));
        let wrong: [&[u8]; 7] = [
            b"",
            b"hello",
            b"P5 99999999999 1 255\na",
            b"P5 4294967296 4294967296 255\n",
            b"P5 0 0 255\n",
            b"P2 1 1 255\n1",
            b"P5 # no end",
        ];
        for wrong in wrong {
            assert_eq!(media_type(wrong), None, "{wrong:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_judged_without_a_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), which in 0..6_usize) {
            let start = &whole()[which].0;
            media_type(&bytes);
            media_type(&[&start[..start.len() / 2], &bytes].concat());
        }
    }
}
