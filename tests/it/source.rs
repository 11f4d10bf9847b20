//! The project's own source text, as the tests of the house read it.
//!
//! A small lexer blanks comments and literals, so that a word in a message is no finding, and knows which lines are tests. It reads
//! Rust as this project writes it; it is no parser.

use std::fs;
use std::path::{Path, PathBuf};

/// One Rust file.
pub(crate) struct SourceFile {
    /// From the package's folder, with `/` between.
    pub(crate) path: String,
    pub(crate) raw: String,
    /// Comments and literals blanked, tests kept; as many lines as `raw`.
    pub(crate) code: String,
    /// Per line: whether it belongs to a test module or a test file.
    pub(crate) is_test: Vec<bool>,
}

/// Something that the house does not want.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl SourceFile {
    pub(crate) fn new(path: &str, raw: &str) -> Self {
        let code = blank(raw);
        let is_test = test_lines(path, &code);
        Self { path: path.to_owned(), raw: raw.to_owned(), code, is_test }
    }

    /// The lines of code that ship, with their numbers.
    pub(crate) fn shipped(&self) -> impl Iterator<Item = (usize, &str)> {
        self.numbered().filter(|(line, _)| !self.is_test[line - 1])
    }

    /// The same as one text with every line in its place, for what spans lines.
    pub(crate) fn shipped_text(&self) -> String {
        let lines = self.numbered().map(|(line, text)| if self.is_test[line - 1] { "" } else { text });
        lines.collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn tests(&self) -> impl Iterator<Item = (usize, &str)> {
        self.numbered().filter(|(line, _)| self.is_test[line - 1])
    }

    fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(index, text)| (index + 1, text))
    }

    pub(crate) fn finding(&self, line: usize, text: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, text: text.into() }
    }

    /// The first folder below `src`, or the file's stem: `src/wire/record.rs` and `src/wire.rs` are of `wire`.
    pub(crate) fn room(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        Some(inside.split(['/', '.']).next().unwrap_or(inside))
    }
}

/// Every file with this extension below `folder`, sorted.
pub(crate) fn files(folder: &str, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from(folder)];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|found| extensions.iter().any(|wanted| found == *wanted)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// All Rust files of the project. Cargo runs tests in the package's folder.
pub(crate) fn all() -> Vec<SourceFile> {
    let folders = ["src", "tests", "benches"];
    let paths = folders.iter().flat_map(|folder| files(folder, &["rs"]));
    let mut all: Vec<SourceFile> = paths.map(|path| SourceFile::new(&name(&path), &read(&path))).collect();
    let test_files: Vec<String> = all.iter().flat_map(test_modules).collect();
    for file in all.iter_mut().filter(|file| test_files.contains(&file.path)) {
        file.is_test.fill(true);
    }
    assert!(all.len() > 10, "the source is not where the test looks for it");
    all
}

