//! The stage: steps the plant in virtual time, carries tags, requests and messages between it and the subject, starts the subject
//! again when it dies, and hands what it saw to the judge.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::config::{self, Config};
use crate::domain::tag::{Access, StationKind, Tag, TagValue, TagWrite};
use crate::runtime::lockstep::judge::{self, Evidence, Verdict};
use crate::runtime::lockstep::person::Person;
use crate::runtime::lockstep::seen::Seen;
use crate::runtime::lockstep::talk::{self, Coming, Frame, Heard};
use crate::runtime::lockstep::upstream::Upstream;
use crate::runtime::lockstep::{LockstepError, LockstepSettings};
use crate::sim::closer::CloserMishap;
use crate::sim::physics::{Deed, Plant};
use crate::sim::settings::{PlantSettings, Weather};
use crate::sim::tags::Tags;
use crate::sim::truth::{Touch, TruthEvent, TruthLine};

/// One frame of virtual time.
const STEP_US: u64 = 10_000;
/// The line's clock ticks every fifth frame; the log is looked after every twenty-fifth, as by the daemon.
const FRAMES_PER_TICK: u64 = 5;
const FRAMES_PER_UPKEEP: u64 = 25;
/// The plant goes on alone for so long after a death: its heartbeat is stale by then.
const DEAD_FRAMES: u64 = 120;
/// From one start of the subject no batch takes so long in virtual time.
const FRAMES_MAX: u64 = 3_000;
const WALL_US: i64 = 1_800_000_000_000_000;

const CASE: usize = 3;
const PALLET: usize = 3;

const CONFIG: &str = include_str!("../../../config/demo.toml");
const OPCUA_MAP: &str = include_str!("../../../config/maps/sim-opcua.toml");
const MODBUS_MAP: &str = include_str!("../../../config/maps/sim-modbus.toml");

/// The stage's own files, outside the folder of the journal.
struct Desk {
    folder: PathBuf,
}

