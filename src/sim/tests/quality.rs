//! The quality matrix over the wire: each tag of each kind of station, each way of not being good, polled and subscribed. A real
//! server shows it on loopback, the real driver reads it, and the station behind must say nothing that could verify a unit, pass it,
//! pack it or close a container.
//!
//! OPC UA: every status that a field device sends, with and without a value, a null, another type and no number. Modbus: the
//! exceptions, silence, and no number. Good with a sub-code (GoodClamped) is good, and has to count. After each cell the same event
//! is shown with everything good, and must be told: a rig that says nothing at all would pass otherwise.

mod modbus;
mod opcua;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::device::{
    self, Address, Binding, ByteOrder, Channel, DeviceEvent, EventSink, Link, ModbusLink, Number, OpcuaLink, Pad,
    Profile, ReadMode, Security, Settings, Shared, StationTags, ValueType, WordOrder,
};
use crate::domain::tag::{DeviceId, Quality, Reading, StationKind, Tag, TagValue, TagWrite};
use crate::domain::text::Name;
use crate::domain::time::Now;
use crate::engine::input::{LostCause, Observed};
use crate::sim::opcua_server;
use crate::station::quality::{concerns, is_consent, shown, tags_of};
use crate::station::{self, Cursor, Station};

const MS: Duration = Duration::from_millis(1);
/// The bound of every wait; far above what anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long nothing may come before the device's heart beats once more.
const BEAT: Duration = Duration::from_millis(15);

/// What is wrong with one tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// An OPC UA status, with the value beside it as devices send it.
    Status(u32),
    /// The same, and no value.
    Valueless(u32),
    /// Good, and no value.
    Null,
    /// Good, and a value of another type.
    OtherType,
    /// Good, and no number.
    NotANumber,
    /// A Modbus exception.
    Exception(u8),
    /// No answer to any read of it.
    Silence,
}

/// OPC UA Part 8 annex A, Part 4 table 178 and Part 6 annex A.2, as field devices send them: uncertain, last usable value, sensor
/// not accurate, sub-normal; bad, not connected, sensor failure, out of service, last known value, waiting for the first value.
const STATUSES: [u32; 10] = [
    0x4000_0000,
    0x4090_0000,
    0x4093_0000,
    0x4095_0000,
    0x8000_0000,
    0x808A_0000,
    0x808C_0000,
    0x808D_0000,
    0x808B_0000,
    0x8032_0000,
];

/// Good, local override, clamped, and good with the information bits of a data value (limits, overflow).
const GOOD: [u32; 4] = [0, 0x0096_0000, 0x0030_0000, 0x0000_0780];

/// The server of one protocol.
enum Peer {
    Opcua(opcua::Peer),
    Modbus(Arc<modbus::Memory>),
}

/// One station behind its driver.
struct Rig {
    kind: StationKind,
    tags: StationTags,
    peer: Peer,
    station: Station,
    events: mpsc::Receiver<DeviceEvent>,
    /// Nothing is written; the device task lives as long as this.
    _writes: mpsc::Sender<TagWrite>,
    _tasks: JoinSet<()>,
    _pki: tempfile::TempDir,
    now: Now,
    /// What the device shows: its event, its heart, and what is wrong.
    seq: i64,
    beat: i64,
    fault: Option<(Tag, Fault)>,
    /// The quality of the tag that is looked at, as it was told last; none while no session stands.
    told: Option<Quality>,
    said: Vec<Observed>,
}

/// What carries such a value.
fn carrier(value: &TagValue) -> ValueType {
    let count = |len: usize| u16::try_from(len).expect("short");
    match value {
        TagValue::Bool(_) => ValueType::Bool,
        TagValue::Int(_) => ValueType::Number(Number::U32),
        TagValue::Milli(_) => ValueType::Number(Number::F64),
        TagValue::Bytes(_) => ValueType::Text { length: 40, pad: Pad::Zero },
        TagValue::Ints(values) => ValueType::Ints { element: Number::U32, count: count(values.len()) },
        TagValue::Millis(values) => ValueType::Millis { element: Number::F64, count: count(values.len()) },
        TagValue::Texts(texts) => ValueType::Texts { length: 40, count: count(texts.len()), pad: Pad::Zero },
    }
}

