//! Recovery: what the fold of the facts needs to stand where the journal stands (I7).
//!
//! Contract: make the engine's state from [`Base`], give it the orders of [`Recovered::open_batches`] when it meets their
//! `batch_loaded` facts, and apply every fact from `from_seq` on. `from_seq` lies at or before the `batch_loaded` fact of
//! every batch that is not closed and at or before the start of every station's present epoch, so that what a batch and a
//! station's numbering are follows from the facts applied. Among these may be facts of batches that were closed since and
//! whose `batch_loaded` lies before; they matter to the stations alone.

use std::sync::Arc;

use rusqlite::{Connection, Row};

use crate::store::error::StoreError;
use crate::store::facts::{self, StoredFact};
use crate::store::open::Store;
use crate::store::people::{self, PersonRow};
use crate::store::reader::each_fact;
use crate::store::words::Words;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The first fact to apply; `base.next_seq` where there is none.
    pub from_seq: u64,
    pub base: Base,
    /// Batches that are not closed, oldest first.
    pub open_batches: Vec<LoadedBatch>,
}

/// What older facts left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The number of the next fact.
    pub next_seq: u64,
    /// The number of this start.
    pub boot: u32,
    /// The highest token ever granted, 0 where there is none; applying later grants again changes nothing.
    pub token_max: u32,
    /// The highest alarm ever raised.
    pub alarm_max: u32,
    /// Alarms raised before `from_seq` and not acknowledged before it.
    pub alarms: Vec<OpenAlarm>,
    /// Everybody, as the newest facts left them: to apply an older one about a person again, and all that follow it, changes nothing.
    pub people: Vec<PersonRow>,
    /// Facts before `from_seq` that still stand, since there is none of their kind after them. They come before all else.
    pub standing: Vec<StoredFact>,
    /// Each station's present epochs.
    pub stations: Vec<StationRow>,
    /// Batches that were loaded before `from_seq` and are closed: their identifiers and SSCC ranges are used for ever.
    pub closed_batches: Vec<LoadedBatch>,
}

