//! The handshake of packer and palletizer: a container asks for one of its gates under a number of its own, and gets one reply.
//!
//! A request is observed once, when its number rises and everything that belongs to it was read under that number. Replies are
//! levels: everything they need is written first and `reply_seq` last, in one write; the same reply again is the same write. A
//! reply to any number but the one that the station shows is void, so that no withdrawal of the last permit hits the next one.
//!
//! A reader that sees layer by layer shows each of them as a frame with helper codes. The children are what lies between those, in the
//! order of the layers; a frame that lacks a helper code was not seen whole, and its request is not good.

use crate::domain::pack::Gate;
use crate::domain::tag::{Tag, TagValue};
use crate::engine::input::{CloseEnd, CloseRequest, GateState, Observed};
use crate::engine::output::{ClosePermit, Permit, Restraint};
use crate::station::counter::{Counter, nearest};
use crate::station::image::{Doubt, Image};
use crate::station::{ArrayReader, Base, Cursor, Level, Output, Scan, Settings, int, observe_fault};

const REPLY_NONE: i64 = 0;
const REPLY_DENY: i64 = 1;
const REPLY_PERMIT: i64 = 3;

/// How long a release request waits for the scan of its label.
const LABEL_WAIT_US: u64 = 500_000;

/// What a scanner read since the last request. It stands for that label alone where everything that was read is the same.
#[derive(Clone, Debug, Default)]
struct Scanned {
    label: Option<Vec<u8>>,
    is_doubtful: bool,
    /// The reading that was noted already: a scan is noted once, whatever else is read later.
    noted: u64,
    /// The request that waits for its label, and since when.
    since: Option<(u64, u64)>,
}

impl Scanned {
    fn is_empty(&self) -> bool {
        self.label.is_none() && !self.is_doubtful
    }

    fn note(&mut self, image: &Image) {
        let count = image.readings(Tag::LabelRead);
        if count == self.noted {
            return;
        }
        self.noted = count;
        match image.bytes(Tag::LabelRead) {
            // Nothing read says nothing against what was read before.
            Some([]) => {}
            Some(label) => {
                let is_other = self.label.as_deref().is_some_and(|before| before != label);
                self.is_doubtful |= is_other;
                self.label = Some(label.to_vec());
            }
            None => self.is_doubtful = true,
        }
    }

    /// What was read, and whether it can be trusted; the next request begins anew.
    fn take(&mut self) -> (Option<Vec<u8>>, bool) {
        let is_good = !std::mem::take(&mut self.is_doubtful);
        self.since = None;
        (self.label.take(), is_good)
    }
}

