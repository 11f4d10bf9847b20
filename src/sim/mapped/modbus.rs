//! One Modbus peer of a configuration: all its units, each tag in the table, at the address, in the type and order of its map.
//!
//! One request is one look at the plant, or one change of it. Addresses that no tag fills read 0. A write to what the line does not
//! write is refused with exception 2 and changes nothing; a value that the plant does not take, with exception 3; a read that touches
//! a value whose quality is not good, with exception 4.

use std::io;

use tokio::net::TcpListener;
use tokio_modbus::{ExceptionCode, Request, Response};

use super::{Face, Mapped};
use crate::device::codec::{RegisterOrder, decode_cells, encode_cells};
use crate::device::{ModbusLink, Table};
use crate::domain::tag::Quality;
use crate::sim::loopback;
use crate::sim::tags::Tags;

/// One unit behind the address.
#[derive(Clone)]
pub struct Unit {
    pub link: ModbusLink,
    pub face: Face,
}

/// Serves until the listener fails; dropping the future closes every connection.
pub async fn run(listener: TcpListener, units: Vec<Unit>) -> io::Result<()> {
    loopback::modbus(listener, move |asked| match units.iter().find(|unit| unit.link.unit == asked.slave) {
        Some(unit) => unit.answer(asked.request),
        None => Err(ExceptionCode::GatewayTargetDevice),
    })
    .await
}

impl Unit {
    fn answer(&self, request: Request<'_>) -> Result<Response, ExceptionCode> {
        let bits = |words: Vec<u16>| words.into_iter().map(|word| word != 0).collect::<Vec<bool>>();
        match request {
            Request::ReadHoldingRegisters(at, count) => {
                self.read(Table::Holding, at, count).map(Response::ReadHoldingRegisters)
            }
            Request::ReadInputRegisters(at, count) => {
                self.read(Table::Input, at, count).map(Response::ReadInputRegisters)
            }
            Request::ReadCoils(at, count) => self.read(Table::Coil, at, count).map(bits).map(Response::ReadCoils),
            Request::ReadDiscreteInputs(at, count) => {
                self.read(Table::Discrete, at, count).map(bits).map(Response::ReadDiscreteInputs)
            }
            Request::WriteSingleRegister(at, word) => {
                self.write(Table::Holding, at, &[word])?;
                Ok(Response::WriteSingleRegister(at, word))
            }
            Request::WriteMultipleRegisters(at, words) => {
                self.write(Table::Holding, at, &words)?;
                let count = u16::try_from(words.len()).map_err(|_| ExceptionCode::IllegalDataValue)?;
                Ok(Response::WriteMultipleRegisters(at, count))
            }
            Request::WriteSingleCoil(at, bit) => {
                self.write(Table::Coil, at, &[u16::from(bit)])?;
                Ok(Response::WriteSingleCoil(at, bit))
            }
            Request::WriteMultipleCoils(at, bits) => {
                let words: Vec<u16> = bits.iter().map(|bit| u16::from(*bit)).collect();
                self.write(Table::Coil, at, &words)?;
                let count = u16::try_from(words.len()).map_err(|_| ExceptionCode::IllegalDataValue)?;
                Ok(Response::WriteMultipleCoils(at, count))
            }
            Request::ReportServerId
            | Request::MaskWriteRegister(..)
            | Request::ReadWriteMultipleRegisters(..)
            | Request::ReadDeviceIdentification(..)
            | Request::Custom(..) => Err(ExceptionCode::IllegalFunction),
        }
    }

    /// The tags that touch the cells from `start` to before `end`, each with its first cell.
    fn touched(&self, table: Table, start: usize, end: usize) -> impl Iterator<Item = (&Mapped, usize)> {
        self.face.tags.iter().filter_map(move |mapped| {
            let (of, at) = mapped.binding.address.cell()?;
            let first = usize::from(at);
            let behind = first + usize::from(mapped.binding.cells());
            (of == table && first < end && start < behind).then_some((mapped, first))
        })
    }

    fn cells(&self, tags: &Tags, mapped: &Mapped) -> Option<Vec<u16>> {
        encode_cells(&mapped.binding, self.order(mapped), &mapped.shown(tags)?).ok()
    }

    fn order(&self, mapped: &Mapped) -> RegisterOrder {
        RegisterOrder {
            word: mapped.binding.word_order.unwrap_or(self.link.word_order),
            byte: mapped.binding.byte_order.unwrap_or(self.link.byte_order),
        }
    }

    fn read(&self, table: Table, at: u16, count: u16) -> Result<Vec<u16>, ExceptionCode> {
        let most = if table.is_bits() { 2000 } else { 125 };
        if count == 0 || count > most {
            return Err(ExceptionCode::IllegalDataValue);
        }
        let start = usize::from(at);
        let end = start + usize::from(count);
        let mut words = vec![0; usize::from(count)];
        self.sign(table, start, &mut words);
        self.face.image.read(|tags| {
            for (mapped, first) in self.touched(table, start, end) {
                let own = self.cells(tags, mapped).filter(|_| mapped.quality(tags) == Quality::Good);
                let own = own.ok_or(ExceptionCode::ServerDeviceFailure)?;
                for (word, at) in own.into_iter().zip(first..) {
                    let place = at.checked_sub(start).and_then(|at| words.get_mut(at));
                    if let Some(place) = place {
                        // Several bits may share a register.
                        *place = if mapped.binding.bit.is_some() { *place | word } else { word };
                    }
                }
            }
            Ok(())
        })?;
        Ok(words)
    }

    /// The signature of the map stands where the map says.
    fn sign(&self, table: Table, start: usize, words: &mut [u16]) {
        let order = RegisterOrder { word: self.link.word_order, byte: self.link.byte_order };
        let signature = self.link.signature.filter(|signature| signature.table == table);
        let held = signature.and_then(|signature| Some((usize::from(signature.start), signature.words(order)?)));
        for (at, word) in held.into_iter().flat_map(|(first, held)| (first..).zip(held)) {
            if let Some(place) = at.checked_sub(start).and_then(|at| words.get_mut(at)) {
                *place = word;
            }
        }
    }

    /// A tag written in part keeps its other cells.
    fn write(&self, table: Table, at: u16, words: &[u16]) -> Result<(), ExceptionCode> {
        let start = usize::from(at);
        let end = start + words.len();
        let mut values = Vec::new();
        self.face.image.read(|tags| {
            let mut covered = vec![false; words.len()];
            for (mapped, first) in self.touched(table, start, end) {
                if !mapped.is_written() {
                    return Err(ExceptionCode::IllegalDataAddress);
                }
                let blank = || vec![0; usize::from(mapped.binding.cells())];
                let mut own = self.cells(tags, mapped).unwrap_or_else(blank);
                for (place, at) in own.iter_mut().zip(first..) {
                    let Some(index) = at.checked_sub(start).filter(|index| *index < words.len()) else { continue };
                    *place = words.get(index).copied().unwrap_or_default();
                    covered.get_mut(index).into_iter().for_each(|covered| *covered = true);
                }
                let written = decode_cells(&mapped.binding, self.order(mapped), &own);
                let taken = written.and_then(|written| mapped.taken(tags, written));
                values.push(taken.ok_or(ExceptionCode::IllegalDataValue)?);
            }
            if covered.contains(&false) { Err(ExceptionCode::IllegalDataAddress) } else { Ok(()) }
        })?;
        self.face.image.write(values).map_err(|_| ExceptionCode::IllegalDataValue)
    }
}
