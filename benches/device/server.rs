//! The server of both sides, in a runtime of its own: cameras of numbers, and counters of what is read and written.

use std::path::Path;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use opcua::crypto::SecurityPolicy;
use opcua::server::address_space::VariableBuilder;
use opcua::server::diagnostics::NamespaceMetadata;
use opcua::server::node_manager::memory::{SimpleNodeManager, simple_node_manager};
use opcua::server::{ANONYMOUS_USER_TOKEN_ID, ServerBuilder, ServerEndpoint};
use opcua::types::{DataTypeId, DataValue, MessageSecurityMode, NodeId, ObjectId, StatusCode, Variant};
use sealgate::domain::tag::Tag;
use sealgate::sim::opcua_server::listen;

pub(crate) const NAMESPACE: &str = "urn:bench";
pub(crate) const STATIONS: u8 = 48;
/// The epoch and the guard are read before and after all others.
pub(crate) const TAGS: [Tag; 10] = [
    Tag::Epoch,
    Tag::Seq,
    Tag::Heartbeat,
    Tag::State,
    Tag::Fault,
    Tag::Code,
    Tag::Track,
    Tag::Grade,
    Tag::Overrun,
    Tag::Ack,
];

pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) namespace: u16,
    pub(crate) reads: Arc<AtomicU64>,
    pub(crate) writes: Arc<AtomicU64>,
    _runtime: tokio::runtime::Runtime,
}

pub(crate) fn node_name(station: u8, tag: Tag) -> String {
    format!("{station}.{tag}")
}

impl Server {
    pub(crate) fn start(folder: &Path) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a thread");
        // The listener and the library's sampler of values both want a runtime around them.
        let _inside = runtime.enter();
        let listener = listen(([127, 0, 0, 1], 0).into()).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let url = format!("opc.tcp://127.0.0.1:{port}/");
        let anonymous = [ANONYMOUS_USER_TOKEN_ID.to_owned()];
        let metadata = NamespaceMetadata { namespace_uri: NAMESPACE.to_owned(), ..NamespaceMetadata::default() };
        let none = ServerEndpoint::new("/", SecurityPolicy::None, MessageSecurityMode::None, &anonymous);
        let (server, handle) = ServerBuilder::new()
            .application_name("bench")
            .application_uri("urn:bench:server")
            .product_uri("urn:bench:server")
            .host("127.0.0.1")
            .port(port)
            .discovery_urls(vec![url.clone()])
            .create_sample_keypair(false)
            .pki_dir(folder.join("server"))
            .add_endpoint("none", none)
            .with_node_manager(simple_node_manager(metadata, "bench"))
            .build()
            .expect("a server");
        let space = handle.node_managers().get_of_type::<SimpleNodeManager>().expect("our node manager");
        let namespace = handle.get_namespace_index(NAMESPACE).expect("our namespace");
        let (reads, writes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        for station in 0..STATIONS {
            for tag in TAGS {
                let name = node_name(station, tag);
                let id = NodeId::new(namespace, name.as_str());
                VariableBuilder::new(&id, name.as_str(), name.as_str())
                    .value(Variant::from(1u32))
                    .data_type(DataTypeId::UInt32)
                    .writable()
                    .organized_by(ObjectId::ObjectsFolder)
                    .insert(&mut *space.address_space().write());
            }
            let counter = Arc::clone(&reads);
            // Once in each group: the heartbeat is no proof.
            space.inner().add_read_callback(
                NodeId::new(namespace, node_name(station, Tag::Heartbeat)),
                move |_, _, _| {
                    counter.fetch_add(1, Ordering::Relaxed);
                    Ok(DataValue::new_now(1u32))
                },
            );
        }
        let counter = Arc::clone(&writes);
        space.inner().add_write_callback(NodeId::new(namespace, node_name(0, Tag::Ack)), move |_, _| {
            counter.fetch_add(1, Ordering::Relaxed);
            StatusCode::Good
        });
        runtime.spawn(async move { server.run_with(listener).await });
        Self { url, namespace, reads, writes, _runtime: runtime }
    }
}
