//! What is signed is signed by the person, for the record as it is, once, and by two.

use super::tests::{House, id, newcomer, phc, refused, session};
use super::*;
use crate::domain::gs1::{Expiry, GcpLength, Gtin, Lot, SerialNumber};
use crate::domain::text::{BatchId, Name};
use crate::engine::fact::Entry;
use crate::engine::input::{BatchSheet, Input, Order, PackSpec, Request, SsccRange};
use crate::engine::reason::RequestRefusal;
use crate::engine::reason::{AlarmKind, Difference};
use crate::engine::signing::{Act, Answer, Challenge, Meaning, Signable, SubjectHash, record};
use crate::engine::{Policy, Start};

pub(super) fn batch() -> BatchId {
    BatchId::new("B7").expect("short")
}

pub(super) fn sheet() -> BatchSheet {
    BatchSheet {
        batch: batch(),
        gtin: Gtin::new("09506000134352").expect("good"),
        lot: Lot::new("L7").expect("good"),
        expiry: Expiry::parse_iso("2047-03-31").expect("good"),
        gcp_length: GcpLength::new(7).expect("6 to 12"),
        pack: PackSpec { case_capacity: 2, pallet_capacity: 0 },
        sscc: SsccRange { extension: 0, prefix: Text::new("9506000").expect("short"), first: 1, last: 9 },
        recipes: Vec::new(),
    }
}

impl House {
    /// Rosa and Paul are quality, Olaf operates; two of three printed units were never seen again.
    pub(super) fn with_variance() -> Self {
        let mut house = House::with("rosa", &[Role::Quality]);
        for (user, role) in [("paul", Role::Quality), ("olaf", Role::Operator)] {
            house.people(session("anna"), PeopleRequest::Add(newcomer(user, &[role]))).expect("added");
            house.log_in(user);
            house.change_password(user).expect("changed");
            house.log_in(user);
        }
        let serials: Vec<SerialNumber> = ["A1", "A2", "A3"].map(|text| SerialNumber::new(text).expect("good")).to_vec();
        let order = Order { sheet: sheet(), serials: serials.clone(), serials_sha256: Text::default() };
        house.engine.state.insert_order(&order);
        let (station, epoch) = (Name::new("printer").expect("short"), 1);
        let printed = serials[..2].to_vec();
        for fact in [
            Fact::BatchLoaded { sheet: sheet(), serial_count: 3, serials_sha256: Text::default() },
            Fact::BatchStarted { bin: None, track: None },
            Fact::SerialsAllocated { station, epoch, from_seq: 1, first_index: 0, serials: printed.clone() },
            Fact::SerialsEncoded { station, epoch, from_seq: 1, first_index: 0, serials: printed },
            Fact::BatchStopped { bin: None },
        ] {
            house.decided(fact);
        }
        house
    }

    /// As if the line had decided it.
    pub(super) fn decided(&mut self, fact: Fact) {
        let seq = self.engine.state().seq + 1;
        self.engine.state.apply(&Entry { seq, batch: Some(batch()), actor: id("line"), fact });
    }

    fn prepare(&mut self, user: &str, challenge: &str) -> Result<Done, Refused> {
        self.people(
            session(user),
            PeopleRequest::Prepare { act: Act::VarianceClose(batch()), challenge: word(challenge) },
        )
    }

    fn sign(&mut self, user: &str, challenge: &str, meaning: Meaning) -> Result<Done, Refused> {
        let proof = self.proof(user);
        self.people(session(user), PeopleRequest::Sign { proof, answer: answer(challenge, meaning) })
    }

    fn signs(&mut self, user: &str, challenge: &str, meaning: Meaning) -> Result<Done, Refused> {
        self.prepare(user, challenge).expect("a record to sign");
        self.sign(user, challenge, meaning)
    }
}

fn answer(challenge: &str, meaning: Meaning) -> Answer {
    Answer { challenge: word(challenge), action: Signable::VarianceClose, meaning }
}

