//! Devices as they are: all four tables, places that do not exist, values that are not held, and gateways with dead units.

use std::collections::BTreeSet;

use super::*;
use crate::{
    device::settings::{ByteOrder, ModbusLink, WordOrder},
    domain::tag::DeviceId,
};

fn of_link(link: ModbusLink, bindings: Vec<Binding>) -> Settings {
    let stations = vec![StationTags { station: StationId(4), kind: StationKind::Packer, bindings }];
    testing::settings(Link::Modbus(link), stations)
}

/// Answers every frame of a connection with what `answer` makes of unit, function and the two numbers of the request; `None`
/// means silence.
async fn speak(mut stream: TcpStream, answer: impl AsyncFn(u8, u8, u16, u16) -> Option<Vec<u8>>) {
    let mut header = [0; 7];
    while stream.read_exact(&mut header).await.is_ok() {
        let mut body = vec![0; usize::from(u16::from_be_bytes([header[4], header[5]])) - 1];
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        let number = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        let Some(body) = answer(header[6], body[0], number(1), number(3)).await else { continue };
        let mut frame = header.to_vec();
        frame[5] = body.len() as u8 + 1;
        frame.extend(body);
        if stream.write_all(&frame).await.is_err() {
            return;
        }
    }
}

fn registers(function: u8, words: impl IntoIterator<Item = u16>) -> Vec<u8> {
    let bytes: Vec<u8> = words.into_iter().flat_map(u16::to_be_bytes).collect();
    [vec![function, bytes.len() as u8], bytes].concat()
}

#[tokio::test]
async fn reads_all_four_tables_and_the_bits_of_a_register() {
    let (socket, port) = listener().await;
    let line = Line::default();
    let mut fault = Binding::new(Tag::Fault, Address::Input(5), ValueType::Bool);
    fault.bit = Some(9);
    let mut container = Binding::new(Tag::Container, Address::Input(10), ValueType::Number(Number::U32));
    container.word_order = Some(WordOrder::LowFirst);
    let mut label = Binding::new(Tag::LabelRead, Address::Register(20), ValueType::Text { length: 6, pad: Pad::Zero });
    (label.byte_order, label.terminator) = (Some(ByteOrder::LowFirst), Some(b'\r'));
    let bindings = vec![
        at(Tag::Seq, 0, U16),
        fault,
        container,
        label,
        Binding::new(Tag::GateState, Address::Coil(17), ValueType::Bool),
        Binding::new(Tag::CloseResult, Address::Discrete(3), ValueType::Bool),
    ];
    let answer = async |_, function, start, count: u16| {
        Some(match (function, start, count) {
            (1, 17, 1) => vec![1, 1, 1],
            (2, 3, 1) => vec![2, 1, 0],
            (3, 0, 1) => registers(3, [7]),
            (3, 20, 3) => registers(3, [0x3030, 0x0D31, 0x7878]),
            (4, 5, 1) => registers(4, [0x0200]),
            (4, 10, 2) => registers(4, [0x0002, 0x0001]),
            _ => vec![function | 0x80, 2],
        })
    };
    let peer = async { speak(socket.accept().await.unwrap().0, answer).await };
    let test = async |_keep| {
        let next = line.wait_reading(0, Tag::Seq, TagValue::Int(7)).await;
        let told = line.events()[next - 1].clone();
        let expected = [
            (Tag::Fault, TagValue::Bool(true)),
            (Tag::Container, TagValue::Int(0x0001_0002)),
            (Tag::LabelRead, TagValue::Bytes(b"001".to_vec())),
            (Tag::GateState, TagValue::Bool(true)),
            (Tag::CloseResult, TagValue::Bool(false)),
        ];
        for (tag, value) in expected {
            let found = reading(&told, tag).unwrap();
            assert_eq!((&found.value, found.quality), (&value, Quality::Good), "{tag}");
        }
    };
    tokio::select! {
        () = peer => {}
        () = beside(of_link(testing::modbus_link(port), bindings), &line, test) => {}
    }
}

