//! The rules of the house that a reader would otherwise have to remember: sizes, bans, and where the few exceptions live.
//!
//! Each checker is a function from one file to its findings, and is fed something bad by a test of its own.

use std::path::Path;

use crate::source::{self, Finding, SourceFile};

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 600;
/// A file that is all test: the world of a simulator is a program of its own.
const TEST_FILE_LINES_MAX: usize = 1000;
const PARAMETERS_MAX: usize = 6;

/// Functions that may be longer, and why.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[
    ("src/wire/lower.rs", "subject", "one exhaustive match, an arm per kind of fact"),
    ("src/wire/lower/change.rs", "changes", "one exhaustive match, an arm per kind of fact"),
    ("src/sim/swarm/ledger.rs", "fold", "one exhaustive match, an arm per kind of fact"),
    ("tests/it/engine_properties/judge.rs", "fact", "one exhaustive match, an arm per kind of fact"),
    ("src/engine/fold.rs", "apply", "one exhaustive match, an arm per kind of fact"),
    ("src/wire/text.rs", "alarm", "one exhaustive match, an arm per kind of alarm"),
    ("tests/it/scenario/words.rs", "fact", "one exhaustive match, an arm per kind of fact"),
];

/// Files that may be longer, and why.
const LONG_FILES: &[(&str, &str)] = &[];

/// Text that must not occur in code that ships, where it may occur all the same, and why not elsewhere.
const BANS: &[(&[&str], &[&str], &str)] = &[
    (&[".unwrap()", ".unwrap_err()"], &[], "`expect` says why it holds"),
    (&["SystemTime::now", INSTANT], &["src/runtime/clock.rs", "src/sim/"], "only runtime/clock.rs reads clocks"),
    (&["Timestamp::now", "Zoned::now"], &[], "only runtime/clock.rs reads clocks"),
    (
        &["tokio::spawn", "task::spawn(", "thread::spawn("],
        &["src/runtime/tasks.rs", "src/sim/"],
        "what runs is listed in runtime/tasks.rs",
    ),
    (&["unbounded", "mpsc::channel()"], &[], "every queue has a bound"),
    (&["println!", "eprintln!", "print!(", "eprint!("], &["src/cli/"], "only the command line prints"),
    (&["dbg!", "todo!", "unimplemented!"], &[], "unfinished"),
    (&["unsafe "], &[], "there is no unsafe code"),
];

const INSTANT: &str = "Instant::now";

/// Paths of one machine; texts name files relative to something.
const MACHINE_PATHS: &[&str] = &["/home/", "/root/", "/work/", "/tmp/", "/Users/"];
const VAGUE: &[&str] = &["Manager", "Handler", "Helper", "Util", "Common", "Misc"];

type Checker = fn(&SourceFile) -> Vec<Finding>;

fn check(checker: Checker) {
    source::expect_none(&source::all().iter().flat_map(checker).collect::<Vec<_>>());
}

#[test]
fn functions_are_short_and_take_few_parameters() {
    check(long_functions);
    check(many_parameters);
}

#[test]
fn files_are_short() {
    check(long_files);
}

#[test]
fn banned_calls_do_not_ship() {
    check(banned);
}

#[test]
fn nothing_is_left_to_do_without_an_issue() {
    check(left_over);
}

#[test]
fn tests_wait_for_conditions_and_never_for_time() {
    check(sleeping_tests);
}

#[test]
fn names_say_what_a_thing_is() {
    check(vague_names);
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    check(silent_files);
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    let folders = ["src", "tests", "benches", "config", "systemd", ".ci"];
    let extensions = ["rs", "toml", "sh", "md", "service", "conf", "txt", "json", "py"];
    let mut paths: Vec<_> = folders.iter().flat_map(|folder| source::files(folder, &extensions)).collect();
    paths.extend(["README.md", "Cargo.toml", ".clippy.toml", ".ci/run"].map(Into::into));
    let present = paths.iter().filter(|path| path.exists() && !path.ends_with("style.rs"));
    source::expect_none(&present.flat_map(|path| machine_paths(path, &source::read(path))).collect::<Vec<_>>());
}

