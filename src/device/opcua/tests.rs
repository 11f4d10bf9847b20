//! Against a real server (async-opcua) that is stopped, restarted and cut off. The fallback poll is out of reach here, so what a
//! subscribing task learns, it learns from notifications.

mod hostile;
mod renewal;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use opcua::{
    crypto::SecurityPolicy,
    server::{
        ANONYMOUS_USER_TOKEN_ID, ServerBuilder, ServerHandle, ServerUserToken,
        address_space::VariableBuilder,
        diagnostics::NamespaceMetadata,
        node_manager::{
            NodeManagerBuilder,
            memory::{SimpleNodeManager, simple_node_manager},
        },
    },
    types::{DataTypeId, DataValue, MessageSecurityMode, NodeId, ObjectId, StatusCode, Variant},
};
use tokio::{
    io::copy,
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Runtime,
    sync::mpsc::Sender,
    task::JoinSet,
    time::sleep,
};

use crate::{
    device::{
        DeviceEvent,
        opcua::own,
        settings::{
            Address, Binding, Channel, Link, MessageMode, Number, OpcuaLink, Own, Pad, Policy, Profile, ReadMode,
            Security, Settings, StationTags, User, ValueType,
        },
        testing::{self, Line, MS, beside, is_connected, is_disconnected, reading, until},
    },
    domain::tag::{DeviceId, Quality, StationId, StationKind, Tag, TagValue, TagWrite},
};

const NAMESPACE: &str = "urn:plc";
const U32: ValueType = ValueType::Number(Number::U32);
const TEXT: ValueType = ValueType::Text { length: 40, pad: Pad::Zero };

/// A camera with the nodes seq, epoch, code, grade, ack and expected. It dies with its runtime, sockets and all.
struct Plc {
    runtime: Option<Runtime>,
    handle: ServerHandle,
    nodes: Arc<SimpleNodeManager>,
    namespace: u16,
    port: u16,
    written: Arc<Mutex<Vec<(&'static str, Variant)>>>,
    _pki: tempfile::TempDir,
}

impl Plc {
    /// On `port`, or on a free one where it is 0. A restarted server may have other namespaces before its own.
    async fn start(port: u16, namespaces_before: usize) -> Self {
        Self::start_with(port, namespaces_before, |builder| builder).await
    }

    async fn start_with(
        port: u16,
        namespaces_before: usize,
        change: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Self {
        let listener = loop {
            match listen(port) {
                Ok(listener) => break listener,
                Err(_) => sleep(MS).await,
            }
        };
        let port = listener.local_addr().unwrap().port();
        let pki = tempfile::tempdir().unwrap();
        let uri = own::made().1.application_uri;
        own::copied_to(pki.path());
        let mut builder = ServerBuilder::new()
            .application_name("plc")
            .application_uri(uri)
            .product_uri("urn:plc-server")
            .pki_dir(pki.path())
            .host("127.0.0.1")
            .port(port)
            .discovery_urls(vec![format!("opc.tcp://127.0.0.1:{port}/")])
            .subscription_poll_interval_ms(1)
            .add_endpoint(
                "none",
                ("/", SecurityPolicy::None, MessageSecurityMode::None, &[ANONYMOUS_USER_TOKEN_ID] as &[&str]),
            );
        builder.limits_mut().subscriptions.min_publishing_interval_ms = 1.0;
        builder.limits_mut().subscriptions.min_sampling_interval_ms = 0.0;
        for index in 0..namespaces_before {
            builder = builder.with_node_manager(manager(&format!("urn:other:{index}")));
        }
        let (server, handle) = change(builder).with_node_manager(manager(NAMESPACE)).build().unwrap();
        let namespace = handle.get_namespace_index(NAMESPACE).unwrap();
        let nodes = handle.node_managers().get_by_name::<SimpleNodeManager>(NAMESPACE).unwrap();
        let written = Arc::new(Mutex::new(Vec::new()));
        fill(&nodes, namespace, &written);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            server.run_with(listener).await
        });
        Self { runtime: Some(runtime), handle, nodes, namespace, port, written, _pki: pki }
    }

