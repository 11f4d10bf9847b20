//! `sealgate store restore`: the facts with which a restored journal begins, and the journal in its place.
//!
//! Numbers after the backup stood for other facts, so that the epoch is raised; serials may have been used that it does not
//! know, so that they wait for upstream's word (`engine::reuse`); passwords and accounts may be those of people who left, so that none
//! opens anything before it is set anew (`engine::login`). All are facts of the file before any daemon opens it.

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::domain::text::Text;
use crate::engine::fact::{Entry, Fact, NewEpoch};
use crate::engine::input::Actor;
use crate::engine::reason::AlarmKind;
use crate::runtime::assemble;
use crate::runtime::clock::Clock;
use crate::store::StoreError;
use crate::store::commit::Job;
use crate::store::restore::{self, Restore};
use crate::wire::lower::Stamp;

/// What a restore did.
#[derive(Debug)]
pub struct Restored {
    /// The newest fact of the backup.
    pub seq: u64,
    pub epoch: u32,
    /// The facts of the file that lay there which the backup has not.
    pub lost: Option<(u64, u64)>,
    /// Where that file is kept.
    pub kept: Option<PathBuf>,
}

/// Puts a backup in the place of the journal of the configuration.
pub fn restore(config: &Config, backup: &Path, actor: &str, reason: &str) -> Result<Restored, StoreError> {
    let settings = assemble::journal(config);
    let mut made = restore::prepare(backup, &settings)?;
    let (seq, _) = made.store.head();
    let (lowering, now, boot) = (assemble::lowering(config), Clock::start().now(), made.store.boot());
    let stamp = Stamp { at_us: now.wall_us, mono_us: now.mono_us, boot };
    let base = made.store.recover()?.base;
    let alarm = base.alarm_max.saturating_add(1);
    let actor = Actor::new(actor).unwrap_or_default();
    let facts = facts(&made, (alarm, !base.people.is_empty()), reason);
    let entries = (seq.saturating_add(1)..).zip(facts).map(|(seq, fact)| Entry { seq, batch: None, actor, fact });
    let records = entries.map(|entry| lowering.record(&entry, None, None, stamp)).collect();
    made.store.commit(&Job { records, work: Vec::new() }, || 0)?;
    let (epoch, lost) = (made.epoch, made.lost.as_ref().map(|lost| (lost.from, lost.to)));
    Ok(Restored { seq, epoch, lost, kept: made.finish()? })
}

fn facts(made: &Restore, (alarm, has_people): (u32, bool), reason: &str) -> Vec<Fact> {
    let lost = made.lost.as_ref();
    let begun = NewEpoch {
        epoch: made.epoch,
        lost_store: lost.and_then(|lost| Text::new(&lost.store_uuid)),
        lost_from: lost.map(|lost| lost.from),
        lost_to: lost.map(|lost| lost.to),
    };
    let backup_sha256 = Text::new(&made.backup_sha256).unwrap_or_default();
    let detail = match lost {
        Some(lost) => format!("the journal was restored; facts {} to {} are not in the backup", lost.from, lost.to),
        None => "the journal was restored; what was recorded after the backup is not known".to_owned(),
    };
    let mut facts = vec![
        Fact::EpochRaised { begun },
        Fact::StoreRestored { backup_sha256, reason: reason.to_owned() },
        Fact::AlarmRaised { alarm, kind: AlarmKind::SerialsSuspended, station: None, detail },
    ];
    if has_people {
        let (alarm, kind) = (alarm.saturating_add(1), AlarmKind::PasswordsVoid);
        let detail = "the journal was restored; passwords of before it open nothing".to_owned();
        facts.push(Fact::AlarmRaised { alarm, kind, station: None, detail });
    }
    facts
}
