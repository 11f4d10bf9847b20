//! Cognex In-Sight over Modbus TCP, firmware 5.3 and later, with results buffering: status and control words, and the output
//! block with the inspection of the result that stands. Up to eight results wait behind it.
//!
//! `Results Valid` stands while a result waits to be taken; `Inspection Results Ack` takes it, and the next one is shown when it
//! was taken back. Without `Buffer Results Enable` nothing is shown: a line must not run on results that can be overwritten.
//! The bytes of a word are numbered from the low one, and texts lie so too, as the field reports.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio_modbus::{ExceptionCode, Request, Response};

use super::{KIND, Presence};
use crate::domain::tag::{Tag, TagValue};
use crate::sim::loopback;
use crate::sim::tags::{TEXT_LENGTH, TagImage, Tags};

/// The highest inspection id.
pub(super) const ID_LAST: u64 = 65_535;

const CONTROL: u16 = 0;
const STATUS: u16 = 1000;
const OUTPUT: u16 = 5000;
const END: u16 = 8000;

const TRIGGER_ENABLE: u16 = 1 << 0;
const BUFFER_RESULTS: u16 = 1 << 2;
const RESULTS_ACK: u16 = 1 << 3;

const TRIGGER_READY: u16 = 1 << 0;
const ONLINE: u16 = 1 << 7;
const BUFFER_OVERRUN: u16 = 1 << 10;
const RESULTS_VALID: u16 = 1 << 11;

/// Words of the output block before the text.
const HEAD: usize = 9;

#[derive(Debug, Default)]
struct Registers {
    control: u16,
    /// The id that was taken last.
    taken: i64,
}

/// One camera and its clients.
#[derive(Debug)]
struct InSight {
    image: Arc<TagImage>,
    registers: Mutex<Registers>,
    presence: Presence,
}

/// Serves until the listener fails; dropping the future closes every connection.
pub(super) async fn run(listener: TcpListener, image: Arc<TagImage>) -> io::Result<()> {
    let camera = InSight { image, registers: Mutex::default(), presence: Presence::default() };
    loopback::modbus(listener, move |asked| camera.answer(asked.request)).await
}

impl InSight {
    fn answer(&self, request: Request<'_>) -> Result<Response, ExceptionCode> {
        self.presence.note(&self.image);
        match request {
            Request::ReadHoldingRegisters(first, count) => self.read(first, count).map(Response::ReadHoldingRegisters),
            Request::WriteSingleRegister(CONTROL, word) => {
                self.control(word);
                Ok(Response::WriteSingleRegister(CONTROL, word))
            }
            Request::WriteMultipleRegisters(CONTROL, words) if words.len() == 1 => {
                self.control(words.first().copied().unwrap_or(0));
                Ok(Response::WriteMultipleRegisters(CONTROL, 1))
            }
            Request::WriteSingleRegister(..) | Request::WriteMultipleRegisters(..) => {
                Err(ExceptionCode::IllegalDataAddress)
            }
            Request::ReadInputRegisters(..)
            | Request::ReadCoils(..)
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

    fn lock(&self) -> MutexGuard<'_, Registers> {
        self.registers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, first: u16, count: u16) -> Result<Vec<u16>, ExceptionCode> {
        let last = first.checked_add(count).filter(|end| *end <= END).ok_or(ExceptionCode::IllegalDataAddress)?;
        let registers = self.lock();
        let blocks = self.image.read(|tags| {
            [(CONTROL, vec![registers.control]), (STATUS, vec![registers.status(tags)]), (OUTPUT, output(tags))]
        });
        let word = |at: u16| {
            let inside = |(start, words): &(u16, Vec<u16>)| {
                at.checked_sub(*start).and_then(|place| words.get(usize::from(place)).copied())
            };
            blocks.iter().find_map(inside).unwrap_or(0)
        };
        Ok((first..last).map(word).collect())
    }

    fn control(&self, word: u16) {
        let mut registers = self.lock();
        let is_raised = word & RESULTS_ACK != 0 && registers.control & RESULTS_ACK == 0;
        let (is_valid, shown) = self.image.read(|tags| (registers.is_valid(tags), tags.int(KIND, Tag::Seq)));
        registers.control = word;
        if is_raised && is_valid {
            registers.taken = shown;
            // The plant's camera drops the result by its number; it refuses nothing of this shape.
            let _ = self.image.write(vec![(KIND, Tag::Ack, TagValue::Int(shown))]);
        }
    }
}

impl Registers {
    fn is_valid(&self, tags: &Tags) -> bool {
        let shown = tags.int(KIND, Tag::Seq);
        self.control & BUFFER_RESULTS != 0 && self.control & RESULTS_ACK == 0 && shown != 0 && shown != self.taken
    }

    fn status(&self, tags: &Tags) -> u16 {
        let flag = |is_set: bool, bit: u16| if is_set { bit } else { 0 };
        ONLINE
            | flag(self.control & TRIGGER_ENABLE != 0, TRIGGER_READY)
            | flag(tags.int(KIND, Tag::Overrun) != 0, BUFFER_OVERRUN)
            | flag(self.is_valid(tags), RESULTS_VALID)
    }
}

/// Job, error, acquisition, inspection, result code; then what the job writes: track, grade in tenths, 1 where every check of the
/// job passed, length and text of the code.
fn output(tags: &Tags) -> Vec<u16> {
    let code = tags.bytes(KIND, Tag::Code);
    let low = |value: i64| u16::try_from(value & 0xFFFF).unwrap_or(0);
    let id = low(tags.int(KIND, Tag::Seq));
    let length = u16::try_from(code.len()).unwrap_or(0);
    let head: [u16; HEAD] = [
        1,
        0,
        id,
        id,
        u16::from(!code.is_empty()),
        low(tags.int(KIND, Tag::Track)),
        low(tags.int(KIND, Tag::Grade) / 100),
        u16::from(!code.is_empty()),
        length,
    ];
    let byte = |at: usize| code.get(at).copied().unwrap_or(0);
    let text = (0..TEXT_LENGTH.div_ceil(2)).map(|word| u16::from_le_bytes([byte(word * 2), byte(word * 2 + 1)]));
    head.into_iter().chain(text).collect()
}
