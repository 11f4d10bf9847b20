//! When the journal signs itself, and how a checkpoint enters the file.
//!
//! The one thing that the commit thread does unasked. A job whose facts make a checkpoint due gets its row in the same
//! transaction: the head is signed before the COMMIT and told after it, so that no checkpoint ever stands outside for a fact that is not
//! on disk (I19), no fact's number is shifted, and no flush is spent on it. Due is
//! - the first group of a run, so that a start is signed;
//! - a group that leaves 100 facts or more unsigned;
//! - a group that comes with `Work::Checkpoint`: a stop, a signed act;
//! - any group, or none, when facts have been unsigned for 60 s; without a group the row has a transaction of its own;
//! - the end of the commit thread, where anything is left.
//!
//! It follows that every note that was ever told has its row, and that a journal never ends with 100 facts unsigned: `verify`
//! relies on both. Telling is a channel that never blocks the commit; who listens writes the side file and the feed.

use crossbeam_channel::Sender;

use crate::store::change::integer;
use crate::store::commit::Job;
use crate::store::error::StoreError;
use crate::store::journal::Work;
use crate::store::open::Store;
use crate::store::recover::rows;
use crate::wire::checkpoint::{Head, Key, Note};
use crate::wire::record::Change;

/// Facts that may be unsigned at the end of a transaction, plus one.
pub(super) const FACTS_MAX: u64 = 100;
const AGE_MAX_US: u64 = 60_000_000;

/// Signs for one journal.
#[derive(Debug)]
pub(super) struct Notary {
    key: Key,
    told: Sender<Note>,
    /// Checkpoints in the file, and the newest fact that one covers.
    count: u64,
    through: u64,
    /// The newest fact's time and boot; none before the first group of this run.
    newest: Option<(i64, u32)>,
    /// Since when there are facts that are not signed.
    unsigned_since_us: Option<u64>,
}

impl Store {
    /// From here on every checkpoint that is due is signed with `key` and told to `told`, newest last. One that finds no room
    /// there is not told: the next covers it.
    pub fn sign_with(&mut self, key: Key, told: Sender<Note>) -> Result<(), StoreError> {
        let found = rows(&self.conn, "SELECT count(*), COALESCE(max(seq), 0) FROM checkpoint", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })?;
        let (count, through) = found.first().copied().unwrap_or_default();
        let unsigned = |number| u64::try_from(number).unwrap_or(0);
        self.notary = Some(Notary {
            key,
            told,
            count: unsigned(count),
            through: unsigned(through),
            newest: None,
            unsigned_since_us: None,
        });
        Ok(())
    }

    /// The key that signed the newest checkpoint of the file.
    pub fn signing_key_id(&self) -> Result<Option<String>, StoreError> {
        let found = rows(&self.conn, "SELECT key_id FROM checkpoint ORDER BY seq DESC LIMIT 1", [], |row| row.get(0))?;
        Ok(found.into_iter().next())
    }

    /// Inside the job's transaction: its checkpoint, where one is due.
    pub(super) fn sign_job(&self, job: &Job, head: (u64, [u8; 32]), now_us: u64) -> Result<Option<Note>, StoreError> {
        let Some(notary) = &self.notary else { return Ok(None) };
        let newest = job.records.last().map(|record| (record.row.at_us, record.row.boot));
        let is_asked = job.work.contains(&Work::Checkpoint);
        match newest.or(notary.newest) {
            Some(newest) if notary.is_due(head.0, now_us, is_asked) => {
                self.sign(notary, (head, newest), raised(job).unwrap_or(self.identity.epoch)).map(Some)
            }
            Some(_) | None => Ok(None),
        }
    }

    /// After the COMMIT.
    pub(super) fn tell_signed(&mut self, job: &Job, signed: Option<Note>, now_us: u64) {
        if let Some(epoch) = raised(job) {
            self.identity.epoch = epoch;
        }
        let Some(notary) = &mut self.notary else { return };
        if let Some(record) = job.records.last() {
            notary.newest = Some((record.row.at_us, record.row.boot));
            notary.unsigned_since_us.get_or_insert(now_us);
        }
        if let Some(note) = signed {
            notary.tell(note);
        }
    }

    /// What was left unsigned for too long, or at all where this is the end, in a transaction of its own.
    pub(super) fn sign_the_rest(&mut self, now_us: u64, is_end: bool) -> Result<(), StoreError> {
        let is_due = |notary: &Notary| notary.newest.is_some() && notary.is_due(self.head.0, now_us, is_end);
        if !self.notary.as_ref().is_some_and(is_due) {
            return Ok(());
        }
        self.begin()?;
        let Some(notary) = &self.notary else { return Ok(()) };
        let newest = notary.newest.unwrap_or_default();
        let note = self.sign(notary, (self.head, newest), self.identity.epoch)?;
        self.end_transaction()?;
        if let Some(notary) = &mut self.notary {
            notary.tell(note);
        }
        Ok(())
    }

    fn sign(
        &self,
        notary: &Notary,
        ((seq, hash), (at_us, boot)): ((u64, [u8; 32]), (i64, u32)),
        epoch: u32,
    ) -> Result<Note, StoreError> {
        let (line, store_uuid) = (self.identity.line.as_str(), self.identity.store_uuid.as_str());
        let head = Head { line, store_uuid, epoch, seq, hash, at_us, boot };
        let note = head.note(notary.count.saturating_add(1)).signed(&notary.key);
        // A row that somebody laid ahead is left for `audit verify` to find; it must not stop the line.
        let insert = || {
            let mut insert = self.conn.prepare_cached(
                "INSERT OR IGNORE INTO checkpoint (seq, head_hash, store_uuid, key_id, signature) \
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            let seq = integer(note.seq)?;
            insert.execute((seq, note.head.as_slice(), &note.store_uuid, &note.key_id, note.signature.as_slice()))?;
            Ok(())
        };
        insert().map_err(|flaw: crate::store::error::Flaw| flaw.at(seq))?;
        Ok(note)
    }
}

