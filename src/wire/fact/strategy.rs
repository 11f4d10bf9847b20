//! Any fact, for property tests.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::domain::gs1::{Expiry, GcpLength, Gtin, Lot, SerialNumber, Sscc};
use crate::domain::pack::{Gate, PackLevel};
use crate::domain::quality::TagFlaw;
use crate::domain::tag::{StationKind, Tag};
use crate::domain::text::{Name, Text};
use crate::domain::time::ClockState;
use crate::engine::clearance::{ClearedItem, ItemAnswer};
use crate::engine::fact::{
    Child, Counts, Description, Fact, Gone, InvalidCause, MessageNumber, NewEpoch, NewKey, Picture, ReadPoint,
    RequestKey, ResultKey, Review, TrackKey,
};
use crate::engine::hands::{Again, HandReason, Why, Withdrawal};
use crate::engine::input::{BatchSheet, CloseEnd, LostCause, PackSpec, SsccRange, StationRecipe};
use crate::engine::people::{Door, Phc, Role, Roles, SessionEnd};
use crate::engine::reason::{AlarmKind, Difference, FailReason, RefuseReason};
use crate::engine::signing::Signable;

/// CSET 82 whole, with the characters that hurt most in JSON, SQL, URIs and paths.
const CSET_82: &str = "[!\"%-?A-Z_a-z]{1,20}";

pub(crate) fn fact() -> BoxedStrategy<Fact> {
    prop_oneof![
        line_fact(),
        batch_fact(),
        serials_fact(),
        unit_fact(),
        track_fact(),
        container_fact(),
        hands_fact(),
        people_fact()
    ]
    .boxed()
}

fn people_fact() -> impl Strategy<Value = Fact> {
    let roles = || vec(one_of(Role::ALL), 0..4).prop_map(|roles| roles.into_iter().collect::<Roles>());
    let phc = "[ -~]{0,128}".prop_map(|text| Phc::new(&text).expect("short"));
    let words = (one_of(SessionEnd::ALL), any::<(bool, bool)>(), any::<u32>(), any::<String>());
    (0..12, (text(), text(), text()), (roles(), roles()), phc, (words, text())).prop_map(|parts| {
        let (which, (user, full_name, session), (roles, roles_before), phc, ((end, flags, failures, reason), name)) =
            parts;
        let (is_enabled, was_enabled) = flags;
        match which {
            0 => Fact::UserAdded { user, full_name, roles },
            1 => Fact::UserChanged { user, roles_before, roles, was_enabled, is_enabled, reason },
            2 => Fact::CredentialSet { user, phc, must_change: is_enabled },
            3 => Fact::LoginFailed { user: is_enabled.then_some(user), door: Door::Local, failures },
            4 => Fact::LoginLocked { user, lock_s: failures },
            5 => Fact::LoginUnlocked { user },
            6 => Fact::LoggedIn { user, session },
            7 => Fact::ConfigApproved { config_sha256: session, before: was_enabled.then_some(session) },
            8 => Fact::UserRecovered { user, reason },
            9 => Fact::SignatureRefused { user, action: Signable::AuditReview, reason: name },
            10 => {
                let (from_seq, to_seq) = (u64::from(failures), u64::from(failures) + 7);
                Fact::AuditReviewed { review: Review { from_seq, to_seq, exceptions: failures, sha256: session } }
            }
            _ => Fact::LoggedOut { user, session, end },
        }
    })
}

pub(crate) fn text<const N: usize>() -> impl Strategy<Value = Text<N>> {
    any::<String>().prop_map(|long| {
        let short: String = long
            .chars()
            .scan(0, |bytes, found| Some((found, add(bytes, found))))
            .take_while(|(_, bytes)| *bytes <= N)
            .map(|(found, _)| found)
            .collect();
        Text::new(&short).expect("cut to N bytes")
    })
}

fn add(bytes: &mut usize, found: char) -> usize {
    *bytes += found.len_utf8();
    *bytes
}

fn name() -> impl Strategy<Value = Name> {
    prop_oneof![Just("camera"), Just("p"), Just("Rejector-2")].prop_map(|text| Text::new(text).expect("short"))
}

pub(crate) fn serial() -> impl Strategy<Value = SerialNumber> {
    CSET_82.prop_map(|text| SerialNumber::new(&text).expect("of CSET 82"))
}

pub(crate) fn sscc() -> impl Strategy<Value = Sscc> {
    (0_u8..10, 0_u64..10_000_000_000)
        .prop_map(|(extension, reference)| Sscc::build(extension, "030001", reference).expect("10 digits of reference"))
}

fn serials() -> impl Strategy<Value = Vec<SerialNumber>> {
    vec(serial(), 0..6)
}

