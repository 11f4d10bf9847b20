//! The Modbus driver beside the client crate, over loopback, against one server in a process of its own (`server`).
//!
//! | figure | goal |
//! |---|---|
//! | reads and writes per second through a device task | ≥ 0.9 × the bare client crate, median of interleaved pairs |
//! | 10 devices with 200 tags each, read every 100 ms | ≤ 15 % of one core |
//! | a dead device, and a dead unit behind the same gateway | adds nothing to the others: median of 7 interleaved pairs ≤ 1.25 |
//!
//! `cargo bench --bench modbus -- [--seconds 1]`, about 50 s with one second for each measurement.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark measures and prints")]

mod driver;
mod server;

use std::time::{Duration, Instant};

use driver::Site;
use server::Server;
use tokio_modbus::client::{Context, Reader, Writer, tcp::attach_slave};
use tokio_modbus::prelude::Slave;

const PAIRS: usize = 7;
/// Registers of one read, in both clients.
const READ: u16 = 20;
/// Round trips behind one median of latency.
const ROUNDS: usize = 200;
const DEVICES: u8 = 10;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if words.iter().any(|word| word == "--server") {
        return server::main();
    }
    let after = |name: &str| words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
    let seconds: f64 = after("--seconds").map_or(1.0, |text| text.parse().expect("a number"));
    let span = Duration::from_secs_f64(seconds);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let server = Server::start();
    runtime.block_on(async {
        rates("reads", &server, span).await;
        rates("writes", &server, span).await;
        load(&server, span * 5).await;
        dead(&server, "a dead device", Site::with_dead_device).await;
        dead(&server, "a dead unit of the same gateway", Site::with_dead_unit).await;
    });
}

async fn bare(server: &Server) -> Context {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await.expect("the server");
    stream.set_nodelay(true).expect("a socket");
    attach_slave(stream, Slave(1))
}

/// Requests per second of the client crate, one after the other.
async fn bare_rate(kind: &str, server: &Server, span: Duration) -> f64 {
    let mut client = bare(server).await;
    let (began, mut count) = (Instant::now(), 0_u32);
    while began.elapsed() < span {
        let at = (count % 400) as u16 * 40;
        if kind == "reads" {
            let words = client.read_holding_registers(at, READ).await.expect("a connection").expect("registers");
            assert_eq!(words.len(), usize::from(READ));
        } else {
            client.write_multiple_registers(at, &[1, count as u16]).await.expect("a connection").expect("registers");
        }
        count += 1;
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}

async fn rates(kind: &str, server: &Server, span: Duration) {
    let mut ratios = Vec::new();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let floor = bare_rate(kind, server, span / 2).await;
        let rate = if kind == "reads" {
            driver::read_rate(server, span / 2).await
        } else {
            driver::write_rate(server, span / 2).await
        };
        ratios.push(rate / floor);
        ours.push(rate);
        theirs.push(floor);
    }
    let (ours, theirs, ratio) = (median(ours), median(theirs), median(ratios));
    println!("{kind:<7} per second: driver {ours:>8.0}, crate {theirs:>8.0}, ratio {ratio:.2} (goal >= 0.90)");
}

async fn load(server: &Server, span: Duration) {
    let share = driver::processor_share(server, DEVICES, span).await;
    println!("{DEVICES} devices x 200 tags every 100 ms: {:.1} % of one core (goal <= 15.0)", share * 100.0);
}

/// The same round trips without and with what is dead, in turn.
async fn dead(server: &Server, what: &str, with: fn(&Server) -> Site) {
    let (mut alone, mut beside, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let without = median(driver::round_trips(Site::alone(server), ROUNDS).await);
        let with_it = median(driver::round_trips(with(server), ROUNDS).await);
        ratios.push(with_it / without);
        alone.push(without);
        beside.push(with_it);
    }
    let (alone, beside, ratio) = (median(alone), median(beside), median(ratios));
    println!("{what}: write to echo {alone:.0} us alone, {beside:.0} us beside it, ratio {ratio:.2} (goal <= 1.25)");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