/// A function of the code that ships: its first line, its head and its length.
struct Function {
    line: usize,
    name: String,
    parameters: usize,
    lines: usize,
}

fn functions(file: &SourceFile) -> Vec<Function> {
    let lines: Vec<&str> = file.code.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(at) = function_at(line) else { continue };
        let text = [&line[at..]].into_iter().chain(lines[index + 1..].iter().copied()).collect::<Vec<_>>().join("\n");
        let name: String = text["fn ".len()..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let Some((parameters, lines)) = measure(&text) else { continue };
        found.push(Function { line: index + 1, name, parameters, lines });
    }
    found
}

/// `fn` as a keyword that is followed by a name, not a function pointer.
fn function_at(line: &str) -> Option<usize> {
    line.match_indices("fn ").map(|(at, _)| at).find(|at| {
        let before = line[..*at].chars().next_back().unwrap_or(' ');
        let after = line[at + 3..].chars().next().unwrap_or(' ');
        !before.is_alphanumeric() && before != '_' && (after.is_alphabetic() || after == '_')
    })
}

/// Parameters and lines of the function that `text` begins with; `None` where it has no body.
fn measure(text: &str) -> Option<(usize, usize)> {
    let (mut round, mut curly, mut parameters, mut in_head, mut filled) = (0_i32, 0_i32, 0, true, false);
    let (mut lines, mut angle, mut previous) = (1, 0_i32, ' ');
    for c in text.chars() {
        match c {
            '\n' => lines += 1,
            '(' | '[' => round += 1,
            ')' | ']' => {
                round -= 1;
                if round == 0 && in_head {
                    parameters += usize::from(filled);
                    in_head = false;
                }
            }
            '<' if in_head => angle += 1,
            '>' if in_head && previous != '-' => angle -= 1,
            ',' if in_head && round == 1 && angle == 0 => {
                parameters += usize::from(filled);
                filled = false;
            }
            ';' if curly == 0 && round == 0 => return None,
            '{' => curly += 1,
            '}' => {
                curly -= 1;
                if curly == 0 {
                    return Some((parameters, lines));
                }
            }
            c if in_head && round == 1 && !c.is_whitespace() => filled = true,
            _ => {}
        }
        previous = c;
    }
    None
}

fn long_functions(file: &SourceFile) -> Vec<Finding> {
    let excepted =
        |function: &Function| LONG_FUNCTIONS.iter().any(|(path, name, _)| *path == file.path && *name == function.name);
    let long = |function: &Function| function.lines > FUNCTION_LINES_MAX && !excepted(function);
    let say = |function: Function| {
        let text = format!("{} has {} lines, at most {FUNCTION_LINES_MAX} are wanted", function.name, function.lines);
        file.finding(function.line, text)
    };
    functions(file).into_iter().filter(long).map(say).collect()
}

fn many_parameters(file: &SourceFile) -> Vec<Finding> {
    let many = |function: &Function| function.parameters > PARAMETERS_MAX;
    let say = |function: Function| {
        file.finding(function.line, format!("{} takes {} parameters", function.name, function.parameters))
    };
    functions(file).into_iter().filter(many).map(say).collect()
}

fn long_files(file: &SourceFile) -> Vec<Finding> {
    let excepted = LONG_FILES.iter().any(|(path, reason)| *path == file.path && !reason.is_empty());
    let shipped = file.shipped().count();
    let (lines, most) =
        if shipped > 0 { (shipped, FILE_LINES_MAX) } else { (file.raw.lines().count(), TEST_FILE_LINES_MAX) };
    if excepted || lines <= most {
        return Vec::new();
    }
    vec![file.finding(1, format!("{lines} lines, at most {most} are wanted; tests inside the file do not count"))]
}

fn banned(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, text) in file.shipped() {
        for (words, homes, reason) in BANS {
            let at_home = homes.iter().any(|home| file.path.starts_with(home));
            let here = |word: &&&str| text.contains(**word) && !(**word == INSTANT && on_timers(file, text));
            if let Some(word) = words.iter().find(here).filter(|_| !at_home) {
                findings.push(file.finding(line, format!("`{}`: {reason}", word.trim())));
            }
        }
    }
    findings
}

