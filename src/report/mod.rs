//! Questions about the record, and the documents that answer them. Reads journals; changes nothing.
//!
//! One place answers for both the command line on a file and the daemon on its own journal, so that both say the same.

use std::fmt;
use std::path::Path;

use serde_json::{Value, json};

/// What can be asked of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    Status,
    Batches,
    Batch(String),
    /// A code in any spelling.
    Trace(String),
    Alarms,
    Feed,
}

/// Why a journal does not answer.
#[derive(Debug)]
pub enum ReportError {
    /// This part is not built yet.
    Missing,
}

impl Question {
    /// Its name as a command.
    pub fn name(&self) -> &'static str {
        match self {
            Question::Status => "status",
            Question::Batches => "batch/list",
            Question::Batch(_) => "batch/show",
            Question::Trace(_) => "trace",
            Question::Alarms => "alarm/list",
            Question::Feed => "feed/status",
        }
    }

    /// Its arguments as a command.
    pub fn body(&self) -> Value {
        match self {
            Question::Status | Question::Batches | Question::Alarms | Question::Feed => json!({}),
            Question::Batch(batch) => json!({ "batch": batch }),
            Question::Trace(code) => json!({ "code": code }),
        }
    }

    /// Whether nothing is a good answer; else it means "not found".
    pub fn may_be_empty(&self) -> bool {
        match self {
            Question::Status | Question::Batches | Question::Alarms | Question::Feed => true,
            Question::Batch(_) | Question::Trace(_) => false,
        }
    }
}

/// Answers from the journal at `db`: an array or one object, whose keys are the columns of the audit views.
pub fn answer(db: &Path, question: &Question) -> Result<Value, ReportError> {
    let _ = (db, question);
    Err(ReportError::Missing)
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReportError::Missing => f.write_str("this build reads no journals yet"),
        }
    }
}

impl std::error::Error for ReportError {}
