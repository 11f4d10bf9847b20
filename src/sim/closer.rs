//! A station that fills a container, closes it behind a gate and releases it behind another: case packer and palletizer.
//!
//! Full, it raises a request (1 seal) with the children as scanned and its own container count, frozen while the request is
//! open, and waits. A denial ends the request; after a pause it asks again under a new `seq` with the same container. A permit
//! is obeyed once per token and epoch, while its time to live runs from first sight, under a fresh heartbeat and for the open
//! request only; a stroke that began is never aborted. The label that came with the seal permit is applied, scanned and shown
//! in `label_read` with the release request (2). `close_result` and `permit_ack` stand until the next `seq`, which is raised
//! only after `reply` is back at 0. The next container fills meanwhile; what arrives waits in a buffer that holds the belt.

mod astray;

use std::collections::{BTreeMap, VecDeque};

use super::link::Link;
use super::settings::{ArrayReader, CHILD_SLOTS, Packing};
use super::tags::Tags;
use super::truth::{RequestOf, Truth, TruthEvent, text_of};
use crate::domain::tag::{StationKind, Tag, TagValue};

const DENY: i64 = 1;
const PERMIT: i64 = 3;

/// What lies in a container: a unit in a case, a case on a pallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The unit's number, or the case's own count.
    pub number: u64,
    /// What the station's scanner reads from it; empty is unread.
    pub code: Vec<u8>,
    pub is_conforming: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Seal,
    Release,
}

impl Gate {
    fn name(self) -> &'static str {
        match self {
            Gate::Seal => "seal",
            Gate::Release => "release",
        }
    }

    fn request(self) -> u64 {
        match self {
            Gate::Seal => 1,
            Gate::Release => 2,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CloseResult {
    Open,
    Done,
    MachineFailure,
    Expired,
}

impl CloseResult {
    fn code(self) -> u8 {
        match self {
            CloseResult::Open => 0,
            CloseResult::Done => 1,
            CloseResult::MachineFailure => 2,
            CloseResult::Expired => 3,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No request open; the container fills.
    Filling,
    Asking(Gate),
    /// Denied; asks again when the pause is over.
    Pausing(Gate, u64),
    /// The gate opens until this time, then stands open.
    Opening(Gate, u64),
    Standing(Gate, u64),
    /// The outcome is shown; the permit has to be withdrawn first.
    Withdrawal(Gate),
    /// A late answer stands at last, until this time.
    Showing(Gate, u64),
    Labelling(u64),
    /// The gate moves unasked until this time: a jog, or a stroke that seals what lies in it.
    Forcing(u64, Forced),
    /// Released, waiting for room behind.
    Leaving,
}

/// What may go wrong at the station, once each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloserMishap {
    SealFails,
    LabelUnreadable,
    ChildUnread,
    /// The next permit is forgotten as soon as it arrives: whoever gave it has to write it again.
    PermitForgotten,
    /// What becomes of the next permit is shown only after [`MUTE_US`].
    AnswerLate,
    /// The next permit is never acknowledged, but its result is shown.
    AckHidden,
    /// The gate opens and shuts, and seals nothing.
    GateJogged,
    /// The next full container is sealed without a request, and goes on with no label, or with the last one again.
    SealForced,
    SealForcedRelabelled,
    /// The labeller applies the last container's label; the next try is right.
    LabelSwapped,
    /// The next seal is asked for one child too early.
    AsksShort,
}

/// How a gate moves unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forced {
    Jog,
    Seal,
    SealRelabelled,
}

/// Longer than a permit lives with everything that follows it.
pub const MUTE_US: u64 = 6_500_000;

/// How the station is built.
#[derive(Clone, Debug)]
pub struct CloserSettings {
    pub kind: StationKind,
    pub capacity: usize,
    /// Items that wait before the station; at the bound what comes before it stops.
    pub buffer: usize,
    pub motion_us: u64,
    pub deny_pause_us: u64,
    pub packing: Packing,
    pub array: ArrayReader,
}

#[derive(Clone, Debug)]
pub struct Closer {
    settings: CloserSettings,
    stage: Stage,
    arrived: VecDeque<Item>,
    /// The container that fills, and then the one whose seal is asked.
    staged: Vec<Item>,
    /// The sealed container on its way through label and release.
    sealed: Vec<Item>,
    seq: u64,
    container: u64,
    is_numbered: bool,
    label: Vec<u8>,
    label_read: Vec<u8>,
    permit_ack: u32,
    close_result: CloseResult,
    /// When each permit of this epoch was first seen, and whether its token is spent.
    tokens: BTreeMap<u32, (u64, bool)>,
    gate_state: u64,
    outgoing: Option<Item>,
    closed: u64,
    mishaps: Vec<CloserMishap>,
    /// The label of the container that was released last.
    last_label: Vec<u8>,
    /// Until then the outcome of the permit is not shown.
    mute_until_us: u64,
    hides_ack: bool,
    /// The reply is wiped out of the memory at the next look.
    forgets_reply: bool,
    /// Nothing that the station shows can be trusted to be seen: its gate does not go astray now.
    is_dim: bool,
    /// What the machine shows of its newest refusal.
    refusal: Option<Refusal>,
}

/// A refusal as a person at the machine sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub is_seal: bool,
    /// The number shown there (tag `reason`).
    pub reason: u16,
    /// Refusals of this container in a row.
    pub times: u32,
    /// The first child whose code cannot be read, counted from 0.
    pub unread_slot: Option<usize>,
}

/// What a step sees beside the tags.
pub struct Scene<'a> {
    pub now_us: u64,
    pub link: &'a Link,
    pub truth: &'a mut Truth,
}

