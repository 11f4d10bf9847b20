//! What a technician asks a Modbus device: which units answer, which registers may be read, what they hold.
//!
//! Contract: reads only, one request at a time, each under a time limit; a scan keeps a pause between its requests, so that a
//! gateway with a slow serial line behind it keeps up. An exception is an answer; silence ends the connection, since a late
//! answer would answer the next request.

use std::collections::VecDeque;

use tokio::time::{Duration, Instant, sleep, timeout};

use super::{
    circuit,
    frame::{self, Block, Question, READ_MAX},
};
use crate::device::{
    error::DeviceError,
    settings::{ModbusLink, Settings, Table},
    wire::Wire,
};

/// In one request.
pub const REGISTERS_MAX: u16 = READ_MAX;
pub const BITS_MAX: u16 = READ_MAX * 16;

/// Who is asked.
#[derive(Clone, Debug)]
pub struct Peer {
    pub host: String,
    pub port: u16,
    /// The bound on the connection and on every request.
    pub limit: Duration,
}

/// Elements `start .. start + count` of one table of one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    pub unit: u8,
    pub table: Table,
    /// Counted from 0.
    pub start: u16,
    pub count: u16,
}

/// What a device answered. Bits are words of 0 and 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Words(Vec<u16>),
    /// The code of an exception (Modbus Application Protocol V1.1b3, 7).
    Exception(u8),
}

/// One request on a connection of its own.
pub async fn read(peer: &Peer, area: Area) -> Result<Answer, DeviceError> {
    let mut asked = Asked::connect(peer).await?;
    asked.read(area).await
}

/// How long the device takes to answer a read of one of its own registers: so many samples. An exception is an answer too.
pub async fn trips(link: &ModbusLink, settings: &Settings, samples: usize) -> Result<Vec<Duration>, DeviceError> {
    let peer = Peer { host: link.host.clone(), port: link.port, limit: settings.request_timeout };
    let cells = settings.stations.iter().flat_map(|tags| &tags.bindings).filter_map(|binding| binding.address.cell());
    let (table, start) = cells.into_iter().next().unwrap_or((Table::Holding, 0));
    let mut asked = Asked::connect(&peer).await?;
    let mut took = Vec::new();
    for _ in 0..samples {
        let begun = Instant::now();
        asked.read(Area { unit: link.unit, table, start, count: 1 }).await?;
        took.push(begun.elapsed());
    }
    Ok(took)
}

/// How a scan is made.
#[derive(Clone, Debug)]
pub struct Scan {
    pub units: Vec<u8>,
    pub tables: Vec<Table>,
    /// The register that shows whether a unit is there.
    pub probe: u16,
    /// The last address of interest, counted from 0.
    pub last: u16,
    /// Between two requests.
    pub pause: Duration,
}

/// What a scan found of one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nobody answers, or a gateway says with this exception that nobody is there.
    Absent {
        unit: u8,
        exception: Option<u8>,
    },
    Present {
        unit: u8,
        tables: Vec<Charted>,
    },
}

/// What may be read of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charted {
    pub table: Table,
    pub ranges: Vec<Range>,
    /// Where there is more to say than ranges do.
    pub note: Option<Note>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// Nothing could be read; the first exception.
    Nothing(u8),
    /// So many reads all over the table brought no value and no address that is refused, but failures: the look ended early.
    Failing { reads: u32, exception: u8 },
    /// The unit stopped to answer on the way.
    Silent,
}

/// How far a scan is; told before every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub unit: u8,
    /// Counted from 1, and how many there are.
    pub number: usize,
    pub units: usize,
    /// `None` while it is asked whether the unit is there.
    pub table: Option<Table>,
    /// Reads of this table so far, and how long they took.
    pub reads: u32,
    pub took: Duration,
    /// Reads that this table may still take, at most.
    pub left_max: u32,
}

impl Progress {
    /// How long this table may still take, at most; `None` before anything was read of it.
    pub fn remaining(&self) -> Option<Duration> {
        self.took.checked_div(self.reads).map(|mean| mean.saturating_mul(self.left_max))
    }
}

/// Addresses that may be read, both ends included, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub first: u16,
    pub last: u16,
}

