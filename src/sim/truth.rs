//! The plant's own truth, apart from anything that the controller believes: `truth.jsonl`, one JSON object per line, each line
//! written to the file by itself before the plant goes on.
//!
//! Every line has `kind` and `t_us` (the plant's clock, microseconds since it was switched on). Codes are texts in which each
//! byte is the character of that number (ISO 8859-1), so that any bytes survive; a separator is `\u001d`. `unit` numbers
//! physical units from 1 for ever; a case is named by the packer's `epoch` and `container`, a pallet by the palletizer's.
//!
//! | kind | when | fields |
//! |---|---|---|
//! | `plant` | switched on | `seed`, `rate_per_minute`, `units_min`, `case_capacity`, `pallet_capacity` |
//! | `unit` | a unit entered and was printed | `unit`, printer `epoch`, `data_seq`, `record` (what the printer was given), `printed` (what the unit bears; empty when illegible), `spoil` (`none`, `no_read`, `low_grade`, `wrong_lot`, `duplicate`, `foreign`) |
//! | `result` | the camera published or dropped | `unit`, camera `epoch`, `seq` (as shown), `track`, `dropped` |
//! | `verdict` | a verdict was latched for a unit before the blade | `unit`, rejector `epoch`, `track`, `pass` |
//! | `end` | a sensor saw the unit, or none did | `unit`, rejector `epoch`, `track`, `end` (1, 2, 3), `end_seq`, `passed` (the verdict at the blade), `lies` (`line`, `bin`, `lost`) |
//! | `phantom` | something fell into the bin without a command | `epoch`, `phantom_count` |
//! | `request` | a station raised a request | `station`, `epoch`, `seq`, `gate` (`seal`, `release`), `container` |
//! | `denied` | the request was denied | the same |
//! | `gate` | a gate began to open | `station`, `epoch`, `seq`, `gate`, `container`, `token` (0: by a person's hands), `children` (codes as scanned), `inside` (unit or case numbers, in the same order), `label` |
//! | `closed` | a close ended | `station`, `epoch`, `seq`, `gate`, `container`, `token`, `result` (1, 2, 3) |
//! | `labelled` | a label was applied and scanned | `station`, `epoch`, `container`, `label`, `label_read` |
//! | `moved` | a released case went to the palletizer, or a released pallet to the store | `station`, `epoch`, `container`, `label` |
//! | `taken_out` | a person took something out | `station`, `epoch`, `container` (0 outside of one), `unit` (unit or case number), `code` |
//! | `burned` | records left the printer's buffer unprinted | `epoch`, `records` |
//! | `put_back` | a person put a unit back | `station` (the one that it comes to next), `unit`, `code` |
//! | `filled` | a container asks to be sealed, again after each refusal | `station`, `epoch`, `container`, `inside` (unit or case numbers) |
//! | `forced` | a station sealed a container unasked | `station`, `epoch`, `inside`, `label` (what it bears) |
//! | `mishap` | something went wrong (see `mishap`) | `mishap`, `station` (empty where none), `epoch`, `container` (0 for none), `units` that it touched |
//! | `touched` | an earlier mishap touches more | the same |
//! | `belt` | it started or stopped | `running`, `cause` |
//! | `reset` | a station restarted | `station`, `epoch` (the new one) |

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::device::pictures::NamePattern;

