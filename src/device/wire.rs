//! One TCP connection to a device: one question at a time, and the answer to exactly that question. What either looks like is known
//! where the protocol is.
//!
//! Any error poisons the connection, a question given up half-way too, since its late answer would meet the next one: the caller
//! drops this value then. Bytes that came without a question are an error as well.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Duration,
};

use super::{dial::dial, error::DeviceError};

/// Transactions of one connection begin far from those of any other, since each has a local port of its own: an answer that a
/// gateway carries over from another connection is known by its number.
const APART: u16 = 7919;
/// Longer than any answer: what follows one is seen.
const ROOM: usize = 520;

pub(super) struct Wire {
    stream: TcpStream,
    transaction: u16,
    sent: Vec<u8>,
    came: Box<[u8; ROOM]>,
}

impl Wire {
    pub(super) async fn connect(host: &str, port: u16, limit: Duration) -> Result<Self, DeviceError> {
        let stream = dial(host, port, limit).await?;
        let transaction = stream.local_addr().map_err(lost)?.port().wrapping_mul(APART);
        Ok(Self { stream, transaction, sent: Vec::with_capacity(ROOM), came: Box::new([0; ROOM]) })
    }

    /// `question` writes the bytes of a transaction, and `answer` finds what belongs to it in what came so far. Without a time limit of
    /// its own.
    pub(super) async fn ask<Answer>(
        &mut self,
        question: impl FnOnce(u16, &mut Vec<u8>),
        answer: impl Fn(u16, &[u8]) -> Result<Option<Answer>, DeviceError>,
    ) -> Result<Answer, DeviceError> {
        self.is_quiet()?;
        self.transaction = self.transaction.wrapping_add(1);
        self.sent.clear();
        question(self.transaction, &mut self.sent);
        self.stream.write_all(&self.sent).await.map_err(lost)?;
        let mut filled = 0;
        loop {
            let room = self.came.get_mut(filled..).unwrap_or_default();
            match self.stream.read(room).await.map_err(lost)? {
                0 => return Err(DeviceError::Lost("closed by the device or the network".to_owned())),
                count => filled += count,
            }
            let bytes = self.came.get(..filled).unwrap_or_default();
            if let Some(answer) = answer(self.transaction, bytes)? {
                return Ok(answer);
            }
        }
    }

    fn is_quiet(&self) -> Result<(), DeviceError> {
        match self.stream.try_read(&mut [0]) {
            Ok(0) => Err(DeviceError::Lost("closed by the device or the network".to_owned())),
            Ok(_) => Err(DeviceError::Protocol("an answer that nobody asked for".to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(lost(error)),
        }
    }
}

fn lost(error: std::io::Error) -> DeviceError {
    DeviceError::Lost(error.to_string())
}
