//! A line at the level of observations: one printer, camera, rejector, case packer and palletizer, and the engine under test.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sealgate::domain::code::Code;
use sealgate::domain::element::ElementString;
use sealgate::domain::gs1::{Expiry, GcpLength, Gtin, Lot, SerialNumber, Sscc};
use sealgate::domain::pack::{Gate, PackLevel};
use sealgate::domain::quality::TagFlaw;
use sealgate::domain::tag::{StationId, Tag};
use sealgate::domain::text::{BatchId, Name, Text};
use sealgate::domain::time::Now;
use sealgate::engine::clearance::Clearance;
use sealgate::engine::decide::Decide;
use sealgate::engine::fact::{Entry, Fact, RequestKey};
use sealgate::engine::hands::{Hand, HandReason, HandsRequest, Why};
use sealgate::engine::input::{
    Asker, BatchSheet, CameraResult, CloseEnd, CloseRequest, GateState, Input, LostCause, Observation, Observed, Order,
    PackSpec, PassKey, Read, Reopening, Request, SsccRange, StationRecipe, TrackEnd,
};
use sealgate::engine::output::{Done, Permit, Restraint, Step};
use sealgate::engine::recipe::Recipe;
use sealgate::engine::signing::Signable;
use sealgate::engine::state::{Stage, State};
use sealgate::engine::stops::Stops;
use sealgate::engine::{Engine, Policy, Role, Settings, Start, StationSpec};

use super::words::{self, Names};

mod people;
mod twin;

pub(crate) use twin::End;

pub(crate) const STATIONS: [&str; 5] = ["printer", "camera", "rejector", "packer", "palletizer"];
const PRINTER: usize = 0;
const CAMERA: usize = 1;
const REJECTOR: usize = 2;
const PACKER: usize = 3;
const PALLETIZER: usize = 4;
const GTIN: &str = "09506000134352";
/// 2026-06-01, noon.
const WALL_US: i64 = 1_780_315_200_000_000;

/// What one line did, in words.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) facts: Vec<String>,
    pub(crate) outputs: Vec<String>,
    /// A line that only prepares: its outcome need not be written.
    pub(crate) is_setup: bool,
}

/// The device's side of a station.
#[derive(Clone, Default)]
struct Device {
    epoch: u32,
    seq: u64,
    accepted: u64,
    printed: u64,
    count: u64,
    request: Option<CloseRequest>,
    is_open: bool,
    /// It has started again, and no epoch of its own says what it still holds.
    is_guessed: bool,
    /// What it shows, where it shows one.
    recipe: Option<Option<Recipe>>,
}

#[derive(Default)]
pub(crate) struct World {
    title: String,
    engine: Option<Engine>,
    now: Now,
    policy: Policy,
    clearance: Clearance,
    /// The printer does not say which records it took over.
    is_blind: bool,
    entries: Vec<Entry>,
    orders: Vec<Arc<Order>>,
    /// Asked for in this line; it counts among the orders once the engine took it.
    offered: Option<Arc<Order>>,
    devices: [Device; 5],
    labels: BTreeMap<String, u64>,
    ssccs: BTreeMap<Sscc, String>,
    result: Option<CameraResult>,
    /// The digest of the configuration that a start finds.
    config: Text<64>,
    /// What each challenge is for.
    acts: BTreeMap<String, Signable>,
    /// Who asks, where it is not the door.
    asker: Option<Asker>,
    /// All that the stations have shown in their epochs.
    history: Vec<Observation>,
    steps: Vec<Step>,
    /// Those whose session ended with the daemon, unasked.
    lapsed: BTreeSet<String>,
    /// Machines that were away when the daemon died, and have not joined since.
    unheard: Vec<usize>,
    /// How far the printer had taken records over before this line gave it more.
    took_by_itself: Option<u64>,
    /// The track that the line is about, and the acknowledgement that it must bring.
    here: Option<u64>,
    owed: Option<Permit>,
}

impl Names for World {
    fn container(&self, sscc: &Sscc) -> String {
        self.ssccs.get(sscc).cloned().unwrap_or_else(|| sscc.to_string())
    }

    fn request(&self, key: &RequestKey) -> String {
        format!("{}{}", if key.station.as_str() == "packer" { "C" } else { "P" }, key.container)
    }
}

type Played = Result<(), String>;

impl World {
    pub(crate) fn titled(title: &str) -> Self {
        let now = Now { wall_us: WALL_US, mono_us: 1_000_000 };
        Self { title: title.to_owned(), now, ..Self::default() }
    }

    pub(crate) fn title(&self) -> &str {
        &self.title
    }

