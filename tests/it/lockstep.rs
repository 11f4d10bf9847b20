//! The lock-step batch: calm, and with its subject killed. `tests/torture` aims at every call; this shows that the aim is there.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// A run in `folder`, its subject started under these words: exit code and verdict.
fn run(folder: &Path, under: &[&str]) -> (i32, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealgate"));
    command.args(["lockstep", "--json", "--on"]).arg(folder);
    command.args(under.iter().map(|word| format!("--under={word}")));
    let output = command.output().expect("the program starts");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let verdict = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{:?}", output.stderr));
    (output.status.code().unwrap_or(-1), verdict)
}

#[test]
fn a_calm_batch_closes_and_two_runs_of_it_leave_the_same_facts() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let verdicts = folders.each_ref().map(|folder| run(folder.path(), &[]));
    let (code, verdict) = &verdicts[0];
    assert_eq!(
        (*code, &verdict["violations"], &verdict["ends"]),
        (0, &serde_json::json!([]), &serde_json::json!(["0"]))
    );
    assert_eq!((&verdict["cases_closed"], &verdict["closes_refused"]), (&3.into(), &1.into()), "{verdict}");
    assert_eq!(verdicts[0].1, verdicts[1].1);
}

// F01, F04
#[test]
fn a_subject_that_dies_at_its_start_again_and_again_does_no_harm() {
    let folder = tempfile::tempdir().expect("a folder");
    // Three starts get no further than their first words; the file system below takes whatever they had written by then.
    let under = r#"if [ "$SEALGATE_START" -le 3 ]; then "$@" < /dev/null > /dev/null; kill -9 $$; fi; exec "$@""#;
    let (code, verdict) = run(folder.path(), &["sh", "-c", under, "sh"]);
    let ends = serde_json::json!(["signal 9", "signal 9", "signal 9", "0"]);
    assert_eq!((code, &verdict["violations"], &verdict["ends"]), (0, &serde_json::json!([]), &ends));
}

#[test]
fn a_subject_that_never_comes_up_is_a_violation() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, verdict) = run(folder.path(), &["false"]);
    assert_eq!(code, 1);
    assert!(verdict["violations"][0].as_str().is_some_and(|text| text.contains("given up")), "{verdict}");
}
