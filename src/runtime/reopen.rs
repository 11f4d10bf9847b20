//! A closed batch as it was at its close, folded again from the journal, beside the line.

use std::collections::BTreeSet;
use std::path::Path;

use crate::domain::text::BatchId;
use crate::engine::fact::Fact;
use crate::engine::input::Reopening;
use crate::engine::reason::{BatchState, RequestRefusal};
use crate::engine::state::State;
use crate::runtime::assemble::RecoverError;
use crate::store::Reader;
use crate::wire::fact;

type Folded = Result<Result<Reopening, RequestRefusal>, RecoverError>;

/// Every fact from its load to its newest close; those of others on the way matter to it where they moved the same counters.
pub(super) fn fold(journal: &Path, batch: BatchId, reason: String) -> Folded {
    let mut reader = Reader::open(journal)?;
    let through = reader.head()?.0;
    let Some(row) = reader.batch(batch.as_str())? else { return Ok(Err(RequestRefusal::UnknownBatch(batch))) };
    let state = BatchState::parse(&row.state).unwrap_or(BatchState::Loaded);
    let Some(closed_seq) = row.closed_seq.filter(|_| state == BatchState::Closed) else {
        return Ok(Err(RequestRefusal::WrongState { batch, state }));
    };
    let mut state = State { seq: row.opened_seq.saturating_sub(1), kept: BTreeSet::from([batch]), ..State::default() };
    let count = u32::try_from(closed_seq.saturating_sub(row.opened_seq)).unwrap_or(u32::MAX).saturating_add(1);
    let mut orders = Vec::new();
    reader.each_fact(row.opened_seq, Some(1), |stored| {
        let entry = fact::decode(stored.undecoded()).map_err(RecoverError::Fact)?;
        orders.extend(if let Fact::BatchLoaded { sheet, .. } = entry.fact { Some(sheet) } else { None });
        Ok::<(), RecoverError>(())
    })?;
    for sheet in &orders {
        state.insert_order(&reader.order(sheet)?);
    }
    reader.each_fact(row.opened_seq, Some(count), |stored| {
        state.apply(&fact::decode(stored.undecoded()).map_err(RecoverError::Fact)?);
        Ok::<(), RecoverError>(())
    })?;
    let found = state.batches.into_iter().find(|found| found.id() == batch);
    Ok(found.map(|batch| Reopening { batch, through, reason }).ok_or(RequestRefusal::UnknownBatch(batch)))
}
