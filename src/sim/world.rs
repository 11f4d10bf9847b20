//! The simulated plant in real time: a thread for the physics, the protocol servers, and the truth file.
//!
//! `World` is the handle of the person at the machine; `run` drives everything until it is dropped or something fails. The
//! physics thread steps every millisecond, and at once when a client has written. It is a thread of its own, so that a
//! busy async runtime does not stop the belt.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::mishap::{Mishap, Tally};
use super::physics::{Counters, Deed, Plant, PlantView};
use super::settings::PlantSettings;
use super::tags::TagImage;
use super::truth::TruthFile;
use super::{modbus_server, opcua_server};

const STEP: Duration = Duration::from_millis(1);

/// A handle on the plant; clones are the same plant.
#[derive(Clone)]
pub struct World {
    image: Arc<TagImage>,
    plant: Arc<Mutex<Plant>>,
}

/// Where the plant is reached and where its truth goes.
pub struct Doors {
    /// From `opcua_server::listen`, which sets what small answers need.
    pub opcua: TcpListener,
    pub modbus: TcpListener,
    /// A folder that the OPC UA library may write to.
    pub pki_dir: PathBuf,
    /// `truth.jsonl`, and the camera's pictures.
    pub truth: TruthFile,
}

impl World {
    pub fn new(settings: PlantSettings) -> Self {
        let settings = settings.bounded();
        Self { image: Arc::new(TagImage::new(&settings)), plant: Arc::new(Mutex::new(Plant::new(settings))) }
    }

    /// The tag memory, for tests and for servers of one's own.
    pub fn image(&self) -> Arc<TagImage> {
        Arc::clone(&self.image)
    }

    fn plant(&self) -> MutexGuard<'_, Plant> {
        self.plant.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The operator presses start: the belt starts if it may, and else stays as it is.
    pub fn start(&self) {
        self.order(Deed::PressStart);
    }

    /// Done at the next step.
    pub fn order(&self, deed: Deed) {
        self.plant().order(deed);
    }

    pub fn view(&self) -> PlantView {
        self.plant().view()
    }

    /// The machine's latched fault: 0 none, 1 missing, 2 phantom, 3 bin full.
    pub fn fault(&self) -> u64 {
        self.view().fault
    }

    /// From result to verdict, in us: the newest of them.
    pub fn verdict_times(&self) -> Vec<u64> {
        self.plant().verdict_times()
    }

    /// Mishaps outside of the plant that are to begin now.
    pub fn take_calls(&self) -> Vec<Mishap> {
        self.plant().take_calls()
    }

    /// What became of each kind of mishap so far.
    pub fn tally(&self) -> Tally {
        self.plant().tally().clone()
    }

    pub fn counters(&self) -> Counters {
        self.plant().counters()
    }

    /// Enough units presented, the last pallet full and released, nothing left on the line.
    pub fn is_finished(&self) -> bool {
        self.view().is_finished
    }

    fn step(&self, now_us: u64, truth: &mut TruthFile) -> io::Result<()> {
        let mut plant = self.plant();
        self.image.change(|tags| plant.step(now_us, tags));
        let lines = plant.take_truth();
        drop(plant);
        truth.write(&lines)
    }
}

/// Runs physics and servers until one of them fails; dropping the future stops all of them.
pub async fn run(world: World, doors: Doors) -> io::Result<()> {
    let servers = async {
        tokio::select! {
            ended = opcua_server::run(doors.opcua, world.image(), &doors.pki_dir) => ended,
            ended = modbus_server::run(doors.modbus, world.image()) => ended,
        }
    };
    run_with(world.clone(), doors.truth, servers).await
}

/// Runs the physics beside servers of one's own.
pub async fn run_with(world: World, truth: TruthFile, servers: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    let (physics, failed) = Physics::start(world, truth)?;
    let ended = tokio::select! {
        ended = servers => ended,
        error = failed => match error {
            Ok(error) => Err(error),
            Err(_) => Err(io::Error::other("the plant's physics ended")),
        },
    };
    drop(physics);
    ended
}

