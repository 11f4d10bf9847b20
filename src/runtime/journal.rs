//! The journal at the start of a run, and the thread that watches over it.

use std::path::Path;

use crossbeam_channel::{Sender, bounded};

use crate::config::{Config, Proof};
use crate::engine::reason::AlarmKind;
use crate::line::recover::Recovery;
use crate::line::{Arrival, Inbound};
use crate::runtime::assemble::{self, RecoverError};
use crate::runtime::clock::Clock;
use crate::runtime::error::RunError;
use crate::runtime::spine::Item;
use crate::runtime::tasks;
use crate::store::guard::{self, Trouble, Word};
use crate::store::start::{self, Opened, Policy};
use crate::store::{Store, StoreError};

/// What a person says about a journal that is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Beginning {
    /// It must be there if it ever was.
    #[default]
    AsBefore,
    /// The line begins anew.
    Anew,
}

/// Opens and folds the journal; one that is damaged is made anew as far as its facts prove themselves, and held in doubt.
pub(super) fn open(config: &Config, beginning: Beginning) -> Result<(Store, Recovery), RunError> {
    let settings = assemble::journal(config);
    let Proof { key, public_keys, anchors } = config.proof.clone();
    let policy = Policy {
        file_systems: config.upkeep.file_systems.clone(),
        may_begin_anew: beginning == Beginning::Anew,
        witnesses: vec![key, public_keys, anchors],
    };
    let Opened { mut store, mut doubts } = start::open_for_run(&settings, &policy)?;
    let mut recovery = match assemble::recover(&mut store) {
        Ok(recovery) => recovery,
        Err(RecoverError::Store(error)) if error.is_damage() => {
            drop(store);
            doubts.push(start::replace(&settings, &error)?);
            store = start::open_for_run(&settings, &policy)?.store;
            assemble::recover(&mut store)?
        }
        Err(error) => return Err(error.into()),
    };
    recovery.doubts.append(&mut doubts);
    Ok((store, recovery))
}

/// Watches over the journal as long as the sender that it gives back lives. A file that is gone ends the process.
pub(super) fn watch(config: &Config, clock: Clock, inbox: Sender<Item>) -> std::io::Result<Sender<()>> {
    let (keep, stop) = bounded(1);
    let (path, bounds) = (config.journal.clone(), config.upkeep.bounds);
    tasks::thread("sealgate-guard", move || {
        let tell = |word| {
            let what = arrival(word);
            inbox.try_send(Item::Line(Inbound { seen_mono_us: clock.now().mono_us, what })).is_ok()
        };
        if let Err(error) = guard::run(&path, bounds, &stop, tell) {
            // Nothing that is decided from here on would be found again.
            tracing::error!(%error, "journal_lost");
            std::process::exit(i32::from(error.exit_code()));
        }
    })?;
    Ok(keep)
}

/// A page that cannot be read while the line runs ends the process (reliability F19): the next start looks at the whole file.
pub(super) fn end_on_damage(path: &Path, error: &StoreError) {
    if error.is_corruption() {
        start::note_damage(path, error);
        tracing::error!(%error, "journal_damaged");
        std::process::exit(i32::from(error.exit_code()));
    }
}

fn arrival(word: Word) -> Arrival {
    match word {
        Word::Begins(trouble, detail) => Arrival::Noticed(kind(trouble), detail),
        Word::Ends(trouble) => Arrival::Eased(kind(trouble)),
    }
}

fn kind(trouble: Trouble) -> AlarmKind {
    match trouble {
        Trouble::DiskLow => AlarmKind::DiskLow,
        Trouble::DiskFull => AlarmKind::DiskFull,
        Trouble::LogLarge => AlarmKind::JournalLogLarge,
    }
}
