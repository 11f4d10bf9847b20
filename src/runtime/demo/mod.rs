//! `sealgate demo`: a simulated line in this process (plant, protocol servers, broker, a subscriber, a person), and beside it, as
//! a process of its own, the daemon. Nothing between the two is pretended: OPC UA, Modbus TCP, MQTT and the local socket.
//!
//! The folder of a run holds `line.toml` and `maps/` (the daemon's config), `order.json`, `line.db` (the journal), `truth.jsonl`
//! (what the plant did), `feed.jsonl` (what a subscriber saw) and `daemon.log`. At the end the three records are compared.

mod child;
mod folder;
mod outside;
mod person;
mod summary;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::engine::decide::Decide;
use crate::publish::Link;
use crate::runtime::demo::child::Daemon;
use crate::runtime::demo::folder::{Folder, Place, TextPorts};
use crate::runtime::demo::outside::Outside;
use crate::runtime::demo::person::Person;
use crate::sim::broker;
use crate::sim::capture::{self, CaptureHandle, Marks};
use crate::sim::faces::{self, Face};
use crate::sim::mishap::{Mishap, Rough};
use crate::sim::opcua_server;
use crate::sim::settings::{ArrayReader, Packing, PlantSettings, Weather};
use crate::sim::truth::TruthFile;
use crate::sim::world::{self, Doors, World};
use crate::sim::{coder, hand, labeller};

pub use summary::Summary;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct DemoSettings {
    /// `None`: until Ctrl-C.
    pub units: Option<u64>,
    pub rate_per_minute: u32,
    pub seed: u64,
    pub data: Option<PathBuf>,
    pub kills: u32,
    /// The words of a program under which the daemon is started.
    pub under: Vec<String>,
    pub faults: Faults,
    pub broker: Option<(String, u16)>,
    /// Printer, camera and rejector over Modbus, packer and palletizer over OPC UA.
    pub swap_protocols: bool,
    /// A real camera model in place of the plant's own.
    pub camera: Option<Face>,
    pub models: Models,
    /// Who drives the blade.
    pub decide: Decide,
    /// The packer reads its cases layer by layer, with helper codes.
    pub array_reader: bool,
    /// The camera drops a picture of each result into a folder.
    pub pictures: bool,
}

/// What goes wrong on the simulated line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Faults {
    None,
    /// Some three spoiled units in a hundred.
    #[default]
    Mild,
    /// Every kind of mishap, at least once in 2,000 units (`sim::mishap`).
    Rough,
}

impl Faults {
    pub const ALL: &'static [Faults] = &[Faults::None, Faults::Mild, Faults::Rough];

    pub fn name(self) -> &'static str {
        match self {
            Faults::None => "none",
            Faults::Mild => "mild",
            Faults::Rough => "rough",
        }
    }
}

/// Which models stand on the simulated line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Models {
    /// The generic handshake over OPC UA and Modbus.
    #[default]
    Generic,
    /// A coder, a labeller and a verifying scanner that speak lines of text over TCP; the rest is generic.
    Text,
    /// A person with a scanner packs; a label printer stands beside.
    Hand,
}

impl Models {
    pub const ALL: &'static [Models] = &[Models::Generic, Models::Text, Models::Hand];

    pub fn name(self) -> &'static str {
        match self {
            Models::Generic => "generic",
            Models::Text => "text",
            Models::Hand => "hand",
        }
    }
}

/// What is shown while it runs.
#[derive(Clone, Debug, Default)]
pub struct DemoView {
    pub status: Value,
    pub presented: u64,
    pub rejected: u64,
    pub cases: u64,
    pub pallets: u64,
    pub is_running: bool,
    /// Of the newest verdicts, 50, 99 and 99.9 of 100.
    pub verdict_us: [u64; 3],
    pub captured: u64,
    pub kills: u32,
    pub folder: PathBuf,
}

