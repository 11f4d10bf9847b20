//! The HTTP door: what the local socket answers, under `/api/v1`, for people and systems at other computers. It decides nothing: each
//! request goes to the same desk, under the same names and with the same answers, as whoever the cookie's session belongs to.
//!
//! Contract:
//! - Nothing is told and nothing is done without a session: `POST /api/v1/login` is the way in, and the OpenAPI document the one thing
//!   that is everybody's. While nobody has an account nobody comes in here at all; the first one is made at the line.
//! - The right of a route is asked of the line before its body is read, and what acts is asked again where it is decided.
//! - What acts is a POST of `application/json` from the same origin; the cookie is `HttpOnly`, `SameSite=Strict`, and `Secure` where the
//!   door is open beyond this computer. There TLS is the business of what stands before it, since this release speaks none.
//! - A repeat under the same `Idempotency-Key` gets the first answer; see `repeats`.
//! - Every refusal has one body and a status of [`Refusal`]'s short list. Bad input is never a 5xx; 503 says that the line is busy.
//! - Bounds, each with its behaviour: [`CONNECTIONS_MAX`] at once, the next wait in the kernel's queue; a head within [`HEAD_MAX`], else
//!   the connection closes; a body within [`BODY_MAX`], else 408; of the route's size, else 413; one order at a time, else 503;
//!   [`REQUESTS_BURST`] requests and [`REQUESTS_PER_S`] a second, else 429; a connection lasts [`CONNECTION_MAX`].

mod guard;
mod limits;
pub mod openapi;
pub mod outcome;
mod repeats;
pub mod routes;
mod serve;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::wire::command::{ClientAnswer, ClientRequest};

pub use outcome::Refusal;

/// The cookie that carries the token of a session, 256 random bits. The journal knows its hash alone.
pub const COOKIE: &str = "sealgate_session";
pub const CONNECTIONS_MAX: usize = 32;
pub const REQUESTS_PER_S: usize = 200;
pub const REQUESTS_BURST: usize = 400;
/// For the head of a request, and for a connection that asks nothing.
pub const HEAD_MAX: Duration = Duration::from_secs(10);
/// For a body; an order of 32 MiB comes at 1 MiB/s.
pub const BODY_MAX: Duration = Duration::from_secs(30);
/// The desk answers in less, or says that it cannot.
pub const ANSWER_MAX: Duration = Duration::from_secs(120);
/// After that it is closed with the request that it is at; a client that reads nothing has no longer either.
pub const CONNECTION_MAX: Duration = Duration::from_secs(300);
const LAST_REQUEST_MAX: Duration = Duration::from_secs(160);
/// A code of 4096 bytes, percent-encoded, and room beside it.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 64;
const REFILL_EVERY: Duration = Duration::from_millis(100);

/// As the config says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub listen: SocketAddr,
}

/// One request for the desk, with the place where its answer is awaited. Dropping it answers that the daemon is stopping.
#[derive(Debug)]
pub struct Asked {
    pub request: ClientRequest,
    pub answer: oneshot::Sender<ClientAnswer>,
}

/// Takes a request, or gives it up (false) where there is no room.
pub type Sink = Arc<dyn Fn(Asked) -> bool + Send + Sync>;

/// The open door.
#[derive(Debug)]
pub struct Web {
    listener: TcpListener,
    address: SocketAddr,
}

impl Web {
    /// Must be called on a tokio runtime.
    pub async fn bind(settings: &Settings) -> io::Result<Self> {
        let listener = TcpListener::bind(settings.listen).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it is open; the port is a real one.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is dropped. `version` is the program's.
    pub async fn run(self, sink: Sink, version: &'static str) {
        let pace = Arc::new(limits::Pace::new(REQUESTS_BURST));
        let house = serve::House::new(sink, Arc::clone(&pace), self.address.ip().is_loopback());
        let router = serve::router(&Arc::new(house), version);
        let mut connections = JoinSet::new();
        let mut refill = tokio::time::interval(REFILL_EVERY);
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                    Ok((stream, _)) => drop(connections.spawn(connection(stream, router.clone()))),
                    Err(error) => {
                        // Out of file handles: waiting is all that helps, and the line does not depend on it.
                        tracing::warn!(%error, "the HTTP door takes no connection");
                        tokio::time::sleep(REFILL_EVERY).await;
                    }
                },
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                _ = refill.tick() => pace.refill(REQUESTS_PER_S / 10),
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = match timeout(CONNECTION_MAX, connection.as_mut()).await {
        Ok(ended) => ended,
        Err(_) => {
            connection.as_mut().graceful_shutdown();
            timeout(LAST_REQUEST_MAX, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection ended early");
    }
}
