//! Handshakes: what the tags of a station mean, and which tags say what we decided. A station knows the handshake, never the
//! rules: it does not judge a code, it says that result 17 showed it on track 40.
//!
//! Contract, for every kind:
//! - Nothing is observed unless the station is joined: connected, heartbeat moving, epoch not 0, its guard tags good, no counter
//!   fallen. What it shows meanwhile stays at the device unacknowledged, and is observed once it joins.
//! - `Joined { reset: true }` starts an epoch: counters begin at 0 and queued outputs are void. The levels (fault, counts, gate
//!   state, acknowledgements) are observed after every `Joined`, later on change only.
//! - A counter that falls within an epoch is a doubt, not a guess: the station is lost until its epoch changes or the counter
//!   stands where it may. A device without an epoch starts a new one of ours then.
//! - Outputs that name an epoch are void in any other. None are queued for a device that is away: they are levels, and the
//!   caller re-asserts what stands once the station has joined. Writing the same output twice writes identical values.
//! - Bytes of any kind are survived; an array of the wrong length is not good.
//!
//! Code map: `image` keeps what was read, `flaw` judges it, `link` supervises, `counter` unwraps, one file per kind holds the handshake.

pub mod camera;
pub mod counter;
mod flaw;
pub mod image;
pub mod link;
pub mod manual;
pub mod packer;
pub mod printer;
pub mod rejector;

#[cfg(test)]
pub(crate) mod quality;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod script;

use crate::domain::packml::{MachineState, UnitMode};
use crate::domain::tag::{Reading, StationId, StationKind, Tag, TagValue, TagWrite};
use crate::domain::text::Name;
use crate::domain::time::Now;
use crate::engine::input::{LostCause, Observed, PassKey};
use crate::engine::output::{Permit, Restraint};
use crate::engine::recipe::Recipe;
use crate::station::camera::Camera;
use crate::station::image::{Doubt, Image};
use crate::station::link::Link;
use crate::station::manual::Manual;
use crate::station::packer::Packer;
use crate::station::printer::Printer;
use crate::station::rejector::Rejector;

/// What the tag map says about one station.
#[derive(Clone, Debug)]
pub struct Settings {
    pub id: StationId,
    pub name: Name,
    pub kind: StationKind,
    /// Camera: the rejector whose tracks it reports (see `Station::align_tracks`).
    pub partner: Option<StationId>,
    pub heartbeat_timeout_ms: u32,
    /// Required tags that the device does not have.
    pub absent: Vec<Tag>,
    /// The highest value of a counter, after which comes 1 (see `counter`). The tracks of a rejector take theirs from `Track`,
    /// else `VerdictTrack`, else `InCount`. Counters that are not named do not wrap.
    pub wraps: Vec<(Tag, u64)>,
    /// Camera: result slots, indexed by `seq % ring`; 0 where one result is shown at a time.
    pub ring: u16,
    /// Camera: how a result is taken from the device.
    pub handshake: ResultHandshake,
    /// Rejector: pairs of (track, end) in `ends`, the k-th at `k % ends_ring`.
    pub ends_ring: u16,
    /// Rejector: verdicts that may be written before the first is echoed; at least 1.
    pub verdict_depth: u16,
    pub verdict_form: VerdictForm,
    /// Packer, palletizer: a reader that shows its children layer by layer.
    pub array: Option<ArrayReader>,
    /// Where the device numbers the values of `request`, `reply`, `close_result`, `gate_state`, `outcome`, a flag of `ack` or the
    /// ends in `ends` in its own way: then only the values listed for that tag are understood.
    pub renumbered: Vec<Renumbered>,
    /// Packer: `label_read` comes from a scanner, which reads the label when it is applied and knows no request.
    pub is_label_scanned: bool,
    /// Packer: a person with a scanner, who packs so many units into a case (`manual`).
    pub by_hand: Option<u16>,
}

/// How the device learns that a result of its camera is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultHandshake {
    /// `ack` is the number of the result.
    Number,
    /// `valid` says that a result stands; `ack` is raised until `valid` falls, and then taken back, and the next one is shown.
    Flag,
}

/// How a verdict is written, and so what its echo holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerdictForm {
    /// `verdict_word`, 2 × track + pass; echoed as it is.
    Word,
    /// `verdict`, then `verdict_track`; the echo is the track.
    Pair,
}

