//! How each type stands in a body: written, read back, and described. The order of the calls is the order of the bytes.
//!
//! Keys of stations and tracks lie flat in the body, since every fact of a unit carries one. An absent value has no field.

use crate::domain::gs1::{Expiry, GcpLength, Gtin, Lot, SerialNumber, Sscc};
use crate::domain::pack::{Gate, PackLevel};
use crate::domain::tag::StationKind;
use crate::domain::text::Text;
use crate::domain::time::ClockState;
use crate::engine::fact::{
    Child, Counts, Description, Gone, InvalidCause, MessageNumber, NewEpoch, NewKey, Picture, PictureDigest, ReadPoint,
    RequestKey, ResultKey, TrackKey,
};
use crate::engine::input::{BatchSheet, CloseEnd, LostCause, PackSpec, SsccRange};
use crate::engine::reason::{AlarmKind, Difference, FailReason, RefuseReason};
use crate::engine::signing::Signature;
use crate::wire::fact::device_text;
use crate::wire::fact::json::{Flaw, ObjectReader, ObjectWriter};
use crate::wire::schema::{self, Shape};
use crate::wire::text;

/// A type that stands in bodies. `key` is empty for one whose parts lie flat in the body.
pub(super) trait Field: Sized {
    fn write(&self, out: &mut ObjectWriter, key: &'static str);
    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw>;
    fn describe(shape: &mut Shape, key: &'static str);
}

/// A type that is one text: its text, the way back, and its schema. An optional one may be absent.
macro_rules! text_fields {
    ($($kind:ty { $show:expr, $parse:expr, $schema:expr })+) => {$(
        impl Field for $kind {
            fn write(&self, out: &mut ObjectWriter, key: &'static str) {
                out.text(key, $show(self));
            }

            fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
                let text = body.text(key)?;
                $parse(&text).ok_or_else(|| body.unfit(&text))
            }

            fn describe(shape: &mut Shape, key: &'static str) {
                shape.required(key, $schema);
            }
        }
    )+};
}

text_fields! {
    Gtin { Gtin::as_str, gtin, schema::digits(14, 14) }
    Sscc { Sscc::as_str, sscc, schema::digits(18, 18) }
    SerialNumber { SerialNumber::as_str, serial, schema::cset82() }
    Lot { Lot::as_str, |text: &str| Lot::new(text).ok(), schema::cset82() }
    StationKind { |kind: &StationKind| kind.name(), StationKind::parse, schema::word(StationKind::ALL, |kind| kind.name()) }
    PackLevel { |level: &PackLevel| level.name(), PackLevel::parse, schema::word(PackLevel::ALL, |level| level.name()) }
    Gate { |gate: &Gate| gate.name(), Gate::parse, schema::word(&[Gate::Seal, Gate::Release], |gate| gate.name()) }
    AlarmKind { |kind: &AlarmKind| kind.name(), AlarmKind::parse, schema::word(AlarmKind::ALL, |kind| kind.name()) }
    ClockState { |state: &ClockState| state.name(), ClockState::parse, schema::word(ClockState::ALL, |state| state.name()) }
    LostCause { lost_cause, |text: &str| find(LOST_CAUSES, lost_cause, text), schema::word(LOST_CAUSES, lost_cause) }
    CloseEnd { close_end, |text: &str| find(CLOSE_ENDS, close_end, text), schema::word(CLOSE_ENDS, close_end) }
    InvalidCause { invalid_cause, |text: &str| find(INVALID_CAUSES, invalid_cause, text), schema::word(INVALID_CAUSES, invalid_cause) }
    String { String::as_str, |text: &str| Some(text.to_owned()), schema::text() }
}

impl<const N: usize> Field for Text<N> {
    fn write(&self, out: &mut ObjectWriter, key: &'static str) {
        out.text(key, self.as_str());
    }

    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
        let text = body.text(key)?;
        Text::new(&text).ok_or_else(|| body.unfit(&text))
    }

    fn describe(shape: &mut Shape, key: &'static str) {
        shape.required(key, schema::text_of_at_most(N));
    }
}

macro_rules! count_fields {
    ($($kind:ty),+) => {$(
        impl Field for $kind {
            fn write(&self, out: &mut ObjectWriter, key: &'static str) {
                out.count(key, u64::from(*self));
            }

            fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
                body.count(key)
            }

            fn describe(shape: &mut Shape, key: &'static str) {
                shape.required(key, schema::count(u64::from(<$kind>::MAX)));
            }
        }
    )+};
}

