//! What goes wrong at a closing station, and what a person does there about a refusal.

use super::{CloseResult, Closer, CloserMishap, Forced, Gate, Item, MUTE_US, Refusal, Scene, Stage};
use crate::domain::tag::Tag;
use crate::sim::mishap::Mishap;
use crate::sim::tags::Tags;
use crate::sim::truth::{Touch, TruthEvent, text_of};

/// The late answer stands at least so long before the machine goes on.
const SHOWN_US: u64 = 200_000;

impl Closer {
    /// Containers sealed here that still have to go on.
    pub fn sealed(&self) -> u64 {
        u64::from(!self.sealed.is_empty()) + u64::from(self.outgoing.is_some())
    }

    /// Whether a mishap waits for its chance.
    pub fn is_fated(&self) -> bool {
        !self.mishaps.is_empty()
    }

    /// The newest refusal, while it stands.
    pub fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// Whether what the station shows is frozen or bad just now.
    pub fn set_dim(&mut self, is_dim: bool) {
        self.is_dim = is_dim;
    }

    /// One child is held back while the station is to ask too early.
    pub(super) fn fill_to(&self) -> usize {
        let is_short = self.settings.capacity > 1 && self.mishaps.contains(&CloserMishap::AsksShort);
        self.settings.capacity - usize::from(is_short)
    }

    /// Full, or about to go wrong.
    pub(super) fn begin(&mut self, scene: &mut Scene<'_>) {
        let (have, want) = (self.staged.len(), self.settings.capacity);
        if !self.is_dim && self.mishap_happens(CloserMishap::GateJogged) {
            self.note(Mishap::GateForced, Vec::new(), scene);
            self.force(Forced::Jog, scene);
        } else if have + 1 == want && have > 0 && self.mishap_happens(CloserMishap::AsksShort) {
            self.ask(Gate::Seal, scene);
            self.note(Mishap::ShortCase, Vec::new(), scene);
        } else if have >= want {
            let forced = [
                (CloserMishap::SealForced, Forced::Seal),
                (CloserMishap::SealForcedRelabelled, Forced::SealRelabelled),
            ];
            // A number that was given belongs to a container that the other side knows: it asks again.
            let forced = forced
                .into_iter()
                .find(|(mishap, _)| !self.is_numbered && !self.is_dim && self.mishap_happens(*mishap));
            match forced {
                Some((_, forced)) => self.force(forced, scene),
                None => self.ask(Gate::Seal, scene),
            }
        }
    }

    fn force(&mut self, forced: Forced, scene: &Scene<'_>) {
        self.gate_state = 1;
        self.stage = Stage::Forcing(scene.now_us + 2 * self.settings.motion_us.max(50_000), forced);
    }

    pub(super) fn finish_forced(&mut self, forced: Forced, scene: &mut Scene<'_>) {
        self.gate_state = 0;
        let label = match forced {
            Forced::Jog => {
                self.stage = Stage::Filling;
                return;
            }
            Forced::Seal => Vec::new(),
            Forced::SealRelabelled => self.last_label.clone(),
        };
        let items = std::mem::take(&mut self.staged);
        let inside: Vec<u64> = items.iter().map(|item| item.number).collect();
        self.note(Mishap::GateForced, inside.clone(), scene);
        scene.truth.note(TruthEvent::Forced {
            station: self.settings.kind.name().into(),
            epoch: scene.link.epoch(),
            inside,
            label: text_of(&label),
        });
        // Nobody numbered it: 0 names no container.
        self.outgoing = Some(Item { number: 0, code: label, is_conforming: false });
        self.stage = Stage::Leaving;
    }

    /// True once for each such mishap: the permit that stands is to be wiped out.
    pub(super) fn forgets_permit(&mut self, scene: &mut Scene<'_>) -> bool {
        if self.forgets_reply {
            return true;
        }
        self.forgets_reply = self.mishap_happens(CloserMishap::PermitForgotten);
        if self.forgets_reply {
            self.note(Mishap::LostPermitAck, Vec::new(), scene);
        }
        self.forgets_reply
    }

    pub(super) fn forget_reply(&mut self, tags: &mut Tags) {
        self.forgets_reply = false;
        for tag in [Tag::Reply, Tag::ReplySeq, Tag::Token, Tag::TtlMs] {
            tags.set_int(self.settings.kind, tag, 0);
        }
    }

    pub(super) fn lose_answer(&mut self, scene: &mut Scene<'_>) {
        if self.mishap_happens(CloserMishap::AnswerLate) {
            self.mute_until_us = scene.now_us + MUTE_US;
            self.note(Mishap::LostPermitAck, Vec::new(), scene);
        } else if self.mishap_happens(CloserMishap::AckHidden) {
            self.hides_ack = true;
            self.note(Mishap::LostPermitAck, Vec::new(), scene);
        }
    }

