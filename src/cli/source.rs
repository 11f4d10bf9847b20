//! Where an answer comes from: the journals named by `--db`, or the running daemon.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::live;
use super::outcome::{Exit, Failure, Outcome};
use super::print::{self, Style};
use super::{Journals, Shared};
use crate::config::{self, Config};
use crate::report::{self, Question, ReportError};
use crate::wire::command::{ClientAnswer, Reason};

/// Asks the journals where there are any, else the daemon, and prints the answer.
pub(super) fn answer(journals: &Journals, shared: &Shared, question: &Question) -> Outcome {
    if journals.db.is_empty() {
        let (socket, config) = daemon(shared)?;
        let style = style(shared, config.as_ref());
        let (word, parts) = words(question);
        let parts: Vec<(&str, &str)> = parts.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let answer = live::ask(&socket, word, &parts)?;
        if !answer.ok {
            return Ok(told(style, &answer));
        }
        // Nothing is null, which an answer carries as no data.
        return Ok(found(style, question, &answer.data.unwrap_or_default()));
    }
    let style = style(shared, config::load(&shared.config).ok().as_ref());
    let mut documents = Vec::new();
    for file in &journals.db {
        let document = report::answer(file, question).map_err(failure)?;
        documents.push((file, document));
    }
    // A journal that does not know what was asked for has no part in the answer.
    if documents.len() > 1 {
        documents.retain(|(_, document)| !is_nothing(document));
    }
    let document = if documents.is_empty() { Value::Null } else { together(documents) };
    Ok(found(style, question, &document))
}

/// Prints what was found. Nothing is a no where something was asked for by name.
fn found(style: Style, question: &Question, document: &Value) -> Exit {
    let is_no = is_nothing(document) && !question.may_be_empty();
    if is_no && !style.json {
        print::problem(&format!("nothing is known of {}", question.subject()));
    } else {
        print::value(style, document);
    }
    if is_no { Exit::No } else { Exit::Done }
}

/// The question in the daemon's words: one of them, and the field beside it as JSON text.
fn words(question: &Question) -> (&'static str, Option<(&'static str, String)>) {
    let field = |key, text: &str| Some((key, Value::from(text).to_string()));
    match question {
        Question::Status => ("status", None),
        Question::Batches => ("batch_list", None),
        Question::Batch(batch) => ("batch_show", field("batch", batch)),
        Question::Trace(code) => ("trace", field("code", code)),
        Question::Alarms => ("alarm_list", None),
        Question::Users => ("user_list", None),
        Question::Review(to_seq) => ("audit_review", to_seq.map(|seq| ("to_seq", seq.to_string()))),
        Question::Feed => ("feed_status", None),
        Question::Quarantine => ("feed_quarantine", None),
        Question::QuarantineExport => ("feed_export", None),
    }
}

/// A code that says nothing is answered with no, as the daemon does; the rest is about the file.
fn failure(error: ReportError) -> Failure {
    match error {
        ReportError::Code(error) => Exit::No.failure(error.to_string()),
        ReportError::Store(error) => Exit::of_store(&error).failure(error.to_string()),
    }
}

/// One journal: its document. Several: the rows of all, each with its file; or one entry per file.
fn together(mut documents: Vec<(&PathBuf, Value)>) -> Value {
    if documents.len() == 1 {
        return documents.remove(0).1;
    }
    let mut all = Vec::new();
    for (file, document) in documents {
        let name = file.display().to_string();
        if let Value::Array(rows) = document {
            all.extend(rows.into_iter().map(|row| with_file(&name, row)));
        } else {
            all.push(with_file(&name, document));
        }
    }
    Value::Array(all)
}

fn with_file(name: &str, row: Value) -> Value {
    let Value::Object(fields) = row else {
        return json!({ "db": name, "value": row });
    };
    let mut row = Map::from_iter([("db".to_owned(), json!(name))]);
    row.extend(fields);
    Value::Object(row)
}

fn is_nothing(document: &Value) -> bool {
    document.is_null() || document.as_array().is_some_and(Vec::is_empty)
}