count_fields!(u8, u16, u32, u64);

impl Field for i64 {
    fn write(&self, out: &mut ObjectWriter, key: &'static str) {
        out.signed(key, *self);
    }

    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
        body.signed(key)
    }

    fn describe(shape: &mut Shape, key: &'static str) {
        shape.required(key, schema::signed());
    }
}

impl Field for bool {
    fn write(&self, out: &mut ObjectWriter, key: &'static str) {
        out.flag(key, *self);
    }

    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
        body.flag(key)
    }

    fn describe(shape: &mut Shape, key: &'static str) {
        shape.required(key, schema::flag());
    }
}

impl<T: Field> Field for Option<T> {
    fn write(&self, out: &mut ObjectWriter, key: &'static str) {
        if let Some(value) = self {
            value.write(out, key);
        }
    }

    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
        match body.has(key) {
            true => T::read(body, key).map(Some),
            false => Ok(None),
        }
    }

    fn describe(shape: &mut Shape, key: &'static str) {
        T::describe(shape, key);
        shape.make_optional(key);
    }
}

impl<T: Field> Field for Box<T> {
    fn write(&self, out: &mut ObjectWriter, key: &'static str) {
        T::write(self, out, key);
    }

    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
        T::read(body, key).map(Box::new)
    }

    fn describe(shape: &mut Shape, key: &'static str) {
        T::describe(shape, key);
    }
}

/// Bytes of a device.
impl Field for Vec<u8> {
    fn write(&self, out: &mut ObjectWriter, key: &'static str) {
        out.text(key, &device_text::encode(self));
    }

    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
        let text = body.text(key)?;
        device_text::decode(&text).ok_or_else(|| body.unfit(&text))
    }

    fn describe(shape: &mut Shape, key: &'static str) {
        shape.required(key, schema::device_text());
    }
}

impl Field for NewKey {
    fn write(&self, out: &mut ObjectWriter, _key: &'static str) {
        self.key_id.write(out, "key_id");
        self.public_key.write(out, "public_key");
        self.replaces.write(out, "replaces");
        self.signature.write(out, "signature");
    }

    fn read(body: &mut ObjectReader<'_>, _key: &'static str) -> Result<Self, Flaw> {
        Ok(Self {
            key_id: Field::read(body, "key_id")?,
            public_key: Field::read(body, "public_key")?,
            replaces: Field::read(body, "replaces")?,
            signature: Field::read(body, "signature")?,
        })
    }

    fn describe(shape: &mut Shape, _key: &'static str) {
        Text::<8>::describe(shape, "key_id");
        Text::<44>::describe(shape, "public_key");
        Option::<Text<8>>::describe(shape, "replaces");
        Option::<Text<88>>::describe(shape, "signature");
    }
}

impl Field for NewEpoch {
    fn write(&self, out: &mut ObjectWriter, _key: &'static str) {
        self.epoch.write(out, "epoch");
        self.lost_store.write(out, "lost_store");
        self.lost_from.write(out, "lost_from");
        self.lost_to.write(out, "lost_to");
    }

    fn read(body: &mut ObjectReader<'_>, _key: &'static str) -> Result<Self, Flaw> {
        Ok(Self {
            epoch: Field::read(body, "epoch")?,
            lost_store: Field::read(body, "lost_store")?,
            lost_from: Field::read(body, "lost_from")?,
            lost_to: Field::read(body, "lost_to")?,
        })
    }

    fn describe(shape: &mut Shape, _key: &'static str) {
        u32::describe(shape, "epoch");
        Option::<Text<36>>::describe(shape, "lost_store");
        Option::<u64>::describe(shape, "lost_from");
        Option::<u64>::describe(shape, "lost_to");
    }
}

impl Field for Vec<SerialNumber> {
    fn write(&self, out: &mut ObjectWriter, key: &'static str) {
        out.texts(key, self.iter().map(SerialNumber::as_str));
    }

    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
        body.texts(key, serial)
    }

    fn describe(shape: &mut Shape, key: &'static str) {
        shape.required(key, schema::list(schema::cset82()));
    }
}

impl Field for Vec<PictureDigest> {
    fn write(&self, out: &mut ObjectWriter, key: &'static str) {
        out.texts(key, self.iter().map(PictureDigest::as_str));
    }

    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
        body.texts(key, PictureDigest::new)
    }

    fn describe(shape: &mut Shape, key: &'static str) {
        shape.required(key, schema::list(schema::text_of_at_most(64)));
    }
}