    pub(crate) fn play(&mut self, line: &str) -> Result<Outcome, String> {
        if line.starts_with("scenario ") {
            return Ok(Outcome { is_setup: true, ..Outcome::default() });
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let (verb, args) = words.split_first().ok_or("an empty line")?;
        (self.here, self.owed, self.took_by_itself) = (None, None, None);
        self.steps.clear();
        self.pass_time(10_000);
        if self.engine.is_none() && !matches!(*verb, "line" | "batch") {
            return Err("a scenario begins with `line` or `batch`".to_owned());
        }
        let is_setup =
            matches!(*verb, "line" | "batch" | "encoded" | "crash" | "edit_config" | "people" | "container_count");
        self.dispatch(verb, args)?;
        Ok(self.outcome(is_setup, *verb == "resume"))
    }

    fn dispatch(&mut self, verb: &str, args: &[&str]) -> Played {
        match verb {
            "line" => self.line(args),
            "batch" => self.batch(args),
            "load" | "start" | "stop" | "purge" | "hold" | "go_on" | "abort" | "reopen" | "close_batch" | "ack" => {
                self.asked(verb, args)
            }
            "unit" | "container" => self.hands(verb, args),
            "encoded" | "printed" | "flushed" | "took" | "strange" => self.printer(verb, args),
            "read" | "noread" | "missed_results" | "repeat_result" => self.camera(verb, args),
            "gate" | "rejected" | "missing" | "expire" | "ends_missed" | "phantom" | "bin" | "bin_full" => {
                self.gate(verb, args)
            }
            "close" | "release" | "repeat" => self.request_close(verb, args),
            "sealed" | "labelled" | "jammed" | "expired" | "permit_acked" | "opens" | "shuts" => self.close(verb, args),
            "join" | "reset" | "lost" | "fault" | "recipe" => self.link(verb, args),
            "tick" => self.tick(args),
            "crash" => self.crash(),
            "resume" => self.resume(args),
            "doubt" => self.step(Input::Doubted(args.join(" "))),
            "edit_config" => {
                self.config = args.first().and_then(|name| Text::new(name)).ok_or("a short name")?;
                Ok(())
            }
            "shutdown" => self.step(Input::Stopping),
            "as" | "upstream" => self.acting(verb, args),
            "people" => self.people(args),
            "add" | "answer" | "disable" | "enable" | "first" | "login" | "logout" | "may" | "password" | "prepare"
            | "reset_password" | "roles" | "sign" | "unlock" => self.about_people(verb, args),
            _ => Err(format!("`{verb}` is no word of a scenario")),
        }
    }

    fn pass_time(&mut self, us: u64) {
        self.now.mono_us += us;
        self.now.wall_us += i64::try_from(us).expect("scenarios are short");
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("play refuses lines before there is an engine")
    }

    fn step(&mut self, input: Input) -> Played {
        let step = self.engine.as_mut().expect("play refuses lines before there is an engine").step(self.now, input);
        for entry in &step.facts {
            if let Fact::Packed { request, container, .. } = &entry.fact {
                let name = self.request(request);
                self.ssccs.insert(*container, name);
            }
        }
        if step.facts.iter().any(|entry| matches!(entry.fact, Fact::BatchLoaded { .. })) {
            self.orders.extend(self.offered.take());
        }
        for permit in &step.permits {
            if let Permit::Print { seq, .. } = permit {
                let accepted = &mut self.devices[PRINTER].accepted;
                self.took_by_itself.get_or_insert(*accepted);
                *accepted = (*accepted).max(*seq);
            }
        }
        self.entries.extend(step.facts.iter().cloned());
        self.steps.push(step);
        Ok(())
    }

    fn observe(&mut self, station: usize, what: Observed) -> Played {
        let seen_mono_us = self.now.mono_us;
        let observation = Observation { station: id(station), seen_mono_us, what };
        self.history.push(observation.clone());
        self.step(Input::Observed(observation))
    }

    fn line(&mut self, args: &[&str]) -> Played {
        let options = options(args);
        let grade_min_milli = options.get("grade").map_or(Ok(0), |grade| milli(grade))?;
        let decide = if options.get("decide") == Some(&"device") { Decide::Device } else { Decide::Line };
        let limit =
            |key: &str| options.get(key).map_or(Ok(0), |word| word.parse().map_err(|_| format!("{key}=NUMBER")));
        let stops = Stops { in_a_row: limit("row")?, most: limit("most")?, of: limit("of")? };
        let config_needs_approval = options.get("approval") == Some(&"asked");
        let inspects_after_stop = options.get("stop") == Some(&"inspect");
        self.policy = Policy { stops, config_needs_approval, inspects_after_stop, ..Policy::default() };
        let recipe = options.get("recipe").and_then(|word| Recipe::new(word));
        self.is_blind = options.get("buffer") == Some(&"unknown");
        let is_in_order = options.get("order") == Some(&"kept");
        let role = [
            Role::Printer { queue: 64 },
            Role::Camera { rejector: id(REJECTOR), grade_min_milli, verdict_deadline_us: 2_000_000, decide },
            Role::Rejector,
            Role::Packer { level: PackLevel::Case, ttl_ms: 3000 },
            Role::Packer { level: PackLevel::Pallet, ttl_ms: 3000 },
        ];
        let spec = |(name, role): (&str, Role)| StationSpec::new(Text::new(name).expect("short"), role);
        let mut stations: Vec<StationSpec> = STATIONS.into_iter().zip(role).map(spec).collect();
        stations[CAMERA].recipe = recipe;
        stations[PACKER].is_in_order = is_in_order;
        stations[PALLETIZER].is_in_order = is_in_order;
        self.clearance.is_required = options.get("clearance") == Some(&"required");
        let engine = Engine::new(Settings { stations }, State::default()).with_policy(self.policy);
        self.engine = Some(engine.with_clearance(self.clearance.clone()));
        self.start_up(Vec::new())?;
        (0..STATIONS.len()).try_for_each(|station| {
            self.devices[station].epoch = 1;
            self.join(station, true)
        })
    }

    fn start_up(&mut self, doubts: Vec<String>) -> Played {
        let version = Text::new("0").expect("short");
        self.step(Input::Started(Box::new(Start {
            version,
            config_sha256: self.config,
            clean: true,
            epoch: None,
            key: None,
            doubts,
            description: None,
        })))
    }

    fn join(&mut self, station: usize, reset: bool) -> Played {
        let device = self.devices[station].clone();
        self.observe(station, Observed::Joined { device_epoch: device.epoch, reset })?;
        self.show_levels(station, &device)
    }

    /// What a station observes after every join.
    fn show_levels(&mut self, station: usize, device: &Device) -> Played {
        if let Some(recipe) = device.recipe {
            self.observe(station, Observed::RecipeShown { recipe })?;
        }
        match station {
            PRINTER => {
                let (accepted, printed) = (device.accepted, device.printed);
                if std::mem::take(&mut self.devices[station].is_guessed) {
                    self.observe(station, Observed::RecordStrange)?;
                }
                if self.is_blind {
                    self.observe(station, Observed::BufferUnknown)?;
                    return self.observe(station, Observed::PrinterCounted { accepted: printed, printed });
                }
                self.observe(station, Observed::PrinterCounted { accepted, printed })
            }
            REJECTOR => {
                self.observe(station, Observed::Entered { count: device.count })?;
                self.observe(station, Observed::BinCounted { count: device.accepted })
            }
            PACKER | PALLETIZER => {
                let state = if device.is_open { GateState::Open } else { GateState::Shut };
                self.observe(station, Observed::GateMoved { state })
            }
            _ => Ok(()),
        }
    }

    fn batch(&mut self, args: &[&str]) -> Played {
        if self.engine.is_none() {
            self.line(args)?;
        }
        self.asked("load", args)?;
        let lot = options(args).get("lot").copied().unwrap_or("L7").to_owned();
        self.asked("start", &[&lot])
    }

    fn asked(&mut self, verb: &str, args: &[&str]) -> Played {
        let loaded = self.orders.last().map(|order| order.sheet.batch);
        let batch = args.first().map(|name| Text::new(name).ok_or("a batch name has at most 32 bytes")).transpose()?;
        let named = batch.or(loaded).unwrap_or_default();
        let reason = || args.get(1..).unwrap_or_default().join(" ");
        let request = match verb {
            "load" => {
                let order = Arc::new(order(&options(args))?);
                self.offered = Some(Arc::clone(&order));
                Request::LoadBatch(order)
            }
            "start" => Request::StartBatch(named),
            "stop" => Request::StopBatch(named),
            "purge" => Request::PurgeBatch(named),
            "hold" => Request::HoldBatch { batch: named, reason: reason() },
            "go_on" => Request::ResumeBatch { batch: named, reason: None },
            "reopen" => Request::ReopenBatch(Box::new(self.closed(named, reason())?)),
            "abort" => Request::AbortBatch { batch: named, reason: reason() },
            "close_batch" => Request::CloseBatch(named),
            _ => Request::AcknowledgeAlarm(number(args.first())?.try_into().map_err(|_| "no alarm number")?),
        };
        self.ask_for(request)
    }

    /// `unit sample A1 damaged`, `container unpack C1 rework`: the code of what lies in the hand.
    fn hands(&mut self, verb: &str, args: &[&str]) -> Played {
        let (word, thing) = args.first().zip(args.get(1)).ok_or("`unit sample A1 REASON`")?;
        let scanned = self.child(thing)?;
        let code = Code::parse(&scanned).map_err(|error| error.to_string())?;
        let reason = args.get(2).copied().unwrap_or("damaged");
        let reason = HandReason::parse(reason).ok_or_else(|| format!("`{reason}` is no reason"))?;
        let why = Why { reason, note: None };
        let request = match (verb, *word, Hand::parse(word)) {
            ("unit", _, Some(hand)) => HandsRequest::Withdraw { hand, code, why },
            ("container", "remove", _) => HandsRequest::Remove { code, why },
            ("container", "reopen", _) => HandsRequest::Reopen { code, why },
            ("container", "unpack", _) => HandsRequest::Unpack { code, why },
            ("container", "reprint", _) => HandsRequest::Reprint { code, why },
            _ => return Err(format!("`{verb} {word}` is nothing that a hand does")),
        };
        self.ask_for(Request::Hands(Box::new(request)))
    }

    /// The order of the batch whose products are on the line: the last that was loaded.
    fn order(&self) -> Result<&Order, String> {
        self.orders.last().map(Arc::as_ref).ok_or_else(|| "no batch was loaded".to_owned())
    }

    fn printer(&mut self, verb: &str, args: &[&str]) -> Played {
        if verb == "flushed" {
            return self.observe(PRINTER, Observed::Flushed { flush: number(args.first())? });
        }
        if verb == "strange" {
            self.observe(PRINTER, Observed::RecordStrange)?;
        }
        if matches!(verb, "took" | "strange") {
            self.devices[PRINTER].accepted = number(args.first())?;
            let Device { accepted, printed, .. } = self.devices[PRINTER];
            return self.observe(PRINTER, Observed::PrinterCounted { accepted, printed });
        }
        if verb == "printed" {
            self.devices[PRINTER].printed = number(args.first())?;
        } else {
            self.devices[PRINTER].printed += u64::try_from(args.len()).expect("short");
        }
        let Device { accepted, printed, .. } = self.devices[PRINTER];
        self.observe(PRINTER, Observed::PrinterCounted { accepted, printed })?;
        self.pass_time(2_000_000);
        self.step(Input::Tick)?;
        if verb == "encoded" {
            let words: Vec<String> = self.steps.iter().flat_map(|step| &step.facts).map(|at| self.fact(at)).collect();
            let expected = format!("encoded {}", args.join(" "));
            if !words.contains(&expected) {
                return Err(format!("the printer reports {expected}, the engine says {}", words.join("; ")));
            }
        }
        Ok(())
    }

    fn camera(&mut self, verb: &str, args: &[&str]) -> Played {
        if verb == "missed_results" {
            let from = self.devices[CAMERA].seq + 1;
            self.devices[CAMERA].seq += number(args.first())?;
            let to = self.devices[CAMERA].seq;
            self.devices[REJECTOR].count += to + 1 - from;
            self.observe(REJECTOR, Observed::Entered { count: self.devices[REJECTOR].count })?;
            self.owed = Some(self.ack(to));
            return self.observe(CAMERA, Observed::ResultsMissed { from, to });
        }
        if verb == "repeat_result" {
            let mut result = self.result.clone().ok_or("there was no result")?;
            if args.contains(&"changed") {
                result.read = Read::Changed;
            }
            self.here = result.track;
            self.owed = Some(self.ack(result.seq));
            return self.observe(CAMERA, Observed::Result(result));
        }
        let (names, flags): (Vec<&str>, Vec<&str>) =
            args.iter().filter(|word| !is_option(word)).partition(|word| !FLAGS.contains(word));
        let label = names.first().copied().unwrap_or_default();
        let options = options(args);
        let track = self.enter(&options, &flags)?;
        if let Some(track) = track.filter(|_| verb == "read") {
            self.labels.insert(label.to_owned(), track);
        }
        let read = match (verb, flags.first()) {
            (_, Some(&"not_good")) => Read::NotGood,
            (_, Some(&"changed")) => Read::Changed,
            ("noread", _) => Read::NoRead,
            (_, Some(&"device_failed")) => Read::Failed(code(label, &options, self.order()?)),
            _ => Read::Code(match options.get("raw") {
                Some(raw) => raw_code(raw),
                None => code(label, &options, self.order()?),
            }),
        };
        self.devices[CAMERA].seq += 1;
        let seq = self.devices[CAMERA].seq;
        let grade_milli = options.get("grade").map(|grade| milli(grade)).transpose()?;
        let result = CameraResult { seq, track, read, grade_milli };
        self.result = Some(result.clone());
        self.owed = Some(self.ack(seq));
        self.here = track;
        self.observe(CAMERA, Observed::Result(result))
    }

    /// A unit enters, unless its track is named.
    fn enter(&mut self, options: &BTreeMap<&str, &str>, flags: &[&str]) -> Result<Option<u64>, String> {
        if let Some(track) = options.get("track") {
            return self.track(track).map(Some);
        }
        self.devices[REJECTOR].count += 1;
        let count = self.devices[REJECTOR].count;
        self.observe(REJECTOR, Observed::Entered { count })?;
        Ok((!flags.contains(&"no_track")).then_some(count))
    }

    fn ack(&self, seq: u64) -> Permit {
        Permit::AckResult { station: id(CAMERA), device_epoch: self.devices[CAMERA].epoch, seq }
    }

    /// `#5`, or the last track on which that label was read.
    fn track(&self, word: &str) -> Result<u64, String> {
        match word.strip_prefix('#') {
            Some(digits) => digits.parse().map_err(|_| format!("`{word}` is no track")),
            None => self.labels.get(word).copied().ok_or_else(|| format!("`{word}` was not read")),
        }
    }

    fn gate(&mut self, verb: &str, args: &[&str]) -> Played {
        let first = args.first().copied().unwrap_or_default();
        let device_epoch = self.devices[REJECTOR].epoch;
        match verb {
            "expire" => {
                let track = self.track(first)?;
                self.here = Some(track);
                return self.step(Input::PassExpired(PassKey { rejector: id(REJECTOR), device_epoch, track }));
            }
            "ends_missed" => {
                let from = self.devices[REJECTOR].seq + 1;
                self.devices[REJECTOR].seq += number(args.first())?;
                let to = self.devices[REJECTOR].seq;
                return self.observe(REJECTOR, Observed::EndsMissed { from, to });
            }
            "phantom" => {
                self.put_in_bin()?;
                return self.observe(REJECTOR, Observed::PhantomCounted { count: number(args.first())? });
            }
            "bin" => {
                self.devices[REJECTOR].accepted = number(args.first())?;
                return self.observe(REJECTOR, Observed::BinCounted { count: number(args.first())? });
            }
            "bin_full" => return self.observe(REJECTOR, Observed::BinFull { full: first != "no" }),
            _ => {}
        }
        let track = self.track(first)?;
        let end = match verb {
            "gate" => TrackEnd::Passed,
            "rejected" => TrackEnd::RejectConfirmed,
            _ => TrackEnd::Missing,
        };
        if end == TrackEnd::RejectConfirmed {
            self.put_in_bin()?;
        }
        self.here = Some(track);
        self.devices[REJECTOR].seq += 1;
        self.observe(REJECTOR, Observed::Ended { end_seq: self.devices[REJECTOR].seq, track, end })
    }

    fn put_in_bin(&mut self) -> Played {
        self.devices[REJECTOR].accepted += 1;
        self.observe(REJECTOR, Observed::BinCounted { count: self.devices[REJECTOR].accepted })
    }

    fn request_close(&mut self, verb: &str, args: &[&str]) -> Played {
        let (name, rest) = args.split_first().ok_or("which container?")?;
        let (station, container) = container_of(name)?;
        if verb != "repeat" {
            let options = options(rest);
            self.devices[station].seq += 1;
            let words = rest.iter().filter(|word| !is_option(word) && **word != "not_good");
            let children = words.map(|word| self.child(word)).collect::<Result<Vec<_>, _>>()?;
            let label_read = match options.get("label") {
                Some(&"none") => None,
                Some(word) => Some(self.child(word)?),
                None => Some(self.child(name)?),
            };
            let is_seal = verb == "close";
            self.devices[station].request = Some(CloseRequest {
                seq: self.devices[station].seq,
                gate: if is_seal { Gate::Seal } else { Gate::Release },
                container,
                children: if is_seal { children } else { Vec::new() },
                child_count: options.get("count").map(|count| number(Some(count))).transpose()?,
                label_read: label_read.filter(|_| !is_seal),
                not_good: rest.contains(&"not_good"),
            });
        }
        let device = &self.devices[station];
        let request = device.request.clone().ok_or("there was no request")?;
        let (device_epoch, seq) = (device.epoch, request.seq);
        self.owed = Some(Permit::AckRequest { station: id(station), device_epoch, seq });
        self.observe(station, Observed::CloseRequested(request))
    }

    /// The code of a child: `-` an empty slot, `?text` that text, `C1` a container, else a unit; `A1,lot=L8` differs there.
    fn child(&self, word: &str) -> Result<Vec<u8>, String> {
        if word == "-" {
            return Ok(Vec::new());
        }
        if let Some(raw) = word.strip_prefix('?') {
            return Ok(raw.as_bytes().to_vec());
        }
        if container_of(word).is_ok() {
            let known = self.ssccs.iter().find(|(_, name)| *name == word).map(|(sscc, _)| *sscc);
            let foreign = || Sscc::build(3, "9506000", 999).expect("the range is legal");
            return Ok([b"00", known.unwrap_or_else(foreign).as_str().as_bytes()].concat());
        }
        let mut parts: Vec<&str> = word.split(',').collect();
        let serial = parts.remove(0);
        Ok(code(serial, &options(&parts), self.order()?))
    }

    fn close(&mut self, verb: &str, args: &[&str]) -> Played {
        let name = args.first().copied().unwrap_or_default();
        let (station, _) = container_of(name)?;
        let state = self.engine().state().station(&name_of(station));
        let seq = match args.get(1) {
            Some(_) => number(args.get(1))?,
            None => self.devices[station].request.as_ref().map_or(0, |request| request.seq),
        };
        let result = match verb {
            "permit_acked" => {
                let token = self.engine().state().last_token;
                return self.observe(station, Observed::PermitAcked { token });
            }
            "opens" | "shuts" => {
                self.devices[station].is_open = verb == "opens";
                let state = if verb == "opens" { GateState::Open } else { GateState::Shut };
                return self.observe(station, Observed::GateMoved { state });
            }
            "jammed" => CloseEnd::MachineFailure,
            "expired" => CloseEnd::Expired,
            _ => CloseEnd::Done,
        };
        let is_open = |stage| !matches!(stage, Stage::Refused { .. });
        if state.request.is_some_and(|request| request.key.seq == seq && is_open(request.stage)) {
            self.owed = Some(Permit::Settle { station: id(station), device_epoch: self.devices[station].epoch, seq });
        }
        self.observe(station, Observed::CloseEnded { seq, result })
    }

    fn link(&mut self, verb: &str, args: &[&str]) -> Played {
        let station = STATIONS.iter().position(|name| args.first() == Some(name)).ok_or("which station?")?;
        match verb {
            "join" => {
                self.join(station, false)?;
                self.is_heard(station)
            }
            "reset" => {
                if station == REJECTOR {
                    self.labels.clear();
                }
                self.history.retain(|at| at.station != id(station));
                let kept = options(args).get("kept").map(|count| number(Some(count))).transpose()?;
                let count = kept.unwrap_or_default();
                self.devices[station] = Device {
                    epoch: self.devices[station].epoch + 1,
                    recipe: self.devices[station].recipe,
                    accepted: count,
                    printed: count,
                    is_guessed: kept.is_some(),
                    ..Device::default()
                };
                self.join(station, true)
            }
            "recipe" => {
                let recipe = args.get(1).filter(|word| **word != "unreadable").and_then(|word| Recipe::new(word));
                self.devices[station].recipe = Some(recipe);
                self.observe(station, Observed::RecipeShown { recipe })
            }
            "fault" => self.observe(
                station,
                Observed::Faulted { code: i64::try_from(number(args.get(1))?).map_err(|_| "no fault code")? },
            ),
            _ => {
                let cause = match args.get(1) {
                    Some(&"heartbeat") => LostCause::Heartbeat,
                    Some(&"quality") => {
                        let tag = args.get(2).and_then(|word| Tag::parse(word));
                        LostCause::Quality(tag.map(|tag| TagFlaw::new(tag, args.get(3).unwrap_or(&""))))
                    }
                    _ => LostCause::Device,
                };
                self.observe(station, Observed::Lost { cause })
            }
        }
    }

    fn tick(&mut self, args: &[&str]) -> Played {
        let word = args.first().copied().unwrap_or("0s");
        let us = milli(word.trim_end_matches('s'))?.unsigned_abs() * 1000;
        let mut left = us;
        while left > 0 {
            // Of a long time only the last seconds count.
            let part = if left > 10_000_000 { 1_000_000 } else { left.min(100_000) };
            self.pass_time(part);
            self.step(Input::Tick)?;
            left -= part;
        }
        Ok(())
    }

    /// The daemon dies; what it had decided is on disk.
    fn crash(&mut self) -> Played {
        self.engine = Some(self.engine_over(self.folded()));
        Ok(())
    }

    /// The engine of another run.
    fn engine_over(&self, state: State) -> Engine {
        let engine = Engine::new(self.engine().settings().clone(), state).with_policy(self.policy);
        engine.with_clearance(self.clearance.clone())
    }

    fn resume(&mut self, doubts: &[&str]) -> Played {
        self.start_up(doubts.iter().map(|doubt| (*doubt).to_owned()).collect())?;
        (0..STATIONS.len()).try_for_each(|station| self.join(station, false))
    }

    /// As the journal would give it.
    fn closed(&self, batch: BatchId, reason: String) -> Result<Reopening, String> {
        let is_close = |entry: &Entry| entry.batch == Some(batch) && matches!(entry.fact, Fact::BatchClosed { .. });
        let close = self.entries.iter().rposition(is_close).ok_or("it was never closed")?;
        let folded = self.fold(&self.entries[..=close], BTreeSet::from([batch]));
        let batch = folded.batches.into_iter().find(|at| at.id() == batch).ok_or("it is not there")?;
        Ok(Reopening { batch, through: self.entries.last().map_or(0, |entry| entry.seq), reason })
    }

    fn folded(&self) -> State {
        let open = open_after(&self.entries);
        State { kept: BTreeSet::new(), ..self.fold(&self.entries, open) }
    }

    fn fold(&self, entries: &[Entry], kept: BTreeSet<BatchId>) -> State {
        let mut state = State { kept, ..State::default() };
        for entry in entries {
            if let Fact::BatchLoaded { sheet, .. } = &entry.fact
                && let Some(order) = self.orders.iter().find(|order| order.sheet == *sheet)
            {
                state.insert_order(order);
            }
            state.apply(entry);
        }
        state
    }

    /// What must hold after every line of every scenario.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Some(engine) = &self.engine else { return Ok(()) };
        let folded = self.folded();
        if folded != *engine.state() {
            return Err(format!(
                "I7: the state is not the fold of its facts: {}",
                state_difference(&folded, engine.state())
            ));
        }
        let (live, twin) = (engine.clone(), self.engine_over(folded));
        let (live, twin) = (self.rejoined(live), self.rejoined(twin));
        if live != twin {
            let missing: Vec<_> = live.difference(&twin).collect();
            let new: Vec<_> = twin.difference(&live).collect();
            return Err(format!("a restart changes what stands: lost {missing:?}, new {new:?}"));
        }
        Ok(())
    }

