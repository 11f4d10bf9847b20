//! A small plant: devices that count, remember and show again what was not decided, and acts that disturb them.

use std::collections::VecDeque;
use std::sync::Arc;

use sealgate::domain::gs1::{Expiry, GcpLength, Gtin, Lot, SerialNumber};
use sealgate::domain::pack::{Gate, PackLevel};
use sealgate::domain::tag::StationId;
use sealgate::domain::text::{BatchId, Text};
use sealgate::domain::time::Now;
use sealgate::engine::decide::Decide;
use sealgate::engine::fact::{Entry, Fact};
use sealgate::engine::input::{
    Ask, Asker, BatchSheet, CameraResult, CloseEnd, CloseRequest, GateState, Input, LostCause, Observation, Observed,
    Order, PackSpec, PassKey, Read, Request, SsccRange, TrackEnd,
};
use sealgate::engine::output::Permit;
use sealgate::engine::reason::BatchState;
use sealgate::engine::state::{Stage, State};
use sealgate::engine::{Engine, Role, Settings, Start, StationSpec};
use sealgate::wire::order::serials_sha256;

use super::judge::Judge;

const NAMES: [&str; 5] = ["printer", "camera", "rejector", "packer", "palletizer"];
const PRINTER: u8 = 0;
const CAMERA: u8 = 1;
const REJECTOR: u8 = 2;
const PACKER: u8 = 3;
const PALLETIZER: u8 = 4;
const CAPACITY: u16 = 2;
const WAITING: usize = 24;
const SERIALS: u32 = 400;
/// Acts of a plant; those from `CHAOS` on are what no plant does.
pub(crate) const CHAOS: u8 = 26;
pub(crate) const KINDS: u8 = 30;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Act {
    pub(crate) kind: u8,
    pub(crate) a: u8,
    pub(crate) b: u8,
}

#[derive(Clone, Default)]
struct Device {
    epoch: u32,
    /// Results shown, ends said, requests raised.
    seq: u64,
    /// Units that entered; containers begun.
    count: u64,
    request: Option<CloseRequest>,
}

pub(crate) struct Plant {
    engine: Engine,
    now: Now,
    entries: Vec<Entry>,
    order: Arc<Order>,
    pub(crate) judge: Judge,
    devices: [Device; 5],
    /// The printer: records taken over, printed, and the codes that wait for the camera.
    buffer: VecDeque<(u64, Vec<u8>)>,
    accepted: u64,
    printed: u64,
    belt: VecDeque<Vec<u8>>,
    flush: Option<u64>,
    flushed: u64,
    /// Tracks between camera and gate, and what the ring of ends holds.
    tracks: VecDeque<u64>,
    ends: Vec<(u64, TrackEnd)>,
    bin: u64,
    phantoms: u64,
    result: Option<CameraResult>,
    /// Permits that wait for the disk: each is looked at again after every step.
    waiting: VecDeque<Permit>,
    pub(crate) closed_batches: usize,
}

type Played = Result<(), String>;

impl Plant {
    pub(crate) fn new() -> Self {
        let role = [
            Role::Printer { queue: 6 },
            Role::Camera {
                rejector: StationId(REJECTOR),
                grade_min_milli: 0,
                verdict_deadline_us: 2_000_000,
                decide: Decide::Line,
            },
            Role::Rejector,
            Role::Packer { level: PackLevel::Case, ttl_ms: 1000 },
            Role::Packer { level: PackLevel::Pallet, ttl_ms: 1000 },
        ];
        let spec = |(name, role): (&str, Role)| StationSpec::new(Text::new(name).expect("short"), role);
        let settings = Settings { stations: NAMES.into_iter().zip(role).map(spec).collect() };
        let mut plant = Self {
            engine: Engine::new(settings, State::default()),
            now: Now { wall_us: 1_780_315_200_000_000, mono_us: 1_000_000 },
            entries: Vec::new(),
            order: Arc::new(order()),
            judge: Judge::default(),
            devices: Default::default(),
            buffer: VecDeque::new(),
            accepted: 0,
            printed: 0,
            belt: VecDeque::new(),
            flush: None,
            flushed: 0,
            tracks: VecDeque::new(),
            ends: Vec::new(),
            bin: 0,
            phantoms: 0,
            result: None,
            waiting: VecDeque::new(),
            closed_batches: 0,
        };
        plant.devices.iter_mut().for_each(|device| device.epoch = 1);
        plant.start_up().expect("nothing has happened yet");
        (0..5).try_for_each(|station| plant.join(station, true)).expect("nothing has happened yet");
        plant.ask(Request::LoadBatch(Arc::clone(&plant.order))).expect("the order is legal");
        plant.ask(Request::StartBatch(plant.batch())).expect("all are there");
        plant
    }

