//! Electronic signatures (21 CFR 11.50 to 11.200): what a person signs is bound to the record as it is at that moment.
//!
//! Two steps. `prepare` hashes the record and keeps a challenge: single use, one person's, for a minute. `sign` brings it back with a
//! proof of the password; the record is made and hashed again, and only where it is the same does a `signed` fact come to be, in the
//! same step as what it allows. Two persons: whoever performed does not verify.

use sha2::{Digest, Sha256};

use crate::domain::text::{BatchId, Name, Text};
use crate::domain::time::{ClockState, Now};
use crate::engine::Engine;
use crate::engine::clearance::ClearedItem;
use crate::engine::fact::{Counts, Fact, Review};
use crate::engine::input::{Actor, BatchSheet};
use crate::engine::login::Outcome;
use crate::engine::output::{Done, Refused, Step, refuse};
use crate::engine::people::{FullName, PeopleRefusal, Proof, UserId};
use crate::engine::reason::{Difference, RequestRefusal};
use crate::engine::rights::Action;

/// Random, of the desk: 64 hexadecimal digits.
pub type Challenge = Text<64>;
/// SHA-256 of a record, in lower-case hex.
pub type SubjectHash = Text<64>;

/// Refusals of a signature that are facts, each with its word there. A wrong password is a failed log-in.
const FLAWS: [(PeopleRefusal, &str); 6] = [
    (PeopleRefusal::UnknownChallenge, "unknown_challenge"),
    (PeopleRefusal::RecordChanged, "record_changed"),
    (PeopleRefusal::NothingPerformed, "nothing_performed"),
    (PeopleRefusal::SamePerson, "same_person"),
    (PeopleRefusal::ProofStale, "password_changed"),
    (PeopleRefusal::LogInRefused, "log_in_refused"),
];

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
}

/// What can be signed: the policy table. Each kind has its rights, its number of signers and the fact that it allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signable {
    /// The close of a batch whose counts do not balance (I10).
    VarianceClose,
    /// The clearance of the line for a batch.
    Clearance,
    /// The use of a configuration that was edited.
    ConfigApproval,
    /// A look at all that stood out since the last one.
    AuditReview,
}

impl Signable {
    pub const ALL: &'static [Signable] =
        &[Signable::VarianceClose, Signable::Clearance, Signable::ConfigApproval, Signable::AuditReview];

    /// The stable word, lower snake case.
    pub fn name(self) -> &'static str {
        match self {
            Signable::VarianceClose => "variance_close",
            Signable::Clearance => "clearance",
            Signable::ConfigApproval => "config_approval",
            Signable::AuditReview => "audit_review",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|what| what.name() == name)
    }

    /// Whether another person than who performed must verify before it happens.
    pub fn is_verified(self) -> bool {
        match self {
            Signable::VarianceClose | Signable::Clearance => true,
            Signable::ConfigApproval => false,
            Signable::AuditReview => false,
        }
    }

    /// What it takes to sign it.
    pub fn right(self, meaning: Meaning) -> Action {
        match (self, meaning) {
            (Signable::VarianceClose, Meaning::Performed) => Action::SignVariance,
            (Signable::VarianceClose, Meaning::Verified) => Action::VerifyVariance,
            (Signable::Clearance, Meaning::Performed) => Action::ClearLine,
            (Signable::Clearance, Meaning::Verified) => Action::VerifyClearance,
            (Signable::ConfigApproval, _) => Action::ApproveConfig,
            (Signable::AuditReview, Meaning::Performed | Meaning::Verified) => Action::ReviewAudit,
        }
    }

    /// The kind of signature that may stand right before this fact.
    #[allow(clippy::wildcard_enum_match_arm, reason = "most facts are nothing that is signed for")]
    pub fn of(fact: &Fact) -> Option<Self> {
        match fact {
            Fact::BatchClosed { .. } => Some(Signable::VarianceClose),
            Fact::LineCleared { .. } => Some(Signable::Clearance),
            Fact::ConfigApproved { .. } => Some(Signable::ConfigApproval),
            Fact::AuditReviewed { .. } => Some(Signable::AuditReview),
            _ => None,
        }
    }
}

/// What a person wants to sign for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// The close of this batch, whose counts do not balance.
    VarianceClose(BatchId),
    /// The clearance of the line for this batch, as it was answered.
    Clearance(BatchId, Vec<ClearedItem>),
    /// The use of the configuration of this run.
    ConfigApproval,
    /// Whoever asks has made it of the facts as they are on disk.
    AuditReview(Review),
}

