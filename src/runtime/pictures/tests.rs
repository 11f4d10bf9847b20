//! A gallery over a real journal, a real folder and real files; only the line thread is played, and time is stepped.

use std::cell::RefCell;
use std::fs;
use std::path::Path;

use super::*;
use crate::device::pictures::NamePattern;
use crate::engine::fact::ResultKey;
use crate::store::guard::Bounds;
use crate::store::pictures::path_of;
use crate::store::{self, Store, samples};
use crate::wire::lower::{LineIdentity, Lowering, Stamp};

const STILL_US: u64 = 60_000_000;

struct Bench {
    place: tempfile::TempDir,
    store: Store,
    gallery: Gallery,
    clock: Clock,
    mono_us: u64,
    seq: u64,
    told: RefCell<Vec<Arrival>>,
}

fn settings(place: &Path, keep: usize) -> pictures::Settings {
    pictures::Settings {
        folder: place.join("camera"),
        name: NamePattern::new("u{sequence}.pgm").unwrap(),
        bytes_max: 1000,
        keep,
        keep_bytes: 40,
        within: Duration::from_micros(STILL_US),
        every: false,
    }
}

fn gallery(place: &Path, keep: usize, now: Now) -> Gallery {
    let settings = settings(place, keep);
    let limits = Limits { count: keep, bytes: settings.keep_bytes };
    let bounds = Bounds { reserve_free: 0, ballast: 0 };
    let shelf = Shelf::open(folder_of(&place.join("line.db")), limits, bounds).unwrap();
    Gallery::new(place.join("line.db"), (Name::new("camera").unwrap(), None), settings, shelf, now)
}

impl Bench {
    fn new(keep: usize) -> Self {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("camera")).unwrap();
        let store = store::open(&store::Settings::new(place.path().join("line.db"), "l1")).unwrap();
        let clock = Clock::start();
        let gallery = gallery(place.path(), keep, clock.now());
        Self { place, store, gallery, clock, mono_us: 0, seq: 0, told: RefCell::default() }
    }

    fn commit(&mut self, fact: Fact) {
        self.seq += 1;
        let entry = Entry { seq: self.seq, batch: None, actor: Text::new("line").unwrap(), fact };
        let stamp = Stamp { at_us: self.clock.now().wall_us, mono_us: self.seq, boot: 1 };
        let record = Lowering::new(LineIdentity::default()).record(&entry, None, None, stamp);
        self.store.commit(&samples::job(vec![record]), || 0).unwrap();
    }

    /// The camera has a result, and drops its picture.
    fn see(&mut self, seq: u64, gray: u8) {
        let result = ResultKey { station: Name::new("camera").unwrap(), epoch: 1, seq: Some(seq), track: Some(seq) };
        self.commit(Fact::Failed { result, serial: None, reasons: Vec::new(), code: Vec::new(), grade_milli: None });
        let content = [b"P5 1 1 255\n".as_slice(), &[gray]].concat();
        fs::write(self.place.path().join(format!("camera/u{seq}.pgm")), content).unwrap();
    }

    /// One look after which whatever lay there lies still.
    fn look(&mut self) {
        let told = &self.told;
        let tell = |what| {
            told.borrow_mut().push(what);
            true
        };
        let now = Now { mono_us: self.mono_us, ..self.clock.now() };
        self.gallery.look(now, &tell).unwrap();
        self.mono_us += STILL_US / 2 + 1;
    }

    /// What the line does with what it is told.
    fn decide(&mut self) {
        for arrival in self.told.take() {
            match arrival {
                Arrival::Pictured(_, picture) => self.commit(Fact::PictureStored { picture: *picture }),
                Arrival::PicturesRemoved(pictures) => self.commit(Fact::PicturesRemoved { pictures }),
                other => panic!("{other:?}"),
            }
        }
    }

    fn dropped(&self) -> usize {
        fs::read_dir(self.place.path().join("camera")).unwrap().count()
    }

    fn holds(&self, gray: u8) -> bool {
        let name = crate::wire::digest::sha256_hex(&[b"P5 1 1 255\n".as_slice(), &[gray]].concat());
        path_of(&folder_of(&self.place.path().join("line.db")), &name).unwrap().is_file()
    }
}