impl Notary {
    fn is_due(&self, head: u64, now_us: u64, is_asked: bool) -> bool {
        let facts = head.saturating_sub(self.through);
        let is_old = self.unsigned_since_us.is_some_and(|since| now_us.saturating_sub(since) >= AGE_MAX_US);
        facts > 0 && (is_asked || is_old || facts >= FACTS_MAX || self.newest.is_none())
    }

    fn tell(&mut self, note: Note) {
        self.count = note.number;
        self.through = note.seq;
        self.unsigned_since_us = None;
        if let Err(error) = self.told.try_send(note) {
            tracing::warn!(seq = error.into_inner().seq, "checkpoint_not_anchored");
        }
    }
}

/// The epoch that begins with a job.
fn raised(job: &Job) -> Option<u32> {
    let changes = job.records.iter().flat_map(|record| &record.changes);
    changes.filter_map(|change| if let Change::EpochRaised { epoch } = change { Some(*epoch) } else { None }).max()
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Receiver, bounded};

    use super::*;
    use crate::store::open::{Settings, open};
    use crate::store::samples::*;
    use crate::store::verify;

    struct Scene {
        folder: tempfile::TempDir,
        store: Store,
        told: Receiver<Note>,
        seq: u64,
    }

    fn scene() -> Scene {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = open(&Settings::new(folder.path().join("line.db"), "l1")).expect("opens");
        let (tell, told) = bounded(64);
        store.sign_with(Key::new("l1", &[3; 32]), tell).expect("counted");
        Scene { folder, store, told, seq: 0 }
    }

    impl Scene {
        fn commit(&mut self, facts: u64, work: Vec<Work>, now_us: u64) {
            let records = (0..facts).map(|_| {
                self.seq += 1;
                record(self.seq, "station_lost", Vec::new())
            });
            let job = Job { records: records.collect(), work };
            self.store.commit(&job, || now_us).expect("committed");
        }

        fn told(&self) -> Vec<(u64, u64)> {
            self.told.try_iter().map(|note| (note.number, note.seq)).collect()
        }
    }

    // I19, I27
    #[test]
    fn signs_the_first_group_every_hundred_facts_every_minute_and_what_is_asked() {
        let mut scene = scene();
        scene.commit(2, vec![], 0);
        assert_eq!(scene.told(), [(1, 2)], "a start");
        for _ in 0..99 {
            scene.commit(1, vec![], 1);
        }
        assert_eq!(scene.told(), []);
        scene.commit(1, vec![], 1);
        assert_eq!(scene.told(), [(2, 102)], "a hundred");
        scene.commit(250, vec![], 1);
        assert_eq!(scene.told(), [(3, 352)], "a large group");
        scene.commit(1, vec![Work::Checkpoint], 1);
        assert_eq!(scene.told(), [(4, 353)], "a stop");
        scene.commit(0, vec![Work::Checkpoint], 1);
        scene.store.sign_the_rest(AGE_MAX_US * 9, false).expect("nothing to sign");
        assert_eq!(scene.told(), [], "no news");
        scene.commit(1, vec![], AGE_MAX_US);
        scene.store.sign_the_rest(2 * AGE_MAX_US - 1, false).expect("not yet");
        assert_eq!(scene.told(), []);
        scene.store.sign_the_rest(2 * AGE_MAX_US, false).expect("signed");
        assert_eq!(scene.told(), [(5, 354)], "a minute");
        scene.commit(1, vec![], 0);
        scene.store.sign_the_rest(1, true).expect("signed");
        assert_eq!(scene.told(), [(6, 355)], "the end");
        let rows: i64 =
            scene.store.conn.query_row("SELECT count(*) FROM checkpoint", [], |row| row.get(0)).expect("counted");
        assert_eq!(rows, 6, "every note that was told has its row");
    }

    #[test]
    fn a_group_that_fails_leaves_no_checkpoint_and_tells_none() {
        let mut scene = scene();
        scene.commit(1, vec![], 0);
        scene.told();
        let gap = Job { records: vec![record(9, "station_lost", Vec::new())], work: vec![Work::Checkpoint] };
        assert!(scene.store.commit(&gap, || 0).is_err());
        assert_eq!(scene.told(), []);
        let public_keys = Some([Key::new("l1", &[3; 32]).public()].into_iter().collect());
        let trust = verify::Trust { public_keys, ..verify::Trust::default() };
        let report = verify::run_with(&scene.folder.path().join("line.db"), &trust).expect("readable");
        assert_eq!((report.facts, report.first_bad), (1, None));
    }

    #[test]
    fn a_row_that_somebody_laid_ahead_does_not_stop_the_line() {
        let mut scene = scene();
        scene
            .store
            .conn
            .execute("INSERT INTO checkpoint VALUES (3, zeroblob(32), 'x', 'x', zeroblob(64))", [])
            .expect("laid");
        scene.commit(3, vec![], 0);
        assert_eq!(scene.told(), [(1, 3)]);
    }
}