impl Act {
    pub fn signable(&self) -> Signable {
        match self {
            Act::VarianceClose(_) => Signable::VarianceClose,
            Act::Clearance(..) => Signable::Clearance,
            Act::ConfigApproval => Signable::ConfigApproval,
            Act::AuditReview(_) => Signable::AuditReview,
        }
    }
}

/// What a signer answers to a challenge with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub challenge: Challenge,
    pub action: Signable,
    pub meaning: Meaning,
}

/// One signature, as it is printed and as it is proven. What it is of is told by the fact that it allows, right behind it: `record`.
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
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    user: UserId,
    act: Act,
    subject_hash: SubjectHash,
    until_us: u64,
}

/// An act as it would happen now: the batch that it is of, and the fact that it would be.
struct Planned {
    batch: Option<BatchId>,
    fact: Fact,
    subject_hash: SubjectHash,
}

impl Engine {
    pub(super) fn prepare(
        &mut self,
        now: Now,
        step: &mut Step,
        user: Actor,
        (act, challenge): (Act, Challenge),
    ) -> Outcome {
        let subject_hash = self.plan(step, &act)?.subject_hash;
        let challenges = &mut self.attendance.challenges;
        if challenges.len() >= CHALLENGES_MAX {
            let oldest = challenges.iter().min_by_key(|(_, at)| at.until_us).map(|(challenge, _)| *challenge);
            oldest.and_then(|oldest| challenges.remove(&oldest));
        }
        let until_us = now.mono_us.saturating_add(CHALLENGE_US);
        self.attendance.challenges.insert(challenge, Prepared { user, act, subject_hash, until_us });
        Ok(Done::Prepared(subject_hash))
    }

    /// One that does not come to be is told too.
    pub(super) fn sign(&mut self, now: Now, step: &mut Step, user: Actor, (proof, answer): (Proof, Answer)) -> Outcome {
        let signed = self.try_to_sign(now, step, user, (proof, answer));
        let reasons = signed.as_ref().err().map_or(&[][..], |refused| refused.reasons.as_slice());
        let flaw = FLAWS.iter().find(|(flaw, _)| reasons.contains(&RequestRefusal::People(*flaw)));
        if let Some(reason) = flaw.and_then(|(_, word)| Name::new(word)) {
            self.record(step, None, user, Fact::SignatureRefused { user, action: answer.action, reason });
        }
        signed
    }

    /// A challenge is used up by the first try, whatever becomes of it.
    fn try_to_sign(&mut self, now: Now, step: &mut Step, user: Actor, (proof, answer): (Proof, Answer)) -> Outcome {
        let Answer { challenge, action, meaning } = answer;
        let prepared = self.attendance.challenges.remove(&challenge);
        let prepared = prepared.filter(|at| at.user == user && proof.user == user && now.mono_us < at.until_us);
        let prepared = prepared.filter(|at| at.act.signable() == action);
        let Some(Prepared { act, subject_hash, .. }) = prepared else {
            return refuse(PeopleRefusal::UnknownChallenge);
        };
        let person = self.proven(proof)?;
        let Planned { batch, fact, subject_hash: hash } = self.plan(step, &act)?;
        if hash != subject_hash {
            return refuse(PeopleRefusal::RecordChanged);
        }
        if meaning == Meaning::Verified {
            let performed = batch.and_then(|batch| self.state.batch(&batch)?.performed);
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
            action,
            subject_hash,
            challenge,
            offset_minutes: self.policy.offset_minutes,
            clock: self.clock(),
        };
        self.record(step, batch, user, Fact::Signed { signature: Box::new(signature) });
        if action.is_verified() == (meaning == Meaning::Verified) {
            self.enact(step, user, batch, fact);
        }
        Ok(Done::Changed)
    }

    /// What an act would be now, or why it cannot be.
    fn plan(&mut self, step: &mut Step, act: &Act) -> Result<Planned, Refused> {
        let (batch, fact) = match act {
            Act::VarianceClose(batch) => (Some(*batch), self.variance(step, batch)?),
            Act::Clearance(batch, items) => (Some(*batch), self.clearing(batch, items)?),
            Act::ConfigApproval => (None, self.config_approval()?),
            Act::AuditReview(review) => (None, Fact::AuditReviewed { review: *review }),
        };
        let sheet = batch.and_then(|batch| self.state.batch(&batch)).map(|batch| &batch.sheet);
        let subject_hash = record(sheet, &fact).map(|record| hash(&record)).unwrap_or_default();
        Ok(Planned { batch, fact, subject_hash })
    }

