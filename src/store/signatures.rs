//! The signatures of a journal, and what was anchored of it elsewhere, held against its facts as `verify` walks along them.
//!
//! What must hold (`notary`): each checkpoint is where the chain is, signed by a key that is believed, and numbered without a gap;
//! from the announcement of a key on, fewer than a hundred facts at the end are unsigned, of little more than a minute, and none
//! after a clean stop; each
//! note that was anchored elsewhere agrees with the chain and has its row.

use std::collections::{BTreeMap, VecDeque};

use rusqlite::Connection;

use crate::store::error::StoreError;
use crate::store::facts::{self, StoredFact};
use crate::store::notary::FACTS_MAX;
use crate::store::open::{Identity, Store};
use crate::store::reader::Reader;
use crate::store::recover::{rows, signed};
use crate::store::verify::{Flaw, Signatures, Signer, Trust};
use crate::store::words::Words;
use crate::wire::checkpoint::history::{self, Begun, Milestone};
use crate::wire::checkpoint::{Head, KeyRing, Note};
use crate::wire::signed::SignedRecords;

/// Checkpoints read at once.
const PAGE: i64 = 512;
/// Checkpoints at the end that are tried against the trusted keys.
const TRIED_MAX: usize = 1000;

/// Facts are signed within a minute of the oldest; a disk that is slow beyond this ends the process.
const UNSIGNED_MAX_US: u64 = 90_000_000;

/// One row of `checkpoint`, not believed yet.
struct Row {
    seq: i64,
    head: Vec<u8>,
    store_uuid: String,
    key_id: String,
    signature: Vec<u8>,
}

type Found = Result<Option<Flaw>, StoreError>;

/// Goes along the facts, in order from the first.
pub(super) struct Auditor<'a> {
    conn: &'a Connection,
    identity: &'a Identity,
    begun: Vec<Begun>,
    first_key_seq: Option<u64>,
    ring: KeyRing,
    rows: VecDeque<Row>,
    read_through: i64,
    /// Checkpoints passed, and the newest fact that one covers.
    count: u64,
    through: u64,
    /// Notes by their facts, each with the place where it was found.
    notes: BTreeMap<u64, Vec<(&'a str, &'a Note)>>,
    note_count: u64,
    /// The newest fact that a note of this file proves.
    furthest: u64,
    /// Notes about facts that this file does not have in that epoch, or at all; `true` where it is this file's.
    lost: Vec<(&'a str, &'a Note, bool)>,
    /// The newest fact on which a note agreed.
    agreed: u64,
    last: Option<(u64, bool)>,
    /// The oldest fact behind the newest checkpoint that is of the run of the newest fact, and how long after it that one came.
    unsigned_since: Option<(u32, u64)>,
    unsigned_us: u64,
    /// The newest fact that let messages of the feed go.
    expired: u64,
    /// What people signed for.
    signed: SignedRecords,
    found: Signatures,
}

impl<'a> Auditor<'a> {
    pub(super) fn new(
        conn: &'a Connection,
        words: &mut Words,
        identity: &'a Identity,
        trust: &'a Trust,
    ) -> Result<Self, StoreError> {
        let milestones = milestones(conn, words, identity)?;
        let trusted = trust.public_keys.as_ref();
        let forward = history::believed(&milestones, trusted, 0);
        let begun = begun_in(milestones.clone());
        let vouched = match trusted {
            Some(_) => vouched(conn, words, identity, &begun, &forward)?,
            None => 0,
        };
        let mut notes: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        for (place, note) in &trust.anchors {
            notes.entry(note.seq).or_default().push((place.as_str(), note));
        }
        let is_key = |milestone: &&Milestone| matches!(milestone, Milestone::Key { .. });
        let first_key = milestones.iter().find(is_key);
        Ok(Self {
            conn,
            identity,
            first_key_seq: first_key
                .and_then(|key| if let Milestone::Key { seq, .. } = key { Some(*seq) } else { None }),
            ring: history::believed(&milestones, trusted, vouched),
            begun,
            rows: VecDeque::new(),
            read_through: i64::MIN,
            count: 0,
            through: 0,
            furthest: notes.keys().last().copied().unwrap_or(0),
            notes,
            note_count: 0,
            lost: Vec::new(),
            agreed: 0,
            last: None,
            unsigned_since: None,
            unsigned_us: 0,
            expired: 0,
            signed: SignedRecords::default(),
            found: Signatures {
                signer: if trusted.is_some() { Signer::Proven } else { Signer::Unproven },
                ..Signatures::default()
            },
        })
    }

