//! Electronic signatures (21 CFR 11.50 to 11.200): what a person signs is bound to the record as it is at that moment.
//!
//! Two steps. `prepare` hashes the record and keeps a challenge: single use, one person's, for a minute. `sign` brings it back with a
//! proof of the password; the record is made and hashed again, and only where it is the same does a `signed` fact come to be, in the
//! same step as what it allows. Two persons: whoever performed does not verify.

use sha2::{Digest, Sha256};

use crate::domain::text::{BatchId, Text};
use crate::domain::time::{ClockState, Now};
use crate::engine::Engine;
use crate::engine::batch::Closing;
use crate::engine::fact::{Counts, Fact};
use crate::engine::input::{Actor, BatchSheet};
use crate::engine::login::{Outcome, refuse};
use crate::engine::output::{Done, Refused, Step};
use crate::engine::people::{FullName, PeopleRefusal, Proof, UserId};
use crate::engine::reason::{Difference, RequestRefusal};
use crate::engine::rights::Action;

/// Random, of the desk: 64 hexadecimal digits.
pub type Challenge = Text<64>;
/// SHA-256 of a record, in lower-case hex.
pub type SubjectHash = Text<64>;

/// How long a challenge may be answered.
const CHALLENGE_US: u64 = 60_000_000;
/// Challenges that wait at once; another one takes the place of the oldest.
const CHALLENGES_MAX: usize = 64;

/// What a signature says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// I have done this, and answer for it.
    Performed,
    /// I have looked at what another did, and it is right.
    Verified,
}

impl Meaning {
    pub const ALL: &'static [Meaning] = &[Meaning::Performed, Meaning::Verified];

    /// The stable word, lower snake case.
    pub fn name(self) -> &'static str {
        match self {
            Meaning::Performed => "performed",
            Meaning::Verified => "verified",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|meaning| meaning.name() == name)
    }

    pub(super) fn action(self) -> Action {
        match self {
            Meaning::Performed => Action::SignVariance,
            Meaning::Verified => Action::VerifyVariance,
        }
    }
}

/// What can be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signable {
    /// The close of a batch whose counts do not balance (I10).
    VarianceClose,
}

impl Signable {
    pub const ALL: &'static [Signable] = &[Signable::VarianceClose];

    /// The stable word, lower snake case.
    pub fn name(self) -> &'static str {
        match self {
            Signable::VarianceClose => "variance_close",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|what| what.name() == name)
    }
}

/// One signature, as it is printed and as it is proven. Its subject is the batch of the fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub user: UserId,
    pub full_name: FullName,
    pub meaning: Meaning,
    pub action: Signable,
    pub subject_hash: SubjectHash,
    pub challenge: Challenge,
    /// Local time at the line, minutes east of UTC, and what was known of the clock.
    pub offset_minutes: i64,
    pub clock: ClockState,
}

/// Who signed for a batch that still waits for a second person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Performed {
    pub user: UserId,
    pub subject_hash: SubjectHash,
}

/// A challenge that waits for its signature.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prepared {
    user: UserId,
    batch: BatchId,
    subject_hash: SubjectHash,
    until_us: u64,
}

impl Engine {
    pub(super) fn prepare(
        &mut self,
        now: Now,
        step: &mut Step,
        user: Actor,
        batch: BatchId,
        challenge: Challenge,
    ) -> Outcome {
        let subject_hash = self.variance(step, &batch)?.0;
        let challenges = &mut self.attendance.challenges;
        if challenges.len() >= CHALLENGES_MAX {
            let oldest = challenges.iter().min_by_key(|(_, at)| at.until_us).map(|(challenge, _)| *challenge);
            oldest.and_then(|oldest| challenges.remove(&oldest));
        }
        let until_us = now.mono_us.saturating_add(CHALLENGE_US);
        self.attendance.challenges.insert(challenge, Prepared { user, batch, subject_hash, until_us });
        Ok(Done::Prepared(subject_hash))
    }

