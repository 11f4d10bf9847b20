//! Who may import whom, and where each dependency lives (DESIGN section 4), read from the source itself.

use std::collections::BTreeSet;

use crate::source::{self, Finding, SourceFile};

/// Every room and the rooms it may import.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("engine", &["domain"]),
    ("station", &["domain", "engine"]),
    ("wire", &["domain", "engine"]),
    ("store", &["domain", "wire"]),
    // Faults of our own, in no release build.
    ("canary", &[]),
    ("line", &["canary", "domain", "engine", "station", "wire", "store"]),
    ("device", &["domain"]),
    ("publish", &["domain", "wire", "store"]),
    ("report", &["domain", "wire", "store"]),
    ("web", &["domain", "engine", "wire", "store", "report"]),
    (
        "sim",
        &["canary", "domain", "engine", "station", "wire", "store", "line", "device", "publish", "report", "config"],
    ),
    // The settings of each module, and the digest of the files.
    ("config", &["domain", "engine", "station", "wire", "store", "line", "device", "publish", "web", "sim"]),
    (
        "runtime",
        &[
            "canary", "domain", "engine", "station", "wire", "store", "line", "device", "publish", "report", "web",
            "sim", "config",
        ],
    ),
    (
        "cli",
        &[
            "domain", "engine", "station", "wire", "store", "line", "device", "publish", "report", "web", "sim",
            "config", "runtime",
        ],
    ),
    // The two roots.
    ("main", &["cli"]),
    ("lib", &[]),
];

/// Every direct dependency: its name in Cargo.toml, its name in code, and the rooms it may be used in.
const HOMES: &[(&str, &str, &[&str])] = &[
    // Passwords are looked at by the desk, which is no part of the web.
    ("argon2", "argon2", &["runtime"]),
    ("async-opcua", "opcua", &["device", "sim"]),
    ("axum", "axum", &["web"]),
    ("base64", "base64", &["wire"]),
    ("bytes", "bytes", &["device", "publish", "sim"]),
    ("clap", "clap", &["cli"]),
    ("crossbeam-channel", "crossbeam_channel", &["line", "store", "runtime", "sim"]),
    ("ed25519-dalek", "ed25519_dalek", &["wire"]),
    ("futures-util", "futures_util", &["device", "publish", "runtime", "sim", "cli"]),
    ("getrandom", "getrandom", &["runtime"]),
    ("hyper", "hyper", &["web"]),
    ("hyper-util", "hyper_util", &["web"]),
    ("jiff", "jiff", &["wire", "report", "cli"]),
    ("rumqttc", "rumqttc", &["publish"]),
    ("rumqttd", "rumqttd", &["sim"]),
    ("rusqlite", "rusqlite", &["store"]),
    // Room on a file system, files that are opened without following links, and terminals without echo, which Rust's library does not
    // know.
    ("rustix", "rustix", &["store", "device", "cli"]),
    ("sd-notify", "sd_notify", &["runtime"]),
    ("serde", "serde", &["wire", "store", "publish", "report", "web", "sim", "runtime", "cli"]),
    ("serde_json", "serde_json", &["wire", "store", "publish", "report", "web", "sim", "runtime", "cli"]),
    // The subscriber of the demo hashes what it captured by itself; the engine what is signed.
    ("sha2", "sha2", &["wire", "sim", "engine"]),
    ("tokio", "tokio", &["device", "publish", "web", "sim", "runtime", "cli"]),
    ("tokio-modbus", "tokio_modbus", &["device", "sim"]),
    ("tokio-util", "tokio_util", &["device", "publish", "runtime", "sim"]),
    ("toml", "toml", &["config"]),
    ("tracing", "tracing", &["store", "line", "device", "publish", "web", "sim", "runtime", "cli"]),
    ("tracing-subscriber", "tracing_subscriber", &["runtime", "cli"]),
    ("uuid", "uuid", &["store", "publish", "sim", "runtime", "cli"]),
];

const DEPENDENCIES_MAX: usize = 35;

/// What the protocols of `device` stand on. None of these files knows a protocol.
const GROUND: [&str; 9] = ["codec", "dial", "dialect", "error", "refusal", "settings", "trunk", "unfit", "wire"];
const PROTOCOLS: [&str; 3] = ["modbus", "opcua", "text"];

