//! The end of a lock-step run: what the stage saw against what is on disk.

use std::path::Path;

use serde_json::{Value, json};

use crate::runtime::lockstep::LockstepError;
use crate::runtime::lockstep::seen::{Loss, Seen};
use crate::runtime::lockstep::upstream::Upstream;
use crate::sim::reconcile::{self, Report};
use crate::store::views::{self, FactRow};
use crate::store::{Reader, StoreError, verify};
use crate::wire::topic;

/// How a run ended.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// What is wrong; empty where nothing is.
    pub violations: Vec<String>,
    /// How each start of the subject ended: an exit code, or the signal that killed it.
    pub ends: Vec<String>,
    pub facts: u64,
    pub permits: u64,
    pub cases_closed: u64,
    pub closes_refused: u64,
    pub rejected: u64,
    pub frames: u64,
    /// Losses of durable facts on a disk that may lie: those that held the line, and those behind the newest checkpoint.
    pub losses_told: u64,
    pub losses_unseen: u64,
}

/// Violations that are shown.
const SHOWN: usize = 20;

impl Verdict {
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }

    pub fn to_json(&self) -> Value {
        json!({
            "good": self.is_good(),
            "violations": self.violations.iter().take(SHOWN).collect::<Vec<_>>(),
            "violations_in_all": self.violations.len(),
            "starts": self.ends.len(),
            "ends": self.ends,
            "facts": self.facts,
            "permits": self.permits,
            "cases_closed": self.cases_closed,
            "closes_refused": self.closes_refused,
            "rejected": self.rejected,
            "frames": self.frames,
            "losses_told": self.losses_told,
            "losses_unseen": self.losses_unseen,
        })
    }
}

/// What the stage knows besides `Seen`.
pub(super) struct Evidence<'a> {
    pub(super) journal: &'a Path,
    pub(super) truth: &'a str,
    pub(super) upstream: &'a Upstream,
    pub(super) cases: u64,
    /// Whether nothing happened to the subject: then no conforming unit may be refused.
    pub(super) is_calm: bool,
    /// Whether the disk under the journal may say yes to a flush and forget (F29).
    pub(super) may_lose: bool,
}

/// The journal is anchored every hundred facts: a loss of more cannot go unseen, and one of fewer can.
const UNSEEN_MAX: u64 = 99;

pub(super) fn judge(evidence: &Evidence<'_>, seen: &mut Seen) -> Result<Verdict, LockstepError> {
    let unreadable = |error: StoreError| LockstepError::Journal(error.to_string());
    let whole = verify::run(evidence.journal).map_err(unreadable)?;
    let views = views::load(evidence.journal).map_err(|error| LockstepError::Journal(error.to_string()))?;
    let report = reconcile::reconcile(evidence.truth, &views, &evidence.upstream.feed);
    seen.judge(&views.facts);
    let mut violations = std::mem::take(&mut seen.violations);
    violations.extend(lost(&seen.losses, evidence.may_lose));
    violations.extend(whole.first_bad.map(|flaw| format!("I11: the chain is broken at {:?}: {}", flaw.seq, flaw.what)));
    if report.wrong_in_closed_case > 0 {
        violations.push(format!("I4: {} wrong units in closed cases", report.wrong_in_closed_case));
    }
    // Without its facts a line cannot promise to end the batch; a person has to, with a signature.
    if seen.losses.is_empty() {
        violations.extend(report.differences.iter().map(|difference| format!("the records differ: {difference}")));
        violations.extend(unfinished(evidence, &report, &views.facts));
    }
    let cursor = Reader::open(evidence.journal).and_then(|mut reader| reader.feed_cursor(topic::STREAM_FACT));
    let cursor = cursor.map_err(unreadable)?;
    if cursor > evidence.upstream.acked {
        let acked = evidence.upstream.acked;
        violations.push(format!("I6: the feed stands at fact {cursor}, and upstream acknowledged up to {acked}"));
    }
    Ok(Verdict {
        violations,
        facts: report.facts,
        permits: seen.permits() as u64,
        cases_closed: report.cases_closed,
        closes_refused: report.closes_refused,
        rejected: report.rejected,
        losses_told: seen.losses.iter().filter(|loss| loss.is_told).count() as u64,
        losses_unseen: seen.losses.iter().filter(|loss| !loss.is_told).count() as u64,
        ..Verdict::default()
    })
}

/// I28: nothing that was durable is gone. Where the disk itself may lie, nothing is gone without a word beyond what the
/// checkpoints leave open.
fn lost(losses: &[Loss], may_lose: bool) -> Vec<String> {
    let is_wrong = |loss: &&Loss| !may_lose || !loss.is_told && loss.durable - loss.found > UNSEEN_MAX;
    let said = |Loss { durable, found, is_told }: &Loss| {
        let told = if *is_told { "the line was held" } else { "nobody was told" };
        format!("I28: fact {durable} was durable, and a start found only {found}; {told}")
    };
    losses.iter().filter(is_wrong).map(said).collect()
}

/// I30: what is not done of the batch although every fault is healed.
fn unfinished(evidence: &Evidence<'_>, report: &Report, facts: &[FactRow]) -> Vec<String> {
    let mut found = Vec::new();
    if report.cases_closed < evidence.cases {
        found.push(format!("I30: {} cases closed, {} were to be", report.cases_closed, evidence.cases));
    }
    if !facts.iter().any(|fact| fact.kind == "batch_closed") {
        found.push("I30: the batch is not closed".to_owned());
    }
    // The plant made one label unreadable.
    if report.closes_refused == 0 {
        found.push("I4: a label that was not read was not refused".to_owned());
    }
    if evidence.is_calm && report.false_rejects > 0 {
        found.push(format!("I30: {} conforming units rejected without any fault", report.false_rejects));
    }
    found
}