    /// What stands once every station that was ever there has joined again.
    fn rejoined(&self, mut engine: Engine) -> BTreeSet<String> {
        let mut out = BTreeSet::new();
        for (station, name) in STATIONS.iter().enumerate() {
            let name = Text::new(name).expect("short");
            let Some(known) = engine.state().stations.get(&name).copied() else { continue };
            let device_epoch = known.device_epoch;
            let joined = Observed::Joined { device_epoch, reset: false };
            let Device { accepted, printed, .. } = self.devices[station];
            let mut shown = vec![joined];
            if station == PRINTER && self.is_blind {
                shown.extend([Observed::BufferUnknown, Observed::PrinterCounted { accepted: printed, printed }]);
            } else if station == PRINTER {
                shown.push(Observed::PrinterCounted { accepted, printed });
            }
            shown.extend(self.devices[station].recipe.map(|recipe| Observed::RecipeShown { recipe }));
            for what in shown {
                let observation = Observation { station: id(station), seen_mono_us: self.now.mono_us, what };
                let step = engine.step(self.now, Input::Observed(observation));
                let held = |restraint: &&Restraint| !matches!(restraint, Restraint::Hold { .. });
                let kept = |permit: &&Permit| !matches!(permit, Permit::Run { .. });
                out.extend(step.restraints.iter().filter(held).map(|restraint| format!("{restraint:?}")));
                out.extend(step.permits.iter().filter(kept).map(|permit| format!("{permit:?}")));
            }
        }
        out.insert(format!("runs: {}", engine.may_run()));
        out
    }

