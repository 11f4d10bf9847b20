//! What physically happened against what the journal says of it.

use std::collections::{BTreeMap, BTreeSet};

use super::truth::{BIN, PACKER, PASSED};
use super::world::{Opening, Sealed, Unit, World};
use super::{Report, length};
use crate::store::views::{ContainerRow, InspectionRow, UnitRow, Views};

/// The states of a unit that was commissioned at some time.
const EVER_COMMISSIONED: &[&str] = &["commissioned", "sampled", "inactive", "destroyed", "released"];

/// The views by their keys.
struct Journal<'a> {
    /// By GTIN and serial.
    units: BTreeMap<(&'a str, &'a str), &'a UnitRow>,
    containers: BTreeMap<&'a str, &'a ContainerRow>,
    /// Present children by parent.
    members: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

pub(super) fn compare(world: &World, views: &Views, report: &mut Report) {
    let journal = Journal::index(views, report);
    for (number, unit) in &world.units {
        compare_unit(*number, unit, &journal, report);
    }
    compare_commissioned(world, &journal, report);
    for sealed in &world.sealed {
        compare_sealed(sealed, world, &journal, report);
    }
    compare_containers(world, &journal, report);
    compare_openings(world, views, report);
    compare_counts(world, views, report);
}

impl<'a> Journal<'a> {
    fn index(views: &'a Views, report: &mut Report) -> Self {
        let mut journal = Self { units: BTreeMap::new(), containers: BTreeMap::new(), members: BTreeMap::new() };
        for unit in &views.units {
            if journal.units.insert((&unit.gtin, &unit.serial), unit).is_some() {
                report.differ(format!("serial {} of {} stands twice in v_unit", unit.serial, unit.gtin));
            }
        }
        for container in &views.containers {
            if journal.containers.insert(&container.container, container).is_some() {
                report.differ(format!("container {} stands twice in v_container", container.container));
            }
        }
        let mut parents: BTreeMap<&str, &str> = BTreeMap::new();
        for member in views.members.iter().filter(|member| member.to_seq.is_none()) {
            journal.members.entry(&member.parent).or_default().insert(&member.child);
            if let Some(other) = parents.insert(&member.child, &member.parent) {
                report.differ(format!("{} lies in {} and in {other} (v_member)", member.child, member.parent));
            }
        }
        journal
    }

    fn unit(&self, identity: &(String, String)) -> Option<&'a UnitRow> {
        self.units.get(&(identity.0.as_str(), identity.1.as_str())).copied()
    }

    fn is_commissioned(&self, identity: &(String, String)) -> bool {
        self.unit(identity).is_some_and(was_commissioned)
    }

    /// The SGTIN URI of a physical unit by what it bears.
    fn uri(&self, unit: &Unit) -> Option<&'a str> {
        self.unit(unit.printed.as_ref()?).map(|row| row.unit.as_str())
    }
}

fn was_commissioned(unit: &UnitRow) -> bool {
    EVER_COMMISSIONED.contains(&unit.state.as_str())
}

fn compare_unit(number: u64, unit: &Unit, journal: &Journal<'_>, report: &mut Report) {
    if unit.is_taken_out {
        return;
    }
    if unit.is_touched {
        // It may lie anywhere but in a closed container that does not name it, and those are compared below.
        return;
    }
    match unit.end {
        Some(PASSED) if !unit.is_conforming => report.differ(format!("unit {number} is spoiled and passed the gate")),
        Some(PASSED) => match &unit.printed {
            Some(identity) if journal.is_commissioned(identity) => {}
            Some((_, serial)) => {
                report.differ(format!("unit {number} ({serial}) passed the gate and is not commissioned"))
            }
            None => report.differ(format!("unit {number} passed the gate and bears no identity")),
        },
        // Its own serial, not the one that a duplicate shows: that one belongs to another unit.
        Some(_) => {
            if let Some((_, serial)) = unit.record.iter().find(|identity| journal.is_commissioned(identity)) {
                let place = if unit.end == Some(BIN) { "in the bin" } else { "lost" };
                report.differ(format!("unit {number} ({serial}) lies {place} and is commissioned"));
            }
        }
        // Still on the belt at the end of the run.
        None => {}
    }
}

