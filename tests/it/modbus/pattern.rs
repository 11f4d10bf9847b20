//! What stands in the registers behind the proxy: every value follows from its address and a generation that only rises, so that a
//! value that came for another register, or from before, cannot pass for a right one. Two servers: the simulated plant's own, and
//! a foreign one (pymodbus).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use sealgate::device::{Address, Binding, Number, Pad, ValueType};
use sealgate::domain::tag::{StationKind, Tag, TagValue};
use sealgate::sim::settings::PlantSettings;
use sealgate::sim::tags::TagImage;

const KIND: StationKind = StationKind::Packer;
const U16: ValueType = ValueType::Number(Number::U16);
const U32: ValueType = ValueType::Number(Number::U32);

pub(crate) enum Registers {
    Plant(Arc<TagImage>),
    Foreign(Foreign),
}

impl Registers {
    pub(crate) fn plant() -> Self {
        Registers::Plant(Arc::new(TagImage::new(&PlantSettings::default())))
    }

    pub(crate) fn bindings(&self) -> Vec<Binding> {
        let at = |(tag, register, value)| Binding::new(tag, Address::Register(register), value);
        let ten = ValueType::Ints { element: Number::U16, count: 10 };
        match self {
            Registers::Plant(_) => [
                (Tag::Seq, 24, U32),
                (Tag::Request, 26, U16),
                (Tag::Container, 27, U32),
                (Tag::ChildCount, 29, U16),
                (Tag::PermitAck, 30, U32),
                (Tag::LabelRead, 34, ValueType::Text { length: 72, pad: Pad::Zero }),
                (Tag::Children, 200, ValueType::Texts { length: 72, count: 10, pad: Pad::Zero }),
                (Tag::Ack, 83, U32),
            ]
            .map(at)
            .to_vec(),
            Registers::Foreign(_) => [
                (Tag::Seq, 0, U32),
                (Tag::Request, 20, ten),
                (Tag::Container, 40, ten),
                (Tag::ChildCount, 60, ten),
                (Tag::PermitAck, 80, ten),
                (Tag::Fault, 100, ten),
                (Tag::Children, 200, ValueType::Ints { element: Number::U16, count: 300 }),
                (Tag::Ack, 1001, U32),
            ]
            .map(at)
            .to_vec(),
        }
    }

    /// What a tag shows in a generation.
    pub(crate) fn expected(&self, binding: &Binding, generation: u16) -> TagValue {
        match (self, binding.tag) {
            (_, Tag::Seq) => TagValue::Int(i64::from(generation) << 16 | i64::from(!generation)),
            (Registers::Plant(_), tag) => of_plant(tag, generation),
            (Registers::Foreign(_), _) => {
                let Address::Register(start) = binding.address else { panic!("{binding:?}") };
                let words = (start..start + binding.cells()).map(|register| i64::from(word(register, generation)));
                TagValue::Ints(words.collect())
            }
        }
    }

    /// Shows the next generation, all at once.
    pub(crate) fn show(&mut self, generation: u16) {
        match self {
            Registers::Plant(image) => image.change(|tags| {
                let seq = u64::from(generation) << 16 | u64::from(!generation);
                tags.set_int(KIND, Tag::Seq, seq);
                for tag in [Tag::Request, Tag::Container, Tag::ChildCount, Tag::PermitAck, Tag::LabelRead] {
                    tags.set(KIND, tag, of_plant(tag, generation));
                }
                let TagValue::Texts(mut texts) = of_plant(Tag::Children, generation) else { panic!("texts") };
                texts.resize(64, Vec::new());
                tags.set_texts(KIND, Tag::Children, &texts);
            }),
            Registers::Foreign(foreign) => foreign.write(1000, generation),
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "any other tag of the plant is a text")]
fn of_plant(tag: Tag, generation: u16) -> TagValue {
    let number = i64::from(generation);
    let text = |place: usize| format!("{tag}{place:03}-{}", format!("{generation:06}.").repeat(8)).into_bytes();
    match tag {
        Tag::Request => TagValue::Int(i64::from(word(26, generation))),
        Tag::ChildCount => TagValue::Int(i64::from(word(29, generation))),
        Tag::Container => TagValue::Int((number * 65_537) & 0xFFFF_FFFF),
        Tag::PermitAck => TagValue::Int((number * 0x0101_0101) & 0xFFFF_FFFF),
        Tag::Children => TagValue::Texts((0..10).map(text).collect()),
        _ => TagValue::Bytes(text(0)),
    }
}

/// The same arithmetic stands in `registers.py`.
pub(crate) fn word(register: u16, generation: u16) -> u16 {
    register.wrapping_add(1).wrapping_mul(40_503) ^ generation.wrapping_mul(30_011).wrapping_add(register)
}

/// A pymodbus server in a process of its own.
pub(crate) struct Foreign {
    process: Child,
    pub(crate) port: u16,
    /// Straight to the server, beside every proxy.
    direct: TcpStream,
}

impl Foreign {
    /// `None`, aloud, where the Python package is not there; with CI set it has to be.
    pub(crate) fn start() -> Option<Self> {
        let cache = || std::env::home_dir().map(|home| home.join(".cache/sealgate/venv"));
        let venv = std::env::var_os("SEALGATE_VENV").map(Into::into).or_else(cache)?;
        let python = venv.join("bin/python");
        let found = Command::new(&python).args(["-c", "import pymodbus"]).stderr(Stdio::null()).status();
        if !found.is_ok_and(|status| status.success()) {
            assert!(std::env::var_os("CI").is_none(), "pymodbus is not in {}", venv.display());
            println!("SKIPPED: pymodbus is not in {}", venv.display());
            return None;
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/modbus/registers.py");
        let mut process =
            Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
        let port = first.trim().parse().unwrap();
        let direct = TcpStream::connect(("127.0.0.1", port)).unwrap();
        Some(Self { process, port, direct })
    }

    fn write(&mut self, register: u16, value: u16) {
        let mut request = vec![0, 1, 0, 0, 0, 6, 1, 6];
        request.extend(register.to_be_bytes().into_iter().chain(value.to_be_bytes()));
        self.direct.write_all(&request).unwrap();
        let mut answer = [0; 12];
        self.direct.read_exact(&mut answer).unwrap();
        assert_eq!(answer.as_slice(), request);
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
