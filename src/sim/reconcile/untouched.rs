//! In rough weather, what no mishap touched has no excuse: a conforming unit is commissioned, and a full case of such units
//! closes. (Where the truth knows of no mishap, `false_rejects` counts what was refused without a cause: a verdict that a busy
//! machine gave too late is no contradiction.) In any weather, no reject stays open without an alarm and no forced gate unseen.

use std::collections::{BTreeMap, BTreeSet};

use super::Report;
use super::truth::{BIN, PACKER};
use super::world::{Count, Unit, World};
use crate::store::views::Views;

pub(super) fn compare(world: &World, views: &Views, report: &mut Report) {
    if !world.faults.is_empty() {
        compare_units(world, views, report);
        compare_cases(world, views, report);
    }
    compare_rejects(views, report);
    let is_seen = views.facts.iter().any(|fact| fact.kind == "gate_forced");
    if world.faults.contains_key("gate_forced") && !is_seen {
        report.differ("a gate moved without a permit and no gate_forced fact says so".to_owned());
    }
}

fn compare_units(world: &World, views: &Views, report: &mut Report) {
    let states: BTreeMap<(&str, &str), &str> =
        views.units.iter().map(|unit| ((unit.gtin.as_str(), unit.serial.as_str()), unit.state.as_str())).collect();
    // Whom nobody let pass in time lies in the bin, and nowhere else.
    let is_late = |unit: &Unit| unit.is_delayed && unit.end == Some(BIN);
    let untouched = world.units.iter().filter(|(_, unit)| unit.is_conforming && !unit.is_touched && !is_late(unit));
    for (number, unit) in untouched {
        let Some((gtin, serial)) = &unit.printed else { continue };
        let state = states.get(&(gtin.as_str(), serial.as_str())).copied().unwrap_or("unknown");
        if !matches!(state, "commissioned" | "sampled" | "inactive" | "destroyed" | "released") {
            report.differ(format!("unit {number} ({serial}) conforms, nothing touched it, and it stands as {state}"));
        }
    }
}

/// By what lay in each case when its seal was asked for last.
fn compare_cases(world: &World, views: &Views, report: &mut Report) {
    let states: BTreeMap<&str, &str> =
        views.containers.iter().map(|row| (row.container.as_str(), row.state.as_str())).collect();
    let closed: BTreeSet<&Count> = world
        .sealed
        .iter()
        .filter(|sealed| {
            let state = sealed.sscc.as_deref().and_then(|sscc| states.get(sscc));
            state.is_some_and(|state| matches!(*state, "closed" | "released"))
        })
        .map(|sealed| &sealed.count)
        .collect();
    for (count, inside) in &world.filled {
        let (station, epoch, container) = count;
        let is_full = world.case_capacity > 0 && super::length(inside.len()) == world.case_capacity;
        let is_calm =
            inside.iter().all(|unit| world.units.get(unit).is_some_and(|unit| unit.is_conforming && !unit.is_touched));
        let is_touched = world.touched_containers.contains(count);
        if station == PACKER && is_full && is_calm && !is_touched && !closed.contains(count) {
            report.differ(format!(
                "case {container} of the packer (epoch {epoch}) is full and conforming, nothing touched it, and it is not closed"
            ));
        }
    }
}

/// Every reject is confirmed, or an alarm says that it is not. A result that was missed by its number alone commands nothing,
/// and a further result of a track that is answered for owes no further reject.
fn compare_rejects(views: &Views, report: &mut Report) {
    let tracks: BTreeMap<u64, u64> =
        views.inspections.iter().filter_map(|row| Some((row.inspection, row.track?))).collect();
    let mut answered: BTreeSet<u64> = views
        .rejects
        .iter()
        .filter(|reject| reject.confirmed_seq.is_some() || reject.alarm_seq.is_some())
        .filter_map(|reject| tracks.get(&reject.inspection).copied())
        .collect();
    answered.extend(views.inspections.iter().filter(|row| row.verdict == "pass").filter_map(|row| row.track));
    for reject in views.rejects.iter().filter(|reject| reject.confirmed_seq.is_none() && reject.alarm_seq.is_none()) {
        let Some(track) = tracks.get(&reject.inspection) else { continue };
        if !answered.contains(track) {
            report.differ(format!(
                "inspection {} (track {track}) was to be rejected; no reject is confirmed and no alarm says so",
                reject.inspection
            ));
        }
    }
}
