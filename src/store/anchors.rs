//! A journal against checkpoints that were kept elsewhere: the side file at a start, the broker's retained one, an auditor's.
//!
//! Each note is a claim: this line's journal once reached that fact with that head. The journal agrees, or it is behind, beside,
//! exchanged, or older than a restore. At a start a claim is taken without its signature, since it can only hold the line; the
//! newest must be signed by a known key.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use crate::store::error::StoreError;
use crate::store::messages;
use crate::store::open::{Identity, Store};
use crate::store::reader::Reader;
use crate::store::recover::rows;
use crate::store::side::Tail;
use crate::store::signatures;
use crate::wire::checkpoint::{KeyRing, Note};

/// What a journal says to one note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It has that fact with that hash.
    Agrees,
    /// It ends before that fact.
    Behind,
    /// It has another fact of that number.
    Differs,
    /// The note is about another file of this line, or about another line.
    OtherStore,
    /// The note is from an epoch that this file never began.
    Later,
    /// The note is from an epoch that ended: what it covers may have been given up when the next began.
    Earlier,
}

/// What a start found in the checkpoints kept beside the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookBack {
    /// For people, each with the facts that it is about.
    pub doubts: Vec<String>,
    /// Numbers that were given out before and must not be given out again in the same epoch.
    pub lost: Option<Lost>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The highest epoch known.
    pub epoch: u32,
    /// Where another file held them.
    pub store_uuid: Option<String>,
    pub from: u64,
    pub to: u64,
}

pub(super) fn judge(conn: &Connection, identity: &Identity, head: u64, note: &Note) -> Result<Finding, StoreError> {
    if note.line != identity.line || note.store_uuid != identity.store_uuid {
        return Ok(Finding::OtherStore);
    }
    if note.epoch != identity.epoch {
        return Ok(if note.epoch > identity.epoch { Finding::Later } else { Finding::Earlier });
    }
    if note.seq > head {
        return Ok(Finding::Behind);
    }
    Ok(if hash_at(conn, note.seq)? == Some(note.head) { Finding::Agrees } else { Finding::Differs })
}

fn hash_at(conn: &Connection, seq: u64) -> Result<Option<[u8; 32]>, StoreError> {
    let seq = i64::try_from(seq).unwrap_or(i64::MAX);
    conn.prepare_cached("SELECT hash FROM fact WHERE seq = ?1")
        .and_then(|mut find| find.query_row([seq], |row| row.get(0)).optional())
        .map_err(StoreError::sqlite("comparing with a checkpoint"))
}

/// What is wrong, in one sentence; empty where nothing is.
pub(super) fn sentence(finding: Finding, note: &Note, identity: &Identity, head: u64, place: &str) -> String {
    let Note { line, store_uuid, epoch, seq, .. } = note;
    match finding {
        Finding::Agrees | Finding::Earlier => String::new(),
        Finding::Behind => format!(
            "facts {} to {seq} are missing: {place} holds a checkpoint of fact {seq}, and the journal ends with fact {head}",
            head.saturating_add(1)
        ),
        Finding::Differs => {
            format!("fact {seq} is not the one that was signed: {place} holds a checkpoint with another head")
        }
        Finding::OtherStore => format!(
            "the journal was exchanged: {place} holds fact {seq} of journal {store_uuid} of line {line}, and this is journal {} \
             with {head} facts",
            identity.store_uuid
        ),
        Finding::Later => format!(
            "the journal is an older copy: {place} holds fact {seq} of epoch {epoch}, and this one is in epoch {}",
            identity.epoch
        ),
    }
}

impl Store {
    /// Compares the journal with its side file at `path`, which ends with `tail`.
    pub fn look_back(&mut self, path: &Path, tail: &Tail, keys: &KeyRing) -> Result<LookBack, StoreError> {
        let place = path.display().to_string();
        let head = self.head.0;
        let mut look = LookBack::default();
        look.doubts.extend(self.unsigned_expiry(keys)?);
        let Some(newest) = tail.notes.last() else {
            look.doubts.extend(self.lost_side_file(&place)?);
            return Ok(look);
        };
        if !newest.is_signed_by(keys) {
            let text = format!(
                "the newest checkpoint in {place} is not signed with a key of this line (key {})",
                newest.key_id
            );
            look.doubts.push(text);
        }
        look.doubts.extend(self.unfounded_epoch(newest)?);
        let mut agreed = 0;
        let mut first: Option<Finding> = None;
        for note in &tail.notes {
            let finding = judge(&self.conn, &self.identity, head, note)?;
            let is_doubt = match finding {
                Finding::Agrees => {
                    agreed = agreed.max(note.seq);
                    false
                }
                // Only the newest file of this line matters; one that was given up before was told of then.
                Finding::OtherStore => note.store_uuid == newest.store_uuid,
                Finding::Behind | Finding::Differs | Finding::Later => true,
                Finding::Earlier => false,
            };
            if is_doubt {
                first.get_or_insert(finding);
                look.lose(note, finding, agreed.min(head));
            }
        }
        // The newest note says the most of each kind of doubt; the first one that differs says where it began.
        let told = first.and_then(|finding| self.telling(tail, finding));
        if let Some((finding, note)) = told {
            look.doubts.push(sentence(finding, note, &self.identity, head, &place));
        }
        Ok(look)
    }

