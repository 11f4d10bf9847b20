//! The handshake of packer and palletizer: a container asks for one of its gates under a number of its own, and gets one reply.
//!
//! A request is observed once, when its number rises and everything that belongs to it was read under that number. Replies are
//! levels: everything they need is written first and `reply_seq` last, in one write; the same reply again is the same write. A
//! reply to any number but the one that the station shows is void, so that no withdrawal of the last permit hits the next one.

use crate::domain::pack::Gate;
use crate::domain::tag::{Tag, TagValue};
use crate::engine::input::{CloseEnd, CloseRequest, GateState, Observed};
use crate::engine::output::{ClosePermit, Permit, Restraint};
use crate::station::counter::{Counter, nearest};
use crate::station::image::{Doubt, Image};
use crate::station::{Base, Cursor, Level, Output, Scan, Settings, int, observe_fault};

const REPLY_NONE: i64 = 0;
const REPLY_DENY: i64 = 1;
const REPLY_PERMIT: i64 = 3;

#[derive(Clone, Debug)]
pub(in crate::station) struct Packer {
    seq: Counter,
    container_wrap: Option<u64>,
    last_container: u64,
    ack: Level<u32>,
    result: Level<(u64, CloseEnd)>,
    gate: Level<GateState>,
    fault: Level<i64>,
}

impl Packer {
    pub(in crate::station) fn new(settings: &Settings, cursor: &Cursor) -> Self {
        Self {
            seq: Counter::new(settings.wrap(Tag::Seq), Some(cursor.last_seq)),
            container_wrap: settings.wrap(Tag::Container),
            last_container: cursor.last_container,
            ack: Level::default(),
            result: Level::default(),
            gate: Level::default(),
            fault: Level::default(),
        }
    }

    pub(in crate::station) fn reset(&mut self, base: Base) {
        self.seq.restart(base.last());
        self.last_container = 0;
    }

    pub(in crate::station) fn forget_levels(&mut self) {
        self.ack = Level::default();
        self.result = Level::default();
        self.gate = Level::default();
        self.fault = Level::default();
    }

    pub(in crate::station) fn scan(&mut self, mut scan: Scan<'_>) -> Result<(), Doubt> {
        let seq = self.seq.read(scan.image.counter(Tag::Seq)?).ok_or(Doubt::Fell)?;
        // On first contact the request that stands is the one to answer; those before it are not ours.
        let last = self.seq.last().unwrap_or(seq.saturating_sub(1));
        observe_fault(&mut self.fault, &mut scan);
        let is_whole = scan.image.is_current(Tag::Request) && scan.image.is_current(Tag::Children);
        if seq > last && is_whole {
            let request = self.request(seq, &scan);
            scan.out.push(Observed::CloseRequested(request));
        }
        let is_known = seq == last || is_whole;
        if is_known {
            self.seq.accept(seq);
        }
        self.tell_permit(seq, is_known, &mut scan);
        Ok(())
    }

    fn request(&mut self, seq: u64, scan: &Scan<'_>) -> CloseRequest {
        let image = scan.image;
        let asked = image.int(Tag::Request).and_then(|value| scan.settings.meaning(Tag::Request, value));
        let gate = match asked {
            Some(1) => Some(Gate::Seal),
            Some(2) => Some(Gate::Release),
            Some(_) | None => None,
        };
        let container = image
            .number(Tag::Container)
            .filter(|_| image.is_current(Tag::Container))
            .and_then(|raw| nearest(self.container_wrap, self.last_container, raw));
        self.last_container = container.unwrap_or(self.last_container);
        let child_count = image.number(Tag::ChildCount).filter(|_| image.is_current(Tag::ChildCount));
        let slots = image.texts(Tag::Children);
        let is_label_good = gate != Some(Gate::Release) || is_good_or_away(image, Tag::LabelRead);
        let is_good = gate.is_some()
            && (container.is_some() || scan.settings.is_absent(Tag::Container))
            && slots.is_some()
            && is_good_or_away(image, Tag::ChildCount)
            && is_label_good;
        CloseRequest {
            seq,
            gate: gate.unwrap_or(Gate::Seal),
            container: container.unwrap_or(0),
            children: slots.map(|slots| used_slots(slots, child_count)).unwrap_or_default(),
            child_count,
            label_read: current_label(image),
            not_good: !is_good,
        }
    }

