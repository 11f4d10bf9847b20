//! Facts and outputs in the words of the scenarios.

use sealgate::domain::gs1::{SerialNumber, Sscc};
use sealgate::domain::pack::Gate;
use sealgate::engine::fact::{Child, Counts, Fact, RequestKey, TrackKey};
use sealgate::engine::hands::HandsRefusal;
use sealgate::engine::input::CloseEnd;
use sealgate::engine::people::PeopleRefusal;
use sealgate::engine::reason::{Difference, RefuseReason, RequestRefusal};
use sealgate::wire::fact::kind;
use sealgate::wire::text::refusal_code;

/// Names that the facts do not hold: which container a station's count or an SSCC is, which serial a track carried.
pub(crate) trait Names {
    fn container(&self, sscc: &Sscc) -> String;
    fn request(&self, key: &RequestKey) -> String;
}

#[allow(clippy::too_many_lines, reason = "one exhaustive match, an arm per kind of fact")]
pub(crate) fn fact(names: &dyn Names, fact: &Fact) -> String {
    match fact {
        Fact::LineStarted { .. }
        | Fact::LineStopped
        | Fact::LineDescribed { .. }
        | Fact::BatchStarted { .. }
        | Fact::LineCleared { .. }
        | Fact::BatchPurgeStarted
        | Fact::BatchPurged { .. }
        | Fact::BatchStopped { .. } => kind(fact).to_owned(),
        Fact::BatchHeld { reason } => format!("batch_held {reason}"),
        Fact::BatchResumed { .. } => kind(fact).to_owned(),
        Fact::BatchReopened { sheet, reason, .. } => format!("batch_reopened {} {reason}", sheet.batch),
        Fact::BatchAborted { counts: at_end, differences, .. } => {
            let differences = join(differences.iter().map(difference));
            format!("batch_aborted {} {differences}", counts(at_end)).trim_end().to_owned()
        }
        Fact::ClockFound { clock } => format!("clock {}", clock.name()),
        Fact::ClockStepped { from_us, to_us } => format!("clock_stepped {from_us} {to_us}"),
        Fact::MessageGivenUp { message, .. } => format!("message_given_up {} {}", message.stream, message.seq),
        Fact::MessagesExpired { .. } => "messages_expired".to_owned(),
        Fact::LinePaused { paused_us } => format!("line_paused {paused_us}"),
        Fact::StationJoined { station, epoch, reset, .. } => {
            format!("joined {station} epoch {epoch}{}", if *reset { " reset" } else { "" })
        }
        Fact::StationLost { station, cause } => {
            let flaw = cause.flaw().map_or_else(String::new, |flaw| format!(" {flaw}"));
            format!("lost {station} {}{flaw}", cause.name())
        }
        Fact::StationFaulted { station, code } => format!("faulted {station} {code}"),
        Fact::AlarmRaised { alarm, kind, station, .. } => {
            let at = station.map_or_else(String::new, |station| format!(" at {station}"));
            format!("alarm {alarm} {}{at}", kind.name())
        }
        Fact::AlarmAcknowledged { alarm } => format!("acknowledged {alarm}"),
        Fact::Signed { signature } => format!("signed {} {}", signature.user, signature.meaning.name()),
        Fact::ConfigApproved { .. } => "config_approved".to_owned(),
        Fact::UserRecovered { user, .. } => format!("user_recovered {user}"),
        Fact::SignatureRefused { user, reason, .. } => format!("signature_refused {user} {reason}"),
        Fact::AuditReviewed { review } => format!("audit_reviewed {} to {}", review.from_seq, review.to_seq),
        Fact::UserAdded { user, .. } => format!("user_added {user}"),
        Fact::UserChanged { user, .. } => format!("user_changed {user}"),
        Fact::CredentialSet { user, .. } => format!("credential_set {user}"),
        Fact::LoginFailed { failures, .. } => format!("login_failed {failures}"),
        Fact::LoginLocked { user, .. } => format!("login_locked {user}"),
        Fact::LoginUnlocked { user } => format!("login_unlocked {user}"),
        Fact::LoggedIn { user, .. } => format!("logged_in {user}"),
        Fact::LoggedOut { user, end, .. } => format!("logged_out {user} {}", end.name()),
        Fact::KeyAnnounced { key } => format!("key {}", key.key_id),
        Fact::EpochRaised { begun } => format!("epoch {}", begun.epoch),
        Fact::BatchLoaded { sheet, .. } => format!("batch_loaded {}", sheet.batch),
        Fact::BatchCloseRefused { differences } => {
            format!("batch_close_refused {}", join(differences.iter().map(difference)))
        }
        Fact::BatchClosed { counts: at_end, .. } => format!("batch_closed {}", counts(at_end)),
        Fact::SerialsAllocated { serials, .. } => format!("allocated {}", list(serials)),
        Fact::SerialsEncoded { serials, .. } => format!("encoded {}", list(serials)),
        Fact::SerialsDeclared { serials, .. } => format!("declared {}", list(serials)),
        Fact::SerialsRetired { serials, .. } => format!("retired {}", list(serials)),
        Fact::StoreRestored { .. } => kind(fact).to_owned(),
        Fact::SerialsInvalidated { serials, .. } => format!("invalidated {}", list(serials)).trim_end().to_owned(),
        Fact::Verified { serial, .. } => format!("verified {serial}"),
        Fact::Failed { serial, reasons, .. } => {
            let serial = serial.map_or_else(String::new, |serial| format!("{serial} "));
            format!("failed {serial}{}", join(reasons.iter().map(|reason| reason.name().to_owned())))
        }
        Fact::Missed { result } => match (result.track, result.seq) {
            (Some(track), _) => format!("missed #{track}"),
            (None, seq) => format!("missed result {}", seq.unwrap_or_default()),
        },
        Fact::PassExpired { serial, .. } => format!("pass_expired {serial}"),
        Fact::Commissioned { serial, .. } => format!("commissioned {serial}"),
        Fact::RejectConfirmed { track, serial } => format!("reject_confirmed {}", unit(track, serial.as_ref())),
        Fact::RejectInferred { track, serial } => format!("reject_inferred {serial} #{}", track.track),
        Fact::RecipeFound { station, recipe } => {
            format!("recipe {station} {}", recipe.map_or_else(|| "unreadable".to_owned(), |recipe| recipe.to_string()))
        }
        Fact::PictureStored { picture } => format!("picture of {}", picture.inspection),
        Fact::PicturesRemoved { pictures } => format!("pictures_removed {}", pictures.len()),
        Fact::BufferDoubted { station } => format!("buffer_doubted {station}"),
        Fact::UnitRemoved { track } => format!("unit_removed #{}", track.track),
        Fact::RejectMissing { track } => format!("reject_missing #{}", track.track),
        Fact::UnexpectedPass { track } => format!("unexpected_pass #{}", track.track),
        Fact::PhantomReject { count, .. } => format!("phantom_reject {count}"),
        Fact::EndsMissed { from, to, .. } => format!("ends_missed {from} to {to}"),
        Fact::Packed { request, children, .. } => {
            let children = children.iter().map(|at| child(names, at));
            format!("packed {} in {}", join(children), names.request(request))
        }
        Fact::CloseGranted { request, gate: at, .. } => format!("{}_granted {}", gate(*at), names.request(request)),
        Fact::CloseRefused { request, gate: at, reasons, .. } => {
            let reasons = reasons.iter().map(|reason| refusal(names, reason));
            format!("{}_refused {} {}", gate(*at), names.request(request), join(reasons))
        }
        Fact::PermitAcked { container, .. } => format!("permit_acked {}", names.container(container)),
        Fact::Closed { container, .. } => format!("closed {}", names.container(container)),
        Fact::Released { container, again, .. } => {
            let again = again.map_or_else(String::new, |again| format!(" again {}", again.name()));
            format!("released {}{again}", names.container(container))
        }
        Fact::CloseFailed { container, result, gate: at, .. } => {
            let why = match result {
                CloseEnd::Done => "done",
                CloseEnd::MachineFailure => "machine_failure",
                CloseEnd::Expired => "expired",
            };
            format!("{}_failed {} {why}", gate(*at), names.container(container))
        }
        Fact::CloseUnresolved { container, gate: at, .. } => {
            format!("{}_unresolved {}", gate(*at), names.container(container))
        }
        Fact::GateForced { station, .. } => format!("gate_forced {station}"),
        Fact::UnitWithdrawn { serial, withdrawal, why } => {
            format!("{} {serial} {}", withdrawal.name(), why.reason.name())
        }
        Fact::ContainerReopened { container, taken, told, why, .. } => {
            let taken = taken.as_ref().map_or_else(String::new, |taken| format!(" for {}", child(names, taken)));
            let told = if *told { " told" } else { "" };
            format!("reopened {}{taken}{told} {}", names.container(container), why.reason.name())
        }
        Fact::ContainerDissolved { container, told, why, .. } => {
            let told = if *told { " told" } else { "" };
            format!("dissolved {}{told} {}", names.container(container), why.reason.name())
        }
        Fact::LabelVoided { container, copy, why, .. } => {
            format!("label_voided {} copy {copy} {}", names.container(container), why.reason.name())
        }
    }
}