/// Sends one command to the daemon and prints what it says.
pub(super) fn command(shared: &Shared, word: &str, parts: &[(&str, &str)]) -> Outcome {
    let (socket, config) = daemon(shared)?;
    let answer = live::ask(&socket, word, parts)?;
    Ok(told(style(shared, config.as_ref()), &answer))
}

/// Prints the answer of a daemon: its data, or the whole of a refusal. `ok` false is a no.
pub(super) fn told(style: Style, answer: &ClientAnswer) -> Exit {
    match &answer.data {
        Some(data) => print::value(style, data),
        None if style.json => print::out(&answer.to_line()),
        None if answer.ok => print::out(if answer.changed == Some(false) { "nothing to change\n" } else { "done\n" }),
        None => print::problem(&refusal(answer)),
    }
    if answer.ok { Exit::Done } else { Exit::No }
}

/// Every reason and every difference, one a line.
fn refusal(answer: &ClientAnswer) -> String {
    let lines: Vec<String> = answer.reasons.iter().chain(&answer.differences).map(sentence).collect();
    format!("refused, and nothing was changed:{}", lines.concat())
}

/// One reason on a line of its own, safe for a terminal.
pub(super) fn sentence(reason: &Reason) -> String {
    format!("\n  {}", print::shown(&reason.to_string()))
}

/// Why something is done, as the record will have it.
pub(super) fn reason(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("say why, in words".to_owned()) } else { Ok(text.to_owned()) }
}

/// The configuration, or what is wrong with it.
pub(super) fn config(shared: &Shared) -> Result<Config, Failure> {
    config::load(&shared.config)
        .map_err(|error| Exit::Config.failure(format!("the configuration has problems\n{error}")))
}

pub(super) fn style(shared: &Shared, config: Option<&Config>) -> Style {
    Style::new(shared.json, config.map_or(0, |config| config.line.utc_offset_min))
}

/// Where the daemon listens: `--socket`, or what the configuration says. Whoever named a wrong one must not hear another line's daemon.
pub(super) fn daemon(shared: &Shared) -> Result<(PathBuf, Option<Config>), Failure> {
    match (&shared.socket, config::load(&shared.config)) {
        (Some(socket), config) => Ok((socket.clone(), config.ok())),
        (None, Ok(config)) => Ok((config.line.socket.clone(), Some(config))),
        (None, Err(error)) => Err(Exit::Config.failure(format!(
            "the configuration has problems, and does not say where the daemon listens; mend it, or name the socket of the \
             running daemon with --socket FILE\n{error}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_several_journals_say_whose_they_are() {
        let (a, b) = (PathBuf::from("a.db"), PathBuf::from("b.db"));
        let all = together(vec![(&a, json!([{ "batch": "1" }])), (&b, json!({ "line": "l" }))]);
        assert_eq!(all, json!([{ "db": "a.db", "batch": "1" }, { "db": "b.db", "line": "l" }]));
        assert_eq!(together(vec![(&a, json!([1]))]), json!([1]));
    }

    #[test]
    fn a_configuration_that_cannot_be_read_leads_to_no_daemon_but_the_one_that_is_named() {
        let mut shared = Shared { config: "nowhere/line.toml".into(), socket: None, json: false };
        let failure = daemon(&shared).expect_err("there is none");
        assert_eq!(failure.exit, Exit::Config);
        assert!(failure.text.contains("nowhere/line.toml") && failure.text.contains("--socket"), "{}", failure.text);
        shared.socket = Some("s".into());
        assert_eq!(daemon(&shared).expect("named").0, PathBuf::from("s"));
    }

    #[test]
    fn a_reason_is_in_words() {
        assert!(reason(" \t").is_err() && reason("").is_err() && reason("disk replaced").is_ok());
    }

    #[test]
    fn a_refusal_tells_all_its_reasons() {
        let reasons = vec![Reason::new("unknown_batch", "there is no B8"), Reason::new("not_ready", "\u{1b}[2J")];
        let text = refusal(&ClientAnswer::refusal(1, reasons));
        assert_eq!(text, "refused, and nothing was changed:\n  there is no B8\n  \u{fffd}[2J");
    }
}
