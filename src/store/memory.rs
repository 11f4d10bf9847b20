//! The journal in memory: for the simulator and for tests. It keeps the rules that the tables keep, as sets and maps
//! written apart from them, and passes the same conformance suite. Nothing survives it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::store::error::StoreError;
use crate::store::journal::{Busy, Durable, Journal, SKIPPED, Work};
use crate::wire::chain;
use crate::wire::record::{Change, FactRow, Gone, InspectionRow, Message, Order, PersonChange, Record};

/// A unit by batch and serial.
type Unit = (String, String);

#[derive(Debug, Default)]
pub struct MemoryJournal {
    kept: Kept,
    /// Every group that was committed, as it came.
    log: Vec<(Vec<Record>, Vec<Work>)>,
    head: [u8; 32],
    waiting: VecDeque<Result<Durable, StoreError>>,
}

/// What follows from the groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The newest fact.
    pub through: u64,
    /// 0 while it is the first one.
    pub epoch: u32,
    /// Number in its stream, the fact that caused it, and the message.
    pub messages: Vec<(u64, u64, Message)>,
    pub acked: BTreeMap<&'static str, u64>,
    /// With their causes.
    pub excepted: BTreeMap<(&'static str, u64), String>,
    /// The consumer's watermark.
    pub confirmed: Option<u64>,
    /// State and whether it was verified.
    pub units: BTreeMap<Unit, (&'static str, bool)>,
    pub batches: BTreeMap<String, &'static str>,
    pub containers: BTreeMap<String, &'static str>,
    /// Present parent of a unit or container.
    pub parents: BTreeMap<Child, String>,
    pub permits: BTreeMap<u32, &'static str>,
    pub inspections: BTreeMap<u64, &'static str>,
    pub rejects: BTreeSet<u64>,
    /// Unacknowledged.
    pub alarms: BTreeSet<u32>,
    pub people: BTreeSet<String>,
    /// Serials by batch and place in the order of printing.
    places: BTreeMap<(String, usize), String>,
    used: BTreeSet<(String, String)>,
    alarms_ever: BTreeSet<u32>,
    streams: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Child {
    Unit(Unit),
    Container(String),
}

type Outcome = Result<(), String>;

impl Journal for MemoryJournal {
    /// Durable at once; the proof waits in [`MemoryJournal::take_durable`]. Busy while one waits there.
    fn submit(&mut self, records: Vec<Record>, work: Vec<Work>) -> Result<(), Busy> {
        if !self.waiting.is_empty() {
            return Err(Busy { records, work });
        }
        let outcome = self.commit(records, work);
        self.waiting.push_back(outcome);
        Ok(())
    }
}

impl MemoryJournal {
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The outcome of the group that was submitted, once.
    pub fn take_durable(&mut self) -> Option<Result<Durable, StoreError>> {
        self.waiting.pop_front()
    }

    pub fn head(&self) -> [u8; 32] {
        self.head
    }

    /// Another journal that holds the same, as a copy of the file would.
    pub fn copy(&self) -> Self {
        Self { kept: self.kept.clone(), log: self.log.clone(), head: self.head, waiting: VecDeque::new() }
    }

    /// What a start finds here, as `Store::durable` says it of the file.
    pub fn durable(&self) -> Durable {
        Durable::new(self.kept.through, self.kept.streams.clone(), 0)
    }

    /// The groups that were committed after the first `known`, as they came.
    pub fn groups_after(&self, known: usize) -> &[(Vec<Record>, Vec<Work>)] {
        self.log.get(known..).unwrap_or_default()
    }

    /// Every fact, oldest first.
    pub fn facts(&self) -> impl Iterator<Item = &FactRow> {
        self.log.iter().flat_map(|(records, _)| records).map(|record| &record.row)
    }

    fn commit(&mut self, records: Vec<Record>, work: Vec<Work>) -> Result<Durable, StoreError> {
        let mut touched = BTreeMap::new();
        if let Err(refused) = self.kept.take_all(&records, &work, &mut touched) {
            // A refused group leaves nothing behind: what was before is folded again.
            self.kept = self.folded();
            return Err(refused);
        }
        self.head = records.iter().fold(self.head, |head, record| chain::hash(&head, &record.row));
        self.log.push((records, work));
        Ok(Durable::new(self.kept.through, touched, 0))
    }

    fn folded(&self) -> Kept {
        let mut kept = Kept::default();
        for (records, work) in &self.log {
            kept.take_all(records, work, &mut BTreeMap::new()).expect("it was taken before");
        }
        kept
    }
}

impl Kept {
    fn take_all(
        &mut self,
        records: &[Record],
        work: &[Work],
        touched: &mut BTreeMap<&'static str, u64>,
    ) -> Result<(), StoreError> {
        for record in records {
            let seq = record.row.seq;
            self.take(record, touched).map_err(|what| StoreError::Refused { seq, what })?;
        }
        for work in work {
            self.note(work);
        }
        Ok(())
    }

    fn take(&mut self, record: &Record, touched: &mut BTreeMap<&'static str, u64>) -> Outcome {
        let seq = record.row.seq;
        if seq != self.through + 1 {
            return Err(format!("it follows fact {}", self.through));
        }
        self.through = seq;
        for change in &record.changes {
            self.apply(seq, change)?;
        }
        for message in &record.messages {
            let number = self.streams.entry(message.stream).or_default();
            *number += 1;
            touched.insert(message.stream, *number);
            self.messages.push((*number, seq, message.clone()));
        }
        Ok(())
    }

    fn note(&mut self, work: &Work) {
        match work {
            Work::FeedAcked { through } => {
                let taken = self.messages.iter().filter(|(_, fact, _)| fact <= through);
                for (number, _, message) in taken {
                    let acked = self.acked.entry(message.stream).or_default();
                    *acked = (*acked).max(*number);
                }
                let acked = self.acked.entry("fact").or_default();
                *acked = (*acked).max(*through);
            }
            Work::FeedExcepted { stream, seq, cause } => {
                self.excepted.insert((stream, *seq), cause.clone());
            }
            Work::FeedCleared { stream, seq } => drop(self.excepted.remove(&(*stream, *seq))),
            Work::FeedConfirmed { through } => self.confirmed = Some(*through),
            // Nothing is signed in memory.
            Work::Checkpoint => {}
        }
    }

    fn apply(&mut self, seq: u64, change: &Change) -> Outcome {
        match change {
            Change::BatchInserted { order, epc_prefix: _ } => self.insert_batch(order),
            Change::BatchState { batch, state } => replace(&mut self.batches, batch, state, "batch"),
            Change::SerialRange { batch, first_index, count, before, state } => {
                self.set_range(batch, (*first_index, *count), before, state)
            }
            Change::SerialsUsed { gtin, serials } => {
                self.used.extend(serials.iter().map(|serial| (gtin.clone(), serial.clone())));
                Ok(())
            }
            Change::SerialVerified { batch, serial } => self.unit(batch, serial).map(|unit| unit.1 = true),
            Change::SerialState { batch, serial, state } => self.unit(batch, serial).map(|unit| unit.0 = state),
            Change::Inspection(row) => self.insert_inspection(seq, row),
            Change::InspectionFailed { inspection } => replace(&mut self.inspections, inspection, "fail", "inspection"),
            Change::InspectionTracked { inspection, track: _ } => match self.inspections.contains_key(inspection) {
                true => Ok(()),
                false => Err(format!("no inspection {inspection}")),
            },
            Change::RejectCommanded { inspection } => match self.rejects.insert(*inspection) {
                true => Ok(()),
                false => Err(format!("a second reject of inspection {inspection}")),
            },
            Change::RejectConfirmed { inspection } | Change::RejectAlarmed { inspection } => {
                match self.rejects.contains(inspection) {
                    true => Ok(()),
                    false => Err(format!("no reject of inspection {inspection}")),
                }
            }
            Change::ContainerInserted { container, level: _, batch: _, capacity: _ } => {
                match self.containers.insert(container.clone(), "open") {
                    // Opened again, it is packed anew under its own identifier.
                    None | Some("open") => Ok(()),
                    Some(_) => Err(format!("container {container} was used before")),
                }
            }
            Change::ContainerState { container, state } => replace(&mut self.containers, container, state, "container"),
            Change::MembersAdded { parent, batch, units, containers } => {
                self.add_members(parent, batch, units, containers)
            }
            Change::MembersRemoved { parent } => {
                self.parents.retain(|_, of| of != parent);
                Ok(())
            }
            Change::PermitInserted(row) => match self.permits.insert(row.token, "granted") {
                None => Ok(()),
                Some(_) => Err(format!("token {} was used before", row.token)),
            },
            Change::PermitState { token, state } => replace(&mut self.permits, token, state, "permit"),
            Change::AlarmInserted { alarm, kind: _, station: _, detail: _ } => {
                let is_new = self.alarms.insert(*alarm) & self.alarms_ever.insert(*alarm);
                is_new.then_some(()).ok_or_else(|| format!("alarm {alarm} was raised before"))
            }
            Change::AlarmAcknowledged { alarm } => match self.alarms.remove(alarm) {
                true => Ok(()),
                false => Err(format!("alarm {alarm} is not open")),
            },
            Change::StationCursor { station: _, device_epoch: _, epoch: _ } => Ok(()),
            Change::MessagesExpired(gone) => self.let_go(gone),
            Change::Signature(_) | Change::Newest { kind: _ } | Change::PasswordsVoid => Ok(()),
            Change::Person { user, change } => self.change_person(user, change),
            Change::EpochRaised { epoch } => {
                let is_later = *epoch > self.epoch.max(1);
                self.epoch = self.epoch.max(*epoch);
                is_later.then_some(()).ok_or_else(|| format!("epoch {epoch} is not later than the one before"))
            }
        }
    }

    fn change_person(&mut self, user: &str, change: &PersonChange) -> Outcome {
        let is_there = self.people.contains(user);
        match (change, is_there) {
            (PersonChange::Added { .. }, true) => Err(format!("a person of this name is there already: {user}")),
            (PersonChange::Added { .. }, false) => {
                self.people.insert(user.to_owned());
                Ok(())
            }
            (_, true) => Ok(()),
            (_, false) => Err(format!("person {user} is unknown")),
        }
    }

    fn insert_inspection(&mut self, seq: u64, row: &InspectionRow) -> Outcome {
        if row.batch.as_ref().is_some_and(|batch| !self.batches.contains_key(batch)) {
            return Err("an inspection of an unknown batch".into());
        }
        self.inspections.insert(seq, row.verdict);
        Ok(())
    }

    fn let_go(&mut self, gone: &Gone) -> Outcome {
        let goes = |(number, _, message): &&(u64, u64, Message)| gone.lets_go(message.stream, *number);
        let is_taken = |stream, number| self.acked.get(stream).is_some_and(|acked| number <= *acked);
        if self.messages.iter().filter(goes).any(|(number, _, message)| !is_taken(message.stream, *number)) {
            return Err("a message that was not acknowledged is never deleted".into());
        }
        self.messages.retain(|message| !goes(&message));
        Ok(())
    }

    /// What may go of the facts up to `through_fact`, as `Reader::expirable` says it of the file.
    pub fn expirable(&self, through_fact: u64) -> Option<Gone> {
        let waits =
            |stream, number: u64| self.excepted.get(&(stream, number)).is_some_and(|cause| !cause.starts_with(SKIPPED));
        let (mut gone, mut goes) = (Gone::default(), false);
        for (number, fact, message) in &self.messages {
            let is_taken = self.acked.get(message.stream).is_some_and(|acked| number <= acked);
            if !is_taken || *fact > through_fact {
                continue;
            }
            if waits(message.stream, *number) {
                gone.keep(message.stream, *number);
            } else {
                gone.raise(message.stream, *number);
                goes = true;
            }
        }
        gone.trim();
        goes.then_some(gone)
    }

    fn insert_batch(&mut self, order: &Order) -> Outcome {
        let batch = order.sheet.batch.as_str().to_owned();
        let gtin = order.sheet.gtin.as_str().to_owned();
        for serial in &order.serials {
            let serial = serial.as_str().to_owned();
            if !self.used.insert((gtin.clone(), serial.clone())) {
                return Err(format!("serial {serial} was used before"));
            }
            self.units.insert((batch.clone(), serial), ("unallocated", false));
        }
        for (place, serial) in order.serials.iter().enumerate() {
            self.places.insert((batch.clone(), place), serial.as_str().to_owned());
        }
        match self.batches.insert(batch.clone(), "loaded") {
            None => Ok(()),
            Some(_) => Err(format!("batch {batch} was loaded before")),
        }
    }

    fn set_range(&mut self, batch: &str, (first, count): (u32, u32), before: &str, state: &'static str) -> Outcome {
        for place in first..first.saturating_add(count) {
            let at = usize::try_from(place).ok().map(|place| (batch.to_owned(), place));
            let serial = at.and_then(|at| self.places.get(&at)).cloned();
            let serial = serial.ok_or_else(|| format!("place {place} is not in batch {batch}"))?;
            let unit = self.unit(batch, &serial)?;
            if unit.0 == before {
                unit.0 = state;
            }
        }
        Ok(())
    }

    fn add_members(&mut self, parent: &str, batch: &str, units: &[String], containers: &[String]) -> Outcome {
        self.container(parent)?;
        for serial in units {
            self.unit(batch, serial)?;
            self.add_member(parent, Child::Unit((batch.to_owned(), serial.clone())))?;
        }
        for container in containers {
            self.container(container)?;
            self.add_member(parent, Child::Container(container.clone()))?;
        }
        Ok(())
    }

    fn add_member(&mut self, parent: &str, child: Child) -> Outcome {
        match self.parents.insert(child, parent.to_owned()) {
            None => Ok(()),
            Some(other) => Err(format!("a child has a parent already: {other}")),
        }
    }

    fn container(&self, container: &str) -> Outcome {
        match self.containers.contains_key(container) {
            true => Ok(()),
            false => Err(format!("container {container} is unknown")),
        }
    }

    fn unit(&mut self, batch: &str, serial: &str) -> Result<&mut (&'static str, bool), String> {
        let unit = self.units.get_mut(&(batch.to_owned(), serial.to_owned()));
        unit.ok_or_else(|| format!("serial {serial} is not in batch {batch}"))
    }
}

fn replace<K: Ord + std::fmt::Debug>(
    map: &mut BTreeMap<K, &'static str>,
    key: &K,
    state: &'static str,
    what: &str,
) -> Outcome {
    match map.get_mut(key) {
        Some(old) => {
            *old = state;
            Ok(())
        }
        None => Err(format!("{what} {key:?} is unknown")),
    }
}
