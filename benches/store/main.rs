//! Durable units per second through the line's side of a record (`wire::lower`) and the store's commit, on a real file with
//! `synchronous=FULL`, by units per transaction. The floor is bare rusqlite that inserts the same rows (`bare`). Then the bytes that
//! a unit leaves in the file once its messages have gone, and how long a restart takes on the journal made.
//! Goals (DESIGN section 10): at least 0.5 × the floor, at most 600 bytes, at most 0.3 s.
//!
//! One thread does both halves, so that what two cores would hide is seen. Each figure is the median of three rounds in which store
//! and floor take turns, each on its own copy of one file, beside the thread that keeps the log short, as in the daemon.
//!
//! `cargo bench --bench store -- [--rows 0,100000] [--units 10000]`

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark measures and prints")]

mod bare;
mod story;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use rusqlite::Connection;
use sealgate::domain::pack::PackLevel;
use sealgate::engine::fact::{Entry, Fact, Gone};
use sealgate::engine::state::State;
use sealgate::store::commit::Job;
use sealgate::store::{self, Reader, Settings, Store, Work, wal};
use sealgate::wire::fact::{self, StoredFact};
use sealgate::wire::lower::{LineIdentity, Lowering, Stamp};
use sealgate::wire::record::Record;
use sealgate::wire::topic;
use story::{Story, Unit};

const LINE: &str = "site/area/line1";
const ROUNDS: usize = 3;
const GROUPS: [usize; 5] = [1, 10, 50, 100, 256];
/// Small groups are bound by the disk: fewer units show as much.
const GROUPS_MAX: usize = 500;

fn main() {
    let (rows, units) = arguments();
    println!(
        "store: durable units per second, store against bare rusqlite with the same rows; {ROUNDS} rounds, median"
    );
    println!("rows       group     store/s     floor/s   ratio   lowering  (goal: ratio >= 0.5)");
    for rows in rows {
        let folder = tempfile::tempdir().expect("a folder");
        let made = Made::new(folder.path(), story::tell(rows + units), rows);
        for group in GROUPS {
            made.compare(group);
        }
        if rows == 0 {
            made.size_and_restart();
        }
    }
}

fn arguments() -> (Vec<u64>, u64) {
    let given: Vec<String> = std::env::args().collect();
    let after = |name: &str| given.iter().position(|word| word == name).and_then(|at| given.get(at + 1));
    let rows = after("--rows").map_or("0,100000", String::as_str);
    let number = |text: &str| text.parse().expect("a whole number");
    (rows.split(',').map(number).collect(), after("--units").map_or(10_000, |units| number(units)))
}

/// A journal that holds the first units of a story, from which every measurement starts.
struct Made {
    path: PathBuf,
    story: Story,
    rows: usize,
    lowering: Lowering,
}

impl Made {
    fn new(folder: &Path, story: Story, rows: u64) -> Self {
        let path = folder.join("start.db");
        let rows = usize::try_from(rows).expect("fits");
        let made = Made { path, story, rows, lowering: lowering() };
        let mut store = open(&made.path);
        made.commit(&mut store, &[&made.story.opening]);
        for group in made.story.units.get(..rows).expect("told").chunks(500) {
            made.commit(&mut store, &group.iter().collect::<Vec<_>>());
        }
        drop(store);
        truncate_log(&made.path);
        made
    }

    /// One transaction; how long its lowering took.
    fn commit(&self, store: &mut Store, units: &[&Unit]) -> Duration {
        let began = Instant::now();
        let entries = units.iter().flat_map(|unit| unit.iter());
        let records: Vec<Record> = entries
            .map(|(entry, stamp)| {
                let order = matches!(entry.fact, Fact::BatchLoaded { .. }).then_some(&self.story.order);
                let sheet = entry.batch.map(|_| &self.story.order.sheet);
                self.lowering.record(entry, sheet, order, *stamp)
            })
            .collect();
        let lowered = began.elapsed();
        let last = records.last().map_or(0, |record| record.row.seq);
        let durable = store.commit(&Job { records, work: Vec::new() }, || 0).expect("committed");
        assert_eq!(durable.through(), last);
        lowered
    }

