//! One suite for both journals: what holds for the file holds in memory.

use std::collections::BTreeMap;

use crate::store::commit::{self, Job};
use crate::store::journal::{Durable, Journal, Work};
use crate::store::memory::{Child, MemoryJournal};
use crate::store::open::{Settings, Store, open};
use crate::store::samples::*;
use crate::store::{Reader, StoreError};
use crate::wire::record::{Change, PersonChange, Record};

/// What both journals can be asked.
trait Subject {
    fn commit(&mut self, job: Job) -> Result<Durable, StoreError>;
    fn kinds(&mut self) -> Vec<(u64, String)>;
    fn messages(&mut self, stream: &'static str) -> Vec<(u64, Vec<u8>)>;
    fn cursor(&mut self, stream: &'static str) -> u64;
    fn unit(&mut self, serial: &str) -> Option<(String, bool)>;
    fn parent(&mut self, serial: &str) -> Option<String>;
}

struct OnDisk {
    store: Store,
    _directory: tempfile::TempDir,
}

impl OnDisk {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = open(&Settings::new(directory.path().join("line.db"), "site/l1")).expect("opens");
        Self { store, _directory: directory }
    }

    fn reader(&self) -> Reader {
        Reader::open(self.store.path()).expect("reads beside the writer")
    }
}

impl Subject for OnDisk {
    fn commit(&mut self, job: Job) -> Result<Durable, StoreError> {
        self.store.commit(&job, || 0)
    }

    fn kinds(&mut self) -> Vec<(u64, String)> {
        let facts = self.reader().facts_from(1, 1000).expect("facts");
        facts.into_iter().map(|fact| (fact.seq, fact.kind.to_string())).collect()
    }

    fn messages(&mut self, stream: &'static str) -> Vec<(u64, Vec<u8>)> {
        let messages = self.reader().messages_from(stream, 0, 1000).expect("messages");
        messages.into_iter().map(|message| (message.seq, message.body)).collect()
    }

    fn cursor(&mut self, stream: &'static str) -> u64 {
        self.reader().feed_cursor(stream).expect("a cursor")
    }

    fn unit(&mut self, serial: &str) -> Option<(String, bool)> {
        let sql = "SELECT state, verified FROM v_unit WHERE serial = ?1";
        self.store.conn.query_row(sql, [serial], |row| Ok((row.get(0)?, row.get(1)?))).ok()
    }

    fn parent(&mut self, serial: &str) -> Option<String> {
        let sql = "SELECT parent FROM v_member JOIN v_unit ON unit = child WHERE serial = ?1 AND to_seq IS NULL";
        self.store.conn.query_row(sql, [serial], |row| row.get(0)).ok()
    }
}

impl Subject for MemoryJournal {
    fn commit(&mut self, job: Job) -> Result<Durable, StoreError> {
        self.submit(job.records, job.work).expect("free");
        self.take_durable().expect("an outcome")
    }

    fn kinds(&mut self) -> Vec<(u64, String)> {
        self.facts().map(|fact| (fact.seq, fact.kind.to_owned())).collect()
    }

    fn messages(&mut self, stream: &'static str) -> Vec<(u64, Vec<u8>)> {
        let of_stream = self.kept().messages.iter().filter(|(_, _, message)| message.stream == stream);
        of_stream.map(|(seq, _, message)| (*seq, message.body.clone())).collect()
    }

    fn cursor(&mut self, stream: &'static str) -> u64 {
        self.kept().acked.get(stream).copied().unwrap_or(0)
    }

    fn unit(&mut self, serial: &str) -> Option<(String, bool)> {
        let unit = self.kept().units.get(&("B1".to_owned(), serial.to_owned()));
        unit.map(|(state, verified)| ((*state).to_owned(), *verified))
    }

