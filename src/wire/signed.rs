//! What electronic signatures say, held against the facts that they are of (21 CFR 11.70). The record is made again from the facts alone:
//! a signature that was moved to another record, or whose record was written anew, is found although the chain over both is whole.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::text::BatchId;
use crate::engine::fact::Fact;
use crate::engine::input::BatchSheet;
use crate::engine::people::UserId;
use crate::engine::signing::{Challenge, Meaning, Signable, Signature, SubjectHash, record};
use crate::wire::digest::sha256_hex;
use crate::wire::fact::{self, StoredFact};
use crate::wire::review::Exceptions;

/// Facts that are nothing without a signature right before them.
const SIGNED: &[&str] = &["audit_reviewed", "config_approved", "line_cleared"];

/// Goes along the facts, in order from the first.
#[derive(Debug, Default)]
pub struct SignedRecords {
    /// Of the batches that are not closed.
    sheets: BTreeMap<BatchId, BatchSheet>,
    /// Who signed for what they did, of these, and for which record.
    performed: BTreeMap<BatchId, (UserId, SubjectHash)>,
    challenges: BTreeSet<Challenge>,
    /// The last signature that an act needs: the act is the next fact.
    last: Option<(Option<BatchId>, Signature)>,
    /// What the next review must have looked at.
    exceptions: Exceptions,
}

impl SignedRecords {
    /// # Errors
    /// Why the fact and a signature do not go together.
    pub fn see(&mut self, stored: StoredFact<'_>) -> Result<(), String> {
        let batch = stored.batch.and_then(BatchId::new);
        if let Some((signed_for, signature)) = self.last.take() {
            self.hold(signed_for, &signature, stored)?;
        } else if SIGNED.contains(&stored.kind) {
            return Err("nobody signed for it".to_owned());
        }
        self.exceptions.see(stored.seq, stored.kind, stored.body);
        match (stored.kind, batch) {
            ("audit_reviewed", _) => self.review(stored),
            ("batch_loaded" | "batch_reopened", Some(batch)) => {
                // One that cannot be read is none that can be signed for.
                if let Some(sheet) = read(stored).ok().as_ref().and_then(Fact::opens) {
                    self.sheets.insert(batch, sheet.clone());
                }
                Ok(())
            }
            ("batch_closed" | "batch_aborted", Some(batch)) => {
                self.sheets.remove(&batch);
                self.performed.remove(&batch);
                Ok(())
            }
            ("signed", batch) => {
                let Fact::Signed { signature } = read(stored)? else { return Ok(()) };
                self.sign(batch, *signature)
            }
            (_, _) => Ok(()),
        }
    }

    fn review(&mut self, stored: StoredFact<'_>) -> Result<(), String> {
        let Fact::AuditReviewed { review } = read(stored)? else { return Ok(()) };
        if review.to_seq >= stored.seq || self.exceptions.review(review.to_seq) != review {
            return Err("it leaves out what stood out, or tells of it what is not so".to_owned());
        }
        self.exceptions.reviewed(review.to_seq);
        Ok(())
    }

    fn sign(&mut self, batch: Option<BatchId>, signature: Signature) -> Result<(), String> {
        if !self.challenges.insert(signature.challenge) {
            return Err("its challenge was used by an earlier signature".to_owned());
        }
        if let Some(batch) = batch.filter(|batch| !self.sheets.contains_key(batch)) {
            return Err(format!("it signs for {batch}, which is not there to be signed for"));
        }
        match (signature.action.is_verified(), signature.meaning, batch) {
            (true, Meaning::Performed, Some(batch)) => {
                self.performed.insert(batch, (signature.user, signature.subject_hash));
            }
            (true, Meaning::Performed, None) => return Err("it signs for no batch".to_owned()),
            (false, Meaning::Verified, _) => return Err("nobody verifies this".to_owned()),
            (true, Meaning::Verified, _) | (false, Meaning::Performed, _) => self.last = Some((batch, signature)),
        }
        Ok(())
    }

    /// The act that the signature allowed: the fact right behind it.
    fn hold(&self, batch: Option<BatchId>, signature: &Signature, stored: StoredFact<'_>) -> Result<(), String> {
        let Signature { user, action, .. } = signature;
        let of = batch.map_or_else(String::new, |batch| format!(" of {batch}"));
        let is_of = stored.batch == batch.as_ref().map(BatchId::as_str);
        let fact = read(stored).ok().filter(|fact| is_of && Signable::of(fact) == Some(*action));
        let Some(fact) = fact else {
            return Err(format!("{user} signed for the {}{of}, and this is another fact", action.name()));
        };
        let sheet = batch.and_then(|batch| self.sheets.get(&batch));
        let hash = record(sheet, &fact).map(|record| sha256_hex(record.as_bytes()));
        if hash.as_deref() != Some(signature.subject_hash.as_str()) {
            return Err(format!("it is not the record that {user} signed for"));
        }
        if !action.is_verified() {
            return Ok(());
        }
        match batch.and_then(|batch| self.performed.get(&batch)) {
            Some((first, hash)) if *hash == signature.subject_hash && first != user => Ok(()),
            Some(_) | None => Err(format!("nobody beside {user} signed for this record")),
        }
    }
}