    fn compare(&self, group: usize) {
        let measured = self.story.units.get(self.rows..).expect("told");
        let measured = measured.get(..measured.len().min(group * GROUPS_MAX)).expect("in range");
        let groups: Vec<Vec<&Unit>> = measured.chunks(group).map(|units| units.iter().collect()).collect();
        let (mut ours, mut floors, mut lowered) = (Vec::new(), Vec::new(), Duration::ZERO);
        for _ in 0..ROUNDS {
            let copy = self.copy("store.db");
            let mut store = self.resume(&copy);
            let head = store.head().0;
            ours.push(beside_checkpoints(&copy, || {
                lowered = groups.iter().map(|units| self.commit(&mut store, units)).sum();
            }));
            drop(store);
            let rows = bare::Rows::of(&copy, head);
            let lasts: Vec<u64> = groups.iter().filter_map(|units| Some(units.last()?.last()?.0.seq)).collect();
            let other = self.copy("bare.db");
            floors.push(beside_checkpoints(&other, || rows.insert(&other, &lasts)));
            assert_same(&copy, &other);
        }
        let count = f64::from(u32::try_from(measured.len()).expect("fits"));
        let (ours, floor) = (median(&mut ours).as_secs_f64(), median(&mut floors).as_secs_f64());
        println!(
            "{:<9} {group:>6} {:>11.0} {:>11.0} {:>7.2} {:>9.0} %",
            self.rows,
            count / ours,
            count / floor,
            floor / ours,
            100.0 * lowered.as_secs_f64() / ours,
        );
    }

    /// Opened as the daemon opens it: with the order of the open batch at hand.
    fn resume(&self, path: &Path) -> Store {
        let mut store = open(path);
        store.order(&self.story.order.sheet).expect("the order that was loaded");
        store
    }

    fn copy(&self, name: &str) -> PathBuf {
        let copy = self.path.with_file_name(name);
        for tail in ["", "-wal", "-shm"] {
            // What is not there needs no removal.
            let _ = std::fs::remove_file(format!("{}{tail}", copy.display()));
        }
        std::fs::copy(&self.path, &copy).expect("room on the disk");
        copy
    }

    /// All units of the story, one transaction each ten, then the messages gone.
    fn size_and_restart(&self) {
        let path = self.copy("size.db");
        let mut store = self.resume(&path);
        for group in self.story.units.chunks(10) {
            self.commit(&mut store, &group.iter().collect::<Vec<_>>());
        }
        let through = store.head().0;
        let work = vec![Work::FeedAcked { through }];
        store.commit(&Job { records: Vec::new(), work }, || 0).expect("committed");
        let mut gone = Gone::default();
        for stream in topic::STREAMS {
            gone.raise(
                stream,
                Reader::open(&path).and_then(|mut reader| reader.stream_head(stream)).expect("readable"),
            );
        }
        let (through, actor) = (through + 1, sealgate::domain::text::Text::new("line").expect("short"));
        let entry = Entry { seq: through, batch: None, actor, fact: Fact::MessagesExpired { gone } };
        let record = self.lowering.record(&entry, None, None, Stamp { boot: store.boot(), ..Stamp::default() });
        store.commit(&Job { records: vec![record], work: Vec::new() }, || 0).expect("committed");
        drop(store);
        truncate_log(&path);
        print_sizes(&path, self.story.units.len());
        let mut took: Vec<Duration> = (0..ROUNDS).map(|_| restart(&path, through)).collect();
        println!(
            "restart: open and fold {through} facts in {:.3} s  (goal: <= 0.3 s on a small journal)",
            median(&mut took).as_secs_f64()
        );
    }
}

fn open(path: &Path) -> Store {
    store::open(&Settings::new(path, LINE)).expect("opens")
}

fn lowering() -> Lowering {
    let read_point = "urn:epc:id:sgln:9506000.12345.line1".to_owned();
    let at = |name: &str| (sealgate::domain::text::Text::new(name).expect("short"), read_point.clone());
    Lowering::new(LineIdentity {
        line: LINE.to_owned(),
        source: format!("urn:sealgate:line:{LINE}"),
        read_points: ["camera", "rejector"].map(at).into(),
        container_read_points: [PackLevel::Case, PackLevel::Pallet].map(|level| (level, read_point.clone())).into(),
        biz_location: "urn:epc:id:sgln:9506000.12345.0".to_owned(),
        offset_minutes: 60,
    })
}

