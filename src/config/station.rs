//! `[station.NAME]`: a role on the line, what the role needs to know, and on which devices its tags lie.

use std::path::Path;

use crate::device::pictures;
use crate::domain::pack::{Gate, PackLevel};
use crate::domain::tag::{DeviceId, StationId, StationKind, Tag};
use crate::domain::text::Name;
use crate::engine::decide::Decide;
use crate::engine::recipe::Recipe;
use crate::engine::{Role, StationSpec};
use crate::station;

use super::line;
use super::map::KindMap;
use super::problem::Place;
use super::reader::{Field, Section, one_of};

/// One station, complete. Where its tags lie is in the settings of its devices; its role is in those of the engine.
#[derive(Clone, Debug)]
pub struct Station {
    pub settings: station::Settings,
    /// In the order of its parts; most stations have one.
    pub devices: Vec<DeviceId>,
    /// The tags that the maps carry, each once.
    pub tags: Vec<Tag>,
    /// Packer, palletizer: the gates in the order in which this machine asks for them.
    pub gates: Vec<Gate>,
    /// Camera: where its pictures come from.
    pub pictures: Option<pictures::Settings>,
}

/// As written, each key checked by itself.
pub(super) struct FileStation {
    pub(super) at: Place,
    pub(super) name: String,
    pub(super) kind: Option<Field<StationKind>>,
    pub(super) parts: Vec<FilePart>,
    pub(super) heartbeat_timeout_ms: Field<u32>,
    pub(super) rejector: Option<Field<String>>,
    grade_min: Option<i64>,
    pub(super) decide: Option<Field<Decide>>,
    /// The approved recipe.
    pub(super) recipe: Option<Field<Recipe>>,
    in_order: bool,
    pub(super) verdict_deadline_ms: Option<Field<u32>>,
    level: Option<Field<PackLevel>>,
    queue: u16,
    pub(super) gates: Vec<Gate>,
    pub(super) permit_ttl_ms: Field<u32>,
    /// A packer that is a person: units in one case.
    pub(super) by_hand: Option<Field<u16>>,
    pub(super) pictures: Option<pictures::Settings>,
}

/// The tags of a station that lie on one device.
pub(super) struct FilePart {
    pub(super) device: Field<String>,
    pub(super) map: Field<String>,
}

/// One station with the maps of its parts.
pub(super) struct Placed<'f> {
    pub(super) file: &'f FileStation,
    pub(super) kind: StationKind,
    /// Device, and what its map says for this kind.
    pub(super) parts: Vec<(usize, KindMap)>,
}

impl Placed<'_> {
    pub(super) fn maps(&self) -> impl Iterator<Item = &KindMap> {
        self.parts.iter().map(|(_, map)| map)
    }
}

impl FileStation {
    pub(super) fn read(name: &Field<String>, mut section: Section<'_>, folder: &Path) -> Self {
        line::name(&Some(name.clone()), &section);
        let kind = kind(&mut section);
        let default_at = section.at.clone();
        let heartbeat = section.number("heartbeat_timeout_ms", 50..=60_000);
        let mut file = Self {
            at: section.at.clone(),
            name: name.value.clone(),
            kind: kind.clone(),
            parts: parts(&mut section),
            heartbeat_timeout_ms: heartbeat.unwrap_or(Field { value: 1000, at: default_at.clone() }),
            rejector: None,
            grade_min: None,
            decide: None,
            recipe: recipe(&mut section),
            in_order: false,
            verdict_deadline_ms: None,
            level: None,
            queue: 32,
            gates: vec![Gate::Seal, Gate::Release],
            permit_ttl_ms: Field { value: 2000, at: default_at },
            by_hand: None,
            pictures: None,
        };
        let Some(kind) = kind else {
            return file;
        };
        match kind.value {
            StationKind::Printer => {
                if let Some(queue) = section.number("queue", 1..=1000) {
                    file.queue = queue.value;
                }
            }
            StationKind::Rejector => {}
            StationKind::Camera => {
                file.read_camera(&mut section);
                file.pictures = section.section("pictures").and_then(|section| super::pictures::read(section, folder));
            }
            StationKind::Packer | StationKind::Palletizer => file.read_closer(&mut section, kind.value),
        }
        section.finish();
        file
    }

    fn read_camera(&mut self, section: &mut Section<'_>) {
        self.rejector = section.filled("rejector");
        self.grade_min = grade(section);
        self.verdict_deadline_ms = section.number("verdict_deadline_ms", 5..=600_000);
        self.decide = section.word("decide", &[("line", Decide::Line), ("device", Decide::Device)]);
        let _: Option<()> = section.missing("rejector", "the name of the station with the blade");
        let _: Option<()> =
            section.missing("verdict_deadline_ms", "distance / highest belt speed - actuator time, 5 to 600000");
    }

    fn read_closer(&mut self, section: &mut Section<'_>, kind: StationKind) {
        let levels = [("case", PackLevel::Case), ("pallet", PackLevel::Pallet)];
        self.level = section.word("level", &levels);
        let natural = natural_level(kind);
        if let Some(level) = self.level.as_ref().filter(|level| level.value != natural) {
            let allowed = format!("\"{}\"", natural.name());
            let says = format!("is not what a {} closes", kind.name());
            section.problems().add(level.at.error(says).allowed(allowed));
        }
        self.by_hand = section.number("by_hand", 1..=1000);
        self.in_order = section.flag("in_order").is_some_and(|field| field.value);
        if let Some(gates) = gates(section) {
            self.gates = gates;
        }
        if let Some(ttl) = section.number("permit_ttl_ms", 100..=60_000) {
            self.permit_ttl_ms = ttl;
        }
    }

