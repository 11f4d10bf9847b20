//! The shared tag memory of the plant: what a machine controller's data blocks are to its protocol servers.
//!
//! Contract: one lock, held for one step of the physics or one request of a client, so that all changes of a step are seen
//! together and a multi-value write arrives whole. A client may write only tags that the contract calls written, in their
//! shape. Every change carries a version, by which a server finds what it has not shown yet. Each accepted write is also
//! kept in order until the physics has seen it, so that two verdicts between two steps are two verdicts.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;

use super::settings::{CHILD_SLOTS, PlantSettings};
use crate::domain::tag::{Access, Quality, StationKind, Tag, TagValue};

/// The longest element string with GTIN, serial, expiry and lot, a separator and a symbology identifier, rounded up.
pub const TEXT_LENGTH: usize = 72;

/// Writes that wait for the physics; at the bound the oldest is forgotten, as in a controller that only sees levels.
const WRITES_MAX: usize = 4096;

/// The type of a tag on the simulated machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Bool,
    U16,
    U32,
    /// At most so many bytes.
    Text(usize),
    Texts {
        count: usize,
        length: usize,
    },
    /// u32 elements.
    Ints(usize),
    Millis(usize),
    /// One value in thousandths.
    Milli,
}

impl Shape {
    /// What the tag reads before anything happened, and after a reset.
    pub fn zero(self) -> TagValue {
        match self {
            Shape::Bool => TagValue::Bool(false),
            Shape::U16 | Shape::U32 => TagValue::Int(0),
            Shape::Text(_) => TagValue::Bytes(Vec::new()),
            Shape::Texts { count, .. } => TagValue::Texts(vec![Vec::new(); count]),
            Shape::Ints(count) => TagValue::Ints(vec![0; count]),
            Shape::Millis(count) => TagValue::Millis(vec![0; count]),
            Shape::Milli => TagValue::Milli(0),
        }
    }

    fn accepts(self, value: &TagValue) -> bool {
        match (self, value) {
            (Shape::Bool, TagValue::Bool(_)) | (Shape::Milli, TagValue::Milli(_)) => true,
            (Shape::U16, TagValue::Int(value)) => u16::try_from(*value).is_ok(),
            (Shape::U32, TagValue::Int(value)) => u32::try_from(*value).is_ok(),
            (Shape::Text(length), TagValue::Bytes(bytes)) => bytes.len() <= length,
            (Shape::Texts { count, length }, TagValue::Texts(texts)) => {
                texts.len() == count && texts.iter().all(|text| text.len() <= length)
            }
            (Shape::Ints(count), TagValue::Ints(values)) => values.len() == count,
            (Shape::Millis(count), TagValue::Millis(values)) => values.len() == count,
            (
                Shape::Bool
                | Shape::U16
                | Shape::U32
                | Shape::Text(_)
                | Shape::Texts { .. }
                | Shape::Ints(_)
                | Shape::Millis(_)
                | Shape::Milli,
                _,
            ) => false,
        }
    }
}

/// The tags of a simulated machine and their types.
pub fn shapes(settings: &PlantSettings, kind: StationKind) -> Vec<(Tag, Shape)> {
    let mut shapes = vec![
        (Tag::Heartbeat, Shape::U16),
        (Tag::HeartbeatOut, Shape::U16),
        (Tag::State, Shape::U16),
        (Tag::Fault, Shape::U16),
        (Tag::Epoch, Shape::U32),
        (Tag::EpochOut, Shape::U32),
        (Tag::Identity, Shape::Text(32)),
    ];
    shapes.extend(match kind {
        StationKind::Printer => printer_shapes(),
        StationKind::Camera => camera_shapes(settings.ring),
        StationKind::Rejector => rejector_shapes(settings.ends_ring),
        StationKind::Packer | StationKind::Palletizer => closer_shapes(),
    });
    shapes
}

