//! The machines of the benchmark: the simulated plant's OPC UA server, its tags moved by the benchmark itself, so that the instant
//! of every result and of every verdict is known. Printer, camera with a ring of 64, rejector; every verdict is echoed at once and
//! its track ends at once.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sealgate::domain::tag::StationKind::{self, Camera, Printer, Rejector};
use sealgate::domain::tag::{Tag, TagValue};
use sealgate::sim::opcua_server;
use sealgate::sim::settings::PlantSettings;
use sealgate::sim::tags::{StationValue, TagImage, Tags};

const BEAT: Duration = Duration::from_millis(50);
/// Units between the printer and the camera.
const BELT: i64 = 16;
const RING: usize = 64;
const ENDS: usize = 256;
const TRACK_LAST: i64 = 32_767;

/// How results are presented.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// At this rate, whatever the answers do.
    PerSecond(u32),
    /// The next as soon as no more than so many wait for their verdict.
    InFlight(usize),
}

pub(crate) struct Plant {
    folder: PathBuf,
    image: Arc<TagImage>,
    pub(crate) address: SocketAddr,
    /// Ends with the plant.
    _server: tokio::runtime::Runtime,
    next_beat: Instant,
    beat: i64,
    /// Codes that the printer was given and the camera has not seen.
    pub(crate) codes: VecDeque<Vec<u8>>,
    data: Vec<u8>,
    ring: (Vec<Vec<u8>>, Vec<i64>, Vec<i64>),
    ends: Vec<i64>,
    seq: i64,
    end_seq: i64,
    /// By track: when its result was published.
    waiting: BTreeMap<i64, Instant>,
    took: Vec<Duration>,
    pub(crate) may_run: bool,
}

/// What a run of results showed.
pub(crate) struct Run {
    pub(crate) took: Vec<Duration>,
    pub(crate) lasted: Duration,
}

impl Plant {
    pub(crate) fn start(folder: &Path) -> Self {
        let settings = PlantSettings { ring: RING, ends_ring: ENDS, ..PlantSettings::default() };
        let image = Arc::new(TagImage::new(&settings));
        let server =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
        let listener =
            server.block_on(async { opcua_server::listen(([127, 0, 0, 1], 0).into()) }).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (served, pki) = (Arc::clone(&image), folder.join("server-pki"));
        server.spawn(async move { opcua_server::run(listener, served, &pki).await });
        Self {
            folder: folder.to_owned(),
            image,
            address,
            _server: server,
            next_beat: Instant::now(),
            beat: 0,
            codes: VecDeque::new(),
            data: Vec::new(),
            ring: (vec![Vec::new(); RING], vec![0; RING], vec![0; RING]),
            ends: vec![0; ENDS * 2],
            seq: 0,
            end_seq: 0,
            waiting: BTreeMap::new(),
            took: Vec::new(),
            may_run: false,
        }
    }

    /// Serves the line until the condition holds.
    pub(crate) fn serve_until(&mut self, at_most: Duration, what: &str, done: impl Fn(&Plant) -> bool) {
        let end = Instant::now() + at_most;
        while !done(self) {
            assert!(Instant::now() < end, "{what} did not come within {at_most:?}");
            self.serve(self.next_beat);
        }
    }

    /// Presents `count` results, and waits for their verdicts.
    pub(crate) fn present(&mut self, pace: Pace, count: usize) -> Run {
        self.took.clear();
        let began = Instant::now();
        let mut presented = 0;
        while self.took.len() < count {
            let waited = self.waiting.values().next().map(Instant::elapsed).unwrap_or_default();
            assert!(waited < Duration::from_secs(5), "result {} got no verdict; {} came", self.seq, self.took.len());
            let due = match pace {
                _ if presented == count => None,
                Pace::PerSecond(rate) => Some(began + Duration::from_secs(1) * presented_u32(presented) / rate),
                Pace::InFlight(most) => (self.waiting.len() < most).then(Instant::now),
            };
            match due {
                Some(due) if due <= Instant::now() && !self.codes.is_empty() => {
                    self.publish();
                    presented += 1;
                }
                Some(due) => self.serve(due.max(Instant::now() + Duration::from_micros(50)).min(self.next_beat)),
                None => self.serve(self.next_beat),
            }
        }
        Run { took: std::mem::take(&mut self.took), lasted: began.elapsed() }
    }

