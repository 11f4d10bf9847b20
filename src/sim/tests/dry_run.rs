//! The plant, its servers and the shipped tag maps against the real device tasks: a small controller that sees only what comes
//! over the wire fills pallets in real time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::config::{self, Config};
use crate::device::{self, DeviceEvent};
use crate::domain::tag::{DeviceId, Quality, StationKind, Tag, TagUpdate, TagValue, TagWrite};
use crate::sim::opcua_server;
use crate::sim::settings::{PlantSettings, Weather};
use crate::sim::truth::TruthFile;
use crate::sim::world::{Doors, World, run};

use StationKind::{Camera, Packer, Palletizer, Printer, Rejector};

fn line_file(folder: &Path, opcua: u16, modbus: u16) -> Config {
    let maps = concat!(env!("CARGO_MANIFEST_DIR"), "/config/maps");
    let station = |kind: &str, map: &str, rest: &str| format!("[station.{kind}]\nkind = \"{kind}\"\n{map}\n{rest}\n");
    let plc = format!("device = \"plc\"\nmap = \"{maps}/sim-opcua.toml\"");
    let hall = format!("device = \"hall\"\nmap = \"{maps}/sim-modbus.toml\"");
    let text = [
        "[line]\nname = \"demo\"\npath = \"site/demo\"\nread_point = \"urn:epc:id:sgln:0614141.07346.1\"\n".to_owned(),
        "biz_location = \"urn:epc:id:sgln:0614141.07346.0\"\nutc_offset = \"+00:00\"\n".to_owned(),
        "[journal]\npath = \"line.db\"\n".to_owned(),
        format!("[device.plc]\nprotocol = \"opcua\"\nurl = \"opc.tcp://127.0.0.1:{opcua}/\"\nsecurity = \"none\"\n"),
        "poll_ms = 2\n".to_owned(),
        format!("[device.hall]\nprotocol = \"modbus\"\nhost = \"127.0.0.1\"\nport = {modbus}\nunit = 1\npoll_ms = 2\n"),
        station("printer", &plc, ""),
        station("camera", &plc, "rejector = \"rejector\"\nverdict_deadline_ms = 2000"),
        station("rejector", &plc, ""),
        station("packer", &hall, ""),
        station("palletizer", &hall, ""),
    ]
    .concat();
    let path = folder.join("line.toml");
    std::fs::write(&path, text).expect("the file is written");
    config::load(&path).unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test]
async fn the_shipped_maps_are_accepted_without_a_word() {
    let folder = tempfile::tempdir().expect("a folder");
    let said: Vec<String> = line_file(folder.path(), 4840, 502).warnings.iter().map(ToString::to_string).collect();
    assert!(!said.iter().any(|warning| warning.contains("sim-")), "{said:?}");
}

/// Answers by the contract from what the device tasks bring.
struct Controller {
    config: Config,
    writers: BTreeMap<DeviceId, mpsc::Sender<TagWrite>>,
    seen: BTreeMap<(u8, Tag), TagValue>,
    sent: i64,
    seen_seq: i64,
    passed: BTreeSet<Vec<u8>>,
    token: i64,
    answered: BTreeMap<u8, (i64, i64)>,
    beat: i64,
}

impl Controller {
    fn get(&self, kind: StationKind, tag: Tag) -> i64 {
        match self.seen.get(&(kind as u8, tag)) {
            Some(TagValue::Int(value) | TagValue::Milli(value)) => *value,
            Some(TagValue::Bool(value)) => i64::from(*value),
            Some(TagValue::Bytes(_) | TagValue::Ints(_) | TagValue::Millis(_) | TagValue::Texts(_)) | None => 0,
        }
    }

    fn write(&self, kind: StationKind, values: Vec<(Tag, TagValue)>) {
        let station = self.config.stations.iter().find(|s| s.settings.kind == kind).expect("every kind is there");
        for device in &station.devices {
            let write = TagWrite { station: station.settings.id, values: values.clone() };
            // A full queue is a write lost, and outputs are written again.
            let _ = self.writers[device].try_send(write);
        }
    }

    fn take(&mut self, update: TagUpdate) {
        let kind = self.config.stations[usize::from(update.station.0)].settings.kind;
        for reading in update.readings {
            assert_eq!(reading.quality, Quality::Good, "{kind:?}.{}: {:?}", reading.tag, reading.value);
            self.seen.insert((kind as u8, reading.tag), reading.value);
        }
        match kind {
            Printer => self.print(),
            Camera => self.judge(),
            Rejector => {}
            Packer | Palletizer => self.close(kind),
        }
    }

    fn live(&mut self) {
        self.beat = self.beat % 60_000 + 1;
        for kind in StationKind::ALL {
            let epoch = TagValue::Int(self.get(*kind, Tag::Epoch));
            self.write(*kind, vec![(Tag::EpochOut, epoch), (Tag::HeartbeatOut, TagValue::Int(self.beat))]);
        }
        self.write(Rejector, vec![(Tag::RunPermit, TagValue::Bool(true))]);
    }