/// A reader that shows `children` as frames of equal length, one for each layer; in each lie helper codes, which are no identifiers
/// and tell that the whole layer was in view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayReader {
    pub layers: u16,
    /// Helper codes in each layer.
    pub helpers: u16,
    /// What they begin with, and no identifier does.
    pub prefix: Vec<u8>,
}

/// One value of the contract and how the device numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renumbered {
    pub tag: Tag,
    pub device: i64,
    pub contract: i64,
}

impl Settings {
    /// A station exactly as the contract has it: nothing absent, nothing wraps, no ring of results.
    pub fn new(id: StationId, name: Name, kind: StationKind) -> Self {
        Self {
            id,
            name,
            kind,
            partner: None,
            heartbeat_timeout_ms: 1000,
            absent: Vec::new(),
            wraps: Vec::new(),
            ring: 0,
            handshake: ResultHandshake::Number,
            ends_ring: 64,
            verdict_depth: 1,
            verdict_form: VerdictForm::Word,
            array: None,
            renumbered: Vec::new(),
            is_label_scanned: false,
            by_hand: None,
        }
    }

    pub(in crate::station) fn is_absent(&self, tag: Tag) -> bool {
        self.absent.contains(&tag)
    }

    pub(in crate::station) fn wrap(&self, tag: Tag) -> Option<u64> {
        self.wraps.iter().find(|(named, _)| *named == tag).map(|(_, wrap)| *wrap).filter(|wrap| *wrap > 0)
    }

    /// Where the numbers of results wrap, as a camera shows them.
    pub fn result_wrap(&self) -> Option<u64> {
        self.wrap(Tag::Seq)
    }

    /// Where the tracks wrap, as a camera or a rejector shows them.
    pub fn track_wrap(&self) -> Option<u64> {
        self.wrap(Tag::Track).or(self.wrap(Tag::VerdictTrack)).or(self.wrap(Tag::InCount))
    }

    /// What the device's `value` means in the contract's numbers; `None` where the map does not list it.
    pub(in crate::station) fn meaning(&self, tag: Tag, value: i64) -> Option<i64> {
        let mut listed = self.renumbered.iter().filter(|entry| entry.tag == tag).peekable();
        if listed.peek().is_none() {
            return Some(value);
        }
        listed.find(|entry| entry.device == value).map(|entry| entry.contract)
    }

    /// How the device numbers a value of the contract.
    pub(in crate::station) fn device_value(&self, tag: Tag, contract: i64) -> TagValue {
        let entry = self.renumbered.iter().find(|entry| entry.tag == tag && entry.contract == contract);
        TagValue::Int(entry.map_or(contract, |entry| entry.device))
    }
}

/// What the journal remembers of a station after a restart; the default is that nothing is known of it, and then nothing
/// that happened before the first contact is reported as missed. All counts unwrapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    pub device_epoch: u32,
    /// The highest number already decided: result of a camera, request of a packer, end of a rejector.
    pub last_seq: u64,
    /// The highest track seen; a rejector's `in_count`.
    pub last_track: u64,
    /// Printer: the highest record known to be printed.
    pub printed: u64,
    /// Packer: the container asked for last.
    pub last_container: u64,
}

/// A machine's PackML state and mode, where they are known, and why its station is away, where it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    pub state: Option<MachineState>,
    pub mode: Option<UnitMode>,
    pub away: Option<LostCause>,
}

/// One station: supervision, the tags as last read, and the handshake of its kind.
#[derive(Clone, Debug)]
pub struct Station {
    settings: Settings,
    link: Link,
    image: Image,
    role: Role,
    recipe: Level<Option<Recipe>>,
    /// Why it is not joined, while it is not.
    away: LostCause,
    now: Now,
}

#[derive(Clone, Debug)]
enum Role {
    Printer(Printer),
    Camera(Camera),
    Rejector(Rejector),
    Packer(Packer),
    Manual(Manual),
}

/// Where counting starts in a new epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::station) enum Base {
    /// The device started again and counts from 0: what is missing up to what it shows was missed.
    Zero,
    /// Wherever the device stands now: nothing is known of what was before.
    Unknown,
    /// The same, of a device that has no epoch to say so: it may have kept what it was given before.
    Guessed,
}

impl Base {
    fn last(self) -> Option<u64> {
        match self {
            Base::Zero => Some(0),
            Base::Unknown | Base::Guessed => None,
        }
    }
}