/// Which units answer, and which of their addresses may be read. A unit that is silent, or for which a gateway answers that it has no
/// path (exceptions 10 and 11), is absent.
pub async fn scan(peer: &Peer, scan: &Scan, told: &mut dyn FnMut(&Progress)) -> Result<Vec<Found>, DeviceError> {
    // The device must be there at all; from then on silence means that one unit is not.
    drop(Asked::connect(peer).await?);
    let mut found = Vec::new();
    for (index, unit) in scan.units.iter().enumerate() {
        let (number, units) = (index + 1, scan.units.len());
        let progress =
            Progress { unit: *unit, number, units, table: None, reads: 0, took: Duration::ZERO, left_max: 0 };
        told(&progress);
        found.push(match absence(peer, scan, *unit).await? {
            Some(exception) => Found::Absent { unit: *unit, exception },
            None => Found::Present { unit: *unit, tables: chart(peer, scan, progress, told).await? },
        });
    }
    Ok(found)
}

/// `None`: it is there. The exception of a gateway, if there was one.
async fn absence(peer: &Peer, scan: &Scan, unit: u8) -> Result<Option<Option<u8>>, DeviceError> {
    let mut asked = Asked::connect(peer).await?;
    sleep(scan.pause).await;
    let table = scan.tables.first().copied().unwrap_or(Table::Holding);
    match asked.read(Area { unit, table, start: scan.probe, count: 1 }).await {
        Ok(Answer::Exception(code @ (10 | 11))) => Ok(Some(Some(code))),
        Ok(Answer::Words(_) | Answer::Exception(_)) => Ok(None),
        Err(error) if is_silence(&error) => Ok(Some(None)),
        Err(error) => Err(error),
    }
}

fn is_silence(error: &DeviceError) -> bool {
    matches!(error, DeviceError::TimedOut(_) | DeviceError::Lost(_))
}

async fn chart(
    peer: &Peer,
    scan: &Scan,
    progress: Progress,
    told: &mut dyn FnMut(&Progress),
) -> Result<Vec<Charted>, DeviceError> {
    let mut tables = Vec::new();
    for table in &scan.tables {
        // Silence ends a connection: each table has its own.
        let asked = Asked::connect(peer).await?;
        let progress = Progress { table: Some(*table), ..progress };
        let mut survey = Survey { asked, scan, progress, begun: Instant::now(), told: &mut *told, ranges: Vec::new() };
        let note = match survey.run(*table).await {
            Ok(note) => note,
            Err(error) if is_silence(&error) => Some(Note::Silent),
            Err(error) => return Err(error),
        };
        tables.push(Charted { table: *table, ranges: survey.ranges, note });
    }
    Ok(tables)
}

struct Asked {
    wire: Wire,
    limit: Duration,
}

impl Asked {
    async fn connect(peer: &Peer) -> Result<Self, DeviceError> {
        Ok(Self { wire: Wire::connect(&peer.host, peer.port, peer.limit).await?, limit: peer.limit })
    }

    async fn read(&mut self, area: Area) -> Result<Answer, DeviceError> {
        let block = Block { table: area.table, start: area.start, len: area.count };
        let answer = timeout(self.limit, circuit::ask(&mut self.wire, area.unit, Question::Read(block)))
            .await
            .map_err(|_| DeviceError::TimedOut("a read"))??;
        match answer {
            frame::Answer::Cells(cells) => Ok(Answer::Words(cells)),
            frame::Answer::Exception(code) => Ok(Answer::Exception(code)),
            frame::Answer::Written => Err(DeviceError::Protocol("a read was answered by a write".to_owned())),
        }
    }
}

/// One table of one unit, as far as it is known.
struct Survey<'a> {
    asked: Asked,
    scan: &'a Scan,
    progress: Progress,
    begun: Instant,
    told: &'a mut dyn FnMut(&Progress),
    ranges: Vec<Range>,
}

