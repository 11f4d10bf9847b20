//! Sealgate, the line controller for serialized pharma packaging lines. This page is its architecture.
//!
//! # Path of data
//!
//! ```text
//!    printer / camera / PLC                                 MES, L3 (MQTT)      operator (command line)
//!         │ OPC UA, Modbus                                        │                    │
//!   ┌─────▼──────┐ TagUpdate  ┌──────────────── the line thread (synchronous, std only) ──────────────────┐
//!   │ device task├───────────▶│ Station::observe ─▶ Observation ┐                                         │
//!   │  (tokio)   │            │                      Request ───┴▶ Engine::step(now, input) ─▶ Step       │
//!   │            │◀───────────┤ Station::restrain ◀── restraints, at once         │ facts                 │
//!   │            │  TagWrite  │        ▲                                          ▼                       │
//!   │            │◀───────────┤        └── permits, looked at again ◀── Durable    Record                 │
//!   └────────────┘            └──────────────────────────────────────▲───────────┼────────────────────────┘
//!                                                           Durable  │           │ Journal::submit
//!                                                             ┌──────┴───────────▼───────┐
//!                                                             │ commit thread: one SQLite│
//!                                                             │ transaction, then fsync  │
//!                                                             └──────────┬───────────────┘
//!                                           publisher ◀── reads ─────────┤ ──▶ MQTT ── PUBACK ─▶ the feed's place
//!                                           command line, reports ◀── read-only connections
//! ```
//!
//! # What holds
//!
//! - A permit (pass, close, print, acknowledgement) leaves only with the `Durable` of the facts that justify it, and after a
//!   second look: `line::cleared` has the only constructor, and it asks for both. Restraints wait for nothing.
//! - `Engine::step` is pure. State changes only in `engine::fold`, by facts; recovery folds the same facts.
//! - Outputs are levels. `Engine::standing` derives all of them again after a restart, a reconnect or a new epoch.
//! - A failed commit ends the process (exit 74): its outcome is unknown until the file is read again, and nothing was permitted.
//! - Whatever is refused, failed or alarmed follows a rule of `domain::rule`, which says its class: `engine::rule` is exhaustive.
//! - Every queue has a bound: the inbox drops telemetry, which the device tasks offer again; results stay unacknowledged at the
//!   device; a line whose disk is behind takes nothing but completions, and its heartbeat stops.
//!
//! # Code map
//!
//! | room | job | may import |
//! |---|---|---|
//! | [`domain`] | the words: GS1 identifiers, element strings, tags, time | nobody |
//! | [`engine`] | the decisions | domain |
//! | [`station`] | handshakes: tags to observations, outputs to tags | domain, engine |
//! | [`wire`] | every byte format: journal rows, EPCIS, topics, commands | domain, engine |
//! | [`store`] | SQLite: commit, recover, read, verify | domain, wire |
//! | [`line`](mod@line) | the spine: the turn | domain, engine, station, wire, store |
//! | [`device`] | one task per device: OPC UA, Modbus TCP | domain |
//! | [`publish`] | the feed: from the journal to the broker | domain, wire, store |
//! | [`web`] | the HTTP door: the requests of the local socket, for other computers | domain, engine, wire, store, report |
//! | [`sim`] | the simulated plant, its servers, the embedded broker | all but web, cli, runtime |
//! | [`config`] | a file as written becomes a `Config` that cannot be invalid | each room's settings |
//! | [`runtime`] | composition root, clock, tasks, systemd | all but cli |
//! | [`cli`] | one file per command | all |
//!
//! `tests/it/layers.rs` executes this table.

// A test that unwraps fails with a line number, which is all that is wanted of it; it may say how long something took.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, clippy::disallowed_methods))]

#[cfg(feature = "canary")]
pub mod canary;
pub mod cli;
pub mod config;
#[allow(clippy::wildcard_enum_match_arm, reason = "the protocol libraries' enums are foreign and open for additions")]
pub mod device;
#[cfg_attr(
    not(test),
    warn(clippy::float_arithmetic, clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)
)]
pub mod domain;
#[cfg_attr(
    not(test),
    warn(clippy::float_arithmetic, clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)
)]
pub mod engine;
pub mod line;
#[allow(clippy::wildcard_enum_match_arm, reason = "the protocol libraries' enums are foreign and open for additions")]
pub mod publish;
pub mod report;
pub mod runtime;
#[cfg(feature = "demo")]
pub mod sim;
#[cfg_attr(
    not(test),
    warn(clippy::float_arithmetic, clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)
)]
pub mod station;
pub mod store;
pub mod web;
pub mod wire;
