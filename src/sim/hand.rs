//! A person who packs by hand beside the simulated packer: scans what lies in the full case, waits for the label, puts it on, scans it,
//! and works the packer's gates with his own hands.
//!
//! The scanner is what `config/maps/scanner-hand.toml` describes: it is never asked, sends `]d2` before a unit and `]C1` before a label,
//! and ends every line with CR LF. The label comes from the labeller beside it (`labeller::print`). Towards the machine the person stands
//! for its controller: heartbeat, epoch and a permit with a token of his own.
//!
//! He slips as people do, in turn: scans a unit twice, takes one back, scans a label among the units or another one than the printed, or
//! a unit of somewhere else. He knows the two command barcodes, and that a case without a label after a while was refused: he takes all
//! scans back, and scans what lies in it. With a new connection the case in hand is scanned from its beginning.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::tags::{TagImage, Tags};
use crate::domain::tag::{StationKind, Tag, TagValue};
use crate::station::manual::{CLEAR, UNDO};

const KIND: StationKind = StationKind::Packer;
const LOOK: Duration = Duration::from_millis(10);
/// Between two cases: nobody is faster.
const PAUSE: Duration = Duration::from_millis(300);
/// So long a person waits for the label.
const PATIENCE: Duration = Duration::from_secs(1);
const SEAL: i64 = 1;
const PERMIT: i64 = 3;
/// A unit that no order knows.
const STRANGER: &[u8] = b"010950600013435221STRANGER\x1D1747033110NOLOT";

/// Serves the scanner until its listener fails.
pub async fn pack(listener: TcpListener, image: Arc<TagImage>) -> io::Result<()> {
    let mut person = Person::default();
    let mut looks = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                person.scanner = Some(accepted?.0);
                person.scanned = (0, 0);
            }
            _ = looks.tick() => {
                if person.look(&image).await.is_err() {
                    // The other side has gone, and will come again.
                    person.scanner = None;
                }
            }
        }
    }
}

#[derive(Debug, Default)]
struct Person {
    scanner: Option<TcpStream>,
    beat: i64,
    token: i64,
    /// Epoch and number of the request whose units were scanned, and of the one that was answered.
    scanned: (i64, i64),
    answered: (i64, i64),
    waits_since: Option<Instant>,
    /// The label of the case before.
    last_label: Vec<u8>,
}

/// What the person sees of the packer.
struct Sight {
    request: (i64, i64),
    gate: i64,
    case: i64,
    units: Vec<Vec<u8>>,
    label: Vec<u8>,
    is_done: bool,
}

impl Sight {
    fn of(tags: &Tags) -> Self {
        let children = match tags.value(KIND, Tag::Children) {
            Some(TagValue::Texts(children)) => children.as_slice(),
            _ => &[],
        };
        Self {
            request: (tags.int(KIND, Tag::Epoch), tags.int(KIND, Tag::Seq)),
            gate: tags.int(KIND, Tag::Request),
            case: tags.int(KIND, Tag::Container),
            units: children.iter().filter(|child| !child.is_empty()).cloned().collect(),
            label: tags.bytes(KIND, Tag::Label).to_vec(),
            is_done: tags.int(KIND, Tag::CloseResult) != 0,
        }
    }
}

impl Person {
    async fn look(&mut self, image: &TagImage) -> io::Result<()> {
        let sight = image.read(Sight::of);
        self.beat = self.beat % 60_000 + 1;
        let mut values =
            vec![(Tag::EpochOut, TagValue::Int(sight.request.0)), (Tag::HeartbeatOut, TagValue::Int(self.beat))];
        if sight.is_done {
            values.push((Tag::Reply, TagValue::Int(0)));
        } else if sight.request.1 != 0 && sight.request != self.answered && self.is_ready(&sight, image).await? {
            self.answered = sight.request;
            self.token += 1;
            values.extend([
                (Tag::Token, TagValue::Int(self.token)),
                (Tag::TtlMs, TagValue::Int(60_000)),
                (Tag::Reply, TagValue::Int(PERMIT)),
                (Tag::ReplySeq, TagValue::Int(sight.request.1)),
            ]);
        }
        write(image, values);
        Ok(())
    }

