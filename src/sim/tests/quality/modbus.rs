//! A Modbus server of which some registers answer with an exception, or not at all.

use std::future::{pending, ready};
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio_modbus::server::Service;
use tokio_modbus::server::tcp::Server;
use tokio_modbus::{ExceptionCode, Request, Response};

use super::Fault;
use crate::device::codec::{RegisterOrder, encode_cells};
use crate::device::{ByteOrder, StationTags, WordOrder};
use crate::domain::tag::{Reading, Tag};

const ORDER: RegisterOrder = RegisterOrder { word: WordOrder::HighFirst, byte: ByteOrder::HighFirst };

#[derive(Default)]
pub(super) struct Memory(Mutex<Shown>);

#[derive(Default)]
struct Shown {
    registers: Vec<u16>,
    fault: Option<(Range<u16>, Fault)>,
}

impl Memory {
    pub(super) fn show(&self, tags: &StationTags, all: &[Reading], fault: Option<(Tag, Fault)>) {
        let mut shown = Shown { registers: vec![0; 2000], fault: None };
        for (binding, reading) in tags.bindings.iter().zip(all) {
            let (_, start) = binding.address.cell().expect("a register");
            let fault = fault.filter(|(tag, _)| *tag == binding.tag).map(|(_, fault)| fault);
            let mut cells = encode_cells(binding, ORDER, &reading.value).expect("the type that carries it");
            match fault {
                Some(Fault::NotANumber) => cells = vec![0x7FF8, 0, 0, 0],
                Some(Fault::Exception(_) | Fault::Silence) => {
                    shown.fault = fault.map(|fault| (start..start + binding.cells(), fault));
                }
                Some(other) => assert_eq!(None, Some(other), "OPC UA alone has it"),
                None => {}
            }
            let start = usize::from(start);
            shown.registers[start..start + cells.len()].copy_from_slice(&cells);
        }
        *self.0.lock().unwrap() = shown;
    }

    /// `None` is no answer.
    fn answer(&self, request: &Request<'_>) -> Option<Result<Response, ExceptionCode>> {
        let Request::ReadHoldingRegisters(start, count) = request else {
            return Some(Err(ExceptionCode::IllegalFunction));
        };
        let (shown, end) = (self.0.lock().unwrap(), start + count);
        match &shown.fault {
            Some((place, fault)) if place.start < end && *start < place.end => match fault {
                Fault::Exception(code) => Some(Err(ExceptionCode::Custom(*code))),
                _ => None,
            },
            _ => {
                let words = shown.registers[usize::from(*start)..usize::from(end)].to_vec();
                Some(Ok(Response::ReadHoldingRegisters(words)))
            }
        }
    }
}

struct Unit(Arc<Memory>);

impl Service for Unit {
    type Request = Request<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = Pin<Box<dyn Future<Output = Result<Response, ExceptionCode>> + Send>>;

    fn call(&self, request: Self::Request) -> Self::Future {
        match self.0.answer(&request) {
            Some(answer) => Box::pin(ready(answer)),
            None => Box::pin(pending()),
        }
    }
}

pub(super) async fn serve(listener: TcpListener, memory: Arc<Memory>) {
    let on_connected = |stream: tokio::net::TcpStream, _| {
        let memory = Arc::clone(&memory);
        async move {
            stream.set_nodelay(true)?;
            Ok(Some((Unit(memory), stream)))
        }
    };
    let _ = Server::new(listener).serve(&on_connected, |_| {}).await;
}