fn printer_shapes() -> Vec<(Tag, Shape)> {
    vec![
        (Tag::PrintedSeq, Shape::U32),
        (Tag::AcceptedSeq, Shape::U32),
        (Tag::NextSeq, Shape::U32),
        (Tag::Remaining, Shape::U32),
        (Tag::FlushDone, Shape::U32),
        (Tag::Data, Shape::Text(TEXT_LENGTH)),
        (Tag::DataSeq, Shape::U32),
        (Tag::Flush, Shape::U32),
    ]
}

fn camera_shapes(ring: usize) -> Vec<(Tag, Shape)> {
    let length = TEXT_LENGTH;
    let (code, track, grade) = match ring {
        0 => (Shape::Text(length), Shape::U32, Shape::Milli),
        count => (Shape::Texts { count, length }, Shape::Ints(count), Shape::Millis(count)),
    };
    vec![
        (Tag::Seq, Shape::U32),
        (Tag::Ack, Shape::U32),
        (Tag::Expected, Shape::Text(TEXT_LENGTH)),
        (Tag::Overrun, Shape::Bool),
        (Tag::Code, code),
        (Tag::Track, track),
        (Tag::Grade, grade),
    ]
}

fn rejector_shapes(ends_ring: usize) -> Vec<(Tag, Shape)> {
    vec![
        (Tag::InCount, Shape::U32),
        (Tag::EndSeq, Shape::U32),
        (Tag::Ends, Shape::Ints(ends_ring * 2)),
        (Tag::VerdictEcho, Shape::U16),
        (Tag::PhantomCount, Shape::U32),
        (Tag::BinCount, Shape::U32),
        (Tag::BinFull, Shape::Bool),
        (Tag::Verdict, Shape::Bool),
        (Tag::VerdictTrack, Shape::U32),
        (Tag::VerdictWord, Shape::U16),
        (Tag::RunPermit, Shape::Bool),
    ]
}

fn closer_shapes() -> Vec<(Tag, Shape)> {
    let children = Shape::Texts { count: CHILD_SLOTS, length: TEXT_LENGTH };
    vec![
        (Tag::Seq, Shape::U32),
        (Tag::Request, Shape::U16),
        (Tag::Children, children),
        (Tag::ChildCount, Shape::U16),
        (Tag::Container, Shape::U32),
        (Tag::LabelRead, Shape::Text(TEXT_LENGTH)),
        (Tag::PermitAck, Shape::U32),
        (Tag::CloseResult, Shape::U16),
        (Tag::GateState, Shape::U16),
        (Tag::Ack, Shape::U32),
        (Tag::ReplySeq, Shape::U32),
        (Tag::Reply, Shape::U16),
        (Tag::Token, Shape::U32),
        (Tag::TtlMs, Shape::U32),
        (Tag::Reason, Shape::U16),
        (Tag::Label, Shape::Text(TEXT_LENGTH)),
    ]
}

/// The highest value of a counter, after which it shows 1; as in the default `PlantSettings`, whose rings it suits.
pub fn wrap(kind: StationKind, tag: Tag) -> Option<u64> {
    let is = |tags: &[Tag]| tags.contains(&tag);
    if is(&[Tag::InCount, Tag::Track]) {
        Some(32_767)
    } else if is(&[Tag::Heartbeat]) {
        Some(65_535)
    } else if is(&[Tag::EndSeq]) {
        Some(4_294_967_040)
    } else if is(&[Tag::Seq]) && kind == StationKind::Camera {
        Some(4_294_967_232)
    } else {
        let wide = [Tag::Seq, Tag::Container, Tag::PrintedSeq, Tag::AcceptedSeq, Tag::NextSeq, Tag::DataSeq];
        is(&wide).then_some(u64::from(u32::MAX))
    }
}

/// Why a client's write was refused; nothing of the request was taken then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteRefusal {
    UnknownTag,
    ReadOnly,
    /// Another type, too long or out of range.
    WrongType,
}

/// One value of a station.
pub type StationValue = (StationKind, Tag, TagValue);

#[derive(Clone, Debug)]
struct Cell {
    shape: Shape,
    value: TagValue,
    /// With which the servers show it.
    quality: Quality,
    version: u64,
}