#[derive(Debug)]
pub enum DemoError {
    /// The folder holds something that is not a former run.
    Folder(String),
    /// The broker that was named does not answer, or takes no subscription.
    Broker(String),
    Io(io::Error),
    /// A part did not do what it must; the log of the daemon says more.
    Stuck(String),
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DemoError::Folder(what) | DemoError::Broker(what) => f.write_str(what),
            DemoError::Io(error) => write!(f, "the demo cannot run: {error}"),
            DemoError::Stuck(what) => write!(f, "the demo does not go on: {what}"),
        }
    }
}

impl From<io::Error> for DemoError {
    fn from(error: io::Error) -> Self {
        DemoError::Io(error)
    }
}

/// Prefix of all topics of the demo's line.
const PREFIX: &str = "acme/demo/line1";
/// How long the line may stand without anything happening before the demo gives up.
const STUCK: Duration = Duration::from_secs(60);
const SUBSCRIBE: Duration = Duration::from_secs(10);
const DRAIN: Duration = Duration::from_secs(60);
const LAST_FACTS: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(25);

/// What a person or a system sends to end the demo before its time. The daemon is in a process group of its own, so that
/// Ctrl-C reaches only the demo, which then stops it in order.
struct Interrupt {
    signals: [Signal; 3],
}

impl Interrupt {
    fn listen() -> io::Result<Self> {
        let [interrupt, terminate, hangup] = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        Ok(Self { signals: [signal(interrupt)?, signal(terminate)?, signal(hangup)?] })
    }

    async fn comes(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// How the production of a demo ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Finished,
    Interrupted,
}

/// Runs a whole demo; `show` is called some forty times a second. `None` where Ctrl-C ended it.
pub fn run(settings: DemoSettings, show: &mut dyn FnMut(&DemoView)) -> Result<Option<Summary>, DemoError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(play(settings, show));
    runtime.shutdown_background();
    ended
}

/// The simulated surroundings of the daemon.
struct Stage {
    folder: Folder,
    world: World,
    capture: CaptureHandle,
    broker_name: String,
    outside: Outside,
}

async fn play(settings: DemoSettings, show: &mut dyn FnMut(&DemoView)) -> Result<Option<Summary>, DemoError> {
    let folder = Folder::prepare(settings.data.as_deref())?;
    let world = World::new(plant_settings(&settings));
    let any = ([127, 0, 0, 1], 0).into();
    let truth = TruthFile::create(&folder.path("truth.jsonl"))?.with_pictures(folder.drop_folder(&settings)?);
    let doors = Doors {
        opcua: opcua_server::listen(any)?,
        modbus: TcpListener::bind(any).await?,
        pki_dir: folder.path("plant-pki"),
        truth,
    };
    let ports = (doors.opcua.local_addr()?.port(), doors.modbus.local_addr()?.port());
    let (host, port, broker) = match &settings.broker {
        Some((host, port)) => (host.clone(), *port, None),
        None => {
            let broker = broker::start(0)?;
            ("127.0.0.1".to_owned(), broker.port(), Some(broker))
        }
    };
    let camera = settings.camera.map(|camera| Ok::<_, io::Error>((camera, opcua_server::listen(any)?))).transpose()?;
    let talkers = match settings.models {
        Models::Generic => None,
        Models::Text | Models::Hand => Some(Talkers::bind().await?),
    };
    let text = talkers.as_ref().map(Talkers::ports).transpose()?;
    let camera_port = camera_at(&camera)?;
    let place = Place { ports, broker: (&host, port), camera: camera_port, text, settings: &settings };
    folder.write_config(&place)?;
    let link = Link {
        host,
        port,
        client_id: format!("demo-subscriber-{}", std::process::id()),
        username: None,
        password: None,
        keep_alive_s: 10,
    };
    let broker_name = format!("{}:{}", link.host, link.port);
    let (capture, capturing) = capture::open(link, PREFIX.to_owned(), &folder.path("feed.jsonl"))?;
    let speaking = speak(talkers, settings.models, world.clone());
    let plant = world::run(world.clone(), doors);
    let camera_pki = folder.path("camera-pki");
    let face = show_face(camera, world.clone(), &camera_pki);
    let outside = Outside::new(folder.path("line.db"), broker);
    let stage = Stage { folder, world, capture, broker_name, outside };
    tokio::select! {
        ended = face => Err(DemoError::Stuck(format!("the camera ended: {ended:?}"))),
        ended = plant => Err(DemoError::Stuck(format!("the simulated plant ended: {ended:?}"))),
        ended = speaking => Err(DemoError::Stuck(format!("a simulated text device ended: {ended:?}"))),
        ended = capturing.run() => Err(DemoError::Stuck(format!("the subscriber ended: {ended:?}"))),
        summary = stage.act(&settings, show) => summary,
    }
}

