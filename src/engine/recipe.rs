//! The recipe that a station runs against the one that was approved for it. A machine with another recipe prints, reads or packs
//! another product, however well its handshake works: no batch starts on it, and a change while one runs holds the line.
//!
//! What the order of the batch names for a station is approved; where it names none, what the config of the line names.
//! Unknown means refuse: a station with an approved recipe that has not shown its own since it joined, or shows one that cannot be
//! read, does not agree. The hold is a level and ends when the approved recipe is back; the alarm asks for a person besides.

use std::fmt;

use crate::domain::tag::StationId;
use crate::domain::text::{Name, Text};
use crate::engine::Engine;
use crate::engine::fact::Fact;
use crate::engine::input::BatchSheet;
use crate::engine::output::Step;
use crate::engine::reason::{AlarmKind, RequestRefusal};

/// The name of a recipe, as the machine shows it.
pub type Recipe = Text<64>;

/// A station does not show the recipe that was approved for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherRecipe {
    pub station: Name,
    pub approved: Recipe,
    /// `None` where it shows none, or none that can be read.
    pub shown: Option<Recipe>,
}

impl fmt::Display for OtherRecipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.shown.as_ref().map_or("none that can be read", Recipe::as_str);
        write!(f, "approved is {}, the station shows {shown}", self.approved)
    }
}

impl Engine {
    pub(super) fn recipe_shown(&mut self, step: &mut Step, station: StationId, recipe: Option<Recipe>) {
        let Some(spec) = self.spec(station) else { return };
        self.with_live(station, |live| live.recipe = recipe);
        if self.known(station).recipe != recipe {
            self.emit(step, Fact::RecipeFound { station: spec.name, recipe });
        }
        let running = self.state.current().filter(|batch| batch.state.is_moving());
        if let Some(refusal) = running.and_then(|batch| self.other_recipe(station, &batch.sheet)) {
            self.raise(step, AlarmKind::RecipeDiffers, Some(station), refusal.to_string());
        }
    }

    /// What keeps a batch from running: stations with another recipe, and those that it names and the line has not any more.
    pub(super) fn unapproved(&self, sheet: &BatchSheet) -> Vec<RequestRefusal> {
        let others = self.ids().filter_map(|id| self.other_recipe(id, sheet)).map(RequestRefusal::RecipeDiffers);
        others.chain(self.strangers(sheet)).collect()
    }

    /// Stations that an order names a recipe for and that this line does not have.
    pub(super) fn strangers(&self, sheet: &BatchSheet) -> Vec<RequestRefusal> {
        let is_known = |name| self.settings.stations.iter().any(|spec| spec.name == name);
        let named = sheet.recipes.iter().map(|named| named.station);
        named.filter(|name| !is_known(*name)).map(RequestRefusal::UnknownStation).collect()
    }

    /// What a station shows where that is not what was approved for it; nothing is, where nothing was.
    fn other_recipe(&self, station: StationId, sheet: &BatchSheet) -> Option<OtherRecipe> {
        let spec = self.spec(station)?;
        let named = sheet.recipes.iter().find(|named| named.station == spec.name).map(|named| named.recipe);
        let approved = named.or(spec.recipe)?;
        let shown = self.live(station).and_then(|live| live.recipe);
        (shown != Some(approved)).then_some(OtherRecipe { station: spec.name, approved, shown })
    }
}
