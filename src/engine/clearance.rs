//! Line clearance: that nothing of another product is left on the line before a batch starts on it for the first time.
//!
//! The items are the site's. Two persons answer all of them, each for itself, and sign for the same answers (`signing`): the second
//! signature is followed by the fact that the line is cleared for this batch. It counts until another batch has started.

use crate::domain::text::BatchId;
use crate::engine::Engine;
use crate::engine::fact::Fact;
use crate::engine::output::Refused;
use crate::engine::reason::{BatchState, RequestRefusal};
use crate::engine::state::Batch;

/// What the site asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clearance {
    /// No batch starts without.
    pub is_required: bool,
    /// In the order in which they are looked at.
    pub items: Vec<String>,
}

/// One item as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClearedItem {
    pub item: String,
    pub answer: ItemAnswer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemAnswer {
    Done,
    /// Nothing on this line for this batch needs it.
    NotApplicable,
}

impl ItemAnswer {
    pub const ALL: &'static [ItemAnswer] = &[ItemAnswer::Done, ItemAnswer::NotApplicable];

    /// The stable word, lower snake case.
    pub fn name(self) -> &'static str {
        match self {
            ItemAnswer::Done => "done",
            ItemAnswer::NotApplicable => "not_applicable",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|answer| answer.name() == name)
    }
}

impl Engine {
    pub fn with_clearance(self, clearance: Clearance) -> Self {
        Self { clearance, ..self }
    }

    /// The clearance of the line for a batch, with every item of the site answered and no other, in the order of the site.
    pub(super) fn clearing(&self, id: &BatchId, answered: &[ClearedItem]) -> Result<Fact, Refused> {
        let batch = self.state.batch(id).map(|batch| batch.state);
        let mut reasons = match batch {
            None => vec![RequestRefusal::UnknownBatch(*id)],
            Some(BatchState::Loaded) => Vec::new(),
            Some(state) => vec![RequestRefusal::WrongState { batch: *id, state }],
        };
        let on_line = self.state.current().map(Batch::id).filter(|other| other != id);
        reasons.extend(on_line.map(RequestRefusal::LineOccupied));
        let mut left: Vec<&ClearedItem> = answered.iter().collect();
        let mut items = Vec::with_capacity(self.clearance.items.len());
        for item in &self.clearance.items {
            match left.iter().position(|at| at.item == *item) {
                Some(at) => items.push(left.remove(at).clone()),
                None => reasons.push(RequestRefusal::ItemOpen(item.clone())),
            }
        }
        reasons.extend(left.into_iter().map(|at| RequestRefusal::ItemUnknown(at.item.clone())));
        if reasons.is_empty() { Ok(Fact::LineCleared { items }) } else { Err(Refused::because(reasons)) }
    }

    /// A batch that starts for the first time, on a line that is not known to be clear.
    pub(super) fn uncleared(&self, batch: &Batch) -> Option<RequestRefusal> {
        let is_owed = self.clearance.is_required && batch.state == BatchState::Loaded && !batch.is_cleared;
        is_owed.then(|| RequestRefusal::NotCleared(batch.id()))
    }
}