/// The table behind the lock.
#[derive(Clone, Debug)]
pub struct Tags {
    cells: Vec<Option<Cell>>,
    version: u64,
    writes: VecDeque<StationValue>,
    poked: bool,
    /// Stations whose shown tags stand still.
    frozen: Vec<StationKind>,
}

fn place(kind: StationKind, tag: Tag) -> usize {
    kind as usize * Tag::ALL.len() + tag as usize
}

impl Tags {
    pub fn new(settings: &PlantSettings) -> Self {
        let mut cells = vec![None; StationKind::ALL.len() * Tag::ALL.len()];
        for kind in StationKind::ALL {
            for (tag, shape) in shapes(settings, *kind) {
                if let Some(cell) = cells.get_mut(place(*kind, tag)) {
                    *cell = Some(Cell { shape, value: shape.zero(), quality: Quality::Good, version: 0 });
                }
            }
        }
        Self { cells, version: 0, writes: VecDeque::new(), poked: false, frozen: Vec::new() }
    }

    /// Every tag that the machines have.
    pub fn list(&self) -> impl Iterator<Item = (StationKind, Tag, Shape)> + '_ {
        StationKind::ALL.iter().flat_map(move |kind| {
            Tag::ALL.iter().filter_map(move |tag| {
                let cell = self.cell(*kind, *tag)?;
                Some((*kind, *tag, cell.shape))
            })
        })
    }

    fn cell(&self, kind: StationKind, tag: Tag) -> Option<&Cell> {
        self.cells.get(place(kind, tag))?.as_ref()
    }

    pub fn value(&self, kind: StationKind, tag: Tag) -> Option<&TagValue> {
        self.cell(kind, tag).map(|cell| &cell.value)
    }

    pub fn shape(&self, kind: StationKind, tag: Tag) -> Option<Shape> {
        self.cell(kind, tag).map(|cell| cell.shape)
    }

    /// With which quality a reader gets the tag.
    pub fn quality(&self, kind: StationKind, tag: Tag) -> Quality {
        self.cell(kind, tag).map_or(Quality::Bad(0), |cell| cell.quality)
    }

    /// One tag of the station, or all that it shows, get this quality.
    pub fn set_quality(&mut self, kind: StationKind, only: Option<Tag>, quality: Quality) {
        let version = self.version + 1;
        for tag in Tag::ALL.iter().filter(|tag| only.is_none_or(|only| only == **tag)) {
            let Some(Some(cell)) = self.cells.get_mut(place(kind, *tag)) else { continue };
            if tag.access() == Access::Read && cell.quality != quality {
                (cell.quality, cell.version) = (quality, version);
                self.version = version;
            }
        }
    }

    /// What the station shows stands still until it is thawed; its machine goes on, and shows itself again then.
    pub fn freeze(&mut self, kind: StationKind) {
        if !self.frozen.contains(&kind) {
            self.frozen.push(kind);
        }
    }

    pub fn thaw(&mut self, kind: StationKind) {
        self.frozen.retain(|frozen| *frozen != kind);
    }

    /// Changes whenever any value or quality changes.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The version in which a tag took its present value.
    pub fn changed_at(&self, kind: StationKind, tag: Tag) -> u64 {
        self.cell(kind, tag).map_or(0, |cell| cell.version)
    }

    /// What changed after `version`.
    pub fn changed_since(&self, version: u64) -> impl Iterator<Item = (StationKind, Tag, &TagValue)> + '_ {
        self.list().filter_map(move |(kind, tag, _)| {
            let cell = self.cell(kind, tag)?;
            (cell.version > version).then_some((kind, tag, &cell.value))
        })
    }

    /// A counter or a flag; 0 where the tag has another type.
    pub fn int(&self, kind: StationKind, tag: Tag) -> i64 {
        match self.value(kind, tag) {
            Some(TagValue::Int(value) | TagValue::Milli(value)) => *value,
            Some(TagValue::Bool(value)) => i64::from(*value),
            Some(TagValue::Bytes(_) | TagValue::Ints(_) | TagValue::Millis(_) | TagValue::Texts(_)) | None => 0,
        }
    }

    /// A text; empty where the tag has another type.
    pub fn bytes(&self, kind: StationKind, tag: Tag) -> &[u8] {
        match self.value(kind, tag) {
            Some(TagValue::Bytes(bytes)) => bytes,
            Some(
                TagValue::Bool(_)
                | TagValue::Int(_)
                | TagValue::Milli(_)
                | TagValue::Ints(_)
                | TagValue::Millis(_)
                | TagValue::Texts(_),
            )
            | None => &[],
        }
    }

    /// Sets a tag from the machine's side. A value that the tag cannot hold is a defect of the plant itself.
    pub fn set(&mut self, kind: StationKind, tag: Tag, value: TagValue) {
        let version = self.version + 1;
        if tag.access() == Access::Read && self.frozen.contains(&kind) {
            return;
        }
        let Some(Some(cell)) = self.cells.get_mut(place(kind, tag)) else {
            return;
        };
        debug_assert!(cell.shape.accepts(&value), "{kind:?}.{tag}: {value:?}");
        if cell.value != value {
            cell.value = value;
            cell.version = version;
            self.version = version;
        }
    }

    /// The same for lists and texts, which are copied only where they changed.
    pub fn set_ints(&mut self, kind: StationKind, tag: Tag, values: &[i64]) {
        if !matches!(self.value(kind, tag), Some(TagValue::Ints(shown)) if shown == values) {
            self.set(kind, tag, TagValue::Ints(values.to_vec()));
        }
    }

    pub fn set_millis(&mut self, kind: StationKind, tag: Tag, values: &[i64]) {
        if !matches!(self.value(kind, tag), Some(TagValue::Millis(shown)) if shown == values) {
            self.set(kind, tag, TagValue::Millis(values.to_vec()));
        }
    }

    pub fn set_texts(&mut self, kind: StationKind, tag: Tag, values: &[Vec<u8>]) {
        if !matches!(self.value(kind, tag), Some(TagValue::Texts(shown)) if shown == values) {
            self.set(kind, tag, TagValue::Texts(values.to_vec()));
        }
    }

    pub fn set_bytes(&mut self, kind: StationKind, tag: Tag, value: &[u8]) {
        if !matches!(self.value(kind, tag), Some(TagValue::Bytes(shown)) if shown == value) {
            self.set(kind, tag, TagValue::Bytes(value.to_vec()));
        }
    }

    pub fn set_int(&mut self, kind: StationKind, tag: Tag, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.set(kind, tag, TagValue::Int(value));
    }

    /// Every tag of the station back to zero, and what was written to it before forgotten.
    pub fn clear(&mut self, kind: StationKind) {
        self.thaw(kind);
        let tags: Vec<(Tag, Shape)> =
            self.list().filter(|(station, _, _)| *station == kind).map(|(_, tag, shape)| (tag, shape)).collect();
        for (tag, shape) in tags {
            self.set(kind, tag, shape.zero());
        }
        self.writes.retain(|(station, _, _)| *station != kind);
    }

    /// The writes of clients since the last call, in the order of their arrival.
    pub fn take_writes(&mut self) -> Vec<StationValue> {
        self.writes.drain(..).collect()
    }

    fn check(&self, kind: StationKind, tag: Tag, value: &TagValue) -> Result<(), WriteRefusal> {
        let shape = self.shape(kind, tag).ok_or(WriteRefusal::UnknownTag)?;
        match tag.access() {
            Access::Read => Err(WriteRefusal::ReadOnly),
            Access::Write if shape.accepts(value) => Ok(()),
            Access::Write => Err(WriteRefusal::WrongType),
        }
    }

    /// Takes a client's request whole, or refuses it whole.
    pub fn write(&mut self, values: Vec<StationValue>) -> Result<(), WriteRefusal> {
        for (kind, tag, value) in &values {
            self.check(*kind, *tag, value)?;
        }
        for (kind, tag, value) in values {
            self.set(kind, tag, value.clone());
            if self.writes.len() >= WRITES_MAX {
                self.writes.pop_front();
            }
            self.writes.push_back((kind, tag, value));
        }
        self.poked = true;
        Ok(())
    }
}