    fn telling<'t>(&self, tail: &'t Tail, kind: Finding) -> Option<(Finding, &'t Note)> {
        let same = |note: &&Note| judge(&self.conn, &self.identity, self.head.0, note).is_ok_and(|found| found == kind);
        let note = match kind {
            Finding::Differs => tail.notes.iter().find(same),
            Finding::Agrees | Finding::Behind | Finding::OtherStore | Finding::Later | Finding::Earlier => {
                tail.notes.iter().rfind(same)
            }
        };
        note.map(|note| (kind, note))
    }

    /// A side file belongs to every journal that has signed anything.
    fn lost_side_file(&self, place: &str) -> Result<Option<String>, StoreError> {
        let newest: Vec<i64> =
            rows(&self.conn, "SELECT seq FROM checkpoint ORDER BY seq DESC LIMIT 1", [], |row| row.get(0))?;
        Ok(newest.first().map(|seq| {
            format!(
                "{place} is missing or empty although this journal signed fact {seq}: whether its newest facts were cut off cannot \
                 be seen here; compare it with the checkpoint at the broker"
            )
        }))
    }

    /// That messages go is signed in the transaction in which they go: a fact that says so behind the newest signature was put there.
    fn unsigned_expiry(&mut self, keys: &KeyRing) -> Result<Option<String>, StoreError> {
        let Some((seq, _)) = messages::newest(&self.conn, &mut self.words)? else { return Ok(None) };
        let covered = signatures::covered(&self.conn, &mut self.words, &self.identity, keys)?;
        let text = format!("fact {seq} lets messages of the feed go, and no signature of this line covers it");
        Ok((covered < seq).then_some(text))
    }

    /// An epoch is begun by a fact; one that was only written into the table would silence every earlier note.
    fn unfounded_epoch(&mut self, newest: &Note) -> Result<Option<String>, StoreError> {
        let epoch = self.identity.epoch;
        if epoch == 1 || (newest.epoch == epoch && newest.store_uuid == self.identity.store_uuid) {
            return Ok(None);
        }
        let sql = "SELECT EXISTS (SELECT 1 FROM fact WHERE kind = (SELECT word FROM word WHERE text = 'epoch_raised'))";
        let is_founded = rows(&self.conn, sql, [], |row| row.get::<_, bool>(0))?.contains(&true);
        let text = format!("the journal says that it is in epoch {epoch}, and no fact of it begins one");
        Ok((!is_founded).then_some(text))
    }
}

impl LookBack {
    fn lose(&mut self, note: &Note, finding: Finding, agreed: u64) {
        let is_other = finding == Finding::OtherStore;
        let from = if is_other { 1 } else { agreed.saturating_add(1) };
        let lost = self.lost.get_or_insert(Lost { epoch: note.epoch, store_uuid: None, from, to: note.seq });
        lost.epoch = lost.epoch.max(note.epoch);
        lost.to = lost.to.max(note.seq);
        if is_other {
            lost.store_uuid = Some(note.store_uuid.clone());
        }
    }
}