fn child(names: &dyn Names, child: &Child) -> String {
    match child {
        Child::Unit(serial) => serial.to_string(),
        Child::Container(sscc) => names.container(sscc),
    }
}

pub(crate) fn gate(gate: Gate) -> &'static str {
    match gate {
        Gate::Seal => "close",
        Gate::Release => "release",
    }
}

pub(crate) fn join(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" ")
}

fn list(serials: &[SerialNumber]) -> String {
    join(serials.iter().map(SerialNumber::to_string))
}

fn unit(track: &TrackKey, serial: Option<&SerialNumber>) -> String {
    serial.map_or_else(|| format!("#{}", track.track), SerialNumber::to_string)
}

/// The slots of a container count from 0.
fn refusal(names: &dyn Names, reason: &RefuseReason) -> String {
    let name = reason.name();
    match reason {
        RefuseReason::Short { have, want } | RefuseReason::Over { have, want } => format!("{name}({have} of {want})"),
        RefuseReason::CountDiffers { counted, listed } => format!("{name}({counted} for {listed})"),
        RefuseReason::MissingChild { slot }
        | RefuseReason::MalformedChild { slot }
        | RefuseReason::ForeignChild { slot }
        | RefuseReason::UnknownChild { slot }
        | RefuseReason::RepeatedChild { slot }
        | RefuseReason::UnfitChild { slot } => format!("{name}({slot})"),
        RefuseReason::PackedChild { slot, parent } => format!("{name}({slot} in {})", names.container(parent)),
        RefuseReason::NoBatch
        | RefuseReason::NotGood
        | RefuseReason::LevelAbsent
        | RefuseReason::NoSscc
        | RefuseReason::NotSealed
        | RefuseReason::LabelMissing
        | RefuseReason::LabelDiffers
        | RefuseReason::OnHold => name.to_owned(),
    }
}