/// What one look at the image may use and add to.
pub(in crate::station) struct Scan<'a> {
    pub settings: &'a Settings,
    pub image: &'a Image,
    pub now: Now,
    pub out: &'a mut Vec<Observed>,
    pub writes: &'a mut Vec<TagWrite>,
}

impl Station {
    pub fn new(settings: Settings, cursor: Cursor) -> Self {
        let role = match settings.kind {
            StationKind::Printer => Role::Printer(Printer::new(&settings, &cursor)),
            StationKind::Camera => Role::Camera(Camera::new(&settings, &cursor)),
            StationKind::Rejector => Role::Rejector(Rejector::new(&settings, &cursor)),
            StationKind::Packer | StationKind::Palletizer => match manual::of(&settings) {
                Some(manual) => Role::Manual(manual),
                None => Role::Packer(Packer::new(&settings, &cursor)),
            },
        };
        let link = Link::new(&settings, &cursor);
        let (image, recipe, now) = (Image::default(), Level::default(), Now::default());
        Self { settings, link, image, role, recipe, away: LostCause::Device, now }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The device epoch in which the station is joined.
    pub fn joined(&self) -> Option<u32> {
        self.link.joined()
    }

    /// Why nothing that the station shows counts, where nothing does.
    fn away(&self) -> Option<LostCause> {
        Some(self.away).filter(|_| self.joined().is_none())
    }

    /// What the machine says of itself, where it says it and the value is good.
    pub fn machine(&self) -> Machine {
        let meaning = |tag, value| self.settings.meaning(tag, value);
        let state = match self.image.good(Tag::State) {
            Some(TagValue::Int(number)) => meaning(Tag::State, *number).and_then(MachineState::of_number),
            Some(TagValue::Bytes(text)) => MachineState::of_text(text),
            Some(
                TagValue::Bool(_) | TagValue::Milli(_) | TagValue::Ints(_) | TagValue::Millis(_) | TagValue::Texts(_),
            )
            | None => None,
        };
        let mode = self.image.int(Tag::Mode).and_then(|value| meaning(Tag::Mode, value));
        Machine { state, mode: mode.and_then(UnitMode::of_number), away: self.away() }
    }

    /// A session with the device stands (the last one, where the tags lie on several); everything is read again.
    pub fn connected(&mut self, now: Now) {
        self.now = now;
        self.image.clear();
        self.role.forget_outputs();
        self.link.connect();
    }

    pub fn disconnected(&mut self, now: Now, out: &mut Vec<Observed>) {
        self.now = now;
        self.link.disconnect();
        self.image.clear();
        self.lose(LostCause::Device, out);
    }

    /// Takes one coherent read. Readings that arrive without a session are left: the next session reads them again.
    pub fn observe(&mut self, now: Now, readings: &[Reading], out: &mut Vec<Observed>, writes: &mut Vec<TagWrite>) {
        self.now = now;
        if !self.link.is_connected() {
            return;
        }
        self.image.take(Tag::guard(self.settings.kind), readings);
        self.link.note(now, &self.image);
        match self.link.assess(now, &self.image) {
            Ok(epoch) => self.scan(epoch, out, writes),
            Err(cause) => self.lose(cause, out),
        }
    }

    /// Notices silence.
    pub fn tick(&mut self, now: Now, out: &mut Vec<Observed>) {
        self.now = now;
        if self.link.joined().is_none() {
            return;
        }
        match (self.link.assess(now, &self.image), &mut self.role) {
            (Err(cause), _) => self.lose(cause, out),
            (Ok(_), Role::Manual(manual)) => manual.look(now, out),
            (Ok(_), Role::Printer(_) | Role::Camera(_) | Role::Rejector(_) | Role::Packer(_)) => {}
        }
    }

    /// Joins where that is due, then observes. Where the image turns out to be doubtful, nothing of it was said.
    fn scan(&mut self, epoch: u32, out: &mut Vec<Observed>, writes: &mut Vec<TagWrite>) {
        let (said, written) = (out.len(), writes.len());
        if self.link.joined() != Some(epoch) {
            let reset = self.link.is_reset(epoch);
            if reset {
                self.role.reset(self.base());
            }
            self.role.forget_levels();
            self.recipe = Level::default();
            out.push(Observed::Joined { device_epoch: epoch, reset });
            // First of all writes: a device obeys nothing before its own epoch is echoed, and then all that stands.
            if self.link.has_epoch() {
                let mut values = if reset { self.role.blank() } else { Vec::new() };
                values.push((Tag::EpochOut, int(epoch)));
                writes.push(TagWrite { station: self.settings.id, values });
            }
        }
        let scan = Scan { settings: &self.settings, image: &self.image, now: self.now, out, writes };
        match self.role.scan(scan) {
            Ok(()) => {
                self.link.join(epoch);
                self.observe_recipe(out);
            }
            Err(doubt) => {
                out.truncate(said);
                writes.truncate(written);
                self.lose(doubt.into(), out);
                if matches!(doubt, Doubt::Fell(_)) {
                    self.link.restart_own_epoch();
                }
            }
        }
    }

    /// Which recipe the machine runs; one that is not good, not text or too long is none.
    fn observe_recipe(&mut self, out: &mut Vec<Observed>) {
        if self.image.has(Tag::Recipe)
            && let Some(recipe) = self.recipe.change(Some(recipe_of(&self.image)))
        {
            out.push(Observed::RecipeShown { recipe });
        }
    }

    fn base(&self) -> Base {
        match self.link.has_epoch() {
            _ if self.link.is_first_contact() => Base::Unknown,
            true => Base::Zero,
            false => Base::Guessed,
        }
    }

    fn lose(&mut self, cause: LostCause, out: &mut Vec<Observed>) {
        self.away = cause;
        self.role.forget_outputs();
        let is_told = self.link.tells_foreign(cause);
        if self.link.lose() || is_told {
            out.push(Observed::Lost { cause });
        }
    }

    /// The safe direction: whatever names no epoch is written to any device that is connected.
    pub fn restrain(&mut self, restraint: &Restraint, writes: &mut Vec<TagWrite>) {
        if !self.link.is_connected() || restraint_station(restraint) != self.settings.id {
            return;
        }
        let Self { settings, link, role, now, .. } = self;
        let output = Output { settings, epoch: link.joined(), now: *now, writes };
        match role {
            Role::Rejector(rejector) => rejector.restrain(restraint, output),
            Role::Packer(packer) => packer.restrain(restraint, output),
            Role::Manual(manual) => manual.restrain(restraint, output.epoch),
            Role::Camera(camera) => camera.restrain(restraint, output),
            Role::Printer(_) => {}
        }
    }

    /// The unsafe direction: nothing is written unless the station is joined, in the epoch that the permit names.
    pub fn permit(&mut self, permit: &Permit, writes: &mut Vec<TagWrite>) {
        let (station, named_epoch) = permit_address(permit);
        let joined = self.link.joined();
        if station != self.settings.id || joined.is_none() || named_epoch.is_some_and(|named| joined != Some(named)) {
            return;
        }
        let Self { settings, role, now, .. } = self;
        let output = Output { settings, epoch: joined, now: *now, writes };
        match role {
            Role::Printer(printer) => printer.permit(permit, output),
            Role::Camera(camera) => camera.permit(permit, output),
            Role::Rejector(rejector) => rejector.permit(permit, output),
            Role::Packer(packer) => packer.permit(permit, output),
            Role::Manual(manual) => manual.permit(permit, output),
        }
    }

    /// Our sign of life, the by-product of a healthy turn; `beat` differs from the one before. A verdict that the device
    /// leaves without an echo is written again here.
    pub fn heartbeat(&mut self, beat: u32, writes: &mut Vec<TagWrite>) {
        self.link.beat(&self.settings, beat, writes);
        let Self { settings, link, role, now, .. } = self;
        if link.joined().is_none() {
            return;
        }
        match role {
            Role::Rejector(rejector) => {
                rejector.repeat(Output { settings, epoch: link.joined(), now: *now, writes });
            }
            Role::Camera(camera) => camera.repeat(Output { settings, epoch: link.joined(), now: *now, writes }),
            Role::Printer(_) | Role::Packer(_) | Role::Manual(_) => {}
        }
    }

    /// Camera: `in_count` of its rejector, unwrapped, or 0 when that was reset. Tracks that wrap are placed nearest to it,
    /// for the camera cannot see that the tracks started again.
    pub fn align_tracks(&mut self, in_count: u64) {
        match &mut self.role {
            Role::Camera(camera) => camera.align_tracks(in_count),
            Role::Printer(_) | Role::Rejector(_) | Role::Packer(_) | Role::Manual(_) => {}
        }
    }
}

impl Role {
    fn reset(&mut self, base: Base) {
        match self {
            Role::Printer(printer) => printer.reset(base),
            Role::Camera(camera) => camera.reset(base),
            Role::Rejector(rejector) => rejector.reset(base),
            Role::Packer(packer) => packer.reset(base),
            Role::Manual(manual) => manual.reset(),
        }
    }

