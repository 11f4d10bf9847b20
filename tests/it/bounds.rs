//! Nothing grows without a bound (I9), read from the source: whatever the long-lived rooms add to a field of their own is listed here,
//! with the constant or the setting that bounds it and what happens at the bound. A field that grows and is not listed fails, and so
//! does an entry whose field no longer grows or whose constant is gone.
//!
//! Channels are the business of `style` (no unbounded ones); collections that live for one call are bounded by what they are made of.

use crate::source::{self, Finding, SourceFile};

/// Rooms whose values live as long as the daemon.
const ROOMS: &[&str] = &["line", "store", "publish", "device", "runtime", "engine", "station", "web"];
const GROWTH: &[&str] =
    &["push", "push_back", "push_front", "insert", "extend", "append", "entry", "extend_from_slice"];
/// Files whose values do not live in the daemon: the journal of tests and simulator, the surroundings of demo and scripted batch, and
/// what is made for one look at a journal.
const ELSEWHERE: &[&str] = &[
    "src/store/memory.rs",
    "src/store/samples.rs",
    "src/store/compare.rs",
    "src/runtime/demo/",
    "src/runtime/lockstep/",
];

/// What grows, what bounds it (a word that must stand in the source), and what happens there.
struct Bounded {
    file: &'static str,
    field: &'static str,
    bound: &'static str,
    then: &'static str,
}

const fn at(file: &'static str, field: &'static str, bound: &'static str, then: &'static str) -> Bounded {
    Bounded { file, field, bound, then }
}

