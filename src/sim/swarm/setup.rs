//! What one simulated line is like, drawn from its seed: the plant's sizes and speeds, the same settings of engine, stations
//! and lowering that a config would give, and the order that is run. Nothing here misbehaves; that is `plan`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::domain::gs1::{Expiry, GcpLength, Gtin, Lot, SerialNumber};
use crate::domain::pack::PackLevel;
use crate::domain::tag::{StationId, StationKind, Tag};
use crate::domain::text::Text;
use crate::engine::decide::Decide;
use crate::engine::input::{BatchSheet, Order, PackSpec, SsccRange};
use crate::engine::{self, Role, StationSpec};
use crate::sim::random::Random;
use crate::sim::rejector::TRACK_LAST;
use crate::sim::settings::{PlantSettings, Weather};
use crate::station;
use crate::wire::lower::{LineIdentity, Lowering};

/// One line, before anything happened.
#[derive(Debug)]
pub struct Setup {
    pub seed: u64,
    /// The faults end once so many units were presented.
    pub units: u64,
    pub plant: PlantSettings,
    pub order: Arc<Order>,
    pub engine: engine::Settings,
    /// In the order of `StationKind::ALL`, which is that of their ids.
    pub stations: Vec<station::Settings>,
    pub lowering: Lowering,
    /// Which stations lie on one device: they come and go together.
    pub devices: Vec<Vec<StationId>>,
    pub step_us: u64,
    /// From a group handed over to its completion, on a day without faults.
    pub commit_us: u64,
}

/// Units that enter after the faults have ended, at least: enough for the line to prove that it works again.
const RUN_OUT: u64 = 60;

