//! No write path without its audit trail (21 CFR 11.10(e)): every request that is granted leaves a fact under the name of who asked, which
//! says what was before, what is now, and why, where the thing has these. A request that is new does not compile without a row.

use std::sync::Arc;

use super::signatures::{batch, sheet, word};
use super::tests::{House, door, engine, id, newcomer, phc, session, token};
use super::*;
use crate::domain::code::Code;
use crate::domain::gs1::SerialNumber;
use crate::domain::text::{BatchId, Name};
use crate::engine::fact::{MessageNumber, Review};
use crate::engine::hands::{Hand, HandReason, HandsRequest, Why};
use crate::engine::input::{Ask, BatchSheet, Input, Order, Reopening, Request, UsedSerials};
use crate::engine::signing::{Act, Answer, Meaning, Signable};
use crate::engine::state::State;
use crate::wire::fact::encode;

/// A line with people, and what is asked for there.
type Case = (House, Asker, Request);

/// A fact that the request must leave: its kind, and what its body must tell.
type Trace = (&'static str, &'static [&'static str]);

struct Row {
    name: &'static str,
    case: fn() -> Case,
    /// The name under which the facts are; who asks in a session is it.
    actor: &'static str,
    /// None where nothing is changed.
    traces: &'static [Trace],
}

/// One table for all requests: `pattern => case, actor, traces`. The match that it gives has no wildcard.
macro_rules! trail {
    ($of:ident, $rows:ident, $type:ty: $($pattern:pat => $case:expr, $actor:literal, [$(($kind:literal $(, $told:literal)*)),*];)+) => {
        fn $of(request: &$type) -> &'static str {
            match request {
                $($pattern => stringify!($pattern),)+
            }
        }

        const $rows: &[Row] = &[$(Row {
            name: stringify!($pattern),
            case: $case,
            actor: $actor,
            traces: &[$(($kind, &[$($told),*])),*],
        }),+];
    };
}

trail! { of_line, LINE, Request:
    Request::LoadBatch(_) => || quality(|_| Request::LoadBatch(order())), "rosa", [("batch_loaded", "B8")];
    Request::StartBatch(_) => || quality(|house| {
        house.granted("rosa", Request::LoadBatch(order()));
        Request::StartBatch(b8())
    }), "rosa", [("batch_started")];
    Request::StopBatch(_) => || running(|_| Request::StopBatch(b8())), "rosa", [("batch_stopped")];
    Request::PurgeBatch(_) => || running(|_| Request::PurgeBatch(b8())), "rosa", [("batch_purge_started")];
    Request::HoldBatch { .. } => || running(|_| Request::HoldBatch { batch: b8(), reason: why() }), "rosa",
        [("batch_held", "because")];
    Request::ResumeBatch { .. } => || running(|house| {
        house.granted("rosa", Request::HoldBatch { batch: b8(), reason: why() });
        Request::ResumeBatch { batch: b8(), reason: Some(why()) }
    }), "rosa", [("batch_resumed", "because")];
    Request::AbortBatch { .. } => || running(|house| {
        house.granted("rosa", Request::StopBatch(b8()));
        Request::AbortBatch { batch: b8(), reason: why() }
    }), "rosa", [("batch_aborted", "because")];
    Request::ReopenBatch(_) => || quality(|house| {
        house.granted("rosa", Request::LoadBatch(order()));
        let batch = house.engine.state().batch(&b8()).cloned().expect("it is loaded");
        house.granted("rosa", Request::CloseBatch(b8()));
        let through = house.engine.state().seq;
        Request::ReopenBatch(Box::new(Reopening { batch, through, reason: why() }))
    }), "rosa", [("batch_reopened", "because")];
    Request::CloseBatch(_) => || quality(|house| {
        house.granted("rosa", Request::LoadBatch(order()));
        Request::CloseBatch(b8())
    }), "rosa", [("batch_closed")];
    Request::AcknowledgeAlarm(_) => || quality(|house| {
        house.step(Input::Noticed(AlarmKind::DiskLow, String::new()));
        Request::AcknowledgeAlarm(1)
    }), "rosa", [("alarm_acknowledged")];
    Request::DeclareUsed(_) => || quality(|_| {
        Request::DeclareUsed(UsedSerials { gtin: sheet().gtin, serials: vec![serial("U1")] })
    }), "rosa", [("serials_declared", "U1")];
    Request::ConfirmSerials => || quality(|house| {
        house.step(Input::Noticed(AlarmKind::SerialsSuspended, String::new()));
        Request::ConfirmSerials
    }), "rosa", [("alarm_acknowledged")];
    Request::GiveUpMessage { .. } => || quality(|_| {
        let message = MessageNumber { stream: Name::new("epcis").expect("short"), seq: 17 };
        Request::GiveUpMessage { message, reason: why() }
    }), "rosa", [("message_given_up", "epcis", "17", "because")];
    Request::Hands(_) => || {
        let (code, why) = (Code::Serial(serial("A1")), Why { reason: HandReason::Damaged, note: Some(why()) });
        let scrap = HandsRequest::Withdraw { hand: Hand::Scrap, code, why };
        (House::with_variance(), session("rosa"), Request::Hands(Box::new(scrap)))
    }, "rosa", [("unit_withdrawn", "A1", "label_scrapped", "damaged", "because")];
    // It asks, and changes nothing: what is done with it is no part of the record.
    Request::Permission(_) => || quality(|_| Request::Permission(Action::ReplayFeed)), "rosa", [];
    Request::People(_) => || quality(|_| people(PeopleRequest::LogOut)), "rosa", [("logged_out", "asked")];
}

trail! { of_people, PEOPLE, PeopleRequest:
    PeopleRequest::AddFirst(_) => || {
        let house = House { engine: engine(State::default()), entries: Vec::new(), now_us: 0 };
        (house, door(), people(PeopleRequest::AddFirst(newcomer("anna", &[]))))
    }, "local", [("user_added", "anna"), ("credential_set", "\"must_change\":false")];
    PeopleRequest::Add(_) => || admin(|_| PeopleRequest::Add(newcomer("olga", &[Role::Operator]))), "anna",
        [("user_added", "olga", "operator"), ("credential_set", "\"must_change\":true")];
    PeopleRequest::SetRoles { .. } => || admin(|_| {
        PeopleRequest::SetRoles { user: id("paul"), roles: [Role::Auditor].into_iter().collect(), reason: why() }
    }), "anna", [("user_changed", "\"roles_before\":[\"operator\"]", "\"roles\":[\"auditor\"]", "because")];
    PeopleRequest::Disable { .. } => || admin(|_| PeopleRequest::Disable { user: id("paul"), reason: why() }), "anna",
        [("user_changed", "\"was_enabled\":true", "\"is_enabled\":false", "because")];
    PeopleRequest::Enable { .. } => || admin(|house| {
        house.granted("anna", people(PeopleRequest::Disable { user: id("paul"), reason: why() }));
        PeopleRequest::Enable { user: id("paul"), reason: why() }
    }), "anna", [("user_changed", "\"was_enabled\":false", "\"is_enabled\":true", "because")];
    PeopleRequest::ResetPassword { .. } => || admin(|_| {
        PeopleRequest::ResetPassword { user: id("paul"), phc: phc() }
    }), "anna", [("credential_set", "paul", "\"must_change\":true")];
    PeopleRequest::Recover { .. } => || {
        let recover = PeopleRequest::Recover { user: id("anna"), phc: phc(), reason: why() };
        (House::new(), door(), people(recover))
    }, "local", [("user_recovered", "anna", "because"), ("credential_set", "\"must_change\":true")];
    PeopleRequest::ChangePassword { .. } => || {
        let house = House::with("paul", &[Role::Operator]);
        let proof = house.proof("paul");
        (house, session("paul"), people(PeopleRequest::ChangePassword { proof, phc: phc() }))
    }, "paul", [("credential_set", "\"must_change\":false")];
    PeopleRequest::Unlock { .. } => || admin(|house| {
        (0..5).for_each(|_| house.fail("paul"));
        PeopleRequest::Unlock { user: id("paul") }
    }), "anna", [("login_unlocked", "paul")];
    PeopleRequest::LogIn { .. } => || {
        let house = House::with("paul", &[Role::Operator]);
        let log_in = PeopleRequest::LogIn { proof: house.proof("paul"), session: token("x"), stronger: Some(phc()) };
        (house, door(), people(log_in))
    }, "paul", [("logged_in", "paul"), ("credential_set", "paul")];
    // Never granted, and told all the same.
    PeopleRequest::FailedLogIn { .. } => || {
        let failed = PeopleRequest::FailedLogIn { user: id("paul") };
        (House::with("paul", &[Role::Operator]), door(), people(failed))
    }, "local", [("login_failed", "paul")];
    PeopleRequest::LogOut => || quality(|_| people(PeopleRequest::LogOut)), "rosa", [("logged_out", "asked")];
    // It shows what would be signed, and changes nothing.
    PeopleRequest::Prepare { .. } => || {
        let act = Act::VarianceClose(batch());
        (House::with_variance(), session("rosa"), people(PeopleRequest::Prepare { act, challenge: word("c1") }))
    }, "rosa", [];
    PeopleRequest::Sign { .. } => || {
        let mut house = House::with_variance();
        let review = Review { from_seq: 1, to_seq: 2, exceptions: 0, sha256: Text::default() };
        let prepare = PeopleRequest::Prepare { act: Act::AuditReview(review), challenge: word("c1") };
        house.granted("rosa", people(prepare));
        let answer = Answer { challenge: word("c1"), action: Signable::AuditReview, meaning: Meaning::Performed };
        let sign = PeopleRequest::Sign { proof: house.proof("rosa"), answer };
        (house, session("rosa"), people(sign))
    }, "rosa", [("signed", "audit_review", "performed"), ("audit_reviewed", "\"to_seq\":2")];
}

impl House {
    fn granted(&mut self, user: &str, request: Request) {
        self.ask(session(user), request).expect("granted");
    }
}

/// Rosa of quality asks.
fn quality(request: fn(&mut House) -> Request) -> Case {
    let mut house = House::with("rosa", &[Role::Quality]);
    let request = request(&mut house);
    (house, session("rosa"), request)
}

/// The same, of a batch that runs.
fn running(request: fn(&mut House) -> Request) -> Case {
    let mut house = House::with("rosa", &[Role::Quality]);
    house.granted("rosa", Request::LoadBatch(order()));
    house.granted("rosa", Request::StartBatch(b8()));
    let request = request(&mut house);
    (house, session("rosa"), request)
}

/// Anna, who administers, asks about Paul, who operates.
fn admin(request: fn(&mut House) -> PeopleRequest) -> Case {
    let mut house = House::with("paul", &[Role::Operator]);
    let request = request(&mut house);
    (house, session("anna"), people(request))
}

fn people(request: PeopleRequest) -> Request {
    Request::People(Box::new(request))
}

fn why() -> String {
    "because".to_owned()
}

fn b8() -> BatchId {
    BatchId::new("B8").expect("short")
}

fn serial(text: &str) -> SerialNumber {
    SerialNumber::new(text).expect("good")
}

fn order() -> Arc<Order> {
    let sheet = BatchSheet { batch: b8(), ..sheet() };
    Arc::new(Order { sheet, serials: vec![serial("S1"), serial("S2")], serials_sha256: Text::default() })
}

// F163
#[test]
fn every_request_that_is_granted_is_told_under_the_name_of_who_asked() {
    for Row { name, case, actor, traces } in LINE.iter().chain(PEOPLE) {
        let (mut house, asker, request) = case();
        let own = match &request {
            Request::People(request) if *name != "Request::People(_)" => of_people(request),
            request => of_line(request),
        };
        assert_eq!(own, *name, "the row asks for something else");
        let step = house.step(Input::Asked(Ask { id: 1, asker, request }));
        let outcome = step.answer.expect("every request is answered").outcome;
        assert!(outcome.is_ok() || *name == "PeopleRequest::FailedLogIn { .. }", "{name}: {outcome:?}");
        assert_eq!(step.facts.is_empty(), traces.is_empty(), "{name}: {:?}", step.facts);
        for (kind, told) in *traces {
            let found =
                step.facts.iter().map(|entry| (entry.actor, encode(&entry.fact))).find(|(_, at)| at.kind == *kind);
            let (by, fact) = found.unwrap_or_else(|| panic!("{name} leaves no {kind}: {:?}", step.facts));
            assert_eq!(by, id(actor), "{name}");
            told.iter().for_each(|part| assert!(fact.body.contains(part), "{name}: {part} is not in {}", fact.body));
        }
    }
}

// F149, F151
#[test]
fn a_signature_that_is_refused_is_told_with_the_reason() {
    let mut house = House::with_variance();
    let mut sign = |meaning| {
        let answer = Answer { challenge: word("c1"), action: Signable::VarianceClose, meaning };
        let request = PeopleRequest::Sign { proof: house.proof("rosa"), answer };
        house.people(session("rosa"), request).expect_err("there is no such challenge");
        let last = house.entries.last().expect("a fact");
        let encoded = encode(&last.fact);
        assert_eq!((last.actor, encoded.kind), (id("rosa"), "signature_refused"));
        encoded.body
    };
    assert!(sign(Meaning::Performed).contains("unknown_challenge"));
    assert!(sign(Meaning::Verified).contains("\"action\":\"variance_close\""));
}
