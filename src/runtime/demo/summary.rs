//! The end of a demo: three records compared, and the figures of the run in one object.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::runtime::demo::DemoError;
use crate::runtime::demo::child::Daemon;
use crate::runtime::demo::folder::Folder;
use crate::sim::capture::Marks;
use crate::sim::mishap::Mishap;
use crate::sim::reconcile::{self, Report};
use crate::sim::truth::{TruthEvent, TruthLine};
use crate::store::{Reader, StoreError, views};
use crate::wire::topic;

/// How a demo ended.
#[derive(Clone, Debug)]
pub struct Summary {
    pub report: Report,
    /// What stood against the close of the batch; it closed where this is empty.
    pub batch_open: Vec<String>,
    /// Kinds of mishap that were to happen and did not.
    pub never: Vec<&'static str>,
    /// From the published result to the latched verdict, by the plant's clock: 50, 99 and 99.9 of 100.
    pub verdict_us: [u64; 3],
    /// Messages that a subscriber had at least once.
    pub acked: u64,
    pub kills: u32,
    pub starts: u32,
    pub folder: String,
}

/// Differences that the last line shows; it stays one line that a person can read.
const DIFFERENCES_SHOWN: usize = 20;

impl Summary {
    pub(super) fn of(
        folder: &Folder,
        batch_open: Vec<String>,
        daemon: &Daemon,
        kinds: &[Mishap],
    ) -> Result<Self, DemoError> {
        let truth = fs::read_to_string(folder.path("truth.jsonl"))?;
        let feed = fs::read_to_string(folder.path("feed.jsonl"))?;
        let views = views::load(&folder.path("line.db")).map_err(|error| DemoError::Stuck(error.to_string()))?;
        let report = reconcile::reconcile(&truth, &views, &feed);
        Ok(Self {
            acked: acked(folder)?,
            batch_open,
            never: kinds.iter().map(|kind| kind.name()).filter(|kind| !report.faults.contains_key(*kind)).collect(),
            verdict_us: percentiles(verdict_times(&truth)),
            kills: daemon.kills(),
            starts: daemon.starts(),
            folder: folder.root().display().to_string(),
            report,
        })
    }

    /// The promise of every run: nothing wrong in a closed case, three records that agree, and every kind of mishap that was
    /// to happen has happened.
    pub fn is_good(&self) -> bool {
        self.report.is_reconciled() && self.report.wrong_in_closed_case == 0 && self.never.is_empty()
    }

    pub fn to_json(&self) -> Value {
        let report = &self.report;
        let [p50, p99, p999] = self.verdict_us;
        json!({
            "presented": report.presented,
            "printed": report.printed,
            "commissioned": report.commissioned,
            "rejected": report.rejected,
            "missed": report.missed,
            "unaccounted": report.unaccounted,
            "false_rejects": report.false_rejects,
            "cases_closed": report.cases_closed,
            "pallets_closed": report.pallets_closed,
            "closes_refused": report.closes_refused,
            "facts": report.facts,
            "messages": report.messages,
            "acked": self.acked,
            "verdict_us": { "p50": p50, "p99": p99, "p999": p999 },
            "wrong_in_closed_case": report.wrong_in_closed_case,
            "batch_closed": self.batch_open.is_empty(),
            "batch_open": self.batch_open,
            "faults": report.faults,
            "faults_never": self.never,
            "touched": report.touched,
            "reconciled": report.is_reconciled(),
            "differences": report.differences.iter().take(DIFFERENCES_SHOWN).collect::<Vec<_>>(),
            "differences_in_all": report.differences.len() as u64 + report.unlisted,
            "kills": self.kills,
            "starts": self.starts,
            "data": self.folder,
        })
    }
}

/// The newest number of each stream in the journal.
pub(super) fn heads(folder: &Folder) -> Result<Marks, DemoError> {
    let stuck = |error: StoreError| DemoError::Stuck(error.to_string());
    let mut reader = Reader::open(&folder.path("line.db")).map_err(stuck)?;
    Ok(Marks {
        fact: reader.head().map_err(stuck)?.0,
        epcis: reader.stream_head(topic::STREAM_EPCIS).map_err(stuck)?,
        batch: reader.stream_head(topic::STREAM_BATCH).map_err(stuck)?,
    })
}

/// Messages of all streams that the broker acknowledged; each stream is dense from 1.
fn acked(folder: &Folder) -> Result<u64, DemoError> {
    let stuck = |error: StoreError| DemoError::Stuck(error.to_string());
    let mut reader = Reader::open(&folder.path("line.db")).map_err(stuck)?;
    topic::STREAMS.iter().map(|stream| reader.feed_cursor(stream).map_err(stuck)).sum()
}

fn verdict_times(truth: &str) -> Vec<u64> {
    let mut published = BTreeMap::new();
    let mut times = Vec::new();
    for line in truth.lines().filter_map(|line| serde_json::from_str::<TruthLine>(line).ok()) {
        if let TruthEvent::Result { unit, dropped: false, .. } = line.event {
            published.insert(unit, line.t_us);
        } else if let TruthEvent::Verdict { unit, .. } = line.event {
            // Only the first verdict of a unit answers its result; later ones withdraw or repeat.
            times.extend(published.remove(&unit).map(|at| line.t_us.saturating_sub(at)));
        }
    }
    times
}

/// 50, 99 and 99.9 of 100; zeros where there is nothing.
pub(super) fn percentiles(mut times: Vec<u64>) -> [u64; 3] {
    times.sort_unstable();
    [500, 990, 999].map(|per_mille| {
        let at = times.len().saturating_sub(1) * per_mille / 1000;
        times.get(at).copied().unwrap_or(0)
    })
}