    fn set(&self, name: &str, value: impl Into<Variant>) {
        self.put(name, DataValue::new_now(value.into()));
    }

    fn put(&self, name: &str, value: DataValue) {
        let id = NodeId::new(self.namespace, name);
        self.nodes.set_value(self.handle.subscriptions(), &id, None, value).unwrap();
    }

    fn kill(&mut self) {
        self.runtime.take().expect("killed once").shutdown_background();
    }
}

impl Drop for Plc {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The accepted sockets inherit the option; without it notifications wait for delayed acknowledgements.
fn listen(port: u16) -> std::io::Result<std::net::TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_nodelay(true)?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    socket.listen(16)?.into_std()
}

fn manager(uri: &str) -> impl NodeManagerBuilder + use<> {
    let namespace = NamespaceMetadata { namespace_uri: uri.to_owned(), ..Default::default() };
    simple_node_manager(namespace, uri)
}

fn fill(nodes: &Arc<SimpleNodeManager>, namespace: u16, written: &Arc<Mutex<Vec<(&'static str, Variant)>>>) {
    let all = [
        ("seq", Variant::from(0u32), DataTypeId::UInt32),
        ("epoch", Variant::from(1u32), DataTypeId::UInt32),
        ("code", Variant::from(""), DataTypeId::String),
        ("grade", Variant::from(0.0f64), DataTypeId::Double),
        ("ack", Variant::from(0u32), DataTypeId::UInt32),
        ("expected", Variant::from(""), DataTypeId::String),
    ];
    for (name, value, kind) in all {
        let id = NodeId::new(namespace, name);
        VariableBuilder::new(&id, name, name)
            .value(value)
            .data_type(kind)
            .writable()
            .organized_by(ObjectId::ObjectsFolder)
            .insert(&mut *nodes.address_space().write());
        let log = written.clone();
        nodes.inner().add_write_callback(id, move |data, _| {
            log.lock().unwrap().push((name, data.value.unwrap_or_default()));
            StatusCode::Good
        });
    }
}

fn node(tag: Tag, name: &str, value: ValueType) -> Binding {
    Binding::new(tag, Address::Node(format!("nsu={NAMESPACE};s={name}")), value)
}

fn camera(port: u16, mode: ReadMode, pki: &tempfile::TempDir) -> Settings {
    let link = OpcuaLink {
        url: format!("opc.tcp://127.0.0.1:{port}/"),
        mode,
        security: Security { channel: Channel::None, user: None },
        pki_dir: pki.path().to_owned(),
        own: Own::InPlace,
        certificate_host: None,
        profile: Profile::Generic,
    };
    let bindings = vec![
        node(Tag::Seq, "seq", U32),
        node(Tag::Epoch, "epoch", U32),
        node(Tag::Code, "code", TEXT),
        node(Tag::Grade, "grade", ValueType::Number(Number::F64)),
        node(Tag::Text, "missing", TEXT),
        node(Tag::Ack, "ack", U32),
        node(Tag::Expected, "expected", TEXT),
    ];
    let stations = vec![StationTags { station: StationId(1), kind: StationKind::Camera, bindings }];
    testing::settings(Link::Opcua(link), stations)
}

fn write(values: &[(Tag, TagValue)]) -> TagWrite {
    TagWrite { station: StationId(1), values: values.to_vec() }
}

#[tokio::test]
async fn tells_everything_once_then_news_and_a_missing_node_spoils_only_itself() {
    let (plc, line, pki) = (Plc::start(0, 0).await, Line::default(), tempfile::tempdir().unwrap());
    let test = async |_keep: Sender<TagWrite>| {
        let next = line.wait(0, "the connection", is_connected).await;
        let next = line.wait_reading(next, Tag::Seq, TagValue::Int(0)).await;
        let first = line.events()[next - 1].clone();
        let missing = reading(&first, Tag::Text).unwrap();
        assert_eq!(missing.quality, Quality::Bad(StatusCode::BadNodeIdUnknown.bits()));
        assert!(reading(&first, Tag::Seq).unwrap().source_us.is_some());
        plc.set("grade", 3.7f64);
        let next = line.wait_reading(next, Tag::Grade, TagValue::Milli(3700)).await;
        plc.put("grade", DataValue { status: Some(StatusCode::BadSensorFailure), ..DataValue::new_now(1.0f64) });
        let bad = |event: &DeviceEvent| {
            let bad = Quality::Bad(StatusCode::BadSensorFailure.bits());
            reading(event, Tag::Grade).is_some_and(|reading| reading.quality == bad)
        };
        let next = line.wait(next, "the bad grade", bad).await;
        plc.set("code", "0109506000134352\u{1d}21A1");
        let code = b"0109506000134352\x1d21A1".to_vec();
        line.wait_reading(next, Tag::Code, TagValue::Bytes(code)).await;
    };
    beside(camera(plc.port, ReadMode::Poll, &pki), &line, test).await;
    assert_eq!(line.events().len(), 5, "what did not change was not told again");
}

#[tokio::test]
async fn writes_in_order_and_all_of_a_write_or_nothing() {
    let (plc, line, pki) = (Plc::start(0, 0).await, Line::default(), tempfile::tempdir().unwrap());
    let text = |text: &str| TagValue::Bytes(text.as_bytes().to_vec());
    let test = async |writes: Sender<TagWrite>| {
        line.wait(0, "the connection", is_connected).await;
        writes.send(write(&[(Tag::Expected, text("A")), (Tag::Ack, TagValue::Int(1))])).await.unwrap();
        writes.send(write(&[(Tag::Ack, TagValue::Int(2)), (Tag::Expected, text("B"))])).await.unwrap();
        writes.send(write(&[(Tag::Expected, text("C")), (Tag::Ack, TagValue::Int(-1))])).await.unwrap();
        let refused = DeviceEvent::WriteRefused {
            device: DeviceId(7),
            station: StationId(1),
            tag: Tag::Ack,
            status: StatusCode::BadOutOfRange.bits(),
        };
        line.wait(0, "the refusal", |event| *event == refused).await;
        writes.send(write(&[(Tag::Ack, TagValue::Int(3))])).await.unwrap();
        until("the last write", || plc.written.lock().unwrap().len() >= 5).await;
    };
    beside(camera(plc.port, ReadMode::Poll, &pki), &line, test).await;
    let expected = [
        ("expected", Variant::from("A")),
        ("ack", Variant::from(1u32)),
        ("ack", Variant::from(2u32)),
        ("expected", Variant::from("B")),
        ("ack", Variant::from(3u32)),
    ];
    assert_eq!(*plc.written.lock().unwrap(), expected);
}

#[tokio::test]
async fn notifications_are_alive_again_after_the_server_restarted_with_other_namespaces() {
    let (mut plc, line, pki) = (Plc::start(0, 0).await, Line::default(), tempfile::tempdir().unwrap());
    let settings = camera(plc.port, ReadMode::Subscribe, &pki);
    let test = async |_keep: Sender<TagWrite>| {
        let mut next = line.wait_reading(0, Tag::Seq, TagValue::Int(0)).await;
        for seq in 1..4u32 {
            plc.set("seq", seq);
            next = line.wait_reading(next, Tag::Seq, TagValue::Int(i64::from(seq))).await;
        }
        plc.kill();
        next = line.wait(next, "the loss", is_disconnected).await;
        plc = Plc::start(plc.port, 2).await;
        next = line.wait(next, "the connection", is_connected).await;
        next = line.wait_reading(next, Tag::Seq, TagValue::Int(0)).await;
        for seq in 11..15u32 {
            plc.set("seq", seq);
            next = line.wait_reading(next, Tag::Seq, TagValue::Int(i64::from(seq))).await;
        }
    };
    beside(settings, &line, test).await;
}

#[tokio::test]
async fn what_found_no_room_is_offered_again_although_nothing_notifies_again() {
    let (plc, line, pki) = (Plc::start(0, 0).await, Line::default(), tempfile::tempdir().unwrap());
    let settings = camera(plc.port, ReadMode::Subscribe, &pki);
    let test = async |_keep: Sender<TagWrite>| {
        let next = line.wait_reading(0, Tag::Seq, TagValue::Int(0)).await;
        line.fill_up(5);
        plc.set("seq", 1u32);
        line.wait_reading(next, Tag::Seq, TagValue::Int(1)).await;
    };
    beside(settings, &line, test).await;
}

/// Between the task and the server; when frozen, nothing passes and nobody is told.
async fn proxy(front: TcpListener, back: u16, frozen: Arc<AtomicBool>) {
    let mut links = JoinSet::new();
    loop {
        let (near, _) = front.accept().await.unwrap();
        let frozen = frozen.clone();
        links.spawn(async move {
            let far = TcpStream::connect(("127.0.0.1", back)).await.unwrap();
            let ((mut near_in, mut near_out), (mut far_in, mut far_out)) = (near.into_split(), far.into_split());
            tokio::select! {
                _ = copy(&mut near_in, &mut far_out) => return,
                _ = copy(&mut far_in, &mut near_out) => return,
                () = async { while !frozen.load(Ordering::Relaxed) { sleep(MS).await } } => {}
            }
            // The sockets stay open.
            std::future::pending::<()>().await;
        });
    }
}

/// What a subscribing task learns here, it learns from notifications.
async fn follows(plc: &Plc, line: &Line, mut next: usize, seqs: std::ops::Range<u32>) -> usize {
    for seq in seqs {
        plc.set("seq", seq);
        next = line.wait_reading(next, Tag::Seq, TagValue::Int(i64::from(seq))).await;
    }
    next
}

#[tokio::test]
async fn notifications_come_back_each_time_the_connection_is_lost_and_the_server_is_not() {
    let (plc, line, pki) = (Plc::start(0, 0).await, Line::default(), tempfile::tempdir().unwrap());
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = camera(front.local_addr().unwrap().port(), ReadMode::Subscribe, &pki);
    let frozen = Arc::new(AtomicBool::new(false));
    let test = async |_keep: Sender<TagWrite>| {
        let mut next = line.wait_reading(0, Tag::Seq, TagValue::Int(0)).await;
        next = follows(&plc, &line, next, 1..4).await;
        for round in 1..4u32 {
            frozen.store(true, Ordering::Relaxed);
            next = line.wait(next, "the loss", is_disconnected).await;
            frozen.store(false, Ordering::Relaxed);
            next = line.wait(next, "the connection", is_connected).await;
            next = follows(&plc, &line, next, round * 10..round * 10 + 3).await;
        }
    };
    tokio::select! {
        () = proxy(front, plc.port, frozen.clone()) => {}
        () = beside(settings, &line, test) => {}
    }
}

#[tokio::test]
async fn a_server_without_subscriptions_is_polled() {
    let plc = Plc::start_with(0, 0, |mut builder| {
        builder.limits_mut().subscriptions.max_subscriptions_per_session = 0;
        builder
    })
    .await;
    let (line, pki) = (Line::default(), tempfile::tempdir().unwrap());
    let test = async |_keep: Sender<TagWrite>| {
        let next = line.wait_reading(0, Tag::Seq, TagValue::Int(0)).await;
        follows(&plc, &line, next, 1..4).await;
    };
    beside(camera(plc.port, ReadMode::Subscribe, &pki), &line, test).await;
}

// F49
#[tokio::test]
async fn a_queue_that_runs_over_loses_no_news() {
    let (plc, line, pki) = (Plc::start(0, 0).await, Line::default(), tempfile::tempdir().unwrap());
    let mut settings = camera(plc.port, ReadMode::Subscribe, &pki);
    settings.poll = MS * 100;
    let test = async |_keep: Sender<TagWrite>| {
        let next = line.wait_reading(0, Tag::Seq, TagValue::Int(0)).await;
        // Far more than the queue holds, between two publishes.
        (1..=200u32).for_each(|seq| plc.set("seq", seq));
        let next = line.wait_reading(next, Tag::Seq, TagValue::Int(200)).await;
        follows(&plc, &line, next, 201..204).await;
    };
    beside(settings, &line, test).await;
}

#[tokio::test]
async fn a_group_longer_than_a_read_may_be_is_read_in_parts_and_still_proven() {
    let plc = Plc::start_with(0, 0, |mut builder| {
        builder.limits_mut().operational.max_nodes_per_read = 3;
        builder.limits_mut().operational.max_nodes_per_write = 1;
        builder
    })
    .await;
    let (line, pki) = (Line::default(), tempfile::tempdir().unwrap());
    let test = async |writes: Sender<TagWrite>| {
        let next = line.wait_reading(0, Tag::Seq, TagValue::Int(0)).await;
        plc.set("code", "A1");
        let next = follows(&plc, &line, next, 1..2).await;
        let code = reading(&line.events()[next - 1], Tag::Code).unwrap().value.clone();
        assert_eq!(code, TagValue::Bytes(b"A1".to_vec()));
        writes.send(write(&[(Tag::Ack, TagValue::Int(1))])).await.unwrap();
        writes.send(write(&[(Tag::Ack, TagValue::Int(2))])).await.unwrap();
        until("both writes", || plc.written.lock().unwrap().len() == 2).await;
    };
    beside(camera(plc.port, ReadMode::Poll, &pki), &line, test).await;
}

async fn survives_half_open(mode: ReadMode) {
    let (plc, line, pki) = (Plc::start(0, 0).await, Line::default(), tempfile::tempdir().unwrap());
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = camera(front.local_addr().unwrap().port(), mode, &pki);
    let frozen = Arc::new(AtomicBool::new(false));
    let test = async |_keep: Sender<TagWrite>| {
        let next = line.wait_reading(0, Tag::Seq, TagValue::Int(0)).await;
        frozen.store(true, Ordering::Relaxed);
        let gone = |event: &DeviceEvent| matches!(event, DeviceEvent::Disconnected { reason, .. } if reason.contains("no answer in time"));
        let next = line.wait(next, "the loss", gone).await;
        frozen.store(false, Ordering::Relaxed);
        let next = line.wait(next, "the connection", is_connected).await;
        let next = line.wait_reading(next, Tag::Seq, TagValue::Int(0)).await;
        plc.set("seq", 5u32);
        line.wait_reading(next, Tag::Seq, TagValue::Int(5)).await;
    };
    tokio::select! {
        () = proxy(front, plc.port, frozen.clone()) => {}
        () = beside(settings, &line, test) => {}
    }
}

#[tokio::test]
async fn a_silent_server_is_found_by_the_next_read() {
    survives_half_open(ReadMode::Poll).await;
}

#[tokio::test]
async fn a_silent_server_is_found_by_the_keep_alive_where_nothing_is_read() {
    survives_half_open(ReadMode::Subscribe).await;
}

#[tokio::test]
async fn an_untrusted_server_is_refused_until_a_person_trusts_its_certificate() {
    let plc = Plc::start_with(0, 0, |builder| {
        builder
            .trust_client_certs(true)
            .add_user_token("line", ServerUserToken::user_pass("line", "secret"))
            .add_endpoint(
                "secure",
                ("/", SecurityPolicy::Basic256Sha256, MessageSecurityMode::SignAndEncrypt, &["line"] as &[&str]),
            )
    })
    .await;
    let (line, pki) = (Line::default(), tempfile::tempdir().unwrap());
    own::copied_to(pki.path());
    let mut settings = camera(plc.port, ReadMode::Poll, &pki);
    settings.request_timeout = MS * 5000;
    if let Link::Opcua(link) = &mut settings.link {
        link.security = Security {
            channel: Channel::Secure { policy: Policy::Basic256Sha256, mode: MessageMode::SignAndEncrypt },
            user: Some(User::Password { name: "line".to_owned(), password: "secret".to_owned() }),
        };
    }
    let test = async |_keep: Sender<TagWrite>| {
        let refused =
            |event: &DeviceEvent| matches!(event, DeviceEvent::Disconnected { reason, .. } if reason.contains("trust"));
        let next = line.wait(0, "the refusal", refused).await;
        let pending = std::fs::read_dir(pki.path().join("pending")).unwrap().next().unwrap().unwrap();
        std::fs::rename(pending.path(), pki.path().join("trusted").join("plc.der")).unwrap();
        let next = line.wait(next, "the connection", is_connected).await;
        line.wait_reading(next, Tag::Seq, TagValue::Int(0)).await;
    };
    beside(settings, &line, test).await;
}
