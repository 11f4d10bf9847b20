//! Children that should not be where they are: the alarm is raised only for what can never be right, names the slots as the
//! refusal does, and nothing is sealed at its station before a person has looked.

use std::collections::{BTreeMap, BTreeSet};

use sealgate::domain::gs1::SerialNumber;
use sealgate::domain::pack::{Gate, SerialState};
use sealgate::domain::text::Name;
use sealgate::engine::Engine;
use sealgate::engine::fact::{Fact, RequestKey};
use sealgate::engine::input::{CloseRequest, Input, Observed};
use sealgate::engine::reason::{AlarmKind, RefuseReason};

#[derive(Clone, Debug, Default)]
pub(super) struct Astray {
    /// The newest request of each station.
    requests: BTreeMap<Name, CloseRequest>,
    /// Alarms that stand, with their stations.
    alarms: BTreeMap<u32, Name>,
    /// The words of an alarm whose refusal is the next fact.
    detail: Option<String>,
    /// Of each alarm over unfit units alone: one of them at least will never be commissioned.
    unfit: Vec<BTreeSet<SerialNumber>>,
}

impl Astray {
    pub(super) fn fact(&mut self, engine: &Engine, input: &Input, fact: &Fact) -> Result<(), String> {
        if let Input::Observed(observation) = input
            && let Observed::CloseRequested(request) = &observation.what
            && let Some(spec) = engine.settings().stations.get(usize::from(observation.station.0))
        {
            self.requests.insert(spec.name, request.clone());
        }
        if let Fact::AlarmRaised { alarm, kind: AlarmKind::ChildEscaped, station: Some(station), detail } = fact {
            self.alarms.insert(*alarm, *station);
            self.detail = Some(detail.clone());
        } else if let Fact::AlarmAcknowledged { alarm } = fact {
            self.alarms.remove(alarm);
        } else if let Fact::CloseRefused { request, reasons, .. } = fact
            && let Some(detail) = self.detail.take()
        {
            self.refused(engine, request, reasons, &detail)?;
        } else if let Fact::CloseGranted { request, gate: Gate::Seal, container, .. } = fact
            && self.alarms.values().any(|station| *station == request.station)
        {
            return Err(format!("{container} is sealed where nobody has looked at a child that escaped"));
        } else if let Fact::Commissioned { serial, .. } = fact {
            for serials in &mut self.unfit {
                if serials.remove(serial) && serials.is_empty() {
                    return Err(format!("{serial} was held to have escaped, and is commissioned"));
                }
            }
        }
        Ok(())
    }

    fn refused(
        &mut self,
        engine: &Engine,
        key: &RequestKey,
        reasons: &[RefuseReason],
        detail: &str,
    ) -> Result<(), String> {
        for slot in reasons.iter().filter_map(RefuseReason::slot) {
            if !detail.split(", ").any(|words| words.ends_with(&format!(" in slot {slot}"))) {
                return Err(format!("slot {slot} is not in the words of the alarm: {detail}"));
            }
        }
        let is_unfit = |reason: &RefuseReason| matches!(reason, RefuseReason::UnfitChild { .. });
        let is_other = |reason: &RefuseReason| {
            matches!(
                reason,
                RefuseReason::ForeignChild { .. }
                    | RefuseReason::UnknownChild { .. }
                    | RefuseReason::PackedChild { .. }
                    | RefuseReason::RepeatedChild { .. }
            )
        };
        let request = self.requests.get(&key.station).filter(|request| request.seq == key.seq);
        if let Some(request) = request.filter(|_| !reasons.iter().any(is_other)) {
            let slots = reasons.iter().filter(|reason| is_unfit(reason)).filter_map(RefuseReason::slot);
            let codes = slots.filter_map(|slot| request.children.get(usize::try_from(slot).ok()?));
            // A case that is not released is none of a unit's. A serial that was not printed yet stood on a forgery: the unit that gets
            // it later is right.
            let serials = codes.map(|code| serial_of(code).filter(|serial| was_printed(engine, serial)));
            self.unfit.extend(serials.collect::<Option<BTreeSet<_>>>());
        }
        Ok(())
    }
}

fn was_printed(engine: &Engine, serial: &SerialNumber) -> bool {
    let unit = engine.state().current().and_then(|batch| batch.pool.unit_of(serial));
    unit.is_some_and(|unit| !matches!(unit.state, SerialState::Unallocated | SerialState::Allocated))
}

/// The serial in a code as the plant prints it: GTIN and serial first.
fn serial_of(code: &[u8]) -> Option<SerialNumber> {
    let text = std::str::from_utf8(code).ok()?;
    SerialNumber::new(text.get(18..)?.split('\u{1d}').next()?).ok()
}
