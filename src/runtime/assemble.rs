//! From the config and the journal to the parts of a line: settings of the engine and of the stations, what recovery knows
//! of them, and the identity under which facts are lowered.

use std::collections::BTreeMap;
use std::fmt;

use crate::config::{self, Config};
use crate::domain::pack::PackLevel;
use crate::domain::tag::{DeviceId, StationId};
use crate::domain::text::{Name, Text};
use crate::engine::fact::{Fact, NewEpoch, NewKey};
use crate::engine::people::{FullName, Person, Role, Roles, UserId};
use crate::engine::reason::AlarmKind;
use crate::engine::state::{Alarm, State};
use crate::engine::{Engine, Policy, Start};
pub use crate::line::recover::Recovery;
use crate::line::{Line, Parts, Plant, recover};
use crate::runtime::VERSION;
use crate::station::Station;
use crate::store::people::PersonRow;
use crate::store::{self, Durable, Journal, Store, StoreError};
use crate::wire::fact;
use crate::wire::lower::{LineIdentity, Lowering};
use crate::wire::order::serials_sha256;

/// The handshakes, each from where the journal stands.
fn stations(config: &Config, state: &State) -> Vec<Station> {
    recover::stations(config.stations.iter().map(|station| &station.settings), state)
}

pub(super) fn lowering(config: &Config) -> Lowering {
    Lowering::new(identity(config))
}

/// Under which the facts are lowered and their messages leave.
pub(super) fn identity(config: &Config) -> LineIdentity {
    let line = &config.line;
    let biz_location = line.biz_location.clone().unwrap_or_else(|| line.read_point.clone());
    let read_points: BTreeMap<Name, String> =
        config.stations.iter().map(|station| (station.settings.name, line.read_point.clone())).collect();
    let levels = [PackLevel::Bundle, PackLevel::Case, PackLevel::Pallet];
    LineIdentity {
        line: line.path.clone(),
        source: format!("urn:sealgate:line:{}", line.path),
        read_points,
        container_read_points: levels.into_iter().map(|level| (level, line.read_point.clone())).collect(),
        biz_location,
        offset_minutes: line.utc_offset_min,
    }
}

/// What a line is put between: its journal and its plant, and where the two stand.
pub(super) struct Around<J, P> {
    pub(super) journal: J,
    pub(super) plant: P,
    /// What recovery found on disk, and the number of this start.
    pub(super) durable: Durable,
    pub(super) boot: u32,
}

/// The line as recovery left it, and what the first fact of its run says.
pub(super) fn line<J: Journal, P: Plant>(
    config: &Config,
    recovery: Recovery,
    (epoch, key): (Option<NewEpoch>, Option<NewKey>),
    around: Around<J, P>,
) -> (Line<J, P>, Start) {
    let Recovery { state, was_stopped, doubts } = recovery;
    let Around { journal, plant, durable, boot } = around;
    let lowering = lowering(config);
    let start = Start {
        version: Text::new(VERSION).unwrap_or_default(),
        config_sha256: Text::new(&config.digest).unwrap_or_default(),
        clean: was_stopped,
        epoch,
        key,
        doubts,
        description: Some(Box::new(lowering.description())),
    };
    let stations = stations(config, &state);
    let policy = Policy {
        commission_needs_clock: config.line.commission_needs_clock,
        inspects_after_stop: config.line.inspects_after_stop,
        config_needs_approval: config.line.config_needs_approval,
        stops: config.line.stops,
        offset_minutes: i64::from(config.line.utc_offset_min),
        people: config.people.limits,
    };
    let engine = Engine::new(config.engine.clone(), state).with_policy(policy).with_clearance(config.clearance.clone());
    let line = Line::new(Parts { engine, stations, lowering, journal, plant, durable, boot });
    #[cfg(feature = "canary")]
    let line = {
        let mut line = line;
        line.infect(crate::canary::Canary::chosen());
        line
    };
    (line, start)
}

