//! The starts before this one, newest first. The number of the run (`boot`) rises along the facts, so that the first fact of each
//! is found by halving, however many facts a run left.

use rusqlite::OptionalExtension;

use crate::store::error::StoreError;
use crate::store::open::Store;
use crate::store::recover::signed;

/// One start of the daemon, as its first facts tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartSeen {
    pub at_us: i64,
    /// Whether the run before had ended in order.
    pub clean: bool,
}

/// Facts that may follow the one of the stop: of what was on its way when the line was told to end.
const AFTER_STOP_MAX: u64 = 8192;

impl Store {
    /// The newest `limit` starts that left a fact.
    pub fn starts(&self, limit: usize) -> Result<Vec<StartSeen>, StoreError> {
        let mut found = Vec::new();
        let mut last = self.head().0;
        while last > 0 && found.len() < limit {
            let first = self.first_of_run(last)?;
            found.extend(self.start_at(first)?);
            last = first - 1;
        }
        Ok(found)
    }

    /// The time of the newest fact.
    pub fn last_wall_us(&self) -> Result<Option<i64>, StoreError> {
        self.conn
            .query_row("SELECT at_us FROM fact ORDER BY seq DESC LIMIT 1", [], |row| row.get(0))
            .optional()
            .map_err(StoreError::sqlite("reading the newest fact"))
    }

    /// Whether the newest run ended in order; a journal without facts follows no run at all. Behind its `line_stopped` may stand what
    /// became of things on their way, a pass that did not leave any more, and nothing else.
    pub fn ended_in_order(&self) -> Result<bool, StoreError> {
        let (newest, _) = self.head();
        if newest == 0 {
            return Ok(true);
        }
        self.conn
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM fact WHERE seq BETWEEN ?1 AND ?2 AND boot = ?3 \
                 AND kind = (SELECT word FROM word WHERE text = 'line_stopped'))",
                (signed(newest.saturating_sub(AFTER_STOP_MAX)), signed(newest), self.boot_of(newest)?),
                |row| row.get(0),
            )
            .map_err(StoreError::sqlite("reading the newest facts"))
    }

    /// The first fact of the run to which the fact `last` belongs.
    fn first_of_run(&self, last: u64) -> Result<u64, StoreError> {
        let boot = self.boot_of(last)?;
        let (mut before, mut inside) = (0, last);
        while inside - before > 1 {
            let middle = before + (inside - before) / 2;
            if self.boot_of(middle)? == boot { inside = middle } else { before = middle }
        }
        Ok(inside)
    }

    fn boot_of(&self, seq: u64) -> Result<u32, StoreError> {
        self.conn
            .prepare_cached("SELECT boot FROM fact WHERE seq = ?1")
            .and_then(|mut find| find.query_row([signed(seq)], |row| row.get(0)))
            .map_err(StoreError::sqlite("reading the starts"))
    }

    /// A step of the clock, a new epoch, the places and a new key may stand before `line_started`, nothing else.
    fn start_at(&self, first: u64) -> Result<Option<StartSeen>, StoreError> {
        let row = self
            .conn
            .query_row(
                "SELECT at_us, json_extract(body, '$.clean') FROM v_fact \
                 WHERE seq BETWEEN ?1 AND ?1 + 9 AND kind = 'line_started' \
                 AND boot = (SELECT boot FROM fact WHERE seq = ?1) ORDER BY seq LIMIT 1",
                [signed(first)],
                |row| Ok((row.get(0)?, row.get::<_, Option<bool>>(1)?)),
            )
            .optional()
            .map_err(StoreError::sqlite("reading the starts"))?;
        Ok(row.map(|(at_us, clean)| StartSeen { at_us, clean: clean.unwrap_or(true) }))
    }
}

#[cfg(test)]
mod tests {
    use crate::store::samples::{job, record};
    use crate::store::{Settings, open};

    #[test]
    fn a_pass_that_expires_behind_the_stop_does_not_make_the_end_unclean() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("line.db");
        let mut store = open(&Settings::new(&path, "l1")).expect("it opens");
        assert!(store.ended_in_order().expect("readable"), "no run at all");
        let kinds = ["line_started", "line_stopped", "pass_expired", "pass_expired"];
        for (seq, kind) in (1..).zip(kinds) {
            store.commit(&job(vec![record(seq, kind, Vec::new())]), || 0).expect("it commits");
            assert_eq!(store.ended_in_order().expect("readable"), seq > 1, "{kind}");
        }
        let mut next = record(5, "pass_expired", Vec::new());
        next.row.boot = 2;
        store.commit(&job(vec![next]), || 0).expect("it commits");
        assert!(!store.ended_in_order().expect("readable"), "that run has not ended");
    }

    /// One run: its start, and facts that follow.
    fn run(path: &std::path::Path, clean: bool, facts: u64) {
        let mut store = open(&Settings::new(path, "l1")).expect("it opens");
        let (first, boot) = (store.head().0 + 1, store.boot());
        for seq in first..=first + facts {
            let mut record = record(seq, if seq == first { "line_started" } else { "filler" }, Vec::new());
            record.row.boot = boot;
            record.row.batch = None;
            record.row.body = format!("{{\"version\":\"1\",\"config_sha256\":\"\",\"clean\":{clean}}}");
            store.commit(&job(vec![record]), || 0).expect("it commits");
        }
    }

    // F13
    #[test]
    fn starts_are_found_however_many_facts_lie_between_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("line.db");
        for (clean, facts) in [(true, 0), (false, 40), (false, 0), (true, 7)] {
            run(&path, clean, facts);
        }
        let store = open(&Settings::new(&path, "l1")).expect("it opens");
        let clean: Vec<bool> = store.starts(10).expect("readable").iter().map(|start| start.clean).collect();
        assert_eq!(clean, [true, false, false, true]);
        assert!(!store.ended_in_order().expect("readable"), "the newest fact is none of an end");
        assert_eq!(store.starts(2).expect("readable").len(), 2);
        let newest = i64::try_from(store.head().0).expect("small");
        assert_eq!(store.last_wall_us().expect("readable"), Some(1_795_000_000_000_000 + newest));
    }
}