pub(crate) fn name(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/")
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Fails with every finding in a line of its own.
pub(crate) fn expect_none(findings: &[Finding]) {
    let lines: Vec<String> =
        findings.iter().map(|finding| format!("{}:{}: {}", finding.path, finding.line, finding.text)).collect();
    assert!(lines.is_empty(), "{} findings\n{}", lines.len(), lines.join("\n"));
}

/// Replaces comments, texts and characters by spaces; keeps lines and lengths in characters.
fn blank(raw: &str) -> String {
    let chars: Vec<char> = raw.chars().collect();
    let mut out = String::with_capacity(raw.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

/// Where the comment or literal that begins at `at` ends; `at` where none does.
fn literal_end(chars: &[char], at: usize) -> usize {
    let next = |ahead: usize| chars.get(at + ahead).copied().unwrap_or(' ');
    let joined = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match (chars[at], next(1)) {
        ('/', '/') => find(chars, at, |chars, i| chars[i] == '\n'),
        ('/', '*') => block_comment_end(chars, at),
        ('"', _) => text_end(chars, at + 1),
        ('b', '"') if !joined => text_end(chars, at + 2),
        ('r', '"' | '#') if !joined => raw_text_end(chars, at, at + 1),
        ('b', 'r') if !joined && matches!(next(2), '"' | '#') => raw_text_end(chars, at, at + 2),
        ('\'', '\\') => find(chars, at + 3, |chars, i| chars[i] == '\'') + 1,
        ('\'', _) if next(2) == '\'' => at + 3,
        _ => at,
    }
    .min(chars.len())
}

fn find(chars: &[char], from: usize, found: impl Fn(&[char], usize) -> bool) -> usize {
    (from..chars.len()).find(|i| found(chars, *i)).unwrap_or(chars.len())
}

fn block_comment_end(chars: &[char], from: usize) -> usize {
    let (mut depth, mut at) = (0_usize, from);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn text_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// `r"..."` and `r#"..."#`; a raw identifier such as `r#type` is no literal.
fn raw_text_end(chars: &[char], start: usize, mut at: usize) -> usize {
    let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
    at += hashes;
    if chars.get(at) != Some(&'"') {
        return start;
    }
    let closes = |chars: &[char], i: usize| {
        chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
    };
    find(chars, at + 1, closes) + 1 + hashes
}

/// The files of modules that are declared `#[cfg(test)] mod name;`, also under a longer condition that holds `test`.
fn test_modules(file: &SourceFile) -> Vec<String> {
    let folder = file.path.trim_end_matches(".rs").trim_end_matches("/mod");
    let mut files = Vec::new();
    for pair in file.code.lines().collect::<Vec<_>>().windows(2) {
        let declared = pair[1].trim().split_once("mod ").and_then(|(_, name)| name.strip_suffix(';'));
        if let Some(name) = declared.filter(|_| is_test_condition(pair[0])) {
            files.extend([format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")]);
        }
    }
    files
}

fn is_test_condition(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test")
}

/// Whole files of tests, and every item under `#[cfg(test)]`.
fn test_lines(path: &str, code: &str) -> Vec<bool> {
    let lines: Vec<&str> = code.lines().collect();
    if !path.starts_with("src/") || path.ends_with("/tests.rs") || path.contains("/tests/") {
        return vec![true; lines.len()];
    }
    let mut is_test = vec![false; lines.len()];
    let mut at = 0;
    while at < lines.len() {
        if !is_test_condition(lines[at]) {
            at += 1;
            continue;
        }
        let end = item_end(&lines, at);
        is_test[at..=end].fill(true);
        at = end + 1;
    }
    is_test
}

/// The line on which the item that begins at `start` ends: its closing brace, or a semicolon before any brace.
fn item_end(lines: &[&str], start: usize) -> usize {
    let mut depth = 0_i32;
    for (index, line) in lines.iter().enumerate().skip(start) {
        for c in line.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ';' if depth == 0 => return index,
                _ => {}
            }
            if c == '}' && depth == 0 {
                return index;
            }
        }
    }
    lines.len().saturating_sub(1)
}

#[test]
fn literals_and_comments_are_blanked_and_code_is_not() {
    let code =
        blank("let a = \"x.unwrap()\"; // b\nlet c = '\"'; let d: &'static str = r#\"e\"#; /* f /* g */ */ h('\\'')");
    assert!(code.contains("let a =") && code.contains("let c =") && code.contains("&'static str"), "{code}");
    for gone in ["unwrap", "// b", "\"", "/*"] {
        assert!(!code.contains(gone), "{gone} in {code}");
    }
    assert!(code.contains("h("));
    assert_eq!(code.lines().count(), 2);
}

#[test]
fn a_module_that_is_declared_for_tests_is_a_test() {
    let file = SourceFile::new(
        "src/device/mod.rs",
        "mod a;\n#[cfg(test)]\nmod testing;\n#[cfg(all(test, feature = \"x\"))]\npub(crate) mod peer;\n",
    );
    let found = test_modules(&file);
    assert_eq!(found[0], "src/device/testing.rs");
    assert_eq!(found[3], "src/device/peer/mod.rs");
    assert_eq!(found.len(), 4);
}

#[test]
fn test_modules_are_known_from_what_ships() {
    let file = SourceFile::new(
        "src/a.rs",
        "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n#[cfg(test)]\nuse x;\nfn d() {}\n",
    );
    let shipped: Vec<usize> = file.shipped().map(|(line, _)| line).collect();
    assert_eq!(shipped, [1, 6, 9]);
    assert_eq!(SourceFile::new("tests/it/a.rs", "fn a() {}").shipped().count(), 0);
}