fn read(stored: StoredFact<'_>) -> Result<Fact, String> {
    fact::decode(stored).map(|entry| entry.fact).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fact::{Counts, Review};
    use crate::wire::fact::{encode, sample};

    const BATCH: &str = "PO-2026-0417";

    fn signature(user: &str, challenge: &str, meaning: Meaning, hash: &str) -> Fact {
        let Some(Fact::Signed { mut signature }) =
            sample::facts().into_iter().find(|fact| matches!(fact, Fact::Signed { .. }))
        else {
            panic!("the samples hold one of every kind");
        };
        signature.user = UserId::new(user).expect("short");
        signature.challenge = Challenge::new(challenge).expect("short");
        signature.subject_hash = SubjectHash::new(hash).expect("short");
        signature.meaning = meaning;
        Fact::Signed { signature }
    }

    fn closed(counts: Counts) -> Fact {
        Fact::BatchClosed { opened_seq: 1, counts: Box::new(counts) }
    }

    fn loaded() -> Fact {
        Fact::BatchLoaded { sheet: sample::sheet(), serial_count: 1, serials_sha256: Default::default() }
    }

    fn see(facts: &[Fact]) -> Result<(), String> {
        see_of(Some(BATCH), facts)
    }

    fn see_of(batch: Option<&str>, facts: &[Fact]) -> Result<(), String> {
        let mut records = SignedRecords::default();
        facts.iter().zip(1..).try_for_each(|(fact, seq)| {
            let encoded = encode(fact);
            let (kind, version, body) = (encoded.kind, encoded.version, encoded.body.as_str());
            records.see(StoredFact { seq, kind, version, batch, actor: "rosa", body })
        })
    }

    #[test]
    fn a_review_is_signed_and_leaves_nothing_out() {
        let stepped = |to_us| Fact::ClockStepped { from_us: 1, to_us };
        let gather = |reviewed: u64, facts: &[Fact]| {
            let mut found = Exceptions::behind(reviewed);
            for (fact, seq) in facts.iter().zip(1..).filter(|(_, seq)| *seq > reviewed) {
                let encoded = encode(fact);
                found.see(seq, encoded.kind, &encoded.body);
            }
            found
        };
        let signed = |challenge: &str, review: Review| {
            let fact = Fact::AuditReviewed { review };
            let hash = sha256_hex(record(None, &fact).expect("signed for").as_bytes());
            let mut signature = signature("rosa", challenge, Meaning::Performed, &hash);
            if let Fact::Signed { signature } = &mut signature {
                signature.action = Signable::AuditReview;
            }
            [signature, fact]
        };
        let mut facts = vec![stepped(2), Fact::LineStopped, stepped(3)];
        let first = gather(0, &facts).review(2);
        facts.extend(signed("c1", first));
        facts.push(stepped(4));
        let second = gather(2, &facts).review(6);
        assert_eq!((second.from_seq, second.exceptions), (3, 3), "a step, a signature, a step");
        facts.extend(signed("c2", second));
        assert_eq!(see_of(None, &facts), Ok(()));
        let bad = |at: usize, review: Review| {
            let mut facts = facts.clone();
            facts.splice(at..at + 2, signed("c9", review));
            see_of(None, &facts).expect_err("it is not so")
        };
        for review in [
            Review { exceptions: 0, ..first },
            Review { from_seq: 2, ..first },
            Review { to_seq: 9, ..first },
            Review { sha256: second.sha256, ..first },
        ] {
            assert!(bad(3, review).contains("leaves out"), "{review:?}");
        }
        let alone: Vec<Fact> = facts.iter().filter(|fact| !matches!(fact, Fact::Signed { .. })).cloned().collect();
        assert!(see_of(None, &alone).expect_err("unsigned").contains("nobody signed"));
    }

    // F150
    #[test]
    fn a_signature_holds_for_the_record_that_the_facts_give_and_for_no_other() {
        let hash =
            sha256_hex(record(Some(&sample::sheet()), &closed(sample::counts())).expect("signed for").as_bytes());
        let performed = |user, hash: &str| signature(user, "c1", Meaning::Performed, hash);
        let verified = |user, challenge, hash: &str| signature(user, challenge, Meaning::Verified, hash);
        let good = [loaded(), performed("rosa", &hash), verified("paul", "c2", &hash), closed(sample::counts())];
        assert_eq!(see(&good), Ok(()));
        assert_eq!(see(&[loaded(), performed("rosa", &hash), closed(sample::counts())]), Ok(()), "it balanced later");
        let other = "a1".repeat(32);
        let changed = Counts { unaccounted: 0, ..sample::counts() };
        for (facts, why) in [
            (vec![Fact::ConfigApproved { config_sha256: Default::default(), before: None }], "nobody signed"),
            (
                vec![loaded(), performed("rosa", &hash), verified("paul", "c2", &hash), closed(changed)],
                "not the record",
            ),
            (
                vec![loaded(), performed("rosa", &other), verified("paul", "c2", &hash), closed(sample::counts())],
                "nobody",
            ),
            (vec![loaded(), verified("paul", "c2", &hash), closed(sample::counts())], "nobody"),
            (
                vec![loaded(), performed("paul", &hash), verified("paul", "c2", &hash), closed(sample::counts())],
                "nobody",
            ),
            (vec![loaded(), performed("rosa", &hash), verified("paul", "c1", &hash)], "challenge was used"),
            (
                vec![loaded(), performed("rosa", &hash), verified("paul", "c2", &hash), Fact::LineStopped],
                "another fact",
            ),
            (vec![performed("rosa", &hash)], "not there"),
        ] {
            let said = see(&facts).expect_err(why);
            assert!(said.contains(why), "{why}: {said}");
        }
    }
}
