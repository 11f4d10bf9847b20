//! What the two example files say of each key: the comments of `config/line.example.toml` and `config/map.example.toml`, taken into the
//! program, so that an editor shows the same words that an operator reads.
//!
//! A comment block belongs to the key or section right below it; what follows a value on its line belongs to that key too. A key or a
//! section may be commented out: `# port = 1883`.

/// One key of an example, or one section (`key` is empty).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documented {
    /// `mqtt`; `device.opcua` and `station.camera` for what is named by the operator; `camera` and `camera.seq` in maps.
    pub table: String,
    pub key: String,
    pub text: String,
    /// Counted from 1.
    pub line: usize,
}

pub const LINE_EXAMPLE: &str = include_str!("../../config/line.example.toml");
pub const MAP_EXAMPLE: &str = include_str!("../../config/map.example.toml");

pub fn line_file() -> Vec<Documented> {
    read(LINE_EXAMPLE)
}

pub fn tag_map() -> Vec<Documented> {
    read(MAP_EXAMPLE)
}

/// The text for a key: of its own table, or of another of its group that explains the same key.
pub fn text<'d>(all: &'d [Documented], table: &str, key: &str) -> Option<&'d str> {
    let group = table.split('.').next().unwrap_or_default();
    let of_key = || all.iter().filter(|found| found.key == key && !found.text.is_empty());
    let own = of_key().find(|found| found.table == table);
    let near = || of_key().find(|found| found.table.split('.').next() == Some(group) && !group.is_empty());
    own.or_else(near).map(|found| found.text.as_str())
}

fn read(example: &str) -> Vec<Documented> {
    let mut found: Vec<Documented> = Vec::new();
    let mut block: Vec<&str> = Vec::new();
    let mut table = String::new();
    for (line, text) in (1..).zip(example.lines()) {
        let bare = text.strip_prefix('#').unwrap_or(text).trim();
        if let Some(name) = section(bare) {
            table = name.to_owned();
            found.push(Documented { table: table.clone(), key: String::new(), text: block.join(" "), line });
            block.clear();
        } else if let Some((key, value)) = key(bare) {
            if matches!(key, "protocol" | "kind") && table.matches('.').count() == 1 {
                decide(&mut found, &mut table, value);
            }
            let parts = [block.join(" "), behind(value).to_owned()];
            let text = parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(" ");
            found.push(Documented { table: table.clone(), key: key.to_owned(), text, line });
            block.clear();
        } else if text.starts_with('#') && !bare.is_empty() {
            block.push(bare);
        } else {
            block.clear();
        }
    }
    found
}

/// `[device.coder]` is a device of the protocol that it names.
fn decide(found: &mut [Documented], table: &mut String, value: &str) {
    let group = table.split('.').next().unwrap_or_default().to_owned();
    let word: String = value.trim_start_matches('"').chars().take_while(|c| *c != '"').collect();
    let decided = format!("{group}.{word}");
    let begun = found.iter().rposition(|entry| entry.key.is_empty()).unwrap_or(0);
    for entry in found.iter_mut().skip(begun).filter(|entry| entry.table == *table) {
        entry.table.clone_from(&decided);
    }
    *table = decided;
}

fn section(bare: &str) -> Option<&str> {
    let name = bare.split('#').next()?.trim().strip_prefix('[')?.strip_suffix(']')?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.' | '-');
    (!name.is_empty() && name.chars().all(plain)).then_some(name)
}

fn key(bare: &str) -> Option<(&str, &str)> {
    let (key, value) = bare.split_once(" = ")?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let begins = |value: &str| value.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '"' | '[' | '{' | '-'));
    let is_value = begins(value) || value.starts_with("true") || value.starts_with("false");
    (!key.is_empty() && key.chars().all(plain) && is_value).then_some((key, value))
}

/// The comment behind a value. A `#` inside of a text in quotes is none.
fn behind(value: &str) -> &str {
    let mut is_quoted = false;
    for (at, c) in value.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            '#' if !is_quoted => return value[at + 1..].trim(),
            _ => {}
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_belongs_to_what_is_below_it_and_beside_it() {
        let text = "# About the broker.\n[mqtt]\n# The host.\nhost = \"a#b\" # Its name.\n\n# Lost.\n\n# port = 1883\n";
        let all = read(text);
        let of = |key: &str| all.iter().find(|found| found.key == key).map(|found| found.text.as_str());
        assert_eq!(of(""), Some("About the broker."));
        assert_eq!(of("host"), Some("The host. Its name."));
        assert_eq!(of("port"), Some(""));
        assert!(all.iter().all(|found| found.table == "mqtt"));
    }

    #[test]
    fn a_named_section_is_called_after_the_word_that_decides_about_it() {
        let all = read("[device.coder]\n# Which.\nprotocol = \"opcua\"\nurl = \"x\"\n");
        let tables: Vec<&str> = all.iter().map(|found| found.table.as_str()).collect();
        assert_eq!(tables, ["device.opcua"; 3]);
        assert_eq!(text(&all, "device.modbus", "protocol"), Some("Which."));
        assert_eq!(text(&all, "station.camera", "protocol"), None);
    }

    #[test]
    fn prose_with_an_equals_sign_is_no_key() {
        assert_eq!(key("a pass = a verdict in time"), None);
        assert_eq!(key("window = 20"), Some(("window", "20")));
    }
}