#[derive(Clone, Debug)]
pub(in crate::station) struct Packer {
    seq: Counter,
    scanned: Scanned,
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
            scanned: Scanned::default(),
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
        self.scanned = Scanned::default();
        self.last_container = 0;
    }

    pub(in crate::station) fn forget_levels(&mut self) {
        // What was read before belongs to nothing that is asked for now.
        self.scanned = Scanned::default();
        self.ack = Level::default();
        self.result = Level::default();
        self.gate = Level::default();
        self.fault = Level::default();
    }

    pub(in crate::station) fn scan(&mut self, mut scan: Scan<'_>) -> Result<(), Doubt> {
        let seq = scan.image.count(Tag::Seq, &self.seq)?;
        // On first contact the request that stands is the one to answer; those before it are not ours.
        let last = self.seq.last().unwrap_or(seq.saturating_sub(1));
        observe_fault(&mut self.fault, &mut scan);
        let is_whole = scan.image.is_current(Tag::Request) && scan.image.is_current(Tag::Children);
        if scan.settings.is_label_scanned {
            self.scanned.note(scan.image);
        }
        let is_whole = is_whole && !self.awaits_label(seq, last, &scan);
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
        let slots = image.texts(Tag::Children).and_then(|slots| match &scan.settings.array {
            None => Some(slots.to_vec()),
            Some(array) => array.children(slots),
        });
        let (label_read, is_label_good) = if scan.settings.is_label_scanned {
            self.scanned.take()
        } else {
            (current_label(image), is_good_or_away(image, Tag::LabelRead))
        };
        let is_label_good = gate != Some(Gate::Release) || is_label_good;
        let is_good = gate.is_some()
            && (container.is_some() || scan.settings.is_absent(Tag::Container))
            && slots.is_some()
            && is_good_or_away(image, Tag::ChildCount)
            && is_label_good;
        CloseRequest {
            seq,
            gate: gate.unwrap_or(Gate::Seal),
            container: container.unwrap_or(0),
            children: slots.map(|slots| used_slots(&slots, child_count)).unwrap_or_default(),
            child_count,
            label_read,
            not_good: !is_good,
        }
    }

    /// A release may be heard of before the scan of its label, which comes another way: it waits for it a while.
    fn awaits_label(&mut self, seq: u64, last: u64, scan: &Scan<'_>) -> bool {
        let asked = scan.image.int(Tag::Request).and_then(|value| scan.settings.meaning(Tag::Request, value));
        let is_unread = scan.settings.is_label_scanned && seq > last && asked == Some(2) && self.scanned.is_empty();
        if !is_unread {
            self.scanned.since = None;
            return false;
        }
        let since = self.scanned.since.filter(|(waiting, _)| *waiting == seq).unwrap_or((seq, scan.now.mono_us));
        self.scanned.since = Some(since);
        scan.now.mono_us.saturating_sub(since.1) < LABEL_WAIT_US
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

impl ArrayReader {
    /// The slots of the children alone; `None` where a layer was not seen whole.
    fn children(&self, slots: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
        let layers = usize::from(self.layers);
        let wide = slots
            .len()
            .checked_div(layers)
            .filter(|wide| *wide > 0 && wide.checked_mul(layers) == Some(slots.len()))?;
        let is_helper = |code: &&Vec<u8>| code.starts_with(&self.prefix);
        let is_whole = |frame: &[Vec<u8>]| frame.iter().filter(is_helper).count() == usize::from(self.helpers);
        if !slots.chunks(wide).all(is_whole) {
            return None;
        }
        Some(slots.iter().filter(|code| !is_helper(code)).cloned().collect())
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

    /// A packer whose labels are read by a scanner: PLC and scanner tell apart.
    fn scanned() -> Script {
        let mut script = joined_with(Settings { is_label_scanned: true, ..settings(StationKind::Packer) });
        script.said(&without_label(1, 1));
        script
    }

    fn without_label(seq: i64, request: i64) -> Vec<Reading> {
        asked(seq, request, &[b"A"]).into_iter().filter(|reading| reading.tag != Tag::LabelRead).collect()
    }

    fn scans(script: &mut Script, label: &[u8]) -> Vec<Observed> {
        script.read(&[text(Tag::LabelRead, label)]).0
    }

    #[test]
    fn a_scanned_label_belongs_to_the_release_that_follows_it_and_to_no_other() {
        let mut script = scanned();
        assert_eq!(scans(&mut script, b"old"), []);
        script.said(&without_label(2, 1));
        scans(&mut script, b"new");
        scans(&mut script, b"new");
        scans(&mut script, b"");
        let out = script.said(&without_label(3, 2));
        assert_eq!(requested(&out).label_read.as_deref(), Some(&b"new"[..]));
        assert!(!requested(&out).not_good);
        assert_eq!(script.said(&without_label(4, 2)), [], "the label has to be read again");
        script.pass_ms(500);
        let out = script.said(&without_label(4, 2));
        assert_eq!((requested(&out).label_read.clone(), requested(&out).not_good), (None, false), "no label");
    }

    #[test]
    fn a_release_that_is_heard_of_before_its_scan_waits_for_it() {
        let mut script = scanned();
        assert_eq!(script.said(&without_label(2, 2)), []);
        script.pass_ms(100);
        let out = scans(&mut script, b"late");
        assert_eq!(requested(&out).label_read.as_deref(), Some(&b"late"[..]));
    }

    #[test]
    fn two_labels_and_a_scan_that_is_not_good_make_a_request_that_is_not_good() {
        let mut script = scanned();
        scans(&mut script, b"one");
        scans(&mut script, b"two");
        assert!(requested(&script.said(&without_label(2, 2))).not_good, "a double label");
        scans(&mut script, b"one");
        script.read(&[bad(text(Tag::LabelRead, b""))]);
        assert!(requested(&script.said(&without_label(3, 2))).not_good);
        scans(&mut script, b"one");
        assert!(!requested(&script.said(&without_label(4, 2))).not_good);
    }

    fn layered(slots: &[&[u8]]) -> Vec<Observed> {
        let mut two = settings(StationKind::Packer);
        two.array = Some(ArrayReader { layers: 2, helpers: 2, prefix: b"HC".to_vec() });
        let mut script = joined_with_empty(two);
        let counted = slots.iter().filter(|slot| !slot.is_empty() && !slot.starts_with(b"HC")).count();
        let count = number(Tag::ChildCount, i64::try_from(counted).expect("few"));
        script.said(&[asked(1, 1, slots), vec![count]].concat())
    }

    fn joined_with_empty(settings: Settings) -> Script {
        let mut script = Script::new(settings, Cursor { device_epoch: 7, ..Cursor::default() });
        script.join(7, &asked(0, 0, &[b"", b""]));
        script
    }

    #[test]
    fn the_layers_of_an_array_reader_add_up_and_helper_codes_are_no_children() {
        let out = layered(&[b"HC1", b"A", b"B", b"HC2", b"HC1", b"C", b"D", b"HC2"]);
        let asked = requested(&out);
        assert_eq!(asked.children, [b"A", b"B", b"C", b"D"]);
        assert!(!asked.not_good);
    }

    #[test]
    fn a_short_layer_leaves_its_slot_empty_and_a_repeated_one_repeats_its_children() {
        let short = layered(&[b"HC1", b"A", b"", b"HC2", b"HC1", b"C", b"D", b"HC2"]);
        assert_eq!(requested(&short).children, [&b"A"[..], b"", b"C", b"D"], "an empty slot is a missing child");
        let double = layered(&[b"HC1", b"A", b"B", b"HC2", b"HC1", b"A", b"B", b"HC2"]);
        assert_eq!(requested(&double).children, [b"A", b"B", b"A", b"B"], "a child that is listed twice is refused");
        let bare = layered(&[b"HC1", b"", b"", b"HC2", b"HC1", b"", b"", b"HC2"]);
        assert_eq!(requested(&bare).children, [] as [Vec<u8>; 0], "helper codes alone are no case");
    }

    #[test]
    fn a_layer_that_was_not_seen_whole_is_not_good() {
        for slots in [
            [&b"HC1"[..], b"A", b"B", b"HC2", b"HC1", b"C", b"D", b""],
            [b"HC1", b"A", b"B", b"HC2", b"HC1", b"HC1", b"D", b"HC2"],
            [b"A", b"B", b"C", b"D", b"", b"", b"", b""],
        ] {
            let out = layered(&slots);
            assert!(requested(&out).not_good, "{slots:?}");
            assert_eq!(requested(&out).children, [] as [Vec<u8>; 0]);
        }
        let odd = layered(&[b"HC1", b"A", b"HC2", b"HC1", b"C", b"D", b"HC2"]);
        assert!(requested(&odd).not_good, "frames of unequal length");
    }
}