/// A batch by the fact that loaded it: the whole sheet stands in its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedBatch {
    pub batch: Arc<str>,
    pub closed_seq: Option<u64>,
    pub loaded: StoredFact,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAlarm {
    pub alarm: u32,
    pub kind: Arc<str>,
    pub station: Option<Arc<str>>,
    pub detail: String,
    pub raised_seq: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StationRow {
    pub station: Arc<str>,
    pub device_epoch: u32,
    pub epoch: u32,
    /// The fact with which the present epoch began.
    pub epoch_seq: u64,
}

impl Store {
    pub fn recover(&mut self) -> Result<Recovered, StoreError> {
        let next_seq = self.head().0 + 1;
        let boot = self.boot();
        let (conn, words) = (&self.conn, &mut self.words);
        let people = people::all(conn)?;
        let stations = stations(conn, words)?;
        let (open_batches, closed): (Vec<_>, Vec<_>) =
            batches(conn, words)?.into_iter().partition(|batch| batch.closed_seq.is_none());
        let starts = open_batches.iter().map(|batch| batch.loaded.seq);
        let from_seq = starts.chain(stations.iter().map(|station| station.epoch_seq)).min().unwrap_or(next_seq);
        let base = Base {
            next_seq,
            boot,
            token_max: highest(conn, "SELECT max(token) FROM permit")?,
            alarm_max: highest(conn, "SELECT max(alarm) FROM alarm")?,
            alarms: alarms(conn, words, from_seq)?,
            people,
            standing: standing(conn, words, from_seq)?,
            stations,
            closed_batches: closed.into_iter().filter(|batch| batch.loaded.seq < from_seq).collect(),
        };
        Ok(Recovered { from_seq, base, open_batches })
    }

    /// Every fact from `seq` on, one by one; ends with the first error of `take`.
    pub fn each_fact<E: From<StoreError>>(
        &mut self,
        seq: u64,
        take: impl FnMut(StoredFact) -> Result<(), E>,
    ) -> Result<(), E> {
        each_fact(&self.conn, &mut self.words, (seq, None), take)
    }
}

fn highest(conn: &Connection, sql: &str) -> Result<u32, StoreError> {
    let found: Option<u32> =
        conn.query_row(sql, [], |row| row.get(0)).map_err(StoreError::sqlite("reading what was given out"))?;
    Ok(found.unwrap_or(0))
}

pub(super) fn word(conn: &Connection, words: &mut Words, id: i64) -> Result<Arc<str>, StoreError> {
    let found = words.text(conn, id).map_err(StoreError::sqlite("reading a word"))?;
    found.ok_or_else(|| StoreError::damaged(format!("word {id} is unknown")))
}

/// A sequence number as its column holds it.
pub(super) fn signed(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

/// Sequence numbers lie in signed columns.
pub(super) fn unsigned(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(at)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(at, value))
}

pub(super) fn unsigned_or_null(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<u64>> {
    let value: Option<i64> = row.get(at)?;
    let convert = |value| u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(at, value));
    value.map(convert).transpose()
}

/// The rows of a query, each made by `make`.
pub(super) fn rows<T>(
    conn: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    make: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    let read = || conn.prepare_cached(sql)?.query_map(params, make)?.collect::<rusqlite::Result<Vec<T>>>();
    read().map_err(StoreError::sqlite("reading a table"))
}

fn batches(conn: &Connection, words: &mut Words) -> Result<Vec<LoadedBatch>, StoreError> {
    let sql = "SELECT batch, loaded_seq, closed_seq FROM batch ORDER BY loaded_seq";
    let list = rows(conn, sql, [], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?, unsigned_or_null(row, 2)?)))?;
    let mut found = Vec::with_capacity(list.len());
    for (id, loaded_seq, closed_seq) in list {
        let batch = word(conn, words, id)?;
        found.push(LoadedBatch { batch, closed_seq, loaded: fact(conn, words, loaded_seq)? });
    }
    Ok(found)
}

fn fact(conn: &Connection, words: &mut Words, seq: i64) -> Result<StoredFact, StoreError> {
    let doing = "reading a fact";
    let mut find =
        conn.prepare_cached(&format!("{} WHERE seq = ?1", facts::SELECT)).map_err(StoreError::sqlite(doing))?;
    let mut found = find.query([seq]).map_err(StoreError::sqlite(doing))?;
    match found.next().map_err(StoreError::sqlite(doing))? {
        Some(row) => facts::read(conn, words, row),
        None => Err(StoreError::damaged(format!("fact {seq}, that a table names, is missing"))),
    }
}

fn standing(conn: &Connection, words: &mut Words, from_seq: u64) -> Result<Vec<StoredFact>, StoreError> {
    let sql = "SELECT seq FROM newest WHERE seq < ?1 ORDER BY seq";
    let seqs: Vec<i64> = rows(conn, sql, [signed(from_seq)], |row| row.get(0))?;
    seqs.into_iter().map(|seq| fact(conn, words, seq)).collect()
}

fn alarms(conn: &Connection, words: &mut Words, from_seq: u64) -> Result<Vec<OpenAlarm>, StoreError> {
    let sql = "SELECT alarm, kind, station, detail, raised_seq FROM alarm \
               WHERE raised_seq < ?1 AND (acked_seq IS NULL OR acked_seq >= ?1) ORDER BY alarm";
    let from_seq = i64::try_from(from_seq).unwrap_or(i64::MAX);
    let list = rows(conn, sql, [from_seq], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get::<_, Option<i64>>(2)?, row.get(3)?, unsigned(row, 4)?))
    })?;
    let mut found = Vec::with_capacity(list.len());
    for (alarm, kind, station, detail, raised_seq) in list {
        let kind = word(conn, words, kind)?;
        let station = station.map(|station| word(conn, words, station)).transpose()?;
        found.push(OpenAlarm { alarm, kind, station, detail, raised_seq });
    }
    Ok(found)
}