fn beside_checkpoints(path: &Path, work: impl FnOnce()) -> Duration {
    let (stop, stopped) = bounded(1);
    std::thread::scope(|scope| {
        scope.spawn(move || wal::run(path, &stopped).expect("checkpoints"));
        let began = Instant::now();
        work();
        let took = began.elapsed();
        drop(stop);
        took
    })
}

fn truncate_log(path: &Path) {
    let conn = Connection::open(path).expect("opens");
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("nobody else is there");
}

/// The floor has done the same work.
fn assert_same(ours: &Path, floor: &Path) {
    let count = |path: &Path| -> Vec<i64> {
        let conn = Connection::open(path).expect("opens");
        let count = |table: &str| conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0));
        let tables = ["fact", "inspection", "container", "container_fact", "member", "permit", "message", "serial_run"];
        let sum = "(SELECT 1 FROM serial WHERE verified = 1)";
        tables.into_iter().chain([sum]).map(|table| count(table).expect("the schema")).collect()
    };
    assert_eq!(count(ours), count(floor));
}

fn print_sizes(path: &Path, units: usize) {
    let conn = Connection::open(path).expect("opens");
    let number = |sql: &str| -> i64 { conn.query_row(sql, [], |row| row.get(0)).expect("a number") };
    let pages = number("PRAGMA page_count") - number("PRAGMA freelist_count");
    let units = i64::try_from(units).expect("small");
    let whole = pages * number("PRAGMA page_size");
    println!("bytes per unit: {} with messages gone  (goal: <= 600), of which", whole / units);
    let sql = "SELECT name, sum(pgsize) FROM dbstat GROUP BY name HAVING sum(pgsize) > 4096 ORDER BY 2 DESC";
    let mut sizes = conn.prepare(sql).expect("dbstat is built in");
    let sizes = sizes.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))).expect("rows");
    for (name, bytes) in sizes.map(|size| size.expect("a row")) {
        println!("  {name:<34} {:>5}", bytes / units);
    }
    let sql = "SELECT kind, count(*), sum(length(subject)), sum(length(CAST(body AS BLOB))) FROM \
               (SELECT w.text AS kind, f.subject, f.body FROM fact f JOIN word w ON w.word = f.kind) GROUP BY kind ORDER BY 2 DESC";
    let mut kinds = conn.prepare(sql).expect("the schema");
    let mut rows = kinds.query([]).expect("rows");
    println!("  kind of fact, number, bytes of subject and body in all");
    while let Some(row) = rows.next().expect("a row") {
        let (kind, count): (String, i64) = (row.get(0).expect("text"), row.get(1).expect("a number"));
        let (subject, body): (i64, i64) = (row.get(2).expect("a number"), row.get(3).expect("a number"));
        println!("  {kind:<24} {count:>7} {subject:>9} {body:>9}");
    }
}

/// What a start does before the line turns: the lock, the tail of the chain, the fold.
fn restart(path: &Path, through: u64) -> Duration {
    let began = Instant::now();
    let mut store = open(path);
    let recovered = store.recover().expect("recovers");
    let mut state = State { seq: recovered.from_seq - 1, ..State::default() };
    for batch in &recovered.open_batches {
        if let Fact::BatchLoaded { sheet, .. } = decode(&batch.loaded).fact {
            state.insert_order(store.order(&sheet).expect("an order").as_ref());
        }
    }
    let fold = |stored: store::StoredFact| {
        state.apply(&decode(&stored));
        Ok::<(), store::StoreError>(())
    };
    store.each_fact(recovered.from_seq, fold).expect("folds");
    let took = began.elapsed();
    assert_eq!(state.seq, through);
    took
}

fn decode(stored: &store::StoredFact) -> sealgate::engine::fact::Entry {
    let store::StoredFact { seq, kind, version, batch, actor, body, .. } = stored;
    let batch = batch.as_deref();
    fact::decode(StoredFact { seq: *seq, kind, version: *version, batch, actor, body }).expect("readable")
}

fn median(took: &mut [Duration]) -> Duration {
    took.sort_unstable();
    took.get(took.len() / 2).copied().unwrap_or_default()
}