    fn parent(&mut self, serial: &str) -> Option<String> {
        self.kept().parents.get(&Child::Unit(("B1".to_owned(), serial.to_owned()))).cloned()
    }
}

fn both(test: impl Fn(&mut dyn Subject)) {
    test(&mut OnDisk::new());
    test(&mut MemoryJournal::default());
}

fn refused(outcome: Result<Durable, StoreError>) -> (u64, String) {
    match outcome {
        Err(StoreError::Refused { seq, what }) => (seq, what),
        Err(other) => panic!("another error: {other}"),
        Ok(durable) => panic!("it was taken: {durable:?}"),
    }
}

#[test]
fn proves_what_it_took_and_counts_each_stream_without_gaps() {
    both(|journal| {
        let mut records = story();
        let later = records.split_off(9);
        let durable = journal.commit(job(records)).expect("taken");
        assert_eq!((durable.through(), durable.streams()), (9, &BTreeMap::from([("epcis", 1)])));
        let durable = journal.commit(job(later)).expect("taken");
        assert_eq!((durable.through(), durable.streams()), (21, &BTreeMap::from([("epcis", 3)])));
        let numbers: Vec<u64> = journal.messages("epcis").iter().map(|(seq, _)| *seq).collect();
        assert_eq!(numbers, [1, 2, 3]);
        assert_eq!(journal.kinds().len(), 21);
        assert_eq!(journal.unit("Z9"), Some(("commissioned".into(), true)));
        assert_eq!(journal.unit("A1"), Some(("label_scrapped".into(), false)));
        assert_eq!(journal.unit("M5"), Some(("unallocated".into(), false)));
        assert_eq!(journal.parent("Z9").as_deref(), Some(CASE));
    });
}

#[test]
fn a_refused_group_leaves_nothing_behind_and_the_next_is_taken() {
    both(|journal| {
        journal.commit(job(story())).expect("taken");
        let before = (journal.kinds(), journal.messages("epcis"));
        let broken = vec![
            with_message(record(22, "word_that_was_never_used", vec![serial_state("M5", "allocated")]), "epcis", "{}"),
            loaded(23, "B2", &["NEW", "Z9"]),
        ];
        let (seq, what) = refused(journal.commit(job(broken)));
        assert_eq!(seq, 23);
        assert!(what.contains("Z9 was used before"), "{what}");
        assert_eq!((journal.kinds(), journal.messages("epcis")), before);
        assert_eq!(journal.unit("M5"), Some(("unallocated".into(), false)));
        assert_eq!(journal.unit("NEW"), None);
        let next = with_message(record(22, "word_that_was_never_used", vec![]), "epcis", "{}");
        assert_eq!(journal.commit(job(vec![next])).expect("taken").streams().get("epcis"), Some(&4));
        assert_eq!(journal.kinds().last().map(|(_, kind)| kind.as_str()), Some("word_that_was_never_used"));
    });
}

#[test]
fn refuses_gaps_repeats_and_what_breaks_a_rule() {
    let cases: Vec<(Record, &str)> = vec![
        (record(23, "gap", vec![]), "follows fact 21"),
        (record(21, "repeat", vec![]), "follows fact 21"),
        (loaded(22, "B1", &["N1"]), ""),
        (packed(22, CASE, &["Z9"]), "a child has a parent already"),
        (packed(22, CASE, &["NONE"]), "serial NONE is not in batch B1"),
        (packed(22, "000000000000000000", &["M5"]), "container 000000000000000000 is unknown"),
        (container(22, CASE), ""),
        (granted(22, CASE, 41), ""),
        (record(22, "alarm", vec![Change::AlarmAcknowledged { alarm: 1 }]), "alarm"),
        (record(22, "reject", vec![Change::RejectConfirmed { inspection: 7 }]), "reject"),
        (record(22, "reject", vec![Change::InspectionTracked { inspection: 8, track: 1 }]), "inspection"),
        (record(22, "reject", vec![Change::RejectCommanded { inspection: 11 }]), "reject"),
        (
            record(
                22,
                "range",
                vec![Change::SerialRange {
                    batch: "B1".into(),
                    first_index: 3,
                    count: 2,
                    before: "unallocated",
                    state: "allocated",
                }],
            ),
            "",
        ),
        (record(22, "batch", vec![Change::BatchState { batch: "B9".into(), state: "running" }]), "B9"),
    ];
    both(|journal| {
        journal.commit(job(story())).expect("taken");
        for (record, expected) in &cases {
            let (seq, what) = refused(journal.commit(job(vec![record.clone()])));
            assert_eq!(seq, record.row.seq);
            assert!(what.contains(expected), "{}: {what}", record.row.kind);
        }
        assert_eq!(journal.kinds().len(), 21);
    });
}

#[test]
fn cursors_never_fall_and_only_acknowledged_messages_expire() {
    both(|journal| {
        journal.commit(job(story())).expect("taken");
        let work = |work| Job { records: vec![], work };
        let acked = |through| Work::FeedAcked { through };
        journal.commit(work(vec![acked(10), acked(8)])).expect("taken");
        assert_eq!(journal.cursor("epcis"), 2);
        let left =
            |journal: &mut dyn Subject| journal.messages("epcis").iter().map(|(seq, _)| *seq).collect::<Vec<_>>();
        let (_, what) = refused(journal.commit(job(vec![expired(22, gone(3, &[]))])));
        assert!(what.contains("not acknowledged"), "{what}");
        assert_eq!(left(journal), [1, 2, 3]);
        journal.commit(job(vec![expired(22, gone(2, &[1]))])).expect("taken");
        assert_eq!(left(journal), [1, 3]);
        journal.commit(job(vec![expired(23, gone(2, &[]))])).expect("taken");
        assert_eq!(left(journal), [3]);
        let next = with_message(record(24, "noted", vec![]), "epcis", "{}");
        let durable = journal.commit(job(vec![next])).expect("taken");
        assert_eq!(durable.streams().get("epcis"), Some(&4));
    });
}

#[test]
fn members_that_left_may_be_packed_again() {
    both(|journal| {
        journal.commit(job(story())).expect("taken");
        let removed = record(22, "unpacked", vec![Change::MembersRemoved { parent: CASE.into() }]);
        journal.commit(job(vec![removed])).expect("taken");
        assert_eq!(journal.parent("Z9"), None);
        journal.commit(job(vec![packed(23, CASE, &["Z9"])])).expect("taken");
        assert_eq!(journal.parent("Z9").as_deref(), Some(CASE));
    });
}

#[test]
fn a_container_that_was_opened_again_is_packed_anew() {
    both(|journal| {
        let mut records = story();
        records.truncate(18);
        journal.commit(job(records)).expect("taken");
        let state = |state| Change::ContainerState { container: CASE.into(), state };
        let failed = record(19, "close_failed", vec![Change::MembersRemoved { parent: CASE.into() }, state("open")]);
        journal.commit(job(vec![failed, container(20, CASE), packed(21, CASE, &["Z9"])])).expect("taken");
        assert_eq!(journal.parent("Z9").as_deref(), Some(CASE));
        journal.commit(job(vec![record(22, "closed", vec![state("closed")])])).expect("taken");
        refused(journal.commit(job(vec![container(23, CASE)])));
    });
}

#[test]
fn a_person_is_added_once_and_changed_only_where_there_is_one() {
    let person =
        |seq, user: &str, change| record(seq, "person", vec![Change::Person { user: user.to_owned(), change }]);
    let added = || PersonChange::Added { full_name: "P".to_owned(), roles: "operator".to_owned() };
    both(|journal| {
        journal.commit(job(story())).expect("taken");
        let disabled = PersonChange::Set { roles: "operator".to_owned(), is_enabled: false };
        journal.commit(job(vec![person(22, "paul", added()), person(23, "paul", disabled)])).expect("taken");
        let (_, what) = refused(journal.commit(job(vec![person(24, "paul", added())])));
        assert!(what.contains("there already"), "{what}");
        for change in [PersonChange::Locked, PersonChange::Unlocked, PersonChange::Credential { must_change: true }] {
            refused(journal.commit(job(vec![person(24, "rosa", change)])));
        }
        journal.commit(job(vec![person(24, "paul", PersonChange::Failures { failures: 2 })])).expect("taken");
    });
}

#[test]
fn an_empty_group_is_durable_too() {
    both(|journal| assert_eq!(journal.commit(Job::default()).expect("taken").through(), 0));
}

#[test]
fn one_group_waits_while_another_is_committed() {
    let (mut journal, jobs) = commit::channel();
    assert!(journal.submit(vec![record(1, "a", vec![])], vec![]).is_ok());
    let busy = journal.submit(vec![record(2, "b", vec![])], vec![]).expect_err("no room for a second");
    assert_eq!(busy.records.first().map(|record| record.row.seq), Some(2));
    assert_eq!(jobs.len(), 1);
}
