//! What every protocol server of the simulated plant is on the wire: a listener of loopback, without security, that serves for ever.
//!
//! Nothing of tags or maps is here: a server brings its answers (`modbus`) or its nodes (`opcua`, `run_opcua`).

use std::future::{Future, Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use opcua::server::diagnostics::NamespaceMetadata;
use opcua::server::node_manager::memory::simple_node_manager;
use opcua::server::{ANONYMOUS_USER_TOKEN_ID, Server, ServerBuilder, ServerEndpoint, ServerHandle};
use opcua::types::MessageSecurityMode;
use tokio::net::{TcpListener, TcpStream};
use tokio_modbus::server::{Service, tcp};
use tokio_modbus::{ExceptionCode, Response, SlaveRequest};

/// Not the namespace of any tag: the library keeps the application's own namespace for itself.
const APPLICATION: &str = "urn:sealgate:sim:server";

/// What a Modbus server says to one request.
pub(super) type Answer = Result<Response, ExceptionCode>;

struct Answering<F>(F);

impl<F: Fn(SlaveRequest<'static>) -> Answer> Service for Answering<F> {
    type Request = SlaveRequest<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = Ready<Answer>;

    fn call(&self, asked: Self::Request) -> Self::Future {
        ready((self.0)(asked))
    }
}

/// Serves until the listener fails; dropping the future closes every connection.
pub(super) async fn modbus<F>(listener: TcpListener, answer: F) -> io::Result<()>
where
    F: Fn(SlaveRequest<'static>) -> Answer + Send + Sync + 'static,
{
    let service = Arc::new(Answering(answer));
    let on_connected = |stream: TcpStream, _| {
        let service = Arc::clone(&service);
        async move {
            stream.set_nodelay(true)?;
            Ok(Some((service, stream)))
        }
    };
    // A broken connection is the client's matter; the next one is served as if nothing had been.
    tcp::Server::new(listener).serve(&on_connected, |_| {}).await
}

/// An OPC UA server of these namespaces, which have the indices from 2 on. `pki_dir` is a folder that the library may write to.
pub(super) fn opcua(
    address: SocketAddr,
    pki_dir: &Path,
    namespaces: &[impl AsRef<str>],
) -> Result<(Server, ServerHandle), String> {
    let host = address.ip().to_string();
    let anonymous = [ANONYMOUS_USER_TOKEN_ID.to_owned()];
    let mut builder = ServerBuilder::new()
        .application_name("Sealgate simulated plant")
        .application_uri(APPLICATION)
        .product_uri(APPLICATION)
        .host(host.clone())
        .port(address.port())
        .discovery_urls(vec![format!("opc.tcp://{host}:{}/", address.port())])
        .create_sample_keypair(false)
        .pki_dir(pki_dir)
        .subscription_poll_interval_ms(1)
        .max_array_length(4096)
        .add_endpoint(
            "none",
            ServerEndpoint::new("/", opcua::crypto::SecurityPolicy::None, MessageSecurityMode::None, &anonymous),
        )
        .default_endpoint("none");
    for uri in namespaces {
        let metadata = NamespaceMetadata { namespace_uri: uri.as_ref().to_owned(), ..NamespaceMetadata::default() };
        builder = builder.with_node_manager(simple_node_manager(metadata, uri.as_ref()));
    }
    let limits = &mut builder.limits_mut().subscriptions;
    limits.min_sampling_interval_ms = 0.0;
    limits.min_publishing_interval_ms = 1.0;
    limits.max_monitored_item_queue_size = 1000;
    builder.build()
}

/// Serves until the listener fails or `follow`, which shows the plant's changes, ends; dropping the future ends both.
pub(super) async fn run_opcua(
    server: Server,
    handle: &ServerHandle,
    listener: TcpListener,
    follow: impl Future<Output = ()>,
) -> io::Result<()> {
    // Sessions are tasks of the library; they end with its token.
    let _ends_with_us = handle.token().clone().drop_guard();
    let served = async { server.run_with(listener).await.map_err(io::Error::other) };
    tokio::select! {
        ended = served => ended,
        () = follow => Ok(()),
    }
}