    /// What became of the permit, in the order in which the machine does it.
    fn tell_permit(&mut self, seq: u64, is_known: bool, scan: &mut Scan<'_>) {
        let token = scan.image.number(Tag::PermitAck).and_then(|token| u32::try_from(token).ok());
        if let Some(token) = self.ack.change(token.filter(|token| *token != 0)) {
            scan.out.push(Observed::PermitAcked { token });
        }
        let meaning = |tag| scan.image.int(tag).and_then(|value| scan.settings.meaning(tag, value));
        let (state, result) = (meaning(Tag::GateState).and_then(gate_state), meaning(Tag::CloseResult));
        if let Some(state) = self.gate.change(state) {
            scan.out.push(Observed::GateMoved { state });
        }
        // A result belongs to the number that it was read under, and to none that was not told yet.
        let ended =
            result.and_then(close_end).filter(|_| is_known && seq > 0 && scan.image.is_current(Tag::CloseResult));
        if let Some((seq, result)) = self.result.change(ended.map(|end| (seq, end))) {
            scan.out.push(Observed::CloseEnded { seq, result });
        }
    }

    pub(in crate::station) fn restrain(&mut self, restraint: &Restraint, mut output: Output<'_>) {
        match restraint {
            Restraint::Deny { device_epoch, seq, reason, .. } => {
                if output.epoch == Some(*device_epoch) && self.is_open(*seq) {
                    let values = self.deny(*seq, *reason, output.settings);
                    output.write(values);
                }
            }
            Restraint::Shut { .. } => withdraw(&mut output),
            Restraint::Fail(_) | Restraint::Hold { .. } => {}
        }
    }

    pub(in crate::station) fn permit(&mut self, permit: &Permit, mut output: Output<'_>) {
        match permit {
            Permit::AckRequest { seq, .. } if self.is_open(*seq) => {
                output.write(vec![(Tag::Ack, int(self.seq.shown(*seq)))]);
            }
            Permit::Close(close) if self.is_open(close.seq) => {
                // No token is 0, and a permit that comes too late is none.
                if close.token != 0 && !output.is_late(close.until_mono_us) {
                    let values = self.close(close, output.settings);
                    output.write(values);
                }
            }
            Permit::Settle { seq, .. } if self.is_open(*seq) => withdraw(&mut output),
            Permit::AckRequest { .. } | Permit::Close(_) | Permit::Settle { .. } => {}
            Permit::Pass { .. }
            | Permit::Run { .. }
            | Permit::AckResult { .. }
            | Permit::Print { .. }
            | Permit::Flush { .. } => {}
        }
    }

    /// Whether the station still shows request `seq`.
    fn is_open(&self, seq: u64) -> bool {
        seq > 0 && self.seq.last() == Some(seq)
    }

    fn deny(&self, seq: u64, reason: u16, settings: &Settings) -> Vec<(Tag, TagValue)> {
        vec![
            (Tag::Token, TagValue::Int(0)),
            (Tag::TtlMs, TagValue::Int(0)),
            (Tag::Reason, int(reason)),
            (Tag::Label, TagValue::Bytes(Vec::new())),
            (Tag::Reply, settings.device_value(Tag::Reply, REPLY_DENY)),
            (Tag::ReplySeq, int(self.seq.shown(seq))),
        ]
    }

    fn close(&self, close: &ClosePermit, settings: &Settings) -> Vec<(Tag, TagValue)> {
        vec![
            (Tag::Token, int(close.token)),
            (Tag::TtlMs, int(close.ttl_ms)),
            (Tag::Label, TagValue::Bytes(close.label.clone())),
            (Tag::Reply, settings.device_value(Tag::Reply, REPLY_PERMIT)),
            (Tag::ReplySeq, int(self.seq.shown(close.seq))),
        ]
    }
}

fn withdraw(output: &mut Output<'_>) {
    let none = output.settings.device_value(Tag::Reply, REPLY_NONE);
    output.write(vec![(Tag::Reply, none)]);
}

/// The slots that count: as many as the station counted, and any filled one beyond. A fixed array ends in unused slots; an empty
/// slot before that is a missing child.
fn used_slots(slots: &[Vec<u8>], child_count: Option<u64>) -> Vec<Vec<u8>> {
    let filled = slots.iter().rposition(|slot| !slot.is_empty()).map_or(0, |last| last.saturating_add(1));
    let counted = child_count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    slots.iter().take(filled.max(counted)).cloned().collect()
}

fn current_label(image: &Image) -> Option<Vec<u8>> {
    let label = image.bytes(Tag::LabelRead).filter(|_| image.is_current(Tag::LabelRead))?;
    (!label.is_empty()).then(|| label.to_vec())
}

/// A tag that the station may lack, but that has to be good where it has it.
fn is_good_or_away(image: &Image, tag: Tag) -> bool {
    !image.has(tag) || image.good(tag).is_some()
}

fn gate_state(value: i64) -> Option<GateState> {
    match value {
        0 => Some(GateState::Shut),
        1 => Some(GateState::Moving),
        2 => Some(GateState::Open),
        _ => None,
    }
}

fn close_end(value: i64) -> Option<CloseEnd> {
    match value {
        1 => Some(CloseEnd::Done),
        2 => Some(CloseEnd::MachineFailure),
        3 => Some(CloseEnd::Expired),
        _ => None,
    }
}