/// The physics thread; dropping it stops and joins.
struct Physics {
    is_stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Physics {
    fn start(world: World, mut truth: TruthFile) -> io::Result<(Self, oneshot::Receiver<io::Error>)> {
        let is_stopping = Arc::new(AtomicBool::new(false));
        let (fail, failed) = oneshot::channel();
        let stop = Arc::clone(&is_stopping);
        let thread = std::thread::Builder::new().name("sim-physics".into()).spawn(move || {
            if let Err(error) = drive(&world, &mut truth, &stop) {
                // Nobody listens any more when the plant is being stopped.
                let _ = fail.send(error);
            }
        })?;
        let physics = Self { is_stopping, thread: Some(thread) };
        Ok((physics, failed))
    }
}

impl Drop for Physics {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has already been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

fn drive(world: &World, truth: &mut TruthFile, stop: &AtomicBool) -> io::Result<()> {
    let started = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let now_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        world.step(now_us, truth)?;
        world.image.wait_for_write(STEP);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tag::{StationKind, Tag, TagValue};
    use crate::sim::truth::{TruthEvent, TruthLine};
    use std::path::Path;

    async fn doors(folder: &Path) -> Doors {
        let any = ([127, 0, 0, 1], 0).into();
        Doors {
            opcua: opcua_server::listen(any).expect("a free port"),
            modbus: TcpListener::bind(any).await.expect("a free port"),
            pki_dir: folder.join("pki"),
            truth: TruthFile::create(&folder.join("truth.jsonl")).expect("a file"),
        }
    }

    async fn until(world: &World, what: &str, holds: impl Fn(&World) -> bool) {
        let mut changes = world.image.changes();
        let wait = async {
            while !holds(world) {
                changes.changed().await.expect("the plant lives");
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
        waited.unwrap_or_else(|_| panic!("never: {what}"));
    }

    /// Answers heartbeat, epoch and run permit of every station.
    fn answer(world: &World, beat: i64) {
        let values = StationKind::ALL.iter().flat_map(|kind| {
            let epoch = world.image.read(|tags| tags.int(*kind, Tag::Epoch));
            [(*kind, Tag::EpochOut, TagValue::Int(epoch)), (*kind, Tag::HeartbeatOut, TagValue::Int(beat))]
        });
        let permit = (StationKind::Rejector, Tag::RunPermit, TagValue::Bool(true));
        world.image.write(values.chain([permit]).collect()).expect("the write is legal");
    }

    #[tokio::test]
    async fn runs_in_real_time_and_keeps_its_truth() {
        let folder = tempfile::tempdir().expect("a folder");
        let world = World::new(PlantSettings::default());
        let doors = doors(folder.path()).await;
        let person = async {
            until(&world, "a heartbeat", |world| {
                world.image.read(|tags| tags.int(StationKind::Packer, Tag::Heartbeat)) >= 2
            })
            .await;
            answer(&world, 1);
            until(&world, "start is allowed", |world| world.view().can_start).await;
            world.start();
            until(&world, "it runs", |world| world.view().is_running).await;
            // Nobody beats any more: it stops by itself.
            until(&world, "it stops", |world| !world.view().is_running).await;
        };
        tokio::select! {
            ended = run(world.clone(), doors) => panic!("the plant ended: {ended:?}"),
            () = person => {}
        }
        let text = std::fs::read_to_string(folder.path().join("truth.jsonl")).expect("truth");
        let lines: Vec<TruthLine> =
            text.lines().map(|line| serde_json::from_str(line).expect("a line of truth")).collect();
        assert!(matches!(lines[0].event, TruthEvent::Plant { seed: 1, .. }));
        let belt = lines.iter().filter_map(|line| match &line.event {
            TruthEvent::Belt { running, cause } => Some((*running, cause.as_str())),
            _ => None,
        });
        assert_eq!(belt.collect::<Vec<_>>(), [(true, "operator"), (false, "heartbeat")]);
    }
}