impl Setup {
    /// A line as a seed draws it.
    pub fn drawn(seed: u64, units: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5EA1_6A7E);
        let mut pick = |choices: &[u64]| choices.get(index(random.below(choices.len() as u64))).copied().unwrap_or(0);
        let ring = pick(&[0, 8, 16, 64]);
        let wraps = pick(&[1_024, 4_294_967_232]);
        let plant = PlantSettings {
            seed,
            rate_per_minute: u32::try_from(pick(&[300, 600, 600, 1200])).unwrap_or(600),
            units_min: units + RUN_OUT,
            case_capacity: index(pick(&[2, 4, 5, 10])),
            pallet_capacity: index(pick(&[2, 3, 5])),
            weather: Weather::MILD,
            printer_depth: index(pick(&[4, 16])),
            ring: index(ring),
            seq_last: wraps,
            ends_ring: 64,
            camera_jitter_us: pick(&[0, 5_000, 40_000]),
            verdict_deadline_ms: pick(&[800, 1_500, 2_500]),
            bin_capacity: pick(&[0, 0, 40]),
            ..PlantSettings::default()
        };
        let together = pick(&[0, 1]) == 1;
        let step_us = pick(&[5_000, 10_000, 10_000]);
        let commit_us = pick(&[1_000, 3_000, 8_000]);
        let depth = u16::try_from(pick(&[1, 8])).unwrap_or(1);
        Self { step_us, commit_us, ..Self::over(plant, units, together, depth) }
    }

    /// The line over a given plant.
    pub fn over(plant: PlantSettings, units: u64, together: bool, verdict_depth: u16) -> Self {
        let id = |index: u8| StationId(index);
        let devices = if together {
            vec![vec![id(0), id(1), id(2)], vec![id(3), id(4)]]
        } else {
            (0..5).map(|index| vec![id(index)]).collect()
        };
        Self {
            seed: plant.seed,
            units,
            order: Arc::new(order(&plant, units)),
            engine: engine_settings(&plant),
            stations: StationKind::ALL.iter().map(|kind| station_settings(&plant, *kind, verdict_depth)).collect(),
            lowering: lowering(),
            devices,
            step_us: 10_000,
            commit_us: 2_000,
            plant,
        }
    }

    pub fn children(&self, level: PackLevel) -> usize {
        match level {
            PackLevel::Pallet => self.plant.pallet_capacity,
            PackLevel::Unit | PackLevel::Bundle | PackLevel::Case => self.plant.case_capacity,
        }
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

pub(super) fn name<const N: usize>(text: &str) -> Text<N> {
    Text::new(text).expect("names of the simulated line are short")
}

fn engine_settings(plant: &PlantSettings) -> engine::Settings {
    // What the blade needs beside: our side's share of the way from the result to the blade.
    let verdict_deadline_us = plant.verdict_deadline_ms.saturating_sub(200).saturating_mul(1_000);
    let role = |kind: &StationKind| match kind {
        StationKind::Printer => Role::Printer { queue: 16 },
        StationKind::Camera => {
            Role::Camera { rejector: StationId(2), grade_min_milli: 1_500, verdict_deadline_us, decide: Decide::Line }
        }
        StationKind::Rejector => Role::Rejector,
        StationKind::Packer => Role::Packer { level: PackLevel::Case, ttl_ms: 2_000 },
        StationKind::Palletizer => Role::Packer { level: PackLevel::Pallet, ttl_ms: 2_000 },
    };
    let spec = |kind: &StationKind| StationSpec::new(name(kind.name()), role(kind));
    engine::Settings { stations: StationKind::ALL.iter().map(spec).collect() }
}

fn station_settings(plant: &PlantSettings, kind: StationKind, verdict_depth: u16) -> station::Settings {
    let mut settings = station::Settings::new(StationId(kind as u8), name(kind.name()), kind);
    let u32_last = u64::from(u32::MAX);
    let ends_ring = plant.ends_ring as u64;
    settings.wraps = vec![(Tag::Heartbeat, 65_535), (Tag::HeartbeatOut, 65_535), (Tag::Track, TRACK_LAST)];
    settings.wraps.extend(match kind {
        StationKind::Printer => {
            vec![(Tag::PrintedSeq, u32_last), (Tag::AcceptedSeq, u32_last), (Tag::DataSeq, u32_last)]
        }
        StationKind::Camera => vec![(Tag::Seq, plant.seq_last)],
        StationKind::Rejector => vec![(Tag::InCount, TRACK_LAST), (Tag::EndSeq, u32_last / ends_ring * ends_ring)],
        StationKind::Packer | StationKind::Palletizer => vec![(Tag::Seq, u32_last)],
    });
    settings.partner = (kind == StationKind::Camera).then_some(StationId(StationKind::Rejector as u8));
    settings.ring = if kind == StationKind::Camera { u16::try_from(plant.ring).unwrap_or(0) } else { 0 };
    settings.ends_ring = u16::try_from(plant.ends_ring).unwrap_or(64);
    settings.verdict_depth = verdict_depth;
    settings
}

fn lowering() -> Lowering {
    Lowering::new(LineIdentity {
        line: "acme/sim/line1".into(),
        source: "urn:sealgate:line:acme/sim/line1".into(),
        read_points: BTreeMap::new(),
        container_read_points: BTreeMap::new(),
        biz_location: "urn:epc:id:sgln:9506000.12345.0".into(),
        offset_minutes: 60,
    })
}

/// Serials with enough room for all that is burned and rejected, in characters that are legal and awkward.
fn order(plant: &PlantSettings, units: u64) -> Order {
    const LETTERS: &[u8] = b"0123456789ABCDEFGHJKLMNPQRSTUVWXYZ";
    const AWKWARD: &[u8] = b"!\"%&'()*+,-./:;<=>?_";
    let mut random = Random::new(plant.seed ^ 0x0DE5);
    let mut draw = |from: &[u8]| char::from(from.get(index(random.below(from.len() as u64))).copied().unwrap_or(b'0'));
    let count = index(units.saturating_mul(2).saturating_add(1_000));
    let (mut known, mut serials) = (BTreeSet::new(), Vec::with_capacity(count));
    while serials.len() < count {
        // F89: what a shell, a query, a page or a topic would trip over is a serial like any other.
        let text: String = (0..10).map(|at| if at == 4 { draw(AWKWARD) } else { draw(LETTERS) }).collect();
        let serial = SerialNumber::new(&text).expect("characters of the GS1 set 82");
        if known.insert(serial) {
            serials.push(serial);
        }
    }
    let sheet = BatchSheet {
        batch: name("SIM-1"),
        gtin: Gtin::new("09506000134352").expect("a legal GTIN"),
        lot: Lot::new("L7").expect("a legal lot"),
        expiry: Expiry::parse_iso("2029-03-31").expect("a legal date"),
        gcp_length: GcpLength::new(7).expect("a legal length"),
        pack: PackSpec {
            case_capacity: u16::try_from(plant.case_capacity).unwrap_or(u16::MAX),
            pallet_capacity: u16::try_from(plant.pallet_capacity).unwrap_or(u16::MAX),
        },
        sscc: SsccRange { extension: 3, prefix: name("9506000"), first: 1, last: 900_000_000 },
        recipes: Vec::new(),
    };
    Order { sheet, serials, serials_sha256: name(&"0".repeat(64)) }
}
