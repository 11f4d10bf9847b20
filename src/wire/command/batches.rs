//! Requests about the life of a batch that is loaded, and about serials that were used.

use serde_json::Value;

use crate::domain::gs1::{Gtin, SerialNumber};
use crate::engine::clearance::{ClearedItem, ItemAnswer};
use crate::engine::input::{Request, UsedSerials};
use crate::wire::command::{Draft, Reason, USED_MAX, fault};

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
            "batch_resume" => Request::ResumeBatch { batch, reason: self.optional("reason")? },
            "batch_abort" => Request::AbortBatch { batch, reason: self.reason()? },
            _ => Request::CloseBatch(batch),
        })
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

    pub(super) fn used(&mut self) -> Result<UsedSerials, Reason> {
        const GTIN: &str = "a GTIN of 14 digits";
        const SERIALS: &str = "a list of at most 1000 serial numbers, each a text";
        let given = self.text("gtin", GTIN)?;
        let gtin = Gtin::new(&given).map_err(|error| fault("$.gtin", &given, &error.to_string(), GTIN))?;
        let Some(Value::Array(list)) = self.fields.remove("serials") else {
            return Err(fault("$.serials", "", "is missing or no list", SERIALS));
        };
        if list.len() > USED_MAX {
            return Err(fault("$.serials", &list.len().to_string(), "too many", SERIALS));
        }
        let serial = |value: &Value| {
            let serial = value.as_str().and_then(|text| SerialNumber::new(text).ok());
            serial.ok_or_else(|| fault("$.serials", &value.to_string(), "no serial number", SERIALS))
        };
        let serials = list.iter().map(serial).collect::<Result<Vec<_>, Reason>>()?;
        Ok(UsedSerials { gtin, serials })
    }
}