const BOUNDED: &[Bounded] = &[
    at("src/line/mod.rs", "records", "RECORDS_MAX", "the line takes only completions, and its heartbeat stops"),
    at("src/line/mod.rs", "work", "RECORDS_MAX", "the line takes only completions"),
    at("src/line/mod.rs", "permits", "RECORDS_MAX", "the line takes only completions"),
    at("src/line/mod.rs", "answers", "RECORDS_MAX", "the line takes only completions"),
    at("src/line/mod.rs", "results", "RESULTS_MAX", "the oldest loses its latency figure"),
    at("src/line/mod.rs", "sheets", "MAX_BATCHES", "an order is refused"),
    at("src/line/mod.rs", "slow", "SLOW_WITHIN_US", "slow commits of a minute, each of which takes half a second"),
    at("src/line/mod.rs", "passed", "is_looked_on", "what one turn makes, and goes with it"),
    at("src/runtime/tap.rs", "kept", "KEPT_MAX", "the oldest is lost, and its reader is told"),
    at("src/device/opcua/look.rs", "nodes", "nodes_max", "the tree is cut, and says so"),
    at("src/device/opcua/look.rs", "seen", "nodes_max", "as the nodes"),
    at("src/device/modbus/lane.rs", "walls", "block_max", "one for each edge of the map"),
    at("src/device/modbus/write.rs", "cells", "WRITE_MAX", "one request of one write"),
    at("src/device/opcua/trust.rs", "certificates", "Shelf", "those of three folders, for one list"),
    at("src/device/opcua/trust.rs", "strange", "Shelf", "those of three folders, for one list"),
    at("src/device/opcua/names.rs", "uris", "AlternativeNames", "those of one certificate"),
    at("src/device/opcua/names.rs", "hosts", "AlternativeNames", "those of one certificate"),
    at("src/store/guard.rs", "ended", "Trouble", "one of each kind: it is taken out when it begins again"),
    at("src/runtime/journal.rs", "doubts", "DOUBTS_MAX", "what a start found: the line is held by the first"),
    at("src/publish/judging.rs", "notes", "NOTES_MAX", "nothing is sent before they are told"),
    at("src/publish/orders.rs", "notes", "NOTES_MAX", "the watermark is told with the next"),
    at("src/runtime/daemon.rs", "doubts", "DOUBTS_MAX", "the line is held by the first"),
    at("src/store/frames.rs", "frames", "PAGE", "a few bytes for each page of a log, which is cut when it is idle"),
    at("src/store/anchors.rs", "doubts", "TAIL_BYTES", "a start reads no more of the side file"),
    at("src/store/side.rs", "notes", "TAIL_BYTES", "a start reads no more of the side file"),
    at("src/store/signatures.rs", "lost", "anchors", "those that the auditor brought"),
    at("src/store/signatures.rs", "losses", "LOSSES_MAX", "the rest is not told one by one"),
    at("src/store/signatures.rs", "rows", "PAGE", "the next page is read when this one is passed"),
    at("src/store/batches.rs", "kept", "KEPT_MAX", "the cache starts again"),
    at("src/store/commit.rs", "streams", "STREAMS", "there is no other stream"),
    at("src/store/words.rs", "prefixes", "CACHED_MAX", "the cache starts again"),
    at("src/store/words.rs", "ids", "CACHED_MAX", "the cache starts again"),
    at("src/store/words.rs", "texts", "CACHED_MAX", "the cache starts again"),
    at("src/publish/window.rs", "unnumbered", "has_room", "nothing is handed to the library"),
    at("src/publish/window.rs", "numbered", "has_room", "nothing is handed to the library"),
    at("src/publish/lane.rs", "waiting", "LOW_WATER", "no page is read"),
    at("src/publish/lane.rs", "sent", "has_room", "nothing is sent before an acknowledgement"),
    at("src/device/modbus/peer.rs", "muted", "block_max", "a block is muted once: the map has no more"),
    at("src/device/modbus/write.rs", "tags", "WRITE_MAX", "one request of one write"),
    at("src/device/opcua/nodes.rs", "ids", "bindings", "one node for each tag of the map"),
    at("src/device/opcua/nodes.rs", "slots", "bindings", "one node for each tag of the map"),
    at("src/device/opcua/nodes.rs", "unknown", "bindings", "one node for each tag of the map"),
    at("src/device/text/parse.rs", "held", "line_max", "the session ends"),
    at("src/device/text/peer.rs", "framer", "line_max", "the session ends"),
    at("src/runtime/joint.rs", "pending", "parts", "a device is offered nothing more before what waits is told"),
    at("src/runtime/joint.rs", "last", "Tag", "one value for each tag"),
    at("src/publish/sending.rs", "state_sent", "topics", "one payload for each retained topic"),
    at("src/device/image.rs", "sent", "bindings", "one reading for each tag of the map"),
    at("src/runtime/latency.rs", "times", "KEPT", "the oldest goes"),
    at("src/engine/stops.rs", "units", "WINDOW_MAX", "the oldest goes"),
    at("src/line/mod.rs", "unechoed", "RESULTS_MAX", "the oldest loses its latency figure"),
    at("src/runtime/spine.rs", "senders", "WAITING_MAX", "the asker is told that the line is busy"),
    at("src/runtime/assemble.rs", "users", "USERS_MAX", "those of the journal"),
    at("src/runtime/assemble.rs", "alarms", "alarms", "those that the journal holds open"),
    at("src/engine/fold.rs", "alarms", "waits", "one of each kind at a station waits at once"),
    at("src/engine/fact.rs", "through", "STREAMS", "one number of each stream"),
    at("src/engine/fact.rs", "kept", "QUARANTINE_MAX", "what waits in quarantine, which holds no more"),
    at("src/engine/people.rs", "users", "USERS_MAX", "nobody else is added"),
    at("src/engine/login.rs", "sessions", "SESSIONS_MAX", "the session that was idle longest ends"),
    at("src/engine/signing.rs", "challenges", "CHALLENGES_MAX", "the oldest is void"),
    at("src/engine/login.rs", "locks", "USERS_MAX", "one for each locked account"),
    at("src/engine/fold.rs", "stations", "StationSpec", "those of the configuration"),
    at("src/engine/missed.rs", "tracks", "TRANSIT_MAX", "the unit beyond is rejected"),
    at("src/engine/fold.rs", "unknown", "UNKNOWN_MAX", "the oldest stays unaccounted"),
    at("src/engine/missed.rs", "missed", "TRANSIT_MAX", "the oldest stays without a track"),
    at(
        "src/engine/hands/members.rs",
        "containers",
        "SsccRange",
        "the range of the order is used up, and the close refused",
    ),
    at("src/engine/hands/members.rs", "by_sscc", "SsccRange", "as containers"),
    at("src/engine/hands/members.rs", "by_count", "SsccRange", "as containers"),
    at("src/engine/unit.rs", "ends", "PENDING_ENDS_MAX", "the oldest is decided as missed"),
    at("src/engine/state.rs", "batches", "MAX_BATCHES", "an order is refused"),
    at("src/engine/state.rs", "kept", "MAX_BATCHES", "an order is refused"),
    at("src/station/image.rs", "held", "Tag", "one value for each tag"),
    at("src/station/manual.rs", "units", "count", "the case is full, and its seal is asked for"),
    at("src/station/manual.rs", "said", "Phase", "what one request and one permit make it say, until the next tick"),
    at("src/station/printer.rs", "queue", "QUEUE_MAX", "the record waits for the next join"),
    at("src/station/camera.rs", "told", "width", "the oldest is forgotten: the device shows it no more"),
    at("src/station/mod.rs", "writes", "WRITES_MAX", "the write is dropped, and stands again at the next join"),
    at("src/station/rejector.rs", "ended", "ENDED_MAX", "the oldest goes"),
    at("src/station/rejector.rs", "waiting", "QUEUE_MAX", "a pass is dropped, which is a reject"),
    at("src/station/rejector.rs", "outstanding", "depth", "the verdict waits"),
    at("src/device/pictures/folder.rs", "refused", "ENTRIES_MAX", "no more entries of the folder are looked at"),
    at("src/device/pictures/folder.rs", "still", "ENTRIES_MAX", "no more entries of the folder are looked at"),
    at("src/runtime/pictures/losses.rs", "counts", "enum Loss", "one count for each cause"),
    at("src/runtime/pictures/matching.rs", "results", "RESULTS_MAX", "the oldest goes, and pictures of it are unclear"),
    at(
        "src/runtime/pictures/matching.rs",
        "unheard",
        "UNHEARD_MAX",
        "pictures from the time of the oldest are refused",
    ),
    at("src/runtime/pictures/mod.rs", "sent", "SENT_MAX", "pictures wait in the camera's folder"),
    at("src/store/pictures.rs", "kept", "limits", "the oldest are deleted first, and a fact names them"),
    at("src/store/pictures.rs", "known", "limits", "the oldest are deleted first, and a fact names them"),
];

