//! Packing by hand: a packer that is a person with a scanner. The units are scanned one by one; with the last of them the station asks
//! for the seal by itself; the label that the permit brings is printed, put on the closed case and scanned, and that scan is the
//! seal's result and the label read back of the release. The rules and both gates are those of every packer.
//!
//! Contract:
//! - A scan that cannot be right where it comes (twice, unreadable, a case's label among units, a unit where the label is due, another
//!   label than the printed one) blocks: it is told as a fault, adds nothing, and only `UNDO` or `CLEAR` count until one of them comes.
//! - A request that was refused blocks as well: `UNDO` takes back the last unit, `CLEAR` all of them; a full case asks again.
//! - Two command barcodes of its own: [`UNDO`] takes the last scan back, [`CLEAR`] acknowledges, and begins the case anew where it was
//!   refused. Neither ever permits anything.
//! - A permit that ran out before the label was scanned is told as expired. The label is printed by then; its scan asks once more.
//! - What was scanned is kept here alone: after a lost connection or a restart the case is scanned again, and a permit that was on its
//!   way stays unresolved until a person looks (DESIGN section 5, no epoch).

use crate::domain::element::ElementString;
use crate::domain::pack::Gate;
use crate::domain::tag::{Tag, TagValue};
use crate::domain::time::Now;
use crate::engine::input::{CloseEnd, CloseRequest, GateState, Observed};
use crate::engine::output::{ClosePermit, Permit, Restraint};
use crate::station::image::Doubt;
use crate::station::{Level, Output, Scan, Settings};

/// The barcode that takes the last scan back.
pub const UNDO: &[u8] = b"SEALGATE-UNDO";
/// The barcode that acknowledges a block; a refused case is begun anew.
pub const CLEAR: &[u8] = b"SEALGATE-CLEAR";

/// Why the station is blocked: the number that it shows as its fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    Twice,
    Unreadable,
    LabelAmongUnits,
    UnitForLabel,
    OtherLabel,
    /// Nothing was due: a request is open.
    TooSoon,
    /// A request was refused; its own reason is a fact.
    Refused,
}

