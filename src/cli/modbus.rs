//! `sealgate modbus`: what a technician needs at a Modbus device. All of it reads; no register is ever written.

use std::io::{self, IsTerminal, Write};
use std::net::Ipv6Addr;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::outcome::{Exit, Failure, Outcome};
use super::print::{self, Style};
use super::registers::{self, Shape};
use super::{Shared, probe, source};
use crate::device::modbus_look::{
    self, Answer, Area, BITS_MAX, Charted, Found, Note, Peer, Progress, REGISTERS_MAX, Range, Scan,
};
use crate::device::{DeviceError, Link, Table};
use crate::runtime::clock::Clock;

const EXAMPLES: &str = "\
Examples:
  sealgate modbus read 10.7.3.23 40001 --count 4          one look: the same bytes under every order and type
  sealgate modbus read 10.7.3.23:1502 24 --unit 7 --kind input --base 0
  sealgate modbus scan 10.7.3.23                          which units answer, which registers may be read
  sealgate modbus scan 10.7.3.23 --units 1..10 --tables holding --json

Both only read. A scan makes one request every --pause-ms, so that a slow gateway keeps up, and says on standard error how far it is.
A table that only fails is left after some 200 reads; a unit that is absent is listed as that. Exit 1 where no unit answers.";

const ADDRESSES: &str = "\
Addresses: a plain number counts from --base (0 unless stated). 40001 to 49999 and 400001 to 465536 are holding registers, 30001 and
300001 on input registers, 10001 and 100001 on discrete inputs, as manuals write them: they say their table, and count from 1.

Orders: the letters are the bytes of a 32-bit number, A the highest. ABCD is word_order high_first and byte_order high_first, as the
standard has it; CDAB has word_order low_first; BADC has byte_order low_first; DCBA has both.

Examples:
  sealgate modbus read 10.7.3.23 40001 --count 4
  sealgate modbus read 10.7.3.23 34 --count 36            a text of 72 bytes
  sealgate modbus read 10.7.3.23 0 --kind coil --count 16";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ModbusArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Registers under every order and type
    Read(ReadArgs),
    /// Which units answer, and which registers may be read
    Scan(ScanArgs),
}

#[derive(Debug, Args)]
#[command(after_help = ADDRESSES)]
struct ReadArgs {
    #[command(flatten)]
    peer: PeerArgs,
    /// The first register or bit
    address: u32,
    /// The unit behind a gateway; many devices answer any
    #[arg(long, default_value_t = 1)]
    unit: u8,
    /// How many registers (at most 125) or bits (at most 2000)
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=2000))]
    count: u16,
    /// holding, input, coil or discrete; an address like 40001 says it itself
    #[arg(long, value_name = "TABLE", value_parser = table)]
    kind: Option<Table>,
    /// The number that the manual gives the first register: 0 or 1
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=1))]
    base: u8,
}

#[derive(Debug, Args)]
struct ScanArgs {
    #[command(flatten)]
    peer: PeerArgs,
    /// The units to look for: 1, 1..10, or 1,2,17
    #[arg(long, default_value = "0..16", value_parser = units)]
    units: Units,
    /// The tables to look at, with commas between
    #[arg(long, default_value = "holding,input", value_delimiter = ',', value_parser = table)]
    tables: Vec<Table>,
    /// The last address of interest, counted from 0
    #[arg(long, default_value_t = 9_999)]
    last: u16,
    /// The address that shows whether a unit is there
    #[arg(long, default_value_t = 0)]
    probe: u16,
    /// The pause between two requests
    #[arg(long, value_name = "MS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    pause_ms: u64,
}

#[derive(Debug, Args)]
struct PeerArgs {
    /// HOST or HOST:PORT; the port is 502 unless stated
    #[arg(value_name = "HOST[:PORT]", value_parser = host)]
    host: (String, u16),
    /// The bound on every request; 3000 for a read, 1000 in a scan, where every silent unit costs one
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=60_000))]
    timeout_ms: Option<u64>,
}

#[derive(Clone, Debug)]
struct Units(Vec<u8>);

impl PeerArgs {
    fn peer(&self, usual_ms: u64) -> Peer {
        let (host, port) = self.host.clone();
        Peer { host, port, limit: Duration::from_millis(self.timeout_ms.unwrap_or(usual_ms)) }
    }
}

fn table(word: &str) -> Result<Table, String> {
    let names = || Table::ALL.map(Table::name).join(", ");
    Table::ALL.into_iter().find(|table| table.name() == word).ok_or_else(|| format!("one of {} is expected", names()))
}

