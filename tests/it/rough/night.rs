//! One run: plant, line, journal and operator, a millisecond at a time.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use crossbeam_channel::Receiver;
use sealgate::config::{self, Config};
use sealgate::domain::tag::{Access, Reading, StationId, StationKind, TagUpdate, TagWrite};
use sealgate::domain::text::Text;
use sealgate::domain::time::Now;
use sealgate::engine::input::{Ask, Asker, Order, Request};
use sealgate::engine::state::State;
use sealgate::engine::{Engine, Start};
use sealgate::line::{self, Arrival, Inbound, Line, Parts};
use sealgate::sim::mishap::Mishap;
use sealgate::sim::operator::{Action, AlarmView, Operator};
use sealgate::sim::physics::{Deed, Plant};
use sealgate::sim::reconcile::{Report, reconcile_without_feed};
use sealgate::sim::settings::PlantSettings;
use sealgate::sim::tags::Tags;
use sealgate::store::commit::{Job, SqliteJournal, channel};
use sealgate::store::{Durable, Settings, Store, open, views};
use sealgate::wire::lower::{LineIdentity, Lowering};
use sealgate::wire::order::OrderDraft;

const STEP_US: u64 = 1_000;
const TICK_US: u64 = 50_000;
/// What a commit takes.
const COMMIT_US: u64 = 3_000;
/// Plant time after which a run that has not ended never will.
const END_US: u64 = 600_000_000;
/// A morning in November 2026.
const WALL_US: i64 = 1_795_420_800_000_000;

/// Takes the line's writes until the step is over.
#[derive(Clone, Default)]
struct Writes(Rc<RefCell<Vec<TagWrite>>>);

impl line::Plant for Writes {
    fn write(&mut self, write: TagWrite) {
        self.0.borrow_mut().push(write);
    }
}

pub(super) struct Night {
    folder: tempfile::TempDir,
    config: Config,
    plant: Plant,
    tags: Tags,
    shown: u64,
    line: Line<SqliteJournal, Writes>,
    writes: Writes,
    store: Store,
    jobs: Receiver<Job>,
    in_flight: Option<(u64, Durable)>,
    slow: Option<(u64, Mishap)>,
    calls: Vec<Mishap>,
    operator: Operator,
    now_us: u64,
    truth: String,
    asked: u64,
    refusals: Vec<String>,
}

