//! Scenarios: the engine's decisions as text that a process engineer can read and write, in `tests/data/scenarios/*.txt`.
//! `tests/data/scenarios/README.md` explains the words.
//!
//! The runner drives `Engine::step` and nothing else. Every fact and every output of a line must stand in the file, in order.
//! After every line it checks two things by itself: the state is the fold of all facts so far (I7), and an engine that
//! starts over that fold has the same standing outputs once all stations are back (restart safety). And every scenario is played
//! again with a crash at each of its lines (`twin`).
//!
//! `SEALGATE_BLESS=1` writes what the engine did into the files instead of comparing; read the difference before you commit it.

mod twin;
mod words;
mod world;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use twin::{Step, Story};
use world::{Outcome, World};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/scenarios")
}

/// One line of a scenario: the input on the left, then `=>`, facts, `|` and outputs.
struct Line<'a> {
    input: &'a str,
    expected: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            return None;
        }
        match text.split_once(" =>") {
            Some((input, expected)) => Some(Self { input: input.trim(), expected: Some(expected.trim()) }),
            None => Some(Self { input: text, expected: None }),
        }
    }
}

/// What stands right of `=>`, in one spelling.
fn spelled(facts: &[String], outputs: &[String]) -> String {
    let mut text = facts.join("; ");
    if !outputs.is_empty() {
        let _ = write!(text, "{}| {}", if text.is_empty() { "" } else { " " }, outputs.join("; "));
    }
    text
}

fn normal(expected: &str) -> String {
    let (facts, outputs) = match expected.split_once('|') {
        Some((facts, outputs)) => (facts, outputs),
        None => (expected, ""),
    };
    let list = |part: &str| -> Vec<String> {
        let words = part.split(';').map(|item| item.split_whitespace().collect::<Vec<_>>().join(" "));
        words.filter(|item| !item.is_empty()).collect()
    };
    spelled(&list(facts), &list(outputs))
}

/// Runs one file; returns what went wrong and the file as it would be with the engine's own words.
fn run(name: &str, text: &str) -> (Vec<String>, String) {
    let (mut wrong, mut blessed) = (Vec::new(), String::new());
    let mut world = World::default();
    let (mut broken, mut story) = (false, Story::default());
    for (number, raw) in (1..).zip(text.lines()) {
        let Some(line) = Line::parse(raw) else {
            blessed.push_str(raw);
            blessed.push('\n');
            continue;
        };
        if let Some(title) = line.input.strip_prefix("scenario ") {
            (world, broken) = (World::titled(title), false);
            wrong.extend(std::mem::take(&mut story).twins());
        }
        if let Some(why) = line.input.strip_prefix("differs ") {
            story.differs(why);
            let _ = writeln!(blessed, "{raw}");
            continue;
        }
        if broken || line.input.starts_with("scenario ") {
            let _ = writeln!(blessed, "{raw}");
            continue;
        }
        let at = format!("{name}:{number}");
        story.lines.push(Step { at: at.clone(), input: line.input, differs: None });
        match world.play(line.input) {
            Ok(outcome) => {
                wrong.extend(check(&at, &world, &line, &outcome));
                let _ = writeln!(blessed, "{}", bless(raw, &line, &outcome));
            }
            Err(problem) => {
                wrong.push(format!("{at}: {raw}\n  {problem}"));
                let _ = writeln!(blessed, "{raw}");
                broken = true;
            }
        }
    }
    wrong.extend(story.twins());
    (wrong, blessed)
}

/// What is wrong with the outcome of one line.
fn check(at: &str, world: &World, line: &Line<'_>, outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    let actual = spelled(&outcome.facts, &outcome.outputs);
    match line.expected.map(normal) {
        Some(expected) if expected != actual => wrong.push(format!(
            "{at}: scenario {}\n  line      {}\n  expected  {expected}\n  engine    {actual}",
            world.title(),
            line.input
        )),
        None if !outcome.is_setup => wrong.push(format!("{at}: `{}` needs its outcome after =>: {actual}", line.input)),
        Some(_) | None => {}
    }
    wrong.extend(world.check().err().map(|problem| format!("{at}: {}\n  {problem}", line.input)));
    wrong
}

/// The line as the engine would have it.
fn bless(raw: &str, line: &Line<'_>, outcome: &Outcome) -> String {
    if line.expected.is_none() && outcome.is_setup {
        return raw.to_owned();
    }
    let actual = spelled(&outcome.facts, &outcome.outputs);
    format!("{:<18} => {actual}", line.input).trim_end().to_owned()
}

#[test]
fn every_scenario_goes_as_written() {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .expect("the scenarios lie in the package")
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    let (mut wrong, mut scenarios) = (Vec::new(), 0);
    for path in &files {
        let text = std::fs::read_to_string(path).expect("a scenario is UTF-8 text");
        scenarios += text.lines().filter(|line| line.starts_with("scenario ")).count();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let (problems, blessed) = run(name, &text);
        wrong.extend(problems);
        if std::env::var_os("SEALGATE_BLESS").is_some() {
            std::fs::write(path, blessed).expect("the scenarios can be written");
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert!(scenarios >= 190, "only {scenarios} scenarios were found in {}", folder().display());
}

#[test]
fn a_scenario_that_says_too_little_or_too_much_fails() {
    let head = "scenario s\nbatch gtin=09506000134352 lot=L7 expiry=2027-03-31 case=1 serials=A1\nencoded A1\n";
    let problems = |line: &str| run("here", &format!("{head}{line}\n")).0;
    assert_eq!(problems("read A1 => verified A1 | pass A1"), Vec::<String>::new());
    for line in
        ["read A1 => verified A1", "read A1 => | pass A1", "read A1 => verified A1; closed C1 | pass A1", "read A1"]
    {
        let found = problems(line);
        assert!(found.first().is_some_and(|text| text.starts_with("here:4")), "{line}: {found:?}");
    }
}

// I28: what a crash changes is found, and so is what is said to change and does not.
#[test]
fn a_twin_that_ends_otherwise_fails_unless_the_scenario_says_why() {
    let told = "bin_full => alarm 1 bin_full at rejector | hold\nack 1 => acknowledged 1 | run; ok\n";
    let problems = |text: &str| run("here", &format!("scenario s\nbatch\n{text}")).0;
    let found = problems(told);
    assert!(found.len() == 1 && found[0].starts_with("here:4: a crash behind `ack 1`: another end"), "{found:?}");
    assert!(found[0].contains("+ alarm 2 bin_full at rejector by line"), "{found:?}");
    assert_eq!(problems(&format!("{told}differs the bin is still full\n")), Vec::<String>::new());
    let found = problems("encoded A1\ndiffers a whim\nread A1 => verified A1 | pass A1\n");
    assert!(found.len() == 1 && found[0].starts_with("here:3: `differs a whim`"), "{found:?}");
}