/// Whether the file's `Instant` is that of tokio's timers, which asynchronous code may measure with: a test can stop them.
fn on_timers(file: &SourceFile, line: &str) -> bool {
    if line.matches(INSTANT).count() == line.matches("tokio::time::Instant::now").count() {
        return true;
    }
    let text = file.shipped_text();
    let imports =
        || text.split(';').map(str::trim_start).filter(|item| item.starts_with("use ") && item.contains("Instant"));
    imports().any(|item| item.starts_with("use tokio")) && !imports().any(|item| item.starts_with("use std"))
}

/// A mark for later must name the issue that keeps it: `TODO(#12)`.
fn left_over(file: &SourceFile) -> Vec<Finding> {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let unkept = |text: &str| {
        marks.iter().any(|mark| text.match_indices(mark).any(|(at, _)| !text[at + mark.len()..].starts_with("(#")))
    };
    let lines = file.raw.lines().enumerate().filter(|(_, text)| unkept(text));
    lines.map(|(index, _)| file.finding(index + 1, "left to do, and no issue is named")).collect()
}

/// A sleep in the body of a test is a guess about time. Inside a loop it waits for a condition, inside a peer it is what the peer
/// does, and a function named `wait_..` or `until_..` says that it waits.
fn sleeping_tests(file: &SourceFile) -> Vec<Finding> {
    let functions = functions(file);
    let lines: Vec<&str> = file.code.lines().collect();
    let mut findings = Vec::new();
    for (line, text) in file.tests() {
        let Some(at) = text.find("sleep(") else { continue };
        let inside = functions.iter().rfind(|function| (function.line..function.line + function.lines).contains(&line));
        let Some(function) = inside else { continue };
        let before = lines[function.line - 1..line - 1].join("\n") + &text[..at];
        let depth = before.matches('{').count() - before.matches('}').count();
        let waits = ["wait", "until"].iter().any(|word| function.name.starts_with(word));
        if depth == 1 && !waits {
            findings.push(file.finding(line, "sleeps a fixed time: wait for a condition, with a bound"));
        }
    }
    findings
}

fn vague_names(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let stem = Path::new(&file.path).file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
    if VAGUE.iter().any(|word| stem.trim_end_matches('s') == word.to_lowercase()) {
        findings.push(file.finding(1, "the file's name says nothing"));
    }
    for (line, text) in file.shipped() {
        let declared = ["struct ", "enum ", "trait "]
            .iter()
            .find_map(|keyword| text.trim_start().trim_start_matches("pub ").strip_prefix(keyword));
        let Some(name) = declared.map(|rest| rest.chars().take_while(|c| c.is_alphanumeric()).collect::<String>())
        else {
            continue;
        };
        if let Some(word) = VAGUE.iter().find(|word| name.ends_with(**word)) {
            findings.push(file.finding(line, format!("{name}: `{word}` says nothing")));
        }
    }
    findings
}

fn silent_files(file: &SourceFile) -> Vec<Finding> {
    if file.raw.trim_start().starts_with("//!") {
        return Vec::new();
    }
    vec![file.finding(1, "does not open with `//!` and what it is for")]
}

fn machine_paths(path: &Path, text: &str) -> Vec<Finding> {
    let named = |line: &str| MACHINE_PATHS.iter().find(|machine| line.contains(**machine)).copied();
    let found = text.lines().enumerate().filter_map(|(index, line)| named(line).map(|machine| (index + 1, machine)));
    found
        .map(|(line, machine)| Finding {
            path: source::name(path),
            line,
            text: format!("names a path of one machine ({machine}..)"),
        })
        .collect()
}

fn shipped(text: &str) -> SourceFile {
    SourceFile::new("src/line/turn.rs", text)
}

#[test]
fn a_long_function_and_too_many_parameters_are_found() {
    let body = "    let x = 1;\n".repeat(FUNCTION_LINES_MAX);
    let text = format!("fn short(a: &str) -> u8 {{\n    1\n}}\npub fn long() {{\n{body}}}\n");
    let findings = long_functions(&shipped(&text));
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].line, 4);
    let many = "fn f(&self, a: u8, b: HashMap<u8, u8>, c: fn(u8, u8) -> u8, d: [u8; 2], e: u8, g: u8) {\n}\n";
    assert_eq!(many_parameters(&shipped(many)).len(), 1);
    let few = "fn f(&self, a: HashMap<u8, (u8, u8)>, b: impl Fn(u8, u8, u8, u8) -> u8,) {\n}\ntrait T { fn g(a: u8, b: u8); }\n";
    assert_eq!(many_parameters(&shipped(few)), []);
}

