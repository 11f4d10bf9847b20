//! The camera models over their own protocols, read by the real device task with the shipped map and understood by the station: what
//! was exposed is told once, in order, and what the device lost is a gap.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::config::{self, Config};
use crate::device::{self, DeviceEvent};
use crate::domain::tag::{StationKind, Tag, TagWrite};
use crate::domain::time::Now;
use crate::engine::input::{LostCause, Observed, Read};
use crate::engine::output::Permit;
use crate::sim::camera::{Camera, Exposure, Glitch};
use crate::sim::faces::{self, Face};
use crate::sim::opcua_server;
use crate::sim::settings::PlantSettings;
use crate::sim::tags::TagImage;
use crate::sim::truth::Truth;
use crate::station::{Cursor, Station};

const KIND: StationKind = StationKind::Camera;
const PATIENCE: Duration = Duration::from_secs(60);

fn config(face: Face, folder: &Path, port: u16) -> Config {
    let maps = concat!(env!("CARGO_MANIFEST_DIR"), "/config/maps");
    let text = [
        "[line]\nname = \"demo\"\npath = \"site/demo\"\nread_point = \"urn:epc:id:sgln:0614141.07346.1\"\n".to_owned(),
        "biz_location = \"urn:epc:id:sgln:0614141.07346.0\"\nutc_offset = \"+00:00\"\n".to_owned(),
        "[journal]\npath = \"line.db\"\n".to_owned(),
        "[device.plc]\nprotocol = \"modbus\"\nhost = \"127.0.0.1\"\n".to_owned(),
        format!("[device.vision]\n{}\n", face.device(port)),
        format!("[station.rejector]\nkind = \"rejector\"\ndevice = \"plc\"\nmap = \"{maps}/sim-modbus.toml\"\n"),
        format!("[station.camera]\nkind = \"camera\"\ndevice = \"vision\"\nmap = \"{maps}/{}\"\n", face.map().0),
        "rejector = \"rejector\"\nverdict_deadline_ms = 2000\n".to_owned(),
    ]
    .concat();
    let path = folder.join("line.toml");
    std::fs::write(&path, text).expect("the file is written");
    config::load(&path).unwrap_or_else(|error| panic!("{error}"))
}

/// One camera, its device task, and the station that understands it.
struct Rig {
    face: Face,
    folder: tempfile::TempDir,
    port: u16,
    image: Arc<TagImage>,
    camera: Camera,
    truth: Truth,
    station: Station,
    events: mpsc::Receiver<DeviceEvent>,
    writes: mpsc::Sender<TagWrite>,
    serving: JoinHandle<std::io::Result<()>>,
    reading: JoinHandle<()>,
    began: Instant,
    beat: u32,
    units: u64,
    /// Results are acknowledged as if they were recorded at once.
    is_taking: bool,
    said: Vec<Observed>,
}

async fn serve(face: Face, port: u16, image: &Arc<TagImage>, pki: &Path) -> (u16, JoinHandle<std::io::Result<()>>) {
    let listener: TcpListener = opcua_server::listen(([127, 0, 0, 1], port).into()).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let (image, pki) = (Arc::clone(image), pki.to_owned());
    (port, tokio::spawn(async move { faces::run(face, listener, image, &pki).await }))
}

