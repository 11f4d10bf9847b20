//! Every station over Modbus TCP: holding registers over the shared tag memory.
//!
//! Addresses count from 0. Each station has a block of registers: the packer's begins at 0, the palletizer's at 4000, the
//! printer's at 8000, the camera's at 10000, the rejector's at 16000. Numbers of 32 bits fill two registers, high word first; texts
//! hold two bytes a register, high byte first, padded with NUL; `children` is a fixed array of 64 such texts. Registers that no tag fills read 0. One request is one
//! look at the plant, or one change of it: a block written by one request arrives whole. A write to anything that the
//! contract does not call written is refused with exception 2 and changes nothing; a value out of range, with exception 3.
//! A read that touches a value whose quality is not good is refused with exception 4. Any unit identifier is answered; function codes 3, 4, 6 and 16 are known.

use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_modbus::{ExceptionCode, Request, Response};

use super::loopback;
use super::tags::{Shape, StationValue, TagImage, Tags, WriteRefusal};
use crate::domain::tag::{Quality, StationKind, Tag, TagValue};

/// What every station has at the same place of its block.
const COMMON: &[(Tag, u16)] = &[
    (Tag::Heartbeat, 0),
    (Tag::Epoch, 1),
    (Tag::State, 3),
    (Tag::Fault, 4),
    (Tag::Identity, 5),
    (Tag::HeartbeatOut, 80),
    (Tag::EpochOut, 81),
];

const PRINTER: &[(Tag, u16)] = &[
    (Tag::PrintedSeq, 24),
    (Tag::AcceptedSeq, 26),
    (Tag::NextSeq, 28),
    (Tag::Remaining, 30),
    (Tag::FlushDone, 32),
    (Tag::Data, 83),
    (Tag::DataSeq, 119),
    (Tag::Flush, 121),
];

const CAMERA: &[(Tag, u16)] = &[
    (Tag::Seq, 24),
    (Tag::Overrun, 26),
    (Tag::Ack, 83),
    (Tag::Expected, 85),
    (Tag::Track, 200),
    (Tag::Grade, 400),
    (Tag::Code, 600),
];

const REJECTOR: &[(Tag, u16)] = &[
    (Tag::InCount, 24),
    (Tag::EndSeq, 26),
    (Tag::VerdictEcho, 28),
    (Tag::PhantomCount, 29),
    (Tag::BinCount, 31),
    (Tag::BinFull, 33),
    (Tag::VerdictWord, 83),
    (Tag::RunPermit, 84),
    (Tag::Verdict, 85),
    (Tag::VerdictTrack, 86),
    (Tag::Ends, 200),
];

const CLOSER: &[(Tag, u16)] = &[
    (Tag::Seq, 24),
    (Tag::Request, 26),
    (Tag::Container, 27),
    (Tag::ChildCount, 29),
    (Tag::PermitAck, 30),
    (Tag::CloseResult, 32),
    (Tag::GateState, 33),
    (Tag::LabelRead, 34),
    (Tag::Ack, 83),
    (Tag::Token, 85),
    (Tag::TtlMs, 87),
    (Tag::Reason, 89),
    (Tag::Label, 90),
    (Tag::Reply, 126),
    (Tag::ReplySeq, 127),
    (Tag::Children, 200),
];

/// Where each tag lies in its station's block. What is polled lies together from 0, what is written together from 80, and what
/// makes the machine act on it last, so that either is one request; lists begin at 200.
fn layout(kind: StationKind) -> impl Iterator<Item = (Tag, u16)> {
    let own = match kind {
        StationKind::Printer => PRINTER,
        StationKind::Camera => CAMERA,
        StationKind::Rejector => REJECTOR,
        StationKind::Packer | StationKind::Palletizer => CLOSER,
    };
    COMMON.iter().chain(own).copied()
}

/// The stations served and where their blocks begin.
const STATIONS: &[(StationKind, u16)] = &[
    (StationKind::Packer, 0),
    (StationKind::Palletizer, 4000),
    (StationKind::Printer, 8000),
    (StationKind::Camera, 10_000),
    (StationKind::Rejector, 16_000),
];

/// One past the last register.
const REGISTERS: u16 = 20_000;

/// A Modbus PDU carries at most so many registers.
const READ_MAX: u16 = 125;

/// Serves until the listener fails; dropping the future closes every connection.
pub async fn run(listener: TcpListener, image: Arc<TagImage>) -> io::Result<()> {
    loopback::modbus(listener, move |asked| answer(&image, asked.request)).await
}