// F60
#[tokio::test]
async fn one_register_that_is_not_there_costs_its_own_tag_alone_and_no_storm() {
    let (socket, port) = listener().await;
    let line = Line::default();
    let refused = AtomicUsize::new(0);
    let mut link = testing::modbus_link(port);
    link.gap_max = 20;
    // Register 3 does not exist, and whoever reads over it gets exception 2.
    let answer = async |_, function, start: u16, count: u16| {
        if (start..start + count).contains(&3) {
            refused.fetch_add(1, Ordering::Relaxed);
            return Some(vec![function | 0x80, 2]);
        }
        Some(registers(function, (start..start + count).map(|at| at * 10)))
    };
    let bindings = [(Tag::Seq, 0), (Tag::Request, 1), (Tag::Container, 3), (Tag::GateState, 4), (Tag::ChildCount, 9)];
    let bindings = bindings.map(|(tag, register)| at(tag, register, U16)).to_vec();
    let peer = async { speak(socket.accept().await.unwrap().0, answer).await };
    let test = async |_keep| {
        let next = line.wait_reading(0, Tag::Seq, TagValue::Int(0)).await;
        let told = line.events()[next - 1].clone();
        assert_eq!(reading(&told, Tag::Container).unwrap().quality, Quality::Bad(2));
        for (tag, value) in [(Tag::Request, 10), (Tag::GateState, 40), (Tag::ChildCount, 90)] {
            assert_eq!(reading(&told, tag).unwrap().value, TagValue::Int(value), "{tag}");
        }
    };
    tokio::select! {
        () = peer => {}
        () = beside(of_link(link, bindings), &line, test) => {}
    }
    assert!(refused.load(Ordering::Relaxed) <= 3, "{refused:?}");
}

#[tokio::test]
async fn a_hole_that_cannot_be_read_and_a_read_that_is_too_long_are_found_out() {
    let (socket, port) = listener().await;
    let line = Line::default();
    let mut link = testing::modbus_link(port);
    link.gap_max = 20;
    // Register 2 does not exist and belongs to nobody; no more than 4 registers are read at once.
    let answer = async |_, function, start: u16, count: u16| {
        if (start..start + count).contains(&2) || count > 4 {
            return Some(vec![function | 0x80, 3]);
        }
        Some(registers(function, (start..start + count).map(|at| at * 10)))
    };
    let tags = [Tag::Seq, Tag::Request, Tag::Container, Tag::GateState, Tag::ChildCount, Tag::State, Tag::Fault];
    let bindings = tags.into_iter().zip([0, 1, 3, 4, 5, 6, 7]).map(|(tag, register)| at(tag, register, U16)).collect();
    let peer = async { speak(socket.accept().await.unwrap().0, answer).await };
    let test = async |_keep| {
        let next = line.wait_reading(0, Tag::Fault, TagValue::Int(70)).await;
        let told = line.events()[next - 1].clone();
        for (tag, value) in tags.into_iter().zip([0, 10, 30, 40, 50, 60, 70]) {
            assert_eq!(reading(&told, tag).unwrap().value, TagValue::Int(value), "{tag}");
        }
    };
    tokio::select! {
        () = peer => {}
        () = beside(of_link(link, bindings), &line, test) => {}
    }
}