impl Rig {
    async fn start(face: Face) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let plant = face.fit(PlantSettings::default());
        let image = Arc::new(TagImage::new(&plant));
        let (port, serving) = serve(face, 0, &image, &folder.path().join("pki")).await;
        let config = config(face, folder.path(), port);
        let device = config.devices.iter().find(|device| device.name == "vision").expect("a camera").clone();
        let station = config.stations.iter().find(|station| station.settings.kind == KIND).expect("a camera");
        let station = Station::new(station.settings.clone(), Cursor::default());
        let (inbox, events) = mpsc::channel(1024);
        let (writes, to_write) = mpsc::channel(1024);
        let sink: device::EventSink = Arc::new(move |event| inbox.try_send(event).is_ok());
        let reading = tokio::spawn(device::run(device, sink, to_write));
        Self {
            camera: Camera::new(&plant),
            truth: Truth::default(),
            began: Instant::now(),
            beat: 0,
            units: 0,
            is_taking: true,
            said: Vec::new(),
            face,
            folder,
            port,
            image,
            station,
            events,
            writes,
            serving,
            reading,
        }
    }

    fn now(&self) -> Now {
        Now { wall_us: 0, mono_us: u64::try_from(self.began.elapsed().as_micros()).expect("short") }
    }

    fn expose(&mut self, code: &[u8]) {
        self.units += 1;
        self.camera.expose(Exposure {
            unit: self.units,
            track: self.units + 100,
            ready_at_us: 0,
            code: code.to_vec(),
            grade_milli: 3500,
            glitch: Glitch::None,
        });
    }

    /// The camera starts again: its ids with it, and every connection is gone.
    async fn restart(&mut self) {
        self.serving.abort();
        let _ = (&mut self.serving).await;
        let plant = self.face.fit(PlantSettings::default());
        self.camera.reset(&plant);
        self.image.change(|tags| tags.clear(KIND));
        let (_, serving) = serve(self.face, self.port, &self.image, &self.folder.path().join("pki")).await;
        self.serving = serving;
    }

    async fn turn(&mut self) {
        let Self { camera, truth, image, .. } = self;
        image.change(|tags| {
            tags.set_int(KIND, Tag::Epoch, 1);
            camera.take(true, tags);
            camera.publish(1, 1, truth);
            camera.show(tags);
        });
        let mut writes = Vec::new();
        let event = tokio::time::timeout(Duration::from_millis(2), self.events.recv()).await;
        let (now, from) = (self.now(), self.said.len());
        match event {
            Ok(Some(DeviceEvent::Connected { .. })) => self.station.connected(now),
            Ok(Some(DeviceEvent::Disconnected { .. })) => self.station.disconnected(now, &mut self.said),
            Ok(Some(DeviceEvent::Update(update))) => {
                self.station.observe(now, &update.readings, &mut self.said, &mut writes);
            }
            Ok(Some(DeviceEvent::WriteRefused { tag, status, .. })) => panic!("{tag} was refused: {status:#x}"),
            Ok(None) => panic!("the device task ended"),
            Err(_) => {}
        }
        if self.is_taking {
            self.take(self.said.len() - from, &mut writes);
        }
        self.beat += 1;
        if self.beat.is_multiple_of(10) {
            self.station.heartbeat(self.beat, &mut writes);
        }
        for write in writes {
            // A full queue is a write lost, and levels are written again.
            let _ = self.writes.try_send(write);
        }
    }

    /// The newest so many are recorded.
    fn take(&mut self, newest: usize, writes: &mut Vec<TagWrite>) {
        let Some(device_epoch) = self.station.joined() else { return };
        for observed in self.said.iter().rev().take(newest).rev() {
            if let Observed::Result(result) = observed {
                let station = self.station.settings().id;
                self.station.permit(&Permit::AckResult { station, device_epoch, seq: result.seq }, writes);
            }
        }
    }

    async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            assert!(began.elapsed() < PATIENCE, "never: {what}; said {:?}", self.said);
            self.turn().await;
        }
    }

    async fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.turn().await;
        }
    }

    /// Number, track, code and grade of each result.
    fn results(&self) -> Vec<(u64, u64, String, i64)> {
        let result = |observed: &Observed| match observed {
            Observed::Result(result) => {
                let code = match &result.read {
                    Read::Code(code) => String::from_utf8_lossy(code).into_owned(),
                    Read::Failed(code) => format!("failed {}", String::from_utf8_lossy(code)),
                    other => format!("{other:?}"),
                };
                Some((result.seq, result.track.unwrap_or(0), code, result.grade_milli.unwrap_or(-1)))
            }
            _ => None,
        };
        self.said.iter().filter_map(result).collect()
    }

    fn missed(&self) -> Vec<(u64, u64)> {
        let missed = |observed: &Observed| match observed {
            Observed::ResultsMissed { from, to } => Some((*from, *to)),
            _ => None,
        };
        self.said.iter().filter_map(missed).collect()
    }

    async fn end(mut self) {
        drop(self.writes);
        assert!(tokio::time::timeout(PATIENCE, &mut self.reading).await.is_ok(), "the device task does not end");
        self.serving.abort();
    }
}

