//! What proves the journal, put together at a start: the key, the side file, the comparison with what was anchored before.
//!
//! A journal that is behind or beside its anchors starts held, with the facts named, and in a new epoch: what it decides from
//! here on must not be taken for the facts that it lost. The key is announced in the journal where it is new there; one
//! that no earlier key introduced is a doubt of its own.

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::config::Config;
use crate::domain::text::Text;
use crate::engine::fact::{NewEpoch, NewKey};
use crate::runtime::error::RunError;
use crate::runtime::keys::{self, Signing};
use crate::store::anchors::Lost;
use crate::store::side::{self, SideFile};
use crate::store::{Store, StoreError};
use crate::wire::checkpoint::{Key, KeyRing, Note};

/// Checkpoints that may wait for the side file.
const NOTES_MAX: usize = 256;

/// What the first facts of a run say about the journal, and where its checkpoints go.
pub(super) struct Proven {
    pub(super) side: SideFile,
    pub(super) notes: Receiver<Note>,
    /// Into the side file, beside the store's own.
    pub(super) anchors: Sender<Note>,
    pub(super) ring: KeyRing,
    pub(super) key: Option<NewKey>,
    pub(super) epoch: Option<NewEpoch>,
    pub(super) doubts: Vec<String>,
}

/// Looks back, makes what is missing, and lets the store sign.
pub(super) fn open(config: &Config, store: &mut Store) -> Result<Proven, RunError> {
    let files = &config.proof;
    let before = side::tail(&files.anchors)?;
    let signing = keys::load_or_make(files, &config.line.path).map_err(RunError::Keys)?;
    let mut look = store.look_back(&files.anchors, &before, &signing.ring)?;
    let known = store.signing_key_id()?;
    let key = announcement(&signing, known.as_deref(), &mut look.doubts);
    let epoch = look.lost.map(|lost| new_epoch(store.identity().epoch, &lost));
    let side = SideFile::open(&files.anchors)?;
    let (tell, notes) = bounded(NOTES_MAX);
    sign(store, signing.key, tell.clone())?;
    for doubt in &look.doubts {
        tracing::error!(doubt, "journal_in_doubt");
    }
    Ok(Proven { side, notes, anchors: tell, ring: signing.ring, key, epoch, doubts: look.doubts })
}

fn sign(store: &mut Store, key: Key, tell: Sender<Note>) -> Result<(), StoreError> {
    tracing::info!(key = key.id(), "signing_key");
    store.sign_with(key, tell)
}

/// `known` signed the newest checkpoint of the journal.
fn announcement(signing: &Signing, known: Option<&str>, doubts: &mut Vec<String>) -> Option<NewKey> {
    let id = signing.key.id();
    if known == Some(id.as_str()) {
        return None;
    }
    let consent = signing.replaces.as_ref().filter(|(old, _)| known == Some(old.as_str()));
    if let Some(known) = known.filter(|_| consent.is_none()) {
        doubts.push(format!(
            "the signing key was exchanged without the consent of the one before: key {id} signs from here on, key {known} signed \
             before; if that one was lost, acknowledge"
        ));
    }
    Some(NewKey {
        key_id: Text::new(&id).unwrap_or_default(),
        public_key: Text::new(&signing.key.public().to_base64()).unwrap_or_default(),
        replaces: consent.and_then(|(old, _)| Text::new(old)),
        signature: consent.and_then(|(_, signature)| Text::new(signature)),
    })
}

fn new_epoch(own: u32, lost: &Lost) -> NewEpoch {
    NewEpoch {
        epoch: own.max(lost.epoch).saturating_add(1),
        lost_store: lost.store_uuid.as_deref().and_then(Text::new),
        lost_from: Some(lost.from),
        lost_to: Some(lost.to),
    }
}