// F62
#[tokio::test]
async fn a_busy_device_is_asked_again_and_then_its_tag_is_bad() {
    let (socket, port) = listener().await;
    let line = Line::default();
    let asked = AtomicUsize::new(0);
    let answer = async |_, function, start: u16, count: u16| match start {
        0 if asked.fetch_add(1, Ordering::Relaxed) < 2 => Some(vec![function | 0x80, 6]),
        100 => Some(vec![function | 0x80, 5]),
        _ => Some(registers(function, (0..count).map(|_| 8))),
    };
    let peer = async { speak(socket.accept().await.unwrap().0, answer).await };
    let bindings = vec![at(Tag::Seq, 0, U16), at(Tag::Container, 100, U16)];
    let test = async |_keep| {
        let next = line.wait_reading(0, Tag::Seq, TagValue::Int(8)).await;
        assert_eq!(reading(&line.events()[next - 1], Tag::Container).unwrap().quality, Quality::Bad(5));
    };
    tokio::select! {
        () = peer => {}
        () = beside(of_link(testing::modbus_link(port), bindings), &line, test) => {}
    }
}

// F61
#[tokio::test]
async fn a_device_failure_makes_its_block_bad_and_heals_by_itself() {
    let (socket, port) = listener().await;
    let line = Line::default();
    let is_broken = AtomicBool::new(true);
    let answer = async |_, function, _, count: u16| match is_broken.load(Ordering::Relaxed) {
        true => Some(vec![function | 0x80, 4]),
        false => Some(registers(function, (0..count).map(|_| 8))),
    };
    let peer = async { speak(socket.accept().await.unwrap().0, answer).await };
    let test = async |_keep| {
        let bad = |event: &DeviceEvent| reading(event, Tag::Seq).is_some_and(|seq| seq.quality == Quality::Bad(4));
        let next = line.wait(0, "the bad value", bad).await;
        is_broken.store(false, Ordering::Relaxed);
        line.wait_reading(next, Tag::Seq, TagValue::Int(8)).await;
    };
    tokio::select! {
        () = peer => {}
        () = beside(of_link(testing::modbus_link(port), vec![at(Tag::Seq, 0, U16)]), &line, test) => {}
    }
    assert!(!line.events().iter().any(is_disconnected));
}

#[tokio::test]
async fn a_value_that_does_not_read_back_is_refused_and_what_follows_it_is_not_written() {
    let (socket, port) = listener().await;
    let (plc, line) = (Plc::new(), Line::default());
    let mut settings = whole_packer(port);
    for binding in &mut settings.stations[0].bindings {
        binding.read_back = binding.tag == Tag::Token;
    }
    // The device keeps the high word of every token to itself.
    plc.0.mask.store(0x00FF, Ordering::Relaxed);
    let test = async |writes: tokio::sync::mpsc::Sender<TagWrite>| {
        line.wait(0, "the connection", is_connected).await;
        writes.send(write(&[(Tag::Token, 0x11), (Tag::ReplySeq, 1)])).await.unwrap();
        until("the first write", || plc.written().len() == 2).await;
        writes.send(write(&[(Tag::Token, 0x1234), (Tag::ReplySeq, 2)])).await.unwrap();
        let refused = DeviceEvent::WriteRefused {
            device: DeviceId(7),
            station: StationId(4),
            tag: Tag::Token,
            status: 0x80AF_0000,
        };
        line.wait(0, "the refusal", |event| *event == refused).await;
        writes.send(write(&[(Tag::Ack, 9)])).await.unwrap();
        until("the last write", || plc.written().len() == 4).await;
    };
    tokio::select! {
        () = serve(plc.clone(), socket) => {}
        () = beside(settings, &line, test) => {}
    }
    let written = plc.written();
    assert_eq!(written, [(100, vec![0, 0x11]), (103, vec![1]), (100, vec![0, 0x1234]), (110, vec![9])]);
}

/// A gateway in front of units 1 and 9: each connection is served question by question.
struct Gateway {
    socket: TcpListener,
    value: AtomicUsize,
    /// What unit 9 does.
    nine: AtomicUsize,
    open: AtomicUsize,
    open_max: AtomicUsize,
    /// Units that were asked over each connection.
    asked: Mutex<Vec<BTreeSet<u8>>>,
}

const ANSWERS: usize = 0;
const SILENT: usize = 1;
const UNREACHABLE: usize = 2;

