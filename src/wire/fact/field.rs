//! How each type stands in a body: written, read back, and described. The order of the calls is the order of the bytes.
//!
//! Keys of stations and tracks lie flat in the body, since every fact of a unit carries one. An absent value has no field.

use crate::domain::gs1::{Expiry, GcpLength, Gtin, Lot, SerialNumber, Sscc};
use crate::domain::pack::{Gate, PackLevel};
use crate::domain::quality::{FlawText, TagFlaw};
use crate::domain::tag::{StationKind, Tag};
use crate::domain::text::Text;
use crate::domain::time::ClockState;
use crate::engine::clearance::ClearedItem;
use crate::engine::fact::{
    Child, Description, Gone, InvalidCause, MessageNumber, NewEpoch, NewKey, Picture, PictureDigest, ReadPoint,
    RequestKey, ResultKey, Review, TrackKey,
};
use crate::engine::hands::Why;
use crate::engine::input::{BatchSheet, CloseEnd, LostCause, PackSpec, SsccRange, StationRecipe};
use crate::engine::reason::{AlarmKind, FailReason};
use crate::engine::signing::Signature;
use crate::wire::fact::device_text;
use crate::wire::fact::json::{Flaw, ObjectReader, ObjectWriter};
use crate::wire::schema::{self, Shape};

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
    Gate { |gate: &Gate| gate.name(), Gate::parse, schema::word(&[Gate::Seal, Gate::Release], |gate| gate.name()) }
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

/// Types of a closed list of words.
macro_rules! word_fields {
    ($($kind:ident)+) => {$(
        impl Field for $kind {
            fn write(&self, out: &mut ObjectWriter, key: &'static str) {
                out.text(key, self.name());
            }

            fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
                let text = body.text(key)?;
                $kind::parse(&text).ok_or_else(|| body.unfit(&text))
            }

            fn describe(shape: &mut Shape, key: &'static str) {
                shape.required(key, schema::word($kind::ALL, |word| word.name()));
            }
        }
    )+};
}
pub(super) use word_fields;

word_fields!(AlarmKind ClockState PackLevel StationKind Tag);

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

/// Its word, and behind it the tag that could not be taken and what is wrong with it.
impl Field for LostCause {
    fn write(&self, out: &mut ObjectWriter, key: &'static str) {
        out.text(key, self.name());
        if let LostCause::Quality(Some(TagFlaw { tag, what })) = self {
            tag.write(out, "tag");
            what.write(out, "flaw");
        }
    }

    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
        let word = body.text(key)?;
        let cause = find(LOST_CAUSES, |cause| cause.name(), &word).ok_or_else(|| body.unfit(&word))?;
        if cause != LostCause::Quality(None) || !body.has("tag") {
            return Ok(cause);
        }
        let flaw = TagFlaw { tag: Field::read(body, "tag")?, what: Field::read(body, "flaw")? };
        Ok(LostCause::Quality(Some(flaw)))
    }

    fn describe(shape: &mut Shape, key: &'static str) {
        shape.required(key, schema::word(LOST_CAUSES, |cause| cause.name()));
        Option::<Tag>::describe(shape, "tag");
        Option::<FlawText>::describe(shape, "flaw");
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
        out.texts(key, self.iter().map(child_text));
    }

    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
        body.texts(key, child)
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
        pack "", sscc "sscc", recipes "recipes",
    }
    Description {
        biz_location "biz_location", offset_minutes "offset_minutes", stations "stations", levels "levels",
    }
    Gone { through "through", kept "kept" }
    ReadPoint { of "of", read_point "read_point" }
    MessageNumber { stream "stream", seq "seq" }
    ClearedItem { item "item", answer "answer" }
    StationRecipe { station "station", recipe "recipe" }
    Picture { result "", inspection "inspection", sha256 "sha256", bytes "bytes", media "media_type" }
    Signature {
        user "user", full_name "full_name", meaning "meaning", action "action", subject_hash "subject_hash",
        challenge "challenge", offset_minutes "offset_minutes", clock "clock",
    }
    Review { from_seq "from_seq", to_seq "to_seq", exceptions "exceptions", sha256 "sha256" }
    Why { reason "reason", note "note" }
    SsccRange { extension "extension", prefix "prefix", first "first", last "last" }
}

/// A list of structs, each an object of its own.
macro_rules! struct_lists {
    ($($kind:ident),+) => {$(
        impl Field for Vec<$kind> {
            fn write(&self, out: &mut ObjectWriter, key: &'static str) {
                out.objects(key, self, |out, at| at.write(out, ""));
            }

            fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
                body.objects(key, |body| Field::read(body, ""))
            }

            fn describe(shape: &mut Shape, key: &'static str) {
                shape.required(key, schema::list(schema::object(|shape| $kind::describe(shape, ""))));
            }
        }
    )+};
}

struct_lists!(ReadPoint, MessageNumber, ClearedItem);

/// An order that names no recipe has no such field, like every order before there was one.
impl Field for Vec<StationRecipe> {
    fn write(&self, out: &mut ObjectWriter, key: &'static str) {
        if !self.is_empty() {
            out.objects(key, self, |out, at| at.write(out, ""));
        }
    }

    fn read(body: &mut ObjectReader<'_>, key: &'static str) -> Result<Self, Flaw> {
        let named = if body.has(key) { Some(body.objects(key, |body| Field::read(body, ""))?) } else { None };
        if named.as_ref().is_some_and(Vec::is_empty) { Err(body.unfit("[]")) } else { Ok(named.unwrap_or_default()) }
    }

    fn describe(shape: &mut Shape, key: &'static str) {
        shape.optional(key, schema::list(schema::object(|shape| StationRecipe::describe(shape, ""))));
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

/// A GTIN that is already 14 digits: a body never holds a shorter one.
fn gtin(text: &str) -> Option<Gtin> {
    Gtin::new(text).ok().filter(|gtin| gtin.as_str() == text)
}

fn sscc(text: &str) -> Option<Sscc> {
    Sscc::new(text).ok()
}

pub(super) fn child_text(child: &Child) -> String {
    match child {
        Child::Unit(serial) => ["21", serial.as_str()].concat(),
        Child::Container(sscc) => ["00", sscc.as_str()].concat(),
    }
}

pub(super) fn child(element: &str) -> Option<Child> {
    match element.split_at_checked(2)? {
        ("21", value) => serial(value).map(Child::Unit),
        ("00", value) => sscc(value).map(Child::Container),
        _ => None,
    }
}

fn serial(text: &str) -> Option<SerialNumber> {
    SerialNumber::new(text).ok()
}

const LOST_CAUSES: &[LostCause] =
    &[LostCause::Device, LostCause::Heartbeat, LostCause::Quality(None), LostCause::Foreign];
const CLOSE_ENDS: &[CloseEnd] = &[CloseEnd::Done, CloseEnd::MachineFailure, CloseEnd::Expired];
const INVALID_CAUSES: &[InvalidCause] =
    &[InvalidCause::BufferLost, InvalidCause::BatchStopped, InvalidCause::BufferDoubted];

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
