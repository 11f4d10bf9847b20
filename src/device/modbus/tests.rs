//! Against a real server (tokio-modbus), and against peers that answer late, short or torn.

mod field;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};
use tokio_modbus::{
    ExceptionCode, Request, Response,
    server::{
        Service,
        tcp::{Server, accept_tcp_connection},
    },
};

use crate::{
    device::{
        DeviceEvent, Signature,
        settings::{Address, Binding, Link, Number, Pad, Settings, StationTags, Table, ValueType},
        testing::{self, Line, MS, beside, is_connected, is_disconnected, reading, until},
    },
    domain::tag::{Quality, StationId, StationKind, Tag, TagValue, TagWrite},
};

/// A device with 300 registers; what lies beyond is illegal.
#[derive(Clone)]
struct Plc(Arc<Memory>);

struct Memory {
    registers: Mutex<Vec<u16>>,
    /// In the order of their arrival.
    log: Mutex<Vec<Asked>>,
    /// Moves guard (register 0) and data (register 200) after every read of the guard, this often.
    restless: AtomicUsize,
    /// What of a written register is kept.
    mask: AtomicUsize,
}

enum Asked {
    Read(u16),
    Write(u16, Vec<u16>),
}

impl Plc {
    fn new() -> Self {
        Self(Arc::new(Memory {
            registers: Mutex::new(vec![0; 300]),
            log: Mutex::default(),
            restless: AtomicUsize::new(0),
            mask: AtomicUsize::new(0xFFFF),
        }))
    }

    fn set(&self, start: usize, words: &[u16]) {
        self.0.registers.lock().unwrap()[start..start + words.len()].copy_from_slice(words);
    }

    fn written(&self) -> Vec<(u16, Vec<u16>)> {
        let log = self.0.log.lock().unwrap();
        let writes = log.iter().filter_map(|asked| match asked {
            Asked::Read(_) => None,
            Asked::Write(start, words) => Some((*start, words.clone())),
        });
        writes.collect()
    }

    fn reads_of(&self, start: u16) -> usize {
        let log = self.0.log.lock().unwrap();
        log.iter().filter(|asked| matches!(asked, Asked::Read(at) if *at == start)).count()
    }

    fn answer(&self, request: Request<'static>) -> Result<Response, ExceptionCode> {
        let mut registers = self.0.registers.lock().unwrap();
        let mut log = self.0.log.lock().unwrap();
        match request {
            Request::ReadHoldingRegisters(start, count) => {
                log.push(Asked::Read(start));
                let range = usize::from(start)..usize::from(start + count);
                let found = registers.get(range).ok_or(ExceptionCode::IllegalDataAddress)?.to_vec();
                let left = self.0.restless.load(Ordering::Relaxed);
                if start == 0 && left > 0 {
                    self.0.restless.store(left - 1, Ordering::Relaxed);
                    registers[0] += 1;
                    registers[200] = registers[0];
                }
                Ok(Response::ReadHoldingRegisters(found))
            }
            Request::WriteMultipleRegisters(start, words) => {
                log.push(Asked::Write(start, words.to_vec()));
                let range = usize::from(start)..usize::from(start) + words.len();
                let mask = self.0.mask.load(Ordering::Relaxed) as u16;
                let kept: Vec<u16> = words.iter().map(|word| word & mask).collect();
                registers.get_mut(range).ok_or(ExceptionCode::IllegalDataAddress)?.copy_from_slice(&kept);
                Ok(Response::WriteMultipleRegisters(start, words.len() as u16))
            }
            _ => Err(ExceptionCode::IllegalFunction),
        }
    }
}

impl Service for Plc {
    type Request = Request<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = std::future::Ready<Result<Response, ExceptionCode>>;

    fn call(&self, request: Self::Request) -> Self::Future {
        std::future::ready(self.answer(request))
    }
}

