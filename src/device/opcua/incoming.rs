//! What a server sends, looked at before the library holds it: that it is OPC UA at all, and that no chunk is longer than agreed.
//!
//! The library waits for as many bytes as a chunk's header promises, 4 GB if need be, and of a peer that speaks something else it only
//! says that there was no answer. Only as much of a chunk's header is understood here as both need (OPC 10000-6, 7.1.2); the content is
//! the library's.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use opcua::types::StatusCode;
use tokio::{
    io::{AsyncRead, ReadBuf, ReadHalf},
    net::TcpStream,
};

use super::seen::Seen;
use crate::device::error::DeviceError;

/// What our Hello says that we take; the least that the standard allows is 8192.
pub(super) const CHUNK_BYTES_MAX: usize = 65_536;
/// Type, whether it is the last of its message, and size.
const HEADER: usize = 8;
/// The header of an Error and its status.
const ERROR: usize = 12;
/// Of an answer that is no OPC UA so much is shown.
const SHOWN_MAX: usize = 40;

/// The reading half of one connection.
pub(super) struct Incoming {
    stream: ReadHalf<TcpStream>,
    seen: Arc<Seen>,
    watch: Watch,
}

/// How far the chunks were followed.
#[derive(Default)]
struct Watch {
    /// The chunk in hand, as far as it is needed.
    head: [u8; ERROR],
    filled: usize,
    /// Of the chunk in hand, its head included; unknown while that is 0.
    size: usize,
    /// The first chunk is through.
    is_begun: bool,
}

impl Incoming {
    pub(super) fn new(stream: ReadHalf<TcpStream>, seen: Arc<Seen>) -> Self {
        Self { stream, seen, watch: Watch::default() }
    }
}

impl AsyncRead for Incoming {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        let came = buffer.filled().get(before..).unwrap_or_default();
        if !came.is_empty() {
            this.seen.hear();
        }
        Poll::Ready(this.watch.follow(came).map_err(|error| {
            let said = error.to_string();
            this.seen.fail(error);
            io::Error::new(io::ErrorKind::InvalidData, said)
        }))
    }
}

impl Watch {
    fn follow(&mut self, mut came: &[u8]) -> Result<(), DeviceError> {
        if !self.is_begun {
            self.begins(came)?;
        }
        while let Some((&byte, rest)) = came.split_first() {
            if let Some(place) = self.head.get_mut(self.filled) {
                *place = byte;
                self.filled += 1;
                came = rest;
            } else {
                let skipped = came.len().min(self.size - self.filled);
                self.filled += skipped;
                came = came.get(skipped..).unwrap_or_default();
            }
            if self.filled == HEADER {
                self.size = size(self.head)?;
            }
            if !self.is_begun && self.filled == ERROR && self.head.starts_with(b"ERR") {
                return Err(refused(self.head));
            }
            if self.size > 0 && self.filled >= self.size {
                *self = Self { is_begun: true, ..Self::default() };
            }
        }
        Ok(())
    }

    /// A server answers our Hello with an Acknowledge or an Error.
    fn begins(&self, came: &[u8]) -> Result<(), DeviceError> {
        let first = [self.head.get(..self.filled.min(ERROR)).unwrap_or_default(), came].concat();
        if [b"ACKF", b"ERRF"].iter().any(|word| first.starts_with(*word) || word.starts_with(&first)) {
            return Ok(());
        }
        let what = if first.starts_with(b"HEL") { "it sends back what we say".to_owned() } else { quoted(&first) };
        Err(DeviceError::Protocol(format!("not OPC UA: {what}")))
    }
}

fn size(head: [u8; ERROR]) -> Result<usize, DeviceError> {
    let [.., a, b, c, d, _, _, _, _] = head;
    let size = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if (HEADER..=CHUNK_BYTES_MAX).contains(&size) {
        return Ok(size);
    }
    Err(DeviceError::Protocol(format!("it announces a chunk of {size} bytes; {CHUNK_BYTES_MAX} are the most")))
}

fn refused(head: [u8; ERROR]) -> DeviceError {
    let [.., a, b, c, d] = head;
    DeviceError::Refused(format!(
        "the server takes no connection: {}",
        StatusCode::from(u32::from_le_bytes([a, b, c, d]))
    ))
}

/// The first line where it is text, and its first bytes where it is none.
fn quoted(bytes: &[u8]) -> String {
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let line = line.get(..SHOWN_MAX).unwrap_or(line);
    match std::str::from_utf8(line) {
        Ok(text) if !text.is_empty() && !text.contains(char::is_control) => format!("it answered `{text}`"),
        Ok(_) | Err(_) => {
            let hex = bytes.iter().take(SHOWN_MAX / 2).fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
            format!("it answered the bytes {hex}")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(pieces: &[&[u8]]) -> String {
        let mut watch = Watch::default();
        let ended = pieces.iter().try_for_each(|piece| watch.follow(piece));
        ended.map_or_else(|error| error.to_string(), |()| "well".to_owned())
    }

    fn chunk(kind: &[u8], size: u32) -> Vec<u8> {
        [kind, &size.to_le_bytes(), &vec![7; usize::try_from(size).unwrap_or(0).saturating_sub(8).min(100_000)]]
            .concat()
    }

    #[test]
    fn what_is_no_opc_ua_is_told_with_its_own_words() {
        assert!(said(&[b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n"]).contains("`HTTP/1.1 400 Bad Request`"));
        assert!(said(&[b"SSH-2.0-OpenSSH_9.6\r\n"]).contains("`SSH-2.0-OpenSSH_9.6`"));
        assert!(said(&[b"HELF\x20\0\0\0"]).contains("sends back what we say"));
        assert!(said(&[&[0x15, 3, 1, 0, 2, 2, 0x46]]).contains("15030100020246"));
        assert_eq!(said(&[b"", b"AC", b"KF", b""]), "well", "an end is the library's matter");
    }

    #[test]
    fn a_server_that_refuses_the_connection_says_why() {
        let busy = [&chunk(b"ERRF", 16)[..8], &0x807D_0000_u32.to_le_bytes(), &[0xFF; 4]].concat();
        assert!(said(&[&busy[..5], &busy[5..]]).contains("BadTcpServerTooBusy"), "{}", said(&[&busy]));
    }

    proptest! {
        #[test]
        fn a_chunk_may_be_as_long_as_agreed_however_it_comes(cuts in prop::collection::vec(1usize..5000, 1..8)) {
            let good = [chunk(b"ACKF", 28), chunk(b"OPNF", 65_536), chunk(b"MSGC", 8), chunk(b"MSGF", 65_536)].concat();
            for last in [(b"MSGF", 65_537), (b"MSGF", 7), (b"CLOF", u32::MAX)] {
                let mut watch = Watch::default();
                let mut left = &good[..];
                for cut in cuts.iter().cycle() {
                    let (piece, rest) = left.split_at((*cut).min(left.len()));
                    prop_assert!(watch.follow(piece).is_ok());
                    left = rest;
                    if left.is_empty() {
                        break;
                    }
                }
                let error = watch.follow(&chunk(last.0, last.1)).unwrap_err().to_string();
                prop_assert!(error.contains(&last.1.to_string()), "{}", error);
            }
        }
    }
}
