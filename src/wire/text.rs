//! What people read: for every reason, refusal and alarm what happened, where, and what to do. The code beside it is the
//! stable word; a text may be reworded in any release.

use crate::domain::rule::Rule;
use crate::engine::reason::{AlarmKind, BatchState, Difference, FailReason, RefuseReason, RequestRefusal};
use crate::wire::{text_hands, text_people};

/// The differences that have one count.
pub(crate) const DIFFERENCES_WITH_COUNT: &[&str] =
    &["in_buffer", "unaccounted", "loose", "in_transit", "open_containers", "unresolved_rejects", "partial_containers"];

/// Whether a batch in the state of that name is on the line.
pub fn is_on_line(state: &str) -> bool {
    BatchState::parse(state).is_some_and(BatchState::is_on_line)
}

/// The stable word, lower snake case.
pub fn difference_code(difference: &Difference) -> &'static str {
    match difference {
        Difference::InBuffer(_) => "in_buffer",
        Difference::Unaccounted(_) => "unaccounted",
        Difference::Loose(_) => "loose",
        Difference::InTransit(_) => "in_transit",
        Difference::OpenContainers(_) => "open_containers",
        Difference::UnresolvedRejects(_) => "unresolved_rejects",
        Difference::BinDiffers { .. } => "bin_differs",
        Difference::PartialContainers(_) => "partial_containers",
    }
}

pub fn difference(difference: &Difference) -> String {
    match difference {
        Difference::InBuffer(count) => {
            format!(
                "{count} records were given to the printer and are neither printed nor burned; let it empty its buffer"
            )
        }
        Difference::Unaccounted(count) => format!(
            "{count} printed serials are neither commissioned nor rejected; find these units or labels. The batch stays stopped until somebody signs for them"
        ),
        Difference::Loose(count) => {
            format!(
                "{count} commissioned units are in no case; pack them, or take each out of production: `sealgate unit`"
            )
        }
        Difference::InTransit(count) => {
            format!("{count} units are between camera and reject gate; run the belt until it is empty")
        }
        Difference::OpenContainers(count) => {
            format!(
                "{count} containers are not released; finish their close at the packer or palletizer, or unpack them: `sealgate container unpack`"
            )
        }
        Difference::UnresolvedRejects(count) => {
            format!("{count} rejects were commanded and not confirmed; find these units, then acknowledge their alarms")
        }
        Difference::BinDiffers { counted, confirmed } => format!(
            "the reject bin counted {counted} pieces, {confirmed} rejects were confirmed; count the bin by hand and find the difference"
        ),
        Difference::PartialContainers(count) => {
            format!("{count} containers are not full; fill them. A partial close is not possible in this release")
        }
    }
}

/// The stable word, lower snake case.
pub fn refusal_code(refusal: &RequestRefusal) -> &'static str {
    match refusal {
        RequestRefusal::People(refusal) => text_people::code(refusal),
        RequestRefusal::Hands(refusal) => text_hands::code(refusal),
        RequestRefusal::UnknownBatch(_) => "unknown_batch",
        RequestRefusal::BatchExists(_) => "batch_exists",
        RequestRefusal::LineOccupied(_) => "line_occupied",
        RequestRefusal::WrongState { .. } => "wrong_state",
        RequestRefusal::SerialUsed(_) => "serial_used",
        RequestRefusal::SsccUsed(_) => "sscc_used",
        RequestRefusal::StationAway(_) => "station_away",
        RequestRefusal::RecipeDiffers(_) => "recipe_differs",
        RequestRefusal::ConfigNotApproved => "config_not_approved",
        RequestRefusal::UnknownStation(_) => "unknown_station",
        RequestRefusal::AlarmsOpen(_) => "alarms_open",
        RequestRefusal::NotCleared(_) => "not_cleared",
        RequestRefusal::ItemOpen(_) => "item_open",
        RequestRefusal::ItemUnknown(_) => "item_unknown",
        RequestRefusal::BatchesFull(_) => "batches_full",
        RequestRefusal::ExpiryPast => "expiry_past",
        RequestRefusal::UnknownAlarm(_) => "unknown_alarm",
        RequestRefusal::NotBalanced => "not_balanced",
        RequestRefusal::SerialsSuspended => "serials_suspended",
        RequestRefusal::Busy => "busy",
        RequestRefusal::ClockUnsure(_) => "clock_unsure",
    }
}