impl Block {
    pub fn code(self) -> i64 {
        match self {
            Block::Twice => 1,
            Block::Unreadable => 2,
            Block::LabelAmongUnits => 3,
            Block::UnitForLabel => 4,
            Block::OtherLabel => 5,
            Block::TooSoon => 6,
            Block::Refused => 7,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Units are scanned.
    Filling,
    /// A gate was asked for and nothing was said yet.
    Asked(Gate),
    Refused(Gate),
    /// The seal is permitted until then: the case is closed, its label put on and scanned.
    Labelling {
        until_mono_us: u64,
    },
    /// The permit ran out; the scan of the label asks once more.
    Expired,
    /// The result is told, and the permit not withdrawn yet.
    Done(Gate),
}

#[derive(Clone, Debug)]
pub(in crate::station) struct Manual {
    count: usize,
    phase: Phase,
    seq: u64,
    container: u64,
    /// Whether `container` is the number of the case in hand.
    is_numbered: bool,
    units: Vec<Vec<u8>>,
    /// The text of the label that was printed for the case in hand.
    label: Vec<u8>,
    label_read: Option<Vec<u8>>,
    block: Option<Block>,
    /// Scans that were noted.
    noted: u64,
    fault: Level<i64>,
    gate: Level<GateState>,
    /// What is said at the next look.
    said: Vec<Observed>,
}

impl Manual {
    pub(in crate::station) fn new(count: u16) -> Self {
        Self {
            count: usize::from(count),
            phase: Phase::Filling,
            seq: 0,
            container: 0,
            is_numbered: false,
            units: Vec::new(),
            label: Vec::new(),
            label_read: None,
            block: None,
            noted: 0,
            fault: Level::default(),
            gate: Level::default(),
            said: Vec::new(),
        }
    }

    /// Without an epoch every session is a new one: nothing of the last counts.
    pub(in crate::station) fn reset(&mut self) {
        *self = Self::new(u16::try_from(self.count).unwrap_or(u16::MAX));
    }

    pub(in crate::station) fn forget_levels(&mut self) {
        self.fault = Level::default();
        self.gate = Level::default();
    }

    pub(in crate::station) fn scan(&mut self, scan: Scan<'_>) -> Result<(), Doubt> {
        let count = scan.image.readings(Tag::Code);
        if count != self.noted {
            self.noted = count;
            match scan.image.bytes(Tag::Code) {
                Some(code) => self.read(code, scan.now),
                None => self.stop(Block::Unreadable),
            }
        }
        self.look(scan.now, scan.out);
        Ok(())
    }

    /// What time alone brings, and what permits made the station say.
    pub(in crate::station) fn look(&mut self, now: Now, out: &mut Vec<Observed>) {
        if let Phase::Labelling { until_mono_us } = self.phase
            && now.mono_us > until_mono_us
        {
            self.phase = Phase::Expired;
            self.said.push(Observed::CloseEnded { seq: self.seq, result: CloseEnd::Expired });
        }
        let code = self.block.map_or(0, Block::code);
        out.extend(self.fault.change(Some(code)).map(|code| Observed::Faulted { code }));
        out.extend(self.gate.change(Some(GateState::Shut)).map(|state| Observed::GateMoved { state }));
        out.append(&mut self.said);
    }

    /// One scan.
    fn read(&mut self, code: &[u8], now: Now) {
        let code = plain(code);
        if code == UNDO {
            self.undo();
        } else if code == CLEAR {
            self.clear();
        } else if self.block.is_some() {
            // Nothing counts before the block is cleared.
        } else if code.is_empty() {
            self.stop(Block::Unreadable);
        } else {
            self.take(code, now);
        }
    }

    fn take(&mut self, code: &[u8], now: Now) {
        match self.phase {
            Phase::Filling if is_label(code) => self.stop(Block::LabelAmongUnits),
            Phase::Filling if self.units.iter().any(|unit| unit == code) => self.stop(Block::Twice),
            Phase::Filling => {
                self.units.push(code.to_vec());
                if self.units.len() >= self.count {
                    self.ask(Gate::Seal);
                }
            }
            Phase::Labelling { until_mono_us } if code == self.label && now.mono_us <= until_mono_us => self.seal(code),
            Phase::Labelling { .. } | Phase::Expired if code == self.label => {
                self.label_read = Some(code.to_vec());
                self.expire(now);
            }
            Phase::Labelling { .. } | Phase::Expired if is_label(code) => self.stop(Block::OtherLabel),
            Phase::Labelling { .. } | Phase::Expired => self.stop(Block::UnitForLabel),
            Phase::Refused(Gate::Release) if code == self.label => {
                self.label_read = Some(code.to_vec());
                self.ask(Gate::Release);
            }
            Phase::Asked(_) | Phase::Done(_) | Phase::Refused(_) => self.stop(Block::TooSoon),
        }
    }

    /// The label is on: the case is sealed, within its permit.
    fn seal(&mut self, code: &[u8]) {
        self.label_read = Some(code.to_vec());
        self.finish(Gate::Seal);
    }

    /// The label is on and the permit is gone: the seal is asked for once more.
    fn expire(&mut self, now: Now) {
        let mut said = Vec::new();
        self.look(now, &mut said);
        self.said = said;
        self.ask(Gate::Seal);
    }

    fn finish(&mut self, gate: Gate) {
        self.phase = Phase::Done(gate);
        self.said.push(Observed::CloseEnded { seq: self.seq, result: CloseEnd::Done });
    }

    fn ask(&mut self, gate: Gate) {
        if !self.is_numbered {
            self.container = self.container.saturating_add(1);
            self.is_numbered = true;
        }
        self.seq = self.seq.saturating_add(1);
        self.phase = Phase::Asked(gate);
        let label_read = if gate == Gate::Release { self.label_read.clone() } else { None };
        self.said.push(Observed::CloseRequested(CloseRequest {
            seq: self.seq,
            gate,
            container: self.container,
            children: self.units.clone(),
            child_count: u64::try_from(self.units.len()).ok(),
            label_read,
            not_good: false,
        }));
    }

    fn stop(&mut self, block: Block) {
        // The first reason is the one to look at.
        self.block.get_or_insert(block);
    }

    /// The last scan is taken back: a wrong one was never added, a refused one leaves the case.
    fn undo(&mut self) {
        let block = self.block.take();
        let takes_unit = match (self.phase, block) {
            (Phase::Refused(Gate::Seal), _) | (Phase::Filling, None) => true,
            (Phase::Filling, Some(_)) => false,
            (
                Phase::Asked(_)
                | Phase::Refused(Gate::Release)
                | Phase::Labelling { .. }
                | Phase::Expired
                | Phase::Done(_),
                _,
            ) => false,
        };
        if takes_unit {
            self.units.pop();
            self.reopen();
        }
    }

    fn clear(&mut self) {
        self.block = None;
        if self.phase == Phase::Refused(Gate::Seal) {
            self.units.clear();
            self.reopen();
        }
    }

    /// Other contents need their label scanned anew, whatever was scanned before.
    fn reopen(&mut self) {
        self.label_read = None;
        self.phase = Phase::Filling;
    }

    pub(in crate::station) fn restrain(&mut self, restraint: &Restraint, epoch: Option<u32>) {
        match restraint {
            Restraint::Deny { device_epoch, seq, .. } => {
                if let Phase::Asked(gate) = self.phase
                    && *seq == self.seq
                    && epoch == Some(*device_epoch)
                {
                    self.phase = Phase::Refused(gate);
                    self.stop(Block::Refused);
                }
            }
            Restraint::Shut { .. } | Restraint::Fail(_) | Restraint::Hold { .. } | Restraint::ExpectNothing { .. } => {}
        }
    }

    pub(in crate::station) fn permit(&mut self, permit: &Permit, output: Output<'_>) {
        match permit {
            Permit::Close(close) => self.permitted(close, output),
            Permit::Settle { seq, .. } if *seq == self.seq => self.settled(),
            Permit::Settle { .. }
            | Permit::AckRequest { .. }
            | Permit::Pass { .. }
            | Permit::Run { .. }
            | Permit::AckResult { .. }
            | Permit::Print { .. }
            | Permit::Expect { .. }
            | Permit::Flush { .. } => {}
        }
    }

    fn permitted(&mut self, close: &ClosePermit, mut output: Output<'_>) {
        let Phase::Asked(gate) = self.phase else { return };
        if close.seq != self.seq || close.token == 0 || output.is_late(close.until_mono_us) {
            return;
        }
        self.said.push(Observed::PermitAcked { token: close.token });
        match gate {
            Gate::Seal => {
                self.label = plain(&close.label).to_vec();
                output.write(vec![(Tag::Label, TagValue::Bytes(close.label.clone()))]);
                if self.label_read.as_ref() == Some(&self.label) {
                    return self.finish(Gate::Seal);
                }
                self.label_read = None;
                self.phase = Phase::Labelling { until_mono_us: close.until_mono_us };
            }
            Gate::Release => self.finish(Gate::Release),
        }
    }

    /// The result is a fact and the permit is withdrawn.
    fn settled(&mut self) {
        match self.phase {
            Phase::Done(Gate::Seal) => self.ask(Gate::Release),
            Phase::Done(Gate::Release) => {
                self.units.clear();
                self.label.clear();
                self.label_read = None;
                self.is_numbered = false;
                self.phase = Phase::Filling;
            }
            Phase::Filling | Phase::Asked(_) | Phase::Refused(_) | Phase::Labelling { .. } | Phase::Expired => {}
        }
    }
}

/// Without the symbology identifier that a scanner may put before the data (ISO/IEC 15424: `]`, a letter, a modifier).
fn plain(code: &[u8]) -> &[u8] {
    match code {
        [b']', letter, modifier, rest @ ..] if letter.is_ascii_alphabetic() && modifier.is_ascii_alphanumeric() => rest,
        _ => code,
    }
}

/// Whether a code is a logistic unit's and none of a trade item.
fn is_label(code: &[u8]) -> bool {
    ElementString::parse(code).is_ok_and(|parsed| parsed.get("00").is_some())
}

/// How a packer works that is a person.
pub(in crate::station) fn of(settings: &Settings) -> Option<Manual> {
    settings.by_hand.map(Manual::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tag::{StationKind, TagWrite};
    use crate::station::Cursor;
    use crate::station::script::{STATION, Script, bad, settings, text, values};

    const LABEL: &[u8] = b"00095060001343520017";
    const OTHER: &[u8] = b"00095060001343520024";

    fn hand() -> Script {
        let mut by_hand = settings(StationKind::Packer);
        by_hand.by_hand = Some(3);
        by_hand.absent = Tag::required(StationKind::Packer).to_vec();
        let mut script = Script::new(by_hand, Cursor { device_epoch: 6, ..Cursor::default() });
        let (out, _) = script.read(&[]);
        let joined = Observed::Joined { device_epoch: 7, reset: true };
        assert_eq!(out, [joined, Observed::Faulted { code: 0 }, Observed::GateMoved { state: GateState::Shut }]);
        script
    }

    fn scans(script: &mut Script, codes: &[&[u8]]) -> Vec<Observed> {
        codes.iter().flat_map(|code| script.read(&[text(Tag::Code, code)]).0).collect()
    }

    fn request(seq: u64, gate: Gate, codes: &[&[u8]], label: Option<&[u8]>) -> Observed {
        Observed::CloseRequested(CloseRequest {
            seq,
            gate,
            container: 1,
            children: codes.iter().map(|code| code.to_vec()).collect(),
            child_count: Some(codes.len() as u64),
            label_read: label.map(<[u8]>::to_vec),
            not_good: false,
        })
    }

    fn fault(block: Block) -> Observed {
        Observed::Faulted { code: block.code() }
    }

    fn cleared() -> Observed {
        Observed::Faulted { code: 0 }
    }

    fn permit(script: &mut Script, seq: u64, token: u32) -> Vec<TagWrite> {
        let until_mono_us = script.now.mono_us + 2_000_000;
        let label = LABEL.to_vec();
        let close = ClosePermit { station: STATION, device_epoch: 7, seq, token, ttl_ms: 2000, label, until_mono_us };
        script.permit(Permit::Close(close))
    }

    fn settle(script: &mut Script, seq: u64) -> Vec<Observed> {
        assert_eq!(script.permit(Permit::Settle { station: STATION, device_epoch: 7, seq }), []);
        script.tick()
    }

    fn deny(script: &mut Script, seq: u64) -> Vec<Observed> {
        script.restrain(Restraint::Deny { station: STATION, device_epoch: 7, seq, reason: 12 });
        script.tick()
    }

    fn done(seq: u64) -> Observed {
        Observed::CloseEnded { seq, result: CloseEnd::Done }
    }

    #[test]
    fn the_last_unit_asks_and_the_scan_of_the_printed_label_seals_and_releases() {
        let mut script = hand();
        let units: [&[u8]; 3] = [b"A", b"B", b"C"];
        assert_eq!(scans(&mut script, &[b"]d2A", b"]d2B", b"]d2C"]), [request(1, Gate::Seal, &units, None)]);
        let writes = permit(&mut script, 1, 70);
        assert_eq!(writes.iter().map(values).collect::<Vec<_>>(), [[(Tag::Label, TagValue::Bytes(LABEL.to_vec()))]]);
        assert_eq!(script.tick(), [Observed::PermitAcked { token: 70 }]);
        assert_eq!(scans(&mut script, &[&[b"]C1", LABEL].concat()]), [done(1)]);
        assert_eq!(settle(&mut script, 1), [request(2, Gate::Release, &units, Some(LABEL))]);
        permit(&mut script, 2, 71);
        assert_eq!(script.tick(), [Observed::PermitAcked { token: 71 }, done(2)]);
        assert_eq!(settle(&mut script, 2), []);
        let out = scans(&mut script, &[b"D", b"E", b"F"]);
        assert!(matches!(out.as_slice(), [Observed::CloseRequested(next)] if next.container == 2 && next.seq == 3));
    }

    #[test]
    fn nothing_is_sealed_without_a_permit_nor_after_it_ran_out() {
        let mut script = hand();
        scans(&mut script, &[b"A", b"B", b"C"]);
        assert_eq!(scans(&mut script, &[LABEL]), [fault(Block::TooSoon)]);
        assert_eq!(scans(&mut script, &[CLEAR]), [cleared()]);
        permit(&mut script, 1, 70);
        script.tick();
        script.pass_ms(2001);
        assert_eq!(script.tick(), [Observed::CloseEnded { seq: 1, result: CloseEnd::Expired }]);
        let units: [&[u8]; 3] = [b"A", b"B", b"C"];
        assert_eq!(scans(&mut script, &[LABEL]), [request(2, Gate::Seal, &units, None)], "it asks once more");
        permit(&mut script, 2, 71);
        assert_eq!(script.tick(), [Observed::PermitAcked { token: 71 }, done(2)]);
    }

    // F98
    #[test]
    fn a_wrong_scan_blocks_until_it_is_undone_or_acknowledged() {
        let wrong: [(&[u8], Block); 3] =
            [(b"A", Block::Twice), (b"", Block::Unreadable), (LABEL, Block::LabelAmongUnits)];
        for (code, block) in wrong {
            for way_out in [UNDO, CLEAR] {
                let mut script = hand();
                assert_eq!(scans(&mut script, &[b"A", code]), [fault(block)]);
                assert_eq!(scans(&mut script, &[b"B", b"C", b"D"]), [], "nothing counts meanwhile");
                assert_eq!(scans(&mut script, &[way_out]), [cleared()]);
                let out = scans(&mut script, &[b"B", b"C"]);
                assert_eq!(out, [request(1, Gate::Seal, &[b"A", b"B", b"C"], None)], "{block:?}: A stays");
            }
        }
        let mut script = hand();
        let (out, _) = script.read(&[bad(text(Tag::Code, b"A"))]);
        assert_eq!(out, [fault(Block::Unreadable)]);
    }

    #[test]
    fn undo_takes_the_last_unit_back_and_an_empty_case_has_none() {
        let mut script = hand();
        assert_eq!(scans(&mut script, &[UNDO, b"A", b"B", UNDO, UNDO, UNDO]), []);
        assert_eq!(scans(&mut script, &[b"X", b"Y", b"Z"]), [request(1, Gate::Seal, &[b"X", b"Y", b"Z"], None)]);
    }

    #[test]
    fn a_refused_case_asks_again_once_the_wrong_unit_is_out() {
        let mut script = hand();
        scans(&mut script, &[b"A", b"B", b"X"]);
        assert_eq!(deny(&mut script, 1), [fault(Block::Refused)]);
        assert_eq!(scans(&mut script, &[b"C"]), [], "blocked");
        assert_eq!(scans(&mut script, &[UNDO]), [cleared()]);
        assert_eq!(scans(&mut script, &[b"C"]), [request(2, Gate::Seal, &[b"A", b"B", b"C"], None)]);
        deny(&mut script, 2);
        scans(&mut script, &[CLEAR]);
        assert_eq!(scans(&mut script, &[b"D", b"E", b"F"]), [request(3, Gate::Seal, &[b"D", b"E", b"F"], None)]);
    }

    // F112
    #[test]
    fn another_label_and_a_unit_in_its_place_block_and_the_right_one_still_counts() {
        let mut script = hand();
        scans(&mut script, &[b"A", b"B", b"C"]);
        permit(&mut script, 1, 70);
        script.tick();
        assert_eq!(scans(&mut script, &[OTHER]), [fault(Block::OtherLabel)]);
        assert_eq!(scans(&mut script, &[LABEL]), [], "blocked");
        assert_eq!(scans(&mut script, &[UNDO]), [cleared()]);
        assert_eq!(scans(&mut script, &[b"D"]), [fault(Block::UnitForLabel)]);
        assert_eq!(scans(&mut script, &[CLEAR, LABEL]), [cleared(), done(1)]);
    }

    #[test]
    fn what_was_scanned_ends_with_the_session() {
        let mut script = hand();
        scans(&mut script, &[b"A", b"B"]);
        script.reconnect();
        let (out, _) = script.read(&[]);
        assert_eq!(out.first(), Some(&Observed::Joined { device_epoch: 8, reset: true }));
        assert_eq!(scans(&mut script, &[b"C"]), [], "the first of its case");
    }
}
