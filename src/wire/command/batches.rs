//! Requests about the life of a batch that is loaded.

use crate::engine::input::Request;
use crate::wire::command::{Draft, Reason};

pub(super) const WORDS: &[&str] =
    &["batch_start", "batch_stop", "batch_purge", "batch_hold", "batch_resume", "batch_abort", "batch_close"];

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
}
