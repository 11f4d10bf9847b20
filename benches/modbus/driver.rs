//! The driver at work, as the daemon runs it: `device::run` with a sink and a channel of writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sealgate::device::{
    self, Address, Binding, ByteOrder, DeviceEvent, EventSink, Link, ModbusLink, Number, Pad, Settings, Shared,
    StationTags, ValueType, WordOrder,
};
use sealgate::domain::tag::{Access, DeviceId, StationId, StationKind, Tag, TagValue, TagWrite};
use tokio::sync::mpsc;
use tokio_modbus::client::Reader;

use crate::READ;
use crate::server::{ECHO, SILENT, Server};

const U16: ValueType = ValueType::Number(Number::U16);
const U32: ValueType = ValueType::Number(Number::U32);
/// A place where the server counts nothing and keeps what is written.
const WRITTEN: u16 = 60_000;

fn settings(port: u16, unit: u8, stations: Vec<StationTags>, poll: Duration) -> Settings {
    Settings {
        device: DeviceId(unit),
        name: "bench".to_owned(),
        link: Link::Modbus(ModbusLink {
            host: "127.0.0.1".to_owned(),
            port,
            unit,
            word_order: WordOrder::HighFirst,
            byte_order: ByteOrder::HighFirst,
            gap_max: 0,
            block_max: 125,
            signature: None,
            connections: 2,
            shared: Shared::default(),
        }),
        stations,
        poll,
        request_timeout: Duration::from_millis(100),
        backoff_min: Duration::from_millis(20),
        backoff_max: Duration::from_millis(200),
    }
}

/// Tags that are read and are no guard: a guard would keep the heavy ones from being read every time.
fn tags() -> impl Iterator<Item = Tag> {
    let guards = [Tag::Seq, Tag::Epoch, Tag::Children, Tag::LabelRead, Tag::Ends];
    Tag::ALL.iter().copied().filter(move |tag| tag.access() == Access::Read && !guards.contains(tag))
}

fn station(index: u8, bindings: Vec<Binding>) -> StationTags {
    StationTags { station: StationId(index), kind: StationKind::Packer, bindings }
}

/// Blocks of `READ` registers with a hole after each, twenty to a station.
fn blocks(stations: u8) -> Vec<StationTags> {
    let block = ValueType::Ints { element: Number::U16, count: READ };
    let of = |index: u8| {
        let starts = (0..).map(|place: u16| (u16::from(index) * 20 + place) * 40);
        let bindings = tags().take(20).zip(starts).map(|(tag, at)| Binding::new(tag, Address::Register(at), block));
        station(index, bindings.collect())
    };
    (0..stations).map(of).collect()
}

/// Runs the device until `work` is done.
async fn beside<T>(settings: Settings, sink: EventSink, work: impl AsyncFnOnce(mpsc::Sender<TagWrite>) -> T) -> T {
    let (writer, writes) = mpsc::channel(1024);
    let (done, ()) = tokio::join!(work(writer), device::run(settings, sink, writes));
    done
}

fn deaf() -> EventSink {
    Arc::new(|_| true)
}

/// Blocks read per second, each decoded and compared with what was told before.
pub(crate) async fn read_rate(server: &Server, span: Duration) -> f64 {
    let stations = 40;
    let mut settings = settings(server.port, 1, blocks(stations), Duration::from_millis(1));
    let counted = Arc::new(AtomicU64::new(0));
    // One number of its own changes at every cycle of reads, because each cycle begins with a write of ours.
    let beat = Binding::new(Tag::Heartbeat, Address::Register(WRITTEN + ECHO as u16), U16);
    let beat_out = Binding::new(Tag::HeartbeatOut, Address::Register(WRITTEN), U16);
    settings.stations.push(station(stations, vec![beat, beat_out]));
    let (echoes, mut heard) = mpsc::channel(16);
    let count = Arc::clone(&counted);
    let sink: EventSink = Arc::new(move |event| {
        if let DeviceEvent::Update(update) = event
            && update.station == StationId(stations)
        {
            count.fetch_add(1, Ordering::Relaxed);
            let _ = echoes.try_send(());
        }
        true
    });
    beside(settings, sink, async |writer| {
        heard.recv().await;
        counted.store(0, Ordering::Relaxed);
        let (began, mut beat) = (Instant::now(), 0);
        while began.elapsed() < span {
            beat = (beat + 1) % 60_000;
            let values = vec![(Tag::HeartbeatOut, TagValue::Int(beat))];
            writer.send(TagWrite { station: StationId(stations), values }).await.expect("the device runs");
            heard.recv().await;
        }
        // A cycle is all blocks, the echo's, and the write.
        let per_cycle = f64::from(u32::from(stations) * 20 + 2);
        counted.load(Ordering::Relaxed) as f64 * per_cycle / began.elapsed().as_secs_f64()
    })
    .await
}