fn camera_at(camera: &Option<(Face, TcpListener)>) -> io::Result<Option<(Face, u16)>> {
    camera.as_ref().map(|(face, listener)| Ok((*face, listener.local_addr()?.port()))).transpose()
}

/// Serves the camera model, where one was asked for, for ever.
async fn show_face(camera: Option<(Face, TcpListener)>, world: World, pki_dir: &Path) -> io::Result<()> {
    match camera {
        Some((face, listener)) => faces::run(face, listener, world.image(), pki_dir).await,
        None => std::future::pending().await,
    }
}

/// The doors of the devices that speak text.
struct Talkers {
    coder: TcpListener,
    labeller: TcpListener,
    scanner: TcpListener,
}

impl Talkers {
    async fn bind() -> io::Result<Self> {
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Self {
            coder: TcpListener::bind(any).await?,
            labeller: TcpListener::bind(any).await?,
            scanner: TcpListener::bind(any).await?,
        })
    }

    fn ports(&self) -> io::Result<TextPorts> {
        let port = |listener: &TcpListener| listener.local_addr().map(|at| at.port());
        Ok(TextPorts { coder: port(&self.coder)?, labeller: port(&self.labeller)?, scanner: port(&self.scanner)? })
    }
}

/// Speaks for the devices of the plant that speak text, where the line has them.
async fn speak(talkers: Option<Talkers>, models: Models, world: World) -> io::Result<()> {
    let Some(Talkers { coder, labeller, scanner }) = talkers else { return std::future::pending().await };
    let coding = async {
        match models {
            Models::Text => coder::run(coder, world.image(), PlantSettings::default().printer_depth).await,
            Models::Generic | Models::Hand => std::future::pending().await,
        }
    };
    let scanning = async {
        match models {
            Models::Hand => hand::pack(scanner, world.image()).await,
            Models::Generic | Models::Text => labeller::scan(scanner, world.image()).await,
        }
    };
    tokio::select! {
        ended = coding => ended,
        ended = labeller::print(labeller, world.image()) => ended,
        ended = scanning => ended,
    }
}

fn plant_settings(settings: &DemoSettings) -> PlantSettings {
    let plant = PlantSettings {
        seed: settings.seed,
        rate_per_minute: settings.rate_per_minute,
        units_min: settings.units.unwrap_or(u64::MAX),
        weather: if settings.faults == Faults::Mild { Weather::MILD } else { Weather::NONE },
        rough: rough(settings),
        decide: settings.decide,
        packing: match settings.models {
            Models::Generic => Packing::Machine,
            Models::Text => Packing::Labelled,
            Models::Hand => Packing::Hand,
        },
        array: if settings.array_reader { ArrayReader::TWO_LAYERS } else { ArrayReader::NONE },
        ..PlantSettings::default()
    };
    settings.camera.map_or(plant.clone(), |camera| camera.fit(plant))
}

/// A broker that was named is not ours to stop.
fn rough(settings: &DemoSettings) -> Rough {
    match settings.faults {
        Faults::None | Faults::Mild => Rough::none(),
        Faults::Rough => {
            let mut rough = Rough::all();
            rough.kinds.retain(|kind| *kind != Mishap::BrokerAway || settings.broker.is_none());
            rough
        }
    }
}

