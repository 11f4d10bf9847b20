//! Stored facts become records again: the same lowering as when they were decided, from the facts alone.
//!
//! Contract: facts come in order from the first one. What follows from a fact and stands in no table of its own comes from
//! older facts: the sheet of its batch from `batch_loaded`, the places of its messages from `line_described`. The serials
//! of an order stand in no fact; whoever has them proves them by the digest in `batch_loaded`.
//! Every run begins with the places, before anything that has messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::text::BatchId;
use crate::engine::fact::Fact;
use crate::wire::fact::{self, DecodeError, StoredFact};
use crate::wire::lower::{LineIdentity, Lowering, Stamp};
use crate::wire::record::{BatchSheet, Order, Record};

#[derive(Debug)]
pub struct Refold {
    lowering: Lowering,
    /// Batches that are not closed; the engine lets a handful wait at once.
    sheets: BTreeMap<BatchId, BatchSheet>,
}

/// What an order must be: its sheet, how many serials it has and their digest.
#[derive(Clone, Copy, Debug)]
pub struct OrderProof<'a> {
    pub sheet: &'a BatchSheet,
    pub serial_count: u32,
    pub serials_sha256: &'a str,
}

impl Default for Refold {
    fn default() -> Self {
        Self { lowering: Lowering::new(LineIdentity::default()), sheets: BTreeMap::new() }
    }
}

impl Refold {
    /// `order` is asked for the serials of a `batch_loaded`. Without them the batch has no rows.
    pub fn record<E: From<DecodeError>>(
        &mut self,
        stored: StoredFact<'_>,
        stamp: Stamp,
        order: impl FnOnce(OrderProof<'_>) -> Result<Option<Arc<Order>>, E>,
    ) -> Result<Record, E> {
        let entry = fact::decode(stored)?;
        let mut found = None;
        if let Fact::BatchLoaded { sheet, serial_count, serials_sha256 } = &entry.fact {
            let proof = OrderProof { sheet, serial_count: *serial_count, serials_sha256: serials_sha256.as_str() };
            found = order(proof)?;
        }
        if let Some(sheet) = entry.fact.opens() {
            self.sheets.insert(sheet.batch, sheet.clone());
        }
        if let Fact::LineDescribed { description } = &entry.fact
            && let Some(line) = self.lowering.line.clone().placed(description)
        {
            self.lowering = Lowering::new(line);
        }
        let sheet = entry.batch.and_then(|batch| self.sheets.get(&batch));
        let record = self.lowering.record(&entry, sheet, found.as_ref(), stamp);
        if let Some(batch) = entry.batch.filter(|_| entry.fact.ends_batch()) {
            self.sheets.remove(&batch);
        }
        Ok(record)
    }
}