    fn blank(&self) -> Vec<(Tag, TagValue)> {
        match self {
            Role::Printer(printer) => printer.blank(),
            Role::Camera(_) | Role::Rejector(_) | Role::Packer(_) | Role::Manual(_) => Vec::new(),
        }
    }

    fn forget_levels(&mut self) {
        match self {
            Role::Printer(printer) => printer.forget_levels(),
            Role::Camera(camera) => camera.forget_levels(),
            Role::Rejector(rejector) => rejector.forget_levels(),
            Role::Packer(packer) => packer.forget_levels(),
            Role::Manual(manual) => manual.forget_levels(),
        }
    }

    fn forget_outputs(&mut self) {
        match self {
            Role::Printer(printer) => printer.forget_outputs(),
            Role::Rejector(rejector) => rejector.forget_outputs(),
            Role::Camera(camera) => camera.forget_outputs(),
            Role::Packer(_) | Role::Manual(_) => {}
        }
    }

    fn scan(&mut self, scan: Scan<'_>) -> Result<(), Doubt> {
        match self {
            Role::Printer(printer) => printer.scan(scan),
            Role::Camera(camera) => camera.scan(scan),
            Role::Rejector(rejector) => rejector.scan(scan),
            Role::Packer(packer) => packer.scan(scan),
            Role::Manual(manual) => manual.scan(scan),
        }
    }
}

/// What it takes to write an output.
pub(in crate::station) struct Output<'a> {
    pub settings: &'a Settings,
    /// The epoch in which the station is joined.
    pub epoch: Option<u32>,
    pub now: Now,
    pub writes: &'a mut Vec<TagWrite>,
}

