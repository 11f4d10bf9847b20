//! One fact of each kind, the source of the golden corpus. The order is that of the table of kinds.

use crate::domain::gs1::{Expiry, GcpLength, Gtin, Lot, SerialNumber, Sscc};
use crate::domain::pack::{Gate, PackLevel};
use crate::domain::quality::TagFlaw;
use crate::domain::tag::{StationKind, Tag};
use crate::domain::text::{BatchId, Name, Text};
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
use crate::engine::signing::{Meaning, Signable, Signature};

pub(crate) fn name(text: &str) -> Name {
    Text::new(text).expect("a short name")
}

pub(crate) fn serial(text: &str) -> SerialNumber {
    SerialNumber::new(text).expect("a good serial number")
}

pub(crate) fn sscc(reference: u64) -> Sscc {
    Sscc::build(0, "030001", reference).expect("a good SSCC")
}

pub(crate) fn sheet() -> BatchSheet {
    BatchSheet {
        batch: BatchId::new("PO-2026-0417").expect("a short batch"),
        gtin: Gtin::new("00300010123455").expect("a good GTIN"),
        lot: Lot::new("L7").expect("a good lot"),
        expiry: Expiry::parse_iso("2027-03-00").expect("a good date"),
        gcp_length: GcpLength::new(6).expect("6 to 12"),
        pack: PackSpec { case_capacity: 10, pallet_capacity: 20 },
        sscc: SsccRange { extension: 0, prefix: Text::new("030001").expect("short"), first: 1, last: 1000 },
        recipes: Vec::new(),
    }
}

pub(crate) fn counts() -> Counts {
    Counts {
        received: 1,
        unused: 2,
        burned: 3,
        printed: 4,
        commissioned: 5,
        scrapped: 6,
        unaccounted: 7,
        packed: 8,
        loose: 9,
        triggers: 10,
        pass: 11,
        fail: 12,
        no_read: 13,
        missed: 14,
        rejects_commanded: 15,
        rejects_confirmed: 16,
        rejects_resolved: 17,
        bin: 18,
        phantom: 19,
        cases_released: 20,
        pallets_released: 21,
        ..Counts::default()
    }
}

pub(crate) fn result() -> ResultKey {
    ResultKey { station: name("camera"), epoch: 3, seq: Some(123_456), track: Some(123_460) }
}

pub(crate) fn track() -> TrackKey {
    TrackKey { station: name("rejector"), epoch: 2, track: 123_460, inspection: Some(1_234_567) }
}

pub(crate) fn request() -> RequestKey {
    RequestKey { station: name("packer"), epoch: 1, seq: 77, container: 40 }
}

pub(crate) fn facts() -> Vec<Fact> {
    let mut facts = line_facts();
    facts.extend(batch_facts());
    facts.extend(unit_facts());
    facts.extend(container_facts());
    facts.extend(clock_facts());
    facts.extend(proof_facts());
    facts.extend(upkeep_facts());
    facts.push(loaded_with_recipes());
    facts.extend(people_facts());
    facts.extend(life_facts());
    facts.extend(hands_facts());
    facts.push(Fact::MessageGivenUp { message: message("epcis", 41), reason: "sent by \"mail\"".to_owned() });
    facts.push(Fact::LoginFailed { user: None, door: Door::Http, failures: 17 });
    facts
}

/// What orders could name later than the first of them.
fn loaded_with_recipes() -> Fact {
    let named = |station, recipe| StationRecipe { station: name(station), recipe: Text::new(recipe).expect("short") };
    let recipes = vec![named("camera", "R-17"), named("packer", "4711 \u{e4}")];
    let serials_sha256 = Text::new(&"c0".repeat(32)).expect("64 characters");
    Fact::BatchLoaded { sheet: BatchSheet { recipes, ..sheet() }, serial_count: 2000, serials_sha256 }
}

fn clock_facts() -> Vec<Fact> {
    vec![
        Fact::ClockFound { clock: ClockState::Unsynchronised },
        Fact::ClockStepped { from_us: 1_780_315_200_000_000, to_us: -1 },
        Fact::LinePaused { paused_us: 30_000_001 },
    ]
}