#[allow(clippy::too_many_lines, reason = "one exhaustive match, an arm per kind of refusal")]
pub fn refusal(refusal: &RequestRefusal) -> String {
    match refusal {
        RequestRefusal::People(refusal) => text_people::refusal(refusal),
        RequestRefusal::Hands(refusal) => text_hands::refusal(refusal),
        RequestRefusal::UnknownBatch(batch) => {
            format!("batch {batch} was never loaded on this line; see `sealgate batch list`")
        }
        RequestRefusal::BatchExists(batch) => {
            format!("batch {batch} was loaded before with another content; give the new order another identifier")
        }
        RequestRefusal::LineOccupied(batch) => format!("batch {batch} is on the line; stop and close it first"),
        RequestRefusal::WrongState { batch, state } => {
            let state = state.name();
            format!("batch {batch} is {state}, which does not allow this; see `sealgate batch show {batch}`")
        }
        RequestRefusal::SerialUsed(serial) => format!(
            "serial number {serial} was used for this GTIN before; a serial number is used once, ever: ask for new ones"
        ),
        RequestRefusal::SsccUsed(sscc) => {
            format!("SSCC {sscc} was used before; an SSCC is used once, ever: ask for another range")
        }
        RequestRefusal::StationAway(station) => {
            format!("station {station} does not answer; see `sealgate status`, then check its power, cable and address")
        }
        RequestRefusal::ConfigNotApproved => {
            "nobody signed for the configuration of this run: `sealgate sign config` does".to_owned()
        }
        RequestRefusal::UnknownStation(station) => {
            format!("the order names a recipe for {station}, which is no station of this line; correct the order")
        }
        RequestRefusal::RecipeDiffers(other) => {
            format!("station {}: {other}; load the approved one there", other.station)
        }
        RequestRefusal::AlarmsOpen(count) => format!("{count} alarms wait for acknowledgement; see `sealgate alarm list`"),
        RequestRefusal::NotCleared(batch) => {
            format!("the line was not cleared for batch {batch}; look at it, then `sealgate sign clearance {batch}`")
        }
        RequestRefusal::ItemOpen(item) => format!("the checklist asks for {item:?}, which is not answered"),
        RequestRefusal::ItemUnknown(item) => {
            format!("{item:?} is no item of the checklist ([clearance] items), or is answered twice")
        }
        RequestRefusal::BatchesFull(count) => {
            format!(
                "{count} batches are not closed, the most that one line holds; close one, see `sealgate batch list`"
            )
        }
        RequestRefusal::ExpiryPast => {
            "the expiry date of the order has passed; correct the order, or the clock of this computer".to_owned()
        }
        RequestRefusal::UnknownAlarm(alarm) => format!("alarm {alarm} is not on this line; see `sealgate alarm list`"),
        RequestRefusal::NotBalanced => {
            "the counts of the batch do not balance; the differences say what is missing".to_owned()
        }
        RequestRefusal::SerialsSuspended => {
            "the journal was restored, and which serials were used since its backup is not known; give them with `sealgate serials confirm`"
                .to_owned()
        }
        RequestRefusal::ClockUnsure(clock) => {
            let clock = clock.name();
            format!("the clock of this computer is {clock}; set it, or look at its time service, then start again")
        }
        RequestRefusal::Busy => {
            "the line is at its bound of waiting requests, or still answers the last one; try again in a second"
                .to_owned()
        }
    }
}

