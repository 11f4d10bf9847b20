//! The demo's broker: rumqttd inside this process, on loopback, for a machine that has no broker installed.
//!
//! It keeps everything in memory and knows no sessions across restarts: good for a demonstration and for tests, not for a
//! plant. Its limits are set so that a subscriber that keeps reading loses nothing: the log of a subscription is cut only
//! beyond [`LOG_BYTES`], and a subscriber that lags behind that much loses the oldest part, which it finds by its numbers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rumqttd::protocol::v5::V5;
use rumqttd::{ConnectionSettings, LinkType, Router, RouterConfig, Server, ServerSettings};
use tokio::sync::oneshot;

const SEGMENT_BYTES: usize = 16 << 20;
const SEGMENTS: usize = 16;
/// What one subscription may lag behind before the oldest messages are dropped.
pub const LOG_BYTES: usize = SEGMENT_BYTES * SEGMENTS;
const PACKET_BYTES_MAX: usize = 1 << 20;
const CONNECTIONS_MAX: usize = 32;

/// A broker that runs. Dropping it stops it, and every connection with it; its idle router stays until the process ends.
#[derive(Debug)]
pub struct DemoBroker {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    port: u16,
}

impl DemoBroker {
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Closes the port and all connections, and waits until they are closed.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take()
            && stop.send(()).is_err()
        {
            tracing::debug!("the demo's broker had ended by itself");
        }
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Drop for DemoBroker {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts a broker for MQTT 5 on a loopback port; 0 takes a free one. Returns when it accepts connections.
pub fn start(port: u16) -> io::Result<DemoBroker> {
    // rumqttd reports a taken port only to its log, so the port is tried here first.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.local_addr()?.port();
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (stop, stopped) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // The router's thread has no end: it holds a sender to itself. Without connections it sleeps and costs its memory.
    let router = Router::new(0, router_config()).spawn();
    let mut server = Server::new(server_settings(listen), router, V5);
    let thread = thread::Builder::new().name("demo-broker".into()).spawn(move || {
        runtime.block_on(async move {
            tokio::select! {
                ended = server.start(LinkType::Remote) => tracing::warn!(?ended, "the demo's broker ended"),
                _ = stopped => {}
            }
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
    })?;
    let broker = DemoBroker { stop: Some(stop), thread: Some(thread), port };
    wait_until_open(listen)?;
    Ok(broker)
}

fn wait_until_open(listen: SocketAddr) -> io::Result<()> {
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for _ in 0..200 {
        match std::net::TcpStream::connect_timeout(&listen, Duration::from_millis(100)) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err(last)
}

fn router_config() -> RouterConfig {
    RouterConfig {
        max_connections: CONNECTIONS_MAX,
        max_outgoing_packet_count: 200,
        max_segment_size: SEGMENT_BYTES,
        max_segment_count: SEGMENTS,
        ..RouterConfig::default()
    }
}

fn server_settings(listen: SocketAddr) -> ServerSettings {
    ServerSettings {
        name: "demo".into(),
        listen,
        tls: None,
        next_connection_delay_ms: 0,
        connections: ConnectionSettings {
            connection_timeout_ms: 5000,
            max_payload_size: PACKET_BYTES_MAX,
            max_inflight_count: 200,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    }
}