/// What keeps the journal and its messages reproducible.
fn upkeep_facts() -> Vec<Fact> {
    let at = |of: &str, read_point: &str| ReadPoint { of: name(of), read_point: read_point.to_owned() };
    let description = Description {
        biz_location: "urn:epc:id:sgln:9506000.12345.0".to_owned(),
        offset_minutes: -330,
        stations: vec![at("camera", "urn:epc:id:sgln:9506000.12345.line1")],
        levels: vec![at("case", "urn:epc:id:sgln:9506000.12345.pack")],
    };
    let serials = vec![serial("A1"), serial("a+b/c")];
    let flaw = TagFlaw::new(Tag::Seq, "bad 0x80310000 (BadNoCommunication)");
    vec![
        Fact::LineDescribed { description: Box::new(description) },
        Fact::StoreRestored {
            backup_sha256: Text::new(&"b0".repeat(32)).expect("64 characters"),
            reason: "disk".to_owned(),
        },
        Fact::SerialsDeclared { gtin: sheet().gtin, serials: serials.clone() },
        Fact::SerialsRetired { first_index: 4, serials },
        Fact::RecipeFound { station: name("camera"), recipe: Text::new("4711 v3") },
        Fact::UnitRemoved { track: track() },
        Fact::BufferDoubted { station: name("printer") },
        Fact::MessagesExpired {
            gone: Gone { through: vec![message("epcis", 9007), message("batch", 3)], kept: vec![message("epcis", 41)] },
        },
        Fact::PictureStored { picture: picture() },
        Fact::PicturesRemoved { pictures: vec![picture().sha256, picture().sha256] },
        Fact::StationLost { station: name("camera"), cause: LostCause::Quality(None) },
        Fact::StationLost { station: name("camera"), cause: LostCause::Quality(Some(flaw)) },
    ]
}

fn people_facts() -> Vec<Fact> {
    let user = Text::new("m.meier").expect("short");
    let session = Text::new(&"5e".repeat(32)).expect("64 characters");
    let roles: Roles = [Role::Operator, Role::Quality].into_iter().collect();
    vec![
        Fact::UserAdded { user, full_name: Text::new("M\u{e9}lanie \"M\" Meier").expect("short"), roles },
        Fact::UserChanged {
            user,
            roles_before: roles,
            roles: [Role::Admin].into_iter().collect(),
            was_enabled: true,
            is_enabled: false,
            reason: "left".to_owned(),
        },
        Fact::CredentialSet { user, phc: phc(), must_change: true },
        Fact::LoginFailed { user: Some(user), door: Door::Local, failures: 4 },
        Fact::LoginLocked { user, lock_s: 900 },
        Fact::LoginUnlocked { user },
        Fact::LoggedIn { user, session },
        Fact::LoggedOut { user, session, end: SessionEnd::Idle },
        Fact::Signed { signature: Box::new(signature()) },
        Fact::ConfigApproved {
            config_sha256: Text::new(&"5a".repeat(32)).expect("64 characters"),
            before: Text::new(&"4b".repeat(32)),
        },
        Fact::UserRecovered { user, reason: "forgotten".to_owned() },
        Fact::SignatureRefused { user, action: Signable::VarianceClose, reason: name("unknown_challenge") },
        Fact::AuditReviewed { review: review() },
    ]
}

/// How a batch leaves the line other than by its stop and its close.
fn life_facts() -> Vec<Fact> {
    let differences = vec![Difference::Loose(2), Difference::InTransit(1)];
    let item = |item: &str, answer| ClearedItem { item: item.to_owned(), answer };
    let items = vec![item("no cartons", ItemAnswer::Done), item("bin \"2\"", ItemAnswer::NotApplicable)];
    vec![
        Fact::BatchPurgeStarted,
        Fact::BatchPurged { bin: Some(8) },
        Fact::BatchHeld { reason: "smell of \u{e4}ther \"2\"".to_owned() },
        Fact::BatchResumed { reason: None },
        Fact::BatchResumed { reason: Some("checked".to_owned()) },
        Fact::BatchAborted { opened_seq: 17, counts: Box::new(counts()), differences, reason: "wrong foil".to_owned() },
        Fact::LineCleared { items },
        Fact::BatchReopened { sheet: sheet(), opened_seq: 17, reason: "recount".to_owned() },
    ]
}

