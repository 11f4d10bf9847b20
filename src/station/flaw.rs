//! What is wrong with the value of a tag: one judgement, for the handshake, which counts nothing that it cannot take, and for people,
//! who look for the reason (`status`, the log, `check --online`).

use crate::domain::packml::MachineState;
use crate::domain::quality::TagFlaw;
use crate::domain::tag::{Nature, Quality, Reading, Tag, TagValue};
use crate::station::Settings;

/// So much of a value is told.
const SHOWN_MAX: usize = 32;

/// `None` where the value can be taken for what its tag is.
pub(in crate::station) fn of(tag: Tag, value: &TagValue, quality: Quality) -> Option<TagFlaw> {
    let what = match quality {
        Quality::Good => unfit(tag, value)?,
        Quality::Bad(0) => unreadable(value),
        Quality::Uncertain(_) | Quality::Bad(_) => quality.to_string(),
    };
    Some(TagFlaw::new(tag, &what))
}

impl Settings {
    /// The same, and whether the number is one that the map or the contract lists for it.
    pub fn flaw(&self, reading: &Reading) -> Option<TagFlaw> {
        let Reading { tag, value, quality, .. } = reading;
        of(*tag, value, *quality).or_else(|| self.unlisted(*tag, value).map(|what| TagFlaw::new(*tag, &what)))
    }

    fn unlisted(&self, tag: Tag, value: &TagValue) -> Option<String> {
        let text = match value {
            TagValue::Int(number) => return self.unlisted_number(tag, *number),
            TagValue::Bytes(text) if tag == Tag::State => text,
            TagValue::Bytes(_)
            | TagValue::Bool(_)
            | TagValue::Milli(_)
            | TagValue::Ints(_)
            | TagValue::Millis(_)
            | TagValue::Texts(_) => return None,
        };
        MachineState::of_text(text).is_none().then(|| format!("{} is no PackML state", shown(text)))
    }

    fn unlisted_number(&self, tag: Tag, number: i64) -> Option<String> {
        // What is not listed as good is not good; and a machine that was not asked for anything yet shows 0.
        if tag == Tag::Outcome || number == 0 && [Tag::Request, Tag::State, Tag::Mode].contains(&tag) {
            return None;
        }
        let Some(meaning) = self.meaning(tag, number) else {
            return Some(format!("{number} is none of the `values` of its map"));
        };
        let last = match () {
            () if tag == Tag::Request || tag == Tag::GateState => 2,
            () if tag == Tag::CloseResult => 3,
            () if tag == Tag::State => {
                return MachineState::of_number(meaning).is_none().then(|| format!("{number} is no PackML state"));
            }
            () => return None,
        };
        (!(0..=last).contains(&meaning)).then(|| format!("{number} is none of the values 0 to {last}"))
    }
}

/// Whether a good value is of the tag's nature.
fn unfit(tag: Tag, value: &TagValue) -> Option<String> {
    match (tag.nature(), value) {
        (_, TagValue::Int(number)) if tag == Tag::Epoch => match u32::try_from(*number) {
            Ok(0) => Some("0, the device is not ready".to_owned()),
            Ok(_) => None,
            Err(_) => Some(format!("{number} is no epoch, which is 1 to {}", u32::MAX)),
        },
        (Nature::Counter, TagValue::Int(number)) if *number < 0 => Some(format!("{number} is negative")),
        (Nature::Flag | Nature::Counter | Nature::Number, TagValue::Int(_) | TagValue::Bool(_) | TagValue::Ints(_))
        | (Nature::Numbers, TagValue::Ints(_))
        | (Nature::State, TagValue::Int(_) | TagValue::Bytes(_))
        | (Nature::Text, TagValue::Bytes(_) | TagValue::Texts(_))
        | (Nature::Texts, TagValue::Texts(_))
        | (Nature::Decimal, _) => None,
        // The number of a program.
        (Nature::Text, TagValue::Int(_)) if tag == Tag::Recipe => None,
        (
            Nature::Flag
            | Nature::Counter
            | Nature::Number
            | Nature::Numbers
            | Nature::State
            | Nature::Text
            | Nature::Texts,
            _,
        ) => Some("is of another type than its tag".to_owned()),
    }
}

/// What stood where the map expects something else, as far as the driver tells it.
fn unreadable(value: &TagValue) -> String {
    match value {
        TagValue::Bytes(found) if !found.is_empty() => format!("{} is not what its map says", shown(found)),
        TagValue::Bytes(_)
        | TagValue::Bool(_)
        | TagValue::Int(_)
        | TagValue::Milli(_)
        | TagValue::Ints(_)
        | TagValue::Millis(_)
        | TagValue::Texts(_) => "has no value, or one of another type than its map says".to_owned(),
    }
}

/// Nothing that a device sent may steer a terminal.
fn shown(found: &[u8]) -> String {
    let text = String::from_utf8_lossy(found);
    let mut shown: String = text.chars().take(SHOWN_MAX).collect();
    if text.chars().count() > SHOWN_MAX {
        shown.push_str("...");
    }
    format!("{shown:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tag::StationKind;
    use crate::station::Renumbered;
    use crate::station::script::{bad, number, reading, settings, text};

    fn found(settings: &Settings, reading: &Reading) -> String {
        settings.flaw(reading).map_or_else(String::new, |flaw| flaw.to_string())
    }

    #[test]
    fn a_value_that_cannot_be_taken_is_named_with_what_is_wrong() {
        let settings = settings(StationKind::Packer);
        let unreadable = |value| Reading { quality: Quality::Bad(0), ..reading(Tag::Seq, value) };
        for (reading, says) in [
            (number(Tag::Seq, 0), ""),
            (number(Tag::Seq, -1), "seq: -1 is negative"),
            (number(Tag::Fault, -1), ""),
            (bad(number(Tag::Seq, 4)), "seq: bad 0x80000000 (Bad)"),
            (unreadable(TagValue::Int(0)), "seq: has no value, or one of another type than its map says"),
            (unreadable(TagValue::Bytes(b"1\x1b[2J".to_vec())), "seq: \"1\\u{1b}[2J\" is not what its map says"),
            (number(Tag::Epoch, 0), "epoch: 0, the device is not ready"),
            (number(Tag::Epoch, -7), "epoch: -7 is no epoch, which is 1 to 4294967295"),
            (text(Tag::Seq, b"4"), "seq: is of another type than its tag"),
            (number(Tag::GateState, 2), ""),
            (number(Tag::GateState, 3), "gate_state: 3 is none of the values 0 to 2"),
            (number(Tag::State, 6), ""),
            (number(Tag::State, 99), "state: 99 is no PackML state"),
            (text(Tag::State, b"EXECUTE"), ""),
            (text(Tag::State, b"Running"), "state: \"Running\" is no PackML state"),
        ] {
            assert_eq!(found(&settings, &reading), says, "{reading:?}");
        }
    }

    #[test]
    fn a_number_that_the_map_does_not_list_is_none() {
        let listed = |device, contract| Renumbered { tag: Tag::Request, device, contract };
        let settings = Settings { renumbered: vec![listed(10, 1), listed(20, 2)], ..settings(StationKind::Packer) };
        assert_eq!(found(&settings, &number(Tag::Request, 20)), "");
        assert_eq!(found(&settings, &number(Tag::Request, 0)), "");
        assert_eq!(found(&settings, &number(Tag::Request, 2)), "request: 2 is none of the `values` of its map");
    }
}
