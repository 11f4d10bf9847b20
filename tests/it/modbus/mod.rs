//! The Modbus driver against servers behind a proxy that lies: no value from a wrong frame is ever used.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sealgate::device::{self, ByteOrder, DeviceEvent, EventSink, Link, ModbusLink, Settings, StationTags, WordOrder};
use sealgate::domain::tag::{DeviceId, Quality, StationId, StationKind, Tag, TagUpdate, TagValue, TagWrite};
use sealgate::sim::modbus_server;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

mod pattern;
mod proxy;

use pattern::{Foreign, Registers};
use proxy::Proxy;

const MS: Duration = Duration::from_millis(1);
/// The bound of every wait; far above what anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);
/// Answers that pass the proxy before a test is content.
const ANSWERS: usize = 10_000;
const SESSIONS: u8 = 3;

fn settings(port: u16, device: u8, registers: &Registers) -> Settings {
    let bindings = registers.bindings();
    Settings {
        device: DeviceId(device),
        name: "behind the proxy".to_owned(),
        link: Link::Modbus(ModbusLink {
            host: "127.0.0.1".to_owned(),
            port,
            unit: 1,
            word_order: WordOrder::HighFirst,
            byte_order: ByteOrder::HighFirst,
            gap_max: 0,
            // Short reads of one length: an answer that is taken for another one fits it.
            block_max: 20,
            signature: None,
            connections: 2,
            shared: device::Shared::default(),
        }),
        stations: vec![StationTags { station: StationId(device), kind: StationKind::Packer, bindings }],
        poll: MS,
        request_timeout: MS * 20,
        backoff_min: MS,
        backoff_max: MS * 4,
    }
}

/// What the line was told, judged as it comes.
struct Judge {
    registers: Mutex<Registers>,
    newest: Mutex<u16>,
    /// By session: the generation that was told last, and how many were.
    told: Mutex<Vec<(u16, usize)>>,
}

impl Judge {
    fn sink(self: &Arc<Self>) -> EventSink {
        let judge = Arc::clone(self);
        Arc::new(move |event| {
            if let DeviceEvent::Update(update) = event {
                judge.hear(&update);
            }
            true
        })
    }

    fn hear(&self, update: &TagUpdate) {
        let registers = self.registers.lock().unwrap();
        let seq = update.readings.iter().find(|reading| reading.tag == Tag::Seq).unwrap();
        let TagValue::Int(seq_value) = seq.value else { panic!("{seq:?}") };
        assert_eq!(seq.quality, Quality::Good);
        let generation = u16::try_from(seq_value >> 16).unwrap();
        assert_eq!(seq_value & 0xFFFF, i64::from(!generation), "no such generation");
        for binding in registers.bindings() {
            let Some(found) = update.readings.iter().find(|reading| reading.tag == binding.tag) else { continue };
            assert_eq!(found.quality, Quality::Good, "{found:?}");
            assert_eq!(found.value, registers.expected(&binding, generation), "generation {generation}");
        }
        assert!(generation <= *self.newest.lock().unwrap(), "from the future");
        let mut told = self.told.lock().unwrap();
        let (last, count) = &mut told[usize::from(update.station.0)];
        assert!(generation >= *last, "an old value came back: {generation} after {last}");
        (*last, *count) = (generation, *count + 1);
    }

    fn show(&self, generation: u16) {
        // First, since somebody may read it at once.
        *self.newest.lock().unwrap() = generation;
        self.registers.lock().unwrap().show(generation);
    }
}

/// Raises the generation and writes, until enough answers have passed.
async fn drive(judge: &Judge, proxy: &Proxy, writers: &[mpsc::Sender<TagWrite>]) {
    let mut generation = 0;
    while proxy.answers.load(Ordering::Relaxed) < ANSWERS {
        generation += 1;
        judge.show(generation);
        for (station, writer) in (0..).zip(writers) {
            let values = vec![(Tag::Ack, TagValue::Int(i64::from(generation)))];
            let _ = writer.try_send(TagWrite { station: StationId(station), values });
        }
        let until = proxy.answers.load(Ordering::Relaxed) + 150;
        while proxy.answers.load(Ordering::Relaxed) < until {
            sleep(MS).await;
        }
    }
}

async fn judged(registers: Registers, server: u16, serve: impl Future<Output = ()>, seed: u64) {
    let proxy = Proxy::new(server, MS * 30, seed).await;
    let sessions: Vec<Settings> = (0..SESSIONS).map(|device| settings(proxy.port(), device, &registers)).collect();
    let judge = Arc::new(Judge {
        registers: Mutex::new(registers),
        newest: Mutex::new(0),
        told: Mutex::new(vec![(0, 0); usize::from(SESSIONS)]),
    });
    judge.show(0);
    let (mut writers, mut tasks) = (Vec::new(), Vec::new());
    for session in sessions {
        let (writer, writes) = mpsc::channel(64);
        writers.push(writer);
        tasks.push(device::run(session, judge.sink(), writes));
    }
    let work = async {
        drive(&judge, &proxy, &writers).await;
        drop(writers);
    };
    let all = async {
        tokio::select! {
            () = proxy.run() => {}
            () = serve => {}
            _ = async { tokio::join!(work, futures_util::future::join_all(tasks)) } => {}
        }
    };
    timeout(PATIENCE, all).await.expect("enough answers in time");
    let tried: Vec<usize> = proxy.tried.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    println!(
        "{} answers; {:?}",
        proxy.answers.load(Ordering::Relaxed),
        proxy::ALL.iter().zip(&tried).collect::<Vec<_>>()
    );
    assert!(tried.iter().all(|count| *count >= 10), "{tried:?}");
    let told = judge.told.lock().unwrap().clone();
    assert!(told.iter().all(|(last, count)| *last > 0 && *count > 10), "{told:?}");
}

// F59, F64, F65, F66, F68
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_from_a_wrong_frame_of_the_simulated_plant_is_used() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let registers = Registers::plant();
    let Registers::Plant(image) = &registers else { panic!("the plant") };
    let serve = modbus_server::run(listener, Arc::clone(image));
    judged(registers, port, async { drop(serve.await) }, 0x5EA1_0001).await;
}

// F59, F64, F65, F66, F68
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_from_a_wrong_frame_of_a_foreign_server_is_used() {
    let Some(foreign) = Foreign::start() else { return };
    let port = foreign.port;
    judged(Registers::Foreign(foreign), port, std::future::pending(), 0x5EA1_0002).await;
}