pub fn refuse_reason(reason: &RefuseReason) -> String {
    match reason {
        RefuseReason::NoBatch => "no batch is running; start one".to_owned(),
        RefuseReason::NotGood => {
            "a value of the request was not readable (quality not good); check the station, ask again".to_owned()
        }
        RefuseReason::LevelAbsent => {
            "the order has no container of this level; check the station's place in the config and the order".to_owned()
        }
        RefuseReason::Short { have, want } => format!("{have} of {want} children; fill the container"),
        RefuseReason::Over { have, want } => format!("{have} children where {want} belong; take the surplus out"),
        RefuseReason::CountDiffers { counted, listed } => {
            format!("the station counted {counted} children and read {listed}; read the layer again")
        }
        RefuseReason::MissingChild { slot } => format!("slot {slot} was not read; turn or replace this unit"),
        RefuseReason::MalformedChild { slot } => format!("slot {slot} holds no unit or container code; replace it"),
        RefuseReason::ForeignChild { slot } => format!("slot {slot} is of another product, lot or batch; take it out"),
        RefuseReason::UnknownChild { slot } => format!("slot {slot} is not of this order; take it out"),
        RefuseReason::RepeatedChild { slot } => format!("slot {slot} repeats another slot; look for a copied code"),
        RefuseReason::UnfitChild { slot } => {
            format!("slot {slot} is not commissioned, or not released; take it out: a reject may have escaped")
        }
        RefuseReason::PackedChild { slot, parent } => format!("slot {slot} is already in {parent}; take it out"),
        RefuseReason::NoSscc => {
            "the SSCC range of the order is used up; stop the batch and ask for another range".to_owned()
        }
        RefuseReason::NotSealed => "the contents were not sealed; seal this container first".to_owned(),
        RefuseReason::LabelMissing => "the label was not read; check labeller and scanner, then ask again".to_owned(),
        RefuseReason::LabelDiffers => {
            "the label is not the one given for this container; remove it and relabel".to_owned()
        }
        RefuseReason::OnHold => "the container waits for a person; see `sealgate alarm list`".to_owned(),
    }
}

pub fn fail_reason(reason: FailReason) -> &'static str {
    match reason {
        FailReason::NoRead => "nothing was read; check print, position and camera",
        FailReason::NotGood => "the camera's value was not good; check the camera and its link",
        FailReason::Changed => "the camera showed other bytes under the same number; check its handshake",
        FailReason::NoTrack => "the result has no encoder track, so its unit is unknown; check encoder and trigger",
        FailReason::SecondRead => "this track has a result already; check trigger and spacing of units",
        FailReason::NotGs1 => "the symbol is no GS1 DataMatrix (FNC1 is missing); check the print template",
        FailReason::Malformed => {
            "no well-formed GS1 element string; check the print template and the camera's separator"
        }
        FailReason::CheckDigit => "a check digit is wrong; check the print template",
        FailReason::BadDate => "the date does not exist; check the print template",
        FailReason::BadCharacter => "a character is not allowed in its field; check the print template",
        FailReason::MissingAi => "a field that the order asks for is missing; check the print template",
        FailReason::ExtraAi => "a field that the order does not know; check the print template",
        FailReason::RepeatedAi => "a field stands twice; check the print template",
        FailReason::WrongGtin => "another product: the GTIN is not the order's; clear the line",
        FailReason::WrongLot => "the lot is not the order's; look for units of another batch",
        FailReason::WrongExpiry => "the expiry date is not the order's; look for units of another batch",
        FailReason::UnknownSerial => "the serial number is not of this order; clear the line",
        FailReason::NotEncoded => "the serial number was never reported as printed; check the printer's counter",
        FailReason::Duplicate => "the serial number was read before; look for a copied label",
        FailReason::LowGrade => "the print grade is below the limit; clean or adjust the print head",
        FailReason::NoGrade => "the camera gave no print grade; switch its grading on",
        FailReason::NoBatch => "no batch is running; clear the line",
        FailReason::ClockUnsure => {
            "the clock of this computer is not known to be right, and this line asks for that; look at its time service"
        }
        FailReason::DeviceFailed => "the camera itself says that the unit is not good; look at its own record",
        FailReason::Stranded => {
            "the unit stood on the belt when the batch was stopped, and this site rejects those; a purge lets the belt run empty instead"
        }
        FailReason::Late => "the answer was too late for the blade; see the latency in `sealgate status`",
    }
}

/// [`alarm`] by the stable word of its kind, as journals and views write it.
pub fn alarm_named(kind: &str) -> Option<&'static str> {
    AlarmKind::parse(kind).map(alarm)
}

/// The rule behind an alarm, by the word of its kind.
pub fn alarm_rule(kind: &str) -> Option<Rule> {
    AlarmKind::parse(kind).map(AlarmKind::rule)
}

/// Whether the line waits for the acknowledgement of this kind, by its word; a kind of another release is waited for.
pub fn alarm_holds(kind: &str) -> bool {
    AlarmKind::parse(kind).is_none_or(AlarmKind::holds)
}

