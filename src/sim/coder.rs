//! The simulated printer behind a text protocol over TCP, as coders have one: it speaks for the plant's printer (`printer`), whose tags
//! it reads and writes. `config/maps/coder-text.toml` is its map.
//!
//! Lines end in CR, fields in `|`; `~XX` stands for a byte in hexadecimal. It answers every line with one: `GPC` last record taken and
//! printed, `QSZ` records left and room, `GST` state and fault, `JDI|number|CODE=data|` takes a record (`ERR|7|` while it is full),
//! `CQI` empties the buffer, `JDA|name|text|` and `GJD|name|` keep one job variable. Records are named by the number they came with.
//! A coder knows no heartbeat and no epoch: it obeys whoever speaks. A power cycle of the printer empties buffer, counters and the
//! variable, and drops every connection.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::tags::{TagImage, Tags};
use crate::domain::tag::{StationKind, Tag, TagValue};

const KIND: StationKind = StationKind::Printer;
/// The plant's printer expects a sign of life, which a coder does not know: this server gives it.
const BEAT: Duration = Duration::from_millis(100);
/// The plant steps every millisecond.
const STEP_MAX: Duration = Duration::from_secs(2);
const LINE_MAX: usize = 4096;
const FULL: &str = "ERR|7|";
const WRONG: &str = "ERR|2|";
const STUCK: &str = "ERR|9|";

/// The one variable of the job, and the epoch in which it was written.
type Variable = Arc<Mutex<(i64, String)>>;

struct Coder {
    image: Arc<TagImage>,
    depth: i64,
    variable: Variable,
}

/// Serves until the listener fails; dropping the future closes every connection.
pub async fn run(listener: TcpListener, image: Arc<TagImage>, depth: usize) -> io::Result<()> {
    let variable = Variable::default();
    let mut connections = JoinSet::new();
    let mut beat = tokio::time::interval(BEAT);
    let mut beats = 0;
    loop {
        tokio::select! {
            _ = beat.tick() => {
                beats = beats % 60_000 + 1;
                obey(&image, beats);
            }
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                let depth = i64::try_from(depth).unwrap_or(i64::MAX);
                let coder = Coder { image: Arc::clone(&image), depth, variable: Arc::clone(&variable) };
                connections.spawn(async move { coder.serve(stream).await });
            }
            // What became of a connection is the client's matter.
            Some(_) = connections.join_next() => {}
        }
    }
}

/// A coder obeys whoever speaks, at any time.
fn obey(image: &TagImage, beat: i64) {
    let epoch = image.read(|tags| tags.int(KIND, Tag::Epoch));
    let values = vec![(KIND, Tag::EpochOut, TagValue::Int(epoch)), (KIND, Tag::HeartbeatOut, TagValue::Int(beat))];
    // The plant refuses nothing of this; a refusal would stop the belt, which is seen.
    let _ = image.write(values);
}

impl Coder {
    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (reading, mut writing) = stream.into_split();
        let mut reading = BufReader::new(reading);
        let epoch = self.int(Tag::Epoch);
        loop {
            let mut line = Vec::new();
            tokio::select! {
                read = reading.read_until(b'\r', &mut line) => if read? == 0 { return Ok(()) },
                () = self.restarted(epoch) => return Ok(()),
            }
            if line.pop() != Some(b'\r') || line.len() > LINE_MAX {
                return Ok(());
            }
            let answer = self.answer(&line).await;
            if self.int(Tag::Epoch) != epoch {
                return Ok(());
            }
            writing.write_all(format!("{answer}\r").as_bytes()).await?;
        }
    }

    /// Ends with the power cycle that ends this epoch.
    async fn restarted(&self, epoch: i64) {
        let mut changes = self.image.changes();
        while self.int(Tag::Epoch) == epoch && changes.changed().await.is_ok() {}
    }

    async fn answer(&self, line: &[u8]) -> String {
        let line = String::from_utf8_lossy(line);
        let fields: Vec<&str> = line.split('|').collect();
        match fields.as_slice() {
            ["GPC", ""] => {
                let look = |tags: &Tags| (tags.int(KIND, Tag::AcceptedSeq), tags.int(KIND, Tag::PrintedSeq));
                let (accepted, printed) = self.image.read(look);
                format!("GPC|{accepted}|{printed}|")
            }
            ["QSZ", ""] => format!("QSZ|{}|{}|", self.int(Tag::Remaining), self.depth),
            ["GST", ""] => {
                let (state, fault, printed) = (self.int(Tag::State), self.int(Tag::Fault), self.int(Tag::PrintedSeq));
                format!("STS|{state}|{fault}|CARTON|{printed}|{printed}|")
            }
            ["JDI", number, code, ""] => self.insert(number, code).await,
            ["CQI", ""] => self.clear().await,
            ["JDA", "SGMARK", text, ""] => {
                *self.variable() = (self.int(Tag::Epoch), (*text).to_owned());
                "ACK".to_owned()
            }
            ["GJD", "SGMARK", ""] => format!("JDT|SGMARK|{}|", self.kept()),
            _ => WRONG.to_owned(),
        }
    }

    async fn insert(&self, number: &str, code: &str) -> String {
        let data = code.strip_prefix("CODE=").and_then(unescaped);
        let (Some(data), Ok(number)) = (data, number.parse::<u32>()) else { return WRONG.to_owned() };
        if self.int(Tag::Remaining) >= self.depth {
            return FULL.to_owned();
        }
        let values =
            vec![(KIND, Tag::Data, TagValue::Bytes(data)), (KIND, Tag::DataSeq, TagValue::Int(i64::from(number)))];
        self.done(values, Tag::AcceptedSeq, i64::from(number)).await
    }

    async fn clear(&self) -> String {
        let flush = self.int(Tag::FlushDone) + 1;
        self.done(vec![(KIND, Tag::Flush, TagValue::Int(flush))], Tag::FlushDone, flush).await
    }

    /// Writes, and answers once the printer shows that it did it.
    async fn done(&self, values: Vec<(StationKind, Tag, TagValue)>, tag: Tag, shown: i64) -> String {
        let mut changes = self.image.changes();
        if self.image.write(values).is_err() {
            return WRONG.to_owned();
        }
        let seen = async { while self.int(tag) != shown && changes.changed().await.is_ok() {} };
        match tokio::time::timeout(STEP_MAX, seen).await {
            Ok(()) => "ACK".to_owned(),
            Err(_) => STUCK.to_owned(),
        }
    }

    fn int(&self, tag: Tag) -> i64 {
        self.image.read(|tags| tags.int(KIND, tag))
    }

    fn variable(&self) -> std::sync::MutexGuard<'_, (i64, String)> {
        self.variable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the variable holds since the last power cycle.
    fn kept(&self) -> String {
        let epoch = self.int(Tag::Epoch);
        let variable = self.variable();
        if variable.0 == epoch { variable.1.clone() } else { String::new() }
    }
}

/// `~XX` is a byte.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'~' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    Some(bytes)
}
