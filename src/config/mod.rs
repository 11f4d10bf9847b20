//! The configuration: a file as written becomes a `Config` that cannot be invalid, or a report of everything that is wrong with it.
//!
//! Contract:
//! - `load` reports every problem of the line file and of its tag maps at once, each with file, line, key, value, what is allowed and,
//!   for a mistyped word, what was probably meant. An unknown key is an error: a misspelt safety limit must not become a default.
//! - Relative paths start at the folder of the file that names them. Nothing but the named files is opened; no device, broker or
//!   database is touched.
//! - `Config::digest` covers the line file and every map, so that two lines with one digest behave alike.
//!
//! There is no reload and no merging of several files: a restart is cheap and tested.

mod clearance;
pub mod described;
mod device;
pub mod documented;
mod line;
mod map;
mod map_checks;
mod map_modbus;
mod people;
mod pictures;
mod problem;
mod reader;
mod station;
mod store;
mod text;
mod text_checks;
mod whole;

use std::fmt;
use std::path::{Path, PathBuf};

pub use line::{Line, Mqtt, Proof};
pub use people::{Passwords, People};
pub use problem::{Problem, Severity};
pub use station::Station;
pub use store::Upkeep;

use crate::device as link;
use crate::engine;
use problem::{Place, Problems};
use reader::{Section, Source, Unread};

/// Everything that the daemon is told. Built by `load` alone.
#[derive(Clone, Debug)]
pub struct Config {
    pub file: PathBuf,
    /// SHA-256 over the line file and its maps, lower-case hex.
    pub digest: String,
    pub line: Line,
    pub journal: PathBuf,
    pub upkeep: Upkeep,
    pub clearance: engine::clearance::Clearance,
    pub proof: Proof,
    pub people: People,
    /// `None`: no feed.
    pub mqtt: Option<Mqtt>,
    /// By `DeviceId`.
    pub devices: Vec<link::Settings>,
    /// Names and roles, by `StationId`.
    pub engine: engine::Settings,
    /// By `StationId`.
    pub stations: Vec<Station>,
    /// What somebody should look at; never an error.
    pub warnings: Vec<Problem>,
}

/// Why there is no `Config`: at least one error, warnings beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub problems: Vec<Problem>,
}

/// The line file as written: sections read, each key checked by itself, nothing checked against anything else.
struct FileConfig {
    at: Place,
    line: Option<line::FileLine>,
    journal: Option<line::FileJournal>,
    upkeep: Upkeep,
    clearance: engine::clearance::Clearance,
    people: People,
    mqtt: Option<Mqtt>,
    devices: Vec<device::FileDevice>,
    stations: Vec<station::FileStation>,
}

/// Reads `path` and its maps.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let problems = Problems::default();
    let name = path.display().to_string();
    let text = match reader::text_of(path) {
        Ok(text) => text,
        Err(Unread::NotText(problem)) => return Err(ConfigError { problems: vec![*problem] }),
        Err(Unread::File(error)) => {
            let says = format!("cannot be read ({})", error.kind());
            let problem = Place::file(&name).error(says).hint("name another file with --config FILE");
            return Err(ConfigError { problems: vec![problem] });
        }
    };
    let source = Source::new(&name, text, &problems);
    let folder = path.parent().unwrap_or(Path::new(""));
    let config = source.parse().and_then(|document| {
        let file = FileConfig::read(Section::root(&source, &document), folder);
        whole::assemble(path, &source, file)
    });
    let all = problems.sorted();
    match config {
        Some(config) if all.iter().all(|problem| problem.severity == Severity::Warning) => {
            Ok(Config { warnings: all, ..config })
        }
        _ => Err(ConfigError { problems: all }),
    }
}

impl FileConfig {
    fn read(mut root: Section<'_>, folder: &Path) -> Self {
        let line = root.section("line").map(line::FileLine::read);
        let name = line.as_ref().and_then(line::FileLine::written_name).unwrap_or_default();
        let file = Self {
            at: root.at.clone(),
            line,
            journal: root.section("journal").and_then(|section| line::journal(section, folder)),
            upkeep: root.section("store").map(store::read).unwrap_or_default(),
            clearance: root.section("clearance").map(clearance::read).unwrap_or_default(),
            people: root.section("people").map(people::read).unwrap_or_default(),
            mqtt: root.section("mqtt").and_then(|section| line::mqtt(section, &name, folder)),
            devices: root
                .named("device")
                .into_iter()
                .map(|(name, section)| device::FileDevice::read(&name, section, folder))
                .collect(),
            stations: root
                .named("station")
                .into_iter()
                .map(|(name, section)| station::FileStation::read(&name, section, folder))
                .collect(),
        };
        let sections = [
            ("line", "a section [line] with name and path"),
            ("journal", "a section [journal] with path"),
            ("device", "at least one [device.NAME]"),
            ("station", "at least one [station.NAME]"),
        ];
        for (key, allowed) in sections {
            let _: Option<()> = root.missing(key, allowed);
        }
        root.finish();
        file
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        let of = |severity| self.problems.iter().filter(|problem| problem.severity == severity).count();
        let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
        write!(f, "{}, {}", counted(errors, "error"), counted(warnings, "warning"))
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests;