    fn outcome(&mut self, is_setup: bool, is_resume: bool) -> Outcome {
        let mut outcome = Outcome { is_setup, ..Outcome::default() };
        let steps = std::mem::take(&mut self.steps);
        for step in &steps {
            let facts = step.facts.iter().map(|entry| self.fact(entry));
            outcome.facts.extend(
                facts.filter(|words| !(is_resume && (words.starts_with("joined ") || words == "line_started"))),
            );
            for restraint in &step.restraints {
                outcome.outputs.push(self.restraint(restraint));
            }
            self.permits(step, is_resume, &mut outcome);
            if let Some(answer) = &step.answer {
                outcome.outputs.push(match &answer.outcome {
                    Ok(Done::Changed) => "ok".to_owned(),
                    Ok(Done::Already) => "already".to_owned(),
                    Ok(Done::Prepared(_)) => "prepared".to_owned(),
                    Ok(Done::Permitted(actor)) => format!("permitted {actor}"),
                    Err(refused) => {
                        format!("refused {}", words::join(refused.reasons.iter().map(|why| words::answer(self, why))))
                    }
                });
            }
        }
        if is_resume {
            outcome.outputs.retain(|words| !matches!(words.as_str(), "hold" | "run") && !words.starts_with("shut "));
            let runs = self.engine().may_run();
            outcome.outputs.push(if runs { "run" } else { "hold" }.to_owned());
        }
        match &self.owed {
            Some(Permit::AckRequest { .. }) => outcome.outputs.push("waits".to_owned()),
            Some(owed) => outcome.outputs.push(format!("no_{}", self.permit(owed))),
            None => {}
        }
        outcome
    }