fn difference(difference: &Difference) -> String {
    match difference {
        Difference::InBuffer(count) => format!("in_buffer({count})"),
        Difference::Unaccounted(count) => format!("unaccounted({count})"),
        Difference::Loose(count) => format!("loose({count})"),
        Difference::InTransit(count) => format!("in_transit({count})"),
        Difference::OpenContainers(count) => format!("open_containers({count})"),
        Difference::UnresolvedRejects(count) => format!("unresolved_rejects({count})"),
        Difference::BinDiffers { counted, confirmed } => format!("bin_differs({counted} for {confirmed})"),
        Difference::PartialContainers(count) => format!("partial_containers({count})"),
    }
}

fn hands(names: &dyn Names, refusal: &HandsRefusal) -> String {
    match refusal {
        HandsRefusal::NoBatch => "no_batch".to_owned(),
        HandsRefusal::NoUnit => "no_unit".to_owned(),
        HandsRefusal::NoContainer => "no_container".to_owned(),
        HandsRefusal::ForeignUnit(_) => "foreign_unit".to_owned(),
        HandsRefusal::UnknownUnit(serial) => format!("unknown_unit({serial})"),
        HandsRefusal::UnknownContainer(_) => "unknown_container".to_owned(),
        HandsRefusal::UnitState(state) => format!("unit_state({})", state.name()),
        HandsRefusal::ContainerState(state) => format!("container_state({})", state.name()),
        HandsRefusal::InTransit => "in_transit".to_owned(),
        HandsRefusal::PermitInForce(sscc) => format!("permit_in_force({})", names.container(sscc)),
    }
}