impl Output<'_> {
    fn write(&mut self, values: Vec<(Tag, TagValue)>) {
        self.writes.push(TagWrite { station: self.settings.id, values });
    }

    fn is_late(&self, until_mono_us: u64) -> bool {
        self.now.mono_us > until_mono_us
    }
}

/// A level that is observed when it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::station) struct Level<T>(Option<T>);

impl<T> Default for Level<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Copy + PartialEq> Level<T> {
    /// The value, where it is known and not the one told last.
    fn change(&mut self, value: Option<T>) -> Option<T> {
        let value = value.filter(|value| self.0 != Some(*value))?;
        self.0 = Some(value);
        Some(value)
    }
}

/// The device's latched fault word, which stations of every kind may have.
pub(in crate::station) fn observe_fault(fault: &mut Level<i64>, scan: &mut Scan<'_>) {
    if let Some(code) = fault.change(scan.image.int(Tag::Fault)) {
        scan.out.push(Observed::Faulted { code });
    }
}

/// A name, or the number of a program.
fn recipe_of(image: &Image) -> Option<Recipe> {
    match image.good(Tag::Recipe)? {
        TagValue::Bytes(bytes) => std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty()).and_then(Recipe::new),
        TagValue::Int(number) => Recipe::new(&number.to_string()),
        TagValue::Bool(_) | TagValue::Milli(_) | TagValue::Ints(_) | TagValue::Millis(_) | TagValue::Texts(_) => None,
    }
}

/// A count as the tag's value; counts beyond 63 bits cannot be shown by any device.
pub(in crate::station) fn int(count: impl Into<u64>) -> TagValue {
    TagValue::Int(i64::try_from(count.into()).unwrap_or(i64::MAX))
}

fn restraint_station(restraint: &Restraint) -> StationId {
    match restraint {
        Restraint::Fail(PassKey { rejector, .. }) => *rejector,
        Restraint::Hold { station }
        | Restraint::Deny { station, .. }
        | Restraint::Shut { station }
        | Restraint::ExpectNothing { station } => *station,
    }
}