async fn serve(plc: Plc, listener: TcpListener) {
    let server = Server::new(listener);
    let plc = &plc;
    let accept =
        |stream: TcpStream, at: SocketAddr| async move { accept_tcp_connection(stream, at, |_| Ok(Some(plc.clone()))) };
    let _ = server.serve(&accept, |_| {}).await;
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

const U16: ValueType = ValueType::Number(Number::U16);

fn at(tag: Tag, register: u16, value: ValueType) -> Binding {
    Binding::new(tag, Address::Register(register), value)
}

fn packer(port: u16, bindings: Vec<Binding>) -> Settings {
    let stations = vec![StationTags { station: StationId(4), kind: StationKind::Packer, bindings }];
    testing::settings(Link::Modbus(testing::modbus_link(port)), stations)
}

fn whole_packer(port: u16) -> Settings {
    packer(
        port,
        vec![
            at(Tag::Seq, 0, U16),
            at(Tag::Epoch, 1, U16),
            at(Tag::Request, 2, U16),
            at(Tag::Children, 10, ValueType::Texts { length: 4, count: 3, pad: Pad::Zero }),
            at(Tag::Token, 100, ValueType::Number(Number::U32)),
            at(Tag::Reply, 102, U16),
            at(Tag::ReplySeq, 103, U16),
            at(Tag::Ack, 110, U16),
            at(Tag::Label, 400, U16),
        ],
    )
}

fn write(values: &[(Tag, i64)]) -> TagWrite {
    let values = values.iter().map(|(tag, value)| (*tag, TagValue::Int(*value))).collect();
    TagWrite { station: StationId(4), values }
}

fn texts(texts: [&str; 3]) -> TagValue {
    TagValue::Texts(texts.iter().map(|text| text.as_bytes().to_vec()).collect())
}

#[tokio::test]
async fn tells_everything_once_and_reads_the_heavy_tags_again_only_when_the_guard_moves() {
    let (socket, port) = listener().await;
    let (plc, line) = (Plc::new(), Line::default());
    plc.set(0, &[7, 1, 0]);
    plc.set(10, &[0x4142, 0, 0x4344, 0x4546, 0, 0]);
    let test = async |_keep| {
        let next = line.wait(0, "the connection", is_connected).await;
        assert_eq!(next, 1, "nothing comes before it");
        let next = line.wait_reading(next, Tag::Children, texts(["AB", "CDEF", ""])).await;
        let read = plc.reads_of(10);
        plc.set(2, &[1]);
        let next = line.wait_reading(next, Tag::Request, TagValue::Int(1)).await;
        assert!(reading(&line.events()[next - 1], Tag::Children).is_none());
        assert_eq!(plc.reads_of(10), read);
        plc.set(10, &[0x5a5a]);
        plc.set(0, &[8]);
        line.wait_reading(next, Tag::Children, texts(["ZZ", "CDEF", ""])).await;
    };
    tokio::select! {
        () = serve(plc.clone(), socket) => {}
        () = beside(whole_packer(port), &line, test) => {}
    }
    assert_eq!(line.events().len(), 4, "what did not change was not told again");
}

// F67
#[tokio::test]
async fn a_device_without_the_signature_of_its_map_is_not_joined_and_nothing_else_of_it_is_read() {
    let (socket, port) = listener().await;
    let (plc, line) = (Plc::new(), Line::default());
    let mut settings = whole_packer(port);
    let Link::Modbus(link) = &mut settings.link else { panic!("no Modbus device") };
    link.signature = Some(Signature { table: Table::Holding, start: 40, number: Number::U32, equals: 0x0102_0304 });
    plc.set(40, &[0x0304, 0x0102]);
    let test = async |_keep| {
        let says = |event: &DeviceEvent| match event {
            DeviceEvent::Disconnected { reason, .. } => reason.contains("matches with word_order = \"low_first\""),
            _ => false,
        };
        line.wait(0, "the reason", says).await;
        assert_eq!((plc.reads_of(0), line.events().iter().filter(|event| is_connected(event)).count()), (0, 0));
        plc.set(40, &[0x0102, 0x0304]);
        line.wait(0, "the connection", is_connected).await;
        assert!(plc.reads_of(0) > 0);
    };
    tokio::select! {
        () = serve(plc.clone(), socket) => {}
        () = beside(settings, &line, test) => {}
    }
}

#[tokio::test]
async fn writes_in_order_stops_after_an_exception_and_says_what_was_refused() {
    let (socket, port) = listener().await;
    let (plc, line) = (Plc::new(), Line::default());
    let test = async |writes: tokio::sync::mpsc::Sender<TagWrite>| {
        line.wait(0, "the connection", is_connected).await;
        writes.send(write(&[(Tag::Token, 65_537), (Tag::Reply, 3), (Tag::ReplySeq, 9)])).await.unwrap();
        writes.send(write(&[(Tag::Label, 1), (Tag::Ack, 8)])).await.unwrap();
        writes.send(write(&[(Tag::Ack, 9)])).await.unwrap();
        let refused = DeviceEvent::WriteRefused {
            device: crate::domain::tag::DeviceId(7),
            station: StationId(4),
            tag: Tag::Label,
            status: 2,
        };
        line.wait(0, "the refusal", |event| *event == refused).await;
        until("all writes", || plc.written().len() >= 3).await;
    };
    tokio::select! {
        () = serve(plc.clone(), socket) => {}
        () = beside(whole_packer(port), &line, test) => {}
    }
    assert_eq!(plc.written(), [(100, vec![1, 1, 3, 9]), (400, vec![1]), (110, vec![9])]);
    assert!(!line.events().iter().any(is_disconnected), "an exception keeps the link");
}

#[tokio::test]
async fn maps_an_exception_to_the_quality_of_its_block_and_keeps_the_rest() {
    let (socket, port) = listener().await;
    let (plc, line) = (Plc::new(), Line::default());
    let settings = packer(port, vec![at(Tag::Seq, 0, U16), at(Tag::Container, 350, U16)]);
    let test = async |_keep| {
        let next = line.wait_reading(0, Tag::Seq, TagValue::Int(0)).await;
        let found = reading(&line.events()[next - 1], Tag::Container).unwrap().quality;
        assert_eq!(found, Quality::Bad(2));
        plc.set(0, &[1]);
        line.wait_reading(next, Tag::Seq, TagValue::Int(1)).await;
    };
    tokio::select! {
        () = serve(plc.clone(), socket) => {}
        () = beside(settings, &line, test) => {}
    }
    assert!(plc.reads_of(350) <= 2, "no storm against a mistake in the map");
}

// F68
#[tokio::test]
async fn never_tells_a_read_that_the_device_tore() {
    let (socket, port) = listener().await;
    let (plc, line) = (Plc::new(), Line::default());
    let settings = packer(port, vec![at(Tag::Seq, 0, U16), at(Tag::Container, 200, U16)]);
    plc.0.restless.store(41, Ordering::Relaxed);
    let test = async |_keep| {
        line.wait_reading(0, Tag::Seq, TagValue::Int(41)).await;
    };
    tokio::select! {
        () = serve(plc.clone(), socket) => {}
        () = beside(settings, &line, test) => {}
    }
    for event in line.events().iter().filter(|event| !is_connected(event)) {
        assert_eq!(reading(event, Tag::Seq).unwrap().value, reading(event, Tag::Container).unwrap().value);
    }
}

#[tokio::test]
async fn comes_back_after_the_device_restarted_and_tells_everything_anew() {
    let (socket, port) = listener().await;
    let (plc, line) = (Plc::new(), Line::default());
    let test = async |writes: tokio::sync::mpsc::Sender<TagWrite>| {
        let mut first = JoinSet::new();
        first.spawn(serve(plc.clone(), socket));
        let next = line.wait_reading(0, Tag::Seq, TagValue::Int(0)).await;
        first.shutdown().await;
        let next = line.wait(next, "the loss", is_disconnected).await;
        writes.send(write(&[(Tag::Ack, 5)])).await.unwrap();
        until("the write to be dropped", || writes.capacity() == writes.max_capacity()).await;
        let again = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let mut second = JoinSet::new();
        second.spawn(serve(plc.clone(), again));
        let next = line.wait(next, "the connection", is_connected).await;
        line.wait_reading(next, Tag::Children, texts(["", "", ""])).await;
        writes.send(write(&[(Tag::Ack, 6)])).await.unwrap();
        until("the write", || !plc.written().is_empty()).await;
    };
    beside(whole_packer(port), &line, test).await;
    assert_eq!(plc.written(), [(110, vec![6])], "what was written into the void is not written later");
}

/// Reads one request to read registers: transaction and count.
async fn request(stream: &mut TcpStream) -> Option<([u8; 2], u8)> {
    let mut frame = [0; 12];
    stream.read_exact(&mut frame).await.ok()?;
    Some(([frame[0], frame[1]], frame[11]))
}

async fn respond(stream: &mut TcpStream, transaction: [u8; 2], words: &[u16]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    let [high, low] = transaction;
    let mut frame = vec![high, low, 0, 0, 0, 3 + bytes.len() as u8, 1, 3, bytes.len() as u8];
    frame.extend(bytes);
    let _ = stream.write_all(&frame).await;
}

// F64
#[tokio::test]
async fn a_late_answer_never_answers_the_next_request() {
    let (socket, port) = listener().await;
    let line = Line::default();
    let late = AtomicUsize::new(0);
    let mut settings = packer(port, vec![at(Tag::Seq, 0, U16)]);
    settings.request_timeout = MS * 60;
    // Answers the third request of the first connection after its time, with a value of its own.
    let peer = async {
        let mut served = 0;
        loop {
            let (mut stream, _) = socket.accept().await.unwrap();
            let connection = late.load(Ordering::Relaxed);
            while let Some((transaction, _)) = request(&mut stream).await {
                served += 1;
                if connection == 0 && served == 3 {
                    late.store(1, Ordering::Relaxed);
                    sleep(MS * 90).await;
                    respond(&mut stream, transaction, &[0xDEAD]).await;
                    continue;
                }
                respond(&mut stream, transaction, &[if connection == 0 { 1 } else { 2 }]).await;
            }
        }
    };
    let test = async |_keep| {
        let next = line.wait_reading(0, Tag::Seq, TagValue::Int(1)).await;
        let next = line.wait(next, "the loss", is_disconnected).await;
        line.wait_reading(next, Tag::Seq, TagValue::Int(2)).await;
    };
    tokio::select! {
        () = peer => {}
        () = beside(settings, &line, test) => {}
    }
    let late_value = TagValue::Int(0xDEAD);
    let told = line.events();
    assert!(told.iter().filter_map(|event| reading(event, Tag::Seq)).all(|reading| reading.value != late_value));
}

// F66
#[tokio::test]
async fn a_short_answer_ends_the_connection_and_nothing_else() {
    let (socket, port) = listener().await;
    let line = Line::default();
    let settings = packer(port, vec![at(Tag::Seq, 0, ValueType::Number(Number::U32))]);
    let peer = async {
        for connection in 0.. {
            let (mut stream, _) = socket.accept().await.unwrap();
            while let Some((transaction, count)) = request(&mut stream).await {
                assert_eq!(count, 2);
                let words: &[u16] = if connection == 0 { &[9] } else { &[0, 7] };
                respond(&mut stream, transaction, words).await;
            }
        }
    };
    let test = async |_keep| {
        let short = |event: &DeviceEvent| {
            matches!(event, DeviceEvent::Disconnected { reason, .. }
                if reason.contains("a byte count of 2 and 2 bytes of values where 4 were asked for at 0"))
        };
        let next = line.wait(0, "the complaint", short).await;
        line.wait_reading(next, Tag::Seq, TagValue::Int(7)).await;
    };
    tokio::select! {
        () = peer => {}
        () = beside(settings, &line, test) => {}
    }
}

// F59
#[tokio::test]
async fn a_silent_peer_is_given_up_after_the_time_limit() {
    let (socket, port) = listener().await;
    let line = Line::default();
    let silent = AtomicBool::new(false);
    let mut settings = packer(port, vec![at(Tag::Seq, 0, U16)]);
    settings.request_timeout = MS * 50;
    let peer = async {
        loop {
            let (mut stream, _) = socket.accept().await.unwrap();
            while let Some((transaction, _)) = request(&mut stream).await {
                // The connection stays open, as it does when a cable is cut.
                if !silent.load(Ordering::Relaxed) {
                    respond(&mut stream, transaction, &[3]).await;
                }
            }
        }
    };
    let test = async |_keep| {
        let next = line.wait_reading(0, Tag::Seq, TagValue::Int(3)).await;
        silent.store(true, Ordering::Relaxed);
        let gone = |event: &DeviceEvent| matches!(event, DeviceEvent::Disconnected { reason, .. } if reason.contains("no answer in time"));
        let next = line.wait(next, "the loss", gone).await;
        silent.store(false, Ordering::Relaxed);
        line.wait(next, "the connection", is_connected).await;
    };
    tokio::select! {
        () = peer => {}
        () = beside(settings, &line, test) => {}
    }
}