/// Writes per second, each two registers, as fast as the channel takes them.
pub(crate) async fn write_rate(server: &Server, span: Duration) -> f64 {
    let token = Binding::new(Tag::Token, Address::Register(WRITTEN), U32);
    let settings = settings(server.port, 1, vec![station(0, vec![token])], Duration::from_millis(1));
    let (connected, mut heard) = mpsc::channel(16);
    let sink: EventSink = Arc::new(move |event| connected.try_send(event).is_ok());
    let (count, elapsed) = beside(settings, sink, async |writer| {
        heard.recv().await;
        let (began, mut count) = (Instant::now(), 0_u32);
        while began.elapsed() < span {
            let values = vec![(Tag::Token, TagValue::Int(i64::from(count)))];
            writer.send(TagWrite { station: StationId(0), values }).await.expect("the device runs");
            count += 1;
        }
        let room = writer.max_capacity();
        while writer.capacity() < room {
            tokio::task::yield_now().await;
        }
        (count, began.elapsed())
    })
    .await;
    let mut check = crate::bare(server).await;
    let last = check.read_holding_registers(WRITTEN, 2).await.expect("a connection").expect("registers");
    assert_eq!(u32::from(last[0]) << 16 | u32::from(last[1]), count - 1, "the last write arrived");
    f64::from(count) / elapsed.as_secs_f64()
}

/// The processor time of this process for `devices` devices of 200 tags, as a share of one core.
pub(crate) async fn processor_share(server: &Server, devices: u8, span: Duration) -> f64 {
    let of_station = |index: u8| {
        let values = [U16, U32, ValueType::Text { length: 40, pad: Pad::Zero }, U16];
        let mut at = u16::from(index) * 400;
        let bindings = tags().take(20).zip(values.into_iter().cycle()).map(|(tag, value)| {
            let binding = Binding::new(tag, Address::Register(at), value);
            at += value.registers() + 2;
            binding
        });
        station(index, bindings.collect())
    };
    let all = (1..=devices).map(|unit| {
        let mut settings = settings(server.port, unit, (0..10).map(of_station).collect(), Duration::from_millis(100));
        if let Link::Modbus(link) = &mut settings.link {
            link.gap_max = 8;
        }
        settings
    });
    let (writers, tasks): (Vec<_>, Vec<_>) = all
        .map(|settings| {
            let (writer, writes) = mpsc::channel(4);
            (writer, device::run(settings, deaf(), writes))
        })
        .unzip();
    let measure = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (began, before) = (Instant::now(), processor());
        tokio::time::sleep(span).await;
        let share = (processor() - before) / began.elapsed().as_secs_f64();
        drop(writers);
        share
    };
    tokio::join!(measure, futures_util::future::join_all(tasks)).0
}

/// Seconds of processor time that this process took, user and system.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let after_name = stat.rsplit(')').next().expect("a name in brackets");
    let ticks: f64 = after_name.split_whitespace().skip(11).take(2).map(|n| n.parse::<f64>().expect("ticks")).sum();
    ticks / 100.0
}

/// One device that is measured, and what else there is.
pub(crate) struct Site {
    measured: Settings,
    dead: Option<(Settings, Option<std::net::TcpListener>)>,
}

impl Site {
    pub(crate) fn alone(server: &Server) -> Self {
        let beat = Binding::new(Tag::Heartbeat, Address::Register(WRITTEN + ECHO as u16), U16);
        let beat_out = Binding::new(Tag::HeartbeatOut, Address::Register(WRITTEN), U16);
        let stations = vec![station(0, vec![beat, beat_out])];
        Self { measured: settings(server.port, 1, stations, Duration::from_millis(5)), dead: None }
    }

    /// Takes connections and says nothing, like a device behind a cut cable.
    pub(crate) fn with_dead_device(server: &Server) -> Self {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = socket.local_addr().expect("bound").port();
        let dead = settings(port, SILENT, blocks(1), Duration::from_millis(5));
        Self { dead: Some((dead, Some(socket))), ..Self::alone(server) }
    }

    /// Another unit behind the same address, over the same connection as long as it answers.
    pub(crate) fn with_dead_unit(server: &Server) -> Self {
        let alone = Self::alone(server);
        let mut dead = settings(server.port, SILENT, blocks(1), Duration::from_millis(5));
        if let (Link::Modbus(dead), Link::Modbus(live)) = (&mut dead.link, &alone.measured.link) {
            dead.shared = live.shared.clone();
        }
        Self { dead: Some((dead, None)), ..alone }
    }
}

/// Microseconds from a write to the news of its echo.
pub(crate) async fn round_trips(site: Site, rounds: usize) -> Vec<f64> {
    let (keep_dead, writes) = mpsc::channel(4);
    let (dead, _socket) = site.dead.unzip();
    let dead = async {
        match dead {
            Some(settings) => device::run(settings, deaf(), writes).await,
            None => drop(writes),
        }
    };
    let (news, mut heard) = mpsc::channel(64);
    let sink: EventSink = Arc::new(move |event| news.try_send((Instant::now(), event)).is_ok());
    let work = async |writer: mpsc::Sender<TagWrite>| {
        let mut taken = Vec::with_capacity(rounds);
        heard.recv().await;
        // What is dead has been found dead by then.
        tokio::time::sleep(Duration::from_millis(250)).await;
        while heard.try_recv().is_ok() {}
        for value in 1..=i64::try_from(rounds).expect("few") {
            let began = Instant::now();
            let values = vec![(Tag::HeartbeatOut, TagValue::Int(value))];
            writer.send(TagWrite { station: StationId(0), values }).await.expect("the device runs");
            loop {
                let (at, event) = heard.recv().await.expect("the device runs");
                let DeviceEvent::Update(update) = event else { continue };
                if update
                    .readings
                    .iter()
                    .any(|reading| reading.tag == Tag::Heartbeat && reading.value == TagValue::Int(value))
                {
                    taken.push((at - began).as_secs_f64() * 1e6);
                    break;
                }
            }
        }
        drop(keep_dead);
        taken
    };
    tokio::join!(beside(site.measured, sink, work), dead).0
}