    fn permits(&mut self, step: &Step, is_resume: bool, outcome: &mut Outcome) {
        let mut prints = Vec::new();
        for permit in &step.permits {
            if let Permit::Print { data, .. } = permit {
                let serial = ElementString::parse(data).ok().and_then(|code| code.get("21").map(str::to_owned));
                prints.push(serial.unwrap_or_else(|| "?".to_owned()));
                continue;
            }
            if self.owed.as_ref() == Some(permit) {
                self.owed = None;
                continue;
            }
            let routine =
                matches!(permit, Permit::AckResult { .. } | Permit::AckRequest { .. } | Permit::Settle { .. });
            if !(is_resume && routine) {
                outcome.outputs.push(self.permit(permit));
            }
        }
        if !prints.is_empty() {
            outcome.outputs.push(format!("print {}", prints.join(" ")));
        }
    }

    fn fact(&self, entry: &Entry) -> String {
        words::fact(self, &entry.fact)
    }

    fn label(&self, track: u64) -> String {
        let label = self.labels.iter().find(|(_, at)| **at == track).map(|(label, _)| label.clone());
        label.unwrap_or_else(|| format!("#{track}"))
    }

    fn restraint(&self, restraint: &Restraint) -> String {
        match restraint {
            Restraint::Fail(key) if Some(key.track) == self.here => "reject".to_owned(),
            Restraint::Fail(key) => format!("reject {}", self.label(key.track)),
            Restraint::Hold { .. } => "hold".to_owned(),
            Restraint::Deny { station, seq, reason, .. } => {
                format!("keep_open {}({reason})", self.named(*station, *seq))
            }
            Restraint::ExpectNothing { .. } => "expect nothing".to_owned(),
            Restraint::Shut { station } => format!("shut {}", STATIONS[usize::from(station.0)]),
        }
    }