fn stations(conn: &Connection, words: &mut Words) -> Result<Vec<StationRow>, StoreError> {
    let sql = "SELECT station, device_epoch, epoch, epoch_seq FROM station ORDER BY station";
    let list = rows(conn, sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, unsigned(row, 3)?)))?;
    let mut found = Vec::with_capacity(list.len());
    for (station, device_epoch, epoch, epoch_seq) in list {
        found.push(StationRow { station: word(conn, words, station)?, device_epoch, epoch, epoch_seq });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::open::{Settings, open};
    use crate::store::samples::*;
    use crate::wire::record::Change;

    fn store(directory: &tempfile::TempDir) -> Store {
        open(&Settings::new(directory.path().join("line.db"), "l1")).expect("opens")
    }

    #[test]
    fn an_empty_journal_begins_with_the_first_fact() {
        let directory = tempfile::tempdir().expect("a directory");
        let recovered = store(&directory).recover().expect("recovers");
        assert_eq!((recovered.from_seq, recovered.base.next_seq, recovered.base.boot), (1, 1, 1));
        assert_eq!((recovered.base.token_max, recovered.base.alarm_max), (0, 0));
    }

    #[test]
    fn begins_where_the_oldest_open_batch_and_every_station_begin() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut line = store(&directory);
        line.commit(&job(story()), || 0).expect("committed");
        drop(line);
        let mut line = store(&directory);
        let recovered = line.recover().expect("recovers");
        assert_eq!((recovered.from_seq, recovered.base.next_seq, recovered.base.boot), (2, 22, 2));
        assert_eq!((recovered.base.token_max, recovered.base.alarm_max), (41, 1));
        assert_eq!(recovered.base.alarms, [], "the alarm was raised later and is met on the way");
        let loads: Vec<_> = recovered.open_batches.iter().map(|batch| (&*batch.batch, batch.loaded.seq)).collect();
        assert_eq!(loads, [("B1", 3)]);
        let mut kinds = Vec::new();
        line.each_fact(recovered.from_seq, |fact| -> Result<(), StoreError> {
            kinds.push(fact.kind.to_string());
            Ok(())
        })
        .expect("facts");
        assert_eq!((kinds.len(), kinds.first().map(String::as_str)), (20, Some("station_joined")));
    }

    #[test]
    fn what_lies_before_is_given_as_it_stood_then() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut line = store(&directory);
        let mut records = story();
        records.truncate(20);
        line.commit(&job(records), || 0).expect("committed");
        let joined = |seq, epoch| {
            record(
                seq,
                "station_joined",
                vec![Change::StationCursor { station: "camera".into(), device_epoch: 8, epoch }],
            )
        };
        let later = vec![
            record(21, "config_approved", vec![Change::Newest { kind: "config_approved" }]),
            record(22, "batch_closed", vec![Change::BatchState { batch: "B1".into(), state: "closed" }]),
            joined(23, 2),
            joined(24, 2),
            record(25, "alarm_acknowledged", vec![Change::AlarmAcknowledged { alarm: 1 }]),
        ];
        line.commit(&job(later), || 0).expect("committed");
        let recovered = line.recover().expect("recovers");
        assert_eq!(recovered.from_seq, 23, "a join of the same epoch does not begin it anew");
        assert_eq!(recovered.base.alarms.len(), 1, "it was open when fact 23 came");
        assert_eq!(recovered.base.standing.iter().map(|fact| fact.seq).collect::<Vec<_>>(), [21]);
        let closed: Vec<_> =
            recovered.base.closed_batches.iter().map(|batch| (&*batch.batch, batch.closed_seq)).collect();
        assert_eq!(closed, [("B1", Some(22))]);
        assert_eq!(recovered.base.stations.iter().map(|station| station.epoch).collect::<Vec<_>>(), [2]);
    }
}
