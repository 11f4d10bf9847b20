//! Where an answer comes from: the journals named by `--db`, or the running daemon.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::live::{self, Ask};
use super::outcome::{Exit, Failure, Outcome};
use super::print::{self, Style};
use super::{Journals, Shared};
use crate::config::{self, Config};
use crate::report::{self, Question, ReportError};
use crate::wire::command::ClientAnswer;

/// Asks the journals where there are any, else the daemon, and prints the answer.
pub(super) fn answer(journals: &Journals, shared: &Shared, question: &Question) -> Outcome {
    let config = config::load(&shared.config).ok();
    let style = style(shared, config.as_ref());
    if journals.db.is_empty() {
        let answer = live::ask(&socket(shared, config.as_ref()), &ask(question))?;
        if !answer.ok {
            return Ok(told(style, &answer));
        }
        // Nothing is null, which an answer carries as no data.
        return Ok(found(style, question, &answer.data.unwrap_or_default()));
    }
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
        print::problem("not found");
    } else {
        print::value(style, document);
    }
    if is_no { Exit::No } else { Exit::Done }
}

/// The question in the daemon's words.
fn ask(question: &Question) -> Ask {
    match question {
        Question::Status => Ask::new("status"),
        Question::Batches => Ask::new("batch_list"),
        Question::Batch(batch) => Ask::new("batch_show").with("batch", batch.as_str()),
        Question::Trace(code) => Ask::new("trace").with("code", code.as_str()),
        Question::Alarms => Ask::new("alarm_list"),
        Question::Feed => Ask::new("feed_status"),
    }
}

/// A code that says nothing is answered with no, as the daemon does; the rest is about the file.
fn failure(error: ReportError) -> Failure {
    match error {
        ReportError::Code(error) => Exit::No.failure(error.to_string()),
        ReportError::Store(error) => Exit::Io.failure(error.to_string()),
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
pub(super) fn command(shared: &Shared, ask: &Ask) -> Outcome {
    let config = config::load(&shared.config).ok();
    let answer = live::ask(&socket(shared, config.as_ref()), ask)?;
    Ok(told(style(shared, config.as_ref()), &answer))
}

/// Prints the answer of a daemon: its data, or the whole of a refusal. `ok` false is a no.
fn told(style: Style, answer: &ClientAnswer) -> Exit {
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
    let lines = answer
        .reasons
        .iter()
        .chain(&answer.differences)
        .map(|reason| format!("\n  {}", print::shown(&reason.to_string())));
    format!("refused, and nothing was changed:{}", lines.collect::<String>())
}

/// The configuration, or what is wrong with it.
pub(super) fn config(shared: &Shared) -> Result<Config, Failure> {
    config::load(&shared.config)
        .map_err(|error| Exit::Config.failure(format!("the configuration has problems\n{error}")))
}

fn style(shared: &Shared, config: Option<&Config>) -> Style {
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
        let (a, b) = (PathBuf::from("a.db"), PathBuf::from("b.db"));
        let all = together(vec![(&a, json!([{ "batch": "1" }])), (&b, json!({ "line": "l" }))]);
        assert_eq!(all, json!([{ "db": "a.db", "batch": "1" }, { "db": "b.db", "line": "l" }]));
        assert_eq!(together(vec![(&a, json!([1]))]), json!([1]));
    }
}