    /// One fact whose place in the chain is proven.
    pub(super) fn pass(&mut self, fact: &StoredFact) -> Found {
        let row = match self.row_at(fact.seq)? {
            Ok(row) => row,
            Err(flaw) => return Ok(Some(flaw)),
        };
        let is_signed = row.is_some();
        if let Some(row) = row
            && let Some(flaw) = self.judge_row(&row, fact)
        {
            return Ok(Some(flaw));
        }
        for (place, note) in self.notes.remove(&fact.seq).unwrap_or_default() {
            if let Some(flaw) = self.judge_note(place, note, Some(fact), is_signed) {
                return Ok(Some(flaw));
            }
        }
        self.time_unsigned(fact);
        if &*fact.kind == "messages_expired" {
            self.expired = fact.seq;
        }
        if let Err(what) = self.signed.see(fact.undecoded()) {
            return Ok(Some(Flaw { seq: Some(fact.seq), what }));
        }
        self.last = Some((fact.seq, &*fact.kind == "line_stopped"));
        Ok(None)
    }

    fn time_unsigned(&mut self, fact: &StoredFact) {
        if self.through == fact.seq {
            (self.unsigned_since, self.unsigned_us) = (None, 0);
            return;
        }
        let of_this_run = self.unsigned_since.filter(|(boot, _)| *boot == fact.boot);
        let since = of_this_run.unwrap_or((fact.boot, fact.mono_us));
        self.unsigned_since = Some(since);
        self.unsigned_us = fact.mono_us.saturating_sub(since.1);
    }

    /// The newest epoch that the facts begin.
    pub(super) fn epoch(&self) -> u32 {
        history::epoch_at(&self.begun, u64::MAX)
    }

    /// After the last fact.
    pub(super) fn end(mut self) -> Result<(Option<Flaw>, Signatures), StoreError> {
        let flaw = self.flaw_at_the_end()?;
        self.found.checkpoints = self.count;
        self.found.through = self.through;
        self.found.anchors = self.note_count;
        if self.count == 0 {
            self.found.signer = Signer::Nobody;
        }
        Ok((flaw, self.found))
    }

    fn flaw_at_the_end(&mut self) -> Found {
        let (head, is_stopped) = self.last.unwrap_or_default();
        if let Some(row) = self.next_row()? {
            let what = format!("a checkpoint of fact {} is there, and the journal ends with fact {head}", row.seq);
            return Ok(Some(Flaw { seq: Some(head.saturating_add(1)), what }));
        }
        let epoch = self.epoch();
        let is_own = |note: &Note| note.store_uuid == self.identity.store_uuid && note.epoch == epoch;
        let beyond = self.notes.values().flatten().filter(|(_, note)| is_own(note));
        let beyond = beyond.map(|(place, note)| format!("{place}: fact {}", note.seq));
        self.found.unanswered = beyond.take(LOSSES_MAX).collect();
        for (place, note) in std::mem::take(&mut self.notes).into_values().flatten() {
            if let Some(flaw) = self.judge_note(place, note, None, true) {
                return Ok(Some(flaw));
            }
        }
        for (place, note, is_own) in std::mem::take(&mut self.lost) {
            if let Some(flaw) = self.judge_lost(place, note, is_own) {
                return Ok(Some(flaw));
            }
        }
        let unsigned = head.saturating_sub(self.through);
        let must_be_signed = self.first_key_seq.is_some();
        if must_be_signed
            && (unsigned >= FACTS_MAX
                || self.count == 0
                || self.unsigned_us > UNSIGNED_MAX_US
                || is_stopped && unsigned > 0)
        {
            let first = self.through.saturating_add(1);
            let what =
                format!("facts {first} to {head} were signed when they were written, and their checkpoints are gone");
            return Ok(Some(Flaw { seq: Some(first), what }));
        }
        if must_be_signed && self.expired > self.through {
            let seq = self.expired;
            let what = format!("fact {seq} lets messages of the feed go, and no signature covers it");
            return Ok(Some(Flaw { seq: Some(seq), what }));
        }
        if self.count == 0 && self.found.signer == Signer::Proven {
            return Ok(Some(Flaw { seq: Some(1), what: "no checkpoint is signed with the key that was given".into() }));
        }
        Ok(None)
    }

