//! Identifiers arrive as they left: leading zeros, twenty digits, every character of charset 82, and texts that look like numbers;
//! through both drivers in both directions, and through engine, journal and feed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use sealgate::config;
use sealgate::device::{self, DeviceEvent, EventSink};
use sealgate::domain::epc;
use sealgate::domain::gs1::{Expiry, GcpLength, Gtin, Lot, SerialNumber};
use sealgate::domain::pack::PackLevel;
use sealgate::domain::tag::{Quality, StationId, StationKind, Tag, TagValue, TagWrite};
use sealgate::domain::text::Text;
use sealgate::domain::time::Now;
use sealgate::engine::decide::Decide;
use sealgate::engine::input::{
    Ask, Asker, BatchSheet, CameraResult, Input, Observation, Observed, Order, PackSpec, Read, Request, SsccRange,
    TrackEnd,
};
use sealgate::engine::state::State;
use sealgate::engine::{Engine, Role, Settings, StationSpec};
use sealgate::sim::settings::PlantSettings;
use sealgate::sim::tags::TagImage;
use sealgate::sim::{modbus_server, opcua_server};
use sealgate::store::commit::Job;
use sealgate::store::{self, Reader};
use sealgate::wire::lower::{LineIdentity, Lowering, Stamp};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// GS1 General Specifications, figure 7.11-1.
const CHARSET: &str = "!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";
const GTIN: &str = "09506000134352";
const RANDOM: usize = 24;
/// The bound of every wait; far above what anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serial numbers that somebody somewhere has mangled, and a few that chance finds.
fn serials() -> Vec<String> {
    let mut serials: Vec<String> = [
        "0",
        "000",
        "00000000000000000000",
        "00012345678901234567",
        "99999999999999999999",
        "9223372036854775808",
        "18446744073709551616",
        "1e5",
        "1E400",
        "0x10",
        "-0",
        "+1",
        "1.0",
        ".5",
        "NaN",
        "true",
        "null",
        "1,5",
        "'OR'1'='1'--",
        "=1+1",
        "a+b/c",
        "%2F%00",
        "../..",
        "<b>",
    ]
    .map(str::to_owned)
    .to_vec();
    assert_eq!(CHARSET.len(), 82);
    serials.extend(CHARSET.as_bytes().chunks(20).map(|chunk| String::from_utf8(chunk.to_vec()).unwrap()));
    let mut runner = TestRunner::deterministic();
    let any = proptest::string::string_regex("[!\"%-?A-Z_a-z]{1,20}").unwrap();
    serials.extend((0..RANDOM).map(|_| any.new_tree(&mut runner).unwrap().current()));
    serials.sort();
    serials.dedup();
    serials
}

fn code(serial: &str) -> Vec<u8> {
    format!("01{GTIN}21{serial}\u{1d}1730033110L7").into_bytes()
}

fn line_file(folder: &std::path::Path, opcua: u16, modbus: u16) -> config::Config {
    let maps = concat!(env!("CARGO_MANIFEST_DIR"), "/config/maps");
    let station = |kind: &str, device: &str, rest: &str| {
        let map = if device == "plc" { "sim-opcua" } else { "sim-modbus" };
        format!("[station.{kind}]\nkind = \"{kind}\"\ndevice = \"{device}\"\nmap = \"{maps}/{map}.toml\"\n{rest}\n")
    };
    let text = [
        "[line]\nname = \"l\"\npath = \"site/l\"\nread_point = \"urn:epc:id:sgln:0614141.07346.1\"\n".to_owned(),
        "biz_location = \"urn:epc:id:sgln:0614141.07346.0\"\nutc_offset = \"+00:00\"\n".to_owned(),
        "[journal]\npath = \"line.db\"\n".to_owned(),
        format!("[device.plc]\nprotocol = \"opcua\"\nurl = \"opc.tcp://127.0.0.1:{opcua}/\"\nsecurity = \"none\"\n"),
        "poll_ms = 2\n".to_owned(),
        format!("[device.hall]\nprotocol = \"modbus\"\nhost = \"127.0.0.1\"\nport = {modbus}\nunit = 1\npoll_ms = 2\n"),
        station("printer", "plc", ""),
        station("camera", "plc", "rejector = \"rejector\"\nverdict_deadline_ms = 2000"),
        station("rejector", "plc", ""),
        station("packer", "hall", ""),
        station("palletizer", "hall", ""),
    ]
    .concat();
    let path = folder.join("line.toml");
    std::fs::write(&path, text).unwrap();
    config::load(&path).unwrap_or_else(|error| panic!("{error}"))
}