    /// The fact itself, right behind its signature, and what follows from it.
    fn enact(&mut self, step: &mut Step, actor: Actor, batch: Option<BatchId>, fact: Fact) {
        let action = Signable::of(&fact);
        self.record(step, batch, actor, fact);
        match action {
            Some(Signable::VarianceClose) => self.concluded(step),
            Some(Signable::Clearance | Signable::ConfigApproval | Signable::AuditReview) | None => {}
        }
    }

    /// The close of a stopped batch that only counts keep from it.
    fn variance(&mut self, step: &mut Step, batch: &BatchId) -> Result<Fact, Refused> {
        let closing = self.closing(step, batch)?;
        if closing.differences.is_empty() {
            return refuse(PeopleRefusal::NothingToSign);
        }
        if !closing.differences.iter().all(is_signable) {
            let reasons = vec![RequestRefusal::NotBalanced];
            return Err(Refused { reasons, differences: closing.differences });
        }
        if self.flush_owed() {
            return refuse(RequestRefusal::Busy);
        }
        Ok(closing.fact())
    }

    fn config_approval(&self) -> Result<Fact, Refused> {
        let (config_sha256, before) = (self.config, self.state.approved);
        if before == Some(config_sha256) {
            return refuse(PeopleRefusal::NothingToSign);
        }
        Ok(Fact::ConfigApproved { config_sha256, before })
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

/// The record that is signed, one `key length:value` a line: what the fact says that a signature allows. Whoever holds the facts can make it
/// again. `None` where the fact is nothing to sign for, or lacks the order that it belongs to.
#[allow(clippy::wildcard_enum_match_arm, reason = "most facts are nothing that is signed for")]
pub fn record(sheet: Option<&BatchSheet>, fact: &Fact) -> Option<String> {
    let fields = match fact {
        Fact::BatchClosed { opened_seq, counts } => variance_fields(sheet?, *opened_seq, counts),
        Fact::LineCleared { items } => clearance_fields(sheet?, items),
        Fact::ConfigApproved { config_sha256, before } => vec![
            ("config_sha256", config_sha256.to_string()),
            ("before", before.map_or_else(String::new, |before| before.to_string())),
        ],
        Fact::AuditReviewed { review } => review_fields(review),
        _ => return None,
    };
    let title = format!("sealgate {} 1", Signable::of(fact)?.name());
    let fields = std::iter::once(("record", title)).chain(fields);
    Some(fields.map(|(key, value)| format!("{key} {}:{value}\n", value.len())).collect())
}

/// What is told of the order in every record of a batch.
fn sheet_fields(sheet: &BatchSheet) -> Vec<(&'static str, String)> {
    vec![
        ("batch", sheet.batch.to_string()),
        ("gtin", sheet.gtin.as_str().to_owned()),
        ("lot", sheet.lot.as_str().to_owned()),
    ]
}

fn clearance_fields(sheet: &BatchSheet, items: &[ClearedItem]) -> Vec<(&'static str, String)> {
    let answered = items.iter().flat_map(|at| [("item", at.item.clone()), ("answer", at.answer.name().to_owned())]);
    sheet_fields(sheet).into_iter().chain(answered).collect()
}

fn review_fields(review: &Review) -> Vec<(&'static str, String)> {
    let Review { from_seq, to_seq, exceptions, sha256 } = review;
    vec![
        ("from_seq", from_seq.to_string()),
        ("to_seq", to_seq.to_string()),
        ("exceptions", exceptions.to_string()),
        ("sha256", sha256.as_str().to_owned()),
    ]
}

fn variance_fields(sheet: &BatchSheet, opened_seq: u64, counts: &Counts) -> Vec<(&'static str, String)> {
    let Counts { received, unused, burned, printed, commissioned, scrapped, unaccounted, packed, loose, .. } = *counts;
    let Counts { triggers, pass, fail, no_read, missed, rejects_commanded, rejects_confirmed, .. } = *counts;
    let Counts { rejects_resolved, bin, phantom, cases_released, pallets_released, .. } = *counts;
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
    // Told where there are any, so that records of before there could be read as they did.
    let Counts { label_sampled, sampled, inactive, destroyed, .. } = *counts;
    let by_hand =
        [("label_sampled", label_sampled), ("sampled", sampled), ("inactive", inactive), ("destroyed", destroyed)];
    let by_hand = by_hand.into_iter().filter(|(_, number)| *number > 0);
    let mut fields = sheet_fields(sheet);
    fields.push(("opened_seq", opened_seq.to_string()));
    fields.extend(numbers.into_iter().chain(by_hand).map(|(key, number)| (key, number.to_string())));
    fields
}
