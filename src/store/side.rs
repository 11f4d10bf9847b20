//! The side file: the newest checkpoints, kept apart from the journal they are about, so that a journal that lost its tail or was
//! exchanged is seen at the next start on the same computer.
//!
//! - One JSON object a line (`Note::to_json`), appended and flushed after the commit that made the checkpoint: what stands here is
//!   never ahead of the journal's durable head (I19), and the verdict path never waits for it.
//! - A line without its end is what a power cut left of an append, and is cut off when the file is opened.
//! - Beyond `BYTES_MAX` the file becomes `NAME.1`, in place of the one before; a later checkpoint covers all earlier ones.
//! - Who can write here can also forge a tail or cut this one; the signatures and the checkpoints at the broker show it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crossbeam_channel::Receiver;

use crate::store::error::StoreError;
use crate::store::lock::beside;
use crate::wire::checkpoint::{Note, notes_in};

const BYTES_MAX: u64 = 8 << 20;
/// What a start reads of the end: a hundred checkpoints or more.
const TAIL_BYTES: u64 = 64 << 10;
/// Checkpoints that share one flush where they come faster than the disk.
const TOGETHER_MAX: usize = 64;

#[derive(Debug)]
pub struct SideFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

/// What a side file holds at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Whether the file was there.
    pub is_there: bool,
    /// The newest checkpoints, oldest first.
    pub notes: Vec<Note>,
    /// Lines among them that are none.
    pub odd_lines: usize,
}

impl SideFile {
    /// Opens the file or makes it, durably. Cuts off a line that was never finished.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let open = || {
            let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
            let bytes = whole_lines(&mut file)?;
            file.set_len(bytes)?;
            file.sync_all()?;
            sync_folder(path)?;
            Ok(Self { path: path.to_owned(), file, bytes })
        };
        open().map_err(failed(path))
    }

    /// Durable when it returns.
    pub fn append(&mut self, notes: &[Note]) -> Result<(), StoreError> {
        let text: String = notes.iter().map(|note| note.to_json() + "\n").collect();
        self.write(&text).map_err(failed(&self.path))
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        if self.bytes > BYTES_MAX {
            fs::rename(&self.path, beside(&self.path, ".1"))?;
            self.file = OpenOptions::new().read(true).append(true).create(true).open(&self.path)?;
            self.bytes = 0;
            sync_folder(&self.path)?;
        }
        if let Err(error) = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data()) {
            // Half a line must not stand before a whole one.
            let _ = self.file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes = self.bytes.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
        Ok(())
    }
}

/// Reads the end of a side file, and of the one before it where the file was begun lately.
pub fn tail(path: &Path) -> Result<Tail, StoreError> {
    let newest = tail_text(path).map_err(failed(path))?;
    let older = beside(path, ".1");
    let is_short = newest.as_ref().is_none_or(|text| text.len() < 4096);
    let before = if is_short { tail_text(&older).map_err(failed(&older))? } else { None };
    let mut tail = Tail { is_there: newest.is_some(), ..Tail::default() };
    for text in [before, newest].into_iter().flatten() {
        for (_, found) in notes_in(&text) {
            match found {
                Ok(note) => tail.notes.push(note),
                Err(_) => tail.odd_lines = tail.odd_lines.saturating_add(1),
            }
        }
    }
    Ok(tail)
}

/// Writes what it is told until nobody tells any more. A file that cannot be written is reported and tried again: the line does not
/// depend on it. `done` hears of each newest checkpoint afterwards, written or not.
pub fn run(mut side: SideFile, told: &Receiver<Note>, mut done: impl FnMut(&Note)) {
    let mut was_failing = false;
    while let Ok(first) = told.recv() {
        let mut notes = vec![first];
        notes.extend(told.try_iter().take(TOGETHER_MAX));
        match side.append(&notes) {
            Ok(()) => was_failing = false,
            Err(error) if was_failing => tracing::debug!(%error, "side_file"),
            Err(error) => {
                tracing::error!(%error, "side_file_cannot_be_written");
                was_failing = true;
            }
        }
        notes.last().into_iter().for_each(&mut done);
    }
}

/// Whole lines of the end of a file; none where there is no file.
fn tail_text(path: &Path) -> io::Result<Option<String>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let from = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let text = text.get(..text.rfind('\n').map_or(0, |at| at.saturating_add(1))).unwrap_or_default();
    let begin = if from == 0 { 0 } else { text.find('\n').map_or(0, |at| at.saturating_add(1)) };
    Ok(Some(text.get(begin..).unwrap_or_default().to_owned()))
}

/// The length up to the end of the last whole line.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    Read::by_ref(file).take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
    Ok(from.saturating_add(u64::try_from(end).unwrap_or(0)))
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn failed(path: &Path) -> impl Fn(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { doing: "keeping checkpoints in", path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::checkpoint::{Head, Key};

    fn note(seq: u64) -> Note {
        let head = Head { line: "l1", store_uuid: "u", epoch: 1, seq, hash: [7; 32], at_us: 0, boot: 1 };
        head.note(seq).signed(&Key::new("l1", &[1; 32]))
    }

    fn seqs(path: &Path) -> Vec<u64> {
        tail(path).expect("read").notes.iter().map(|note| note.seq).collect()
    }

    #[test]
    fn gives_back_the_newest_and_cuts_off_what_a_power_cut_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("line.anchors");
        assert_eq!(tail(&path).expect("read"), Tail::default());
        let mut side = SideFile::open(&path).expect("made");
        side.append(&[note(1), note(2)]).expect("written");
        drop(side);
        let half = note(3).to_json();
        let mut file = OpenOptions::new().append(true).open(&path).expect("there");
        file.write_all(&half.as_bytes()[..40]).expect("written");
        assert_eq!((seqs(&path), tail(&path).expect("read").odd_lines), (vec![1, 2], 0));
        SideFile::open(&path).expect("opened").append(&[note(4)]).expect("written");
        assert_eq!((seqs(&path), tail(&path).expect("read").odd_lines), (vec![1, 2, 4], 0));
    }

    #[test]
    fn is_bounded_and_its_tail_reaches_back_over_the_change_of_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("line.anchors");
        let mut side = SideFile::open(&path).expect("made");
        let many: Vec<Note> = (1..=3).map(note).collect();
        side.append(&many).expect("written");
        side.bytes = BYTES_MAX + 1;
        side.append(&[note(4)]).expect("written");
        assert_eq!(seqs(&path), [1, 2, 3, 4]);
        assert_eq!(fs::read_to_string(&path).expect("there").lines().count(), 1);
        side.bytes = BYTES_MAX + 1;
        side.append(&[note(5)]).expect("written");
        assert_eq!(seqs(&path), [4, 5]);
    }
}
