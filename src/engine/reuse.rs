//! Serials after a restore (I2): the backup does not know which were used since it was made. Until upstream has said so,
//! nothing is loaded, started or handed to a printer; what it names is used for ever, and a batch goes on behind its last one.

use crate::domain::gs1::{Gtin, SerialNumber};
use crate::engine::Engine;
use crate::engine::fact::Fact;
use crate::engine::input::{Actor, UsedSerials};
use crate::engine::output::{Done, Refused, Step};
use crate::engine::reason::AlarmKind;

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