    /// Everything decided so far, the order it is about, and where the engine stands.
    pub(super) fn record(&self) -> (&[Entry], &Arc<Order>, &Engine) {
        (&self.entries, &self.order, &self.engine)
    }

    fn batch(&self) -> BatchId {
        self.order.sheet.batch
    }

    fn device(&mut self, station: u8) -> &mut Device {
        &mut self.devices[usize::from(station)]
    }

    fn is_joined(&self, station: u8) -> bool {
        let name = self.engine.settings().stations[usize::from(station)].name;
        self.engine.state().station(&name).joined
    }

    fn step(&mut self, input: Input) -> Played {
        self.now.mono_us += 1000;
        self.now.wall_us += 1000;
        let step = self.engine.step(self.now, input.clone());
        self.entries.extend(step.facts.iter().cloned());
        self.closed_batches += step.facts.iter().filter(|at| matches!(at.fact, Fact::BatchClosed { .. })).count();
        let told = |problem| format!("{problem}\n  after {input:?}\n  facts {:?}", step.facts);
        self.judge.judge(&self.engine, &input, &step, usize::from(CAPACITY)).map_err(told)?;
        self.waiting.extend(step.permits.iter().cloned());
        self.waiting.drain(..self.waiting.len().saturating_sub(WAITING));
        for permit in &self.waiting {
            self.judge.permit(&self.engine, self.now, permit).map_err(told)?;
        }
        for permit in &step.permits {
            if let Permit::Print { seq, data, .. } = permit {
                self.take_over(*seq, data);
            } else if let Permit::Flush { flush, .. } = permit {
                self.flush = Some(*flush);
            }
        }
        self.bounds()
    }

    fn take_over(&mut self, seq: u64, data: &[u8]) {
        if seq == self.accepted + 1 {
            self.accepted = seq;
            self.buffer.push_back((seq, data.to_vec()));
        } else if seq > self.accepted && self.buffer.is_empty() {
            // Records before it were burned.
            self.accepted = seq;
            self.buffer.push_back((seq, data.to_vec()));
        }
    }

    /// I9.
    fn bounds(&self) -> Played {
        let state = self.engine.state();
        let alarms = state.alarms.len() <= 16 * 6;
        let transit = state.transit.tracks.len() <= 4096 && state.transit.unknown.len() <= 4096;
        if alarms && transit { Ok(()) } else { Err("I9: a collection has no bound".to_owned()) }
    }

    fn observe(&mut self, station: u8, what: Observed) -> Played {
        let seen_mono_us = self.now.mono_us;
        self.step(Input::Observed(Observation { station: StationId(station), seen_mono_us, what }))
    }

    fn ask(&mut self, request: Request) -> Played {
        self.step(Input::Asked(Ask { id: 1, asker: Asker::Door(Text::default()), request }))
    }

    fn start_up(&mut self) -> Played {
        let (version, config_sha256) = (Text::default(), Text::default());
        self.step(Input::Started(Box::new(Start {
            version,
            config_sha256,
            clean: false,
            epoch: None,
            key: None,
            doubts: Vec::new(),
            description: None,
        })))
    }

