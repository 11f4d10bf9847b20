//! One Modbus TCP connection: one request at a time, each under a time limit, each answer checked against its request.
//!
//! tokio-modbus 0.17 checks transaction, unit, function and protocol id. It does not check how many registers came, and its
//! typed calls *assert* that in debug builds, so a short answer would end the process; hence `Client::call` and our own check.
//! Any error at all poisons the connection, since a late answer would answer the next request: the caller drops this value.

use std::collections::HashMap;

use tokio::{
    net::TcpStream,
    time::{Duration, Instant, sleep, timeout},
};
use tokio_modbus::{
    ExceptionCode, Request, Response, Slave,
    client::{Client, Context, tcp::attach_slave},
};

use crate::device::{error::DeviceError, modbus::plan::Block, settings::ModbusLink};

/// A busy device (exceptions 5 and 6) is asked this often in all.
const BUSY_TRIES: usize = 3;
const BUSY_WAIT: Duration = Duration::from_millis(10);
/// Exceptions 1 to 3 are mistakes of the map: such a block is left alone for this long (F60, no storm).
const MUTE: Duration = Duration::from_secs(1);
/// Modbus Application Protocol V1.1b3, 6.12: registers in one write.
pub(super) const WRITE_MAX: usize = 123;

pub(super) struct Peer {
    context: Context,
    limit: Duration,
    muted: HashMap<Block, (Instant, u8)>,
}

impl Peer {
    pub(super) async fn connect(link: &ModbusLink, limit: Duration) -> Result<Self, DeviceError> {
        let unreachable =
            |error: std::io::Error| DeviceError::Unreachable(format!("{}:{}: {error}", link.host, link.port));
        let stream = timeout(limit, TcpStream::connect((link.host.as_str(), link.port)))
            .await
            .map_err(|_| DeviceError::TimedOut("the connection"))?
            .map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        Ok(Self { context: attach_slave(stream, Slave(link.unit)), limit, muted: HashMap::new() })
    }

    /// The registers, or the device's exception code.
    pub(super) async fn read(&mut self, block: Block) -> Result<Result<Vec<u16>, u8>, DeviceError> {
        if let Some((until, code)) = self.muted.get(&block)
            && Instant::now() < *until
        {
            return Ok(Err(*code));
        }
        let request = || Request::ReadHoldingRegisters(block.start, block.len);
        match self.ask("a read", request).await? {
            Err(code) => {
                if (1..=3).contains(&code) {
                    self.muted.insert(block, (Instant::now() + MUTE, code));
                }
                Ok(Err(code))
            }
            Ok(Response::ReadHoldingRegisters(words)) if words.len() == usize::from(block.len) => {
                self.muted.remove(&block);
                Ok(Ok(words))
            }
            Ok(Response::ReadHoldingRegisters(words)) => Err(DeviceError::Protocol(format!(
                "{} registers where {} were asked for at {}",
                words.len(),
                block.len,
                block.start
            ))),
            Ok(_) => Err(DeviceError::Protocol("another function".to_owned())),
        }
    }

    /// At most `WRITE_MAX` words.
    pub(super) async fn write(&mut self, start: u16, words: &[u16]) -> Result<Result<(), u8>, DeviceError> {
        let request = || Request::WriteMultipleRegisters(start, words.into());
        match self.ask("a write", request).await? {
            Err(code) => Ok(Err(code)),
            Ok(Response::WriteMultipleRegisters(at, count)) if at == start && usize::from(count) == words.len() => {
                Ok(Ok(()))
            }
            Ok(_) => Err(DeviceError::Protocol(format!("another write than the one at {start} was confirmed"))),
        }
    }

    /// Asks, and asks a busy device a few times more: reads change nothing, and writes are levels.
    async fn ask<'a>(
        &mut self,
        what: &'static str,
        request: impl Fn() -> Request<'a>,
    ) -> Result<Result<Response, u8>, DeviceError> {
        for attempt in 1.. {
            let answer = timeout(self.limit, self.context.call(request()))
                .await
                .map_err(|_| DeviceError::TimedOut(what))?
                .map_err(|error| lost(&error))?;
            match answer {
                Err(ExceptionCode::Acknowledge | ExceptionCode::ServerDeviceBusy) if attempt < BUSY_TRIES => {
                    sleep(BUSY_WAIT).await;
                }
                Err(exception) => return Ok(Err(exception.into())),
                Ok(response) => return Ok(Ok(response)),
            }
        }
        Err(DeviceError::TimedOut(what))
    }
}

/// At the end of the stream the library reports whatever error the system met last, so the kind of an error means nothing.
pub(super) fn lost(error: &tokio_modbus::Error) -> DeviceError {
    match error {
        tokio_modbus::Error::Protocol(_) => DeviceError::Protocol("the answer belongs to another request".to_owned()),
        tokio_modbus::Error::Transport(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            DeviceError::Protocol(error.to_string())
        }
        tokio_modbus::Error::Transport(_) => DeviceError::Lost("closed by the device or the network".to_owned()),
    }
}
