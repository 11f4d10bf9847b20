//! Reads and writes per second through our device task, and through the bare client crate against the same server in the same run.
//! Goal (issue "Devices as they are in the field"): at least 0.9 × the bare client.
//!
//! Reads: 48 stations of ten tags on one device, all read again as soon as the last ones are there, as the device task does when its
//! poll is shorter than a cycle; the bare client sends the same 48 Reads, waits for all, and does nothing with them. Writes: one value
//! in one call after the other, since two values for one tag may never share one. The server counts, in callbacks.
//!
//! `cargo bench --bench device -- [--seconds 1] [--rounds 5]`, about 25 s.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark measures and prints")]

mod bare;
#[path = "../verdict/direct.rs"]
mod direct;
mod server;

use std::sync::{Arc, atomic::Ordering};
use std::time::{Duration, Instant};

use sealgate::device::{
    self, Address, Binding, Channel, DeviceEvent, EventSink, Link, Number, OpcuaLink, Security, Settings, StationTags,
    ValueType,
};
use sealgate::domain::tag::{DeviceId, StationId, StationKind, Tag, TagValue, TagWrite};
use server::{STATIONS, Server, TAGS, node_name};
use tokio::sync::mpsc;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let after = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        words.get(at + 1)?.parse().ok()
    };
    let length = Duration::from_secs(after("--seconds").unwrap_or(1));
    let rounds = after("--rounds").unwrap_or(5);
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    println!("device: OPC UA, operations per second; goal: at least 0.9 x the bare client");
    println!("what      bare     ours  ratio (median of {rounds})");
    for what in ["reads", "writes"] {
        let mut pairs: Vec<(f64, f64)> = (0..rounds)
            .map(|_| {
                let bare = runtime.block_on(bare::measure(&server, what, length, folder.path()));
                (bare, runtime.block_on(ours(&server, what, length, folder.path())))
            })
            .collect();
        pairs.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
        let (bare, ours) = pairs[pairs.len() / 2];
        println!("{what:<7} {bare:>6.0} {ours:>8.0}  {:.2}", ours / bare);
    }
}

async fn ours(server: &Server, what: &str, length: Duration, folder: &std::path::Path) -> f64 {
    let connected = Arc::new(tokio::sync::Notify::new());
    let told = Arc::clone(&connected);
    let sink: EventSink = Arc::new(move |event| {
        if matches!(event, DeviceEvent::Connected { .. }) {
            told.notify_one();
        }
        true
    });
    let is_reading = what == "reads";
    let (writes, waiting) = mpsc::channel(256);
    let task = tokio::spawn(device::run(settings(server, is_reading, folder), sink, waiting));
    connected.notified().await;
    let rate = if is_reading {
        count(&server.reads, length, tokio::time::sleep(length * 2)).await
    } else {
        let flood = async {
            for value in 0.. {
                let write = TagWrite { station: StationId(0), values: vec![(Tag::Ack, TagValue::Int(value % 60_000))] };
                writes.send(write).await.expect("the device task takes it");
            }
        };
        count(&server.writes, length, flood).await
    };
    drop(writes);
    task.await.expect("the device task ends with its channel");
    rate
}

/// What the server counts in a second while `work` goes on.
pub(crate) async fn count(
    counter: &std::sync::atomic::AtomicU64,
    length: Duration,
    work: impl Future<Output = ()>,
) -> f64 {
    let measure = async {
        // Warm: caches, buffers, the first full reads.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (from, began) = (counter.load(Ordering::Relaxed), Instant::now());
        tokio::time::sleep(length).await;
        (counter.load(Ordering::Relaxed) - from) as f64 / began.elapsed().as_secs_f64()
    };
    tokio::select! {
        rate = measure => rate,
        () = work => panic!("the work ended before it was measured"),
    }
}

fn settings(server: &Server, is_reading: bool, folder: &std::path::Path) -> Settings {
    let stations = if is_reading { STATIONS } else { 1 };
    Settings {
        device: DeviceId(0),
        name: "bench".to_owned(),
        link: Link::Opcua(OpcuaLink::to(
            &server.url,
            Security { channel: Channel::None, user: None },
            folder.join("ours"),
        )),
        stations: (0..stations).map(station).collect(),
        // Reads: faster than a cycle takes. Writes: no read but the look after each write.
        poll: if is_reading { Duration::from_millis(1) } else { Duration::from_secs(60) },
        request_timeout: Duration::from_secs(5),
        backoff_min: Duration::from_millis(50),
        backoff_max: Duration::from_millis(500),
    }
}

fn station(index: u8) -> StationTags {
    let bindings = TAGS.iter().map(|tag| {
        let address = Address::Node(format!("nsu={};s={}", server::NAMESPACE, node_name(index, *tag)));
        Binding::new(*tag, address, ValueType::Number(Number::U32))
    });
    StationTags { station: StationId(index), kind: StationKind::Camera, bindings: bindings.collect() }
}