impl Closer {
    pub fn new(settings: CloserSettings) -> Self {
        Self {
            settings,
            stage: Stage::Filling,
            arrived: VecDeque::new(),
            staged: Vec::new(),
            sealed: Vec::new(),
            seq: 0,
            container: 0,
            is_numbered: false,
            label: Vec::new(),
            label_read: Vec::new(),
            permit_ack: 0,
            close_result: CloseResult::Open,
            tokens: BTreeMap::new(),
            gate_state: 0,
            outgoing: None,
            closed: 0,
            mishaps: Vec::new(),
            last_label: Vec::new(),
            mute_until_us: 0,
            hides_ack: false,
            forgets_reply: false,
            is_dim: false,
            refusal: None,
        }
    }

    pub fn has_room(&self) -> bool {
        self.arrived.len() < self.settings.buffer
    }

    pub fn arrive(&mut self, item: Item) {
        self.arrived.push_back(item);
    }

    /// Containers sealed, labelled and released.
    pub fn closed(&self) -> u64 {
        self.closed
    }

    pub fn is_empty(&self) -> bool {
        self.stage == Stage::Filling && self.arrived.is_empty() && self.staged.is_empty() && self.outgoing.is_none()
    }

    /// Items that still count towards a container that will close.
    pub fn waiting(&self) -> u64 {
        (self.arrived.len() + self.staged.len()) as u64
    }

    pub fn mishap(&mut self, mishap: CloserMishap) {
        self.mishaps.push(mishap);
    }

    /// What has not gone wrong yet does not.
    pub fn drop_mishaps(&mut self) {
        self.mishaps.clear();
    }

    fn mishap_happens(&mut self, mishap: CloserMishap) -> bool {
        let at = self.mishaps.iter().position(|m| *m == mishap);
        at.map(|at| self.mishaps.remove(at)).is_some()
    }

    /// A restart: the counters begin anew. A sealed container whose number is lost is taken out by hand; the others stay.
    pub fn reset(&mut self) -> Vec<Item> {
        let mut fresh = Closer::new(self.settings.clone());
        let taken = std::mem::take(&mut self.sealed);
        fresh.arrived = std::mem::take(&mut self.arrived);
        fresh.staged = std::mem::take(&mut self.staged);
        fresh.outgoing = self.outgoing.take();
        if fresh.outgoing.is_some() {
            fresh.stage = Stage::Leaving;
        }
        fresh.closed = self.closed;
        *self = fresh;
        taken
    }

