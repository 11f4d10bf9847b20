//! The section `[store]`: what a site vouches for, and how much room is kept. May be left out.

use super::reader::Section;
use crate::store::guard::Bounds;

/// What the journal's own care is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// File systems that somebody vouches for beside those that are trusted.
    pub file_systems: Vec<String>,
    pub bounds: Bounds,
}

pub(super) fn read(mut section: Section<'_>) -> Upkeep {
    let unset = Bounds::default();
    let file_systems = section.texts("file_systems").map(|field| field.value).unwrap_or_default();
    let mut megabytes = |key, most: i64, unset: u64| {
        section.number(key, 0..=most).map_or(unset, |field: super::reader::Field<u64>| field.value << 20)
    };
    let reserve_free = megabytes("reserve_free_mb", 1_000_000, unset.reserve_free);
    let ballast = megabytes("ballast_mb", 10_000, unset.ballast);
    section.finish();
    let file_systems = file_systems.into_iter().map(|field| field.value).collect();
    Upkeep { file_systems, bounds: Bounds { reserve_free, ballast } }
}