#[test]
fn a_file_goes_only_when_the_fact_of_its_picture_is_on_disk_also_after_a_restart_between() {
    let mut bench = Bench::new(10);
    bench.see(7, 1);
    (0..3).for_each(|_| bench.look());
    assert!(bench.holds(1) && bench.told.borrow().len() == 1 && bench.dropped() == 1);
    // The daemon dies before the fact is decided: the next one finds everything as it was.
    bench.told.take();
    bench.gallery = gallery(bench.place.path(), 10, bench.clock.now());
    (0..3).for_each(|_| bench.look());
    assert_eq!(bench.dropped(), 1);
    bench.decide();
    bench.gallery = gallery(bench.place.path(), 10, bench.clock.now());
    (0..3).for_each(|_| bench.look());
    assert_eq!((bench.dropped(), bench.told.borrow().len()), (0, 0), "it was decided: once is enough");
    assert!(bench.holds(1) && bench.gallery.losses.due(0).is_none());
}

#[test]
fn the_oldest_go_by_a_fact_that_comes_first_and_nothing_comes_in_before_they_went() {
    let mut bench = Bench::new(2);
    for (seq, gray) in [(1, 1), (2, 2)] {
        bench.see(seq, gray);
        (0..3).for_each(|_| bench.look());
        bench.decide();
        bench.look();
    }
    bench.see(3, 3);
    // The same content as the one that is about to go.
    bench.see(4, 1);
    (0..3).for_each(|_| bench.look());
    assert!(matches!(bench.told.borrow().as_slice(), [Arrival::PicturesRemoved(gone)] if gone.len() == 1));
    assert!(bench.holds(1) && bench.holds(2) && !bench.holds(3), "no fact says so yet");
    for _ in 0..8 {
        bench.decide();
        bench.look();
    }
    assert_eq!((bench.dropped(), bench.gallery.shelf.count()), (0, 2));
    assert!(bench.holds(3) && bench.holds(1) && !bench.holds(2));
}

/// A picture that fits beside those that are about to go, and is one of them by its content.
#[test]
fn what_is_about_to_go_is_not_taken_for_kept() {
    let mut bench = Bench::new(10);
    for (seq, gray) in [(1, 1), (2, 2)] {
        bench.see(seq, gray);
        (0..3).for_each(|_| bench.look());
        bench.decide();
        bench.look();
    }
    let result = ResultKey { station: Name::new("camera").unwrap(), epoch: 1, seq: Some(3), track: Some(3) };
    bench.commit(Fact::Failed { result, serial: None, reasons: Vec::new(), code: Vec::new(), grade_milli: None });
    fs::write(bench.place.path().join("camera/u3.pgm"), [b"P5 9 1 255\n".as_slice(), &[9; 9]].concat()).unwrap();
    bench.see(4, 1);
    (0..3).for_each(|_| bench.look());
    assert!(matches!(bench.told.borrow().as_slice(), [Arrival::PicturesRemoved(_)]), "{:?}", bench.told.borrow());
    for _ in 0..8 {
        bench.decide();
        bench.look();
    }
    assert_eq!(bench.dropped(), 0);
    assert!(bench.holds(1), "the newest fact about it says that it is kept");
}

#[test]
fn what_was_not_told_yet_is_told_at_the_end() {
    let mut bench = Bench::new(10);
    let (told, notices) = bounded(8);
    let tell = |_, what| told.send(what).is_ok();
    bench.gallery.losses.note(Loss::Foreign, "u1.pgm");
    let first = bench.gallery.losses.due(0);
    bench.gallery.tell_losses(bench.clock.now(), first, &|what| tell(bench.clock.now(), what));
    bench.gallery.losses.note(Loss::Foreign, "u2.pgm");
    assert_eq!((notices.len(), bench.gallery.losses.due(0)), (1, None), "in a minute, where it goes on");
    let (stop, stopping) = bounded(0);
    drop(stop);
    run(bench.gallery, bench.clock, &stopping, tell);
    let said: Vec<Arrival> = notices.try_iter().collect();
    assert!(
        matches!(&said[..], [_, Arrival::Noticed(AlarmKind::PicturesLost, detail)] if detail.contains("2 late")),
        "{said:?}"
    );
}

#[test]
fn one_connection_serves_all_looks() {
    let mut bench = Bench::new(10);
    bench.see(7, 1);
    bench.look();
    let journal = bench.place.path().join("line.db");
    fs::rename(&journal, journal.with_extension("aside")).unwrap();
    // A new one would not find the file.
    bench.look();
    fs::rename(journal.with_extension("aside"), &journal).unwrap();
}
