//! A line is cleared by two persons, item by item, for one batch.

use super::signatures::{sheet, word};
use super::tests::{House, newcomer, refused, session};
use super::*;
use crate::domain::text::BatchId;
use crate::engine::clearance::{Clearance, ClearedItem, ItemAnswer};
use crate::engine::input::{BatchSheet, Input, Order, Request};
use crate::engine::reason::{BatchState, RequestRefusal};
use crate::engine::signing::{Act, Answer, Meaning, Signable};

const ITEMS: [&str; 2] = ["no cartons of the batch before", "bin empty"];

fn named(batch: &str) -> BatchId {
    BatchId::new(batch).expect("short")
}

fn answered(items: &[&str]) -> Vec<ClearedItem> {
    items.iter().map(|item| ClearedItem { item: (*item).to_owned(), answer: ItemAnswer::Done }).collect()
}

impl House {
    /// Olaf operates, Petra supervises; two orders are loaded on a line without stations.
    fn with_checklist() -> Self {
        let mut house = Self::with("olaf", &[Role::Operator]);
        house.people(session("anna"), PeopleRequest::Add(newcomer("petra", &[Role::Supervisor]))).expect("added");
        house.log_in("petra");
        house.change_password("petra").expect("changed");
        house.log_in("petra");
        let items = ITEMS.map(str::to_owned).to_vec();
        let (engine, clock) = (house.engine.clone(), crate::domain::time::ClockState::Synchronised);
        house.engine = engine.with_clearance(Clearance { is_required: true, items });
        house.now_us += 1;
        house.at_noon(Input::ClockSeen(clock));
        for (place, batch) in [(0, "B7"), (1, "B8")] {
            let mut sheet = BatchSheet { batch: named(batch), ..sheet() };
            (sheet.sscc.first, sheet.sscc.last) = (1 + place * 10, 9 + place * 10);
            let order = Order { sheet, serials: Vec::new(), serials_sha256: Text::default() };
            house.ask(session("petra"), Request::LoadBatch(order.into())).expect("loaded");
        }
        house
    }

    /// By a clock that somebody has set.
    fn at_noon(&mut self, input: Input) -> Step {
        let now = Now { wall_us: 1_780_315_200_000_000, mono_us: self.now_us };
        let step = self.engine.step(now, input);
        self.entries.extend(step.facts.clone());
        step
    }

    fn prepares(&mut self, user: &str, batch: &str, items: &[&str]) -> Result<Done, Refused> {
        let act = Act::Clearance(named(batch), answered(items));
        self.people(session(user), PeopleRequest::Prepare { act, challenge: word(&format!("{user}{batch}")) })
    }

    fn clears(&mut self, user: &str, batch: &str, meaning: Meaning) -> Result<Done, Refused> {
        self.prepares(user, batch, &ITEMS).expect("every item is answered");
        let proof = self.proof(user);
        let answer = Answer { challenge: word(&format!("{user}{batch}")), action: Signable::Clearance, meaning };
        self.people(session(user), PeopleRequest::Sign { proof, answer })
    }

    fn starts(&mut self, batch: &str) -> Result<Done, Refused> {
        let request = Request::StartBatch(named(batch));
        let ask = crate::engine::input::Ask { id: 1, asker: session("petra"), request };
        self.at_noon(Input::Asked(ask)).answer.expect("answered").outcome
    }

    fn refused(&mut self, batch: &str, items: &[&str]) -> Vec<RequestRefusal> {
        self.prepares("petra", batch, items).expect_err("it is no clearance").reasons
    }
}

// F167
#[test]
fn a_batch_starts_on_a_line_that_two_persons_cleared_for_it() {
    let mut house = House::with_checklist();
    let not_cleared = |batch| vec![RequestRefusal::NotCleared(named(batch))];
    assert_eq!(house.starts("B7").expect_err("nobody looked").reasons, not_cleared("B7"));
    assert_eq!(house.clears("petra", "B7", Meaning::Verified), refused(PeopleRefusal::NothingPerformed));
    assert_eq!(house.clears("petra", "B7", Meaning::Performed), Ok(Done::Changed));
    assert_eq!(house.clears("petra", "B7", Meaning::Verified), refused(PeopleRefusal::SamePerson));
    assert_eq!(house.starts("B7").expect_err("one is not two").reasons, not_cleared("B7"));
    assert_eq!(house.clears("olaf", "B7", Meaning::Performed), Ok(Done::Changed));
    let before = house.entries.len();
    assert_eq!(house.clears("petra", "B7", Meaning::Verified), Ok(Done::Changed));
    let facts: Vec<&Fact> = house.entries[before..].iter().map(|entry| &entry.fact).collect();
    assert!(matches!(facts[..], [Fact::Signed { .. }, Fact::LineCleared { items }] if items.len() == 2), "{facts:?}");
    assert_eq!(house.clears("olaf", "B8", Meaning::Performed), Ok(Done::Changed));
    assert_eq!(house.clears("petra", "B8", Meaning::Verified), Ok(Done::Changed));
    assert_eq!(house.starts("B7"), Ok(Done::Changed));
    house.ask(session("petra"), Request::StopBatch(named("B7"))).expect("stopped");
    assert_eq!(house.starts("B7"), Ok(Done::Changed), "it was on the line already");
    house.ask(session("petra"), Request::StopBatch(named("B7"))).expect("stopped");
    house.ask(session("petra"), Request::CloseBatch(named("B7"))).expect("nothing was made");
    assert_eq!(house.starts("B8").expect_err("another batch was on the line since").reasons, not_cleared("B8"));
}

#[test]
fn every_item_of_the_site_is_answered_and_no_other_and_once() {
    let mut house = House::with_checklist();
    let open = |item: &str| RequestRefusal::ItemOpen(item.to_owned());
    let unknown = |item: &str| RequestRefusal::ItemUnknown(item.to_owned());
    assert_eq!(house.refused("B7", &[]), [open(ITEMS[0]), open(ITEMS[1])]);
    assert_eq!(house.refused("B7", &[ITEMS[0], ITEMS[0]]), [open(ITEMS[1]), unknown(ITEMS[0])]);
    assert_eq!(house.refused("B7", &[ITEMS[1], ITEMS[0], "belt"]), [unknown("belt")]);
    assert_eq!(house.refused("B9", &ITEMS), [RequestRefusal::UnknownBatch(named("B9"))]);
    house.clears("olaf", "B7", Meaning::Performed).expect("answered");
    house.clears("petra", "B7", Meaning::Verified).expect("answered");
    house.starts("B7").expect("cleared");
    assert_eq!(house.refused("B8", &ITEMS), [RequestRefusal::LineOccupied(named("B7"))]);
    let state = BatchState::Running;
    assert_eq!(house.refused("B7", &ITEMS), [RequestRefusal::WrongState { batch: named("B7"), state }]);
}