fn answer(image: &TagImage, request: Request<'_>) -> Result<Response, ExceptionCode> {
    match request {
        Request::ReadHoldingRegisters(address, count) => {
            read(image, address, count).map(Response::ReadHoldingRegisters)
        }
        Request::ReadInputRegisters(address, count) => read(image, address, count).map(Response::ReadInputRegisters),
        Request::WriteSingleRegister(address, word) => {
            write(image, address, &[word])?;
            Ok(Response::WriteSingleRegister(address, word))
        }
        Request::WriteMultipleRegisters(address, words) => {
            write(image, address, &words)?;
            let count = u16::try_from(words.len()).map_err(|_| ExceptionCode::IllegalDataValue)?;
            Ok(Response::WriteMultipleRegisters(address, count))
        }
        Request::ReadCoils(..)
        | Request::ReadDiscreteInputs(..)
        | Request::WriteSingleCoil(..)
        | Request::WriteMultipleCoils(..)
        | Request::ReportServerId
        | Request::MaskWriteRegister(..)
        | Request::ReadWriteMultipleRegisters(..)
        | Request::ReadDeviceIdentification(..)
        | Request::Custom(..) => Err(ExceptionCode::IllegalFunction),
    }
}

/// A tag's registers, counted from 0 over all stations.
struct Span {
    kind: StationKind,
    tag: Tag,
    shape: Shape,
    start: usize,
    end: usize,
}

/// The tags that touch the registers from `start` to before `end`.
fn spans(tags: &Tags, start: usize, end: usize) -> Vec<Span> {
    let all = STATIONS.iter().flat_map(|(kind, base)| {
        layout(*kind).filter_map(move |(tag, offset)| {
            let shape = tags.shape(*kind, tag)?;
            let start = usize::from(*base) + usize::from(offset);
            Some(Span { kind: *kind, tag, shape, start, end: start + registers(shape) })
        })
    });
    all.filter(|span| span.start < end && start < span.end).collect()
}

fn read(image: &TagImage, address: u16, count: u16) -> Result<Vec<u16>, ExceptionCode> {
    if count == 0 || count > READ_MAX {
        return Err(ExceptionCode::IllegalDataValue);
    }
    let start = usize::from(address);
    let end = start + usize::from(count);
    if end > usize::from(REGISTERS) {
        return Err(ExceptionCode::IllegalDataAddress);
    }
    let mut words = vec![0; usize::from(count)];
    image.read(|tags| {
        for span in spans(tags, start, end) {
            if tags.quality(span.kind, span.tag) != Quality::Good {
                return Err(ExceptionCode::ServerDeviceFailure);
            }
            let own = tags.value(span.kind, span.tag).map(|v| encode(span.shape, v));
            for (word, at) in own.unwrap_or_default().into_iter().zip(span.start..) {
                let place = at.checked_sub(start).and_then(|at| words.get_mut(at));
                if let Some(place) = place {
                    *place = word;
                }
            }
        }
        Ok(())
    })?;
    Ok(words)
}

fn write(image: &TagImage, address: u16, words: &[u16]) -> Result<(), ExceptionCode> {
    let start = usize::from(address);
    let end = start + words.len();
    let values = image.read(|tags| written_values(tags, start, end, words))?;
    image.write(values).map_err(|refusal| match refusal {
        WriteRefusal::UnknownTag | WriteRefusal::ReadOnly => ExceptionCode::IllegalDataAddress,
        WriteRefusal::WrongType => ExceptionCode::IllegalDataValue,
    })
}

/// What the registers written make of the tags: a tag written in part keeps its other registers.
fn written_values(tags: &Tags, start: usize, end: usize, words: &[u16]) -> Result<Vec<StationValue>, ExceptionCode> {
    let mut values = Vec::new();
    let mut covered = 0;
    for span in spans(tags, start, end) {
        let old = tags.value(span.kind, span.tag);
        let mut own = old.map(|v| encode(span.shape, v)).unwrap_or_default();
        for (place, at) in own.iter_mut().zip(span.start..) {
            let word = at.checked_sub(start).and_then(|at| words.get(at));
            if let Some(word) = word {
                *place = *word;
                covered += 1;
            }
        }
        values.push((span.kind, span.tag, decode(span.shape, &own)));
    }
    if covered < words.len() || values.is_empty() {
        return Err(ExceptionCode::IllegalDataAddress);
    }
    Ok(values)
}

/// Registers that a value of this shape fills.
pub fn registers(shape: Shape) -> usize {
    match shape {
        Shape::Bool | Shape::U16 => 1,
        Shape::U32 | Shape::Milli => 2,
        Shape::Text(length) => length.div_ceil(2),
        Shape::Texts { count, length } => count * length.div_ceil(2),
        Shape::Ints(count) | Shape::Millis(count) => count * 2,
    }
}

