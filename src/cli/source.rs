//! Where an answer comes from: the journals named by `--db`, the running daemon, or the journal of the configuration beside it.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::live;
use super::outcome::{Exit, Failure, Outcome};
use super::print::{self, Style};
use super::{Journals, Shared};
use crate::config::{self, Config};
use crate::report::{self, Question};
use crate::wire::command::{ClientAnswer, Reason};

/// Answers from the journals that are named, else from the journal of the configuration: a reader never stands in the daemon's way.
pub(super) fn answer(journals: &Journals, shared: &Shared, question: &Question) -> Outcome {
    if journals.db.is_empty() {
        let config = config(shared)?;
        return print_answers(style(shared, Some(&config)), std::slice::from_ref(&config.journal), question);
    }
    let config = config::load(&shared.config).ok();
    print_answers(style(shared, config.as_ref()), &journals.db, question)
}

/// Answers from the journals that are named, else asks the daemon with `word`: what is not in the journal is known there.
pub(super) fn answer_live(journals: &Journals, shared: &Shared, question: &Question, word: &str) -> Outcome {
    if journals.db.is_empty() { command(shared, word, &[]) } else { answer(journals, shared, question) }
}

fn print_answers(style: Style, files: &[PathBuf], question: &Question) -> Outcome {
    let mut documents = Vec::new();
    for file in files {
        let document = report::answer(file, question)
            .map_err(|error| Exit::of_store(&error).failure(format!("{}: {error}", file.display())))?;
        documents.push((file.as_path(), document));
    }
    let found = documents.iter().any(|(_, document)| !document.is_null());
    if !found {
        let text = format!("nothing is known of {}", question.subject());
        return Err(Exit::No.failure(text));
    }
    print::value(style, &together(documents));
    Ok(Exit::Done)
}

/// One journal: its document. Several: the rows of all, each with its file; or one entry per file.
fn together(mut documents: Vec<(&Path, Value)>) -> Value {
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

/// Sends one command to the daemon and prints what it says.
pub(super) fn command(shared: &Shared, word: &str, parts: &[(&str, &str)]) -> Outcome {
    let config = config::load(&shared.config).ok();
    let answer = live::ask(&socket(shared, config.as_ref()), word, parts)?;
    told(style(shared, config.as_ref()), &answer)
}

/// Prints the answer of a daemon. A refusal is a no, with all its reasons.
fn told(style: Style, answer: &ClientAnswer) -> Outcome {
    if !answer.ok && !style.json {
        return Err(Exit::No.failure(reasons(answer)));
    }
    match &answer.data {
        Some(data) if answer.ok => print::value(style, data),
        _ if style.json => print::out(&answer.to_line()),
        _ => print::out(if answer.changed == Some(false) { "it was so already\n" } else { "done\n" }),
    }
    Ok(if answer.ok { Exit::Done } else { Exit::No })
}

fn reasons(answer: &ClientAnswer) -> String {
    let mut text = "refused".to_owned();
    for reason in answer.reasons.iter().chain(&answer.differences) {
        text += &format!("\n  {}", sentence(reason));
    }
    text
}

pub(super) fn sentence(reason: &Reason) -> String {
    let mut text = format!("{}: {}", reason.code, reason.text);
    if !reason.path.is_empty() {
        text += &format!(" ({}", reason.path);
        if !reason.value.is_empty() {
            text += &format!(" = {:?}", reason.value);
        }
        text += ")";
    }
    if !reason.allowed.is_empty() {
        text += &format!("; allowed: {}", reason.allowed);
    }
    text
}

/// The configuration, or what is wrong with it.
pub(super) fn config(shared: &Shared) -> Result<Config, Failure> {
    config::load(&shared.config)
        .map_err(|error| Exit::Config.failure(format!("the configuration has problems\n{error}")))
}

pub(super) fn style(shared: &Shared, config: Option<&Config>) -> Style {
    Style::new(shared.json, config.map_or(0, |config| config.line.utc_offset_min))
}

/// `--socket`, or what the configuration says. A configuration with problems does not hide the daemon that still runs on the old one.
fn socket(shared: &Shared, config: Option<&Config>) -> PathBuf {
    match (&shared.socket, config) {
        (Some(socket), _) => socket.clone(),
        (None, Some(config)) => config.line.socket.clone(),
        (None, None) => PathBuf::from("/run/sealgate/line.sock"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_several_journals_say_whose_they_are() {
        let (a, b) = (Path::new("a.db"), Path::new("b.db"));
        let all = together(vec![(a, json!([{ "batch": "1" }])), (b, json!({ "line": "l" }))]);
        assert_eq!(all, json!([{ "db": "a.db", "batch": "1" }, { "db": "b.db", "line": "l" }]));
        assert_eq!(together(vec![(a, json!([1]))]), json!([1]));
    }

    #[test]
    fn a_refusal_is_a_no_with_all_its_reasons() {
        let reasons =
            vec![Reason::new("unknown_batch", "there is no B8"), Reason::new("not_ready", "the printer is away")];
        let answer = ClientAnswer::refusal(1, reasons);
        let style = Style { json: false, offset_min: 0, colour: false };
        let failure = told(style, &answer).expect_err("it is refused");
        assert_eq!(failure.exit, Exit::No);
        assert_eq!(failure.text, "refused\n  unknown_batch: there is no B8\n  not_ready: the printer is away");
    }
}