#[test]
fn a_long_file_is_found_and_its_tests_do_not_count() {
    let code = "fn f() {}\n".repeat(FILE_LINES_MAX);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
    assert_eq!(long_files(&shipped(&format!("{code}{tests}"))), []);
    assert_eq!(long_files(&shipped(&format!("{code}fn g() {{}}\n"))).len(), 1);
}

#[test]
fn every_ban_finds_each_of_its_words_and_spares_tests_and_homes() {
    for (words, homes, _) in BANS {
        for word in *words {
            let text = format!("fn f() {{ {word} }}\n");
            assert_eq!(banned(&shipped(&text)).len(), 1, "{word}");
            let tests = format!("#[cfg(test)]\nmod tests {{\n{text}}}\n");
            assert_eq!(banned(&shipped(&tests)), [], "{word}");
            for home in *homes {
                let path = if home.ends_with('/') { format!("{home}a.rs") } else { (*home).to_owned() };
                assert_eq!(banned(&SourceFile::new(&path, &text)), [], "{word} in {path}");
            }
        }
    }
    let timer = "use tokio::time::{Duration, Instant};\nfn f() { Instant::now() }\n";
    assert_eq!(banned(&shipped(timer)), []);
    let clock = "use tokio::time::sleep;\nuse std::time::Instant;\nfn f() { Instant::now() }\n";
    assert_eq!(banned(&shipped(clock)).len(), 1);
    assert_eq!(banned(&shipped("// x.unwrap()\nlet a = \".unwrap()\";\n")), []);
}

#[test]
fn a_mark_for_later_is_found_unless_an_issue_keeps_it() {
    let mark = concat!("TO", "DO");
    assert_eq!(left_over(&shipped(&format!("// {mark}: later\n"))).len(), 1);
    assert_eq!(left_over(&shipped(&format!("// {mark}(#12): later\n"))), []);
}

#[test]
fn a_sleeping_test_is_found_and_a_waiting_one_is_not() {
    let test =
        |name: &str| SourceFile::new("tests/it/a.rs", &format!("fn {name}() {{\n    std::thread::sleep(d);\n}}\n"));
    assert_eq!(sleeping_tests(&test("restarts_in_time")).len(), 1);
    assert_eq!(sleeping_tests(&test("wait_for_ready")), []);
    let polls = "fn f() {\n    while !ready() {\n        sleep(MS).await;\n    }\n    sleep(MS).await;\n}\n";
    assert_eq!(
        sleeping_tests(&SourceFile::new("tests/it/a.rs", polls)).iter().map(|f| f.line).collect::<Vec<_>>(),
        [5]
    );
    assert_eq!(sleeping_tests(&shipped("async fn f() {\n    tokio::time::sleep(d).await;\n}\n")), []);
}

#[test]
fn vague_names_are_found() {
    assert_eq!(vague_names(&shipped("pub struct DeviceManager {\n}\n")).len(), 1);
    assert_eq!(vague_names(&SourceFile::new("src/wire/utils.rs", "")).len(), 1);
    assert_eq!(vague_names(&shipped("pub struct Device;\nfn common() {}\n")), []);
}

#[test]
fn a_file_without_an_opening_is_found() {
    assert_eq!(silent_files(&shipped("use x;\n")).len(), 1);
    assert_eq!(silent_files(&shipped("//! Turns.\n")), []);
}

#[test]
fn a_path_of_one_machine_is_found() {
    for machine in MACHINE_PATHS {
        assert_eq!(machine_paths(Path::new("a.toml"), &format!("path = \"{machine}x\"\n")).len(), 1);
    }
    assert_eq!(machine_paths(Path::new("a.toml"), "path = \"/var/lib/sealgate/x.db\"\n"), []);
}
