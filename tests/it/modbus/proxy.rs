//! A Modbus proxy that lies: it hands requests on as they are, and answers late, short, twice, changed, for somebody else, or not
//! at all, by a seed. What no client could notice is left out: a changed payload under a right header is TCP's business.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// What happens to one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// A while, inside the client's time limit.
    Delayed,
    /// After the time limit, on the same connection.
    Late,
    Lost,
    /// A part of it, and then silence.
    CutOff,
    /// A part of it, and then the end of the connection.
    Broken,
    Twice,
    /// The answer before comes once more, and then this one.
    Stale,
    /// Kept back, and given in front of the next one.
    Held,
    /// The last answer that another connection got, and then this one.
    Crossed,
    /// One bit of header, function or byte count is another one.
    Flipped,
    /// Byte by byte; this is no fault.
    Trickled,
    Trailing,
    /// One register less, with a right length.
    Fewer,
    /// One register more, with a right length.
    More,
    /// Two answers swap their transactions.
    Renumbered,
}

use Mishap::*;

pub(crate) const ALL: [Mishap; 15] = [
    Delayed, Late, Lost, CutOff, Broken, Twice, Stale, Held, Crossed, Flipped, Trickled, Trailing, Fewer, More,
    Renumbered,
];

pub(crate) struct Proxy {
    listener: TcpListener,
    server: u16,
    late: Duration,
    seed: Mutex<u64>,
    pub(crate) answers: AtomicUsize,
    pub(crate) tried: [AtomicUsize; ALL.len()],
    /// The last answer of any connection.
    last: Mutex<Vec<u8>>,
}

/// One connection's memory.
#[derive(Default)]
struct Memory {
    before: Vec<u8>,
    held: Vec<u8>,
}

impl Proxy {
    /// `late` is longer than the time limit of the clients.
    pub(crate) async fn new(server: u16, late: Duration, seed: u64) -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            server,
            late,
            seed: Mutex::new(seed | 1),
            answers: AtomicUsize::new(0),
            tried: Default::default(),
            last: Mutex::default(),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Serves for ever.
    pub(crate) async fn run(&self) {
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => open.push(self.attend(accepted.unwrap().0)),
                Some(_) = open.next() => {}
            }
        }
    }

    /// Ends with either side.
    async fn attend(&self, mut client: TcpStream) -> std::io::Result<()> {
        client.set_nodelay(true)?;
        let mut server = TcpStream::connect(("127.0.0.1", self.server)).await?;
        server.set_nodelay(true)?;
        let mut memory = Memory::default();
        loop {
            let request = frame(&mut client).await?;
            server.write_all(&request).await?;
            let answer = frame(&mut server).await?;
            self.answers.fetch_add(1, Ordering::Relaxed);
            let mishap = self.below(24).eq(&0).then(|| self.below(ALL.len()));
            if let Some(index) = mishap {
                self.tried[index].fetch_add(1, Ordering::Relaxed);
            }
            self.give(&mut client, &answer, mishap.map(|index| ALL[index]), &mut memory).await?;
            *self.last.lock().unwrap() = answer.clone();
            memory.before = answer;
        }
    }

    async fn give(
        &self,
        client: &mut TcpStream,
        answer: &[u8],
        mishap: Option<Mishap>,
        memory: &mut Memory,
    ) -> std::io::Result<()> {
        let held = std::mem::take(&mut memory.held);
        client.write_all(&held).await?;
        let out = match mishap {
            None => answer.to_vec(),
            Some(Delayed) => {
                sleep(self.late / 8).await;
                answer.to_vec()
            }
            Some(Late) => {
                sleep(self.late).await;
                answer.to_vec()
            }
            Some(Lost) => Vec::new(),
            Some(CutOff) => answer[..self.below(answer.len())].to_vec(),
            Some(Broken) => {
                client.write_all(&answer[..self.below(answer.len())]).await?;
                return Err(std::io::ErrorKind::ConnectionAborted.into());
            }
            Some(Twice) => [answer, answer].concat(),
            Some(Stale) => {
                client.write_all(&memory.before).await?;
                answer.to_vec()
            }
            Some(Held) => {
                memory.held = answer.to_vec();
                Vec::new()
            }
            Some(Crossed) => [self.last.lock().unwrap().clone(), answer.to_vec()].concat(),
            Some(Flipped) => self.flipped(answer),
            Some(Trickled) => {
                for byte in answer {
                    client.write_all(&[*byte]).await?;
                }
                return Ok(());
            }
            Some(Trailing) => [answer, &[self.below(256) as u8]].concat(),
            Some(Fewer) => resized(answer, -2),
            Some(More) => resized(answer, 2),
            Some(Renumbered) => {
                let mut other = memory.before.clone();
                if let Some(number) = other.get_mut(..2) {
                    number.copy_from_slice(&answer[..2]);
                }
                // Of the same length it would be an answer like any other: only who asked knows better.
                if other.len() == answer.len() { answer.to_vec() } else { other }
            }
        };
        client.write_all(&out).await
    }

    /// One bit of the first nine bytes. A bit that turns a right answer into a well-formed one does not exist: every field there
    /// is checked against the request.
    fn flipped(&self, answer: &[u8]) -> Vec<u8> {
        let mut frame = answer.to_vec();
        let at = self.below(9.min(frame.len()));
        frame[at] ^= 1 << self.below(8);
        frame
    }

    /// Marsaglia's xorshift64.
    fn below(&self, end: usize) -> usize {
        let mut state = self.seed.lock().unwrap();
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        (*state >> 11) as usize % end.max(1)
    }
}

/// An answer of a read, one register longer or shorter, with all lengths set right; a write's is left alone.
fn resized(answer: &[u8], by: i16) -> Vec<u8> {
    let mut frame = answer.to_vec();
    let is_read = frame.get(7).is_some_and(|function| *function <= 4);
    if !is_read || frame.len() < 13 {
        return frame;
    }
    match by {
        2 => frame.extend([0xAB, 0xCD]),
        _ => frame.truncate(frame.len() - 2),
    }
    frame[5] = frame[5].wrapping_add_signed(by as i8);
    frame[8] = frame[8].wrapping_add_signed(by as i8);
    frame
}

async fn frame(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut frame = vec![0; 6];
    stream.read_exact(&mut frame).await?;
    frame.resize(6 + usize::from(u16::from_be_bytes([frame[4], frame[5]])), 0);
    stream.read_exact(&mut frame[6..]).await?;
    Ok(frame)
}