    /// Whether something that bears this code waits for its seal.
    pub fn holds(&self, code: &[u8]) -> bool {
        self.staged.iter().any(|item| item.code == code)
    }

    /// A person takes one child out of the container that fills or was denied; never while a request is open.
    pub fn take_out(&mut self, code: &[u8], scene: &mut Scene<'_>) -> Option<Item> {
        let is_free = match self.stage {
            Stage::Filling | Stage::Pausing(Gate::Seal, _) => true,
            Stage::Asking(_)
            | Stage::Pausing(Gate::Release, _)
            | Stage::Opening(..)
            | Stage::Standing(..)
            | Stage::Withdrawal(_)
            | Stage::Showing(..)
            | Stage::Labelling(_)
            | Stage::Forcing(..)
            | Stage::Leaving => false,
        };
        // Where two bear the same code, the later one is the one too many.
        let at = self.staged.iter().rposition(|item| item.code == code)?;
        if !is_free {
            return None;
        }
        let item = self.staged.remove(at);
        self.refusal = None;
        self.note_taken(&item, scene);
        Some(item)
    }

    /// One step; `room` says whether what is released can leave. Gives back what left.
    pub fn step(&mut self, tags: &Tags, room: bool, scene: &mut Scene<'_>) -> Option<Item> {
        self.fill();
        match self.stage {
            Stage::Filling => {
                self.begin(scene);
            }
            Stage::Asking(gate) => self.look_for_answer(gate, tags, scene),
            Stage::Forcing(until, forced) if scene.now_us >= until => self.finish_forced(forced, scene),
            Stage::Pausing(gate, until) if scene.now_us >= until => self.ask_again(gate, scene),
            Stage::Opening(gate, until) if scene.now_us >= until => {
                self.gate_state = 2;
                self.stage = Stage::Standing(gate, scene.now_us + self.settings.motion_us);
            }
            Stage::Standing(gate, until) if scene.now_us >= until => self.finish(gate, scene),
            Stage::Withdrawal(gate) => {
                if self.is_answer_seen(scene) && tags.int(self.settings.kind, Tag::Reply) == 0 {
                    self.go_on(gate, scene);
                }
            }
            Stage::Showing(gate, until) if scene.now_us >= until => self.stage = Stage::Withdrawal(gate),
            Stage::Labelling(until) if scene.now_us >= until => self.scan_label(scene),
            Stage::Leaving => {
                if room {
                    return self.leave();
                }
            }
            Stage::Pausing(..)
            | Stage::Opening(..)
            | Stage::Standing(..)
            | Stage::Showing(..)
            | Stage::Labelling(_)
            | Stage::Forcing(..) => {}
        }
        None
    }

    fn fill(&mut self) {
        // While a seal is asked or paused the container is full or being mended; it takes more only when it fills.
        let is_filling = match self.stage {
            Stage::Filling | Stage::Labelling(_) | Stage::Leaving => true,
            Stage::Forcing(..) => false,
            Stage::Asking(gate)
            | Stage::Pausing(gate, _)
            | Stage::Opening(gate, _)
            | Stage::Standing(gate, _)
            | Stage::Showing(gate, _)
            | Stage::Withdrawal(gate) => gate == Gate::Release,
        };
        while is_filling && self.staged.len() < self.fill_to() {
            let Some(mut item) = self.arrived.pop_front() else {
                return;
            };
            if self.mishap_happens(CloserMishap::ChildUnread) {
                item.code.clear();
            }
            self.staged.push(item);
        }
    }

    fn request_of(&self, gate: Gate, scene: &Scene<'_>) -> RequestOf {
        RequestOf {
            station: self.settings.kind.name().into(),
            epoch: scene.link.epoch(),
            seq: self.seq,
            gate: gate.name().into(),
            container: self.container,
        }
    }

    fn ask(&mut self, gate: Gate, scene: &mut Scene<'_>) {
        if gate == Gate::Seal && !self.is_numbered {
            self.container += 1;
            self.is_numbered = true;
            self.label.clear();
            self.label_read.clear();
        }
        self.seq += 1;
        self.permit_ack = 0;
        self.hides_ack = false;
        self.close_result = CloseResult::Open;
        self.stage = Stage::Asking(gate);
        self.note_filled(gate, scene);
        let request = self.request_of(gate, scene);
        scene.truth.note(TruthEvent::Request(request));
    }