    fn publish(&mut self) {
        let code = self.codes.pop_front().expect("looked before");
        self.seq += 1;
        let (seq, track) = (self.seq, (self.seq - 1) % TRACK_LAST + 1);
        let slot = usize::try_from(seq).expect("positive") % RING;
        self.ring.0[slot] = code;
        self.ring.1[slot] = track;
        self.ring.2[slot] = 3500;
        let (codes, tracks, grades) = self.ring.clone();
        let began = Instant::now();
        self.waiting.insert(track, began);
        self.image.change(|tags| {
            print_ahead(tags, seq);
            tags.set(Rejector, Tag::InCount, TagValue::Int(track));
            tags.set(Camera, Tag::Seq, TagValue::Int(seq));
            tags.set(Camera, Tag::Code, TagValue::Texts(codes));
            tags.set(Camera, Tag::Track, TagValue::Ints(tracks));
            tags.set(Camera, Tag::Grade, TagValue::Millis(grades));
        });
    }

    /// Waits for writes until `until`, answers them, and beats.
    fn serve(&mut self, until: Instant) {
        self.image.wait_for_write(until.saturating_duration_since(Instant::now()));
        let now = Instant::now();
        let image = Arc::clone(&self.image);
        image.change(|tags| {
            for write in tags.take_writes() {
                self.take(now, write, tags);
            }
            if now >= self.next_beat {
                self.next_beat = now + BEAT;
                self.beat = self.beat % 60_000 + 1;
                for kind in [Printer, Camera, Rejector] {
                    tags.set(kind, Tag::Heartbeat, TagValue::Int(self.beat));
                    tags.set(kind, Tag::Epoch, TagValue::Int(1));
                }
            }
        });
    }

    fn take(&mut self, now: Instant, (kind, tag, value): StationValue, tags: &mut Tags) {
        match (kind, tag, value) {
            (Rejector, Tag::VerdictWord, TagValue::Int(word)) => {
                tags.set(Rejector, Tag::VerdictEcho, TagValue::Int(word));
                if let Some(began) = self.waiting.remove(&(word / 2)) {
                    assert_eq!(word % 2, 1, "a conforming unit passes; see {}", self.folder.display());
                    self.took.push(now - began);
                    self.end(word / 2, tags);
                }
            }
            (Rejector, Tag::RunPermit, TagValue::Bool(may)) => self.may_run = may,
            (Printer, Tag::Data, TagValue::Bytes(data)) => self.data = data,
            (Printer, Tag::DataSeq, TagValue::Int(seq)) if tags.int(Printer, Tag::AcceptedSeq) != seq => {
                self.codes.push_back(self.data.clone());
                tags.set(Printer, Tag::AcceptedSeq, TagValue::Int(seq));
                print_ahead(tags, self.seq);
            }
            (Printer, Tag::Flush, TagValue::Int(flush)) => {
                self.codes.clear();
                tags.set(Printer, Tag::FlushDone, TagValue::Int(flush));
            }
            _ => {}
        }
    }

    fn end(&mut self, track: i64, tags: &mut Tags) {
        self.end_seq += 1;
        let slot = usize::try_from(self.end_seq).expect("positive") % ENDS * 2;
        self.ends[slot] = track;
        self.ends[slot + 1] = 1;
        tags.set(Rejector, Tag::Ends, TagValue::Ints(self.ends.clone()));
        tags.set(Rejector, Tag::EndSeq, TagValue::Int(self.end_seq));
    }

    /// What stands in a tag.
    pub(crate) fn int(&self, kind: StationKind, tag: Tag) -> i64 {
        self.image.read(|tags| tags.int(kind, tag))
    }
}

/// A unit is printed long before the camera sees it.
fn print_ahead(tags: &mut Tags, seen: i64) {
    let printed = tags.int(Printer, Tag::AcceptedSeq).min(seen + BELT);
    tags.set(Printer, Tag::PrintedSeq, TagValue::Int(printed));
}

fn presented_u32(count: usize) -> u32 {
    u32::try_from(count).expect("a short run")
}
