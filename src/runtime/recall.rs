//! What the broker has kept of this line from before: its retained checkpoint, read before the first one of this run takes its
//! place. A computer that was set back as a whole, journal and side file together, shows here alone.
//!
//! A checkpoint that this line signed and its journal contradicts holds the line, and goes into the side file: the next start finds
//! it there and goes on in a new epoch. One that somebody else signed proves nothing and is only logged.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam_channel::Sender;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::config::Config;
use crate::line::{Arrival, Inbound};
use crate::publish::{PublishHandle, Recalled};
use crate::runtime::clock::Clock;
use crate::runtime::proof::Proven;
use crate::runtime::spine::Item;
use crate::store::{Reader, StoreError};
use crate::wire::checkpoint::{KeyRing, Note, notes_in};

/// Retained messages follow the consent to a subscription at once.
const GRACE: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A broker that lets us publish and not subscribe is not waited for longer, in looks.
const LOOKS_MAX: u32 = 30;

/// Where doubts go, and what they are judged by.
pub(super) struct Recall {
    pub(super) journal: PathBuf,
    pub(super) ring: KeyRing,
    pub(super) inbox: Sender<Item>,
    pub(super) anchors: Sender<Note>,
    pub(super) clock: Clock,
    /// From here on checkpoints may be published.
    pub(super) looked: watch::Sender<bool>,
}

/// Runs for ever; does nothing where there is no broker.
pub(super) async fn run(recall: Recall, mut said: mpsc::Receiver<Recalled>, feed: Option<PublishHandle>) {
    let Some(feed) = feed else { return std::future::pending().await };
    let mut looks = 0;
    loop {
        match timeout(LOOK_EVERY, said.recv()).await {
            Ok(None) => return std::future::pending().await,
            Ok(Some(Recalled::Subscribed)) => {
                if let Ok(Some(Recalled::Checkpoint(payload))) = timeout(GRACE, said.recv()).await {
                    recall.judge(payload).await;
                }
            }
            Ok(Some(Recalled::Checkpoint(payload))) => recall.judge(payload).await,
            Err(_) if looks < LOOKS_MAX => {
                looks += u32::from(feed.status().is_connected);
                continue;
            }
            Err(_) => {}
        }
        recall.looked.send_replace(true);
    }
}

impl Recall {
    pub(super) fn new(
        config: &Config,
        proven: &Proven,
        (inbox, clock): (Sender<Item>, Clock),
        looked: watch::Sender<bool>,
    ) -> Self {
        let (journal, ring, anchors) = (config.journal.clone(), proven.ring.clone(), proven.anchors.clone());
        Self { journal, ring, inbox, anchors, clock, looked }
    }

    async fn judge(&self, payload: Vec<u8>) {
        let Some(note) = notes_in(&String::from_utf8_lossy(&payload)).into_iter().find_map(|(_, note)| note.ok())
        else {
            return tracing::warn!("the broker's checkpoint is none");
        };
        if !note.is_signed_by(&self.ring) {
            return tracing::warn!(
                seq = note.seq,
                key = note.key_id,
                "the broker's checkpoint is not of this line's keys"
            );
        }
        let (path, asked) = (self.journal.clone(), note.clone());
        match tokio::task::spawn_blocking(move || contradiction(&path, &asked)).await {
            Ok(Ok(None)) => tracing::debug!(seq = note.seq, "the broker's checkpoint agrees"),
            Ok(Ok(Some(text))) => self.doubt(note, &text),
            Ok(Err(error)) => tracing::warn!(%error, "the broker's checkpoint could not be compared"),
            Err(error) => tracing::warn!(%error, "the broker's checkpoint could not be compared"),
        }
    }

    fn doubt(&self, note: Note, text: &str) {
        tracing::error!(doubt = text, "journal_in_doubt");
        if self.anchors.try_send(note).is_err() {
            tracing::warn!("the side file does not take the broker's checkpoint");
        }
        let text = format!("{text}; restart the daemon, which then goes on in a new epoch");
        let inbound = Inbound { seen_mono_us: self.clock.now().mono_us, what: Arrival::Doubted(text) };
        if self.inbox.try_send(Item::Line(inbound)).is_err() {
            tracing::warn!("doubt_without_alarm");
        }
    }
}

fn contradiction(journal: &Path, note: &Note) -> Result<Option<String>, StoreError> {
    Reader::open(journal)?.contradiction(note, "the broker")
}