/// Every commissioned serial is on exactly one unit that passed the gate.
fn compare_commissioned(world: &World, journal: &Journal<'_>, report: &mut Report) {
    let mut bearers: BTreeMap<(&str, &str), Vec<u64>> = BTreeMap::new();
    for (number, unit) in world.units.iter().filter(|(_, unit)| unit.end == Some(PASSED) || unit.is_taken_out) {
        if let Some((gtin, serial)) = &unit.printed {
            bearers.entry((gtin, serial)).or_default().push(*number);
        }
    }
    for (identity, unit) in journal.units.iter().filter(|(_, unit)| was_commissioned(unit)) {
        let bearers = bearers.get(identity).map_or(&[][..], Vec::as_slice);
        let calm = |number: &&u64| world.units.get(number).is_some_and(|unit| !unit.is_touched);
        match bearers {
            [_] => {}
            // What else bears it went astray by a mishap, and so did its only bearer where there is none.
            [_, ..] if bearers.iter().filter(calm).count() <= 1 => {}
            [] if is_touched_bearer(world, identity) => {}
            [] => report.differ(format!("{} is commissioned and no unit that passed the gate bears it", unit.unit)),
            several => report.differ(format!("{} is borne by units {several:?} beyond the gate", unit.unit)),
        }
    }
}

fn is_touched_bearer(world: &World, (gtin, serial): &(&str, &str)) -> bool {
    let is_it = |(g, s): &(String, String)| g == gtin && s == serial;
    world.units.values().any(|unit| unit.is_touched && unit.printed.as_ref().is_some_and(is_it))
}

fn compare_sealed(sealed: &Sealed, world: &World, journal: &Journal<'_>, report: &mut Report) {
    let Some(sscc) = &sealed.sscc else {
        report.differ(format!("the {} sealed a container whose label bears no SSCC", sealed.station));
        return;
    };
    let Some(container) = journal.containers.get(sscc.as_str()) else {
        report.differ(format!("container {sscc} is physically sealed and unknown to the journal"));
        return;
    };
    if !matches!(container.state.as_str(), "closed" | "released" | "held") {
        report.differ(format!("container {sscc} is physically sealed and stands as {}", container.state));
    }
    if container.state == "held" && world.touched_containers.contains(&sealed.count) {
        // Its answer was lost or came too late: it is in quarantine, and nobody packs or ships it.
        return;
    }
    let nothing = BTreeSet::new();
    let members = journal.members.get(sscc.as_str()).unwrap_or(&nothing);
    let is_case = sealed.station == PACKER;
    let inside: BTreeSet<&str> = match is_case {
        true => sealed.inside.iter().filter_map(|unit| journal.uri(world.units.get(unit)?)).collect(),
        false => sealed.cases.iter().flatten().map(String::as_str).collect(),
    };
    if inside != *members {
        let (only_inside, only_journal) = (inside.difference(members), members.difference(&inside));
        report.differ(format!(
            "container {sscc}: only physically inside {:?}, only in the journal {:?}",
            only_inside.collect::<Vec<_>>(),
            only_journal.collect::<Vec<_>>()
        ));
    }
    if length(sealed.inside.len()) != container.capacity || inside.len() != sealed.inside.len() {
        report.differ(format!("container {sscc} holds {} for {} places", sealed.inside.len(), container.capacity));
    }
    if is_case {
        let is_wrong = |number: &&u64| is_wrong_in(**number, container, members, world, journal);
        report.wrong_in_closed_case =
            report.wrong_in_closed_case.saturating_add(length(sealed.inside.iter().filter(is_wrong).count()));
    }
}

/// A unit that should not be in that sealed case: spoiled, not commissioned, of another batch, or not its member.
fn is_wrong_in(
    number: u64,
    case: &ContainerRow,
    members: &BTreeSet<&str>,
    world: &World,
    journal: &Journal<'_>,
) -> bool {
    let Some(unit) = world.units.get(&number) else { return true };
    let row = unit.printed.as_ref().and_then(|identity| journal.unit(identity));
    let is_right =
        row.is_some_and(|row| was_commissioned(row) && row.batch == case.batch && members.contains(row.unit.as_str()));
    !(unit.is_conforming && is_right)
}

/// Nothing is closed or released on paper alone, and no SSCC is on two containers.
fn compare_containers(world: &World, journal: &Journal<'_>, report: &mut Report) {
    let mut sealed = BTreeSet::new();
    for sscc in world.sealed.iter().filter_map(|sealed| sealed.sscc.as_deref()) {
        if !sealed.insert(sscc) {
            report.differ(format!("two containers are sealed under {sscc}"));
        }
    }
    let mut moved = BTreeSet::new();
    for (station, sscc) in &world.moved {
        match sscc {
            Some(sscc) if !moved.insert(sscc) => report.differ(format!("two containers with the label {sscc} went on")),
            Some(_) => {}
            None => report.differ(format!("a container without a label went on from the {station}")),
        }
    }
    for (sscc, container) in &journal.containers {
        let is_closed = matches!(container.state.as_str(), "closed" | "released");
        if is_closed && !sealed.contains(sscc) {
            report.differ(format!("container {sscc} stands as {} and was never sealed", container.state));
        }
        if container.state == "released" && !world.released.contains(*sscc) {
            report.differ(format!("container {sscc} stands as released and no release was done"));
        }
    }
}