/// A host name, an address, or either with a port; IPv6 in brackets where a port follows.
fn host(text: &str) -> Result<(String, u16), String> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = match (bracketed, text.split_once(':')) {
        (Some((host, "")), _) => (host, Some(502)),
        (Some((host, port)), _) => (host, port.strip_prefix(':').and_then(|port| port.parse().ok())),
        (None, Some(_)) if text.parse::<Ipv6Addr>().is_ok() => (text, Some(502)),
        (None, Some((host, port))) => (host, port.parse().ok()),
        (None, None) => (text, Some(502)),
    };
    let is_host = !host.is_empty() && !host.contains(['/', '[', ']', ' ']);
    let found = port.filter(|port| is_host && *port > 0).map(|port| (host.to_owned(), port));
    found.ok_or_else(|| "HOST or HOST:PORT is expected, for example 10.7.3.23:502".to_owned())
}

fn units(text: &str) -> Result<Units, String> {
    let wrong = || "units are numbers from 0 to 255: 1, 1..10, or 1,2,17".to_owned();
    let mut units = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once("..").unwrap_or((part, part));
        let last = last.trim_start_matches('=');
        let (first, last): (u8, u8) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
        if first > last {
            return Err(wrong());
        }
        units.extend(first..=last);
    }
    Ok(Units(units))
}

pub(super) fn run(args: &ModbusArgs, shared: &Shared) -> Outcome {
    match &args.action {
        Action::Read(args) => read(args, shared),
        Action::Scan(args) => scan(args, shared),
    }
}

fn read(args: &ReadArgs, shared: &Shared) -> Outcome {
    let area = area(args)?;
    let peer = args.peer.peer(3000);
    let answer = answered(&peer, shared, probe::block_on(modbus_look::read(&peer, area)))?;
    let words = match answer {
        Answer::Words(words) => words,
        Answer::Exception(code) => {
            let text = format!("{}, unit {}: exception {code}, {}", place(area), area.unit, exception_text(code));
            return Err(Exit::No.failure(text));
        }
    };
    let document = if area.table.is_bits() { bits(area, &words) } else { registers_document(area, &words) };
    if shared.json || area.table.is_bits() {
        print::value(Style::new(shared.json, 0), &document);
    } else {
        print::out(&registers::drawn(usize::from(area.start), &words, &place(area)));
    }
    Ok(Exit::Done)
}

/// The table and the address counted from 0.
fn area(args: &ReadArgs) -> Result<Area, Failure> {
    let (stated, start) = match args.address {
        address @ (10_001..=19_999 | 100_001..=165_536) => (Some(Table::Discrete), of_manual(address)),
        address @ (30_001..=39_999 | 300_001..=365_536) => (Some(Table::Input), of_manual(address)),
        address @ (40_001..=49_999 | 400_001..=465_536) => (Some(Table::Holding), of_manual(address)),
        address => (None, address.checked_sub(u32::from(args.base))),
    };
    // With an explicit base the number is a plain one, however high.
    let is_manual = stated.is_some() && args.base == 0 && args.kind.is_none_or(|kind| Some(kind) == stated);
    let start = if is_manual { start } else { args.address.checked_sub(u32::from(args.base)) };
    let table = args.kind.or(stated.filter(|_| is_manual)).unwrap_or(Table::Holding);
    let most = if table.is_bits() { BITS_MAX } else { REGISTERS_MAX };
    let usage = |text: String| Exit::Usage.failure(text);
    if args.count > most {
        return Err(usage(format!(
            "--count {}: one request carries at most {most} of table {}",
            args.count,
            table.name()
        )));
    }
    let start = start.and_then(|start| u16::try_from(start).ok());
    let start = start.filter(|start| u32::from(*start) + u32::from(args.count) <= 65_536);
    let start = start.ok_or_else(|| usage(format!("{} is no address of table {}", args.address, table.name())))?;
    Ok(Area { unit: args.unit, table, start, count: args.count })
}

/// 40001 is the first of its table.
fn of_manual(address: u32) -> Option<u32> {
    let modulus = if address > 99_999 { 100_000 } else { 10_000 };
    (address % modulus).checked_sub(1)
}

fn place(area: Area) -> String {
    let last = u32::from(area.start) + u32::from(area.count) - 1;
    let noun = if area.table.is_bits() { "bits" } else { "registers" };
    format!("{} {noun} {} to {last} (counted from 0)", area.table.name(), area.start)
}