impl Gateway {
    async fn run(&self) {
        let mut open = futures_util::stream::FuturesUnordered::new();
        loop {
            tokio::select! {
                stream = self.socket.accept() => {
                    let connection = self.asked.lock().unwrap().len();
                    self.asked.lock().unwrap().push(BTreeSet::new());
                    open.push(self.attend(stream.unwrap().0, connection));
                }
                Some(()) = futures_util::StreamExt::next(&mut open) => {}
            }
        }
    }

    async fn attend(&self, stream: TcpStream, connection: usize) {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.open_max.fetch_max(open, Ordering::Relaxed);
        let answer = async |unit, function, _, count: u16| {
            self.asked.lock().unwrap()[connection].insert(unit);
            match (unit, self.nine.load(Ordering::Relaxed)) {
                (9, SILENT) => None,
                (9, UNREACHABLE) => Some(vec![function | 0x80, 11]),
                _ => Some(registers(function, (0..count).map(|_| self.value.load(Ordering::Relaxed) as u16))),
            }
        };
        speak(stream, answer).await;
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn gateway() -> (Gateway, [Settings; 2]) {
    let (socket, port) = listener().await;
    let link = testing::modbus_link(port);
    let units = [1, 9].map(|unit| {
        let link = ModbusLink { unit, ..link.clone() };
        let mut settings = of_link(link, vec![at(Tag::Seq, 0, U16)]);
        settings.device = DeviceId(unit);
        settings.request_timeout = MS * 60;
        settings
    });
    let gateway = Gateway {
        socket,
        value: AtomicUsize::new(1),
        nine: AtomicUsize::new(ANSWERS),
        open: AtomicUsize::default(),
        open_max: AtomicUsize::default(),
        asked: Mutex::default(),
    };
    (gateway, units)
}

/// Unit 9 dies in the way given, and comes back; unit 1 is there all the time.
async fn outlives(death: usize, reason: &str) {
    let (gateway, [first, ninth]) = gateway().await;
    let (one, nine) = (Line::default(), Line::default());
    let test = async |_keep| {
        let story = async |_keep| {
            one.wait_reading(0, Tag::Seq, TagValue::Int(1)).await;
            let next = nine.wait_reading(0, Tag::Seq, TagValue::Int(1)).await;
            assert_eq!(gateway.asked.lock().unwrap().as_slice(), [BTreeSet::from([1, 9])], "one connection for both");
            gateway.nine.store(death, Ordering::Relaxed);
            let gone = |event: &DeviceEvent| matches!(event, DeviceEvent::Disconnected { reason: found, .. } if found.contains(reason));
            let next = nine.wait(next, "the loss", gone).await;
            for value in 2..20 {
                gateway.value.store(value, Ordering::Relaxed);
                one.wait_reading(0, Tag::Seq, TagValue::Int(value as i64)).await;
            }
            gateway.nine.store(ANSWERS, Ordering::Relaxed);
            let next = nine.wait(next, "the connection", is_connected).await;
            nine.wait_reading(next, Tag::Seq, TagValue::Int(19)).await;
            until("one connection again", || gateway.open.load(Ordering::Relaxed) == 1).await;
        };
        beside(ninth, &nine, story).await;
    };
    tokio::select! {
        () = gateway.run() => {}
        () = beside(first, &one, test) => {}
    }
    assert!(!one.events().iter().any(is_disconnected), "a dead unit is no trouble of the others");
    assert!(gateway.open_max.load(Ordering::Relaxed) <= 2);
}

// F59
#[tokio::test]
async fn a_silent_unit_behind_a_gateway_never_disconnects_the_others() {
    outlives(SILENT, "no answer in time").await;
}

// F63
#[tokio::test]
async fn a_unit_that_the_gateway_cannot_reach_is_away_alone() {
    outlives(UNREACHABLE, "the gateway gets no answer from the unit (exception 11)").await;
}
