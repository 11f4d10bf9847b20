//! What the facts of a journal say about its keys and its epochs.

use super::{KeyError, KeyRing, PublicKey};
use crate::engine::fact::Fact;
use crate::wire::fact::{self, StoredFact};

/// The kinds that `read` understands.
pub const KINDS: [&str; 2] = ["key_announced", "epoch_raised"];

/// One such fact.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "a journal has a handful of them")]
pub enum Milestone {
    Key {
        seq: u64,
        /// An error where the fact holds no key of this line.
        key: Result<PublicKey, KeyError>,
        /// The id of the key before it, and that one's signature.
        introduced: Option<(String, String)>,
    },
    Epoch(Begun),
}

/// An epoch and what was given up when it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    pub seq: u64,
    pub epoch: u32,
    pub lost_store: Option<String>,
    pub lost_to: Option<u64>,
}

/// `None` for a fact of another kind, and for one that cannot be read: the chain and the decoder say that.
pub fn read(line: &str, stored: StoredFact<'_>) -> Option<Milestone> {
    let seq = stored.seq;
    let entry = KINDS.contains(&stored.kind).then(|| fact::decode(stored).ok()).flatten()?;
    if let Fact::KeyAnnounced { key } = entry.fact {
        let public = PublicKey::of_base64(line, key.public_key.as_str());
        let is_itself = |public: &PublicKey| public.id() == key.key_id.as_str();
        let public = public.and_then(|public| {
            if is_itself(&public) { Ok(public) } else { Err(KeyError { what: "its id is another key's" }) }
        });
        let introduced = key.replaces.zip(key.signature);
        let introduced = introduced.map(|(by, signature)| (by.as_str().to_owned(), signature.as_str().to_owned()));
        return Some(Milestone::Key { seq, key: public, introduced });
    }
    if let Fact::EpochRaised { begun } = entry.fact {
        let lost_store = begun.lost_store.map(|store| store.as_str().to_owned());
        return Some(Milestone::Epoch(Begun { seq, epoch: begun.epoch, lost_store, lost_to: begun.lost_to }));
    }
    None
}

/// The epoch of a fact.
pub fn epoch_at(begun: &[Begun], seq: u64) -> u32 {
    begun.iter().rfind(|begun| begun.seq <= seq).map_or(1, |begun| begun.epoch)
}

/// The keys to believe. `trusted` are those that came from outside; without any, the first key of the journal is taken at its
/// word. A key that was announced up to fact `vouched` is covered by a checkpoint of a trusted one, and so believed as well.
pub fn believed(milestones: &[Milestone], trusted: Option<&KeyRing>, vouched: u64) -> KeyRing {
    let mut ring = trusted.cloned().unwrap_or_default();
    for milestone in milestones {
        let Milestone::Key { seq, key: Ok(key), introduced } = milestone else { continue };
        let is_first_word = trusted.is_none() && ring.is_empty();
        if is_first_word || *seq <= vouched {
            ring.add(key.clone());
        } else if let Some((by, signature)) = introduced {
            ring.add_introduced(key.clone(), by, signature);
        }
    }
    ring
}