fn sheet() -> impl Strategy<Value = BatchSheet> {
    let expiry = (1900_u16..=9999, 1_u8..=12, 0_u8..=28);
    let range = (0_u8..10, any::<u64>(), any::<u64>());
    let gtin = prop_oneof![Just("00300010123455"), Just("10300010123452"), Just("09521234543213")];
    let named = (name(), text()).prop_map(|(station, recipe)| StationRecipe { station, recipe });
    let sheet = (text(), gtin, CSET_82, expiry, 6_u8..=12, any::<(u16, u16)>(), range, vec(named, 0..3));
    sheet.prop_map(|parts| {
        let (batch, gtin, lot, (year, month, day), length, pack, (extension, first, last), recipes) = parts;
        BatchSheet {
            batch,
            gtin: Gtin::new(gtin).expect("a good GTIN"),
            lot: Lot::new(&lot).expect("of CSET 82"),
            expiry: Expiry::new(year, month, day).expect("a day of every month"),
            gcp_length: GcpLength::new(length).expect("6 to 12"),
            pack: PackSpec { case_capacity: pack.0, pallet_capacity: pack.1 },
            sscc: SsccRange { extension, prefix: Text::new("030001").expect("short"), first, last },
            recipes,
        }
    })
}

fn result() -> impl Strategy<Value = ResultKey> {
    (name(), any::<u32>(), any::<Option<u64>>(), any::<Option<u64>>())
        .prop_map(|(station, epoch, seq, track)| ResultKey { station, epoch, seq, track })
}

fn track() -> impl Strategy<Value = TrackKey> {
    (name(), any::<u32>(), any::<u64>(), any::<Option<u64>>())
        .prop_map(|(station, epoch, track, inspection)| TrackKey { station, epoch, track, inspection })
}

fn request() -> impl Strategy<Value = RequestKey> {
    (name(), any::<u32>(), any::<u64>(), any::<u64>()).prop_map(|(station, epoch, seq, container)| RequestKey {
        station,
        epoch,
        seq,
        container,
    })
}

fn one_of<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    proptest::sample::select(all)
}

fn difference() -> impl Strategy<Value = Difference> {
    (0..8, any::<u32>(), any::<u32>()).prop_map(|(which, count, confirmed)| match which {
        0 => Difference::Unaccounted(count),
        1 => Difference::Loose(count),
        2 => Difference::InTransit(count),
        3 => Difference::InBuffer(count),
        4 => Difference::OpenContainers(count),
        5 => Difference::UnresolvedRejects(count),
        6 => Difference::PartialContainers(count),
        _ => Difference::BinDiffers { counted: count, confirmed },
    })
}

fn refuse_reason() -> impl Strategy<Value = RefuseReason> {
    (0..18, any::<u32>(), any::<u32>(), sscc()).prop_map(|(which, slot, want, parent)| match which {
        0 => RefuseReason::NoBatch,
        1 => RefuseReason::NotGood,
        2 => RefuseReason::LevelAbsent,
        3 => RefuseReason::Short { have: slot, want },
        4 => RefuseReason::Over { have: slot, want },
        5 => RefuseReason::CountDiffers { counted: slot, listed: want },
        6 => RefuseReason::MissingChild { slot },
        7 => RefuseReason::MalformedChild { slot },
        8 => RefuseReason::ForeignChild { slot },
        9 => RefuseReason::UnknownChild { slot },
        10 => RefuseReason::RepeatedChild { slot },
        11 => RefuseReason::UnfitChild { slot },
        12 => RefuseReason::PackedChild { slot, parent },
        13 => RefuseReason::NoSscc,
        14 => RefuseReason::NotSealed,
        15 => RefuseReason::LabelMissing,
        16 => RefuseReason::LabelDiffers,
        _ => RefuseReason::OnHold,
    })
}

fn children() -> impl Strategy<Value = Vec<Child>> {
    vec(prop_oneof![serial().prop_map(Child::Unit), sscc().prop_map(Child::Container)], 0..6)
}

fn description() -> impl Strategy<Value = Description> {
    let at = || (name(), any::<String>()).prop_map(|(of, read_point)| ReadPoint { of, read_point });
    (any::<String>(), any::<i64>(), vec(at(), 0..4), vec(at(), 0..3)).prop_map(
        |(biz_location, offset_minutes, stations, levels)| Description {
            biz_location,
            offset_minutes,
            stations,
            levels,
        },
    )
}

fn message() -> impl Strategy<Value = MessageNumber> {
    (name(), any::<u64>()).prop_map(|(stream, seq)| MessageNumber { stream, seq })
}

