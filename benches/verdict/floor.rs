//! The floor, as a process of its own: the same client crate against the same server, one Read of the camera's tags, one
//! transaction of the rows that a verified unit has in the journal, one Write of verdict and acknowledgement, in one plain loop.
//! Polled each millisecond, or on the notification of a subscription published each millisecond, or, where as much as possible is
//! wanted, read after read. It checks nothing, prints nothing, ends no track, and forgets everything when it starts again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use opcua::client::{Session, SubscriptionCallbacks};
use opcua::types::{
    Array, MonitoredItemCreateRequest, NodeId, ReadValueId, StatusCode, TimestampsToReturn, Variant, WriteValue,
};
use rusqlite::Connection;
use sealgate::sim::opcua_server::NAMESPACE;
use sealgate::store;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use crate::direct::connect;

const SERIALS: i64 = 20_000;
const READ: [&str; 11] =
    ["epoch", "seq", "heartbeat", "state", "fault", "identity", "overrun", "code", "track", "grade", "seq"];
const BODY: &str = r#"{"station":"camera","epoch":1,"seq":1234,"track":1234,"serial":"0123456789AB","grade":3500}"#;

pub(crate) fn main(address: &str, mode: &str, folder: &str) {
    let journal = journal(Path::new(folder));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    runtime.block_on(serve(address.to_owned(), mode, PathBuf::from(folder), journal));
}

/// A file of the store's own schema, with serials to update.
fn journal(folder: &Path) -> Connection {
    let path = folder.join("floor.db");
    drop(store::open(&store::Settings::new(&path, "floor")).expect("a new file"));
    let conn = Connection::open(&path).expect("opens");
    conn.execute_batch(&format!(
        "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA temp_store=MEMORY; BEGIN; \
         INSERT INTO serial (id, serial, state, verified, changed_seq) \
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {SERIALS}) \
         SELECT (64 << 32) + i, printf('%012X', i), 6, 0, 1 FROM n; COMMIT;"
    ))
    .expect("filled");
    let (stop, stopped) = crossbeam_channel::bounded(1);
    std::thread::spawn(move || {
        let _ends_with_the_process = stop;
        store::wal::run(&path, &stopped)
    });
    conn
}

async fn serve(address: String, mode: &str, folder: PathBuf, journal: Connection) {
    let session = connect(&format!("opc.tcp://{address}/"), &folder).await;
    let namespace = session.get_namespace_index(NAMESPACE).await.expect("the plant's namespace");
    let node = |name: &str| NodeId::new(namespace, name.to_owned());
    let ids: Vec<ReadValueId> = READ.iter().map(|tag| ReadValueId::new_value(node(&format!("camera.{tag}")))).collect();
    let bell = Arc::new(Notify::new());
    if mode == "subscribe" {
        subscribe(&session, node("camera.seq"), Arc::clone(&bell)).await;
    }
    let mut tick = interval(Duration::from_millis(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    // What stood there before is not ours to answer.
    let mut answered = None;
    loop {
        match mode {
            "poll" => drop(tick.tick().await),
            "subscribe" => bell.notified().await,
            _ => {}
        }
        let values = session.read(&ids, TimestampsToReturn::Source, 0.0).await.expect("a read");
        let value = |at: usize| values.get(at).and_then(|value| value.value.as_ref());
        let Some(Variant::UInt32(seq)) = value(1) else { continue };
        let last = *answered.get_or_insert(*seq);
        for number in last + 1..=*seq {
            let Some(Variant::UInt32(track)) = element(value(8), number) else { continue };
            assert!(element(value(7), number).is_some(), "every result has a code");
            commit(&journal, i64::from(number));
            let word = u16::try_from(track * 2 + 1).expect("a track");
            let writes = [
                WriteValue::value_attr(node("rejector.verdict_word"), Variant::UInt16(word)),
                WriteValue::value_attr(node("camera.ack"), Variant::UInt32(number)),
            ];
            let statuses = session.write(&writes).await.expect("a write");
            assert!(statuses.iter().all(StatusCode::is_good), "{statuses:?}");
        }
        answered = Some(*seq);
    }
}

fn element(value: Option<&Variant>, seq: u32) -> Option<Variant> {
    let Some(Variant::Array(array)) = value else { return None };
    let Array { values, .. } = array.as_ref();
    values.get(usize::try_from(seq).ok()? % values.len().max(1)).cloned()
}

/// The rows of a verified unit: its fact, its inspection, its serial.
fn commit(conn: &Connection, seq: i64) {
    let run = |sql: &str, params: &[&dyn rusqlite::ToSql]| {
        conn.prepare_cached(sql).and_then(|mut run| run.execute(params)).expect("the schema");
    };
    run("BEGIN IMMEDIATE", &[]);
    let hash = [7_u8; 32];
    run(
        "INSERT INTO fact (seq, at_us, mono_us, boot, kind, version, batch, actor, subject, body, hash) \
         VALUES (?1, 1790000000000000, 1000000, 1, 65, 1, 64, 66, '~0123456789AB', ?2, ?3)",
        &[&seq, &BODY, &hash.as_slice()],
    );
    run(
        "INSERT INTO inspection (inspection, batch, station, epoch, result_seq, track, verdict, place) \
         VALUES (?1, 64, 67, 1, ?1, ?1, 22, ?1)",
        &[&seq],
    );
    run("UPDATE serial SET verified = 1 WHERE id = (64 << 32) + ?1 % 20000", &[&seq]);
    run("COMMIT", &[]);
}

async fn subscribe(session: &Session, node: NodeId, bell: Arc<Notify>) {
    let callbacks = SubscriptionCallbacks::new(|_| {}, move |_, _| bell.notify_one(), |_, _| {});
    let period = Duration::from_millis(1);
    let id = session.create_subscription(period, 30_000, 1000, 0, 0, true, callbacks).await.expect("a subscription");
    let mut item = MonitoredItemCreateRequest::from(node);
    item.requested_parameters.sampling_interval = 0.0;
    item.requested_parameters.queue_size = 16;
    session.create_monitored_items(id, TimestampsToReturn::Neither, vec![item]).await.expect("an item");
    session.trigger_publish_now();
}