#[allow(clippy::too_many_lines, reason = "one exhaustive match, an arm per kind of alarm")]
pub fn alarm(kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::WrongGtin => "Wrong product was read. Clear the line, find where it came from, then acknowledge.",
        AlarmKind::UnknownSerial => {
            "A serial number that is not of this order was read. Find the unit, clear the line, then acknowledge."
        }
        AlarmKind::DuplicateSerial => {
            "A serial number was read twice. Find both units, look for copied labels, then acknowledge."
        }
        AlarmKind::ResultsMissed => {
            "Camera results were lost before they were read. These units are rejects: check that they lie in the bin, then acknowledge."
        }
        AlarmKind::RejectMissing => {
            "A commanded reject was not confirmed. Take the unit off by hand, then acknowledge."
        }
        AlarmKind::PhantomReject => {
            "The reject sensor saw a piece that nobody rejected. Check bin and sensor, then acknowledge."
        }
        AlarmKind::UnexpectedPass => {
            "A unit went past the reject gate without a pass. Take it off by hand, then acknowledge."
        }
        AlarmKind::BinFull => "The reject bin is full. Count and empty it, then acknowledge.",
        AlarmKind::StationReset => {
            "A station restarted while units were in transit. Clear the belt at this station, then acknowledge."
        }
        AlarmKind::CloseUnresolved => {
            "A permit ran out without an answer. Look whether the container is closed, then acknowledge."
        }
        AlarmKind::GateForced => {
            "A gate opened without a permit. Open the container and check its contents, then acknowledge."
        }
        AlarmKind::LabelDiffers => {
            "A label that was read back is not the one given. Take both containers aside, relabel, then acknowledge."
        }
        AlarmKind::ChildEscaped => {
            "A container held a unit that should not be there. Take it out, find the way it came, then acknowledge."
        }
        AlarmKind::SerialPoolLow => {
            "A tenth of the order's serial numbers is left. Production goes on. Have another order loaded, then acknowledge."
        }
        AlarmKind::SerialsExhausted => {
            "The serial numbers of the order are used up, and the printer stands. Stop the batch, start another order, then acknowledge."
        }
        AlarmKind::SsccExhausted => {
            "The SSCC range of the order is used up. Stop the batch and ask for another range, then acknowledge."
        }
        AlarmKind::JournalDoubt => {
            "The journal was repaired, or is not what was anchored. Run `sealgate audit verify`, compare the line with the record, then acknowledge."
        }
        AlarmKind::FeedQuarantined => {
            "The broker will never take a message as it is. See `sealgate feed quarantine list`, mend the broker's limits or rights, retry it, then acknowledge."
        }
        AlarmKind::FeedRefused => {
            "The broker refuses the feed. Everything waits in the journal. Check user, password and rights at the broker, then acknowledge."
        }
        AlarmKind::DuplicateClientId => {
            "Another client uses this line's MQTT client id. Find it and give each line its own, then acknowledge."
        }
        AlarmKind::FeedUnheard => {
            "The broker takes the feed and nobody is subscribed to it. Start the consumer, ask for a replay, then acknowledge."
        }
        AlarmKind::WatermarkStalled => {
            "The consumer does not confirm what the broker took. Look whether messages were lost, send them again with `sealgate feed replay`, then acknowledge."
        }
        AlarmKind::CheckpointsWithheld => {
            "No checkpoint has reached the broker for ten minutes. Look who keeps them from it, see `sealgate feed status`, then acknowledge."
        }
        AlarmKind::PicturesLost => {
            "Pictures of the camera were not stored. Production goes on. Look at the camera's naming, its folder and the disk, then acknowledge."
        }
        AlarmKind::UnauthorisedUse => {
            "Somebody tried passwords. Find out who, see `sealgate user list` for locked accounts, then acknowledge."
        }
        AlarmKind::PasswordsVoid => {
            "The journal was restored, and no password of before opens anything. Lead an administrator back (`sealgate user recover`), who looks at the roles of each account and resets it, then acknowledge."
        }
        AlarmKind::AccountRecovered => {
            "An administrator's password was replaced on the computer of the line. Ask who did it, then acknowledge."
        }
        AlarmKind::DiskLow
        | AlarmKind::DiskFull
        | AlarmKind::JournalLogLarge
        | AlarmKind::JournalSlow
        | AlarmKind::SerialsSuspended => journal_alarm(kind),
        AlarmKind::StrangeRecord => {
            "What the printer holds is not only what it was given since it started, and it was emptied. Look whether it restarted or who else wrote, then acknowledge."
        }
        AlarmKind::RejectsInARow => {
            "Too many units in a row were rejected. Look at printer, camera and material, then acknowledge."
        }
        AlarmKind::RejectsTooMany => {
            "Too many of the last units were rejected. Look at printer, camera and material, then acknowledge."
        }
        AlarmKind::UnitRemoved => {
            "A unit or a case is missing between two stations. Find it and take it aside, look who reached in, then acknowledge."
        }
        AlarmKind::RecipeDiffers => {
            "A station runs another recipe than the approved one. Load the approved one, check the units since, then acknowledge."
        }
        AlarmKind::DeviceDisagrees => {
            "The camera's own gate and the line's verification differ. Take the unit aside, check the camera's job, then acknowledge."
        }
        AlarmKind::VerdictsSlow => {
            "Verdicts take too large a part of their deadline. Shorten poll_ms, look at disk and network, or lengthen the way to the blade, then acknowledge."
        }
        AlarmKind::FeedBehind => {
            "Much waits for the broker. See `sealgate feed status` for what, and for how long; bring the broker back, then acknowledge."
        }
        AlarmKind::ClockStepped => {
            "The clock of this computer went forward by more than a minute; the line runs on. Find out who set it, then acknowledge."
        }
        AlarmKind::ClockRollback => {
            "The clock of this computer went backward; the line runs on, and its order is by sequence number. Find out who set it, then acknowledge."
        }
        AlarmKind::ClockUnset => {
            "The clock of this computer was never set, and no batch starts. Set it, or look at its time service, then acknowledge."
        }
        AlarmKind::LinePaused => {
            "The line stood still for seconds, and the machines stopped by themselves. Look at this computer and its disk, then acknowledge."
        }
        AlarmKind::ForeignWriter => {
            "Another controller writes to this device, and both stand. Find out which one is meant to, stop the other, then acknowledge."
        }
        AlarmKind::CrashLoop => {
            "The daemon was started again and again after runs that did not end in order. See its log and `sealgate audit verify`, then acknowledge."
        }
    }
}