fn line_fact() -> impl Strategy<Value = Fact> {
    let flaw = (one_of(Tag::ALL), text()).prop_map(|(tag, what)| TagFlaw { tag, what });
    let cause = prop_oneof![
        one_of(&[LostCause::Device, LostCause::Heartbeat, LostCause::Foreign]),
        option::of(flaw).prop_map(LostCause::Quality),
    ];
    prop_oneof![
        (text(), text(), any::<bool>()).prop_map(|(version, config_sha256, clean)| Fact::LineStarted {
            version,
            config_sha256,
            clean
        }),
        Just(Fact::LineStopped),
        (text(), any::<String>()).prop_map(|(backup_sha256, reason)| Fact::StoreRestored { backup_sha256, reason }),
        (sheet(), serials()).prop_map(|(sheet, serials)| Fact::SerialsDeclared { gtin: sheet.gtin, serials }),
        (any::<u32>(), serials()).prop_map(|(first_index, serials)| Fact::SerialsRetired { first_index, serials }),
        (vec(message(), 0..4), vec(message(), 0..4))
            .prop_map(|(through, kept)| Fact::MessagesExpired { gone: Gone { through, kept } }),
        (message(), any::<String>()).prop_map(|(message, reason)| Fact::MessageGivenUp { message, reason }),
        description().prop_map(|description| Fact::LineDescribed { description: Box::new(description) }),
        (name(), one_of(StationKind::ALL), any::<u32>(), any::<u32>(), any::<bool>()).prop_map(
            |(station, kind, device_epoch, epoch, reset)| Fact::StationJoined {
                station,
                kind,
                device_epoch,
                epoch,
                reset
            }
        ),
        (name(), cause).prop_map(|(station, cause)| Fact::StationLost { station, cause }),
        (name(), any::<i64>()).prop_map(|(station, code)| Fact::StationFaulted { station, code }),
        name().prop_map(|station| Fact::BufferDoubted { station }),
        (name(), option::of(text())).prop_map(|(station, recipe)| Fact::RecipeFound { station, recipe }),
        (any::<u32>(), one_of(AlarmKind::ALL), option::of(name()), any::<String>())
            .prop_map(|(alarm, kind, station, detail)| Fact::AlarmRaised { alarm, kind, station, detail }),
        any::<u32>().prop_map(|alarm| Fact::AlarmAcknowledged { alarm }),
        one_of(ClockState::ALL).prop_map(|clock| Fact::ClockFound { clock }),
        any::<(i64, i64)>().prop_map(|(from_us, to_us)| Fact::ClockStepped { from_us, to_us }),
        any::<u64>().prop_map(|paused_us| Fact::LinePaused { paused_us }),
        (result(), any::<u64>(), text(), any::<u64>(), text()).prop_map(
            |(result, inspection, sha256, bytes, media)| Fact::PictureStored {
                picture: Picture { result, inspection, sha256, bytes, media }
            }
        ),
        vec(text(), 0..4).prop_map(|pictures| Fact::PicturesRemoved { pictures }),
        (text(), text(), option::of(text()), option::of(text())).prop_map(
            |(key_id, public_key, replaces, signature)| Fact::KeyAnnounced {
                key: NewKey { key_id, public_key, replaces, signature }
            }
        ),
        (any::<u32>(), option::of(text()), any::<Option<u64>>(), any::<Option<u64>>()).prop_map(
            |(epoch, lost_store, lost_from, lost_to)| Fact::EpochRaised {
                begun: NewEpoch { epoch, lost_store, lost_from, lost_to }
            }
        ),
    ]
}

fn batch_fact() -> impl Strategy<Value = Fact> {
    let counts = any::<(u32, u32, u32)>().prop_map(|(received, pallets_released, sampled)| Counts {
        received,
        pallets_released,
        sampled,
        ..Counts::default()
    });
    prop_oneof![
        (sheet(), any::<u32>(), text()).prop_map(|(sheet, serial_count, serials_sha256)| Fact::BatchLoaded {
            sheet,
            serial_count,
            serials_sha256
        }),
        any::<(Option<u64>, Option<u64>)>().prop_map(|(bin, track)| Fact::BatchStarted { bin, track }),
        any::<Option<u64>>().prop_map(|bin| Fact::BatchStopped { bin }),
        vec((".{0,9}", one_of(ItemAnswer::ALL)).prop_map(|(item, answer)| ClearedItem { item, answer }), 0..4)
            .prop_map(|items| Fact::LineCleared { items }),
        Just(Fact::BatchPurgeStarted),
        (sheet(), any::<u64>(), ".{0,20}").prop_map(|(sheet, opened_seq, reason)| Fact::BatchReopened {
            sheet,
            opened_seq,
            reason
        }),
        any::<Option<u64>>().prop_map(|bin| Fact::BatchPurged { bin }),
        ".{0,20}".prop_map(|reason| Fact::BatchHeld { reason }),
        option::of(".{0,20}").prop_map(|reason| Fact::BatchResumed { reason }),
        (any::<u64>(), vec(difference(), 0..5), ".{0,20}").prop_map(|(opened_seq, differences, reason)| {
            Fact::BatchAborted { opened_seq, counts: Box::default(), differences, reason }
        }),
        vec(difference(), 0..5).prop_map(|differences| Fact::BatchCloseRefused { differences }),
        (any::<u64>(), counts)
            .prop_map(|(opened_seq, counts)| Fact::BatchClosed { opened_seq, counts: Box::new(counts) }),
    ]
}