#[test]
fn rooms_import_only_what_the_design_allows() {
    source::expect_none(&source::all().iter().flat_map(foreign_rooms).collect::<Vec<_>>());
}

#[test]
fn protocols_of_devices_stand_on_what_knows_none_of_them() {
    let files = source::all();
    let is_ground = |file: &&SourceFile| GROUND.iter().any(|name| file.path == format!("src/device/{name}.rs"));
    let ground: Vec<&SourceFile> = files.iter().filter(is_ground).collect();
    assert_eq!(ground.len(), GROUND.len(), "a file was moved: correct GROUND");
    source::expect_none(&ground.into_iter().flat_map(protocols_named).collect::<Vec<_>>());
}

fn protocols_named(file: &SourceFile) -> Vec<Finding> {
    let named = |text: &str| {
        PROTOCOLS.iter().find(|name| ["super", "device"].iter().any(|from| text.contains(&format!("{from}::{name}::"))))
    };
    let findings = file.shipped().filter_map(|(line, text)| {
        named(text).map(|name| file.finding(line, format!("what all protocols stand on knows {name}")))
    });
    findings.collect()
}

#[test]
fn dependencies_are_used_only_in_their_homes() {
    source::expect_none(&source::all().iter().flat_map(strangers).collect::<Vec<_>>());
}

#[test]
fn every_direct_dependency_has_a_home_and_there_are_few() {
    let manifest = source::read(std::path::Path::new("Cargo.toml"));
    let names = dependencies(&manifest);
    assert!(names.len() <= DEPENDENCIES_MAX, "{} direct dependencies", names.len());
    let homeless: Vec<&String> = names.iter().filter(|name| !HOMES.iter().any(|(known, ..)| known == name)).collect();
    assert!(homeless.is_empty(), "no home is stated for {homeless:?}: add a line to HOMES");
}

/// Imports of rooms that the file's room must not know. Tests inside a room may look further.
fn foreign_rooms(file: &SourceFile) -> Vec<Finding> {
    let Some(room) = file.room() else { return Vec::new() };
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == room) else {
        return vec![file.finding(1, format!("{room} is no room of the design: add it to MAY_IMPORT"))];
    };
    let mut findings = Vec::new();
    for (line, used) in rooms_named(&file.path, &file.shipped_text()) {
        let known = MAY_IMPORT.iter().any(|(name, _)| *name == used);
        if known && used != room && !allowed.contains(&used.as_str()) {
            findings.push(file.finding(line, format!("{room} imports {used}")));
        }
    }
    findings
}

/// The first segments of every path that starts at the crate's root: `crate::x`, `crate::{x, y}`, and `super` that climbs so far.
fn rooms_named(path: &str, text: &str) -> BTreeSet<(usize, String)> {
    let mut rooms = BTreeSet::new();
    let mut name = |at: usize, rest: &str| {
        let line = text[..at].matches('\n').count() + 1;
        rooms.extend(first_segments(rest).into_iter().map(|room| (line, room)));
    };
    for (at, root) in text.match_indices("crate::") {
        name(at, &text[at + root.len()..]);
    }
    let climb = "super::".repeat(depth(path));
    for (at, _) in text.match_indices(&climb).filter(|_| !climb.is_empty()) {
        let rest = &text[at + climb.len()..];
        if !text[..at].ends_with("super::") && !rest.starts_with("super::") {
            name(at, rest);
        }
    }
    rooms
}

/// How many `super` lead from the file to the crate's root.
fn depth(path: &str) -> usize {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    let parts = inside.split('/').count();
    if inside.ends_with("/mod.rs") { parts - 1 } else { parts }
}

fn first_segments(rest: &str) -> Vec<String> {
    let identifier = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = rest.strip_prefix('{') else { return vec![identifier(rest)] };
    let mut depth = 0_i32;
    let mut segments = vec![String::new()];
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => segments.push(String::new()),
            c if depth == 0 => segments.last_mut().expect("never empty").push(c),
            _ => {}
        }
    }
    segments.iter().map(|segment| identifier(segment.trim())).collect()
}