    /// A station joins and shows its levels, and again what was not decided yet.
    fn join(&mut self, station: u8, is_reset: bool) -> Played {
        let device_epoch = self.device(station).epoch;
        self.observe(station, Observed::Joined { device_epoch, reset: is_reset })?;
        match station {
            PRINTER => {
                self.count()?;
                if self.flushed > 0 {
                    self.observe(PRINTER, Observed::Flushed { flush: self.flushed })?;
                }
                Ok(())
            }
            REJECTOR => {
                let count = self.device(REJECTOR).count;
                self.observe(REJECTOR, Observed::Entered { count })?;
                self.observe(REJECTOR, Observed::BinCounted { count: self.bin })?;
                self.observe(REJECTOR, Observed::PhantomCounted { count: self.phantoms })
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self) -> Played {
        let (accepted, printed) = (self.accepted, self.printed);
        self.observe(PRINTER, Observed::PrinterCounted { accepted, printed })
    }

    /// Power off and on: the device forgets everything.
    fn reset(&mut self, station: u8) -> Played {
        let epoch = self.device(station).epoch.wrapping_add(1).max(1);
        *self.device(station) = Device { epoch, ..Device::default() };
        match station {
            PRINTER => {
                self.buffer.clear();
                (self.accepted, self.printed, self.flushed, self.flush) = (0, 0, 0, None);
            }
            CAMERA => self.result = None,
            REJECTOR => {
                self.tracks.clear();
                self.ends.clear();
                (self.bin, self.phantoms) = (0, 0);
            }
            _ => {}
        }
        self.join(station, true)
    }

    pub(crate) fn play(&mut self, act: Act) -> Played {
        let Act { kind, a, b } = act;
        match kind {
            0 | 1 => self.print(1 + a % 4),
            2..=4 => self.read(a, b),
            5..=7 => self.end(a),
            8 | 9 => self.close_case(a, b),
            10 | 11 => self.answer_close(if b.is_multiple_of(4) { PALLETIZER } else { PACKER }, a),
            12 => self.release(if b.is_multiple_of(4) { PALLETIZER } else { PACKER }, a),
            13 => self.close_pallet(a),
            14 => self.tick(u64::from(a) * 20_000),
            15 => self.acknowledge(usize::from(a % 4)),
            16 if b.is_multiple_of(4) => self.observe(a % 5, Observed::Lost { cause: LostCause::Heartbeat }),
            16 | 17 => self.join_away(),
            18 if b.is_multiple_of(4) => self.reset(a % 5),
            18 | 19 if b % 4 == 1 => self.crash(),
            20 => self.life(a, b),
            21 => self.flush_done(),
            22 => self.expire(a),
            23 => self.repeat(a),
            24 if b.is_multiple_of(4) => self.oddity(a),
            25 => self.tick(600_000),
            _ if kind >= CHAOS => self.chaos(kind, a, b),
            _ => Ok(()),
        }
    }

    fn print(&mut self, count: u8) -> Played {
        for _ in 0..count {
            let Some((seq, data)) = self.buffer.pop_front() else { break };
            self.printed = seq;
            self.belt.push_back(data);
        }
        self.count()
    }

    fn read(&mut self, a: u8, b: u8) -> Played {
        if !self.is_joined(CAMERA) || !self.is_joined(REJECTOR) {
            return Ok(());
        }
        let Some(code) = self.belt.pop_front() else { return Ok(()) };
        self.device(REJECTOR).count += 1;
        let track = self.device(REJECTOR).count;
        self.tracks.push_back(track);
        self.observe(REJECTOR, Observed::Entered { count: track })?;
        let text = String::from_utf8_lossy(&code).into_owned();
        let (read, track) = match a % 48 {
            0 => (Read::NoRead, Some(track)),
            1 => (Read::NotGood, Some(track)),
            2 => (Read::Code(text.replace("10L7", "10L8").into_bytes()), Some(track)),
            3 => (Read::Code(text.replace("09506000134352", "09506000134369").into_bytes()), Some(track)),
            4 => (Read::Code(unit(u32::from(b) % SERIALS)), Some(track)),
            5 => (Read::Code(code), None),
            6 => (Read::Code(code), Some(track.saturating_sub(u64::from(b % 3)))),
            // No result at all; the camera did not trigger, or its number is missing.
            7 => return Ok(()),
            8 => {
                self.device(CAMERA).seq += 1;
                let seq = self.device(CAMERA).seq;
                return self.observe(CAMERA, Observed::ResultsMissed { from: seq, to: seq });
            }
            _ => (Read::Code(code), Some(track)),
        };
        self.device(CAMERA).seq += 1;
        let result = CameraResult { seq: self.device(CAMERA).seq, track, read, grade_milli: None };
        self.result = Some(result.clone());
        self.observe(CAMERA, Observed::Result(result))
    }

    fn end(&mut self, a: u8) -> Played {
        if !self.is_joined(REJECTOR) {
            return Ok(());
        }
        let Some(track) = self.tracks.pop_front() else { return Ok(()) };
        let obeys = if self.judge.may_pass(track) { TrackEnd::Passed } else { TrackEnd::RejectConfirmed };
        let end = match a % 48 {
            0 => TrackEnd::Missing,
            1 => TrackEnd::Passed,
            2 => TrackEnd::RejectConfirmed,
            _ => obeys,
        };
        self.say_end(track, end)?;
        if a % 48 == 3 { self.say_end(track, end) } else { Ok(()) }
    }

    fn say_end(&mut self, track: u64, end: TrackEnd) -> Played {
        if end == TrackEnd::RejectConfirmed {
            self.bin += 1;
            self.observe(REJECTOR, Observed::BinCounted { count: self.bin })?;
        }
        self.ends.push((track, end));
        self.device(REJECTOR).seq += 1;
        let end_seq = self.device(REJECTOR).seq;
        self.observe(REJECTOR, Observed::Ended { end_seq, track, end })
    }

    fn close_case(&mut self, a: u8, b: u8) -> Played {
        let mut children: Vec<Vec<u8>> = self.judge.loose_units().iter().map(code_of).collect();
        match a % 16 {
            0 => children.truncate(1),
            1 => children = vec![unit(u32::from(b)), unit(u32::from(a))],
            2 => children.truncate(3),
            3 => children = children.first().map_or_else(Vec::new, |first| vec![first.clone(), first.clone()]),
            4 => children = vec![Vec::new(), b"rubbish".to_vec()],
            // They lie in the case before the line has heard that they went past the gate.
            5..=7 => children = self.judge.awaited_units().iter().take(2).map(code_of).collect(),
            _ => children.truncate(2),
        }
        self.request(PACKER, Gate::Seal, !a.is_multiple_of(5), children, None)
    }

    fn close_pallet(&mut self, a: u8) -> Played {
        let mut cases = self.judge.loose_cases();
        cases.truncate(if a.is_multiple_of(8) { 1 } else { 2 });
        if cases.is_empty() {
            return Ok(());
        }
        let children = cases.iter().map(|sscc| format!("00{sscc}").into_bytes()).collect();
        self.request(PALLETIZER, Gate::Seal, true, children, None)
    }

    fn request(
        &mut self,
        station: u8,
        gate: Gate,
        is_new: bool,
        children: Vec<Vec<u8>>,
        label_read: Option<Vec<u8>>,
    ) -> Played {
        if !self.is_joined(station) {
            return Ok(());
        }
        let device = self.device(station);
        device.seq += 1;
        device.count += u64::from(is_new && gate == Gate::Seal);
        let (seq, container) = (device.seq, device.count);
        let request = CloseRequest { seq, gate, container, children, child_count: None, label_read, not_good: false };
        device.request = Some(request.clone());
        self.observe(station, Observed::CloseRequested(request))
    }

    fn release(&mut self, station: u8, a: u8) -> Played {
        let name = self.engine.settings().stations[usize::from(station)].name;
        let key = self.engine.state().station(&name).request.map(|request| request.key);
        let known = key.and_then(|key| self.engine.state().current()?.container_of(&key).map(|at| at.sscc));
        let label = known.map(|sscc| format!("00{sscc}").into_bytes());
        let label = match a % 8 {
            0 => None,
            1 => Some(b"00395060000000000101".to_vec()),
            _ => label,
        };
        self.request(station, Gate::Release, false, Vec::new(), label)
    }

    fn answer_close(&mut self, station: u8, a: u8) -> Played {
        let Some(request) = self.device(station).request.clone() else { return Ok(()) };
        let result = match a % 12 {
            0 => CloseEnd::MachineFailure,
            1 => CloseEnd::Expired,
            2 => return self.observe(station, Observed::PermitAcked { token: u32::from(a) }),
            _ => CloseEnd::Done,
        };
        // The device obeys: nothing is done without a permit.
        if self.is_granted(station) || a % 12 == 3 {
            self.observe(station, Observed::CloseEnded { seq: request.seq, result })?;
        }
        Ok(())
    }

    fn is_granted(&self, station: u8) -> bool {
        let name = self.engine.settings().stations[usize::from(station)].name;
        let request = self.engine.state().station(&name).request;
        request.is_some_and(|at| matches!(at.stage, Stage::Granted(_) | Stage::Unresolved(_)))
    }

    fn tick(&mut self, us: u64) -> Played {
        self.now.mono_us += us;
        self.now.wall_us += i64::try_from(us).expect("short");
        self.step(Input::Tick)
    }

    fn acknowledge(&mut self, count: usize) -> Played {
        let alarms = self.judge.alarms();
        alarms.into_iter().take(count).try_for_each(|alarm| self.ask(Request::AcknowledgeAlarm(alarm)))
    }

    fn join_away(&mut self) -> Played {
        (0..5)
            .filter(|station| !self.is_joined(*station))
            .collect::<Vec<_>>()
            .into_iter()
            .try_for_each(|station| self.join(station, false))
    }

    /// I7: the daemon dies and comes back with the fold of its facts.
    fn crash(&mut self) -> Played {
        let folded = self.fold()?;
        self.engine = Engine::new(self.engine.settings().clone(), folded);
        self.start_up()?;
        (0..5).try_for_each(|station| self.join(station, false))?;
        // The ring shows again the ends that were not decided, and a request without an answer stands.
        let name = self.engine.settings().stations[usize::from(REJECTOR)].name;
        let decided = self.engine.state().station(&name).seq;
        let ends: Vec<_> = (1..).zip(self.ends.clone()).filter(|(seq, _)| *seq > decided).collect();
        for (end_seq, (track, end)) in ends {
            self.observe(REJECTOR, Observed::Ended { end_seq, track, end })?;
        }
        [PACKER, PALLETIZER].into_iter().try_for_each(|station| match self.device(station).request.clone() {
            Some(request) => self.observe(station, Observed::CloseRequested(request)),
            None => Ok(()),
        })
    }

    fn fold(&self) -> Result<State, String> {
        let mut state = State::default();
        for entry in &self.entries {
            if matches!(entry.fact, Fact::BatchLoaded { .. }) {
                state.insert_order(&self.order);
            }
            state.apply(entry);
        }
        if state == *self.engine.state() { Ok(state) } else { Err("I7: the state is not the fold of its facts".into()) }
    }

    fn life(&mut self, a: u8, b: u8) -> Played {
        let batch = self.batch();
        let reason = || "because".to_owned();
        match a % 8 {
            0 if b.is_multiple_of(4) => self.ask(Request::StopBatch(batch)),
            0 | 1 => self.ask(Request::StartBatch(batch)),
            2 => self.ask(Request::CloseBatch(batch)),
            3 if b.is_multiple_of(2) => self.ask(Request::PurgeBatch(batch)),
            4 if b.is_multiple_of(2) => self.ask(Request::HoldBatch { batch, reason: reason() }),
            4 | 5 => self.ask(Request::ResumeBatch { batch, reason: None }),
            6 if b.is_multiple_of(16) => self.ask(Request::AbortBatch { batch, reason: reason() }),
            _ => Ok(()),
        }
    }

    fn flush_done(&mut self) -> Played {
        let Some(flush) = self.flush.filter(|flush| *flush != self.flushed) else { return Ok(()) };
        self.buffer.clear();
        self.flushed = flush;
        self.observe(PRINTER, Observed::Flushed { flush })
    }

    fn expire(&mut self, a: u8) -> Played {
        let track = self.tracks.get(usize::from(a) % self.tracks.len().max(1)).copied().unwrap_or_default();
        let device_epoch = self.device(REJECTOR).epoch;
        self.step(Input::PassExpired(PassKey { rejector: StationId(REJECTOR), device_epoch, track }))
    }

    fn repeat(&mut self, a: u8) -> Played {
        let before = self.entries.len();
        match a % 4 {
            0 | 1 => {
                let Some(mut result) = self.result.clone() else { return Ok(()) };
                if a % 8 == 1 {
                    result.read = Read::Changed;
                }
                let is_decided = result.seq <= self.device(CAMERA).seq;
                let is_same = result.read != Read::Changed && is_decided;
                self.observe(CAMERA, Observed::Result(result))?;
                self.is_silent(is_same && self.is_joined(CAMERA), before)
            }
            2 => {
                let Some(request) = self.device(PACKER).request.clone() else { return Ok(()) };
                let name = self.engine.settings().stations[usize::from(PACKER)].name;
                let is_decided = request.seq <= self.engine.state().station(&name).seq;
                self.observe(PACKER, Observed::CloseRequested(request))?;
                self.is_silent(is_decided, before)
            }
            _ => self.step(Input::Tick),
        }
    }

    /// A repeat brings no fact.
    fn is_silent(&self, is_repeat: bool, before: usize) -> Played {
        let news = self.entries.get(before..).unwrap_or_default();
        if is_repeat && !news.is_empty() && self.devices[1].seq > 0 && self.repeats_decided() {
            return Err(format!("a repeat brought {news:?}"));
        }
        Ok(())
    }

    /// Whether the last result belongs to the camera's present epoch and was decided.
    fn repeats_decided(&self) -> bool {
        let name = self.engine.settings().stations[usize::from(CAMERA)].name;
        self.result.as_ref().is_some_and(|result| result.seq <= self.engine.state().station(&name).seq)
    }

    fn oddity(&mut self, a: u8) -> Played {
        match a % 6 {
            0 => {
                self.phantoms += 1;
                self.bin += 1;
                self.observe(REJECTOR, Observed::BinCounted { count: self.bin })?;
                self.observe(REJECTOR, Observed::PhantomCounted { count: self.phantoms })
            }
            1 => self.observe(REJECTOR, Observed::BinFull { full: true }),
            2 => self.observe(PACKER, Observed::GateMoved { state: GateState::Open }),
            3 => self.observe(PACKER, Observed::GateMoved { state: GateState::Shut }),
            4 => {
                // The ring was overrun: one end is lost.
                if self.tracks.pop_front().is_none() || !self.is_joined(REJECTOR) {
                    return Ok(());
                }
                self.device(REJECTOR).seq += 1;
                let seq = self.device(REJECTOR).seq;
                self.ends.push((0, TrackEnd::Missing));
                self.observe(REJECTOR, Observed::EndsMissed { from: seq, to: seq })
            }
            _ => self.observe(a % 5, Observed::Faulted { code: i64::from(a) }),
        }
    }

    /// What no station would say: numbers out of any order, to any station.
    fn chaos(&mut self, kind: u8, a: u8, b: u8) -> Played {
        let station = b % 7;
        let wild = [0, 1, 2, 5, 40, 3000, u64::from(u32::MAX), u64::MAX];
        let (n, m) = (wild[usize::from(a % 8)], wild[usize::from(a / 8 % 8)]);
        let what = match (kind - CHAOS, a / 64) {
            (0, 0) => Observed::PrinterCounted { accepted: n, printed: m },
            (0, 1) => Observed::Flushed { flush: n },
            (0, 2) => Observed::ResultsMissed { from: n, to: m },
            (0, _) => Observed::Entered { count: n },
            (1, 0) => Observed::Ended { end_seq: n, track: m, end: TrackEnd::Passed },
            (1, 1) => Observed::Ended { end_seq: n, track: m, end: TrackEnd::RejectConfirmed },
            (1, 2) => Observed::EndsMissed { from: n, to: m },
            (1, _) => Observed::PhantomCounted { count: n },
            (2, 0) => Observed::CloseEnded { seq: n, result: CloseEnd::Done },
            (2, 1) => Observed::PermitAcked { token: u32::try_from(n).unwrap_or(u32::MAX) },
            (2, 2) => Observed::BinCounted { count: n },
            (2, _) => {
                Observed::Joined { device_epoch: u32::try_from(n).unwrap_or(u32::MAX), reset: b.is_multiple_of(2) }
            }
            (_, 0) => Observed::Result(CameraResult {
                seq: n,
                track: Some(m),
                read: Read::Code(unit(u32::from(b) % 64)),
                grade_milli: Some(-1),
            }),
            (_, _) => Observed::CloseRequested(CloseRequest {
                seq: n,
                gate: if b.is_multiple_of(2) { Gate::Seal } else { Gate::Release },
                container: m,
                children: vec![unit(u32::from(b)), vec![0, 255, b], Vec::new()],
                child_count: Some(n),
                label_read: Some(vec![b; 3]),
                not_good: b.is_multiple_of(3),
            }),
        };
        if let Observed::Joined { device_epoch, .. } = what {
            let known = usize::from(station);
            if let Some(device) = self.devices.get_mut(known) {
                *device = Device { epoch: device_epoch, ..Device::default() };
            }
        }
        self.observe(station, what)
    }

    /// The faults stop. Liveness: the line verifies the next conforming unit and closes the next full case.
    pub(crate) fn heal(&mut self, is_reset: bool) -> Played {
        self.fold()?;
        for station in 0..5 {
            if is_reset {
                self.reset(station)?;
            } else if !self.is_joined(station) {
                self.join(station, false)?;
            }
        }
        if self.engine.state().current().is_none() {
            return Ok(());
        }
        match self.engine.state().current().map(|batch| batch.state) {
            Some(BatchState::Held) => self.ask(Request::ResumeBatch { batch: self.batch(), reason: None })?,
            Some(BatchState::Purging) => self.ask(Request::StopBatch(self.batch()))?,
            _ => {}
        }
        self.flush_done()?;
        self.drain()?;
        // What a printer lost count of is no conforming unit any more.
        self.belt.clear();
        for station in [PACKER, PALLETIZER] {
            if let Some(request) = self.device(station).request.clone().filter(|_| self.is_granted(station)) {
                self.observe(station, Observed::CloseEnded { seq: request.seq, result: CloseEnd::Done })?;
            }
        }
        self.acknowledge(usize::MAX)?;
        let running = |plant: &Self| plant.engine.state().current().is_some_and(|at| at.state == BatchState::Running);
        if !running(self) {
            self.ask(Request::StartBatch(self.batch()))?;
        }
        if !running(self) || !self.engine.may_run() {
            return Err(format!("liveness: the line does not run again; alarms {:?}", self.engine.state().alarms));
        }
        self.work()?;
        self.fold().map(drop)
    }

    /// What is on its way leaves the line.
    fn drain(&mut self) -> Played {
        while let Some(track) = self.tracks.pop_front() {
            let end = if self.judge.may_pass(track) { TrackEnd::Passed } else { TrackEnd::RejectConfirmed };
            self.say_end(track, end)?;
        }
        (0..40).try_for_each(|_| self.tick(100_000))
    }

    fn work(&mut self) -> Played {
        let before = self.judge.closed_containers();
        let commissioned = self.judge.commissioned.len();
        for _ in 0..8 {
            self.print(1)?;
            self.tick(600_000)?;
            self.read(255, 0)?;
            self.end(255)?;
        }
        let conforming = self.judge.commissioned.len().saturating_sub(commissioned);
        // A serial may have been used up by what was read before; the others must come through.
        if conforming < 6 {
            let state = self.engine.state();
            return Err(format!("liveness: {conforming} of 8 conforming units came through; {:?}", state.stations));
        }
        self.request(PACKER, Gate::Seal, true, self.judge.loose_units().iter().take(2).map(code_of).collect(), None)?;
        self.close_both_gates(PACKER)?;
        let closed = self.judge.closed_containers();
        if closed > before { Ok(()) } else { Err("liveness: the next full case did not close".to_owned()) }
    }
}

impl Plant {
    /// The calm end of a calm batch: everything is packed, the printer emptied, the batch closed with balanced counts.
    pub(crate) fn finish(&mut self) -> Played {
        self.drain()?;
        self.acknowledge(usize::MAX)?;
        for _ in 0..600 {
            self.pack_up()?;
            let is_empty = self.judge.loose_units().is_empty() && self.judge.loose_cases().is_empty();
            if is_empty && self.belt.is_empty() {
                break;
            }
            self.print(u8::from(self.belt.is_empty()))?;
            self.tick(600_000)?;
            self.read(255, 0)?;
            self.end(255)?;
        }
        // A line that is empty is stopped as soon as its printer is.
        let end = if self.bin.is_multiple_of(2) { Request::PurgeBatch } else { Request::StopBatch };
        self.ask(end(self.batch()))?;
        self.flush_done()?;
        self.ask(Request::CloseBatch(self.batch()))?;
        if self.closed_batches == 1 { Ok(()) } else { Err(format!("not closed: {:?}", self.entries.last())) }
    }

    fn pack_up(&mut self) -> Played {
        while self.judge.loose_units().len() >= 2 {
            let children = self.judge.loose_units().iter().take(2).map(code_of).collect();
            self.request(PACKER, Gate::Seal, true, children, None)?;
            self.close_both_gates(PACKER)?;
        }
        while self.judge.loose_cases().len() >= 2 {
            self.close_pallet(255)?;
            self.close_both_gates(PALLETIZER)?;
        }
        Ok(())
    }

    fn close_both_gates(&mut self, station: u8) -> Played {
        self.answer_close(station, 255)?;
        self.release(station, 255)?;
        self.answer_close(station, 255)
    }

    /// An act after which a batch can still be closed without a signature.
    pub(crate) fn play_calmly(&mut self, act: Act) -> Played {
        let Act { kind, a, b } = act;
        match kind % 12 {
            0 | 1 => self.print(1 + a % 3),
            2..=4 => self.read([0, 1, 2, 8].get(usize::from(a % 8)).copied().unwrap_or(255), b),
            5..=7 => self.end(255),
            8 => self.tick(u64::from(a) * 1000),
            9 => self.crash(),
            10 => self.pack_up(),
            _ if a % 4 == 0 => self.oddity(0),
            _ => self.acknowledge(usize::MAX),
        }
    }
}

fn serial(number: u32) -> SerialNumber {
    SerialNumber::new(&format!("A{number:04}")).expect("legal")
}

fn unit(number: u32) -> Vec<u8> {
    code_of(&serial(number))
}

fn code_of(serial: &SerialNumber) -> Vec<u8> {
    format!("0109506000134352{}{serial}\u{1d}1727033110L7", "21").into_bytes()
}

fn order() -> Order {
    let sheet = BatchSheet {
        batch: Text::new("L7").expect("short"),
        gtin: Gtin::new("09506000134352").expect("legal"),
        lot: Lot::new("L7").expect("legal"),
        expiry: Expiry::parse_iso("2027-03-31").expect("legal"),
        gcp_length: GcpLength::new(7).expect("legal"),
        pack: PackSpec { case_capacity: CAPACITY, pallet_capacity: CAPACITY },
        sscc: SsccRange { extension: 3, prefix: Text::new("9506000").expect("short"), first: 1, last: 9999 },
        recipes: Vec::new(),
    };
    let serials: Vec<_> = (0..SERIALS).map(serial).collect();
    let serials_sha256 = serials_sha256(&serials);
    Order { sheet, serials, serials_sha256 }
}
