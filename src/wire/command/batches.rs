//! Requests about the life of a batch that is loaded.

use serde_json::Value;

use crate::engine::clearance::{ClearedItem, ItemAnswer};
use crate::engine::input::Request;
use crate::wire::command::{Draft, Reason, fault};

pub(super) const WORDS: &[&str] =
    &["batch_start", "batch_stop", "batch_purge", "batch_hold", "batch_resume", "batch_abort", "batch_close"];

/// Answers in one request; a checklist has fewer items.
const ITEMS_MAX: usize = 64;

impl Draft {
    pub(super) fn batch_step(&mut self, word: &str) -> Result<Request, Reason> {
        let batch = self.batch()?;
        Ok(match word {
            "batch_start" => Request::StartBatch(batch),
            "batch_stop" => Request::StopBatch(batch),
            "batch_purge" => Request::PurgeBatch(batch),
            "batch_hold" => Request::HoldBatch { batch, reason: self.reason()? },
            "batch_resume" => Request::ResumeBatch { batch, reason: self.optional_reason()? },
            "batch_abort" => Request::AbortBatch { batch, reason: self.reason()? },
            _ => Request::CloseBatch(batch),
        })
    }

    fn optional_reason(&mut self) -> Result<Option<String>, Reason> {
        if self.fields.contains_key("reason") { self.reason().map(Some) } else { Ok(None) }
    }

    /// The answers to a checklist.
    pub(super) fn cleared_items(&mut self) -> Result<Vec<ClearedItem>, Reason> {
        const ALLOWED: &str = "a list of at most 64, as {\"item\": \"…\", \"answer\": \"done\"}, or \"not_applicable\"";
        let Some(Value::Array(list)) = self.fields.remove("items") else {
            return Err(fault("$.items", "", "is missing or no list", ALLOWED));
        };
        if list.len() > ITEMS_MAX {
            return Err(fault("$.items", &list.len().to_string(), "too many", ALLOWED));
        }
        let answered = |value: &Value| {
            let answer = value.get("answer").and_then(Value::as_str).and_then(ItemAnswer::parse);
            let item = value.get("item").and_then(Value::as_str);
            let both = item.zip(answer).map(|(item, answer)| ClearedItem { item: item.to_owned(), answer });
            both.ok_or_else(|| fault("$.items", &value.to_string(), "no answer", ALLOWED))
        };
        list.iter().map(answered).collect()
    }
}