// I09
#[test]
fn whatever_grows_has_a_bound_that_is_written_down() {
    let files = source::all();
    let mut findings: Vec<Finding> = files.iter().flat_map(unlisted).collect();
    let text: String =
        files.iter().filter(|file| file.path.starts_with("src/")).map(SourceFile::shipped_text).collect();
    for entry in BOUNDED {
        let grows = |file: &SourceFile| file.path == entry.file && grown(file).any(|(_, field)| field == entry.field);
        if !files.iter().any(grows) || !text.contains(entry.bound) || entry.then.is_empty() {
            let text = format!(
                "`{}` does not grow here, or `{}` is gone: correct tests/it/bounds.rs",
                entry.field, entry.bound
            );
            findings.push(Finding { path: entry.file.to_owned(), line: 1, text });
        }
    }
    source::expect_none(&findings);
}

#[test]
fn a_field_that_grows_and_is_not_listed_is_found() {
    let line = |text: &str| SourceFile::new("src/line/other.rs", text);
    let grows = "fn f(&mut self) {\n    self.seen.push(1);\n}\n";
    assert_eq!(unlisted(&line(grows)).len(), 1);
    assert_eq!(unlisted(&line("fn f(&mut self) {\n    self.inner.seen\n        .insert(1);\n}\n")).len(), 1);
    assert_eq!(unlisted(&line("fn f(&mut self) {\n    live.ends.extend(more);\n}\n")).len(), 1);
    assert_eq!(
        unlisted(&line("fn f() {\n    let mut a = Vec::new();\n    a.push(1);\n}\n")),
        [],
        "it lives for one call"
    );
    assert_eq!(unlisted(&SourceFile::new("src/report/other.rs", grows)), [], "a document lives for one answer");
    let tests = format!("#[cfg(test)]\nmod tests {{\n{grows}}}\n");
    assert_eq!(unlisted(&line(&tests)), []);
}

fn unlisted(file: &SourceFile) -> Vec<Finding> {
    let known = |field: &str| BOUNDED.iter().any(|entry| entry.file == file.path && entry.field == field);
    let say = |(line, field): (usize, String)| {
        file.finding(line, format!("`{field}` grows: list it with its bound in tests/it/bounds.rs"))
    };
    grown(file).filter(|(_, field)| !known(field)).map(say).collect()
}

/// Fields to which code that ships adds something, with the lines: `self.waiting.push_back(`, `live.ends.extend(`.
fn grown(file: &SourceFile) -> impl Iterator<Item = (usize, String)> {
    let daemon = file.room().is_some_and(|room| ROOMS.contains(&room));
    let looks = daemon && !ELSEWHERE.iter().any(|elsewhere| file.path.starts_with(elsewhere));
    let text = if looks { file.shipped_text() } else { String::new() };
    let mut found = Vec::new();
    for call in GROWTH {
        let call = format!(".{call}(");
        for (at, _) in text.match_indices(&call) {
            if let Some(field) = field_before(&text[..at]) {
                found.push((text[..at].matches('\n').count() + 1, field));
            }
        }
    }
    found.into_iter()
}

/// The last name of a path of at least two, which makes it a field: `a.b` in `a.b`, and nothing in `b` alone. Results of steps,
/// scans and calls are built and handed on within one turn.
fn field_before(text: &str) -> Option<String> {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let text: String = text.trim_end().chars().rev().take_while(|c| is_path(*c) || c.is_whitespace()).collect();
    let path: String = text.chars().rev().collect();
    let path = path.split_whitespace().collect::<Vec<_>>().join(" ");
    let path = path.rsplit(' ').next().unwrap_or_default();
    let (owner, field) = path.rsplit_once('.')?;
    const PASSING: &[&str] = &["step", "scan", "turn", "finds", "mine", "call", "trace", "shape", "output"];
    let owner = owner.trim_matches('.');
    let passes = PASSING.contains(&owner) || owner.is_empty() || field.parse::<u32>().is_ok();
    (!passes).then(|| field.to_owned())
}