/// Alarms of the watch over the journal; any other kind has its text above.
fn journal_alarm(kind: AlarmKind) -> &'static str {
    const SLOW: &str = "The disk takes long to record, and verdicts that come too late are rejects. Look at the disk and at what else writes to it, then acknowledge.";
    const SUSPENDED: &str = "The journal was restored from a backup. Ask upstream which serials were used since, and give them with `sealgate serials confirm`.";
    if kind == AlarmKind::DiskLow {
        "The disk of the journal fills up. Make room before the line has to stop; this ends by itself."
    } else if kind == AlarmKind::DiskFull {
        "There is no room for the record. Make room where the journal lies; this ends by itself."
    } else if kind == AlarmKind::JournalLogLarge {
        "The log of the journal grows: a long reader keeps it from shrinking. Find and end it (`sealgate store check`); this ends by itself."
    } else if kind == AlarmKind::JournalSlow {
        SLOW
    } else {
        SUSPENDED
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_and_alarm_says_something_of_its_own() {
        let fails: BTreeSet<&str> = FailReason::ALL.iter().map(|reason| fail_reason(*reason)).collect();
        assert_eq!(fails.len(), FailReason::ALL.len());
        let alarms: BTreeSet<&str> = AlarmKind::ALL.iter().map(|kind| alarm(*kind)).collect();
        assert_eq!(alarms.len(), AlarmKind::ALL.len());
        let ends = ["then acknowledge.", "this ends by itself.", "`sealgate serials confirm`."];
        assert!(alarms.iter().all(|text| ends.iter().any(|end| text.ends_with(end))));
    }

    #[test]
    fn a_count_stands_in_its_text() {
        assert!(difference(&Difference::Loose(37)).contains("37 commissioned units"));
        assert!(refuse_reason(&RefuseReason::Short { have: 9, want: 10 }).starts_with("9 of 10"));
    }
}