/// The device tasks of a line over the plant's tag memory.
struct Drivers {
    image: Arc<TagImage>,
    events: mpsc::Receiver<DeviceEvent>,
    /// Printer, camera, rejector, packer, palletizer, as the file has them.
    writers: Vec<mpsc::Sender<TagWrite>>,
    /// What was told last, where it was good.
    seen: BTreeMap<(StationId, Tag), TagValue>,
    seq: u64,
}

const PRINTER: u8 = 0;
const CAMERA: u8 = 1;
const PACKER: u8 = 3;

impl Drivers {
    /// Waits until a tag is read with exactly this value.
    async fn read(&mut self, station: u8, tag: Tag, wanted: &TagValue) {
        let found = async {
            while self.seen.get(&(StationId(station), tag)) != Some(wanted) {
                let event = self.events.recv().await.expect("the tasks run");
                hear(&mut self.seen, event);
            }
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{tag} never was {wanted:?}"));
    }

    /// Writes a text, and waits until the plant has exactly it.
    async fn write(&mut self, station: u8, kind: StationKind, tag: Tag, text: &[u8]) {
        let values = vec![(tag, TagValue::Bytes(text.to_vec()))];
        self.writers[usize::from(station)].send(TagWrite { station: StationId(station), values }).await.unwrap();
        let arrived = async {
            while self.image.read(|tags| tags.bytes(kind, tag) != text) {
                // The events go on, and would fill their queue.
                while let Ok(event) = self.events.try_recv() {
                    hear(&mut self.seen, event);
                }
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, arrived).await.unwrap_or_else(|_| panic!("{tag} never became {text:?}"));
    }

    async fn both_ways(&mut self, code: &[u8]) {
        self.seq += 1;
        let (seq, list) = (self.seq, vec![code.to_vec(); 64]);
        self.image.change(|tags| {
            tags.set_int(StationKind::Camera, Tag::Seq, seq);
            tags.set_texts(StationKind::Camera, Tag::Code, &list);
            tags.set_int(StationKind::Packer, Tag::Seq, seq);
            tags.set_texts(StationKind::Packer, Tag::Children, &list);
            tags.set_bytes(StationKind::Packer, Tag::LabelRead, code);
        });
        self.read(CAMERA, Tag::Code, &TagValue::Texts(list.clone())).await;
        self.read(PACKER, Tag::Children, &TagValue::Texts(list[..10].to_vec())).await;
        self.write(PRINTER, StationKind::Printer, Tag::Data, code).await;
        self.write(PACKER, StationKind::Packer, Tag::Label, code).await;
    }
}

fn hear(seen: &mut BTreeMap<(StationId, Tag), TagValue>, event: DeviceEvent) {
    let DeviceEvent::Update(update) = event else { return };
    let good = update.readings.into_iter().filter(|reading| reading.quality == Quality::Good);
    seen.extend(good.map(|reading| ((update.station, reading.tag), reading.value)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arrive_unchanged_through_both_drivers_in_both_directions() {
    let folder = tempfile::tempdir().unwrap();
    let opcua = opcua_server::listen(([127, 0, 0, 1], 0).into()).unwrap();
    let modbus = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let config = line_file(folder.path(), port(&opcua), port(&modbus));
    let image = Arc::new(TagImage::new(&PlantSettings::default()));
    let (inbox, events) = mpsc::channel(4096);
    let sink: EventSink = Arc::new(move |event| inbox.try_send(event).is_ok());
    let (mut writers, mut tasks) = (Vec::new(), Vec::new());
    for settings in config.devices {
        let (writer, writes) = mpsc::channel(64);
        writers.extend(settings.stations.iter().map(|_| writer.clone()));
        tasks.push(device::run(settings, Arc::clone(&sink), writes));
    }
    let pki = folder.path().join("pki");
    let servers = (opcua_server::run(opcua, Arc::clone(&image), &pki), modbus_server::run(modbus, Arc::clone(&image)));
    let mut drivers = Drivers { image, events, writers, seen: BTreeMap::new(), seq: 0 };
    let work = async {
        for serial in serials() {
            drivers.both_ways(&code(&serial)).await;
        }
    };
    tokio::select! {
        () = work => {}
        ended = async { tokio::join!(servers.0, servers.1) } => panic!("a server ended: {ended:?}"),
        _ = futures_util::future::join_all(tasks) => panic!("a device task ended"),
    }
}

fn order(serials: &[String]) -> Order {
    let serials: Vec<_> = serials.iter().map(|serial| SerialNumber::new(serial).expect(serial)).collect();
    let sheet = BatchSheet {
        batch: Text::new("B1").unwrap(),
        gtin: Gtin::new(GTIN).unwrap(),
        lot: Lot::new("L7").unwrap(),
        expiry: Expiry::new(2030, 3, 31).unwrap(),
        gcp_length: GcpLength::new(7).unwrap(),
        pack: PackSpec { case_capacity: 10, pallet_capacity: 10 },
        sscc: SsccRange { extension: 0, prefix: Text::new("9506000").unwrap(), first: 1, last: 999 },
        recipes: Vec::new(),
    };
    let serials_sha256 = sealgate::wire::order::serials_sha256(&serials);
    Order { sheet, serials, serials_sha256 }
}

/// Engine and journal, one observation after the other.
struct Line {
    engine: Engine,
    lowering: Lowering,
    order: Arc<Order>,
    store: store::Store,
    now: Now,
}

impl Line {
    fn new(path: &std::path::Path, order: Arc<Order>) -> Self {
        let camera = Role::Camera {
            rejector: StationId(2),
            grade_min_milli: 1500,
            verdict_deadline_us: 1_000_000,
            decide: Decide::Line,
        };
        let packer = |level| Role::Packer { level, ttl_ms: 5000 };
        let roles = [
            ("printer", Role::Printer { queue: 200 }),
            ("camera", camera),
            ("rejector", Role::Rejector),
            ("packer", packer(PackLevel::Case)),
            ("palletizer", packer(PackLevel::Pallet)),
        ];
        let stations = roles.into_iter().map(|(name, role)| StationSpec::new(Text::new(name).unwrap(), role));
        let place = "urn:epc:id:sgln:9506000.12345.0".to_owned();
        let lowering = Lowering::new(LineIdentity {
            line: "site/l".into(),
            source: "urn:sealgate:line:site/l".into(),
            read_points: Default::default(),
            container_read_points: Default::default(),
            biz_location: place,
            offset_minutes: 0,
        });
        Self {
            engine: Engine::new(Settings { stations: stations.collect() }, State::default()),
            lowering,
            order,
            store: store::open(&store::Settings::new(path, "site/l")).unwrap(),
            now: Now { wall_us: 1_790_000_000_000_000, mono_us: 5_000_000 },
        }
    }

    fn step(&mut self, input: Input) {
        self.now.mono_us += 1000;
        let step = self.engine.step(self.now, input);
        let stamp = Stamp { at_us: self.now.wall_us, mono_us: self.now.mono_us, boot: 1 };
        let record = |entry| self.lowering.record(entry, Some(&self.order.sheet), Some(&self.order), stamp);
        let records = step.facts.iter().map(record).collect();
        self.store.commit(&Job { records, work: Vec::new() }, || 0).unwrap();
    }

    fn observe(&mut self, station: u8, what: Observed) {
        let seen_mono_us = self.now.mono_us;
        self.step(Input::Observed(Observation { station: StationId(station), seen_mono_us, what }));
    }

    fn ask(&mut self, request: Request) {
        self.step(Input::Asked(Ask { id: 1, asker: Asker::Door(Text::new("test").unwrap()), request }));
    }
}

#[test]
fn arrive_unchanged_through_the_engine_the_journal_and_the_feed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("line.db");
    let serials = serials();
    let count = serials.len() as u64;
    let order = Arc::new(order(&serials));
    let mut line = Line::new(&path, Arc::clone(&order));
    for station in 0..5 {
        line.observe(station, Observed::Joined { device_epoch: 1, reset: true });
    }
    line.ask(Request::LoadBatch(Arc::clone(&order)));
    line.ask(Request::StartBatch(order.sheet.batch));
    line.observe(0, Observed::PrinterCounted { accepted: 0, printed: 0 });
    line.observe(0, Observed::PrinterCounted { accepted: count, printed: count });
    for (number, serial) in (1..).zip(&serials) {
        let read = Read::Code(code(serial));
        line.observe(
            1,
            Observed::Result(CameraResult { seq: number, track: Some(number), read, grade_milli: Some(3500) }),
        );
        line.observe(2, Observed::Ended { end_seq: number, track: number, end: TrackEnd::Passed });
    }
    let items = Reader::open(&path).unwrap().feed_from(1, 10_000).unwrap();
    let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    let commissioned: Vec<_> = items.iter().filter(|item| &*item.fact.kind == "commissioned").collect();
    let told: Vec<String> = commissioned
        .iter()
        .map(|item| json(item.fact.body.as_bytes())["serial"].as_str().expect("a text, never a number").to_owned())
        .collect();
    assert_eq!(told, serials);
    for (item, serial) in commissioned.iter().zip(&serials) {
        let event = item.messages.iter().find(|message| &*message.stream == "epcis").expect("an event");
        let event = json(&event.body);
        let uri = event["epcList"][0].as_str().expect("an EPC");
        let (gtin, found, _) = epc::parse_sgtin_uri(uri).unwrap();
        assert_eq!((gtin.as_str(), found.as_str()), (GTIN, serial.as_str()), "{uri}");
    }
}
