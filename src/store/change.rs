//! The state tables: each [`Change`] of a record in SQL, one exhaustive match. Rules are constraints of the tables; a
//! change that finds no row to change breaks one too.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Params, ToSql};

use crate::store::batches::{Batches, sorted_places, unit_id};
use crate::store::error::Flaw;
use crate::store::messages;
use crate::store::words::{self, Words};
use crate::wire::record::{Change, InspectionRow, Order, PermitRow};

/// One record's changes, inside its transaction. Errors say what was broken; nothing of the group is committed then.
pub(super) struct Scope<'a> {
    pub(super) conn: &'a Connection,
    pub(super) words: &'a mut Words,
    pub(super) batches: &'a mut Batches,
    /// The fact that causes the changes.
    pub(super) seq: i64,
}

type Outcome = Result<(), Flaw>;

impl Scope<'_> {
    pub(super) fn apply(&mut self, change: &Change) -> Outcome {
        match change {
            Change::BatchInserted { order, epc_prefix } => self.insert_batch(order, epc_prefix),
            Change::BatchState { batch, state } => self.set_batch_state(batch, state),
            Change::SerialRange { batch, first_index, count, before, state } => {
                self.set_serial_range(batch, (*first_index, *count), before, state)
            }
            Change::SerialsUsed { gtin, serials } => self.claim_used(gtin, serials),
            Change::SerialVerified { batch, serial } => self.verify_serial(batch, serial),
            Change::SerialState { batch, serial, state } => self.set_serial_state(batch, serial, state),
            Change::Inspection(row) => self.insert_inspection(row),
            Change::InspectionFailed { inspection } => self.one(
                "inspection",
                "UPDATE inspection SET verdict = ?2 WHERE inspection = ?1",
                (integer(*inspection)?, words::FAIL),
            ),
            Change::InspectionTracked { inspection, track } => self.one(
                "inspection",
                "UPDATE inspection SET track = ?2 WHERE inspection = ?1",
                (integer(*inspection)?, integer(*track)?),
            ),
            Change::RejectCommanded { inspection } => self.one(
                "reject",
                "INSERT INTO reject (inspection, commanded_seq) VALUES (?1, ?2)",
                (integer(*inspection)?, self.seq),
            ),
            Change::RejectConfirmed { inspection } => self.one(
                "reject",
                "UPDATE reject SET confirmed_seq = ?2 WHERE inspection = ?1",
                (integer(*inspection)?, self.seq),
            ),
            Change::RejectAlarmed { inspection } => self.one(
                "reject",
                "UPDATE reject SET alarm_seq = ?2 WHERE inspection = ?1",
                (integer(*inspection)?, self.seq),
            ),
            Change::ContainerInserted { container, level, batch, capacity } => {
                self.insert_container(container, level, batch, *capacity)
            }
            Change::ContainerState { container, state } => self.set_container_state(container, state),
            Change::MembersAdded { parent, batch, units, containers } => {
                self.add_members(parent, batch, units, containers)
            }
            Change::MembersRemoved { parent } => self.remove_members(parent),
            Change::PermitInserted(row) => self.insert_permit(row),
            Change::PermitState { token, state } => {
                let state = self.word(state)?;
                self.one("permit", "UPDATE permit SET state = ?2 WHERE token = ?1", (token, state))
            }
            Change::AlarmInserted { alarm, kind, station, detail } => {
                self.insert_alarm(*alarm, kind, station.as_deref(), detail)
            }
            Change::AlarmAcknowledged { alarm } => self.one(
                "open alarm",
                "UPDATE alarm SET acked_seq = ?2 WHERE alarm = ?1 AND acked_seq IS NULL",
                (alarm, self.seq),
            ),
            Change::StationCursor { station, device_epoch, epoch } => self.set_station(station, *device_epoch, *epoch),
            Change::MessagesExpired(gone) => messages::let_go(self.conn, self.words, gone),
            Change::Signature(row) => self.insert_signature(row),
            Change::Newest { kind } => self.stand(kind),
            Change::PasswordsVoid => self.void_passwords(),
            Change::Person { user, change } => self.change_person(user, change),
            Change::EpochRaised { epoch } => {
                self.one("earlier epoch", "UPDATE meta SET epoch = ?1 WHERE epoch < ?1", [epoch])
            }
        }
    }

    fn stand(&mut self, kind: &str) -> Outcome {
        self.one(
            "newest fact",
            "INSERT INTO newest (kind, seq) VALUES (?1, ?2) ON CONFLICT (kind) DO UPDATE SET seq = excluded.seq",
            (kind, self.seq),
        )
    }

    /// Serials in the order of printing into the batch's own pages; sorted into the index of all that were ever used.
    fn insert_batch(&mut self, order: &Arc<Order>, epc_prefix: &str) -> Outcome {
        let batch = self.word(order.sheet.batch.as_str())?;
        let gtin = self.word(order.sheet.gtin.as_str())?;
        self.insert_sheet(order, batch, gtin, epc_prefix)?;
        let first = unit_id(batch, 0);
        let mut insert = self
            .conn
            .prepare_cached("INSERT INTO serial (id, serial, state, verified, changed_seq) VALUES (?1, ?2, ?3, 0, ?4)")
            .map_err(|error| Flaw::of("serials", error))?;
        for (id, serial) in (first..).zip(&order.serials) {
            let row = (id, serial.as_str(), words::UNALLOCATED, self.seq);
            insert.execute(row).map_err(|error| Flaw::of("serials", error))?;
        }
        let sorted = sorted_places(&order.serials);
        let mut claim = self
            .conn
            .prepare_cached("INSERT INTO used (gtin, serial, id) VALUES (?1, ?2, ?3)")
            .map_err(|error| Flaw::of("used serials", error))?;
        for place in &sorted {
            let at = usize::try_from(*place).ok().and_then(|at| order.serials.get(at));
            let serial = at.ok_or("an order is too long")?.as_str();
            claim
                .execute((gtin, serial, unit_id(batch, *place)))
                .map_err(|error| Flaw::of(&format!("serial {serial} was used before"), error))?;
        }
        self.batches.adopt(batch, order.clone(), sorted);
        Ok(())
    }

    /// Unit 0 stands for none: no batch has the number 0.
    fn claim_used(&mut self, gtin: &str, serials: &[String]) -> Outcome {
        let gtin = self.word(gtin)?;
        for serial in serials {
            self.execute(
                "used serials",
                "INSERT INTO used (gtin, serial, id) VALUES (?1, ?2, 0) ON CONFLICT (gtin, serial) DO NOTHING",
                (gtin, serial),
            )?;
        }
        Ok(())
    }

    fn insert_sheet(&mut self, order: &Order, batch: i64, gtin: i64, epc_prefix: &str) -> Outcome {
        let sheet = &order.sheet;
        let count = u32::try_from(order.serials.len()).map_err(|_| "an order is too long")?;
        let columns: [&dyn ToSql; 16] = [
            &batch,
            &gtin,
            &sheet.lot.as_str(),
            &sheet.expiry.to_iso_date().as_str().to_owned(),
            &sheet.gcp_length.get(),
            &epc_prefix,
            &words::LOADED,
            &sheet.pack.case_capacity,
            &sheet.pack.pallet_capacity,
            &sheet.sscc.extension,
            &sheet.sscc.prefix.as_str(),
            &integer(sheet.sscc.first)?,
            &integer(sheet.sscc.last)?,
            &count,
            &order.serials_sha256.as_str(),
            &self.seq,
        ];
        self.one(
            "batch",
            "INSERT INTO batch (batch, gtin, lot, expiry, gcp_length, epc_prefix, state, case_capacity, pallet_capacity, \
             sscc_extension, sscc_prefix, sscc_first, sscc_last, serial_count, serials_sha256, loaded_seq) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
            columns,
        )
    }

    fn set_batch_state(&mut self, batch: &str, state: &str) -> Outcome {
        let id = self.batch(batch)?;
        let state = self.word(state)?;
        let closed_seq = matches!(state, words::CLOSED | words::ABORTED).then_some(self.seq);
        self.one("batch", "UPDATE batch SET state = ?2, closed_seq = ?3 WHERE batch = ?1", (id, state, closed_seq))?;
        if closed_seq.is_some() {
            self.batches.forget(batch);
        }
        Ok(())
    }

    fn set_serial_range(
        &mut self,
        batch: &str,
        (first_index, count): (u32, u32),
        before: &str,
        state: &str,
    ) -> Outcome {
        if count == 0 {
            return Ok(());
        }
        let batch = self.batch(batch)?;
        let (before, state) = (self.word(before)?, self.word(state)?);
        let first = unit_id(batch, first_index);
        let last = first + i64::from(count) - 1;
        // Those that a camera has seen meanwhile stay what they are.
        self.execute(
            "serials",
            "UPDATE serial SET state = ?3, changed_seq = ?4 WHERE id BETWEEN ?1 AND ?2 AND state = ?5",
            (first, last, state, self.seq, before),
        )?;
        if !self.has_unit(last)? {
            return Err(format!("serials {first_index} to {} are not all in the batch", last & 0xFFFF_FFFF).into());
        }
        self.one(
            "serial run",
            "INSERT INTO serial_run (batch, state, first_index, seq, count) VALUES (?1, ?2, ?3, ?4, ?5)",
            (batch, state, first_index, self.seq, count),
        )
    }

    fn verify_serial(&mut self, batch: &str, serial: &str) -> Outcome {
        let id = self.unit(batch, serial)?;
        self.one("serial", "UPDATE serial SET verified = 1 WHERE id = ?1", [id])
    }

    fn set_serial_state(&mut self, batch: &str, serial: &str, state: &str) -> Outcome {
        let id = self.unit(batch, serial)?;
        let state = self.word(state)?;
        self.one("serial", "UPDATE serial SET state = ?2, changed_seq = ?3 WHERE id = ?1", (id, state, self.seq))
    }

    fn insert_inspection(&mut self, row: &InspectionRow) -> Outcome {
        let batch = row.batch.as_deref().map(|batch| self.batch(batch)).transpose()?;
        // A serial that is none of the batch's has no unit; what was read stands in the fact.
        let unit = match (&row.batch, &row.serial) {
            (Some(batch), Some(serial)) => self.batches.place(self.conn, self.words, batch, serial)?,
            (Some(_) | None, None) | (None, Some(_)) => None,
        };
        let station = self.word(&row.station)?;
        let verdict = self.word(row.verdict)?;
        let place = unit.map(|unit| unit & 0xFFFF_FFFF);
        let result_seq = row.result_seq.map(integer).transpose()?;
        let track = row.track.map(integer).transpose()?;
        self.one(
            "inspection",
            "INSERT INTO inspection (inspection, batch, station, epoch, result_seq, track, verdict, place) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            (self.seq, batch, station, row.epoch, result_seq, track, verdict, place),
        )
    }

    /// A container that was opened again and is packed anew keeps its identifier; any other use of it is a second one (I2).
    fn insert_container(&mut self, container: &str, level: &str, batch: &str, capacity: u32) -> Outcome {
        let (level, batch) = (self.word(level)?, self.batch(batch)?);
        let inserted = self.execute(
            "container",
            "INSERT INTO container (container, level, batch, state, capacity) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (container) DO UPDATE SET capacity = excluded.capacity \
             WHERE state = excluded.state AND batch = excluded.batch AND level = excluded.level",
            (container, level, batch, words::OPEN, capacity),
        )?;
        match inserted {
            0 => Err(format!("container {container} was used before").into()),
            _ => Ok(()),
        }
    }

    fn set_container_state(&mut self, container: &str, state: &str) -> Outcome {
        let state = self.word(state)?;
        self.one(
            "container",
            "UPDATE container SET state = ?2, closed_seq = CASE ?2 WHEN 16 THEN COALESCE(closed_seq, ?3) WHEN 14 THEN NULL ELSE closed_seq END \
             WHERE container = ?1",
            (container, state, self.seq),
        )
    }

    fn add_members(&mut self, parent: &str, batch: &str, units: &[String], containers: &[String]) -> Outcome {
        let parent_id = self.container(parent)?;
        let mut children = Vec::with_capacity(units.len() + containers.len());
        for serial in units {
            children.push(self.unit(batch, serial)?);
        }
        for container in containers {
            children.push(-self.container(container)?);
        }
        // Sorted, they land side by side in both indexes.
        children.sort_unstable();
        for child in children {
            let what = "a child has a parent already";
            self.one(
                what,
                "INSERT INTO member (parent, child, from_seq) VALUES (?1, ?2, ?3)",
                (parent_id, child, self.seq),
            )?;
        }
        Ok(())
    }

    fn remove_members(&mut self, parent: &str) -> Outcome {
        let parent = self.container(parent)?;
        self.execute(
            "members",
            "UPDATE member SET to_seq = ?2 WHERE parent = ?1 AND to_seq IS NULL",
            (parent, self.seq),
        )?;
        Ok(())
    }

    fn insert_permit(&mut self, row: &PermitRow) -> Outcome {
        let container = self.container(&row.container)?;
        let (gate, station) = (self.word(row.gate)?, self.word(&row.station)?);
        let request_seq = integer(row.request_seq)?;
        self.one(
            "permit",
            "INSERT INTO permit (token, container, gate, station, epoch, request_seq, granted_seq, state) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            (row.token, container, gate, station, row.epoch, request_seq, self.seq, words::GRANTED),
        )
    }

    fn insert_alarm(&mut self, alarm: u32, kind: &str, station: Option<&str>, detail: &str) -> Outcome {
        let kind = self.word(kind)?;
        let station = station.map(|station| self.word(station)).transpose()?;
        self.one(
            "alarm",
            "INSERT INTO alarm (alarm, kind, station, detail, raised_seq) VALUES (?1, ?2, ?3, ?4, ?5)",
            (alarm, kind, station, detail, self.seq),
        )
    }

    fn set_station(&mut self, station: &str, device_epoch: u32, epoch: u32) -> Outcome {
        let station = self.word(station)?;
        self.one(
            "station",
            "INSERT INTO station (station, device_epoch, epoch, epoch_seq) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (station) DO UPDATE SET device_epoch = excluded.device_epoch, epoch = excluded.epoch, \
             epoch_seq = CASE epoch WHEN excluded.epoch THEN epoch_seq ELSE excluded.epoch_seq END",
            (station, device_epoch, epoch, self.seq),
        )
    }

    /// Notes that the fact is about a container, so that it is found again.
    pub(super) fn link_container(&mut self, container: &str) -> Outcome {
        let Some(id) = self.find_container(container)? else { return Ok(()) };
        self.one("container", "INSERT INTO container_fact (container, seq) VALUES (?1, ?2)", (id, self.seq))
    }

    fn word(&mut self, text: &str) -> Result<i64, Flaw> {
        self.words.id(self.conn, text).map_err(|error| Flaw::of("word", error))
    }

    fn batch(&mut self, batch: &str) -> Result<i64, Flaw> {
        self.batches.id(self.conn, self.words, batch)
    }

    fn unit(&mut self, batch: &str, serial: &str) -> Result<i64, Flaw> {
        let found = self.batches.place(self.conn, self.words, batch, serial)?;
        found.ok_or_else(|| format!("serial {serial} is not in batch {batch}").into())
    }

    fn has_unit(&self, id: i64) -> Result<bool, Flaw> {
        self.conn
            .prepare_cached("SELECT 1 FROM serial WHERE id = ?1")
            .and_then(|mut find| find.exists([id]))
            .map_err(|error| Flaw::of("serial", error))
    }

    fn container(&self, container: &str) -> Result<i64, Flaw> {
        self.find_container(container)?.ok_or_else(|| format!("container {container} is unknown").into())
    }

    fn find_container(&self, container: &str) -> Result<Option<i64>, Flaw> {
        self.conn
            .prepare_cached("SELECT id FROM container WHERE container = ?1")
            .and_then(|mut find| find.query_row([container], |row| row.get(0)).optional())
            .map_err(|error| Flaw::of("container", error))
    }

    pub(super) fn one(&self, what: &str, sql: &str, params: impl Params) -> Outcome {
        match self.execute(what, sql, params)? {
            1 => Ok(()),
            changed => Err(format!("{what}: {changed} rows instead of one").into()),
        }
    }

    pub(super) fn execute(&self, what: &str, sql: &str, params: impl Params) -> Result<usize, Flaw> {
        let run = |params| self.conn.prepare_cached(sql)?.execute(params);
        run(params).map_err(|error: rusqlite::Error| Flaw::of(what, error))
    }
}

/// Counts beyond 2^63 do not happen on a line; one that does is damage, not a number to wrap.
pub(super) fn integer(value: u64) -> Result<i64, Flaw> {
    i64::try_from(value).map_err(|_| format!("{value} is beyond what the journal holds").into())
}