    /// A challenge is used up by the first try, whatever becomes of it.
    pub(super) fn sign(
        &mut self,
        now: Now,
        step: &mut Step,
        user: Actor,
        proof: Proof,
        (challenge, meaning): (Challenge, Meaning),
    ) -> Outcome {
        let prepared = self.attendance.challenges.remove(&challenge);
        let prepared = prepared.filter(|at| at.user == user && proof.user == user && now.mono_us < at.until_us);
        let Some(Prepared { batch, subject_hash, .. }) = prepared else {
            return refuse(PeopleRefusal::UnknownChallenge);
        };
        let person = self.proven(proof)?;
        let (hash, closing) = self.variance(step, &batch)?;
        if hash != subject_hash {
            return refuse(PeopleRefusal::RecordChanged);
        }
        if meaning == Meaning::Verified {
            let performed = self.state.batch(&batch).and_then(|batch| batch.performed);
            match performed.filter(|performed| performed.subject_hash == hash) {
                None => return refuse(PeopleRefusal::NothingPerformed),
                Some(performed) if performed.user == user => return refuse(PeopleRefusal::SamePerson),
                Some(_) => {}
            }
        }
        let signature = Signature {
            user,
            full_name: person.full_name,
            meaning,
            action: Signable::VarianceClose,
            subject_hash,
            challenge,
            offset_minutes: self.policy.offset_minutes,
            clock: self.clock(),
        };
        self.emit_for(step, batch, user, Fact::Signed { signature: Box::new(signature) });
        if meaning == Meaning::Verified {
            self.conclude(step, batch, user, closing);
        }
        Ok(Done::Changed)
    }

    /// A stopped batch that only counts keep from its close: the hash of its record, and the record.
    fn variance(&mut self, step: &mut Step, batch: &BatchId) -> Result<(SubjectHash, Closing), Refused> {
        let closing = self.closing(step, batch)?;
        if closing.differences.is_empty() {
            return refuse(PeopleRefusal::NothingToSign);
        }
        if !closing.differences.iter().all(is_signable) {
            let reasons = vec![RequestRefusal::NotBalanced];
            return Err(Refused { reasons, differences: closing.differences });
        }
        if self.flush_owed() {
            return Err(Refused { reasons: vec![RequestRefusal::Busy], differences: Vec::new() });
        }
        Ok((hash(&record(&closing.sheet, closing.opened_seq, &closing.counts)), closing))
    }
}

/// What was counted and cannot be found any more; everything else is still to be done at the machine.
fn is_signable(difference: &Difference) -> bool {
    match difference {
        Difference::Unaccounted(_) | Difference::UnresolvedRejects(_) | Difference::BinDiffers { .. } => true,
        Difference::InBuffer(_)
        | Difference::Loose(_)
        | Difference::InTransit(_)
        | Difference::OpenContainers(_)
        | Difference::PartialContainers(_) => false,
    }
}

fn hash(record: &str) -> SubjectHash {
    let hex: String = Sha256::digest(record.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    SubjectHash::new(&hex).unwrap_or_default()
}

/// The record that is signed: what the close will say of the batch, one `key length:value` a line. It follows from the facts
/// `batch_loaded` and `batch_closed` alone.
pub fn record(sheet: &BatchSheet, opened_seq: u64, counts: &Counts) -> String {
    let Counts { received, unused, burned, printed, commissioned, scrapped, unaccounted, packed, loose, .. } = *counts;
    let Counts { triggers, pass, fail, no_read, missed, rejects_commanded, rejects_confirmed, .. } = *counts;
    let Counts { rejects_resolved, bin, phantom, cases_released, pallets_released, .. } = *counts;
    let texts = [
        ("record", "sealgate variance_close 1".to_owned()),
        ("batch", sheet.batch.to_string()),
        ("gtin", sheet.gtin.as_str().to_owned()),
        ("lot", sheet.lot.as_str().to_owned()),
        ("opened_seq", opened_seq.to_string()),
    ];
    let numbers = [
        ("received", received),
        ("unused", unused),
        ("burned", burned),
        ("printed", printed),
        ("commissioned", commissioned),
        ("scrapped", scrapped),
        ("unaccounted", unaccounted),
        ("packed", packed),
        ("loose", loose),
        ("triggers", triggers),
        ("pass", pass),
        ("fail", fail),
        ("no_read", no_read),
        ("missed", missed),
        ("rejects_commanded", rejects_commanded),
        ("rejects_confirmed", rejects_confirmed),
        ("rejects_resolved", rejects_resolved),
        ("bin", bin),
        ("phantom", phantom),
        ("cases_released", cases_released),
        ("pallets_released", pallets_released),
    ];
    let numbers = numbers.into_iter().map(|(key, number)| (key, number.to_string()));
    texts.into_iter().chain(numbers).map(|(key, value)| format!("{key} {}:{value}\n", value.len())).collect()
}