impl Field for Vec<FailReason> {
    fn write(&self, out: &mut ObjectWriter, key: &'static str) {
        out.texts(key, self.iter().map(|reason| reason.name()));
    }

    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
        body.texts(key, FailReason::parse)
    }

    fn describe(shape: &mut Shape, key: &'static str) {
        let word = schema::word(FailReason::ALL, |reason| reason.name());
        shape.required(key, schema::list(word));
    }
}

/// Children as short element strings: `21` and the serial number of a unit of the batch, `00` and the SSCC of a container.
impl Field for Vec<Child> {
    fn write(&self, out: &mut ObjectWriter, key: &'static str) {
        let elements = self.iter().map(|child| match child {
            Child::Unit(serial) => ["21", serial.as_str()].concat(),
            Child::Container(sscc) => ["00", sscc.as_str()].concat(),
        });
        out.texts(key, elements);
    }

    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
        body.texts(key, |element| match element.split_at_checked(2)? {
            ("21", value) => serial(value).map(Child::Unit),
            ("00", value) => sscc(value).map(Child::Container),
            _ => None,
        })
    }

    fn describe(shape: &mut Shape, key: &'static str) {
        shape.required(key, schema::list(schema::child()));
    }
}

/// A struct as its fields in the order given: flat in the body where its key is empty, an object of its own elsewhere.
macro_rules! struct_fields {
    ($($kind:ident { $($field:ident $key:literal),+ $(,)? })+) => {$(
        impl Field for $kind {
            fn write(&self, out: &mut ObjectWriter, key: &'static str) {
                let parts = |out: &mut ObjectWriter| { $(self.$field.write(out, $key);)+ };
                if key.is_empty() { parts(out) } else { out.object(key, parts) }
            }

            fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
                let parts = |body: &mut ObjectReader<'_>| Ok(Self { $($field: Field::read(body, $key)?),+ });
                if key.is_empty() { parts(body) } else { body.object(key, parts) }
            }

            fn describe(shape: &mut Shape, key: &'static str) {
                let parts = |shape: &mut Shape| { $(describe_part(|whole: &Self| &whole.$field, shape, $key);)+ };
                if key.is_empty() { parts(shape) } else { shape.nested(key, parts) }
            }
        }
    )+};
}

/// Describes the type of a part without naming it.
fn describe_part<S, T: Field>(_part: impl Fn(&S) -> &T, shape: &mut Shape, key: &'static str) {
    T::describe(shape, key);
}

struct_fields! {
    ResultKey { station "station", epoch "epoch", seq "seq", track "track" }
    TrackKey { station "station", epoch "epoch", track "track", inspection "inspection" }
    RequestKey { station "station", epoch "epoch", seq "seq", container "container_count" }
    PackSpec { case_capacity "case_capacity", pallet_capacity "pallet_capacity" }
    BatchSheet {
        batch "batch", gtin "gtin", lot "lot", expiry "expiry", gcp_length "gcp_length",
        pack "", sscc "sscc",
    }
    Description {
        biz_location "biz_location", offset_minutes "offset_minutes", stations "stations", levels "levels",
    }
    Gone { through "through", kept "kept" }
    Picture { result "", inspection "inspection", sha256 "sha256", bytes "bytes", media "media_type" }
    Signature {
        user "user", full_name "full_name", meaning "meaning", action "action", subject_hash "subject_hash",
        challenge "challenge", offset_minutes "offset_minutes", clock "clock",
    }
    SsccRange { extension "extension", prefix "prefix", first "first", last "last" }
    Counts {
        received "received", unused "unused", burned "burned", printed "printed", commissioned "commissioned",
        scrapped "scrapped", unaccounted "unaccounted", packed "packed", loose "loose", triggers "triggers",
        pass "pass", fail "fail", no_read "no_read", missed "missed", rejects_commanded "rejects_commanded",
        rejects_confirmed "rejects_confirmed", rejects_resolved "rejects_resolved", bin "bin", phantom "phantom",
        cases_released "cases_released", pallets_released "pallets_released",
    }
}

