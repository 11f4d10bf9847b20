//! One connection to a device that answers lines with lines: one command at a time, each under a time limit.
//!
//! The lines carry no number, so that an answer belongs to a command only because nothing else is under way. Whatever breaks that
//! (an answer that is late, that nobody asked for, or of another shape) ends the connection: the caller drops this value.

use std::io::ErrorKind;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Duration, timeout},
};

use super::parse::{self, Framer, Kept, Malformed};
use crate::device::{
    dial::dial,
    dialect::{Command, Dialect},
    error::DeviceError,
    settings::TextLink,
};

const CHUNK: usize = 1024;

pub(super) struct Peer {
    stream: TcpStream,
    framer: Framer,
    limit: Duration,
}

/// What the device said to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Kept(Kept),
    /// It did not do it; the code that it gave, where it gave one.
    Refused(Vec<u8>),
}

impl Peer {
    pub(super) async fn connect(link: &TextLink, limit: Duration) -> Result<Self, DeviceError> {
        let stream = dial(&link.host, link.port, limit).await?;
        Ok(Self { stream, framer: Framer::default(), limit })
    }

    /// Sends the line of a command and takes its answer.
    pub(super) async fn ask(
        &mut self,
        dialect: &Dialect,
        command: &Command,
        line: &[u8],
    ) -> Result<Answer, DeviceError> {
        self.expect_silence(dialect)?;
        let limit = self.limit;
        let asked = async {
            self.stream.write_all(line).await.map_err(|error| lost(&error))?;
            let mut fields = Vec::new();
            if !command.reply.is_empty() {
                for _ in 0..command.lines.max(1) {
                    let line = self.line(dialect).await?;
                    fields.extend(parse::fields(dialect, &line).map_err(wrong)?);
                    // A refusal is one line, whatever the answer would be.
                    if parse::matched(&command.refusal, &fields).is_some() {
                        break;
                    }
                }
            }
            Ok(fields)
        };
        let fields = timeout(limit, asked).await.map_err(|_| DeviceError::TimedOut("a command"))??;
        if command.reply.is_empty() {
            return Ok(Answer::Kept(Kept::new()));
        }
        if !self.framer.is_empty() {
            return Err(wrong(Malformed::Unexpected));
        }
        if let Some(kept) = parse::matched(&command.reply, &fields) {
            return Ok(Answer::Kept(kept));
        }
        let refused = parse::matched(&command.refusal, &fields).filter(|_| !command.refusal.is_empty());
        let code = |kept: Kept| kept.into_iter().find(|(name, _)| name == "code").map(|(_, code)| code);
        refused.map(|kept| Answer::Refused(code(kept).unwrap_or_default())).ok_or(wrong(Malformed::Unexpected))
    }

    /// The next line, whenever it comes.
    pub(super) async fn line(&mut self, dialect: &Dialect) -> Result<Vec<u8>, DeviceError> {
        loop {
            if let Some(line) = self.framer.next(dialect).map_err(wrong)? {
                return Ok(line);
            }
            let mut chunk = [0; CHUNK];
            let read = self.stream.read(&mut chunk).await.map_err(|error| lost(&error))?;
            if read == 0 {
                return Err(DeviceError::Lost("closed by the device or the network".to_owned()));
            }
            self.framer.push(chunk.get(..read).unwrap_or_default());
        }
    }

    /// What came although nobody asked would be taken for the next answer.
    fn expect_silence(&mut self, dialect: &Dialect) -> Result<(), DeviceError> {
        let mut chunk = [0; CHUNK];
        match self.stream.try_read(&mut chunk) {
            Ok(0) => Err(DeviceError::Lost("closed by the device or the network".to_owned())),
            Ok(read) => {
                self.framer.push(chunk.get(..read).unwrap_or_default());
                let says = self.framer.next(dialect).map_or_else(Malformed::says, |_| Malformed::Unexpected.says());
                Err(DeviceError::Protocol(says.to_owned()))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(lost(&error)),
        }
    }
}

fn lost(error: &std::io::Error) -> DeviceError {
    DeviceError::Lost(error.to_string())
}

pub(super) fn wrong(malformed: Malformed) -> DeviceError {
    DeviceError::Protocol(malformed.says().to_owned())
}
