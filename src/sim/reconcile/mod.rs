//! Whether three independent records tell the same story: what physically happened (`truth.jsonl`), what the journal's audit
//! views say, and what a subscriber captured (`feed.jsonl`).
//!
//! The pass shares nothing with the controller but the parser of element strings: it reads files, compares, and lists every
//! difference in words. What a mishap of the truth touched may end as a reject or in a person's hand, never in a closed
//! container that the journal does not name; what nothing touched is held to a calm day (`untouched`). Pure functions over its inputs; `reconciled` means that the list is empty. The proof of the hash chain is not
//! repeated here (`audit verify`).

mod capture;
mod physical;
#[cfg(test)]
mod tests;
mod truth;
mod untouched;
mod world;

use std::collections::BTreeMap;

use crate::store::views::Views;

/// Differences beyond this many are counted, not listed.
const LISTED_MAX: usize = 500;

/// The outcome, with the figures that the demo prints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub differences: Vec<String>,
    /// Differences that are not listed.
    pub unlisted: u64,
    /// Units in sealed cases that should not be there: spoiled, not commissioned, or not of that case.
    pub wrong_in_closed_case: u64,
    /// Conforming units that lie in the bin.
    pub false_rejects: u64,
    /// Units that entered the line.
    pub presented: u64,
    /// Serials printed on a unit.
    pub printed: u64,
    pub commissioned: u64,
    /// Units that lie in the bin.
    pub rejected: u64,
    pub missed: u64,
    /// Printed serials that ended neither commissioned nor scrapped.
    pub unaccounted: u64,
    pub cases_closed: u64,
    pub pallets_closed: u64,
    pub closes_refused: u64,
    /// How often each kind of mishap happened, by the plant's own count.
    pub faults: BTreeMap<String, u64>,
    /// Units that a mishap touched.
    pub touched: u64,
    pub facts: u64,
    /// Facts, EPCIS events and batch messages in the journal.
    pub messages: u64,
}

impl Report {
    pub fn is_reconciled(&self) -> bool {
        self.differences.is_empty()
    }

    fn differ(&mut self, difference: String) {
        if self.differences.len() < LISTED_MAX {
            self.differences.push(difference);
        } else {
            self.unlisted = self.unlisted.saturating_add(1);
        }
    }
}

/// Compares the first two alone: for runs without a broker.
pub fn reconcile_without_feed(truth_jsonl: &str, views: &Views) -> Report {
    let mut report = Report::default();
    let world = world::World::read(truth_jsonl, &mut report);
    compare(&world, views, &mut report);
    report
}

/// Compares the three. A line of a file that cannot be read is a difference as well.
pub fn reconcile(truth_jsonl: &str, views: &Views, feed_jsonl: &str) -> Report {
    let mut report = Report::default();
    let world = world::World::read(truth_jsonl, &mut report);
    compare(&world, views, &mut report);
    capture::compare(views, feed_jsonl, &mut report);
    report
}

fn compare(world: &world::World, views: &Views, report: &mut Report) {
    physical::compare(world, views, report);
    untouched::compare(world, views, report);
    count(world, views, report);
}

fn count(world: &world::World, views: &Views, report: &mut Report) {
    let states = tally(views.units.iter().map(|unit| unit.state.as_str()));
    let state = |name: &str| states.get(name).copied().unwrap_or(0);
    let verdicts = tally(views.inspections.iter().map(|inspection| inspection.verdict.as_str()));
    report.presented = length(world.units.len());
    report.commissioned = ["commissioned", "sampled", "inactive", "destroyed", "released"].map(state).iter().sum();
    report.printed = length(world.units.values().filter(|unit| !unit.record.is_empty()).count());
    report.unaccounted = state("encoded");
    report.rejected = length(world.units.values().filter(|unit| unit.end == Some(truth::BIN)).count());
    report.missed = verdicts.get("missed").copied().unwrap_or(0);
    report.false_rejects =
        length(world.units.values().filter(|unit| unit.is_conforming && unit.end == Some(truth::BIN)).count());
    report.cases_closed = length(world.sealed.iter().filter(|sealed| sealed.station == truth::PACKER).count());
    report.pallets_closed = length(world.sealed.iter().filter(|sealed| sealed.station == truth::PALLETIZER).count());
    report.closes_refused = world.denied;
    report.faults.clone_from(&world.faults);
    report.touched = length(world.units.values().filter(|unit| unit.is_touched).count());
    report.facts = length(views.facts.len());
    report.messages = report.facts.saturating_add(length(views.messages.len()));
}

fn tally<'a>(words: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, u64> {
    let mut counts = BTreeMap::new();
    for word in words {
        *counts.entry(word).or_insert(0) += 1;
    }
    counts
}

fn length(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