    /// Whether the outcome has been shown; a late one stands for a while before the machine goes on.
    pub(super) fn is_answer_seen(&mut self, scene: &Scene<'_>) -> bool {
        if self.mute_until_us == 0 {
            return true;
        }
        if scene.now_us < self.mute_until_us {
            return false;
        }
        self.mute_until_us = 0;
        let gate = match self.stage {
            Stage::Withdrawal(gate) => gate,
            Stage::Filling
            | Stage::Asking(_)
            | Stage::Pausing(..)
            | Stage::Opening(..)
            | Stage::Standing(..)
            | Stage::Showing(..)
            | Stage::Labelling(_)
            | Stage::Forcing(..)
            | Stage::Leaving => return true,
        };
        self.stage = Stage::Showing(gate, scene.now_us + SHOWN_US);
        false
    }

    /// The label that the labeller applies: the given one, but for a mishap.
    pub(super) fn applied_label(&mut self, scene: &mut Scene<'_>) -> Vec<u8> {
        if self.last_label.is_empty() || self.last_label == self.label {
            return self.label.clone();
        }
        if !self.mishap_happens(CloserMishap::LabelSwapped) {
            return self.label.clone();
        }
        self.note(Mishap::LabelSwapped, Vec::new(), scene);
        self.last_label.clone()
    }

    pub(super) fn note_filled(&self, gate: Gate, scene: &mut Scene<'_>) {
        if gate == Gate::Seal {
            scene.truth.note(TruthEvent::Filled {
                station: self.settings.kind.name().into(),
                epoch: scene.link.epoch(),
                container: self.container,
                inside: self.staged.iter().map(|item| item.number).collect(),
            });
        }
    }

    pub(super) fn note_refusal(&mut self, gate: Gate, tags: &Tags) {
        let reason = u16::try_from(tags.int(self.settings.kind, Tag::Reason)).unwrap_or(0);
        let times = self.refusal.map_or(0, |refusal| refusal.times) + 1;
        let unread_slot = match gate {
            Gate::Seal => self.staged.iter().position(|item| item.code.is_empty()),
            Gate::Release => None,
        };
        self.refusal = Some(Refusal { is_seal: gate == Gate::Seal, reason, times, unread_slot });
    }

    fn note(&self, mishap: Mishap, units: Vec<u64>, scene: &mut Scene<'_>) {
        scene.truth.note(TruthEvent::Mishap(Touch {
            mishap: mishap.name().into(),
            station: self.settings.kind.name().into(),
            epoch: scene.link.epoch(),
            container: if self.is_numbered { self.container } else { 0 },
            units,
        }));
    }

    /// What a restart of the station leaves in doubt: everything under an open request.
    pub fn in_doubt(&self) -> (u64, Vec<u64>) {
        let is_asked = self.stage != Stage::Filling;
        let staged = if is_asked { self.staged.as_slice() } else { &[] };
        let units = staged.iter().chain(&self.sealed).map(|item| item.number).collect();
        (if self.is_numbered { self.container } else { 0 }, units)
    }

    /// A person takes the illegible child out of this slot; never while a request is open.
    pub fn take_out_slot(&mut self, slot: usize, scene: &mut Scene<'_>) -> Option<Item> {
        let is_free = matches!(self.stage, Stage::Filling | Stage::Pausing(Gate::Seal, _));
        if !is_free || self.staged.get(slot).is_none_or(|item| !item.code.is_empty()) {
            return None;
        }
        let item = self.staged.remove(slot);
        self.refusal = None;
        self.note_taken(&item, scene);
        Some(item)
    }

    /// A person takes the whole container away, sealed or not, when its request was refused; the next one begins.
    pub fn take_away(&mut self, scene: &mut Scene<'_>) -> Vec<Item> {
        let items = match self.stage {
            Stage::Pausing(Gate::Seal, _) => std::mem::take(&mut self.staged),
            Stage::Pausing(Gate::Release, _) => std::mem::take(&mut self.sealed),
            Stage::Filling
            | Stage::Asking(_)
            | Stage::Opening(..)
            | Stage::Standing(..)
            | Stage::Withdrawal(_)
            | Stage::Showing(..)
            | Stage::Labelling(_)
            | Stage::Forcing(..)
            | Stage::Leaving => return Vec::new(),
        };
        for item in &items {
            self.note_taken(item, scene);
        }
        self.is_numbered = false;
        self.refusal = None;
        self.close_result = CloseResult::Open;
        self.stage = Stage::Filling;
        items
    }

    pub(super) fn note_taken(&self, item: &Item, scene: &mut Scene<'_>) {
        scene.truth.note(TruthEvent::TakenOut {
            station: self.settings.kind.name().into(),
            epoch: scene.link.epoch(),
            container: if self.is_numbered { self.container } else { 0 },
            unit: item.number,
            code: text_of(&item.code),
        });
    }
}