impl Field for Vec<ReadPoint> {
    fn write(&self, out: &mut ObjectWriter, key: &'static str) {
        out.objects(key, self, |out, at| {
            out.text("of", at.of.as_str());
            out.text("read_point", &at.read_point);
        });
    }

    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
        body.objects(key, |body| {
            Ok(ReadPoint { of: Field::read(body, "of")?, read_point: Field::read(body, "read_point")? })
        })
    }

    fn describe(shape: &mut Shape, key: &'static str) {
        shape.required(key, schema::list(schema::read_point()));
    }
}

impl Field for Vec<MessageNumber> {
    fn write(&self, out: &mut ObjectWriter, key: &'static str) {
        out.objects(key, self, |out, at| {
            out.text("stream", at.stream.as_str());
            out.count("seq", at.seq);
        });
    }

    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
        body.objects(key, |body| Ok(MessageNumber { stream: Field::read(body, "stream")?, seq: body.count("seq")? }))
    }

    fn describe(shape: &mut Shape, key: &'static str) {
        shape.required(key, schema::list(schema::message_number()));
    }
}

impl Field for Expiry {
    fn write(&self, out: &mut ObjectWriter, key: &'static str) {
        let (year, month, day) = (self.year(), self.month(), self.day());
        out.text(key, &format!("{year:04}-{month:02}-{day:02}"));
    }

    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
        let text = body.text(key)?;
        let whole = Some(&*text).filter(|text| text.len() == 10);
        let expiry = whole.and_then(|text| Expiry::parse_iso(text).ok());
        expiry.ok_or_else(|| body.unfit(&text))
    }

    fn describe(shape: &mut Shape, key: &'static str) {
        shape.required(key, schema::expiry());
    }
}

impl Field for GcpLength {
    fn write(&self, out: &mut ObjectWriter, key: &'static str) {
        out.count(key, u64::from(self.get()));
    }

    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
        let length: u8 = body.count(key)?;
        GcpLength::new(length).map_err(|_| body.unfit(&length.to_string()))
    }

    fn describe(shape: &mut Shape, key: &'static str) {
        shape.required(key, schema::range(6, 12));
    }
}

impl Field for Vec<Difference> {
    fn write(&self, out: &mut ObjectWriter, key: &'static str) {
        out.objects(key, self, |out, difference| match difference {
            Difference::InBuffer(count)
            | Difference::Unaccounted(count)
            | Difference::Loose(count)
            | Difference::InTransit(count)
            | Difference::OpenContainers(count)
            | Difference::UnresolvedRejects(count)
            | Difference::PartialContainers(count) => {
                out.text("code", text::difference_code(difference));
                out.count("count", u64::from(*count));
            }
            Difference::BinDiffers { counted, confirmed } => {
                out.text("code", text::difference_code(difference));
                out.count("counted", u64::from(*counted));
                out.count("confirmed", u64::from(*confirmed));
            }
        });
    }

    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
        body.objects(key, |body| {
            let code = body.text("code")?;
            Ok(match &*code {
                "in_buffer" => Difference::InBuffer(body.count("count")?),
                "unaccounted" => Difference::Unaccounted(body.count("count")?),
                "loose" => Difference::Loose(body.count("count")?),
                "in_transit" => Difference::InTransit(body.count("count")?),
                "open_containers" => Difference::OpenContainers(body.count("count")?),
                "unresolved_rejects" => Difference::UnresolvedRejects(body.count("count")?),
                "partial_containers" => Difference::PartialContainers(body.count("count")?),
                "bin_differs" => {
                    Difference::BinDiffers { counted: body.count("counted")?, confirmed: body.count("confirmed")? }
                }
                other => return Err(body.unfit(other)),
            })
        })
    }

    fn describe(shape: &mut Shape, key: &'static str) {
        shape.required(key, schema::list(schema::difference()));
    }
}

impl Field for Vec<RefuseReason> {
    fn write(&self, out: &mut ObjectWriter, key: &'static str) {
        out.objects(key, self, |out, reason| {
            out.text("code", reason.name());
            write_reason(out, reason);
        });
    }

    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
        body.objects(key, read_reason)
    }

    fn describe(shape: &mut Shape, key: &'static str) {
        shape.required(key, schema::list(schema::refuse_reason()));
    }
}