/// Every gate opened on a token that was granted to that station, epoch, request and container, and no token opened two.
fn compare_openings(world: &World, views: &Views, report: &mut Report) {
    let permits: BTreeMap<u64, _> = views.permits.iter().map(|permit| (permit.token, permit)).collect();
    let joins = joins(views);
    let mut used = BTreeSet::new();
    for Opening { request, token, sscc, .. } in &world.openings {
        let place =
            format!("{} of the {} (epoch {}, request {})", request.gate, request.station, request.epoch, request.seq);
        if !used.insert(*token) {
            report.differ(format!("{place}: token {token} opened a gate twice"));
        }
        let Some(permit) = permits.get(token) else {
            report.differ(format!("{place} opened on token {token}, which was never granted"));
            continue;
        };
        // The journal counts epochs itself; the fact that a station joined ties its number to the device's.
        let join = (request.station.clone(), permit.station.clone(), permit.epoch, u64::from(request.epoch));
        let is_granted = permit.gate == request.gate
            && permit.request_seq == request.seq
            && Some(&permit.container) == sscc.as_ref()
            && joins.contains(&join);
        if !is_granted {
            report.differ(format!("{place} opened for {sscc:?} on token {token}, which was granted as {permit:?}"));
        }
    }
}

/// Station kind, station, our epoch and the device's, of every `station_joined` fact.
fn joins(views: &Views) -> BTreeSet<(String, String, u32, u64)> {
    let join = |body: &str| {
        let body: serde_json::Value = serde_json::from_str(body).ok()?;
        let text = |key: &str| body.get(key)?.as_str().map(ToOwned::to_owned);
        let number = |key: &str| body.get(key)?.as_u64();
        Some((text("station_kind")?, text("station")?, u32::try_from(number("epoch")?).ok()?, number("device_epoch")?))
    };
    views.facts.iter().filter(|fact| fact.kind == "station_joined").filter_map(|fact| join(&fact.body)).collect()
}

/// The counts of I10 that have a physical side. A restarted device loses tracks that nobody can count, and other mishaps make
/// results without units and units without results.
fn compare_counts(world: &World, views: &Views, report: &mut Report) {
    if world.resets > 0 || !world.faults.is_empty() {
        return;
    }
    let decided = |unit: &&Unit| unit.end.is_some();
    let ended = length(world.units.values().filter(decided).count());
    let production = views.inspections.iter().filter(|inspection| inspection.purpose == "production");
    // Where nobody could know which track a missed result was of, it and a track that ended without one may be one unit, seen
    // from both sides. One that was handed to its end has both numbers.
    let missed = |inspection: &&InspectionRow| inspection.verdict == "missed";
    let by_number = production.clone().filter(missed).filter(|inspection| inspection.track.is_none()).count();
    let by_track = production.clone().filter(missed).filter(|inspection| inspection.result_seq.is_none()).count();
    let triggers = length(production.clone().count()).saturating_sub(length(by_number.min(by_track)));
    let seen = length(world.results.len()).max(ended);
    if triggers < ended || triggers > seen {
        report
            .differ(format!("{triggers} inspections for {ended} units that left the track and {seen} that were seen"));
    }
    let pass = length(production.clone().filter(|inspection| inspection.verdict == "pass").count());
    let passed = length(world.units.values().filter(|unit| unit.end == Some(PASSED)).count());
    if pass < passed {
        report.differ(format!("{passed} units passed the gate on {pass} pass verdicts"));
    }
    let bin = length(world.units.values().filter(|unit| unit.end == Some(BIN)).count());
    let confirmed = length(views.rejects.iter().filter(|reject| reject.confirmed_seq.is_some()).count());
    let resolved = length(views.rejects.iter().filter(|r| r.confirmed_seq.is_none() && r.alarm_seq.is_some()).count());
    if bin < confirmed || bin > confirmed.saturating_add(resolved).saturating_add(world.phantoms) {
        report.differ(format!("{bin} units lie in the bin, {confirmed} rejects are confirmed, {resolved} resolved"));
    }
}