/// Uses of a dependency outside its home. Tests may use what they like.
fn strangers(file: &SourceFile) -> Vec<Finding> {
    let Some(room) = file.room() else { return Vec::new() };
    let mut findings = Vec::new();
    for (line, text) in file.shipped() {
        for (name, ident, homes) in HOMES {
            if !homes.contains(&room) && names_crate(text, ident) {
                findings
                    .push(file.finding(line, format!("{name} is used in {room}; its home is {}", homes.join(", "))));
            }
        }
    }
    findings
}

/// `ident::` as the first segment of a path, or `use ident;`.
fn names_crate(text: &str, ident: &str) -> bool {
    text.match_indices(ident).any(|(at, _)| {
        let before = text[..at].chars().next_back().unwrap_or(' ');
        let bounded = !before.is_alphanumeric() && before != '_' && !text[..at].trim_end().ends_with("::");
        let rest = &text[at + ident.len()..];
        let imported = text[..at].trim_end().ends_with("use") && (rest.starts_with(';') || rest.starts_with(" as "));
        bounded && (rest.starts_with("::") || imported)
    })
}

fn dependencies(manifest: &str) -> Vec<String> {
    let table: toml::Table = manifest.parse().expect("Cargo.toml is TOML");
    let dependencies = table.get("dependencies").and_then(toml::Value::as_table).expect("it has dependencies");
    dependencies.keys().cloned().collect()
}

#[test]
fn a_forbidden_import_is_found_in_every_spelling() {
    let file = |path: &str, text: &str| foreign_rooms(&SourceFile::new(path, text)).len();
    assert_eq!(file("src/domain/tag.rs", "use crate::engine::fact::Fact;\n"), 1);
    assert_eq!(file("src/engine/pack.rs", "use crate::{domain::tag::Tag, store::{a, b}, wire};\n"), 2);
    assert_eq!(file("src/engine/pack.rs", "use crate::{\n    domain::tag::Tag,\n    store::{a, b},\n};\n"), 1);
    assert_eq!(file("src/engine/pack.rs", "use super::super::store::Journal;\n"), 1);
    assert_eq!(file("src/engine/mod.rs", "fn f() -> super::store::Journal { }\n"), 1);
    assert_eq!(file("src/cellar/mod.rs", "fn f() {}\n"), 1);
}

#[test]
fn allowed_imports_comments_and_tests_are_no_findings() {
    let text = "use crate::domain::tag::Tag;\nuse super::reason::Reason;\n// crate::store\n#[cfg(test)]\nmod tests {\n    use crate::sim::x;\n}\n";
    assert_eq!(foreign_rooms(&SourceFile::new("src/engine/pack.rs", text)), []);
}

#[test]
fn a_protocol_below_its_ground_is_found() {
    let file = |text: &str| protocols_named(&SourceFile::new("src/device/settings.rs", text)).len();
    assert_eq!(file("use super::modbus::Shared;\nuse crate::device::opcua::CertificateRefusal;\n"), 2);
    assert_eq!(file("use super::trunk::Shared; // super::modbus::x\nuse crate::domain::text::Name;\n"), 0);
}

#[test]
fn a_dependency_outside_its_home_is_found() {
    let file = |path: &str, text: &str| strangers(&SourceFile::new(path, text)).len();
    assert_eq!(file("src/engine/mod.rs", "use rusqlite::Connection;\n"), 1);
    assert_eq!(file("src/web/mod.rs", "let c: rusqlite::Connection = open();\n"), 1);
    assert_eq!(file("src/domain/mod.rs", "use tracing;\n"), 1);
    assert_eq!(file("src/store/mod.rs", "use rusqlite::Connection;\n"), 0);
    assert_eq!(file("src/engine/mod.rs", "use crate::domain::bytes::Run; let my_serde::x = 1; // serde::x\n"), 0);
}

#[test]
fn dependencies_are_counted_from_the_manifest() {
    let names = dependencies("[dependencies]\na = \"1\"\nb = { version = \"2\" }\n[dev-dependencies]\nc = \"1\"\n");
    assert_eq!(names, ["a", "b"]);
}