impl Survey<'_> {
    /// First all whole blocks, then the halves of those that were refused, and so on: the first reads lie all over the table.
    async fn run(&mut self, table: Table) -> Result<Option<Note>, DeviceError> {
        let step = if table.is_bits() { BITS_MAX } else { REGISTERS_MAX };
        let last = self.scan.last;
        let mut open: VecDeque<(u16, u16)> = (0..=last)
            .step_by(usize::from(step))
            .map(|start| (start, step.min((last - start).saturating_add(1))))
            .collect();
        self.progress.left_max = open.iter().map(|(_, count)| reads_max(*count)).sum();
        let (mut refused, mut is_failing) = (None, true);
        while let Some((start, count)) = open.pop_front() {
            let Answer::Exception(code) = self.read(table, start, count).await? else {
                join(&mut self.ranges, Range { first: start, last: start + (count - 1) });
                self.progress.left_max = self.progress.left_max.saturating_sub(reads_max(count));
                is_failing = false;
                continue;
            };
            self.progress.left_max = self.progress.left_max.saturating_sub(1);
            refused = refused.or(Some(code));
            // The function itself is unknown: there is no such table.
            if code == 1 && self.ranges.is_empty() {
                break;
            }
            is_failing &= is_failure(code);
            if is_failing && self.progress.reads == FAILURES_MAX {
                is_failing = self.fails_at_single_ones(table, step).await?;
                if is_failing {
                    return Ok(Some(Note::Failing { reads: self.progress.reads, exception: code }));
                }
            }
            if count > SMALLEST {
                let half = count / 2;
                open.extend([(start, half), (start + half, count - half)]);
            }
        }
        for index in 0..self.ranges.len() {
            self.sharpen(table, index).await?;
        }
        Ok(refused.filter(|_| self.ranges.is_empty()).map(Note::Nothing))
    }

    /// A device may call a read that is too long for it a failure.
    async fn fails_at_single_ones(&mut self, table: Table, step: u16) -> Result<bool, DeviceError> {
        for start in (0..=self.scan.last).step_by(usize::from(step)).chain([self.scan.probe]) {
            match self.read(table, start, 1).await? {
                Answer::Exception(code) if is_failure(code) => {}
                Answer::Exception(_) | Answer::Words(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// One request, after the pause.
    async fn read(&mut self, table: Table, start: u16, count: u16) -> Result<Answer, DeviceError> {
        self.progress.took = self.begun.elapsed();
        (self.told)(&self.progress);
        sleep(self.scan.pause).await;
        self.progress.reads += 1;
        self.asked.read(Area { unit: self.progress.unit, table, start, count }).await
    }

    /// The addresses right before and behind a range, one by one.
    async fn sharpen(&mut self, table: Table, index: usize) -> Result<(), DeviceError> {
        let Some(mut range) = self.ranges.get(index).copied() else { return Ok(()) };
        for _ in 1..SMALLEST {
            let Some(start) = range.first.checked_sub(1) else { break };
            match self.read(table, start, 1).await? {
                Answer::Words(_) => range.first = start,
                Answer::Exception(_) => break,
            }
        }
        for _ in 1..SMALLEST {
            let Some(start) = range.last.checked_add(1).filter(|start| *start <= self.scan.last) else { break };
            match self.read(table, start, 1).await? {
                Answer::Words(_) => range.last = start,
                Answer::Exception(_) => break,
            }
        }
        self.ranges[index] = range;
        Ok(())
    }
}

/// Blocks are halved down to so many addresses: down to one would be thousands of requests over a hole. What lies alone in a hole,
/// shorter than this, is not found.
const SMALLEST: u16 = 4;

/// A table that failed so often, and then at single addresses all over it, is left: all whole blocks of ten thousand registers, and
/// some of their halves.
const FAILURES_MAX: u32 = 128;

/// Exceptions 2 and 3 are about the addresses that were asked for, all others about the device.
fn is_failure(code: u8) -> bool {
    !matches!(code, 2 | 3)
}

/// Where every part is refused.
fn reads_max(count: u16) -> u32 {
    if count <= SMALLEST { 1 } else { 1 + reads_max(count / 2) + reads_max(count - count / 2) }
}

/// Into its place among the others, as one with those that it touches.
fn join(ranges: &mut Vec<Range>, new: Range) {
    ranges.push(new);
    ranges.sort_unstable_by_key(|range| range.first);
    ranges.dedup_by(|next, range| {
        let is_one = range.last.checked_add(1) == Some(next.first);
        if is_one {
            range.last = next.last;
        }
        is_one
    });
}