pub(crate) fn answer(names: &dyn Names, refusal: &RequestRefusal) -> String {
    match refusal {
        RequestRefusal::UnknownBatch(batch) => format!("unknown_batch({batch})"),
        RequestRefusal::BatchExists(batch) => format!("batch_exists({batch})"),
        RequestRefusal::LineOccupied(batch) => format!("line_occupied({batch})"),
        RequestRefusal::WrongState { state, .. } => format!("wrong_state({})", state.name()),
        RequestRefusal::SerialUsed(serial) => format!("serial_used({serial})"),
        RequestRefusal::SsccUsed(_) => "sscc_used".to_owned(),
        RequestRefusal::UnknownStation(station) => format!("unknown_station({station})"),
        RequestRefusal::StationAway(station) => format!("station_away({station})"),
        RequestRefusal::AlarmsOpen(count) => format!("alarms_open({count})"),
        RequestRefusal::NotCleared(batch) => format!("not_cleared({batch})"),
        RequestRefusal::ItemOpen(_) => "item_open".to_owned(),
        RequestRefusal::ItemUnknown(_) => "item_unknown".to_owned(),
        RequestRefusal::BatchesFull(count) => format!("batches_full({count})"),
        RequestRefusal::ExpiryPast => "expiry_past".to_owned(),
        RequestRefusal::UnknownAlarm(alarm) => format!("unknown_alarm({alarm})"),
        RequestRefusal::NotBalanced => "not_balanced".to_owned(),
        RequestRefusal::ConfigNotApproved => "config_not_approved".to_owned(),
        RequestRefusal::SerialsSuspended => "serials_suspended".to_owned(),
        RequestRefusal::Busy => "busy".to_owned(),
        RequestRefusal::RecipeDiffers(other) => format!("recipe_differs({})", other.station),
        RequestRefusal::Hands(refusal) => hands(names, refusal),
        RequestRefusal::People(PeopleRefusal::NotAllowed(action)) => {
            format!("not_allowed({})", snake(&format!("{action:?}")))
        }
        RequestRefusal::People(_) => refusal_code(refusal).to_owned(),
        RequestRefusal::ClockUnsure(clock) => format!("clock_unsure({})", clock.name()),
    }
}

/// `CloseBatch` as `close_batch`.
pub(crate) fn snake(name: &str) -> String {
    let mut out = String::new();
    for (at, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

/// Counts that are not 0.
fn counts(counts: &Counts) -> String {
    let all = [
        ("received", counts.received),
        ("unused", counts.unused),
        ("burned", counts.burned),
        ("printed", counts.printed),
        ("commissioned", counts.commissioned),
        ("scrapped", counts.scrapped),
        ("unaccounted", counts.unaccounted),
        ("packed", counts.packed),
        ("loose", counts.loose),
        ("triggers", counts.triggers),
        ("pass", counts.pass),
        ("fail", counts.fail),
        ("no_read", counts.no_read),
        ("missed", counts.missed),
        ("rejects_commanded", counts.rejects_commanded),
        ("rejects_confirmed", counts.rejects_confirmed),
        ("rejects_resolved", counts.rejects_resolved),
        ("bin", counts.bin),
        ("phantom", counts.phantom),
        ("cases_released", counts.cases_released),
        ("pallets_released", counts.pallets_released),
        ("label_sampled", counts.label_sampled),
        ("sampled", counts.sampled),
        ("inactive", counts.inactive),
        ("destroyed", counts.destroyed),
    ];
    join(all.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{name}={count}")))
}
