//! The parts against each other: names that must exist, times that must fit, maps that must agree. Makes the `Config`.

use std::collections::BTreeMap;
use std::path::Path;

use crate::device::{self as link, Binding, ByteOrder, StationTags, WordOrder};
use crate::domain::tag::{DeviceId, StationId, StationKind, Tag};
use crate::domain::text::Name;
use crate::engine::decide::Decide;
use crate::engine::{self, Role, StationSpec};
use crate::station::{self, VerdictForm};
use crate::wire::digest;

use super::device::{FileDevice, MapSays, Protocol, Registers, share};
use super::map::{self, KindMap, TagMap};
use super::problem::{Place, Problems};
use super::reader::{self, Field, Source, Unread};
use super::station::{FilePart, FileStation, Placed, Station};
use super::{Config, FileConfig, line, map_checks, text_checks};

/// The largest number of devices and of stations: their identifiers are one byte, and no line comes near.
const NUMBER_MAX: usize = 64;

/// `None` where the file is too broken to go on; errors may have been recorded even where there is a config.
pub(super) fn assemble(path: &Path, source: &Source, file: FileConfig) -> Option<Config> {
    let problems = &source.problems;
    let folder = path.parent().unwrap_or(Path::new(""));
    let maps = read_maps(source, &file, folder);
    bounds(problems, &file);
    names(problems, &file);
    let placed = place(problems, &file, &maps);
    map_checks::all(problems, &file.devices, &placed);
    times(problems, &file, &placed);
    let scanners = scanners(&file, &maps);
    let stations = stations(problems, &file, &placed, &scanners);
    let tags = station_tags(file.devices.len(), &placed);
    text_checks::maps(problems, maps.values().filter_map(|opened| opened.map.as_ref()));
    let said = of_devices(problems, &file, &maps);
    if file.mqtt.is_none() && file.line.is_some() && !source_has_mqtt(source) {
        problems.add(
            file.at.warning("has no section [mqtt]: the line works and keeps its journal, and nothing is published"),
        );
    }
    let line::FileJournal { path: journal, proof } = file.journal?;
    let pki = journal.parent().unwrap_or(Path::new("")).join("pki");
    let numbered = file.devices.into_iter().zip(tags).zip(said).zip(0_u8..);
    let devices: Option<Vec<link::Settings>> =
        numbered.map(|(((device, tags), said), id)| device.build(DeviceId(id), tags, said, &pki)).collect();
    let mut devices = devices?;
    share(&mut devices);
    let (specs, stations) = stations?.into_iter().unzip();
    Some(Config {
        file: path.to_owned(),
        digest: digest_of(source, &maps),
        line: file.line?.build(folder)?,
        journal,
        upkeep: file.upkeep,
        clearance: file.clearance,
        proof,
        people: file.people,
        mqtt: file.mqtt,
        devices,
        engine: engine::Settings { stations: specs },
        stations,
        warnings: Vec::new(),
    })
}

/// A broken section is reported as such; it is not absent.
fn source_has_mqtt(source: &Source) -> bool {
    source.text.lines().any(|line| line.trim_start().starts_with("[mqtt"))
}

/// A map by the path under which the file names it.
struct OpenedMap {
    text: String,
    map: Option<TagMap>,
}

fn read_maps(source: &Source, file: &FileConfig, folder: &Path) -> BTreeMap<String, OpenedMap> {
    let mut maps = BTreeMap::new();
    for part in file.stations.iter().flat_map(|station| &station.parts) {
        if maps.contains_key(&part.map.value) {
            continue;
        }
        let path = folder.join(&part.map.value);
        match reader::text_of(&path) {
            Ok(text) => {
                let source = Source::new(&path.display().to_string(), text.clone(), &source.problems);
                let map = map::read(&source);
                map.iter().for_each(|map| map_checks::groups(&source.problems, map));
                maps.insert(part.map.value.clone(), OpenedMap { text, map });
            }
            Err(Unread::File(error)) => source.problems.add(line::unreadable(&part.map.at, &error)),
            Err(Unread::NotText(problem)) => source.problems.add(*problem),
        }
    }
    maps
}

