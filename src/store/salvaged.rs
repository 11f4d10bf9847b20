//! What a salvaged file says of itself (`work_salvage`).
//!
//! Contract: it is a claim and proves nothing: it gives a missing end a name, and never makes it good. What was given up becomes a
//! fact when a daemon opens the file (`store::anchors`).

use rusqlite::Connection;

use crate::store::change::integer;
use crate::store::error::{Flaw, StoreError};
use crate::store::open::Store;
use crate::store::recover::{rows, unsigned};

/// The claim of a file that it is what was left of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Facts saved.
    pub(super) facts: u64,
    pub(super) why: String,
}

pub(super) fn mark(copy: &Store, mark: &Mark) -> Result<(), StoreError> {
    let write = || -> Result<(), Flaw> {
        let row = (integer(mark.facts)?, &mark.why);
        copy.conn.execute("INSERT OR REPLACE INTO work_salvage (facts, why) VALUES (?1, ?2)", row)?;
        Ok(())
    };
    write().map_err(|flaw| flaw.at(mark.facts))
}

/// For a line that starts on a salvage of which nobody was told yet: the first fact of the run that hears of it ends that.
pub(super) fn doubt(conn: &Connection, head: u64) -> Result<Option<String>, StoreError> {
    let mark = claim(conn, head)?;
    Ok(mark.map(|Mark { facts, why }| {
        format!("this journal is a salvage of {facts} facts, and nothing was recorded since: {why}")
    }))
}

/// The claim of a file that ends with fact `head`; one that has gone on since has told of it in facts.
pub(super) fn claim(conn: &Connection, head: u64) -> Result<Option<Mark>, StoreError> {
    let sql = "SELECT facts, why FROM work_salvage WHERE facts = ?1";
    let head = i64::try_from(head).unwrap_or(i64::MAX);
    let found = rows(conn, sql, [head], |row| Ok(Mark { facts: unsigned(row, 0)?, why: row.get(1)? }))?;
    Ok(found.into_iter().next())
}
