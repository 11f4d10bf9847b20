//! Which test provokes which fault: `tests/data/faults.md`, written from the comments in the source, never by hand.
//!
//! A comment that begins with the number of a row of the fault catalogue (numbers of promises may stand beside it) says what the test,
//! step or scenario below it provokes. Rows that no test provokes have their reason in `tests/data/faults-open.txt`. The page is compared
//! with what the source says now; `SEALGATE_WRITE=1 cargo test --test it catalogue` writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use crate::{source, standards};

const PAGE: &str = "tests/data/faults.md";
const OPEN: &str = "tests/data/faults-open.txt";
/// Groups of the catalogue that this release answers for, row by row; of the others the page lists what is covered.
const WHOLE: &[char] = &['A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'K'];

/// One row of the catalogue.
struct Row {
    number: String,
    /// The letter of its group.
    group: char,
    title: String,
}

/// The catalogue lies beside the standards.
fn catalogue() -> Option<Vec<Row>> {
    let text =
        fs::read_to_string(standards::folder()?.join("../reference/reliability.md")).expect("the fault catalogue");
    let mut group = '-';
    let mut rows = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("### 5.") {
            group = heading.chars().next().unwrap_or('-');
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let [_, number, title, ..] = cells.as_slice() {
            let number = number.replace('*', "");
            if is_number(&number) {
                rows.push(Row { number, group, title: title.replace('*', "") });
            }
        }
    }
    assert!(rows.len() >= 170, "170 faults are expected, {} were read", rows.len());
    Some(rows)
}

/// `F24`.
fn is_number(word: &str) -> bool {
    let digits = word.strip_prefix('F').unwrap_or_default();
    (2..=3).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_digit())
}

/// `I7`, `I07`: a promise or an invariant.
fn is_promise(word: &str) -> bool {
    let digits = word.strip_prefix('I').unwrap_or_default();
    (1..=2).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_digit())
}

/// The numbers of faults with which a comment begins; none where the line is no comment, or begins otherwise.
fn numbers(line: &str) -> Vec<String> {
    let line = line.trim_start();
    let Some(comment) = ["///", "//", "#"].iter().find_map(|mark| line.strip_prefix(mark)) else { return Vec::new() };
    let words = comment.split([' ', ',', ':', ';', '.']).filter(|word| !word.is_empty());
    let named = words.take_while(|word| is_number(word) || is_promise(word));
    named.filter(|word| is_number(word)).map(str::to_owned).collect()
}

/// What stands below line `index`: the name of the function, or nothing where none follows soon.
fn subject(lines: &[&str], index: usize) -> Option<String> {
    lines.iter().skip(index).take(12).find_map(|line| {
        let at = ["fn ", "def ", "scenario "].iter().find_map(|word| line.find(word).map(|at| at + word.len()))?;
        // Prose may say these words as well.
        let is_comment = line.trim_start().starts_with("//") || line.trim_start().starts_with('#');
        let is_scenario = line.starts_with("scenario ");
        let name: String = line[at..].chars().take_while(|c| is_scenario || c.is_alphanumeric() || *c == '_').collect();
        (!is_comment && !name.is_empty()).then_some(name)
    })
}

/// Number to the places that name it.
fn named() -> BTreeMap<String, BTreeSet<String>> {
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let folders = [("src", ["rs"].as_slice()), ("tests", &["rs", "py", "sh", "txt", "scenario"]), ("benches", &["rs"])];
    for (folder, extensions) in folders {
        for path in source::files(folder, extensions) {
            if path.ends_with(Path::new(OPEN)) {
                continue;
            }
            let text = fs::read_to_string(&path).expect("a readable file");
            let lines: Vec<&str> = text.lines().collect();
            for (index, line) in lines.iter().enumerate() {
                for number in numbers(line) {
                    let file = path.display();
                    let place = subject(&lines, index).map_or(format!("`{file}`"), |name| format!("`{file}` {name}"));
                    named.entry(number).or_default().insert(place);
                }
            }
        }
    }
    named
}

/// Number to the reason why no test provokes it.
fn open() -> BTreeMap<String, String> {
    let text = fs::read_to_string(OPEN).expect("the rows that are open");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (number, reason) =
                line.split_once(": ").unwrap_or_else(|| panic!("{OPEN}: '{line}' is no 'F00: reason'"));
            assert!(is_number(number) && reason.len() > 10, "{OPEN}: '{line}' is no number with a reason");
            (number.to_owned(), reason.to_owned())
        })
        .collect()
}

fn page(rows: &[Row]) -> (String, Vec<String>) {
    let (named, open) = (named(), open());
    let mut wrong = Vec::new();
    let mut page = String::from(
        "# Faults, and the tests that provoke them\n\nGenerated from the comments in the source by `SEALGATE_WRITE=1 cargo test --test it catalogue`; do not edit.\n",
    );
    let mut group = ' ';
    for row in rows {
        let Row { number, title, .. } = row;
        let (places, reason) = (named.get(number), open.get(number));
        if places.is_some() && reason.is_some() {
            wrong.push(format!("{number} ({title}) is named by a test and open as well"));
        }
        if places.is_none() && reason.is_none() {
            if WHOLE.contains(&row.group) {
                wrong.push(format!("{number} ({title}) is named by no test, and {OPEN} gives no reason"));
            }
            continue;
        }
        if group != row.group {
            group = row.group;
            let _ = write!(page, "\n## Group {group}\n\n| no. | what | where |\n|---|---|---|\n");
        }
        let places = places.map(|places| places.iter().cloned().collect::<Vec<_>>().join("<br>"));
        let cell = places.unwrap_or_else(|| format!("open: {}", reason.map_or("", String::as_str)));
        let _ = writeln!(page, "| {number} | {title} | {cell} |");
    }
    let known: BTreeSet<&String> = rows.iter().map(|row| &row.number).collect();
    let unknown = named.keys().chain(open.keys()).filter(|number| !known.contains(number));
    wrong.extend(unknown.map(|number| format!("{number} is no row of the catalogue")));
    (page, wrong)
}

#[test]
fn every_fault_has_a_test_or_a_reason_and_the_page_says_which() {
    let Some(rows) = catalogue() else { return };
    let (page, wrong) = page(&rows);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    if env::var_os("SEALGATE_WRITE").is_some() {
        fs::write(PAGE, &page).expect("the page");
    }
    let said = fs::read_to_string(PAGE).unwrap_or_default();
    assert!(said == page, "{PAGE} is stale: SEALGATE_WRITE=1 cargo test --test it catalogue");
}

#[test]
fn a_comment_names_faults_only_where_it_begins_with_them() {
    assert_eq!(numbers("    // F24, F26: the log is gone"), ["F24", "F26"]);
    assert_eq!(numbers("# I7, F16"), ["F16"]);
    assert!(
        numbers("// see F24").is_empty() && numbers("let x = 1; // F24").is_empty() && numbers("// Facts").is_empty()
    );
    let lines = ["// F24", "#[test]", "// A fn of prose.", "fn names_the_gap() {"];
    assert_eq!(subject(&lines, 0).as_deref(), Some("names_the_gap"));
}
