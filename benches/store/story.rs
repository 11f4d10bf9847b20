//! A batch as its facts: units, cases of ten, pallets of ten cases, decided by the real engine, without devices and without a disk.

use std::sync::Arc;

use sealgate::domain::gs1::{Expiry, GcpLength, Gtin, Lot, SerialNumber};
use sealgate::domain::pack::{Gate, PackLevel};
use sealgate::domain::tag::StationId;
use sealgate::domain::text::Text;
use sealgate::domain::time::Now;
use sealgate::engine::decide::Decide;
use sealgate::engine::fact::Entry;
use sealgate::engine::input::{
    Ask, Asker, BatchSheet, CameraResult, CloseEnd, CloseRequest, Input, Observation, Observed, Order, PackSpec, Read,
    Request, SsccRange, TrackEnd,
};
use sealgate::engine::output::{Permit, Step};
use sealgate::engine::state::State;
use sealgate::engine::{Engine, Role, Settings, StationSpec};
use sealgate::wire::lower::Stamp;

/// Children of a case and of a pallet.
const CAPACITY: u16 = 10;
/// Between two units: 300 per minute.
const PITCH_US: u64 = 200_000;
/// Units between the printer and the camera.
const BELT: u64 = 16;
const PRINTER: u8 = 0;
const CAMERA: u8 = 1;
const REJECTOR: u8 = 2;
const PACKER: u8 = 3;
const PALLETIZER: u8 = 4;

/// One unit's facts, with those of the case or pallet that it filled.
pub(crate) type Unit = Vec<(Entry, Stamp)>;

pub(crate) struct Story {
    pub(crate) order: Arc<Order>,
    /// Stations joined, batch loaded and started.
    pub(crate) opening: Unit,
    pub(crate) units: Vec<Unit>,
}

struct Teller {
    engine: Engine,
    now: Now,
    said: Unit,
    /// Requests and containers of packer and palletizer.
    asked: [u64; 5],
    loose_units: Vec<Vec<u8>>,
    loose_cases: Vec<Vec<u8>>,
}

pub(crate) fn tell(count: u64) -> Story {
    let order = Arc::new(order(count));
    let engine = Engine::new(Settings { stations: stations() }, State::default());
    let now = Now { wall_us: 1_790_000_000_000_000, mono_us: 5_000_000 };
    let (said, asked) = (Vec::new(), [0; 5]);
    let mut teller = Teller { engine, now, said, asked, loose_units: Vec::new(), loose_cases: Vec::new() };
    teller.open(&order);
    let opening = std::mem::take(&mut teller.said);
    let units = (1..=count).map(|number| teller.unit(number, count)).collect();
    Story { order, opening, units }
}

impl Teller {
    fn open(&mut self, order: &Arc<Order>) {
        for station in PRINTER..=PALLETIZER {
            self.observe(station, Observed::Joined { device_epoch: 1, reset: true });
        }
        for request in [Request::LoadBatch(Arc::clone(order)), Request::StartBatch(order.sheet.batch)] {
            let ask = Ask { id: 1, asker: Asker::Door(Text::new("bench").expect("a short name")), request };
            let answer = self.step(Input::Asked(ask)).answer.expect("a request is answered");
            assert!(answer.outcome.is_ok(), "{answer:?}");
        }
        self.observe(PRINTER, Observed::PrinterCounted { accepted: 0, printed: 0 });
    }

    /// Printed, read, verified, passed; then the gates that it opens.
    fn unit(&mut self, number: u64, count: u64) -> Unit {
        self.now.mono_us += PITCH_US;
        self.now.wall_us += i64::try_from(PITCH_US).expect("small");
        let printed = (number + BELT).min(count);
        let accepted = (printed + 8).min(count);
        self.observe(PRINTER, Observed::PrinterCounted { accepted, printed });
        self.step(Input::Tick);
        let code = code(number - 1);
        let read = Read::Code(code.clone());
        let result = CameraResult { seq: number, track: Some(number), read, grade_milli: Some(3500) };
        self.observe(CAMERA, Observed::Result(result));
        self.observe(REJECTOR, Observed::Ended { end_seq: number, track: number, end: TrackEnd::Passed });
        self.loose_units.push(code);
        if self.loose_units.len() == usize::from(CAPACITY) {
            let units = std::mem::take(&mut self.loose_units);
            let case = self.close(PACKER, units);
            self.loose_cases.push(case);
        }
        if self.loose_cases.len() == usize::from(CAPACITY) {
            let cases = std::mem::take(&mut self.loose_cases);
            self.close(PALLETIZER, cases);
        }
        std::mem::take(&mut self.said)
    }