fn write_reason(out: &mut ObjectWriter, reason: &RefuseReason) {
    match reason {
        RefuseReason::Short { have, want } | RefuseReason::Over { have, want } => {
            out.count("have", u64::from(*have));
            out.count("want", u64::from(*want));
        }
        RefuseReason::CountDiffers { counted, listed } => {
            out.count("counted", u64::from(*counted));
            out.count("listed", u64::from(*listed));
        }
        RefuseReason::MissingChild { slot }
        | RefuseReason::MalformedChild { slot }
        | RefuseReason::ForeignChild { slot }
        | RefuseReason::UnknownChild { slot }
        | RefuseReason::RepeatedChild { slot }
        | RefuseReason::UnfitChild { slot } => out.count("slot", u64::from(*slot)),
        RefuseReason::PackedChild { slot, parent } => {
            out.count("slot", u64::from(*slot));
            out.text("parent", parent.as_str());
        }
        RefuseReason::NoBatch
        | RefuseReason::NotGood
        | RefuseReason::LevelAbsent
        | RefuseReason::NoSscc
        | RefuseReason::NotSealed
        | RefuseReason::LabelMissing
        | RefuseReason::LabelDiffers
        | RefuseReason::OnHold => {}
    }
}

fn read_reason(body: &mut ObjectReader<'_>) -> Result<RefuseReason, Flaw> {
    let code = body.text("code")?;
    Ok(match &*code {
        "no_batch" => RefuseReason::NoBatch,
        "not_good" => RefuseReason::NotGood,
        "level_absent" => RefuseReason::LevelAbsent,
        "short" => RefuseReason::Short { have: body.count("have")?, want: body.count("want")? },
        "over" => RefuseReason::Over { have: body.count("have")?, want: body.count("want")? },
        "count_differs" => {
            RefuseReason::CountDiffers { counted: body.count("counted")?, listed: body.count("listed")? }
        }
        "missing_child" => RefuseReason::MissingChild { slot: body.count("slot")? },
        "malformed_child" => RefuseReason::MalformedChild { slot: body.count("slot")? },
        "foreign_child" => RefuseReason::ForeignChild { slot: body.count("slot")? },
        "unknown_child" => RefuseReason::UnknownChild { slot: body.count("slot")? },
        "repeated_child" => RefuseReason::RepeatedChild { slot: body.count("slot")? },
        "unfit_child" => RefuseReason::UnfitChild { slot: body.count("slot")? },
        "packed_child" => RefuseReason::PackedChild { slot: body.count("slot")?, parent: Field::read(body, "parent")? },
        "no_sscc" => RefuseReason::NoSscc,
        "not_sealed" => RefuseReason::NotSealed,
        "label_missing" => RefuseReason::LabelMissing,
        "label_differs" => RefuseReason::LabelDiffers,
        "on_hold" => RefuseReason::OnHold,
        other => return Err(body.unfit(other)),
    })
}

/// A GTIN that is already 14 digits: a body never holds a shorter one.
fn gtin(text: &str) -> Option<Gtin> {
    Gtin::new(text).ok().filter(|gtin| gtin.as_str() == text)
}

fn sscc(text: &str) -> Option<Sscc> {
    Sscc::new(text).ok()
}

fn serial(text: &str) -> Option<SerialNumber> {
    SerialNumber::new(text).ok()
}

const LOST_CAUSES: &[LostCause] = &[LostCause::Device, LostCause::Heartbeat, LostCause::Quality, LostCause::Foreign];
const CLOSE_ENDS: &[CloseEnd] = &[CloseEnd::Done, CloseEnd::MachineFailure, CloseEnd::Expired];
const INVALID_CAUSES: &[InvalidCause] =
    &[InvalidCause::BufferLost, InvalidCause::BatchStopped, InvalidCause::BufferDoubted];

fn lost_cause(cause: &LostCause) -> &'static str {
    match cause {
        LostCause::Device => "device",
        LostCause::Heartbeat => "heartbeat",
        LostCause::Quality => "quality",
        LostCause::Foreign => "foreign",
    }
}

fn close_end(end: &CloseEnd) -> &'static str {
    match end {
        CloseEnd::Done => "done",
        CloseEnd::MachineFailure => "machine_failure",
        CloseEnd::Expired => "expired",
    }
}

fn invalid_cause(cause: &InvalidCause) -> &'static str {
    match cause {
        InvalidCause::BufferLost => "buffer_lost",
        InvalidCause::BatchStopped => "batch_stopped",
        InvalidCause::BufferDoubted => "buffer_doubted",
    }
}

fn find<T: Copy>(all: &[T], word: fn(&T) -> &'static str, text: &str) -> Option<T> {
    all.iter().copied().find(|value| word(value) == text)
}