fn serials_fact() -> impl Strategy<Value = Fact> {
    let cause = one_of(&[InvalidCause::BufferLost, InvalidCause::BatchStopped, InvalidCause::BufferDoubted]);
    let run = (name(), any::<u32>(), any::<u64>(), any::<u32>(), serials());
    (0..3, run, cause).prop_map(|(which, (station, epoch, from_seq, first_index, serials), cause)| match which {
        0 => Fact::SerialsAllocated { station, epoch, from_seq, first_index, serials },
        1 => Fact::SerialsEncoded { station, epoch, from_seq, first_index, serials },
        _ => Fact::SerialsInvalidated { station, cause, first_index, serials },
    })
}

fn unit_fact() -> impl Strategy<Value = Fact> {
    let failed = (result(), option::of(serial()), vec(one_of(FailReason::ALL), 0..5), any::<Vec<u8>>());
    prop_oneof![
        (result(), serial(), any::<Option<i64>>()).prop_map(|(result, serial, grade_milli)| Fact::Verified {
            result,
            serial,
            grade_milli
        }),
        (failed, any::<Option<i64>>()).prop_map(|((result, serial, reasons, code), grade_milli)| Fact::Failed {
            result,
            serial,
            reasons,
            code,
            grade_milli
        }),
        result().prop_map(|result| Fact::Missed { result }),
    ]
}

fn track_fact() -> impl Strategy<Value = Fact> {
    let numbers = (name(), any::<u32>(), any::<u64>(), any::<u64>());
    (0..9, track(), serial(), any::<bool>(), numbers).prop_map(|(which, track, serial, known, numbers)| {
        let (station, epoch, from, to) = numbers;
        match which {
            0 => Fact::PassExpired { track, serial },
            1 => Fact::Commissioned { track, serial },
            2 => Fact::RejectConfirmed { track, serial: known.then_some(serial) },
            3 => Fact::RejectInferred { track, serial },
            4 => Fact::RejectMissing { track },
            5 => Fact::UnexpectedPass { track },
            6 => Fact::PhantomReject { station, epoch, count: from },
            7 => Fact::UnitRemoved { track },
            _ => Fact::EndsMissed { station, epoch, from, to },
        }
    })
}

fn hands_fact() -> impl Strategy<Value = Fact> {
    let why = (one_of(HandReason::ALL), any::<Option<String>>()).prop_map(|(reason, note)| Why { reason, note });
    let words = (one_of(PackLevel::ALL), one_of(Withdrawal::ALL), option::of(one_of(Again::ALL)));
    (0..5, words, (serial(), sscc()), any::<(bool, bool, u32)>(), children(), why).prop_map(|parts| {
        let (which, (level, withdrawal, again), (serial, container), (told, is_one, copy), children, why) = parts;
        match which {
            0 => Fact::UnitWithdrawn { serial, withdrawal, why },
            1 => {
                let taken = is_one.then_some(Child::Unit(serial));
                Fact::ContainerReopened { level, container, told, taken, children, why }
            }
            2 => Fact::ContainerDissolved { level, container, told, why },
            3 => Fact::LabelVoided { level, container, copy, why },
            _ => Fact::Released { level, container, token: copy, children, again },
        }
    })
}

fn container_fact() -> impl Strategy<Value = Fact> {
    let gate = one_of(&[Gate::Seal, Gate::Release]);
    let result = one_of(&[CloseEnd::Done, CloseEnd::MachineFailure, CloseEnd::Expired]);
    let words = (gate, one_of(PackLevel::ALL), result, option::of(sscc()));
    let lists = (children(), vec(refuse_reason(), 0..5));
    (0..9, request(), words, sscc(), any::<(u32, u32)>(), lists).prop_map(|parts| {
        let (which, request, (gate, level, result, some), container, (token, ttl_ms), (children, reasons)) = parts;
        match which {
            0 => Fact::Packed { request, level, container, children },
            1 => Fact::CloseGranted { request, gate, container, token, ttl_ms },
            2 => Fact::CloseRefused { request, gate, level, container: some, reasons },
            3 => Fact::PermitAcked { container, token },
            4 => Fact::Closed { level, container, token, children },
            5 => Fact::Released { level, container, token, children, again: None },
            6 => Fact::CloseFailed { gate, container, token, result },
            7 => Fact::CloseUnresolved { gate, container, token },
            _ => Fact::GateForced { station: request.station, epoch: request.epoch, container: some },
        }
    })
}
