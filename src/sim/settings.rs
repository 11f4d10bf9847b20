//! What the simulated plant is built like. Distances are given as travel times at nominal belt speed, since the belt's
//! encoder counts them so: a stopped belt stops all of them.

use super::mishap::Rough;
use crate::engine::decide::Decide;

/// Parts per ten thousand of units that are spoiled in each way; the rest is conforming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    pub no_read: u32,
    pub low_grade: u32,
    pub wrong_lot: u32,
    pub duplicate: u32,
    pub foreign: u32,
}

impl Weather {
    /// About 3 % in all: what a line on an ordinary day shows.
    pub const MILD: Weather = Weather { no_read: 80, low_grade: 80, wrong_lot: 60, duplicate: 50, foreign: 20 };

    pub const NONE: Weather = Weather { no_read: 0, low_grade: 0, wrong_lot: 0, duplicate: 0, foreign: 0 };
}

/// A reader that sees a case layer by layer: each layer is a frame of its units between helper codes, which tell that the whole layer
/// was in view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArrayReader {
    /// 0: the children are shown as they are.
    pub layers: usize,
    pub helpers: usize,
}

impl ArrayReader {
    pub const NONE: ArrayReader = ArrayReader { layers: 0, helpers: 0 };
    /// As `config/maps/array-packer.toml` expects it.
    pub const TWO_LAYERS: ArrayReader = ArrayReader { layers: 2, helpers: 2 };

    /// What is shown of these codes, of which a case holds `capacity`.
    pub fn frames(self, codes: Vec<Vec<u8>>, capacity: usize) -> Vec<Vec<u8>> {
        let Some(wide) = capacity.checked_div(self.layers) else { return codes };
        let mut codes = codes.into_iter();
        let mut shown = Vec::new();
        for layer in 1..=self.layers {
            let helper = |place: usize| format!("HC{layer}-{place}").into_bytes();
            shown.extend((1..self.helpers).map(helper));
            shown.extend((0..wide).map(|_| codes.next().unwrap_or_default()));
            shown.extend((self.helpers.max(1)..=self.helpers).map(helper));
        }
        shown
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlantSettings {
    pub seed: u64,
    /// Units per minute that enter while the belt runs.
    pub rate_per_minute: u32,
    /// At least so many units are presented; the plant then runs until its last pallet is full.
    pub units_min: u64,
    pub case_capacity: usize,
    pub pallet_capacity: usize,
    pub weather: Weather,
    /// What goes wrong beside the weather.
    pub rough: Rough,
    /// A written heartbeat that has not changed for so long is stale.
    pub heartbeat_timeout_ms: u64,
    /// Records that the printer's buffer holds.
    pub printer_depth: usize,
    /// Result slots of the camera; 0 shows one result at a time, which stands until it is acknowledged. The default holds
    /// what comes at 30 units/s until a stale heartbeat has stopped the belt.
    pub ring: usize,
    /// The camera's highest `seq`, after which comes 1: a multiple of `ring`.
    pub seq_last: u64,
    /// Pairs of (track, end) in the ring `ends`.
    pub ends_ring: usize,
    /// Who drives the blade: the verdicts that are written, or the camera, by what it was told to expect.
    pub decide: Decide,
    /// From the trigger to the published result, plus up to `camera_jitter_us`, in time.
    pub camera_us: u64,
    pub camera_jitter_us: u64,
    /// From the published result to the blade, at nominal speed.
    pub verdict_deadline_ms: u64,
    pub printer_to_camera_us: u64,
    pub exit_to_packer_us: u64,
    /// How the packer's reader shows what it read.
    pub array: ArrayReader,
    /// Units that the reject bin holds; 0 is a bin without bottom.
    pub bin_capacity: u64,
    /// A station that was denied asks again after so long.
    pub deny_pause_ms: u64,
    /// Opening, closing or labelling takes so long; `None` derives it from the rate.
    pub motion_us: Option<u64>,
    pub packing: Packing,
}

/// How the packer gets its label and its strokes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// Both from the controller.
    #[default]
    Machine,
    /// The label comes from a labeller beside it: no stroke begins before it lies on the applicator.
    Labelled,
    /// A person labels and closes (`sim::hand`).
    Hand,
}

impl Default for PlantSettings {
    fn default() -> Self {
        Self {
            seed: 1,
            rate_per_minute: 300,
            units_min: 1000,
            case_capacity: 10,
            pallet_capacity: 10,
            weather: Weather::MILD,
            rough: Rough::none(),
            heartbeat_timeout_ms: 1000,
            printer_depth: 16,
            ring: 64,
            seq_last: 4_294_967_232,
            ends_ring: 256,
            decide: Decide::Line,
            camera_us: 10_000,
            camera_jitter_us: 0,
            verdict_deadline_ms: 2500,
            printer_to_camera_us: 200_000,
            exit_to_packer_us: 400_000,
            array: ArrayReader::NONE,
            bin_capacity: 0,
            deny_pause_ms: 200,
            motion_us: None,
            packing: Packing::Machine,
        }
    }
}

/// Child slots in the tag `children` of the packer and the palletizer: the largest capacity that the register map holds.
pub const CHILD_SLOTS: usize = 64;

impl PlantSettings {
    /// The settings that can be built: every bound that the tags impose is kept.
    pub fn bounded(mut self) -> Self {
        self.rate_per_minute = self.rate_per_minute.clamp(1, 60_000);
        self.case_capacity = self.case_capacity.clamp(1, CHILD_SLOTS);
        self.pallet_capacity = self.pallet_capacity.clamp(1, CHILD_SLOTS);
        self.printer_depth = self.printer_depth.max(1);
        self.ends_ring = self.ends_ring.max(64);
        self
    }

    /// Between two units on the running belt.
    pub fn unit_period_us(&self) -> u64 {
        60_000_000 / u64::from(self.rate_per_minute.max(1))
    }

    /// A twentieth of the time that a case takes to fill: the packer must not be what limits the line.
    pub fn motion_us(&self) -> u64 {
        let case_us = self.unit_period_us() * self.case_capacity as u64;
        self.motion_us.unwrap_or_else(|| (case_us / 20).clamp(2_000, 300_000))
    }

    pub fn units_per_pallet(&self) -> u64 {
        (self.case_capacity * self.pallet_capacity) as u64
    }
}