    fn ask_again(&mut self, gate: Gate, scene: &mut Scene<'_>) {
        match gate {
            // A child may have been taken out meanwhile: then the container fills up first, under its number.
            Gate::Seal => self.stage = Stage::Filling,
            Gate::Release => self.scan_label(scene),
        }
    }

    fn look_for_answer(&mut self, gate: Gate, tags: &Tags, scene: &mut Scene<'_>) {
        let kind = self.settings.kind;
        let reply = tags.int(kind, Tag::Reply);
        if !scene.link.is_addressed(tags) {
            return;
        }
        let token = u32::try_from(tags.int(kind, Tag::Token)).unwrap_or(0);
        let is_ours = u64::try_from(tags.int(kind, Tag::ReplySeq)) == Ok(self.seq);
        if is_ours && reply == PERMIT && self.forgets_permit(scene) {
            return;
        }
        if reply == PERMIT && token != 0 {
            self.tokens.entry(token).or_insert((scene.now_us, false));
        }
        if is_ours && reply == DENY {
            self.note_refusal(gate, tags);
            self.stage = Stage::Pausing(gate, scene.now_us + self.settings.deny_pause_us);
            let request = self.request_of(gate, scene);
            scene.truth.note(TruthEvent::Denied(request));
        } else if is_ours && reply == PERMIT {
            self.obey(gate, token, tags, scene);
        }
    }

    fn obey(&mut self, gate: Gate, token: u32, tags: &Tags, scene: &mut Scene<'_>) {
        let kind = self.settings.kind;
        let ttl_ms = u64::try_from(tags.int(kind, Tag::TtlMs)).unwrap_or(0);
        let Some((seen_us, is_spent)) = self.tokens.get_mut(&token) else {
            return;
        };
        let is_expired = scene.now_us.saturating_sub(*seen_us) >= ttl_ms.saturating_mul(1000);
        if *is_spent || !(is_expired || scene.link.is_fresh(scene.now_us)) {
            return;
        }
        let label = tags.bytes(kind, Tag::Label);
        let is_label_there = !label.is_empty() && label != self.last_label;
        if self.settings.packing == Packing::Labelled && gate == Gate::Seal && !is_label_there && !is_expired {
            return;
        }
        *is_spent = true;
        self.permit_ack = token;
        self.refusal = None;
        self.lose_answer(scene);
        if is_expired {
            self.conclude(gate, CloseResult::Expired, scene);
            return;
        }
        if gate == Gate::Seal {
            self.label = tags.bytes(kind, Tag::Label).to_vec();
        }
        self.gate_state = 1;
        self.stage = Stage::Opening(gate, scene.now_us + self.settings.motion_us);
        let inside = match gate {
            Gate::Seal => &self.staged,
            Gate::Release => &self.sealed,
        };
        let event = TruthEvent::Gate {
            request: self.request_of(gate, scene),
            token: self.granted(token),
            children: inside.iter().map(|item| text_of(&item.code)).collect(),
            inside: inside.iter().map(|item| item.number).collect(),
            label: text_of(&self.label),
        };
        scene.truth.note(event);
    }

    /// The token that moved the gate: none where a person's hands did.
    fn granted(&self, token: u32) -> u32 {
        if self.settings.packing == Packing::Hand { 0 } else { token }
    }

    fn finish(&mut self, gate: Gate, scene: &mut Scene<'_>) {
        self.gate_state = 0;
        let fails = gate == Gate::Seal && self.mishap_happens(CloserMishap::SealFails);
        if fails {
            self.conclude(gate, CloseResult::MachineFailure, scene);
            return;
        }
        if gate == Gate::Seal {
            self.sealed = std::mem::take(&mut self.staged);
        }
        self.conclude(gate, CloseResult::Done, scene);
    }