    fn judge_row(&mut self, row: &Row, fact: &StoredFact) -> Option<Flaw> {
        let first = self.through.saturating_add(1);
        let seq = fact.seq;
        let wrong = |what: String| Some(Flaw { seq: Some(first), what });
        if row.head != fact.hash {
            return wrong(format!(
                "facts {first} to {seq} are not those that were signed: the checkpoint of fact {seq} has another head"
            ));
        }
        if row.store_uuid != self.identity.store_uuid {
            return wrong(format!("the checkpoint of fact {seq} is another journal's ({})", row.store_uuid));
        }
        let note = note_of(row, fact, self.identity, &self.begun, self.count.saturating_add(1));
        let Some(note) = note else { return wrong(format!("the checkpoint of fact {seq} holds no signature")) };
        if !note.is_signed_by(&self.ring) {
            return wrong(match self.ring.get(&note.key_id) {
                Some(_) => format!(
                    "the signature of the checkpoint of fact {seq} does not hold: it, or a checkpoint before it, was changed, \
                     deleted or put in"
                ),
                None => format!(
                    "the checkpoint of fact {seq} is signed with key {}, which nobody vouches for; name a file that holds it with \
                     --public-key",
                    note.key_id
                ),
            });
        }
        self.count = self.count.saturating_add(1);
        self.through = seq;
        None
    }

    /// `fact` is the one that the note names; none where the journal ends before it.
    fn judge_note(
        &mut self,
        place: &'a str,
        note: &'a Note,
        fact: Option<&StoredFact>,
        is_signed: bool,
    ) -> Option<Flaw> {
        self.note_count = self.note_count.saturating_add(1);
        let (head, first, seq) = (self.last.map_or(0, |(seq, _)| seq), self.agreed.saturating_add(1), note.seq);
        if !note.is_signed_by(&self.ring) {
            let key = &note.key_id;
            let what = match self.ring.get(key) {
                Some(_) => format!("{place}: the signature of the checkpoint of fact {seq} does not hold"),
                None => {
                    format!("{place}: the checkpoint of fact {seq} is signed with key {key}, which nobody vouches for")
                }
            };
            return Some(Flaw { seq: None, what });
        }
        let is_own = note.store_uuid == self.identity.store_uuid && note.line == self.identity.line;
        let epoch = history::epoch_at(&self.begun, seq);
        if !is_own || note.epoch < epoch {
            // Whether a signed fact gave them up is known at the end.
            self.lost.push((place, note, is_own));
            return None;
        }
        if note.epoch > epoch {
            let what = format!(
                "the journal is an older copy: {place} holds fact {seq} of epoch {}, and fact {seq} is of epoch {epoch} here",
                note.epoch
            );
            return Some(Flaw { seq: Some(first), what });
        }
        let Some(fact) = fact else {
            let (from, to) = (head.saturating_add(1), self.furthest);
            self.found.missing = Some((from, to));
            let what = format!(
                "facts {from} to {to} are missing: {place} holds a checkpoint of fact {seq}, and the journal ends with fact {head}"
            );
            return Some(Flaw { seq: Some(from), what });
        };
        if fact.hash != note.head {
            let what = format!(
                "facts {first} to {seq} are not those that were anchored: {place} holds a checkpoint of fact {seq} with another head (fork)"
            );
            return Some(Flaw { seq: Some(first), what });
        }
        self.agreed = seq;
        let what = format!("its checkpoint, which {place} holds, is missing in the journal");
        (!is_signed).then_some(Flaw { seq: Some(seq), what })
    }

