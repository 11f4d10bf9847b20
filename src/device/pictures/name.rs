//! What the files of a camera are called: plain text with one `{sequence}` in it, the number of the result as the camera counts it.

use std::fmt;

/// `unit_{sequence}.png`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern {
    before: String,
    after: String,
}

const PLACE: &str = "{sequence}";

impl NamePattern {
    /// `None` where there is not one place for the number, or where the rest could lead out of the folder or hide the file.
    pub fn new(text: &str) -> Option<Self> {
        let (before, after) = text.split_once(PLACE)?;
        let plain = |part: &str| !part.contains(['/', '\\', '\0', '{', '}']);
        let is_plain = plain(before) && plain(after) && !before.starts_with('.');
        // A digit beside the number would be part of it.
        let is_bounded =
            !before.ends_with(|c: char| c.is_ascii_digit()) && !after.starts_with(|c: char| c.is_ascii_digit());
        let is_name = text.len() <= 200 && is_plain && is_bounded;
        is_name.then(|| Self { before: before.to_owned(), after: after.to_owned() })
    }

    /// The number in a name; leading zeros are the camera's own.
    pub fn sequence(&self, name: &str) -> Option<u64> {
        let digits = name.strip_prefix(&self.before)?.strip_suffix(&self.after)?;
        let is_number = !digits.is_empty() && digits.len() <= 19 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|sequence| is_number && *sequence > 0)
    }

    /// The name of the file of a result.
    pub fn file(&self, sequence: u64) -> String {
        format!("{}{sequence}{}", self.before, self.after)
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{PLACE}{}", self.before, self.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_stands_in_a_name_and_nothing_else_is_taken_for_it() {
        let pattern = NamePattern::new("unit_{sequence}.png").expect("plain");
        assert_eq!(pattern.sequence("unit_17.png"), Some(17));
        assert_eq!(pattern.sequence("unit_000017.png"), Some(17));
        assert_eq!(pattern.sequence(&pattern.file(u64::MAX / 2)), Some(u64::MAX / 2));
        let wrong = [
            "unit_.png",
            "unit_0.png",
            "unit_-1.png",
            "unit_+1.png",
            "unit_1.png.tmp",
            "unit_1 .png",
            "Unit_1.png",
            "unit_1.pn",
            "unit_99999999999999999999.png",
            "../unit_1.png",
            "unit_\u{661}.png",
            "",
        ];
        for name in wrong {
            assert_eq!(pattern.sequence(name), None, "{name}");
        }
        let bare = NamePattern::new("{sequence}").expect("plain");
        assert_eq!(bare.sequence("5"), Some(5));
    }

    #[test]
    fn a_pattern_stays_in_its_folder_and_has_one_number_with_edges() {
        for wrong in [
            "unit.png",
            "{sequence}{sequence}",
            "../{sequence}",
            "a/{sequence}",
            "a\\{sequence}",
            ".{sequence}",
            "unit1{sequence}",
            "{sequence}2.png",
            "{seq}",
            "",
            "{{sequence}}",
        ] {
            assert_eq!(NamePattern::new(wrong), None, "{wrong}");
        }
        assert_eq!(
            NamePattern::new("a {sequence}-b.bmp").map(|pattern| pattern.to_string()).as_deref(),
            Some("a {sequence}-b.bmp")
        );
    }
}