    fn conclude(&mut self, gate: Gate, result: CloseResult, scene: &mut Scene<'_>) {
        self.close_result = result;
        self.stage = Stage::Withdrawal(gate);
        let event = TruthEvent::Closed {
            request: self.request_of(gate, scene),
            token: self.granted(self.permit_ack),
            result: result.code(),
        };
        scene.truth.note(event);
    }

    /// The permit is withdrawn: the next motion, or the same request under a new number.
    fn go_on(&mut self, gate: Gate, scene: &mut Scene<'_>) {
        match (gate, self.close_result) {
            (Gate::Seal, CloseResult::Done) => {
                self.stage = Stage::Labelling(scene.now_us + self.settings.motion_us);
            }
            (Gate::Release, CloseResult::Done) => self.release(scene),
            (Gate::Seal | Gate::Release, CloseResult::Open)
            | (Gate::Seal | Gate::Release, CloseResult::MachineFailure)
            | (Gate::Seal | Gate::Release, CloseResult::Expired) => self.ask(gate, scene),
        }
    }

    fn scan_label(&mut self, scene: &mut Scene<'_>) {
        let applied = self.applied_label(scene);
        self.label_read = match self.mishap_happens(CloserMishap::LabelUnreadable) {
            true => Vec::new(),
            false => applied.clone(),
        };
        scene.truth.note(TruthEvent::Labelled {
            station: self.settings.kind.name().into(),
            epoch: scene.link.epoch(),
            container: self.container,
            label: text_of(&applied),
            label_read: text_of(&self.label_read),
        });
        self.ask(Gate::Release, scene);
    }

    fn release(&mut self, scene: &mut Scene<'_>) {
        self.closed += 1;
        scene.truth.note(TruthEvent::Moved {
            station: self.settings.kind.name().into(),
            epoch: scene.link.epoch(),
            container: self.container,
            label: text_of(&self.label),
        });
        self.outgoing = Some(Item {
            number: self.container,
            code: self.label.clone(),
            is_conforming: self.sealed.iter().all(|item| item.is_conforming),
        });
        self.sealed.clear();
        self.is_numbered = false;
        self.last_label.clone_from(&self.label);
        self.stage = Stage::Leaving;
    }

    fn leave(&mut self) -> Option<Item> {
        self.stage = Stage::Filling;
        self.outgoing.take()
    }

    pub fn show(&mut self, tags: &mut Tags) {
        let kind = self.settings.kind;
        if self.seq > 0 {
            self.show_request(tags);
        }
        if self.forgets_reply {
            self.forget_reply(tags);
        }
        let (ack, result) = (u64::from(self.permit_ack), u64::from(self.close_result.code()));
        let is_mute = self.mute_until_us != 0;
        tags.set_int(kind, Tag::PermitAck, if is_mute || self.hides_ack { 0 } else { ack });
        tags.set_int(kind, Tag::CloseResult, if is_mute { 0 } else { result });
        tags.set_int(kind, Tag::GateState, if is_mute { 0 } else { self.gate_state });
    }

    /// The request's own values change with its number alone, so that they are frozen while it is open.
    fn show_request(&self, tags: &mut Tags) {
        let kind = self.settings.kind;
        let Stage::Asking(gate) = self.stage else {
            return;
        };
        if u64::try_from(tags.int(kind, Tag::Seq)) == Ok(self.seq) {
            return;
        }
        let items = match gate {
            Gate::Seal => &self.staged,
            Gate::Release => &self.sealed,
        };
        let mut children: Vec<Vec<u8>> = items.iter().map(|item| item.code.clone()).collect();
        children = self.settings.array.frames(children, self.settings.capacity);
        children.resize(CHILD_SLOTS, Vec::new());
        tags.set(kind, Tag::Children, TagValue::Texts(children));
        tags.set_int(kind, Tag::ChildCount, items.len() as u64);
        tags.set_int(kind, Tag::Request, gate.request());
        tags.set_int(kind, Tag::Container, self.container);
        tags.set(kind, Tag::LabelRead, TagValue::Bytes(self.label_read.clone()));
        tags.set_int(kind, Tag::Seq, self.seq);
    }
}