fn review() -> Review {
    let sha256 = Text::new(&"e7".repeat(32)).expect("64 characters");
    Review { from_seq: 1, to_seq: 1_234_567, exceptions: 12, sha256 }
}

fn hands_facts() -> Vec<Fact> {
    let (container, level) = (sscc(41), PackLevel::Case);
    let why = Why { reason: HandReason::Damaged, note: None };
    let noted = Why { reason: HandReason::Other, note: Some("fell \"off\"".to_owned()) };
    let unit = Child::Unit(serial("a+b/c"));
    let children = vec![Child::Unit(serial("A1")), unit];
    let by_hand = Counts { label_sampled: 22, sampled: 23, inactive: 24, destroyed: 25, ..counts() };
    vec![
        Fact::UnitWithdrawn { serial: serial("a+b/c"), withdrawal: Withdrawal::Sampled, why: noted.clone() },
        Fact::UnitWithdrawn { serial: serial("A1"), withdrawal: Withdrawal::LabelScrapped, why: why.clone() },
        Fact::ContainerReopened {
            level,
            container,
            told: true,
            taken: Some(unit),
            children: children.clone(),
            why: why.clone(),
        },
        Fact::ContainerReopened { level, container, told: false, taken: None, children: children.clone(), why: noted },
        Fact::ContainerDissolved { level, container, told: true, why: why.clone() },
        Fact::LabelVoided { level: PackLevel::Pallet, container, copy: 2, why },
        Fact::Released { level, container, token: 901, children, again: Some(Again::Packed) },
        Fact::BatchClosed { opened_seq: 17, counts: Box::new(by_hand) },
    ]
}

fn signature() -> Signature {
    Signature {
        user: Text::new("m.meier").expect("short"),
        full_name: Text::new("M. Meier").expect("short"),
        meaning: Meaning::Verified,
        action: Signable::VarianceClose,
        subject_hash: Text::new(&"a1".repeat(32)).expect("64 characters"),
        challenge: Text::new(&"c2".repeat(32)).expect("64 characters"),
        offset_minutes: 60,
        clock: ClockState::Synchronised,
    }
}

pub(crate) fn phc() -> Phc {
    Phc::new("$argon2id$v=19$m=47104,t=1,p=1$c2VhbGdhdGVzYWx0MDAwMQ$bm90IGEgaGFzaCBvZiBhbnkgcGFzc3dvcmQgYXQgYWxs")
        .expect("short")
}

fn message(stream: &str, seq: u64) -> MessageNumber {
    MessageNumber { stream: name(stream), seq }
}

fn picture() -> Picture {
    Picture {
        result: result(),
        inspection: 1_234_567,
        sha256: Text::new(&"d1".repeat(32)).expect("64 characters"),
        bytes: 48_120,
        media: Text::new("image/png").expect("short"),
    }
}

fn line_facts() -> Vec<Fact> {
    let station = name("camera");
    let hash = Text::new(&"5a".repeat(32)).expect("64 characters");
    let detail = "track 17: \"A1\"\\\n\u{e9}".to_owned();
    vec![
        Fact::LineStarted { version: Text::new("0.1.0").expect("short"), config_sha256: hash, clean: true },
        Fact::LineStopped,
        Fact::StationJoined { station, kind: StationKind::Camera, device_epoch: 9, epoch: 3, reset: false },
        Fact::StationLost { station, cause: LostCause::Heartbeat },
        Fact::StationFaulted { station, code: -2 },
        Fact::AlarmRaised { alarm: 4, kind: AlarmKind::DuplicateSerial, station: Some(station), detail },
        Fact::AlarmAcknowledged { alarm: 4 },
    ]
}