pub(super) fn word(text: &str) -> Challenge {
    Challenge::new(text).expect("short")
}

// F151
#[test]
fn a_batch_that_does_not_balance_closes_over_the_signatures_of_two_people() {
    let mut house = House::with_variance();
    let plain = house.ask(session("rosa"), Request::CloseBatch(batch())).expect_err("it does not balance");
    assert_eq!(plain.differences, [Difference::Unaccounted(2)]);
    assert_eq!(house.signs("rosa", "c1", Meaning::Verified), refused(PeopleRefusal::NothingPerformed));
    assert_eq!(house.signs("rosa", "c2", Meaning::Performed), Ok(Done::Changed));
    assert_eq!(house.signs("rosa", "c3", Meaning::Verified), refused(PeopleRefusal::SamePerson));
    let kind = AlarmKind::SerialPoolLow;
    house.decided(Fact::AlarmRaised { alarm: 1, kind, station: None, detail: String::new() });
    house.prepare("paul", "c4").expect("a record to sign");
    let proof = house.proof("paul");
    let request = PeopleRequest::Sign { proof, answer: answer("c4", Meaning::Verified) };
    let ask = crate::engine::input::Ask { id: 1, asker: session("paul"), request: Request::People(Box::new(request)) };
    let step = house.step(Input::Asked(ask));
    let facts: Vec<&Fact> = step.facts.iter().map(|entry| &entry.fact).collect();
    let [Fact::Signed { signature }, closed @ Fact::BatchClosed { counts, .. }, Fact::AlarmAcknowledged { alarm: 1 }] =
        facts[..]
    else {
        panic!("signature and close are one step, as is what ends with the batch: {facts:?}");
    };
    assert_eq!(
        (signature.user, signature.full_name.as_str(), signature.meaning),
        (id("paul"), "paul", Meaning::Verified)
    );
    assert_eq!(counts.unaccounted, 2);
    // 21 CFR 11.70: from the facts alone anybody can make the hash again.
    let hash: String = {
        use sha2::Digest;
        let digest = sha2::Sha256::digest(record(Some(&sheet()), closed).expect("signed for").as_bytes());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    assert_eq!(Some(signature.subject_hash), SubjectHash::new(&hash));
    assert!(house.engine.state().batch(&batch()).is_none());
}

// F149
#[test]
fn a_challenge_is_used_once_by_one_person_within_a_minute() {
    let mut house = House::with_variance();
    let unknown = || refused(PeopleRefusal::UnknownChallenge);
    assert_eq!(house.signs("rosa", "c1", Meaning::Performed), Ok(Done::Changed));
    assert_eq!(house.sign("rosa", "c1", Meaning::Performed), unknown(), "played again");
    house.prepare("rosa", "c2").expect("a record");
    assert_eq!(house.sign("paul", "c2", Meaning::Verified), unknown(), "another's");
    assert_eq!(house.sign("rosa", "c2", Meaning::Performed), unknown(), "and used up by that");
    house.prepare("paul", "c3").expect("a record");
    house.pass(60);
    assert_eq!(house.sign("paul", "c3", Meaning::Verified), unknown(), "too late");
    house.prepare("paul", "c4").expect("a record");
    let proof = house.proof("rosa");
    let stolen = PeopleRequest::Sign { proof, answer: answer("c4", Meaning::Verified) };
    assert_eq!(house.people(session("paul"), stolen), unknown(), "another's password");
    assert!(house.engine.state().batch(&batch()).is_some());
}

// F150
#[test]
fn a_record_that_changed_is_not_what_was_signed() {
    let mut house = House::with_variance();
    assert_eq!(house.signs("rosa", "c1", Meaning::Performed), Ok(Done::Changed));
    house.prepare("paul", "c2").expect("a record");
    let serials = vec![SerialNumber::new("A3").expect("good")];
    let station = Name::new("printer").expect("short");
    house.decided(Fact::SerialsAllocated { station, epoch: 1, from_seq: 3, first_index: 2, serials: serials.clone() });
    house.decided(Fact::SerialsEncoded { station, epoch: 1, from_seq: 3, first_index: 2, serials });
    assert_eq!(house.sign("paul", "c2", Meaning::Verified), refused(PeopleRefusal::RecordChanged));
    let void = house.signs("paul", "c3", Meaning::Verified);
    assert_eq!(void, refused(PeopleRefusal::NothingPerformed), "the first signature was for another record");
}

#[test]
fn a_configuration_that_was_edited_is_used_once_quality_has_signed_for_it() {
    let mut house = House::with_variance();
    let start = |house: &mut House, digest: &str| {
        let config_sha256 = Text::new(digest).expect("short");
        let start = Start { version: Text::default(), config_sha256, clean: true, ..Start::default() };
        house.step(Input::Started(Box::new(start)));
        house.log_in("rosa");
        house.log_in("olaf");
    };
    let blocked = |house: &mut House| {
        let Err(refused) = house.ask(session("olaf"), Request::StartBatch(batch())) else {
            house.ask(session("olaf"), Request::StopBatch(batch())).expect("it runs");
            return false;
        };
        assert_eq!(refused.reasons, [RequestRefusal::ConfigNotApproved]);
        true
    };
    let policy = Policy { config_needs_approval: true, ..Policy::default() };
    house.engine = house.engine.clone().with_policy(policy);
    start(&mut house, "first");
    assert!(blocked(&mut house));
    let prepare = |challenge: &str| PeopleRequest::Prepare { act: Act::ConfigApproval, challenge: word(challenge) };
    let wrong = house.people(session("olaf"), prepare("c1"));
    assert_eq!(wrong, refused(PeopleRefusal::NotAllowed(Action::ApproveConfig)));
    house.people(session("rosa"), prepare("c2")).expect("there is something to sign for");
    let other = house.sign("rosa", "c2", Meaning::Performed);
    assert_eq!(other, refused(PeopleRefusal::UnknownChallenge), "the challenge is for another act");
    house.people(session("rosa"), prepare("c3")).expect("there is something to sign for");
    let proof = house.proof("rosa");
    let answer = Answer { challenge: word("c3"), action: Signable::ConfigApproval, meaning: Meaning::Performed };
    assert_eq!(house.people(session("rosa"), PeopleRequest::Sign { proof, answer }), Ok(Done::Changed));
    assert!(!blocked(&mut house));
    assert_eq!(house.people(session("rosa"), prepare("c4")), refused(PeopleRefusal::NothingToSign));
    start(&mut house, "first");
    assert!(!blocked(&mut house), "it is the same");
    start(&mut house, "second");
    assert!(blocked(&mut house), "it was edited");
}

// F152
#[test]
fn whoever_resets_a_password_cannot_sign_with_it() {
    let mut house = House::with_variance();
    let reset = PeopleRequest::ResetPassword { user: id("rosa"), phc: phc() };
    house.people(session("anna"), reset).expect("reset");
    house.log_in("rosa");
    assert_eq!(house.prepare("rosa", "c1"), refused(PeopleRefusal::MustChange));
    assert_eq!(house.sign("rosa", "c1", Meaning::Performed), refused(PeopleRefusal::MustChange));
}

#[test]
fn roles_and_what_is_still_to_be_done_at_the_machine_are_no_matter_of_signatures() {
    let mut house = House::with_variance();
    assert_eq!(house.prepare("olaf", "c1"), refused(PeopleRefusal::NotAllowed(Action::SignVariance)));
    let serials = vec![SerialNumber::new("A3").expect("good")];
    let station = Name::new("printer").expect("short");
    house.decided(Fact::SerialsAllocated { station, epoch: 1, from_seq: 3, first_index: 2, serials });
    let refused = house.prepare("rosa", "c2").expect_err("a record lies in a buffer");
    assert_eq!(refused.reasons, [RequestRefusal::NotBalanced]);
    assert!(refused.differences.contains(&Difference::InBuffer(1)), "{:?}", refused.differences);
}
