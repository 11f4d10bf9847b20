//! What a technician asks a Modbus device: which units answer, which registers may be read, what they hold.
//!
//! Contract: reads only, one request at a time, each under a time limit; a scan keeps a pause between its requests, so that a
//! gateway with a slow serial line behind it keeps up. An exception is an answer; silence ends the connection, since a late
//! answer would answer the next request.

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
pub struct Found {
    pub unit: u8,
    pub tables: Vec<(Table, Vec<Range>)>,
    /// The first exception, where nothing could be read.
    pub exception: Option<u8>,
}

/// Addresses that may be read, both ends included, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub first: u16,
    pub last: u16,
}

/// Which units answer, and which of their addresses may be read. A unit that is silent, or for which a gateway answers that it has no
/// path (exceptions 10 and 11), is not there. `told` hears of each unit before it is looked at.
pub async fn scan(peer: &Peer, scan: &Scan, told: &mut dyn FnMut(u8)) -> Result<Vec<Found>, DeviceError> {
    // The device must be there at all; from then on silence means that one unit is not.
    drop(Asked::connect(peer).await?);
    let mut found = Vec::new();
    for unit in &scan.units {
        told(*unit);
        if let Some(exception) = answers(peer, scan, *unit).await? {
            found.push(look_at(peer, scan, *unit, exception).await?);
        }
    }
    Ok(found)
}

/// `None`: not there. The exception of the first request, if it was one.
async fn answers(peer: &Peer, scan: &Scan, unit: u8) -> Result<Option<Option<u8>>, DeviceError> {
    let mut asked = Asked::connect(peer).await?;
    sleep(scan.pause).await;
    let table = scan.tables.first().copied().unwrap_or(Table::Holding);
    match asked.read(Area { unit, table, start: scan.probe, count: 1 }).await {
        Ok(Answer::Words(_)) => Ok(Some(None)),
        Ok(Answer::Exception(10 | 11)) => Ok(None),
        Ok(Answer::Exception(code)) => Ok(Some(Some(code))),
        Err(DeviceError::TimedOut(_) | DeviceError::Lost(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn look_at(peer: &Peer, scan: &Scan, unit: u8, exception: Option<u8>) -> Result<Found, DeviceError> {
    let mut found = Found { unit, tables: Vec::new(), exception };
    let mut asked = Asked::connect(peer).await?;
    for table in &scan.tables {
        let ranges = asked.ranges(scan, unit, *table).await?;
        if !ranges.is_empty() {
            found.exception = None;
            found.tables.push((*table, ranges));
        }
    }
    Ok(found)
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

    /// Whole blocks first; a block that is refused is halved until the edge is found.
    async fn ranges(&mut self, scan: &Scan, unit: u8, table: Table) -> Result<Vec<Range>, DeviceError> {
        let step = if table.is_bits() { BITS_MAX } else { REGISTERS_MAX };
        let mut found: Vec<Range> = Vec::new();
        let mut start = 0;
        while start <= scan.last {
            let count = step.min((scan.last - start).saturating_add(1));
            let mut open = vec![(start, count)];
            while let Some((start, count)) = open.pop() {
                sleep(scan.pause).await;
                match self.read(Area { unit, table, start, count }).await? {
                    Answer::Words(_) => join(&mut found, Range { first: start, last: start + (count - 1) }),
                    // The function itself is unknown: there is no such table.
                    Answer::Exception(1) => return Ok(Vec::new()),
                    Answer::Exception(_) if count > SMALLEST => {
                        let half = count / 2;
                        open.push((start + half, count - half));
                        open.push((start, half));
                    }
                    Answer::Exception(_) => {}
                }
            }
            let Some(next) = start.checked_add(count) else { break };
            start = next;
        }
        for range in &mut found {
            self.sharpen(scan, (unit, table), range).await?;
        }
        Ok(found)
    }

    /// The addresses right before and behind a range, one by one.
    async fn sharpen(&mut self, scan: &Scan, (unit, table): (u8, Table), range: &mut Range) -> Result<(), DeviceError> {
        for _ in 1..SMALLEST {
            let Some(start) = range.first.checked_sub(1) else { break };
            sleep(scan.pause).await;
            match self.read(Area { unit, table, start, count: 1 }).await? {
                Answer::Words(_) => range.first = start,
                Answer::Exception(_) => break,
            }
        }
        for _ in 1..SMALLEST {
            let Some(start) = range.last.checked_add(1).filter(|start| *start <= scan.last) else { break };
            sleep(scan.pause).await;
            match self.read(Area { unit, table, start, count: 1 }).await? {
                Answer::Words(_) => range.last = start,
                Answer::Exception(_) => break,
            }
        }
        Ok(())
    }
}

/// Blocks are halved down to so many addresses: down to one would be thousands of requests over a hole. What lies alone in a hole,
/// shorter than this, is not found.
const SMALLEST: u16 = 4;

fn join(found: &mut Vec<Range>, next: Range) {
    match found.last_mut() {
        Some(last) if last.last.checked_add(1) == Some(next.first) => last.last = next.last,
        _ => found.push(next),
    }
}