impl Night {
    pub(super) fn new(settings: PlantSettings) -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo.toml");
        let config = config::load(Path::new(path)).expect("the demo's config is valid");
        // In memory where the machine has such a folder: this is no test of the disk.
        let shm = Path::new("/dev/shm");
        let folder = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.expect("a folder");
        let store = open(&Settings::new(folder.path().join("line.db"), "site/line")).expect("a journal");
        let (journal, jobs) = channel();
        let state = State::default();
        let stations = line::recover::stations(config.stations.iter().map(|station| &station.settings), &state);
        let lowering = Lowering::new(LineIdentity {
            line: "site/line".to_owned(),
            source: "urn:sealgate:line:site/line".to_owned(),
            read_points: Default::default(),
            container_read_points: Default::default(),
            biz_location: "urn:epc:id:sgln:9506000.12345.0".to_owned(),
            offset_minutes: 0,
        });
        let writes = Writes::default();
        let parts = Parts {
            engine: Engine::new(config.engine.clone(), state),
            stations,
            lowering,
            journal,
            plant: writes.clone(),
            durable: store.durable(),
            boot: store.boot(),
        };
        let mut night = Self {
            folder,
            plant: Plant::new(settings.clone()),
            tags: Tags::new(&settings.bounded()),
            shown: 0,
            line: Line::new(parts),
            config,
            writes,
            store,
            jobs,
            in_flight: None,
            slow: None,
            calls: Vec::new(),
            operator: Operator::default(),
            now_us: 0,
            truth: String::new(),
            asked: 0,
            refusals: Vec::new(),
        };
        night.begin();
        night
    }

    fn begin(&mut self) {
        let start = Start {
            version: Text::new("0").unwrap_or_default(),
            config_sha256: Text::new("0").unwrap_or_default(),
            clean: true,
            epoch: None,
            key: None,
            doubts: Vec::new(),
            description: None,
        };
        let now = self.now();
        self.line.start(now, start);
        let all = (0..self.config.stations.len()).filter_map(|at| u8::try_from(at).ok()).map(StationId).collect();
        self.turn(Arrival::Connected(all));
        self.ask(Request::LoadBatch(order()));
        let batch = order().sheet.batch;
        for _ in 0..20 {
            self.run_us(100_000);
            self.refusals.clear();
            self.ask(Request::StartBatch(batch));
            self.run_us(20_000);
            if self.refusals.is_empty() {
                return;
            }
        }
        panic!("the batch does not start: {:?}", self.refusals);
    }

    /// Until the plant has finished, and then the comparison.
    pub(super) fn into_report(mut self) -> Report {
        while !(self.plant.view().is_finished && self.slow.is_none()) {
            self.step();
            assert!(self.now_us < END_US, "stuck: {}", self.describe());
        }
        self.run_us(3_000_000);
        if let Some(folder) = std::env::var_os("SEALGATE_ROUGH_KEEP") {
            let folder = std::path::PathBuf::from(folder);
            std::fs::write(folder.join("truth.jsonl"), &self.truth).expect("kept");
            for file in ["line.db", "line.db-wal"] {
                std::fs::copy(self.folder.path().join(file), folder.join(file)).expect("kept");
            }
        }
        let views = views::load(&self.folder.path().join("line.db")).expect("views");
        reconcile_without_feed(&self.truth, &views)
    }

    fn describe(&self) -> String {
        let state = self.line.engine().state();
        let alarms: Vec<_> = state.alarms.values().map(|alarm| (alarm.kind, alarm.detail.clone())).collect();
        let away: Vec<_> = state.stations.iter().filter(|(_, at)| !at.joined).map(|(name, _)| name.as_str()).collect();
        let requests: Vec<_> = state.stations.values().filter_map(|at| at.request).collect();
        format!(
            "{:?} {:?} may run {} alarms {alarms:?} away {away:?} {requests:?}",
            self.plant.counters(),
            self.plant.view(),
            self.line.engine().may_run()
        )
    }

    fn now(&self) -> Now {
        let wall_us = WALL_US + i64::try_from(self.now_us).expect("a short run");
        Now { mono_us: self.now_us, wall_us }
    }

    fn run_us(&mut self, us: u64) {
        let until = self.now_us + us;
        while self.now_us < until {
            self.step();
        }
    }

    fn step(&mut self) {
        self.now_us += STEP_US;
        self.plant.step(self.now_us, &mut self.tags);
        for line in self.plant.take_truth() {
            self.truth.push_str(&serde_json::to_string(&line).expect("serializes"));
            self.truth.push('\n');
        }
        self.show();
        if self.in_flight.as_ref().is_some_and(|(due, _)| *due <= self.now_us)
            && let Some((_, durable)) = self.in_flight.take()
        {
            self.turn(Arrival::Durable(durable));
        }
        if self.now_us.is_multiple_of(TICK_US) {
            self.turn(Arrival::Tick);
            self.operate();
        }
        self.outside();
        let writes = std::mem::take(&mut *self.writes.0.borrow_mut());
        for TagWrite { station, values } in writes {
            let kind = self.kind(station);
            let values = values.into_iter().map(|(tag, value)| (kind, tag, value)).collect();
            self.tags.write(values).expect("the line writes what the contract has");
        }
    }

    fn kind(&self, station: StationId) -> StationKind {
        self.config.stations[usize::from(station.0)].settings.kind
    }

    /// A change of anything at a station is one coherent read of all of it.
    fn show(&mut self) {
        let shown = std::mem::replace(&mut self.shown, self.tags.version());
        let changed: Vec<StationKind> = self
            .tags
            .changed_since(shown)
            .filter(|(_, tag, _)| tag.access() == Access::Read)
            .map(|(kind, ..)| kind)
            .collect();
        for index in 0..self.config.stations.len() {
            let settings = &self.config.stations[index].settings;
            if !changed.contains(&settings.kind) {
                continue;
            }
            let (station, kind) = (settings.id, settings.kind);
            let readings = self
                .tags
                .list()
                .filter(|(at, tag, _)| *at == kind && tag.access() == Access::Read)
                .filter_map(|(_, tag, _)| {
                    let (value, quality) = (self.tags.value(kind, tag)?.clone(), self.tags.quality(kind, tag));
                    Some(Reading { tag, value, quality, source_us: None })
                })
                .collect();
            self.turn(Arrival::Update(TagUpdate { station, readings, server_us: None }));
        }
    }

    fn turn(&mut self, what: Arrival) {
        let now = self.now();
        let turn = self.line.turn(now, Inbound { seen_mono_us: self.now_us, what });
        for answer in turn.answers {
            if let Err(refused) = answer.outcome {
                self.refusals.push(format!("{refused:?}"));
            }
        }
        if let Ok(job) = self.jobs.try_recv() {
            let durable = self.store.commit(&job, || 0).expect("the journal takes it");
            let due = self.now_us + COMMIT_US;
            self.in_flight = Some((self.slow.as_ref().map_or(due, |(until, _)| due.max(*until)), durable));
        }
    }

    fn ask(&mut self, request: Request) {
        self.asked += 1;
        let actor = Text::new("operator").unwrap_or_default();
        self.turn(Arrival::Asked(Ask { id: self.asked, asker: Asker::Door(actor), request }));
    }

    fn operate(&mut self) {
        let state = self.line.engine().state();
        let alarms: Vec<AlarmView> = state
            .alarms
            .iter()
            .map(|(id, alarm)| {
                let kind = alarm.station.and_then(|name| StationKind::parse(name.as_str()));
                AlarmView::read(u64::from(*id), kind, &alarm.detail, &self.tags)
            })
            .collect();
        let away = state.stations.iter().filter(|(_, at)| !at.joined);
        let away = away.filter_map(|(name, _)| StationKind::parse(name.as_str())).collect();
        let mut actions = self.operator.decide(&self.plant.view(), &alarms);
        actions.extend(self.operator.mend(away, std::time::Duration::from_micros(self.now_us)));
        for action in actions {
            match action {
                Action::AckAlarm(id) => {
                    let alarm = u32::try_from(id).expect("an alarm's number");
                    self.ask(Request::AcknowledgeAlarm(alarm));
                }
                Action::AtMachine(deed) => self.plant.order(deed),
            }
        }
    }

    /// The broker is none here; a slow disk lets the completion wait.
    fn outside(&mut self) {
        if let Some((_, mishap)) = self.slow.take_if(|(until, _)| *until <= self.now_us) {
            self.plant.order(Deed::Ended(mishap));
        }
        self.calls.extend(self.plant.take_calls());
        if self.slow.is_some() || self.calls.is_empty() {
            return;
        }
        let mishap = self.calls.remove(0);
        self.plant.order(Deed::Began(mishap));
        let slow = [(Mishap::SlowDiskHalf, 500_000), (Mishap::SlowDiskTwo, 2_000_000)];
        let for_us = slow.into_iter().find(|(kind, _)| *kind == mishap).map_or(0, |(_, for_us)| for_us);
        let until = self.now_us + for_us;
        self.slow = Some((until, mishap));
        if let Some((due, _)) = &mut self.in_flight {
            *due = (*due).max(until);
        }
    }
}

fn order() -> Arc<Order> {
    let serials: Vec<String> = (0..6000).map(|number| format!("S{number:07}")).collect();
    let json = serde_json::json!({
        "batch": "NIGHT-1", "gtin": "09506000134352", "lot": "L7", "expiry": "2029-03-31", "gcp_length": 7,
        "pack": { "case": 10, "pallet": 10 },
        "sscc": { "extension": 0, "prefix": "9506000", "first": 1, "last": 6000 },
        "serials": serials,
    });
    let draft = OrderDraft::parse(json.to_string().as_bytes()).expect("well-formed");
    Arc::new(draft.finish(None).expect("the order is valid"))
}