use super::mishap::{Mishap, Tally};

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TruthLine {
    pub t_us: u64,
    #[serde(flatten)]
    pub event: TruthEvent,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TruthEvent {
    Plant {
        seed: u64,
        rate_per_minute: u32,
        units_min: u64,
        case_capacity: usize,
        pallet_capacity: usize,
    },
    Unit {
        unit: u64,
        epoch: u32,
        data_seq: u64,
        record: String,
        printed: String,
        spoil: String,
    },
    Result {
        unit: u64,
        epoch: u32,
        seq: u64,
        track: u64,
        dropped: bool,
    },
    Verdict {
        unit: u64,
        epoch: u32,
        track: u64,
        pass: bool,
    },
    End {
        unit: u64,
        epoch: u32,
        track: u64,
        end: u8,
        end_seq: u64,
        passed: bool,
        lies: String,
    },
    Phantom {
        epoch: u32,
        phantom_count: u64,
    },
    Request(RequestOf),
    Denied(RequestOf),
    Gate {
        #[serde(flatten)]
        request: RequestOf,
        token: u32,
        children: Vec<String>,
        inside: Vec<u64>,
        label: String,
    },
    Closed {
        #[serde(flatten)]
        request: RequestOf,
        token: u32,
        result: u8,
    },
    Labelled {
        station: String,
        epoch: u32,
        container: u64,
        label: String,
        label_read: String,
    },
    Moved {
        station: String,
        epoch: u32,
        container: u64,
        label: String,
    },
    TakenOut {
        station: String,
        epoch: u32,
        container: u64,
        unit: u64,
        code: String,
    },
    Burned {
        epoch: u32,
        records: Vec<String>,
    },
    PutBack {
        station: String,
        unit: u64,
        code: String,
    },
    Filled {
        station: String,
        epoch: u32,
        container: u64,
        inside: Vec<u64>,
    },
    Forced {
        station: String,
        epoch: u32,
        inside: Vec<u64>,
        label: String,
    },
    Mishap(Touch),
    Touched(Touch),
    Belt {
        running: bool,
        cause: String,
    },
    Reset {
        station: String,
        epoch: u32,
    },
}

/// What a mishap touched: units, and a container by its station, epoch and count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touch {
    /// `Mishap::name`.
    pub mishap: String,
    pub station: String,
    pub epoch: u32,
    pub container: u64,
    pub units: Vec<u64>,
}

/// The `mishap` of units that were on their way while the process behind the line was ended or stopped from outside: they may be
/// rejected, and that is all that it excuses.
pub const LINE_HALTED: &str = "line_halted";

impl Touch {
    pub fn units(mishap: Mishap, units: Vec<u64>) -> Self {
        Self { mishap: mishap.name().into(), units, ..Self::default() }
    }
}

/// Which request of which station.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestOf {
    pub station: String,
    pub epoch: u32,
    pub seq: u64,
    /// `seal` or `release`.
    pub gate: String,
    pub container: u64,
}

/// Bytes as the text of the truth file.
pub fn text_of(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// The text of the truth file as bytes; a character beyond ISO 8859-1 is none of ours and becomes `?`.
pub fn bytes_of(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

/// Verdicts that a view of the running plant speaks of.
const TIMES_KEPT: usize = 1000;
/// Pixels, both ways.
const PICTURE_SIDE: usize = 16;

/// The lines of one step; physics writes here, the world takes them to the file.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    now_us: u64,
    lines: Vec<TruthLine>,
    /// Results without a verdict, and when they came.
    open: BTreeMap<u64, u64>,
    verdict_times: VecDeque<u64>,
    tally: Tally,
}

impl Truth {
    pub fn at(&mut self, now_us: u64) {
        self.now_us = now_us;
    }

    pub fn note(&mut self, event: TruthEvent) {
        if let TruthEvent::Result { unit, dropped: false, .. } = &event {
            self.open.insert(*unit, self.now_us);
            if self.open.len() > TIMES_KEPT {
                self.open.pop_first();
            }
        }
        // Only the first verdict of a unit answers its result.
        if let TruthEvent::Verdict { unit, .. } = &event {
            self.verdict_times.extend(self.open.remove(unit).map(|at| self.now_us.saturating_sub(at)));
            if self.verdict_times.len() > TIMES_KEPT {
                self.verdict_times.pop_front();
            }
        }
        if let TruthEvent::Mishap(touch) = &event
            && let Some(mishap) = Mishap::parse(&touch.mishap)
        {
            self.tally.add(mishap);
        }
        self.lines.push(TruthLine { t_us: self.now_us, event });
    }

    /// Units whose result was published and that have no verdict yet, the newest of them.
    pub fn undecided(&self) -> Vec<u64> {
        self.open.keys().copied().collect()
    }

    /// How often each kind of mishap has happened.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// From result to verdict, the newest of them.
    pub fn verdict_times(&self) -> Vec<u64> {
        self.verdict_times.iter().copied().collect()
    }

    pub fn take(&mut self) -> Vec<TruthLine> {
        std::mem::take(&mut self.lines)
    }
}

/// The file itself.
#[derive(Debug)]
pub struct TruthFile {
    file: File,
    /// Where the camera drops a picture of each result.
    pictures: Option<DropFolder>,
}

/// Where a camera drops its pictures, and what it calls them.
#[derive(Clone, Debug)]
pub struct DropFolder {
    pub folder: PathBuf,
    pub name: NamePattern,
}

impl TruthFile {
    /// A new file; an old one of that name is replaced.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::create(path)?, pictures: None })
    }

    /// `None`: the camera takes no pictures.
    pub fn with_pictures(self, pictures: Option<DropFolder>) -> Self {
        Self { pictures, ..self }
    }

    pub fn write(&mut self, lines: &[TruthLine]) -> io::Result<()> {
        for line in lines {
            let mut text = serde_json::to_vec(line)?;
            text.push(b'\n');
            self.file.write_all(&text)?;
            if let (Some(into), TruthEvent::Result { unit, seq, .. }) = (&self.pictures, &line.event) {
                drop_picture(into, *unit, *seq)?;
            }
        }
        Ok(())
    }
}