impl Desk {
    fn make(journal: &Path) -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("sealgate-lockstep-{}", std::process::id()));
        fs::create_dir_all(folder.join("maps"))?;
        fs::write(folder.join("maps/sim-opcua.toml"), OPCUA_MAP)?;
        fs::write(folder.join("maps/sim-modbus.toml"), MODBUS_MAP)?;
        let path = format!("path = {:?}", journal.display().to_string());
        fs::write(folder.join("line.toml"), CONFIG.replace("path = \"line.db\"", &path))?;
        Ok(Self { folder })
    }

    fn config(&self) -> PathBuf {
        self.folder.join("line.toml")
    }

    fn log(&self) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).open(self.folder.join("subject.log"))
    }

    /// The newest that the subjects said on standard error.
    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.folder.join("subject.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(3)..).unwrap_or_default().join(" | ")
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // Left-over files in the temporary folder would only be litter.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A running subject.
struct Running {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    started_at_us: u64,
    /// The tags up to this version are known to it; `None` before its stations were connected.
    told: Option<u64>,
}

impl Running {
    /// What it said to a frame, and whether it lives.
    fn exchange(&mut self, frame: &Frame) -> (Vec<Heard>, bool) {
        let mut heard = Vec::new();
        let sent = self.input.write_all(talk::line(frame).as_bytes()).and_then(|()| self.input.flush());
        let is_sent = sent.is_ok();
        loop {
            let mut line = String::new();
            match self.output.read_line(&mut line) {
                Ok(0) | Err(_) => return (heard, false),
                Ok(_) => {}
            }
            // A line cut off by death says nothing.
            let Ok(said) = serde_json::from_str::<Heard>(&line) else { continue };
            let is_done = matches!(said, Heard::Done(_));
            heard.push(said);
            if is_done && is_sent {
                return (heard, true);
            }
        }
    }

    fn end(mut self) -> io::Result<String> {
        drop(self.input);
        let status = self.process.wait()?;
        Ok(match (status.code(), status.signal()) {
            (Some(code), _) => code.to_string(),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "unknown".to_owned(),
        })
    }
}

struct Stage {
    settings: LockstepSettings,
    config: Config,
    desk: Desk,
    plant: Plant,
    tags: Tags,
    truth: String,
    person: Person,
    upstream: Upstream,
    /// Units that entered and have not met the end of their track.
    on_belt: BTreeSet<u64>,
    /// The newest of them.
    entered: u64,
    seen: Seen,
    status: Value,
    frame: u64,
    /// The frame of the newest start.
    started_at: u64,
    ends: Vec<String>,
}

/// Runs the batch to its end and judges it.
pub fn run(settings: LockstepSettings) -> Result<Verdict, LockstepError> {
    let mut stage = Stage::set(settings)?;
    let given_up = stage.play()?;
    let cases = stage.settings.cases.next_multiple_of(PALLET as u64);
    let is_calm = stage.ends.len() == 1;
    let journal = stage.config.journal.clone();
    let may_lose = stage.settings.disk_may_lie;
    let evidence =
        Evidence { journal: &journal, truth: &stage.truth, upstream: &stage.upstream, cases, is_calm, may_lose };
    let judged = judge::judge(&evidence, &mut stage.seen);
    let mut verdict = match (judged, &given_up) {
        (Ok(verdict), _) => verdict,
        // The journal may be what is missing; the reason is said already.
        (Err(error), Some(_)) => Verdict { violations: vec![error.to_string()], ..Verdict::default() },
        (Err(error), None) => return Err(error),
    };
    // A batch that lost its facts may be one that only a signature can end.
    verdict.violations.splice(0..0, given_up.filter(|_| !may_lose || stage.seen.losses.is_empty()));
    verdict.ends = stage.ends;
    verdict.frames = stage.frame;
    Ok(verdict)
}

impl Stage {
    fn set(settings: LockstepSettings) -> Result<Self, LockstepError> {
        let desk = Desk::make(&settings.on.join("line.db"))?;
        let config = config::load(&desk.config()).map_err(|error| LockstepError::Config(error.to_string()))?;
        let units = settings.cases.next_multiple_of(PALLET as u64) * CASE as u64;
        let plant_settings = PlantSettings {
            seed: settings.seed,
            rate_per_minute: 600,
            units_min: units,
            case_capacity: CASE,
            pallet_capacity: PALLET,
            weather: Weather { no_read: 800, ..Weather::NONE },
            printer_depth: 4,
            verdict_deadline_ms: 400,
            ..PlantSettings::default()
        }
        .bounded();
        let mut plant = Plant::new(plant_settings.clone());
        // The first case is refused its release once, and the pallet asks for its seal twice.
        plant.order(Deed::Closer(StationKind::Packer, CloserMishap::LabelUnreadable));
        plant.order(Deed::Closer(StationKind::Palletizer, CloserMishap::SealFails));
        Ok(Self {
            person: Person::new(units, (CASE, PALLET), settings.seed),
            upstream: Upstream::new(&config.line.path),
            tags: Tags::new(&plant_settings),
            plant,
            settings,
            config,
            desk,
            truth: String::new(),
            on_belt: BTreeSet::new(),
            entered: 0,
            seen: Seen::default(),
            status: Value::Null,
            frame: 0,
            started_at: 0,
            ends: Vec::new(),
        })
    }

    /// Until the batch is closed and the subject has stopped in order; a text where it was given up, with the reason.
    fn play(&mut self) -> Result<Option<String>, LockstepError> {
        let mut subject = None;
        loop {
            if self.frame > self.started_at + FRAMES_MAX {
                drop(subject.take().map(Running::end));
                return Ok(Some(format!("I30: the batch is not closed: {}", self.person.waits_for())));
            }
            let Some(mut running) = subject.take() else {
                if self.ends.len() as u64 >= u64::from(self.settings.starts_max) {
                    let (starts, words) = (self.ends.len(), self.desk.last_words());
                    return Ok(Some(format!("I30: given up after {starts} starts; {words}")));
                }
                subject = self.start()?;
                continue;
            };
            let is_last = self.person.is_done();
            let frame = self.next_frame(&mut running, is_last);
            let (heard, is_alive) = running.exchange(&frame);
            self.hear(heard);
            if is_alive && !is_last {
                subject = Some(running);
                continue;
            }
            let end = running.end()?;
            let is_over = is_last && end == "0";
            self.ends.push(end);
            if is_over {
                return Ok(None);
            }
            self.mourn();
        }
    }

    /// A new subject that has turned for the first time; `None` where it died before.
    fn start(&mut self) -> Result<Option<Running>, LockstepError> {
        let number = self.ends.len() + 1;
        self.started_at = self.frame;
        let mut running = self.spawn(number)?;
        let frame = Frame { wall_us: self.wall_us(), mono_us: 0, what: Vec::new() };
        let (heard, is_alive) = running.exchange(&frame);
        self.hear(heard);
        if is_alive {
            return Ok(Some(running));
        }
        self.ends.push(running.end()?);
        self.mourn();
        Ok(None)
    }

    fn spawn(&self, number: usize) -> io::Result<Running> {
        let program = std::env::current_exe()?;
        let is_under = number as u64 <= u64::from(self.settings.starts_under);
        let mut command = match self.settings.under.split_first().filter(|_| is_under) {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.arg("lockstep").arg("--subject").arg("--config").arg(self.desk.config());
        command.env("SEALGATE_START", number.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(self.desk.log()?);
        let mut process = command.spawn()?;
        let (input, output) = process.stdin.take().zip(process.stdout.take()).expect("both were asked for");
        let started_at_us = self.now_us();
        Ok(Running { process, input, output: BufReader::new(output), started_at_us, told: None })
    }

    fn now_us(&self) -> u64 {
        self.frame * STEP_US
    }

    fn wall_us(&self) -> i64 {
        WALL_US + i64::try_from(self.now_us()).expect("no run is so long")
    }

    /// The plant, the person and upstream take their step, and what comes of it is put together for the subject.
    fn next_frame(&mut self, running: &mut Running, is_last: bool) -> Frame {
        self.step_plant();
        let mut what = Vec::new();
        if running.told.is_none() {
            what.push(Coming::Connected(self.config.stations.iter().map(|station| station.settings.id.0).collect()));
        }
        what.extend(self.updates(running.told));
        running.told = Some(self.tags.version());
        what.extend(self.upstream.ack(self.frame).map(Coming::Acked));
        let (deeds, ask) = self.person.look(&self.plant.view(), &self.tags, &self.status);
        deeds.into_iter().for_each(|deed| self.plant.order(deed));
        what.extend(ask.map(Coming::Ask));
        if self.frame.is_multiple_of(FRAMES_PER_TICK) {
            what.push(Coming::Tick);
        }
        if self.frame.is_multiple_of(FRAMES_PER_UPKEEP) {
            what.push(Coming::Upkeep);
        }
        if is_last {
            what.push(Coming::Stop);
        }
        Frame { wall_us: self.wall_us(), mono_us: self.now_us() - running.started_at_us, what }
    }

    fn step_plant(&mut self) {
        self.frame += 1;
        let now_us = self.now_us();
        self.plant.step(now_us, &mut self.tags);
        for line in self.plant.take_truth() {
            if let TruthEvent::Unit { unit, .. } = &line.event {
                self.on_belt.insert(*unit);
                self.entered = *unit;
            } else if let TruthEvent::End { unit, .. } = &line.event {
                self.on_belt.remove(unit);
            }
            self.truth.push_str(&talk::line(&line));
        }
    }

    /// What the machines show anew, station by station.
    fn updates(&self, told: Option<u64>) -> Vec<Coming> {
        let stations = self.config.stations.iter();
        let update = |station: &config::Station| {
            let kind = station.settings.kind;
            let is_of = |of: StationKind, tag: Tag| of == kind && tag.access() == Access::Read;
            let changed: Vec<Tag> = match told {
                Some(version) => self
                    .tags
                    .changed_since(version)
                    .filter(|(of, tag, _)| is_of(*of, *tag))
                    .map(|(_, tag, _)| tag)
                    .collect(),
                None => vec![Tag::Epoch],
            };
            // With a new number everything that belongs to it is read again, as by the device tasks.
            let is_whole = changed.iter().any(|tag| *tag == Tag::Epoch || *tag == Tag::guard(kind));
            let shown = self.tags.list().filter(|(of, tag, _)| is_of(*of, *tag));
            let values: Vec<_> = shown
                .filter(|(_, tag, _)| is_whole || changed.contains(tag))
                .filter_map(|(_, tag, _)| Some((tag.name().to_owned(), self.tags.value(kind, tag)?.into())))
                .collect();
            (!values.is_empty()).then_some(Coming::Update(station.settings.id.0, values))
        };
        stations.filter_map(update).collect()
    }

    fn hear(&mut self, heard: Vec<Heard>) {
        let mut messages = Vec::new();
        for said in heard {
            match said {
                Heard::Recovered(facts) => self.seen.recovered(facts),
                Heard::Write(station, values) => self.write(station, values),
                Heard::Submitted(through) => self.seen.submitted(through),
                Heard::Durable(through) => self.seen.durable(through),
                Heard::Answer(line) => self.person.hear(&line),
                Heard::Message(message) => messages.push(*message),
                Heard::Done(status) => {
                    self.status = status;
                    if is_in_doubt(&self.status) {
                        self.seen.in_doubt();
                    }
                    self.upstream.take(std::mem::take(&mut messages));
                }
            }
        }
        // Messages of a frame that was cut off did arrive; they count as whole only when they come again.
        self.upstream.take_unfinished(messages);
    }

    fn write(&mut self, station: u8, values: Vec<(String, talk::Said)>) {
        let Some(known) = self.config.stations.get(usize::from(station)) else { return };
        let (kind, id) = (known.settings.kind, known.settings.id);
        let values: Vec<(Tag, TagValue)> =
            values.into_iter().filter_map(|(name, said)| Some((Tag::parse(&name)?, said.into()))).collect();
        let write = TagWrite { station: id, values };
        self.seen.write(kind, &write);
        let values = write.values.into_iter().map(|(tag, value)| (kind, tag, value));
        if let Err(refusal) = self.tags.write(values.collect()) {
            self.seen.violations.push(format!("a write to the {} was refused: {refusal:?}", kind.name()));
        }
    }

    /// The subject is dead: nobody answers, and the machines notice. What is on the belt meanwhile may be rejected for want of a
    /// pass, and nothing else may become of it.
    fn mourn(&mut self) {
        self.person.forget();
        let (mut units, entered) = (self.on_belt.clone(), self.entered);
        (0..DEAD_FRAMES).for_each(|_| self.step_plant());
        units.extend(entered + 1..=self.entered);
        let touch = Touch { mishap: "line_dead".into(), units: units.into_iter().collect(), ..Touch::default() };
        self.truth.push_str(&talk::line(&TruthLine { t_us: self.now_us(), event: TruthEvent::Touched(touch) }));
    }
}

fn is_in_doubt(status: &Value) -> bool {
    let alarms = status.get("alarms").and_then(Value::as_array);
    alarms.is_some_and(|alarms| alarms.iter().any(|alarm| alarm["kind"] == "journal_doubt"))
}