impl Stage {
    async fn act(self, settings: &DemoSettings, show: &mut dyn FnMut(&DemoView)) -> Result<Option<Summary>, DemoError> {
        if !self.capture.subscribed(SUBSCRIBE).await {
            let what = format!(
                "the broker at {} takes no subscription within {} s; start it there, or leave --broker out",
                self.broker_name,
                SUBSCRIBE.as_secs()
            );
            return Err(DemoError::Broker(what));
        }
        let mut interrupt = Interrupt::listen()?;
        let mut daemon = Daemon::start(&self.folder, settings).await?;
        let serving = daemon.serving();
        let mut person = Person::new(self.folder.socket());
        person.load_and_start(&self.folder, settings, &self.world).await?;
        let end = tokio::select! {
            error = self.outside.run(&self.world) => return Err(error),
            error = outside::watch(serving, &self.world) => return Err(error),
            end = self.produce((&mut daemon, &mut person), &mut interrupt, show) => end?,
        };
        daemon.stop_killing();
        if end == End::Interrupted {
            // Units are on the belt: there is nothing to compare yet. The journal keeps the open batch.
            daemon.stop().await?;
            return Ok(None);
        }
        let left = person.finish(&self.world).await?;
        self.drain(&person).await?;
        daemon.stop().await?;
        // The last facts were sent while the daemon stopped; what does not arrive, the comparison names.
        self.capture.wait_for(summary::heads(&self.folder)?, LAST_FACTS).await;
        Summary::of(&self.folder, left, &daemon, &rough(settings).kinds).map(Some)
    }

    /// Until the plant has finished, or Ctrl-C.
    async fn produce(
        &self,
        (daemon, person): (&mut Daemon, &mut Person),
        interrupt: &mut Interrupt,
        show: &mut dyn FnMut(&DemoView),
    ) -> Result<End, DemoError> {
        let mut last = (0, 0, 0);
        let mut quiet = tokio::time::Instant::now();
        while !(self.world.is_finished() && daemon.has_killed_enough() && self.outside.is_calm()) {
            daemon.look_after().await?;
            let status = person.look(&self.world).await;
            let counters = self.world.counters();
            let seen = (counters.presented, counters.passed, counters.pallets_closed);
            if seen != last || self.world.is_finished() {
                (last, quiet) = (seen, tokio::time::Instant::now());
            }
            if quiet.elapsed() > STUCK {
                return Err(DemoError::Stuck(format!("nothing happened for {STUCK:?}: {counters:?}, {status}")));
            }
            show(&self.view(status, daemon));
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = interrupt.comes() => return Ok(End::Interrupted),
            }
        }
        Ok(End::Finished)
    }

    fn view(&self, status: Value, daemon: &Daemon) -> DemoView {
        let counters = self.world.counters();
        DemoView {
            status,
            presented: counters.presented,
            rejected: counters.rejected,
            cases: counters.cases_closed,
            pallets: counters.pallets_closed,
            is_running: self.world.view().is_running,
            verdict_us: summary::percentiles(self.world.verdict_times()),
            captured: self.capture.progress().messages,
            kills: daemon.kills(),
            folder: self.folder.root().to_owned(),
        }
    }

    /// Everything that is durable has reached the subscriber.
    async fn drain(&self, person: &Person) -> Result<(), DemoError> {
        let status = person.status().await?;
        let head = status.get("seq").and_then(Value::as_u64).unwrap_or(0);
        let marks = Marks { fact: head, epcis: 0, batch: 0 };
        if self.capture.wait_for(marks, DRAIN).await {
            Ok(())
        } else {
            let progress = self.capture.progress();
            Err(DemoError::Stuck(format!(
                "the subscriber has {:?} of {head} facts; {}",
                progress.marks, status["feed"]
            )))
        }
    }
}