/// All that the device shows after its event `seq`; a ring keeps what came before.
fn everything(kind: StationKind, seq: i64, beat: i64) -> Vec<Reading> {
    let number = |tag, value| Reading { tag, value: TagValue::Int(value), quality: Quality::Good, source_us: None };
    let mut all = vec![number(Tag::Heartbeat, beat), number(Tag::Epoch, 7)];
    all.extend(shown(kind, seq));
    for ring in all.iter_mut().filter(|reading| reading.tag == Tag::Ends) {
        let mut pairs = vec![0; 128];
        for end in (seq - 63).max(1)..=seq {
            let at = 2 * usize::try_from(end % 64).expect("small");
            pairs[at] = end;
            pairs[at + 1] = 1;
        }
        ring.value = TagValue::Ints(pairs);
    }
    all
}

/// Where each tag lies, in either protocol: registers of their own, so that what befalls one befalls no other.
fn bindings(kind: StationKind, place: impl Fn(Tag, u16) -> Address) -> StationTags {
    let mut at = 0;
    let bindings = everything(kind, 0, 0).into_iter().map(|reading| {
        let value = carrier(&reading.value);
        let binding = Binding::new(reading.tag, place(reading.tag, at), value);
        at += value.registers() + 2;
        binding
    });
    let bindings = bindings.collect();
    StationTags { station: crate::domain::tag::StationId(3), kind, bindings }
}

fn settings(link: Link, tags: &StationTags) -> Settings {
    Settings {
        device: DeviceId(7),
        name: "peer".to_owned(),
        link,
        stations: vec![tags.clone()],
        poll: MS * 2,
        request_timeout: MS * 300,
        backoff_min: MS * 5,
        backoff_max: MS * 20,
    }
}

impl Rig {
    async fn opcua(kind: StationKind, mode: ReadMode) -> Self {
        let tags = bindings(kind, |tag, _| Address::Node(format!("nsu={};s={tag}", opcua_server::NAMESPACE)));
        let listener = opcua_server::listen(([127, 0, 0, 1], 0).into()).expect("a free port");
        let url = format!("opc.tcp://{}/", listener.local_addr().expect("it is bound"));
        let (pki, mut tasks) = (tempfile::tempdir().expect("a folder"), JoinSet::new());
        let peer = opcua::Peer::start(listener, &pki.path().join("server"), &tags, &mut tasks);
        let link = OpcuaLink {
            url,
            mode,
            security: Security { channel: Channel::None, user: None },
            pki_dir: pki.path().join("own"),
            certificate_host: None,
            profile: Profile::Generic,
        };
        let mut settings = settings(Link::Opcua(link), &tags);
        // Nobody is silent here, and a busy machine is slow.
        settings.request_timeout = MS * 10_000;
        Self::over(Peer::Opcua(peer), settings, tags, tasks, pki)
    }

    async fn modbus(kind: StationKind) -> Self {
        let tags = bindings(kind, |_, at| Address::Register(at));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (memory, mut tasks) = (Arc::new(modbus::Memory::default()), JoinSet::new());
        tasks.spawn(modbus::serve(listener, Arc::clone(&memory)));
        let link = ModbusLink {
            host: "127.0.0.1".to_owned(),
            port,
            unit: 1,
            word_order: WordOrder::HighFirst,
            byte_order: ByteOrder::HighFirst,
            gap_max: 0,
            block_max: 125,
            signature: None,
            connections: 2,
            shared: Shared::default(),
        };
        let settings = settings(Link::Modbus(link), &tags);
        Self::over(Peer::Modbus(memory), settings, tags, tasks, tempfile::tempdir().expect("a folder"))
    }

