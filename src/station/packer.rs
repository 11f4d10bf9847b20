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
            Restraint::Fail(_) | Restraint::Hold { .. } | Restraint::ExpectNothing { .. } => {}
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
            | Permit::Expect { .. }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tag::{Reading, StationKind, TagWrite};
    use crate::station::Renumbered;
    use crate::station::script::{STATION, Script, bad, number, reading, settings, text, values};

    fn children(codes: &[&[u8]]) -> Reading {
        reading(Tag::Children, TagValue::Texts(codes.iter().map(|code| code.to_vec()).collect()))
    }

    fn levels(ack: i64, result: i64, gate: i64) -> Vec<Reading> {
        vec![number(Tag::PermitAck, ack), number(Tag::CloseResult, result), number(Tag::GateState, gate)]
    }

    fn asked(seq: i64, request: i64, codes: &[&[u8]]) -> Vec<Reading> {
        let request = vec![
            number(Tag::Seq, seq),
            number(Tag::Request, request),
            number(Tag::Container, 5),
            number(Tag::ChildCount, i64::try_from(codes.len()).expect("few")),
            children(codes),
            text(Tag::LabelRead, b""),
        ];
        [request, levels(0, 0, 0)].concat()
    }

    fn request(seq: u64, gate: Gate, codes: &[&[u8]]) -> CloseRequest {
        CloseRequest {
            seq,
            gate,
            container: 5,
            children: codes.iter().map(|code| code.to_vec()).collect(),
            child_count: Some(u64::try_from(codes.len()).expect("few")),
            label_read: None,
            not_good: false,
        }
    }

    fn joined_with(settings: Settings) -> Script {
        let mut script = Script::new(settings, Cursor { device_epoch: 7, ..Cursor::default() });
        assert_eq!(script.join(7, &asked(0, 0, &[])), [Observed::GateMoved { state: GateState::Shut }]);
        script
    }

    fn joined() -> Script {
        joined_with(settings(StationKind::Packer))
    }

    fn close(seq: u64) -> Permit {
        Permit::Close(ClosePermit {
            station: STATION,
            device_epoch: 7,
            seq,
            token: 77,
            ttl_ms: 3000,
            label: b"label".to_vec(),
            until_mono_us: 3_000_000,
        })
    }

    fn deny(seq: u64) -> Restraint {
        Restraint::Deny { station: STATION, device_epoch: 7, seq, reason: 12 }
    }

    fn settle(seq: u64) -> Permit {
        Permit::Settle { station: STATION, device_epoch: 7, seq }
    }

    fn one(writes: &[TagWrite]) -> Vec<(Tag, TagValue)> {
        assert_eq!(writes.len(), 1, "{writes:?}");
        writes.first().map(values).unwrap_or_default()
    }

    fn requested(out: &[Observed]) -> &CloseRequest {
        match out {
            [Observed::CloseRequested(request)] => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_is_told_once() {
        let mut script = joined();
        let codes: [&[u8]; 2] = [b"A", b"B"];
        let expected = Observed::CloseRequested(request(1, Gate::Seal, &codes));
        assert_eq!(script.said(&asked(1, 1, &codes)), [expected]);
        assert_eq!(script.said(&asked(1, 1, &codes)), []);
        script.reconnect();
        let out = script.join(7, &asked(1, 1, &codes));
        assert_eq!(out, [Observed::GateMoved { state: GateState::Shut }]);
    }

    #[test]
    fn a_request_that_was_decided_before_a_restart_is_not_told_again_but_its_result_is() {
        let cursor = Cursor { device_epoch: 7, last_seq: 1, ..Cursor::default() };
        let mut script = Script::new(settings(StationKind::Palletizer), cursor);
        let all = [asked(1, 1, &[b"A"]), levels(77, 1, 0)].concat();
        assert_eq!(
            script.join(7, &all),
            [
                Observed::PermitAcked { token: 77 },
                Observed::GateMoved { state: GateState::Shut },
                Observed::CloseEnded { seq: 1, result: CloseEnd::Done }
            ]
        );
    }

    #[test]
    fn a_missing_child_keeps_its_slot_and_unused_slots_do_not_count() {
        let mut script = joined();
        let mut all = asked(1, 1, &[b"A", b"", b"C", b"", b""]);
        all.push(number(Tag::ChildCount, 4));
        let out = script.said(&all);
        assert_eq!(requested(&out).children, [&b"A"[..], b"", b"C", b""]);
        let mut all = asked(2, 1, &[b"A", b"", b"C", b""]);
        all.push(number(Tag::ChildCount, 1));
        let out = script.said(&all);
        assert_eq!(requested(&out).children, [&b"A"[..], b"", b"C"], "a filled slot is never left out");
        assert_eq!(requested(&out).child_count, Some(1));
    }

    #[test]
    fn a_request_waits_for_the_children_that_belong_to_it() {
        let mut script = joined();
        script.said(&asked(1, 1, &[b"A"]));
        assert_eq!(script.said(&[number(Tag::Seq, 2), number(Tag::Request, 1), number(Tag::Container, 6)]), []);
        assert_eq!(script.permit(close(2)), [], "no reply to what was not understood");
        let out = script.said(&asked(2, 1, &[b"B"]));
        assert_eq!(requested(&out).children, [b"B"]);
    }

    #[test]
    fn a_release_carries_the_label_that_was_read_under_its_own_number() {
        let mut script = joined();
        script.said(&[asked(1, 1, &[b"A"]), vec![text(Tag::LabelRead, b"old")]].concat());
        let unread = [number(Tag::Seq, 2), number(Tag::Request, 2), number(Tag::Container, 5), children(&[b"A"])];
        let out = script.said(&unread);
        assert_eq!(requested(&out).label_read, None);
        let out = script.said(&[asked(3, 2, &[b"A"]), vec![text(Tag::LabelRead, b"new")]].concat());
        assert_eq!(
            requested(&out),
            &CloseRequest { label_read: Some(b"new".to_vec()), ..request(3, Gate::Release, &[b"A"]) }
        );
    }

    #[test]
    fn a_request_that_is_not_good_says_so() {
        let cases: [(&str, i64, Reading); 8] = [
            ("no such request", 1, number(Tag::Request, 3)),
            ("request withdrawn", 1, number(Tag::Request, 0)),
            ("request bad", 1, bad(number(Tag::Request, 1))),
            ("children bad", 1, bad(children(&[b"A"]))),
            ("children of the wrong type", 1, text(Tag::Children, b"A")),
            ("no container", 1, number(Tag::Container, 0)),
            ("count bad", 1, bad(number(Tag::ChildCount, 1))),
            ("label bad", 2, bad(text(Tag::LabelRead, b"x"))),
        ];
        for (name, kind, spoiled) in cases {
            let mut script = joined();
            let out = script.said(&[asked(1, kind, &[b"A"]), vec![spoiled]].concat());
            assert!(requested(&out).not_good, "{name}");
        }
        let mut script = joined();
        let out = script.said(&[asked(1, 1, &[b"A"]), vec![bad(text(Tag::LabelRead, b"x"))]].concat());
        assert!(!requested(&out).not_good, "a seal needs no label");
    }

    #[test]
    fn ack_gate_and_result_follow_each_other() {
        let mut script = joined();
        script.said(&asked(1, 1, &[b"A"]));
        assert_eq!(
            script.said(&levels(77, 0, 1)),
            [Observed::PermitAcked { token: 77 }, Observed::GateMoved { state: GateState::Moving }]
        );
        let seq = number(Tag::Seq, 1);
        assert_eq!(
            script.said(&[levels(77, 2, 2), vec![seq.clone()]].concat()),
            [
                Observed::GateMoved { state: GateState::Open },
                Observed::CloseEnded { seq: 1, result: CloseEnd::MachineFailure }
            ]
        );
        assert_eq!(script.said(&[levels(77, 2, 2), vec![seq]].concat()), []);
    }

    #[test]
    fn a_permit_writes_its_parts_first_and_the_number_last() {
        let mut script = joined();
        script.said(&asked(1, 1, &[b"A"]));
        let expected = vec![
            (Tag::Token, TagValue::Int(77)),
            (Tag::TtlMs, TagValue::Int(3000)),
            (Tag::Label, TagValue::Bytes(b"label".to_vec())),
            (Tag::Reply, TagValue::Int(3)),
            (Tag::ReplySeq, TagValue::Int(1)),
        ];
        assert_eq!(one(&script.permit(close(1))), expected);
        assert_eq!(one(&script.permit(close(1))), expected, "the same again is the same write");
    }

    #[test]
    fn a_deny_takes_the_token_away() {
        let mut script = joined();
        script.said(&asked(1, 1, &[b"A"]));
        assert_eq!(
            one(&script.restrain(deny(1))),
            [
                (Tag::Token, TagValue::Int(0)),
                (Tag::TtlMs, TagValue::Int(0)),
                (Tag::Reason, TagValue::Int(12)),
                (Tag::Label, TagValue::Bytes(Vec::new())),
                (Tag::Reply, TagValue::Int(1)),
                (Tag::ReplySeq, TagValue::Int(1)),
            ]
        );
    }

    #[test]
    fn settling_and_shutting_withdraw_the_reply() {
        let mut script = joined();
        script.said(&asked(1, 1, &[b"A"]));
        let none = vec![(Tag::Reply, TagValue::Int(0))];
        assert_eq!(one(&script.permit(settle(1))), none);
        assert_eq!(one(&script.restrain(Restraint::Shut { station: STATION })), none);
        let ack = Permit::AckRequest { station: STATION, device_epoch: 7, seq: 1 };
        assert_eq!(one(&script.permit(ack)), [(Tag::Ack, TagValue::Int(1))]);
    }

    #[test]
    fn replies_to_any_other_number_late_permits_and_token_zero_are_void() {
        let mut script = joined();
        assert_eq!(script.permit(close(0)), []);
        script.said(&asked(1, 1, &[b"A"]));
        script.said(&asked(2, 1, &[b"B"]));
        for permit in [close(1), close(3), settle(1)] {
            assert_eq!(script.permit(permit), []);
        }
        assert_eq!(script.restrain(deny(1)), []);
        let Permit::Close(permit) = close(2) else { panic!("a close") };
        assert_eq!(script.permit(Permit::Close(ClosePermit { token: 0, ..permit })), []);
        assert_eq!(script.permit(close(2)).len(), 1);
        script.pass_ms(3001);
        script.show(&[]);
        script.show(&[]);
        assert_eq!(script.permit(close(2)), []);
    }

    #[test]
    fn a_map_may_number_the_values_in_its_own_way() {
        let mut other = settings(StationKind::Packer);
        let entry = |tag, device, contract| Renumbered { tag, device, contract };
        other.renumbered = vec![
            entry(Tag::Request, 10, 1),
            entry(Tag::Request, 20, 2),
            entry(Tag::Reply, 40, 3),
            entry(Tag::Reply, 9, 0),
        ];
        let mut script = joined_with(other);
        assert!(!requested(&script.said(&asked(1, 10, &[b"A"]))).not_good);
        assert!(script.permit(close(1))[0].values.contains(&(Tag::Reply, TagValue::Int(40))));
        assert_eq!(one(&script.permit(settle(1))), [(Tag::Reply, TagValue::Int(9))]);
        assert!(requested(&script.said(&asked(2, 1, &[b"A"]))).not_good, "1 is not listed");
    }
}