    /// `rejector` is the resolved name of the key of the same name.
    pub(super) fn role(&self, rejector: Option<StationId>) -> Option<Role> {
        let kind = self.kind.as_ref()?.value;
        Some(match kind {
            StationKind::Printer => Role::Printer { queue: self.queue },
            StationKind::Rejector => Role::Rejector,
            StationKind::Camera => Role::Camera {
                rejector: rejector?,
                grade_min_milli: self.grade_min.unwrap_or(0),
                verdict_deadline_us: u64::from(self.verdict_deadline_ms.as_ref()?.value).saturating_mul(1000),
                decide: self.decide.as_ref().map_or(Decide::Line, |field| field.value),
            },
            StationKind::Packer | StationKind::Palletizer => {
                Role::Packer { level: natural_level(kind), ttl_ms: self.permit_ttl_ms.value }
            }
        })
    }
}

impl FileStation {
    /// The station as the engine knows it.
    pub(super) fn spec(&self, name: Name, role: Role) -> StationSpec {
        let recipe = self.recipe.as_ref().map(|field| field.value);
        StationSpec { recipe, is_in_order: self.in_order, ..StationSpec::new(name, role) }
    }
}

fn recipe(section: &mut Section<'_>) -> Option<Field<Recipe>> {
    let field = section.filled("recipe")?;
    let recipe = Recipe::new(&field.value);
    if recipe.is_none() {
        section.problems().add(field.at.error("is too long for a recipe").allowed("at most 64 bytes"));
    }
    recipe.map(|recipe| field.map(|_| recipe))
}

fn natural_level(kind: StationKind) -> PackLevel {
    match kind {
        StationKind::Palletizer => PackLevel::Pallet,
        StationKind::Packer => PackLevel::Case,
        StationKind::Printer | StationKind::Camera | StationKind::Rejector => PackLevel::Unit,
    }
}

fn kind(section: &mut Section<'_>) -> Option<Field<StationKind>> {
    let words: Vec<(&str, StationKind)> = StationKind::ALL.iter().map(|kind| (kind.name(), *kind)).collect();
    let kind = section.word("kind", &words);
    let _: Option<()> = section.missing("kind", &one_of(words.iter().map(|(word, _)| *word)));
    kind
}

/// Either `device` and `map`, or a list `tags` of such pairs.
fn parts(section: &mut Section<'_>) -> Vec<FilePart> {
    let list = section.list("tags");
    let single = section.has("device") || section.has("map");
    if let Some(list) = list {
        if single {
            let says = "stands beside `device` and `map`";
            section.problems().add(list.at.error(says).allowed("one device with one map, or a list of several"));
        }
        section.filled("device");
        section.filled("map");
        if list.value.is_empty() {
            section
                .problems()
                .add(list.at.error("is empty").allowed("at least one { device = \"NAME\", map = \"FILE\" }"));
        }
        return list.value.into_iter().filter_map(part).collect();
    }
    let device = section.filled("device");
    let map = section.filled("map");
    if section.has("tags") {
        return Vec::new();
    }
    let _: Option<()> = section.missing("device", "the name of a [device.NAME]");
    let _: Option<()> = section.missing("map", "a tag map, for example \"maps/sim-opcua.toml\"");
    device.zip(map).map(|(device, map)| FilePart { device, map }).into_iter().collect()
}

fn part(mut section: Section<'_>) -> Option<FilePart> {
    let device = section.filled("device");
    let map = section.filled("map");
    let _: Option<()> = section.missing("device", "the name of a [device.NAME]");
    let _: Option<()> = section.missing("map", "a tag map");
    section.finish();
    Some(FilePart { device: device?, map: map? })
}

/// A decimal text, since a float would not be what was written: "1.5" becomes 1500.
fn grade(section: &mut Section<'_>) -> Option<i64> {
    let field = section.filled("grade_min")?;
    let milli = grade_milli(&field.value);
    if milli.is_none() {
        let allowed = "a decimal in quotes from \"0.0\" to \"4.0\" (ISO/IEC 15415)";
        section.problems().add(field.at.error("is no grade").allowed(allowed));
    }
    milli
}

fn grade_milli(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 3 {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let fraction: i64 = format!("{fraction:0<3}").parse().ok()?;
    let milli = whole.checked_mul(1000)?.checked_add(fraction)?;
    (milli <= 4000).then_some(milli)
}

fn gates(section: &mut Section<'_>) -> Option<Vec<Gate>> {
    let list = section.texts("gates")?;
    let mut gates = Vec::new();
    for name in &list.value {
        match Gate::parse(&name.value) {
            Some(gate) if !gates.contains(&gate) => gates.push(gate),
            Some(_) => section.problems().add(name.at.error("is listed twice")),
            None => {
                let problem = name.at.error("is no gate").allowed("\"seal\", \"release\"");
                section.problems().add(problem.meant(&name.value, ["seal", "release"]));
            }
        }
    }
    if gates.len() == list.value.len() && gates.len() != 2 {
        let allowed = "[\"seal\", \"release\"] or [\"release\", \"seal\"]: a container is released through both";
        section.problems().add(list.at.error("does not list both gates").allowed(allowed));
    }
    Some(gates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grades_are_decimals_of_thousandths() {
        assert_eq!(grade_milli("1.5"), Some(1500));
        assert_eq!(grade_milli("4"), Some(4000));
        assert_eq!(grade_milli("0.05"), Some(50));
        for wrong in ["4.1", "-1", "B", "1.", ".5", "1.2345", "99999999999999999999", "1,5"] {
            assert_eq!(grade_milli(wrong), None, "{wrong}");
        }
    }
}
