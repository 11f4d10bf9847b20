//! Serials after a restore (I2): the backup does not know which were used since it was made. Until upstream has said so,
//! nothing is loaded, started or handed to a printer; what it names is used for ever, and a batch goes on behind its last one.

use crate::domain::gs1::{Gtin, SerialNumber};
use crate::domain::pack::SerialState;
use crate::engine::Engine;
use crate::engine::batch::wrong_state;
use crate::engine::fact::Fact;
use crate::engine::input::{Actor, UsedSerials};
use crate::engine::output::{Done, Refused, Step};
use crate::engine::reason::AlarmKind;
use crate::engine::state::Batch;

impl Engine {
    /// Whether serials wait for upstream's word.
    pub(super) fn is_suspended(&self) -> bool {
        self.state.alarms.values().any(|alarm| alarm.kind == AlarmKind::SerialsSuspended)
    }

    /// Upstream, or a person for it, names serials that are used.
    pub(super) fn declare(&mut self, step: &mut Step, actor: Actor, used: &UsedSerials) -> Result<Done, Refused> {
        let UsedSerials { gtin, serials } = used;
        if serials.is_empty() {
            return Ok(Done::Already);
        }
        if let Some(batch) = self.state.current().filter(|batch| !self.is_suspended() && may_print(batch, used)) {
            return wrong_state(batch.id(), batch.state);
        }
        self.emit_as(step, actor, Fact::SerialsDeclared { gtin: *gtin, serials: serials.clone() });
        self.retire(step, actor, *gtin, serials);
        Ok(Done::Changed)
    }

    /// Serials go to a printer in the order of the batch: those before a used one were on their way too.
    fn retire(&mut self, step: &mut Step, actor: Actor, gtin: Gtin, used: &[SerialNumber]) {
        let reached = self.state.batches.iter().filter(|batch| batch.sheet.gtin == gtin).filter_map(|batch| {
            let last = used.iter().filter_map(|serial| batch.pool.find(serial)).max()?;
            (last >= batch.next_place).then_some((batch.id(), last))
        });
        let reached: Vec<_> = reached.collect();
        for (batch, last) in reached {
            if self.state.current().is_some_and(|current| current.id() == batch) {
                // What a printer still holds lies before the retired ones, and is as uncertain.
                self.ids().for_each(|id| self.lose_buffer(step, id));
            }
            let Some(known) = self.state.batch(&batch) else { continue };
            let first_index = known.next_place;
            let count = last.saturating_add(1).saturating_sub(first_index);
            let serials = known.pool.range(first_index, count).to_vec();
            if !serials.is_empty() {
                self.emit_for(step, batch, actor, Fact::SerialsRetired { first_index, serials });
            }
        }
    }

    /// Upstream has named all: serials may be used again.
    pub(super) fn confirm(&mut self, step: &mut Step, actor: Actor) -> Result<Done, Refused> {
        let waits = self.state.alarms.iter().filter(|(_, alarm)| alarm.kind == AlarmKind::SerialsSuspended);
        let waits: Vec<u32> = waits.map(|(alarm, _)| *alarm).collect();
        for alarm in &waits {
            self.emit_as(step, actor, Fact::AlarmAcknowledged { alarm: *alarm });
        }
        Ok(if waits.is_empty() { Done::Already } else { Done::Changed })
    }
}

/// Whether one of these may leave a printer yet: no word of ours takes it back out of a buffer, only a stop does.
fn may_print(batch: &Batch, used: &UsedSerials) -> bool {
    let waits = |serial: &SerialNumber| {
        let unit = batch.pool.unit_of(serial);
        unit.is_some_and(|unit| matches!(unit.state, SerialState::Unallocated | SerialState::Allocated))
    };
    batch.state.is_printing() && batch.sheet.gtin == used.gtin && used.serials.iter().any(waits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::text::Name;
    use crate::engine::Settings;
    use crate::engine::fact::Entry;
    use crate::engine::input::Order;
    use crate::engine::reason::BatchState;
    use crate::engine::reason::RequestRefusal;
    use crate::engine::state::State;
    use crate::wire::fact::sample;

    fn serial(text: &str) -> SerialNumber {
        SerialNumber::new(text).expect("good")
    }

    /// A1 is printed, A2 lies in the printer, A3 is given to nobody yet.
    fn engine() -> Engine {
        let (sheet, serials) = (sample::sheet(), ["A1", "A2", "A3"].map(serial).to_vec());
        let batch = Some(sheet.batch);
        let mut state = State::default();
        state.insert_order(&Order {
            sheet: sheet.clone(),
            serials: serials.clone(),
            serials_sha256: Default::default(),
        });
        let (station, epoch, from_seq, first_index) = (Name::new("printer").expect("short"), 1, 1, 0);
        for (seq, fact) in (1..).zip([
            Fact::BatchLoaded { sheet, serial_count: 3, serials_sha256: Default::default() },
            Fact::BatchStarted { bin: None, track: None },
            Fact::SerialsAllocated { station, epoch, from_seq, first_index, serials: serials[..2].to_vec() },
            Fact::SerialsEncoded { station, epoch, from_seq, first_index, serials: serials[..1].to_vec() },
        ]) {
            state.apply(&Entry { seq, batch, actor: crate::engine::line(), fact });
        }
        Engine::new(Settings { stations: Vec::new() }, state)
    }

    #[test]
    fn a_serial_that_may_be_printed_yet_is_not_named_before_the_batch_is_stopped() {
        let gtin = sample::sheet().gtin;
        let declare = |engine: &mut Engine, names: &[&str]| {
            let used = UsedSerials { gtin, serials: names.iter().map(|name| serial(name)).collect() };
            engine.declare(&mut Step::default(), crate::engine::line(), &used)
        };
        let batch = sample::sheet().batch;
        let running = RequestRefusal::WrongState { batch, state: BatchState::Running };
        for names in [&["A2"][..], &["A3"], &["A1", "A3"]] {
            let mut engine = engine();
            let refused = declare(&mut engine, names).expect_err("it may be printed");
            assert_eq!(refused.reasons, std::slice::from_ref(&running), "{names:?}");
            assert_eq!(engine.state().seq, 4, "nothing of it is taken");
        }
        assert_eq!(declare(&mut engine(), &["A1", "Z9"]), Ok(Done::Changed), "no printer has these before it");
        let mut engine = engine();
        let stopped = Fact::BatchStopped { bin: None };
        engine.state.apply(&Entry { seq: 5, batch: Some(batch), actor: crate::engine::line(), fact: stopped });
        assert_eq!(declare(&mut engine, &["A3"]), Ok(Done::Changed));
        let known = engine.state().batch(&batch).and_then(|batch| batch.pool.unit_of(&serial("A3")).copied());
        assert_eq!(known.map(|unit| unit.state), Some(SerialState::SnInvalid));
    }
}
