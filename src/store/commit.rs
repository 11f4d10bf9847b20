//! The commit thread's work: one job, one transaction, one flush, then the proof.
//!
//! The outcome of a failed commit is unknown until the file is read again (reliability F16): `run` returns the error, the
//! process ends with its exit code, and nothing is tried again with other content. Only the write lock is waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use rusqlite::{ErrorCode, OptionalExtension};

use crate::domain::epc;
use crate::store::batches::Batches;
use crate::store::change::{Scope, integer};
use crate::store::error::{Flaw, StoreError};
use crate::store::facts;
use crate::store::feed::WATERMARK_ROW;
use crate::store::journal::{Busy, Durable, Journal, Work};
use crate::store::open::Store;
use crate::store::phrase;
use crate::store::recover::unsigned;
use crate::wire::chain;
use crate::wire::record::{FactRow, Message, Record};

/// Messages of one fact; their numbers share eight bits of `message.id`.
const MESSAGES_MAX: usize = 256;

/// One transaction.
#[derive(Debug, Default)]
pub struct Job {
    pub records: Vec<Record>,
    pub work: Vec<Work>,
}

/// The line's end of the way to the commit thread. At most one job waits.
#[derive(Debug)]
pub struct SqliteJournal {
    jobs: Sender<Job>,
}

/// The two ends; the receiver goes to [`run`].
pub fn channel() -> (SqliteJournal, Receiver<Job>) {
    let (sender, receiver) = bounded(1);
    (SqliteJournal { jobs: sender }, receiver)
}

impl Journal for SqliteJournal {
    /// A commit thread that has ended looks busy for ever; its error reaches the process by [`run`].
    fn submit(&mut self, records: Vec<Record>, work: Vec<Work>) -> Result<(), Busy> {
        match self.jobs.try_send(Job { records, work }) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                Err(Busy { records: job.records, work: job.work })
            }
        }
    }
}

/// How long the thread waits for a job before it looks whether a checkpoint is due.
const PATIENCE: Duration = Duration::from_secs(1);

/// Commits jobs until all senders are gone. `mono_us` is the monotonic clock, for the duration in [`Durable`] and for the age of
/// what is not signed yet.
pub fn run(
    mut store: Store,
    jobs: &Receiver<Job>,
    mono_us: impl Fn() -> u64,
    mut done: impl FnMut(Durable),
) -> Result<(), StoreError> {
    loop {
        match jobs.recv_timeout(PATIENCE) {
            Ok(job) => done(store.commit(&job, &mono_us)?),
            Err(RecvTimeoutError::Timeout) => store.sign_the_rest(mono_us(), false)?,
            Err(RecvTimeoutError::Disconnected) => return store.sign_the_rest(mono_us(), true),
        }
    }
}

impl Store {
    /// All of the job, durable, or an error that must end the process.
    pub fn commit(&mut self, job: &Job, mono_us: impl Fn() -> u64) -> Result<Durable, StoreError> {
        let began = mono_us();
        self.begin()?;
        let mut touched = BTreeMap::new();
        let mut head = self.head;
        let written = self.write(job, &mut head, &mut touched);
        let signed = match written.and_then(|()| self.sign_job(job, head, began)) {
            Ok(signed) => signed,
            Err(error) => {
                // What stood before the job stands again; a roll-back that fails leaves the same to the next start.
                let _ = self.conn.execute_batch("ROLLBACK");
                self.forget_what_was_not_committed();
                return Err(error);
            }
        };
        self.end_transaction()?;
        self.head = head;
        self.boot_is_written |= !job.records.is_empty();
        self.tell_signed(job, signed, began);
        Ok(Durable::new(head.0, touched, mono_us().saturating_sub(began)))
    }

    fn forget_what_was_not_committed(&mut self) {
        self.words.forget();
        self.batches = Batches::default();
        self.streams.clear();
    }