    fn over(peer: Peer, settings: Settings, tags: StationTags, mut tasks: JoinSet<()>, pki: tempfile::TempDir) -> Self {
        let (inbox, events) = mpsc::channel(1024);
        let (writes, to_write) = mpsc::channel(4);
        let sink: EventSink = Arc::new(move |event| inbox.try_send(event).is_ok());
        let rules = station::Settings::new(tags.station, Name::new("s").expect("it fits"), tags.kind);
        let mut rig = Self {
            kind: tags.kind,
            station: Station::new(rules, Cursor { device_epoch: 7, ..Cursor::default() }),
            tags,
            peer,
            events,
            _writes: writes,
            _pki: pki,
            _tasks: JoinSet::new(),
            now: Now::default(),
            seq: 0,
            beat: 0,
            fault: None,
            told: None,
            said: Vec::new(),
        };
        rig.show();
        tasks.spawn(device::run(settings, sink, to_write));
        rig._tasks = tasks;
        rig
    }

    /// Lays everything before the server's clients in one step.
    fn show(&mut self) {
        let all = everything(self.kind, self.seq, self.beat);
        match &self.peer {
            Peer::Opcua(peer) => peer.show(&self.tags, &all, self.fault),
            Peer::Modbus(memory) => memory.show(&self.tags, &all, self.fault),
        }
    }

    fn beat(&mut self) {
        self.beat += 1;
        self.show();
    }

    /// The next event of the device, with that fault.
    fn next(&mut self, fault: Option<(Tag, Fault)>) {
        self.fault = fault;
        self.seq += 1;
        self.beat();
    }

    /// Takes what the driver tells until `holds`, the heart beating. While `tag` is not good, nothing that counts may be said.
    async fn until(&mut self, what: &str, tag: Tag, holds: impl Fn(&Self) -> bool) {
        let taken = async {
            while !holds(self) {
                match timeout(BEAT, self.events.recv()).await {
                    Ok(event) => self.take(event.expect("the device task lives"), tag),
                    Err(_) => self.beat(),
                }
            }
        };
        let in_time = timeout(PATIENCE, taken).await.is_ok();
        assert!(in_time, "{:?}.{tag} {:?}: never {what}; said {:?}", self.kind, self.fault, self.said);
    }

    fn take(&mut self, event: DeviceEvent, tag: Tag) {
        let from = self.said.len();
        match event {
            DeviceEvent::Connected { .. } => self.station.connected(self.now),
            DeviceEvent::Disconnected { .. } => {
                self.told = None;
                self.station.disconnected(self.now, &mut self.said);
            }
            DeviceEvent::Update(update) => {
                let told = update.readings.iter().find(|reading| reading.tag == tag).map(|reading| reading.quality);
                self.told = told.or(self.told);
                self.station.observe(self.now, &update.readings, &mut self.said, &mut Vec::new());
            }
            DeviceEvent::WriteRefused { tag, .. } => panic!("nothing was written, and {tag} was refused"),
        }
        if self.told != Some(Quality::Good) {
            let said = &self.said[from..];
            let wrong: Vec<_> = said.iter().filter(|said| concerns(said, tag) && is_consent(said, tag)).collect();
            assert!(wrong.is_empty(), "{:?}.{tag} {:?} {:?}: {wrong:?}", self.kind, self.fault, self.told);
        }
    }

    /// Everything is good, and the event is told.
    async fn counts(&mut self, tag: Tag) {
        self.next(None);
        self.said.clear();
        // What is still under way of the cell before was not good, and says nothing.
        self.until("told once it is good", tag, |rig| {
            let tells = rig.said.iter().any(|said| is_consent(said, Tag::Seq));
            rig.told == Some(Quality::Good) && tells
        })
        .await;
    }

    /// One cell of the matrix.
    async fn cell(&mut self, tag: Tag, fault: Fault) {
        self.next(Some((tag, fault)));
        self.until("told that it is not good", tag, |rig| rig.told != Some(Quality::Good)).await;
        self.counts(tag).await;
    }
}

/// Every tag with every one of these faults, as far as it can have it.
async fn matrix(mut rig: Rig, faults: &[Fault]) -> usize {
    let mut cells = 0;
    for tag in tags_of(rig.kind) {
        rig.told = None;
        rig.counts(tag).await;
        for fault in faults {
            if *fault != Fault::NotANumber || tag == Tag::Grade {
                rig.cell(tag, *fault).await;
                cells += 1;
            }
        }
    }
    cells
}