/// How the journal is opened.
pub(super) fn journal(config: &Config) -> store::Settings {
    let settings = store::Settings::new(&config.journal, config.line.path.clone());
    #[cfg(feature = "canary")]
    let settings = {
        use crate::canary::Canary;
        store::Settings { is_sync_weak: Canary::chosen() == Some(Canary::SyncNormal), ..settings }
    };
    settings
}

/// The stations whose tags lie on a device.
pub(super) fn stations_of(config: &Config, device: DeviceId) -> Vec<StationId> {
    let on_it = |station: &&config::Station| station.devices.contains(&device);
    config.stations.iter().filter(on_it).map(|station| station.settings.id).collect()
}

#[derive(Debug)]
pub enum RecoverError {
    Store(StoreError),
    /// A fact that this release cannot read.
    Fact(fact::DecodeError),
}

impl fmt::Display for RecoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecoverError::Store(error) => error.fmt(f),
            RecoverError::Fact(error) => error.fmt(f),
        }
    }
}

impl From<StoreError> for RecoverError {
    fn from(error: StoreError) -> Self {
        RecoverError::Store(error)
    }
}

fn unreadable(row: &PersonRow) -> StoreError {
    let what = format!("the row of person {} is none that this release wrote", row.user);
    StoreError::Damaged { seq: Some(row.added_seq), what }
}

fn person(row: &PersonRow) -> Option<(UserId, Person)> {
    let roles: Roles = row.roles.split(' ').map(Role::parse).collect::<Option<Vec<_>>>()?.into_iter().collect();
    let person = Person {
        full_name: FullName::new(&row.full_name)?,
        roles,
        is_enabled: row.is_enabled,
        credential_seq: row.credential_seq,
        must_change: row.must_change,
        failures: row.failures,
        is_locked: row.locked_seq.is_some(),
    };
    Some((UserId::new(&row.user)?, person))
}

/// The fold of the journal (I7).
pub fn recover(store: &mut Store) -> Result<Recovery, RecoverError> {
    let recovered = store.recover()?;
    let mut base = State::default();
    for standing in &recovered.base.standing {
        base.apply(&fact::decode(standing.undecoded()).map_err(RecoverError::Fact)?);
    }
    let mut recovery = Recovery::new(State {
        seq: recovered.from_seq.saturating_sub(1),
        last_token: recovered.base.token_max,
        last_alarm: recovered.base.alarm_max,
        ..base
    });
    for batch in &recovered.open_batches {
        let entry = fact::decode(batch.loaded.undecoded()).map_err(RecoverError::Fact)?;
        if let Fact::BatchLoaded { sheet, serials_sha256: digest, .. } = &entry.fact {
            let order = store.order(sheet)?;
            if serials_sha256(&order.serials) != *digest {
                let what = format!("the serials of batch {} are not those that were loaded", batch.batch);
                return Err(StoreError::Damaged { seq: Some(batch.loaded.seq), what }.into());
            }
            recovery.order(order.as_ref());
            recovery.state.keep(sheet.batch);
        }
    }
    for alarm in recovered.base.alarms {
        let Some(kind) = AlarmKind::parse(&alarm.kind) else { continue };
        let station = alarm.station.as_deref().and_then(Name::new);
        recovery.state.alarms.insert(alarm.alarm, Alarm { kind, station, detail: alarm.detail });
    }
    for row in &recovered.base.people {
        let (user, person) = person(row).ok_or_else(|| unreadable(row))?;
        recovery.state.people.users.insert(user, person);
    }
    store.each_fact(recovered.from_seq, |fact| {
        recovery.fact(fact.undecoded()).map_err(RecoverError::Fact)?;
        Ok::<(), RecoverError>(())
    })?;
    recovery.state.kept.clear();
    // Where nothing had to be folded, the newest fact itself says how the last run ended.
    recovery.was_stopped = store.ended_in_order()?;
    Ok(recovery)
}