/// The tag memory that physics and servers share.
#[derive(Debug)]
pub struct TagImage {
    tags: Mutex<Tags>,
    poke: Condvar,
    changed: watch::Sender<u64>,
}

impl TagImage {
    pub fn new(settings: &PlantSettings) -> Self {
        Self { tags: Mutex::new(Tags::new(settings)), poke: Condvar::new(), changed: watch::channel(0).0 }
    }

    fn lock(&self) -> MutexGuard<'_, Tags> {
        // A panic in a step ends the process in release builds; in tests the table is still whole.
        self.tags.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// One coherent look at the table.
    pub fn read<R>(&self, look: impl FnOnce(&Tags) -> R) -> R {
        look(&self.lock())
    }

    /// One change of the table, seen by others as a whole.
    pub fn change<R>(&self, change: impl FnOnce(&mut Tags) -> R) -> R {
        let (result, before, after) = {
            let mut tags = self.lock();
            let before = tags.version();
            let result = change(&mut tags);
            (result, before, tags.version())
        };
        if before != after {
            self.changed.send_replace(after);
        }
        result
    }

    /// A client's request; the physics is woken at once.
    pub fn write(&self, values: Vec<StationValue>) -> Result<(), WriteRefusal> {
        self.change(|tags| tags.write(values))?;
        self.poke.notify_one();
        Ok(())
    }