    fn permit(&self, permit: &Permit) -> String {
        match permit {
            Permit::Pass { key, .. } => format!("pass {}", self.label(key.track)),
            Permit::Run { .. } => "run".to_owned(),
            Permit::AckResult { seq, .. } => format!("ack_result {seq}"),
            Permit::Print { seq, .. } => format!("print {seq}"),
            Permit::Expect { data, .. } => {
                format!("expect {}", String::from_utf8_lossy(data).replace('\u{1d}', "<GS>"))
            }
            Permit::Flush { flush, .. } => format!("flush {flush}"),
            Permit::AckRequest { station, seq, .. } => format!("ack_request {}", self.named(*station, *seq)),
            Permit::Close(close) => {
                let gate = self.entries.iter().find_map(|entry| {
                    let Fact::CloseGranted { token, gate, .. } = &entry.fact else { return None };
                    (*token == close.token).then_some(*gate)
                });
                format!("permit_{} {}", gate.map_or("unknown", words::gate), self.named(close.station, close.seq))
            }
            Permit::Settle { station, seq, .. } => format!("settle {}", self.named(*station, *seq)),
        }
    }

    /// The container that request `seq` of a station was about.
    fn named(&self, station: StationId, seq: u64) -> String {
        let key = self.engine().state().station(&name_of(usize::from(station.0))).request.map(|request| request.key);
        match key.filter(|key| key.seq == seq) {
            Some(key) => self.request(&key),
            None => format!("{} {seq}", STATIONS[usize::from(station.0)]),
        }
    }
}

