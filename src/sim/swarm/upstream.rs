//! A consumer behind a broker, as the feed sees it: it takes the facts in order, from where the journal says that the broker
//! stands, and acknowledges them. It can be away, and its acknowledgements can be lost or repeated; what it took before must
//! come again as it was.

use crate::sim::swarm::violation::{Verdict, Violation, claim};
use crate::store::Work;
use crate::store::memory::MemoryJournal;
use crate::wire::record::{Gone, Record};

/// Facts and messages that one try delivers at most.
pub const BURST: u64 = 400;
/// Facts whose messages are kept after they were taken, and the messages of how many go at once.
const KEPT: u64 = 2_000;
const AT_ONCE: u64 = 200;

#[derive(Clone, Debug, Default)]
pub struct Upstream {
    /// A digest of each fact that was taken, the first at 0.
    taken: Vec<u64>,
    /// Where the daemon's publisher stands; forgotten when the process dies.
    sent: Option<u64>,
    away_until_us: u64,
    /// The facts up to here were asked to let their messages go.
    let_go: u64,
    pub loses_next_ack: bool,
    pub repeats_next_ack: bool,
}

impl Upstream {
    pub fn leave(&mut self, until_us: u64) {
        self.away_until_us = self.away_until_us.max(until_us);
    }

    pub fn heal(&mut self) {
        self.away_until_us = 0;
        self.loses_next_ack = false;
    }

    /// The process died, and with it the publisher.
    pub fn forget(&mut self) {
        self.sent = None;
    }

    pub fn taken(&self) -> u64 {
        self.taken.len() as u64
    }

    /// Publishes what is durable and not acknowledged; gives back what the line is told.
    pub fn pump(&mut self, now_us: u64, journal: &MemoryJournal) -> Result<Vec<Work>, Violation> {
        if now_us < self.away_until_us {
            self.sent = None;
            return Ok(Vec::new());
        }
        let acked = journal.kept().acked.get("fact").copied().unwrap_or(0);
        let from = *self.sent.get_or_insert(acked);
        let through = journal.kept().through.min(from + BURST);
        if through == from {
            return Ok(Vec::new());
        }
        self.deliver(from, through, journal)?;
        if std::mem::take(&mut self.loses_next_ack) {
            // The session is lost with it; the next one begins where the journal says.
            self.sent = None;
            return Ok(Vec::new());
        }
        self.sent = Some(through);
        let mut work = vec![Work::FeedAcked { through }];
        if std::mem::take(&mut self.repeats_next_ack) {
            work.push(Work::FeedAcked { through });
        }
        Ok(work)
    }

    /// What the line may let go of what was taken long ago. A fact says it, and facts are few.
    pub fn expirable(&mut self, journal: &MemoryJournal) -> Option<Gone> {
        let old = self.taken().checked_sub(KEPT).filter(|old| *old >= self.let_go + AT_ONCE)?;
        self.let_go = old;
        journal.kept().expirable(old)
    }

    // I16, I17: in order, at least once, the same bytes on every try.
    fn deliver(&mut self, from: u64, through: u64, journal: &MemoryJournal) -> Verdict {
        let groups = journal.groups_after(0);
        let is_new = |records: &[Record]| records.last().is_none_or(|record| record.row.seq > from);
        let known = groups.iter().rev().take_while(|(records, _)| is_new(records)).count();
        for (records, _) in journal.groups_after(groups.len() - known) {
            for record in records.iter().filter(|record| record.row.seq > from && record.row.seq <= through) {
                self.take(record.row.seq, digest(record.row.body.as_bytes()))?;
            }
        }
        Ok(())
    }

    fn take(&mut self, seq: u64, digest: u64) -> Verdict {
        let next = self.taken() + 1;
        claim(seq <= next, "I17", || format!("fact {seq} was published before fact {next}"))?;
        if seq == next {
            self.taken.push(digest);
            return Ok(());
        }
        let at = usize::try_from(seq - 1).unwrap_or(usize::MAX);
        let same = self.taken.get(at) == Some(&digest);
        claim(same, "I16", || format!("fact {seq} was published a second time with other bytes"))
    }
}

/// FNV-1a: enough to see that bytes are the same.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