    /// Waits for the write lock as long as it takes; a tool that holds it is reported once.
    pub(super) fn begin(&mut self) -> Result<(), StoreError> {
        let mut reported = false;
        loop {
            let begun = self.conn.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([]));
            match begun {
                Ok(_) => return Ok(()),
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                    if !reported {
                        tracing::warn!(path = %self.path().display(), "journal_busy");
                        reported = true;
                    }
                }
                Err(source) => return Err(StoreError::Sqlite { doing: "begin", source }),
            }
        }
    }

    fn write(
        &mut self,
        job: &Job,
        head: &mut (u64, [u8; 32]),
        touched: &mut BTreeMap<&'static str, u64>,
    ) -> Result<(), StoreError> {
        for record in &job.records {
            let seq = record.row.seq;
            *head = self.insert_fact(*head, &record.row)?;
            self.apply(record).map_err(|flaw| flaw.at(seq))?;
            self.insert_messages(seq, &record.messages, touched).map_err(|flaw| flaw.at(seq))?;
        }
        self.note_streams(touched).map_err(|flaw| flaw.at(head.0))?;
        for work in &job.work {
            self.note_work(work).map_err(|flaw| flaw.at(head.0))?;
        }
        // A start that left no fact has no number.
        if !self.boot_is_written && !job.records.is_empty() {
            let boot = self.boot();
            self.conn.execute("UPDATE meta SET boot = ?1", [boot]).map_err(StoreError::sqlite("noting the start"))?;
        }
        Ok(())
    }

    fn insert_fact(&mut self, head: (u64, [u8; 32]), row: &FactRow) -> Result<(u64, [u8; 32]), StoreError> {
        let (last, prev) = head;
        if Some(row.seq) != last.checked_add(1) {
            let what = format!("it follows fact {last}; facts are numbered without gaps");
            return Err(StoreError::Refused { seq: row.seq, what });
        }
        let hash = chain::hash(&prev, row);
        self.insert_row(row, &hash).map_err(|flaw| flaw.at(row.seq))?;
        Ok((row.seq, hash))
    }

    fn insert_row(&mut self, row: &FactRow, hash: &[u8; 32]) -> Result<(), Flaw> {
        let (conn, words) = (&self.conn, &mut self.words);
        let kind = words.id(conn, row.kind)?;
        let actor = words.id(conn, &row.actor)?;
        let batch = row.batch.as_deref().map(|batch| words.id(conn, batch)).transpose()?;
        let prefix = match batch {
            Some(batch) => words.prefix(conn, batch)?,
            None => None,
        };
        let subject = facts::squeeze(&row.subject, prefix.as_deref());
        let mut insert = conn.prepare_cached(
            "INSERT INTO fact (seq, at_us, mono_us, boot, kind, version, batch, actor, subject, body, hash) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?;
        let (seq, mono_us) = (integer(row.seq)?, integer(row.mono_us)?);
        insert.execute((
            seq,
            row.at_us,
            mono_us,
            row.boot,
            kind,
            row.version,
            batch,
            actor,
            subject.as_ref(),
            phrase::shorten(&row.body, &subject)?,
            hash.as_slice(),
        ))?;
        Ok(())
    }

    fn apply(&mut self, record: &Record) -> Result<(), Flaw> {
        let seq = integer(record.row.seq)?;
        let mut scope = Scope { conn: &self.conn, words: &mut self.words, batches: &mut self.batches, seq };
        for change in &record.changes {
            scope.apply(change)?;
        }
        if record.row.subject.starts_with(epc::SSCC)
            && let Ok((sscc, _)) = epc::parse_sscc_uri(&record.row.subject)
        {
            scope.link_container(sscc.as_str())?;
        }
        Ok(())
    }

    fn insert_messages(
        &mut self,
        fact: u64,
        messages: &[Message],
        touched: &mut BTreeMap<&'static str, u64>,
    ) -> Result<(), Flaw> {
        if messages.len() > MESSAGES_MAX {
            return Err(format!("{} messages, at most {MESSAGES_MAX} fit", messages.len()).into());
        }
        let first = integer(fact)?.checked_mul(256).ok_or("the fact's number is too large")?;
        for (id, message) in (first..).zip(messages) {
            let (stream, seq) = self.next_number(message.stream)?;
            touched.insert(message.stream, seq);
            let topic = self.words.id(&self.conn, &message.topic)?;
            let kind = self.words.id(&self.conn, message.kind)?;
            let digest = chain::sha256(&message.body);
            let mut insert = self.conn.prepare_cached(
                "INSERT INTO message (id, stream, seq, topic, kind, subject, body, body_sha256) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?;
            let seq = integer(seq)?;
            insert.execute((id, stream, seq, topic, kind, &message.subject, &message.body, digest.as_slice()))?;
        }
        Ok(())
    }

    /// The stream's word and its next number. The table is written once a job, by `note_streams`.
    fn next_number(&mut self, stream: &'static str) -> Result<(i64, u64), Flaw> {
        if !self.streams.contains_key(stream) {
            let id = self.words.id(&self.conn, stream)?;
            let last: Option<i64> = self
                .conn
                .prepare_cached("SELECT last_seq FROM stream WHERE stream = ?1")?
                .query_row([id], |row| row.get(0))
                .optional()?;
            let last = u64::try_from(last.unwrap_or(0)).map_err(|_| "a stream's number is negative")?;
            self.streams.insert(stream, (id, last));
        }
        let (id, last) = self.streams.get_mut(stream).ok_or("a stream is missing")?;
        *last = last.checked_add(1).ok_or("a stream is full")?;
        Ok((*id, *last))
    }

    fn note_streams(&mut self, touched: &BTreeMap<&'static str, u64>) -> Result<(), Flaw> {
        for (stream, seq) in touched {
            let id = self.words.id(&self.conn, stream)?;
            let mut note = self.conn.prepare_cached(
                "INSERT INTO stream (stream, last_seq) VALUES (?1, ?2) \
                 ON CONFLICT (stream) DO UPDATE SET last_seq = excluded.last_seq",
            )?;
            note.execute((id, integer(*seq)?))?;
        }
        Ok(())
    }

    fn note_work(&mut self, work: &Work) -> Result<(), Flaw> {
        match work {
            Work::FeedAcked { through } => {
                let fact = self.words.id(&self.conn, "fact")?;
                self.note_place(fact, *through)?;
                let end = integer(*through)?.saturating_add(1).saturating_mul(256);
                for (stream, acked, last) in self.stream_places()? {
                    let taken = self.taken_of(stream, (acked, last), end)?;
                    if taken > acked {
                        self.note_place(stream, taken)?;
                    }
                }
            }
            Work::FeedExcepted { stream, seq, cause } => {
                let id = self.words.id(&self.conn, stream)?;
                let mut note = self.conn.prepare_cached(
                    "INSERT INTO work_feed_exception (stream, seq, cause) VALUES (?1, ?2, ?3) \
                     ON CONFLICT (stream, seq) DO UPDATE SET cause = excluded.cause",
                )?;
                note.execute((id, integer(*seq)?, cause))?;
            }
            Work::FeedCleared { stream, seq } => {
                let id = self.words.id(&self.conn, stream)?;
                let mut clear =
                    self.conn.prepare_cached("DELETE FROM work_feed_exception WHERE stream = ?1 AND seq = ?2")?;
                clear.execute((id, integer(*seq)?))?;
            }
            Work::FeedConfirmed { through } => {
                let mut note = self.conn.prepare_cached(
                    "INSERT INTO work_feed (stream, acked_seq) VALUES (?1, ?2) \
                     ON CONFLICT (stream) DO UPDATE SET acked_seq = excluded.acked_seq",
                )?;
                note.execute((WATERMARK_ROW, integer(*through)?))?;
            }
            // The facts of the job are signed once all of it is written.
            Work::Checkpoint => {}
        }
        Ok(())
    }

    /// A place never falls.
    pub(super) fn note_place(&self, stream: i64, seq: u64) -> Result<(), Flaw> {
        let mut note = self.conn.prepare_cached(
            "INSERT INTO work_feed (stream, acked_seq) VALUES (?1, ?2) \
             ON CONFLICT (stream) DO UPDATE SET acked_seq = max(acked_seq, excluded.acked_seq)",
        )?;
        note.execute((stream, integer(seq)?))?;
        Ok(())
    }

    /// Each stream of messages: the number that was taken last, and the newest.
    fn stream_places(&self) -> Result<Vec<(i64, u64, u64)>, Flaw> {
        let mut list = self.conn.prepare_cached(
            "SELECT stream, COALESCE((SELECT acked_seq FROM work_feed f WHERE f.stream = s.stream), 0), last_seq FROM stream s",
        )?;
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, unsigned(row, 1)?, unsigned(row, 2)?));
        Ok(list.query_map([], row)?.collect::<rusqlite::Result<_>>()?)
    }

    /// The last number in `acked..=last` whose message lies before the id `end`. Numbers and ids rise together, so that a few
    /// looks into the index find it; the messages themselves, which may be the backlog of days, are not touched: they would
    /// push everything else out of the page cache.
    fn taken_of(&self, stream: i64, (acked, last): (u64, u64), end: i64) -> Result<u64, Flaw> {
        let mut find = self.conn.prepare_cached("SELECT id FROM message WHERE stream = ?1 AND seq = ?2")?;
        let mut lies_before = |seq: u64| -> Result<bool, Flaw> {
            let id: Option<i64> = find.query_row((stream, integer(seq)?), |row| row.get(0)).optional()?;
            Ok(id.is_some_and(|id| id < end))
        };
        let (mut low, mut step) = (acked, 1_u64);
        while low < last && lies_before(low.saturating_add(step).min(last))? {
            low = low.saturating_add(step).min(last);
            step = step.saturating_mul(2);
        }
        let mut high = low.saturating_add(step).min(last.saturating_add(1));
        while low.saturating_add(1) < high {
            let middle = low.midpoint(high);
            if lies_before(middle)? {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    pub(super) fn run_cached(&self, sql: &str, doing: &'static str) -> Result<(), StoreError> {
        let run = || self.conn.prepare_cached(sql)?.execute([]);
        run().map(drop).map_err(StoreError::sqlite(doing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::open::{Settings, open};
    use crate::store::samples::*;
    use crate::store::{Reader, wal};

    #[test]
    fn proves_each_group_in_its_order_and_ends_when_nobody_submits() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("line.db");
        let store = open(&Settings::new(&path, "l1")).expect("opens");
        let (mut journal, jobs) = channel();
        let (done, proofs) = bounded(1);
        let thread = std::thread::spawn(move || run(store, &jobs, || 0, |durable| done.send(durable).expect("heard")));
        for record in story() {
            let seq = record.row.seq;
            journal.submit(vec![record], vec![]).expect("the one before is proven");
            let durable = proofs.recv_timeout(std::time::Duration::from_secs(20)).expect("a proof");
            assert_eq!(durable.through(), seq);
            let head = Reader::open(&path).expect("reads").head().expect("a head").0;
            assert_eq!(head, seq, "what is proven is there for everybody");
        }
        drop(journal);
        thread.join().expect("ends").expect("without an error");
    }

    #[test]
    fn a_failed_commit_ends_the_run_with_its_error() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = open(&Settings::new(directory.path().join("line.db"), "l1")).expect("opens");
        let (mut journal, jobs) = channel();
        journal.submit(vec![record(9, "gap", vec![])], vec![]).expect("taken");
        let error = run(store, &jobs, || 0, |_| panic!("nothing to prove")).expect_err("a gap");
        assert_eq!(error.exit_code(), 74);
    }

    #[test]
    fn waits_for_the_write_lock_instead_of_failing() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("line.db");
        let mut store = open(&Settings::new(&path, "l1")).expect("opens");
        let other = rusqlite::Connection::open(&path).expect("another tool");
        other.execute_batch("BEGIN IMMEDIATE").expect("holds the lock");
        let (done, proofs) = bounded(1);
        let thread = std::thread::spawn(move || done.send(store.commit(&job(story()), || 0)));
        // Longer than one attempt for the lock: it must have been made again.
        let early = proofs.recv_timeout(std::time::Duration::from_millis(1300));
        assert!(early.is_err(), "it could not have the lock");
        other.execute_batch("ROLLBACK").expect("frees the lock");
        let proof = proofs.recv_timeout(std::time::Duration::from_secs(20)).expect("an outcome");
        assert_eq!(proof.expect("committed").through(), 21);
        thread.join().expect("ends").expect("sent");
    }

    #[test]
    fn checkpoints_beside_the_commits_cut_an_idle_log() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("line.db");
        let mut store = open(&Settings::new(&path, "l1")).expect("opens");
        store.commit(&job(story()), || 0).expect("committed");
        let (stop, stopped) = bounded::<()>(1);
        let of_thread = path.clone();
        let thread = std::thread::spawn(move || wal::run(&of_thread, &stopped));
        let log = directory.path().join("line.db-wal");
        let cut = wait_until(|| std::fs::metadata(&log).is_ok_and(|log| log.len() == 0));
        drop(stop);
        thread.join().expect("ends").expect("without an error");
        assert!(cut, "the log was never cut");
    }

    #[test]
    fn the_end_of_the_checkpoints_leaves_everything_in_the_file_itself() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("line.db");
        let mut store = open(&Settings::new(&path, "l1")).expect("opens");
        store.commit(&job(story()), || 0).expect("committed");
        let (stop, stopped) = bounded::<()>(1);
        drop(stop);
        wal::run(&path, &stopped).expect("without an error");
        let log = std::fs::metadata(directory.path().join("line.db-wal")).expect("the store is open");
        assert_eq!(log.len(), 0);
    }

    fn wait_until(is_so: impl Fn() -> bool) -> bool {
        (0..400).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(25));
            is_so()
        })
    }

    /// Not an assertion on time: the figure is for the reader of the test's output.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "a figure for the reader, outside any decision")]
    fn loads_two_hundred_thousand_serials_and_reads_them_back_in_order() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("line.db");
        let mut store = open(&Settings::new(&path, "l1")).expect("opens");
        let serials: Vec<String> =
            (0..200_000u64).map(|n| format!("{:016X}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect();
        let texts: Vec<&str> = serials.iter().map(String::as_str).collect();
        let load = loaded(1, "B1", &texts);
        let began = std::time::Instant::now();
        store.commit(&job(vec![load]), || 0).expect("loaded");
        println!("200,000 serials loaded in {:?}", began.elapsed());
        drop(store);
        let mut store = open(&Settings::new(&path, "l1")).expect("opens");
        let began = std::time::Instant::now();
        let order = store.order(&order("B1", &[]).sheet).expect("an order");
        println!("200,000 serials read back in {:?}", began.elapsed());
        assert!(order.serials.iter().map(|serial| serial.as_str()).eq(texts.iter().copied()));
        let last = texts.last().expect("many");
        store.commit(&job(vec![verified(2, last)]), || 0).expect("found in memory");
    }
}
