//! Steps of the engine alone, one core: a unit is a camera result, its verdict, and the end of its track.
//! The floor is parsing the same element strings and nothing else. Goal: 1,000,000 units per second (DESIGN section 10).
//!
//! `cargo bench --bench engine`

use criterion::{BatchSize, Criterion, Throughput};
use sealgate::domain::element::ElementString;
use sealgate::domain::gs1::{Expiry, GcpLength, Gtin, Lot, SerialNumber};
use sealgate::domain::tag::StationId;
use sealgate::domain::text::Text;
use sealgate::domain::time::Now;
use sealgate::engine::decide::Decide;
use sealgate::engine::input::{
    Ask, Asker, BatchSheet, CameraResult, Input, Observation, Observed, Order, PackSpec, Read, Request, SsccRange,
    TrackEnd,
};
use sealgate::engine::state::State;
use sealgate::engine::{Engine, Role, Settings, StationSpec};
use std::hint::black_box;
use std::sync::Arc;

const UNITS: u64 = 10_000;
const NOW: Now = Now { wall_us: 1_790_000_000_000_000, mono_us: 1_000_000 };

fn main() {
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    let codes = codes();
    let mut group = criterion.benchmark_group("engine");
    group.throughput(Throughput::Elements(UNITS));
    group.bench_function("floor: parse the codes", |bencher| {
        bencher.iter(|| codes.iter().filter(|code| ElementString::parse(black_box(code)).is_ok()).count());
    });
    group.bench_function("units: result, verdict, end", |bencher| {
        bencher.iter_batched(
            || (running(), codes.clone()),
            |(engine, codes)| run(engine, codes),
            BatchSize::LargeInput,
        );
    });
    group.finish();
    criterion.final_summary();
}

fn run(mut engine: Engine, codes: Vec<Vec<u8>>) -> Engine {
    for (seq, code) in (1..).zip(codes) {
        let read = CameraResult { seq, track: Some(seq), read: Read::Code(code), grade_milli: Some(3500) };
        let step = observe(&mut engine, 1, Observed::Result(read));
        assert!(step == 1 || seq % 32 == 1, "a conforming unit is verified");
        observe(&mut engine, 2, Observed::Ended { end_seq: seq, track: seq, end: TrackEnd::Passed });
    }
    let commissioned = engine.state().current().map_or(0, |batch| batch.counts.commissioned);
    assert_eq!(u64::from(commissioned), UNITS, "every unit is commissioned");
    engine
}

fn observe(engine: &mut Engine, station: u8, what: Observed) -> usize {
    let input = Input::Observed(Observation { station: StationId(station), seen_mono_us: NOW.mono_us, what });
    engine.step(NOW, input).facts.len()
}

/// An engine whose batch is running and whose serials are all printed.
fn running() -> Engine {
    let name = |name: &str| Text::new(name).expect("a short name");
    let camera = Role::Camera {
        rejector: StationId(2),
        grade_min_milli: 1500,
        verdict_deadline_us: 1_000_000,
        decide: Decide::Line,
    };
    let roles = [("printer", Role::Printer { queue: 10_000 }), ("camera", camera), ("rejector", Role::Rejector)];
    let stations = roles.into_iter().map(|(at, role)| StationSpec::new(name(at), role)).collect();
    let mut engine = Engine::new(Settings { stations }, State::default());
    for station in 0..3 {
        observe(&mut engine, station, Observed::Joined { device_epoch: 1, reset: true });
    }
    let order = order();
    let batch = order.sheet.batch;
    for request in [Request::LoadBatch(Arc::new(order)), Request::StartBatch(batch)] {
        let ask = Ask { id: 1, asker: Asker::Door(Text::new("bench").expect("a short name")), request };
        let answer = engine.step(NOW, Input::Asked(ask)).answer.expect("a request is answered");
        assert!(answer.outcome.is_ok(), "{answer:?}");
    }
    observe(&mut engine, 0, Observed::PrinterCounted { accepted: 0, printed: 0 });
    observe(&mut engine, 0, Observed::PrinterCounted { accepted: UNITS, printed: UNITS });
    engine
}

fn order() -> Order {
    let text = "a valid value";
    let sheet = BatchSheet {
        batch: Text::new("B1").expect(text),
        gtin: Gtin::new("09506000134352").expect(text),
        lot: Lot::new("L7").expect(text),
        expiry: Expiry::new(2030, 3, 31).expect(text),
        gcp_length: GcpLength::new(7).expect(text),
        pack: PackSpec { case_capacity: 10, pallet_capacity: 0 },
        sscc: SsccRange { extension: 0, prefix: Text::new("9506000").expect(text), first: 1, last: 5000 },
        recipes: Vec::new(),
    };
    let serials = (0..UNITS).map(|at| SerialNumber::new(&serial(at)).expect(text)).collect();
    Order { sheet, serials, serials_sha256: Text::default() }
}

/// Serials in no order, as a supplier gives them.
fn serial(at: u64) -> String {
    format!("{:012X}", at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16)
}

fn codes() -> Vec<Vec<u8>> {
    let code = |at| format!("]d2010950600013435221{}\u{1d}1730033110L7", serial(at)).into_bytes();
    (0..UNITS).map(code).collect()
}