const CODE: &[u8] = b"010950600013435221A%b0\"&'()*+,-./\x1D1727033110L7";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_model_tells_each_result_once_with_its_track_code_and_grade() {
    for face in Face::ALL {
        let mut rig = Rig::start(*face).await;
        rig.until("the station joins", |rig| rig.station.joined().is_some()).await;
        let codes: [&[u8]; 4] = [CODE, b"", b"01\x1D21B", b"x"];
        for code in codes {
            let told = rig.results().len();
            rig.expose(code);
            rig.until("the result", |rig| rig.results().len() > told).await;
        }
        rig.turns(20).await;
        let whole = String::from_utf8_lossy(CODE).into_owned();
        let expected = [whole, "NoRead".to_owned(), "01\x1D21B".to_owned(), "x".to_owned()];
        let expected = expected.into_iter().zip(1..).map(|(code, seq)| (seq, seq + 100, code, 3500));
        assert_eq!(rig.results(), expected.collect::<Vec<_>>(), "{}", face.name());
        assert_eq!(rig.missed(), [], "{}", face.name());
        rig.end().await;
    }
}

// F85
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_sight_keeps_eight_results_while_nothing_is_recorded_and_what_it_dropped_is_missed() {
    let mut rig = Rig::start(Face::InSight).await;
    rig.until("the station joins", |rig| rig.station.joined().is_some()).await;
    rig.is_taking = false;
    for unit in 1..=12 {
        rig.expose(format!("U{unit}").as_bytes());
        rig.turn().await;
    }
    rig.until("the first stands", |rig| !rig.results().is_empty()).await;
    rig.turns(50).await;
    assert_eq!(rig.results().len(), 1, "nothing follows before the first is taken");
    assert_eq!(rig.image.read(|tags| tags.int(KIND, Tag::Overrun)), 1);
    // The first is recorded now; those behind it follow by themselves.
    rig.is_taking = true;
    let mut writes = Vec::new();
    rig.take(usize::MAX, &mut writes);
    for write in writes {
        rig.writes.try_send(write).expect("room");
    }
    rig.until("nine are told", |rig| rig.results().len() == 9).await;
    assert_eq!(rig.missed(), [], "nobody knows yet how many were dropped");
    rig.expose(b"U13");
    rig.until("the one after the gap", |rig| rig.results().len() == 10).await;
    assert_eq!(rig.missed(), [(10, 12)]);
    let codes: Vec<String> = rig.results().into_iter().map(|(_, _, code, _)| code).collect();
    assert_eq!(codes, ["U1", "U2", "U3", "U4", "U5", "U6", "U7", "U8", "U9", "U13"]);
    rig.end().await;
}

// F47, F70
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_camera_that_starts_again_begins_a_new_epoch_and_its_ids_anew() {
    for face in Face::ALL {
        let mut rig = Rig::start(*face).await;
        rig.until("the station joins", |rig| rig.station.joined().is_some()).await;
        for unit in 1..=3 {
            rig.expose(format!("A{unit}").as_bytes());
            rig.until("the result", |rig| rig.results().len() == unit).await;
        }
        let before = rig.station.joined().expect("joined");
        // A start is told apart by the second in which it was.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        rig.restart().await;
        let lost = Observed::Lost { cause: LostCause::Device };
        rig.until("the loss", |rig| rig.said.contains(&lost)).await;
        rig.until("it joins again", |rig| rig.station.joined().is_some()).await;
        let after = rig.station.joined().expect("joined");
        assert_ne!(before, after, "{}", face.name());
        assert!(rig.said.contains(&Observed::Joined { device_epoch: after, reset: true }), "{}", face.name());
        rig.expose(b"B1");
        rig.until("the first of the new ids", |rig| rig.results().len() == 4).await;
        let (seq, _, code, _) = rig.results().pop().expect("four");
        assert_eq!((seq, code.as_str()), (1, "B1"), "{}", face.name());
        assert_eq!(rig.missed(), [], "{}", face.name());
        rig.end().await;
    }
}