    /// Whether the gate is to be worked now. What is labelled may go.
    async fn is_ready(&mut self, sight: &Sight, image: &TagImage) -> io::Result<bool> {
        if sight.gate != SEAL {
            return Ok(true);
        }
        let is_resting = self.waits_since.is_some_and(|since| since.elapsed() < PAUSE) && self.scanned != sight.request;
        if self.scanner.is_none() || is_resting {
            return Ok(false);
        }
        if self.scanned != sight.request {
            write(image, vec![(Tag::Label, TagValue::Bytes(Vec::new()))]);
            self.scan_units(sight).await?;
            self.scanned = sight.request;
            self.waits_since = Some(Instant::now());
            return Ok(false);
        }
        if !sight.label.is_empty() {
            self.scan_label(sight).await?;
            self.waits_since = Some(Instant::now());
            return Ok(true);
        }
        if self.waits_since.is_none_or(|since| since.elapsed() > PATIENCE) {
            self.scan_again(sight).await?;
            self.waits_since = Some(Instant::now());
        }
        Ok(false)
    }

    /// Whatever was scanned, and blocked after it, is taken back.
    async fn scan_again(&mut self, sight: &Sight) -> io::Result<()> {
        for _ in 0..=sight.units.len() {
            self.scan(b"", UNDO).await?;
        }
        for unit in &sight.units {
            self.scan(b"]d2", unit).await?;
        }
        Ok(())
    }

    async fn scan_units(&mut self, sight: &Sight) -> io::Result<()> {
        for (place, unit) in sight.units.iter().enumerate() {
            let is_last = place + 1 == sight.units.len();
            match sight.case % 4 {
                // Twice, and the next does not count before he notices.
                1 if place == 1 => {
                    for code in [unit, unit, &sight.units[0]] {
                        self.scan(b"]d2", code).await?;
                    }
                    self.scan(b"", UNDO).await?;
                }
                // Taken out, and put in again.
                2 if place == 2 => {
                    self.scan(b"]d2", unit).await?;
                    self.scan(b"", UNDO).await?;
                    self.scan(b"]d2", unit).await?;
                }
                3 if place == 0 => {
                    let label = self.last_label.clone();
                    self.scan(b"]C1", &label).await?;
                    self.scan(b"", CLEAR).await?;
                    self.scan(b"]d2", unit).await?;
                }
                // Refused, which he sees when no label comes.
                0 if is_last => self.scan(b"]d2", STRANGER).await?,
                _ => self.scan(b"]d2", unit).await?,
            }
        }
        Ok(())
    }

    async fn scan_label(&mut self, sight: &Sight) -> io::Result<()> {
        // What was scanned while he waited may have blocked the station.
        self.scan(b"", CLEAR).await?;
        if sight.case % 4 == 3 {
            let other = std::mem::take(&mut self.last_label);
            self.scan(b"]C1", &other).await?;
            self.scan(b"", UNDO).await?;
        }
        self.scan(b"]C1", &sight.label).await?;
        self.last_label.clone_from(&sight.label);
        Ok(())
    }

    async fn scan(&mut self, symbology: &[u8], code: &[u8]) -> io::Result<()> {
        match &mut self.scanner {
            Some(scanner) => scanner.write_all(&[symbology, code, b"\r\n"].concat()).await,
            None => Ok(()),
        }
    }
}

/// What the machine's shapes do not hold is not written.
fn write(image: &TagImage, values: Vec<(Tag, TagValue)>) {
    let _ = image.write(values.into_iter().map(|(tag, value)| (KIND, tag, value)).collect());
}