    /// A note about facts that were given up: accepted where a fact says so that is signed.
    fn judge_lost(&mut self, place: &str, note: &Note, is_own: bool) -> Option<Flaw> {
        let gave_up = |begun: &&Begun| {
            let is_its_store =
                if is_own { begun.lost_store.is_none() } else { begun.lost_store.as_deref() == Some(&note.store_uuid) };
            is_its_store && begun.epoch > note.epoch && begun.lost_to.is_none_or(|to| note.seq <= to)
        };
        let by = self.begun.iter().find(gave_up);
        let is_covered = |begun: &&Begun| begun.seq <= self.through;
        match by.filter(is_covered) {
            Some(begun) => {
                let text = format!(
                    "{place}: fact {} of epoch {} (journal {}) was given up; fact {} says so",
                    note.seq, note.epoch, note.store_uuid, begun.seq
                );
                if self.found.losses.len() < LOSSES_MAX {
                    self.found.losses.push(text);
                }
                None
            }
            None if is_own => {
                let what =
                    format!("{place} holds fact {} of epoch {}, which no signed fact gave up", note.seq, note.epoch);
                Some(Flaw { seq: Some(self.agreed.saturating_add(1)), what })
            }
            None => {
                let (uuid, own) = (&note.store_uuid, &self.identity.store_uuid);
                let what = format!(
                    "the journal was exchanged: {place} holds fact {} of journal {uuid} of line {}, and this is journal {own}",
                    note.seq, note.line
                );
                Some(Flaw { seq: None, what })
            }
        }
    }

    /// The checkpoint of this fact; an error where one lies between this fact and the one before.
    fn row_at(&mut self, seq: u64) -> Result<Result<Option<Row>, Flaw>, StoreError> {
        let Some(row) = self.next_row()? else { return Ok(Ok(None)) };
        if row.seq > signed(seq) {
            self.rows.push_front(row);
            return Ok(Ok(None));
        }
        if row.seq < signed(seq) {
            let what = format!("a checkpoint of fact {} is there, and there is no such fact", row.seq);
            return Ok(Err(Flaw { seq: None, what }));
        }
        Ok(Ok(Some(row)))
    }

    fn next_row(&mut self) -> Result<Option<Row>, StoreError> {
        if self.rows.is_empty() {
            let sql = "SELECT seq, head_hash, store_uuid, key_id, signature FROM checkpoint \
                       WHERE seq > ?1 ORDER BY seq LIMIT ?2";
            self.rows = rows(self.conn, sql, [self.read_through, PAGE], row_of)?.into();
            if let Some(last) = self.rows.back() {
                self.read_through = last.seq;
            }
        }
        Ok(self.rows.pop_front())
    }
}

/// Losses that a report tells one by one.
const LOSSES_MAX: usize = 100;

fn row_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        seq: row.get(0)?,
        head: row.get(1)?,
        store_uuid: row.get(2)?,
        key_id: row.get(3)?,
        signature: row.get(4)?,
    })
}

/// The note that a row stands for; `None` where its signature is none, or its key id is not as ids are.
fn note_of(row: &Row, fact: &StoredFact, identity: &Identity, begun: &[Begun], number: u64) -> Option<Note> {
    let head = Head {
        line: &identity.line,
        store_uuid: &identity.store_uuid,
        epoch: history::epoch_at(begun, fact.seq),
        seq: fact.seq,
        hash: fact.hash,
        at_us: fact.at_us,
        boot: fact.boot,
    };
    let signature = row.signature.as_slice().try_into().ok()?;
    Some(Note { key_id: row.key_id.clone(), signature, ..head.note(number) })
}

/// Takes over the checkpoints that hold for the facts of `copy`, each with its number: behind one that is lost no other does.
pub(super) fn carry(from: &Connection, copy: &mut Store) -> Result<(), StoreError> {
    let Store { conn, words, identity, .. } = copy;
    let milestones = milestones(conn, words, identity)?;
    let ring = history::believed(&milestones, None, 0);
    let begun = begun_in(milestones);
    let sql = "SELECT seq, head_hash, store_uuid, key_id, signature FROM checkpoint ORDER BY seq";
    let Ok(mut list) = from.prepare(sql) else { return Ok(()) };
    let Ok(found) = list.query_map([], row_of) else { return Ok(()) };
    let mut number = 1;
    for row in found.map_while(Result::ok) {
        let Some(note) = note_at(conn, words, &row, (identity, &begun, number))? else { continue };
        if row.head == note.head && note.is_signed_by(&ring) {
            let Row { seq, head, store_uuid, key_id, signature } = row;
            conn.execute(
                "INSERT INTO checkpoint VALUES (?1, ?2, ?3, ?4, ?5)",
                (seq, head, store_uuid, key_id, signature),
            )
            .map_err(StoreError::sqlite("taking over a checkpoint"))?;
            number += 1;
        }
    }
    Ok(())
}