fn encode(shape: Shape, value: &TagValue) -> Vec<u16> {
    let mut words = match value {
        TagValue::Bool(value) => vec![u16::from(*value)],
        TagValue::Int(value) if registers(shape) == 1 => vec![low_word(*value)],
        TagValue::Int(value) | TagValue::Milli(value) => double(*value).to_vec(),
        TagValue::Ints(values) | TagValue::Millis(values) => values.iter().flat_map(|value| double(*value)).collect(),
        TagValue::Bytes(bytes) => packed(bytes, registers(shape)),
        TagValue::Texts(texts) => {
            let each = registers(shape).checked_div(texts.len()).unwrap_or(0);
            texts.iter().flat_map(|text| packed(text, each)).collect()
        }
    };
    words.resize(registers(shape), 0);
    words
}

fn low_word(value: i64) -> u16 {
    u16::try_from(value & 0xFFFF).unwrap_or(0)
}

fn double(value: i64) -> [u16; 2] {
    [low_word(value >> 16), low_word(value)]
}

fn packed(bytes: &[u8], count: usize) -> Vec<u16> {
    let mut words: Vec<u16> = bytes
        .chunks(2)
        .map(|pair| {
            let byte = |at: usize| pair.get(at).copied().unwrap_or(0);
            u16::from_be_bytes([byte(0), byte(1)])
        })
        .collect();
    words.resize(count, 0);
    words
}

fn unpacked(words: &[u16]) -> Vec<u8> {
    let bytes = words.iter().flat_map(|word| word.to_be_bytes());
    bytes.take_while(|byte| *byte != 0).collect()
}

fn number(words: &[u16]) -> i64 {
    words.iter().fold(0, |value, word| value << 16 | i64::from(*word))
}

fn decode(shape: Shape, words: &[u16]) -> TagValue {
    let numbers = |words: &[u16]| words.chunks(2).map(number).collect();
    match shape {
        Shape::Bool => TagValue::Bool(number(words) != 0),
        Shape::U16 | Shape::U32 => TagValue::Int(number(words)),
        Shape::Milli => TagValue::Milli(number(words)),
        Shape::Ints(_) => TagValue::Ints(numbers(words)),
        Shape::Millis(_) => TagValue::Millis(numbers(words)),
        Shape::Text(_) => TagValue::Bytes(unpacked(words)),
        Shape::Texts { length, .. } => {
            let each = length.div_ceil(2).max(1);
            TagValue::Texts(words.chunks(each).map(unpacked).collect())
        }
    }
}

/// The tag map of this server, as an operator writes it: `case_slots` and `pallet_slots` children are read, at most 64.
pub fn modbus_map(case_slots: usize, pallet_slots: usize) -> String {
    let mut map = String::from(MAP_HEAD);
    let settings = super::settings::PlantSettings::default();
    let tags = Tags::new(&settings);
    for (kind, base) in STATIONS {
        let slots = if *kind == StationKind::Palletizer { pallet_slots } else { case_slots };
        map.push_str(match kind {
            StationKind::Camera => "\n[camera]\nring = 64\n\n",
            StationKind::Rejector => "\n[rejector]\nends_ring = 256\nverdict_depth = 16\n\n",
            StationKind::Printer | StationKind::Packer | StationKind::Palletizer => "\n",
        });
        // The plant takes a verdict in one word or in two tags; a map uses one way.
        for (tag, offset) in layout(*kind).filter(|(tag, _)| ![Tag::Verdict, Tag::VerdictTrack].contains(tag)) {
            let Some(shape) = tags.shape(*kind, tag) else {
                continue;
            };
            let address = base + offset;
            let value = map_value((*kind, tag), shape, slots);
            let kind = kind.name();
            map.push_str(&format!("[{kind}.{tag}]\naddress = {address}\n{value}\n"));
        }
    }
    map
}

fn map_value((kind, tag): (StationKind, Tag), shape: Shape, slots: usize) -> String {
    let mut value = match shape {
        Shape::Bool => "type = \"bool\"\n".to_owned(),
        Shape::U16 => "type = \"u16\"\n".to_owned(),
        Shape::U32 => "type = \"u32\"\n".to_owned(),
        Shape::Milli => "type = \"u32\"\nscale = 1\n".to_owned(),
        Shape::Text(length) => format!("type = \"text\"\nlength = {length}\npad = \"zero\"\n"),
        Shape::Texts { length, count } => {
            let count = if tag == Tag::Children { slots.min(count) } else { count };
            format!("type = \"texts\"\ncount = {count}\nlength = {length}\npad = \"zero\"\n")
        }
        Shape::Ints(count) => format!("type = \"ints\"\ncount = {count}\n"),
        Shape::Millis(count) => format!("type = \"millis\"\nelement = \"u32\"\nscale = 1\ncount = {count}\n"),
    };
    if let Some(wrap) = super::tags::wrap(kind, tag) {
        value.push_str(&format!("wrap = {wrap}\n"));
    }
    value
}