const FLAGS: [&str; 4] = ["not_good", "changed", "no_track", "device_failed"];

/// An option is a lower-case word before `=`; serials may hold `=` too.
fn is_option(word: &str) -> bool {
    word.split_once('=').is_some_and(|(key, _)| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase()))
}

fn options<'a>(args: &[&'a str]) -> BTreeMap<&'a str, &'a str> {
    args.iter().filter(|word| is_option(word)).filter_map(|word| word.split_once('=')).collect()
}

fn id(station: usize) -> StationId {
    StationId(u8::try_from(station).expect("five stations"))
}

fn name_of(station: usize) -> Name {
    Text::new(STATIONS[station]).expect("short")
}

fn number(word: Option<&&str>) -> Result<u64, String> {
    let word = word.ok_or("a number is missing")?;
    word.parse().map_err(|_| format!("`{word}` is no number"))
}

/// `1.5` as 1500.
fn milli(word: &str) -> Result<i64, String> {
    let (whole, part) = word.split_once('.').unwrap_or((word, "0"));
    let digits = format!("{whole}{part:0<3}");
    digits.parse().map_err(|_| format!("`{word}` is no decimal number"))
}

/// `C1` is the first container of the packer, `P1` of the palletizer.
fn container_of(word: &str) -> Result<(usize, u64), String> {
    let station = match word.chars().next() {
        Some('C') => PACKER,
        Some('P') => PALLETIZER,
        _ => return Err(format!("`{word}` is no container")),
    };
    let count = word.get(1..).and_then(|digits| digits.parse().ok());
    count.map(|count| (station, count)).ok_or_else(|| format!("`{word}` is no container"))
}

