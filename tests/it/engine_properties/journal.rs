//! What the engine decided, lowered and committed: the tables take it, and then say what the engine's state says.

use std::sync::Arc;

use sealgate::engine::fact::{Child, Entry, Fact};
use sealgate::engine::state::{Batch, State};
use sealgate::store::memory::{Child as Kept, MemoryJournal};
use sealgate::store::{Journal, Settings, open};
use sealgate::wire::lower::{LineIdentity, Lowering, Stamp};
use sealgate::wire::record::Record;

use super::plant::Plant;

pub(super) fn takes(plant: &Plant) -> Result<(), String> {
    let (entries, order, engine) = plant.record();
    let records: Vec<Record> = entries.iter().map(|entry| lower(entry, order)).collect();
    let is_open = engine.state().batch(&order.sheet.batch).is_some();
    let folded = State { kept: Default::default(), ..plant.folded(entries, is_open) };
    same("the fold", engine.state(), &folded)?;
    on_disk(&records, &folded)?;
    let mut journal = MemoryJournal::default();
    journal.submit(records, Vec::new()).map_err(|_| "the journal is busy".to_owned())?;
    journal.take_durable().ok_or("nothing came back")?.map_err(|error| error.to_string())?;
    agrees(&journal, engine.state())
}

fn lower(entry: &Entry, order: &Arc<sealgate::engine::input::Order>) -> Record {
    let identity = LineIdentity {
        line: "site/line".to_owned(),
        source: "urn:site:line".to_owned(),
        read_points: Default::default(),
        container_read_points: Default::default(),
        biz_location: "urn:epc:id:sgln:9506000.12345.0".to_owned(),
        offset_minutes: 0,
    };
    let sheet = entry.batch.map(|_| &order.sheet);
    let loaded = matches!(entry.fact, Fact::BatchLoaded { .. }).then_some(order);
    Lowering::new(identity).record(entry, sheet, loaded, Stamp::default())
}

/// Recovery reads no more than it must; the fold from the start is its oracle (I7).
fn on_disk(records: &[Record], folded: &State) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let settings = Settings::new(folder.path().join("line.db"), "site/line");
    let mut store = open(&settings).map_err(|error| error.to_string())?;
    let job = sealgate::store::commit::Job { records: records.to_vec(), work: Vec::new() };
    store.commit(&job, || 0).map_err(|error| error.to_string())?;
    drop(store);
    let mut store = open(&settings).map_err(|error| error.to_string())?;
    let recovered = sealgate::runtime::recover(&mut store).map_err(|error| format!("{error:?}"))?;
    same("recovery", folded, &recovered.state)
}

fn agrees(journal: &MemoryJournal, state: &State) -> Result<(), String> {
    let kept = journal.kept();
    let alarms: Vec<u32> = state.alarms.keys().copied().collect();
    let kept_alarms: Vec<u32> = kept.alarms.iter().copied().collect();
    same("alarms", &alarms, &kept_alarms)?;
    state.batches.iter().try_for_each(|batch| batch_agrees(journal, batch))
}

fn batch_agrees(journal: &MemoryJournal, batch: &Batch) -> Result<(), String> {
    let kept = journal.kept();
    let id = batch.id().as_str().to_owned();
    same("the batch's state", &Some(&batch.state.name()), &kept.batches.get(&id))?;
    for place in 0..batch.pool.len() {
        let (Some(serial), Some(unit)) = (batch.pool.serial(place), batch.pool.unit(place)) else { continue };
        let key = (id.clone(), serial.as_str().to_owned());
        same(&format!("serial {serial}"), &Some(&(unit.state.name(), unit.verified)), &kept.units.get(&key))?;
        let parent = unit.parent.and_then(|parent| batch.parent_sscc(parent)).map(|sscc| sscc.as_str().to_owned());
        same(&format!("the parent of {serial}"), &parent.as_ref(), &kept.parents.get(&Kept::Unit(key)))?;
    }
    for container in &batch.containers {
        let sscc = container.sscc.as_str().to_owned();
        same(&format!("container {sscc}"), &Some(&container.state.name()), &kept.containers.get(&sscc))?;
        for child in &container.children {
            let Child::Container(child) = child else { continue };
            let parent = kept.parents.get(&Kept::Container(child.as_str().to_owned()));
            same(&format!("the parent of {}", child.as_str()), &Some(&sscc), &parent)?;
        }
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, engine: &T, tables: &T) -> Result<(), String> {
    if engine == tables { Ok(()) } else { Err(format!("{what}: the engine says {engine:?}, the tables {tables:?}")) }
}