/// As a camera does that writes into a share: bit by bit, under the name that it will keep. The picture names its unit. Where no plain
/// file can have that name, there is no picture: what lies in the folder stops no camera.
fn drop_picture(into: &DropFolder, unit: u64, seq: u64) -> io::Result<()> {
    let path = into.folder.join(into.name.file(seq));
    // A pipe without a reader would keep the whole plant.
    let is_taken = path.symlink_metadata().is_ok_and(|found| !found.is_file());
    let Some(mut file) = (!is_taken).then(|| File::create(path).ok()).flatten() else { return Ok(()) };
    writeln!(file, "P5\n# unit {unit}\n{PICTURE_SIDE} {PICTURE_SIDE}\n255")?;
    let shade = |place: usize| u8::try_from(place % 251).unwrap_or(0);
    let samples: Vec<u8> = (0..PICTURE_SIDE * PICTURE_SIDE).map(shade).collect();
    file.write_all(&samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_where_a_picture_would_stops_no_camera() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join("camera");
        std::fs::create_dir_all(folder.join("u1.pgm")).expect("a folder");
        let pipe = folder.join("u2.pgm");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("it runs").success());
        let elsewhere = place.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, folder.join("u3.pgm")).expect("a link");
        let into = DropFolder { folder: folder.clone(), name: NamePattern::new("u{sequence}.pgm").expect("plain") };
        let path = place.path().join("truth.jsonl");
        let mut truth = TruthFile::create(&path).expect("a file").with_pictures(Some(into));
        let result = |seq| TruthLine {
            t_us: 0,
            event: TruthEvent::Result { unit: seq, epoch: 1, seq, track: seq, dropped: false },
        };
        truth.write(&[1, 2, 3, 4].map(result)).expect("it goes on");
        assert_eq!(std::fs::read_to_string(&path).expect("truth").lines().count(), 4);
        assert!(folder.join("u4.pgm").is_file() && !elsewhere.exists());
    }

    #[test]
    fn the_first_verdict_of_a_unit_is_timed_from_its_result() {
        let mut truth = Truth::default();
        truth.at(10);
        truth.note(TruthEvent::Result { unit: 1, epoch: 1, seq: 1, track: 1, dropped: false });
        truth.note(TruthEvent::Result { unit: 2, epoch: 1, seq: 2, track: 2, dropped: true });
        truth.at(35);
        for unit in [1, 1, 2] {
            truth.note(TruthEvent::Verdict { unit, epoch: 1, track: 1, pass: true });
        }
        assert_eq!(truth.verdict_times(), [25]);
    }

    #[test]
    fn writes_lines_that_read_back_as_they_were() {
        let request = RequestOf { station: "packer".into(), epoch: 7, seq: 3, gate: "seal".into(), container: 2 };
        let line = TruthLine {
            t_us: 5,
            event: TruthEvent::Gate {
                request,
                token: 9,
                children: vec![text_of(b"01\x1D\xFF")],
                inside: vec![1],
                label: String::new(),
            },
        };
        let text = serde_json::to_string(&line).expect("serializes");
        assert!(text.contains(r#""kind":"gate""#) && text.contains(r#""station":"packer""#));
        let back: TruthLine = serde_json::from_str(&text).expect("parses");
        assert_eq!(back, line);
        assert_eq!(bytes_of(&text_of(b"\x00\x1D\xFF")), b"\x00\x1D\xFF");
    }
}