impl Reader {
    /// What is wrong with the journal according to a note that was found at `place`; `None` where nothing is. The note's
    /// signature is the caller's to judge.
    pub fn contradiction(&mut self, note: &Note, place: &str) -> Result<Option<String>, StoreError> {
        let head = self.head()?.0;
        let identity = self.identity.clone();
        let finding = judge(&self.conn, &identity, head, note)?;
        let text = sentence(finding, note, &identity, head, place);
        Ok((!text.is_empty()).then_some(text))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::store::open::{Settings, open};
    use crate::store::samples::*;
    use crate::wire::checkpoint::{Head, Key};

    fn key() -> Key {
        Key::new("l1", &[3; 32])
    }

    fn ring() -> KeyRing {
        [key().public()].into_iter().collect()
    }

    struct Scene {
        _folder: tempfile::TempDir,
        store: Store,
        hashes: Vec<[u8; 32]>,
    }

    fn scene() -> Scene {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("line.db");
        let mut store = open(&Settings::new(&path, "l1")).expect("opens");
        store.commit(&job(story()), || 0).expect("committed");
        let facts = Reader::open(&path).expect("reads").facts_from(1, 100).expect("facts");
        Scene { _folder: folder, store, hashes: facts.into_iter().map(|fact| fact.hash).collect() }
    }

    impl Scene {
        fn note(&self, seq: u64) -> Note {
            let at = usize::try_from(seq).expect("small");
            let hash = self.hashes.get(at - 1).copied().unwrap_or([1; 32]);
            let uuid = self.store.identity().store_uuid.clone();
            let head = Head { line: "l1", store_uuid: &uuid, epoch: 1, seq, hash, at_us: 0, boot: 1 };
            head.note(seq).signed(&key())
        }

        fn look(&mut self, notes: Vec<Note>) -> LookBack {
            let tail = Tail { is_there: true, notes, odd_lines: 0 };
            self.store.look_back(&PathBuf::from("side"), &tail, &ring()).expect("compared")
        }
    }

    #[test]
    fn agrees_with_what_it_has_and_names_what_it_lacks() {
        let mut scene = scene();
        let notes = vec![scene.note(5), scene.note(21)];
        assert_eq!(scene.look(notes), LookBack::default());
        let notes = vec![scene.note(5), scene.note(20), scene.note(40), scene.note(60)];
        let look = scene.look(notes);
        assert_eq!(look.lost, Some(Lost { epoch: 1, store_uuid: None, from: 21, to: 60 }));
        assert_eq!(look.doubts.len(), 1);
        assert!(look.doubts[0].starts_with("facts 22 to 60 are missing"), "{look:?}");
    }

    #[test]
    fn names_the_first_fact_that_differs_and_gives_up_all_from_the_last_one_that_agreed() {
        let mut scene = scene();
        let beside = |mut note: Note| {
            note.head = [9; 32];
            note.signed(&key())
        };
        let notes = vec![scene.note(5), beside(scene.note(10)), beside(scene.note(20))];
        let look = scene.look(notes);
        assert_eq!(look.lost, Some(Lost { epoch: 1, store_uuid: None, from: 6, to: 20 }));
        assert!(look.doubts[0].starts_with("fact 10 is not the one"), "{look:?}");
    }

    #[test]
    fn another_file_and_an_older_copy_raise_the_epoch_above_all_that_were_seen() {
        let mut scene = scene();
        let other = |mut note: Note, epoch| {
            (note.store_uuid, note.epoch) = ("other".into(), epoch);
            note.signed(&key())
        };
        let notes = vec![other(scene.note(70), 3)];
        let look = scene.look(notes);
        assert_eq!(look.lost, Some(Lost { epoch: 3, store_uuid: Some("other".into()), from: 1, to: 70 }));
        assert!(look.doubts[0].starts_with("the journal was exchanged"), "{look:?}");
        let later = |mut note: Note| {
            note.epoch = 2;
            note.signed(&key())
        };
        let notes = vec![other(scene.note(70), 3), scene.note(5), later(scene.note(21))];
        let look = scene.look(notes);
        assert_eq!(look.lost.as_ref().map(|lost| lost.epoch), Some(2), "the other file was told of before");
        assert!(look.doubts[0].starts_with("the journal is an older copy"), "{look:?}");
    }

    #[test]
    fn a_newest_note_that_nobody_of_this_line_signed_is_a_doubt() {
        let mut scene = scene();
        let notes = vec![scene.note(21).signed(&Key::new("l1", &[4; 32]))];
        let look = scene.look(notes);
        assert!(look.doubts[0].contains("not signed with a key of this line") && look.lost.is_none(), "{look:?}");
    }

    #[test]
    fn an_epoch_that_only_the_table_knows_silences_nothing() {
        let mut scene = scene();
        scene.store.conn.execute("UPDATE meta SET epoch = 9", []).expect("changed");
        scene.store.identity.epoch = 9;
        let notes = vec![scene.note(60)];
        let look = scene.look(notes);
        assert!(look.doubts[0].contains("no fact of it begins one"), "{look:?}");
    }

    #[test]
    fn a_journal_that_signed_misses_its_side_file() {
        let mut scene = scene();
        assert_eq!(scene.look(Vec::new()), LookBack::default());
        let (told, notes) = crossbeam_channel::bounded(8);
        scene.store.sign_with(key(), told).expect("counted");
        scene.store.commit(&job(vec![record(22, "line_stopped", Vec::new())]), || 0).expect("committed");
        assert_eq!(notes.try_recv().expect("the first group of a run").seq, 22);
        assert!(scene.look(Vec::new()).doubts[0].contains("missing or empty"));
    }
}