/// The note that a row stands for, by the fact that it names; `None` where there is no such fact.
fn note_at(
    conn: &Connection,
    words: &mut Words,
    row: &Row,
    (identity, begun, number): (&Identity, &[Begun], u64),
) -> Result<Option<Note>, StoreError> {
    let doing = "reading what was signed";
    let sql = format!("{} WHERE seq = ?1", facts::SELECT);
    let mut find = conn.prepare_cached(&sql).map_err(StoreError::sqlite(doing))?;
    let mut found = find.query([row.seq]).map_err(StoreError::sqlite(doing))?;
    let Some(fact) = found.next().map_err(StoreError::sqlite(doing))? else { return Ok(None) };
    let fact = facts::read(conn, words, fact).ok();
    Ok(fact.and_then(|fact| note_of(row, &fact, identity, begun, number)))
}

impl Reader {
    /// The newest epoch.
    pub fn epoch(&self) -> Result<u32, StoreError> {
        let read = self.conn.query_row("SELECT epoch FROM meta", [], |row| row.get(0));
        read.map_err(StoreError::sqlite("reading the epoch"))
    }

    /// Where each epoch but the first began. Looks at every fact; few lines ever have a second epoch.
    pub fn epochs(&mut self) -> Result<Vec<Begun>, StoreError> {
        let milestones = milestones(&self.conn, &mut self.words, &self.identity)?;
        Ok(begun_in(milestones))
    }
}

/// What the facts say of keys and epochs. They are proven by the walk that follows.
fn milestones(conn: &Connection, words: &mut Words, identity: &Identity) -> Result<Vec<Milestone>, StoreError> {
    let doing = "reading keys and epochs";
    let sql = format!("{} WHERE kind IN (SELECT word FROM word WHERE text IN (?1, ?2)) ORDER BY seq", facts::SELECT);
    let mut list = conn.prepare(&sql).map_err(StoreError::sqlite(doing))?;
    let mut found = list.query(history::KINDS).map_err(StoreError::sqlite(doing))?;
    let mut milestones = Vec::new();
    while let Some(row) = found.next().map_err(StoreError::sqlite(doing))? {
        // One that cannot be read is the walk's to find.
        let Ok(fact) = facts::read(conn, words, row) else { continue };
        milestones.extend(history::read(&identity.line, fact.undecoded()));
    }
    Ok(milestones)
}

/// The newest fact that a checkpoint of these keys covers, for a start: only a line of a later epoch looks at every fact for where its
/// epochs began.
pub(super) fn covered(
    conn: &Connection,
    words: &mut Words,
    identity: &Identity,
    ring: &KeyRing,
) -> Result<u64, StoreError> {
    let milestones = if identity.epoch == 1 { Vec::new() } else { milestones(conn, words, identity)? };
    vouched(conn, words, identity, &begun_in(milestones), ring)
}

fn begun_in(milestones: Vec<Milestone>) -> Vec<Begun> {
    let begun = |milestone| if let Milestone::Epoch(begun) = milestone { Some(begun) } else { None };
    milestones.into_iter().filter_map(begun).collect()
}

/// The newest fact that a checkpoint of a trusted key covers; 0 where there is none.
fn vouched(
    conn: &Connection,
    words: &mut Words,
    identity: &Identity,
    begun: &[Begun],
    ring: &KeyRing,
) -> Result<u64, StoreError> {
    let doing = "reading the checkpoints";
    let count: i64 =
        conn.query_row("SELECT count(*) FROM checkpoint", [], |row| row.get(0)).map_err(StoreError::sqlite(doing))?;
    let sql = "SELECT seq, head_hash, store_uuid, key_id, signature FROM checkpoint ORDER BY seq DESC LIMIT ?1";
    let newest = rows(conn, sql, [signed(u64::try_from(TRIED_MAX).unwrap_or(u64::MAX))], row_of)?;
    for (row, number) in newest.iter().zip((1..=u64::try_from(count).unwrap_or(0)).rev()) {
        let note = note_at(conn, words, row, (identity, begun, number))?;
        if note.is_some_and(|note| row.head == note.head && note.is_signed_by(ring)) {
            return Ok(u64::try_from(row.seq).unwrap_or(0));
        }
    }
    Ok(0)
}
