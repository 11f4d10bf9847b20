//! `[station.NAME.pictures]`: the pictures that a camera takes of its results.

use std::path::Path;
use std::time::Duration;

use crate::device::pictures::{NamePattern, Settings};

use super::reader::{Field, Section};

const NAME: &str =
    "a file name with one {sequence} in it and no digit beside that, for example \"unit_{sequence}.png\"";

/// `None` where a key that must be there is missing or wrong, which is recorded.
pub(super) fn read(mut section: Section<'_>, folder: &Path) -> Option<Settings> {
    let from = section.filled("folder").map(|field| folder.join(field.value));
    let name = section.filled("name").and_then(|field| pattern(&section, &field));
    let kb_max = section.number("max_kb", 1..=65_536).map_or(4096, |field: Field<u64>| field.value);
    let keep = section.number("keep", 1..=100_000).map_or(10_000, |field| field.value);
    let keep_mb = section.number::<u64>("keep_mb", 1..=1_000_000);
    let keep_bytes = keep_mb.as_ref().map_or(1024, |field| field.value) << 20;
    let within_ms = section.number("within_ms", 200..=60_000).map_or(5000, |field| field.value);
    let every = section.flag("every").is_some_and(|field| field.value);
    let _: Option<()> = section.missing("folder", "the folder into which the camera puts its pictures");
    let _: Option<()> = section.missing("name", NAME);
    if let Some(field) = keep_mb.filter(|_| keep_bytes < kb_max << 10) {
        let problem = field.at.error("holds not even one picture of max_kb");
        section.problems().add(problem.allowed(format!("at least {}", kb_max.div_ceil(1024))));
    }
    section.finish();
    Some(Settings {
        folder: from?,
        name: name?,
        bytes_max: kb_max << 10,
        keep,
        keep_bytes,
        within: Duration::from_millis(within_ms),
        every,
    })
}

fn pattern(section: &Section<'_>, field: &Field<String>) -> Option<NamePattern> {
    let pattern = NamePattern::new(&field.value);
    if pattern.is_none() {
        section.problems().add(field.at.error("does not say where the number of the result stands").allowed(NAME));
    }
    pattern
}