    /// Both gates of one container; its label.
    fn close(&mut self, station: u8, children: Vec<Vec<u8>>) -> Vec<u8> {
        let label = self.gate(station, Gate::Seal, children, None);
        self.gate(station, Gate::Release, Vec::new(), Some(label.clone()));
        label
    }

    fn gate(&mut self, station: u8, gate: Gate, children: Vec<Vec<u8>>, label_read: Option<Vec<u8>>) -> Vec<u8> {
        let asked = self.asked.get_mut(usize::from(station)).expect("a station");
        *asked += 1;
        let (seq, container) = (*asked, asked.div_ceil(2));
        let child_count = u64::try_from(children.len()).ok();
        let request = CloseRequest { seq, gate, container, children, child_count, label_read, not_good: false };
        let step = self.observe(station, Observed::CloseRequested(request));
        let permit = step.permits.into_iter().find_map(|permit| {
            let Permit::Close(close) = permit else { return None };
            Some(close)
        });
        let permit = permit.unwrap_or_else(|| panic!("a full container is closed: {:?}", step.facts));
        self.observe(station, Observed::PermitAcked { token: permit.token });
        self.observe(station, Observed::CloseEnded { seq, result: CloseEnd::Done });
        permit.label
    }

    fn observe(&mut self, station: u8, what: Observed) -> Step {
        let seen_mono_us = self.now.mono_us;
        self.step(Input::Observed(Observation { station: StationId(station), seen_mono_us, what }))
    }

    fn step(&mut self, input: Input) -> Step {
        let step = self.engine.step(self.now, input);
        let stamp = Stamp { at_us: self.now.wall_us, mono_us: self.now.mono_us, boot: 1 };
        self.said.extend(step.facts.iter().map(|entry| (entry.clone(), stamp)));
        step
    }
}

fn stations() -> Vec<StationSpec> {
    let camera = Role::Camera {
        rejector: StationId(REJECTOR),
        grade_min_milli: 1500,
        verdict_deadline_us: 1_000_000,
        decide: Decide::Line,
    };
    let roles = [
        ("printer", Role::Printer { queue: 32 }),
        ("camera", camera),
        ("rejector", Role::Rejector),
        ("packer", Role::Packer { level: PackLevel::Case, ttl_ms: 5000 }),
        ("palletizer", Role::Packer { level: PackLevel::Pallet, ttl_ms: 5000 }),
    ];
    let name = |name| Text::new(name).expect("a short name");
    roles.into_iter().map(|(at, role)| StationSpec::new(name(at), role)).collect()
}

fn order(count: u64) -> Order {
    let text = "a valid value";
    let sheet = BatchSheet {
        batch: Text::new("B1").expect(text),
        gtin: Gtin::new("09506000134352").expect(text),
        lot: Lot::new("L7").expect(text),
        expiry: Expiry::new(2030, 3, 31).expect(text),
        gcp_length: GcpLength::new(7).expect(text),
        pack: PackSpec { case_capacity: CAPACITY, pallet_capacity: CAPACITY },
        sscc: SsccRange { extension: 0, prefix: Text::new("9506000").expect(text), first: 1, last: 999_999 },
        recipes: Vec::new(),
    };
    let serials: Vec<_> = (0..count).map(|at| SerialNumber::new(&serial(at)).expect(text)).collect();
    let serials_sha256 = sealgate::wire::order::serials_sha256(&serials);
    Order { sheet, serials, serials_sha256 }
}

/// Serials in no order, as a supplier gives them.
fn serial(at: u64) -> String {
    format!("{:012X}", at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16)
}

fn code(at: u64) -> Vec<u8> {
    format!("]d2010950600013435221{}\u{1d}1730033110L7", serial(at)).into_bytes()
}
