//! The end of a lock-step run: what the stage saw against what is on disk.

use std::path::Path;

use serde_json::{Value, json};

use crate::runtime::lockstep::LockstepError;
use crate::runtime::lockstep::seen::Seen;
use crate::runtime::lockstep::upstream::Upstream;
use crate::sim::reconcile;
use crate::store::{Reader, StoreError, verify, views};
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
}

pub(super) fn judge(evidence: &Evidence<'_>, seen: &mut Seen) -> Result<Verdict, LockstepError> {
    let unreadable = |error: StoreError| LockstepError::Journal(error.to_string());
    let whole = verify::run(evidence.journal).map_err(unreadable)?;
    let views = views::load(evidence.journal).map_err(|error| LockstepError::Journal(error.to_string()))?;
    let report = reconcile::reconcile(evidence.truth, &views, &evidence.upstream.feed);
    seen.judge(&views.facts);
    let mut violations = std::mem::take(&mut seen.violations);
    violations.extend(whole.first_bad.map(|flaw| format!("I11: the chain is broken at {:?}: {}", flaw.seq, flaw.what)));
    violations.extend(report.differences.iter().map(|difference| format!("the records differ: {difference}")));
    if report.wrong_in_closed_case > 0 {
        violations.push(format!("I4: {} wrong units in closed cases", report.wrong_in_closed_case));
    }
    if report.cases_closed < evidence.cases {
        violations.push(format!("I30: {} cases closed, {} were to be", report.cases_closed, evidence.cases));
    }
    if !views.facts.iter().any(|fact| fact.kind == "batch_closed") {
        violations.push("I30: the batch is not closed".to_owned());
    }
    // The plant made one label unreadable.
    if report.closes_refused == 0 {
        violations.push("I4: a label that was not read was not refused".to_owned());
    }
    if evidence.is_calm && report.false_rejects > 0 {
        violations.push(format!("I30: {} conforming units rejected without any fault", report.false_rejects));
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
        ..Verdict::default()
    })
}