fn batch_facts() -> Vec<Fact> {
    let printer = name("printer");
    let serials = vec![serial("A1"), serial("'OR'1'='1'--")];
    let serials_sha256 = Text::new(&"c0".repeat(32)).expect("64 characters");
    let differences = vec![Difference::Unaccounted(3), Difference::BinDiffers { counted: 5, confirmed: 4 }];
    vec![
        Fact::BatchLoaded { sheet: sheet(), serial_count: 2000, serials_sha256 },
        Fact::BatchStarted { bin: Some(7), track: Some(123_000) },
        Fact::BatchStopped { bin: None },
        Fact::BatchCloseRefused { differences },
        Fact::BatchClosed { opened_seq: 17, counts: Box::new(counts()) },
        Fact::SerialsAllocated { station: printer, epoch: 1, from_seq: 5, first_index: 4, serials: serials.clone() },
        Fact::SerialsEncoded { station: printer, epoch: 1, from_seq: 5, first_index: 4, serials: serials.clone() },
        Fact::SerialsInvalidated { station: printer, cause: InvalidCause::BufferLost, first_index: 4, serials },
    ]
}

fn unit_facts() -> Vec<Fact> {
    let unit = serial("0123456789ABCD");
    let (station, epoch) = (name("rejector"), 2);
    let code = b"]d20100300010123455\x1d21\xffB%".to_vec();
    let reasons = vec![FailReason::Malformed, FailReason::LowGrade];
    vec![
        Fact::Verified { result: result(), serial: unit, grade_milli: Some(3500) },
        Fact::Failed { result: result(), serial: Some(unit), reasons, code, grade_milli: Some(900) },
        Fact::Missed { result: ResultKey { seq: None, ..result() } },
        Fact::PassExpired { track: track(), serial: unit },
        Fact::Commissioned { track: track(), serial: unit },
        Fact::RejectConfirmed { track: track(), serial: None },
        Fact::RejectInferred { track: track(), serial: unit },
        Fact::RejectMissing { track: track() },
        Fact::UnexpectedPass { track: TrackKey { inspection: None, ..track() } },
        Fact::PhantomReject { station, epoch, count: 2 },
        Fact::EndsMissed { station, epoch, from: 100, to: 120 },
    ]
}

fn container_facts() -> Vec<Fact> {
    let (container, token, gate) = (sscc(41), 900, Gate::Seal);
    let children = vec![Child::Unit(serial("A1")), Child::Unit(serial("a+b/c"))];
    let cases = vec![Child::Container(sscc(1)), Child::Container(sscc(2))];
    let (case, pallet) = (PackLevel::Case, PackLevel::Pallet);
    let reasons = vec![
        RefuseReason::Short { have: 9, want: 10 },
        RefuseReason::PackedChild { slot: 3, parent: container },
        RefuseReason::NoSscc,
    ];
    vec![
        Fact::Packed { request: request(), level: case, container, children: children.clone() },
        Fact::CloseGranted { request: request(), gate, container, token, ttl_ms: 3000 },
        Fact::CloseRefused { request: request(), gate, level: case, container: None, reasons },
        Fact::PermitAcked { container, token },
        Fact::Closed { level: case, container, token, children },
        Fact::Released { level: pallet, container, token, children: cases, again: None },
        Fact::CloseFailed { gate, container, token, result: CloseEnd::MachineFailure },
        Fact::CloseUnresolved { gate: Gate::Release, container, token },
        Fact::GateForced { station: name("packer"), epoch: 1, container: Some(container) },
    ]
}

fn proof_facts() -> Vec<Fact> {
    let key = NewKey {
        key_id: Text::new("1a2b3c4d").expect("8 digits"),
        public_key: Text::new("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=").expect("44 characters"),
        replaces: Text::new("00ff00ff"),
        signature: Text::new(&["A".repeat(86), "==".to_owned()].concat()),
    };
    let store = Text::new("3f1c4e0a-5b6d-4c7e-8f90-a1b2c3d4e5f6");
    vec![
        Fact::KeyAnnounced { key },
        Fact::EpochRaised {
            begun: NewEpoch { epoch: 2, lost_store: store, lost_from: Some(901), lost_to: Some(1000) },
        },
    ]
}