/// Each part tagged and length-prefixed, so that text cannot move from one file to another under the same digest.
fn digest_of(source: &Source, maps: &BTreeMap<String, OpenedMap>) -> String {
    let mut bytes = Vec::new();
    let texts = maps.iter().map(|(name, map)| (name.as_str(), map.text.as_str()));
    for (name, text) in std::iter::once(("", source.text.as_str())).chain(texts) {
        for part in [name, text] {
            bytes.extend_from_slice(format!("{}:", part.len()).as_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
    }
    digest::sha256_hex(&bytes)
}

fn bounds(problems: &Problems, file: &FileConfig) {
    let counted = [("device", file.devices.len()), ("station", file.stations.len())];
    for (key, count) in counted.into_iter().filter(|(_, count)| *count > NUMBER_MAX) {
        let says = format!("has {count} sections [{key}.NAME]");
        problems.add(file.at.error(says).allowed(format!("at most {NUMBER_MAX}")));
    }
}

fn names(problems: &Problems, file: &FileConfig) {
    for (index, device) in file.devices.iter().enumerate() {
        let used = |part: &FilePart| part.device.value == device.name;
        if !file.stations.iter().flat_map(|station| &station.parts).any(used) {
            problems.add(device.at.warning("is used by no station"));
        }
        let twin =
            file.devices.iter().take(index).find(|other| device.peer().is_some() && other.peer() == device.peer());
        if let Some(twin) = twin {
            let says = format!("is the same peer as {}: two sessions to one device", twin.at.key);
            problems.add(device.at.warning(says));
        }
    }
    one_of_each_kind(problems, file);
}

/// The rules of this version know one station of each kind.
fn one_of_each_kind(problems: &Problems, file: &FileConfig) {
    let mut seen: BTreeMap<&str, &FileStation> = BTreeMap::new();
    for station in &file.stations {
        let Some(kind) = &station.kind else { continue };
        if let Some(first) = seen.insert(kind.value.name(), station) {
            let says = format!("makes a second {}; {} is one already", kind.value.name(), first.at.key);
            problems.add(kind.at.error(says).allowed("one station of each kind"));
        }
    }
    let all_known = file.stations.iter().all(|station| station.kind.is_some());
    if file.stations.is_empty() || !all_known {
        return;
    }
    for (kind, consequence) in [
        ("printer", "no serial is ever encoded"),
        ("camera", "no unit is ever verified"),
        ("rejector", "no unit is ever commissioned"),
    ] {
        if !seen.contains_key(kind) {
            problems.add(file.at.warning(format!("has no station of kind \"{kind}\": {consequence}")));
        }
    }
    if seen.contains_key("palletizer") && !seen.contains_key("packer") {
        problems.add(file.at.error("has a palletizer and no packer: no case ever reaches the pallet"));
    }
}

fn place<'f>(problems: &Problems, file: &'f FileConfig, maps: &BTreeMap<String, OpenedMap>) -> Vec<Placed<'f>> {
    let mut placed = Vec::new();
    for station in &file.stations {
        let parts = station.parts.iter().filter_map(|part| place_part(problems, file, maps, station, part)).collect();
        if let Some(kind) = &station.kind {
            placed.push(Placed { file: station, kind: kind.value, parts });
        }
    }
    placed
}

/// A map that is altogether for another protocol, said once.
fn is_foreign(problems: &Problems, part: &FilePart, spoken: Option<Protocol>, map: &KindMap) -> bool {
    let mut own = map.tags.iter().map(|binding| Protocol::of(&binding.value.address));
    let (Some(first), Some(spoken)) = (own.next(), spoken) else { return false };
    if first == spoken || own.any(|other| other != first) {
        return false;
    }
    let device = &part.device.value;
    let says = format!("is a map for {}, and device.{device} speaks {}", first.name(), spoken.name());
    let allowed = format!("a map with {}, or a device that speaks {}", spoken.place(), first.name());
    problems.add(part.map.at.error(says).allowed(allowed));
    true
}

fn place_part(
    problems: &Problems,
    file: &FileConfig,
    maps: &BTreeMap<String, OpenedMap>,
    station: &FileStation,
    part: &FilePart,
) -> Option<(usize, KindMap)> {
    let device = file.devices.iter().position(|device| device.name == part.device.value);
    if device.is_none() {
        let known: Vec<&str> = file.devices.iter().map(|device| device.name.as_str()).collect();
        let problem = part.device.at.error("names no device").allowed(known.join(", "));
        problems.add(problem.meant(&part.device.value, known));
    }
    let kind = station.kind.as_ref()?.value;
    let map = maps.get(&part.map.value)?.map.as_ref()?;
    match map.kinds.get(kind.name()) {
        Some(kind_map) => {
            let device = device?;
            let spoken = file.devices.get(device)?.protocol();
            (!is_foreign(problems, part, spoken, kind_map)).then(|| (device, kind_map.clone()))
        }
        None => {
            let has: Vec<&str> = map.kinds.keys().copied().collect();
            let says = format!("has no section [{}]", kind.name());
            problems.add(part.map.at.error(says).allowed(format!(
                "a map with [{}]; this one has: {}",
                kind.name(),
                has.join(", ")
            )));
            None
        }
    }
}