    fn print(&mut self) {
        if self.get(Printer, Tag::AcceptedSeq) == self.sent {
            self.sent += 1;
            let data = format!("010950600013435221S{:05}\x1D1727033110L7", self.sent).into_bytes();
            let seq = TagValue::Int(self.sent);
            self.write(Printer, vec![(Tag::Data, TagValue::Bytes(data)), (Tag::DataSeq, seq)]);
        }
    }

    fn judge(&mut self) {
        let of = |tag| self.seen.get(&(Camera as u8, tag)).cloned();
        let (Some(TagValue::Texts(codes)), Some(TagValue::Ints(tracks)), Some(TagValue::Millis(grades))) =
            (of(Tag::Code), of(Tag::Track), of(Tag::Grade))
        else {
            return;
        };
        let seq = self.get(Camera, Tag::Seq);
        for number in self.seen_seq + 1..=seq {
            let slot = usize::try_from(number).expect("positive") % codes.len();
            let is_ours = codes[slot].starts_with(b"010950600013435221S") && codes[slot].ends_with(b"10L7");
            let pass = is_ours && grades[slot] >= 1500 && self.passed.insert(codes[slot].clone());
            let word = tracks[slot] * 2 + i64::from(pass);
            self.write(Rejector, vec![(Tag::VerdictWord, TagValue::Int(word))]);
        }
        self.seen_seq = self.seen_seq.max(seq);
        self.write(Camera, vec![(Tag::Ack, TagValue::Int(seq))]);
    }

    fn close(&mut self, kind: StationKind) {
        let (seq, result) = (self.get(kind, Tag::Seq), self.get(kind, Tag::CloseResult));
        let state = (seq, result);
        if seq == 0 || self.answered.insert(kind as u8, state) == Some(state) {
            return;
        }
        if result != 0 {
            self.write(kind, vec![(Tag::Reply, TagValue::Int(0))]);
            return;
        }
        self.token += 1;
        let label = format!("00{}{:017}", kind as u8, self.get(kind, Tag::Container)).into_bytes();
        let values = vec![
            (Tag::Ack, TagValue::Int(seq)),
            (Tag::Token, TagValue::Int(self.token)),
            (Tag::TtlMs, TagValue::Int(5000)),
            (Tag::Reason, TagValue::Int(0)),
            (Tag::Label, TagValue::Bytes(label)),
            (Tag::Reply, TagValue::Int(3)),
            (Tag::ReplySeq, TagValue::Int(seq)),
        ];
        self.write(kind, values);
    }
}

/// Drives the controller until the plant is finished; the operator presses start whenever that is possible.
async fn control(mut controller: Controller, mut events: mpsc::Receiver<DeviceEvent>, world: &World) {
    let mut beat = tokio::time::interval(Duration::from_millis(50));
    while !world.is_finished() {
        tokio::select! {
            event = events.recv() => match event.expect("the device tasks live") {
                DeviceEvent::Update(update) => controller.take(update),
                DeviceEvent::WriteRefused { tag, status, .. } => panic!("{tag} was refused: {status:#x}"),
                DeviceEvent::Connected { .. } | DeviceEvent::Disconnected { .. } => {}
            },
            _ = beat.tick() => {
                controller.live();
                if world.view().can_start {
                    world.start();
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fills_a_pallet_over_the_wire() {
    let folder = tempfile::tempdir().expect("a folder");
    let any = ([127, 0, 0, 1], 0).into();
    let opcua = opcua_server::listen(any).expect("a free port");
    let modbus = TcpListener::bind(any).await.expect("a free port");
    let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
    let config = line_file(folder.path(), port(&opcua), port(&modbus));
    let world = World::new(PlantSettings {
        rate_per_minute: 6000,
        units_min: 200,
        weather: Weather { no_read: 200, low_grade: 200, wrong_lot: 200, duplicate: 200, foreign: 200 },
        ..PlantSettings::default()
    });
    let doors = Doors {
        opcua,
        modbus,
        pki_dir: folder.path().join("pki"),
        truth: TruthFile::create(&folder.path().join("truth.jsonl")).unwrap(),
    };
    let (inbox, events) = mpsc::channel(4096);
    let sink: device::EventSink = Arc::new(move |event| inbox.try_send(event).is_ok());
    let mut tasks = JoinSet::new();
    let mut writers = BTreeMap::new();
    for settings in config.devices.clone() {
        let (writer, writes) = mpsc::channel(4096);
        writers.insert(settings.device, writer);
        tasks.spawn(device::run(settings, Arc::clone(&sink), writes));
    }
    let controller = Controller {
        config,
        writers,
        seen: BTreeMap::new(),
        sent: 0,
        seen_seq: 0,
        passed: BTreeSet::new(),
        token: 0,
        answered: BTreeMap::new(),
        beat: 0,
    };
    let finished = tokio::time::timeout(Duration::from_secs(60), control(controller, events, &world));
    tokio::select! {
        ended = run(world.clone(), doors) => panic!("the plant ended: {ended:?}"),
        finished = finished => finished.unwrap_or_else(|_| panic!("in time; {:?}", world.counters())),
    }
    let counters = world.counters();
    assert_eq!(counters.passed, counters.conforming, "{counters:?}");
    assert_eq!(counters.passed, counters.pallets_closed * 100, "{counters:?}");
    assert!(counters.presented >= 200);
}
