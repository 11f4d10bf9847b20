//! What left the subject in the unsafe direction, and what it had said to be durable by then: the evidence for I1 and I28.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::domain::tag::{StationKind, Tag, TagValue, TagWrite};
use crate::sim::truth::text_of;
use crate::store::views::FactRow;

/// The value of `reply` that lets a gate move.
const REPLY_PERMIT: i64 = 3;

/// A permit at the tags.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Permit {
    Pass { track: u64 },
    Print { seq: u64, data: String },
    AckResult { seq: u64 },
    AckRequest { station: &'static str, seq: u64 },
    Close { station: &'static str, token: u64 },
}

/// Facts that were said to be durable and that the next start did not find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) durable: u64,
    pub(super) found: u64,
    /// Whether the line that came up without them was held in doubt.
    pub(super) is_told: bool,
}

#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Each permit with the newest fact that was durable when it was seen.
    permits: BTreeSet<(Permit, u64)>,
    durable: u64,
    submitted: u64,
    pub(super) losses: Vec<Loss>,
    pub(super) violations: Vec<String>,
}

impl Seen {
    /// What a start found on disk: all that was durable, and at most the transaction that was on its way.
    pub(super) fn recovered(&mut self, facts: u64) {
        let (least, most) = (self.durable, self.submitted.max(self.durable));
        if facts < least {
            self.losses.push(Loss { durable: least, found: facts, is_told: false });
            // What justified them may be gone; the numbers of the lost facts are given out again.
            self.permits.retain(|(_, durable)| *durable <= facts);
        } else if facts > most {
            self.violations.push(format!("I28: a start found {facts} facts, and only {most} were ever submitted"));
        }
        (self.durable, self.submitted) = (facts, facts);
    }

    /// The line is held over a doubt about its journal.
    pub(super) fn in_doubt(&mut self) {
        self.losses.last_mut().into_iter().for_each(|loss| loss.is_told = true);
    }

    pub(super) fn submitted(&mut self, through: u64) {
        self.submitted = through;
    }

    pub(super) fn durable(&mut self, through: u64) {
        self.durable = through;
    }

    pub(super) fn write(&mut self, kind: StationKind, write: &TagWrite) {
        let value = |tag| write.values.iter().find(|(written, _)| *written == tag).map(|(_, value)| value);
        let int = |tag| match value(tag) {
            Some(TagValue::Int(value)) => u64::try_from(*value).ok().filter(|value| *value > 0),
            Some(_) | None => None,
        };
        let (station, ack) = (kind.name(), int(Tag::Ack));
        let permit = match kind {
            StationKind::Printer => int(Tag::DataSeq).map(|seq| {
                let data = match value(Tag::Data) {
                    Some(TagValue::Bytes(data)) => text_of(data),
                    Some(_) | None => String::new(),
                };
                Permit::Print { seq, data }
            }),
            StationKind::Camera => ack.map(|seq| Permit::AckResult { seq }),
            StationKind::Rejector => {
                let word = int(Tag::VerdictWord).filter(|word| word % 2 == 1);
                word.map(|word| Permit::Pass { track: word / 2 })
            }
            StationKind::Packer | StationKind::Palletizer => {
                let is_permit = value(Tag::Reply) == Some(&TagValue::Int(REPLY_PERMIT));
                let close = int(Tag::Token).filter(|_| is_permit).map(|token| Permit::Close { station, token });
                close.or(ack.map(|seq| Permit::AckRequest { station, seq }))
            }
        };
        self.permits.extend(permit.map(|permit| (permit, self.durable)));
    }

    pub(super) fn permits(&self) -> usize {
        self.permits.len()
    }

    /// I1: each permit that was seen has its fact, and that fact was durable before.
    pub(super) fn judge(&mut self, facts: &[FactRow]) {
        let facts: Vec<(u64, &str, Value)> = facts
            .iter()
            .filter_map(|fact| Some((fact.seq, fact.kind.as_str(), serde_json::from_str(&fact.body).ok()?)))
            .collect();
        for (permit, durable) in &self.permits {
            let reason = facts.iter().find(|(_, kind, body)| permit.is_justified_by(kind, body)).map(|(seq, ..)| *seq);
            match reason {
                Some(seq) if seq <= *durable => {}
                Some(seq) => self.violations.push(format!(
                    "I1: {permit:?} left when facts up to {durable} were durable; it is justified by fact {seq}"
                )),
                None => self.violations.push(format!("I1: {permit:?} left and no fact in the journal justifies it")),
            }
        }
    }
}

impl Permit {
    fn is_justified_by(&self, kind: &str, body: &Value) -> bool {
        let number = |key: &str| body.get(key).and_then(Value::as_u64);
        let at = |station: &str| body.get("station").and_then(Value::as_str) == Some(station);
        match self {
            Permit::Pass { track } => kind == "verified" && number("track") == Some(*track),
            Permit::Print { seq, data } => {
                kind == "serials_allocated" && serial(body, *seq).is_some_and(|serial| data.contains(serial))
            }
            Permit::AckResult { seq } => matches!(kind, "verified" | "failed") && number("seq") == Some(*seq),
            Permit::AckRequest { station, seq } => {
                matches!(kind, "close_granted" | "close_refused") && at(station) && number("seq") == Some(*seq)
            }
            Permit::Close { station, token } => {
                kind == "close_granted" && at(station) && number("token") == Some(*token)
            }
        }
    }
}

/// The serial that an allocation gives to record `seq`.
fn serial(body: &Value, seq: u64) -> Option<&str> {
    let at = seq.checked_sub(body.get("from_seq")?.as_u64()?)?;
    body.get("serials")?.get(usize::try_from(at).ok()?)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tag::StationId;

    fn fact(seq: u64, kind: &str, body: &str) -> FactRow {
        FactRow { seq, kind: kind.into(), body: body.into(), hash: String::new() }
    }

    fn pass(track: i64) -> TagWrite {
        TagWrite { station: StationId(2), values: vec![(Tag::VerdictWord, TagValue::Int(track * 2 + 1))] }
    }

    #[test]
    fn a_permit_before_its_fact_is_durable_is_found_and_one_after_it_is_not() {
        let facts = [fact(7, "verified", r#"{"track":4}"#)];
        for (durable, found) in [(6, 1), (7, 0)] {
            let mut seen = Seen::default();
            seen.durable(durable);
            seen.write(StationKind::Rejector, &pass(4));
            seen.judge(&facts);
            assert_eq!(seen.violations.len(), found, "{:?}", seen.violations);
        }
    }

    #[test]
    fn a_permit_without_any_fact_is_found() {
        let mut seen = Seen::default();
        seen.durable(9);
        seen.write(StationKind::Rejector, &pass(5));
        seen.judge(&[fact(7, "verified", r#"{"track":4}"#)]);
        assert!(seen.violations[0].contains("no fact"), "{:?}", seen.violations);
    }

    #[test]
    fn a_start_may_find_the_transaction_on_its_way_and_nothing_less_than_was_durable() {
        let mut seen = Seen::default();
        seen.submitted(12);
        seen.durable(12);
        seen.submitted(15);
        seen.recovered(15);
        assert!(seen.violations.is_empty());
        seen.recovered(14);
        assert_eq!(seen.losses, [Loss { durable: 15, found: 14, is_told: false }]);
        seen.in_doubt();
        assert!(seen.losses.iter().all(|loss| loss.is_told));
        seen.submitted(16);
        seen.recovered(17);
        assert_eq!(seen.violations.len(), 1);
    }
}