/// Times that cannot work together. A permit must outlive the request that carries it (DESIGN section 5).
fn times(problems: &Problems, file: &FileConfig, placed: &[Placed<'_>]) {
    for station in placed {
        for (device, _) in &station.parts {
            let Some(device) = file.devices.get(*device) else { continue };
            station_times(problems, station, device);
        }
    }
}

fn station_times(problems: &Problems, station: &Placed<'_>, device: &FileDevice) {
    let (poll, timeout) = (device.poll_ms.value, device.request_timeout_ms.value);
    let heartbeat = &station.file.heartbeat_timeout_ms;
    if u64::from(heartbeat.value) <= poll.saturating_mul(2) {
        let says = format!(
            "does not outlast two polls of {} ({poll} ms each): the station would be lost at once",
            device.at.key
        );
        let at = super::problem::Place {
            key: format!("{}.heartbeat_timeout_ms", station.file.at.key),
            ..heartbeat.at.clone()
        };
        problems.add(at.error(says).allowed(format!("more than {}", poll.saturating_mul(2))));
    }
    let ttl = &station.file.permit_ttl_ms;
    let closes = matches!(station.kind, StationKind::Packer | StationKind::Palletizer);
    if closes && u64::from(ttl.value) < timeout.saturating_mul(2) {
        let says = format!(
            "is less than twice request_timeout_ms of {} ({timeout} ms): a permit could run out on its way",
            device.at.key
        );
        let at = super::problem::Place { key: format!("{}.permit_ttl_ms", station.file.at.key), ..ttl.at.clone() };
        problems.add(at.error(says).allowed(format!("at least {}", timeout.saturating_mul(2))));
    }
    if let Some(deadline) = &station.file.verdict_deadline_ms
        && u64::from(deadline.value) <= poll
    {
        let says = format!("is not longer than one poll of {} ({poll} ms): every unit would be late", device.at.key);
        problems.add(deadline.at.error(says).allowed(format!("more than {poll}; shorten poll_ms first")));
    }
}

fn stations(
    problems: &Problems,
    file: &FileConfig,
    placed: &[Placed<'_>],
    scanners: &[usize],
) -> Option<Vec<(StationSpec, Station)>> {
    let build = |(station, id): (&Placed<'_>, u8)| build_station(problems, file, station, StationId(id), scanners);
    // Every station is built, so that every problem is found, before one that failed counts.
    let built: Vec<Option<(StationSpec, Station)>> = placed.iter().zip(0_u8..).map(build).collect();
    let mut built = built.into_iter().collect::<Option<Vec<_>>>()?;
    share_tracks(&mut built);
    Some(built)
}

/// A camera reports the tracks that its rejector counts: they wrap where the rejector's do, unless the camera's own map says where.
/// Inside a delimited value it cannot say so.
fn share_tracks(built: &mut [(StationSpec, Station)]) {
    let wraps: Vec<Option<u64>> = built.iter().map(|(_, station)| station.settings.track_wrap()).collect();
    for (_, station) in built {
        let of_rejector = station.settings.partner.and_then(|id| wraps.get(usize::from(id.0)).copied().flatten());
        if let Some(highest) = of_rejector.filter(|_| station.settings.track_wrap().is_none()) {
            station.settings.wraps.push((Tag::Track, highest));
        }
    }
}

fn build_station(
    problems: &Problems,
    file: &FileConfig,
    placed: &Placed<'_>,
    id: StationId,
    scanners: &[usize],
) -> Option<(StationSpec, Station)> {
    let partner = placed.file.rejector.as_ref().and_then(|name| find_rejector(problems, file, name));
    let role = placed.file.role(partner)?;
    let name = Name::new(&placed.file.name)?;
    let mut tags: Vec<Tag> = placed.maps().flat_map(KindMap::carried).map(|(tag, _)| tag).collect();
    tags.sort();
    if let Some(by_hand) = placed.file.by_hand.as_ref().filter(|_| !tags.contains(&Tag::Code)) {
        let says = "packs by hand, and no map of the station says where its scans come from";
        problems.add(by_hand.at.error(says).allowed("a section [packer.code] on the scanner"));
    }
    relies_on(problems, placed, &tags);
    let station = Station {
        settings: settings(
            placed,
            station::Settings { partner, ..station::Settings::new(id, name, placed.kind) },
            &tags,
            scanners,
        ),
        devices: placed.parts.iter().filter_map(|(device, _)| device_id(*device)).collect(),
        tags,
        pictures: placed.file.pictures.clone(),
        gates: if matches!(role, Role::Packer { .. }) { placed.file.gates.clone() } else { Vec::new() },
    };
    Some((placed.file.spec(name, role), station))
}

/// What a key asks for that a tag has to bring.
fn relies_on(problems: &Problems, placed: &Placed<'_>, tags: &[Tag]) {
    let needs = |at: &super::problem::Place, tag: Tag, says: &str| {
        if !tags.contains(&tag) {
            problems.add(at.error(format!("{says}, and no map of this station has the tag `{tag}`")));
        }
    };
    if let Some(recipe) = &placed.file.recipe {
        needs(&recipe.at, Tag::Recipe, "compares the recipe that the station shows");
    }
    let is_blind = placed.maps().any(|map| map.absent.iter().any(|absent| absent.value == Tag::AcceptedSeq));
    if is_blind && !(tags.contains(&Tag::Flush) && tags.contains(&Tag::FlushDone)) {
        let says = "has no `accepted_seq`, so that its buffer cannot be read after a break, nor be emptied without `flush` and `flush_done`";
        problems.add(placed.file.at.error(says));
    }
    if let Some(decide) = placed.file.decide.as_ref().filter(|decide| decide.value == Decide::Device) {
        needs(&decide.at, Tag::Expected, "lets the camera compare with what we write");
    }
}

/// The devices that send scans and are never asked.
fn scanners(file: &FileConfig, maps: &BTreeMap<String, OpenedMap>) -> Vec<usize> {
    let is_scanner = |device: &FileDevice| {
        let parts = file.stations.iter().flat_map(|station| &station.parts);
        let mut used = parts.filter(|part| part.device.value == device.name);
        let scans = |map: &TagMap| map.dialect.as_ref().is_some_and(|dialect| dialect.value.scan.is_some());
        used.any(|part| maps.get(&part.map.value).and_then(|opened| opened.map.as_ref()).is_some_and(scans))
    };
    let numbered = file.devices.iter().enumerate();
    numbered.filter(|(_, device)| is_scanner(device)).map(|(index, _)| index).collect()
}

/// What the maps say about a station; `plain` is what the contract says.
fn settings(placed: &Placed<'_>, plain: station::Settings, tags: &[Tag], scanners: &[usize]) -> station::Settings {
    let stated = |field: fn(&KindMap) -> Option<&Field<u16>>| placed.maps().find_map(field).map(|field| field.value);
    let ends_held = placed.maps().find_map(map_checks::ends_held);
    let word = tags.contains(&Tag::VerdictWord);
    station::Settings {
        heartbeat_timeout_ms: placed.file.heartbeat_timeout_ms.value,
        absent: Tag::required(placed.kind).iter().copied().filter(|tag| !tags.contains(tag)).collect(),
        wraps: placed.maps().flat_map(|map| &map.tags).filter_map(wrap).collect(),
        ring: stated(|map| map.ring.as_ref()).unwrap_or(plain.ring),
        handshake: placed
            .maps()
            .find_map(|map| map.handshake.as_ref())
            .map_or(station::ResultHandshake::Number, |field| field.value),
        ends_ring: stated(|map| map.ends_ring.as_ref()).or(ends_held).unwrap_or(plain.ends_ring),
        verdict_depth: stated(|map| map.verdict_depth.as_ref()).unwrap_or(plain.verdict_depth),
        verdict_form: if word { VerdictForm::Word } else { VerdictForm::Pair },
        by_hand: placed.file.by_hand.as_ref().map(|field| field.value),
        is_label_scanned: placed.parts.iter().any(|(device, map)| {
            let is_scanner = scanners.contains(device);
            is_scanner && map.tags.iter().any(|binding| binding.value.tag == Tag::LabelRead)
        }),
        array: placed.maps().find_map(|map| map.array.as_ref()).map(|field| field.value.clone()),
        renumbered: placed.maps().flat_map(|map| map.renumbered.iter().copied()).collect(),
        ..plain
    }
}

fn wrap(binding: &Field<Binding>) -> Option<(Tag, u64)> {
    binding.value.wrap.map(|highest| (binding.value.tag, highest))
}

fn find_rejector(problems: &Problems, file: &FileConfig, name: &Field<String>) -> Option<StationId> {
    let of_kind =
        |station: &&FileStation| station.kind.as_ref().is_some_and(|kind| kind.value == StationKind::Rejector);
    let known: Vec<&str> = file.stations.iter().filter(of_kind).map(|station| station.name.as_str()).collect();
    let found = file.stations.iter().position(|station| station.name == name.value && of_kind(&station));
    if found.is_none() {
        let allowed = if known.is_empty() {
            "a station of kind \"rejector\"; there is none".to_owned()
        } else {
            known.join(", ")
        };
        problems.add(name.at.error("names no rejector").allowed(allowed).meant(&name.value, known));
    }
    found.and_then(|index| u8::try_from(index).ok()).map(StationId)
}

fn device_id(index: usize) -> Option<DeviceId> {
    u8::try_from(index).ok().map(DeviceId)
}

fn station_tags(devices: usize, placed: &[Placed<'_>]) -> Vec<Vec<StationTags>> {
    let mut by_device: Vec<Vec<StationTags>> = (0..devices).map(|_| Vec::new()).collect();
    for (station, id) in placed.iter().zip(0_u8..) {
        for (device, map) in &station.parts {
            let bindings = map.tags.iter().map(|binding| binding.value.clone()).collect();
            if let Some(tags) = by_device.get_mut(*device) {
                tags.push(StationTags { station: StationId(id), kind: station.kind, bindings });
            }
        }
    }
    by_device
}

/// What the maps of each device say about it as a whole; two maps of one device must say the same.
fn of_devices(problems: &Problems, file: &FileConfig, maps: &BTreeMap<String, OpenedMap>) -> Vec<MapSays> {
    let of_device = |device: &FileDevice| {
        let parts = file.stations.iter().flat_map(|station| &station.parts);
        let mut used = parts
            .filter(|part| part.device.value == device.name)
            .filter_map(|part| maps.get(&part.map.value)?.map.as_ref());
        let Some(first) = used.next() else { return MapSays { registers: STANDARD, dialect: None } };
        if device.protocol() == Some(Protocol::Text) {
            text_checks::spoken(problems, first);
        }
        let (mut gap_max, mut block_max) = (first.gap_max, first.block_max);
        let mut signature = first.signature.as_ref();
        for other in used {
            agree(problems, first, other);
            signature = signature.or(other.signature.as_ref());
            if let (Some(said), Some(other)) = (signature, &other.signature)
                && said.value != other.value
            {
                let says = format!("differs from {}, a map of the same device", said.at.file);
                problems.add(other.at.error(says));
            }
            // What one map forbids holds for the device.
            (gap_max, block_max) = (gap_max.min(other.gap_max), block_max.min(other.block_max));
        }
        let registers = Registers {
            word_order: first.word_order.value,
            byte_order: first.byte_order.value,
            gap_max,
            block_max,
            signature: signature.map(|field| field.value),
        };
        MapSays { registers, dialect: first.dialect.as_ref().map(|dialect| dialect.value.clone()) }
    };
    file.devices.iter().map(of_device).collect()
}

const STANDARD: Registers = Registers {
    word_order: WordOrder::HighFirst,
    byte_order: ByteOrder::HighFirst,
    gap_max: 0,
    block_max: 125,
    signature: None,
};

fn agree(problems: &Problems, first: &TagMap, other: &TagMap) {
    let says = format!("differs from {}, a map of the same device", first.at.file);
    if first.word_order.value != other.word_order.value {
        problems.add(other.word_order.at.error(says.clone()));
    }
    if first.byte_order.value != other.byte_order.value {
        problems.add(other.byte_order.at.error(says.clone()));
    }
    let dialect = |map: &TagMap| map.dialect.as_ref().map(|dialect| dialect.value.clone());
    if dialect(first) != dialect(other) {
        problems.add(Place { key: "text".into(), ..other.at.clone() }.error(says));
    }
}