/// The bytes that a raw code spells out: `<GS>`, and any other in two hexadecimal digits, as `<00>`.
fn raw_code(raw: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, part) in raw.split('<').enumerate() {
        let (name, rest) = if index == 0 { ("", part) } else { part.split_once('>').expect("`<` begins a named byte") };
        if !name.is_empty() {
            bytes.push(if name == "GS" { 0x1d } else { u8::from_str_radix(name, 16).expect("two digits") });
        }
        bytes.extend_from_slice(rest.as_bytes());
    }
    bytes
}

fn code(serial: &str, options: &BTreeMap<&str, &str>, order: &Order) -> Vec<u8> {
    let expiry = order.sheet.expiry.to_yymmdd();
    let sheet = &order.sheet;
    let mut fields = vec![
        ("01", options.get("gtin").copied().unwrap_or(sheet.gtin.as_str())),
        ("17", options.get("expiry").copied().unwrap_or(expiry.as_str())),
        ("21", serial),
        ("10", options.get("lot").copied().unwrap_or(sheet.lot.as_str())),
    ];
    fields.retain(|(ai, _)| options.get("omit") != Some(ai));
    if let Some((ai, value)) = options.get("add").and_then(|pair| pair.split_once(':')) {
        fields.push((ai, value));
    }
    let text: Vec<String> = fields
        .iter()
        .map(|(ai, value)| format!("{ai}{value}{}", if matches!(*ai, "01" | "17") { "" } else { "\u{1d}" }))
        .collect();
    let symbology = options.get("symbology").copied().unwrap_or("]d2");
    format!("{symbology}{}", text.concat().trim_end_matches('\u{1d}')).into_bytes()
}

fn order(options: &BTreeMap<&str, &str>) -> Result<Order, String> {
    let of = |key: &str, or: &'static str| options.get(key).copied().unwrap_or(or).to_owned();
    let wrong = |error: &dyn std::fmt::Display| format!("the order is not legal: {error}");
    let lot = of("lot", "L7");
    let (first, last) = of("sscc", "1..99")
        .split_once("..")
        .and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)))
        .ok_or("sscc=FIRST..LAST")?;
    let count = |key: &str, or| of(key, or).parse::<u16>().map_err(|error| wrong(&error));
    let sheet = BatchSheet {
        batch: BatchId::new(&lot).ok_or("a lot has at most 20 characters")?,
        gtin: Gtin::new(&of("gtin", GTIN)).map_err(|error| wrong(&error))?,
        lot: Lot::new(&lot).map_err(|error| wrong(&error))?,
        expiry: Expiry::parse_iso(&of("expiry", "2027-03-31")).map_err(|error| wrong(&error))?,
        gcp_length: GcpLength::new(7).map_err(|error| wrong(&error))?,
        pack: PackSpec { case_capacity: count("case", "2")?, pallet_capacity: count("pallet", "0")? },
        sscc: SsccRange { extension: 3, prefix: Text::new("9506000").expect("short"), first, last },
        recipes: recipes(options.get("recipes").copied().unwrap_or_default())?,
    };
    let serials = serials(&of("serials", "A1..A9"))?;
    Ok(Order { sheet, serials, serials_sha256: Text::default() })
}

/// `camera:R7,packer:R8`.
fn recipes(word: &str) -> Result<Vec<StationRecipe>, String> {
    let named = word.split(',').filter(|part| !part.is_empty()).map(|part| {
        let (station, recipe) = part.split_once(':')?;
        Some(StationRecipe { station: Name::new(station)?, recipe: Recipe::new(recipe)? })
    });
    named.collect::<Option<_>>().ok_or_else(|| "recipes=STATION:RECIPE,…".to_owned())
}

/// `A1..A9` or `A,B,C`.
fn serials(word: &str) -> Result<Vec<SerialNumber>, String> {
    let bounds = word.split_once("..").and_then(|(from, to)| {
        let number = |text: &str| text.get(1..)?.parse::<u32>().ok();
        Some((word.get(..1)?, number(from)?, number(to)?))
    });
    let names: Vec<String> = match bounds {
        Some((letter, from, to)) => (from..=to).map(|number| format!("{letter}{number}")).collect(),
        None => word.split(',').map(str::to_owned).collect(),
    };
    names.iter().map(|name| SerialNumber::new(name).map_err(|error| error.to_string())).collect()
}

/// Batches that were loaded or reopened and not ended since.
#[allow(clippy::wildcard_enum_match_arm, reason = "most facts neither begin nor end a batch")]
fn open_after(entries: &[Entry]) -> BTreeSet<BatchId> {
    let mut open = BTreeSet::new();
    for (batch, fact) in entries.iter().filter_map(|entry| Some((entry.batch?, &entry.fact))) {
        match fact {
            Fact::BatchLoaded { .. } | Fact::BatchReopened { .. } => drop(open.insert(batch)),
            Fact::BatchClosed { .. } | Fact::BatchAborted { .. } => drop(open.remove(&batch)),
            _ => {}
        }
    }
    open
}

fn state_difference(folded: &State, live: &State) -> String {
    let parts = [
        ("seq", folded.seq == live.seq),
        ("alarms", folded.alarms == live.alarms),
        ("stations", folded.stations == live.stations),
        ("transit", folded.transit == live.transit),
        ("batches", folded.batches == live.batches),
    ];
    let differ: Vec<&str> = parts.iter().filter(|(_, same)| !same).map(|(name, _)| *name).collect();
    format!("{} differ; transit by the fold {:?}, in the engine {:?}", differ.join(", "), folded.transit, live.transit)
}