const MAP_HEAD: &str = "\
# Every station of the simulated plant, Modbus TCP, holding registers counted from 0. A line takes each station from here or from
# sim-opcua.toml: the demo has packer and palletizer here, and the others with `--swap-protocols`.
# Numbers of 32 bits fill two registers, high word first; texts hold two bytes a register, high byte first, padded with NUL.
# wrap is the highest value of a counter: it counts 1 to wrap and then 1 again; 0 means none yet.
# Write registers 83 to 128 (4083 to 4128) in one request, or reply_seq after everything else of a reply.
# children has 64 slots of 36 registers; count is how many are read: the capacity of the container.
# The camera's ring and the rejector's ends are as in sim-opcua.toml; a grade is a u32 in thousandths.
# Registers between tags may be read (they are 0); none of them may be written.
addressing = 0
word_order = \"high_first\"
byte_order = \"high_first\"
gap_max = 16
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::settings::PlantSettings;
    use std::time::Duration;
    use tokio_modbus::prelude::{Reader, Slave, Writer, tcp};

    #[test]
    fn has_a_layout_without_overlaps_that_ends_in_range() {
        let tags = Tags::new(&PlantSettings::default());
        let mut all = spans(&tags, 0, usize::from(REGISTERS));
        all.sort_by_key(|span| span.start);
        assert_eq!(all.len(), tags.list().count(), "every tag of every station has its place");
        assert!(all.windows(2).all(|pair| pair[0].end <= pair[1].start));
        assert!(all.last().is_some_and(|l| l.end <= usize::from(REGISTERS)));
    }

    #[test]
    fn ships_the_map_of_this_layout() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/maps/sim-modbus.toml");
        let map = modbus_map(10, 10);
        if std::env::var_os("SEALGATE_WRITE_MAPS").is_some() {
            std::fs::write(path, &map).expect("the map is written");
        }
        let shipped = std::fs::read_to_string(path).expect("the map is there");
        assert_eq!(shipped, map, "SEALGATE_WRITE_MAPS=1 writes it anew");
    }

    #[tokio::test]
    async fn serves_a_real_client_over_loopback() {
        let image = Arc::new(TagImage::new(&PlantSettings::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let client = async {
            let mut client = tcp::connect_slave(address, Slave(1)).await.expect("connects");
            talk(&mut client, &image).await;
        };
        tokio::select! {
            ended = run(listener, Arc::clone(&image)) => panic!("the server ended: {ended:?}"),
            outcome = tokio::time::timeout(Duration::from_secs(10), client) => outcome.expect("in time"),
        }
    }

    async fn talk(client: &mut tokio_modbus::client::Context, image: &TagImage) {
        image.change(|tags| {
            tags.set_int(StationKind::Palletizer, Tag::Seq, 0x0001_0002);
            tags.set(StationKind::Palletizer, Tag::LabelRead, TagValue::Bytes(b"00\x1D".to_vec()));
        });
        let words = client.read_holding_registers(4024, 12).await;
        let words = words.expect("transport").expect("no exception");
        assert_eq!(words, [1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x3030, 0x1D00]);

        let mut reply = vec![0, 7, 0x8000, 1, 0, 500, 3];
        reply.extend(packed(b"00123456789012345675", 36));
        reply.extend([3, 0, 7]);
        let written = client.write_multiple_registers(83, &reply).await;
        written.expect("transport").expect("no exception");
        let kind = StationKind::Packer;
        image.read(|tags| {
            assert_eq!(tags.int(kind, Tag::Token), 0x8000_0001);
            assert_eq!(tags.int(kind, Tag::TtlMs), 500);
            assert_eq!(tags.bytes(kind, Tag::Label), b"00123456789012345675");
            assert_eq!(tags.int(kind, Tag::Reply), 3);
            assert_eq!(tags.int(kind, Tag::ReplySeq), 7);
        });
        for (address, words) in [(24, vec![0, 9]), (75, vec![1]), (79, vec![1, 2])] {
            let refused = client.write_multiple_registers(address, &words).await;
            assert_eq!(refused.expect("transport"), Err(ExceptionCode::IllegalDataAddress));
        }
        let single = client.write_single_register(80, 5).await;
        single.expect("transport").expect("no exception");
        assert_eq!(image.read(|tags| tags.int(kind, Tag::HeartbeatOut)), 5);
        let beyond = client.read_holding_registers(REGISTERS - 1, 2).await;
        assert_eq!(beyond.expect("transport"), Err(ExceptionCode::IllegalDataAddress));
    }
}