fn permit_address(permit: &Permit) -> (StationId, Option<u32>) {
    match permit {
        Permit::Pass { key, .. } => (key.rejector, Some(key.device_epoch)),
        Permit::Run { station } => (*station, None),
        Permit::AckResult { station, device_epoch, .. }
        | Permit::Expect { station, device_epoch, .. }
        | Permit::Print { station, device_epoch, .. }
        | Permit::Flush { station, device_epoch, .. }
        | Permit::AckRequest { station, device_epoch, .. }
        | Permit::Settle { station, device_epoch, .. } => (*station, Some(*device_epoch)),
        Permit::Close(close) => (close.station, Some(close.device_epoch)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::tag::Quality;
    use crate::engine::input::Read;
    use crate::engine::output::ClosePermit;
    use crate::station::script::{STATION, Script, settings};

    fn any_value() -> impl Strategy<Value = TagValue> {
        let number = prop_oneof![0_i64..6, 0_i64..70_000, any::<i64>()];
        let bytes = proptest::collection::vec(any::<u8>(), 0..6);
        prop_oneof![
            4 => number.clone().prop_map(TagValue::Int),
            1 => any::<bool>().prop_map(TagValue::Bool),
            1 => number.clone().prop_map(TagValue::Milli),
            2 => bytes.clone().prop_map(TagValue::Bytes),
            2 => proptest::collection::vec(number.clone(), 0..10).prop_map(TagValue::Ints),
            1 => proptest::collection::vec(number, 0..6).prop_map(TagValue::Millis),
            2 => proptest::collection::vec(bytes, 0..6).prop_map(TagValue::Texts),
        ]
    }

    fn any_reading() -> impl Strategy<Value = Reading> {
        let quality = prop_oneof![6 => Just(Quality::Good), 1 => Just(Quality::Uncertain(1)), 1 => any::<u32>().prop_map(Quality::Bad)];
        let tag = prop_oneof![
            1 => proptest::sample::select(Tag::ALL),
            1 => proptest::sample::select(&[Tag::Seq, Tag::Code, Tag::Track, Tag::EndSeq, Tag::Ends, Tag::InCount][..]),
        ];
        (tag, any_value(), quality).prop_map(|(tag, value, quality)| Reading { tag, value, quality, source_us: None })
    }

    #[derive(Clone, Debug)]
    enum Event {
        Read(Vec<Reading>),
        Say(u64),
        Reconnect,
        Wait(u64),
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            8 => proptest::collection::vec(any_reading(), 0..12).prop_map(Event::Read),
            4 => prop_oneof![0_u64..8, any::<u64>()].prop_map(Event::Say),
            1 => Just(Event::Reconnect),
            1 => (0_u64..1500).prop_map(Event::Wait),
        ]
    }

    fn any_settings(kind: StationKind) -> impl Strategy<Value = Settings> {
        let wrap = prop_oneof![Just(4_u64), Just(65_535), Just(u64::MAX), Just(0)];
        let wraps = proptest::collection::vec((proptest::sample::select(Tag::ALL), wrap), 0..8);
        let absent = proptest::collection::vec(proptest::sample::select(Tag::ALL), 0..3);
        (wraps, absent, 0_u16..5, 0_u16..5, 0_u16..3).prop_map(
            move |(wraps, absent, ring, ends_ring, verdict_depth)| {
                let base = settings(kind);
                Settings { wraps, absent, ring, ends_ring, verdict_depth, ..base }
            },
        )
    }

    /// Every output there is, in the epoch that the station lives in.
    fn say_everything(script: &mut Script, seq: u64) -> Vec<TagWrite> {
        let (station, device_epoch) = (STATION, script.station.joined().unwrap_or(1));
        let key = PassKey { rejector: station, device_epoch, track: seq };
        let close =
            ClosePermit { station, device_epoch, seq, token: 1, ttl_ms: 1, label: Vec::new(), until_mono_us: u64::MAX };
        let mut writes = Vec::new();
        for permit in [
            Permit::Pass { key, until_mono_us: u64::MAX },
            Permit::Run { station },
            Permit::AckResult { station, device_epoch, seq },
            Permit::Print { station, device_epoch, seq, data: Vec::new() },
            Permit::Flush { station, device_epoch, flush: seq },
            Permit::AckRequest { station, device_epoch, seq },
            Permit::Close(close),
            Permit::Settle { station, device_epoch, seq },
        ] {
            writes.extend(script.permit(permit));
        }
        for restraint in [
            Restraint::Fail(key),
            Restraint::Hold { station },
            Restraint::Deny { station, device_epoch, seq, reason: 1 },
            Restraint::Shut { station },
        ] {
            writes.extend(script.restrain(restraint));
        }
        writes
    }

    /// Whether a code that was told stood in a good tag of this read or an earlier one.
    fn is_shown(code: &[u8], good_texts: &[Vec<u8>]) -> bool {
        good_texts.iter().any(|text| text == code)
    }

    fn good_texts(readings: &[Reading]) -> Vec<Vec<u8>> {
        let codes = readings.iter().filter(|reading| reading.tag == Tag::Code && reading.quality == Quality::Good);
        codes
            .flat_map(|reading| match &reading.value {
                TagValue::Bytes(bytes) => vec![bytes.clone()],
                TagValue::Texts(texts) => texts.clone(),
                _ => Vec::new(),
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn survives_any_device(
            (settings, events) in proptest::sample::select(StationKind::ALL)
                .prop_flat_map(|kind| (any_settings(kind), proptest::collection::vec(any_event(), 1..40)))
        ) {
            let mut script = Script::new(settings, Cursor::default());
            script.show(&[crate::station::script::number(Tag::Epoch, 1)]);
            let mut shown = Vec::new();
            for event in events {
                match event {
                    Event::Read(readings) => {
                        shown.extend(good_texts(&readings));
                        let (out, writes) = script.show(&readings);
                        prop_assert!(out.is_empty() || script.station.joined().is_some() || out.len() == 1);
                        prop_assert!(writes.is_empty() || script.station.joined().is_some());
                        for observed in out {
                            if let Observed::Result(result) = observed
                                && let Read::Code(code) = &result.read
                            {
                                prop_assert!(is_shown(code, &shown), "{result:?} was never shown with good quality");
                            }
                        }
                    }
                    Event::Say(seq) => {
                        for write in say_everything(&mut script, seq) {
                            prop_assert!(write.values.iter().all(|(tag, _)| tag.access() == crate::domain::tag::Access::Write));
                        }
                        script.beat(1);
                    }
                    Event::Reconnect => { script.reconnect(); }
                    Event::Wait(ms) => {
                        script.pass_ms(ms);
                        script.tick();
                    }
                }
            }
        }

        /// A camera that behaves: whatever the poll misses, every number is told exactly once, as a result or as missed.
        #[test]
        fn every_result_number_is_told_exactly_once(steps in proptest::collection::vec(0_u64..9, 1..60), ring in 0_u16..9) {
            let wrap = u64::from(ring.max(1)) * 5;
            let mut ringed = settings(StationKind::Camera);
            ringed.ring = ring;
            ringed.wraps = vec![(Tag::Seq, wrap)];
            let mut script = Script::new(ringed, Cursor { device_epoch: 1, ..Cursor::default() });
            let (mut seq, mut told) = (0_u64, 0_u64);
            for step in std::iter::repeat_n(0, 2).chain(steps) {
                seq += step.min(wrap / 2);
                for observed in script.said(&camera_shows(seq, u64::from(ring), wrap)) {
                    match observed {
                        Observed::ResultsMissed { from, to } => {
                            prop_assert_eq!(from, told + 1);
                            told = to;
                        }
                        Observed::Result(result) => {
                            prop_assert_eq!(result.seq, told + 1);
                            prop_assert_eq!(result.read, Read::Code(result.seq.to_string().into_bytes()));
                            told = result.seq;
                        }
                        other => prop_assert!(matches!(other, Observed::Joined { .. }), "{:?}", other),
                    }
                }
                prop_assert_eq!(told, if script.station.joined().is_some() { seq } else { 0 });
            }
        }
    }

    fn camera_shows(seq: u64, ring: u64, wrap: u64) -> Vec<Reading> {
        use crate::station::script::{number, reading, text};
        let signed = |value: u64| i64::try_from(value).expect("small");
        let mut all = vec![number(Tag::Epoch, 1), number(Tag::Seq, signed(counter::shown(Some(wrap), seq)))];
        if ring == 0 {
            all.extend([text(Tag::Code, seq.to_string().as_bytes()), number(Tag::Track, signed(seq))]);
            return all;
        }
        let held = |slot: u64| (0..ring).filter_map(|back| seq.checked_sub(back)).find(|number| number % ring == slot);
        let slots: Vec<u64> = (0..ring).map(|slot| held(slot).unwrap_or(0)).collect();
        let codes = slots.iter().map(|number| number.to_string().into_bytes()).collect();
        all.push(reading(Tag::Code, TagValue::Texts(codes)));
        all.push(reading(Tag::Track, TagValue::Ints(slots.iter().map(|number| signed(*number)).collect())));
        all
    }
}
