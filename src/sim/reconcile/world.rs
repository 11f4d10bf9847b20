//! The physical world at the end of a run, put together from the lines of the truth.

use std::collections::{BTreeMap, BTreeSet};

use super::Report;
use super::truth::{self, Line, Request, Touch, bytes_of};
use crate::domain::element::ElementString;
use crate::sim::truth::LINE_HALTED;

/// A physical unit.
#[derive(Clone, Debug, Default)]
pub(super) struct Unit {
    /// GTIN and serial of what the printer was given; empty where that is no element string.
    pub(super) record: Vec<(String, String)>,
    /// GTIN and serial that it bears, where legible.
    pub(super) printed: Option<(String, String)>,
    pub(super) is_conforming: bool,
    pub(super) end: Option<u8>,
    /// A person took it off the line.
    pub(super) is_taken_out: bool,
    /// A mishap acted upon it, or left it in doubt.
    pub(super) is_touched: bool,
    /// Nobody was there to let it pass in time.
    pub(super) is_delayed: bool,
}

/// A container as the station that fills it counts: station, its epoch, its count.
pub(super) type Count = (String, u32, u64);

/// A gate that began to open.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    pub(super) request: Request,
    pub(super) token: u64,
    /// The SSCC on the label; `None` where it bears none.
    pub(super) sscc: Option<String>,
    pub(super) inside: Vec<u64>,
    /// For pallets: the SSCCs on the cases inside, in the same order.
    pub(super) cases: Vec<Option<String>>,
}

/// A container that was physically sealed.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) station: String,
    pub(super) count: Count,
    pub(super) sscc: Option<String>,
    pub(super) inside: Vec<u64>,
    pub(super) cases: Vec<Option<String>>,
}

#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) units: BTreeMap<u64, Unit>,
    pub(super) openings: Vec<Opening>,
    pub(super) sealed: Vec<Sealed>,
    /// SSCCs of containers whose release stroke was done.
    pub(super) released: BTreeSet<String>,
    pub(super) moved: Vec<(String, Option<String>)>,
    pub(super) results: BTreeSet<u64>,
    /// How often each kind of mishap happened.
    pub(super) faults: BTreeMap<String, u64>,
    pub(super) touched_containers: BTreeSet<Count>,
    /// What lay in each container when its seal was asked for last.
    pub(super) filled: BTreeMap<Count, Vec<u64>>,
    /// Children of a full case; 0 where the truth does not say.
    pub(super) case_capacity: u64,
    pub(super) denied: u64,
    pub(super) phantoms: u64,
    pub(super) resets: u64,
    /// The label of each released case by the packer's number, the newest of that number.
    cases: BTreeMap<u64, Option<String>>,
}

impl World {
    pub(super) fn read(text: &str, report: &mut Report) -> Self {
        let mut world = Self::default();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            match serde_json::from_str(line) {
                Ok(line) => world.take(line),
                Err(error) => report.differ(format!("truth line {}: {error}", index.saturating_add(1))),
            }
        }
        world
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Unit { unit, record, printed, spoil } => {
                let unit = self.units.entry(unit).or_default();
                unit.record = identity_of(&record).into_iter().collect();
                unit.printed = identity_of(&printed);
                unit.is_conforming = spoil == "none";
            }
            Line::Plant { case_capacity } => self.case_capacity = case_capacity,
            Line::Result { unit } => {
                self.results.insert(unit);
            }
            // A track without a unit ends too.
            Line::End { unit: 0, .. } => {}
            Line::End { unit, end } => self.units.entry(unit).or_default().end = Some(end),
            Line::PutBack { unit } => self.units.entry(unit).or_default().is_taken_out = false,
            Line::Filled { station, epoch, container, inside } => {
                self.filled.insert((station, epoch, container), inside);
            }
            Line::Mishap(touch) => {
                *self.faults.entry(touch.mishap.clone()).or_insert(0) += 1;
                self.touch(touch);
            }
            Line::Touched(touch) => self.touch(touch),
            Line::Phantom {} => self.phantoms = self.phantoms.saturating_add(1),
            Line::Denied {} => self.denied = self.denied.saturating_add(1),
            Line::Reset {} => self.resets = self.resets.saturating_add(1),
            Line::Gate { request, token, inside, children, label } => {
                let cases = self.cases_in(&request, &inside, &children);
                let sscc = sscc_of(&label);
                self.openings.push(Opening { request, token, sscc, inside, cases });
            }
            Line::Closed { request, token, result } => self.take_close(&request, token, result),
            Line::Moved { station, container, label } => {
                let sscc = sscc_of(&label);
                if station == truth::PACKER {
                    self.cases.insert(container, sscc.clone());
                }
                self.moved.push((station, sscc));
            }
            // The palletizer numbers cases, everything before it numbers units.
            Line::TakenOut { station, unit } if station != truth::PALLETIZER => {
                self.units.entry(unit).or_default().is_taken_out = true;
            }
            Line::TakenOut { .. } | Line::Forced {} | Line::Other => {}
        }
    }

    fn touch(&mut self, touch: Touch) {
        let is_delay = touch.mishap == LINE_HALTED;
        for unit in touch.units {
            let unit = self.units.entry(unit).or_default();
            unit.is_delayed |= is_delay;
            unit.is_touched |= !is_delay;
        }
        if touch.container > 0 {
            self.touched_containers.insert((touch.station, touch.epoch, touch.container));
        }
    }

    /// The labels of the cases on a pallet: as they were scanned, else by the packer's numbers, which a restart begins anew.
    fn cases_in(&self, request: &Request, inside: &[u64], children: &[String]) -> Vec<Option<String>> {
        if request.station != truth::PALLETIZER {
            return Vec::new();
        }
        if children.len() == inside.len() {
            return children.iter().map(|code| sscc_of(code)).collect();
        }
        inside.iter().map(|case| self.cases.get(case).cloned().flatten()).collect()
    }

    fn take_close(&mut self, request: &Request, token: u64, result: u8) {
        let opening = self.openings.iter().rev().find(|opening| opening.request == *request && opening.token == token);
        let Some(opening) = opening.filter(|_| result == truth::DONE) else { return };
        if request.gate == "release" {
            self.released.extend(opening.sscc.clone());
        } else {
            self.sealed.push(Sealed {
                station: request.station.clone(),
                count: (request.station.clone(), request.epoch, request.container),
                sscc: opening.sscc.clone(),
                inside: opening.inside.clone(),
                cases: opening.cases.clone(),
            });
        }
    }
}

/// GTIN and serial of an element string.
fn identity_of(text: &str) -> Option<(String, String)> {
    let parsed = ElementString::parse(&bytes_of(text)).ok()?;
    Some((parsed.get("01")?.to_owned(), parsed.get("21")?.to_owned()))
}

fn sscc_of(label: &str) -> Option<String> {
    let parsed = ElementString::parse(&bytes_of(label)).ok()?;
    parsed.get("00").map(ToOwned::to_owned)
}
