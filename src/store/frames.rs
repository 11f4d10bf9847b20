//! The log beside a journal, frame by frame (SQLite file format, 4): what of it counts, and what lies behind.
//!
//! SQLite reads a log up to the last commit before the first frame whose sum is wrong, and takes what follows for the rest of a
//! commit that never ended. That is right for the newest commit alone: a further one begins only when the one before it is on
//! disk. A log with two or more commits behind a bad frame is damaged (reliability F25), and [`flaw`] says so before anybody opens it and plays
//! the rest of it away.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::store::carve::{self, PAGE};
use crate::store::error::StoreError;
use crate::store::lock::beside;
use crate::store::reader;

const HEADER: usize = 32;
const FRAME: usize = 24;
/// Commits that may lie behind a bad frame in a log that nothing happened to.
const UNFINISHED_MAX: usize = 1;

#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) page: u32,
    /// Where the page begins in the log.
    pub(super) at: u64,
    ends_commit: bool,
}

/// The frames of one generation, in the order of writing.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) frames: Vec<Frame>,
    /// So many of them count.
    pub(super) counting: usize,
}

/// The log beside `journal`; empty where there is none.
pub(super) fn read(journal: &Path) -> Result<Log, StoreError> {
    let path = beside(journal, "-wal");
    let log = match File::open(&path) {
        Ok(file) => read_frames(BufReader::with_capacity(1 << 20, file)),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Log::default()),
        Err(error) => Err(error),
    };
    log.map_err(|source| StoreError::Io { doing: "reading", path, source })
}

/// What happened to the log beside `journal` that no crash does to one, and that costs facts.
pub(super) fn flaw(journal: &Path) -> Result<Option<String>, StoreError> {
    let log = read(journal)?;
    let (counting, behind) = log.frames.split_at(log.counting);
    let commits = behind.iter().filter(|frame| frame.ends_commit).count();
    if commits <= UNFINISHED_MAX {
        return Ok(None);
    }
    let path = beside(journal, "-wal");
    let newest = |frames: &[Frame]| {
        newest_fact(&path, frames).map_err(|source| StoreError::Io { doing: "reading", path: path.clone(), source })
    };
    let known = newest(counting)?.max(newest_in_file(journal));
    let lost = newest(behind)?;
    Ok((lost > known).then(|| {
        let bad = log.counting.saturating_add(1);
        format!(
            "its log is damaged at or behind frame {bad}, and facts {} to {lost} lie behind",
            known.saturating_add(1)
        )
    }))
}

fn read_frames(mut from: impl Read) -> std::io::Result<Log> {
    let mut header = [0; HEADER];
    let mut log = Log::default();
    if !fill(&mut from, &mut header)? {
        return Ok(log);
    }
    // The lowest bit of the magic number says in which order the sums take their bytes.
    let is_big = header[3] & 1 == 1;
    let start = sum(is_big, (0, 0), &header[..24]);
    let mut is_good = matches!(header[..4], [0x37, 0x7F, 0x06, 0x82 | 0x83]) && start == pair(&header[24..]);
    let mut salt = is_good.then(|| pair(&header[16..24]));
    let (mut sums, mut at) = (start, HEADER as u64);
    let mut frame = [0; FRAME];
    let mut page = vec![0; PAGE];
    while fill(&mut from, &mut frame)? && fill(&mut from, &mut page)? {
        let own = pair(&frame[8..16]);
        sums = sum(is_big, sum(is_big, sums, &frame[..8]), &page);
        is_good = is_good && salt == Some(own) && sums == pair(&frame[16..]);
        // Frames of an earlier generation are in the file already; a header that is damaged leaves those of the first frame.
        if *salt.get_or_insert(own) == own {
            let (number, size) = pair(&frame[..8]);
            log.frames.push(Frame { page: number, at: at + FRAME as u64, ends_commit: size > 0 });
            if is_good && size > 0 {
                log.counting = log.frames.len();
            }
        }
        at += (FRAME + PAGE) as u64;
    }
    Ok(log)
}

/// Whether there was as much as the buffer takes.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn pair(bytes: &[u8]) -> (u32, u32) {
    let word = |at: usize| bytes.get(at..at + 4).and_then(|part| part.try_into().ok()).map_or(0, u32::from_be_bytes);
    (word(0), word(4))
}

/// The running sum over eight bytes at a time (4.2).
fn sum(is_big: bool, (mut first, mut second): (u32, u32), bytes: &[u8]) -> (u32, u32) {
    let order = |word: u32| if is_big { word } else { word.swap_bytes() };
    for eight in bytes.chunks_exact(8) {
        let (left, right) = pair(eight);
        first = first.wrapping_add(order(left)).wrapping_add(second);
        second = second.wrapping_add(order(right)).wrapping_add(first);
    }
    (first, second)
}

/// The highest number of a fact in these frames, as far as a single page tells.
fn newest_fact(log: &Path, frames: &[Frame]) -> std::io::Result<i64> {
    let file = File::open(log)?;
    let mut page = vec![0; PAGE];
    // The numbers of a long fact lie in its own page: whatever stands for the further ones, they come again and again.
    let mut endless = vec![0; PAGE];
    endless[3] = 1;
    let mut newest = 0;
    for frame in frames {
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut page, frame.at)?;
        carve::facts(&page, &|_| Some(endless.clone()), |row| newest = newest.max(row.rowid.unwrap_or(0)));
    }
    Ok(newest)
}

/// The newest fact of the file without its log. What cannot be read is not known.
fn newest_in_file(journal: &Path) -> i64 {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(reader::uri(journal, "mode=ro&immutable=1"), flags);
    let newest =
        conn.and_then(|conn| conn.query_row("SELECT max(seq) FROM fact", [], |row| row.get::<_, Option<i64>>(0)));
    newest.ok().flatten().unwrap_or(0)
}