    /// Waits until a client has written or the time is up.
    pub fn wait_for_write(&self, at_most: Duration) {
        let tags = self.lock();
        let (mut tags, _) = self
            .poke
            .wait_timeout_while(tags, at_most, |tags| !tags.poked)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        tags.poked = false;
    }

    /// Follows the version of the table.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_every_required_tag_of_every_station() {
        let tags = Tags::new(&PlantSettings::default());
        for kind in StationKind::ALL {
            for tag in Tag::required(*kind) {
                assert!(tags.shape(*kind, *tag).is_some(), "{kind:?}.{tag}");
            }
        }
    }

    #[test]
    fn refuses_a_write_whole_when_one_value_has_the_wrong_type() {
        let image = TagImage::new(&PlantSettings::default());
        let kind = StationKind::Packer;
        let good = (kind, Tag::Token, TagValue::Int(7));
        for (bad, why) in [
            ((kind, Tag::Reply, TagValue::Bool(true)), WriteRefusal::WrongType),
            ((kind, Tag::Reply, TagValue::Int(65_536)), WriteRefusal::WrongType),
            ((kind, Tag::Seq, TagValue::Int(1)), WriteRefusal::ReadOnly),
            ((kind, Tag::Data, TagValue::Bytes(vec![])), WriteRefusal::UnknownTag),
        ] {
            assert_eq!(image.write(vec![good.clone(), bad]), Err(why));
        }
        assert_eq!(image.read(|tags| tags.int(kind, Tag::Token)), 0);
        assert_eq!(image.write(vec![good]), Ok(()));
        assert_eq!(image.read(|tags| tags.int(kind, Tag::Token)), 7);
    }

    #[test]
    fn finds_only_what_changed_since_a_version() {
        let mut tags = Tags::new(&PlantSettings::default());
        tags.set_int(StationKind::Camera, Tag::Seq, 1);
        let version = tags.version();
        tags.set_int(StationKind::Camera, Tag::Seq, 1);
        assert_eq!(tags.version(), version);
        tags.set_int(StationKind::Rejector, Tag::EndSeq, 4);
        let changed: Vec<_> = tags.changed_since(version).map(|(_, tag, _)| tag).collect();
        assert_eq!(changed, [Tag::EndSeq]);
    }
}
