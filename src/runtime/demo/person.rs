//! The person at the line: loads and starts the batch, acknowledges what the controller asks for, starts the belt, takes out
//! what does not belong, and closes the batch at the end. Speaks to the daemon over its local socket, as the command line does.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use crate::domain::tag::StationKind;
use crate::runtime::demo::folder::Folder;
use crate::runtime::demo::{DemoError, DemoSettings};
use crate::sim::operator::{Action, AlarmView, Operator};
use crate::sim::random::Random;
use crate::sim::world::World;
use crate::wire::command::{ClientAnswer, request_line};

const BATCH: &str = "DEMO-1";
const ANSWER_MAX: Duration = Duration::from_secs(60);
const START_MAX: Duration = Duration::from_secs(30);
const FINISH_MAX: Duration = Duration::from_secs(60);
/// What stands between a batch and its close is given up when it has not changed for so long.
const FINISH_QUIET: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Person {
    socket: PathBuf,
    operator: Operator,
    began: Instant,
}

impl Person {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket, operator: Operator::default(), began: Instant::now() }
    }

    /// Loads the order and starts it as soon as every station is there.
    pub(super) async fn load_and_start(
        &mut self,
        folder: &Folder,
        settings: &DemoSettings,
        world: &World,
    ) -> Result<(), DemoError> {
        let order = order(settings).to_string();
        std::fs::write(folder.path("order.json"), &order)?;
        let loaded = self.ask("batch_load", &[("order", &order)]).await?;
        if !loaded.ok {
            return Err(DemoError::Stuck(format!("the order is refused: {:?}", loaded.reasons)));
        }
        let until = Instant::now() + START_MAX;
        loop {
            let started = self.batch("batch_start").await?;
            if started.ok {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(DemoError::Stuck(format!("the batch does not start: {:?}", started.reasons)));
            }
            self.look(world).await;
            sleep(PAUSE).await;
        }
    }

    /// One look at the screen and at the machine, and what is to be done about them. A daemon that is away is waited for.
    pub(super) async fn look(&mut self, world: &World) -> Value {
        let Ok(status) = self.status().await else { return Value::Null };
        let alarms: Vec<AlarmView> = status
            .get("alarms")
            .and_then(Value::as_array)
            .map(|alarms| alarms.iter().filter_map(|alarm| view_of(alarm, world)).collect())
            .unwrap_or_default();
        let away = stations_away(&status);
        let actions = self.operator.decide(&world.view(), &alarms);
        for action in actions.into_iter().chain(self.operator.mend(away, self.began.elapsed())) {
            match action {
                Action::AckAlarm(alarm) => {
                    // A daemon that dies just now asks again after its restart.
                    let _ = self.ask("alarm_ack", &[("alarm", &alarm.to_string())]).await;
                }
                Action::AtMachine(deed) => world.order(deed),
            }
        }
        status
    }

    pub(super) async fn status(&self) -> Result<Value, DemoError> {
        let answer = self.ask("status", &[]).await?;
        Ok(answer.data.unwrap_or(Value::Null))
    }

    /// Stops the batch and closes it, as far as its counts allow. Returns what stands against the close; nothing where it closed.
    pub(super) async fn finish(&mut self, world: &World) -> Result<Vec<String>, DemoError> {
        self.batch("batch_stop").await?;
        let until = Instant::now() + FINISH_MAX;
        let (mut left, mut since) = (Vec::new(), Instant::now());
        loop {
            let closed = self.batch("batch_close").await?;
            if closed.ok {
                return Ok(Vec::new());
            }
            // What can still change by itself is waited for; what only a person could sign for is not.
            let waits = closed
                .differences
                .iter()
                .any(|difference| matches!(difference.code.as_str(), "in_buffer" | "in_transit" | "open_containers"));
            let now: Vec<String> = closed.differences.iter().map(|difference| difference.text.clone()).collect();
            if now != left {
                (left, since) = (now, Instant::now());
            }
            if !waits || since.elapsed() > FINISH_QUIET || Instant::now() > until {
                return Ok(left);
            }
            self.look(world).await;
            sleep(PAUSE).await;
        }
    }

    async fn batch(&self, word: &str) -> Result<ClientAnswer, DemoError> {
        self.ask(word, &[("batch", &json!(BATCH).to_string())]).await
    }

    async fn ask(&self, word: &str, parts: &[(&str, &str)]) -> Result<ClientAnswer, DemoError> {
        let line = request_line(1, "operator", word, parts);
        let answer = timeout(ANSWER_MAX, exchange(&self.socket, &line)).await;
        let answer = answer.map_err(|_| DemoError::Stuck(format!("no answer to {word}")))??;
        serde_json::from_str(&answer).map_err(|error| DemoError::Stuck(format!("{word}: {error}: {answer}")))
    }
}

async fn exchange(socket: &PathBuf, line: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(line.as_bytes()).await?;
    let mut answer = String::new();
    if BufReader::new(stream).read_line(&mut answer).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}

/// The stations that the screen shows as away.
fn stations_away(status: &Value) -> Vec<StationKind> {
    let stations = status.get("stations").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let away = stations.iter().filter(|station| station.get("joined") == Some(&Value::Bool(false)));
    away.filter_map(|station| StationKind::parse(station.get("kind")?.as_str()?)).collect()
}

/// An alarm as the operator reads it.
fn view_of(alarm: &Value, world: &World) -> Option<AlarmView> {
    let id = alarm.get("alarm")?.as_u64()?;
    let station = alarm.get("station").and_then(Value::as_str).and_then(StationKind::parse);
    let detail = alarm.get("detail").and_then(Value::as_str).unwrap_or_default();
    Some(world.image().read(|tags| AlarmView::read(id, station, detail, tags)))
}

/// An order with enough serials for all rejects; serials and their order come from the seed.
fn order(settings: &DemoSettings) -> Value {
    let units = settings.units.unwrap_or(100_000);
    let count = units + units / 4 + 2000;
    let mut random = Random::new(settings.seed);
    let letters: Vec<char> = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ".chars().collect();
    let mut serials = std::collections::BTreeSet::new();
    let mut in_order = Vec::new();
    while (in_order.len() as u64) < count {
        let serial: String = (0..12).filter_map(|_| letters.get(random.below(34) as usize)).collect();
        if serials.insert(serial.clone()) {
            in_order.push(serial);
        }
    }
    json!({
        "batch": BATCH,
        "gtin": "09506000134352",
        "lot": "L7",
        "expiry": "2029-03-31",
        "gcp_length": 7,
        "pack": { "case": 10, "pallet": 10 },
        "sscc": { "extension": 0, "prefix": "9506000", "first": 1, "last": count },
        "serials": in_order,
    })
}