/// The answer, or who did not give it and what helps.
fn answered<T>(peer: &Peer, shared: &Shared, answer: Result<T, DeviceError>) -> Result<T, Failure> {
    answer.map_err(|error| {
        if let Some(address) = address_of(shared, &peer.host) {
            let text = format!("{} is a device of {}; its address is wanted: {address}", peer.host, shared.config.display());
            return Exit::Usage.failure(text);
        }
        let text = format!(
            "{}:{}: {error}; is it on, are address and --unit right, has it a free connection (small devices take one or two)?",
            peer.host, peer.port
        );
        Exit::Unreachable.failure(text)
    })
}

/// Where the configuration has a device of this name: its address, as it is to be typed here.
fn address_of(shared: &Shared, name: &str) -> Option<String> {
    let config = source::config(shared).ok()?;
    let device = config.devices.iter().find(|device| device.name == name)?;
    Some(match &device.link {
        Link::Modbus(link) => format!("{}:{} --unit {}", link.host, link.port, link.unit),
        Link::Opcua(_) | Link::Text(_) => "that of a device that speaks Modbus".to_owned(),
    })
}

fn exception_text(code: u8) -> &'static str {
    match code {
        1 => "the device does not know this function: try another --kind",
        2 => {
            "no such address: one number too high or too low (--base), or a hole; `sealgate modbus scan` shows what is there"
        }
        3 => "the device does not read so many at once: a smaller --count",
        4 => "the device failed while it read",
        5 | 6 => "the device is busy: ask again",
        10 => "the gateway has no path to this unit: check --unit and its routing",
        11 => "the unit behind the gateway does not answer: check its power, its cable and --unit",
        _ => "the manual of the device says what it means",
    }
}

fn bits(area: Area, words: &[u16]) -> Value {
    let rows =
        words.iter().enumerate().map(|(index, bit)| json!({ "address": usize::from(area.start) + index, "bit": bit }));
    Value::Array(rows.collect())
}

fn registers_document(area: Area, words: &[u16]) -> Value {
    let shapes: Vec<Value> = registers::all(words)
        .into_iter()
        .map(|row| {
            let Shape { kind, at } = row.shape;
            json!({
                "address": usize::from(area.start) + at, "type": kind, "order": row.order.letters(),
                "word_order": row.order.word_name(), "byte_order": row.order.byte_name(), "value": row.value,
            })
        })
        .collect();
    json!({
        "unit": area.unit, "kind": area.table.name(), "address": area.start, "count": area.count,
        "registers": words, "values": shapes,
    })
}

fn scan(args: &ScanArgs, shared: &Shared) -> Outcome {
    let peer = args.peer.peer(1000);
    let scan = Scan {
        units: args.units.0.clone(),
        tables: args.tables.clone(),
        probe: args.probe,
        last: args.last,
        pause: Duration::from_millis(args.pause_ms),
    };
    let mut teller = Teller::new();
    let found = probe::block_on(modbus_look::scan(&peer, &scan, &mut |progress| teller.tell(progress)));
    teller.end();
    let found = answered(&peer, shared, found)?;
    let rows: Vec<Value> = found.iter().flat_map(rows).collect();
    print::value(Style::new(shared.json, 0), &Value::Array(rows));
    let is_any = found.iter().any(|found| matches!(found, Found::Present { .. }));
    Ok(if is_any { Exit::Done } else { Exit::No })
}

/// Tells on standard error how far a scan is: on a terminal in one line, else in a line every few seconds.
struct Teller {
    clock: Clock,
    is_terminal: bool,
    next_us: u64,
}

const LINES_APART_US: u64 = 5_000_000;
const LOOKS_APART_US: u64 = 250_000;

impl Teller {
    fn new() -> Self {
        let is_terminal = io::stderr().is_terminal();
        Self { clock: Clock::start(), is_terminal, next_us: if is_terminal { 0 } else { LINES_APART_US } }
    }

    fn tell(&mut self, progress: &Progress) {
        let now_us = self.clock.now().mono_us;
        if now_us < self.next_us {
            return;
        }
        self.next_us = now_us + if self.is_terminal { LOOKS_APART_US } else { LINES_APART_US };
        if self.is_terminal {
            // Over the line before, of which nothing may be left.
            let _ = write!(io::stderr().lock(), "\r\u{1b}[K{}", progress_text(progress));
        } else {
            print::problem(&progress_text(progress));
        }
    }

    fn end(&self) {
        if self.is_terminal {
            let _ = write!(io::stderr().lock(), "\r\u{1b}[K");
        }
    }
}

fn progress_text(progress: &Progress) -> String {
    let unit = format!("unit {} ({} of {})", progress.unit, progress.number, progress.units);
    let Some(table) = progress.table else { return format!("{unit}: is it there?") };
    let reads = format!("{unit}: {}, {} reads", table.name(), progress.reads);
    match progress.remaining() {
        Some(left) => format!("{reads}, at most {} s more", left.as_secs() + 1),
        None => reads,
    }
}