async fn opcua_matrix(mode: ReadMode) {
    let mut faults: Vec<Fault> = STATUSES.into_iter().map(Fault::Status).collect();
    faults.extend([Fault::Valueless(0x8031_0000), Fault::Valueless(0x4090_0000)]);
    faults.extend([Fault::Null, Fault::OtherType, Fault::NotANumber]);
    let mut cells = 0;
    for kind in StationKind::ALL.iter().copied() {
        cells += matrix(Rig::opcua(kind, mode).await, &faults).await;
    }
    assert!(cells > 500, "{cells} cells");
}

// F44, F45, F55
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_opcua_value_that_is_not_good_verifies_packs_or_closes_anything_polled() {
    opcua_matrix(ReadMode::Poll).await;
}

// F44, F45, F55
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_opcua_value_that_is_not_good_verifies_packs_or_closes_anything_subscribed() {
    opcua_matrix(ReadMode::Subscribe).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_with_a_sub_code_is_good_polled_and_subscribed() {
    for mode in [ReadMode::Poll, ReadMode::Subscribe] {
        for kind in StationKind::ALL.iter().copied() {
            let mut rig = Rig::opcua(kind, mode).await;
            rig.counts(Tag::guard(kind)).await;
            for (tag, status) in tags_of(kind).into_iter().flat_map(|tag| GOOD.map(|status| (tag, status))) {
                rig.next(Some((tag, Fault::Status(status))));
                rig.said.clear();
                rig.until("told", tag, |rig| rig.said.iter().any(|said| is_consent(said, Tag::Seq))).await;
            }
        }
    }
}

// F59, F61, F62, F63
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_modbus_value_that_is_not_good_verifies_packs_or_closes_anything() {
    let faults = [4, 6, 8, 11].map(Fault::Exception).into_iter().chain([Fault::Silence, Fault::NotANumber]);
    let faults: Vec<Fault> = faults.collect();
    for kind in StationKind::ALL.iter().copied() {
        assert!(matrix(Rig::modbus(kind).await, &faults).await > 15);
    }
}

// F60
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_register_that_is_not_there_verifies_packs_or_closes_anything() {
    let mut rig = Rig::modbus(StationKind::Packer).await;
    // Left alone for a second each time, so that every tag is one cell here.
    for (tag, code) in tags_of(rig.kind).into_iter().zip([1, 2, 3].into_iter().cycle()) {
        rig.told = None;
        rig.counts(tag).await;
        rig.cell(tag, Fault::Exception(code)).await;
    }
}

// F46
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_of_a_device_whose_heart_stands_still_counts_however_good_it_is() {
    for kind in StationKind::ALL.iter().copied() {
        let rigs = [
            Rig::opcua(kind, ReadMode::Poll).await,
            Rig::opcua(kind, ReadMode::Subscribe).await,
            Rig::modbus(kind).await,
        ];
        for mut rig in rigs {
            let guard = Tag::guard(kind);
            rig.counts(guard).await;
            rig.said.clear();
            rig.now.mono_us += 1_001_000;
            rig.station.tick(rig.now, &mut rig.said);
            assert_eq!(rig.said, [Observed::Lost { cause: LostCause::Heartbeat }], "{kind:?}");
            rig.said.clear();
            rig.seq += 1;
            rig.show();
            let seq = rig.seq;
            let is_news = |event: &DeviceEvent| match event {
                DeviceEvent::Update(update) => {
                    update.readings.iter().any(|reading| reading.tag == guard && reading.value == TagValue::Int(seq))
                }
                _ => false,
            };
            loop {
                let event = timeout(PATIENCE, rig.events.recv()).await.expect("in time").expect("the task lives");
                let was_news = is_news(&event);
                rig.take(event, guard);
                if was_news {
                    break;
                }
            }
            assert_eq!(rig.said, [], "{kind:?}");
            rig.counts(guard).await;
        }
    }
}