fn rows(found: &Found) -> Vec<Value> {
    let row = |unit: u8, kind: Option<Table>, range: Option<&Range>, note: Option<String>| {
        let count = range.map_or(0, |range| u32::from(range.last) - u32::from(range.first) + 1);
        json!({
            "unit": unit, "kind": kind.map(Table::name), "first": range.map(|range| range.first),
            "last": range.map(|range| range.last), "count": count, "note": note,
        })
    };
    match found {
        Found::Absent { unit, exception } => {
            let why = exception.map_or_else(|| "no answer".to_owned(), |code| format!("exception {code}"));
            vec![row(*unit, None, None, Some(format!("absent: {why}")))]
        }
        Found::Present { unit, tables } => {
            let of_table = |Charted { table, ranges, note }: &Charted| {
                let kind = Some(*table);
                let note = note.map(|note| row(*unit, kind, None, Some(note_text(note))));
                ranges.iter().map(|range| row(*unit, kind, Some(range), None)).chain(note).collect::<Vec<_>>()
            };
            tables.iter().flat_map(of_table).collect()
        }
    }
}

fn note_text(note: Note) -> String {
    match note {
        Note::Nothing(code) => format!("exception {code}: {}", exception_text(code)),
        Note::Failing { reads, exception } => {
            format!("given up after {reads} reads: nothing but failures (exception {exception})")
        }
        Note::Silent => "stopped to answer on the way".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(address: u32, base: u8, kind: Option<Table>) -> Option<(Table, u16)> {
        let peer = PeerArgs { host: ("h".to_owned(), 502), timeout_ms: None };
        let args = ReadArgs { peer, address, unit: 1, count: 2, kind, base };
        area(&args).ok().map(|area| (area.table, area.start))
    }

    #[test]
    fn addresses_of_manuals_say_their_table_and_count_from_one() {
        assert_eq!(asked(40_001, 0, None), Some((Table::Holding, 0)));
        assert_eq!(asked(400_001, 0, None), Some((Table::Holding, 0)));
        assert_eq!(asked(30_010, 0, None), Some((Table::Input, 9)));
        assert_eq!(asked(10_001, 0, None), Some((Table::Discrete, 0)));
        assert_eq!(asked(24, 0, None), Some((Table::Holding, 24)));
        assert_eq!(asked(24, 1, None), Some((Table::Holding, 23)));
        assert_eq!(asked(0, 1, None), None);
        assert_eq!(asked(65_535, 0, None), None, "two registers do not fit there");
        assert_eq!(asked(40_001, 0, Some(Table::Input)), Some((Table::Input, 40_001)), "a stated table wins");
    }

    #[test]
    fn hosts_and_units_are_read_as_people_write_them() {
        assert_eq!(host("10.7.3.23"), Ok(("10.7.3.23".to_owned(), 502)));
        assert_eq!(host("plc:1502"), Ok(("plc".to_owned(), 1502)));
        assert_eq!(host("[fe80::1]:503"), Ok(("fe80::1".to_owned(), 503)));
        assert_eq!(host("fe80::1"), Ok(("fe80::1".to_owned(), 502)));
        assert_eq!(host("[fe80::1]"), Ok(("fe80::1".to_owned(), 502)));
        for wrong in
            ["", "plc:x", "plc:0", "plc:502:1", "10.7.3.23:502:1", "[fe80::1]1", "[fe80::1", "tcp://plc", ":502"]
        {
            assert!(host(wrong).is_err(), "{wrong}");
        }
        assert_eq!(units("1..3,7").map(|units| units.0), Ok(vec![1, 2, 3, 7]));
        assert!(units("3..1").is_err() && units("x").is_err() && units("1..300").is_err());
    }

    #[test]
    fn progress_says_where_the_scan_is_and_how_long_a_table_takes_at_most() {
        let begun =
            Progress { unit: 7, number: 2, units: 16, table: None, reads: 0, took: Duration::ZERO, left_max: 0 };
        assert_eq!(progress_text(&begun), "unit 7 (2 of 16): is it there?");
        let there = Progress { table: Some(Table::Holding), left_max: 5040, ..begun };
        assert_eq!(progress_text(&there), "unit 7 (2 of 16): holding, 0 reads");
        let later = Progress { reads: 100, took: Duration::from_secs(2), left_max: 4940, ..there };
        assert_eq!(progress_text(&later), "unit 7 (2 of 16): holding, 100 reads, at most 99 s more");
    }
}
